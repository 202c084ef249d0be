r"""The one place that knows how the versions lay the same models out in JSON.

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

import copy
import re
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Literal

from platestore.errors import InvalidMetadataError, UnsupportedVersionError
from platestore.spec.names import is_member_name

Version = Literal["0.4", "0.5"]
Kind = Literal["plate", "well", "image", "label", "labels", "series", "unknown"]

#: What a new store is, if nothing is asked for that only another version has.
DEFAULT_VERSION: Version = "0.4"
#: The key of platestore's namespace among a group's attributes, in every version.
NAMESPACE = "platestore"
ZARR_FORMATS: dict[str, int] = {"0.4": 2, "0.5": 3}
_OME = "ome"
_SHOWN = 20  # characters of a version in a message
#: What is said of versions that are recognised but not read, and what the user can do.
STANDINGS = {
    # Flat metadata of 0.1-0.3 differs in axes only, but those are what everything here relies on.
    "old": ("is too old to be read", "convert the store to 0.4 or 0.5 with the program that wrote it"),
    "coming": ("is not yet supported", "platestore reads and writes 0.4 and 0.5; 0.6 is still being written"),
}
# By the first three characters, if no digit follows: 0.6rc0 is coming, 0.60 is not known.
_STANDING: dict[str, Literal["old", "coming"]] = {"0.1": "old", "0.2": "old", "0.3": "old", "0.6": "coming"}
_PARTS: dict[str, tuple[str, ...]] = {
    "plate": ("plate",),
    "well": ("well",),
    "image": ("multiscales", "omero"),
    "label": ("multiscales", "omero", "image-label"),
    "labels": ("labels",),
}
_SERIES_LAYOUT = "bioformats2raw.layout"
# What the keys of the specification hold; a key of that name that holds something else is a user's.
_HOLDS: dict[str, type] = {
    **dict.fromkeys(("plate", "well", "omero", "image-label"), dict),
    **dict.fromkeys(("multiscales", "labels", "series"), list),
    **dict.fromkeys((_SERIES_LAYOUT, "@id", "@type"), object),
}
# Where platestore's namespace keeps what had to give way when a group was converted.
_DISPLACED, _TOP = "displaced", "attributes"


def new_version(asked: object, *, sharded: bool) -> Version:
    """The version of a new store: what is asked for; else the default, or 0.5 for what only that has.

    Parameters
    ----------
    asked : str, optional
        The version, if it was named.
    sharded : bool
        Whether shards are asked for, which 0.4 has not.
    """
    if asked is not None:
        return check_version(asked)
    return "0.5" if sharded else DEFAULT_VERSION


def check_version(version: object) -> Version:
    """Check the version given for creation.

    Raises
    ------
    UnsupportedVersionError
        If it is neither ``"0.4"`` nor ``"0.5"``.
    """
    if version == "0.4":
        return "0.4"
    if version == "0.5":
        return "0.5"
    raise UnsupportedVersionError(
        f"OME-NGFF version {version!r} cannot be written", hint="use '0.4' or '0.5'"
    )


def container(attributes: Mapping[str, Any], zarr_format: int) -> Mapping[str, Any]:
    """The mapping that holds the OME keys: the ``ome`` object, or the attributes themselves."""
    if zarr_format == 3:
        ome = attributes.get(_OME, {})
        return ome if isinstance(ome, Mapping) else {}
    return attributes


def kind_of(attributes: Mapping[str, Any], zarr_format: int) -> Kind:
    """What a group is by its attributes: a plate before all others, as the specification ranks.

    A label image is an image with ``image-label``; a ``labels`` group is one with a list of that name. A
    collection that has an image in its own document is that image: bioformats2raw writes single images so.
    """
    ome = container(attributes, zarr_format)
    keys = {*ome, *_own(attributes)}
    if "plate" in keys:
        return "plate"
    if "multiscales" in keys:
        return "label" if "image-label" in keys else "image"
    if _SERIES_LAYOUT in keys:
        return "series"
    if "well" in keys:
        return "well"
    return "labels" if isinstance(ome.get("labels"), list) else "unknown"


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
    expected: Version = "0.5" if zarr_format == 3 else "0.4"
    stated = stated_version(attributes, zarr_format)
    if stated is None or stated == expected:
        return expected
    if not isinstance(stated, str):
        raise InvalidMetadataError(f"the OME-NGFF version is {stated!r}, not a string", path=path)
    found = standing(stated)
    if found in STANDINGS:
        what, hint = STANDINGS[found]
        raise UnsupportedVersionError(f"OME-NGFF {_short(stated)} {what}", path=path, hint=hint)
    raise UnsupportedVersionError(
        f"OME-NGFF {_short(stated)} on zarr v{zarr_format} is not supported",
        path=path,
        hint="platestore reads 0.4 on zarr v2 and 0.5 on zarr v3",
    )


def standing(version: str) -> Literal["current", "old", "coming", "unknown"]:
    """What a version is to this library: one it reads, one before those, 0.6, or none it knows."""
    if version in ZARR_FORMATS:
        return "current"
    return "unknown" if version[3:4].isdigit() else _STANDING.get(version[:3], "unknown")


def _short(version: str) -> str:
    return version if version.isprintable() and len(version) <= _SHOWN else f"{version[:_SHOWN]!r}"


def stated_version(attributes: Mapping[str, Any], zarr_format: int) -> Any:
    """The version that a group states, whatever that is; None if it states none."""
    own = _own(attributes).get("version")
    if zarr_format == 3:
        return container(attributes, 3).get("version", own)
    multiscales = attributes.get("multiscales")
    first = multiscales[0] if isinstance(multiscales, list) and multiscales else None
    for item in (attributes.get("plate"), attributes.get("well"), first):
        if isinstance(item, Mapping) and "version" in item:
            return item["version"]
    return own


def _own(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    own = attributes.get(NAMESPACE, {})
    return own if isinstance(own, Mapping) else {}


def unpack(attributes: Mapping[str, Any], zarr_format: int, kind: Kind) -> dict[str, Any]:
    """The JSON of the parts that make up a node, wherever the version keeps them."""
    ome, own = container(attributes, zarr_format), _own(attributes)
    return {key: (ome if key in ome else own)[key] for key in _PARTS[kind] if key in ome or key in own}


def own_part(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON of platestore's namespace, without the documents that wait in it."""
    waiting = {key for keys in _PARTS.values() for key in keys}
    return {key: value for key, value in _own(attributes).items() if key not in waiting}


def pack(
    attributes: MutableMapping[str, Any],
    version: Version,
    kind: Kind,
    parts: Mapping[str, Any],
    own: Mapping[str, Any],
) -> None:
    """Write the parts of a node, and platestore's namespace, into attributes.

    Parameters
    ----------
    attributes : mutable mapping
        Attributes of the group, changed in place; keys of others stay.
    version : {"0.4", "0.5"}
        Version of the store.
    kind : {"plate", "well", "image", "label", "labels"}
        What the group is.
    parts : mapping
        JSON of the parts, by key; a part that is missing is left as it is in the document, one that is
        None is taken out.
    own : mapping
        JSON of platestore's namespace.
    """
    present = unpack(attributes, ZARR_FORMATS[version], kind)
    gone = {key for key, value in parts.items() if value is None}
    given = {key: _stamp(key, value, version) for key, value in parts.items() if key not in gone}
    parts = {key: value for key, value in {**present, **given}.items() if key not in gone}
    valid = _can_be_valid(kind, parts)
    keys = tuple(dict.fromkeys((*_PARTS[kind], *parts, *gone)))
    namespace = dict(own)
    if not valid:
        namespace = {"version": version, **namespace, **parts}
    else:
        namespace.pop("version", None)
    if version == "0.5":
        ome = dict(_object(attributes.get(_OME)))
        _place(ome, keys, parts, valid=valid)
        extra = {key: value for key, value in ome.items() if key != "version"}
        if extra:
            attributes[_OME] = {"version": version, **extra}
        else:
            attributes.pop(_OME, None)
    else:
        _place(attributes, keys, parts, valid=valid)
    if namespace:
        attributes[NAMESPACE] = namespace
    else:
        attributes.pop(NAMESPACE, None)


def _place(
    target: MutableMapping[str, Any], keys: tuple[str, ...], parts: Mapping[str, Any], *, valid: bool
) -> None:
    for key in keys:
        if key in parts and valid:
            target[key] = parts[key]
        else:
            target.pop(key, None)


def _can_be_valid(kind: Kind, parts: Mapping[str, Any]) -> bool:
    """Whether the specification's document can be valid: at least one well, image or dataset."""
    if kind == "labels":
        return True
    if kind == "plate":
        return bool(parts["plate"]["wells"])
    if kind == "well":
        return bool(parts["well"]["images"])
    images = parts["multiscales"]
    return bool(images) and all(image["datasets"] for image in images)


def _stamp(key: str, value: Any, version: Version) -> Any:
    """Put the version where 0.4 wants it, and take it out where 0.5 does not; plates of 0.5 say it twice."""
    if key == "multiscales":
        return [_stamp("image", item, version) for item in value]
    if key not in ("plate", "well", "image", "omero", "image-label"):
        return value  # somebody else's
    plain = {k: v for k, v in value.items() if k != "version"}
    # The schema of 0.5 leaves a plate's version free; there are readers that refuse a plate without it.
    return (
        {**plain, "version": version} if version == "0.4" or (key == "plate" and "wells" in plain) else plain
    )


def bare_attributes(
    version: Version, kind: Kind, parts: Mapping[str, Any], own: Mapping[str, Any]
) -> dict[str, Any]:
    """Attributes of a new group."""
    attributes: dict[str, Any] = {}
    pack(attributes, version, kind, parts, own)
    return attributes


def is_vital(path: str, zarr_format: int, kind: Kind) -> bool:
    """Whether a place in attributes, such as ``multiscales[0].name``, is in the specification's part.

    Rendering settings are no reason to keep pixels from anyone, and do not count.
    """
    keys = re.split(r"[.\[]", path, maxsplit=2)
    if zarr_format == 3:
        return keys[0] == _OME and keys[1:2] != ["omero"]
    return keys[0] in _PARTS.get(kind, ()) and keys[0] != "omero"


def series_parts(attributes: Mapping[str, Any], zarr_format: int) -> dict[str, Any]:
    """The keys of a bioformats2raw collection or of its ``OME`` group."""
    ome = container(attributes, zarr_format)
    return {key: copy.deepcopy(ome[key]) for key in (_SERIES_LAYOUT, "series") if key in ome}


def edit_container(
    attributes: MutableMapping[str, Any], version: Version, change: Callable[[dict[str, Any]], None]
) -> None:
    """Let a function edit the mapping that holds the OME keys."""
    if version == "0.4":
        change(attributes)  # type: ignore[arg-type]
        return
    ome = dict(attributes.get(_OME) or {"version": version})
    change(ome)
    attributes[_OME] = ome


def only_ours(attributes: Mapping[str, Any]) -> bool:
    """Whether attributes hold nothing but what this library writes."""
    parts = {key for keys in _PARTS.values() for key in keys}
    return set(attributes) <= {NAMESPACE, _OME, *parts}


def without_others(attributes: Mapping[str, Any], zarr_format: int, kind: Kind) -> dict[str, Any]:
    """The attributes of the specification and of this library alone."""
    left = copy.deepcopy(dict(attributes))
    own = left.get(NAMESPACE)
    ome = _take_ome(left, zarr_format, kind)
    if zarr_format == 3 and ome:
        ome = {_OME: {**dict(attributes[_OME]), **ome}}
    return {**ome, **({NAMESPACE: own} if own else {})}


def convert(attributes: Mapping[str, Any], source_format: int, target: Version, kind: Kind) -> dict[str, Any]:
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
    others = copy.deepcopy(dict(attributes))
    if ZARR_FORMATS[target] == source_format:
        return others
    own = others.pop(NAMESPACE, {})
    ome = _take_ome(others, source_format, kind_of(attributes, source_format) if kind == "unknown" else kind)
    back = _object(_object(own).pop(_DISPLACED, {}))
    others, ome = {**_object(back.get(_TOP)), **others}, {**_object(back.get(_OME)), **ome}
    aside: dict[str, dict[str, Any]] = {}
    for key in [key for key in others if key in (ome if target == "0.4" else (_OME,))]:
        side, loser = (_TOP, others) if key in _HOLDS or key == _OME else (_OME, ome)
        aside.setdefault(side, {})[key] = loser.pop(key)
    if aside or isinstance(own, dict):
        items = _object(own).items()
        own = {key: target if key == "version" else _restamp(key, value, target) for key, value in items}
        own.update({_DISPLACED: aside} if aside else {})
    out = {key: _restamp(key, value, target) for key, value in ome.items()}
    if out and target == "0.5":
        out = {_OME: {"version": target, **out}}
    return {**out, **others, **({NAMESPACE: own} if own else {})}


def _take_ome(attributes: dict[str, Any], zarr_format: int, kind: Kind) -> dict[str, Any]:
    """Take the OME keys out of attributes."""
    if zarr_format == 3:
        wrapper = attributes.pop(_OME) if isinstance(attributes.get(_OME), dict) else {}
        return {key: value for key, value in wrapper.items() if key != "version"}
    # Lists called "labels" or "series" are in groups of their own; elsewhere they are somebody else's.
    elsewhere = {"series": {"labels"}, "unknown": {"labels", "@id", "@type"}}.get(kind, {"labels", "series"})
    kinds = {key: t for key, t in _HOLDS.items() if key not in elsewhere}
    parts = _PARTS.get(kind, ())
    keys = [k for k, value in attributes.items() if k in parts or isinstance(value, kinds.get(k, ()))]
    return {key: attributes.pop(key) for key in keys}


def labels_of_image(attributes: Mapping[str, Any], zarr_format: int) -> list[str]:
    """Names of the label images that an image lists in its own document, as iohub writes it.

    Their place is the document of the ``labels`` group, so other readers do not find them.
    """
    if not isinstance(container(attributes, zarr_format).get("multiscales"), list):
        return []
    found = container(attributes, zarr_format).get("labels")
    names = found.get("labels") if isinstance(found, Mapping) else found
    listed = names if isinstance(names, list) else []
    return [name for name in listed if isinstance(name, str) and is_member_name(name)]


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
    right = ("attributes", _OME) if zarr_format == 3 else ()
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


# Looked for so deep, in so many objects, by what each key holds.
_DEEPEST, _MOST = 4, 1000
_SOUGHT = {"multiscales": "datasets", "plate": "wells", "well": "images"}


def _is_metadata(key: str, value: Any) -> bool:
    """Whether a value is what the specification keeps under a key, and not somebody's own of that name."""
    first = value[0] if key == "multiscales" and isinstance(value, list) and value else value
    return isinstance(first, Mapping) and isinstance(first.get(_SOUGHT[key]), list)


def _at(place: tuple[str, ...], key: str, zarr_format: int) -> str:
    if zarr_format == 3 and place == ("attributes",):
        return FLAT_IN_V3
    if zarr_format == 2 and place == (_OME,):
        return WRAPPED_IN_V2
    where = f"in {'.'.join(place)!r}" if place else "beside the attributes"
    right = "'attributes.ome'" if zarr_format == 3 else "the top level of .zattrs"
    return f"{key!r} lies {where}, where no reader looks for it: its place is {right}"


#: Metadata of one version in a group of the other version of zarr.
FLAT_IN_V3 = "the metadata lies at the top level, as in 0.4, but the group is of zarr v3"
WRAPPED_IN_V2 = "the metadata lies inside 'ome', as in 0.5, but the group is of zarr v2"


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _restamp(key: str, value: Any, version: Version) -> Any:
    """As :func:`_stamp`, for documents of others, which may hold anything."""
    if key == "multiscales" and isinstance(value, list):
        return [_restamp("image", item, version) for item in value]
    return _stamp(key, value, version) if isinstance(value, dict) and key != "multiscales" else value
