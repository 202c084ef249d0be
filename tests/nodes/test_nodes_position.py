"""Positions: arrays in and out, whatever their shape, type, chunks and axes."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import platestore as ps
from conftest import examples
from nodes.store_helpers import new_position, ome, pixels, refused, scale, snapshot, stored_plate

AXES = ["YX", "ZYX", "CYX", "TYX", "CZYX", "TZYX", "TCYX", "TCZYX"]
DTYPES = [
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
]


@pytest.fixture
def position(tmp_path, version):
    return new_position(tmp_path / "a.zarr", version)


def reopened(position, mode="r"):
    return ps.open_ome_zarr(position.__editor__().location.where, mode=mode)


@pytest.mark.parametrize("names", [*AXES, *map(str.lower, AXES)])
def test_two_to_five_axes_in_either_case(tmp_path, version, names):
    channels = ["a", "b"] if "c" in names.lower() else ["a"]
    position = new_position(tmp_path / "a.zarr", version, names=names, channels=channels)
    sizes = {"t": 3, "c": 2, "z": 4, "y": 5, "x": 6}
    shape = tuple(sizes[n] for n in names.lower())
    data = pixels(*shape)
    position["0"] = data
    read = reopened(position)
    assert [axis.name for axis in read.axes] == list(names)
    assert read.axis_names == list(names.lower())
    image = read.data
    np.testing.assert_array_equal(image.numpy(), data)
    got = (image.frames, image.channels, image.slices, image.height, image.width)
    assert got == tuple(size if n in names.lower() else 1 for n, size in sizes.items())
    assert read.channel_names == channels
    assert read.scale == [1.0] * len(names)
    for i, name in enumerate(names):
        assert read.get_axis_index(name) == read.get_axis_index(name.swapcase()) == i
    stored = ome(tmp_path / "a.zarr")["multiscales"][0]
    assert [a["name"] for a in stored["axes"]] == list(names)


@settings(deadline=None, max_examples=examples(60))
@given(data=st.data())
def test_any_array_comes_back_as_it_went_in(data):
    names = data.draw(st.sampled_from([*AXES, *map(str.lower, AXES)]))
    version = data.draw(st.sampled_from(["0.4", "0.5"]))
    dtype = data.draw(st.sampled_from(DTYPES))
    shape = tuple(data.draw(st.integers(1, 5)) for _ in names)
    array = data.draw(hnp.arrays(np.dtype(dtype), shape))
    chunks = data.draw(st.none() | st.tuples(*(st.integers(1, 7) for _ in names)))
    ratio = None
    if version == "0.5":
        ratio = data.draw(st.none() | st.tuples(*(st.integers(1, 3) for _ in names)))
    channels = [str(i) for i in range(shape[names.lower().index("c")] if "c" in names.lower() else 1)]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "a.zarr")
        position = new_position(path, version, names=names, channels=channels)
        created = position.create_image("0", array, chunks=chunks, shards_ratio=ratio)
        for image in (created, ps.open_ome_zarr(path)["0"]):
            assert image.shape == shape
            assert image.dtype == dtype
            np.testing.assert_array_equal(image.numpy(), array)
        if chunks is not None:
            assert created.chunks == tuple(min(c, s) for c, s in zip(chunks, shape, strict=True))
        if ratio is not None:
            assert created.shards == tuple(c * r for c, r in zip(created.chunks, ratio, strict=True))
        np.testing.assert_array_equal(zarr.open_array(path, path="0", mode="r")[...], array)
        np.testing.assert_array_equal(np.asarray(created.dask_array()), array)


def test_an_image_is_an_array_of_zarr(position):
    image = position.create_image("0", pixels(2, 2, 3, 4, 5))
    assert isinstance(image, zarr.Array)
    assert type(image) is ps.ImageArray
    assert image.shape == (2, 2, 3, 4, 5)
    np.testing.assert_array_equal(image[1, :, 2], pixels(2, 2, 3, 4, 5)[1, :, 2])
    np.testing.assert_array_equal(image.oindex[[0, 1], [1]], pixels(2, 2, 3, 4, 5)[:, [1]])
    image[0, 0] = 7
    assert (reopened(position).data[0, 0] == 7).all()


def test_data_is_the_finest_level_whatever_its_name(position):
    with refused(ps.NodeKeyError, KeyError):
        _ = position.data
    position["raw"] = pixels(1, 2, 1, 4, 4)
    assert position.data.path == position[0].path == "raw"
    assert 0 in position
    with refused(ps.NodeKeyError, KeyError, names="raw"):
        _ = position["0"]
    position["0"] = pixels(1, 2, 1, 4, 4) + 1
    assert position.data.path == position[0].path == "0", "an image of its own has that name"


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_compressors_of_other_libraries(tmp_path, version):
    import numcodecs
    import zarr.codecs

    position = new_position(tmp_path / "c.zarr", version)
    both = [numcodecs.Zstd(3), zarr.codecs.GzipCodec(level=2), {"id": "gzip", "level": 1}]
    old = ["lz4", "bz2:3", "LZMA", "zlib", numcodecs.LZ4(), numcodecs.BZ2(2), {"id": "lzma"}]
    for number, compressor in enumerate([*both, *(old if version == "0.4" else [])]):
        name = f"i{number}"
        position.create_image(name, pixels(1, 2, 1, 4, 4), compressor=compressor, pyramid_levels=2)
        np.testing.assert_array_equal(
            zarr.open_array(tmp_path / "c.zarr", path=name)[...], pixels(1, 2, 1, 4, 4)
        )
    assert not ps.validate(tmp_path / "c.zarr").findings
    wrong = ["nonsense", 5, "bz2:x", "lz4:-1", *(old if version == "0.5" else [])]
    for compressor in wrong:
        with refused(ps.ArgumentError, ValueError, tree=tmp_path, names=False):
            position.create_zeros("bad", (1, 2, 1, 4, 4), "uint8", compressor=compressor)


def test_what_check_shape_cannot_lift_is_said(position, tmp_path):
    position.create_zeros("0", (1, 5, 1, 4, 4), "uint8", check_shape=False)
    with refused(ps.ArgumentError, ValueError, tree=tmp_path, names="check_shape=False lifts"):
        position.create_zeros("1", (4, 4), "uint8", check_shape=False)


def test_integers_are_indices_of_levels_whatever_their_names(position):
    position.create_image("s0", pixels(1, 2, 1, 8, 8), transform=scale(1, 1, 1, 3, 3), pyramid_levels=3)
    names = list(position)
    assert names[0] == "s0"
    assert [position[k].path for k in range(3)] == names
    assert position.get_effective_scale(1) == position.get_effective_scale(names[1]) == [1, 1, 1, 6, 6]
    position.set_scale(0, "x", 5.0)
    assert position.scale == [1, 1, 1, 3, 5]
    position.update_channel("GFP", 0, np.ones((1, 1, 8, 8), "uint16"))
    assert (position.data[:, 1] == 1).all()
    assert 3 not in position
    with refused(ps.NodeKeyError, KeyError, names="s0"):
        _ = position[3]
    del position[2]
    assert list(position) == names[:2]
    position.append(pixels(1, 2, 1, 8, 8))
    assert [image.shape for _, image in position.images()] == [(2, 2, 1, 8, 8), (2, 2, 1, 4, 4)]


def test_an_integer_names_an_array(position):
    position[0] = pixels(1, 2, 1, 4, 4)
    np.testing.assert_array_equal(position[0].numpy(), position["0"].numpy())
    assert 0 in position
    assert "0" in position
    assert 1 not in position
    assert None not in position
    assert True not in position


def test_images_iterate_in_the_order_of_the_metadata(position):
    for name in ("b", "10", "2", "a"):
        position.create_zeros(name, (1, 2, 1, 4, 4), "uint8")
    assert list(position) == [name for name, _ in position.images()] == ["b", "10", "2", "a"]
    assert list(reopened(position)) == ["b", "10", "2", "a"]
    assert len(position) == 4
    assert {type(image) for _, image in position.images()} == {ps.ImageArray}


def test_create_zeros_writes_documents_only(position, tmp_path):
    before = snapshot(tmp_path / "a.zarr")
    image = position.create_zeros("0", (100, 2, 50, 2048, 2048), "uint16")
    new = {k for k, v in snapshot(tmp_path / "a.zarr").items() if v is not None} - set(before)
    assert all(name.rpartition("/")[2] in {".zarray", ".zattrs", "zarr.json"} for name in new)
    assert image.shape == (100, 2, 50, 2048, 2048)
    assert not image[99, 1, 49, ::512].any()


def test_zarr_v2_arrays_have_their_two_documents(tmp_path):
    new_position(tmp_path / "a.zarr", "0.4").create_zeros("0", (1, 2, 1, 4, 4), "uint8")
    assert sorted(p.name for p in (tmp_path / "a.zarr/0").iterdir()) == [".zarray", ".zattrs"]
    assert json.loads((tmp_path / "a.zarr/0/.zarray").read_text())["dimension_separator"] == "/"


def test_zarr_v3_arrays_name_their_dimensions(tmp_path):
    new_position(tmp_path / "a.zarr", "0.5", names="CYX").create_zeros("0", (2, 4, 4), "uint8")
    assert json.loads((tmp_path / "a.zarr/0/zarr.json").read_text())["dimension_names"] == ["C", "Y", "X"]


def test_the_default_chunk_is_a_stack(position):
    assert position.create_zeros("0", (5, 2, 7, 32, 64), "uint16").chunks == (1, 1, 7, 32, 64)
    assert position.create_zeros("big", (1, 2, 1000, 2048, 2048), "uint16").chunks[3:] == (2048, 2048)


def test_chunks_are_clamped_to_the_shape(position):
    assert position.create_zeros("0", (1, 2, 1, 4, 4), "uint8", chunks=(9, 9, 9, 2, 9)).chunks == (
        1,
        2,
        1,
        2,
        4,
    )


def test_shards_are_for_0_5(tmp_path):
    new = new_position(tmp_path / "five.zarr", "0.5")
    image = new.create_image("0", pixels(1, 2, 4, 8, 8), chunks=(1, 1, 2, 4, 4), shards_ratio=(1, 1, 2, 2, 2))
    assert image.chunks == (1, 1, 2, 4, 4)
    assert image.shards == (1, 1, 4, 8, 8)
    np.testing.assert_array_equal(reopened(new).data.numpy(), pixels(1, 2, 4, 8, 8))
    old = new_position(tmp_path / "four.zarr", "0.4")
    with refused(ps.ArgumentError, ValueError, tree=tmp_path, names="0.5"):
        old.create_zeros("0", (1, 2, 4, 8, 8), "uint8", shards_ratio=(1, 1, 1, 1, 1))


def test_data_may_be_anything_like_an_array(position):
    import dask.array

    position.create_image("list", [[[[[1, 2]]], [[[3, 4]]]]])
    assert position["list"].shape == (1, 2, 1, 1, 2)
    position.create_image("dask", dask.array.ones((1, 2, 1, 4, 4), dtype="uint8"))
    assert (position["dask"][...] == 1).all()
    position.create_image("zarr", position["dask"])
    assert (position["zarr"][...] == 1).all()


def test_byte_order_and_memory_layout_do_not_matter(position):
    data = pixels(1, 2, 3, 4, 5)
    position["be"] = data.astype(">u2")
    position["fortran"] = np.asfortranarray(data)
    position["view"] = data[..., ::-1]
    np.testing.assert_array_equal(position["be"].numpy(), data)
    np.testing.assert_array_equal(position["fortran"].numpy(), data)
    np.testing.assert_array_equal(position["view"].numpy(), data[..., ::-1])


@pytest.mark.parametrize("value", [[[1]], 3, None, "abc"])
def test_only_numpy_arrays_are_assigned(position, value):
    with pytest.raises(TypeError):
        position["0"] = value
    assert list(position) == []


def test_a_position_lists_an_image_when_its_pixels_are_there(position, monkeypatch, tmp_path):
    original = ps.ImageArray.__setitem__
    seen = []

    def write(self, selection, value):
        seen.append(list(reopened(position)))
        original(self, selection, value)

    monkeypatch.setattr(ps.ImageArray, "__setitem__", write)
    position.create_image("0", pixels(1, 2, 1, 4, 4))
    assert seen == [[]]
    assert list(reopened(position)) == ["0"]


def test_a_failing_write_leaves_nothing(position, monkeypatch, tmp_path):
    before = snapshot(tmp_path)

    def fail(self, selection, value):
        raise OSError(28, "no space left")

    with monkeypatch.context() as patch:
        patch.setattr(ps.ImageArray, "__setitem__", fail)
        with pytest.raises(OSError, match="no space left"):
            position.create_image("0", pixels(1, 2, 1, 4, 4))
    assert snapshot(tmp_path) == before
    position["0"] = pixels(1, 2, 1, 4, 4)


# --- what cannot be an image ----------------------------------------------------------------------

WRONG = {
    "too few dimensions": {"shape": (4, 4)},
    "too many dimensions": {"shape": (1, 1, 1, 1, 4, 4)},
    "a zero": {"shape": (1, 2, 0, 4, 4)},
    "a negative size": {"shape": (1, 2, -1, 4, 4)},
    "a float": {"shape": (1, 2, 1.0, 4, 4)},
    "no shape": {"shape": ()},
    "a number for a shape": {"shape": 16},
    "more channels than names": {"shape": (1, 3, 1, 4, 4)},
    "complex pixels": {"dtype": "complex64"},
    "objects": {"dtype": object},
    "strings": {"dtype": "U4"},
    "times": {"dtype": "datetime64[s]"},
    "a record": {"dtype": [("a", "u1")]},
    "no type": {"dtype": None},
    "an unknown type": {"dtype": "uint17"},
    "too few chunks": {"chunks": (1, 1, 4, 4)},
    "a zero chunk": {"chunks": (1, 1, 0, 4, 4)},
    "a chunk that is no number": {"chunks": (1, 1, "1", 4, 4)},
    "a chunk beyond any codec": {"shape": (1, 2, 1, 2**20, 2**20), "chunks": (1, 1, 1, 2**20, 2**20)},
    "a transform of another length": {"transform": scale(1, 1)},
    "a transform of another type": {"transform": [ps.TransformationMeta(type="affine")]},
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_an_image_is_refused_and_nothing_is_written(position, tmp_path, what):
    arguments = {"shape": (1, 2, 1, 4, 4), "dtype": "uint8", **WRONG[what]}
    with refused(ps.ArgumentError, ValueError, tree=tmp_path, names=False):
        position.create_zeros("0", **arguments)
    position["0"] = pixels(1, 2, 1, 4, 4)


def test_sharding_of_another_length_is_refused(tmp_path):
    position = new_position(tmp_path / "a.zarr", "0.5")
    for ratio in ((1, 1), (1, 1, 1, 1, 0), (1, 1, 1, 1, 1.5), "11111"):
        with refused(ps.ArgumentError, ValueError, tree=tmp_path, names=False):
            position.create_zeros("0", (1, 2, 1, 4, 4), "uint8", shards_ratio=ratio)


def test_fewer_channels_than_names_is_a_warning(position):
    with pytest.warns(UserWarning, match="1 channels"):
        position.create_zeros("0", (1, 1, 1, 4, 4), "uint8")
    assert list(position) == ["0"]


def test_without_the_check_any_number_of_channels_is_taken(position):
    position.create_zeros("many", (1, 9, 1, 4, 4), "uint8", check_shape=False)
    position.create_image("few", pixels(1, 1, 1, 4, 4), check_shape=False)
    assert position["many"].channels == 9


def test_channel_axis_zero_is_checked_too(tmp_path, version):
    position = new_position(tmp_path / "a.zarr", version, names="CZYX")
    with refused(ps.ArgumentError, ValueError, tree=tmp_path, names=False):
        position.create_zeros("0", (3, 1, 4, 4), "uint8")
    with pytest.warns(UserWarning, match="1 channels"):
        position.create_zeros("0", (1, 1, 4, 4), "uint8")


@pytest.mark.parametrize("key", ["1", 1, "raw", "0/0", "labels", "labels/nuclei", ""])
def test_what_is_not_there_is_no_key(position, key):
    position["0"] = pixels(1, 2, 1, 4, 4)
    with refused(ps.NodeKeyError, KeyError):
        position[key]


def test_label_images_are_reached_by_their_path(tmp_path):
    crop = Path(__file__).parents[1] / "data" / "cardiomyocytes-crop.zarr"
    position = ps.open_ome_zarr(crop)
    labels = position["labels/nuclei"]
    assert type(labels) is ps.LabelImage
    assert labels.axis_names == ["z", "y", "x"]
    assert labels["0"].dtype == "uint32"
    assert position["labels/nuclei/1"].shape == (1, 64, 64)
    assert (position["labels/nuclei/0"].slices, position["labels/nuclei/0"].channels) == (1, 1)
    assert list(position) == ["0", "1"], "labels are no levels"


def test_an_image_is_created_in_a_position_of_a_plate(tmp_path, version):
    path = stored_plate(tmp_path / "plate.zarr", version)
    plate = ps.open_ome_zarr(path, mode="r+")
    plate["A/1/0"]["new"] = pixels(1, 2, 1, 4, 4)
    assert "A/1/0/new" in plate
    assert plate["A/1/0/new"].shape == (1, 2, 1, 4, 4)


def test_two_processes_may_add_images_to_one_position(position):
    other = reopened(position, "r+")
    position["0"] = pixels(1, 2, 1, 4, 4)
    other["1"] = pixels(1, 2, 1, 4, 4)
    position["2"] = pixels(1, 2, 1, 4, 4)
    assert list(reopened(position)) == ["0", "1", "2"]
    with pytest.raises(FileExistsError):
        other["2"] = pixels(1, 2, 1, 4, 4)


# --- the array itself -----------------------------------------------------------------------------


def test_dask_reads_lazily_chunk_by_chunk(position):
    image = position.create_image("0", pixels(2, 2, 3, 8, 8), chunks=(1, 1, 3, 4, 8))
    lazy = image.dask_array()
    assert lazy.chunksize == (1, 1, 3, 4, 8)
    assert lazy.dtype == "uint16"
    image[0] = 9
    np.testing.assert_array_equal(lazy[0].compute(), np.full((2, 3, 8, 8), 9, "uint16"))


def test_dask_reads_whole_shards(tmp_path):
    position = new_position(tmp_path / "a.zarr", "0.5")
    image = position.create_image(
        "0", pixels(1, 2, 4, 8, 8), chunks=(1, 1, 1, 4, 4), shards_ratio=(1, 1, 4, 2, 1)
    )
    assert image.dask_array().chunksize == (1, 1, 4, 8, 4)
    np.testing.assert_array_equal(np.asarray(image.dask_array()), pixels(1, 2, 4, 8, 8))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "int32", "float32", "float64"])
def test_tensorstore_reads_and_writes_the_same_bytes(position, dtype):
    pytest.importorskip("tensorstore")
    data = pixels(1, 2, 3, 8, 8, dtype=dtype)
    image = position.create_image("0", data, chunks=(1, 1, 2, 4, 8))
    store = image.tensorstore()
    assert store.shape == image.shape
    np.testing.assert_array_equal(store.read().result(), data)
    store[0, 0].write(np.ones((3, 8, 8), dtype)).result()
    assert (reopened(position).data[0, 0] == 1).all()


def test_tensorstore_takes_options_but_the_mode_of_the_store(position):
    tensorstore = pytest.importorskip("tensorstore")
    position["0"] = pixels(1, 2, 1, 4, 4)
    image = position["0"]
    assert image.tensorstore(context=tensorstore.Context({"cache_pool": {"total_bytes_limit": 1000}})).shape
    for option in ({"read": True}, {"write": False}):
        with refused(ps.ArgumentError, ValueError, names=False):
            image.tensorstore(**option)
    with pytest.raises((ValueError, PermissionError)):
        reopened(position)["0"].tensorstore()[...].write(0).result()
    assert reopened(position).data[0, 0, 0, 1, 1] == 5


def test_tensorstore_of_a_store_in_memory_is_refused():
    from zarr.storage import MemoryStore

    position = ps.open_ome_zarr(MemoryStore(), layout="fov", mode="w", channel_names=["a"])
    position["0"] = pixels(1, 1, 1, 4, 4)
    with refused(ps.UnsupportedError, NotImplementedError, names=False):
        position["0"].tensorstore()


def test_an_array_can_be_pickled(position):
    import pickle

    position["0"] = pixels(1, 2, 1, 4, 4)
    image = pickle.loads(pickle.dumps(position["0"]))
    assert type(image) is ps.ImageArray
    assert (image.channels, image.height) == (2, 4)
    np.testing.assert_array_equal(image.numpy(), pixels(1, 2, 1, 4, 4))
    image.resize((2, 2, 1, 4, 4))
    image[1] = 7
    image.attrs["a"] = 1
    assert (reopened(position).data[1] == 7).all()
    assert reopened(position).data.attrs["a"] == 1


def test_attributes_of_an_array_persist(position, tmp_path):
    image = position.create_zeros("0", (1, 2, 1, 4, 4), "uint8")
    image.attrs["gain"] = 2.5
    image.update_attributes({"who": "α"})
    assert dict(reopened(position)["0"].attrs) == {"gain": 2.5, "who": "α"}
    assert dict(zarr.open_array(tmp_path / "a.zarr", path="0", mode="r").attrs) == {"gain": 2.5, "who": "α"}
    other = reopened(position, "r+")["0"]
    image.attrs["a"] = 1
    other.attrs["b"] = 2
    assert dict(image.attrs) == {"gain": 2.5, "who": "α", "a": 1, "b": 2}
    del image.attrs["a"]
    assert "a" not in reopened(position)["0"].attrs
    for bad in (float("nan"), np.float32(1), {1: 2}, b"x"):
        with refused(ps.ArgumentError, ValueError, tree=tmp_path, names=tmp_path / "a.zarr/0"):
            image.attrs["bad"] = bad


def test_resize_and_append_persist(position):
    image = position.create_image("0", pixels(2, 2, 1, 4, 4))
    image.resize((3, 2, 1, 4, 6))
    assert image.shape == reopened(position).data.shape == (3, 2, 1, 4, 6)
    np.testing.assert_array_equal(image[:2, ..., :4], pixels(2, 2, 1, 4, 4))
    assert not image[2].any()
    assert image.append(np.ones((1, 2, 1, 4, 6), "uint16")) == (4, 2, 1, 4, 6)
    assert image.append(np.ones((4, 2, 1, 1, 6), "uint16"), axis=-2) == (4, 2, 1, 5, 6)
    assert (reopened(position).data[3] == 1).all()
    for bad in ((1, 2), (1, 2, 0, 4, 4), (1, 2, 1.5, 4, 4), "12345"):
        with refused(ps.ArgumentError, ValueError, names=False):
            image.resize(bad)
    with refused(ps.ArgumentError, ValueError, names=False):
        image.append(np.ones((1, 2), "uint16"))
    assert reopened(position).data.shape == (4, 2, 1, 5, 6)


def test_what_a_resize_cuts_off_is_gone(position):
    image = position.create_image("0", pixels(1, 2, 1, 8, 8) + 1, chunks=(1, 1, 1, 3, 3))
    image.resize((1, 2, 1, 4, 4))
    image.resize((1, 2, 1, 8, 8))
    read = reopened(position).data.numpy()
    np.testing.assert_array_equal(read[..., :4, :4], (pixels(1, 2, 1, 8, 8) + 1)[..., :4, :4])
    assert not read[..., 4:, :].any()
    assert not read[..., :, 4:].any()


def test_another_handle_sees_a_resize_after_refresh(position):
    position["0"] = pixels(1, 2, 1, 4, 4)
    mine, theirs = position["0"], reopened(position, "r+")["0"]
    theirs.resize((5, 2, 1, 4, 4))
    assert mine.shape == (1, 2, 1, 4, 4)
    assert mine.refresh().shape == (5, 2, 1, 4, 4)
    assert isinstance(mine, ps.ImageArray)


def test_a_read_only_array_is_not_changed(position, tmp_path):
    position["0"] = pixels(1, 2, 1, 4, 4)
    image = reopened(position)["0"]
    before = snapshot(tmp_path)
    for change in (
        lambda: image.resize((2, 2, 1, 4, 4)),
        lambda: image.append(pixels(1, 2, 1, 4, 4)),
        lambda: image.attrs.update({"a": 1}),
        lambda: image.update_attributes({"a": 1}),
    ):
        with refused(ps.ReadOnlyError, PermissionError, tree=tmp_path, names=tmp_path / "a.zarr"):
            change()
    with pytest.raises((ValueError, PermissionError), match="read-only"):
        image[...] = 0
    assert snapshot(tmp_path) == before
