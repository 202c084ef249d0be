"""Changes that need more than one file: recorded first, then done step by step.

An operation commits one change to the document of its group: the old entry goes, and an intent that
says what is being done comes. Then ``editor.finish(intent)`` moves or removes files and commits the second
change: the new entry comes, the intent goes. Every step can be repeated, so a later process that finds the
intent completes the operation with the same code (``editor.recover()``; ``upkeep.py`` knows the steps). In
between, no document lists anything that is not there.
"""

from __future__ import annotations

import uuid
from typing import Any

from platestore.errors import NodeNotFoundError
from platestore.spec.own import Intent
from platestore.storage.base import join
from platestore.storage.hierarchy import group_exists, read_array, read_group
from platestore.tree.editor import AnyEditor, Draft
from platestore.tree.location import Location


def new_id() -> str:
    """Identifier of a change."""
    return uuid.uuid4().hex


def staging_name(name: str) -> str:
    """Hidden sibling name under which a replacement is built."""
    return f".{name}.{uuid.uuid4().hex[:12]}.new"


def is_node(location: Location) -> bool:
    """Whether there is an array or a group."""
    storage, path, fmt = location.storage, location.path, location.zarr_format
    return read_array(storage, path, fmt) is not None or group_exists(storage, path, fmt)


def finish_delete(editor: AnyEditor, intent: Intent) -> None:
    """Remove what the document does not list any more."""
    location = editor.location
    location.storage.remove_tree(join(location.path, intent.path))
    editor.drop_intent(intent)


def finish_replace(editor: AnyEditor, intent: Intent) -> None:
    """Put what was built under another name in the place of the old one, and list it."""
    location = editor.location
    old = location.child(intent.path)
    new = location.child(intent.target or "")
    if intent.target and is_node(new):
        location.storage.remove_tree(old.path)
        location.storage.move_tree(new.path, old.path)
    if intent.target:
        location.storage.remove_tree(new.path)  # what an interrupted removal of the copied one left
    list_result(editor, intent, old)


def list_result(editor: AnyEditor, intent: Intent, place: Location) -> None:
    """List what an intent put in its place."""
    present = is_node(place)  # whatever happened, what is not there is not listed

    def relist(draft: Draft[Any]) -> None:
        if present:
            editor.relist(draft, intent)
        draft.drop_intent(intent.id)

    editor.commit(relist, check=False)


def prune_row(plate: Location, well_path: str) -> None:
    """Remove the group of a row that has no well left; the row stays on the plate."""
    row = plate.child(well_path.partition("/")[0])
    try:
        groups, files = row.storage.list(row.path)
    except NodeNotFoundError:
        return
    if groups or not set(files) <= {"zarr.json", ".zgroup", ".zattrs"}:
        return
    group = read_group(row.storage, row.path, row.zarr_format)
    if group is None or not group.attributes:  # attributes of others stay
        row.storage.remove_tree(row.path)
