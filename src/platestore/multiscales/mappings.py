"""Mappings from keys to bytes, such as dicts and fsspec's mappers, as zarr stores."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, MutableMapping
from typing import Any

from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype


class MappingStore(Store):
    """A zarr store over a mapping.

    Parameters
    ----------
    mapping : MutableMapping
        Bytes by key; values that are zarr's buffers are read too.
    read_only : bool
        Whether changes are refused.
    """

    supports_writes = True
    supports_deletes = True
    supports_listing = True

    def __init__(self, mapping: MutableMapping[str, Any], *, read_only: bool = False) -> None:
        super().__init__(read_only=read_only)
        self.mapping = mapping

    def with_read_only(self, read_only: bool = False) -> MappingStore:
        """The same store, read-only or not."""
        return type(self)(self.mapping, read_only=read_only)

    def __str__(self) -> str:
        return f"<{type(self.mapping).__name__}>"

    def __repr__(self) -> str:
        return f"MappingStore({self})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MappingStore) and self.mapping is other.mapping

    __hash__ = None  # type: ignore[assignment]

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read a value, or a part of it."""
        if not isinstance(byte_range, RangeByteRequest | OffsetByteRequest | SuffixByteRequest | None):
            raise TypeError(f"Unexpected byte_range, got {byte_range!r}")
        try:
            value = self.mapping[key]
        except KeyError:
            return None
        data = value.to_bytes() if isinstance(value, Buffer) else bytes(value)
        match byte_range:
            case RangeByteRequest(start, end):
                data = data[start:end]
            case OffsetByteRequest(offset):
                data = data[offset:]
            case SuffixByteRequest(suffix):
                data = data[max(0, len(data) - suffix) :]
        return prototype.buffer.from_bytes(data)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Read parts of values."""
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    async def exists(self, key: str) -> bool:
        """Whether there is a value."""
        return key in self.mapping

    async def set(self, key: str, value: Buffer) -> None:
        """Write a value."""
        self._check_writable()
        self.mapping[key] = value.to_bytes()

    async def delete(self, key: str) -> None:
        """Remove a value, if it is there."""
        self._check_writable()
        self.mapping.pop(key, None)

    async def list(self) -> AsyncIterator[str]:
        """All keys."""
        for key in [*self.mapping]:
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Keys that begin with a prefix."""
        for key in [*self.mapping]:
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Names of the next segments below a prefix."""
        start = f"{prefix.rstrip('/')}/" if prefix else ""
        keys = [key for key in self.mapping if key.startswith(start)]
        for name in sorted({key.removeprefix(start).partition("/")[0] for key in keys}):
            yield name
