"""The documents of the plate, its wells and its series of a copy: right for what is in it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from platestore.copying.groups import GroupWriter
from platestore.copying.members import Entry
from platestore.copying.options import ChannelsDiffer
from platestore.copying.series import OME, has_ome, moved_series, plan_ome
from platestore.errors import ArgumentError
from platestore.spec import versions
from platestore.spec.axes import AxisMeta
from platestore.spec.names import is_member_name
from platestore.spec.own import OwnMeta
from platestore.spec.plate import (
    PLATE_FORMATS,
    AcquisitionMeta,
    AxisIndex,
    PlateAxisMeta,
    PlateMeta,
    WellIndexMeta,
)
from platestore.spec.well import ImageMeta, WellGroupMeta
from platestore.tree.axes_case import AxesCase, lowered
from platestore.tree.editor import AnyEditor
from platestore.tree.image import ImageEditor
from platestore.tree.plate import PlateEditor
from platestore.tree.well import WellEditor

#: The positions of each well of the copy.
_Wells: TypeAlias = dict[str, list[Entry]]


class Acquisitions:
    """The acquisitions of the copy: those that are used, under numbers that mean one thing each.

    Parameters
    ----------
    nodes : sequence of node
        The sources.
    entries : sequence of Entry
        The positions.
    notes : list of str
        Gets a line for each acquisition that gets another number.
    """

    def __init__(self, nodes: Sequence[AnyEditor], entries: Sequence[Entry], notes: list[str]) -> None:
        self._numbers: dict[tuple[int, int], int] = {}
        self._items: dict[int, AcquisitionMeta] = {}
        self.declared = False
        used = {(entry.source, entry.acquisition or 0) for entry in entries if not entry.is_empty}
        for source, node in enumerate(nodes):
            if not isinstance(node, PlateEditor):
                continue
            for item in node.meta.acquisitions or ():
                self.declared = True
                if (source, item.id) in used:
                    number = self._number_of(item)
                    if number != item.id:
                        notes.append(
                            f"acquisition {item.id} of {node.location.where} is {number} in the copy"
                        )
                    self._items.setdefault(number, item.model_copy())
                    self._numbers[source, item.id] = number

    def _number_of(self, item: AcquisitionMeta) -> int:
        """The number of an equal one that has the same in its source, or else a free one."""
        for number, other in self._items.items():
            if _same(other, item):
                return number
        return item.id if item.id not in self._items else max(self._items) + 1

    def number(self, entry: Entry) -> int | None:
        """Identifier of the acquisition of a field in the copy."""
        if entry.acquisition is None:
            return None
        return self._numbers.get((entry.source, entry.acquisition), entry.acquisition)

    def listed(self, wells: dict[str, list[Entry]]) -> list[AcquisitionMeta] | None:
        """The plate's list, with the greatest number of fields in one well; None if no source has one."""
        most: dict[int, int] = {}
        for entries in wells.values():
            numbers = [self.number(entry) or 0 for entry in entries if not entry.is_empty]
            for number in set(numbers):
                most[number] = max(most.get(number, 0), numbers.count(number))
        if not self.declared and not set(most) - {0}:
            return None
        out = []
        for number in [*self._items, *sorted(set(most) - self._items.keys())]:
            if number in most:
                item = self._items.get(number) or AcquisitionMeta(id=number, name=f"acquisition {number}")
                out.append(item.model_copy(update={"id": number, "maximumfieldcount": most[number]}))
        return out


def _same(one: AcquisitionMeta, other: AcquisitionMeta) -> bool:
    ignored = {"maximumfieldcount"}
    return one.model_dump(exclude=ignored) == other.model_dump(exclude=ignored)


def plan_plate(
    groups: GroupWriter,
    nodes: Sequence[AnyEditor],
    entries: Sequence[Entry],
    channels: Sequence[str] | None,
    name: str,
    axes_case: AxesCase | None,
) -> None:
    """Plan the documents of a plate, its rows and its wells.

    Parameters
    ----------
    groups : GroupWriter
        Takes them.
    nodes : sequence of node
        The sources.
    entries : sequence of Entry
        The positions.
    channels : sequence of str, optional
        Names of the channels that are chosen.
    name : str
        Name of the plate, if it has more than one source.
    axes_case : {"lower"}, optional
        How the axes are spelled that new positions get.
    """
    wells: _Wells = {}
    for entry in entries:
        wells.setdefault(entry.new_well, []).append(entry)
    acquisitions = Acquisitions(nodes, entries, groups.plan.notes)
    plates = [node for node in nodes if isinstance(node, PlateEditor)]
    base = plates[0] if plates else None
    meta = copy.deepcopy(base.meta) if base is not None else PlateMeta(rows=[], columns=[], wells=[])
    own = copy.deepcopy(base.own) if base is not None else OwnMeta()
    if len(nodes) > 1 or base is None:
        meta.name = name
    meta.rows, meta.columns, meta.wells = _grid(meta, own, list(wells), plates)
    meta.acquisitions = acquisitions.listed(wells)
    # A plate of wells without a position says 1, which is the least that is valid.
    most = max((sum(not e.is_empty for e in each) for each in wells.values()), default=0)
    meta.field_count = max(1, most) if wells else None
    own.intents = None
    if axes_case is not None and own.axes is not None:
        own.axes = lowered(own.axes)
    _inherited(own, entries[0].node if entries else None, channels)
    if base is not None:
        groups.attributes(
            base.location,
            base.group.attributes,
            "plate",
            "",
            {"plate": meta.to_json()},
            own.to_json(),
        )
    else:
        groups.new("plate", "", {"plate": meta.to_json()}, own.to_json())
    _rows(groups, nodes, entries, wells)
    for path, fields in wells.items():
        _plan_well(groups, path, fields, acquisitions)
    _others(groups, nodes, entries, wells)


def _inherited(own: OwnMeta, first: AnyEditor | None, channels: Sequence[str] | None) -> None:
    """Channels and axes that positions created later get."""
    if own.channel_names is not None and channels is not None:
        own.channel_names = list(channels)
    if own.channel_names is None and isinstance(first, ImageEditor):
        own.channel_names = list(channels or first.channel_names)
        own.axes = first.axes


def _grid(
    meta: PlateMeta, own: OwnMeta, paths: Sequence[str], plates: Sequence[PlateEditor]
) -> tuple[list[PlateAxisMeta], list[PlateAxisMeta], list[WellIndexMeta]]:
    """Rows, columns and wells.

    A list of rows or columns that names more than the wells of the source use, or that is a standard
    format's, describes the physical plate, and stays. Otherwise it names what is used.
    """
    used = [{path.split("/")[i] for path in paths} for i in (0, 1)]
    known: dict[str, WellIndexMeta] = {}
    for plate in plates:
        for path, well in plate.entries().items():
            known.setdefault(path, well)
    before = [{w.path.partition("/")[0] for w in meta.wells}, {w.path.rpartition("/")[2] for w in meta.wells}]
    standard = (len(meta.rows), len(meta.columns)) in PLATE_FORMATS.values()
    axes = []
    for items, names, wanted in ((meta.rows, before[0], used[0]), (meta.columns, before[1], used[1])):
        physical = standard or own.plate_format is not None or {i.name for i in items} - names
        axes.append([item for item in items if physical or item.name in wanted])
    fixed = own.plate_format is not None
    rows, columns = AxisIndex("row", axes[0], fixed=fixed), AxisIndex("column", axes[1], fixed=fixed)
    wells: list[WellIndexMeta] = []
    for path in paths:
        row, column = path.split("/")
        update = {
            "path": path,
            "row_index": rows.resolve(row, None, lambda: {well.row_index for well in wells}),
            "column_index": columns.resolve(column, None, lambda: {well.column_index for well in wells}),
        }
        old = known.get(path)
        wells.append(
            old.model_copy(update=update) if old is not None else WellIndexMeta.model_validate(update)
        )
    return axes[0], axes[1], wells


def _others(
    groups: GroupWriter,
    nodes: Sequence[AnyEditor],
    entries: Sequence[Entry],
    wells: dict[str, list[Entry]],
) -> None:
    """Plan what lies in the sources beside rows: ``OME`` groups, and what is of others."""
    taken = {path.partition("/")[0] for path in wells}
    several, first = len(nodes) > 1, True
    for number, plate in enumerate(nodes):
        if not isinstance(plate, PlateEditor):
            continue
        location = plate.location
        if not first and not versions.only_ours(plate.group.attributes):
            groups.plan.notes.append(f"{location.where}: attributes of others are not merged")
        known = _row_names(plate)
        if first and has_ome(location):
            moved = {e.old_path: e.path for e in entries if e.source == number and not e.is_empty}
            kept = moved_series(location, moved)
            if several:
                kept = [e.path for e in entries if not e.is_empty]
            plan_ome(groups, location, kept)
            known.add(OME)
        taken |= groups.others(location, "", known, taken - known, listed=True)
        first = False


def _row_names(plate: PlateEditor) -> set[str]:
    """Names of rows that are names of directories; a document can say anything."""
    meta = plate.meta
    names = {row.name for row in meta.rows} | {well.path.partition("/")[0] for well in meta.wells}
    return {name for name in names if is_member_name(name)}


def _rows(
    groups: GroupWriter,
    nodes: Sequence[AnyEditor],
    entries: Sequence[Entry],
    wells: dict[str, list[Entry]],
) -> None:
    """Plan rows: groups without a document of the specification, but maybe with one of others."""
    taken: dict[str, set[str]] = {}
    for path in wells:
        row, _, column = path.partition("/")
        taken.setdefault(row, set()).add(column)
    for row in taken:
        owners = [
            entry.node
            for path, each in wells.items()
            for entry in each[:1]
            if path.partition("/")[0] == row and entry.well.partition("/")[0] == row
        ]
        plates = [node for node in owners if isinstance(node, PlateEditor)]
        if plates:
            groups.bare(plates[0].location.child(row), row)
        else:
            groups.new("unknown", row, {}, {})
    for number, plate in enumerate(nodes):
        if isinstance(plate, PlateEditor):
            used = {entry.well for entry in entries if entry.source == number}
            for row in sorted(_row_names(plate)):
                _row(groups, plate, row, used, taken.get(row))


def _row(groups: GroupWriter, plate: PlateEditor, row: str, used: set[str], taken: set[str] | None) -> None:
    """Plan what lies in a row beside its wells; what no place is left for is told of."""
    location = plate.location.child(row)
    columns = {w.path.rpartition("/")[2] for w in plate.meta.wells if w.path.partition("/")[0] == row}
    if columns and not any(f"{row}/{column}" in used for column in columns):
        return  # nothing of this row is wanted
    if taken is not None:
        taken |= groups.others(location, row, columns, taken - columns, listed=True)
        return
    directories, files = groups.contents(location)
    for name in (*directories, *files):
        if name not in columns:
            groups.plan.notes.append(f"{location.child(name).where}: its row is not in the copy; not copied")


def _plan_well(groups: GroupWriter, path: str, entries: Sequence[Entry], acquisitions: Acquisitions) -> None:
    """Plan the document of one well, and what lies in it beside its positions."""
    images = [(entry, acquisitions.number(entry)) for entry in entries if not entry.is_empty]
    parents = {entry.parent.location.where: entry.parent for entry in entries if entry.parent is not None}
    if not parents:
        listed = [ImageMeta(path=e.new_name, acquisition=n) for e, n in images]
        groups.new("well", path, {"well": WellGroupMeta(images=listed).to_json()}, {})
        return
    first, *others = parents.values()
    taken = plan_well_document(groups, first, path, [(e.name, e.new_name, n) for e, n in images])
    for well in others:
        if not versions.only_ours(well.group.attributes):
            groups.plan.notes.append(f"{well.location.where}: attributes of others are not merged")
        taken |= groups.others(well.location, path, _fields(well), taken, listed=True)


def _fields(well: WellEditor) -> set[str]:
    return {image.path for image in well.meta.images}


def plan_well_document(
    groups: GroupWriter, well: WellEditor, target: str, images: Sequence[tuple[str, str, int | None]]
) -> set[str]:
    """Plan the document of a well from that in the source.

    Parameters
    ----------
    groups : GroupWriter
        Takes it.
    well : WellEditor
        The well in the source.
    target : str
        Path of the copy.
    images : sequence of tuple
        Name, new name and acquisition of each field.

    Returns
    -------
    set of str
        Names that are taken in the copy.
    """
    meta = copy.deepcopy(well.meta)
    fields = []
    for name, new, acquisition in images:
        old = meta.image(name) or ImageMeta(path=name)
        fields.append(old.model_copy(update={"path": new, "acquisition": acquisition}))
    same = fields == meta.images and not well.own.intents
    meta.images = fields
    groups.write(well, target, None if same else {"well": meta.to_json()})
    known, taken = _fields(well), {new for _, new, _ in images}
    return taken | groups.others(well.location, target, known, taken - known, listed=True)


@dataclass(frozen=True, slots=True)
class _ChannelsAndAxes:
    channels: tuple[str, ...]
    axes: tuple[str, ...]


class SameLook:
    """Checks that merged positions have the same axes, and what their channels are.

    Parameters
    ----------
    channels_differ : {"keep", "refuse"}
        Whether positions whose channels differ keep their own, or are refused.
    """

    def __init__(self, channels_differ: ChannelsDiffer) -> None:
        self._what = ("channels", "axes") if channels_differ == "refuse" else ("axes",)
        self._first: tuple[str, _ChannelsAndAxes] | None = None
        self._seen: dict[tuple[str, ...], str] = {}

    def note(self) -> str | None:
        """What is to be said of channels that differ; None if all are alike."""
        if len(self._seen) < 2:
            return None
        shown = "; ".join(f"{where} has {', '.join(names)}" for names, where in self._seen.items())
        return f"channels differ, and each position keeps its own ({shown}); a plate shows those of its first"

    def check(self, position: ImageEditor, channels: Sequence[str] | None) -> None:
        """Compare one more position with the first, as far as its channels are chosen.

        Raises
        ------
        ArgumentError
            If its channels or axes differ; the message shows how.
        """
        names = position.channel_names
        if channels is not None and set(channels) <= set(names):
            names = list(channels)
        self._compare(position.location.where, _ChannelsAndAxes(tuple(names), _axes(position)))

    def check_pair(self, plate: PlateEditor, node: AnyEditor, channels: Sequence[str] | None) -> None:
        """Compare a position, or a well, with the plate that it is added to."""
        if plate.channel_names:
            self._compare(plate.location.where, _ChannelsAndAxes(tuple(plate.channel_names), _axes(plate)))
            names = tuple(channels or node.channel_names)
            self._compare(node.location.where, _ChannelsAndAxes(names, _axes(node)))

    def _compare(self, where: str, look: _ChannelsAndAxes) -> None:
        if self._first is None:
            self._first = where, look
        first, expected = self._first
        self._seen.setdefault(look.channels, where)
        for what in self._what:
            ours, theirs = getattr(expected, what), getattr(look, what)
            if ours != theirs:
                lost = [f"- {item}" for item in ours if item not in theirs]
                added = [f"+ {item}" for item in theirs if item not in ours]
                diff = ", ".join([*lost, *added]) or f"order {', '.join(ours)} and {', '.join(theirs)}"
                raise ArgumentError(
                    f"its {what} differ from those of {first}: {diff}",
                    path=where,
                    hint="merge stores that have the same ones; channels= chooses and orders channels"
                    + (", channels_differ='keep' (--channels-differ keep) keeps each" * (what == "channels")),
                )


def _axes(node: AnyEditor) -> tuple[str, ...]:
    return tuple(map(_axis, node.axes))


def _axis(axis: AxisMeta) -> str:
    unit = getattr(axis, "unit", None)
    return f"{axis.name.lower()} ({axis.type}{', ' + unit if unit else ''})"
