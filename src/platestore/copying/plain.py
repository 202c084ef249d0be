"""The plan of a copy that changes nothing: every file of the source that belongs to a store."""

from __future__ import annotations

from dataclasses import dataclass, field

from platestore.arrays.grid import ArrayGrid, array_grid
from platestore.copying.files import Folder, scan, stamp_of
from platestore.copying.plan import Plan, TreeCopy
from platestore.copying.report import ArrayReport
from platestore.copying.stamps import Stamp
from platestore.copying.strays import by_folder, find_strays
from platestore.errors import InvalidMetadataError
from platestore.spec.base import read_model
from platestore.spec.multiscales import ImagesMeta
from platestore.storage.base import DOCUMENTS, belongs, join
from platestore.storage.hierarchy import ArrayDocument, read_group
from platestore.tree.location import Location

_WHY = "same encoding"
_ROOT = ("zarr.json", ".zattrs", ".zgroup", ".zmetadata")


def plan_plain(plan: Plan, location: Location) -> bool:
    """Plan to copy everything below a node.

    Parameters
    ----------
    plan : Plan
        Gets the work.
    location : Location
        The node.

    Returns
    -------
    bool
        False, and nothing is planned, if an image is found whose chunks are not named as OME-NGFF 0.4
        demands: such an image is not copied as it is.
    """
    storage, path = location.storage, location.path
    circles: list[str] = []
    folders: list[Folder] | None = None
    root = storage.local_path(path)
    if root is not None:
        folders = list(scan(root, circles))
        found = _nodes(location, folders)
    else:
        found = _keys(location)
    if any(_must_be_renamed(location, node, there) for node, there in found.items()):
        return False
    documents = [(name, storage.read(join(path, name))) for name in _ROOT]
    plan.documents[""] = [(name, data) for name, data in documents if data is not None]
    plan.notes += [f"{path}: is a link to a directory that it lies in; not copied" for path in circles]
    total = Stamp()
    for node, there in sorted(found.items()):
        stamp = there.files
        plan.stamps[location.child(node).where] = [stamp.files, stamp.nbytes, stamp.newest]
        total += stamp
        if there.chunks is not None:
            plan.arrays.append(ArrayReport(node, "files", _WHY, there.chunks.files, there.chunks.nbytes))
        _remark(plan, node, there)
    kept = None if folders is None else plan.keep(folders)
    plan.trees.append(TreeCopy(storage, path, "", documents=True, stamp=total, folders=kept))
    plan.estimate = total.nbytes
    return True


@dataclass(slots=True)
class _Found:
    """What a node holds.

    Attributes
    ----------
    files : Stamp
        All its files.
    chunks : Stamp or None
        Those beside its documents, if it is an array.
    grid : ArrayGrid or None
        How its chunks are named, if it is an array and that is understood.
    folders : list of Folder
        Where its files are.
    """

    files: Stamp = field(default_factory=Stamp)
    chunks: Stamp | None = None
    grid: ArrayGrid | None = None
    folders: list[Folder] = field(default_factory=list)


def _remark(plan: Plan, node: str, found: _Found) -> None:
    """Tell of files that look like chunks and are none."""
    if found.chunks is None:
        names = [name for folder in found.folders for name, _ in folder.files]
        plan.remark_lost(node, names)
    elif found.grid is not None:
        strays = find_strays(found.grid, found.folders)
        if strays is not None:
            strays.nodes = 0  # all documents come along
            plan.add_strays(strays, found.grid.pattern, node, come_along=True)


def _must_be_renamed(location: Location, node: str, found: _Found) -> bool:
    """Whether a node is a level of an image of 0.4 whose chunks have dots in their names, or seem to."""
    grid = found.grid
    if location.zarr_format != 2 or grid is None or grid.separator == "/" or len(grid.shape) < 2:
        return False
    above = node
    while above:
        above = above.rpartition("/")[0]
        child = location.child(above) if above else location
        group = read_group(child.storage, child.path, 2)
        if group is None:
            continue
        parts = group.ngff.unpack(group.attributes, "image")
        try:
            images, _ = read_model(ImagesMeta, parts, location="image", path=child.where)
        except InvalidMetadataError:
            continue
        if (node[len(above) + 1 :] if above else node) in images.paths():
            return True
    return False


def _nodes(location: Location, folders: list[Folder]) -> dict[str, _Found]:
    """What is in each group and array, by its path."""
    out: dict[str, _Found] = {}
    grids: dict[bytes, ArrayGrid | None] = {}
    array: _Found | None = None
    inside = ""
    for folder in folders:  # those above come before those below, and are not mixed with others
        if array is not None and folder.path.startswith(inside):
            array.folders.append(Folder(folder.path[len(inside) :], folder.files, folder.newest))
            continue
        array, found = None, _Found(folders=[Folder("", folder.files, folder.newest)])
        out[folder.path] = found
        document = _array_document(location, folder)
        if document is not None:
            array, inside = found, f"{folder.path}/" if folder.path else ""
            if document.data not in grids:
                grids[document.data] = array_grid(document)
            found.grid, found.chunks = grids[document.data], Stamp()
    for found in out.values():
        found.files = stamp_of(found.folders, documents=True)
        if found.chunks is not None:
            found.chunks = stamp_of(found.folders, documents=False)
    return out


def _array_document(location: Location, folder: Folder) -> ArrayDocument | None:
    """The document of the array that a folder is, word for word."""
    names = [name for name, _ in folder.files]
    path = join(location.path, folder.path)
    if ".zarray" in names:
        data = location.storage.read(join(path, ".zarray"))
        return None if data is None else ArrayDocument(path, 2, data)
    data = location.storage.read(join(path, "zarr.json")) if "zarr.json" in names else None
    return ArrayDocument(path, 3, data) if data is not None and b'"chunk_grid"' in data else None


def _keys(location: Location) -> dict[str, _Found]:
    """The same in an archive, or in a store that zarr reaches."""
    storage, path = location.storage, location.path
    prefix = f"{path}/" if path else ""
    keys = [key[len(prefix) :] for key in storage.keys(path) if belongs(key.rpartition("/")[2])]
    nodes = {key.rpartition("/")[0] for key in keys if key.rpartition("/")[2] in DOCUMENTS}
    out: dict[str, _Found] = {node: _Found() for node in sorted(nodes)}
    inside: dict[str, list[str]] = {}
    newest = storage.last_change()
    for key in keys:
        node, _, name = key.rpartition("/")
        while node not in nodes and node:
            node = node.rpartition("/")[0]
        found = out.setdefault(node, _Found())
        one = Stamp(1, storage.size_of(prefix + key) or 0, newest)
        if name not in DOCUMENTS and node:
            found.chunks = (found.chunks or Stamp()) + one
        found.files += one
        inside.setdefault(node, []).append(key[len(node) + 1 :] if node else key)
    for node, names in inside.items():
        found = out[node]
        found.folders = by_folder(names)
        document = _array_document(location, Folder(node, [(name, 0) for name in names], 0))
        if document is None:
            found.chunks = None
        else:
            found.chunks, found.grid = found.chunks or Stamp(), array_grid(document)
    return out
