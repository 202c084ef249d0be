"""What others keep in a store, beside and below the plate, is neither overwritten nor swept away."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zarr

import platestore as ps
from nodes.store_helpers import (
    attributes,
    check_plate,
    edit_attributes,
    pixels,
    refused,
    snapshot,
    stored_plate,
)


@pytest.fixture
def fmt(version):
    return 2 if version == "0.4" else 3


@pytest.fixture
def path(tmp_path, version):
    return stored_plate(tmp_path / "plate.zarr", version)


def _array(place, fmt):
    """An array of zeros, of which nothing but the document is stored."""
    zarr.create_array(place, shape=(4,), dtype="uint8", zarr_format=fmt, attributes={"mine": 1})


def _group(place, fmt):
    zarr.create_group(place, zarr_format=fmt, attributes={"mine": 1})


CREATIONS = {
    "a row": ("C", lambda plate: plate.create_position("C", "1", "0")),
    "the row of a well": ("C", lambda plate: plate.create_well("C", "1")),
    "the row of a renamed well": ("C", lambda plate: plate.rename_well("A/1", "C/1")),
    "a well": ("A/5", lambda plate: plate.create_position("A", "5", "0")),
    "an empty well": ("A/5", lambda plate: plate.create_well("A", "5")),
    "a renamed well": ("A/5", lambda plate: plate.rename_well("A/1", "A/5")),
    "a position": ("A/1/5", lambda plate: plate.create_position("A", "1", "5")),
    "a position of a well": ("A/1/5", lambda plate: plate["A/1"].create_position("5")),
    "a position in a batch": (
        "A/1/5",
        lambda plate: plate.create_positions([("D", "4", "0"), ("A", "1", "5")], (1, 2, 1, 4, 4), "uint8"),
    ),
}


@pytest.mark.parametrize("what", CREATIONS)
def test_no_group_is_made_over_an_array_of_others(path, fmt, what):
    place, create = CREATIONS[what]
    _array(path / place, fmt)
    plate = ps.open_ome_zarr(path, mode="r+")
    with refused(ps.NodeExistsError, FileExistsError, tree=path, names=path / place):
        create(plate)
    array = zarr.open_array(path / place, mode="r")
    assert (array.shape, dict(array.attrs)) == ((4,), {"mine": 1})


@pytest.mark.parametrize("what", [k for k in CREATIONS if "row" not in k])
def test_no_group_of_others_loses_its_attributes(path, fmt, what):
    place, create = CREATIONS[what]
    _group(path / place, fmt)
    before = snapshot(path)
    plate = ps.open_ome_zarr(path, mode="r+")
    try:
        create(plate)
    except ps.NodeExistsError:
        assert snapshot(path) == before
    assert attributes(path / place)["mine"] == 1
    check_plate(path)


def test_a_row_of_others_becomes_a_row_and_keeps_its_attributes(path, fmt):
    _group(path / "C", fmt)
    ps.open_ome_zarr(path, mode="r+").create_position("C", "1", "0")
    assert attributes(path / "C")["mine"] == 1
    assert "C/1/0" in ps.open_ome_zarr(path)


@pytest.mark.parametrize("children", [False, True])
@pytest.mark.parametrize("way", ["zeros", "image", "assignment"])
def test_no_image_is_made_over_a_group_of_others(path, fmt, way, children):
    # Tables, for instance, lie in a group beside the levels.
    place = path / "A/1/0/tables"
    _group(place, fmt)
    if children:
        _group(place / "nuclei", fmt)
    position = ps.open_ome_zarr(path / "A/1/0", mode="r+")
    with refused(ps.NodeExistsError, FileExistsError, tree=path, names=place):
        if way == "zeros":
            position.create_zeros("tables", (1, 2, 1, 4, 4), "uint8")
        elif way == "image":
            position.create_image("tables", pixels(1, 2, 1, 4, 4))
        else:
            position["tables"] = pixels(1, 2, 1, 4, 4)
    assert list(position) == ["0"]
    assert dict(zarr.open_group(place, mode="r").attrs) == {"mine": 1}


@pytest.mark.parametrize("leave", ["rename", "delete"])
def test_a_row_that_is_left_empty_keeps_the_attributes_of_others(path, leave):
    edit_attributes(path / "B", mine=1)
    plate = ps.open_ome_zarr(path, mode="r+")
    if leave == "rename":
        plate.rename_well("B/1", "A/7")
    else:
        del plate["B/1"]
    assert attributes(path / "B") == {"mine": 1}
    check_plate(path)


def test_groups_of_others_in_a_position_survive_its_changes(path, fmt):
    _group(path / "A/1/0/tables", fmt)
    _array(path / "A/1/0/tables/values", fmt)
    before = snapshot(path / "A/1/0/tables")
    position = ps.open_ome_zarr(path / "A/1/0", mode="r+", overwriting_creation=True)
    position["0"] = pixels(1, 2, 1, 4, 4)
    position.append_channel("Cy5")
    position.create_zeros("1", (1, 3, 1, 4, 4), "uint8")
    del position["0"]
    position.set_scale("*", "x", 2)
    assert snapshot(path / "A/1/0/tables") == before
    assert "tables" in position.group_keys()
    assert list(position) == ["1"]


def test_groups_of_others_move_with_their_well(path, fmt):
    _group(path / "A/1/tables", fmt)
    ps.open_ome_zarr(path, mode="r+").rename_well("A/1", "C/7")
    assert attributes(path / "C/7/tables") == {"mine": 1}


def test_a_plate_inside_a_plain_group_is_a_plate(tmp_path, version, fmt):
    zarr.create_group(tmp_path / "collection.zarr", zarr_format=fmt)
    path = stored_plate(tmp_path / "collection.zarr" / "plates" / "one", version)
    plate = ps.open_ome_zarr(path, mode="r+")
    plate.rename_well("A/1", "C/9")
    plate.create_position("D", "1", "0")
    del plate["A/2"]
    ps.open_ome_zarr(path / "C/9", mode="r+").create_position("1")
    check_plate(path)
    assert [p for p, _ in ps.open_ome_zarr(path).positions()] == ["B/1/0", "C/9/0", "C/9/1", "D/1/0"]
    assert int(ps.open_ome_zarr(path)["C/9/0/0"][0, 0, 0, 0, 0]) == 1


def test_a_position_that_another_program_left_empty_is_filled(path, fmt):
    # Some writers make the groups first, and give them metadata with their first image.
    shutil.rmtree(path / "A/2/0")
    zarr.create_group(path / "A/2/0", zarr_format=fmt)
    plate = ps.open_ome_zarr(path, mode="r+")
    assert [p for p, _ in plate.positions()] == ["A/1/0", "A/2/0", "B/1/0"]
    position = plate["A/2/0"]
    assert list(position) == []
    position["0"] = pixels(1, 2, 1, 4, 4)
    np.testing.assert_array_equal(ps.open_ome_zarr(path)["A/2/0/0"].numpy(), pixels(1, 2, 1, 4, 4))
    check_plate(path)


@pytest.mark.parametrize(
    "name", ["two words.zarr", "Ünïcode-日本.zarr", "a#b%20c.zarr", "[brackets] & more.zarr"]
)
def test_any_path_will_do(tmp_path, version, name):
    path = tmp_path / name / "plate.zarr"
    plate = ps.open_ome_zarr(path, layout="hcs", mode="w", channel_names=["a"], version=version)
    plate.create_position("A", "1", "0")["0"] = pixels(1, 1, 1, 4, 4)
    plate.rename_well("A/1", "B/2")
    read = ps.open_ome_zarr(str(path))
    np.testing.assert_array_equal(read["B/2/0/0"].numpy(), pixels(1, 1, 1, 4, 4))
    np.testing.assert_array_equal(read["B/2/0/0"].tensorstore().read().result(), pixels(1, 1, 1, 4, 4))
    assert str(path) in repr(read)


@pytest.mark.parametrize("handles", ["one", "many"])
def test_threads_lose_nothing(path, handles):
    shared = ps.open_ome_zarr(path, mode="r+")

    def create(number):
        plate = shared if handles == "one" else ps.open_ome_zarr(path, mode="r+")
        position = plate.create_position("ABCD"[number % 4], str(3 + number // 8), f"n{number}")
        position["0"] = np.full((1, 2, 1, 4, 4), number, "uint8")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(create, range(32)))
    check_plate(path)
    read = ps.open_ome_zarr(path)
    found = {
        p.rpartition("/n")[2]: int(position.data[0, 0, 0, 0, 0])
        for p, position in read.positions()
        if "/n" in p
    }
    assert found == {str(number): number for number in range(32)}
