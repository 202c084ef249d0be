"""Names: what the specification and every file system can take, and what becomes of the others."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore

import platestore as ps
from conftest import examples
from nodes.store_helpers import check_plate, edit_ome, new_position, pixels, refused, snapshot, stored_plate
from platestore.storage.local import LocalStorage

BAD = [
    "",
    " ",
    "A B",
    " A",
    "A ",
    "A\n",
    "\nA",
    "A\tB",
    "A/B",
    "/",
    "/A",
    "A/",
    "\\",
    "A\\B",
    ".",
    "..",
    "../A",
    ".hidden",
    "A.1",
    "A-1",
    "A_1",
    "Ä",
    "é",
    "А",  # Cyrillic
    "²",
    "½",
    "①",
    "٣",  # an Arabic-Indic digit
    "日本",
    "A\0",
    "*",
    "?",
    "A:1",
    "CON",
    "con",
    "nul",
    "COM1",
    "lpt9",
]
NO_STRINGS = [None, 1, 1.0, True, b"A", ("A",), ["A"], Ellipsis]


@pytest.fixture
def path(tmp_path, version):
    return stored_plate(tmp_path / "plate.zarr", version)


@pytest.fixture
def plate(path):
    return ps.open_ome_zarr(path, mode="r+")


def calls(plate, name):
    """Every way in which a name is given."""
    well = plate["A/1"]
    return {
        "row": lambda: plate.create_position(name, "7", "0"),
        "column": lambda: plate.create_position("G", name, "0"),
        "position": lambda: plate.create_position("G", "7", name),
        "row of a well": lambda: plate.create_well(name, "7"),
        "column of a well": lambda: plate.create_well("G", name),
        "row in a batch": lambda: plate.create_positions([("G", "7", "0"), (name, "7", "0")]),
        "position in a batch": lambda: plate.create_positions([("G", "7", "0"), ("G", "7", name)]),
        "position of a well": lambda: well.create_position(name),
    }


@pytest.mark.parametrize("name", [*BAD, *NO_STRINGS], ids=repr)
def test_a_bad_name_is_refused_everywhere_and_nothing_is_made(plate, path, name):
    for way, call in calls(plate, name).items():
        before = snapshot(path)
        with pytest.raises(ValueError, match=r"(?s).") as caught:
            call()
        assert isinstance(caught.value, ps.InvalidNameError), way
        if isinstance(name, str):
            assert repr(name) in str(caught.value), "the name is shown"
            assert caught.value.hint, way
        assert snapshot(path) == before, way
    check_plate(path)


@pytest.mark.parametrize("name", ["A", "a1", "0", "007", "Z9z", "x" * 60, "CONTROL", "COM10", "NULL"])
def test_letters_and_digits_are_names(plate, path, name):
    plate.create_position("G" + name, "7" + name, name)
    assert f"G{name}/7{name}/{name}" in ps.open_ome_zarr(path)
    check_plate(path)


IMAGE_NAMES = ["0", "raw", "raw_data", "a-b", "level.1", "0.1", "x" * 60]
BAD_IMAGE_NAMES = [
    "",
    " ",
    "a b",
    "a\n",
    "a/b",
    "/0",
    "0/",
    "a\\b",
    ".",
    "..",
    "../0",
    ".hidden",
    ".zattrs",
    ".zarray",
    "zarr.json",
    "__private",
    "dot.",
    "labels",
    "OME",
    "ä",
    "²",
    "nul",
    "NUL.txt",
    "a:b",
    "a*",
    "a\0",
]


@pytest.mark.parametrize("name", IMAGE_NAMES)
def test_names_of_images(tmp_path, version, name):
    position = new_position(tmp_path / "a.zarr", version)
    position[name] = pixels(1, 2, 1, 4, 4)
    assert list(ps.open_ome_zarr(tmp_path / "a.zarr")) == [name]


@pytest.mark.parametrize("name", [*BAD_IMAGE_NAMES, None, True, 1.5, b"0"], ids=repr)
def test_bad_names_of_images_are_refused(tmp_path, version, name):
    position = new_position(tmp_path / "a.zarr", version)
    for call in (
        lambda: position.create_zeros(name, (1, 2, 1, 4, 4), "uint8"),
        lambda: position.create_image(name, pixels(1, 2, 1, 4, 4)),
    ):
        with refused(ps.InvalidNameError, ValueError, tree=tmp_path, names=False):
            call()


@settings(deadline=None, max_examples=examples(60))
@given(name=st.text(max_size=5), kind=st.sampled_from(["row", "column", "position"]))
def test_a_name_is_taken_exactly_if_it_is_alphanumeric_ascii(name, kind):
    import re

    plate = ps.open_ome_zarr(MemoryStore(), layout="hcs", mode="w", channel_names=["a"])
    arguments = {"row": "A", "column": "1", "position": "0", kind: name}
    reserved = re.fullmatch(r"(?i)con|prn|aux|nul|com[0-9]|lpt[0-9]", name)
    legal = bool(name) and name.isascii() and name.isalnum() and not reserved
    if legal:
        plate.create_position(*arguments.values())
        assert "/".join(arguments.values()) in plate
    else:
        with pytest.raises(ps.InvalidNameError):
            plate.create_position(*arguments.values())
        assert len(plate) == 0


# --- case -----------------------------------------------------------------------------------------

SAME_BUT_FOR_CASE = {
    "row": lambda plate: plate.create_position("a", "7", "0"),
    "row of a well": lambda plate: plate.create_well("a", "7"),
    "position": lambda plate: plate.create_positions([("G", "7", "x"), ("G", "7", "X")]),
    "column": lambda plate: plate.create_positions([("G", "x", "0"), ("G", "X", "0")]),
    "row by renaming": lambda plate: plate.rename_well("B/1", "a/7"),
}


@pytest.mark.parametrize("what", SAME_BUT_FOR_CASE)
def test_names_that_differ_only_in_case_are_a_warning(plate, path, what):
    with pytest.warns(UserWarning, match="differ only in case"):
        SAME_BUT_FOR_CASE[what](plate)
    check_plate(path)


@pytest.mark.parametrize("what", SAME_BUT_FOR_CASE)
def test_names_that_differ_only_in_case_are_an_error_where_the_file_system_folds_it(
    plate, path, what, monkeypatch
):
    monkeypatch.setattr(LocalStorage, "folds_case", lambda self: True)
    with refused(ps.InvalidNameError, ValueError, tree=path):
        SAME_BUT_FOR_CASE[what](plate)


@pytest.mark.parametrize("folds", [False, True])
def test_names_of_images_that_differ_only_in_case(tmp_path, version, folds, monkeypatch):
    position = new_position(tmp_path / "a.zarr", version)
    position["raw"] = pixels(1, 2, 1, 4, 4)
    monkeypatch.setattr(LocalStorage, "folds_case", lambda self: folds)
    if folds:
        with refused(ps.InvalidNameError, ValueError, tree=tmp_path, names=tmp_path / "a.zarr"):
            position["RAW"] = pixels(1, 2, 1, 4, 4)
    else:
        with pytest.warns(UserWarning, match="differ only in case"):
            position["RAW"] = pixels(1, 2, 1, 4, 4)
        assert list(position) == ["raw", "RAW"]


def test_case_is_probed_on_the_file_system_of_the_store(path):
    import os

    storage = ps.open_ome_zarr(path).__editor__().location.storage
    document = next(name for name in ("zarr.json", ".zgroup") if (path / name).exists())
    assert storage.folds_case() == os.path.exists(path / document.upper())


def test_a_row_of_a_case_that_a_key_has_not(path):
    plate = ps.open_ome_zarr(path)
    assert "a/1" not in plate
    with refused(ps.NodeKeyError, KeyError):
        plate["a/1"]


# --- names that others wrote ----------------------------------------------------------------------


def test_names_of_others_are_read_with_a_warning(path):
    (path / "A" / "1" / "0").rename(path / "A" / "1" / "field_0")

    def rename(part):
        part["well"]["images"][0]["path"] = "field_0"

    edit_ome(path / "A/1", rename)
    with pytest.warns(ps.StoreWarning, match="field_0"):
        position = ps.open_ome_zarr(path)["A/1/field_0"]
    assert position.data[0, 0, 0, 0, 0] == 1


def test_wells_of_others_with_longer_names(path):
    (path / "B").rename(path / "row-B")

    def rename(part):
        part["plate"]["rows"][1]["name"] = "row-B"
        part["plate"]["wells"][2]["path"] = "row-B/1"

    edit_ome(path, rename)
    with pytest.warns(ps.StoreWarning, match="row-B"):
        plate = ps.open_ome_zarr(path, mode="r+")
    assert plate["row-B/1/0"].data[0, 0, 0, 0, 0] == 3
    assert list(plate) == ["A", "row-B"]
    plate.create_position("C", "1", "0")
    assert [p for p, _ in plate.positions()] == ["A/1/0", "A/2/0", "row-B/1/0", "C/1/0"]
