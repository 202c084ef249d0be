"""Encoding pixels anew, and making levels: the part of a copy that computes, and the memory that takes."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal, Protocol, TypeAlias

from platestore.arrays.metadata import summarise
from platestore.copying.pixels import PixelJob, PixelPlan, Stopped, compare_pixels, copy_pixels, plan_pixels
from platestore.copying.plan import LevelsCopy, PixelCopy, Plan
from platestore.copying.pool import pool
from platestore.errors import BudgetError
from platestore.pyramid.levels import Build, make_levels, plan_build
from platestore.resources import Resources
from platestore.storage.archive import ArchiveStorage
from platestore.storage.base import DOCUMENTS, Storage, StorageOptions
from platestore.storage.local import LocalStorage

#: What a copy goes into.
Kind: TypeAlias = Literal["directory", "archive", "store"]
# No thread that decodes and encodes gets less memory than this.
_LEAST_SHARE = 16 * 2**20
# Arrays below this are copied side by side, one thread each; larger ones with all threads.
_SMALL = 16 * 2**20


class Running(Protocol):
    """The copy that this is a part of: its plan and target, and who is told of what is done."""

    plan: Plan
    target: Storage
    workers: int
    resume: bool
    finished: set[str]
    mark: Callable[[str], None] | None
    stop: threading.Event

    def tell(self, nbytes: int, files: int = 0, *, written: bool = True) -> None:
        """Tell of bytes and files that are done."""

    def count(self, files: int, nbytes: int) -> None:
        """Keep account of files whose progress was told in decoded bytes."""


class PixelWork:
    """The pixels and levels of one copy.

    Parameters
    ----------
    work : Running
        The copy.
    max_memory : int
        Bytes by which the process may grow.
    """

    def __init__(self, work: Running, max_memory: int) -> None:
        self._work = work
        self._max_memory = max_memory

    def pixels(self) -> None:
        """Copy pixels: small arrays side by side, larger ones with all threads."""
        large: list[PixelJob] = []
        with pool(self._threads, self._work.stop) as submit:
            for job in self._jobs():
                plan = None if self._work.target.in_order else self._small(job)
                if plan is None:
                    large.append(job)
                else:
                    submit(self._copy_pixels, plan)
        for job in large:
            self._copy_pixels(plan_pixels(job, max_memory=self._max_memory, workers=self._threads))

    def _small(self, job: PixelJob) -> PixelPlan | None:
        """The plan of an array for one thread with its share of the memory; None if it is too large."""
        try:
            plan = plan_pixels(job, max_memory=self._share, workers=1)
        except BudgetError:
            return None
        return plan if plan.total <= _SMALL else None

    @property
    def _threads(self) -> int:
        """Threads that decode and encode: each takes some memory beside pixels."""
        return max(1, min(self._work.workers, self._max_memory // _LEAST_SHARE))

    @property
    def _share(self) -> int:
        return self._max_memory // self._threads

    def _jobs(self) -> Iterator[PixelJob]:
        for each in self._work.plan.pixels:
            yield _job(each, self._work.target)

    def _copy_pixels(self, plan: PixelPlan) -> None:
        if self._work.stop.is_set():
            return
        try:
            result = copy_pixels(
                plan,
                skip_existing=self._work.resume,
                progress=lambda n: self._work.tell(n, written=False),
                stop=self._work.stop,
            )
        except Stopped:
            return
        self._work.count(result.files, result.nbytes)

    def verify(self) -> None:
        """Compare the pixels that were encoded anew with those of the source."""
        for job in self._jobs():
            plan = plan_pixels(job, max_memory=self._max_memory, workers=self._work.workers)
            compare_pixels(plan, stop=self._work.stop)

    def levels(self) -> None:
        """Make levels: of small arrays side by side, of larger ones with all threads."""
        if self._work.target.in_order:  # chunks lie in the order in which they are written
            for levels in self._work.plan.levels:
                self._make(levels, self._max_memory, 1)
            return
        large = []
        with pool(self._threads, self._work.stop) as submit:
            for levels in self._work.plan.levels:
                if summarise(levels.base).nbytes <= _SMALL and self._fits(levels):
                    submit(self._make, levels, self._share, 1)
                else:
                    large.append(levels)
        for levels in large:
            self._make(levels, self._max_memory, self._threads)

    def _fits(self, levels: LevelsCopy) -> bool:
        """Whether one thread can make levels with its share of the memory."""
        try:
            _plan_levels(levels, self._work.target, self._share)
        except BudgetError:
            return False
        return True

    def _make(self, levels: LevelsCopy, max_memory: int, workers: int) -> None:
        if self._work.stop.is_set():
            return
        name = levels.levels[0].path
        if name in self._work.finished:
            self._work.tell(summarise(levels.base).nbytes, written=False)
            return
        make_levels(
            self._work.target,
            levels.base,
            levels.levels,
            levels.factors,
            levels.method,
            Resources(max_memory=max_memory, workers=workers, progress=self._relay()),
            fresh=True,
            ordered=True,
        )
        if self._work.mark is not None:
            self._work.mark(name)
        for level in levels.levels:
            keys = [
                key for key in self._work.target.keys(level.path) if key.rpartition("/")[2] not in DOCUMENTS
            ]
            self._work.count(len(keys), sum(self._work.target.size_of(key) or 0 for key in keys))

    def _relay(self) -> Callable[[int, int], None]:
        """Progress of one pyramid as progress of the copy."""
        before = 0

        def tell(done: int, total: int) -> None:
            nonlocal before
            self._work.tell(done - before, written=False)
            before = done

        return tell


def _plan_levels(levels: LevelsCopy, storage: Storage, max_memory: int) -> Build:
    return plan_build(
        storage,
        levels.base,
        levels.levels,
        levels.factors,
        levels.method,
        Resources(max_memory=max_memory, workers=1),
        fresh=True,
    )


def levels_memory(plan: Plan, storage: Storage, max_memory: int) -> int:
    """Bytes that making levels takes at least.

    Raises
    ------
    BudgetError
        If ``max_memory`` is less.
    """
    most = 0
    seen: set[tuple[bytes, ...]] = set()
    for each in plan.levels:
        kind = (each.base.data, *(level.data for level in each.levels))
        if kind not in seen:
            seen.add(kind)
            most = max(most, _plan_levels(each, storage, max_memory).needed)
    return most


def memory_needed(plan: Plan, max_memory: int, workers: int, kind: Kind) -> int:
    """Bytes that encoding chunks anew, and making levels, takes at least.

    Parameters
    ----------
    plan : Plan
        The copy.
    max_memory : int
        Bytes by which the process may grow.
    workers : int
        Number of threads.
    kind : {"directory", "archive", "store"}
        What it goes into: beside directories, shards are held in memory while they are under way.

    Raises
    ------
    BudgetError
        If ``max_memory`` is less.
    """
    # Positions whose documents are alike need not have chunks that are compressed alike.
    anywhere = _AnyDirectory(os.path.abspath(os.sep), StorageOptions())
    with _stand_in(kind) as storage:
        most = levels_memory(plan, storage, max_memory)
        seen: set[tuple[bytes, bytes, str]] = set()
        for each in plan.pixels:
            alike = (each.array.data, each.target.data, repr(each.picks))
            if alike not in seen:
                seen.add(alike)
                job = replace(_job(each, storage), source=anywhere)
                most = max(most, _least(job))
                plan_pixels(job, max_memory=max_memory, workers=workers)
    return most


def _least(job: PixelJob) -> int:
    """Bytes of memory below which pixels are not copied."""
    try:
        return plan_pixels(job, max_memory=1, workers=1).nbytes_needed
    except BudgetError as error:
        return error.needed


def _job(each: PixelCopy, target: Storage) -> PixelJob:
    return PixelJob(
        source=each.source,
        source_array=each.array,
        target=target,
        target_array=each.target,
        picks=each.picks,
    )


class _AnySize:
    """Files as large as they may be: nobody knows before they are written."""

    def size_of(self, key: str) -> int:
        return 2**62


class _AnyDirectory(_AnySize, LocalStorage):
    pass


class _AnyArchive(_AnySize, ArchiveStorage):
    pass


@contextlib.contextmanager
def _stand_in(kind: Kind) -> Iterator[Storage]:
    """A store that is like the copy in what matters to its memory: whether files can grow in it."""
    if kind == "directory":
        yield _AnyDirectory(os.path.abspath(os.sep), StorageOptions())
        return
    if kind == "store":
        from zarr.storage import MemoryStore

        from platestore.storage.zarr_store import ZarrStorage

        yield ZarrStorage(MemoryStore(), StorageOptions())
        return
    with (
        tempfile.TemporaryDirectory() as directory,
        _AnyArchive(os.path.join(directory, "stand-in.ozx")) as storage,
    ):
        yield storage
