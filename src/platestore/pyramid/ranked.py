"""The median and the mode of windows: pixels of a window laid in planes, sorted side by side."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from platestore.pyramid.scratch import Scratch, offsets, settle

#: Windows of up to this many pixels are sorted all at once by exchanges between whole planes, larger ones one
#: by one.
_NETWORK_LIMIT = 64

#: The special cases of a piece are worked out apart from the rest where they are at most one in this many.
_RARE = 4

#: Most pieces to pass without looking for windows of one value, after a piece had few of them.
_LONGEST_PAUSE = 15


class Ranked:
    """The lower middle value of each window, or its most frequent one.

    Windows of one value (the inside of a label, the ground between them) are told apart first and cost next
    to nothing. For the mode, windows of two values and those in which all differ are told apart too.

    Parameters
    ----------
    dtype : dtype
        A native integer or float type.
    factors : tuple of int
        One per axis.
    mode : bool
        Whether it is the most frequent value; of several the smallest.
    """

    work_bytes = 3 * 2**20

    def __init__(self, dtype: np.dtype[Any], factors: tuple[int, ...], *, mode: bool) -> None:
        self._size = size = math.prod(factors)
        self._mode = mode
        self._factors = factors
        self._rank = (size - 1) // 2
        self._bits = np.dtype(f"u{dtype.itemsize}")
        if dtype == np.float16:
            dtype = np.dtype(np.float32)
        elif mode and size >= 2 ** (8 * dtype.itemsize):
            # Lengths of runs are counted in integers as wide as the pixels.
            dtype = np.dtype(f"{dtype.kind}4")
        self._dtype = dtype
        self._pause = self._next_pause = 0
        self.count = size + 8
        # Planes, flags and counts, and the places of one pixel in _RARE; or the flags of all comparisons.
        planes = dtype.itemsize * (size + 5) + (4 if size < 256 else 7) + 2 * 8 / _RARE
        flags = sum(2 * math.prod(factors[axis + 1 :]) for axis, f in enumerate(factors) if f > 1)
        self.cost: float = max(planes, dtype.itemsize + 1 + flags)

    def wants_copy(self, piece: NDArray[Any]) -> bool:
        """Whether single pixels cannot be picked by their distance in memory."""
        return not piece.dtype.isnative or any(s < 0 or s % piece.itemsize for s in piece.strides)

    def run(self, piece: NDArray[Any], out: NDArray[Any], work: Scratch) -> None:
        """Reduce a piece of complete windows into `out`."""
        mixed = work.take(out.shape, np.bool_)
        if not self._find_mixed(piece, mixed, work):
            planes = work.take((*self._factors, *out.shape), self._dtype)
            steps = (stride * f for stride, f in zip(piece.strides, self._factors, strict=True))
            self._copy(planes, as_strided(piece, planes.shape, (*piece.strides, *steps), writeable=False))
            result = self._reduce(planes.reshape(self._size, -1), work).reshape(out.shape)
        else:
            plain = self._dtype.kind != "f" and self._dtype == out.dtype
            result = out if plain else work.take(out.shape, self._dtype)
            self._copy(result, piece[tuple(slice(None, None, f) for f in self._factors)])
            places = np.flatnonzero(mixed)
            if places.size:
                planes = work.take((self._size, places.size), self._dtype)
                self._gather(piece, places, out.shape, planes)
                result[mixed] = self._reduce(planes, work)
        if self._dtype.kind == "f":
            settle(result)
        if result is not out:
            np.copyto(out, result, casting="unsafe")

    def _gather(
        self, piece: NDArray[Any], places: NDArray[np.intp], shape: tuple[int, ...], planes: NDArray[Any]
    ) -> None:
        """Copy the pixels of windows at flat places of the result apart."""
        steps = [stride // piece.itemsize for stride in piece.strides]
        span = 1 + sum((n - 1) * step for n, step in zip(piece.shape, steps, strict=True))
        memory = as_strided(piece, (span,), (piece.itemsize,), writeable=False)
        corners = _corners(places, shape, [f * s for f, s in zip(self._factors, steps, strict=True)])
        same = piece.dtype == self._dtype and not (self._mode and self._dtype.kind == "f")
        for plane, offset in zip(planes, offsets(self._factors), strict=True):
            start = sum(part.start * step for part, step in zip(offset, steps, strict=True))
            if same:
                np.take(memory[start:], corners, out=plane, mode="clip")
            else:
                self._copy(plane, memory[start:][corners])

    def _copy(self, plane: NDArray[Any], pixels: NDArray[Any]) -> None:
        """Copy the pixels at one offset apart."""
        if self._mode and self._dtype.kind == "f":
            # Adding zero makes one zero of the two.
            np.add(pixels, self._dtype.type(0), out=plane)
        else:
            np.copyto(plane, pixels)

    def _find_mixed(self, piece: NDArray[Any], mixed: NDArray[np.bool_], work: Scratch) -> bool:
        """Flag windows of several values in `mixed`; returns whether that was done, and they are few."""
        if self._size > _NETWORK_LIMIT:
            return False
        if self._pause:
            self._pause -= 1
            return False
        start = work.mark()
        np.copyto(mixed, self._compare(piece.view(self._bits), work))
        work.rewind(start)
        if _few(mixed):
            self._next_pause = 0
            return True
        # The picture seems to be of another kind; look again later, less and less often.
        self._pause = self._next_pause = min(2 * self._next_pause + 1, _LONGEST_PAUSE)
        return False

    def _compare(self, pixels: NDArray[Any], work: Scratch) -> NDArray[np.bool_]:
        """Say which windows hold several values: axis by axis, all pixels against the first."""
        mixed: NDArray[np.bool_] | None = None
        for axis, factor in enumerate(self._factors):
            if factor == 1:
                continue
            before = (slice(None),) * axis
            first = pixels[(*before, slice(None, None, factor))]
            found = work.take(first.shape, np.bool_)
            other = work.take(first.shape, np.bool_)
            for start in range(1, factor):
                target = found if start == 1 else other
                np.not_equal(first, pixels[(*before, slice(start, None, factor))], out=target)
                if start > 1:
                    np.logical_or(found, other, out=found)
            if mixed is not None and factor == 2 and axis == len(self._factors) - 1:
                np.not_equal(mixed.view(np.uint16), np.uint16(0), out=other)
                np.logical_or(found, other, out=found)
            elif mixed is not None:
                for start in range(factor):
                    np.logical_or(found, mixed[(*before, slice(start, None, factor))], out=found)
            mixed, pixels = found, first
        if mixed is None:
            mixed = work.take(pixels.shape, np.bool_)
            mixed[...] = False
        return mixed

    def _reduce(self, planes: NDArray[Any], work: Scratch) -> NDArray[Any]:
        """Reduce columns of planes of shape (window, n) to one value each; uses up the planes."""
        if self._size <= _NETWORK_LIMIT:
            ranks = list(planes)
            spare = work.take(ranks[0].shape, self._dtype)
            spare = _sort(ranks, spare, network(self._size, None if self._mode else self._rank))
        else:
            planes.sort(axis=0)
            if self._dtype.kind == "f":
                # Sorting puts NaN last; here it takes its whole window.
                np.copyto(planes, np.nan, where=np.isnan(planes[-1]))
            ranks = list(planes)
            spare = work.take(ranks[0].shape, self._dtype)
        return self._most_frequent(ranks, spare, work) if self._mode else ranks[self._rank]

    def _most_frequent(self, ranks: list[NDArray[Any]], result: NDArray[Any], work: Scratch) -> NDArray[Any]:
        """Return the mode of columns of sorted planes in `result`; uses up the planes."""
        shape = result.shape
        count = np.dtype(np.uint8 if self._size < 256 else np.uint32)
        changes, mask = work.take(shape, count), work.take(shape, np.bool_)
        changes[...] = 0
        for before, after in pairwise(ranks):
            np.not_equal(before, after, out=mask)
            np.add(changes, mask.view(np.uint8), out=changes)
        # Of two values the lower median is the more frequent one; where all differ, the smallest is the mode.
        np.copyto(result, ranks[self._rank])
        np.equal(changes, count.type(self._size - 1), out=mask)
        np.copyto(result, ranks[0], where=mask)
        # Wraps around below two, to the largest numbers.
        np.subtract(changes, count.type(2), out=changes)
        np.less(changes, count.type(max(self._size - 3, 0)), out=mask)
        if not _few(mask):
            np.copyto(result, ranks[0])
            self._longest_run(ranks, result, work)
            return result
        places = np.flatnonzero(mask)
        if places.size:
            start = work.mark()
            whole = work.take(shape, self._dtype)
            for number, plane in enumerate(ranks):
                np.copyto(whole, plane)
                ranks[number] = plane[: places.size]
                np.take(whole, places, out=ranks[number], mode="clip")
            work.rewind(start)
            part = work.take(places.shape, self._dtype)
            np.copyto(part, ranks[0])
            self._longest_run(ranks, part, work)
            result[places] = part
        return result

    def _longest_run(self, ranks: list[NDArray[Any]], winner: NDArray[Any], work: Scratch) -> None:
        """Put the first of the longest runs of each column in `winner`, which holds its smallest value.

        Uses up the sorted planes.
        """
        bits = np.dtype(f"u{self._dtype.itemsize}")
        one = bits.type(1)
        winner = winner.view(bits)
        length, longest, step = (work.take(winner.shape, bits) for _ in range(3))
        same = work.take(winner.shape, np.bool_)
        for number, (before, word) in enumerate(pairwise([plane.view(bits) for plane in ranks])):
            # No branches and the same time for any picture: words of ones where a value goes on, and where
            # its run outgrows all before it.
            np.equal(word, before, out=same)
            np.copyto(step, same)
            if number == 0:
                np.add(step, one, out=length)
                np.copyto(longest, length)
                continue
            np.negative(step, out=step)
            np.bitwise_and(length, step, out=length)
            np.add(length, one, out=length)
            np.maximum(longest, length, out=step)
            np.subtract(longest, step, out=longest)
            np.bitwise_xor(winner, word, out=before)
            np.bitwise_and(before, longest, out=before)
            np.bitwise_xor(winner, before, out=winner)
            longest, step = step, longest


def _corners(places: NDArray[np.intp], shape: tuple[int, ...], steps: list[int]) -> NDArray[np.intp]:
    """Turn flat places in an array of some shape into distances in memory, given the step of each axis."""
    corners = places * steps[-1]
    inner = 1
    for axis in range(len(shape) - 2, -1, -1):
        inner *= shape[axis + 1]
        step = steps[axis] - shape[axis + 1] * steps[axis + 1]
        if step and math.prod(shape[: axis + 1]) > 1:
            corners += places // inner * step
    return corners


def _few(flags: NDArray[np.bool_]) -> bool:
    """Whether at most one flag in `_RARE` is set."""
    return int(np.count_nonzero(flags)) * _RARE <= flags.size


def _sort(
    planes: list[NDArray[Any]], spare: NDArray[Any], exchanges: tuple[tuple[int, int, bool, bool], ...]
) -> NDArray[Any]:
    """Run a sorting network over planes, whose list it leaves in order; returns the plane left over."""
    for low, high, keep_low, keep_high in exchanges:
        first, second = planes[low], planes[high]
        if keep_low and keep_high:
            np.minimum(first, second, out=spare)
            np.maximum(first, second, out=second)
            planes[low], spare = spare, first
        elif keep_low:
            np.minimum(first, second, out=first)
        else:
            np.maximum(first, second, out=second)
    return spare


@lru_cache(maxsize=256)
def network(size: int, rank: int | None) -> tuple[tuple[int, int, bool, bool], ...]:
    """Exchanges that sort values, or as few of them as bring one to its place (Batcher's merge exchange).

    Parameters
    ----------
    size : int
        Number of values.
    rank : int or None
        The place that matters, from 0; None for all.

    Returns
    -------
    tuple of (int, int, bool, bool)
        In order: two places, the smaller value goes to the first; and which of the two are of use later.
    """
    pairs: list[tuple[int, int]] = []
    top = 1 << max(0, (size - 1).bit_length() - 1)
    p = top if size > 1 else 0
    while p:
        q, r, d = top, 0, p
        while True:
            pairs += [(i, i + d) for i in range(size - d) if i & p == r]
            if q == p:
                break
            d, q, r = q - p, q >> 1, p
        p >>= 1
    needed = set(range(size)) if rank is None else {rank}
    exchanges = []
    for low, high in reversed(pairs):
        if low in needed or high in needed:
            exchanges.append((low, high, low in needed, high in needed))
            needed |= {low, high}
    return tuple(reversed(exchanges))
