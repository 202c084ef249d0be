"""Coordinate transformations: their one valid form, what it means, and everything that is refused."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import examples
from platestore.spec.transforms import normalise, scale_of, transform_findings, translation_of

quick = settings(deadline=None, max_examples=examples(60))

S = ps.TransformationMeta
positive = st.floats(1e-6, 1e6)
offset = st.floats(-1e6, 1e6)


def scale(*values):
    return S(type="scale", scale=list(values))


def translation(*values):
    return S(type="translation", translation=list(values))


def apply(steps, point):
    """What a list of transformations does to a point, step by step, as the specification says."""
    for step in steps:
        if step.type == "scale":
            point = [s * p for s, p in zip(step.scale, point, strict=True)]
        elif step.type == "translation":
            point = [t + p for t, p in zip(step.translation, point, strict=True)]
    return point


@pytest.mark.parametrize("nothing", [None, [], (), [S(type="identity")], [S(type="identity")] * 2], ids=repr)
def test_nothing_and_identity_become_a_scale_of_ones(nothing):
    assert [s.to_json() for s in normalise(nothing, 3)] == [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]


def test_a_lone_translation_gets_a_scale_of_ones():
    assert [s.to_json() for s in normalise([translation(5, 6)], 2)] == [
        {"type": "scale", "scale": [1.0, 1.0]},
        {"type": "translation", "translation": [5.0, 6.0]},
    ]


def test_scale_then_translation_stays():
    steps = [scale(2, 3), translation(5, 6)]
    assert normalise(steps, 2) == steps


def test_a_translation_before_a_scale_is_carried_through_it():
    assert [s.to_json() for s in normalise([translation(5, 6), scale(2, 3)], 2)] == [
        {"type": "scale", "scale": [2.0, 3.0]},
        {"type": "translation", "translation": [10.0, 18.0]},
    ]


@st.composite
def legal_lists(draw):
    ndim = draw(st.integers(2, 5))
    steps = []
    if draw(st.booleans()):
        steps.append(scale(*draw(st.lists(positive, min_size=ndim, max_size=ndim))))
    if draw(st.booleans()):
        steps.append(translation(*draw(st.lists(offset, min_size=ndim, max_size=ndim))))
    steps += [S(type="identity")] * draw(st.integers(0, 2))
    return ndim, draw(st.permutations(steps)), draw(st.lists(offset, min_size=ndim, max_size=ndim))


@quick
@given(legal_lists())
def test_the_normal_form_is_valid_and_means_the_same(case):
    ndim, steps, point = case
    normal = normalise(steps, ndim)
    assert list(transform_findings(normal, ndim, "t")) == []
    for a, b in zip(apply(normal, point), apply(steps, point), strict=True):
        assert math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-6)


@quick
@given(legal_lists())
def test_normalising_twice_changes_nothing(case):
    ndim, steps, _ = case
    once = normalise(steps, ndim)
    assert normalise(once, ndim) == once


@quick
@given(legal_lists())
def test_the_callers_list_is_not_changed(case):
    ndim, steps, _ = case
    before = [s.to_json() for s in steps]
    normalise(steps, ndim)[0].scale[0] = 99.0
    assert [s.to_json() for s in steps] == before


def test_plain_dictionaries_are_read_too():
    assert normalise([{"type": "scale", "scale": [1, 2]}], 2) == [scale(1.0, 2.0)]


@pytest.mark.parametrize(
    "steps",
    [
        [scale(1, 1), scale(2, 2)],
        [translation(1, 1), translation(2, 2)],
        [translation(1, 1), scale(2, 2), translation(3, 3)],
        [scale(1, 1, 1)],
        [scale(1)],
        [scale()],
        [translation(1, 1, 1)],
        [scale(1, 1), translation(1)],
        [scale(0, 1)],
        [scale(-1, 1)],
        [scale(math.nan, 1)],
        [scale(math.inf, 1)],
        [translation(math.nan, 1)],
        [translation(-math.inf, 1)],
        [S(type="scale")],
        [S(type="translation")],
        [S(type="scale", translation=[1, 1])],
        [S(type="translation", scale=[1, 1])],
        [S(type="scale", scale=[1, 1], translation=[1, 1])],
        [S(type="affine")],
        [S(type="Scale", scale=[1, 1])],
        [S(type="")],
        [S.model_validate({"type": "scale", "path": "scales/0"})],
        [{"scale": [1, 1]}],
        [{"type": "scale", "scale": ["wide", "high"]}],
        [{"type": "scale", "scale": 1}],
        [{"type": 1}],
        [None],
        [5],
        "scale",
        scale(1, 1),
        {"type": "scale", "scale": [1, 1]},
        5,
    ],
    ids=repr,
)
def test_everything_else_is_a_value_error(steps):
    with pytest.raises(ValueError):
        normalise(steps, 2)


def test_a_result_beyond_floats_is_an_error_not_infinity():
    with pytest.raises(ValueError):
        normalise([translation(1e300, 0), scale(1e300, 1)], 2)


def test_errors_say_what_is_there_and_what_is_needed():
    with pytest.raises(ps.ArgumentError, match=r"3 values; there are 2 axes"):
        normalise([scale(1, 1, 1)], 2)
    with pytest.raises(ps.ArgumentError, match="affine"):
        normalise([S(type="affine")], 2)


def test_the_normal_form_is_strict_json():
    text = json.dumps([s.to_json() for s in normalise([translation(0.1, 2)], 2)], allow_nan=False)
    assert "null" not in text


def test_scale_and_translation_of_a_list_from_a_document():
    steps = [scale(2, 3), translation(5, 6)]
    assert scale_of(steps, 2) == [2.0, 3.0]
    assert translation_of(steps, 2) == [5.0, 6.0]
    for nothing in (None, [], [S(type="identity")]):
        assert scale_of(nothing, 2) == [1.0, 1.0]
        assert translation_of(nothing, 2) == [0.0, 0.0]


def test_what_scale_of_returns_may_be_changed():
    steps = [scale(2, 3), translation(5, 6)]
    scale_of(steps, 2)[0] = 99.0
    translation_of(steps, 2)[0] = 99.0
    assert steps == [scale(2, 3), translation(5, 6)]


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ([], "transform-list"),
        ([S(type="identity")], "transform-list"),
        ([translation(1, 1)], "transform-list"),
        ([translation(1, 1), scale(1, 1)], "transform-list"),
        ([scale(1, 1), scale(1, 1)], "transform-list"),
        ([scale(1, 1), translation(1, 1), translation(1, 1)], "transform-list"),
        ([scale(1, 1, 1)], "transform-length"),
        ([scale(1, 1), translation(1)], "transform-length"),
        ([S(type="scale")], "transform-length"),
    ],
    ids=repr,
)
def test_what_others_wrote_is_read_with_a_finding(steps, code):
    findings = list(transform_findings(steps, 2, "here"))
    assert code in {f.code for f in findings}
    assert all(f.location.startswith("here") for f in findings)
