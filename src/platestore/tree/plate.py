"""Editors of a plate and of its rows, which have no document of their own in the specification."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Self

from platestore.errors import InvalidMetadataError, InvalidNameError, NodeKeyError
from platestore.spec.axes import AxisMeta
from platestore.spec.base import Model, read_model
from platestore.spec.findings import Finding
from platestore.spec.names import normalise_key, spelled_as_listed, split_path
from platestore.spec.own import Intent, OwnMeta
from platestore.spec.plate import PlateMeta, WellIndexMeta
from platestore.spec.values import Json
from platestore.spec.versions import Kind
from platestore.storage.documents import Document
from platestore.storage.hierarchy import Group, attributes_key, read_group
from platestore.tree.editor import Draft, Editor
from platestore.tree.image import ImageEditor
from platestore.tree.well import WellEditor

_PLAIN_WELL = re.compile(r"[A-Za-z0-9]{1,255}/[A-Za-z0-9]{1,255}")


class PlateEditor(Editor[PlateMeta]):
    """Editor of a plate: rows, columns and wells."""

    kind: ClassVar[Kind] = "plate"
    title = "Plate"
    _inherited: tuple[list[str], list[AxisMeta]] | None = None
    _by_path: dict[str, WellIndexMeta] | None = None
    _dumped: dict[int, tuple[WellIndexMeta, Json]] | None = None
    _documents: dict[str, list[tuple[str, bytes]]] | None = None

    def parse_parts(self, parts: Mapping[str, Any]) -> tuple[PlateMeta, list[Finding]]:
        """Parse the plate."""
        where = self.location.where
        if "plate" not in parts and self.given_names is not None:
            # A new node over a bare group.
            return PlateMeta(rows=[], columns=[], wells=[], name=self.location.name), []
        if "plate" not in parts:
            raise InvalidMetadataError("there is no plate metadata", path=where)
        meta, findings = read_model(PlateMeta, parts["plate"], location="plate", path=where)
        for i, well in enumerate(meta.wells):
            if not _PLAIN_WELL.fullmatch(well.path):
                split_path(well.path, location=f"plate.wells[{i}].path", document=where)
        return meta, findings

    def parts(self, meta: PlateMeta) -> Json:
        """The JSON of the plate; that of wells which are known from the last time is not made anew."""
        if self._exposed or self._dumped is None:
            self._dumped = {}
        known, wells = self._dumped, []
        for well in meta.wells:
            found = known.get(id(well))
            wells.append((well, found[1] if found is not None else well.to_json()))
        # The models are kept with their JSON, so that no other one can get the identity of a lost one.
        self._dumped = {id(well): (well, entry) for well, entry in wells}
        head = meta.model_copy(update={"wells": []}).to_json()
        return {"plate": {**head, "wells": [entry for _, entry in wells]}}

    def _members_of(self, meta: PlateMeta) -> list[str]:
        return [well.path for well in meta.wells]

    @property
    def blank_documents(self) -> dict[str, list[tuple[str, bytes]]]:
        """Documents of positions without an image, by name, as they were last serialised."""
        if self._documents is None:
            self._documents = {}
        return self._documents

    @property
    def summary(self) -> str:
        """Number of wells in hand."""
        return "" if self._meta is None else f" wells={len(self._meta.wells)}"

    def _forget(self) -> None:
        self._by_path = None

    def refresh(self) -> Self:
        """Read the plate's document again, after another process changed it."""
        self._inherited = self._dumped = self._documents = None
        return super().refresh()

    # --- names and axes ---------------------------------------------------------------------------

    @property
    def channel_names(self) -> list[str]:
        """Channel names of the first position, or those the plate was created with."""
        return list(self.inheritance()[0])

    @property
    def axes(self) -> list[AxisMeta]:
        """Axes of the first position, or those the plate was created with."""
        return list(self.inheritance()[1])

    def inheritance(self) -> tuple[list[str], list[AxisMeta]]:
        """Channel names and axes that new positions get; looked up once."""
        if self._inherited is None:
            first = self._first_position()
            own = self.own
            if first is not None:
                self._inherited = first.channel_names, first.axes
            else:
                names = own.channel_names if own.channel_names is not None else super().channel_names
                self._inherited = names, own.axes or super().axes
        return self._inherited

    def _handed_down(self) -> tuple[list[str] | None, list[AxisMeta] | None]:
        return super()._handed_down() if self._inherited is None else self._inherited

    def _first_position(self) -> ImageEditor | None:
        for _, well in self._open_wells(list(self.entries())[:1]):
            for _, position in well.positions():
                return position
        return None

    # --- members ----------------------------------------------------------------------------------

    def entries(self) -> dict[str, WellIndexMeta]:
        """The listed wells by path, and those that a rename under way has unlisted for a moment."""
        meta = self.meta
        if self._by_path is None:
            found = [(well.path, well) for well in meta.in_order()]
            listed = {well.path for well in meta.wells}
            for intent in self.own.intents or ():
                if intent.operation == "move" and intent.target and intent.entry:
                    place = self.location.child(intent.path)
                    here = read_group(place.storage, place.path, place.zarr_format)
                    path = intent.path if here is not None else intent.target
                    entry = {**intent.entry["well"], "path": path}
                    if path not in listed:
                        index = intent.entry.get("index")
                        index = index if isinstance(index, int) else len(found)
                        found.insert(index, (path, WellIndexMeta.model_validate(entry)))
            self._by_path = dict(found)
        return self._by_path

    def names(self) -> list[str]:
        """Names of the rows that have wells."""
        used = {path.partition("/")[0] for path in self.entries()}
        order = [row.name for row in self.meta.rows if row.name in used]
        return order + [name for name in sorted(used) if name not in order]

    def spelled(self, key: object) -> str:
        """A key as a path, its well spelled as the plate spells it."""
        return spelled_as_listed(normalise_key(key), self.entries().keys())

    def __contains__(self, key: object) -> bool:
        try:
            parts = self.spelled(key).split("/")
        except InvalidNameError:
            return False
        if len(parts) == 1:
            return parts[0] in self.names()
        path = "/".join(parts[:2])
        if path not in self.entries():
            return False
        return len(parts) == 2 or "/".join(parts[2:]) in self[path]

    def __getitem__(self, key: str | int | tuple[str | int, ...]) -> Any:
        """A row, a well, a position or an array by its path; see :class:`Plate`."""
        path = self.spelled(key)
        parts = path.split("/")
        if len(parts) == 1:
            if parts[0] not in self.names():
                raise NodeKeyError(
                    f"there is no row {path!r}",
                    path=self.location.where,
                    hint=f"rows with wells: {', '.join(self.names()) or 'none'}",
                )
            return self.open_child(RowEditor, path)
        well_path = "/".join(parts[:2])
        if well_path not in self.entries():
            raise NodeKeyError(
                f"there is no well {well_path!r}", path=self.location.where, hint=self.wells_hint()
            )
        well = self.open_child(WellEditor, well_path)
        return well["/".join(parts[2:])] if len(parts) > 2 else well

    def wells_hint(self) -> str:
        """Which wells there are, for errors."""
        paths = list(self.entries())
        shown = ", ".join(paths[:8]) or "none"
        return f"wells: {shown}" + (f" and {len(paths) - 8} more" if len(paths) > 8 else "")

    def wells(self) -> Iterator[tuple[str, WellEditor]]:
        """Paths and editors of the wells: along the rows, then the columns of the plate."""
        return self._open_wells(list(self.entries()))

    def _open_wells(self, paths: Iterable[str]) -> Iterator[tuple[str, WellEditor]]:
        return self.open_each(paths, lambda path: self.open_child(WellEditor, path))

    def positions(self) -> Iterator[tuple[str, ImageEditor]]:
        """Paths and editors of the positions, well by well."""
        for path, well in self.wells():
            for name, position in well.positions():
                yield f"{path}/{name}", position

    def relist(self, draft: Draft[PlateMeta], intent: Intent) -> None:
        """List a well under its new name."""
        entry = intent.entry or {}
        if all(well.path != intent.target for well in draft.meta.wells):
            draft.meta.wells.insert(entry.get("index", 0), WellIndexMeta.model_validate(entry["well"]))


class RowEditor(Editor[Model]):
    """Editor of a row of a plate; its wells are those that the plate lists."""

    title = "Row"

    def refresh(self) -> Self:
        """Read the row's attributes again; some writers give rows no document at all."""
        location = self.location
        group = read_group(location.storage, location.path, location.zarr_format)
        if group is None:
            key = attributes_key(location.path, location.zarr_format)
            group = Group(location.path, location.zarr_format, Document(key, {}))
        self.load(group)
        return self

    def parse(self, attributes: Mapping[str, Any]) -> tuple[Model, OwnMeta, list[Finding]]:
        """A row has no metadata."""
        return Model(), self.own, []

    def plate(self) -> PlateEditor:
        """The plate of this row."""
        owner = self.owner
        plate = owner if isinstance(owner, PlateEditor) else self.upkeep.plate_around(self.location, 1)
        if not isinstance(plate, PlateEditor):
            raise NodeKeyError("the row is not part of a plate", path=self.location.where)
        self.owner = plate
        return plate

    @property
    def name(self) -> str:
        """Name of the row."""
        return self.location.name

    @property
    def summary(self) -> str:
        """The wells."""
        return f" wells={self.names()}"

    @property
    def channel_names(self) -> list[str]:
        """Channel names of the plate."""
        return self.plate().channel_names

    @property
    def axes(self) -> list[AxisMeta]:
        """Axes of the plate."""
        return self.plate().axes

    def names(self) -> list[str]:
        """Names of the columns in which the row has wells."""
        prefix = f"{self.name}/"
        return [path.removeprefix(prefix) for path in self.plate().entries() if path.startswith(prefix)]

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, (str, int)) or isinstance(key, bool):
            return False
        return f"{self.name}/{str(key).strip('/')}" in self.plate()

    def __getitem__(self, key: int | str) -> Any:
        """A well by the name of its column, or something below it by path."""
        return self.plate()[f"{self.name}/{normalise_key(key)}"]

    def wells(self) -> Iterator[tuple[str, WellEditor]]:
        """Names of the columns and editors of the wells."""
        prefix = f"{self.name}/"
        for path, well in self.plate().wells():
            if path.startswith(prefix):
                yield path.removeprefix(prefix), well
