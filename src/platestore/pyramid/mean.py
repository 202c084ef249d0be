"""Means of windows: exact for integers, in double precision for floats."""

from __future__ import annotations

import math

import numpy as np

from platestore.arrays.types import DType, Pixels
from platestore.pyramid.scratch import Scratch, offsets

# Larger windows are summed row by row, as there is no room for all their pairs.
_MOST_PAIRED = 2**12


class IntegerMean:
    """The mean of integers, rounded half to even.

    Parameters
    ----------
    dtype : dtype
        A native integer type.
    factors : tuple of int
        One per axis, together a window of at most 2**24 pixels.
    """

    fixed_cost = 0

    def __init__(self, dtype: DType, factors: tuple[int, ...]) -> None:
        self._size = size = math.prod(factors)
        self._signed = dtype.kind == "i"
        self._wide = dtype.itemsize == 8
        # A sum, and what is added to it to round, needs the bits of a pixel and those of the window's size.
        bits = 8 * dtype.itemsize + (size - 1).bit_length()
        width = next((w for w in (16, 32, 64) if bits <= w), 64)
        self._sum = np.dtype(f"{dtype.kind}{width // 8}")
        # Two neighbours in one machine word are split and added at once, without casts or strides.
        fits = size <= _MOST_PAIRED and factors[-1] % 2 == 0
        self._paired = fits and self._sum.itemsize == 2 * dtype.itemsize
        if self._paired:
            factors = (*factors[:-1], factors[-1] // 2)
        self._rows = (*factors[:-1], 1)
        self._along = factors[-1]
        whole = size & (size - 1) == 0
        # Sums of pairs are made of a whole piece at once, as long loops are the fast ones.
        sums = math.prod(self._rows) * self._along if self._paired else self._along
        planes = 4 if self._wide else 2 * sums + (0 if self._along == 1 else 2) + (0 if whole else 1)
        self.work_bytes = (6 if self._paired else 3) * 2**18
        self.cost: float = self._sum.itemsize * planes
        self.full_cost: float = self.cost

    def wants_copy(self, piece: Pixels) -> bool:
        """Whether pairs of neighbours cannot be seen as words where they are."""
        if not piece.dtype.isnative:
            return True
        return self._paired and (
            piece.strides[-1] != piece.itemsize
            or piece.ctypes.data % self._sum.itemsize != 0
            or any(
                n > 1 and s % self._sum.itemsize
                for n, s in zip(piece.shape, piece.strides[:-1], strict=False)
            )
        )

    def run(self, piece: Pixels, out: Pixels, work: Scratch) -> None:
        """Reduce a piece of complete windows into `out`."""
        if self._wide:
            self._divided(piece, out, work)
            return
        if self._paired:
            total, other = self._sum_pairs(piece.view(self._sum), work)
        else:
            shape = (*out.shape[:-1], out.shape[-1] * self._along)
            total = work.take(shape, self._sum)
            other = work.take(shape, self._sum)
            for number, offset in enumerate(offsets(self._rows)):
                if number:
                    np.add(total, piece[offset], out=total)
                else:
                    np.copyto(total, piece[offset])
        if self._along > 1:
            across = work.take(out.shape, self._sum)
            np.add(total[..., :: self._along], total[..., 1 :: self._along], out=across)
            for start in range(2, self._along):
                np.add(across, total[..., start :: self._along], out=across)
            total, other = across, work.take(out.shape, self._sum)
        self._round(total, other, work)
        np.copyto(out, total, casting="unsafe")

    def _sum_pairs(self, words: Pixels, work: Scratch) -> tuple[Pixels, Pixels]:
        """Add both halves of all words, then the rows of each window, axis by axis, the slowest first.

        Returns the sums, and memory of the same shape.
        """
        half = self._sum.type(4 * self._sum.itemsize)
        total, other = work.take(words.shape, self._sum), work.take(words.shape, self._sum)
        if self._signed:
            np.left_shift(words, half, out=total)
            np.right_shift(total, half, out=total)
        else:
            np.bitwise_and(words, self._sum.type(2 ** int(half) - 1), out=total)
        np.right_shift(words, half, out=other)
        np.add(total, other, out=total)
        for axis, factor in enumerate(self._rows):
            if factor == 1:
                continue
            shape = (*total.shape[:axis], total.shape[axis] // factor, *total.shape[axis + 1 :])
            rows = [total[(*(slice(None),) * axis, slice(k, None, factor))] for k in range(factor)]
            target = other.reshape(-1)[: math.prod(shape)].reshape(shape)
            np.add(rows[0], rows[1], out=target)
            for row in rows[2:]:
                np.add(target, row, out=target)
            total, other = target, total
        return total, other.reshape(-1)[: total.size].reshape(total.shape)

    def _round(self, total: Pixels, other: Pixels, work: Scratch) -> None:
        """Divide sums by the size of the window, half to even, in place."""
        number = self._sum.type
        if self._size & (self._size - 1) == 0:
            power = self._size.bit_length() - 1
            if power:
                np.right_shift(total, number(power), out=other)
                np.bitwise_and(other, number(1), out=other)
                np.add(total, other, out=total)
                if power > 1:
                    np.add(total, number(self._size // 2 - 1), out=total)
                np.right_shift(total, number(power), out=total)
            return
        rest = work.take(total.shape, self._sum)
        np.floor_divide(total, number(self._size), out=other)
        np.multiply(other, number(self._size), out=rest)
        np.subtract(total, rest, out=rest)
        self._carry(other, rest, total)
        np.copyto(total, other)

    def _carry(self, quotient: Pixels, rest: Pixels, other: Pixels) -> None:
        """Add 1 to quotients whose rest is more than half the window, or half of it if they are odd."""
        number = self._sum.type
        # Twice the rest, and one more for odd quotients, is larger than the size in just those cases.
        np.bitwise_and(quotient, number(1), out=other)
        np.add(rest, other, out=other)
        np.add(other, rest, out=other)
        np.floor_divide(other, number(self._size + 1), out=other)
        np.add(quotient, other, out=quotient)

    def _divided(self, piece: Pixels, out: Pixels, work: Scratch) -> None:
        """Sum quotients and rests apart, for sums that fit no integer."""
        number = self._sum.type
        quotient, rest, one, two = (work.take(out.shape, self._sum) for _ in range(4))
        size = number(self._size)
        quotient[...] = 0
        rest[...] = 0
        for outer in offsets(self._rows):
            for start in range(self._along):
                pixels = piece[(*outer[:-1], slice(start, None, self._along))]
                # What wraps around in between wraps back: the end fits.
                np.floor_divide(pixels, size, out=one)
                np.add(quotient, one, out=quotient)
                np.multiply(one, size, out=one)
                np.subtract(pixels, one, out=one)
                np.add(rest, one, out=rest)
        np.floor_divide(rest, size, out=one)
        np.add(quotient, one, out=quotient)
        np.multiply(one, size, out=one)
        np.subtract(rest, one, out=rest)
        self._carry(quotient, rest, two)
        np.copyto(out, quotient)


class FloatMean:
    """The mean of floats, summed in double precision in one order, whatever the shape of the block.

    Parameters
    ----------
    dtype : dtype
        A native float type.
    factors : tuple of int
        One per axis.
    """

    work_bytes = 3 * 2**18
    fixed_cost = 0

    def __init__(self, dtype: DType, factors: tuple[int, ...]) -> None:
        self._size = math.prod(factors)
        self._double = dtype.itemsize == 8
        self._rows = (*factors[:-1], 1)
        self._along = factors[-1]
        self.cost: float = 8 * (2 * self._along + 2)
        self.full_cost: float = self.cost

    def wants_copy(self, piece: Pixels) -> bool:
        """Whether every addition would otherwise swap bytes."""
        return not piece.dtype.isnative

    def run(self, piece: Pixels, out: Pixels, work: Scratch) -> None:
        """Reduce a piece of complete windows into `out`."""
        with np.errstate(all="ignore"):
            rows = work.take((*out.shape[:-1], out.shape[-1] * self._along), np.float64)
            other = work.take(rows.shape, np.float64)
            mean = work.take(out.shape, np.float64) if self._along > 1 else rows
            self._sum(piece, rows, other, mean)
            np.divide(mean, float(self._size), out=mean)
            finite = np.isfinite(mean)
            if not finite.all():
                if self._double:
                    self._without_overflow(piece, rows, other, mean, work)
                # One NaN of the many: which one comes out of a sum is up to the processor.
                np.copyto(mean, np.nan, where=np.isnan(mean))
            np.copyto(out, mean, casting="unsafe")

    def _sum(
        self,
        piece: Pixels,
        rows: Pixels,
        other: Pixels,
        total: Pixels,
        divisor: float = 1.0,
    ) -> None:
        """Sum each window into `total`: its rows pixel by pixel, then along."""
        for number, offset in enumerate(offsets(self._rows)):
            target = other if number else rows
            if divisor == 1.0:
                np.copyto(target, piece[offset])
            else:
                np.divide(piece[offset], divisor, out=target)
            if number:
                np.add(rows, other, out=rows)
        if self._along > 1:
            np.add(rows[..., :: self._along], rows[..., 1 :: self._along], out=total)
            for start in range(2, self._along):
                np.add(total, rows[..., start :: self._along], out=total)

    def _without_overflow(
        self,
        piece: Pixels,
        rows: Pixels,
        other: Pixels,
        mean: Pixels,
        work: Scratch,
    ) -> None:
        """Make means that are not finite again, from values divided beforehand."""
        broken = ~np.isfinite(mean)
        again = work.take(mean.shape, np.float64)
        # Halved besides, and held to the type's range: roundings of the largest values can add up.
        if self._along == 1:  # the rows are the means, which the sum would take the place of
            kept = work.take(mean.shape, np.float64)
            np.copyto(kept, mean)
            self._sum(piece, rows, other, rows, 2.0 * self._size)
            np.copyto(again, rows)
            np.copyto(mean, kept)
        else:
            self._sum(piece, rows, other, again, 2.0 * self._size)
        half = np.finfo(np.float64).max / 2
        np.clip(again, -half, half, out=again, where=np.isfinite(again))
        np.multiply(again, 2.0, out=again)
        np.copyto(mean, again, where=broken)
