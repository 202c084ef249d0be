"""What to_ngff_zarr takes of the arguments of zarr; chunks and factors as ngff-zarr takes them."""

from __future__ import annotations

import json

import dask.array as da
import numcodecs
import numpy as np
import pytest
import zarr
from zarr.codecs import BytesCodec, TransposeCodec

import platestore
from platestore.errors import ArgumentError
from platestore.multiscales import from_ngff_zarr, to_multiscales, to_ngff_image, to_ngff_zarr

PIXELS = np.arange(60 * 44, dtype="uint16").reshape(60, 44)
VERSIONS = ["0.4", "0.5"]


def made(pixels=PIXELS, factors=(2,), chunks=16, **kwargs):
    image = to_ngff_image(pixels, dims="zyx"[-pixels.ndim :])
    return to_multiscales(image, list(factors), chunks=chunks, **kwargs)


def arrays(path):
    return [zarr.open_array(f"{path}/{level}", mode="r") for level in ("0", "1")]


def check(path, version):
    """The pixels are right, for zarr-python and for us, and nobody finds anything."""
    wanted = made().images[1].data.compute()
    for found, pixels in zip(arrays(path), (PIXELS, wanted), strict=True):
        assert np.array_equal(found[...], pixels)
    image = from_ngff_zarr(path, version=version)
    assert np.array_equal(image.images[1].data.compute(), wanted)
    assert not [*platestore.validate(path).findings]
    assert not [*platestore.check(path, deep=True).findings]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("shards", [None, 2])
@pytest.mark.parametrize("fill", [0, 7, 65535, np.uint16(3)])
def test_the_fill_value_is_that_of_every_level(tmp_path, version, shards, fill):
    if version == "0.4" and shards:
        version, shards = "0.5", 1
    path = tmp_path / "i.zarr"
    to_ngff_zarr(path, made(), version=version, fill_value=fill, chunks_per_shard=shards)
    assert [array.fill_value for array in arrays(path)] == [fill, fill]
    check(path, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_chunks_of_the_fill_value_alone_need_not_be_written(tmp_path, version):
    path = tmp_path / "i.zarr"
    pixels = np.full((32, 32), 9, "uint16")
    pixels[0, 0] = 1
    to_ngff_zarr(path, made(pixels), version=version, fill_value=9)
    assert np.array_equal(arrays(path)[0][...], pixels)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("fill", [-1, 65536, 0.5, "x", [1], None])
def test_a_fill_value_that_the_type_has_not_is_refused(tmp_path, version, fill):
    if fill is None:
        to_ngff_zarr(tmp_path / "i.zarr", made(), version=version, fill_value=None)  # zarr's word for default
        check(tmp_path / "i.zarr", version)
        return
    with pytest.raises(ArgumentError, match="fill value"):
        to_ngff_zarr(tmp_path / "i.zarr", made(), version=version, fill_value=fill)
    assert not (tmp_path / "i.zarr").exists()


@pytest.mark.parametrize("filters", [[numcodecs.Delta("<u2")], {"id": "delta", "dtype": "<u2"}])
def test_filters_of_zarr_v2(tmp_path, filters):
    path = tmp_path / "i.zarr"
    to_ngff_zarr(path, made(), filters=filters)
    assert all(array.filters == (numcodecs.Delta("<u2"),) for array in arrays(path))
    check(path, "0.4")


@pytest.mark.parametrize("shards", [None, 2])
@pytest.mark.parametrize(
    "filters",
    [
        [TransposeCodec(order=(1, 0))],
        TransposeCodec(order=(1, 0)),
        [{"name": "transpose", "configuration": {"order": [1, 0]}}],
    ],
)
def test_filters_of_zarr_v3(tmp_path, filters, shards):
    path = tmp_path / "i.zarr"
    to_ngff_zarr(path, made(), version="0.5", filters=filters, chunks_per_shard=shards)
    assert all(array.filters == (TransposeCodec(order=(1, 0)),) for array in arrays(path)) or shards
    assert "transpose" in (path / "1" / "zarr.json").read_text()
    check(path, "0.5")


@pytest.mark.parametrize("shards", [None, 2])
def test_a_serializer(tmp_path, shards):
    path = tmp_path / "i.zarr"
    to_ngff_zarr(path, made(), version="0.5", serializer=BytesCodec(endian="big"), chunks_per_shard=shards)
    assert '"big"' in (path / "0" / "zarr.json").read_text()
    check(path, "0.5")


def test_the_order_of_pixels_in_the_chunks_of_zarr_v2(tmp_path):
    to_ngff_zarr(tmp_path / "i.zarr", made(), order="F")
    assert [array.metadata.order for array in arrays(tmp_path / "i.zarr")] == ["F", "F"]
    check(tmp_path / "i.zarr", "0.4")


@pytest.mark.parametrize("version", VERSIONS)
def test_attributes_are_those_of_the_arrays(tmp_path, version):
    path = tmp_path / "i.zarr"
    to_ngff_zarr(path, made(), version=version, attributes={"made": {"by": ["me", 1]}})
    assert [dict(array.attrs) for array in arrays(path)] == [{"made": {"by": ["me", 1]}}] * 2
    check(path, version)


SAME = [
    {"dimension_separator": "/"},
    {"order": "C"},
    {"filters": None},
    {"filters": []},
    {"filters": "auto"},
    {"serializer": None},
    {"serializer": "auto"},
    {"serializer": BytesCodec(endian="little")},
    {"fill_value": 0},
    {"attributes": None},
    {"attributes": {}},
    {"compute": True},
    {"dimension_names": ["y", "x"]},
    {"shards": None},
    {"write_empty_chunks": False},
    {"consolidated": False},
    {"storage_options": None},
    {"config": None},
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("same", SAME, ids=repr)
def test_what_is_done_anyway_may_be_said(tmp_path, version, same):
    to_ngff_zarr(tmp_path / "a.zarr", made(), version=version, **same)
    to_ngff_zarr(tmp_path / "b.zarr", made(), version=version)
    files = [
        {p.relative_to(tmp_path / n): p.read_bytes() for p in (tmp_path / n).rglob("*") if p.is_file()}
        for n in ("a.zarr", "b.zarr")
    ]
    assert files[0] == files[1]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_version_of_zarr_may_be_said_if_it_is_the_one(tmp_path, version):
    right, wrong = (2, 3) if version == "0.4" else (3, 2)
    for name in ("zarr_format", "zarr_version"):
        to_ngff_zarr(tmp_path / "i.zarr", made(), version=version, **{name: right})
        with pytest.raises(ArgumentError, match="version="):
            to_ngff_zarr(tmp_path / "j.zarr", made(), version=version, **{name: wrong})
    assert not (tmp_path / "j.zarr").exists()


@pytest.mark.parametrize(
    ("version", "wrong", "message"),
    [
        ("0.4", {"dimension_separator": "."}, "nested"),
        ("0.5", {"dimension_separator": "."}, "nested"),
        ("0.4", {"order": "K"}, "'C' or 'F'"),
        ("0.5", {"compute": False}, "compute"),
        ("0.5", {"shards": (32, 32)}, "chunks_per_shard"),
        ("0.5", {"dimension_names": ["a", "b"]}, "the axes are"),
        ("0.4", {"serializer": BytesCodec(endian="big")}, "no serializer"),
        ("0.5", {"serializer": 3}, "codec|compressor"),
        ("0.4", {"filters": [TransposeCodec(order=(1, 0))]}, "zarr v3"),
        ("0.5", {"filters": [numcodecs.Delta("<u2")]}, "zarr v2"),
        ("0.5", {"filters": [3]}, "codec|compressor"),
        ("0.5", {"attributes": 3}, "dict"),
        ("0.5", {"attributes": {"x": object()}}, "attributes"),
        ("0.5", {"write_empty_chunks": True}, "write_empty_chunks"),
        ("0.5", {"colour": "red"}, "unknown arguments: colour"),
    ],
)
def test_what_cannot_be_had_is_an_error_before_anything_is_written(tmp_path, version, wrong, message):
    with pytest.raises(ArgumentError, match=message):
        to_ngff_zarr(tmp_path / "i.zarr", made(), version=version, **wrong)
    assert not [*tmp_path.iterdir()]


# --- chunks and factors ---------------------------------------------------------------------------


@pytest.mark.parametrize("chunks", [16, (16, 16), {"y": 16, "x": 16}, {"y": 16}])
@pytest.mark.parametrize("blocks", [60, 7, (30, 44)])
def test_level_0_of_a_dask_array_has_the_chunks_that_are_asked_for(chunks, blocks):
    image = made(da.from_array(PIXELS, chunks=blocks), chunks=chunks)
    lengths = {"y": 16, "x": 16, **(chunks if isinstance(chunks, dict) else {})}
    if chunks == {"y": 16}:
        lengths["x"] = 44
    assert image.images[0].data.chunksize == (lengths["y"], min(44, lengths["x"]))
    assert np.array_equal(image.images[0].data.compute(), PIXELS)


def test_level_0_of_a_dask_array_keeps_its_blocks_by_default(tmp_path):
    array = da.from_array(PIXELS, chunks=7)
    image = to_multiscales(to_ngff_image(array, dims=("y", "x")), [2])
    assert image.images[0].data.chunks == array.chunks


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("method", [None, "mean", "DASK_IMAGE_NEAREST", "mode", "median"])
@pytest.mark.parametrize(
    "factors", [[1], [1, 2], [2, 2], [1, 1, 4], [{"y": 1}], [{"y": 2}, {"y": 2, "x": 1}]]
)
def test_a_factor_of_1_is_a_level_of_the_same_size(tmp_path, version, method, factors):
    image = made(factors=factors, method=method)
    assert len(image.images) == 1 + len(factors)
    path = tmp_path / "i.zarr"
    to_ngff_zarr(path, image, version=version)
    for k, level in enumerate(image.images):
        assert np.array_equal(zarr.open_array(f"{path}/{k}", mode="r")[...], level.data.compute())
    if factors[0] == 1:
        assert np.array_equal(image.images[1].data.compute(), PIXELS)
        assert image.images[1].scale == image.images[0].scale
        assert image.images[1].translation == image.images[0].translation
    back = from_ngff_zarr(path)
    assert [level.data.shape for level in back.images] == [level.data.shape for level in image.images]
    assert not [*platestore.validate(path).findings]
    assert not [*platestore.check(path, deep=True).findings]


def test_factors_do_not_shrink(tmp_path):
    with pytest.raises(ArgumentError, match="smaller than 2 above"):
        made(factors=[2, 1])


@pytest.mark.filterwarnings("ignore:axis 'x'")
@pytest.mark.parametrize("unit", ["pixel", "a.u."])
def test_a_unit_that_is_not_listed_is_carried_on(tmp_path, unit):
    to_ngff_zarr(tmp_path / "a.zarr", made())
    document = tmp_path / "a.zarr" / ".zattrs"
    content = json.loads(document.read_text())
    content["multiscales"][0]["axes"][1]["unit"] = unit
    document.write_text(json.dumps(content))
    image = from_ngff_zarr(tmp_path / "a.zarr")
    to_ngff_zarr(tmp_path / "b.zarr", image, version="0.5")
    to_ngff_zarr(tmp_path / "c.zarr", to_multiscales(image.images[0], [2]))
    for name in ("b.zarr", "c.zarr"):
        assert from_ngff_zarr(tmp_path / name).images[0].axes_units == {"x": unit}
