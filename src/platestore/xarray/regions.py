"""Writing an array whose time points and channels lie anywhere in an image: every file once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from platestore.xarray.pixels import as_dask, source_of

if TYPE_CHECKING:
    import dask.array
    import xarray as xr

    from platestore.arrays.image import ImageArray
    from platestore.nodes.position import Position

#: Where indices of an array (a slice of them) go in the image: to a slice, or to single indices.
Piece: TypeAlias = tuple[slice, "slice | list[int]"]


def sort_along(
    array: xr.DataArray, places: Mapping[int, Sequence[int]]
) -> tuple[xr.DataArray, dict[int, list[int]]]:
    """An array with its indices in the order in which they lie in the image, and where that is."""
    out: dict[int, list[int]] = {}
    for axis, wanted in places.items():
        out[axis] = sorted(wanted)
        if out[axis] != list(wanted):
            order = sorted(range(len(wanted)), key=wanted.__getitem__)
            array = array.isel({array.dims[axis]: order})
    return array, out


def pieces(indices: Sequence[int], unit: int) -> list[Piece]:
    """Split ascending indices such that no unit belongs to two pieces, into few pieces.

    Parameters
    ----------
    indices : sequence of int
        Indices in the image, ascending.
    unit : int
        Extent of a unit (a chunk or shard) of the image.

    Returns
    -------
    list of (slice, slice or list of int)
        Which of the given indices, and where they go: a slice of the image, or, inside one unit that is
        not covered by a slice, single indices.
    """
    out: list[Piece] = []
    for _, members in itertools.groupby(range(len(indices)), key=lambda i: indices[i] // unit):
        group = list(members)
        first, last = group[0], group[-1] + 1
        run = list(indices[first:last])
        if run[-1] - run[0] + 1 != len(run):
            out.append((slice(first, last), run))
            continue
        target = slice(run[0], run[-1] + 1)
        before, former = out[-1] if out else (slice(0), [])
        if isinstance(former, slice) and former.stop == target.start:
            out[-1] = slice(before.start, last), slice(former.start, target.stop)
        else:
            out.append((slice(first, last), target))
    return out


def write_pieces(target: ImageArray, array: xr.DataArray, places: Mapping[int, Sequence[int]]) -> None:
    """Write an array into an image.

    Parameters
    ----------
    target : ImageArray
        The image.
    array : xarray.DataArray
        The pixels.
    places : mapping
        By axis, the ascending indices in the image; an axis that is left out has all of its own.
    """
    units = target.shards or target.chunks
    split = [
        pieces(places[i], units[i]) if i in places else [(slice(0, n), slice(0, n))]
        for i, n in enumerate(array.shape)
    ]
    for choice in itertools.product(*split):
        part = array[tuple(source for source, _ in choice)]
        goal: list[Any] = [place for _, place in choice]
        if all(isinstance(place, slice) for place in goal):
            target[tuple(goal)] = source_of(part)
        else:
            _write_scattered(target, part, goal, units)


def _write_scattered(
    target: ImageArray, part: xr.DataArray, goal: Sequence[slice | list[int]], units: Sequence[int]
) -> None:
    """Write single indices of some axes, unit by unit along the others."""
    split: list[list[tuple[slice, Any]]] = [
        list(_by_unit(place, unit)) if isinstance(place, slice) else [(slice(None), np.array(place))]
        for place, unit in zip(goal, units, strict=True)
    ]
    for choice in itertools.product(*split):
        block = part[tuple(source for source, _ in choice)]
        target.set_orthogonal_selection(tuple(place for _, place in choice), np.asarray(block.values))


def _by_unit(place: slice, unit: int) -> Iterator[tuple[slice, slice]]:
    """The parts of a slice that lie in one unit each, in the array and in the image."""
    start = place.start
    while start < place.stop:
        stop = min(place.stop, (start // unit + 1) * unit)
        yield slice(start - place.start, stop - place.start), slice(start, stop)
        start = stop


def spread(
    position: Position, array: xr.DataArray, places: Mapping[int, Sequence[int]], shape: Sequence[int]
) -> dask.array.Array:
    """An array among zeros, as the whole image that it is a part of.

    Parameters
    ----------
    position : Position
        Whose image it will be.
    array : xarray.DataArray
        The pixels.
    places : mapping
        By axis, ascending indices in the image.
    shape : sequence of int
        Shape of the image.
    """
    import dask.array

    from platestore.nodes.wishes import Wishes

    names = [axis.name for axis in position.axes]
    layout = Wishes().layout(shape, array.dtype, position._location.zarr_format, names)
    whole: Any = as_dask(array, layout.units)
    for axis, indices in places.items():
        parts, end = [], 0
        for source, target in pieces(indices, 1):
            place = target if isinstance(target, slice) else slice(target[0], target[-1] + 1)
            parts += _zeros(whole, axis, place.start - end)
            parts.append(whole[(*[slice(None)] * axis, source)])
            end = place.stop
        parts += _zeros(whole, axis, shape[axis] - end)
        whole = dask.array.concatenate(parts, axis=axis)  # type: ignore[no-untyped-call]
    return whole  # type: ignore[no-any-return]


def _zeros(like: dask.array.Array, axis: int, length: int) -> list[dask.array.Array]:
    import dask.array

    if not length:
        return []
    shape = [length if i == axis else n for i, n in enumerate(like.shape)]
    chunks = tuple((length,) if i == axis else c for i, c in enumerate(like.chunks))
    return [dask.array.zeros(shape, dtype=like.dtype, chunks=chunks)]
