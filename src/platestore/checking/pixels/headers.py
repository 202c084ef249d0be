"""What the first and last bytes and the length of an encoded chunk tell, without decoding it."""

from __future__ import annotations

import struct
from typing import Any

from platestore.arrays.frames import ZSTD_MAGIC, zstd_content_size

#: So many bytes at the beginning of a file are looked at.
HEAD_BYTES = 18
# Versions and flags, decoded bytes, block size, encoded bytes.
_BLOSC = struct.Struct("<4sIII")
_MAGIC = {"gzip": b"\x1f\x8b", "zstd": ZSTD_MAGIC}
_CRC_BYTES = 4


class Header:
    """What chunks of an array must look like.

    Parameters
    ----------
    compressor : numcodecs.abc.Codec, optional
        Their compressor.
    checksum : bool
        Whether a crc32c follows.
    nbytes : int
        Bytes of a decoded chunk.
    """

    def __init__(self, compressor: Any, checksum: bool, nbytes: int) -> None:
        self._name = None if compressor is None else compressor.codec_id
        self._extra = _CRC_BYTES if checksum else 0
        self._nbytes = nbytes

    @property
    def is_useful(self) -> bool:
        """Whether the first bytes tell anything."""
        return self._name == "blosc" or _MAGIC.get(self._name or "") is not None

    def flaw_of_size(self, size: int) -> str | None:
        """What is wrong with the length of an encoded chunk."""
        if self._name is None and size != self._nbytes + self._extra:
            return f"has {size} bytes, not the {self._nbytes + self._extra} of a chunk"
        return None

    def flaw_of_head(self, head: bytes, size: int) -> str | None:
        """What is wrong with the first bytes of an encoded chunk."""
        if self._name == "blosc":
            return self._flaw_of_blosc(head, size - self._extra)
        magic = _MAGIC.get(self._name or "")
        if magic is not None and not head.startswith(magic):
            return f"does not begin as {self._name} does"
        content = zstd_content_size(head) if self._name == "zstd" else None
        if content is not None and content > self._nbytes:
            return f"would decode to {content} bytes, not to {self._nbytes}"
        return None

    @property
    def tail_nbytes(self) -> int:
        """How many bytes at the end of a file are looked at."""
        return 4 + self._extra if self._name == "gzip" else 0

    def flaw_of_tail(self, tail: bytes) -> str | None:
        """What is wrong with the last bytes of a chunk: gzip ends with the length of what it holds."""
        content = int.from_bytes(tail[:4], "little")
        if content > self._nbytes:
            return f"is cut off, or would decode to more than the {self._nbytes} bytes of a chunk"
        return None

    def is_cut_off(self, head: bytes, size: int) -> bool:
        """Whether the first bytes tell of more bytes than there are."""
        if self._name != "blosc" or len(head) < _BLOSC.size:
            return len(head) < HEAD_BYTES
        encoded: int = _BLOSC.unpack_from(head)[3]
        return encoded > size - self._extra

    def _flaw_of_blosc(self, head: bytes, size: int) -> str | None:
        if len(head) < _BLOSC.size or size < _BLOSC.size:
            return f"has {max(0, size)} bytes, fewer than a header"
        _, decoded, _, encoded = _BLOSC.unpack_from(head)
        if encoded != size:
            return f"has {size} bytes, not the {encoded} that its header tells of"
        if decoded != self._nbytes:
            return f"would decode to {decoded} bytes, not to {self._nbytes}"
        return None
