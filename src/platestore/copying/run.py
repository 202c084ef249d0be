"""Carrying out a plan: documents, files, pixels, levels; then the check, the root's documents, the name."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from platestore.arrays.metadata import summarise
from platestore.copying.files import copy_file, listing, same_bytes, walk
from platestore.copying.pixels import PixelJob, PixelPlan, Stopped, compare_pixels, copy_pixels, plan_pixels
from platestore.copying.plan import LevelsCopy, Plan, TreeCopy
from platestore.errors import DamagedChunkError, SourceChangedError, VerifyError
from platestore.pyramid.levels import make_levels
from platestore.storage.archive import ArchiveStorage
from platestore.storage.base import DOCUMENTS, Storage, join
from platestore.storage.hierarchy import create_node
from platestore.storage.local import LocalStorage
from platestore.storage.ozx import OzxStorage
from platestore.storage.packing import pack_files

#: Called with the bytes that are done, and all there are.
Progress = Callable[[int, int], None]
# Files that one task copies, so that handing it over costs little beside them.
_BATCH_FILES = 64
_BATCH_BYTES = 16 * 2**20
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
    """

    plan: Plan
    target: Storage
    workers: int
    max_memory: int
    resume: bool
    sync: bool
    progress: Progress | None = None
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
        self._trees()
        self._pixels()
        self._levels()

    def _levels(self) -> None:
        """Make levels: of small arrays side by side, of larger ones with all threads."""
        if isinstance(self.target, ArchiveStorage):  # chunks lie in the order in which they are written
            for levels in self.plan.levels:
                self._make(levels, self.max_memory, 1)
            return
        small = [each for each in self.plan.levels if summarise(each.base).nbytes <= _SMALL]
        with self._pool() as submit:
            for levels in small:
                submit(self._make, levels, self.max_memory // self.workers, 1)
        for levels in self.plan.levels:
            if levels not in small:
                self._make(levels, self.max_memory, self.workers)

    def _make(self, levels: LevelsCopy, max_memory: int, workers: int) -> None:
        if self._stop.is_set():
            return
        make_levels(
            self.target,
            levels.base,
            levels.levels,
            levels.factors,
            levels.method,
            fresh=True,
            max_memory=max_memory,
            workers=workers,
            progress=self._relay(),
        )
        for level in levels.levels:
            keys = [key for key in self.target.keys(level.path) if key.rpartition("/")[2] not in DOCUMENTS]
            self._tell(0, len(keys))
            self.nbytes += sum(self.target.size_of(key) or 0 for key in keys)

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

    def _relay(self) -> Callable[[int, int], None]:
        """Progress of one pyramid as progress of the copy."""
        before = 0

        def tell(done: int, total: int) -> None:
            nonlocal before
            self._tell(done - before, written=False)
            before = done

        return tell

    # --- files ------------------------------------------------------------------------------------

    def _trees(self) -> None:
        if isinstance(self.target, ArchiveStorage):
            for tree in self.plan.trees:
                self._tree_into_archive(tree)
            return
        local = [tree for tree in self.plan.trees if isinstance(tree.source, LocalStorage)]
        with self._pool() as submit:
            for batch in _batches(itertools.chain.from_iterable(map(self._pairs, local))):
                submit(self._copy_batch, batch)
        for tree in self.plan.trees:
            if not isinstance(tree.source, LocalStorage):
                self._tree_of_keys(tree)

    def _copy_batch(self, batch: list[tuple[str, str]]) -> None:
        for source, target in batch:
            if self._stop.is_set():
                return
            self._tell(copy_file(source, target, resume=self.resume, sync=self.sync), 1)

    def _pairs(self, tree: TreeCopy) -> Iterator[tuple[str, str, int]]:
        """Paths of source and copy, and a guess of the bytes; the directories are made on the way."""
        assert isinstance(tree.source, LocalStorage)
        assert isinstance(self.target, LocalStorage)
        source, target = tree.source.local_path(tree.path), self.target.local_path(tree.target)
        self.target.make_directory(tree.target)
        if tree.rename is None and tree.only is None:
            skip_root = tree.documents and not tree.target
            yield from self._walk(source, target, tree.documents, skip_root=skip_root)
            return
        made: set[str] = set()
        for key, path, nbytes in _files(source, tree):
            new = None if key in DOCUMENTS else tree.rename(key) if tree.rename is not None else key
            if new is not None:
                parent = new.rpartition("/")[0]
                if parent not in made:
                    self.target.make_directory(join(tree.target, parent))
                    made.add(parent)
                yield path, f"{target}/{new}", nbytes

    def _walk(
        self, source: str, target: str, documents: bool, *, skip_root: bool
    ) -> Iterator[tuple[str, str, int]]:
        directories, files = listing(source)
        for entry in files:
            if entry.name not in DOCUMENTS or (documents and not skip_root):
                yield entry.path, f"{target}/{entry.name}", entry.stat().st_size
        for entry in directories:
            inner = f"{target}/{entry.name}"
            with contextlib.suppress(FileExistsError):
                os.mkdir(inner)
            yield from self._walk(entry.path, inner, documents, skip_root=False)

    def _tree_of_keys(self, tree: TreeCopy) -> None:
        """Files of an archive, or of a store that zarr reaches."""
        for key, name in _renamed(tree):
            if self._stop.is_set():
                return
            target = join(tree.target, name)
            size = tree.source.size_of(key)
            if self.resume and size is not None and self.target.size_of(target) == size:
                self._tell(size, 1)
                continue
            self._tell(_copy_key(tree.source, key, self.target, target), 1)

    def _tree_into_archive(self, tree: TreeCopy) -> None:
        assert isinstance(self.target, ArchiveStorage)
        if not isinstance(tree.source, LocalStorage):
            names = list(_renamed(tree))
            if tree.documents:
                names.sort(key=lambda pair: _archive_order(pair[1]))
            for key, name in names:
                self._tell(_copy_key(tree.source, key, self.target, join(tree.target, name)), 1)
            return
        root = tree.source.local_path(tree.path)
        items: list[tuple[str, str, int]] = []
        for key, path, size in _files(root, tree):
            new = key if tree.rename is None else tree.rename(key)
            if new is not None and _wanted(key, tree):
                items.append((join(tree.target, new), path, size))
        if tree.documents:
            items.sort(key=lambda item: _archive_order(item[0]))
        pack_files(self.target, items, self.workers, progress=lambda n: self._tell(n))
        self.files += len(items)

    @contextlib.contextmanager
    def _pool(self) -> Iterator[Callable[..., None]]:
        """A function that hands work to threads, waiting where too much is under way."""
        pending: set[Future[Any]] = set()
        with ThreadPoolExecutor(self.workers, thread_name_prefix="platestore-copy") as pool:

            def submit(work: Callable[..., Any], *arguments: Any) -> None:
                nonlocal pending
                if len(pending) >= 4 * self.workers:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    for future in done:
                        future.result()
                pending.add(pool.submit(work, *arguments))

            try:
                yield submit
                for future in pending:
                    future.result()
            except BaseException:
                self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise

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
            with self._pool() as submit:
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
        with self._lock:
            self.files += result.files
            self.nbytes += result.nbytes

    # --- verification -----------------------------------------------------------------------------

    def verify(self) -> None:
        """Read the copy again: files must have the same bytes, and arrays the same pixels.

        Levels that were made anew have nothing to be compared with.

        Raises
        ------
        VerifyError
            If something differs.
        """
        for tree in self.plan.trees:
            with self._pool() as submit:
                for key, name in _renamed(tree):
                    submit(self._compare, tree, key, join(tree.target, name))
        for job in self._jobs():
            plan = plan_pixels(job, max_memory=self.max_memory, workers=self.workers)
            compare_pixels(plan, stop=self._stop)

    def _compare(self, tree: TreeCopy, key: str, name: str) -> None:
        if self._stop.is_set():
            return
        source, target = tree.source, self.target
        if isinstance(source, LocalStorage) and isinstance(target, LocalStorage):
            try:
                same = same_bytes(source.local_path(key), target.local_path(name))
            except FileNotFoundError as error:
                raise SourceChangedError("a file is gone", path=str(error.filename)) from None
        else:
            same = source.read(key) == target.read(name)
        if not same:
            raise VerifyError(f"differs from {source.where(key)}", path=name)


def _batches(pairs: Iterator[tuple[str, str, int]]) -> Iterator[list[tuple[str, str]]]:
    batch: list[tuple[str, str]] = []
    nbytes = 0
    for source, target, size in pairs:
        batch.append((source, target))
        nbytes += size
        if len(batch) >= _BATCH_FILES or nbytes >= _BATCH_BYTES:
            yield batch
            batch, nbytes = [], 0
    if batch:
        yield batch


def _files(root: str, tree: TreeCopy) -> Iterator[tuple[str, str, int]]:
    """Key, path and bytes of the files of a tree on this machine."""
    if tree.only is None:
        return walk(root)
    paths = ((name, os.path.join(root, name)) for name in tree.only)
    return ((name, path, os.stat(path).st_size) for name, path in paths)


def _wanted(key: str, tree: TreeCopy) -> bool:
    """Whether a file comes along; the documents of the root are among those of the plan."""
    directory, _, name = key.rpartition("/")
    return name not in DOCUMENTS or (tree.documents and bool(tree.target or directory))


def _renamed(tree: TreeCopy) -> Iterator[tuple[str, str]]:
    """Keys in the source, and names relative to the target."""
    prefix = f"{tree.path}/" if tree.path else ""
    if tree.only is not None:
        yield from ((prefix + name, name) for name in tree.only)
        return
    keys: Iterable[str]
    if isinstance(tree.source, LocalStorage):
        keys = (prefix + key for key, _, _ in walk(tree.source.local_path(tree.path)))
    else:
        keys = tree.source.keys(tree.path)
    for key in keys:
        relative = key[len(prefix) :]
        if not _wanted(relative, tree):
            continue
        name = relative if tree.rename is None else tree.rename(relative)
        if name is not None:
            yield key, name


def _archive_order(name: str) -> tuple[bool, int, str]:
    """Documents first, breadth first, as RFC-9 recommends."""
    is_document = name == "zarr.json" or name.endswith("/zarr.json")
    return not is_document, name.count("/") if is_document else 0, name


def _copy_key(source: Storage, key: str, target: Storage, name: str) -> int:
    """Copy one value between stores of any kind."""
    if isinstance(source, OzxStorage):
        data = b"".join(bytes(piece) for piece in source.iter_checked(key))
    else:
        found = source.read(key)
        if found is None:
            raise SourceChangedError("the file is gone", path=source.where(key))
        data = found
    if key.rpartition("/")[2] in DOCUMENTS:
        target.make_directory(name.rpartition("/")[0])
        target.write(name, data)
    elif not data:
        raise DamagedChunkError("the file is empty", path=source.where(key))
    else:
        target.write_object(name, data, fresh=False)
    return len(data)


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
