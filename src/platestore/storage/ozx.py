"""RFC-9 zipped OME-Zarr (``.ozx``), read in place: an archive as a store that nobody changes.

The central directory is read once for each archive and kept for the next that opens it; the bytes of an
entry are read from the file where they lie. What is wrong with an archive is left out with a warning, and
an entry that cannot be read is an error where it is read: it must not pass for a chunk never written.
"""

from __future__ import annotations

import dataclasses
import os
import types
import warnings
import zlib
from collections.abc import Hashable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NoReturn

from platestore.errors import (
    DamagedChunkError,
    InvalidMetadataError,
    NodeNotFoundError,
    PlatestoreError,
    ReadOnlyError,
    StoreWarning,
    UnsafeTargetError,
)
from platestore.settings import human_bytes
from platestore.spec.values import Json
from platestore.storage import zip_records
from platestore.storage.base import DOCUMENTS, PIECE_BYTES, Piece, ReadBuffer, Storage, StorageOptions
from platestore.storage.documents import MAX_DOCUMENT_BYTES
from platestore.storage.ozx_file import ArchiveFile, ArchiveIndex, OzxEntry, open_archive
from platestore.storage.zip_names import decode_name
from platestore.storage.zip_records import STORED

if TYPE_CHECKING:
    from zarr.abc.store import Store

_SUFFIX = ".ozx"
# Of the first entry, or of the end of an archive without one.
_ZIP_HEADS = (b"PK\x03\x04", b"PK\x05\x06")
_PIECE = 2**18
_SHOWN = 5
_BOMB_BYTES, _BOMB_RATIO = 2**30, 200
_COPY_HINT = "a zip archive cannot replace an entry: `platestore copy x.ozx x.zarr`, then change that"
_UNPACK_HINT = "nothing was unpacked; ask whoever made the archive"


class OzxStorage(Storage):
    """A store in a zip archive on this machine, for reading.

    Parameters
    ----------
    path : str
        Absolute path of the archive.
    options : StorageOptions
        How it is read; whatever they say, it is read-only.

    Raises
    ------
    NodeNotFoundError
        If there is no such file.
    InvalidMetadataError
        If it is no zip archive, is cut off, or holds no zarr v3 hierarchy at its root.

    Warns
    -----
    StoreWarning
        If entries were left out, or cannot be read.
    """

    knows_sizes = True

    def __init__(self, path: str, options: StorageOptions) -> None:
        super().__init__(dataclasses.replace(options, read_only=True))
        self.path = path
        self._opened: ArchiveFile | None = None
        index = self._archive.index
        if "zarr.json" not in index.entries and "zarr.json" not in index.refused:
            _refuse_without_root(path, index)
        if index.flaws:
            rest = ", ..." if len(index.flaws) > _SHOWN else ""
            warnings.warn(
                f"{path}: entries that were left out, or cannot be read: "
                f"{', '.join(index.flaws[:_SHOWN])}{rest} ({len(index.flaws)})",
                StoreWarning,
                stacklevel=2,
            )

    @property
    def _archive(self) -> ArchiveFile:
        if self._opened is None:
            self._opened = open_archive(self.path)
        return self._opened

    # --- what is in it ----------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Path of the archive."""
        return self.path

    @property
    def entries(self) -> Mapping[str, OzxEntry]:
        """The files that can be read, by their keys, in the order of the archive."""
        return types.MappingProxyType(self._archive.index.entries)

    @property
    def version(self) -> str | None:
        """OME-NGFF version that the archive's comment tells, if it tells one."""
        return self._archive.index.version

    @property
    def json_first(self) -> bool:
        """Whether the comment says that all ``zarr.json`` are the first entries."""
        return self._archive.index.json_first

    @property
    def nbytes(self) -> int:
        """Bytes of the archive."""
        return self._archive.size

    @property
    def problems(self) -> list[str]:
        """What keeps the archive from being unpacked; empty for a sound one."""
        index = self._archive.index
        return index.flaws + index.conflicts

    def check_unpackable(self) -> None:
        """Refuse an archive whose entries must not become files.

        Raises
        ------
        InvalidMetadataError
            If names lead out of it, are there twice or clash on some file systems, if entries overlap, are
            links or cannot be read, or if it would become more than 1 GiB and 200 times its size.
        """
        problems = self.problems
        if problems:
            rest = f", and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
            raise InvalidMetadataError(
                f"cannot be unpacked safely: {', '.join(problems[:_SHOWN])}{rest}",
                path=self.path,
                hint=_UNPACK_HINT,
            )
        declared, size = self._archive.index.declared, self._archive.size
        if declared > _BOMB_BYTES and declared > _BOMB_RATIO * size:
            raise InvalidMetadataError(
                f"would become {human_bytes(declared)}, and has {human_bytes(size)}: no pixels shrink so far",
                path=self.path,
                hint=_UNPACK_HINT,
            )

    def _find(self, key: str) -> OzxEntry | None:
        index = self._archive.index
        found = index.entries.get(key)
        if found is None and key in index.refused:
            raise self._damage(key, index.refused[key])
        return found

    def _damage(self, key: str, message: str) -> PlatestoreError:
        cls = InvalidMetadataError if key.rpartition("/")[2] in DOCUMENTS else DamagedChunkError
        return cls(
            message,
            path=f"{self.path} (entry {key!r})",
            hint="restore the archive from where it came from, or from a backup",
        )

    # --- reading ----------------------------------------------------------------------------------

    def read(self, key: str) -> bytes | None:
        """Content of a document, checked against its CRC-32; or None."""
        entry = self._find(key)
        if entry is None:
            return None
        if entry.size > MAX_DOCUMENT_BYTES and key.rpartition("/")[2] in DOCUMENTS:
            raise self._damage(key, f"has {human_bytes(entry.size)}, which no document needs")
        return b"".join(bytes(piece) for piece in self.pieces(key, entry.size, 8 * PIECE_BYTES))

    def exists(self, key: str) -> bool:
        """Whether there is an entry."""
        return key in self._archive.index.entries or key in self._archive.index.refused

    def read_part(
        self, key: str, buffer: ReadBuffer, start: int = 0, length: int | None = None
    ) -> memoryview | None:
        """Read a part of a chunk or shard."""
        entry = self._find(key)
        if entry is None:
            return None
        first = max(0, entry.size + start) if start < 0 else min(start, entry.size)
        wanted = entry.size - first if length is None else min(length, entry.size - first)
        view = buffer.view(wanted)
        if entry.method == STORED:
            if self._archive.read_into(view, self._start(key, entry) + first) < wanted:
                raise self._damage(key, "is cut off")
            if wanted == entry.size and zlib.crc32(view) != entry.crc:
                raise self._damage(key, "has other bytes than when it was packed (CRC-32)")
            return view
        place = 0  # of the next piece in the entry
        for piece in self._inflated(key, entry):
            low, high = max(first, place), min(first + wanted, place + len(piece))
            if low < high:
                view[low - first : high - first] = piece[low - place : high - place]
            place += len(piece)
            if place >= first + wanted and place < entry.size:
                break
        return view

    def pieces(self, key: str, size: int, piece: int = PIECE_BYTES) -> Iterator[memoryview]:
        """The bytes of an entry, piece by piece, and an error at the end if they are not what was packed.

        Parameters
        ----------
        key : str
            The entry.
        size : int
            How many bytes it has.
        piece : int
            The most bytes at once.

        Yields
        ------
        memoryview
            A piece; it holds until the next one is asked for.

        Raises
        ------
        NodeNotFoundError
            If there is no such entry.
        DamagedChunkError, InvalidMetadataError
            After the last piece, if size or CRC-32 do not match; before, if it cannot be read at all.
        """
        entry = self._find(key)
        if entry is None:
            raise NodeNotFoundError("there is no such entry", path=self.where(key))
        if entry.method == STORED:
            yield from self._stored(key, entry, piece)
        else:
            yield from self._inflated(key, entry, piece)

    def _stored(self, key: str, entry: OzxEntry, piece: int) -> Iterator[memoryview]:
        crc, done, start = 0, 0, self._start(key, entry)
        memory = memoryview(bytearray(min(piece, entry.size)))
        while done < entry.size:
            view = memory[: entry.size - done]
            if self._archive.read_into(view, start + done) < len(view):
                raise self._damage(key, "is cut off")
            crc = zlib.crc32(view, crc)
            done += len(view)
            yield view
        if crc != entry.crc:
            raise self._damage(key, "is damaged: its bytes do not match its CRC-32")

    def _inflated(self, key: str, entry: OzxEntry, piece: int = 2**20) -> Iterator[memoryview]:
        """Inflate an entry: never more bytes than it declares, and checked where it is read to its end."""
        decoder = zlib.decompressobj(-zlib.MAX_WBITS)
        at, left = self._start(key, entry), entry.compressed
        crc, done = 0, 0
        try:
            while not decoder.eof:
                source = decoder.unconsumed_tail or self._archive.read(at, min(left, _PIECE))
                if not decoder.unconsumed_tail:
                    at, left = at + len(source), left - len(source)
                # One byte more than declared, so that an entry that goes on is noticed.
                data = decoder.decompress(source, min(piece, entry.size - done + 1))
                if not source and not data:
                    raise self._damage(key, "is cut off")
                crc, done = zlib.crc32(data, crc), done + len(data)
                if done > entry.size:
                    raise self._damage(key, f"has more than the {entry.size} bytes that it declares")
                if data:
                    yield memoryview(data)
        except zlib.error as error:
            raise self._damage(key, f"is damaged: it cannot be inflated ({error})") from None
        if done != entry.size or crc != entry.crc:
            raise self._damage(key, "is damaged: its bytes do not match its size and CRC-32")

    def _start(self, key: str, entry: OzxEntry) -> int:
        """Where the bytes of an entry begin: after its local header, whose length only that tells."""
        archive = self._archive
        known = archive.starts.get(entry.offset)
        if known is not None:
            return known
        most = zip_records.LOCAL_SIZE + 4 * len(key)
        data = archive.read(entry.offset, most)
        parts = zip_records.local_parts(data)
        if parts is None:
            raise self._damage(key, "is damaged: there is no header where it should begin")
        flags, name_size, size = parts
        name = data[zip_records.LOCAL_SIZE : zip_records.LOCAL_SIZE + name_size]
        try:
            same = decode_name(name, utf8=bool(flags & zip_records.UTF8_FLAG)) == key
        except UnicodeDecodeError:
            same = False
        if not same:
            raise self._damage(key, "is damaged: the header before it names another entry")
        archive.starts[entry.offset] = entry.offset + size
        return entry.offset + size

    def size_of(self, key: str) -> int | None:
        """Bytes of an entry, or None if there is none."""
        entry = self._find(key)
        return None if entry is None else entry.size

    def list(self, path: str) -> tuple[list[str], list[str]]:
        """Names of directories and files."""
        tree = self._archive.index.tree
        if path not in tree:
            raise NodeNotFoundError("there is no such group", path=self.where(path))
        return tree.list(path)

    def keys(self, path: str) -> Iterator[str]:
        """Keys of all entries below a path."""
        return self._archive.index.tree.keys(path)

    def archive_index(self) -> ArchiveIndex:
        """What the central directory says."""
        return self._archive.index

    def last_change(self) -> int:
        """When the file was written last."""
        return os.stat(self.path).st_mtime_ns

    def stamp(self, key: str) -> Hashable:
        """That of the archive: nothing in it is replaced."""
        return self._archive.stamp if self.exists(key) else None

    def local_path(self, path: str) -> None:
        """No directory on this machine."""
        return

    def check_links(self, path: str, *, writing: bool) -> None:
        """There are no links: entries that are some are left out."""

    def folds_case(self) -> bool:
        """Keys are compared as they are."""
        return False

    def zarr_store(self, *, writable: bool = True, guarded: bool = False) -> Store:
        """A read-only zarr store over the archive; an empty chunk is an error there."""
        from platestore.storage.zarr_compat import StorageStore

        return StorageStore(self)

    # --- changes, which there are none of ---------------------------------------------------------

    def is_writable(self, path: str) -> bool:
        """Never."""
        return False

    def require_writable(self, path: str = "") -> NoReturn:
        """Refuse a change.

        Raises
        ------
        ReadOnlyError
            Always.
        """
        raise ReadOnlyError("is in a zip archive, which is only read", path=self.where(path), hint=_COPY_HINT)

    def write(self, key: str, data: bytes) -> None:
        """Refused."""
        self.require_writable(key)

    def create(self, key: str, data: bytes) -> None:
        """Refused."""
        self.require_writable(key)

    def write_object(self, key: str, data: Piece, *, fresh: bool) -> None:
        """Refused."""
        self.require_writable(key)

    def appender(self, key: str) -> None:
        """Refused."""
        self.require_writable(key)

    def make_directory(self, path: str) -> bool:
        """Refused."""
        self.require_writable(path)

    def remove(self, key: str) -> None:
        """Refused."""
        self.require_writable(key)

    def remove_tree(self, path: str) -> None:
        """Refused."""
        self.require_writable(path)

    def move_tree(self, source: str, target: str) -> None:
        """Refused."""
        self.require_writable(source)

    def _exclude(self, path: str) -> AbstractContextManager[None]:
        """Refused."""
        self.require_writable(path)

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "options": self.options}

    def __setstate__(self, state: Json) -> None:
        # It was checked, and warned of, where it was opened first.
        Storage.__init__(self, state["options"])
        self.path = state["path"]
        self._opened = None


def is_ozx_name(path: str) -> bool:
    """Whether a path ends as archives are named."""
    return path.lower().endswith(_SUFFIX)


def check_archive(path: str) -> None:
    """Refuse to replace anything but an archive of a store.

    Raises
    ------
    UnsafeTargetError
        If what is at a path is none.
    """
    try:
        if os.path.islink(path) or os.path.isdir(path):
            raise UnsafeTargetError("is a link or a directory", path=path)
        OzxStorage(path, StorageOptions())
    except (PlatestoreError, OSError) as error:
        raise UnsafeTargetError(
            f"is no archive of a store: {getattr(error, 'message', error)}",
            path=path,
            hint="remove it yourself, or name another destination",
        ) from None


def find_archive(path: str) -> tuple[str, str] | None:
    """The archive that a path is, or leads into.

    Parameters
    ----------
    path : str
        Absolute path.

    Returns
    -------
    tuple of str or None
        Absolute path of the archive (a regular file whose name ends in ``.ozx``, in any case) and the path
        in it, with ``/``; None if there is no such file on the way.
    """
    if _SUFFIX not in path.lower():
        return None
    current = path
    while (parent := os.path.dirname(current)) != current:
        if is_ozx_name(current) and os.path.isfile(current):
            inner = os.path.relpath(path, current).replace(os.sep, "/")
            return current, "" if inner == "." else inner
        current = parent
    return None


def names_archive(path: str) -> bool:
    """Whether a path is, or leads into, what is named as an archive and is no directory, there or not."""
    current = path
    while (parent := os.path.dirname(current)) != current:
        if is_ozx_name(current) and not os.path.isdir(current):
            return True
        current = parent
    return False


def refuse_zip(path: str) -> None:
    """Say how a zip archive is opened that has another name than ``.ozx``.

    Raises
    ------
    InvalidMetadataError
        If a file is one.
    """
    if is_zip(path):
        raise InvalidMetadataError(
            "is a zip archive that is not named .ozx",
            path=path,
            hint="rename it to .ozx if it holds OME-Zarr 0.5 (zarr v3) at its root; else unpack it, or open "
            "zarr.storage.ZipStore(path, mode='r') in Python",
        )


def is_zip(path: str) -> bool:
    """Whether a file begins as a zip archive does; what is no regular file (a pipe would wait) is none."""
    if not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            return file.read(4) in _ZIP_HEADS
    except OSError:
        return False


def _refuse_without_root(path: str, index: ArchiveIndex) -> NoReturn:
    directories, files = index.tree.list("")
    hint = "an .ozx archive holds the content of the store, not the folder around it"
    if len(directories) == 1 and not files:
        hint = f"the folder {directories[0]!r} wraps it all: unpack it, and pack the content of that folder"
    elif {".zgroup", ".zarray"} & set(files):
        hint = "it holds zarr v2, and .ozx is zarr v3 only: unpack it, and open the directory"
    raise InvalidMetadataError("has no zarr.json at its root", path=path, hint=hint)
