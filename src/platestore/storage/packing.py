"""Packs files into an archive: threads read ahead, one thread writes in order.

Small files are laid out with their headers in one block of memory, as they will lie in the archive, and
written together; large ones come in pieces. A few blocks are used again and again, so memory is bounded.
"""

from __future__ import annotations

import os
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from platestore.errors import ArgumentError, DamagedChunkError, SourceChangedError, UnsupportedError
from platestore.storage import zip_records
from platestore.storage.archive import ArchiveStorage
from platestore.storage.base import Storage, is_chunk_name
from platestore.storage.zip_names import entry_name
from platestore.storage.zip_writer import EntryStream

_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_BLOCK = 8 * 2**20
_MOST_FILES = 512  # in one block, so that a task ends soon
_MOST_BLOCKS = 7
_LEAST_BLOCK = 256 * 2**10


class _Item(NamedTuple):
    """One file to be packed."""

    key: str
    name: bytes
    path: str
    #: Its bytes when it was looked at.
    size: int


class _Part(NamedTuple):
    """What fits into one block: whole files, or a piece of one."""

    items: list[_Item]
    offset: int = 0
    length: int | None = None


def pack_files(
    archive: Storage,
    items: Iterable[tuple[str, str, int]],
    workers: int,
    progress: Callable[[int], None] | None = None,
    max_memory: int | None = None,
) -> None:
    """Add files to an archive, in order.

    Up to 56 MiB are read ahead. Files that the archive holds already with their size are passed over.

    Parameters
    ----------
    archive : Storage
        The archive, which is written in order.
    items : iterable of tuple
        Key, absolute path and size of each file.
    workers : int
        How many threads read.
    progress : callable, optional
        Told the bytes that were packed or passed over since the last time.
    max_memory : int, optional
        Bytes that may be read ahead, if they are to be fewer.

    Raises
    ------
    DamagedChunkError
        If the file of a chunk is empty.
    SourceChangedError
        If a file is gone, or has another size than it had.
    ArgumentError
        If the archive holds a file with another size, or cannot take one now.
    """
    if workers < 1:
        raise ArgumentError(f"workers must be 1 or more, not {workers}")
    if not isinstance(archive, ArchiveStorage):
        raise UnsupportedError("files are packed into archives only", path=archive.url)
    told = progress or (lambda nbytes: None)
    writer = _Writer(archive)
    size = _BLOCK if max_memory is None else max(_LEAST_BLOCK, min(_BLOCK, max_memory // (2 * _MOST_BLOCKS)))
    free = [bytearray() for _ in range(min(workers + 2, _MOST_BLOCKS))]
    waiting: deque[tuple[_Part, bytearray, Future[_Filled]]] = deque()
    pool = ThreadPoolExecutor(workers, "platestore-pack")

    def write_next() -> None:
        part, block, future = waiting.popleft()
        told(writer.write(part, future.result()))
        free.append(block)

    try:
        for part in _parts(archive, items, told, size):
            if not free:
                write_next()
            block = free.pop()
            waiting.append((part, block, pool.submit(_fill, part, block, size)))
        while waiting:
            write_next()
    finally:
        writer.discard()
        pool.shutdown(cancel_futures=True)


def _parts(
    archive: ArchiveStorage, items: Iterable[tuple[str, str, int]], told: Callable[[int], None], block: int
) -> Iterator[_Part]:
    """Parts in the order of the files; of those that are there already, none."""
    group: list[_Item] = []
    room = block
    for key, path, size in items:
        if archive.holds(key, size):
            told(size)
            continue
        item = _Item(key, entry_name(key, archive.url), path, size)
        needed = zip_records.header_size(item.name) + item.size
        if group and (needed > room or len(group) == _MOST_FILES):
            yield _Part(group)
            group, room = [], block
        if needed > block:
            for offset in range(0, item.size, block):
                yield _Part([item], offset, min(block, item.size - offset))
        else:
            group.append(item)
            room -= needed
    if group:
        yield _Part(group)


class _Filled(NamedTuple):
    """A block with the bytes of a part."""

    view: memoryview
    #: Key, size and CRC-32 of each file, where they are whole.
    entries: list[tuple[str, int, int]]


def _fill(part: _Part, block: bytearray, size: int) -> _Filled:
    """Read what belongs into a block; in a thread."""
    if not block:  # fresh memory costs as much as reading: it is taken once, and by the thread
        block.extend(bytes(size))
    view = memoryview(block)
    if part.length is not None:
        _read(part.items[0], view[: part.length], part.offset)
        return _Filled(view[: part.length], [])
    at, entries = 0, []
    for item in part.items:
        start = at + zip_records.header_size(item.name)
        content = view[start : start + item.size]
        _read(item, content, 0)
        crc = zlib.crc32(content)
        view[at:start] = zip_records.local_header(item.name, item.size, crc)
        entries.append((item.key, item.size, crc))
        at = start + item.size
    return _Filled(view[:at], entries)


def _read(item: _Item, view: memoryview, offset: int) -> None:
    """Read a file, or a piece of it, which must be as it was when it was looked at."""
    try:
        descriptor = os.open(item.path, _READ)
    except FileNotFoundError:
        raise SourceChangedError("is gone", path=item.path) from None
    try:
        size = os.fstat(descriptor).st_size
        if not size and is_chunk_name(os.path.basename(item.path)):
            raise DamagedChunkError("the chunk's file is empty", path=item.path)
        if size == item.size:
            if offset:
                os.lseek(descriptor, offset, os.SEEK_SET)
            size = item.size - len(view) + _read_all(descriptor, view)
        if size != item.size:
            raise SourceChangedError(f"had {item.size} bytes, and now has {size}", path=item.path)
    finally:
        os.close(descriptor)


def _read_all(descriptor: int, view: memoryview) -> int:
    wanted = len(view)
    done = _read_some(descriptor, view) if wanted else 0
    while 0 < done < wanted:
        count = _read_some(descriptor, view[done:])
        if not count:
            break
        done += count
    return done


def _read_some(descriptor: int, view: memoryview) -> int:
    if hasattr(os, "readv"):
        return os.readv(descriptor, (view,))
    data = os.read(descriptor, min(len(view), 2**24))
    view[: len(data)] = data
    return len(data)


class _Writer:
    """Puts parts into the archive, one after the other."""

    def __init__(self, archive: ArchiveStorage) -> None:
        self._archive = archive
        self._stream: EntryStream | None = None

    def write(self, part: _Part, filled: _Filled) -> int:
        """Write a part; returns the bytes of files in it."""
        if part.length is None:
            self._archive.add_joined(filled.view, filled.entries)
            return sum(size for _, size, _ in filled.entries)
        item = part.items[0]
        if self._stream is None:
            self._stream = self._archive.stream(item.key)
        self._stream.append(filled.view)
        if part.offset + part.length == item.size:
            self._stream.commit()
            self._stream = None
        return part.length

    def discard(self) -> None:
        """Give up a file that is not complete."""
        if self._stream is not None:
            self._stream.discard()
