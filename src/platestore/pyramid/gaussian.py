"""Gaussian anti-aliasing: pixels of a level as weighted means around the middles of their windows.

The weights of one axis are those of a normal distribution around the middle of a window of ``f`` pixels. Its
width is the one for which the window's ends are at half the maximum once the width of a pixel itself is taken
off: ``sigma = sqrt((f**2 - 1) / (2 * sqrt(2 * ln 2))**2)`` pixels, 0.736 for 2 and 1.645 for 4. It is cut
off at four sigma.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from platestore.arrays.types import DType, Pixels
from platestore.pyramid.rounding import rounded
from platestore.pyramid.scratch import Scratch, scratch

_REACH = 4.0
_WORK_BYTES = 2**21
_ROW = 128
# Types whose values 32-bit floats hold exactly, or with as many digits.
_SINGLE = ("bool", "uint8", "int8", "uint16", "int16", "float16", "float32")


def sigma(factor: int) -> float:
    """Width of the distribution for a factor, in pixels of the finer level."""
    return math.sqrt((factor**2 - 1) / (8 * math.log(2)))


@lru_cache(maxsize=64)
def weights(factor: int) -> tuple[float, ...]:
    """Weights of the pixels around the middle of a window, which sum to 1: one half of them, outermost first.

    Parameters
    ----------
    factor : int
        Length of the window. For an odd one the middle pixel is the last entry; the others occur twice.
    """
    if factor == 1:
        return (1.0,)
    width = sigma(factor)
    first = 0.5 if factor % 2 == 0 else 0.0
    half = [first + k for k in range(math.floor(_REACH * width - first) + 1)]
    values = [math.exp(-(d**2) / (2 * width**2)) for d in half]
    total = math.fsum(v if d == 0 else 2 * v for d, v in zip(half, values, strict=True))
    return tuple(v / total for v in reversed(values))


def taps(factor: int) -> int:
    """How many pixels along an axis make one."""
    return 2 * len(weights(factor)) - factor % 2


def halo(factor: int) -> int:
    """How many pixels a window needs on either side of it."""
    return (taps(factor) - factor) // 2


def reduce_gaussian(block: Pixels, lead: Sequence[int], factors: Sequence[int], out: Pixels) -> None:
    """Reduce a block by whole factors with gaussian weights.

    What lies beyond the block counts as the pixel at its edge. Every pixel is summed in one order, in floats
    of 32 bits (64 for integers and floats of 32 bits and more), and rounded half to even: the same pixels
    give the same result in whichever block.

    Parameters
    ----------
    block : ndarray
        Pixels, with those around the windows as far as there are some.
    lead : sequence of int
        How many pixels lie before the first window along each axis.
    factors : sequence of int
        One factor of at least 1 per axis.
    out : ndarray
        Where to put the result.
    """
    work_type = np.dtype(np.float32 if block.dtype.name in _SINGLE else np.float64)
    steps = _piece(out.shape, tuple(factors), work_type.itemsize)
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        for region in itertools.product(*map(_cuts, out.shape, steps)):
            _reduce(block, lead, factors, region, out[region], work_type)


def _cuts(length: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


@lru_cache(maxsize=256)
def _piece(shape: tuple[int, ...], factors: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Shape of a piece of the result: it stays in a processor's cache, and shares little with others."""
    steps = [1] * len(shape)
    steps[-1] = min(shape[-1], _ROW)
    growing = [i for i, n in enumerate(shape[:-1]) if n > 1]
    while growing:
        # Where neighbours overlap most, longer pieces save most.
        i = max(growing, key=lambda i: (halo(factors[i]) / (factors[i] * steps[i]), i))
        tried = [*steps[:i], min(shape[i], 2 * steps[i]), *steps[i + 1 :]]
        read = [n * f + 2 * halo(f) for n, f in zip(tried, factors, strict=True)]
        if _nbytes(read, factors, itemsize) > _WORK_BYTES:
            growing.remove(i)
            continue
        steps = tried
        if steps[i] == shape[i]:
            growing.remove(i)
    return tuple(steps)


def _reduce(
    block: Pixels,
    lead: Sequence[int],
    factors: Sequence[int],
    region: tuple[slice, ...],
    out: Pixels,
    work_type: DType,
) -> None:
    """One piece of the result: axis after axis, the slowest first, since what it leaves is contiguous."""
    wanted = [
        (r.start * f + n - halo(f), r.stop * f + n + halo(f))
        for r, n, f in zip(region, lead, factors, strict=True)
    ]
    inner = tuple(slice(max(0, a), min(b, n)) for (a, b), n in zip(wanted, block.shape, strict=True))
    piece = block[inner]
    shape = [b - a for a, b in wanted]
    with scratch(_nbytes(shape, factors, work_type.itemsize)) as work:
        pixels = work.take(tuple(shape), work_type)
        place = tuple(slice(i.start - a, i.stop - a) for i, (a, _) in zip(inner, wanted, strict=True))
        np.copyto(pixels[place], piece, casting="unsafe")
        _extend(pixels, place)
        for axis, factor in enumerate(factors):
            if factor > 1:
                pixels = _along(pixels, axis, factor, work)
        _store(pixels, out)


def _nbytes(shape: Sequence[int], factors: Sequence[int], itemsize: int) -> int:
    """Bytes of all temporaries of a piece."""
    total, current = math.prod(shape), list(shape)
    for axis, factor in enumerate(factors):
        if factor > 1:
            current[axis] = (current[axis] - 2 * halo(factor)) // factor
            total += 2 * math.prod(current)
    return total * itemsize


def _extend(pixels: Pixels, place: tuple[slice, ...]) -> None:
    """Repeat the pixels at the edges outwards."""
    for axis, part in enumerate(place):
        before = (slice(None),) * axis
        if part.start > 0:
            pixels[(*before, slice(0, part.start))] = pixels[(*before, slice(part.start, part.start + 1))]
        if part.stop < pixels.shape[axis]:
            pixels[(*before, slice(part.stop, None))] = pixels[(*before, slice(part.stop - 1, part.stop))]


def _along(pixels: Pixels, axis: int, factor: int, work: Scratch) -> Pixels:
    """Reduce one axis: pairs at the same distance are added, weighted and summed, outermost first."""
    half, count = weights(factor), taps(factor)
    length = (pixels.shape[axis] - 2 * halo(factor)) // factor
    shape = (*pixels.shape[:axis], length, *pixels.shape[axis + 1 :])
    total, pair = work.take(shape, pixels.dtype), work.take(shape, pixels.dtype)
    before = (slice(None),) * axis

    def tap(k: int) -> Pixels:
        return pixels[(*before, slice(k, k + (length - 1) * factor + 1, factor))]

    for k, weight in enumerate(half):
        target = pair if k else total
        if k == count - 1 - k:
            np.multiply(tap(k), pixels.dtype.type(weight), out=target)
        else:
            np.add(tap(k), tap(count - 1 - k), out=target)
            np.multiply(target, pixels.dtype.type(weight), out=target)
        if k:
            np.add(total, pair, out=total)
    return total


def _store(pixels: Pixels, out: Pixels) -> None:
    """Round to the type of the result."""
    if out.dtype.kind in "iu" and out.dtype.itemsize < 8:
        info = np.iinfo(out.dtype)
        np.rint(pixels, out=pixels)
        np.clip(pixels, info.min, info.max, out=pixels)
        np.copyto(out, pixels, casting="unsafe")
    else:
        np.copyto(out, rounded(pixels, out.dtype.newbyteorder("=")))
