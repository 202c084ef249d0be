"""Writing parts: channels, time points, growth, and everything that does not fit."""

from __future__ import annotations

import collections
import tempfile
from pathlib import Path

import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from xarray_cases import CHANNELS, labelled, position, random

import platestore as ps
from conftest import examples
from nodes.store_helpers import ome, snapshot
from platestore import TransformationMeta
from platestore.errors import ArgumentError, ReadOnlyError
from platestore.spec import pyramids
from platestore.storage.local import LocalStorage
from platestore.xarray.regions import pieces


def refused(p, array, match, image="0"):
    """Expect an error, and a store as it was; returns the message."""
    root = Path(p.__editor__().location.storage.url)
    before = snapshot(root)
    with pytest.raises(ValueError, match=match) as caught:
        p.write_xarray(array, image)
    assert isinstance(caught.value, ArgumentError)
    assert caught.value.hint
    assert snapshot(root) == before
    return str(caught.value)


# --- parts of an image ----------------------------------------------------------------------------


@st.composite
def sequences(draw):
    """Writes of channels and time points of one image, one after the other."""
    times, channels = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    writes = []
    for _ in range(draw(st.integers(1, 4))):
        t = draw(st.lists(st.integers(0, times - 1), min_size=1, max_size=times, unique=True))
        c = draw(st.permutations(range(channels)))[: draw(st.integers(1, channels))]
        writes.append((t, list(c), draw(st.sampled_from(["numpy", "dask", "lazy"]))))
    layout = draw(st.sampled_from([None, (2, 1), (1, 2), (3, 3)]))
    return times, channels, writes, layout, draw(st.sampled_from(["0.4", "0.5"]))


@settings(deadline=None, max_examples=examples(60))
@given(case=sequences(), begin=st.floats(-100, 100), step=st.floats(0.01, 100))
def test_parts_in_any_order_against_numpy(case, begin, step):
    times, channels, writes, layout, version = case
    names = [f"channel {i}" for i in range(channels)]
    t = xr.DataArray(np.arange(times) * step + begin, dims="t", attrs={"scale": step, "translation": begin})
    whole = xr.DataArray(
        random(times, channels, 5, 4), dims=list("tcyx"), coords={"t": t, "c": names, "y": np.arange(5) * 0.5}
    )
    with tempfile.TemporaryDirectory() as directory:
        p = position(Path(directory, "a.zarr"), "tcyx", version, names)
        expected = np.zeros((0, channels, 5, 4), whole.dtype)
        if layout is not None:  # an image that exists, with chunks of several time points and channels
            chunks, steps = (*layout, 3, 2), p_steps(step, begin)
            p.create_zeros("0", (1, channels, 5, 4), "uint16", chunks=chunks, transform=steps)
            expected = np.zeros((1, channels, 5, 4), whole.dtype)
        for chosen_t, chosen_c, kind in writes:
            part = whole.isel(t=chosen_t, c=chosen_c)
            if kind == "dask":
                part = part.chunk({"t": 1, "y": 2})
            p.write_xarray(part)
            longer = max(len(expected), max(chosen_t) + 1)
            expected = np.concatenate(
                [expected, np.zeros((longer - len(expected), channels, 5, 4), "uint16")]
            )
            expected[np.ix_(chosen_t, chosen_c)] = part.values
        np.testing.assert_array_equal(p["0"][...], expected)
        x = ps.open_ome_zarr(Path(directory, "a.zarr")).to_xarray()
        np.testing.assert_allclose(x.t, np.arange(len(expected)) * step + begin, rtol=1e-12, atol=1e-9)
        assert x.c.values.tolist() == names


def p_steps(step, begin):
    return [
        TransformationMeta(type="scale", scale=[step, 1, 0.5, 1]),
        TransformationMeta(type="translation", translation=[begin, 0, 0, 0]),
    ]


def test_channels_go_to_their_own_indices(tmp_path):
    p = position(tmp_path / "a.zarr")
    whole = labelled()
    p.write_xarray(whole.sel(c=["mCherry", "DAPI"]))
    assert p["0"].shape == whole.shape
    np.testing.assert_array_equal(p["0"][:, [0, 2]], whole[:, [0, 2]])
    assert not p["0"][:, 1].any()
    p.write_xarray(whole.sel(c=["GFP"]))
    np.testing.assert_array_equal(p["0"][...], whole)


def test_the_image_grows_with_time(tmp_path, version):
    p = position(tmp_path / "a.zarr", version=version)
    whole = labelled(shape=(5, 3, 2, 8, 6))
    whole.t.attrs["scale"] = 2.5
    p.write_xarray(whole.isel(t=[0]))
    assert p["0"].shape[0] == 1
    p.write_xarray(whole.isel(t=[3]).assign_coords(t=[7.5001]))  # the clock is not exact
    assert p["0"].shape[0] == 4
    p.write_xarray(whole.isel(t=[4, 1]))
    p.write_xarray(whole.isel(t=[2]))
    np.testing.assert_array_equal(p["0"][...], whole)
    np.testing.assert_array_equal(p.to_xarray().t, [0, 2.5, 5, 7.5, 10])


def test_time_points_of_a_read_array_keep_their_place(tmp_path):
    p = position(tmp_path / "a.zarr")
    p.write_xarray(labelled(shape=(5, 3, 2, 8, 6)))
    q = position(tmp_path / "b.zarr")
    q.write_xarray(p.to_xarray().isel(t=[3]))
    assert q["0"].shape[0] == 4
    q.write_xarray(p.to_xarray().isel(t=[0, 1, 4]))
    q.write_xarray(p.to_xarray().isel(t=[2]))
    xr.testing.assert_identical(q.to_xarray().rename(None), p.to_xarray().rename(None))


def test_one_time_point_takes_over_the_scale_of_the_next_ones(tmp_path):
    p = position(tmp_path / "a.zarr", "tyx", channels=[])
    plain = xr.DataArray(random(1, 4, 4), dims=list("tyx"), coords={"t": [10.0]})
    p.write_xarray(plain)
    later = xr.DataArray([15.0], dims="t", attrs={"scale": 5.0})
    p.write_xarray(plain.assign_coords(t=later))
    assert p["0"].shape[0] == 2
    np.testing.assert_array_equal(p.to_xarray().t, [10, 15])


def test_a_scale_that_cannot_be_known_must_be_stated(tmp_path):
    p = position(tmp_path / "a.zarr")
    whole = labelled(shape=(5, 3, 2, 8, 6))
    p.write_xarray(whole.isel(t=[0]))
    assert 'attrs["scale"]' in refused(p, whole.isel(t=[1]), "only time point")
    p.write_xarray(whole.isel(t=[1, 2]))  # two of them tell
    p.write_xarray(whole.isel(t=[4]))
    np.testing.assert_array_equal(p.to_xarray().t, whole.t)


def test_without_coordinates_everything_is_one(tmp_path):
    p = position(tmp_path / "a.zarr")
    array = xr.DataArray(random(2, 3, 1, 4, 4), dims=list("tczyx"))
    p.write_xarray(array)
    assert p.get_effective_scale("0") == [1] * 5
    assert p.get_effective_translation("0") == [0] * 5
    p.write_xarray(array + 1)
    np.testing.assert_array_equal(p["0"][...], array + 1)


def test_channels_of_a_position_without_names_are_named(tmp_path, version):
    p = position(tmp_path / "a.zarr", "cyx", version, [])
    p.write_xarray(labelled("cyx", (3, 8, 6)))
    again = ps.open_ome_zarr(tmp_path / "a.zarr")
    assert again.channel_names == CHANNELS
    assert [c["label"] for c in ome(tmp_path / "a.zarr")["omero"]["channels"]] == CHANNELS


def test_every_second_time_point_leaves_places_or_does_not(tmp_path):
    p = position(tmp_path / "a.zarr")
    p.write_xarray(labelled(shape=(5, 3, 2, 8, 6)))
    half = p.to_xarray().isel(t=slice(None, None, 2))
    q, r = position(tmp_path / "b.zarr"), position(tmp_path / "c.zarr")
    q.write_xarray(half)
    assert q["0"].shape[0] == 5
    del half.t.attrs["scale"]
    r.write_xarray(half)
    assert r["0"].shape[0] == 3
    np.testing.assert_array_equal(r.to_xarray().t, [0, 5, 10])


def test_label_images(tmp_path):
    p = position(tmp_path / "a.zarr")
    p.write_xarray(labelled())
    label = p.create_label("nuclei", np.ones((3, 1, 2, 8, 6), "uint8"))
    label.write_xarray(label.to_xarray().isel(t=[1]) * np.uint8(7))
    assert [int(label["0"][t].max()) for t in range(3)] == [1, 7, 1]


def test_scale_of_the_position_stays_its_own(tmp_path):
    p = position(tmp_path / "a.zarr", "yx", channels=[])
    outer = [
        TransformationMeta(type="scale", scale=[2.0, 4.0]),
        TransformationMeta(type="translation", translation=[10.0, 20.0]),
    ]
    p.set_transform("*", outer)
    array = labelled("yx", (8, 6))
    p.write_xarray(array)
    assert p.get_effective_scale("*") == [2, 4]
    x = p.to_xarray()
    np.testing.assert_allclose(x.x, array.x, rtol=1e-14)
    np.testing.assert_allclose(x.y, array.y, rtol=1e-14)


def test_two_images_of_one_position(tmp_path):
    p = position(tmp_path / "a.zarr", "yx", channels=[])
    p.set_transform("*", [TransformationMeta(type="scale", scale=[2.0, 4.0])])
    first, other = labelled("yx", (8, 6)), labelled("yx", (4, 12), x=np.arange(12) * 9.0)
    first.attrs["is"], other.attrs["is"] = "first", "other"
    other.x.attrs["units"] = "nm"
    p.write_xarray(first)
    p.write_xarray(other, "other")
    for name, array in (("0", first), ("other", other)):
        x = p.to_xarray(name)
        np.testing.assert_allclose(x.x, array.x, rtol=1e-14)
        assert x.attrs == array.attrs
    assert p.to_xarray("other").x.attrs["units"] == "nanometer"
    assert p.to_xarray("0").x.attrs["units"] == "micrometer"


# --- later writes change what they state ----------------------------------------------------------


def test_units_and_attributes_are_updated(tmp_path):
    p = position(tmp_path / "a.zarr")
    array = labelled()
    array.attrs.update(a=1, b=2)
    p.write_xarray(array)
    later = labelled().sel(c=["GFP"])
    later.x.attrs["units"] = "nm"
    del later.y.attrs["units"]
    later.attrs.update(b=3, c=4)
    p.write_xarray(later)
    x = ps.open_ome_zarr(tmp_path / "a.zarr").to_xarray()
    assert x.attrs == {"a": 1, "b": 3, "c": 4}
    assert [x[d].attrs.get("units") for d in "zyx"] == ["micrometer", "micrometer", "nanometer"]


def test_a_scale_that_nobody_stated_is_taken_over(tmp_path):
    p = position(tmp_path / "a.zarr")
    p.create_zeros("0", (3, 3, 2, 8, 6), "uint16")
    array = labelled(t=None)
    p.write_xarray(array.sel(c=["GFP"]))
    np.testing.assert_allclose(p.to_xarray().x, array.x)
    np.testing.assert_allclose(p.to_xarray().z, array.z)


def test_a_write_of_everything_may_move_the_image(tmp_path):
    p = position(tmp_path / "a.zarr")
    p.write_xarray(labelled())
    moved = labelled(x=np.arange(6) * 2.0)
    refused(p, moved.sel(c=["GFP"]), "does not fit the image")
    p.write_xarray(moved)
    np.testing.assert_array_equal(p.to_xarray().x, moved.x)


def test_a_single_plane_takes_over_its_scale(tmp_path):
    p = position(tmp_path / "a.zarr", "zyx", channels=[])
    p.write_xarray(labelled("zyx", (1, 8, 6), z=[3.0]))
    p.write_xarray(labelled("zyx", (1, 8, 6), z=xr.DataArray([3.0], dims="z", attrs={"scale": 0.3})))
    assert p.to_xarray().z.attrs["scale"] == 0.3


def test_a_write_that_changes_nothing_writes_no_document(tmp_path, monkeypatch):
    p = position(tmp_path / "a.zarr")
    p.write_xarray(labelled())
    monkeypatch.setattr(p.__editor__(), "commit", None)
    p.write_xarray(labelled().isel(t=[1]))


# --- what does not fit ----------------------------------------------------------------------------


def test_dimensions_must_be_the_axes_in_their_order(tmp_path):
    p = position(tmp_path / "a.zarr")
    message = refused(p, labelled().transpose("x", "t", "c", "z", "y"), "dimensions")
    assert 'array.transpose("t", "c", "z", "y", "x")' in message
    message = refused(p, labelled().isel(t=0), "dimensions")
    assert "expand_dims(['t'])" in message
    assert "drop extra" in refused(p, labelled().expand_dims("extra"), "dimensions")
    with pytest.raises(ArgumentError, match=r"xarray\.DataArray, not ndarray"):
        p.write_xarray(np.zeros((1, 3, 1, 4, 4)))


@pytest.mark.parametrize("exists", [False, True])
def test_channels_must_be_known(tmp_path, exists):
    p = position(tmp_path / "a.zarr")
    if exists:
        p.write_xarray(labelled())
    names = xr.DataArray(["DAPI", "RFP", "GFP"], dims="c")
    assert "DAPI, GFP, mCherry" in refused(p, labelled(c=names), "no channel 'RFP'")
    refused(p, labelled(c=xr.DataArray(["GFP"] * 3, dims="c")), "more than once")
    refused(p, labelled(c=None).isel(c=[0]), "no names")


def test_time_points_must_lie_on_the_grid(tmp_path):
    p = position(tmp_path / "a.zarr")
    p.write_xarray(labelled())
    one = labelled().isel(t=[1]).drop_attrs()
    assert "nearest is 5, at index 2" in refused(p, one.assign_coords(t=[6.0]), "lies on no index")
    refused(p, one.assign_coords(t=[-2.5]), "index -1")
    refused(p, labelled(shape=(2, 3, 2, 8, 6), t=None), "no coordinate")
    assert p["0"].shape[0] == 3


def test_other_coordinates_must_be_those_of_the_image(tmp_path):
    p = position(tmp_path / "a.zarr")
    p.write_xarray(labelled())
    part = labelled().sel(c=["GFP"])
    refused(p, part.assign_coords(x=part.x + 1), "does not fit the image")
    refused(p, part.assign_coords(y=part.y[::-1].values), "does not fit the image")
    refused(p, part.isel(x=slice(0, 4)), "pixels along 'x'")
    p.write_xarray(part.assign_coords(x=part.x + 1e-6))


@pytest.mark.parametrize("dim", "tzyx")
def test_a_new_image_needs_regular_coordinates(tmp_path, dim):
    p = position(tmp_path / "a.zarr")
    n = labelled(shape=(3, 3, 3, 8, 6)).sizes[dim]
    refused(p, labelled(shape=(3, 3, 3, 8, 6), **{dim: np.arange(n) ** 2.0}), "not regular")
    refused(p, labelled(shape=(3, 3, 3, 8, 6), **{dim: -np.arange(n) * 1.0}), "descends")
    refused(p, labelled(shape=(3, 3, 3, 8, 6), **{dim: np.full(n, np.nan)}), "finite")


@pytest.mark.parametrize("unit", ["pixel", "px", "a.u.", "furlong", "second"])
def test_units_that_are_not_listed_are_carried(tmp_path, unit):
    p = position(tmp_path / "a.zarr")
    array = labelled()
    array.x.attrs["units"] = unit
    p.write_xarray(array)
    assert p.axes[-1].unit == unit
    found = ps.open_ome_zarr(tmp_path / "a.zarr").to_xarray()
    assert found.x.attrs["units"] == unit


def test_units_that_look_misspelt_are_named(tmp_path):
    p = position(tmp_path / "a.zarr")
    array = labelled()
    array.x.attrs["units"] = "micormeter"
    with pytest.warns(ps.StoreWarning, match="did you mean 'micrometer'"):
        p.write_xarray(array)
    array.x.attrs["units"] = 3
    refused(p, array, "a unit must be a string")


def test_types_must_be_castable(tmp_path):
    p = position(tmp_path / "a.zarr")
    refused(p, labelled().astype("datetime64[ns]"), "cannot be stored")
    p.write_xarray(labelled())
    assert 'astype("uint16")' in refused(p, labelled().astype("float32"), "float32")
    p.write_xarray(labelled().astype("uint8"))


def test_levels_grow_with_the_image(tmp_path):
    p = position(tmp_path / "a.zarr")
    p.write_xarray(labelled())
    p.compute_pyramid(2)
    p.write_xarray(labelled().isel(t=[1]))
    p.write_xarray(labelled().isel(t=[1]).assign_coords(t=[7.5]))
    assert p["1"].shape[0] == p["0"].shape[0] > 2
    assert not pyramids.is_whole(p.metadata.multiscales[0]), "they are marked"
    p.compute_pyramid()
    np.testing.assert_array_equal(p["1"][-1], p["1"][1])
    assert p["1"][-1].any()


def test_a_position_that_is_read_only(tmp_path):
    position(tmp_path / "a.zarr")
    with pytest.raises(ReadOnlyError):
        ps.open_ome_zarr(tmp_path / "a.zarr").write_xarray(labelled())


# --- how it is written ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("indices", "unit", "expected"),
    [
        ([0, 1, 2], 1, [(slice(0, 3), slice(0, 3))]),
        ([2, 3, 4, 5, 6], 4, [(slice(0, 5), slice(2, 7))]),
        ([0, 2], 1, [(slice(0, 1), slice(0, 1)), (slice(1, 2), slice(2, 3))]),
        ([0, 2, 3], 4, [(slice(0, 3), [0, 2, 3])]),
        ([0, 2, 4, 5], 4, [(slice(0, 2), [0, 2]), (slice(2, 4), slice(4, 6))]),
    ],
)
def test_pieces(indices, unit, expected):
    assert pieces(indices, unit) == expected


@settings(deadline=None)
@given(chosen=st.sets(st.integers(0, 60), min_size=1), unit=st.integers(1, 9))
def test_no_unit_belongs_to_two_pieces(chosen, unit):
    indices = sorted(chosen)
    found, touched = [], collections.Counter()
    for source, place in pieces(indices, unit):
        goal = list(range(place.start, place.stop)) if isinstance(place, slice) else place
        assert indices[source] == goal
        found += goal
        touched.update({i // unit for i in goal})
    assert found == indices
    assert set(touched.values()) == {1}


class Counted:
    """An array-like that counts how often its parts are read."""

    def __init__(self, data):
        self.data = data
        self.shape, self.dtype, self.ndim = data.shape, data.dtype, data.ndim
        self.reads = collections.Counter()

    def __getitem__(self, key):
        self.reads[str(key)] += 1
        return self.data[key]


@pytest.mark.parametrize("first", [True, False])
def test_larger_dask_data_is_read_and_written_once(tmp_path, monkeypatch, first):
    """Blocks that fit no shard: each block is read once, and each shard written once."""
    p = position(tmp_path / "a.zarr", "zyx", "0.5", [])
    if not first:
        p.create_zeros("0", (9, 32, 32), "uint16", chunks=(1, 8, 8), shards=(4, 16, 16))
    source = Counted(random(9, 32, 32))
    data = dask.array.from_array(
        source, chunks=(2, 32, 20), name=False, asarray=False, meta=np.empty(0, "u2")
    )
    with dask.config.set(scheduler="sync"):
        p.write_xarray(xr.DataArray(data, dims=list("zyx")))
    np.testing.assert_array_equal(p["0"][...], source.data)
    assert set(source.reads.values()) == {1}
    if not first:
        regions = collections.Counter()
        real = type(p["0"])._write

        def counting(self, selection, block, **kwargs):
            regions[str(selection.region)] += 1
            return real(self, selection, block, **kwargs)

        monkeypatch.setattr(type(p["0"]), "_write", counting)
        p.write_xarray(xr.DataArray(data, dims=list("zyx")))
        assert len(regions) == 3 * 2 * 2
        assert set(regions.values()) == {1}


def test_data_that_xarray_has_not_loaded_is_streamed(tmp_path, monkeypatch):
    p, q = position(tmp_path / "a.zarr"), position(tmp_path / "b.zarr")
    p.write_xarray(labelled())
    lazy = p.to_xarray(array_wrapper={"name": "zarr_array"})
    monkeypatch.setattr("platestore.arrays.pixels._BATCH_BYTES", 200)
    q.write_xarray(lazy.isel(c=[2, 0]))
    q.write_xarray(lazy.sel(c=["GFP"]))
    assert not lazy.variable._in_memory
    np.testing.assert_array_equal(q["0"][...], labelled())


def test_the_image_is_listed_when_its_pixels_are_written(tmp_path, version):
    p = position(tmp_path / "a.zarr", "zyx", version, [])

    def fail(block):
        raise OSError("the source is gone")

    data = dask.array.zeros((4, 8, 8), dtype="uint8", chunks=(1, 8, 8)).map_blocks(fail, dtype="uint8")
    with pytest.raises(OSError, match="the source is gone"):
        p.write_xarray(xr.DataArray(data, dims=list("zyx")))
    assert list(ps.open_ome_zarr(tmp_path / "a.zarr")) == []
    assert "multiscales" not in ome(tmp_path / "a.zarr")


def test_another_writer_creates_the_image_meanwhile(tmp_path):
    p = position(tmp_path / "a.zarr")
    q = ps.open_ome_zarr(tmp_path / "a.zarr", mode="r+")
    whole = labelled()
    assert list(q) == []
    p.write_xarray(whole.sel(c=["DAPI"]))
    q.write_xarray(whole.sel(c=["GFP"]))
    np.testing.assert_array_equal(p["0"][:, :2], whole[:, :2])


def test_another_writer_grows_the_image_meanwhile(tmp_path, monkeypatch):
    p = position(tmp_path / "a.zarr")
    whole = labelled(shape=(4, 3, 2, 8, 6))
    whole.t.attrs["scale"] = 2.5
    p.write_xarray(whole.isel(t=[0]))
    real, done = LocalStorage.lock, []

    def lock(self, path):
        if path == "0" and not done:
            done.append(1)
            ps.open_ome_zarr(tmp_path / "a.zarr", mode="r+").write_xarray(whole.isel(t=[3]))
        return real(self, path)

    monkeypatch.setattr(LocalStorage, "lock", lock)
    p.write_xarray(whole.isel(t=[1]))
    assert done
    assert p["0"].shape[0] == 4
    np.testing.assert_array_equal(p["0"][:][[0, 1, 3]], whole[[0, 1, 3]])
