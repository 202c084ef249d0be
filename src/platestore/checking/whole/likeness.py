"""Nodes of the same plate that are like one whose document was lost: fields of a plate mostly are alike."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from platestore.checking.whole.disk import Disk
from platestore.checking.whole.facts import array_facts, read_image
from platestore.checking.whole.images import Array, Like
from platestore.storage.base import join

#: How many other fields are looked at.
_MOST = 64


def fields_beside(disk: Disk, path: str) -> Iterator[str]:
    """Paths of other images of the same well, then of the other wells of the plate."""
    well = path.rpartition("/")[0]
    plate = "/".join(well.split("/")[:-2]) if well.count("/") >= 1 else None
    yield from (join(well, name) for name in disk.members(well, "image") if join(well, name) != path)
    if plate is None:
        return
    for row in disk.members(plate, "row"):
        for column in disk.members(join(plate, row), "well"):
            other = join(plate, row, column)
            if other != well:
                yield from (join(other, name) for name in disk.members(other, "image"))


def like_image(disk: Disk, path: str, arrays: Mapping[str, Array]) -> Like | None:
    """The metadata of an image of the same plate, of one with the same arrays if there is such.

    Parameters
    ----------
    disk : Disk
        The store.
    path : str
        The image.
    arrays : mapping
        Its arrays.
    """
    if path.rpartition("/")[0] == "":
        return None  # it is no field of a plate
    ndims = {len(array.shape) for array in arrays.values()}
    second: Like | None = None
    for other in itertools.islice(fields_beside(disk, path), _MOST):
        meta = read_image(disk[other])
        if meta is None or not meta.paths():
            continue
        facts = {p: array_facts(disk[join(other, p)]) for p in meta.paths()}
        like = Like(other, meta, {p: f.shape for p, f in facts.items() if f is not None})
        if like.shapes == {p: arrays[p].shape for p in meta.paths() if p in arrays}:
            return like
        if second is None and {len(image.axes) for image in meta.multiscales} == ndims:
            second = like
    return second


def annotated_image(disk: Disk, path: str) -> Like | None:
    """The image that a label image lies in."""
    image = path.rpartition("/labels/")[0] if "/labels/" in path else ""
    meta = read_image(disk[image])
    if meta is None or not meta.paths():
        return None
    facts = {p: array_facts(disk[join(image, p)]) for p in meta.paths()}
    return Like(image, meta, {p: f.shape for p, f in facts.items() if f is not None})
