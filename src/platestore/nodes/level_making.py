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

from platestore.arrays.metadata import summarise
from platestore.errors import NodeExistsError, SourceChangedError
from platestore.nodes import intents
from platestore.nodes.leftovers import require_free
from platestore.nodes.levels import Levels, image_of
from platestore.pyramid.geometry import level_transform
from platestore.pyramid.levels import Resources, make_levels, plan_build
from platestore.spec import edits, pyramids
from platestore.spec.multiscales import DatasetMeta
from platestore.spec.own import BaseEntry, Intent, LevelMove, PyramidEntry, pyramid_entry
from platestore.spec.transforms import normalise
from platestore.storage.hierarchy import ArrayDocument, array_attributes, array_files, create_node

if TYPE_CHECKING:
    import numpy.typing as npt

    from platestore.arrays.sources import Source
    from platestore.nodes.draft import Draft
    from platestore.nodes.position import Position
    from platestore.spec.multiscales import ImagesMeta
    from platestore.spec.transforms import TransformationMeta


def build_staged(
    position: Position,
    levels: Levels,
    resources: Resources,
    *,
    base: ArrayDocument | None = None,
    data: npt.NDArray[Any] | Source | None = None,
) -> list[str]:
    """Build all levels under hidden names, which are returned.

    Parameters
    ----------
    position : Position
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
            position._location.storage,
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


def stage_empty(position: Position, levels: Levels) -> list[str]:
    """Create all levels under hidden names, which are returned, without pixels."""
    staged = [intents.staging_name(name.rpartition("/")[2]) for name in levels.names]
    try:
        _create(position, levels, staged)
    except BaseException:
        discard(position, staged)
        raise
    return staged


def _create(position: Position, levels: Levels, staged: Sequence[str]) -> list[ArrayDocument]:
    """Write the documents of levels under other names."""
    location = position._location
    storage, fmt = location.storage, location.zarr_format
    documents = []
    for hidden, document in zip(staged, levels.documents, strict=True):
        place = location.child(hidden)
        attributes = array_attributes(storage, document.path, fmt)  # those of the level that it replaces
        files = array_files(fmt, document.content, attributes, where=place.where)
        create_node(storage, place.path, files)
        documents.append(ArrayDocument(place.path, fmt, files[-1][1]))
    return documents


def check_budget(position: Position, levels: Levels, resources: Resources, region: Any = None) -> None:
    """Refuse a budget that is too small, before anything is written.

    Raises
    ------
    BudgetError
        If it is.
    """
    plan_build(
        position._location.storage,
        levels.base,
        levels.documents,
        levels.factors,
        levels.method,
        resources,
        fresh=True,
        region=region,
    )


def discard(position: Position, staged: Sequence[str]) -> None:
    """Take away what was built under hidden names."""
    for name in staged:
        with contextlib.suppress(Exception):
            position._location.storage.remove_tree(position._location.child(name).path)


def fill_in_place(position: Position, levels: Levels, resources: Resources, region: Any = None) -> None:
    """Fill levels that exist and are marked."""
    make_levels(
        position._location.storage,
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
        current = level_transform(current, step, pooled=levels.method != "stride")
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


def install(position: Position, levels: Levels, staged: Sequence[str], new: NewBase | None = None) -> None:
    """Put levels that were built under hidden names in the place of those that are listed."""
    storage = position._location.storage
    try:
        with storage.lock(position._location.path):
            found = position._peek().find(levels.name)
            if new is None:
                _require_same_base(position, levels)
            listed = {d.path for d in found[0].datasets} if found is not None else set()
            for name in levels.names:
                if name not in listed:
                    require_free(position._location.child(name), "array")
            intent = position._commit(lambda draft: _record(position, draft, levels, staged, new))
            intents.finish(position, intent)
    except Exception:
        with contextlib.suppress(Exception):
            # This completes what was recorded; what is still hidden then, nothing refers to.
            position._peek()
            discard(position, staged)
        raise


def _require_same_base(position: Position, levels: Levels) -> None:
    """Refuse levels that were made of a level 0 that has another shape now."""
    shape, before = summarise(position._array_document(levels.name)).shape, summarise(levels.base).shape
    if shape != before:
        raise SourceChangedError(
            f"{levels.name!r} has shape {shape} now, and had {before} when its levels were begun",
            path=position._location.where,
            hint="compute_pyramid() once more",
        )


def _record(
    position: Position,
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
            former = summarise(position._array_document(levels.name)).dtype
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


def finish_install(position: Position, intent: Intent) -> None:
    """Move new arrays into place and list them; every step can be repeated."""
    entry = pyramid_entry(intent, document=position._location.where)
    for path in entry.removed:
        position._location.storage.remove_tree(position._location.child(path).path)
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
        if base is not None and absent and intents.is_node(position._location.child(intent.path)):
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
                pyramids.describe(image, entry.method, entry.factors[: len(present)], _version())
                if entry.incomplete:
                    pyramids.mark_incomplete(image, [level.path for level in present])
        draft.drop_intent(intent.id)

    position._commit(relist, check=False)


def _move_in(position: Position, path: str, hidden: str | None) -> bool:
    """Put an array in its place; whether there is one now."""
    location, storage = position._location, position._location.storage
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


def _version() -> str:
    from platestore import __version__

    return __version__


def initialise(position: Position, levels: Levels) -> None:
    """Create levels of zeros, list them and mark them as not computed."""
    location, storage = position._location, position._location.storage

    def change(draft: Draft[ImagesMeta]) -> None:
        image = image_of(draft.meta, position, levels.name)
        base = image.datasets[0].coordinate_transformations
        for name, steps in zip(levels.names, transforms(base, levels), strict=True):
            image.datasets.append(DatasetMeta(path=name, coordinate_transformations=steps))
        pyramids.describe(image, levels.method, levels.factors, _version())
        pyramids.mark_incomplete(image, levels.names)

    with storage.lock(location.path):
        if len(image_of(position._peek(), position, levels.name).datasets) > 1:
            raise NodeExistsError("another process made a pyramid meanwhile", path=location.where)
        for name, document in zip(levels.names, levels.documents, strict=True):
            place = location.child(name)
            require_free(place, "array")
            files = array_files(location.zarr_format, document.content, where=place.where)
            create_node(storage, place.path, files)
        position._commit(change)


def mark_regions(position: Position, levels: Levels, region: pyramids.Region) -> list[pyramids.Region]:
    """Say that regions are being made anew; returns these, with those that an earlier call left."""

    def change(draft: Draft[ImagesMeta]) -> list[pyramids.Region]:
        image = image_of(draft.meta, position, levels.name)
        pyramids.mark_region(image, region)
        return pyramids.regions(image)

    return position._commit(change)


def complete(position: Position, levels: Levels, only: list[pyramids.Region] | None = None) -> None:
    """Take the marks away, of all or of some regions, and say how the levels were made."""
    shape = summarise(levels.base).shape

    def change(draft: Draft[ImagesMeta]) -> None:
        image = image_of(draft.meta, position, levels.name)
        if only is None or (pyramids.incomplete(image) and not pyramids.is_begun(image)):
            base = image.datasets[0].coordinate_transformations
            for dataset, steps in zip(image.datasets[1:], transforms(base, levels), strict=True):
                dataset.coordinate_transformations = steps
            pyramids.describe(image, levels.method, levels.factors, _version())
        pyramids.unmark(image, only=only)
        if only is not None and pyramids.incomplete(image):
            pyramids.mark_filled(image, only, shape)

    with position._location.storage.lock(position._location.path):
        _require_same_base(position, levels)
        position._commit(change)


def delete(position: Position, name: str) -> None:
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

    with position._location.storage.lock(position._location.path):
        if len(image_of(position._peek(), position, name).datasets) > 1:
            for record in position._commit(unlist):
                intents.finish(position, record)
