"""Names that may be written: of rows, columns, fields and images.

Rows, columns and fields are ``[A-Za-z0-9]+`` by the specification. Names that some operating system
keeps for itself are refused everywhere, so that a plate made on Linux can be copied to Windows.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection

from platestore.errors import InvalidMetadataError, InvalidNameError

ALPHANUMERIC = re.compile(r"[A-Za-z0-9]+")
_NODE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_RESERVED = re.compile(r"(?i:con|prn|aux|nul|com[0-9]|lpt[0-9])")
_RUN_OF_DIGITS = re.compile(r"(\d+)", re.ASCII)
_LONGEST, _DEEPEST = 255, 64
# Files that zarr keeps: no group or array has such a name, and removing one would take a group its document.
_DOCUMENTS = frozenset({"zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata"})
# Groups that the specification gives another meaning inside an image or a series.
_SPECIAL = frozenset({"labels", "OME"})


def check_field_name(name: object, kind: str) -> str:
    """Check the name of a row, column or field (position).

    Parameters
    ----------
    name : object
        The name; anything but a ``str`` is refused.
    kind : str
        ``"row"``, ``"column"`` or ``"position"``, for the message.

    Returns
    -------
    str
        The name.

    Raises
    ------
    InvalidNameError
        If it is not ``[A-Za-z0-9]+`` as a whole, or reserved by an operating system.
    """
    if not isinstance(name, str):
        raise InvalidNameError(f"a {kind} name must be a string, not {type(name).__name__} {name!r}")
    # fullmatch: "$" lets a trailing newline through, and str.isalnum() accepts letters like "Ä" and "²".
    if not ALPHANUMERIC.fullmatch(name):
        raise InvalidNameError(
            f"{name!r} cannot be the name of a {kind}",
            hint="OME-NGFF allows the letters A-Z and a-z and the digits 0-9 only",
        )
    return _not_reserved(name, kind)


def check_image_name(name: object) -> str:
    """Check the name of an image array: one path segment of ``A-Za-z0-9._-``.

    Raises
    ------
    InvalidNameError
        If another system, or zarr itself, could not keep an array of this name.
    """
    if not isinstance(name, str):
        raise InvalidNameError(f"an image name must be a string, not {type(name).__name__} {name!r}")
    if not _NODE_NAME.fullmatch(name) or name.startswith("__") or name.endswith("."):
        raise InvalidNameError(
            f"{name!r} cannot be the name of an image",
            hint="use letters, digits, '-', '_' and inner '.', without a leading '__'",
        )
    if name in _SPECIAL or name == "zarr.json":
        raise InvalidNameError(f"{name!r} has another meaning in an OME-Zarr image")
    return _not_reserved(name, "image")


def _not_reserved(name: str, kind: str) -> str:
    if _RESERVED.fullmatch(name.split(".")[0]):
        raise InvalidNameError(
            f"{name!r} cannot be the name of a {kind}: Windows reserves it for a device",
            hint="choose another name, so that the store can be copied anywhere",
        )
    return name


def split_path(path: str, *, location: str, document: str) -> str:
    """Normalise a path that a document gives, relative to the document's group.

    Parameters
    ----------
    path : str
        The path as written (``A/1``, ``0``).
    location : str
        The field it was written in, for the error.
    document : str
        The document, for the error.

    Returns
    -------
    str
        The path without empty segments.

    Raises
    ------
    InvalidMetadataError
        If it is absolute, empty, or leads out of its group.
    """
    clean = _inside(path)
    if clean is None:
        raise InvalidMetadataError(
            f"{location} is {path!r}, which is not a path inside this store",
            path=document,
            hint="the document was damaged or made to reach other files; nothing outside the store is opened",
        )
    return clean


@functools.lru_cache(maxsize=1024)
def _inside(path: str) -> str | None:
    """A path without empty segments, or None if it leads out; thousands of positions have the same few."""
    segments = path.replace("\\", "/").split("/")
    clean = [segment for segment in segments if segment not in ("", ".")]
    drive = bool(clean) and re.fullmatch(r"[A-Za-z]:", clean[0]) is not None
    leads_out = not clean or ".." in clean or path[:1] in ("/", "\\") or drive
    if leads_out or "\0" in path or _DOCUMENTS & set(clean) or not _can_be_named(clean):
        return None
    return "/".join(clean)


def is_member_name(name: str) -> bool:
    """Whether a name that a document gives can be that of a member of a directory, and stays in it."""
    one = bool(name.strip(".")) and not set(name) & set("/\\\0") and not re.match(r"[A-Za-z]:", name)
    return one and name not in _DOCUMENTS and _can_be_named([name])


def _can_be_named(segments: list[str]) -> bool:
    """Whether some file system could have a file there: neither broken text, nor endless."""
    try:
        return len(segments) <= _DEEPEST and all(len(s.encode()) <= _LONGEST for s in segments)
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can hold and no file name can
        return False


def normalise_key(key: object) -> str:
    """Turn a user's key (``0``, ``"A/1"``, ``("A", 1)``) into a path relative to a node.

    Raises
    ------
    InvalidNameError
        If it is no string, integer or tuple of these, or has ``..`` segments.
    """
    if isinstance(key, tuple) and key:
        return "/".join(map(normalise_key, key))
    if isinstance(key, bool) or not isinstance(key, (str, int)):
        raise InvalidNameError(f"a key must be a string or an integer, not {type(key).__name__}")
    segments = [s for s in str(key).replace("\\", "/").split("/") if s not in ("", ".")]
    if ".." in segments:
        raise InvalidNameError(f"{key!r} leads out of this node", hint="name a member below it")
    return "/".join(segments)


def split_well(text: str) -> list[str]:
    """Row and column of a well that is written without a slash (``B2``); one of them may be empty."""
    letters = text.rstrip("0123456789")
    return [letters, text[len(letters) :]]


def spelled_as_listed(path: str, wells: Collection[str]) -> str:
    """A path inside a plate, with its well spelled as the plate spells it.

    A well may be written without a slash (``B2``, ``B2/0``), and its column with other leading zeros
    (``B/02`` for ``B/2``). What the plate lists literally goes first; where several columns have the same
    number, none is meant.

    Parameters
    ----------
    path : str
        A row, a well, or something below it.
    wells : collection of str
        Paths of the wells that the plate lists.
    """
    parts = path.split("/")
    if "/".join(parts[:2]) in wells:
        return path
    rows = {well.partition("/")[0] for well in wells}
    if parts[0] not in rows and all(split := split_well(parts[0])):
        parts[:1] = split
    if len(parts) > 1 and parts[0] in rows and _is_number(parts[1]):
        columns = [column for row, _, column in (w.partition("/") for w in wells) if row == parts[0]]
        same = [column for column in columns if _is_number(column) and int(column) == int(parts[1])]
        if parts[1] not in same and len(same) == 1:
            parts[1] = same[0]
    return "/".join(parts)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def natural_key(path: str) -> list[str | int]:
    """Sort key by which ``z9`` comes before ``z10``."""
    return [int(part) if i % 2 else part for i, part in enumerate(_RUN_OF_DIGITS.split(path))]
