"""Working memory of the reductions: small, reused, and one per thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product

import numpy as np
from numpy.typing import DTypeLike, NDArray

from platestore.arrays.types import Pixels

#: Most bytes of working memory that one reduction takes, and that each thread that ever ran one keeps for the
#: next; it is what a caller adds to its account per thread. Only a window that is itself larger takes more,
#: and gives it back.
SCRATCH_BYTES = 6 * 2**20

#: Temporaries start on cache lines of their own, for which every buffer has room to spare.
_LINE = 64
_SLACK = 64 * 2 * _LINE

_local = threading.local()


class Scratch:
    """Temporaries that are cut from one buffer.

    Parameters
    ----------
    buffer : ndarray of uint8
        The memory to cut from.
    """

    def __init__(self, buffer: NDArray[np.uint8]) -> None:
        self._buffer = buffer
        self._base = -buffer.ctypes.data % _LINE
        self._used = self._base

    @property
    def free(self) -> int:
        """Bytes that are left, apart from what alignment takes."""
        return max(0, self._buffer.size - self._used - _SLACK)

    def mark(self) -> int:
        """Return what to give to `rewind` later."""
        return self._used

    def rewind(self, mark: int) -> None:
        """Give back every temporary taken since `mark` was called."""
        self._used = mark

    def take(self, shape: tuple[int, ...], dtype: DTypeLike) -> Pixels:
        """Return a new C-contiguous temporary, its values undefined.

        Parameters
        ----------
        shape : tuple of int
            Its shape.
        dtype : dtype
            Its type.

        Returns
        -------
        ndarray
            A part of the buffer, on a cache line of its own.
        """
        array: Pixels = np.ndarray(shape, dtype, self._buffer, self._used)
        self._used += array.nbytes + -array.nbytes % _LINE + _LINE
        return array


@contextmanager
def scratch(nbytes: int) -> Iterator[Scratch]:
    """Working memory for some dozens of temporaries of together `nbytes` bytes at a time.

    Parameters
    ----------
    nbytes : int
        Bytes of all temporaries that exist at once.

    Yields
    ------
    Scratch
        This thread's own memory; a use inside another use gets memory of its own.
    """
    nbytes += _SLACK + _LINE
    buffer: NDArray[np.uint8] | None = getattr(_local, "buffer", None)
    _local.buffer = None
    if buffer is None or buffer.size < nbytes:
        buffer = None
        buffer = np.empty(nbytes, np.uint8)
    try:
        yield Scratch(buffer)
    finally:
        if buffer.size <= SCRATCH_BYTES:
            _local.buffer = buffer


def boxes(shape: tuple[int, ...], most: int) -> Iterator[tuple[slice, ...]]:
    """Cut a shape into boxes with long runs along the last axes.

    Parameters
    ----------
    shape : tuple of int
        The shape.
    most : int
        Most elements of a box.

    Returns
    -------
    iterator of tuple of slice
        Boxes of about the same size, which cover the shape in the order of memory.
    """
    steps = []
    for n in reversed(shape):
        step = min(n, max(1, most))
        steps.append(step)
        most //= step
    ranges = []
    for n, step in zip(shape, reversed(steps), strict=True):
        # Equal cuts: a last one that is a sliver costs as many calls as the others.
        even = -(-n // -(-n // step))
        ranges.append([slice(start, min(start + even, n)) for start in range(0, n, even)])
    return product(*ranges)


def offsets(factors: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Slices that each take one pixel of every window, in the order of the pixels in memory.

    Parameters
    ----------
    factors : tuple of int
        One per axis.

    Yields
    ------
    tuple of slice
        One index per pixel of a window.
    """
    for starts in product(*map(range, factors)):
        yield tuple(slice(start, None, f) for start, f in zip(starts, factors, strict=True))


def settle(values: Pixels) -> None:
    """Make one zero and one NaN of the several, in place: which comparisons return is up to the processor.

    Parameters
    ----------
    values : ndarray of float
        What comparisons returned.
    """
    np.add(values, values.dtype.type(0), out=values)
    missing = np.isnan(values)
    if missing.any():
        np.copyto(values, np.nan, where=missing)
