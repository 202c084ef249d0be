"""Create positions one call at a time, and how the cost of one grows with the plate."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
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
    time_verdict,
)
from benchmarks.plates import (
    CHANNELS,
    count_positions,
    floor_write,
    group_document,
    make_plate,
    ome_attributes,
    position_names,
    read_tree,
)


def create_platestore(shared: Path, fresh: Path, version: str, wells: int, fields: int) -> dict[str, Any]:
    """One ``create_position`` per position."""
    from platestore import open_ome_zarr

    return timed(open_ome_zarr, fresh, version, position_names(wells, fields))


def create_iohub(shared: Path, fresh: Path, version: str, wells: int, fields: int) -> dict[str, Any]:
    """One ``create_position`` per position."""
    from iohub.ngff import open_ome_zarr

    return timed(open_ome_zarr, fresh, version, position_names(wells, fields))


def timed(
    opener: Callable[..., Any], fresh: Path, version: str, names: list[tuple[str, str, str]]
) -> dict[str, Any]:
    """Time the creation of a plate, after a small one that makes sure that everything is imported."""

    def create(path: Path, names: list[tuple[str, str, str]]) -> list[float]:
        marks = [time.perf_counter()]
        with opener(path, layout="hcs", mode="w-", channel_names=CHANNELS, version=version) as plate:
            for name in names:
                plate.create_position(*name)
                marks.append(time.perf_counter())
        marks.append(time.perf_counter())
        return marks

    create(fresh / "warm-up.zarr", names[:2])
    marks = create(fresh / "plate.zarr", names)
    seconds, tenth = marks[-1] - marks[0], max(1, len(names) // 10)
    return {
        "seconds": seconds,
        "each": seconds / len(names),
        "last": (marks[-2] - marks[-2 - tenth]) / tenth,
        "answer": count_positions(fresh / "plate.zarr"),
    }


def floor_each(shared: Path, fresh: Path, version: str, wells: int, fields: int) -> dict[str, Any]:
    """The least that any program must do which has every position listed when its call returns.

    Each call writes the files of its position, and replaces the document of its well, and that of the
    plate if the well is new.
    """
    directories, files = read_tree(shared / "plate.zarr")
    root, name = str(fresh / "plate.zarr"), group_document(version)
    contents = dict(files)
    plate = json.loads(contents[name])
    wells_listed, ome = list(ome_attributes(plate, version)["plate"]["wells"]), ome_attributes(plate, version)
    folders: dict[str, list[tuple[str, bytes]]] = {directory: [] for directory in directories}
    for path, data in contents.items():
        folder, _, file = path.rpartition("/")
        folders[folder].append((file, data))

    def write(path: str, data: bytes) -> None:
        descriptor = os.open(path + ".tmp", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        os.write(descriptor, data)
        os.close(descriptor)
        os.replace(path + ".tmp", path)

    def write_folder(folder: str) -> None:
        os.mkdir(f"{root}/{folder}")
        for file, data in folders[folder]:
            write(f"{root}/{folder}/{file}", data)

    start = time.perf_counter()
    write_folder("")
    rows: set[str] = set()
    done: set[str] = set()
    for row, column, field in position_names(wells, fields):
        if row not in rows:
            write_folder(row)
            rows.add(row)
        well = f"{row}/{column}"
        if well not in done:
            os.mkdir(f"{root}/{well}")
        write_folder(f"{well}/{field}")
        document = json.loads(contents[f"{well}/{name}"])
        images = ome_attributes(document, version)["well"]["images"]
        del images[int(field) + 1 :]
        write(f"{root}/{well}/{name}", json.dumps(document).encode())
        if well not in done:
            done.add(well)
            for file, data in folders[well]:
                if file != name:
                    write(f"{root}/{well}/{file}", data)
            ome["plate"]["wells"] = wells_listed[: len(done)]
            write(f"{root}/{name}", json.dumps(plate).encode())
    seconds = time.perf_counter() - start
    answer = count_positions(fresh / "plate.zarr")
    return {"seconds": seconds, "each": seconds / (wells * fields), "answer": answer}


def grow_platestore(shared: Path, fresh: Path, version: str, wells: int, fields: int) -> dict[str, Any]:
    """As above; entries of different sizes give no common answer."""
    result = create_platestore(shared, fresh, version, wells, fields)
    if result.pop("answer") != wells * fields:
        raise RuntimeError("positions are missing")
    return result


def _size_name(wells: int, fields: int) -> str:
    return f"{wells:,} wells × {fields}"


def plan(settings: Settings) -> list[Case]:
    """Per version: 384 positions beside floor and peer; and plates of four sizes beside each other."""
    small, large = settings.pick(384, 24), settings.pick(1536, 96)
    cases = []
    for version in settings.versions:
        size = {"version": version, "wells": small, "fields": 1}
        cases.append(
            Case(
                key=f"{version} each",
                title=f"{small:,} positions in {small:,} wells, OME-NGFF {version}",
                prepare=[piece("plate", "reference", make_plate, arrays=False, **size)],
                settle=True,
                entries=[
                    piece("platestore", "ours", create_platestore, **size),
                    piece("floor", "floor", floor_write, atomic=True),
                    piece("floor, all listed after each call", "reference", floor_each, **size),
                    *peer_entries(
                        settings,
                        lambda python, size=size: [
                            piece("iohub", "peer", create_iohub, python=python, needs="iohub", **size)
                        ],
                    ),
                ],
                extra={"each": "ms per position", "last": "ms per position, last tenth"},
            )
        )
        sizes = [(24, 4), (small, 1), (large, 1), (large, 4)]
        entries: list[Entry] = [
            piece(_size_name(*s), "ours", grow_platestore, version=version, wells=s[0], fields=s[1])
            for s in dict.fromkeys(sizes)
        ]
        cases.append(
            Case(
                key=f"{version} growth",
                title=f"platestore, plates of several sizes, OME-NGFF {version}",
                settle=True,
                entries=entries,
                rounds=0.6,
                extra={"each": "ms per position", "last": "ms per position, last tenth"},
            )
        )
    return cases


def judge(results: dict[str, Results]) -> list[Verdict]:
    """384 in 0.4 s; and a position costs at most 3 times as much on a large plate as on a small one."""
    verdicts = []
    for key, r in results.items():
        if key.endswith("each"):
            verdicts.append(time_verdict(r, r.case.title, "platestore", 0.4))
            continue
        few, small, wide, full = (entry.name for entry in r.case.entries)
        version = key.split()[0]
        for large, base in ((wide, small), (full, few)):
            verdicts.append(
                Verdict(
                    f"one position at {large}, OME-NGFF {version}",
                    r.extra(large, "each") / r.extra(base, "each"),
                    r.best_extra(large, "each") / r.best_extra(base, "each"),
                    3,
                    "×",
                    f"one at {base}",
                )
            )
    return verdicts


ROW = Row(
    name="create-single",
    title="Create positions one call at a time",
    note=(
        "One `create_position` per position, without arrays; opening the new plate is included. When a call "
        "returns, its position is listed. The floor writes the final files once (temporary file, rename); "
        "the other floor also replaces the documents of well and plate as often as they must change. The "
        "cost of one position is the mean over the whole plate, from empty to full; the last tenth shows "
        "the slope."
    ),
    plan=plan,
    judge=judge,
)
