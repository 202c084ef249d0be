"""The rows of the table, in order. A new one is a module with a ``ROW``, listed here."""

from __future__ import annotations

from benchmarks.harness import Row
from benchmarks.rows import create_batch, create_single, importing, info, iterate

ROWS: dict[str, Row] = {
    module.ROW.name: module.ROW for module in (create_batch, create_single, iterate, info, importing)
}
