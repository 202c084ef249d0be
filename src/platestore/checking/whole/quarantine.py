"""Where a repair puts what it takes out of a store, beside it: nothing that may hold pixels is deleted.

``STORE.quarantine/<time>/`` has what was moved under the path that it had in the store, the documents
that were changed as they were before under ``documents/``, and ``actions.txt``, which says what was done.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from datetime import UTC, datetime

from platestore.errors import ReadOnlyError, UnsafeTargetError
from platestore.storage.files import rename, temporary_name
from platestore.storage.local import LocalStorage

_BESIDE = "beside"
_DOCUMENTS = "documents"
_MOVED = "store"
_LOG = "actions.txt"


class Quarantine:
    """The quarantine of one repair; its directory is made when the first thing comes.

    Parameters
    ----------
    storage : LocalStorage
        The store.
    """

    def __init__(self, storage: LocalStorage) -> None:
        self._storage = storage
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        self.path = os.path.join(f"{os.path.realpath(storage.root)}.quarantine", now)

    def require_writable(self) -> None:
        """Refuse a repair where nothing could be set aside, before it starts.

        Raises
        ------
        ReadOnlyError
            If there is no right to write into the store, or beside it.
        """
        folder = os.path.dirname(self.path)
        if os.path.lexists(folder) and not os.path.isdir(folder):
            raise ReadOnlyError("is in the way of what a repair takes out", path=folder, hint="move it away")
        real = os.path.realpath(self._storage.root)
        for directory in (real, os.path.dirname(real)):
            if not os.access(directory, os.W_OK | os.X_OK) or _is_read_only(directory):
                raise ReadOnlyError(
                    "there is no right to write here, so nothing can be repaired",
                    path=directory,
                    hint="copy the store to where you may write, and repair the copy",
                )

    def take(self, key: str) -> str:
        """Move a file or directory of the store, or beside it, into quarantine; give its new path."""
        if not key:
            raise UnsafeTargetError("the store itself is never set aside", path=self._storage.root)
        if os.path.isabs(key):
            source, target = key, os.path.join(self.path, _BESIDE, os.path.basename(key))
        else:
            self._storage.check_links(key.rpartition("/")[0], writing=True)
            source = self._storage.local_path(key)
            target = os.path.join(self.path, _MOVED, *key.split("/"))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        try:
            rename(source, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _move_far(source, target)
        return target

    def keep_document(self, key: str) -> None:
        """Keep a document as it is before it is changed for the first time."""
        self._copy(key, _DOCUMENTS)

    def keep(self, key: str) -> str:
        """Keep a shard as it is before it is replaced; give its other path."""
        return self._copy(key, _MOVED)

    def keep_tree(self, path: str) -> None:
        """Keep the files of a directory as they are, before they are replaced."""
        for key in self._storage.keys(path):
            self._copy(key, _MOVED)

    def _copy(self, key: str, folder: str) -> str:
        source = self._storage.local_path(key)
        target = os.path.join(self.path, folder, *key.split("/"))
        if os.path.exists(target) or not os.path.lexists(source):
            return target
        os.makedirs(os.path.dirname(target), exist_ok=True)
        try:
            # Files are replaced, never changed, so a second name keeps what is in them.
            os.link(source, target, follow_symlinks=False)
        except OSError:
            shutil.copy2(source, target, follow_symlinks=False)
        return target

    def log(self, line: str) -> None:
        """Write down what was done."""
        # The report says the same; a full disk must not stop what is under way.
        with contextlib.suppress(OSError):
            os.makedirs(self.path, exist_ok=True)
            with open(
                os.path.join(self.path, _LOG), "a", encoding="utf-8", errors="backslashreplace"
            ) as file:
                file.write(line + "\n")


def _move_far(source: str, target: str) -> None:
    """Move to another file system: the copy is whole before anything goes."""
    directory, name = os.path.split(target)
    growing = os.path.join(directory, temporary_name(name))
    if os.path.isdir(source) and not os.path.islink(source):
        shutil.copytree(source, growing, symlinks=True)
        rename(growing, target)
        shutil.rmtree(source)
    else:
        shutil.copy2(source, growing, follow_symlinks=False)
        rename(growing, target)
        os.unlink(source)


def _is_read_only(directory: str) -> bool:
    """Whether the file system is mounted for reading only."""
    if not hasattr(os, "statvfs"):
        return False
    return bool(os.statvfs(directory).f_flag & os.ST_RDONLY)
