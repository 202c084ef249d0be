"""The rows of the table, in order. A new one is a ``Row`` in a module of this package, listed here."""

from __future__ import annotations

from benchmarks.harness import Row
from benchmarks.rows import (
    copy_archive,
    copy_files,
    copy_pixels,
    create_batch,
    create_single,
    importing,
    info,
    iterate,
    pyramid,
    read,
    reduce,
    shapes,
    write,
)

_ALL = (
    create_batch.ROW,
    create_single.ROW,
    iterate.ROW,
    info.ROW,
    importing.ROW,
    write.ROW,
    write.FRAMES,
    pyramid.ROW,
    pyramid.CREATE,
    reduce.ROW,
    reduce.RANKED,
    read.ROW,
    shapes.ROW,
    shapes.MEMORY,
    copy_files.ROW,
    copy_files.CONVERT,
    copy_pixels.ROW,
    copy_pixels.MEMORY,
    copy_archive.ROW,
    copy_archive.UNPACK,
)

ROWS: dict[str, Row] = {row.name: row for row in _ALL}
