"""Descriptions of arrays that say less than strict readers need: what is written says all of it."""

from __future__ import annotations

import json

import dask.array as da
import numpy as np
import pytest
import tensorstore
import zarr

import platestore
from platestore import stacks
from platestore.errors import ArgumentError
from platestore.multiscales import to_multiscales, to_ngff_image, to_ngff_zarr

SHAPE, CHUNKS = (20, 16, 8), (8, 8, 4)
BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
ZSTD = {"name": "zstd", "configuration": {"level": 0, "checksum": False}}
BLOSC = {"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "blocksize": 0}
#: What a description may say, and what must be written of it for elements of two bytes.
CHAINS = [
    ([{"name": "bytes"}], [BYTES]),
    ([{"name": "bytes", "configuration": {}}], [BYTES]),
    ([{"name": "bytes", "configuration": {"endian": None}}], [BYTES]),
    (
        [{"name": "bytes", "configuration": {"endian": "big"}}],
        [{"name": "bytes", "configuration": {"endian": "big"}}],
    ),
    (
        [{"name": "bytes"}, {"name": "blosc", "configuration": BLOSC}],
        [BYTES, {"name": "blosc", "configuration": {**BLOSC, "typesize": 2}}],
    ),
    (
        [{"name": "bytes"}, {"name": "blosc"}],
        [BYTES, {"name": "blosc", "configuration": {**BLOSC, "cname": "zstd", "typesize": 2}}],
    ),
    ([{"name": "bytes"}, {"name": "zstd"}], [BYTES, ZSTD]),
    (
        [{"name": "bytes"}, {"name": "zstd", "configuration": {"level": 3}}],
        [BYTES, {"name": "zstd", "configuration": {"level": 3, "checksum": False}}],
    ),
    ([{"name": "bytes"}, {"name": "gzip"}], [BYTES, {"name": "gzip", "configuration": {"level": 5}}]),
    (["bytes", "zstd", "crc32c"], [BYTES, ZSTD, {"name": "crc32c"}]),
    ([{"name": "zstd"}], [BYTES, ZSTD]),
    (
        [{"name": "transpose", "configuration": {"order": "F"}}, {"name": "bytes"}],
        [{"name": "transpose", "configuration": {"order": [2, 1, 0]}}, BYTES],
    ),
    (
        [
            {
                "name": "sharding_indexed",
                "configuration": {
                    "chunk_shape": [4, 8, 4],
                    "codecs": [{"name": "bytes"}],
                    "index_codecs": [{"name": "bytes"}, {"name": "crc32c"}],
                },
            }
        ],
        [BYTES],
    ),
]


def description(codecs, dtype="uint16", **others):
    return {
        "shape": SHAPE,
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": CHUNKS}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "attributes": {},
        "codecs": codecs,
        **others,
    }


def group_of(path, spec):
    return stacks.MultiScaleGroup(
        path, name="v", voxel_size=(1, 1, 2), spatial_unit="micrometer", array_spec=spec
    )


def filled(path, spec, dtype="uint16"):
    pixels = (
        np.arange(np.prod(SHAPE)).reshape(SHAPE) % 2 if dtype == "bool" else np.indices(SHAPE)[0]
    ).astype(dtype)
    group = group_of(path, spec)
    group.add_full_res_data(da.from_array(pixels, chunks=(*SHAPE[:2], 1)), n_processes=1)
    group.add_downsample_level(1, downsample_func=np.max)
    return pixels


def check_strictly(path, pixels):
    """Every reader opens it, and nobody finds anything."""
    for level in ("0", "1"):
        spec = {"driver": "zarr3", "kvstore": f"file://{path}/{level}/"}
        strict = tensorstore.open(spec).result().read().result()
        assert np.array_equal(strict, zarr.open_array(f"{path}/{level}", mode="r")[...])
        assert np.array_equal(strict, stacks.open_multiscale_group(path)[int(level)][...])
        if level == "0":
            assert np.array_equal(strict, pixels)
    assert not [*platestore.validate(path).findings]


def inner_codecs(path, level="0"):
    content = json.loads((path / level / "zarr.json").read_text())
    return content["codecs"][0]["configuration"]["codecs"]


@pytest.mark.parametrize(("given", "written"), CHAINS)
@pytest.mark.parametrize("form", ["mapping", "pydantic"])
def test_codecs_are_written_with_all_that_a_strict_reader_needs(tmp_path, given, written, form):
    spec = description(given)
    if form == "pydantic":
        spec = pytest.importorskip("pydantic_zarr.v3").ArraySpec(**spec)
    path = tmp_path / "v.zarr"
    pixels = filled(path, spec)
    assert inner_codecs(path) == inner_codecs(path, "1") == written
    check_strictly(path, pixels)
    assert group_of(path, spec).levels == [0, 1]  # the same description names the same array


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "uint32", "int64", "float32", "float64"])
def test_pixels_of_any_type_are_written_strictly(tmp_path, dtype):
    spec = description(["bytes", "blosc"], dtype, fill_value=False if dtype == "bool" else 0)
    pixels = filled(tmp_path / "v.zarr", spec, dtype)
    check_strictly(tmp_path / "v.zarr", pixels)


@pytest.mark.parametrize(
    "others",
    [
        {"chunk_key_encoding": {"name": "default"}},
        {"chunk_key_encoding": "default"},
        {"chunk_key_encoding": {"name": "v2"}},
        {"chunk_key_encoding": {"name": "v2", "configuration": {"separator": "/"}}},
        {"fill_value": None},
        {"fill_value": 7},
        {"data_type": "float32", "fill_value": "NaN"},
        {"data_type": "float32", "fill_value": float("nan")},
    ],
)
def test_other_parts_are_written_strictly_too(tmp_path, others):
    dtype = others.get("data_type", "uint16")
    pixels = filled(tmp_path / "v.zarr", description([{"name": "bytes"}], dtype, **others), dtype)
    check_strictly(tmp_path / "v.zarr", pixels)


@pytest.mark.parametrize(
    "codecs",
    [
        [{"name": "none_such"}],
        [{"name": "bytes"}, {"name": "none_such"}],
        [{"name": "bytes"}, {"name": "blosc", "configuration": {"cname": "none_such"}}],
        [{"name": "bytes"}, {"name": "gzip", "configuration": {"level": 77}}],
        [{"name": "bytes"}, {"name": "bytes"}],
        [{"name": "transpose", "configuration": {"order": [0, 0, 1]}}, {"name": "bytes"}],
        [3],
        [{}],
        "bytes",
    ],
)
def test_what_could_not_be_opened_again_is_not_made(tmp_path, codecs):
    with pytest.raises(ArgumentError, match="array_spec"):
        group_of(tmp_path / "v.zarr", description(codecs))
    assert not [*tmp_path.iterdir()]


def _make_levels(path):
    group = stacks.open_multiscale_group(path)
    group.add_downsample_level(1, overwrite=True)
    group.add_downsample_level(2)


def test_levels_of_an_array_that_says_too_little_say_all(tmp_path):
    """As other programs write them: zarr-python reads the array, and the levels are ours."""
    path = tmp_path / "v.zarr"
    filled(path, description(["bytes", "zstd"]))
    document = path / "0" / "zarr.json"
    content = json.loads(document.read_text())
    content["codecs"][0]["configuration"]["codecs"] = [
        {"name": "bytes"},
        {"name": "zstd", "configuration": {"level": 0, "checksum": False}},
    ]
    document.write_text(json.dumps(content))
    with pytest.warns(platestore.StoreWarning, match="byte order"):
        _make_levels(path)
    assert inner_codecs(path, "1") == inner_codecs(path, "2") == [BYTES, ZSTD]


@pytest.mark.parametrize(
    "codec",
    [
        {"name": "zstd"},
        {"name": "gzip"},
        {"name": "blosc"},
        {"name": "blosc", "configuration": {"cname": "lz4"}},
    ],
)
def test_codecs_by_their_json_are_completed_by_every_door(tmp_path, codec):
    path = tmp_path / "i.zarr"
    image = to_multiscales(to_ngff_image(np.ones((32, 32), "uint16"), dims=("y", "x")), [2])
    to_ngff_zarr(path, image, version="0.5", compressor=codec)
    spec = {"driver": "zarr3", "kvstore": f"file://{path}/0/"}
    assert tensorstore.open(spec).result().read().result().sum() == 32 * 32
    assert not [*platestore.validate(path).findings]
