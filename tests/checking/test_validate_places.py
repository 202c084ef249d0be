"""What can be named: directories, archives, zarr stores, nodes, files, and what is none of these."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from validate_cases import GROUP, edit, make_plate, ome
from zarr.storage import MemoryStore, StorePath

import platestore as ps
from conftest import examples
from platestore.checking.hierarchy.documents import BROKEN, parse_document
from storage.archive_cases import tree, zipped


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    top = tmp_path_factory.mktemp("plates")
    return {version: make_plate(top / f"{version}.zarr", version) for version in ("0.4", "0.5")}


def codes(*paths, **kwargs):
    return [f.code for f in ps.validate(*paths, **kwargs).findings if f.code != "key-recommended"]


def test_nothing_named_is_a_wrong_call():
    with pytest.raises(ps.ArgumentError, match="nothing to validate"):
        ps.validate()
    for target in (7, None, object(), b"x.zarr"):
        with pytest.raises(ps.ArgumentError):
            ps.validate(target)


def test_what_is_not_there_is_a_finding(tmp_path):
    for path in (tmp_path / "no.zarr", "s3://bucket/x.zarr", str(tmp_path / "no.ozx"), tmp_path / "no.json"):
        report = ps.validate(path)
        assert not report
        assert [f.code for f in report.findings] == ["not-found"]
    assert "zarr Store" in ps.validate("s3://bucket/x.zarr").findings[0].hint
    assert codes("") == codes("a\0b") == ["unreadable"]


def test_a_directory_that_is_no_store(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    assert codes(tmp_path) == ["not-zarr"]


def test_an_array_is_no_group(templates, version):
    assert codes(templates[version] / "A/1/0/0") == ["not-a-group"]


def test_several_paths_are_one_report(templates, tmp_path):
    report = ps.validate(templates["0.4"], tmp_path / "no.zarr", templates["0.5"])
    assert not report
    assert report.paths == (str(templates["0.4"]), str(tmp_path / "no.zarr"), str(templates["0.5"]))
    assert report.message.startswith("not valid: 1 error")
    assert "there is no such store" in report.message


def test_nodes_and_zarr_stores(templates, version, tmp_path):
    with ps.open_ome_zarr(templates[version]) as plate:
        assert ps.validate(plate, plate["A/1"], plate["A/1/0"]).valid
    memory = MemoryStore()
    store = zarr.storage.LocalStore(templates[version], read_only=True)
    for file in templates[version].rglob("*"):
        if file.is_file():
            key = file.relative_to(templates[version]).as_posix()
            data = zarr.core.buffer.default_buffer_prototype().buffer.from_bytes(file.read_bytes())
            zarr.core.sync.sync(memory.set(key, data))
    expected = [f.code for f in ps.validate(templates[version]).findings]
    assert [f.code for f in ps.validate(store).findings] == expected
    assert [f.code for f in ps.validate(memory).findings] == expected
    assert ps.validate(StorePath(memory, "A/1/0"))
    zarr.core.sync.sync(memory.delete_dir("B"))
    assert codes(memory) == ["member-missing"]
    assert codes(StorePath(memory, "B/1")) == ["not-zarr"]


# --- archives -------------------------------------------------------------------------------------

COMMENT = json.dumps(
    {"ome": {"version": "0.5", "zipFile": {"centralDirectory": {"jsonFirst": True}}}}
).encode()


def archive(path: Path, files, **kwargs) -> Path:
    path.write_bytes(zipped(files, **kwargs))
    return path


def test_an_archive_that_is_written_here_is_valid(templates, tmp_path):
    ps.copy(templates["0.5"], tmp_path / "a.ozx")
    assert codes(tmp_path / "a.ozx") == []
    assert codes(tmp_path / "a.ozx/A/1/0") == []
    assert codes(tmp_path / "a.ozx/A/9") == ["not-zarr"]


def test_what_is_wrong_with_archives(templates, tmp_path):
    files = tree(templates["0.5"])
    assert codes(archive(tmp_path / "a.ozx", files, comment=COMMENT)) == []
    assert codes(archive(tmp_path / "b.ozx", files)) == ["archive-comment"]
    other = COMMENT.replace(b"0.5", b"0.6")
    assert codes(archive(tmp_path / "c.ozx", files, comment=other)) == ["archive-comment"]
    late = dict(reversed(files.items()))
    assert codes(archive(tmp_path / "d.ozx", late, comment=COMMENT)) == ["archive-order"]
    assert not ps.validate(tmp_path / "d.ozx")
    honest = COMMENT.replace(b"true", b"false")
    assert ps.validate(archive(tmp_path / "e.ozx", late, comment=honest)).valid
    assert codes(archive(tmp_path / "f.ozx", files, comment=COMMENT, method=8)) == ["archive-compressed"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what opening warns of is a finding here
        hostile = archive(tmp_path / "g.ozx", {**files, "../out": b"x"}, comment=COMMENT)
        assert codes(hostile) == ["archive-entry"]
    assert "leads out" in ps.validate(hostile).errors[0].message
    case = archive(tmp_path / "h.ozx", {**files, "Notes": b"", "notes": b""}, comment=COMMENT)
    assert codes(case) == ["archive-entry"]
    assert ps.validate(case).valid


def test_archives_that_are_none(templates, tmp_path):
    (tmp_path / "a.ozx").write_bytes(b"no zip")
    assert codes(tmp_path / "a.ozx") == ["archive"]
    assert codes(archive(tmp_path / "b.ozx", {"notes.txt": b""})) == ["archive"]
    whole = zipped(tree(templates["0.5"]), comment=COMMENT)
    (tmp_path / "c.ozx").write_bytes(whole[: len(whole) // 2])
    assert codes(tmp_path / "c.ozx") == ["archive"]


def test_a_damaged_document_in_an_archive(templates, tmp_path):
    files = tree(templates["0.5"])
    whole = bytearray(zipped(files, comment=COMMENT))
    at = whole.index(files["A/1/0/zarr.json"])
    whole[at + 5] ^= 1
    (tmp_path / "a.ozx").write_bytes(whole)
    report = ps.validate(tmp_path / "a.ozx")
    assert [f.code for f in report.errors] == ["unreadable"]
    assert report.errors[0].file.endswith("A/1/0/zarr.json")


# --- files ----------------------------------------------------------------------------------------


def test_a_file_with_attributes(templates, version, tmp_path):
    document = templates[version] / "A/1/0" / GROUP[version]
    assert codes(document) == []
    copy = Path(shutil.copy(document, tmp_path / "renamed.json"))
    assert codes(copy) == []
    content = json.loads(document.read_text())
    copy.write_text(json.dumps(content.get("attributes", content)))
    assert codes(copy) == []
    edit(copy, lambda c: (c.get("ome") or c)["multiscales"][0]["datasets"][0].update(path="../../x"))
    assert codes(copy) == ["path-outside"]


def test_a_file_that_describes_an_array(templates):
    assert codes(templates["0.5"] / "A/1/0/0/zarr.json") == ["not-a-group"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", ["json-malformed"]),
        (b" \n", ["json-malformed"]),
        (b"{", ["json-malformed"]),
        (b"\xff\xfe{\0}\0", ["json-malformed"]),
        (b'{"a": 1} x', ["json-malformed"]),
        (b"[" * 10**6, ["json-malformed"]),
        (b'{"a": ' + b"1" * 5000 + b"}", ["json-malformed"]),
        (b"[]", ["wrong-type"]),
        (b"7", ["wrong-type"]),
        (b"{}", ["no-metadata"]),
        (b"\xef\xbb\xbf{}", ["json-bom", "no-metadata"]),
        (b'{"a": 1, "a": {"b": 2, "b": 3, "b": 4}}', ["json-duplicate", "json-duplicate", "no-metadata"]),
        (b'{"a": [NaN, -Infinity, NaN]}', ["json-constant", "json-constant", "no-metadata"]),
    ],
)
def test_files_that_are_wrong(tmp_path, data, expected):
    file = tmp_path / "a.json"
    file.write_bytes(data)
    assert codes(file) == expected


def test_a_file_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr("platestore.checking.hierarchy.documents.MAX_DOCUMENT_BYTES", 1000)
    file = tmp_path / "zarr.json"
    file.write_text(" " * 1001)
    assert codes(file) == codes(tmp_path) == ["json-size"]


def test_a_file_without_rights(tmp_path, monkeypatch):
    file = tmp_path / "a.json"
    file.write_text("{}")

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("platestore.checking.validation.open", refuse, raising=False)
    assert codes(file) == ["unreadable"]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pipes with names")
def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "a.json")
    assert codes(tmp_path / "a.json") == ["unreadable"]


@settings(max_examples=examples(100), deadline=None)
@given(
    st.binary(max_size=30) | st.text(alphabet='{}[]":,01e-NaInfity\\u \ufeff', max_size=30).map(str.encode)
)
def test_any_bytes_give_a_value_or_a_finding(data):
    value, findings = parse_document(data, "file")
    assert value is not BROKEN or [f for f in findings if f.level == "error"]
    assert all(f.file == "file" for f in findings)


# --- whatever the documents say -------------------------------------------------------------------

scraps = st.sampled_from([None, True, -1, 0, 1.5, 2**70, "", "0", "A/1", "../x", "\ud800", "a" * 300, [], {}])
values = st.recursive(scraps, lambda v: st.lists(v, max_size=3), max_leaves=4)


@settings(max_examples=examples(120), deadline=None)
@given(data=st.data())
def test_a_walk_never_fails(data, templates, tmp_path_factory):
    version = data.draw(st.sampled_from(["0.4", "0.5"]))
    node = data.draw(st.sampled_from(["", "A/1", "A/1/0", "A/1/0/labels", "A/1/0/labels/nuclei"]))
    file = templates[version] / node / GROUP[version]
    before = file.read_bytes()
    content = json.loads(before)
    place = ome(content)
    for _ in range(data.draw(st.integers(0, 5))):
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            break
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], (dict, list)) or data.draw(st.booleans()):
            place[key] = data.draw(values)
            break
        place = place[key]
    try:
        file.write_text(json.dumps(content))
        report = ps.validate(templates[version])
        json.dumps(report.to_json())
        ps.validate(templates[version] / node)
    finally:
        file.write_bytes(before)


def test_validation_is_light():
    code = (
        "import sys, platestore; from platestore.checking.validation import validate; validate('x.json');"
        "heavy = {'zarr', 'numpy', 'pydantic', 'dask', 'tensorstore'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
