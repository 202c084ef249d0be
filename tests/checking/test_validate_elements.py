"""Documents of arrays that no reader can use: element types, fill values, codecs, unknown keys."""

from __future__ import annotations

import json

import numpy as np
import pytest

import platestore as ps

FINE_3 = [
    {"dimension_names": ["t", "c", "z", "y", "x"]},
    {"storage_transformers": []},
    {"note": {"must_understand": False, "x": 1}},
    {"fill_value": 65535},
]
WRONG_3 = [
    {"fill_value": -1},
    {"fill_value": 65536},
    {"fill_value": 1.5},
    {"fill_value": "abc"},
    {"fill_value": None},
    {"fill_value": True},
    {"data_type": "uint24"},
    {"data_type": "float8"},
    {"note": {"x": 1}},
    {"note": 1},
    {"codecs": ["gzip"]},
    {"codecs": [{"name": "bytes"}, {"name": "bytes"}]},
    {"codecs": [{"name": "transpose", "configuration": {"order": [0]}}, {"name": "bytes"}]},
    {"codecs": [{"name": "transpose", "configuration": {"order": [0, 1, 2, 3, 3]}}, {"name": "bytes"}]},
]
FINE_2 = [{"fill_value": None}, {"fill_value": 0.0}, {"fill_value": False}, {"fill_value": 7}]
WRONG_2 = [
    {"fill_value": -1},
    {"fill_value": "abc"},
    {"fill_value": [0, 0]},
    {"dtype": "<u3"},
    {"dtype": "<i16"},
]


def validated(path, version, change):
    with ps.open_ome_zarr(path, layout="fov", mode="w-", channel_names=["a"], version=version) as position:
        position.create_image("0", np.ones((1, 1, 1, 8, 8), "uint16"))
    document = path / "0" / (".zarray" if version == "0.4" else "zarr.json")
    document.write_text(json.dumps({**json.loads(document.read_text()), **change}))
    return ps.validate(path)


@pytest.mark.parametrize(
    ("version", "change"), [*(("0.5", c) for c in FINE_3), *(("0.4", c) for c in FINE_2)], ids=str
)
def test_what_readers_take_is_no_finding(tmp_path, version, change):
    report = validated(tmp_path / "p.zarr", version, change)
    assert report.valid, report.findings
    assert not report.of("warning")


@pytest.mark.parametrize(
    ("version", "change"), [*(("0.5", c) for c in WRONG_3), *(("0.4", c) for c in WRONG_2)], ids=str
)
def test_what_readers_refuse_is_an_error(tmp_path, version, change):
    report = validated(tmp_path / "p.zarr", version, change)
    assert {f.code for f in report.errors} <= {"array-document", "array-extension"}
    assert not report.valid
    assert all(f.file.endswith(("zarr.json", ".zarray")) for f in report.errors)


@pytest.mark.parametrize(
    "change", [{"storage_transformers": [{"name": "x"}]}, {"chunk_key_encoding": "weird"}]
)
def test_what_some_readers_may_know_is_a_warning(tmp_path, change):
    report = validated(tmp_path / "p.zarr", "0.5", change)
    assert "array-extension" in {f.code for f in report.of("warning")}


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "0x7fc00000", 0, -1.5])
def test_fill_values_of_floats(tmp_path, value):
    change = {"data_type": "float32", "fill_value": value}
    assert validated(tmp_path / "p.zarr", "0.5", change).valid
