"""Where a labelled array goes in an image of a position: everything is decided before a byte is written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from platestore.arrays.options import LayoutOptions, PyramidOptions
from platestore.arrays.origins import of_store, origins, require_there
from platestore.errors import ArgumentError, NodeExistsError
from platestore.images.creation import create_image
from platestore.resources import Resources
from platestore.settings import config
from platestore.spec import edits
from platestore.spec.axes import AxisMeta, channel_index
from platestore.spec.omero import new_omero
from platestore.spec.transforms import TransformationMeta, scale_of, translation_of
from platestore.storage.documents import check_json
from platestore.xarray.coordinates import axis_type, channel_labels, coordinate_of, dimension_names, make_axis
from platestore.xarray.extra import import_xarray
from platestore.xarray.grids import (
    Grid,
    fit,
    indices,
    lies_on,
    require_same,
    samples,
    stated_scale,
    stated_translation,
)
from platestore.xarray.pixels import source_of
from platestore.xarray.regions import sort_along, spread, write_pieces

if TYPE_CHECKING:
    import xarray as xr

    from platestore.arrays.image import ImageArray
    from platestore.spec.multiscales import ImagesMeta
    from platestore.tree.editor import Draft
    from platestore.tree.image import ImageEditor


@dataclass(slots=True)
class _Plan:
    """Where an array goes, and what the document says afterwards.

    Attributes
    ----------
    shape : list of int
        Shape that the image must have at least.
    grids : list of Grid
        Scale and translation of each axis, position and image together.
    places : dict
        Index in the image of every index of the array, for the time and the channel axis.
    units : dict
        Units that the array states, by axis.
    attrs : dict
        Attributes of the array.
    labels : tuple of str or None
        Names for channels that have none yet.
    """

    shape: list[int]
    grids: list[Grid]
    places: dict[int, list[int]]
    units: dict[int, str]
    attrs: dict[str, Any]
    labels: tuple[str, ...] | None = None
    present: list[Grid] = field(default_factory=list)

    def covers(self, axis: int) -> bool:
        """Whether the array has every index of an axis."""
        return axis not in self.places or len(self.places[axis]) == self.shape[axis]


def write(position: ImageEditor, array: xr.DataArray, image: str | int) -> None:
    """As :func:`platestore.xarray.positions.write_xarray`."""
    name = position.name_of(image)
    position.location.storage.require_writable(position.location.path)
    _check_array(position, array)
    try:
        if name not in position:
            _write_first(position, array, name)
            return
    except NodeExistsError:
        # Another process may have created it since this position was read: then this is a later write.
        position.refresh()
        if name not in position:
            raise
    _write_later(position, array, name)


# --- checks ---------------------------------------------------------------------------------------


def _check_array(position: ImageEditor, array: Any) -> None:
    if not isinstance(array, import_xarray().DataArray):
        raise ArgumentError(f"the data must be an xarray.DataArray, not {type(array).__name__}")
    wanted, dims = dimension_names(position.axes), [str(dim) for dim in array.dims]
    if dims == wanted:
        return
    quoted = ", ".join(f'"{name}"' for name in wanted)
    if sorted(dims) == sorted(wanted):
        hint = f"array.transpose({quoted})"
    else:
        missing = [name for name in wanted if name not in dims]
        extra = [name for name in dims if name not in wanted]
        steps = [f"array.expand_dims({missing})"] if missing else []
        steps += [f"drop {', '.join(extra)} with isel or squeeze"] if extra else []
        hint = f"{'; '.join([*steps, f'then .transpose({quoted})'])}"
    raise ArgumentError(
        f"the array has the dimensions {', '.join(dims) or 'none'}; the position has {', '.join(wanted)}",
        path=position.location.where,
        hint=hint,
    )


def _plain_attrs(position: ImageEditor, array: xr.DataArray) -> dict[str, Any]:
    """The attributes of an array as JSON."""
    attrs = {key: plain(value) for key, value in array.attrs.items()}
    try:
        check_json(attrs, where=position.location.where)
    except ArgumentError as error:
        raise ArgumentError(
            f"the attrs of the array cannot be stored: {error.message}",
            path=position.location.where,
            hint=error.hint,
        ) from None
    return attrs


def plain(value: Any) -> Any:
    """A value as JSON has it: numbers and arrays of numpy become plain ones."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _stated_units(array: xr.DataArray, axes: Sequence[AxisMeta]) -> dict[int, str]:
    found: dict[int, str] = {}
    for i, dim in enumerate(array.dims):
        coordinate = coordinate_of(array, dim)
        if coordinate is not None and i != channel_index(axes):
            unit = make_axis(str(dim), coordinate, normalize=True, infer=False).unit
            if unit is not None:
                found[i] = unit
    return found


def _channel_places(array: xr.DataArray, axis: int, names: Sequence[str], size: int) -> list[int]:
    """Indices of the channels that an array holds."""
    dim = array.dims[axis]
    coordinate = coordinate_of(array, dim)
    if coordinate is None:
        if array.shape[axis] != size:
            raise ArgumentError(
                f"the array has {array.shape[axis]} channels and no names for them; there are {size}: "
                f"{', '.join(names)}",
                hint=f'array.assign_coords({dim}=["{names[0] if names else ""}", ...])',
            )
        return list(range(size))
    places = []
    for label in channel_labels(coordinate):
        if label not in names:
            raise ArgumentError(
                f"there is no channel {label!r}",
                hint=f"channels: {', '.join(names) or 'none'}; position.append_channel({label!r}) adds it",
            )
        places.append(list(names).index(label))
    if max(places, default=0) >= size:
        name = names[max(places)]
        raise ArgumentError(f"the image has {size} channels; {name!r} is number {max(places)}, from 0")
    return places


def _is_time(axis: AxisMeta) -> bool:
    return axis_type(axis) == "time"


# --- the first write ------------------------------------------------------------------------------


def _write_first(position: ImageEditor, array: xr.DataArray, name: str) -> None:
    """Create an image, with all of its channels."""
    plan = _plan_first(position, array)
    array, places = sort_along(array, plan.places)
    if all(places[axis] == list(range(plan.shape[axis])) for axis in places):
        data = source_of(array)
    else:
        data = spread(position, array, places, plan.shape)
    outer = position.meta.multiscales[0].coordinate_transformations
    # Units, names and attributes are written with the entry: nobody sees the image without them.
    create_image(
        position,
        name,
        data,
        LayoutOptions(),
        _relative(plan.grids, outer),
        True,
        PyramidOptions(),
        Resources(),
        lambda draft: _edit(draft, name, plan, plan.attrs, data.dtype.name),
    )
    _describe(position, name, plan)


def _plan_first(position: ImageEditor, array: xr.DataArray) -> _Plan:
    meta, axes = position.meta, position.axes
    plan = _Plan(list(array.shape), [], {}, _stated_units(array, axes), _plain_attrs(position, array))
    for i, axis in enumerate(axes):
        coordinate = coordinate_of(array, array.dims[i])
        if i == channel_index(axes):
            names: Sequence[str] = position.channel_names
            if meta.omero is None and not meta.multiscales[0].datasets:
                plan.labels = channel_labels(coordinate) if coordinate is not None else None
                names = plan.labels or [str(k) for k in range(array.shape[i])]
            plan.shape[i] = len(names)
            plan.places[i] = _channel_places(array, i, names, len(names))
            scale = None if coordinate is None else stated_scale(coordinate)
            shift = None if coordinate is None else stated_translation(coordinate)
            plan.grids.append(Grid(scale or 1.0, shift or 0.0))
        elif coordinate is None:
            plan.grids.append(Grid(1.0, 0.0))
        elif _is_time(axis):
            grid, plan.places[i] = _time_grid(coordinate)
            plan.shape[i] = max(plan.places[i], default=0) + 1
            plan.grids.append(grid)
        else:
            plan.grids.append(fit(samples(coordinate), stated_scale(coordinate)))
    return plan


def _time_grid(coordinate: xr.DataArray) -> tuple[Grid, list[int]]:
    """The time points of a new image, and which of them an array has."""
    found, scale, origin = samples(coordinate), stated_scale(coordinate), stated_translation(coordinate)
    if scale is not None and len(found.values):
        first = float(found.values.min())
        for start in (origin, first):
            if start is not None and first >= start - scale / 2 and lies_on(found, Grid(scale, start)):
                grid = Grid(scale, start)
                return grid, indices(found, grid)
    grid = fit(found, scale)
    return grid, list(range(len(found.values)))


def _relative(grids: Sequence[Grid], outer: Sequence[TransformationMeta] | None) -> list[TransformationMeta]:
    """The image's transformations, such that with the position's they give these scales and translations."""
    ndim = len(grids)
    scale, shift = scale_of(outer, ndim), translation_of(outer, ndim)
    if not all(scale):
        raise ArgumentError(f"the position's scale is {scale}", hint='set it with set_scale("*", ...)')
    rows = list(zip(grids, scale, shift, strict=True))
    return [
        TransformationMeta(type="scale", scale=[g.scale / s for g, s, _ in rows]),
        TransformationMeta(type="translation", translation=[(g.translation - t) / s for g, s, t in rows]),
    ]


# --- later writes ---------------------------------------------------------------------------------


def _write_later(position: ImageEditor, array: xr.DataArray, name: str) -> None:
    """Write into an image that exists."""
    target: ImageArray = position[name]
    plan = _plan_later(position, array, name, target)
    require_there(array.variable)
    if _is_read_from(array, target):
        array = _in_memory(array, position.location.child(name).where)
    array, places = sort_along(array, plan.places)
    _grow(position, name, target, plan)
    write_pieces(target, array, places)
    _describe(position, name, plan)


def _is_read_from(array: xr.DataArray, target: ImageArray) -> bool:
    """Whether pixels of an image are what an array is made from."""
    here = of_store(target.store_path.store, target.store_path.path)
    if isinstance(here, str):
        here = os.path.realpath(here)
        return any(isinstance(p, str) and os.path.realpath(p) == here for p in origins(array.variable))
    return any(place is here or place == here for place in origins(array.variable))


def _in_memory(array: xr.DataArray, where: str) -> xr.DataArray:
    """An array that no write can change meanwhile."""
    if array.nbytes > config.max_memory:
        raise ArgumentError(
            "the array is read from the image that it is written to: what was written would be read again",
            path=where,
            hint="write to another image; or array.load() it first, if it fits into memory",
        )
    return array.copy(data=np.asarray(array.values))


def _plan_later(position: ImageEditor, array: xr.DataArray, name: str, target: ImageArray) -> _Plan:
    meta = position.meta
    found = meta.find(name)
    axes = position.axes if found is None else found[0].axes
    if not np.can_cast(array.dtype, target.dtype, "safe"):
        raise ArgumentError(
            f"values of type {array.dtype} cannot be written into an image of type {target.dtype}",
            hint=f'array.astype("{target.dtype.name}"), if that is meant',
        )
    rows = zip(edits.effective_scale(meta, name), edits.effective_translation(meta, name), strict=True)
    present = [Grid(s or 1.0, t) for s, t in rows]
    units = _stated_units(array, axes)
    plan = _Plan(list(target.shape), list(present), {}, units, _plain_attrs(position, array), None, present)
    for i, axis in enumerate(axes):
        coordinate = coordinate_of(array, array.dims[i])
        if i == channel_index(axes):
            plan.places[i] = _channel_places(array, i, position.channel_names, target.shape[i])
        elif _is_time(axis):
            plan.grids[i], plan.places[i] = _later_times(coordinate, present[i], array.shape[i], target, i)
            plan.shape[i] = max(plan.shape[i], max(plan.places[i], default=0) + 1)
    levels = 1 if found is None else len(found[0].datasets)
    whole = all(plan.covers(i) for i in range(target.ndim))
    for i in range(target.ndim):
        if i not in plan.places:
            plan.grids[i] = _later_grid(array, i, target, present[i], levels == 1, whole)
    return plan


def _later_times(
    coordinate: xr.DataArray | None, present: Grid, size: int, target: ImageArray, axis: int
) -> tuple[Grid, list[int]]:
    """Where an array's time points are, and the grid of the image."""
    if coordinate is None:
        if size != target.shape[axis]:
            raise ArgumentError(
                f"the array has {size} time points and no coordinate; the image has {target.shape[axis]}",
                hint=f"assign_coords with times of {present.translation:g} + {present.scale:g} * index",
            )
        return present, list(range(size))
    found, stated = samples(coordinate), stated_scale(coordinate)
    if target.shape[axis] > 1:
        return present, indices(found, present)
    # One time point has any scale: that which is stated, or else the one that the others fit.
    if stated is not None:
        present = replace(present, scale=stated)
    elif size > 1 and not lies_on(found, present):
        present = replace(present, scale=fit(found, None).scale)
    elif not lies_on(found, present):
        raise ArgumentError(
            f"{found.name} = {found.values[0]:g} lies on no index of the image, whose only time point is at "
            f"{present.translation:g}, with a scale of {present.scale:g}",
            hint=f'state the scale: array["{found.name}"].attrs["scale"] = ...',
        )
    return present, indices(found, present)


def _later_grid(
    array: xr.DataArray, axis: int, target: ImageArray, present: Grid, alone: bool, whole: bool
) -> Grid:
    """Scale and translation of an axis whose pixels an array must have all."""
    dim, size = array.dims[axis], target.shape[axis]
    if array.shape[axis] != size:
        raise ArgumentError(
            f"the array has {array.shape[axis]} pixels along {dim!r}; the image has {size}",
            hint=f"write all of {dim!r} at once, or assign to a region of position[image]",
        )
    coordinate = coordinate_of(array, dim)
    if coordinate is None:
        return present
    found, stated = samples(coordinate), stated_scale(coordinate)
    if alone and (whole or present == Grid(1.0, 0.0)):
        return fit(found, stated)
    grid = replace(present, scale=stated) if size == 1 and stated and alone else present
    require_same(found, grid)
    return grid


def _grow(position: ImageEditor, name: str, target: ImageArray, plan: _Plan) -> None:
    """Make the array as long as the plan needs it; longer ones stay, whoever made them so.

    Levels and label images grow with it.
    """
    location = position.location
    if list(target.shape) == plan.shape:
        return
    with location.storage.lock(location.path), location.storage.lock(location.child(name).path):
        target.refresh()
        target.resize([max(a, b) for a, b in zip(target.shape, plan.shape, strict=True)])


# --- what the document says -----------------------------------------------------------------------


def _describe(position: ImageEditor, name: str, plan: _Plan) -> None:
    """Put scale, units, attributes and names into the position's document, if they differ from it."""
    meta = position.meta
    multiscales, _ = meta.find(name) or (meta.multiscales[0], None)
    first = not plan.present
    attrs = plan.attrs if first else {**position.own.attrs_of(name), **plan.attrs}
    now = [
        Grid(s, t)
        for s, t in zip(
            edits.effective_scale(meta, name), edits.effective_translation(meta, name), strict=True
        )
    ]
    wanted = now if _close(now, plan.grids) else plan.grids
    same_units = all(multiscales.axes[i].unit == unit for i, unit in plan.units.items())
    if wanted is now and same_units and not plan.labels and attrs == position.own.attrs_of(name):
        return
    dtype = position[name].dtype.name if plan.labels else ""

    def change(draft: Draft[ImagesMeta]) -> None:
        found = draft.meta.find(name)
        if found is not None and wanted is not now:
            found[1].coordinate_transformations = _relative(wanted, found[0].coordinate_transformations)
        _edit(draft, name, plan, attrs, dtype)

    position.commit(change)


def _edit(draft: Draft[ImagesMeta], name: str, plan: _Plan, attrs: dict[str, Any], dtype: str) -> None:
    """Put units, names and attributes into a position's document."""
    found = draft.meta.find(name)
    if found is None:
        return  # it was removed meanwhile
    image = found[0]
    image.axes = [
        axis.model_copy(update={"unit": plan.units[i]}) if i in plan.units else axis
        for i, axis in enumerate(image.axes)
    ]
    if plan.labels and draft.meta.omero is None:
        images = draft.meta
        images.omero = new_omero(plan.labels, name=images.multiscales[0].name, dtype=dtype)
    draft.own.keep_attrs(name, attrs)


def _close(now: Sequence[Grid], wanted: Sequence[Grid]) -> bool:
    """Whether grids differ by what composing the transformations of position and image rounds."""
    pairs = [
        (a, b)
        for x, y in zip(now, wanted, strict=True)
        for a, b in ((x.scale, y.scale), (x.translation, y.translation))
    ]
    return all(np.isclose(a, b, rtol=1e-12, atol=1e-12) for a, b in pairs)
