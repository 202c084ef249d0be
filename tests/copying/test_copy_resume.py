"""Copies that are killed and continued: the result is that of an uninterrupted run, whatever happened."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import platestore as ps
from copying.copy_cases import (
    KINDS,
    Process,
    chunk_files,
    edit_document,
    flip,
    make_source,
    make_sources,
    stop_copy,
)
from nodes.store_helpers import snapshot
from platestore.copying import api
from platestore.publish.workplace import WorkPlace

needs_kill = pytest.mark.skipif(os.name == "nt", reason="a killed process is simulated elsewhere on Windows")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sources that no test changes."""
    return make_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A source that a test may change."""
    return make_source(tmp_path / "src.zarr")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The directory of the destination."""
    (tmp_path / "to").mkdir()
    return tmp_path / "to"


# --- killed at random moments ---------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """A copy that takes long enough to be killed."""

    source: str
    target: str = "out.zarr"
    options: dict[str, Any] = field(default_factory=dict)


JOBS = {
    "plain": Job("big.zarr"),
    "convert": Job("big-v4.zarr", options={"version": "0.5"}),
    "rechunk": Job("big.zarr", options={"chunks": (1, 1, 2, 32, 32), "shards": (1, 1, 4, 128, 128)}),
    "crop": Job("big-levels.zarr", options={"crop": "3:-3,5:-7"}),
    "pack": Job("big.zarr", "out.ozx"),
    "unpack": Job("big.ozx"),
}
MORE = {
    "rechunk to files": Job("big-v4.zarr", options={"chunks": (1, 1, 2, 64, 64), "compressor": "zstd:1"}),
    "crop and pack": Job("big-levels.zarr", "out.ozx", {"crop": "3:-3,5:-7"}),
    "unpack and rechunk": Job("big.ozx", options={"chunks": (1, 1, 2, 32, 32), "shards": "ZYX"}),
    "pyramid": Job("big-v4.zarr", options={"pyramid": 3}),
}
_BIG = {"names": [f"{row}/{column}/0" for row in "ABCD" for column in range(4)], "shape": (1, 2, 4, 128, 128)}


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Sources whose copies take some tenths of a second."""
    directory = tmp_path_factory.mktemp("big")
    make_source(directory / "big.zarr", "0.5", chunks=(1, 1, 4, 32, 32), **_BIG)
    make_source(directory / "big-v4.zarr", "0.4", chunks=(1, 1, 4, 32, 32), **_BIG)
    make_source(directory / "big-levels.zarr", "0.5", chunks=(1, 1, 4, 64, 64), levels=3, **_BIG)
    ps.copy(directory / "big.zarr", directory / "big.ozx")
    yield directory
    shutil.rmtree(directory)


def _kill_often(job: Job, big: Path, here: Path, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    undisturbed = here / "undisturbed"
    undisturbed.mkdir()
    took = Process(big / job.source, undisturbed / job.target, **job.options).finish()
    expected = snapshot(undisturbed)
    interrupted, directory = 0, here
    for number in range(kills):
        target = directory / job.target
        if directory == here:  # else it is one that was killed before
            directory = here / str(number)
            directory.mkdir()
            target = directory / job.target
        workers = rng.choice((1, 2, 5))
        process = Process(big / job.source, target, resume=True, workers=workers, **job.options)
        # At any moment; mostly at one after the beginning, which takes as long for so little.
        begun = target.with_name(f"{job.target}.copying") / "journal.json"
        if rng.random() < 0.2:
            process.kill(rng.uniform(0, took))
        else:
            process.kill(rng.uniform(0, 0.3 * took), begun)
        assert set(os.listdir(directory)) <= {job.target, f"{job.target}.copying"}
        if target.exists():
            assert snapshot(target) == _inner(expected, job.target), f"kill {number}: half done"
        unfinished = (directory / f"{job.target}.copying").exists()
        interrupted += unfinished
        if unfinished and rng.random() < 0.3:
            continue
        if unfinished or not target.exists():
            options = {**job.options, "max_memory": rng.choice(("64MiB", "1GiB"))}
            ps.copy(big / job.source, target, resume=True, **options)
        assert snapshot(directory) == expected, f"kill {number}: differs from an uninterrupted run"
        shutil.rmtree(directory)
        directory = here
    assert interrupted, "no process was killed while it copied"


def _inner(state: dict[str, Any], name: str) -> dict[str, Any]:
    return {".": state[name], **{k[len(name) + 1 :]: v for k, v in state.items() if k.startswith(name + "/")}}


@needs_kill
@pytest.mark.parametrize("name", JOBS)
def test_kills_at_eighteen_moments_and_resume_give_the_same_bytes(name, big, here):
    _kill_often(JOBS[name], big, here, kills=3, seed=1)


@pytest.mark.slow
@needs_kill
@pytest.mark.parametrize("seed", range(2, 6))
@pytest.mark.parametrize("name", [*JOBS, *MORE])
def test_kills_at_two_hundred_moments_and_resume_give_the_same_bytes(name, seed, big, here):
    _kill_often({**JOBS, **MORE}[name], big, here, kills=5, seed=seed)


#: Events on the way to the name: the last document of the root, the name itself, and what is tidied up.
_LAST = {
    "before the name": ("os.rename", "out.zarr"),
    "after the name": ("os.remove", "journal.json"),
    "after the journal went": ("os.rmdir", "out.zarr.copying"),
}


@needs_kill
@pytest.mark.parametrize("how", [{}, {"overwrite": True}], ids=["new", "overwrite"])
@pytest.mark.parametrize("moment", _LAST)
@pytest.mark.parametrize("name", ["plain", "crop"])
def test_killed_while_the_copy_gets_its_name(sources, here, name, moment, how):
    kind, event = KINDS[name], _LAST[moment]
    old = None
    if how and moment == "before the name" and sys.platform == "linux":
        event = ("ctypes.dlsym", "renameat2")  # two stores are exchanged in one step
    if how:
        old = snapshot(make_source(here / "out.zarr", seed=9, others=False))
    process = Process(sources / kind.source, here / "out.zarr", event, **kind.options, **how)
    assert process.join() == -9
    (here / "whole").mkdir()
    kind.copy(sources, here / "whole")
    expected = snapshot(here / "whole" / "out.zarr")
    assert snapshot(here / "out.zarr") in ({} if old is None else old, expected)
    if (here / "out.zarr.copying" / "journal.json").exists():
        assert kind.copy(sources, here, resume=True).resumed
    assert snapshot(here / "out.zarr") == expected
    if moment != "after the journal went":
        assert sorted(p.name for p in here.iterdir()) == ["out.zarr", "whole"]
    # Whatever was left is in nobody's way.
    shutil.rmtree(here / "out.zarr")
    kind.copy(sources, here)
    assert snapshot(here / "out.zarr") == expected
    assert sorted(p.name for p in here.iterdir()) == ["out.zarr", "whole"]


@needs_kill
@pytest.mark.parametrize(
    "moment", [("os.rename", "out.ozx"), ("os.link", "out.ozx"), ("os.rmdir", ".copying")]
)
def test_killed_while_an_archive_gets_its_name(sources, here, moment):
    process = Process(sources / "v5.zarr", here / "out.ozx", moment)
    code = process.join()
    (here / "whole").mkdir()
    ps.copy(sources / "v5.zarr", here / "whole" / "out.ozx")
    if code != -9:
        assert code == 0
        assert moment[0] in ("os.rename", "os.link")  # one of the two gives it its name
    elif (here / "out.ozx.copying" / "journal.json").exists():
        ps.copy(sources / "v5.zarr", here / "out.ozx", resume=True)
    assert snapshot(here / "out.ozx") == snapshot(here / "whole" / "out.ozx")


def _named_but_not_tidied(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> None:
    """A copy that was killed when it had its name, and its working directory was still there."""
    with monkeypatch.context() as patch:
        patch.setattr(WorkPlace, "remove", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            ps.copy(source, target, **options)
    assert target.exists()


def _interrupted(*args: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["out.zarr", "out.ozx"])
def test_a_copy_that_has_its_name_is_finished_by_the_same_call_only(source, here, name, monkeypatch):
    other = make_source(here / "other.zarr", seed=1)
    _named_but_not_tidied(source, here / name, monkeypatch, channels=["GFP"])
    before = snapshot(here)
    with pytest.raises(ps.NodeExistsError):
        ps.copy(source, here / name, channels=["GFP"])
    with pytest.raises(ps.ArgumentError, match="begun with other options"):
        ps.copy(source, here / name, resume=True, channels=["DAPI"])
    with pytest.raises(ps.ArgumentError, match="begun with other options"):
        ps.copy(other, here / name, resume=True, channels=["GFP"])
    assert snapshot(here) == before
    report = ps.copy(source, here / name, resume=True, channels=["GFP"])
    assert report.resumed
    assert sorted(p.name for p in here.iterdir()) == sorted([name, "other.zarr"])


@pytest.mark.parametrize("name", ["out.zarr", "out.ozx"])
def test_a_dry_run_of_finishing_writes_nothing(source, here, name, monkeypatch):
    _named_but_not_tidied(source, here / name, monkeypatch)
    before = snapshot(here)
    ps.copy(source, here / name, resume=True, dry_run=True)
    assert snapshot(here) == before


def test_finishing_tells_what_was_copied(source, here, monkeypatch):
    _named_but_not_tidied(source, here / "out.zarr", monkeypatch)
    assert ps.copy(source, here / "out.zarr", resume=True).positions == 3


def test_finishing_and_verifying(source, here, monkeypatch):
    """What is asked for is done, or it is said that it is not."""
    _named_but_not_tidied(source, here / "out.zarr", monkeypatch)
    flip(chunk_files(here / "out.zarr")[0])
    with pytest.raises(ps.PlatestoreError):
        ps.copy(source, here / "out.zarr", resume=True, verify=True)


# --- resuming -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(KINDS.values()), ids=lambda kind: kind.name)
@pytest.mark.parametrize("part", [0.3, 0.95])
def test_every_kind_is_continued(sources, here, kind, part):
    (here / "whole").mkdir()
    kind.copy(sources, here / "whole")
    work = stop_copy(sources / kind.source, here / kind.target, part=part, **kind.options)
    kept = {p: p.stat().st_ino for p in chunk_files(work / "data") if not p.name.endswith(".tmp")}
    report = kind.copy(sources, here, resume=True)
    assert report.resumed
    assert not work.exists()
    assert snapshot(here / kind.target) == snapshot(here / "whole" / kind.target)
    if part > 0.9 and kind.target == "out.zarr":
        # The chunks that were there are those that are there now.
        places = {here / "out.zarr" / p.relative_to(work / "data"): inode for p, inode in kept.items()}
        same = [p for p, inode in places.items() if p.stat().st_ino == inode]
        assert len(same) >= 0.8 * len(kept) > 0


@pytest.mark.parametrize("target", ["out.zarr", "out.ozx"])
def test_resume_where_nothing_is_begins(sources, here, target):
    report = ps.copy(sources / "v5.zarr", here / target, resume=True)
    assert not report.resumed
    assert [p.name for p in here.iterdir()] == [target]


@pytest.mark.parametrize("target", ["out.zarr", "out.ozx"])
def test_resume_after_success_changes_nothing(sources, here, target):
    ps.copy(sources / "v5.zarr", here / target)
    before = snapshot(here)
    with pytest.raises(ps.NodeExistsError, match="the destination exists"):
        ps.copy(sources / "v5.zarr", here / target, resume=True)
    assert snapshot(here) == before


@pytest.mark.parametrize("target", ["out.zarr", "out.ozx"])
@pytest.mark.parametrize("name", ["v5.zarr", "v4.zarr"])
def test_a_resumed_copy_counts_all_its_files(sources, here, name, target):
    whole = ps.copy(sources / name, here / f"whole-{target}")
    stop_copy(sources / name, here / target)
    report = ps.copy(sources / name, here / target, resume=True)
    assert (report.files, report.nbytes) == (whole.files, whole.nbytes)
    assert report.positions == whole.positions


def test_threads_memory_durability_and_verify_may_be_others(sources, here):
    options = {"chunks": (1, 1, 1, 8, 8), "shards": "ZYX"}
    ps.copy(sources / "v5.zarr", here / "whole.zarr", **options)
    stop_copy(sources / "v5.zarr", here / "out.zarr", **options)
    how = {"workers": 4, "max_memory": "32MiB", "durability": "full", "verify": True, "progress": print}
    ps.copy(sources / "v5.zarr", here / "out.zarr", resume=True, **options, **how)
    assert snapshot(here / "out.zarr") == snapshot(here / "whole.zarr")


@pytest.mark.parametrize("durability", ["process", "metadata", "full"])
def test_a_power_loss_may_leave_anything_in_an_archive(sources, here, durability):
    """Where things are flushed, what was kept is checked; bytes that never reached the disk are zero."""
    ps.copy(sources / "v5.zarr", here / "whole.ozx")
    work = stop_copy(sources / "v5.zarr", here / "out.ozx", part=0.95, durability=durability)
    if durability == "process":
        return
    data = bytearray((work / "data").read_bytes())
    half = len(data) // 2
    data[half : half + 200] = bytes(200)
    (work / "data").write_bytes(data)
    ps.copy(sources / "v5.zarr", here / "out.ozx", resume=True, durability=durability)
    assert (here / "out.ozx").read_bytes() == (here / "whole.ozx").read_bytes()


# --- other options --------------------------------------------------------------------------------

_BEGUN = {"channels": ["GFP"], "crop": "8:,0:8"}
_OTHER: list[tuple[dict[str, Any], str]] = [
    ({"channels": ["DAPI"], "crop": "8:,0:8"}, "GFP"),
    ({"channels": ["GFP"], "crop": "8:16,0:8"}, "crop"),
    ({"channels": ["GFP"]}, "crop"),
    ({**_BEGUN, "version": "0.4"}, "version"),
    ({**_BEGUN, "chunks": (1, 1, 1, 8, 8)}, "chunks"),
    ({**_BEGUN, "compressor": "zstd:3"}, "compressor"),
    ({**_BEGUN, "positions": "A/*"}, "positions"),
    ({**_BEGUN, "wells": "A/1"}, "wells"),
    ({**_BEGUN, "z": 0}, "z"),
    ({**_BEGUN, "pyramid": 2}, "pyramid"),
    ({**_BEGUN, "map": {"A/1": "C/3"}}, "map"),
    ({**_BEGUN, "only_ome": True}, "only_ome"),
    ({}, "channels"),
]


@pytest.mark.parametrize(("options", "says"), _OTHER, ids=[str(o) for o, _ in _OTHER])
def test_other_options_are_refused_and_named(source, here, options, says):
    stop_copy(source, here / "out.zarr", **_BEGUN)
    before = snapshot(here)
    with pytest.raises(ps.ArgumentError, match="begun with other options") as caught:
        ps.copy(source, here / "out.zarr", resume=True, **options)
    assert says in str(caught.value)
    assert "--overwrite" in str(caught.value)
    assert snapshot(here) == before
    ps.copy(source, here / "out.zarr", resume=True, **_BEGUN)
    ps.copy(source, here / "whole.zarr", **_BEGUN)
    assert snapshot(here / "out.zarr") == snapshot(here / "whole.zarr")


def test_another_source_is_refused_and_named(source, here):
    other = make_source(here / "other.zarr")
    stop_copy(source, here / "out.zarr")
    with pytest.raises(ps.ArgumentError, match=r"sources.*other\.zarr"):
        ps.copy(other, here / "out.zarr", resume=True)
    more = make_source(here / "more.zarr", names=("D/1/0",))
    with pytest.raises(ps.ArgumentError, match=r"sources.*more\.zarr"):
        ps.copy([source, more], here / "out.zarr", resume=True)


def test_the_same_options_in_other_words(source, here):
    """What means the same is the same."""
    stop_copy(source, here / "out.zarr", positions=["A/*"], crop="8:,0:8", chunks=[1, 1, 1, 8, 8])
    crop = {"y": (8, None), "x": slice(0, 8)}
    report = ps.copy(
        source, here / "out.zarr", resume=True, positions="A/*", crop=crop, chunks=np.array([1, 1, 1, 8, 8])
    )
    assert report.resumed


def test_a_relative_path_names_the_same_source(source, here, monkeypatch):
    stop_copy(source, here / "out.zarr", channels="GFP")
    monkeypatch.chdir(source.parent)
    assert ps.copy("src.zarr", "to/out.zarr", resume=True, channels="GFP").resumed


# --- a source that changed ------------------------------------------------------------------------


def _edit_root(source: Path) -> Path:
    return edit_document(source, lambda attributes: attributes.update(new=1)).parent


def _edit_well(source: Path) -> Path:
    return edit_document(source / "B/2", lambda attributes: attributes.update(new=1)).parent


def _edit_position(source: Path) -> Path:
    return edit_document(source / "B/2/0", lambda attributes: attributes.update(lab={})).parent


def _edit_array(source: Path) -> Path:
    file = source / "B/2/0/0/zarr.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "fill_value": 7}))
    return file.parent


def _change_chunk(source: Path) -> Path:
    chunk = chunk_files(source / "B/2")[0]
    flip(chunk)
    return source / "B/2/0/0"


def _replace_chunk(source: Path) -> Path:
    """By another one, as a restored backup would: with an old time, and of another size."""
    chunk, *others = chunk_files(source / "B/2")
    other = next(c for c in others if c.stat().st_size != chunk.stat().st_size)
    chunk.write_bytes(other.read_bytes())
    os.utime(chunk, ns=(10**18, 10**18))
    return source / "B/2/0/0"


def _remove_chunk(source: Path) -> Path:
    chunk_files(source / "B/2")[0].unlink()
    return source / "B/2/0/0"


def _add_chunk(source: Path) -> Path:
    missing = source / "B/2/0/0/c/0/0/0/0/0"
    assert not missing.exists()
    shutil.copy(missing.with_name("1"), missing)
    os.utime(missing, ns=(10**18, 10**18))
    return source / "B/2/0/0"


def _add_position(source: Path) -> Path:
    plate = ps.open_ome_zarr(source, mode="r+")
    plate.create_position("C", "3", "0").create_zeros("0", (1, 2, 2, 24, 20), "uint16")
    return source


_CHANGES = [
    _edit_root,
    _edit_well,
    _edit_position,
    _edit_array,
    _change_chunk,
    _replace_chunk,
    _remove_chunk,
    _add_chunk,
    _add_position,
]
_HOW: dict[str, dict[str, Any]] = {
    "plain": {},
    "convert": {"version": "0.4"},
    "rechunk": {"chunks": (1, 1, 1, 8, 8), "shards": "ZYX"},
    "whole-chunks": {"crop": "0:8,0:16"},
    "crop": {"crop": "1:20,1:20", "positions": ["A/*", "B/*"]},
    "pack": {},
}


@pytest.mark.parametrize("change", _CHANGES)
@pytest.mark.parametrize("how", _HOW)
def test_a_source_that_changed_is_noticed_and_named(source, here, change, how):
    target = here / ("out.ozx" if how == "pack" else "out.zarr")
    stop_copy(source, target, **_HOW[how])
    time.sleep(0.01)  # the clock of some file systems is that coarse
    changed = change(source)
    before = snapshot(here)
    with pytest.raises(ps.SourceChangedError, match="changed since the copy was begun") as caught:
        ps.copy(source, target, resume=True, **_HOW[how])
    assert str(changed) in str(caught.value)
    assert "overwrite=True" in str(caught.value)
    assert snapshot(here) == before
    ps.copy(source, target, overwrite=True, **_HOW[how])
    ps.copy(source, here / f"whole{target.suffix}", **_HOW[how])
    assert snapshot(target) == snapshot(here / f"whole{target.suffix}")


@pytest.mark.parametrize("options", [{}, {"chunks": (1, 1, 1, 8, 8)}, {"crop": "1:20,1:20"}], ids=str)
def test_an_archive_that_was_replaced_is_noticed(tmp_path, here, options):
    """By one of the same size and the same names, whose pixels are others."""
    for seed in (1, 2):
        (tmp_path / f"{seed}").mkdir()
        source = make_source(tmp_path / f"{seed}/src.zarr", seed=seed, compressor="none")
        ps.copy(source, tmp_path / f"{seed}.ozx")
    assert (tmp_path / "1.ozx").stat().st_size == (tmp_path / "2.ozx").stat().st_size
    stop_copy(tmp_path / "1.ozx", here / "out.zarr", **options)
    os.replace(tmp_path / "2.ozx", tmp_path / "1.ozx")
    with pytest.raises(ps.SourceChangedError, match=r"1\.ozx"):
        ps.copy(tmp_path / "1.ozx", here / "out.zarr", resume=True, **options)


def test_what_is_not_copied_may_change(source, here):
    options = {"positions": "A/1/0", "channels": "GFP", "crop": "0:8,8:16"}
    stop_copy(source, here / "out.zarr", **options)
    _edit_position(source)
    _change_chunk(source)
    assert ps.copy(source, here / "out.zarr", resume=True, **options).resumed


# --- what an unfinished copy may not be -----------------------------------------------------------


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"plan": 1}', "\x00"])
@pytest.mark.parametrize("target", ["out.zarr", "out.ozx"])
def test_a_damaged_journal_is_never_trusted(sources, here, target, damage):
    work = stop_copy(sources / "v5.zarr", here / target)
    (work / "journal.json").write_text(damage)
    try:
        report = ps.copy(sources / "v5.zarr", here / target, resume=True)
    except ps.PlatestoreError:
        assert not (here / target).exists()
        return
    assert not report.resumed
    ps.copy(sources / "v5.zarr", here / f"whole-{target}")
    assert snapshot(here / target) == snapshot(here / f"whole-{target}")


@pytest.mark.parametrize("name", ["plain", "rechunk", "crop", "unpack"])
def test_files_that_a_dead_process_left_are_swept_away(sources, here, name):
    """Temporary files of every writer, and files that are half written."""
    kind = KINDS[name]
    work = stop_copy(sources / kind.source, here / kind.target, part=0.9, **kind.options)
    folder = work / "data" / "A" / "1" / "0" / "0"
    (folder / ".x.123-0-00ff00ff.tmp").write_bytes(b"half")
    (folder / ".0.123-7-00ff00ff.tmp").write_bytes(b"")
    kind.copy(sources, here, resume=True)
    (here / "whole").mkdir()
    kind.copy(sources, here / "whole")
    assert snapshot(here / kind.target) == snapshot(here / "whole" / kind.target)


def test_codecs_that_go_through_the_array_leave_no_locks_of_other_writers(tmp_path, here):
    """TensorStore's own locks and zarr's partial files are no part of a copy."""
    source = make_source(tmp_path / "s.zarr", "0.4")
    work = stop_copy(source, here / "out.zarr", part=0.9, chunks=(1, 1, 1, 8, 8))
    array = work / "data" / "A" / "1" / "0" / "0"
    (array / "9.__lock").write_bytes(b"")
    (array / f"8.{'0' * 32}.partial").write_bytes(b"half")
    ps.copy(source, here / "out.zarr", resume=True, chunks=(1, 1, 1, 8, 8))
    ps.copy(source, here / "whole.zarr", chunks=(1, 1, 1, 8, 8))
    assert snapshot(here / "out.zarr") == snapshot(here / "whole.zarr")


# --- interrupted by the keyboard ------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(KINDS.values()), ids=lambda kind: kind.name)
@pytest.mark.parametrize("workers", [1, 3])
def test_an_interruption_in_any_thread_stops_all_and_leaves_a_copy_to_be_continued(
    sources, here, kind, workers
):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kind.copy(sources, here, workers=workers, progress=stop)
    assert [p.name for p in here.iterdir()] == [f"{kind.target}.copying"]
    assert kind.copy(sources, here, resume=True).resumed
    (here / "whole").mkdir()
    kind.copy(sources, here / "whole")
    assert snapshot(here / kind.target) == snapshot(here / "whole" / kind.target)


def test_progress_goes_up_to_all_there_is(sources, here):
    for kind in KINDS.values():
        (here / kind.name).mkdir()
        told: list[tuple[int, int]] = []
        kind.copy(
            sources, here / kind.name, progress=lambda done, total, told=told: told.append((done, total))
        )
        done = [d for d, _ in told]
        assert done == sorted(done), kind.name
        assert len({total for _, total in told}) == 1, kind.name
        assert told[-1][0] == told[-1][1] > 0, kind.name


def test_the_journal_names_no_secrets_and_is_gone_at_the_end(sources, here, monkeypatch):
    seen: list[str] = []
    real = api.Work.run

    def look(work: Any) -> None:
        seen.append((here / "out.zarr.copying" / "journal.json").read_text())
        real(work)

    monkeypatch.setattr(api.Work, "run", look)
    ps.copy(sources / "v5.zarr", here / "out.zarr")
    assert str(sources / "v5.zarr") in seen[0]
    assert [p.name for p in here.iterdir()] == ["out.zarr"]
