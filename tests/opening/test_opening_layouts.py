"""``open_ome_zarr``: every layout, mode and version, and what each combination gives or refuses."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import platestore as ps
from nodes.store_helpers import new_position, pixels, refused, snapshot, stored_plate

LAYOUTS = {"fov": ps.Position, "tiled": ps.TiledPosition, "hcs": ps.Plate}
CREATING = ("w", "w-", "a")


@pytest.mark.parametrize("mode", CREATING)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_creating_mode_makes_the_layout_that_was_asked_for(tmp_path, layout, mode, version):
    node = ps.open_ome_zarr(
        tmp_path / "new.zarr", layout=layout, mode=mode, channel_names=["a"], version=version
    )
    assert type(node) is LAYOUTS[layout]
    assert node.version == version
    assert node.channel_names == ["a"]
    assert [axis.name for axis in node.axes] == ["t", "c", "z", "y", "x"]
    assert (tmp_path / "new.zarr" / "zarr.json").exists() == (version == "0.5")
    assert (tmp_path / "new.zarr" / ".zgroup").exists() == (version == "0.4")
    assert os.listdir(tmp_path) == ["new.zarr"], "nothing but the store is left behind"


@pytest.mark.parametrize("mode", ["r", "r+", "a"])
@pytest.mark.parametrize("layout", [*LAYOUTS, "auto"])
def test_every_opening_mode_gives_the_node_of_the_layout(tmp_path, layout, mode, version):
    path = tmp_path / "store.zarr"
    created = "fov" if layout == "auto" else layout
    ps.open_ome_zarr(path, layout=created, mode="w-", channel_names=["a", "b"], version=version)
    before = snapshot(path)
    node = ps.open_ome_zarr(path, layout=layout, mode=mode)
    assert type(node) is LAYOUTS[created]
    assert node.version == version
    assert node.channel_names == ["a", "b"]
    assert snapshot(path) == before, "opening changes nothing"


def test_the_version_defaults_to_0_4_on_zarr_v2(tmp_path):
    with ps.open_ome_zarr(tmp_path / "a.zarr", layout="fov", mode="w-", channel_names=["a"]) as node:
        assert node.version == "0.4"
        assert node.zgroup.metadata.zarr_format == 2


@pytest.mark.parametrize("mode", ["r", "r+", "a"])
def test_an_existing_store_says_its_own_version(tmp_path, mode, version):
    path = tmp_path / "a.zarr"
    new_position(path, version)
    other = "0.5" if version == "0.4" else "0.4"
    assert ps.open_ome_zarr(path, mode=mode, version=other).version == version


@pytest.mark.parametrize("mode", ["r", "r+", "a"])
def test_channel_names_and_axes_are_ignored_for_an_existing_store(tmp_path, mode, version):
    path = tmp_path / "plate.zarr"
    stored_plate(path, version)
    other = [ps.SpaceAxisMeta(name="y"), ps.SpaceAxisMeta(name="x")]
    for inner in ("", "A/1/0"):
        node = ps.open_ome_zarr(path / inner, mode=mode, channel_names=["other"], axes=other)
        assert node.channel_names == ["DAPI", "GFP"]
        assert [axis.name for axis in node.axes] == ["t", "c", "z", "y", "x"]


def test_a_plate_whose_record_says_upper_case_stays_in_upper_case(tmp_path, version):
    path = tmp_path / "plate.zarr"
    upper = [
        {**axis.to_json(), "name": axis.name.upper()}
        for axis in ps.open_ome_zarr(
            tmp_path / "new.zarr", layout="fov", mode="w-", channel_names=["a"], version=version
        ).axes
    ]
    ps.open_ome_zarr(path, layout="hcs", mode="w-", channel_names=["a"], axes=upper, version=version)
    plate = ps.open_ome_zarr(path, mode="r+")
    first = plate.create_position("A", "1", "0")
    image = first.create_zeros("0", (1, 1, 1, 4, 4), "uint8")
    second = ps.open_ome_zarr(path, mode="r+").create_position("A", "1", "1")
    for position in (first, second):
        assert [axis.name for axis in position.axes] == ["T", "C", "Z", "Y", "X"]
        assert position.get_axis_index("x") == position.get_axis_index("X") == 4
    if version == "0.5":
        assert image.metadata.dimension_names == ("T", "C", "Z", "Y", "X")


def test_given_axes_are_those_of_the_store(tmp_path, version):
    axes = [
        ps.ChannelAxisMeta(name="c"),
        ps.SpaceAxisMeta(name="y", unit="nanometer"),
        ps.SpaceAxisMeta(name="x"),
    ]
    node = ps.open_ome_zarr(
        tmp_path / "a.zarr", layout="fov", mode="w-", channel_names=["a"], axes=axes, version=version
    )
    node["0"] = pixels(1, 4, 4)
    read = ps.open_ome_zarr(tmp_path / "a.zarr").axes
    assert [(axis.name, axis.type, axis.unit) for axis in read] == [
        ("c", "channel", None),
        ("y", "space", "nanometer"),
        ("x", "space", None),
    ]


@pytest.mark.parametrize("layout", ["fov", "hcs"])
def test_auto_finds_the_layout_of_a_filled_store(tmp_path, layout, version):
    if layout == "hcs":
        stored_plate(tmp_path / "a.zarr", version)
    else:
        new_position(tmp_path / "a.zarr", version)["0"] = pixels(1, 2, 1, 4, 4)
    assert type(ps.open_ome_zarr(tmp_path / "a.zarr")) is LAYOUTS[layout]


@pytest.mark.parametrize(
    ("created", "asked"), [("hcs", "fov"), ("hcs", "tiled"), ("fov", "hcs"), ("fov", "bf2raw")]
)
@pytest.mark.parametrize("mode", ["r", "r+", "a"])
def test_a_layout_that_the_store_has_not_is_refused(tmp_path, created, asked, mode, version):
    path = tmp_path / "a.zarr"
    ps.open_ome_zarr(path, layout=created, mode="w-", channel_names=["a"], version=version)
    with refused(ps.ArgumentError, ValueError, tree=path):
        ps.open_ome_zarr(path, layout=asked, mode=mode, channel_names=["a"])


def test_a_position_opens_as_tiled(tmp_path, version):
    new_position(tmp_path / "a.zarr", version)["0"] = pixels(1, 2, 1, 4, 4)
    node = ps.open_ome_zarr(tmp_path / "a.zarr", layout="tiled")
    assert type(node) is ps.TiledPosition
    assert type(node["0"]) is ps.TiledImageArray


def test_a_plate_with_an_image_of_its_own_is_a_plate(tmp_path, version):
    # The specification ranks the plate's metadata above that of an image.
    path = tmp_path / "a.zarr"
    stored_plate(path, version)
    image = new_position(tmp_path / "b.zarr", version)
    image["0"] = pixels(1, 2, 1, 4, 4)
    document = ".zattrs" if version == "0.4" else "zarr.json"
    plate, single = (
        json.loads((path / document).read_text()),
        json.loads((tmp_path / "b.zarr" / document).read_text()),
    )
    if version == "0.4":
        plate["multiscales"] = single["multiscales"]
    else:
        plate["attributes"]["ome"]["multiscales"] = single["attributes"]["ome"]["multiscales"]
    (path / document).write_text(json.dumps(plate))
    assert type(ps.open_ome_zarr(path)) is ps.Plate


@pytest.mark.parametrize(
    "make", [str, Path, lambda p: f"{p}/", lambda p: os.path.relpath(p), lambda p: f"{p}/../a.zarr"]
)
def test_a_path_may_be_spelled_in_any_way(tmp_path, make):
    path = tmp_path / "a.zarr"
    new_position(path)["0"] = pixels(1, 2, 1, 4, 4)
    assert ps.open_ome_zarr(make(path))["0"].shape == (1, 2, 1, 4, 4)


def test_parents_of_a_new_store_are_made(tmp_path, version):
    path = tmp_path / "some" / "where" / "a.zarr"
    ps.open_ome_zarr(path, layout="hcs", mode="a", channel_names=["a"], version=version)
    assert ps.open_ome_zarr(path).channel_names == ["a"]


@pytest.mark.parametrize("mode", CREATING)
def test_an_empty_directory_counts_as_nothing(tmp_path, mode, version):
    path = tmp_path / "a.zarr"
    path.mkdir()
    node = ps.open_ome_zarr(path, layout="hcs", mode=mode, channel_names=["a"], version=version)
    assert isinstance(node, ps.Plate)


def test_a_opens_an_existing_store_for_writing(tmp_path, version):
    path = tmp_path / "a.zarr"
    stored_plate(path, version)
    with ps.open_ome_zarr(path, layout="hcs", mode="a", channel_names=["DAPI", "GFP"]) as plate:
        plate.create_position("C", "1", "0")
    assert "C/1/0" in ps.open_ome_zarr(path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_w_replaces_a_store(tmp_path, layout, version):
    path = tmp_path / "a.zarr"
    stored_plate(path, "0.4")
    node = ps.open_ome_zarr(path, layout=layout, mode="w", channel_names=["new"], version=version)
    assert node.channel_names == ["new"]
    assert len(node) == 0
    assert not (path / "A").exists()
    assert os.listdir(tmp_path) == ["a.zarr"]


def test_w_minus_refuses_an_existing_store(tmp_path, version):
    path = tmp_path / "a.zarr"
    stored_plate(path, version)
    with refused(ps.NodeExistsError, FileExistsError, tree=path):
        ps.open_ome_zarr(path, layout="hcs", mode="w-", channel_names=["a"])


@pytest.mark.parametrize("mode", ["r", "r+"])
def test_a_missing_store_is_not_found(tmp_path, mode):
    with refused(ps.NodeNotFoundError, FileNotFoundError, tree=tmp_path, names=tmp_path / "no.zarr"):
        ps.open_ome_zarr(tmp_path / "no.zarr", mode=mode)


@pytest.mark.parametrize("mode", ["r", "r+"])
def test_a_missing_node_in_a_store_is_not_found(tmp_path, mode, version):
    path = tmp_path / "a.zarr"
    stored_plate(path, version)
    with refused(ps.NodeNotFoundError, FileNotFoundError, tree=path, names=path / "Z" / "9"):
        ps.open_ome_zarr(path / "Z" / "9", mode=mode)


@pytest.mark.parametrize("mode", CREATING)
def test_a_collection_cannot_be_created(tmp_path, mode):
    path = tmp_path / "a.zarr"
    with refused(ps.UnsupportedError, NotImplementedError, tree=tmp_path, names=path):
        ps.open_ome_zarr(path, layout="bf2raw", mode=mode, channel_names=["a"])


@pytest.mark.parametrize("opened", ["A", "A/1", "A/1/0"])
def test_every_node_of_a_plate_opens_by_its_path(tmp_path, opened, version):
    stored_plate(tmp_path / "a.zarr", version)
    expected = {1: ps.Row, 2: ps.Well, 3: ps.Position}[opened.count("/") + 1]
    assert type(ps.open_ome_zarr(tmp_path / "a.zarr" / opened)) is expected


def test_an_array_is_no_node(tmp_path, version):
    stored_plate(tmp_path / "a.zarr", version)
    with refused(ps.ArgumentError, ValueError, tree=tmp_path, names=tmp_path / "a.zarr/A/1/0/0"):
        ps.open_ome_zarr(tmp_path / "a.zarr/A/1/0/0")


def test_a_group_without_metadata_opens_as_fov_only(tmp_path, version):
    import zarr

    path = tmp_path / "a.zarr"
    zarr.create_group(path, zarr_format=2 if version == "0.4" else 3)
    with refused(ps.InvalidMetadataError, ValueError, tree=path):
        ps.open_ome_zarr(path)
    with refused(ps.InvalidMetadataError, ValueError, tree=path):
        ps.open_ome_zarr(path, layout="hcs")
    node = ps.open_ome_zarr(path, layout="fov", mode="r+", channel_names=["a"])
    node["0"] = pixels(1, 1, 1, 4, 4)
    assert ps.open_ome_zarr(path).channel_names == ["a"]


def test_a_store_can_be_moved(tmp_path, version):
    stored_plate(tmp_path / "a.zarr", version)
    shutil.move(tmp_path / "a.zarr", tmp_path / "elsewhere")
    plate = ps.open_ome_zarr(tmp_path / "elsewhere")
    assert [int(position.data[0, 0, 0, 0, 0]) for _, position in plate.positions()] == [1, 2, 3]


def test_a_node_is_a_context_manager(tmp_path, version):
    with ps.open_ome_zarr(
        tmp_path / "a.zarr", layout="fov", mode="w-", channel_names=["a"], version=version
    ) as node:
        node["0"] = pixels(1, 1, 1, 4, 4)
    np.testing.assert_array_equal(ps.open_ome_zarr(tmp_path / "a.zarr").data.numpy(), pixels(1, 1, 1, 4, 4))
    node.close()
