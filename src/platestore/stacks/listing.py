"""Which files a stack consists of: folders, patterns and lists of paths, in the order of their numbers."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections import Counter
from typing import Any

from platestore.errors import ArgumentError, NodeNotFoundError
from platestore.stacks.naming import (
    Series,
    check_gaps,
    is_pattern,
    match_pattern,
    micro_manager,
    require_one_series,
)

_ENDS = (".tif", ".tiff")
_NUMBER = re.compile(r"(\d+)", re.ASCII)


def is_paths(planes: Any) -> bool:
    """Whether planes are named by paths: one, or a list of them."""
    if isinstance(planes, (str, os.PathLike)):
        return True
    return isinstance(planes, (list, tuple)) and all(isinstance(p, (str, os.PathLike)) for p in planes)


def find_series(planes: Any) -> Series:
    """The files that hold the planes, and how they are arranged.

    Parameters
    ----------
    planes : path, or list of paths
        Files, folders (of their ``.tif`` and ``.tiff`` files) and patterns of a shell, in the order of the
        numbers in their names; or one pattern with ``{t}``, ``{c}`` and ``{z}``.

    Raises
    ------
    NodeNotFoundError
        If a file does not exist, or a pattern matches nothing.
    ArgumentError
        If a folder holds no TIFF file, a file is named twice, a plane is missing, or the names do not say how
        the planes are arranged.
    """
    given = [planes] if isinstance(planes, (str, os.PathLike)) else list(planes)
    texts = [os.fspath(item) for item in given]
    patterns = [text for text in texts if isinstance(text, str) and is_pattern(text)]
    if patterns:
        if len(given) > 1:
            raise ArgumentError("a pattern with {t}, {c} or {z} stands alone", path=patterns[0])
        return match_pattern(patterns[0])
    found = sorted(itertools.chain.from_iterable(map(_files, given)), key=natural_key)
    if not found:
        raise ArgumentError("there are no planes: the list of files is empty")
    twice = [path for path, count in Counter(found).items() if count > 1]
    if twice:
        raise ArgumentError("this plane is named more than once", path=twice[0])
    if len(found) == 1:
        return Series(found, "", ())
    series = micro_manager(found)
    if series is not None:
        return series
    require_one_series(found)
    check_gaps(found)
    return Series(found, "Z", (len(found),))


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


def natural_key(path: str) -> list[str | int]:
    """Sort key by which ``z9`` comes before ``z10``."""
    return [int(part) if i % 2 else part for i, part in enumerate(_NUMBER.split(path))]
