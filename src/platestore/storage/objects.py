"""Chunks and shards as bytes: reading into memory that is used again, writing, appending.

Documents have their own functions: they are small, locked and flushed more often.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading

from platestore.storage.base import Appender, Piece, ReadBuffer, StorageOptions
from platestore.storage.files import CREATE, flush_file, replace, sync_directory, temporary_name, write_all

_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_REPLACE = (CREATE & ~os.O_EXCL) | os.O_TRUNC
_AGAIN = CREATE & ~(os.O_EXCL | os.O_CREAT)


class LocalObjects:
    """The chunks and shards of a store in a directory."""

    _prefix: str
    options: StorageOptions

    def make_directory(self, path: str) -> bool:
        """Make a directory and its parents."""
        raise NotImplementedError

    def read_part(
        self, key: str, buffer: ReadBuffer, start: int = 0, length: int | None = None
    ) -> memoryview | None:
        """Read a part of a chunk or shard."""
        try:
            descriptor = os.open(self._prefix + key, _READ)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            size = os.fstat(descriptor).st_size
            first = max(0, size + start) if start < 0 else min(start, size)
            wanted = size - first if length is None else min(length, size - first)
            view = buffer.view(wanted)
            if first:
                os.lseek(descriptor, first, os.SEEK_SET)
            done = 0
            while done < wanted:
                count = _read_into(descriptor, view[done:])
                if not count:
                    break  # it was cut off meanwhile
                done += count
            return view[:done]
        finally:
            os.close(descriptor)

    def size_of(self, key: str) -> int | None:
        """Bytes of a chunk or shard, or None if there is none."""
        try:
            return os.stat(self._prefix + key).st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write_object(self, key: str, data: Piece, *, fresh: bool) -> None:
        """Write a chunk or shard: temporary file and rename, unless nothing refers to the array yet."""
        path = self._prefix + key
        directory, name = os.path.split(path)
        target = path if fresh else os.path.join(directory, temporary_name(name))
        try:
            descriptor = self._open_new(target, key)
            try:
                write_all(descriptor, memoryview(data).cast("B"), target)
            finally:
                os.close(descriptor)
            if not fresh:
                self._adopt(target, key)
            elif self.options.durability == "full":
                flush_file(path)
                sync_directory(directory)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(target)
            raise

    def appender(self, key: str) -> Appender:
        """A chunk or shard that grows piece by piece."""
        directory, name = os.path.split(self._prefix + key)
        temporary = os.path.join(directory, temporary_name(name))
        os.close(self._open_new(temporary, key))
        return FileAppender(self, temporary, key)

    def _open_new(self, target: str, key: str) -> int:
        try:
            return os.open(target, _REPLACE, 0o666)
        except FileNotFoundError:
            self.make_directory(key.rpartition("/")[0])
            return os.open(target, _REPLACE, 0o666)

    def _adopt(self, temporary: str, key: str) -> None:
        """Give a temporary file its name, flushed before if chunks are to survive a power loss."""
        path = self._prefix + key
        if self.options.durability == "full":
            flush_file(temporary)
        replace(temporary, path)
        if self.options.durability == "full":
            sync_directory(os.path.dirname(path))


class FileAppender(Appender):
    """A file that grows piece by piece, and gets its name when it is complete.

    Several threads may append at once. The descriptor is not kept, as thousands of files may be under way.

    Parameters
    ----------
    objects : LocalObjects
        The store.
    temporary : str
        Path of the file while it grows; it exists.
    key : str
        Name that it gets.
    """

    def __init__(self, objects: LocalObjects, temporary: str, key: str) -> None:
        self._objects = objects
        self._temporary = temporary
        self._key = key
        self._lock = threading.Lock()
        self._size = 0

    def append(self, data: Piece) -> int:
        """Write a piece; returns the offset where it begins."""
        view = memoryview(data).cast("B")
        with self._lock:
            offset = self._size
            self._size += len(view)
        descriptor = os.open(self._temporary, _AGAIN)
        try:
            os.lseek(descriptor, offset, os.SEEK_SET)
            write_all(descriptor, view, self._temporary)
        finally:
            os.close(descriptor)
        return offset

    def rewrite(self, offset: int, data: Piece) -> None:
        """Write over a piece that was appended before."""
        descriptor = os.open(self._temporary, _AGAIN)
        try:
            os.lseek(descriptor, offset, os.SEEK_SET)
            write_all(descriptor, memoryview(data).cast("B"), self._temporary)
        finally:
            os.close(descriptor)

    def read(self, offset: int, length: int) -> bytes:
        """Read a piece that was appended before."""
        descriptor = os.open(self._temporary, _READ)
        try:
            os.lseek(descriptor, offset, os.SEEK_SET)
            pieces = []
            while length:
                pieces.append(os.read(descriptor, length))
                length -= len(pieces[-1])
                if not pieces[-1]:
                    raise OSError(errno.EIO, "the file was cut off while it grew", self._temporary)
            return b"".join(pieces)
        finally:
            os.close(descriptor)

    def commit(self) -> None:
        """Give the file its name, in place of what had it."""
        self._objects._adopt(self._temporary, self._key)

    def discard(self) -> None:
        """Take the file away."""
        with contextlib.suppress(OSError):
            os.unlink(self._temporary)


def _read_into(descriptor: int, view: memoryview) -> int:
    if hasattr(os, "readv"):
        return os.readv(descriptor, [view])
    data = os.read(descriptor, min(len(view), 2**24))
    view[: len(data)] = data
    return len(data)
