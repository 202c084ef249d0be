"""An archive as it lies on the disk: its central directory, read once, and the bytes of its entries."""

from __future__ import annotations

import itertools
import json
import os
import stat
import threading
import weakref
from collections.abc import Hashable, Iterator
from functools import cached_property
from typing import NamedTuple

from platestore.errors import InvalidMetadataError, NodeNotFoundError
from platestore.storage import zip_records
from platestore.storage.zip_names import KeyTree, decode_name, name_flaw, shown
from platestore.storage.zip_records import DEFLATED, STORED, ZipRecord

_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_KEPT_INDICES = 2
# Deflate cannot do better than 1032 to 1.
_MOST_DEFLATED = 1032


class OzxEntry(NamedTuple):
    """One file in an archive.

    Attributes
    ----------
    size : int
        Its bytes.
    compressed : int
        Bytes that it takes in the archive.
    method : int
        How it is compressed: 0 for stored, 8 for deflated.
    crc : int
        CRC-32 of its bytes.
    offset : int
        Where its local header is in the archive.
    """

    size: int
    compressed: int
    method: int
    crc: int
    offset: int


class ArchiveIndex:
    """What the central directory says."""

    def __init__(self, records: Iterator[ZipRecord], start: int, comment: bytes) -> None:
        self.entries: dict[str, OzxEntry] = {}
        #: Keys that are there and cannot be read, and why.
        self.refused: dict[str, str] = {}
        #: Flaws of single entries.
        self.flaws: list[str] = []
        self.version, self.json_first = _parse_comment(comment)
        self.declared = 0
        self._overlaps: list[str] = []
        self._fill(records, start)

    def _fill(self, records: Iterator[ZipRecord], start: int) -> None:
        spans: list[tuple[int, int, str]] = []
        entries, flaws, refused = self.entries, self.flaws, self.refused
        for record in records:
            raw, _, method, crc, compressed, size, offset, _ = record
            self.declared += size
            try:
                name = decode_name(raw, utf8=bool(record.flags & zip_records.UTF8_FLAG))
            except UnicodeDecodeError:
                flaws.append(f"{raw[:200]!r} is not the UTF-8 that it is marked as")
                continue
            end = offset + zip_records.LOCAL_SIZE + len(raw) + compressed
            spans.append((offset, end, name))
            is_directory = name.endswith("/")
            flaw = name_flaw(name[:-1] if is_directory else name)
            if flaw is None and is_directory and size:
                flaw = "is a directory with content"
            if flaw is not None:
                flaws.append(f"{shown(name)} {flaw}")
                continue
            if is_directory:
                continue
            if name in entries or name in refused:
                flaws.append(f"{shown(name)} is there more than once")
                entries.pop(name, None)
                refused.pop(name, None)
            why = _unreadable(record, end > start)
            if why is None:
                entries[name] = OzxEntry(size, compressed, method, crc, offset)
            else:
                refused[name] = why
                flaws.append(f"{shown(name)} {why}")
        spans.sort()
        for one, other in itertools.pairwise(spans):
            if one[1] > other[0]:
                self._overlaps.append(f"{shown(one[2])} and {shown(other[2])} overlap")

    @cached_property
    def tree(self) -> KeyTree:
        """Directories and files."""
        return KeyTree(self.entries)

    @cached_property
    def conflicts(self) -> list[str]:
        """Flaws that matter where the archive is unpacked."""
        return self._overlaps + list(self.tree.conflicts())


class ArchiveFile:
    """An open file and its index; closed when nobody uses it any more."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = -1
        self._descriptor = os.open(path, _READ)
        self._lock = threading.Lock()
        info = os.fstat(self._descriptor)
        if not stat.S_ISREG(info.st_mode):
            raise InvalidMetadataError("is no regular file", path=path)
        self.size = info.st_size
        self.stamp = (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)
        #: Where the contents of entries begin, as far as their local headers were looked at.
        self.starts: dict[int, int] = {}
        self.index: ArchiveIndex

    def load_index(self) -> ArchiveIndex:
        """Read the central directory."""
        try:
            found = zip_records.find_directory(self.read, self.size)
            data = self.read(found.start, found.size)
            return ArchiveIndex(zip_records.read_records(data, found), found.start, found.comment)
        except InvalidMetadataError as error:
            raise InvalidMetadataError(
                error.message, path=self.path, hint="restore it from where it came from"
            ) from None

    def read(self, offset: int, length: int) -> bytes:
        """Bytes at an offset; fewer at the end of the file."""
        data = bytearray(length)
        return bytes(data[: self.read_into(memoryview(data), offset)])

    def read_into(self, view: memoryview, offset: int) -> int:
        """Fill memory with what is at an offset; returns how much there was."""
        done = 0
        while done < len(view):
            count = self._read_some(view[done:], offset + done)
            if not count:
                break
            done += count
        return done

    def _read_some(self, view: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._descriptor, [view], offset)
        wanted = min(len(view), 2**24)
        if hasattr(os, "pread"):
            data = os.pread(self._descriptor, wanted, offset)
        else:
            with self._lock:
                os.lseek(self._descriptor, offset, os.SEEK_SET)
                data = os.read(self._descriptor, wanted)
        view[: len(data)] = data
        return len(data)

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


# Thousands of positions that are opened one by one share one descriptor; the index outlives it, since
# reading it is what takes time. No locks: at worst two threads open a file twice.
_open_archives: weakref.WeakValueDictionary[Hashable, ArchiveFile] = weakref.WeakValueDictionary()
_recent: list[tuple[Hashable, ArchiveIndex]] = []


def open_archive(path: str) -> ArchiveFile:
    """Open an archive, or share it with who has it open.

    Raises
    ------
    NodeNotFoundError
        If there is no such file.
    InvalidMetadataError
        If it is no zip archive, or cut off.
    """
    global _recent
    try:
        fresh = ArchiveFile(path)
    except FileNotFoundError:
        raise NodeNotFoundError("there is no such archive", path=path) from None
    key = (path, fresh.stamp)
    found = _open_archives.get(key)
    if found is not None:
        return found
    index = next((kept for other, kept in _recent if other == key), None) or fresh.load_index()
    fresh.index = index
    _recent = [(key, index), *(pair for pair in _recent if pair[0] != key)][:_KEPT_INDICES]
    return _open_archives.setdefault(key, fresh)


def _unreadable(record: ZipRecord, outside: bool) -> str | None:
    """Why an entry cannot be read, or None."""
    kind = stat.S_IFMT(record.mode)
    if kind not in (0, stat.S_IFREG):
        return "is a link" if kind == stat.S_IFLNK else "is no regular file"
    if record.flags & zip_records.ENCRYPTED_FLAG:
        return "is encrypted"
    if record.method not in (STORED, DEFLATED):
        return f"is compressed by a method that is not read ({record.method})"
    if record.offset < 0 or outside:
        return "lies outside the archive"
    if record.method == STORED and record.size != record.compressed:
        return "is stored, and declares another size than it has"
    if record.method == DEFLATED and record.size > _MOST_DEFLATED * (record.compressed + 1):
        return "declares more bytes than it can hold"
    return None


def _parse_comment(comment: bytes) -> tuple[str | None, bool]:
    """Version and order that the comment tells; others write others there."""
    try:
        content = json.loads(comment)
    except (ValueError, RecursionError):
        return None, False
    ome = content.get("ome") if isinstance(content, dict) else None
    if not isinstance(ome, dict):
        return None, False
    version = ome.get("version")
    for key in ("zipFile", "centralDirectory", "jsonFirst"):
        ome = ome.get(key) if isinstance(ome, dict) else None
    return version if isinstance(version, str) else None, ome is True
