"""Label images of positions: created whole, listed last, found by name, removed cleanly."""

from __future__ import annotations

import contextlib
import errno
import json
import multiprocessing
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore

import platestore as ps
from conftest import SHARED, examples, make_plate
from faults.fault_os import Crash, OsFaults
from nodes.store_helpers import (
    attributes,
    edit_attributes,
    edit_ome,
    new_position,
    ome,
    pixels,
    refused,
    scale,
    snapshot,
    translation,
)
from platestore.images.label_creation import values_present
from platestore.summary import describe, render
from platestore.tree.levels import documents_of, factors_of, image_of

CROP = Path(__file__).parents[1] / "data" / "cardiomyocytes-crop.zarr"
SHAPE = (1, 2, 3, 16, 12)
MASK = (1, 1, 3, 16, 12)


def objects(*shape, dtype="uint16"):
    """A few rectangles on a background."""
    data = np.zeros(shape, dtype)
    data[..., 2:7, 3:9] = 1
    data[..., 9:14, 1:6] = 5
    data[..., 9:12, 8:12] = 200 if np.dtype(dtype).itemsize > 1 else 100
    return data


@pytest.fixture
def position(tmp_path, version):
    made = new_position(tmp_path / "a.zarr", version)
    made.create_image(
        "0", pixels(*SHAPE), transform=[*scale(1, 1, 2, 0.5, 0.25), translation(0, 0, 10, 20, 30)]
    )
    return made


def place(position):
    return Path(position.__editor__().location.storage.local_path(position.__editor__().location.path))


def listed(path):
    return ome(path / "labels")["labels"]


def reopened(position, mode="r", **kwargs):
    return ps.open_ome_zarr(place(position), mode=mode, **kwargs)


# --- what is written --------------------------------------------------------------------------------


def test_a_label_image_is_created_with_its_pixels(position):
    data = objects(*MASK)
    made = position.create_label("nuclei", data)
    assert isinstance(made, ps.LabelImage)
    assert isinstance(made, ps.Position)
    for label in (made, reopened(position).get_label("nuclei")):
        np.testing.assert_array_equal(label["0"].numpy(), data)
        assert label["0"].dtype == "uint16"
        assert label.data.shape == MASK
        assert list(label) == ["0"]
    np.testing.assert_array_equal(zarr.open(place(position) / "labels/nuclei/0", mode="r")[:], data)
    assert listed(place(position)) == ["nuclei"]
    assert sorted(p.name for p in (place(position) / "labels").iterdir() if p.is_dir()) == ["nuclei"]


def test_its_axes_and_transformations_are_those_of_the_image(position):
    position.set_transform("*", [*scale(1, 1, 1, 3, 3), translation(0, 0, 0, 1, 1)])
    label = position.create_label("nuclei", objects(*MASK))
    assert [a.to_json() for a in label.axes] == [a.to_json() for a in position.axes]
    assert label.scale == position.scale == [1, 1, 2, 1.5, 0.75]
    for image in ("0", "*"):
        assert label.get_effective_scale(image) == position.get_effective_scale(image)
        assert label.get_effective_translation(image) == position.get_effective_translation(image)
    mine, theirs = label.metadata.multiscales[0], position.metadata.multiscales[0]
    assert mine.datasets[0].to_json() == theirs.datasets[0].to_json()
    assert mine.coordinate_transformations == theirs.coordinate_transformations
    assert mine.name == "nuclei"
    assert position.channel_names == ["DAPI", "GFP"]


def test_a_change_of_the_label_does_not_change_the_image(position):
    label = position.create_label("nuclei", objects(*MASK))
    label.set_scale("0", "x", 7)
    assert position.scale[-1] == 0.25
    assert reopened(position).scale[-1] == 0.25
    assert reopened(position).get_label("nuclei").scale[-1] == 7


def test_the_document_names_colors_properties_and_source(position, version):
    position.create_label(
        "nuclei",
        objects(*MASK),
        colors={1: (255, 0, 0), 5: (0, 255, 0, 128)},
        properties={1: {"area": 30, "class": "round"}},
    )
    block = ome(place(position) / "labels/nuclei")["image-label"]
    assert block.pop("version", None) == ("0.4" if version == "0.4" else None)
    assert block == {
        "colors": [
            {"label-value": 1, "rgba": [255, 0, 0, 255]},
            {"label-value": 5, "rgba": [0, 255, 0, 128]},
        ],
        "properties": [{"label-value": 1, "area": 30, "class": "round"}],
        "source": {"image": "../../"},
    }
    assert "platestore" not in attributes(place(position) / "labels/nuclei")
    assert "platestore" not in attributes(place(position) / "labels")
    label = reopened(position).get_label("nuclei")
    assert label.colors == {1: (255, 0, 0, 255), 5: (0, 255, 0, 128)}
    assert label.properties == {1: {"area": 30, "class": "round"}}
    assert label.source == "../../"


def test_properties_may_come_from_numpy(position):
    facts = {"area": np.float32(1.5), "box": np.array([[1, 2], [3, 4]]), "round": np.bool_(True)}
    position.create_label("n", objects(*MASK), properties={np.uint16(1): {**facts, "more": [np.int64(3)]}})
    assert reopened(position).get_label("n").properties == {
        1: {"area": 1.5, "box": [[1, 2], [3, 4]], "round": True, "more": [3]}
    }


def test_by_default_each_value_that_is_there_has_a_color(position):
    label = position.create_label("nuclei", objects(*MASK))
    assert list(label.colors) == [0, 1, 5, 200]
    assert label.colors[0] == (0, 0, 0, 0)
    assert len(set(label.colors.values())) == 4
    assert label.properties == {}
    other = position.create_label("cells", objects(*MASK))
    assert other.colors == label.colors


def test_of_many_values_the_background_alone_has_a_color(tmp_path, version):
    position = new_position(tmp_path / "a.zarr", version, names="YX")
    position["0"] = pixels(64, 64)
    many = position.create_label("many", np.arange(64 * 64, dtype="uint32").reshape(64, 64))
    assert many.colors == {0: (0, 0, 0, 0)}
    most = position.create_label("most", (np.arange(64 * 64) % 1025).reshape(64, 64).astype("int32"))
    assert len(most.colors) == 1025
    none = position.create_label("none", objects(64, 64), colors={})
    assert none.colors == {0: (0, 0, 0, 0)}


@settings(deadline=None, max_examples=examples(60))
@given(data=st.data())
def test_the_values_that_are_present_are_found(data):
    dtype = data.draw(st.sampled_from(["u1", "i1", "<u2", ">u2", "i2", "u4", ">i4", "u8", "i8", "<i8"]))
    info = np.iinfo(dtype)
    values = data.draw(st.lists(st.integers(int(info.min), int(info.max)), min_size=1, max_size=5))
    shape = data.draw(st.lists(st.integers(1, 7), min_size=2, max_size=3))
    picks = data.draw(
        st.lists(st.sampled_from(values), min_size=int(np.prod(shape)), max_size=int(np.prod(shape)))
    )
    array = np.array(picks, dtype).reshape(shape)
    for each in (array, array.T, array[::-1], array[..., ::2]):
        expected = sorted({int(v) for v in each.flat})
        assert values_present(each, 10) == expected
        few = len(set(expected) - {0}) - 1
        if few >= 0:
            assert values_present(each, few) is None


def test_the_values_of_more_than_one_block_are_found():
    array = np.zeros((3, 500, 700), "uint32")
    array[2, -1, -1], array[1, 3, 4], array[0, 0, 0] = 7, 2**31, 3
    assert values_present(array, 5) == [0, 3, 7, 2**31]
    assert values_present(array[:, ::2, ::-1], 5) == [0, 3]
    assert values_present(array, 2) is None


def test_what_is_written_passes_the_strict_schemas(position, version):
    from interop.test_interop_schemas import schema_validators

    if SHARED is None:
        pytest.skip("the official schemas are not beside this checkout")
    position.create_label("plain", objects(*MASK))
    position.create_label("full", objects(*MASK), colors=[{"label-value": 1}], properties={1: {"a": None}})
    position.create_label("bare", objects(*MASK), colors={}, properties={})
    validators = schema_validators(version)
    for name in ("plain", "full", "bare"):
        content = attributes(place(position) / "labels" / name)
        for schema in ("label", "strict_label", "image", "strict_image"):
            errors = [f"{e.json_path}: {e.message}" for e in validators[schema].iter_errors(content)]
            assert errors == [], f"{name} by {schema}"
    wrong = attributes(place(position) / "labels/plain")
    (wrong["ome"] if version == "0.5" else wrong)["image-label"].pop("colors")
    assert list(validators["strict_label"].iter_errors(wrong)), "a check of the check"


def test_arrays_name_their_dimensions_and_chunks(position, version):
    label = position.create_label("nuclei", objects(*MASK), chunks=(1, 1, 1, 8, 8))
    assert label["0"].chunks == (1, 1, 1, 8, 8)
    if version == "0.5":
        assert list(label["0"].metadata.dimension_names) == ["T", "C", "Z", "Y", "X"]
    else:
        document = json.loads((place(position) / "labels/nuclei/0/.zarray").read_text())
        assert document["dimension_separator"] == "/"


def test_labels_may_have_shards(tmp_path):
    position = new_position(tmp_path / "a.zarr", "0.5")
    position["0"] = pixels(*SHAPE)
    label = position.create_label(
        "nuclei", objects(*MASK), chunks=(1, 1, 1, 8, 8), shards_ratio=(1, 1, 3, 2, 2)
    )
    assert label["0"].shards == (1, 1, 3, 16, 16)
    np.testing.assert_array_equal(label["0"].numpy(), objects(*MASK))


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", ">i4"]
)
def test_every_integer_type_is_taken(tmp_path, dtype):
    position = new_position(tmp_path / "a.zarr", "0.5", names="YX")
    position["0"] = pixels(16, 16)
    data = objects(16, 16, dtype=dtype)
    label = position.create_label("n", data)
    assert label["0"].dtype == np.dtype(dtype).newbyteorder("<")
    np.testing.assert_array_equal(label["0"].numpy(), data)


def test_lists_of_integers_are_taken(tmp_path, version):
    position = new_position(tmp_path / "a.zarr", version, names="YX")
    position["0"] = pixels(2, 2)
    assert position.create_label("n", [[0, 1], [2, 0]])["0"].numpy().tolist() == [[0, 1], [2, 0]]


def test_dask_arrays_are_taken(position):
    dask = pytest.importorskip("dask.array")
    data = objects(*MASK)
    label = position.create_label("n", dask.from_array(data, chunks=(1, 1, 2, 8, 8)))
    np.testing.assert_array_equal(label["0"].numpy(), data)
    assert label.colors == {0: (0, 0, 0, 0)}, "what is not in memory is not searched for values"
    narrow = position.create_label("m", dask.from_array(data[:, 0], chunks=(1, 2, 8, 8)))
    np.testing.assert_array_equal(narrow["0"].numpy(), data)


def test_another_label_image_can_be_the_source_of_one(position):
    first = position.create_label("a", objects(*MASK))
    second = position.create_label("b", first["0"])
    np.testing.assert_array_equal(second["0"].numpy(), first["0"].numpy())


# --- shapes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape", [SHAPE, MASK, (1, 1, 1, 16, 12), (1, 2, 1, 16, 12), (1, 1, 3, 1, 12), (1,) * 5]
)
def test_each_dimension_is_that_of_the_image_or_one(position, shape):
    data = np.ones(shape, "uint8")
    assert position.create_label("n", data)["0"].shape == shape


@pytest.mark.parametrize(
    "shape", [(2, 1, 3, 16, 12), (1, 3, 3, 16, 12), (1, 1, 2, 16, 12), (1, 1, 3, 16, 13), (3, 16), (16, 12)]
)
def test_other_shapes_are_refused(position, shape):
    with refused(ps.ArgumentError, ValueError, tree=place(position)) as caught:
        position.create_label("n", np.ones(shape, "uint8"))
    assert str(SHAPE) in str(caught.value)


def test_the_channel_axis_may_be_left_out(position):
    data = objects(1, 3, 16, 12)
    label = position.create_label("n", data)
    assert label["0"].shape == MASK
    np.testing.assert_array_equal(label["0"].numpy()[:, 0], data)


def test_empty_data_are_refused(position):
    with refused(ps.ArgumentError, ValueError, tree=place(position), names=False):
        position.create_label("n", np.ones((1, 1, 0, 16, 12), "uint8"))


def test_a_position_without_an_image_has_no_labels_yet(tmp_path, version):
    position = new_position(tmp_path / "a.zarr", version)
    with refused(ps.ArgumentError, ValueError, tree=tmp_path / "a.zarr"):
        position.create_label("n", objects(*MASK))


# --- bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["bool", "float16", "float32", "float64", "complex64", "S1"])
def test_only_integers_are_taken(position, dtype):
    with refused(ps.ArgumentError, ValueError, tree=place(position), names=False) as caught:
        position.create_label("n", np.ones(MASK, dtype))
    assert caught.value.hint
    if dtype == "bool":
        assert "astype" in caught.value.hint


@pytest.mark.parametrize(
    "arguments",
    [
        {"colors": {1: (0, 0, 300)}},
        {"colors": {1.5: (0, 0, 0)}},
        {"colors": [{"label-value": 1}, {"label-value": 1}]},
        {"colors": [{"label-value": 1, "rgba": (0, 0, 0), "note": {1, 2}}]},
        {"properties": {1: {"area": {1, 2}}}},
        {"properties": {1: {"area": float("nan")}}},
        {"properties": {1: {5: 6}}},
        {"properties": [{"area": 1}]},
        {"chunks": (1, 1, 1, 8)},
        {"chunks": (1, 1, 1, 0, 8)},
        {"shards_ratio": (1, 1)},
        {"pyramid_levels": 0},
        {"pyramid_levels": True},
        {"pyramid_levels": 2.0},
        {"pyramid_levels": "many"},
    ],
    ids=str,
)
def test_wrong_arguments_are_refused_and_nothing_is_written(position, arguments):
    with refused(ps.ArgumentError, ValueError, tree=place(position), names=False):
        position.create_label("n", objects(*MASK), **arguments)
    assert not position.has_labels


def test_wrong_arguments_leave_a_labels_group_as_it_was(position):
    position.create_label("a", objects(*MASK))
    with refused(ps.ArgumentError, ValueError, tree=place(position), names=False):
        position.create_label("b", objects(*MASK), chunks=(1, 2))


def test_shards_need_zarr_v3(tmp_path):
    position = new_position(tmp_path / "a.zarr", "0.4")
    position["0"] = pixels(*SHAPE)
    with refused(ps.ArgumentError, ValueError, tree=tmp_path, names=False):
        position.create_label("n", objects(*MASK), shards_ratio=(1, 1, 1, 1, 1))


@pytest.mark.parametrize(
    "name", ["", "a/b", "..", ".n", "__n", "labels", "OME", "zarr.json", "con", "a b", 5]
)
def test_names_are_checked(position, name):
    with refused(ps.InvalidNameError, ValueError, tree=place(position), names=False):
        position.create_label(name, objects(*MASK))


def test_names_that_differ_in_case_only_are_warned_of(position):
    position.create_label("Nuclei", objects(*MASK))
    with pytest.warns(UserWarning, match="differ only in case"):
        position.create_label("nuclei", objects(*MASK))
    assert position.label_names == ["Nuclei", "nuclei"]


def test_a_read_only_store_is_not_changed(position):
    position.create_label("n", objects(*MASK))
    reader = reopened(position)
    with refused(ps.ReadOnlyError, PermissionError, tree=place(position)):
        reader.create_label("m", objects(*MASK))
    with refused(ps.ReadOnlyError, PermissionError, tree=place(position)):
        reader.delete_label("n")
    assert reader.create_labels_group().labels is not None, "there is nothing to create"


def test_a_read_only_store_gets_no_labels_group(position):
    with refused(ps.ReadOnlyError, PermissionError, tree=place(position)):
        reopened(position).create_labels_group()


def test_a_label_image_has_no_labels(position):
    label = position.create_label("n", objects(*MASK))
    assert not label.has_labels
    assert label.label_names == []
    with refused(ps.ArgumentError, ValueError, tree=place(position)):
        label.create_label("m", objects(*MASK))


def test_the_arrays_of_a_label_image_hold_integers(position):
    label = position.create_label("n", objects(*MASK))
    for dtype in ("float32", "bool"):
        with refused(ps.ArgumentError, ValueError, tree=place(position), names=False):
            label.create_image("1", np.ones(MASK, dtype))
        with refused(ps.ArgumentError, ValueError, tree=place(position), names=False):
            label.create_zeros("1", MASK, dtype)
    label.create_zeros("1", (1, 1, 3, 8, 6), "uint16", transform=scale(1, 1, 2, 1, 0.5))
    assert list(label) == ["0", "1"]
    assert ome(place(position) / "labels/n")["image-label"]["colors"]


# --- the group --------------------------------------------------------------------------------------


def test_a_position_without_labels_says_so(position):
    before = snapshot(place(position))
    assert not position.has_labels
    assert position.label_names == []
    assert list(position.labels()) == []
    assert position.labels_group is None
    with refused(ps.NodeKeyError, KeyError, tree=place(position)):
        position.get_label("nuclei")
    with refused(ps.NodeKeyError, KeyError, tree=place(position)):
        position.delete_label("nuclei")
    assert snapshot(place(position)) == before


def test_the_group_can_be_created_before_its_labels(position, version):
    group = position.create_labels_group()
    assert isinstance(group, ps.LabelsGroup)
    assert ome(place(position) / "labels") == (
        {"labels": []} if version == "0.4" else {"version": "0.5", "labels": []}
    )
    before = snapshot(place(position))
    assert list(position.create_labels_group()) == []
    assert snapshot(place(position)) == before, "creating it again changes nothing"
    assert not position.has_labels
    assert isinstance(position.labels_group, ps.LabelsGroup)
    assert "labels" in position.group_keys()
    position.create_label("n", objects(*MASK))
    assert list(group.refresh()) == ["n"]


def test_labels_keep_the_order_in_which_they_were_created(position):
    for name in ("b", "a", "10", "9"):
        position.create_label(name, objects(*MASK))
    assert position.label_names == ["b", "a", "10", "9"]
    assert [name for name, _ in position.labels()] == ["b", "a", "10", "9"]
    assert all(isinstance(label, ps.LabelImage) for _, label in position.labels())
    assert list(position.labels_group) == listed(place(position)) == ["b", "a", "10", "9"]
    position.delete_label("a")
    assert position.label_names == ["b", "10", "9"]


def test_the_group_is_a_mapping_of_label_images(position):
    position.create_label("n", objects(*MASK))
    group = position.labels_group
    assert len(group) == 1
    assert "n" in group
    assert "n/0" in group
    assert "m" not in group
    assert "n/1" not in group
    assert isinstance(group["n"], ps.LabelImage)
    assert group["n/0"].shape == MASK
    assert group.channel_names == []
    assert [a.name for a in group.axes] == ["T", "C", "Z", "Y", "X"]
    assert "labels=['n']" in repr(group)
    with refused(ps.NodeKeyError, KeyError, tree=place(position)):
        group["m"]


def test_labels_are_no_levels_and_no_images(position):
    position.create_label("n", objects(*MASK))
    assert list(position) == ["0"]
    assert [name for name, _ in reopened(position).images()] == ["0"]


@pytest.mark.parametrize("layout", ["auto", "fov"])
def test_label_images_are_reached_by_path(position, layout):
    position.create_label("n", objects(*MASK))
    again = reopened(position)
    label = again["labels/n"]
    assert type(label) is ps.LabelImage
    assert again["labels/n/0"].shape == MASK
    assert type(again["labels"]) is ps.LabelsGroup
    direct = ps.open_ome_zarr(place(position) / "labels/n", layout=layout)
    assert type(direct) is ps.LabelImage
    assert direct.is_root()
    assert direct.colors == label.colors
    assert type(again) is ps.Position


def test_the_group_is_opened_by_path(position):
    position.create_label("n", objects(*MASK))
    group = ps.open_ome_zarr(place(position) / "labels", mode="r+")
    assert type(group) is ps.LabelsGroup
    assert [a.name for a in group.axes] == ["T", "C", "Z", "Y", "X"]
    with pytest.raises(ps.ArgumentError, match="group of label images"):
        ps.open_ome_zarr(place(position) / "labels", layout="fov")
    del group["n"]
    assert listed(place(position)) == []


def test_labels_in_a_plate(tmp_path, version):
    plate = make_plate(tmp_path / "p.zarr", version)
    plate["B/1/0"].create_label("n", objects(1, 1, 2, 8, 8)[..., :8, :8])
    again = ps.open_ome_zarr(tmp_path / "p.zarr")
    assert type(again["B/1/0/labels/n"]) is ps.LabelImage
    assert again["B/1/0/labels/n/0"].shape == (1, 1, 2, 8, 8)
    assert [p.has_labels for _, p in again.positions()] == [False, False, True]


# --- deleting ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["position", "group"])
def test_a_label_image_is_removed_with_its_entry(position, how):
    position.create_label("a", objects(*MASK))
    before = snapshot(place(position))
    position.create_label("b", objects(*MASK))
    if how == "position":
        position.delete_label("b")
    else:
        del position.labels_group["b"]
    assert snapshot(place(position)) == before
    with refused(ps.NodeKeyError, KeyError, tree=place(position)):
        position.delete_label("b")
    with refused(ps.NodeKeyError, KeyError, tree=place(position)):
        del position.labels_group["b"]


def test_an_array_of_a_label_image_is_removed_by_path(position):
    position.create_label("a", objects(*MASK))["1"] = objects(*MASK)
    del position.labels_group["a/1"]
    assert list(position.get_label("a")) == ["0"]
    assert position.label_names == ["a"]


def test_an_entry_without_data_can_be_removed(position):
    position.create_label("a", objects(*MASK))
    shutil.rmtree(place(position) / "labels/a")
    with pytest.raises(ps.DanglingError):
        position.get_label("a")
    with pytest.warns(ps.UnreadableWarning, match="not there"):
        assert list(position.labels()) == []
    position.delete_label("a")
    assert listed(place(position)) == []


# --- replacing --------------------------------------------------------------------------------------


def test_what_exists_is_replaced_only_if_asked(position):
    position.create_label("a", objects(*MASK), colors={7: (1, 2, 3)}, properties={7: {"x": 1}})
    position.create_label("b", objects(*MASK))
    with refused(ps.NodeExistsError, FileExistsError, tree=place(position)):
        position.create_label("a", np.ones(MASK, "uint8"))
    label = reopened(position, "r+", overwriting_creation=True).create_label("a", np.ones(MASK, "uint8"))
    assert label["0"].dtype == "uint8"
    assert list(label.colors) == [0, 1]
    assert label.properties == {}
    assert listed(place(position)) == ["a", "b"], "it keeps its place in the list"
    assert "platestore" not in attributes(place(position) / "labels")
    assert sorted(p.name for p in (place(position) / "labels").iterdir() if p.is_dir()) == ["a", "b"]


def test_data_that_nobody_lists_are_not_replaced_without_asking(position):
    position.create_labels_group()
    other = place(position) / "labels/a/0"
    other.mkdir(parents=True)
    (other / "pixels.bin").write_bytes(b"x")
    with refused(ps.NodeExistsError, FileExistsError, tree=place(position)):
        position.create_label("a", objects(*MASK))
    reopened(position, "r+", overwriting_creation=True).create_label("a", objects(*MASK))
    assert not (other / "pixels.bin").exists()


def test_a_directory_in_the_place_of_the_group_is_left_alone(position):
    (place(position) / "labels").mkdir()
    (place(position) / "labels/notes.txt").write_text("mine")
    with refused(ps.NodeExistsError, FileExistsError, tree=place(position)):
        position.create_label("a", objects(*MASK))


# --- levels -----------------------------------------------------------------------------------------


def pyramid(path, version, names="TCZYX", factors=((1, 1, 1, 2, 2), (1, 1, 2, 2, 2)), shape=SHAPE):
    """A position whose image has levels, made here by hand."""
    position = new_position(path, version, names=names)
    position["0"] = pixels(*shape)
    size, steps = list(shape), np.ones(len(shape))
    for level, factor in enumerate(factors, 1):
        size = [-(-n // f) for n, f in zip(size, factor, strict=True)]
        steps = steps * factor
        position.create_image(str(level), pixels(*size), transform=scale(*steps))
    return position


def mode_of(data, factors):
    """The most frequent value of each window, the smallest of several; edges replicated."""
    pads = [(0, -n % f) for n, f in zip(data.shape, factors, strict=True)]
    padded = np.pad(data, pads, mode="edge")
    split = [x for n, f in zip(padded.shape, factors, strict=True) for x in (n // f, f)]
    windows = padded.reshape(split).transpose([*range(0, 2 * data.ndim, 2), *range(1, 2 * data.ndim, 2)])
    flat = windows.reshape(-1, int(np.prod(factors)))
    values = [np.unique(row, return_counts=True) for row in flat]
    return np.array([v[np.argmax(n)] for v, n in values], data.dtype).reshape(windows.shape[: data.ndim])


def test_a_label_image_has_the_levels_of_the_image(tmp_path, version):
    position = pyramid(tmp_path / "a.zarr", version)
    data = objects(*MASK)
    label = position.create_label("n", data)
    assert list(label) == list(position) == ["0", "1", "2"]
    assert [label[k].shape for k in label] == [(1, 1, 3, 16, 12), (1, 1, 3, 8, 6), (1, 1, 2, 4, 3)]
    for k in label:
        assert label.get_effective_scale(k) == position.get_effective_scale(k)
        assert label[k].dtype == "uint16"
    first = mode_of(data, (1, 1, 1, 2, 2))
    np.testing.assert_array_equal(label["1"].numpy(), first)
    np.testing.assert_array_equal(label["2"].numpy(), mode_of(first, (1, 1, 2, 2, 2)))
    assert ome(place(position) / "labels/n")["multiscales"][0]["type"] == "mode"


def test_a_dimension_of_one_stays_one_in_all_levels(tmp_path, version):
    position = pyramid(tmp_path / "a.zarr", version)
    label = position.create_label("n", objects(1, 1, 1, 16, 12))
    assert [label[k].shape for k in label] == [(1, 1, 1, 16, 12), (1, 1, 1, 8, 6), (1, 1, 1, 4, 3)]


def test_the_number_of_levels_can_be_given(tmp_path, version):
    position = pyramid(tmp_path / "a.zarr", version)
    assert list(position.create_label("one", objects(*MASK), pyramid_levels=1)) == ["0"]
    assert list(position.create_label("two", objects(*MASK), pyramid_levels=2)) == ["0", "1"]


def test_the_method_can_be_given(tmp_path, version):
    position = pyramid(tmp_path / "a.zarr", version)
    data = objects(*MASK)
    label = position.create_label("n", data, pyramid_method="stride")
    np.testing.assert_array_equal(label["1"].numpy(), data[..., ::2, ::2])


def test_a_wrong_method_is_refused_and_nothing_is_written(tmp_path, version):
    position = pyramid(tmp_path / "a.zarr", version)
    with refused(ps.ArgumentError, ValueError, tree=tmp_path, names=False):
        position.create_label("n", objects(*MASK), pyramid_method="wrong")


def steps_of(position):
    """The steps that labels of a position get."""
    image = image_of(position.__editor__().peek(), position.__editor__())
    editor = position.__editor__()
    return factors_of(editor, image, documents_of(editor, image), exact=False)


@pytest.mark.parametrize(
    ("factors", "shape"),
    [
        (((1, 2, 2), (1, 2, 2)), (3, 17, 9)),
        (((2, 2, 2), (1, 3, 4)), (5, 17, 24)),
        (((1, 2, 2), (2, 2, 2), (2, 2, 2)), (3, 9, 5)),
    ],
)
def test_the_steps_of_the_image_are_recognised(tmp_path, factors, shape):
    position = pyramid(tmp_path / "a.zarr", "0.5", "ZYX", factors, shape)
    assert steps_of(position) == list(factors)
    label = position.create_label("flat", np.zeros((1, *shape[1:]), "uint16"))
    assert [label[k].shape for k in label] == [(1, *position[k].shape[1:]) for k in position]
    assert steps_of(label) == [(1, *f[1:]) for f in factors]


def test_without_scales_the_steps_are_told_by_the_shapes(tmp_path):
    position = pyramid(tmp_path / "a.zarr", "0.5", "YX", ((2, 2), (2, 3)), (33, 60))
    for level in position:
        position.set_transform(level, scale(1, 1))
    assert steps_of(position) == [(2, 2), (2, 3)]


def test_the_steps_of_a_real_field_are_recognised():
    field = ps.open_ome_zarr(CROP)
    assert steps_of(field) == [(1, 1, 2, 2)]


def test_labels_of_the_real_field_are_made_again(tmp_path):
    target = tmp_path / "field.zarr"
    shutil.copytree(CROP, target)
    field = ps.open_ome_zarr(target, mode="r+")
    data = field["labels/nuclei/0"].numpy()
    label = field.create_label("again", data)
    assert field.label_names == ["nuclei", "again"]
    np.testing.assert_array_equal(label["0"].numpy(), data[None])
    assert [label[k].shape[1:] for k in label] == [field[f"labels/nuclei/{k}"].shape for k in label]
    assert label.get_effective_scale("1")[1:] == field["labels/nuclei"].get_effective_scale("1")


# --- stores from elsewhere --------------------------------------------------------------------------


def test_the_labels_of_a_real_field_are_read():
    field = ps.open_ome_zarr(CROP)
    assert field.has_labels
    assert field.label_names == ["nuclei"]
    ((name, label),) = field.labels()
    assert name == "nuclei"
    assert type(label) is ps.LabelImage
    assert label.axis_names == ["z", "y", "x"]
    assert label.colors == {}
    assert label.properties == {}
    assert label.source == "../../"
    assert label.metadata.image_label.version == "0.4"


def test_nested_label_paths_are_read(position):
    position.create_label("plain", objects(*MASK))
    folder = place(position) / "labels"
    shutil.copytree(folder / "plain", folder / "original" / "0")
    document = {"zarr_format": 3, "node_type": "group", "attributes": {}}
    if (folder / "zarr.json").exists():
        (folder / "original/zarr.json").write_text(json.dumps(document))
    else:
        (folder / "original/.zgroup").write_text('{"zarr_format": 2}')
    edit_ome(folder, lambda o: o.update(labels=["original/0", "plain"]))
    again = reopened(position, "r+")
    assert again.label_names == ["original/0", "plain"]
    assert [name for name, _ in again.labels()] == ["original/0", "plain"]
    np.testing.assert_array_equal(again.get_label("original/0")["0"].numpy(), objects(*MASK))
    assert type(again["labels/original/0"]) is ps.LabelImage
    assert again["labels/original/0/0"].shape == MASK
    group = again.labels_group
    assert group["original/0/0"].shape == MASK
    assert "original/0" in group
    assert "original" not in group
    again.delete_label("original/0")
    assert again.label_names == ["plain"]
    assert not (folder / "original/0").exists()


def test_a_group_without_a_list_is_reported(position):
    position.create_labels_group()
    folder = place(position) / "labels"
    edit_ome(folder, lambda o: o.pop("labels"))
    with pytest.warns(ps.StoreWarning, match="no list"):
        assert reopened(position).label_names == []
    with pytest.warns(ps.StoreWarning, match="no list"):
        reopened(position, "r+").create_label("n", objects(*MASK))
    assert listed(folder.parent) == ["n"]


def test_a_v2_group_without_attributes_lists_nothing(tmp_path):
    position = new_position(tmp_path / "a.zarr", "0.4")
    position["0"] = pixels(*SHAPE)
    folder = tmp_path / "a.zarr/labels"
    folder.mkdir()
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    assert not position.has_labels
    with pytest.warns(ps.StoreWarning, match="no list"):
        assert list(position.labels_group) == []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ps.StoreWarning)
        position.create_label("n", objects(*MASK))
    assert listed(tmp_path / "a.zarr") == ["n"]


def test_a_list_that_names_a_label_twice_is_reported(position):
    position.create_label("n", objects(*MASK))
    edit_ome(place(position) / "labels", lambda o: o.update(labels=["n", "n"]))
    with pytest.warns(ps.StoreWarning, match="more than once"):
        assert reopened(position).label_names == ["n", "n"]


@pytest.mark.parametrize("path", ["../0", "/etc", "..", "", "a/../../b", "C:\\x"])
def test_a_list_that_leads_out_of_the_store_is_refused(position, path):
    position.create_labels_group()
    edit_ome(place(position) / "labels", lambda o: o.update(labels=[path]))
    with refused(ps.InvalidMetadataError, ValueError, tree=place(position)):
        _ = reopened(position).label_names


@pytest.mark.parametrize("wrong", [5, "n", {"a": 1}, [1, {}], [["n"]], None])
def test_a_list_that_is_none_is_refused(position, wrong):
    position.create_labels_group()
    edit_ome(place(position) / "labels", lambda o: o.update(labels=wrong))
    with refused(ps.InvalidMetadataError, ValueError, tree=place(position)):
        _ = reopened(position).label_names
    assert reopened(position)["0"].shape == SHAPE, "the image is there all the same"


@pytest.mark.parametrize(
    "block", [5, [], {"colors": 5}, {"colors": [{"rgba": [1, 2, 3, 4]}]}, {"properties": [{"a": 1}]}]
)
def test_colors_that_cannot_be_read_do_not_hide_the_pixels(position, block):
    position.create_label("n", objects(*MASK))
    folder = place(position) / "labels/n"
    edit_ome(folder, lambda o: o.update({"image-label": block}))
    with pytest.warns(ps.StoreWarning, match="image-label: is ignored"):
        label = reopened(position, "r+").get_label("n")
    assert label["0"].shape == MASK
    assert label.colors == {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ps.StoreWarning)
        label.set_scale("0", "x", 9)
    assert ome(folder)["image-label"] == block, "what was not understood is left as it was"


def test_flaws_of_colors_are_reported(position):
    position.create_label("n", objects(*MASK))
    twice = [{"label-value": 1, "rgba": [1, 2, 3, 4]}, {"label-value": 1, "rgba": [5, 6, 7, 8]}]
    edit_ome(place(position) / "labels/n", lambda o: o["image-label"].update(colors=twice))
    with pytest.warns(ps.StoreWarning, match="label-color-duplicate"):
        label = reopened(position).get_label("n")
    assert label.colors == {1: (5, 6, 7, 8)}, "the last counts"


def test_a_listed_image_without_image_label_is_read(position):
    position.create_label("n", objects(*MASK))
    folder = place(position) / "labels/n"
    edit_ome(folder, lambda o: o.pop("image-label"))
    label = reopened(position, "r+").get_label("n")
    assert type(label) is ps.LabelImage
    assert label.metadata.image_label is None
    assert type(reopened(position)["labels/n"]) is ps.Position, "by its path it is what it says"
    label.set_scale("0", "x", 9)
    assert "image-label" not in ome(folder)


def test_keys_of_others_survive(position, version):
    position.create_label("n", objects(*MASK), properties={1: {"area": 2}})
    group, folder = place(position) / "labels", place(position) / "labels/n"
    edit_attributes(group, note={"by": "me"})
    edit_attributes(folder, note=[1, 2])
    edit_ome(group, lambda o: o.update(other="x"))
    edit_ome(folder, lambda o: o["image-label"].update(other={"y": None}))
    writer = reopened(position, "r+")
    writer.get_label("n").set_scale("0", "x", 9)
    writer.create_label("m", objects(*MASK))
    writer.delete_label("m")
    assert attributes(group)["note"] == {"by": "me"}
    assert attributes(folder)["note"] == [1, 2]
    assert ome(group)["other"] == "x"
    assert ome(folder)["image-label"]["other"] == {"y": None}
    assert ome(folder)["image-label"]["properties"] == [{"label-value": 1, "area": 2}]


def test_colors_are_edited_through_the_metadata(position):
    label = position.create_label("n", objects(*MASK))
    label.metadata.image_label.colors = [ps.LabelColorMeta(label_value=1, rgba=[9, 8, 7, 6])]
    label.dump_meta()
    assert reopened(position).get_label("n").colors == {1: (9, 8, 7, 6)}
    label.metadata.image_label.colors[0].rgba = [0, 0, 0, 999]
    with refused(ps.InvalidMetadataError, ValueError, tree=place(position)):
        label.dump_meta()
    label.refresh().metadata.image_label = None
    label.dump_meta()
    assert "image-label" not in ome(place(position) / "labels/n")


# --- interruptions ----------------------------------------------------------------------------------


def check_whole(path):
    """Nothing that is listed is missing or incomplete."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        position = ps.open_ome_zarr(path)
        assert position["0"].shape == SHAPE
        names = position.label_names
        for name, label in position.labels():
            assert label["0"].numpy().any(), name
            assert label.metadata.image_label.colors
        return names


def crash_everywhere(make, change, root):
    """Stop ``change`` before each of its operations, in the middle of each writing, and after the last."""
    template = root / "template.zarr"
    make(template)
    shutil.copytree(template, root / "whole.zarr")
    with OsFaults(root / "whole.zarr") as rehearsal:
        change(root / "whole.zarr")
    places = [(at, "before") for at in range(len(rehearsal.log) + 1)]
    places += [(at, "torn") for at, (name, _) in enumerate(rehearsal.log) if name == "write"]
    for at, when in places:
        path = root / f"{at}{when}.zarr"
        shutil.copytree(template, path)
        with OsFaults(path, at, when=when) as faults, contextlib.suppress(Crash):
            change(path)
        assert faults.dead or at == len(rehearsal.log)
        yield path
        shutil.rmtree(path)


def base(path, version, *names):
    position = new_position(path, version)
    position["0"] = pixels(*SHAPE)
    for name in names:
        position.create_label(name, objects(*MASK))


@pytest.mark.parametrize("first", [True, False])
def test_an_interrupted_creation_is_made_again(tmp_path, version, first):
    names = [] if first else ["old"]
    states = set()

    def create(path):
        ps.open_ome_zarr(path, mode="r+").create_label("n", objects(*MASK))

    for path in crash_everywhere(lambda p: base(p, version, *names), create, tmp_path):
        found = check_whole(path)
        states.add(tuple(found))
        assert found in (names, [*names, "n"])
        writer = ps.open_ome_zarr(path, mode="r+")
        if "n" in writer.label_names:
            assert "n" in check_whole(path), "what was recorded is completed by the next writer"
            writer.delete_label("n")
        writer.create_label("n", objects(*MASK))
        assert check_whole(path) == [*names, "n"]
        np.testing.assert_array_equal(
            ps.open_ome_zarr(path)["labels/n/0"].numpy(), objects(*MASK), err_msg=path.name
        )
    assert len(states) == 2


def test_an_interrupted_replacement_leaves_the_old_or_the_new(tmp_path, version):
    new = objects(*MASK) * 2

    def replace(path):
        ps.open_ome_zarr(path, mode="r+", overwriting_creation=True).create_label("b", new)

    for path in crash_everywhere(lambda p: base(p, version, "a", "b", "c"), replace, tmp_path):
        found = check_whole(path)
        assert found in (["a", "b", "c"], ["a", "c"])
        writer = ps.open_ome_zarr(path, mode="r+")
        assert writer.label_names == ["a", "b", "c"]
        assert check_whole(path) == ["a", "b", "c"]
        data = ps.open_ome_zarr(path)["labels/b/0"].numpy()
        assert (data == new).all() or (data == objects(*MASK)).all()


def test_an_interrupted_deletion_is_completed(tmp_path, version):
    def delete(path):
        ps.open_ome_zarr(path, mode="r+").delete_label("b")

    for path in crash_everywhere(lambda p: base(p, version, "a", "b"), delete, tmp_path):
        found = check_whole(path)
        assert found in (["a", "b"], ["a"])
        writer = ps.open_ome_zarr(path, mode="r+")
        if writer.label_names == ["a", "b"]:
            assert found == ["a", "b"]
            writer.delete_label("b")
        assert check_whole(path) == ["a"]
        assert not (path / "labels/b").exists()
        writer.create_label("b", objects(*MASK))
        assert check_whole(path) == ["a", "b"]


def test_an_error_half_way_leaves_nothing_behind(tmp_path, version):
    template = tmp_path / "t.zarr"
    base(template, version, "old")
    before = snapshot(template)
    failed = 0
    for at in range(400):
        path = tmp_path / f"{at}.zarr"
        shutil.copytree(template, path)
        position = ps.open_ome_zarr(path, mode="r+")
        with OsFaults(path, at, error=errno.ENOSPC) as faults:
            try:
                position.create_label("n", objects(*MASK))
            except OSError as error:
                failed += error.errno == errno.ENOSPC
        if at >= len(faults.log):
            break
        names = check_whole(path)
        assert names in (["old"], ["old", "n"])
        if names == ["old"]:
            with_rest = {k: v for k, v in snapshot(path).items() if ".new" not in k}
            assert set(with_rest) == set(before), faults.log[at]
        if "n" not in ps.open_ome_zarr(path, mode="r+").label_names:
            position.create_label("n", objects(*MASK))
        assert check_whole(path) == ["old", "n"]
        shutil.rmtree(path)
    assert failed > 3


def test_a_failed_first_creation_takes_the_group_back(position, monkeypatch):
    before = snapshot(place(position))

    def fail(*args, **kwargs):
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr("platestore.images.label_creation.create_image", fail)
    with pytest.raises(OSError, match="no space"):
        position.create_label("n", objects(*MASK))
    assert snapshot(place(position)) == before
    position.create_labels_group()
    with pytest.raises(OSError, match="no space"):
        position.create_label("n", objects(*MASK))
    assert position.labels_group is not None, "a group that was there stays"


# --- several at once --------------------------------------------------------------------------------


def make_some(path, number, start, count):
    position = ps.open_ome_zarr(path, mode="r+")
    start.wait(60)
    for k in range(count):
        position.create_label(f"p{number}n{k}", np.full(MASK, number + 1, "uint8"))


@pytest.mark.quick(1)
def test_processes_that_create_labels_of_one_position_lose_none(position):
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(3)
    workers = [
        spawn.Process(target=make_some, args=(place(position), number, start, 4), daemon=True)
        for number in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    names = check_whole(place(position))
    assert sorted(names) == [f"p{number}n{k}" for number in range(3) for k in range(4)]
    for number in range(3):
        assert [n for n in names if n.startswith(f"p{number}")] == [f"p{number}n{k}" for k in range(4)]
        assert reopened(position).get_label(f"p{number}n3")["0"].numpy().max() == number + 1


def test_a_handle_that_was_open_sees_what_others_created(position):
    other = reopened(position, "r+")
    group = position.create_labels_group()
    other.create_label("a", objects(*MASK))
    position.create_label("b", objects(*MASK))
    assert position.label_names == other.label_names == ["a", "b"]
    del group["a"]
    assert position.label_names == ["b"]


# --- zarr stores ------------------------------------------------------------------------------------


def test_labels_in_a_zarr_store(version):
    store = MemoryStore()
    position = ps.open_ome_zarr(store, layout="fov", mode="w-", channel_names=["a", "b"], version=version)
    assert not position.has_labels
    position["0"] = pixels(*SHAPE)
    position.create_label("a", objects(*MASK))
    position.create_label("b", objects(*MASK), colors={1: (1, 2, 3)})
    again = ps.open_ome_zarr(store, mode="r+", overwriting_creation=True)
    assert again.label_names == ["a", "b"]
    np.testing.assert_array_equal(again["labels/b/0"].numpy(), objects(*MASK))
    again.create_label("a", np.ones(MASK, "uint8"))
    assert again.label_names == ["a", "b"]
    assert again["labels/a/0"].numpy().all()
    again.delete_label("b")
    assert again.label_names == ["a"]
    assert not any("labels/b" in key or "/." in key for key in store._store_dict if "z" not in key[-8:])


# --- what is told -----------------------------------------------------------------------------------


def test_info_names_the_labels(position):
    assert describe(place(position)).labels == {}
    assert "  labels" not in render(describe(place(position)))
    position.create_label("nuclei", objects(*MASK))
    position.create_label("cells", objects(*MASK))
    info = describe(place(position))
    assert info.labels == {"nuclei": 1, "cells": 1}
    assert "  labels     nuclei (1 level), cells (1 level)" in render(info)
    assert json.loads(info.model_dump_json())["labels"] == {"nuclei": 1, "cells": 1}
    assert "labels     nuclei (2 levels)" in render(describe(CROP))


def test_info_of_a_label_image_and_of_the_group(position):
    position.create_label("nuclei", objects(*MASK))
    label = describe(place(position) / "labels/nuclei")
    assert (label.kind, label.images[0].levels[0].dtype, label.labels) == ("label", "uint16", {})
    group = describe(place(position) / "labels", verbose=True)
    assert (group.kind, group.positions, group.position) == ("labels", ["nuclei"], "nuclei")
    assert group.size.decoded_bytes == objects(*MASK).nbytes
    assert "zarr" in render(group)
    assert describe(place(position), verbose=True).size.decoded_bytes == (
        pixels(*SHAPE).nbytes + objects(*MASK).nbytes
    )


def test_info_reports_a_label_that_is_not_there(position):
    position.create_label("nuclei", objects(*MASK))
    shutil.rmtree(place(position) / "labels/nuclei")
    info = describe(place(position))
    assert info.labels == {}
    assert any("nuclei" in text for text in info.unreadable)


def test_a_repr_reads_nothing(position):
    label = position.create_label("n", objects(*MASK))
    assert repr(label) == f"<LabelImage {place(position) / 'labels/n'} levels=['0']>"
    shutil.rmtree(place(position) / "labels/n")
    assert "levels" in repr(label)


def test_pyramids_of_labels_take_the_most_frequent_value():
    assert ps.LabelImage._editor_class.pyramid_method == "mode"
