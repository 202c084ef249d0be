"""``ArchiveStorage``: what it writes is RFC-9, the same every time, and read by others."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import subprocess
import threading
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import zarr
from archive_cases import ROOT, tree
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import examples, make_plate
from nodes.store_helpers import axes, pixels
from platestore.storage import zip_records
from platestore.storage.archive import ArchiveStorage
from platestore.storage.base import ReadBuffer, StorageOptions
from platestore.storage.ozx import OzxStorage
from platestore.storage.zarr_compat import StorageStore

FILES = {
    **dict([ROOT]),
    "A/zarr.json": b"{}",
    "A/1/zarr.json": b'{"a": "b"}' * 20_000,
    "A/1/c/0": bytes(range(256)),
    "A/1/c/1": b"",
    "ü/c/0": b"x" * 100_000,
}


def packed(path: Path, files: dict[str, bytes], **kwargs) -> Path:
    with ArchiveStorage(str(path), **kwargs) as archive:
        for key, data in files.items():
            archive.write(key, data)
        archive.finish()
    return path


@pytest.fixture
def file(tmp_path):
    return tmp_path / "x.ozx"


@pytest.fixture
def archive(file):
    """An archive that holds the document of its root."""
    with ArchiveStorage(str(file)) as archive:
        archive.write(*ROOT)
        yield archive


# --- others read it -------------------------------------------------------------------------------


def test_zipfile_reads_it(file):
    with zipfile.ZipFile(packed(file, FILES)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == FILES
        assert archive.namelist() == list(FILES)
        for info in archive.infolist():
            assert info.compress_type == zipfile.ZIP_STORED
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            assert info.external_attr == 0o644 << 16
            assert info.create_system == 3
            assert info.flag_bits == 0x800
        comment = json.loads(archive.comment)
    assert comment == {"ome": {"version": "0.5", "zipFile": {"centralDirectory": {"jsonFirst": True}}}}


@pytest.mark.skipif(shutil.which("unzip") is None, reason="there is no unzip program")
def test_unzip_finds_no_fault(file, tmp_path):
    packed(file, FILES)
    assert (
        "No errors detected"
        in subprocess.run(["unzip", "-t", file], capture_output=True, text=True, check=True).stdout
    )
    ascii_only = packed(tmp_path / "y.ozx", {k: v for k, v in FILES.items() if k.isascii()})
    subprocess.run(["unzip", "-q", ascii_only, "-d", tmp_path / "out"], check=True)
    assert tree(tmp_path / "out") == {k: v for k, v in FILES.items() if k.isascii()}


def test_this_library_reads_it(file):
    storage = OzxStorage(str(packed(file, FILES)), StorageOptions())
    assert {key: storage.read(key) for key in storage.entries} == FILES
    assert list(storage.entries) == list(FILES)
    assert (storage.version, storage.json_first, storage.problems) == ("0.5", True, [])
    storage.check_unpackable()


@pytest.fixture
def plate(tmp_path):
    """A plate, packed."""
    make_plate(tmp_path / "plate.zarr", "0.5")
    return packed(tmp_path / "plate.ozx", tree(tmp_path / "plate.zarr"))


def test_zarr_reads_a_packed_plate(plate):
    group = zarr.open_group(zarr.storage.ZipStore(plate, mode="r"), mode="r")
    assert [int(group[f"{path}/0"][0, 0, 0, 0, 0]) for path in ("A/1/0", "A/2/0", "B/1/0")] == [1, 2, 3]
    group.store.close()


def test_ngff_zarr_reads_a_packed_plate(plate):
    ngff_zarr = pytest.importorskip("ngff_zarr")
    read = ngff_zarr.from_hcs_zarr(str(plate))
    assert [well.path for well in read.metadata.wells] == ["A/1", "A/2", "B/1"]
    assert (np.asarray(read.get_well("A", "2").get_image(0).images[0].data) == 2).all()


def test_ngff_zarr_reads_a_packed_position(tmp_path):
    ngff_zarr = pytest.importorskip("ngff_zarr")
    names = axes("tczyx")  # its validation knows the conventional lower-case names only
    position = ps.open_ome_zarr(
        tmp_path / "x.zarr", layout="fov", mode="w-", channel_names=["a", "b"], axes=names, version="0.5"
    )
    position.create_image("0", pixels(2, 2, 2, 8, 8))
    path = packed(tmp_path / "x.ozx", tree(tmp_path / "x.zarr"))
    images = ngff_zarr.from_ngff_zarr(str(path), validate=True).images
    np.testing.assert_array_equal(np.asarray(images[0].data), pixels(2, 2, 2, 8, 8))
    assert ngff_zarr.rfc9_zip.read_ozx_version(str(path)) == "0.5"


@settings(deadline=None, max_examples=examples(30))
@given(
    files=st.dictionaries(
        st.lists(st.text("abAB01._ äß", min_size=1, max_size=4), min_size=1, max_size=4)
        .filter(lambda segments: not {".", ".."} & set(segments))
        .map("/".join),
        st.one_of(st.binary(max_size=300), st.integers(0, 200_000).map(bytes)),
        max_size=20,
    ),
    streamed=st.sets(st.integers(0, 19)),
)
def test_any_entries_are_read_by_zipfile_and_by_this_library(tmp_path_factory, files, streamed):
    path = tmp_path_factory.mktemp("any") / "x.ozx"
    files = {"zarr.json": b"{}", **files}
    with ArchiveStorage(str(path), json_first=False) as archive:
        for number, (key, data) in enumerate(files.items()):
            if number in streamed:
                archive.write_pieces(key, [data[:100], data[100:]])
            else:
                archive.write_object(key, memoryview(data), fresh=True)
        assert {key: archive.read(key) for key in files} == files
        archive.finish()
    with zipfile.ZipFile(path) as other:
        assert {name: other.read(name) for name in other.namelist()} == files
    storage = OzxStorage(str(path), StorageOptions())
    assert {key: storage.read(key) for key in storage.keys("")} == files


# --- the bytes ------------------------------------------------------------------------------------


def test_every_record_has_its_zip64_form(file):
    data = packed(file, FILES).read_bytes()
    end = data.rindex(b"PK\5\6")
    assert struct.unpack_from("<4H2L", data, end + 4) == (0, 0, *[0xFFFF] * 2, *[0xFFFFFFFF] * 2)
    assert data[end - 20 : end - 16] == b"PK\6\7"
    assert data[end - 76 : end - 72] == b"PK\6\6"
    count, size, start = struct.unpack_from("<3Q", data, end - 76 + 32)
    assert (count, start + size) == (len(FILES), end - 76)
    at = start
    for name, content in FILES.items():
        named = struct.unpack_from("<H", data, at + 28)[0]
        extra = data[at + 46 + named : at + 46 + named + 28]
        tag, length, *sizes, offset = struct.unpack("<2H3Q", extra)
        assert data[at + 46 : at + 46 + named].decode() == name
        assert (tag, length, sizes) == (1, 24, [len(content)] * 2)
        assert struct.unpack_from("<2L", data, at + 20) == (0xFFFFFFFF,) * 2
        assert struct.unpack_from("<L", data, at + 42) == (0xFFFFFFFF,)
        assert struct.unpack_from("<L2L2H", data, offset + 14)[1:] == (*[0xFFFFFFFF] * 2, named, 20)
        assert struct.unpack_from("<2H2Q", data, offset + 30 + named) == (1, 16, *sizes)
        at += 46 + named + 28
    assert at == start + size


def test_packing_twice_gives_the_same_bytes(tmp_path):
    one, other = packed(tmp_path / "1", FILES), tmp_path / "2"
    with ArchiveStorage(str(other)) as archive:
        for key, data in FILES.items():
            archive.write_pieces(key, (data[i : i + 999] for i in range(0, len(data), 999)))
        archive.finish()
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(("version", "json_first"), [("0.6", True), ("0.5", False)])
def test_the_comment_says_version_and_order(file, version, json_first):
    packed(file, FILES, version=version, json_first=json_first)
    storage = OzxStorage(str(file), StorageOptions())
    assert (storage.version, storage.json_first) == (version, json_first)


def test_entries_of_more_than_4_gib(file):
    # A large entry that is a hole in the file: its header is there, and its size.
    size = 5 * 2**30
    with ArchiveStorage(str(file)) as archive:
        archive.write(*ROOT)
        end = archive.nbytes
    with open(file, "r+b") as raw:
        raw.seek(end)
        raw.write(zip_records.local_header(b"c/0", size, 0))
        raw.truncate(raw.tell() + size)
    with ArchiveStorage(str(file), resume=True) as archive:
        assert archive.size_of("c/0") == size
        archive.write("c/1", b"after")
        archive.finish()
    with zipfile.ZipFile(file) as other:
        assert [info.file_size for info in other.infolist()] == [len(ROOT[1]), size, 5]
        assert other.infolist()[2].header_offset > 2**32
        assert other.read("c/1") == b"after"
    storage = OzxStorage(str(file), StorageOptions())
    assert storage.size_of("c/0") == size
    assert storage.read("c/1") == b"after"
    assert bytes(storage.read_part("c/0", ReadBuffer(), -3)) == bytes(3)
    assert bytes(storage.read_part("c/0", ReadBuffer(), 2**32 + 7, 5)) == bytes(5)


# --- order and names ------------------------------------------------------------------------------


def test_the_document_of_the_root_is_the_first_entry(file):
    with ArchiveStorage(str(file)) as archive:
        for key in ("A/zarr.json", "c/0"):
            with pytest.raises(ps.ArgumentError, match="first entry"):
                archive.write(key, b"x")
            with pytest.raises(ps.ArgumentError, match="first entry"):
                archive.stream(key)
        assert file.stat().st_size == 0
        archive.write(*ROOT)


def test_no_document_comes_after_a_chunk(archive):
    archive.write("A/zarr.json", b"{}")
    archive.write("c/0", b"x")
    for add in (archive.write, archive.create, lambda key, data: archive.write_pieces(key, [data])):
        with pytest.raises(ps.ArgumentError, match="comes after"):
            add("B/zarr.json", b"{}")
    assert list(archive.keys("")) == ["zarr.json", "A/zarr.json", "c/0"]


@pytest.mark.parametrize(
    "key", ["", "..", "../x", "/x", "a//b", "a/", "a\\b", "C:/x", "a\0b", "./x", "\ud800", "x" * 70_000]
)
def test_names_that_would_harm_are_not_written(archive, file, key):
    before = file.read_bytes()
    for add in (lambda: archive.write(key, b"x"), lambda: archive.stream(key)):
        with pytest.raises(ps.ArgumentError) as caught:
            add()
        assert str(file) in str(caught.value)
    assert file.read_bytes() == before


def test_an_entry_that_is_there_is_left(archive, file):
    archive.write("c/0", b"12345")
    before = file.read_bytes()
    archive.write("c/0", b"12345")
    archive.write_object("c/0", bytearray(b"12345"), fresh=False)
    archive.write_pieces("c/0", iter([]), 5)
    assert archive.holds("c/0", 5)
    assert not archive.holds("c/1", 5)
    assert file.read_bytes() == before
    for add in (
        lambda: archive.write("c/0", b"123456"),
        lambda: archive.write("c/0", b"54321"),
        lambda: archive.write_pieces("c/0", [b"123"], 3),
        lambda: archive.stream("c/0"),
    ):
        with pytest.raises(ps.ArgumentError, match="c/0"):
            add()
    assert file.read_bytes() == before


# --- one entry piece by piece ---------------------------------------------------------------------


def test_a_stream_is_an_entry_once_it_is_committed(archive):
    stream = archive.stream("c/0")
    assert [stream.append(piece) for piece in (b"abc", bytearray(b""), memoryview(b"defg"))] == [0, 3, 3]
    assert stream.read(1, 4) == b"bcde"
    assert archive.read("c/0") is None
    stream.commit()
    assert archive.read("c/0") == b"abcdefg"
    archive.finish()
    with zipfile.ZipFile(archive.url) as other:
        assert other.read("c/0") == b"abcdefg"


def test_what_was_appended_can_be_rewritten(archive):
    stream = archive.stream("c/0")
    stream.append(bytes(16))
    stream.append(b"pixels")
    stream.rewrite(4, b"index")
    for offset in (-1, 18, 22):
        with pytest.raises(ps.ArgumentError, match="nothing was appended there"):
            stream.rewrite(offset, b"index")
    stream.append(b"more")
    stream.commit()
    archive.finish()
    with zipfile.ZipFile(archive.url) as other:
        assert other.read("c/0") == b"\0\0\0\0index" + bytes(7) + b"pixelsmore"


def test_a_stream_that_is_given_up_leaves_nothing(archive, file):
    before = file.read_bytes()
    stream = archive.stream("c/0")
    stream.append(b"x" * 10_000)
    stream.discard()
    assert file.read_bytes() == before
    archive.write("c/1", b"y")
    stream.discard()
    assert archive.read("c/1") == b"y"
    for use in (lambda: stream.append(b"x"), stream.commit, lambda: stream.rewrite(0, b"")):
        with pytest.raises(ps.ArgumentError, match="complete, or was given up"):
            use()


def test_nothing_else_is_written_beside_a_stream(archive):
    stream = archive.stream("c/0")
    for use in (
        lambda: archive.write("c/1", b"x"),
        lambda: archive.stream("c/1"),
        lambda: archive.write_pieces("c/1", [b"x"]),
        archive.finish,
    ):
        with pytest.raises(ps.ArgumentError, match="'c/0' is being written"):
            use()
    stream.append(b"good")
    stream.commit()
    archive.write("c/1", b"x")
    assert archive.read("c/0") == b"good"


def test_threads_append_to_one_stream(archive):
    stream, places = archive.stream("c/0"), {}

    def append(number):
        for _ in range(50):
            places[stream.append(bytes([number]) * (number + 1))] = number

    threads = [threading.Thread(target=append, args=(n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stream.commit()
    data = archive.read("c/0")
    assert len(data) == 50 * (1 + 2 + 3 + 4 + 5)
    for offset, number in places.items():
        assert data[offset : offset + number + 1] == bytes([number]) * (number + 1)
    archive.finish()
    with zipfile.ZipFile(archive.url) as other:
        assert other.testzip() is None


def test_a_file_of_another_size_than_told_is_not_added(archive, file):
    before = file.read_bytes()
    for size in (2, 4):
        with pytest.raises(ps.SourceChangedError, match="c/0"):
            archive.write_pieces("c/0", [b"a", b"bc"], size)

    def fail():
        yield b"abc"
        raise KeyError

    with pytest.raises(KeyError):
        archive.write_pieces("c/0", fail(), 6)
    assert file.read_bytes() == before
    archive.write_pieces("c/0", [b"a", b"bc"], 3)
    assert archive.read("c/0") == b"abc"


def test_threads_write_entries_at_once(archive):
    def write(number):
        for i in range(40):
            archive.write(f"{number}/{i}", bytes([number]) * i * 100)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    archive.finish()
    with zipfile.ZipFile(archive.url) as other:
        assert other.testzip() is None
        assert len(other.namelist()) == 201


# --- reading back ---------------------------------------------------------------------------------


def test_what_was_written_is_read_at_once(archive):
    archive.write("A/c/0", bytes(range(100)))
    assert archive.exists("A/c/0")
    assert archive.size_of("A/c/0") == 100
    assert archive.stamp("A/c/0") is not None
    for start, length in ((0, None), (10, 20), (-5, None), (-5, 2), (90, 50), (200, 5)):
        expected = bytes(range(100))[start:][:length]
        assert bytes(archive.read_part("A/c/0", ReadBuffer(), start, length)) == expected
    assert archive.list("") == (["A"], ["zarr.json"])
    archive.write("A/c/1", b"x")
    assert archive.list("A/c") == ([], ["0", "1"])
    assert list(archive.keys("A")) == ["A/c/0", "A/c/1"]
    archive.finish()
    assert archive.read("A/c/1") == b"x"
    assert isinstance(archive.zarr_store(), StorageStore)


def test_what_was_not_written_is_missing(archive):
    for missing in ("A", "A/zarr.json", ""):
        assert archive.read(missing) is None
        assert archive.size_of(missing) is None
        assert archive.stamp(missing) is None
        assert not archive.exists(missing)
    with pytest.raises(ps.NodeNotFoundError):
        archive.list("A")
    assert list(archive.keys("A")) == []


@pytest.mark.parametrize("missing", [["preadv"], ["preadv", "pread"]])
def test_systems_without_positioned_reads(file, monkeypatch, missing):
    for name in missing:
        monkeypatch.delattr(os, name, raising=False)
    with ArchiveStorage(str(file)) as archive:
        for key, data in FILES.items():
            archive.write(key, data)
            assert archive.read(key) == data
        stream = archive.stream("c/0")
        stream.append(b"abc")
        assert stream.read(0, 3) == b"abc"
        stream.append(b"def")
        stream.rewrite(0, b"xyz")
        stream.commit()
        assert archive.read("c/0") == b"xyzdef"
        archive.finish()
    with zipfile.ZipFile(file) as other:
        assert other.testzip() is None


# --- what kind of store it is ---------------------------------------------------------------------


def test_what_an_archive_cannot_do_is_refused(archive):
    for change in (
        lambda: archive.remove("zarr.json"),
        lambda: archive.remove_tree(""),
        lambda: archive.move_tree("A", "B"),
    ):
        with pytest.raises(ps.UnsupportedError):
            change()
    assert archive.appender("c/0") is None
    assert archive.make_directory("A") is True
    assert archive.local_path("") is None
    assert archive.folds_case() is False
    assert archive.check_links("A", writing=True) is None
    assert archive.is_writable("")
    with archive.lock("A"), archive.lock("A"):
        archive.write("A/zarr.json", b"{}")
    archive.finish()
    assert not archive.is_writable("")


def test_a_file_that_is_there_is_not_overwritten(file):
    file.write_bytes(b"mine")
    with pytest.raises(ps.NodeExistsError, match=r"x\.ozx"):
        ArchiveStorage(str(file))
    assert file.read_bytes() == b"mine"
    file.write_bytes(b"")
    packed(file, FILES)


def test_nothing_is_added_to_a_finished_archive(file):
    archive = ArchiveStorage(str(file))
    archive.write(*ROOT)
    archive.finish()
    data = file.read_bytes()
    archive.finish()
    with pytest.raises(ps.ArgumentError, match="finished"):
        archive.write("c/0", b"x")
    archive.close()
    archive.close()
    with pytest.raises(ps.ArgumentError, match="closed"):
        archive.write("c/0", b"x")
    assert file.read_bytes() == data


@pytest.mark.parametrize(("durability", "flushes"), [("process", 0), ("metadata", 1), ("full", 1)])
def test_the_finished_file_is_flushed_if_it_must_survive_a_power_loss(file, monkeypatch, durability, flushes):
    flushed = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    packed(file, FILES, durability=durability)
    assert len(flushed) == flushes


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_full_disk_leaves_what_was_complete(file, monkeypatch, at):
    real, calls = os.write, []

    def write(descriptor, data):
        calls.append(data)
        if len(calls) == at:
            real(descriptor, memoryview(data)[: len(data) // 2])
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    archive = ArchiveStorage(str(file))
    archive.write(*ROOT)
    before = file.read_bytes()
    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space"):  # noqa: PT012 - whichever of them it is
        archive.write("c/0", bytes(100_000))
        archive.write_pieces("c/1", [b"x"])
    monkeypatch.undo()
    archive.write("c/0", bytes(100_000))
    archive.write_pieces("c/1", [b"x"])
    archive.finish()
    archive.close()
    expected = packed(file.parent / "y", {**dict([ROOT]), "c/0": bytes(100_000), "c/1": b"x"})
    assert file.read_bytes() == expected.read_bytes()
    assert file.read_bytes().startswith(before)


def test_large_directories_are_written_in_pieces(file, monkeypatch):
    from platestore.storage import zip_writer

    monkeypatch.setattr(zip_writer, "_PIECE", 1000)
    files = {**dict([ROOT]), **{f"c/{n}": b"x" for n in range(200)}}
    with zipfile.ZipFile(packed(file, files)) as other:
        assert {name: other.read(name) for name in other.namelist()} == files


def test_what_zipfile_writes_is_found_by_the_same_records():
    # A check of the reading half of the records against the standard library.
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as other, other.open("a", "w", force_zip64=True) as entry:
        entry.write(b"abc")
    data = out.getvalue()
    found = zip_records.find_directory(lambda at, n: data[at : at + n], len(data))
    (record,) = zip_records.read_records(data[found.start : found.start + found.size], found)
    assert (record.name, record.size, record.compressed, record.offset) == (b"a", 3, 3, 0)
    assert record.crc == zlib.crc32(b"abc")
