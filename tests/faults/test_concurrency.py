"""Several processes, or threads, change one plate at once: nothing is lost, and readers never notice."""

from __future__ import annotations

import contextlib
import os
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_checker import problems, read_documents, torn, unfinished
from fault_figures import record
from fault_workers import (
    SHAPE,
    add_among_changes,
    add_batches,
    add_positions,
    add_positions_under_a_lock_file,
    change_everything,
    create_and_add,
    fork_while_locked,
    look_or_write,
    new_plate,
    poll_or_write,
    run_together,
    watch_or_replace,
)

import platestore as ps


def _listed(path: Path) -> list[str]:
    """Positions as a reader finds them; a warning would be an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return [name for name, _ in ps.open_ome_zarr(path, mode="r").positions()]


def _require_whole(path: Path) -> None:
    files = read_documents(path)
    assert not problems(files)
    assert not torn(files)
    assert not unfinished(files)
    left = [p.name for p in path.parent.rglob("*") if p.name.endswith((".tmp", ".new", ".lock"))]
    assert not left


@pytest.mark.quick(1)
@pytest.mark.parametrize("version", ["0.4", pytest.param("0.5", marks=pytest.mark.slow)])
def test_sixteen_processes_add_fifty_positions_each_and_none_is_lost(version, tmp_path: Path):
    path = tmp_path / "s.zarr"
    new_plate(path, version)
    results = run_together(add_positions, [(str(path), i, 50) for i in range(16)], "spawn")
    expected = [name for _, made in results for name in made]
    assert len({pid for pid, _ in results}) == 16
    assert len(expected) == len(set(expected)) == 800
    found = _listed(path)
    assert Counter(found) == Counter([*expected, "S/1/0"])
    _require_whole(path)


def test_a_lock_file_keeps_processes_apart_where_directories_cannot_be_locked(version, tmp_path: Path):
    path = tmp_path / "s.zarr"
    new_plate(path, version)
    results = run_together(add_positions_under_a_lock_file, [(str(path), i, 10) for i in range(5)])
    assert len({pid for pid, _ in results}) == 5
    assert Counter(_listed(path)) == Counter([*(name for _, made in results for name in made), "S/1/0"])
    _require_whole(path)


def test_processes_that_add_batches_with_arrays_lose_none(version, tmp_path: Path):
    path = tmp_path / "s.zarr"
    new_plate(path, version)
    results = run_together(add_batches, [(str(path), i, 8) for i in range(6)])
    expected = [name for _, made in results for name in made]
    assert len({pid for pid, _ in results}) == 6
    assert Counter(_listed(path)) == Counter([*expected, "S/1/0"])
    plate = ps.open_ome_zarr(path)
    assert all(plate[name]["0"].shape == SHAPE for name in expected)
    _require_whole(path)


def _change_everything(path: Path, version: str, seed: int, processes: int, steps: int) -> None:
    new_plate(path, version)
    results = run_together(change_everything, [(str(path), i, steps, seed) for i in range(processes)])
    assert len({pid for pid, _ in results}) == processes
    positions: dict[str, Any] = {"S/1/0": None}
    channels, attributes, gone = ["DAPI"], {}, set()
    for _, expected in results:
        positions.update(expected["positions"])
        channels += expected["channels"]
        attributes.update(expected["attributes"])
        gone |= expected["gone"]
    found = _listed(path)
    assert Counter(found) == Counter([*positions]), f"seed {seed}"
    assert not gone & set(found)
    plate = ps.open_ome_zarr(path)
    assert Counter(plate["S/1/0"].channel_names) == Counter(channels)
    assert plate["S/1/0"]["0"].shape[1] == len(channels)
    assert {key: plate.zattrs.get(key) for key in attributes} == attributes
    for name, image in positions.items():
        if image is not None:
            assert (plate[name][image[0]].numpy() == image[1]).all()
    _require_whole(path)


@pytest.mark.parametrize("seed", range(2))
def test_processes_that_change_everything_at_once_undo_nothing_of_each_other(seed, version, tmp_path: Path):
    _change_everything(tmp_path / "s.zarr", version, seed, processes=4, steps=14)


def _add_among_changes(path: Path, version: str, seed: int, processes: int, count: int) -> None:
    new_plate(path, version)
    jobs = [(str(path), i, count, seed) for i in range(processes)]
    results = run_together(add_among_changes, jobs, timeout=280)
    assert len({pid for pid, _ in results}) == processes
    expected = [name for _, each in results for name in each["positions"]]
    assert len(expected) == len(set(expected)) == processes * count
    gone = set().union(*(each["gone"] for _, each in results))
    channels = [name for _, each in results for name in each["channels"]]
    found = _listed(path)
    lost = set(expected) - set(found)
    record(
        f"{processes} processes x {count} positions, among other changes",
        seed=seed,
        listed=len(found) - 1,
        expected=len(expected),
        lost=len(lost),
    )
    assert Counter(found) == Counter([*expected, "S/1/0"]), f"seed {seed}"
    assert not gone & set(found)
    plate = ps.open_ome_zarr(path)
    assert Counter(plate["S/1/0"].channel_names) == Counter(["DAPI", *channels])
    for _, each in results:
        assert {key: plate.zattrs.get(key) for key in each["attributes"]} == each["attributes"]
    _require_whole(path)


def test_positions_that_are_added_among_other_changes_are_all_there(version, tmp_path: Path):
    _add_among_changes(tmp_path / "s.zarr", version, seed=1, processes=6, count=8)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_sixteen_times_fifty_positions_added_among_other_changes_are_all_there(seed, tmp_path: Path):
    _add_among_changes(tmp_path / "s.zarr", "0.4" if seed % 2 else "0.5", seed, processes=16, count=50)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 14))
def test_many_more_changes_at_once_undo_nothing_of_each_other(seed, version, tmp_path: Path):
    _change_everything(tmp_path / "s.zarr", version, seed, processes=6, steps=40)


@pytest.mark.parametrize("attempt", range(2))
def test_eight_processes_create_one_store_and_all_of_them_get_it(attempt, version, tmp_path: Path):
    path = tmp_path / "s.zarr"
    results = run_together(create_and_add, [(str(path), i, version) for i in range(1, 9)])
    assert len({pid for pid, _ in results}) == 8
    assert Counter(_listed(path)) == Counter(made for _, made in results)
    assert [p.name for p in tmp_path.iterdir()] == ["s.zarr"]
    _require_whole(path)


@pytest.mark.parametrize("deletes", [False, True], ids=["adding", "deleting"])
def test_readers_never_meet_an_error_while_others_write(deletes, version, tmp_path: Path):
    """Readers see a growing plate.

    Where wells go meanwhile, one that was listed may be gone when it is opened: it is reported by a
    warning, and still no reader fails.
    """
    path = tmp_path / "s.zarr"
    new_plate(path, version)
    stops = [str(tmp_path / f"stop{i}") for i in range(2)]
    readers = [("read", str(path), stop, not deletes) for stop in stops]
    writers = [("write", str(path), i, stop, deletes) for i, stop in enumerate(stops)]
    results = run_together(poll_or_write, [*readers, *writers])
    assert len({pid for pid, _ in results}) == 4
    for _, (readings, _) in results[:2]:
        assert readings > 1
    found = _listed(path)
    for _, made in results[2:]:
        assert not set(made) - set(found)
    _require_whole(path)


@pytest.mark.slow
def test_readers_never_meet_an_error_in_a_minute_of_writing(version, tmp_path: Path):
    path = tmp_path / "s.zarr"
    new_plate(path, version)
    stops = [str(tmp_path / f"stop{i}") for i in range(2)]
    readers = [("read", str(path), stop) for stop in stops]
    writers = [("write", str(path), i, stop, 60.0) for i, stop in enumerate(stops)]
    results = run_together(look_or_write, [*readers, *writers], timeout=280)
    found = set(_listed(path))
    for _, made in results[2:]:
        assert not set(made) - found
    _require_whole(path)
    readings = sum(count for _, (count, _) in results[:2])
    record("readers beside two writers for 60 s", readings=readings, positions=len(found), errors=0)


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot put one directory in the place of another")
def test_readers_always_find_a_store_that_is_being_replaced(version, tmp_path: Path):
    path, stop = tmp_path / "s.zarr", str(tmp_path / "stop")
    ps.open_ome_zarr(path, layout="hcs", mode="w-", channel_names=["new 0"], version=version)
    roles = ("replace", "read", "read")
    results = run_together(watch_or_replace, [(role, str(path), stop, version) for role in roles])
    assert len({pid for pid, _ in results}) == 3
    assert all(readings > 1 for _, readings in results[1:])
    _require_whole(path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_forked_child_does_not_share_its_parents_lock(version, tmp_path: Path):
    path = tmp_path / "s.zarr"
    new_plate(path, version)
    ((_, (child, reentrant)),) = run_together(fork_while_locked, [(str(path),)], "spawn")
    assert child == "waited"
    assert reentrant, "the child took the parent's lock away"


# --- threads ----------------------------------------------------------------------------------------


def _in_threads(work: Any, count: int) -> None:
    errors: list[BaseException] = []
    barrier = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            barrier.wait(30)
            work(number)
        except BaseException as error:  # noqa: BLE001 - reported below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    if errors:
        raise errors[0]


def test_threads_with_handles_of_their_own_lose_nothing(version, tmp_path: Path):
    path = tmp_path / "s.zarr"
    new_plate(path, version)

    def work(number: int) -> None:
        plate = ps.open_ome_zarr(path, mode="r+")
        for i in range(12):
            plate.create_position("S" if i % 2 else f"R{number}", "1", f"p{number}x{i}")
            plate.zattrs[f"note {number} {i}"] = i

    _in_threads(work, 6)
    assert len(_listed(path)) == 6 * 12 + 1
    assert len([key for key in ps.open_ome_zarr(path).zattrs if key.startswith("note")]) == 6 * 12
    _require_whole(path)


def test_threads_that_share_one_plate_lose_nothing(version, tmp_path: Path):
    path = tmp_path / "s.zarr"
    plate = new_plate(path, version)
    shared = plate["S/1/0"]

    def work(number: int) -> None:
        for i in range(8):
            plate.create_position("S" if i % 2 else f"R{number}", "1", f"p{number}x{i}")
            plate.zattrs[f"note {number} {i}"] = i
            shared.append_channel(f"channel {number} {i}")

    _in_threads(work, 4)
    assert len(_listed(path)) == 4 * 8 + 1
    again = ps.open_ome_zarr(path)
    assert len([key for key in again.zattrs if key.startswith("note")]) == 4 * 8
    assert len(set(again["S/1/0"].channel_names)) == 4 * 8 + 1
    assert again["S/1/0"]["0"].shape[1] == 4 * 8 + 1
    _require_whole(path)


def test_threads_that_share_a_zarr_store_lose_nothing(version):
    """A store that is no local directory has one writing process, but threads are kept apart in it."""
    from zarr.storage import MemoryStore

    store = MemoryStore()
    plate = ps.open_ome_zarr(store, layout="hcs", mode="w-", channel_names=["DAPI"], version=version)

    def work(number: int) -> None:
        for i in range(6):
            plate.create_position("S" if i % 2 else f"R{number}", "1", f"p{number}x{i}")
            plate.zattrs[f"note {number} {i}"] = i

    _in_threads(work, 4)
    again = ps.open_ome_zarr(store)
    assert len(list(again.positions())) == 4 * 6
    assert len([key for key in again.zattrs if key.startswith("note")]) == 4 * 6


# --- consolidated metadata --------------------------------------------------------------------------


def test_dropping_consolidated_metadata_waits_for_nobody_for_ever(tmp_path: Path, monkeypatch):
    """A change of a well drops what the plate consolidated; a change of the plate needs the well."""
    import zarr
    from zarr.storage import LocalStore

    from platestore.storage.local import LocalStorage

    path = tmp_path / "s.zarr"
    new_plate(path, "0.5")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(LocalStore(path))
    locked = {"": threading.Event(), "S/1": threading.Event()}
    awaited = {("plate", ""): "S/1", ("well", "S/1"): ""}
    real = LocalStorage.lock

    @contextlib.contextmanager
    def lock(self: LocalStorage, place: str) -> Iterator[None]:
        with real(self, place):
            other = awaited.pop((threading.current_thread().name, place), None)
            if other is not None:
                locked[place].set()
                locked[other].wait(1)
            yield

    monkeypatch.setattr(LocalStorage, "lock", lock)
    errors: list[BaseException] = []

    def change_well() -> None:
        try:
            ps.open_ome_zarr(path / "S/1", mode="r+", lock_timeout=5).zattrs["note"] = 1
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    def change_plate() -> None:
        try:
            ps.open_ome_zarr(path, mode="r+", lock_timeout=5).create_position("S", "1", "1")
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [
        threading.Thread(target=change_well, name="well"),
        threading.Thread(target=change_plate, name="plate"),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not errors
    assert locked[""].is_set()
    assert locked["S/1"].is_set()
    plate = ps.open_ome_zarr(path)
    assert plate["S/1"].zattrs["note"] == 1
    assert "1" in plate["S/1"]
    assert not problems(read_documents(path))
