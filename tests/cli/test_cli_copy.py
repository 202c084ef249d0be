"""``platestore copy``: its options, what it prints, its exit codes, and what is left where it is stopped."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_helpers import invoke_command, run_command

import platestore as ps
from copying.copy_cases import NAMES, chunk_files, flip, make_source, stop_copy
from nodes.store_helpers import snapshot
from platestore.copying import api
from platestore.publish.workplace import WorkPlace

OPTIONS = {
    "--positions": "-p",
    "--wells": None,
    "--acquisition": "-a",
    "--channels": "-c",
    "--time": "-t",
    "--z": "-z",
    "--crop": None,
    "--levels": None,
    "--no-labels": None,
    "--only-ome": None,
    "--ome-version": None,
    "--chunks": None,
    "--shards": None,
    "--shards-ratio": None,
    "--checksum": None,
    "--compressor": None,
    "--pyramid": None,
    "--map": None,
    "--channels-differ": None,
    "--axes-case": None,
    "--overwrite": None,
    "--resume": None,
    "--verify": None,
    "--dry-run": "-n",
    "--max-memory": None,
    "--workers": "-w",
    "--lock-timeout": None,
    "--durability": None,
    "--json": None,
    "--help": "-h",
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sources that no test changes."""
    directory = tmp_path_factory.mktemp("sources")
    make_source(directory / "src.zarr")
    make_source(directory / "more.zarr", names=("C/1/0",), seed=1)
    make_source(directory / "old.zarr", "0.4", levels=2)
    return directory


@pytest.fixture
def src(sources: Path) -> Path:
    return sources / "src.zarr"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "to").mkdir()
    return tmp_path / "to"


def invoke(*arguments: object):
    """The command in this process."""
    return invoke_command("copy", *arguments)


def run(*arguments: object, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    """The command as a process."""
    return run_command("copy", *arguments, **kwargs)


def reported(*arguments: object) -> dict[str, Any]:
    """The report of a command that succeeds."""
    result = invoke(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(here: Path, *arguments: object, says: str = "", code: int = 1) -> str:
    """The message of a command that fails and writes nothing."""
    before = snapshot(here)
    result = invoke(*arguments)
    text = result.stderr if result.exception is None or isinstance(result.exception, SystemExit) else ""
    text += str(result.exception or "")
    assert result.exit_code == code, (result.exit_code, text)
    assert says in text
    assert snapshot(here) == before
    assert result.stdout == ""
    return text


def document(path: Path) -> dict[str, Any]:
    """The document of an array."""
    return json.loads((path / "zarr.json").read_text())


# --- what it says ---------------------------------------------------------------------------------


def test_help_names_every_option_and_the_exit_codes():
    shown = run("--help")
    assert shown.returncode == 0
    assert "SRC... DST" in shown.stdout
    for long, short in OPTIONS.items():
        assert re.search(rf"{re.escape(f'{short}, ' if short else '')}{long}\b", shown.stdout), long
    listed = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", shown.stdout))
    assert listed == set(OPTIONS), "an option is not tested here"
    for code in ("0 done", "1 failed", "2 wrong options", "3 the copy differs", "130 interrupted"):
        assert code in " ".join(shown.stdout.split())


def test_the_list_of_commands_has_it():
    assert "copy" in run_command("--help").stdout


def test_a_summary_of_one_line(src, here):
    shown = run(src, here / "out.zarr")
    assert shown.returncode == 0, shown.stderr
    assert shown.stderr == ""
    (line,) = shown.stdout.splitlines()
    assert line.startswith(f"{here / 'out.zarr'}: 3 positions, arrays: 3 copied as files; ")
    files = sum(p.is_file() for p in (here / "out.zarr").rglob("*"))
    assert re.search(rf"; {files} files, \d+(\.\d)? (B|KiB|MiB) written in \d+\.\d s \(.*/s\)$", line), line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "3 copied as files"),
        (("--chunks", "1,1,1,8,8"), "3 encoded anew"),
        (("--pyramid", "2"), "3 copied as files, 3 levels made anew"),
        (("--levels", "none"), "3 left empty"),
        (("--wells", "A/1"), "2 positions, arrays: 2 copied as files"),
        (("--positions", "B/2/0"), "1 position, arrays: 1 copied as files"),
        (("--verify",), "; verified"),
    ],
)
def test_the_summary_says_what_was_done(src, here, options, words):
    result = invoke(src, here / "out.zarr", *options)
    assert result.exit_code == 0, result.output
    assert words in result.stdout
    assert result.stdout.count("\n") == 1


def test_the_summary_says_that_it_was_resumed(src, here):
    stop_copy(src, here / "out.zarr")
    result = invoke(src, here / "out.zarr", "--resume", "--verify")
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("; resumed; verified\n")


def test_a_copy_that_was_finished_by_resume_is_told_as_such(src, here, monkeypatch):
    """Killed after it got its name: all that is left to do is to tidy up."""
    monkeypatch.setattr(WorkPlace, "remove", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        ps.copy(src, here / "out.zarr")
    monkeypatch.undo()
    assert (here / "out.zarr").exists()
    result = invoke(src, here / "out.zarr", "--resume")
    assert result.exit_code == 0, result.output
    assert "resumed" in result.stdout
    assert result.stdout.count("\n") == 1
    assert [p.name for p in here.iterdir()] == ["out.zarr"]


def _interrupt(*args: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.quick(1)
def test_json_is_one_document_on_stdout(src, here):
    shown = run(src, here / "out.zarr", "--json", "--verify")
    assert shown.returncode == 0, shown.stderr
    report = json.loads(shown.stdout)
    files = [p for p in (here / "out.zarr").rglob("*") if p.is_file()]
    assert report.pop("seconds") >= 0
    assert report == {
        "sources": [str(src)],
        "destination": str(here / "out.zarr"),
        "version": "0.5",
        "positions": 3,
        "files": len(files),
        "bytes": sum(p.stat().st_size for p in files),
        "memory": 0,
        "notes": [],
        "unclaimed": 0,
        "arrays": {"files": 3, "pixels": 0, "levels": 0, "empty": 0},
        "dry_run": False,
        "resumed": False,
        "verified": True,
    }


@pytest.mark.parametrize(
    "options",
    [(), ("--chunks", "1,1,1,8,8"), ("--version", "0.4"), ("--pyramid", "2"), ("--crop", "1:20,1:20")],
)
@pytest.mark.parametrize("name", ["out.zarr", "out.ozx"])
def test_json_counts_the_files_that_are_there(src, here, options, name):
    if name == "out.ozx" and "0.4" in options:
        options = ("--channels", "GFP")
    report = reported(src, here / name, *options)
    if name == "out.ozx":
        import zipfile

        with zipfile.ZipFile(here / name) as archive:
            sizes = [info.file_size for info in archive.infolist()]
    else:
        sizes = [p.stat().st_size for p in (here / name).rglob("*") if p.is_file()]
    assert (report["files"], report["bytes"]) == (len(sizes), sum(sizes))


@pytest.mark.slow
def test_json_keeps_names_that_are_not_ascii(src, here):
    target = here / "Kopie µ.zarr"
    env = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    shown = run(src, target, "--json", env=env, encoding="utf-8")
    assert "µ" in shown.stdout
    assert json.loads(shown.stdout)["destination"] == str(target)


def test_notes_and_warnings_go_to_standard_error(src, here, tmp_path):
    source = make_source(tmp_path / "s.zarr")
    ps.open_ome_zarr(source / "A/1/0", layout="fov", mode="r")
    stray = source / "B/2/9"
    stray.mkdir()
    for file in (source / "B/2/0").glob("zarr.json"):
        (stray / file.name).write_bytes(file.read_bytes())
    result = invoke(source, here / "out.zarr", "--channels", "GFP")
    assert result.exit_code == 0, result.output
    assert f"Note: {stray}: is not listed" in result.stderr
    assert result.stdout.count("\n") == 1
    result = invoke(source, here / "two.zarr", "--channels", "GFP", "--json")
    assert [note for note in json.loads(result.stdout)["notes"] if str(stray) in note]
    elsewhere = make_source(tmp_path / "row.zarr", others=False)
    (elsewhere / "B").rename(tmp_path / "B")
    (elsewhere / "B").symlink_to(tmp_path / "B", target_is_directory=True)
    result = invoke(elsewhere, here / "three.zarr", "--channels", "GFP")
    assert result.exit_code == 0, result.output
    assert f"Warning: {elsewhere}/B: is a link out of the store" in result.stderr
    assert result.stdout.count("\n") == 1


def test_no_bar_where_nobody_looks(src, here):
    assert run(src, here / "out.zarr").stderr == ""


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no terminals here")
def test_a_terminal_shows_a_bar_with_throughput(src, here):
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "platestore", "copy", str(src), str(here / "out.zarr"), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=slave) as process:
        os.close(slave)
        assert process.stdout is not None
        out = process.stdout.read()
    shown = os.read(master, 2**16).decode()
    os.close(master)
    assert process.returncode == 0
    assert json.loads(out)["files"]
    assert "copying" in shown
    assert "/s" in shown


# --- the plan -------------------------------------------------------------------------------------


def test_a_dry_run_prints_the_plan_and_writes_nothing(src, here):
    before = snapshot(here.parent)
    result = invoke(src, here / "out.zarr", "--dry-run", "--chunks", "1,1,1,8,8")
    assert result.exit_code == 0, result.output
    assert snapshot(here.parent) == before
    lines = result.stdout.splitlines()
    assert lines[0] == f"from    {src}"
    assert lines[1] == f"to      {here / 'out.zarr'} (OME-NGFF 0.5)"
    assert re.fullmatch(r"memory  \d+(\.\d)? [KM]iB at least", lines[2])
    arrays = [line.split(":")[0].strip() for line in lines[3:-1]]
    assert arrays == [f"{name}/0" for name in NAMES]
    assert "pixels (chunks 1x1x1x8x8, blosc-lz4" in lines[3]
    assert "36 files, " in lines[3]
    assert "would be written" in lines[-1]


def test_a_dry_run_says_why_files_are_not_copied_as_they_are(sources, here):
    result = invoke(sources / "old.zarr", here / "out.zarr", "-n", "--version", "0.5", "--crop", "1:20,0:20")
    assert "cut inside chunks along y" in result.stdout
    assert "levels (made by mean from" in result.stdout
    result = invoke(sources / "old.zarr", here / "out.zarr", "-n", "--version", "0.5")
    assert "files (same chunks, described for zarr v3)" in result.stdout
    result = invoke(sources / "old.zarr", here / "out.zarr", "-n")
    assert "files (same encoding)" in result.stdout
    assert list(here.iterdir()) == []


def test_a_dry_run_as_json_lists_all_arrays(src, here):
    report = reported(src, here / "out.ozx", "-n", "--chunks", "1,1,1,8,8")
    assert report["dry_run"]
    assert [array["path"] for array in report["plan"]] == [f"{name}/0" for name in NAMES]
    for array in report["plan"]:
        assert set(array) == {"path", "how", "why", "files", "bytes"}
        assert array["how"] == "pixels"
        assert array["files"] == 36
        assert array["bytes"] == 2 * 2 * 24 * 20 * 2
    assert report["memory"] > 0
    assert report["files"] > 3 * 36
    assert report["bytes"] > 0
    assert list(here.iterdir()) == []


def test_a_dry_run_of_a_plain_copy_is_exact(src, here):
    planned = reported(src, here / "out.zarr", "-n")
    done = reported(src, here / "out.zarr")
    for key in ("files", "bytes", "arrays", "positions", "version", "notes"):
        assert planned[key] == done[key], key
    assert sum(array["files"] for array in planned["plan"]) == len(chunk_files(here / "out.zarr"))


def test_a_dry_run_of_many_arrays_is_short(tmp_path, here):
    names = [f"{row}/{column}/0" for row in "ABCDE" for column in range(8)]
    source = make_source(tmp_path / "s.zarr", names=names, shape=(1, 1, 1, 8, 8), others=False)
    result = invoke(source, here / "out.zarr", "-n")
    assert len(result.stdout.splitlines()) < 20
    assert "40 arrays" in result.stdout
    assert len(reported(source, here / "out.zarr", "-n")["plan"]) == 40


def test_a_dry_run_fails_where_the_copy_would(src, here, monkeypatch):
    (here / "out.zarr").mkdir()
    (here / "out.zarr" / "thesis.tex").write_text("important")
    refused(here, src, here / "out.zarr", "-n", says="the destination exists")
    refused(here, src, here / "new.zarr", "-n", "--positions", "Z/*", says="nothing matches")
    monkeypatch.setattr(api, "free_bytes", lambda directory: 10)
    monkeypatch.setattr(api, "can_share", lambda source, directory: False)
    refused(here, src, here / "new.zarr", "-n", says="10 B are free")


# --- options --------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["1,1,1,8,4", "1x1x1x8x4", "1X1X1X8X4", "1, 1, 1, 8, 4"])
def test_chunks(src, here, text):
    assert invoke(src, here / "out.zarr", "--chunks", text).exit_code == 0
    grid = document(here / "out.zarr/A/1/0/0")["chunk_grid"]["configuration"]
    assert grid["chunk_shape"] == [1, 1, 1, 8, 4]


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("1,1,2,16,24", [1, 1, 2, 16, 24]),
        ("1x1x2x16x24", [1, 1, 2, 16, 24]),
        ("ZYX", [1, 1, 2, 24, 24]),
        ("zyx", [1, 1, 2, 24, 24]),
        ("1MB", [1, 2, 2, 24, 24]),
        ("600B", [1, 1, 2, 8, 16]),
        ("1000000", [1, 2, 2, 24, 24]),
    ],
)
def test_shards(src, here, text, shape):
    result = invoke(src, here / "out.zarr", "--shards", text, "--chunks", "1,1,1,8,8")
    assert result.exit_code == 0, result.output
    found = document(here / "out.zarr/A/1/0/0")
    assert found["codecs"][0]["name"] == "sharding_indexed"
    assert found["codecs"][0]["configuration"]["chunk_shape"] == [1, 1, 1, 8, 8]
    shards = found["chunk_grid"]["configuration"]["chunk_shape"]
    if text == "600B":
        assert np.prod(shards) * 2 <= 600
    else:
        assert shards == shape


def test_shards_ratio_checksum_compressor_and_none(src, here):
    options = ("--chunks", "1,1,1,8,8", "--shards-ratio", "1,1,2,3,3", "--checksum", "--compressor", "zstd:5")
    assert invoke(src, here / "out.zarr", *options).exit_code == 0
    found = document(here / "out.zarr/A/1/0/0")
    assert found["chunk_grid"]["configuration"]["chunk_shape"] == [1, 1, 2, 24, 24]
    names = [codec["name"] for codec in found["codecs"][0]["configuration"]["codecs"]]
    assert names == ["bytes", "zstd", "crc32c"]
    assert invoke(here / "out.zarr", here / "flat.zarr", "--shards", "none").exit_code == 0
    assert "sharding" not in (here / "flat.zarr/A/1/0/0/zarr.json").read_text()


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (("-c", "GFP,DAPI"), ["GFP", "DAPI"]),
        (("-c", "GFP", "-c", "DAPI"), ["GFP", "DAPI"]),
        (("--channels", " GFP , DAPI "), ["GFP", "DAPI"]),
        (("--channels", "GFP"), ["GFP"]),
        (("--channels", "DAPI,"), ["DAPI"]),
    ],
)
def test_channels(src, here, options, names):
    assert invoke(src, here / "out.zarr", *options).exit_code == 0
    copied, original = ps.open_ome_zarr(here / "out.zarr/A/1/0"), ps.open_ome_zarr(src / "A/1/0")
    assert copied.channel_names == names
    indices = [["DAPI", "GFP"].index(name) for name in names]
    np.testing.assert_array_equal(copied["0"].numpy(), original["0"].numpy()[:, indices])


def test_channels_whose_names_have_commas(tmp_path, here):
    plate = ps.open_ome_zarr(
        tmp_path / "s.zarr", layout="hcs", mode="w-", channel_names=["GFP, 488 nm", "DAPI"], version="0.5"
    )
    plate.create_position("A", "1", "0").create_zeros("0", (1, 2, 1, 8, 8), "uint16")
    result = invoke(tmp_path / "s.zarr", here / "out.zarr", "--channels", '"GFP, 488 nm"')
    assert result.exit_code == 0, result.output
    assert ps.open_ome_zarr(here / "out.zarr/A/1/0").channel_names == ["GFP, 488 nm"]


def test_selections(src, here):
    options = (
        "-p",
        "A/1/*",
        "-p",
        "B/2/0",
        "-z",
        "1",
        "--crop",
        "2:10,4:12",
        "-t",
        ":",
        "--wells",
        "A/*",
        "--wells",
        "B/2",
    )
    report = reported(src, here / "out.zarr", *options)
    assert report["positions"] == 3
    copied, original = ps.open_ome_zarr(here / "out.zarr"), ps.open_ome_zarr(src)
    for name in NAMES:
        expected = original[name]["0"].numpy()[:, :, 1:2, 2:10, 4:12]
        np.testing.assert_array_equal(copied[name]["0"].numpy(), expected)
    assert invoke(src, here / "two.zarr", "--crop", "z=0:1,x=3:5").exit_code == 0
    assert ps.open_ome_zarr(here / "two.zarr/A/1/0")["0"].shape == (1, 2, 1, 24, 2)
    assert reported(src, here / "three.zarr", "-a", "0")["positions"] == 3


def test_levels_labels_and_attributes_of_others(sources, here):
    source = sources / "old.zarr"
    assert invoke(source, here / "one.zarr", "--levels", "0", "--only-ome", "--no-labels").exit_code == 0
    assert list(ps.open_ome_zarr(here / "one.zarr/A/1/0")) == ["0"]
    assert "lab" not in ps.open_ome_zarr(here / "one.zarr/A/1/0").zattrs
    assert not (here / "one.zarr/A/1/0/tables").exists()
    assert invoke(source, here / "two.zarr", "--pyramid", "3", "--version", "0.5").exit_code == 0
    position = ps.open_ome_zarr(here / "two.zarr/A/1/0")
    assert list(position) == ["0", "1", "2"]
    assert (position.version, position.zattrs["lab"]) == ("0.5", {"operator": "Ada"})
    assert invoke(source, here / "three.zarr", "--pyramid", "auto").exit_code == 0
    assert list(ps.open_ome_zarr(here / "three.zarr/A/1/0")) == ["0"]


def test_several_sources_are_merged(sources, here):
    report = reported(sources / "src.zarr", sources / "more.zarr", here / "out.zarr")
    assert report["sources"] == [str(sources / "src.zarr"), str(sources / "more.zarr")]
    assert report["positions"] == 4
    assert [name for name, _ in ps.open_ome_zarr(here / "out.zarr").positions()] == [*NAMES, "C/1/0"]


def test_sources_that_clash_are_refused_and_mapped(src, here, tmp_path):
    text = refused(here, src, src, here / "out.zarr", says="3 positions clash")
    assert "--map" in text
    rows = [("source", "from", "to"), (2, "A1", "D7"), (2, "B/2", "D/8")]
    with (tmp_path / "map.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    assert reported(src, src, here / "out.zarr", "--map", tmp_path / "map.csv")["positions"] == 6
    plate = ps.open_ome_zarr(here / "out.zarr")
    assert [name for name, _ in plate.positions()] == [*NAMES, "D/7/0", "D/7/1", "D/8/0"]
    np.testing.assert_array_equal(plate["D/8/0/0"].numpy(), plate["B/2/0/0"].numpy())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "from and to"),
        ("old,new\nA/1,B/1\n", "from and to"),
        ("from,to\nA/1\n", "line 2"),
        ("from,to\nA/1,B/1/0\n", "not both"),
        ("from,to\nA/9,B/1\n", "A/9"),
        ("from,to\nA/1,B-/1\n", "name of a row"),
        ("from,to\nA/1,B/1\nA/1,B/3\n", "two new places"),
        ("source,from,to\n7,A/1,B/1\n", "source 7"),
        ("source,from,to\none,A/1,B/1\n", "line 2"),
        ("from,to\nA/1,B/2\n", "clash"),
        (b"\xff\xfe\x00", "map"),
        (None, "map.csv"),
    ],
)
def test_maps_that_cannot_be_used(src, here, tmp_path, content, says):
    path = tmp_path / "map.csv"
    if content is not None:
        path.write_bytes(content) if isinstance(content, bytes) else path.write_text(content)
    refused(here, src, here / "out.zarr", "--map", path, says=says)


@pytest.mark.parametrize(
    "content", ["from,to\nA/1,D/7\n", "\ufeffFrom, To \r\n A01 , D/7 \r\n", "To,From\nD/7,A/1"]
)
def test_maps_as_spreadsheets_write_them(here, tmp_path, content):
    source = make_source(tmp_path / "s.zarr", names=("A/1/0",) if "A01" not in content else ("A/01/0",))
    (tmp_path / "map.csv").write_text(content, encoding="utf-8", newline="")
    result = invoke(source, here / "out.zarr", "--map", tmp_path / "map.csv")
    assert result.exit_code == 0, str(result.exception)
    assert [name for name, _ in ps.open_ome_zarr(here / "out.zarr").positions()] == ["D/7/0"]


@pytest.mark.parametrize("target", ["D/4/0", "B/3/0", "A/1/9"])
def test_a_position_is_added_to_a_plate(src, here, target):
    plate = make_source(here / "plate.zarr", seed=4)
    report = reported(src / "A/1/1", plate / target)
    assert report["positions"] == 1
    found = ps.open_ome_zarr(plate)
    assert target in [name for name, _ in found.positions()]
    np.testing.assert_array_equal(found[target]["0"].numpy(), ps.open_ome_zarr(src / "A/1/1")["0"].numpy())


def test_overwrite_and_resume(src, sources, here):
    target = here / "out.zarr"
    assert invoke(sources / "more.zarr", target, "--only-ome").exit_code == 0
    refused(here, src, target, says="--overwrite")
    assert invoke(src, target, "--overwrite").exit_code == 0
    assert snapshot(target) == snapshot(src)
    stop_copy(src, here / "two.zarr")
    refused(here, src, here / "two.zarr", says="--resume")
    assert reported(src, here / "two.zarr", "--resume")["resumed"]


def test_relative_paths_and_slashes_at_the_end(src, here, monkeypatch):
    monkeypatch.chdir(here)
    source = os.path.relpath(src)
    assert reported(f"{source}/", "out.zarr/")["destination"] == str(here / "out.zarr")
    assert reported(f"{source}/A/1/", "well.zarr")["positions"] == 2


# --- exit codes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        (),
        ("only-one",),
        ("a", "b", "--nonsense"),
        ("a", "b", "--levels", "1"),
        ("a", "b", "--version", "0.3"),
        ("a", "b", "--chunks", "big"),
        ("a", "b", "--chunks", "1,,2"),
        ("a", "b", "--shards", "1,a"),
        ("a", "b", "--pyramid", "many"),
        ("a", "b", "--workers", "two"),
        ("a", "b", "--durability", "none"),
        ("a", "b", "--acquisition", "first"),
        ("a", "b", "--shards-ratio", "ZYX"),
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_code_2(here, wrong, monkeypatch):
    monkeypatch.chdir(here)
    result = invoke(*wrong)
    assert result.exit_code == 2
    assert "Usage:" in result.stderr
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--time", "x"), "time"),
        (("--crop", "1"), "crop"),
        (("--max-memory", "much"), "--max-memory"),
        (("--workers", "0"), "workers"),
        (("--pyramid", "0"), "levels"),
        (("--overwrite", "--resume"), "pass one of them"),
        (("--pyramid", "2", "--levels", "0"), "--levels chooses"),
        (("--compressor", "best"), "best"),
        (("--version", "0.4", "--shards", "ZYX"), "shard"),
    ],
)
def test_an_option_that_means_nothing_is_a_message(src, here, options, says):
    before = snapshot(here)
    result = invoke(src, here / "out.zarr", *options)
    assert result.exit_code in (1, 2)
    assert says in result.stderr + str(result.exception)
    assert snapshot(here) == before


def test_a_failure_is_code_1_and_a_message_without_traceback(here, tmp_path):
    shown = run(tmp_path / "nothing.zarr", here / "out.zarr")
    assert shown.returncode == 1
    assert shown.stderr.startswith("Error: ")
    assert str(tmp_path / "nothing.zarr") in shown.stderr
    assert shown.stderr.count("\n") == 1
    assert shown.stdout == ""
    source = make_source(tmp_path / "s.zarr")
    chunk = chunk_files(source)[0]
    chunk.write_bytes(b"")
    shown = run(source, here / "out.zarr", "--json")
    assert shown.returncode == 1
    assert str(chunk) in shown.stderr
    assert "Traceback" not in shown.stderr
    assert shown.stdout == ""
    assert not (here / "out.zarr").exists()


@pytest.mark.parametrize("name", ["out.zarr", "out.ozx"])
@pytest.mark.parametrize("options", [(), ("--chunks", "1,1,1,8,8")])
def test_a_copy_that_differs_is_code_3(src, here, name, options, monkeypatch):
    real = api.Work.verify

    def meddle(work: Any) -> None:
        data = here / f"{name}.copying" / "data"
        if data.is_dir():
            chunk = chunk_files(data / "A/1/0/0")[0]
            flip(chunk, chunk.stat().st_size // 2)
        else:
            keys = [key for key in work.target.keys("A/1/0/0") if "/c/" in key]
            entry = work.target._writer.entries[keys[0]]
            flip(data, entry.start + entry.size // 2)
        real(work)

    monkeypatch.setattr(api.Work, "verify", meddle)
    result = invoke(src, here / name, "--verify", *options)
    assert result.exit_code == 3, (result.output, result.exception)
    assert result.stderr.startswith("Error: ")
    assert "A/1/0/0" in result.stderr
    assert "--overwrite" in result.stderr or "overwrite=True" in result.stderr
    assert result.stdout == ""
    assert not (here / name).exists()
    monkeypatch.undo()
    result = invoke(src, here / name, "--resume", *options)
    assert result.exit_code == 3
    assert not (here / name).exists()
    assert invoke(src, here / name, "--overwrite", "--verify", *options).exit_code == 0


_SLOWLY = """
import sys, threading
import platestore.copying.run as run
from platestore.cli import main
real = run.Work.tell
def tell(self, *args, **kwargs):
    real(self, *args, **kwargs)
    print("under way", flush=True)
    # Threads wait until the others are told to stop.
    (threading.Event() if threading.current_thread() is threading.main_thread() else self.stop).wait(60)
run.Work.tell = tell
sys.argv = ["platestore", "copy", *sys.argv[1:]]
main()
"""


@pytest.mark.quick(1)
@pytest.mark.skipif(os.name == "nt", reason="signals are others there")
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("out.zarr", ()),
        ("out.zarr", ("--chunks", "1,1,1,8,8")),
        ("out.zarr", ("--pyramid", "2", "--workers", "1")),
        ("out.ozx", ()),
    ],
)
def test_an_interruption_is_code_130_and_says_how_to_go_on(src, here, name, options):
    command = [sys.executable, "-c", _SLOWLY, str(src), str(here / name), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "under way\n"
        time.sleep(0.1)  # so that the main thread waits
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "Traceback" not in error
    assert "--resume" in error
    assert "Interrupted" in error
    assert not out.replace("under way\n", "")
    assert [p.name for p in here.iterdir()] == [f"{name}.copying"]
    assert invoke(src, here / name, "--resume", *options).exit_code == 0
    assert invoke(src, here / f"whole-{name}", *options).exit_code == 0
    assert snapshot(here / name) == snapshot(here / f"whole-{name}")


def test_a_second_command_says_that_the_first_is_under_way(src, here, tmp_path):
    command = [sys.executable, "-c", _SLOWLY, str(src), str(here / "out.zarr")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "under way\n"
        for option in ("--resume", "--overwrite"):
            text = refused(here, src, here / "out.zarr", option, says="another process is copying")
            assert str(here / "out.zarr") in text
        process.kill()
        process.communicate()
    assert invoke(src, here / "out.zarr", "--resume").exit_code == 0
    assert snapshot(here / "out.zarr") == snapshot(src)


def test_documents_that_a_pattern_of_the_shell_caught_are_passed_over(sources, here):
    src = Path(shutil.copytree(sources / "src.zarr", here / "src.zarr"))
    pattern = sorted(str(path) for path in src.glob("*/*/*"))
    assert any(path.endswith("zarr.json") for path in pattern)
    result = invoke(*pattern, here / "out.zarr")
    assert result.exit_code == 0, result.stderr
    assert len(list(ps.open_ome_zarr(here / "out.zarr").positions())) == 3
    for command in ("info", "validate", "check"):
        assert invoke_command(command, *pattern).exit_code == 0
    assert invoke_command("pyramid", *pattern, "-l", "2").exit_code == 0
    alone = invoke_command("info", src / "zarr.json")
    assert alone.exit_code == 1, "what is named alone is meant"
    assert invoke_command("validate", src / "zarr.json").exit_code == 0


def test_notes_of_what_no_array_claims_are_printed(sources, here):
    src = Path(shutil.copytree(sources / "src.zarr", here / "src.zarr"))
    array = src / "A/1/0/0"
    (array / "0.0.0.0.0").write_bytes(b"1234")
    result = invoke(src, here / "out.zarr", "--verify")
    assert result.exit_code == 0
    assert "Note: A/1/0/0: 1 file named like 0.0.0.0.0" in result.stderr
    assert "1 file named like chunks, but of no array" in result.stdout
    report = json.loads(invoke(src, here / "b.zarr", "--json").stdout)
    assert report["unclaimed"] == 1
    assert "0.0.0.0.0" in report["notes"][0]
