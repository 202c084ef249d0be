"""Stores that do not fit their metadata: exactly the flaw is found, where it is, and nothing else."""

from __future__ import annotations

import builtins
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from validate_cases import Trial, make_plate

import platestore as ps


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    top = tmp_path_factory.mktemp("plates")
    return {version: make_plate(top / f"{version}.zarr", version) for version in ("0.4", "0.5")}


@pytest.fixture
def trial(templates, version, tmp_path):
    return Trial(Path(shutil.copytree(templates[version], tmp_path / "s.zarr")), version)


def test_what_is_written_here_is_valid(trial):
    assert trial.found() == []
    assert trial.found(strict=True, pedantic=True) == []


@pytest.mark.parametrize("path", ["A", "A/1", "A/1/0", "A/1/0/labels", "A/1/0/labels/nuclei"])
def test_every_node_in_it_is_valid_too(trial, path):
    assert trial.found(path) == []


# --- members that are not there -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gone", "by", "location"),
    [
        ("A/2", "", "plate.wells[1].path"),
        ("B", "", "plate.wells[2].path"),
        ("A/1/0", "A/1", "well.images[0].path"),
        ("A/1/0/0", "A/1/0", "multiscales[0].datasets[0].path"),
        ("A/1/0/1", "A/1/0", "multiscales[0].datasets[1].path"),
        ("A/1/0/labels/nuclei", "A/1/0/labels", "labels[0]"),
        ("A/1/0/labels/nuclei/1", "A/1/0/labels/nuclei", "multiscales[0].datasets[1].path"),
    ],
)
def test_a_member_that_is_missing(trial, gone, by, location):
    shutil.rmtree(trial.path / gone)
    assert trial.found() == [("error", "member-missing", trial.file(by), trial.where(location))]


def test_one_that_is_a_file(trial):
    shutil.rmtree(trial.path / "A/2")
    (trial.path / "A/2").write_text("no directory")
    assert [code for _, code, _, _ in trial.found()] == ["member-missing"]


def test_a_group_where_an_array_should_be_and_the_reverse(trial):
    well = trial.path / "A/2"
    shutil.rmtree(well)
    shutil.copytree(trial.path / "B/1/0/0", well)
    shutil.rmtree(trial.path / "B/1/0/1")
    shutil.copytree(trial.path / "B/1", trial.path / "B/1/0/1", ignore=shutil.ignore_patterns("0"))
    assert trial.found() == [
        ("error", "member-type", trial.file(""), trial.where("plate.wells[1].path")),
        ("error", "member-type", trial.file("B/1/0"), trial.where("multiscales[0].datasets[1].path")),
    ]


@pytest.mark.parametrize("path", ["", "A/1", "A/1/0", "A/1/0/labels", "A/1/0/labels/nuclei"])
def test_a_document_alone_is_judged_alone(trial, path, tmp_path):
    bare = tmp_path / "bare.zarr"
    bare.mkdir()
    for file in (trial.path / path).iterdir():
        if file.is_file():
            shutil.copy(file, bare)
    report = ps.validate(bare)
    assert report.valid
    assert [f.code for f in report.findings if f.level == "warning"] == ["members-absent"]
    assert not ps.validate(bare, pedantic=True)


def test_a_row_without_a_document(trial):
    for file in (trial.path / "A").iterdir():
        if file.is_file():
            file.unlink()
    assert trial.found() == [("warning", "row-missing", trial.file(""), trial.where("plate.rows"))]


def test_a_position_that_is_still_empty(trial):
    with ps.open_ome_zarr(trial.path, mode="r+") as plate:
        plate.create_position("B", "2", "0")
    assert [(level, code, file) for level, code, file, _ in trial.found()] == [
        ("warning", "still-empty", trial.file("B/2/0"))
    ]


# --- documents that are broken --------------------------------------------------------------------


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe", b"[1, 2", b'{"a": ' * 100_000, b"nul"])
@pytest.mark.parametrize("path", ["A/1", "A/1/0", "A/1/0/labels", "A/1/0/labels/nuclei"])
def test_a_broken_document_is_told_and_the_rest_is_looked_at(trial, path, damage):
    (trial.path / trial.file(path)).write_bytes(damage)
    shutil.rmtree(trial.path / "B/1/0")
    assert trial.found() == [
        ("error", "json-malformed", trial.file(path), ""),
        ("error", "member-missing", trial.file("B/1"), trial.where("well.images[0].path")),
    ]


def test_a_broken_array_document(trial):
    (trial.path / trial.array_file("A/1/0/1")).write_text("{")
    assert trial.found() == [("error", "json-malformed", trial.array_file("A/1/0/1"), "")]


def test_a_broken_root(trial):
    (trial.path / trial.file("")).write_text('{"')
    assert trial.found() == [("error", "json-malformed", trial.file(""), "")]


def test_a_number_that_json_does_not_have(trial):
    file = trial.path / trial.file("A/1/0")
    file.write_text(file.read_text().replace('"datasets"', '"more": NaN, "datasets"', 1))
    where = ("attributes." if trial.version == "0.5" else "") + trial.where("multiscales[0].more")
    assert trial.found() == [("error", "json-constant", trial.file("A/1/0"), where)]


def test_a_byte_order_mark_and_a_key_that_is_there_twice(trial):
    file = trial.path / trial.file("A/1")
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b'"images"', b'"images": [], "images"', 1))
    assert trial.found() == [
        ("warning", "json-bom", trial.file("A/1"), ""),
        ("warning", "json-duplicate", trial.file("A/1"), ""),
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pipes with names")
def test_a_pipe_is_not_waited_for(trial):
    file = trial.path / trial.file("A/1")
    file.unlink()
    os.mkfifo(file)
    assert ("error", "unreadable", trial.file("A/1"), "") in trial.found()


def test_a_document_that_is_a_directory(trial):
    file = trial.path / trial.array_file("A/2/0/1")
    file.unlink()
    file.mkdir()
    assert [code for _, code, _, _ in trial.found()] == ["member-missing"]


def test_what_cannot_be_read_is_told(trial, monkeypatch):
    def refuse(path, *args, **kwargs):
        if str(path).endswith(trial.file("A/1/0")):
            raise PermissionError(13, "Permission denied", path)
        return real(path, *args, **kwargs)

    real = open
    monkeypatch.setattr("platestore.storage.local.open", refuse, raising=False)
    assert trial.found() == [("error", "unreadable", trial.file("A/1/0"), "")]


# --- versions and formats -------------------------------------------------------------------------


def test_another_version_of_zarr_inside(trial, templates):
    other = "0.5" if trial.version == "0.4" else "0.4"
    shutil.rmtree(trial.path / "A/2")
    shutil.copytree(templates[other] / "A/2", trial.path / "A/2")
    found = trial.found()
    strange = Trial(trial.path, other)
    assert ("error", "formats-mixed", strange.file("A/2"), "") in found
    assert ("error", "versions-mixed") in {(level, code) for level, code, _, _ in found}
    # Inside, it is of one version.
    assert {file for _, _, file, _ in found} == {strange.file("A/2")}


def test_documents_of_both_versions_beside_each_other(templates, tmp_path):
    trial = Trial(Path(shutil.copytree(templates["0.5"], tmp_path / "s.zarr")), "0.5")
    (trial.path / "A/1/.zgroup").write_text('{"zarr_format": 2}')
    assert trial.found() == [("warning", "formats-mixed", "A/1/zarr.json", "")]


def test_attributes_without_a_group(templates, tmp_path):
    trial = Trial(Path(shutil.copytree(templates["0.4"], tmp_path / "s.zarr")), "0.4")
    (trial.path / "A/1/.zgroup").unlink()
    assert trial.found() == [("error", "zarr-document", "A/1/.zattrs", "")]


@pytest.mark.parametrize("stated", ["0.6", "0.6rc0", "0.1", "0.3"])
def test_versions_that_are_too_new_or_too_old(trial, stated):
    def change(parts):
        (parts if trial.version == "0.5" else parts["plate"])["version"] = stated

    trial.group("", change)
    ((level, code, file, _),) = trial.found()
    expected = "version-not-yet" if stated.startswith("0.6") else "version-too-old"
    assert (level, code, file) == ("error", expected, trial.file(""))


# --- wells, fields and acquisitions ---------------------------------------------------------------


HOSTILE = [
    "../out",
    "/etc",
    "A/../../x",
    "..",
    "C:/x",
    "\\\\host\\x",
    "A/1/../../../..",
    "a\0b",
    "",
    ".",
    "a/" * 500_000,
]


@pytest.mark.parametrize(
    ("group", "location", "change"),
    [
        ("", "plate.wells[0].path", lambda parts, p: parts["plate"]["wells"][0].update(path=p)),
        ("A/1", "well.images[0].path", lambda parts, p: parts["well"]["images"][0].update(path=p)),
        (
            "A/1/0",
            "multiscales[0].datasets[0].path",
            lambda parts, p: parts["multiscales"][0]["datasets"][0].update(path=p),
        ),
        ("A/1/0/labels", "labels[0]", lambda parts, p: parts["labels"].__setitem__(0, p)),
    ],
)
def test_paths_that_lead_elsewhere_are_not_followed(trial, group, location, change, monkeypatch):
    opened = []
    real = builtins.open
    monkeypatch.setattr(builtins, "open", lambda p, *a, **k: opened.append(p) or real(p, *a, **k))
    for path in HOSTILE:
        trial.group(group, lambda parts, path=path: change(parts, path))
        assert ("error", "path-outside", trial.file(group), trial.where(location)) in trial.found()
    assert len(opened) > 10 * len(HOSTILE)
    assert all(os.path.abspath(path).startswith(str(trial.path) + os.sep) for path in opened)


def test_the_source_of_a_label_image(trial):
    def point(target):
        trial.group(
            "A/1/0/labels/nuclei", lambda parts: parts["image-label"].update(source={"image": target})
        )
        return trial.found()

    where = (trial.file("A/1/0/labels/nuclei"), trial.where("image-label.source.image"))
    assert point("../../") == point("../..") == point("../../../../../B/1/0") == []
    assert point("../../7") == [("warning", "label-source", *where)]
    assert point("../../../../../../x") == [("warning", "path-outside", *where)]
    assert point("/etc") == [("warning", "path-outside", *where)]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_out_of_the_store(trial, tmp_path):
    shutil.move(trial.path / "A/2", tmp_path / "elsewhere")
    (trial.path / "A/2").symlink_to(tmp_path / "elsewhere")
    (trial.path / "B/2").symlink_to(trial.path / "B/1")
    assert trial.found() == [("warning", "link-outside", "A/2", "")]
    assert "elsewhere" in ps.validate(trial.path).of("warning")[0].message


def test_names_that_differ_in_case_only(trial):
    shutil.copytree(trial.path / "B/1/0", trial.path / "B/1/f", dirs_exist_ok=True)
    shutil.copytree(trial.path / "B/1/0", trial.path / "B/1/F", dirs_exist_ok=True)
    trial.group("B/1", lambda parts: parts["well"]["images"].extend([{"path": "f"}, {"path": "F"}]))
    where = trial.where("well.images[2].path")
    assert ("warning", "member-case", trial.file("B/1"), where) in trial.found()


def acquisitions(trial, listed, named):
    """Give the plate acquisitions, and each well's field one; then validate."""
    trial.group("", lambda parts: parts["plate"].update(acquisitions=listed))
    for well, number in zip(("A/1", "A/2", "B/1"), named, strict=True):
        field = {"path": "0"} if number is None else {"path": "0", "acquisition": number}
        trial.group(well, lambda parts, field=field: parts["well"]["images"].__setitem__(0, field))
    return [(level, code, file) for level, code, file, _ in trial.found()]


def test_fields_that_do_not_name_one_of_several_acquisitions(trial):
    assert acquisitions(trial, [{"id": 0}, {"id": 1}], [0, None, 1]) == [
        ("error", "acquisition-missing", trial.file("A/2"))
    ]


def test_fields_of_an_acquisition_that_the_plate_does_not_have(trial):
    assert acquisitions(trial, [{"id": 0}, {"id": 1}], [0, 1, 7]) == [
        ("error", "acquisition-unknown", trial.file("B/1"))
    ]


def test_the_same_where_there_is_one_acquisition(trial):
    assert acquisitions(trial, [{"id": 0}], [0, None, 7]) == [
        ("warning", "acquisition-unknown", trial.file("B/1"))
    ]
    # A well by itself asks its plate.
    assert [code for _, code, _, _ in trial.found("B/1")] == ["acquisition-unknown"]


def test_an_acquisition_that_no_field_is_of(trial):
    assert acquisitions(trial, [{"id": 0}, {"id": 1}], [0, 0, 0]) == [
        ("advice", "acquisition-unused", trial.file(""))
    ]


def test_more_fields_than_the_plate_says(trial):
    with ps.open_ome_zarr(trial.path, mode="r+") as plate:
        plate.create_position("B", "1", "1").create_image("0", np.ones((1, 2, 2, 16, 24), "uint16"))
    listed = [{"id": 0, "maximumfieldcount": 1}]
    trial.group("", lambda parts: parts["plate"].update(field_count=1, acquisitions=listed))
    trial.group("B/1", lambda parts: [image.update(acquisition=0) for image in parts["well"]["images"]])
    assert [(level, code) for level, code, _, _ in trial.found()] == [
        ("warning", "acquisition-fields"),
        ("warning", "field-count-exceeded"),
    ]


# --- counting -------------------------------------------------------------------------------------


def test_each_document_is_read_once(trial, monkeypatch):
    from platestore.storage.local import LocalStorage

    read, listed = [], []
    for name, log in (("read", read), ("list", listed)):
        real = getattr(LocalStorage, name)
        monkeypatch.setattr(
            LocalStorage, name, lambda self, key, real=real, log=log: log.append(key) or real(self, key)
        )
    assert ps.validate(trial.path)
    assert len(read) == len(set(read))
    names = {"zarr.json"} if trial.version == "0.5" else {".zgroup", ".zarray", ".zattrs"}
    documents = [p for p in trial.path.rglob("*") if p.name in names]
    assert len(read) == len(documents)
    assert listed == [""]


def test_a_collection_of_images(templates, version, tmp_path):
    collection = tmp_path / "c.zarr"
    shutil.copytree(templates[version] / "A/1/0", collection / "0")
    shutil.copytree(templates[version] / "A/2/0", collection / "1")
    shutil.copytree(templates[version] / "A/2/0", collection / "OME", ignore=lambda *_: ["0", "1"])
    trial = Trial(collection, version)
    keys = {"bioformats2raw.layout": 3}
    if version == "0.5":
        group = {"zarr_format": 3, "node_type": "group"}
        for path, parts in (("", keys), ("OME", {"series": ["0", "1"]})):
            content = {**group, "attributes": {"ome": {"version": "0.5", **parts}}}
            (collection / path / "zarr.json").write_text(json.dumps(content))
    else:
        (collection / ".zgroup").write_text('{"zarr_format": 2}')
        (collection / ".zattrs").write_text(json.dumps(keys))
        (collection / "OME/.zattrs").write_text('{"series": ["0", "1"]}')
    xml = collection / "OME/METADATA.ome.xml"
    assert trial.found() == [("advice", "series-xml", "OME/METADATA.ome.xml", "")]
    xml.write_text('<OME xmlns="x"><Image ID="0"><Image/></Image><Image ID="1"/></OME>')
    assert trial.found() == []
    xml.write_text('<a:OME xmlns:a="x"><a:Image/></a:OME>')
    assert trial.found() == [("warning", "series-count", "OME/METADATA.ome.xml", "")]
    xml.write_text('<!DOCTYPE a [<!ENTITY b "c">]><OME>&b;</OME>')
    assert trial.found() == [("warning", "series-xml", "OME/METADATA.ome.xml", "")]
    xml.unlink()
    trial.group("OME", lambda parts: parts.update(series=["0", "../1"]))
    assert ("error", "path-outside", trial.file("OME"), trial.where("series[1]")) in trial.found()
    trial.group("OME", lambda parts: parts.update(series=["0", "3"]))
    assert [code for _, code, _, _ in trial.found()] == ["member-missing", "series-xml"]
    shutil.rmtree(collection / "OME")
    assert [code for _, code, _, _ in trial.found()] == ["series-xml"]  # 0, 1, without a list
    shutil.rmtree(collection / "0")
    assert [code for _, code, _, _ in trial.found()] == ["series-empty", "series-xml"]
