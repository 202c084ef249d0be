"""``OzxStorage``: whoever wrote the archive, its entries are read as they were packed."""

from __future__ import annotations

import dataclasses
import gc
import os
import pickle
import shutil
import subprocess
import threading
import zipfile

import pytest
from archive_cases import DEFLATED, ROOT, STORED, Entry, build, zipped
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import examples
from platestore.storage.base import ReadBuffer, StorageOptions
from platestore.storage.ozx import OzxStorage, find_archive, names_archive

COMMENT = b'{"ome": {"version": "0.5", "zipFile": {"centralDirectory": {"jsonFirst": true}}}}'
FILES = {
    **dict([ROOT]),
    "A/zarr.json": b'{"zarr_format": 3}',
    "A/1/zarr.json": b"{}",
    "A/1/0/zarr.json": b"{}" * 1000,
    "A/1/0/c/0/0": bytes(range(256)) * 3000,
    "A/1/0/c/0/1": b"",
    "A/10/zarr.json": b"[]",
    "a b/ü/c/0": b"\0" * 70_000,
}
ARCHIVES = {
    "stored": zipped(FILES),
    "deflated": zipped(FILES, method=DEFLATED),
    "sizes after the data": zipped(FILES, streamed=True),
    "deflated, sizes after the data": zipped(FILES, method=DEFLATED, streamed=True),
    "with a comment": zipped(FILES, comment=COMMENT),
    "with any comment": zipped(FILES, comment=b"PK\5\6 made by hand"),
    "with directories": zipped({"A/": b"", "A/1/": b"", **FILES, "a b/": b""}),
    "after something else": b"#!/bin/sh\n" * 50 + zipped(FILES),
    "before something else": zipped(FILES) + b"\n" * 50,
}


@pytest.fixture(params=ARCHIVES)
def path(request, tmp_path):
    file = tmp_path / "x.ozx"
    file.write_bytes(ARCHIVES[request.param])
    return file


@pytest.fixture
def file(tmp_path):
    """A plain archive."""
    (tmp_path / "x.ozx").write_bytes(ARCHIVES["stored"])
    return tmp_path / "x.ozx"


def opened(path, **options) -> OzxStorage:
    return OzxStorage(str(path), StorageOptions(**options))


def part(storage, key, start=0, length=None):
    view = storage.read_part(key, ReadBuffer(), start, length)
    return None if view is None else bytes(view)


# --- reading --------------------------------------------------------------------------------------


def test_every_entry_is_read_as_it_was_packed(path):
    storage = opened(path)
    assert list(storage.entries) == list(FILES)
    for key, data in FILES.items():
        assert storage.read(key) == data
        assert part(storage, key) == data
        assert b"".join(map(bytes, storage.pieces(key, len(data), 1000))) == data
        assert storage.size_of(key) == storage.entries[key].size == len(data)
        assert storage.exists(key)
    assert storage.problems == []
    storage.check_unpackable()


@settings(deadline=None)
@given(
    method=st.sampled_from([STORED, DEFLATED]), start=st.integers(-5000, 5000), length=st.integers(0, 5000)
)
def test_parts_are_slices(tmp_path_factory, method, start, length):
    path = tmp_path_factory.getbasetemp() / f"parts{method}.ozx"
    data = bytes(i * i % 251 for i in range(4000))
    if not path.exists():
        path.write_bytes(build(Entry("c/0", data, method)))
    first = max(0, len(data) + start) if start < 0 else start
    storage = opened(path)
    assert part(storage, "c/0", start, length) == data[first : first + length]
    assert part(storage, "c/0", start) == data[first:]


def test_what_is_missing_is_none(path):
    storage = opened(path)
    for key in ("", "A", "A/1/0", "A/1/0/c/0/2", "A/zarr.json/x", "/zarr.json", "B/zarr.json"):
        assert storage.read(key) is None
        assert part(storage, key) is None
        assert storage.size_of(key) is None
        assert storage.stamp(key) is None
        assert not storage.exists(key)
    with pytest.raises(ps.NodeNotFoundError):
        next(storage.pieces("B/zarr.json", 2))


def test_directories_are_listed(path):
    storage = opened(path)
    assert storage.list("") == (["A", "a b"], ["zarr.json"])
    assert storage.list("A") == (["1", "10"], ["zarr.json"])
    assert storage.list("A/1/0/c/0") == ([], ["0", "1"])
    for missing in ("B", "A/zarr.json", "A/2"):
        with pytest.raises(ps.NodeNotFoundError):
            storage.list(missing)


def test_keys_are_those_below_a_path(path):
    storage = opened(path)
    assert sorted(storage.keys("")) == sorted(FILES)
    assert sorted(storage.keys("A/1")) == sorted(key for key in FILES if key.startswith("A/1/"))
    assert list(storage.keys("B")) == []
    assert list(storage.keys("A/zarr.json")) == []


def test_a_part_is_read_into_the_memory_given(file):
    storage, buffer = opened(file), ReadBuffer()
    memory = buffer.view(800_000).obj
    assert storage.read_part("A/1/0/c/0/0", buffer).obj is memory


@settings(deadline=None, max_examples=examples(30))
@given(
    files=st.dictionaries(
        st.lists(st.text("abAB01._ äß\n", min_size=1, max_size=4), min_size=1, max_size=4)
        .filter(lambda segments: not {".", ".."} & set(segments))
        .map("/".join),
        st.binary(max_size=300),
        max_size=20,
    ),
    method=st.sampled_from([STORED, DEFLATED]),
    streamed=st.booleans(),
    comment=st.binary(max_size=50).filter(lambda c: b"PK" not in c),  # zipfile is led astray by some
)
def test_any_archive_is_read_as_zipfile_reads_it(tmp_path_factory, files, method, streamed, comment):
    path = tmp_path_factory.mktemp("any") / "x.ozx"
    data = zipped({**files, **dict([ROOT])}, method=method, streamed=streamed, comment=comment)
    path.write_bytes(data)
    storage = opened(path)
    with zipfile.ZipFile(path) as archive:
        assert list(storage.entries) == archive.namelist()
        for info in archive.infolist():
            entry = storage.entries[info.filename]
            assert entry == (info.file_size, info.compress_size, method, info.CRC, info.header_offset)
            assert storage.read(info.filename) == archive.read(info)


@pytest.mark.skipif(shutil.which("zip") is None, reason="there is no zip program")
@pytest.mark.parametrize("level", ["-0", "-6"])
def test_what_the_zip_program_packs_is_read(tmp_path, level):
    for key, data in FILES.items():
        (tmp_path / "in" / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / key).write_bytes(data)
    subprocess.run(["zip", level, "-q", "-r", tmp_path / "x.ozx", "."], cwd=tmp_path / "in", check=True)
    storage = opened(tmp_path / "x.ozx")
    assert {key: storage.read(key) for key in storage.keys("")} == FILES


# --- comment --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("comment", "version", "json_first"),
    [
        (COMMENT, "0.5", True),
        (b'{"ome": {"version": "0.6"}}', "0.6", False),
        (b'{"ome": {"version": 5, "zipFile": {"centralDirectory": {"jsonFirst": 1}}}}', None, False),
        (b'{"ome": {"version": "0.5", "zipFile": []}}', "0.5", False),
        (b'{"ome": {"zipFile": {"centralDirectory": {"jsonFirst": false}}}}', None, False),
        (b'{"ome": null}', None, False),
        (b"[]", None, False),
        (b"{", None, False),
        (b"\xff\xfe", None, False),
        (b"", None, False),
        (b"[" * 50_000, None, False),
    ],
)
def test_the_comment_tells_version_and_order(tmp_path, comment, version, json_first):
    (tmp_path / "x.ozx").write_bytes(build(comment=comment))
    storage = opened(tmp_path / "x.ozx")
    assert (storage.version, storage.json_first) == (version, json_first)


# --- changes --------------------------------------------------------------------------------------

CHANGES = {
    "write": lambda s: s.write("zarr.json", b"{}"),
    "create": lambda s: s.create("B/zarr.json", b"{}"),
    "write_object": lambda s: s.write_object("c/0", b"x", fresh=True),
    "appender": lambda s: s.appender("c/0"),
    "stream": lambda s: s.stream("c/0"),
    "make_directory": lambda s: s.make_directory("B"),
    "remove": lambda s: s.remove("zarr.json"),
    "remove_tree": lambda s: s.remove_tree("A"),
    "move_tree": lambda s: s.move_tree("A", "B"),
    "lock": lambda s: s.lock("").__enter__(),
    "_exclude": lambda s: s._exclude(""),
    "require_writable": lambda s: s.require_writable("A"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_no_change_is_possible(file, change):
    storage = opened(file, read_only=False)
    assert storage.options.read_only
    assert not storage.is_writable("")
    with pytest.raises(ps.ReadOnlyError, match="platestore copy") as caught:
        CHANGES[change](storage)
    assert str(file) in str(caught.value)
    assert file.read_bytes() == ARCHIVES["stored"]


def test_what_kind_of_store_it_is(file):
    storage = opened(file)
    assert storage.url == str(file)
    assert storage.where("A/1") == f"{file}/A/1"
    assert storage.local_path("") is None
    assert storage.atomic_moves is False
    assert storage.folds_case() is False
    assert storage.nbytes == file.stat().st_size
    assert storage.check_links("A", writing=False) is None


# --- one file, many readers -----------------------------------------------------------------------


def descriptors(path) -> int:
    """How many descriptors of this process are open on a file."""
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("this system does not list descriptors")
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{name}") == str(path)
        except OSError:
            continue
    return found


def test_storages_of_one_archive_share_a_descriptor_that_is_closed_in_the_end(file):
    storages = [opened(file) for _ in range(20)]
    assert all(s.read("A/zarr.json") == FILES["A/zarr.json"] for s in storages)
    assert descriptors(file) == 1
    del storages
    gc.collect()
    assert descriptors(file) == 0


def test_the_list_of_entries_is_read_once(file, monkeypatch):
    from platestore.storage import zip_records

    first, found = opened(file), []
    monkeypatch.setattr(zip_records, "find_directory", lambda *a: found.append(a))
    assert opened(file).read("zarr.json") == first.read("zarr.json")
    del first
    gc.collect()
    assert opened(file).read("zarr.json") == FILES["zarr.json"]
    assert found == []


def test_an_archive_that_was_replaced_is_read_anew_by_those_who_open_it_anew(file):
    old = opened(file)
    data = zipped({**FILES, "zarr.json": b"[1]", "more": b"x"})
    (file.parent / "new").write_bytes(data)
    os.replace(file.parent / "new", file)
    new = opened(file)
    assert new.read("zarr.json") == b"[1]"
    assert new.exists("more")
    assert old.read("zarr.json") == FILES["zarr.json"]
    assert old.read("A/1/0/c/0/0") == FILES["A/1/0/c/0/0"]
    assert not old.exists("more")
    assert old.stamp("zarr.json") != new.stamp("zarr.json")


def test_a_storage_survives_pickling_without_an_open_file(file):
    twin = pickle.loads(pickle.dumps(opened(file, missing="raise")))
    gc.collect()
    assert descriptors(file) == 0
    assert twin.options == StorageOptions(missing="raise")
    assert twin.read("A/zarr.json") == FILES["A/zarr.json"]


def test_threads_read_at_once(path):
    storage, wrong = opened(path), []

    def read(number):
        keys = list(FILES)[number % 3 :] + list(FILES)[: number % 3]
        for _ in range(10):
            wrong.extend(key for key in keys if part(storage, key) != FILES[key])

    threads = [threading.Thread(target=read, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_parent_and_child_read_at_once(file):
    storage = opened(file)
    storage.read("zarr.json")
    child = os.fork()
    good = all(part(storage, key) == data for _ in range(50) for key, data in FILES.items())
    if not child:
        os._exit(0 if good else 1)
    assert good
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("missing", [["preadv"], ["preadv", "pread"]])
def test_systems_without_positioned_reads(file, monkeypatch, missing):
    for name in missing:
        monkeypatch.delattr(os, name, raising=False)
    storage = opened(file)
    assert {key: part(storage, key) for key in FILES} == FILES


# --- where an archive is --------------------------------------------------------------------------


def test_the_archive_on_a_path_is_found(tmp_path):
    (tmp_path / "x.ozx").write_bytes(b"")
    (tmp_path / "Y.OZX").write_bytes(b"")
    (tmp_path / "dir.ozx").mkdir()
    (tmp_path / "z.zip").write_bytes(b"")
    archive = str(tmp_path / "x.ozx")
    assert find_archive(archive) == (archive, "")
    assert find_archive(f"{archive}/A/1/0") == (archive, "A/1/0")
    assert find_archive(f"{tmp_path}/Y.OZX/A") == (f"{tmp_path}/Y.OZX", "A")
    for other in ("dir.ozx", "dir.ozx/A", "z.zip", "none.ozx", "none.ozx/A", "x.ozx.bak", "."):
        assert find_archive(str(tmp_path / other)) is None
    for named in ("x.ozx", "x.ozx/A", "none.ozx", "none.ozx/A", "Y.ozX"):
        assert names_archive(str(tmp_path / named))
    for other in ("dir.ozx", "dir.ozx/A", "z.zip", "x.ozx.bak"):
        assert not names_archive(str(tmp_path / other))


def test_a_missing_archive_is_not_found(tmp_path):
    with pytest.raises(ps.NodeNotFoundError, match="no such archive"):
        opened(tmp_path / "x.ozx")


def test_a_directory_is_no_archive(tmp_path):
    with pytest.raises((ps.InvalidMetadataError, PermissionError)):
        opened(tmp_path)


def test_entries_cannot_be_changed(file):
    storage = opened(file)
    with pytest.raises(TypeError):
        storage.entries["x"] = storage.entries["zarr.json"]
    assert dataclasses.is_dataclass(storage.options)
