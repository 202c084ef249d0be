"""The page on checks names every code, and no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHECKING = ROOT / "src/platestore/checking"
SOURCES = [*(CHECKING / "whole").glob("*.py"), *(CHECKING / "pixels").glob("*.py")]
#: Codes that are made of parts, and one that has no hyphen.
MADE = {"plate-rows", "plate-columns", "plate-acquisitions", "unreadable"}
#: Literals that are no codes.
OTHERS = {"image-label"}


def test_the_table_of_codes_is_complete():
    page = (ROOT / "docs/check.md").read_text()
    rows = [line for line in page.splitlines() if re.match(r"\| `[a-z]", line)]
    told = {code for row in rows for code in re.findall(r"`([a-z]+(?:-[a-z]+)*)`", row.split("|")[1])}
    text = "\n".join(source.read_text() for source in SOURCES)
    written = set(re.findall(r'"([a-z]+(?:-[a-z]+)+)"', text))
    assert told == written - OTHERS | MADE
