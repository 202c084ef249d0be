"""The version of OME-NGFF is stated, and nobody outside of ``spec/versions`` asks which one it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from import_graph import SOURCES

from platestore.spec import versions
from platestore.spec.versions.v05 import V05

_HOME = SOURCES / "spec" / "versions"
#: Who may ask for the version that groups of a version of zarr are taken for which state none: messages, and
#: nodes that are of another version of zarr than what lists them.
ASSUMING = {
    "arrays/layout.py",
    "checking/rules/judge.py",
    "copying/groups.py",
    "multiscales/options.py",
    "tree/editor.py",
    "xarray/places.py",
}


def _outside() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SOURCES.rglob("*.py")):
        if _HOME not in path.parents:
            yield path.relative_to(SOURCES).as_posix(), ast.parse(path.read_text())


def _named(tree: ast.Module) -> list[str]:
    """The names of versions that stand in code as values."""
    constants = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return [value for value in constants if isinstance(value, str) and value in versions.ADAPTERS]


def _assumes(tree: ast.Module) -> bool:
    names = (getattr(node, "attr", getattr(node, "id", "")) for node in ast.walk(tree))
    return "assumed" in names


def test_no_module_names_a_version():
    assert {path: named for path, tree in _outside() if (named := _named(tree))} == {}


def test_no_further_module_concludes_the_version_from_that_of_zarr():
    assert {path for path, tree in _outside() if _assumes(tree)} == ASSUMING


def test_what_is_forbidden_is_seen():
    tree = ast.parse("version = '0.5' if zarr_format == 3 else versions.assumed(2).name")
    assert _named(tree) == ["0.5"]
    assert _assumes(tree)


class _Next(V05):
    """A version that shares zarr v3 with 0.5, as 0.6 will."""

    name = "0.6"  # type: ignore[assignment]


@pytest.fixture
def _with_next(monkeypatch):
    new = _Next()
    monkeypatch.setitem(versions.ADAPTERS, new.name, new)
    monkeypatch.setitem(versions._STORED, 3, [*versions._STORED[3], new])


@pytest.mark.usefixtures("_with_next")
def test_two_versions_share_a_version_of_zarr():
    def image(version):
        meta = {"datasets": [{"path": "0"}]}
        return versions.bare_attributes(version, "image", {"multiscales": [meta]}, {})

    for version in ("0.5", "0.6"):
        attributes = image(version)
        assert attributes["ome"]["version"] == version
        assert versions.detect_version(attributes, 3, path="x") == version
        assert versions.kind_of(attributes, 3) == "image"
        assert versions.check_version(version) == version
    assert versions.detect_version({}, 3, path="x") == "0.5"
    assert versions.detect_version({}, 2, path="x") == "0.4"
    assert versions.convert(image("0.5"), 3, "0.6", "image") == image("0.6")
    assert versions.convert(image("0.6"), 3, "0.4", "image") == image("0.4")
    assert versions.convert(image("0.4"), 2, "0.6", "image") == image("0.6")
