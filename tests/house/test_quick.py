"""The quick run covers every room, and every test that the page on reliability names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from import_graph import ROOMS, SOURCES

import platestore

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "reliability.md"
#: Rooms whose tests are in the folder of another one.
TESTED_IN = {
    "_version": "house",
    "demo": "cli",
    "errors": "nodes",
    "images": "nodes",
    "processing": "nodes",
    "progress": "nodes",
    "publish": "storage",
    "resources": "nodes",
    "settings": "nodes",
    "summary": "cli",
    "tree": "nodes",
}


def _functions(folder: Path) -> dict[str, bool]:
    """The test functions of a folder, and whether each is left to the long run."""
    return {name: slow for path in folder.rglob("test_*.py") for name, slow in _in_file(path).items()}


def _in_file(path: Path) -> dict[str, bool]:
    return {
        node.name: any(ast.unparse(d) == "pytest.mark.slow" for d in node.decorator_list)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.quick(30)
@pytest.mark.parametrize("room", [room for rooms in ROOMS for room in rooms])
def test_every_room_has_tests_in_the_quick_run(room):
    functions = _functions(TESTS / TESTED_IN.get(room, room))
    quick = [name for name, is_long in functions.items() if not is_long]
    assert len(quick) >= max(1, len(functions) // 2)


@pytest.mark.quick(20)
@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_[a-z_0-9]+\.py)`", PAGE.read_text()))))
def test_every_promise_has_a_test_in_the_quick_run(name):
    (path,) = TESTS.rglob(name)
    assert not all(_in_file(path).values())


def test_the_files_that_contributors_are_sent_to_are_there():
    root = TESTS.parent
    named = re.findall(r"`((?:src|tests|docs)/[^` ]+)`", (root / "CONTRIBUTING.md").read_text())
    assert len(named) > 20
    assert [name for name in named if not (root / name).exists()] == []


def test_the_version_is_stated_once():
    root = TESTS.parent
    assert f"## [{platestore.__version__}]" in (root / "CHANGELOG.md").read_text()
    found = [p.name for p in SOURCES.rglob("*.py") if f'"{platestore.__version__}"' in p.read_text()]
    assert found == ["_version.py"]
