"""Public names, help pages and codes change on purpose only: ``PLATESTORE_ACCEPT=1`` writes them anew."""

from __future__ import annotations

import ast
import os
from collections import Counter
from pathlib import Path

import pytest
import surface
from import_graph import SOURCES

KEPT = {"api.txt": surface.api, "command_line.txt": surface.command_line, "codes.txt": surface.codes}


@pytest.mark.quick(3)
@pytest.mark.parametrize("name", KEPT)
def test_what_users_meet_is_as_it_was(name):
    kept = Path(__file__).parent / name
    now = KEPT[name]()
    if os.environ.get("PLATESTORE_ACCEPT"):
        kept.write_text(now)
    before, after = kept.read_text().splitlines(), now.splitlines()
    assert after == before


def test_no_class_name_is_used_twice():
    names = Counter(
        node.name
        for path in SOURCES.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, number in names.items() if number > 1] == []
