"""Putting levels that were built under hidden names in their places, as an intent recorded it."""

from __future__ import annotations

from platestore._version import __version__
from platestore.spec import edits, pyramids
from platestore.spec.multiscales import DatasetMeta, ImagesMeta
from platestore.spec.own import BaseEntry, Intent, pyramid_entry
from platestore.tree import intents
from platestore.tree.editor import Draft
from platestore.tree.image import ImageEditor


def finish_install(position: ImageEditor, intent: Intent) -> None:
    """Move new arrays into place and list them; every step can be repeated."""
    entry = pyramid_entry(intent, document=position.location.where)
    for path in entry.removed:
        position.location.storage.remove_tree(position.location.child(path).path)
    base = entry.base
    whole = base is None or _move_in(position, intent.path, base.staged)
    present = []
    for level in entry.levels:
        whole = _move_in(position, level.path, level.staged) and whole
        if not whole:
            break  # whatever happened: what is not there is not listed, nor what comes after it
        present.append(level)

    def relist(draft: Draft[ImagesMeta]) -> None:
        absent = draft.meta.find(intent.path) is None
        if base is not None and absent and intents.is_node(position.location.child(intent.path)):
            _list_base(draft.meta, intent.path, base)
        found = draft.meta.find(intent.path)
        if found is not None:
            image = found[0]
            known = {d.path for d in image.datasets}
            image.datasets += [
                DatasetMeta(path=level.path, coordinate_transformations=level.transform)
                for level in present
                if level.path not in known
            ]
            if len(image.datasets) > 1:
                pyramids.describe(image, entry.method, entry.factors[: len(present)], __version__)
                if entry.incomplete:
                    pyramids.mark_incomplete(image, [level.path for level in present])
        draft.drop_intent(intent.id)

    position.commit(relist, check=False)


def _move_in(position: ImageEditor, path: str, hidden: str | None) -> bool:
    """Put an array in its place; whether there is one now."""
    location, storage = position.location, position.location.storage
    old = location.child(path)
    if hidden is not None:
        new = location.child(hidden)
        if intents.is_node(new):
            storage.remove_tree(old.path)
            storage.move_tree(new.path, old.path)
        storage.remove_tree(new.path)  # what an interrupted removal of the copied one left
    return intents.is_node(old)


def _list_base(meta: ImagesMeta, name: str, base: BaseEntry) -> None:
    if base.place:
        place = {**base.place, "transform": [step.to_json() for step in base.transform]}
        edits.relist_image(meta, name, place, base.dtype)
        return
    # An image with levels of its own never is a level of another one.
    edits.list_image(meta, name, base.shape, None, base.transform, base.dtype)
