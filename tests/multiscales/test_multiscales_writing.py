"""What is written: versions, layouts, codecs, metadata, kinds of stores."""

from __future__ import annotations

import json
import zipfile

import dask.array as da
import numcodecs
import numpy as np
import pytest
import zarr
import zarr.codecs
from zarr.storage import LocalStore, MemoryStore

import platestore as ps
from multiscales.level_reference import noise
from platestore.errors import ArgumentError, NodeExistsError, UnsupportedError, UnsupportedVersionError
from platestore.multiscales import (
    AnatomicalOrientationValues,
    NgffMultiscales,
    from_ngff_zarr,
    to_multiscales,
    to_ngff_image,
    to_ngff_zarr,
    to_ome_zarr,
)


@pytest.fixture
def image():
    pixels = noise((2, 9, 40, 50))
    return to_ngff_image(
        pixels,
        scale={"z": 2.0, "y": 0.5, "x": 0.5},
        axes_units={"z": "um", "y": "um", "x": "um"},
        channel_names=["DAPI", "GFP"],
        name="cells",
    )


@pytest.fixture
def made(image):
    return to_multiscales(image, [2, 4], chunks=16, method="mean")


def document(path, version):
    if version == "0.4":
        return json.loads((path / ".zattrs").read_text())
    return json.loads((path / "zarr.json").read_text())["attributes"]["ome"]


# --- documents ------------------------------------------------------------------------------------


def test_the_documented_call(tmp_path, made):
    to_ngff_zarr(tmp_path / "image.ome.zarr", made)
    position = ps.open_ome_zarr(tmp_path / "image.ome.zarr")
    assert position.version == "0.4"
    assert list(position) == ["0", "1", "2"]
    assert position.channel_names == ["DAPI", "GFP"]
    assert position.axis_names == ["c", "z", "y", "x"]
    assert position.get_effective_scale("2") == [1, 8, 2, 2]
    assert position.get_effective_translation("2") == [0, 3, 0.75, 0.75]


def test_the_metadata_says_what_was_done(tmp_path, made, version):
    path = tmp_path / "a.zarr"
    to_ngff_zarr(path, made, version=version)
    found = document(path, version)
    image = found["multiscales"][0]
    assert image["name"] == "cells"
    assert image["type"] == "mean"
    assert image["metadata"]["kwargs"] == {"method": "mean", "factors": [[1, 2, 2, 2], [1, 2, 2, 2]]}
    assert "description" in image["metadata"]
    assert [a.get("unit") for a in image["axes"]] == [None, *["micrometer"] * 3]
    assert [c["label"] for c in found["omero"]["channels"]] == ["DAPI", "GFP"]
    assert [c["window"]["end"] for c in found["omero"]["channels"]] == [65535, 65535]
    assert (image if version == "0.4" else found)["version"] == version


def test_colours_and_a_channel_axis_without_names(tmp_path, image, version):
    image.channel_names, image.channel_colors = None, ["#ff0000", "00FF00"]
    to_ngff_zarr(tmp_path / "a.zarr", to_multiscales(image, []), version=version)
    channels = document(tmp_path / "a.zarr", version)["omero"]["channels"]
    assert [(c["label"], c["color"]) for c in channels] == [("0", "FF0000"), ("1", "00FF00")]
    plain = to_multiscales(noise((4, 20, 20)), [2])
    to_ngff_zarr(tmp_path / "b.zarr", plain, version=version)
    assert "omero" not in document(tmp_path / "b.zarr", version)
    named = to_ngff_image(noise((20, 20)), channel_names=["only"])
    to_ngff_zarr(tmp_path / "c.zarr", to_multiscales(named, [2]), version=version)
    assert document(tmp_path / "c.zarr", version)["omero"]["channels"][0]["label"] == "only"


@pytest.mark.parametrize("value", AnatomicalOrientationValues)
def test_orientation_comes_back(value, tmp_path, version):
    made = to_multiscales(noise((8, 8)), [2], orientation={"x": value})
    to_ngff_zarr(tmp_path / "a.zarr", made, version=version, enabled_rfcs=[4])
    axes = document(tmp_path / "a.zarr", version)["multiscales"][0]["axes"]
    assert axes[1]["orientation"] == {"type": "anatomical", "value": value.value}
    assert "orientation" not in axes[0]
    back = from_ngff_zarr(tmp_path / "a.zarr")
    assert back.images[1].axes_orientations["x"].value is value
    assert back.metadata.axes[1].orientation.value is value
    to_ngff_zarr(tmp_path / "b.zarr", back, version=version)
    assert document(tmp_path / "b.zarr", version) == document(tmp_path / "a.zarr", version)


def test_a_pyramid_that_was_written_can_be_updated(tmp_path, made, version):
    to_ngff_zarr(tmp_path / "a.zarr", made, version=version)
    with ps.open_ome_zarr(tmp_path / "a.zarr", mode="r+") as position:
        position["0"][...] = 7
        position.compute_pyramid()
        assert (position["2"].numpy() == 7).all()


# --- layouts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "shards"),
    [
        (2, (1, 32, 32, 32)),
        ((1, 1, 2, 3), (1, 16, 32, 48)),
        ({"y": 2, "c": 2}, (2, 16, 32, 16)),
        (1, (1, 16, 16, 16)),
        (100, (1, 48, 48, 64)),
    ],
)
def test_forms_of_chunks_per_shard(given, shards, tmp_path):
    made = to_multiscales(noise((2, 40, 48, 64)), [2], chunks=16)
    to_ngff_zarr(tmp_path / "a.zarr", made, version="0.5", chunks_per_shard=given)
    array = zarr.open_array(tmp_path / "a.zarr" / "0", mode="r")
    assert array.chunks == (1, 16, 16, 16)
    assert array.shards == shards
    small = zarr.open_array(tmp_path / "a.zarr" / "1", mode="r")
    assert all(s <= -(-n // c) * c for s, n, c in zip(small.shards, small.shape, small.chunks, strict=True))


@pytest.mark.parametrize("given", [0, -1, "2", (2, 2), {"q": 2}, 1.5, True, (2, 2, 2, 0)])
def test_chunks_per_shard_that_cannot_be_meant(given, tmp_path, made):
    with pytest.raises(ArgumentError, match="chunks_per_shard"):
        to_ngff_zarr(tmp_path / "a.zarr", made, version="0.5", chunks_per_shard=given)
    assert not list(tmp_path.iterdir())


def test_shards_need_zarr_v3(tmp_path, made):
    with pytest.raises(ArgumentError, match=r'version="0\.5"'):
        to_ngff_zarr(tmp_path / "a.zarr", made, chunks_per_shard=2)
    assert not list(tmp_path.iterdir())


def test_chunks_and_names_of_axes(tmp_path, made, version):
    to_ngff_zarr(tmp_path / "a.zarr", made, version=version)
    arrays = [zarr.open_array(tmp_path / "a.zarr" / str(k), mode="r") for k in range(3)]
    assert [a.chunks for a in arrays] == [(1, 9, 16, 16), (1, 5, 16, 16), (1, 3, 10, 13)]
    if version == "0.5":
        assert all(a.metadata.dimension_names == ("c", "z", "y", "x") for a in arrays)


# --- compressors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "name", "cname"),
    [
        ({}, "blosc", "lz4"),
        ({"compressor": "zstd:7"}, "zstd", None),
        ({"compressors": "gzip"}, "gzip", None),
        ({"compressors": "auto"}, "blosc", "lz4"),
        ({"compressor": None}, None, None),
        ({"compressors": []}, None, None),
        ({"compressor": numcodecs.Blosc("zstd", clevel=3, shuffle=2)}, "blosc", "zstd"),
        ({"compressor": numcodecs.Blosc("lz4hc", clevel=3, shuffle=1)}, "blosc", "lz4hc"),
        ({"compressor": numcodecs.Blosc()}, "blosc", "lz4"),
        ({"compressor": numcodecs.Zstd(5)}, "zstd", None),
        ({"compressor": numcodecs.GZip(2)}, "gzip", None),
        ({"compressors": zarr.codecs.BloscCodec(cname="zlib", shuffle="noshuffle")}, "blosc", "zlib"),
        ({"compressors": [zarr.codecs.ZstdCodec(level=4)]}, "zstd", None),
        ({"compressors": (zarr.codecs.GzipCodec(),)}, "gzip", None),
        ({"compressors": {"name": "zstd", "configuration": {"level": 2}}}, "zstd", None),
        ({"compressor": {"id": "zstd", "level": 2}}, "zstd", None),
    ],
)
@pytest.mark.parametrize("sharded", [False, True])
def test_compressors_in_all_forms(kwargs, name, cname, sharded, tmp_path, made, version):
    if sharded and version == "0.4":
        pytest.skip("no shards in zarr v2")
    shards = 2 if sharded else None
    to_ngff_zarr(tmp_path / "a.zarr", made, version=version, chunks_per_shard=shards, **kwargs)
    for k, level in enumerate(made.images):
        array = zarr.open_array(tmp_path / "a.zarr" / str(k), mode="r")
        np.testing.assert_array_equal(array[...], level.data)
    if version == "0.4":
        found = json.loads((tmp_path / "a.zarr" / "0" / ".zarray").read_text())["compressor"]
        found = {"id": None} if found is None else found
        assert (found["id"], found.get("cname")) == (name, cname)
    else:
        chain = json.loads((tmp_path / "a.zarr" / "0" / "zarr.json").read_text())["codecs"]
        chain = chain[0]["configuration"]["codecs"] if sharded else chain
        assert [c["name"] for c in chain] == ["bytes", *([name] if name else [])]
        if cname:
            assert chain[1]["configuration"]["cname"] == cname


@pytest.mark.parametrize(
    "kwargs",
    [
        {"compressor": "brotli"},
        {"compressor": "zstd:99"},
        {"compressor": 5},
        {"compressor": {"id": "brotli"}},
        {"compressor": {"level": 3}},
        {"compressors": [zarr.codecs.ZstdCodec(), zarr.codecs.GzipCodec()]},
        {"compressor": "zstd", "compressors": "zstd"},
        {"compressor": {"id": "blosc", "cname": "odd"}},
    ],
)
def test_compressors_that_cannot_be_written(kwargs, tmp_path, made, version):
    with pytest.raises((ArgumentError, UnsupportedError)):
        to_ngff_zarr(tmp_path / "a.zarr", made, version=version, **kwargs)
    assert not list(tmp_path.iterdir())


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["0.6", "0.3", 0.4, None])
def test_other_versions(wrong, tmp_path, made):
    with pytest.raises(UnsupportedVersionError, match=r"0\.4"):
        to_ngff_zarr(tmp_path / "a.zarr", made, version=wrong)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"chunks": 64}, "to_multiscales"),
        ({"colour": "red"}, "unknown arguments: colour"),
        ({"chunk_store": {}}, "chunk_store"),
        ({"enabled_rfcs": [99]}, "99"),
        ({"enabled_rfcs": 4}, "list of numbers"),
        ({"overwrite": 1}, "overwrite"),
        ({"max_memory": 0}, "max_memory"),
        ({"max_memory": 1}, "max_memory"),
        ({"workers": 0}, "workers"),
        ({"progress": 3}, "progress"),
    ],
)
def test_arguments_that_cannot_be_meant(kwargs, words, tmp_path, made):
    with pytest.raises((ArgumentError, UnsupportedError), match=words):
        to_ngff_zarr(tmp_path / "a.zarr", made, **kwargs)
    assert not list(tmp_path.iterdir())


def test_what_is_no_image_or_no_store(tmp_path, made):
    with pytest.raises(ArgumentError, match="to_multiscales"):
        to_ngff_zarr(tmp_path / "a.zarr", np.zeros((4, 4)))
    for wrong in (None, 5, "", "a\0b"):
        with pytest.raises(ArgumentError):
            to_ngff_zarr(wrong, made)
    with pytest.raises(UnsupportedError, match="Store"):
        to_ngff_zarr("s3://bucket/a.zarr", made)
    assert not list(tmp_path.iterdir())


def test_use_tensorstore_changes_nothing(tmp_path, made):
    to_ngff_zarr(tmp_path / "a.zarr", made, use_tensorstore=True, enabled_rfcs=[4])
    to_ngff_zarr(tmp_path / "b.zarr", made, use_tensorstore=False)
    assert files(tmp_path / "a.zarr") == files(tmp_path / "b.zarr")


def files(path):
    return {p.relative_to(path): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_the_newer_names(tmp_path, made):
    to_ngff_zarr(tmp_path / "a.zarr", made, "0.5")
    to_ome_zarr(tmp_path / "b.zarr", made, "0.5", True, False, None, None, None, None, workers=1)
    made.to_ome_zarr(tmp_path / "c.zarr", version="0.5")
    assert files(tmp_path / "a.zarr") == files(tmp_path / "b.zarr") == files(tmp_path / "c.zarr")
    assert NgffMultiscales.from_ome_zarr(tmp_path / "c.zarr").images[0].data.shape == (2, 9, 40, 50)


def test_callbacks_are_called_when_all_is_written(tmp_path, image):
    calls = []
    image.computed_callbacks.append(lambda: calls.append((tmp_path / "a.zarr" / ".zattrs").exists()))
    made = to_multiscales(image, [2])
    assert calls == []
    to_ngff_zarr(tmp_path / "a.zarr", made)
    assert calls == [True]


# --- levels that were replaced ------------------------------------------------------------------------


def test_levels_that_were_replaced_are_written_as_they_are(tmp_path, made, version):
    other = noise(made.images[1].data.shape, seed=9)
    made.images[1].data = da.from_array(other, chunks=7)
    to_ngff_zarr(tmp_path / "a.zarr", made, version=version)
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    np.testing.assert_array_equal(group["1"][...], other)
    for k in (0, 2):
        np.testing.assert_array_equal(group[str(k)][...], made.images[k].data)


def test_fewer_levels(tmp_path, made):
    made.images, made.metadata.datasets = made.images[:2], made.metadata.datasets[:2]
    to_ngff_zarr(tmp_path / "a.zarr", made)
    assert list(ps.open_ome_zarr(tmp_path / "a.zarr")) == ["0", "1"]
    made.images = made.images[:1]
    with pytest.raises(ArgumentError, match="datasets"):
        to_ngff_zarr(tmp_path / "b.zarr", made)


def test_paths_of_datasets_are_the_caller_s(tmp_path, made, version):
    for k, dataset in enumerate(made.metadata.datasets):
        dataset.path = f"scale{k}/cells"
    to_ngff_zarr(tmp_path / "a.zarr", made, version=version)
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    np.testing.assert_array_equal(group["scale2/cells"][...], made.images[2].data)
    assert isinstance(group["scale2"], zarr.Group)
    made.metadata.datasets[1].path = "scale0/cells/inner"
    with pytest.raises(ArgumentError, match="inside another"):
        to_ngff_zarr(tmp_path / "b.zarr", made, version=version)
    made.metadata.datasets[1].path = "../out"
    with pytest.raises(ValueError, match=r"\.\."):
        to_ngff_zarr(tmp_path / "b.zarr", made, version=version)


def test_levels_that_do_not_fit(tmp_path, made):
    made.images[1].data = da.zeros((2, 20, 40, 50), dtype="uint16")
    with pytest.raises(ArgumentError, match="larger"):
        to_ngff_zarr(tmp_path / "a.zarr", made)
    made.images[1].data = da.zeros((2, 5, 20, 25), dtype="uint8")
    with pytest.raises(ArgumentError, match="type"):
        to_ngff_zarr(tmp_path / "a.zarr", made)
    made.images[1].dims = ("c", "y", "z", "x")
    with pytest.raises(ArgumentError, match="axes"):
        to_ngff_zarr(tmp_path / "a.zarr", made)
    made.images = []
    with pytest.raises(ArgumentError, match="no levels"):
        to_ngff_zarr(tmp_path / "a.zarr", made)
    assert not list(tmp_path.iterdir())


# --- other stores ------------------------------------------------------------------------------------


def check(store, made):
    group = zarr.open_group(store, mode="r")
    for k, level in enumerate(made.images):
        np.testing.assert_array_equal(group[str(k)][...], level.data)


def test_zarr_stores(tmp_path, made, version):
    memory = MemoryStore()
    to_ngff_zarr(memory, made, version=version)
    check(memory, made)
    to_ngff_zarr(memory, made, version=version)  # again
    check(memory, made)
    with pytest.raises(NodeExistsError):
        to_ngff_zarr(memory, made, version=version, overwrite=False)
    to_ngff_zarr(LocalStore(tmp_path / "a.zarr"), made, version=version)
    check(tmp_path / "a.zarr", made)
    group = zarr.create_group(tmp_path / "b.zarr", zarr_format=2)
    to_ngff_zarr(group.store_path, made, version=version)
    check(tmp_path / "b.zarr", made)
    with pytest.raises(PermissionError):
        to_ngff_zarr(MemoryStore(read_only=True), made)


def test_mappings(made, version):
    store = {}
    to_ngff_zarr(store, made, version=version)
    assert all(isinstance(value, bytes) for value in store.values())
    back = from_ngff_zarr(store)
    for level, again in zip(made.images, back.images, strict=True):
        np.testing.assert_array_equal(again.data, level.data)
    to_ngff_zarr(store, to_multiscales(noise((8, 8)), []), version=version)
    assert [k for k in store if k.startswith("1")] == []


def test_a_sharded_image_in_memory(made):
    store = MemoryStore()
    to_ngff_zarr(store, made, version="0.5", chunks_per_shard=2)
    check(store, made)


# --- archives -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["mean", "gaussian"])
def test_an_archive(tmp_path, image, method):
    made = to_multiscales(image, [2, 3, 4], chunks=8, method=method)
    path = tmp_path / "a.ozx"
    to_ngff_zarr(path, made, version="0.5")
    assert [p.name for p in tmp_path.iterdir()] == ["a.ozx"]
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert archive.testzip() is None
        assert names[0] == "zarr.json"
        documents = [n.endswith("zarr.json") for n in names]
        assert documents == sorted(documents, reverse=True)
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
        comment = json.loads(archive.comment)
        assert comment["ome"]["version"] == "0.5"
        assert comment["ome"]["zipFile"]["centralDirectory"]["jsonFirst"] is True
        level = json.loads(archive.read("0/zarr.json"))
    assert level["chunk_grid"]["configuration"]["chunk_shape"] == [1, 16, 16, 16]
    back = from_ngff_zarr(path)
    for a, b in zip(back.images, made.images, strict=True):
        np.testing.assert_array_equal(a.data, b.data)
    first = path.read_bytes()
    to_ngff_zarr(path, made, version="0.5")
    assert path.read_bytes() == first
    to_ngff_zarr(path, made, version="0.5", chunks_per_shard={"y": 3})
    assert path.read_bytes() != first


def test_an_archive_needs_zarr_v3(tmp_path, made):
    with pytest.raises(ArgumentError, match=r'version="0\.5"'):
        to_ngff_zarr(tmp_path / "a.ozx", made)
    to_ngff_zarr(tmp_path / "a.ozx", made, version="0.5")
    with pytest.raises(UnsupportedError, match="as a whole"):
        to_ngff_zarr(tmp_path / "a.ozx" / "inner", made, version="0.5")
