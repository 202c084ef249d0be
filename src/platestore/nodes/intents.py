"""Changes that need more than one file: recorded first, then done step by step.

An operation commits one change to the document of its group: the old entry goes, and an intent that
says what is being done comes. Then :func:`finish` moves or removes files and commits the second change:
the new entry comes, the intent goes. Every step of :func:`finish` can be repeated, so a later process
that finds the intent completes the operation with the same code (:func:`recover`). In between, no
document lists anything that is not there.
"""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from platestore.arrays.metadata import grow_axis, summarise
from platestore.errors import NodeNotFoundError, StoreWarning
from platestore.spec import edits
from platestore.spec.axes import channel_index
from platestore.spec.own import Intent
from platestore.storage.base import join
from platestore.storage.hierarchy import ensure_group, group_exists, read_array, read_group

if TYPE_CHECKING:
    from platestore.nodes.location import Location
    from platestore.nodes.node import NGFFNode
    from platestore.nodes.plate import Plate
    from platestore.nodes.position import Position


def new_id() -> str:
    """Identifier of a change."""
    return uuid.uuid4().hex


def staging_name(name: str) -> str:
    """Hidden sibling name under which a replacement is built."""
    return f".{name}.{uuid.uuid4().hex[:12]}.new"


def recover(node: NGFFNode[Any]) -> None:
    """Complete every change that is recorded in a node's document.

    If the process that recorded one is still at work, this waits for its lock, and then finds nothing
    left to do.
    """
    storage = node._location.storage
    with storage.lock(node._location.path):
        outermost, node._recovering = not node._recovering, True
        try:
            node.refresh()
            for intent in list(node._own.intents or ()):
                finish(node, intent)
        finally:
            node._recovering = not outermost


def finish(node: NGFFNode[Any], intent: Intent) -> None:
    """Do, or complete, what an intent says. Call it under the lock of the node's directory."""
    step = _STEPS.get(intent.operation)
    if step is None:
        warnings.warn(
            f"{node._location.where}: an unfinished change {intent.operation!r} is left alone: "
            "this version does not know it",
            StoreWarning,
            stacklevel=3,
        )
        return
    outermost, node._recovering = not node._recovering, True
    try:
        step(node, intent)
    finally:
        node._recovering = not outermost


def _delete(node: NGFFNode[Any], intent: Intent) -> None:
    location = node._location
    for label, level in (intent.levels or {}).items():
        _delete_level(node, label, level)
    location.storage.remove_tree(join(location.path, intent.path))
    node._commit(lambda draft: draft.drop_intent(intent.id), check=False)


def _delete_level(node: Any, label: str, level: str) -> None:
    """Remove the level of a label image that goes with one of its image."""
    from platestore.nodes.removal import unlist_and_remove

    place = node._location.child(label)
    if group_exists(place.storage, place.path, place.zarr_format):
        opened = node._open_group(label)
        if level in opened._peek().paths():
            unlist_and_remove(opened, level)


def _delete_position(node: Plate, intent: Intent) -> None:
    path, _, name = intent.path.rpartition("/")
    well = node[path]
    if well._peek().image(name) is not None:  # not if an interrupted process did that already
        well._delete(name)
    node._commit(lambda draft: draft.drop_intent(intent.id), check=False)


def _replace(node: NGFFNode[Any], intent: Intent) -> None:
    location = node._location
    old = location.child(intent.path)
    new = location.child(intent.target or "")
    if intent.target and is_node(new):
        location.storage.remove_tree(old.path)
        location.storage.move_tree(new.path, old.path)
    if intent.target:
        location.storage.remove_tree(new.path)  # what an interrupted removal of the copied one left
    _list_result(node, intent, old)


def _list_result(node: NGFFNode[Any], intent: Intent, place: Location) -> None:
    present = is_node(place)  # whatever happened, what is not there is not listed

    def relist(draft: Any) -> None:
        if present:
            node._relist(draft, intent)
        draft.drop_intent(intent.id)

    node._commit(relist, check=False)


def is_node(location: Location) -> bool:
    """Whether there is an array or a group."""
    storage, path, fmt = location.storage, location.path, location.zarr_format
    return read_array(storage, path, fmt) is not None or group_exists(storage, path, fmt)


def _move(node: Plate, intent: Intent) -> None:
    location = node._location
    old, new = location.child(intent.path), location.child(intent.target or "")
    if is_node(old):
        ensure_group(location.storage, new.path.rpartition("/")[0], location.zarr_format)
        # Over a store without renames, an interrupted copy may lie there; the old one is still whole.
        location.storage.remove_tree(new.path)
        location.storage.move_tree(old.path, new.path)
    location.storage.remove_tree(old.path)  # what an interrupted removal of the copied one left

    _list_result(node, intent, new)
    prune_row(node, intent.path)


def prune_row(plate: Plate, well_path: str) -> None:
    """Remove the group of a row that has no well left; the row stays on the plate."""
    row = plate._location.child(well_path.partition("/")[0])
    try:
        groups, files = row.storage.list(row.path)
    except NodeNotFoundError:
        return
    if groups or not set(files) <= {"zarr.json", ".zgroup", ".zattrs"}:
        return
    group = read_group(row.storage, row.path, row.zarr_format)
    if group is None or not group.attributes:  # attributes of others stay
        row.storage.remove_tree(row.path)


def _add_images(node: Plate, intent: Intent) -> None:
    for path, images in (intent.images or {}).items():
        node[path]._add_images(images)
    node._commit(lambda draft: draft.drop_intent(intent.id), check=False)


def _append_channel(node: Position, intent: Intent) -> None:
    location = node._location
    axis = channel_index(node.axes)
    dtype = None
    for path, size in (intent.arrays or {}).items():
        place = location.child(path)
        document = read_array(location.storage, place.path, location.zarr_format)
        if document is None or axis is None:
            continue
        dtype = dtype or summarise(document).dtype
        grow_axis(location.storage, place.path, location.zarr_format, axis, size)
    if intent.shapes:
        from platestore.nodes.reshaping import apply_shapes

        apply_shapes(node, intent.shapes)

    dtype = dtype or node._dtype_of_image()

    def name_it(draft: Any) -> None:
        names = (intent.entry or {}).get("names", [])
        if draft.meta.omero is not None:
            names = edits.channel_names(draft.meta, 0)
        if intent.path not in names:
            edits.add_channel(draft.meta, names, intent.path, dtype)
        draft.drop_intent(intent.id)

    node._commit(name_it)


def _pyramid(node: Position, intent: Intent) -> None:
    from platestore.nodes.level_making import finish_install

    finish_install(node, intent)


def _resize(node: Position, intent: Intent) -> None:
    from platestore.nodes.reshaping import finish_resize

    finish_resize(node, intent)


def _axes_case(node: NGFFNode[Any], intent: Intent) -> None:
    from platestore.nodes.axes_case import finish_axes_case

    finish_axes_case(cast("Position", node), intent)


_STEPS: dict[str, Callable[[Any, Intent], None]] = {
    "delete": _delete,
    "delete-position": _delete_position,
    "replace": _replace,
    "move": _move,
    "add-images": _add_images,
    "append-channel": _append_channel,
    "pyramid": _pyramid,
    "axes-case": _axes_case,
    "resize": _resize,
}
