"""Dask arrays as sources: computed box by box, from one graph."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from platestore.arrays.sources import Pixels, Region, fill_box, native
from platestore.errors import ArgumentError

if TYPE_CHECKING:
    import dask.array

# Blocks that other processes compute come back together: to start them takes long.
_BATCH_BYTES = 32 * 2**20
# What a task of a graph takes.
_TASK_BYTES = 1024


@dataclass(frozen=True, slots=True)
class _Block:
    """A block of a dask array: its key and shape, what is taken of it, and where in a box it goes."""

    key: Any
    shape: tuple[int, ...]
    taken: Region
    put: Region


class DaskSource:
    """A dask array, computed box by box.

    The scheduler that is set (or a distributed client) is used; otherwise threads, as many as may be. The
    graph is taken as it is, once: to slice the array for every box would walk all of it each time.

    Parameters
    ----------
    array : dask.array.Array
        The array.
    """

    def __init__(self, array: dask.array.Array) -> None:
        if any(math.isnan(n) for n in array.shape):
            raise ArgumentError(
                "a dask array of unknown shape cannot be written", hint="call its compute_chunk_sizes()"
            )
        # `array[...] = x` changes a dask array in place.
        self._array: dask.array.Array = array.copy()  # type: ignore[no-untyped-call]
        self._graph: Mapping[Any, Any] | None = None
        self._borders = [list(itertools.accumulate(sizes, initial=0)) for sizes in array.chunks]
        self.shape = tuple(int(n) for n in array.shape)
        self.dtype = native(array.dtype)
        self.tiles = tuple(max(1, *sizes) if sizes else 1 for sizes in array.chunks)
        self._block_nbytes: int = math.prod(self.tiles) * self.dtype.itemsize
        blocks, layers = math.prod(array.numblocks), array.dask.layers.values()
        self._largest: int = max([self._block_nbytes, *map(_largest_nbytes, layers)])
        self._tasks: int = sum(len(layer) if layer.is_materialized() else blocks for layer in layers)

    def load(self, region: Region, out: Pixels, workers: int) -> None:
        """Compute a box; each block goes to its place as soon as it is there."""
        import dask.local
        import dask.threaded
        from dask.base import get_scheduler

        if self._graph is None:
            array = self._array
            self._graph = dict(array.__dask_optimize__(array.__dask_graph__(), array.__dask_keys__()))
        wanted = self._blocks(region)
        graph = _culled(self._graph, [block.key for block in wanted])
        get = get_scheduler()  # type: ignore[no-untyped-call]
        if runs_here():
            puts = {
                f"platestore-put-{i}": (partial(_put, out, block), block.key)
                for i, block in enumerate(wanted)
            }
            run = get or (dask.threaded.get if workers > 1 else dask.local.get_sync)
            options = {} if get else {"num_workers": workers}
            run({**graph, **puts}, list(puts), **options)
            return
        count = max(workers, _BATCH_BYTES // self._block_nbytes)
        for i in range(0, len(wanted), count):  # other processes have no access to `out`
            some = wanted[i : i + count]
            keys = [block.key for block in some]
            for block, pixels in zip(some, get(_culled(graph, keys), keys), strict=True):
                _put(out, block, pixels)

    def _blocks(self, region: Region) -> list[_Block]:
        """The blocks that a box touches."""
        rows = []
        for part, borders in zip(region, self._borders, strict=True):
            found = []
            for i in range(max(0, bisect.bisect_right(borders, part.start) - 1), len(borders) - 1):
                if borders[i] >= part.stop:
                    break
                start, stop = max(part.start, borders[i]), min(part.stop, borders[i + 1])
                if stop > start:
                    taken = slice(start - borders[i], stop - borders[i])
                    put = slice(start - part.start, stop - part.start)
                    found.append((i, borders[i + 1] - borders[i], taken, put))
            rows.append(found)
        return [
            _Block(
                key=(self._array.name, *(number for number, *_ in choice)),
                shape=tuple(length for _, length, _, _ in choice),
                taken=tuple(taken for _, _, taken, _ in choice),
                put=tuple(put for *_, put in choice),
            )
            for choice in itertools.product(*rows)
        ]

    def loading_nbytes(self, workers: int) -> int:
        """Blocks, two of the largest that they are computed from, and the graph."""
        batch = 0 if runs_here() else max(_BATCH_BYTES, workers * self._block_nbytes)
        each = self._block_nbytes + 2 * self._largest
        return workers * each + batch + self._tasks * _TASK_BYTES


def _largest_nbytes(layer: Any) -> int:
    """Bytes of the largest block of a layer, where it says so."""
    facts = getattr(layer, "collection_annotations", None) or {}
    try:
        return int(math.prod(facts["chunksize"]) * np.dtype(facts["dtype"]).itemsize)
    except (KeyError, TypeError, ValueError):
        return 0


def runs_here() -> bool:
    """Whether the dask scheduler that is set computes blocks in this process."""
    import dask.local
    import dask.threaded
    from dask.base import get_scheduler

    return get_scheduler() in (None, dask.threaded.get, dask.local.get_sync)  # type: ignore[no-untyped-call]


def _culled(graph: Mapping[Any, Any], keys: list[Any]) -> dict[Any, Any]:
    """What some blocks are computed from."""
    from dask.optimization import cull

    return dict(cull(graph, keys)[0])  # type: ignore[no-untyped-call]


def _put(out: Pixels, block: _Block, found: Any) -> None:
    pixels = np.asarray(found)
    if pixels.shape != block.shape or not np.can_cast(pixels.dtype, out.dtype, "same_kind"):
        raise ArgumentError(
            f"the block {block.key} of a dask array has shape {pixels.shape} and type {pixels.dtype}; the "
            f"array says {block.shape} and {out.dtype}",
            hint="correct the function that computes it, or its dtype= and chunks=",
        )
    fill_box(out[block.put], pixels[block.taken])
