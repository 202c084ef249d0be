"""The command as users meet it: real processes, real exit codes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

import platestore as ps
from cli.cli_helpers import run_command as run
from conftest import make_plate
from platestore.summary import NodeInfo, describe, plate_map, positions, render


def test_version_and_help():
    assert run("--version").stdout.strip().endswith(ps.__version__)
    shown = run("--help")
    assert shown.returncode == 0
    for name in ("info", "ls", "demo", "completion"):
        assert name in shown.stdout
        helped = run(name, "--help")
        assert helped.returncode == 0
        assert helped.stdout.startswith(f"Usage: platestore {name}")


def test_wrong_command_and_option_are_usage_errors():
    assert run("inof").returncode == 2
    assert run("info", "--jsno", "x.zarr").returncode == 2
    assert run("info").returncode == 2


@pytest.mark.quick(1)
def test_demo_builds_reads_back_and_refuses_to_overwrite(tmp_path, version):
    first = run("demo", "demo.zarr", "--ome-version", version, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "12 images were written, read back and compared" in first.stdout
    assert f"OME-Zarr {version}" in first.stdout
    again = run("demo", "demo.zarr", cwd=tmp_path)
    assert again.returncode == 1
    assert "there already" in again.stderr
    assert "Traceback" not in again.stderr
    assert len(run("ls", "demo.zarr", cwd=tmp_path).stdout.split()) == 12


def test_info_says_what_people_ask(tmp_path, version):
    with make_plate(tmp_path / "p.zarr", version) as plate:
        position = plate["A/1/0"]
        position.set_scale("0", "x", 0.325)
        position.set_contrast_limits("GFP", {"start": 10, "end": 900, "min": 0, "max": 4095})
    shown = run("info", str(tmp_path / "p.zarr"))
    assert shown.returncode == 0, shown.stderr
    for text in (
        "plate",
        f"OME-Zarr {version}",
        "2 rows × 2 columns",
        "3 wells",
        "≈3 positions",
        "≈1",
        "micrometer",
        "#00FF00",
        "10 to 900",
        "uint16",
        "blosc-lz4 bitshuffle level 5",
        "chunks 1×1×2×8×8",
        "1×2×2×8×8",
        "x 0.325",
        "open_ome_zarr",
    ):
        assert text in shown.stdout, text
    assert "on disk" not in shown.stdout


def test_info_verbose_counts_and_measures(tmp_path, version):
    make_plate(tmp_path / "p.zarr", version)
    info = describe(tmp_path / "p.zarr", verbose=True)
    assert info.plate is not None
    assert (info.plate.positions, info.plate.positions_exact) == (3, True)
    files = [f for f in (tmp_path / "p.zarr").rglob("*") if f.is_file()]
    assert info.size is not None
    assert info.size.files == len(files)
    assert info.size.bytes == sum(f.stat().st_size for f in files)
    assert info.size.decoded_bytes == 3 * 2 * 2 * 8 * 8 * 2
    assert "compressed" in render(info)


def test_info_json_follows_its_schema(tmp_path, version):
    make_plate(tmp_path / "p.zarr", version)
    paths = [str(tmp_path / "p.zarr" / inner) for inner in ("", "A", "A/1", "A/1/0")]
    shown = run("info", "--json", *paths)
    assert shown.returncode == 0, shown.stderr
    reports = [NodeInfo.model_validate(item) for item in json.loads(shown.stdout)]
    assert [r.kind for r in reports] == ["plate", "row", "well", "position"]
    assert [r.position for r in reports] == ["A/1/0", "1/0", "0", ""]
    assert {r.images[0].levels[0].dtype for r in reports} == {"uint16"}
    assert reports[1].positions == ["1/0", "2/0"]


def test_info_describes_the_real_field(shared):
    info = describe(shared / "realdata" / "cardiomyocytes-B03-mip.zarr")
    assert [c.name for c in info.channels] == ["DAPI", "nanog", "Lamin B1"]
    assert [level.shape for level in info.images[0].levels] == [
        [3, 1, 1080, 1280],
        [3, 1, 540, 640],
        [3, 1, 270, 320],
    ]
    assert info.images[0].levels[2].scale == [1.0, 1.0, 2.6, 2.6]


def test_info_of_several_paths_reports_the_bad_one_and_shows_the_others(tmp_path):
    make_plate(tmp_path / "p.zarr")
    (tmp_path / "empty").mkdir()
    shown = run("info", "nothing.zarr", str(tmp_path / "p.zarr"), str(tmp_path / "empty"), cwd=tmp_path)
    assert shown.returncode == 1
    assert "nothing.zarr" in shown.stderr
    assert "empty" in shown.stderr
    assert "3 wells" in shown.stdout
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"zarr_format": 2', '{"plate": NaN}'])
def test_info_of_broken_json_is_a_message(tmp_path, content):
    make_plate(tmp_path / "p.zarr")
    (tmp_path / "p.zarr" / ".zattrs").write_text(content)
    shown = run("info", str(tmp_path / "p.zarr"))
    assert shown.returncode == 1
    assert ".zattrs" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_members_that_are_gone_are_reported_with_exit_code_1(tmp_path, version):
    make_plate(tmp_path / "p.zarr", version)
    shutil.rmtree(tmp_path / "p.zarr" / "A" / "2")
    listed = run("ls", str(tmp_path / "p.zarr"))
    assert listed.returncode == 1
    assert listed.stdout.split() == ["A/1/0", "B/1/0"]
    assert "A/2" in listed.stderr
    shown = run("info", "-v", str(tmp_path / "p.zarr"))
    assert shown.returncode == 1
    assert "unreadable" in shown.stdout


@pytest.mark.quick(1)
def test_ls_prints_paths_for_job_arrays(tmp_path, version):
    make_plate(tmp_path / "p.zarr", version)
    path = str(tmp_path / "p.zarr")
    assert run("ls", path).stdout.split() == ["A/1/0", "A/2/0", "B/1/0"]
    assert json.loads(run("ls", "--json", path).stdout) == ["A/1/0", "A/2/0", "B/1/0"]
    for full in run("ls", "--full", path).stdout.split():
        assert isinstance(ps.open_ome_zarr(full), ps.Position)
    assert list(positions(f"{path}/A")) == ["1/0", "2/0"]
    assert list(positions(f"{path}/A/1/0")) == ["."]
    assert run("ls", str(tmp_path / "no.zarr")).returncode == 1


def test_info_opens_one_well_and_one_position_only(tmp_path, monkeypatch, version):
    make_plate(tmp_path / "p.zarr", version)
    from platestore.storage.local import LocalStorage

    keys: list[str] = []
    original = LocalStorage.read
    monkeypatch.setattr(LocalStorage, "read", lambda self, key: (keys.append(key), original(self, key))[1])
    describe(tmp_path / "p.zarr")
    assert not [key for key in keys if key.startswith(("A/2", "B"))]


def test_info_needs_neither_zarr_nor_numpy(tmp_path, version):
    make_plate(tmp_path / "p.zarr", version)
    code = (
        "import sys, platestore.summary as s\n"
        f"print(s.render(s.describe({str(tmp_path / 'p.zarr')!r}, verbose=True)))\n"
        "print([m for m in ('zarr', 'numpy', 'dask', 'tensorstore') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_import_loads_nothing_heavy():
    heavy = ("zarr", "numpy", "dask", "tensorstore", "pydantic", "click")
    code = f"import sys, platestore\nprint([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there():
    for name in ps.__all__:
        assert getattr(ps, name) is not None
    assert set(ps.__all__) <= set(dir(ps))
    with pytest.raises(AttributeError):
        ps.no_such_name  # noqa: B018


def test_every_error_is_also_the_builtin_that_users_catch():
    builtins = (OSError, ValueError, KeyError, NotImplementedError, RuntimeError)
    errors = [
        value
        for value in vars(__import__("platestore.errors", fromlist=["x"])).values()
        if isinstance(value, type)
        and issubclass(value, ps.PlatestoreError)
        and value is not ps.PlatestoreError
    ]
    assert len(errors) > 10
    for error in errors:
        assert issubclass(error, builtins), error
        shown = str(error("it is wrong", path="/data/x.zarr", hint="mend it"))
        assert shown == "/data/x.zarr: it is wrong (mend it)"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(shell):
    done = run("completion", shell)
    assert done.returncode == 0, done.stderr
    assert "_PLATESTORE_COMPLETE" in done.stdout


@pytest.mark.parametrize("wells", [6, 12, 24, 48, 96, 384, 1536])
def test_map_of_every_format(tmp_path, wells):
    with ps.open_ome_zarr(
        tmp_path / "p.zarr", layout="hcs", mode="w-", channel_names=["a"], plate_format=wells
    ) as plate:
        plate.create_positions([("A", "1", "0"), ("B", "3", "0"), ("B", "3", "1")])
    info = describe(tmp_path / "p.zarr", verbose=True)
    assert info.plate is not None
    lines = plate_map(info.plate)
    assert len(lines) == 1 + len(info.plate.rows)
    assert lines[1].split()[:2] == ["A", "1"]
    assert lines[2].split()[:4] == ["B", "·", "·", "2"]
    assert len({len(line) for line in lines[1:]}) == 1


def test_info_of_empty_plate_and_position(tmp_path, version):
    with ps.open_ome_zarr(
        tmp_path / "p.zarr", layout="hcs", mode="w-", channel_names=["DAPI"], version=version
    ) as plate:
        assert "0 wells" in run("info", str(tmp_path / "p.zarr")).stdout
        plate.create_position("A", "1", "0")
    shown = run("info", str(tmp_path / "p.zarr"), str(tmp_path / "p.zarr" / "A" / "1" / "0"))
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count("no image yet") == 2
    assert "DAPI" in shown.stdout


def test_snippet_runs(tmp_path, version):
    make_plate(tmp_path / "p.zarr", version)
    for inner in ("", "A", "A/1", "A/1/0"):
        text = render(describe(tmp_path / "p.zarr" / inner))
        code = text[text.index("    from platestore") :]
        scope: dict[str, object] = {}
        exec("\n".join(line[4:] for line in code.splitlines()), scope)
        assert np.asarray(scope["image"]).shape == (1, 2, 2, 8, 8)
