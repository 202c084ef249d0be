"""Compressors and methods of reduction are registered objects: nobody outside compares their names."""

from __future__ import annotations

import ast

import pytest
from import_graph import SOURCES

from platestore.arrays import coders
from platestore.pyramid import kernels
from platestore.spec.compressors import KNOWN
from platestore.spec.reductions import METHODS


def _compared(tree: ast.Module, names: set[str]) -> list[str]:
    """Names that stand in a comparison."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
            constants = [c for part in parts for c in ast.walk(part) if isinstance(c, ast.Constant)]
            found += [c.value for c in constants if isinstance(c.value, str) and c.value in names]
    return found


def test_no_module_compares_names_of_methods():
    # "min" and "max" are keys of contrast windows, too.
    names = set(METHODS) - {"min", "max"}
    found = {path: _compared(ast.parse(path.read_text()), names) for path in SOURCES.rglob("*.py")}
    # The name of a function of another library.
    assert {path.name: names for path, names in found.items() if names} == {"methods.py": ["mode"]}


def test_a_comparison_is_seen():
    assert _compared(ast.parse('x = method in ("mean", "y")'), {"mean"}) == ["mean"]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_one_kernel(name):
    assert (name in kernels._PIECEWISE) + (name in kernels._WHOLE) == 1


def test_no_module_compares_names_of_compressors():
    found = {path: _compared(ast.parse(path.read_text()), set(KNOWN)) for path in SOURCES.rglob("*.py")}
    # Blosc may hold Zstandard.
    assert {path.name: names for path, names in found.items() if names} == {"coders.py": ["zstd"]}


def test_every_compressor_has_one_coder():
    assert set(KNOWN) == set(coders._OF_V3)
    assert set(KNOWN) <= set(coders.CODERS)
