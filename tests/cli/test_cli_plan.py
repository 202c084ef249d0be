"""``platestore plan``: what it prints, and what it says to wrong input."""

from __future__ import annotations

import functools
import json

import pytest

from cli.cli_helpers import invoke_command, run_command
from conftest import make_plate
from platestore.arrays.planning import plan_for

BIG = ("--shape", "1,2,64,2048,2048", "--dtype", "uint16")


run = functools.partial(run_command, "plan")
invoke = functools.partial(invoke_command, "plan")


def planned(*arguments: object) -> dict[str, object]:
    result = invoke(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_command_prints_the_plan():
    shown = run(*BIG, "--shards", "1GB")
    assert shown.returncode == 0, shown.stderr
    expected = plan_for(shape=(1, 2, 64, 2048, 2048), dtype="uint16", zarr_format=3, shards="1GB")
    assert shown.stdout.rstrip("\n") == expected.render()
    assert shown.stderr == ""


def test_json_is_one_object():
    shown = run(*BIG, "--json")
    assert shown.returncode == 0, shown.stderr
    assert (
        json.loads(shown.stdout)
        == plan_for(shape=(1, 2, 64, 2048, 2048), dtype="uint16", zarr_format=2).to_json()
    )


@pytest.mark.parametrize(
    ("options", "wishes"),
    [
        (("--chunks", "1,1,1,2048,2048"), {"chunks": (1, 1, 1, 2048, 2048)}),
        (("--shards", "ZYX"), {"shards": "ZYX"}),
        (("--shards", "512 MiB"), {"shards": "512 MiB"}),
        (("--shards", "100000000"), {"shards": 100_000_000}),
        (("--shards", "1,1,64,2048,2048"), {"shards": (1, 1, 64, 2048, 2048)}),
        (
            ("--chunks", "1,1,1,512,512", "--shards-ratio", "1,1,8,4,4"),
            {"chunks": (1, 1, 1, 512, 512), "shards_ratio": (1, 1, 8, 4, 4)},
        ),
        (("--compressor", "zstd:9", "--checksum"), {"compressor": "zstd:9", "checksum": True}),
        (("--ome-version", "0.4"), {"zarr_format": 2}),
        (("--ome-version", "0.5"), {"zarr_format": 3}),
        (("--axes", "abzyx"), {"axis_names": ["a", "b", "z", "y", "x"]}),
        (("--axes", "z, y, x,t,c"), {"axis_names": ["z", "y", "x", "t", "c"]}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_options_are_the_arguments_of_creation(options, wishes):
    only_0_5 = {"shards", "shards_ratio", "checksum"} & wishes.keys()
    wishes = {"zarr_format": 3 if only_0_5 else 2, **wishes}
    expected = plan_for(shape=(1, 2, 64, 2048, 2048), dtype="uint16", **wishes).to_json()
    assert planned(*BIG, *options) == expected


@pytest.mark.parametrize("inner", ["", "A", "A/1", "A/1/0", "A/1/0/0"])
def test_a_path_is_an_array_or_leads_to_the_first_one(tmp_path, version, inner):
    make_plate(tmp_path / "p.zarr", version).close()
    found = planned(tmp_path / "p.zarr" / inner)
    assert found["shape"] == [1, 2, 2, 8, 8]
    assert found["chunks"] == [1, 1, 2, 8, 8]
    assert found["zarr_format"] == (2 if version == "0.4" else 3)
    assert found["axes"] == list("tczyx")
    assert found["compressor"] == "blosc-lz4:5"


def test_a_relative_path_to_an_array_is_found(tmp_path, monkeypatch):
    make_plate(tmp_path / "p.zarr").close()
    monkeypatch.chdir(tmp_path / "p.zarr/A/1/0")
    assert planned("0")["shape"] == planned(".")["shape"] == [1, 2, 2, 8, 8]


def test_a_path_with_options_plans_a_change(tmp_path, version):
    make_plate(tmp_path / "p.zarr", version).close()
    found = planned(tmp_path / "p.zarr", "--ome-version", "0.5", "--shards", "ZYX", "--chunks", "1,1,1,4,4")
    assert (found["shape"], found["chunks"], found["shards"]) == (
        [1, 2, 2, 8, 8],
        [1, 1, 1, 4, 4],
        [1, 1, 2, 8, 8],
    )
    assert found["zarr_format"] == 3


def test_nothing_is_written(tmp_path, version):
    make_plate(tmp_path / "p.zarr", version).close()
    before = {f: f.stat().st_mtime_ns for f in (tmp_path / "p.zarr").rglob("*")}
    planned(tmp_path / "p.zarr", "--compressor", "zstd")
    assert {f: f.stat().st_mtime_ns for f in (tmp_path / "p.zarr").rglob("*")} == before


def test_real_stores_can_be_planned(shared):
    found = 0
    for path in sorted((shared / "realdata").iterdir()):
        if path.suffix == ".zarr":
            assert planned(path)["files"] > 0
            found += 1
    if not found:
        pytest.skip("no store in the folder of real data")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "a PATH, or a --shape"),
        (("--shape", "4,4"), "--dtype"),
        (("--dtype", "u1"), "--shape"),
        (("x.zarr", "--shape", "4,4"), "its own shape"),
        (("x.zarr", "--dtype", "u1", "--axes", "YX"), "its own dtype and axes"),
        (("--shape", "4,a", "--dtype", "u1"), "list of integers"),
        (("--shape", "", "--dtype", "u1"), "list of integers"),
        ((*BIG, "--shards", "1,x"), "list of integers"),
        ((*BIG, "--ome-version", "0.6"), "0.6"),
        ((*BIG, "--colour"), "--colour"),
        (("a.zarr", "b.zarr"), "b.zarr"),
    ],
    ids=str,
)
def test_wrong_usage_is_exit_code_2(arguments, words):
    shown = invoke(*arguments)
    assert shown.exit_code == 2
    assert words in shown.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*BIG, "--shards", "QQ"), "choice of the axes"),
        ((*BIG, "--shards", "1GB", "--shards-ratio", "1,1,1,1,1"), "both"),
        ((*BIG, "--shards", "1GB", "--ome-version", "0.4"), "has no shards"),
        ((*BIG, "--checksum", "--ome-version", "0.4"), "has no checksums"),
        ((*BIG, "--chunks", "1,1"), "has 2 values"),
        ((*BIG, "--chunks", "0,1,1,1,1"), "1 or more"),
        ((*BIG, "--compressor", "best"), "blosc-lz4, blosc-zstd, zstd, gzip, none"),
        ((*BIG, "--axes", "YX"), "2 axes"),
        (("--shape", "4,4", "--dtype", "complex64"), "complex64"),
        (("/no/such/store.zarr",), "no such store"),
    ],
    ids=str,
)
def test_wrong_wishes_are_messages_and_exit_code_1(arguments, words):
    shown = invoke(*arguments)
    assert shown.exit_code == 1
    assert words in shown.stderr


def test_a_message_is_no_traceback(tmp_path):
    for arguments in ((*BIG, "--compressor", "best"), (tmp_path / "none.zarr",), (tmp_path,)):
        shown = run(*arguments)
        assert shown.returncode == 1
        assert shown.stdout == ""
        assert shown.stderr.startswith("Error: ")
        assert "Traceback" not in shown.stderr


def test_a_plate_without_positions_and_a_position_without_images_say_so(tmp_path):
    import platestore as ps

    for layout in ("hcs", "fov"):
        ps.open_ome_zarr(tmp_path / f"{layout}.zarr", layout=layout, mode="w-", channel_names=["A"]).close()
        shown = invoke(tmp_path / f"{layout}.zarr")
        assert shown.exit_code == 1
        assert "there is no" in shown.stderr


def test_a_damaged_array_is_named(tmp_path, version):
    make_plate(tmp_path / "p.zarr", version).close()
    document = tmp_path / "p.zarr/A/1/0/0" / (".zarray" if version == "0.4" else "zarr.json")
    document.write_text(document.read_text().replace("shape", "sharp"))
    shown = invoke(tmp_path / "p.zarr")
    assert shown.exit_code == 1
    assert "A/1/0/0" in shown.stderr


def test_help_names_every_option():
    shown = invoke("--help")
    assert shown.exit_code == 0
    for option in ("--shape", "--dtype", "--axes", "--chunks", "--shards", "--shards-ratio", "--compressor"):
        assert option in shown.output
