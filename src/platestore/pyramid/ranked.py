"""The median and the mode of windows: pixels of a window laid in planes, sorted side by side."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from platestore.arrays.types import DType, Pixels
from platestore.pyramid.scratch import Scratch, boxes, offsets, settle
from platestore.pyramid.sorting import longest_run, sort_groups, sort_planes

#: Windows of up to this many pixels are sorted all at once by exchanges between whole planes, larger ones one
#: by one.
_NETWORK_LIMIT = 64

#: Planes of up to this many bytes together are sorted by fewer and longer operations, which take as much
#: memory again: short ones keep threads waiting for the interpreter.
_SMALL = 2**18

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

    #: Fewer and longer operations keep two threads from waiting for the interpreter.
    work_bytes = 17 * 2**18
    fixed_cost = _SMALL

    def __init__(self, dtype: DType, factors: tuple[int, ...], *, mode: bool) -> None:
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
        # Planes, a few more and flags; of all windows, or of one in _RARE and the places of those.
        spare = max(5, 2 + (size + 4) / _RARE)
        self.full_cost: float = dtype.itemsize * (size + spare) + (4 if size < 256 else 7)
        flags = sum(2 * math.prod(factors[axis + 1 :]) for axis, f in enumerate(factors) if f > 1)
        few = dtype.itemsize + (self.full_cost + 16) / _RARE
        self.cost: float = self.full_cost if size > _NETWORK_LIMIT else 1 + max(flags, few)

    def wants_copy(self, piece: Pixels) -> bool:
        """Whether single pixels cannot be picked by their distance in memory."""
        return not piece.dtype.isnative or any(s < 0 or s % piece.itemsize for s in piece.strides)

    def run(self, piece: Pixels, out: Pixels, work: Scratch) -> None:
        """Reduce a piece of complete windows into `out`."""
        start = work.mark()
        mixed = work.take(out.shape, np.bool_)
        if self._find_mixed(piece, mixed, work):
            self._run_few(piece, mixed, out, work)
            return
        work.rewind(start)
        for region in boxes(out.shape, max(1, int((work.free - _SMALL) / self.full_cost))):
            source = tuple(slice(r.start * f, r.stop * f) for r, f in zip(region, self._factors, strict=True))
            self._run_all(piece[source], out[region], work)
            work.rewind(start)

    def _run_all(self, piece: Pixels, out: Pixels, work: Scratch) -> None:
        """Reduce all windows in the same way."""
        planes = work.take((*self._factors, *out.shape), self._dtype)
        steps = (stride * f for stride, f in zip(piece.strides, self._factors, strict=True))
        self._copy(planes, as_strided(piece, planes.shape, (*piece.strides, *steps), writeable=False))
        result = self._reduce(planes.reshape(self._size, -1), work).reshape(out.shape)
        if self._dtype.kind == "f":
            settle(result)
        np.copyto(out, result, casting="unsafe")

    def _run_few(self, piece: Pixels, mixed: NDArray[np.bool_], out: Pixels, work: Scratch) -> None:
        """Take the value of all windows but those that are flagged."""
        plain = self._dtype.kind != "f" and self._dtype == out.dtype and out.flags.c_contiguous
        result = out if plain else work.take(out.shape, self._dtype)
        self._copy(result, piece[tuple(slice(None, None, f) for f in self._factors)])
        places = np.flatnonzero(mixed)
        if places.size:
            planes = work.take((self._size, places.size), self._dtype)
            self._gather(piece, places, out.shape, planes)
            result.reshape(-1)[places] = self._reduce(planes, work)  # much faster than by the flags
        if self._dtype.kind == "f":
            settle(result)
        if result is not out:
            np.copyto(out, result, casting="unsafe")

    def _gather(
        self, piece: Pixels, places: NDArray[np.intp], shape: tuple[int, ...], planes: Pixels
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

    def _copy(self, plane: Pixels, pixels: Pixels) -> None:
        """Copy the pixels at one offset apart."""
        if self._mode and self._dtype.kind == "f":
            # Adding zero makes one zero of the two.
            np.add(pixels, self._dtype.type(0), out=plane)
        else:
            np.copyto(plane, pixels)

    def _find_mixed(self, piece: Pixels, mixed: NDArray[np.bool_], work: Scratch) -> bool:
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

    def _compare(self, pixels: Pixels, work: Scratch) -> NDArray[np.bool_]:
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

    def _reduce(self, planes: Pixels, work: Scratch) -> Pixels:
        """Reduce columns of planes of shape (window, n) to one value each; uses up the planes."""
        size, n = planes.shape
        if planes.nbytes <= _SMALL and size & (size - 1) == 0:
            other = work.take(planes.shape, self._dtype)
            groups = (1, size, n) if self._mode else (2, size // 2, n)
            sorted_groups, free = sort_groups(planes.reshape(groups), other.reshape(groups))
            if not self._mode:
                # The smaller half of all: of one sorted half beside the other turned around.
                np.minimum(sorted_groups[0], sorted_groups[1, ::-1], out=free[0])
                return _largest(free[0])
            ranks = list(sorted_groups[0])
        elif size <= _NETWORK_LIMIT:
            ranks = list(planes)
            sort_planes(ranks, work.take((n,), self._dtype), None if self._mode else self._rank)
        else:
            planes.sort(axis=0)
            if self._dtype.kind == "f":
                # Sorting puts NaN last; here it takes its whole window.
                np.copyto(planes, np.nan, where=np.isnan(planes[-1]))
            ranks = list(planes)
        return self._most_frequent(ranks, work) if self._mode else ranks[self._rank]

    def _most_frequent(self, ranks: list[Pixels], work: Scratch) -> Pixels:
        """Return the mode of columns of sorted planes; uses up the planes."""
        size, shape = self._size, ranks[0].shape
        count = np.dtype(np.uint8 if size < 256 else np.uint32)
        result = work.take(shape, self._dtype)
        changes, flags = work.take(shape, count), work.take(shape, np.bool_)
        changes[...] = 0
        for before, after in pairwise(ranks):
            np.not_equal(before, after, out=flags)
            np.add(changes, flags.view(np.uint8), out=changes)
        # Of two values the lower median is the more frequent one; where all differ, the smallest is the mode.
        np.copyto(result, ranks[self._rank])
        np.equal(changes, count.type(size - 1), out=flags)
        np.copyto(result, ranks[0], where=flags)
        # Wraps around below two, to the largest numbers.
        np.subtract(changes, count.type(2), out=changes)
        np.less(changes, count.type(max(size - 3, 0)), out=flags)
        if not _few(flags):
            self._longest_run(ranks, result, work)
            return result
        places = np.flatnonzero(flags)
        if places.size:
            part = work.take((size, places.size), self._dtype)
            for plane, rank in zip(part, ranks, strict=True):
                np.take(rank, places, out=plane, mode="clip")
            most = work.take(places.shape, self._dtype)
            self._longest_run(list(part), most, work)
            result.reshape(-1)[places] = most
        return result

    def _longest_run(self, ranks: list[Pixels], winner: Pixels, work: Scratch) -> None:
        """Put the first of the longest runs of each column in `winner`; uses up the sorted planes."""
        bits = np.dtype(f"u{self._dtype.itemsize}")
        memory = [work.take(winner.shape, bits) for _ in range(3)]
        longest_run([rank.view(bits) for rank in ranks], winner.view(bits), memory)


def _largest(planes: Pixels) -> Pixels:
    """Return the largest value of each column of planes, a power of two in number; uses up the planes."""
    while (half := len(planes) // 2) > 0:
        np.maximum(planes[:half], planes[half:], out=planes[:half])
        planes = planes[:half]
    result: Pixels = planes[0]
    return result


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
