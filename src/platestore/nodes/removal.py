"""Removing arrays of a position: unlisted first, then removed, with what belongs to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from platestore.errors import ArgumentError, NodeKeyError
from platestore.nodes import intents
from platestore.nodes.reshaping import labels_of
from platestore.spec import edits, pyramids
from platestore.spec.own import Intent
from platestore.storage.hierarchy import read_array

if TYPE_CHECKING:
    from platestore.nodes.draft import Draft
    from platestore.nodes.position import Position
    from platestore.spec.multiscales import ImagesMeta, MultiScaleMeta


def delete_image(position: Position, name: str) -> None:
    """Unlist an image, then remove its data; an unlisted array is just removed.

    With a level, the levels of the label images that belong to it go, in one recorded change.

    Raises
    ------
    ArgumentError
        If levels or label images depend on it.
    """
    location = position._location
    with location.storage.lock(location.path):
        found = position._peek().find(name)
        if found is None:
            array = location.child(name)
            if read_array(array.storage, array.path, array.zarr_format) is None or "/" in name:
                listed = ", ".join(position._keys()) or "none"
                raise NodeKeyError(
                    f"there is no image {name!r}", path=location.where, hint=f"images: {listed}"
                )
            location.storage.remove_tree(array.path)
            return
        unlist_and_remove(position, name, _dependents(position, found[0], name))


def _dependents(position: Position, image: MultiScaleMeta, name: str) -> dict[str, str]:
    """Levels of label images that go with a level, by label image; an error if something needs the array."""
    where, paths = position._location.where, [d.path for d in image.datasets]
    labels = labels_of(position, image)
    place = position._location.child(name)
    is_there = read_array(place.storage, place.path, place.zarr_format) is not None
    if name == paths[0]:
        if not is_there:
            return {}  # an entry without an array keeps nothing alive
        if len(paths) > 1:
            raise ArgumentError(
                f"the levels {', '.join(paths[1:])} are made from {name!r}",
                path=where,
                hint="delete_pyramid() first; or replace it (overwriting_creation=True)",
            )
        if labels:
            raise ArgumentError(
                f"there are label images of {name!r}: {', '.join(position.label_names)}",
                path=where,
                hint="delete_label() first; or replace it (overwriting_creation=True)",
            )
        return {}
    out = {}
    for label in labels:
        theirs = [d.path for d in label._state().multiscales[0].datasets]
        if len(theirs) == len(paths):  # one of another number of levels has them for reasons of its own
            inner = label._location.path.removeprefix(position._location.path).strip("/")
            out[inner] = theirs[paths.index(name)]
    return out


def unlist_and_remove(position: Position, name: str, levels: dict[str, str] | None = None) -> None:
    """Unlist an array, and remove it, with these levels of label images. Call it under the lock."""

    def unlist(draft: Draft[ImagesMeta]) -> Intent:
        found = draft.meta.find(name)
        index = 0 if found is None else found[0].datasets.index(found[1])
        if found is not None and index:
            pyramids.drop_level(found[0], index)
        else:
            edits.unlist_image(draft.meta, name)
        kept = {key: attrs for key, attrs in (draft.own.xarray_attrs or {}).items() if key != name}
        draft.own.xarray_attrs = kept or None
        intent = Intent(operation="delete", id=intents.new_id(), path=name, levels=levels or None)
        draft.add_intent(intent)
        return intent

    intents.finish(position, position._commit(unlist))
