"""Renaming and removing wells and positions of a plate, and giving wells their place on it.

Every change of more than one document is an intent: recorded with the first commit, then finished.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

from platestore.errors import (
    InvalidMetadataError,
    InvalidNameError,
    NodeExistsError,
    NodeKeyError,
    NodeNotFoundError,
)
from platestore.nodes import intents
from platestore.nodes.case import check_axis_case
from platestore.nodes.draft import Draft
from platestore.nodes.leftovers import require_free
from platestore.nodes.leftovers import require_group as require_row
from platestore.spec.names import check_field_name
from platestore.spec.own import Intent
from platestore.spec.plate import AxisIndex, PlateMeta, WellIndexMeta

if TYPE_CHECKING:
    from platestore.nodes.plate import Plate


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
    plate: Plate, meta: PlateMeta, wells: Iterable[tuple[str, str, int | None, int | None]]
) -> None:
    """Refuse wells that are not on the plate's format, before anything is written."""
    if plate._own.plate_format is None:
        return
    lists = {key: list(getattr(meta, key)) for key in ("rows", "columns", "wells")}
    scratch = meta.model_copy(update=lists)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the real placing says it
        for row, column, row_index, column_index in wells:
            draft = Draft(scratch, plate._own)
            scratch.wells.append(place_well(draft, row, column, row_index, column_index))


# --- renaming -------------------------------------------------------------------------------------


def rename_well(plate: Plate, old: str, new: str) -> None:
    """Move a well, and only that well, to another path."""
    row, column = split_well(new)
    split_well(old)
    location = plate._location
    with location.storage.lock(location.path):
        meta = plate._peek()
        wells = {well.path for well in meta.wells}
        if old not in wells:
            hint = plate._wells_hint()
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

        intents.finish(plate, plate._commit(unlist))


# --- removing -------------------------------------------------------------------------------------


def delete_member(plate: Plate, path: str) -> None:
    """Remove a row, a well, a position or an image: its entry first, then its data."""
    parts = path.split("/")
    location = plate._location
    with location.storage.lock(location.path):
        if len(parts) > 2:
            del plate["/".join(parts[:2])]["/".join(parts[2:])]
            return
        found = [well.path for well in plate._peek().wells if f"{well.path}/".startswith(f"{path}/")]
        if not found:
            raise NodeKeyError(f"there is no member {path!r}", path=location.where, hint=plate._wells_hint())
        for well in found:
            _delete_well(plate, well)


def _delete_well(plate: Plate, path: str) -> None:
    plate._location.storage.check_links(plate._location.child(path).path, writing=True)
    fields = _count_fields(plate, path) if plate._peek().field_count is not None else 0
    most = most_fields(plate, path, fields, 0)

    def unlist(draft: Draft[PlateMeta]) -> Intent:
        draft.meta.remove_well(path, declared=draft.meta.is_declared(draft.own.plate_format))
        draft.meta.field_count = most if draft.meta.wells else None
        intent = Intent(operation="delete", id=intents.new_id(), path=path)
        draft.add_intent(intent)
        return intent

    intents.finish(plate, plate._commit(unlist, check=False))
    intents.prune_row(plate, path)


def most_fields(plate: Plate, path: str, had: int, left: int) -> int | None:
    """What ``field_count`` is when a well has fewer fields than it had; None if the plate does not say it.

    Other wells are read only if this one had as many as the plate says, and only until another one has.
    """
    meta = plate._peek()
    said, others = meta.field_count, [well.path for well in meta.wells if well.path != path]
    if said is None or had < said:
        return said
    most = max(1, left)
    for other in others:
        if most >= said:
            break
        most = max(most, _count_fields(plate, other))
    return min(most, said)


def _count_fields(plate: Plate, path: str) -> int:
    try:
        return len(plate[path])
    except (NodeNotFoundError, InvalidMetadataError, NodeKeyError):
        return 0


def delete_counted(plate: Plate, path: str, most: int | None) -> None:
    """Remove a position with which ``field_count`` changes: both documents change, or neither."""

    def count(draft: Draft[PlateMeta]) -> Intent:
        draft.meta.field_count = most
        intent = Intent(operation="delete-position", id=intents.new_id(), path=path)
        draft.add_intent(intent)
        return intent

    intents.finish(plate, plate._commit(count, check=False))
