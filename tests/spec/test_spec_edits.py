"""Edits of an image's document: which arrays are levels, what a scale means, which channel is which."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import examples
from platestore.spec import edits
from platestore.spec.axes import default_axes
from platestore.spec.own import OwnMeta

quick = settings(deadline=None, max_examples=examples(60))
AXES = default_axes()[3:]


def scale(*values):
    return [ps.TransformationMeta(type="scale", scale=list(values))]


def moved(factors, offsets):
    return [*scale(*factors), ps.TransformationMeta(type="translation", translation=list(offsets))]


def position(*names, name="field"):
    return edits.empty_image(AXES, names, name)


def listed(meta, name, shape, last=None, transform=None, dtype="uint16"):
    edits.list_image(meta, name, shape, last, transform, dtype)
    return meta


def pyramid():
    """Three levels; the second and third are shifted by half a pixel of difference, as binning makes them."""
    meta = listed(position("a"), "0", (64, 64), None, scale(0.5, 0.5))
    listed(meta, "1", (32, 32), (64, 64), moved((1.0, 1.0), (0.25, 0.25)))
    return listed(meta, "2", (16, 16), (32, 32), moved((2.0, 2.0), (0.75, 0.75)))


def structure(meta):
    return [(m.name, [d.path for d in m.datasets]) for m in meta.multiscales]


# --- listing --------------------------------------------------------------------------------------


def test_an_empty_position_keeps_axes_and_channels_for_its_first_image():
    meta = edits.empty_image(default_axes(), ["DAPI", "GFP"], "field")
    assert structure(meta) == [("field", [])]
    assert [a.name for a in meta.multiscales[0].axes] == ["t", "c", "z", "y", "x"]
    assert edits.channel_names(meta, 0) == ["DAPI", "GFP"]
    assert all(channel.window is None for channel in meta.omero.channels)


def test_a_position_without_channel_names_has_no_omero():
    assert position().omero is None


def test_the_first_array_fills_the_multiscales_that_waited():
    meta = listed(position("a"), "raw", (8, 8))
    assert structure(meta) == [("field", ["raw"])]
    assert meta.multiscales[0].datasets[0].coordinate_transformations == scale(1.0, 1.0)


def test_one_level_says_so_for_the_strict_schemas():
    image = listed(position("a"), "0", (8, 8)).multiscales[0]
    assert (image.type, image.metadata) == ("none", {})


def test_the_windows_are_fitted_to_the_first_array_and_kept_afterwards():
    meta = listed(position("a"), "0", (8, 8), dtype="uint8")
    listed(meta, "other", (8, 8), (8, 8), dtype="float32")
    assert meta.omero.channels[0].window["max"] == 255


def test_a_coarser_array_with_a_transform_joins_as_a_level():
    meta = pyramid()
    assert structure(meta) == [("field", ["0", "1", "2"])]
    assert meta.multiscales[0].type not in (None, "none")


def test_a_stated_method_of_the_levels_is_kept():
    meta = listed(position("a"), "0", (8, 8))
    meta.multiscales[0].type = "gaussian"
    listed(meta, "1", (4, 4), (8, 8), scale(2, 2))
    assert meta.multiscales[0].type == "gaussian"


@pytest.mark.parametrize(
    ("shape", "transform"),
    [
        ((4, 4), None),  # no transform: nothing says that it is a level
        ((8, 8), scale(2, 2)),  # not smaller
        ((4, 4), scale(1, 1)),  # not coarser
        ((4, 4), []),  # the same
        ((16, 16), scale(2, 2)),  # larger
        ((4, 16), scale(2, 2)),  # smaller along one axis, larger along the other
        ((4, 4), scale(0.5, 0.5)),  # finer
        ((4, 4), scale(2, 0.5)),  # coarser along one axis, finer along the other
    ],
)
def test_any_other_array_starts_its_own_multiscales(shape, transform):
    meta = listed(position("a"), "0", (8, 8), None, scale(1, 1))
    listed(meta, "1", shape, (8, 8), transform)
    assert structure(meta) == [("field", ["0"]), ("1", ["1"])]
    assert meta.multiscales[1].type == "none"
    assert [a.name for a in meta.multiscales[1].axes] == ["y", "x"]


def test_an_array_coarser_along_one_axis_only_joins():
    meta = listed(position("a"), "0", (8, 8), None, scale(1, 1))
    listed(meta, "1", (8, 4), (8, 8), scale(1, 2))
    assert structure(meta) == [("field", ["0", "1"])]


def test_an_array_between_two_levels_is_none_of_them():
    meta = pyramid()
    listed(meta, "x", (32, 32), (16, 16), scale(1.0, 1.0))
    assert structure(meta) == [("field", ["0", "1", "2"]), ("x", ["x"])]


def test_an_own_multiscales_is_never_taken_for_a_level():
    meta = listed(position("a"), "0", (8, 8), None, scale(1, 1))
    listed(meta, "big", (8, 8), (8, 8))
    listed(meta, "1", (4, 4), (8, 8), scale(2, 2))
    assert structure(meta) == [("field", ["0", "1"]), ("big", ["big"])]
    edits.set_scale(meta, OwnMeta(), "0", 0, 5.0)
    assert edits.effective_scale(meta, "big") == [1.0, 1.0]


def test_a_wrong_transform_lists_nothing():
    meta = listed(position("a"), "0", (8, 8))
    before = meta.to_json()
    with pytest.raises(ps.ArgumentError):
        listed(meta, "1", (4, 4), (8, 8), scale(1, 2, 3))
    assert meta.to_json() == before


# --- taking out and putting back ------------------------------------------------------------------


def test_the_last_image_leaves_axes_and_channels_behind():
    meta = listed(position("a"), "0", (8, 8))
    edits.unlist_image(meta, "0")
    assert structure(meta) == [("field", [])]
    assert len(meta.multiscales[0].axes) == 2
    assert edits.channel_names(meta, 0) == ["a"]


def test_an_own_multiscales_goes_with_its_image():
    meta = listed(listed(position("a"), "0", (8, 8)), "1", (8, 8), (8, 8))
    edits.unlist_image(meta, "1")
    assert structure(meta) == [("field", ["0"])]


def test_a_level_goes_alone():
    meta = pyramid()
    edits.unlist_image(meta, "1")
    assert structure(meta) == [("field", ["0", "2"])]
    edits.unlist_image(meta, "2")
    assert meta.multiscales[0].type == "none"


def test_what_is_not_listed_is_a_key_error_naming_what_is():
    with pytest.raises(KeyError, match="0, 1, 2"):
        edits.unlist_image(pyramid(), "3")


def replaced(meta, name, dtype="uint16", transform=None):
    place = edits.unlist_image(meta, name)
    place["transform"] = [s.to_json() for s in transform or scale(1.0, 1.0)]
    edits.relist_image(meta, name, place, dtype)
    return meta


@pytest.mark.parametrize("name", ["0", "1", "2"])
def test_a_replaced_level_comes_back_to_its_place(name):
    meta = replaced(pyramid(), name)
    assert structure(meta) == [("field", ["0", "1", "2"])]
    assert edits.effective_scale(meta, name) == [1.0, 1.0]


@pytest.mark.parametrize("field", ["field", "1", "0", ""])
def test_a_replaced_image_comes_back_to_its_own_multiscales_whatever_the_names(field):
    meta = listed(listed(position("a", name=field), "0", (8, 8)), "1", (8, 8), (8, 8))
    before = structure(meta)
    assert structure(replaced(meta, "1")) == before
    assert structure(replaced(meta, "0")) == before


def test_a_replaced_image_keeps_the_positions_scale_and_foreign_keys():
    meta = listed(position("a"), "0", (8, 8))
    edits.set_scale(meta, OwnMeta(), "*", 0, 3.0)
    meta.multiscales[0] = ps.MultiScaleMeta.model_validate({**meta.multiscales[0].to_json(), "note": "mine"})
    replaced(meta, "0")
    assert edits.effective_scale(meta, "*") == [3.0, 1.0]
    assert meta.multiscales[0].to_json()["note"] == "mine"


def test_the_windows_follow_the_type_of_the_replacement():
    meta = replaced(listed(position("a"), "0", (8, 8), dtype="uint16"), "0", dtype="uint8")
    assert meta.omero.channels[0].window["max"] == 255


# --- transformations ------------------------------------------------------------------------------


def test_effective_transformations_apply_the_levels_first():
    meta = listed(position("a"), "0", (8, 8), None, moved((2.0, 3.0), (5.0, 7.0)))
    edits.set_transform(meta, "*", moved((10.0, 100.0), (1.0, 2.0)))
    assert edits.effective_scale(meta, "0") == [20.0, 300.0]
    assert edits.effective_translation(meta, "0") == [51.0, 702.0]
    assert edits.effective_scale(meta, "*") == [10.0, 100.0]
    assert edits.effective_translation(meta, "*") == [1.0, 2.0]


def test_set_transform_replaces_those_of_one_image():
    meta = pyramid()
    edits.set_transform(meta, "1", [ps.TransformationMeta(type="identity")])
    assert [edits.effective_scale(meta, n) for n in "012"] == [[0.5, 0.5], [1.0, 1.0], [2.0, 2.0]]
    assert edits.effective_translation(meta, "1") == [0.0, 0.0]


def test_set_transform_of_the_whole_position_reaches_every_multiscales():
    meta = listed(pyramid(), "own", (8, 8), (16, 16))
    edits.set_transform(meta, "*", scale(4, 4))
    assert edits.effective_scale(meta, "own") == [4.0, 4.0]
    assert edits.effective_scale(meta, "2") == [8.0, 8.0]


@pytest.mark.parametrize("image", ["0", "*"])
def test_a_wrong_transform_changes_nothing(image):
    meta = pyramid()
    before = meta.to_json()
    with pytest.raises(ps.ArgumentError):
        edits.set_transform(meta, image, scale(0, 1))
    assert meta.to_json() == before


def test_the_positions_scale_multiplies_those_of_the_levels():
    meta, own = pyramid(), OwnMeta()
    edits.set_scale(meta, own, "*", 1, 10.0)
    assert edits.effective_scale(meta, "*") == [1.0, 10.0]
    assert [edits.effective_scale(meta, n) for n in "012"] == [[0.5, 5.0], [1.0, 10.0], [2.0, 20.0]]
    assert meta.multiscales[0].datasets[0].coordinate_transformations == scale(0.5, 0.5)


def test_setting_the_positions_scale_again_replaces_it():
    meta, own = pyramid(), OwnMeta()
    edits.set_scale(meta, own, "*", 1, 10.0)
    edits.set_scale(meta, own, "*", 1, 3.0)
    assert edits.effective_scale(meta, "*") == [1.0, 3.0]


def test_the_scale_of_the_first_level_rescales_all_on_that_axis_only():
    meta, own = pyramid(), OwnMeta()
    edits.set_scale(meta, own, "0", 0, 1.5)
    assert [edits.effective_scale(meta, n) for n in "012"] == [[1.5, 0.5], [3.0, 1.0], [6.0, 2.0]]


def test_the_levels_stay_aligned_when_the_first_is_rescaled():
    meta, own = pyramid(), OwnMeta()
    edits.set_scale(meta, own, "0", 0, 1.5)
    shifts = [edits.effective_translation(meta, n) for n in "012"]
    assert shifts == [[0.0, 0.0], [0.75, 0.25], [2.25, 0.75]]


def test_the_scale_of_another_level_changes_alone():
    meta, own = pyramid(), OwnMeta()
    edits.set_scale(meta, own, "1", 0, 9.0)
    assert [edits.effective_scale(meta, n) for n in "012"] == [[0.5, 0.5], [9.0, 1.0], [2.0, 2.0]]
    assert edits.effective_translation(meta, "1") == [0.25, 0.25]


def test_former_transforms_are_kept_with_their_image_and_time():
    meta, own = pyramid(), OwnMeta()
    edits.set_scale(meta, own, "1", 0, 9.0)
    (kept,) = own.previous_transforms
    assert kept.image == "1"
    assert kept.transforms == moved((1.0, 1.0), (0.25, 0.25))
    assert kept.modified.endswith("+00:00")
    edits.set_scale(meta, own, "0", 0, 1.0)
    assert [p.image for p in own.previous_transforms] == ["1", "0", "1", "2"]
    assert own.previous_transforms[2].transforms[0].scale == [9.0, 1.0]


def test_kept_transforms_do_not_change_with_the_present_ones():
    meta, own = pyramid(), OwnMeta()
    edits.set_scale(meta, own, "2", 0, 9.0)
    meta.find("2")[1].coordinate_transformations[0].scale[0] = 77.0
    assert own.previous_transforms[0].transforms[0].scale == [2.0, 2.0]


def test_a_scale_that_was_zero_can_be_put_right():
    meta, own = pyramid(), OwnMeta()
    meta.multiscales[0].datasets[0].coordinate_transformations = scale(0.0, 0.5)
    edits.set_scale(meta, own, "0", 0, 0.5)
    assert edits.effective_scale(meta, "0") == [0.5, 0.5]


def test_an_image_read_without_transformations_can_be_scaled():
    meta = listed(position("a"), "0", (8, 8))
    meta.multiscales[0].datasets[0].coordinate_transformations = []
    own = OwnMeta()
    edits.set_scale(meta, own, "0", 0, 0.5)
    assert meta.multiscales[0].datasets[0].coordinate_transformations == scale(0.5, 1.0)


def test_a_scale_for_an_image_that_is_not_listed_is_a_key_error():
    with pytest.raises(ps.NodeKeyError, match=r"0, 1, 2; '\*' means all"):
        edits.set_scale(pyramid(), OwnMeta(), "9", 0, 1.0)


factor = st.floats(1e-3, 1e3)


@quick
@given(factor, st.integers(0, 1))
def test_rescaling_the_first_level_is_a_zoom_of_the_whole_pyramid(value, axis):
    meta, before = pyramid(), pyramid()
    edits.set_scale(meta, OwnMeta(), "0", axis, value)
    ratio = value / 0.5
    for name in "012":
        new, old = edits.effective_scale(meta, name), edits.effective_scale(before, name)
        assert math.isclose(new[axis], old[axis] * ratio)
        assert new[1 - axis] == old[1 - axis]
        new, old = edits.effective_translation(meta, name), edits.effective_translation(before, name)
        assert math.isclose(new[axis], old[axis] * ratio, abs_tol=1e-12)
    for image in meta.multiscales:
        assert list(meta.findings()) == []
        assert image.type != "none"


# --- channels -------------------------------------------------------------------------------------


def test_images_without_omero_number_their_channels():
    assert edits.channel_names(position(), 3) == ["0", "1", "2"]


def test_channels_without_a_label_have_their_number():
    meta = position()
    meta.omero = ps.OMEROMeta(channels=[ps.ChannelMeta(label="a"), ps.ChannelMeta()])
    assert edits.channel_names(meta, 9) == ["a", "1"]


def test_the_first_renaming_names_all_channels():
    meta = position()
    edits.rename_channel(meta, ["0", "1", "2"], "1", "GFP")
    assert edits.channel_names(meta, 3) == ["0", "GFP", "2"]


def test_a_channel_may_be_renamed_to_itself_but_not_to_another():
    meta = position("a", "b")
    edits.rename_channel(meta, ["a", "b"], "a", "a")
    with pytest.raises(ps.ArgumentError, match="already"):
        edits.rename_channel(meta, ["a", "b"], "a", "b")
    with pytest.raises(ps.ArgumentError, match=r"no channel 'z'.*a, b"):
        edits.rename_channel(meta, ["a", "b"], "z", "c")
    assert edits.channel_names(meta, 2) == ["a", "b"]


def test_a_renamed_channel_keeps_its_settings():
    meta = listed(position("GFP"), "0", (8, 8), dtype="uint8")
    before = meta.omero.channels[0].to_json()
    edits.rename_channel(meta, ["GFP"], "GFP", "mCherry")
    assert meta.omero.channels[0].to_json() == {**before, "label": "mCherry"}


def test_an_added_channel_comes_last():
    meta = position("a")
    edits.add_channel(meta, ["a"], "b", "uint8")
    assert edits.channel_names(meta, 2) == ["a", "b"]
    assert meta.omero.channels[1].window["max"] == 255
    with pytest.raises(ps.ArgumentError, match="already"):
        edits.add_channel(meta, ["a", "b"], "a", "uint8")


def test_a_channel_added_to_an_image_without_omero_names_the_others():
    meta = position()
    edits.add_channel(meta, ["0", "1"], "GFP", None)
    assert edits.channel_names(meta, 0) == ["0", "1", "GFP"]


def test_a_window_belongs_to_its_channel():
    meta = position("a", "b")
    window = {"start": 1, "end": 2, "min": 0, "max": 3}
    edits.set_window(meta, ["a", "b"], "b", window)
    assert meta.omero.channels[0].window is None
    assert meta.omero.channels[1].window == window
    with pytest.raises(ps.ArgumentError, match="no channel"):
        edits.set_window(meta, ["a", "b"], "c", window)


@pytest.mark.parametrize("name", [None, 0, ["a"], "A"])
def test_a_channel_is_found_by_its_exact_name(name):
    assert edits.index_of(["a", "b"], "b") == 1
    with pytest.raises(ps.ArgumentError, match="a, b"):
        edits.index_of(["a", "b"], name)
