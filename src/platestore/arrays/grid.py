"""Which file holds which chunk, for any array on a regular grid, whatever its codecs and data type."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from platestore.arrays.content import DAMAGE, array_content
from platestore.errors import NodeNotFoundError, StoreWarning, UnsupportedError
from platestore.storage.base import DOCUMENTS, Storage, is_chunk_name, join
from platestore.storage.hierarchy import ArrayDocument

Place = tuple[int, ...]
Box = tuple[slice, ...]
# Digits of the largest number that an index may be.
_DIGITS = 20


@dataclass(frozen=True, slots=True)
class ArrayGrid:
    """How an array is cut into files.

    Attributes
    ----------
    shape : tuple of int
        Shape of the array.
    units : tuple of int
        Shape of what one file holds: a shard, or a chunk where there are no shards.
    prefix, separator : str
        How keys are made.
    """

    shape: tuple[int, ...]
    units: tuple[int, ...]
    prefix: str
    separator: str

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of units along each axis."""
        return cover(self.shape, self.units)

    @property
    def pattern(self) -> str:
        """What a key looks like, for messages."""
        return self.key((0,) * len(self.shape))

    def key(self, place: Place) -> str:
        """Key of a unit, relative to the array."""
        if not place:
            return self.prefix[:1] or "0"
        return self.prefix + self.separator.join(map(str, place))

    def place_of(self, key: str) -> Place | None:
        """The unit that a key names, inside of the array or outside; None for the name of something else."""
        if not self.shape:
            return () if key == self.key(()) else None
        if not key.startswith(self.prefix):
            return None
        parts = key[len(self.prefix) :].split(self.separator)
        if len(parts) != len(self.shape) or not all(map(_is_index, parts)):
            return None
        return tuple(map(int, parts))

    def holds(self, place: Place) -> bool:
        """Whether a unit lies inside of the array."""
        return all(p < n for p, n in zip(place, self.counts, strict=True))


def _is_index(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _DIGITS and (text == "0" or text[0] != "0")


def cover(shape: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[int, ...]:
    """How many boxes of a size cover a shape, along each axis."""
    return tuple(-(-n // c) for n, c in zip(shape, sizes, strict=True))


def box_of(place: Place, sizes: tuple[int, ...], shape: tuple[int, ...]) -> Box:
    """Where a chunk (or shard) lies, cut to the array."""
    return tuple(slice(p * c, min((p + 1) * c, n)) for p, c, n in zip(place, sizes, shape, strict=True))


def array_grid(document: ArrayDocument) -> ArrayGrid | None:
    """How an array is cut, or None if its document does not tell, or of another grid than a regular one."""
    try:
        found = array_content(document.content, document.zarr_format)
        shape, units, (prefix, separator) = found.shape, found.units, found.keys
        if not found.is_regular or not all(units) or len(shape) != len(units):
            return None
    except DAMAGE:
        return None
    return ArrayGrid(shape, units, prefix, separator)


def misnamed(storage: Storage, document: ArrayDocument) -> str | None:
    """A chunk file of an array that has chunk files, but none that is named as its document says.

    Parameters
    ----------
    storage : Storage
        Where the array is.
    document : ArrayDocument
        Its document.

    Returns
    -------
    str or None
        Path of the file relative to the array; None where nothing is wrong, or nobody can tell.
    """
    grid = array_grid(document)
    example = None
    for key in _some_files(storage, document.path) if grid is not None and grid.shape else ():
        assert grid is not None
        if grid.place_of(key) is not None:
            return None
        if example is None and is_chunk_key(key):
            example = key
    return example


def warn_misnamed(storage: Storage, document: ArrayDocument, *, level: int) -> None:
    """Warn, once for each array and store, of one that has chunk files but none with the right name.

    Parameters
    ----------
    storage : Storage
        Where the array is.
    document : ArrayDocument
        Its document.
    level : int
        As ``stacklevel`` of ``warnings.warn``.
    """
    grid, path = array_grid(document), document.path
    example = None if path in storage.warned else misnamed(storage, document)
    if grid is not None and example is not None:
        storage.warned.add(path)
        warnings.warn(
            f"{storage.where(path)}: only the fill value is read: its files are named like {example!r}, and "
            f"its document says {grid.pattern!r} (correct the document, or rename the files)",
            StoreWarning,
            stacklevel=level + 1,
        )


def is_chunk_key(key: str) -> bool:
    """Whether a path could be that of a chunk or shard, in any way of naming them."""
    return is_chunk_name(key.replace("/", "."))


def _some_files(storage: Storage, path: str) -> Iterator[str]:
    """The files in a directory, and the first one below each directory in it."""
    directories, files = _listed(storage, path)
    yield from files
    for directory in directories:
        key = directory
        while True:
            inner, files = _listed(storage, join(path, key))
            if files:
                yield join(key, files[0])
            if files or not inner:
                break
            key = join(key, inner[0])


def _listed(storage: Storage, path: str) -> tuple[list[str], list[str]]:
    """What lies in a directory, without what is hidden and the documents."""
    try:
        directories, files = storage.list(path)
    except (NodeNotFoundError, UnsupportedError):  # or it cannot be listed
        return [], []
    return [name for name in directories if name[0] != "."], [
        name for name in files if name[0] != "." and name not in DOCUMENTS
    ]
