"""From one node to everything below it that its metadata list: each document is read once.

Nothing is raised: what is missing, broken or cannot be read is a finding, and the walk goes on. One
directory is listed, that of the node it begins with.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace

from platestore.checking.hierarchy.arrays import array_facts
from platestore.checking.hierarchy.documents import Node, read_node, shown
from platestore.checking.hierarchy.images import Images
from platestore.checking.hierarchy.labels import image_of
from platestore.checking.hierarchy.levels import Image
from platestore.checking.hierarchy.members import (
    Found,
    JudgedGroup,
    MemberFinder,
    inside,
    judge_group,
    not_a_group,
    quietly,
)
from platestore.checking.hierarchy.plates import Fields
from platestore.checking.hierarchy.series import XML, xml_findings
from platestore.checking.rules.judge import judge
from platestore.errors import PlatestoreError
from platestore.spec.findings import Finding
from platestore.spec.versions import kind_of
from platestore.storage.base import DOCUMENTS, Storage, join
from platestore.storage.hierarchy import OF_AN_ARRAY

_LAYOUT = "bioformats2raw.layout"


def walk_findings(storage: Storage, path: str, *, strict: bool = False) -> Iterator[Finding]:
    """Every flaw of a node and of what lies below it.

    Parameters
    ----------
    storage : Storage
        The store.
    path : str
        Path of the node in it.
    strict : bool
        Whether what the strict schemas ask for is required.

    Yields
    ------
    Finding
        In the order of the metadata; ``file`` is the document that says what is wrong.
    """
    return _Walk(storage, strict=strict).start(path)


class _Walk:
    """One walk through a store."""

    def __init__(self, storage: Storage, *, strict: bool) -> None:
        self._storage = storage
        self._strict = strict
        self._members = MemberFinder(storage, strict=strict)
        self._images = Images(self._members)

    # --- where it begins --------------------------------------------------------------------------

    def start(self, path: str) -> Found:
        """Walk from a node."""
        yield from self._members.link_findings(path)
        node = read_node(self._storage, path)
        yield from node.findings
        if node.what == "nothing":
            hint = "name the directory of a store, or of a node in one"
            yield Finding("not-zarr", "", "there is no zarr group here", file=node.file, hint=hint)
        elif node.what == "array":
            yield from array_facts(node)[1]
            if (
                isinstance(node.attributes, dict)
                and kind_of(node.attributes, node.zarr_format or 3) != "unknown"
            ):
                yield Finding("metadata-misplaced", "", OF_AN_ARRAY, file=node.file)
            hint = "validate the group that lists it"
            yield Finding(
                "not-a-group", "", "is an array; OME-NGFF is about groups", file=node.file, hint=hint
            )
        elif node.what == "group" and not (yield from self._row(node)):
            group = yield from judge_group(node, None, strict=self._strict)
            if group is not None and not (yield from self._bare(group)):
                yield from self._below(group)

    def _bare(self, group: JudgedGroup) -> Generator[Finding, None, bool]:
        """Whether there is nothing but documents, as where somebody wants only those to be judged."""
        listed = [(where, path) for where, path in group.members() if "series[" not in where]
        if not listed or not self._holds_documents_only(group.path):
            return False
        for location, path in listed:
            yield from inside(location, path, group.file)
        yield Finding(
            "members-absent",
            "",
            f"none of the {len(listed)} members that it lists is there; only the document was judged",
            "warning",
            group.file,
            hint="if this is to be a whole store, its groups and arrays are missing",
        )
        return True

    def _holds_documents_only(self, path: str) -> bool:
        try:
            directories, files = self._storage.list(path)
        except (OSError, ValueError, PlatestoreError):
            return False
        return not [name for name in directories if not name.startswith(".")] and set(files) <= DOCUMENTS

    def _below(self, group: JudgedGroup) -> Found:
        """Everything that the keys of a group list."""
        parts = group.parts
        if "plate" in parts:
            yield from self._plate(group)
        elif _LAYOUT in parts and "multiscales" not in parts:
            yield from self._series(group)
        if "image-label" in parts:
            yield from self._images.label(group, self._image_above(group.path))
        elif "multiscales" in parts:
            yield from self._images.image(group)
        if "well" in parts:
            yield from self._well(group, self._fields_above(group))
        if isinstance(parts.get("labels"), list) and "multiscales" not in parts:
            yield from self._images.labels(group, self._image_above(join(group.path, "label")))

    # --- what lies above: it was not asked about, so its own flaws are not told ----------------------

    def _above(self, path: str, levels: int, kind: str) -> JudgedGroup | None:
        segments = path.split("/") if path else []
        if len(segments) < levels:
            return None
        node = read_node(self._storage, "/".join(segments[: len(segments) - levels]))
        return quietly(judge_group(node, kind, strict=False)) if node.what == "group" else None

    def _row(self, node: Node) -> Generator[Finding, None, bool]:
        """The wells of a row, if a group is one: it has no metadata of its own."""
        if not node.path or judge(node.attributes, zarr_format=node.zarr_format).kind != "unknown":
            return False
        plate, row = self._above(node.path, 1, "plate"), node.path.rpartition("/")[2]
        listed = plate.members() if plate is not None and "plate" in plate.parts else ()
        if plate is None or not any(isinstance(p, str) and p.startswith(f"{row}/") for _, p in listed):
            return False
        yield from self._plate(plate, row=row)
        return True

    def _fields_above(self, well: JudgedGroup) -> Fields:
        plate = self._above(well.path, 2, "plate")
        return Fields(None if plate is None else plate.parts.get("plate"), well.version)

    def _image_above(self, path: str) -> Image | None:
        above = image_of(path)
        node = None if above is None else read_node(self._storage, above)
        if node is None or node.what != "group":
            return None
        group = quietly(judge_group(node, "image", strict=False))
        images = [] if group is None else quietly(self._images.images(group))
        return images[0] if images else None

    # --- plates, wells, collections -----------------------------------------------------------------

    def _plate(self, plate: JudgedGroup, row: str | None = None) -> Found:
        """The wells of a plate, or of one of its rows."""
        fields = Fields(plate.parts.get("plate"), plate.version)
        complete = row is None
        rows: set[str] = set() if row is None else {row}
        for location, path in (yield from self._members.paths(plate, "plate.wells[")):
            first = path.partition("/")[0]
            if row not in (None, first):
                continue
            well = yield from self._members.group_at(plate, location, path, "well")
            complete = complete and well is not None
            if first not in rows and "/" in path:
                rows.add(first)
                yield from self._row_findings(plate, first, exists=well is not None)
            if well is not None:
                yield from self._well(well, fields)
        if complete:
            yield from fields.unused(plate.where("plate"), plate.file)

    def _row_findings(self, plate: JudgedGroup, row: str, *, exists: bool) -> Found:
        node = read_node(self._storage, join(plate.path, row))
        yield from node.findings
        if (node.what == "nothing" and exists) or node.what == "array":
            yield Finding(
                "row-missing",
                plate.where("plate.rows"),
                f"there is no zarr group at {shown(row)}, the row of its wells",
                "warning" if node.what == "nothing" else "error",
                plate.file,
                rule=f"OME-NGFF {plate.version}, plate: rows are groups that hold their wells (MUST)",
                hint="`platestore check --repair` writes its document",
            )

    def _well(self, well: JudgedGroup, fields: Fields) -> Found:
        part = well.parts.get("well")
        images = part.get("images") if isinstance(part, dict) else None
        yield from fields.well(images, well.where("well.images"), well.file)
        for location, path in (yield from self._members.paths(well, "well.images[")):
            image = yield from self._members.group_at(well, location, path, "image")
            if image is not None:
                yield from self._images.image(image)

    def _series(self, group: JudgedGroup) -> Found:
        """The images of a collection: those that the ``OME`` group lists, or 0, 1, ..."""
        path = join(group.path, "OME")
        node = read_node(self._storage, path)
        yield from node.findings
        listing = None
        if node.what == "group" and judge(node.attributes, zarr_format=node.zarr_format).kind == "ome":
            listing = yield from judge_group(node, "ome", strict=self._strict, parent=group)
        if listing is not None:
            # The paths are relative to the collection, not to the group that lists them.
            listing = replace(listing, path=group.path)
            paths = yield from self._members.paths(listing, "series[")
            for location, name in paths:
                image = yield from self._members.group_at(listing, location, name, "image")
                if image is not None:
                    yield from self._images.image(image)
            count = len(paths)
        else:
            count = yield from self._numbered(group)
        yield from xml_findings(self._storage, join(path, XML), count)

    def _numbered(self, group: JudgedGroup) -> Generator[Finding, None, int]:
        count = 0
        while (node := read_node(self._storage, join(group.path, str(count)))).what != "nothing":
            yield from self._members.link_findings(node.path)
            yield from node.findings
            if node.what == "array":
                yield not_a_group(group.where(_LAYOUT), str(count), group.file)
            count += 1
            if node.what != "group":
                continue
            image = yield from judge_group(node, "image", strict=self._strict, parent=group)
            if image is not None:
                yield from self._images.image(image)
        if count == 0:
            text = "lists no image, and there is no group 0"
            rule = f"OME-NGFF {group.version}, bioformats2raw.layout: images are 0, 1, ... (MUST)"
            yield Finding("series-empty", group.where(_LAYOUT), text, file=group.file, rule=rule)
        return count
