"""A writer of pixels is killed: what it reported is there, and no file is torn."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fault_figures import record

import platestore as ps

FRAMES, SIZE = 12, 64
WRITER = f"""
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np
import platestore as ps
position = ps.open_ome_zarr(sys.argv[1], mode="r+")
image = position["0"]
for turn in range(1, 10_000):
    for z in range({FRAMES}):
        image[0, 0, z] = np.full(({SIZE}, {SIZE}), turn, "uint16")
        print(turn, z, flush=True)
"""


def written_until_killed(path: Path, after: int) -> list[tuple[int, int]]:
    """What a writer reported before it was killed, after a number of frames."""
    reported = []
    with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if not line.endswith("\n"):
                break  # it was killed in the middle of a report
            turn, z = map(int, line.split())
            reported.append((turn, z))
            if len(reported) == after:
                process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    return reported


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no such signal")
@pytest.mark.parametrize(
    ("layout", "seed"),
    [
        *((layout, 0) for layout in ("shard", "chunk", "plane")),
        *(
            pytest.param(layout, seed, marks=pytest.mark.slow)
            for layout in ("shard", "chunk", "plane")
            for seed in range(1, 10)
        ),
    ],
)
def test_frames_that_were_reported_are_there_and_nothing_is_torn(layout, seed, tmp_path):
    path = tmp_path / "p.zarr"
    how = {
        "shard": {"chunks": (1, 1, 1, 32, 32), "shards": "ZYX"},
        "chunk": {"chunks": (1, 1, FRAMES, SIZE, SIZE)},
        "plane": {"chunks": (1, 1, 1, SIZE, SIZE)},
    }[layout]
    with ps.open_ome_zarr(path, layout="fov", mode="w-", channel_names=["a"], version="0.5") as position:
        position.create_zeros("0", (1, 1, FRAMES, SIZE, SIZE), "uint16", **how)
    reported = written_until_killed(path, random.Random(seed).randint(1, 5 * FRAMES))
    pixels = ps.open_ome_zarr(path)["0"][...]
    last = {z: turn for turn, z in reported}
    for z in range(FRAMES):
        frame = pixels[0, 0, z]
        # A shard or chunk is replaced as a whole; the frame under way when it was killed may be there or not.
        assert (frame == frame[0, 0]).all(), f"frame {z} is mixed"
        assert frame[0, 0] in (last.get(z, 0), last.get(z, 0) + 1)
    record(
        "kill -9: a writer of frames, afresh", layout=layout, tried=1, frames_reported=len(reported), lost=0
    )
    # Whoever comes next can write.
    image = ps.open_ome_zarr(path, mode="r+")["0"]
    image[0, 0, 0] = 1
    assert (image[0, 0, 0] == 1).all()
