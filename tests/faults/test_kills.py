"""A process is killed at random moments while it changes a plate; what it had announced must be there."""

from __future__ import annotations

import os
import random
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fault_checker import problems, read_documents, unfinished
from fault_figures import record
from fault_workers import context, hold_lock_file, new_plate, work_until_killed

import platestore as ps

pytestmark = pytest.mark.skipif(os.name == "nt", reason="a killed process is simulated elsewhere on Windows")


class Ledger:
    """What the announcements of all processes so far say must be there."""

    def __init__(self) -> None:
        self.positions: dict[str, int] = {"S/1/0": 1}
        self.channels: list[str] = []
        self.attributes: dict[str, int] = {}
        self.calls = 0
        self.open: tuple[Any, ...] | None = None

    def hear(self, message: tuple[Any, ...]) -> None:
        kind, *rest = message
        self.open = None
        if kind in ("renaming", "deleting", "redoing"):
            self.open = message
            return
        self.calls += 1
        if kind in ("made", "redone"):
            self.positions[rest[0]] = rest[1]
        elif kind == "renamed":
            self._rename(*rest)
        elif kind == "deleted":
            self._forget(rest[0])
        elif kind == "channel":
            self.channels.append(rest[0])
        else:
            self.attributes[rest[0]] = rest[1]

    def settle(self, path: Path) -> None:
        """Learn how the call that was cut short ended: it may have been done or not.

        A reader sees one of the two; a writer completes what was begun, so its view is the final one.
        """
        if self.open is None:
            return
        kind, name, value = self.open
        if kind == "renaming":
            for mode in ("r", "r+"):
                plate = ps.open_ome_zarr(path, mode=mode)
                assert (name in plate) != (value in plate), (
                    f"{name}, being renamed to {value}, is not seen once"
                )
            if value in plate:
                self._rename(name, value)
        elif kind == "deleting":
            if name not in ps.open_ome_zarr(path, mode="r+"):
                self._forget(name)
        else:
            position = ps.open_ome_zarr(path / name, mode="r+")
            assert int(position["0"][0, 0, 0, 0, 0]) in (self.positions[name], value)
            self.positions[name] = int(position["0"][0, 0, 0, 0, 0])
        self.open = None

    def _rename(self, old: str, new: str) -> None:
        for path in self._of(old):
            self.positions[new + path[len(old) :]] = self.positions.pop(path)

    def _forget(self, well: str) -> None:
        for path in self._of(well):
            del self.positions[path]

    def _of(self, well: str) -> list[str]:
        return [path for path in self.positions if path.startswith(well + "/")]


def _kill(path: Path, number: int, seed: int, ledger: Ledger) -> None:
    """Let a process make some calls and work for a random time, kill it, and hear what it had to say."""
    rng = random.Random(seed)
    started = context()
    ours, theirs = started.Pipe(duplex=False)
    process = started.Process(target=work_until_killed, args=(str(path), number, seed, theirs))
    process.start()
    theirs.close()
    try:
        assert ours.poll(60), "the process did not start"
        assert ours.recv() == ("go",)
        goal = ledger.calls + rng.randrange(5)
        while ledger.calls < goal:
            assert ours.poll(60), "the process hangs"
            ledger.hear(ours.recv())
        time.sleep(rng.uniform(0.0, 0.03))
        process.kill()
        process.join()
        while True:
            try:
                ledger.hear(ours.recv())
            except EOFError:
                break
    finally:
        process.kill()
        process.join()
        ours.close()
    assert process.exitcode == -9, f"the process ended by itself, with {process.exitcode}"


def _inspect(path: Path, ledger: Ledger) -> None:
    """The store opens, and holds all that was announced."""
    files = read_documents(path)
    assert not problems(files)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ledger.settle(path)
        plate = ps.open_ome_zarr(path, mode="r")
        found = dict(plate.positions())
        assert not set(ledger.positions) - set(found)
        for name in ledger.positions:
            assert found[name]["0"].dtype == np.uint16
        for name in [*ledger.positions][-8:]:  # older ones were looked at before
            assert (found[name]["0"].numpy()[:, :1] == ledger.positions[name]).all(), name
        channels = found["S/1/0"].channel_names
        assert not set(ledger.channels) - set(channels)
        assert len(set(channels)) == len(channels)
        assert found["S/1/0"]["0"].shape[1] >= len(channels)
        assert not [key for key, value in ledger.attributes.items() if plate.zattrs.get(key) != value]


def _kill_often(path: Path, version: str, kills: int, seed: int) -> int:
    new_plate(path, version)
    ledger = Ledger()
    for number in range(kills):
        try:
            _kill(path, number, 1000 * seed + number, ledger)
            _inspect(path, ledger)
        except AssertionError as error:
            raise AssertionError(f"seed {1000 * seed + number}, kill {number}: {error}") from error
    # Whoever opens everything to write completes what the killed ones had begun.
    for _, position in ps.open_ome_zarr(path, mode="r+").positions():
        assert position.channel_names
    files = read_documents(path)
    assert not unfinished(files)
    assert not problems(files)
    _inspect(path, ledger)
    record("kill -9: all kinds of changes of a plate", tried=kills, calls_returned=ledger.calls, lost=0)
    return ledger.calls


def test_kills_at_a_dozen_moments_lose_nothing_that_was_announced(version, tmp_path: Path):
    calls = sum(_kill_often(tmp_path / f"{part}.zarr", version, kills=3, seed=part) for part in range(2))
    assert calls >= 6, "the processes were killed before they did anything"


def test_a_lock_file_of_a_killed_process_is_taken_over_or_named(tmp_path: Path, monkeypatch):
    """Only where directories cannot be locked: there is a file that nobody takes away."""
    from platestore.storage import locks

    path = tmp_path / "s.zarr"
    new_plate(path, "0.5")
    started = context()
    ours, theirs = started.Pipe(duplex=False)
    process = started.Process(target=hold_lock_file, args=(str(path), theirs))
    process.start()
    assert ours.poll(60)
    assert ours.recv() == "held"
    monkeypatch.setattr(locks, "_flock_excludes", lambda directory: False)
    (lock_file,) = [item for item in tmp_path.iterdir() if item != path]
    plate = ps.open_ome_zarr(path, mode="r+", lock_timeout=0.2)
    with pytest.raises(ps.LockTimeoutError, match="delete that file") as raised:
        plate.create_position("A", "1", "0")
    assert str(lock_file) in str(raised.value)
    process.kill()
    process.join()
    try:
        plate.create_position("A", "1", "0")
    except ps.LockTimeoutError:  # as the hint says
        lock_file.unlink()
        plate.create_position("A", "1", "0")
    assert "A/1/0" in ps.open_ome_zarr(path)
    assert not problems(read_documents(path))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 110))
def test_kills_at_two_hundred_moments_lose_nothing_that_was_announced(seed, version, tmp_path: Path):
    assert _kill_often(tmp_path / "s.zarr", version, kills=10, seed=seed) >= 10
