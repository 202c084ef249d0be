"""Copying pixels: what numpy selects, in the same bytes whatever the threads and whatever interrupts."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import Delta
from zarr.codecs import BytesCodec, Crc32cCodec, GzipCodec, TransposeCodec, ZstdCodec
from zarr.storage import MemoryStore

import platestore as ps
from arrays.test_arrays_partition import picks
from conftest import examples
from copying.pixel_workers import job_of, storage
from platestore.arrays.chunkcodec import chunk_format
from platestore.arrays.chunkfiles import ChunkReader, ChunkWriter
from platestore.arrays.partition import Pick, picked_size
from platestore.copying.ends import ArrayTarget, FileTarget
from platestore.copying.pixels import (
    PixelPlan,
    PixelResult,
    Stopped,
    compare_pixels,
    copy_pixels,
    plan_pixels,
)
from platestore.storage.archive import ArchiveStorage
from platestore.storage.base import StorageOptions
from platestore.storage.hierarchy import read_array
from platestore.storage.zarr_store import ZarrStorage
from pyramid.pyramid_store import hidden, noise

MIB = 2**20
PLENTY = 256 * MIB
DOCUMENTS = ("zarr.json", ".zarray", ".zattrs")
SHAPE = (3, 40, 50)
WHOLE = tuple(slice(0, n, 1) for n in SHAPE)


# --- arrays ---------------------------------------------------------------------------------------


def make(path: Path, shape: Any, dtype: Any = "uint16", **how: Any) -> zarr.Array:
    """An array that zarr alone makes, in a directory of its own."""
    return zarr.create_array(path / "a", shape=shape, dtype=dtype, **{"zarr_format": 3, **how})


def copy(
    source: Path,
    target: Path,
    chosen: tuple[Pick, ...],
    *,
    memory: int = PLENTY,
    workers: int = 2,
    skip: bool = False,
    **kwargs: Any,
) -> PixelResult:
    plan = plan_pixels(job_of(storage(source), storage(target), chosen), max_memory=memory, workers=workers)
    return copy_pixels(plan, skip_existing=skip, **kwargs)


def selected(data: np.ndarray, chosen: tuple[Pick, ...]) -> np.ndarray:
    """What numpy selects."""
    for axis, pick in enumerate(chosen):
        places = range(pick.start, pick.stop, pick.step) if isinstance(pick, slice) else pick
        data = np.take(data, list(places), axis=axis)
    return data


def files(path: Path) -> dict[str, bytes]:
    """All chunk and shard files, but temporary ones."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name not in DOCUMENTS and not file.name.startswith(".")
    }


def pixels(path: Path) -> np.ndarray:
    return np.asarray(zarr.open_array(path / "a", mode="r")[...])


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    """To the bit."""
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


class Case:
    """A source of 3 x 40 x 50 pixels, some of them in chunks that were never written, and a target."""

    def __init__(
        self, path: Path, source: dict[str, Any], target: dict[str, Any], chosen: Any = WHOLE, **how: Any
    ) -> None:
        self.source, self.target, self.chosen = path / "source", path / "target", chosen
        array = make(self.source, SHAPE, **{"chunks": (1, 16, 16), **how, **source})
        self.dtype = array.dtype
        self.data = noise(array.dtype.str if array.dtype.kind != "c" else "float32", SHAPE).astype(
            array.dtype
        )
        self.data[0, :20] = array.fill_value
        array[...] = self.data
        self.expected = selected(self.data, chosen)
        make(self.target, self.expected.shape, **{"dtype": array.dtype, "chunks": (2, 8, 8), **how, **target})

    def plan(self, memory: int = PLENTY, workers: int = 2) -> PixelPlan:
        job = job_of(storage(self.source), storage(self.target), self.chosen)
        return plan_pixels(job, max_memory=memory, workers=workers)

    def copy(self, **kwargs: Any) -> PixelResult:
        return copy(self.source, self.target, self.chosen, **kwargs)

    def check(self) -> None:
        np.testing.assert_array_equal(pixels(self.target), self.expected)
        assert not hidden(self.target)


def child(*arguments: Any) -> subprocess.CompletedProcess[str]:
    """Run a worker in a process of its own."""
    script = Path(__file__).parent / "pixel_workers.py"
    return subprocess.run(
        [sys.executable, str(script), *map(str, arguments)], capture_output=True, text=True, check=False
    )


# --- what is copied -------------------------------------------------------------------------------

_DTYPES = (
    "bool",
    "uint8",
    "int16",
    "uint16",
    "uint32",
    "float16",
    "float32",
    "int64",
    "float64",
    "complex64",
)


@st.composite
def layouts(draw: st.DrawFn, ndim: int) -> dict[str, Any]:
    """How an array may lie in files."""
    chunks = tuple(draw(st.integers(1, 9)) for _ in range(ndim))
    how: dict[str, Any] = {"chunks": chunks, "zarr_format": draw(st.sampled_from([2, 3]))}
    how["fill_value"] = draw(st.integers(0, 1))
    if how["zarr_format"] == 2:
        return {**how, "order": draw(st.sampled_from(["C", "C", "F"]))}
    if draw(st.booleans()):
        shards = tuple(n * draw(st.integers(1, 4)) for n in chunks)
        return {**how, "shards": {"shape": shards, "index_location": draw(st.sampled_from(["end", "start"]))}}
    return how


@st.composite
def cases(draw: st.DrawFn) -> tuple[Any, ...]:
    ndim = draw(st.integers(1, 3))
    shape = tuple(draw(st.integers(1, 20)) for _ in range(ndim))
    chosen = tuple(draw(picks(n)) for n in shape)
    written = tuple(slice(draw(st.integers(0, n)), None) for n in shape)
    return (
        shape,
        draw(st.sampled_from(_DTYPES)),
        chosen,
        written,
        draw(layouts(ndim)),
        draw(layouts(ndim)),
        draw(st.sampled_from([11 * MIB, 12 * MIB, PLENTY])),
    )


@settings(max_examples=examples(60), deadline=None)
@given(cases())
def test_any_selection_of_any_array_is_what_numpy_selects(case: tuple[Any, ...]):
    shape, dtype, chosen, written, from_layout, to_layout, memory = case
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        source = make(path / "source", shape, dtype, **from_layout)
        data = np.random.default_rng(0).integers(0, 3, shape).astype(dtype)
        source[written] = data[written]
        expected = selected(np.asarray(source[...]), chosen)
        results = []
        for workers in (1, 2, 4):
            target = path / str(workers)
            array = make(target, expected.shape, dtype, **to_layout)
            told: list[int] = []
            plan = plan_pixels(
                job_of(storage(path / "source"), storage(target), chosen), max_memory=memory, workers=workers
            )
            result = copy_pixels(plan, skip_existing=False, progress=told.append)
            assert_same(np.asarray(array[...]), expected)
            compare_pixels(plan)
            results.append(files(target))
            assert result == (len(results[-1]), sum(map(len, results[-1].values())))
            assert sum(told) == plan.total == expected.nbytes
            assert len(results[-1]) <= plan.files
            assert not hidden(target)
        assert results[0] == results[1] == results[2]


_CODECS: dict[str, dict[str, Any]] = {
    "v2": {"zarr_format": 2},
    "v2, no compressor": {"zarr_format": 2, "compressors": None},
    "v2, F order": {"zarr_format": 2, "order": "F"},
    "v2, big endian": {"zarr_format": 2, "dtype": ">u2"},
    "v2, delta": {"zarr_format": 2, "filters": [Delta(dtype="<u2")]},
    "v3": {},
    "v3, no compressor": {"compressors": None},
    "v3, gzip and crc32c": {"compressors": [GzipCodec(level=1), Crc32cCodec()]},
    "v3, big endian": {"serializer": BytesCodec(endian="big")},
    "v3, transposed": {"filters": [TransposeCodec(order=(2, 0, 1))]},
    "v3, shards": {"chunks": (1, 8, 8), "shards": (2, 16, 16)},
    "v3, shards without compressor": {"chunks": (1, 8, 8), "shards": (2, 16, 16), "compressors": None},
    "v3, transposed in shards": {
        "chunks": (1, 8, 8),
        "shards": (2, 16, 16),
        "filters": [TransposeCodec(order=(2, 0, 1))],
    },
}


@pytest.mark.parametrize("target", _CODECS)
@pytest.mark.parametrize("source", ["v2", "v2, F order", "v2, big endian", "v3, transposed", "v3, shards"])
def test_every_kind_of_array_into_every_other(source, target, tmp_path):
    chosen = ((2, 0), slice(3, 40, 1), slice(0, 50, 3))
    case = Case(tmp_path, _CODECS[source], {"dtype": "uint16", **_CODECS[target]}, chosen)
    result = case.copy()
    case.check()
    compare_pixels(case.plan())
    written = files(case.target)
    assert result == (len(written), sum(map(len, written.values())))
    case.copy(workers=1)
    assert files(case.target) == written


def test_the_kinds_above_take_both_ways():
    plain, through_the_array = [], []
    with tempfile.TemporaryDirectory() as directory:
        for number, (name, how) in enumerate(_CODECS.items()):
            path = Path(directory, str(number))
            make(path, SHAPE, **{"dtype": "uint16", "chunks": (1, 16, 16), **how})
            end = job_of(storage(path), storage(path), WHOLE).open()[1]
            (plain if isinstance(end, FileTarget) else through_the_array).append(name)
            assert isinstance(end, (FileTarget, ArrayTarget))
    assert "v3, shards" in plain
    assert {"v2, F order", "v2, big endian", "v3, transposed in shards"} <= set(through_the_array)


def test_bits_survive(tmp_path):
    values = np.array([0x7FC00001, 0xFFC00000, 0x80000000, 0x7F800001, 0], np.uint32).view(np.float32)
    make(tmp_path / "s", (5,), "float32", chunks=(2,))[...] = values
    make(tmp_path / "t", (5,), "float32", chunks=(3,))
    copy(tmp_path / "s", tmp_path / "t", (slice(0, 5, 1),))
    assert_same(pixels(tmp_path / "t"), values)


def test_shapes_and_types_that_do_not_fit_are_refused(tmp_path):
    make(tmp_path / "s", (4, 4), "uint16", chunks=(2, 2))
    make(tmp_path / "shape", (4, 5), "uint16", chunks=(2, 2))
    make(tmp_path / "type", (4, 4), "int16", chunks=(2, 2))
    for name in ("shape", "type"):
        with pytest.raises(ps.ArgumentError, match="cannot be copied"):
            copy(tmp_path / "s", tmp_path / name, (slice(0, 4, 1), slice(0, 4, 1)))


# --- missing chunks, fill values ------------------------------------------------------------------


@pytest.mark.parametrize("shards", [None, (2, 16, 16)])
def test_chunks_of_the_fill_value_are_not_stored(shards, tmp_path):
    source = make(tmp_path / "s", SHAPE, chunks=(1, 16, 16), fill_value=7)
    source[1, :16, :16] = 5
    make(tmp_path / "t", SHAPE, chunks=(1, 8, 8), shards=shards, fill_value=7)
    result = copy(tmp_path / "s", tmp_path / "t", WHOLE)
    assert result.files == len(files(tmp_path / "t")) == (4 if shards is None else 1)
    assert_same(pixels(tmp_path / "t"), np.asarray(source[...]))


def test_missing_chunks_read_as_the_fill_value_of_the_source(tmp_path):
    make(tmp_path / "s", SHAPE, chunks=(1, 16, 16), fill_value=7)[2] = 9
    make(tmp_path / "t", SHAPE, chunks=(2, 8, 8), fill_value=9)
    copy(tmp_path / "s", tmp_path / "t", WHOLE)
    found = pixels(tmp_path / "t")
    assert (found[:2] == 7).all()
    assert (found[2] == 9).all()
    assert not any("c/1/" in name for name in files(tmp_path / "t"))


@pytest.mark.parametrize("shards", [None, (2, 16, 16)])
def test_what_was_there_before_is_replaced(shards, tmp_path):
    case = Case(tmp_path, {"fill_value": 0}, {"shards": shards})
    zarr.open_array(case.target / "a")[...] = 8
    case.copy()
    case.check()


@pytest.mark.parametrize("how", [{}, {"chunks": (1, 8, 8), "shards": (1, 16, 16)}, {"zarr_format": 2}])
def test_missing_chunks_are_an_error_where_they_are_to_be(how, tmp_path):
    make(tmp_path / "s", SHAPE, **{"chunks": (1, 16, 16), **how})[1] = 5
    make(tmp_path / "t", SHAPE, chunks=(1, 16, 16))
    job = job_of(storage(tmp_path / "s", missing="raise"), storage(tmp_path / "t"), WHOLE)
    with pytest.raises(ps.MissingChunkError, match="missing"):
        copy_pixels(plan_pixels(job, max_memory=PLENTY, workers=2), skip_existing=False)


def test_every_chunk_is_stored_where_missing_ones_would_be_an_error(tmp_path):
    make(tmp_path / "s", SHAPE, chunks=(1, 16, 16))
    make(tmp_path / "t", SHAPE, chunks=(1, 20, 25))
    job = job_of(storage(tmp_path / "s"), storage(tmp_path / "t", missing="raise"), WHOLE)
    plan = plan_pixels(job, max_memory=PLENTY, workers=2)
    assert copy_pixels(plan, skip_existing=False).files == plan.files == 12


@pytest.mark.parametrize(
    "how", [{}, {"chunks": (1, 8, 8), "shards": (1, 16, 16)}, {"zarr_format": 2, "order": "F"}]
)
@pytest.mark.parametrize("change", [b"", b"abc", b"\0" * 64])
def test_a_damaged_chunk_is_named_and_nothing_unfinished_stays(how, change, tmp_path):
    case = Case(tmp_path, how, {"shards": (2, 16, 16)})
    name = sorted(files(case.source))[-1]
    (case.source / name).write_bytes(change)
    for workers in (1, 2, 4):
        with pytest.raises(ps.DamagedChunkError) as caught:
            case.copy(workers=workers)
        assert str(case.source / name) in str(caught.value)
        assert not hidden(case.target)
    assert not any(thread.name.startswith("platestore") for thread in threading.enumerate())


# --- how much is done -----------------------------------------------------------------------------


class Counter:
    """Counts which chunks are decoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reads: dict[tuple[int, ...], int] = {}
        real, lock = ChunkReader.read, threading.Lock()

        def read(reader: ChunkReader, place: tuple[int, ...], out: np.ndarray) -> bool:
            with lock:
                self.reads[place] = self.reads.get(place, 0) + 1
            return real(reader, place, out)

        monkeypatch.setattr(ChunkReader, "read", read)


@pytest.mark.parametrize("shards", [None, (4, 32, 32), (16, 32, 32)])
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(
    ("source", "target"), [((1, 64, 64), (4, 16, 16)), ((4, 16, 16), (1, 64, 64)), ((2, 16, 64), (4, 32, 8))]
)
def test_each_chunk_is_decoded_once_where_grids_are_aligned(
    source, target, workers, shards, tmp_path, monkeypatch
):
    if shards is not None and any(n % m for n, m in zip(shards, target, strict=True)):
        target, shards = (4, 16, 16), (4, 32, 64)
    shape = (16, 64, 64)
    make(tmp_path / "s", shape, chunks=source)[...] = noise("uint16", shape)
    make(tmp_path / "t", shape, chunks=target, shards=shards)
    counter = Counter(monkeypatch)
    copy(tmp_path / "s", tmp_path / "t", tuple(slice(0, n, 1) for n in shape), workers=workers)
    assert set(counter.reads.values()) == {1}
    assert len(counter.reads) == math.prod(n // c for n, c in zip(shape, source, strict=True))


def test_chunks_outside_the_selection_are_not_decoded(tmp_path, monkeypatch):
    case = Case(tmp_path, {}, {}, ((2,), slice(17, 30, 1), slice(0, 50, 40)))
    counter = Counter(monkeypatch)
    case.copy()
    assert counter.reads == {(2, 1, 0): 1, (2, 1, 2): 1}
    case.check()


def test_the_main_thread_encodes_and_decodes_nothing(tmp_path, monkeypatch):
    case = Case(tmp_path, {}, {"shards": (2, 16, 16)})
    threads = set()
    for cls, name in ((ChunkReader, "read"), (ChunkWriter, "encode")):
        real = getattr(cls, name)

        def noted(*args: Any, real: Any = real) -> Any:
            threads.add(threading.current_thread())
            return real(*args)

        monkeypatch.setattr(cls, name, noted)
    for workers in (1, 2):
        case.copy(workers=workers)
    assert threads
    assert threading.main_thread() not in threads


def test_small_copies_in_a_thread_start_no_other(tmp_path, monkeypatch):
    case = Case(tmp_path, {}, {"shards": (2, 16, 16)})
    case.copy()
    before = files(case.target)
    shutil.rmtree(case.target / "a" / "c")
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
        monkeypatch.setattr(threading.Thread, "start", lambda _: pytest.fail("a thread was started"))
        result = pool.submit(case.copy, workers=1).result()
    assert files(case.target) == before
    assert result.files == len(before)


# --- resuming, stopping, failing ------------------------------------------------------------------


@pytest.mark.parametrize("shards", [None, (2, 16, 16)])
def test_what_is_there_is_not_made_again(shards, tmp_path, monkeypatch):
    case = Case(tmp_path, {}, {"shards": shards})
    case.copy()
    whole = files(case.target)
    names = sorted(whole)
    gone = names[:2] + names[-1:]
    for name in gone:
        (case.target / name).unlink()
    for name in names[2:-1]:
        os.utime(case.target / name, ns=(1, 1))
    counter, told = Counter(monkeypatch), []
    result = case.copy(skip=True, progress=told.append)
    assert files(case.target) == whole
    assert result == (3, sum(len(whole[name]) for name in gone))
    assert all((case.target / name).stat().st_mtime_ns == 1 for name in names[2:-1])
    assert sum(told) == case.expected.nbytes
    assert 0 < len(counter.reads) < 3 * 3 * 4
    counter.reads.clear()
    assert case.copy(skip=True) == (0, 0)
    assert len(counter.reads) <= 4, "only what holds nothing but the fill value is looked at again"


@pytest.mark.parametrize("shards", [None, (2, 16, 16)])
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("after", [0, 1, 4])
def test_a_stop_ends_it_and_it_can_be_resumed(after, workers, shards, tmp_path):
    how = {"chunks": (1, 8, 8), "shards": shards}
    case = Case(tmp_path, {}, how)
    case.copy()
    whole = files(case.target)
    shutil.rmtree(case.target / "a" / "c")
    stop, calls = threading.Event(), 0

    def progress(_: int) -> None:
        nonlocal calls
        calls += 1
        if calls == after:
            stop.set()

    if not after:
        stop.set()
    plan = plan_pixels(case.plan().job, max_memory=PLENTY, workers=workers)
    small = PixelPlan(
        **{**{n: getattr(plan, n) for n in plan.__slots__}, "block": (1, 8, 16), "depth": 2, "drain_part": 1}
    )
    with pytest.raises(Stopped):
        copy_pixels(small, skip_existing=False, progress=progress, stop=stop)
    written = files(case.target)
    assert not hidden(case.target)
    assert len(written) < len(whole)
    assert written.items() <= whole.items()
    case.copy(skip=True, workers=workers)
    assert files(case.target) == whole


def test_an_interrupt_leaves_nothing_unfinished(tmp_path):
    case = Case(tmp_path, {}, {"chunks": (1, 8, 8), "shards": (2, 16, 16)})

    def progress(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        case.copy(progress=progress)
    assert not hidden(case.target)
    assert not any(thread.name.startswith("platestore") for thread in threading.enumerate())


@pytest.mark.parametrize("shards", [None, (2, 16, 16)])
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_an_error_of_the_disk_is_raised_and_nothing_unfinished_stays(workers, shards, tmp_path, monkeypatch):
    case = Case(tmp_path, {}, {"chunks": (1, 8, 8), "shards": shards})
    real, count = os.write, 0

    def write(descriptor: int, data: Any) -> int:
        nonlocal count
        count += 1
        if count > 5:
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space left"):
        case.copy(workers=workers)
    monkeypatch.undo()
    assert not hidden(case.target)
    case.copy(skip=True, workers=workers)
    case.check()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
@pytest.mark.parametrize("shards", [None, (2, 16, 16)])
def test_killed_and_resumed_it_is_the_same(shards, tmp_path):
    case = Case(tmp_path, {}, {"chunks": (1, 8, 8), "shards": shards})
    case.copy()
    whole = files(case.target)
    shutil.rmtree(case.target / "a" / "c")
    for name, left in (("replace", 2), ("write", 9)):
        chosen = json.dumps([(0, n, 1) for n in SHAPE])
        found = child("kill", name, left, case.source, case.target, chosen, PLENTY, 2)
        assert found.returncode == -signal.SIGKILL
        written = files(case.target)
        assert written.items() <= whole.items()
    assert 0 < len(written) < len(whole)
    case.copy(skip=True)
    assert files(case.target) == whole


# --- other stores ---------------------------------------------------------------------------------


def archive(path: Path, target: Path, workers: int, source: Path, memory: int = PLENTY, **kwargs: Any) -> Any:
    """Copy into an archive that holds the target's document."""
    with ArchiveStorage(str(path), json_first=False, **kwargs) as store:
        for name in DOCUMENTS:
            if (target / "a" / name).exists():
                store.write(f"a/{name}", (target / "a" / name).read_bytes())
        plan = plan_pixels(job_of(storage(source), store, WHOLE), max_memory=memory, workers=workers)
        found = copy_pixels(plan, skip_existing=bool(kwargs))
        compare_pixels(plan)
        store.finish()
    return found


@pytest.mark.parametrize(
    "name", ["v2", "v3", "v3, no compressor", "v3, shards", "v3, transposed", "v3, transposed in shards"]
)
def test_into_an_archive_entries_come_in_the_same_order_whatever_the_threads(name, tmp_path):
    case = Case(tmp_path, {}, {"chunks": (1, 8, 8), **_CODECS[name]})
    case.copy()
    for workers in (1, 2, 4):
        result = archive(tmp_path / f"{workers}.zip", case.target, workers, case.source)
    data = (tmp_path / "1.zip").read_bytes()
    assert data == (tmp_path / "2.zip").read_bytes() == (tmp_path / "4.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "1.zip") as found:
        entries = {n: found.read(n) for n in found.namelist() if n.rpartition("/")[2] not in DOCUMENTS}
    if "transposed in" not in name:  # two programs write these shards, in two ways
        assert entries == files(case.target)
    assert result == (len(entries), sum(map(len, entries.values())))


def test_an_archive_that_was_interrupted_is_continued(tmp_path):
    case = Case(tmp_path, {}, {"chunks": (1, 8, 8), "shards": (2, 16, 16)})
    archive(tmp_path / "whole.zip", case.target, 2, case.source)
    whole = (tmp_path / "whole.zip").read_bytes()
    for share in (0.3, 0.6, 0.9):
        (tmp_path / "part.zip").write_bytes(whole[: int(len(whole) * share)])
        archive(tmp_path / "part.zip", case.target, 2, case.source, resume=True)
        assert (tmp_path / "part.zip").read_bytes() == whole


@pytest.mark.parametrize("name", ["v2", "v3", "v3, shards", "v3, transposed in shards"])
def test_stores_in_memory(name, tmp_path):
    case = Case(tmp_path, {}, {"chunks": (1, 8, 8), **_CODECS[name]})
    case.copy()
    for workers in (1, 3):
        store = ZarrStorage(MemoryStore(), StorageOptions(read_only=False))
        for document in DOCUMENTS:
            if (case.target / "a" / document).exists():
                store.write(f"a/{document}", (case.target / "a" / document).read_bytes())
        job = job_of(storage(case.source), store, WHOLE)
        plan = plan_pixels(job, max_memory=PLENTY, workers=workers)
        copy_pixels(plan, skip_existing=False)
        compare_pixels(plan)
        keys = [k for k in store.keys("a") if k.rpartition("/")[2] not in DOCUMENTS]
        if "transposed in" not in name:  # two programs write these shards, in two ways
            assert {key: store.read(key) for key in keys} == files(case.target)


# --- comparing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how", [{}, {"chunks": (1, 8, 8), "shards": (2, 16, 16)}, {"zarr_format": 2, "order": "F"}]
)
@pytest.mark.parametrize("place", [(0, 0, 0), (0, 30, 49), (2, 39, 3)])
def test_one_other_bit_is_found_and_its_place_is_named(place, how, tmp_path):
    case = Case(tmp_path, {}, how)
    case.copy()
    told: list[int] = []
    compare_pixels(case.plan(), progress=told.append)
    assert sum(told) == case.expected.nbytes
    array = zarr.open_array(case.target / "a")
    array[place] ^= 1
    with pytest.raises(ps.VerifyError) as caught:
        compare_pixels(case.plan())
    assert str(case.target / "a") in str(caught.value)
    assert f"[{', '.join(f'{i}:{i + 1}' for i in place)}]" in str(caught.value)
    assert isinstance(caught.value, OSError)


@pytest.mark.parametrize("dtype", ["float32", "complex64", "complex128", "bool"])
def test_comparing_is_by_bits(dtype, tmp_path):
    values = np.zeros(8, dtype)
    values[1::2] = np.nan if values.dtype.kind in "fc" else True
    for name in ("s", "t"):
        make(tmp_path / name, (8,), dtype, chunks=(3,))[...] = values
    job = job_of(storage(tmp_path / "s"), storage(tmp_path / "t"), (slice(0, 8, 1),))
    plan = plan_pixels(job, max_memory=PLENTY, workers=1)
    compare_pixels(plan)
    if values.dtype.kind in "fc":
        values[4] = -values[4] if values.dtype.kind == "f" else complex(0.0, -0.0)
        zarr.open_array(tmp_path / "t" / "a")[...] = values
        with pytest.raises(ps.VerifyError, match=r"\[4:5\]"):
            compare_pixels(plan)


def test_the_first_difference_is_named_whatever_the_threads(tmp_path):
    case = Case(tmp_path, {}, {"chunks": (1, 8, 8)})
    case.copy()
    array = zarr.open_array(case.target / "a")
    for place in ((2, 30, 30), (1, 20, 20), (2, 1, 1)):
        array[place] ^= 1
    for workers in (1, 2, 4):
        with pytest.raises(ps.VerifyError, match="1:2, 20:21, 20:21"):
            compare_pixels(case.plan(workers=workers))


@pytest.mark.parametrize("how", [{}, {"chunks": (1, 8, 8), "shards": (2, 16, 16)}])
def test_a_missing_or_damaged_chunk_of_the_copy_is_found(how, tmp_path):
    case = Case(tmp_path, {}, how)
    case.copy()
    name = sorted(files(case.target))[-1]
    (case.target / name).write_bytes(b"")
    with pytest.raises(ps.DamagedChunkError) as caught:
        compare_pixels(case.plan())
    assert str(case.target / name) in str(caught.value)
    (case.target / name).unlink()
    with pytest.raises(ps.VerifyError):
        compare_pixels(case.plan())


def test_comparing_can_be_stopped(tmp_path):
    case = Case(tmp_path, {}, {})
    case.copy()
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        compare_pixels(case.plan(), stop=stop)


# --- chunks that come in any order ----------------------------------------------------------------


@pytest.mark.parametrize("location", ["end", "start"])
@pytest.mark.parametrize("restricted", [False, True])
def test_shards_written_by_several_threads_are_the_same_to_the_byte(location, restricted, tmp_path):
    shape, shards = (61, 66), {"shape": (16, 24), "index_location": location}
    data = noise("uint16", shape)
    data[:8, :6] = 0
    padded = np.zeros((64, 66), "uint16")
    padded[:61] = data
    results = []
    for number in range(4):
        path = tmp_path / str(number)
        make(path, shape, chunks=(4, 6), shards=shards)[...] = 3
        store = storage(path)
        document = read_array(store, "a", 3)
        assert document is not None
        found = chunk_format(document)
        assert found is not None
        writer = ChunkWriter(store, "a", found, fresh=False, ordered=True)
        places = [(y, x) for y in range(16) for x in range(11)]
        if restricted:
            places = places[5:-8]
            writer.restrict(places)
        if number:
            np.random.default_rng(number).shuffle(places)
        barrier = threading.Barrier(4)

        def work(k: int, at: Any = places, barrier: Any = barrier, writer: Any = writer) -> None:
            barrier.wait()
            for y, x in at[k::4]:
                block = padded[y * 4 : y * 4 + 4, x * 6 : x * 6 + 6]
                writer.write((int(y), int(x)), np.ascontiguousarray(block))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        results.append(files(path))
        if not restricted:
            np.testing.assert_array_equal(pixels(path), data)
        assert not hidden(path)
    assert all(found == results[0] for found in results)


def test_a_shard_that_cannot_be_put_in_order_is_taken_away(tmp_path, monkeypatch):
    make(tmp_path, (8, 8), chunks=(4, 4), shards=(8, 8))
    store = storage(tmp_path)
    document = read_array(store, "a", 3)
    assert document is not None
    found = chunk_format(document)
    assert found is not None
    writer = ChunkWriter(store, "a", found, fresh=False, ordered=True)
    blocks = noise("uint16", (4, 4, 4))
    for place, block in zip([(1, 1), (1, 0), (0, 1)], blocks, strict=False):
        writer.write(place, block)
    assert len(hidden(tmp_path)) == 1
    monkeypatch.setattr(os, "read", lambda *_: b"")
    with pytest.raises(OSError, match="cut off"):
        writer.write((0, 0), blocks[3])
    monkeypatch.undo()
    assert not hidden(tmp_path)
    assert files(tmp_path) == {}


# --- memory ---------------------------------------------------------------------------------------


def test_the_block_depends_on_the_budget_and_not_on_the_threads(tmp_path):
    make(tmp_path / "s", (64, 512, 512), chunks=(1, 512, 512))
    make(tmp_path / "t", (64, 512, 512), chunks=(16, 64, 64), shards=(32, 256, 256))
    job = job_of(
        storage(tmp_path / "s"), storage(tmp_path / "t"), tuple(slice(0, n, 1) for n in (64, 512, 512))
    )
    for memory in (14 * MIB, 24 * MIB, 64 * MIB, 512 * MIB):
        plans = [plan_pixels(job, max_memory=memory, workers=n) for n in (1, 2, 7, 64)]
        assert len({plan.block for plan in plans}) == 1
        assert all(plan.nbytes_needed <= memory for plan in plans)
        assert plans[0].workers == 1
        assert [plan.workers for plan in plans] == sorted(plan.workers for plan in plans)
    assert plans[0].block == (16, 512, 512)
    assert plans[2].workers == 7


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("shards", [None, (4, 32, 32)])
@pytest.mark.parametrize("codec", ["blosc", "gzip", "big endian"])
def test_less_than_the_least_is_an_error_with_the_figure_and_that_figure_works(
    codec, shards, workers, tmp_path
):
    how: dict[str, Any] = {"gzip": {"compressors": [GzipCodec(level=1), Crc32cCodec()]}}.get(codec, {})
    if codec == "big endian":
        how = {"serializer": BytesCodec(endian="big")}
    shape = (8, 64, 64)
    make(tmp_path / "s", shape, chunks=(1, 64, 64))[...] = noise("uint16", shape)
    make(tmp_path / "t", shape, chunks=(4, 16, 16), shards=shards, **how)
    job = job_of(storage(tmp_path / "s"), storage(tmp_path / "t"), tuple(slice(0, n, 1) for n in shape))
    with pytest.raises(ps.BudgetError) as caught:
        plan_pixels(job, max_memory=4096, workers=workers)
    needed = caught.value.needed
    assert str(needed) in str(caught.value)
    with pytest.raises(ps.BudgetError) as again:
        plan_pixels(job, max_memory=needed - 1, workers=workers)
    assert again.value.needed == needed
    plan = plan_pixels(job, max_memory=needed, workers=workers)
    assert plan.nbytes_needed == needed
    copy_pixels(plan, skip_existing=False)
    compare_pixels(plan)
    np.testing.assert_array_equal(pixels(tmp_path / "t"), noise("uint16", shape))


def growth(path: Path, chosen: list[tuple[int, int, int]], memory: int, workers: int) -> int:
    """Bytes by which a new process grew in one copy, and one comparison."""
    first = path / "first"
    make(first / "s", (8, 64), chunks=(1, 64))[...] = noise("uint16", (8, 64))
    make(first / "t", (8, 64), chunks=(4, 16), shards=(8, 32))
    found = child("measure", first, path / "s", path / "t", json.dumps(chosen), memory, workers)
    assert found.returncode == 0, found.stderr[-2000:]
    return int(found.stdout.splitlines()[-1])


def large(path: Path, shape: tuple[int, ...], values: int, **how: Any) -> int:
    """A large array, written chunk by chunk as the same file; returns its size in bytes."""
    array = make(path, shape, **how)
    size = tuple(min(c, n) for c, n in zip(array.shards or array.chunks, shape, strict=True))
    block = np.random.default_rng(0).integers(0, values, size, dtype="uint16")
    array[tuple(slice(0, n) for n in size)] = block
    (name,) = files(path)
    keys = [
        array.metadata.encode_chunk_key(p)
        for p in np.ndindex(*(-(-n // c) for n, c in zip(shape, size, strict=True)))
    ]
    for key in keys:
        other = path / "a" / key
        if other != path / name:
            other.parent.mkdir(parents=True, exist_ok=True)
            os.link(path / name, other)
    return math.prod(shape) * 2


_LINUX = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measured as Linux tells it")


@pytest.mark.slow
@_LINUX
def test_a_source_of_twenty_times_the_budget(tmp_path):
    budget, shape = 24 * MIB, (960, 512, 512)
    nbytes = large(tmp_path / "s", shape, 8, chunks=(1, 512, 512))
    assert nbytes >= 20 * budget
    make(tmp_path / "t", shape, chunks=(16, 128, 128), shards=(64, 512, 512))
    grown = growth(tmp_path, [(0, n, 1) for n in shape], budget, 2)
    assert grown <= 1.1 * budget, f"grew by {grown / MIB:.1f} MiB of {budget / MIB:.0f}"


@_LINUX
@pytest.mark.parametrize("shards", [None, (16, 256, 512)])
def test_the_least_budget_is_kept_to_by_what_hardly_compresses(shards, tmp_path):
    shape = (64, 512, 1024)
    large(tmp_path / "s", shape, 2**16, chunks=(16, 256, 256), shards=(32, 512, 512))
    cropped = (59, 500, 1001)
    make(tmp_path / "t", cropped, chunks=(8, 256, 512), shards=shards, compressors=[ZstdCodec(level=0)])
    chosen = [(5, 64, 1), (9, 509, 1), (0, 1001, 1)]
    job = job_of(storage(tmp_path / "s"), storage(tmp_path / "t"), tuple(slice(*p) for p in chosen))
    assert tuple(map(picked_size, job.picks)) == cropped
    with pytest.raises(ps.BudgetError) as caught:
        plan_pixels(job, max_memory=1, workers=1)
    budget = caught.value.needed
    grown = growth(tmp_path, chosen, budget, 4)
    assert grown <= 1.1 * budget, f"grew by {grown / MIB:.1f} MiB of {budget / MIB:.1f}"
