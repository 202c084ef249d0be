"""Moving the files of trees into the copy, and comparing them: between directories, archives and stores.

Directories are made, and files copied, by all threads: each takes some folders of a tree at a time.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from platestore.copying.files import Folder, copy_file, same_bytes, scan
from platestore.copying.plan import TreeCopy
from platestore.copying.pool import pool
from platestore.errors import DamagedChunkError, SourceChangedError, VerifyError
from platestore.storage.base import DOCUMENTS, PIECE_BYTES, Storage, is_chunk_name, join
from platestore.storage.packing import pack_files

# What one task copies, so that handing it over costs little beside it.
_BATCH_FOLDERS = 128
_BATCH_FILES = 64
_BATCH_BYTES = 16 * 2**20


@dataclass
class Transfer:
    """The part of a copy that moves files as they are.

    Attributes
    ----------
    target : Storage
        The growing copy.
    workers : int
        Number of threads.
    resume : bool
        Whether something may be there already.
    sync : bool
        Whether files are flushed to the device.
    tell : callable
        Called with bytes and numbers of files that are done.
    stop : threading.Event
        Set when something went wrong.
    max_memory : int
        Bytes by which the process may grow.
    """

    target: Storage
    workers: int
    resume: bool
    sync: bool
    tell: Callable[[int, int], None]
    stop: threading.Event
    max_memory: int

    def run(self, trees: Iterable[TreeCopy]) -> None:
        """Move the files of all trees."""
        if self.target.in_order:
            for tree in trees:
                self._into_archive(tree)
            return
        with pool(self.workers, self.stop) as submit:
            for tree in trees:
                source, target = tree.source.local_path(tree.path), self.target.local_path(tree.target)
                if source is not None and target is not None:
                    for batch in _batches(_folders(source, tree)):
                        submit(self._copy_folders, tree, batch, source, target)
                else:
                    for key, name in renamed(tree):
                        submit(self._copy_key, tree.source, key, join(tree.target, name))

    # --- between directories ----------------------------------------------------------------------

    def _copy_folders(self, tree: TreeCopy, folders: list[Folder], source: str, target: str) -> None:
        nbytes = files = 0
        for folder in folders:
            if self.stop.is_set():
                return
            here = f"{source}/{folder.path}" if folder.path else source
            there = f"{target}/{folder.path}" if folder.path else target
            if tree.rename is None:
                _make(there)
            for name, size in folder.files:
                new = _new_path(tree, folder.path, name, there, target)
                if new is not None:
                    nbytes += copy_file(
                        f"{here}/{name}",
                        new,
                        size=size,
                        newest=folder.newest,
                        resume=self.resume,
                        sync=self.sync,
                    )
                    files += 1
            if nbytes > _BATCH_BYTES:
                self.tell(nbytes, files)
                nbytes = files = 0
        self.tell(nbytes, files)

    # --- from and to other stores -----------------------------------------------------------------

    def _copy_key(self, source: Storage, key: str, name: str) -> None:
        """Copy one value between stores of any kind, piece by piece if it is large."""
        if self.stop.is_set():
            return
        size = source.size_of(key)
        if size is None:
            raise SourceChangedError("the file is gone", path=source.where(key))
        if self.resume and self.target.size_of(name) == size:
            self.tell(size, 1)
            return
        name_only = key.rpartition("/")[2]
        is_document = name_only in DOCUMENTS
        if not size and is_chunk_name(name_only):
            raise DamagedChunkError("the file is empty", path=source.where(key))
        if is_document or size <= PIECE_BYTES:
            data = b"".join(bytes(piece) for piece in source.pieces(key, size))
            if is_document:
                self.target.make_directory(name.rpartition("/")[0])
                self.target.write(name, data)
            else:
                self.target.write_object(name, data, fresh=False)
        else:
            self.target.write_pieces(name, source.pieces(key, size), size)
        self.tell(size, 1)

    def _into_archive(self, tree: TreeCopy) -> None:
        root = tree.source.local_path(tree.path)
        if root is None:
            names = list(renamed(tree))
            if tree.documents:
                names.sort(key=lambda pair: _archive_order(pair[1]))
            for key, name in names:
                self._copy_key(tree.source, key, join(tree.target, name))
            return
        items: list[tuple[str, str, int]] = []
        for folder in _folders(root, tree):
            for name, size in folder.files:
                path = join(folder.path, name)
                new = path if tree.rename is None else tree.rename(path)
                if new is not None and _wanted(path, tree):
                    items.append((join(tree.target, new), os.path.join(root, path), size))
        if tree.documents:
            items.sort(key=lambda item: _archive_order(item[0]))
        pack_files(
            self.target, items, self.workers, progress=lambda n: self.tell(n, 0), max_memory=self.max_memory
        )
        self.tell(0, len(items))

    # --- comparing --------------------------------------------------------------------------------

    def verify(self, trees: Iterable[TreeCopy]) -> None:
        """Compare all files with those of the source.

        Raises
        ------
        VerifyError
            If one differs.
        """
        with pool(self.workers, self.stop) as submit:
            for tree in trees:
                for key, name in renamed(tree):
                    submit(self._compare, tree.source, key, join(tree.target, name))

    def _compare(self, source: Storage, key: str, name: str) -> None:
        if self.stop.is_set():
            return
        target = self.target
        one, other = source.local_path(key), target.local_path(name)
        if one is not None and other is not None:
            try:
                same = same_bytes(one, other)
            except FileNotFoundError as error:
                raise VerifyError("a file is gone", path=str(error.filename)) from None
        else:
            size = source.size_of(key)
            same = size is not None and target.size_of(name) == size
            if size and same:
                # Cut alike, which pieces that are unpacked are not.
                rows = zip(Storage.pieces(source, key, size), Storage.pieces(target, name, size), strict=True)
                same = all(a == b for a, b in rows)
        if not same:
            raise VerifyError(f"differs from {source.where(key)}", path=target.where(name))


def _make(directory: str) -> None:
    """Make a directory; another thread may be making it, or the ones above."""
    try:
        os.mkdir(directory)
    except FileExistsError:
        pass
    except FileNotFoundError:
        os.makedirs(directory, exist_ok=True)


def _new_path(tree: TreeCopy, folder: str, name: str, there: str, target: str) -> str | None:
    """Path that a file gets; None if it does not come along."""
    if tree.rename is None:
        if name in DOCUMENTS and not (tree.documents and (folder or tree.target)):
            return None
        return f"{there}/{name}"
    key = join(folder, name)
    new = None if name in DOCUMENTS else tree.rename(key)
    if new is None:
        return None
    path = f"{target}/{new}"
    _make(os.path.dirname(path))
    return path


def _folders(root: str, tree: TreeCopy) -> Iterable[Folder]:
    """The folders of a tree: as they were found when it was planned, unless there are too many to keep."""
    if tree.only is not None:
        infos = [(name, os.stat(os.path.join(root, name))) for name in tree.only]
        newest = max(info.st_mtime_ns for _, info in infos)
        return [Folder("", [(name, info.st_size) for name, info in infos], newest)]
    return scan(root) if tree.folders is None else tree.folders


def _batches(folders: Iterable[Folder]) -> Iterator[list[Folder]]:
    """Some folders at a time; the files of a large one are shared out."""
    batch: list[Folder] = []
    files = nbytes = 0
    for folder in folders:
        size = sum(size for _, size in folder.files)
        small = len(folder.files) < _BATCH_FILES and size < _BATCH_BYTES
        for part in (folder,) if small else _shared_out(folder):
            batch.append(part)
            files += len(part.files)
            nbytes += size if small else sum(size for _, size in part.files)
            if len(batch) >= _BATCH_FOLDERS or files >= _BATCH_FILES or nbytes >= _BATCH_BYTES:
                yield batch
                batch, files, nbytes = [], 0, 0
    if batch:
        yield batch


def _shared_out(folder: Folder) -> Iterator[Folder]:
    first = nbytes = 0
    for i, (_, size) in enumerate(folder.files):
        nbytes += size
        if nbytes >= _BATCH_BYTES or i + 1 - first >= _BATCH_FILES:
            yield Folder(folder.path, folder.files[first : i + 1], folder.newest)
            first, nbytes = i + 1, 0
    if first < len(folder.files) or not folder.files:
        yield Folder(folder.path, folder.files[first:], folder.newest)


def _wanted(key: str, tree: TreeCopy) -> bool:
    """Whether a file comes along; the documents of the root are among those of the plan."""
    directory, _, name = key.rpartition("/")
    return name not in DOCUMENTS or (tree.documents and bool(tree.target or directory))


def renamed(tree: TreeCopy) -> Iterator[tuple[str, str]]:
    """Keys in the source, and names relative to the target."""
    prefix = f"{tree.path}/" if tree.path else ""
    keys: Iterable[str]
    root = tree.source.local_path(tree.path)
    if root is not None:
        folders = _folders(root, tree)
        keys = (join(folder.path, name) for folder in folders for name, _ in folder.files)
    elif tree.only is not None:
        keys = tree.only
    else:
        keys = (key[len(prefix) :] for key in tree.source.keys(tree.path))
    for key in keys:
        name = key if tree.rename is None else tree.rename(key)
        if name is not None and _wanted(key, tree):
            yield prefix + key, name


def _archive_order(name: str) -> tuple[bool, int, str]:
    """Documents first, breadth first, as RFC-9 recommends."""
    is_document = name == "zarr.json" or name.endswith("/zarr.json")
    return not is_document, name.count("/") if is_document else 0, name
