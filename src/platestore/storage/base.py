"""The small interface that the rest of the house talks to; one implementation per kind of store."""

from __future__ import annotations

import abc
import contextlib
import re
import threading
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from platestore.errors import ArgumentError, ReadOnlyError, SourceChangedError
from platestore.storage.documents import commit

if TYPE_CHECKING:
    from zarr.abc.store import Store

    from platestore.storage.ozx_file import ArchiveIndex

Durability = Literal["process", "metadata", "full"]
Missing = Literal["fill", "raise"]
#: What can be written.
Piece: TypeAlias = bytes | bytearray | memoryview
#: Names of the documents that zarr v2 and v3 keep.
DOCUMENTS = frozenset({"zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata"})
_CHUNK = re.compile(r"c|(?:c\.)?\d+(?:\.\d+)*")
# What interrupted writers leave beside chunks: zarr's temporary files, TensorStore's locks.
_ENDS = (".partial", ".__lock")
_LEFTOVER = re.compile(r".+\.[0-9a-f]{32}\.partial|.+\.__lock")
#: What is read at once of a value that is moved from store to store.
PIECE_BYTES = 2**20
_DURABILITIES = ("process", "metadata", "full")
# zarr's copy of all documents in the one of a group.
_CONSOLIDATED = "consolidated_metadata"
_UNKNOWN = object()


@dataclass(frozen=True, slots=True)
class StorageOptions:
    """How a store is written.

    Attributes
    ----------
    read_only : bool
        Whether every change is refused.
    durability : {"process", "metadata", "full"}
        What is flushed to the device before a call returns: nothing (safe when the process dies),
        documents (safe at power loss), or documents and pixels.
    lock : bool
        Whether documents are locked against other processes while they change.
    lock_timeout : float
        Seconds to wait for a lock.
    follow_links : bool
        Whether links that lead out of the store may be written through.
    missing : {"fill", "raise"}
        What reading a chunk that was never written gives: the fill value, or an error.
    """

    read_only: bool = True
    durability: Durability = "process"
    lock: bool = True
    lock_timeout: float = 60.0
    follow_links: bool = False
    missing: Missing = "fill"

    def __post_init__(self) -> None:
        if self.missing not in ("fill", "raise"):
            raise ArgumentError(f"missing must be 'fill' or 'raise', not {self.missing!r}")
        if self.durability not in _DURABILITIES:
            raise ArgumentError(
                f"durability must be one of {', '.join(_DURABILITIES)}, not {self.durability!r}"
            )
        number = isinstance(self.lock_timeout, (int, float)) and not isinstance(self.lock_timeout, bool)
        if not number or not self.lock_timeout >= 0:
            raise ArgumentError(f"lock_timeout must be a number of seconds, not {self.lock_timeout!r}")


class _LockedPaths(threading.local):
    """Directories that this thread has locked, the outermost first."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        # Documents in them, as read or written since they were locked: nobody else can change them.
        self.documents: dict[str, bytes | None] = {}


class ReadBuffer:
    """Memory that one thread reads into again and again: fresh pages cost as much as decoding them."""

    def __init__(self) -> None:
        self._data = bytearray()

    def view(self, nbytes: int) -> memoryview:
        """The first bytes of it; it grows where needed."""
        if len(self._data) < nbytes:
            self._data = bytearray()  # the old ones go first
            self._data = bytearray(nbytes)
        return memoryview(self._data)[:nbytes]


class Appender(abc.ABC):
    """A chunk or shard that grows piece by piece, and gets its name when it is complete."""

    @abc.abstractmethod
    def append(self, data: Piece) -> int:
        """Write a piece; returns the offset where it begins."""

    @abc.abstractmethod
    def rewrite(self, offset: int, data: Piece) -> None:
        """Write over a piece that was appended before."""

    @abc.abstractmethod
    def read(self, offset: int, length: int) -> bytes:
        """Read a piece that was appended before."""

    @abc.abstractmethod
    def commit(self) -> None:
        """Give it its name, in place of what had it."""

    @abc.abstractmethod
    def discard(self) -> None:
        """Take it away."""


class Storage(abc.ABC):
    """A tree of small documents (and chunks that only zarr touches).

    Paths are relative to the root, with ``/`` between segments; the root is ``""``.

    Parameters
    ----------
    options : StorageOptions
        How it is written.
    """

    # What a store can do; local_path and appender tell the rest.
    #: Whether a move is one rename, and not a copy followed by a removal.
    atomic_moves = False
    #: Whether what is written comes one after the other, and stays: nothing is replaced, moved or removed.
    in_order = False
    #: Whether keys and sizes are told without a request for each.
    knows_sizes = False

    def __init__(self, options: StorageOptions) -> None:
        self.options = options
        self._held = _LockedPaths()
        #: Groups that had no consolidated metadata, with the stamps of their documents.
        self._unconsolidated: dict[str, Hashable] = {}
        #: What a warning was given for, once: layouts (chunks, shards) that are expensive to write, arrays.
        self.warned: set[Hashable] = set()

    @property
    @abc.abstractmethod
    def url(self) -> str:
        """Path or URL of the root, for messages."""

    @abc.abstractmethod
    def read(self, key: str) -> bytes | None:
        """Content of a document, or None if there is none."""

    @abc.abstractmethod
    def exists(self, key: str) -> bool:
        """Whether there is a document."""

    @abc.abstractmethod
    def write(self, key: str, data: bytes) -> None:
        """Replace a document atomically."""

    @abc.abstractmethod
    def create(self, key: str, data: bytes) -> None:
        """Write a document into a directory that nothing refers to yet."""

    @abc.abstractmethod
    def make_directory(self, path: str) -> bool:
        """Make a directory and its parents; False if it was there already."""

    @abc.abstractmethod
    def remove(self, key: str) -> None:
        """Remove one document, if it is there."""

    @abc.abstractmethod
    def remove_tree(self, path: str) -> None:
        """Remove everything below a path, if it is there."""

    @abc.abstractmethod
    def move_tree(self, source: str, target: str) -> None:
        """Move everything below a path; the root documents arrive last and leave first."""

    @abc.abstractmethod
    def list(self, path: str) -> tuple[list[str], list[str]]:
        """Names of the directories and of the files in a directory, sorted."""

    @abc.abstractmethod
    def keys(self, path: str) -> Iterator[str]:
        """Keys of all documents and chunks below a path."""

    @abc.abstractmethod
    def read_part(
        self, key: str, buffer: ReadBuffer, start: int = 0, length: int | None = None
    ) -> memoryview | None:
        """Read a part of a chunk or shard.

        Parameters
        ----------
        key : str
            Its key.
        buffer : ReadBuffer
            Where the bytes go, if the store can put them there.
        start : int
            First byte; from the end where it is negative.
        length : int, optional
            Number of bytes, up to the end by default; fewer are returned where it ends before.

        Returns
        -------
        memoryview or None
            None if there is no such chunk or shard.
        """

    def pieces(self, key: str, size: int, piece: int = PIECE_BYTES) -> Iterator[memoryview]:
        """The bytes of a value, piece by piece; each piece is good until the next one is asked for.

        Parameters
        ----------
        key : str
            Its key.
        size : int
            How many bytes it has.
        piece : int
            How many come at once.

        Raises
        ------
        SourceChangedError
            If it has another size by now.
        """
        buffer = ReadBuffer()
        for start in range(0, size, piece):
            part = self.read_part(key, buffer, start, min(piece, size - start))
            if part is None or len(part) != min(piece, size - start):
                raise SourceChangedError("the file changed while it was read", path=self.where(key))
            yield part

    @abc.abstractmethod
    def size_of(self, key: str) -> int | None:
        """Bytes of a chunk or shard, or None if there is none."""

    @abc.abstractmethod
    def write_object(self, key: str, data: Piece, *, fresh: bool) -> None:
        """Write a chunk or shard; ``fresh`` says that nothing refers to the array yet."""

    def write_pieces(self, key: str, pieces: Iterable[Piece], size: int) -> None:
        """Write a chunk or shard from its pieces, which are not all in memory if the store can append."""
        growing = self.appender(key)
        if growing is None:
            self.write_object(key, b"".join(bytes(piece) for piece in pieces), fresh=False)
            return
        try:
            for piece in pieces:
                growing.append(piece)
            growing.commit()
        except BaseException:
            growing.discard()
            raise

    @abc.abstractmethod
    def appender(self, key: str) -> Appender | None:
        """A chunk or shard that grows piece by piece; None where the store cannot append."""

    def stream(self, key: str) -> Appender | None:
        """An object written piece by piece, while nothing else is; None where the store cannot.

        Stores that can append to one object at a time offer this, and no :meth:`appender`.
        """
        return self.appender(key)

    def finish(self) -> None:  # noqa: B027 - most stores have nothing to do
        """Complete what was written; only a store that is one file has anything to do."""

    def close(self) -> None:  # noqa: B027 - as above
        """Give back what the store holds open."""

    def archive_index(self) -> ArchiveIndex | None:
        """What the archive says of its entries, where the store is one that is read; else None."""
        return None

    def last_change(self) -> int:
        """Time of the last change, in nanoseconds; 0 for a store that does not tell it as a whole."""
        return 0

    def check_unpackable(self) -> None:  # noqa: B027 - as above
        """Refuse a store whose keys must not become files; only archives have such."""

    def foreign_keys(self, path: str) -> Sequence[str]:
        """Keys below a path that belong to no zarr hierarchy, where nothing else looks for such."""
        return ()

    def sweep(self, path: str, kept: set[str]) -> None:  # noqa: B027 - as above
        """Remove the keys below a path but some, where a new root was written over an old hierarchy."""

    def is_same_store(self, other: Storage) -> bool:
        """Whether another storage is over the same zarr store."""
        return False

    @contextlib.contextmanager
    def lock(self, path: str) -> Iterator[None]:
        """Exclude other writers of the documents in a directory.

        Raises
        ------
        ReadOnlyError
            If the store was opened for reading.
        UnsafeTargetError
            If a link leads out of the store there.
        LockTimeoutError, LockUnsupportedError
            If the lock cannot be had.
        """
        self.require_writable(path)
        self.check_links(path, writing=True)
        held = self._held.paths
        if path not in held:
            self.drop_consolidated(path, below=held[0] if held else None)
        held.append(path)
        try:
            with self._exclude(path):
                yield
        finally:
            held.remove(path)
            if path not in held:
                for key in [k for k in self._held.documents if k.rpartition("/")[0] == path]:
                    del self._held.documents[key]

    def drop_consolidated(self, path: str, *, below: str | None = None) -> None:
        """Drop the consolidated metadata that covers a directory, which would lie once it has changed.

        It is never trusted. Locks are only ever waited for from the root downwards, so no two writers can
        wait for each other: it is dropped before the lock of the directory is taken.

        Parameters
        ----------
        path : str
            The directory that is about to change.
        below : str, optional
            A group whose lock is held; what lies above it was dropped when it was taken.
        """
        segments = path.split("/") if path else []
        first = 0 if below is None else len(below.split("/")) if below else 0
        for depth in range(first, len(segments) + 1):
            group = "/".join(segments[:depth])
            self.remove(join(group, ".zmetadata"))
            if group != path:  # of the directory itself, the change drops it
                self._drop_from_v3(group)

    def _drop_from_v3(self, group: str) -> None:
        """Drop the consolidated metadata in the document of a group of zarr v3."""
        key = join(group, "zarr.json")
        stamp = self.stamp(key)
        if self._unconsolidated.get(group, _UNKNOWN) == stamp:
            return
        data = self.read_document(key)
        if data is not None and f'"{_CONSOLIDATED}"'.encode() in data:
            commit(self, key, lambda content: content.pop(_CONSOLIDATED, None))
            stamp = self.stamp(key)
        self._unconsolidated[group] = stamp

    @abc.abstractmethod
    def _exclude(self, path: str) -> AbstractContextManager[None]:
        """Hold the lock of a directory; a thread that holds it already gets it again."""

    @abc.abstractmethod
    def check_links(self, path: str, *, writing: bool) -> None:
        """Warn of (or, when writing, refuse) a path that a link leads out of the store."""

    @abc.abstractmethod
    def folds_case(self) -> bool:
        """Whether names that differ only in case are the same."""

    @abc.abstractmethod
    def zarr_store(self, *, writable: bool = True, guarded: bool = False) -> Store:
        """The zarr store over the same bytes; read-only if it must not be written.

        Guarded, for arrays: an empty chunk is an error there.
        """

    @abc.abstractmethod
    def is_writable(self, path: str) -> bool:
        """Whether chunks below a path may be written."""

    @abc.abstractmethod
    def local_path(self, path: str) -> str | None:
        """Directory of a path on this machine, or None if there is none."""

    def read_document(self, key: str) -> bytes | None:
        """Content of a document; under the lock of its directory it is read once."""
        if key.rpartition("/")[0] not in self._held.paths:
            return self.read(key)
        if key not in self._held.documents:
            self._held.documents[key] = self.read(key)
        return self._held.documents[key]

    def write_document(self, key: str, data: bytes) -> None:
        """Replace a document whose directory is locked."""
        self._held.documents.pop(key, None)  # unknown, should the write fail
        self.write(key, data)
        self._held.documents[key] = data

    @abc.abstractmethod
    def stamp(self, key: str) -> Hashable:
        """What changes when a document is replaced, as far as the store can tell without reading it."""

    def where(self, path: str) -> str:
        """A path as users know it, for messages."""
        return f"{self.url}/{path}" if path else self.url

    def name_of(self, path: str) -> str:
        """Last segment of a path; the store's own name without its suffix at the root."""
        last = self.where(path).replace("\\", "/").rstrip("/)>").rpartition("/")[2]
        for suffix in (".ozx", ".zarr", ".ome"):
            last = last.removesuffix(suffix)
        return path.rpartition("/")[2] or last or "image"

    def require_writable(self, path: str = "") -> None:
        """Refuse a change of a store opened for reading.

        Raises
        ------
        ReadOnlyError
            If the store was opened with ``mode="r"``.
        """
        if self.options.read_only:
            raise ReadOnlyError('the store is read-only: it was opened with mode="r"', path=self.where(path))


def belongs(name: str) -> bool:
    """Whether a file or directory is part of a store: neither hidden nor left by an interrupted writer."""
    if name[0] == ".":
        return name in DOCUMENTS
    return not name.endswith(_ENDS) or _LEFTOVER.fullmatch(name) is None


def is_chunk_name(name: str) -> bool:
    """Whether a file of this name is a chunk or a shard (``0``, ``c.0.1``), which is never empty."""
    return _CHUNK.fullmatch(name) is not None


def join(*segments: str) -> str:
    """Join path segments with ``/``, leaving out empty ones."""
    return "/".join(s for s in segments if s)
