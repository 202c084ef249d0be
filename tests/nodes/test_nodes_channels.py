"""Channels: appending, renaming, updating, windows and colours, with and without ``omero``."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore

import platestore as ps
from conftest import examples, make_plate
from nodes.store_helpers import (
    attributes,
    axes,
    edit_ome,
    new_position,
    ome,
    pixels,
    refused,
    scale,
    snapshot,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.zarr"


@pytest.fixture
def position(path, version):
    made = new_position(path, version)
    made["0"] = pixels(2, 2, 3, 4, 4)
    return made


@pytest.fixture
def bare(path, version):
    """An image without ``omero``, as other programs write them."""
    made = new_position(path, version)
    made["0"] = pixels(1, 2, 1, 4, 4)
    edit_ome(path, lambda ome: ome.pop("omero"))
    return ps.open_ome_zarr(path, mode="r+")


def labels(path):
    return [channel["label"] for channel in ome(path)["omero"]["channels"]]


# --- append ---------------------------------------------------------------------------------------


def test_append_channel_grows_every_array_by_zeros(position, path):
    position.create_image("1", pixels(2, 2, 3, 2, 2), transform=scale(1, 1, 1, 2, 2))
    position.create_image("raw", pixels(1, 2, 1, 4, 4))
    assert position.append_channel("Cy5") is None
    for node in (position, ps.open_ome_zarr(path)):
        assert node.channel_names == ["DAPI", "GFP", "Cy5"]
        assert [image.shape[1] for _, image in node.images()] == [3, 3, 3]
        np.testing.assert_array_equal(node["0"][:, :2], pixels(2, 2, 3, 4, 4))
        assert not node["0"][:, 2].any()
    assert labels(path) == ["DAPI", "GFP", "Cy5"]
    assert "intents" not in attributes(path).get("platestore", {})


def test_append_channel_can_leave_the_arrays(position, path):
    position.append_channel("Cy5", resize_arrays=False)
    read = ps.open_ome_zarr(path)
    assert read.channel_names == ["DAPI", "GFP", "Cy5"]
    assert read["0"].shape == (2, 2, 3, 4, 4)


def test_append_channel_before_there_is_an_image(path, version):
    new_position(path, version).append_channel("Cy5")
    position = ps.open_ome_zarr(path, mode="r+")
    assert position.channel_names == ["DAPI", "GFP", "Cy5"]
    position["0"] = pixels(1, 3, 1, 4, 4)
    assert labels(path) == ["DAPI", "GFP", "Cy5"]


@pytest.mark.parametrize("resize", [True, False])
def test_append_channel_refuses_a_name_that_is_taken(position, path, resize):
    with refused(ps.ArgumentError, ValueError, tree=path, names=False):
        position.append_channel("GFP", resize_arrays=resize)


@pytest.mark.parametrize("name", ["", None, 3, b"GFP", ["GFP"]])
def test_a_channel_name_is_a_string(position, path, name):
    for change in (
        lambda: position.append_channel(name),
        lambda: position.rename_channel("GFP", name),
    ):
        with refused(ps.ArgumentError, ValueError, tree=path, names=False):
            change()


def test_append_channel_on_channel_axis_zero(path, version):
    position = new_position(path, version, names="CZYX")
    position["0"] = pixels(2, 3, 4, 4)
    position.append_channel("Cy5")
    assert ps.open_ome_zarr(path)["0"].shape == (3, 3, 4, 4)
    np.testing.assert_array_equal(ps.open_ome_zarr(path)["0"][:2], pixels(2, 3, 4, 4))


def test_append_channel_without_a_channel_axis_is_refused(path, version):
    position = new_position(path, version, names="ZYX", channels=["a"])
    position["0"] = pixels(3, 4, 4)
    with refused(ps.ArgumentError, ValueError, tree=path, names=path):
        position.append_channel("b")


def test_append_channel_is_seen_by_an_array_opened_afterwards(position):
    before = position["0"]
    position.append_channel("Cy5")
    assert position["0"].channels == 3
    assert before.refresh().channels == 3


def test_append_channel_to_an_image_without_omero_names_all(bare, path):
    assert bare.channel_names == ["0", "1"]
    bare.append_channel("Cy5")
    assert ps.open_ome_zarr(path).channel_names == labels(path) == ["0", "1", "Cy5"]
    assert ps.open_ome_zarr(path)["0"].shape == (1, 3, 1, 4, 4)


def test_append_channel_works_on_shards(path):
    position = new_position(path, "0.5")
    position.create_image("0", pixels(1, 2, 2, 8, 8), chunks=(1, 1, 1, 4, 4), shards_ratio=(1, 1, 2, 2, 2))
    position.append_channel("Cy5")
    image = ps.open_ome_zarr(path)["0"]
    np.testing.assert_array_equal(image[:, :2], pixels(1, 2, 2, 8, 8))
    assert image.shape == (1, 3, 2, 8, 8)


# --- rename ---------------------------------------------------------------------------------------


def test_rename_channel_keeps_its_settings(position, path):
    before = ome(path)["omero"]["channels"]
    position.rename_channel("GFP", "α-tubulin (488 nm)")
    after = ome(path)["omero"]["channels"]
    assert position.channel_names == ["DAPI", "α-tubulin (488 nm)"]
    assert after[0] == before[0]
    assert {k: v for k, v in after[1].items() if k != "label"} == {
        k: v for k, v in before[1].items() if k != "label"
    }
    assert position.get_channel_index("α-tubulin (488 nm)") == 1


def test_rename_channel_to_its_own_name_is_nothing(position, path):
    before = snapshot(path)
    position.rename_channel("GFP", "GFP")
    assert snapshot(path) == before


def test_rename_channel_refuses_duplicates_and_unknown_names(position, path):
    with refused(ps.ArgumentError, ValueError, tree=path, names=False):
        position.rename_channel("GFP", "DAPI")
    with refused(ps.ArgumentError, ValueError, tree=path, names="DAPI, GFP"):
        position.rename_channel("Cy5", "Cy3")


def test_rename_channel_of_an_image_without_omero_names_all(bare, path):
    bare.rename_channel("1", "GFP")
    assert ps.open_ome_zarr(path).channel_names == labels(path) == ["0", "GFP"]


def test_rename_channel_of_another_process_is_seen_under_the_lock(position, path):
    ps.open_ome_zarr(path, mode="r+").rename_channel("GFP", "YFP")
    with refused(ps.ArgumentError, ValueError, tree=path, names=False):
        position.rename_channel("DAPI", "YFP")
    position.rename_channel("YFP", "CFP")
    assert ps.open_ome_zarr(path).channel_names == ["DAPI", "CFP"]


@settings(deadline=None, max_examples=examples(30))
@given(
    names=st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=4, unique=True),
    version=st.sampled_from(["0.4", "0.5"]),
)
def test_channel_names_may_be_any_text(names, version):
    store = MemoryStore()
    position = ps.open_ome_zarr(store, layout="fov", mode="w-", channel_names=names, version=version)
    position["0"] = pixels(1, len(names), 1, 2, 2)
    read = ps.open_ome_zarr(store)
    assert read.channel_names == names
    assert [read.get_channel_index(name) for name in names] == list(range(len(names)))


def test_a_channel_name_without_utf_8_form_is_refused(position, path):
    for change in (
        lambda: position.append_channel("\ud800"),
        lambda: position.rename_channel("GFP", "\ud800"),
        lambda: ps.open_ome_zarr(path, layout="fov", mode="w", channel_names=["\ud800"]),
    ):
        with refused(ps.ArgumentError, ValueError, tree=path, names=False):
            change()


# --- update ---------------------------------------------------------------------------------------


def test_update_channel_writes_that_channel_only(position, path):
    new = np.full((2, 3, 4, 4), 999, "uint16")
    position.update_channel("GFP", "0", new)
    image = ps.open_ome_zarr(path)["0"]
    np.testing.assert_array_equal(image[:, 1], new)
    np.testing.assert_array_equal(image[:, 0], pixels(2, 2, 3, 4, 4)[:, 0])


def test_update_channel_on_channel_axis_zero(path, version):
    position = new_position(path, version, names="CYX")
    position["0"] = pixels(2, 4, 4)
    position.update_channel("DAPI", "0", np.full((4, 4), 7, "uint16"))
    np.testing.assert_array_equal(ps.open_ome_zarr(path)["0"][0], np.full((4, 4), 7))
    np.testing.assert_array_equal(ps.open_ome_zarr(path)["0"][1], pixels(2, 4, 4)[1])


def test_update_channel_of_an_image_without_omero(bare, path):
    bare.update_channel("1", "0", np.full((1, 1, 4, 4), 7, "uint16"))
    assert (ps.open_ome_zarr(path)["0"][:, 1] == 7).all()


@pytest.mark.parametrize("shape", [(2, 2, 3, 4, 4), (3, 4, 4), (2, 3, 4, 5), (1, 3, 4, 4), ()])
def test_update_channel_refuses_other_shapes(position, path, shape):
    with refused(ps.ArgumentError, ValueError, tree=path, names=False):
        position.update_channel("GFP", "0", np.zeros(shape, "uint16"))


def test_update_channel_refuses_what_is_unknown(position, path):
    data = np.zeros((2, 3, 4, 4), "uint16")
    with refused(ps.ArgumentError, ValueError, tree=path, names=False):
        position.update_channel("Cy5", "0", data)
    with refused(ps.NodeKeyError, KeyError, tree=path):
        position.update_channel("GFP", "7", data)
    position.append_channel("late", resize_arrays=False)
    with refused(ps.ArgumentError, ValueError, tree=path, names=False):
        position.update_channel("late", "0", data)


def test_update_channel_without_a_channel_axis_is_refused(path, version):
    position = new_position(path, version, names="ZYX", channels=["a"])
    position["0"] = pixels(3, 4, 4)
    with refused(ps.ArgumentError, ValueError, tree=path, names=False):
        position.update_channel("a", "0", pixels(4, 4))


# --- windows --------------------------------------------------------------------------------------

WINDOW = {"start": 10, "end": 200.5, "min": 0, "max": 4095}


def test_set_contrast_limits_sets_those_of_one_channel(position, path):
    other = ome(path)["omero"]["channels"][0]
    position.set_contrast_limits("GFP", WINDOW)
    assert ome(path)["omero"]["channels"][1]["window"] == WINDOW
    assert ome(path)["omero"]["channels"][0] == other
    assert ps.open_ome_zarr(path).metadata.omero.channels[1].window == WINDOW


def test_set_contrast_limits_takes_numbers_of_numpy(position, path):
    position.set_contrast_limits("GFP", {k: np.float32(v) for k, v in WINDOW.items()})
    assert ome(path)["omero"]["channels"][1]["window"] == WINDOW


def test_set_contrast_limits_of_an_image_without_omero(bare, path):
    bare.set_contrast_limits("1", WINDOW)
    assert labels(path) == ["0", "1"]
    assert ome(path)["omero"]["channels"][1]["window"] == WINDOW


@pytest.mark.parametrize(
    "window",
    [
        {},
        {"start": 0, "end": 1},
        {**WINDOW, "end": float("nan")},
        {**WINDOW, "end": float("inf")},
        {**WINDOW, "end": "9"},
        {**WINDOW, "end": None},
        {**WINDOW, "end": True},
        None,
        (0, 1, 0, 1),
    ],
)
def test_a_window_needs_four_finite_numbers(position, path, window):
    with refused(ps.ArgumentError, ValueError, tree=path, names=False):
        position.set_contrast_limits("GFP", window)


def test_a_window_of_an_unknown_channel_is_refused(position, path):
    with refused(ps.ArgumentError, ValueError, tree=path, names="DAPI, GFP"):
        position.set_contrast_limits("Cy5", WINDOW)


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("bool", 0, 1),
        ("uint8", 0, 255),
        ("int8", -128, 127),
        ("uint16", 0, 65535),
        ("int16", -32768, 32767),
        ("uint32", 0, 2**32 - 1),
        ("float16", 0, 1),
        ("float32", 0, 1),
        ("float64", 0, 1),
    ],
)
def test_windows_fit_the_type_of_the_pixels(path, version, dtype, low, high):
    position = new_position(path, version, channels=["DAPI", "S3"])
    position["0"] = pixels(1, 2, 1, 4, 4, dtype=dtype)
    first, second = (channel["window"] for channel in ome(path)["omero"]["channels"])
    assert (first["min"], first["max"]) == (low, high)
    for window in (first, second):
        assert window["min"] <= window["start"] < window["end"] <= window["max"]
    position.append_channel("new")
    assert ome(path)["omero"]["channels"][2]["window"]["max"] == high


def test_a_second_array_does_not_change_windows(position, path):
    before = ome(path)["omero"]["channels"]
    position["mask"] = pixels(1, 2, 1, 4, 4, dtype="uint8")
    assert ome(path)["omero"]["channels"] == before


# --- colours --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "color"),
    [
        ("DAPI", "0000FF"),
        ("dapi", "0000FF"),
        ("Hoechst 33342", "0000FF"),
        ("GFP", "00FF00"),
        ("eGfp", "00FF00"),
        ("fitc", "00FF00"),
        ("mCherry", "FF00FF"),
        ("MCHERRY", "FF00FF"),
        ("Red", "FF0000"),
        ("cy3", "FFFF00"),
        ("CY5", "FFA500"),
        ("brightfield", "FFFFFF"),
        ("什么", "FFFFFF"),
    ],
)
def test_colours_follow_the_name_whatever_its_case(path, name, color):
    position = new_position(path, channels=[name])
    position["0"] = pixels(1, 1, 1, 4, 4)
    assert ome(path)["omero"]["channels"][0]["color"] == color


def test_colours_and_windows_of_others_are_kept(path, version):
    position = new_position(path, version)
    position["0"] = pixels(1, 2, 1, 4, 4)

    def customise(ome):
        ome["omero"]["channels"][0].update(color="123456", wavelength_id="A01_C01", active=False)
        ome["omero"]["rdefs"]["model"] = "greyscale"
        ome["omero"]["pixel_size"] = 3

    edit_ome(path, customise)
    kept = ome(path)["omero"]
    position = ps.open_ome_zarr(path, mode="r+")
    position.append_channel("Cy5")
    position.rename_channel("GFP", "YFP")
    position.set_contrast_limits("YFP", WINDOW)
    after = ome(path)["omero"]
    assert after["channels"][0] == kept["channels"][0]
    assert after["rdefs"] == kept["rdefs"]
    assert after["pixel_size"] == 3


# --- images without omero -------------------------------------------------------------------------


@pytest.mark.parametrize("names", ["YX", "ZYX", "CYX", "CZYX", "TCZYX"])
def test_images_without_omero_work_with_any_axes(path, version, names):
    position = new_position(path, version, names=names, channels=["a", "b"][: 2 if "C" in names else 1])
    position["0"] = pixels(*([2] * len(names)))
    edit_ome(path, lambda ome: ome.pop("omero"))
    read = ps.open_ome_zarr(path, mode="r+")
    expected = ["0", "1"] if "C" in names else ["0"]
    assert read.channel_names == expected
    assert read.get_channel_index("0") == 0
    assert "omero" not in ome(path)
    read.create_image("more", pixels(*([3] * len(names))))
    assert read.channel_names == expected
    assert [axis.name for axis in read.axes] == [axis.name for axis in axes(names)]


def test_reading_an_image_without_omero_writes_none(bare, path):
    before = snapshot(path)
    assert bare.channel_names == ["0", "1"]
    assert bare.metadata.omero is None
    assert snapshot(path) == before
    bare.set_scale("0", "x", 0.5)
    assert "omero" not in ome(path), "a change of something else adds none"


def test_channels_without_labels_are_numbered(position, path):
    edit_ome(path, lambda ome: [channel.pop("label") for channel in ome["omero"]["channels"]])
    read = ps.open_ome_zarr(path, mode="r+")
    assert read.channel_names == ["0", "1"]
    read.rename_channel("1", "GFP")
    assert ps.open_ome_zarr(path).channel_names == ["0", "GFP"]


# --- windows from pixels --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
def test_a_window_between_percentiles(tmp_path, dtype):
    position = ps.open_ome_zarr(tmp_path / "a.zarr", layout="fov", mode="w-", channel_names=["a", "b"])
    data = np.random.default_rng(1).normal(120, 20, (2, 2, 1, 40, 40)).clip(0, 250).astype(dtype)
    position.create_image("0", data, chunks=(1, 2, 1, 16, 16))
    position.set_contrast_limits("b", percentiles=(1, 99))
    first, window = (channel.window for channel in position.metadata.omero.channels)
    assert (window["min"], window["max"]) == (data[:, 1].min(), data[:, 1].max())
    expected = np.percentile(data[:, 1], (1, 99))
    np.testing.assert_allclose(
        (window["start"], window["end"]), expected, atol=1 if dtype != "float32" else 0.3
    )
    assert first == ps.open_ome_zarr(tmp_path / "a.zarr").metadata.omero.channels[0].window
    assert not ps.validate(tmp_path / "a.zarr").findings


def test_a_window_of_constant_pixels_and_of_none(tmp_path):
    position = ps.open_ome_zarr(tmp_path / "a.zarr", layout="fov", mode="w-", channel_names=["a", "b"])
    position.create_zeros("0", (1, 2, 1, 4, 4), "float32")
    position.data[:, 1] = np.nan
    position.set_contrast_limits("a", percentiles=(0, 100))
    window = position.metadata.omero.channels[0].window
    assert window["min"] <= window["start"] < window["end"] <= window["max"]
    for wrong in (
        {"percentiles": (5, 5)},
        {"percentiles": (-1, 50)},
        {"percentiles": 3},
        {"percentiles": (1, 99), "window": {"start": 0, "end": 1, "min": 0, "max": 1}},
        {},
    ):
        with pytest.raises(ps.ArgumentError):
            position.set_contrast_limits("a", **wrong)
    with pytest.raises(ps.ArgumentError, match="no finite value"):
        position.set_contrast_limits("b", percentiles=(1, 99))


def test_a_window_is_taken_from_the_coarsest_level_that_is_large_enough(tmp_path):
    position = ps.open_ome_zarr(tmp_path / "a.zarr", layout="fov", mode="w-", channel_names=["a"])
    position.create_image("0", np.zeros((1, 1, 1, 1024, 1024), "uint8"), pyramid_levels=4)
    position["2"][...] = 9
    position.set_contrast_limits("a", percentiles=(0, 100))
    assert position.metadata.omero.channels[0].window["max"] == 9 + 1


def test_fields_of_one_plate_may_have_channels_of_their_own(tmp_path, version):
    plate = make_plate(tmp_path / "a.zarr", version)
    names = ["DAPI", "CD3", "CD8"]
    cycle = plate.create_position("A", "1", "1", acq_index=1, channel_names=names)
    cycle.create_image("0", np.ones((1, 3, 1, 8, 8), "uint16"))
    other = plate["A/1"].create_position("2", acquisition=2, channel_names=["BF"])
    with pytest.raises(ps.ArgumentError, match="channels"):
        other.create_image("0", np.ones((1, 2, 1, 8, 8), "uint16"))
    several = plate.create_positions(
        [("C", "1", "0"), ("C", "2", "0")], (1, 3, 1, 8, 8), "uint8", channel_names=names
    )
    assert [p.channel_names for p in several] == [names, names]
    fresh = ps.open_ome_zarr(tmp_path / "a.zarr")
    assert fresh.channel_names == ["DAPI", "GFP"], "those of the first position"
    assert fresh["A/1/1"].channel_names == fresh["C/2/0"].channel_names == names
    assert fresh["A/1/2"].channel_names == ["BF"]
    assert plate.create_position("D", "1", "0").channel_names == ["DAPI", "GFP"]
    for wrong in ("DAPI", ["a", "a"], [""], [1]):
        with pytest.raises(ps.ArgumentError, match=r"channel.name"):
            plate.create_position("E", "1", "0", channel_names=wrong)
    assert "E" not in plate
    alone = ps.copy(tmp_path / "a.zarr/A/1", tmp_path / "well.zarr")
    well = ps.open_ome_zarr(alone.destination, mode="r+")
    assert well.create_position("7", channel_names=["BF"]).channel_names == ["BF"]
