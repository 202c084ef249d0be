"""Zip archives for the tests, made byte by byte: also those that no program would make."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
ROOT = ("zarr.json", b'{"zarr_format": 3, "node_type": "group", "attributes": {}}')


@dataclass
class Entry:
    """An entry; what is None follows from the data."""

    name: bytes | str
    data: bytes = b"content"
    method: int = STORED
    flags: int = 0x800
    mode: int = 0
    offset: int | None = None
    size: int | None = None
    compressed: int | None = None
    crc: int | None = None

    @property
    def raw(self) -> bytes:
        return self.name.encode() if isinstance(self.name, str) else self.name

    @property
    def packed(self) -> bytes:
        if self.method != DEFLATED:
            return self.data
        encoder = zlib.compressobj(9, zlib.DEFLATED, -15)
        return encoder.compress(self.data) + encoder.flush()


def build(*entries: Entry, comment: bytes = b"", root: bool = True) -> bytes:
    """An archive with these entries, after the document of a root group."""
    out, central = io.BytesIO(), []
    for entry in [Entry(*ROOT)] * root + list(entries):
        at = out.tell() if entry.offset is None else entry.offset
        crc = zlib.crc32(entry.data) if entry.crc is None else entry.crc
        packed = entry.packed
        sizes = (
            len(packed) if entry.compressed is None else entry.compressed,
            len(entry.data) if entry.size is None else entry.size,
        )
        out.write(struct.pack("<4s5H3L2H", b"PK\3\4", 20, entry.flags, entry.method, 0, 0x21, crc,
                              *sizes, len(entry.raw), 0) + entry.raw + packed)  # fmt: skip
        central.append(
            struct.pack("<4s6H3L5H2L", b"PK\1\2", (3 << 8) | 20, 20, entry.flags, entry.method, 0, 0x21,
                        crc, *sizes, len(entry.raw), 0, 0, 0, 0, entry.mode << 16, at) + entry.raw
        )  # fmt: skip
    start = out.tell()
    out.write(b"".join(central))
    size = out.tell() - start
    out.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, len(central), len(central), size, start, len(comment)))
    return out.getvalue() + comment


class Unseekable(io.RawIOBase):
    """A file into which zipfile can only stream, so that sizes follow the data of an entry."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self.parts.append(bytes(data))
        return len(data)


def zipped(files: dict[str, bytes], *, method: int = STORED, comment: bytes = b"", streamed: bool = False):
    """An archive as zipfile writes it."""
    out = Unseekable() if streamed else io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        archive.comment = comment
    return b"".join(out.parts) if streamed else out.getvalue()


def tree(path: Path) -> dict[str, bytes]:
    """Files of a directory by their keys: documents first and breadth-first, as RFC-9 asks."""
    found = {p.relative_to(path).as_posix(): p for p in path.rglob("*") if p.is_file()}
    order = sorted(found, key=lambda key: (not key.endswith("zarr.json"), key.count("/"), key))
    return {key: found[key].read_bytes() for key in order}
