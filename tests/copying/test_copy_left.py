"""Nothing that looks like pixels stays behind, or reads as the fill value, without a word in the report."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore, ZipStore

import platestore as ps
from conftest import make_plate
from copying.copy_helpers import check_store
from nodes.store_helpers import attributes, edit_attributes, ome, snapshot

OTHER = {"0.4": "0.5", "0.5": "0.4"}
SHAPE, CHUNKS = (1, 2, 2, 8, 8), (1, 1, 1, 4, 4)
CHANGES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "version": {"version": True},
    "a crop of whole chunks": {"crop": "0:4,0:8"},
    "a crop": {"crop": "1:5,2:8"},
    "another layout": {"chunks": (1, 1, 2, 8, 8)},
}


def options_of(change: str, version: str) -> dict[str, Any]:
    """Arguments of a copy."""
    options = dict(CHANGES[change])
    if options.get("version"):
        options["version"] = OTHER[version]
    return options


def data() -> np.ndarray:
    return np.arange(1, 257, dtype="uint16").reshape(SHAPE)


def cropped(options: dict[str, Any]) -> np.ndarray:
    rows = [slice(*map(int, part.split(":"))) for part in options.get("crop", "0:8,0:8").split(",")]
    return data()[(..., *rows)]


@pytest.fixture
def image(tmp_path: Path, version: str) -> Path:
    """A position with pixels everywhere."""
    return position(tmp_path / "a.zarr", version)


def position(path: Path, version: str, **layout: Any) -> Path:
    node = ps.open_ome_zarr(path, layout="fov", mode="w-", channel_names=["DAPI", "GFP"], version=version)
    node.create_image("0", data(), chunks=CHUNKS, **layout)
    return path


def edit_array(path: Path, **fields: Any) -> None:
    """Change the document of an array."""
    file = next(path / name for name in (".zarray", "zarr.json") if (path / name).exists())
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


def rename_chunks(array: Path, style: str) -> int:
    """Give the chunk files of an array names of another style; returns how many there are."""
    files = [p for p in array.rglob("*") if p.is_file() and p.name not in (".zarray", "zarr.json", ".zattrs")]
    held = {}
    for file in files:
        numbers = [n for n in str(file.relative_to(array)).replace("/", ".").split(".") if n != "c"]
        held[style.removeprefix("v/").removeprefix("v.") + style[-1].join(numbers)] = file.read_bytes()
    for entry in [p for p in array.iterdir() if p not in (array / ".zarray", array / "zarr.json")]:
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    for name, content in held.items():
        (array / name).parent.mkdir(parents=True, exist_ok=True)
        (array / name).write_bytes(content)
    return len(held)


# --- chunks that have other names -----------------------------------------------------------------


@pytest.mark.parametrize("change", list(CHANGES))
def test_dotted_chunks_of_v2_get_directories_in_0_4(tmp_path, change):
    path, options = position(tmp_path / "a.zarr", "0.4"), options_of(change, "0.4")
    rename_chunks(path / "0", "v.")
    edit_array(path / "0", dimension_separator=".")
    before = snapshot(path)
    report = ps.copy(path, tmp_path / "b.zarr", verify=True, **options)
    np.testing.assert_array_equal(ps.open_ome_zarr(tmp_path / "b.zarr")["0"][...], cropped(options))
    check_store(tmp_path / "b.zarr", report.version)
    assert ps.validate(tmp_path / "b.zarr").valid
    renamed = report.arrays[0].how == "files" and report.version == "0.4"
    assert any("0/0" in note and "renamed" in note for note in report.notes) == renamed
    assert report.unclaimed == 0
    assert snapshot(path) == before


@pytest.mark.parametrize("style", ["c.", "v.", "v/"])
@pytest.mark.parametrize("crop", [None, "0:4,0:8", "1:5,2:8"])
def test_chunks_of_v3_in_any_style_get_directories_in_0_4(tmp_path, style, crop):
    path = position(tmp_path / "a.zarr", "0.5")
    rename_chunks(path / "0", style)
    name = "default" if style[0] == "c" else "v2"
    edit_array(path / "0", chunk_key_encoding={"name": name, "configuration": {"separator": style[-1]}})
    options = {} if crop is None else {"crop": crop}
    report = ps.copy(path, tmp_path / "b.zarr", version="0.4", verify=True, **options)
    np.testing.assert_array_equal(ps.open_ome_zarr(tmp_path / "b.zarr")["0"][...], cropped(options))
    assert ps.validate(tmp_path / "b.zarr").valid
    assert json.loads((tmp_path / "b.zarr/0/.zarray").read_text())["dimension_separator"] == "/"
    renamed = style[-1] == "." and report.arrays[0].how == "files"
    assert any("renamed" in note for note in report.notes) == renamed
    back = ps.copy(tmp_path / "b.zarr", tmp_path / "c.zarr", version="0.5")
    np.testing.assert_array_equal(ps.open_ome_zarr(tmp_path / "c.zarr")["0"][...], cropped(options))
    assert back.notes == []


@pytest.mark.parametrize("change", list(CHANGES))
@pytest.mark.filterwarnings("ignore:.*dimension_separator:platestore.StoreWarning")
def test_nested_chunks_without_a_separator_are_copied_as_they_are_meant(tmp_path, change):
    path, options = position(tmp_path / "a.zarr", "0.4"), options_of(change, "0.4")
    document = json.loads((path / "0/.zarray").read_text())
    del document["dimension_separator"]
    (path / "0/.zarray").write_text(json.dumps(document))
    report = ps.copy(path, tmp_path / "b.zarr", verify=True, **options)
    np.testing.assert_array_equal(ps.open_ome_zarr(tmp_path / "b.zarr")["0"][...], cropped(options))
    assert ps.validate(tmp_path / "b.zarr").valid
    assert report.unclaimed == 0


@pytest.mark.parametrize("change", list(CHANGES))
@pytest.mark.parametrize("style", ["v.", "v/", "c.", "c/"])
@pytest.mark.parametrize("form", [".zarr", ".ozx"])
def test_chunks_that_no_array_claims_are_counted_and_told(tmp_path, version, change, style, form):
    right = "c/" if version == "0.5" else "v/"
    if style == right or (style[0] == "c" and version == "0.4"):
        pytest.skip("these are the names that the document says, or none of this version")
    options = options_of(change, version)
    if form == ".ozx" and (version == "0.4" or "version" in options):
        pytest.skip("archives are of 0.5")
    path = position(tmp_path / "a.zarr", version)
    count = rename_chunks(path / "0", style)
    report = ps.copy(path, tmp_path / f"b{form}", verify=True, **options)
    assert report.unclaimed == count
    assert report.to_json()["unclaimed"] == count
    told = [note for note in report.notes if note.startswith(f"0: {count} files named like")]
    assert len(told) == 1
    assert ("copied as they are" in told[0]) or ("left behind" in told[0])
    there = [p for p in (tmp_path / "b.zarr").rglob("*") if p.is_file() and p.name[0] not in ".z"]
    if form == ".zarr":
        assert (len(there) == count) == ("copied as they are" in told[0])


@pytest.mark.parametrize("change", list(CHANGES))
def test_chunks_of_a_former_larger_shape_are_told(image, tmp_path, version, change):
    edit_array(image / "0", shape=[1, 2, 2, 8, 4])
    options = options_of(change, version)
    options = (
        {**options, "crop": options["crop"].replace("0:8", "0:4").replace("2:8", "2:4")}
        if "crop" in options
        else options
    )
    report = ps.copy(image, tmp_path / "b.zarr", verify=True, **options)
    assert report.unclaimed == 8
    assert sum("8 chunk files outside of its shape" in note for note in report.notes) == 1


def test_shards_in_another_style_are_told(tmp_path):
    path = position(tmp_path / "a.zarr", "0.5", shards_ratio=(1, 1, 2, 2, 2))
    count = rename_chunks(path / "0", "v/")
    for name, options in (("b", {}), ("c", {"chunks": (1, 1, 2, 8, 8)}), ("d", {"crop": "0:4,0:4"})):
        assert ps.copy(path, tmp_path / f"{name}.zarr", **options).unclaimed == count


@pytest.mark.parametrize("change", list(CHANGES))
def test_pixels_whose_array_lost_its_document_are_told(image, tmp_path, version, change):
    shutil.copytree(image / "0", image / "1")
    (image / "1" / (".zarray" if version == "0.4" else "zarr.json")).unlink()
    report = ps.copy(image, tmp_path / "b.zarr", **options_of(change, version))
    assert report.unclaimed == 16
    assert sum("where no array is" in note for note in report.notes) == 1


def test_many_arrays_are_told_of_in_one_line(tmp_path, version):
    plate = make_plate(tmp_path / "a.zarr", version)
    for name, _ in plate.positions():
        rename_chunks(tmp_path / "a.zarr" / name / "0", "v.")
    report = ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr")
    assert len(report.notes) == 1
    assert report.notes[0].startswith("3 places (A/1/0/0, ...): 6 files")


# --- labels ---------------------------------------------------------------------------------------


def labelled(path: Path, version: str, kept: str) -> Path:
    """A position with a label image, whose list is not where it should be."""
    node = ps.open_ome_zarr(position(path, version), mode="r+")
    node.create_label("cells", (data() % 5).astype("uint8")[:, :1])
    group = path / "labels"
    document = group / (".zattrs" if version == "0.4" else "zarr.json")
    if version == "0.4":
        document.write_text("{}") if kept == "no list" else document.unlink()
    else:
        document.write_text(json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {}}))
    if kept == "no group":
        for name in (".zgroup", "zarr.json"):
            (group / name).unlink(missing_ok=True)
    if kept == "in the position":  # as iohub does
        content = attributes(path)
        (content if version == "0.4" else content["ome"])["labels"] = {"labels": ["cells"]}
        edit_attributes(path, **content)
    return path


@pytest.mark.parametrize("kept", ["no list", "no document", "no group", "in the position"])
@pytest.mark.parametrize("change", [c for c in CHANGES if c != "nothing"])
@pytest.mark.filterwarnings("ignore::platestore.StoreWarning")
def test_label_images_that_nothing_lists_are_copied_and_listed(tmp_path, version, kept, change):
    path, options = labelled(tmp_path / "a.zarr", version, kept), options_of(change, version)
    report = ps.copy(path, tmp_path / "b.zarr", verify=True, **options)
    copied = ps.open_ome_zarr(tmp_path / "b.zarr")
    assert copied.label_names == ["cells"]
    expected = (cropped(options) % 5)[:, :1]
    np.testing.assert_array_equal(copied.get_label("cells")["0"][...], expected)
    assert ome(tmp_path / "b.zarr/labels")["labels"] == ["cells"]
    assert sum("label" in note and "cells" in note for note in report.notes) == 1
    check_store(tmp_path / "b.zarr/labels/cells", report.version)
    without = ps.copy(path, tmp_path / "c.zarr", labels=False, **options)
    assert not (tmp_path / "c.zarr/labels").exists()
    assert without.notes == []


@pytest.mark.filterwarnings("ignore::platestore.StoreWarning")
def test_only_what_the_specification_names_takes_unlisted_label_images_too(tmp_path, version):
    path = labelled(tmp_path / "a.zarr", version, "no list")
    (path / "tables").mkdir()
    (path / "tables/x.csv").write_text("1")
    report = ps.copy(path, tmp_path / "b.zarr", only_ome=True)
    assert ps.open_ome_zarr(tmp_path / "b.zarr").label_names == ["cells"]
    assert any("only_ome" in note and "tables" in note for note in report.notes)


# --- plates ---------------------------------------------------------------------------------------


def test_wells_of_a_row_that_lists_none_are_told(tmp_path, version):
    make_plate(tmp_path / "a.zarr", version, plate_format=96)
    shutil.copytree(tmp_path / "a.zarr/A/1", tmp_path / "a.zarr/H/7")
    report = ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", version=OTHER[version])
    assert sum("H/7" in note and "not copied" in note for note in report.notes) == 1


def test_a_well_that_lists_no_field_comes_along_and_what_lies_in_it_is_told(tmp_path, version):
    plate = make_plate(tmp_path / "a.zarr", version)
    plate.create_well("C", "5")
    shutil.copytree(tmp_path / "a.zarr/A/1/0", tmp_path / "a.zarr/C/5/3")
    for name, options in (("b", {"version": OTHER[version]}), ("c", {"map": {"C/5": "D/6"}})):
        report = ps.copy(tmp_path / "a.zarr", tmp_path / f"{name}.zarr", **options)
        copied = ps.open_ome_zarr(tmp_path / f"{name}.zarr")
        assert len(copied["D/6" if name == "c" else "C/5"]) == 0
        assert sum("C/5/3" in note and "not listed" in note for note in report.notes) == 1
        assert report.positions == 3
    chosen = ps.copy(tmp_path / "a.zarr", tmp_path / "d.zarr", positions="*/*/0")
    assert "C/5" not in ps.open_ome_zarr(tmp_path / "d.zarr")
    assert chosen.notes == []


def test_what_others_keep_in_rows_and_wells_of_every_source_comes_along_or_is_told(tmp_path, version):
    for name in "ab":
        make_plate(tmp_path / f"{name}.zarr", version, positions=[("A", "1", "0")])
        for group in ("A", "A/1"):
            folder = tmp_path / f"{name}.zarr" / group
            (folder / f"of-{name}").mkdir()
            (folder / f"of-{name}/x.csv").write_text(name)
            (folder / "both.csv").write_text(name)
    (tmp_path / "map.csv").write_text("source,from,to\n2,A/1/0,A/1/1\n")
    report = ps.copy(
        [tmp_path / "a.zarr", tmp_path / "b.zarr"], tmp_path / "m.zarr", map=tmp_path / "map.csv"
    )
    for group in ("A", "A/1"):
        assert (tmp_path / "m.zarr" / group / "of-a/x.csv").read_text() == "a"
        assert (tmp_path / "m.zarr" / group / "of-b/x.csv").read_text() == "b"
        assert (tmp_path / "m.zarr" / group / "both.csv").read_text() == "a"
        assert sum(f"b.zarr/{group}/both.csv: " in note for note in report.notes) == 1
    report = ps.copy(tmp_path / "a.zarr", tmp_path / "n.zarr", map={"A/1": "B/2"})
    assert {note.partition(": ")[0].rpartition("/")[2] for note in report.notes} == {"of-a", "both.csv"}
    assert (tmp_path / "n.zarr/B/2/of-a/x.csv").exists()


def test_the_list_of_a_plate_of_bioformats2raw_names_what_the_copy_holds(tmp_path, version):
    make_plate(tmp_path / "a.zarr", version)
    listed = ["B/1/0", "A/1/0", "A/2/0"]
    group = zarr.open_group(tmp_path / "a.zarr", mode="r+").create_group("OME")
    group.attrs.update(
        {"series": listed} if version == "0.4" else {"ome": {"version": "0.5", "series": listed}}
    )
    (tmp_path / "a.zarr/OME/METADATA.ome.xml").write_text("<OME/>")

    def series(name: str) -> list[str]:
        return ome(tmp_path / f"{name}.zarr/OME")["series"]

    report = ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", version=OTHER[version])
    assert series("b") == listed
    assert (tmp_path / "b.zarr/OME/METADATA.ome.xml").exists()
    assert report.notes == []
    report = ps.copy(tmp_path / "a.zarr", tmp_path / "c.zarr", wells="A/*", map={"A/1": "C/3"})
    assert series("c") == ["C/3/0", "A/2/0"]
    assert not (tmp_path / "c.zarr/OME/METADATA.ome.xml").exists()
    assert sum("METADATA.ome.xml" in note for note in report.notes) == 1
    make_plate(tmp_path / "o.zarr", version, positions=[("H", "1", "0")])
    ps.copy([tmp_path / "a.zarr", tmp_path / "o.zarr"], tmp_path / "d.zarr")
    assert sorted(series("d")) == ["A/1/0", "A/2/0", "B/1/0", "H/1/0"]


def test_a_directory_called_OME_that_is_no_group_comes_along(tmp_path, version):
    path = tmp_path / "a.zarr"
    shutil.move(position(tmp_path / "x.zarr", version), path / "0")
    root = zarr.open_group(path, mode="a", zarr_format=2 if version == "0.4" else 3)
    key = {"bioformats2raw.layout": 3}
    root.attrs.update(key if version == "0.4" else {"ome": {"version": "0.5", **key}})
    (path / "OME").mkdir()
    (path / "OME/METADATA.ome.xml").write_text("<OME/>")
    ps.copy(path, tmp_path / "b.zarr", version=OTHER[version])
    assert (tmp_path / "b.zarr/OME/METADATA.ome.xml").read_text() == "<OME/>"


# --- images ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [c for c in CHANGES if c != "nothing"])
def test_what_lies_beside_a_level_with_a_long_path_comes_along(image, tmp_path, version, change):
    (image / "scale0").mkdir()
    shutil.move(image / "0", image / "scale0/image")
    fmt = 2 if version == "0.4" else 3
    group = zarr.open_group(image / "scale0", mode="a", zarr_format=fmt)
    group.create_array("mask", shape=(8, 8), dtype="uint8", chunks=(4, 4))[...] = 3
    content = attributes(image)
    (content if version == "0.4" else content["ome"])["multiscales"][0]["datasets"][0]["path"] = (
        "scale0/image"
    )
    edit_attributes(image, **content)
    options = options_of(change, version)
    ps.copy(image, tmp_path / "b.zarr", verify=True, **options)
    np.testing.assert_array_equal(
        zarr.open_array(tmp_path / "b.zarr/scale0/image", mode="r")[...], cropped(options)
    )
    assert (zarr.open_array(tmp_path / "b.zarr/scale0/mask", mode="r")[...] == 3).all()


def test_an_unlisted_level_does_not_mix_with_one_that_is_made(image, tmp_path):
    shutil.copytree(image / "0", image / "1")
    report = ps.copy(image, tmp_path / "b.zarr", pyramid=2)
    copied = ps.open_ome_zarr(tmp_path / "b.zarr")
    assert copied["1"].shape == (1, 2, 1, 4, 4)
    assert sum("a.zarr/1: " in note and "not copied" in note for note in report.notes) == 1
    assert ps.check(tmp_path / "b.zarr", deep=True).whole


def test_an_unlisted_level_comes_along(image, tmp_path, version):
    shutil.copytree(image / "0", image / "7")
    report = ps.copy(image, tmp_path / "b.zarr", version=OTHER[version])
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "b.zarr/7", mode="r")[...], data())
    assert "7" in {array.path for array in report.arrays}


@pytest.mark.parametrize("options", [{}, {"crop": "0:4,0:8"}, {"chunks": (1, 1, 2, 8, 8)}], ids=str)
def test_sources_that_are_no_directories_are_looked_at_as_well(image, tmp_path, options):
    store = MemoryStore()
    shutil.copytree(image / "0", image / "lost")
    for name in (".zarray", "zarr.json"):
        (image / "lost" / name).unlink(missing_ok=True)
    count = rename_chunks(image / "0", "v.")
    ps.copy(image, store)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        for file in sorted(image.rglob("*")):
            if file.is_file():
                packed.write(file, file.relative_to(image))
    for number, source in enumerate((image, store, ZipStore(tmp_path / "a.zip", mode="r"))):
        report = ps.copy(source, tmp_path / f"{number}.zarr", **options)
        assert report.unclaimed == 2 * count
        assert len(report.notes) == 2


def test_an_array_that_is_called_labels_comes_along(image, tmp_path, version):
    group = zarr.open_group(image, mode="r+")
    group.create_array("labels", shape=(4, 4), dtype="uint8", chunks=(2, 2))[...] = 3
    report = ps.copy(image, tmp_path / "b.zarr", version=OTHER[version])
    assert (zarr.open_array(tmp_path / "b.zarr/labels", mode="r")[...] == 3).all()
    assert report.unclaimed == 0
