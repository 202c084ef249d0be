"""The one pass: every level of a pyramid from one reading of level 0.

Level-0 blocks are read depth first. As soon as the blocks that one block of the next level is made from are
complete, it is encoded, written, reduced into the level after it, and forgotten. Nothing is read again, and
besides the blocks being read only about one block per level is in memory.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from platestore.errors import BudgetError
from platestore.pyramid.blocks import BlockTree, Place
from platestore.pyramid.kernels import SCRATCH_BYTES, reduce_block

#: Reports bytes of level 0 that are done, and all there are.
Progress = Callable[[int, int], None]
# What a call costs beside pixels: threads, indices, paths.
_OVERHEAD = 4 * 2**20


class Reader(Protocol):
    """Gives the chunks of a level."""

    def read(self, place: Place, out: npt.NDArray[Any]) -> bool:
        """Decode a chunk into a C-contiguous block; False if it was never written."""

    @property
    def index_nbytes(self) -> int:
        """Bytes of the index of a shard, which is kept."""

    def largest_encoded(self) -> int:
        """The most bytes that reading one chunk takes beside the block."""


class Writer(Protocol):
    """Takes the chunks of a level, each once."""

    #: How many unfinished files there are at once, at most.
    most_open: int

    @property
    def units(self) -> tuple[int, ...]:
        """Shape of what one file holds."""

    @property
    def index_nbytes(self) -> int:
        """Bytes of the index of a shard under way."""

    @property
    def held_nbytes(self) -> int:
        """The most bytes of unfinished files that it keeps in memory."""

    def write(self, place: Place, block: npt.NDArray[Any] | None) -> None:
        """Encode and write a C-contiguous block of the whole chunk's shape; None is the fill value."""

    def restrict(self, places: Iterable[Place]) -> None:
        """Only these chunks will come; the others are kept as they are."""

    def discard(self) -> None:
        """Take away what is under way, after an error."""


@dataclass(frozen=True, slots=True)
class Target:
    """One level as the build needs it.

    Attributes
    ----------
    shape, chunks : tuple of int
        Shapes of the level and of its chunks.
    factors : tuple of int
        Factors from the level above; ones for level 0.
    reader : Reader, optional
        Of level 0 on disk, and of the other levels where only a region is made anew.
    writer : Writer, optional
        Where the level goes; None for level 0 that is on disk already.
    fill : numpy scalar
        What chunks that were never written hold.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    factors: tuple[int, ...]
    reader: Reader | None = None
    writer: Writer | None = None
    fill: Any = 0


@dataclass(slots=True)
class _Open:
    """A block that is being put together."""

    missing: int
    nbytes: int
    has_gaps: bool = False
    data: npt.NDArray[Any] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class _Local(threading.local):
    """Blocks of one thread that are used again: fresh pages cost as much as decoding."""

    def __init__(self) -> None:
        self.blocks: dict[str, npt.NDArray[Any]] = {}

    def block(self, use: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        size = math.prod(shape)
        if use not in self.blocks or self.blocks[use].size < size:
            self.blocks.pop(use, None)  # the old one goes first
            self.blocks[use] = np.empty(size, dtype)
        return self.blocks[use][:size].reshape(shape)


class PyramidBuild:
    """Makes all levels of one image.

    Parameters
    ----------
    levels : sequence of Target
        Level 0 first.
    dtype : numpy.dtype
        Data type of all levels.
    method : str
        How windows are reduced.
    max_memory : int
        Bytes by which the process may grow.
    workers : int
        Number of threads.
    data : numpy.ndarray, optional
        Level 0 in memory, where it is not read from disk; then it is written too, if it has a writer.
    region : tuple of slice, optional
        Part of level 0 that changed; only what depends on it is made.
    spent : int
        Bytes of the budget that are used up already.
    where : str
        The image, for errors.

    Raises
    ------
    BudgetError
        If the budget is below what this needs at least.
    """

    def __init__(
        self,
        levels: Sequence[Target],
        dtype: np.dtype[Any],
        method: str,
        *,
        max_memory: int,
        workers: int,
        data: npt.NDArray[Any] | None = None,
        region: tuple[slice, ...] | None = None,
        spent: int = 0,
        where: str = "",
    ) -> None:
        self._levels = levels
        self._dtype = dtype
        self._fill = levels[0].fill
        self._method = method
        self._data = data
        self._budget = max_memory
        self._overhead = _OVERHEAD + spent
        self._local = _Local()
        self._open: dict[tuple[int, Place], _Open] = {}
        self._changed = threading.Condition()
        self._reserved = 0
        self._skips_absent = self._keeps_fill()
        self._error: BaseException | None = None
        self.tree = self._choose_tree(region)
        self._written = [lv.chunk_ranges(self.tree.written(k)) for k, lv in enumerate(self.tree.levels)]
        self._per_worker = self._worker_nbytes(self.tree)
        needed = self._shared_nbytes(self.tree) + self._per_worker
        if needed > max_memory:
            enough = needed + spent // 4  # the next process may load a little more
            raise BudgetError(
                f"max_memory of {max_memory} bytes is too small: this pyramid needs {enough} bytes "
                f"({enough / 2**20:.1f} MiB)",
                path=where or None,
                hint=f"pass max_memory={enough} or more; smaller chunks need less",
                needed=enough,
            )
        spare = max_memory - needed
        further = self._per_worker + self._unit_nbytes()
        if region is not None:
            for level, ranges in zip(levels[1:], self._written[1:], strict=True):
                if level.writer is not None:
                    level.writer.restrict(itertools.product(*ranges))
        self.workers = max(1, min(workers, 1 + spare // further, self.tree.leaves))

    def _keeps_fill(self) -> bool:
        """Whether windows of the fill value give the fill value of the next level, to the bit."""
        if all(not np.asarray(level.fill, self._dtype).tobytes().strip(b"\0") for level in self._levels):
            return True
        fill = np.full((1,) * len(self._levels[0].shape), self._fill, self._dtype)
        for level in self._levels[1:]:
            window = np.broadcast_to(fill, level.factors)
            reduced = reduce_block(window, level.factors, self._method)
            if reduced.tobytes() != np.full(reduced.shape, level.fill, self._dtype).tobytes():
                return False
        return True

    # --- memory -----------------------------------------------------------------------------------

    def _choose_tree(self, region: tuple[slice, ...] | None) -> BlockTree:
        """Blocks of several small chunks where the budget allows it with room to spare."""
        shapes = [level.shape for level in self._levels]
        chunks = [level.chunks for level in self._levels]
        factors = [level.factors for level in self._levels[1:]]
        size = self._dtype.itemsize
        joined = BlockTree(shapes, chunks, factors, size, region=region)
        if self._shared_nbytes(joined) + 4 * self._worker_nbytes(joined) <= self._budget:
            return joined
        return BlockTree(shapes, chunks, factors, size, join=False, region=region)

    def _shared_nbytes(self, tree: BlockTree) -> int:
        """One block per level above 0, and files that cannot be written piece by piece."""
        blocks = sum(level.elements for level in tree.levels[1:]) * self._dtype.itemsize
        held = 0
        for k, level in enumerate(self._levels):
            if level.writer is not None and level.writer.held_nbytes:
                level.writer.most_open = tree.most_open(k, level.writer.units)
                held += level.writer.held_nbytes
            for part in (level.reader, level.writer):
                held += part.index_nbytes if part is not None else 0
        return self._overhead + blocks + held

    def _worker_nbytes(self, tree: BlockTree) -> int:
        """A level-0 block, a chunk as stored, and what encoding one chunk takes."""
        size = self._dtype.itemsize
        first = tree.levels[0]
        leaf = reading = 0
        if self._data is not None:
            leaf = math.prod(first.stored_shape) * size if self._gathers(tree) else 0
        else:
            reader = self._levels[0].reader
            assert reader is not None
            leaf = math.prod(first.stored_shape) * size
            reading = reader.largest_encoded()
            if not _decodes_in_place(first.stored_shape, first.chunks):
                reading += math.prod(first.chunks) * size
        encoding = max(self._encoding_nbytes(tree, k) for k in range(len(self._levels)))
        return leaf + reading + encoding + SCRATCH_BYTES

    def _unit_nbytes(self) -> int:
        """What each further thread may add to the unfinished files in memory: one more of each level."""
        held = [lv.writer for lv in self._levels if lv.writer is not None and lv.writer.held_nbytes]
        return sum(w.held_nbytes // w.most_open for w in held)

    def _gathers(self, tree: BlockTree) -> bool:
        """Whether blocks of data in memory are copied: what is contiguous is faster to encode and reduce."""
        data, first = self._data, tree.levels[0]
        if data is None or not data.flags.c_contiguous or data.dtype != self._dtype:
            return True
        return not _decodes_in_place(first.shape, first.block)

    def _encoding_nbytes(self, tree: BlockTree, k: int) -> int:
        """An encoded chunk, and a copy of it where it is not contiguous in its block."""
        level = tree.levels[k]
        if self._levels[k].writer is None:
            return 0
        one = math.prod(level.chunks) * self._dtype.itemsize
        copied = not _decodes_in_place(level.stored_shape, level.chunks)
        copied |= any(n % c for n, c in zip(level.shape, level.chunks, strict=True))
        return one * (2 if copied else 1) + one // 128 + 1024

    # --- running ----------------------------------------------------------------------------------

    def run(self, progress: Progress | None = None) -> None:
        """Make the levels.

        Parameters
        ----------
        progress : callable, optional
            Called with the bytes of level 0 that are done, and all there are.
        """
        total = math.prod(self._levels[0].shape) * self._dtype.itemsize
        per_leaf = total / max(1, self.tree.leaves)

        def report(count: int) -> None:
            if progress is not None:
                progress(min(total, round(count * per_leaf)), total)

        try:
            if self.workers == 1:
                for count, place in enumerate(self.tree.depth_first(), 1):
                    self._reserve(place)
                    self._leaf(place)
                    report(count)
            else:
                self._run_threads(report)
        except BaseException:
            for level in self._levels:
                if level.writer is not None:
                    level.writer.discard()
            raise
        finally:
            self._local.blocks.clear()

    def _run_threads(self, report: Callable[[int], None]) -> None:
        in_flight = done = 0

        def work(place: Place) -> None:
            nonlocal in_flight, done
            try:
                self._leaf(place)
            except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
                self._error = self._error or error
            with self._changed:
                in_flight -= 1
                done += 1
                self._changed.notify()

        with ThreadPoolExecutor(self.workers, thread_name_prefix="platestore") as pool:
            try:
                for place in self.tree.depth_first():
                    with self._changed:
                        while in_flight and not self._fits(place, in_flight):
                            self._changed.wait()
                        if self._error is not None:
                            break
                        self._reserve(place)
                        in_flight += 1
                        reached = done
                    report(reached)
                    pool.submit(work, place)
            except BaseException as error:
                self._error = self._error or error
                raise
        if self._error is not None:
            raise self._error
        report(done)

    def _ancestors(self, place: Place) -> list[tuple[int, Place]]:
        out = []
        for k in range(1, len(self._levels)):
            place = self.tree.parent(k - 1, place)
            out.append((k, place))
        return out

    def _fits(self, place: Place, in_flight: int) -> bool:
        """Whether a further leaf may be read while others are."""
        if in_flight >= self.workers:
            return False
        working = (in_flight + 1) * self._per_worker
        return self._overhead + self._growth(place) + working <= self._budget

    def _growth(self, place: Place) -> int:
        """Bytes of all blocks under way, with those that a further leaf opens."""
        more = sum(self._nbytes(k) for k, p in self._ancestors(place) if (k, p) not in self._open)
        return self._reserved + more

    def _nbytes(self, k: int) -> int:
        return self.tree.levels[k].elements * self._dtype.itemsize

    def _reserve(self, place: Place) -> None:
        """Open the blocks that a leaf belongs to, so that their memory is counted before they exist."""
        for k, above in self._ancestors(place):
            if (k, above) not in self._open:
                missing = math.prod(map(len, self.tree.children(k, above)))
                self._open[k, above] = _Open(missing, self._nbytes(k))
                self._reserved += self._nbytes(k)

    # --- one block --------------------------------------------------------------------------------

    def _leaf(self, place: Place) -> None:
        """Read (or take) a level-0 block, write it if it is new, and hand it up."""
        level = self.tree.levels[0]
        region = level.region(place)
        if self._data is None:
            block = self._read(0, region)
        else:
            block = self._data[region]
            if self._gathers(self.tree):
                gathered = self._local.block("read 0", block.shape, self._dtype)
                gathered[...] = block
                block = gathered
        self._complete(0, place, block)

    def _read(self, k: int, region: tuple[slice, ...]) -> npt.NDArray[Any] | None:
        """A region of whole chunks; None if none of them was ever written."""
        level, reader = self.tree.levels[k], self._levels[k].reader
        assert reader is not None
        ranges = level.chunk_ranges(region)
        stored = tuple(len(r) * c for r, c in zip(ranges, level.chunks, strict=True))
        out = self._local.block(f"read {k}", stored, self._dtype)
        absent, found = [], False
        for place in itertools.product(*ranges):
            target = out[
                tuple(
                    slice((p - r.start) * c, (p - r.start + 1) * c)
                    for p, r, c in zip(place, ranges, level.chunks, strict=True)
                )
            ]
            if target.flags.c_contiguous:
                present = reader.read(place, target)
            else:
                chunk = self._local.block(f"chunk {k}", level.chunks, self._dtype)
                present = reader.read(place, chunk)
                if present:
                    target[...] = chunk
            found = found or present
            if not present:
                absent.append(target)
        if not found and self._skips_absent:
            return None
        for target in absent:
            target[...] = self._fill
        return out[tuple(slice(0, r.stop - r.start) for r in region)]

    def _complete(self, k: int, place: Place, block: npt.NDArray[Any] | None) -> None:
        """Write a complete block and reduce it into the next level, and go on with the one this completes."""
        while True:
            if self._levels[k].writer is not None:
                self._write(k, place, block)
            if k + 1 == len(self._levels):
                self._forget(k, place)
                return
            above = self.tree.parent(k, place)
            parent = self._open[k + 1, above]
            self._deposit(k, place, block, above, parent)
            block = None
            self._forget(k, place)
            with self._changed:
                parent.missing -= 1
                if parent.missing:
                    return
            k, place, block = k + 1, above, parent.data

    def _deposit(
        self, k: int, place: Place, block: npt.NDArray[Any] | None, above: Place, parent: _Open
    ) -> None:
        """Reduce a block into its place in a block of the next level."""
        source, target = self.tree.levels[k].region(place), self.tree.levels[k + 1].region(above)
        factors = self._levels[k + 1].factors
        inner = tuple(
            slice(s.start // f - t.start, -(-s.stop // f) - t.start)
            for s, t, f in zip(source, target, factors, strict=True)
        )
        with parent.lock:
            if parent.data is None:
                parent.data = self._start(k + 1, target, block is None, parent)
        if parent.data is None:
            return
        if block is None:
            parent.data[inner] = self._fill
        else:
            reduce_block(block, factors, self._method, out=parent.data[inner])

    def _start(
        self, k: int, region: tuple[slice, ...], absent: bool, parent: _Open
    ) -> npt.NDArray[Any] | None:
        """The pixels of a block under way: what is there already where only a region is made anew."""
        shape = tuple(r.stop - r.start for r in region)
        if not self.tree.is_whole:
            before = self._read(k, region)
            return np.full(shape, self._fill, self._dtype) if before is None else before.copy()
        if absent:  # nothing but fill so far
            parent.has_gaps = True
            return None
        if parent.has_gaps:
            return np.full(shape, self._fill, self._dtype)
        return np.empty(shape, self._dtype)

    def _write(self, k: int, place: Place, block: npt.NDArray[Any] | None) -> None:
        """Write the chunks of a complete block."""
        level, writer = self.tree.levels[k], self._levels[k].writer
        assert writer is not None
        region = level.region(place)
        for chunk in itertools.product(*map(_overlap, level.chunk_ranges(region), self._written[k])):
            if block is None:
                writer.write(chunk, None)
                continue
            view = block[
                tuple(
                    slice(p * c - r.start, (p + 1) * c - r.start)
                    for p, c, r in zip(chunk, level.chunks, region, strict=True)
                )
            ]
            if view.shape != level.chunks or not view.flags.c_contiguous or view.dtype != self._dtype:
                whole = self._local.block("encode", level.chunks, self._dtype)
                if view.shape != level.chunks:
                    whole[...] = self._levels[k].fill
                whole[tuple(slice(0, n) for n in view.shape)] = view
                view = whole
            writer.write(chunk, view)

    def _forget(self, k: int, place: Place) -> None:
        if k:
            with self._changed:
                self._reserved -= self._open.pop((k, place)).nbytes
                self._changed.notify()


def _overlap(a: range, b: range) -> range:
    return range(max(a.start, b.start), min(a.stop, b.stop))


def _decodes_in_place(stored: tuple[int, ...], chunks: tuple[int, ...]) -> bool:
    """Whether each chunk of a block is contiguous in it: only leading axes have several chunks."""
    several = [i for i, (s, c) in enumerate(zip(stored, chunks, strict=True)) if s > c]
    return not several or (
        all(c == 1 for c in chunks[: several[-1]])
        and all(s == c for s, c in zip(stored[several[-1] + 1 :], chunks[several[-1] + 1 :], strict=True))
    )
