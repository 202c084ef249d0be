"""What others keep in a store travels along: attributes, tables, unknown groups and files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr

import platestore as ps
from conftest import make_plate
from copying.copy_helpers import arrays_by_path, check_schemas, check_store, chunk_bytes, unpacked
from nodes.store_helpers import attributes, edit_attributes, group_document, ome, pixels, snapshot

OTHER = {"0.4": "0.5", "0.5": "0.4"}
GROUPS = ("", "A", "A/1", "A/1/0")


def fmt(version: str) -> int:
    """The version of zarr."""
    return 2 if version == "0.4" else 3


def table(position: Path, version: str) -> None:
    """A table as AnnData and others keep it below a position: nested groups, arrays, and attributes."""
    root = zarr.open_group(position, mode="r+", zarr_format=fmt(version))
    tables = root.create_group("tables")
    tables.attrs["tables"] = ["nuclei"]
    nuclei = tables.create_group("nuclei")
    nuclei.attrs.update({"encoding-type": "anndata", "region": {"path": "../labels/cells"}})
    values = nuclei.create_array("X", shape=(5, 3), chunks=(2, 3), dtype="float32")
    values[...] = np.arange(15).reshape(5, 3)
    values.attrs["encoding-type"] = "array"
    obs = nuclei.create_group("obs")
    obs.attrs["_index"] = "label"
    obs.create_array("label", shape=(5,), dtype="int64", chunks=(5,))[...] = np.arange(5)
    nuclei.create_group("uns")


@pytest.fixture
def plate(tmp_path: Path, version: str) -> Path:
    """A plate in which others keep something everywhere."""
    path = tmp_path / "a.zarr"
    made = make_plate(path, version)
    made["A/1/0"].create_label("cells", np.ones((1, 1, 2, 8, 8), "uint8"))
    for name in GROUPS:
        zarr.open_group(path / name, mode="r+").attrs["lab"] = {"group": name}
    for name in ("A/1/0/labels", "A/1/0/labels/cells"):
        zarr.open_group(path / name, mode="r+").attrs["lab"] = {"group": name}
    for name in ("A/1/0/0", "A/1/0/labels/cells/0"):
        zarr.open_array(path / name, mode="r+").attrs["lab"] = {"array": name}
    table(path / "A/1/0", version)
    for name in (*GROUPS, "A/1/0/labels"):
        (path / name / "notes.txt").write_text(f"notes of {name}")
    (path / "protocol").mkdir()
    (path / "protocol" / "steps.pdf").write_bytes(b"%PDF")
    (path / "protocol" / "deep" / "er").mkdir(parents=True)
    (path / "protocol" / "deep" / "er" / "x.bin").write_bytes(bytes(range(256)))
    return path


CHANGES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "version": {"version": True},
    "a part": {"crop": "0:4,2:8", "channels": "GFP"},
    "a part in another version": {"crop": "0:4,2:8", "version": True},
    "chunks": {"chunks": (1, 1, 1, 4, 4)},
    "levels": {"pyramid": 2},
}


def asked(change: str, version: str) -> dict[str, Any]:
    """Arguments of a change."""
    options = dict(CHANGES[change])
    if options.get("version"):
        options["version"] = OTHER[version]
    return options


# --- what travels ---------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".zarr", ".ozx"])
@pytest.mark.parametrize("change", list(CHANGES))
def test_everything_of_others_travels_along(plate, tmp_path, version, change, suffix):
    options = asked(change, version)
    if suffix == ".ozx":
        options.pop("version", None)
    report = ps.copy(plate, tmp_path / f"b{suffix}", verify=True, **options)
    assert report.notes == []
    with unpacked(tmp_path / f"b{suffix}") as copied:
        for name in (*GROUPS, "A/1/0/labels", "A/1/0/labels/cells"):
            assert attributes(copied / name)["lab"] == {"group": name}
        for name in (*GROUPS, "A/1/0/labels"):
            assert (copied / name / "notes.txt").read_text() == f"notes of {name}"
        for name in ("A/1/0/0", "A/1/0/labels/cells/0"):
            assert dict(zarr.open_array(copied / name, mode="r").attrs) == {"lab": {"array": name}}
        assert snapshot(copied / "protocol") == snapshot(plate / "protocol")
        check_table(copied / "A/1/0", report.version)
        check_store(copied, report.version)
    arrays = arrays_by_path(report)
    assert arrays["A/1/0/tables/nuclei/X"].how == "files"
    assert arrays["A/1/0/tables/nuclei/X"].files == 3


@pytest.mark.parametrize("change", ["version", "a part", "levels"])
def test_what_lies_in_a_label_image_travels_along(plate, tmp_path, version, change):
    label = plate / "A/1/0/labels/cells"
    (label / "notes.txt").write_text("notes")
    table(label, version)
    shutil.copytree(label / "0", label / "raw")
    report = ps.copy(plate, tmp_path / "b.zarr", **asked(change, version))
    copied = tmp_path / "b.zarr/A/1/0/labels/cells"
    assert (copied / "notes.txt").read_text() == "notes"
    check_table(copied, report.version)
    assert (zarr.open_array(copied / "raw", mode="r")[...] == 1).all()
    ps.copy(plate, tmp_path / "c.zarr", only_ome=True)
    assert sorted(p.name for p in (tmp_path / "c.zarr/A/1/0/labels/cells").iterdir() if p.is_dir()) == ["0"]


def check_table(position: Path, version: str) -> None:
    """The table is as it was made, and in the store's version of zarr."""
    group = zarr.open_group(position / "tables", mode="r", zarr_format=fmt(version))
    assert dict(group.attrs) == {"tables": ["nuclei"]}
    nuclei = group["nuclei"]
    assert dict(nuclei.attrs) == {"encoding-type": "anndata", "region": {"path": "../labels/cells"}}
    np.testing.assert_array_equal(nuclei["X"][...], np.arange(15).reshape(5, 3))
    assert dict(nuclei["X"].attrs) == {"encoding-type": "array"}
    assert nuclei["X"].dtype == np.dtype("float32")
    np.testing.assert_array_equal(nuclei["obs/label"][...], np.arange(5))
    assert dict(nuclei["obs"].attrs) == {"_index": "label"}
    assert sorted(nuclei.group_keys()) == ["obs", "uns"]


def test_it_comes_back_from_the_other_version(plate, tmp_path, version):
    ps.copy(plate, tmp_path / "b.zarr", version=OTHER[version])
    ps.copy(tmp_path / "b.zarr", tmp_path / "c.zarr", version=version)
    for name in (*GROUPS, "A/1/0/labels", "A/1/0/labels/cells"):
        assert attributes(tmp_path / "c.zarr" / name) == attributes(plate / name)
    check_table(tmp_path / "c.zarr/A/1/0", version)
    assert sorted(chunk_bytes(tmp_path / "c.zarr/A/1/0/tables").values()) == sorted(
        chunk_bytes(plate / "A/1/0/tables").values()
    )


@pytest.mark.parametrize("where", ["A/1", "A/1/0"])
@pytest.mark.parametrize("convert", [False, True])
def test_it_travels_with_wells_and_positions_too(plate, tmp_path, version, where, convert):
    target = OTHER[version] if convert else version
    ps.copy(plate / where, tmp_path / "b.zarr", version=target, levels=0)
    assert attributes(tmp_path / "b.zarr")["lab"] == {"group": where}
    assert (tmp_path / "b.zarr/notes.txt").read_text() == f"notes of {where}"
    check_table(tmp_path / "b.zarr" / ("0" if where == "A/1" else ""), target)


def test_it_travels_into_a_plate_and_with_a_merge(plate, tmp_path, version):
    make_plate(tmp_path / "p.zarr", OTHER[version])
    ps.copy(plate / "A/1/0", tmp_path / "p.zarr/A/7/0")
    check_table(tmp_path / "p.zarr/A/7/0", OTHER[version])
    (tmp_path / "p.zarr/notes.txt").write_text("other notes")
    (tmp_path / "p.zarr/readme.txt").write_text("read me")
    moved = {"A/1": "D/1", "A/2": "D/2", "B/1": "D/3", "A/7": "D/7"}
    report = ps.copy(
        [plate, tmp_path / "p.zarr"], tmp_path / "all.zarr", map=[(1, old, new) for old, new in moved.items()]
    )
    assert (tmp_path / "all.zarr/notes.txt").read_text() == "notes of "
    assert (tmp_path / "all.zarr/readme.txt").read_text() == "read me"
    assert attributes(tmp_path / "all.zarr")["lab"] == {"group": ""}
    for position in ("A/1/0", "D/7/0"):
        check_table(tmp_path / "all.zarr" / position, version)
    check_store(tmp_path / "all.zarr", version)
    assert report.positions == 7


def test_what_two_sources_both_have_is_noted(tmp_path, version):
    for name, row in (("a", "A"), ("b", "B")):
        make_plate(tmp_path / f"{name}.zarr", version, positions=[(row, "1", "0")])
        (tmp_path / f"{name}.zarr/notes.txt").write_text(name)
        (tmp_path / f"{name}.zarr/protocol").mkdir()
        (tmp_path / f"{name}.zarr/protocol/steps.txt").write_text(name)
    report = ps.copy([tmp_path / "a.zarr", tmp_path / "b.zarr"], tmp_path / "all.zarr")
    assert (tmp_path / "all.zarr/notes.txt").read_text() == "a"
    assert (tmp_path / "all.zarr/protocol/steps.txt").read_text() == "a"
    assert sum("b.zarr/protocol" in note for note in report.notes) == 1
    assert sum("b.zarr/notes.txt" in note for note in report.notes) == 1


def test_a_subset_takes_what_lies_beside_and_in_what_it_takes(plate, tmp_path):
    ps.copy(plate, tmp_path / "b.zarr", wells="B/1")
    assert attributes(tmp_path / "b.zarr")["lab"] == {"group": ""}
    assert (tmp_path / "b.zarr/notes.txt").exists()
    assert (tmp_path / "b.zarr/protocol/steps.pdf").exists()
    assert not (tmp_path / "b.zarr/A").exists()


def test_a_row_that_wells_leave_leaves_its_notes_behind_or_takes_them(plate, tmp_path):
    ps.copy(plate, tmp_path / "b.zarr", map={"A/1": "C/3"})
    assert attributes(tmp_path / "b.zarr/A")["lab"] == {"group": "A"}
    assert attributes(tmp_path / "b.zarr/C/3")["lab"] == {"group": "A/1"}
    assert "lab" not in (
        attributes(tmp_path / "b.zarr/C") if group_document(tmp_path / "b.zarr/C").exists() else {}
    )


# --- what stays behind ----------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".zarr", ".ozx"])
@pytest.mark.parametrize("change", list(CHANGES))
def test_only_ome_leaves_it_behind(plate, tmp_path, version, change, suffix):
    options = asked(change, version)
    if suffix == ".ozx":
        options.pop("version", None)
    report = ps.copy(plate, tmp_path / f"b{suffix}", only_ome=True, **options)
    with unpacked(tmp_path / f"b{suffix}") as copied:
        names = {p.name for p in copied.rglob("*")}
        assert not names & {"notes.txt", "protocol", "tables", "steps.pdf"}
        for document in [*copied.rglob("zarr.json"), *copied.rglob(".zattrs")]:
            assert '"lab"' not in document.read_text()
        assert ome(copied / "A/1/0/labels")["labels"] == ["cells"]
        check_store(copied, report.version)
    assert len(report.arrays) == (4 if change != "levels" else 8)
    assert ps.open_ome_zarr(tmp_path / f"b{suffix}").channel_names in (["DAPI", "GFP"], ["GFP"])


def test_leftovers_of_writers_stay_behind(plate, tmp_path, version):
    leftovers = [
        plate / "A/1/0" / ".cells.0123456789abcdef.tmp",
        plate / "A/1/0/0" / ("0." + "a" * 32 + ".partial"),
        plate / "A/1/0/0" / "0.__lock",
        plate / ".DS_Store",
        plate / ".nfs0001",
    ]
    for leftover in leftovers:
        leftover.write_bytes(b"?")
    (plate / ".old" / "x").mkdir(parents=True)
    (plate / ".old" / "x" / "y").write_text("?")
    for name, options in (("b", {}), ("c", {"version": OTHER[version]}), ("d", {"wells": "A/*"})):
        ps.copy(plate, tmp_path / f"{name}.zarr", **options)
        found = {p.name for p in (tmp_path / f"{name}.zarr").rglob("*")}
        assert not found & {leftover.name for leftover in leftovers}
        assert ".old" not in found


def unlisted(plate: Path) -> list[str]:
    """Add positions, wells and labels that no document lists."""
    shutil.copytree(plate / "A/1/0", plate / "A/1/9")
    shutil.copytree(plate / "A/2", plate / "A/7")
    shutil.copytree(plate / "A/1/0/labels/cells", plate / "A/1/0/labels/old")
    return ["A/1/9", "A/7", "A/1/0/labels/old"]


@pytest.mark.parametrize("change", ["version", "a part", "chunks", "levels"])
def test_what_no_document_lists_is_noted_and_not_copied(plate, tmp_path, version, change):
    names = unlisted(plate)
    report = ps.copy(plate, tmp_path / "b.zarr", **asked(change, version))
    for name in names:
        assert not (tmp_path / "b.zarr" / name).exists()
        assert sum(f"{plate / name}:" in note and "not listed" in note for note in report.notes) == 1
    assert len(report.notes) == len(names)
    assert [path for path, _ in ps.open_ome_zarr(tmp_path / "b.zarr").positions()] == [
        "A/1/0",
        "A/2/0",
        "B/1/0",
    ]


def test_a_row_that_no_document_lists_is_noted_and_not_copied(plate, tmp_path, version):
    shutil.copytree(plate / "B", plate / "Q")
    report = ps.copy(plate, tmp_path / "b.zarr", wells="A/*")
    assert not (tmp_path / "b.zarr/Q").exists()
    assert len(report.notes) == 1
    assert "Q" in report.notes[0]


def test_other_images_and_arrays_in_a_position_come_along(plate, tmp_path, version):
    """They are no part of the image: whole, whatever is taken of that."""
    root = zarr.open_group(plate / "A/1/0", mode="r+")
    root.create_array("raw", shape=(6, 6), dtype="uint8", chunks=(4, 4))[...] = 7
    shutil.copytree(plate / "B/1/0", plate / "A/1/0/derived")
    for name, options in (("b", {"crop": "0:4,0:4"}), ("c", {"version": OTHER[version]})):
        report = ps.copy(plate, tmp_path / f"{name}.zarr", **options)
        assert (zarr.open_array(tmp_path / f"{name}.zarr/A/1/0/raw", mode="r")[...] == 7).all()
        derived = ps.open_ome_zarr(tmp_path / f"{name}.zarr/A/1/0/derived")
        assert type(derived) is ps.Position
        assert derived.version == options.get("version", version)
        assert derived.data.shape == (1, 2, 2, 8, 8)
        assert (derived.data.numpy() == 3).all()
        check_schemas(tmp_path / f"{name}.zarr/A/1/0/derived", derived.version)
        assert report.notes == []


# --- conversion -----------------------------------------------------------------------------------


def strange(path: Path, version: str, **arrays: dict[str, Any]) -> None:
    """A group of others with arrays that zarr makes."""
    group = zarr.open_group(path, mode="r+", zarr_format=fmt(version)).create_group("strange")
    group.attrs["about"] = "strange"
    good = group.create_array("good", shape=(4,), dtype="int32", chunks=(2,))
    good[...] = 3
    for name, options in arrays.items():
        data = options.pop("data")
        array = zarr.create_array(
            store=path / "strange" / name,
            shape=data.shape,
            dtype=data.dtype,
            zarr_format=fmt(version),
            **options,
        )
        array[...] = data


TEXT = np.array(["a", "bb", "ccc"], dtype=np.dtypes.StringDType())


def texts(path: Path, version: str) -> None:
    """A group of others with an array of texts."""
    strange(path, version)
    group = zarr.open_group(path / "strange", mode="r+", zarr_format=fmt(version))
    group.create_array("names", shape=(3,), dtype=str, chunks=(3,))[...] = np.array(
        ["a", "bb", "c"], dtype=object
    )


@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
@pytest.mark.parametrize("where", ["", "A/1/0"])
def test_a_group_with_an_array_that_has_no_form_stays_as_it_is(plate, tmp_path, version, where):
    texts(plate / where, version)
    report = ps.copy(plate, tmp_path / "b.zarr", version=OTHER[version])
    assert len(report.notes) == 1
    assert report.notes[0].startswith(f"{where}/strange:".lstrip("/"))
    assert f"stays in zarr v{fmt(version)}" in report.notes[0]
    before, after = snapshot(plate / where / "strange"), snapshot(tmp_path / "b.zarr" / where / "strange")
    assert after == before
    check_table(tmp_path / "b.zarr/A/1/0", OTHER[version])
    opened = zarr.open_group(tmp_path / "b.zarr" / where / "strange", mode="r", zarr_format=fmt(version))
    assert list(opened["names"][...]) == ["a", "bb", "c"]
    assert (opened["good"][...] == 3).all()
    assert ps.open_ome_zarr(tmp_path / "b.zarr").version == OTHER[version]
    paths = sorted(a.path for a in report.arrays if "strange" in a.path)
    prefix = f"{where}/".lstrip("/")
    assert paths == [f"{prefix}strange/good", f"{prefix}strange/names"]


@pytest.mark.parametrize(
    "options",
    [
        {"compressors": numcodecs.Zlib(1)},
        {"filters": [numcodecs.Delta(dtype="<i4")]},
        {"compressors": numcodecs.LZMA()},
    ],
    ids=str,
)
def test_arrays_with_codecs_of_v2_alone_stay_in_v2(tmp_path, options):
    make_plate(tmp_path / "a.zarr", "0.4")
    strange(tmp_path / "a.zarr", "0.4", odd={"data": pixels(8, dtype="int32"), **options})
    report = ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", version="0.5")
    assert len(report.notes) == 1
    assert snapshot(tmp_path / "b.zarr/strange") == snapshot(tmp_path / "a.zarr/strange")
    ps.copy(tmp_path / "b.zarr", tmp_path / "c.zarr", version="0.4")
    assert (zarr.open_array(tmp_path / "c.zarr/strange/odd", mode="r")[...] == pixels(8)).all()


def test_sharded_arrays_of_others_stay_in_v3(tmp_path):
    make_plate(tmp_path / "a.zarr", "0.5")
    strange(
        tmp_path / "a.zarr", "0.5", odd={"data": pixels(8, dtype="int32"), "chunks": (2,), "shards": (4,)}
    )
    report = ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", version="0.4")
    assert "shards" in report.notes[0]
    assert snapshot(tmp_path / "b.zarr/strange") == snapshot(tmp_path / "a.zarr/strange")
    ps.copy(tmp_path / "b.zarr", tmp_path / "c.ozx")
    with unpacked(tmp_path / "c.ozx") as copied:
        assert (zarr.open_array(copied / "strange/odd", mode="r")[...] == pixels(8)).all()


@pytest.mark.parametrize(
    ("source", "options"),
    [
        ("0.4", {"chunk_key_encoding": {"name": "v2", "separator": "/"}, "order": "F"}),
        ("0.4", {"dtype": ">f8"}),
        ("0.5", {"chunk_key_encoding": {"name": "default", "separator": "."}}),
        ("0.5", {"chunk_key_encoding": {"name": "v2", "separator": "."}}),
        ("0.5", {"dtype": "bool"}),
    ],
    ids=str,
)
def test_arrays_of_others_are_described_anew_and_keep_their_bytes(tmp_path, source, options):
    make_plate(tmp_path / "a.zarr", source)
    dtype = options.pop("dtype", "int16") if "dtype" in options else "int16"
    data = pixels(6, 7).astype(dtype)
    strange(tmp_path / "a.zarr", source, odd={"data": data, "chunks": (2, 4), **options})
    report = ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", version=OTHER[source], verify=True)
    options["dtype"] = dtype  # parametrised once for all runs
    assert report.notes == []
    array = zarr.open_array(tmp_path / "b.zarr/strange/odd", mode="r", zarr_format=fmt(OTHER[source]))
    np.testing.assert_array_equal(array[...], data)
    before, after = (chunk_bytes(tmp_path / p / "strange/odd") for p in ("a.zarr", "b.zarr"))
    assert sorted(before.values()) == sorted(after.values())
    assert attributes(tmp_path / "b.zarr/strange")["about"] == "strange"


def test_arrays_without_dimensions(tmp_path, version):
    make_plate(tmp_path / "a.zarr", version)
    group = zarr.open_group(tmp_path / "a.zarr", mode="r+", zarr_format=fmt(version)).create_group("strange")
    group.create_array("scalar", shape=(), dtype="float64")[...] = 2.5
    ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", version=OTHER[version])
    assert zarr.open_array(tmp_path / "b.zarr/strange/scalar", mode="r")[()] == 2.5
    ps.copy(tmp_path / "b.zarr", tmp_path / "c.zarr", version=version)
    assert zarr.open_array(tmp_path / "c.zarr/strange/scalar", mode="r")[()] == 2.5


def test_a_group_of_the_other_format_inside_a_store_stays(tmp_path, version):
    """A table of zarr v2 in a store of v3, or the reverse, as some programs leave it."""
    make_plate(tmp_path / "a.zarr", version)
    other = zarr.open_group(tmp_path / "a.zarr/A/1/0/alien", mode="w", zarr_format=fmt(OTHER[version]))
    other.create_array("x", shape=(4,), dtype="int32")[...] = 8
    for name, options in (("b", {}), ("c", {"wells": "A/1"}), ("d", {"version": OTHER[version]})):
        ps.copy(tmp_path / "a.zarr", tmp_path / f"{name}.zarr", **options)
        alien = tmp_path / f"{name}.zarr/A/1/0/alien"
        zarr.open_group(alien, mode="r", zarr_format=fmt(OTHER[version]))
        assert (zarr.open_array(alien / "x", mode="r")[...] == 8).all()


def test_keys_of_others_in_the_attributes_of_the_specification(tmp_path, version):
    make_plate(tmp_path / "a.zarr", version)
    edit_attributes(tmp_path / "a.zarr/A/1/0", _ARRAY_DIMENSIONS=["y"], ome_extra={"a": 1}, labels="mine")
    ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", version=OTHER[version], crop="0:4,0:4")
    found = attributes(tmp_path / "b.zarr/A/1/0")
    assert found["_ARRAY_DIMENSIONS"] == ["y"]
    assert found["ome_extra"] == {"a": 1}
    assert found["labels"] == "mine"


# --- consolidated metadata ------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
@pytest.mark.parametrize("change", ["version", "a part", "levels"])
def test_consolidated_metadata_that_would_be_wrong_does_not_travel(tmp_path, version, change):
    make_plate(tmp_path / "a.zarr", version)
    zarr.consolidate_metadata(tmp_path / "a.zarr", zarr_format=fmt(version))
    report = ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", **asked(change, version))
    assert not list((tmp_path / "b.zarr").rglob(".zmetadata"))
    for document in (tmp_path / "b.zarr").rglob("zarr.json"):
        assert not json.loads(document.read_text()).get("consolidated_metadata")
    group = zarr.open_group(tmp_path / "b.zarr", mode="r", zarr_format=fmt(report.version))
    expected = ps.open_ome_zarr(tmp_path / "b.zarr/A/1/0")["0"].shape
    assert group["A/1/0/0"].shape == expected


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_consolidated_metadata_stays_where_nothing_changes(tmp_path, version):
    make_plate(tmp_path / "a.zarr", version)
    zarr.consolidate_metadata(tmp_path / "a.zarr", zarr_format=fmt(version))
    ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr")
    assert snapshot(tmp_path / "b.zarr") == snapshot(tmp_path / "a.zarr")
    zarr.open_consolidated(tmp_path / "b.zarr")


# --- stores as others write them ------------------------------------------------------------------


def test_rows_without_a_document(tmp_path, version):
    make_plate(tmp_path / "a.zarr", version)
    for name in ("A", "B"):
        for file in (".zgroup", ".zattrs", "zarr.json"):
            (tmp_path / "a.zarr" / name / file).unlink(missing_ok=True)
    for name, options in (("b", {}), ("c", {"version": OTHER[version]}), ("d", {"wells": "A/*"})):
        ps.copy(tmp_path / "a.zarr", tmp_path / f"{name}.zarr", **options)
        wells = [path for path, _ in ps.open_ome_zarr(tmp_path / f"{name}.zarr").wells()]
        assert wells == (["A/1", "A/2"] if name == "d" else ["A/1", "A/2", "B/1"])
        check_store(tmp_path / f"{name}.zarr", options.get("version", version))


def test_files_behind_links_are_copied(tmp_path, version):
    make_plate(tmp_path / "a.zarr", version)
    (tmp_path / "elsewhere.txt").write_text("elsewhere")
    (tmp_path / "a.zarr/link.txt").symlink_to(tmp_path / "elsewhere.txt")
    for name, options in (("b", {}), ("c", {"version": OTHER[version]})):
        ps.copy(tmp_path / "a.zarr", tmp_path / f"{name}.zarr", **options)
        assert (tmp_path / f"{name}.zarr/link.txt").read_text() == "elsewhere"
        assert not (tmp_path / f"{name}.zarr/link.txt").is_symlink()
