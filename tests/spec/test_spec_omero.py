"""Channels: colours by name, windows that fit the data type, and what a user may pass."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import examples
from platestore.spec.omero import (
    channel_color,
    channel_window,
    check_channel_name,
    check_channel_names,
    check_window,
    complete,
    new_channel,
    new_omero,
)

quick = settings(deadline=None, max_examples=examples(60))


@pytest.mark.parametrize(
    "dtype",
    ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"],
)
def test_the_window_of_an_integer_type_is_its_whole_range(dtype):
    info = np.iinfo(dtype)
    low, high = int(info.min), int(info.max)
    assert channel_window("GFP", dtype) == {"start": low, "end": high, "min": low, "max": high}


@pytest.mark.parametrize("dtype", ["bool", "float16", "float32", "float64"])
def test_the_window_of_floats_and_booleans_is_zero_to_one(dtype):
    assert channel_window("GFP", dtype) == {"start": 0, "end": 1, "min": 0, "max": 1}


@pytest.mark.parametrize("name", ["Phase3D", "phase3d", "PHASE3D"])
def test_label_free_channels_have_their_own_window_in_floats_only(name):
    assert channel_window(name, "float32") == {"start": -0.2, "end": 0.2, "min": -10, "max": 10}
    assert channel_window(name, "uint16") == channel_window("GFP", "uint16")
    assert channel_window(name, "bool") == channel_window("GFP", "bool")


@pytest.mark.parametrize(
    "name", ["Retardance", "Orientation", "Phase2D", "Phase3D", "BF", "S0", "S1", "S2", "S3"]
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16", "int8", "bool"])
def test_every_window_is_ordered_and_within_its_type(name, dtype):
    window = channel_window(name, dtype)
    assert window["min"] <= window["start"] < window["end"] <= window["max"]
    if dtype not in ("bool",) and not dtype.startswith("float"):
        assert np.iinfo(dtype).min <= window["min"]
        assert window["max"] <= np.iinfo(dtype).max


@pytest.mark.parametrize(
    ("name", "color"),
    [
        ("GFP", "00FF00"),
        ("eGFP-actin", "00FF00"),
        ("FITC", "00FF00"),
        ("mNeonGreen", "00FF00"),
        ("mCherry", "FF00FF"),
        ("TxR", "FF00FF"),
        ("RFP", "FF00FF"),
        ("DAPI", "0000FF"),
        ("Hoechst 33342", "0000FF"),
        ("red", "FF0000"),
        ("Cy3", "FFFF00"),
        ("Cy5", "FFA500"),
        ("Phase3D", "FFFFFF"),
        *(
            (name, "FFFFFF")
            for name in ("nuclei_prediction", "Phase3D_registered", "infrared", "REDUCED", "Evergreen")
        ),
        *((name, "FFFFFF") for name in ("frequency5", "Day5", "Cy35", "surfplot", "Blues", "oranges")),
        *(
            (name, "FF0000")
            for name in ("Red", "mCherry-red", "red_1", "Red2", "FarRed", "DsRed", "dsred", "mRED")
        ),
        *((name, "00FF00") for name in ("EGFP", "sfGFP", "mneongreen", "GFP EX488 EM525", "gfp2")),
        *((name, "FF00FF") for name in ("tagrfp", "mcherryNLS", "H2B-mScarlet")),
        *((name, "FFA500") for name in ("Cy5.5", "CY5", "sulfoCy5", "orange_peel")),
        ("blue2", "0000FF"),
        ("ẞ İ red", "FF0000"),
        ("", "FFFFFF"),
        ("日本語", "FFFFFF"),
    ],
)
def test_colours_follow_the_name(name, color):
    assert channel_color(name) == color


@quick
@given(
    st.sampled_from(["GFP", "mCherry", "DAPI", "Hoechst", "Cy5", "Red", "txr", "mNeon", "Bf", "Yellow"]),
    st.randoms(use_true_random=False),
)
def test_colours_match_whatever_the_case(name, random):
    mixed = "".join(random.choice((c.lower(), c.upper())) for c in name)
    assert channel_color(mixed) == channel_color(name)


def test_a_new_channel_is_complete_but_for_its_window():
    assert new_channel("GFP", first=True).to_json() == {
        "active": True,
        "coefficient": 1.0,
        "color": "00FF00",
        "family": "linear",
        "inverted": False,
        "label": "GFP",
    }
    assert new_channel("GFP", dtype="uint8").window == {"start": 0, "end": 255, "min": 0, "max": 255}


def test_a_new_block_shows_the_first_channel_and_uses_the_specifications_keys():
    block = new_omero(["DAPI", "GFP"], name="field", dtype="uint16").to_json()
    assert [c["label"] for c in block["channels"]] == ["DAPI", "GFP"]
    assert [c["active"] for c in block["channels"]] == [True, False]
    assert block["rdefs"] == {"defaultT": 0, "defaultZ": 0, "model": "color", "projection": "normal"}
    assert block["name"] == "field"


def test_windows_are_fitted_where_there_is_none_yet():
    block = new_omero(["a", "b"])
    block.channels[0].window = {"start": 1, "end": 2, "min": 0, "max": 3}
    complete(block, "uint8")
    assert block.channels[0].window == {"start": 1, "end": 2, "min": 0, "max": 3}
    assert block.channels[1].window == {"start": 0, "end": 255, "min": 0, "max": 255}


def test_a_channel_without_a_label_gets_a_window_too():
    block = ps.OMEROMeta(channels=[ps.ChannelMeta()])
    complete(block, "float32")
    assert block.channels[0].window == {"start": 0, "end": 1, "min": 0, "max": 1}


# --- what users pass ------------------------------------------------------------------------------

WINDOW = {"start": 10, "end": 200, "min": 0, "max": 255}


@pytest.mark.parametrize(
    "value", [0, 1.5, -3, np.uint16(7), np.float32(0.5), np.int64(-2)], ids=lambda v: f"{type(v).__name__}"
)
def test_windows_take_any_finite_number_and_keep_plain_ones(value):
    checked = check_window({**WINDOW, "start": value})
    assert checked["start"] == value
    assert type(checked["start"]) in (int, float)
    assert list(checked) == ["start", "end", "min", "max"]


@pytest.mark.parametrize(
    "bad",
    [
        None,
        5,
        "window",
        [0, 1, 2, 3],
        {},
        {k: WINDOW[k] for k in ("start", "end", "min")},
        {**WINDOW, "end": math.nan},
        {**WINDOW, "end": math.inf},
        {**WINDOW, "end": "255"},
        {**WINDOW, "end": None},
        {**WINDOW, "end": True},
        {**WINDOW, "end": [1]},
        {**WINDOW, "end": 10**400},
    ],
    ids=lambda b: repr(b)[:40],
)
def test_wrong_windows_are_a_value_error(bad):
    with pytest.raises(ps.ArgumentError, match="window"):
        check_window(bad)


@pytest.mark.parametrize("names", [[], ["DAPI"], ["Ä", "日本語", "a/b", " ", "🔬\n"], ("a", "b")])
def test_any_unique_texts_are_channel_names(names):
    assert check_channel_names(names) == list(names)
    assert check_channel_names(n for n in names) == list(names)


@pytest.mark.parametrize(
    "names", ["DAPI", 5, None, ["a", "a"], ["a", ""], [1], [None], [b"a"], b"ab"], ids=repr
)
def test_other_lists_of_channel_names_are_a_value_error(names):
    with pytest.raises(ps.ArgumentError, match="channel"):
        check_channel_names(names)


@pytest.mark.parametrize("name", ["", None, 1, b"a", ["a"]], ids=repr)
def test_one_channel_name_is_a_non_empty_string(name):
    with pytest.raises(ps.ArgumentError, match="non-empty string"):
        check_channel_name(name)
