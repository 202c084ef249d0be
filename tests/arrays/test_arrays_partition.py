"""Which blocks are copied: they cover the target once, fit, and have little of the source decoded twice."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platestore.arrays.partition import (
    Axis,
    Pick,
    blocks,
    choose_block,
    decodes,
    decodes_in_place,
    picked_size,
    units_of,
)

_LIMITS = st.sampled_from([1, 64, 300, 4000, 10**9])
_TOGETHER = st.sampled_from([None, 1, 2, 5])


@st.composite
def picks(draw: st.DrawFn, size: int) -> Pick:
    """A selection along an axis of some size, of one element or more."""
    if draw(st.integers(0, 3)) == 0:
        return tuple(draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=6)))
    start = draw(st.integers(0, size - 1))
    return slice(start, draw(st.integers(start + 1, size)), draw(st.integers(1, 5)))


@st.composite
def an_axis(draw: st.DrawFn, most: int = 60) -> Axis:
    size = draw(st.integers(1, most))
    chunk = draw(st.integers(1, 12))
    return Axis.of(draw(picks(size)), draw(st.integers(1, 15)), chunk, chunk * draw(st.integers(1, 4)))


def axes(most: int = 25) -> st.SearchStrategy[tuple[Axis, ...]]:
    return st.lists(an_axis(most), min_size=1, max_size=3).map(tuple)


def indices(axis: Axis) -> list[int]:
    """Which elements of the source are taken."""
    if axis.indices is not None:
        return list(axis.indices)
    return [axis.start + axis.step * i for i in range(axis.size)]


def sizes_of(axis: Axis) -> st.SearchStrategy[int]:
    """Extents that a block may have: chunks inside a unit, or whole units."""
    inside = [n * axis.chunk for n in range(1, axis.unit // axis.chunk + 1)]
    return st.sampled_from([*inside, 2 * axis.unit, 3 * axis.unit])


# --- one axis -------------------------------------------------------------------------------------


@given(an_axis(), st.data())
def test_cuts_put_every_element_where_it_belongs(axis: Axis, data: st.DataObject):
    begin = data.draw(st.integers(0, axis.size - 1)) // axis.chunk * axis.chunk
    end = data.draw(st.integers(begin + 1, axis.size))
    out = np.full(axis.size + axis.chunk, -1)
    for cut in axis.cuts((begin, end)):
        assert 0 <= cut.taken.start < cut.taken.stop <= axis.source_chunk
        assert 0 <= cut.put.start < cut.put.stop <= axis.chunk
        chunk = np.arange(axis.source_chunk) + cut.source * axis.source_chunk
        tile = out[cut.target * axis.chunk : (cut.target + 1) * axis.chunk]
        assert (tile[cut.put] == -1).all(), "no element is put twice"
        tile[cut.put] = chunk[cut.taken]
    assert out[begin:end].tolist() == indices(axis)[begin:end]
    assert (out[:begin] == -1).all()
    assert (out[end:] == -1).all()


@given(an_axis())
def test_a_slice_is_cut_at_the_chunks_and_nowhere_else(axis: Axis):
    if axis.indices is not None or axis.step > axis.source_chunk:
        return
    taken = indices(axis)
    pairs = {(taken[i] // axis.source_chunk, i // axis.chunk) for i in range(axis.size)}
    assert len(axis.cuts((0, axis.size))) == len(pairs)


@given(an_axis(), st.data())
def test_spans_cover_the_axis_unit_by_unit(axis: Axis, data: st.DataObject):
    block = data.draw(sizes_of(axis))
    spans = axis.spans(block)
    assert [place for a, b in spans for place in range(a, b)] == list(range(axis.size))
    assert len(spans) == axis.count(block)
    for a, b in spans:
        assert a % axis.chunk == 0
        assert b - a <= block
        assert block > axis.unit or a // axis.unit == (b - 1) // axis.unit, "it crosses no unit"


@given(an_axis(), st.data())
def test_the_work_is_counted_as_it_is(axis: Axis, data: st.DataObject):
    block = data.draw(sizes_of(axis))
    taken = indices(axis)
    exact = sum(len({i // axis.source_chunk for i in taken[a:b]}) for a, b in axis.spans(block))
    assert axis.decodes(block) == exact


def test_the_work_on_a_very_long_axis_is_estimated():
    axis = Axis.of(slice(0, 10**12, 1), 7, 5, 5)
    assert axis.decodes(5) == pytest.approx(10**12 / 7 + 10**12 / 5 * (6 / 7), rel=0.01)
    assert axis.decodes(35) == pytest.approx(10**12 / 7, rel=0.01)


@given(st.integers(1, 50).flatmap(picks))
def test_the_size_of_a_selection(pick: Pick):
    assert picked_size(pick) == len(np.arange(100)[pick if isinstance(pick, slice) else list(pick)])


# --- several axes ---------------------------------------------------------------------------------


@given(axes(), st.sampled_from([1, 2, 8]), _LIMITS, _TOGETHER)
def test_a_block_fits_and_is_made_of_whole_chunks_or_units(
    along: tuple[Axis, ...], itemsize: int, limit: int, together: int | None
):
    block = choose_block(along, itemsize, limit, together)
    one = tuple(axis.chunk for axis in along)
    assert block == one or math.prod(block) * itemsize <= limit
    for axis, size in zip(along, block, strict=True):
        assert size % axis.chunk == 0
        assert size <= axis.covered
        assert size <= axis.unit or size % axis.unit == 0 or size == axis.covered
    if together == 1:
        inside = all(size <= axis.unit for axis, size in zip(along, block, strict=True))
        whole = all(size >= axis.reach for axis, size in zip(along, block, strict=True))
        assert inside or whole
    elif together is not None:
        assert units_of(along, block) <= together
    assert decodes(along, block) <= decodes(along, one)


@given(axes(), _LIMITS, _TOGETHER)
def test_blocks_cover_the_target_once_and_finish_one_unit_before_the_next(
    along: tuple[Axis, ...], limit: int, together: int | None
):
    block = choose_block(along, 1, limit, together)
    seen = np.zeros([axis.size for axis in along], int)
    last: dict[tuple[int, ...], int] = {}
    for number, spans in enumerate(blocks(along, block)):
        region = tuple(slice(a, b) for a, b in spans)
        seen[region] += 1
        touched = [range(a // x.unit, -(-b // x.unit)) for (a, b), x in zip(spans, along, strict=True)]
        for unit in itertools.product(*touched):
            assert last.get(unit, number - 1) == number - 1, "blocks of one unit follow each other"
            last[unit] = number
    assert (seen == 1).all()


@given(st.data())
def test_where_grids_are_aligned_and_memory_suffices_no_chunk_is_decoded_twice(data: st.DataObject):
    along = []
    for _ in range(data.draw(st.integers(1, 3))):
        source, chunk, chunks = (data.draw(st.integers(1, 8)) for _ in range(3))
        chunk, source = (chunk * source, source) if data.draw(st.booleans()) else (chunk, chunk * source)
        start = source * data.draw(st.integers(0, 3))
        size = math.lcm(source, chunk) * chunks
        along.append(Axis.of(slice(start, start + size, 1), source, chunk, chunk))
    found = choose_block(tuple(along), 2, 10**9)
    least = math.prod(axis.size // axis.source_chunk for axis in along)
    assert decodes(along, found) == least


def test_planes_are_joined_to_the_depth_of_a_chunk_and_no_further():
    z = Axis.of(slice(0, 64, 1), 1, 16, 16)
    y, x = (Axis.of(slice(0, 2048, 1), 2048, 256, n) for n in (1024, 2048))
    assert choose_block((z, y, x), 2, 2**28, 64) == (16, 2048, 2048)
    # Two shards make up a plane; the block is half a plane where only one may be under way at a time and
    # both do not fit, and a quarter where no more fits.
    assert choose_block((z, y, x), 2, 2**27, 1) == (16, 2048, 2048)
    assert choose_block((z, y, x), 2, 2**26, 1) == (16, 1024, 2048)
    assert math.prod(choose_block((z, y, x), 2, 2**25, 1)) == 16 * 1024 * 1024


def test_small_chunks_are_joined_along_the_last_axes_first():
    z, y, x = (Axis.of(slice(0, n, 1), c, c, c * 8) for n, c in ((64, 1), (1024, 64), (1024, 64)))
    block = choose_block((z, y, x), 2, 2**20, 64)
    assert block == (1, 512, 1024)
    assert choose_block((z, y, x), 2, 64 * 64 * 2, 64) == (1, 64, 64)


@given(axes())
def test_what_is_decoded_in_place_lies_whole_and_in_one_piece(along: tuple[Axis, ...]):
    said = decodes_in_place(along)
    cuts: list[list[Any]] = [axis.cuts((0, axis.size)) for axis in along]
    pieces: dict[tuple[int, ...], list[Any]] = {}
    for row in itertools.product(*cuts):
        pieces.setdefault(tuple(c.source for c in row), []).append(row)
    tile = np.empty([axis.chunk for axis in along], np.uint8)
    in_place = all(len(rows) == 1 for rows in pieces.values()) and all(
        tile[tuple(c.put for c in row)].flags.c_contiguous
        and all(c.taken == slice(0, axis.source_chunk, 1) for c, axis in zip(row, along, strict=True))
        for rows in pieces.values()
        for row in rows
    )
    assert not said or in_place, "memory for it is not counted"
