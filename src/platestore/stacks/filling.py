"""Filling a volume: slabs of full resolution, and levels that are built under hidden names."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from platestore.arrays.layout import layout_of, level_layout
from platestore.arrays.metadata import summarise
from platestore.arrays.sources import Placed, Source, as_source
from platestore.errors import ArgumentError, LevelExistsError, LevelNotFoundError
from platestore.images.level_making import discard
from platestore.pyramid.levels import make_levels, plan_build
from platestore.resources import Resources
from platestore.spec import edits, pyramids
from platestore.spec.geometry import Factors, level_transform, next_shape
from platestore.spec.own import Intent
from platestore.spec.values import Json
from platestore.stacks.array_spec import AXES
from platestore.stacks.methods import Reduction, kernel_of, name_of
from platestore.storage.hierarchy import ArrayDocument, array_files, create_node
from platestore.tree import intents
from platestore.tree.leftovers import require_free
from platestore.tree.levels import factors_of

if TYPE_CHECKING:
    from platestore.spec.multiscales import ImagesMeta, MultiScaleMeta
    from platestore.tree.editor import Draft
    from platestore.tree.image import ImageEditor


def image_of(position: ImageEditor) -> MultiScaleMeta:
    """The metadata of a volume as they are now."""
    return position.peek().multiscales[0]


def document_of(position: ImageEditor, level: int) -> ArrayDocument:
    """The document of the array of a level."""
    return position.array_document(image_of(position).datasets[level].path)


# --- full resolution ------------------------------------------------------------------------------


def fill_region(position: ImageEditor, data: Any, start: int, resources: Resources) -> None:
    """Write planes; see :meth:`MultiScaleGroup.add_full_res_data`."""
    storage = position.location.storage
    storage.require_writable(position.location.path)
    base = document_of(position, 0)
    source = as_source(data)
    region = _checked_region(base, source, start, where=storage.where(base.path))
    placed = Placed(source, [part.start for part in region], summarise(base).shape)
    plan: Json = {"fresh": False, "data": placed, "region": region}
    plan_build(storage, base, [], [], "mean", resources, **plan)
    if len(image_of(position).datasets) > 1:
        position.commit(_outdate)
    make_levels(storage, base, [], [], "mean", resources, **plan)


def _outdate(draft: Draft[ImagesMeta]) -> None:
    image = draft.meta.multiscales[0]
    pyramids.mark_incomplete(image, [dataset.path for dataset in image.datasets[1:]])


def _checked_region(base: ArrayDocument, source: Source, start: Any, *, where: str) -> tuple[slice, ...]:
    """Where planes go, if they fit."""
    layout = layout_of(base.data, base.zarr_format, where=where)
    shape = tuple(source.shape)
    if len(shape) != len(AXES) or shape[:2] != layout.shape[:2]:
        raise ArgumentError(
            f"data of shape {shape} do not fit the volume of shape {layout.shape}",
            path=where,
            hint=f"pass an array of shape {(*layout.shape[:2], 'number of planes')}",
        )
    native = layout.dtype.newbyteorder("=")
    if source.dtype != native:
        raise ArgumentError(
            f"data of type {source.dtype} do not fit the volume, whose voxels are {native}",
            path=where,
            hint=f"pass data.astype({native.name!r}), if that loses nothing",
        )
    first, last = check_block(start, shape[2], layout.shape[2], layout.units[2], where=where)
    nx, ny, _ = layout.shape
    return (slice(0, nx), slice(0, ny), slice(first, last))


def check_block(start: Any, count: int, planes: int, slab: int, *, where: str) -> tuple[int, int]:
    """Check both ends of a block of planes against the grid of slabs.

    Parameters
    ----------
    start : int
        Its first plane.
    count : int
        How many planes it has.
    planes : int
        How many the volume has.
    slab : int
        How many a slab has.
    where : str
        The array, for errors.

    Returns
    -------
    tuple of int
        First plane, and the one after the last.

    Raises
    ------
    ArgumentError
        If it starts or ends within a slab, or beyond the volume; the message names the nearest right values.
    """
    try:
        first = operator.index(start)
    except TypeError:
        first = -1
    if isinstance(start, bool) or not 0 <= first < planes:
        raise ArgumentError(
            f"start_z_idx must be a plane of the volume, from 0 to {planes - 1}, not {start!r}", path=where
        )
    if first % slab:
        below = first - first % slab
        near = [str(n) for n in (below, below + slab) if n < planes]
        raise ArgumentError(
            f"start_z_idx {first} lies within a slab of {slab} planes",
            path=where,
            hint=f"start at {' or '.join(near)}",
        )
    last = first + count
    if not count:
        raise ArgumentError("the data have no planes", path=where)
    if last > planes:
        raise ArgumentError(
            f"the data end at plane {last}, but the volume has {planes}",
            path=where,
            hint=f"from plane {first} on there is room for {planes - first}",
        )
    if last % slab and last < planes:
        below, above = last - last % slab, min(planes, last - last % slab + slab)
        near = [str(n - first) for n in (below, above) if n > first]
        raise ArgumentError(
            f"{count} planes from plane {first} on end at {last}, within a slab of {slab} planes",
            path=where,
            hint=f"pass {' or '.join(near)} planes, or all up to the end ({planes - first})",
        )
    return first, last


# --- levels ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Level:
    """A level that is to be made."""

    number: int
    path: str
    factors: Factors
    method: str | Reduction
    overwrite: bool


def add_level(
    position: ImageEditor, level: Any, function: Any, resources: Resources, *, overwrite: bool
) -> None:
    """Make a level; see :meth:`MultiScaleGroup.add_downsample_level`."""
    location, storage = position.location, position.location.storage
    storage.require_writable(location.path)
    dtype = summarise(document_of(position, 0)).dtype
    new = _check_level(position, level, kernel_of(function, dtype), overwrite)
    method = new.method
    base = document_of(position, new.number - 1)
    layout = layout_of(base.data, base.zarr_format, where=storage.where(base.path))
    content = level_layout(layout, next_shape(layout.shape, new.factors)).document(
        location.zarr_format, [axis.name for axis in position.axes]
    )
    staged = intents.staging_name(new.path.rpartition("/")[2])
    place = location.child(staged)
    files = array_files(location.zarr_format, content, where=place.where)
    document = ArrayDocument(place.path, location.zarr_format, files[-1][1])
    plan_build(storage, base, [document], [new.factors], method, resources, fresh=True)
    try:
        create_node(storage, place.path, files)
        make_levels(storage, base, [document], [new.factors], method, resources, fresh=True)
        with storage.lock(location.path):
            _check_there(position, new)
            intent = position.commit(lambda draft: _record(position, draft, new, staged))
            position.finish(intent)
    except BaseException:
        if not any(i.target == staged for i in position.own.intents or ()):
            discard(position, [staged])
        raise


def _check_level(position: ImageEditor, level: Any, method: str | Reduction, overwrite: bool) -> _Level:
    where = position.location.where
    if isinstance(level, bool) or not hasattr(level, "__index__") or operator.index(level) < 1:
        raise ArgumentError(f"level must be an integer of 1 or more, not {level!r}", path=where)
    number = operator.index(level)
    image = image_of(position)
    if number > len(image.datasets):
        raise LevelNotFoundError(
            f"level {number} is made from level {number - 1}, which is not there",
            path=where,
            hint=f"add level {len(image.datasets)} first",
        )
    before = image.datasets[number - 1].path
    if before in pyramids.incomplete(image):
        raise ArgumentError(
            f"level {number - 1} is out of date",
            path=where,
            hint=f"make it anew first: add_downsample_level({number - 1}, overwrite=True)",
        )
    shape = summarise(document_of(position, number - 1)).shape
    if all(n == 1 for n in shape):
        raise ArgumentError(f"level {number - 1} is a single voxel, and cannot be reduced", path=where)
    known = number < len(image.datasets)
    path = image.datasets[number].path if known else str(number)
    new = _Level(number, path, tuple(1 if n == 1 else 2 for n in shape), method, overwrite)
    _check_there(position, new)
    return new


def _check_there(position: ImageEditor, new: _Level) -> None:
    """Refuse to replace a level unless that is wanted, and to replace what is no level at all."""
    image = image_of(position)
    if new.number < len(image.datasets):
        if not new.overwrite:
            raise LevelExistsError(f"level {new.number} is there already", path=position.location.where)
    else:
        require_free(position.location.child(new.path), "array")


def _record(position: ImageEditor, draft: Draft[ImagesMeta], new: _Level, staged: str) -> Intent:
    """Record that a level that was built takes its place, and what the metadata say of it then."""
    image = draft.meta.multiscales[0]
    steps = _steps(position, image, new)
    kept = image.datasets[new.number - 1].coordinate_transformations
    transform = level_transform(kept, new.factors, pooled=True)
    made = _methods(image)[: len(image.datasets) - 1]
    made[new.number - 1 : new.number] = [name_of(new.method)]
    stale = {d.path for d in image.datasets[new.number + 1 :]} | set(pyramids.incomplete(image))
    if new.number < len(image.datasets):
        edits.unlist_image(draft.meta, new.path)
    _describe(image, made, steps)
    pyramids.unmark(image)
    if stale - {new.path}:
        pyramids.mark_incomplete(image, sorted(stale - {new.path}))
    place = {
        "image": 0,
        "level": new.number,
        "header": {**image.to_json(), "datasets": []},
        "alone": False,
        "dtype": summarise(position.array_document(image.datasets[0].path)).dtype,
        "transform": [step.to_json() for step in transform],
    }
    intent = Intent(operation="replace", id=intents.new_id(), path=new.path, target=staged, entry=place)
    draft.add_intent(intent)
    return intent


def _steps(position: ImageEditor, image: MultiScaleMeta, new: _Level) -> list[Sequence[int]]:
    """Factors of all steps, with that of the new level."""
    documents = [position.array_document(d.path) for d in image.datasets]
    steps: list[Sequence[int]] = list(factors_of(position, image, documents, exact=False))
    steps[new.number - 1 : new.number] = [new.factors]
    return steps


def _methods(image: MultiScaleMeta) -> list[str]:
    """How each level was made, as far as the metadata tell."""
    count = len(image.datasets) - 1
    kwargs = (image.metadata or {}).get("kwargs")
    listed = kwargs.get("methods") if isinstance(kwargs, dict) else None
    if isinstance(listed, list) and len(listed) == count:
        return [str(item) for item in listed]
    known = pyramids.described(image)
    return [known[0] if known is not None else image.type or "unknown"] * count


def _describe(image: MultiScaleMeta, made: list[str], steps: Sequence[Sequence[int]]) -> None:
    """Say how the levels were made: by one method, or by which ones."""
    from platestore._version import __version__

    same = len(set(made)) == 1
    pyramids.describe(image, made[0] if same else "mixed", steps, __version__)
    if not same:
        metadata = dict(image.metadata or {})
        metadata["kwargs"] = {**metadata["kwargs"], "methods": made}
        image.metadata = metadata
