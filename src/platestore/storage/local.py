"""A store in a local directory: plain ``os`` calls, atomic replacement, advisory locks.

Every mutating call goes through ``os`` itself (``os.open``, ``os.replace``, ``os.mkdir``, ...), so that
the fault tests can stop the program before and after each of them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import warnings
from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING

from platestore.errors import NodeNotFoundError, StoreWarning, UnsafeTargetError
from platestore.storage import locks
from platestore.storage.base import Storage, StorageOptions
from platestore.storage.documents import MAX_DOCUMENT_BYTES
from platestore.storage.files import UNFINISHED, rename, replace, sync_directory, temporary_name, write_new
from platestore.storage.objects import LocalObjects

if TYPE_CHECKING:
    from zarr.abc.store import Store


class LocalStorage(LocalObjects, Storage):
    """A store in a directory.

    Parameters
    ----------
    root : str
        Absolute path of the store's root directory.
    options : StorageOptions
        How it is written.
    """

    atomic_moves = True
    knows_sizes = True

    def __init__(self, root: str, options: StorageOptions) -> None:
        super().__init__(options)
        self.root = root
        self._prefix = root + "/"
        self._real_root: str | None = None
        self._known_real: set[str] = {""}
        self._linked: set[str] = set()
        self._zarr_stores: dict[bool, Store] = {}
        self._folds_case: bool | None = None

    @property
    def url(self) -> str:
        """Path of the root directory."""
        return self.root

    def local_path(self, path: str) -> str:
        """Absolute path below the root."""
        return self._prefix + path if path else self.root

    def read(self, key: str) -> bytes | None:
        """Content of a document, or None."""
        try:
            with open(self._prefix + key, "rb", buffering=0) as file:
                # What is too large is not brought into memory, only enough to see that it is.
                size = os.fstat(file.fileno()).st_size
                return file.readall() if size <= MAX_DOCUMENT_BYTES else file.read(MAX_DOCUMENT_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except UnicodeEncodeError:
            return None  # nor one that the file system cannot encode
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return None  # no file has such a name
            raise

    def exists(self, key: str) -> bool:
        """Whether there is a document."""
        return os.path.isfile(self._prefix + key)

    def write(self, key: str, data: bytes) -> None:
        """Replace a document: temporary file, rename."""
        self._check_writable_link(key)
        path = self._prefix + key
        directory, name = os.path.split(path)
        temporary = os.path.join(directory, temporary_name(name))
        try:
            self._write_file(temporary, data)
            replace(temporary, path)
        except OSError:
            # Whatever went wrong, the document is as it was; take our own file away again.
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        if self.options.durability != "process":
            sync_directory(directory)

    def create(self, key: str, data: bytes) -> None:
        """Write a document into a directory that nothing refers to yet."""
        self._check_writable_link(key)
        path = self._prefix + key
        self._write_file(path, data)
        if self.options.durability != "process":
            sync_directory(os.path.dirname(path))

    def _write_file(self, path: str, data: bytes) -> None:
        write_new(path, data, sync=self.options.durability != "process")

    def make_directory(self, path: str) -> bool:
        """Make a directory, and its parents below the root."""
        self._check_writable_link(path)
        full = self.local_path(path)
        try:
            os.mkdir(full)
        except FileExistsError:
            return False
        except FileNotFoundError:
            if not path:
                os.makedirs(os.path.dirname(full), exist_ok=True)
            else:
                self.make_directory(path.rpartition("/")[0])
            try:
                os.mkdir(
                    full
                )  # once: some file systems, such as /proc, have no room in a directory that is there
            except FileExistsError:
                return False
        if self.options.durability != "process":
            sync_directory(os.path.dirname(full))
        return True

    def remove(self, key: str) -> None:
        """Remove one document."""
        self._check_writable_link(key)
        path = self._prefix + key
        try:
            os.unlink(path)
        except (FileNotFoundError, NotADirectoryError):
            return
        if self.options.durability != "process":
            sync_directory(os.path.dirname(path))

    def remove_tree(self, path: str) -> None:
        """Remove a directory and everything in it; links in it are removed, not followed.

        The directory is renamed first, so that no half-removed node is ever seen under its name.
        """
        full = self.local_path(path)
        self.check_links(path, writing=True)
        if os.path.islink(full):
            os.unlink(full)
            return
        if os.path.isfile(full):
            raise UnsafeTargetError("is a file, not a group or an array", path=full)
        directory, name = os.path.split(full)
        aside = os.path.join(directory, temporary_name(name))
        try:
            rename(full, aside)
        except FileNotFoundError:
            return
        shutil.rmtree(aside)

    def move_tree(self, source: str, target: str) -> None:
        """Rename a directory."""
        self.check_links(source, writing=True)
        self._check_writable_link(target)
        if os.path.lexists(self.local_path(target)):
            # rename() would silently replace an empty directory, and fail unclearly on a full one.
            raise FileExistsError(errno.EEXIST, "the target exists", self.local_path(target))
        rename(self.local_path(source), self.local_path(target))
        if self.options.durability != "process":
            sync_directory(os.path.dirname(self.local_path(source)))
            sync_directory(os.path.dirname(self.local_path(target)))

    def list(self, path: str) -> tuple[list[str], list[str]]:
        """Names of directories and files."""
        directories: list[str] = []
        files: list[str] = []
        try:
            with os.scandir(self.local_path(path)) as entries:
                for entry in entries:
                    (directories if entry.is_dir() else files).append(entry.name)
        except (FileNotFoundError, NotADirectoryError):
            raise NodeNotFoundError("there is no such group", path=self.where(path)) from None
        return sorted(directories), sorted(files)

    def stamp(self, key: str) -> Hashable:
        """Inode, size and time of a document."""
        try:
            info = os.stat(self._prefix + key)
        except OSError:
            return None
        return (info.st_ino, info.st_size, info.st_mtime_ns)

    def keys(self, path: str) -> Iterator[str]:
        """Keys of all files below a path; links to directories are not followed."""
        top = self.local_path(path)
        for directory, _, files in os.walk(top):
            inner = os.path.relpath(directory, self.root).replace(os.sep, "/")
            for name in files:
                yield name if inner == "." else f"{inner}/{name}"

    @contextlib.contextmanager
    def _exclude(self, path: str) -> Iterator[None]:
        """Hold the lock of a directory."""
        if not self.options.lock:
            yield
            return
        with locks.locked(self.local_path(path), self.root, self.options.lock_timeout):
            yield

    def check_links(self, path: str, *, writing: bool) -> None:
        """Follow a path segment by segment; warn of, or refuse, a link out of the store."""
        if path not in self._known_real:
            self._learn(path)
        if not self._linked:
            return
        outside = next((link for link in self._linked if path == link or path.startswith(link + "/")), None)
        if outside is not None and writing and not self.options.follow_links:
            raise UnsafeTargetError(
                f"a link leads out of the store, to {os.path.realpath(self.local_path(outside))}",
                path=self.where(outside),
                hint="nothing is written, moved or deleted through it unless follow_links=True",
            )

    def _check_writable_link(self, key: str) -> None:
        """Refuse to write a document whose directory a link leads out of the store."""
        self.check_links(key.rpartition("/")[0], writing=True)

    def is_writable(self, path: str) -> bool:
        """Whether chunks below a path may be written: the store is, and no link leads out of it."""
        try:
            self.check_links(path, writing=True)
        except UnsafeTargetError:
            return False
        return not self.options.read_only

    def _learn(self, path: str) -> None:
        parent = path.rpartition("/")[0]
        if parent not in self._known_real:
            self._learn(parent)
        full = self.local_path(path)
        try:
            is_link = stat.S_ISLNK(os.lstat(full).st_mode)
        except OSError:
            return  # not there (yet): whoever uses it will say so
        self._known_real.add(path)
        if is_link and self._leads_out(full):
            self._linked.add(path)
            if self.options.follow_links:
                return  # it is read and written through, as was asked
            warnings.warn(
                f"{self.where(path)}: is a link out of the store, to {os.path.realpath(full)}; "
                "it is read, but not written through",
                StoreWarning,
                stacklevel=2,
            )

    def _leads_out(self, full: str) -> bool:
        if self._real_root is None:
            self._real_root = os.path.realpath(self.root)
        target = os.path.realpath(full)
        return target != self._real_root and not target.startswith(self._real_root + os.sep)

    def folds_case(self) -> bool:
        """Probe the file system of the store, not that of the library, with a file that is there."""
        if self._folds_case is None:
            self._folds_case = any(
                os.path.exists(self._prefix + name) and os.path.exists(self._prefix + name.swapcase())
                for name in ("zarr.json", ".zgroup", ".zarray")
            )
        return self._folds_case

    def zarr_store(self, *, writable: bool = True, guarded: bool = False) -> Store:
        """A ``zarr.storage.LocalStore`` over the root."""
        read_only = self.options.read_only or not writable
        if read_only not in self._zarr_stores:
            from platestore.storage.zarr_compat import local_store

            self._zarr_stores[read_only] = local_store(
                self.root, read_only=read_only, sync=self.options.durability == "full"
            )
        return self._zarr_stores[read_only]

    def __getstate__(self) -> dict[str, object]:
        return {"root": self.root, "options": self.options}

    def __setstate__(self, state: dict[str, object]) -> None:
        LocalStorage.__init__(self, state["root"], state["options"])  # type: ignore[arg-type]


def find_root(path: str) -> tuple[str, str]:
    """The outermost zarr hierarchy that holds a path.

    Parameters
    ----------
    path : str
        Absolute path of a node.

    Returns
    -------
    root : str
        Absolute path of the hierarchy's root; the path itself if nothing above it is a group.
    inner : str
        The path relative to the root, with ``/``.
    """
    root, gap, current = path, 0, path
    while gap < 2:  # some writers leave out the documents of row groups
        parent = os.path.dirname(current)
        if parent == current:
            break
        current = parent
        if is_node(current):
            root, gap = current, 0
        else:
            gap += 1
    inner = os.path.relpath(path, root).replace(os.sep, "/")
    return root, "" if inner == "." else inner


def nothing_there(path: str) -> NodeNotFoundError:
    """The error for a path where nothing is: what lacks it, or what is unfinished beside it."""
    root, inner = find_root(path)
    if inner:
        return NodeNotFoundError(
            f"the store {root} has no {inner}", path=path, hint="`platestore ls` lists its positions"
        )
    for suffix, work in UNFINISHED.items():
        if os.path.isdir(path + suffix):
            return NodeNotFoundError(
                f"there is no store yet, but an unfinished {work} ({os.path.basename(path)}{suffix})",
                path=path,
                hint=f"repeat the {work} with --resume (resume=True)",
            )
    return NodeNotFoundError("there is no such store", path=path)


def is_node(path: str) -> bool:
    """Whether a directory holds the document of a zarr group or array."""
    return any(os.path.exists(os.path.join(path, name)) for name in ("zarr.json", ".zgroup", ".zarray"))
