"""The pixels of levels: by plain numpy, lazily, and as they are written."""

from __future__ import annotations

import itertools
import math

import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import examples
from multiscales.level_reference import gaussian, noise, reduced, smoothed
from platestore.arrays.sources import as_source
from platestore.multiscales import to_multiscales, to_ngff_image, to_ngff_zarr
from platestore.multiscales.sources import SourceArray

METHODS = ["gaussian", "mean", "mode", "stride", "median", "min", "max"]


def stored(path):
    group = zarr.open_group(path, mode="r")
    names = sorted(group.array_keys())
    return [group[name][...] for name in names]


def expected(pixels, factors, method):
    """Levels by whole steps; those that do not nest are made of level 0."""
    levels, rows = [pixels], [1]
    for f in factors:
        parent = max((k for k, g in enumerate(rows) if f % g == 0), key=lambda k: rows[k])
        levels.append(reduced(levels[parent], (f // rows[parent],) * pixels.ndim, method))
        rows.append(f)
    return levels


def same(found, wanted, method):
    if method == "gaussian":  # sums of 32-bit floats may round the other way
        difference = found.astype("int64") - wanted
        assert np.abs(difference).max() <= 1
        assert np.count_nonzero(difference) <= max(2, difference.size // 50)
    else:
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("method", METHODS)
def test_levels_are_those_of_plain_numpy(method, tmp_path):
    pixels = noise((7, 29, 41))
    made = to_multiscales(pixels, [2, 4], method=method, chunks=8)
    to_ngff_zarr(tmp_path / "a.zarr", made, version="0.5")
    for k, (found, lazy) in enumerate(zip(stored(tmp_path / "a.zarr"), made.images, strict=True)):
        np.testing.assert_array_equal(found, lazy.data)
        above = pixels if k == 0 else reduced(stored(tmp_path / "a.zarr")[k - 1], (2, 2, 2), method)
        same(found, above, method)


@pytest.mark.parametrize("method", METHODS)
def test_ladders_that_do_not_nest(method, tmp_path):
    pixels = noise((37, 53), "uint8")
    made = to_multiscales(pixels, [2, 3, 4, 6], method=method, chunks=16)
    to_ngff_zarr(tmp_path / "a.zarr", made)
    wanted = expected(pixels, [2, 3, 4], method)
    for found, lazy, level in zip(stored(tmp_path / "a.zarr"), made.images, wanted, strict=False):
        np.testing.assert_array_equal(found, lazy.data)
        if method != "gaussian":
            np.testing.assert_array_equal(found, level)
    last = stored(tmp_path / "a.zarr")[4]
    np.testing.assert_array_equal(last, made.images[4].data)
    same(last, reduced(stored(tmp_path / "a.zarr")[2], (2, 2), method), method)


@pytest.mark.parametrize("factor", [2, 3, 4, 5])
def test_the_reference_s_weights_are_scipy_s(factor):
    pixels = noise((45, 60), "float64")
    sigma = math.sqrt((factor**2 - 1) / (2 * math.sqrt(2 * math.log(2))) ** 2)
    if factor % 2:  # the middle of a window is a pixel
        wanted = smoothed(pixels, sigma)[factor // 2 :: factor, factor // 2 :: factor]
        np.testing.assert_allclose(gaussian(pixels, (factor, factor)), wanted, rtol=1e-2)
    found = np.asarray(to_multiscales(pixels, [factor]).images[1].data)
    np.testing.assert_allclose(found, gaussian(pixels, (factor, factor)), rtol=1e-9)


def test_a_constant_stays_one_and_a_ramp_keeps_its_middle():
    ramp = np.broadcast_to(np.arange(64.0), (64, 64))
    level = np.asarray(to_multiscales(ramp, [4]).images[1].data)
    np.testing.assert_allclose(level[:, 3:-3], np.broadcast_to(np.arange(16) * 4 + 1.5, (16, 16))[:, 3:-3])
    flat = np.full((33, 35), 41235, "uint16")
    for level in to_multiscales(flat, [2, 4]).images:
        assert np.unique(level.data.compute()) == [41235]


@pytest.mark.parametrize("method", METHODS)
def test_places_of_pixels(method):
    image = to_ngff_image(
        np.zeros((2, 16, 32)), dims="cyx", scale={"y": 0.5, "x": 2}, translation={"y": 10, "c": 3}
    )
    made = to_multiscales(image, [{"y": 2}, {"y": 4, "x": 3}], method=method)
    shift = 0 if method == "stride" else 1
    scales = [{"c": 1, "y": 0.5, "x": 2}, {"c": 1, "y": 1, "x": 2}, {"c": 1, "y": 2, "x": 6}]
    offsets = [(3, 10, 0), (3, 10 + shift * 0.25, 0), (3, 10 + shift * 0.75, shift * 2)]
    assert [level.scale for level in made.images] == scales
    assert [tuple(level.translation.values()) for level in made.images] == offsets
    for k, dataset in enumerate(made.metadata.datasets):
        assert dataset.path == str(k)
        scale, translation = dataset.coordinateTransformations
        assert (scale.type, scale.scale) == ("scale", list(scales[k].values()))
        assert (translation.type, tuple(translation.translation)) == ("translation", offsets[k])


# --- lazily ---------------------------------------------------------------------------------------


class Watched:
    """An array that counts what is read of it."""

    def __init__(self, pixels, chunks):
        self.pixels, self.chunks = pixels, chunks
        self.shape, self.dtype, self.ndim = pixels.shape, pixels.dtype, pixels.ndim
        self.read = np.zeros(pixels.shape, int)

    def __getitem__(self, index):
        self.read[index] += 1
        return self.pixels[index]


def test_nothing_is_read_before_it_is_used(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = Watched(noise((8, 64, 64)), (1, 64, 64))
    made = to_multiscales(to_ngff_image(source), [2, 4], chunks=16)
    assert not source.read.any()
    assert not list(tmp_path.iterdir())
    made.images[2].data[0, :4, :4].compute()
    assert source.read.any()
    assert not source.read[:, 40:].any()


@pytest.mark.parametrize("method", ["mean", "mode", "stride"])
def test_writing_reads_each_pixel_once(method, tmp_path):
    source = Watched(noise((8, 70, 66)), (1, 70, 66))
    made = to_multiscales(source, [2, 4, 8], chunks=16, method=method)
    to_ngff_zarr(tmp_path / "a.zarr", made, version="0.5", chunks_per_shard=2)
    assert (source.read == 1).all()


@given(data=st.data())
@settings(max_examples=examples(40), deadline=None)
def test_any_part_of_a_lazy_level_is_that_part_of_the_level(data):
    shape = data.draw(st.tuples(*[st.integers(1, 24)] * 3))
    method = data.draw(st.sampled_from(METHODS))
    pixels = noise(shape, "int16", seed=1)
    factors = [{d: min(f, n) for d, n in zip("zyx", shape, strict=True)} for f in (2, 6)]
    factors = [f for f in factors if set(f.values()) != {1}]
    made = to_multiscales(pixels, factors[:1], method=method)
    level = made.images[-1]
    whole = level.data.compute()
    picks = [data.draw(st.one_of(st.integers(-n, n - 1), st.slices(n))) for n in whole.shape]
    if data.draw(st.booleans()):  # a list, which numpy puts in front of integers
        axis = data.draw(st.integers(0, 2))
        picks = [p if isinstance(p, slice) else slice(None) for p in picks]
        picks[axis] = data.draw(st.lists(st.integers(0, whole.shape[axis] - 1), min_size=1, max_size=3))
    found = SourceArray(as_source(level._pixels()))[tuple(picks)]
    np.testing.assert_array_equal(found, whole[tuple(picks)])


def test_lazy_levels_with_dask_of_all_kinds():
    pixels = noise((3, 40, 50))
    made = to_multiscales(da.from_array(pixels, chunks=(1, 13, 17)), [2], method="mean")
    wanted = reduced(pixels, (2, 2, 2), "mean")
    level = made.images[1].data
    np.testing.assert_array_equal(level, wanted)
    np.testing.assert_array_equal(level[0], wanted[0])
    np.testing.assert_array_equal(level[:, ::-3, [2, 0]], wanted[:, ::-3, [2, 0]])
    np.testing.assert_array_equal(level[:, level[0, :, 0].compute() > 100], wanted[:, wanted[0, :, 0] > 100])
    with dask.config.set(scheduler="sync"):
        assert (level + 1).max().compute() == wanted.max() + 1


def test_the_graph_of_a_huge_image_is_small():
    image = da.zeros((1, 1, 4096, 65536, 65536), chunks=(1, 1, 64, 8192, 8192), dtype="u1")  # 16 TiB
    made = to_multiscales(image, method="mean")
    assert made.images[-1].data.shape == (1, 1, 128, 128, 128)
    assert all(len(level.data.__dask_graph__().layers) <= 2 for level in made.images)


# --- every voxel is written ---------------------------------------------------------------------------


PRIMES = [2, 3, 5, 7, 13, 31]


@given(
    shape=st.lists(st.sampled_from(PRIMES), min_size=2, max_size=4).filter(lambda s: math.prod(s) < 10_000),
    chunk=st.integers(4, 20),
    shard=st.integers(1, 3),
    factors=st.sampled_from([[2], [2, 4], [3], [2, 3]]),
    method=st.sampled_from(METHODS),
    budget=st.sampled_from(["24MiB", "1GiB"]),
    form=st.sampled_from(["numpy", "dask", "transposed"]),
)
@settings(max_examples=examples(40), deadline=None)
def test_every_voxel_of_every_level(shape, chunk, shard, factors, method, budget, form, tmp_path_factory):
    pixels = noise(tuple(shape), seed=3) + np.uint16(1)  # nothing is the fill value
    dims = "tczyx"[5 - len(shape) :] if len(shape) > 3 else "zyx"[3 - len(shape) :]
    spatial = [n for d, n in zip(dims, shape, strict=True) if d in "zyx"]
    factors = [f for f in factors if f <= min(spatial)]
    data = da.from_array(pixels, chunks=7) if form == "dask" else pixels
    if form == "transposed":
        data, dims = pixels.transpose(), dims[::-1]
    made = to_multiscales(to_ngff_image(data, dims=dims), factors, method=method, chunks=chunk)
    path = tmp_path_factory.mktemp("every") / "a.zarr"
    to_ngff_zarr(path, made, version="0.5", chunks_per_shard=shard, max_memory=budget, workers=2)
    found = stored(path)
    np.testing.assert_array_equal(found[0], pixels)
    for level, lazy in zip(found, made.images, strict=True):
        assert level.all()
        np.testing.assert_array_equal(level, lazy.data)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_bytes_do_not_depend_on_the_budget_or_the_threads(version, tmp_path):
    pixels = noise((13, 97, 101))
    files = []
    for k, (budget, workers) in enumerate(itertools.product(("24MiB", "1GiB"), (1, 3))):
        made = to_multiscales(da.from_array(pixels, chunks=(1, 50, 101)), [2, 4], chunks=24)
        path = tmp_path / f"{k}.zarr"
        to_ngff_zarr(path, made, version=version, max_memory=budget, workers=workers)
        files.append({p.relative_to(path): p.read_bytes() for p in path.rglob("*") if p.is_file()})
    assert all(f == files[0] for f in files[1:])


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint32", "int64", "uint64", "float16", "float32", ">u2", ">f8"]
)
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_types_of_pixels(dtype, version, tmp_path):
    pixels = noise((20, 30)).astype(dtype)
    for method in ("mean", "gaussian", "mode"):
        made = to_multiscales(pixels, [2], method=method)
        to_ngff_zarr(tmp_path / "a.zarr", made, version=version)
        found = stored(tmp_path / "a.zarr")
        assert found[1].dtype == np.dtype(dtype).newbyteorder("=")
        np.testing.assert_array_equal(found[0], pixels)
        np.testing.assert_array_equal(found[1], made.images[1].data)
