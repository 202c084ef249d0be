"""Walking through images: their arrays, their label images, and the arrays of those."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from platestore.checking.hierarchy.arrays import array_facts
from platestore.checking.hierarchy.documents import Node, read_node, shown
from platestore.checking.hierarchy.labels import image_of, label_findings, source_path
from platestore.checking.hierarchy.levels import Image, ListedLevel, image_findings, is_spatial_entry
from platestore.checking.hierarchy.members import (
    Found,
    JudgedGroup,
    MemberFinder,
    inside,
    judge_group,
    not_a_group,
    quietly,
)
from platestore.checking.hierarchy.plates import entries
from platestore.checking.rules.crossing import usable_scale
from platestore.checking.rules.judge import judge
from platestore.spec.findings import Finding
from platestore.spec.values import Json
from platestore.storage.base import join


class Images:
    """Walks through images.

    Parameters
    ----------
    members : MemberFinder
        What the groups of the store list.
    """

    def __init__(self, members: MemberFinder) -> None:
        self._members = members
        self._storage = members.storage

    def image(self, group: JudgedGroup) -> Found:
        """An image and its label images."""
        images = yield from self.images(group)
        path = join(group.path, "labels")
        node = read_node(self._storage, path)
        if node.what in ("group", "broken"):
            yield from self._members.link_findings(path)
            yield from node.findings
        if node.what == "array":
            yield not_a_group(group.where("labels"), "labels", group.file)
        if node.what == "group":
            listing = yield from judge_group(node, "labels", strict=self._members.strict, parent=group)
            if listing is not None:
                yield from self.labels(listing, images[0] if images else None)

    def images(self, group: JudgedGroup) -> Generator[Finding, None, list[Image]]:
        """The arrays of each multiscale image in a group."""
        yield from self._members.paths(group, ".datasets[")
        known: dict[str, Node | None] = {}
        images = []
        for m, item in entries(group.parts.get("multiscales")):
            location = group.where(f"multiscales[{m}]")
            image = yield from self._one_image(group, item, location, known)
            images.append(image)
            omero = group.parts.get("omero") if m == 0 else None
            channels = omero.get("channels") if isinstance(omero, dict) else None
            count = len(channels) if isinstance(channels, list) else None
            yield from image_findings(image, count, _channel_axis(item.get("axes")))
        return images

    def _one_image(
        self, group: JudgedGroup, item: Json, location: str, known: dict[str, Node | None]
    ) -> Generator[Finding, None, Image]:
        axes = [axis.get("name") for _, axis in entries(item.get("axes"))]
        names = [name for name in axes if isinstance(name, str)]
        whole = isinstance(item.get("axes"), list) and len(names) == len(item["axes"]) > 0
        spatial = [is_spatial_entry(axis) for _, axis in entries(item.get("axes"))] if whole else []
        levels, datasets = [], list(entries(item.get("datasets")))
        for i, dataset in datasets:
            where = f"{location}.datasets[{i}].path"
            path = quietly(inside(where, dataset.get("path"), group.file))
            if path is None:
                continue
            facts = None
            if path not in known:
                known[path] = node = yield from self._members.member(group, where, path, array=True)
                if node is not None:
                    facts, flaws = array_facts(node)
                    yield from flaws
            elif (node := known[path]) is not None:
                facts = array_facts(node)[0]
            if facts is not None:
                scale = usable_scale(dataset.get("coordinateTransformations"), len(names) if whole else None)
                levels.append(ListedLevel(where, path, scale, facts))
        listed = names if whole else None
        return Image(location, group.file, group.ngff, listed, spatial, levels, len(datasets))

    def labels(self, listing: JudgedGroup, parent: Image | None) -> Found:
        """The label images that a ``labels`` group lists, and the image that they belong to."""
        between: set[str] = set()
        for location, path in (yield from self._members.paths(listing, "labels[")):
            label = yield from self._members.group_at(listing, location, path, "label")
            yield from self._between(listing, path, between)
            if label is not None:
                yield from self.label(label, parent)

    def _between(self, listing: JudgedGroup, path: str, seen: set[str]) -> Found:
        """Groups between the list and a label image: they are to have no metadata."""
        segments = path.split("/")
        for depth in range(1, len(segments)):
            current = "/".join(segments[:depth])
            if current in seen:
                continue
            seen.add(current)
            node = read_node(self._storage, join(listing.path, current))
            yield from node.findings
            if (
                node.what == "group"
                and judge(node.attributes, zarr_format=node.zarr_format).kind != "unknown"
            ):
                yield Finding(
                    "label-between",
                    "",
                    "the group on the way to a label image has metadata of its own",
                    listing.ngff.loose,
                    node.file,
                    rule="OME-NGFF 0.5, labels: groups between the list and a label image have no metadata "
                    "(MUST NOT)",
                )

    def label(self, group: JudgedGroup, parent: Image | None) -> Found:
        """A label image and the image that it belongs to."""
        images = yield from self.images(group)
        if images:
            yield from label_findings(images[0], parent)
        yield from self._source_findings(group)

    def _source_findings(self, group: JudgedGroup) -> Found:
        value = group.parts.get("image-label")
        source = value.get("source") if isinstance(value, dict) else None
        image = source.get("image") if isinstance(source, dict) else None
        if not isinstance(image, str):
            return
        location, path = group.where("image-label.source.image"), source_path(group.path, image)
        if path is None:
            yield Finding(
                "path-outside",
                location,
                f"{shown(image)} leads out of the store, and was not followed",
                "warning",
                group.file,
                "a path in this store",
                shown(image),
                f"OME-NGFF {group.version}, image-label: the path is relative to the label image",
            )
        elif image_of(group.path) != path and read_node(self._storage, path).what != "group":
            yield Finding(
                "label-source",
                location,
                f"there is no image at {shown(image)}, as seen from the label image",
                "warning",
                group.file,
                "'../../', for the image that holds it",
                shown(image),
                f"OME-NGFF {group.version}, image-label: the source is the image that is annotated",
            )


def _channel_axis(axes: Any) -> int | None:
    for i, axis in entries(axes):
        if axis.get("type") == "channel" or (axis.get("type") is None and axis.get("name") == "c"):
            return i
    return None
