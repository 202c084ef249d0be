"""Axes: what may be created, what is read with a finding, and where the channel axis is."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import examples
from platestore.spec.axes import axes_findings, channel_index, check_axes, default_axes
from platestore.spec.base import read_model
from platestore.spec.multiscales import MultiScaleMeta

quick = settings(deadline=None, max_examples=examples(60))

T = {"name": "t", "type": "time", "unit": "second"}
C = {"name": "c", "type": "channel"}
Z, Y, X = ({"name": n, "type": "space", "unit": "micrometer"} for n in "zyx")

LEGAL = {
    "YX": [Y, X],
    "ZYX": [Z, Y, X],
    "CYX": [C, Y, X],
    "TYX": [T, Y, X],
    "TCYX": [T, C, Y, X],
    "CZYX": [C, Z, Y, X],
    "TZYX": [T, Z, Y, X],
    "TCZYX": [T, C, Z, Y, X],
}


def codes(axes) -> set[str]:
    models = [ps.AxisMeta.model_validate(a) for a in axes]
    return {finding.code for finding in axes_findings(models, "axes")}


@pytest.mark.parametrize("axes", LEGAL.values(), ids=LEGAL)
def test_two_to_five_axes_in_order_are_legal(axes):
    checked = check_axes(axes)
    assert [a.name for a in checked] == [a["name"] for a in axes]
    assert codes(axes) == set()


def test_parsed_axes_have_the_class_of_their_type():
    kinds = [type(axis) for axis in check_axes(LEGAL["TCZYX"])]
    assert kinds == [ps.TimeAxisMeta, ps.ChannelAxisMeta, *[ps.SpaceAxisMeta] * 3]


def test_classes_state_their_type():
    assert ps.TimeAxisMeta(name="T").type == "time"
    assert ps.ChannelAxisMeta(name="C").type == "channel"
    assert ps.SpaceAxisMeta(name="X").type == "space"
    assert ps.AxisMeta(name="X").type is None


def test_default_axes_are_tczyx_in_lower_case_with_units():
    axes = default_axes()
    assert [a.name for a in axes] == ["t", "c", "z", "y", "x"]
    assert [a.type for a in axes] == ["time", "channel", "space", "space", "space"]
    assert [a.unit for a in axes] == ["second", None, "micrometer", "micrometer", "micrometer"]


def test_default_axes_are_new_each_time():
    default_axes()[0].name = "changed"
    assert default_axes()[0].name == "t"


@quick
@given(st.permutations(range(5)))
def test_any_order_but_time_channel_space_is_refused(order):
    axes = [LEGAL["TCZYX"][i] for i in order]
    types = [a["type"] for a in axes]
    right = sorted(types, key=["time", "channel", "space"].index) == types
    if right:
        assert len(check_axes(axes)) == 5
    else:
        with pytest.raises(ValueError, match=r"time, channel, space"):
            check_axes(axes)


def test_the_order_of_the_spatial_axes_is_free():
    for order in permutations([Z, Y, X]):
        assert [a.name for a in check_axes([C, *order])] == ["c", *(a["name"] for a in order)]


def test_a_custom_axis_stands_where_a_channel_axis_would():
    angle = {"name": "angle", "type": "angle"}
    assert [a.name for a in check_axes([T, angle, Y, X])] == ["t", "angle", "y", "x"]
    with pytest.raises(ValueError, match=r"time, channel, space"):
        check_axes([angle, T, Y, X])


@pytest.mark.parametrize(
    ("axes", "code"),
    [
        ([], "axis-count"),
        ([X], "axis-count"),
        ([T, C, {"name": "w", "type": "space"}, Z, Y, X], "axis-count"),
        ([T, C, X], "axis-space"),
        ([{"name": "w", "type": "space"}, Z, Y, X], "axis-space"),
        ([T, {**T, "name": "u"}, Y, X], "axis-time"),
        ([C, {"name": "d", "type": "channel"}, Y, X], "axis-channel"),
        ([C, {"name": "d", "type": "custom"}, Y, X], "axis-channel"),
        ([Y, Y], "axis-duplicate"),
        ([C, T, Y, X], "axis-order"),
        ([Y, X, C], "axis-order"),
    ],
)
def test_each_rule_has_a_code_on_reading_and_is_an_error_on_writing(axes, code):
    assert code in codes(axes)
    with pytest.raises(ps.ArgumentError):
        check_axes(axes)


def test_a_finding_names_the_place_and_what_is_wrong():
    (finding,) = axes_findings([ps.AxisMeta(name="y", type="space")] * 2, "multiscales[0].axes")
    assert finding.location == "multiscales[0].axes"
    assert "'y'" in finding.message
    assert str(finding).startswith("multiscales[0].axes: ")


def test_axes_without_a_type_are_read_without_a_finding():
    assert codes([{"name": "y"}, {"name": "x"}]) == set()


def test_axes_without_a_type_get_that_of_their_conventional_name_on_writing():
    given_axes = [ps.AxisMeta(name=n) for n in ("T", "c", "Z", "y", "X")]
    assert [a.type for a in check_axes(given_axes)] == ["time", "channel", "space", "space", "space"]
    assert [a.type for a in given_axes] == [None] * 5, "the caller's axes were changed"


def test_keys_of_others_on_an_axis_survive():
    orientation = {"type": "anatomical", "value": "left-to-right"}
    axis = check_axes([Y, {**X, "orientation": orientation}])[1]
    assert axis.to_json() == {**X, "orientation": orientation}


@pytest.mark.parametrize(
    "axes", [None, 5, "tczyx", ["y", "x"], [None, None], [{"type": "space"}] * 2, [Y, 3]]
)
def test_what_is_no_list_of_axes_is_a_value_error(axes):
    with pytest.raises(ValueError, match="axes cannot be read"):
        check_axes(axes)


def test_checked_axes_are_copies():
    mine = [ps.SpaceAxisMeta(name="y"), ps.SpaceAxisMeta(name="x")]
    checked = check_axes(mine)
    checked[0].name = "other"
    assert mine[0].name == "y"


@pytest.mark.parametrize(
    ("axes", "index"),
    [
        (LEGAL["TCZYX"], 1),
        (LEGAL["CZYX"], 0),
        (LEGAL["CYX"], 0),
        (LEGAL["ZYX"], None),
        ([{"name": "wave", "type": "channel"}, Y, X], 0),
        ([{"name": "C"}, {"name": "y"}, {"name": "x"}], 0),
        ([{"name": "c", "type": "space"}, X], None),
        ([{"name": "c"}, {"name": "k", "type": "channel"}, Y, X], 1),
    ],
)
def test_the_channel_axis_is_found_by_type_then_by_name(axes, index):
    assert channel_index([ps.AxisMeta.model_validate(a) for a in axes]) == index


def test_axes_parsed_within_an_image_keep_class_and_keys():
    image = MultiScaleMeta.model_validate({"axes": [{**T, "note": 1}, Y, X], "datasets": []})
    assert isinstance(image.axes[0], ps.TimeAxisMeta)
    assert image.to_json()["axes"][0] == {**T, "note": 1}


@pytest.mark.parametrize(
    ("cls", "given", "expected"),
    [
        *(
            (ps.SpaceAxisMeta, u, "micrometer")
            for u in ("um", "\u00b5m", "\u03bcm", "micron", "microns", "Micrometres")
        ),
        *((ps.TimeAxisMeta, u, "second") for u in ("s", "sec", "secs", "second", "seconds", "Seconds")),
        (ps.SpaceAxisMeta, "nm", "nanometer"),
        (ps.TimeAxisMeta, "ms", "millisecond"),
        (ps.TimeAxisMeta, "minutes", "minute"),
        (ps.SpaceAxisMeta, "pixel", "pixel"),
        (ps.SpaceAxisMeta, "s", "s"),
        (ps.TimeAxisMeta, "um", "um"),
        (ps.SpaceAxisMeta, None, None),
    ],
)
def test_units_that_a_user_gives_get_the_listed_spelling(cls, given, expected):
    axis = cls(name="a", unit=given)
    assert axis.unit == expected
    axis.unit = given
    assert axis.unit == expected


def test_units_of_plain_axes_are_spelled_at_creation_too():
    plain = [
        {"name": "t", "unit": "sec"},
        ps.AxisMeta(name="y", unit="um"),
        {"name": "X", "type": "space", "unit": "nm"},
    ]
    assert [a.unit for a in check_axes(plain)] == ["second", "micrometer", "nanometer"]


@pytest.mark.parametrize("unit", ["pixel", "furlong", "", "seconds"])
def test_units_that_are_not_listed_are_named_and_written_as_they_are(unit):
    with pytest.warns(ps.StoreWarning, match=r"axis 'y': .*written as it is"):
        axes = check_axes([ps.SpaceAxisMeta(name="y", unit=unit), ps.SpaceAxisMeta(name="x")])
    assert axes[0].unit == unit


@pytest.mark.parametrize("unit", ["um", "\u00b5m", "pixel", "Micrometers"])
def test_units_of_a_store_stay_as_they_are(unit):
    stored = {"axes": [{**Y, "unit": unit}, {**X, "unit": unit}], "datasets": []}
    meta, _ = read_model(MultiScaleMeta, stored, location="image", path="p")
    assert [axis.unit for axis in meta.axes] == [unit, unit]
    assert [axis.unit for axis in check_axes(meta.axes, stored=True)] == [unit, unit]
    assert [type(axis) for axis in meta.axes] == [ps.SpaceAxisMeta] * 2
