"""Shapes, factors, scales and offsets of levels."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import platestore as ps
from platestore.spec.geometry import (
    found_factors,
    level_shapes,
    level_transform,
    next_shape,
    plan_factors,
)

NAMES = ("t", "c", "z", "y", "x")
AXES = [ps.AxisMeta(name=n, type={"t": "time", "c": "channel"}.get(n, "space")) for n in NAMES]


def transform(scale: list[float], offset: list[float] | None = None) -> list[ps.TransformationMeta]:
    steps = [ps.TransformationMeta(type="scale", scale=scale)]
    if offset is not None:
        steps.append(ps.TransformationMeta(type="translation", translation=offset))
    return steps


_shapes = st.lists(st.integers(1, 5000), min_size=2, max_size=5).map(tuple)
_steps = st.integers(1, 4)


@given(shape=_shapes, data=st.data())
def test_a_level_is_the_ceiling_of_the_one_above(shape, data):
    factors = tuple(data.draw(st.integers(1, 5)) for _ in shape)
    assert next_shape(shape, factors) == tuple(math.ceil(n / f) for n, f in zip(shape, factors, strict=True))


@given(shape=_shapes, levels=st.integers(1, 20))
def test_dimensions_shrink_to_one_and_stop(shape, levels):
    names = NAMES[-len(shape) :]
    steps = plan_factors(shape, names, levels)
    shapes = level_shapes(shape, steps)
    assert len(shapes) == levels
    for above, step, below in zip(shapes, steps, shapes[1:], strict=False):
        for name, n, f, m in zip(names, above, step, below, strict=True):
            assert f == (2 if name in "zyx" and n > 1 else 1)
            assert m == math.ceil(n / f)


@given(shape=_shapes)
def test_auto_adds_levels_until_y_and_x_are_at_most_256(shape):
    shapes = level_shapes(shape, plan_factors(shape, NAMES[-len(shape) :], "auto"))
    assert max(shapes[-1][-2:]) <= 256
    assert all(max(s[-2:]) > 256 for s in shapes[:-1])


def test_auto_ends_where_nothing_too_large_shrinks():
    assert plan_factors((4, 1000, 1000), "zyx", "auto", dims=["z"]) == []
    assert plan_factors((4, 1000, 1000), "zyx", "auto", factors=[(1, 2, 2)]) == [(1, 2, 2)]
    # Y stays too large, and X goes on until it is small.
    assert plan_factors((4, 1000, 1000), "zyx", "auto", dims=["x"]) == [(1, 1, 2)] * 2


@given(shape=_shapes, data=st.data(), pooled=st.booleans())
def test_scales_grow_by_the_factors_and_offsets_by_half_windows(shape, data, pooled):
    ndim = len(shape)
    scale = [data.draw(st.sampled_from([0.25, 0.5, 1.0, 3.0])) for _ in shape]
    offset = [data.draw(st.sampled_from([-1.0, 0.0, 2.5])) for _ in shape]
    steps = plan_factors(
        shape, NAMES[-ndim:], 4, factors=[tuple(data.draw(_steps) for _ in shape) for _ in range(3)]
    )
    current = transform(scale, offset)
    total = [1] * ndim
    for step in steps:
        current = level_transform(current, step, pooled=pooled)
        total = [a * b for a, b in zip(total, step, strict=True)]
    assert [t.type for t in current] == ["scale", "translation"]
    assert current[0].scale == [s * f for s, f in zip(scale, total, strict=True)]
    # The centre of the first window, counted from the centre of the first pixel of level 0.
    shift = [(f - 1) / 2 * s if pooled else 0.0 for f, s in zip(total, scale, strict=True)]
    assert current[1].translation == [o + d for o, d in zip(offset, shift, strict=True)]


def test_no_translation_where_there_is_none():
    assert [t.type for t in level_transform(transform([1.0, 1.0]), (2, 2), pooled=False)] == ["scale"]
    assert [t.type for t in level_transform(transform([1.0, 1.0]), (1, 1), pooled=True)] == ["scale"]


@given(shape=_shapes, data=st.data())
def test_factors_are_found_again_from_shapes_and_scales(shape, data):
    ndim = len(shape)
    asked = [tuple(data.draw(_steps) for _ in shape) for _ in range(3)]
    steps = plan_factors(shape, NAMES[-ndim:], 4, factors=asked)
    shapes = level_shapes(shape, steps)
    current = transform([0.65] * ndim)
    scales = [current[0].scale]
    for step in steps:
        current = level_transform(current, step, pooled=True)
        scales.append(current[0].scale)
    assert found_factors(shapes, scales, AXES[-ndim:], where="here") == steps


@pytest.mark.parametrize(
    ("shapes", "scales", "expected"),
    [
        ([(21, 20), (11, 10)], [[1.0, 1.0], [21 / 11, 2.0]], [(2, 2)]),  # scales by ratio
        ([(21, 20), (11, 10)], [[1.0, 1.0], [1.0, 1.0]], [(2, 2)]),  # none at all
        ([(1, 20), (1, 10)], [[1.0, 1.0], [2.0, 2.0]], [(1, 2)]),
        ([(5, 3), (5, 1)], [[1.0, 1.0], [1.0, 4.0]], [(1, 4)]),
    ],
)
def test_factors_of_levels_that_others_made(shapes, scales, expected):
    assert found_factors(shapes, scales, AXES[-2:], where="here") == expected


@pytest.mark.parametrize("axis", ["t", "c"])
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(
    ("sizes", "ratio", "factor"),
    [
        ((4, 2), 1.0, None),  # half as many, but nothing says that pixels are larger
        ((3, 2), 1.0, None),
        ((2, 3), 1.0, None),
        ((1, 3), 1.0, None),
        ((4, 2), 0.5, None),
        ((4, 2), 2.0, 2),  # the scale says it
        ((5, 3), 2.0, 2),
        ((4, 1), 2.0, None),
        ((3, 3), 2.0, 1),
        ((3, 3), 1.0, 1),
    ],
)
def test_along_time_and_channels_shapes_alone_tell_no_factor(axis, exact, sizes, ratio, factor):
    axes = [AXES[NAMES.index(axis)], *AXES[-2:]]
    shapes, scales = [(sizes[0], 8, 8), (sizes[1], 4, 4)], [[1.0, 1.0, 1.0], [ratio, 2.0, 2.0]]
    if factor is None:
        with pytest.raises(ps.InvalidMetadataError, match=f"differ along {axis}"):
            found_factors(shapes, scales, axes, where="here", exact=exact)
    else:
        assert found_factors(shapes, scales, axes, where="here", exact=exact) == [(factor, 2, 2)]


@pytest.mark.parametrize(
    ("sizes", "ratio", "factor"),
    [
        ((5, 2), 2.0, None),  # a third, rounded up, fits as well: the scale says what it is
        ((5, 2), 1.0, 3),  # nothing is said, and one factor fits
        ((8, 2), 2.0, 4),  # no doubt about the shapes
        ((8, 8), 2.0, 1),
        ((5, 3), 2.0, 2),
        ((8, 3), 2.0, None),
    ],
)
def test_a_factor_along_space_is_told_or_measured_and_not_made_up(sizes, ratio, factor):
    shapes, scales = [(8, sizes[0]), (4, sizes[1])], [[1.0, 1.0], [2.0, ratio]]
    if factor is None:
        with pytest.raises(ps.InvalidMetadataError, match="whole factors"):
            found_factors(shapes, scales, AXES[-2:], where="here")
    else:
        assert found_factors(shapes, scales, AXES[-2:], where="here") == [(2, factor)]


@pytest.mark.parametrize("shapes", [[(20, 20), (19, 20)], [(20, 20), (40, 20)], [(21, 20), (10, 10)]])
def test_levels_that_cannot_be_made_are_refused(shapes):
    with pytest.raises(ps.InvalidMetadataError, match="here") as caught:
        found_factors(shapes, [[1.0, 1.0], [2.0, 2.0]], AXES[-2:], where="here")
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("shapes", "scales", "expected"),
    [
        ([(21, 20), (10, 10)], [[1.0, 1.0], [2.0, 2.0]], [(2, 2)]),  # rounded down
        ([(5, 20), (2, 10)], [[1.0, 1.0], [2.0, 2.0]], [(2, 2)]),  # although a third, rounded up, fits too
        ([(5, 20), (2, 10)], [[1.0, 1.0], [3.0, 2.0]], [(3, 2)]),
        ([(5, 20), (2, 10)], [[1.0, 1.0], [1.0, 1.0]], [(2, 2)]),
        ([(10, 20), (4, 10)], [[1.0, 1.0], [2.5, 2.0]], [(3, 2)]),
        ([(20, 20), (19, 20)], [[1.0, 1.0], [2.0, 2.0]], [(1, 1)]),
        ([(20, 20), (40, 12)], [[1.0, 1.0], [0.5, 2.0]], [(1, 2)]),
    ],
)
def test_the_nearest_factors_where_shapes_need_not_be_exact(shapes, scales, expected):
    assert found_factors(shapes, scales, AXES[-2:], where="here", exact=False) == expected


@pytest.mark.parametrize("levels", [0, -1, 1.0, "2", None, True, 65, "AUTO"])
def test_a_number_of_levels_counts_level_0(levels):
    with pytest.raises(ps.ArgumentError, match="level"):
        plan_factors((10, 10), "yx", levels)


def test_axes_are_named_in_any_case():
    assert plan_factors((4, 9, 9), "ZYX", 2, dims=["y"]) == [(1, 2, 1)]
    assert plan_factors((4, 9, 9), "zyx", 2, factors=[{"X": 3}]) == [(1, 1, 3)]
