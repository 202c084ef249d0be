"""Forty targets that must survive, and every door that replaces what is there.

The doors are ``mode="w"`` and the ``overwrite=True`` of the other ways to write. Each target is refused with
everything in the world as it was, or it is a store, and exactly that store is replaced.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from fault_figures import record
from fault_os import Crash, OsFaults

import platestore as ps
from nodes.store_helpers import snapshot

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links, sockets and mounts of POSIX systems")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A small world: a home, a current directory, precious things, and a store."""
    for name in ("home/user", "work/here", "data"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "precious.txt").write_text(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home/user"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home/user"))
    monkeypatch.chdir(tmp_path / "work/here")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ps.StoreWarning)
        yield tmp_path


def plate(path: Path, version: str = "0.5") -> Path:
    with ps.open_ome_zarr(path, layout="hcs", mode="w-", channel_names=["old"], version=version) as node:
        node.create_positions([("A", "1", "0")], shape=(1, 1, 1, 4, 4), dtype="uint8")
    return path


def image(path: Path, version: str = "0.5") -> Path:
    with ps.open_ome_zarr(path, layout="fov", mode="w-", channel_names=["old"], version=version) as node:
        node["0"] = np.ones((1, 1, 1, 4, 4), "uint8")
    return path


def array(path: Path, zarr_format: int) -> Path:
    zarr.create_array(path, shape=(4,), chunks=(2,), dtype="u1", zarr_format=zarr_format)[...] = 1
    return path


def file(path: Path, text: str = "precious") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def link(path: Path, target: Path) -> Path:
    os.symlink(target, path)
    return path


def odd_file(path: Path) -> Path:
    os.mkfifo(path)
    return path


def sock(path: Path) -> Path:
    short = os.path.relpath(path)  # the names of sockets are short
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(short)
    return path


def _with(path: Path, extra: Callable[[Path], Any]) -> Path:
    extra(path)
    return path


#: Refused by every door, with nothing touched.
REFUSED: dict[str, Callable[[Path], Any]] = {
    "the home directory": lambda w: w / "home/user",
    "what holds the home directory": lambda w: w / "home",
    "the current directory": lambda w: w / "work/here",
    "the current directory, as a dot": lambda w: ".",
    "the current directory, by a detour": lambda w: "../here/./",
    "the parent, as two dots": lambda w: "..",
    "what holds the current directory": lambda w: w / "work",
    "everything": lambda w: w,
    "a store around the current directory": lambda w: _with(
        w / "work", lambda p: (p / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    ),
    "a directory of others": lambda w: w / "data",
    "a directory of others with a slash": lambda w: f"{w}/data/",
    "a directory named like a store": lambda w: file(w / "data/p.zarr/report.docx").parent,
    "a backup of others": lambda w: file(w / "data/my.zarr_backup/2024/report.docx").parent.parent,
    "a directory of stores": lambda w: plate(w / "data/runs.zarr/p.zarr").parent,
    "a hidden file deep down": lambda w: file(w / "data/p.zarr/a/b/c/.keep").parents[3],
    "an empty file deep down": lambda w: file(w / "data/p.zarr/a/b/c/x", "").parents[3],
    "a file": lambda w: file(w / "data/p.zarr"),
    "an empty file": lambda w: file(w / "data/p.zarr", ""),
    "a named pipe": lambda w: odd_file(w / "data/p.zarr"),
    "a socket": lambda w: sock(w / "data/p.zarr"),
    "a link to a store": lambda w: link(w / "data/p.zarr", plate(w / "data/real.zarr")),
    "a link to the home directory": lambda w: link(w / "data/p.zarr", w / "home/user"),
    "a link to nothing": lambda w: link(w / "data/p.zarr", w / "nothing"),
    "a link that goes in a circle": lambda w: link(w / "data/p.zarr", w / "data/p.zarr"),
    "a store with notes": lambda w: file(plate(w / "data/p.zarr") / "notes.txt").parent,
    "a store with a picture in a well": lambda w: file(plate(w / "data/p.zarr") / "A/1/x.png").parents[2],
    "a store with a table beside the chunks": lambda w: file(
        plate(w / "data/p.zarr") / "A/1/0/0/cells.csv"
    ).parents[4],
    "a store with a folder of others": lambda w: file(
        plate(w / "data/p.zarr") / "analysis/2024/x.h5"
    ).parents[2],
    "a store of 0.4 with notes": lambda w: file(plate(w / "data/p.zarr", "0.4") / "notes.txt").parent,
    "a store with a link": lambda w: _with(
        plate(w / "data/p.zarr"), lambda p: link(p / "A/2", w / "home/user")
    ),
    "an array with notes": lambda w: file(array(w / "data/p.zarr", 3) / "notes.txt").parent,
    "a store under version control": lambda w: file(plate(w / "data/p.zarr") / ".git/HEAD").parents[1],
}

#: A part of a store: refused by those doors that make stores.
PARTS: dict[str, Callable[[Path], Any]] = {
    "a row": lambda w: plate(w / "data/p.zarr") / "A",
    "a well": lambda w: plate(w / "data/p.zarr") / "A/1",
    "a position": lambda w: plate(w / "data/p.zarr", "0.4") / "A/1/0",
    "an array": lambda w: plate(w / "data/p.zarr") / "A/1/0/0",
    "a new well": lambda w: plate(w / "data/p.zarr") / "A/9",
}

#: Replaced, as a whole, and nothing else is.
REPLACED: dict[str, Callable[[Path], Any]] = {
    "a plate": lambda w: plate(w / "data/p.zarr"),
    "a plate of 0.4": lambda w: plate(w / "data/p.zarr", "0.4"),
    "an image": lambda w: image(w / "data/p.zarr"),
    "an image of 0.4": lambda w: image(w / "data/p.zarr", "0.4"),
    "an array": lambda w: array(w / "data/p.zarr", 3),
    "an array of zarr v2": lambda w: array(w / "data/p.zarr", 2),
    "an empty directory": lambda w: _with(w / "data/p.zarr", Path.mkdir),
    "nothing": lambda w: w / "data/p.zarr",
}


# --- doors ----------------------------------------------------------------------------------------


def _pixels(*shape: int) -> np.ndarray:
    return np.full(shape, 5, "uint8")


def door_open(target: Any) -> None:
    ps.open_ome_zarr(
        target, layout="hcs", mode="w", channel_names=["new"], version="0.5", disable_path_checking=True
    )


def door_fov(target: Any) -> None:
    ps.open_ome_zarr(
        target, layout="fov", mode="w", channel_names=["new"], version="0.4", disable_path_checking=True
    )


def door_multiscales(target: Any) -> None:
    from platestore.multiscales import to_multiscales, to_ngff_image, to_ngff_zarr

    made = to_multiscales(to_ngff_image(_pixels(8, 8), dims=["y", "x"]), scale_factors=[2])
    to_ngff_zarr(target, made, overwrite=True)


def door_xarray(target: Any) -> None:
    import xarray as xr

    from platestore.xarray import write_multiscale_group

    data = xr.DataArray(_pixels(8, 8), dims=("y", "x"), coords={"y": np.arange(8.0), "x": np.arange(8.0)})
    write_multiscale_group(store=os.fspath(target), path="", arrays={"0": data}, overwrite=True)


def door_stack(target: Any) -> None:
    from platestore.stacks import import_stack

    import_stack(_pixels(2, 8, 8), target, voxel_size=(1, 1, 1), overwrite=True, levels=1)


DOORS = {
    "open hcs": door_open,
    "open fov": door_fov,
    "to_ngff_zarr": door_multiscales,
    "write_multiscale_group": door_xarray,
    "import_stack": door_stack,
}
#: What the door that writes an image replaces only if it is one.
NO_IMAGES = ("a plate", "a plate of 0.4", "an array", "an array of zarr v2")
#: Doors that make a new store, never a part of one.
STORES = ("open hcs", "open fov")


def state(world: Path) -> dict[str, Any]:
    """Everything in the world; pipes and sockets by their kind."""
    found: dict[str, Any] = {}
    for directory, names, files in os.walk(world):
        for name in [*names, *files]:
            path = Path(directory, name)
            mode = path.lstat().st_mode
            content: Any = stat.S_IFMT(mode)
            if stat.S_ISLNK(mode):
                content = os.readlink(path)
            elif stat.S_ISREG(mode):
                content = path.read_bytes()
            found[str(path.relative_to(world))] = content
    return found


def test_there_are_forty_targets():
    assert len(REFUSED) + len(PARTS) + len(REPLACED) >= 40


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_and_nothing_is_touched(world, case, door):
    target = REFUSED[case](world)
    before = state(world)
    with pytest.raises((ps.PlatestoreError, ValueError)) as caught:
        DOORS[door](target)
    assert state(world) == before
    assert isinstance(caught.value, ps.PlatestoreError)
    assert caught.value.hint


@pytest.mark.parametrize("door", STORES)
@pytest.mark.parametrize("case", PARTS)
def test_a_part_of_a_store_is_no_store(world, case, door):
    target = PARTS[case](world)
    before = state(world)
    with pytest.raises(ps.UnsafeTargetError, match=r"inside|part of") as caught:
        DOORS[door](target)
    assert state(world) == before
    assert caught.value.hint


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("case", REPLACED)
def test_it_is_replaced_and_nothing_else_is(world, case, door):
    target = REPLACED[case](world)
    file(world / "data/p.zarr.txt")
    plate(world / "data/p.zarr2")
    DOORS[door](world / "data/fresh.zarr")
    before = state(world)
    if door == "write_multiscale_group" and case in NO_IMAGES:
        with pytest.raises(ps.UnsafeTargetError, match=r"not an image|no zarr group"):
            DOORS[door](target)
        assert state(world) == before
        return
    DOORS[door](target)
    after = state(world)
    assert [
        k for k in {**before, **after} if not _in(k, "data/p.zarr") and before.get(k) != after.get(k)
    ] == []
    assert set(snapshot(target)) == set(snapshot(world / "data/fresh.zarr"))
    ps.open_ome_zarr(target)


def _in(key: str, store: str) -> bool:
    return key == store or key.startswith(f"{store}/")


@pytest.mark.parametrize("door", DOORS)
def test_whenever_it_dies_the_old_or_the_new_store_is_whole(world, door):
    store = world / "data/p.zarr"
    (image if door == "write_multiscale_group" else plate)(store)
    old = snapshot(store)
    saved = world / "saved.zarr"
    shutil.copytree(store, saved)
    states = 0
    for at in range(500):
        when = ("before", "torn")[at % 2]
        faults = OsFaults(world / "data", at, when=when)
        with contextlib.suppress(Crash), faults, zarr.config.set({"async.concurrency": 1}):
            DOORS[door](store)
        states += 1
        if snapshot(store) != old:
            node = ps.open_ome_zarr(store)  # the new one is there, and can be read
            for _, level in node.images() if isinstance(node, ps.Position) else ():
                assert (level.numpy() == 5).all()
        shutil.rmtree(world / "data")
        (world / "data").mkdir()
        shutil.copytree(saved, store)
        if not faults.dead:
            break
    assert not faults.dead
    record("replacement_crashes", door=door, states=states, lost=0)


# --- what only a system can be asked --------------------------------------------------------------


def test_the_root_of_the_file_system_is_refused():
    for target in ("/", "//", "/..", "/tmp/.."):
        with pytest.raises(ps.UnsafeTargetError):
            door_open(target)


MOUNT = """
    import subprocess, sys
    import platestore as ps
    path = sys.argv[1]
    subprocess.run(["mount", "-t", "tmpfs", "none", path], check=True)
    for build in (False, True):
        if build:
            open(path + "/zarr.json", "w").write('{"zarr_format": 3, "node_type": "group"}')
        try:
            ps.open_ome_zarr(path, layout="hcs", mode="w", channel_names=["a"])
        except ps.UnsafeTargetError as error:
            print("refused" if "mount point" in str(error) else error)
"""


def test_a_mount_point_is_refused(tmp_path):
    place = tmp_path / "p.zarr"
    place.mkdir()
    command = ["unshare", "-rm", sys.executable, "-c", textwrap.dedent(MOUNT), str(place)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        pytest.skip("there is no unshare here")
    if "unshare" in done.stderr or "mount" in done.stderr.partition("Error")[0]:
        pytest.skip(f"this system does not let anyone mount: {done.stderr.strip()[-200:]}")
    assert done.stdout.split() == ["refused", "refused"], done.stderr
