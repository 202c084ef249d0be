"""The page on validation names every code, and no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    *(ROOT / "src/platestore/checking").glob("*.py"),
    *(ROOT / "src/platestore/checking/rules").glob("*.py"),
    *(ROOT / "src/platestore/checking/hierarchy").glob("*.py"),
    *(ROOT / "src/platestore/spec").glob("*.py"),
]
#: The model of a node that is open reports these, validation does not; and the modules of `check`.
OTHERS = ("place.py", "report.py", "check.py")
CODE = r'(?:Finding\(|code: str = |code=|code = )\s*"([a-z]+(?:-[a-z]+)*)"'
#: Where codes are not written as a whole.
MADE = {"rows-empty", "columns-empty", "version-too-old", "version-not-yet"}


def test_the_table_of_codes_is_complete():
    page = (ROOT / "docs/validate.md").read_text()
    rows = [line for line in page.splitlines() if re.match(r"\| `[a-z]", line)]
    told = {code for row in rows for code in re.findall(r"`([a-z]+(?:-[a-z]+)*)`", row.split("|")[1])}
    told -= {"code", "level", "location", "file", "message", "expected", "found", "rule", "hint"}
    used = {
        code
        for source in SOURCES
        if source.name not in OTHERS
        for code in re.findall(CODE, source.read_text())
    }
    assert told == used | MADE
