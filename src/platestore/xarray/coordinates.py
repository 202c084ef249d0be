"""Axes and transformations of OME-NGFF as coordinates of xarray, and back.

A coordinate's ``attrs`` hold what its numbers do not: ``units`` (by the CF conventions, with the
specification's names), ``type`` (of the axis) and ``scale`` (which a single sample would lose). The
coordinate of the channel axis is made of names.
"""

from __future__ import annotations

import collections
import math
import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from platestore.errors import ArgumentError, StoreWarning
from platestore.spec.axes import AxisMeta, channel_index
from platestore.spec.transforms import TransformationMeta, normalise, scale_of, translation_of
from platestore.spec.units import known_unit, nearest_unit, normalise_unit, type_of_unit
from platestore.xarray.extra import import_xarray
from platestore.xarray.grids import Grid, Irregular, fit, samples, stated_scale, stated_translation

if TYPE_CHECKING:
    import xarray as xr

_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}

#: What holds coordinates: an array, its ``coords``, or some of them.
Coordinates: TypeAlias = "xr.DataArray | Mapping[Any, xr.DataArray] | Iterable[xr.DataArray]"


# --- from transformations to coordinates ----------------------------------------------------------


def dimension_names(axes: Sequence[AxisMeta]) -> list[str]:
    """Names of the axes in lower case; as they are if that would make two the same."""
    lower = [axis.name.lower() for axis in axes]
    return lower if len(set(lower)) == len(lower) else [axis.name for axis in axes]


def coords_from_transforms(
    *,
    axes: Iterable[AxisMeta | Mapping[str, Any]],
    transforms: Iterable[TransformationMeta | Mapping[str, Any]],
    shape: Sequence[int],
    channel_names: Sequence[str] | None = None,
) -> tuple[xr.DataArray, ...]:
    """The coordinates of an array.

    Parameters
    ----------
    axes : iterable of AxisMeta or dict
        The axes, slowest first.
    transforms : iterable of TransformationMeta or dict
        One scale, then at most one translation.
    shape : sequence of int
        Shape of the array.
    channel_names : sequence of str, optional
        Names along the channel axis; "0", "1", ... by default.

    Returns
    -------
    tuple of xarray.DataArray
        One per axis: float64, or strings for the channel axis.

    Raises
    ------
    ArgumentError
        If the numbers of axes, values and dimensions differ, or a transformation is of another type.

    Examples
    --------
    >>> from platestore.xarray import coords_from_transforms
    >>> axes = [ps.SpaceAxisMeta(name="y", unit="micrometer"), ps.SpaceAxisMeta(name="x", unit="micrometer")]
    >>> scale = ps.TransformationMeta(type="scale", scale=[0.5, 0.5])
    >>> y, x = coords_from_transforms(axes=axes, transforms=[scale], shape=(4, 3))
    >>> y.values, x.values, x.attrs["units"]
    (array([0. , 0.5, 1. , 1.5]), array([0. , 0.5, 1. ]), 'micrometer')
    """
    models = [a if isinstance(a, AxisMeta) else AxisMeta.model_validate(dict(a)) for a in axes]
    if len(models) != len(shape):
        raise ArgumentError(f"{len(models)} axes do not fit an array of {len(shape)} dimensions")
    plain = [t if isinstance(t, TransformationMeta) else dict(t) for t in transforms]
    steps = normalise(plain, len(models))
    scale, translation = scale_of(steps, len(models)), translation_of(steps, len(models))
    return tuple(make_coords(models, scale, translation, shape, channel_names or ()).values())


def make_coords(
    axes: Sequence[AxisMeta],
    scale: Sequence[float],
    translation: Sequence[float],
    shape: Sequence[int],
    channel_names: Sequence[str],
) -> dict[str, xr.DataArray]:
    """The coordinates of an array, by dimension; arguments as in the document, already composed."""
    make: Any = import_xarray().DataArray
    channels = channel_index(axes)
    out: dict[str, xr.DataArray] = {}
    for i, (name, axis) in enumerate(zip(dimension_names(axes), axes, strict=True)):
        attrs: dict[str, Any] = {}
        if axis.unit is not None:
            attrs["units"] = known_unit(axis.unit) or axis.unit
        if axis.type is not None:
            attrs["type"] = axis.type
        attrs["scale"] = float(scale[i])
        if axis_type(axis) == "time" or (i == channels and translation[i]):
            attrs["translation"] = float(translation[i])
        if i == channels:
            values: Any = _padded(channel_names, shape[i])
        else:
            values = Grid(scale[i], translation[i]).places(shape[i])
        out[name] = make(values, dims=(name,), name=name, attrs=attrs)
    return out


def axis_type(axis: AxisMeta) -> str | None:
    """Type of an axis: as it states it, else what its name means by convention."""
    return axis.type or _TYPES.get(axis.name.lower())


def _padded(names: Sequence[str], size: int) -> Any:
    """One name per channel; their numbers where there are too few."""
    given = list(names[:size])
    return np.array([*given, *(str(i) for i in range(len(given), size))], dtype=np.str_)


# --- from coordinates to transformations ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Described:
    """What the coordinates of one array say.

    Attributes
    ----------
    axes : tuple of AxisMeta
        The axes, slowest first.
    scale, translation : tuple of float
        One value per axis.
    labels : tuple of str or None
        Names along the channel axis, if it has a coordinate.
    """

    axes: tuple[AxisMeta, ...]
    scale: tuple[float, ...]
    translation: tuple[float, ...]
    labels: tuple[str, ...] | None

    @property
    def transforms(self) -> tuple[TransformationMeta, TransformationMeta]:
        """The scale, then the translation, as the specification orders them."""
        return (
            TransformationMeta(type="scale", scale=list(self.scale)),
            TransformationMeta(type="translation", translation=list(self.translation)),
        )


def transforms_from_coords(
    coords: Coordinates,
    normalize_units: bool = True,
    infer_axis_type: bool = True,
    transform_precision: int | None = None,
    *,
    irregular: Irregular = "error",
) -> tuple[tuple[AxisMeta, ...], tuple[TransformationMeta, TransformationMeta]]:
    """Axes and transformations that coordinates describe.

    Parameters
    ----------
    coords : xarray.DataArray, its coords, or an iterable of coordinates
        In the order of the axes; those of an array in the order of its dimensions, with a scale of 1 for
        a dimension without a coordinate. Scalars and coordinates of other dimensions than their own name
        are ignored.
    normalize_units : bool
        Whether ``attrs["units"]`` is replaced by the specification's name. A unit that it does not list
        (``"pixel"``) stays as it is; a warning names one that looks like a misspelling.
    infer_axis_type : bool
        Whether an axis without ``attrs["type"]`` gets the type that its name (t, c, z, y, x) or else its
        unit says.
    transform_precision : int, optional
        Decimal places that scale and translation are rounded to; not rounded by default.
    irregular : {"error", "nearest"}
        Whether coordinates off a regular grid are an error, or are taken for the regular grid through the
        first and the last of them.

    Returns
    -------
    axes : tuple of AxisMeta
    transforms : tuple of TransformationMeta
        The scale, then the translation. The scale of a single sample is ``attrs["scale"]``, or 1.

    Raises
    ------
    ArgumentError
        If coordinates are irregular or descend, a unit is no string, or a scale is rounded to 0.

    Examples
    --------
    >>> from platestore.xarray import transforms_from_coords
    >>> position.set_scale("0", "x", 0.65)
    >>> axes, transforms = transforms_from_coords(position.to_xarray("0"))
    >>> [axis.name for axis in axes], transforms[0].scale
    (['t', 'c', 'z', 'y', 'x'], [1.0, 1.0, 1.0, 1.0, 0.65])
    """
    found = describe(
        coords, normalize_units, infer_axis_type, transform_precision, irregular=check_irregular(irregular)
    )
    return found.axes, found.transforms


def check_irregular(value: object) -> Irregular:
    """Check what was passed as ``irregular=``."""
    if value == "error":
        return "error"
    if value == "nearest":
        return "nearest"
    raise ArgumentError(f"irregular must be 'error' or 'nearest', not {value!r}")


def describe(
    coords: Coordinates,
    normalize_units: bool = True,
    infer_axis_type: bool = True,
    transform_precision: int | None = None,
    *,
    irregular: Irregular = "error",
) -> Described:
    """As :func:`transforms_from_coords`, with the channels' names."""
    axes: list[AxisMeta] = []
    grids: list[Grid] = []
    labels = None
    for name, coordinate in _by_dimension(coords).items():
        axis = make_axis(name, coordinate, normalize=normalize_units, infer=infer_axis_type)
        axes.append(axis)
        if coordinate is None:
            grids.append(Grid(1.0, 0.0))
        elif axis.type == "channel":
            labels = channel_labels(coordinate)
            grids.append(Grid(stated_scale(coordinate) or 1.0, stated_translation(coordinate) or 0.0))
        else:
            grids.append(fit(samples(coordinate), stated_scale(coordinate), irregular))
    scale = tuple(_rounded(g.scale, transform_precision) for g in grids)
    for axis, grid, value in zip(axes, grids, scale, strict=True):
        if value <= 0:
            raise ArgumentError(
                f"the scale {grid.scale:g} of {axis.name!r} becomes {value:g} with "
                f"transform_precision={transform_precision}",
                hint=f"{2 - math.floor(math.log10(grid.scale))} keeps two digits of it",
            )
    return Described(
        tuple(axes), scale, tuple(_rounded(g.translation, transform_precision) for g in grids), labels
    )


def _rounded(value: float, precision: int | None) -> float:
    return value if precision is None else float(np.round(value, precision))


def _by_dimension(coords: Coordinates) -> dict[str, xr.DataArray | None]:
    """The coordinate of each dimension, in the order of the axes."""
    labelled: Any = import_xarray().DataArray
    if isinstance(coords, labelled):
        return {str(dim): coordinate_of(coords, dim) for dim in coords.dims}
    items = coords.values() if isinstance(coords, Mapping) else coords
    found: dict[str, xr.DataArray | None] = {}
    for item in items:
        if not isinstance(item, labelled):
            raise ArgumentError(
                f"a coordinate must be an xarray.DataArray, not {type(item).__name__}",
                hint="pass an array, or its coords",
            )
        if item.dims == (item.name,):
            if str(item.name) in found:
                raise ArgumentError(f"there are several coordinates of {item.name!r}")
            found[str(item.name)] = item
    return found


def coordinate_of(array: xr.DataArray, dim: Hashable) -> xr.DataArray | None:
    """The coordinate of a dimension, or None; ``coords.get`` would make one up."""
    if dim not in array.coords:
        return None
    found: xr.DataArray = array.coords[dim]
    return found


def make_axis(name: str, coordinate: xr.DataArray | None, *, normalize: bool, infer: bool) -> AxisMeta:
    """The axis that a dimension and its coordinate describe."""
    attrs: Mapping[Any, Any] = {} if coordinate is None else coordinate.attrs
    unit, kind = attrs.get("units"), attrs.get("type")
    if unit is not None:
        unit = _unit(unit, name) if normalize else str(unit)
    if kind is not None and not isinstance(kind, str):
        raise ArgumentError(f"coords[{name!r}].attrs['type'] must be a string, not {kind!r}")
    if kind is None and infer:
        kind = _TYPES.get(name.lower()) or type_of_unit(unit)
    return AxisMeta(name=name, type=kind, unit=unit)


def _unit(unit: Any, name: str) -> str:
    """The specification's name of a unit; one that it does not list is carried on as it is."""
    known = known_unit(unit)
    if known is not None:
        return known
    if not isinstance(unit, str):
        return normalise_unit(unit, axis=name)  # which says what is wrong
    close = nearest_unit(unit)
    if close is not None:
        warnings.warn(
            f"coords[{name!r}].attrs['units'] is {unit!r}, which is no unit of OME-NGFF and is written as it "
            f"is; did you mean {close!r}?",
            StoreWarning,
            stacklevel=2,
        )
    return unit


def channel_labels(coordinate: xr.DataArray) -> tuple[str, ...]:
    """Names of channels, as strings.

    Raises
    ------
    ArgumentError
        If two are the same, or one is empty.
    """
    labels = tuple(str(value) for value in np.asarray(coordinate.values).tolist())
    counts = collections.Counter(labels)
    twice = next((label for label in labels if counts[label] > 1), None)
    if twice is not None or "" in labels:
        what = "an empty name" if twice is None else f"{twice!r} more than once"
        raise ArgumentError(
            f"the coordinate {coordinate.name!r} has {what}", hint="channels have names of their own"
        )
    return labels
