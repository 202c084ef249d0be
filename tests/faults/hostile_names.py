"""Sixty names that lead elsewhere, or that something trips over; and a record of what is touched."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

#: Where the names that lead out of a store lead to; ``{}`` is the absolute path of the world.
CANARY = "outside/canary.zarr"

LEADING_OUT = [
    "..",
    "../",
    "../..",
    "../../..",
    "../../../..",
    "../outside/canary.zarr",
    "../../outside/canary.zarr",
    "../../../outside/canary.zarr",
    "../../../../outside/canary.zarr",
    "../../../../../outside/canary.zarr",
    "A/../../../outside/canary.zarr",
    "A/1/../../../../outside/canary.zarr",
    "0/../../../../../outside/canary.zarr",
    "./../../outside/canary.zarr",
    ".//..//..//outside//canary.zarr",
    "A/..",
    "A/1/0/../../../..",
    "{}/outside/canary.zarr",
    "/{}/outside/canary.zarr",
    "//{}/outside/canary.zarr",
    "/",
    "//",
    "/etc/canary",
    "..\\..\\outside\\canary.zarr",
    "..\\..\\..\\outside\\canary.zarr",
    "A\\..\\..\\..\\outside\\canary.zarr",
    "\\\\server\\canary",
    "\\canary",
    "C:\\canary",
    "C:/canary",
    "c:canary/..",
    "../p.zarr.canary",
    "../p.zarr/../../outside/canary.zarr",
    "",
    ".",
    "./.",
    "\0",
    "../../outside/canary.zarr\0",
    "0\0/../../../../outside/canary.zarr",
]

ODD = [
    "~/canary",
    "~root",
    "$HOME/canary",
    "${HOME}",
    "`touch canary`",
    "$(touch canary)",
    "; touch canary",
    "%2e%2e/%2e%2e/outside/canary.zarr",
    "..%2f..%2foutside%2fcanary.zarr",
    "..;/..;/canary",
    "..../..../canary",
    "\uff0e\uff0e/\uff0e\uff0e/canary",
    "\u2025/\u2025/canary",
    "..\u2215..\u2215canary",
    "file:///etc/canary",
    "http://127.0.0.1:9/canary",
    "s3://bucket/canary",
    "zarr.json",
    ".zattrs",
    "c/0/0/0/0/0",
    "canary\n",
    " ",
    "canary ",
    "con",
    "nul.canary",
    "\u202egnp.canary",
    "\ud800canary",
    "n" * 300,
    "d/" * 3000 + "canary",
]

NAMES = [*LEADING_OUT, *ODD]

_FILES = {
    "open": (0,),
    "os.listdir": (0,),
    "os.scandir": (0,),
    "os.mkdir": (0,),
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.rename": (0, 1),
    "os.link": (0, 1),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "os.chmod": (0,),
    "os.utime": (0,),
    "shutil.rmtree": (0,),
    "shutil.move": (0, 1),
}
_touched: list[set[str]] = []
_hooked = False


def _hook(event: str, args: tuple[object, ...]) -> None:
    if not _touched or event not in _FILES:
        return
    for index in _FILES[event]:
        path = args[index]
        # A relative one is below a directory that was opened before; the library names no others.
        if isinstance(path, (str, bytes, os.PathLike)) and os.path.isabs(os.fsdecode(path)):
            _touched[-1].add(os.path.normpath(os.fsdecode(path)))


@contextlib.contextmanager
def touching() -> Iterator[set[str]]:
    """Absolute paths that Python opens, lists, makes, renames or removes meanwhile."""
    global _hooked
    if not _hooked:  # a hook can never be taken off again
        sys.addaudithook(_hook)
        _hooked = True
    found: set[str] = set()
    _touched.append(found)
    try:
        yield found
    finally:
        _touched.remove(found)


def outside(touched: set[str], world: Path, store: Path) -> list[str]:
    """Which of them lie in the world, or at a canary, but not in the store or beside it under its name."""
    wrong = []
    for path in touched:
        real = os.path.realpath(path) if "\0" not in path else path
        for place in {path, real}:
            watched = place.startswith(f"{world}/") or "canary" in place
            if watched and not _may_be_touched(place, world, store):
                wrong.append(place)
    return sorted(set(wrong))


def _may_be_touched(place: str, world: Path, store: Path) -> bool:
    """The directory of the store, the store, what writers keep beside it, and where copies go."""
    if place == str(store.parent) or place == f"{world}/copies" or place.startswith(f"{world}/copies/"):
        return True
    if not place.startswith(f"{store.parent}/"):
        return False
    first = os.path.relpath(place, store.parent).split(os.sep)[0]
    return store.name in first and "canary" not in first
