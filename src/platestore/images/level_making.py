"""Making, installing, marking and deleting the levels of one image.

New levels are built whole under hidden names. One commit takes the old ones out of the list and records what
is being done; then the files move; a second commit lists the new ones. So readers see level 0 alone, the old
levels or the new ones, and level 0 is only read. Only levels that were initialised, and regions, are filled
in place; a mark in the document says so until they are complete.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from platestore._version import __version__
from platestore.arrays.metadata import summarise
from platestore.arrays.sources import Source
from platestore.errors import NodeExistsError, SourceChangedError
from platestore.images.levels import Levels
from platestore.pyramid.levels import make_levels, plan_build
from platestore.resources import Resources
from platestore.spec import edits, pyramids
from platestore.spec.geometry import level_transform
from platestore.spec.multiscales import DatasetMeta, ImagesMeta
from platestore.spec.own import BaseEntry, Intent, LevelMove, PyramidEntry
from platestore.spec.reductions import reduction
from platestore.spec.transforms import TransformationMeta, normalise
from platestore.storage.hierarchy import ArrayDocument, array_attributes, array_files, create_node
from platestore.tree import intents
from platestore.tree.editor import Draft
from platestore.tree.image import ImageEditor
from platestore.tree.leftovers import require_free
from platestore.tree.levels import image_of

if TYPE_CHECKING:
    from platestore.arrays.types import Pixels


def build_staged(
    position: ImageEditor,
    levels: Levels,
    resources: Resources,
    *,
    base: ArrayDocument | None = None,
    data: Pixels | Source | None = None,
) -> list[str]:
    """Build all levels under hidden names, which are returned.

    Parameters
    ----------
    position : ImageEditor
        The position.
    levels : Levels
        What to build.
    resources : Resources
        What may be used.
    base : ArrayDocument, optional
        Document of level 0, if it lies elsewhere as yet.
    data : numpy.ndarray or Source, optional
        Pixels of level 0, which is then written too.
    """
    staged = [intents.staging_name(name.rpartition("/")[2]) for name in levels.names]
    try:
        documents = _create(position, levels, staged)
        make_levels(
            position.location.storage,
            base or levels.base,
            documents,
            levels.factors,
            levels.method,
            resources,
            fresh=True,
            data=data,
        )
    except BaseException:
        discard(position, staged)
        raise
    return staged


def stage_empty(position: ImageEditor, levels: Levels) -> list[str]:
    """Create all levels under hidden names, which are returned, without pixels."""
    staged = [intents.staging_name(name.rpartition("/")[2]) for name in levels.names]
    try:
        _create(position, levels, staged)
    except BaseException:
        discard(position, staged)
        raise
    return staged


def _create(position: ImageEditor, levels: Levels, staged: Sequence[str]) -> list[ArrayDocument]:
    """Write the documents of levels under other names."""
    location = position.location
    storage, fmt = location.storage, location.zarr_format
    documents = []
    for hidden, document in zip(staged, levels.documents, strict=True):
        place = location.child(hidden)
        attributes = array_attributes(storage, document.path, fmt)  # those of the level that it replaces
        files = array_files(fmt, document.content, attributes, where=place.where)
        create_node(storage, place.path, files)
        documents.append(ArrayDocument(place.path, fmt, files[-1][1]))
    return documents


def check_budget(position: ImageEditor, levels: Levels, resources: Resources, region: Any = None) -> None:
    """Refuse a budget that is too small, before anything is written.

    Raises
    ------
    BudgetError
        If it is.
    """
    plan_build(
        position.location.storage,
        levels.base,
        levels.documents,
        levels.factors,
        levels.method,
        resources,
        fresh=True,
        region=region,
    )


def discard(position: ImageEditor, staged: Sequence[str]) -> None:
    """Take away what was built under hidden names."""
    for name in staged:
        with contextlib.suppress(Exception):
            position.location.storage.remove_tree(position.location.child(name).path)


def fill_in_place(position: ImageEditor, levels: Levels, resources: Resources, region: Any = None) -> None:
    """Fill levels that exist and are marked."""
    make_levels(
        position.location.storage,
        levels.base,
        levels.documents,
        levels.factors,
        levels.method,
        resources,
        fresh=False,
        region=region,
    )


# --- documents ------------------------------------------------------------------------------------


def transforms(base: Sequence[TransformationMeta], levels: Levels) -> list[list[TransformationMeta]]:
    """Transformations of the levels, from those of level 0."""
    current, out = base, []
    for step in levels.factors:
        current = level_transform(current, step, pooled=reduction(levels.method).is_pooled)
        out.append(current)
    return out


@dataclass(frozen=True, slots=True)
class NewBase:
    """A level 0 that is installed with its levels.

    Attributes
    ----------
    staged : str or None
        Hidden name under which it was built; None if it lies in its place already.
    shape : tuple of int
        Its shape.
    dtype : str
        Name of its data type.
    transform : sequence of TransformationMeta, optional
        Its transformations, as the caller gave them; by default those of the one that it replaces.
    channels : int, optional
        How many channels the position is to name after it replaced another one, if that changes.
    with_pixels : bool
        Whether its levels were computed.
    """

    staged: str | None
    shape: tuple[int, ...]
    dtype: str
    transform: Sequence[TransformationMeta] | None
    channels: int | None = None
    with_pixels: bool = True


def install(position: ImageEditor, levels: Levels, staged: Sequence[str], new: NewBase | None = None) -> None:
    """Put levels that were built under hidden names in the place of those that are listed."""
    storage = position.location.storage
    try:
        with storage.lock(position.location.path):
            found = position.peek().find(levels.name)
            if new is None:
                _require_same_base(position, levels)
            listed = {d.path for d in found[0].datasets} if found is not None else set()
            for name in levels.names:
                if name not in listed:
                    require_free(position.location.child(name), "array")
            intent = position.commit(lambda draft: _record(position, draft, levels, staged, new))
            position.finish(intent)
    except Exception:
        with contextlib.suppress(Exception):
            # This completes what was recorded; what is still hidden then, nothing refers to.
            position.peek()
            discard(position, staged)
        raise


def _require_same_base(position: ImageEditor, levels: Levels) -> None:
    """Refuse levels that were made of a level 0 that has another shape now."""
    shape, before = summarise(position.array_document(levels.name)).shape, summarise(levels.base).shape
    if shape != before:
        raise SourceChangedError(
            f"{levels.name!r} has shape {shape} now, and had {before} when its levels were begun",
            path=position.location.where,
            hint="compute_pyramid() once more",
        )


def _record(
    position: ImageEditor,
    draft: Draft[ImagesMeta],
    levels: Levels,
    staged: Sequence[str],
    new: NewBase | None,
) -> Intent:
    """Take what is replaced out of the list, and record what comes."""
    found = draft.meta.find(levels.name)
    removed: list[str] = []
    if found is not None:
        image = found[0]
        removed = [d.path for d in image.datasets[1:] if d.path not in levels.names]
        image.datasets = image.datasets[:1]
        pyramids.forget(image)
    base = None
    if new is None:
        image = image_of(draft.meta, position, levels.name)
        first: Sequence[TransformationMeta] = image.datasets[0].coordinate_transformations
    else:
        given = found[1].coordinate_transformations if found and new.transform is None else new.transform
        first = steps = normalise(given, len(new.shape))
        place = None
        if found is not None:
            former = summarise(position.array_document(levels.name)).dtype
            place = edits.unlist_image(draft.meta, levels.name)
            place.update(former=former, channels=new.channels)
        base = BaseEntry(
            staged=new.staged, shape=list(new.shape), dtype=new.dtype, transform=steps, place=place
        )
    rows = zip(levels.names, staged, transforms(first, levels), strict=True)
    entry = PyramidEntry(
        removed=removed,
        method=levels.method,
        factors=[list(step) for step in levels.factors],
        base=base,
        levels=[LevelMove(path=name, staged=hidden, transform=steps) for name, hidden, steps in rows],
        incomplete=True if new is not None and not new.with_pixels else None,
    )
    intent = Intent(operation="pyramid", id=intents.new_id(), path=levels.name, entry=entry.to_json())
    draft.add_intent(intent)
    return intent


def initialise(position: ImageEditor, levels: Levels) -> None:
    """Create levels of zeros, list them and mark them as not computed."""
    location, storage = position.location, position.location.storage

    def change(draft: Draft[ImagesMeta]) -> None:
        image = image_of(draft.meta, position, levels.name)
        base = image.datasets[0].coordinate_transformations
        for name, steps in zip(levels.names, transforms(base, levels), strict=True):
            image.datasets.append(DatasetMeta(path=name, coordinate_transformations=steps))
        pyramids.describe(image, levels.method, levels.factors, __version__)
        pyramids.mark_incomplete(image, levels.names)

    with storage.lock(location.path):
        if len(image_of(position.peek(), position, levels.name).datasets) > 1:
            raise NodeExistsError("another process made a pyramid meanwhile", path=location.where)
        for name, document in zip(levels.names, levels.documents, strict=True):
            place = location.child(name)
            require_free(place, "array")
            files = array_files(location.zarr_format, document.content, where=place.where)
            create_node(storage, place.path, files)
        position.commit(change)


def mark_regions(position: ImageEditor, levels: Levels, region: pyramids.Region) -> list[pyramids.Region]:
    """Say that regions are being made anew; returns these, with those that an earlier call left."""

    def change(draft: Draft[ImagesMeta]) -> list[pyramids.Region]:
        image = image_of(draft.meta, position, levels.name)
        pyramids.mark_region(image, region)
        return pyramids.regions(image)

    return position.commit(change)


def complete(position: ImageEditor, levels: Levels, only: list[pyramids.Region] | None = None) -> None:
    """Take the marks away, of all or of some regions, and say how the levels were made."""
    shape = summarise(levels.base).shape

    def change(draft: Draft[ImagesMeta]) -> None:
        image = image_of(draft.meta, position, levels.name)
        if only is None or (pyramids.incomplete(image) and not pyramids.is_begun(image)):
            base = image.datasets[0].coordinate_transformations
            for dataset, steps in zip(image.datasets[1:], transforms(base, levels), strict=True):
                dataset.coordinate_transformations = steps
            pyramids.describe(image, levels.method, levels.factors, __version__)
        pyramids.unmark(image, only=only)
        if only is not None and pyramids.incomplete(image):
            pyramids.mark_filled(image, only, shape)

    with position.location.storage.lock(position.location.path):
        _require_same_base(position, levels)
        position.commit(change)


def delete(position: ImageEditor, name: str) -> None:
    """Unlist all levels but level 0, then remove them."""

    def unlist(draft: Draft[ImagesMeta]) -> list[Intent]:
        image = image_of(draft.meta, position, name)
        gone = [d.path for d in image.datasets[1:]]
        image.datasets = image.datasets[:1]
        pyramids.forget(image)
        left = set(draft.meta.paths())
        records = [
            Intent(operation="delete", id=intents.new_id(), path=path) for path in gone if path not in left
        ]
        for record in records:
            draft.add_intent(record)
        return records

    with position.location.storage.lock(position.location.path):
        if len(image_of(position.peek(), position, name).datasets) > 1:
            for record in position.commit(unlist):
                position.finish(record)
