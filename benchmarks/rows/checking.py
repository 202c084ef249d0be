"""``platestore validate`` on a plate and on one JSON file, as whole processes."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import Case, Results, Row, Settings, Verdict, command, piece, time_verdict
from benchmarks.plates import make_plate

_PLATE_SECONDS, _FILE_SECONDS = 1.5, 0.2


def write_document(shared: Path, fresh: Path, channels: int) -> dict[str, Any]:
    """Preparation: the attributes of an image, ``shared/image.json``."""
    start = time.perf_counter()
    window = {"start": 0, "end": 4095, "min": 0, "max": 65535}
    axes = [{"name": "c", "type": "channel"}, *({"name": n, "type": "space"} for n in "yx")]
    levels = [
        {"path": str(i), "coordinateTransformations": [{"type": "scale", "scale": [1, 2**i, 2**i]}]}
        for i in range(5)
    ]
    ome = {
        "version": "0.5",
        "multiscales": [{"name": "image", "axes": axes, "datasets": levels}],
        "omero": {
            "channels": [{"label": f"c{i}", "color": "FF0000", "window": window} for i in range(channels)]
        },
    }
    (shared / "image.json").write_text(json.dumps({"ome": ome}))
    return {"seconds": time.perf_counter() - start}


def plan(settings: Settings) -> list[Case]:
    """A plate per version, and one file."""
    wells, fields = settings.pick(384, 24), 4
    cases = []
    for version in settings.versions:
        prepare = [piece("plate", "reference", make_plate, version=version, wells=wells, fields=fields)]
        title = f"{wells * fields:,} positions, OME-NGFF {version}"
        cases.append(_case(version, title, prepare, "{shared}/plate.zarr"))
    prepare = [piece("document", "reference", write_document, channels=4)]
    cases.append(_case("file", "one JSON file", prepare, "{shared}/image.json"))
    return cases


def _case(key: str, title: str, prepare: list[Any], target: str) -> Case:
    return Case(
        key=key,
        title=title,
        prepare=prepare,
        entries=[
            command("platestore", "ours", sys.executable, "-m", "platestore", "validate", target),
            command("floor", "floor", sys.executable, "-c", "import click, json"),
            command("bare interpreter", "reference", sys.executable, "-c", "pass"),
        ],
        rounds=3,
        warm_up=1,
    )


def judge(results: dict[str, Results]) -> list[Verdict]:
    """At most 1.5 s for a plate, and 0.2 s for a file."""
    return [
        time_verdict(r, r.case.title, "platestore", _FILE_SECONDS if key == "file" else _PLATE_SECONDS)
        for key, r in results.items()
    ]


ROW = Row(
    name="validate",
    title="`platestore validate`, whole process",
    note=(
        "From the start of the process to its end: every document of a plate of 384 wells × 4 positions "
        "(plate, rows, wells, images and arrays), each read once and judged; and a file with the attributes "
        "of one image. The floor is a Python process that imports click and json and ends."
    ),
    plan=plan,
    judge=judge,
)
