"""Metadata models, ``dump_meta``, ``refresh`` and what a handle shows when."""

from __future__ import annotations

import pytest

import platestore as ps
from nodes.store_helpers import (
    check_plate,
    edit_ome,
    ome,
    pixels,
    refused,
    snapshot,
    stored_plate,
)


@pytest.fixture
def path(tmp_path, version):
    return stored_plate(tmp_path / "plate.zarr", version)


# --- models ---------------------------------------------------------------------------------------


def test_metadata_are_models_in_snake_case(path):
    plate = ps.open_ome_zarr(path)
    assert isinstance(plate.metadata, ps.PlateMeta)
    first = plate.metadata.wells[0]
    assert isinstance(first, ps.WellIndexMeta)
    assert (first.path, first.row_index, first.column_index) == ("A/1", 0, 0)
    assert [isinstance(row, ps.PlateAxisMeta) and row.name for row in plate.metadata.rows] == ["A", "B"]
    assert isinstance(plate["A/1"].metadata, ps.WellGroupMeta)
    meta = plate["A/1/0"].metadata
    assert isinstance(meta, ps.ImagesMeta)
    assert isinstance(meta.multiscales[0], ps.MultiScaleMeta)
    assert isinstance(meta.multiscales[0].datasets[0], ps.DatasetMeta)
    step = meta.multiscales[0].datasets[0].coordinate_transformations[0]
    assert isinstance(step, ps.TransformationMeta)
    assert step.scale == [1.0] * 5
    assert [type(axis) for axis in meta.multiscales[0].axes] == [
        ps.TimeAxisMeta,
        ps.ChannelAxisMeta,
        ps.SpaceAxisMeta,
        ps.SpaceAxisMeta,
        ps.SpaceAxisMeta,
    ]
    assert isinstance(meta.omero, ps.OMEROMeta)
    assert isinstance(meta.omero.channels[0], ps.ChannelMeta)
    assert isinstance(meta.omero.rdefs, ps.RDefsMeta)
    assert meta.omero.rdefs.default_t == 0


def test_models_take_the_names_of_python_and_of_the_specification():
    assert ps.WellIndexMeta(path="A/1", row_index=0, column_index=1) == ps.WellIndexMeta(
        path="A/1", rowIndex=0, columnIndex=1
    )
    made = ps.DatasetMeta(path="0", coordinate_transformations=[{"type": "scale", "scale": [1, 1]}])
    assert made.to_json() == {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1]}]}


def test_default_axes_are_lower_case_with_units(tmp_path):
    axes = ps.open_ome_zarr(tmp_path / "a.zarr", layout="fov", mode="w-", channel_names=["DAPI"]).axes
    assert [(axis.name, axis.type, axis.unit) for axis in axes] == [
        ("t", "time", "second"),
        ("c", "channel", None),
        ("z", "space", "micrometer"),
        ("y", "space", "micrometer"),
        ("x", "space", "micrometer"),
    ]


# --- edits and dump_meta --------------------------------------------------------------------------


def test_an_edit_is_written_by_dump_meta(path):
    plate = ps.open_ome_zarr(path, mode="r+")
    before = snapshot(path)
    plate.metadata.name = "renamed"
    assert snapshot(path) == before, "not before"
    plate.dump_meta()
    assert ome(path)["plate"]["name"] == "renamed"
    assert ps.open_ome_zarr(path).metadata.name == "renamed"
    assert plate.metadata.name == "renamed"


def test_an_edit_deep_in_a_position_is_written(path):
    position = ps.open_ome_zarr(path / "A/1/0", mode="r+")
    position.metadata.omero.channels[1].color = "ABCDEF"
    position.metadata.multiscales[0].axes[0].unit = "hour"
    position.metadata.omero.rdefs.default_z = 1
    position.dump_meta()
    written = ome(path / "A/1/0")
    assert written["omero"]["channels"][1]["color"] == "ABCDEF"
    assert written["multiscales"][0]["axes"][0]["unit"] == "hour"
    assert written["omero"]["rdefs"]["defaultZ"] == 1


def test_an_edit_of_a_well_is_written(path):
    well = ps.open_ome_zarr(path / "A/1", mode="r+")
    well.metadata.images[0].acquisition = 0
    well.dump_meta()
    assert ome(path / "A/1")["well"]["images"][0] == {"path": "0", "acquisition": 0}


def test_an_edit_is_carried_by_the_next_change_of_another_kind(path):
    # It is not lost silently; whether it is written with it or by dump_meta, it is there in the end.
    position = ps.open_ome_zarr(path / "A/1/0", mode="r+")
    position.metadata.omero.channels[1].color = "ABCDEF"
    position.rename_channel("DAPI", "Hoechst")
    position.dump_meta()
    written = ome(path / "A/1/0")["omero"]["channels"]
    assert written[0]["label"] == "Hoechst"
    assert written[1]["color"] == "ABCDEF"


def test_dump_meta_without_edits_changes_nothing(path):
    plate = ps.open_ome_zarr(path, mode="r+")
    before = snapshot(path)
    for node in (plate, plate["A/1"], plate["A/1/0"]):
        node.dump_meta()
        _ = node.metadata
        node.dump_meta()
    assert snapshot(path) == before


def test_an_edit_keeps_what_another_handle_added(path):
    plate = ps.open_ome_zarr(path, mode="r+")
    plate.metadata.name = "mine"
    other = ps.open_ome_zarr(path, mode="r+")
    other.create_positions([("D", "4", "0"), ("A", "1", "1")])
    other.zattrs["other"] = 1
    plate.dump_meta()
    meta = check_plate(path)
    assert meta["name"] == "mine"
    assert [w["path"] for w in meta["wells"]] == ["A/1", "A/2", "B/1", "D/4"]
    assert ps.open_ome_zarr(path).zattrs["other"] == 1


def test_an_edit_of_a_position_keeps_what_another_handle_added(path):
    position = ps.open_ome_zarr(path / "A/1/0", mode="r+")
    position.metadata.omero.channels[0].color = "ABCDEF"
    other = ps.open_ome_zarr(path / "A/1/0", mode="r+")
    other.append_channel("Cy5")
    other.set_contrast_limits("GFP", {"start": 1, "end": 2, "min": 0, "max": 3})
    other["raw"] = pixels(1, 3, 1, 4, 4)
    position.dump_meta()
    written = ome(path / "A/1/0")
    assert [c["label"] for c in written["omero"]["channels"]] == ["DAPI", "GFP", "Cy5"]
    assert written["omero"]["channels"][0]["color"] == "ABCDEF"
    assert written["omero"]["channels"][1]["window"]["end"] == 2
    assert list(ps.open_ome_zarr(path / "A/1/0")) == ["0", "raw"]


def test_what_another_handle_removed_stays_removed(path):
    plate = ps.open_ome_zarr(path, mode="r+")
    plate.metadata.name = "mine"
    other = ps.open_ome_zarr(path, mode="r+")
    del other["A/2"]
    plate.dump_meta()
    assert [w["path"] for w in check_plate(path)["wells"]] == ["A/1", "B/1"]


def test_where_both_changed_a_value_the_edit_wins(path):
    plate = ps.open_ome_zarr(path, mode="r+")
    plate.metadata.name = "mine"
    other = ps.open_ome_zarr(path, mode="r+")
    other.metadata.name = "theirs"
    other.dump_meta()
    plate.dump_meta()
    assert ome(path)["plate"]["name"] == "mine"


def test_unknown_fields_can_be_added(path):
    plate = ps.open_ome_zarr(path, mode="r+")
    plate.metadata.vendor = {"plate barcode": "X1"}
    plate.dump_meta()
    assert ome(path)["plate"]["vendor"] == {"plate barcode": "X1"}


@pytest.mark.parametrize("value", [1, "text", [1, 2], {"a": 1}])
def test_unknown_fields_can_be_added_to_a_position(path, value):
    position = ps.open_ome_zarr(path / "A/1/0", mode="r+")
    position.metadata.multiscales[0].vendor = value
    position.metadata.omero.channels[0].vendor = value
    position.dump_meta()
    written = ome(path / "A/1/0")
    assert written["multiscales"][0]["vendor"] == written["omero"]["channels"][0]["vendor"] == value
    position.metadata.vendor = value
    position.dump_meta()
    assert ome(path / "A/1/0")["vendor"] == value
    assert ps.open_ome_zarr(path / "A/1/0").data[0, 0, 0, 0, 0] == 1


REMOVALS = {
    "omero": ("A/1/0", lambda meta: setattr(meta, "omero", None)),
    "a channel": ("A/1/0", lambda meta: meta.omero.channels.pop()),
    "rendering defaults": ("A/1/0", lambda meta: setattr(meta.omero, "rdefs", None)),
    "a unit": ("A/1/0", lambda meta: setattr(meta.multiscales[0].axes[3], "unit", None)),
    "the dataset": ("A/1/0", lambda meta: meta.multiscales[0].datasets.clear()),
    "the name of the plate": ("", lambda meta: setattr(meta, "name", None)),
    "a well": ("", lambda meta: meta.wells.pop()),
    "all wells": ("", lambda meta: meta.wells.clear()),
    "a position": ("A/1", lambda meta: meta.images.clear()),
}


@pytest.mark.parametrize("what", REMOVALS)
def test_what_is_taken_out_of_a_model_is_taken_out_of_the_document(path, what):
    level, remove = REMOVALS[what]
    node = ps.open_ome_zarr(path / level, mode="r+")
    expected = node.metadata.model_copy(deep=True)
    remove(expected)
    remove(node.metadata)
    node.dump_meta()
    assert node.metadata.to_json() == expected.to_json()
    assert node.refresh().metadata.to_json() == expected.to_json(), "the handle shows what is on disk"


BROKEN = {
    "a well off the plate": ("", lambda meta: setattr(meta.wells[0], "row_index", 99)),
    "a wrong index": ("", lambda meta: setattr(meta.wells[0], "row_index", 1)),
    "a row twice": ("", lambda meta: meta.rows.append(ps.PlateAxisMeta(name="A"))),
    "a bad row": ("", lambda meta: meta.rows.append(ps.PlateAxisMeta(name="A B"))),
    "a position twice": ("A/1", lambda meta: meta.images.append(ps.ImageMeta(path="0"))),
    "a bad position": ("A/1", lambda meta: meta.images.append(ps.ImageMeta(path="a/b"))),
    "a scale of another length": (
        "A/1/0",
        lambda meta: setattr(meta.multiscales[0].datasets[0].coordinate_transformations[0], "scale", [1.0]),
    ),
    "no transformation": (
        "A/1/0",
        lambda meta: setattr(meta.multiscales[0].datasets[0], "coordinate_transformations", []),
    ),
    "an axis twice": ("A/1/0", lambda meta: setattr(meta.multiscales[0].axes[4], "name", "y")),
    "no space": ("A/1/0", lambda meta: setattr(meta.multiscales[0].axes[4], "type", "time")),
}


@pytest.mark.parametrize("what", BROKEN)
def test_an_edit_that_breaks_a_rule_is_refused(path, what):
    level, change = BROKEN[what]
    node = ps.open_ome_zarr(path / level, mode="r+")
    change(node.metadata)
    with refused(ps.InvalidMetadataError, ValueError, tree=path, names=path / level if level else path):
        node.dump_meta()
    assert ps.open_ome_zarr(path / level).metadata == node.refresh().metadata


def test_a_value_of_the_wrong_type_is_refused_at_once(path):
    plate = ps.open_ome_zarr(path, mode="r+")
    with pytest.raises(ValueError, match="row_index"):
        plate.metadata.wells[0].row_index = "first"


def test_an_old_flaw_does_not_block_a_change(path):
    edit_ome(path, lambda part: part["plate"]["rows"].append({"name": "not-alphanumeric"}))
    with pytest.warns(ps.StoreWarning, match="not-alphanumeric"):
        plate = ps.open_ome_zarr(path, mode="r+")
    plate.metadata.name = "mine"
    plate.dump_meta()
    assert ome(path)["plate"]["name"] == "mine"


# --- handles --------------------------------------------------------------------------------------


def test_a_handle_shows_the_state_at_open(path):
    plate = ps.open_ome_zarr(path)
    well, position = plate["A/1"], plate["A/1/0"]
    writer = ps.open_ome_zarr(path, mode="r+")
    writer.create_positions([("D", "4", "0"), ("A", "1", "1")])
    writer["A/1/0"].rename_channel("GFP", "YFP")
    assert [p for p, _ in plate.wells()] == ["A/1", "A/2", "B/1"]
    assert list(well) == ["0"]
    assert position.channel_names == ["DAPI", "GFP"]


def test_refresh_shows_the_state_on_disk(path):
    plate = ps.open_ome_zarr(path)
    well, position, row = plate["A/1"], plate["A/1/0"], plate["A"]
    writer = ps.open_ome_zarr(path, mode="r+")
    writer.create_positions([("A", "4", "0"), ("A", "1", "1")])
    writer["A/1/0"].rename_channel("GFP", "YFP")
    writer["A/1/0"].zattrs["new"] = 1
    assert plate.refresh() is plate
    assert [p for p, _ in plate.wells()] == ["A/1", "A/2", "A/4", "B/1"]
    assert plate.channel_names == ["DAPI", "YFP"]
    assert list(well.refresh()) == ["0", "1"]
    assert position.refresh().channel_names == ["DAPI", "YFP"]
    assert position.zattrs["new"] == 1
    assert list(row.refresh()) == ["1", "2", "4"]


def test_an_own_commit_shows_the_state_on_disk_too(path):
    plate = ps.open_ome_zarr(path, mode="r+")
    ps.open_ome_zarr(path, mode="r+").create_position("D", "4", "0")
    plate.create_position("E", "5", "0")
    assert [p for p, _ in plate.wells()] == ["A/1", "A/2", "B/1", "D/4", "E/5"]


def test_refresh_drops_edits_that_were_not_written(path):
    plate = ps.open_ome_zarr(path, mode="r+")
    plate.metadata.name = "draft"
    plate.refresh()
    assert plate.metadata.name != "draft"


def test_refresh_of_what_is_gone_is_not_found(path):
    position = ps.open_ome_zarr(path)["A/1/0"]
    other = ps.open_ome_zarr(path, mode="r+")
    del other["A/1"]
    with pytest.raises(FileNotFoundError) as caught:
        position.refresh()
    assert str(path / "A/1/0") in str(caught.value)


def test_a_change_of_what_is_gone_does_not_bring_it_back(path):
    position = ps.open_ome_zarr(path, mode="r+")["A/1/0"]
    other = ps.open_ome_zarr(path, mode="r+")
    del other["A/1"]
    before = snapshot(path)
    for change in (
        lambda: position.rename_channel("GFP", "YFP"),
        lambda: position.zattrs.update({"a": 1}),
        lambda: position.create_zeros("1", (1, 2, 1, 4, 4), "uint8"),
        lambda: position.append_channel("Cy5"),
    ):
        with pytest.raises(FileNotFoundError):
            change()
    assert snapshot(path) == before


def test_a_failed_change_leaves_the_handle_usable(path):
    position = ps.open_ome_zarr(path / "A/1/0", mode="r+")
    with pytest.raises(ValueError, match="Cy5"):
        position.rename_channel("Cy5", "x")
    assert position.channel_names == ["DAPI", "GFP"]
    position.rename_channel("GFP", "YFP")
    assert ps.open_ome_zarr(path / "A/1/0").channel_names == position.channel_names == ["DAPI", "YFP"]
