"""Carrying out a plan: documents, files, pixels, levels; then the check, the root's documents, the name."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from platestore.arrays.metadata import summarise
from platestore.copying.looks import check_unchanged
from platestore.copying.plan import Plan
from platestore.copying.transfer import Transfer
from platestore.errors import VerifyError
from platestore.progress import Progress
from platestore.settings import resident_bytes
from platestore.storage.base import Storage, join
from platestore.storage.hierarchy import create_node

if TYPE_CHECKING:
    from platestore.copying.pixel_work import PixelWork


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
        Called with the bytes done and the total.
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
    stop: threading.Event = field(default_factory=threading.Event)

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
        if self.plan.pixels or self.plan.levels:
            pixels = self._pixel_work()
            pixels.pixels()
            pixels.levels()
        check_unchanged(self.plan, all_trees=archive)

    def _transfer(self) -> Transfer:
        return Transfer(
            target=self.target,
            workers=self.workers,
            resume=self.resume,
            sync=self.sync,
            tell=self.tell,
            stop=self.stop,
            max_memory=self.max_memory,
        )

    def _pixel_work(self) -> PixelWork:
        # Most copies move files, and do without what computes: that brings zarr.
        from platestore.copying.pixel_work import PixelWork

        return PixelWork(self, self.max_memory)

    def finish(self) -> None:
        """Write the root's documents: now it is a store."""
        if not self.target.in_order:
            self._documents(lambda path: not path)

    def _documents(self, wanted: Callable[[str], bool]) -> None:
        paths = [path for path in self.plan.documents if wanted(path)]
        for path in sorted(paths, key=lambda p: (p.count("/") if p else -1, p)):
            files = self.plan.documents[path]
            create_node(self.target, path, files)
            self.tell(sum(len(data) for _, data in files), len(files))

    def tell(self, nbytes: int, files: int = 0, *, written: bool = True) -> None:
        """Tell of bytes and files that are done."""
        with self._lock:
            self._done += nbytes
            self.files += files
            self.nbytes += nbytes if written else 0
            if self.progress is not None:
                self.progress(min(self._done, self.total), self.total)

    def count(self, files: int, nbytes: int) -> None:
        """Keep account of files whose progress was told in decoded bytes."""
        with self._lock:
            self.files += files
            self.nbytes += nbytes

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
        if self.plan.pixels:
            self._pixel_work().verify()

    def _verify_documents(self) -> None:
        archive = self.target.in_order
        for path, files in self.plan.documents.items():
            for name, data in files:
                if (archive or path) and self.target.read(join(path, name)) != data:
                    raise VerifyError("the document is another one", path=self.target.where(join(path, name)))
