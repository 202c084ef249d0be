"""Which files a stack consists of: folders, patterns and lists of paths, in the order of their numbers."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from platestore.errors import ArgumentError, NodeNotFoundError

_ENDS = (".tif", ".tiff")
_NUMBER = re.compile(r"(\d+)", re.ASCII)


def is_paths(planes: Any) -> bool:
    """Whether planes are named by paths: one, or a list of them."""
    if isinstance(planes, (str, os.PathLike)):
        return True
    return isinstance(planes, (list, tuple)) and all(isinstance(p, (str, os.PathLike)) for p in planes)


def find_files(planes: Any) -> list[str]:
    """Absolute paths of the files that hold the planes, sorted by the numbers in their names.

    Parameters
    ----------
    planes : path, or list of paths
        Files, folders (of their ``.tif`` and ``.tiff`` files) and patterns.

    Raises
    ------
    NodeNotFoundError
        If a file does not exist, or a pattern matches nothing.
    ArgumentError
        If a folder holds no TIFF file, a file is named twice, or there is a gap in the numbers.
    """
    given = [planes] if isinstance(planes, (str, os.PathLike)) else list(planes)
    found = sorted(itertools.chain.from_iterable(map(_files, given)), key=natural_key)
    if not found:
        raise ArgumentError("there are no planes: the list of files is empty")
    twice = [path for path, count in Counter(found).items() if count > 1]
    if twice:
        raise ArgumentError("this plane is named more than once", path=twice[0])
    check_gaps(found)
    return found


def _files(item: Any) -> list[str]:
    """The files that one path stands for."""
    text = os.fspath(item)
    if not isinstance(text, str) or not text or "\0" in text:
        raise ArgumentError(f"{item!r} is no path")
    path = os.path.abspath(text)
    if os.path.isdir(path):
        names = [name for name in os.listdir(path) if name.lower().endswith(_ENDS) and name[0] != "."]
        if not names:
            raise ArgumentError(
                "the folder holds no .tif or .tiff files", path=path, hint="name the files, or a pattern"
            )
        return [os.path.join(path, name) for name in names]
    if os.path.exists(path):
        return [path]
    if glob.has_magic(text):
        matches = [os.path.abspath(m) for m in glob.glob(text, recursive=True) if os.path.isfile(m)]
        if matches:
            return matches
        raise NodeNotFoundError("no file matches this pattern", path=text)
    raise NodeNotFoundError("there is no such file", path=path)


def natural_key(path: str) -> list[Any]:
    """Sort key by which ``z9`` comes before ``z10``."""
    return [int(part) if i % 2 else part for i, part in enumerate(_NUMBER.split(path))]


def check_gaps(paths: Sequence[str]) -> None:
    """Refuse a numbered series of which a file in the middle is missing.

    Files are a series if their names differ in one number only, and most of these follow one another at the
    same distance.

    Raises
    ------
    ArgumentError
        If one is missing; the message names it.
    """
    parts = [_NUMBER.split(path) for path in paths]
    if len(parts) < 3 or len({len(p) for p in parts}) > 1 or len({tuple(p[::2]) for p in parts}) > 1:
        return
    varying = [i for i in range(1, len(parts[0]), 2) if len({int(p[i]) for p in parts}) > 1]
    if len(varying) != 1:
        return
    (field,) = varying
    gaps = [int(b[field]) - int(a[field]) for a, b in itertools.pairwise(parts)]
    counts = Counter(gaps)
    step = min(gaps)
    if counts[step] * 2 < len(gaps) or step < 1 or any(gap % step for gap in gaps):
        return  # dates, positions, ...: no series
    missing = []
    for before, gap in zip(parts, gaps, strict=False):
        first = int(before[field])
        for number in range(first + step, first + gap, step):
            width = len(before[field]) if before[field][0] == "0" else 0
            missing.append("".join([*before[:field], f"{number:0{width}d}", *before[field + 1 :]]))
    if missing:
        more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ArgumentError(
            f"the plane {os.path.basename(missing[0])} is missing{more}: its neighbours are there",
            path=os.path.dirname(missing[0]),
            hint="restore it; or pass the planes under names that are not numbered in one series",
        )
