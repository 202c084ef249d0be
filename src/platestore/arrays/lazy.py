"""Writing data that is not in memory: by whole chunks or shards, whatever blocks the source has.

A shard that two tasks write parts of is read and rewritten by both. So blocks of the source are joined
until each is one or more whole files of the target: no two tasks share a file.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from platestore.arrays.casting import check_kind, exact
from platestore.arrays.indexing import Region, full_region, result_shape
from platestore.arrays.types import DType
from platestore.errors import ArgumentError

if TYPE_CHECKING:
    import dask.array


class LazyTarget(Protocol):
    """An array that is written to: its type, its chunks and shards, and its boxes."""

    @property
    def dtype(self) -> DType:
        """Type of the pixels."""

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of a chunk."""

    @property
    def shards(self) -> tuple[int, ...] | None:
        """Shape of a shard; None without shards."""

    def __setitem__(self, index: Any, value: Any) -> None:
        """Write to a box."""


def is_dask(value: Any) -> bool:
    """Whether a value is a dask array (dask is not imported to find out)."""
    return hasattr(value, "__dask_graph__") and hasattr(value, "rechunk")


def is_lazy(value: Any) -> bool:
    """Whether a value is an array that is not in memory: dask, zarr, HDF5, TensorStore."""
    if isinstance(value, np.ndarray) or not hasattr(value, "__getitem__"):
        return False
    return is_dask(value) or (
        hasattr(value, "shape") and hasattr(value, "dtype") and hasattr(value, "chunks")
    )


def batches(region: Region, units: Sequence[int], itemsize: int, limit: int) -> Iterator[Region]:
    """Split a region at the borders of units into parts of about ``limit`` bytes, in C order.

    Parameters
    ----------
    region : tuple of slice
        Step-1 slices.
    units : sequence of int
        Shape of a unit (a chunk or shard); no part is smaller than what the region has of one.
    itemsize : int
        Bytes per element.
    limit : int
        Bytes.
    """
    lengths = [s.stop - s.start for s in region]
    size = math.prod(lengths) * itemsize
    if size > limit:
        for axis, (part, unit) in enumerate(zip(region, units, strict=True)):
            first = part.start // unit
            if first == (part.stop - 1) // unit:
                continue
            step = unit * max(1, int(limit // (size / lengths[axis] * unit)))
            borders = [part.start, *range(first * unit + step, part.stop, step), part.stop]
            for start, stop in itertools.pairwise(borders):
                piece = (*region[:axis], slice(start, stop), *region[axis + 1 :])
                yield from batches(piece, units, itemsize, limit)
            return
    yield region


def part_of(data: Any, index: Sequence[int | slice], region: Region, part: Region) -> Any:
    """What belongs to a part of a region, with every axis, from data shaped as the index selects."""
    inner = tuple(
        slice(p.start - r.start, p.stop - r.start)
        for i, r, p in zip(index, region, part, strict=True)
        if isinstance(i, slice)
    )
    return np.asarray(data[inner]).reshape([p.stop - p.start for p in part])


def write_lazily(target: LazyTarget, index: Sequence[int | slice], data: Any, limit: int) -> bool:
    """Write data that is not in memory to a box; False if it must be taken into memory first."""
    if is_dask(data):
        store_dask(target, data, index)
        return True
    if tuple(data.shape) != result_shape(index):
        return False
    write_in_parts(target, index, data, limit)
    return True


def write_in_parts(target: LazyTarget, index: Sequence[int | slice], data: Any, limit: int) -> None:
    """Copy an array on disk (zarr, HDF5, ...), part by part."""
    region, units = full_region(index), target.shards or target.chunks
    for part in batches(region, units, max(target.dtype.itemsize, data.dtype.itemsize), limit):
        target[part] = part_of(data, index, region, part)


def store_dask(
    target: LazyTarget,
    data: dask.array.Array,
    index: Sequence[int | slice],
    *,
    compute: bool = True,
    exactly: bool = False,
) -> Any:
    """Write a dask array, one task per whole unit of the target.

    Parameters
    ----------
    target : LazyTarget
        The array.
    data : dask.array.Array
        Of the shape that the index selects, or broadcastable to it.
    index : sequence of int or slice
        Where, with one entry per axis; steps of 1.
    compute : bool
        Whether to compute now, with the scheduler that is set; otherwise a ``Delayed`` is returned.
    exactly : bool
        Whether values that the target's type cannot hold are refused: by the data type where that says it,
        else by each block before it is written. Of numbers in an image of booleans, all but 0 are true.
    """
    import dask.array

    if exactly and target.dtype.kind != "b":
        check_kind(data.dtype, target.dtype, what="written to")
        if data.dtype != target.dtype:
            cast = functools.partial(exact, dtype=target.dtype, what="written to")
            data = dask.array.map_blocks(cast, data, dtype=target.dtype)  # type: ignore[no-untyped-call]
    region = full_region(index)
    shape = tuple(s.stop - s.start for s, i in zip(region, index, strict=True) if isinstance(i, slice))
    try:
        whole = dask.array.broadcast_to(data, shape)  # type: ignore[no-untyped-call]
    except ValueError:
        raise ArgumentError(
            f"a dask array of shape {data.shape} cannot be written to a selection of shape {shape}"
        ) from None
    whole = whole[tuple(slice(None) if isinstance(i, slice) else None for i in index)]
    whole = whole.astype(target.dtype).rechunk(tuple(map(_blocks, region, target.shards or target.chunks)))
    place: Any = target
    return dask.array.store(whole, place, regions=region, lock=False, compute=compute, return_stored=False)


def _blocks(part: slice, unit: int) -> tuple[int, ...]:
    """Sizes of the pieces into which the borders of units cut a slice."""
    borders = [part.start, *range((part.start // unit + 1) * unit, part.stop, unit), part.stop]
    return tuple(b - a for a, b in itertools.pairwise(borders)) if part.stop > part.start else (0,)
