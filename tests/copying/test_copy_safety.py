"""What ``platestore.copy`` refuses, before anything is written; and that nothing half done has a name."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import platestore as ps
from copying.copy_cases import (
    KINDS,
    NAMES,
    Process,
    chunk_files,
    edit_document,
    flip,
    make_source,
    make_sources,
    stop_copy,
)
from nodes.store_helpers import snapshot
from platestore.copying import api, transfer
from storage.archive_cases import Entry, build


def _rights_bind() -> bool:
    """Whether this user is refused what the rights of a file do not allow; the superuser is not."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o500)
        bound = not os.access(directory, os.W_OK)
        os.chmod(directory, 0o700)
        return bound


needs_rights = pytest.mark.skipif(not _rights_bind(), reason="rights do not bind this user")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sources that no test changes."""
    return make_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A source that a test may change, in a directory of its own."""
    (tmp_path / "from").mkdir()
    return make_source(tmp_path / "from" / "src.zarr")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The directory of the destination."""
    (tmp_path / "to").mkdir()
    return tmp_path / "to"


@contextlib.contextmanager
def refused(
    error: Any, *folders: Path, match: str | None = None, names: Any = None
) -> Iterator[pytest.ExceptionInfo[Any]]:
    """Expect an error that says what to do (and names something), and that nothing is written for it."""
    before = [snapshot(folder) for folder in folders]
    times = [folder.stat().st_mtime_ns for folder in folders]
    with pytest.raises(error, match=match) as caught:
        yield caught
    assert not isinstance(caught.value, ps.PlatestoreError) or caught.value.hint, "it does not say what to do"
    if names is not None:
        assert str(names) in str(caught.value)
    assert [snapshot(folder) for folder in folders] == before, "a refused copy left something"
    assert [folder.stat().st_mtime_ns for folder in folders] == times, "a refused copy wrote something"


# --- source and destination in each other ---------------------------------------------------------


def test_a_destination_inside_the_source(source):
    for inner in ("out.zarr", "A/out.zarr", "A/1/0/0/out.zarr", "C/1/0", "A/1/9", "x/y/z/out.zarr", "o.ozx"):
        with refused(ps.UnsafeTargetError, source.parent, names="lies inside the source"):
            ps.copy(source, source / inner)


def test_a_destination_inside_the_source_by_way_of_a_link(source, here):
    (here / "link").symlink_to(source / "A", target_is_directory=True)
    with refused(ps.UnsafeTargetError, source.parent, here, names="lies inside the source"):
        ps.copy(source, here / "link" / "out.zarr")
    (here / "src.zarr").symlink_to(source, target_is_directory=True)
    with refused(ps.UnsafeTargetError, source.parent, here, names="lies inside the source"):
        ps.copy(here / "src.zarr", source / "out.zarr")


@pytest.mark.parametrize("how", [{}, {"overwrite": True}])
def test_a_source_inside_the_destination(source, how):
    for node in ("A/1/0", "A/1", "B/2/0"):
        with refused(ps.UnsafeTargetError, source.parent, names="holds the source"):
            ps.copy(source / node, source, **how)
    with refused(ps.UnsafeTargetError, source.parent.parent, names="holds the source"):
        ps.copy(source, source.parent, **how)


@pytest.mark.parametrize("how", [{}, {"overwrite": True}])
def test_a_source_inside_the_destination_by_way_of_a_link(source, here, how):
    (here / "out.zarr").symlink_to(source, target_is_directory=True)
    with refused(ps.UnsafeTargetError, source.parent, here, names="holds the source"):
        ps.copy(source / "A/1/0", here / "out.zarr", **how)
    (here / "in").symlink_to(source / "A", target_is_directory=True)
    with refused(ps.UnsafeTargetError, source.parent, here, names="holds the source"):
        ps.copy(here / "in" / "1", source, **how)


@pytest.mark.parametrize("how", [{}, {"overwrite": True}, {"resume": True}])
def test_the_same_path(source, here, how, monkeypatch):
    (here / "link.zarr").symlink_to(source, target_is_directory=True)
    monkeypatch.chdir(source.parent)
    for other in (source, f"{source}/", source / "A" / "..", "src.zarr", here / "link.zarr"):
        with refused(ps.UnsafeTargetError, source.parent, here, names="are the same"):
            ps.copy(source, other, **how)
        with refused(ps.UnsafeTargetError, source.parent, here, names="are the same"):
            ps.copy(other, source, **how)


def test_an_archive_and_itself(sources, here):
    ps.copy(sources / "v5.zarr", here / "a.ozx")
    with refused(ps.UnsafeTargetError, here, names="are the same"):
        ps.copy(here / "a.ozx", here / "a.ozx", overwrite=True)
    with refused(ps.UnsafeTargetError, here, names="holds the source"):
        ps.copy(here / "a.ozx/A/1/0", here / "a.ozx", overwrite=True)
    with refused(ps.PlatestoreError, here, names="archive"):
        ps.copy(sources / "v5.zarr", here / "a.ozx/A/1/0")


def test_one_of_several_sources_is_the_destination(source, here):
    other = make_source(here / "other.zarr", names=("C/1/0",))
    with refused(ps.UnsafeTargetError, source.parent, here, names="are the same"):
        ps.copy([source, other], other, overwrite=True)


def test_a_position_is_copied_beside_itself_in_its_plate(source):
    """Neither holds the other: that is no danger."""
    ps.copy(source / "A/1/0", source / "A/1/5")
    plate = ps.open_ome_zarr(source)
    np.testing.assert_array_equal(plate["A/1/5/0"], plate["A/1/0/0"])
    with refused(ps.UnsafeTargetError, source.parent, names="lies inside the source"):
        ps.copy(source / "A/1", source / "A/1/6")


# --- what is there --------------------------------------------------------------------------------


def _foreign(path: Path) -> None:
    path.mkdir()
    (path / "thesis.tex").write_text("important")


def _file(path: Path) -> None:
    path.write_text("important")


def _store(path: Path) -> None:
    make_source(path.with_suffix(".zarr"), others=False).rename(path)


def _mixed(path: Path) -> None:
    _store(path)
    (path / "A" / "thesis.tex").write_text("important")


def _unreachable(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [_store, _file, _foreign, _mixed, _unreachable])
@pytest.mark.parametrize("name", ["out.zarr", "out", "out.ozx"])
def test_a_destination_that_exists(sources, here, make, name):
    make(here / name)
    for how in ({}, {"resume": True}, {"dry_run": True}):
        with refused(ps.NodeExistsError, here, names="the destination exists"):
            ps.copy(sources / "v5.zarr", here / name, **how)


@pytest.mark.parametrize("make", [_file, _foreign, _mixed, _unreachable])
@pytest.mark.parametrize("name", ["out.zarr", "out", "out.ozx"])
@pytest.mark.parametrize("how", [{}, {"dry_run": True}])
def test_what_is_no_store_is_not_replaced(sources, here, make, name, how):
    make(here / name)
    with refused(ps.UnsafeTargetError, here, names=name):
        ps.copy(sources / "v5.zarr", here / name, overwrite=True, **how)


def test_a_directory_is_not_replaced_by_an_archive_nor_an_archive_by_a_directory(sources, here):
    _store(here / "out.ozx")
    ps.copy(sources / "v5.zarr", here / "a.ozx")
    (here / "a.ozx").rename(here / "out.zarr")
    for name in ("out.ozx", "out.zarr"):
        with refused(ps.UnsafeTargetError, here, names=name):
            ps.copy(sources / "v5.zarr", here / name, overwrite=True)


def test_a_zip_that_is_no_store_is_not_replaced(sources, here):
    with zipfile.ZipFile(here / "out.ozx", "w") as archive:
        archive.writestr("thesis.tex", "important")
    with refused(ps.UnsafeTargetError, here, names="out.ozx"):
        ps.copy(sources / "v5.zarr", here / "out.ozx", overwrite=True)


def test_home_and_the_current_directory_are_not_replaced(sources, here, monkeypatch):
    place = make_source(here / "home", others=False)
    (place / "sub").mkdir()
    for what in (place, place / "sub"):
        monkeypatch.setenv("HOME", str(what))
        for target in (place, "~"):
            target = os.path.expanduser(target)
            with refused(ps.PlatestoreError, here):
                ps.copy(sources / "v5.zarr", target)
        with refused(ps.UnsafeTargetError, here, names="home directory"):
            ps.copy(sources / "v5.zarr", place, overwrite=True)
    monkeypatch.setenv("HOME", str(sources))
    for what in (place, place / "sub"):
        monkeypatch.chdir(what)
        with refused(ps.UnsafeTargetError, here, names="current directory"):
            ps.copy(sources / "v5.zarr", os.path.relpath(place), overwrite=True)
        with refused(ps.NodeExistsError, here):
            ps.copy(sources / "v5.zarr", os.path.relpath(place))


def test_an_empty_directory_is_no_obstacle(sources, here):
    (here / "out.zarr").mkdir()
    ps.copy(sources / "v5.zarr", here / "out.zarr")
    assert len(dict(ps.open_ome_zarr(here / "out.zarr").positions())) == len(NAMES)


def test_an_unfinished_copy(sources, here):
    for name in ("out.zarr", "out.ozx"):
        stop_copy(sources / "v5.zarr", here / name)
        for how in ({}, {"dry_run": True}):
            with refused(ps.NodeExistsError, here, names="unfinished"):
                ps.copy(sources / "v5.zarr", here / name, **how)
        with refused(ps.NodeExistsError, here, match="--resume.*--overwrite"):
            ps.copy(sources / "v5.zarr", here / name)
        assert not (here / name).exists()


def test_a_working_directory_with_files_of_somebody_else(sources, here):
    """A directory that happens to have that name is not emptied."""
    for name in ("thesis.tex", "A"):
        work = here / f"{name}.zarr.copying"
        work.mkdir()
        (work / name).write_text("important")
        (work / "journal.json").write_text("{}")
        for how in ({"overwrite": True}, {"resume": True}):
            with refused(ps.UnsafeTargetError, here, names=name):
                ps.copy(sources / "v5.zarr", here / f"{name}.zarr", **how)


def test_a_working_directory_with_hidden_files_of_somebody_else(sources, here):
    work = here / "out.zarr.copying"
    (work / ".git").mkdir(parents=True)
    (work / ".git" / "config").write_text("important")
    (work / ".notes").write_text("important")
    for how in ({}, {"overwrite": True}, {"resume": True}):
        with contextlib.suppress(ps.PlatestoreError):
            ps.copy(sources / "v5.zarr", here / "out.zarr", **how)
        assert (work / ".git" / "config").read_text() == "important"
        assert (work / ".notes").read_text() == "important"


_LOOP = """
import sys, platestore
try:
    platestore.copy(sys.argv[1], sys.argv[2], **eval(sys.argv[3]))
except platestore.PlatestoreError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("how", [{}, {"overwrite": True}, {"resume": True}])
@pytest.mark.parametrize("what", ["file", "link"])
def test_a_working_directory_that_is_none(sources, here, what, how):
    work = here / "out.zarr.copying"
    work.write_text("important") if what == "file" else work.symlink_to("nowhere")
    before = snapshot(here)
    command = [sys.executable, "-c", _LOOP, str(sources / "v5.zarr"), str(here / "out.zarr"), repr(how)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert found.returncode == 0, found.stderr[-500:]
    assert "out.zarr" in found.stdout
    assert snapshot(here) == before


# --- sources that cannot be read ------------------------------------------------------------------


def test_a_source_that_is_missing(sources, here):
    for name in ("nothing.zarr", "v5.zarr/Z/9", "v5.zarr/A/1/7", "nothing.ozx", "packed.ozx/Z/9"):
        with refused(ps.NodeNotFoundError, here, names=name.split("/")[0]):
            ps.copy(sources / name, here / "out.zarr")
    with refused(ps.NodeNotFoundError, here, names="nothing.zarr"):
        ps.copy([sources / "v5.zarr", sources / "nothing.zarr"], here / "out.zarr")


def test_no_source(here):
    with refused(ps.ArgumentError, here, match="src is empty"):
        ps.copy([], here / "out.zarr")


def test_a_source_that_is_no_store(sources, here, tmp_path):
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "file").write_text("text")
    for wrong in (tmp_path / "dir", tmp_path / "dir" / "file", sources / "v5.zarr" / "A/1/0/0"):
        with refused(ps.PlatestoreError, here, names=wrong):
            ps.copy(wrong, here / "out.zarr")


def test_documents_that_are_damaged(source, here):
    for node, damage in (("A/1", "{"), ("A/1/0", '{"zarr_format": 3'), ("A/1/0/0", "{}"), ("B/2/0/0", "x")):
        file = source / node / "zarr.json"
        content = file.read_text()
        file.write_text(damage)
        # As files everything is copied as it is, but for what must be understood to know what there is.
        with refused(ps.PlatestoreError, here, names=node):
            ps.copy(source, here / "out.zarr", version="0.4")
        file.write_text(content)
    ps.copy(source, here / "out.zarr", version="0.4")


@needs_rights
def test_a_source_without_rights(source, here):
    chunk = chunk_files(source)[0]
    for path in (source, source / "A", source / "A/1/zarr.json", chunk.parent):
        mode = path.stat().st_mode
        path.chmod(0)
        try:
            with refused((ps.PlatestoreError, PermissionError), here, names=path):
                ps.copy(source, here / "out.zarr")
        finally:
            path.chmod(mode)
    chunk.chmod(0)
    with pytest.raises(PermissionError) as caught:
        ps.copy(source, here / "out.zarr")
    assert str(chunk) in str(caught.value)
    assert not (here / "out.zarr").exists()
    chunk.chmod(0o644)
    ps.copy(source, here / "out.zarr", resume=True)
    assert snapshot(here / "out.zarr") == snapshot(source)


@needs_rights
def test_a_destination_without_rights(sources, here):
    here.chmod(0o555)
    try:
        for name in ("out.zarr", "new/out.zarr", "out.ozx"):
            with refused(ps.ReadOnlyError, here, names=here):
                ps.copy(sources / "v5.zarr", here / name)
    finally:
        here.chmod(0o755)


def test_a_destination_without_rights_as_the_system_says(sources, here, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: os.path.realpath(path) != os.path.realpath(here))
    for name in ("out.zarr", "new/deeper/out.zarr", "out.ozx"):
        with refused(ps.ReadOnlyError, here, names=here):
            ps.copy(sources / "v5.zarr", here / name)


def test_a_destination_below_a_file(sources, here):
    (here / "file").write_text("important")
    for name in ("file/out.zarr", "file/deeper/out.ozx"):
        with refused(ps.ArgumentError, here, names=here / "file"):
            ps.copy(sources / "v5.zarr", here / name)


def test_a_destination_inside_a_store_that_is_no_plate(sources, here):
    position = ps.open_ome_zarr(here / "fov.zarr", layout="fov", mode="w-", channel_names=["DAPI", "GFP"])
    position.create_zeros("0", (1, 2, 1, 4, 4), "uint16")
    with refused(ps.UnsafeTargetError, here, names="no plate"):
        ps.copy(sources / "v5.zarr/A/1/0", here / "fov.zarr/A/1/0")


@pytest.mark.parametrize("name", ["a", "D", "A/1/0/0", "A/1/0/deeper/still", "D/1/0/0", "D/1/0/0/0/0"])
def test_a_place_in_a_plate_that_no_position_has(sources, here, name):
    plate = make_source(here / "plate.zarr")
    with refused(ps.PlatestoreError, here):
        ps.copy(sources / "v5.zarr/A/1/0", plate / name)
    with refused(ps.PlatestoreError, here):
        ps.copy(sources / "v5.zarr", plate / name)


@pytest.mark.parametrize("wrong", ["", "\0", b"bytes", 3, None, "http://example.org/x.zarr", "s3://b/x.zarr"])
def test_a_destination_that_is_no_path(sources, wrong, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ps.PlatestoreError, TypeError)):
        ps.copy(sources / "v5.zarr", wrong)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [None, 3, b"bytes", [None], "", [""]])
def test_a_source_that_is_no_path(here, wrong):
    with refused(ps.PlatestoreError, here):
        ps.copy(wrong, here / "out.zarr")


@pytest.mark.parametrize("name", ["new/deeper/out.zarr", "new/deeper/out.ozx"])
def test_directories_above_the_destination_are_made_when_all_is_checked(sources, here, name):
    with refused(ps.ArgumentError, here, names="nothing matches"):
        ps.copy(sources / "v5.zarr", here / name, positions="Z/*")
    ps.copy(sources / "v5.zarr", here / name)
    assert [p.name for p in (here / "new/deeper").iterdir()] == [Path(name).name]


# --- space ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(KINDS.values()), ids=lambda kind: kind.name)
def test_not_enough_space(sources, here, kind, monkeypatch):
    monkeypatch.setattr(api, "free_bytes", lambda directory: 1000)
    monkeypatch.setattr(api, "can_share", lambda source, directory: False)
    with refused(ps.NoSpaceError, here, match="1000 B are free", names=here):
        kind.copy(sources, here)


@pytest.mark.parametrize("kind", [KINDS[name] for name in ("plain", "convert", "pack", "unpack")])
def test_the_estimate_of_files_is_what_they_take(sources, here, kind, monkeypatch):
    """Room for what is written is enough, and a little less is not."""
    needed = kind.copy(sources, here).nbytes
    for place in ("less", "enough"):
        (here / place).mkdir()
    monkeypatch.setattr(api, "can_share", lambda source, directory: False)
    monkeypatch.setattr(api, "free_bytes", lambda directory: int(0.9 * needed))
    with refused(ps.NoSpaceError, here / "less"):
        kind.copy(sources, here / "less")
    monkeypatch.setattr(api, "free_bytes", lambda directory: int(1.5 * needed))
    kind.copy(sources, here / "enough")


def test_what_an_unfinished_copy_holds_is_not_needed_again(sources, here, monkeypatch):
    needed = ps.copy(sources / "v5.zarr", here / "whole.zarr").nbytes
    stop_copy(sources / "v5.zarr", here / "out.zarr", part=0.9)
    monkeypatch.setattr(api, "can_share", lambda source, directory: False)
    monkeypatch.setattr(api, "free_bytes", lambda directory: needed // 2)
    ps.copy(sources / "v5.zarr", here / "out.zarr", resume=True)
    assert snapshot(here / "out.zarr") == snapshot(here / "whole.zarr")


def test_bytes_that_are_shared_take_no_space(sources, here, monkeypatch):
    monkeypatch.setattr(api, "free_bytes", lambda directory: 1000)
    monkeypatch.setattr(api, "can_share", lambda source, directory: True)
    ps.copy(sources / "v5.zarr", here / "out.zarr")
    with refused(ps.NoSpaceError, here):
        ps.copy(sources / "v5.zarr", here / "other.zarr", chunks=(1, 1, 1, 8, 8))


# --- options --------------------------------------------------------------------------------------

_WRONG: list[tuple[dict[str, Any], str]] = [
    ({"positions": "Z/*/0"}, "nothing matches"),
    ({"positions": ["A/*", "Z/9/9"]}, "Z/9/9"),
    ({"wells": "Z/*"}, "nothing matches"),
    ({"wells": ["A/1", "A/7"]}, "A/7"),
    ({"wells": "A/1", "positions": "B/*"}, "nothing"),
    ({"positions": ""}, "positions"),
    ({"positions": []}, "positions"),
    ({"acquisition": 7}, "acquisition 7"),
    ({"acquisition": -1}, "acquisition"),
    ({"acquisition": "first"}, "acquisition"),
    ({"channels": "Cy5"}, "Cy5"),
    ({"channels": ["DAPI", "Cy5"]}, "'DAPI', 'GFP'"),
    ({"channels": ["DAPI", "DAPI"]}, "more than once"),
    ({"channels": []}, "channel"),
    ({"time": "0:5"}, "t has 1"),
    ({"time": "1"}, "t has 1"),
    ({"time": "x"}, "time"),
    ({"time": "::0"}, "step"),
    ({"time": "::-1"}, "step"),
    ({"z": "2"}, "z has 2"),
    ({"z": "1:1"}, "nothing"),
    ({"z": -3}, "z has 2"),
    ({"z": 1.5}, "range"),
    ({"crop": "0:25,0:20"}, "y has 24"),
    ({"crop": "0:24,0:21"}, "x has 20"),
    ({"crop": "0:24"}, "crop"),
    ({"crop": "5:2,0:3"}, "nothing"),
    ({"crop": "0:24:2,0:20"}, "step"),
    ({"crop": {"q": (0, 1)}}, "crop"),
    ({"crop": "z=0:1,y=0:4,x=0:4", "z": "0"}, "both"),
    ({"levels": 1}, "levels"),
    ({"levels": "some"}, "levels"),
    ({"pyramid": 0}, "levels"),
    ({"pyramid": "many"}, "levels"),
    ({"pyramid": 2, "levels": 0}, "levels="),
    ({"pyramid": 2, "levels": "none"}, "levels="),
    ({"version": "0.3"}, "0.3"),
    ({"version": "0.6"}, "0.6"),
    ({"version": 0.5}, "0.5"),
    ({"chunks": (1, 1, 1)}, "chunks"),
    ({"chunks": (1, 1, 1, 0, 8)}, "chunks"),
    ({"chunks": (1, 1, 1, 8, -8)}, "chunks"),
    ({"chunks": "big"}, "chunks"),
    ({"shards": "huge"}, "shards"),
    ({"chunks": (1, 1, 1, 8, 8), "shards": (1, 1, 1, 12, 8)}, "shard"),
    ({"shards": "ZYX", "shards_ratio": (1, 1, 1, 2, 2)}, "shards"),
    ({"version": "0.4", "shards": "ZYX"}, "shard"),
    ({"version": "0.4", "checksum": True}, "checksum"),
    ({"compressor": "best"}, "best"),
    ({"compressor": "zstd:99"}, "zstd"),
    ({"map": {"Z/9": "A/1"}}, "Z/9"),
    ({"map": {"A/1": "A/1/0"}}, "map"),
    ({"map": {"A/1/0": "B/2/0"}}, "clash"),
    ({"map": {"A/1": "../x"}}, "name of a row"),
    ({"map": "nothing.csv"}, "nothing.csv"),
    ({"overwrite": True, "resume": True}, "one of them"),
    ({"max_memory": 0}, "max_memory"),
    ({"max_memory": "much"}, "much"),
    ({"max_memory": 1000, "chunks": (1, 1, 1, 8, 8)}, "max_memory"),
    ({"workers": 0}, "workers"),
    ({"workers": 1.5}, "workers"),
    ({"durability": "none"}, "durability"),
]


@pytest.mark.parametrize(("options", "says"), _WRONG, ids=[str(options) for options, _ in _WRONG])
def test_options_that_cannot_be_met(sources, here, options, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with refused(ps.PlatestoreError, here, names=says):
        ps.copy(sources / "v5.zarr", here / "out.zarr", **options)


def test_an_archive_holds_the_current_version_only(sources, here):
    with refused(ps.ArgumentError, here, match=r"0\.4.*RFC-9"):
        ps.copy(sources / "v5.zarr", here / "out.ozx", version="0.4")
    ps.copy(sources / "v4.zarr", here / "out.ozx")
    assert ps.open_ome_zarr(here / "out.ozx").version == "0.5"
    plate = make_source(here / "p.zarr", "0.5")
    with refused(ps.ArgumentError, here, match=r"cannot be 0\.4: the plate is 0\.5"):
        ps.copy(sources / "v4.zarr/A/1/0", plate / "D/1/0", version="0.4")


# --- archives of enemies --------------------------------------------------------------------------

_HOSTILE = {
    "out of it": [Entry("../evil")],
    "far out of it": [Entry("A/../../../evil")],
    "absolute": [Entry("/tmp/evil")],
    "drive": [Entry("C:/evil")],
    "backslash": [Entry("..\\evil")],
    "twice": [Entry("A/c"), Entry("A/c", b"other")],
    "root twice": [Entry("zarr.json", b"{}")],
    "case": [Entry("A/c"), Entry("a/c")],
    "file and directory": [Entry("A/c"), Entry("A/c/0")],
    "link": [Entry("A/c", b"/etc/passwd", mode=0o120777)],
    "overlap": [Entry("A/0", b"0" * 100), Entry("A/1", b"0" * 100, offset=70)],
    "bomb": [Entry("A/0", b"\0" * 10**7, method=8, size=2**31)],
    "empty segment": [Entry("A//0")],
    "NUL": [Entry("A/0\0.txt")],
}


@pytest.mark.parametrize("name", _HOSTILE)
def test_a_hostile_archive_is_not_unpacked(sources, here, tmp_path, name):
    with zipfile.ZipFile(sources / "packed.ozx") as archive:
        files = [Entry(info.filename, archive.read(info)) for info in archive.infolist()]
    bad = tmp_path / "bad.ozx"
    bad.write_bytes(build(*files, *_HOSTILE[name], root=False))
    outside = snapshot(tmp_path)
    for target in ("out.zarr", "out.ozx"):
        with pytest.raises(ps.PlatestoreError), _quiet():
            ps.copy(bad, here / target)
    assert snapshot(tmp_path) == outside


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9, 0.999])
def test_a_cut_off_archive_is_not_unpacked(sources, here, tmp_path, part):
    data = (sources / "packed.ozx").read_bytes()
    bad = tmp_path / "bad.ozx"
    bad.write_bytes(data[: int(part * len(data))])
    with refused(ps.PlatestoreError, here, names=bad):
        ps.copy(bad, here / "out.zarr")


@pytest.mark.parametrize(
    "options", [{}, {"version": "0.4"}, {"chunks": (1, 1, 1, 8, 8)}, {"crop": "1:,:"}], ids=str
)
@pytest.mark.parametrize("compressor", ["none", "blosc-lz4"])
def test_an_archive_with_a_garbled_chunk_is_not_unpacked(here, tmp_path, options, compressor):
    """Its checksum is at hand, where that of the chunk is not."""
    source = make_source(tmp_path / "s.zarr", compressor=compressor)
    ps.copy(source, tmp_path / "bad.ozx")
    data = bytearray((tmp_path / "bad.ozx").read_bytes())
    with zipfile.ZipFile(tmp_path / "bad.ozx") as archive:
        info = next(i for i in archive.infolist() if "/c/" in i.filename)
    data[info.header_offset + 30 + len(info.filename) + 60] ^= 0xFF
    (tmp_path / "bad.ozx").write_bytes(data)
    with pytest.raises(ps.DamagedChunkError) as caught:
        ps.copy(tmp_path / "bad.ozx", here / "out.zarr", **options)
    assert info.filename in str(caught.value)
    assert [p.name for p in here.iterdir()] == ["out.zarr.copying"]


# --- overwriting ----------------------------------------------------------------------------------

_OVERWRITES = ("plain", "rechunk", "crop", "convert", "pack", "unpack")


@pytest.mark.parametrize("name", _OVERWRITES)
def test_the_old_store_is_whole_until_the_copy_is(sources, here, name):
    kind = KINDS[name]
    old = make_source(here / "old.zarr", seed=5, others=False)
    target = here / kind.target
    ps.copy(old, target)
    before, seen = snapshot(target), []

    def look(done: int, total: int) -> None:
        seen.append(snapshot(target) == before)

    kind.copy(sources, here, overwrite=True, progress=look)
    assert seen
    assert all(seen), "the old store changed while the copy was made"
    after = snapshot(target)
    assert after != before
    (here / "fresh").mkdir()
    kind.copy(sources, here / "fresh")
    assert after == snapshot(here / "fresh" / kind.target)
    assert sorted(p.name for p in here.iterdir()) == sorted(["fresh", "old.zarr", kind.target])


@pytest.mark.parametrize("target", ["out.zarr", "out.ozx"])
@pytest.mark.parametrize("how", [{}, {"chunks": (1, 1, 1, 8, 8)}])
def test_the_old_store_stays_when_the_copy_fails(source, here, target, how):
    old = make_source(here / "old.zarr", seed=5, others=False)
    ps.copy(old, here / target)
    before = snapshot(here / target)
    chunk_files(source)[3].write_bytes(b"")
    with pytest.raises(ps.DamagedChunkError):
        ps.copy(source, here / target, overwrite=True, **how)
    assert snapshot(here / target) == before


@pytest.mark.parametrize("target", ["out.zarr", "out.ozx"])
def test_overwrite_where_nothing_is(sources, here, target):
    ps.copy(sources / "v5.zarr", here / target, overwrite=True)
    assert [p.name for p in here.iterdir()] == [target]


@pytest.mark.parametrize("target", ["out.zarr", "out.ozx"])
def test_overwrite_begins_an_unfinished_copy_anew(sources, here, target):
    stop_copy(sources / "v5.zarr", here / target)
    ps.copy(sources / "v4.zarr", here / target, overwrite=True, version="0.5")
    ps.copy(sources / "v4.zarr", here / f"fresh-{target}", version="0.5")
    assert snapshot(here / target) == snapshot(here / f"fresh-{target}")


@pytest.mark.parametrize("target", ["out.zarr", "out.ozx"])
@pytest.mark.parametrize("how", [{}, {"overwrite": True}])
@pytest.mark.parametrize("make", [_file, _foreign])
def test_what_comes_into_being_meanwhile_is_not_replaced(sources, here, target, how, make):
    def appear(done: int, total: int) -> None:
        if not (here / target).exists():
            make(here / target)

    with pytest.raises((ps.NodeExistsError, ps.UnsafeTargetError)) as caught:
        ps.copy(sources / "v5.zarr", here / target, progress=appear, **how)
    assert target in str(caught.value)
    text = here / target if make is _file else here / target / "thesis.tex"
    assert text.read_text() == "important"
    # Once it is moved away, the copy goes on.
    (here / target).rename(here / "moved")
    ps.copy(sources / "v5.zarr", here / target, resume=True)
    ps.copy(sources / "v5.zarr", here / f"fresh-{target}")
    assert snapshot(here / target) == snapshot(here / f"fresh-{target}")


@pytest.mark.parametrize("target", ["out.zarr", "out.ozx"])
@pytest.mark.parametrize("make", [_file, _foreign, _store])
def test_resume_does_not_replace_what_came_into_being_after_the_interruption(sources, here, target, make):
    stop_copy(sources / "v5.zarr", here / target)
    make(here / target)
    with refused((ps.NodeExistsError, ps.UnsafeTargetError), here, names=target):
        ps.copy(sources / "v5.zarr", here / target, resume=True)


@pytest.mark.parametrize("target", ["out.zarr", "out.ozx"])
def test_resume_of_an_overwriting_copy_replaces_stores_only(sources, here, target, monkeypatch):
    old = make_source(here / "old.zarr", seed=5, others=False)
    ps.copy(old, here / target)
    monkeypatch.setattr(api.Work, "finish", _interrupted)
    with pytest.raises(KeyboardInterrupt):
        ps.copy(sources / "v5.zarr", here / target, overwrite=True)
    monkeypatch.undo()
    (here / target).rename(here / "moved")
    _foreign(here / target)
    with refused(ps.UnsafeTargetError, here, names=target):
        ps.copy(sources / "v5.zarr", here / target, resume=True)
    (here / target / "thesis.tex").unlink()
    (here / target).rmdir()
    (here / "moved").rename(here / target)
    ps.copy(sources / "v5.zarr", here / target, resume=True)
    ps.copy(sources / "v5.zarr", here / f"fresh-{target}")
    assert snapshot(here / target) == snapshot(here / f"fresh-{target}")


def _interrupted(*args: Any) -> None:
    raise KeyboardInterrupt


# --- several at once ------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["out.zarr", "out.ozx"])
def test_a_second_process_is_refused_while_the_first_one_copies(sources, here, target):
    """The first one is held at its first progress; the others are processes of their own, and threads."""
    seen: list[str] = []

    def others(done: int, total: int) -> None:
        if seen:
            return
        before = snapshot(here)
        for how in ({}, {"resume": True}, {"overwrite": True}):
            seen.append(Process(sources / "v5.zarr", here / target, quiet=True, **how).outcome())
        thread = threading.Thread(target=again)
        thread.start()
        thread.join()
        assert snapshot(here) == before

    def again() -> None:
        try:
            ps.copy(sources / "v5.zarr", here / target, resume=True)
        except ps.PlatestoreError as error:
            seen.append(f"{type(error).__name__} {error}")

    ps.copy(sources / "v5.zarr", here / target, progress=others, workers=1)
    assert seen[0].startswith("NodeExistsError")
    for text in seen[1:]:
        assert text.startswith("LockTimeoutError"), text
        assert "another process is copying to this destination" in text
        assert str(here / target) in text
    assert len(seen) == 4
    ps.copy(sources / "v5.zarr", here / f"fresh-{target}")
    assert snapshot(here / target) == snapshot(here / f"fresh-{target}")


def test_many_processes_that_copy_to_one_destination(sources, here):
    """One of them makes it; none of them spoils it."""
    running = [Process(sources / "v5.zarr", here / "out.zarr", quiet=True) for _ in range(4)]
    found = [process.outcome() for process in running]
    assert "" in found
    assert all(not text or text.startswith(("NodeExistsError", "LockTimeoutError")) for text in found)
    assert [p.name for p in here.iterdir()] == ["out.zarr"]
    assert snapshot(here / "out.zarr") == snapshot(sources / "v5.zarr")


def test_processes_that_add_positions_to_one_plate(sources, here):
    """Each in a place of its own; one that two of them want is made by one."""
    plate = make_source(here / "plate.zarr", names=("A/1/0",), seed=8)
    places = ["A/1/1", "A/1/2", "C/1/0", "C/2/0", "C/2/0", "A/1/1"]
    running = [Process(sources / "v5.zarr/B/2/0", plate / place, quiet=True) for place in places]
    found = [process.outcome() for process in running]
    assert sum(not text for text in found) >= 4
    assert all(not text or text.startswith(("NodeExistsError", "LockTimeoutError")) for text in found), found
    added = dict(ps.open_ome_zarr(plate).positions())
    assert set(added) == {"A/1/0", *places}
    expected = ps.open_ome_zarr(sources / "v5.zarr/B/2/0")["0"].numpy()
    for place in places:
        np.testing.assert_array_equal(added[place]["0"].numpy(), expected)
    assert not [p for p in plate.rglob("*") if ".copying" in p.name or p.name.endswith(".tmp")]


def _grow(chunk: Path) -> None:
    chunk.write_bytes(chunk.read_bytes() + b"more")


def _shrink(chunk: Path) -> None:
    chunk.write_bytes(chunk.read_bytes()[:-5])


def _rewrite(chunk: Path) -> None:
    data = chunk.read_bytes()
    chunk.write_bytes(data)
    os.utime(chunk, ns=(1, 10**18))


@pytest.mark.parametrize("change", [_grow, _shrink, _rewrite])
def test_a_file_that_changes_while_it_is_copied(source, here, change, monkeypatch):
    chunk = chunk_files(source)[7]
    original = chunk.read_bytes()
    real: Callable[..., Any] = os.copy_file_range

    def meddle(one: int, other: int, count: int, *args: Any) -> int:
        if os.path.samestat(os.fstat(one), chunk.stat()):
            change(chunk)
        return real(one, other, count, *args)

    monkeypatch.setattr(os, "copy_file_range", meddle)
    with pytest.raises(ps.SourceChangedError) as caught:
        ps.copy(source, here / "out.zarr")
    assert str(chunk) in str(caught.value)
    assert not (here / "out.zarr").exists()
    monkeypatch.undo()
    chunk.write_bytes(original)
    ps.copy(source, here / "out.zarr", overwrite=True)
    assert snapshot(here / "out.zarr") == snapshot(source)


def _remove(chunk: Path) -> None:
    chunk.unlink()


def _same_size(chunk: Path) -> None:
    time.sleep(0.01)  # the clock of some file systems is that coarse
    flip(chunk)


_OPTIONS = [{}, {"version": "0.4"}, {"chunks": (1, 1, 1, 8, 8)}, {"crop": "1:20,1:20"}, {"verify": True}]


@pytest.mark.parametrize("options", _OPTIONS, ids=str)
@pytest.mark.parametrize("change", [_grow, _remove, _same_size])
@pytest.mark.parametrize("target", ["out.zarr", "out.ozx"])
def test_a_source_that_changes_between_planning_and_copying(
    source, here, change, options, target, monkeypatch
):
    """Or while it is copied: chunks of before and chunks of after are no copy of anything."""
    if target == "out.ozx" and options.get("version") == "0.4":
        options = {"channels": ["GFP"]}
    chunk = chunk_files(source / "B/2")[-1]
    real = api.Work.run

    def meddle(work: Any) -> None:
        change(chunk)
        real(work)

    monkeypatch.setattr(api.Work, "run", meddle)
    with pytest.raises(ps.PlatestoreError) as caught:
        ps.copy(source, here / target, **options)
    assert isinstance(caught.value, (ps.SourceChangedError, ps.DamagedChunkError))
    named = source if target == "out.ozx" and change is _same_size else source / "B/2/0"
    assert str(named) in str(caught.value)
    assert not (here / target).exists()


# --- damaged sources ------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["out.zarr", "out.ozx"])
@pytest.mark.parametrize(
    "options", [{}, {"chunks": (1, 1, 1, 8, 8)}, {"crop": "1:20,1:20"}, {"pyramid": 2}], ids=str
)
def test_an_empty_chunk_is_named_and_nothing_is_presented_as_done(source, here, target, options):
    chunk = chunk_files(source)[-1]
    content = chunk.read_bytes()
    chunk.write_bytes(b"")
    with pytest.raises(ps.DamagedChunkError) as caught:
        ps.copy(source, here / target, **options)
    assert str(chunk) in str(caught.value)
    assert [p.name for p in here.iterdir()] == [f"{target}.copying"]
    chunk.write_bytes(content)
    ps.copy(source, here / target, overwrite=True, **options)


@pytest.mark.parametrize("target", ["out.zarr", "out.ozx"])
@pytest.mark.parametrize("damage", ["garbled", "cut off"])
@pytest.mark.parametrize("sharded", [False, True])
def test_a_garbled_chunk_is_named_and_nothing_is_presented_as_done(here, tmp_path, target, damage, sharded):
    source = make_source(tmp_path / "s.zarr", shards_ratio=(1, 1, 1, 2, 2) if sharded else None)
    chunk = chunk_files(source)[-1]
    data = chunk.read_bytes()
    chunk.write_bytes(data[: len(data) // 2] if damage == "cut off" else b"\xa5" * len(data))
    with pytest.raises(ps.DamagedChunkError) as caught:
        ps.copy(source, here / target, chunks=(1, 1, 1, 4, 4))
    assert str(chunk) in str(caught.value)
    assert [p.name for p in here.iterdir()] == [f"{target}.copying"]


# --- verifying ------------------------------------------------------------------------------------

_VERIFIED = ("plain", "convert", "rechunk", "crop", "whole-chunks", "pack", "unpack", "unpack-rechunk")


@pytest.mark.parametrize("name", _VERIFIED)
def test_verify_finds_nothing_in_a_good_copy(sources, here, name):
    report = KINDS[name].copy(sources, here, verify=True)
    assert report.verified
    assert not KINDS[name].copy(sources, here, overwrite=True).verified if name == "pack" else True


@pytest.mark.parametrize("name", _VERIFIED)
@pytest.mark.parametrize("which", [0, 2])
def test_verify_finds_a_byte_that_differs(sources, here, name, which, monkeypatch):
    kind = KINDS[name]
    real = api.Work.verify
    damaged: list[str] = []

    def meddle(work: Any) -> None:
        place = here / f"{kind.target}.copying" / "data"
        if place.is_file():
            names = [key for key in work.target.keys("") if key.rpartition("/")[2] != "zarr.json"]
            entry = work.target._writer.entries[names[which]]
            data = bytearray(place.read_bytes())
            data[entry.start + entry.size // 2] ^= 0xFF
            with place.open("r+b") as file:
                file.write(data)
            damaged.append(names[which].partition("/c/")[0])
        else:
            chunk = chunk_files(place / "A/1/0/0")[which % len(chunk_files(place / "A/1/0/0"))]
            flip(chunk, chunk.stat().st_size // 2)
            damaged.append("A/1/0/0")
        real(work)

    monkeypatch.setattr(api.Work, "verify", meddle)
    with pytest.raises((ps.VerifyError, ps.DamagedChunkError)) as caught:
        kind.copy(sources, here, verify=True)
    assert damaged[0] in str(caught.value)
    assert not (here / kind.target).exists()
    monkeypatch.undo()
    kind.copy(sources, here, overwrite=True, verify=True)


@pytest.mark.parametrize("name", ["plain", "convert", "rechunk"])
def test_verify_finds_a_chunk_that_is_not_there(sources, here, name, monkeypatch):
    real = api.Work.verify

    def meddle(work: Any) -> None:
        chunk_files(here / "out.zarr.copying" / "data" / "A")[0].unlink()
        real(work)

    monkeypatch.setattr(api.Work, "verify", meddle)
    with pytest.raises(ps.VerifyError):
        KINDS[name].copy(sources, here, verify=True)
    assert not (here / "out.zarr").exists()


@pytest.mark.parametrize("target", ["out.zarr", "out.ozx"])
def test_a_copy_that_failed_its_check_is_not_continued(sources, here, target, monkeypatch):
    """It must not be taken for a good one afterwards."""
    real = transfer.Transfer.verify

    def meddle(work: Any, trees: Any) -> None:
        data = here / f"{target}.copying" / "data"
        flip(chunk_files(data)[0]) if data.is_dir() else flip(data, -1)
        real(work, trees)

    monkeypatch.setattr(transfer.Transfer, "verify", meddle)
    with pytest.raises((ps.VerifyError, ps.DamagedChunkError), match="overwrite=True"):
        ps.copy(sources / "v5.zarr", here / target, verify=True)
    monkeypatch.undo()
    for how in ({}, {"verify": True}):
        with refused(ps.VerifyError, here, match="failed its check.*overwrite=True"):
            ps.copy(sources / "v5.zarr", here / target, resume=True, **how)
    ps.copy(sources / "v5.zarr", here / target, overwrite=True, verify=True)
    ps.copy(sources / "v5.zarr", here / f"whole-{target}")
    assert snapshot(here / target) == snapshot(here / f"whole-{target}")


# --- links ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"channels": ["DAPI", "GFP"]}, {"version": "0.4"}], ids=str)
def test_links_that_lead_in_circles_are_left_out(source, here, options):
    ps.copy(source, here / "whole.zarr", **options)
    (source / "A" / "up").symlink_to("..", target_is_directory=True)
    (source / "A" / "1" / "0" / "same").symlink_to(".", target_is_directory=True)
    with _quiet():
        report = ps.copy(source, here / "out.zarr", **options)
    assert snapshot(here / "out.zarr") == snapshot(here / "whole.zarr")
    for link in ("A/up", "A/1/0/same"):
        assert any(f"{source}/{link}: " in note for note in report.notes)


@pytest.mark.parametrize("options", [{}, {"channels": ["DAPI", "GFP"]}], ids=str)
@pytest.mark.parametrize("name", ["out.zarr", "out.ozx"])
def test_a_dangling_link_among_the_files_of_a_source_is_left_out(source, here, name, options):
    ps.copy(source, here / f"whole-{name}", **options)
    (source / "A" / "1" / "0" / "notes").symlink_to("nowhere")
    with _quiet():
        ps.copy(source, here / name, **options)
    assert snapshot(here / name) == snapshot(here / f"whole-{name}")


@pytest.mark.parametrize("options", [{}, {"chunks": (1, 1, 1, 8, 8)}], ids=str)
def test_a_dangling_link_in_place_of_a_chunk_is_an_error(source, here, options):
    """Its pixels are somewhere else, and cannot be reached: that is no chunk that was never written."""
    chunk = chunk_files(source)[0]
    chunk.unlink()
    chunk.symlink_to("nowhere")
    with pytest.raises((ps.PlatestoreError, FileNotFoundError)) as caught, _quiet():
        ps.copy(source, here / "out.zarr", **options)
    assert str(chunk) in str(caught.value)
    assert not (here / "out.zarr").exists()


def test_the_document_of_a_group_is_not_copied_through_a_link(source, here):
    """A copy shares no file with its source: changing one leaves the other."""
    ps.copy(source, here / "out.zarr")
    before = snapshot(source)
    for file in (here / "out.zarr").rglob("*"):
        assert not file.is_symlink()
        assert not file.is_file() or file.stat().st_nlink == 1
    edit_document(here / "out.zarr", lambda attributes: attributes.update(changed=1))
    ps.open_ome_zarr(here / "out.zarr", mode="r+")["A/1/0/0"][...] = 1
    assert snapshot(source) == before


def test_copies_that_fail_are_told_apart_by_their_classes():
    """What scripts catch."""
    for error, builtin in (
        (ps.NodeExistsError, FileExistsError),
        (ps.NodeNotFoundError, FileNotFoundError),
        (ps.ArgumentError, ValueError),
        (ps.UnsafeTargetError, ValueError),
        (ps.DamagedChunkError, OSError),
        (ps.VerifyError, OSError),
        (ps.NoSpaceError, OSError),
        (ps.SourceChangedError, RuntimeError),
    ):
        assert issubclass(error, builtin)
        assert issubclass(error, ps.PlatestoreError)
    assert json.dumps(str(ps.NoSpaceError("x", path="y")))


@pytest.mark.parametrize("inner", ["", "/C/2/0"])
def test_a_copy_that_another_process_finished_meanwhile_leaves_nothing(sources, here, monkeypatch, inner):
    """The second one looked at the place before the first was done, and gets the lock after that."""
    if inner:
        make_source(here / "out.zarr", names=("A/1/0",), seed=8)
    target = f"{here}/out.zarr{inner}"
    source = sources / "v5.zarr/B/2/0"
    opened = api.LockedPlace.opened

    def late(self, **options):
        monkeypatch.setattr(api.LockedPlace, "opened", opened)
        ps.copy(source, target)  # the first one
        return opened(self, **options)

    monkeypatch.setattr(api.LockedPlace, "opened", late)
    with pytest.raises(ps.NodeExistsError, match="exists"):
        ps.copy(source, target)
    assert not [p for p in here.rglob("*") if ".copying" in p.name]
    pixels = ps.open_ome_zarr(target)["0"].numpy()
    np.testing.assert_array_equal(pixels, ps.open_ome_zarr(source)["0"].numpy())
