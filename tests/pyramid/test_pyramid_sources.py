"""Images written from arrays that are not in memory: every pixel of every level, each tile read once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import examples
from platestore.arrays.layout import plan
from platestore.arrays.sources import ArraySource, Placed, Rearranged, as_source
from platestore.pyramid.levels import make_levels, plan_build
from platestore.resources import Resources
from platestore.spec.geometry import level_shapes
from platestore.storage.base import StorageOptions
from platestore.storage.hierarchy import ArrayDocument, array_files, create_node
from platestore.storage.local import LocalStorage
from pyramid.pyramid_store import METHODS, new_position, noise, quick_cascade, stored

MIB = 2**20


class Counted:
    """An array that counts what is read of it, and by how many threads."""

    def __init__(self, data: np.ndarray, chunks: Sequence[int]) -> None:
        self.data, self.chunks = data, tuple(chunks)
        self.shape, self.dtype = data.shape, data.dtype
        self.reads: Counter[tuple[int, ...]] = Counter()
        self.pixels = np.zeros(data.shape, "uint8")
        self._lock = threading.Lock()

    def __getitem__(self, index: Any) -> np.ndarray:
        with self._lock:
            self.reads[tuple(s.start // c for s, c in zip(index, self.chunks, strict=True))] += 1
            self.pixels[index] += 1
        return self.data[index]


def documents(path: Any, version: str, shape: Any, dtype: Any, steps: Any, **layout: Any):
    """The documents of an image that is written by the engine alone."""
    path.mkdir()
    storage = LocalStorage(str(path), StorageOptions(read_only=False))
    out = []
    for k, size in enumerate(level_shapes(shape, steps)):
        fmt = 2 if version == "0.4" else 3
        content = plan(size, dtype, zarr_format=fmt, axis_names="tczyx"[-len(shape) :], **layout).document(
            fmt, list("tczyx"[-len(shape) :])
        )
        files = array_files(fmt, content, where=str(k))
        create_node(storage, str(k), files)
        out.append(ArrayDocument(str(k), fmt, files[-1][1]))
    return storage, out


def read(path: Any, count: int) -> list[np.ndarray]:
    return [zarr.open_array(path / str(k), mode="r")[...] for k in range(count)]


# --- any layout, tiles, budget ----------------------------------------------------------------------

_recipes = st.fixed_dictionaries(
    {
        "version": st.sampled_from(["0.4", "0.5"]),
        "dtype": st.sampled_from(["bool", "uint8", "uint16", "int64", "float32"]),
        "method": st.sampled_from([*METHODS, "gaussian"]),
        "shape": st.tuples(st.integers(1, 3), st.integers(1, 13), st.integers(1, 29), st.integers(1, 31)),
        "chunks": st.tuples(st.integers(1, 2), st.integers(1, 5), st.integers(1, 9), st.integers(1, 21)),
        "ratio": st.none() | st.tuples(*[st.integers(1, 3)] * 4),
        "tiles": st.tuples(st.integers(1, 3), st.integers(1, 13), st.integers(1, 29), st.integers(1, 31)),
        "steps": st.lists(
            st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4)), max_size=3
        ),
        "workers": st.integers(1, 3),
        "least": st.booleans(),
        "kind": st.sampled_from(["array", "dask", "rearranged", "zarr"]),
    }
)


def _source(kind: str, data: np.ndarray, tiles: tuple[int, ...], path: Any) -> Any:
    tiles = tuple(map(min, tiles, data.shape))
    if kind == "dask":
        return as_source(da.from_array(data, chunks=tiles))
    if kind == "zarr":
        array = zarr.create_array(store=path, shape=data.shape, dtype=data.dtype, chunks=tiles)
        array[...] = data
        return as_source(array)
    if kind == "rearranged":
        return Rearranged(
            ArraySource(np.ascontiguousarray(data.transpose(3, 1, 0, 2)), tiles[::-1]), (2, 1, 3, 0)
        )
    return ArraySource(data, tiles)


@settings(deadline=None, max_examples=examples(40))
@given(recipe=_recipes)
def test_every_pixel_of_every_level(recipe, tmp_path_factory):
    path = tmp_path_factory.mktemp("s")
    data, version = noise(recipe["dtype"], recipe["shape"]), recipe["version"]
    steps = [tuple(f) for f in recipe["steps"]]
    layout = {"chunks": recipe["chunks"], "shards_ratio": recipe["ratio"] if version == "0.5" else None}
    storage, found = documents(path / "i", version, data.shape, data.dtype, steps, **layout)
    source = _source(recipe["kind"], data, recipe["tiles"], path / "source")
    resources = Resources("1GiB", recipe["workers"])
    arguments = (storage, found[0], found[1:], steps, recipe["method"])
    if recipe["least"]:
        try:
            plan_build(*arguments, Resources(1), fresh=True, data=source)
        except ps.BudgetError as error:
            resources = Resources(error.needed, recipe["workers"])
    make_levels(*arguments, resources, fresh=True, data=source)
    levels = [data]
    for step in steps:
        levels += quick_cascade(levels[-1], [step], recipe["method"])
    for got, level in zip(read(path / "i", len(levels)), levels, strict=True):
        np.testing.assert_array_equal(got, level)


@pytest.mark.parametrize("method", ["mean", "gaussian"])
@pytest.mark.parametrize("layout", [((4, 16, 16), None), ((4, 16, 16), (2, 4, 4)), ((1, 64, 64), None)])
def test_each_plane_is_read_once(layout, method, tmp_path):
    data = noise("uint16", (50, 61, 67))
    counted = Counted(data, (1, 61, 67))
    chunks, ratio = layout
    steps = [(2, 2, 2), (2, 2, 2), (1, 2, 2)]
    storage, found = documents(
        tmp_path / "i", "0.5", data.shape, "uint16", steps, chunks=chunks, shards_ratio=ratio
    )
    make_levels(
        storage,
        found[0],
        found[1:],
        steps,
        method,
        Resources("64MiB", 2),
        fresh=True,
        data=ArraySource(counted),
    )
    assert set(counted.reads.values()) == {1}
    assert len(counted.reads) == 50
    levels = [data]
    for step in steps:
        levels += quick_cascade(levels[-1], [step], method)
    for got, level in zip(read(tmp_path / "i", 4), levels, strict=True):
        np.testing.assert_array_equal(got, level)


def test_blocks_of_a_dask_array_are_computed_once(version, tmp_path):
    data = noise("uint16", (12, 96, 80))
    count: Counter[Any] = Counter()
    lock = threading.Lock()

    def block(values: np.ndarray, block_info: Any = None) -> np.ndarray:
        with lock:
            count[tuple(block_info[0]["chunk-location"])] += 1
        return values

    source = da.from_array(data, chunks=(5, 40, 80)).map_blocks(block, meta=np.empty((0, 0, 0), "uint16"))
    count.clear()
    position = new_position(tmp_path / "i.zarr", version, "ZYX")
    position.create_image("0", source, chunks=(4, 32, 32), pyramid_levels=3)
    assert set(count.values()) == {1}
    assert len(count) == 9
    for got, level in zip(
        stored(tmp_path / "i.zarr").values(),
        [data, *quick_cascade(data, [(2, 2, 2)] * 2, "mean")],
        strict=True,
    ):
        np.testing.assert_array_equal(got, level)


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
def test_the_scheduler_that_is_set_is_used(scheduler, tmp_path):
    data = noise("uint16", (4, 40, 40))
    position = new_position(tmp_path / "i.zarr", "0.5", "ZYX")
    with dask.config.set(scheduler=scheduler):
        position.create_image("0", da.from_array(data, chunks=(2, 25, 40)) + 0, pyramid_levels=2)
    np.testing.assert_array_equal(stored(tmp_path / "i.zarr")["0"], data)


def test_a_block_that_fails_leaves_nothing(version, tmp_path):
    def fail(values: np.ndarray, block_info: Any = None) -> np.ndarray:
        if block_info and block_info[0]["chunk-location"][0] == 2:
            raise RuntimeError("the camera is off")
        return values

    source = da.zeros((8, 32, 32), chunks=(2, 32, 32), dtype="uint8").map_blocks(
        fail, meta=np.empty((0, 0, 0), "uint8")
    )
    position = new_position(tmp_path / "i.zarr", version, "ZYX")
    before = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*"))
    with pytest.raises(RuntimeError, match="the camera is off"):
        position.create_image("0", source, chunks=(2, 16, 16), pyramid_levels=2)
    assert sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*")) == before


# --- parts, side by side ------------------------------------------------------------------------------


@settings(deadline=None, max_examples=examples(15))
@given(
    depth=st.integers(20, 61),
    cut=st.integers(1, 3),
    steps=st.lists(st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 2)), max_size=2),
    order=st.permutations(range(4)),
)
def test_parts_of_whole_files_fill_an_array(depth, cut, steps, order, tmp_path_factory):
    path = tmp_path_factory.mktemp("p")
    data = noise("uint16", (depth, 37, 23))
    storage, found = documents(
        path / "i", "0.5", data.shape, "uint16", steps, chunks=(2, 8, 8), shards_ratio=(2, 2, 3)
    )
    # Whole shards of every level: 4 planes each, of which one is made of up to 4 planes of level 0.
    unit = 16 * cut
    starts = range(0, depth, unit)
    for i in order:
        if i >= len(starts):
            continue
        start, stop = starts[i], min(depth, starts[i] + unit)
        part = Placed(ArraySource(data[start:stop], (1, 37, 23)), (start, 0, 0), data.shape)
        region = (slice(start, stop), slice(0, 37), slice(0, 23))
        make_levels(
            storage,
            found[0],
            found[1:],
            steps,
            "mean",
            Resources("64MiB", 2),
            fresh=True,
            data=part,
            region=region,
        )
    for got, level in zip(
        read(path / "i", len(found)), [data, *quick_cascade(data, steps, "mean")], strict=True
    ):
        np.testing.assert_array_equal(got, level)
    names = [p.name for p in (path / "i").rglob("*") if p.is_file()]
    assert not [n for n in names if n.endswith((".tmp", ".partial"))]


# --- functions as methods ---------------------------------------------------------------------------


@pytest.mark.parametrize("function", [np.mean, np.max, np.ptp, lambda w, axis: np.sum(w, axis=axis)])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "uint64"])
def test_a_function_reduces_windows(function, dtype, tmp_path):
    data = noise(dtype, (5, 19, 23))
    storage, found = documents(tmp_path / "i", "0.5", data.shape, dtype, [(2, 3, 2)], chunks=(2, 6, 8))
    make_levels(
        storage,
        found[0],
        found[1:],
        [(2, 3, 2)],
        function,
        Resources(),
        fresh=True,
        data=ArraySource(data, (1, 19, 23)),
    )
    windows = np.pad(data, [(0, 1), (0, 2), (0, 1)], mode="edge").reshape(3, 2, 7, 3, 12, 2)
    with np.errstate(over="ignore"):
        exact = np.asarray(function(windows, axis=(1, 3, 5)))
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        exact = np.rint(exact) if exact.dtype.kind == "f" else exact
        held = [max(limits.min, min(limits.max, int(v))) for v in exact.flat]
        exact = np.array(held, dtype).reshape(exact.shape)
    np.testing.assert_array_equal(read(tmp_path / "i", 2)[1], exact.astype(dtype))


def test_a_function_that_returns_another_shape_is_named(tmp_path):
    storage, found = documents(tmp_path / "i", "0.5", (4, 4), "uint8", [(2, 2)], chunks=(4, 4))
    with pytest.raises(ps.ArgumentError, match="returned shape"):
        make_levels(
            storage,
            found[0],
            found[1:],
            [(2, 2)],
            lambda windows, axis: windows,
            Resources(),
            fresh=True,
            data=np.zeros((4, 4), "uint8"),
        )


# --- wrong data ---------------------------------------------------------------------------------------


def test_data_that_do_not_fit_the_array(tmp_path):
    storage, found = documents(tmp_path / "i", "0.5", (4, 4), "uint8", [], chunks=(4, 4))
    for data in (np.zeros((4, 5), "uint8"), np.zeros((4, 4), "uint16")):
        with pytest.raises(ps.ArgumentError, match="are not those of an array"):
            make_levels(storage, found[0], [], [], "mean", Resources(), fresh=True, data=as_source(data))
    with pytest.raises(ps.ArgumentError, match="is no array"):
        as_source("planes")
    with pytest.raises(ps.ArgumentError, match="unknown shape"):
        as_source(da.from_array(np.arange(9))[da.from_array(np.arange(9)) > 3])
    with pytest.raises(ps.ArgumentError, match="no order of 2 axes"):
        Rearranged(as_source(np.zeros((2, 3))), (0, 0))
    with pytest.raises(ps.ArgumentError, match="does not lie inside"):
        Placed(as_source(np.zeros((2, 3))), (3, 0), (4, 3))
    part = Placed(as_source(np.zeros((2, 3))), (1, 0), (4, 3))
    with pytest.raises(ps.ArgumentError, match="reaches beyond"):
        part.load((slice(0, 2), slice(0, 3)), np.empty((2, 3)), 1)


def test_the_budget_that_an_error_names_is_enough(tmp_path):
    data = noise("uint16", (40, 128, 128))
    for k, tiles in enumerate([(1, 128, 128), (40, 128, 128), (7, 50, 31)]):
        steps = [(2, 2, 2), (2, 2, 2)]
        storage, found = documents(
            tmp_path / f"{k}", "0.5", data.shape, "uint16", steps, chunks=(8, 32, 32), shards_ratio=(2, 4, 4)
        )
        arguments = (storage, found[0], found[1:], steps, "mean")
        with pytest.raises(ps.BudgetError) as error:
            make_levels(*arguments, Resources(1), fresh=True, data=ArraySource(data, tiles))
        make_levels(*arguments, Resources(error.value.needed), fresh=True, data=ArraySource(data, tiles))
        for got, level in zip(
            read(tmp_path / f"{k}", 3), [data, *quick_cascade(data, steps, "mean")], strict=True
        ):
            np.testing.assert_array_equal(got, level)


@pytest.mark.parametrize("method", ["mean", "gaussian"])
def test_planes_along_the_last_axis(method, tmp_path):
    data = noise("uint16", (64, 48, 61))  # x, y, z
    source = as_source(da.from_array(data, chunks=(64, 48, 1)))
    steps = [(2, 2, 2), (2, 2, 2)]
    storage, found = documents(
        tmp_path / "i", "0.5", data.shape, "uint16", steps, chunks=(16, 16, 16), shards_ratio=(4, 3, 1)
    )
    make_levels(storage, found[0], found[1:], steps, method, Resources("64MiB", 2), fresh=True, data=source)
    levels = [data]
    for step in steps:
        levels += quick_cascade(levels[-1], [step], method)
    for got, level in zip(read(tmp_path / "i", 3), levels, strict=True):
        np.testing.assert_array_equal(got, level)


def test_what_blocks_share_is_computed_once_per_box(tmp_path):
    calls = []

    def plane(i: int) -> np.ndarray:
        calls.append(i)
        return np.full((1, 32, 32), i, "uint8")

    planes = [da.from_delayed(dask.delayed(plane)(i), (1, 32, 32), "uint8") for i in range(12)]
    source = as_source(da.concatenate(planes).rechunk((12, 8, 8)))
    out = np.empty((12, 32, 32), "uint8")
    source.load((slice(0, 12), slice(0, 32), slice(0, 32)), out, 2)
    assert sorted(calls) == list(range(12))
    assert (out == np.arange(12)[:, None, None]).all()


def test_a_deep_stack_needs_no_more_memory_than_its_graph():
    plane = dask.delayed(np.zeros)((64, 64), "uint8")
    planes = [da.from_delayed(plane, (64, 64), "uint8") for _ in range(2000)]
    assert as_source(da.stack(planes, axis=-1)).loading_nbytes(1) < 10 * MIB
