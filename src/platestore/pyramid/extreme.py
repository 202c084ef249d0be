"""The smallest and the largest value of windows."""

from __future__ import annotations

import numpy as np

from platestore.arrays.types import DType, Pixels
from platestore.pyramid.scratch import Scratch, offsets, settle


class Extreme:
    """The smallest or largest value of each window.

    Parameters
    ----------
    dtype : dtype
        A native integer or float type.
    factors : tuple of int
        One per axis.
    largest : bool
        Whether it is the largest.
    """

    work_bytes = 2**20
    fixed_cost = 0

    def __init__(self, dtype: DType, factors: tuple[int, ...], *, largest: bool) -> None:
        self._better = np.maximum if largest else np.minimum
        self._dtype = dtype
        self._rows = (*factors[:-1], 1)
        self._along = factors[-1]
        self.cost: float = dtype.itemsize * (self._along + 1)
        self.full_cost: float = self.cost

    def wants_copy(self, piece: Pixels) -> bool:
        """Whether every comparison would otherwise swap bytes."""
        return not piece.dtype.isnative

    def run(self, piece: Pixels, out: Pixels, work: Scratch) -> None:
        """Reduce a piece of complete windows into `out`."""
        places = offsets(self._rows)
        rows = piece[next(places)]
        best: Pixels | None = None
        for offset in places:
            if best is None:
                best = work.take(rows.shape, self._dtype)
            self._better(rows, piece[offset], out=best)
            rows = best
        result = rows
        if self._along > 1:
            result = work.take(out.shape, self._dtype)
            self._better(rows[..., :: self._along], rows[..., 1 :: self._along], out=result)
            for start in range(2, self._along):
                self._better(result, rows[..., start :: self._along], out=result)
        # Of windows of one pixel the result is the block itself, which stays as it is.
        np.copyto(out, result)
        if self._dtype.kind == "f":
            settle(out)
