"""What copying a part of one array into another takes: blocks, threads and memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

from platestore.arrays.layout import grid
from platestore.arrays.partition import (
    Axis,
    Pick,
    choose_block,
    decodes,
    decodes_in_place,
    picked_size,
    units_of,
)
from platestore.copying.ends import ChunkSource, TileTarget, open_target
from platestore.errors import ArgumentError, BudgetError
from platestore.storage.base import Storage
from platestore.storage.hierarchy import ArrayDocument

# What a call costs beside pixels: threads, indices, paths, gaps between pieces of memory.
_OVERHEAD = 8 * 2**20
# And what each thread costs: its stack, what codecs work in.
_THREAD_BYTES = 2 * 2**20
# Share of the budget that a block takes at most: two of them, and what the threads need, fit.
_BLOCK_SHARE = 0.3
# A larger one, of which only one may fit, is taken where that saves so much decoding, and two threads fit.
_LARGE_SHARE, _LARGE_GAIN = 0.5, 0.8
_MOST_BLOCK_BYTES = 2**30
# Threads take work of about this size: less work per pixel where chunks are small.
_PART_BYTES = 2**20
# Encoded parts beside those that the threads are making, which wait to be appended to a shard.
_WAITING = 2
# Pieces of memory up to this size may stay with the C library for a while when they are given back.
_KEPT_BYTES = 32 * 2**20
# Files are not asked how large they are where the codec says that they are no larger than this.
_SMALL_BYTES = 256 * 2**10


@dataclass(frozen=True, slots=True)
class PixelJob:
    """What is to be copied where.

    Attributes
    ----------
    source, target : Storage
        Where the arrays are.
    source_array, target_array : ArrayDocument
        The two arrays, of the same data type up to byte order; the target's document exists.
    picks : tuple of slice or tuple of int
        What is taken along each axis of the source: a slice of step 1 or more with bounds inside the
        array, or indices in any order. The target has the shape of the selection.
    """

    source: Storage
    source_array: ArrayDocument
    target: Storage
    target_array: ArrayDocument
    picks: tuple[Pick, ...]

    def open(self) -> tuple[ChunkSource, TileTarget, tuple[Axis, ...]]:
        """Both ends, and how they meet along each axis."""
        source = ChunkSource.open(self.source, self.source_array)
        target = open_target(self.target, self.target_array)
        rows = zip(self.picks, source.chunks, target.tile, target.units, strict=True)
        return source, target, tuple(Axis.of(*row) for row in rows)


@dataclass(frozen=True, slots=True)
class PixelPlan:
    """How a job is done.

    Attributes
    ----------
    job : PixelJob
        The job.
    max_memory, most_workers : int
        What was allowed.
    block : tuple of int
        Shape of the part of the target that is put together at once. It depends on the arrays and on
        ``max_memory``, not on the number of threads.
    workers : int
        Number of threads.
    depth : int
        Number of blocks in memory at once.
    window : int
        Number of encoded parts in memory at once, where they wait for their turn in a shard.
    fill_part, drain_part : int
        Number of source chunks, and of target chunks, that a thread takes at a time.
    frugal : bool
        Whether memory to read in is given back before chunks are encoded.
    nbytes_needed : int
        Bytes of memory that it takes at most.
    total : int
        Bytes of the target's pixels.
    files : int
        Number of shards of the target; of chunks, where there are no shards.
    """

    job: PixelJob
    max_memory: int
    most_workers: int
    block: tuple[int, ...]
    workers: int
    depth: int
    window: int
    fill_part: int
    drain_part: int
    frugal: bool
    nbytes_needed: int
    total: int
    files: int


def plan_pixels(job: PixelJob, *, max_memory: int, workers: int) -> PixelPlan:
    """Plan a copy; nothing is written.

    Parameters
    ----------
    job : PixelJob
        What is copied.
    max_memory : int
        Bytes by which the process may grow.
    workers : int
        Number of threads, where memory and work suffice for so many.

    Returns
    -------
    PixelPlan

    Raises
    ------
    BudgetError
        If the budget is below what this needs at least.
    ArgumentError
        If shapes or data types of the two arrays do not fit.
    """
    source, target, axes = job.open()
    sizes = tuple(map(picked_size, job.picks))
    if source.dtype != target.dtype or sizes != target.shape:
        raise ArgumentError(
            f"{sizes} {source.dtype} cannot be copied into {target.shape} {target.dtype}", path=target.path
        )
    ends = (source, target, axes)
    # A copy that could not be compared with its source in the same memory is not begun.
    least = _Needs(*ends, tuple(axis.chunk for axis in axes), comparing=True, frugal=True).least
    return _planned(job, ends, max_memory, workers, least=least)


def plan_comparison(plan: PixelPlan) -> PixelPlan:
    """Plan the comparison of a copy with its source, with what the copy was allowed."""
    return _planned(plan.job, plan.job.open(), plan.max_memory, plan.most_workers, comparing=True)


_Ends = tuple[ChunkSource, TileTarget, tuple[Axis, ...]]


def _planned(
    job: PixelJob, ends: _Ends, max_memory: int, workers: int, *, least: int = 0, comparing: bool = False
) -> PixelPlan:
    target = ends[1]
    needs = _choose(ends, max_memory, comparing)
    least = max(least, needs.least)
    if least > max_memory:
        raise BudgetError(
            f"max_memory of {max_memory} bytes is too small: this copy needs {least} bytes "
            f"({least / 2**20:.1f} MiB)",
            path=target.path,
            hint=f"pass max_memory={least} or more; smaller chunks need less",
            needed=least,
        )
    count, depth = needs.shared_out(workers, max_memory)
    return PixelPlan(
        job=job,
        max_memory=max_memory,
        most_workers=workers,
        block=needs.block,
        workers=count,
        depth=depth,
        window=needs.window(count, depth),
        fill_part=needs.fill_part,
        drain_part=needs.drain_part,
        frugal=needs.frugal,
        nbytes_needed=needs.nbytes(count, depth),
        total=math.prod(target.shape) * target.dtype.itemsize,
        files=math.prod(grid(target.shape, target.units)),
    )


def _choose(ends: _Ends, max_memory: int, comparing: bool) -> _Needs:
    """The shape of a block, which does not depend on the number of threads."""
    source, target, axes = ends

    def of(nbytes: int, frugal: bool = False) -> _Needs:
        block = choose_block(axes, source.dtype.itemsize, nbytes, target.together)
        return _Needs(source, target, axes, block, comparing=comparing, frugal=frugal)

    share = min(int(max_memory * _BLOCK_SHARE), _MOST_BLOCK_BYTES)
    large = of(min(int(max_memory * _LARGE_SHARE), _MOST_BLOCK_BYTES))
    needs = of(share)
    if large.nbytes(2, 1) <= max_memory and large.decodes < _LARGE_GAIN * needs.decodes:
        return large
    while needs.least > max_memory and needs.tiles > 1:
        share //= 2
        needs = of(share)
    return needs if needs.least <= max_memory else of(share, frugal=True)


class _Needs:
    """What blocks of one shape take.

    Parameters
    ----------
    source, target : ChunkSource, TileTarget
        Both ends.
    axes : tuple of Axis
        How they meet.
    block : tuple of int
        Shape of a block.
    comparing : bool
        Whether the target is read and compared, and not written.
    frugal : bool
        Whether memory to read in is given back before chunks are encoded.
    """

    def __init__(
        self,
        source: ChunkSource,
        target: TileTarget,
        axes: tuple[Axis, ...],
        block: tuple[int, ...],
        *,
        comparing: bool,
        frugal: bool,
    ) -> None:
        tile = math.prod(target.tile) * target.dtype.itemsize
        self.block = block
        self.frugal = frugal
        self.tiles = math.prod(-(-size // n) for size, n in zip(block, target.tile, strict=True))
        self.fill_part = max(1, _PART_BYTES // max(1, source.chunk_nbytes))
        self.drain_part = max(1, _PART_BYTES // max(1, tile))
        self.decodes = decodes(axes, block)
        held = target.held_nbytes + target.index_nbytes * units_of(axes, block)
        self._fixed = _OVERHEAD + source.reader.index_nbytes + held
        self._tile = tile
        self._block = self.tiles * tile
        # Where chunks are appended to a file, they wait for their turn; elsewhere they are written at once.
        self._encoded = min(self.tiles, self.drain_part) * target.stored_nbytes
        self._waits = target.in_order and not comparing
        scratch = 0 if decodes_in_place(axes) else source.chunk_nbytes
        self._reading = source.reading_nbytes(_SMALL_BYTES) + scratch
        if comparing:
            self._using = tile + target.reading_nbytes()
        else:
            self._using = target.storing_nbytes + (0 if self._waits else target.stored_nbytes)
        chunks = math.prod(
            math.ceil(axis.decodes(size) / axis.count(size)) for axis, size in zip(axes, block, strict=True)
        )
        self._drains = -(-self.tiles // self.drain_part)
        self._parts = max(-(-chunks // self.fill_part), self._drains)

    def window(self, workers: int, depth: int) -> int:
        """How many encoded parts may be in memory."""
        return min(workers + _WAITING, depth * self._drains) if self._waits else depth * self._drains

    def nbytes(self, workers: int, depth: int) -> int:
        """Bytes that so many threads and blocks take."""
        each = self._reading + self._using
        if self.frugal:
            each = max(self._reading, self._using) + min(self._reading, self._using, 2 * _KEPT_BYTES)
        each += _THREAD_BYTES + min(self._tile, _KEPT_BYTES)
        waiting = self.window(workers, depth) * self._encoded if self._waits else 0
        return self._fixed + depth * self._block + workers * each + waiting

    @property
    def least(self) -> int:
        """Bytes that one thread and one block take."""
        return self.nbytes(1, 1)

    def shared_out(self, workers: int, max_memory: int) -> tuple[int, int]:
        """How many threads and blocks there are: as many threads as possible, then two blocks if possible."""
        if self.frugal:
            return 1, 1
        best, at_work = (1, 1), 0
        for depth in range(1, workers + 2):
            count = min(workers, depth * self._parts)
            while count > 1 and self.nbytes(count, depth) > max_memory:
                count -= 1
            if self.nbytes(count, depth) > max_memory:
                break
            if count > at_work or (count == at_work and best[1] == 1):
                best, at_work = (count, depth), count
        return best
