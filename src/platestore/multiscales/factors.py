"""Which levels an image gets, how coarse they are, and from which level each of them is made.

A *factor* here is absolute, as in ngff-zarr: it says how many pixels of level 0 make one of the level.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from platestore.errors import ArgumentError

#: Axes that shrink.
SPATIAL = ("z", "y", "x")
_HINT = "pass a list of factors such as [2, 4], or of dicts such as [{'y': 2, 'x': 2}]"


@dataclass(frozen=True, slots=True)
class LevelStep:
    """One level after level 0.

    Attributes
    ----------
    factors : tuple of int
        Absolute factor of each axis.
    parent : int
        The level that it is made from.
    steps : tuple of int
        Factors from that level to this one.
    """

    factors: tuple[int, ...]
    parent: int
    steps: tuple[int, ...]


def plan_levels(
    scale_factors: Any, sizes: Mapping[str, int], chunks: Mapping[str, int]
) -> tuple[list[LevelStep], list[dict[str, int]]]:
    """Levels of an image.

    Parameters
    ----------
    scale_factors : int, or sequence of int or dict
        As for :func:`platestore.multiscales.to_multiscales`.
    sizes : mapping
        Length of each axis, in the order of the axes.
    chunks : mapping
        Length of a chunk along each axis.

    Returns
    -------
    levels : list of LevelStep
        The levels, from the finest.
    factors : list of dict
        Their factors by spatial axis.

    Raises
    ------
    ArgumentError
        If a factor cannot be meant.
    """
    spatial = {d: n for d, n in sizes.items() if d in SPATIAL}
    if isinstance(scale_factors, (str, bytes, Mapping)):
        raise ArgumentError(f"scale_factors cannot be {scale_factors!r}", hint=_HINT)
    if isinstance(scale_factors, Sequence) or hasattr(scale_factors, "__len__"):
        ladder = given_factors(list(scale_factors), spatial)
    else:
        least = _whole(scale_factors, "scale_factors")
        ladder = doubling_factors(spatial, least, {d: chunks[d] for d in spatial})
    rows = [tuple(row.get(d, 1) for d in sizes) for row in ladder]
    return arrange(rows), ladder


def doubling_factors(
    sizes: Mapping[str, int], min_length: int, chunks: Mapping[str, int]
) -> list[dict[str, int]]:
    """Factors that double until a length, or that of a chunk, is reached.

    From one level to the next the factor of an axis doubles if both are so:

    - the axis keeps at least ``min_length`` pixels, and at least a chunk: ``n / 2 >= max(min_length,
      chunk)``, where ``n`` is its length in the level before, and
    - it is longer than half of the longest axis of that level, so that long axes shrink first and flat
      images become cubes.

    The levels end where no axis doubles.

    Parameters
    ----------
    sizes : mapping
        Length of each spatial axis.
    min_length : int
        Length below which no axis shrinks.
    chunks : mapping
        Length of a chunk along each of them.

    Returns
    -------
    list of dict
        Absolute factors of each level.
    """
    levels: list[dict[str, int]] = []
    factors = dict.fromkeys(sizes, 1)
    while True:
        now = {d: -(-n // factors[d]) for d, n in sizes.items()}
        longest = max(now.values())
        doubling = [
            d for d, n in now.items() if 2 * n > longest and n >= 2 * max(min_length, chunks[d]) and n > 1
        ]
        if not doubling:
            return levels
        factors = {d: 2 * f if d in doubling else f for d, f in factors.items()}
        levels.append(factors)


def given_factors(given: Sequence[Any], sizes: Mapping[str, int]) -> list[dict[str, int]]:
    """Check factors that were given one by one.

    Parameters
    ----------
    given : sequence of int or dict
        A factor for all spatial axes, or factors by axis; an axis that is not named keeps that of the level
        before. An axis of one pixel stays as it is. Where no axis shrinks further, the level is as large as
        that before.
    sizes : mapping
        Length of each spatial axis.

    Returns
    -------
    list of dict
        Absolute factors of each level.
    """
    levels: list[dict[str, int]] = []
    before = dict.fromkeys(sizes, 1)
    for k, item in enumerate(given, 1):
        wanted = _by_axis(item, sizes, k)
        factors = {**before, **{d: f for d, f in wanted.items() if sizes[d] > 1}}
        for axis, factor in factors.items():
            if factor > sizes[axis]:
                raise ArgumentError(
                    f"the factor {factor} of level {k} is larger than the image, whose axis {axis!r} has "
                    f"{sizes[axis]} pixels",
                    hint=f"at most {sizes[axis]}; a dict names the axes that shrink: {{'x': {factor}, ...}}",
                )
            if factor < before[axis]:
                raise ArgumentError(
                    f"the factor {factor} of level {k} along {axis!r} is smaller than {before[axis]} above",
                    hint="factors count from level 0 and grow: [2, 4, 8]",
                )
        levels.append(factors)
        before = factors
    return levels


def _by_axis(item: Any, sizes: Mapping[str, int], k: int) -> dict[str, int]:
    if not isinstance(item, Mapping):
        return dict.fromkeys(sizes, _whole(item, f"the factor of level {k}"))
    if not item:
        raise ArgumentError(f"level {k} names no axis", hint=_HINT)
    unknown = [str(d) for d in item if d not in sizes]
    if unknown:
        raise ArgumentError(
            f"level {k} has a factor for {', '.join(unknown)}", hint=f"these axes shrink: {', '.join(sizes)}"
        )
    return {d: _whole(f, f"the factor of level {k} along {d!r}") for d, f in item.items()}


def _whole(value: Any, what: str) -> int:
    number = 0
    if not isinstance(value, bool) and hasattr(value, "__index__"):
        number = operator.index(value)
    if number < 1:
        raise ArgumentError(f"{what} must be an integer of 1 or more, not {value!r}", hint=_HINT)
    return number


def arrange(rows: Sequence[tuple[int, ...]]) -> list[LevelStep]:
    """From which level each level is made.

    Windows are whole, so a level can be made from one whose factors divide its own: each level is made from
    the last level of the first chain that it can continue. One that continues none begins a chain of its own
    at level 0. So ``[2, 4, 8]`` is one chain; in ``[2, 3, 4]`` levels 1 and 3 are one, and level 2, which is
    made from level 0, is another.

    Parameters
    ----------
    rows : sequence of tuple of int
        Absolute factors of each level.
    """
    ends: list[int] = []
    levels: list[LevelStep] = []
    for k, factors in enumerate(rows, 1):
        parent = 0
        for i, end in enumerate(ends):
            if all(f % g == 0 for f, g in zip(factors, rows[end - 1], strict=True)):
                parent, ends[i] = end, k
                break
        else:
            ends.append(k)
        above = rows[parent - 1] if parent else (1,) * len(factors)
        levels.append(LevelStep(factors, parent, tuple(f // g for f, g in zip(factors, above, strict=True))))
    return levels


def chains(levels: Sequence[LevelStep]) -> list[list[int]]:
    """Numbers of the levels that are made one from the other, each list beginning after level 0."""
    found: list[list[int]] = []
    for k, level in enumerate(levels, 1):
        chain = next((c for c in found if c[-1] == level.parent), None)
        if chain is None:
            found.append([k])
        else:
            chain.append(k)
    return found
