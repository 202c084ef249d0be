"""Wells and rows: members, iteration, creation."""

from __future__ import annotations

import pytest

import platestore as ps
from nodes.store_helpers import (
    axes,
    check_plate,
    listed_wells,
    new_position,
    ome,
    pixels,
    refused,
    stored_plate,
)


@pytest.fixture
def path(tmp_path, version):
    return stored_plate(tmp_path / "plate.zarr", version)


@pytest.fixture
def plate(path):
    return ps.open_ome_zarr(path, mode="r+")


def test_a_well_lists_its_positions_in_order(plate):
    well = plate["A/1"]
    for name in ("10", "2", "b", "a"):
        well.create_position(name)
    assert list(well) == ["0", "10", "2", "b", "a"]
    assert [name for name, _ in well.positions()] == ["0", "10", "2", "b", "a"]
    assert len(well) == 5


def test_membership_of_a_well(plate):
    well = plate["A/1"]
    for key in ("0", 0, "0/0", "/0/"):
        assert key in well, key
    for key in ("1", 1, "0/1", "", None, "A/1/0", True):
        assert key not in well, key


def test_a_position_is_reached_by_name_number_and_path(plate):
    well = plate["A/2"]
    assert well["0"].data[0, 0, 0, 0, 0] == well[0].data[0, 0, 0, 0, 0] == well["0/0"][0, 0, 0, 0, 0] == 2
    for key in ("7", 7, "0/7"):
        with refused(ps.NodeKeyError, KeyError):
            well[key]


def test_create_position_in_a_well(plate, path):
    position = plate["A/1"].create_position("site2")
    assert type(position) is ps.Position
    assert position.channel_names == ["DAPI", "GFP"]
    position["0"] = pixels(1, 2, 1, 4, 4)
    assert [i["path"] for i in ome(path / "A/1")["well"]["images"]] == ["0", "site2"]
    assert ps.open_ome_zarr(path)["A/1/site2/0"].shape == (1, 2, 1, 4, 4)
    with refused(ps.NodeExistsError, FileExistsError, tree=path, names=path / "A/1/site2"):
        plate["A/1"].create_position("site2")


def test_metadata_of_a_well_is_a_model(plate):
    meta = plate["A/1"].metadata
    assert isinstance(meta, ps.WellGroupMeta)
    assert [image.path for image in meta.images] == ["0"]
    assert isinstance(meta.images[0], ps.ImageMeta)
    assert plate["A/1"].version == plate.version


def test_two_handles_on_one_well_lose_nothing(plate, path):
    first, second = plate["A/1"], ps.open_ome_zarr(path / "A/1", mode="r+")
    first.create_position("1")
    second.create_position("2")
    first.create_position("3")
    assert list(ps.open_ome_zarr(path / "A/1")) == ["0", "1", "2", "3"]
    check_plate(path)


def test_a_well_without_a_plate_above_it(tmp_path, version):
    plate_path = stored_plate(tmp_path / "plate.zarr", version)
    (plate_path / "A/1").rename(tmp_path / "well.zarr")
    well = ps.open_ome_zarr(tmp_path / "well.zarr", mode="r+")
    assert type(well) is ps.Well
    well.create_position("1", acquisition=2)["0"] = pixels(1, 2, 1, 4, 4)
    del well["0"]
    assert [name for name, _ in ps.open_ome_zarr(tmp_path / "well.zarr").positions()] == ["1"]
    assert ome(tmp_path / "well.zarr")["well"]["images"] == [{"path": "1", "acquisition": 2}]


def test_a_row_lists_its_wells_in_order(plate, path):
    plate.create_positions([("B", "12", "0"), ("A", "12", "0"), ("B", "2", "0")])
    row = plate["B"]
    assert list(row) == ["1", "2", "12"]
    assert [name for name, _ in row.wells()] == ["1", "2", "12"]
    assert len(row) == 3
    assert row.name == "B"
    assert row.channel_names == ["DAPI", "GFP"]
    assert [axis.name for axis in row.axes] == ["t", "c", "z", "y", "x"]


def test_membership_of_a_row(plate):
    row = plate["A"]
    for key in ("1", 2, "1/0", "1/0/0"):
        assert key in row, key
    for key in ("3", "A/1", None, True, "1/9"):
        assert key not in row, key
    assert type(row["1"]) is type(row[2]) is ps.Well
    assert type(row["1/0"]) is ps.Position
    with refused(ps.NodeKeyError, KeyError):
        row["3"]


def test_a_row_without_a_document_of_its_own(path, plate):
    # Some writers give rows no group.
    for name in ("zarr.json", ".zgroup", ".zattrs"):
        (path / "A" / name).unlink(missing_ok=True)
    opened = ps.open_ome_zarr(path)
    assert [name for name, _ in opened["A"].wells()] == ["1", "2"]
    assert [p for p, _ in opened.positions()] == ["A/1/0", "A/2/0", "B/1/0"]
    assert type(ps.open_ome_zarr(path / "A/1")) is ps.Well
    plate.create_position("A", "3", "0")
    check_plate(path)


def test_item_assignment_is_for_positions_only(plate, path):
    for node in (plate, plate["A"], plate["A/1"]):
        with pytest.raises((NotImplementedError, TypeError)):
            node["9"] = pixels(4, 4)
    assert listed_wells(path) == ["A/1", "A/2", "B/1"]


def test_channel_names_of_a_well_are_those_of_its_first_position(plate):
    plate["A/1/0"].rename_channel("GFP", "YFP")
    assert plate["A/1"].channel_names == ["DAPI", "YFP"]
    assert plate["A/2"].channel_names == ["DAPI", "GFP"]
    assert plate["A/1"].get_channel_index("YFP") == 1


def test_positions_of_one_plate_may_differ(path, tmp_path, version):
    # The specification lets every image have axes of its own.
    import shutil

    new_position(tmp_path / "flat.zarr", version, names="YX", channels=["one"])["0"] = pixels(4, 4)
    shutil.rmtree(path / "A/2/0")
    shutil.move(tmp_path / "flat.zarr", path / "A/2/0")
    opened = ps.open_ome_zarr(path)
    assert [p.axis_names for _, p in opened.positions()] == [list("tczyx"), list("yx"), list("tczyx")]
    assert opened["A/2/0"].data.shape == (4, 4)
    assert [axis.name for axis in axes("YX")] == [axis.name for axis in opened["A/2"].axes]
