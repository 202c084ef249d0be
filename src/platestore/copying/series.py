"""The ``OME`` group of a collection, or of a plate, that bioformats2raw wrote: what it lists in the copy."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

from platestore.copying.groups import GroupWriter
from platestore.storage.hierarchy import Group, read_group
from platestore.tree.location import Location
from platestore.tree.series import SeriesEditor

#: Name of the group that lists the images, beside the OME-XML that describes them.
OME = "OME"
_XML = "METADATA.ome.xml"


def has_ome(location: Location) -> bool:
    """Whether there is such a group, and not just a directory of that name."""
    return _group(location) is not None


def _group(location: Location) -> Group | None:
    inner = location.child(OME)
    return read_group(inner.storage, inner.path, inner.zarr_format)


def plan_series(groups: GroupWriter, series: SeriesEditor, kept: Sequence[str]) -> None:
    """Plan the documents of a collection, and its ``OME`` group."""
    location = series.location
    root = copy.deepcopy(series.group.attributes)
    at_root = "series" in location.ngff.series_parts(root)
    whole = list(kept) == series.names()
    if not whole and at_root:
        location.ngff.edit(root, lambda ome: ome.update(series=list(kept)))
    groups.attributes(location, root, "series", "")
    plan_ome(groups, location, None if whole else list(kept), make=not at_root)


def plan_ome(
    groups: GroupWriter, location: Location, kept: Sequence[str] | None, *, make: bool = False
) -> None:
    """Plan the ``OME`` group of a collection or plate.

    ``OME/METADATA.ome.xml`` describes all images in their order: it stays behind when some do.

    Parameters
    ----------
    groups : GroupWriter
        Takes it.
    location : Location
        What it is the group of.
    kept : sequence of str, optional
        What it lists in the copy; as it is by default.
    make : bool
        Whether it gets a list if it has none.
    """
    group, inner = _group(location), location.child(OME)
    attributes = {} if group is None else copy.deepcopy(group.attributes)
    if kept is not None and (make or "series" in inner.ngff.series_parts(attributes)):
        inner.ngff.edit(attributes, lambda ome: ome.update(series=list(kept)))
    if group is not None or attributes:
        groups.attributes(inner, attributes, "series", OME)
    if group is None:
        return
    groups.others(inner, OME, set() if kept is None else {_XML}, (), listed=False)
    if kept is not None and inner.storage.size_of(inner.child(_XML).path) is not None:
        groups.plan.notes.append(f"{OME}/{_XML} describes images that are not copied: left behind")


def moved_series(location: Location, moved: Mapping[str, str]) -> list[str] | None:
    """What the ``OME`` group of a plate lists in the copy.

    Parameters
    ----------
    location : Location
        The plate.
    moved : mapping
        Paths of the positions in the copy, by those in the source.

    Returns
    -------
    list of str or None
        None if it has no list, or the list stays as it is.
    """
    group = _group(location)
    parts = {} if group is None else location.ngff.series_parts(group.attributes)
    listed = parts.get("series")
    if not isinstance(listed, list):
        return None
    kept = [moved[path] for path in listed if isinstance(path, str) and path in moved]
    kept += [new for old, new in moved.items() if old not in listed]
    return None if kept == listed else kept
