"""Writing an array whose time points and channels lie anywhere in an image: every file once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from platestore.arrays.sources import Region, Source, as_source
from platestore.arrays.types import Pixels
from platestore.xarray.pixels import as_dask, source_of

if TYPE_CHECKING:
    import xarray as xr

    from platestore.arrays.image import ImageArray
    from platestore.tree.image import ImageEditor

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
    position: ImageEditor, array: xr.DataArray, places: Mapping[int, Sequence[int]], shape: Sequence[int]
) -> Spread:
    """An array among zeros, as the whole image that it is a part of.

    Parameters
    ----------
    position : ImageEditor
        Whose image it will be.
    array : xarray.DataArray
        The pixels.
    places : mapping
        By axis, ascending indices in the image.
    shape : sequence of int
        Shape of the image.
    """
    from platestore.arrays.options import LayoutOptions

    names = [axis.name for axis in position.axes]
    layout = LayoutOptions().layout(shape, array.dtype, position.location.zarr_format, names)
    return Spread(as_source(as_dask(array, layout.units)), places, shape)


class Spread:
    """A source as a part of a larger one, whose other pixels are 0.

    Parameters
    ----------
    source : Source
        The source.
    places : mapping
        By axis, the ascending indices where its own lie; other axes are as they are.
    shape : sequence of int
        Shape of the larger one.
    """

    def __init__(self, source: Source, places: Mapping[int, Sequence[int]], shape: Sequence[int]) -> None:
        self._source = source
        self._pieces = [
            pieces(places[i], 1) if i in places else [(slice(0, n), slice(0, n))] for i, n in enumerate(shape)
        ]
        self.shape = tuple(shape)
        self.dtype = source.dtype
        self.tiles = tuple(1 if i in places else n for i, n in enumerate(source.tiles))
        #: The part beyond which there are zeros only.
        spans = [[_span(place) for _, place in row] or [slice(0, 0)] for row in self._pieces]
        self.extent = tuple(slice(row[0].start, row[-1].stop) for row in spans)

    def load(self, region: Region, out: Pixels, workers: int) -> None:
        """Read a box."""
        out[...] = 0
        rows = [_met(row, part) for row, part in zip(self._pieces, region, strict=True)]
        for choice in itertools.product(*rows):
            target = out[tuple(place for _, place in choice)]
            self._source.load(tuple(taken for taken, _ in choice), target, workers)

    def loading_nbytes(self, workers: int) -> int:
        """As of the source."""
        return self._source.loading_nbytes(workers)


def _span(place: slice | list[int]) -> slice:
    return place if isinstance(place, slice) else slice(place[0], place[-1] + 1)


def _met(row: Sequence[Piece], part: slice) -> Iterator[tuple[slice, slice]]:
    """What of the pieces of an axis lies in a part of it: in the source, and in the part."""
    for source, place in row:
        span = _span(place)
        start, stop = max(span.start, part.start), min(span.stop, part.stop)
        if start < stop:
            first = source.start + start - span.start
            yield slice(first, first + stop - start), slice(start - part.start, stop - part.start)
