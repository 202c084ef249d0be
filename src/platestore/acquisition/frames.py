"""Metadata of frames in columns: a small zarr array for each key, in a group beside the levels of the image.

The group ``frames`` of a position holds ``t``, ``c`` and ``z`` and one array per key, all with one value per
frame, in the order of time, channel and plane. Numbers are ``float64``, or ``int64`` where all are integers;
a missing number is NaN, so that integers with gaps are floats. Truth values are ``uint8``, 255 where missing.
Strings are rows of UTF-8 in ``uint8``, filled with zeros, and with 255 where missing. The group's attributes
name the kind of each column, so that readers need not guess.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from platestore.acquisition.runlog import GROUP, LoggedFrame, RunLog
from platestore.arrays.layout import plan
from platestore.arrays.types import Pixels
from platestore.errors import UnsupportedError
from platestore.pyramid.pushed import read_array_pixels, write_array
from platestore.spec.own import NAMESPACE
from platestore.spec.values import Json
from platestore.storage.hierarchy import (
    ArrayDocument,
    array_files,
    create_node,
    group_files,
    read_array,
    read_group,
)
from platestore.tree.location import Location

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped,unused-ignore]
    import xarray

_PLACE = ("t", "c", "z")
_MISSING = 255


class Frames(Mapping[str, "Pixels"]):
    """What is known of each frame of a position: one array per column, all of one length.

    ``t``, ``c`` and ``z`` say where a frame is; the other columns are what the acquisition said of it.
    Missing numbers are NaN, missing strings empty objects ``None``.

    Examples
    --------
    >>> frames = Frames({"t": np.array([0, 1]), "exposure_ms": np.array([20.0, np.nan])})
    >>> len(frames), frames["exposure_ms"][0], frames.count
    (2, 20.0, 2)
    """

    def __init__(self, columns: Mapping[str, Pixels]) -> None:
        self._columns = dict(columns)

    def __getitem__(self, name: str) -> Pixels:
        """One column."""
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        """The names of the columns."""
        return iter(self._columns)

    def __len__(self) -> int:
        """Number of columns."""
        return len(self._columns)

    def __repr__(self) -> str:
        return f"<Frames {self.count} frames: {', '.join(self)}>"

    @property
    def count(self) -> int:
        """Number of frames."""
        return len(next(iter(self._columns.values()), ()))

    def to_pandas(self) -> pandas.DataFrame:
        """The columns as a table of pandas, which must be installed."""
        import pandas  # type: ignore[import-untyped,unused-ignore]

        return pandas.DataFrame(self._columns)

    def to_xarray(self) -> xarray.Dataset:
        """The columns as a dataset of xarray along ``frame``, which must be installed."""
        import xarray

        return xarray.Dataset({name: ("frame", values) for name, values in self._columns.items()})


# --- values to columns ----------------------------------------------------------------------------


def columns_of(rows: Sequence[LoggedFrame]) -> dict[str, tuple[str, Pixels]]:
    """The kind and stored form of each column, in the order of t, c and z; a frame's last row counts."""
    latest = {row.place: row.metadata for row in rows if row.metadata is not None}
    ordered = sorted(latest)
    out: dict[str, tuple[str, Pixels]] = {}
    for axis, name in enumerate(_PLACE):
        out[name] = "integer", np.array([place[axis] for place in ordered], np.int64)
    keys = dict.fromkeys(key for place in ordered for key in latest[place] or {})
    for key in keys:
        if key not in _PLACE:
            out[key] = _encoded([(latest[place] or {}).get(key) for place in ordered])
    return out


def _encoded(values: Sequence[Any]) -> tuple[str, Pixels]:
    known = [v for v in values if v is not None]
    if known and all(isinstance(v, bool) for v in known):
        return "boolean", np.array([_MISSING if v is None else v for v in values], np.uint8)
    if known and all(isinstance(v, int) and not isinstance(v, bool) and abs(v) < 2**63 for v in known):
        if len(known) == len(values):
            return "integer", np.array(values, np.int64)
        return "number", np.array([math.nan if v is None else v for v in values], np.float64)
    if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in known):
        return "number", np.array([math.nan if v is None else v for v in values], np.float64)
    texts = [None if v is None else (v if isinstance(v, str) else _text(v)).encode() for v in values]
    width = max(1, *(len(text) for text in texts if text is not None))
    table = np.zeros((len(texts), width), np.uint8)
    for row, text in zip(table, texts, strict=True):
        if text is None:
            row[:] = _MISSING
        else:
            row[: len(text)] = np.frombuffer(text, np.uint8)
    return "string", table


def _text(value: Any) -> str:
    """Lists and objects, and values of several kinds in one column, as JSON."""
    return json.dumps(value, ensure_ascii=False)


def _decoded(kind: str, values: Pixels) -> Pixels:
    if kind == "boolean":
        return np.array([None if v == _MISSING else bool(v) for v in values], object)
    if kind != "string":
        return values
    texts = [None if row[0] == _MISSING else row.tobytes().rstrip(b"\0").decode() for row in values]
    return np.array(texts, object)


# --- the group ------------------------------------------------------------------------------------


def write_frames(location: Location, rows: Sequence[LoggedFrame]) -> None:
    """Write the columns of a position; what was there before counts where no row says otherwise.

    The group is built under another name and takes its place in one step.
    """
    storage, fmt = location.storage, location.zarr_format
    columns = columns_of([*stored_rows(location), *rows])
    if not len(columns["t"][1]):
        return
    staged = location.child(f".{GROUP}.new")
    storage.remove_tree(staged.path)
    kinds = {name: kind for name, (kind, _) in columns.items()}
    names = {name: str(i) if name not in _PLACE else name for i, name in enumerate(columns)}
    own = {"frames": {"version": 1, "columns": {n: {"kind": kinds[n], "array": names[n]} for n in columns}}}
    create_node(storage, staged.path, group_files(fmt, {NAMESPACE: own}, where=staged.where))
    for name, (_, values) in columns.items():
        layout = plan(
            values.shape, values.dtype, zarr_format=fmt, chunks=values.shape, axis_names=_axes(values)
        )
        place = staged.child(names[name])
        files = array_files(fmt, layout.document(fmt, _axes(values)), where=place.where)
        create_node(storage, place.path, files)
        write_array(storage, ArrayDocument(place.path, fmt, files[-1][1]), values)
    target = location.child(GROUP)
    storage.remove_tree(target.path)
    storage.move_tree(staged.path, target.path)


def _axes(values: Pixels) -> list[str]:
    return ["frame", "byte"][: values.ndim]


def read_frames(location: Location) -> Frames:
    """What is known of the frames of a position, also while they are acquired."""
    columns = _stored_columns(location)
    root = location.storage.local_path(location.path)
    log = RunLog(location) if root is not None else None
    if log is None or not log.exists():
        return Frames(columns)
    rows = [*_rows_of(columns), *log.frames()]
    return Frames({name: _decoded(kind, values) for name, (kind, values) in columns_of(rows).items()})


def _stored_columns(location: Location) -> dict[str, Pixels]:
    place = location.child(GROUP)
    group = read_group(place.storage, place.path, place.zarr_format)
    own = {} if group is None else group.attributes.get(NAMESPACE)
    described = own.get("frames") if isinstance(own, dict) else None
    if not isinstance(described, dict):
        return {name: np.zeros(0, np.int64) for name in _PLACE}
    if described.get("version") != 1:
        raise UnsupportedError("metadata of frames were written by a newer version", path=place.where)
    out: dict[str, Pixels] = {}
    for name, column in described["columns"].items():
        array = place.child(column["array"])
        document = read_array(array.storage, array.path, array.zarr_format)
        if document is not None:
            out[name] = _decoded(column["kind"], read_array_pixels(array.storage, document))
    return out


def stored_rows(location: Location) -> list[LoggedFrame]:
    """The frames that the columns of a position tell of."""
    return _rows_of(_stored_columns(location))


def _rows_of(columns: Mapping[str, Pixels]) -> list[LoggedFrame]:
    """Columns as rows again."""
    others = [name for name in columns if name not in _PLACE]
    rows = []
    for i in range(len(columns["t"])):
        metadata: Json = {}
        for name in others:
            value = columns[name][i]
            value = value.item() if isinstance(value, np.generic) else value
            if value is not None and value == value:
                metadata[name] = value
        place = (int(columns["t"][i]), int(columns["c"][i]), int(columns["z"][i]))
        rows.append(LoggedFrame(place, metadata))
    return rows
