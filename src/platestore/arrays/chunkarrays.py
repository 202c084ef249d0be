"""Chunks of arrays whose codecs are not handled one by one: read and written through the array itself."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from platestore.arrays.types import DType, Pixels

if TYPE_CHECKING:
    from platestore.arrays.image import ImageArray

Place = tuple[int, ...]


class ArrayReader:
    """Chunks of an array, read by indexing it.

    Parameters
    ----------
    array : ImageArray
        The array.
    """

    #: The engine keeps no index.
    index_nbytes = 0

    def __init__(self, array: ImageArray) -> None:
        self._array = array

    def read(self, place: Place, out: Pixels) -> bool:
        """Read a chunk into a block of the whole chunk's shape; True, since absent ones read as fill."""
        starts = [p * c for p, c in zip(place, self._array.chunks, strict=True)]
        stops = [min(s + c, n) for s, c, n in zip(starts, self._array.chunks, self._array.shape, strict=True)]
        region = tuple(slice(a, b) for a, b in zip(starts, stops, strict=True))
        out[tuple(slice(0, b - a) for a, b in zip(starts, stops, strict=True))] = self._array[region]
        return True

    def largest_encoded(self) -> int:
        """Bytes beside the decoded chunk: the engine's own copy, and the encoded one."""
        return 2 * math.prod(self._array.chunks) * self._array.dtype.itemsize


class _Unit:
    def __init__(self, shape: list[int], dtype: DType, missing: int) -> None:
        self.data = np.empty(shape, dtype)
        self.missing = missing


class ArrayWriter:
    """Writes chunks of an array, each once, as whole units (shards) that are gathered in memory.

    Parameters
    ----------
    array : ImageArray
        The array.
    """

    #: The engine keeps no index.
    index_nbytes = 0

    def __init__(self, array: ImageArray) -> None:
        self._array = array
        self._per_unit = tuple(u // c for u, c in zip(array._units, array.chunks, strict=True))
        self._counts: dict[Place, int] | None = None
        self.most_open = 1
        self._units: dict[Place, _Unit] = {}
        self._lock = threading.Lock()

    def restrict(self, places: Iterable[Place]) -> None:
        """Only these chunks will come; the rest of their units is read first."""
        self._counts = {}
        for place in places:
            unit = self._unit_of(place)
            self._counts[unit] = self._counts.get(unit, 0) + 1

    @property
    def units(self) -> tuple[int, ...]:
        """Shape of what one file holds."""
        return self._array._units

    @property
    def held_nbytes(self) -> int:
        """The most bytes of units under way, decoded; the engine has two more of a complete one."""
        return (self.most_open + 2) * math.prod(self._array._units) * self._array.dtype.itemsize

    def write(self, place: Place, block: Pixels | None) -> None:
        """Write a chunk, of the whole chunk's shape; None stands for the fill value."""
        number = self._unit_of(place)
        region = self._region(number)
        starts = [p * c - r.start for p, c, r in zip(place, self._array.chunks, region, strict=True)]
        with self._lock:
            unit = self._units.get(number)
            if unit is None:
                unit = self._units[number] = self._open(number, region)
            target = unit.data[
                tuple(slice(s, s + c) for s, c in zip(starts, self._array.chunks, strict=True))
            ]
            fill = self._array.fill_value or 0
            target[...] = fill if block is None else block[tuple(slice(0, n) for n in target.shape)]
            unit.missing -= 1
            if unit.missing:
                return
            del self._units[number]
        self._array[region] = unit.data

    def _unit_of(self, place: Place) -> Place:
        return tuple(p // n for p, n in zip(place, self._per_unit, strict=True))

    def _region(self, number: Place) -> tuple[slice, ...]:
        units, shape = self._array._units, self._array.shape
        return tuple(slice(p * u, min((p + 1) * u, n)) for p, u, n in zip(number, units, shape, strict=True))

    def _open(self, number: Place, region: tuple[slice, ...]) -> _Unit:
        lengths = [r.stop - r.start for r in region]
        chunks = [-(-n // c) for n, c in zip(lengths, self._array.chunks, strict=True)]
        missing = math.prod(chunks) if self._counts is None else self._counts[number]
        unit = _Unit(lengths, self._array.dtype, missing)
        if missing != math.prod(chunks):
            unit.data[...] = self._array[region]
        return unit

    def discard(self) -> None:
        """Forget what is under way, after an error."""
        self._units.clear()
