"""Looking at the files of a source: when a copy is planned, and again before it gets its name."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from platestore.arrays.grid import array_grid
from platestore.copying.files import Folder, scan, stamp_of
from platestore.copying.plan import Plan, Rename
from platestore.copying.stamps import Stamp
from platestore.copying.strays import Strays, by_folder, find_strays
from platestore.errors import SourceChangedError
from platestore.storage.base import DOCUMENTS, Storage, belongs, join
from platestore.storage.hierarchy import ArrayDocument


def look(
    storage: Storage, path: str, *, documents: bool, rename: Rename | None = None
) -> tuple[Stamp, list[Folder] | None]:
    """What the files below a directory look like.

    Parameters
    ----------
    storage : Storage
        Where they are.
    path : str
        The directory.
    documents : bool
        Whether documents count.
    rename : callable, optional
        Gives new names; files that get none do not count.

    Returns
    -------
    stamp : Stamp
        Their number, bytes, and latest change.
    folders : list of Folder or None
        The folders they are in, where they are on this machine.
    """
    root = storage.local_path(path)
    if root is not None:
        folders = list(scan(root))
        if rename is not None:
            folders = _renamed_only(folders, rename)
        return stamp_of(folders, documents=documents), folders
    prefix = f"{path}/" if path else ""
    stamp = Stamp(newest=storage.last_change())
    for key in storage.keys(path):
        name = posixpath.basename(key)
        taken = rename is None or rename(key[len(prefix) :]) is not None
        if taken and belongs(name) and (documents or name not in DOCUMENTS):
            stamp += Stamp(1, storage.size_of(key) or 0)
    return stamp, None


def look_at_array(
    storage: Storage, array: ArrayDocument, inner: str, rename: Rename | None
) -> tuple[Stamp, list[Folder] | None, Strays | None]:
    """What the chunk files of an array look like, and what else lies in its directory.

    Parameters
    ----------
    storage : Storage
        Where it is.
    array : ArrayDocument
        The array.
    inner : str
        Directory in it of which the files are meant.
    rename : callable, optional
        Gives new names; files that get none are not meant.

    Returns
    -------
    stamp : Stamp
        As :func:`look` has it, for the files that are meant.
    folders : list of Folder or None
        As :func:`look` has it.
    strays : Strays or None
        Files that are none of its chunks.
    """
    grid = array_grid(array)
    root = storage.local_path(array.path)
    if root is None:
        stamp, _ = look(storage, join(array.path, inner), documents=False, rename=rename)
        start = len(array.path) + 1 if array.path else 0
        keys = (key[start:] for key in storage.keys(array.path) if belongs(posixpath.basename(key)))
        return stamp, None, None if grid is None else find_strays(grid, by_folder(keys))
    folders = list(scan(root))
    strays = None if grid is None else find_strays(grid, folders)
    if inner:
        folders = [
            Folder(folder.path[len(inner) + 1 :], folder.files, folder.newest)
            for folder in folders
            if folder.path == inner or folder.path.startswith(f"{inner}/")
        ]
    if rename is not None:
        folders = _renamed_only(folders, rename)
    return stamp_of(folders, documents=False), folders, strays


def _renamed_only(folders: Iterable[Folder], rename: Rename) -> list[Folder]:
    """Folders with the files that get a new name."""
    out = []
    for folder in folders:
        files = [f for f in folder.files if rename(join(folder.path, f[0])) is not None]
        if files:
            out.append(Folder(folder.path, files, folder.newest))
    return out


def check_unchanged(plan: Plan, *, all_trees: bool) -> None:
    """Look at the sources again whose files were not checked one by one.

    Parameters
    ----------
    plan : Plan
        The copy.
    all_trees : bool
        Whether that is so for all trees of files, and not just for those too large to be kept in mind.

    Raises
    ------
    SourceChangedError
        If one looks different.
    """
    for storage, path, stamp in plan.watched:
        if look(storage, path, documents=False)[0] != stamp:
            raise SourceChangedError("it changed while it was copied", path=storage.where(path))
    for tree in plan.trees:
        if tree.only is None and (all_trees or tree.folders is None):
            found, _ = look(tree.source, tree.path, documents=tree.documents, rename=tree.rename)
            if found != tree.stamp:
                raise SourceChangedError("it changed while it was copied", path=tree.source.where(tree.path))
