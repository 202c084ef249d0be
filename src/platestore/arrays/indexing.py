"""Selections as users write them, in the one form that every engine takes.

What is not understood here is None: zarr-python gets it, and raises its own errors where it is wrong.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from platestore.arrays.types import DType, Pixels
from platestore.errors import ArgumentError

#: One integer or step-positive slice within the bounds, per axis.
BasicIndex: TypeAlias = tuple[int | slice, ...]
#: The same, or an array of integers within the bounds.
OrthogonalIndex: TypeAlias = tuple[Any, ...]
Kind: TypeAlias = Literal["basic", "orthogonal", "coordinate"]
Region: TypeAlias = tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class ArraySelection:
    """What a user selected.

    Attributes
    ----------
    kind : {"basic", "orthogonal", "coordinate"}
        Integers and slices; these and arrays of integers, one per axis; or one array per axis, together
        the coordinates of single points.
    index : tuple
        One entry per axis, within the bounds.
    """

    kind: Kind
    index: tuple[Any, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what is selected."""
        return self.index[0].shape if self.kind == "coordinate" else result_shape(self.index)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def region(self) -> Region | None:
        """The selection as slices for every axis, if it is a box: integers and slices of step 1."""
        if self.kind == "coordinate":
            return None
        for item in self.index:
            if isinstance(item, np.ndarray) or (isinstance(item, slice) and item.step != 1):
                return None
        return full_region(self.index)

    def touched(self, units: Sequence[int]) -> Iterator[tuple[int, ...]]:
        """Places on the grid of the units that the selection touches, in order."""
        if self.kind == "coordinate":
            places = [np.ravel(i) // u for i, u in zip(self.index, units, strict=True)]
            yield from sorted({tuple(map(int, place)) for place in zip(*places, strict=True)})
            return
        axes = []
        for item, unit in zip(self.index, units, strict=True):
            if isinstance(item, slice) and item.step <= unit:
                axes.append(list(range(item.start // unit, -(-item.stop // unit))) if _len(item) else [])
            else:
                axes.append(sorted({i // unit for i in _numbers(item)}))
        yield from itertools.product(*axes)

    def within(self, region: Region) -> tuple[Any, Any]:
        """What of the selection lies in a region: an index of that, and one of the selected values.

        The second is for values of the shape of the selection with every axis; those of single points
        are flat.
        """
        if self.kind == "coordinate":
            flat = [np.ravel(i) for i in self.index]
            inside = np.logical_and.reduce(
                [(i >= r.start) & (i < r.stop) for i, r in zip(flat, region, strict=True)]
            )
            return tuple(i[inside] - r.start for i, r in zip(flat, region, strict=True)), inside
        targets, sources = [], []
        for item, part in zip(self.index, region, strict=True):
            numbers = np.asarray(_numbers(item))
            inside = np.flatnonzero((numbers >= part.start) & (numbers < part.stop))
            targets.append(numbers[inside] - part.start)
            sources.append(inside)
        return np.ix_(*targets), np.ix_(*sources)

    @property
    def full_shape(self) -> tuple[int, ...]:
        """Shape of the selected values with every axis; flat for single points."""
        if self.kind == "coordinate":
            return (self.index[0].size,)
        return tuple(len(_numbers(item)) for item in self.index)


def full_region(index: Sequence[int | slice]) -> Region:
    """An index as slices for every axis."""
    return tuple(i if isinstance(i, slice) else slice(i, i + 1, 1) for i in index)


def _len(item: slice) -> int:
    return len(range(item.start, item.stop, item.step))


def _numbers(item: Any) -> Any:
    """The indices along one axis."""
    if isinstance(item, slice):
        return range(item.start, item.stop, item.step)
    return item.tolist() if isinstance(item, np.ndarray) else [item]


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


def coordinates(selection: Any, shape: tuple[int, ...]) -> tuple[Pixels, ...] | None:
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


def points(mask: Any, shape: tuple[int, ...]) -> tuple[Pixels, ...] | None:
    """Coordinates of the points where a mask of the array's shape is true."""
    if isinstance(mask, tuple) and len(mask) == 1:
        mask = mask[0]
    array = np.asarray(mask)
    if array.dtype != bool or array.shape != shape:
        return None
    return tuple(np.nonzero(array))


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
            start = min(place.start * unit, size)
            out.append(slice(start, max(start, min(place.stop * unit, size)), 1))
        else:
            out.append(slice(place * unit, min((place + 1) * unit, size), 1))
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


def fit(value: Any, shape: tuple[int, ...], dtype: DType) -> Pixels:
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


def _vector(item: Any, size: int) -> Pixels | None:
    if not isinstance(item, (list, np.ndarray)):
        return None
    array = np.asarray(item)
    if array.ndim != 1:
        return None
    if array.dtype == bool:
        return np.flatnonzero(array) if array.shape[0] == size else None
    wrapped = _integers(array)
    return wrapped if wrapped is not None and _wrap(wrapped, size) else None


def _integers(item: Any) -> Pixels | None:
    if isinstance(item, (slice, bool, type(Ellipsis), type(None))):
        return None
    try:
        array = np.asarray(item)
    except ValueError:
        return None
    if array.dtype.kind not in "iu":
        return None
    return array.astype(np.int64)


def _wrap(array: Pixels, size: int) -> bool:
    """Count negative indices from the end; False if one lies outside."""
    array[array < 0] += size
    return not array.size or (int(array.min()) >= 0 and int(array.max()) < size)
