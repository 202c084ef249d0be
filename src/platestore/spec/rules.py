"""What the specification demands beyond types: on plain values, for the models and the validator alike.

A value that is missing or of a wrong type is None here; that was said where the types were checked, and a
rule passes over it. Each finding's rule names the section; whoever knows the version puts it before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from platestore.spec.findings import Finding, Level
from platestore.spec.names import ALPHANUMERIC
from platestore.spec.values import duplicates, shown

_WELL_PATH = re.compile(r"[A-Za-z0-9]+/[A-Za-z0-9]+")
_COLOR = re.compile(r"[0-9A-Fa-f]{6}")
#: The fewest values of a scale or a translation, by the schemas.
_LEAST_VALUES = 2


# --- images ---------------------------------------------------------------------------------------


def axes(names: Sequence[str | None], types: Sequence[str | None], where: str) -> Iterator[Finding]:
    """Rules of the axes of an image.

    Parameters
    ----------
    names, types : sequence of str or None
        Of each axis; an axis may lack a type.
    where : str
        Location of the list.
    """
    for name in duplicates(names):
        yield Finding(
            "axis-duplicate",
            where,
            f"the axis name {shown(name)} is used more than once",
            rule="axes: the names of an image's axes are unique (MUST)",
        )
    if not 2 <= len(types) <= 5:
        yield Finding(
            "axis-count",
            where,
            f"there are {len(types)} axes; 2 to 5 are allowed",
            expected="2 to 5",
            found=str(len(types)),
            rule="multiscales: an image has 2 to 5 axes (MUST)",
        )
    yield from _axis_types(types, where)
    ranks = [{"time": 0, "space": 2}.get(kind or "", 1) for kind in types]
    if ranks != sorted(ranks):
        order = ", ".join("?" if name is None else str(name) for name in names[:5])
        yield Finding(
            "axis-order",
            where,
            f"axes are ordered {order}; time, channel, space is required",
            rule="multiscales: a time axis comes first, then a channel or custom axis, then space (MUST)",
        )


def _axis_types(types: Sequence[str | None], where: str) -> Iterator[Finding]:
    spaces, times, untyped = types.count("space"), types.count("time"), types.count(None)
    if not 2 <= spaces + untyped <= 3:
        # The schemas count an axis without a type as spatial.
        what = f"{spaces} axes are spatial" + (f" and {untyped} of no type" if untyped else "")
        yield Finding(
            "axis-space",
            where,
            f"{what}; 2 or 3 are allowed",
            expected="2 or 3",
            found=str(spaces + untyped),
            rule="multiscales: 2 or 3 axes are of type space (MUST)",
        )
    if times > 1:
        yield Finding(
            "axis-time",
            where,
            "more than one time axis",
            rule="multiscales: at most one axis is of type time (MUST)",
        )
    if not untyped and len(types) - spaces - times > 1:
        yield Finding(
            "axis-channel",
            where,
            "more than one channel or custom axis",
            rule="multiscales: at most one axis is of type channel or of a custom type (MUST)",
        )


def transforms(
    steps: Sequence[tuple[str | None, int | None]], ndim: int, where: str, *, misfit: Level = "error"
) -> Iterator[Finding]:
    """Rules of a list of coordinate transformations.

    Parameters
    ----------
    steps : sequence of (str or None, int or None)
        Type, and number of values under the key of that name; None where that key is missing.
    ndim : int
        Number of axes of the image.
    where : str
        Location of the list.
    misfit : {"error", "warning"}
        Level of a number of values that is not that of the axes, but allowed by the schemas.
    """
    types = [kind for kind, _ in steps]
    if None not in types and types not in (["scale"], ["scale", "translation"]):
        holds = ", ".join(shown(kind)[1:-1] for kind in types[:5]) + (", ..." if len(types) > 5 else "")
        yield Finding(
            "transform-list",
            where,
            f"holds {holds or 'nothing'}; one scale, then at most one translation",
            expected="one scale, then at most one translation",
            rule="multiscales: exactly one scale, and at most one translation after it (MUST)",
        )
    for i, (kind, count) in enumerate(steps):
        if kind in ("scale", "translation") and count != ndim:
            yield Finding(
                "transform-length",
                f"{where}[{i}]",
                f"has {'none' if count is None else count} values for {ndim} axes",
                misfit if count is not None and count >= _LEAST_VALUES else "error",
                expected=f"{ndim} values",
                found="none" if count is None else f"{count} values",
                rule="multiscales: a scale or a translation has one value per axis (MUST)",
            )


def positive_scale(values: Sequence[float | None], where: str) -> Iterator[Finding]:
    """A pixel has a size: readers divide by it."""
    if any(value is not None and value <= 0 for value in values):
        yield Finding(
            "scale-positive",
            where,
            "has a factor that is not above 0",
            "warning",
            rule="multiscales: a scale holds pixel sizes or factors relative to the first level",
        )


def datasets(paths: Sequence[str | None], where: str) -> Iterator[Finding]:
    """Rules of the list of resolution levels."""
    if not paths:
        yield Finding(
            "datasets-empty", where, "lists no array", rule="multiscales: there is a dataset (MUST)"
        )
    for path in duplicates(paths):
        yield Finding(
            "dataset-duplicate",
            where,
            f"{shown(path)} is listed more than once",
            rule="multiscales: each dataset is one resolution level, from the largest to the smallest (MUST)",
        )


def multiscales(count: int, where: str) -> Iterator[Finding]:
    """Rules of the list of multiscale images."""
    if not count:
        yield Finding(
            "multiscales-empty", where, "lists no image", rule="multiscales: the list has an image (MUST)"
        )


def channel_color(color: str | None, where: str) -> Iterator[Finding]:
    """Rule of a channel's colour."""
    if color is not None and not _COLOR.fullmatch(color):
        yield Finding(
            "channel-color",
            where,
            f"{shown(color)} is no color",
            expected="six hexadecimal digits",
            found=shown(color),
            rule="omero: the color of a channel is six hexadecimal digits, RGB (MUST)",
        )


# --- plates and wells -----------------------------------------------------------------------------


def plate_names(names: Sequence[str | None], where: str) -> Iterator[Finding]:
    """Rules of the names of the rows or the columns of a plate."""
    for repeated in duplicates(names):
        yield Finding(
            "name-duplicate",
            where,
            f"{shown(repeated)} is listed more than once",
            rule="plate: names of rows, and of columns, are unique (MUST)",
        )
    for i, name in enumerate(names):
        if name is not None and not ALPHANUMERIC.fullmatch(name):
            yield Finding(
                "name-characters",
                f"{where}[{i}].name",
                f"{shown(name)} is not alphanumeric",
                expected="letters A-Z and a-z, digits 0-9",
                found=shown(name),
                rule="plate: names of rows and columns hold only letters and digits (MUST)",
            )


def plate_wells(
    wells: Sequence[tuple[str | None, int | None, int | None]],
    rows: Sequence[str | None],
    columns: Sequence[str | None],
    where: str,
    *,
    swapped: Level = "error",
) -> Iterator[Finding]:
    """Rules of the wells that a plate lists.

    Parameters
    ----------
    wells : sequence of (str, int, int)
        Path, row index and column index of each.
    rows, columns : sequence of str
        Names of the plate's rows and columns.
    where : str
        Location of the list.
    swapped : {"error", "warning"}
        Level of a path that names the column before the row.
    """
    if not wells:
        yield Finding("plate-empty", where, "lists no well", rule="plate: at least one well is listed (MUST)")
    for repeated in duplicates(path for path, _, _ in wells):
        yield Finding(
            "well-duplicate",
            where,
            f"{shown(repeated)} is listed more than once",
            rule="plate: each well is listed once (MUST)",
        )
    for i, (path, row, column) in enumerate(wells):
        if row is None or column is None or path is None:
            if path is not None and not _WELL_PATH.fullmatch(path):
                yield _well_finding(f"{where}[{i}]", f"{shown(path)} is no path of a well", path, None)
        elif not (0 <= row < len(rows) and 0 <= column < len(columns)):
            problem = f"row {shown(row)} or column {shown(column)} is not on the plate"
            yield _well_finding(f"{where}[{i}]", problem, path, None)
        else:
            row_name, column_name = rows[row], columns[column]
            expected = f"{row_name}/{column_name}"
            if path == expected or row_name is None or column_name is None:
                continue
            level = swapped if path == f"{column_name}/{row_name}" else "error"
            problem = f"its indices say {shown(expected)}, its path is {shown(path)}"
            yield _well_finding(f"{where}[{i}]", problem, path, expected, level)


def _well_finding(
    where: str, problem: str, path: str, expected: str | None, level: Level = "error"
) -> Finding:
    return Finding(
        "well-index",
        where,
        problem,
        level,
        expected=expected,
        found=shown(path),
        rule="plate: the path of a well is the name of its row, a slash and the name of its column (MUST)",
    )


def acquisitions(
    items: Sequence[tuple[int | None, int | None, int | None, int | None]], where: str
) -> Iterator[Finding]:
    """Rules of the acquisitions of a plate: id, maximumfieldcount, starttime and endtime of each."""
    for repeated in duplicates(number for number, *_ in items):
        yield Finding(
            "acquisition-duplicate",
            where,
            f"id {shown(repeated)} occurs more than once",
            rule="plate: the id of an acquisition is unique in the plate (MUST)",
        )
    for i, (number, fields, start, end) in enumerate(items):
        if number is not None and number < 0:
            yield Finding(
                "acquisition-id",
                f"{where}[{i}].id",
                "is negative",
                found=shown(number),
                rule="plate: the id of an acquisition is an integer of 0 or more (MUST)",
            )
        yield from field_count(fields, f"{where}[{i}].maximumfieldcount")
        for key, time in (("starttime", start), ("endtime", end)):
            if time is not None and time < 0:
                yield Finding(
                    "time-negative",
                    f"{where}[{i}].{key}",
                    "is negative",
                    found=shown(time),
                    rule="plate: a time of an acquisition is an integer of 0 or more, in seconds (MUST)",
                )


def field_count(count: int | None, where: str) -> Iterator[Finding]:
    """Rule of a number of fields."""
    if count is not None and count < 1:
        yield Finding(
            "field-count",
            where,
            f"is {shown(count)}; 1 or more is required",
            expected="1 or more",
            found=shown(count),
            rule="plate: a number of fields is a positive integer (MUST)",
        )


def well_images(paths: Sequence[str | None], where: str) -> Iterator[Finding]:
    """Rules of the fields of a well."""
    if not paths:
        yield Finding("well-empty", where, "lists no image", rule="well: at least one image is listed (MUST)")
    for repeated in duplicates(paths):
        yield Finding(
            "image-duplicate",
            where,
            f"{shown(repeated)} is listed more than once",
            rule="well: the paths of the images are unique (MUST)",
        )
    for i, path in enumerate(paths):
        if path is not None and not ALPHANUMERIC.fullmatch(path):
            yield Finding(
                "image-path",
                f"{where}[{i}].path",
                f"{shown(path)} is not alphanumeric",
                expected="letters A-Z and a-z, digits 0-9",
                found=shown(path),
                rule="well: the path of an image holds only letters and digits (MUST)",
            )


# --- labels ---------------------------------------------------------------------------------------


def label_colors(
    colors: Sequence[tuple[float | None, Sequence[float | None] | None]], where: str
) -> Iterator[Finding]:
    """Rules of the colours of label values: value, and red, green, blue and opacity, of each."""
    if not colors:
        yield Finding(
            "label-no-colors",
            where,
            "is an empty list; leave it out instead",
            rule="image-label: a list of colors has at least one (MUST)",
        )
    for value in duplicates(value for value, _ in colors):
        yield Finding(
            "label-color-duplicate",
            where,
            f"{shown(value)} has more than one color",
            rule="image-label: each label value has one color (MUST)",
        )
    for i, (_, rgba) in enumerate(colors):
        if rgba is None or None in rgba:
            continue
        if len(rgba) != 4 or not all(0 <= v <= 255 for v in rgba if v is not None):
            yield Finding(
                "label-rgba",
                f"{where}[{i}].rgba",
                f"is {shown(list(rgba))}, not four integers from 0 to 255",
                expected="four integers from 0 to 255",
                found=shown(list(rgba)),
                rule="image-label: a color is four integers from 0 to 255, RGBA (MUST)",
            )


def label_properties(items: Sequence[tuple[float | None, Any]], where: str) -> Iterator[Finding]:
    """Rules of the properties of label values: value, and something that is equal for equal entries."""
    if not items:
        yield Finding(
            "label-no-properties",
            where,
            "is an empty list; leave it out instead",
            rule="image-label: a list of properties has at least one entry (MUST)",
        )
    seen = set()
    for i, (value, entry) in enumerate(items):
        if entry in seen:
            yield Finding(
                "label-property-duplicate",
                f"{where}[{i}]",
                f"that of label value {shown(value)} is listed more than once",
                rule="image-label: entries of the properties are unique (MUST)",
            )
        seen.add(entry)


def label_paths(paths: Sequence[str | None], where: str) -> Iterator[Finding]:
    """Rules of the list of label images."""
    for path in duplicates(paths):
        yield Finding(
            "label-duplicate",
            where,
            f"{shown(path)} is listed more than once",
            rule="labels: each label image is listed once",
        )


def series_layout(layout: float | None, where: str) -> Iterator[Finding]:
    """Rule of the layout of a bioformats2raw collection."""
    if layout is not None and layout != 3:
        yield Finding(
            "series-layout",
            where,
            f"is {shown(layout)}, not 3",
            expected="3",
            found=shown(layout),
            rule="bioformats2raw.layout: its value is 3 (MUST)",
        )


def is_space(name: str, kind: str | None) -> bool:
    """Whether an axis is one of space: by its type, or by its name where it has none."""
    return kind == "space" or (kind is None and name.lower() in ("z", "y", "x"))
