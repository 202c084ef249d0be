"""A microscope for tests: frames that carry their own coordinates, and a run in a process of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

import platestore as ps
from platestore.acquisition import stream

POSITIONS = ("A/1/0", "A/1/1", "B/2/0")
CHANNELS = ("DAPI", "GFP")
SLICES, EDGE = 5, 32


def frame(position: int, t: int, c: int, z: int, edge: int = EDGE) -> np.ndarray:
    """A plane that is told from every other one, and whose pixels differ."""
    first = ((position * 50 + t) * 4 + c) * 8 + z
    return (np.arange(edge * edge, dtype=np.uint16).reshape(edge, edge) % 7 + first * 8).astype(np.uint16)


def metadata(position: int, t: int, c: int, z: int) -> dict[str, object]:
    """What is said of a frame."""
    known: dict[str, object] = {"time_s": t * 1.5, "number": ((position * 50 + t) * 4 + c) * 8 + z}
    return {**known, "note": f"t{t}"} if z else known


def make_plate(path: Path, version: str = "0.5") -> ps.Plate:
    """An empty plate."""
    plate = ps.open_ome_zarr(path, layout="hcs", mode="w-", channel_names=list(CHANNELS), version=version)
    assert isinstance(plate, ps.Plate)
    return plate


def volume(position: int, time_points: int, edge: int = EDGE) -> np.ndarray:
    """All frames of a position."""
    planes = [
        frame(position, t, c, z, edge)
        for t in range(time_points)
        for c in range(len(CHANNELS))
        for z in range(SLICES)
    ]
    return np.stack(planes).reshape(time_points, len(CHANNELS), SLICES, edge, edge)


def acquire(path: str, time_points: int, every: int, version: str, layout: dict[str, object]) -> None:
    """Run, and say after each checkpoint up to which frame everything is acknowledged."""
    with make_plate(Path(path), version) as plate:
        run = stream(
            plate,
            positions=POSITIONS,
            shape=(None, len(CHANNELS), SLICES, EDGE, EDGE),
            dtype="uint16",
            pyramid_levels=3,
            max_memory="1MB",
            **layout,  # type: ignore[arg-type]
        )
        number = 0
        for t in range(time_points):
            for z in range(SLICES):
                for p, name in enumerate(POSITIONS):
                    for c in range(len(CHANNELS)):
                        run.append(
                            frame(p, t, c, z), position=name, t=t, c=c, z=z, metadata=metadata(p, t, c, z)
                        )
                        number += 1
                        if number % every == 0:
                            run.checkpoint()
                            os.write(1, f"{number}\n".encode())
        run.close()
        os.write(1, b"closed\n")


if __name__ == "__main__":
    import json

    acquire(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], json.loads(sys.argv[5]))
