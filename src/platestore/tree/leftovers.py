"""What lies unlisted where something is to be created: a leftover of our own, or somebody's data.

An interrupted creation leaves documents that nothing lists. They are replaced without a word, if they
hold nothing that could be missed: no pixels, no attributes of others, and no node of another type.
"""

from __future__ import annotations

import re
from typing import Literal

from platestore.errors import InvalidMetadataError, NodeExistsError
from platestore.spec.versions import only_ours
from platestore.storage.base import DOCUMENTS
from platestore.storage.documents import parse
from platestore.storage.hierarchy import NodeType, attributes_of
from platestore.tree.location import Location

# Where something grew that was to replace a file or a node; invisible to readers, and of no use to anybody.
_HIDDEN = re.compile(r"\..*\.(?:tmp|new)")


def require_free(location: Location, expected: NodeType) -> None:
    """Refuse to create a node where somebody keeps data.

    Parameters
    ----------
    location : Location
        The place, which no document lists.
    expected : {"group", "array"}
        What shall be created there.

    Raises
    ------
    NodeExistsError
        If there is anything but a leftover of an interrupted creation.
    """
    for key in location.storage.keys(location.path):
        name = key.rpartition("/")[2]
        if any(_HIDDEN.fullmatch(segment) for segment in key[len(location.path) :].split("/")):
            continue
        top = key == f"{location.path}/{name}"
        if name not in DOCUMENTS or not _is_leftover(location, key, name, expected if top else None):
            raise NodeExistsError(
                f"there is data that the metadata does not list ({key}), as an interrupted program or "
                "another tool may leave it",
                path=location.where,
                hint="move it away, or open with overwriting_creation=True to replace it",
            )


def require_group(location: Location) -> None:
    """Refuse an array where a group (a row) is needed; a group of others may serve."""
    storage, path = location.storage, location.path
    name = ".zarray" if location.zarr_format == 2 else "zarr.json"
    if storage.exists(f"{path}/{name}") and (name == ".zarray" or not _is_group(location)):
        raise NodeExistsError(
            "there is an array where a group is needed", path=location.where, hint="move it away"
        )


def _is_group(location: Location) -> bool:
    data = location.storage.read(f"{location.path}/zarr.json")
    return data is None or parse(data, where=location.where).get("node_type") == "group"


def _is_leftover(location: Location, key: str, name: str, expected: NodeType | None) -> bool:
    kind: Literal["group", "array"]
    if name == ".zgroup" or name == ".zarray":
        kind = "group" if name == ".zgroup" else "array"
        return expected in (None, kind)
    data = location.storage.read(key)
    if data is None:
        return True
    try:
        content = parse(data, where=location.where)
        if name == "zarr.json" and expected not in (None, content.get("node_type")):
            return False
        return only_ours(attributes_of(content, 3 if name == "zarr.json" else 2))
    except InvalidMetadataError:
        return True  # torn while it was written: nobody could read it
