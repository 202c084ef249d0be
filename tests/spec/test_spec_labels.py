"""The models of label images, and what users may give for colors and properties."""

from __future__ import annotations

import copy
import itertools
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import examples
from platestore.spec import versions
from platestore.spec.base import read_model
from platestore.spec.labels import (
    check_colors,
    check_properties,
    default_color,
    default_colors,
)

SHARED = Path(__file__).resolve().parents[3] / "shared"
FORMAT = {"0.4": 2, "0.5": 3}
IMAGE = {
    "axes": [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}],
    "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0]}]}],
    "name": "n",
}


def cases(prefix):
    out = []
    for version in FORMAT:
        path = SHARED / "conformance" / version / f"{prefix}label_suite.json"
        if path.is_file():
            for test in json.loads(path.read_text(encoding="utf-8"))["tests"]:
                out.append(pytest.param(version, test, id=f"{version}-{prefix}{test['formerly']}"))
    reason = "the official cases are not beside this checkout"
    return out or [pytest.param("", {}, marks=pytest.mark.skip(reason=reason))]


def read(version, attributes):
    parts = versions.adapter(version).unpack(copy.deepcopy(attributes), "label")
    return read_model(ps.ImageLabelMeta, parts["image-label"], location="image-label", path="doc")


# --- the official cases -----------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "test"), cases(""))
def test_valid_cases_are_read_and_invalid_ones_refused_or_reported(version, test):
    try:
        meta, findings = read(version, test["data"])
    except ps.InvalidMetadataError:
        assert not test["valid"]
        return
    assert bool(findings) is not test["valid"], findings
    json.dumps(meta.to_json(), allow_nan=False)


@pytest.mark.parametrize(("version", "test"), cases("strict_"))
def test_what_only_the_strict_schema_asks_for_is_no_flaw(version, test):
    _, findings = read(version, test["data"])
    assert findings == []


# --- the models -------------------------------------------------------------------------------------


def test_unknown_keys_survive():
    data = {
        "version": "0.4",
        "colors": [{"label-value": 1, "rgba": [1, 2, 3, 4], "note": "x"}, {"label-value": 2}],
        "properties": [{"label-value": 1, "area": 3.5, "class": {"name": "nucleus"}, "nothing": None}],
        "source": {"image": "../../", "by": "me"},
        "extra": [1, {"a": None}],
    }
    meta, findings = read_model(ps.ImageLabelMeta, data, location="image-label", path="doc")
    assert findings == []
    assert meta.to_json() == data


def codes(**parts):
    return [f.code for f in ps.ImageLabelMeta.model_validate(parts).findings()]


def test_each_flaw_has_its_name():
    assert codes(colors=[]) == ["label-no-colors"]
    assert codes(properties=[]) == ["label-no-properties"]
    assert codes(colors=[{"label-value": 1}, {"label-value": 1}]) == ["label-color-duplicate"]
    assert codes(colors=[{"label-value": 1, "rgba": [1, 2, 3]}]) == ["label-rgba"]
    assert codes(colors=[{"label-value": 1, "rgba": [1, 2, 3, 256]}]) == ["label-rgba"]
    assert codes(colors=[{"label-value": 1, "rgba": [1, 2, 3, -1]}]) == ["label-rgba"]
    same = {"label-value": 1, "a": 2}
    assert codes(properties=[same, same]) == ["label-property-duplicate"]
    assert codes(properties=[same, {"label-value": 1, "a": 3}]) == [], "the specification allows that"
    assert codes() == []


def test_a_whole_number_written_as_a_float_is_read_with_a_finding():
    data = {"colors": [{"label-value": 1.0, "rgba": [0, 0, 0, 0]}]}
    meta, findings = read_model(ps.ImageLabelMeta, data, location="image-label", path="doc")
    assert meta.colors[0].label_value == 1
    assert [f.code for f in findings] == ["wrong-type"]
    assert findings[0].location == "image-label.colors[0].label-value"


def test_a_list_that_names_an_image_twice_is_reported():
    meta = ps.LabelsMeta(labels=["a", "b", "a"])
    assert [(f.code, "'a'" in f.message) for f in meta.findings()] == [("label-duplicate", True)]


# --- versions ---------------------------------------------------------------------------------------


def label_document(version):
    meta = ps.LabelImageMeta.model_validate(
        {"multiscales": [IMAGE], "image-label": {"colors": [{"label-value": 1, "rgba": [1, 2, 3, 4]}]}}
    )
    return versions.bare_attributes(version, "label", meta.to_json(), {})


def test_the_part_lies_where_the_version_has_it():
    four, five = label_document("0.4"), label_document("0.5")
    assert set(four) == {"multiscales", "image-label"}
    assert four["image-label"]["version"] == "0.4"
    assert set(five) == {"ome"}
    assert set(five["ome"]) == {"version", "multiscales", "image-label"}
    assert "version" not in five["ome"]["image-label"]
    for version, document in (("0.4", four), ("0.5", five)):
        assert versions.kind_of(document, FORMAT[version]) == "label"
        parts = versions.adapter(version).unpack(document, "label")
        assert set(parts) == {"multiscales", "image-label"}


@pytest.mark.parametrize("version", FORMAT)
def test_before_it_has_pixels_the_part_waits_with_the_image(version):
    parts = {
        "multiscales": [{**IMAGE, "datasets": []}],
        "image-label": {"colors": [{"label-value": 0}]},
    }
    document = versions.bare_attributes(version, "label", parts, {})
    assert set(document) == {"platestore"}
    assert versions.kind_of(document, FORMAT[version]) == "label"
    assert versions.own_part(document) == {"version": version}
    assert versions.only_ours(document)
    waiting = versions.adapter(version).unpack(document, "label")
    assert waiting["image-label"]["colors"] == [{"label-value": 0}]


@pytest.mark.parametrize("version", FORMAT)
@pytest.mark.parametrize("names", [[], ["b", "a", "original/0"]])
def test_the_list_lies_where_the_version_has_it(version, names):
    document = versions.bare_attributes(version, "labels", {"labels": names}, {})
    assert document == (
        {"labels": names} if version == "0.4" else {"ome": {"version": "0.5", "labels": names}}
    )
    assert versions.kind_of(document, FORMAT[version]) == "labels"
    assert versions.adapter(version).unpack(document, "labels") == {"labels": names}


@pytest.mark.parametrize(
    ("ome", "kind"),
    [
        ({"multiscales": [], "image-label": {}}, "label"),
        ({"multiscales": [], "labels": ["a"]}, "image"),
        ({"image-label": {}}, "unknown"),
        ({"labels": []}, "labels"),
        ({"labels": {"labels": ["a"]}}, "unknown"),
        ({"labels": "a"}, "unknown"),
        ({"well": {}, "labels": []}, "well"),
        ({"plate": {}, "multiscales": [], "image-label": {}}, "plate"),
    ],
)
def test_what_a_group_is(ome, kind):
    assert versions.kind_of(ome, 2) == kind
    assert versions.kind_of({"ome": ome}, 3) == kind


# --- colors -----------------------------------------------------------------------------------------


def plain(items):
    return [item.to_json() for item in items]


@pytest.mark.parametrize(
    "colors",
    [
        {1: (255, 0, 0), 2: [0, 255, 0, 128]},
        {np.uint16(1): np.array([255, 0, 0], "uint8"), np.int64(2): np.array([0, 255, 0, 128])},
        [{"label-value": 1, "rgba": [255, 0, 0, 255]}, {"label-value": 2, "rgba": (0, 255, 0, 128)}],
        iter(
            [{"label-value": 1, "rgba": (255, 0, 0)}, {"label-value": np.int8(2), "rgba": (0, 255, 0, 128)}]
        ),
    ],
)
def test_colors_are_given_by_value_or_as_a_list(colors):
    found = plain(check_colors(colors))
    assert found == [
        {"label-value": 1, "rgba": [255, 0, 0, 255]},
        {"label-value": 2, "rgba": [0, 255, 0, 128]},
    ]
    assert all(type(n) is int for item in found for n in (item["label-value"], *item["rgba"]))


@pytest.mark.parametrize("none", [{}, [], ()])
def test_no_colors_are_the_backgrounds(none):
    assert plain(check_colors(none)) == [{"label-value": 0, "rgba": [0, 0, 0, 0]}]


def test_an_entry_may_be_without_a_color_and_with_other_keys():
    given = [{"label-value": 1}, {"label-value": 2, "rgba": None}, {"label-value": 3, "note": "x"}]
    assert plain(check_colors(given)) == [{"label-value": 1}, {"label-value": 2}, given[2]]


WRONG_COLORS = [
    {1: (255, 0)},
    {1: (255, 0, 0, 0, 0)},
    {1: (256, 0, 0)},
    {1: (-1, 0, 0)},
    {1: (1.0, 0, 0)},
    {1: (0.5, 0.5, 0.5, 1.0)},
    {1: (True, 0, 0)},
    {1: "red"},
    {1: b"abc"},
    {1: 255},
    {1: np.array([0.5, 0.5, 0.5])},
    {1.0: (0, 0, 0)},
    {"1": (0, 0, 0)},
    {True: (0, 0, 0)},
    {None: (0, 0, 0)},
    {2**64: (0, 0, 0)},
    {-(2**63) - 1: (0, 0, 0)},
    [{"label-value": 1}, {"label-value": 1, "rgba": (0, 0, 0)}],
    [{"rgba": (0, 0, 0)}],
    [{"label_value": 1, "rgba": (0, 0, 0)}],
    [{"label-value": "1"}],
    [(1, (0, 0, 0))],
    "red",
    5,
]


@pytest.mark.parametrize("colors", WRONG_COLORS, ids=str)
def test_wrong_colors_are_refused(colors):
    with pytest.raises(ps.ArgumentError) as caught:
        check_colors(colors)
    assert caught.value.hint


def test_the_message_names_the_value_and_the_fault():
    with pytest.raises(ValueError, match=r"label 7 must be 3 or 4 integers from 0 to 255, not \(300, 0, 0\)"):
        check_colors({7: (300, 0, 0)})
    with pytest.raises(ValueError, match="more than once: 3"):
        check_colors([{"label-value": 3}, {"label-value": np.int32(3)}])


@settings(deadline=None, max_examples=examples(60))
@given(
    st.dictionaries(
        st.integers(-(2**63), 2**64 - 1), st.lists(st.integers(0, 255), min_size=3, max_size=4), max_size=8
    )
)
def test_every_right_color_comes_back(colors):
    found = check_colors(colors)
    shown = {c.label_value: c.rgba for c in found}
    assert shown == ({v: [*rgba, 255][:4] for v, rgba in colors.items()} or {0: [0, 0, 0, 0]})
    meta = ps.ImageLabelMeta(colors=found)
    assert list(meta.findings()) == []
    again, findings = read_model(
        ps.ImageLabelMeta, json.loads(json.dumps(meta.to_json())), location="image-label", path="doc"
    )
    assert again == meta
    assert findings == []


# --- default colors ---------------------------------------------------------------------------------


def test_default_colors_start_with_a_transparent_background():
    found = default_colors([3, 0, 1])
    assert [c.label_value for c in found] == [0, 3, 1]
    assert found[0].rgba == [0, 0, 0, 0]
    assert [c.rgba for c in default_colors([])] == [[0, 0, 0, 0]]


def test_default_colors_tell_values_apart():
    colors = [tuple(default_color(v)) for v in range(1, 1025)]
    assert len(set(colors)) == 1024
    for one, other in itertools.pairwise(colors):
        assert sum(abs(a - b) for a, b in zip(one, other, strict=True)) > 100
    assert all(max(c[:3]) >= 150 for c in colors), "none is close to the black background"


@given(st.integers(-(2**63), 2**64 - 1))
def test_a_default_color_depends_on_the_value_alone(value):
    color = default_color(value)
    assert color == default_color(value)
    assert len(color) == 4
    assert all(type(c) is int and 0 <= c <= 255 for c in color)
    assert color[3] == (0 if value == 0 else 255)


# --- properties -------------------------------------------------------------------------------------


def test_properties_are_given_by_value_or_as_a_list():
    by_value = check_properties({1: {"area": 3, "class": "a"}, np.uint8(2): {}})
    listed = check_properties([{"label-value": 1, "area": 3, "class": "a"}, {"label-value": np.int64(2)}])
    assert by_value is not None
    assert listed is not None
    assert plain(by_value) == plain(listed)
    assert plain(listed) == [{"label-value": 1, "area": 3, "class": "a"}, {"label-value": 2}]


@pytest.mark.parametrize("none", [{}, [], ()])
def test_no_properties_are_not_written(none):
    assert check_properties(none) is None


@pytest.mark.parametrize(
    "properties",
    [
        {1: 5},
        {1: [1]},
        {"1": {}},
        {1.5: {}},
        {2**64: {}},
        [{"area": 3}],
        [{"label-value": 1}, {"label-value": 1, "area": 3}],
        [5],
        {1: {5: 6}},
        "area",
        5,
    ],
    ids=str,
)
def test_wrong_properties_are_refused(properties):
    with pytest.raises(ps.ArgumentError) as caught:
        check_properties(properties)
    assert caught.value.hint


def test_what_only_looks_like_an_integer_is_none():
    with pytest.raises(ps.ArgumentError):
        check_colors({Fraction(1): (0, 0, 0)})


def test_what_was_given_is_not_changed():
    given_colors = [{"label-value": 1, "rgba": [1, 2, 3]}]
    given_properties = {1: {"area": [1, 2]}}
    before = copy.deepcopy((given_colors, given_properties))
    check_colors(given_colors)
    check_properties(given_properties)
    assert (given_colors, given_properties) == before
