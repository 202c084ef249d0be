"""Carrying out a plan: documents, files, pixels, levels; then the check, the root's documents, the name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from platestore.arrays.metadata import summarise
from platestore.copying.pixels import PixelJob, PixelPlan, Stopped, compare_pixels, copy_pixels, plan_pixels
from platestore.copying.plan import LevelsCopy, Plan
from platestore.copying.pool import pool
from platestore.copying.transfer import Transfer
from platestore.pyramid.levels import Resources, make_levels
from platestore.storage.archive import ArchiveStorage
from platestore.storage.base import DOCUMENTS, Storage
from platestore.storage.hierarchy import create_node

#: Called with the bytes that are done, and all there are.
Progress = Callable[[int, int], None]
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
    files: int = 0
    nbytes: int = 0
    total: int = 0
    _done: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        documents = sum(len(data) for files in self.plan.documents.values() for _, data in files)
        self.total = documents + sum(tree.stamp.nbytes for tree in self.plan.trees)
        self.total += sum(summarise(each.target).nbytes for each in self.plan.pixels)
        self.total += sum(summarise(each.base).nbytes for each in self.plan.levels)

    def run(self) -> None:
        """Do everything but the root's documents (in a directory)."""
        archive = isinstance(self.target, ArchiveStorage)
        self._documents(lambda path: archive or bool(path))
        self._transfer().run(self.plan.trees)
        self._pixels()
        self._levels()

    def _transfer(self) -> Transfer:
        return Transfer(self.target, self.workers, self.resume, self.sync, self._tell, self._stop)

    def _levels(self) -> None:
        """Make levels: of small arrays side by side, of larger ones with all threads."""
        if isinstance(self.target, ArchiveStorage):  # chunks lie in the order in which they are written
            for levels in self.plan.levels:
                self._make(levels, self.max_memory, 1)
            return
        large = []
        with pool(self.workers, self._stop) as submit:
            for levels in self.plan.levels:
                if summarise(levels.base).nbytes <= _SMALL:
                    submit(self._make, levels, self.max_memory // self.workers, 1)
                else:
                    large.append(levels)
        for levels in large:
            self._make(levels, self.max_memory, self.workers)

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
        if not isinstance(self.target, ArchiveStorage):
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
        small: list[PixelJob] = []
        for job in self._jobs():
            plan = plan_pixels(job, max_memory=self.max_memory, workers=self.workers)
            if plan.total <= _SMALL and not isinstance(self.target, ArchiveStorage):
                small.append(job)
            else:
                self._copy_pixels(plan)
        if small:
            share = self.max_memory // self.workers
            with pool(self.workers, self._stop) as submit:
                for job in small:
                    submit(self._copy_small, job, share)

    def _jobs(self) -> Iterator[PixelJob]:
        for each in self.plan.pixels:
            yield PixelJob(
                source=each.source,
                source_array=each.array,
                target=self.target,
                target_array=each.target,
                picks=each.picks,
            )

    def _copy_small(self, job: PixelJob, share: int) -> None:
        if not self._stop.is_set():
            self._copy_pixels(plan_pixels(job, max_memory=share, workers=1))

    def _copy_pixels(self, plan: PixelPlan) -> None:
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
        self._transfer().verify(self.plan.trees)
        for job in self._jobs():
            plan = plan_pixels(job, max_memory=self.max_memory, workers=self.workers)
            compare_pixels(plan, stop=self._stop)


def memory_needed(plan: Plan, max_memory: int, workers: int) -> int:
    """Bytes that encoding chunks anew takes at least.

    Raises
    ------
    BudgetError
        If ``max_memory`` is less.
    """
    most = 0
    seen: set[tuple[bytes, bytes, str]] = set()
    for each in plan.pixels:
        kind = (each.array.data, each.target.data, repr(each.picks))
        if kind not in seen:
            seen.add(kind)
            job = PixelJob(
                source=each.source,
                source_array=each.array,
                target=each.source,  # only its kind matters here
                target_array=each.target,
                picks=each.picks,
            )
            most = max(most, plan_pixels(job, max_memory=max_memory, workers=workers).nbytes_needed)
    return most
