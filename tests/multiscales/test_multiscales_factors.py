"""Which levels an image gets, and what each is made of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import examples
from platestore.errors import ArgumentError
from platestore.multiscales import to_multiscales
from platestore.multiscales.factors import arrange, chains, doubling_factors, given_factors

DIMS = ("z", "y", "x")
lengths = st.integers(1, 3000)


def shapes(image, *args, **kwargs):
    return [level.data.shape for level in to_multiscales(image, *args, **kwargs).images]


@given(st.tuples(lengths, lengths, lengths), st.integers(1, 300), st.tuples(*[st.integers(1, 300)] * 3))
@settings(max_examples=examples(300))
def test_doubling_follows_the_rule_and_no_further(shape, least, chunk):
    sizes, chunks = dict(zip(DIMS, shape, strict=True)), dict(zip(DIMS, chunk, strict=True))
    levels = doubling_factors(sizes, least, chunks)
    ladder = [dict.fromkeys(DIMS, 1), *levels]
    for k, factors in enumerate(ladder):
        now = {d: len(range(0, sizes[d], factors[d])) for d in DIMS}
        may = {
            d
            for d in DIMS
            if now[d] / 2 >= least
            and now[d] / 2 >= chunks[d]
            and now[d] > max(now.values()) / 2
            and now[d] > 1
        }
        if k + 1 == len(ladder):
            assert not may  # it ends where no axis may be halved, and not before
        else:
            after = ladder[k + 1]
            assert may
            assert {d for d in DIMS if after[d] == 2 * factors[d]} == may
            assert all(after[d] == factors[d] for d in DIMS if d not in may)
            assert all(now[d] / 2 >= max(least, chunks[d]) for d in may)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=6, unique=True).map(sorted))
def test_each_level_is_made_by_whole_steps(factors):
    levels = arrange([(f,) for f in factors])
    for k, level in enumerate(levels, 1):
        above = 1 if level.parent == 0 else factors[level.parent - 1]
        assert level.parent < k
        assert above * level.steps[0] == factors[k - 1]
    found = chains(levels)
    assert sorted(k for chain in found for k in chain) == list(range(1, len(factors) + 1))
    for chain in found:
        assert [levels[k - 1].parent for k in chain] == [0, *chain[:-1]]


def test_the_default_is_a_length_of_128_and_stops_at_the_chunk():
    assert shapes(np.zeros((256, 1024, 1024), "u1")) == [
        (256, 1024, 1024),
        (256, 512, 512),
        (256, 256, 256),
        (128, 128, 128),
    ]
    # In two dimensions the default chunk is 256, and nothing shrinks below it.
    assert shapes(np.zeros((1024, 512), "u1")) == [(1024, 512), (512, 512), (256, 256)]


def test_a_larger_length_stops_before_the_chunk_does():
    assert shapes(np.zeros((64, 64), "u1"), 32, chunks=8) == [(64, 64), (32, 32)]
    assert shapes(np.zeros((64, 64), "u1"), 8, chunks=32) == [(64, 64), (32, 32)]


def test_the_longest_axes_shrink_first():
    found = to_multiscales(np.zeros((40, 400, 401), "u1"), 10, chunks=10).scale_factors
    assert found == [
        {"z": 1, "y": 2, "x": 2},
        {"z": 1, "y": 4, "x": 4},
        {"z": 1, "y": 8, "x": 8},
        {"z": 2, "y": 16, "x": 16},
        {"z": 4, "y": 32, "x": 32},
    ]


def test_the_documented_forms():
    image = np.zeros((320, 320), "u1")
    assert shapes(image, 64, chunks=64) == [(320, 320), (160, 160), (80, 80)]
    assert shapes(image, [2, 4]) == [(320, 320), (160, 160), (80, 80)]
    assert shapes(image, [{"x": 2, "y": 4}, {"x": 5, "y": 10}]) == [(320, 320), (80, 160), (32, 64)]
    assert shapes(image, []) == [(320, 320)]
    assert shapes(image, (2, np.int64(4))) == [(320, 320), (160, 160), (80, 80)]


def test_an_axis_that_is_not_named_keeps_its_factor_and_one_of_a_pixel_stays():
    image = np.zeros((2, 1, 33, 65), "u1")  # czyx
    assert shapes(image, [2, {"x": 4}]) == [(2, 1, 33, 65), (2, 1, 17, 33), (2, 1, 17, 17)]
    assert to_multiscales(image, [2]).images[1].scale == {"c": 1, "z": 1, "y": 2, "x": 2}


@pytest.mark.parametrize(
    ("factors", "words"),
    [
        ([0], "1 or more"),
        ([-2], "1 or more"),
        ([2.5], "1 or more"),
        ([True], "1 or more"),
        (0, "1 or more"),
        ("2", "list of factors"),
        ({"x": 2}, "list of factors"),
        ([2, 9], "at most 8"),
        ([{"c": 2}], "y, x"),
        ([{"q": 2}], "y, x"),
        ([4, 2], "count from level 0"),
        ([{}], "names no axis"),
        ([{"y": 0}], "1 or more"),
        (["2"], "1 or more"),
    ],
)
def test_factors_that_cannot_be_meant(factors, words):
    with pytest.raises(ArgumentError, match=words):
        to_multiscales(np.zeros((8, 16), "u1"), factors)


def test_a_ladder_that_does_not_nest_is_made_of_level_0():
    levels = to_multiscales(np.zeros((60, 60), "u1"), [2, 3, 4, 6])._recipe.levels
    assert [level.parent for level in levels] == [0, 0, 1, 2]
    assert [level.steps for level in levels] == [(2, 2), (3, 3), (2, 2), (2, 2)]


def test_given_factors_leaves_its_argument():
    rows = [{"y": 2}, {"x": 4}]
    assert given_factors(rows, {"y": 8, "x": 8}) == [{"y": 2, "x": 1}, {"y": 2, "x": 4}]
    assert rows == [{"y": 2}, {"x": 4}]
