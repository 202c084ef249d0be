"""From what a user names to a storage and a path in it, without opening a node.

What is broken is looked at here, so nothing may depend on the metadata being readable.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from platestore.errors import ArgumentError, NodeNotFoundError
from platestore.storage.base import Storage, StorageOptions
from platestore.storage.local import LocalStorage, find_root, nothing_there
from platestore.storage.ozx import OzxStorage, find_archive, names_archive, refuse_zip
from platestore.tree.holder import editor_of

# A field lies so deep in its plate, a label image in it three deeper.
_ABOVE = 6


@dataclass(frozen=True, slots=True)
class FoundPlace:
    """A directory of a store, or a file with attributes.

    Attributes
    ----------
    storage : Storage or None
        The store; None for a file.
    path : str
        Path in the store, or of the file.
    """

    storage: Storage | None
    path: str


def find_place(target: Any, options: StorageOptions) -> FoundPlace:
    """Find what a user named.

    Parameters
    ----------
    target : str, Path, zarr Store, or node
        A store, a node in one, an ``.ozx`` archive or a node in it, or a JSON file.
    options : StorageOptions
        How the store is used.

    Returns
    -------
    FoundPlace

    Raises
    ------
    NodeNotFoundError
        If there is nothing.
    InvalidMetadataError
        If it is a zip archive by another name, or a broken one.
    ArgumentError
        If it is no path, store or node.
    """
    if isinstance(target, (str, os.PathLike)):
        return _find_path(os.fspath(target), options)
    editor = editor_of(target)
    if editor is not None:
        storage, path = editor.location.storage, editor.location.path
        root = storage.local_path("")
        return FoundPlace(storage if root is None else LocalStorage(root, options), path)
    return _find_in_store(target, options)


def _find_path(text: Any, options: StorageOptions) -> FoundPlace:
    if not isinstance(text, str) or not text or "\0" in text:
        raise ArgumentError(f"{text!r} is no path")
    path = os.path.abspath(text)
    if os.path.islink(path):
        path = os.path.realpath(path)  # beside the store is beside its real place
    if names_archive(path):
        found = find_archive(path)
        if found is None:
            raise NodeNotFoundError("there is no such archive", path=path)
        return FoundPlace(OzxStorage(found[0], options), found[1])
    if os.path.isdir(path):
        root, inner = _outermost(*find_root(path))
        return FoundPlace(LocalStorage(root, options), inner)
    if not os.path.exists(path):
        raise nothing_there(path)
    refuse_zip(path)
    return FoundPlace(None, path)


def _outermost(root: str, inner: str) -> tuple[str, str]:
    """The store around a node, where groups above it have lost their documents: it is named ``.zarr``."""
    above = root
    passed: list[str] = []
    for _ in range(_ABOVE):
        above, name = os.path.split(above)
        passed.insert(0, name)
        if above.endswith(".zarr") and not root.endswith(".zarr"):
            return above, "/".join([*passed, *([inner] if inner else [])])
    return root, inner


def _find_in_store(store: Any, options: StorageOptions) -> FoundPlace:
    from zarr.abc.store import Store
    from zarr.storage import StorePath

    from platestore.tree.location import storage_of

    path = ""
    if isinstance(store, StorePath):
        store, path = store.store, store.path
    if not isinstance(store, Store):
        raise ArgumentError(
            f"cannot look at a {type(store).__name__}", hint="pass a path, a zarr Store or a node"
        )
    return FoundPlace(storage_of(store, options), path)
