"""``platestore pyramid``: what it prints, its exit codes, and what is left where it is stopped."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import platestore as ps
from cli.cli_helpers import invoke_command, run_command
from nodes.store_helpers import snapshot
from pyramid.pyramid_store import cascade, multiscales, noise, quick_cascade, stored

HALF = (1, 1, 2, 2, 2)
NAMES = ("A/1/0", "A/2/0", "B/1/0")
SHAPE = (1, 1, 4, 24, 20)


def plate_at(path: Path, version: str = "0.5", names=NAMES, shape=SHAPE, chunks=(1, 1, 2, 8, 8)) -> Path:
    """A plate with other noise in every position."""
    plate = ps.open_ome_zarr(path, layout="hcs", mode="w-", channel_names=["a"], version=version)
    for seed, position in enumerate(plate.create_positions([tuple(name.split("/")) for name in names])):
        position.create_image("0", noise("uint16", shape, seed), chunks=chunks)
    return path


@pytest.fixture
def plate(tmp_path, version):
    return plate_at(tmp_path / "plate.zarr", version)


@pytest.fixture
def plate_v3(tmp_path):
    """Where the version does not matter."""
    return plate_at(tmp_path / "plate.zarr")


run = functools.partial(run_command, "pyramid")
invoke = functools.partial(invoke_command, "pyramid")


def reported(*arguments: object, exit_code: int = 0) -> dict[str, object]:
    result = invoke(*arguments, "--json")
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)


def listed(position: Path) -> list[str]:
    return [d["path"] for d in multiscales(position)["datasets"]]


def tear_a_chunk(array: Path) -> Path:
    """Cut one chunk of an array in half."""
    chunk = next(
        f
        for f in sorted(array.rglob("*"))
        if f.is_file() and f.name not in ("zarr.json", ".zarray", ".zattrs")
    )
    content = chunk.read_bytes()
    chunk.write_bytes(content[: len(content) // 2])
    return chunk


def assert_made(position: Path, steps, method: str = "mean", reference=cascade) -> None:
    found = list(stored(position).values())
    expected = reference(found[0], steps, method)
    assert len(found) == len(expected) + 1
    for got, level in zip(found[1:], expected, strict=True):
        np.testing.assert_array_equal(got, level)


# --- what it does and says ------------------------------------------------------------------------


def test_help_names_every_option():
    shown = run("--help")
    assert shown.returncode == 0
    for option in (
        "PATH...",
        "--levels",
        "--method",
        "--dims",
        "--max-memory",
        "--workers",
        "--force",
        "--json",
    ):
        assert option in shown.stdout
    assert "N|auto" in shown.stdout


@pytest.mark.quick(1)
def test_a_plate_is_computed_and_the_total_is_told(plate):
    shown = run(plate, "--levels", 3)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("3 computed, 0 complete already, 0 failed, ")
    assert re.search(r"MiB in [\d.]+ s", shown.stdout)
    assert shown.stdout.count("\n") == 1
    assert shown.stderr == ""
    for name in NAMES:
        assert_made(plate / name, [HALF, HALF])


def test_the_second_run_skips_all(plate):
    invoke(plate, "-l", 3)
    before = snapshot(plate)
    shown = invoke(plate, "-l", 3)
    assert shown.exit_code == 0
    assert shown.stdout == "0 computed, 3 complete already, 0 failed\n"
    assert snapshot(plate) == before


@pytest.mark.quick(1)
def test_json_is_one_document_on_stdout(plate):
    chunk = tear_a_chunk(plate / "A/2/0/0")
    invoke(plate / "B", "-l", 3)
    shown = run(plate, "-l", 3, "--json")
    assert shown.returncode == 1
    report = json.loads(shown.stdout)
    assert report["computed"] == [f"{plate}/A/1/0"]
    assert report["skipped"] == [f"{plate}/B/1/0"]
    assert list(report["failed"]) == [f"{plate}/A/2/0"]
    assert str(chunk) in report["failed"][f"{plate}/A/2/0"]
    assert report["bytes"] == int(np.prod(SHAPE)) * 2
    assert report["seconds"] >= 0


@pytest.mark.slow
def test_json_keeps_names_that_are_not_ascii(tmp_path):
    plate = plate_at(tmp_path / "Zellen µ.zarr", names=["A/1/0"])
    shown = run(plate, "-l", 2, "--json", env={**os.environ, "PYTHONIOENCODING": "utf-8"}, encoding="utf-8")
    assert json.loads(shown.stdout)["computed"] == [f"{plate}/A/1/0"]


@pytest.mark.parametrize(
    ("inner", "names"),
    [((), NAMES), (("A",), NAMES[:2]), (("A/2",), NAMES[1:2]), (("A/1/0", "B/1"), ("A/1/0", "B/1/0"))],
    ids=["plate", "row", "well", "position and well"],
)
def test_plates_and_parts_of_plates(plate, inner, names):
    report = reported(*[plate / i for i in inner] or [plate], "-l", 2)
    assert report["computed"] == [f"{plate}/{name}" for name in names]
    assert [name for name in NAMES if listed(plate / name) == ["0", "1"]] == list(names)


def test_several_plates_and_relative_paths(tmp_path, version, monkeypatch):
    for name in ("a.zarr", "b.zarr"):
        plate_at(tmp_path / name, version, ["A/1/0"])
    monkeypatch.chdir(tmp_path)
    assert reported("a.zarr/", "b.zarr", "-l", 2)["computed"] == ["a.zarr/A/1/0", "b.zarr/A/1/0"]


def test_a_label_image(plate_v3):
    position = ps.open_ome_zarr(plate_v3 / "A/1/0", mode="r+")
    position.create_label("cells", noise("uint8", SHAPE) % 3)
    assert reported(plate_v3, "-l", 3)["failed"] == {}
    place = plate_v3 / "A/1/0/labels/cells"
    assert_made(place, [HALF, HALF], "mode")
    assert reported(place, "-m", "mode")["skipped"] == [str(place)]
    assert reported(place, "-m", "mode", "--force")["computed"] == [str(place)]
    assert_made(place, [HALF, HALF], "mode")


@pytest.mark.parametrize("method", ["mean", "median", "mode", "min", "max", "stride"])
def test_method(plate_v3, method):
    assert invoke(plate_v3 / "A/1", "-l", 3, "--method", method).exit_code == 0
    assert_made(plate_v3 / "A/1/0", [HALF, HALF], method)


@pytest.mark.parametrize("dims", ["yx", "y,x", "x y", "y, x", "YX"])
def test_dims(plate_v3, dims):
    assert invoke(plate_v3 / "A/1", "-l", 2, "--dims", dims).exit_code == 0
    assert_made(plate_v3 / "A/1/0", [(1, 1, 1, 2, 2)])


def test_levels_auto(tmp_path, version):
    plate = plate_at(tmp_path / "p.zarr", version, ["A/1/0"], (1, 1, 1, 600, 300), (1, 1, 1, 300, 300))
    assert invoke(plate, "--levels", "auto").exit_code == 0
    assert listed(plate / "A/1/0") == ["0", "1", "2"]
    assert invoke(plate, "--levels", "auto").stdout.startswith("0 computed, 1 complete already")


def test_another_method_computes_anew_and_other_levels_are_refused(plate):
    invoke(plate, "-l", 3)
    assert len(reported(plate, "-m", "max")["computed"]) == 3
    before = snapshot(plate)
    shown = invoke(plate, "-m", "max", "-l", 2)
    assert shown.exit_code == 1
    assert shown.stdout == "0 computed, 0 complete already, 3 failed\n"
    assert "has 3 levels, not 2" in shown.stderr
    assert "delete_pyramid()" not in shown.stderr  # nothing that needs Python
    assert snapshot(plate) == before


def test_force(plate_v3):
    invoke(plate_v3, "-l", 2)
    ps.open_ome_zarr(plate_v3 / "A/1/0", mode="r+")["0"][...] = 9
    assert len(reported(plate_v3)["skipped"]) == 3
    assert len(reported(plate_v3, "--force")["computed"]) == 3
    assert_made(plate_v3 / "A/1/0", [HALF])


def test_no_bar_where_nobody_looks(plate_v3):
    assert run(plate_v3, "-l", 2).stderr == ""


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no terminals here")
def test_a_terminal_shows_a_bar_that_ends_full(plate_v3):
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "platestore", "pyramid", str(plate_v3), "-l", "2", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=slave) as process:
        os.close(slave)
        assert process.stdout is not None
        out = process.stdout.read()
    shown = ""
    with contextlib.suppress(OSError):  # the end of a terminal
        while piece := os.read(master, 2**16):
            shown += piece.decode(errors="replace")
    os.close(master)
    assert process.returncode == 0
    assert len(json.loads(out)["computed"]) == 3
    assert "pyramids" in shown
    assert "100%" in shown, shown


# --- wrong input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [("--levels", "many"), ("--levels", "1.5"), ("--method", "best"), ("--workers", "two"), ("--quickly",)],
    ids=" ".join,
)
def test_an_option_that_cannot_be_read_is_a_usage_error(plate_v3, wrong):
    before = snapshot(plate_v3)
    shown = invoke(plate_v3, *wrong)
    assert shown.exit_code == 2
    assert "Usage:" in shown.stderr
    assert wrong[-1] in shown.stderr
    assert snapshot(plate_v3) == before


def test_no_path_is_a_usage_error():
    assert invoke().exit_code == 2


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (("--workers", "0"), "workers must be"),
        (("--workers", "-1"), "workers must be"),
        (("--max-memory", "much"), "'much'"),
        (("--max-memory", "0"), "--max-memory must be"),
        (("--levels", "0"), "levels must be"),
        (("--levels", "65"), "levels must be"),
        (("--dims", "qx"), "no axes"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_value_is_a_message(plate_v3, wrong, says):
    before = snapshot(plate_v3)
    options = wrong if "--levels" in wrong else (*wrong, "-l", "2")
    shown = run(plate_v3, *options)
    assert shown.returncode in (1, 2)
    assert says in shown.stderr
    assert "Traceback" not in shown.stderr
    assert snapshot(plate_v3) == before


def test_a_wrong_number_of_levels_is_said_once(plate_v3):
    assert invoke(plate_v3, "-l", "0").output.count("levels must be") <= 1


@pytest.mark.quick(1)
def test_a_budget_that_is_too_small_is_an_error_with_the_figure(plate):
    before = snapshot(plate)
    shown = run(plate / "A/1", "-l", 3, "--max-memory", "1kB")
    assert shown.returncode == 1
    assert "Traceback" not in shown.stderr
    figure = re.search(r"--max-memory (\d+) or more", shown.stderr)
    assert figure, shown.stderr
    assert snapshot(plate) == before
    enough = run(plate / "A/1", "-l", 3, "--max-memory", figure[1])
    assert enough.returncode == 0, enough.stderr
    assert_made(plate / "A/1/0", [HALF, HALF])


@pytest.mark.parametrize("wrong", ["nowhere.zarr", "plate.zarr/Z/9", "plate.zarr/A/1/0/0", "file.txt", "."])
def test_a_wrong_path_is_a_message_and_nothing_is_computed(plate_v3, tmp_path, wrong):
    (tmp_path / "file.txt").write_text("pixels")
    before = snapshot(plate_v3)
    shown = run(plate_v3, tmp_path / wrong, "-l", 2)
    assert shown.returncode == 1
    assert shown.stderr.startswith("Error: ")
    assert Path(wrong).name in shown.stderr
    assert "Traceback" not in shown.stderr
    assert shown.stdout == ""
    assert snapshot(plate_v3) == before


def test_a_torn_chunk_is_named_and_the_other_positions_are_done(plate):
    chunk = tear_a_chunk(plate / "A/2/0/0")
    before = snapshot(plate / "A/2")
    shown = run(plate, "-l", 3)
    assert shown.returncode == 1
    assert shown.stdout.startswith("2 computed, 0 complete already, 1 failed")
    assert shown.stderr.count("\n") == 1
    assert shown.stderr.startswith("Error: ")
    assert str(chunk) in shown.stderr
    assert snapshot(plate / "A/2") == before
    for name in ("A/1/0", "B/1/0"):
        assert_made(plate / name, [HALF, HALF])


def test_a_position_that_is_not_there_fails_the_run(plate):
    shutil.rmtree(plate / "A/2/0")
    shown = run(plate, "-l", 3)
    assert shown.returncode == 1
    assert shown.stdout.startswith("2 computed, 0 complete already, 1 failed")
    assert "A/2/0" in shown.stderr


def test_messages_show_no_source_lines(plate):
    shutil.rmtree(plate / "A/2/0")
    shown = run(plate, "-l", 3)
    assert ".py:" not in shown.stderr
    assert "yield" not in shown.stderr


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_a_message(plate):
    folders = [plate, *(p for p in plate.rglob("*") if p.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        shown = run(plate, "-l", 3)
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert shown.returncode == 1
    assert "Traceback" not in shown.stderr
    assert "Error: " in shown.stderr
    assert [listed(plate / name) for name in NAMES] == [["0"]] * 3


# --- stopped half-way -----------------------------------------------------------------------------

# The command, with reductions that take their time and tell of themselves.
SLOW = """
import sys, time
import platestore.pyramid.budget as budget
import platestore.pyramid.build as build
import platestore.processing as processing
tiny, *arguments = sys.argv[1:]
if tiny != "default":
    processing._TINY_BYTES = int(tiny)
tree = budget.BlockTree
budget.BlockTree = lambda *args, **kwargs: tree(*args, **{**kwargs, "join": None})
real = build.reduce_block
def slow(*args, **kwargs):
    sys.stderr.write("@\\n")
    sys.stderr.flush()
    time.sleep(0.05)
    return real(*args, **kwargs)
build.reduce_block = slow
from platestore.cli import main
sys.argv = ["platestore", "pyramid", *arguments]
main()
"""
LARGE = (24, 1, 1, 384, 384)
FLAT = (1, 1, 1, 2, 2)
#: "default": positions in turn; 0: side by side.
WAYS = pytest.mark.parametrize("way", [("default", 1), ("default", 2), ("0", 2)], ids=["one", "turn", "side"])


@pytest.fixture
def large(tmp_path, version):
    """Positions of more blocks than a stopped command may still go through."""
    return plate_at(tmp_path / "large.zarr", version, NAMES, LARGE, (1, 1, 1, 384, 384))


def stopped(plate: Path, way: tuple[str, int], number: int, after: int) -> tuple[int, str, str, int]:
    """The command, stopped by a signal in the middle: exit code, output, and reductions since."""
    script = plate.parent / "slow.py"
    script.write_text(SLOW)
    options = ["-l", "3", "-d", "yx", "-w", str(way[1])]
    with subprocess.Popen(
        [sys.executable, str(script), way[0], str(plate), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for _ in range(after):
            assert process.stderr.readline() == "@\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    lines = err.splitlines()
    said = "\n".join(line for line in lines if line != "@")
    return process.returncode, out, said, lines.count("@")


def assert_all_or_nothing(plate: Path) -> None:
    for name in NAMES:
        names = listed(plate / name)
        assert names in (["0"], ["0", "1", "2"])
        if len(names) > 1:
            assert_made(plate / name, [FLAT, FLAT], reference=quick_cascade)


def assert_finished_by_the_same_command(plate: Path) -> None:
    before = {name: snapshot(plate / name / "0") for name in NAMES}
    again = run(plate, "-l", 3, "-d", "yx")
    assert again.returncode == 0, again.stderr
    for name in NAMES:
        assert snapshot(plate / name / "0") == before[name]
        assert_made(plate / name, [FLAT, FLAT], reference=quick_cascade)
    assert invoke(plate, "-l", 3, "-d", "yx").stdout.startswith("0 computed, 3 complete already, 0 failed")


@pytest.mark.quick(1)
@pytest.mark.skipif(os.name == "nt", reason="there is no such signal on Windows")
@WAYS
@pytest.mark.parametrize("after", [3, pytest.param(55, marks=pytest.mark.slow)])
def test_a_killed_run_is_finished_by_the_same_command(large, way, after):
    before = {name: snapshot(large / name / "0") for name in NAMES}
    code, _, _, _ = stopped(large, way, signal.SIGKILL, after)
    assert code == -signal.SIGKILL
    assert {name: snapshot(large / name / "0") for name in NAMES} == before
    assert_all_or_nothing(large)
    assert_finished_by_the_same_command(large)


@pytest.mark.quick(1)
@pytest.mark.skipif(os.name == "nt", reason="there is no such signal on Windows")
@WAYS
@pytest.mark.parametrize("after", [3, pytest.param(55, marks=pytest.mark.slow)])
def test_an_interrupted_run_stops_soon_says_little_and_is_finished_by_the_same_command(large, way, after):
    code, out, said, since = stopped(large, way, signal.SIGINT, after)
    assert code not in (0, None)
    assert "Traceback" not in said
    assert len(said.splitlines()) <= 5
    assert "computed" not in out
    assert since <= 14, "each thread finishes its block and what that completes, not its position"
    assert_all_or_nothing(large)
    for name in NAMES:  # what was begun is cleared away
        assert [p.name for p in (large / name).iterdir() if p.name.endswith((".new", ".tmp"))] == []
    assert_finished_by_the_same_command(large)
