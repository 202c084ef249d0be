"""A process that acquires is killed at any moment; what it acknowledged is recovered to the bit."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from microscope import CHANNELS, POSITIONS, SLICES, frame, metadata

import platestore as ps
from platestore.acquisition import recover

LAYOUTS = {
    "planes": {},
    "shards over Z": {"shards": "ZYX"},
    "chunks over T and Z": {"chunks": [2, 1, 4, 16, 16]},
}
TIME_POINTS, EVERY = 6, 11


def coordinates(number: int) -> tuple[int, int, int, int]:
    """Position, t, c and z of a frame by the order in which the microscope takes them."""
    rest, c = divmod(number, len(CHANNELS))
    rest, p = divmod(rest, len(POSITIONS))
    t, z = divmod(rest, SLICES)
    return p, t, c, z


def killed(path: Path, version: str, layout: dict[str, object], seconds: float) -> tuple[int, bool]:
    """Run the microscope for some time; returns how many frames are acknowledged, and whether it closed."""
    script = Path(__file__).with_name("microscope.py")
    command = [
        sys.executable,
        str(script),
        str(path),
        str(TIME_POINTS),
        str(EVERY),
        version,
        json.dumps(layout),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        rest, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors, errors
    lines = (first + rest).split()
    closed = lines[-1:] == ["closed"]
    numbers = [int(line) for line in lines if line != "closed"]
    return max(numbers, default=0), closed


def require_recovered(path: Path, acknowledged: int, closed: bool, *, keep_partial: bool) -> None:
    """Every acknowledged frame is there with its metadata, nothing else, and the store is whole."""
    report = recover(path, keep_partial=keep_partial)
    assert bool(report.recovered) != closed
    assert recover(path, keep_partial=keep_partial).recovered == {}
    plate = ps.open_ome_zarr(path)
    safe: dict[int, set[tuple[int, int, int]]] = {p: set() for p in range(len(POSITIONS))}
    for number in range(acknowledged):
        p, *at = coordinates(number)
        safe[p].add((at[0], at[1], at[2]))
    for p, name in enumerate(POSITIONS):
        position = plate[name]
        data, frames = position["0"][...], position.frames
        there = {
            (int(t), int(c), int(z)) for t, c, z in zip(frames["t"], frames["c"], frames["z"], strict=True)
        }
        whole = {at for at in safe[p] if at[0] < data.shape[0]}
        assert whole <= there
        if keep_partial:
            assert safe[p] <= there
        else:
            # Each time point that was acknowledged as a whole is kept.
            complete = next(
                t for t in range(99) if sum(at[0] == t for at in safe[p]) < len(CHANNELS) * SLICES
            )
            assert data.shape[0] >= max(1, complete)
        for t in range(data.shape[0]):
            for c in range(len(CHANNELS)):
                for z in range(SLICES):
                    wanted = frame(p, t, c, z) if (t, c, z) in there else 0
                    assert (data[t, c, z] == wanted).all(), (name, t, c, z)
        for i, at in enumerate(zip(frames["t"], frames["c"], frames["z"], strict=True)):
            known = metadata(p, *map(int, at))
            assert frames["number"][i] == known["number"]
            assert frames["time_s"][i] == known["time_s"]
            assert "note" not in frames or frames["note"][i] == known.get("note")
        require_levels(position, data, path.parent / "fresh")
    assert ps.validate(path, strict=False).valid
    found = ps.check(path, deep=True)
    assert found.whole, found.findings
    assert not [f for f in found.findings if f.level != "advice"]


def require_levels(position: ps.Position, data: np.ndarray, directory: Path) -> None:
    """The levels are those that a fresh computation gives."""
    directory.mkdir(exist_ok=True)
    with ps.open_ome_zarr(
        directory / "fresh.zarr", layout="fov", mode="w", channel_names=list(CHANNELS)
    ) as fresh:
        fresh.create_image("0", data, pyramid_levels=3)
        for level in ("1", "2"):
            assert (position[level][...] == fresh[level][...]).all()


@pytest.mark.quick(4)
@pytest.mark.parametrize("seed", range(60))
def test_what_was_acknowledged_survives_a_kill_at_any_moment(tmp_path, seed):
    chance = random.Random(seed)
    version = ("0.4", "0.5")[seed % 2]
    name = chance.choice([key for key in LAYOUTS if version == "0.5" or key != "shards over Z"])
    seconds = chance.uniform(0, 0.35)
    acknowledged, closed = killed(tmp_path / "run.zarr", version, LAYOUTS[name], seconds)
    require_recovered(tmp_path / "run.zarr", acknowledged, closed, keep_partial=seed % 3 == 0)
