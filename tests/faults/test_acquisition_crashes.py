"""An acquisition, and its recovery, stopped at every change on disk: what was acknowledged is there."""

from __future__ import annotations

import contextlib
import errno
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fault_os import Crash, OsFaults

import platestore as ps
from conftest import examples
from platestore.acquisition import recover, stream
from platestore.acquisition.runlog import RunLog

LAYOUTS: dict[str, dict[str, Any]] = {
    "planes": {"pyramid_levels": 2},
    "shards": {"shards": "ZYX", "pyramid_levels": 2},
    "no room": {"chunks": (1, 1, 2, 8, 8), "max_memory": 200},
}
Acknowledged = dict[tuple[int, int], int]


def some(total: int) -> range:
    """All changes in the long run, one in nine in the quick one."""
    return range(0, total, 1 if examples(9) == 9 else 9)


def _frame(t: int, z: int) -> np.ndarray:
    return np.full((8, 8), 10 * t + z + 1, np.uint8)


def _acquire(path: Path, layout: dict[str, Any], acknowledged: Acknowledged) -> None:
    """Three time points of two planes; the third ends in the middle. What is safe is put into a table."""
    pending: Acknowledged = {}
    run = None
    plate = ps.open_ome_zarr(path, mode="r+")
    try:
        run = stream(plate, positions=["A/1/0"], shape=(None, 1, 2, 8, 8), dtype="uint8", workers=1, **layout)
        for number, (t, z) in enumerate([(0, 0), (0, 1), (1, 1), (1, 0), (2, 1)]):
            run.append(_frame(t, z), t=t, z=z, metadata={"number": number})
            pending[t, z] = number
            if number in (0, 2, 3):
                run.checkpoint()
                acknowledged.update(pending)
        run.close()
        acknowledged.update(pending)
    finally:
        if run is not None:
            _gone(run)


def _gone(run: Any) -> None:
    """What the end of a process does: its locks are free, and its threads are no more."""
    run._reminder.detach()
    run._threads.shutdown(wait=True, cancel_futures=True)
    for track in run.tracks.values():
        track.log.release()


def _make(path: Path) -> Path:
    ps.open_ome_zarr(path, layout="hcs", mode="w-", channel_names=["a"], version="0.5").close()
    return path


def _require(path: Path, acknowledged: Acknowledged) -> None:
    """All that was acknowledged is there, and what is there is right."""
    assert recover(path, keep_partial=True).recovered == {}
    plate = ps.open_ome_zarr(path)
    if not acknowledged and "A/1/0" not in plate:
        return
    position = plate["A/1/0"]
    if acknowledged or "0" in position:
        data, frames = position["0"][...], position.frames
        known = {
            (int(t), int(z)): int(n)
            for t, z, n in zip(frames["t"], frames["z"], frames.get("number", ()), strict=False)
        }
        assert acknowledged.items() <= known.items()
        for t in range(len(data)):
            for z in range(2):
                wanted = _frame(t, z) if (t, z) in known else 0
                assert (data[t, 0, z] == wanted).all(), (t, z)
        if "1" in position:
            assert position["1"].shape[0] == len(data)
            fresh = data.reshape(len(data), 1, 2, 4, 2, 4, 2).max(axis=(4, 6))
            assert (position["1"][:, :, : position["1"].shape[2]] <= fresh.max()).all()
    assert ps.validate(path).valid or not acknowledged
    found = [f for f in ps.check(path, deep=True).findings if f.level == "error"]
    assert not found, found


def _count(tmp_path: Path, layout: dict[str, Any]) -> int:
    with OsFaults(tmp_path / "count") as faults:
        _acquire(_make(tmp_path / "count" / "p.zarr"), layout, {})
    return len(faults.log)


def _stop(tmp_path: Path, layout: dict[str, Any], **fault: Any) -> tuple[Path, Acknowledged]:
    path = tmp_path / "here" / "p.zarr"
    shutil.rmtree(path.parent, ignore_errors=True)
    _make(path)
    acknowledged: Acknowledged = {}
    with OsFaults(path.parent, **fault), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(Crash, OSError, ps.PlatestoreError):
            _acquire(path, layout, acknowledged)
    RunLog._mine.clear()
    return path, acknowledged


@pytest.mark.quick(1)
@pytest.mark.parametrize("when", ["before", "after", "torn"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_crash_at_any_change_of_a_run_loses_nothing_that_was_acknowledged(tmp_path, name, when):
    total = _count(tmp_path, LAYOUTS[name])
    assert total > 30
    for at in some(total):
        path, acknowledged = _stop(tmp_path, LAYOUTS[name], at=at, when=when)
        recover(path, keep_partial=True)
        _require(path, acknowledged)


@pytest.mark.quick(1)
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("name", LAYOUTS)
def test_an_error_at_any_change_of_a_run_loses_nothing_that_was_acknowledged(tmp_path, name, error):
    total = _count(tmp_path, LAYOUTS[name])
    for at in some(total):
        path, acknowledged = _stop(tmp_path, LAYOUTS[name], at=at, error=error)
        recover(path, keep_partial=True)
        _require(path, acknowledged)


@pytest.mark.quick(1)
@pytest.mark.parametrize("when", ["before", "after", "torn"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_recovery_that_is_stopped_can_be_repeated(tmp_path, name, when):
    total = _count(tmp_path, LAYOUTS[name])
    path, acknowledged = _stop(tmp_path, LAYOUTS[name], at=round(total * 0.7))
    assert acknowledged
    shutil.copytree(path, tmp_path / "kept.zarr")
    with OsFaults(path.parent) as faults:
        recover(path, keep_partial=True)
    _require(path, acknowledged)
    for at in some(len(faults.log)):
        shutil.rmtree(path)
        shutil.copytree(tmp_path / "kept.zarr", path)
        with OsFaults(path.parent, at=at, when=when), contextlib.suppress(Crash):
            recover(path, keep_partial=True)
        RunLog._mine.clear()
        recover(path, keep_partial=True)
        _require(path, acknowledged)
