"""Which positions of which sources are copied, and where each of them goes."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from platestore.copying.options import CopyOptions
from platestore.copying.selection import split_channels
from platestore.errors import ArgumentError, NodeExistsError
from platestore.spec.names import check_field_name
from platestore.storage.base import join
from platestore.tree.editor import AnyEditor
from platestore.tree.image import ImageEditor
from platestore.tree.plate import PlateEditor
from platestore.tree.series import SeriesEditor
from platestore.tree.well import WellEditor

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Entry:
    """One position that is copied into a plate or a well.

    Attributes
    ----------
    source : int
        Number of its source.
    node : PlateEditor, WellEditor or ImageEditor
        That source.
    parent : WellEditor or None
        Its well, unless it is a source by itself.
    well, name : str
        Path of its well, and its name there.
    acquisition : int or None
        Its acquisition.
    new_well, new_name : str
        The same in the copy. Both names are empty for a well that lists no position.
    """

    source: int
    node: AnyEditor
    parent: WellEditor | None
    well: str
    name: str
    acquisition: int | None
    new_well: str
    new_name: str

    @property
    def is_empty(self) -> bool:
        """Whether it is a well without a position."""
        return not self.name

    @property
    def old_path(self) -> str:
        """Path in its source."""
        return join(self.well, self.name)

    @property
    def path(self) -> str:
        """Path in the copy."""
        return join(self.new_well, self.new_name)

    @property
    def where(self) -> str:
        """Path in the source, as users know it."""
        location = self.node.location if self.parent is None else self.parent.location.child(self.name)
        return location.where

    def open(self) -> ImageEditor:
        """Open the position."""
        position: ImageEditor = self.node if self.parent is None else self.parent[self.name]  # type: ignore[assignment]
        return position


class CopyMembers:
    """The positions that are copied.

    Parameters
    ----------
    nodes : sequence of node
        The sources: plates, wells, positions.
    options : CopyOptions
        What is asked for.
    in_plate : bool
        Whether they go into a plate, and so need the name of a well.
    """

    def __init__(self, nodes: Sequence[AnyEditor], options: CopyOptions, *, in_plate: bool) -> None:
        self._options = options
        self._in_plate = in_plate
        self._moves = _Moves(options, len(nodes))
        self._matched: set[str] = set()
        found = [entry for i, node in enumerate(nodes) for entry in self._of(i, node)]
        self._check_globs(nodes)
        self._moves.check_used()
        chosen = options.positions or options.wells or options.acquisitions
        if not found and (chosen or not all(isinstance(node, (PlateEditor, WellEditor)) for node in nodes)):
            raise ArgumentError("nothing is left to be copied", hint=self._hint())
        _check_unique(found)
        self.entries = found

    def _hint(self) -> str:
        if self._options.acquisitions is not None:
            return f"no field has acquisition {', '.join(map(str, self._options.acquisitions))}"
        return "positions=, wells= and acquisition= leave nothing, or the source is empty"

    def _of(self, number: int, node: AnyEditor) -> Iterator[Entry]:
        for parent, well, name, acquisition in self._places(node):
            path = join(well, name)
            itself = isinstance(node, ImageEditor)
            new_well, new_name = self._moves.apply(number, well, name, itself=itself)
            if not (self._takes(well, path) and self._acquired(acquisition)):
                continue
            if self._in_plate and new_well.count("/") != 1:
                raise ArgumentError(
                    "is no position of a plate, and has no well",
                    path=node.location.where,
                    hint="name one in the map: from '.', to 'A/1/0'",
                )
            yield Entry(number, node, parent, well, name, acquisition, new_well, new_name)

    def _places(self, node: AnyEditor) -> Iterator[tuple[WellEditor | None, str, str, int | None]]:
        """Well, its path, name and acquisition of each position of a source."""
        if isinstance(node, ImageEditor):
            yield None, *(own_place(node) if self._in_plate else ("", ".", None))
            return
        wells: dict[str, WellEditor] = {}
        if isinstance(node, PlateEditor):
            wells = {path: node.open_child(WellEditor, path) for path in node.entries()}
        elif isinstance(node, WellEditor):
            wells = {own_well(node) if self._in_plate else "": node}
        for path, well in wells.items():
            images = well.meta.images
            for image in images:
                yield well, path, image.path, image.acquisition
            if (
                not images
                and isinstance(node, PlateEditor)
                and not (self._options.positions or self._options.acquisitions)
            ):
                yield well, path, "", None

    def _takes(self, well: str, path: str) -> bool:
        taken = True
        for globs, name in ((self._options.wells, well), (self._options.positions, path)):
            if globs is not None:
                hits = [glob for glob in globs if matches(glob, name)]
                self._matched.update(hits)
                taken = taken and bool(hits)
        return taken

    def _acquired(self, acquisition: int | None) -> bool:
        return self._options.acquisitions is None or (acquisition or 0) in self._options.acquisitions

    def _check_globs(self, nodes: Sequence[AnyEditor]) -> None:
        """Refuse a glob that matches nothing: it is a mistake more often than not."""
        for option, globs in (("wells", self._options.wells), ("positions", self._options.positions)):
            for glob in globs or ():
                if glob not in self._matched:
                    raise ArgumentError(
                        f"{option}: nothing matches {glob!r}",
                        path=nodes[0].location.where,
                        hint="`platestore ls` lists the positions",
                    )


def with_known_channels(options: CopyOptions, nodes: Sequence[AnyEditor]) -> CopyOptions:
    """The same with texts such as ``"GFP,DAPI"`` taken apart, unless a channel has such a name."""
    given = options.selection.channels or ()
    if not any("," in text for text in given):
        return options
    known: set[str] = set()
    for node in nodes:
        if isinstance(node, (PlateEditor, WellEditor, SeriesEditor)):
            for _, position in node.positions():
                known.update(position.channel_names)
        else:
            known.update(node.channel_names)
    names = tuple(split_channels(given, known))
    return replace(options, selection=replace(options.selection, channels=names))


def own_well(well: AnyEditor) -> str:
    """Path of a well in its plate; empty for one that lies in none."""
    inside = well.upkeep.plate_around(well.location, 2) is not None
    return "/".join(well.location.path.split("/")[-2:]) if inside else ""


def own_place(node: AnyEditor) -> tuple[str, str, int | None]:
    """Well, name and acquisition of a position that is a source by itself."""
    above = node.location.parent(1)
    segments = node.location.path.split("/")
    if above is not None and len(segments) >= 3 and node.upkeep.plate_around(node.location, 3) is not None:
        listed = WellEditor(above, node.upkeep).meta.image(segments[-1])
        acquisition = None if listed is None else listed.acquisition
        return "/".join(segments[-3:-1]), segments[-1], acquisition
    return "", ".", None


def matches(glob: str, path: str) -> bool:
    """Whether a path matches a glob, segment by segment; a shorter glob takes all below what it matches."""
    options, parts = glob.split("/"), path.split("/")
    return len(options) <= len(parts) and all(
        fnmatch.fnmatchcase(part, pattern) for pattern, part in zip(options, parts, strict=False)
    )


class _Moves:
    """The map of wells and positions."""

    def __init__(self, options: CopyOptions, sources: int) -> None:
        self._table: dict[tuple[int | None, str], str] = {}
        self._used: set[tuple[int | None, str]] = set()
        for source, old, new in options.moves:
            if source is not None and source >= sources:
                raise ArgumentError(f"map: there is no source {source + 1}", hint=f"there are {sources}")
            if self._table.setdefault((source, old), new) != new:
                raise ArgumentError(f"map: {old!r} has two new places")
            for part, kind in zip(new.split("/"), ("row", "column", "position"), strict=False):
                check_field_name(part, kind)

    def apply(self, source: int, well: str, name: str, *, itself: bool) -> tuple[str, str]:
        """New well and name of a position (``itself``: that is a source)."""
        path = join(well, name)
        for key in ((source, "."), (None, ".")) if itself else ():
            if key in self._table:
                path = "."
        for key in ((source, path), (None, path)) if name else ():
            if key in self._table:
                self._used.add(key)
                new_well, _, new_name = self._table[key].rpartition("/")
                return (new_well, new_name) if "/" in new_well else (self._table[key], "0")
        for key in ((source, well), (None, well)):
            if key in self._table:
                self._used.add(key)
                return self._table[key], name
        return well, name

    def check_used(self) -> None:
        """Refuse entries that match nothing."""
        unused = [key[1] for key in self._table if key not in self._used]
        if unused:
            raise ArgumentError(
                f"map: {', '.join(map(repr, unused[:_SHOWN]))} is not in the sources",
                hint="`platestore ls` lists the wells and positions",
            )


def _check_unique(entries: Sequence[Entry]) -> None:
    """Refuse two positions with one place."""
    first: dict[str, Entry] = {}
    clashes = []
    for entry in (e for e in entries if not e.is_empty):
        other = first.setdefault(entry.path, entry)
        if other is not entry:
            clashes.append(entry)
    if clashes:
        shown = "; ".join(f"{e.path} is {first[e.path].where} and {e.where}" for e in clashes[:_SHOWN])
        raise NodeExistsError(
            f"{len(clashes)} positions clash: {shown}",
            hint="give them other places with a map (map=, --map), or choose with positions=",
        )
