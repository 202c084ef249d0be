"""The imports of the package, read from its sources: at the top, inside functions, and for types."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import platestore

SOURCES = Path(platestore.__file__).parent
#: The rooms, from the roof down; rooms in one line stand side by side.
ROOMS = (
    ("cli",),
    ("demo",),
    ("stacks",),
    ("nodes",),
    ("summary",),
    ("processing",),
    ("checking",),
    ("multiscales", "xarray"),
    ("acquisition",),
    ("copying",),
    ("images",),
    ("tree",),
    ("pyramid",),
    ("arrays",),
    ("publish",),
    ("storage",),
    ("spec",),
    ("resources",),
    ("progress",),
    ("settings",),
    ("errors",),
    ("_version",),
)
_HEIGHT = {room: -level for level, rooms in enumerate(ROOMS) for room in rooms}

Graph = dict[str, set[str]]


def read_graph() -> Graph:
    """Every module of the package and the modules that it imports, wherever the import stands."""
    files = {_name(path): path for path in sorted(SOURCES.rglob("*.py"))}
    graph: Graph = {}
    for name, path in files.items():
        imported = set(_imported(ast.parse(path.read_text()), set(files)))
        graph[name] = imported - {name, "platestore"}
    del graph["platestore"]  # it names the public objects, and imports them when they are used
    return graph


def _name(path: Path) -> str:
    parts = path.relative_to(SOURCES.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(tree: ast.Module, known: set[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in known else node.module for name in names]
        else:
            continue
        yield from (name for name in names if name in known)


def circles(graph: Graph) -> list[list[str]]:
    """The sets of modules that reach each other, the largest first (Tarjan's algorithm)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(graph.get(name, ())):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            at = stack.index(name)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for name in sorted(graph):
        if name not in index:
            visit(name)
    return sorted(found, key=len, reverse=True)


def back_arrows(graph: Graph) -> list[str]:
    """The imports that point up, or sideways between rooms that stand side by side."""
    found = []
    for name, others in sorted(graph.items()):
        for other in sorted(others):
            here, there = _room(name), _room(other)
            if here in _HEIGHT and there in _HEIGHT and here != there and _HEIGHT[here] <= _HEIGHT[there]:
                found.append(f"{name} -> {other}")
    return found


def _room(module: str) -> str:
    return module.split(".")[1]
