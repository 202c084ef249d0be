"""Which file holds which chunk, for any array on a regular grid, whatever its codecs and data type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
    content = document.content
    try:
        return _from_v2(content) if document.zarr_format == 2 else _from_v3(content)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _from_v2(content: dict[str, Any]) -> ArrayGrid | None:
    return _checked(content["shape"], content["chunks"], "", content.get("dimension_separator", "."))


def _from_v3(content: dict[str, Any]) -> ArrayGrid | None:
    grid, keys = content["chunk_grid"], content["chunk_key_encoding"]
    if grid["name"] != "regular":
        return None
    name = keys if isinstance(keys, str) else keys["name"]
    configuration = {} if isinstance(keys, str) else keys.get("configuration") or {}
    if name not in ("default", "v2"):
        return None
    separator = configuration.get("separator", "/" if name == "default" else ".")
    prefix = f"c{separator}" if name == "default" else ""
    return _checked(content["shape"], grid["configuration"]["chunk_shape"], prefix, separator)


def _checked(shape: Any, units: Any, prefix: str, separator: Any) -> ArrayGrid | None:
    sizes = (*shape, *units)
    if not all(type(n) is int and n >= 0 for n in sizes) or not all(units) or len(shape) != len(units):
        return None
    if separator not in (".", "/"):
        return None
    return ArrayGrid(tuple(shape), tuple(units), prefix, separator)
