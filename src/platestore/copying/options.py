"""What is asked for: the arguments of one copy, checked as far as they can be without its sources."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from platestore.arrays.options import LayoutOptions
from platestore.copying.selection import CopySelection, parse_crop, parse_range
from platestore.errors import ArgumentError, NodeNotFoundError
from platestore.spec.geometry import check_levels
from platestore.spec.names import split_well
from platestore.spec.versions import Version, check_version
from platestore.tree.axes_case import AxesCase

#: What becomes of positions that are merged, and whose channels differ.
ChannelsDiffer: TypeAlias = Literal["keep", "refuse"]


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """The options of one copy.

    Attributes
    ----------
    positions, wells : tuple of str, optional
        Globs that paths of positions and wells must match; None for all.
    acquisitions : tuple of int, optional
        Acquisitions whose fields are taken; None for all.
    selection : CopySelection
        Channels and ranges.
    levels : {"all", "0", "none"}
        Which resolution levels are taken.
    labels : bool
        Whether label images come along.
    version : {"0.4", "0.5"}, optional
        Version of the copy; None for that of the (first) source.
    layout : LayoutOptions
        Chunks, shards and compressor; what is left open stays as it is.
    pyramid : int or "auto", optional
        Number of levels that are made anew.
    moves : mapping
        New places of wells and positions.
    only_ome : bool
        Whether what others wrote stays behind.
    channels_differ : {"keep", "refuse"}
        What becomes of positions that are merged, and whose channels differ.
    axes_case : {"lower"}, optional
        How axes are spelled; as they are by default.
    """

    positions: tuple[str, ...] | None
    wells: tuple[str, ...] | None
    acquisitions: tuple[int, ...] | None
    selection: CopySelection
    levels: str
    labels: bool
    version: Version | None
    layout: LayoutOptions
    pyramid: int | str | None
    moves: tuple[tuple[int | None, str, str], ...]
    only_ome: bool
    channels_differ: ChannelsDiffer = "keep"
    axes_case: AxesCase | None = None

    @property
    def is_plain(self) -> bool:
        """Whether everything is copied as it is."""
        return (
            self.positions is None
            and self.wells is None
            and self.acquisitions is None
            and not self.selection
            and self.levels == "all"
            and self.labels
            and not self.layout
            and self.pyramid is None
            and not self.moves
            and not self.only_ome
            and self.axes_case is None
        )

    def to_json(self) -> dict[str, Any]:
        """The options as JSON, in the words of the caller, for the journal."""
        ranges = {name: _range_text(part) for name, part in self.selection.axes.items()}
        out = {
            "positions": self.positions,
            "wells": self.wells,
            "acquisition": self.acquisitions,
            "channels": self.selection.channels,
            "time": ranges.pop("t", None),
            "z": ranges.pop("z", None),
            "crop": ranges,
            "levels": None if self.levels == "all" else self.levels,
            "labels": None if self.labels else "none",
            "version": self.version,
            **asdict(self.layout),
            "pyramid": self.pyramid,
            "map": self.moves,
            "only_ome": self.only_ome,
            "channels_differ": None if self.channels_differ == "keep" else self.channels_differ,
            "axes_case": self.axes_case,
        }
        return {key: value for key, value in out.items() if value not in (None, False, (), {})}


def _range_text(part: slice) -> str:
    return ":".join("" if v is None else str(v) for v in (part.start, part.stop, part.step))


def check_options(
    *,
    positions: str | Sequence[str] | None,
    wells: str | Sequence[str] | None,
    channels: str | Sequence[str] | None,
    time: Any,
    z: Any,
    crop: Any,
    levels: int | str,
    labels: bool,
    acquisition: int | Sequence[int] | None,
    version: str | None,
    layout: LayoutOptions,
    pyramid: int | str | None,
    moves: Sequence[tuple[int | None, str, str]],
    only_ome: bool,
    channels_differ: str = "keep",
    axes_case: str | None = None,
) -> CopyOptions:
    """Check the arguments of :func:`platestore.copy`.

    Raises
    ------
    ArgumentError
        If one of them cannot mean anything.
    """
    if str(levels) not in ("all", "0", "none"):
        raise ArgumentError(f"levels must be 'all', 0 or 'none', not {levels!r}")
    if pyramid is not None and pyramid != "auto":
        check_levels(pyramid)
    if pyramid is not None and str(levels) != "all":
        raise ArgumentError("pyramid= makes the levels anew; levels= chooses among those there are")
    if channels_differ not in ("keep", "refuse"):
        raise ArgumentError(f"channels_differ must be 'keep' or 'refuse', not {channels_differ!r}")
    if axes_case not in (None, "lower"):
        raise ArgumentError(f"axes_case must be 'lower', not {axes_case!r}")
    return CopyOptions(
        positions=_globs(positions, "positions"),
        wells=_globs(wells, "wells"),
        acquisitions=_numbers(acquisition),
        selection=_selection(channels, time, z, crop),
        levels=str(levels),
        labels=bool(labels),
        version=None if version is None else check_version(version),
        layout=layout,
        pyramid=pyramid,
        moves=tuple(moves),
        only_ome=bool(only_ome),
        channels_differ="refuse" if channels_differ == "refuse" else "keep",
        axes_case="lower" if axes_case == "lower" else None,
    )


def _globs(value: str | Sequence[str] | None, name: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    given = (value,) if isinstance(value, str) else tuple(value)
    if not given or not all(isinstance(v, str) and v.strip("/ ") for v in given):
        raise ArgumentError(f"{name} must be paths or globs such as 'A/*/0', not {value!r}")
    return tuple(v.strip("/ ") for v in given)


def _numbers(value: int | Sequence[int] | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    given = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if not given or not all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in given):
        raise ArgumentError(f"acquisition must be an identifier (0, 1, ...), not {value!r}")
    return tuple(given)


def _selection(channels: str | Sequence[str] | None, time: Any, z: Any, crop: Any) -> CopySelection:
    axes = dict(parse_crop(crop) or {})
    for name, option, value in (("t", "time", time), ("z", "z", z)):
        part = parse_range(value, option)
        if part is not None:
            if name in axes:
                raise ArgumentError(f"crop and {option} both say what is taken along {name}")
            axes[name] = part
    names = None
    if channels is not None:
        names = (channels,) if isinstance(channels, str) else tuple(channels)
        if not names:
            raise ArgumentError("channels names no channel")
    return CopySelection(channels=names, axes=axes)


def read_moves(value: Any) -> list[tuple[int | None, str, str]]:
    """Read where wells and positions go: a mapping, or the path of a CSV file.

    Parameters
    ----------
    value : mapping, path or None
        ``{"A/1": "B/2", "C/3/0": "C/3/1"}``, or a CSV file with the columns ``from`` and ``to``, and
        ``source`` (a number from 1, in the order of the sources) where several sources have such a path. A
        source that is a position itself is ``.``.

    Returns
    -------
    list of tuple
        Number of the source (from 0) or None, present path, new path.
    """
    if value is None:
        return []
    if isinstance(value, list):
        return value
    if isinstance(value, Mapping):
        rows: list[tuple[int | None, str, str]] = [(None, str(old), str(new)) for old, new in value.items()]
    else:
        rows = _read_csv(os.fspath(value))
    out: list[tuple[int | None, str, str]] = []
    for source, old, new in rows:
        old_parts, new_parts = _place(old), _place(new)
        if len(old_parts) != len(new_parts) and old_parts != ["."]:
            raise ArgumentError(f"map: {old!r} and {new!r} are not both wells or both positions")
        out.append((source, "/".join(old_parts), "/".join(new_parts)))
    return out


def _place(text: str) -> list[str]:
    """The segments of a well or position; ``A1`` and ``A01`` stand for ``A/1`` and ``A/01``."""
    if text.strip() == ".":
        return ["."]
    parts = [part.strip() for part in text.strip().strip("/").split("/")]
    if len(parts) == 1:
        parts = split_well(parts[0])
    if len(parts) not in (2, 3) or not all(parts):
        raise ArgumentError(f"map: {text!r} is neither a well (A/1) nor a position (A/1/0)")
    return parts


def _read_csv(path: str) -> list[tuple[int | None, str, str]]:
    import csv

    if not os.path.isfile(path):
        raise NodeNotFoundError("map: there is no such CSV file", path=path)
    with open(path, newline="", encoding="utf-8-sig") as file:
        try:
            reader = csv.DictReader(file)
            names = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
            if not {"from", "to"} <= names.keys():
                raise ArgumentError(
                    f"the map has the columns {', '.join(names) or 'none'}",
                    path=path,
                    hint="it needs the columns from and to, and source where several stores are merged",
                )
            rows: list[tuple[int | None, str, str]] = []
            for row in reader:
                old, new = row[names["from"]], row[names["to"]]
                number = (row[names["source"]] or "").strip() if "source" in names else ""
                if not old or not new or (number and not number.isdecimal()) or number == "0":
                    raise ArgumentError(f"line {reader.line_num} of the map is incomplete", path=path)
                rows.append((int(number) - 1 if number else None, old, new))
        except (csv.Error, UnicodeDecodeError) as error:
            raise ArgumentError(f"the map cannot be read: {error}", path=path) from None
    return rows
