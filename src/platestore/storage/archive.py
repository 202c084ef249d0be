"""Writes an RFC-9 archive (``.ozx``) in one pass: entry after entry, then the central directory.

Every byte depends on what is packed and on nothing else, so packing twice gives the same file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, NoReturn

from platestore.errors import NodeNotFoundError, SourceChangedError, UnsupportedError
from platestore.spec.versions import sharding
from platestore.storage.base import Durability, Piece, ReadBuffer, Storage, StorageOptions
from platestore.storage.zip_names import KeyTree
from platestore.storage.zip_writer import EntryStream, ZipWriter

if TYPE_CHECKING:
    from zarr.abc.store import Store


class ArchiveStorage(Storage):
    """A store that is written into a new zip archive, and can be read while it grows.

    Entries come in the order in which they are written, and stay as they are.

    Parameters
    ----------
    path : str
        Absolute path of the file; whoever calls gives it its name when it is finished.
    version : str
        OME-NGFF version, for the archive's comment.
    resume : bool
        Whether a file that an interrupted pass left is continued: what is complete in it is kept.
    durability : {"process", "metadata", "full"}
        With the latter two :meth:`finish` flushes the file to the device, and resuming checks the CRC-32
        of what is kept, since a power loss may have left anything.
    json_first : bool
        Whether all ``zarr.json`` come before the other entries, that of the root first; the comment says so.

    Raises
    ------
    NodeExistsError
        If there is a file that is not empty, and it is not to be continued.
    InvalidMetadataError
        If it is to be continued, and is nothing that was begun here.
    """

    in_order = True

    def __init__(
        self,
        path: str,
        *,
        version: str = sharding().name,
        resume: bool = False,
        durability: Durability = "process",
        json_first: bool = True,
    ) -> None:
        super().__init__(StorageOptions(read_only=False, durability=durability, lock=False))
        self._writer = ZipWriter(
            path, version=version, json_first=json_first, resume=resume, check=durability != "process"
        )
        self._tree = KeyTree()
        self._listed = 0

    @property
    def url(self) -> str:
        """Path of the file."""
        return self._writer.path

    @property
    def nbytes(self) -> int:
        """Bytes of the file so far."""
        return self._writer.end

    # --- writing ----------------------------------------------------------------------------------

    def write(self, key: str, data: bytes) -> None:
        """Add an entry; one that is there already is left, if it has the same bytes.

        Raises
        ------
        ArgumentError
            If it has other bytes, comes too late or cannot be named so; or if the archive is finished.
        """
        self._writer.add(key, data)

    def create(self, key: str, data: bytes) -> None:
        """Add an entry, as :meth:`write` does."""
        self._writer.add(key, data)

    def write_object(self, key: str, data: Piece, *, fresh: bool) -> None:
        """Add an entry, as :meth:`write` does."""
        self._writer.add(key, data)

    def write_pieces(self, key: str, pieces: Iterable[Piece], size: int | None = None) -> None:
        """Add an entry from its pieces, of any number and size.

        Parameters
        ----------
        key : str
            The entry; one that is there already with this size is left, and ``pieces`` not touched.
        pieces : iterable of bytes
            Its bytes.
        size : int, optional
            How many there must be.

        Raises
        ------
        SourceChangedError
            If there are more or fewer; the archive is as it was before then.
        ArgumentError
            As :meth:`write`.
        """
        if size is not None and self._writer.holds(key, size):
            return
        stream = self._writer.stream(key)
        try:
            for piece in pieces:
                stream.append(piece)
            if size is not None and stream.size != size:
                message = f"should have {size} bytes, and has {stream.size}"
                raise SourceChangedError(message, path=self.where(key))
            stream.commit()
        except BaseException:
            stream.discard()
            raise

    def add_joined(self, joined: memoryview, entries: list[tuple[str, int, int]]) -> None:
        """Add several entries that were laid out before; see :meth:`ZipWriter.add_joined`."""
        self._writer.add_joined(joined, entries)

    def holds(self, key: str, size: int, crc: int | None = None) -> bool:
        """Whether an entry is there already; an error if another is. See :meth:`ZipWriter.holds`."""
        return self._writer.holds(key, size, crc)

    def stream(self, key: str) -> EntryStream:
        """An entry that is written piece by piece; nothing else can be written before it is complete.

        Raises
        ------
        ArgumentError
            If there is such an entry, or as :meth:`write`.
        """
        return self._writer.stream(key)

    def appender(self, key: str) -> None:
        """None: of several objects at once, only one could grow."""
        return

    def finish(self) -> None:
        """Write the central directory, and flush the file unless durability is ``"process"``."""
        self._writer.finish(sync=self.options.durability != "process")

    def close(self) -> None:
        """Close the file, finished or not."""
        self._writer.close()

    def __enter__(self) -> ArchiveStorage:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # --- reading back -----------------------------------------------------------------------------

    def read(self, key: str) -> bytes | None:
        """Content of an entry that was written, or None."""
        view = self._writer.read_part(key, ReadBuffer())
        return None if view is None else bytes(view)

    def read_part(
        self, key: str, buffer: ReadBuffer, start: int = 0, length: int | None = None
    ) -> memoryview | None:
        """Read a part of an entry that was written."""
        return self._writer.read_part(key, buffer, start, length)

    def exists(self, key: str) -> bool:
        """Whether an entry was written."""
        return key in self._writer.entries

    def size_of(self, key: str) -> int | None:
        """Bytes of an entry that was written, or None."""
        entry = self._writer.entries.get(key)
        return None if entry is None else entry.size

    def list(self, path: str) -> tuple[list[str], list[str]]:
        """Names of directories and files that were written."""
        with self._writer.lock:
            tree = self._current_tree()
            if path not in tree:
                raise NodeNotFoundError("there is no such group", path=self.where(path))
            return tree.list(path)

    def keys(self, path: str) -> Iterator[str]:
        """Keys of the entries that were written below a path."""
        with self._writer.lock:
            return iter([*self._current_tree().keys(path)])

    def _current_tree(self) -> KeyTree:
        entries = self._writer.entries
        self._tree.extend(islice(entries, self._listed, None))
        self._listed = len(entries)
        return self._tree

    def stamp(self, key: str) -> Hashable:
        """Place, size and CRC-32 of an entry, which stay as they are."""
        return self._writer.entries.get(key)

    def zarr_store(self, *, writable: bool = True, guarded: bool = False) -> Store:
        """A zarr store over what was written, for reading only."""
        from platestore.storage.zarr_compat import StorageStore

        return StorageStore(self)

    # --- what there is nothing to do for, or cannot be done ---------------------------------------

    def make_directory(self, path: str) -> bool:
        """Nothing to make."""
        return True

    @contextlib.contextmanager
    def lock(self, path: str) -> Iterator[None]:
        """Exclude other threads; nobody else knows the file."""
        with self._exclude(path):
            yield

    @contextlib.contextmanager
    def _exclude(self, path: str) -> Iterator[None]:
        """Exclude other threads."""
        with self._writer.lock:
            yield

    def check_links(self, path: str, *, writing: bool) -> None:
        """There are no links."""

    def folds_case(self) -> bool:
        """Keys are compared as they are."""
        return False

    def is_writable(self, path: str) -> bool:
        """Whether the archive is under way."""
        return not self._writer.finished

    def local_path(self, path: str) -> None:
        """No directory on this machine."""
        return

    def remove(self, key: str) -> NoReturn:
        """Refused."""
        raise UnsupportedError("a zip archive cannot lose an entry", path=self.where(key))

    def remove_tree(self, path: str) -> NoReturn:
        """Refused."""
        self.remove(path)

    def move_tree(self, source: str, target: str) -> NoReturn:
        """Refused."""
        self.remove(source)
