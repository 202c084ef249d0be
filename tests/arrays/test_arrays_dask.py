"""Dask: lazy reading, and writes by whole units whatever the blocks are, on every scheduler."""

from __future__ import annotations

import multiprocessing
import random
from concurrent.futures import ProcessPoolExecutor

import dask
import dask.array as da
import numcodecs
import numpy as np
import pytest
from array_workers import EVERY, SHAPE, chunk_files, make, numbers, plain, root_of

import platestore as ps
from platestore.arrays.sources import ArraySource, as_source
from platestore.storage.local import LocalStorage

pytestmark = pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr")
KINDS = ["v2", "v3", "v3 sharded", "v2 lz4", "v3 sharded, lzma"]


@pytest.fixture(scope="module")
def workers():
    """Processes that were spawned, not forked."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.fixture(params=["synchronous", "threads", "processes"])
def scheduler(request):
    pool = request.getfixturevalue("workers") if request.param == "processes" else None
    with dask.config.set(scheduler=request.param, pool=pool, num_workers=4):
        yield request.param


# --- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", KINDS)
def test_reading_lazily_on_every_scheduler(tmp_path, scheduler, case):
    image = make(tmp_path, case)
    image[...] = numbers()
    lazy = image.dask_array()
    np.testing.assert_array_equal(lazy.compute(), numbers())
    np.testing.assert_array_equal(lazy[1:4, ::2, [0, 5]].compute(), numbers()[1:4, ::2][:, :, [0, 5]])
    assert int((lazy.astype("int64") + 1).sum().compute()) == int(numbers().astype("int64").sum()) + 210


def test_each_block_is_read_once_and_no_more_than_is_needed(tmp_path, monkeypatch):
    image = make(tmp_path, "v3 sharded")
    image[...] = numbers()
    reads = []
    real = type(image).__getitem__

    def spy(self, index):
        got = real(self, index)
        if np.size(got):  # dask asks for an empty block, to see of which type blocks are
            reads.append(index)
        return got

    monkeypatch.setattr(type(image), "__getitem__", spy)
    image.dask_array().sum().compute(scheduler="synchronous")
    assert len(reads) == len(list(image.write_units()))
    reads.clear()
    image.dask_array()[0, 0].compute(scheduler="synchronous")
    assert len(reads) == 1


# --- writing --------------------------------------------------------------------------------------


def pieces(rng, size):
    """A random way to cut an axis."""
    out = []
    while sum(out) < size:
        out.append(min(rng.randint(1, size), size - sum(out)))
    return tuple(out)


def random_case(rng):
    """Shape and layout of the target, the region, and the blocks of the source."""
    ndim = rng.randint(1, 4)
    longest = (40, 20, 14, 8)[ndim - 1]
    shape = tuple(rng.randint(1, longest) for _ in range(ndim))
    chunks = tuple(rng.randint(max(1, n // 5), max(1, n // 2)) for n in shape)
    kwargs = {"dtype": rng.choice(["uint8", "uint16", "int32", "float32", "bool"])}
    zarr_format = rng.choice([2, 3, 3])
    if zarr_format == 3 and rng.random() < 0.8:
        kwargs["shards"] = tuple(c * rng.randint(1, 4) for c in chunks)
    if rng.random() < 0.15:
        zarr_format, kwargs = 2, {"dtype": kwargs["dtype"], "compressors": numcodecs.LZ4()}  # for zarr-python
    index = []
    for n in shape:
        start = rng.randint(0, n - 1) if rng.random() < 0.5 else 0
        stop = rng.randint(start + 1, n) if rng.random() < 0.5 else n
        index.append(start if rng.random() < 0.1 else slice(start, stop))
    kept = tuple(s.stop - s.start for s in index if isinstance(s, slice))
    blocks = tuple(pieces(rng, n) for n in kept)
    return zarr_format, shape, chunks, kwargs, tuple(index), kept, blocks


def write_one(directory, seed):
    """Write one random case; returns how many elements are wrong."""
    rng = random.Random(seed)
    zarr_format, shape, chunks, kwargs, index, kept, blocks = random_case(rng)
    array = make(directory, (zarr_format, kwargs), shape, chunks)
    if rng.random() < 0.1:
        array._engine.refusal = "the test says so"
    expected = np.random.default_rng(seed).integers(0, 100, shape).astype(array.dtype)
    array[...] = expected
    fresh = np.random.default_rng(seed + 1).integers(0, 100, kept)
    source = da.from_array(fresh if rng.random() < 0.5 else fresh.astype(array.dtype), chunks=blocks)
    way = rng.randint(0, 2)
    if way == 0:
        array[index] = source
    elif way == 1:
        assert array.write_dask(source, index) is None
    else:
        array.write_dask(source, index, compute=False).compute()
    expected[index] = fresh.astype(array.dtype)
    others = plain(directory)[...] if seed % 4 == 0 else array[...]
    return int((others != expected).sum())


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("name", "seeds"),
    [
        ("threads", range(150)),
        ("threads", range(150, 300)),
        ("threads", range(300, 400)),
        ("synchronous", range(400, 450)),
    ],
    ids=str,
)
def test_no_element_of_random_writes_is_wrong(tmp_path, name, seeds):
    with dask.config.set(scheduler=name, num_workers=4):
        wrong = {seed: count for seed in seeds if (count := write_one(tmp_path / str(seed), seed))}
    assert wrong == {}


@pytest.mark.quick(1)
def test_no_element_of_random_writes_in_processes_is_wrong(tmp_path, workers):
    with dask.config.set(scheduler="processes", pool=workers):
        seeds = range(450, 500)
        wrong = {seed: count for seed in seeds if (count := write_one(tmp_path / str(seed), seed))}
    assert wrong == {}


@pytest.mark.slow
def test_writing_on_a_distributed_cluster(tmp_path):
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=None) as cluster,
        distributed.Client(cluster),
    ):
        for seed in range(500, 550):
            assert write_one(tmp_path / str(seed), seed) == 0


@pytest.mark.quick(1)
@pytest.mark.parametrize("case", [*KINDS, "v3 sharded in memory"])
def test_blocks_smaller_than_a_shard_lose_nothing(tmp_path, case):
    """The case that dask alone gets wrong: many tasks within one shard."""
    root = root_of(case, tmp_path)
    shape, chunks = (8, 24, 32), (2, 3, 4)
    kind = EVERY[case]
    if "shards" in kind[1]:
        kind = (kind[0], {**kind[1], "shards": (8, 12, 16)})
    image = make(root, kind, shape, chunks)
    pixels = numbers(shape)
    with dask.config.set(scheduler="threads", num_workers=16):
        for turn in range(3):
            image[...] = da.from_array(pixels + turn, chunks=(1, 3, 5))
            np.testing.assert_array_equal(image[...], pixels + turn)


def test_each_unit_is_written_once_and_by_one_task(tmp_path, monkeypatch):
    image = make(tmp_path, "v3 sharded", shape=(8, 6, 16))
    written = []
    real = type(image).__setitem__

    def spy(self, index, value):
        written.append(index)
        real(self, index, value)

    monkeypatch.setattr(type(image), "__setitem__", spy)
    image.write_dask(da.from_array(numbers((8, 6, 16)), chunks=(1, 5, 3)))
    bounds = [[(part.start, part.stop) for part in region] for region in image.write_units()]
    assert sorted([(part.start, part.stop) for part in region] for region in written) == sorted(bounds)


def test_parts_of_units_at_the_border_of_a_region_keep_the_rest(tmp_path):
    image = make(tmp_path, "v3 sharded")
    image[...] = expected = numbers()
    image[1:5, 2:6, 1:7] = da.ones((4, 4, 6), chunks=(1, 3, 2), dtype="uint16")
    expected[1:5, 2:6, 1:7] = 1
    np.testing.assert_array_equal(image[...], expected)


def test_scalars_and_rows_are_broadcast(tmp_path):
    image = make(tmp_path, "v3 sharded")
    expected = np.zeros(SHAPE, "uint16")
    image[...] = da.from_array(np.uint16(7))
    expected[...] = 7
    np.testing.assert_array_equal(image[...], expected)
    image[1:4] = da.arange(7, chunks=2)
    expected[1:4] = np.arange(7)
    np.testing.assert_array_equal(image[...], expected)
    image[0, 0, 0] = da.from_array(np.array(5))
    image[-1] = da.full((6, 1), 9, chunks=1)
    expected[0, 0, 0], expected[-1] = 5, 9
    np.testing.assert_array_equal(image[...], expected)


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 8), (6, 6, 7), (2, 5, 6, 7)])
def test_a_wrong_shape_is_a_value_error_before_anything_is_computed(tmp_path, shape):
    image = make(tmp_path, "v3")
    source = da.map_blocks(
        lambda: pytest.fail("computed"),
        chunks=tuple((n,) for n in shape),
        meta=np.empty([0] * len(shape), "uint16"),
    )
    with pytest.raises(ValueError, match="shape"):
        image[...] = source
    with pytest.raises(ps.ArgumentError, match="shape"):
        image.write_dask(source)
    assert chunk_files(tmp_path) == []


def test_a_shape_that_is_not_known_is_an_error(tmp_path):
    image = make(tmp_path, "v3")
    source = da.from_array(numbers(), chunks=2)
    with pytest.raises(ValueError):
        image[...] = source[source > 3]


def test_strided_and_fancy_targets_take_dask_arrays_too(tmp_path):
    image = make(tmp_path, "v3 sharded")
    image[...] = expected = numbers()
    lazy = da.from_array(numbers(start=1000), chunks=(1, 2, 3))
    image[::2, 1::3] = lazy[:3, :2]
    expected[::2, 1::3] = numbers(start=1000)[:3, :2]
    image.oindex[[4, 1], :, [0, 6]] = lazy[:2, :, :2]
    expected[np.ix_([4, 1], range(6), [0, 6])] = numbers(start=1000)[:2, :, :2]
    image.vindex[[0, 2], [1, 3], [2, 4]] = lazy[0, 0, :2]
    expected[[0, 2], [1, 3], [2, 4]] = numbers(start=1000)[0, 0, :2]
    mask = numbers() % 5 == 0
    image[mask] = da.from_array(np.arange(mask.sum()), chunks=4)
    expected[mask] = np.arange(mask.sum())
    image.blocks[0, 1] = lazy[:4, :3]
    expected[:4, 3:6] = numbers(start=1000)[:4, :3]
    np.testing.assert_array_equal(image[...], expected)


@pytest.mark.parametrize(
    "region", [np.s_[::2], [0, 1], np.ones(SHAPE, bool), np.s_[9], "a", np.s_[::-1]], ids=str
)
def test_a_region_of_write_dask_is_a_box(tmp_path, region):
    image = make(tmp_path, "v3")
    with pytest.raises((ps.ArgumentError, IndexError)):
        image.write_dask(da.zeros(SHAPE, chunks=2, dtype="uint16"), region)


def test_an_image_changed_by_dask_and_written_into_another(tmp_path, scheduler):
    source, target = make(tmp_path / "a", "v2"), make(tmp_path / "b", "v3 sharded")
    source[...] = numbers()
    target[...] = source.dask_array() * 2
    np.testing.assert_array_equal(target[...], numbers() * 2)
    target[...] = target.dask_array().rechunk((1, 6, 7)) + 1  # blocks are whole units of their own source
    assert target.shape == SHAPE


def test_writing_later(tmp_path, scheduler):
    image, other = make(tmp_path / "a", "v3 sharded"), make(tmp_path / "b", "v2")
    lazy = da.from_array(numbers(), chunks=(1, 2, 7))
    tasks = [image.write_dask(lazy, compute=False), other.write_dask(lazy[1:3], np.s_[1:3], compute=False)]
    assert chunk_files(tmp_path) == []
    dask.compute(*tasks)
    np.testing.assert_array_equal(image[...], numbers())
    np.testing.assert_array_equal(other[1:3], numbers()[1:3])
    assert (other[0] == 0).all()


def test_an_error_in_a_block_is_the_users_to_see(tmp_path):
    image = make(tmp_path, "v3")

    def fail(block):
        raise RuntimeError("in the user's function")

    with pytest.raises(RuntimeError, match="in the user's function"):
        image[...] = da.from_array(numbers(), chunks=2).map_blocks(
            fail, dtype="uint16", meta=np.array((), "uint16")
        )


def test_empty_regions_and_unwritten_sources(tmp_path):
    image = make(tmp_path, "v3")
    image[2:2] = da.zeros((0, 6, 7), chunks=1, dtype="uint16")
    assert chunk_files(tmp_path) == []


def test_a_task_needs_no_lock_for_whole_units(tmp_path, monkeypatch):
    image = make(tmp_path, "v2 lz4")
    monkeypatch.setattr(LocalStorage, "lock", lambda *a: pytest.fail("locked"))
    image[...] = da.from_array(numbers(), chunks=(1, 5, 2))
    np.testing.assert_array_equal(image[...], numbers())


@pytest.mark.parametrize("chunks", [(6, 5, 1), (2, 2, 2), (6, 5, 4), ((1, 5), (4, 1), (3, 1))])
def test_blocks_of_a_numpy_array_are_read_as_the_array_they_are_parts_of(chunks):
    pixels = np.arange(6 * 5 * 4, dtype="uint16").reshape(6, 5, 4)
    array = da.from_array(pixels, chunks=chunks)
    source = as_source(array)
    assert isinstance(source, ArraySource) or array.npartitions == 1
    out = np.zeros((3, 5, 2), "uint16")
    source.load((slice(2, 5), slice(0, 5), slice(1, 3)), out, 2)
    assert (out == pixels[2:5, :, 1:3]).all()


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a + 1,
        lambda a: a[::-1],
        lambda a: a[1:],
        lambda a: a.T,
        lambda a: a.rechunk((3, 5, 4)),
        lambda a: da.concatenate([a, a]),
        lambda a: da.from_array(np.arange(120, dtype="uint16").reshape(6, 5, 4)[::-1], chunks=(6, 5, 1)),
    ],
)
def test_what_is_computed_from_a_numpy_array_is_computed(change):
    array = change(da.from_array(np.arange(120, dtype="uint16").reshape(6, 5, 4), chunks=(6, 5, 1)))
    out = np.zeros(array.shape, "uint16")
    as_source(array).load(tuple(slice(0, n) for n in array.shape), out, 2)
    assert (out == array.compute()).all()


def test_values_that_were_set_later_are_not_those_of_the_source():
    array = da.from_array(np.zeros((6, 5, 4), "uint16"), chunks=(6, 5, 1))
    source = as_source(array)
    array[0] = 7
    out = np.ones((6, 5, 4), "uint16")
    source.load((slice(0, 6), slice(0, 5), slice(0, 4)), out, 1)
    assert not out.any()
