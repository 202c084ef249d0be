"""The plate: members, creation, iteration."""

from __future__ import annotations

import numpy as np
import pytest

import platestore as ps
from conftest import make_plate
from nodes.store_helpers import (
    attributes,
    axes,
    check_plate,
    edit_ome,
    listed_wells,
    new_plate,
    pixels,
    refused,
    snapshot,
    stored_plate,
)


@pytest.fixture
def path(tmp_path, version):
    return stored_plate(tmp_path / "plate.zarr", version)


# --- members --------------------------------------------------------------------------------------


def test_membership_follows_the_metadata_at_every_depth(path):
    plate = ps.open_ome_zarr(path)
    for key in ("A", "B", "A/1", "A/2", "B/1", "A/1/0", "A/1/0/0", "/A/1/", "B/1/0"):
        assert key in plate, key
    for key in (
        "C",
        "A/3",
        "B/2",
        "A/1/1",
        "A/1/0/1",
        "a",
        "a/1",
        "A/1/0/0/0",
        "",
        "zarr.json",
        1,
        None,
        ("A", "7"),
    ):
        assert key not in plate, key


def test_what_is_only_on_disk_is_no_member(path):
    import shutil

    shutil.copytree(path / "A/2", path / "A/3")
    shutil.copytree(path / "A/1/0", path / "A/1/9")
    plate = ps.open_ome_zarr(path)
    assert "A/3" not in plate
    assert "A/1/9" not in plate
    assert [p for p, _ in plate.positions()] == ["A/1/0", "A/2/0", "B/1/0"]


def test_iteration_gives_the_names_of_the_rows_in_order(path):
    plate = ps.open_ome_zarr(path)
    assert list(plate) == ["A", "B"]
    assert len(plate) == 2
    assert bool(plate)


def test_wells_and_positions_iterate_along_rows_then_columns_whatever_was_created_first(tmp_path, version):
    plate = new_plate(tmp_path / "plate.zarr", version)
    plate.create_positions(
        [("B", "10", "1"), ("B", "10", "0"), ("A", "2", "0"), ("B", "2", "0"), ("A", "10", "x")]
    )
    for opened in (plate, ps.open_ome_zarr(tmp_path / "plate.zarr")):
        assert [p for p, _ in opened.wells()] == ["B/10", "B/2", "A/10", "A/2"]
        assert [p for p, _ in opened.positions()] == ["B/10/1", "B/10/0", "B/2/0", "A/10/x", "A/2/0"]
        assert [name for name, _ in opened.rows()] == list(opened) == ["B", "A"]
        assert [name for name, _ in opened["B"].wells()] == ["10", "2"]
        assert [name for name, _ in opened["B/10"].positions()] == ["1", "0"]


def test_a_declared_plate_is_in_the_order_of_its_grid(tmp_path, version):
    plate = new_plate(tmp_path / "plate.zarr", version, plate_format=96)
    plate.create_positions(
        [("H", "12", "0"), ("A", "10", "0"), ("A", "2", "0"), ("B", "1", "0"), ("A", "1", "0")]
    )
    order = ["A/1", "A/2", "A/10", "B/1", "H/12"]
    for opened in (plate, ps.open_ome_zarr(tmp_path / "plate.zarr")):
        assert [path for path, _ in opened.wells()] == order
        assert [name for name, _ in opened["A"].wells()] == ["1", "2", "10"]
    ps.copy(plate, tmp_path / "copy.zarr", version="0.4" if version == "0.5" else "0.5")
    assert [path for path, _ in ps.open_ome_zarr(tmp_path / "copy.zarr").wells()] == order


def test_iterators_yield_nodes_of_their_kind(path):
    plate = ps.open_ome_zarr(path)
    assert {type(row) for _, row in plate.rows()} == {ps.Row}
    assert {type(well) for _, well in plate.wells()} == {ps.Well}
    assert {type(position) for _, position in plate.positions()} == {ps.Position}
    assert [int(position["0"][0, 0, 0, 0, 0]) for _, position in plate.positions()] == [1, 2, 3]


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("A", ps.Row),
        ("A/1", ps.Well),
        ("A/1/0", ps.Position),
        ("A/1/0/0", ps.ImageArray),
        ("/A//1/", ps.Well),
    ],
)
def test_every_depth_is_reached_by_its_path(path, key, kind):
    plate = ps.open_ome_zarr(path)
    assert type(plate[key]) is kind
    steps = plate
    for name in key.strip("/").replace("//", "/").split("/"):
        steps = steps[name]
    assert type(steps) is kind


@pytest.mark.parametrize("key", ["C", "A/3", "C/1", "A/1/7", "A/1/0/7", "a/1"])
def test_what_the_metadata_does_not_list_is_no_key(path, key):
    plate = ps.open_ome_zarr(path)
    with refused(ps.NodeKeyError, KeyError, tree=path) as caught:
        plate[key]
    assert not isinstance(caught.value, ps.DanglingError)


@pytest.mark.parametrize("key", [None, 1.0, ("A", 1.0), (), b"A/1", True])
def test_a_key_is_a_string(path, key):
    with refused(ps.InvalidNameError, ValueError, names=False):
        ps.open_ome_zarr(path)[key]


def test_repr_says_what_and_where_and_how_much(path):
    plate = ps.open_ome_zarr(path)
    assert repr(plate) == f"<Plate {path} wells=3>"
    assert str(path / "A") in repr(plate["A"])
    assert "'1'" in repr(plate["A"])
    assert str(path / "A/1") in repr(plate["A/1"])
    assert "'0'" in repr(plate["A/1"])
    text = repr(plate["A/1/0"])
    assert text.startswith("<Position ")
    assert "DAPI" in text
    image = repr(plate["A/1/0/0"])
    assert "(1, 2, 2, 8, 8)" in image
    assert "uint16" in image


def test_channel_names_and_axes_are_those_of_the_first_position(path):
    position = ps.open_ome_zarr(path / "A/1/0", mode="r+")
    position.rename_channel("GFP", "YFP")
    plate = ps.open_ome_zarr(path)
    assert plate.channel_names == ["DAPI", "YFP"]
    assert [axis.name for axis in plate.axes] == ["t", "c", "z", "y", "x"]
    assert plate.get_channel_index("YFP") == 1
    assert plate.get_axis_index("z") == plate.get_axis_index("Z") == 2


def test_unknown_channels_and_axes_are_refused_with_the_choice(path):
    plate = ps.open_ome_zarr(path)
    with refused(ps.ArgumentError, ValueError, names="DAPI"):
        plate.get_channel_index("Cy5")
    with refused(ps.ArgumentError, ValueError, names="t, c, z, y, x"):
        plate.get_axis_index("q")


# --- creation -------------------------------------------------------------------------------------


def test_create_well_lists_an_empty_well(tmp_path, version):
    plate = new_plate(tmp_path / "plate.zarr", version)
    well = plate.create_well("A", "1")
    assert type(well) is ps.Well
    assert len(well) == 0
    assert listed_wells(tmp_path / "plate.zarr") == ["A/1"]
    assert "A/1" in plate
    check_plate(tmp_path / "plate.zarr")


def test_create_well_refuses_an_existing_one(path):
    plate = ps.open_ome_zarr(path, mode="r+")
    with refused(ps.NodeExistsError, FileExistsError, tree=path, names=path / "A/1"):
        plate.create_well("A", "1")


def test_create_position_makes_its_row_and_well(tmp_path, version):
    plate = new_plate(tmp_path / "plate.zarr", version)
    position = plate.create_position("H", "12", "site3")
    assert type(position) is ps.Position
    assert position.channel_names == ["DAPI", "GFP"]
    position["0"] = pixels(1, 2, 1, 4, 4)
    check_plate(tmp_path / "plate.zarr")
    fmt = "zarr.json" if version == "0.5" else ".zgroup"
    for group in ("", "H", "H/12", "H/12/site3"):
        assert (tmp_path / "plate.zarr" / group / fmt).exists(), "every level is a zarr group"


def test_create_position_refuses_an_existing_one(path):
    plate = ps.open_ome_zarr(path, mode="r+")
    with refused(ps.NodeExistsError, FileExistsError, tree=path, names=path / "A/1/0") as caught:
        plate.create_position("A", "1", "0")
    assert "overwriting_creation" in caught.value.hint


def test_create_position_refuses_data_that_nobody_lists(path):
    import shutil

    shutil.copytree(path / "A/1/0", path / "A/1/7")
    plate = ps.open_ome_zarr(path, mode="r+")
    with refused(ps.NodeExistsError, FileExistsError, tree=path, names=path / "A/1/7"):
        plate.create_position("A", "1", "7")


def test_what_was_created_is_a_member_at_once(tmp_path, version):
    plate = new_plate(tmp_path / "plate.zarr", version)
    plate.create_position("A", "1", "0")
    assert "A/1/0" in plate
    plate["A/1"].create_position("1")
    assert "A/1/1" in plate
    assert [p for p, _ in plate.positions()] == ["A/1/0", "A/1/1"]


def test_a_position_has_its_own_list_of_channels(tmp_path, version):
    plate = new_plate(tmp_path / "plate.zarr", version)
    first, second = plate.create_positions(
        [("A", "1", "0"), ("A", "1", "1")], shape=(1, 2, 1, 4, 4), dtype="uint8"
    )
    first.append_channel("Cy5")
    assert second.channel_names == ["DAPI", "GFP"]
    assert first.channel_names == ["DAPI", "GFP", "Cy5"]
    second.append_channel("Cy5")
    second.append_channel("BF")
    assert ps.open_ome_zarr(tmp_path / "plate.zarr")["A/1/0"].channel_names == ["DAPI", "GFP", "Cy5"]
    names = first.channel_names
    names.append("mine")
    assert first.channel_names == ["DAPI", "GFP", "Cy5"]


@pytest.mark.parametrize(
    "spec",
    [
        ("A", "1", "0"),
        ("A", "1", "0", 0),
        ("A", "1", "0", 0, 0),
        ("A", "1", "0", 0, 0, 0),
        ("A", "1", "0", None, None, 2),
        ["A", "1", "0"],
        ("A", "1", "0", np.int64(0), np.int64(0), np.int64(1)),
    ],
)
def test_create_positions_takes_three_to_six_elements(tmp_path, version, spec):
    plate = new_plate(tmp_path / "plate.zarr", version)
    (position,) = plate.create_positions([spec])
    assert type(position) is ps.Position
    meta = check_plate(tmp_path / "plate.zarr")
    assert [w["path"] for w in meta["wells"]] == ["A/1"]


@pytest.mark.parametrize(
    "spec",
    [
        ("A", "1"),
        ("A",),
        (),
        ("A", "1", "0", 0, 0, 0, 0),
        "A/1/0",
        b"A10",
        None,
        7,
        {"row": "A"},
        ("A", "1", 0),
        ("A", 1, "0"),
        (None, "1", "0"),
        ("A", "1", "0", "0"),
        ("A", "1", "0", -1),
        ("A", "1", "0", 0.0),
        ("A", "1", "0", True),
        ("A", "1", "0", 0, -1),
        ("A", "1", "0", 0, 0, -1),
        ("A", "1", "0", 0, 0, "1"),
        ("E", "1", "0", 10**9),
    ],
)
def test_one_bad_specification_refuses_the_whole_batch(path, spec):
    plate = ps.open_ome_zarr(path, mode="r+")
    with refused(ps.ArgumentError, ValueError, tree=path, names=False):
        plate.create_positions([("C", "1", "0"), ("A", "1", "1"), spec])
    assert "C/1" not in plate


def test_create_positions_returns_them_in_the_order_given(tmp_path, version):
    plate = new_plate(tmp_path / "plate.zarr", version)
    made = plate.create_positions([("B", "1", "1"), ("A", "1", "0"), ("B", "1", "0")])
    assert [str(tmp_path / "plate.zarr") in repr(p) for p in made] == [True] * 3
    for position, number in zip(made, range(3), strict=True):
        position["0"] = np.full((1, 2, 1, 4, 4), number, "uint8")
    plate = ps.open_ome_zarr(tmp_path / "plate.zarr")
    assert [int(plate[f"{p}/0"][0, 0, 0, 0, 0]) for p in ("B/1/1", "A/1/0", "B/1/0")] == [0, 1, 2]


def test_create_positions_of_nothing_is_nothing(path):
    before = snapshot(path)
    assert ps.open_ome_zarr(path, mode="r+").create_positions([]) == []
    assert snapshot(path) == before


def test_a_position_named_twice_in_a_batch_is_refused(path):
    plate = ps.open_ome_zarr(path, mode="r+")
    with refused(ps.ArgumentError, ValueError, tree=path, names=False):
        plate.create_positions([("C", "1", "0"), ("C", "1", "0")])


def test_a_batch_with_one_that_exists_creates_none(path):
    plate = ps.open_ome_zarr(path, mode="r+")
    with refused(ps.NodeExistsError, FileExistsError, tree=path, names=path / "A/1/0"):
        plate.create_positions([("C", "1", "0"), ("A", "1", "0"), ("A", "1", "1")])


def test_a_batch_reaches_new_and_existing_wells(path):
    plate = ps.open_ome_zarr(path, mode="r+")
    plate.create_positions(
        [("A", "1", "1"), ("A", "2", "1"), ("C", "1", "0"), ("C", "1", "1"), ("A", "1", "2")]
    )
    check_plate(path)
    opened = ps.open_ome_zarr(path)
    assert [p for p, _ in opened.positions()] == [
        "A/1/0",
        "A/1/1",
        "A/1/2",
        "A/2/0",
        "A/2/1",
        "B/1/0",
        "C/1/0",
        "C/1/1",
    ]
    assert "intents" not in attributes(path).get("platestore", {}), "the record of the batch is gone"


def test_create_positions_with_a_shape_makes_finished_positions(tmp_path, version):
    plate = new_plate(tmp_path / "plate.zarr", version)
    transform = [ps.TransformationMeta(type="scale", scale=[1, 1, 2, 0.5, 0.5])]
    specs = [("A", "1", "0"), ("A", "1", "1"), ("B", "1", "0")]
    plate.create_positions(
        specs,
        shape=(3, 2, 4, 16, 16),
        dtype="float32",
        chunks=(1, 1, 2, 8, 8),
        transform=transform,
        image="raw",
    )
    for _, position in ps.open_ome_zarr(tmp_path / "plate.zarr").positions():
        image = position["raw"]
        assert image.shape == (3, 2, 4, 16, 16)
        assert image.dtype == "float32"
        assert image.chunks == (1, 1, 2, 8, 8)
        assert not image[...].any()
        assert position.scale == [1, 1, 2, 0.5, 0.5]
    check_plate(tmp_path / "plate.zarr")


def test_create_positions_with_shards(tmp_path):
    plate = new_plate(tmp_path / "plate.zarr", "0.5")
    (position,) = plate.create_positions(
        [("A", "1", "0")],
        shape=(1, 2, 4, 16, 16),
        dtype="uint8",
        chunks=(1, 1, 1, 8, 8),
        shards_ratio=(1, 1, 4, 2, 2),
    )
    assert position.data.shards == (1, 1, 4, 16, 16)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"shape": (1, 2, 1, 4, 4)},
        {"dtype": "uint8"},
        {"shape": (1, 2, 4, 4), "dtype": "uint8"},
        {"shape": (1, 3, 1, 4, 4), "dtype": "uint8"},
        {"shape": (1, 2, 0, 4, 4), "dtype": "uint8"},
        {"shape": (1, 2, 1, 4, 4), "dtype": "complex64"},
        {"shape": (1, 2, 1, 4, 4), "dtype": "uint8", "chunks": (1, 1)},
        {"shape": (1, 2, 1, 4, 4), "dtype": "uint8", "image": "a/b"},
        {"shape": (1, 2, 1, 4, 4), "dtype": "uint8", "transform": [ps.TransformationMeta(type="affine")]},
    ],
)
def test_a_wrong_array_refuses_the_whole_batch(path, kwargs):
    plate = ps.open_ome_zarr(path, mode="r+")
    with refused(ps.ArgumentError, ValueError, tree=path, names=False):
        plate.create_positions([("C", "1", "0")], **kwargs)


def test_positions_of_other_axes(tmp_path, version):
    plate = new_plate(tmp_path / "plate.zarr", version, axes=axes("cyx"))
    (position,) = plate.create_positions([("A", "1", "0")], shape=(2, 4, 4), dtype="uint8")
    assert position.axis_names == ["c", "y", "x"]
    assert position.data.channels == 2


def test_dump_meta_counts_the_fields_when_asked(path):
    edit_ome(path, lambda parts: parts["plate"].pop("field_count"))
    plate = ps.open_ome_zarr(path, mode="r+")
    plate.dump_meta()
    plate.create_position("A", "1", "1")
    assert "field_count" not in check_plate(path), "in a plate that does not say it"
    plate.dump_meta(field_count=True)
    assert check_plate(path)["field_count"] == 2
    assert plate.metadata.field_count == 2


def test_the_field_count_is_the_largest_number_of_fields_in_a_well(path):
    plate = ps.open_ome_zarr(path, mode="r+")
    assert check_plate(path)["field_count"] == 1
    plate.create_positions([("A", "1", "1"), ("C", "1", "0")])
    assert check_plate(path)["field_count"] == 2
    plate["A/2"].create_position("1")
    plate["A/2"].create_position("2")
    assert check_plate(path)["field_count"] == 3
    plate.rename_well("A/2", "D/4")
    assert check_plate(path)["field_count"] == 3
    del plate["D/4/0"]
    assert check_plate(path)["field_count"] == 2
    del plate["A/1"]
    assert check_plate(path)["field_count"] == 2, "D/4 still has two"
    del plate["D/4"]
    assert check_plate(path)["field_count"] == 1
    plate.create_positions([("A", "1", str(i)) for i in range(4)], shape=(1, 2, 1, 4, 4), dtype="uint8")
    assert check_plate(path)["field_count"] == 4
    ps.copy(plate, path.with_name("part.zarr"), positions=["A/1/[01]", "B/1/0"])
    assert check_plate(path.with_name("part.zarr"))["field_count"] == 2


def test_a_plate_of_empty_wells_has_a_valid_field_count(tmp_path, version):
    plate = new_plate(tmp_path / "plate.zarr", version)
    plate.create_well("A", "1")
    assert check_plate(tmp_path / "plate.zarr")["field_count"] == 1
    plate.create_position("A", "1", "0")
    plate.create_position("A", "1", "1")
    assert check_plate(tmp_path / "plate.zarr")["field_count"] == 2
    assert check_plate(tmp_path / "plate.zarr")["version"] == version


@pytest.mark.parametrize("column", ["03", "003"])
def test_a_plate_format_takes_zero_padded_names(tmp_path, version, column):
    path = tmp_path / "plate.zarr"
    plate = new_plate(path, version, plate_format=96)
    plate.create_position("B", column, "0")
    width = len(column)
    meta = check_plate(path)
    assert [item["name"] for item in meta["columns"]] == [str(i).zfill(width) for i in range(1, 13)]
    assert meta["wells"] == [{"path": f"B/{column}", "rowIndex": 1, "columnIndex": 2}]
    plate.create_positions([("B", "12".zfill(width), "0"), ("C", "1".zfill(width), "0")])
    assert [w for w, _ in plate.wells()] == [f"B/{column}", f"B/{12:0{width}}", f"C/{1:0{width}}"]
    for wrong in ("4", "13", "0", "0004"):
        with refused(ps.ArgumentError, ValueError, tree=path, names=f"column '{wrong}'"):
            plate.create_position("B", wrong, "0")


def test_one_batch_and_one_plate_have_one_way_of_naming(tmp_path, version):
    plate = new_plate(tmp_path / "plate.zarr", version, plate_format=384)
    with refused(ps.ArgumentError, ValueError, names="04"):
        plate.create_positions([("A", "03", "0"), ("A", "4", "0")])
    plate.create_position("A", "3", "0")
    with refused(ps.ArgumentError, ValueError, names="'3'"):
        plate.create_position("B", "03", "0")
    assert [w for w, _ in plate.wells()] == ["A/3"]


def test_a_plate_is_made_from_a_zarr_group(path):
    import zarr

    group = zarr.open_group(path, mode="r+")
    plate = ps.Plate(group)
    assert [p for p, _ in plate.positions()] == ["A/1/0", "A/2/0", "B/1/0"]
    assert ps.Position(group["A/1/0"]).channel_names == ["DAPI", "GFP"]
    assert len(ps.Well(group["A/1"])) == 1
    ps.Plate(group, overwriting_creation=True).create_position("A", "1", "0")
    assert len(ps.open_ome_zarr(path)["A/1/0"]) == 0
    with refused(ps.NodeExistsError, FileExistsError, tree=path, names=path / "A/2/0"):
        plate.create_position("A", "2", "0")
    read_only = ps.Plate(zarr.open_group(path, mode="r"))
    with refused(ps.ReadOnlyError, PermissionError, tree=path):
        read_only.create_position("C", "1", "0")


def test_without_its_metadata_a_node_needs_channel_names(path):
    import zarr

    group = zarr.open_group(path / "A/1/0", mode="r+")
    with refused(ps.ArgumentError, ValueError, names=False):
        ps.Position(group, parse_meta=False)
    assert ps.Position(group, parse_meta=False, channel_names=["x"]).channel_names == ["DAPI", "GFP"]


def test_a_plate_can_be_pickled(path):
    import pickle

    plate = pickle.loads(pickle.dumps(ps.open_ome_zarr(path, mode="r+")))
    assert [p for p, _ in plate.positions()] == ["A/1/0", "A/2/0", "B/1/0"]
    position = pickle.loads(pickle.dumps(plate["A/1/0"]))
    position.rename_channel("GFP", "YFP")
    assert ps.open_ome_zarr(path)["A/1/0"].channel_names == ["DAPI", "YFP"]


def test_every_class_takes_a_zarr_group(path):
    import zarr

    group = zarr.open_group(path, mode="r+")
    assert list(ps.Row(group["A"])) == ["1", "2"]
    assert ps.Well(group["A/2"], channel_names=["x"], axes=axes("yx")).channel_names == ["DAPI", "GFP"]
    tiled = ps.TiledPosition(group["A/1/0"])
    assert type(tiled["0"]) is ps.TiledImageArray
    fresh = zarr.create_group(path.parent / "fresh.zarr", zarr_format=group.metadata.zarr_format)
    position = ps.Position(fresh, parse_meta=False, channel_names=["a"], axes=axes("CYX"))
    position["0"] = pixels(1, 4, 4)
    read = ps.open_ome_zarr(path.parent / "fresh.zarr")
    assert read.channel_names == ["a"]
    assert read.axis_names == ["c", "y", "x"]


def test_a_plate_whose_first_position_has_no_omero(path):
    edit_ome(path / "A/1/0", lambda part: part.pop("omero"))
    plate = ps.open_ome_zarr(path, mode="r+")
    assert plate.channel_names == ["0", "1"]
    assert plate["A/2/0"].channel_names == ["DAPI", "GFP"]
    assert plate["A/1"].channel_names == ["0", "1"]


DOCUMENTED = """AcquisitionMeta AxisMeta ChannelAxisMeta ChannelMeta DatasetMeta ImageArray ImageMeta
ImagesMeta NGFFNode OMEROMeta Plate PlateAxisMeta PlateMeta Position PositionSpec RDefsMeta Row SpaceAxisMeta
TiledImageArray TiledPosition TimeAxisMeta TransformationMeta Well WellGroupMeta WellIndexMeta WindowDict
open_ome_zarr"""


@pytest.mark.parametrize("name", DOCUMENTED.split())
def test_documented_names_are_public(name):
    assert name in ps.__all__
    assert name in dir(ps)
    assert getattr(ps, name) is not None


def test_make_plate_of_the_shared_fixture_is_whole(tmp_path, version):
    make_plate(tmp_path / "plate.zarr", version)
    check_plate(tmp_path / "plate.zarr")
