"""What the first bytes of an encoded chunk tell, without a library."""

from __future__ import annotations

#: How frames of Zstandard begin, and how many bytes tell what they hold.
ZSTD_MAGIC, ZSTD_HEAD_BYTES = b"\x28\xb5\x2f\xfd", 18
# Of the descriptor of a frame: bytes of the dictionary's number, and of the content's size.
_DICTIONARY, _CONTENT = (0, 1, 2, 4), (0, 2, 4, 8)


def zstd_content_size(head: bytes | memoryview) -> int | None:
    """How many bytes the first frame of Zstandard holds, if it tells (RFC 8878, section 3.1.1)."""
    head = bytes(head)
    if len(head) < 5 or not head.startswith(ZSTD_MAGIC):
        return None
    descriptor = head[4]
    single = bool(descriptor & 0x20)
    size = _CONTENT[descriptor >> 6] or (1 if single else 0)
    start = 5 + (0 if single else 1) + _DICTIONARY[descriptor & 3]
    field = head[start : start + size]
    if not size or len(field) < size:
        return None
    return int.from_bytes(field, "little") + (256 if size == 2 else 0)
