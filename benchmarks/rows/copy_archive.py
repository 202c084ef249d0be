"""Pack stores into ``.ozx`` archives, and unpack them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.harness import Case, Entry, Results, Row, Settings, Verdict, piece, ratio_verdict
from benchmarks.memory import CPU
from benchmarks.rows.copy_files import SIZES
from benchmarks.rows.copy_tools import (
    LARGE_FILES,
    archive_answer,
    check_once,
    compare_archive,
    copy_platestore,
    large_file,
    make_archive,
    make_large,
    make_positions,
    run_tool,
    size_text,
    small_plate,
    tool,
    tree_answer,
)

# zip takes paths as they are given: it must run inside of what it packs.
_IN_DIRECTORY = 'cd "$1" && exec "$2" -0 -r -q "$3" .'


def pack(shared: Path, fresh: Path, how: str, store: str, zip_program: str = "") -> dict[str, Any]:
    """Pack a store."""
    source, target = shared / store, fresh / "store.ozx"
    if how == "platestore":
        found = copy_platestore(source, target, shared / "small.zarr", {})
    else:
        found = run_tool("/bin/sh", "-c", _IN_DIRECTORY, "sh", str(source), zip_program, str(target))
    check_once(shared, how, lambda: compare_archive(target, source))
    return {**found, "answer": archive_answer(target)}


def unpack(shared: Path, fresh: Path, how: str, unzip_program: str = "") -> dict[str, Any]:
    """Unpack an archive."""
    source, target = shared / "store.ozx", fresh / "store.zarr"
    if how == "platestore":
        found = copy_platestore(source, target, shared / "small.zarr", {})
    else:
        found = run_tool(unzip_program, "-q", str(source), "-d", str(target))
    check_once(shared, how, lambda: compare_archive(source, target))
    return {**found, "answer": tree_answer(target)}


def _stores(settings: Settings) -> list[tuple[str, str, str, dict[str, Any], float]]:
    """Key, title, kind, layout and rounds: many small files, and few large ones."""
    wells, edge = settings.pick(384, 6), settings.pick(512, 128)
    size, remark = large_file(settings)
    return [
        (
            "small",
            f"{wells * 4:,} positions × 4 files of about {size_text(edge * edge)}",
            "plate",
            {"version": "0.5", "wells": wells, "fields": 4, "edge": edge},
            1,
        ),
        (
            "large",
            f"{LARGE_FILES} files × {size_text(size)}{remark}",
            "large",
            {"version": "0.5", "nbytes": size, "count": LARGE_FILES},
            0.6,
        ),
    ]


def plan(settings: Settings) -> list[Case]:
    """Small and large files; only zarr v3 is packed."""
    program, shell = tool("zip"), Path("/bin/sh")
    if program is None or not shell.exists() or "0.5" not in settings.versions:
        return []
    cases = []
    for key, title, kind, layout, rounds in _stores(settings):
        make = make_positions if kind == "plate" else make_large
        store = f"{kind}.zarr"
        cases.append(
            Case(
                key=key,
                title=title,
                prepare=[small_plate("0.5"), piece("store", "reference", make, **layout)],
                settle=True,
                entries=[
                    piece("platestore", "ours", pack, how="platestore", store=store),
                    piece("zip -0 -r", "floor", pack, how="zip", store=store, zip_program=program),
                ],
                rounds=rounds,
                extra=CPU,
                sizes=SIZES,
            )
        )
    return cases


def judge(results: dict[str, Results]) -> list[Verdict]:
    """At least 0.8 times as fast as ``zip -0 -r``."""
    return [ratio_verdict(r, r.case.title, "platestore", "zip -0 -r", 1.25) for r in results.values()]


ROW = Row(
    name="copy-pack",
    title="Pack a store into an .ozx archive",
    note=(
        '`platestore.copy(source, "store.ozx")`: all documents first, nothing compressed again. The floor is '
        "`zip -0 -r`, whole process. Once, every entry of both archives is compared with its file. Without "
        "zip the row is left out."
    ),
    plan=plan,
    judge=judge,
)


def plan_unpack(settings: Settings) -> list[Case]:
    """The same stores."""
    program = tool("unzip")
    if program is None or "0.5" not in settings.versions:
        return []

    def entries() -> list[Entry]:
        return [
            piece("platestore", "ours", unpack, how="platestore"),
            piece("unzip", "floor", unpack, how="unzip", unzip_program=program),
        ]

    return [
        Case(
            key=key,
            title=title,
            prepare=[
                small_plate("0.5"),
                piece("archive", "reference", make_archive, store="packed.zarr", how=kind, **layout),
            ],
            settle=True,
            entries=entries(),
            rounds=rounds,
            extra=CPU,
            sizes=SIZES,
        )
        for key, title, kind, layout, rounds in _stores(settings)
    ]


def judge_unpack(results: dict[str, Results]) -> list[Verdict]:
    """There is no aim."""
    return []


UNPACK = Row(
    name="copy-unpack",
    title="Unpack an .ozx archive",
    note=(
        '`platestore.copy("store.ozx", target)`, beside `unzip`, whole process, on the archive that '
        "platestore packed; both check every entry against its CRC-32. Once, every file is compared with "
        "its entry. "
        "Without unzip the row is left out."
    ),
    plan=plan_unpack,
    judge=judge_unpack,
)
