"""OME-NGFF 0.4: metadata lie among the attributes of groups of zarr v2; each object states the version."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from platestore.spec.values import Json
from platestore.spec.versions.adapter import HOLDS, PARTS, Adapter, Change, Kind, Put, own_of


class V04(Adapter):
    """Version 0.4."""

    name = "0.4"
    zarr_format = 2
    place = ()
    place_words = "at the top level"
    has_shards = False
    has_archives = False
    names_dimensions = False
    nests_chunks = True
    type_key = "dtype"
    stamps_objects = True
    channel_keys = "must"
    loose = "warning"

    def container(self, attributes: Mapping[str, Any]) -> Mapping[str, Any]:
        """The attributes themselves."""
        return attributes

    def stated(self, attributes: Mapping[str, Any]) -> Any:
        """The version in the plate, the well or the first image."""
        multiscales = attributes.get("multiscales")
        first = multiscales[0] if isinstance(multiscales, list) and multiscales else None
        for item in (attributes.get("plate"), attributes.get("well"), first):
            if isinstance(item, Mapping) and "version" in item:
                return item["version"]
        return own_of(attributes).get("version")

    def edit(self, attributes: MutableMapping[str, Any], change: Change) -> None:
        """Edit the attributes."""
        change(attributes)  # type: ignore[arg-type]

    def stamp(self, key: str, value: Json) -> Json:
        """Every object states the version."""
        return {**{k: v for k, v in value.items() if k != "version"}, "version": self.name}

    def _is_part(self, keys: list[str], kind: Kind) -> bool:
        return keys[0] in PARTS.get(kind, ()) and keys[0] != "omero"

    def _replace(self, attributes: MutableMapping[str, Any], change: Put) -> None:
        change(attributes)

    def _take(self, attributes: Json, kind: Kind) -> Json:
        # Lists called "labels" or "series" are in groups of their own; elsewhere they are somebody else's.
        others = {"series": {"labels"}, "unknown": {"labels", "@id", "@type"}}.get(kind, {"labels", "series"})
        kinds = {key: t for key, t in HOLDS.items() if key not in others}
        parts = PARTS.get(kind, ())
        keys = [k for k, value in attributes.items() if k in parts or isinstance(value, kinds.get(k, ()))]
        return {key: attributes.pop(key) for key in keys}

    def _wrap(self, ome: Json) -> Json:
        return ome

    def _is_taken(self, key: str, ome: Mapping[str, Any]) -> bool:
        return key in ome
