"""Attributes: assignments persist and are checked, and what others wrote survives every operation."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr

import platestore as ps
from nodes.store_helpers import (
    attributes,
    edit_attributes,
    edit_ome,
    group_document,
    new_position,
    ome,
    pixels,
    refused,
    scale,
    snapshot,
    stored_plate,
)

LEVELS = ["", "A", "A/1", "A/1/0"]


@pytest.fixture
def path(tmp_path, version):
    return stored_plate(tmp_path / "plate.zarr", version)


def node(plate, level):
    return plate if level == "" else plate[level]


# --- zattrs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
def test_an_assignment_persists_at_once(path, level):
    opened = node(ps.open_ome_zarr(path, mode="r+"), level)
    opened.zattrs["lab"] = {"α": [1, 2.5, None, True], "deep": {"er": "x"}}
    assert attributes(path / level)["lab"] == {"α": [1, 2.5, None, True], "deep": {"er": "x"}}
    assert node(ps.open_ome_zarr(path), level).zattrs["lab"]["deep"] == {"er": "x"}
    assert zarr.open_group(path, path=level, mode="r").attrs["lab"]["α"] == [1, 2.5, None, True]
    del opened.zattrs["lab"]
    assert "lab" not in attributes(path / level)
    with pytest.raises(KeyError):
        opened.zattrs["lab"]


@pytest.mark.parametrize("level", LEVELS)
def test_zattrs_is_a_mapping(path, level):
    attrs = node(ps.open_ome_zarr(path, mode="r+"), level).zattrs
    attrs.update({"a": 1}, b=2)
    attrs.setdefault("c", 3)
    assert attrs.pop("b") == 2
    assert attrs.get("nothing") is None
    assert {"a", "c"} <= set(attrs)
    assert len(attrs) == len(dict(attrs)) == len(attributes(path / level))
    assert dict(attrs) == attributes(path / level)
    assert "'a': 1" in repr(attrs)


def test_values_read_are_copies(path):
    plate = ps.open_ome_zarr(path, mode="r+")
    plate.zattrs["list"] = [1]
    plate.zattrs["list"].append(2)
    plate.zattrs.get("list", []).append(3)
    assert plate.zattrs["list"] == attributes(path)["list"] == [1]
    mine = {"k": 1}
    plate.zattrs["mine"] = mine
    mine["k"] = 2
    assert plate.zattrs["mine"] == {"k": 1}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        {"deep": [float("-inf")]},
        b"bytes",
        {1, 2},
        np.float32(1),
        np.array([1]),
        object(),
        {1: "a number as key"},
        {"deep": {None: 1}},
        "\ud800",
    ],
)
def test_what_has_no_json_form_is_refused(path, level, value):
    opened = node(ps.open_ome_zarr(path, mode="r+"), level)
    with refused(ps.ArgumentError, ValueError, tree=path, names=path / level if level else path):
        opened.zattrs["bad"] = value
    opened.zattrs["good"] = 1
    assert "bad" not in attributes(path / level)


def test_a_value_that_holds_itself_is_refused(path):
    plate = ps.open_ome_zarr(path, mode="r+")
    loop: list[object] = []
    loop.append(loop)
    with refused(ps.ArgumentError, ValueError, tree=path):
        plate.zattrs["loop"] = loop


def _ome_key(version, part, value):
    return {part: value} if version == "0.4" else {"ome": {"version": "0.5", part: value}}


@pytest.mark.parametrize(
    ("level", "part", "value"),
    [
        ("", "plate", 3),
        ("", "plate", {"rows": []}),
        ("", "plate", None),
        ("A/1", "well", {"images": "0"}),
        ("A/1/0", "multiscales", []),
        ("A/1/0", "multiscales", [{"axes": [], "datasets": "x"}]),
    ],
)
def test_an_assignment_that_breaks_the_document_is_refused(path, version, level, part, value):
    opened = node(ps.open_ome_zarr(path, mode="r+"), level)
    with refused(ps.InvalidMetadataError, ValueError, tree=path, names=path / level if level else path):
        opened.zattrs.update(_ome_key(version, part, value))
    ps.open_ome_zarr(path / level)


def test_an_assignment_that_breaks_a_rule_is_refused(path):
    plate = ps.open_ome_zarr(path, mode="r+")
    meta = dict(plate.maybe_wrapped_ome_attrs["plate"])
    meta["wells"] = [{**meta["wells"][0], "rowIndex": 1}]
    with refused(ps.InvalidMetadataError, ValueError, tree=path):
        plate.maybe_wrapped_ome_attrs["plate"] = meta


def test_removing_the_specifications_key_is_refused(path, version):
    plate = ps.open_ome_zarr(path, mode="r+")
    with refused(ps.InvalidMetadataError, ValueError, tree=path):
        del plate.zattrs["plate" if version == "0.4" else "ome"]
    with refused(ps.InvalidMetadataError, ValueError, tree=path):
        plate.zattrs.clear()


def test_a_valid_assignment_of_the_specifications_part_is_taken_over(path):
    position = ps.open_ome_zarr(path / "A/1/0", mode="r+")
    omero = position.maybe_wrapped_ome_attrs["omero"]
    omero["channels"][1]["label"] = "YFP"
    position.maybe_wrapped_ome_attrs["omero"] = omero
    assert position.channel_names == ["DAPI", "YFP"]
    assert ome(path / "A/1/0")["omero"]["channels"][1]["label"] == "YFP"
    position.rename_channel("YFP", "GFP")
    assert ps.open_ome_zarr(path / "A/1/0").channel_names == ["DAPI", "GFP"]


def test_maybe_wrapped_ome_attrs_is_where_the_version_keeps_them(path, version):
    plate = ps.open_ome_zarr(path, mode="r+")
    assert plate.maybe_wrapped_ome_attrs["plate"]["wells"][0]["path"] == "A/1"
    expected = plate.zattrs["ome"] if version == "0.5" else plate.zattrs
    assert dict(plate.maybe_wrapped_ome_attrs) == dict(expected)
    plate.maybe_wrapped_ome_attrs["custom"] = 1
    assert ome(path)["custom"] == 1
    if version == "0.5":
        assert "custom" not in attributes(path)
        assert ome(path)["version"] == "0.5"


def test_two_handles_assign_different_keys(path):
    first, second = ps.open_ome_zarr(path, mode="r+"), ps.open_ome_zarr(path, mode="r+")
    first.zattrs["a"] = 1
    second.zattrs["b"] = 2
    first.zattrs["c"] = 3
    assert {k: attributes(path)[k] for k in "abc"} == {"a": 1, "b": 2, "c": 3}


# --- foreign attributes ---------------------------------------------------------------------------


def _mark(path, version):
    """Unknown keys wherever the specification has an object."""
    own = {"left by": "another program", "deep": {"α": [1, {"x": None}]}}
    for level in LEVELS:
        edit_attributes(path / level, other=own)

    def plate(part):
        part["plate"]["vendor"] = own
        part["plate"]["rows"][0]["vendor"] = own
        part["plate"]["columns"][0]["vendor"] = own
        part["plate"]["wells"][1]["vendor"] = own
        part["unknown part"] = own

    def well(part):
        part["well"]["vendor"] = own
        part["well"]["images"][0]["vendor"] = own
        part["unknown part"] = own

    def image(part):
        first = part["multiscales"][0]
        first["vendor"] = own
        first["axes"][3]["vendor"] = own
        first["axes"][3]["longName"] = "height"
        first["datasets"][0]["vendor"] = own
        part["omero"]["vendor"] = own
        part["omero"]["channels"][0]["vendor"] = own
        part["unknown part"] = own

    edit_ome(path, plate)
    edit_ome(path / "A/1", well)
    edit_ome(path / "A/1/0", image)
    array = path / "A/1/0/0"
    if version == "0.4":
        (array / ".zattrs").write_text(json.dumps({"other": own}))
    else:
        content = json.loads((array / "zarr.json").read_text())
        content["attributes"] = {"other": own}
        (array / "zarr.json").write_text(json.dumps(content))
    return own


def _check_marks(path, version, own):
    for level in LEVELS:
        assert attributes(path / level)["other"] == own, level
    plate = ome(path)
    assert plate["unknown part"] == own
    assert plate["plate"]["vendor"] == own
    assert plate["plate"]["rows"][0]["vendor"] == plate["plate"]["columns"][0]["vendor"] == own
    assert [w["vendor"] for w in plate["plate"]["wells"] if w["path"] == "A/2"] == [own]
    well = ome(path / "A/1")
    assert well["unknown part"] == well["well"]["vendor"] == own
    assert [i["vendor"] for i in well["well"]["images"] if i["path"] == "0"] == [own]
    image = ome(path / "A/1/0")
    first = image["multiscales"][0]
    assert image["unknown part"] == first["vendor"] == first["axes"][3]["vendor"] == own
    assert first["axes"][3]["longName"] == "height"
    assert [d["vendor"] for d in first["datasets"] if d["path"] == "0"] == [own]
    assert image["omero"]["vendor"] == image["omero"]["channels"][0]["vendor"] == own
    array = path / "A/1/0/0"
    document = json.loads((array / (".zattrs" if version == "0.4" else "zarr.json")).read_text())
    assert (document if version == "0.4" else document["attributes"])["other"] == own


OPERATIONS = {
    "create_well": lambda plate: plate.create_well("D", "4"),
    "create_position": lambda plate: plate.create_position("D", "4", "0"),
    "create_positions in both": lambda plate: plate.create_positions([("D", "4", "0"), ("A", "1", "1")]),
    "create_position with an acquisition": lambda plate: plate.create_position("A", "1", "1", acq_index=2),
    "rename another well": lambda plate: plate.rename_well("B/1", "D/4"),
    "rename within the row": lambda plate: plate.rename_well("B/1", "A/4"),
    "delete another well": lambda plate: plate.__delitem__("B/1"),
    "delete another position": lambda plate: (
        plate.create_position("A", "1", "9"),
        plate.__delitem__("A/1/9"),
    ),
    "plate.dump_meta": lambda plate: plate.dump_meta(field_count=True),
    "an edit of the plate": lambda plate: (plate.metadata.__setattr__("name", "new"), plate.dump_meta()),
    "an edit of the well": lambda plate: _edited(plate["A/1"]),
    "an edit of the image": lambda plate: _edited(plate["A/1/0"]),
    "zattrs": lambda plate: [node(plate, level).zattrs.update({"mine": 1}) for level in LEVELS],
    "create_image": lambda plate: plate["A/1/0"].create_image("raw", pixels(1, 2, 1, 4, 4)),
    "create a level": lambda plate: plate["A/1/0"].create_zeros(
        "1", (1, 2, 2, 4, 4), "uint16", transform=scale(1, 1, 1, 2, 2)
    ),
    "create and delete an image": lambda plate: (
        plate["A/1/0"].create_image("raw", pixels(1, 2, 1, 4, 4)),
        plate.__delitem__("A/1/0/raw"),
    ),
    "append_channel": lambda plate: plate["A/1/0"].append_channel("Cy5"),
    "append_channel without arrays": lambda plate: plate["A/1/0"].append_channel("Cy5", resize_arrays=False),
    "rename_channel": lambda plate: plate["A/1/0"].rename_channel("DAPI", "Hoechst"),
    "set_contrast_limits": lambda plate: plate["A/1/0"].set_contrast_limits(
        "DAPI", {"start": 0, "end": 1, "min": 0, "max": 2}
    ),
    "set_scale": lambda plate: plate["A/1/0"].set_scale("0", "x", 0.5),
    "set_scale of all": lambda plate: plate["A/1/0"].set_scale("*", "x", 0.5),
    "set_transform": lambda plate: plate["A/1/0"].set_transform("0", scale(1, 1, 1, 2, 2)),
    "update_channel": lambda plate: plate["A/1/0"].update_channel("GFP", "0", pixels(1, 2, 8, 8)),
    "resize": lambda plate: plate["A/1/0/0"].resize((3, 2, 2, 8, 8)),
    "array attributes": lambda plate: plate["A/1/0/0"].attrs.update({"mine": 1}),
    "overwriting another image": lambda plate: ps.open_ome_zarr(
        plate.__editor__().location.where, mode="r+", overwriting_creation=True
    )["A/2/0"].create_image("0", pixels(1, 2, 1, 4, 4)),
}


def _edited(opened):
    meta = opened.metadata
    if isinstance(meta, ps.ImagesMeta):
        meta.omero.channels[1].color = "ABCDEF"
    else:
        meta.by_hand = 1
    opened.dump_meta()


@pytest.mark.parametrize("what", OPERATIONS)
def test_what_others_wrote_survives_every_operation(path, version, what):
    own = _mark(path, version)
    _check_marks(path, version, own)
    OPERATIONS[what](ps.open_ome_zarr(path, mode="r+"))
    _check_marks(path, version, own)
    ps.open_ome_zarr(path)


def test_what_others_wrote_moves_with_a_renamed_well(path, version):
    own = _mark(path, version)
    ps.open_ome_zarr(path, mode="r+").rename_well("A/1", "D/4")
    assert attributes(path / "D/4")["other"] == own
    assert attributes(path / "D/4/0")["other"] == own


def test_emptying_a_position_keeps_what_others_wrote(path, version):
    own = _mark(path, version)
    plate = ps.open_ome_zarr(path, mode="r+")
    del plate["A/1/0/0"]
    assert attributes(path / "A/1/0")["other"] == own
    plate["A/1/0"]["0"] = pixels(1, 2, 1, 4, 4)
    image = ome(path / "A/1/0")
    assert image["unknown part"] == image["omero"]["vendor"] == image["multiscales"][0]["vendor"] == own
    assert image["multiscales"][0]["axes"][3]["vendor"] == own


def test_emptying_a_plate_keeps_what_others_wrote(path, version):
    own = _mark(path, version)
    plate = ps.open_ome_zarr(path, mode="r+")
    for well in ("A/1", "A/2", "B/1"):
        del plate[well]
    assert attributes(path)["other"] == own
    ps.open_ome_zarr(path, mode="r+").create_position("A", "1", "0")
    assert ome(path)["plate"]["vendor"] == own
    assert ome(path)["unknown part"] == own


def test_nulls_of_others_survive(path):
    edit_attributes(path, empty=None)
    plate = ps.open_ome_zarr(path, mode="r+")
    plate.create_position("D", "4", "0")
    assert attributes(path)["empty"] is None


@pytest.mark.parametrize("flavour", ["v2", "v3"])
def test_consolidated_metadata_is_dropped_when_the_store_changes(tmp_path, flavour):
    version = "0.4" if flavour == "v2" else "0.5"
    path = stored_plate(tmp_path / "plate.zarr", version)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(path, zarr_format=2 if flavour == "v2" else 3)
    plate = ps.open_ome_zarr(path, mode="r+")
    before = snapshot(path)
    assert [p for p, _ in plate.positions()] == ["A/1/0", "A/2/0", "B/1/0"]
    assert snapshot(path) == before, "reading changes nothing"
    plate["A/1/0"].rename_channel("GFP", "YFP")
    assert not (path / ".zmetadata").exists()
    assert "consolidated_metadata" not in json.loads(group_document(path).read_text())
    assert zarr.open_group(path, mode="r")["A/1/0"].attrs.asdict() == attributes(path / "A/1/0")


def test_consolidated_metadata_is_not_trusted(tmp_path):
    path = stored_plate(tmp_path / "plate.zarr", "0.4")
    import shutil

    zarr.consolidate_metadata(path, zarr_format=2)
    shutil.rmtree(path / "A/1/0/0")
    (path / "A/1/0/.zattrs").write_text((path / "A/1/0/.zattrs").read_text().replace("GFP", "YFP"))
    position = ps.open_ome_zarr(path)["A/1/0"]
    assert position.channel_names == ["DAPI", "YFP"]
    with pytest.raises(ps.DanglingError):
        position["0"]


def test_documents_are_strict_json(path):
    position = ps.open_ome_zarr(path / "A/1/0", mode="r+")
    position.zattrs["text"] = 'tab\t newline\n quote" α'

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    for document in path.rglob("*"):
        if document.name in {"zarr.json", ".zattrs", ".zgroup", ".zarray"}:
            json.loads(document.read_text("utf-8"), parse_constant=refuse)


def test_a_position_without_anything_of_its_own_has_plain_attributes(tmp_path, version):
    # Nothing private is needed to read a filled store.
    path = tmp_path / "a.zarr"
    new_position(path, version)["0"] = pixels(1, 2, 1, 4, 4)
    assert set(attributes(path)) == ({"multiscales", "omero"} if version == "0.4" else {"ome"})
