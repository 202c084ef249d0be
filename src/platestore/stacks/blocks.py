"""Blocks of planes that are written independently: no two of them share a file of any level they write."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, TypeAlias

from platestore.arrays.layout import ArrayLayout
from platestore.errors import ArgumentError
from platestore.spec.geometry import Factors

#: First plane, and the one after the last.
Block: TypeAlias = tuple[int, int]

# Levels that are this much smaller than the full resolution are read again at next to no cost.
_SMALL = 64
# Blocks that nobody asked for have at least so much.
_LEAST_BYTES = 2**30


def grids(layouts: Sequence[ArrayLayout], factors: Sequence[Factors], axis: int) -> list[int]:
    """How many planes lie between the borders that the files of each level, and all finer ones, have.

    Parameters
    ----------
    layouts : sequence of ArrayLayout
        Of all levels.
    factors : sequence of tuple of int
        Factors of each step.
    axis : int
        The axis of the planes.
    """
    out, scale, grid = [], 1, 1
    for k, layout in enumerate(layouts):
        scale *= factors[k - 1][axis] if k else 1
        grid = math.lcm(grid, layout.units[axis] * scale)
        out.append(grid)
    return out


def choose_blocks(
    planes: int, grid: Sequence[int], nbytes: int, volumes: Sequence[int], *, jobs: Any, block: Any
) -> list[Block]:
    """Cut a stack into blocks.

    Parameters
    ----------
    planes : int
        Number of planes.
    grid : sequence of int
        As :func:`grids` gives it.
    nbytes : int
        Bytes of a plane, in all channels and time points.
    volumes : sequence of int
        How much smaller each level is than the full resolution.
    jobs : int, optional
        How many blocks there are to be, at most.
    block : int, or sequence of (start, stop), optional
        How many planes each has, or which.

    Raises
    ------
    ArgumentError
        If blocks begin or end within a file, overlap, or leave planes out; the message names the right
        values.
    """
    if jobs is not None and block is not None:
        raise ArgumentError("jobs and block both say how the stack is cut", hint="pass one of them")
    if block is not None and not hasattr(block, "__index__"):
        return check_blocks(block, planes, grid[0])
    if block is not None:
        size = _positive(block, "block")
        if size % grid[0] and size < planes:
            below = size - size % grid[0]
            near = " or ".join(str(n) for n in (below, below + grid[0]) if n)
            raise ArgumentError(
                f"blocks of {size} planes would share files, which have {grid[0]} planes each",
                hint=f"the nearest that do not have {near} planes",
            )
    elif jobs is not None:
        size = _size_for(_positive(jobs, "jobs"), planes, grid, volumes)
    else:
        size = grid[_shared(grid, volumes)]
        size *= max(1, -(-_LEAST_BYTES // (size * nbytes)))
    return [(start, min(planes, start + size)) for start in range(0, planes, size)]


def made_levels(blocks: Sequence[Block], grid: Sequence[int]) -> int:
    """How many levels the blocks can write, from the full resolution on, without sharing a file."""
    borders = [start for start, _ in blocks]
    return sum(all(border % each == 0 for border in borders) for each in grid)


def check_blocks(given: Any, planes: int, grid: int) -> list[Block]:
    """Check blocks that are given by their ends.

    Raises
    ------
    ArgumentError
        If one begins or ends within a file, two overlap, or planes are left out.
    """
    try:
        blocks = sorted((operator.index(start), operator.index(stop)) for start, stop in given)
    except (TypeError, ValueError):
        raise ArgumentError(
            f"block must be a number of planes, or pairs of start and stop, not {given!r}"
        ) from None
    reached = 0
    for start, stop in blocks:
        if not 0 <= start < stop <= planes:
            raise ArgumentError(
                f"the block {start}:{stop} is no part of the planes 0:{planes}",
                hint="start < stop, both inside",
            )
        for border in (start, stop):
            if border % grid and border < planes:
                below = border - border % grid
                raise ArgumentError(
                    f"the block {start}:{stop} has an end at plane {border}, within files of {grid} planes",
                    hint=f"{below} or {min(planes, below + grid)} are the nearest borders",
                )
        if start < reached:
            raise ArgumentError(
                f"the block {start}:{stop} overlaps the one before it, which ends at {reached}",
                hint=f"start at {reached}",
            )
        if start > reached:
            raise ArgumentError(f"no block has the planes {reached}:{start}", hint="blocks cover all planes")
        reached = stop
    if reached < planes:
        raise ArgumentError(f"no block has the planes {reached}:{planes}", hint="blocks cover all planes")
    return blocks


def _positive(value: Any, name: str) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < 1:
        raise ArgumentError(f"{name} must be an integer of 1 or more, not {value!r}")
    return operator.index(value)


def _shared(grid: Sequence[int], volumes: Sequence[int]) -> int:
    """The level up to which blocks should write: what is left to be made from it is small."""
    return next((k for k, volume in enumerate(volumes) if volume >= _SMALL), len(grid) - 1)


def _size_for(jobs: int, planes: int, grid: Sequence[int], volumes: Sequence[int]) -> int:
    """Planes per block for at most so many blocks: aligned with as many levels as cost few of them."""
    least = -(-planes // jobs)
    for k in range(_shared(grid, volumes), 0, -1):
        size = -(-least // grid[k]) * grid[k]
        if 4 * -(-planes // size) >= 3 * min(jobs, -(-planes // grid[0])):
            return size
    return -(-least // grid[0]) * grid[0]


def region_of(block: Block | Sequence[int], shape: Sequence[int], axis: int) -> tuple[slice, ...] | None:
    """The part of level 0 that a block is; None for all of it."""
    start, stop = block
    if (start, stop) == (0, shape[axis]):
        return None
    return tuple(slice(start, stop) if i == axis else slice(0, n) for i, n in enumerate(shape))
