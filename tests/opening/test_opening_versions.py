"""Versions that are neither read nor written are named, and nothing is guessed."""

from __future__ import annotations

import json

import pytest

import platestore as ps
from nodes.store_helpers import edit_ome, new_position, pixels, refused, snapshot, stored_plate


def _image(path, version, stated):
    new_position(path, version)["0"] = pixels(1, 2, 1, 4, 4)

    def restate(ome):
        if version == "0.5":
            ome["version"] = stated
        else:
            ome["multiscales"][0]["version"] = stated

    edit_ome(path, restate)


@pytest.mark.parametrize("stated", ["0.1", "0.2", "0.3", "0.6", "0.6.dev1", "1.0", "0.5", "", "latest"])
@pytest.mark.parametrize("mode", ["r", "r+", "a"])
def test_other_versions_on_zarr_v2_are_refused(tmp_path, stated, mode):
    _image(tmp_path / "a.zarr", "0.4", stated)
    with refused(ps.UnsupportedVersionError, ValueError, tree=tmp_path, names=tmp_path / "a.zarr") as caught:
        ps.open_ome_zarr(tmp_path / "a.zarr", mode=mode)
    assert stated in str(caught.value)


@pytest.mark.parametrize("stated", ["0.1", "0.3", "0.6", "0.6.dev1", "1.0", "0.4", ""])
@pytest.mark.parametrize("mode", ["r", "r+", "a"])
def test_other_versions_on_zarr_v3_are_refused(tmp_path, stated, mode):
    _image(tmp_path / "a.zarr", "0.5", stated)
    with refused(ps.UnsupportedVersionError, ValueError, tree=tmp_path, names=tmp_path / "a.zarr") as caught:
        ps.open_ome_zarr(tmp_path / "a.zarr", mode=mode)
    assert stated in str(caught.value)


@pytest.mark.parametrize("stated", [0.4, 4, ["0.4"], {"major": 0}, True])
def test_a_version_that_is_no_string_is_refused(tmp_path, version, stated):
    _image(tmp_path / "a.zarr", version, stated)
    with refused(ps.InvalidMetadataError, ValueError, tree=tmp_path, names=tmp_path / "a.zarr"):
        ps.open_ome_zarr(tmp_path / "a.zarr")


@pytest.mark.parametrize("stated", ["0.3", "0.6"])
def test_a_plate_of_another_version_is_refused(tmp_path, version, stated):
    path = tmp_path / "a.zarr"
    stored_plate(path, version)
    edit_ome(path, lambda ome: (ome if version == "0.5" else ome["plate"]).update(version=stated))
    with refused(ps.UnsupportedVersionError, ValueError, tree=path):
        ps.open_ome_zarr(path)


def test_metadata_of_0_4_without_a_version_is_read(tmp_path):
    path = tmp_path / "a.zarr"
    new_position(path, "0.4")["0"] = pixels(1, 2, 1, 4, 4)
    edit_ome(path, lambda ome: ome["multiscales"][0].pop("version"))
    assert ps.open_ome_zarr(path).version == "0.4"


def test_the_flat_layout_of_0_3_without_axes_is_not_mistaken_for_0_4(tmp_path):
    path = tmp_path / "a.zarr"
    new_position(path, "0.4")["0"] = pixels(1, 2, 1, 4, 4)
    content = {
        "multiscales": [{"version": "0.3", "axes": ["t", "c", "z", "y", "x"], "datasets": [{"path": "0"}]}]
    }
    (path / ".zattrs").write_text(json.dumps(content))
    with refused(ps.UnsupportedVersionError, ValueError, tree=path):
        ps.open_ome_zarr(path)


@pytest.mark.parametrize("mode", ["w", "w-", "a"])
@pytest.mark.parametrize("asked", ["0.1", "0.3", "0.6", "0.6rc0", "", None, 0.5, "v0.4"])
def test_other_versions_are_not_written(tmp_path, mode, asked):
    with refused(ps.UnsupportedVersionError, ValueError, tree=tmp_path, names=False) as caught:
        ps.open_ome_zarr(tmp_path / "a.zarr", layout="fov", mode=mode, channel_names=["a"], version=asked)
    assert "0.4" in str(caught.value)
    assert "0.5" in str(caught.value)


def test_a_store_of_another_version_is_replaced_by_w_alone(tmp_path):
    path = tmp_path / "a.zarr"
    _image(path, "0.5", "0.6")
    before = snapshot(path)
    with pytest.raises(ValueError, match=r"0\.6"):
        ps.open_ome_zarr(path, layout="fov", mode="a", channel_names=["a"])
    assert snapshot(path) == before
    assert ps.open_ome_zarr(path, layout="fov", mode="w", channel_names=["a"], version="0.4").version == "0.4"


def test_the_official_cases_of_0_6_are_refused(shared):
    refusals = 0
    for case in (shared / "conformance" / "0.6rc0" / "zarr").rglob("*.ome.zarr"):
        try:
            stated = json.loads((case / "zarr.json").read_text())["attributes"]["ome"].get("version", "")
        except (FileNotFoundError, ValueError, KeyError):
            continue  # a case of a broken document
        if isinstance(stated, str) and stated.startswith("0.6"):
            with pytest.raises(ps.UnsupportedVersionError):
                ps.open_ome_zarr(case)
            refusals += 1
    assert refusals > 50
