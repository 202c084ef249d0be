"""Carrying out a plan: documents, files, pixels, levels; then the check, the root's documents, the name."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from platestore.arrays.metadata import summarise
from platestore.copying.looks import check_unchanged
from platestore.copying.pixels import PixelJob, PixelPlan, Stopped, compare_pixels, copy_pixels, plan_pixels
from platestore.copying.plan import LevelsCopy, PixelCopy, Plan
from platestore.copying.pool import pool
from platestore.copying.transfer import Transfer
from platestore.errors import BudgetError, VerifyError
from platestore.progress import Progress
from platestore.pyramid.levels import Build, Resources, make_levels, plan_build
from platestore.settings import resident_bytes
from platestore.storage.archive import ArchiveStorage
from platestore.storage.base import DOCUMENTS, Storage, StorageOptions, join
from platestore.storage.hierarchy import create_node
from platestore.storage.local import LocalStorage
from platestore.storage.zarr_store import ZarrStorage

#: What a copy goes into.
Kind: TypeAlias = Literal["directory", "archive", "store"]
# No thread that decodes and encodes gets less memory than this.
_LEAST_SHARE = 16 * 2**20
# Arrays below this are copied side by side, one thread each; larger ones with all threads.
_SMALL = 16 * 2**20


@dataclass
class Work:
    """One run.

    Attributes
    ----------
    plan : Plan
        What is to be done.
    target : Storage
        The growing copy.
    workers : int
        Number of threads.
    max_memory : int
        Bytes by which the process may grow.
    resume : bool
        Whether something may be there already.
    sync : bool
        Whether chunks are flushed to the device.
    progress : callable, optional
        Called with the bytes that are done, and all there are.
    finished : set of str
        Paths of levels that were made before an interruption.
    mark : callable, optional
        Called with the path of a level that is made.
    least : int
        Bytes of memory that are needed at least.
    resident : int
        Bytes that the process held before anything was done: what it took since then is used up.
    """

    plan: Plan
    target: Storage
    workers: int
    max_memory: int
    resume: bool
    sync: bool
    progress: Progress | None = None
    finished: set[str] = field(default_factory=set)
    mark: Callable[[str], None] | None = None
    least: int = 0
    resident: int = 0
    files: int = 0
    nbytes: int = 0
    total: int = 0
    _done: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        twice = {tree.target for tree in self.plan.trees if tree.documents}
        rows = [files for path, files in self.plan.documents.items() if path not in twice]
        documents = sum(len(data) for files in rows for _, data in files)
        self.total = documents + sum(tree.stamp.nbytes for tree in self.plan.trees)
        self.total += sum(summarise(each.target).nbytes for each in self.plan.pixels)
        self.total += sum(summarise(each.base).nbytes for each in self.plan.levels)

    def run(self) -> None:
        """Do everything but the root's documents (in a directory)."""
        archive = self.target.in_order
        self._documents(lambda path: archive or bool(path))
        self._transfer().run(self.plan.trees)
        if self.resident:
            grown = max(0, resident_bytes() - self.resident)
            self.max_memory = max(self.least, self.max_memory - grown)
        self._pixels()
        self._levels()
        check_unchanged(self.plan, all_trees=archive)

    def _transfer(self) -> Transfer:
        return Transfer(
            target=self.target,
            workers=self.workers,
            resume=self.resume,
            sync=self.sync,
            tell=self._tell,
            stop=self._stop,
            max_memory=self.max_memory,
        )

    def _levels(self) -> None:
        """Make levels: of small arrays side by side, of larger ones with all threads."""
        if self.target.in_order:  # chunks lie in the order in which they are written
            for levels in self.plan.levels:
                self._make(levels, self.max_memory, 1)
            return
        large = []
        with pool(self._threads, self._stop) as submit:
            for levels in self.plan.levels:
                if summarise(levels.base).nbytes <= _SMALL and self._fits(levels):
                    submit(self._make, levels, self._share, 1)
                else:
                    large.append(levels)
        for levels in large:
            self._make(levels, self.max_memory, self._threads)

    def _fits(self, levels: LevelsCopy) -> bool:
        """Whether one thread can make levels with its share of the memory."""
        try:
            _plan_levels(levels, self.target, self._share)
        except BudgetError:
            return False
        return True

    def _make(self, levels: LevelsCopy, max_memory: int, workers: int) -> None:
        if self._stop.is_set():
            return
        name = levels.levels[0].path
        if name in self.finished:
            self._tell(summarise(levels.base).nbytes, written=False)
            return
        make_levels(
            self.target,
            levels.base,
            levels.levels,
            levels.factors,
            levels.method,
            Resources(max_memory=max_memory, workers=workers, progress=self._relay()),
            fresh=True,
            ordered=True,
        )
        if self.mark is not None:
            self.mark(name)
        for level in levels.levels:
            keys = [key for key in self.target.keys(level.path) if key.rpartition("/")[2] not in DOCUMENTS]
            self._count(len(keys), sum(self.target.size_of(key) or 0 for key in keys))

    def finish(self) -> None:
        """Write the root's documents: now it is a store."""
        if not self.target.in_order:
            self._documents(lambda path: not path)

    def _documents(self, wanted: Callable[[str], bool]) -> None:
        paths = [path for path in self.plan.documents if wanted(path)]
        for path in sorted(paths, key=lambda p: (p.count("/") if p else -1, p)):
            files = self.plan.documents[path]
            create_node(self.target, path, files)
            self._tell(sum(len(data) for _, data in files), len(files))

    def _tell(self, nbytes: int, files: int = 0, *, written: bool = True) -> None:
        with self._lock:
            self._done += nbytes
            self.files += files
            self.nbytes += nbytes if written else 0
            if self.progress is not None:
                self.progress(min(self._done, self.total), self.total)

    def _count(self, files: int, nbytes: int) -> None:
        """Keep account of files whose progress was told in decoded bytes."""
        with self._lock:
            self.files += files
            self.nbytes += nbytes

    def _relay(self) -> Callable[[int, int], None]:
        """Progress of one pyramid as progress of the copy."""
        before = 0

        def tell(done: int, total: int) -> None:
            nonlocal before
            self._tell(done - before, written=False)
            before = done

        return tell

    # --- pixels -----------------------------------------------------------------------------------

    def _pixels(self) -> None:
        """Copy pixels: small arrays side by side, larger ones with all threads."""
        large: list[PixelJob] = []
        with pool(self._threads, self._stop) as submit:
            for job in self._jobs():
                plan = None if self.target.in_order else self._small(job)
                if plan is None:
                    large.append(job)
                else:
                    submit(self._copy_pixels, plan)
        for job in large:
            self._copy_pixels(plan_pixels(job, max_memory=self.max_memory, workers=self._threads))

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
        return max(1, min(self.workers, self.max_memory // _LEAST_SHARE))

    @property
    def _share(self) -> int:
        return self.max_memory // self._threads

    def _jobs(self) -> Iterator[PixelJob]:
        for each in self.plan.pixels:
            yield _job(each, self.target)

    def _copy_pixels(self, plan: PixelPlan) -> None:
        if self._stop.is_set():
            return
        try:
            result = copy_pixels(
                plan,
                skip_existing=self.resume,
                progress=lambda n: self._tell(n, written=False),
                stop=self._stop,
            )
        except Stopped:
            return
        self._count(result.files, result.nbytes)

    # --- verification -----------------------------------------------------------------------------

    def verify(self) -> None:
        """Read the copy again: files must have the same bytes, and arrays the same pixels.

        Levels that were made anew have nothing to be compared with.

        Raises
        ------
        VerifyError
            If something differs.
        """
        self._verify_documents()
        self._transfer().verify(self.plan.trees)
        for job in self._jobs():
            plan = plan_pixels(job, max_memory=self.max_memory, workers=self.workers)
            compare_pixels(plan, stop=self._stop)

    def _verify_documents(self) -> None:
        archive = self.target.in_order
        for path, files in self.plan.documents.items():
            for name, data in files:
                if (archive or path) and self.target.read(join(path, name)) != data:
                    raise VerifyError("the document is another one", path=self.target.where(join(path, name)))


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
    if not plan.pixels and not plan.levels:
        return 0
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

        yield ZarrStorage(MemoryStore(), StorageOptions())
        return
    with (
        tempfile.TemporaryDirectory() as directory,
        _AnyArchive(os.path.join(directory, "stand-in.ozx")) as storage,
    ):
        yield storage
