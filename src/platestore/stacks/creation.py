"""Creating a volume: its documents are written beside its place, and get their name in one step."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from platestore.arrays.layout import layout_of
from platestore.errors import ArgumentError, NodeExistsError, UnsafeTargetError
from platestore.publish import targets
from platestore.spec import edits, versions
from platestore.spec.axes import AxisMeta, SpaceAxisMeta
from platestore.spec.transforms import TransformationMeta
from platestore.stacks.array_spec import AXES
from platestore.storage.base import StorageOptions
from platestore.storage.files import temporary_name
from platestore.storage.hierarchy import array_files, create_node, group_files
from platestore.storage.local import LocalStorage, find_root

#: What the stored translation of a level means.
Origin: TypeAlias = Literal["center", "corner"]


def check_origin(origin: Any) -> None:
    """Check what was passed as ``origin=``.

    Raises
    ------
    ArgumentError
        If it is neither None, ``"center"`` nor ``"corner"``.
    """
    if origin not in (None, "center", "corner"):
        raise ArgumentError(f"origin must be 'center' or 'corner', not {origin!r}")


def create_volume(
    path: str,
    name: str,
    voxel_size: Sequence[float],
    unit: str,
    array: tuple[dict[str, Any], dict[str, Any]],
    origin: Origin,
) -> None:
    """Create a volume without data; one that somebody else creates meanwhile is left alone.

    Parameters
    ----------
    path : str
        Absolute path, where nothing is.
    name, voxel_size, unit
        What the metadata say.
    array : tuple of dict
        Document and attributes of level 0.
    origin : {"center", "corner"}
        Where its first voxel lies.

    Raises
    ------
    UnsafeTargetError
        If the path lies inside a store.
    """
    root, inner = find_root(path)
    if inner:
        raise UnsafeTargetError(
            f"would lie inside the store {root}, which would not list it",
            path=path,
            hint="name a path of its own",
        )
    document, array_attributes = array
    layout = layout_of(document, 3)
    axes: list[AxisMeta] = [SpaceAxisMeta(name=axis, unit=unit) for axis in AXES]
    meta = edits.empty_image(axes, [], name)
    steps = [TransformationMeta(type="scale", scale=list(voxel_size))]
    if origin == "corner":
        steps.append(TransformationMeta(type="translation", translation=[v / 2 for v in voxel_size]))
    edits.list_image(meta, "0", layout.shape, None, steps, layout.dtype.name)
    attributes = versions.bare_attributes(versions.sharding().name, "image", meta.to_json(), {})
    building = os.path.join(os.path.dirname(path), temporary_name(os.path.basename(path)))
    storage = LocalStorage(building, StorageOptions(read_only=False))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    try:
        create_node(storage, "0", array_files(3, document, array_attributes, where=path))
        create_node(storage, "", group_files(3, attributes, where=path))
        with contextlib.suppress(NodeExistsError):  # what is there is compared by the caller
            targets.install(building, path, replace=False)
    finally:
        shutil.rmtree(building, ignore_errors=True)
