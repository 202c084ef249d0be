"""What arrays are given to xarray as."""

from __future__ import annotations

import pickle

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from xarray_cases import labelled, random

from platestore.errors import ArgumentError
from platestore.xarray import (
    ArrayWrapperSpec,
    BaseArrayWrapper,
    DaskArrayWrapper,
    ZarrArrayWrapper,
    read_multiscale_group,
    write_multiscale_group,
)
from platestore.xarray.pixels import source_of
from platestore.xarray.wrappers import blocks, resolve


@pytest.fixture(params=[2, 3])
def array(request, tmp_path):
    made = zarr.create_array(
        tmp_path / "a.zarr", shape=(20, 30), chunks=(4, 8), dtype="uint16", zarr_format=request.param
    )
    made[...] = random(20, 30)
    return made


@pytest.fixture
def group(tmp_path):
    return write_multiscale_group(
        store=tmp_path / "g.zarr", path="", arrays={"0": labelled("zyx", (2, 8, 6))}
    )


def test_the_array_itself(array):
    assert ZarrArrayWrapper().wrap(array) is array


def test_dask(array):
    wrapped = DaskArrayWrapper().wrap(array)
    assert isinstance(wrapped, dask.array.Array)
    assert wrapped.dtype == array.dtype
    np.testing.assert_array_equal(wrapped.compute(), array[...])


def test_defaults_are_those_of_the_documents():
    wrapper = DaskArrayWrapper()
    assert (wrapper.chunks, wrapper.meta, wrapper.inline_array, wrapper.naming) == (
        "auto",
        None,
        True,
        "auto",
    )


@pytest.mark.parametrize("chunks", [5, (5, 30), ((4, 16), (30,)), -1, "1KiB"])
def test_chunks_are_those_of_dask(array, chunks):
    expected = dask.array.core.normalize_chunks(
        chunks, array.shape, dtype=array.dtype, previous_chunks=(4, 8)
    )
    wrapped = DaskArrayWrapper(chunks=chunks).wrap(array)
    assert wrapped.shape == array.shape
    if chunks != "1KiB":
        assert wrapped.chunks == expected
    np.testing.assert_array_equal(wrapped.compute(), array[...])


def test_the_array_can_stay_out_of_the_tasks(array):
    inside, outside = (DaskArrayWrapper(chunks=4, inline_array=i).wrap(array) for i in (True, False))
    assert len(dict(outside.dask)) == len(dict(inside.dask)) + 1
    np.testing.assert_array_equal(inside.compute(), outside.compute())


def test_meta(array):
    wrapped = DaskArrayWrapper(meta=np.empty((0, 0), "uint16")).wrap(array)
    assert wrapped.dtype == "uint16"


@pytest.mark.parametrize("naming", ["auto", "array_url"])
def test_two_wraps_with_other_chunks_can_be_combined(array, naming):
    """Names that do not tell them apart would mix their blocks."""
    one = DaskArrayWrapper(chunks=(4, 30), naming=naming).wrap(array)
    other = DaskArrayWrapper(chunks=(20, 8), naming=naming).wrap(array)
    assert one.name != other.name
    np.testing.assert_array_equal((one.astype("int64") + other).compute(), 2 * array[...].astype("int64"))


def test_names_by_url(array):
    named = DaskArrayWrapper(naming="array_url")
    assert named.wrap(array).name == named.wrap(array).name
    assert "a.zarr" in named.wrap(array).name
    assert DaskArrayWrapper().wrap(array).name != DaskArrayWrapper().wrap(array).name
    before = named.wrap(array).name
    array.resize((24, 30))
    assert named.wrap(array).name != before
    with pytest.raises(ArgumentError, match="auto, array_url"):
        DaskArrayWrapper(naming="url")


@settings(deadline=None)
@given(
    shape=st.lists(st.integers(1, 300), min_size=1, max_size=4),
    unit=st.lists(st.integers(1, 64), min_size=4, max_size=4),
    limit=st.integers(1, 10**6),
)
def test_automatic_blocks_are_whole_units(shape, unit, limit):
    units = unit[: len(shape)]
    with dask.config.set({"array.chunk-size": f"{limit}B"}):
        sizes = blocks(shape, units, 2)
    assert all(s % u == 0 or s == n for s, u, n in zip(sizes, units, shape, strict=True))
    one = [min(u, n) for u, n in zip(units, shape, strict=True)]
    assert np.prod(sizes) * 2 <= max(limit, np.prod(one) * 2)


# --- specifications -------------------------------------------------------------------------------


def test_dictionaries():
    spec: ArrayWrapperSpec = {"name": "dask_array", "config": {"chunks": 10, "naming": "array_url"}}
    assert resolve(spec) == DaskArrayWrapper(chunks=10, naming="array_url")
    assert resolve({"name": "zarr_array", "config": {}}) == ZarrArrayWrapper()
    assert resolve({"name": "dask_array"}) == DaskArrayWrapper()


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"name": "dask"}, "zarr_array, dask_array"),
        ({}, "zarr_array, dask_array"),
        ({"name": "dask_array", "config": {"chunk": 1}}, "chunks, meta, inline_array, naming"),
        ({"name": "zarr_array", "config": {"chunks": 1}}, "it has none"),
        ({"name": "dask_array", "config": [1]}, "dictionary"),
        ({"name": "dask_array", "conf": {}}, "conf"),
        ({"name": "dask_array", "config": {"naming": "x"}}, "auto, array_url"),
        ("dask_array", "DaskArrayWrapper"),
        (DaskArrayWrapper, "DaskArrayWrapper"),
        (None, "DaskArrayWrapper"),
    ],
)
def test_wrong_ones_are_errors_that_say_what_is_right(spec, named):
    with pytest.raises(ValueError, match=r"wrapper|naming") as caught:
        resolve(spec)
    assert isinstance(caught.value, ArgumentError)
    assert named in str(caught.value)


# --- any other wrapper ----------------------------------------------------------------------------


class Doubled(BaseArrayWrapper):
    def wrap(self, array):
        return array[...] * 2


class Duck:
    def wrap(self, array):
        return array[...] + 1


class Cut:
    def wrap(self, array):
        return array[0]


def test_the_extension_point(group):
    expected = group["0"][...]
    np.testing.assert_array_equal(read_multiscale_group(group, Doubled())["0"], expected * 2)
    np.testing.assert_array_equal(read_multiscale_group(group, Duck())["0"], expected + 1)
    with pytest.raises(TypeError, match="abstract"):
        BaseArrayWrapper()


def test_a_wrapper_that_changes_the_shape_is_refused(group):
    with pytest.raises(ArgumentError, match="shape"):
        read_multiscale_group(group, Cut())


# --- arrays on disk in xarray ---------------------------------------------------------------------


def test_zarr_arrays_are_read_when_values_are_asked_for(group, monkeypatch):
    expected = group["0"][...]
    lazy = read_multiscale_group(group)["0"]
    part = lazy.isel(z=1, y=slice(None, None, -2), x=[3, 0])
    assert not lazy.variable._in_memory
    assert not part.variable._in_memory
    np.testing.assert_array_equal(part, expected[1, ::-2][:, [3, 0]])
    points = lazy.isel(y=xr.DataArray([0, 5], dims="p"), x=xr.DataArray([2, 3], dims="p"))
    np.testing.assert_array_equal(points, expected[:, [0, 5], [2, 3]])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(lazy)), expected)
    assert "uint16" in repr(lazy)


def test_a_writer_knows_how_they_are_best_read(group):
    whole = read_multiscale_group(group)["0"]
    part = source_of(whole.isel(z=[1]))
    assert part.shape == (1, 8, 6)
    assert part.chunks == group["0"].chunks
    assert source_of(whole.isel(z=1)).chunks is None  # fewer dimensions: how, it does not know
    np.testing.assert_array_equal(part[:, 2:4], group["0"][1:, 2:4])


def test_assigning_to_what_was_read_changes_no_file(group):
    expected = group["0"][...]
    lazy = read_multiscale_group(group)["0"]
    lazy[0, 0, 0] = 999
    assert int(lazy[0, 0, 0]) == 999
    np.testing.assert_array_equal(group["0"][...], expected)
