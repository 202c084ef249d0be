"""The gaussian: against a reference in plain numpy, whatever the block, layout and budget."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import examples
from platestore.pyramid.gaussian import halo, reduce_gaussian, sigma, taps, weights
from platestore.pyramid.windows import influenced, needed, reduce_region
from pyramid.pyramid_store import DTYPES, image_of, multiscales, noise, stored


def kernel(factor: int) -> np.ndarray:
    """All weights of an axis, from the documented formula."""
    width = math.sqrt((factor**2 - 1) / (2 * math.sqrt(2 * math.log(2))) ** 2)
    middle = (factor - 1) / 2
    places = np.arange(-50, 51 + factor)
    distance = np.abs(places - middle)
    values = np.where(distance <= 4 * width, np.exp(-(distance**2) / (2 * width**2)), 0)
    return values[values > 0] / values.sum()


def reference(data: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """In double precision, axis by axis, the edge repeated."""
    out = data.astype("f8")
    for axis, factor in enumerate(factors):
        if factor == 1:
            continue
        window = kernel(factor)
        count = -(-out.shape[axis] // factor)
        before = (len(window) - factor) // 2
        after = count * factor + before - out.shape[axis]
        widths = [(before, after) if i == axis else (0, 0) for i in range(out.ndim)]
        padded = np.pad(out, widths, mode="edge")
        out = sum(w * np.take(padded, np.arange(count) * factor + k, axis) for k, w in enumerate(window))
    return out


def assert_near(got: np.ndarray, exact: np.ndarray) -> None:
    if got.dtype.kind in "iu":
        limits = np.iinfo(got.dtype)
        # Half a unit of rounding, and the digits of 32-bit floats.
        slack = 0.5 + 2e-3 if got.dtype.itemsize <= 2 else 0.5 + np.abs(exact).max() * 1e-13
        assert np.abs(got.astype("f8") - np.clip(exact, limits.min, limits.max)).max() <= slack
    elif got.dtype.kind == "b":
        clear = np.abs(exact - 0.5) > 1e-4
        np.testing.assert_array_equal(got[clear], (exact > 0.5)[clear])
    else:
        digits = {2: 2e-3, 4: 1e-5, 8: 1e-12}[got.dtype.itemsize]
        np.testing.assert_allclose(got.astype("f8"), exact, rtol=digits, atol=digits * np.abs(exact).max())


@pytest.mark.parametrize("factor", range(2, 12))
def test_weights_are_those_of_the_documented_width(factor):
    half = np.array(weights(factor))
    whole = np.concatenate([half, half[::-1][factor % 2 :]])
    np.testing.assert_allclose(whole, kernel(factor), rtol=1e-12)
    assert len(whole) == taps(factor) == factor + 2 * halo(factor)
    assert sigma(factor) == pytest.approx(math.sqrt((factor**2 - 1) / (8 * math.log(2))))


@pytest.mark.parametrize("dtype", [*DTYPES, "int8", "int32", "uint64", "float16", ">u2", ">f4"])
def test_every_type(dtype):
    data = noise(dtype, (5, 18, 33), seed=3)
    if np.dtype(dtype).itemsize == 8 and np.dtype(dtype).kind in "iu":
        data = data // 2**12  # what doubles tell apart
    out = np.empty((3, 6, 17), data.dtype.newbyteorder("="))
    reduce_gaussian(data, (0, 0, 0), (2, 3, 2), out)
    assert_near(out, reference(data, (2, 3, 2)))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32"])
def test_what_is_constant_stays_so_up_to_the_largest_value(dtype):
    limits = np.iinfo(dtype)
    for value in (limits.min, limits.max, 1):
        out = np.empty((4, 5), dtype)
        reduce_gaussian(np.full((7, 9), value, dtype), (0, 0), (2, 2), out)
        assert (out == value).all()


def test_nan_stays_where_its_windows_are():
    data = np.ones((20, 20), "float32")
    data[9, 9] = np.nan
    out = np.empty((10, 10), "float32")
    reduce_gaussian(data, (0, 0), (2, 2), out)
    assert np.isnan(out[4, 4])
    assert np.isfinite(out[:2]).all()
    assert np.isfinite(out[:, 8:]).all()


@settings(deadline=None, max_examples=examples(60))
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(1, 70)),
    factors=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5)),
    where=st.tuples(*[st.floats(0, 1)] * 6),
    dtype=st.sampled_from(["uint8", "uint16", "float32", "float64"]),
)
def test_a_part_has_the_pixels_of_the_whole(shape, factors, where, dtype):
    data = noise(dtype, shape)
    sizes = [-(-n // f) for n, f in zip(shape, factors, strict=True)]
    whole = np.empty(sizes, dtype)
    reduce_gaussian(data, (0, 0, 0), factors, whole)
    region = []
    for i, n in enumerate(sizes):
        a, b = sorted((int(where[2 * i] * n), int(where[2 * i + 1] * n)))
        region.append(slice(min(a, n - 1), max(min(a, n - 1) + 1, b)))
    part = needed(tuple(region), shape, factors, "gaussian")
    found = reduce_region(data[part], part, shape, tuple(region), factors, "gaussian")
    np.testing.assert_array_equal(found, whole[tuple(region)])


def test_what_a_pixel_influences():
    data = np.zeros((64, 64), "float64")
    for place in ((0, 0), (31, 40), (63, 17)):
        one = data.copy()
        one[place] = 1e9
        out = np.empty((32, 22), "float64")
        reduce_gaussian(one, (0, 0), (2, 3), out)
        region = influenced(tuple(slice(p, p + 1) for p in place), (64, 64), (2, 3), "gaussian")
        outside = out.copy()
        outside[region] = 0
        assert not outside.any()
        assert out[region].any()


# --- levels -----------------------------------------------------------------------------------------


def cascade(data: np.ndarray, steps: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """The kernel, level by level, each level at once."""
    levels = [data]
    for step in steps:
        out = np.empty([-(-n // f) for n, f in zip(levels[-1].shape, step, strict=True)], data.dtype)
        reduce_gaussian(levels[-1], (0,) * data.ndim, step, out)
        levels.append(out)
    return levels


@settings(deadline=None, max_examples=examples(40))
@given(
    version=st.sampled_from(["0.4", "0.5"]),
    shape=st.tuples(st.integers(1, 2), st.integers(1, 11), st.integers(1, 41), st.integers(1, 37)),
    chunks=st.tuples(st.integers(1, 2), st.integers(1, 6), st.integers(1, 17), st.integers(1, 40)),
    ratio=st.none() | st.tuples(*[st.integers(1, 3)] * 4),
    steps=st.lists(
        st.tuples(st.just(1), st.integers(1, 2), st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=3
    ),
    workers=st.integers(1, 3),
    created=st.booleans(),
)
def test_levels_of_any_layout(tmp_path_factory, version, shape, chunks, ratio, steps, workers, created):
    path = tmp_path_factory.mktemp("g") / "i.zarr"
    data = noise("uint16", shape)
    layout = {"chunks": chunks, "shards_ratio": ratio if version == "0.5" else None}
    with ps.config.using(threads=workers):
        if created:
            pyramid = {
                "pyramid_levels": len(steps) + 1,
                "pyramid_method": "gaussian",
                "pyramid_factors": steps,
            }
            image_of(path, version, data, "CZYX", **layout, **pyramid)
        else:
            image_of(path, version, data, "CZYX", **layout).compute_pyramid(
                len(steps) + 1, "gaussian", factors=steps
            )
    effective, current = [], shape
    for step in steps:
        effective.append([1 if n == 1 else f for n, f in zip(current, step, strict=True)])
        current = tuple(-(-n // f) for n, f in zip(current, effective[-1], strict=True))
    for got, level in zip(stored(path).values(), cascade(data, effective), strict=True):
        np.testing.assert_array_equal(got, level)


def test_a_region_is_made_anew_with_what_it_reaches(version, tmp_path):
    data = noise("uint16", (16, 96, 96))
    position = image_of(tmp_path / "i.zarr", version, data, chunks=(4, 16, 16))
    position.compute_pyramid(3, "gaussian")
    region = (slice(5, 7), slice(30, 41), slice(60, 63))
    data[region] = 60000
    position["0"][region] = 60000
    position.compute_pyramid(method="gaussian", region=region)
    for got, level in zip(stored(tmp_path / "i.zarr").values(), cascade(data, [(2, 2, 2)] * 2), strict=True):
        np.testing.assert_array_equal(got, level)


def test_the_document_says_how(version, tmp_path):
    position = image_of(tmp_path / "i.zarr", version, noise("uint8", (8, 64, 64)))
    position.compute_pyramid(2, "gaussian")
    assert position.get_effective_translation("1") == [0.5, 0.5, 0.5]
    assert multiscales(tmp_path / "i.zarr")["type"] == "gaussian"
    again = ps.open_ome_zarr(tmp_path / "i.zarr", mode="r+")
    again.compute_pyramid(2, "gaussian")
