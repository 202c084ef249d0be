"""``del`` removes data and metadata, at every depth, and leaves stores that open."""

from __future__ import annotations

import pytest

import platestore as ps
from nodes.store_helpers import (
    attributes,
    check_plate,
    listed_wells,
    new_position,
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
    return ps.open_ome_zarr(path, mode="r+")


def rests(path):
    """What a deletion must not leave."""
    hidden = [p for p in path.rglob("*") if p.name.endswith((".tmp", ".new"))]
    return hidden or attributes(path).get("platestore", {}).get("intents")


def test_a_well(plate, path):
    siblings = {p: snapshot(path / p) for p in ("A/2", "B/1")}
    del plate["A/1"]
    assert not (path / "A/1").exists()
    assert listed_wells(path) == [p for p, _ in plate.wells()] == ["A/2", "B/1"]
    assert {p: snapshot(path / p) for p in siblings} == siblings
    check_plate(path)
    assert not rests(path)


def test_a_well_through_its_row(plate, path):
    row = plate["A"]
    del row["1"]
    assert not (path / "A/1").exists()
    assert list(row) == ["2"]
    check_plate(path)


def test_a_row(plate, path):
    del plate["A"]
    assert not (path / "A").exists()
    assert listed_wells(path) == ["B/1"]
    assert list(plate) == ["B"]
    assert "A" not in plate
    check_plate(path)
    assert not rests(path)


def test_the_last_well_leaves_an_empty_plate(plate, path):
    for well in ("A/1", "A/2", "B/1"):
        del plate[well]
    assert "plate" not in ome(path)
    reopened = ps.open_ome_zarr(path, mode="r+")
    assert type(reopened) is ps.Plate
    assert len(reopened) == 0
    assert reopened.channel_names == ["DAPI", "GFP"]
    assert not (path / "A").exists()
    reopened.create_position("A", "1", "0")
    check_plate(path)


@pytest.mark.parametrize("way", ["plate", "well", "row", "opened well"])
def test_a_position(plate, path, way):
    plate.create_position("A", "1", "1")
    if way == "plate":
        del plate["A/1/0"]
    elif way == "row":
        row = plate["A"]
        del row["1/0"]
    else:
        well = plate["A/1"] if way == "well" else ps.open_ome_zarr(path / "A/1", mode="r+")
        del well["0"]
        assert list(well) == ["1"]
    assert not (path / "A/1/0").exists()
    assert [p for p, _ in ps.open_ome_zarr(path).positions()] == ["A/1/1", "A/2/0", "B/1/0"]
    check_plate(path)
    assert not rests(path)
    assert not rests(path / "A/1")


def test_the_last_position_leaves_an_empty_well(plate, path):
    well = plate["A/1"]
    del well["0"]
    assert not (path / "A/1/0").exists()
    assert (path / "A/1").is_dir()
    assert "well" not in ome(path / "A/1")
    assert listed_wells(path) == ["A/1", "A/2", "B/1"]
    reopened = ps.open_ome_zarr(path, mode="r+")["A/1"]
    assert len(reopened) == 0
    assert reopened.channel_names == ["DAPI", "GFP"]
    reopened.create_position("5")["0"] = pixels(1, 2, 1, 4, 4)
    check_plate(path)


@pytest.mark.parametrize("key", [0, "0"])
def test_an_integer_names_a_position(plate, path, key):
    well = plate["A/1"]
    del well[key]
    assert not (path / "A/1/0").exists()


@pytest.mark.parametrize("way", ["plate", "well", "position"])
def test_an_image(plate, path, way):
    plate["A/1/0"].create_image("raw", pixels(1, 2, 1, 4, 4))
    if way == "plate":
        del plate["A/1/0/raw"]
    elif way == "well":
        well = plate["A/1"]
        del well["0/raw"]
    else:
        position = plate["A/1/0"]
        del position["raw"]
        assert list(position) == ["0"]
    assert not (path / "A/1/0/raw").exists()
    assert list(ps.open_ome_zarr(path)["A/1/0"]) == ["0"]
    assert not rests(path / "A/1/0")


def test_a_level_of_an_image(tmp_path, version):
    position = new_position(tmp_path / "a.zarr", version)
    position["0"] = pixels(1, 2, 1, 8, 8)
    position.create_image("1", pixels(1, 2, 1, 4, 4), transform=scale(1, 1, 1, 2, 2))
    assert ome(tmp_path / "a.zarr")["multiscales"][0]["type"] != "none"
    del position["1"]
    written = ome(tmp_path / "a.zarr")["multiscales"]
    assert [d["path"] for d in written[0]["datasets"]] == ["0"]
    assert written[0]["type"] == "none"
    assert not (tmp_path / "a.zarr/1").exists()


def test_the_last_image_leaves_an_empty_position(plate, path):
    position = plate["A/1/0"]
    position.set_contrast_limits("GFP", {"start": 1, "end": 2, "min": 0, "max": 3})
    del position["0"]
    reopened = ps.open_ome_zarr(path / "A/1/0", mode="r+")
    assert len(reopened) == 0
    assert reopened.channel_names == ["DAPI", "GFP"]
    assert "multiscales" not in ome(path / "A/1/0")
    reopened["0"] = pixels(1, 2, 1, 4, 4)
    assert ome(path / "A/1/0")["omero"]["channels"][1]["window"]["end"] == 2
    check_plate(path)


def test_an_array_that_nobody_lists(plate, path, version):
    import shutil

    shutil.copytree(path / "A/1/0/0", path / "A/1/0/left")
    before = snapshot(path / "A/1/0/0")
    position = plate["A/1/0"]
    del position["left"]
    assert not (path / "A/1/0/left").exists()
    assert snapshot(path / "A/1/0/0") == before


@pytest.mark.parametrize("key", ["C", "A/9", "A/1/9", "A/1/0/9", "a/1"])
def test_what_is_not_there_is_a_key_error(plate, path, key):
    with refused(ps.NodeKeyError, KeyError, tree=path):
        del plate[key]


@pytest.mark.parametrize("key", ["", "/", "."])
def test_nothing_at_all_is_not_everything(plate, path, key):
    for node, where in ((plate, ""), (plate["A/1"], "A/1"), (plate["A/1/0"], "A/1/0")):
        with refused(ps.PlatestoreError, Exception, tree=path, names=False):
            del node[key]
        assert (path / where).is_dir()


def test_what_another_process_deleted_is_a_key_error(plate, path):
    other = ps.open_ome_zarr(path, mode="r+")
    del other["A/1"]
    with refused(ps.NodeKeyError, KeyError, tree=path):
        del plate["A/1"]


def test_links_in_what_is_deleted_are_removed_not_followed(plate, path, tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "data").write_text("mine")
    (path / "A/1/0/link").symlink_to(tmp_path / "kept", target_is_directory=True)
    del plate["A/1"]
    assert not (path / "A/1").exists()
    assert (tmp_path / "kept" / "data").read_text() == "mine"


@pytest.mark.parametrize("key", ["A/1", "A/1/0", "A/1/0/0", "A"])
def test_metadata_goes_before_data(plate, path, key, monkeypatch):
    # Whoever reads between the two sees no entry without its data.
    from platestore.storage.local import LocalStorage

    original = LocalStorage.remove_tree
    seen = []

    def remove_tree(self, victim):
        if not victim.endswith((".tmp", ".new")):
            check_plate(path)
            opened = ps.open_ome_zarr(path)
            seen.append([p for p, position in opened.positions() for _ in position.images()])
        original(self, victim)

    monkeypatch.setattr(LocalStorage, "remove_tree", remove_tree)
    del plate[key]
    assert seen
    assert all(not p.startswith(key.rpartition("/0")[0] if key.endswith("/0/0") else key) for p in seen[-1])
