"""New multiscale groups: the model, empty ones, and whole ones."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import dask
import dask.array
import numcodecs
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from xarray_cases import CHANNELS, arrays, labelled, random

import platestore as ps
from conftest import examples, make_plate
from nodes.store_helpers import ome, snapshot
from platestore.errors import (
    ArgumentError,
    NodeExistsError,
    ReadOnlyError,
    UnsafeTargetError,
    UnsupportedError,
    UnsupportedVersionError,
)
from platestore.xarray import (
    create_multiscale_group,
    model_multiscale_group,
    read_multiscale_group,
    write_multiscale_group,
)

STORES = ["path", "local", "memory"]


def levels(dims: str = "czyx") -> dict[str, xr.DataArray]:
    shape = {"t": 2, "c": 3, "z": 2, "y": 8, "x": 8}
    out = {}
    for k in (1, 0, 2):  # in no order
        sizes = [shape[d] // (2**k if d in "yx" else 1) for d in dims]
        coords = {d: np.arange(8 // 2**k) * 0.5 * 2**k + 0.25 * (2**k - 1) for d in "yx"}
        out[str(k)] = labelled(dims, tuple(sizes), **coords)
    return out


def make_store(kind: str, path: Path):
    if kind == "memory":
        return zarr.storage.MemoryStore()
    return path if kind == "path" else zarr.storage.LocalStore(path)


def content(store) -> dict[str, bytes]:
    """Everything in a store."""
    if isinstance(store, zarr.storage.MemoryStore):
        return {key: value.to_bytes() for key, value in store._store_dict.items()}
    return snapshot(Path(store.root if isinstance(store, zarr.storage.LocalStore) else store))


# --- the model ------------------------------------------------------------------------------------


def test_signatures_are_those_of_the_documents():
    documented = ["arrays", "transform_precision", "ngff_version", "chunks", "compressor", "fill_value"]
    model = inspect.signature(model_multiscale_group).parameters
    assert list(model)[:6] == documented
    for function in (create_multiscale_group, write_multiscale_group):
        parameters = inspect.signature(function).parameters
        assert list(parameters)[:9] == ["store", "path", *documented, "overwrite"]
        for name in documented[1:]:
            assert parameters[name].default == model[name].default
        assert parameters["overwrite"].default is False
        assert all(p.kind is p.KEYWORD_ONLY for p in parameters.values())
    assert (model["ngff_version"].default, model["chunks"].default, model["fill_value"].default) == (
        "0.4",
        "auto",
        0,
    )


def test_the_model_is_what_is_created(tmp_path, version):
    model = model_multiscale_group(arrays=levels(), ngff_version=version, chunks=(1, 1, 4, 4), name="image")
    create_multiscale_group(
        store=tmp_path, path="image", arrays=levels(), ngff_version=version, chunks=(1, 1, 4, 4)
    )
    made = model.to_json()
    assert json.loads(json.dumps(made)) == made
    group = zarr.open_group(tmp_path / "image", mode="r")
    assert dict(group.attrs) == made["attributes"] == model.attributes
    for path, document in made["members"].items():
        name = ".zarray" if version == "0.4" else "zarr.json"
        stored = json.loads((tmp_path / "image" / path / name).read_text())
        stored.pop("attributes", None)
        assert stored == document
        assert group[path].shape == model.members[path].shape
        assert group[path].chunks == model.members[path].chunks
        assert group[path].dtype == model.members[path].dtype
        assert group[path].shards == model.members[path].shards


def test_datasets_are_sorted_by_size():
    model = model_multiscale_group(arrays=levels())
    assert list(model.members) == ["0", "1", "2"]
    datasets = model.attributes["multiscales"][0]["datasets"]
    assert [d["path"] for d in datasets] == ["0", "1", "2"]
    assert [t["type"] for t in datasets[1]["coordinateTransformations"]] == ["scale", "translation"]
    assert datasets[1]["coordinateTransformations"][0]["scale"] == [1, 0.5, 1, 1]
    assert datasets[1]["coordinateTransformations"][1]["translation"] == [0, 3, 0.25, 0.25]


def test_precision_of_transformations():
    array = labelled("yx", (8, 6), x=np.arange(6) * 0.123456 + 1.98765)
    model = model_multiscale_group(arrays={"0": array}, transform_precision=2)
    steps = model.attributes["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    assert steps[0]["scale"][1] == 0.12
    assert steps[1]["translation"][1] == 1.99


def test_channels_are_listed(version):
    attributes = model_multiscale_group(arrays=levels(), ngff_version=version).attributes
    found = attributes["ome"] if version == "0.5" else attributes
    assert [c["label"] for c in found["omero"]["channels"]] == CHANNELS
    assert "omero" not in model_multiscale_group(arrays=levels("zyx")).attributes


def test_chunks_for_all_or_for_each():
    one = model_multiscale_group(arrays=levels(), chunks=(1, 2, 4, 4))
    assert [m.chunks for m in one.members.values()] == [(1, 2, 4, 4), (1, 2, 4, 4), (1, 2, 2, 2)]
    each = model_multiscale_group(arrays=levels(), chunks=((1, 1, 2, 2), (1, 1, 8, 8), [1, 1, 1, 1]))
    assert each.members["1"].chunks == (1, 1, 2, 2)  # the first that was given
    assert each.members["0"].chunks == (1, 1, 8, 8)
    assert each.members["2"].chunks == (1, 1, 1, 1)
    assert model_multiscale_group(arrays=levels()).members["0"].chunks == (1, 2, 8, 8)
    for wrong in ("large", (0, 1, 1, 1), (1, 1), ((1, 1, 1, 1),), 5, ()):
        with pytest.raises(ArgumentError, match="chunks"):
            model_multiscale_group(arrays=levels(), chunks=wrong)


def test_shards():
    model = model_multiscale_group(arrays=levels(), ngff_version="0.5", chunks=(1, 1, 4, 4), shards="ZYX")
    assert model.members["0"].shards == (1, 2, 8, 8)
    with pytest.raises(ArgumentError, match="shards"):
        model_multiscale_group(arrays=levels(), shards="ZYX")


@pytest.mark.parametrize(
    ("compressor", "v2"),
    [
        ("zstd:9", {"id": "zstd", "level": 9}),
        ("none", None),
        (None, None),
        (numcodecs.Zstd(level=7), {"id": "zstd", "level": 7}),
        (numcodecs.GZip(level=2), {"id": "gzip", "level": 2}),
        (
            numcodecs.Blosc("lz4hc", 3, numcodecs.Blosc.SHUFFLE),
            {"id": "blosc", "cname": "lz4hc", "clevel": 3, "shuffle": 1},
        ),
        (zarr.codecs.ZstdCodec(level=4), {"id": "zstd", "level": 4}),
        (
            zarr.codecs.BloscCodec(cname="zstd", clevel=2, shuffle="bitshuffle"),
            {"id": "blosc", "cname": "zstd", "clevel": 2, "shuffle": 2},
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("sharded", [False, True])
def test_compressors(compressor, v2, version, sharded):
    if sharded and version == "0.4":
        pytest.skip("no shards there")
    shards = {"shards": "ZYX"} if sharded else {}
    group = write_multiscale_group(
        store=zarr.storage.MemoryStore(),
        path="",
        arrays=levels(),
        ngff_version=version,
        compressor=compressor,
        **shards,
    )
    for path, array in levels().items():
        np.testing.assert_array_equal(group[path][...], array)
    found = group["0"].compressors
    if v2 is None:
        assert not found
        return
    settings = found[0].get_config() if version == "0.4" else found[0].to_dict()
    if version == "0.4":
        assert {key: settings[key] for key in v2} == v2
    else:
        assert settings["name"] == v2["id"]
        assert settings["configuration"].get("level", settings["configuration"].get("clevel")) == (
            v2.get("level", v2.get("clevel"))
        )


def test_the_default_compressor():
    assert model_multiscale_group(arrays=levels()).members["0"].to_json()["compressor"]["id"] == "zstd"


def test_any_codec_of_zarr_v2_there_and_an_error_elsewhere():
    codec = numcodecs.LZMA(preset=1)
    group = write_multiscale_group(
        store=zarr.storage.MemoryStore(), path="", arrays=levels(), compressor=codec
    )
    np.testing.assert_array_equal(group["0"][...], levels()["0"])
    with pytest.raises(ArgumentError, match="lzma"):
        model_multiscale_group(arrays=levels(), compressor=codec, ngff_version="0.5")
    for wrong in ("lzo", 5, numcodecs.Zstd, {"level": 3}):
        with pytest.raises(ArgumentError, match="zstd"):
            model_multiscale_group(arrays=levels(), compressor=wrong)


@pytest.mark.parametrize(
    ("dtype", "fill"),
    [
        ("uint16", 7),
        ("float32", np.nan),
        ("float32", 0.1),
        ("float64", -np.inf),
        ("int8", -1),
        ("bool", True),
    ],
)
def test_fill_values(dtype, fill, version):
    array = labelled("yx", (8, 6)).astype(dtype)
    group = create_multiscale_group(
        store=zarr.storage.MemoryStore(),
        path="",
        arrays={"0": array},
        ngff_version=version,
        fill_value=fill,
    )
    np.testing.assert_array_equal(group["0"][...], np.full((8, 6), fill, dtype))


@pytest.mark.parametrize(
    ("dtype", "fill"), [("uint8", -1), ("uint8", 256), ("int8", 0.5), ("int8", "a"), ("int8", [1])]
)
def test_fill_values_of_another_type(dtype, fill):
    with pytest.raises(ArgumentError, match="fill value"):
        model_multiscale_group(arrays={"0": labelled("yx", (8, 6)).astype(dtype)}, fill_value=fill)


# --- there and back -------------------------------------------------------------------------------


@settings(deadline=None, max_examples=examples(40))
@given(array=arrays(), version=st.sampled_from(["0.4", "0.5"]), lazy=st.booleans())
def test_what_is_written_comes_back(array, version, lazy):
    store = zarr.storage.MemoryStore()
    given_ = array.chunk() if lazy else array
    group = write_multiscale_group(store=store, path="a", arrays={"0": given_}, ngff_version=version)
    (found,) = read_multiscale_group(group).values()
    np.testing.assert_array_equal(found.values, array.values)
    assert found.attrs == array.attrs
    for d in array.dims:
        if d == "c":
            assert found.c.values.tolist() == array.c.values.tolist()
            continue
        np.testing.assert_allclose(found[d], array[d], rtol=1e-14, atol=1e-12)
        if "scale" in array[d].attrs:
            assert found[d].attrs["scale"] == array[d].attrs["scale"]
    again = write_multiscale_group(store=store, path="b", arrays={"0": found}, ngff_version=version)
    left, right = dict(group.attrs), dict(again.attrs)
    assert json.dumps(left, sort_keys=True).replace('"a"', '"b"') == json.dumps(
        right, sort_keys=True
    ).replace('"a"', '"b"')


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("path", ["", "image", "deep/down"])
def test_places(tmp_path, version, kind, path):
    store = make_store(kind, tmp_path / "store")
    made = create_multiscale_group(store=store, path=path, arrays=levels(), ngff_version=version)
    assert not made["0"][...].any()
    made["0"][...] = levels()["0"].values  # what the caller of create_multiscale_group does
    for other in (made, ps.open_ome_zarr(zarr.storage.StorePath(made.store, path))):
        np.testing.assert_array_equal(read_multiscale_group(other)["0"], levels()["0"])
    with pytest.raises(FileExistsError) as caught:
        create_multiscale_group(store=store, path=path, arrays=levels(), ngff_version=version)
    assert isinstance(caught.value, NodeExistsError)
    again = write_multiscale_group(
        store=store, path=path, arrays={"only": levels("yx")["1"]}, ngff_version=version, overwrite=True
    )
    assert sorted(again.keys()) == ["only"]
    np.testing.assert_array_equal(again["only"][...], levels("yx")["1"])
    if path:
        root = zarr.open_group(made.store, mode="r")
        assert path.split("/")[0] in list(root.group_keys())


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("path", ["", "a/b"])
@pytest.mark.parametrize("wrapper", ["dask_array", "zarr_array"])
def test_a_group_can_be_overwritten_by_what_is_read_from_it(tmp_path, version, kind, path, wrapper):
    store = make_store(kind, tmp_path / "store")
    group = write_multiscale_group(store=store, path=path, arrays=levels(), ngff_version=version)
    found = read_multiscale_group(group, {"name": wrapper, "config": {}})
    doubled = {p: a.copy(data=a.data * 2) if wrapper == "dask_array" else a for p, a in found.items()}
    again = write_multiscale_group(
        store=store, path=path, arrays=doubled, ngff_version=version, overwrite=True, chunks=(1, 1, 3, 3)
    )
    for p, array in levels().items():
        np.testing.assert_array_equal(again[p][...], array * (2 if wrapper == "dask_array" else 1))


def test_a_group_of_zarr_is_a_place(tmp_path, version):
    root = zarr.create_group(tmp_path / "a.zarr", zarr_format=2 if version == "0.4" else 3)
    made = write_multiscale_group(store=root, path="images/one", arrays=levels(), ngff_version=version)
    np.testing.assert_array_equal(root["images/one/0"][...], levels()["0"])
    assert made.path == "images/one"


def test_names():
    def name(arrays, path="", **kwargs):
        store = zarr.storage.MemoryStore()
        group = create_multiscale_group(store=store, path=path, arrays=arrays, **kwargs)
        return group.attrs["multiscales"][0]["name"]

    plain = levels()
    named = {path: array.rename("cells") for path, array in plain.items()}
    assert name(plain, "a/field") == "field"
    assert name(plain) == "image"
    assert name(named, "a/field") == "cells"
    assert name(named, "a/field", name="other") == "other"


def test_a_folder_with_other_files_stays_what_it_is(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    write_multiscale_group(store=tmp_path, path="image.zarr", arrays=levels())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["image.zarr", "notes.txt"]
    assert ps.open_ome_zarr(tmp_path / "image.zarr")["0"].shape == (3, 2, 8, 8)


# --- what may not be replaced or made -------------------------------------------------------------


def refused(error, store, path="", arrays=None, **kwargs):
    before = content(store)
    with pytest.raises(error) as caught:
        write_multiscale_group(store=store, path=path, arrays=arrays or levels(), **kwargs)
    assert caught.value.hint
    assert content(store) == before
    return str(caught.value)


def test_only_images_are_replaced(tmp_path, version):
    make_plate(tmp_path / "p.zarr", version)
    other = {"ngff_version": version, "overwrite": True}
    assert "plate" in refused(UnsafeTargetError, tmp_path / "p.zarr", **other)
    assert "members" in refused(UnsafeTargetError, tmp_path / "p.zarr", "A", **other)
    assert "well" in refused(UnsafeTargetError, tmp_path / "p.zarr", "A/1", **other)
    assert "inside an array" in refused(ArgumentError, tmp_path / "p.zarr", "A/1/0/0/1", **other)
    refused(UnsafeTargetError, tmp_path / "p.zarr", "A/1/0/0", **other)
    refused(NodeExistsError, tmp_path / "p.zarr", "A/1/0", ngff_version=version)


@pytest.mark.parametrize("path", ["", "a"])
def test_files_of_others_are_not_deleted(tmp_path, path):
    write_multiscale_group(store=tmp_path / "s.zarr", path=path, arrays=levels())
    (tmp_path / "s.zarr" / path / "notes.txt").write_text("mine")
    assert "notes.txt" in refused(UnsafeTargetError, tmp_path / "s.zarr", path, overwrite=True)


def test_directories_of_others_are_not_deleted(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"1")
    refused(UnsafeTargetError, tmp_path / "photos", overwrite=True)
    refused(UnsafeTargetError, tmp_path, "photos", overwrite=True)


def test_versions_are_not_mixed(tmp_path):
    zarr.create_group(tmp_path / "a.zarr", zarr_format=3)
    assert '"0.5"' in refused(ArgumentError, tmp_path / "a.zarr", "image", ngff_version="0.4")
    store = zarr.storage.MemoryStore()
    zarr.create_group(store, zarr_format=2)
    assert '"0.4"' in refused(ArgumentError, store, "image", ngff_version="0.5")


def test_stores_that_cannot_be_written(tmp_path):
    store = zarr.storage.LocalStore(tmp_path / "a.zarr", read_only=True)
    with pytest.raises(ReadOnlyError):
        write_multiscale_group(store=store, path="", arrays=levels())
    with pytest.raises(UnsupportedError, match="archive"):
        write_multiscale_group(store=tmp_path / "a.ozx", path="", arrays=levels(), ngff_version="0.5")
    with pytest.raises(UnsupportedError, match="URL"):
        write_multiscale_group(store="s3://bucket/a.zarr", path="", arrays=levels())
    with pytest.raises(ArgumentError, match="store"):
        write_multiscale_group(store={}, path="", arrays=levels())
    with pytest.raises(ArgumentError, match="leads out"):
        write_multiscale_group(store=tmp_path, path="../a", arrays=levels())
    assert list(tmp_path.iterdir()) == []


def test_arrays_must_agree(tmp_path):
    store = tmp_path / "a.zarr"
    changed = levels()
    changed["1"] = changed["1"].copy()
    changed["1"]["x"] = changed["1"].x.assign_attrs(units="nm")
    message = refused(ArgumentError, store, arrays=changed)
    assert "2 unique axes" in message
    assert "nanometer" in message
    mixed = {"0": levels()["0"], "1": levels("tyx")["1"]}
    assert "2 unique axes" in refused(ArgumentError, store, arrays=mixed)
    turned = {"0": levels("yx")["0"], "1": levels("yx")["1"].transpose("x", "y")}
    assert "2 unique axes" in refused(ArgumentError, store, arrays=turned)
    named = levels()
    named["2"] = named["2"].assign_coords(c=["a", "b", "d"])
    assert "channels" in refused(ArgumentError, store, arrays=named)
    typed = {**levels(), "2": levels()["2"].astype("float32")}
    assert "float32" in refused(ArgumentError, store, arrays=typed)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a.assign_coords(x=np.arange(8) ** 2.0), "not regular"),
        (lambda a: a.isel(x=slice(None, None, -1)), "descends"),
        (lambda a: a.assign_coords(x=a.x.assign_attrs(units=7)), "a unit must be a string"),
        (lambda a: a.assign_coords(c=["a", "a", "b"]), "more than once"),
        (lambda a: a.isel(z=0, c=0, y=0), "no OME-NGFF image"),
        (lambda a: a.transpose("y", "x", "c", "z"), "order"),
        (lambda a: a.expand_dims("q"), "no OME-NGFF image"),
        (lambda a: a.isel(x=slice(0, 0)), "empty"),
        (lambda a: a.isel(c=slice(0, 0)), "1 or more"),
        (lambda a: a.astype("complex64"), "complex64"),
        (lambda a: a.assign_attrs(bad=object()), "JSON"),
    ],
)
def test_an_array_that_makes_no_image(tmp_path, change, said):
    message = refused(ArgumentError, tmp_path / "a.zarr", arrays={"0": change(levels()["0"])})
    assert said in message


@pytest.mark.parametrize("paths", [["labels"], [""], ["a/../b"], [3], ["0", "0/1"], ["con"], ["zarr.json"]])
def test_paths_that_cannot_be(tmp_path, paths):
    wrong = {path: levels()["0"] for path in paths}
    with pytest.raises(ArgumentError):
        write_multiscale_group(store=tmp_path / "a.zarr", path="", arrays=wrong)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_array(tmp_path):
    for wrong in ({}, [], {"0": np.zeros((2, 2))}, None):
        with pytest.raises(ArgumentError, match="DataArray"):
            model_multiscale_group(arrays=wrong)
    with pytest.raises(UnsupportedVersionError, match="0\\.3"):
        model_multiscale_group(arrays=levels(), ngff_version="0.3")


def test_an_irregular_grid_can_be_chosen(tmp_path):
    array = labelled("yx", (8, 6), x=np.array([0, 1, 2, 3, 4, 5.5]))
    group = create_multiscale_group(
        store=tmp_path / "a.zarr", path="", arrays={"0": array}, irregular="nearest"
    )
    np.testing.assert_allclose(read_multiscale_group(group)["0"].x, np.arange(6) * 1.1)


# --- how it is written ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_failure_half_way_leaves_what_was(tmp_path, version, kind, overwrite):
    store = make_store(kind, tmp_path / "store")
    if overwrite:
        write_multiscale_group(store=store, path="a", arrays=levels(), ngff_version=version)
        before = content(store)

    def fail(block):
        raise OSError("the source is gone")

    broken = {p: a.chunk() for p, a in levels().items()}
    broken["2"] = broken["2"].copy(data=broken["2"].data.map_blocks(fail, dtype="uint16"))
    with pytest.raises(OSError, match="the source is gone"):
        write_multiscale_group(
            store=store, path="a", arrays=broken, ngff_version=version, overwrite=overwrite
        )
    if overwrite:
        assert content(store) == before
    else:
        assert not any("a" in key.split("/")[:-1] for key in content(store))


def test_the_group_is_seen_last(monkeypatch, version):
    """In a store without renames, the group's document is the last key."""
    store = zarr.storage.MemoryStore()
    write_multiscale_group(store=store, path="a", arrays=levels(), ngff_version=version)
    last = [key for key in content(store) if key.startswith("a/")][-1]
    assert last == ("a/.zgroup" if version == "0.4" else "a/zarr.json")


def test_dask_data_is_written_once_per_shard(tmp_path, monkeypatch):
    data = random(1, 9, 40, 40)
    array = labelled("czyx", (1, 9, 40, 40)).copy(data=dask.array.from_array(data, chunks=(1, 2, 40, 17)))
    seen = []
    real = ps.ImageArray._write
    monkeypatch.setattr(
        ps.ImageArray,
        "_write",
        lambda self, s, block, **k: seen.append(s.region) or real(self, s, block, **k),
    )
    with dask.config.set(scheduler="sync"):
        group = write_multiscale_group(
            store=tmp_path / "a.zarr",
            path="",
            arrays={"0": array},
            ngff_version="0.5",
            chunks=(1, 1, 8, 8),
            shards=(1, 4, 16, 16),
        )
    np.testing.assert_array_equal(group["0"][...], data)
    assert len(seen) == len({str(region) for region in seen}) == 3 * 3 * 3


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
@pytest.mark.parametrize("kind", ["local", "memory"])
def test_consolidated_metadata_above_does_not_hide_the_group(tmp_path, version, kind):
    store = make_store(kind, tmp_path / "store")
    zarr.create_group(store, zarr_format=2 if version == "0.4" else 3)
    zarr.consolidate_metadata(store)
    write_multiscale_group(store=store, path="a/b", arrays=levels(), ngff_version=version)
    np.testing.assert_array_equal(zarr.open_group(store, mode="r")["a/b/0"][...], levels()["0"])


def test_attributes_are_kept_beside_the_metadata(tmp_path, version):
    array = labelled("yx", (8, 6))
    array.attrs.update(units="nm", table=np.arange(2))
    write_multiscale_group(store=tmp_path / "a.zarr", path="", arrays={"0": array}, ngff_version=version)
    position = ps.open_ome_zarr(tmp_path / "a.zarr", mode="r+")
    assert position.to_xarray().attrs == {"units": "nm", "table": [0, 1]}
    assert "units" not in str(ome(tmp_path / "a.zarr").get("multiscales"))
    position.write_xarray(array.assign_attrs(more=1))
    assert read_multiscale_group(position)["0"].attrs == {"units": "nm", "table": [0, 1], "more": 1}
