"""What encodes and decodes chunks, and what encoded chunks look like: one class for each compressor.

How compressors are named and set is in ``spec/compressors.py``, under the same names; compressors that only
zarr v2 has are coded by numcodecs alone.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numcodecs
import numpy as np
import numpy.typing as npt

from platestore.arrays.frames import ZSTD_HEAD_BYTES, ZSTD_MAGIC, zstd_content_size
from platestore.arrays.types import Pixels
from platestore.spec.compressors import BLOSC

#: So many bytes at the beginning of a file tell all that they can.
HEAD_BYTES = 18
_GZIP_WINDOW = 31  # for zlib: a window of any size, with a header of gzip
# Of blosc: versions and flags, decoded bytes, block size, encoded bytes.
_BLOSC_HEADER = struct.Struct("<4sIII")
# Of Zstandard: up to each level so many MiB, as measured; and so many times the bytes that are encoded.
_ZSTD_TABLES = ((2, 1), (5, 3), (8, 8), (11, 20), (14, 42), (17, 66), (19, 82), (22, 260))
_ZSTD_TABLES_SHARE = 24


class Coder:
    """A compressor of numcodecs, of which nothing more is known.

    Parameters
    ----------
    compressor : numcodecs.abc.Codec
        The compressor.
    """

    #: What chunks begin with; empty where that tells nothing.
    magic = b""
    #: How many bytes at the end of a chunk tell something.
    tail_nbytes = 0
    #: Copies of a chunk that are made beside what is given and what is asked for.
    decoding_copies = 1
    encoding_copies = 2
    #: Whether not any bytes decode.
    is_proof = True

    def __init__(self, compressor: Any) -> None:
        self._compressor = compressor

    def encode(self, flat: Pixels) -> memoryview:
        """Encode the pixels of a chunk."""
        return memoryview(self._compressor.encode(flat))

    def decode(self, data: memoryview, target: npt.NDArray[np.uint8]) -> None:
        """Decode a chunk.

        Raises
        ------
        ValueError
            If it decodes to another number of bytes.
        Exception
            Whatever the library raises, if it cannot.
        """
        flat = np.frombuffer(self._inflated(data, target.nbytes), np.uint8)
        if flat.nbytes != target.nbytes:
            raise LengthError(flat.nbytes)
        target[...] = flat

    def _inflated(self, data: memoryview, nbytes: int) -> Any:
        """The bytes of a chunk; of a hostile one, not many more than it should have."""
        return self._compressor.decode(data)

    def tables_nbytes(self, nbytes: int) -> int:
        """The most bytes of the tables in which so many bytes are encoded."""
        return 0

    # --- without decoding -------------------------------------------------------------------------

    def flaw_of_size(self, size: int, nbytes: int) -> str | None:
        """What is wrong with the length of a chunk that decodes to ``nbytes``."""
        return None

    def flaw_of_head(self, head: bytes, size: int, nbytes: int) -> str | None:
        """What is wrong with the first bytes of a chunk of a size."""
        if not head.startswith(self.magic):
            return f"does not begin as {self._compressor.codec_id} does"
        return None

    def flaw_of_tail(self, tail: bytes, nbytes: int) -> str | None:
        """What is wrong with the last bytes of a chunk."""
        return None

    def is_cut_off(self, head: bytes, size: int) -> bool:
        """Whether the first bytes tell of more bytes than there are."""
        return len(head) < HEAD_BYTES

    @property
    def tells_by_head(self) -> bool:
        """Whether the first bytes tell anything."""
        return bool(self.magic)


class LengthError(ValueError):
    """A chunk decodes to another number of bytes.

    Attributes
    ----------
    nbytes : int
        The bytes that it decodes to.
    """

    def __init__(self, nbytes: int) -> None:
        super().__init__(f"it decodes to {nbytes} bytes")
        self.nbytes = nbytes


class PlainCoder(Coder):
    """Pixels as they are."""

    decoding_copies = encoding_copies = 0
    is_proof = False

    def __init__(self) -> None:
        super().__init__(None)

    def encode(self, flat: Pixels) -> memoryview:
        """The bytes of the pixels."""
        return flat.view(np.uint8).data

    def _inflated(self, data: memoryview, nbytes: int) -> Any:
        return data

    def flaw_of_size(self, size: int, nbytes: int) -> str | None:
        """What is wrong with a length that is not that of the pixels."""
        return None if size == nbytes else f"has {size} bytes, not the {nbytes} of a chunk"


class BloscCoder(Coder):
    """Blosc: its header tells the length of both forms."""

    # It cuts what it allocated to what it used of it, in place.
    decoding_copies = encoding_copies = 0

    def decode(self, data: memoryview, target: npt.NDArray[np.uint8]) -> None:
        """Decode a chunk whose header tells of the right numbers of bytes."""
        if len(data) < _BLOSC_HEADER.size:
            raise ValueError("it is cut off")
        _, decoded, _, encoded = _BLOSC_HEADER.unpack_from(data)
        if decoded != target.nbytes or encoded != len(data):
            raise ValueError(
                f"its header tells of {decoded} bytes in {encoded}, not {target.nbytes} in {len(data)}"
            )
        self._compressor.decode(data, target)

    def tables_nbytes(self, nbytes: int) -> int:
        """Those of Zstandard, if that is in it."""
        return _zstd_tables(self._compressor.clevel, nbytes) if self._compressor.cname == "zstd" else 0

    def flaw_of_head(self, head: bytes, size: int, nbytes: int) -> str | None:
        """What the header tells that is not so."""
        if len(head) < _BLOSC_HEADER.size or size < _BLOSC_HEADER.size:
            return f"has {max(0, size)} bytes, fewer than a header"
        _, decoded, _, encoded = _BLOSC_HEADER.unpack_from(head)
        if encoded != size:
            return f"has {size} bytes, not the {encoded} that its header tells of"
        if decoded != nbytes:
            return f"would decode to {decoded} bytes, not to {nbytes}"
        return None

    def is_cut_off(self, head: bytes, size: int) -> bool:
        """Whether the header tells of more bytes than there are."""
        if len(head) < _BLOSC_HEADER.size:
            return len(head) < HEAD_BYTES
        encoded: int = _BLOSC_HEADER.unpack_from(head)[3]
        return encoded > size

    @property
    def tells_by_head(self) -> bool:
        """It does, without a magic number."""
        return True


class ZstdCoder(Coder):
    """Zstandard: its frames may tell what they hold."""

    magic = ZSTD_MAGIC
    encoding_copies = 0  # as with blosc

    def _inflated(self, data: memoryview, nbytes: int) -> Any:
        told = zstd_content_size(data[:ZSTD_HEAD_BYTES])
        if told is not None and told > nbytes:
            raise ValueError(f"its header tells of {told} bytes, not {nbytes}")
        return super()._inflated(data, nbytes)

    def tables_nbytes(self, nbytes: int) -> int:
        """The tables that the level searches in."""
        return _zstd_tables(self._compressor.level, nbytes)

    def flaw_of_head(self, head: bytes, size: int, nbytes: int) -> str | None:
        """What the first frame tells that is not so."""
        content = zstd_content_size(head)
        if content is not None and content > nbytes:
            return f"would decode to {content} bytes, not to {nbytes}"
        return super().flaw_of_head(head, size, nbytes)


class GzipCoder(Coder):
    """Gzip: it ends with the length of what it holds."""

    magic = b"\x1f\x8b"
    tail_nbytes = 4

    def encode(self, flat: Pixels) -> memoryview:
        """Encode without the time, which would make other bytes of the same chunk."""
        encoded = self._compressor.encode(flat)
        return memoryview(encoded[:4] + bytes(4) + encoded[8:])

    def _inflated(self, data: memoryview, nbytes: int) -> Any:
        """What members of gzip hold, as far as one byte beyond what is asked for."""
        pieces, found, rest = [], 0, bytes(data)
        while rest and found <= nbytes:
            member = zlib.decompressobj(_GZIP_WINDOW)
            pieces.append(member.decompress(rest, nbytes + 1 - found))
            found += len(pieces[-1])
            if found <= nbytes and not member.eof:
                raise ValueError("it is cut off")
            rest = member.unused_data
        return b"".join(pieces)

    def flaw_of_tail(self, tail: bytes, nbytes: int) -> str | None:
        """What the length at the end tells that is not so."""
        if int.from_bytes(tail[:4], "little") > nbytes:
            return f"is cut off, or would decode to more than the {nbytes} bytes of a chunk"
        return None


class Lz4Coder(Coder):
    """LZ4 of numcodecs, which only zarr v2 has: its first bytes tell the length of the pixels."""

    def _inflated(self, data: memoryview, nbytes: int) -> Any:
        if int.from_bytes(data[:4], "little") > nbytes:
            raise ValueError("its header tells of more bytes than a chunk has")
        return super()._inflated(data, nbytes)


#: What codes for the compressors of the registry, and those of zarr v2 of which more is known.
CODERS: dict[str, type[Coder]] = {
    "blosc": BloscCoder,
    "zstd": ZstdCoder,
    "gzip": GzipCoder,
    "lz4": Lz4Coder,
}


def coder_v2(compressor: Mapping[str, Any] | None) -> Coder:
    """What codes for a compressor as ``.zarray`` names it."""
    if not compressor:
        return PlainCoder()
    return CODERS.get(str(compressor["id"]), Coder)(numcodecs.get_codec(dict(compressor)))


def coder_v3(name: str, settings: Mapping[str, Any]) -> Coder | None:
    """What codes for a codec as ``zarr.json`` names it; None for one that is not in the registry."""
    make = _OF_V3.get(name)
    return None if make is None else CODERS[name](make(settings))


def _blosc(settings: Mapping[str, Any]) -> Any:
    shuffle = BLOSC.shuffles.index(settings["shuffle"])
    return numcodecs.Blosc(settings["cname"], settings["clevel"], shuffle, settings.get("blocksize", 0))


#: Compressors of numcodecs from the settings of v3.
_OF_V3: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "blosc": _blosc,
    "zstd": lambda settings: numcodecs.Zstd(settings["level"], settings.get("checksum", False)),
    "gzip": lambda settings: numcodecs.GZip(settings["level"]),
}


def _zstd_tables(level: int, nbytes: int) -> int:
    mebibytes = next((most for limit, most in _ZSTD_TABLES if level <= limit), _ZSTD_TABLES[-1][1])
    return min(_ZSTD_TABLES_SHARE * nbytes, mebibytes * 2**20)
