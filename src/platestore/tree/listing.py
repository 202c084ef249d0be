"""What lies in the directory of a node, whatever its metadata list."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator

from platestore.arrays.metadata import summarise
from platestore.errors import InvalidMetadataError, UnreadableWarning
from platestore.storage.base import join
from platestore.storage.hierarchy import group_exists, read_array
from platestore.tree.location import Location


def children(location: Location) -> tuple[list[str], list[str]]:
    """Sorted names of the groups and of the arrays in a directory."""
    groups, arrays = [], []
    for name in location.storage.list(location.path)[0]:
        path = join(location.path, name)
        if name.startswith("."):
            continue  # our temporary directories
        try:
            if read_array(location.storage, path, location.zarr_format) is not None:
                arrays.append(name)
            elif group_exists(location.storage, path, location.zarr_format):
                groups.append(name)
        except InvalidMetadataError as error:
            warnings.warn(str(error), UnreadableWarning, stacklevel=4)
    return groups, arrays


def print_tree(location: Location, level: int | None) -> None:
    """Write the tree below a place to standard output."""
    sys.stdout.write("\n".join(tree_lines(location, level)) + "\n")


def tree_lines(location: Location, level: int | None = None) -> list[str]:
    """The lines of the tree.

    Parameters
    ----------
    location : Location
        The group to start from.
    level : int, optional
        How deep to go.
    """
    return [location.name, *_below(location, "", level)]


def _below(location: Location, indent: str, level: int | None) -> Iterator[str]:
    if level is not None and level <= 0:
        return
    rows: list[tuple[str, Location | None]] = []
    for name in location.storage.list(location.path)[0]:
        if name.startswith("."):
            continue
        child = location.child(name)
        try:
            document = read_array(location.storage, child.path, location.zarr_format)
            if document is not None:
                facts = summarise(document)
                rows.append((f"{name} {facts.shape} {facts.dtype}", None))
            elif group_exists(location.storage, child.path, location.zarr_format):
                rows.append((name, child))
        except InvalidMetadataError:
            rows.append((f"{name} (unreadable)", None))
    for i, (text, group) in enumerate(rows):
        last = i == len(rows) - 1
        yield f"{indent}{'└── ' if last else '├── '}{text}"
        if group is not None:
            deeper = None if level is None else level - 1
            yield from _below(group, indent + ("    " if last else "│   "), deeper)
