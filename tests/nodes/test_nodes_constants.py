"""NaN and Infinity, which other programs write into attributes: nothing is hidden, and they are named."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

import platestore as ps
from nodes.store_helpers import attributes, refused, snapshot, stored_plate

STATISTICS = {"mean": float("nan"), "range": [0, float("-inf")]}


@pytest.fixture
def path(tmp_path, version):
    return stored_plate(tmp_path / "plate.zarr", version)


def plant(place, version, values=None, *, ome=None):
    """Write attributes as Python does, with what JSON has not."""
    document = place / ("zarr.json" if version == "0.5" else ".zattrs")
    content = json.loads(document.read_text())
    inner = content if version == "0.4" else content["attributes"]
    inner.update(values or {})
    if ome is not None:
        ome(inner if version == "0.4" else inner["ome"])
    document.write_text(json.dumps(content))
    return document


@pytest.mark.parametrize("place", ["", "A/1", "A/1/0"])
def test_attributes_of_others_hide_nothing_and_stay_until_the_document_changes(path, version, place):
    plant(path / place, version, {"statistics": STATISTICS})
    before = snapshot(path)
    with pytest.warns(ps.StoreWarning, match=r"statistics\.mean: is nan.*statistics\.range\[1\]: is -inf"):
        node = ps.open_ome_zarr(path / place)
    assert np.isnan(node.zattrs["statistics"]["mean"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ps.StoreWarning)
        plate = ps.open_ome_zarr(path)
        assert [name for name, _ in plate.positions()] == ["A/1/0", "A/2/0", "B/1/0"]
        assert len(list(plate.wells())) == 3
        assert int(plate["A/1/0/0"][0, 0, 0, 0, 0]) == 1
    assert snapshot(path) == before


@pytest.mark.parametrize("place", ["", "A/1", "A/1/0"])
def test_a_change_writes_null_and_says_for_what(path, version, place):
    plant(path / place, version, {"statistics": STATISTICS, "text": "NaN"})
    with pytest.warns(ps.StoreWarning, match="is nan"):
        node = ps.open_ome_zarr(path / place, mode="r+")
    with pytest.warns(ps.StoreWarning, match=r"statistics\.mean, .*range\[1\]: .*written as null"):
        node.zattrs["mine"] = 1
    found = attributes(path / place)
    assert found["statistics"] == {"mean": None, "range": [0, None]}
    assert (found["mine"], found["text"]) == (1, "NaN")
    with refused(ps.ArgumentError, ValueError, tree=path, names="nan"):
        node.zattrs["mine"] = float("nan")


def test_in_the_part_of_the_specification_the_field_is_named_and_the_others_are_shown(path, version):
    def spoil(ome):
        ome["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"][3] = float("nan")

    plant(path / "A/2/0", version, ome=spoil)
    where = r"multiscales[0].datasets[0].coordinateTransformations[0].scale[3]"
    with refused(ps.InvalidMetadataError, ValueError, tree=path, names=where):
        ps.open_ome_zarr(path / "A/2/0")
    plate = ps.open_ome_zarr(path)
    with pytest.warns(ps.UnreadableWarning, match="scale"):
        assert [name for name, _ in plate.positions()] == ["A/1/0", "B/1/0"]


def test_rendering_settings_hide_no_pixels_and_are_completed(path, version):
    plant(path / "A/1/0", version, ome=lambda o: o["omero"]["channels"][0]["window"].update(end=float("inf")))
    with pytest.warns(ps.StoreWarning, match=r"omero\.channels\[0\]\.window\.end"):
        position = ps.open_ome_zarr(path / "A/1/0", mode="r+")
    assert int(position["0"][0, 0, 0, 0, 0]) == 1
    position.rename_channel("GFP", "YFP")
    assert position.metadata.omero.channels[0].window["end"] == 65535


def test_attributes_of_arrays(path, version):
    plant(path / "A/1/0/0", version, {"statistics": STATISTICS})
    position = ps.open_ome_zarr(path / "A/1/0", mode="r+")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        image = position["0"]
        assert int(image[0, 0, 0, 0, 0]) == 1
        assert np.isnan(image.attrs["statistics"]["mean"])
        image.attrs["mine"] = 1
    assert "statistics.mean" in " ".join(str(item.message) for item in caught)
    assert ps.open_ome_zarr(path / "A/1/0")["0"].attrs["statistics"] == {"mean": None, "range": [0, None]}


@pytest.mark.parametrize("target", ["0.4", "0.5"])
def test_copies_are_as_the_source_or_hold_null_and_say_so(path, version, target, tmp_path):
    plant(path / "A/1/0", version, {"statistics": STATISTICS})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ps.copy(path, tmp_path / "copy.zarr", version=target, verify=True)
    found = attributes(tmp_path / "copy.zarr/A/1/0")["statistics"]
    if target == version:
        assert str(found) == str(STATISTICS), "its files are taken as they are"
    else:
        assert found == {"mean": None, "range": [0, None]}
        assert "written as null" in " ".join(str(item.message) for item in caught)


def test_check_and_validate_name_the_place(path, version):
    plant(path / "A/1/0", version, {"statistics": {"mean": float("nan")}})
    (found,) = ps.validate(path).findings
    assert (found.code, found.location.removeprefix("attributes.")) == ("json-constant", "statistics.mean")
    (found,) = ps.check(path).findings
    assert found.code == "json-constant"
    assert "statistics.mean" in found.message
