"""The rows of the table, in order. A new one is a ``Row`` in a module of this package, listed here."""

from __future__ import annotations

from benchmarks.harness import Row
from benchmarks.rows import (
    checking,
    checking_deep,
    copy_archive,
    copy_files,
    copy_pixels,
    create_batch,
    create_single,
    importing,
    info,
    iterate,
    labelled,
    multiscales,
    pyramid,
    read,
    reduce,
    shapes,
    stack,
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
    multiscales.ROW,
    multiscales.GAUSSIAN,
    reduce.ROW,
    reduce.RANKED,
    read.ROW,
    shapes.ROW,
    shapes.MEMORY,
    stack.ROW,
    stack.MEMORY,
    labelled.ROW,
    labelled.PIXELS,
    copy_files.ROW,
    copy_files.CONVERT,
    copy_pixels.ROW,
    copy_pixels.MEMORY,
    copy_archive.ROW,
    copy_archive.UNPACK,
    checking.ROW,
    checking_deep.ROW,
)

ROWS: dict[str, Row] = {row.name: row for row in _ALL}
