"""What is used of zarr beyond its documented API, in one place.

``tests/storage/test_zarr_compat.py`` fails loudly when one of these moves.
"""

from __future__ import annotations

import asyncio
import functools
import os
import warnings
from collections.abc import AsyncIterator, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import numcodecs.errors
import zarr
import zarr.errors
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.codecs import ShardingCodec
from zarr.core.array_spec import ArrayConfig
from zarr.core.buffer import default_buffer_prototype
from zarr.core.metadata import ArrayV2Metadata, ArrayV3Metadata
from zarr.core.metadata.v3 import parse_codecs
from zarr.core.sync import sync
from zarr.storage import LocalStore, StorePath, WrapperStore

from platestore.errors import DamagedChunkError, NodeNotFoundError, UnsupportedError
from platestore.storage.base import DOCUMENTS, ReadBuffer
from platestore.storage.extensions import plain_array

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

    from platestore.storage.base import Storage

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


class StorageStore(Store):
    """A zarr store over one of our storages, for reading; an empty chunk or shard is an error.

    Parameters
    ----------
    storage : Storage
        Where the bytes are.
    """

    supports_writes = False
    supports_deletes = False
    supports_listing = True

    def __init__(self, storage: Storage) -> None:
        super().__init__(read_only=True)
        self.storage = storage

    def with_read_only(self, read_only: bool = False) -> StorageStore:
        """The same store; there is none that can be written."""
        if not read_only:
            self.storage.require_writable()
            raise NotImplementedError("zarr cannot write into this store")
        return type(self)(self.storage)

    def __str__(self) -> str:
        return self.storage.url

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.storage.url!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StorageStore):
            return False
        return type(self.storage) is type(other.storage) and self.storage.url == other.storage.url

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read a value, or a part of it."""
        return await asyncio.to_thread(self._get, key, prototype, byte_range)

    def _get(self, key: str, prototype: BufferPrototype, part: ByteRequest | None) -> Buffer | None:
        start, length = 0, None
        if isinstance(part, RangeByteRequest):
            start, length = part.start, max(0, part.end - part.start)
        elif isinstance(part, OffsetByteRequest):
            start = part.offset
        elif isinstance(part, SuffixByteRequest):
            start, length = -part.suffix, part.suffix
        elif part is not None:
            raise TypeError(f"{part!r} is no range of bytes")
        data = self.storage.read_part(key, ReadBuffer(), start, length)
        value = None if data is None else prototype.buffer.from_bytes(data)
        return _refuse_empty(key, value, self.storage.url)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Read parts of values."""
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    async def exists(self, key: str) -> bool:
        """Whether there is a value."""
        return self.storage.exists(key)

    async def getsize(self, key: str) -> int:
        """Bytes of a value."""
        size = self.storage.size_of(key)
        if size is None:
            raise FileNotFoundError(key)
        return size

    async def set(self, key: str, value: Buffer) -> None:
        """Refused."""
        self._check_writable()

    async def delete(self, key: str) -> None:
        """Refused."""
        self._check_writable()

    async def list(self) -> AsyncIterator[str]:
        """All keys."""
        for key in self.storage.keys(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Keys that begin with a prefix."""
        for key in self.storage.keys(prefix.rpartition("/")[0]):
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Names of the next segments below a path; none if there is nothing."""
        try:
            directories, files = self.storage.list(prefix.strip("/"))
        except NodeNotFoundError:
            return
        for name in (*directories, *files):
            yield name


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
    metadata = _metadata(document, zarr_format)
    codecs = () if zarr_format == 2 else metadata.codecs
    if len(codecs) < 2 or not any(isinstance(codec, ShardingCodec) for codec in codecs):
        return zarr.AsyncArray(metadata, StorePath(store, path), config=config)
    with warnings.catch_warnings():
        # It reads whole shards where other codecs are around them; TensorStore does not.
        warnings.filterwarnings("ignore", "Combining a `sharding_indexed` codec")
        return zarr.AsyncArray(metadata, StorePath(store, path), config=config)


@functools.lru_cache(maxsize=128)
def _metadata(document: bytes, zarr_format: int) -> Any:
    """Parse array metadata; positions of one plate share one parsed copy, which nobody changes."""
    import json

    content = json.loads(document)
    content = plain_array(content, zarr_format)[0]
    if zarr_format == 2:
        return ArrayV2Metadata.from_dict({**content, "attributes": {}})
    if content.get("storage_transformers"):
        raise UnsupportedError(
            "its chunks went through storage transformers, which nothing here undoes",
            hint="read it with the program that wrote it; `platestore copy` copies it as it is",
        )
    if not _shards_behind(content.get("codecs")):
        return ArrayV3Metadata.from_dict(content)
    # zarr holds inner chunks against the shard as it was before codecs in front of the shards turned it.
    plain: Any = {"name": "bytes", "configuration": {"endian": "little"}}
    metadata = ArrayV3Metadata.from_dict({**content, "codecs": [plain]})
    prototype = default_buffer_prototype()
    spec = metadata.get_chunk_spec((), ArrayConfig.from_dict({}), prototype)
    chain = tuple(codec.evolve_from_array_spec(spec) for codec in parse_codecs(content["codecs"]))
    object.__setattr__(metadata, "codecs", chain)
    return metadata


def _shards_behind(codecs: Any) -> bool:
    """Whether shards come after codecs that turn the array."""
    names = [c.get("name") for c in codecs if isinstance(c, dict)] if isinstance(codecs, list) else []
    return len(names) > 1 and names[0] == "transpose" and "sharding_indexed" in names


def is_unknown_codec(error: Exception) -> bool:
    """Whether an error of zarr or numcodecs says that a codec is not there."""
    return isinstance(error, (numcodecs.errors.UnknownCodecError, zarr.errors.UnknownCodecError))


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
