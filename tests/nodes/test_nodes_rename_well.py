"""``rename_well``: within a row and across rows, that well only, with every index right."""

from __future__ import annotations

import json

import pytest

import platestore as ps
from nodes.store_helpers import (
    attributes,
    check_plate,
    edit_attributes,
    group_document,
    listed_wells,
    new_plate,
    placed_wells,
    refused,
    snapshot,
    stored_plate,
)


@pytest.fixture
def path(tmp_path, version):
    return stored_plate(tmp_path / "plate.zarr", version)


def values(path):
    """The number in each image, by path."""
    return {p: int(position.data[0, 0, 0, 0, 0]) for p, position in ps.open_ome_zarr(path).positions()}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("A/1", "A/9"),
        ("A/1", "A/3"),
        ("A/1", "B/2"),
        ("A/1", "C/1"),
        ("A/1", "C/9"),
        ("B/1", "A/3"),
        ("B/1", "Z/Z9"),
    ],
)
def test_a_well_moves_with_its_data_and_its_index(path, old, new):
    expected = {f"{new}/0" if p == f"{old}/0" else p: v for p, v in values(path).items()}
    untouched = {p: snapshot(path / p) for p in ("A/1", "A/2", "B/1") if p != old}
    plate = ps.open_ome_zarr(path, mode="r+")
    assert plate.rename_well(old, new) is None
    assert values(path) == expected
    assert list(dict(plate.wells())) == placed_wells(path)
    assert listed_wells(path) == [p.removesuffix("/0") for p in expected], "in the place of the old one"
    meta = check_plate(path)
    for key, i in (("rows", 0), ("columns", 1)):
        assert {item["name"] for item in meta[key]} == {p.split("/")[i] for p in expected}, "those in use"
    for sibling, content in untouched.items():
        assert snapshot(path / sibling) == content
    assert not (path / old).exists()
    assert "intents" not in attributes(path).get("platestore", {})


def test_the_moved_well_is_the_same_byte_for_byte(path):
    before = snapshot(path / "A/1")
    ps.open_ome_zarr(path, mode="r+").rename_well("A/1", "F/6")
    assert snapshot(path / "F/6") == before


def test_a_row_that_is_left_empty_goes(path):
    plate = ps.open_ome_zarr(path, mode="r+")
    plate.rename_well("B/1", "A/5")
    assert not (path / "B").exists()
    assert "B" not in plate
    meta = check_plate(path)
    assert [row["name"] for row in meta["rows"]] == ["A"]
    assert [column["name"] for column in meta["columns"]] == ["1", "2", "5"]
    plate.rename_well("A/5", "B/1")
    assert [column["name"] for column in check_plate(path)["columns"]] == ["1", "2"]
    assert values(path) == {"A/1/0": 1, "A/2/0": 2, "B/1/0": 3}


def test_indices_follow_when_a_row_or_a_column_before_them_goes(path):
    plate = ps.open_ome_zarr(path, mode="r+")
    plate.create_position("C", "9", "0")
    del plate["A"]
    assert check_plate(path)["wells"] == [
        {"path": "B/1", "rowIndex": 0, "columnIndex": 0},
        {"path": "C/9", "rowIndex": 1, "columnIndex": 1},
    ]
    plate.rename_well("B/1", "D/8")
    assert check_plate(path)["wells"] == [
        {"path": "D/8", "rowIndex": 1, "columnIndex": 1},
        {"path": "C/9", "rowIndex": 0, "columnIndex": 0},
    ]


def test_rows_that_were_put_there_to_give_an_index_stay(tmp_path, version):
    plate = new_plate(tmp_path / "p.zarr", version)
    plate.create_position("C", "3", "0", row_index=2, col_index=2)
    plate.create_position("D", "4", "0")
    plate.rename_well("D/4", "C/4")
    meta = check_plate(tmp_path / "p.zarr")
    assert [[item["name"] for item in meta[key]] for key in ("rows", "columns")] == [[*"ABC"], [*"1234"]]


@pytest.mark.parametrize("declared", ["format", "grid of others"])
def test_a_declared_plate_keeps_its_rows_and_columns(tmp_path, version, declared):
    path = tmp_path / "p.zarr"
    plate = new_plate(path, version, plate_format=96)
    plate.create_positions([("A", "1", "0"), ("B", "2", "0")])
    if declared != "format":
        edit_attributes(path, platestore={})
        plate = ps.open_ome_zarr(path, mode="r+")
    plate.rename_well("B/2", "C/3")
    del plate["A/1"]
    meta = check_plate(path)
    assert (len(meta["rows"]), len(meta["columns"])) == (8, 12)
    assert meta["wells"] == [{"path": "C/3", "rowIndex": 2, "columnIndex": 2}]


def test_a_row_with_something_of_others_stays(path):
    (path / "B" / "notes.txt").write_text("mine")
    ps.open_ome_zarr(path, mode="r+").rename_well("B/1", "A/5")
    assert (path / "B" / "notes.txt").read_text() == "mine"


def test_two_wells_can_change_places(path):
    plate = ps.open_ome_zarr(path, mode="r+")
    plate.rename_well("A/1", "T/1")
    plate.rename_well("A/2", "A/1")
    plate.rename_well("T/1", "A/2")
    assert values(path) == {"A/2/0": 1, "A/1/0": 2, "B/1/0": 3}
    check_plate(path)


def test_onto_an_existing_well_is_refused(path):
    plate = ps.open_ome_zarr(path, mode="r+")
    with refused(ps.NodeExistsError, FileExistsError, tree=path, names=path / "A/2"):
        plate.rename_well("A/1", "A/2")
    assert values(path) == {"A/1/0": 1, "A/2/0": 2, "B/1/0": 3}


def test_onto_data_that_nobody_lists_is_refused(path):
    import shutil

    shutil.copytree(path / "A/2", path / "C/7")
    with refused(ps.NodeExistsError, FileExistsError, tree=path, names=path / "C/7"):
        ps.open_ome_zarr(path, mode="r+").rename_well("A/1", "C/7")


def test_onto_foreign_documents_is_refused_or_keeps_them(path):
    # A directory that is there without chunks is not silently replaced either.
    (path / "C" / "7").mkdir(parents=True)
    (path / "C" / "7" / ".zattrs").write_text('{"mine": 1}')
    plate = ps.open_ome_zarr(path, mode="r+")
    try:
        plate.rename_well("A/1", "C/7")
    except FileExistsError:
        assert json.loads((path / "C" / "7" / ".zattrs").read_text()) == {"mine": 1}
        assert values(path) == {"A/1/0": 1, "A/2/0": 2, "B/1/0": 3}
    else:
        assert values(path) == {"C/7/0": 1, "A/2/0": 2, "B/1/0": 3}
    check_plate(path)


def test_a_missing_well_is_not_found(path):
    with refused(ps.NodeNotFoundError, FileNotFoundError, tree=path) as caught:
        ps.open_ome_zarr(path, mode="r+").rename_well("Z/9", "A/3")
    assert "Z/9" in str(caught.value)


def test_to_its_own_name_changes_nothing(path):
    before = snapshot(path)
    ps.open_ome_zarr(path, mode="r+").rename_well("A/1", "A/1")
    assert snapshot(path) == before


@pytest.mark.parametrize(
    "new",
    [
        "",
        "A",
        "A/",
        "/1",
        "A/1/0",
        "A-B/1",
        "A/1 ",
        "A/ö",
        "../B/1",
        "A/..",
        "A/1\n",
        "A/2²",
        None,
        3,
        "CON/1",
    ],
)
def test_a_bad_new_name_is_refused(path, new):
    with refused(ps.InvalidNameError, ValueError, tree=path, names=False):
        ps.open_ome_zarr(path, mode="r+").rename_well("A/1", new)


def test_off_the_declared_grid_is_refused(tmp_path, version):
    path = tmp_path / "plate.zarr"
    plate = ps.open_ome_zarr(
        path, layout="hcs", mode="w-", channel_names=["a"], version=version, plate_format=6
    )
    plate.create_position("A", "1", "0")
    with refused(ps.ArgumentError, ValueError, tree=path, names=False):
        plate.rename_well("A/1", "C/1")
    plate.rename_well("A/1", "B/3")
    assert check_plate(path)["wells"] == [{"path": "B/3", "rowIndex": 1, "columnIndex": 2}]


def test_foreign_keys_of_the_entry_survive(path):
    document = group_document(path)
    content = json.loads(document.read_text())
    plate = (content if document.name == ".zattrs" else content["attributes"]["ome"])["plate"]
    plate["wells"][0]["compound"] = "DMSO"
    document.write_text(json.dumps(content))
    ps.open_ome_zarr(path, mode="r+").rename_well("A/1", "A/7")
    assert check_plate(path)["wells"][0] == {
        "path": "A/7",
        "rowIndex": 0,
        "columnIndex": 2,
        "compound": "DMSO",
    }


def test_another_process_that_added_a_well_meanwhile_loses_nothing(path):
    plate = ps.open_ome_zarr(path, mode="r+")
    ps.open_ome_zarr(path, mode="r+").create_position("D", "4", "0")
    plate.rename_well("A/1", "A/7")
    assert listed_wells(path) == ["A/7", "A/2", "B/1", "D/4"]
    with pytest.raises(FileExistsError):
        plate.rename_well("A/2", "D/4")


# --- interrupted ----------------------------------------------------------------------------------


def _interrupt(path, moved):
    """Leave the plate as a process that died in ``rename_well("A/1", "C/7")`` does."""
    before = snapshot(path)
    plate = ps.open_ome_zarr(path, mode="r+")

    class Killed(BaseException):
        pass

    def stop(intent):
        if moved:
            (path / "C").mkdir()
            (path / "A/1").rename(path / "C/7")
        raise Killed

    plate.__editor__().finish = stop
    with pytest.raises(Killed):
        plate.rename_well("A/1", "C/7")
    assert snapshot(path) != before


@pytest.mark.parametrize("moved", [False, True])
def test_a_reader_sees_an_interrupted_well_where_it_is(path, moved):
    _interrupt(path, moved)
    before = snapshot(path)
    plate = ps.open_ome_zarr(path)
    here = "C/7" if moved else "A/1"
    assert {p: int(position.data[0, 0, 0, 0, 0]) for p, position in plate.positions()} == {
        f"{here}/0": 1,
        "A/2/0": 2,
        "B/1/0": 3,
    }
    assert here in plate
    assert f"{here}/0/0" in plate
    assert snapshot(path) == before, "a reader changes nothing"


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("mode", ["r+", "a"])
def test_a_writer_finishes_an_interrupted_renaming(path, moved, mode):
    _interrupt(path, moved)
    plate = ps.open_ome_zarr(path, layout="hcs", mode=mode, channel_names=["a"])
    assert values(path) == {"C/7/0": 1, "A/2/0": 2, "B/1/0": 3}
    assert listed_wells(path) == ["C/7", "A/2", "B/1"]
    assert [p for p, _ in plate.wells()] == ["A/2", "B/1", "C/7"]
    check_plate(path)
    assert "intents" not in attributes(path).get("platestore", {})


def test_an_intent_of_a_later_version_is_left_alone(path):
    own = {"intents": [{"operation": "teleport", "id": "1", "path": "A/1"}]}
    edit_attributes(path, platestore=own)
    with pytest.warns(ps.StoreWarning, match="teleport"):
        plate = ps.open_ome_zarr(path, mode="r+")
    with pytest.warns(ps.StoreWarning, match="teleport"):
        plate.zattrs["mine"] = 1
    assert attributes(path)["platestore"]["intents"] == own["intents"]
    assert values(path) == {"A/1/0": 1, "A/2/0": 2, "B/1/0": 3}


def test_handles_from_before_say_that_something_was_renamed_or_removed(path):
    old, well, position = (ps.open_ome_zarr(path / place) for place in ("", "A/1", "A/2/0"))
    plate = ps.open_ome_zarr(path, mode="r+")
    plate.rename_well("A/1", "D/4")
    del plate["A/2/0/0"]
    for call in (lambda: old["A/1"], lambda: well["0"], lambda: position["0"]):
        with pytest.raises(ps.NodeNotFoundError, match=r"removed or renamed.*refresh\(\)") as caught:
            call()
        assert "del" not in str(caught.value)
