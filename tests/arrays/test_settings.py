"""Settings of the process: threads and memory, from code and from the environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from array_workers import make, numbers

import platestore as ps
from platestore.arrays import engine
from platestore.settings import Config, parse_bytes


@pytest.fixture(autouse=True)
def as_before():
    with ps.config.using():
        yield


def child(code, **environment):
    """What a fresh program prints."""
    given = {k: v for k, v in os.environ.items() if not k.startswith("PLATESTORE_")}
    return subprocess.run(
        [sys.executable, "-c", f"import platestore as ps\n{code}"],
        capture_output=True,
        text=True,
        env={**given, **environment},
    )


def test_by_default_all_processors_of_this_process_and_a_gibibyte():
    fresh = Config()
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    run = child("print(ps.config.threads, ps.config.max_memory)")
    assert run.stdout.split() == [str(available), str(2**30)], run.stderr
    assert fresh.threads >= 1


def test_the_environment_is_asked():
    run = child(
        "print(ps.config.threads, ps.config.max_memory)", PLATESTORE_THREADS="3", PLATESTORE_MAX_MEMORY="2GiB"
    )
    assert run.stdout.split() == ["3", str(2**31)], run.stderr
    assert child("print(ps.config.threads)", PLATESTORE_THREADS="").returncode == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PLATESTORE_THREADS", "0"),
        ("PLATESTORE_THREADS", "many"),
        ("PLATESTORE_THREADS", "-1"),
        ("PLATESTORE_THREADS", "1.5"),
        ("PLATESTORE_MAX_MEMORY", "lots"),
        ("PLATESTORE_MAX_MEMORY", "0"),
    ],
)
def test_nonsense_in_the_environment_is_an_error_that_names_it(name, value):
    run = child("print(ps.config.threads, ps.config.max_memory)", **{name: value})
    assert run.returncode == 1
    assert "ArgumentError" in run.stderr
    assert repr(value) in run.stderr.splitlines()[-1]
    assert child("", **{name: value}).returncode == 0  # the import does not ask


def test_code_outranks_the_environment():
    run = child("ps.config.threads = 7; print(ps.config.threads)", PLATESTORE_THREADS="3")
    assert run.stdout == "7\n"


@pytest.mark.parametrize("value", [1, 2, 64, np.int64(3)])
def test_threads_are_a_positive_integer(value):
    ps.config.threads = value
    assert ps.config.threads == value
    assert type(ps.config.threads) is int


@pytest.mark.parametrize("value", [0, -1, 1.5, True, None, "x", [], float("nan"), float("inf")], ids=repr)
def test_other_threads_are_refused_and_change_nothing(value):
    ps.config.threads = 5
    with pytest.raises(ps.ArgumentError, match="threads"):
        ps.config.threads = value
    assert ps.config.threads == 5


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1),
        (10**12, 10**12),
        ("1", 1),
        ("1024", 1024),
        ("1B", 1),
        ("1k", 1000),
        ("1kB", 1000),
        ("1KB", 1000),
        ("1KiB", 1024),
        ("1 KiB", 1024),
        ("512MiB", 2**29),
        ("512 mib", 2**29),
        ("1GB", 10**9),
        ("1 GB ", 10**9),
        ("1.5GiB", 3 * 2**29),
        (".5GiB", 2**29),
        ("1TB", 10**12),
        ("2TiB", 2**41),
        ("4G", 4 * 10**9),
        ("4Gi", 2**32),
        (np.int64(77), 77),
        (2e9, 2 * 10**9),
    ],
)
def test_bytes_in_words_and_numbers(value, number):
    assert parse_bytes(value, "x") == number
    assert type(parse_bytes(value, "x")) is int
    ps.config.max_memory = value
    assert ps.config.max_memory == number


@pytest.mark.parametrize(
    "value",
    [
        *(0, -1, "", " ", "GB", "1 X", "1 P", "1GBB", "-1GB", "1e3", "0", "0.1", "1,5GB", "1 1", "nan"),
        *(None, True, [], b"1GB", float("nan"), float("inf"), -float("inf"), "9" * 400 + "."),
    ],
    ids=lambda v: repr(v)[:20],
)
def test_what_is_no_number_of_bytes_is_refused(value):
    with pytest.raises(ps.ArgumentError, match=r"max_memory.*1GB"):
        ps.config.max_memory = value


def test_settings_can_be_changed_for_a_while():
    ps.config.threads, ps.config.max_memory = 4, "1GB"
    with ps.config.using(threads=2):
        assert (ps.config.threads, ps.config.max_memory) == (2, 10**9)
        with ps.config.using(max_memory="2GB", threads=1):
            assert (ps.config.threads, ps.config.max_memory) == (1, 2 * 10**9)
        assert (ps.config.threads, ps.config.max_memory) == (2, 10**9)
    with pytest.raises(KeyError), ps.config.using(threads=9, max_memory=5):
        raise KeyError
    assert (ps.config.threads, ps.config.max_memory) == (4, 10**9)
    with pytest.raises(ps.ArgumentError), ps.config.using(threads=3, max_memory="no"):
        pass
    assert (ps.config.threads, ps.config.max_memory) == (4, 10**9)


def test_the_thread_budget_reaches_handles_that_are_open(tmp_path):
    array = make(tmp_path, "v3")
    limits = []
    for threads in (1, 3, 1):
        ps.config.threads = threads
        array[...] = numbers(start=threads)
        np.testing.assert_array_equal(array[...], numbers(start=threads))
        spec = array._engine.handle(writable=True).spec(retain_context=True, unbind_context=True).to_json()
        limits.append(spec["context"]["data_copy_concurrency"])
    assert limits == [{"limit": 1}, {"limit": 3}, {"limit": 1}]


def test_all_arrays_share_one_context(tmp_path):
    arrays = [make(tmp_path / name, "v3") for name in "ab"]
    for array in arrays:
        array[0]
    assert engine._context(False) is engine._context(False)
    with ps.config.using(threads=9):
        assert engine._context(False) is not engine._context(True)


def test_the_budget_is_that_of_all_threads():
    seen = []
    with ps.config.using(threads=6):
        thread = threading.Thread(target=lambda: seen.append(ps.config.threads))
        thread.start()
        thread.join()
    assert seen == [6]


def test_the_settings_need_no_heavy_import():
    heavy = ("zarr", "tensorstore", "dask", "numpy")
    code = f"import sys; ps.config.threads; print([m for m in {heavy} if m in sys.modules])"
    assert child(code).stdout == "[]\n"


def test_settings_are_exported():
    run = child("import json; print(json.dumps([type(ps.config).__name__, 'config' in ps.__all__]))")
    assert json.loads(run.stdout) == ["Config", True]
