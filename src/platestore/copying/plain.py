"""The plan of a copy that changes nothing: every file of the source that belongs to a store."""

from __future__ import annotations

import os

from platestore.copying.files import belongs, listing
from platestore.copying.plan import Plan, Stamp, TreeCopy
from platestore.copying.report import ArrayReport
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
    found = _local(storage, path) if isinstance(storage, LocalStorage) else _keys(storage, path)
    total = Stamp()
    for node, (stamp, is_array) in found.items():
        plan.stamps[location.child(node).where] = [stamp.files, stamp.nbytes, stamp.newest]
        total += stamp
        if is_array:
            plan.arrays.append(ArrayReport(node, "files", _WHY, stamp.files, stamp.nbytes))
    plan.trees.append(TreeCopy(storage, path, "", documents=True, stamp=total))
    plan.estimate = total.nbytes


def _local(storage: LocalStorage, path: str) -> dict[str, tuple[Stamp, bool]]:
    """What is in each group and array, by its path."""
    out: dict[str, tuple[Stamp, bool]] = {}
    root = storage.local_path(path)
    below = [(root, "")]
    while below:
        directory, node = below.pop()
        directories, files = listing(directory)
        is_array = _is_array(directory, [f.name for f in files], [d.name for d in directories])
        stamp = _stamp(files)
        if is_array:
            for child in directories:
                stamp += _whole(child.path)
        else:
            below += [(child.path, join(node, child.name)) for child in directories]
        out[node] = stamp, is_array
    return dict(sorted(out.items()))


def _stamp(files: list[os.DirEntry[str]]) -> Stamp:
    nbytes = newest = 0
    for entry in files:
        info = entry.stat()
        nbytes += info.st_size
        newest = max(newest, info.st_mtime_ns)
    return Stamp(len(files), nbytes, newest)


def _whole(directory: str) -> Stamp:
    """All files below a directory of chunks."""
    files = nbytes = newest = 0
    below = [directory]
    while below:
        directories, found = listing(below.pop())
        below += [d.path for d in directories]
        part = _stamp(found)
        files, nbytes, newest = files + part.files, nbytes + part.nbytes, max(newest, part.newest)
    return Stamp(files, nbytes, newest)


def _is_array(directory: str, files: list[str], directories: list[str]) -> bool:
    if ".zarray" in files:
        return True
    if "zarr.json" not in files or not ("c" in directories or len(files) > 1 or "0" in directories):
        return False
    with open(os.path.join(directory, "zarr.json"), "rb") as file:
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
