"""What an array's document says, read without zarr or numpy (for ``info`` and for channel counts)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from platestore.errors import InvalidMetadataError
from platestore.spec.compressors import describe
from platestore.storage.base import Storage
from platestore.storage.documents import commit
from platestore.storage.hierarchy import ArrayDocument, ZarrFormat, array_key

_V2_KINDS = {"b": "bool", "i": "int", "u": "uint", "f": "float", "c": "complex"}


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
    content = document.content
    try:
        if document.zarr_format == 2:
            return _from_v2(document.path, content)
        return _from_v3(document.path, content)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise InvalidMetadataError(
            f"the array's document is damaged: {type(error).__name__} {error}", path=document.path
        ) from None


def _from_v2(path: str, content: dict[str, Any]) -> ArraySummary:
    dtype = content["dtype"]
    compressor = content.get("compressor")
    return ArraySummary(
        path=path,
        shape=_shape(content["shape"]),
        dtype=_v2_dtype(dtype) if isinstance(dtype, str) else str(dtype),
        chunks=_shape(content["chunks"]),
        shards=None,
        codec=describe(compressor["id"], compressor) if compressor else "none",
    )


def _v2_dtype(dtype: str) -> str:
    kind, size = dtype.lstrip("<>|=")[:1], dtype.lstrip("<>|=")[1:]
    if kind == "b":
        return "bool"
    return f"{_V2_KINDS[kind]}{8 * int(size)}" if kind in _V2_KINDS and size.isdigit() else dtype


def _from_v3(path: str, content: dict[str, Any]) -> ArraySummary:
    outer = _shape(content["chunk_grid"]["configuration"]["chunk_shape"])
    codecs, shards, chunks = content["codecs"], None, outer
    sharding = next((c for c in codecs if c["name"] == "sharding_indexed"), None)
    if sharding is not None:
        shards, chunks = outer, _shape(sharding["configuration"]["chunk_shape"])
        codecs = sharding["configuration"]["codecs"]
    named = [describe(c["name"], c.get("configuration") or {}) for c in codecs if c["name"] not in ("bytes",)]
    return ArraySummary(
        path=path,
        shape=_shape(content["shape"]),
        dtype=str(content["data_type"]),
        chunks=chunks,
        shards=shards,
        codec=", ".join(named) or "none",
    )


def _shape(values: Any) -> tuple[int, ...]:
    if not isinstance(values, list) or not all(isinstance(v, int) and v >= 0 for v in values):
        raise ValueError(f"{values!r} is no shape")
    return tuple(values)


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

    def change(content: dict[str, Any]) -> None:
        content["shape"][axis] = max(size, content["shape"][axis])

    commit(storage, array_key(path, zarr_format), change)
