"""A plate: rows, columns, wells and their positions."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from platestore.errors import InvalidMetadataError, InvalidNameError, NodeKeyError
from platestore.nodes.draft import Draft
from platestore.nodes.location import Location
from platestore.nodes.node import NGFFNode
from platestore.nodes.position import Position
from platestore.nodes.row import Row
from platestore.nodes.well import Well
from platestore.spec import versions
from platestore.spec.axes import AxisMeta
from platestore.spec.base import read_model
from platestore.spec.findings import Finding
from platestore.spec.names import normalise_key, spelled_as_listed, split_path
from platestore.spec.own import Intent
from platestore.spec.plate import PlateMeta, WellIndexMeta
from platestore.spec.versions import Kind
from platestore.storage.hierarchy import read_group

if TYPE_CHECKING:
    import numpy.typing as npt

    from platestore.arrays.codecs import CompressorLike
    from platestore.arrays.layout import Shards
    from platestore.spec.transforms import TransformationMeta

_PLAIN_WELL = re.compile(r"[A-Za-z0-9]{1,255}/[A-Za-z0-9]{1,255}")

#: ``(row, column, position[, row_index[, column_index[, acquisition]]])``
PositionSpec: TypeAlias = (
    tuple[str, str, str]
    | tuple[str, str, str, int | None]
    | tuple[str, str, str, int | None, int | None]
    | tuple[str, str, str, int | None, int | None, int]
)


class Plate(NGFFNode[PlateMeta]):
    """The root of a high-content-screening hierarchy: plate / row / column (well) / position.

    Parameters
    ----------
    group : zarr.Group
        The group.
    parse_meta : bool
        Whether to read its metadata.
    channel_names : list of str, optional
        Channel names of new positions.
    axes : list of AxisMeta, optional
        Axes of new positions.
    overwriting_creation : bool
        Whether creating a well or position that exists replaces it.

    Notes
    -----
    Navigation follows the metadata: rows, then columns, by their places on the plate, whatever the order of
    creation. Iterating over a plate gives the names of its rows.
    """

    _kind: ClassVar[Kind] = "plate"
    _inherited: tuple[list[str], list[AxisMeta]] | None = None
    _by_path: dict[str, WellIndexMeta] | None = None
    _dumped: dict[int, tuple[WellIndexMeta, dict[str, Any]]] | None = None
    _documents: dict[str, list[tuple[str, bytes]]] | None = None

    def _parse_parts(self, parts: Mapping[str, Any]) -> tuple[PlateMeta, list[Finding]]:
        where = self._location.where
        if "plate" not in parts and self._given_names is not None:
            # A new node over a bare group.
            return PlateMeta(rows=[], columns=[], wells=[], name=self._location.name), []
        if "plate" not in parts:
            raise InvalidMetadataError("there is no plate metadata", path=where)
        meta, findings = read_model(PlateMeta, parts["plate"], location="plate", path=where)
        for i, well in enumerate(meta.wells):
            if not _PLAIN_WELL.fullmatch(well.path):
                split_path(well.path, location=f"plate.wells[{i}].path", document=where)
        return meta, findings

    def _parts(self, meta: PlateMeta) -> dict[str, Any]:
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
    def _blank_documents(self) -> dict[str, list[tuple[str, bytes]]]:
        """Documents of positions without an image, by name, as they were last serialised."""
        if self._documents is None:
            self._documents = {}
        return self._documents

    def _summary(self) -> str:
        return "" if self._meta is None else f" wells={len(self._meta.wells)}"

    def _forget(self) -> None:
        self._by_path = None

    def refresh(self) -> Plate:
        """Read the plate's document again, after another process changed it."""
        self._inherited = self._dumped = self._documents = None
        return super().refresh()

    # --- names and axes ---------------------------------------------------------------------------

    @property
    def channel_names(self) -> list[str]:
        """Channel names of the first position, or those the plate was created with.

        New positions get them. Positions may have others (``create_position(..., channel_names=)``, merged
        imaging cycles): ``position.channel_names`` tells.
        """
        return list(self._inheritance()[0])

    @property
    def axes(self) -> list[AxisMeta]:
        """Axes of the first position, or those the plate was created with."""
        return list(self._inheritance()[1])

    def _inheritance(self) -> tuple[list[str], list[AxisMeta]]:
        """Channel names and axes that new positions get; looked up once."""
        if self._inherited is None:
            first = self._first_position()
            own = self._own
            if first is not None:
                self._inherited = first.channel_names, first.axes
            else:
                names = own.channel_names if own.channel_names is not None else super().channel_names
                self._inherited = names, own.axes or super().axes
        return self._inherited

    def _first_position(self) -> Position | None:
        for _, well in self._open_wells(list(self._entries())[:1]):
            for _, position in well.positions():
                return position
        return None

    # --- members ----------------------------------------------------------------------------------

    def _entries(self) -> dict[str, WellIndexMeta]:
        """The listed wells by path, and those that a rename under way has unlisted for a moment."""
        meta = self._state()
        if self._by_path is None:
            found = [(well.path, well) for well in meta.in_order()]
            listed = {well.path for well in meta.wells}
            for intent in self._own.intents or ():
                if intent.operation == "move" and intent.target and intent.entry:
                    here = read_group(
                        self._location.storage,
                        self._location.child(intent.path).path,
                        self._location.zarr_format,
                    )
                    path = intent.path if here is not None else intent.target
                    entry = {**intent.entry["well"], "path": path}
                    if path not in listed:
                        place = intent.entry.get("index")
                        place = place if isinstance(place, int) else len(found)
                        found.insert(place, (path, WellIndexMeta.model_validate(entry)))
            self._by_path = dict(found)
        return self._by_path

    def _keys(self) -> list[str]:
        used = {path.partition("/")[0] for path in self._entries()}
        order = [row.name for row in self._state().rows if row.name in used]
        return order + [name for name in sorted(used) if name not in order]

    def _spelled(self, key: object) -> str:
        """A key as a path, its well spelled as the plate spells it."""
        return spelled_as_listed(normalise_key(key), self._entries().keys())

    def _ipython_key_completions_(self) -> list[str]:
        """Keys that IPython offers: rows and wells."""
        return [*self._keys(), *self._entries()]

    def __contains__(self, key: object) -> bool:
        try:
            parts = self._spelled(key).split("/")
        except InvalidNameError:
            return False
        if len(parts) == 1:
            return parts[0] in self._keys()
        path = "/".join(parts[:2])
        if path not in self._entries():
            return False
        return len(parts) == 2 or "/".join(parts[2:]) in self[path]

    def __getitem__(self, key: str | int | tuple[str | int, ...]) -> Any:
        """Get a row (``"A"``), well (``"A/1"``), position (``"A/1/0"``) or array (``"A/1/0/0"``).

        Parameters
        ----------
        key : str or tuple
            A path by the metadata. A well may also be written ``"A1"``, ``("A", 1)`` or, whatever zeros the
            plate puts before its numbers, ``"A/01"``; what is listed literally goes first.

        Raises
        ------
        NodeKeyError
            If the metadata lists no such member.
        DanglingError
            If it is listed, but not there.
        """
        path = self._spelled(key)
        parts = path.split("/")
        if len(parts) == 1:
            if parts[0] not in self._keys():
                raise NodeKeyError(
                    f"there is no row {path!r}",
                    path=self._location.where,
                    hint=f"rows with wells: {', '.join(self._keys()) or 'none'}",
                )
            return self._open_child(Row, path)
        well_path = "/".join(parts[:2])
        if well_path not in self._entries():
            raise NodeKeyError(
                f"there is no well {well_path!r}", path=self._location.where, hint=self._wells_hint()
            )
        well = self._open_child(Well, well_path)
        return well["/".join(parts[2:])] if len(parts) > 2 else well

    def _wells_hint(self) -> str:
        paths = list(self._entries())
        shown = ", ".join(paths[:8]) or "none"
        return f"wells: {shown}" + (f" and {len(paths) - 8} more" if len(paths) > 8 else "")

    def _hand_down(self, node: NGFFNode[Any], location: Location) -> None:
        super()._hand_down(node, location)
        if self._inherited is not None:
            node._given_names, node._given_axes = self._inherited

    def rows(self) -> Iterator[tuple[str, Row]]:
        """Iterate over the rows that have wells, in the order of the plate.

        Yields
        ------
        tuple of str and Row
            Name and node.
        """
        for name in self._keys():
            yield name, self[name]

    def wells(self) -> Iterator[tuple[str, Well]]:
        """Iterate over the wells: along the rows, then the columns of the plate.

        One that cannot be opened is reported by a warning, and the others follow.

        Yields
        ------
        tuple of str and Well
            Path (``"A/1"``) and node.
        """
        return self._open_wells(list(self._entries()))

    def _open_wells(self, paths: Iterable[str]) -> Iterator[tuple[str, Well]]:
        return self._open_each(paths, lambda path: self._open_child(Well, path))

    def positions(self) -> Iterator[tuple[str, Position]]:
        """Iterate over the positions: along rows, then columns, in each well in the order of its metadata.

        One that cannot be opened is reported by a warning, and the others follow.

        Yields
        ------
        tuple of str and Position
            Path (``"A/1/0"``) and node.
        """
        for path, well in self.wells():
            for name, position in well.positions():
                yield f"{path}/{name}", position

    def set_axes_case(self, case: Literal["lower"]) -> None:
        """Put the names of axes into lower case in all positions: see :meth:`Position.set_axes_case`.

        Positions that cannot be opened are warned of, and left alone.
        """
        from platestore.nodes.axes_case import check_axes_case, set_plate_axes

        check_axes_case(case)
        set_plate_axes(self)

    # --- creation ---------------------------------------------------------------------------------

    def create_well(
        self, row_name: str, col_name: str, row_index: int | None = None, col_index: int | None = None
    ) -> Well:
        """Create a well without positions.

        Parameters
        ----------
        row_name, col_name : str
            Names of the row and column, alphanumeric.
        row_index, col_index : int, optional
            Their indices; by default names are listed in order of creation.

        Returns
        -------
        Well

        Raises
        ------
        NodeExistsError
            If it exists, unless the plate was opened with ``overwriting_creation=True``.
        InvalidNameError
            If a name is not alphanumeric.
        """
        from platestore.nodes.growth import add_well

        add_well(self, row_name, col_name, row_index, col_index)
        well: Well = self[f"{row_name}/{col_name}"]
        return well

    def create_position(
        self,
        row_name: str,
        col_name: str,
        pos_name: str,
        row_index: int | None = None,
        col_index: int | None = None,
        acq_index: int = 0,
        *,
        channel_names: Sequence[str] | None = None,
    ) -> Position:
        """Create a position, and its well if that is new.

        Parameters
        ----------
        row_name, col_name, pos_name : str
            Names of the row, column and position, alphanumeric.
        row_index, col_index : int, optional
            Indices of the row and column; by default names are listed in order of creation.
        acq_index : int
            Identifier of the acquisition.
        channel_names : sequence of str, optional
            Names of its channels, as of another imaging cycle; :attr:`channel_names` by default.

        Returns
        -------
        Position
            The position, without an image.

        Raises
        ------
        NodeExistsError
            If it exists, unless the plate was opened with ``overwriting_creation=True``.
        InvalidNameError
            If a name is not alphanumeric.
        """
        spec = (row_name, col_name, pos_name, row_index, col_index, acq_index)
        return self.create_positions([spec], channel_names=channel_names)[0]

    def create_positions(
        self,
        positions: Sequence[PositionSpec],
        shape: Sequence[int] | None = None,
        dtype: npt.DTypeLike | None = None,
        chunks: Sequence[int] | None = None,
        shards_ratio: Sequence[int] | None = None,
        transform: list[TransformationMeta] | None = None,
        image: str = "0",
        *,
        shards: Shards | None = None,
        compressor: CompressorLike | None = None,
        checksum: bool = False,
        channel_names: Sequence[str] | None = None,
    ) -> list[Position]:
        """Create many positions in one step: all of them are listed, or none.

        Parameters
        ----------
        positions : list of tuple
            ``(row, column, position)``, optionally followed by the row index, the column index and the
            acquisition.
        shape : sequence of int, optional
            If given, each position also gets an array of zeros of this shape.
        dtype : dtype-like, optional
            Data type of the arrays; needed with ``shape``.
        chunks, shards_ratio, transform, shards, compressor, checksum
            As for :meth:`Position.create_zeros`.
        image : str
            Name of the arrays.
        channel_names : sequence of str, optional
            Names of the channels of these positions; :attr:`channel_names` by default.

        Returns
        -------
        list of Position
            In the order of ``positions``.

        Raises
        ------
        NodeExistsError
            If one exists, unless the plate was opened with ``overwriting_creation=True``.
        ArgumentError, InvalidNameError
            If a specification is wrong. In either case nothing was created.
        """
        from platestore.nodes.growth import grow_plate
        from platestore.nodes.specs import array_plan
        from platestore.nodes.wishes import Wishes

        planned = None
        if shape is not None or dtype is not None:
            wishes = Wishes(chunks, shards_ratio, shards, compressor, checksum)
            planned = array_plan(self, image, shape, dtype, wishes, transform, channel_names)
        return grow_plate(
            self, positions, planned=planned, overwriting=self._overwriting, channel_names=channel_names
        )

    @classmethod
    def from_positions(
        cls, store_path: str | os.PathLike[str], positions: Mapping[str, Position], **options: Any
    ) -> Plate:
        """Create a plate from positions of other stores, with their images, labels and metadata.

        Arrays are copied as files where they can be; see :func:`platestore.copy`.

        Parameters
        ----------
        store_path : path
            The new store.
        positions : mapping of str to Position
            The positions, by their new places (``"A/1/0"``). They have the same channels and axes.
        **options
            As for :func:`platestore.copy`.

        Returns
        -------
        Plate
            The new plate, opened for reading and writing.

        Raises
        ------
        ArgumentError
            If a place is none, or channels or axes differ.
        NodeExistsError
            If the store exists.
        """
        from platestore.copying.api import plate_from_positions

        return plate_from_positions(store_path, positions, options)

    def dump_meta(self, field_count: bool = False) -> None:
        """Write the metadata model, with the edits made to it.

        Parameters
        ----------
        field_count : bool
            Whether to count the fields of every well and write the largest number as ``plate.field_count``.
            Plates that are created here say it already; in those of others it is counted with this.
        """
        count = max((len(well._keys()) for _, well in self.wells()), default=0) if field_count else None

        def change(draft: Draft[PlateMeta]) -> None:
            if count is not None:
                draft.meta.field_count = count or None

        self._commit(change)

    # --- renaming and removing --------------------------------------------------------------------

    def rename_well(self, old: str, new: str) -> None:
        """Rename a well, within its row or across rows; no other well is touched.

        Parameters
        ----------
        old, new : str
            Present and new path, such as ``"A/1"`` and ``"B/2"``.

        Raises
        ------
        NodeNotFoundError
            If there is no well ``old``.
        NodeExistsError
            If there is a well ``new`` already.
        InvalidNameError
            If ``new`` is no path of two alphanumeric names.
        """
        from platestore.nodes.surgery import rename_well

        rename_well(self, old, new)

    def _relist(self, draft: Draft[PlateMeta], intent: Intent) -> None:
        entry = intent.entry or {}
        if all(well.path != intent.target for well in draft.meta.wells):
            draft.meta.wells.insert(entry.get("index", 0), WellIndexMeta.model_validate(entry["well"]))

    def __delitem__(self, key: str | int | tuple[str | int, ...]) -> None:
        """Remove a row, a well, a position or an image: its entry first, then its data."""
        from platestore.nodes.surgery import delete_member

        delete_member(self, self._spelled(key))


def enclosing_plate(location: Location, levels: int) -> Plate | None:
    """The plate some levels above a node, if there is one in the same store."""
    above = location.parent(levels)
    if above is None:
        return None
    group = read_group(above.storage, above.path, above.zarr_format)
    if group is None or versions.kind_of(group.attributes, above.zarr_format) != "plate":
        return None
    plate = Plate(above, parse_meta=False, channel_names=[])
    plate._given_names = None
    plate._load(group)
    return plate
