"""The plan of a copy that changes nothing: every file of the source that belongs to a store."""

from __future__ import annotations

import os

from platestore.copying.files import Folder, belongs, scan, stamp_of
from platestore.copying.plan import Plan, TreeCopy
from platestore.copying.report import ArrayReport
from platestore.copying.stamps import Stamp
from platestore.nodes.location import Location
from platestore.storage.base import DOCUMENTS, Storage, join
from platestore.storage.local import LocalStorage

_WHY = "same encoding"
_ROOT = ("zarr.json", ".zattrs", ".zgroup", ".zmetadata")


def plan_plain(plan: Plan, location: Location) -> None:
    """Plan to copy everything below a node.

    Parameters
    ----------
    plan : Plan
        Gets the work.
    location : Location
        The node.
    """
    storage, path = location.storage, location.path
    root = [(name, storage.read(join(path, name))) for name in _ROOT]
    plan.documents[""] = [(name, data) for name, data in root if data is not None]
    folders: list[Folder] | None = None
    if isinstance(storage, LocalStorage):
        top = storage.local_path(path)
        folders = list(scan(top))
        found = _nodes(top, folders)
    else:
        found = _keys(storage, path)
    total = Stamp()
    for node, (stamp, is_array) in sorted(found.items()):
        plan.stamps[location.child(node).where] = [stamp.files, stamp.nbytes, stamp.newest]
        total += stamp
        if is_array:
            plan.arrays.append(ArrayReport(node, "files", _WHY, stamp.files, stamp.nbytes))
    kept = None if folders is None else plan.keep(folders)
    plan.trees.append(TreeCopy(storage, path, "", documents=True, stamp=total, folders=kept))
    plan.estimate = total.nbytes


def _nodes(top: str, folders: list[Folder]) -> dict[str, tuple[Stamp, bool]]:
    """What is in each group and array, by its path."""
    out: dict[str, tuple[Stamp, bool]] = {}
    array: str | None = None
    for folder in folders:  # those above come before those below, and are not mixed with others
        if array is not None and not (folder.path.startswith(array + "/") or not array):
            array = None
        stamp = stamp_of([folder], documents=True)
        if array is not None:
            out[array] = out[array][0] + stamp, True
            continue
        is_array = _is_array(top, folder)
        out[folder.path] = stamp, is_array
        if is_array:
            array = folder.path
    return out


def _is_array(top: str, folder: Folder) -> bool:
    names = [name for name, _ in folder.files]
    if ".zarray" in names:
        return True
    if "zarr.json" not in names:
        return False
    with open(os.path.join(top, folder.path, "zarr.json"), "rb") as file:
        return b'"chunk_grid"' in file.read()


def _keys(storage: Storage, path: str) -> dict[str, tuple[Stamp, bool]]:
    """The same in an archive, or in a store that zarr reaches."""
    prefix = f"{path}/" if path else ""
    keys = [key[len(prefix) :] for key in storage.keys(path) if belongs(key.rpartition("/")[2])]
    nodes = {key.rpartition("/")[0] for key in keys if key.rpartition("/")[2] in DOCUMENTS}
    out: dict[str, tuple[Stamp, bool]] = {node: (Stamp(), False) for node in sorted(nodes)}
    for key in keys:
        node, _, name = key.rpartition("/")
        while node not in nodes and node:
            node = node.rpartition("/")[0]
        stamp, is_array = out.get(node, (Stamp(), False))
        size = storage.size_of(prefix + key) or 0
        out[node] = stamp + Stamp(1, size), is_array or (name not in DOCUMENTS and bool(node))
    return out
