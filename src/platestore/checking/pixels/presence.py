"""Whether level 0 and another level have data in the same places, however the level was made.

What reduces pixels keeps two things: where level 0 holds the fill value only, so does the level; and where
level 0 holds no fill value, the level is not made of it alone.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from platestore.arrays.grid import Box, Place, box_of
from platestore.arrays.types import Pixels
from platestore.checking.pixels.damage import Damage
from platestore.checking.pixels.decoding import decoder_of, sound_places
from platestore.checking.pixels.survey import ChunkSurvey

_NUMBERS = "biuf"
# So many chunks of a level are decoded to see whether they hold anything, where nothing else is.
_TRIED = 8
MISSING_HINT = (
    "restore the chunks from a backup; do not compute the pyramid anew before: it holds what is left of them"
)


@dataclass(slots=True)
class Contents:
    """What the chunks of one array hold, as far as they could be decoded.

    Attributes
    ----------
    survey : ChunkSurvey
        The array.
    damage : Damage
        Its chunks that could not be decoded.
    some : set of tuple of int
        Chunks that hold anything but the fill value.
    solid : set of tuple of int
        Chunks that do not hold the fill value.
    """

    survey: ChunkSurvey
    damage: Damage
    some: set[Place] = field(default_factory=set)
    solid: set[Place] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, place: Place, block: Pixels, fill: Any) -> None:
        """Note what a chunk holds."""
        if block.dtype.kind not in _NUMBERS:
            return
        count = int(np.count_nonzero(same_as(block, fill)))
        with self._lock:
            if count < block.size:
                self.some.add(place)
            if not count:
                self.solid.add(place)


def same_as(block: Pixels, fill: Any) -> npt.NDArray[np.bool_]:
    """Where a block holds the fill value."""
    if fill is None:
        fill = 0
    if block.dtype.kind == "f" and np.isnan(fill):
        block, fill = np.isnan(block), True
    out: npt.NDArray[np.bool_] = block == fill
    return out


def beneath(level: ChunkSurvey, place: Place, base: ChunkSurvey) -> Box:
    """The part of level 0 that a chunk of a level depends on, and a pixel of the level around it."""
    rows = zip(box_of(place, level.chunks, level.grid.shape), level.grid.shape, base.grid.shape, strict=True)
    return tuple(slice(*_scaled(part, many, all_)) for part, many, all_ in rows)


def _scaled(part: slice, many: int, all_: int) -> tuple[int, int]:
    margin = 0 if many == all_ else 1
    start = max(0, part.start - margin) * all_ // many
    return start, min(all_, -(-(part.stop + margin) * all_ // many))


def places_of(survey: ChunkSurvey, box: Box) -> Iterator[Place]:
    """The chunks that a part of an array touches; they must be few enough to be gone through."""
    return itertools.product(*_ranges(survey, box))


def _ranges(survey: ChunkSurvey, box: Box) -> list[range]:
    return [range(part.start // c, -(-part.stop // c)) for part, c in zip(box, survey.chunks, strict=True)]


def _number(ranges: list[range]) -> int:
    return math.prod(max(0, r.stop - r.start) for r in ranges)


def is_there(survey: ChunkSurvey, box: Box) -> bool:
    """Whether any chunk that a part of an array touches is there; of many, whether any file is."""
    ranges = _ranges(survey, box)
    if _number(ranges) <= survey.present:
        return any(map(survey.has, itertools.product(*ranges)))
    rows = zip(box, survey.grid.units, strict=True)
    units = [range(part.start // u, -(-part.stop // u)) for part, u in rows]
    return any(_lies_in(unit, units) for unit in survey.files)


def _lies_in(place: Place, ranges: list[range]) -> bool:
    return all(p in r for p, r in zip(place, ranges, strict=True))


def _any_of(places: set[Place], survey: ChunkSurvey, box: Box) -> bool:
    """Whether any of some chunks is among those that a part of an array touches."""
    ranges = _ranges(survey, box)
    if _number(ranges) <= len(places):
        return any(place in places for place in itertools.product(*ranges))
    return any(_lies_in(place, ranges) for place in places)


def _all_of(places: set[Place], survey: ChunkSurvey, box: Box) -> bool:
    """Whether all chunks that a part of an array touches are among some."""
    ranges = _ranges(survey, box)
    return _number(ranges) <= len(places) and all(place in places for place in itertools.product(*ranges))


def bare_places(base: ChunkSurvey, level: ChunkSurvey) -> Iterator[Place]:
    """Sound chunks of a level, while all chunks of level 0 that they are made from are not there."""
    for place in sound_places(level):
        if not is_there(base, beneath(level, place, base)):
            yield place


def find_lost(base: ChunkSurvey, level: ChunkSurvey, name: str) -> None:
    """Note chunks of level 0 that are not there, though a level has data that was made from them.

    Parameters
    ----------
    base, level : ChunkSurvey
        Level 0, which is told of, and the other level.
    name : str
        Name of the other level.
    """
    candidates = list(bare_places(base, level))
    if not candidates:
        return
    try:
        decoder = decoder_of(level)
    except Exception:  # noqa: BLE001 - whatever is wrong with its codecs, a deep audit tells of it
        return
    for place in candidates[:_TRIED]:
        try:
            block = decoder.decode(place)
        except Exception:  # noqa: BLE001 - codecs raise whatever they like; a deep audit tells of it
            continue
        numbers = block is not None and block.dtype.kind in _NUMBERS
        if block is not None and numbers and not same_as(block, decoder.fill).all():
            tell_lost(base, name, [place], at_most=len(candidates))
            return


def tell_lost(base: ChunkSurvey, name: str, places: list[Place], *, at_most: int | None = None) -> None:
    """Note that a level has data where level 0 has none; once, though several levels may."""
    if any(finding.code == "chunk-missing" for finding in base.findings):
        return
    count = len(places) if at_most is None else at_most
    how_many = f"chunk {places[0]}" if count == 1 else f"{count} chunks (the first is {min(places)})"
    message = f"chunks of level 0 are missing where level {name!r} has data: under {how_many} of that level"
    base.report("chunk-missing", None, message, level="warning", hint=MISSING_HINT)


def hold_against(base: Contents, level: Contents, name: str) -> None:
    """Note where a level has data and level 0 has none, or the reverse; for levels made by unknown methods.

    Parameters
    ----------
    base, level : Contents
        Level 0 and the other level, every chunk of both decoded.
    name : str
        Name of the other level.
    """
    lost: list[Place] = []
    stale: list[Place] = []
    for place in sorted(level.some):
        box = beneath(level.survey, place, base.survey)
        if not _any_of(base.some, base.survey, box) and not base.damage.touches(box):
            (stale if is_there(base.survey, box) else lost).append(place)
    for place in sorted(_above_solid(base, level)):
        box = beneath(level.survey, place, base.survey)
        inside = box_of(place, level.survey.chunks, level.survey.grid.shape)
        if _all_of(base.solid, base.survey, box) and not level.damage.touches(inside):
            stale.append(place)
    if lost:
        tell_lost(base.survey, name, lost)
    if stale:
        message = f"does not match level 0: {counted(stale)} and level 0 do not have data in the same places"
        level.survey.report("level-stale", None, message, level="warning", hint=STALE_HINT)


STALE_HINT = "compute the pyramid anew"


def counted(places: list[Place]) -> str:
    """Some chunks in words."""
    return f"chunk {places[0]}" if len(places) == 1 else f"{len(places)} chunks (the first is {min(places)})"


def _above_solid(base: Contents, level: Contents) -> set[Place]:
    """Chunks of the level that hold nothing, above chunks of level 0 that hold no fill value."""
    out: set[Place] = set()
    rows = list(zip(base.survey.grid.shape, level.survey.grid.shape, level.survey.chunks, strict=True))
    for place in base.solid:
        box = box_of(place, base.survey.chunks, base.survey.grid.shape)
        first = [part.start * m // n // c for part, (n, m, c) in zip(box, rows, strict=True)]
        if tuple(first) not in level.some:
            out.add(tuple(first))
    return out
