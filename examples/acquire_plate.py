"""A simulated microscope: a run over two wells, a kill in the middle of the next one, and its recovery.

    python examples/acquire_plate.py [DIRECTORY]

The microscope visits two fields in each of two wells, takes three planes in two channels, and does not know
how many time points there will be. The second run is killed; what it acknowledged is there afterwards.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from platestore import open_ome_zarr
from platestore.acquisition import recover, stream

POSITIONS = ["A/1/0", "A/1/1", "B/2/0", "B/2/1"]
CHANNELS = ["DAPI", "GFP"]
SLICES, EDGE = 3, 256


def camera(position: int, t: int, channel: int, z: int) -> np.ndarray:
    """A picture of something that moves."""
    y, x = np.mgrid[:EDGE, :EDGE]
    middle = EDGE / 2 + 3 * t
    spot = np.exp(-((y - middle) ** 2 + (x - middle - 20 * position) ** 2) / (200 + 50 * z))
    return (100 + 3000 * spot * (channel + 1)).astype(np.uint16)


def acquire(path: Path, time_points: int, pause: float = 0.0) -> None:
    """Run the microscope for some time points, and acknowledge each of them."""
    with open_ome_zarr(
        path, layout="hcs", mode="w-", channel_names=CHANNELS, version="0.5", plate_format=96
    ) as plate:
        run = stream(
            plate,
            positions=POSITIONS,
            shape=(None, len(CHANNELS), SLICES, EDGE, EDGE),
            dtype="uint16",
            scale=(60.0, 1.0, 2.0, 0.65, 0.65),
            shards="ZYX",
            pyramid_levels="auto",
        )
        start = time.monotonic()
        for t in range(time_points):
            for number, position in enumerate(POSITIONS):
                for z in range(SLICES):
                    for c, name in enumerate(CHANNELS):
                        run.append(
                            camera(number, t, c, z),
                            position=position,
                            t=t,
                            c=name,
                            z=z,
                            metadata={"time_s": time.monotonic() - start, "exposure_ms": 20.0},
                        )
            run.checkpoint()
            print(f"time point {t} is safe", flush=True)
            time.sleep(pause)
        run.close()


def main() -> None:
    """Acquire one plate to its end, and another one that is killed."""
    if sys.argv[1:2] == ["--endless"]:
        acquire(Path(sys.argv[2]), 10_000, pause=0.05)
        return
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())
    acquire(directory / "whole.zarr", 5)
    with open_ome_zarr(directory / "whole.zarr") as plate:
        print(f"{plate['A/1/0']['0'].shape}: {plate['A/1/0'].frames}")

    print("and now a run that is killed")
    command = [sys.executable, __file__, "--endless", str(directory / "killed.zarr")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        safe = [process.stdout.readline() for _ in range(3)][-1].split()[2]
        os.kill(process.pid, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    report = recover(directory / "killed.zarr")
    with open_ome_zarr(directory / "killed.zarr") as plate:
        found = plate["A/1/0"]["0"].shape[0]
    print(f"time point {safe} was acknowledged; {found} time points and {report.frames} frames are there")
    assert found > int(safe)


if __name__ == "__main__":
    main()
