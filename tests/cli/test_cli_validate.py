"""``platestore validate``: what it prints, and its exit codes."""

from __future__ import annotations

import json
import shutil

import pytest
from cli_helpers import invoke_command, run_command

from conftest import make_plate


@pytest.fixture
def plate(tmp_path, version):
    make_plate(tmp_path / "s.zarr", version)
    return tmp_path / "s.zarr"


def test_a_valid_store(plate):
    done = invoke_command("validate", plate)
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1].startswith(f"{plate}: valid (")


def test_what_is_wrong_is_told_with_its_place_rule_and_hint(plate):
    shutil.rmtree(plate / "A/2")
    done = invoke_command("validate", plate)
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert any(line.startswith("  error    ") and line.endswith("[member-missing]") for line in lines)
    assert any(line.strip().startswith("rule: OME-NGFF") for line in lines)
    assert any(line.strip().startswith("hint: ") for line in lines)
    assert lines[-1].startswith(f"{plate}: not valid (1 error")
    assert invoke_command("validate", "--exit-zero", plate).exit_code == 0


def test_what_is_the_same_in_many_files_is_told_once(plate):
    for path in ("A/1/0", "A/2/0", "B/1/0"):
        shutil.rmtree(plate / path / "0")
        (plate / path / "notes").mkdir()
    done = invoke_command("validate", plate)
    assert done.stdout.count("[member-missing]") == 1
    assert "... and the same in 2 more places" in done.stdout
    report = json.loads(invoke_command("validate", "--json", plate).stdout)
    assert sum(finding["code"] == "member-missing" for finding in report["findings"]) == 3


def test_pedantic_and_strict(plate, tmp_path):
    for file in (plate / "B").iterdir():
        if file.is_file():
            file.unlink()
    assert invoke_command("validate", plate).exit_code == 0
    assert invoke_command("validate", "--pedantic", plate).exit_code == 1
    document = tmp_path / "a.json"
    document.write_text(json.dumps({"well": {"images": [{"path": "0"}]}}))
    assert invoke_command("validate", document).exit_code == 0
    assert invoke_command("validate", "--strict", document).exit_code == 1


@pytest.mark.parametrize("name", ["no.zarr", "no.ozx", "no.json", ""])
def test_one_json_document_also_for_what_is_not_there(tmp_path, name):
    done = invoke_command("validate", "--json", tmp_path / name if name else "")
    report = json.loads(done.stdout)
    assert (done.exit_code, report["valid"], len(report["findings"])) == (1, False, 1)


def test_several_paths(plate, tmp_path):
    done = invoke_command("validate", "--json", plate, tmp_path / "no.zarr")
    report = json.loads(done.stdout)
    assert report["paths"] == [str(plate), str(tmp_path / "no.zarr")]
    assert done.exit_code == 1
    assert "2 paths: not valid (1 error" in invoke_command("validate", plate, tmp_path / "no.zarr").stdout


def test_wrong_usage():
    done = run_command("validate")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Missing argument" in done.stderr
    assert run_command("validate", "--nothing", "x").returncode == 2


def test_names_cannot_act_on_the_terminal(tmp_path):
    document = tmp_path / "a.json"
    document.write_text(json.dumps({"multiscales": [{"axes": "\x1b[31m\ud800", "\x1b]0;x": 1}]}))
    done = invoke_command("validate", document, tmp_path / "\x1b[2Jx")
    assert done.exit_code == 1
    assert "\x1b" not in done.stdout
