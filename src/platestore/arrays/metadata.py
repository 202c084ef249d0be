"""What an array's document says, read without zarr or numpy (for ``info`` and for channel counts)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from platestore.arrays.content import DAMAGE, array_content
from platestore.errors import InvalidMetadataError
from platestore.spec.compressors import describe
from platestore.spec.values import Json
from platestore.storage.base import Storage
from platestore.storage.documents import commit
from platestore.storage.hierarchy import ArrayDocument, ZarrFormat, array_key


@dataclass(frozen=True, slots=True)
class ArraySummary:
    """The facts about an array that people ask for.

    Attributes
    ----------
    path : str
        Path of the array in its store.
    shape : tuple of int
        Shape.
    dtype : str
        Name of the data type, such as ``"uint16"``.
    chunks : tuple of int
        Shape of a chunk, in elements.
    shards : tuple of int or None
        Shape of a shard, if the array has shards.
    codec : str
        The compressor, in words.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    codec: str

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded pixels."""
        bits = "".join(c for c in self.dtype if c.isdigit())
        return math.prod(self.shape) * (int(bits) // 8 if bits else 1)


def summarise(document: ArrayDocument) -> ArraySummary:
    """Read the facts from an array's document.

    Raises
    ------
    InvalidMetadataError
        If the document lacks one of them.
    """
    try:
        found = array_content(document.content, document.zarr_format)
        words = [describe(name, settings) for name, settings in found.compression]
        shards = None if found.sharding is None else found.units
        codec = ", ".join(words) or "none"
        return ArraySummary(document.path, found.shape, found.dtype, found.chunks, shards, codec)
    except DAMAGE as error:
        raise InvalidMetadataError(
            f"the array's document is damaged: {type(error).__name__} {error}", path=document.path
        ) from None


def grow_axis(storage: Storage, path: str, zarr_format: ZarrFormat, axis: int, size: int) -> None:
    """Grow an array along one axis, in its document; doing it twice changes nothing.

    Parameters
    ----------
    storage : Storage
        Where it is.
    path : str
        Path of the array.
    zarr_format : {2, 3}
        Version of zarr.
    axis : int
        The axis.
    size : int
        The new size; a smaller one than the present is ignored.
    """

    def change(content: Json) -> None:
        content["shape"][axis] = max(size, content["shape"][axis])

    commit(storage, array_key(path, zarr_format), change)
