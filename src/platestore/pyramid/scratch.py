"""Working memory of the reductions: small, reused, and one per thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

#: Most bytes of working memory that one reduction takes, and that each thread that ever ran one keeps for the
#: next; it is what a caller adds to its account per thread. Only a window that is itself larger takes more,
#: and gives it back.
SCRATCH_BYTES = 4 * 2**20

#: Temporaries start on cache lines of their own.
_LINE = 64

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

    def mark(self) -> int:
        """Return what to give to `rewind` later."""
        return self._used

    def rewind(self, mark: int) -> None:
        """Give back every temporary taken since `mark` was called."""
        self._used = mark

    def take(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
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
        array: NDArray[Any] = np.ndarray(shape, dtype, self._buffer, self._used)
        self._used += array.nbytes + -array.nbytes % _LINE + _LINE
        return array


@contextmanager
def scratch(nbytes: int, count: int) -> Iterator[Scratch]:
    """Working memory for `count` temporaries of together `nbytes` bytes at a time.

    Parameters
    ----------
    nbytes : int
        Bytes of all temporaries that exist at once.
    count : int
        How many they are.

    Yields
    ------
    Scratch
        This thread's own memory; a use inside another use gets memory of its own.
    """
    nbytes += (2 * count + 1) * _LINE
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


def settle(values: NDArray[Any]) -> None:
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
