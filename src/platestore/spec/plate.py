"""The plate document: rows, columns, wells and acquisitions, and how indices are given out."""

from __future__ import annotations

import operator
import string
import warnings
from collections.abc import Callable, Iterable, Sequence

from pydantic import AliasChoices, Field

from platestore.errors import ArgumentError
from platestore.spec import rules
from platestore.spec.base import LENIENT_TEXT, Model, OptionalModel
from platestore.spec.findings import Finding

#: Row and column indices stay below this; no plate has as many.
MAX_INDEX = 2**15

#: Rows and columns of the standard plate formats, by their number of wells.
PLATE_FORMATS: dict[int, tuple[int, int]] = {
    6: (2, 3),
    12: (3, 4),
    24: (4, 6),
    48: (6, 8),
    96: (8, 12),
    384: (16, 24),
    1536: (32, 48),
}


class PlateAxisMeta(Model):
    """One row or column of the plate.

    Attributes
    ----------
    name : str
        Its name, alphanumeric and unique.
    """

    name: str


class WellIndexMeta(Model):
    """One well in the plate's list.

    Attributes
    ----------
    path : str
        ``row name/column name``.
    row_index, column_index : int
        Indices into the plate's lists of rows and columns, from 0.
    """

    path: str
    row_index: int = Field(alias="rowIndex")
    column_index: int = Field(alias="columnIndex")


class AcquisitionMeta(OptionalModel):
    """One acquisition (a run of the microscope over the plate).

    Attributes
    ----------
    id : int
        Its identifier, 0 or more and unique.
    name : str, optional
        Its name.
    maximumfieldcount : int, optional
        The greatest number of its fields in one well.
    description : str, optional
        Free text.
    starttime, endtime : int, optional
        Seconds since the epoch.
    """

    model_config = LENIENT_TEXT

    id: int = Field(ge=0)
    name: str | None = None
    maximumfieldcount: int | None = Field(
        default=None,
        validation_alias=AliasChoices("maximumfieldcount", "maximum_fieldcount", "maximum_field_count"),
        serialization_alias="maximumfieldcount",
    )
    description: str | None = None
    starttime: int | None = Field(
        default=None,
        validation_alias=AliasChoices("starttime", "start_time"),
        serialization_alias="starttime",
    )
    endtime: int | None = Field(
        default=None, validation_alias=AliasChoices("endtime", "end_time"), serialization_alias="endtime"
    )


class PlateMeta(OptionalModel):
    """The metadata of a plate.

    Attributes
    ----------
    rows, columns : list of PlateAxisMeta
        The rows and columns of the plate, in their physical order.
    wells : list of WellIndexMeta
        The wells that have images, in order of creation; nodes follow their indices.
    acquisitions : list of AcquisitionMeta, optional
        The acquisitions, if there is more than one or one was given.
    field_count : int, optional
        The largest number of fields in a well.
    name : str, optional
        Name of the plate.
    version : str, optional
        OME-NGFF version, written here in 0.4 only.
    """

    model_config = LENIENT_TEXT

    rows: list[PlateAxisMeta]
    columns: list[PlateAxisMeta]
    wells: list[WellIndexMeta]
    acquisitions: list[AcquisitionMeta] | None = None
    field_count: int | None = None
    name: str | None = None
    version: str | None = None

    def findings(self) -> Iterable[Finding]:
        """Rules of names, paths and indices that the document breaks."""
        rows, columns = [row.name for row in self.rows], [column.name for column in self.columns]
        yield from rules.plate_names(rows, "plate.rows")
        yield from rules.plate_names(columns, "plate.columns")
        wells = [(well.path, well.row_index, well.column_index) for well in self.wells]
        yield from rules.plate_wells(wells, rows, columns, "plate.wells")
        runs = [(a.id, a.maximumfieldcount, a.starttime, a.endtime) for a in self.acquisitions or ()]
        yield from rules.acquisitions(runs, "plate.acquisitions")
        yield from rules.field_count(self.field_count, "plate.field_count")

    def in_order(self) -> list[WellIndexMeta]:
        """The wells along rows, then columns, as their paths name them; indices of others may be wrong.

        Examples
        --------
        >>> well = plate.create_well("A", "3")
        >>> [well.path for well in plate.metadata.wells]
        ['A/1', 'B/2', 'A/3']
        >>> [well.path for well in plate.metadata.in_order()]
        ['A/1', 'A/3', 'B/2']
        """
        rows = {row.name: i for i, row in enumerate(self.rows)}
        columns = {column.name: i for i, column in enumerate(self.columns)}

        def place(well: WellIndexMeta) -> tuple[int, int]:
            row, _, column = well.path.partition("/")
            return rows.get(row, well.row_index), columns.get(column, well.column_index)

        return sorted(self.wells, key=place)

    def is_declared(self, plate_format: int | None) -> bool:
        """Whether the rows and columns are those of a physical plate, and not only those that wells use.

        Parameters
        ----------
        plate_format : int, optional
            The format that the plate was created with. Without it, the grid of a standard format tells, if
            wells do not happen to use all of it.
        """
        if plate_format is not None:
            return True
        used = [{well.row_index for well in self.wells}, {well.column_index for well in self.wells}]
        is_full = len(used[0]) == len(self.rows) and len(used[1]) == len(self.columns)
        return (len(self.rows), len(self.columns)) in PLATE_FORMATS.values() and not is_full

    def remove_well(self, path: str, *, declared: bool, coming: WellIndexMeta | None = None) -> None:
        """Take a well out of the lists, and its row and its column if no other well is in them.

        A row or column with keys of others stays.

        Parameters
        ----------
        path : str
            The well; its name tells the row and the column.
        declared : bool
            Whether the rows and columns are those of a physical plate, and stay.
        coming : WellIndexMeta, optional
            A well that will be listed; its indices are kept right too, in place.
        """
        self.wells = [well for well in self.wells if well.path != path]
        if declared:
            return
        there = [*self.wells, *([] if coming is None else [coming])]
        for key, items, i in (("row_index", self.rows, 0), ("column_index", self.columns, 1)):
            name = _segment(path, i)
            index = next((k for k, item in enumerate(items) if item.name == name), None)
            if index is None or items[index].model_extra:  # what others say of it is not to be lost
                continue
            if any(_segment(well.path, i) == name for well in there):
                continue
            del items[index]
            # Entries are replaced, not changed: their JSON is kept by their identity.
            self.wells = [_shifted(well, key, index) for well in self.wells]
            if coming is not None:
                setattr(coming, key, getattr(_shifted(coming, key, index), key))


def _segment(path: str, i: int) -> str | None:
    """The row (0) or the column (1) that the path of a well names; those of others may name none."""
    segments = path.split("/")
    return segments[i] if i < len(segments) else None


def _shifted(well: WellIndexMeta, key: str, removed: int) -> WellIndexMeta:
    index = getattr(well, key)
    return well.model_copy(update={key: index - 1}) if index > removed else well


def standard_row(index: int) -> str:
    """Standard name of a row: A to Z, then AA, AB, ..."""
    name, rest = "", index + 1
    while rest:
        rest, letter = divmod(rest - 1, 26)
        name = string.ascii_uppercase[letter] + name
    return name


def standard_column(index: int) -> str:
    """Standard name of a column: 1, 2, 3, ..."""
    return str(index + 1)


def check_format(plate_format: object) -> int:
    """Check a plate format (number of wells).

    Raises
    ------
    ArgumentError
        If it is none of the standard ones.
    """
    is_integer = hasattr(plate_format, "__index__") and not isinstance(plate_format, bool)
    wells = operator.index(plate_format) if is_integer else -1  # type: ignore[arg-type]
    if wells not in PLATE_FORMATS:
        known = ", ".join(map(str, PLATE_FORMATS))
        raise ArgumentError(f"plate_format {plate_format!r} is unknown", hint=f"one of {known} wells")
    return wells


def grid(plate_format: int) -> tuple[list[PlateAxisMeta], list[PlateAxisMeta]]:
    """All rows and columns of a standard plate."""
    n_rows, n_columns = PLATE_FORMATS[plate_format]
    return (
        [PlateAxisMeta(name=standard_row(i)) for i in range(n_rows)],
        [PlateAxisMeta(name=standard_column(i)) for i in range(n_columns)],
    )


class AxisIndex:
    """The rows or the columns of a plate while wells are added: gives every name its index.

    Names without an index are listed in order of creation. An index past the end fills the gap with
    unused standard names (the rows and columns of the physical plate must all be defined); such a
    filler gives way to a name that is later asked for at its index. An index that a used name holds
    becomes the next free one, with a warning.

    Parameters
    ----------
    kind : str
        ``"row"`` or ``"column"``.
    items : list of PlateAxisMeta
        The plate's list; new names are added to it in place.
    fixed : bool
        Whether the plate format declares the list: names outside it are refused.
    """

    def __init__(self, kind: str, items: list[PlateAxisMeta], *, fixed: bool) -> None:
        self.kind = kind
        self.items = items
        self.fixed = fixed
        self._index = {item.name: i for i, item in enumerate(items)}
        self._standard = standard_row if kind == "row" else standard_column

    def resolve(self, name: str, wanted: int | None, in_use: Callable[[], set[int]]) -> int:
        """Index of a name, which is listed now if it was not.

        Parameters
        ----------
        name : str
            Name of the row or column, already checked.
        wanted : int, optional
            The index that the caller asks for.
        in_use : callable
            Gives the indices that listed wells use; called only where that decides.

        Raises
        ------
        ArgumentError
            If ``wanted`` is no index, or the plate format has no such name.
        """
        if wanted is not None and (
            isinstance(wanted, bool) or not hasattr(wanted, "__index__") or wanted < 0
        ):
            raise ArgumentError(f"a {self.kind} index must be an integer of 0 or more, not {wanted!r}")
        if wanted is not None and wanted >= MAX_INDEX:
            raise ArgumentError(f"{self.kind} index {wanted} is beyond any plate")
        found = self._index.get(name)
        if self.fixed and found is None:
            found = self._padded(name, in_use)
        if found is not None and (wanted is None or wanted == found):
            return found
        if wanted is not None and wanted < len(self.items) and not self.fixed and wanted not in in_use():
            if found is None:
                return self._replace_filler(name, wanted)
            if found not in in_use():
                self.items[found], self.items[wanted] = self.items[wanted], self.items[found]
                self._index[self.items[found].name], self._index[name] = found, wanted
                return wanted
        if found is not None:
            self._warn(name, wanted, found)
            return found
        return self._append(name, wanted)

    def _padded(self, name: str, in_use: Callable[[], set[int]]) -> int:
        """Index of a name of the format with zeros before it: the first well decides for all names."""
        numbers = [int(item.name) if item.name.isdecimal() else None for item in self.items]
        index = numbers.index(int(name)) if name.isdecimal() and int(name) in numbers else None
        if index is None or in_use():
            hint = "the plate was created with plate_format="
            if index is not None:
                hint = f"here it is called {self.items[index].name!r}, as the wells that are there are"
            raise ArgumentError(
                f"{self.kind} {name!r} is not on a plate whose {self.kind}s are "
                f"{self.items[0].name} to {self.items[-1].name}",
                hint=hint,
            )
        self.items[:] = [PlateAxisMeta(name=str(number).zfill(len(name))) for number in numbers]
        self._index = {item.name: i for i, item in enumerate(self.items)}
        return index

    def _append(self, name: str, wanted: int | None) -> int:
        if wanted is not None and wanted < len(self.items):
            self._warn(name, wanted, len(self.items))
        while wanted is not None and len(self.items) < wanted:
            self._add(self._filler(name))
        self._add(name)
        return len(self.items) - 1

    def _add(self, name: str) -> None:
        self._index[name] = len(self.items)
        self.items.append(PlateAxisMeta(name=name))

    def _filler(self, coming: str) -> str:
        position = len(self.items)
        while self._standard(position) in self._index or self._standard(position) == coming:
            position += 1
        return self._standard(position)

    def _replace_filler(self, name: str, index: int) -> int:
        del self._index[self.items[index].name]
        self.items[index] = PlateAxisMeta(name=name)
        self._index[name] = index
        return index

    def _warn(self, name: str, wanted: int | None, given: int) -> None:
        holder = self.items[wanted].name if wanted is not None and wanted < len(self.items) else None
        reason = f"held by {holder!r}" if holder not in (None, name) else f"not that of {name!r}"
        warnings.warn(
            f"{self.kind} index {wanted} is {reason}: {self.kind} {name!r} has index {given}",
            stacklevel=2,
        )


def raise_field_count(plate: PlateMeta, acquisition: int, fields: int) -> None:
    """Declare an acquisition and raise its ``maximumfieldcount`` to the fields of one well."""
    if plate.acquisitions is None:
        plate.acquisitions = []
    item = next((a for a in plate.acquisitions if a.id == acquisition), None)
    if item is None:
        item = AcquisitionMeta(id=acquisition, name=f"acquisition {acquisition}")
        plate.acquisitions.append(item)
    if item.maximumfieldcount is None or item.maximumfieldcount < fields:
        item.maximumfieldcount = fields


def check_acquisitions(acquisitions: Sequence[AcquisitionMeta | dict[str, object]]) -> list[AcquisitionMeta]:
    """Check acquisitions given by a user.

    Raises
    ------
    ArgumentError
        If one cannot be read, or an identifier occurs twice.
    """
    try:
        out = [
            AcquisitionMeta.model_validate(a.to_json() if isinstance(a, AcquisitionMeta) else a)
            for a in acquisitions
        ]
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"acquisitions cannot be read: {error}") from None
    if len({a.id for a in out}) != len(out):
        raise ArgumentError("acquisition ids must be unique")
    for item in out:
        if item.name is None:
            item.name = f"acquisition {item.id}"
        if item.maximumfieldcount is None:
            item.maximumfieldcount = 1  # the least that is valid; raised as fields are created
    return out
