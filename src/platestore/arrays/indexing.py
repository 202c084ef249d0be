"""Selections as users write them, in the one form that every engine takes.

What is not understood here is None: zarr-python gets it, and raises its own errors where it is wrong.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from platestore.errors import ArgumentError

#: One integer or step-positive slice within the bounds, per axis.
BasicIndex: TypeAlias = tuple[int | slice, ...]
#: The same, or an array of integers within the bounds.
OrthogonalIndex: TypeAlias = tuple[Any, ...]


def basic(selection: Any, shape: tuple[int, ...]) -> BasicIndex | None:
    """Integers and slices, written out for every axis."""
    items = _expand(selection, len(shape))
    if items is None:
        return None
    out: list[int | slice] = []
    for item, size in zip(items, shape, strict=True):
        plain = _plain(item, size)
        if plain is None:
            return None
        out.append(plain)
    return tuple(out)


def orthogonal(selection: Any, shape: tuple[int, ...]) -> OrthogonalIndex | None:
    """One index per axis: integer, slice, integers or a mask."""
    items = _expand(selection, len(shape))
    if items is None:
        return None
    out: list[Any] = []
    for item, size in zip(items, shape, strict=True):
        index: Any = _plain(item, size)
        if index is None:
            index = _vector(item, size)
        if index is None:
            return None
        out.append(index)
    return tuple(out)


def coordinates(selection: Any, shape: tuple[int, ...]) -> tuple[npt.NDArray[Any], ...] | None:
    """Coordinates of single points: one array of integers per axis, broadcast against each other."""
    items = selection if isinstance(selection, tuple) else (selection,)
    if len(items) != len(shape):
        return None
    arrays = []
    for item, size in zip(items, shape, strict=True):
        array = _integers(item)
        if array is None or not _wrap(array, size):
            return None
        arrays.append(array)
    try:
        together = np.broadcast_arrays(*arrays)
    except ValueError:
        return None
    return tuple(together) if together[0].ndim else None


def blocks(selection: Any, shape: tuple[int, ...], units: tuple[int, ...]) -> BasicIndex | None:
    """Whole chunks, by their place on the grid, as slices of elements."""
    grid = tuple(-(-n // u) for n, u in zip(shape, units, strict=True))
    places = basic(selection, grid)
    if places is None:
        return None
    out = []
    for place, unit, size in zip(places, units, shape, strict=True):
        if isinstance(place, slice):
            if place.step != 1:
                return None
            out.append(slice(place.start * unit, max(place.start * unit, min(place.stop * unit, size))))
        else:
            out.append(slice(place * unit, min((place + 1) * unit, size)))
    return tuple(out)


def result_shape(index: Sequence[Any]) -> tuple[int, ...]:
    """Shape of what an index selects."""
    out = []
    for item in index:
        if isinstance(item, slice):
            out.append(len(range(item.start, item.stop, item.step)))
        elif isinstance(item, np.ndarray):
            out.append(item.shape[0])
    return tuple(out)


def fit(value: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Values as an array of the type and shape of what they are written to.

    Arrays are cast as by ``astype``; Python numbers must fit the type.

    Raises
    ------
    ArgumentError
        If the shapes differ and cannot be broadcast.
    OverflowError
        If a Python integer does not fit the type.
    """
    if isinstance(value, (bool, int, float, complex, np.generic)):
        array = np.asarray(value, dtype=dtype)
    else:
        array = np.asarray(value)
        if array.dtype != dtype:
            array = array.astype(dtype)
    if array.shape == shape:
        return array
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise ArgumentError(
            f"data of shape {array.shape} cannot be written to a selection of shape {shape}"
        ) from None


def _expand(selection: Any, ndim: int) -> tuple[Any, ...] | None:
    items = selection if isinstance(selection, tuple) else (selection,)
    dots = [i for i, item in enumerate(items) if item is Ellipsis]
    if len(dots) > 1 or len(items) - len(dots) > ndim:
        return None
    place = dots[0] if dots else len(items)
    missing = ndim - (len(items) - len(dots))
    return (*items[:place], *([slice(None)] * missing), *items[place + len(dots) :])


def _plain(item: Any, size: int) -> int | slice | None:
    if isinstance(item, slice):
        try:
            start, stop, step = item.indices(size)
        except (TypeError, ValueError):
            return None
        return slice(start, max(start, stop), step) if step > 0 else None
    if isinstance(item, (bool, np.bool_)) or not hasattr(item, "__index__"):
        return None
    try:
        value = operator.index(item)
    except TypeError:
        return None
    if value < 0:
        value += size
    return value if 0 <= value < size else None


def _vector(item: Any, size: int) -> npt.NDArray[Any] | None:
    if not isinstance(item, (list, np.ndarray)):
        return None
    array = np.asarray(item)
    if array.ndim != 1:
        return None
    if array.dtype == bool:
        return np.flatnonzero(array) if array.shape[0] == size else None
    wrapped = _integers(array)
    return wrapped if wrapped is not None and _wrap(wrapped, size) else None


def _integers(item: Any) -> npt.NDArray[Any] | None:
    if isinstance(item, (slice, bool, type(Ellipsis), type(None))):
        return None
    try:
        array = np.asarray(item)
    except ValueError:
        return None
    if array.dtype.kind not in "iu":
        return None
    return array.astype(np.int64)


def _wrap(array: npt.NDArray[Any], size: int) -> bool:
    """Count negative indices from the end; False if one lies outside."""
    array[array < 0] += size
    return not array.size or (int(array.min()) >= 0 and int(array.max()) < size)
