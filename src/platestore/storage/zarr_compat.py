"""What is used of zarr beyond its documented API, in one place.

``tests/storage/test_zarr_compat.py`` fails loudly when one of these moves.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import zarr
from zarr.abc.store import RangeByteRequest, SuffixByteRequest
from zarr.core.array_spec import ArrayConfig
from zarr.core.buffer import default_buffer_prototype
from zarr.core.metadata import ArrayV2Metadata, ArrayV3Metadata
from zarr.core.sync import sync
from zarr.storage import LocalStore, StorePath, WrapperStore

from platestore.errors import DamagedChunkError
from platestore.storage.base import DOCUMENTS

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest, Store
    from zarr.core.buffer import Buffer, BufferPrototype

T = TypeVar("T")


def _refuse_empty(key: str, value: Buffer | None, where: str) -> Buffer | None:
    """An empty chunk is a torn write, never pixels; zarr would take an empty shard for the fill value."""
    if value is not None and not len(value) and key.rpartition("/")[2] not in DOCUMENTS:
        raise DamagedChunkError("the chunk's file is empty", path=f"{where}/{key}")
    return value


class GuardedLocalStore(LocalStore):
    """A local store in which an empty chunk or shard is an error."""

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read a value."""
        return _refuse_empty(key, await super().get(key, prototype, byte_range), str(self.root))


class GuardedStore(WrapperStore[Any]):
    """Any other store in which an empty chunk or shard is an error."""

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read a value."""
        return _refuse_empty(key, await self._store.get(key, prototype, byte_range), str(self._store))


class SyncingLocalStore(GuardedLocalStore):
    """A local store whose chunks are on the device when a write returns (``durability="full"``)."""

    async def set(self, key: str, value: Buffer) -> None:
        """Write a value and flush it, and the directories that lead to it, to the device."""
        await super().set(key, value)
        chunk = self.root / key
        for path in (chunk, *chunk.parents):
            if path == self.root or (os.name == "nt" and path != chunk):
                break  # directories cannot be flushed there
            descriptor = os.open(path, os.O_RDWR if path == chunk else os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def local_store(root: str, *, read_only: bool, sync: bool) -> LocalStore:
    """The zarr store over a directory, for arrays."""
    cls = SyncingLocalStore if sync and not read_only else GuardedLocalStore
    return cls(root, read_only=read_only)


def guarded(store: Store) -> Store:
    """A store in which an empty chunk or shard is an error."""
    return GuardedStore(store)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run one store operation to its end, on zarr's event loop."""
    return sync(coroutine)


def to_buffer(data: bytes) -> Buffer:
    """Wrap bytes for a store."""
    return default_buffer_prototype().buffer.from_bytes(data)


def ensure_open(store: Store) -> None:
    """Open a store that opens files of its own (a zip), if nobody has."""
    run(store._ensure_open())


async def get_bytes(store: Store, key: str, start: int = 0, length: int | None = None) -> bytes | None:
    """Value of a key, or a part of it (from the end, where ``start`` is negative), or None."""
    part: ByteRequest | None = None
    if start < 0:
        part = SuffixByteRequest(-start)
    elif length is not None:
        part = RangeByteRequest(start, start + length)
    value = await store.get(key, prototype=default_buffer_prototype(), byte_range=part)
    return None if value is None else value.to_bytes()


def async_array(
    store: Store, path: str, document: bytes, zarr_format: int, *, write_empty_chunks: bool = False
) -> zarr.AsyncArray[Any]:
    """Build an array from the document in hand, without reading it again.

    Parameters
    ----------
    store : Store
        The store that holds the chunks.
    path : str
        Path of the array in it.
    document : bytes
        Content of ``.zarray`` or ``zarr.json``.
    zarr_format : int
        2 or 3.
    write_empty_chunks : bool
        Whether chunks that hold the fill value only are stored.
    """
    config = ArrayConfig(order="C", write_empty_chunks=True) if write_empty_chunks else None
    return zarr.AsyncArray(_metadata(document, zarr_format), StorePath(store, path), config=config)


@functools.lru_cache(maxsize=128)
def _metadata(document: bytes, zarr_format: int) -> Any:
    """Parse array metadata; positions of one plate share one parsed copy, which nobody changes."""
    import json

    content = json.loads(document)
    if zarr_format == 2:
        return ArrayV2Metadata.from_dict({**content, "attributes": {}})
    return ArrayV3Metadata.from_dict(content)


def swap_metadata(array: zarr.Array[Any], fresh: zarr.AsyncArray[Any]) -> None:
    """Give an array that was resized the metadata that is on disk now."""
    object.__setattr__(array, "_async_array", fresh)


def open_group(store: Store, path: str, *, zarr_format: int, read_only: bool) -> zarr.Group:
    """A real ``zarr.Group``; consolidated metadata is never trusted."""
    return zarr.open_group(
        store,
        path=path,
        mode="r" if read_only else "r+",
        zarr_format=2 if zarr_format == 2 else 3,
        use_consolidated=False,
    )
