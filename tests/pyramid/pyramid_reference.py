"""What a pyramid's pixels should be, worked out pixel by pixel in exact arithmetic."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import product

import numpy as np


def reduced_shape(shape: Sequence[int], factors: Sequence[int]) -> tuple[int, ...]:
    """The shape after one step."""
    return tuple(math.ceil(n / f) for n, f in zip(shape, factors, strict=True))


def windows(block: np.ndarray, factors: Sequence[int]) -> Iterator[tuple[tuple[int, ...], list]]:
    """Each place of the result, with the pixels of its window as Python values, the far edge replicated."""
    for place in product(*map(range, reduced_shape(block.shape, factors))):
        spans = [range(p * f, p * f + f) for p, f in zip(place, factors, strict=True)]
        yield (
            place,
            [
                block[tuple(min(i, n - 1) for i, n in zip(index, block.shape, strict=True))].item()
                for index in product(*spans)
            ],
        )


def exact_mean(pixels: list) -> Fraction | float:
    """The mean, without any rounding where it is finite."""
    special = [x for x in pixels if isinstance(x, float) and not math.isfinite(x)]
    return sum(special) if special else sum(map(Fraction, pixels)) / len(pixels)


def reduce_window(pixels: list, method: str) -> int | float:
    """One window to one value; a mean of floats is rounded once."""
    if method == "stride":
        return pixels[0]
    if any(x != x for x in pixels):
        return math.nan
    if method == "mean":
        mean = exact_mean(pixels)
        return round(mean) if isinstance(pixels[0], int) else float(mean)
    if method == "median":
        return sorted(pixels)[(len(pixels) - 1) // 2]
    if method == "mode":
        counts = Counter(pixels)
        most = max(counts.values())
        return min(value for value, count in counts.items() if count == most)
    return min(pixels) if method == "min" else max(pixels)


def reduce_reference(block: np.ndarray, factors: Sequence[int], method: str) -> np.ndarray:
    """One step of a pyramid: same dtype, in native byte order."""
    out = np.empty(reduced_shape(block.shape, factors), block.dtype.newbyteorder("="))
    for place, pixels in windows(block, factors):
        out[place] = reduce_window(pixels, method)
    return out
