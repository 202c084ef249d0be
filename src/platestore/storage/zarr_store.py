"""Any zarr ``Store`` (memory, S3, zip, ...): one writer, no lock between processes, moves by copying."""

from __future__ import annotations

import contextlib
import errno
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

from zarr.abc.store import Store

from platestore.errors import PlatestoreError, UnsupportedError
from platestore.storage import zarr_compat
from platestore.storage.base import DOCUMENTS, Piece, ReadBuffer, Storage, StorageOptions, join

T = TypeVar("T")
_ROOT_DOCUMENTS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")


class ZarrStorage(Storage):
    """A store that zarr knows how to reach.

    Parameters
    ----------
    store : zarr.abc.store.Store
        The store.
    options : StorageOptions
        How it is written.
    """

    #: Path in the store below which everything lies.
    branch = ""

    def __init__(self, store: Store, options: StorageOptions) -> None:
        super().__init__(options)
        self.store = store
        zarr_compat.ensure_open(store)
        self._lock = threading.RLock()

    @property
    def url(self) -> str:
        """What the store calls itself."""
        return str(self.store)

    def local_path(self, path: str) -> None:
        """No directory on this machine."""
        return

    def _run(self, coroutine: Coroutine[Any, Any, T], key: str) -> T:
        """Run one operation; whatever the store's client raises is an error of input and output.

        Raises
        ------
        OSError
            If the store refuses, or cannot be reached.
        """
        try:
            return zarr_compat.run(coroutine)
        except (OSError, PlatestoreError, NotImplementedError):
            raise
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            raise OSError(errno.EIO, text, self.where(key)) from error

    def _listed(self, names: AsyncIterator[str], path: str) -> list[str]:
        """Collect what a store lists.

        Raises
        ------
        UnsupportedError
            If it lists nothing, as many a web server does not.
        """
        try:
            if self.store.supports_listing:
                return self._run(_collect(names), path)
            why = "it lists nothing"
        except FileNotFoundError:
            return []
        except (OSError, NotImplementedError) as error:
            why = str(error) or "it lists nothing"
        raise UnsupportedError(
            f"the store cannot be listed: {why}",
            path=self.where(path),
            hint="what its documents name is read; copy it to where files can be listed for all else",
        )

    def read(self, key: str) -> bytes | None:
        """Value of a key, or None."""
        return self._run(zarr_compat.get_bytes(self.store, key), key)

    def exists(self, key: str) -> bool:
        """Whether there is a key."""
        return self._run(self.store.exists(key), key)

    def write(self, key: str, data: bytes) -> None:
        """Replace a value; stores do so as a whole."""
        self._run(self.store.set(key, zarr_compat.to_buffer(data)), key)

    def create(self, key: str, data: bytes) -> None:
        """Write a value."""
        self.write(key, data)

    def read_part(
        self, key: str, buffer: ReadBuffer, start: int = 0, length: int | None = None
    ) -> memoryview | None:
        """Read a part of a value; stores bring their own memory."""
        data = self._run(zarr_compat.get_bytes(self.store, key, start, length), key)
        return None if data is None else memoryview(data)

    def size_of(self, key: str) -> int | None:
        """Bytes of a value, or None if there is none."""
        if not self.exists(key):
            return None
        return self._run(self.store.getsize(key), key)

    def write_object(self, key: str, data: Piece, *, fresh: bool) -> None:
        """Write a value."""
        self.write(key, bytes(data))

    def appender(self, key: str) -> None:
        """Values are written as a whole."""
        return

    def make_directory(self, path: str) -> bool:
        """Nothing to make: False if there are keys below the path already."""
        return not self._keys(path)

    def remove(self, key: str) -> None:
        """Remove a key."""
        self._run(self.store.delete(key), key)

    def remove_tree(self, path: str) -> None:
        """Remove all keys below a path, the root documents first: half a node is no node."""
        keys = self._keys(path)
        for key in _roots_last(path, keys)[::-1]:
            self.remove(key)
        zarr_compat.run(self.store.delete_dir(path))  # what stands for directories, where a store has such

    def move_tree(self, source: str, target: str) -> None:
        """Copy all keys, the root documents last; then remove the old ones, the root documents first."""
        if self._keys(target):
            raise FileExistsError(errno.EEXIST, "the target exists", self.where(target))
        for key in _roots_last(source, self._keys(source)):
            data = self.read(key)
            if data is not None:
                self.write(target + key[len(source) :], data)
        self.remove_tree(source)

    def stamp(self, key: str) -> None:
        """Nothing: there is a single writer, so a document is looked at once."""
        return

    def keys(self, path: str) -> Iterator[str]:
        """All keys below a path."""
        return iter(self._keys(path))

    def _keys(self, path: str) -> list[str]:
        prefix = f"{path}/" if path else ""
        keys = self._listed(self.store.list_prefix(prefix), path)
        return sorted(key for key in keys if key.startswith(prefix))

    @contextlib.contextmanager
    def _exclude(self, path: str) -> Iterator[None]:
        """Exclude other threads; other processes are not excluded (single writer)."""
        with self._lock:
            yield

    def check_links(self, path: str, *, writing: bool) -> None:
        """There are no links."""

    def sweep(self, path: str, kept: set[str]) -> None:
        """Remove everything below a path but the documents that were just written there.

        Chunks go before the documents that describe them, deep documents before those above: what an
        interruption leaves is a hierarchy still, and the next sweep takes it.
        """
        prefix = f"{path}/" if path else ""
        keys = [key for key in self._keys(path) if key.removeprefix(prefix) not in kept]
        roots = {prefix + name for name in _ROOT_DOCUMENTS}

        def turn(key: str) -> tuple[bool, bool, int]:
            return key not in roots, key.rpartition("/")[2] in DOCUMENTS, -key.count("/")

        for key in sorted(keys, key=turn):
            self.remove(key)

    def foreign_keys(self, path: str) -> list[str]:
        """Keys below a path that belong to no zarr hierarchy: outside arrays, anything but documents."""
        keys = self._keys(path)
        arrays = {key.rpartition("/")[0] for key in keys if self._describes_array(key)}
        return [
            key
            for key in keys
            if key.rpartition("/")[2] not in DOCUMENTS
            and not any(key.startswith(f"{array}/" if array else "") for array in arrays)
        ]

    def is_same_store(self, other: Storage) -> bool:
        """Whether another storage is over the same zarr store."""
        return isinstance(other, ZarrStorage) and other.store == self.store

    def _describes_array(self, key: str) -> bool:
        name = key.rpartition("/")[2]
        return name == ".zarray" or (name == "zarr.json" and b'"data_type"' in (self.read(key) or b""))

    def folds_case(self) -> bool:
        """Keys are compared as they are."""
        return False

    def is_writable(self, path: str) -> bool:
        """Whether the store was opened for writing."""
        return not self.options.read_only

    def zarr_store(self, *, writable: bool = True, guarded: bool = False) -> Store:
        """The store itself, read-only if it was opened so."""
        store = self.store
        if (self.options.read_only or not writable) and not store.read_only:
            with contextlib.suppress(NotImplementedError):
                store = store.with_read_only(True)
        return zarr_compat.guarded(store) if guarded else store

    def list(self, path: str) -> tuple[list[str], list[str]]:
        """Names of the next segments below a path."""
        names = self._names(path)
        # Not exists(): some stores say yes for what stands for a directory.
        directories = [
            name for name in names if name not in DOCUMENTS and self._names(f"{path}/{name}".lstrip("/"))
        ]
        return directories, [name for name in names if name not in directories]

    def _names(self, path: str) -> Sequence[str]:
        names = self._listed(self.store.list_dir(path), path)
        return sorted({name.rstrip("/") for name in names} - {""})

    def __getstate__(self) -> dict[str, object]:
        return {"store": self.store, "options": self.options}

    def __setstate__(self, state: dict[str, object]) -> None:
        ZarrStorage.__init__(self, state["store"], state["options"])  # type: ignore[arg-type]


class BranchStorage(ZarrStorage):
    """What lies below a path of a zarr store, as a store of its own: for copies, which need no zarr there.

    Parameters
    ----------
    store : zarr.abc.store.Store
        The store.
    path : str
        The path.
    options : StorageOptions
        How it is written.
    """

    def __init__(self, store: Store, path: str, options: StorageOptions) -> None:
        super().__init__(store, options)
        self.branch = path.strip("/")

    @property
    def url(self) -> str:
        """What the store calls itself, and the path."""
        return f"{self.store}/{self.branch}"

    def read(self, key: str) -> bytes | None:
        """Value of a key, or None."""
        return super().read(join(self.branch, key))

    def exists(self, key: str) -> bool:
        """Whether there is a key."""
        return super().exists(join(self.branch, key))

    def write(self, key: str, data: bytes) -> None:
        """Replace a value."""
        super().write(join(self.branch, key), data)

    def read_part(
        self, key: str, buffer: ReadBuffer, start: int = 0, length: int | None = None
    ) -> memoryview | None:
        """Read a part of a value."""
        return super().read_part(join(self.branch, key), buffer, start, length)

    def size_of(self, key: str) -> int | None:
        """Bytes of a value, or None if there is none."""
        if not self.exists(key):
            return None
        return zarr_compat.run(self.store.getsize(join(self.branch, key)))

    def remove(self, key: str) -> None:
        """Remove a key."""
        super().remove(join(self.branch, key))

    def remove_tree(self, path: str) -> None:
        """Remove all keys below a path, the root documents first."""
        for key in _roots_last(path, self._keys(path))[::-1]:
            self.remove(key)
        zarr_compat.run(self.store.delete_dir(join(self.branch, path)))

    def _keys(self, path: str) -> list[str]:
        start = len(self.branch) + 1
        return [key[start:] for key in super()._keys(join(self.branch, path))]

    def _names(self, path: str) -> Sequence[str]:
        return super()._names(join(self.branch, path))

    def zarr_store(self, *, writable: bool = True, guarded: bool = False) -> Store:
        """A zarr store for reading: what is written to one goes around this."""
        return zarr_compat.StorageStore(self)


def _roots_last(path: str, keys: list[str]) -> list[str]:
    roots = {f"{path}/{name}" if path else name for name in _ROOT_DOCUMENTS}
    return [k for k in keys if k not in roots] + [k for k in keys if k in roots]


async def _collect(items: AsyncIterator[str]) -> list[str]:
    return [item async for item in items]
