"""The plan of a copy that changes nothing: every file of the source that belongs to a store."""

from __future__ import annotations

import os

from platestore.copying.files import Folder, belongs, scan, stamp_of
from platestore.copying.looks import changed
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
        circles: list[str] = []
        folders = list(scan(top, circles))
        plan.notes += [f"{path}: is a link to a directory that it lies in; not copied" for path in circles]
        found = _nodes(top, folders)
    else:
        found = _keys(storage, path)
    total = Stamp()
    for node, (stamp, chunks) in sorted(found.items()):
        plan.stamps[location.child(node).where] = [stamp.files, stamp.nbytes, stamp.newest]
        total += stamp
        if chunks is not None:
            plan.arrays.append(ArrayReport(node, "files", _WHY, chunks.files, chunks.nbytes))
    kept = None if folders is None else plan.keep(folders)
    plan.trees.append(TreeCopy(storage, path, "", documents=True, stamp=total, folders=kept))
    plan.estimate = total.nbytes


#: What a node holds: all its files, and, if it is an array, those of its chunks.
_Found = tuple[Stamp, Stamp | None]


def _nodes(top: str, folders: list[Folder]) -> dict[str, _Found]:
    """What is in each group and array, by its path."""
    out: dict[str, _Found] = {}
    array: str | None = None
    for folder in folders:  # those above come before those below, and are not mixed with others
        if array and not folder.path.startswith(array + "/"):
            array = None
        node = folder.path if array is None else array
        before, chunks = out.get(node, (Stamp(), None))
        if array is None and _is_array(top, folder):
            array, chunks = node, Stamp()
        if chunks is not None:
            chunks += stamp_of([folder], documents=False)
        out[node] = before + stamp_of([folder], documents=True), chunks
    return out


def _is_array(top: str, folder: Folder) -> bool:
    names = [name for name, _ in folder.files]
    if ".zarray" in names:
        return True
    if "zarr.json" not in names:
        return False
    with open(os.path.join(top, folder.path, "zarr.json"), "rb") as file:
        return b'"chunk_grid"' in file.read()


def _keys(storage: Storage, path: str) -> dict[str, _Found]:
    """The same in an archive, or in a store that zarr reaches."""
    prefix = f"{path}/" if path else ""
    keys = [key[len(prefix) :] for key in storage.keys(path) if belongs(key.rpartition("/")[2])]
    nodes = {key.rpartition("/")[0] for key in keys if key.rpartition("/")[2] in DOCUMENTS}
    out: dict[str, _Found] = {node: (Stamp(), None) for node in sorted(nodes)}
    newest = changed(storage)
    for key in keys:
        node, _, name = key.rpartition("/")
        while node not in nodes and node:
            node = node.rpartition("/")[0]
        stamp, chunks = out.get(node, (Stamp(), None))
        one = Stamp(1, storage.size_of(prefix + key) or 0, newest)
        if name not in DOCUMENTS and node:
            chunks = (chunks or Stamp()) + one
        out[node] = stamp + one, chunks
    return out
