"""Arrays as other programs write them: read, changed and grown without a change of their encoding."""

from __future__ import annotations

import json

import numcodecs
import numpy as np
import pytest
import zarr

import platestore as ps
from nodes.store_helpers import new_position, pixels

SHAPE = (2, 2, 2, 6, 7)

V2 = {
    "dots": {"chunk_key_encoding": {"name": "v2", "separator": "."}},
    "big endian": {"dtype": ">u2"},
    "columns first": {"order": "F"},
    "no compression": {"compressors": None},
    "zlib": {"compressors": numcodecs.Zlib(5)},
    "zstd": {"compressors": numcodecs.Zstd(3)},
    "blosc zstd": {"compressors": numcodecs.Blosc(cname="zstd", clevel=1, shuffle=2)},
    "a filter": {"filters": [numcodecs.Delta(dtype="<u2")]},
    "no fill value": {"fill_value": None},
    "another fill value": {"fill_value": 7},
    "floats": {"dtype": "<f4", "fill_value": "NaN"},
}
V3 = {
    "dots": {"chunk_key_encoding": {"name": "default", "separator": "."}},
    "keys of v2": {"chunk_key_encoding": {"name": "v2", "separator": "/"}},
    "big endian": {"serializer": zarr.codecs.BytesCodec(endian="big")},
    "transposed": {"filters": [zarr.codecs.TransposeCodec(order=(4, 3, 2, 1, 0))]},
    "no compression": {"compressors": None},
    "gzip": {"compressors": zarr.codecs.GzipCodec(level=1)},
    "zstd": {"compressors": zarr.codecs.ZstdCodec(level=1)},
    "a checksum": {"compressors": [zarr.codecs.ZstdCodec(level=1), zarr.codecs.Crc32cCodec()]},
    "shards": {"shards": (2, 2, 2, 8, 10)},
    "no names of dimensions": {"dimension_names": None},
    "another fill value": {"fill_value": 7},
    "floats": {"dtype": "float32", "fill_value": float("nan")},
}
CASES = [("0.4", what) for what in V2] + [("0.5", what) for what in V3]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def case(request, tmp_path):
    """A position whose array was written by zarr alone, and its pixels."""
    version, what = request.param
    options = {
        "dtype": "uint16",
        "chunks": (2, 1, 2, 4, 5),
        "fill_value": 0,
        **(V2 if version == "0.4" else V3)[what],
    }
    if options.get("fill_value") == "NaN":
        options["fill_value"] = float("nan")
    path = tmp_path / "a.zarr"
    new_position(path, version).create_zeros("0", SHAPE, "uint16")
    data = pixels(*SHAPE).astype(np.dtype(options["dtype"]))
    fmt = 2 if version == "0.4" else 3
    array = zarr.create_array(path / "0", shape=SHAPE, zarr_format=fmt, overwrite=True, **options)
    array[...] = data
    return path, version, data


def document(path, version):
    return json.loads((path / "0" / (".zarray" if version == "0.4" else "zarr.json")).read_text())


def test_it_is_read(case):
    path, _, data = case
    image = ps.open_ome_zarr(path)["0"]
    assert image.shape == SHAPE
    assert image.dtype == zarr.open_array(path / "0", mode="r").dtype
    np.testing.assert_array_equal(image.numpy(), data)
    np.testing.assert_array_equal(image[1, 0, 1, 3:5, ::2], data[1, 0, 1, 3:5, ::2])
    np.testing.assert_array_equal(np.asarray(image.dask_array()), data)
    assert (image.frames, image.channels, image.slices, image.height, image.width) == SHAPE


def test_it_is_read_by_tensorstore(case):
    path, version, data = case
    if "filters" in document(path, version) and document(path, version)["filters"]:
        pytest.skip("TensorStore knows no filters of zarr v2")
    np.testing.assert_array_equal(ps.open_ome_zarr(path)["0"].tensorstore().read().result(), data)


def test_it_is_written_in_its_own_encoding(case):
    path, version, data = case
    before = document(path, version)
    position = ps.open_ome_zarr(path, mode="r+")
    position["0"][0, 1] = 99
    position.update_channel("DAPI", "0", np.full((2, 2, 6, 7), 55, data.dtype))
    read = zarr.open_array(path / "0", mode="r")[...]
    assert (read[:, 0] == 55).all()
    assert (read[0, 1] == 99).all()
    np.testing.assert_array_equal(read[1, 1], data[1, 1])
    assert document(path, version) == before


def test_it_grows_in_its_own_encoding(case):
    path, version, data = case
    before = document(path, version)
    position = ps.open_ome_zarr(path, mode="r+")
    position.append_channel("Cy5")
    after = document(path, version)
    assert after.pop("shape") == [2, 3, 2, 6, 7]
    assert {k: v for k, v in before.items() if k != "shape"} == after
    np.testing.assert_array_equal(zarr.open_array(path / "0", mode="r")[:, :2], data)
    image = position["0"]
    image.append(np.full((1, 3, 2, 6, 7), 44, data.dtype))
    read = zarr.open_array(path / "0", mode="r")[...]
    assert (read[2] == 44).all()
    np.testing.assert_array_equal(read[:2, :2], data)


def test_what_is_cut_off_is_gone(case):
    path, _, data = case
    image = ps.open_ome_zarr(path, mode="r+")["0"]
    image.resize((1, 2, 2, 3, 4))
    read = zarr.open_array(path / "0", mode="r")
    np.testing.assert_array_equal(read[...], data[:1, :, :, :3, :4])
    chunks = {p for p in (path / "0").rglob("*") if p.is_file() and not p.name.startswith((".z", "zarr."))}
    image.resize(SHAPE)
    grown = zarr.open_array(path / "0", mode="r")
    expected = np.full(SHAPE, 0 if grown.fill_value is None else grown.fill_value, data.dtype)
    expected[:1, :, :, :3, :4] = data[:1, :, :, :3, :4]
    np.testing.assert_array_equal(grown[...], expected)
    assert {
        p for p in (path / "0").rglob("*") if p.is_file() and not p.name.startswith((".z", "zarr."))
    } == chunks
