"""Pyramids of other images: odd, flat, of one shard, many and small, and far larger than the budget."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import (
    Case,
    Entry,
    Results,
    Row,
    Settings,
    Verdict,
    peer_entries,
    piece,
    ratio_verdict,
)
from benchmarks.memory import CPU, measured
from benchmarks.pixels import IOHUB, RawTensorStore, copy_store, exact_mean, make_store, open_iohub
from benchmarks.plates import position_names
from benchmarks.rows.pyramid import SIZES, build, growth_verdicts, small_store

_STEP = [1, 1, 2, 2, 2]
_FLAT = [1, 1, 1, 2, 2]


# --- one image --------------------------------------------------------------------------------------


def _images(settings: Settings) -> list[tuple[str, str, dict[str, Any], list[list[int]], list[str] | None]]:
    """Key, title, layout, factors and dimensions."""
    odd = [1, 1, *((61, 1999, 2047) if not settings.quick else (11, 199, 247))]
    edge = settings.pick(8000, 600)
    volume = [1, 1, settings.pick(128, 16), settings.pick(1024, 128), settings.pick(1024, 128)]
    inner = [1, 1, settings.pick(32, 8), settings.pick(256, 64), settings.pick(256, 64)]
    flat = [1, 3, 1, edge, edge]
    tile = settings.pick(1024, 128)

    def size(shape: Sequence[int]) -> str:
        return " × ".join(str(n) for n in shape)

    return [
        ("odd", f"odd sizes: {size(odd[2:])}, a chunk per plane",
         {"shape": odd, "chunks": [1, 1, 1, *odd[3:]]}, [_STEP] * 3, None),
        ("odd deep", f"odd sizes: {size(odd[2:])}, chunks of {size(inner[2:])}",
         {"shape": odd, "chunks": inner}, [_STEP] * 3, None),
        ("flat", f"planes: {size(flat)}, chunks of {tile} × {tile}, Y and X",
         {"shape": flat, "chunks": [1, 1, 1, tile, tile]}, [_FLAT] * 3, ["y", "x"]),
        ("flat whole", f"planes: {size(flat)}, a chunk each, Y and X",
         {"shape": flat, "chunks": [1, 1, 1, edge, edge]}, [_FLAT] * 3, ["y", "x"]),
        ("one shard", f"one shard: {size(volume[2:])}, chunks of {size(inner[2:])}",
         {"shape": volume, "chunks": inner, "shards": volume}, [_STEP] * 3, None),
    ]  # fmt: skip


def plan(settings: Settings) -> list[Case]:
    """Images of several shapes, and a plate of small ones."""
    if "0.5" not in settings.versions:
        return []
    cases = []
    for key, title, layout, factors, dims in _images(settings):
        work = {"factors": factors, "shape": layout["shape"], "dims": dims}

        def peers(python: str, work: Any = work) -> list[Entry]:
            def runs(name: str, needs: str, tolerance: float) -> Entry:
                return piece(
                    name, "peer", build, python=python, needs=needs, how=name, tolerance=tolerance, **work
                )

            return [runs("iohub, TensorStore", "tensorstore", 0), runs("iohub", "iohub", 1.5)]

        cases.append(
            Case(
                key=key,
                title=title,
                prepare=[
                    small_store("0.5"),
                    piece("image", "reference", make_store, version="0.5", **layout),
                ],
                settle=True,
                entries=[
                    piece("platestore", "ours", build, how="platestore", **work),
                    *peer_entries(settings, peers),
                ],
                extra=CPU,
                sizes=SIZES,
            )
        )
    return [*cases, _small_case(settings)]


# --- many small ones --------------------------------------------------------------------------------


def make_small(shared: Path, fresh: Path, count: int, edge: int) -> dict[str, Any]:
    """Preparation: a plate of small positions."""
    import numpy as np

    from platestore import open_ome_zarr

    names = position_names(384, 6)[:count]
    pixels = np.random.default_rng(1).poisson(40, (1, 1, 1, edge, edge)).astype(np.uint16) * 3
    with open_ome_zarr(
        shared / "plate.zarr", layout="hcs", mode="w-", channel_names=["DAPI"], version="0.5"
    ) as plate:
        plate.create_positions(names, shape=pixels.shape, dtype=pixels.dtype)
        for number, (_, position) in enumerate(plate.positions()):
            position["0"][...] = np.roll(pixels, number, axis=-1)
    return {"seconds": 0.0}


def build_small(shared: Path, fresh: Path, how: str, script: str | None = None) -> dict[str, Any]:
    """Make a second level of every position of a plate."""
    plate, peak = fresh / "plate.zarr", {}
    copy_store(shared / "plate.zarr", plate)
    if script is not None:
        start = time.perf_counter()
        subprocess.run(
            [script, "pyramid", str(plate), "--levels", "2"], check=True, stdout=subprocess.DEVNULL
        )
        found = {"seconds": time.perf_counter() - start}
        if sys.platform == "linux":
            import resource

            peak = {"peak": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024}
    else:
        copy_store(shared / "small" / "plate.zarr", fresh / "small.zarr")
        _levels_of_all(fresh / "small.zarr", how)
        found = measured(lambda: _levels_of_all(plate, how))
    return {**found, **peak, "answer": _checked(plate)}


def _levels_of_all(path: Path, how: str) -> None:
    if how == "platestore":
        from platestore import open_ome_zarr

        opened: Any = open_ome_zarr(path, mode="r+")
    else:
        opened = open_iohub(path, IOHUB[how], "r+")
    with opened as plate:
        for _, position in plate.positions():
            position.compute_pyramid(levels=2)


def _checked(plate: Path) -> int:
    """Number of positions; the pixels of some are compared."""
    import numpy as np

    found = sorted(plate.glob("*/*/*/1/zarr.json"))
    for document in found[::97]:
        position = document.parent.parent
        above, level = RawTensorStore(position / "0")[...], RawTensorStore(position / "1")[...]
        difference = exact_mean(above, _FLAT).astype(np.int64) - level
        if np.abs(difference).max() > 1:
            raise RuntimeError(f"{document.parent} is not the mean of level 0")
    return len(found)


def make_both_small(shared: Path, fresh: Path, count: int, edge: int) -> dict[str, Any]:
    """Preparation: the plate, and a small one to warm up with."""
    (shared / "small").mkdir()
    make_small(shared / "small", fresh, 3, edge)
    return make_small(shared, fresh, count, edge)


def _pyramid_command() -> str | None:
    """The installed command, if it has this subcommand."""
    for name in ("platestore", "platestore.exe"):
        path = Path(sysconfig.get_path("scripts"), name)
        if path.exists():
            done = subprocess.run([str(path), "pyramid", "--help"], capture_output=True, check=False)
            return str(path) if done.returncode == 0 else None
    return None


def _small_case(settings: Settings) -> Case:
    count, edge = settings.pick(2000, 20), 256
    script = _pyramid_command()
    by_command = [] if script is None else [
        piece("platestore pyramid, the command", "ours", build_small, how="platestore", script=script)
    ]  # fmt: skip

    def peers(python: str) -> list[Entry]:
        return [
            piece(name, "peer", build_small, python=python, needs=needs, how=name)
            for name, needs in (("iohub, TensorStore", "tensorstore"), ("iohub", "iohub"))
        ]

    return Case(
        key="small",
        title=f"{count:,} positions of {edge} × {edge}, 2 levels",
        prepare=[piece("plates", "reference", make_both_small, count=count, edge=edge)],
        settle=True,
        entries=[
            piece("platestore", "ours", build_small, how="platestore"),
            *by_command,
            *peer_entries(settings, peers),
        ],
        extra=CPU,
        sizes={"growth": "memory growth"},
        rounds=0.6,
    )


def judge(results: dict[str, Results]) -> list[Verdict]:
    """As for the pyramid of 512 MiB: 0.65 times iohub with TensorStore on the same data."""
    base = "iohub, TensorStore"
    return [ratio_verdict(r, r.case.title, "platestore", base, 0.65) for r in results.values() if base in r]


ROW = Row(
    name="pyramid-shapes",
    title="Pyramids of other shapes",
    note=(
        "As the pyramid of 512 MiB: 4 levels of means, OME-NGFF 0.5, on an image that platestore wrote. The "
        "small positions are done one after the other in one process; the command `platestore pyramid` "
        "is timed from its start to its end."
    ),
    plan=plan,
    judge=judge,
)


# --- larger than the budget -------------------------------------------------------------------------

BUDGET = 64 * 2**20


def plan_memory(settings: Settings) -> list[Case]:
    """Level 0 is 24 times the budget; planes, chunks, and chunks in one shard."""
    if "0.5" not in settings.versions:
        return []
    edge, planes, inner = settings.pick(2048, 256), settings.pick(192, 16), settings.pick(256, 64)
    shape = [1, 1, planes, edge, edge]
    size = f"{planes * edge * edge * 2 / 2**20:,.0f} MiB"
    depth = min(32, planes)
    layouts: list[tuple[str, str, dict[str, Any]]] = [
        ("planes", "a chunk per plane", {"chunks": [1, 1, 1, edge, edge]}),
        ("deep", f"chunks of {depth} × {inner} × {inner}", {"chunks": [1, 1, depth, inner, inner]}),
        (
            "sharded",
            f"chunks of {depth} × {inner} × {inner} in shards of 64 planes",
            {
                "chunks": [1, 1, depth, inner, inner],
                "shards": [1, 1, min(64, planes), edge, edge],
            },
        ),
    ]
    work: dict[str, Any] = {"factors": [_STEP] * 3, "shape": shape}

    def peers(python: str) -> list[Entry]:
        return [
            piece(name, "peer", build, python=python, needs="tensorstore", how="iohub, TensorStore", **work)
            for name in ("iohub, TensorStore",)
        ]

    return [
        Case(
            key=key,
            title=f"{size}, {title}",
            prepare=[
                small_store("0.5"),
                piece("image", "reference", make_store, version="0.5", shape=shape, **layout),
            ],
            settle=True,
            entries=[
                piece("platestore", "ours", build, how="platestore", budget=BUDGET, **work),
                piece("platestore, max_memory 1 GiB", "ours", build, how="platestore", **work),
                *peer_entries(settings, peers),
            ],
            rounds=0.6,
            extra=CPU,
            sizes=SIZES,
        )
        for key, title, layout in layouts
    ]


def judge_memory(results: dict[str, Results]) -> list[Verdict]:
    """The budget, and a tenth."""
    return [
        verdict
        for r in results.values()
        for verdict in growth_verdicts(r, f"memory growth, {r.case.title}", "platestore", BUDGET)
    ]


MEMORY = Row(
    name="pyramid-memory",
    title="Pyramid of 1.5 GiB within 64 MiB",
    note=(
        '`compute_pyramid(levels=4, max_memory="64MiB")`: level 0 is 24 times as large. Memory '
        "growth is what the resident set of the process grows at most since the call, as the system counts "
        "it. iohub has no such limit."
    ),
    plan=plan_memory,
    judge=judge_memory,
)
