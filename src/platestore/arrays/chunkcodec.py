"""Encoding and decoding of single chunks, by the codecs that zarr itself uses.

What walks all pixels (pyramids) handles chunks one by one: it decodes each once, into memory that is
used again, and knows what it holds. Arrays with other codecs than these are read and written through
their own indexing.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from google_crc32c import value as crc32c

from platestore.arrays.coders import Coder, LengthError, PlainCoder, coder_v2, coder_v3
from platestore.arrays.content import DAMAGE, ArrayContent, Codec, array_content, named
from platestore.arrays.types import DType, Pixels
from platestore.errors import DamagedChunkError
from platestore.spec.values import Json
from platestore.storage.base import Piece
from platestore.storage.extensions import is_understood
from platestore.storage.hierarchy import ArrayDocument

_CRC_BYTES = 4
#: Marks, in the index of a shard, a chunk that is not there.
ABSENT = 2**64 - 1


class ChunkCodec:
    """The codec chain of one array.

    Parameters
    ----------
    chunks : tuple of int
        Shape of a chunk.
    dtype : numpy.dtype
        Data type, in this machine's byte order.
    coder : Coder
        What compresses it.
    checksum : bool
        Whether a crc32c follows.
    """

    def __init__(self, chunks: tuple[int, ...], dtype: DType, coder: Coder, checksum: bool) -> None:
        self.chunks = chunks
        self.dtype = dtype
        self.nbytes = math.prod(chunks) * dtype.itemsize
        #: The most bytes that an encoded chunk has.
        self.max_encoded = self.nbytes + self.nbytes // 128 + 1024
        self.coder = coder
        self.checksum = checksum

    @property
    def decoding_nbytes(self) -> int:
        """The most bytes that decoding takes beside the encoded and the decoded chunk."""
        copied = self.coder.decoding_copies * self.nbytes
        return copied + (self.max_encoded if self.checksum else 0)

    @property
    def encoding_nbytes(self) -> int:
        """The most bytes that encoding takes beside the decoded and the encoded chunk."""
        copies = self.coder.encoding_copies + (2 if self.checksum else 0)
        return copies * self.max_encoded + self.coder.tables_nbytes(self.nbytes)

    def encode(self, block: Pixels) -> Piece:
        """Encode a C-contiguous block of the chunk's shape and type."""
        data = self.coder.encode(block.reshape(-1))
        if self.checksum:
            plain = bytes(data)
            checksum: int = crc32c(plain)
            return plain + checksum.to_bytes(_CRC_BYTES, "little")
        return data

    def decode(self, data: memoryview, out: Pixels, where: str) -> None:
        """Decode a chunk into a C-contiguous block of its shape and type.

        Raises
        ------
        DamagedChunkError
            If the bytes are not those of a chunk.
        """
        if not len(data):
            raise DamagedChunkError("the chunk is empty", path=where)
        if self.checksum:
            data, stored = data[:-_CRC_BYTES], data[-_CRC_BYTES:]
            if crc32c(bytes(data)) != int.from_bytes(stored, "little"):
                raise DamagedChunkError("the chunk's checksum does not match", path=where)
        target = out.reshape(-1).view(np.uint8)
        try:
            self.coder.decode(data, target)
        except LengthError as error:
            raise DamagedChunkError(
                f"the chunk has {error.nbytes} bytes after decoding, not {self.nbytes}", path=where
            ) from None
        except (RuntimeError, ValueError, EOFError, OSError, TypeError, zlib.error) as error:
            raise DamagedChunkError(f"the chunk cannot be decoded: {error}", path=where) from error

    @property
    def is_proof(self) -> bool:
        """Whether a chunk that decodes is one: not any bytes do."""
        return self.checksum or self.coder.is_proof

    # --- without decoding -------------------------------------------------------------------------

    @property
    def tail_nbytes(self) -> int:
        """How many bytes at the end of a chunk tell something of it."""
        return self.coder.tail_nbytes + self._trailer if self.coder.tail_nbytes else 0

    @property
    def _trailer(self) -> int:
        return _CRC_BYTES if self.checksum else 0

    def flaw_of_size(self, size: int) -> str | None:
        """What is wrong with the length of an encoded chunk."""
        return self.coder.flaw_of_size(size, self.nbytes + self._trailer)

    def flaw_of_head(self, head: bytes, size: int) -> str | None:
        """What is wrong with the first bytes of an encoded chunk of a size."""
        return self.coder.flaw_of_head(head, size - self._trailer, self.nbytes)

    def flaw_of_tail(self, tail: bytes) -> str | None:
        """What is wrong with its last bytes, of which there are :attr:`tail_nbytes`."""
        return self.coder.flaw_of_tail(tail, self.nbytes)

    def is_cut_off(self, head: bytes, size: int) -> bool:
        """Whether its first bytes tell of more bytes than there are."""
        return self.coder.is_cut_off(head, size - self._trailer)


@dataclass(frozen=True, slots=True)
class ChunkFormat:
    """How the chunks of one array lie in files.

    Attributes
    ----------
    shape : tuple of int
        Shape of the array.
    codec : ChunkCodec
        How a chunk is encoded.
    shards : tuple of int or None
        Shape of a shard.
    index_at_end : bool
        Where the index of a shard lies.
    index_checksum : bool
        Whether the index has a crc32c.
    key_prefix, separator : str
        How keys are made.
    fill : numpy scalar
        The fill value.
    """

    shape: tuple[int, ...]
    codec: ChunkCodec
    shards: tuple[int, ...] | None
    index_at_end: bool
    index_checksum: bool
    key_prefix: str
    separator: str
    fill: Any

    @property
    def units(self) -> tuple[int, ...]:
        """Shape of what one file holds."""
        return self.shards or self.codec.chunks

    @property
    def per_shard(self) -> tuple[int, ...]:
        """Number of chunks in a shard along each axis; ones without shards."""
        return tuple(u // c for u, c in zip(self.units, self.codec.chunks, strict=True))

    @property
    def index_nbytes(self) -> int:
        """Bytes of a shard's index."""
        return 16 * math.prod(self.per_shard) + (_CRC_BYTES if self.index_checksum else 0)

    def locate(self, place: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shard (or the chunk itself, without shards) that holds a chunk, and its place in that."""
        pairs = [divmod(p, n) for p, n in zip(place, self.per_shard, strict=True)]
        return tuple(p[0] for p in pairs), tuple(p[1] for p in pairs)

    def unit_of(self, place: tuple[int, ...]) -> tuple[int, ...]:
        """Place of the shard (or of the chunk itself, without shards) that holds a chunk."""
        return self.locate(place)[0]

    def key(self, place: tuple[int, ...]) -> str:
        """Key of a chunk or shard, relative to the array."""
        return self.key_prefix + self.separator.join(map(str, place))

    def is_fill(self, block: Pixels) -> bool:
        """Whether a block holds the fill value only, to the bit."""
        size = block.dtype.itemsize
        bits = block.reshape(-1).view(f"u{size}")
        wanted = np.asarray(self.fill, block.dtype).reshape(1).view(f"u{size}")[0]
        return bool(bits[0] == wanted and bits[-1] == wanted and (bits == wanted).all())

    def parse_index(self, data: memoryview, where: str) -> npt.NDArray[np.uint64]:
        """The index of a shard: offset and length of each of its chunks.

        Raises
        ------
        DamagedChunkError
            If it is cut off or its checksum is wrong.
        """
        if len(data) != self.index_nbytes:
            raise DamagedChunkError("the shard is empty or cut off", path=where)
        body = data[: 16 * math.prod(self.per_shard)]
        if self.index_checksum and crc32c(bytes(body)) != int.from_bytes(data[len(body) :], "little"):
            raise DamagedChunkError("the checksum of the shard's index does not match", path=where)
        return np.frombuffer(bytes(body), "<u8").reshape(*self.per_shard, 2)

    def index_bytes(self, index: npt.NDArray[np.uint64]) -> bytes:
        """The index of a shard as it is stored."""
        body = index.astype("<u8").tobytes()
        return body + crc32c(body).to_bytes(_CRC_BYTES, "little") if self.index_checksum else body


def chunk_format(document: ArrayDocument) -> ChunkFormat | None:
    """How the chunks of an array lie in files, or None if that is outside what is handled here."""
    content = document.content
    try:
        found = array_content(content, document.zarr_format)
        return _from_v2(content, found) if document.zarr_format == 2 else _from_v3(content, found)
    except DAMAGE:
        return None


def _from_v2(content: Json, found: ArrayContent) -> ChunkFormat | None:
    dtype = np.dtype(content["dtype"])
    if content.get("filters") or content["order"] != "C" or not dtype.isnative or dtype.kind not in "biuf":
        return None
    codec = ChunkCodec(found.units, dtype, coder_v2(content.get("compressor")), False)
    fill = _fill(content["fill_value"], dtype)
    return ChunkFormat(found.shape, codec, None, True, True, *found.keys, fill)


def _from_v3(content: Json, found: ArrayContent) -> ChunkFormat | None:
    if found.dtype[0] in "<>|=" or not is_understood(content):
        return None  # readers refuse both
    dtype = np.dtype(found.dtype)
    if dtype.kind not in "biuf" or not found.is_regular or content.get("storage_transformers"):
        return None
    chain, shards, at_end, index_checksum = found.outer, None, True, True
    chunks = units = found.units
    if found.reads_singly:
        sharding = found.outer[0][1]
        shards, chunks, chain = units, found.chunks, found.codecs
        at_end = sharding.get("index_location", "end") == "end"
        index = [named(codec) for codec in sharding["index_codecs"]]
        names = [name for name, _ in index]
        if names not in (["bytes"], ["bytes", "crc32c"]) or index[0][1].get("endian") != "little":
            return None
        index_checksum = len(names) == 2
    codec = _chain(chain, chunks, dtype)
    if codec is None or any(u % c for u, c in zip(units, chunks, strict=True)):
        return None
    fill = _fill(content["fill_value"], dtype)
    return ChunkFormat(found.shape, codec, shards, at_end, index_checksum, *found.keys, fill)


def _chain(chain: list[Codec], chunks: tuple[int, ...], dtype: DType) -> ChunkCodec | None:
    checksum = chain[-1][0] == "crc32c"
    inner = chain[1:-1] if checksum else chain[1:]
    name, settings = chain[0]
    if name != "bytes" or len(inner) > 1:
        return None
    if dtype.itemsize > 1 and (settings.get("endian") != "little" or not dtype.newbyteorder("<").isnative):
        return None
    coder = coder_v3(*inner[0]) if inner else PlainCoder()
    return None if coder is None else ChunkCodec(chunks, dtype, coder, checksum)


def _fill(value: Any, dtype: DType) -> Any:
    """A fill value from JSON; other spellings than numbers and the named ones are a ValueError."""
    if value is None:
        return dtype.type(0)
    if isinstance(value, str):
        value = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}[value]
    return np.array(value, dtype)[()]
