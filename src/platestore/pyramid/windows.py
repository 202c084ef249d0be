"""What a part of a level is made from, and making it: the same pixels whichever part is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from platestore.arrays.types import Pixels
from platestore.pyramid.gaussian import halo, reduce_gaussian
from platestore.pyramid.kernels import Method, check_method, reduce_block
from platestore.spec.reductions import reduction

Region: TypeAlias = tuple[slice, ...]


def halos(factors: Sequence[int], method: Method) -> tuple[int, ...]:
    """How many pixels around its windows a method needs, along each axis."""
    return tuple(halo(f) if reduction(method).overlaps else 0 for f in factors)


def needed(region: Region, shape: Sequence[int], factors: Sequence[int], method: Method) -> Region:
    """The part of a level that a part of the next one is made from.

    Parameters
    ----------
    region : tuple of slice
        The part of the next level.
    shape : sequence of int
        Shape of the level.
    factors : sequence of int
        Factors of the step.
    method : str or callable
        How windows are reduced.

    Returns
    -------
    tuple of slice
        Inside the shape.
    """
    rows = zip(region, shape, factors, halos(factors, method), strict=True)
    return tuple(slice(max(0, r.start * f - h), min(n, r.stop * f + h)) for r, n, f, h in rows)


def influenced(region: Region, shape: Sequence[int], factors: Sequence[int], method: Method) -> Region:
    """The part of the next level that depends on a part of a level."""
    rows = zip(region, shape, factors, halos(factors, method), strict=True)
    return tuple(
        slice(max(0, (r.start - h) // f), min(-(-n // f), -(-(r.stop + h) // f))) for r, n, f, h in rows
    )


def reduce_region(
    block: Pixels,
    block_region: Region,
    shape: Sequence[int],
    region: Region,
    factors: Sequence[int],
    method: Method,
    out: Pixels | None = None,
) -> Pixels:
    """Make a part of a level.

    Parameters
    ----------
    block : ndarray
        Pixels of the level above, at least those that :func:`needed` names.
    block_region : tuple of slice
        Where they lie in it.
    shape : sequence of int
        Its shape.
    region : tuple of slice
        The part to make.
    factors : sequence of int
        Factors of the step.
    method : str or callable
        How windows are reduced.
    out : ndarray, optional
        Where to put it.

    Returns
    -------
    ndarray
        ``out``, or a new array in native byte order.
    """
    wanted = needed(region, shape, factors, method)
    inner = tuple(
        slice(w.start - b.start, w.stop - b.start) for w, b in zip(wanted, block_region, strict=True)
    )
    pixels = block[inner]
    if not reduction(method).overlaps:
        return reduce_block(pixels, factors, method, out)
    check_method(method, block.dtype)
    if out is None:
        out = np.empty([r.stop - r.start for r in region], block.dtype.newbyteorder("="))
    lead = [r.start * f - w.start for r, f, w in zip(region, factors, wanted, strict=True)]
    reduce_gaussian(pixels, lead, factors, out)
    return out
