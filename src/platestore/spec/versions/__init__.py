r"""The versions of OME-NGFF: which there are, which one a group states, and what is asked of it.

Each version is an :class:`Adapter` (``v04``, ``v05``): it says where its metadata lie in JSON, the version of
zarr that its hierarchies are stored in, and what it has. One that comes is a module here and an entry of the
lookup. Several versions may share a version of zarr, so none is concluded from that: groups state theirs,
and those that state none are taken for the first version that is stored so.

====================  ====================================  =====================================
\                     0.4 (zarr v2)                         0.5 (zarr v3)
====================  ====================================  =====================================
where                 attributes of the group, top level    ``attributes["ome"]``
version               in each object                        ``ome.version``, and in ``plate``
====================  ====================================  =====================================

In both, a document that could not be valid yet (a plate without a well, a well or an image without
an image) is kept under platestore's own namespace until it can.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from platestore.errors import InvalidMetadataError, UnsupportedVersionError
from platestore.spec.values import Json
from platestore.spec.versions.adapter import (
    NAMESPACE,
    PARTS,
    Adapter,
    Kind,
    Version,
    ZarrFormat,
    own_of,
)
from platestore.spec.versions.v04 import V04
from platestore.spec.versions.v05 import V05

__all__ = [
    "ADAPTERS",
    "DEFAULT_VERSION",
    "LABELS_MISPLACED",
    "NAMES",
    "NAMESPACE",
    "STANDINGS",
    "Adapter",
    "Kind",
    "Version",
    "ZarrFormat",
    "adapter",
    "assumed",
    "bare_attributes",
    "check_version",
    "convert",
    "detect_version",
    "kind_of",
    "laid_out",
    "lies_wrongly",
    "misplaced",
    "new_version",
    "of",
    "only_ours",
    "own_part",
    "sharding",
    "standing",
]

#: The versions that are read and written, by name.
ADAPTERS: dict[str, Adapter] = {adapter.name: adapter for adapter in (V04(), V05())}
#: What a new store is, if nothing is asked for that only another version has.
DEFAULT_VERSION: Version = "0.4"
#: Which versions there are, in words.
NAMES = " and ".join(ADAPTERS)
_SHOWN = 20  # characters of a version in a message
#: What is said of versions that are recognised but not read, and what the user can do.
STANDINGS = {
    # Flat metadata of 0.1-0.3 differs in axes only, but those are what everything here relies on.
    "old": (
        "is too old to be read",
        f"convert the store to {' or '.join(ADAPTERS)} with the program that wrote it",
    ),
    "coming": ("is not yet supported", f"platestore reads and writes {NAMES}; 0.6 is still being written"),
}
# By the first three characters, if no digit follows: 0.6rc0 is coming, 0.60 is not known.
_STANDING: dict[str, Literal["old", "coming"]] = {"0.1": "old", "0.2": "old", "0.3": "old", "0.6": "coming"}
_STORED: dict[int, list[Adapter]] = {}
for _adapter in ADAPTERS.values():
    _STORED.setdefault(_adapter.zarr_format, []).append(_adapter)


# --- which version --------------------------------------------------------------------------------


def adapter(version: Version) -> Adapter:
    """The adapter of a version."""
    return ADAPTERS[version]


def assumed(zarr_format: int) -> Adapter:
    """What groups of a version of zarr are taken for that state no version."""
    return _STORED[zarr_format][0]


def of(attributes: Mapping[str, Any], zarr_format: int) -> Adapter:
    """The version that a group states, of those in its version of zarr; else the assumed one."""
    first, *others = _STORED[zarr_format]
    return next((other for other in others if other.stated(attributes) == other.name), first)


def laid_out(attributes: Mapping[str, Any], place: tuple[str, ...]) -> Adapter:
    """The version that attributes state, of those that keep metadata in a place; else the first of them."""
    first, *others = [each for each in ADAPTERS.values() if each.place == place]
    return next((other for other in others if other.stated(attributes) == other.name), first)


def sharding() -> Adapter:
    """The first version that has shards (and archives)."""
    return next(each for each in ADAPTERS.values() if each.has_shards)


def new_version(asked: object, *, sharded: bool) -> Version:
    """The version of a new store: what is asked for; else the default, or the first that has shards.

    Parameters
    ----------
    asked : str, optional
        The version, if it was named.
    sharded : bool
        Whether shards or checksums are asked for, which not every version has.
    """
    if asked is not None:
        return check_version(asked)
    return sharding().name if sharded and not ADAPTERS[DEFAULT_VERSION].has_shards else DEFAULT_VERSION


def check_version(version: object) -> Version:
    """Check the version given for creation.

    Raises
    ------
    UnsupportedVersionError
        If there is none of this name.
    """
    found = ADAPTERS.get(version) if isinstance(version, str) else None
    if found is None:
        raise UnsupportedVersionError(
            f"OME-NGFF version {version!r} cannot be written", hint=f"use {' or '.join(map(repr, ADAPTERS))}"
        )
    return found.name


def detect_version(attributes: Mapping[str, Any], zarr_format: int, *, path: str) -> Version:
    """Version of a group as its attributes state it.

    Parameters
    ----------
    attributes : mapping
        Attributes of the group.
    zarr_format : int
        2 or 3.
    path : str
        Path of the group, for errors.

    Returns
    -------
    {"0.4", "0.5"}

    Raises
    ------
    UnsupportedVersionError
        If it is an older one, or 0.6 or another newer one.
    InvalidMetadataError
        If the version is no string.
    """
    found = of(attributes, zarr_format)
    stated = found.stated(attributes)
    if stated is None or stated == found.name:
        return found.name
    if not isinstance(stated, str):
        raise InvalidMetadataError(f"the OME-NGFF version is {stated!r}, not a string", path=path)
    known = standing(stated)
    if known in STANDINGS:
        what, hint = STANDINGS[known]
        raise UnsupportedVersionError(f"OME-NGFF {_short(stated)} {what}", path=path, hint=hint)
    raise UnsupportedVersionError(
        f"OME-NGFF {_short(stated)} on zarr v{zarr_format} is not supported",
        path=path,
        hint="platestore reads "
        + " and ".join(f"{each.name} on zarr v{each.zarr_format}" for each in ADAPTERS.values()),
    )


def standing(version: str) -> Literal["current", "old", "coming", "unknown"]:
    """What a version is to this library: one it reads, one before those, 0.6, or none it knows."""
    if version in ADAPTERS:
        return "current"
    return "unknown" if version[3:4].isdigit() else _STANDING.get(version[:3], "unknown")


def _short(version: str) -> str:
    return version if version.isprintable() and len(version) <= _SHOWN else f"{version[:_SHOWN]!r}"


# --- what is asked of it --------------------------------------------------------------------------


def kind_of(attributes: Mapping[str, Any], zarr_format: int) -> Kind:
    """What a group is by its attributes; see :meth:`Adapter.kind_of`."""
    return of(attributes, zarr_format).kind_of(attributes)


def own_part(attributes: Mapping[str, Any]) -> Json:
    """The JSON of platestore's namespace, without the documents that wait in it."""
    waiting = {key for keys in PARTS.values() for key in keys}
    return {key: value for key, value in own_of(attributes).items() if key not in waiting}


def bare_attributes(version: Version, kind: Kind, parts: Mapping[str, Any], own: Mapping[str, Any]) -> Json:
    """Attributes of a new group."""
    attributes: Json = {}
    ADAPTERS[version].pack(attributes, kind, parts, own)
    return attributes


_TOPS = {each.place[0] for each in ADAPTERS.values() if each.place}


def only_ours(attributes: Mapping[str, Any]) -> bool:
    """Whether attributes hold nothing but what this library writes."""
    parts = {key for keys in PARTS.values() for key in keys}
    return set(attributes) <= {NAMESPACE, *_TOPS, *parts}


def convert(attributes: Mapping[str, Any], source_format: int, target: Version, kind: Kind) -> Json:
    """The attributes of a group in another version, with everything that others keep there.

    Keys of others stay at the top level; those that they put into ``ome`` come there in 0.4, and stay. Where
    the name is taken, the specification's key goes before a user's, and a user's before that in ``ome``; what
    gives way (as does a user's own ``ome`` in 0.5) is kept in platestore's namespace until the way back.

    Parameters
    ----------
    attributes : mapping
        Attributes of the group; they are not changed.
    source_format : int
        Version of zarr that they are from.
    target : {"0.4", "0.5"}
        Version wanted; the result is an equal copy if it is that of the source.
    kind : str
        What the group is; ``"unknown"`` leaves it to the attributes.
    """
    return ADAPTERS[target].convert(attributes, of(attributes, source_format), kind)


#: What is said of such a list.
LABELS_MISPLACED = "the list of label images lies in the document of the image, not in that of 'labels'"


def misplaced(document: Mapping[str, Any], zarr_format: int) -> str | None:
    """Where metadata of OME-NGFF lie that are not where the version of zarr keeps them.

    Parameters
    ----------
    document : mapping
        The whole ``zarr.json``, or the attributes of zarr v2.
    zarr_format : int
        2 or 3.

    Returns
    -------
    str or None
        A clause for a message, such as "the metadata lies at the top level, as in 0.4, but the group is of
        zarr v3"; None if there are none anywhere.
    """
    around = _AROUND[zarr_format]
    right = (*around, *assumed(zarr_format).place)
    waiting: list[tuple[tuple[str, ...], Mapping[str, Any]]] = [((), document)]
    for place, mapping in waiting:
        if place != right:
            found = next((k for k in _SOUGHT if _is_metadata(k, mapping.get(k))), None)
            if found is not None:
                return _at(place, found, zarr_format)
        if len(place) < _DEEPEST and len(waiting) < _MOST:
            inner = ((key, value) for key, value in mapping.items() if key != NAMESPACE)
            waiting += [((*place, str(key)), value) for key, value in inner if isinstance(value, Mapping)]
    return None


# The keys that lead to the attributes of a group, in its document.
_AROUND: dict[int, tuple[str, ...]] = {2: (), 3: ("attributes",)}
# Looked for so deep, in so many objects, by what each key holds.
_DEEPEST, _MOST = 4, 1000
_SOUGHT = {"multiscales": "datasets", "plate": "wells", "well": "images"}


def _is_metadata(key: str, value: Any) -> bool:
    """Whether a value is what the specification keeps under a key, and not somebody's own of that name."""
    first = value[0] if key == "multiscales" and isinstance(value, list) and value else value
    return isinstance(first, Mapping) and isinstance(first.get(_SOUGHT[key]), list)


def _at(place: tuple[str, ...], key: str, zarr_format: int) -> str:
    around = _AROUND[zarr_format]
    other = next((each for each in ADAPTERS.values() if (*around, *each.place) == place), None)
    if other is not None:
        return lies_wrongly(other, zarr_format)
    where = f"in {'.'.join(place)!r}" if place else "beside the attributes"
    right = ".".join((*around, *assumed(zarr_format).place))
    found = repr(right) if right else "the top level of .zattrs"
    return f"{key!r} lies {where}, where no reader looks for it: its place is {found}"


def lies_wrongly(version: Adapter, zarr_format: int) -> str:
    """What is said of metadata that lie as in a version that is not stored in this version of zarr."""
    where = f"{version.place_words}, as in {version.name}"
    return f"the metadata lies {where}, but the group is of zarr v{zarr_format}"
