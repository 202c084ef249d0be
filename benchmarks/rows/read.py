"""Read from a sharded image: small windows, one after the other, and all of it."""

from __future__ import annotations

import statistics
import time
import zlib
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
from benchmarks.pixels import make_store, open_array, wait_for_threads


def windows(shared: Path, fresh: Path, how: str, count: int, edge: int) -> dict[str, Any]:
    """Read random windows; the time is the median of one."""
    import numpy as np

    array = open_array(how, shared / "image.zarr")
    rng = np.random.default_rng(11)
    most = np.array([*array.shape[:3], array.shape[3] - edge, array.shape[4] - edge])
    places = [[int(v) for v in rng.integers(0, most)] for _ in range(count)]
    taken, checksum = [], 0
    # The first tenth warms up: threads, and what the program caches.
    for number, (t, c, z, y, x) in enumerate(places[: count // 10] + places):
        start = time.perf_counter()
        window = array[t, c, z, y : y + edge, x : x + edge]
        seconds = time.perf_counter() - start
        if number >= count // 10:
            taken.append(seconds)
            checksum = zlib.crc32(np.ascontiguousarray(window).data, checksum)
    slow = statistics.quantiles(taken, n=20)[-1]
    return {"seconds": statistics.median(taken), "slow": slow, "answer": checksum}


def whole(shared: Path, fresh: Path, how: str) -> dict[str, Any]:
    """Read all of an image."""
    import numpy as np

    array = open_array(how, shared / "image.zarr")
    _ = open_array(how, shared / "small.zarr")[...]
    wait_for_threads()
    result: list[Any] = [None]

    def work() -> None:
        result[0] = array[...]

    found = measured(work)
    return {**found, "answer": zlib.crc32(np.ascontiguousarray(result[0]).data)}


def _entries(settings: Settings, function: Any, caches: bool, **work: Any) -> list[Entry]:
    def peers(python: str) -> list[Entry]:
        def runs(name: str, needs: str) -> Entry:
            return piece(name, "peer", function, python=python, needs=needs, how=name, **work)

        return [
            runs("iohub", "iohub"),
            runs("iohub, TensorStore", "tensorstore"),
            runs("zarr-python with zarrs", "zarrs"),
        ]

    cached = "TensorStore with a cache of 256 MiB"
    return [
        piece("platestore", "ours", function, how="platestore", **work),
        piece("TensorStore", "floor", function, how="TensorStore", **work),
        *([piece(cached, "reference", function, how=cached, **work)] if caches else []),
        piece("zarr-python", "reference", function, how="zarr-python", **work),
        *peer_entries(settings, peers),
    ]


def plan(settings: Settings) -> list[Case]:
    """Flat and deep chunks in shards; 0.4 has no shards."""
    edge, planes, inner = settings.pick(2048, 256), settings.pick(32, 8), settings.pick(256, 64)
    count = settings.pick(200, 20)
    shape = [1, 2, planes, edge, edge]
    size = f"{2 * planes * edge * edge * 2 / 2**20:,.0f} MiB"
    cases: list[Case] = []
    if "0.5" not in settings.versions:
        return cases

    def prepare(chunks: Sequence[int]) -> list[Entry]:
        shards = [1, 1, planes, edge, edge]
        layout = {"version": "0.5", "chunks": chunks}
        small = [1, 1, chunks[2], 2 * inner, 2 * inner]
        return [
            piece("image", "reference", make_store, shape=shape, shards=shards, **layout),
            piece("small", "reference", make_store, shape=small, shards=small, store="small.zarr", **layout),
        ]

    for depth in (1, planes):
        chunks = [1, 1, depth, inner, inner]
        cases.append(
            Case(
                key=f"window {depth}",
                title=f"a window of {inner} × {inner}, chunks of {depth} × {inner} × {inner}",
                prepare=prepare(chunks),
                entries=_entries(settings, windows, True, count=count, edge=inner),
                extra={"slow": "ms, slowest twentieth"},
                rounds=2,
            )
        )
    chunks = [1, 1, planes, inner, inner]
    cases.append(
        Case(
            key="whole",
            title=f"all {size}, chunks of {planes} × {inner} × {inner}",
            prepare=prepare(chunks),
            entries=_entries(settings, whole, False),
            extra=CPU,
            sizes={"growth": "memory growth"},
        )
    )
    return cases


def judge(results: dict[str, Results]) -> list[Verdict]:
    """As fast as TensorStore, with the 15 % that writing may take, too."""
    return [ratio_verdict(r, r.case.title, "platestore", "TensorStore", 1.15) for r in results.values()]


ROW = Row(
    name="read",
    title="Read from a sharded 5-D image",
    note=(
        "`image[t, c, z, y:y+256, x:x+256]` at 200 random places, which the grid of chunks does not know: a "
        "window mostly touches four chunks. The array is open, the files are in the page cache; "
        "given is the median of one window. And the whole image at once, by whole shards. "
        "TensorStore, used directly, is the floor; neither it nor platestore caches anything, unless "
        "said."
    ),
    plan=plan,
    judge=judge,
)
