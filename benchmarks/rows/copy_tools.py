"""What the rows of copying share: stores to copy, other programs, and the comparison of what they make."""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import MARK, ROOT, Entry, Settings, piece
from benchmarks.memory import measured, peak
from benchmarks.pixels import Noise, wait_for_threads
from benchmarks.plates import position_names

_LAUNCHER = ROOT / "benchmarks" / "launch.py"
#: Bytes of one large file.
LARGE, LARGE_FILES = 512 * 2**20, 8
_PIECE = 2**20


# --- stores -----------------------------------------------------------------------------------------


def make_positions(
    shared: Path, fresh: Path, version: str, wells: int, fields: int, edge: int, store: str = "plate.zarr"
) -> dict[str, Any]:
    """Preparation: a plate of positions with four channels, a chunk each, which compress to about a half."""
    import numpy as np

    from platestore import open_ome_zarr

    shape, names = (1, 4, 1, edge, edge), position_names(wells, fields)
    channels = ["DAPI", "GFP", "RFP", "Cy5"]
    noise = Noise(edge, edge)
    with open_ome_zarr(
        shared / store, layout="hcs", mode="w-", channel_names=channels, version=version
    ) as plate:
        made = plate.create_positions(names, shape=shape, dtype=np.uint16, chunks=(1, 1, 1, edge, edge))
        for number, position in enumerate(made):
            position["0"][...] = np.stack([noise.plane(4 * number + c) for c in range(4)])[None, :, None]
    return {"seconds": 0.0}


def make_large(
    shared: Path, fresh: Path, version: str, nbytes: int, count: int, store: str = "large.zarr"
) -> dict[str, Any]:
    """Preparation: a position with large chunks, without compression: each is a file of so many bytes."""
    import numpy as np

    from platestore import open_ome_zarr

    edge = 2048 if nbytes >= 2**24 else 256
    planes = nbytes // (2 * edge * edge)
    shape, names = (1, count, planes, edge, edge), [f"channel {c}" for c in range(count)]
    noise = Noise(edge, edge).stack((planes, edge, edge))
    with open_ome_zarr(
        shared / store, layout="fov", mode="w-", channel_names=names, version=version
    ) as position:
        image = position.create_zeros("0", shape, np.uint16, chunks=(1, 1, *shape[2:]), compressor="none")
        for channel in range(count):
            noise += 1  # no two files are the same
            image[0, channel] = noise
    return {"seconds": 0.0}


def make_archive(shared: Path, fresh: Path, store: str, how: str, **layout: Any) -> dict[str, Any]:
    """Preparation: ``shared/plate.ozx`` and a small one; what was packed is removed."""
    import platestore

    make = {"plate": make_positions, "large": make_large}[how]
    make(shared, fresh, store=store, **layout)
    platestore.copy(shared / store, shared / "store.ozx")
    shutil.rmtree(shared / store)
    return {"seconds": 0.0}


def small_plate(version: str) -> Entry:
    """Preparation: a plate to warm up with."""
    return piece(
        "small plate",
        "reference",
        make_positions,
        version=version,
        wells=6,
        fields=1,
        edge=64,
        store="small.zarr",
    )


def large_file(settings: Settings) -> tuple[int, str]:
    """Bytes of one large file, such that two copies of all take half of the room at most, and a remark."""
    size = settings.pick(LARGE, 2**20)
    room = _room(settings.directory)
    wanted = size
    while 4 * LARGE_FILES * size > room and size > 2**20:
        size //= 2
    remark = "" if size == wanted else f" (there is no room for {wanted >> 20} MiB each)"
    return size, remark


def _room(directory: str | None) -> int:
    """Free bytes where the stores go, or in memory if that is less: what is copied should be cached."""
    free = shutil.disk_usage(directory or tempfile.gettempdir()).free
    if sys.platform == "linux":
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                free = min(free, int(line.split()[1]) * 1024)
    return free


# --- programs ---------------------------------------------------------------------------------------


def copy_platestore(source: Path, target: Path, small: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Copy with the library, after a small copy of the same kind that warms up."""
    import platestore

    platestore.copy(small, target.with_name("warm-up" + target.suffix), **options)
    wait_for_threads()
    found = measured(lambda: platestore.copy(source, target, **options))
    return {**found, "peak": peak()}  # before results are compared, which takes memory, too


def run_tool(*words: str) -> dict[str, Any]:
    """Run another program; its seconds and its peak memory."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(_LAUNCHER), *words], capture_output=True, text=True, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if done.returncode or not lines:
        raise RuntimeError(f"{words} failed (exit code {done.returncode}): {done.stderr.strip()}")
    result: dict[str, Any] = json.loads(lines[-1].removeprefix(MARK))
    return result


def tool(name: str) -> str | None:
    """Path of a program; None if it is not installed."""
    return shutil.which(name)


def platestore_command() -> str | None:
    """The installed command, if it is installed and has the subcommand."""
    for name in ("platestore", "platestore.exe"):
        path = Path(sysconfig.get_path("scripts"), name)
        if path.exists():
            done = subprocess.run([str(path), "copy", "--help"], capture_output=True, check=False)
            return str(path) if done.returncode == 0 else None
    return None


# --- comparison -------------------------------------------------------------------------------------


def tree_answer(root: Path) -> list[int]:
    """Number and bytes of the files in a tree."""
    sizes = [os.path.getsize(path) for path in files_of(root).values()]
    return [len(sizes), sum(sizes)]


def files_of(root: Path) -> dict[str, str]:
    """Paths of the files in a tree, by their names relative to it."""
    found = (os.path.join(at, name) for at, _, names in os.walk(root) for name in names)
    return {os.path.relpath(path, root).replace(os.sep, "/"): path for path in found}


def check_once(shared: Path, what: str, check: Any) -> None:
    """Do an expensive comparison in the first round only."""
    mark = shared / f"checked {what}"
    if not mark.exists():
        check()
        mark.touch()


def compare_trees(one: Path, other: Path) -> None:
    """Raise unless two trees hold the same files with the same bytes."""
    names, others = files_of(one), files_of(other)
    if names.keys() != others.keys():
        raise RuntimeError(f"only in one of {one} and {other}: {sorted(names.keys() ^ others.keys())[:5]}")
    for name, path in names.items():
        if not filecmp.cmp(path, others[name], shallow=False):
            raise RuntimeError(f"{name} differs between {one} and {other}")


def archive_answer(path: Path) -> list[int]:
    """Number and bytes of the entries that are files, all of them stored as they are."""
    with zipfile.ZipFile(path) as archive:
        found = [info for info in archive.infolist() if not info.is_dir()]
    if any(info.compress_type != zipfile.ZIP_STORED for info in found):
        raise RuntimeError(f"{path} has entries that are compressed")
    return [len(found), sum(info.file_size for info in found)]


def compare_archive(path: Path, root: Path) -> None:
    """Raise unless an archive holds the files of a tree."""
    names = files_of(root)
    with zipfile.ZipFile(path) as archive:
        found = {info.filename for info in archive.infolist() if not info.is_dir()}
        if found != names.keys():
            raise RuntimeError(f"only in one of {path} and {root}: {sorted(found ^ names.keys())[:5]}")
        for name, file in names.items():
            with archive.open(name) as entry, open(file, "rb") as source:
                while piece := source.read(_PIECE):
                    if entry.read(len(piece)) != piece:
                        raise RuntimeError(f"{name} differs between {path} and {root}")
                if entry.read(1):
                    raise RuntimeError(f"{name} is longer in {path}")


def size_text(nbytes: int) -> str:
    """A size in KiB or MiB."""
    return f"{nbytes >> 20:,} MiB" if nbytes >= 2**20 else f"{nbytes >> 10:,} KiB"


def shape_text(shape: Sequence[int]) -> str:
    """The last three of a shape's numbers."""
    return " × ".join(str(n) for n in shape[-3:])
