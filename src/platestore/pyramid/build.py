"""The one pass: every level of a pyramid from one reading of level 0.

Level-0 blocks are read depth first. As soon as the blocks that one block of the next level is made from are
complete, it is encoded, written, reduced into the level after it, and forgotten. Nothing is read again, and
besides the blocks being read only about one block per level is in memory. Where level 0 comes from elsewhere,
it is brought into memory in boxes of many blocks, in the order that suits its own tiles.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from platestore.arrays.sources import Source
from platestore.arrays.types import DType, Pixels
from platestore.progress import Progress
from platestore.pyramid.blocks import BlockTree, Place
from platestore.pyramid.budget import choose_account
from platestore.pyramid.kernels import Method, reduce_block
from platestore.pyramid.stages import Stage
from platestore.pyramid.targets import LevelTarget
from platestore.pyramid.windows import halos, reduce_region
from platestore.settings import give_back_memory
from platestore.spec.reductions import reduction

# After so many bytes of level 0 at least, free memory is given back to the system.
_LEAST_TIDIED = 16 * 2**20


@dataclass(slots=True)
class _Open:
    """A block that is being put together."""

    missing: int
    nbytes: int
    has_gaps: bool = False
    data: Pixels | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class _ThreadBlocks(threading.local):
    """Blocks of one thread that are used again: fresh pages cost as much as decoding."""

    def __init__(self) -> None:
        self.blocks: dict[str, Pixels] = {}

    def block(self, use: str, shape: tuple[int, ...], dtype: DType) -> Pixels:
        size = math.prod(shape)
        if use not in self.blocks or self.blocks[use].size < size:
            self.blocks.pop(use, None)  # the old one goes first
            self.blocks[use] = np.empty(size, dtype)
        return self.blocks[use][:size].reshape(shape)


class PyramidBuild:
    """Makes all levels of one image.

    Parameters
    ----------
    levels : sequence of LevelTarget
        Level 0 first.
    dtype : numpy.dtype
        Data type of all levels.
    method : str or callable
        How windows are reduced. With ``"gaussian"`` there are two levels, and level 0 is data.
    max_memory : int
        Bytes by which the process may grow.
    workers : int
        Number of threads.
    data : numpy.ndarray or Source, optional
        Level 0 in memory or elsewhere, where it is not read chunk by chunk; then it is written too, if it has
        a writer.
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
        levels: Sequence[LevelTarget],
        dtype: DType,
        method: Method,
        *,
        max_memory: int,
        workers: int,
        data: Pixels | Source | None = None,
        region: tuple[slice, ...] | None = None,
        spent: int = 0,
        where: str = "",
    ) -> None:
        self._levels = levels
        self._dtype = dtype
        self._fill = levels[0].fill
        self._method = method
        self._budget = max_memory
        self._local = _ThreadBlocks()
        self._open: dict[tuple[int, Place], _Open] = {}
        self._changed = threading.Condition()
        self._reserved = self._since = 0
        self._skips_absent = self._keeps_fill()
        self._error: BaseException | None = None
        whole = data if isinstance(data, np.ndarray) else None
        source = None if isinstance(data, np.ndarray) else data
        self._account = choose_account(
            levels,
            dtype,
            max_memory=max_memory,
            data=whole,
            source=source,
            halo=halos(levels[-1].factors, method),
            region=region,
            spent=spent,
        )
        self._account.require(max_memory, where)
        self.tree = self._account.tree
        self.workers = self._account.workers(max_memory, workers)
        #: What of level 0 is in memory; None where it is read chunk by chunk.
        self._stage = None if whole is None else _all_of(whole, self.tree)
        self._written = [lv.chunk_ranges(self.tree.written(k)) for k, lv in enumerate(self.tree.levels)]
        if region is not None:
            for level, ranges in zip(levels, self._written, strict=True):
                if level.writer is not None:
                    level.writer.restrict(itertools.product(*ranges))

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

    # --- running ----------------------------------------------------------------------------------

    def run(self, progress: Progress | None = None) -> None:
        """Make the levels.

        Parameters
        ----------
        progress : callable, optional
            Called with the bytes of level 0 done and the total.
        """
        total = math.prod(self._levels[0].shape) * self._dtype.itemsize
        per_leaf = total / max(1, self.tree.leaves)

        def report(count: int) -> None:
            if progress is not None:
                progress(min(total, round(count * per_leaf)), total)

        try:
            with ThreadPoolExecutor(self.workers, thread_name_prefix="platestore") as pool:
                done = 0
                for places in self._groups():
                    done = self._run(pool, places, done, report)
        except BaseException:
            for level in self._levels:
                if level.writer is not None:
                    level.writer.discard()
            raise
        finally:
            self._local.blocks.clear()
            self._stage = None

    def _groups(self) -> Iterator[Iterable[Place]]:
        """Blocks of level 0 that may be worked on side by side: all, or those that are in memory."""
        stages = self._account.stages
        if stages is None:
            yield self.tree.depth_first()
            return
        for stage in stages.run(self.workers):
            self._stage = stage
            yield itertools.product(*stage.places)
            give_back_memory()

    def _run(
        self, pool: ThreadPoolExecutor, places: Iterable[Place], before: int, report: Callable[[int], None]
    ) -> int:
        """Work on some blocks; returns how many are done, with those before."""
        if self.workers == 1:
            for place in places:
                self._tidy()
                self._reserve(place)
                self._leaf(place)
                before += 1
                report(before)
            return before
        # Counted when they are in the pool: whatever interrupts this thread, it waits for what runs only.
        submitted = done = before

        def work(place: Place) -> None:
            nonlocal done
            try:
                self._leaf(place)
            except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
                self._error = self._error or error
            with self._changed:
                done += 1
                self._changed.notify()

        try:
            for place in places:
                self._tidy()
                with self._changed:
                    while submitted > done and not self._fits(place, submitted - done):
                        self._changed.wait()
                    if self._error is not None:
                        break
                    self._reserve(place)
                    reached = done
                report(reached)
                pool.submit(work, place)
                submitted += 1
        finally:
            with self._changed:
                while submitted > done:
                    self._changed.wait()
        if self._error is not None:
            raise self._error
        report(done)
        return done

    def _tidy(self) -> None:
        """Now and then give back what the allocations of all threads have left: in pieces, it adds up."""
        self._since += self._account.block_nbytes(0)
        if self._since > max(_LEAST_TIDIED, self._budget // 2):
            self._since = 0
            give_back_memory()

    def _ancestors(self, place: Place) -> list[tuple[int, Place]]:
        out = []
        for k in range(1, len(self._levels)):
            place = self.tree.parent(k - 1, place)
            out.append((k, place))
        return out

    @property
    def needed(self) -> int:
        """Bytes of memory that it takes at least."""
        return self._account.least

    @property
    def expected(self) -> int:
        """Bytes of memory that it takes at most."""
        return self._account.least + (self.workers - 1) * self._account.per_further

    def _fits(self, place: Place, in_flight: int) -> bool:
        """Whether a further leaf may be read while others are."""
        if in_flight >= self.workers:
            return False
        working = (in_flight + 1) * self._account.per_worker
        taken = self._account.overhead + self._account.held + self._growth(place)
        return taken + working <= self._budget

    def _growth(self, place: Place) -> int:
        """Bytes of all blocks under way, with those that a further leaf opens."""
        more = sum(
            self._account.block_nbytes(k) for k, p in self._ancestors(place) if (k, p) not in self._open
        )
        return self._reserved + more

    def _reserve(self, place: Place) -> None:
        """Open the blocks that a leaf belongs to, so that their memory is counted before they exist."""
        for k, above in self._ancestors(place):
            if (k, above) not in self._open:
                missing = math.prod(map(len, self.tree.children(k, above)))
                self._open[k, above] = _Open(missing, self._account.block_nbytes(k))
                self._reserved += self._account.block_nbytes(k)

    # --- one block --------------------------------------------------------------------------------

    def _leaf(self, place: Place) -> None:
        """Read (or take) a level-0 block, write it if it is new, and hand it up."""
        level = self.tree.levels[0]
        region = level.region(place)
        if self._stage is None:
            block = self._read(0, region)
        else:
            block = self._stage.part(region)
            if self._account.gathers:
                gathered = self._local.block("read 0", block.shape, self._dtype)
                gathered[...] = block
                block = gathered
        self._complete(0, place, block)

    def _read(self, k: int, region: tuple[slice, ...]) -> Pixels | None:
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

    def _complete(self, k: int, place: Place, block: Pixels | None) -> None:
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

    def _deposit(self, k: int, place: Place, block: Pixels | None, above: Place, parent: _Open) -> None:
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
        elif reduction(self._method).overlaps and self._stage is not None:
            into = tuple(
                slice(i.start + t.start, i.stop + t.start) for i, t in zip(inner, target, strict=True)
            )
            around, shape = self._stage, self.tree.levels[0].shape
            out = parent.data[inner]
            reduce_region(around.data, around.region, shape, into, factors, self._method, out=out)
        else:
            reduce_block(block, factors, self._method, out=parent.data[inner])

    def _start(self, k: int, region: tuple[slice, ...], absent: bool, parent: _Open) -> Pixels | None:
        """The pixels of a block under way: what is there already where only a region is made anew."""
        shape = tuple(r.stop - r.start for r in region)
        made = zip(region, self.tree.written(k), strict=True)
        if not all(w.start <= r.start and r.stop <= w.stop for r, w in made):
            before = self._read(k, region)
            return np.full(shape, self._fill, self._dtype) if before is None else before.copy()
        if absent:  # nothing but fill so far
            parent.has_gaps = True
            return None
        if parent.has_gaps:
            return np.full(shape, self._fill, self._dtype)
        return np.empty(shape, self._dtype)

    def _write(self, k: int, place: Place, block: Pixels | None) -> None:
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


def _all_of(data: Pixels, tree: BlockTree) -> Stage:
    return Stage(tree.walked(0), tuple(slice(0, n) for n in data.shape), data)


def _overlap(a: range, b: range) -> range:
    return range(max(a.start, b.start), min(a.stop, b.stop))
