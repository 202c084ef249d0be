"""Levels that are computed when they are read, and sources as dask arrays."""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from platestore.arrays.sources import Rearranged, Region, Source, as_source, read_tiles
from platestore.arrays.types import Pixels
from platestore.pyramid.windows import needed, reduce_region
from platestore.spec.geometry import next_shape

if TYPE_CHECKING:
    import dask.array

    from platestore.pyramid.kernels import Method

# Most bytes of the level above that a thread holds to make a part of a level.
_PART_BYTES = 8 * 2**20


class LevelSource:
    """A level of a pyramid, made from the level above as far as it is read.

    The pixels are those that writing the pyramid makes, whichever part is read.

    Parameters
    ----------
    above : Source
        The level that it is made from.
    factors : sequence of int
        Factors of the step.
    method : str
        How windows are reduced.
    """

    def __init__(self, above: Source, factors: Sequence[int], method: Method) -> None:
        self.above = above
        self.factors = tuple(factors)
        self.method = method
        self.shape = next_shape(above.shape, self.factors)
        self.dtype = above.dtype
        self.tiles = tuple(max(1, t // f) for t, f in zip(above.tiles, self.factors, strict=True))

    def load(self, region: Region, out: Pixels, workers: int) -> None:
        """Make a box, part by part."""

        def make(part: Region, target: Pixels) -> None:
            wanted = needed(part, self.above.shape, self.factors, self.method)
            block = np.empty([w.stop - w.start for w in wanted], self.dtype)
            self.above.load(wanted, block, 1)
            reduce_region(block, wanted, self.above.shape, part, self.factors, self.method, target)

        read_tiles(region, self._parts(region), out, make, workers)

    def _parts(self, region: Region) -> tuple[int, ...]:
        """Shape of the parts of a box: halved along the longest axis until they need little enough."""
        parts = [max(1, r.stop - r.start) for r in region]
        while True:
            wanted = needed(tuple(slice(0, n) for n in parts), self.above.shape, self.factors, self.method)
            lengths = [w.stop for w in wanted]
            splittable = [i for i, n in enumerate(parts) if n > 1]
            if math.prod(lengths) * self.dtype.itemsize <= _PART_BYTES or not splittable:
                return tuple(parts)
            longest = max(splittable, key=lambda i: lengths[i])
            parts[longest] = -(-parts[longest] // 2)

    def loading_nbytes(self, workers: int) -> int:
        """What each thread holds of the level above, and what that takes to read."""
        return workers * (_PART_BYTES + self.above.loading_nbytes(1))


class SourceArray:
    """A source with the face of an array, for dask.

    Parameters
    ----------
    source : Source
        The source.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.shape, self.dtype, self.ndim = source.shape, source.dtype, len(source.shape)

    def __getitem__(self, index: Any) -> Pixels:
        """Read a selection: what dask asks for is a box, and, where it joins selections, a part of one."""
        parts = index if isinstance(index, tuple) else (index,)
        parts = (*parts, *(slice(None),) * (self.ndim - len(parts)))
        region, inner = zip(*map(_box, parts, self.shape), strict=True)
        out = np.empty([r.stop - r.start for r in region], self.dtype)
        self.source.load(region, out, 1)
        for axis in reversed(range(self.ndim)):
            out = out[(*(slice(None),) * axis, inner[axis])]
        return out


def _box(part: Any, length: int) -> tuple[slice, Any]:
    """The least slice that holds a selection along one axis, and the selection in it."""
    if isinstance(part, slice):
        chosen = range(*part.indices(length))
        if not chosen:
            return slice(0, 0), slice(None)
        low, high = min(chosen[0], chosen[-1]), max(chosen[0], chosen[-1])
        return slice(low, high + 1), slice(None, None, chosen.step)
    indices = np.arange(length)[part]
    if indices.ndim == 0:
        return slice(int(indices), int(indices) + 1), 0
    if not indices.size:
        return slice(0, 0), slice(None)
    low = int(indices.min())
    return slice(low, int(indices.max()) + 1), indices - low


def as_dask(source: Source, chunks: Sequence[int]) -> dask.array.Array:
    """A source as a dask array that reads nothing as yet, and whose graph has a few entries only.

    Parameters
    ----------
    source : Source
        The source.
    chunks : sequence of int
        Length of its blocks along each axis.
    """
    import dask.array

    lazy: dask.array.Array = dask.array.from_array(  # type: ignore[no-untyped-call]
        SourceArray(source),
        chunks=tuple(min(c, n) for c, n in zip(chunks, source.shape, strict=True)),
        name=f"platestore-{uuid.uuid4().hex}",
        asarray=False,
        meta=np.empty((0,) * len(source.shape), source.dtype),
    )
    return lazy


def in_order(data: Any, dims: Sequence[str], order: Sequence[str]) -> Any:
    """An array with its axes in a given order: a view of one in memory, a source of any other.

    Parameters
    ----------
    data : array
        What :func:`platestore.arrays.sources.as_source` takes.
    dims : sequence of str
        Its axes.
    order : sequence of str
        The same axes, as they are wanted.
    """
    axes = [list(dims).index(d) for d in order]
    if type(data) is np.ndarray:
        return data.transpose(axes)
    source = as_source(data)
    return source if axes == list(range(len(axes))) else Rearranged(source, axes)
