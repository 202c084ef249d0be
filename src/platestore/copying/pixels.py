"""Copying a part of one array into another, by decoding and encoding its chunks: one pass, bounded memory.

A block of the target is put together from the source chunks that it needs, then its own chunks are encoded.
The memory of a block holds whole target chunks (*tiles*) one after another: so each is encoded where it
lies, and a source chunk that lies in one of them in one piece is decoded where it belongs.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from platestore.arrays.partition import Cut, Pick, Place, Span, blocks
from platestore.arrays.types import DType, Pixels
from platestore.copying.pipeline import Pipeline, Stopped
from platestore.copying.pixel_plan import PixelJob, PixelPlan, plan_comparison, plan_pixels
from platestore.errors import VerifyError
from platestore.storage.base import Piece

__all__ = [
    "Pick",
    "PixelJob",
    "PixelPlan",
    "PixelResult",
    "Stopped",
    "compare_pixels",
    "copy_pixels",
    "plan_pixels",
]

#: Called with the decoded bytes that are done since the last call.
Progress = Callable[[int], None]
_Encoded = list[tuple[Place, Piece | None]]


class PixelResult(NamedTuple):
    """What was written.

    Attributes
    ----------
    files, nbytes : int
        Number of files, and bytes in them: without those that were there, or hold the fill value only.
    """

    files: int
    nbytes: int


def copy_pixels(
    plan: PixelPlan,
    *,
    skip_existing: bool,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> PixelResult:
    """Copy the pixels.

    Files appear complete under their names, one after another; the bytes do not depend on the number of
    threads.

    Parameters
    ----------
    plan : PixelPlan
        What to do.
    skip_existing : bool
        Whether files that are there already stay as they are, and are not made again.
    progress : callable, optional
        Called with the decoded bytes that are done since the last call.
    stop : threading.Event, optional
        Set to end it soon.

    Returns
    -------
    PixelResult

    Raises
    ------
    Stopped
        If ``stop`` was set.
    DamagedChunkError, MissingChunkError
        If a chunk of the source cannot be read.
    """
    run = _TileCopy(plan, progress, skip_existing)
    try:
        run.work(stop)
    except BaseException:
        run.target.discard()
        raise
    return PixelResult(*run.target.written())


def compare_pixels(
    plan: PixelPlan, *, progress: Progress | None = None, stop: threading.Event | None = None
) -> None:
    """Read both arrays again, and compare their pixels to the bit.

    Parameters
    ----------
    plan : PixelPlan
        What was copied.
    progress : callable, optional
        Called with the decoded bytes that are done since the last call.
    stop : threading.Event, optional
        Set to end it soon.

    Raises
    ------
    VerifyError
        If there is a difference; it names the array and the region of the first one.
    Stopped
        If ``stop`` was set.
    DamagedChunkError, MissingChunkError
        If a chunk of either array cannot be read.
    """
    _Comparison(plan_comparison(plan), progress, skip_existing=False).work(stop)


class _Scratch(threading.local):
    """Chunks of one thread that are used again: fresh pages cost as much as decoding."""

    def __init__(self) -> None:
        self.chunks: dict[str, Pixels] = {}

    def chunk(self, use: str, shape: tuple[int, ...], dtype: DType) -> Pixels:
        if use not in self.chunks:
            self.chunks[use] = np.empty(shape, dtype)
        return self.chunks[use]


class _TileRun:
    """What copying and comparing have in common.

    Parameters
    ----------
    plan : PixelPlan
        What to do.
    progress : callable, optional
        Called with the decoded bytes that are done since the last call.
    skip_existing : bool
        Whether units that are there are left out.
    """

    def __init__(self, plan: PixelPlan, progress: Progress | None, skip_existing: bool) -> None:
        self.plan = plan
        self.source, self.target, self.axes = plan.job.open()
        self.scratch = _Scratch()
        self.same_fill = _bits(self.source.fill, self.source.dtype) == _bits(
            self.target.fill, self.source.dtype
        )
        self._progress = progress
        self._skip = skip_existing
        self._existing: dict[Place, bool] = {}
        self._buffers: list[Pixels] = []

    def work(self, stop: threading.Event | None) -> None:
        """Do it all."""
        Pipeline(self.plan.workers, self.plan.depth, self.plan.window, stop).run(self._blocks(), self._take)

    def _blocks(self) -> Iterator[_Block]:
        # A block is asked for when there is room: the one that had this memory before is done with.
        number = 0
        for spans in blocks(self.axes, self.plan.block):
            block = _Block(self, spans)
            if block.skipped:
                self._tell(block.skipped)
            if block.tiles:
                block.data = self._buffer(number, block.count)
                number += 1
                yield block

    def _buffer(self, number: int, count: int) -> Pixels:
        """Memory for so many tiles, used in turn."""
        turn = number % self.plan.depth
        if turn == len(self._buffers):
            self._buffers.append(np.empty((0, *self.target.tile), self.target.dtype))
        if len(self._buffers[turn]) < count:
            self._buffers[turn] = np.empty((count, *self.target.tile), self.target.dtype)
        return self._buffers[turn]

    def exists(self, units: set[Place]) -> set[Place]:
        """Which of these files are there already, as it was when they were first asked for."""
        if not self._skip:
            return set()
        before, self._existing = self._existing, {}
        for unit in units:
            self._existing[unit] = before[unit] if unit in before else self.target.exists(unit)
        return {unit for unit in units if self._existing[unit]}

    def tidy(self) -> None:
        """Give back what this thread reads into, where the budget has no room for it and for what comes."""
        if self.plan.frugal:
            self.scratch.chunks.clear()
            self.source.forget()
            self.target.forget()

    def use(self, block: _Block, tiles: list[Place]) -> Any:
        """Do with complete tiles what is to be done; in any thread."""
        raise NotImplementedError

    def took(self, result: Any) -> None:
        """Do what is to be done in order."""
        raise NotImplementedError

    def _take(self, result: tuple[Any, int]) -> None:
        self.took(result[0])
        self._tell(result[1])

    def _tell(self, nbytes: int) -> None:
        if self._progress is not None:
            self._progress(nbytes)


class _TileCopy(_TileRun):
    """Encodes tiles; those of shards are appended in order."""

    def use(self, block: _Block, tiles: list[Place]) -> _Encoded:
        return [(place, self.target.store(place, block.complete(place))) for place in tiles]

    def took(self, result: _Encoded) -> None:
        for place, data in result:
            self.target.finish(place, data)


class _Comparison(_TileRun):
    """Compares tiles with what the target holds."""

    def use(self, block: _Block, tiles: list[Place]) -> str | None:
        return next(filter(None, (self._difference(block, place) for place in tiles)), None)

    def _difference(self, block: _Block, place: Place) -> str | None:
        """The region of a tile that differs, if there is one."""
        wanted = block.complete(place)
        found: Pixels | None = self.scratch.chunk("target", self.target.tile, self.target.dtype)
        assert found is not None
        if not self.target.read(place, found):
            if wanted is None:
                return None
            found[...] = self.target.fill
        inside = block.inside(place)
        if wanted is None:
            wanted = np.broadcast_to(np.asarray(self.source.fill, found.dtype), found.shape)
        differs = _differs(wanted[inside], found[inside])
        if not differs.any():
            return None
        bounds = []
        for axis, (p, n) in enumerate(zip(place, self.target.tile, strict=True)):
            others = tuple(i for i in range(differs.ndim) if i != axis)
            where = np.flatnonzero(differs.any(axis=others))
            bounds.append(f"{p * n + int(where[0])}:{p * n + int(where[-1]) + 1}")
        return f"[{', '.join(bounds)}]"

    def took(self, result: str | None) -> None:
        if result is not None:
            raise VerifyError(f"the pixels {result} are not those of the source", path=self.target.path)


class _Block:
    """A block while it is put together, and while its tiles are used.

    Parameters
    ----------
    run : _TileCopy or _Comparison
        What it is for.
    spans : tuple of (int, int)
        Where it lies in the target.
    """

    def __init__(self, run: _TileRun, spans: tuple[Span, ...]) -> None:
        self._run = run
        self._spans = spans
        tile = run.target.tile
        ranges = [range(a // n, -(-b // n)) for (a, b), n in zip(spans, tile, strict=True)]
        self._first = tuple(r.start for r in ranges)
        self._counts = tuple(map(len, ranges))
        self.count = math.prod(self._counts)
        self.data: Pixels = np.empty((0, *tile))
        places = list(itertools.product(*ranges))
        units = {place: run.target.unit_of(place) for place in places}
        existing = run.exists(set(units.values()))
        # Unit by unit, in C order, and in C order inside each.
        self.tiles = sorted((p for p in places if units[p] not in existing), key=lambda p: (units[p], p))
        self._wanted = set(self.tiles) if existing else None
        self.skipped = sum(self._nbytes(p) for p in places if units[p] in existing)
        self._cuts: list[dict[int, list[Cut]]] = []
        for axis, span in zip(run.axes, spans, strict=True):
            by_source: dict[int, list[Cut]] = {}
            for cut in axis.cuts(span):
                by_source.setdefault(cut.source, []).append(cut)
            self._cuts.append(by_source)
        self._sources = list(itertools.product(*self._cuts)) if self.tiles else []
        # Of each tile: whether any pixel was read, and where source chunks are missing.
        self._found = bytearray(self.count)
        self._absent: dict[int, list[tuple[slice, ...]]] = {}

    @property
    def fills(self) -> int:
        """Number of parts that read the source."""
        return -(-len(self._sources) // self._run.plan.fill_part)

    @property
    def drains(self) -> int:
        """Number of parts that use the tiles."""
        return -(-len(self.tiles) // self._run.plan.drain_part)

    def fill(self, part: int) -> None:
        """Decode some source chunks into the tiles."""
        n = self._run.plan.fill_part
        for place in self._sources[part * n : (part + 1) * n]:
            self._read(place)
        self._run.tidy()

    def drain(self, part: int) -> tuple[Any, int]:
        """Use some tiles; returns what came of it, and the bytes that are done."""
        n = self._run.plan.drain_part
        tiles = self.tiles[part * n : (part + 1) * n]
        result = self._run.use(self, tiles)
        self._run.tidy()
        return result, sum(map(self._nbytes, tiles))

    def _read(self, place: Place) -> None:
        """Decode a source chunk, and put its pixels where they belong."""
        source = self._run.source
        pieces = []
        for cuts in itertools.product(*(by[p] for by, p in zip(self._cuts, place, strict=True))):
            tile = tuple(c.target for c in cuts)
            if self._wanted is None or tile in self._wanted:
                pieces.append((self._index(tile), cuts))
        if not pieces:
            return
        index, cuts = pieces[0]
        into = self.data[index][tuple(c.put for c in cuts)]
        whole = all(c.taken == slice(0, n, 1) for c, n in zip(cuts, source.chunks, strict=True))
        if len(pieces) == 1 and whole and into.flags.c_contiguous:
            present = source.reader.read(place, into)
        else:
            chunk = self._run.scratch.chunk("source", source.chunks, source.dtype)
            present = source.reader.read(place, chunk)
            if present:
                for index, cuts in pieces:
                    self.data[index][tuple(c.put for c in cuts)] = chunk[tuple(c.taken for c in cuts)]
        for index, cuts in pieces:
            if present:
                self._found[index] = True
            else:
                self._absent.setdefault(index, []).append(tuple(c.put for c in cuts))

    def complete(self, place: Place) -> Pixels | None:
        """A whole tile with all its pixels; None if all are the fill value of both arrays."""
        index, source, target = self._index(place), self._run.source, self._run.target
        if not self._found[index] and self._run.same_fill:
            return None
        tile: Pixels = self.data[index]
        for put in self._absent.get(index, ()):
            tile[put] = source.fill
        for axis, part in enumerate(self.inside(place)):
            if part.stop < target.tile[axis]:
                tile[(slice(None),) * axis + (slice(part.stop, None),)] = target.fill
        return tile

    def inside(self, place: Place) -> tuple[slice, ...]:
        """The part of a tile that lies in the array."""
        target = self._run.target
        rows = zip(place, target.tile, target.shape, strict=True)
        return tuple(slice(0, min(n, size - p * n)) for p, n, size in rows)

    def _index(self, place: Place) -> int:
        index = 0
        for p, first, count in zip(place, self._first, self._counts, strict=True):
            index = index * count + p - first
        return index

    def _nbytes(self, place: Place) -> int:
        """Bytes of the pixels of a tile that lie in the array."""
        elements: int = math.prod(part.stop for part in self.inside(place))
        return elements * self._run.target.dtype.itemsize


def _bits(value: Any, dtype: DType) -> bytes:
    return np.asarray(value, dtype).tobytes()


def _differs(one: Pixels, other: Pixels) -> Any:
    """Where two arrays differ to the bit."""
    size = one.dtype.itemsize
    if size <= 8:
        return np.not_equal(one.view(f"u{size}"), other.view(f"u{size}"))
    return np.not_equal(one.real.copy().view("u8"), other.real.copy().view("u8")) | np.not_equal(
        one.imag.copy().view("u8"), other.imag.copy().view("u8")
    )
