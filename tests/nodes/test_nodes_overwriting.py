"""``overwriting_creation=True`` replaces data and metadata of a child, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

import platestore as ps
from nodes.store_helpers import (
    attributes,
    check_plate,
    edit_attributes,
    listed_wells,
    ome,
    pixels,
    refused,
    scale,
    snapshot,
    stored_plate,
)


@pytest.fixture
def path(tmp_path, version):
    return stored_plate(tmp_path / "plate.zarr", version)


@pytest.fixture
def plate(path):
    return ps.open_ome_zarr(path, mode="r+", overwriting_creation=True)


def test_a_position_is_redone(plate, path):
    old = plate["A/1/0"]
    old.create_zeros("extra", (1, 2, 1, 4, 4), "uint8")
    old.zattrs["mine"] = 1
    siblings = {p: snapshot(path / p) for p in ("A/2", "B/1")}
    position = plate.create_position("A", "1", "0")
    assert position.channel_names == ["DAPI", "GFP"]
    assert len(position) == 0
    assert "mine" not in attributes(path / "A/1/0")
    position["0"] = pixels(1, 2, 1, 4, 4)
    reopened = ps.open_ome_zarr(path)
    assert [p for p, _ in reopened.positions()] == ["A/1/0", "A/2/0", "B/1/0"]
    assert list(reopened["A/1/0"]) == ["0"]
    np.testing.assert_array_equal(reopened["A/1/0/0"].numpy(), pixels(1, 2, 1, 4, 4))
    assert {p: snapshot(path / p) for p in siblings} == siblings
    check_plate(path)


def test_the_well_lists_a_redone_position_once_and_where_it_was(plate, path):
    plate.create_positions([("A", "1", "1"), ("A", "1", "2")])
    plate.create_position("A", "1", "1")
    assert [i["path"] for i in ome(path / "A/1")["well"]["images"]] == ["0", "1", "2"]


def test_a_position_is_redone_with_another_acquisition(plate, path):
    plate.create_position("A", "1", "0", acq_index=3)
    check_plate(path)
    assert ome(path / "A/1")["well"]["images"] == [{"path": "0", "acquisition": 3}]


def test_a_position_is_redone_through_its_well(plate, path):
    plate["A/1"].create_position("0")
    assert len(ps.open_ome_zarr(path)["A/1/0"]) == 0
    well = ps.open_ome_zarr(path / "A/2", mode="r+", overwriting_creation=True)
    well.create_position("0")
    assert len(ps.open_ome_zarr(path)["A/2/0"]) == 0
    check_plate(path)


def test_a_batch_redoes_some_and_adds_others(plate, path):
    specs = [("A", "1", "0"), ("A", "1", "1"), ("C", "1", "0"), ("B", "1", "0")]
    plate.create_positions(specs, shape=(1, 2, 1, 4, 4), dtype="uint8")
    reopened = ps.open_ome_zarr(path)
    assert [p for p, _ in reopened.positions()] == ["A/1/0", "A/1/1", "A/2/0", "B/1/0", "C/1/0"]
    shapes = {p: position.data.shape for p, position in reopened.positions()}
    assert shapes.pop("A/2/0") == (1, 2, 2, 8, 8)
    assert set(shapes.values()) == {(1, 2, 1, 4, 4)}
    check_plate(path)


def test_a_well_is_redone(plate, path):
    plate.create_position("A", "1", "1")
    well = plate.create_well("A", "1")
    assert len(well) == 0
    assert not (path / "A/1/0").exists()
    assert sorted(listed_wells(path)) == ["A/1", "A/2", "B/1"]
    check_plate(path)


def test_an_image_is_redone(plate, path):
    position = plate["A/1/0"]
    position.set_contrast_limits("GFP", {"start": 1, "end": 2, "min": 0, "max": 3})
    position.zattrs["mine"] = 1
    position.create_image("0", pixels(2, 2, 1, 4, 4, dtype="float32"), transform=scale(1, 1, 1, 3, 3))
    reopened = ps.open_ome_zarr(path / "A/1/0")
    assert list(reopened) == ["0"]
    np.testing.assert_array_equal(reopened.data.numpy(), pixels(2, 2, 1, 4, 4, dtype="float32"))
    assert reopened.data.dtype == "float32"
    assert reopened.scale == [1, 1, 1, 3, 3]
    assert reopened.zattrs["mine"] == 1, "the position is not redone"
    window = ome(path / "A/1/0")["omero"]["channels"][0]["window"]
    assert window == {"start": 0.0, "end": 1.0, "min": 0.0, "max": 1.0}, "windows fit the new type"


def test_an_image_is_redone_by_assignment_and_by_zeros(plate, path):
    position = plate["A/1/0"]
    position["0"] = pixels(1, 2, 1, 4, 4)
    assert position.data.shape == (1, 2, 1, 4, 4)
    position.create_zeros("0", (1, 2, 3, 4, 4), "uint8")
    assert ps.open_ome_zarr(path)["A/1/0/0"].shape == (1, 2, 3, 4, 4)
    assert not (position.data[...] != 0).any()


def test_a_level_is_redone_where_it_is(plate, path):
    position = plate["A/1/0"]
    position.create_image("1", pixels(1, 2, 2, 4, 4), transform=scale(1, 1, 1, 2, 2))
    position.create_image("2", pixels(1, 2, 2, 2, 2), transform=scale(1, 1, 1, 4, 4))
    position.create_image("1", pixels(1, 2, 2, 4, 4) + 1, transform=scale(1, 1, 1, 2, 2))
    written = ome(path / "A/1/0")["multiscales"]
    assert [d["path"] for d in written[0]["datasets"]] == ["0", "1", "2"]
    assert position.get_effective_scale("1") == [1, 1, 1, 2, 2]
    np.testing.assert_array_equal(position["1"].numpy(), pixels(1, 2, 2, 4, 4) + 1)


def test_an_image_of_its_own_stays_one(plate, path):
    position = plate["A/1/0"]
    position["raw"] = pixels(1, 2, 1, 4, 4)
    position["raw"] = pixels(1, 2, 1, 6, 6)
    assert [m["name"] for m in ome(path / "A/1/0")["multiscales"]][1:] == ["raw"]
    assert [[d["path"] for d in m["datasets"]] for m in ome(path / "A/1/0")["multiscales"]] == [
        ["0"],
        ["raw"],
    ]


def test_what_a_killed_writer_left_is_replaced(plate, path):
    import shutil

    shutil.copytree(path / "A/1", path / "C/1")
    shutil.copytree(path / "A/1/0", path / "A/1/9")
    shutil.copytree(path / "A/1/0/0", path / "A/1/0/left")
    plate.create_positions([("C", "1", "0"), ("A", "1", "9")])
    assert len(plate["C/1/0"]) == len(plate["A/1/9"]) == 0
    plate["A/1/0"].create_zeros("left", (1, 2, 1, 4, 4), "uint8")
    assert not plate["A/1/0/left"][...].any()
    check_plate(path)


def test_without_it_everything_that_exists_is_refused(path):
    plate = ps.open_ome_zarr(path, mode="r+")
    cases = (
        (lambda: plate.create_position("A", "1", "0"), "A/1/0"),
        (lambda: plate["A/1"].create_position("0"), "A/1/0"),
        (lambda: plate.create_well("A", "1"), "A/1"),
        (lambda: plate["A/1/0"].create_image("0", pixels(1, 2, 1, 4, 4)), "A/1/0/0"),
        (lambda: plate["A/1/0"].create_zeros("0", (1, 2, 1, 4, 4), "uint8"), "A/1/0/0"),
        (lambda: plate["A/1/0"].__setitem__("0", pixels(1, 2, 1, 4, 4)), "A/1/0/0"),
    )
    for change, where in cases:
        with refused(ps.NodeExistsError, FileExistsError, tree=path, names=path / where) as caught:
            change()
        assert "overwriting_creation" in caught.value.hint


def test_wrong_arguments_leave_what_would_be_replaced(plate, path):
    position = plate["A/1/0"]
    for arguments in (
        {"data": pixels(4, 4)},
        {"data": pixels(1, 3, 1, 4, 4)},
        {"data": pixels(1, 2, 1, 4, 4), "chunks": (1,)},
        {"data": pixels(1, 2, 1, 4, 4), "transform": scale(1, 1)},
        {"data": pixels(1, 2, 1, 4, 4).astype("complex64")},
        {"data": np.zeros((1, 2, 0, 4, 4))},
    ):
        with refused(ps.ArgumentError, ValueError, tree=path, names=False):
            position.create_image("0", **arguments)


def test_a_failing_write_leaves_what_would_be_replaced(plate, path, monkeypatch):
    position = plate["A/1/0"]
    before = snapshot(path)

    def fail(self, selection, value):
        raise OSError(28, "no space left")

    monkeypatch.setattr(ps.ImageArray, "__setitem__", fail)
    with pytest.raises(OSError, match="no space left"):
        position.create_image("0", pixels(1, 2, 1, 4, 4))
    assert snapshot(path) == before


def test_foreign_attributes_above_what_is_redone_survive(plate, path):
    for place in ("", "A", "A/1"):
        edit_attributes(path / place, lab={"notebook": place})
    plate = ps.open_ome_zarr(path, mode="r+", overwriting_creation=True)
    plate.create_position("A", "1", "0")
    plate["A/2/0"]["0"] = pixels(1, 2, 1, 4, 4)
    for place in ("", "A", "A/1"):
        assert attributes(path / place)["lab"] == {"notebook": place}
