"""Eight processes write all inner chunks of one shard, each other ones, at the same moment, again and again.

A shard is one file: who writes a part of it reads, changes and replaces it. Nothing that was written may be
lost, whichever library moves the pixels, and a reader meets no torn shard meanwhile.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

import pytest
import zarr
from fault_figures import record
from fault_workers import run_together

import platestore as ps

_WRITERS = 8
_SHAPE = (1, 8, 64, 64)  # of one shard
_PARTS = [(z, y, x) for z in range(8) for y in (0, 32) for x in (0, 32)]
#: Regions of a shard that a writer owns: whole inner chunks, or parts of them that others write too.
_HOW = {
    "inner chunks": {"chunks": (1, 1, 1, 32, 32), "shards": "ZYX"},
    "parts of inner chunks": {"chunks": (1, 1, 8, 64, 64), "shards": "ZYX"},
    "parts of a chunk": {"chunks": (1, 1, 8, 64, 64)},
}


def _make(path: Path, how: str, rounds: int) -> None:
    position = ps.open_ome_zarr(path, layout="fov", mode="w-", channel_names=["a"], version="0.5")
    position.create_zeros("0", (rounds, *_SHAPE), "uint16", **_HOW[how])


def _value(turn: int, part: int) -> int:
    return 1 + turn * len(_PARTS) + part


def write_parts(path: str, number: int, rounds: int, seed: int, by_zarr: bool) -> int:
    """Write every eighth part of each shard; all writers meet at each shard, or as nearly as they can."""
    rng = random.Random(100 * seed + number)
    image = ps.open_ome_zarr(path, mode="r+", lock_timeout=60)["0"]
    if by_zarr:
        image._engine.refusal = "the test says so"
    for turn in range(rounds):
        mine = list(range(number, len(_PARTS), _WRITERS))
        rng.shuffle(mine)
        _meet(Path(path).parent, turn, number)
        for part in mine:
            z, y, x = _PARTS[part]
            image[turn, 0, z, y : y + 32, x : x + 32] = _value(turn, part)
    return rounds


def _meet(directory: Path, turn: int, number: int) -> None:
    (directory / f"here-{turn}-{number}").touch()
    deadline = time.monotonic() + 240
    while sum((directory / f"here-{turn}-{n}").exists() for n in range(_WRITERS)) < _WRITERS:
        if time.monotonic() > deadline:
            raise TimeoutError("the others did not come")
        time.sleep(0.002)


def read_meanwhile(path: str, number: int, rounds: int, seed: int, by_zarr: bool) -> int:
    """Read what is being written: each part is zero or as it will be."""
    image = ps.open_ome_zarr(path)["0"]
    readings = 0
    for turn in range(rounds):
        following = [Path(path).parent / f"here-{min(turn + 1, rounds - 1)}-{n}" for n in range(_WRITERS)]
        while True:
            over = any(place.exists() for place in following)
            pixels = image[turn, 0]
            for part, (z, y, x) in enumerate(_PARTS):
                block = pixels[z, y : y + 32, x : x + 32]
                assert (block == block[0, 0]).all(), "a part is mixed"
                assert block[0, 0] in (0, _value(turn, part)), "pixels that nobody wrote"
            readings += 1
            if over:
                break
            time.sleep(0.005)
    return readings


def read_or_write(role: str, *arguments: Any) -> int:
    """One function for the reader and the writers, which start together."""
    return read_meanwhile(*arguments) if role == "read" else write_parts(*arguments)


def _write_together(path: Path, how: str, rounds: int, seed: int, by_zarr: bool) -> None:
    _make(path, how, rounds)
    roles = [("write", str(path), n, rounds, seed, by_zarr) for n in range(_WRITERS)]
    results = run_together(
        read_or_write, [*roles, ("read", str(path), 0, rounds, seed, by_zarr)], timeout=280
    )
    assert len({pid for pid, _ in results}) == _WRITERS + 1
    lost = 0
    for pixels in (ps.open_ome_zarr(path)["0"][...], zarr.open_array(path / "0", mode="r")[...]):
        for turn in range(rounds):
            for part, (z, y, x) in enumerate(_PARTS):
                block = pixels[turn, 0, z, y : y + 32, x : x + 32]
                lost += not (block == _value(turn, part)).all()
    name = f"8 processes, {how} of one shard, by {'zarr-python' if by_zarr else 'TensorStore'}"
    record(name, shards=rounds, parts_written=rounds * len(_PARTS), lost=lost)
    assert not lost, f"seed {seed}"


@pytest.mark.parametrize(
    ("how", "by_zarr"), [("inner chunks", False), ("inner chunks", True), ("parts of a chunk", False)]
)
def test_processes_that_write_parts_of_one_shard_lose_nothing(how, by_zarr, tmp_path):
    _write_together(tmp_path / "p.zarr", how, rounds=2, seed=1, by_zarr=by_zarr)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="too slow where processes are not forked")
@pytest.mark.parametrize("by_zarr", [False, True], ids=["tensorstore", "zarr-python"])
@pytest.mark.parametrize("how", _HOW)
def test_processes_that_write_parts_of_fifty_shards_lose_nothing(how, by_zarr, tmp_path):
    _write_together(tmp_path / "p.zarr", how, rounds=50, seed=2, by_zarr=by_zarr)
