"""Copy images into another layout: decoded and encoded chunk by chunk, within a budget."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import Case, Results, Row, Settings, Verdict, piece, ratio_verdict
from benchmarks.memory import CPU, measured, peak
from benchmarks.pixels import RawTensorStore, copy_store, make_store, stored_nbytes, wait_for_threads
from benchmarks.rows.copy_tools import copy_platestore, shape_text, size_text
from benchmarks.rows.pyramid import growth_verdicts

_SIZES = {"growth": "memory growth", "stored": "stored"}
BUDGET = 64 * 2**20


# --- pieces -----------------------------------------------------------------------------------------


def relayout(
    shared: Path,
    fresh: Path,
    how: str,
    chunks: Sequence[int],
    shards: Sequence[int] | None,
    budget: int | None = None,
) -> dict[str, Any]:
    """Copy ``shared/image.zarr`` into another layout."""
    source, target = shared / "image.zarr", fresh / "image.zarr"
    if how == "platestore":
        options = {"chunks": chunks, "shards": shards, "max_memory": budget}
        found = copy_platestore(source, target, shared / "small.zarr", options)
    else:
        copy_store(shared / "empty.zarr", target)
        RawTensorStore(shared / "small.zarr" / "0")[...]
        wait_for_threads()
        found = {**measured(lambda: _read_and_write(source / "0", target / "0")), "peak": peak()}
    copy = RawTensorStore(target / "0")
    layout = copy.handle.chunk_layout
    answer = [_checksum(copy), list(layout.read_chunk.shape), list(layout.write_chunk.shape)]
    if answer[0] != _checksum(RawTensorStore(source / "0")):
        raise RuntimeError(f"{target} has other pixels than {source}")
    return {**found, "stored": stored_nbytes(target / "0"), "answer": answer}


def _read_and_write(source: Path, target: Path) -> None:
    """Read all of an array, and write it into one that is there."""
    RawTensorStore(target)[...] = RawTensorStore(source)[...]


def _checksum(array: RawTensorStore, planes: int = 16) -> int:
    """Of all pixels, some planes at a time."""
    import numpy as np

    out = 0
    for start in range(0, array.shape[2], planes):
        out = zlib.crc32(np.ascontiguousarray(array[:, :, start : start + planes]).data, out)
    return out


def _small(source: dict[str, Any]) -> Any:
    """Preparation: a store to warm up with, in the layout of the source."""
    shape = [1, 1, *(min(2 * c, n) for c, n in zip(source["chunks"][2:], source["shape"][2:], strict=True))]
    shape[3:] = [min(n, 512) for n in shape[3:]]
    chunks = [min(c, n) for c, n in zip(source["chunks"], shape, strict=True)]
    return piece(
        "small", "reference", make_store, version="0.5", shape=shape, chunks=chunks, store="small.zarr"
    )


# --- unsharded to sharded ---------------------------------------------------------------------------


def plan(settings: Settings) -> list[Case]:
    """The same chunks in a shard, and planes in chunks of another shape in a shard."""
    if "0.5" not in settings.versions:
        return []
    edge, planes, inner = settings.pick(2048, 256), settings.pick(64, 16), settings.pick(256, 64)
    shape = [1, 1, planes, edge, edge]
    deep, flat = [1, 1, min(32, planes), inner, inner], [1, 1, 1, edge, edge]
    work: dict[str, Any] = {"chunks": deep, "shards": shape}
    cases = []
    for key, chunks in (("deep", deep), ("planes", flat)):
        source = {"shape": shape, "chunks": chunks}
        title = f"chunks of {shape_text(chunks)}" if key == "deep" else "a chunk per plane"
        cases.append(
            Case(
                key=key,
                title=f"{title} to chunks of {shape_text(deep)} in one shard",
                prepare=[
                    piece("image", "reference", make_store, version="0.5", **source),
                    piece(
                        "empty",
                        "reference",
                        make_store,
                        version="0.5",
                        shape=shape,
                        fill=False,
                        store="empty.zarr",
                        **work,
                    ),
                    _small(source),
                ],
                settle=True,
                entries=[
                    piece("platestore", "ours", relayout, how="platestore", **work),
                    piece("TensorStore", "floor", relayout, how="TensorStore", **work),
                ],
                extra=CPU,
                sizes=_SIZES,
            )
        )
    return cases


def judge(results: dict[str, Results]) -> list[Verdict]:
    """At most 1.3 times TensorStore."""
    return [ratio_verdict(r, r.case.title, "platestore", "TensorStore", 1.3) for r in results.values()]


ROW = Row(
    name="copy-rechunk",
    title="Copy 512 MiB into shards",
    note=(
        "`platestore.copy(source, target, chunks=..., shards=...)` of 16-bit noise, OME-NGFF 0.5; the new "
        "store and its metadata are in the time, and the default budget of 1 GiB holds. The floor reads the "
        "whole image with TensorStore and writes it into an array that is there, with the same codec. All "
        "pixels are compared."
    ),
    plan=plan,
    judge=judge,
)


# --- larger than the budget -------------------------------------------------------------------------


def plan_memory(settings: Settings) -> list[Case]:
    """The source is 20 times the budget: planes, chunks and shards, in both directions."""
    if "0.5" not in settings.versions:
        return []
    edge, planes, inner = settings.pick(2048, 256), settings.pick(160, 32), settings.pick(256, 64)
    shape = [1, 1, planes, edge, edge]
    deep, flat = [1, 1, 32, inner, inner], [1, 1, 1, edge, edge]
    shard = [1, 1, 32, edge, edge]
    cases = [
        ("shards", "a chunk per plane", f"chunks of {shape_text(deep)} in shards of 32 planes",
         {"chunks": flat}, {"chunks": deep, "shards": shard}),
        ("one shard", "a chunk per plane", f"chunks of {shape_text(deep)} in one shard",
         {"chunks": flat}, {"chunks": deep, "shards": shape}),
        ("planes", f"chunks of {shape_text(deep)}", "a chunk per plane in shards of 32",
         {"chunks": deep}, {"chunks": flat, "shards": shard}),
    ]  # fmt: skip
    out = []
    for key, before, after, layout, work in cases:
        source = {"shape": shape, **layout}
        out.append(
            Case(
                key=key,
                title=f"{size_text(planes * edge * edge * 2)}, {before} to {after}",
                prepare=[
                    piece("image", "reference", make_store, version="0.5", **source),
                    piece(
                        "empty",
                        "reference",
                        make_store,
                        version="0.5",
                        shape=shape,
                        fill=False,
                        store="empty.zarr",
                        **work,
                    ),
                    _small(source),
                ],
                settle=True,
                entries=[
                    piece("platestore", "ours", relayout, how="platestore", budget=BUDGET, **work),
                    piece("platestore, max_memory 1 GiB", "ours", relayout, how="platestore", **work),
                    piece("TensorStore", "reference", relayout, how="TensorStore", **work),
                ],
                rounds=0.6,
                extra=CPU,
                sizes=_SIZES,
            )
        )
    return out


def judge_memory(results: dict[str, Results]) -> list[Verdict]:
    """The budget, and a tenth."""
    return [
        verdict
        for r in results.values()
        for verdict in growth_verdicts(r, f"memory growth, {r.case.title}", "platestore", BUDGET)
    ]


MEMORY = Row(
    name="copy-memory",
    title="Copy 1.3 GiB into another layout within 64 MiB",
    note=(
        '`platestore.copy(..., chunks=..., shards=..., max_memory="64MiB")`: the decoded source is 20 times '
        "as large. Memory growth is what the resident set of the process grows at most since the call, as "
        "the system counts it. TensorStore reads the whole image and writes it, as above, and has no such "
        "limit."
    ),
    plan=plan_memory,
    judge=judge_memory,
)
