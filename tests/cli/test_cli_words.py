"""What the command says when something goes wrong: options instead of arguments, and Ctrl-C."""

import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import click
import numpy as np
import pytest
from cli_helpers import run_command

import platestore as ps
from platestore.cli import _COMMANDS, cli
from platestore.cli.words import in_options


def command_of(name: str) -> click.Command:
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("command", "text", "said"),
    [
        ("info", "p: no store (check the path, or create it with mode='w-')", "p: no store (check the path)"),
        ("info", 'p: the store exists (mode="a" opens it, mode="w" replaces it)', "p: the store exists"),
        ("copy", "p: is (overwrite=True (--overwrite) replaces it)", "p: is (--overwrite replaces it)"),
        (
            "copy",
            "max_memory of 1 is too small (pass max_memory=100 or more)",
            "--max-memory of 1 is too small (pass --max-memory 100 or more)",
        ),
        ("copy", 'no shards (create it with version="0.5")', "no shards (create it with --ome-version 0.5)"),
        (
            "copy",
            "no (choose bounds, or leave labels out (labels=False))",
            "no (choose bounds, or leave labels out (--no-labels))",
        ),
        ("pyramid", "p: no (delete_pyramid(), then compute it anew: compute_pyramid(levels=3))", "p: no"),
        ("pyramid", 'p: bad (pass levels="auto", or a number)', "p: bad (pass --levels auto, or a number)"),
        (
            "import-stack",
            "p: mm (say which with channel_name= (--channel))",
            "p: mm (say which with --channel)",
        ),
        ("import-stack", "p: measured in mm (give spatial_unit='mm')", "p: measured in mm (give --unit mm)"),
        ("check", "p: locked (wait for it, or pass a longer lock_timeout=)", "p: locked (wait for it)"),
        ("ls", "p: no well 'A/2' (wells: A/1)", "p: no well 'A/2' (wells: A/1)"),
        ("ls", "p (old): is gone (check the path)", "p (old): is gone (check the path)"),
        ("info", "x=1: a name with an equals sign", "x=1: a name with an equals sign"),
    ],
)
def test_advice_speaks_of_options(command: str, text: str, said: str) -> None:
    assert in_options(text, command_of(command)) == said


def test_no_class_of_errors_advises_python_at_the_command_line() -> None:
    from platestore import errors

    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.PlatestoreError)
    ]
    assert len(kinds) > 20
    for kind in kinds:
        for name in _COMMANDS:
            said = in_options(str(kind("it is so", path="p.zarr")), command_of(name))
            assert said.startswith("p.zarr: it is so")
            assert not re.search(r"\w=|\w\(\)", said), (kind, name, said)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("info", "none.zarr"), "no such store"),
        (("ls", "none.zarr"), "no such store"),
        (("check", "none.zarr"), "no such store"),
        (("info", "plate.zarr/A/9"), "plate.zarr has no A/9"),
        (("check", "plate.zarr/A/9/0"), "plate.zarr has no A/9/0"),
        (("demo", "plate.zarr"), "there already"),
        (
            ("copy", "plate.zarr", "b.zarr", "--shards", "ZYX", "--ome-version", "0.4"),
            "--ome-version 0.5",
        ),
        (("copy", "plate.zarr", "other.zarr"), "--overwrite"),
        (("pyramid", "plate.zarr", "--levels", "3", "--max-memory", "1"), "--max-memory"),
        (("import-stack", "none", "v.zarr", "--voxel-size", "1,1,1"), "no such file"),
        (("plan", "plate.zarr", "--shards", "ZYX", "--ome-version", "0.4"), "--ome-version 0.5"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_errors_at_the_command_line(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    for name in ("plate.zarr", "other.zarr"):
        with ps.open_ome_zarr(tmp_path / name, layout="hcs", mode="w-", channel_names=["a"]) as plate:
            plate.create_position("A", "1", "0").create_image("0", np.zeros((1, 1, 1, 64, 64), "uint8"))
    shown = run_command(*arguments, cwd=tmp_path)
    assert shown.returncode == 1, shown.stderr
    assert says in shown.stderr
    assert "Traceback" not in shown.stderr
    assert not re.search(r"(mode|True|False)=|=(True|False)|\w\(\)", shown.stderr), shown.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("pyramid", "plate.zarr", "-d", "q"), "'q' are no axes"),
        (("import-stack", "none", "v.zarr", "--voxel-size", "1,1"), "'1,1' is no size"),
    ],
)
def test_wrong_values_of_options_are_found_before_anything_is_looked_at(
    tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    shown = run_command(*arguments, cwd=tmp_path)
    assert shown.returncode == 2
    assert says in shown.stderr


@pytest.mark.parametrize(
    ("wrong", "right"), [("coppy", "copy"), ("import_stack", "import-stack"), ("Info", "info")]
)
def test_a_mistyped_command_is_answered_with_the_one_that_is_meant(wrong: str, right: str) -> None:
    shown = run_command(wrong, "x")
    assert shown.returncode == 2
    assert f"Did you mean {right}" in shown.stderr


def test_w_and_the_version_mean_the_same_everywhere() -> None:
    for name in _COMMANDS:
        for option in command_of(name).params:
            if "-w" in option.opts:
                assert "--workers" in option.opts, name
            if "--version" in option.opts:
                assert option.opts[0] == "--ome-version", name
        with click.Context(command_of(name)) as context:
            assert "--version" not in command_of(name).get_help(context), name


# --- demo -----------------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no /proc here")
def test_a_demo_where_nothing_can_be_made() -> None:
    shown = run_command("demo", "/proc/x.zarr")
    assert shown.returncode == 1
    assert shown.stderr.startswith("Error: /proc/")
    assert shown.stderr.count("\n") == 1


def test_a_demo_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    shown = run_command("demo", tmp_path / "file/demo.zarr")
    assert shown.returncode == 1
    assert shown.stderr.startswith("Error: ")
    assert shown.stderr.count("\n") == 1


@pytest.mark.quick(1)
def test_demo_and_library_have_one_default_version(tmp_path: Path) -> None:
    from platestore import stacks

    assert run_command("demo", "d.zarr", cwd=tmp_path).returncode == 0
    assert ps.open_ome_zarr(tmp_path / "d.zarr").version == "0.4"
    planes = np.zeros((4, 32, 32), "uint8")
    size = {"voxel_size": (1, 1, 1)}
    assert stacks.import_stack(planes, tmp_path / "a.zarr", **size).version == "0.4"
    assert stacks.import_stack(planes, tmp_path / "b.zarr", shards="ZYX", **size).version == "0.5"
    assert stacks.import_stack(planes, tmp_path / "c.zarr", shards="none", **size).version == "0.4"
    with ps.open_ome_zarr(tmp_path / "e.zarr", layout="fov", mode="w-", channel_names=["a"]) as position:
        assert position.version == "0.4"


# --- Ctrl-C ---------------------------------------------------------------------------------------

STOP = """
import os, signal, sys
from platestore.cli import main
target, *sys.argv[1:] = sys.argv[1:]
module, _, name = target.rpartition(":")
import importlib
home = importlib.import_module(module)
real = getattr(home, name)
def stopped(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGINT)
    import time; time.sleep(5)
    return real(*args, **kwargs)
setattr(home, name, stopped)
main()
"""


@pytest.mark.quick(1)
@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
@pytest.mark.parametrize(
    ("target", "arguments"),
    [
        ("platestore.demo:demo_image", ("demo", "new.zarr")),
        ("platestore.demo:check_demo", ("demo", "new.zarr")),
        ("platestore.processing:compute_pyramids", ("pyramid", "plate.zarr")),
        ("platestore.pyramid.build:reduce_block", ("pyramid", "plate.zarr", "--levels", "2")),
        ("platestore.checking.check:check", ("check", "plate.zarr")),
        ("platestore.storage.local:find_root", ("info", "plate.zarr")),
        ("platestore.tree.opening:read_group", ("info", "plate.zarr")),
        ("platestore.tree.opening:read_group", ("ls", "plate.zarr")),
        ("platestore.tree.opening:read_group", ("plan", "plate.zarr")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value.rpartition(":")[2],
)
def test_an_interruption_ends_with_130_and_blocks_nothing(
    tmp_path: Path, target: str, arguments: tuple[str, ...]
) -> None:
    import importlib

    module, _, name = target.rpartition(":")
    if not hasattr(importlib.import_module(module), name):
        pytest.skip(f"there is no {target}")
    with ps.open_ome_zarr(tmp_path / "plate.zarr", layout="hcs", mode="w-", channel_names=["a"]) as plate:
        plate.create_position("A", "1", "0").create_image("0", np.ones((1, 1, 1, 600, 600), "uint8"))
    stopped = subprocess.run(
        [sys.executable, "-c", STOP, target, *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert stopped.returncode == 130, stopped.stderr
    assert "Traceback" not in stopped.stderr
    if target.endswith("check_demo"):
        assert (tmp_path / "new.zarr").exists()  # complete, and interrupted while it was read
        return
    assert sorted(os.listdir(tmp_path)) == ["plate.zarr"]
    again = run_command(*arguments, cwd=tmp_path)
    assert again.returncode == 0, again.stderr


@pytest.mark.quick(1)
@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_a_signal_from_outside(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "platestore", "demo", "new.zarr"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not os.listdir(tmp_path) and process.poll() is None:
        time.sleep(0.005)  # until it has begun to write
    process.send_signal(signal.SIGINT)
    _, text = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip("it was done before the signal came")
    assert process.returncode == 130
    assert "Traceback" not in text
    assert run_command("demo", "other.zarr", cwd=tmp_path).returncode == 0
    assert set(os.listdir(tmp_path)) <= {"new.zarr", "other.zarr"}


# --- progress -------------------------------------------------------------------------------------

BAR = """
from platestore.progress import shown_to_people
with shown_to_people("importing") as show:
    if show is not None:
        for i in range(1, 9):
            show(i * 10**9, 8 * 10**9)
"""


@pytest.mark.skipif(os.name == "nt", reason="terminals of Unix")
@pytest.mark.parametrize("columns", [20, 40, 60, 80, 132])
def test_a_bar_is_one_line_whatever_the_width(columns: int) -> None:
    import fcntl

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-c", BAR], stderr=theirs, stdin=theirs, env={**environment, "TERM": "xterm"}
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:
        pass  # the end of a terminal
    os.close(ours)
    assert process.wait() == 0
    text = shown.decode()
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in re.split(r"[\r\n]+", text)]
    assert max(map(len, lines)) <= columns
    assert text.count("\n") == 1
    assert "100%" in text


def test_there_is_no_bar_where_nobody_looks() -> None:
    run = subprocess.run([sys.executable, "-c", BAR], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
