"""Whatever stacks, multiscales and xarray write is valid without a remark, and strict readers open it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import tensorstore
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import platestore
from conftest import SHARED, examples
from interop.test_interop_schemas import check_documents
from platestore import multiscales, stacks

xr = pytest.importorskip("xarray")
from platestore.xarray import read_multiscale_group, write_multiscale_group  # noqa: E402 - needs xarray

DTYPES = ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int64", "uint64", "float32", "float64"]
COMPRESSORS = ["blosc-lz4", "blosc-zstd:3", "zstd", "gzip:2", "none", None]
UNITS = {
    "space": ["micrometer", "um", "nm", "Angstrom", "foot", None],
    "time": ["second", "ms", "hours", None],
}
VERSIONS = ["0.4", "0.5"]

runs = settings(max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.too_slow])


def check(path, version, wanted):
    """Nobody finds anything, and every array is what it should be for each reader.

    Parameters
    ----------
    path : Path
        The image.
    version : str
        OME-NGFF version.
    wanted : dict
        Pixels by name of the array; None where only the readers are compared.
    """
    assert [*map(str, platestore.validate(path).findings)] == []
    found = platestore.check(path, deep=True)
    assert found.whole, [*map(str, found.findings)]
    if SHARED is not None:
        assert check_documents(path, version)["image"] == 1
    for name, pixels in wanted.items():
        plain = zarr.open_array(f"{path}/{name}", mode="r")
        driver = "zarr3" if version == "0.5" else "zarr"
        spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{path}/{name}/"}}
        strict = tensorstore.open(spec, open=True, read=True).result()
        assert strict.shape == plain.shape
        assert strict.dtype.numpy_dtype == plain.dtype
        found = strict.read().result()
        np.testing.assert_array_equal(found, plain[...])
        if pixels is not None:
            np.testing.assert_array_equal(found, pixels)


def drawn_pixels(draw, shape, dtype):
    """Pixels of which some are equal, and the extremes among them."""
    seed = draw(st.integers(0, 2**32 - 1))
    noise = np.random.default_rng(seed).integers(0, 200, shape)
    pixels = (noise % 2 if dtype == "bool" else noise).astype(dtype)
    if np.dtype(dtype).kind in "iu" and draw(st.booleans()):
        pixels.flat[0] = np.iinfo(dtype).max
        pixels.flat[-1] = np.iinfo(dtype).min
    return pixels


sizes = st.integers(1, 23)
lengths = st.sampled_from([1, 3, 8, 64])
scales = st.sampled_from([1.0, 0.1, 1e-9, 0.325, 3.0, 1e6]) | st.floats(1e-6, 1e6)
places = st.sampled_from([0.0, -3.5, 1e9]) | st.floats(-1e6, 1e6)


def drawn_dims(draw):
    return draw(st.sampled_from(["yx", "zyx", "cyx", "tyx", "czyx", "tzyx", "tcyx", "tczyx"]))


def unit_of(draw, dim):
    return draw(st.sampled_from(UNITS["time" if dim == "t" else "space"])) if dim != "c" else None


# --- multiscales ----------------------------------------------------------------------------------


@st.composite
def ngff_images(draw):
    dims = drawn_dims(draw)
    order = draw(st.permutations(list(dims)))
    shape = {d: draw(st.integers(1, 3) if d in "tc" else sizes) for d in dims}
    pixels = drawn_pixels(draw, [shape[d] for d in order], draw(st.sampled_from(DTYPES)))
    labels = None
    if "c" in dims:
        labels = draw(st.none() | st.just([f"channel, {i}" for i in range(shape["c"])]))
    image = multiscales.to_ngff_image(
        da.from_array(pixels, chunks=7) if draw(st.booleans()) else pixels,
        dims=order,
        scale={d: draw(scales) for d in dims},
        translation={d: draw(places) for d in dims},
        name=draw(st.sampled_from(["image", "a/b", "µ", "0"])),
        axes_units={d: unit for d in dims if (unit := unit_of(draw, d)) is not None},
        channel_names=labels,
    )
    least = min(n for d, n in shape.items() if d in "zyx")
    factors = draw(st.sampled_from([[], [1], [2], [2, 4], [2, 3], [1, 2]]))
    result = multiscales.to_multiscales(
        image,
        [f for f in factors if f <= least],
        method=draw(st.sampled_from([None, *multiscales.Methods])),
        chunks={d: draw(lengths) for d in dims},
        orientation=draw(st.sampled_from([None, "LPS", "RAS"])),
    )
    return result, pixels.transpose([order.index(d) for d in dims])


@pytest.mark.parametrize("version", VERSIONS)
@runs
@given(data=st.data())
def test_multiscales_are_valid_and_open_everywhere(version, data):
    image, pixels = data.draw(ngff_images())
    options = {
        "compressor": data.draw(st.sampled_from([*COMPRESSORS, {"name": "zstd"}, {"id": "zlib", "level": 1}]))
    }
    if options["compressor"] == {"id": "zlib", "level": 1} and version == "0.5":
        options = {}  # zarr v3 has no such codec
    if version == "0.5":
        options["chunks_per_shard"] = data.draw(st.sampled_from([None, 1, 2, 3]))
    if data.draw(st.booleans()):
        options["fill_value"] = pixels.flat[0].item()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "i.zarr"
        multiscales.to_ngff_zarr(path, image, version=version, **options)
        check(path, version, dict.fromkeys(map(str, range(1, len(image.images)))) | {"0": pixels})
        back = multiscales.from_ngff_zarr(path, version=version)
        again = Path(folder) / "again.zarr"
        multiscales.to_ngff_zarr(again, back, version=version)
        check(again, version, {"0": pixels})


# --- stacks ---------------------------------------------------------------------------------------


@runs
@given(data=st.data())
def test_volumes_are_valid_and_open_everywhere(data):
    shape, chunks = [data.draw(st.tuples(each, each, each)) for each in (sizes, lengths)]
    chunks = tuple(min(c, n) for c, n in zip(chunks, shape, strict=True))
    dtype = data.draw(st.sampled_from(DTYPES))
    pixels = drawn_pixels(data.draw, shape, dtype)
    spec = stacks.ArraySpec(
        shape, dtype, chunks, data.draw(st.sampled_from(COMPRESSORS)), pixels.flat[0].item()
    )
    if data.draw(st.booleans()):
        codecs = [["bytes"], [{"name": "bytes"}, {"name": "zstd"}], [{"name": "bytes"}, {"name": "blosc"}]]
        spec = {
            "shape": shape,
            "data_type": dtype,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
            "codecs": data.draw(st.sampled_from(codecs)),
        }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "v.zarr"
        group = stacks.MultiScaleGroup(
            path,
            name=data.draw(st.sampled_from(["brain", "a b", "µ"])),
            voxel_size=tuple(data.draw(st.tuples(scales, scales, scales))),
            spatial_unit=data.draw(st.sampled_from(["micrometer", "um", "foot"])),
            array_spec=spec,
            **data.draw(st.sampled_from([{}, {"origin": "corner"}])),
        )
        group.add_full_res_data(da.from_array(pixels, chunks=(*shape[:2], 1)), n_processes=1)
        functions = st.sampled_from([stacks.mean, np.mean, np.median, stacks.mode, np.max, "median", np.any])
        for level in range(1, data.draw(st.integers(1, 3))):
            if max(group[level - 1].shape) > 1:
                group.add_downsample_level(level, downsample_func=data.draw(functions))
        check(path, "0.5", dict.fromkeys(map(str, group.levels)) | {"0": pixels})


# --- xarray ---------------------------------------------------------------------------------------


def labelled(draw, dims, shape, dtype):
    coords = {}
    for d, n in shape.items():
        if d == "c":
            coords[d] = [f"channel {i}" for i in range(n)]
            continue
        step, start = draw(st.sampled_from([1.0, 0.25, 3.0, 1e-3])), draw(st.sampled_from([0.0, -8.0, 1e3]))
        unit = unit_of(draw, d)
        coords[d] = (
            d,
            start + step * np.arange(n),
            {"units": unit, "scale": step} if unit else {"scale": step},
        )
    return xr.DataArray(drawn_pixels(draw, list(shape.values()), dtype), coords=coords, dims=list(dims))


@pytest.mark.parametrize("version", VERSIONS)
@runs
@given(data=st.data())
def test_labelled_arrays_are_valid_and_open_everywhere(version, data):
    dims, dtype = drawn_dims(data.draw), data.draw(st.sampled_from(DTYPES))
    shape = {d: data.draw(st.integers(1, 3) if d in "tc" else sizes) for d in dims}
    array = labelled(data.draw, dims, shape, dtype)
    if data.draw(st.booleans()):
        array = array.chunk(5)
    arrays = {data.draw(st.sampled_from(["0", "s0", "scale0/image"])): array}
    if data.draw(st.booleans()):
        arrays["coarse"] = array.isel({d: slice(None, None, 2) for d in dims if d in "yx"})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "i.zarr"
        write_multiscale_group(
            store=path,
            path="",
            arrays=arrays,
            ngff_version=version,
            chunks=data.draw(st.sampled_from(["auto", (3,) * len(dims)])),
            compressor=data.draw(st.sampled_from(COMPRESSORS)),
            fill_value=array.values.flat[0].item(),
        )
        check(path, version, {name: each.values for name, each in arrays.items()})
        found = read_multiscale_group(path)
        again = Path(folder) / "again.zarr"
        write_multiscale_group(store=again, path="", arrays=found, ngff_version=version)
        check(again, version, {name: each.values for name, each in arrays.items()})
