"""Encoding and decoding of single chunks, by the codecs that zarr itself uses.

What walks all pixels (pyramids) handles chunks one by one: it decodes each once, into memory that is
used again, and knows what it holds. Arrays with other codecs than these are read and written through
their own indexing.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numcodecs
import numpy as np
import numpy.typing as npt
from google_crc32c import value as crc32c

from platestore.arrays.frames import ZSTD_HEAD_BYTES, zstd_content_size
from platestore.errors import DamagedChunkError
from platestore.storage.base import Piece
from platestore.storage.extensions import is_understood
from platestore.storage.hierarchy import ArrayDocument

_SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}
_CRC_BYTES = 4
_GZIP = 31  # for zlib: a window of any size, with a header of gzip
# Versions and flags, decoded bytes, block size, encoded bytes.
_BLOSC_HEADER = struct.Struct("<4sIII")
# Up to each level so many MiB, as measured; and so many times the bytes that are encoded.
_ZSTD_TABLES = ((2, 1), (5, 3), (8, 8), (11, 20), (14, 42), (17, 66), (19, 82), (22, 260))
_ZSTD_TABLES_SHARE = 24
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
    compressor : numcodecs.abc.Codec, optional
        The compressor.
    checksum : bool
        Whether a crc32c follows.
    """

    def __init__(
        self, chunks: tuple[int, ...], dtype: np.dtype[Any], compressor: Any, checksum: bool
    ) -> None:
        self.chunks = chunks
        self.dtype = dtype
        self.nbytes = math.prod(chunks) * dtype.itemsize
        #: The most bytes that an encoded chunk has.
        self.max_encoded = self.nbytes + self.nbytes // 128 + 1024
        self.compressor = compressor
        self.checksum = checksum
        self._is_blosc = isinstance(compressor, numcodecs.Blosc)

    @property
    def decoding_nbytes(self) -> int:
        """The most bytes that decoding takes beside the encoded and the decoded chunk."""
        copied = 0 if self._is_blosc or self.compressor is None else self.nbytes
        return copied + (self.max_encoded if self.checksum else 0)

    @property
    def encoding_nbytes(self) -> int:
        """The most bytes that encoding takes beside the decoded and the encoded chunk."""
        # These two cut what they allocated to what they used of it, in place; others return a copy.
        in_place = self.compressor is None or isinstance(self.compressor, (numcodecs.Blosc, numcodecs.Zstd))
        copies = (0 if in_place else 2) + (2 if self.checksum else 0)
        return copies * self.max_encoded + _tables(self.compressor, self.nbytes)

    def encode(self, block: npt.NDArray[Any]) -> Piece:
        """Encode a C-contiguous block of the chunk's shape and type."""
        data: Piece
        if self.compressor is None:
            data = block.reshape(-1).view(np.uint8).data
        else:
            encoded: bytes = self.compressor.encode(block.reshape(-1))
            if isinstance(
                self.compressor, numcodecs.GZip
            ):  # which notes the time: the same chunk, other bytes
                encoded = encoded[:4] + bytes(4) + encoded[8:]
            data = memoryview(encoded)
        if self.checksum:
            plain = bytes(data)
            checksum: int = crc32c(plain)
            return plain + checksum.to_bytes(_CRC_BYTES, "little")
        return data

    def decode(self, data: memoryview, out: npt.NDArray[Any], where: str) -> None:
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
            if self._is_blosc:
                self._decode_blosc(data, target)
                return
            flat = np.frombuffer(self._inflated(data), np.uint8)
        except (RuntimeError, ValueError, EOFError, OSError, TypeError, zlib.error) as error:
            raise DamagedChunkError(f"the chunk cannot be decoded: {error}", path=where) from error
        if flat.nbytes != self.nbytes:
            raise DamagedChunkError(
                f"the chunk has {flat.nbytes} bytes after decoding, not {self.nbytes}", path=where
            )
        target[...] = flat

    def _inflated(self, data: memoryview) -> Any:
        """The bytes of a chunk that is not of Blosc: of hostile ones, not many more than it should have."""
        if self.compressor is None:
            return data
        if isinstance(self.compressor, numcodecs.GZip):
            return _gunzipped(data, self.nbytes)
        if isinstance(self.compressor, numcodecs.Zstd):
            told = zstd_content_size(data[:ZSTD_HEAD_BYTES])
            if told is not None and told > self.nbytes:
                raise ValueError(f"its header tells of {told} bytes, not {self.nbytes}")
        if self.compressor.codec_id == "lz4" and int.from_bytes(data[:4], "little") > self.nbytes:
            raise ValueError("its header tells of more bytes than a chunk has")
        return self.compressor.decode(data)

    def _decode_blosc(self, data: memoryview, target: npt.NDArray[Any]) -> None:
        if len(data) < _BLOSC_HEADER.size:
            raise ValueError("it is cut off")
        _, decoded, _, encoded = _BLOSC_HEADER.unpack_from(data)
        if decoded != self.nbytes or encoded != len(data):
            raise ValueError(
                f"its header tells of {decoded} bytes in {encoded}, not {self.nbytes} in {len(data)}"
            )
        self.compressor.decode(data, target)


def _gunzipped(data: memoryview, nbytes: int) -> bytes:
    """What members of gzip hold, as far as one byte beyond what is asked for."""
    pieces, found, rest = [], 0, bytes(data)
    while rest and found <= nbytes:
        member = zlib.decompressobj(_GZIP)
        pieces.append(member.decompress(rest, nbytes + 1 - found))
        found += len(pieces[-1])
        if found <= nbytes and not member.eof:
            raise ValueError("it is cut off")
        rest = member.unused_data
    return b"".join(pieces)


def _tables(compressor: Any, nbytes: int) -> int:
    """The most bytes of the tables that Zstandard searches in, alone or in Blosc."""
    if isinstance(compressor, numcodecs.Zstd):
        level = compressor.level
    elif isinstance(compressor, numcodecs.Blosc) and compressor.cname == "zstd":
        level = compressor.clevel
    else:
        return 0
    mebibytes = next((most for limit, most in _ZSTD_TABLES if level <= limit), _ZSTD_TABLES[-1][1])
    return min(_ZSTD_TABLES_SHARE * nbytes, mebibytes * 2**20)


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

    def is_fill(self, block: npt.NDArray[Any]) -> bool:
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
        return _from_v2(content) if document.zarr_format == 2 else _from_v3(content)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
        return None


def _from_v2(content: dict[str, Any]) -> ChunkFormat | None:
    dtype = np.dtype(content["dtype"])
    if content.get("filters") or content["order"] != "C" or not dtype.isnative or dtype.kind not in "biuf":
        return None
    configuration = content.get("compressor")
    compressor = numcodecs.get_codec(configuration) if configuration else None
    shape, chunks = tuple(content["shape"]), tuple(content["chunks"])
    codec = ChunkCodec(chunks, dtype, compressor, False)
    separator = content.get("dimension_separator", ".")
    return ChunkFormat(shape, codec, None, True, True, "", separator, _fill(content["fill_value"], dtype))


def _from_v3(content: dict[str, Any]) -> ChunkFormat | None:
    if content["data_type"][0] in "<>|=" or not is_understood(content):
        return None  # readers refuse both
    dtype = np.dtype(content["data_type"])
    grid, keys, chain = content["chunk_grid"], content["chunk_key_encoding"], content["codecs"]
    if dtype.kind not in "biuf" or grid["name"] != "regular" or content.get("storage_transformers"):
        return None
    shape, outer = tuple(content["shape"]), tuple(grid["configuration"]["chunk_shape"])
    shards, chunks, at_end, index_checksum = None, outer, True, True
    if chain[0]["name"] == "sharding_indexed" and len(chain) == 1:
        sharding = chain[0]["configuration"]
        shards, chunks, chain = outer, tuple(sharding["chunk_shape"]), sharding["codecs"]
        at_end = sharding.get("index_location", "end") == "end"
        names = [c["name"] for c in sharding["index_codecs"]]
        endian = sharding["index_codecs"][0].get("configuration", {}).get("endian")
        if names not in (["bytes"], ["bytes", "crc32c"]) or endian != "little":
            return None
        index_checksum = len(names) == 2
    codec = _chain(chain, chunks, dtype)
    if codec is None or any(u % c for u, c in zip(outer, chunks, strict=True)):
        return None
    default = keys["name"] == "default"
    separator = (keys.get("configuration") or {}).get("separator", "/" if default else ".")
    prefix = f"c{separator}" if default else ""
    fill = _fill(content["fill_value"], dtype)
    return ChunkFormat(shape, codec, shards, at_end, index_checksum, prefix, separator, fill)


def _chain(chain: list[dict[str, Any]], chunks: tuple[int, ...], dtype: np.dtype[Any]) -> ChunkCodec | None:
    names = [c["name"] for c in chain]
    checksum = names[-1] == "crc32c"
    inner = chain[1:-1] if checksum else chain[1:]
    to_bytes = chain[0].get("configuration") or {}
    if names[0] != "bytes" or len(inner) > 1:
        return None
    if dtype.itemsize > 1 and (to_bytes.get("endian") != "little" or not dtype.newbyteorder("<").isnative):
        return None
    if not inner:
        return ChunkCodec(chunks, dtype, None, checksum)
    how = inner[0].get("configuration") or {}
    if inner[0]["name"] == "blosc":
        compressor: Any = numcodecs.Blosc(
            how["cname"], how["clevel"], _SHUFFLES[how["shuffle"]], how.get("blocksize", 0)
        )
    elif inner[0]["name"] == "zstd":
        compressor = numcodecs.Zstd(how["level"], how.get("checksum", False))
    elif inner[0]["name"] == "gzip":
        compressor = numcodecs.GZip(how["level"])
    else:
        return None
    return ChunkCodec(chunks, dtype, compressor, checksum)


def _fill(value: Any, dtype: np.dtype[Any]) -> Any:
    """A fill value from JSON; other spellings than numbers and the named ones are a ValueError."""
    if value is None:
        return dtype.type(0)
    if isinstance(value, str):
        value = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}[value]
    return np.array(value, dtype)[()]
