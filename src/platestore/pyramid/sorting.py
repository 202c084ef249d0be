"""Sorting many short columns side by side, by exchanges between the planes that they make."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np

from platestore.arrays.types import Pixels


def sort_groups(planes: Pixels, other: Pixels) -> tuple[Pixels, Pixels]:
    """Sort along the second axis, whose length is a power of two (Batcher's merge exchange).

    All exchanges of one pass are made at once: few calls, each of them long.

    Parameters
    ----------
    planes : ndarray of shape (groups, length, n)
        C-contiguous values; used up.
    other : ndarray of the same shape
        Memory to sort in.

    Returns
    -------
    tuple of ndarray
        The sorted values and the memory left over, which are `planes` and `other` or the other way round.
    """
    groups, length, n = planes.shape
    p = length // 2
    while p:
        shape = (groups, length // (2 * p), 2, p, n)
        pairs, free = planes.reshape(shape), other.reshape(shape)
        np.minimum(pairs[:, :, 0], pairs[:, :, 1], out=free[:, :, 0])
        np.maximum(pairs[:, :, 0], pairs[:, :, 1], out=free[:, :, 1])
        planes, other, pairs, free = other, planes, free, pairs
        q = length // 2
        while q > p:
            count, skip = (length - q) // (2 * p), q // (2 * p)
            low, high = pairs[:, :count, 1], pairs[:, skip : skip + count, 0]
            least = free[:, :count, 0]
            np.minimum(low, high, out=least)
            np.maximum(low, high, out=high)
            np.copyto(low, least)
            q //= 2
        p //= 2
    return planes, other


def sort_planes(planes: list[Pixels], spare: Pixels, rank: int | None) -> Pixels:
    """Sort across any number of planes.

    Parameters
    ----------
    planes : list of ndarray
        The values, one plane for each place; the list is left in order.
    spare : ndarray
        Memory for one more plane.
    rank : int or None
        The place that matters, from 0: only that one is right at the end. None for all.

    Returns
    -------
    ndarray
        The plane that is left over.
    """
    for low, high, keep_low, keep_high in exchanges(len(planes), rank):
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
def exchanges(size: int, rank: int | None) -> tuple[tuple[int, int, bool, bool], ...]:
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
    kept = []
    for low, high in reversed(pairs):
        if low in needed or high in needed:
            kept.append((low, high, low in needed, high in needed))
            needed |= {low, high}
    return tuple(reversed(kept))


def longest_run(planes: list[Pixels], winner: Pixels, memory: list[Pixels]) -> None:
    """Find the first of the longest runs of equal values in each column of sorted planes.

    Parameters
    ----------
    planes : list of ndarray
        Sorted values, as unsigned integers that can count the planes; used up.
    winner : ndarray
        Where to put the results.
    memory : list of ndarray
        Memory for three more planes.
    """
    one = winner.dtype.type(1)
    length, longest, step = memory
    np.copyto(winner, planes[0])
    for number, (before, word) in enumerate(pairwise(planes)):
        # No branches and the same time for any picture: words of ones where a value goes on, and where its
        # run outgrows all before it.
        np.copyto(step, np.equal(word, before))
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
