"""Giving wells their place on a plate, and another name.

Every change of more than one document is an intent: recorded with the first commit, then finished.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from platestore.errors import (
    InvalidNameError,
    NodeExistsError,
    NodeNotFoundError,
)
from platestore.spec.names import check_field_name
from platestore.spec.own import Intent
from platestore.spec.plate import AxisIndex, PlateMeta, WellIndexMeta
from platestore.storage.hierarchy import ensure_group
from platestore.tree import intents
from platestore.tree.case import check_axis_case
from platestore.tree.editor import Draft
from platestore.tree.leftovers import require_free
from platestore.tree.leftovers import require_group as require_row
from platestore.tree.plate import PlateEditor


def split_well(path: object) -> tuple[str, str]:
    """Row and column of a well's path, checked.

    Raises
    ------
    InvalidNameError
        If it is no path of two alphanumeric names.
    """
    parts = path.split("/") if isinstance(path, str) else []
    if len(parts) != 2:
        raise InvalidNameError(f"{path!r} is no well", hint='give the row and the column, such as "A/1"')
    return check_field_name(parts[0], "row"), check_field_name(parts[1], "column")


# --- places ---------------------------------------------------------------------------------------


def place_well(
    draft: Draft[PlateMeta],
    row: str,
    column: str,
    row_index: int | None = None,
    column_index: int | None = None,
) -> WellIndexMeta:
    """The entry of a well, whose row and column are listed in the draft now if they were not."""
    meta, fixed = draft.meta, draft.own.plate_format is not None
    rows, columns = (
        AxisIndex("row", meta.rows, fixed=fixed),
        AxisIndex("column", meta.columns, fixed=fixed),
    )
    r = rows.resolve(row, row_index, lambda: {well.row_index for well in meta.wells})
    c = columns.resolve(column, column_index, lambda: {well.column_index for well in meta.wells})
    return WellIndexMeta(path=f"{row}/{column}", row_index=r, column_index=c)


def check_places(
    plate: PlateEditor, meta: PlateMeta, wells: Iterable[tuple[str, str, int | None, int | None]]
) -> None:
    """Refuse wells that are not on the plate's format, before anything is written."""
    if plate.own.plate_format is None:
        return
    lists = {key: list(getattr(meta, key)) for key in ("rows", "columns", "wells")}
    scratch = meta.model_copy(update=lists)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the real placing says it
        for row, column, row_index, column_index in wells:
            draft = Draft(scratch, plate.own)
            scratch.wells.append(place_well(draft, row, column, row_index, column_index))


# --- renaming -------------------------------------------------------------------------------------


def rename_well(plate: PlateEditor, old: str, new: str) -> None:
    """Move a well, and only that well, to another path."""
    row, column = split_well(new)
    split_well(old)
    location = plate.location
    with location.storage.lock(location.path):
        meta = plate.peek()
        wells = {well.path for well in meta.wells}
        if old not in wells:
            hint = plate.wells_hint()
            raise NodeNotFoundError(f"there is no well {old!r}", path=location.where, hint=hint)
        if new == old:
            return
        target = location.child(new)
        check_places(plate, meta, [(row, column, None, None)])
        check_axis_case(location, meta, [new])
        if new in wells:
            raise NodeExistsError("the well exists", path=target.where, hint="remove it first")
        require_row(location.child(row))
        require_free(target, "group")
        # Refused before anything changes, rather than half-way.
        location.storage.check_links(location.child(old).path, writing=True)

        def unlist(draft: Draft[PlateMeta]) -> Intent:
            index = next(i for i, well in enumerate(draft.meta.wells) if well.path == old)
            well, declared = draft.meta.wells[index], draft.meta.is_declared(draft.own.plate_format)
            renamed = place_well(draft, row, column)
            draft.meta.remove_well(old, declared=declared, coming=renamed)
            entry = {"index": index, "well": {**well.to_json(), **renamed.to_json()}}
            intent = Intent(operation="move", id=intents.new_id(), path=old, target=new, entry=entry)
            draft.add_intent(intent)
            return intent

        plate.finish(plate.commit(unlist))


def finish_move(plate: PlateEditor, intent: Intent) -> None:
    """Move a well to its new place, and list it."""
    location = plate.location
    old, new = location.child(intent.path), location.child(intent.target or "")
    if intents.is_node(old):
        ensure_group(location.storage, new.path.rpartition("/")[0], location.zarr_format)
        # Over a store without renames, an interrupted copy may lie there; the old one is still whole.
        location.storage.remove_tree(new.path)
        location.storage.move_tree(old.path, new.path)
    location.storage.remove_tree(old.path)  # what an interrupted removal of the copied one left
    intents.list_result(plate, intent, new)
    intents.prune_row(location, intent.path)
