"""``platestore import-stack``: its options, what it prints, its exit codes, and what stopping it leaves."""

from __future__ import annotations

import functools
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import invoke_command, run_command

import platestore as ps
from stacks.stack_cases import assert_levels, cascade, noise, write_planes

pytest.importorskip("tifffile")
DATA = noise((18, 40, 33))
LEVELS = cascade(DATA, [(2, 2, 2)] * 2)
WISHES = ("--voxel-size", "2,0.5,0.25", "--levels", 3, "--chunks", "4x16x16")
OPTIONS = (
    "PLANES... OUT",
    "--voxel-size",
    "--unit",
    "--name",
    "--channel",
    "--levels",
    "--method",
    "--chunks",
    "--shards",
    "--compressor",
    "--ome-version",
    "--block",
    "--jobs",
    "--job",
    "--finish",
    "--force",
    "--resume",
    "--overwrite",
    "--max-memory",
    "--workers",
    "--dry-run",
    "--json",
)

run = functools.partial(run_command, "import-stack")
invoke = functools.partial(invoke_command, "import-stack")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_planes(tmp_path_factory.mktemp("planes"), DATA, name="p{}.tif")


def reported(*arguments, exit_code=0):
    result = invoke(*arguments, "--json")
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)


def test_help_names_every_option():
    shown = run("--help")
    assert shown.returncode == 0
    for option in OPTIONS:
        assert option in shown.stdout
    assert "import-stack" in run_command("--help").stdout


def test_a_folder_becomes_an_image_and_one_line_says_so(folder, tmp_path):
    shown = run(
        folder, tmp_path / "o.zarr", *WISHES, "--unit", "nanometer", "--channel", "DAPI", "--name", "brain"
    )
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith(
        f"{tmp_path / 'o.zarr'}: 1x1x18x40x33 uint16, 3 levels, OME-NGFF 0.4, 46.4 KiB in "
    )
    assert shown.stdout.count("\n") == 1
    assert shown.stderr == ""  # no bar where nobody looks
    position = ps.open_ome_zarr(tmp_path / "o.zarr")
    assert_levels(position, LEVELS)
    assert position.channel_names == ["DAPI"]
    assert position.scale == [1, 1, 2, 0.5, 0.25]
    assert position.axes[2].unit == "nanometer"
    assert position.metadata.multiscales[0].name == "brain"


def test_patterns_work_whether_the_shell_expands_them_or_not(folder, tmp_path):
    expanded = [str(p) for p in sorted(folder.glob("p*.tif"))]
    for k, planes in enumerate(([str(folder / "p*.tif")], expanded)):
        assert reported(*planes, tmp_path / f"{k}.zarr", *WISHES)["levels"] == 3
        assert_levels(ps.open_ome_zarr(tmp_path / f"{k}.zarr"), LEVELS)
    words = [sys.executable, "-m", "platestore", "import-stack"]
    line = f"{shlex.join(words)} {folder}/p*.tif {tmp_path}/2.zarr --voxel-size 1,1,1 --levels 1"
    assert subprocess.run(line, shell=True, capture_output=True, check=False).returncode == 0
    assert_levels(ps.open_ome_zarr(tmp_path / "2.zarr"), [DATA])


def test_layout_method_and_version(folder, tmp_path):
    facts = reported(
        folder,
        tmp_path / "o.zarr",
        "--voxel-size",
        "1x1x1",
        "--levels",
        2,
        "--method",
        "max",
        "--chunks",
        "4,16,16",
        "--shards",
        "4,32,48",
        "--compressor",
        "zstd:2",
        "--max-memory",
        "100MiB",
        "--workers",
        1,
    )
    position = ps.open_ome_zarr(tmp_path / "o.zarr")
    assert facts["shape"] == [1, 1, 18, 40, 33]
    assert facts["bytes"] == DATA.nbytes
    assert position["0"].shards == (1, 1, 4, 32, 48)
    assert_levels(position, cascade(DATA, [(2, 2, 2)], "max"))
    for shards, expected in (("none", None), ("ZYX", (1, 1, 20, 48, 48)), ("100000", (1, 1, 20, 48, 48))):
        out = tmp_path / f"{shards}.zarr"
        reported(folder, out, "--voxel-size", "1,1,1", "--chunks", "4,16,16", "--shards", shards)
        assert ps.open_ome_zarr(out)["0"].shards == expected
    reported(folder, tmp_path / "v2.zarr", "--voxel-size", "1,1,1", "--ome-version", "0.4")
    assert ps.open_ome_zarr(tmp_path / "v2.zarr").version == "0.4"


def test_a_position_of_a_plate(folder, tmp_path):
    ps.open_ome_zarr(tmp_path / "p.zarr", layout="hcs", mode="w-", channel_names=["a"], version="0.5")
    assert reported(folder, tmp_path / "p.zarr/B/2/0", *WISHES)["out"].endswith("B/2/0")
    assert_levels(ps.open_ome_zarr(tmp_path / "p.zarr")["B/2/0"], LEVELS)


def test_jobs_are_planned_run_and_finished(folder, tmp_path):
    out = tmp_path / "o.zarr"
    shown = invoke(folder, out, *WISHES, "--jobs", 2)
    assert shown.exit_code == 0, shown.output
    assert "jobs    2 (16 planes each)" in shown.stdout
    assert f"import-stack --job I {out}   (I from 0 to 1)" in shown.stdout
    assert f"import-stack --finish {out}" in shown.stdout
    assert not out.exists()
    failed = invoke("--finish", out)
    assert failed.exit_code == 1
    assert "0 (planes 0:16), 1 (planes 16:18)" in failed.stderr
    done = run("--job", 0, out)
    assert done.stdout == f"{out}: job 0 (planes 0:16) is done\n"
    assert reported("--job", 1, out) == {"index": 1, "start": 16, "stop": 18, "done": True}
    assert reported("--job", 1, "--force", out)["done"]
    assert run("--job", 2, out).returncode == 1
    assert reported("--finish", out)["levels"] == 3
    assert_levels(ps.open_ome_zarr(out), LEVELS)


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(folder, tmp_path):
    shown = invoke(folder, tmp_path / "o.zarr", *WISHES, "--dry-run")
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert lines[0] == f"to      {tmp_path / 'o.zarr'} (OME-NGFF 0.4)"
    assert "0: 1x1x18x40x33 uint16, chunks 1x1x4x16x16" in lines[2]
    assert "jobs    1 (all planes)" in shown.stdout
    facts = reported(folder, tmp_path / "o.zarr", *WISHES, "-n", "--block", 4)
    assert facts["dry_run"]
    assert len(facts["jobs"]) == 5
    assert facts["levels_of_jobs"] == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("PLANES", "OUT"), "Missing option '--voxel-size'"),
        (("OUT", "--voxel-size", "1,1,1"), "PLANES... OUT"),
        (("PLANES", "OUT", "--voxel-size", "1,one,1"), "no size"),
        (("PLANES", "OUT", "--voxel-size", "1,1,1", "--chunks", "a"), "no list of integers"),
        (("PLANES", "OUT", "--voxel-size", "1,1,1", "--levels", "some"), "neither a number nor 'auto'"),
        (("PLANES", "OUT", "--voxel-size", "1,1,1", "--method", "best"), "best"),
        (("PLANES", "OUT", "--voxel-size", "1,1,1", "--force"), "--force belongs to --job"),
        (("OUT", "--job", "0", "--finish"), "--job and --finish are different steps"),
        (("PLANES", "OUT", "--job", "0"), "only OUT is named"),
    ],
)
def test_wrong_options_have_exit_code_2(folder, tmp_path, arguments, text):
    places = {"PLANES": str(folder), "OUT": str(tmp_path / "o.zarr")}
    shown = invoke(*(places.get(word, word) for word in arguments))
    assert shown.exit_code == 2
    assert text in shown.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.quick(1)
def test_failures_have_exit_code_1_and_no_traceback(folder, tmp_path):
    for arguments, text in (
        ((folder / "none.tif", tmp_path / "o.zarr", *WISHES), "no such file"),
        ((folder, tmp_path / "o.zarr", *WISHES, "--max-memory", "1kB"), "too small"),
        ((folder, tmp_path / "o.zarr", *WISHES, "--block", 5), "the nearest that do not have 4 or 8 planes"),
        ((folder, tmp_path / "o.zarr", *WISHES, "--jobs", 0), "jobs must be"),
        (("--finish", tmp_path / "o.zarr"), "no import is under way"),
    ):
        shown = run(*arguments)
        assert shown.returncode == 1
        assert shown.stderr.startswith("Error: ")
        assert text in shown.stderr
        assert "Traceback" not in shown.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_tifffile_the_command_that_installs_it_is_named(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tifffile", None)
    shown = invoke(folder, tmp_path / "o.zarr", *WISHES)
    assert shown.exit_code == 1
    assert "pip install 'platestore[tiff]'" in shown.output


def test_overwriting(folder, tmp_path):
    invoke(folder, tmp_path / "o.zarr", *WISHES)
    assert "holds an image" in invoke(folder, tmp_path / "o.zarr", *WISHES).stderr
    assert reported(folder, tmp_path / "o.zarr", *WISHES, "--overwrite")["levels"] == 3


_SLOW = """
import sys, time
from platestore.stacks import planes
read, count = planes.PlanesSource._read, 0
def slow(self, *args):
    global count
    count += 1
    if count > 6:
        print("now", flush=True)
        time.sleep(1)
    read(self, *args)
planes.PlanesSource._read = slow
from platestore.cli import main
main()
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals are sent as POSIX has them")
def test_an_interrupted_import_says_how_to_go_on_and_can_be_continued(folder, tmp_path):
    out = tmp_path / "o.zarr"
    words = ["import-stack", str(folder), str(out), *map(str, WISHES), "--block", "4", "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-c", _SLOW, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "now\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume continues" in errors
    assert "Traceback" not in errors
    assert not Path(out).exists()
    assert reported(*words[1:], "--resume")["levels"] == 3
    assert_levels(ps.open_ome_zarr(out), LEVELS)
    assert np.array_equal(ps.open_ome_zarr(out)["0"][0, 0], DATA)


def test_the_bar_is_shown_on_a_terminal_only(folder, tmp_path, monkeypatch, capsys):
    pytest.importorskip("rich")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    from platestore.progress import shown_to_people

    with shown_to_people("importing") as show:
        assert show is not None
        show(1, 2)
    assert "importing" in capsys.readouterr().err
