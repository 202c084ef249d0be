"""Regular grids: from coordinates to a scale and a translation, and from coordinates to indices on one.

Coordinates are numbers with noise: of the type that they were computed in, and of a clock or a file that
rounded them. So what lies within a thousandth of a step from its place lies on the grid.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from platestore.errors import ArgumentError

if TYPE_CHECKING:
    import xarray as xr

Irregular = Literal["error", "nearest"]

#: How far a sample may lie from its place on the grid, in steps.
RTOL = 1e-3
# Digits that a computed step is trusted to.
_DIGITS = {"float16": 3, "float32": 6}
_EXACT_DIGITS = 12
_FLOATS = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Grid:
    """Places along one axis: ``translation + scale * index``.

    Attributes
    ----------
    scale : float
        Distance of neighbours, positive.
    translation : float
        Place of index 0.
    """

    scale: float
    translation: float

    def places(self, size: int) -> _FLOATS:
        """The places of the indices 0 to ``size - 1``, as float64."""
        return np.arange(size, dtype=np.float64) * self.scale + self.translation


@dataclass(frozen=True, slots=True)
class Samples:
    """The coordinates of one axis as numbers.

    Attributes
    ----------
    name : str
        Name of the axis.
    values : numpy.ndarray
        float64, of shape (n,).
    noise : float
        Error that the type they came in can have.
    digits : int
        Significant digits of that type.
    """

    name: str
    values: _FLOATS
    noise: float
    digits: int


def samples(coordinate: xr.DataArray) -> Samples:
    """Read a coordinate.

    Raises
    ------
    ArgumentError
        If it is empty, or not made of finite numbers.
    """
    name, values = str(coordinate.name), np.asarray(coordinate.values)
    if not values.size:
        raise ArgumentError(f"the dimension {name!r} is empty", hint="an image has 1 or more pixels along it")
    if values.dtype.kind in "mM":
        raise ArgumentError(
            f"the coordinate {name!r} is of type {values.dtype}; OME-NGFF has numbers of a unit",
            hint=f'for instance seconds: (array["{name}"] - array["{name}"][0]) / numpy.timedelta64(1, "s")',
        )
    numbers = np.full(values.shape, np.nan)
    if values.dtype.kind in "iufbO":
        with contextlib.suppress(TypeError, ValueError):  # objects that are no numbers
            numbers = values.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise ArgumentError(
            f"the coordinate {name!r} must be finite numbers, not {values.tolist()[:4]}",
            hint=f'array.drop_vars("{name}") leaves the axis without a coordinate',
        )
    kind = values.dtype if values.dtype.kind == "f" else np.dtype(np.float64)
    largest = float(np.abs(numbers).max(initial=0.0))
    noise = 8 * float(np.finfo(kind).eps) * largest
    return Samples(name, numbers, noise, _DIGITS.get(kind.name, _EXACT_DIGITS))


def stated_scale(coordinate: xr.DataArray) -> float | None:
    """The scale that a coordinate's attributes state, or None.

    Raises
    ------
    ArgumentError
        If it is no positive number.
    """
    value = _number(coordinate, "scale")
    if value is not None and value <= 0:
        raise ArgumentError(
            f"coords[{coordinate.name!r}].attrs['scale'] must be a positive number, not {value!r}"
        )
    return value


def stated_translation(coordinate: xr.DataArray) -> float | None:
    """The place of index 0 that a coordinate's attributes state, or None."""
    return _number(coordinate, "translation")


def _number(coordinate: xr.DataArray, key: str) -> float | None:
    value: Any = coordinate.attrs.get(key)
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or isinstance(value, (str, bytes)):
        raise ArgumentError(f"coords[{coordinate.name!r}].attrs[{key!r}] must be a number, not {value!r}")
    return number


def fit(found: Samples, stated: float | None, irregular: Irregular = "error") -> Grid:
    """The grid that samples lie on, the first at index 0.

    Parameters
    ----------
    found : Samples
        One or more.
    stated : float, optional
        The scale that the coordinate's attributes state: used for a single sample, and where it differs
        from the computed one by no more than noise.
    irregular : {"error", "nearest"}
        Whether samples off a regular grid are an error, or the grid goes through the first and the last.

    Raises
    ------
    ArgumentError
        If the samples are irregular, descend, or are all the same.
    """
    values, size = found.values, len(found.values)
    if size == 1:
        return Grid(stated or 1.0, float(values[0]))
    step = float(values[-1] - values[0]) / (size - 1)
    offsets = np.abs(values - (values[0] + np.arange(size) * step))
    worst = int(offsets.argmax())
    regular = offsets[worst] <= RTOL * abs(step) + found.noise
    if step < 0 and (regular or irregular == "nearest"):
        raise ArgumentError(
            f"the coordinate {found.name!r} descends, from {values[0]:g} to {values[-1]:g}; "
            "a scale of OME-NGFF is positive",
            hint=f'array.sortby("{found.name}") turns the axis round',
        )
    if abs(step) <= found.noise / size or (not regular and irregular == "error"):
        raise ArgumentError(
            f"the coordinate {found.name!r} is not regular: {values[worst]:g} at index {worst} would be "
            f"{values[0] + worst * step:g} on a grid from {values[0]:g} to {values[-1]:g}",
            hint='interpolate the array, or pass irregular="nearest" where a function takes it to keep the '
            f'grid through the first and the last, or array.drop_vars("{found.name}") for a scale of 1',
        )
    for nicer in (stated, float(f"{step:.{found.digits}g}")):
        if nicer and abs(values[0] + (size - 1) * nicer - values[-1]) <= found.noise:
            return Grid(nicer, float(values[0]))
    return Grid(step, float(values[0]))


def lies_on(found: Samples, grid: Grid) -> bool:
    """Whether all samples lie on places of a grid, before index 0 too."""
    steps = (found.values - grid.translation) / grid.scale
    return bool((np.abs(steps - np.rint(steps)) <= RTOL + found.noise / grid.scale).all())


def indices(found: Samples, grid: Grid) -> list[int]:
    """Indices of samples on a grid.

    Raises
    ------
    ArgumentError
        If one lies off the grid, before its beginning, or at the place of another.
    """
    steps = (found.values - grid.translation) / grid.scale
    near = np.rint(steps)
    off = np.abs(steps - near) > RTOL + found.noise / grid.scale
    described = f"{grid.translation:g} + {grid.scale:g} * index"
    if off.any():
        value, index = float(found.values[off][0]), int(near[off][0])
        raise ArgumentError(
            f"{found.name} = {value:g} lies on no index of the image, where it is {described}",
            hint=f"the nearest is {grid.translation + index * grid.scale:g}, at index {index}",
        )
    if near.min(initial=0) < 0:
        value, index = float(found.values[near < 0][0]), int(near[near < 0][0])
        raise ArgumentError(
            f"{found.name} = {value:g} would be index {index} of the image, where it is {described}",
            hint=f"the first is {grid.translation:g}; an image does not grow at its beginning",
        )
    whole = [int(i) for i in near]
    if len(set(whole)) != len(whole):
        twice = next(i for i in whole if whole.count(i) > 1)
        raise ArgumentError(
            f"{found.name} has several samples at index {twice} ({grid.translation + twice * grid.scale:g})",
            hint=f'array.drop_duplicates("{found.name}") keeps one',
        )
    return whole


def require_same(found: Samples, grid: Grid) -> None:
    """Refuse samples that are not the places of a grid, one by one.

    Raises
    ------
    ArgumentError
        If one is not; it is named.
    """
    places = grid.places(len(found.values))
    off = np.abs(found.values - places)
    worst = int(off.argmax())
    if off[worst] > RTOL * grid.scale + found.noise:
        raise ArgumentError(
            f"the coordinate {found.name!r} does not fit the image: {found.values[worst]:g} at index "
            f"{worst}, where the image has {places[worst]:g}",
            hint=f"the image's {found.name} is {grid.translation:g} + {grid.scale:g} * index",
        )
