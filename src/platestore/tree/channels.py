"""Channels of a position: names and windows in its document, and the axis of its arrays."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from platestore.arrays.metadata import grow_axis, summarise
from platestore.errors import ArgumentError
from platestore.spec import edits
from platestore.spec.axes import channel_index
from platestore.spec.multiscales import ImagesMeta
from platestore.spec.omero import WindowDict, check_channel_name, check_window, complete, is_complete
from platestore.spec.own import Intent
from platestore.storage.hierarchy import read_array
from platestore.tree import intents
from platestore.tree.editor import Draft
from platestore.tree.image import ImageEditor
from platestore.tree.levels import documents_of, factors_of
from platestore.tree.reshaping import apply_shapes, label_shapes


def rename_channel(position: ImageEditor, old: str, new: str) -> None:
    """Give a channel another name.

    Raises
    ------
    ArgumentError
        If there is no channel ``old``, or one named ``new`` already.
    """
    check_channel_name(new)
    names, dtype = position.channel_names, _dtype_of_incomplete(position)
    position.commit(lambda d: edits.rename_channel(d.meta, _fresh_names(d.meta, names), old, new, dtype))


def set_window(position: ImageEditor, name: str, window: WindowDict | None) -> None:
    """Set the contrast window of a channel.

    Raises
    ------
    ArgumentError
        If the channel is unknown or the window incomplete.
    """
    names, dtype = position.channel_names, _dtype_of_incomplete(position)
    checked = check_window(window)
    position.commit(lambda d: edits.set_window(d.meta, _fresh_names(d.meta, names), name, checked, dtype))


def write_models(position: ImageEditor) -> None:
    """Write models that were edited by hand; channels get the colour or window that they lack."""
    dtype = None if position.meta.omero is None else _dtype_of_incomplete(position)

    def change(draft: Draft[ImagesMeta]) -> None:
        if draft.meta.omero is not None and dtype is not None:
            complete(draft.meta.omero, dtype)

    position.commit(change)


def _dtype_of_incomplete(position: ImageEditor) -> str | None:
    """The data type to complete channels with; None if none lacks anything, or there is no image yet."""
    return None if is_complete(position.meta.omero) else position.dtype_of_image()


def _fresh_names(meta: ImagesMeta, fallback: Sequence[str]) -> Sequence[str]:
    return edits.channel_names(meta, len(fallback)) if meta.omero is not None else fallback


def append_channel(position: ImageEditor, name: str, resize_arrays: bool) -> None:
    """Grow all arrays by a channel, then name it."""
    location = position.location
    axis = channel_index(position.axes)
    if axis is None:
        raise ArgumentError("the position has no channel axis", path=location.where)
    with contextlib.ExitStack() as locks:
        locks.enter_context(location.storage.lock(location.path))
        meta = position.peek()
        names = edits.channel_names(meta, 0) if meta.omero is not None else position.channel_names
        if name in names:
            raise ArgumentError(f"there is a channel {name!r} already", path=location.where)
        sizes: dict[str, int] = {}
        for path in meta.paths() if resize_arrays else ():
            locks.enter_context(location.storage.lock(location.child(path).path))
            sizes[path] = summarise(position.array_document(path)).shape[axis] + 1
        for each in meta.multiscales if sizes else ():
            # An error where levels have another number of channels or time points.
            factors_of(position, each, documents_of(position, each), exact=False)
        shapes: dict[str, list[int]] = {}
        image = meta.multiscales[0]
        if sizes and image.datasets:
            old = summarise(position.array_document(image.datasets[0].path)).shape
            new = [n + (i == axis) for i, n in enumerate(old)]
            shapes = label_shapes(position, image, old, new)
        intent = Intent(
            operation="append-channel",
            id=intents.new_id(),
            path=name,
            arrays=sizes,
            shapes=shapes or None,
            entry={"names": list(names)},
        )
        if sizes:
            position.commit(lambda draft: draft.add_intent(intent), check=False)
        position.finish(intent)


def finish_append_channel(position: ImageEditor, intent: Intent) -> None:
    """Let all arrays grow, then name the channel."""
    dtype = _grow(position, intent.arrays or {})
    if intent.shapes:
        apply_shapes(position, intent.shapes)
    dtype = dtype or position.dtype_of_image()

    def name_it(draft: Draft[ImagesMeta]) -> None:
        names = (intent.entry or {}).get("names", [])
        if draft.meta.omero is not None:
            names = edits.channel_names(draft.meta, 0)
        if intent.path not in names:
            edits.add_channel(draft.meta, names, intent.path, dtype)
        draft.drop_intent(intent.id)

    position.commit(name_it)


def _grow(position: ImageEditor, arrays: Mapping[str, int]) -> str | None:
    """Let arrays have as many channels as they are to have; returns the data type of the first."""
    location, axis, dtype = position.location, channel_index(position.axes), None
    for path, size in arrays.items():
        place = location.child(path)
        document = read_array(location.storage, place.path, location.zarr_format)
        if document is None or axis is None:
            continue
        dtype = dtype or summarise(document).dtype
        grow_axis(location.storage, place.path, location.zarr_format, axis, size)
    return dtype
