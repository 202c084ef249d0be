"""What the names of files say about their planes: times, channels and positions along Z.

A pattern with ``{t}``, ``{c}`` and ``{z}`` says which part of a name is what. Micro-Manager's names are known
without one. Names that could be read in several ways are refused: to guess would mix up planes.
"""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from platestore.errors import ArgumentError, NodeNotFoundError

_NUMBER = re.compile(r"(\d+)", re.ASCII)
_FIELD = re.compile(r"\{(\w*)\}")
_PIECES = re.compile(r"(\{\w*\}|\*+|\?)")
_FORMS = {"t": r"[0-9]+", "z": r"[0-9]+", "c": r"[^/\\]+?"}
_ORDER = "tcz"
# Names that Micro-Manager 2 and 1.4 give to single planes, and how strictly they are known.
_MICRO_MANAGER = (
    (
        "img_channel{c}_position*_time{t}_z{z}.tif",
        re.compile(r"img_channel\d+_position\w+_time\d+_z\d+\.tif"),
    ),
    ("img_{t}_{c}_{z}.tif", re.compile(r"img_\d{9}_.+_\d{3}\.tif")),
)
_POSITION = re.compile(r"_position(\w+?)_time")
# What the letters before a number usually mean.
_HINTS = (
    ("t", re.compile(r"(?<![a-z])(t|tp|time|timepoint|frame)[ _=-]*$", re.IGNORECASE)),
    ("c", re.compile(r"(?<![a-z])(c|ch|channel|w)[ _=-]*$", re.IGNORECASE)),
    ("z", re.compile(r"(?<![a-z])(z|zpos|slice|plane|section)[ _=-]*$", re.IGNORECASE)),
)


@dataclass(frozen=True, slots=True)
class Series:
    """Files in the order of their planes.

    Attributes
    ----------
    files : list of str
        Absolute paths, in C order of the axes.
    axes : str
        Names of the axes that the files span, such as ``"TCZ"``; none of a file that is named by itself.
    shape : tuple of int
        Number of files along each.
    channels : list of str or None
        Names of the channels, where the names of the files have more than their numbers.
    """

    files: list[str]
    axes: str
    shape: tuple[int, ...]
    channels: list[str] | None = None


# --- patterns -------------------------------------------------------------------------------------


def is_pattern(path: str) -> bool:
    """Whether a path has fields in braces, and is not the name of a file itself."""
    return _FIELD.search(path) is not None and not os.path.exists(path)


def match_pattern(pattern: str) -> Series:
    """The files that a pattern matches, by its fields.

    Parameters
    ----------
    pattern : str
        A path with ``{t}`` and ``{z}`` for numbers and ``{c}`` for the number or name of a channel; ``*`` and
        ``?`` are as in a shell. A field that stands twice is a number of two parts.

    Raises
    ------
    ArgumentError
        If a field is unknown, or the files are no complete series of planes.
    NodeNotFoundError
        If no file matches.
    """
    path = os.path.abspath(pattern)
    unknown = [name for name in _FIELD.findall(path) if name not in _FORMS]
    if unknown:
        raise ArgumentError(
            f"the pattern has the unknown field {{{unknown[0]}}}",
            path=pattern,
            hint="the fields are {t} (time), {c} (channel) and {z}",
        )
    pieces = _PIECES.split(path)
    wild = "".join(_wild(piece) if i % 2 else glob.escape(piece) for i, piece in enumerate(pieces))
    fitting = _expression(path)
    found = [p for p in map(os.path.abspath, glob.glob(wild, recursive=True)) if os.path.isfile(p)]
    series = _arrange(((p, m) for p in found if (m := fitting.fullmatch(p))), path)
    if series is None:
        raise NodeNotFoundError("no file matches this pattern", path=pattern)
    return series


def _wild(piece: str) -> str:
    return "*" if piece[0] == "{" else piece


def _expression(pattern: str) -> re.Pattern[str]:
    """What a name must be to match; its groups are named by field and number (``t0``)."""
    count: Counter[str] = Counter()
    out = []
    for i, piece in enumerate(_PIECES.split(pattern)):
        if not i % 2:
            out.append(re.escape(piece))
        elif piece[0] == "{":
            name = piece[1:-1]
            out.append(f"(?P<{name}{count[name]}>{_FORMS[name]})")
            count[name] += 1
        else:
            out.append("." if piece == "?" else ".*" if len(piece) > 1 else r"[^/\\]*")
    return re.compile("".join(out))


def _arrange(matches: Iterable[tuple[str, re.Match[str]]], pattern: str) -> Series | None:
    """Sort files by their fields; every combination must be there once. None if there are no files."""
    places: dict[tuple[tuple[str | int, ...], ...], str] = {}
    words: dict[tuple[str | int, ...], str] = {}
    axes = ""
    for path, match in matches:
        found = match.groupdict()
        axes = "".join(axis for axis in _ORDER if f"{axis}0" in found)
        place = []
        for axis in axes:
            parts = [found[f"{axis}{i}"] for i in range(len(found)) if f"{axis}{i}" in found]
            key = tuple(int(p) if p.isdecimal() and p.isascii() else p for p in parts)
            if axis == "c":
                words.setdefault(key, "_".join(parts))
            place.append(key)
        if tuple(place) in places:
            other = os.path.basename(places[tuple(place)])
            raise ArgumentError(
                f"this file and {other} have the same place in the pattern {os.path.basename(pattern)}",
                path=path,
                hint="let the pattern match one of them",
            )
        places[tuple(place)] = path
    if not places:
        return None
    values = [sorted({place[i] for place in places}, key=_mixed) for i in range(len(axes))]
    _require_whole(axes, values, places, pattern)
    order = itertools.product(*values)
    named = "c" in axes and any(isinstance(part, str) for key in words for part in key)
    channels = [words[key] for key in values[axes.index("c")]] if named else None
    return Series([places[key] for key in order], axes.upper(), tuple(map(len, values)), channels)


def _mixed(key: tuple[str | int, ...]) -> list[tuple[bool, str | int]]:
    return [(isinstance(part, str), part) for part in key]


def _require_whole(
    axes: str,
    values: list[list[tuple[str | int, ...]]],
    places: dict[tuple[tuple[str | int, ...], ...], str],
    pattern: str,
) -> None:
    """Refuse a series in which a plane is missing, also one whose number no file has."""
    for axis, keys in zip(axes, values, strict=True):
        numbers = [part for key in keys for part in key if isinstance(part, int)]
        if len(numbers) == len(keys) == sum(map(len, keys)):
            missing = missing_numbers(numbers)
            if missing:
                _refuse_gap(f"{{{axis}}} = {missing[0]}", len(missing) - 1, pattern)
    lost = [place for place in itertools.product(*values) if place not in places]
    if lost:
        said = ", ".join(
            f"{{{axis}}} = {' '.join(map(str, key))}" for axis, key in zip(axes, lost[0], strict=True)
        )
        _refuse_gap(said, len(lost) - 1, pattern)


def _refuse_gap(what: str, others: int, pattern: str) -> None:
    more = f", and {others} more" if others else ""
    raise ArgumentError(
        f"the plane of {what} is missing{more}",
        path=pattern,
        hint="restore it, or let the pattern match a complete part of the files",
    )


# --- names without a pattern ----------------------------------------------------------------------


def micro_manager(paths: Sequence[str]) -> Series | None:
    """The files of Micro-Manager, by their names; None if they are others.

    Raises
    ------
    ArgumentError
        If they are of several positions, or not complete.
    """
    folders = {os.path.dirname(path) for path in paths}
    if len(folders) != 1:
        return None
    (folder,) = folders
    names = [os.path.basename(path) for path in paths]
    for name, known in _MICRO_MANAGER:
        if not all(map(known.fullmatch, names)):
            continue
        matches = map(_expression(name).fullmatch, names)
        positions = sorted({m[1] for m in map(_POSITION.search, names) if m})
        if len(positions) > 1:
            one = os.path.join(folder, name.replace("*", positions[0]))
            raise ArgumentError(
                f"the files are of {len(positions)} positions: {', '.join(positions)}",
                path=folder,
                hint=f"import one at a time: '{one}'",
            )
        found = ((path, match) for path, match in zip(paths, matches, strict=True) if match)
        return _arrange(found, os.path.join(folder, name))
    return None


def require_one_series(paths: Sequence[str]) -> None:
    """Refuse files whose names can be put into more than one order.

    Names may vary in one number, or in several that grow together (a number and a time). Names that are all
    words are taken as they come.

    Parameters
    ----------
    paths : sequence of str
        The files, in natural order.

    Raises
    ------
    ArgumentError
        If there are several numbers, or words and numbers; the hint shows a pattern.
    """
    rows = [_NUMBER.split(path) for path in paths]
    kinds = Counter(_skeleton(row) for row in rows)
    if len(kinds) == 1:
        varying = _varying(rows)
        columns = [[int(row[i]) for row in rows] for i in varying]
        if len(varying) < 2 or all(_grows(column) for column in columns):
            return
        what = f"{len(varying)} numbers"
    elif max(kinds.values()) > 1:
        what = "words and numbers"
    else:
        return
    first, last = os.path.basename(paths[0]), os.path.basename(paths[-1])
    raise ArgumentError(
        f"the names of the files vary in {what}, so they do not say which plane is which: {first} ... {last}",
        path=os.path.commonpath([os.path.dirname(path) for path in paths]),
        hint=f"pass a pattern with {{t}}, {{c}} and {{z}} in their places, such as '{_suggestion(rows)}'",
    )


def _skeleton(row: Sequence[str]) -> tuple[str, ...]:
    """A name without its numbers."""
    return tuple(part.lower().replace(".tiff", ".tif") for part in row[::2])


def _varying(rows: Sequence[Sequence[str]]) -> list[int]:
    """Places of the numbers that are not the same in all names."""
    return [i for i in range(1, len(rows[0]), 2) if len({int(row[i]) for row in rows}) > 1]


def _grows(column: Sequence[int]) -> bool:
    return all(a < b for a, b in itertools.pairwise(column))


def _suggestion(rows: Sequence[Sequence[str]]) -> str:
    """A pattern for files, as good as it can be guessed."""
    name = list(rows[0])
    free = list("tcz")
    if len({len(row) for row in rows}) > 1:
        return os.path.join(os.path.dirname("".join(name)), "T{t}_{c}_Z{z}.tif")
    for i in range(0, len(name), 2):
        texts = [row[i] for row in rows]
        if len(set(texts)) > 1 and "c" in free:
            start = _shared(texts)
            end = _shared([text[start:][::-1] for text in texts])
            name[i] = f"{texts[0][:start]}{{c}}{texts[0][len(texts[0]) - end :] if end else ''}"
            free.remove("c")
    varying = [i for i in _varying(rows) if len({row[i] for row in rows}) > 1]
    known = {}
    for i in varying:
        for field, letters in _HINTS:
            if field in free and letters.search(name[i - 1]):
                known[i] = field
                free.remove(field)
                break
    # The last number is usually the plane.
    for i in reversed(varying):
        if i not in known and free:
            known[i] = free.pop()
    for i, field in known.items():
        name[i] = f"{{{field}}}"
    return os.path.relpath("".join(name))


def _shared(texts: Sequence[str]) -> int:
    """How many letters all texts begin with."""
    return sum(
        1 for _ in itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*texts, strict=False))
    )


# --- gaps -----------------------------------------------------------------------------------------


def check_gaps(paths: Sequence[str]) -> None:
    """Refuse a numbered series of which a file in the middle is missing.

    Files are a series if their names differ in one number only.

    Raises
    ------
    ArgumentError
        If one is missing; the message names it.
    """
    rows = [_NUMBER.split(path) for path in paths]
    if len({tuple(row[::2]) for row in rows}) > 1:
        return
    varying = _varying(rows)
    if len(varying) != 1:
        return
    (field,) = varying
    missing = missing_numbers([int(row[field]) for row in rows])
    if missing:
        row = rows[0]
        padded = any(len(row[field]) > 1 and row[field][0] == "0" for row in rows)
        width = max(len(row[field]) for row in rows) if padded else 0
        lost = "".join([*row[:field], f"{missing[0]:0{width}d}", *row[field + 1 :]])
        more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ArgumentError(
            f"the plane {os.path.basename(lost)} is missing{more}: its neighbours are there",
            path=os.path.dirname(lost),
            hint="restore it; or pass the planes under names that are not numbered in one series",
        )


def missing_numbers(numbers: Sequence[int]) -> list[int]:
    """Numbers that a series lacks, where most of these follow one another at the same distance.

    Parameters
    ----------
    numbers : sequence of int
        In ascending order.
    """
    gaps = [b - a for a, b in itertools.pairwise(numbers)]
    if len(gaps) < 2:
        return []
    step = min(gaps)
    if gaps.count(step) * 2 < len(gaps) or step < 1 or any(gap % step for gap in gaps):
        return []  # dates, positions, ...: no series
    known = set(numbers)
    return [n for n in range(numbers[0], numbers[-1], step) if n not in known]
