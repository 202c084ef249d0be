"""Changes of an image's shape: its levels and label images follow, or nothing changes."""

from __future__ import annotations

import json
import pickle
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import examples
from nodes.store_helpers import (
    attributes,
    group_document,
    new_position,
    pixels,
    refused,
    scale,
    snapshot,
)
from platestore.spec import pyramids

SHAPE = (2, 2, 1, 8, 8)


def image_with_all(path: Path, version: str = "0.5", levels: int = 3) -> ps.Position:
    """An image with levels and a label image for all channels."""
    position = new_position(path, version)
    position.create_image("0", pixels(*SHAPE) + 1, chunks=(1, 1, 1, 3, 3), pyramid_levels=levels)
    position.create_label("cells", np.ones((2, 1, 1, 8, 8), "uint8"))
    return position


def shapes(position: ps.Position) -> list[tuple[int, ...]]:
    return [image.shape for _, image in position.images()]


def is_marked(position: ps.Position) -> bool:
    return not pyramids.is_whole(position.refresh().metadata.multiscales[0])


def assert_sound(path: Path) -> None:
    assert not ps.validate(path).findings
    report = ps.check(path, deep=True)
    assert not report.findings, report.message


# --- levels and labels move with level 0 ----------------------------------------------------------


def test_what_is_appended_reaches_the_levels_and_the_labels(version, tmp_path):
    position = image_with_all(tmp_path / "i.zarr", version)
    assert position["0"].append(np.full((1, 2, 1, 8, 8), 200, "uint16")) == (3, 2, 1, 8, 8)
    assert shapes(position) == [(3, 2, 1, 8, 8), (3, 2, 1, 4, 4), (3, 2, 1, 2, 2)]
    label = position.get_label("cells")
    assert shapes(label) == [(3, 1, 1, 8, 8), (3, 1, 1, 4, 4), (3, 1, 1, 2, 2)]
    assert not label.data[2].any()
    assert label.data[1].all()
    assert is_marked(position)
    assert is_marked(label)
    assert not ps.validate(tmp_path / "i.zarr").findings
    assert "pyramid-unfinished" in {f.code for f in ps.check(tmp_path / "i.zarr").findings}
    old = position["1"][:2]
    position.compute_pyramid()
    assert (position["2"][2] == 200).all()
    np.testing.assert_array_equal(position["1"][:2], old)
    assert position.scale == [1, 1, 1, 1, 1]
    assert position.get_effective_scale("1") == [1, 1, 1, 2, 2]
    assert not is_marked(position)
    assert not is_marked(label)
    assert_sound(tmp_path / "i.zarr")


def test_the_region_that_was_appended_is_computed_alone(version, tmp_path):
    position = image_with_all(tmp_path / "i.zarr", version)
    for value in (100, 200):
        position.append(np.full((1, 2, 1, 8, 8), value, "uint16"))
    (region,) = pyramids.regions(position.metadata.multiscales[0])
    assert region == [[2, 4], [0, 2], [0, 1], [0, 8], [0, 8]], "together they are one"
    position.compute_pyramid(region=np.s_[3:])
    assert position["2"][:, 0, 0, 0, 0].tolist()[2:] == [100, 200]
    assert not is_marked(position)
    assert_sound(tmp_path / "i.zarr")


@settings(deadline=None, max_examples=examples(25))
@given(
    sizes=st.lists(
        st.tuples(
            st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)
        ),
        min_size=1,
        max_size=3,
    ),
    version=st.sampled_from(["0.4", "0.5"]),
)
def test_after_any_changes_the_levels_are_those_of_the_pixels(sizes, version):
    directory = Path(tempfile.mkdtemp())
    try:
        position = image_with_all(directory / "i.zarr", version)
        for shape in sizes:
            position.resize(shape)
        position.compute_pyramid()
        assert_sound(directory / "i.zarr")
        fresh = new_position(directory / "f.zarr", version)
        steps = pyramids.described(position.metadata.multiscales[0])[1]
        data = position["0"].numpy()
        fresh.create_zeros("0", data.shape, "uint16", check_shape=False)[...] = data
        fresh.compute_pyramid(factors=steps, levels=3)
        for name in ("1", "2"):
            np.testing.assert_array_equal(position[name].numpy(), fresh[name].numpy())
        image, label = position["0"].shape, position.get_label("cells").data.shape
        assert (label[0], *label[2:]) == (image[0], *image[2:])
        assert len(position.channel_names) == image[1]
    finally:
        shutil.rmtree(directory)


def test_labels_of_one_time_point_hold_for_all_and_stay(version, tmp_path):
    position = image_with_all(tmp_path / "i.zarr", version)
    position.create_label("one", np.ones((1, 2, 1, 8, 8), "uint8"))
    position.resize((4, 3, 1, 6, 8))
    assert shapes(position.get_label("one")) == [(1, 3, 1, 6, 8), (1, 3, 1, 3, 4), (1, 3, 1, 2, 2)]
    assert shapes(position.get_label("cells"))[0] == (4, 1, 1, 6, 8)
    position.append_channel("Cy5")
    assert position.get_label("one").data.shape == (1, 4, 1, 6, 8)
    assert position.get_label("cells").data.shape == (4, 1, 1, 6, 8)
    assert position.channel_names == ["DAPI", "GFP", "2", "Cy5"]
    position.compute_pyramid()
    assert_sound(tmp_path / "i.zarr")


def test_channels_are_named_as_they_come_and_go(version, tmp_path):
    position = image_with_all(tmp_path / "i.zarr", version)
    position.append(np.ones((2, 2, 1, 8, 8), "uint16"), axis="c")
    assert position.channel_names == ["DAPI", "GFP", "2", "3"]
    assert not ps.validate(tmp_path / "i.zarr").findings
    position.resize((2, 1, 1, 8, 8))
    assert position.channel_names == ["DAPI"]
    position.append_channel("GFP", resize_arrays=False)  # named before it is there
    position.resize(SHAPE)
    assert position.channel_names == ["DAPI", "GFP"]
    assert not ps.validate(tmp_path / "i.zarr").findings


def test_a_handle_that_others_left_behind_takes_everything_along(version, tmp_path):
    position = image_with_all(tmp_path / "i.zarr", version)
    other = ps.open_ome_zarr(tmp_path / "i.zarr", mode="r+")
    array = other["0"]
    position.resize((3, 2, 1, 8, 8))
    array.append(pixels(2, 2, 1, 8, 8))
    position.append(pixels(5, 1, 1, 8, 8), axis="c")
    array.resize((6, 4, 1, 8, 8))
    assert shapes(other) == [(6, 4, 1, 8, 8), (6, 4, 1, 4, 4), (6, 4, 1, 2, 2)]
    assert shapes(other.get_label("cells"))[0] == (6, 1, 1, 8, 8)
    assert other.refresh().channel_names == ["DAPI", "GFP", "2", "3"]
    other.compute_pyramid()
    assert_sound(tmp_path / "i.zarr")


def test_an_array_that_was_pickled_takes_its_levels_along(version, tmp_path):
    position = image_with_all(tmp_path / "i.zarr", version)
    pickle.loads(pickle.dumps(position["0"])).resize((5, 2, 1, 8, 8))
    assert shapes(position)[1:] == [(5, 2, 1, 4, 4), (5, 2, 1, 2, 2)]
    assert shapes(position.get_label("cells"))[0] == (5, 1, 1, 8, 8)


@pytest.mark.parametrize("opened", ["position[0]", "position.data", "create_image", "plate"])
def test_whatever_way_the_array_was_reached(tmp_path, opened):
    if opened == "plate":
        with ps.open_ome_zarr(
            tmp_path / "p.zarr", layout="hcs", mode="w-", channel_names=["DAPI", "GFP"]
        ) as plate:
            position = plate.create_position("A", "1", "0")
            position.create_image("0", pixels(*SHAPE), pyramid_levels=2)
            array = plate["A/1/0/0"]
    else:
        position = new_position(tmp_path / "i.zarr")
        array = position.create_image("0", pixels(*SHAPE), pyramid_levels=2)
        if opened == "position[0]":
            array = position[0]
        elif opened == "position.data":
            array = position.data
    array.append(pixels(*SHAPE))
    assert [level.shape[0] for _, level in position.images()] == [4, 4]


def test_another_image_of_the_position_changes_alone(tmp_path):
    position = image_with_all(tmp_path / "i.zarr")
    position.create_image("raw", pixels(*SHAPE))
    before = shapes(position)[:3]
    position["raw"].resize((1, 2, 1, 4, 4))
    assert shapes(position)[:3] == before
    assert position.get_label("cells").data.shape == (2, 1, 1, 8, 8)


def test_levels_that_others_rounded_down_stay_so(tmp_path):
    position = new_position(tmp_path / "i.zarr", names="yx")
    position.create_image("0", pixels(9, 9))
    position.create_image("1", pixels(4, 4), transform=scale(2, 2))
    position.resize((11, 9))
    assert shapes(position) == [(11, 9), (5, 4)]


# --- refusals -------------------------------------------------------------------------------------


def test_levels_and_labels_do_not_change_alone(version, tmp_path):
    path = tmp_path / "i.zarr"
    position = image_with_all(path, version)
    label = position.get_label("cells")
    for change, word in (
        (lambda: position["1"].resize((2, 2, 1, 5, 4)), "'0'"),
        (lambda: position["1"].append(pixels(1, 2, 1, 4, 4)), "'0'"),
        (lambda: label["0"].append(np.ones((1, 1, 1, 8, 8), "uint8")), "labels follow"),
        (lambda: label["1"].resize((3, 1, 1, 4, 4)), "'0'"),
        (lambda: ps.open_ome_zarr(path / "labels/cells", mode="r+").resize((3, 1, 1, 8, 8)), "labels follow"),
    ):
        with refused(ps.ArgumentError, ValueError, tree=tmp_path, names=False) as caught:
            change()
        assert word in str(caught.value)
    label.resize((1, 1, 1, 8, 8))  # it holds for all time points
    assert shapes(label) == [(1, 1, 1, 8, 8), (1, 1, 1, 4, 4), (1, 1, 1, 2, 2)]


def test_labels_of_another_size_keep_the_image_from_changing(tmp_path):
    path = tmp_path / "i.zarr"
    position = image_with_all(path, levels=1)
    zarr.open_array(path / "labels/cells/0").resize((2, 1, 1, 5, 8))
    with refused(ps.InvalidMetadataError, ValueError, tree=tmp_path, names=path / "labels/cells"):
        position.resize((2, 2, 1, 9, 8))
    position.resize((3, 2, 1, 8, 8))
    assert position.get_label("cells").data.shape == (3, 1, 1, 5, 8)


@pytest.mark.parametrize(("axis", "size"), [(0, 3), (0, 1), (1, 3), (1, 1)])
def test_levels_that_zarr_left_behind_are_found_and_not_followed(version, tmp_path, axis, size):
    path = tmp_path / "i.zarr"
    position = image_with_all(path, version)
    if axis == 1:
        position.delete_label("cells")
    changed = tuple(size if i == axis else n for i, n in enumerate(SHAPE))
    zarr.open_array(path / "0").resize(changed)
    findings = ps.validate(path).findings
    assert [f.location for f in findings if f.code == "level-size"] == [
        "multiscales[0].datasets[1].path" if version == "0.4" else "ome.multiscales[0].datasets[1].path",
        "multiscales[0].datasets[2].path" if version == "0.4" else "ome.multiscales[0].datasets[2].path",
    ]
    for deep in (False, True):
        found = {f.code for f in ps.check(path, deep=deep).findings}
        assert "level-size" in found
    for act in (
        position.compute_pyramid,
        lambda: position.compute_pyramid(3),
        lambda: position.compute_pyramid(region=np.s_[:1]),
        lambda: position.initialize_pyramid(3),
        lambda: position["0"].resize(SHAPE),
        lambda: position.append_channel("Cy5"),
        lambda: ps.copy(path, tmp_path / "copy.zarr", crop="0:3,0:3"),
    ):
        with pytest.raises(ps.InvalidMetadataError, match=r"along [tcTC]") as caught:
            act()
        assert caught.value.hint
    assert not (tmp_path / "copy.zarr").exists()
    position.delete_pyramid()
    if axis == 0:
        position.delete_label("cells")
    position.compute_pyramid(3)
    assert [s[axis] for s in shapes(position)] == [size] * 3


def test_levels_that_are_coarser_along_time_on_purpose_are_sound(version, tmp_path):
    position = new_position(tmp_path / "i.zarr", version)
    position.create_image("0", pixels(5, 2, 1, 8, 8))
    position.compute_pyramid(2, factors=[{"t": 2, "y": 2}])
    assert shapes(position)[1] == (3, 2, 1, 4, 8)
    assert_sound(tmp_path / "i.zarr")
    position.append(pixels(2, 2, 1, 8, 8))
    position.compute_pyramid()
    assert shapes(position)[1] == (4, 2, 1, 4, 8)
    assert_sound(tmp_path / "i.zarr")


def test_a_level_of_other_time_points_is_an_image_of_its_own(tmp_path):
    position = new_position(tmp_path / "i.zarr")
    position.create_image("0", pixels(2, 2, 1, 8, 8))
    position.create_image("projection", pixels(1, 2, 1, 4, 4), transform=scale(1, 1, 1, 2, 2))
    assert len(position.metadata.multiscales) == 2
    assert not ps.validate(tmp_path / "i.zarr").findings


# --- removing -------------------------------------------------------------------------------------


def test_a_level_goes_with_those_of_the_labels(version, tmp_path):
    path = tmp_path / "i.zarr"
    position = image_with_all(path, version)
    with refused(ps.ArgumentError, ValueError, tree=tmp_path, names=path / "labels/cells"):
        del position.get_label("cells")["1"]
    del position["1"]
    assert list(position) == list(position.get_label("cells")) == ["0", "2"]
    assert not (path / "1").exists()
    assert not (path / "labels/cells/1").exists()
    assert pyramids.described(position.metadata.multiscales[0])[1] == [[1, 1, 1, 4, 4]]
    before = position["2"].numpy()
    position.compute_pyramid()
    assert position["2"].shape == before.shape
    assert_sound(path)
    del position["2"]
    assert list(position) == list(position.get_label("cells")) == ["0"]
    assert_sound(path)


def test_what_levels_and_labels_are_made_from_is_not_removed(version, tmp_path):
    path = tmp_path / "i.zarr"
    position = image_with_all(path, version)
    with refused(ps.ArgumentError, ValueError, tree=tmp_path, names="delete_pyramid"):
        del position["0"]
    position.delete_pyramid()
    with refused(ps.ArgumentError, ValueError, tree=tmp_path, names="delete_label"):
        del position["0"]
    position.delete_label("cells")
    del position["0"]
    assert not len(position)


# --- replacing ------------------------------------------------------------------------------------


@pytest.fixture
def replaceable(version, tmp_path):
    position = image_with_all(tmp_path / "i.zarr", version)
    position.set_scale("0", "x", 0.25)
    position.set_transform(
        "0",
        [*scale(1, 1, 1, 2, 0.25), ps.TransformationMeta(type="translation", translation=[0, 0, 0, 5, 6])],
    )
    position.set_contrast_limits("GFP", {"start": 3, "end": 90, "min": 0, "max": 100})
    position.metadata.omero.channels[1].color = "123456"
    position.dump_meta()
    return ps.open_ome_zarr(tmp_path / "i.zarr", mode="r+", overwriting_creation=True)


@pytest.mark.parametrize("way", ["create_image", "create_zeros", "item", "levels"])
def test_what_replaces_an_image_has_its_scale_and_its_channels(replaceable, way):
    if way == "create_image":
        replaceable.create_image("0", pixels(*SHAPE))
    elif way == "create_zeros":
        replaceable.create_zeros("0", SHAPE, "uint16")
    elif way == "item":
        replaceable["0"] = pixels(*SHAPE)
    else:
        replaceable.create_image("0", pixels(*SHAPE), pyramid_levels=3)
    assert replaceable.scale == [1, 1, 1, 2, 0.25]
    assert replaceable.get_effective_translation("0") == [0, 0, 0, 5, 6]
    channel = replaceable.metadata.omero.channels[1]
    assert channel.window == {"start": 3, "end": 90, "min": 0, "max": 100}
    assert channel.color == "123456"
    assert replaceable.channel_names == ["DAPI", "GFP"]
    assert shapes(replaceable) == [SHAPE, (2, 2, 1, 4, 4), (2, 2, 1, 2, 2)]
    assert is_marked(replaceable) == (way != "levels")


def test_only_what_does_not_fit_the_new_image_changes(replaceable, tmp_path):
    replaceable.set_contrast_limits("DAPI", {"start": 0, "end": 300, "min": 0, "max": 300})
    replaceable.delete_label("cells")
    replaceable.create_image("0", pixels(3, 2, 1, 9, 6, dtype="uint8"))
    dapi, gfp = replaceable.metadata.omero.channels
    assert dapi.window == {"start": 0, "end": 255, "min": 0, "max": 255}
    assert gfp.window == {"start": 3, "end": 90, "min": 0, "max": 100}
    assert replaceable.scale == [1, 1, 1, 2, 0.25]
    assert shapes(replaceable) == [(3, 2, 1, 9, 6), (3, 2, 1, 5, 3), (3, 2, 1, 3, 2)]
    assert {image.dtype.name for _, image in replaceable.images()} == {"uint8"}
    replaceable.compute_pyramid()
    assert_sound(tmp_path / "i.zarr")
    replaceable.create_zeros("0", (3, 1, 1, 9, 6), "uint8")
    assert replaceable.channel_names == ["DAPI"]
    replaceable.create_image("0", pixels(3, 1, 1, 9, 6, dtype="uint8"), transform=scale(1, 1, 1, 7, 7))
    assert replaceable.scale == [1, 1, 1, 7, 7], "what is said counts"
    assert not ps.validate(tmp_path / "i.zarr").findings


def test_labels_keep_an_image_from_being_replaced_by_one_of_another_size(replaceable, tmp_path):
    with refused(ps.ArgumentError, ValueError, tree=tmp_path, names="delete_label"):
        replaceable.create_zeros("0", (2, 2, 1, 9, 9), "uint16")
    with refused(ps.ArgumentError, ValueError, tree=tmp_path, names="delete_label"):
        replaceable.create_image("0", pixels(2, 2, 1, 9, 9))


# --- initialised levels, region by region ---------------------------------------------------------


def test_a_live_pyramid_is_computed_as_it_is_acquired(version, tmp_path):
    path = tmp_path / "i.zarr"
    position = new_position(path, version)
    position.create_zeros("0", (3, 2, 1, 8, 8), "uint16", chunks=(1, 1, 1, 4, 4))
    position.initialize_pyramid(3)
    for t in (0, 2, 1):
        position["0"][t] = 10 * (t + 1)
        assert is_marked(position)
        position.compute_pyramid(region=np.s_[t])
        assert (position["2"][t] == 10 * (t + 1)).all()
    assert not is_marked(position)
    assert_sound(path)


def test_initialised_levels_of_an_image_that_grew_are_not_complete(tmp_path):
    position = new_position(tmp_path / "i.zarr")
    position.create_zeros("0", (1, 2, 1, 8, 8), "uint16")
    position.initialize_pyramid(2)
    position.append(np.full((1, 2, 1, 8, 8), 7, "uint16"))
    position.compute_pyramid(region=np.s_[0])
    assert is_marked(position)
    position.compute_pyramid(region=np.s_[1])
    assert not is_marked(position)
    assert (position["1"][1] == 7).all()


# --- levels of other programs ---------------------------------------------------------------------


def test_levels_of_another_program_stay_unless_forced(version, tmp_path):
    path = tmp_path / "i.zarr"
    position = image_with_all(path, version)
    position.delete_label("cells")
    document = group_document(path)
    content = json.loads(document.read_bytes())
    image = attributes(path)["multiscales"][0] if version == "0.4" else None
    inner = content if version == "0.4" else content["attributes"]["ome"]
    inner["multiscales"][0].update(type="gaussian", metadata={"method": "skimage.pyramid", "version": "0.19"})
    document.write_text(json.dumps(content))
    assert image is None or image["type"] == "mean"
    before = snapshot(path)
    report = ps.compute_pyramids(path)
    assert report.skipped == [str(path)]
    assert report.left == [f"{path}: has 3 levels (made by skimage.pyramid 0.19), skipped"]
    assert snapshot(path) == before
    report = ps.compute_pyramids(path, force=True)
    assert report.computed == [str(path)]
    assert not report.left
    assert pyramids.described(ps.open_ome_zarr(path).metadata.multiscales[0])
