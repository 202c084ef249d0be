"""How a stack is cut into chunks, shards and levels.

Slabs of planes come one after the other, so a file should be complete after few of them. A chunk has at most
64 planes, and fewer where a slab of these would take more than a quarter of the memory that may be used: then
no plane is decoded twice. A shard is one chunk thick and as wide as the plane, up to 1 GiB; it is written
chunk by chunk, and takes no memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from platestore.arrays.layout import ArrayLayout, check_dtype, check_integers, level_layout, stack_axes
from platestore.arrays.layout import plan as plan_layout
from platestore.arrays.types import DType
from platestore.errors import ArgumentError
from platestore.spec.geometry import Factors, level_shapes, plan_factors
from platestore.storage.hierarchy import ZarrFormat

_PLANES = 64
_SIDE = 128
_LARGEST_SIDE = 1024
# Of the memory, for a slab; the levels and what is read ahead take the rest.
_SLAB_SHARE = 4
_CHUNK_BYTES = 2**20
_PLAIN_CHUNK_BYTES = 8 * 2**20
_SHARD_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class Layouts:
    """Layouts of all levels.

    Attributes
    ----------
    levels : list of ArrayLayout
        From the full resolution on.
    factors : list of tuple of int
        Factors of each step.
    """

    levels: list[ArrayLayout]
    factors: list[Factors]


def plan_levels(
    shape: tuple[int, ...],
    dtype: Any,
    names: Sequence[str],
    zarr_format: ZarrFormat,
    *,
    levels: int | str,
    chunks: Sequence[int] | None,
    shards: Any,
    compressor: str | None,
    max_memory: int,
) -> Layouts:
    """Check what is asked for, and fill in what is left open.

    Parameters
    ----------
    shape : tuple of int
        Shape of the full resolution.
    dtype : dtype-like
        Type of the pixels.
    names : sequence of str
        Names of the axes.
    zarr_format : {2, 3}
        Version of zarr; v2 has no shards.
    levels : int or "auto"
        Number of levels, that of full resolution included.
    chunks, compressor
        As for :meth:`Position.create_image`; chunks of fewer axes are those of the last ones.
    shards
        The same; ``"none"`` is no shards.
    max_memory : int
        Bytes that may be used, which decide how thick chunks are by default.

    Raises
    ------
    ArgumentError
        If something cannot be had.
    """
    kind = check_dtype(dtype)
    labels = tuple(name.upper() for name in names)
    unwanted = is_none(shards)
    plain = zarr_format == 2 or unwanted
    if chunks is None:
        slab = max_memory // _SLAB_SHARE
        sizes = default_chunks(shape, kind, labels, plain=plain, slab=slab)
    else:
        sizes = _full(chunks, len(shape), "chunks")
    wanted = None if unwanted else shards
    if wanted is None and not plain:
        wanted = default_shards(shape, sizes, kind, labels)
    elif wanted is not None and not isinstance(wanted, (str, int)) and not _is_axes(wanted):
        wanted = _full(wanted, len(shape), "shards")
    base = plan_layout(
        shape,
        kind,
        zarr_format=zarr_format,
        chunks=sizes,
        shards=wanted,
        compressor=compressor,
        axis_names=names,
    )
    factors = plan_factors(shape, names, levels)
    useful = sum(max(step) > 1 for step in factors)
    if useful < len(factors):
        raise ArgumentError(
            f"an image of shape {tuple(shape)} has {useful + 1} levels at most, not {levels}",
            hint='levels="auto" takes as many as make sense',
        )
    shapes = level_shapes(shape, factors)
    return Layouts([base, *(level_layout(base, s) for s in shapes[1:])], factors)


def is_none(shards: Any) -> bool:
    """Whether it is said that there are to be no shards."""
    return isinstance(shards, str) and shards.strip().lower() == "none"


def _is_axes(wanted: Any) -> bool:
    return all(isinstance(item, str) for item in wanted)


def _full(values: Sequence[int], ndim: int, name: str) -> tuple[int, ...]:
    """A shape of the last axes as one of all."""
    sizes = check_integers(values, name)
    if len(sizes) > ndim:
        raise ArgumentError(f"{name} {sizes} has {len(sizes)} values; the image has {ndim} axes")
    return (*(1,) * (ndim - len(sizes)), *sizes)


def default_chunks(
    shape: Sequence[int], dtype: DType, labels: tuple[str, ...], *, plain: bool, slab: int
) -> tuple[int, ...]:
    """Chunks of up to 64 x 128 x 128 voxels: thinner where planes are large, wider where there are few.

    Parameters
    ----------
    shape : sequence of int
        Shape of the full resolution.
    dtype : numpy.dtype
        Type of the pixels.
    labels : tuple of str
        Upper-case names of the axes.
    plain : bool
        Whether there are no shards, so that every chunk is a file.
    slab : int
        The most bytes that a slab of planes, one chunk thick, should have.
    """
    stack = stack_axes(labels)
    sizes = [1] * len(shape)
    *_, y, x = stack
    plane = shape[y] * shape[x] * dtype.itemsize
    if len(stack) == 3:
        z = stack[0]
        sizes[z] = min(_PLANES, shape[z])
        while sizes[z] > 1 and sizes[z] * plane > slab:
            sizes[z] = -(-sizes[z] // 2)
    wanted = min(_PLAIN_CHUNK_BYTES, slab // _SLAB_SHARE) if plain else _CHUNK_BYTES
    side = _SIDE
    depth = math.prod(sizes) * dtype.itemsize
    while side < _LARGEST_SIDE and 2 * depth * side * side <= wanted:
        side *= 2
    sizes[y], sizes[x] = min(side, shape[y]), min(side, shape[x])
    return tuple(sizes)


def default_shards(
    shape: Sequence[int], chunks: Sequence[int], dtype: DType, labels: tuple[str, ...]
) -> tuple[int, ...]:
    """One chunk thick, and as wide as the plane, up to 1 GiB."""
    *_, y, x = stack_axes(labels)
    out = [min(c, n) for c, n in zip(chunks, shape, strict=True)]
    left = max(1, _SHARD_BYTES // (math.prod(out) * dtype.itemsize))
    for axis in (x, y):
        cover = -(-shape[axis] // out[axis])
        count = min(cover, left)
        count = -(-cover // -(-cover // count))  # parts of the same size
        left //= count
        out[axis] *= count
    return tuple(out)
