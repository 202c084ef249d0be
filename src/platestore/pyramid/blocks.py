"""The tree of blocks: which part of each level is made at once, and from which blocks of the level above.

Each level is cut into blocks of whole chunks, such that the blocks of one level nest in those of the next:
a block of level k is made from whole blocks of level k - 1, and these hold whole windows. Walking the tree
depth first needs one block per level in memory, whatever the size of the image.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Place = tuple[int, ...]
Ranges = tuple[range, ...]
Join: TypeAlias = Literal["first", "last"] | None

#: Level-0 blocks of small chunks are joined until they have about this size: less work per pixel.
_LEAF_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True)
class BlockLevel:
    """One level and how it is cut.

    Attributes
    ----------
    shape : tuple of int
        Shape of the level.
    chunks : tuple of int
        Shape of its chunks.
    factors : tuple of int
        Factors from the level above; ones for level 0.
    block : tuple of int
        Shape of a block, of whole chunks; it may reach beyond the level.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    factors: tuple[int, ...]
    block: tuple[int, ...]

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of blocks along each axis."""
        return tuple(-(-n // b) for n, b in zip(self.shape, self.block, strict=True))

    @property
    def elements(self) -> int:
        """Most elements of a block within the level."""
        return math.prod(min(n, b) for n, b in zip(self.shape, self.block, strict=True))

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Shape of a block in whole chunks, no more than cover the level."""
        return tuple(
            min(b, -(-n // c) * c) for n, c, b in zip(self.shape, self.chunks, self.block, strict=True)
        )

    def region(self, place: Place) -> tuple[slice, ...]:
        """Where a block lies, cut to the level."""
        return tuple(
            slice(p * b, min((p + 1) * b, n)) for p, b, n in zip(place, self.block, self.shape, strict=True)
        )

    def chunk_ranges(self, region: Sequence[slice]) -> Ranges:
        """Places of the chunks that a region touches."""
        return tuple(range(r.start // c, -(-r.stop // c)) for r, c in zip(region, self.chunks, strict=True))


class BlockTree:
    """The blocks of all levels.

    Parameters
    ----------
    shapes, chunks : sequence of tuple of int
        Of all levels, level 0 first.
    factors : sequence of tuple of int
        Factors of each step.
    itemsize : int
        Bytes per element.
    join : "first", "last" or None
        Whether small chunks of level 0 are joined to larger blocks: along the first axes (coarser blocks are
        complete sooner then) or the last ones (which leave long rows).
    region : tuple of slice, optional
        Part of level 0 that changed; only what depends on it is walked.
    """

    def __init__(
        self,
        shapes: Sequence[tuple[int, ...]],
        chunks: Sequence[tuple[int, ...]],
        factors: Sequence[tuple[int, ...]],
        itemsize: int,
        *,
        join: Join = "first",
        region: tuple[slice, ...] | None = None,
    ) -> None:
        ndim = len(shapes[0])
        ones = (1,) * ndim
        following = [*factors, ones]
        steps = [ones, *factors]
        start = tuple(math.lcm(c, f) for c, f in zip(chunks[0], following[0], strict=True))
        if join is not None:
            start = _joined(start, shapes[0], itemsize, region, backwards=join == "last")
        blocks = [start]
        for k in range(1, len(shapes)):
            before = blocks[-1]
            rows = zip(chunks[k], following[k], steps[k], before, strict=True)
            blocks.append(tuple(math.lcm(c, n, b // math.gcd(b, f)) for c, n, f, b in rows))
        self.levels = [
            BlockLevel(s, c, f, b) for s, c, f, b in zip(shapes, chunks, steps, blocks, strict=True)
        ]
        self._ranges = self._walked(region)
        self.is_whole = region is None

    def _walked(self, region: tuple[slice, ...] | None) -> list[Ranges]:
        """Places of the blocks of each level that are walked."""
        first = self.levels[0]
        if region is None:
            return [tuple(map(range, level.grid)) for level in self.levels]
        ranges = [
            tuple(range(r.start // b, -(-r.stop // b)) for r, b in zip(region, first.block, strict=True))
        ]
        for above, level in itertools.pairwise(self.levels):
            rows = zip(ranges[-1], above.block, level.factors, level.block, level.grid, strict=True)
            ranges.append(
                tuple(
                    range(r.start * a // f // b, min(g, -(-(r.stop * a) // (f * b))))
                    for r, a, f, b, g in rows
                )
            )
        return ranges

    @property
    def leaves(self) -> int:
        """Number of level-0 blocks that are walked."""
        return math.prod(map(len, self._ranges[0]))

    def walked(self, k: int) -> Ranges:
        """Places of the blocks of a level that are walked."""
        return self._ranges[k]

    def children(self, k: int, place: Place) -> Ranges:
        """Places of the blocks of level ``k - 1`` that a block of level ``k`` is made from."""
        level, above = self.levels[k], self.levels[k - 1]
        rows = zip(place, level.block, level.factors, above.block, self._ranges[k - 1], strict=True)
        return tuple(
            range(max(r.start, p * b * f // a), min(r.stop, (p + 1) * b * f // a)) for p, b, f, a, r in rows
        )

    def parent(self, k: int, place: Place) -> Place:
        """Place of the block of level ``k + 1`` that a block of level ``k`` belongs to."""
        level, below = self.levels[k], self.levels[k + 1]
        rows = zip(place, level.block, below.factors, below.block, strict=True)
        return tuple(p * a // (f * b) for p, a, f, b in rows)

    def written(self, k: int) -> tuple[slice, ...]:
        """The part of a level that is made: all of it, or what depends on the region."""
        level = self.levels[k]
        if self.is_whole:
            return tuple(slice(0, n) for n in level.shape)
        if not k:
            walked = zip(self._ranges[0], level.block, level.shape, strict=True)
            return tuple(slice(r.start * b, min(n, r.stop * b)) for r, b, n in walked)
        above = self.levels[k - 1]
        rows = zip(self._ranges[k - 1], above.block, level.factors, level.shape, strict=True)
        return tuple(slice(r.start * a // f, min(n, -(-(r.stop * a) // f))) for r, a, f, n in rows)

    def depth_first(self, level: int = 0) -> Iterator[Place]:
        """Places of the blocks of a level, those of one block of a coarser level together."""
        top = len(self.levels) - 1

        def below(k: int, place: Place) -> Iterator[Place]:
            if k == level:
                yield place
                return
            for child in itertools.product(*self.children(k, place)):
                yield from below(k - 1, child)

        for place in itertools.product(*self._ranges[top]):
            yield from below(top, place)

    def most_open(self, k: int, units: tuple[int, ...]) -> int:
        """How many units (shards) of a level are begun and not complete at once, at most.

        Parameters
        ----------
        k : int
            The level.
        units : tuple of int
            Shape of a unit, of whole chunks.
        """
        level, written = self.levels[k], self.written(k)
        chunks = level.chunk_ranges(written)
        per_unit = [u // c for u, c in zip(units, level.chunks, strict=True)]
        left: dict[Place, int] = {}
        most = 0

        def count(ranges: Ranges, unit: Place) -> int:
            rows = zip(ranges, unit, per_unit, strict=True)
            return math.prod(min(r.stop, (u + 1) * n) - max(r.start, u * n) for r, u, n in rows)

        for place in self.depth_first(k):
            rows = zip(level.chunk_ranges(level.region(place)), chunks, strict=True)
            ranges = tuple(range(max(a.start, b.start), min(a.stop, b.stop)) for a, b in rows)
            touched = (range(r.start // n, -(-r.stop // n)) for r, n in zip(ranges, per_unit, strict=True))
            for unit in itertools.product(*touched):
                left[unit] = left.get(unit, count(chunks, unit)) - count(ranges, unit)
                most = max(most, len(left))
                if not left[unit]:
                    del left[unit]
        return most


def _joined(
    block: tuple[int, ...],
    shape: tuple[int, ...],
    itemsize: int,
    region: tuple[slice, ...] | None,
    *,
    backwards: bool,
) -> tuple[int, ...]:
    """Double a block, one axis after the other, while it is small and covers neither level nor region."""
    out = list(block)
    axes = range(len(out))
    for axis in reversed(axes) if backwards else axes:
        while out[axis] < shape[axis]:
            doubled = [*out[:axis], 2 * out[axis], *out[axis + 1 :]]
            nbytes = math.prod(min(n, b) for n, b in zip(shape, doubled, strict=True)) * itemsize
            if nbytes > _LEAF_BYTES or (
                region is not None and _cuts(region[axis], doubled[axis], shape[axis])
            ):
                break
            out = doubled
    return tuple(out)


def _cuts(part: slice, size: int, length: int) -> bool:
    """Whether blocks of a size would reach out of a part of an axis."""
    return bool(part.start % size or (part.stop % size and part.stop < length))
