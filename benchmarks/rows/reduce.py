"""Reduce an image in memory: means, and the methods that must rank the pixels of a window."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import Case, Results, Row, Settings, Verdict, piece, ratio_verdict, time_verdict
from benchmarks.memory import CPU, measured
from benchmarks.pixels import load, make_data, wait_for_threads

_SIZES = {"growth": "memory growth"}


def reduce(
    shared: Path, fresh: Path, how: str, factors: Sequence[int], method: str, threads: int = 2
) -> dict[str, Any]:
    """Reduce ``shared/data.npy``, a volume, into an array that is there (or one that the program makes)."""
    import numpy as np

    data = load(shared)
    # Touched beforehand: the first use of its pages costs as much as a part of the work.
    out = np.full([-(-n // f) for n, f in zip(data.shape, factors, strict=True)], 1, data.dtype)
    call = {"platestore": _platestore, "TensorStore": _tensorstore, "numpy": _numpy}[how]
    result: list[Any] = [None]

    def work(source: Any, target: Any) -> None:
        result[0] = call(source, factors, method, threads, target)

    work(data[:2, :512, :512].copy(), out[: -(-2 // factors[0]), : 512 // factors[1], : 512 // factors[2]])
    wait_for_threads()
    found = measured(lambda: work(data, out))
    return {**found, "answer": zlib.crc32(np.ascontiguousarray(result[0]).data)}


def _platestore(data: Any, factors: Sequence[int], method: str, threads: int, out: Any) -> Any:
    from concurrent.futures import ThreadPoolExecutor

    from platestore.pyramid.kernels import reduce_block

    f = factors[0]
    step = -(-len(out) // threads)
    parts = [slice(start, min(start + step, len(out))) for start in range(0, len(out), step)]

    def part(rows: slice) -> None:
        reduce_block(data[rows.start * f : rows.stop * f], factors, method, out=out[rows])

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(part, parts))
    return out


def _tensorstore(data: Any, factors: Sequence[int], method: str, threads: int, out: Any) -> Any:
    import tensorstore

    context = tensorstore.Context({"data_copy_concurrency": {"limit": threads}})
    source = tensorstore.array(data, context=context)
    reduced = tensorstore.downsample(source, list(factors), method)
    tensorstore.array(out, context=context).write(reduced).result()
    return out


def _numpy(data: Any, factors: Sequence[int], method: str, threads: int, out: Any) -> Any:
    import numpy as np

    shape = [v for n, f in zip(data.shape, factors, strict=True) for v in (n // f, f)]
    return np.rint(data.reshape(shape).mean(axis=(1, 3, 5))).astype(data.dtype)


def plan(settings: Settings) -> list[Case]:
    """One case."""
    edge, planes = settings.pick(2048, 256), settings.pick(64, 8)
    shape = [planes, edge, edge]
    work = {"factors": [2, 2, 2], "method": "mean"}
    return [
        Case(
            key="mean",
            title=f"{planes * edge * edge * 2 / 2**20:,.0f} MiB of 16-bit noise, 2 × 2 × 2",
            prepare=[piece("data", "reference", make_data, shape=shape)],
            entries=[
                piece("platestore", "ours", reduce, how="platestore", **work),
                piece("platestore, one thread", "ours", reduce, how="platestore", threads=1, **work),
                piece("TensorStore", "reference", reduce, how="TensorStore", **work),
                piece("numpy, reshape and mean", "reference", reduce, how="numpy", **work),
            ],
            rounds=2,
            extra=CPU,
            sizes=_SIZES,
        )
    ]


def judge(results: dict[str, Results]) -> list[Verdict]:
    """0.12 s with two threads."""
    return [time_verdict(r, r.case.title, "platestore", 0.12) for r in results.values()]


ROW = Row(
    name="mean",
    title="2 × 2 × 2 mean in memory",
    note=(
        "A volume (Z, Y, X) into an array that is there. platestore's kernel (`reduce_block`) is called by "
        "two threads, each for half of Z; TensorStore is `tensorstore.downsample`, with two threads; numpy "
        "takes the mean of a reshaped view, rounds it and casts it. All results are the same, to the last "
        "bit."
    ),
    plan=plan,
    judge=judge,
)


def plan_ranked(settings: Settings) -> list[Case]:
    """Two methods, two windows and two images."""
    edge, planes = settings.pick(1024, 256), settings.pick(32, 4)
    cases = []
    for kind, image in (("noise", "16-bit noise"), ("labels", "labels of cells")):
        for method in ("median", "mode"):
            for factors in ([1, 2, 2], [2, 2, 2]):
                window = " × ".join(str(f) for f in factors if f > 1)
                work = {"factors": factors, "method": method}
                cases.append(
                    Case(
                        key=f"{kind} {method} {factors}",
                        title=f"{method} of {window}, {image}",
                        prepare=[
                            piece("data", "reference", make_data, shape=[planes, edge, edge], kind=kind)
                        ],
                        entries=[
                            piece("platestore", "ours", reduce, how="platestore", **work),
                            piece(
                                "platestore, one thread", "ours", reduce, how="platestore", threads=1, **work
                            ),
                            piece("TensorStore", "reference", reduce, how="TensorStore", **work),
                        ],
                        extra=CPU,
                        sizes=_SIZES,
                    )
                )
    return cases


def judge_ranked(results: dict[str, Results]) -> list[Verdict]:
    """Three times as fast as TensorStore."""
    return [ratio_verdict(r, r.case.title, "platestore", "TensorStore", 0.333) for r in results.values()]


RANKED = Row(
    name="rank",
    title="Median and mode in memory, 64 MiB",
    note=(
        "A volume of 32 × 1024 × 1024 pixels of 16 bits: noise like a camera's, and labels of cells 40 "
        "pixels across on background. Two threads each, of which `tensorstore.downsample` "
        "keeps one busy for an array in memory. All results are the same, to the last bit."
    ),
    plan=plan_ranked,
    judge=judge_ranked,
)
