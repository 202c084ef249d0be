"""Compressors: one vocabulary, and pixels that zarr and TensorStore write and read for each other."""

from __future__ import annotations

import json
import warnings

import numcodecs
import numpy as np
import pytest
import tensorstore
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import examples
from platestore.arrays.codecs import COMPRESSORS, Compressor, v3_codecs, v3_sharding
from platestore.arrays.layout import plan
from platestore.storage.base import StorageOptions
from platestore.storage.hierarchy import array_files, create_node
from platestore.storage.local import LocalStorage

DTYPES = ["bool", "uint8", "uint16", "int32", "float32", "float64"]
NAMES = ["z", "y", "x"]
LEVELS = {"blosc-lz4": (0, 9, 5), "blosc-zstd": (0, 9, 1), "zstd": (0, 22, 3), "gzip": (0, 9, 6)}


# --- names ----------------------------------------------------------------------------------------


def test_the_vocabulary_is_what_the_documentation_lists():
    assert set(COMPRESSORS) == {*LEVELS, "none"}
    assert Compressor.parse(None) == Compressor() == Compressor("blosc-lz4", 5)


@pytest.mark.parametrize("name", LEVELS)
def test_a_level_follows_the_name(name):
    low, high, default = LEVELS[name]
    assert Compressor.parse(name) == Compressor(name, default)
    for level in (low, high):
        assert Compressor.parse(f"{name}:{level}") == Compressor(name, level)
        assert str(Compressor(name, level)) == f"{name}:{level}"
    for level in (low - 1, high + 1, 10**30):
        with pytest.raises(ps.ArgumentError, match=f"its levels are {low} to {high}"):
            Compressor.parse(f"{name}:{level}")


def test_none_is_no_compression_and_has_no_level():
    assert Compressor.parse("none") == Compressor("none", 0)
    assert str(Compressor.parse("none")) == "none"
    with pytest.raises(ps.ArgumentError, match="it has no levels"):
        Compressor.parse("none:1")


def test_case_and_blanks_do_not_matter():
    assert Compressor.parse(" Blosc-ZSTD:3 ") == Compressor("blosc-zstd", 3)


def test_a_compressor_is_taken_as_it_is():
    wanted = Compressor("gzip", 2)
    assert Compressor.parse(wanted) is wanted


@pytest.mark.parametrize("value", ["lzma", "", "blosc", ":5", "lz4:1", "zlib"])
def test_an_unknown_name_is_an_error_that_lists_the_known_ones(value):
    with pytest.raises(ps.ArgumentError) as caught:
        Compressor.parse(value)
    assert all(name in str(caught.value) for name in COMPRESSORS)


@pytest.mark.parametrize("value", ["zstd:", "zstd:x", "zstd:1.5", "zstd:1:2", "blosc-lz4:high"])
def test_a_level_that_is_no_number_is_an_error(value):
    with pytest.raises(ps.ArgumentError, match="no level"):
        Compressor.parse(value)


@pytest.mark.parametrize("value", [5, True, {"id": "zstd"}, numcodecs.Zstd(), ("zstd", 3), b"zstd"])
def test_other_objects_are_an_error(value):
    with pytest.raises(ps.ArgumentError, match="must be a string"):
        Compressor.parse(value)


@pytest.mark.parametrize("level", [True, 1.0, "3", None])
def test_a_level_is_an_integer(level):
    with pytest.raises(ps.ArgumentError, match="has no level"):
        Compressor("zstd", level)


@settings(deadline=None, max_examples=examples(200))
@given(st.text(max_size=12))
def test_any_text_is_a_compressor_or_one_of_our_errors(text):
    try:
        parsed = Compressor.parse(text)
    except ps.ArgumentError:
        return
    assert Compressor.parse(str(parsed)) == parsed


# --- documents ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*LEVELS, "zstd:22", "gzip:9", "blosc-zstd:9"])
def test_numcodecs_makes_the_codec_that_a_v2_document_names(name):
    compressor = Compressor.parse(name)
    codec = numcodecs.get_codec(compressor.v2())
    config = codec.get_config()
    assert config.get("level", config.get("clevel")) == compressor.level
    assert {key: config[key] for key in compressor.v2()} == compressor.v2()


@pytest.mark.parametrize("name", COMPRESSORS)
@pytest.mark.parametrize("itemsize", [1, 2, 4, 8])
@pytest.mark.parametrize("checksum", [False, True])
def test_a_v3_chain_is_bytes_compressor_checksum(name, itemsize, checksum):
    compressor = Compressor.parse(name)
    chain = v3_codecs(itemsize, compressor, checksum=checksum)
    assert chain[0] == (
        {"name": "bytes"} if itemsize == 1 else {"name": "bytes", "configuration": {"endian": "little"}}
    )
    assert chain[1 : len(chain) - checksum] == compressor.v3(itemsize)
    assert [c for c in chain if c["name"] == "crc32c"] == [{"name": "crc32c"}] * checksum
    if name.startswith("blosc"):
        assert chain[1]["configuration"]["typesize"] == itemsize
    (sharding,) = v3_sharding((2, 3), itemsize, compressor, checksum=checksum)
    assert sharding["configuration"]["codecs"] == chain
    assert sharding["configuration"]["chunk_shape"] == [2, 3]
    assert [c["name"] for c in sharding["configuration"]["index_codecs"]] == ["bytes", "crc32c"]


def cases():
    for name in [*COMPRESSORS, "zstd:0", "blosc-lz4:0"]:
        for dtype in DTYPES:
            yield pytest.param(2, name, dtype, False, False, id=f"v2-{name}-{dtype}")
            for sharded in (False, True):
                for checksum in (False, True):
                    words = f"v3-{name}-{dtype}{'-sharded' * sharded}{'-crc' * checksum}"
                    yield pytest.param(3, name, dtype, sharded, checksum, id=words)


def create(directory, zarr_format, layout):
    storage = LocalStorage(str(directory), StorageOptions(read_only=False))
    document = layout.document(zarr_format, NAMES)
    json.dumps(document, allow_nan=False)
    create_node(storage, "0", array_files(zarr_format, document, where=""))


def by_zarr(directory, zarr_format):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a codec outside the specification would be one
        return zarr.open_array(str(directory / "0"), mode="r+", zarr_format=zarr_format)


def by_tensorstore(directory, zarr_format):
    spec = {
        "driver": "zarr" if zarr_format == 2 else "zarr3",
        "kvstore": {"driver": "file", "path": f"{directory}/0/"},
        "recheck_cached_data": True,
    }
    return tensorstore.open(spec, open=True).result()


def pixels(dtype, seed):
    values = np.random.default_rng(seed).integers(0, 250, (5, 9, 7))
    return (values % 2).astype(dtype) if dtype == "bool" else values.astype(dtype) - (dtype == "int32") * 99


@pytest.mark.parametrize(("zarr_format", "name", "dtype", "sharded", "checksum"), list(cases()))
def test_what_one_writes_the_other_reads(tmp_path, zarr_format, name, dtype, sharded, checksum):
    layout = plan(
        (5, 9, 7),
        dtype,
        zarr_format=zarr_format,
        chunks=(2, 4, 7),
        shards=(4, 8, 7) if sharded else None,
        compressor=name,
        checksum=checksum,
    )
    create(tmp_path, zarr_format, layout)
    first, second = pixels(dtype, 1), pixels(dtype, 2)
    by_zarr(tmp_path, zarr_format)[...] = first
    np.testing.assert_array_equal(by_tensorstore(tmp_path, zarr_format).read().result(), first)
    by_tensorstore(tmp_path, zarr_format).write(second).result()
    np.testing.assert_array_equal(by_zarr(tmp_path, zarr_format)[...], second)


@pytest.mark.parametrize("name", [n for n in COMPRESSORS if n != "none"])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_compressors_compress(tmp_path, name, zarr_format):
    layout = plan((64, 64, 64), "uint16", zarr_format=zarr_format, compressor=name)
    create(tmp_path, zarr_format, layout)
    by_zarr(tmp_path, zarr_format)[...] = np.broadcast_to(np.arange(64, dtype="uint16"), (64, 64, 64)).copy()
    assert chunk_file(tmp_path).stat().st_size < 2 * 64**3 / 10


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_none_stores_pixels_as_they_are(tmp_path, zarr_format):
    create(tmp_path, zarr_format, plan((5, 9, 7), "uint16", zarr_format=zarr_format, compressor="none"))
    by_zarr(tmp_path, zarr_format)[...] = pixels("uint16", 1)
    assert chunk_file(tmp_path).read_bytes() == pixels("<u2", 1).tobytes()


def chunk_file(directory):
    (file,) = (
        f for f in (directory / "0").rglob("*") if f.is_file() and not f.name.startswith((".z", "zarr.json"))
    )
    return file


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("name", COMPRESSORS)
def test_with_a_checksum_a_changed_bit_is_an_error(tmp_path, sharded, name):
    layout = plan(
        (5, 9, 7),
        "uint16",
        zarr_format=3,
        shards="ZYX" if sharded else None,
        compressor=name,
        checksum=True,
    )
    create(tmp_path, 3, layout)
    by_zarr(tmp_path, 3)[...] = pixels("uint16", 1)
    file = chunk_file(tmp_path)
    data = bytearray(file.read_bytes())
    data[40] ^= 4
    file.write_bytes(data)
    with pytest.raises(ValueError, match="checksum"):
        by_zarr(tmp_path, 3)[...]
    with pytest.raises(ValueError, match=r"CRC|checksum"):
        by_tensorstore(tmp_path, 3).read().result()


def test_checksums_are_refused_on_zarr_v2():
    with pytest.raises(ps.ArgumentError, match=r"no checksums .*version=\"0.5\""):
        plan((4, 4), "u1", zarr_format=2, checksum=True)
