"""From sources and options to a plan."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from typing import Any

from platestore.copying.destination import Destination
from platestore.copying.groups import GroupWriter, is_image
from platestore.copying.images import ImagePlanner, MainImage
from platestore.copying.members import CopyMembers, Entry, matches
from platestore.copying.options import CopyOptions
from platestore.copying.plain import plan_plain
from platestore.copying.plan import Plan
from platestore.copying.plates import SameLook, plan_plate, plan_well_document
from platestore.copying.series import OME, has_ome, plan_series
from platestore.errors import ArgumentError, InvalidMetadataError, UnsupportedError
from platestore.spec.versions import Version, sharding
from platestore.storage.base import join
from platestore.storage.hierarchy import read_array, read_group
from platestore.tree.editor import AnyEditor
from platestore.tree.holder import editor_of
from platestore.tree.image import LABELS, ImageEditor, LabelImageEditor
from platestore.tree.location import Location
from platestore.tree.opening import open_editor
from platestore.tree.plate import PlateEditor
from platestore.tree.series import SeriesEditor
from platestore.tree.well import WellEditor


def open_sources(given: Sequence[Any]) -> list[AnyEditor]:
    """Open what is to be copied.

    Raises
    ------
    UnsupportedError
        If it is neither plate nor well, position or series.
    """
    nodes: list[AnyEditor] = []
    for item in given:
        held = editor_of(item)
        if held is None and not isinstance(item, (str, os.PathLike)) and not hasattr(item, "read_only"):
            raise ArgumentError(
                f"{item!r} cannot be copied", hint="name a path, node or zarr Store, or several in a list"
            )
        node = open_editor(item, mode="r") if held is None else held
        if not isinstance(node, (PlateEditor, WellEditor, ImageEditor, SeriesEditor)):
            raise UnsupportedError(
                "is neither a plate nor a well, position or series",
                path=node.location.where,
                hint="copy what holds it, with wells= or positions= (--wells, --positions)",
            )
        node.location.storage.check_unpackable()
        nodes.append(node)
    return nodes


class Planner:
    """Makes the plan of one copy.

    Parameters
    ----------
    nodes : sequence of node
        The sources.
    options : CopyOptions
        What is asked for.
    destination : Destination
        Where the copy goes.
    version : {"0.4", "0.5"}
        Its version.
    """

    def __init__(
        self, nodes: Sequence[AnyEditor], options: CopyOptions, destination: Destination, version: Version
    ) -> None:
        self.plan = Plan()
        self._nodes = nodes
        self._options = options
        self._destination = destination
        self._groups = GroupWriter(self.plan, version, only_ome=options.only_ome)
        self._images = ImagePlanner(self.plan, options, self._groups)
        self._same_version = all(node.location.version == version for node in nodes)

    def make(self) -> Plan:
        """Make the plan."""
        node, several = self._nodes[0], len(self._nodes) > 1
        plain = self._options.is_plain and self._same_version and not several and not self._destination.made
        itself = isinstance(node, ImageEditor) and bool(self._options.moves)
        if plain and plan_plain(self.plan, node.location):
            self.plan.positions = _count(node)
        elif several or isinstance(node, PlateEditor) or self._destination.made or itself:
            self._plate()
        elif isinstance(node, WellEditor):
            self._well(node)
        elif isinstance(node, SeriesEditor):
            self._series(node)
        else:
            assert isinstance(node, ImageEditor)
            CopyMembers([node], self._options, in_plate=False)
            self._groups.register(node.location.where, "")
            self._position(node, "")
        self.plan.note_remarks()
        return self.plan

    def _plate(self) -> None:
        for node in self._nodes:
            if isinstance(node, SeriesEditor):
                raise UnsupportedError(
                    "a series is not merged", path=node.location.where, hint="copy its positions: SERIES/0"
                )
        entries = CopyMembers(self._nodes, self._options, in_plate=True).entries
        options = self._options
        chosen, name = options.selection.channels, self._destination.name
        plan_plate(self._groups, self._nodes, entries, chosen, name, options.axes_case)
        several = len(self._nodes) > 1
        same = SameLook(self._options.channels_differ) if several else None
        self._positions(entries, same=same)
        note = None if same is None else same.note()
        self.plan.notes += [] if note is None else [note]

    def _well(self, well: WellEditor) -> None:
        entries = CopyMembers([well], self._options, in_plate=False).entries
        images = [(e.name, e.new_name, e.acquisition) for e in entries]
        plan_well_document(self._groups, well, "", images)
        self._positions(entries, same=None)

    def _positions(self, entries: Sequence[Entry], same: SameLook | None) -> None:
        entries = [entry for entry in entries if not entry.is_empty]
        for entry in entries:
            self._groups.register(entry.where, entry.path)
        for entry in entries:
            position = entry.open()
            self._groups.register(entry.where, entry.path)  # this copy of it, if there are several
            if same is not None:
                same.check(position, self._options.selection.channels)
            self._position(position, entry.path)

    def _series(self, series: SeriesEditor) -> None:
        options, keys = self._options, series.names()
        if options.wells is not None or options.acquisitions is not None or options.moves:
            raise ArgumentError("a series has no wells and no acquisitions", path=series.location.where)
        for glob in options.positions or ():
            if not any(matches(glob, key) for key in keys):
                raise ArgumentError(
                    f"positions: nothing matches {glob!r}",
                    path=series.location.where,
                    hint=f"images: {keys}",
                )
        kept = [k for k in keys if options.positions is None or any(matches(g, k) for g in options.positions)]
        plan_series(self._groups, series, kept)
        left = {key.partition("/")[0] for key in keys if key not in kept}
        self._members(series.location, "", kept, known={*left, OME} if has_ome(series.location) else left)
        for key in kept:
            self._groups.register(series.location.child(key).where, key)
        for key in kept:
            self._position(series[key], key)

    def _position(self, position: ImageEditor, target: str) -> None:
        """Plan one position, its labels, and what others keep in it."""
        self.plan.positions += 1
        main = self._images.image(position, target)
        contents, place = self._groups.contents(position.location), position.location.child(LABELS)
        known = {LABELS}
        if self._options.labels and LABELS in contents[0]:
            # An array of that name is somebody else's; in zarr v3 the list is in the same document.
            unlike = place.zarr_format == 2 or position.listing() is None
            if unlike and read_array(place.storage, place.path, place.zarr_format) is not None:
                known = set()
            else:
                self._labels(position, join(target, LABELS), main)
        self._members(position.location, target, position.meta.paths(), contents, known=known)

    def _labels(self, position: ImageEditor, target: str, main: MainImage | None) -> None:
        """Plan the label images of a position: those that are listed, or all where nothing lists any."""
        listing, location = position.listing(), position.location.child(LABELS)
        contents = self._groups.contents(location)
        labels = {} if listing is None else {name: listing[name] for name in listing.names()}
        own = None if listing is None else listing.own_list
        if own is None and not labels:
            labels = self._unlisted(position, contents[0])
        new = [name for name in labels if name not in (own or ())]
        if new:
            what = f"its document does not list the label images {', '.join(new)}"
            self.plan.remark(f"{what}; they are copied, and listed", target)
        if listing is not None:
            self._groups.write(listing, target, {"labels": list(labels)} if new else None)
        elif labels or read_group(location.storage, location.path, location.zarr_format) is not None:
            self._groups.new("labels", target, {"labels": list(labels)}, {})
        for name, label in labels.items():
            self._images.image(label, join(target, name), main)
            self._members(label.location, join(target, name), label.meta.paths())
        self._members(location, target, list(labels), contents, listed=True)

    def _unlisted(self, position: ImageEditor, names: Sequence[str]) -> dict[str, LabelImageEditor]:
        """The label images that lie in a position: those of these names that are one."""
        out = {}
        for name in names:
            if is_image(position.location.child(LABELS, name)):
                with contextlib.suppress(InvalidMetadataError):
                    out[name] = position.open_child(LabelImageEditor, LABELS, name)
        return out

    def _members(
        self,
        location: Location,
        target: str,
        paths: Sequence[str],
        contents: tuple[list[str], list[str]] | None = None,
        *,
        known: Iterable[str] = (),
        listed: bool = False,
    ) -> None:
        """Plan what lies beside the members of a group, and the groups between it and deeper ones."""
        inner: dict[str, list[str]] = {}
        for path in paths:
            first, _, rest = path.partition("/")
            inner.setdefault(first, []).extend([rest] if rest else [])
        for name, below in inner.items():
            if below:
                self._groups.bare(location.child(name), join(target, name))
                self._members(location.child(name), join(target, name), below, listed=listed)
        self._groups.others(location, target, {*inner, *known}, (), listed=listed, contents=contents)


def version_of(
    nodes: Sequence[AnyEditor], options: CopyOptions, destination: Destination, plate: PlateEditor | None
) -> Version:
    """Version of the copy.

    Raises
    ------
    ArgumentError
        If the destination cannot have the one that is asked for.
    """
    fixed: Version | None = None
    if destination.place.is_archive:
        fixed = sharding().name
    elif plate is not None:
        fixed = plate.location.version
    if fixed is not None and options.version not in (None, fixed):
        what = f"an archive holds {fixed} (RFC-9)" if plate is None else f"the plate is {fixed}"
        raise ArgumentError(f"the copy cannot be {options.version}: {what}", path=destination.place.final)
    return fixed or options.version or nodes[0].location.version


def _count(node: AnyEditor) -> int:
    if isinstance(node, PlateEditor):
        return sum(len(node.open_child(WellEditor, path).meta.images) for path in node.entries())
    return 1 if isinstance(node, ImageEditor) else len(node.names())
