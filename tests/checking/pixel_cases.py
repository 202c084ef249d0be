"""Images for the tests of audits: made by platestore, damaged by hand."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import platestore as ps
from platestore.checking.pixels.audits import ArrayAudit, ImageAudit
from platestore.checking.pixels.image import audit_array, audit_image
from platestore.storage.base import StorageOptions
from platestore.storage.local import LocalStorage

SHAPE = (1, 1, 8, 40, 44)
CHUNKS = (1, 1, 4, 16, 16)
SHARDS = (1, 1, 8, 32, 32)
#: Of all layouts: version, and what `create_image` is told.
LAYOUTS: dict[str, tuple[str, dict[str, Any]]] = {
    "0.4": ("0.4", {}),
    "0.4 raw": ("0.4", {"compressor": "none"}),
    "0.5": ("0.5", {}),
    "0.5 zstd": ("0.5", {"compressor": "zstd"}),
    "0.5 gzip": ("0.5", {"compressor": "gzip"}),
    "0.5 checksum": ("0.5", {"checksum": True}),
    "0.5 raw checksum": ("0.5", {"checksum": True, "compressor": "none"}),
    "0.5 shards": ("0.5", {"shards": SHARDS}),
    "0.5 shards checksum": ("0.5", {"shards": SHARDS, "checksum": True}),
    "0.5 shards raw": ("0.5", {"shards": SHARDS, "compressor": "none"}),
}
_DOCUMENTS = {"zarr.json", ".zarray", ".zattrs", ".zgroup"}


def noise(shape: Sequence[int] = SHAPE, dtype: Any = "uint16", seed: int = 0) -> np.ndarray:
    """Pixels none of which is the fill value."""
    return np.random.default_rng(seed).integers(1, 100, shape).astype(dtype)


def make_image(
    path: Path,
    layout: str = "0.5",
    data: np.ndarray | None = None,
    levels: int | None = 3,
    method: str | None = None,
    **more: Any,
) -> Path:
    """A position with one image; without a method, its levels are means."""
    version, options = LAYOUTS[layout]
    data = noise() if data is None else data
    with ps.open_ome_zarr(path, layout="fov", mode="w-", channel_names=["a"], version=version) as p:
        p.create_image("0", data, chunks=CHUNKS, **options, **more)
        if levels is not None:
            p.compute_pyramid(levels, method or "mean")
    return path


def document(path: Path) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """The file with an image's metadata, its content, and its multiscales."""
    file = path / "zarr.json"
    if file.exists():
        content = json.loads(file.read_text())
        return file, content, content["attributes"]["ome"]["multiscales"][0]
    file = path / ".zattrs"
    content = json.loads(file.read_text())
    return file, content, content["multiscales"][0]


def zarr_format(path: Path) -> Any:
    return 3 if (path / "zarr.json").exists() else 2


def storage(path: Path, **options: Any) -> LocalStorage:
    return LocalStorage(str(path), StorageOptions(**options))


def audit(path: Path, *, deep: bool = True, image: Any = None, workers: int | None = None) -> ImageAudit:
    image = document(path)[2] if image is None else image
    return audit_image(storage(path), "", image, zarr_format(path), deep=deep, workers=workers)


def audit_one(path: Path, *, deep: bool = True) -> ArrayAudit:
    """An array without an image."""
    fmt = 3 if (path / "zarr.json").exists() else 2
    return audit_array(storage(path.parent), path.name, fmt, deep=deep)


def told(found: ImageAudit | ArrayAudit) -> list[tuple[str, str, str]]:
    """Level, code and file of all findings."""
    return sorted((f.level, f.code, f.file) for f in found.findings)


def chunk_files(path: Path) -> list[Path]:
    """The files of an array (or of all arrays below a path) that hold chunks."""
    found = [Path(directory, name) for directory, _, names in os.walk(path) for name in names]
    return sorted(f for f in found if f.name not in _DOCUMENTS)


def forget_recipe(path: Path) -> None:
    """Take away what says how the levels were made."""
    file, content, image = document(path)
    image.pop("metadata", None)
    image.pop("type", None)
    file.write_text(json.dumps(content))


def decoded_nbytes(path: Path, names: Sequence[str] = ("0", "1", "2")) -> int:
    """Bytes of all chunks of some levels, by plain arithmetic."""
    with ps.open_ome_zarr(path, mode="r") as position:
        out = 0
        for name in names:
            array = position[name]
            counts = [-(-n // c) for n, c in zip(array.shape, array.chunks, strict=True)]
            out += int(np.prod(counts)) * int(np.prod(array.chunks)) * array.dtype.itemsize
    return out
