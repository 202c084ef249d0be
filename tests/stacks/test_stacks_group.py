"""``MultiScaleGroup``: what the document of the original promises, and what it does not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stack_cases import cascade, mean_half_even, noise, smallest_mode, windows

import platestore as ps
from conftest import examples
from platestore import stacks
from platestore.errors import LevelExistsError, LevelNotFoundError

SHAPE, CHUNKS = (13, 17, 23), (4, 4, 4)
SPEC = stacks.ArraySpec(SHAPE, "uint16", CHUNKS)


def new(path: Path, spec=SPEC, **options):
    wishes = {
        "name": "v",
        "voxel_size": (1, 2, 3),
        "spatial_unit": "micrometer",
        "array_spec": spec,
        **options,
    }
    return stacks.MultiScaleGroup(path, **wishes)


def planes(array):
    """A dask array with one chunk per plane, as the document asks for."""
    return da.from_array(array, chunks=(*array.shape[:2], 1))


@pytest.fixture
def group(tmp_path):
    return new(tmp_path / "v.zarr")


@pytest.fixture
def filled(group):
    group.add_full_res_data(planes(noise(SHAPE)), n_processes=2)
    return group


# --- creating and opening -------------------------------------------------------------------------


def test_a_new_group_has_an_empty_level_0(group):
    assert group.levels == [0]
    assert group.name == "v"
    assert group.voxel_size == (1.0, 2.0, 3.0)
    assert group.spatial_unit == "micrometer"
    assert group.origin == "center"
    assert group.chunk_size_z == 4
    array = group[0]
    assert isinstance(array, ps.ImageArray)
    assert array.shape == SHAPE
    assert array.chunks == CHUNKS
    assert array.shards == (16, 20, 4)  # all of a plane, and one chunk along z
    assert not array[...].any()


def test_the_document_is_ome_ngff_0_5_with_axes_x_y_z(group):
    content = json.loads((Path(group.path) / "zarr.json").read_text())
    ome = content["attributes"]["ome"]
    assert ome["version"] == "0.5"
    (image,) = ome["multiscales"]
    assert image["axes"] == [{"name": n, "type": "space", "unit": "micrometer"} for n in "xyz"]
    assert image["datasets"] == [
        {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 2.0, 3.0]}]}
    ]
    assert set(content["attributes"]) == {"ome"}
    array = json.loads((Path(group.path) / "0" / "zarr.json").read_text())
    assert array["dimension_names"] == ["x", "y", "z"]
    assert zarr.open_array(Path(group.path) / "0", mode="r").shape == SHAPE


def test_a_group_is_opened_with_what_it_has(filled):
    again = stacks.open_multiscale_group(filled.path)
    assert (again.name, again.voxel_size, again.spatial_unit) == ("v", (1.0, 2.0, 3.0), "micrometer")
    assert again.levels == [0]
    np.testing.assert_array_equal(again[0][...], noise(SHAPE))
    same = stacks.MultiScaleGroup(
        filled.path, name="v", voxel_size=(1, 2, 3), spatial_unit="micrometer", array_spec=SPEC
    )
    np.testing.assert_array_equal(same[0][...], noise(SHAPE))


@pytest.mark.parametrize(
    ("wrong", "both"),
    [
        ({"name": "w"}, ("'v'", "'w'")),
        ({"voxel_size": (1, 2, 4)}, ("(1.0, 2.0, 3.0)", "(1.0, 2.0, 4.0)")),
        ({"spatial_unit": "nanometer"}, ("micrometer", "nanometer")),
        ({"array_spec": dataclasses.replace(SPEC, shape=(13, 17, 24))}, ("(13, 17, 23)", "(13, 17, 24)")),
        ({"array_spec": dataclasses.replace(SPEC, dtype="uint8")}, ("uint16", "uint8")),
        ({"array_spec": dataclasses.replace(SPEC, chunks=(8, 4, 4))}, ("(4, 4, 4)", "(8, 4, 4)")),
        ({"array_spec": dataclasses.replace(SPEC, compressor="zstd:9")}, ("blosc-lz4:5", "zstd:9")),
        ({"array_spec": dataclasses.replace(SPEC, fill_value=7)}, ("0", "7")),
    ],
)
def test_arguments_that_contradict_the_group_are_an_error_with_both_values(group, wrong, both):
    before = (Path(group.path) / "zarr.json").read_bytes()
    with pytest.raises(ps.ArgumentError) as caught:
        new(Path(group.path), **{"array_spec": SPEC, **wrong})
    assert all(value in str(caught.value) for value in both)
    assert (Path(group.path) / "zarr.json").read_bytes() == before


def test_a_group_that_is_not_there_needs_an_array_spec(tmp_path):
    with pytest.raises(ps.ArgumentError, match="no array_spec"):
        new(tmp_path / "v.zarr", spec=None)
    assert not (tmp_path / "v.zarr").exists()
    with pytest.raises(ps.NodeNotFoundError):
        stacks.open_multiscale_group(tmp_path / "v.zarr")


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"voxel_size": (1, 2)}, "3 values"),
        ({"voxel_size": (1, 2, 0)}, "positive"),
        ({"voxel_size": 1.0}, "3 values"),
        ({"spatial_unit": "mikrometer"}, "did you mean 'micrometer'"),
        ({"spatial_unit": "second"}, "no unit of space"),
        ({"name": 7}, "string"),
        ({"origin": "middle"}, "'center' or 'corner'"),
        ({"spec": dataclasses.replace(SPEC, shape=(4, 4))}, "x, y and z"),
        ({"spec": dataclasses.replace(SPEC, dtype="complex64")}, "complex64"),
        ({"spec": dataclasses.replace(SPEC, fill_value=-1)}, "fill value"),
        ({"spec": dataclasses.replace(SPEC, compressor="best")}, "best"),
        ({"spec": {"shape": (4, 4, 4)}}, "no description"),
        ({"spec": 3}, "no description"),
    ],
)
def test_wrong_arguments_leave_nothing_behind(tmp_path, wrong, text):
    with pytest.raises(ps.ArgumentError, match=text):
        new(tmp_path / "v.zarr", **wrong)
    assert list(tmp_path.iterdir()) == []


def test_other_things_are_not_opened(tmp_path):
    ps.open_ome_zarr(tmp_path / "p.zarr", layout="hcs", mode="w-", channel_names=["a"])
    with pytest.raises(ps.InvalidMetadataError, match="Plate"):
        stacks.open_multiscale_group(tmp_path / "p.zarr")
    fov = ps.open_ome_zarr(tmp_path / "f.zarr", layout="fov", mode="w-", channel_names=["a"])
    fov.create_zeros("0", (1, 1, 2, 4, 4), "uint8")
    with pytest.raises(ps.InvalidMetadataError, match="x, y, z"):
        stacks.open_multiscale_group(tmp_path / "f.zarr")
    with pytest.raises(ps.UnsafeTargetError, match="inside the store"):
        new(tmp_path / "f.zarr" / "more")


# --- descriptions of arrays -----------------------------------------------------------------------


def json_spec(**changes):
    """The fields of a ``zarr.json``."""
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(SHAPE),
        "data_type": "uint16",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(CHUNKS)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 3,
        "codecs": [
            {"name": "bytes", "configuration": {"endian": "little"}},
            {"name": "zstd", "configuration": {"level": 2, "checksum": False}},
        ],
        "attributes": {"made": "by hand"},
        "dimension_names": None,
        **changes,
    }


def test_a_description_as_json_becomes_sharded_and_is_not_changed(tmp_path):
    spec = json_spec()
    before = json.dumps(spec)
    group = new(tmp_path / "v.zarr", spec)
    assert json.dumps(spec) == before
    assert group[0].shards == (16, 20, 4)
    assert group[0].chunks == CHUNKS
    assert group[0].fill_value == 3
    assert dict(group[0].attrs) == {"made": "by hand"}
    content = json.loads((tmp_path / "v.zarr" / "0" / "zarr.json").read_text())
    assert content["codecs"][0]["configuration"]["codecs"] == spec["codecs"]
    second = new(tmp_path / "w.zarr", spec)  # the same object again: the chunks are what they were
    assert second[0].chunks == CHUNKS
    new(tmp_path / "v.zarr", spec)


def test_shards_of_its_own_stay_as_they_are(tmp_path):
    inner = json_spec()["codecs"]
    index = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
    shards = {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": [4, 4, 2],
            "codecs": inner,
            "index_codecs": index,
            "index_location": "end",
        },
    }
    grid = {"name": "regular", "configuration": {"chunk_shape": [8, 20, 8]}}
    group = new(tmp_path / "v.zarr", json_spec(codecs=[shards], chunk_grid=grid))
    assert (group[0].chunks, group[0].shards) == ((4, 4, 2), (8, 20, 8))
    assert group.chunk_size_z == 8
    group.add_full_res_data(planes(noise(SHAPE)[..., :16]), n_processes=1)
    group.add_full_res_data(planes(noise(SHAPE)[..., 16:]), n_processes=1, start_z_idx=16)
    np.testing.assert_array_equal(group[0][...], noise(SHAPE))


class _Attributes:
    """A description by attributes alone."""

    def __init__(self, **fields):
        self.__dict__.update(fields)


def test_a_description_by_attributes(tmp_path):
    group = new(tmp_path / "v.zarr", _Attributes(**json_spec(storage_transformers=())))
    assert group[0].chunks == CHUNKS
    with pytest.raises(ps.ArgumentError, match="dimensions"):
        new(tmp_path / "w.zarr", json_spec(dimension_names=["a", "b", "c"]))
    with pytest.raises(ps.ArgumentError, match="cannot be used"):
        new(tmp_path / "w.zarr", json_spec(chunk_grid={"name": "regular"}))
    assert new(tmp_path / "w.zarr", json_spec(dimension_names=["x", "y", "z"])).levels == [0]


def test_the_array_spec_of_pydantic_zarr(tmp_path):
    v3 = pytest.importorskip("pydantic_zarr.v3")
    fields = {k: v for k, v in json_spec().items() if k not in ("zarr_format", "node_type")}
    spec = v3.ArraySpec(**fields)
    before = spec.model_dump_json()
    group = new(tmp_path / "v.zarr", spec)
    assert spec.model_dump_json() == before
    group.add_full_res_data(planes(noise(SHAPE)), n_processes=1)
    group.add_downsample_level(1)
    np.testing.assert_array_equal(group[1][...], mean_half_even(noise(SHAPE), (2, 2, 2)))
    new(tmp_path / "v.zarr", spec)
    from_array = v3.ArraySpec.from_array(np.zeros((8, 8, 8), "float32"), attributes={})
    assert new(tmp_path / "w.zarr", from_array)[0].dtype == "float32"


# --- full resolution ------------------------------------------------------------------------------


def test_slabs_of_full_resolution(group):
    data = noise(SHAPE)
    group.add_full_res_data(planes(data[..., 8:16]), n_processes=1, start_z_idx=8)
    assert not group[0][..., :8].any()
    group.add_full_res_data(planes(data[..., :8]), n_processes=2)
    group.add_full_res_data(planes(data[..., 16:]), n_processes=-1, start_z_idx=16)  # to the end: 7 planes
    np.testing.assert_array_equal(group[0][...], data)


@pytest.mark.parametrize("kind", ["numpy", "zarr", "dask in other chunks", "fortran"])
def test_other_arrays_than_dask_planes(group, kind, tmp_path):
    data = noise(SHAPE)
    given = {
        "numpy": lambda: data,
        "zarr": lambda: zarr.create_array(tmp_path / "z.zarr", data=data, chunks=(5, 5, 5)),
        "dask in other chunks": lambda: da.from_array(data, chunks=(5, 17, 3)),
        "fortran": lambda: np.asfortranarray(data),
    }[kind]()
    group.add_full_res_data(given, n_processes=2)
    np.testing.assert_array_equal(group[0][...], data)


@pytest.mark.parametrize(
    ("start", "count", "hint"),
    [
        (2, 4, "start at 0 or 4"),
        (22, 1, "start at 20"),
        (-4, 4, "from 0 to 22"),
        (23, 1, "from 0 to 22"),
        (24, 1, "from 0 to 22"),
        ("0", 4, "from 0 to 22"),
        (True, 4, "from 0 to 22"),
        (0, 6, "pass 4 or 8 planes"),
        (16, 5, "pass 4 or 7 planes"),
        (20, 4, "there is room for 3"),
        (4, 20, "there is room for 19"),
    ],
)
def test_both_ends_of_a_block_are_checked_and_the_right_value_is_named(group, start, count, hint):
    with pytest.raises(ps.ArgumentError) as caught:
        group.add_full_res_data(planes(noise((13, 17, count))), n_processes=1, start_z_idx=start)
    assert hint in str(caught.value)
    assert not list((Path(group.path) / "0").glob("c/**/*"))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (np.zeros((13, 17), "uint16"), r"\(13, 17, 'number of planes'\)"),
        (np.zeros((13, 16, 4), "uint16"), r"\(13, 17, 23\)"),
        (np.zeros((4, 17, 13), "uint16"), r"\(13, 17, 23\)"),
        (np.zeros((13, 17, 4), "int16"), "astype\\('uint16'\\)"),
        (np.zeros((13, 17, 0), "uint16"), "no planes"),
        (object(), "no array"),
    ],
)
def test_data_that_do_not_fit(group, data, text):
    with pytest.raises(ps.ArgumentError, match=text):
        group.add_full_res_data(data, n_processes=1)


@pytest.mark.parametrize("wrong", [0, 1.5, True, None])
def test_a_number_of_processes_that_is_none(group, wrong):
    with pytest.raises(ps.ArgumentError, match="n_processes"):
        group.add_full_res_data(planes(noise(SHAPE)), n_processes=wrong)


def test_a_budget_that_is_too_small_is_refused_before_anything_is_written(group):
    with pytest.raises(ps.BudgetError):
        group.add_full_res_data(planes(noise(SHAPE)), n_processes=1, max_memory=1000)
    assert not list((Path(group.path) / "0").glob("c/**/*"))


# --- levels ---------------------------------------------------------------------------------------


def test_levels_one_after_the_other(filled):
    expected = cascade(noise(SHAPE), [(2, 2, 2)] * 3)
    for level in (1, 2, 3):
        filled.add_downsample_level(level, n_processes=2)
    assert filled.levels == [0, 1, 2, 3]
    for level in filled.levels:
        np.testing.assert_array_equal(filled[level][...], expected[level])
        assert filled[level].chunks == tuple(min(4, n) for n in expected[level].shape)
        assert filled[level].shards[2] == min(4, expected[level].shape[2])
    image = ps.open_ome_zarr(filled.path).metadata.multiscales[0]
    assert image.type == "mean"
    assert image.metadata["kwargs"] == {"method": "mean", "factors": [[2, 2, 2]] * 3}
    scales = [d.coordinate_transformations[0].scale for d in image.datasets]
    assert scales == [[1, 2, 3], [2, 4, 6], [4, 8, 12], [8, 16, 24]]
    offsets = [[t.translation for t in d.coordinate_transformations[1:]] for d in image.datasets]
    assert offsets == [[], [[0.5, 1.0, 1.5]], [[1.5, 3.0, 4.5]], [[3.5, 7.0, 10.5]]]


def test_an_axis_of_one_voxel_stays(tmp_path):
    spec = stacks.ArraySpec((1, 9, 5), "uint8", (1, 4, 4))
    group = new(tmp_path / "v.zarr", spec)
    data = noise((1, 9, 5), "uint8", high=256)
    group.add_full_res_data(data, n_processes=1)
    for level in (1, 2, 3, 4):
        group.add_downsample_level(level)
    assert group[4].shape == (1, 1, 1)
    with pytest.raises(ps.ArgumentError, match="single voxel"):
        group.add_downsample_level(5)
    expected = cascade(data, [(1, 2, 2), (1, 2, 2), (1, 2, 2), (1, 2, 1)])
    for level in group.levels:
        np.testing.assert_array_equal(group[level][...], expected[level])
    steps = ps.open_ome_zarr(group.path).metadata.multiscales[0].datasets[4].coordinate_transformations
    assert steps[0].scale == [1.0, 32.0, 24.0]


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (np.mean, "mean"),
        (stacks.mean, "mean"),
        ("mean", "mean"),
        ("median", "median"),
        (stacks.mode, "mode"),
        (np.min, "min"),
        (np.amin, "min"),
        (np.max, "max"),
        (np.amax, "max"),
    ],
)
def test_known_functions_are_the_exact_kernels(filled, function, name):
    filled.add_downsample_level(1, downsample_func=function)
    np.testing.assert_array_equal(filled[1][...], cascade(noise(SHAPE), [(2, 2, 2)], name)[1])
    assert ps.open_ome_zarr(filled.path).metadata.multiscales[0].type == name


def spread(array, axis):
    """A function that nobody knows."""
    assert isinstance(axis, tuple)
    return np.max(array, axis=axis) - np.min(array, axis=axis)


def test_any_other_function_is_called_with_windows_and_a_tuple_of_axes(filled):
    filled.add_downsample_level(1, downsample_func=spread)
    found = windows(noise(SHAPE), (2, 2, 2))
    np.testing.assert_array_equal(filled[1][...], found.max(axis=-1) - found.min(axis=-1))
    assert ps.open_ome_zarr(filled.path).metadata.multiscales[0].type == f"{__name__}.spread"


def test_labels_get_the_smallest_of_the_most_common(tmp_path):
    labels = noise(SHAPE, "uint32", high=3)
    group = new(tmp_path / "v.zarr", dataclasses.replace(SPEC, dtype="uint32"))
    group.add_full_res_data(labels, n_processes=1)
    group.add_downsample_level(1, downsample_func=stacks.mode)
    np.testing.assert_array_equal(group[1][...], smallest_mode(labels, (2, 2, 2)))


def test_the_mode_by_itself():
    data = noise((3, 4, 5, 8), "int16", high=3)
    expected = smallest_mode(data, (1, 1, 1, 8))[..., 0]
    np.testing.assert_array_equal(stacks.mode(data, axis=3), expected)
    np.testing.assert_array_equal(stacks.mode(data, axis=(-1,)), expected)
    np.testing.assert_array_equal(stacks.mode(np.moveaxis(data, 3, 0), axis=0), expected)
    assert stacks.mode(np.array([3, 1, 1, 3, 2])) == 1
    np.testing.assert_array_equal(
        stacks.mode(data, axis=(1, 3)),
        smallest_mode(np.moveaxis(data, 1, 2).reshape(3, 5, 32), (1, 1, 32))[..., 0],
    )


def test_levels_of_several_methods_say_so(filled):
    filled.add_downsample_level(1)
    filled.add_downsample_level(2, downsample_func=stacks.mode)
    filled.add_downsample_level(3, downsample_func=np.max)
    image = ps.open_ome_zarr(filled.path).metadata.multiscales[0]
    assert image.type == "mixed"
    assert image.metadata["kwargs"]["methods"] == ["mean", "mode", "max"]
    filled.add_downsample_level(2, overwrite=True)
    filled.add_downsample_level(3, overwrite=True)
    image = ps.open_ome_zarr(filled.path).metadata.multiscales[0]
    assert (image.type, image.metadata["kwargs"].get("methods")) == ("mean", None)


def test_levels_that_cannot_be_added(filled):
    with pytest.raises(RuntimeError, match="level 2 is made from level 1") as caught:
        filled.add_downsample_level(2)
    assert isinstance(caught.value, LevelNotFoundError)
    filled.add_downsample_level(1)
    with pytest.raises(RuntimeError, match="level 1 is there already") as caught:
        filled.add_downsample_level(1)
    assert isinstance(caught.value, LevelExistsError)
    for wrong in (0, -1, 1.5, "1", True, None):
        with pytest.raises(ValueError, match="integer of 1 or more"):
            filled.add_downsample_level(wrong)
    with pytest.raises(ps.ArgumentError, match="no such method"):
        filled.add_downsample_level(2, downsample_func="average")
    with pytest.raises(ps.ArgumentError, match="function"):
        filled.add_downsample_level(2, downsample_func=3)
    assert filled.levels == [0, 1]
    with pytest.raises(ValueError, match="no level 2"):
        filled[2]
    with pytest.raises(KeyError):
        filled["0"]


def test_overwriting_a_level_marks_those_after_it(filled):
    for level in (1, 2, 3):
        filled.add_downsample_level(level)
    filled.add_downsample_level(1, downsample_func=np.max, overwrite=True)
    np.testing.assert_array_equal(filled[1][...], cascade(noise(SHAPE), [(2, 2, 2)], "max")[1])
    assert filled.levels == [0, 1, 2, 3]
    with pytest.raises(ps.ArgumentError, match="level 2 is out of date"):
        filled.add_downsample_level(3, overwrite=True)
    filled.add_downsample_level(2, downsample_func=np.max, overwrite=True)
    filled.add_downsample_level(3, downsample_func=np.max, overwrite=True)
    for level, expected in enumerate(cascade(noise(SHAPE), [(2, 2, 2)] * 3, "max")):
        np.testing.assert_array_equal(filled[level][...], expected)
    assert not [p for p in Path(filled.path).iterdir() if p.name.startswith(".")]


def test_new_data_mark_all_levels(filled):
    filled.add_downsample_level(1)
    data = noise(SHAPE, seed=1)
    filled.add_full_res_data(planes(data[..., 4:8]), n_processes=1, start_z_idx=4)
    with pytest.raises(ps.ArgumentError, match="level 1 is out of date"):
        filled.add_downsample_level(2)
    filled.add_downsample_level(1, overwrite=True)
    expected = noise(SHAPE)
    expected[..., 4:8] = data[..., 4:8]
    np.testing.assert_array_equal(filled[1][...], mean_half_even(expected, (2, 2, 2)))
    filled.add_downsample_level(2)


def test_a_level_is_not_listed_before_it_is_whole(filled, monkeypatch):
    def fail(*args, **kwargs):
        raise KeyboardInterrupt

    from platestore.stacks import filling

    monkeypatch.setattr(filling, "make_levels", fail)
    with pytest.raises(KeyboardInterrupt):
        filled.add_downsample_level(1)
    assert filled.levels == [0]
    assert sorted(p.name for p in Path(filled.path).iterdir()) == ["0", "zarr.json"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("after", [False, True])
def test_a_level_that_was_recorded_is_completed_by_whoever_opens_the_group_next(
    filled, monkeypatch, after, overwrite
):
    from platestore.storage.local import LocalStorage

    if overwrite:
        filled.add_downsample_level(1)
        filled.add_downsample_level(2)

    class Stop(BaseException):
        """The process dies here."""

    real = LocalStorage.move_tree

    def move(self, source, target):
        if after:
            real(self, source, target)
        raise Stop

    monkeypatch.setattr(LocalStorage, "move_tree", move)
    with pytest.raises(Stop):
        filled.add_downsample_level(1, downsample_func=np.max, overwrite=overwrite)
    monkeypatch.undo()
    group = stacks.open_multiscale_group(filled.path)
    names = sorted(p.name for p in Path(filled.path).iterdir())
    assert [name for name in names if name.startswith(".")] == []
    for level in group.levels[:2]:
        np.testing.assert_array_equal(group[level][...], cascade(noise(SHAPE), [(2, 2, 2)], "max")[level])
    assert group.levels == ([0, 1, 2] if overwrite else [0, 1])


def test_a_function_that_fails_leaves_nothing(filled):
    def broken(array, axis):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        filled.add_downsample_level(1, downsample_func=broken)
    assert filled.levels == [0]
    assert sorted(p.name for p in Path(filled.path).iterdir()) == ["0", "zarr.json"]


def test_progress_is_told(filled):
    told = []
    filled.add_downsample_level(1, progress=lambda done, total: told.append((done, total)))
    assert told
    assert told[-1][0] == told[-1][1]
    with pytest.raises(ps.ArgumentError, match="progress"):
        filled.add_downsample_level(2, progress=3)


@settings(
    max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    shape=st.tuples(*[st.integers(1, 11)] * 3),
    chunks=st.tuples(*[st.integers(1, 5)] * 3),
    budget=st.sampled_from(["20MiB", "1GiB"]),
)
def test_every_voxel_of_every_level_whatever_the_shape(tmp_path_factory, shape, chunks, budget):
    data = noise(shape, high=60000)
    group = new(tmp_path_factory.mktemp("g") / "v.zarr", stacks.ArraySpec(shape, "uint16", chunks))
    slab = group.chunk_size_z
    for start in range(0, shape[2], slab):
        part = data[..., start : start + slab]
        group.add_full_res_data(planes(part), n_processes=2, start_z_idx=start, max_memory=budget)
    np.testing.assert_array_equal(group[0][...], data)
    current = data
    for level in (1, 2):
        if current.size == 1:
            break
        current = mean_half_even(current, tuple(1 if n == 1 else 2 for n in current.shape))
        group.add_downsample_level(level, max_memory=budget)
        np.testing.assert_array_equal(group[level][...], current)


# --- where the first voxel lies -------------------------------------------------------------------


def test_corners_as_the_original_writes_them(tmp_path):
    group = new(tmp_path / "v.zarr", origin="corner")
    group.add_full_res_data(noise(SHAPE), n_processes=1)
    group.add_downsample_level(1)
    group.add_downsample_level(2)
    datasets = ps.open_ome_zarr(group.path).metadata.multiscales[0].datasets
    for dataset in datasets:
        scale, offset = dataset.coordinate_transformations
        assert offset.translation == [s / 2 for s in scale.scale]
    assert stacks.open_multiscale_group(group.path).origin == "corner"
    assert stacks.open_multiscale_group(group.path, origin="center").origin == "center"
    assert new(tmp_path / "v.zarr", None).origin == "corner"


def test_a_corner_that_is_none(group):
    with pytest.raises(ps.ArgumentError, match="not shifted"):
        stacks.open_multiscale_group(group.path, origin="corner")


def foreign_store(path: Path, data: np.ndarray, levels: int) -> None:
    """A store as stack-to-chunk writes it: offsets of half a voxel, and a second multiscales at the root."""
    root = zarr.create_group(path, zarr_format=3)
    datasets = []
    for k, level in enumerate(cascade(data, [(2, 2, 2)] * (levels - 1))):
        chunks = tuple(min(4, n) for n in level.shape)
        shards = tuple(
            -(-n // c) * c if i < 2 else c for i, (n, c) in enumerate(zip(level.shape, chunks, strict=True))
        )
        array = root.create_array(
            str(k), shape=level.shape, dtype=level.dtype, chunks=chunks, shards=shards, dimension_names="xyz"
        )
        array[...] = level
        scale = [2.0**k * v for v in (1, 2, 3)]
        steps = [
            {"type": "scale", "scale": scale},
            {"type": "translation", "translation": [s / 2 for s in scale]},
        ]
        datasets.append({"path": str(k), "coordinateTransformations": steps})
    axes = [{"name": n, "type": "space", "unit": "micrometer"} for n in "xyz"]
    method = {"description": "local mean", "method": "skimage.measure.block_reduce", "version": "0.24.0"}
    image = {"axes": axes, "datasets": datasets, "name": "old", "type": "local mean", "metadata": method}
    root.update_attributes({"ome": {"version": "0.5", "multiscales": [image]}, "multiscales": [image]})


@pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning")
def test_a_store_of_the_original_opens_and_gets_a_further_level(tmp_path):
    data = noise(SHAPE)
    foreign_store(tmp_path / "v.zarr", data, levels=2)
    group = stacks.open_multiscale_group(tmp_path / "v.zarr")
    assert (group.origin, group.name, group.levels) == ("corner", "old", [0, 1])
    assert group.chunk_size_z == 4
    group.add_downsample_level(2)
    expected = cascade(data, [(2, 2, 2)] * 2)
    np.testing.assert_array_equal(group[2][...], expected[2])
    attributes = json.loads((tmp_path / "v.zarr" / "zarr.json").read_text())["attributes"]
    image = attributes["ome"]["multiscales"][0]
    assert image["datasets"][2]["coordinateTransformations"] == [
        {"type": "scale", "scale": [4.0, 8.0, 12.0]},
        {"type": "translation", "translation": [2.0, 4.0, 6.0]},
    ]
    assert image["type"] == "mixed"
    assert image["metadata"]["kwargs"]["methods"] == ["local mean", "mean"]
    assert "multiscales" in attributes  # what others wrote stays
    same = stacks.MultiScaleGroup(
        tmp_path / "v.zarr", name="old", voxel_size=(1, 2, 3), spatial_unit="micrometer"
    )
    assert same.levels == [0, 1, 2]


# --- memory ---------------------------------------------------------------------------------------


def test_memory_estimates_keep_to_the_budget(filled):
    data = da.zeros((512, 256, 128), dtype="uint16", chunks=(512, 256, 1))
    slab = 512 * 256 * 2 * 64
    needed = stacks.memory_per_slab_process(data, chunk_size=64)
    assert slab <= needed <= 2**30
    assert stacks.memory_per_slab_process(data, chunk_size=(64, 64, 32), max_memory="40MiB") <= 40 * 2**20
    assert 0 < stacks.memory_per_downsample_process(filled) <= 2**30
    assert stacks.memory_per_downsample_process(filled, level=2, max_memory="20MiB") <= 20 * 2**20
    with pytest.raises(ps.BudgetError):
        stacks.memory_per_slab_process(data, chunk_size=64, max_memory=1000)
    with pytest.raises(ps.ArgumentError, match="chunk_size"):
        stacks.memory_per_slab_process(data, chunk_size=0)
    with pytest.raises(ps.ArgumentError, match="x, y and z"):
        stacks.memory_per_slab_process(data[0], chunk_size=8)
    with pytest.raises(ps.ArgumentError, match="level"):
        stacks.memory_per_downsample_process(filled, level=0)


def test_public_names_are_imported_when_they_are_used():
    assert set(stacks.__all__) <= set(dir(stacks))
    for name in stacks.__all__:
        assert getattr(stacks, name) is not None
    with pytest.raises(AttributeError):
        stacks.nothing  # noqa: B018
    from typing import get_args

    assert "micrometer" in get_args(stacks.SPATIAL_UNIT)
    assert len(get_args(stacks.SPATIAL_UNIT)) == 26
