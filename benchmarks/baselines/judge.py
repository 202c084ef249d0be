"""What lies on disk, judged by plain JSON: no library is asked."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def document(path: Path) -> dict[str, Any] | None:
    """A ``zarr.json``; None if it is not there, or is no JSON."""
    try:
        content = json.loads((path / "zarr.json").read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def ome(path: Path) -> dict[str, Any]:
    """The OME metadata of a group."""
    return (document(path) or {}).get("attributes", {}).get("ome", {})


def listed(path: Path) -> list[str]:
    """Wells that a plate's document lists."""
    return [well["path"] for well in ome(path).get("plate", {}).get("wells", [])]


def on_disk(path: Path) -> list[str]:
    """Wells that there are directories for."""
    return [
        f"{row.name}/{well.name}"
        for row in path.iterdir()
        if row.is_dir()
        for well in row.iterdir()
        if well.is_dir()
    ]


def dangling(path: Path) -> tuple[int, int]:
    """Listed wells that are none, and listed images that are none or lack a listed array."""
    wells = images = 0
    for well in listed(path):
        fields = ome(path / well).get("well", {}).get("images")
        if fields is None:
            wells += 1
            continue
        for field in fields:
            image = path / well / field["path"]
            sets = [s for m in ome(image).get("multiscales", []) for s in m.get("datasets", [])]
            if document(image) is None or any(document(image / s["path"]) is None for s in sets):
                images += 1
    return wells, images


def torn(path: Path) -> int:
    """Documents that are no JSON."""
    return sum(document(file.parent) is None for file in path.rglob("zarr.json"))


def leftovers(path: Path) -> int:
    """Temporary files below and beside a store."""
    names = [*path.rglob("*"), *path.parent.glob(f".{path.name}*.tmp")]
    return sum(name.name.endswith((".partial", ".tmp", "__lock")) for name in names)


def chunks(path: Path) -> list[Path]:
    """Files of chunks and shards."""
    return sorted(
        file
        for file in path.rglob("*")
        if file.is_file() and file.name != "zarr.json" and os.sep + "c" + os.sep in str(file)
    )
