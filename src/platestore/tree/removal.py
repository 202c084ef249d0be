"""Removing nodes and arrays: unlisted first, then removed, with what belongs to them.

Every change of more than one document is an intent: recorded with the first commit, then finished.
"""

from __future__ import annotations

from platestore.errors import (
    ArgumentError,
    InvalidMetadataError,
    NodeKeyError,
    NodeNotFoundError,
    UnsupportedError,
)
from platestore.spec import edits, pyramids
from platestore.spec.multiscales import ImagesMeta, MultiScaleMeta
from platestore.spec.names import normalise_key
from platestore.spec.own import Intent
from platestore.spec.plate import PlateMeta
from platestore.storage.hierarchy import group_exists, read_array
from platestore.tree import intents
from platestore.tree.editor import AnyEditor, Draft
from platestore.tree.image import ImageEditor, LabelImageEditor, LabelsEditor
from platestore.tree.plate import PlateEditor, RowEditor
from platestore.tree.reshaping import check_own_level, labels_of
from platestore.tree.series import SeriesEditor
from platestore.tree.well import WellEditor


def remove(editor: AnyEditor, key: str | int | tuple[str | int, ...]) -> None:
    """Remove a member, or something below it by its path: its entry first, then its data.

    Raises
    ------
    NodeKeyError
        If there is no such member.
    ArgumentError
        If levels or label images depend on it.
    UnsupportedError
        If the node lists no members that could be removed.
    """
    if isinstance(editor, PlateEditor):
        _remove_from_plate(editor, editor.spelled(key))
    elif isinstance(editor, RowEditor):
        remove(editor.plate(), f"{editor.name}/{normalise_key(key)}")
    elif isinstance(editor, WellEditor):
        _remove_position(editor, normalise_key(key))
    elif isinstance(editor, LabelsEditor):
        _remove_label(editor, normalise_key(key))
    elif isinstance(editor, ImageEditor):
        name = normalise_key(key) if isinstance(key, tuple) else editor.name_of(key)
        if isinstance(editor, LabelImageEditor):
            check_own_level(editor, name)
        delete_image(editor, name)
    elif isinstance(editor, SeriesEditor):
        raise UnsupportedError("a bioformats2raw collection is read-only", path=editor.location.where)
    else:
        raise UnsupportedError("nothing can be removed from it", path=editor.location.where)


# --- plates and wells -----------------------------------------------------------------------------


def _remove_from_plate(plate: PlateEditor, path: str) -> None:
    """Remove a row, a well, a position or an image: its entry first, then its data."""
    parts = path.split("/")
    location = plate.location
    with location.storage.lock(location.path):
        if len(parts) > 2:
            remove(plate["/".join(parts[:2])], "/".join(parts[2:]))
            return
        found = [well.path for well in plate.peek().wells if f"{well.path}/".startswith(f"{path}/")]
        if not found:
            raise NodeKeyError(f"there is no member {path!r}", path=location.where, hint=plate.wells_hint())
        for well in found:
            _delete_well(plate, well)


def _delete_well(plate: PlateEditor, path: str) -> None:
    plate.location.storage.check_links(plate.location.child(path).path, writing=True)
    fields = _count_fields(plate, path) if plate.peek().field_count is not None else 0
    most = _most_fields(plate, path, fields, 0)

    def unlist(draft: Draft[PlateMeta]) -> Intent:
        draft.meta.remove_well(path, declared=draft.meta.is_declared(draft.own.plate_format))
        draft.meta.field_count = most if draft.meta.wells else None
        intent = Intent(operation="delete", id=intents.new_id(), path=path)
        draft.add_intent(intent)
        return intent

    plate.finish(plate.commit(unlist, check=False))
    intents.prune_row(plate.location, path)


def _most_fields(plate: PlateEditor, path: str, had: int, left: int) -> int | None:
    """What ``field_count`` is when a well has fewer fields than it had; None if the plate does not say it.

    Other wells are read only if this one had as many as the plate says, and only until another one has.
    """
    meta = plate.peek()
    said, others = meta.field_count, [well.path for well in meta.wells if well.path != path]
    if said is None or had < said:
        return said
    most = max(1, left)
    for other in others:
        if most >= said:
            break
        most = max(most, _count_fields(plate, other))
    return min(most, said)


def _count_fields(plate: PlateEditor, path: str) -> int:
    try:
        well: WellEditor = plate[path]
        return len(well.names())
    except (NodeNotFoundError, InvalidMetadataError, NodeKeyError):
        return 0


def _delete_counted(plate: PlateEditor, path: str, most: int | None) -> None:
    """Remove a position with which ``field_count`` changes: both documents change, or neither."""

    def count(draft: Draft[PlateMeta]) -> Intent:
        draft.meta.field_count = most
        intent = Intent(operation="delete-position", id=intents.new_id(), path=path)
        draft.add_intent(intent)
        return intent

    plate.finish(plate.commit(count, check=False))


def _remove_position(well: WellEditor, key: str) -> None:
    """Remove a position of a well, or something below it; ``field_count`` of the plate follows."""
    name, _, rest = key.partition("/")
    if rest:
        remove(well[name], rest)
        return
    plate = well.plate()
    if not isinstance(plate, PlateEditor):
        well.remove(name)
        return
    with plate.location.storage.lock(plate.location.path):
        relative = well.location.path.removeprefix(plate.location.path).strip("/")
        images = well.peek().images
        most = _most_fields(plate, relative, len(images), len(images) - 1)
        if most == plate.meta.field_count or all(image.path != name for image in images):
            well.remove(name)
        else:
            _delete_counted(plate, f"{relative}/{name}", most)
            well.refresh()


def finish_delete_position(plate: PlateEditor, intent: Intent) -> None:
    """Remove a position with which ``field_count`` changed."""
    path, _, name = intent.path.rpartition("/")
    well: WellEditor = plate[path]
    if well.peek().image(name) is not None:  # not if an interrupted process did that already
        well.remove(name)
    plate.drop_intent(intent)


# --- label images ---------------------------------------------------------------------------------


def _remove_label(labels: LabelsEditor, key: str) -> None:
    found = labels.listed(key, labels.names())
    if found is not None and found[1]:
        remove(labels[found[0]], found[1])
        return
    with labels.location.storage.lock(labels.location.path):
        names = labels.peek().labels
        found = labels.listed(key, names)
        if found is None or found[1]:
            raise labels.unknown(key, names)
        labels.finish(labels.unlist(found[0], "delete"))


def delete_label(position: ImageEditor, name: str) -> None:
    """Remove a label image of a position."""
    position.location.storage.require_writable(position.location.path)
    listing = position.listing()
    if listing is None or name not in listing.names():
        position.get_label(name)  # says what there is
    else:
        remove(listing, name)


# --- arrays ---------------------------------------------------------------------------------------


def delete_image(position: ImageEditor, name: str) -> None:
    """Unlist an image, then remove its data; an unlisted array is just removed.

    With a level, the levels of the label images that belong to it go, in one recorded change.

    Raises
    ------
    ArgumentError
        If levels or label images depend on it.
    """
    location = position.location
    with location.storage.lock(location.path):
        found = position.peek().find(name)
        if found is None:
            array = location.child(name)
            if read_array(array.storage, array.path, array.zarr_format) is None or "/" in name:
                listed = ", ".join(position.names()) or "none"
                raise NodeKeyError(
                    f"there is no image {name!r}", path=location.where, hint=f"images: {listed}"
                )
            location.storage.remove_tree(array.path)
            return
        unlist_and_remove(position, name, _dependents(position, found[0], name))


def _dependents(position: ImageEditor, image: MultiScaleMeta, name: str) -> dict[str, str]:
    """Levels of label images that go with a level, by label image; an error if something needs the array."""
    where, paths = position.location.where, [d.path for d in image.datasets]
    labels = labels_of(position, image)
    place = position.location.child(name)
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
        theirs = [d.path for d in label.meta.multiscales[0].datasets]
        if len(theirs) == len(paths):  # one of another number of levels has them for reasons of its own
            inner = label.location.path.removeprefix(position.location.path).strip("/")
            out[inner] = theirs[paths.index(name)]
    return out


def unlist_and_remove(position: ImageEditor, name: str, levels: dict[str, str] | None = None) -> None:
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

    position.finish(position.commit(unlist))


def finish_delete_image(image: ImageEditor, intent: Intent) -> None:
    """Remove an array, and levels of label images that go with it."""
    for label, level in (intent.levels or {}).items():
        place = image.location.child(label)
        if group_exists(place.storage, place.path, place.zarr_format):
            opened: ImageEditor = image.open_group(label)
            if level in opened.peek().paths():
                unlist_and_remove(opened, level)
    intents.finish_delete(image, intent)
