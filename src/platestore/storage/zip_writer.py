"""A zip archive that grows by one entry after the other, and can be read and resumed meanwhile.

Until the central directory is written, the local headers alone say what is there: an entry whose bytes are
not complete ends beyond the file, or has no size yet. A killed pass is resumed by walking along them.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import threading
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from platestore.errors import ArgumentError, InvalidMetadataError, NodeExistsError
from platestore.storage import zip_records
from platestore.storage.base import Appender, Piece, ReadBuffer
from platestore.storage.files import naming, write_all
from platestore.storage.zip_names import entry_name
from platestore.storage.zip_records import UNKNOWN_SIZE

_OPEN = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_PIECE = 8 * 2**20
_JOINED = 2**16  # up to here, header and content are joined to one write
_GUESS = 1024
_DOCUMENT = "zarr.json"


class Written(NamedTuple):
    """One entry of an archive under way.

    Attributes
    ----------
    offset : int
        Where its local header is.
    start : int
        Where its bytes begin.
    size : int
        How many there are.
    crc : int
        Their CRC-32.
    """

    offset: int
    start: int
    size: int
    crc: int


class ZipWriter:
    """The file of an archive under way. Several threads may add entries and read.

    Parameters
    ----------
    path : str
        Absolute path of the file; an empty one may be there.
    version : str
        OME-NGFF version, for the archive's comment.
    json_first : bool
        Whether all ``zarr.json`` come before the other entries, that of the root first.
    resume : bool
        Whether what is complete in the file is kept.
    check : bool
        Whether its CRC-32 is checked then.
    """

    def __init__(self, path: str, *, version: str, json_first: bool, resume: bool, check: bool) -> None:
        self.path = path
        self.entries: dict[str, Written] = {}
        self.lock = threading.RLock()
        #: Bytes of the file so far.
        self.end = 0
        self.finished = False
        #: The entry that is written piece by piece.
        self.current: EntryStream | None = None
        self._comment = _comment(version, json_first)
        self._json_first = json_first
        self._others = False  # whether an entry came that is no zarr.json
        self._descriptor = -1
        self._descriptor = os.open(path, _OPEN, 0o666)
        try:
            size = os.fstat(self._descriptor).st_size
            if resume:
                self._resume(size, check=check)
            elif size:
                raise NodeExistsError("the file exists", path=path)
        except BaseException:
            self.close()
            raise

    # --- resuming ---------------------------------------------------------------------------------

    def _resume(self, size: int, *, check: bool) -> None:
        """Keep the complete entries that the file begins with, and cut off the rest."""
        begin = self._pread(0, len(zip_records.FIRST_BYTES))
        if not zip_records.FIRST_BYTES.startswith(begin):
            raise InvalidMetadataError(
                "is no archive that was begun here, so it is not continued",
                path=self.path,
                hint="nothing was changed; remove it yourself, or name another file",
            )
        while True:
            found = self._scan_entry(size)
            if found is None or (check and self._crc_of(found[1]) != found[1].crc):
                break
            key, entry = found
            self._require_next(key)
            self._register(key, entry)
        if self.end < size:
            os.truncate(self.path, self.end)

    def _scan_entry(self, size: int) -> tuple[str, Written] | None:
        """The entry that begins where the last one ends, if it is complete."""
        data = self._pread(self.end, _GUESS)
        name_size = int.from_bytes(data[26:28], "little")
        if name_size > _GUESS // 2:
            data = self._pread(self.end, _GUESS + name_size)
        parsed = zip_records.parse_own_header(data)
        if parsed is None:
            return None
        name, length, crc = parsed
        start = self.end + zip_records.header_size(name)
        if start + length > size:
            return None
        try:
            key = name.decode("utf-8")
        except UnicodeDecodeError:
            return None
        return None if key in self.entries else (key, Written(self.end, start, length, crc))

    def _crc_of(self, entry: Written) -> int:
        crc, done = 0, 0
        buffer = ReadBuffer()
        while done < entry.size:
            view = buffer.view(min(_PIECE, entry.size - done))
            count = self._pread_into(view, entry.start + done)
            if not count:
                raise OSError(errno.EIO, "the archive was cut off while it grew", self.path)
            crc = zlib.crc32(view[:count], crc)
            done += count
        return crc

    # --- writing ----------------------------------------------------------------------------------

    def add(self, key: str, data: Piece) -> None:
        """Add an entry; one that is there already is left, if it has the same bytes."""
        view = memoryview(data).cast("B")
        crc = zlib.crc32(view)
        with self.lock:
            self._require_open(key)
            if self.holds(key, len(view), crc):
                return
            name = entry_name(key, self.path)
            self._require_next(key)
            header = zip_records.local_header(name, len(view), crc)
            offset = self.end
            with self._restored(offset):
                if len(view) <= _JOINED:
                    self._put(header + bytes(view))
                else:
                    self._put(header)
                    self._put(view)
            self._register(key, Written(offset, offset + len(header), len(view), crc))

    def holds(self, key: str, size: int, crc: int | None = None) -> bool:
        """Whether an entry is there already.

        Parameters
        ----------
        key : str
            The entry.
        size : int
            Bytes that it must have.
        crc : int, optional
            CRC-32 that they must have, if it is known.

        Raises
        ------
        ArgumentError
            If it is there, and another.
        """
        found = self.entries.get(key)
        if found is None:
            return False
        if found.size != size or crc not in (None, found.crc):
            raise ArgumentError(
                "the archive holds this entry with other bytes",
                path=self._where(key),
                hint="a zip archive cannot replace an entry: pack into a new file",
            )
        return True

    def add_joined(self, joined: memoryview, entries: list[tuple[str, int, int]]) -> None:
        """Add several entries that were laid out before, with one write.

        Parameters
        ----------
        joined : memoryview
            Their local headers (of :func:`zip_records.local_header`) and bytes, one after the other.
        entries : list of tuple
            Key, size and CRC-32 of each; none of them may be there already.
        """
        with self.lock:
            self._require_open("")
            at, others = self.end, self._others
            new: dict[str, Written] = {}
            for key, size, crc in entries:
                name = entry_name(key, self.path)
                self._require_order(key, first=not (self.entries or new), others=others)
                start = at + zip_records.header_size(name)
                new[key] = Written(at, start, size, crc)
                at, others = start + size, others or key.rpartition("/")[2] != _DOCUMENT
            if at != self.end + len(joined) or len(new) != len(entries) or self.entries.keys() & new.keys():
                raise ArgumentError("these are not new entries, or not those in the bytes", path=self.path)
            with self._restored(self.end):
                self._put(joined)
            self.entries.update(new)
            self._others = others

    def stream(self, key: str) -> EntryStream:
        """An entry that is written piece by piece; nothing else can be written before it is complete.

        Raises
        ------
        ArgumentError
            If there is such an entry, or none can be added now.
        """
        with self.lock:
            self._require_open(key)
            if key in self.entries:
                raise ArgumentError("the archive holds this entry already", path=self._where(key))
            name = entry_name(key, self.path)
            self._require_next(key)
            offset = self.end
            header = zip_records.local_header(name, UNKNOWN_SIZE, 0)
            with self._restored(offset):
                self._put(header)
            self.current = EntryStream(self, key, name, offset)
            return self.current

    def finish(self, *, sync: bool) -> None:
        """Write the central directory, and flush the file to the device if asked to."""
        with self.lock:
            if self.finished:
                return
            self._require_open("")
            start, pieces, waiting = self.end, [], 0
            with self._restored(start):
                for key, entry in self.entries.items():
                    pieces.append(
                        zip_records.central_header(key.encode(), entry.size, entry.crc, entry.offset)
                    )
                    waiting += len(pieces[-1])
                    if waiting >= _PIECE:
                        self._put(b"".join(pieces))
                        pieces, waiting = [], 0
                size = self.end + waiting - start
                ends = zip_records.end_records(len(self.entries), start, size, self._comment)
                self._put(b"".join((*pieces, ends)))
                if sync:
                    os.fsync(self._descriptor)
            self.finished = True

    def close(self) -> None:
        """Close the file, finished or not."""
        with self.lock:
            if self._descriptor >= 0:
                descriptor, self._descriptor = self._descriptor, -1
                os.close(descriptor)

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def _where(self, key: str) -> str:
        return f"{self.path}/{key}" if key else self.path

    def _require_open(self, key: str) -> None:
        reason = None
        if self._descriptor < 0:
            reason = "the archive is closed"
        elif self.finished:
            reason = "the archive is finished"
        elif self.current is not None:
            reason = f"{self.current.key!r} is being written, and must be complete before anything else"
        if reason is not None:
            raise ArgumentError(reason, path=self._where(key))

    def _require_next(self, key: str) -> None:
        self._require_order(key, first=not self.entries, others=self._others)

    def _require_order(self, key: str, *, first: bool, others: bool) -> None:
        if not self._json_first:
            return
        if first and key != _DOCUMENT:
            raise ArgumentError("the first entry must be the zarr.json of the root", path=self._where(key))
        if others and key.rpartition("/")[2] == _DOCUMENT:
            raise ArgumentError(
                "a zarr.json comes after other entries, and the archive says that all are first",
                path=self._where(key),
            )

    def _register(self, key: str, entry: Written) -> None:
        self.entries[key] = entry
        self.end = entry.start + entry.size
        self._others = self._others or key.rpartition("/")[2] != _DOCUMENT

    def _put(self, data: Piece) -> None:
        """Append bytes to the file."""
        view = memoryview(data)
        os.lseek(self._descriptor, self.end, os.SEEK_SET)
        with naming(self.path):
            while view:
                count = os.write(self._descriptor, view)
                self.end += count
                view = view[count:]

    @contextlib.contextmanager
    def _restored(self, offset: int) -> Iterator[None]:
        """Cut the file off again where writing fails."""
        try:
            yield
        except BaseException:
            self.end = offset
            with contextlib.suppress(OSError):
                os.truncate(self.path, offset)
            raise

    # --- reading back -----------------------------------------------------------------------------

    def read_part(
        self, key: str, buffer: ReadBuffer, start: int = 0, length: int | None = None
    ) -> memoryview | None:
        """Read a part of an entry that was written."""
        entry = self.entries.get(key)
        if entry is None:
            return None
        first = max(0, entry.size + start) if start < 0 else min(start, entry.size)
        wanted = entry.size - first if length is None else min(length, entry.size - first)
        view, done = buffer.view(wanted), 0
        while done < wanted:
            count = self._pread_into(view[done:], entry.start + first + done)
            if not count:
                break  # it was cut off meanwhile
            done += count
        return view[:done]

    def _pread(self, offset: int, length: int) -> bytes:
        view = memoryview(bytearray(length))
        return bytes(view[: self._pread_into(view, offset)])

    def _pread_into(self, view: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._descriptor, [view], offset)
        wanted = min(len(view), 2**24)
        with self.lock:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            data = os.read(self._descriptor, wanted)
        view[: len(data)] = data
        return len(data)


class EntryStream(Appender):
    """An entry that grows piece by piece at the end of an archive."""

    def __init__(self, writer: ZipWriter, key: str, name: bytes, offset: int) -> None:
        self.key = key
        self.size = 0
        self._writer = writer
        self._name = name
        self._offset = offset
        self._start = offset + zip_records.header_size(name)
        self._crc = 0
        self._rewritten = False

    def append(self, data: Piece) -> int:
        """Write a piece; returns its offset in the entry."""
        view = memoryview(data).cast("B")
        writer = self._writer
        with writer.lock:
            self._require_current()
            offset = self.size
            with writer._restored(self._start + offset):
                writer._put(view)
            self._crc = zlib.crc32(view, self._crc)
            self.size += len(view)
        return offset

    def rewrite(self, offset: int, data: Piece) -> None:
        """Write over a piece that was appended before; completing the entry then reads it once more."""
        view = memoryview(data).cast("B")
        with self._writer.lock:
            self._require_current()
            if not 0 <= offset <= self.size - len(view):
                raise ArgumentError("nothing was appended there", path=self._writer._where(self.key))
            self._rewritten = True
            self._write_at(self._start + offset, view)

    def read(self, offset: int, length: int) -> bytes:
        """Read a piece that was appended before."""
        return self._writer._pread(self._start + offset, min(length, self.size - offset))

    def commit(self) -> None:
        """Give the entry its CRC-32 and size: from then on it is complete."""
        writer = self._writer
        with writer.lock:
            self._require_current()
            entry = Written(self._offset, self._start, self.size, self._crc)
            if self._rewritten:
                entry = entry._replace(crc=writer._crc_of(entry))
            for at, data in zip_records.header_patches(self._name, entry.size, entry.crc):
                self._write_at(self._offset + at, memoryview(data))
            writer.current = None
            writer._register(self.key, entry)

    def discard(self) -> None:
        """Cut the entry off again; nothing happens if it is complete."""
        writer = self._writer
        with writer.lock:
            if writer.current is not self:
                return
            writer.current = None
            writer.end = self._offset
            with contextlib.suppress(OSError):
                os.truncate(writer.path, self._offset)

    def _write_at(self, offset: int, view: memoryview) -> None:
        os.lseek(self._writer._descriptor, offset, os.SEEK_SET)
        write_all(self._writer._descriptor, view, self._writer.path)

    def _require_current(self) -> None:
        if self._writer.current is not self or self._writer._descriptor < 0:
            raise ArgumentError("this entry is complete, or was given up", path=self._writer._where(self.key))


def _comment(version: str, json_first: bool) -> bytes:
    ome: dict[str, object] = {"version": version}
    if json_first:
        ome["zipFile"] = {"centralDirectory": {"jsonFirst": True}}
    return json.dumps({"ome": ome}).encode()
