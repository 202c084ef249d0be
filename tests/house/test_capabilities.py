"""Nobody outside of ``storage`` asks which storage it is, but what it can do."""

from __future__ import annotations

import ast

from import_graph import SOURCES

_CONCRETE = {"ArchiveStorage", "BranchStorage", "LocalStorage", "OzxStorage", "StorageStore", "ZarrStorage"}


def _asks(source: str) -> bool:
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return any(
        getattr(call.func, "id", "") == "isinstance"
        and _CONCRETE & {getattr(node, "id", "") for node in ast.walk(call.args[1])}
        for call in calls
    )


def test_nobody_asks_which_storage_it_is():
    paths = (path for path in SOURCES.rglob("*.py") if SOURCES / "storage" not in path.parents)
    assert {path.name for path in paths if _asks(path.read_text())} == set()


def test_a_question_is_seen():
    assert _asks("isinstance(storage, (OzxStorage, Zip))")
    assert not _asks("isinstance(storage, Storage)")
