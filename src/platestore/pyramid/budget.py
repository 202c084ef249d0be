"""What memory a build takes, reckoned before it begins."""

from __future__ import annotations

import math
from collections.abc import Sequence

from platestore.arrays.sources import Source
from platestore.arrays.types import DType, Pixels
from platestore.errors import BudgetError
from platestore.pyramid.blocks import BlockTree, Join
from platestore.pyramid.kernels import SCRATCH_BYTES
from platestore.pyramid.stages import Stages, choose_box
from platestore.pyramid.targets import LevelTarget

# What a call costs beside pixels: threads, indices, paths.
_OVERHEAD = 4 * 2**20
# Shares of the budget that a box of a source takes at most, and how many of them there are at once.
_BOXES = ((0.25, 2), (0.45, 1), (0.25, 1), (0.1, 1), (0.04, 1), (0.0, 1))
# A choice is taken that reads no more than this times as many tiles as the best one.
_GOOD = 1.1


class Account:
    """What memory a build takes whose levels are cut into given blocks.

    Parameters
    ----------
    levels : sequence of LevelTarget
        Level 0 first; their writers are told how many of their files are unfinished at once.
    dtype : numpy.dtype
        Data type of all levels.
    tree : BlockTree
        How they are cut.
    data : numpy.ndarray, optional
        Level 0 in memory, where it is not read from disk.
    stages : Stages, optional
        How level 0 is brought into memory, where it comes from elsewhere.
    spent : int
        Bytes of the budget that are used up already.

    Attributes
    ----------
    tree, stages : BlockTree, Stages or None
        As given.
    gathers : bool
        Whether blocks of data in memory are copied: what is contiguous is faster to encode and reduce.
    overhead : int
        Bytes that are taken beside pixels.
    held : int
        Bytes of files that cannot be written piece by piece, and of the indices of shards.
    shared : int
        Bytes that are taken once, however many workers there are.
    per_worker : int
        Bytes that each worker takes.
    per_further : int
        Bytes that each worker after the first adds.
    """

    def __init__(
        self,
        levels: Sequence[LevelTarget],
        dtype: DType,
        tree: BlockTree,
        *,
        data: Pixels | None = None,
        stages: Stages | None = None,
        spent: int = 0,
    ) -> None:
        self._levels = levels
        self._dtype = dtype
        self._data = data
        self._spent = spent
        self.tree = tree
        self.stages = stages
        self.gathers = self._is_gathered()
        self.overhead = _OVERHEAD + spent
        if stages is not None:
            self.overhead += stages.nbytes + stages.source.loading_nbytes(1)
        self.held = self._held_nbytes()
        self.shared = self._shared_nbytes()
        self.per_worker = self._worker_nbytes()
        self.per_further = self.per_worker + self._unit_nbytes()

    @property
    def least(self) -> int:
        """Bytes that one worker needs, and what all have in common."""
        return self.shared + self.per_worker

    def block_nbytes(self, k: int) -> int:
        """Bytes of a block of a level."""
        return self.tree.levels[k].elements * self._dtype.itemsize

    def require(self, max_memory: int, where: str) -> None:
        """Refuse a budget that is too small.

        Parameters
        ----------
        max_memory : int
            The budget in bytes.
        where : str
            The image, for the error.

        Raises
        ------
        BudgetError
            If it is.
        """
        if self.least > max_memory:
            enough = self.least + self._spent // 4  # the next process may load a little more
            raise BudgetError(
                f"max_memory of {max_memory} bytes is too small: this pyramid needs {enough} bytes "
                f"({enough / 2**20:.1f} MiB)",
                path=where or None,
                hint=f"pass max_memory={enough} or more; smaller chunks need less",
                needed=enough,
            )

    def workers(self, max_memory: int, most: int) -> int:
        """How many workers a budget allows, of those that may be and have something to do; at least one."""
        spare = max_memory - self.least
        return max(1, min(most, 1 + spare // self.per_further, self.tree.leaves))

    def _shared_nbytes(self) -> int:
        """Blocks of the levels above 0 that are under way, and what is held."""
        blocks = sum(self._open_elements(k) for k in range(1, len(self.tree.levels))) * self._dtype.itemsize
        return self.overhead + blocks + self.held

    def _open_elements(self, k: int) -> int:
        """Elements of the blocks of a level that are under way at once: one, where the tree is walked."""
        level = self.tree.levels[k]
        if self.stages is None:
            return level.elements
        counts = self.stages.most_open(k, level.block)
        return math.prod(min(n, c * b) for n, c, b in zip(level.shape, counts, level.block, strict=True))

    def _most_open(self, k: int, units: tuple[int, ...]) -> int:
        """How many files of a level are under way at once."""
        if self.stages is None:
            return self.tree.most_open(k, units)
        block = self.tree.levels[k].block
        return math.prod(self.stages.most_open(k, tuple(map(math.lcm, units, block))))

    def _held_nbytes(self) -> int:
        held = 0
        for k, level in enumerate(self._levels):
            if level.writer is not None and level.writer.held_nbytes:
                level.writer.most_open = self._most_open(k, level.writer.units)
                held += level.writer.held_nbytes
            for part in (level.reader, level.writer):
                held += part.index_nbytes if part is not None else 0
        return held

    def _worker_nbytes(self) -> int:
        """A level-0 block, a chunk as stored, and what encoding one chunk takes."""
        size = self._dtype.itemsize
        first = self.tree.levels[0]
        leaf = reading = 0
        if self._data is not None or self.stages is not None:
            leaf = math.prod(first.stored_shape) * size if self.gathers else 0
        else:
            reader = self._levels[0].reader
            assert reader is not None
            leaf = math.prod(first.stored_shape) * size
            reading = reader.largest_encoded()
            if not _decodes_in_place(first.stored_shape, first.chunks):
                reading += math.prod(first.chunks) * size
        encoding = max(self._encoding_nbytes(k) for k in range(len(self._levels)))
        return leaf + reading + encoding + SCRATCH_BYTES

    def _unit_nbytes(self) -> int:
        """What each further thread may add to the unfinished files in memory: one more of each level."""
        held = [lv.writer for lv in self._levels if lv.writer is not None and lv.writer.held_nbytes]
        more = sum(w.held_nbytes // w.most_open for w in held)
        if self.stages is not None:
            source = self.stages.source
            more += source.loading_nbytes(2) - source.loading_nbytes(1)
        return more

    def _is_gathered(self) -> bool:
        data, first = self._data, self.tree.levels[0]
        if self.stages is not None and self.stages.is_transposed:
            return True
        if self.stages is not None and (
            self._levels[0].writer is None or not _decodes_in_place(first.stored_shape, first.chunks)
        ):
            return False  # it is only reduced, or each chunk is copied all the same
        if data is None or not data.flags.c_contiguous or data.dtype != self._dtype:
            return True
        return not _decodes_in_place(first.shape, first.block)

    def _encoding_nbytes(self, k: int) -> int:
        """An encoded chunk, and a copy of it where it is not contiguous in its block."""
        level = self.tree.levels[k]
        if self._levels[k].writer is None:
            return 0
        one = math.prod(level.chunks) * self._dtype.itemsize
        copied = not _decodes_in_place(level.stored_shape, level.chunks)
        copied |= any(n % c for n, c in zip(level.shape, level.chunks, strict=True))
        return one * (2 if copied else 1) + one // 128 + 1024


def choose_account(
    levels: Sequence[LevelTarget],
    dtype: DType,
    *,
    max_memory: int,
    data: Pixels | None = None,
    source: Source | None = None,
    halo: tuple[int, ...] = (),
    region: tuple[slice, ...] | None = None,
    spent: int = 0,
) -> Account:
    """Blocks of several small chunks where the budget allows it with room to spare, and what they take.

    Parameters
    ----------
    levels, dtype, data, spent
        As for :class:`Account`.
    max_memory : int
        The budget in bytes.
    source : Source, optional
        Level 0, where it comes from elsewhere.
    halo : tuple of int
        How many pixels around its blocks are needed.
    region : tuple of slice, optional
        Part of level 0 that changed.
    """
    shapes = [level.shape for level in levels]
    chunks = [level.chunks for level in levels]
    factors = [level.factors for level in levels[1:]]

    def cut(join: Join) -> BlockTree:
        return BlockTree(shapes, chunks, factors, dtype.itemsize, join=join, region=region)

    if source is None:
        joined = Account(levels, dtype, cut("first"), data=data, spent=spent)
        if joined.shared + 4 * joined.per_worker <= max_memory:
            return joined
        return Account(levels, dtype, cut(None), data=data, spent=spent)
    found: list[tuple[float, Account]] = []
    for tree in (cut("last"), cut(None)):
        for share, depth in _BOXES:
            box, read = choose_box(source, tree, int(share * max_memory))
            stages = Stages(source, tree, box, halo, depth)
            found.append((read, Account(levels, dtype, tree, stages=stages, spent=spent)))
    fitting = [(read, account) for read, account in found if account.least <= max_memory]
    if not fitting:
        return min((account for _, account in found), key=lambda account: account.least)
    best = min(read for read, _ in fitting)
    good = [account for read, account in fitting if read <= _GOOD * best]
    return next((account for account in good if account.workers(max_memory, 2) > 1), good[0])


def _decodes_in_place(stored: tuple[int, ...], chunks: tuple[int, ...]) -> bool:
    """Whether each chunk of a block is contiguous in it: only leading axes have several chunks."""
    several = [i for i, (s, c) in enumerate(zip(stored, chunks, strict=True)) if s > c]
    return not several or (
        all(c == 1 for c in chunks[: several[-1]])
        and all(s == c for s, c in zip(stored[several[-1] + 1 :], chunks[several[-1] + 1 :], strict=True))
    )
