"""A small plate to be damaged, and what must be true of every repair."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import platestore as ps

WELLS = ("A/1", "A/2", "B/3")
FIELDS = ("0", "1")
DOCUMENTS = {"zarr.json", ".zgroup", ".zattrs", ".zarray", ".zmetadata"}
#: The document that holds the attributes of a group, and that of an array.
GROUP = {"0.4": ".zattrs", "0.5": "zarr.json"}
ARRAY = {"0.4": ".zarray", "0.5": "zarr.json"}


def pixels(well: str, field: str) -> np.ndarray:
    """The pixels of one field: none of them is zero."""
    seed = WELLS.index(well) * 10 + FIELDS.index(field)
    return np.random.default_rng(seed).integers(1, 4000, (2, 2, 2, 32, 48)).astype("uint16")


def make_plate(path: Path, version: str) -> Path:
    """A plate of three wells with two fields; images with levels, scales, and, in one field, labels."""
    with ps.open_ome_zarr(
        path, layout="hcs", mode="w-", channel_names=["DAPI", "GFP"], version=version, name="trial"
    ) as plate:
        for well in WELLS:
            for field in FIELDS:
                position = plate.create_position(*well.split("/"), field)
                sharded = {"shards": (1, 1, 2, 32, 48)} if version == "0.5" else {}
                position.create_image(
                    "0", pixels(well, field), chunks=(1, 1, 1, 16, 16), checksum=version == "0.5", **sharded
                )
                position.set_scale("0", "x", 0.25)
                position.compute_pyramid(3)
        position = plate["A/1/0"]
        position.create_label("cells", (pixels("A/1", "0")[:, :1] // 1000).astype("uint16"))
    return path


def copy_of(path: Path, target: Path) -> Path:
    """A copy of a store to be damaged."""
    shutil.copytree(path, target)
    return target


def chunk_files(*roots: Path) -> Counter[tuple[str, str]]:
    """Name and content of every file but documents: what a repair must not lose."""
    found: Counter[tuple[str, str]] = Counter()
    for root in roots:
        for directory, _, names in os.walk(root):
            for name in names:
                temporary = name.endswith((".__lock", ".lock")) or name.startswith((".zarr.json", ".zattrs"))
                if name not in DOCUMENTS and not temporary and not name.endswith((".json", ".txt")):
                    full = Path(directory, name)
                    if full.stat().st_size:
                        found[(name, hashlib.sha256(full.read_bytes()).hexdigest())] += 1
    return found


def tree(root: Path) -> dict[str, bytes | None]:
    """All files and directories below a directory."""
    out: dict[str, bytes | None] = {}
    for directory, folders, names in os.walk(root):
        for name in (*folders, *names):
            full = Path(directory, name)
            out[str(full.relative_to(root))] = full.read_bytes() if full.is_file() else None
    return out


def codes(report: Any, *levels: str) -> set[str]:
    """Codes of the findings, those of advice only if they are asked for."""
    wanted = levels or ("error", "warning")
    return {f.code for f in report.findings if f.level in wanted}


def repaired(path: Path, *, deletes: bool = False, **options: Any) -> ps.CheckReport:
    """Repair a store, with everything that must be true of that; give the report.

    A dry run before it changes nothing. No bytes of pixels are lost. A second check finds nothing, and what
    was done is written down. The store is valid by the official schemas' rules, and opens without a word.
    """
    before, everything = chunk_files(path), tree(path.parent)
    planned = ps.check(path, dry_run=True, **options)
    assert tree(path.parent) == everything
    report = ps.check(path, repair=True, **options)
    assert report.whole, (report.message, report.findings, report.failed)
    assert bool(report.actions) == bool(planned.actions)
    quarantine = Path(f"{path}.quarantine")
    roots = [path, quarantine] if quarantine.exists() else [path]
    if not deletes:  # a deletion that was asked for, and is completed
        assert not before - chunk_files(*roots), "pixels were lost"
    again = ps.check(path, deep=True)
    assert again.whole, again.findings
    assert not ps.check(path, repair=True, deep=True).actions
    if report.actions:
        assert report.quarantine is not None
        log = Path(report.quarantine, "actions.txt").read_text(encoding="utf-8")
        assert all(action in log for action in report.actions)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        node = ps.open_ome_zarr(path, mode="r")
        if isinstance(node, ps.Plate):
            for _, position in node.positions():
                assert position.channel_names
    return report


def edit(path: Path, change: Any) -> None:
    """Change the JSON of a document behind the library's back."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def ome(path: Path, version: str, change: Any) -> None:
    """Change the OME part of a group's attributes."""

    def apply(content: dict[str, Any]) -> None:
        change(content if version == "0.4" else content["attributes"]["ome"])

    edit(path / GROUP[version], apply)


def lose(path: Path, how: str) -> None:
    """Damage a document."""
    if how == "deleted":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "cut off":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path.write_bytes(b"\x00" * path.stat().st_size)
