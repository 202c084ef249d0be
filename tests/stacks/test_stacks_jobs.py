"""Many jobs for one volume: what each writes, kills, locks, and the end."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stack_cases import assert_levels, cascade, noise, tree, write_planes

import platestore as ps
from platestore import stacks
from platestore.arrays.layout import ArrayLayout, level_layout
from platestore.publish import targets
from platestore.publish.workplace import WorkPlace
from platestore.spec.geometry import level_shapes
from platestore.stacks import installing
from platestore.stacks import jobs as jobs_module
from platestore.stacks.blocks import choose_blocks, grids, made_levels

pytest.importorskip("tifffile")
WORKERS = Path(__file__).with_name("stack_workers.py")
DATA = noise((42, 40, 33))
LEVELS = cascade(DATA, [(2, 2, 2)] * 2)
WISHES: dict[str, Any] = {"voxel_size": (1, 1, 1), "chunks": (4, 16, 16), "levels": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_planes(tmp_path_factory.mktemp("planes"), DATA)


def start(task: str, **arguments: Any) -> subprocess.Popen[str]:
    """A process of its own."""
    words = json.dumps(arguments, default=str)
    return subprocess.Popen(
        [sys.executable, str(WORKERS), task, words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def end(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors


def kill_when(process: subprocess.Popen[str], sign: Path) -> None:
    """Kill a process when it says that it is in the middle."""
    deadline = time.monotonic() + 60
    while not sign.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL
    process.communicate()


# --- blocks ---------------------------------------------------------------------------------------


@given(
    shape=st.tuples(*[st.integers(1, 60)] * 3),
    chunks=st.tuples(*[st.integers(1, 6)] * 3),
    ratio=st.integers(1, 3),
    steps=st.lists(st.tuples(*[st.integers(1, 3)] * 3), max_size=4),
    jobs=st.integers(1, 9),
)
def test_blocks_cover_all_planes_and_share_no_file_of_the_levels_that_they_write(
    shape, chunks, ratio, steps, jobs
):
    chunks = tuple(min(c, n) for c, n in zip(chunks, shape, strict=True))
    base = ArrayLayout(shape, np.dtype("uint8"), chunks, (chunks[0] * ratio, *chunks[1:]))
    shapes = level_shapes(shape, steps)
    layouts = [base, *(level_layout(base, s) for s in shapes[1:])]
    grid = grids(layouts, steps, 0)
    volumes = [int(np.prod([np.prod(s) for s in steps[:k]])) for k in range(len(steps) + 1)]
    blocks = choose_blocks(shape[0], grid, 1, volumes, jobs=jobs, block=None)
    assert len(blocks) <= jobs
    assert [z for start, stop in blocks for z in range(start, stop)] == list(range(shape[0]))
    made = made_levels(blocks, grid)
    assert made >= 1
    factor = 1
    for k in range(made):
        factor *= steps[k - 1][0] if k else 1
        files = [{z // factor // layouts[k].units[0] for z in range(start, stop)} for start, stop in blocks]
        assert sum(map(len, files)) == len(set().union(*files)), f"level {k}"


@pytest.mark.parametrize(
    ("planes", "jobs", "expected"),
    [
        (4096, 8, (512, 3)),  # whole files of levels 0, 1 and 2: level 3 is made from 1/64 of the pixels
        (4096, 1, (4096, 5)),
        (4096, 16, (256, 3)),
        (4096, 64, (64, 1)),
        (4096, 1000, (64, 1)),
        (4096, 10, (512, 3)),
        (100, 3, (64, 1)),
    ],
)
def test_blocks_that_write_as_many_levels_as_is_worth_it(planes, jobs, expected):
    grid, volumes = [64, 128, 256, 512, 1024], [1, 8, 64, 512, 4096]
    blocks = choose_blocks(planes, grid, 2**23, volumes, jobs=jobs, block=None)
    size, levels = expected
    assert blocks[0][1] - blocks[0][0] == min(size, planes)
    assert made_levels(blocks, grid) >= levels
    assert len(blocks) <= jobs


def test_blocks_that_nobody_asked_for_have_a_gib_and_are_aligned():
    grid, volumes = [64, 128, 256, 512, 1024], [1, 8, 64, 512, 4096]
    assert choose_blocks(1000, grid, 2**20, volumes, jobs=None, block=None) == [(0, 1000)]
    blocks = choose_blocks(5000, grid, 2**23, volumes, jobs=None, block=None)
    assert blocks[0] == (0, 256)
    assert made_levels(blocks, grid) == 3


# --- jobs in processes of their own ---------------------------------------------------------------


@pytest.mark.quick(1)
def test_jobs_side_by_side_one_of_them_killed_and_run_again(folder, tmp_path):
    out = tmp_path / "o.zarr"
    plan = stacks.plan(folder, out, jobs=3, **WISHES)
    assert [(j.index, j.start, j.stop, j.done) for j in plan.jobs] == [
        (0, 0, 16, False),
        (1, 16, 32, False),
        (2, 32, 42, False),
    ]
    assert not out.exists()
    victim = start("slow_job", out=out, index=1, sign=tmp_path / "sign", after=9)
    others = [start("job", out=out, index=index) for index in (0, 2)]
    kill_when(victim, tmp_path / "sign")
    end(others)
    assert [job.done for job in stacks.StackPlan.open(out).jobs] == [True, False, True]
    with pytest.raises(ps.ArgumentError, match=r"1 of 3 jobs are not finished: 1 \(planes 16:32\)"):
        stacks.finish(out)
    assert not out.exists()
    end([start("job", out=out, index=1)])
    position = stacks.finish(out)
    assert_levels(position, LEVELS)
    assert [p.name for p in tmp_path.iterdir() if p.name != "sign"] == ["o.zarr"]
    assert not [name for name in tree(out) if ".tmp" in name or "/." in name.replace("/.z", "/z")]


def test_each_job_writes_its_own_files_only(folder, tmp_path):
    out = tmp_path / "o.zarr"
    plan = stacks.plan(folder, out, jobs=3, **WISHES)
    assert plan.levels_of_jobs == 3
    data = tmp_path / "o.zarr.importing" / "data"
    before = tree(data)
    for job in plan.jobs:
        plan.run(job.index)
        after = tree(data)
        assert {name: after[name] for name in before} == before
        assert len(after) > len(before)
        before = after


def test_levels_that_jobs_would_share_are_made_at_the_end(folder, tmp_path):
    plan = stacks.plan(folder, tmp_path / "o.zarr", block=4, **WISHES)
    assert (len(plan.jobs), plan.levels_of_jobs, plan.levels) == (11, 1, 3)
    for job in plan.jobs:
        plan.run(job.index)
    told = []
    position = plan.finish(progress=lambda done, total: told.append((done, total)))
    assert_levels(position, LEVELS)
    assert told[-1][0] == told[-1][1] > 0


def test_a_finished_job_is_not_run_again_unless_it_is_forced(folder, tmp_path, monkeypatch):
    out = tmp_path / "o.zarr"
    stacks.plan(folder, out, jobs=3, **WISHES)
    assert stacks.run_job(out, 1).done
    ran = []
    real = jobs_module.make_levels
    monkeypatch.setattr(jobs_module, "make_levels", lambda *a, **k: ran.append(1) or real(*a, **k))
    assert stacks.run_job(out, 1).done
    assert not ran
    assert stacks.run_job(out, 1, force=True) == stacks.StackJob(1, 16, 32, True)
    assert ran
    for index in (0, 2):
        stacks.run_job(out, index)
    assert_levels(stacks.finish(out), LEVELS)


def test_jobs_that_are_none(folder, tmp_path):
    out = tmp_path / "o.zarr"
    with pytest.raises(ps.NodeNotFoundError, match="no import is under way"):
        stacks.run_job(out, 0)
    with pytest.raises(ps.NodeNotFoundError, match="no import is under way"):
        stacks.finish(out)
    stacks.plan(folder, out, jobs=3, **WISHES)
    for wrong in (3, -1, "0", None, True):
        with pytest.raises(ps.ArgumentError, match="numbered from 0 to 2"):
            stacks.run_job(out, wrong)
    for wrong in (0, -1, 1.5, "many"):
        with pytest.raises(ps.ArgumentError, match="jobs must be"):
            stacks.plan(folder, tmp_path / "p.zarr", jobs=wrong, **WISHES)
    with pytest.raises(ps.ArgumentError, match="pass one"):
        stacks.plan(folder, tmp_path / "p.zarr", jobs=2, block=16, **WISHES)
    (tmp_path / "o.zarr.importing" / "plan.json").write_text("{}")
    with pytest.raises(ps.InvalidMetadataError, match="another version"):
        stacks.run_job(out, 0)
    (tmp_path / "o.zarr.importing" / "plan.json").write_text("{")
    with pytest.raises(ps.InvalidMetadataError, match="cannot be read"):
        stacks.run_job(out, 0)


def test_two_processes_do_not_run_the_same_job(folder, tmp_path):
    out = tmp_path / "o.zarr"
    stacks.plan(folder, out, jobs=3, **WISHES)
    process = start("slow_job", out=out, index=1, sign=tmp_path / "sign", after=3)
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "sign").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with pytest.raises(ps.LockTimeoutError, match="running job 1"):
            stacks.run_job(out, 1)
        with pytest.raises(ps.LockTimeoutError, match="running job 1"):
            stacks.plan(folder, out, overwrite=True, **WISHES)
        assert stacks.run_job(out, 0).done
    finally:
        process.kill()
        process.communicate()
    assert stacks.run_job(out, 1).done


def test_an_array_in_memory_is_passed_again(tmp_path):
    out = tmp_path / "o.zarr"
    plan = stacks.plan(DATA, out, jobs=3, **WISHES)
    plan.run(0)  # this plan has it in hand
    with pytest.raises(ps.ArgumentError, match="pass it again"):
        stacks.run_job(out, 1)
    with pytest.raises(ps.SourceChangedError, match="another stack"):
        stacks.run_job(out, 1, planes=DATA[:41])
    with pytest.raises(ps.SourceChangedError, match="another stack"):
        stacks.run_job(out, 1, planes=DATA.astype("uint32"))
    for index in (1, 2):
        stacks.run_job(out, index, planes=DATA)
    assert_levels(stacks.finish(out), LEVELS)


def test_a_plane_that_changed_is_refused_by_the_job_that_reads_it(tmp_path):
    planes, out = write_planes(tmp_path / "planes", DATA), tmp_path / "o.zarr"
    stacks.plan(planes, out, jobs=3, **WISHES)
    write_planes(tmp_path / "other", DATA[20:21])
    os.replace(tmp_path / "other" / "plane_0000.tif", planes / "plane_0020.tif")
    (planes / "plane_0040.tif").unlink()
    assert stacks.run_job(out, 0).done
    with pytest.raises(ps.SourceChangedError, match=r"plane_0020\.tif"):
        stacks.run_job(out, 1)
    with pytest.raises(ps.SourceChangedError, match=r"plane_0040\.tif"):
        stacks.run_job(out, 2)


def test_a_plan_is_told_as_json(folder, tmp_path):
    facts = stacks.plan(folder, tmp_path / "o.zarr", jobs=3, version="0.5", **WISHES).to_json()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["out"] == str(tmp_path / "o.zarr")
    assert facts["source"] == "tiff"
    assert facts["shape"] == [1, 1, 42, 40, 33]
    assert facts["levels"][0] == {
        "shape": [1, 1, 42, 40, 33],
        "chunks": [1, 1, 4, 16, 16],
        "shards": [1, 1, 4, 48, 48],
    }
    assert facts["jobs"][1] == {"index": 1, "start": 16, "stop": 32, "done": False}
    assert 0 < facts["memory"] <= 2**30
    assert "jobs=3" in repr(stacks.StackPlan.open(tmp_path / "o.zarr"))


# --- unfinished imports ---------------------------------------------------------------------------


def test_an_unfinished_import_is_continued_or_started_anew(folder, tmp_path):
    out, sign = tmp_path / "o.zarr", tmp_path / "sign"
    kill_when(start("slow_import", planes=folder, out=out, block=16, sign=sign, after=20), sign)
    assert not out.exists()
    jobs = stacks.StackPlan.open(out).jobs
    assert [job.done for job in jobs] == [True, False, False]
    with pytest.raises(ps.NodeExistsError, match="unfinished import"):
        stacks.import_stack(folder, out, block=16, **WISHES)
    with pytest.raises(ps.ArgumentError, match="method was 'mean', is 'max'"):
        stacks.import_stack(folder, out, block=16, resume=True, method="max", **WISHES)
    with pytest.raises(ps.SourceChangedError, match="another stack"):
        stacks.import_stack(DATA, out, block=16, resume=True, **WISHES)
    done = out.with_name("o.zarr.importing") / "jobs" / "0" / "done"
    before = done.stat().st_mtime_ns
    position = stacks.import_stack(folder, out, block=16, resume=True, max_memory="100MiB", **WISHES)
    assert_levels(position, LEVELS)
    assert before
    kill_when(
        start(
            "slow_import", planes=folder, out=tmp_path / "p.zarr", block=16, sign=tmp_path / "s2", after=20
        ),
        tmp_path / "s2",
    )
    position = stacks.import_stack(folder, tmp_path / "p.zarr", overwrite=True, **WISHES)
    assert_levels(position, LEVELS)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.zarr", "p.zarr", "s2", "sign"]


def test_without_anything_unfinished_resume_just_begins(folder, tmp_path):
    assert_levels(stacks.import_stack(folder, tmp_path / "o.zarr", resume=True, **WISHES), LEVELS)


class Stop(BaseException):
    """The process dies here."""


def dying(monkeypatch, owner: Any, name: str, *, after: bool, at: int = 1) -> None:
    """Let the process die before or after a call of a function."""
    real, count = getattr(owner, name), 0

    def call(*args, **kwargs):
        nonlocal count
        count += 1
        if count == at and not after:
            raise Stop
        result = real(*args, **kwargs)
        if count == at:
            raise Stop
        return result

    monkeypatch.setattr(owner, name, call)


POINTS = [
    (jobs_module, "make_levels", False, 1),
    (jobs_module, "make_levels", True, 1),
    (installing, "_write_root", False, 1),
    (installing, "_write_root", True, 1),
    (targets, "install", False, 1),
    (targets, "install", True, 1),
    (WorkPlace, "remove", False, 1),
    (WorkPlace, "sweep", False, 1),
    (jobs_module.StackWorkPlace, "mark_done", True, 1),
]


@pytest.mark.parametrize(
    ("owner", "name", "after", "at"), POINTS, ids=lambda value: str(getattr(value, "__name__", value))
)
@pytest.mark.parametrize("replaces", [False, True])
def test_finishing_can_be_repeated_wherever_it_died(
    folder, tmp_path, monkeypatch, owner, name, after, at, replaces
):
    out = tmp_path / "o.zarr"
    if replaces:
        stacks.import_stack(DATA[:5], out, **WISHES)
    plan = stacks.plan(folder, out, block=4, overwrite=replaces, **WISHES)
    for job in plan.jobs:
        plan.run(job.index)
    dying(monkeypatch, owner, name, after=after, at=at)
    with contextlib.suppress(Stop):
        stacks.finish(out)
        pytest.fail("it did not come so far")
    monkeypatch.undo()
    if out.exists():
        position = ps.open_ome_zarr(out)
        assert_levels(
            position, LEVELS if position["0"].shape[2] == 42 else cascade(DATA[:5], [(2, 2, 2)] * 2)
        )
    again = stacks.import_stack(folder, out, block=4, resume=True, **WISHES)
    assert_levels(again, LEVELS)
    assert [p.name for p in tmp_path.iterdir()] == ["o.zarr"]


@pytest.mark.parametrize("there", [False, True], ids=["new", "empty position"])
@pytest.mark.parametrize(
    ("owner", "name", "after", "at"),
    [
        (os, "rename", False, 1),
        (os, "rename", True, 1),
        (os, "rename", True, 2),
        (jobs_module, "install", True, 1),
        (WorkPlace, "remove", False, 1),
        (shutil, "rmtree", False, 1),
    ],
    ids=lambda value: str(getattr(value, "__name__", value)),
)
def test_positions_of_plates_too(folder, tmp_path, monkeypatch, there, owner, name, after, at):
    plate = ps.open_ome_zarr(tmp_path / "p.zarr", layout="hcs", mode="w-", channel_names=["a"], version="0.5")
    plate.create_position("A", "1", "0")
    if there:
        plate.create_position("B", "2", "0")
    out = tmp_path / "p.zarr" / "B" / "2" / "0"
    plan = stacks.plan(folder, out, block=4, **WISHES)
    for job in plan.jobs:
        plan.run(job.index)
    dying(monkeypatch, owner, name, after=after, at=at)
    with contextlib.suppress(Stop):
        stacks.finish(out)
    monkeypatch.undo()
    found = ps.open_ome_zarr(tmp_path / "p.zarr")
    for path, position in found.positions():
        if path == "B/2/0" and position.keys():
            assert_levels(position, LEVELS)
    if out.parent.parent.parent.joinpath(".B-2-0.importing", "plan.json").exists():
        assert_levels(stacks.finish(out), LEVELS)
    assert [path for path, _ in ps.open_ome_zarr(tmp_path / "p.zarr").positions()] == ["A/1/0", "B/2/0"]
    assert_levels(ps.open_ome_zarr(tmp_path / "p.zarr")["B/2/0"], LEVELS)
    assert not list((tmp_path / "p.zarr").glob(".*importing"))


def test_what_somebody_puts_in_the_place_meanwhile_stays(folder, tmp_path):
    out = tmp_path / "o.zarr"
    plan = stacks.plan(folder, out, **WISHES)
    plan.run(0)
    out.mkdir()
    (out / "thesis.txt").write_text("years")
    with pytest.raises(ps.NodeExistsError):
        plan.finish()
    assert (out / "thesis.txt").read_text() == "years"
    shutil.rmtree(out)
    assert_levels(plan.finish(), LEVELS)


# --- volumes --------------------------------------------------------------------------------------


def test_processes_fill_one_volume_side_by_side(tmp_path):
    data = noise((33, 40, 42))
    np.save(tmp_path / "data.npy", data)
    spec = stacks.ArraySpec(data.shape, "uint16", (16, 16, 4))
    path = tmp_path / "v.zarr"
    group = stacks.MultiScaleGroup(
        path, name="v", voxel_size=(1, 1, 1), spatial_unit="micrometer", array_spec=spec
    )
    parts = [(0, 16), (16, 28), (28, 42)]
    common = {"path": path, "source": tmp_path / "data.npy", "barrier": tmp_path / "ready"}
    end([start("slab", start=a, stop=b, **common) for a, b in parts])
    np.testing.assert_array_equal(group[0][...], data)
    group.add_downsample_level(1)
    np.testing.assert_array_equal(group[1][...], cascade(data, [(2, 2, 2)])[1])
