"""The documents of the plate, its wells and its series of a copy: right for what is in it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from platestore.copying.groups import GroupWriter
from platestore.copying.members import Entry
from platestore.errors import ArgumentError
from platestore.nodes.node import NGFFNode
from platestore.nodes.plate import Plate
from platestore.nodes.position import Position
from platestore.nodes.series import Bioformats2RawSeries
from platestore.nodes.well import Well
from platestore.spec import versions
from platestore.spec.axes import AxisMeta
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
from platestore.storage.hierarchy import read_group


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

    def __init__(self, nodes: Sequence[NGFFNode[Any]], entries: Sequence[Entry], notes: list[str]) -> None:
        self._numbers: dict[tuple[int, int], int] = {}
        self._items: dict[int, AcquisitionMeta] = {}
        self.declared = False
        used = {(entry.source, entry.acquisition or 0) for entry in entries}
        for source, node in enumerate(nodes):
            if not isinstance(node, Plate):
                continue
            for item in node._state().acquisitions or ():
                self.declared = True
                if (source, item.id) in used:
                    number = self._number_of(item)
                    if number != item.id:
                        notes.append(
                            f"acquisition {item.id} of {node._location.where} is {number} in the copy"
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
            numbers = [self.number(entry) or 0 for entry in entries]
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
    nodes: Sequence[NGFFNode[Any]],
    entries: Sequence[Entry],
    channels: Sequence[str] | None,
    name: str,
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
    """
    wells: dict[str, list[Entry]] = {}
    for entry in entries:
        wells.setdefault(entry.new_well, []).append(entry)
    acquisitions = Acquisitions(nodes, entries, groups.plan.notes)
    plates = [node for node in nodes if isinstance(node, Plate)]
    base = plates[0] if plates else None
    meta = copy.deepcopy(base._state()) if base is not None else PlateMeta(rows=[], columns=[], wells=[])
    own = copy.deepcopy(base._own) if base is not None else OwnMeta()
    if len(nodes) > 1 or base is None:
        meta.name = name
    meta.rows, meta.columns, meta.wells = _grid(meta, own, list(wells), plates)
    meta.acquisitions = acquisitions.listed(wells)
    if meta.field_count is not None:
        meta.field_count = len(entries)
    own.intents = None
    _inherited(own, entries[0].node if entries else None, channels)
    if base is not None:
        groups.attributes(
            base._location,
            base._loaded().attributes,
            "plate",
            "",
            {"plate": meta.to_json()},
            own.to_json(),
        )
    else:
        groups.new("plate", "", {"plate": meta.to_json()}, own.to_json())
    _others(groups, plates)
    _rows(groups, wells)
    for path, fields in wells.items():
        _plan_well(groups, path, fields, acquisitions)


def _inherited(own: OwnMeta, first: NGFFNode[Any] | None, channels: Sequence[str] | None) -> None:
    """Channels and axes that positions created later get."""
    if own.channel_names is not None and channels is not None:
        own.channel_names = list(channels)
    if own.channel_names is None and isinstance(first, Position):
        own.channel_names = list(channels or first.channel_names)
        own.axes = first.axes


def _grid(
    meta: PlateMeta, own: OwnMeta, paths: Sequence[str], plates: Sequence[Plate]
) -> tuple[list[PlateAxisMeta], list[PlateAxisMeta], list[WellIndexMeta]]:
    """Rows, columns and wells.

    A list of rows or columns that names more than the wells of the source use, or that is a standard
    format's, describes the physical plate, and stays. Otherwise it names what is used.
    """
    used = [{path.split("/")[i] for path in paths} for i in (0, 1)]
    known: dict[str, WellIndexMeta] = {}
    for plate in plates:
        for path, well in plate._entries().items():
            known.setdefault(path, well)
    before = [{w.path.partition("/")[0] for w in meta.wells}, {w.path.rpartition("/")[2] for w in meta.wells}]
    standard = (len(meta.rows), len(meta.columns)) in PLATE_FORMATS.values()
    axes = []
    for items, names, wanted in ((meta.rows, before[0], used[0]), (meta.columns, before[1], used[1])):
        physical = standard or own.plate_format is not None or {i.name for i in items} - names
        axes.append([item for item in items if physical or item.name in wanted])
    fixed = own.plate_format is not None
    rows, columns = AxisIndex("row", axes[0], fixed=fixed), AxisIndex("column", axes[1], fixed=fixed)
    wells = []
    for path in paths:
        row, column = path.split("/")
        update = {
            "path": path,
            "row_index": rows.resolve(row, None, set),
            "column_index": columns.resolve(column, None, set),
        }
        old = known.get(path)
        wells.append(
            old.model_copy(update=update) if old is not None else WellIndexMeta.model_validate(update)
        )
    return axes[0], axes[1], wells


def _others(groups: GroupWriter, plates: Sequence[Plate]) -> None:
    taken: set[str] = set()
    for plate in plates[1:]:
        if not versions.only_ours(plate._loaded().attributes):
            groups.plan.notes.append(f"{plate._location.where}: attributes of others are not merged")
    for plate in plates:
        meta = plate._state()
        known = {row.name for row in meta.rows} | {well.path.partition("/")[0] for well in meta.wells}
        taken |= groups.others(plate._location, "", known, taken, listed=True)


def _rows(groups: GroupWriter, wells: dict[str, list[Entry]]) -> None:
    """Rows: groups without a document of the specification, but maybe with one of others."""
    done: set[str] = set()
    for path, entries in wells.items():
        row, node = path.partition("/")[0], entries[0].node
        if row in done:
            continue
        done.add(row)
        if isinstance(node, Plate) and entries[0].well.partition("/")[0] == row:
            location = node._location.child(row)
            groups.bare(location, row)
            columns = {
                w.path.rpartition("/")[2] for w in node._state().wells if w.path.partition("/")[0] == row
            }
            groups.others(location, row, columns, set(), listed=True)
        else:
            groups.new("unknown", row, {}, {})


def _plan_well(groups: GroupWriter, path: str, entries: Sequence[Entry], acquisitions: Acquisitions) -> None:
    """Plan the document of one well, and what lies in it beside its positions."""
    images = [(entry, acquisitions.number(entry)) for entry in entries]
    well = entries[0].parent
    if well is None:
        listed = [ImageMeta(path=e.new_name, acquisition=n) for e, n in images]
        groups.new("well", path, {"well": WellGroupMeta(images=listed).to_json()}, {})
        return
    plan_well_document(groups, well, path, [(e.name, e.new_name, n) for e, n in images])


def plan_well_document(
    groups: GroupWriter, well: Well, target: str, images: Sequence[tuple[str, str, int | None]]
) -> None:
    """Plan the document of a well from that in the source.

    Parameters
    ----------
    groups : GroupWriter
        Takes it.
    well : Well
        The well in the source.
    target : str
        Path of the copy.
    images : sequence of tuple
        Name, new name and acquisition of each field.
    """
    meta = copy.deepcopy(well._state())
    fields = []
    for name, new, acquisition in images:
        old = meta.image(name) or ImageMeta(path=name)
        fields.append(old.model_copy(update={"path": new, "acquisition": acquisition}))
    same = fields == meta.images and not well._own.intents
    meta.images = fields
    groups.write(well, target, None if same else {"well": meta.to_json()})
    groups.others(well._location, target, {i.path for i in well._state().images}, set(), listed=True)


def plan_series(groups: GroupWriter, series: Bioformats2RawSeries, kept: Sequence[str]) -> None:
    """Plan the documents of a collection, and its ``OME`` group.

    ``OME/METADATA.ome.xml`` describes all images in their order: it stays behind when some do.
    """
    location = series._location
    root = copy.deepcopy(series._loaded().attributes)
    inner = location.child("OME")
    group = read_group(inner.storage, inner.path, inner.zarr_format)
    whole = list(kept) == series._keys()
    attributes = copy.deepcopy(group.attributes) if group is not None else {}
    at_root = "series" in versions.series_parts(root, location.zarr_format)
    if not whole:

        def change(ome: dict[str, Any]) -> None:
            ome["series"] = list(kept)

        if at_root:
            versions.edit_container(root, location.version, change)
        if not at_root or "series" in versions.series_parts(attributes, location.zarr_format):
            versions.edit_container(attributes, location.version, change)
    groups.attributes(location, root, "series", "")
    if group is not None or attributes:
        groups.attributes(inner, attributes, "series", "OME")
    left = set() if whole else {"METADATA.ome.xml"}
    if group is not None:
        groups.others(inner, "OME", left, (), listed=False)
    if not whole and inner.storage.size_of(inner.child("METADATA.ome.xml").path) is not None:
        groups.plan.notes.append("OME/METADATA.ome.xml describes images that are not copied: left behind")
    known = {path.partition("/")[0] for path in series._keys()} | {"OME"}
    groups.others(location, "", known, set(), listed=False)


@dataclass(frozen=True, slots=True)
class _Look:
    channels: tuple[str, ...]
    axes: tuple[str, ...]


class SameLook:
    """Checks that merged positions have the same channels and axes."""

    def __init__(self) -> None:
        self._first: tuple[str, _Look] | None = None

    def check(self, position: Position, channels: Sequence[str] | None) -> None:
        """Compare one more position with the first, as far as its channels are chosen.

        Raises
        ------
        ArgumentError
            If its channels or axes differ; the message shows how.
        """
        names = position.channel_names
        if channels is not None and set(channels) <= set(names):
            names = list(channels)
        self._compare(position._location.where, _Look(tuple(names), _axes(position)))

    def check_pair(self, plate: Plate, node: NGFFNode[Any], channels: Sequence[str] | None) -> None:
        """Compare a position, or a well, with the plate that it is added to."""
        if plate.channel_names:
            self._compare(plate._location.where, _Look(tuple(plate.channel_names), _axes(plate)))
            self._compare(node._location.where, _Look(tuple(channels or node.channel_names), _axes(node)))

    def _compare(self, where: str, look: _Look) -> None:
        if self._first is None:
            self._first = where, look
        first, expected = self._first
        for what in ("channels", "axes"):
            ours, theirs = getattr(expected, what), getattr(look, what)
            if ours != theirs:
                lost = [f"- {item}" for item in ours if item not in theirs]
                added = [f"+ {item}" for item in theirs if item not in ours]
                diff = ", ".join([*lost, *added]) or f"order {', '.join(ours)} and {', '.join(theirs)}"
                raise ArgumentError(
                    f"its {what} differ from those of {first}: {diff}",
                    path=where,
                    hint="merge stores that have the same ones; channels= chooses and orders channels",
                )


def _axes(node: NGFFNode[Any]) -> tuple[str, ...]:
    return tuple(map(_axis, node.axes))


def _axis(axis: AxisMeta) -> str:
    unit = getattr(axis, "unit", None)
    return f"{axis.name.lower()} ({axis.type}{', ' + unit if unit else ''})"
