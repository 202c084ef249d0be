"""OME-NGFF 0.5: metadata, and the version once, lie in the object ``ome`` among the attributes; zarr v3."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from platestore.spec.values import Json
from platestore.spec.versions.adapter import Adapter, Change, Kind, Put, object_of, own_of

_OME = "ome"


class V05(Adapter):
    """Version 0.5."""

    name = "0.5"
    zarr_format = 3
    place = (_OME,)
    place_words = f"inside {_OME!r}"
    has_shards = True
    has_archives = True
    names_dimensions = True
    nests_chunks = False
    type_key = "data_type"
    stamps_objects = False
    channel_keys = "prose"
    loose = "error"

    def container(self, attributes: Mapping[str, Any]) -> Mapping[str, Any]:
        """The object ``ome``."""
        ome = attributes.get(_OME, {})
        return ome if isinstance(ome, Mapping) else {}

    def stated(self, attributes: Mapping[str, Any]) -> Any:
        """The version in ``ome``."""
        return self.container(attributes).get("version", own_of(attributes).get("version"))

    def edit(self, attributes: MutableMapping[str, Any], change: Change) -> None:
        """Edit the object ``ome``, which states the version if it is new."""
        ome = dict(attributes.get(_OME) or {"version": self.name})
        change(ome)
        attributes[_OME] = ome

    def stamp(self, key: str, value: Json) -> Json:
        """No object states the version, but plates do so once more."""
        plain = {k: v for k, v in value.items() if k != "version"}
        # The schema leaves a plate's version free; there are readers that refuse a plate without it.
        return {**plain, "version": self.name} if key == "plate" and "wells" in plain else plain

    def _is_part(self, keys: list[str], kind: Kind) -> bool:
        return keys[0] == _OME and keys[1:2] != ["omero"]

    def _replace(self, attributes: MutableMapping[str, Any], change: Put) -> None:
        ome = dict(object_of(attributes.get(_OME)))
        change(ome)
        ome.pop("version", None)
        if ome:
            attributes[_OME] = {"version": self.name, **ome}
        else:
            attributes.pop(_OME, None)

    def _take(self, attributes: Json, kind: Kind) -> Json:
        wrapper = attributes.pop(_OME) if isinstance(attributes.get(_OME), dict) else {}
        return {key: value for key, value in wrapper.items() if key != "version"}

    def _wrap(self, ome: Json) -> Json:
        return {_OME: {"version": self.name, **ome}} if ome else {}

    def _is_taken(self, key: str, ome: Mapping[str, Any]) -> bool:
        return key == _OME
