"""The plates that the rows use, and raw pieces that several of them share."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHANNELS = ["DAPI", "GFP"]
SHAPE = (1, 2, 1, 512, 512)
DTYPE = "uint16"
#: Columns of the plate formats with this many wells.
_COLUMNS = {6: 3, 24: 6, 96: 12, 384: 24, 1536: 48}


def well_names(wells: int) -> Iterator[tuple[str, str]]:
    """Row and column of each well of a plate, row by row."""
    columns = _COLUMNS[wells]
    for number in range(wells):
        row, column = divmod(number, columns)
        letter = chr(ord("A") + row % 26)
        yield (letter if row < 26 else f"A{letter}"), str(column + 1)


def position_names(wells: int, fields: int) -> list[tuple[str, str, str]]:
    """Row, column and name of each position, well by well."""
    return [(row, column, str(field)) for row, column in well_names(wells) for field in range(fields)]


def group_document(version: str) -> str:
    """The file with the attributes of a group."""
    return ".zattrs" if version == "0.4" else "zarr.json"


def ome_attributes(content: dict[str, Any], version: str) -> dict[str, Any]:
    """The OME-NGFF part of such a file."""
    ome: dict[str, Any] = content if version == "0.4" else content["attributes"]["ome"]
    return ome


def make_plate(
    shared: Path, fresh: Path, version: str, wells: int, fields: int, arrays: bool = True
) -> dict[str, Any]:
    """Preparation: one finished plate, ``shared/plate.zarr``, written by platestore."""
    from platestore import open_ome_zarr

    start = time.perf_counter()
    given: dict[str, Any] = {"shape": SHAPE, "dtype": DTYPE} if arrays else {}
    with open_ome_zarr(
        shared / "plate.zarr", layout="hcs", mode="w-", channel_names=CHANNELS, version=version
    ) as plate:
        plate.create_positions(position_names(wells, fields), **given)
    return {"seconds": time.perf_counter() - start}


# --- the floor of all writing: the same files, from bytes in hand -----------------------------------


def read_tree(root: Path) -> tuple[list[str], list[tuple[str, bytes]]]:
    """Directories (parents first; the root is "") and files of a tree, relative to it."""
    directories, files = [], []
    for path, _, names in os.walk(root):
        relative = Path(path).relative_to(root).as_posix().removeprefix(".")
        directories.append(relative)
        for name in names:
            files.append((f"{relative}/{name}".lstrip("/"), Path(path, name).read_bytes()))
    return directories, files


def floor_write(shared: Path, fresh: Path, atomic: bool) -> dict[str, Any]:
    """Write the files of ``shared/plate.zarr`` again, with nothing else to do.

    ``atomic``: each as a temporary file that is renamed.
    """
    directories, files = read_tree(shared / "plate.zarr")
    root = str(fresh / "plate.zarr")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    start = time.perf_counter()
    for directory in directories:
        os.mkdir(f"{root}/{directory}")
    for name, data in files:
        path = f"{root}/{name}"
        target = path + ".tmp" if atomic else path
        descriptor = os.open(target, flags, 0o666)
        os.write(descriptor, data)
        os.close(descriptor)
        if atomic:
            os.replace(target, path)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "answer": count_positions(fresh / "plate.zarr")}


def count_positions(root: Path) -> int:
    """Positions that the documents of a plate list and that are there; the check on every writer."""
    version = "0.4" if (root / ".zattrs").exists() else "0.5"
    name = group_document(version)

    def attributes(path: Path) -> dict[str, Any]:
        return ome_attributes(json.loads((path / name).read_bytes()), version)

    count = 0
    for well in attributes(root)["plate"]["wells"]:
        for image in attributes(root / well["path"])["well"]["images"]:
            count += (root / well["path"] / image["path"]).is_dir()
    return count
