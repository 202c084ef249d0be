"""Several processes: forked and spawned children, and writers that share a chunk or shard."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from array_workers import EVERY, SHAPE, make, make_zarr, numbers, reopened, write_blocks

import platestore as ps
from platestore.arrays.layout import write_units

pytestmark = pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr")
HERE = os.path.dirname(__file__)
WRITERS = 8
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

# --- fork -----------------------------------------------------------------------------------------

# In a program of its own: here, TensorStore and threads are in use already. What it prints is judged below.
SCRIPT = """
import sys
sys.path.insert(0, {here!r})
import json, multiprocessing, os, warnings
warnings.simplefilter("ignore")
import numpy as np
from array_workers import *

root, zarr_format, start, used = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4] == "used"


def report(array):
    out = everything(array)
    out["pixels"] = out["pixels"] == numbers(dtype=array.dtype).tobytes()
    return out


def grandchild(array):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(everything_there, (array,))


def everything_there(array):
    return report(array)


if __name__ == "__main__":
    array = reopened(root, zarr_format)
    if used:
        array[0]
        array[0, 0, 0] = array[0, 0, 0]
    if start == "os.fork":
        source, sink = os.pipe()
        child = os.fork()
        if not child:
            os.write(sink, json.dumps(report(array)).encode())
            os._exit(0)
        os.close(sink)
        with os.fdopen(source) as file:
            result = json.load(file)
        os.waitpid(child, 0)
    elif start == "fork, then spawn":
        with multiprocessing.get_context("fork").Pool(1) as pool:
            pool.apply(os.getpid)
        parent = multiprocessing.get_context("fork")
        from concurrent.futures import ProcessPoolExecutor
        with ProcessPoolExecutor(1, mp_context=parent) as pool:
            result = pool.submit(grandchild, array).result()
    else:
        with multiprocessing.get_context(start).Pool(2) as pool:
            result = pool.map(report, [array])[0]
    result["own"] = result.pop("pid") == os.getpid()
    result["parent reads"] = bool((array.refresh()[...] == numbers(dtype=array.dtype)).all())
    array[1, 1, 1] = array[1, 1, 1]
    print(json.dumps(result))
"""
REFUSED_IN_CHILD = {"write one element", "write a part", "write lists", "write points", "tensorstore"}
SUMS = {
    "read": int(numbers().astype("int64").sum()),
    "read a window": int(numbers()[1, 2:4, ::2].astype("int64").sum()),
    "read lists": int(numbers()[np.ix_([0, 4], [1])].astype("int64").sum()),
    "read points": int(numbers()[[0, 4], 1, 2].astype("int64").sum()),
}


def run_child(tmp_path, case, start, used=True):
    import json

    root = tmp_path / "store"
    make_zarr(root, case)[...] = numbers()
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(here=HERE))
    command = [sys.executable, script, root, str(EVERY[case][0]), start, "used" if used else "fresh"]
    run = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr[-3000:]
    out = json.loads(run.stdout)
    assert out.pop("own") is False
    assert out.pop("parent reads") is True
    assert out.pop("pixels") is True, out
    return out


def all_worked(out, case="v3 sharded"):
    done = dict(out)
    opened = done.pop("tensorstore")
    assert opened == 1 or (case == "v2 lz4" and "ForkError" not in opened)
    assert {name: done.pop(name) for name in SUMS} == SUMS
    assert set(done.values()) == {None}, done


@needs_fork
@pytest.mark.parametrize("start", ["fork", "os.fork"])
@pytest.mark.parametrize("case", ["v2", "v3", "v3 sharded"])
def test_a_forked_child_reads_and_writes_whole_units_and_is_told_of_the_rest(tmp_path, case, start):
    out = run_child(tmp_path, case, start)
    assert {name: out.pop(name) for name in SUMS} == SUMS
    for name in REFUSED_IN_CHILD:
        message = out.pop(name)
        assert str(message).startswith("ForkError"), (name, message)
        assert "spawn" in message
        assert "forkserver" in message
        assert "store/0" in message
    assert set(out.values()) == {None}, out


@pytest.mark.quick(1)
@needs_fork
@pytest.mark.parametrize("case", ["v3 sharded", "v2 lz4"])
def test_a_child_forked_before_tensorstore_was_used_may_do_everything(tmp_path, case):
    all_worked(run_child(tmp_path, case, "fork", used=False), case)


@pytest.mark.quick(1)
@pytest.mark.parametrize("start", ["spawn", pytest.param("forkserver", marks=needs_fork)])
def test_a_spawned_child_may_do_everything(tmp_path, start):
    all_worked(run_child(tmp_path, "v3 sharded", start))


@needs_fork
def test_a_child_spawned_by_a_forked_child_may_do_everything(tmp_path):
    all_worked(run_child(tmp_path, "v3 sharded", "fork, then spawn"))


GRANDCHILD = """
import sys
sys.path.insert(0, {here!r})
import os, warnings
warnings.simplefilter("ignore")
from array_workers import *
import platestore as ps
array = make(sys.argv[1], "v3")
array[...] = numbers()
def forked(work):
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            print(type(error).__name__, error, flush=True)
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
def inner():
    fresh = reopened(sys.argv[1], 3)            # opened in the child
    assert (fresh[...] == numbers()).all()
    try:
        fresh[0, 0, 0] = 5
        raise SystemExit("it was written")
    except ps.ForkError as error:
        assert isinstance(error, RuntimeError)
    forked(last)
def last():
    assert (reopened(sys.argv[1], 3)[...] == numbers()).all()
    try:
        array.tensorstore()
        raise SystemExit("it was opened")
    except ps.ForkError:
        pass
forked(inner)
assert (array[...] == numbers()).all()
array[0, 0, 0] = 7
assert array[0, 0, 0] == 7
print("done")
"""


@needs_fork
def test_children_of_children_and_arrays_opened_there(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", GRANDCHILD.format(here=HERE), tmp_path],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.stdout == "done\n", run.stdout + run.stderr[-2000:]


SHAPES = """
import sys
sys.path.insert(0, {here!r})
import os, warnings
warnings.simplefilter("ignore")
from array_workers import *
import platestore as ps
array = make(sys.argv[1], sys.argv[2])
array[...] = numbers()
unit = array._units[0]
document = (array.shape, dict(array.attrs))
if not os.fork():
    try:
        for change in (
            lambda: array.resize((3, 5, 6)),                     # parts of chunks would have to be cleared
            lambda: array.append(numbers((unit, 6, 7))),         # it would begin within a chunk
        ):
            try:
                change()
                raise SystemExit("it was changed")
            except ps.ForkError:
                pass
            fresh = reopened(sys.argv[1], array.metadata.zarr_format)
            assert (fresh.shape, dict(fresh.attrs)) == document, (fresh.shape, dict(fresh.attrs))
            assert (fresh[...] == numbers()).all()
        array.resize((unit, 6, 7))
        array.append(numbers((unit, 6, 7)))
        assert (array[unit:] == numbers((unit, 6, 7))).all()
        os._exit(0)
    except BaseException as error:
        print(type(error).__name__, error, flush=True)
        os._exit(1)
assert os.wait()[1] == 0
array.refresh()
assert array.shape == (2 * unit, 6, 7)
assert (array[unit:] == numbers((unit, 6, 7))).all()
print("done")
"""


@needs_fork
@pytest.mark.parametrize("case", ["v2", "v3 sharded"])
def test_a_forked_child_changes_shapes_by_whole_units_or_not_at_all(tmp_path, case):
    run = subprocess.run(
        [sys.executable, "-c", SHAPES.format(here=HERE), tmp_path, case],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.stdout == "done\n", run.stdout + run.stderr[-2000:]


WHOLE_LIFE = """
import sys, warnings
warnings.simplefilter("ignore")
import multiprocessing, numpy as np
import platestore as ps
def sums(key):
    with ps.open_ome_zarr(sys.argv[1]) as plate:
        return int(plate[key]["0"][...].sum()), int(plate[key].data.dask_array().sum().compute())
if __name__ == "__main__":
    plate = ps.open_ome_zarr(sys.argv[1], layout="hcs", mode="w-", channel_names=["a"], version=sys.argv[2])
    for number, key in enumerate(["A/1/0", "A/2/0", "B/1/0"]):
        plate.create_position(*key.split("/")).create_image(
            "0", np.full((1, 1, 2, 8, 8), number + 1, "uint16")
        )
    assert int(plate["A/1/0"]["0"][...].sum()) == 128
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map(sums, ["A/1/0", "A/2/0", "B/1/0"]))
"""


@pytest.mark.quick(1)
@needs_fork
def test_a_plate_in_the_workers_of_a_data_loader(tmp_path, version):
    """What a training program does: it creates or looks at a plate, then reads it in forked workers."""
    run = subprocess.run(
        [sys.executable, "-c", WHOLE_LIFE, tmp_path / "p.zarr", version],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.stdout == "[(128, 128), (256, 256), (384, 384)]\n", run.stderr[-2000:]


# --- many writers ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def writers():
    """Spawned processes; all of them take part, as each waits for the others at the gate."""
    with multiprocessing.get_context("spawn").Pool(WRITERS) as pool:
        yield pool


def shared_out(regions, rng):
    """Numbered regions, spread over the writers so that each unit has several."""
    order = list(enumerate(regions, 1))
    rng.shuffle(order)
    return [order[n::WRITERS] for n in range(WRITERS)], dict(order)


SHARED = {
    "inner chunks of one shard": ((3, {"shards": (8, 12, 16)}), (8, 12, 16), (2, 3, 4), None),
    "inner chunks of several shards": ((3, {"shards": (4, 12, 16)}), (8, 20, 30), (2, 4, 5), None),
    "parts of one chunk of zarr v2": ((2, {}), (8, 12, 16), (8, 12, 16), (2, 3, 4)),
    "parts of one chunk of zarr v3": ((3, {}), (8, 12, 16), (8, 12, 16), (2, 6, 4)),
    "parts of one chunk, by zarr-python": (EVERY["v2 lz4"], (8, 12, 16), (8, 12, 16), (4, 6, 8)),
    "inner chunks of one shard, by zarr-python": (
        (3, {**EVERY["v3 sharded, lzma"][1], "shards": (4, 6, 8)}),
        (4, 6, 8),
        (2, 3, 4),
        (2, 3, 2),
    ),
}


def setting(tmp_path, name, rng):
    kind, shape, chunks, parts = SHARED[name]
    shards = kind[1].get("shards")
    if shards:
        shards = tuple(-(-s // c) * c for s, c in zip(shards, chunks, strict=True))
        kind = (kind[0], {**kind[1], "shards": shards})
    array = make(tmp_path, kind, shape, chunks)
    jobs, regions = shared_out(write_units(shape, parts or chunks), rng)
    assert all(jobs)
    return array, jobs, regions


def lost(array, regions):
    pixels = array[...]
    return [number for number, region in regions.items() if not (pixels[region] == number).all()]


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", SHARED)
def test_processes_that_share_a_file_lose_nothing(tmp_path, writers, name):
    rng = np.random.default_rng(1)
    array, jobs, regions = setting(tmp_path / "store", name, rng)
    (tmp_path / "gate").mkdir()
    pids = writers.map(
        write_blocks, [(array, job, str(tmp_path / "gate"), WRITERS) for job in jobs], chunksize=1
    )
    assert len(set(pids)) == WRITERS
    assert os.getpid() not in pids
    assert lost(array, regions) == []
    assert lost(reopened(tmp_path / "store", array.metadata.zarr_format, by_zarr=True), regions) == []


@pytest.mark.parametrize("same", [True, False], ids=["one handle", "a handle each"])
@pytest.mark.parametrize("name", SHARED)
def test_threads_that_share_a_file_lose_nothing(tmp_path, name, same):
    array, jobs, regions = setting(tmp_path, name, np.random.default_rng(2))

    def write(blocks):
        own = array if same else reopened(tmp_path, array.metadata.zarr_format)
        for number, region in blocks:
            own[region] = number

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, jobs))
    assert lost(array, regions) == []


def test_threads_that_share_a_shard_in_memory_lose_nothing():
    from zarr.storage import MemoryStore

    root = MemoryStore()
    array = make(root, (3, {"shards": (4, 6, 8)}), (4, 6, 8), (2, 3, 4))
    regions = dict(enumerate(write_units((4, 6, 8), (2, 3, 2)), 1))
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(lambda item: array.__setitem__(item[1], item[0]), regions.items()))
    assert lost(array, regions) == []


def test_points_and_lists_from_many_processes_lose_nothing(tmp_path, writers):
    array = make(tmp_path / "store", "v3 sharded")
    (tmp_path / "gate").mkdir()
    everywhere = [(n, tuple(np.unravel_index(n - 1, SHAPE))) for n in range(1, 211)]
    jobs = [
        [(n, tuple(slice(int(p), int(p) + 1) for p in place)) for n, place in everywhere[w::WRITERS]][:12]
        for w in range(WRITERS)
    ]
    pids = writers.map(
        write_blocks, [(array, job, str(tmp_path / "gate"), WRITERS) for job in jobs], chunksize=1
    )
    assert len(set(pids)) == WRITERS
    assert lost(array, {n: region for job in jobs for n, region in job}) == []


def test_a_process_that_appends_while_another_holds_a_handle(tmp_path, writers):
    array = make(tmp_path / "store", "v3 sharded")
    array[...] = numbers()
    for _ in range(3):
        writers.apply(grow_there, (array,))
    assert array.shape == SHAPE
    assert array.refresh().shape == (11, 6, 7)
    np.testing.assert_array_equal(array[5:7], numbers((2, 6, 7)))
    np.testing.assert_array_equal(array[9:], numbers((2, 6, 7)))


def grow_there(array):
    array.append(numbers((2, 6, 7)))


def test_fork_errors_are_runtime_errors_that_say_what_to_do():
    error = ps.ForkError("x")
    assert isinstance(error, RuntimeError)
    assert "spawn" in str(error)
