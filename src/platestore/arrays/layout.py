"""From a shape and a wish to an array's document: data types, chunks, shards.

Documents are built here as JSON, for zarr v2 and v3, so that creating an array costs two small files.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from platestore.arrays.codecs import v2_compressor, v3_codecs, v3_sharding
from platestore.errors import ArgumentError
from platestore.storage.hierarchy import ZarrFormat

#: Chunks of the default layout stay below this size (uncompressed); codecs take less than 2 GiB.
MAX_DEFAULT_CHUNK_BYTES = 512 * 2**20
_MAX_CHUNK_BYTES = 2**31 - 1
_KINDS = "biuf"


@dataclass(frozen=True, slots=True)
class ArrayLayout:
    """What an array looks like before it exists.

    Attributes
    ----------
    shape : tuple of int
        Shape of the array.
    dtype : numpy.dtype
        Data type, in little-endian byte order.
    chunks : tuple of int
        Shape of a chunk (inside a shard, where there are shards).
    shards : tuple of int or None
        Shape of a shard, in elements; a multiple of ``chunks``.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None = None

    def document(self, zarr_format: ZarrFormat, dimension_names: Sequence[str]) -> dict[str, Any]:
        """The array's JSON document.

        Parameters
        ----------
        zarr_format : {2, 3}
            Version of zarr.
        dimension_names : sequence of str
            Names of the axes; OME-NGFF 0.5 wants them in the array.
        """
        fill: bool | int | float = {"b": False, "f": 0.0}.get(self.dtype.kind, 0)
        if zarr_format == 2:
            return {
                "zarr_format": 2,
                "shape": list(self.shape),
                "chunks": list(self.chunks),
                "dtype": self.dtype.str,
                "fill_value": fill,
                "order": "C",
                "filters": None,
                "dimension_separator": "/",
                "compressor": v2_compressor(),
            }
        size = self.dtype.itemsize
        outer = self.shards or self.chunks
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": list(self.shape),
            "data_type": self.dtype.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(outer)}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": fill,
            "codecs": v3_sharding(self.chunks, size) if self.shards else v3_codecs(size),
            "dimension_names": list(dimension_names),
            "storage_transformers": [],
        }


def plan(
    shape: Sequence[int],
    dtype: npt.DTypeLike,
    *,
    zarr_format: ZarrFormat,
    chunks: Sequence[int] | None = None,
    shards_ratio: Sequence[int] | None = None,
) -> ArrayLayout:
    """Check the wishes for a new array and fill in what was left open.

    Parameters
    ----------
    shape : sequence of int
        Shape of the array; every dimension is 1 or more.
    dtype : dtype-like
        Boolean, integer or float type.
    zarr_format : {2, 3}
        Version of zarr; v2 has no shards.
    chunks : sequence of int, optional
        Chunk shape; by default a whole ZYX stack, halved along Z until it is below 512 MiB.
    shards_ratio : sequence of int, optional
        Number of chunks in a shard, per dimension.

    Returns
    -------
    ArrayLayout

    Raises
    ------
    ArgumentError
        If a shape, chunk, ratio or data type is wrong or cannot be stored.
    """
    full = check_integers(shape, "shape")
    kind = check_dtype(dtype)
    sizes = _default_chunks(full, kind.itemsize) if chunks is None else check_integers(chunks, "chunks")
    if len(sizes) != len(full):
        raise ArgumentError(f"chunks {sizes} has {len(sizes)} values; the shape {full} has {len(full)}")
    sizes = tuple(min(c, s) for c, s in zip(sizes, full, strict=True))
    if math.prod(sizes) * kind.itemsize > _MAX_CHUNK_BYTES:
        raise ArgumentError(
            f"a chunk of {sizes} {kind} has {math.prod(sizes) * kind.itemsize / 2**30:.1f} GiB",
            hint="codecs take less than 2 GiB; pass smaller chunks=",
        )
    if shards_ratio is None:
        return ArrayLayout(full, kind, sizes)
    if zarr_format == 2:
        raise ArgumentError(
            "zarr v2 (OME-NGFF 0.4) has no shards", hint='create the store with version="0.5"'
        )
    ratio = check_integers(shards_ratio, "shards_ratio")
    if len(ratio) != len(full):
        raise ArgumentError(f"shards_ratio {ratio} has {len(ratio)} values; the array has {len(full)} axes")
    return ArrayLayout(full, kind, sizes, tuple(c * r for c, r in zip(sizes, ratio, strict=True)))


def check_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """The data type in little-endian order, if an image may have it.

    Raises
    ------
    ArgumentError
        If it is no boolean, integer or float type.
    """
    try:
        kind: np.dtype[Any] = np.dtype(dtype)
    except TypeError as error:
        raise ArgumentError(f"{dtype!r} is no data type: {error}") from None
    if kind.kind not in _KINDS or kind.itemsize > 8 or dtype is None:
        raise ArgumentError(
            f"images of type {kind} cannot be stored",
            hint="use bool, int8 to int64, uint8 to uint64, float16, float32 or float64",
        )
    return kind.newbyteorder("<")


def check_integers(values: Sequence[int], name: str) -> tuple[int, ...]:
    """Check a shape: integers of 1 or more."""
    try:
        out = tuple(operator.index(v) for v in values)
    except TypeError:
        raise ArgumentError(f"{name} must be a sequence of integers, not {values!r}") from None
    if not out or min(out) < 1:
        raise ArgumentError(f"{name} must have dimensions of 1 or more, not {out}")
    if max(out) >= 2**63:
        raise ArgumentError(f"{name} {out} is larger than any file format can index")
    return out


def _default_chunks(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """A whole ZYX stack (the last three dimensions), halved, slowest first, until it fits."""
    sizes = [1] * max(0, len(shape) - 3) + list(shape[-3:])
    for i in range(len(sizes)):
        while sizes[i] > 1 and math.prod(sizes) * itemsize > MAX_DEFAULT_CHUNK_BYTES:
            sizes[i] = -(-sizes[i] // 2)
    return tuple(sizes)
