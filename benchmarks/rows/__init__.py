"""The rows of the table, in order. A new one is a ``Row`` in a module of this package, listed here."""

from __future__ import annotations

from benchmarks.harness import Row
from benchmarks.rows import (
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
)

ROWS: dict[str, Row] = {row.name: row for row in _ALL}
