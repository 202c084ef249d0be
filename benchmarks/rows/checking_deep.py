"""Check every chunk and level of an image, beside reading them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.harness import Case, Results, Row, Settings, Verdict, piece, ratio_verdict
from benchmarks.memory import CPU, measured
from benchmarks.pixels import level_paths, make_data, make_store, wait_for_threads
from benchmarks.rows.copy_files import SIZES
from benchmarks.rows.pyramid import growth_verdicts, small_store

_LEVELS = 4


def check_deep(shared: Path, fresh: Path, how: str, store: str = "image.zarr") -> dict[str, Any]:
    """Decode all levels; with platestore's check, hold them against level 0 too."""
    call = {"platestore": _audit, "plain reading": _read}[how]
    call(shared / "small.zarr")
    wait_for_threads()
    answer: list[Any] = [None]

    def work() -> None:
        answer[0] = call(shared / store)

    return {**measured(work), "answer": answer[0]}


def _read(path: Path) -> int:
    """Read all levels as users do; returns how many chunks there are."""
    from platestore import open_ome_zarr

    chunks = 0
    with open_ome_zarr(path, mode="r") as position:
        for name in level_paths(path):
            array = position[name]
            _ = array[...]
            chunks += _chunks(array.shape, array.chunks)
    return chunks


def _audit(path: Path) -> int:
    """Check all levels; returns how many chunks there are, all of them whole."""
    from platestore.checking.pixels.image import audit_image
    from platestore.storage.base import StorageOptions
    from platestore.storage.local import LocalStorage

    v3 = path / "zarr.json"
    if v3.exists():
        image = json.loads(v3.read_text())["attributes"]["ome"]["multiscales"][0]
    else:
        image = json.loads((path / ".zattrs").read_text())["multiscales"][0]
    storage = LocalStorage(str(path), StorageOptions())
    found = audit_image(storage, "", image, 3 if v3.exists() else 2, deep=True)
    if found.findings or any(found.missing.values()):
        raise RuntimeError(f"{path} should be whole: {found}")
    chunks = 0
    for name in level_paths(path):
        document = path / name / ("zarr.json" if v3.exists() else ".zarray")
        chunks += _count(json.loads(document.read_text()))
    return chunks


def _count(document: dict[str, Any]) -> int:
    if document["zarr_format"] == 2:
        return _chunks(document["shape"], document["chunks"])
    chunks = document["chunk_grid"]["configuration"]["chunk_shape"]
    first = document["codecs"][0]
    if first["name"] == "sharding_indexed":
        chunks = first["configuration"]["chunk_shape"]
    return _chunks(document["shape"], chunks)


def _chunks(shape: Any, chunks: Any) -> int:
    count = 1
    for length, size in zip(shape, chunks, strict=True):
        count *= -(-length // size)
    return count


def plan(settings: Settings) -> list[Case]:
    """Planes in both versions, and chunks in a shard."""
    edge, planes, inner = settings.pick(2048, 256), settings.pick(64, 16), settings.pick(256, 64)
    shape, depth = [1, 1, planes, edge, edge], min(32, planes)
    size = f"{planes * edge * edge * 2 / 2**20:,.0f} MiB and its pyramid"
    layouts: list[tuple[str, str, str, dict[str, Any]]] = [
        (
            version,
            f"{size}, a chunk per plane, OME-NGFF {version}",
            version,
            {"chunks": [1, 1, 1, edge, edge]},
        )
        for version in settings.versions
    ]
    if "0.5" in settings.versions:
        title = f"{size}, chunks of {depth} × {inner} × {inner} in one shard, OME-NGFF 0.5"
        sharded = {"chunks": [1, 1, depth, inner, inner], "shards": shape}
        layouts.append(("0.5 sharded", title, "0.5", sharded))
    return [
        Case(
            key=key,
            title=title,
            prepare=[
                piece("data", "reference", make_data, shape=shape),
                small_store(version),
                piece(
                    "image",
                    "reference",
                    make_store,
                    version=version,
                    shape=shape,
                    pixels="data",
                    levels=_LEVELS,
                    **layout,
                ),
            ],
            settle=True,
            entries=[
                piece("platestore", "ours", check_deep, how="platestore"),
                piece("plain reading", "floor", check_deep, how="plain reading"),
            ],
            extra=CPU,
            sizes=SIZES,
        )
        for key, title, version, layout in layouts
    ]


def judge(results: dict[str, Results]) -> list[Verdict]:
    """At least 0.8 times the throughput of plain reading, in the memory that is the default budget."""
    verdicts = []
    for r in results.values():
        verdicts.append(ratio_verdict(r, r.case.title, "platestore", "plain reading", 1.25))
        verdicts += growth_verdicts(r, f"memory growth, {r.case.title}", "platestore", 2**30)
    return verdicts


ROW = Row(
    name="check-deep",
    title="Check every chunk of 512 MiB and its 4 levels",
    note=(
        "What `platestore check --deep` does to the pixels of an image: every chunk decoded, each checksum "
        "verified, and each level is made again from level 0 and compared. Plain reading is "
        '`position["0"][...]`, and the same of the other levels, with TensorStore under it; it compares '
        "nothing, and needs the memory of the whole image."
    ),
    plan=plan,
    judge=judge,
)
