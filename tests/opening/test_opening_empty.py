"""Empty plates, wells and positions: they are reopened with their names and axes, and break no rule."""

from __future__ import annotations

import pytest

import platestore as ps
from nodes.store_helpers import attributes, axes, check_plate, new_position, ome, pixels

ALL_MODES = ["r", "r+", "a"]


def _names(node) -> list[str]:
    return [axis.name for axis in node.axes]


@pytest.fixture
def empty_plate(tmp_path, version):
    path = tmp_path / "plate.zarr"
    ps.open_ome_zarr(
        path,
        layout="hcs",
        mode="w-",
        channel_names=["α", "GFP"],
        axes=axes("CZYX"),
        version=version,
        name="mine",
    )
    return path


@pytest.mark.parametrize("mode", ALL_MODES)
def test_an_empty_plate_is_reopened_with_its_names_and_axes(empty_plate, mode):
    plate = ps.open_ome_zarr(empty_plate, mode=mode)
    assert type(plate) is ps.Plate
    assert plate.channel_names == ["α", "GFP"]
    assert _names(plate) == ["C", "Z", "Y", "X"]
    assert plate.metadata.name == "mine"
    assert list(plate) == list(plate.rows()) == list(plate.wells()) == list(plate.positions()) == []
    assert len(plate) == 0
    assert plate


@pytest.mark.parametrize("mode", ALL_MODES)
@pytest.mark.parametrize("layout", ["fov", "tiled", "auto"])
def test_an_empty_position_is_reopened_with_its_names_and_axes(tmp_path, version, mode, layout):
    path = tmp_path / "a.zarr"
    new_position(path, version, names="tcyx", channels=["α", "GFP"])
    position = ps.open_ome_zarr(path, layout=layout, mode=mode)
    assert position.channel_names == ["α", "GFP"]
    assert position.axis_names == _names(position) == ["t", "c", "y", "x"]
    assert list(position) == list(position.images()) == []
    assert position.scale == [1.0] * 4


def test_no_invalid_document_stands_where_other_readers_look(empty_plate, tmp_path, version):
    assert "plate" not in ome(empty_plate)
    new_position(tmp_path / "a.zarr", version)
    assert not {"multiscales", "omero"} & set(ome(tmp_path / "a.zarr"))
    assert "platestore" in attributes(tmp_path / "a.zarr")


def test_the_first_well_and_image_make_the_documents_official(empty_plate):
    plate = ps.open_ome_zarr(empty_plate, mode="r+")
    well = plate.create_well("A", "1")
    assert [w["path"] for w in ome(empty_plate)["plate"]["wells"]] == ["A/1"]
    assert "well" not in ome(empty_plate / "A/1")
    position = well.create_position("0")
    assert [i["path"] for i in ome(empty_plate / "A/1")["well"]["images"]] == ["0"]
    assert "multiscales" not in ome(empty_plate / "A/1/0")
    position["0"] = pixels(2, 1, 4, 4)
    assert [d["path"] for d in ome(empty_plate / "A/1/0")["multiscales"][0]["datasets"]] == ["0"]
    assert [c["label"] for c in ome(empty_plate / "A/1/0")["omero"]["channels"]] == ["α", "GFP"]


def test_names_and_axes_reach_positions_created_after_reopening(empty_plate):
    with ps.open_ome_zarr(empty_plate, mode="r+") as plate:
        position = plate.create_position("A", "1", "0")
        assert position.channel_names == ["α", "GFP"]
        assert _names(position) == ["C", "Z", "Y", "X"]
    for path in ("A/1/0", "A/1", "A", ""):
        node = ps.open_ome_zarr(empty_plate / path)
        assert node.channel_names == ["α", "GFP"]
        assert _names(node) == ["C", "Z", "Y", "X"]


def test_a_well_without_positions_is_reopened(empty_plate):
    ps.open_ome_zarr(empty_plate, mode="r+").create_well("A", "1")
    plate = ps.open_ome_zarr(empty_plate)
    assert [path for path, _ in plate.wells()] == ["A/1"]
    assert list(plate["A/1"].positions()) == []
    assert list(plate.positions()) == []
    assert plate.channel_names == plate["A/1"].channel_names == ["α", "GFP"]
    by_path = ps.open_ome_zarr(empty_plate / "A/1")
    assert type(by_path) is ps.Well
    assert by_path.channel_names == ["α", "GFP"]


def test_a_position_without_images_in_a_plate_is_listed_and_reopened(empty_plate):
    ps.open_ome_zarr(empty_plate, mode="r+").create_position("A", "1", "0")
    plate = ps.open_ome_zarr(empty_plate)
    assert [path for path, _ in plate.positions()] == ["A/1/0"]
    assert plate["A/1/0"].channel_names == ["α", "GFP"]
    check_plate(empty_plate)


def test_removing_everything_leaves_a_plate_that_is_reopened(empty_plate):
    plate = ps.open_ome_zarr(empty_plate, mode="r+")
    plate.create_positions([("A", "1", "0")], shape=(2, 1, 4, 4), dtype="uint8")
    del plate["A/1/0/0"]
    assert ps.open_ome_zarr(empty_plate)["A/1/0"].channel_names == ["α", "GFP"]
    del plate["A/1/0"]
    assert ps.open_ome_zarr(empty_plate)["A/1"].channel_names == ["α", "GFP"]
    del plate["A/1"]
    reopened = ps.open_ome_zarr(empty_plate, mode="r+")
    assert len(reopened) == 0
    assert reopened.channel_names == ["α", "GFP"]
    assert _names(reopened) == ["C", "Z", "Y", "X"]
    assert "plate" not in ome(empty_plate)
    reopened.create_position("B", "2", "0")
    check_plate(empty_plate)
