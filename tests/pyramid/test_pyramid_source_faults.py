"""Sources that fail, lie or are odd, and callers that stop: an error with nothing left, or right pixels."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import zarr

import platestore as ps
from platestore.arrays.sources import ArraySource, Placed, Rearranged, as_source
from platestore.errors import ArgumentError
from platestore.pyramid.blocks import BlockTree
from platestore.pyramid.stages import Stages
from pyramid.pyramid_store import noise

KINDS = {"z": "space", "y": "space", "x": "space"}
TIGHT = "12MiB"


def position(path: Path, names: str = "zyx", **kwargs: Any) -> ps.Position:
    axes = [ps.AxisMeta(name=n, type=KINDS[n]) for n in names]
    return ps.open_ome_zarr(
        path, layout="fov", mode="w-", channel_names=["a"], axes=axes, version="0.5", **kwargs
    )


class Slices:
    """An array that is read plane by plane; a given reading fails."""

    dtype = np.dtype("uint16")

    def __init__(
        self, shape: tuple[int, ...], failing: int = -1, error: type[BaseException] = OSError
    ) -> None:
        self.shape, self.chunks = shape, (1, *shape[1:])
        self.failing, self.error, self.reads = failing, error, 0
        self._lock = threading.Lock()

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        with self._lock:
            self.reads += 1
            if self.reads == self.failing:
                raise self.error("the disk is gone")
        return np.full([s.stop - s.start for s in index], 7, self.dtype)


def threads() -> set[str]:
    return {t.name for t in threading.enumerate() if t.name.startswith("platestore")}


def require_untouched(p: ps.Position) -> None:
    """Nothing is listed, no file is left, and no thread goes on."""
    root = Path(p.__editor__().location.storage.url)
    assert [f.name for f in root.iterdir()] == ["zarr.json"]
    assert ps.open_ome_zarr(root).__editor__().meta.paths() == []
    assert not threads()


# --- what fails on the way ------------------------------------------------------------------------


class StopHereError(Exception):
    """What a caller raises to stop."""


@pytest.mark.timeout(60)
@pytest.mark.parametrize("call", [1, 3, -1])
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("method", ["mean", "gaussian"])
@pytest.mark.parametrize("kind", ["numpy", "dask", "slices"])
def test_a_progress_callback_may_stop_a_build(kind, method, workers, call, tmp_path):
    data = np.ones((40, 64, 64), "uint16")
    made: Any = {
        "numpy": data,
        "dask": da.from_array(data, chunks=(1, 64, 64)),
        "slices": Slices(data.shape),
    }[kind]
    calls = 0

    def stop(done: int, total: int) -> None:
        nonlocal calls
        calls += 1
        if calls == call or done == total:
            raise StopHereError

    p = position(tmp_path / "a.zarr")
    options = {"chunks": (1, 64, 64), "pyramid_levels": 2, "pyramid_method": method, "workers": workers}
    with pytest.raises(StopHereError):
        p.create_image("0", made, progress=stop, max_memory="64MiB", **options)
    require_untouched(p)
    p.create_image("0", made, **options)
    np.testing.assert_array_equal(p["0"][...], made[:] if kind != "slices" else 7)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_progress_callback_may_stop_compute_pyramid(workers, tmp_path):
    def stop(done: int, total: int) -> None:
        raise StopHereError

    p = position(tmp_path / "a.zarr")
    p.create_image("0", np.ones((24, 32, 32), "uint16"), chunks=(1, 16, 16))
    with pytest.raises(StopHereError):
        p.compute_pyramid(3, progress=stop, workers=workers)
    assert p.__editor__().meta.paths() == ["0"]
    assert not threads()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("failing", [1, 33, 64])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_source_that_fails_in_any_box(workers, error, failing, tmp_path):
    p = position(tmp_path / "a.zarr")
    source = Slices((64, 64, 64), failing, error)
    with pytest.raises(error, match="disk is gone"):
        p.create_image("0", source, chunks=(4, 16, 16), pyramid_levels=2, max_memory=TIGHT, workers=workers)
    require_untouched(p)


@pytest.mark.parametrize("method", ["mean", "gaussian"])
@pytest.mark.parametrize("scheduler", ["threads", "synchronous", None])
@pytest.mark.parametrize("levels", [None, 2])
def test_a_task_that_fails(levels, scheduler, method, tmp_path):
    def fail(block: np.ndarray, block_info: Any = None) -> np.ndarray:
        if block_info[0]["chunk-location"][0] == 3:
            raise RuntimeError("no such plane")
        return block

    lazy = da.zeros((5, 64, 64), chunks=(1, 64, 64), dtype="uint16").map_blocks(fail, dtype="uint16")
    p = position(tmp_path / "a.zarr")
    options = {} if levels is None else {"pyramid_levels": levels, "pyramid_method": method}
    with dask.config.set(scheduler=scheduler), pytest.raises(RuntimeError, match="no such plane"):
        p.create_image("0", lazy, **options)
    require_untouched(p)


@pytest.mark.parametrize("workers", [1, 2])
def test_blocks_of_another_shape_than_the_array_says(workers, tmp_path):
    zeros = da.zeros((4, 8, 8), chunks=(2, 8, 8), dtype="uint16")
    lazy = zeros.map_blocks(lambda b: b[:1, :1], dtype="uint16", chunks=zeros.chunks)
    p = position(tmp_path / "a.zarr")
    with pytest.raises(ValueError, match="shape"):
        p.create_image("0", lazy, pyramid_levels=2, workers=workers)
    require_untouched(p)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["M8[s]", "complex64", "object", "S4", "i4,f4"])
@pytest.mark.parametrize("lazy", [False, True])
def test_pixels_of_types_that_are_no_images(lazy, dtype, tmp_path):
    data = np.zeros((2, 8, 8), dtype)
    p = position(tmp_path / "a.zarr")
    with pytest.raises(ArgumentError):
        p.create_image("0", da.from_array(data, chunks=4) if lazy else data, pyramid_levels=2)
    require_untouched(p)


@pytest.mark.parametrize("shape", [(0, 8, 8), (8, 8), (1, 2, 8, 8)])
def test_arrays_of_shapes_that_do_not_fit(shape, tmp_path):
    p = position(tmp_path / "a.zarr")
    with pytest.raises(ArgumentError):
        p.create_image("0", da.zeros(shape), pyramid_levels=2)
    require_untouched(p)


@pytest.mark.parametrize("levels", [None, 2])
def test_dask_arrays_of_unknown_shape(levels, tmp_path):
    known = da.random.default_rng(0).random((20, 8, 8), chunks=(5, 8, 8))
    p = position(tmp_path / "a.zarr")
    with pytest.raises(ArgumentError, match="compute_chunk_sizes"):
        p.create_image("0", known[known[:, 0, 0] > 0.5], pyramid_levels=levels)
    require_untouched(p)


@pytest.mark.parametrize("what", [None, 3, "pixels", [1, 2], {"shape": (1,)}])
def test_what_is_no_source(what):
    with pytest.raises(ArgumentError, match="no array"):
        as_source(what)


def test_a_part_that_lies_outside():
    source = ArraySource(np.zeros((4, 4)))
    for start in ((-1, 0), (0, 5), (3, 0)):
        with pytest.raises(ArgumentError, match="inside"):
            Placed(source, start, (6, 6))
    placed = Placed(source, (2, 2), (6, 6))
    with pytest.raises(ArgumentError, match="beyond"):
        placed.load((slice(0, 4), slice(2, 6)), np.empty((4, 4)), 1)
    for axes in ((0,), (0, 0), (0, 1, 2), (None, 1)):
        with pytest.raises(ArgumentError, match="order"):
            Rearranged(source, axes)


# --- what is odd, and right -----------------------------------------------------------------------

DATA = noise("uint16", (6, 40, 47), seed=3)


def _delayed(data: np.ndarray) -> da.Array:
    planes = [dask.delayed(data.__getitem__)(slice(i, i + 1)) for i in range(len(data))]
    return da.concatenate([da.from_delayed(plane, (1, *data.shape[1:]), data.dtype) for plane in planes])


def _named(data: np.ndarray) -> da.Array:
    one, other = (da.from_array(data, chunks=(2, 17, 31), name="platestore-put-0") for _ in range(2))
    return one + other - other


ODD = {
    "persisted": lambda a: da.from_array(a, chunks=(2, 17, 31)).persist(),
    "delayed": _delayed,
    "shared names": _named,
    "cropped": lambda a: da.from_array(np.pad(a, 5), chunks=(3, 20, 20))[5:-5, 5:-5, 5:-5],
    "every other": lambda a: da.from_array(np.repeat(a, 2, 2), chunks=(3, 20, 21))[:, :, ::2],
    "backwards": lambda a: da.from_array(a[::-1, ::-1], chunks=(3, 20, 21))[::-1, ::-1],
    "rechunked": lambda a: da.from_array(a, chunks=(1, 40, 47)).rechunk((6, 13, 11)),
    "transposed": lambda a: da.from_array(a.T, chunks=(31, 17, 2)).T,
    "stacked": lambda a: da.stack([da.from_array(plane) for plane in a]),
    "overlapping": lambda a: da.map_overlap(np.copy, da.from_array(a, chunks=(6, 20, 20)), depth=(0, 3, 3)),
    "empty blocks": lambda a: da.from_array(a, chunks=((0, 2, 0, 4), (40,), (0, 47))),
    "irregular": lambda a: da.from_array(a, chunks=((1, 3, 2), (33, 7), (2, 44, 1))),
    "columns": lambda a: da.from_array(a, chunks=(6, 40, 1)),
    "in another order": lambda a: da.from_array(a, chunks=(2, 17, 31)).map_blocks(np.asfortranarray),
    "swapped bytes": lambda a: da.from_array(a.astype(">u2"), chunks=(2, 17, 31)),
    "masked": lambda a: da.from_array(np.ma.masked_array(a), chunks=(2, 17, 31)),
    "array": lambda a: np.ma.masked_array(a),
    "list": lambda a: da.from_array(a.tolist(), chunks=(2, 17, 31)).astype("uint16"),
    "zarr": lambda a: _zarr(a),
    "dask of zarr": lambda a: da.from_zarr(_zarr(a)),
    "large tiles": lambda a: ArraySource(a, (9, 99, 99)),
    "one pixel": lambda a: ArraySource(a, (1, 1, 47)),
    "placed": lambda a: Placed(ArraySource(a), (0, 0, 0), a.shape),
    "rearranged": lambda a: Rearranged(ArraySource(np.moveaxis(a, 0, 2)[..., :], (40, 47, 1)), (2, 0, 1)),
}


def _zarr(data: np.ndarray) -> zarr.Array:
    array = zarr.create_array(
        zarr.storage.MemoryStore(), shape=data.shape, dtype=data.dtype, chunks=(1, 32, 32)
    )
    array[...] = data
    return array


@pytest.mark.parametrize(
    ("odd", "method"),
    [
        *((odd, "mean") for odd in ODD),
        *((odd, "gaussian") for odd in ("cropped", "irregular", "columns", "swapped bytes", "rearranged")),
    ],
)
def test_odd_arrays_give_what_plain_ones_give(odd, method, tmp_path):
    expected, p = position(tmp_path / "plain.zarr"), position(tmp_path / "odd.zarr")
    options = {"chunks": (2, 8, 16), "pyramid_levels": 3, "pyramid_method": method}
    expected.create_image("0", DATA, **options)
    p.create_image("0", ODD[odd](DATA), workers=2, **options)
    np.testing.assert_array_equal(p["0"][...], DATA)
    for level in ("1", "2"):
        np.testing.assert_array_equal(p[level][...], expected[level][...])


@pytest.mark.parametrize("method", ["mean", "mode", "gaussian"])
@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float16", ">i4", ">f4"])
def test_all_types_by_all_ways(dtype, method, tmp_path):
    data = noise(dtype, (3, 9, 11))
    ways = {
        "numpy": data,
        "dask": da.from_array(data, chunks=(2, 3, 8)),
        "source": ArraySource(data, (1, 9, 11)),
    }
    found = {}
    for way, given in ways.items():
        p = position(tmp_path / f"{way}.zarr")
        p.create_image("0", given, chunks=(2, 4, 4), pyramid_levels=2, pyramid_method=method)
        np.testing.assert_array_equal(p["0"][...], data)
        found[way] = p["1"][...]
    p = position(tmp_path / "later.zarr")
    p.create_image("0", data, chunks=(2, 4, 4))
    p.compute_pyramid(2, method=method)
    for way in ways:
        np.testing.assert_array_equal(found[way], p["1"][...])


def test_schedulers_of_other_processes(tmp_path):
    """A distributed client in this process: its workers have no access to what is being filled."""
    distributed = pytest.importorskip("distributed")
    lazy = da.from_array(DATA, chunks=(2, 17, 31)) + 0
    expected, p = position(tmp_path / "plain.zarr"), position(tmp_path / "a.zarr")
    expected.create_image("0", DATA, pyramid_levels=3)
    options = {"processes": False, "n_workers": 2, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster):
        p.create_image("0", lazy, pyramid_levels=3)
        p.create_image("persisted", lazy.persist())
    np.testing.assert_array_equal(p["0"][...], DATA)
    np.testing.assert_array_equal(p["persisted"][...], DATA)
    np.testing.assert_array_equal(p["2"][...], expected["2"][...])


def test_builds_inside_dask_tasks(tmp_path):
    """The threads of dask may all be waiting for a build."""

    def job(number: int) -> bool:
        p = position(tmp_path / f"{number}.zarr")
        p.create_image("0", da.from_array(DATA, chunks=(2, 17, 31)), pyramid_levels=2, workers=2)
        return bool((p["0"][...] == DATA).all())

    jobs = [dask.delayed(job)(number) for number in range(4)]
    assert dask.compute(*jobs, scheduler="threads", num_workers=2) == (True,) * 4


@pytest.mark.parametrize("workers", [1, 2])
def test_boxes_at_the_edge_whose_rows_are_whole_pages(workers):
    """Their rows are padded, those of the larger boxes before them are not."""
    data = noise("uint8", (8196, 70))
    source = ArraySource(data, (4100, 1))
    tree = BlockTree([data.shape], [(4100, 64)], [], 1, join=None)
    found = np.zeros_like(data)
    for stage in Stages(source, tree, (4100, 128), (0, 0), 1).run(workers):
        found[stage.region] = stage.data
    np.testing.assert_array_equal(found, data)


def test_gaussian_over_chunks_that_were_never_written(tmp_path):
    p, expected = position(tmp_path / "a.zarr"), position(tmp_path / "b.zarr")
    array = p.create_zeros("0", (4, 32, 32), "uint16", chunks=(2, 8, 8))
    array[:2, 3:, :9] = 900
    p.compute_pyramid(3, method="gaussian")
    expected.create_image("0", array[...], chunks=(2, 8, 8), pyramid_levels=3, pyramid_method="gaussian")
    for level in ("1", "2"):
        np.testing.assert_array_equal(p[level][...], expected[level][...])


def test_nothing_of_an_array():
    for source in (ArraySource(DATA), as_source(da.from_array(DATA, chunks=(2, 17, 31)))):
        source.load((slice(3, 3), slice(0, 40), slice(0, 47)), np.empty((0, 40, 47), "uint16"), 2)
