"""Level 0 that lies elsewhere, brought into memory box by box, each tile of it as seldom as possible.

A box is made of whole blocks of level 0. Boxes follow each other in C order; while one is encoded and
reduced, the next one is read, where the budget allows it. What neighbouring boxes share (the pixels around
windows that overlap) is taken over from the one before where they lie one after another.
"""

from __future__ import annotations

import itertools
import math
import mmap
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from platestore.arrays.partition import Axis, choose_block, decodes
from platestore.arrays.sources import Region, Source, memory_order
from platestore.arrays.types import Pixels
from platestore.pyramid.blocks import BlockTree, Ranges

#: Boxes of small tiles are joined until they have about this size: enough for all threads.
_BOX_BYTES = 64 * 2**20
_PADDING = 128


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of level 0 in memory.

    Attributes
    ----------
    places : tuple of range
        Places of its blocks.
    region : tuple of slice
        What is in memory: the blocks, and the pixels around them.
    data : numpy.ndarray
        The pixels of the region.
    """

    places: Ranges
    region: Region
    data: Pixels

    def part(self, region: Region) -> Pixels:
        """The pixels of a region inside this one."""
        inner = tuple(
            slice(r.start - s.start, r.stop - s.start) for r, s in zip(region, self.region, strict=True)
        )
        return self.data[inner]


class Stages:
    """The boxes of a build.

    Parameters
    ----------
    source : Source
        Level 0.
    tree : BlockTree
        Its blocks.
    box : tuple of int
        Shape of a box, of whole blocks.
    halo : tuple of int
        How many pixels around a box are needed.
    depth : int
        How many boxes are in memory at once: 1, or 2 so that one is read while the other is worked on.
    """

    def __init__(
        self, source: Source, tree: BlockTree, box: tuple[int, ...], halo: tuple[int, ...], depth: int
    ) -> None:
        self.source = source
        self.tree = tree
        self.box = box
        self.halo = halo
        self.depth = depth
        self._order = memory_order(source)

    @property
    def is_transposed(self) -> bool:
        """Whether the last axis is not the fastest one in memory."""
        return self._order != tuple(range(len(self._order)))

    # --- what it takes ----------------------------------------------------------------------------

    @property
    def box_nbytes(self) -> int:
        """Bytes of a box, with the pixels around it."""
        rows = zip(self.source.shape, self.box, self.halo, strict=True)
        shape = [min(n, b + 2 * h) for n, b, h in rows]
        slowest = shape[self._order[0]]
        row = math.prod(shape) // max(1, slowest) * self.source.dtype.itemsize
        return slowest * (row + (_PADDING if self.is_transposed else 0))

    def _row_nbytes(self, shape: Sequence[int]) -> int:
        """Bytes from one place to the next along the slowest axis."""
        nbytes = math.prod(shape) // max(1, shape[self._order[0]]) * self.source.dtype.itemsize
        # Rows at multiples of a page compete for the same lines of a cache when columns are taken out.
        return nbytes + (_PADDING if self.is_transposed and nbytes % 4096 == 0 else 0)

    def _view(self, memory: Pixels, shape: tuple[int, ...]) -> Pixels:
        """Memory as a box, its axes in the order that suits the source."""
        dtype, order = self.source.dtype, self._order
        row = self._row_nbytes(shape)
        inner = tuple(shape[a] for a in order[1:])
        data = np.ndarray((shape[order[0]], *inner), dtype, memory, 0, _strides(row, inner, dtype.itemsize))
        return data.transpose(np.argsort(order))

    @property
    def nbytes(self) -> int:
        """Bytes of all boxes in memory at once, and of what is taken over."""
        rows = zip(self.source.shape, self.box, self.halo, strict=True)
        shared = max(min(1.0, 2 * h / min(n, b + 2 * h)) for n, b, h in rows)
        return self.depth * self.box_nbytes + math.ceil(shared * self.box_nbytes)

    def most_open(self, k: int, extent: Sequence[int]) -> tuple[int, ...]:
        """How many parts of a level are begun and not complete at once, at most, along each axis.

        Parameters
        ----------
        k : int
            The level.
        extent : sequence of int
            Shape of a part, in pixels of the level.
        """
        scale = [math.prod(f) for f in zip(*(lv.factors for lv in self.tree.levels[: k + 1]), strict=True)]
        out, straddled = [], False
        for n, b, e, f, first in zip(
            self.source.shape, self.box, extent, scale, self.tree.levels[0].block, strict=True
        ):
            # In pixels of level 0, and in whole blocks, since these come at once.
            reach = math.lcm(e * f, first)
            grid = -(-n // reach)
            if straddled:
                out.append(grid)
            elif b % reach == 0:
                out.append(min(grid, b // reach))
            else:
                out.append(min(grid, 1 if reach % b == 0 else (b + reach - 2) // reach + 1))
                straddled = grid > 0 and b < n
        return tuple(out)

    # --- the boxes --------------------------------------------------------------------------------

    def _boxes(self) -> Iterator[tuple[Ranges, Region]]:
        """Places of the blocks of each box, and what must be in memory for them."""
        level = self.tree.levels[0]
        cuts = []
        for walked, box, block in zip(self.tree.walked(0), self.box, level.block, strict=True):
            per_box = box // block
            numbers = range(walked.start // per_box, -(-walked.stop // per_box))
            cuts.append(
                [range(max(walked.start, i * per_box), min(walked.stop, (i + 1) * per_box)) for i in numbers]
            )
        for places in itertools.product(*cuts):
            rows = zip(places, level.block, self.halo, level.shape, strict=True)
            yield places, tuple(slice(max(0, p.start * b - h), min(n, p.stop * b + h)) for p, b, h, n in rows)

    def run(self, workers: int) -> Iterator[Stage]:
        """Read the boxes one after another.

        Parameters
        ----------
        workers : int
            Number of threads that may read.

        Yields
        ------
        Stage
            Valid until the next but ``depth - 1`` is asked for.
        """
        memory = [_memory(self.box_nbytes) for _ in range(self.depth)]
        before: Stage | None = None
        boxes = enumerate(self._boxes())
        if self.depth == 1:
            for _, box in boxes:
                before = self._load(*box, memory[0], before, workers)
                yield before
            return
        with ThreadPoolExecutor(1, thread_name_prefix="platestore-read") as pool:
            pending = None
            for i, box in boxes:
                if pending is not None:
                    before = pending.result()
                pending = pool.submit(self._load, *box, memory[i % 2], before, workers)
                if before is not None:
                    yield before
            if pending is not None:
                yield pending.result()

    def _load(
        self, places: Ranges, region: Region, memory: Pixels, before: Stage | None, workers: int
    ) -> Stage:
        shape = tuple(r.stop - r.start for r in region)
        data = self._view(memory, shape)
        rest, target = region, data
        axis = None if before is None else _continued(before.region, region)
        if before is not None and axis is not None:
            stop = before.region[axis].stop
            kept = before.part((*region[:axis], slice(region[axis].start, stop), *region[axis + 1 :]))
            if np.may_share_memory(kept, data):
                kept = kept.copy()
            index = (slice(None),) * axis
            data[(*index, slice(0, kept.shape[axis]))] = kept
            rest = (*region[:axis], slice(stop, region[axis].stop), *region[axis + 1 :])
            target = data[(*index, slice(kept.shape[axis], None))]
        if target.size:
            self.source.load(rest, target, workers)
        return Stage(places, region, data)


def _strides(row: int, inner: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Strides of rows, and of what lies in C order in each."""
    out = [itemsize]
    for n in reversed(inner[1:]):
        out.append(out[-1] * n)
    return (row, *reversed(out[: len(inner)]))


def _memory(nbytes: int) -> Pixels:
    """Memory that goes back to the system when it is no longer used, and not to a heap that keeps it."""
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_ANONYMOUS") else {}
    return np.frombuffer(mmap.mmap(-1, max(1, nbytes), **private), np.uint8)


def _continued(before: Region, region: Region) -> int | None:
    """Along which axis a region overlaps the one before and goes on; None if it does not."""
    other = [i for i, (a, b) in enumerate(zip(before, region, strict=True)) if a != b]
    if len(other) != 1:
        return None
    a, b = before[other[0]], region[other[0]]
    return other[0] if a.start <= b.start < a.stop <= b.stop else None


def choose_box(source: Source, tree: BlockTree, limit: int) -> tuple[tuple[int, ...], float]:
    """The shape of a box within so many bytes, and how many tiles are then read.

    Parameters
    ----------
    source : Source
        Level 0.
    tree : BlockTree
        Its blocks.
    limit : int
        Bytes of a box of more than one block.
    """
    block = tree.levels[0].block
    axes = tuple(
        Axis.of(slice(0, n, 1), tile, b, b)
        for n, tile, b in zip(source.shape, source.tiles, block, strict=True)
    )
    size = source.dtype.itemsize
    box = choose_block(axes, size, limit)
    # Longer along the last axes first, as these boxes complete whole rows of blocks.
    box = _enlarged(box, block, source.shape, size, min(limit, _BOX_BYTES))
    return box, decodes(axes, box)


def _enlarged(
    box: tuple[int, ...], block: tuple[int, ...], shape: tuple[int, ...], size: int, limit: int
) -> tuple[int, ...]:
    out = list(box)
    for axis in reversed(range(len(out))):
        while out[axis] < shape[axis]:
            most = -(-shape[axis] // block[axis]) * block[axis]
            tried = [*out[:axis], min(2 * out[axis], most), *out[axis + 1 :]]
            if math.prod(map(min, tried, shape)) * size > limit:
                break
            out = tried
    return tuple(out)
