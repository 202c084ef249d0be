"""The records of a zip archive as bytes: what RFC-9 asks to be written, and what others write too.

Every record that is written has its ZIP64 form, whatever the sizes: an archive has one shape, and nothing
in it depends on the time or the machine.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from platestore.errors import InvalidMetadataError

STORED = 0
DEFLATED = 8
ENCRYPTED_FLAG = 0x1
UTF8_FLAG = 0x800
#: Size in the header of an entry that is not complete.
UNKNOWN_SIZE = 2**64 - 1

_VERSION = 45  # that of ZIP64
_UNIX = 3
_DATE = 0x21  # 1980-01-01, the earliest there is
_ALL16, _ALL32 = 0xFFFF, 0xFFFFFFFF
_LOCAL = struct.Struct("<4s5H3L2H")
_LOCAL64 = struct.Struct("<2H2Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_CENTRAL64 = struct.Struct("<2H3Q")
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_CRC = struct.Struct("<L")
_SIZES = struct.Struct("<2Q")
#: What every archive of ours begins with, up to the checksum.
FIRST_BYTES = struct.pack("<4s5H", b"PK\x03\x04", _VERSION, UTF8_FLAG, STORED, 0, _DATE)
#: Bytes of a local header of anybody's without its name and extra fields.
LOCAL_SIZE = _LOCAL.size
_CRC_AT = 14
_MAX_COMMENT = 65535


# --- writing --------------------------------------------------------------------------------------


def header_size(name: bytes) -> int:
    """Bytes of the local header that is written for a name."""
    return _LOCAL.size + len(name) + _LOCAL64.size


def local_header(name: bytes, size: int, crc: int) -> bytes:
    """The header before an entry's bytes.

    Parameters
    ----------
    name : bytes
        The name, in UTF-8.
    size : int
        Its bytes; :data:`UNKNOWN_SIZE` while they are being written.
    crc : int
        Their CRC-32.
    """
    fixed = _LOCAL.pack(
        b"PK\x03\x04",
        _VERSION,
        UTF8_FLAG,
        STORED,
        0,
        _DATE,
        crc,
        _ALL32,
        _ALL32,
        len(name),
        _LOCAL64.size,
    )
    return b"".join((fixed, name, _LOCAL64.pack(1, _SIZES.size, size, size)))


def header_patches(name: bytes, size: int, crc: int) -> list[tuple[int, bytes]]:
    """Offsets in the local header and what comes there when an entry is complete; the last one completes."""
    sizes_at = _LOCAL.size + len(name) + _LOCAL64.size - _SIZES.size
    return [(_CRC_AT, _CRC.pack(crc)), (sizes_at, _SIZES.pack(size, size))]


def central_header(name: bytes, size: int, crc: int, offset: int) -> bytes:
    """The header of an entry in the central directory."""
    fixed = _CENTRAL.pack(
        b"PK\x01\x02",
        (_UNIX << 8) | _VERSION,
        _VERSION,
        UTF8_FLAG,
        STORED,
        0,
        _DATE,
        crc,
        _ALL32,
        _ALL32,
        len(name),
        _CENTRAL64.size,
        0,
        0,
        0,
        0o644 << 16,
        _ALL32,
    )
    return b"".join((fixed, name, _CENTRAL64.pack(1, 24, size, size, offset)))


def end_records(count: int, start: int, size: int, comment: bytes) -> bytes:
    """What follows the central directory: the ZIP64 end, its locator, and the end that all know.

    Parameters
    ----------
    count : int
        Number of entries.
    start, size : int
        Offset and bytes of the central directory.
    comment : bytes
        The comment.
    """
    end64 = _END64.pack(
        b"PK\x06\x06",
        _END64.size - 12,
        (_UNIX << 8) | _VERSION,
        _VERSION,
        0,
        0,
        count,
        count,
        size,
        start,
    )
    locator = _LOCATOR.pack(b"PK\x06\x07", 0, start + size, 1)
    end = _END.pack(b"PK\x05\x06", 0, 0, _ALL16, _ALL16, _ALL32, _ALL32, len(comment))
    return b"".join((end64, locator, end, comment))


def parse_own_header(data: bytes) -> tuple[bytes, int, int] | None:
    """Name, size and CRC-32 in a local header of ours; None if it is another's, or cut off, or not patched.

    Parameters
    ----------
    data : bytes
        The file from the header on; more is ignored.
    """
    if len(data) < _LOCAL.size or not data.startswith(FIRST_BYTES):
        return None
    *_, crc, small, small_too, name_size, extra_size = _LOCAL.unpack_from(data)
    end = _LOCAL.size + name_size + _LOCAL64.size
    if (small, small_too, extra_size) != (_ALL32, _ALL32, _LOCAL64.size) or len(data) < end:
        return None
    tag, length, size, stored = _LOCAL64.unpack_from(data, _LOCAL.size + name_size)
    if (tag, length) != (1, _SIZES.size) or size != stored or size == UNKNOWN_SIZE:
        return None
    return data[_LOCAL.size : _LOCAL.size + name_size], size, crc


# --- reading --------------------------------------------------------------------------------------


class ZipRecord(NamedTuple):
    """One entry as the central directory has it."""

    name: bytes
    flags: int
    method: int
    crc: int
    compressed: int
    size: int
    offset: int
    #: Unix mode, 0 where none was recorded.
    mode: int


class CentralDirectory(NamedTuple):
    """Where a central directory is, and the archive's comment."""

    start: int
    size: int
    listed: int
    #: What was put before the archive, and is in no offset.
    shift: int
    comment: bytes


def find_directory(read: Callable[[int, int], bytes], file_size: int) -> CentralDirectory:
    """Find the central directory.

    Parameters
    ----------
    read : callable
        Takes an offset and a number of bytes, and returns them, or fewer at the end of the file.
    file_size : int
        Bytes of the file.

    Raises
    ------
    InvalidMetadataError
        If there is none; without a path.
    """
    tail_at = max(0, file_size - _END.size - _MAX_COMMENT)
    tail = read(tail_at, file_size - tail_at)
    at = _find_end(tail)
    if at is None:
        raise InvalidMetadataError("is cut off, or no zip archive")
    _, disk, _, _, count, size, offset, comment_size = _END.unpack_from(tail, at)
    comment = tail[at + _END.size : at + _END.size + comment_size]
    ends_at = tail_at + at
    disks = disk not in (0, _ALL16)
    large = _find_end64(read, ends_at)
    if large is not None:
        ends_at, (_, _, _, _, disk, _, _, count, size, offset) = large
        disks = bool(disk)
    if disks:
        raise InvalidMetadataError("is one part of an archive in several files, which is not read")
    start = ends_at - size
    if size and start != offset and (start < 0 or read(start, 4) != b"PK\x01\x02"):
        start = offset  # something lies between the directory and its end
    if start < offset or start + size > ends_at or (size and read(start, 4) != b"PK\x01\x02"):
        raise InvalidMetadataError("is cut off: its list of entries is not where it should be")
    return CentralDirectory(start, size, count, start - offset, comment)


def _find_end(tail: bytes) -> int | None:
    """Where the last record begins: it ends with the file, or something was appended to that."""
    at, fallback = len(tail), None
    while (at := tail.rfind(b"PK\x05\x06", 0, at)) >= 0:
        if at + _END.size <= len(tail):
            end = at + _END.size + int.from_bytes(tail[at + 20 : at + 22], "little")
            if end == len(tail):
                return at
            if end < len(tail) and fallback is None:
                fallback = at
    return fallback


def _find_end64(read: Callable[[int, int], bytes], ends_at: int) -> tuple[int, tuple[int, ...]] | None:
    locator_at = ends_at - _LOCATOR.size
    data = read(locator_at, _LOCATOR.size) if locator_at >= 0 else b""
    if not data.startswith(b"PK\x06\x07"):
        return None
    _, _, told, _ = _LOCATOR.unpack(data)
    for at in (told, locator_at - _END64.size):
        if 0 <= at <= locator_at - _END64.size:
            record = read(at, _END64.size)
            if record.startswith(b"PK\x06\x06"):
                return at, _END64.unpack(record)
    raise InvalidMetadataError("is cut off: the ZIP64 record before its end is missing")


def read_records(data: bytes, directory: CentralDirectory) -> Iterator[ZipRecord]:
    """The entries of a central directory.

    Parameters
    ----------
    data : bytes
        The central directory.
    directory : CentralDirectory
        Where it was found.

    Raises
    ------
    InvalidMetadataError
        If it is damaged; without a path.
    """
    at, count, unpack, fixed = 0, 0, _CENTRAL.unpack_from, _CENTRAL.size
    total, shift = len(data), directory.shift
    while at + fixed <= total:
        fields = unpack(data, at)
        signature, _, _, flags, method, _, _, crc, compressed, size, name_size, extra_size = fields[:12]
        if signature != b"PK\x01\x02":
            break  # a signature of the directory, which some tools append
        comment_size, _, _, attributes, offset = fields[12:]
        named = at + fixed
        after = named + name_size
        if compressed == _ALL32 or size == _ALL32 or offset == _ALL32:
            extra = data[after : after + extra_size]
            size, compressed, offset = _large(extra, size, compressed, offset)
        at = after + extra_size + comment_size
        if at > total:
            break
        count += 1
        name = data[named:after]
        yield ZipRecord(name, flags, method, crc, compressed, size, offset + shift, attributes >> 16)
    if count & _ALL16 != directory.listed & _ALL16:
        raise InvalidMetadataError(
            f"is damaged: it says that it has {directory.listed} entries, and lists {count}"
        )


def _large(extra: bytes, *values: int) -> list[int]:
    """Replace the sizes and the offset that do not fit into 32 bits by those of the ZIP64 field."""
    at = 0
    while at + 4 <= len(extra):
        tag, length = struct.unpack_from("<2H", extra, at)
        if tag == 1:
            numbers = [v for (v,) in struct.iter_unpack("<Q", extra[at + 4 : at + 4 + length // 8 * 8])]
            wanted = [value == _ALL32 for value in values]
            if len(numbers) >= sum(wanted):
                rest = iter(numbers)
                return [next(rest) if large else value for large, value in zip(wanted, values, strict=True)]
            break
        at += 4 + length
    # Without the field the numbers mean themselves: an entry of just that size.
    return list(values)


def local_parts(data: bytes) -> tuple[int, int, int] | None:
    """Flags, bytes of the name and bytes before the content in a local header; None if it is none."""
    if len(data) < _LOCAL.size or not data.startswith(b"PK\x03\x04"):
        return None
    _, _, flags, _, _, _, _, _, _, name_size, extra_size = _LOCAL.unpack_from(data)
    return flags, name_size, _LOCAL.size + name_size + extra_size
