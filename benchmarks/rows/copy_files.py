"""Copy stores as files: a plate of small ones, a position of large ones, and from 0.4 to 0.5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.harness import Case, Entry, Results, Row, Settings, Verdict, piece, ratio_verdict
from benchmarks.memory import CPU
from benchmarks.pixels import RawTensorStore
from benchmarks.rows.copy_tools import (
    LARGE_FILES,
    check_once,
    compare_trees,
    copy_platestore,
    large_file,
    make_large,
    make_positions,
    platestore_command,
    run_tool,
    size_text,
    small_plate,
    tool,
    tree_answer,
)

SIZES = {"growth": "memory growth"}
#: What a re-encoding changes in the codec (level 5 by default), so that it cannot copy the files.
_OTHER_LEVEL = "blosc-lz4:6"


# --- pieces -----------------------------------------------------------------------------------------


def copy_tree(shared: Path, fresh: Path, how: str, store: str, program: str = "") -> dict[str, Any]:
    """Copy a store as it is."""
    source, target = shared / store, fresh / store
    if how == "platestore":
        found = copy_platestore(source, target, shared / "small.zarr", {})
    elif how == "the command":
        found = run_tool(program, "copy", str(source), str(target))
    else:
        found = run_tool(program, "-r", str(source), str(target))
    check_once(shared, how, lambda: compare_trees(source, target))
    return {**found, "answer": tree_answer(target)}


def convert(shared: Path, fresh: Path, how: str, store: str, program: str = "") -> dict[str, Any]:
    """Copy a store of 0.4 to one of 0.5: its chunks as files, or encoded anew."""
    source, target = shared / store, fresh / store
    if how == "cp -r":
        return run_tool(program, "-r", str(source), str(target))
    options: dict[str, Any] = {"version": "0.5"}
    if how != "platestore":
        options["compressor"] = _OTHER_LEVEL
    found = copy_platestore(source, target, shared / "small.zarr", options)
    arrays = sorted(path.parent.relative_to(source) for path in source.rglob(".zarray"))
    check_once(shared, how, lambda: _compare_pixels(source, target, arrays))
    return {**found, "answer": len(list(target.rglob("zarr.json")))}


def _compare_pixels(source: Path, target: Path, arrays: list[Path]) -> None:
    for array in arrays:
        if not (RawTensorStore(source / array)[...] == RawTensorStore(target / array)[...]).all():
            raise RuntimeError(f"{array} differs between {source} and {target}")


def make_planes(shared: Path, fresh: Path, version: str, planes: int, edge: int) -> dict[str, Any]:
    """Preparation: an image, a chunk per plane, in ``shared/image.zarr``."""
    from benchmarks.pixels import make_store

    return make_store(shared, fresh, version, (1, 1, planes, edge, edge), (1, 1, 1, edge, edge))


# --- as they are ------------------------------------------------------------------------------------


def _entries(store: str, cp: str) -> list[Entry]:
    script = platestore_command()
    by_command = [] if script is None else [
        piece("platestore copy, the command", "ours", copy_tree, how="the command", store=store,
              program=script)
    ]  # fmt: skip
    return [
        piece("platestore", "ours", copy_tree, how="platestore", store=store),
        piece("cp -r", "floor", copy_tree, how="cp -r", store=store, program=cp),
        *by_command,
    ]


def plan(settings: Settings) -> list[Case]:
    """Small files in both versions, and large ones."""
    cp = tool("cp")
    if cp is None:
        return []
    wells, edge = settings.pick(384, 6), settings.pick(512, 128)
    cases = [
        Case(
            key=version,
            title=f"{wells * 4:,} positions × 4 files of about {size_text(edge * edge)}, OME-NGFF {version}",
            prepare=[
                small_plate(version),
                piece(
                    "plate", "reference", make_positions, version=version, wells=wells, fields=4, edge=edge
                ),
            ],
            settle=True,
            entries=_entries("plate.zarr", cp),
            extra=CPU,
            sizes=SIZES,
        )
        for version in settings.versions
    ]
    size, remark = large_file(settings)
    version = settings.versions[-1]
    cases.append(
        Case(
            key="large",
            title=f"{LARGE_FILES} files × {size_text(size)}{remark}, OME-NGFF {version}",
            prepare=[
                small_plate(version),
                piece("large", "reference", make_large, version=version, nbytes=size, count=LARGE_FILES),
            ],
            settle=True,
            entries=_entries("large.zarr", cp),
            rounds=0.6,
            extra=CPU,
            sizes=SIZES,
        )
    )
    return cases


def judge(results: dict[str, Results]) -> list[Verdict]:
    """At least 0.8 times as fast as ``cp -r``."""
    return [ratio_verdict(r, r.case.title, "platestore", "cp -r", 1.25) for r in results.values()]


ROW = Row(
    name="copy",
    title="Copy a store as it is",
    note=(
        "`platestore.copy(source, target)`; reading the metadata of the source is in the time, and so is the "
        "check of what the copy would hold. The floor is `cp -r`, whole process. The command "
        "`platestore copy` is timed from its start to its end. Once, the files of the copies are compared "
        "with those of the source, byte by byte. The large files hold a chunk each, without compression."
    ),
    plan=plan,
    judge=judge,
)


# --- from 0.4 to 0.5 --------------------------------------------------------------------------------


def plan_convert(settings: Settings) -> list[Case]:
    """An image, and a plate."""
    if not {"0.4", "0.5"} <= set(settings.versions):
        return []
    planes, edge = settings.pick(64, 4), settings.pick(2048, 256)
    wells, field = settings.pick(384, 6), settings.pick(512, 128)
    cp = tool("cp")

    def entries(store: str) -> list[Entry]:
        floor = [] if cp is None else [
            piece("cp -r", "reference", convert, how="cp -r", store=store, program=cp)
        ]  # fmt: skip
        return [
            piece("platestore", "ours", convert, how="platestore", store=store),
            piece("platestore, encoded anew", "ours", convert, how="encoded anew", store=store),
            *floor,
        ]

    image = piece("image", "reference", make_planes, version="0.4", planes=planes, edge=edge)
    plate = piece("plate", "reference", make_positions, version="0.4", wells=wells, fields=4, edge=field)
    return [
        Case(
            key="image",
            title=f"{size_text(planes * edge * edge * 2)} in {planes} planes, a chunk each",
            prepare=[small_plate("0.4"), image],
            settle=True,
            entries=entries("image.zarr"),
            extra=CPU,
            sizes=SIZES,
        ),
        Case(
            key="plate",
            title=f"{wells * 4:,} positions × 4 files of about {size_text(field * field)}",
            prepare=[small_plate("0.4"), plate],
            settle=True,
            entries=entries("plate.zarr"),
            extra=CPU,
            sizes=SIZES,
        ),
    ]


def judge_convert(results: dict[str, Results]) -> list[Verdict]:
    """At least 5 times as fast as encoding anew."""
    return [
        ratio_verdict(r, r.case.title, "platestore", "platestore, encoded anew", 0.2)
        for r in results.values()
    ]


CONVERT = Row(
    name="copy-convert",
    title="Copy from 0.4 to 0.5",
    note=(
        '`platestore.copy(source, target, version="0.5")`, which writes new documents and copies the chunks '
        "as files. Encoded anew: the same with another level of the compressor (6 instead of 5), so that "
        "every chunk is decoded and encoded. `cp -r` copies the store of 0.4 as it is. All pixels of "
        "both copies are compared with those of the source once."
    ),
    plan=plan_convert,
    judge=judge_convert,
)
