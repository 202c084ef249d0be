"""Which part of an array is worked on at once: pure arithmetic on shapes, chunks and selections.

A block is a box of whole target chunks. Along each axis it lies inside one unit of the target (a shard, or
a chunk where there are no shards), or is made of whole units; so few units are under way at a time. Its
shape decides how often source chunks that reach across blocks are decoded.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

#: What is taken along one axis: a slice of step 1 or more, or indices in any order; all concrete.
Pick: TypeAlias = slice | tuple[int, ...]
Place = tuple[int, ...]
Span = tuple[int, int]

#: Blocks of small chunks are joined until they have about this size: less work per pixel.
JOINED_BYTES = 8 * 2**20
# Blocks grow no further where a block of twice the size would save less than this share of the decoding.
_LEAST_GAIN = 0.05
# Along one axis so many block sizes are weighed one by one, and of so many blocks the work is counted.
_TRIED = 48
_SAMPLE = 2048


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a source chunk and a target chunk meet, along one axis.

    Attributes
    ----------
    source, target : int
        Numbers of the two chunks.
    taken, put : slice
        Which elements of the source chunk they are, and where in the target chunk they go.
    """

    source: int
    target: int
    taken: slice
    put: slice


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a copy.

    Attributes
    ----------
    start, step : int
        What is taken of the source, where that is a slice.
    indices : tuple of int or None
        What is taken of the source, where that is a list.
    size : int
        Length of the target.
    source_chunk, chunk, unit : int
        Extents of a source chunk, of a target chunk, and of a target unit: a multiple of ``chunk``.
    """

    start: int
    step: int
    indices: tuple[int, ...] | None
    size: int
    source_chunk: int
    chunk: int
    unit: int

    @classmethod
    def of(cls, pick: Pick, source_chunk: int, chunk: int, unit: int) -> Axis:
        """The axis of a selection."""
        if isinstance(pick, slice):
            return cls(pick.start, pick.step, None, picked_size(pick), source_chunk, chunk, unit)
        return cls(0, 1, tuple(pick), len(pick), source_chunk, chunk, unit)

    @property
    def covered(self) -> int:
        """Length of the whole target chunks that cover the axis."""
        return max(1, -(-self.size // self.chunk)) * self.chunk

    @property
    def reach(self) -> int:
        """Length of the whole target chunks that cover one unit, as far as it lies on the axis."""
        return min(self.unit, self.covered)

    def spans(self, block: int) -> list[Span]:
        """Where each block begins and ends on the target, in order.

        Parameters
        ----------
        block : int
            Its extent: chunks inside a unit, or whole units.
        """
        outer = max(block, self.unit)
        return [
            (start, min(start + block, first + outer, self.size))
            for first in range(0, self.size, outer)
            for start in range(first, min(first + outer, self.size), block)
        ]

    def count(self, block: int) -> int:
        """Number of blocks; one for an axis without elements."""
        outer = max(block, self.unit)
        return max(1, self.size // outer * -(-outer // block) + -(-(self.size % outer) // block))

    def cuts(self, span: Span) -> list[Cut]:
        """How a span of the target is put together, in the order of the target."""
        begin, end = span
        out = []
        while begin < end:
            stop, step = self._run(begin, end)
            first = self._source(begin)
            source, target = first // self.source_chunk, begin // self.chunk
            inner = first - source * self.source_chunk
            taken = slice(inner, inner + (stop - begin - 1) * step + 1, step)
            put = slice(begin - target * self.chunk, stop - target * self.chunk)
            out.append(Cut(source, target, taken, put))
            begin = stop
        return out

    def _source(self, place: int) -> int:
        """Place in the source of a place in the target."""
        return self.start + self.step * place if self.indices is None else self.indices[place]

    def _run(self, begin: int, end: int) -> tuple[int, int]:
        """How far places go on in the same two chunks, each a step of 1 or more after the one before."""
        end = min(end, (begin // self.chunk + 1) * self.chunk)
        first = self._source(begin)
        limit = (first // self.source_chunk + 1) * self.source_chunk
        if self.indices is None:
            stop = min(end, begin + -(-(limit - first) // self.step))
            return stop, self.step if stop - begin > 1 else 1
        step, stop = 1, begin + 1  # the step of a single element is 1
        if stop < end and first < self.indices[stop] < limit:
            step = self.indices[stop] - first
            while (
                stop < end
                and self.indices[stop] < limit
                and self.indices[stop] - first == step * (stop - begin)
            ):
                stop += 1
        return stop, step

    def decodes(self, block: int) -> float:
        """How many source chunks are decoded, block by block; estimated from the first ones of many."""
        if not self.size:
            return 1.0
        if self.indices is not None:
            chunks = np.array(self.indices) // self.source_chunk
            return float(sum(len(np.unique(chunks[a:b])) for a, b in self.spans(block)))
        outer, count = max(block, self.unit), self.count(block)
        per_unit = -(-outer // block)
        number = np.arange(min(count, _SAMPLE))
        first = (number // per_unit) * outer
        begin = first + number % per_unit * block
        end = np.minimum(np.minimum(begin + block, first + outer), self.size)
        return float(self._touched(begin, end).sum()) * count / len(number)

    def _touched(self, begin: npt.NDArray[np.int64], end: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """How many source chunks lie under each span of the target."""
        if self.step > self.source_chunk:  # each element lies in a chunk of its own
            return end - begin
        last = (self.start + self.step * (end - 1)) // self.source_chunk
        return last - (self.start + self.step * begin) // self.source_chunk + 1


def picked_size(pick: Pick) -> int:
    """How many elements are taken along an axis."""
    if isinstance(pick, slice):
        return len(range(pick.start, pick.stop, pick.step))
    return len(pick)


@lru_cache(maxsize=256)
def choose_block(
    axes: tuple[Axis, ...], itemsize: int, limit: int, together: int | None = None
) -> tuple[int, ...]:
    """The shape of a block: as few source chunks decoded as possible, then small.

    Parameters
    ----------
    axes : tuple of Axis
        The copy.
    itemsize : int
        Bytes per element.
    limit : int
        Most bytes of a block of more than one chunk.
    together : int, optional
        How many units may be under way at once; any number by default. With 1, a block lies inside one
        unit, or is made of whole units, which are complete one after another.

    Returns
    -------
    tuple of int
        Along each axis whole chunks inside a unit, or whole units.
    """
    starts = [tuple(axis.chunk for axis in axes), tuple(axis.reach for axis in axes)]
    found = [
        _grown(axes, start, itemsize, limit, together)
        for start in (starts if together == 1 and _nbytes(starts[1], itemsize) <= limit else starts[:1])
    ]
    best = min(found, key=lambda block: (decodes(axes, block), _nbytes(block, itemsize)))
    return _joined(axes, best, itemsize, min(limit, JOINED_BYTES), together)


def _grown(
    axes: Sequence[Axis], block: tuple[int, ...], itemsize: int, limit: int, together: int | None
) -> tuple[int, ...]:
    """Let a block grow while that saves decoding, along the axis where it saves most for its size."""
    while True:
        best: tuple[float, int, int] | None = None
        grown = block
        for i, axis in enumerate(axes):
            now = axis.decodes(block[i])
            for size in _larger(axes, block, i, together):
                tried = (*block[:i], size, *block[i + 1 :])
                if _nbytes(tried, itemsize) > limit or not _may_open(axes, tried, together):
                    break
                gain = math.log2(now / axis.decodes(size)) / math.log2(size / block[i])
                if gain >= _LEAST_GAIN and (best is None or (gain, -size, i) > best):
                    best, grown = (gain, -size, i), tried
        if best is None:
            return block
        block = grown


def _joined(
    axes: Sequence[Axis], block: tuple[int, ...], itemsize: int, limit: int, together: int | None
) -> tuple[int, ...]:
    """Join small blocks, along the last axes first: chunks then lie in the shard in their order."""
    while True:
        for i in reversed(range(len(axes))):
            sizes = _larger(axes, block, i, together)
            size = next((n for n in sizes if n >= min(2 * block[i], axes[i].reach)), block[i])
            grown = (*block[:i], size, *block[i + 1 :])
            if grown != block and _nbytes(grown, itemsize) <= limit and _may_open(axes, grown, together):
                block = grown
                break
        else:
            return block


def _larger(axes: Sequence[Axis], block: tuple[int, ...], i: int, together: int | None) -> Iterator[int]:
    """Larger extents along one axis, in order: inside the unit, then whole units."""
    axis, now = axes[i], block[i]
    yield from _multiples(axis.chunk, now, axis.reach)
    if together != 1 or all(size >= other.reach for size, other in zip(block, axes, strict=True)):
        for size in _multiples(axis.unit, max(now, axis.reach), -(-axis.covered // axis.unit) * axis.unit):
            if now < axis.covered:
                yield min(size, axis.covered)


def _multiples(part: int, now: int, most: int) -> list[int]:
    """Some multiples of a number above ``now``: the next ones, then doubled ones, and ``most``."""
    count, parts = -(-now // part), most // part
    tried = {*range(count + 1, min(parts, count + _TRIED) + 1), parts}
    while (count := 2 * count) < parts:
        tried.add(count)
    return [number * part for number in sorted(tried) if number * part > now]


def _may_open(axes: Sequence[Axis], block: Sequence[int], together: int | None) -> bool:
    return together is None or together == 1 or units_of(axes, block) <= together


def units_of(axes: Sequence[Axis], block: Sequence[int]) -> int:
    """How many units a block touches, at most."""
    return math.prod(-(-size // axis.unit) for axis, size in zip(axes, block, strict=True))


def decodes(axes: Sequence[Axis], block: Sequence[int]) -> float:
    """How many source chunks are decoded in all, with blocks of some shape."""
    return math.prod(axis.decodes(size) for axis, size in zip(axes, block, strict=True))


def _nbytes(block: Sequence[int], itemsize: int) -> int:
    return math.prod(block) * itemsize


def blocks(axes: Sequence[Axis], block: Sequence[int]) -> Iterator[tuple[Span, ...]]:
    """All blocks, in such an order that those of one unit follow each other, in C order.

    Parameters
    ----------
    axes : sequence of Axis
        The copy.
    block : sequence of int
        From :func:`choose_block`.

    Yields
    ------
    tuple of (int, int)
        Where it begins and ends along each axis of the target.
    """
    by_unit: list[list[list[Span]]] = []
    for axis, size in zip(axes, block, strict=True):
        groups: dict[int, list[Span]] = {}
        for span in axis.spans(size):
            groups.setdefault(span[0] // max(size, axis.unit), []).append(span)
        by_unit.append(list(groups.values()))
    for choice in itertools.product(*by_unit):
        yield from itertools.product(*choice)


def decodes_in_place(axes: Sequence[Axis]) -> bool:
    """Whether every source chunk lies whole, and in one piece, in one target chunk."""
    for axis in axes:
        if axis.indices is not None and len(set(axis.indices)) < axis.size:
            return False
        is_cut = axis.start % axis.source_chunk or axis.size % axis.source_chunk or axis.step > 1
        if axis.source_chunk > 1 and (is_cut or axis.indices is not None or axis.chunk % axis.source_chunk):
            return False
    smaller = [i for i, axis in enumerate(axes) if axis.source_chunk < axis.chunk]
    return not smaller or all(axis.source_chunk == 1 for axis in axes[: smaller[-1]])
