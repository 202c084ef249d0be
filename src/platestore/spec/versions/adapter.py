"""What a version of OME-NGFF is to the rest of the house: where its metadata lie in JSON, and what it has.

Each version is one object of a subclass of :class:`Adapter`, in a module of its own. What the versions share
stands here; nobody outside of this package asks which version it is, but what it does and has.
"""

from __future__ import annotations

import abc
import copy
import re
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, ClassVar, Literal

from platestore.spec.findings import Level
from platestore.spec.names import is_member_name
from platestore.spec.values import Json

Version = Literal["0.4", "0.5"]
ZarrFormat = Literal[2, 3]
Kind = Literal["plate", "well", "image", "label", "labels", "series", "unknown"]

#: The key of platestore's namespace among a group's attributes, in every version.
NAMESPACE = "platestore"
#: The keys of the parts that make up each kind of node.
PARTS: dict[str, tuple[str, ...]] = {
    "plate": ("plate",),
    "well": ("well",),
    "image": ("multiscales", "omero"),
    "label": ("multiscales", "omero", "image-label"),
    "labels": ("labels",),
}
SERIES_LAYOUT = "bioformats2raw.layout"
#: What the keys of the specification hold; a key of that name that holds something else is a user's.
HOLDS: dict[str, type] = {
    **dict.fromkeys(("plate", "well", "omero", "image-label"), dict),
    **dict.fromkeys(("multiscales", "labels", "series"), list),
    **dict.fromkeys((SERIES_LAYOUT, "@id", "@type"), object),
}
# Where platestore's namespace keeps what had to give way when a group was converted.
_DISPLACED, _TOP, _OME = "displaced", "attributes", "ome"

Change = Callable[[Json], None]
Put = Callable[[MutableMapping[str, Any]], None]


class Adapter(abc.ABC):
    """One version of OME-NGFF."""

    #: Its name, as documents state it.
    name: ClassVar[Version]
    #: The version of zarr that its hierarchies are stored in.
    zarr_format: ClassVar[ZarrFormat]
    #: The keys that lead from the attributes of a group to the mapping that holds the metadata.
    place: ClassVar[tuple[str, ...]]
    #: Where that is, in words.
    place_words: ClassVar[str]
    #: Whether arrays may have shards and checksums of chunks.
    has_shards: ClassVar[bool]
    #: Whether a hierarchy may be one zipped file (RFC-9).
    has_archives: ClassVar[bool]
    #: Whether arrays name their dimensions as the axes.
    names_dimensions: ClassVar[bool]
    #: Whether files of chunks must be nested, as 0/0/0.
    nests_chunks: ClassVar[bool]
    #: The key of the data type in an array's document.
    type_key: ClassVar[str]
    #: Whether each object of the metadata states the version, and not the mapping that holds them.
    stamps_objects: ClassVar[bool]
    #: How validation takes keys of channels that are missing: an error, or one that the text alone asks for.
    channel_keys: ClassVar[Literal["must", "prose"]]
    #: The level of flaws that are errors, unless valid official cases have them.
    loose: ClassVar[Level]

    # --- where metadata lie -----------------------------------------------------------------------

    @property
    def prefix(self) -> str:
        """What locations in the metadata begin with, as users see them in the document."""
        return "".join(f"{key}." for key in self.place)

    @abc.abstractmethod
    def container(self, attributes: Mapping[str, Any]) -> Mapping[str, Any]:
        """The mapping that holds the OME keys; empty if there is none."""

    @abc.abstractmethod
    def stated(self, attributes: Mapping[str, Any]) -> Any:
        """The version that a group states, whatever that is; None if it states none."""

    @abc.abstractmethod
    def edit(self, attributes: MutableMapping[str, Any], change: Change) -> None:
        """Let a function edit the mapping that holds the OME keys."""

    @abc.abstractmethod
    def _is_part(self, keys: list[str], kind: Kind) -> bool:
        """Whether a place in attributes, by its first keys, is in the specification's part."""

    @abc.abstractmethod
    def stamp(self, key: str, value: Json) -> Json:
        """An object of the metadata with the version where it belongs."""

    @abc.abstractmethod
    def _replace(self, attributes: MutableMapping[str, Any], change: Put) -> None:
        """Let a function put parts into the mapping that holds the OME keys, which goes if it is empty."""

    @abc.abstractmethod
    def _take(self, attributes: Json, kind: Kind) -> Json:
        """Take the OME keys out of attributes."""

    @abc.abstractmethod
    def _wrap(self, ome: Json) -> Json:
        """The attributes that hold some OME keys."""

    @abc.abstractmethod
    def _is_taken(self, key: str, ome: Mapping[str, Any]) -> bool:
        """Whether a key of the attributes belongs to the specification where there are some OME keys."""

    # --- what all versions share ------------------------------------------------------------------

    def kind_of(self, attributes: Mapping[str, Any]) -> Kind:
        """What a group is by its attributes: a plate before all others, as the specification ranks.

        A label image is an image with ``image-label``; a ``labels`` group is one with a list of that name. A
        collection that has an image in its own document is that image: bioformats2raw writes single images
        so.
        """
        ome = self.container(attributes)
        keys = {*ome, *own_of(attributes)}
        if "plate" in keys:
            return "plate"
        if "multiscales" in keys:
            return "label" if "image-label" in keys else "image"
        if SERIES_LAYOUT in keys:
            return "series"
        if "well" in keys:
            return "well"
        return "labels" if isinstance(ome.get("labels"), list) else "unknown"

    def unpack(self, attributes: Mapping[str, Any], kind: Kind) -> Json:
        """The JSON of the parts that make up a node, wherever the version keeps them."""
        ome, own = self.container(attributes), own_of(attributes)
        return {key: (ome if key in ome else own)[key] for key in PARTS[kind] if key in ome or key in own}

    def pack(
        self,
        attributes: MutableMapping[str, Any],
        kind: Kind,
        parts: Mapping[str, Any],
        own: Mapping[str, Any],
    ) -> None:
        """Write the parts of a node, and platestore's namespace, into attributes.

        Parameters
        ----------
        attributes : mutable mapping
            Attributes of the group, changed in place; keys of others stay.
        kind : {"plate", "well", "image", "label", "labels"}
            What the group is.
        parts : mapping
            JSON of the parts, by key; a part that is missing is left as it is in the document, one that is
            None is taken out.
        own : mapping
            JSON of platestore's namespace.
        """
        present = self.unpack(attributes, kind)
        gone = {key for key, value in parts.items() if value is None}
        given = {key: self._stamped(key, value) for key, value in parts.items() if key not in gone}
        parts = {key: value for key, value in {**present, **given}.items() if key not in gone}
        valid = _can_be_valid(kind, parts)
        keys = tuple(dict.fromkeys((*PARTS[kind], *parts, *gone)))
        namespace = dict(own)
        if not valid:
            namespace = {"version": self.name, **namespace, **parts}
        else:
            namespace.pop("version", None)

        def put(target: MutableMapping[str, Any]) -> None:
            for key in keys:
                if key in parts and valid:
                    target[key] = parts[key]
                else:
                    target.pop(key, None)

        self._replace(attributes, put)
        if namespace:
            attributes[NAMESPACE] = namespace
        else:
            attributes.pop(NAMESPACE, None)

    def _stamped(self, key: str, value: Any) -> Any:
        """A part with the version where it belongs; documents of others may hold anything."""
        if key == "multiscales":
            return [self._stamped("image", item) for item in value] if isinstance(value, list) else value
        if key not in ("plate", "well", "image", "omero", "image-label") or not isinstance(value, dict):
            return value  # somebody else's
        return self.stamp(key, value)

    def is_vital(self, path: str, kind: Kind) -> bool:
        """Whether a place in attributes, such as ``multiscales[0].name``, is in the specification's part.

        Rendering settings are no reason to keep pixels from anyone, and do not count.
        """
        return self._is_part(re.split(r"[.\[]", path, maxsplit=2), kind)

    def series_parts(self, attributes: Mapping[str, Any]) -> Json:
        """The keys of a bioformats2raw collection or of its ``OME`` group."""
        ome = self.container(attributes)
        return {key: copy.deepcopy(ome[key]) for key in (SERIES_LAYOUT, "series") if key in ome}

    def labels_of_image(self, attributes: Mapping[str, Any]) -> list[str]:
        """Names of the label images that an image lists in its own document, as iohub writes it.

        Their place is the document of the ``labels`` group, so other readers do not find them.
        """
        ome = self.container(attributes)
        if not isinstance(ome.get("multiscales"), list):
            return []
        found = ome.get("labels")
        names = found.get("labels") if isinstance(found, Mapping) else found
        listed = names if isinstance(names, list) else []
        return [name for name in listed if isinstance(name, str) and is_member_name(name)]

    def without_others(self, attributes: Mapping[str, Any], kind: Kind) -> Json:
        """The attributes of the specification and of this library alone."""
        left = copy.deepcopy(dict(attributes))
        own, ome = left.get(NAMESPACE), self._take(left, kind)
        for key in self.place if ome else ():
            ome = {key: {**dict(attributes[key]), **ome}}
        return {**ome, **({NAMESPACE: own} if own else {})}

    def convert(self, attributes: Mapping[str, Any], source: Adapter, kind: Kind) -> Json:
        """The attributes of a group of another version in this one; see ``versions.convert``."""
        others = copy.deepcopy(dict(attributes))
        if source is self:
            return others
        own = others.pop(NAMESPACE, {})
        ome = source._take(others, source.kind_of(attributes) if kind == "unknown" else kind)
        back = object_of(object_of(own).pop(_DISPLACED, {}))
        others, ome = {**object_of(back.get(_TOP)), **others}, {**object_of(back.get(_OME)), **ome}
        aside: dict[str, Json] = {}
        for key in [key for key in others if self._is_taken(key, ome)]:
            side, loser = (_TOP, others) if key in HOLDS or key == _OME else (_OME, ome)
            aside.setdefault(side, {})[key] = loser.pop(key)
        if aside or isinstance(own, dict):
            items = object_of(own).items()
            own = {key: self.name if key == "version" else self._stamped(key, value) for key, value in items}
            own.update({_DISPLACED: aside} if aside else {})
        out = self._wrap({key: self._stamped(key, value) for key, value in ome.items()})
        return {**out, **others, **({NAMESPACE: own} if own else {})}


def own_of(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The namespace of platestore among attributes."""
    own = attributes.get(NAMESPACE, {})
    return own if isinstance(own, Mapping) else {}


def object_of(value: Any) -> Json:
    """A JSON object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


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
