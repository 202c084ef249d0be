"""What is on disk, judged without platestore: plain JSON, file names, and the OME-NGFF rules.

A store is given as a dictionary of its keys and bytes, so that directories and memory are judged alike.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

DOCUMENTS = ("zarr.json", ".zgroup", ".zattrs", ".zarray", ".zmetadata")


def read_tree(root: str | os.PathLike[str], *, documents: bool = False) -> dict[str, bytes]:
    """All files of a directory, or its metadata documents only, by their path below it."""
    top, files = os.fspath(root), {}
    for directory, _, names in os.walk(top):
        for name in names:
            if not documents or name in DOCUMENTS:
                path = f"{directory}/{name}"
                with open(path, "rb") as file:
                    files[path[len(top) + 1 :].replace(os.sep, "/")] = file.read()
    return files


def read_documents(root: str | os.PathLike[str]) -> dict[str, bytes]:
    """The metadata documents of a directory, by their path below it; pixels are not read."""
    return read_tree(root, documents=True)


def strict(data: bytes) -> dict[str, Any]:
    """Parse JSON as the strictest readers do; ValueError if they could not."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is not JSON")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise ValueError("a key occurs twice")
        return dict(pairs)

    content = json.loads(data.decode("utf-8"), parse_constant=refuse, object_pairs_hook=unique)
    if not isinstance(content, dict):
        raise ValueError("is no object")  # noqa: TRY004 - as for all else that is wrong with it
    return content


class Tree:
    """The groups and arrays of a store, by their documents."""

    def __init__(self, files: dict[str, bytes], prefix: str = "") -> None:
        self.files = files
        self.prefix = prefix
        self.v3 = self._key("", "zarr.json") in files

    def _key(self, path: str, name: str) -> str:
        return "/".join(part for part in (self.prefix, path, name) if part)

    def _json(self, path: str, name: str) -> dict[str, Any] | None:
        data = self.files.get(self._key(path, name))
        return None if data is None else strict(data)

    def group(self, path: str) -> dict[str, Any] | None:
        """Attributes of a group; None if there is none."""
        if self.v3:
            document = self._json(path, "zarr.json")
            if document is None or document["node_type"] != "group":
                return None
            assert document["zarr_format"] == 3
            return document.get("attributes", {})
        document = self._json(path, ".zgroup")
        if document is None:
            return None
        assert document == {"zarr_format": 2}
        return self._json(path, ".zattrs") or {}

    def array(self, path: str) -> dict[str, Any] | None:
        """Document of an array; None if there is none."""
        document = self._json(path, "zarr.json" if self.v3 else ".zarray")
        if document is None or (self.v3 and document["node_type"] != "array"):
            return None
        return document

    def part(self, attributes: dict[str, Any], key: str) -> Any:
        """A part of the OME metadata, or of what platestore keeps until it can be valid."""
        ome = attributes.get("ome", {}) if self.v3 else attributes
        return ome.get(key, attributes.get("platestore", {}).get(key))


def has_root(files: dict[str, bytes]) -> bool:
    """Whether there is a store at all."""
    return "zarr.json" in files or ".zgroup" in files


def problems(files: dict[str, bytes], prefix: str = "") -> list[str]:
    """Everything wrong with a store: dangling references, broken documents, inconsistent indices."""
    tree = Tree(files, prefix)
    try:
        root = tree.group("")
        if root is None:
            return ["the root is no group"]
        return [*_below(tree, "", root), *_stale(tree)]
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        return [f"a document that is in use is broken: {type(error).__name__} {error}"]


def _below(tree: Tree, path: str, attributes: dict[str, Any]) -> Iterator[str]:
    plate, well = tree.part(attributes, "plate"), tree.part(attributes, "well")
    if plate is not None:
        yield from _plate(tree, path, plate)
    elif well is not None:
        yield from _well(tree, path, well, {})
    elif tree.part(attributes, "multiscales") is not None:
        yield from _image(tree, path, attributes)
    else:
        yield f"{path or 'the root'} is no plate, well or image"


def _join(*parts: str) -> str:
    return "/".join(part for part in parts if part)


def _plate(tree: Tree, path: str, plate: dict[str, Any]) -> Iterator[str]:
    rows = [row["name"] for row in plate["rows"]]
    columns = [column["name"] for column in plate["columns"]]
    paths = [well["path"] for well in plate["wells"]]
    for kind, names in (("row", rows), ("column", columns), ("well", paths)):
        if len(set(names)) != len(names):
            yield f"a {kind} is listed twice: {names}"
    counts: dict[int, int] = {}
    for entry in plate["wells"]:
        row, column = entry["path"].split("/")
        if not (0 <= entry["rowIndex"] < len(rows) and 0 <= entry["columnIndex"] < len(columns)):
            yield f"an index of {entry} is not on the plate"
        elif (rows[entry["rowIndex"]], columns[entry["columnIndex"]]) != (row, column):
            yield f"the indices of {entry} name another well"
        if tree.group(_join(path, row)) is None:
            yield f"the row of {entry['path']} is no group"
        place = _join(path, entry["path"])
        attributes = tree.group(place)
        well = None if attributes is None else tree.part(attributes, "well")
        if well is None:
            yield f"dangling: the plate lists the well {place}, which is not there"
            continue
        yield from _well(tree, place, well, counts)
    declared = {a["id"]: a.get("maximumfieldcount") for a in plate.get("acquisitions") or []}
    if declared:
        for acquisition, fields in counts.items():
            if acquisition not in declared:
                yield f"acquisition {acquisition} is used, but not listed"
            elif (declared[acquisition] or 0) < fields:
                most = declared[acquisition]
                yield f"acquisition {acquisition} has {fields} fields in a well, more than {most}"
    elif set(counts) - {0}:
        yield f"acquisitions {sorted(counts)} are used, but none is listed"


def _well(tree: Tree, path: str, well: dict[str, Any], counts: dict[int, int]) -> Iterator[str]:
    names = [image["path"] for image in well["images"]]
    if len(set(names)) != len(names):
        yield f"a field of {path} is listed twice: {names}"
    here: dict[int, int] = {}
    for image in well["images"]:
        acquisition = image.get("acquisition") or 0
        here[acquisition] = here.get(acquisition, 0) + 1
        place = _join(path, image["path"])
        attributes = tree.group(place)
        if attributes is None or tree.part(attributes, "multiscales") is None:
            yield f"dangling: the well lists the image {place}, which is not there"
            continue
        yield from _image(tree, place, attributes)
    for acquisition, fields in here.items():
        counts[acquisition] = max(counts.get(acquisition, 0), fields)


def _image(tree: Tree, path: str, attributes: dict[str, Any]) -> Iterator[str]:
    names: list[str] = []
    for multiscales in tree.part(attributes, "multiscales"):
        axes = [axis["name"].lower() for axis in multiscales["axes"]]
        for dataset in multiscales["datasets"]:
            names.append(dataset["path"])
            array = tree.array(_join(path, dataset["path"]))
            if array is None:
                place = _join(path, dataset["path"])
                yield f"dangling: the image lists the array {place}, which is not there"
                continue
            if len(array["shape"]) != len(axes):
                yield f"{path}/{dataset['path']} has another number of dimensions than axes"
            if len(dataset["coordinateTransformations"][0]["scale"]) != len(axes):
                yield f"the scale of {path}/{dataset['path']} has another length than the axes"
    if len(set(names)) != len(names):
        yield f"an array of {path} is listed twice: {names}"


def _stale(tree: Tree) -> Iterator[str]:
    """Consolidated metadata that says something else than the documents."""
    if tree.v3:
        root = tree._json("", "zarr.json") or {}
        for path, said in (root.get("consolidated_metadata") or {}).get("metadata", {}).items():
            found = tree._json(path, "zarr.json") or {}
            if found.get("attributes") != said.get("attributes") or found.get("shape") != said.get("shape"):
                yield f"consolidated metadata is stale: {path}"
        return
    for key, said in (tree._json("", ".zmetadata") or {}).get("metadata", {}).items():
        data = tree.files.get(tree._key("", key))
        found = {} if data is None else strict(data)
        # What is consolidated has attributes for every group, and says which groups are there.
        if not key.endswith(".zgroup") and found != said:
            yield f"consolidated metadata is stale: {key}"


def unfinished(files: dict[str, bytes], prefix: str = "") -> list[str]:
    """The documents (of nodes in use) that record a change under way."""
    found = []
    for key, data in files.items():
        segments = key.removeprefix(prefix).strip("/").split("/")
        if segments[-1] not in ("zarr.json", ".zattrs") or any(s.startswith(".") for s in segments[:-1]):
            continue
        if b'"intents"' in data and b'"intents": null' not in data:
            found.append(key)
    return found


def torn(files: dict[str, bytes]) -> list[str]:
    """The documents, in use or not, that are not complete."""
    found = []
    for key, data in files.items():
        segments = key.split("/")
        if segments[-1] in DOCUMENTS and not any(s.startswith(".") for s in segments[:-1]):
            try:
                strict(data)
            except ValueError:
                found.append(key)
    return found
