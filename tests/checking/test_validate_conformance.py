"""The official cases through the command, as the official runner calls it: as files, and as directories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import platestore as ps
from cli.cli_helpers import invoke_command, run_command
from conftest import SHARED

pytestmark = pytest.mark.skipif(SHARED is None, reason="the official cases are not beside this checkout")
COUNTS = {"0.4": 92, "0.5": 86}


def suites(version: str) -> list[tuple[str, bool, dict[str, Any]]]:
    """Name, strictness and content of every case."""
    assert SHARED is not None
    cases = []
    for file in sorted((SHARED / "conformance" / version).glob("*_suite.json")):
        for test in json.loads(file.read_text(encoding="utf-8"))["tests"]:
            cases.append((f"{file.stem}/{test['formerly']}", file.name.startswith("strict_"), test))
    return cases


def verdict(path: Path, *, strict: bool) -> bool:
    """What the command says: exit code 0 and exactly one JSON document."""
    options = ["--json", "--exit-zero", *(["--strict"] if strict else [])]
    done = invoke_command("validate", *options, path)
    assert done.exit_code == 0
    answer = json.loads(done.stdout)
    assert set(answer) == {"valid", "message", "paths", "findings"}
    assert answer["valid"] == (not [f for f in answer["findings"] if f["level"] == "error"])
    assert all({"code", "level", "message", "file"} <= set(finding) for finding in answer["findings"])
    return bool(answer["valid"])


def write_group(path: Path, version: str, attributes: Any) -> Path:
    """A group with attributes, and nothing else."""
    path.mkdir(parents=True)
    if version == "0.4":
        (path / ".zgroup").write_text('{"zarr_format": 2}')
        (path / ".zattrs").write_text(json.dumps(attributes))
    else:
        content = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        (path / "zarr.json").write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("mode", ["attributes", "zarr"])
def test_all_official_cases_get_the_right_verdict(version, mode, tmp_path):
    wrong, cases = [], suites(version)
    for number, (name, strict, test) in enumerate(cases):
        if mode == "zarr":
            path = write_group(tmp_path / f"{number}.ome.zarr", version, test["data"])
        else:
            path = tmp_path / f"case {number}.json"
            path.write_text(json.dumps(test["data"]))
        if verdict(path, strict=strict) != test["valid"]:
            wrong.append(name)
    assert wrong == []
    assert len(cases) == COUNTS[version]


@pytest.mark.slow
def test_a_few_by_the_real_command(version, tmp_path):
    for number, (_, strict, test) in enumerate(suites(version)[:: COUNTS[version] // 3]):
        path = write_group(tmp_path / f"{number}.ome.zarr", version, test["data"])
        done = run_command("validate", "--json", "--exit-zero", *(["--strict"] if strict else []), path)
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["valid"] is test["valid"]
        assert run_command("validate", *(["--strict"] if strict else []), path).returncode == (
            0 if test["valid"] else 1
        )


def test_every_invalid_case_says_where_and_by_what_rule(version, tmp_path):
    path = tmp_path / "case.json"
    for name, strict, test in suites(version):
        path.write_text(json.dumps(test["data"]))
        for finding in ps.validate(path, strict=strict).errors:
            assert finding.message, name
            assert finding.rule or finding.expected or finding.hint, (name, finding)
            assert finding.file == str(path)


def test_cases_of_0_6_are_recognised_as_not_yet_supported(shared):
    files = sorted((shared / "conformance/0.6rc0/attributes").rglob("*.json"))
    assert len(files) > 100
    told = 0
    for file in files:
        report = ps.validate(file)
        assert not report
        told += "version-not-yet" in {finding.code for finding in report.findings}
    # Two are no JSON; some lack a version, or state one that there is not.
    assert told > 0.9 * len(files)
    report = ps.validate(next((shared / "conformance/0.6rc0/zarr").rglob("*.ome.zarr")))
    assert [finding.code for finding in report.errors] == ["version-not-yet"]


def test_real_data_are_valid(shared):
    report = ps.validate(shared / "realdata/cardiomyocytes-B03-mip.zarr")
    assert report
    assert {finding.level for finding in report.findings} <= {"advice"}
