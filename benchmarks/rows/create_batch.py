"""Create a whole plate of positions, each with one array, in one call."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks.harness import Case, Results, Row, Settings, Verdict, peer_entries, piece, ratio_verdict
from benchmarks.plates import (
    CHANNELS,
    DTYPE,
    SHAPE,
    count_positions,
    floor_write,
    make_plate,
    position_names,
)


def create_platestore(shared: Path, fresh: Path, version: str, wells: int, fields: int) -> dict[str, Any]:
    """Open a new plate and create everything in it."""
    from platestore import open_ome_zarr

    def create(path: Path, names: list[tuple[str, str, str]]) -> None:
        with open_ome_zarr(path, layout="hcs", mode="w-", channel_names=CHANNELS, version=version) as plate:
            plate.create_positions(names, shape=SHAPE, dtype=DTYPE)

    return timed(create, fresh, position_names(wells, fields))


def create_iohub(shared: Path, fresh: Path, version: str, wells: int, fields: int) -> dict[str, Any]:
    """Open a new plate and create everything in it."""
    from iohub.ngff import open_ome_zarr

    def create(path: Path, names: list[tuple[str, str, str]]) -> None:
        with open_ome_zarr(path, layout="hcs", mode="w-", channel_names=CHANNELS, version=version) as plate:
            for position in plate.create_positions(names):
                position.create_zeros("0", shape=SHAPE, dtype=DTYPE)

    return timed(create, fresh, position_names(wells, fields))


def timed(create: Any, fresh: Path, names: list[tuple[str, str, str]]) -> dict[str, Any]:
    """Time a creation, after a small one that makes sure that everything is imported."""
    create(fresh / "warm-up.zarr", names[:1])
    start = time.perf_counter()
    create(fresh / "plate.zarr", names)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "answer": count_positions(fresh / "plate.zarr")}


def plan(settings: Settings) -> list[Case]:
    """One case per version."""
    wells, fields = settings.pick(384, 24), 4
    cases = []
    for version in settings.versions:
        size = {"version": version, "wells": wells, "fields": fields}
        cases.append(
            Case(
                key=version,
                title=f"{wells * fields:,} positions, OME-NGFF {version}",
                prepare=[piece("plate", "reference", make_plate, **size)],
                settle=True,
                entries=[
                    piece("platestore", "ours", create_platestore, **size),
                    piece("floor", "floor", floor_write, atomic=True),
                    piece("floor without renames", "reference", floor_write, atomic=False),
                    *peer_entries(
                        settings,
                        lambda python, size=size: [
                            piece("iohub", "peer", create_iohub, python=python, needs="iohub", **size)
                        ],
                    ),
                ],
            )
        )
    return cases


def judge(results: dict[str, Results]) -> list[Verdict]:
    """At most 4 times the floor."""
    return [ratio_verdict(r, r.case.title, "platestore", "floor", 4) for r in results.values()]


ROW = Row(
    name="create-batch",
    title="Create positions with an array each, in one call",
    note=(
        "384 wells × 4 positions, each with one array without pixels, by one `create_positions(..., shape=, "
        "dtype=)`; opening the new plate is included. The floor writes the same files with the same bytes, "
        "which it has in memory, each to a temporary file that it renames; the floor without renames writes "
        "them in place."
    ),
    plan=plan,
    judge=judge,
)
