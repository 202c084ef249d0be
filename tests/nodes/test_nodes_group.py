"""What follows the directory: ``zgroup``, keys, the tree; and what a reader may not do."""

from __future__ import annotations

import pytest
import zarr
from zarr.storage import MemoryStore

import platestore as ps
from nodes.store_helpers import new_position, pixels, refused, snapshot, stored_plate


@pytest.fixture
def path(tmp_path, version):
    return stored_plate(tmp_path / "plate.zarr", version)


def test_zgroup_is_a_real_group(path, version):
    plate = ps.open_ome_zarr(path)
    for key in ("", "A", "A/1", "A/1/0"):
        node = plate if key == "" else plate[key]
        group = node.zgroup
        assert type(group) is zarr.Group
        assert group.path == key
        assert group.metadata.zarr_format == (2 if version == "0.4" else 3)
        assert dict(group.attrs) == dict(node.zattrs)
    assert plate.zgroup["A/1/0/0"].shape == (1, 2, 2, 8, 8)
    assert plate.zgroup.store_path.store.read_only


def test_zgroup_is_built_anew_at_each_access(path):
    plate = ps.open_ome_zarr(path, mode="r+")
    first = plate.zgroup
    plate.zattrs["a"] = 1
    assert plate.zgroup is not first
    assert plate.zgroup.attrs["a"] == 1
    assert not plate.zgroup.store_path.store.read_only


def test_zgroup_writes_what_is_read_after_a_refresh(path):
    plate = ps.open_ome_zarr(path, mode="r+")
    plate.zgroup.attrs["through zarr"] = 1
    assert plate.refresh().zattrs["through zarr"] == 1


def test_zgroup_of_a_store_in_memory(version):
    store = MemoryStore()
    new_group = ps.open_ome_zarr(store, layout="fov", mode="w", channel_names=["a"], version=version)
    new_group["0"] = pixels(1, 1, 1, 4, 4)
    assert new_group.zgroup["0"].shape == (1, 1, 1, 4, 4)


def test_keys_list_the_directory_in_sorted_order(path):
    plate = ps.open_ome_zarr(path, mode="r+")
    plate.create_positions([("A", "10", "0")])
    plate["A/1/0"].create_zeros("raw", (1, 2, 1, 4, 4), "uint8")
    zarr.open_group(path, mode="r+").create_group("A/extra")
    assert plate.group_keys() == ["A", "B"]
    assert plate.array_keys() == []
    assert plate["A"].group_keys() == ["1", "10", "2", "extra"]
    assert plate["A/1"].group_keys() == ["0"]
    assert plate["A/1/0"].group_keys() == []
    assert plate["A/1/0"].array_keys() == ["0", "raw"]


def test_root_and_leaf(path):
    plate = ps.open_ome_zarr(path)
    assert plate.is_root()
    assert not plate.is_leaf()
    for key in ("A", "A/1", "A/1/0"):
        assert not plate[key].is_root()
    assert not plate["A/1"].is_leaf()
    assert plate["A/1/0"].is_leaf()


def test_a_position_with_labels_is_no_leaf():
    from pathlib import Path

    crop = ps.open_ome_zarr(Path(__file__).parents[1] / "data" / "cardiomyocytes-crop.zarr")
    assert crop.is_root()
    assert not crop.is_leaf()
    assert crop.group_keys() == ["labels"]
    assert crop.array_keys() == ["0", "1"]


@pytest.mark.parametrize("level", [None, 0, 1, 2, 3, 9])
def test_print_tree_goes_as_deep_as_asked(path, level, capsys):
    ps.open_ome_zarr(path).print_tree(level)
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert "plate" in lines[0]
    depth = 9 if level is None else level
    expected = (
        1
        + (2 if depth > 0 else 0)
        + (3 if depth > 1 else 0)
        + (3 if depth > 2 else 0)
        + (3 if depth > 3 else 0)
    )
    assert len(lines) == expected
    assert ("(1, 2, 2, 8, 8) uint16" in text) == (depth > 3)
    assert "\x1b" not in text


def test_print_tree_of_a_position(tmp_path, version, capsys):
    position = new_position(tmp_path / "a.zarr", version)
    position["0"] = pixels(1, 2, 1, 4, 4)
    position.print_tree()
    assert "0 (1, 2, 1, 4, 4) uint16" in capsys.readouterr().out


def test_what_the_directory_lists_is_not_what_the_metadata_lists(path):
    import shutil

    shutil.copytree(path / "A/2", path / "A/3")
    plate = ps.open_ome_zarr(path)
    assert plate["A"].group_keys() == ["1", "2", "3"]
    assert list(plate["A"]) == ["1", "2"]


def test_a_missing_document_shows_in_no_key(path, version):
    (path / "A" / "empty").mkdir()
    (path / "A" / "file").write_text("x")
    assert ps.open_ome_zarr(path)["A"].group_keys() == ["1", "2"]


# --- mode r ---------------------------------------------------------------------------------------

CHANGES = {
    "create_well": lambda plate: plate.create_well("D", "4"),
    "create_position": lambda plate: plate.create_position("D", "4", "0"),
    "create_positions": lambda plate: plate.create_positions([("D", "4", "0")]),
    "create_positions of none": lambda plate: plate.create_positions([]),
    "create_positions with arrays": lambda plate: plate.create_positions(
        [("D", "4", "0")], shape=(1, 2, 1, 4, 4), dtype="uint8"
    ),
    "rename_well": lambda plate: plate.rename_well("A/1", "D/4"),
    "rename_well to itself": lambda plate: plate.rename_well("A/1", "A/1"),
    "del well": lambda plate: plate.__delitem__("A/1"),
    "del row": lambda plate: plate.__delitem__("A"),
    "del position": lambda plate: plate.__delitem__("A/1/0"),
    "del image": lambda plate: plate.__delitem__("A/1/0/0"),
    "row del": lambda plate: plate["A"].__delitem__("1"),
    "well del": lambda plate: plate["A/1"].__delitem__("0"),
    "position del": lambda plate: plate["A/1/0"].__delitem__("0"),
    "dump_meta": lambda plate: plate.dump_meta(),
    "dump_meta with a count": lambda plate: plate.dump_meta(field_count=True),
    "well dump_meta": lambda plate: plate["A/1"].dump_meta(),
    "position dump_meta": lambda plate: plate["A/1/0"].dump_meta(),
    "zattrs": lambda plate: plate.zattrs.update({"a": 1}),
    "row zattrs": lambda plate: plate["A"].zattrs.update({"a": 1}),
    "well zattrs": lambda plate: plate["A/1"].zattrs.update({"a": 1}),
    "position zattrs": lambda plate: plate["A/1/0"].zattrs.__setitem__("a", 1),
    "ome attributes": lambda plate: plate["A/1/0"].maybe_wrapped_ome_attrs.__setitem__("a", 1),
    "well create_position": lambda plate: plate["A/1"].create_position("1"),
    "create_image": lambda plate: plate["A/1/0"].create_image("1", pixels(1, 2, 1, 4, 4)),
    "create_zeros": lambda plate: plate["A/1/0"].create_zeros("1", (1, 2, 1, 4, 4), "uint8"),
    "item assignment": lambda plate: plate["A/1/0"].__setitem__("1", pixels(1, 2, 1, 4, 4)),
    "append_channel": lambda plate: plate["A/1/0"].append_channel("x"),
    "append_channel without arrays": lambda plate: plate["A/1/0"].append_channel("x", resize_arrays=False),
    "rename_channel": lambda plate: plate["A/1/0"].rename_channel("GFP", "x"),
    "rename_channel to itself": lambda plate: plate["A/1/0"].rename_channel("GFP", "GFP"),
    "update_channel": lambda plate: plate["A/1/0"].update_channel("GFP", "0", pixels(1, 2, 8, 8)),
    "set_contrast_limits": lambda plate: plate["A/1/0"].set_contrast_limits(
        "GFP", {"start": 0, "end": 1, "min": 0, "max": 1}
    ),
    "set_scale": lambda plate: plate["A/1/0"].set_scale("0", "x", 2),
    "set_transform": lambda plate: plate["A/1/0"].set_transform("0", []),
    "array attrs": lambda plate: plate["A/1/0/0"].attrs.update({"a": 1}),
    "array update_attributes": lambda plate: plate["A/1/0/0"].update_attributes({"a": 1}),
    "array resize": lambda plate: plate["A/1/0/0"].resize((1, 2, 2, 8, 9)),
    "array append": lambda plate: plate["A/1/0/0"].append(pixels(1, 2, 2, 8, 8)),
}


@pytest.mark.parametrize("what", CHANGES)
def test_mode_r_refuses_every_change(path, what):
    plate = ps.open_ome_zarr(path, mode="r")
    with refused(ps.ReadOnlyError, PermissionError, tree=path) as caught:
        CHANGES[what](plate)
    assert 'mode="r+"' in caught.value.hint


def test_mode_r_refuses_pixels(path):
    plate = ps.open_ome_zarr(path)
    before = snapshot(path)
    with pytest.raises((PermissionError, ValueError), match="read-only"):
        plate["A/1/0/0"][0] = 0
    with pytest.raises((PermissionError, ValueError), match="read-only"):
        plate["A/1/0"].zgroup.attrs["a"] = 1
    assert snapshot(path) == before


def test_make_tiles_needs_a_writer(path):
    tiled = ps.open_ome_zarr(path / "A/1/0", layout="tiled")
    with refused(ps.ReadOnlyError, PermissionError, tree=path):
        tiled.make_tiles("1", (1, 1), (1, 2, 1, 4, 4), "uint8")


def test_reading_everything_changes_nothing(path):
    before = snapshot(path)
    plate = ps.open_ome_zarr(path)
    for _, row in plate.rows():
        _ = repr(row), row.channel_names, row.group_keys()
    for _, well in plate.wells():
        _ = repr(well), well.metadata, well.zattrs.get("x")
    for _, position in plate.positions():
        _ = repr(position), position.metadata, position.scale, position.zgroup
        for _, image in position.images():
            _ = image.numpy(), dict(image.attrs), image.dask_array()
    assert snapshot(path) == before
