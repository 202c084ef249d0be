"""A pass that was killed anywhere is resumed, and gives the bytes of one that was not."""

from __future__ import annotations

import os
import zipfile

import pytest
from archive_cases import ROOT

import platestore as ps
from platestore.storage.archive import ArchiveStorage

WRITTEN = {**dict([ROOT]), "A/zarr.json": b"{}", "c/0": b"pixels" * 10}
STREAMED = {"c/1": [b"one", b"two"], "ü/2": []}
AFTER = {"c/3": b"", "c/4": b"last"}


def run(path, *, resume: bool = False, **kwargs) -> None:
    """One pass, as those who write archives do it: what is there already is passed over."""
    with ArchiveStorage(str(path), resume=resume, **kwargs) as archive:
        for key, data in WRITTEN.items():
            archive.write(key, data)
        for key, pieces in STREAMED.items():
            if archive.exists(key):
                continue
            stream = archive.stream(key)
            stream.append(b"head")
            for piece in pieces:
                stream.append(piece)
            stream.rewrite(0, b"HEAD")
            stream.commit()
        for key, data in AFTER.items():
            archive.write(key, data)
        archive.finish()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "x.ozx"
    run(path)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.read("c/1") == b"HEADonetwo"
    return path.read_bytes()


def states(path, monkeypatch) -> list[bytes]:
    """The file after every byte that a pass writes."""
    found, content, real = [b""], bytearray(), os.write

    def write(descriptor, data):
        at = os.lseek(descriptor, 0, os.SEEK_CUR)
        for number, byte in enumerate(bytes(data)):
            content[at + number : at + number + 1] = bytes([byte])
            found.append(bytes(content))
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    run(path)
    monkeypatch.undo()
    assert found[-1] == path.read_bytes()
    return found


@pytest.mark.parametrize("durability", ["process", "metadata"])
def test_a_pass_killed_at_any_byte_is_resumed(tmp_path, monkeypatch, whole, durability):
    seen = states(tmp_path / "first", monkeypatch)
    assert len(seen) > len(whole)  # what is patched is written twice
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    path = tmp_path / "x.ozx"
    for number, state in enumerate(seen):
        path.write_bytes(state)
        run(path, resume=True, durability=durability)
        assert path.read_bytes() == whole, f"killed after {number} bytes"


def test_an_archive_cut_off_at_any_byte_is_resumed(tmp_path, whole):
    path = tmp_path / "x.ozx"
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        run(path, resume=True)
        assert path.read_bytes() == whole, f"cut off after {size} bytes"


def test_resuming_keeps_what_is_complete_and_cuts_off_the_rest(tmp_path, whole):
    path = tmp_path / "x.ozx"
    end = whole.index(b"c/1") - 30
    path.write_bytes(whole[: end + 40])
    with ArchiveStorage(str(path), resume=True) as archive:
        assert list(archive.keys("")) == ["zarr.json", "A/zarr.json", "c/0"]
        assert archive.nbytes == end == path.stat().st_size
        assert archive.read("c/0") == WRITTEN["c/0"]


def test_a_finished_archive_can_go_on(tmp_path, whole):
    path = tmp_path / "x.ozx"
    path.write_bytes(whole)
    with ArchiveStorage(str(path), resume=True) as archive:
        archive.write("c/5", b"new")
        archive.finish()
    with zipfile.ZipFile(path) as other:
        assert other.namelist()[-2:] == ["c/4", "c/5"]
        assert other.testzip() is None


def test_resuming_without_a_file_begins_one(tmp_path, whole):
    run(tmp_path / "x.ozx", resume=True)
    assert (tmp_path / "x.ozx").read_bytes() == whole


def test_the_order_is_kept_over_a_resumption(tmp_path, whole):
    path = tmp_path / "x.ozx"
    path.write_bytes(whole)
    with ArchiveStorage(str(path), resume=True) as archive:
        with pytest.raises(ps.ArgumentError, match="comes after"):
            archive.write("B/zarr.json", b"{}")
        with pytest.raises(ps.ArgumentError, match="other bytes"):
            archive.write("c/0", b"changed")


@pytest.mark.parametrize("data", [b"mine", b"PK\3\4" + bytes(100), b"PK\5\6" + bytes(18), b"\0"])
def test_a_file_of_somebody_else_is_not_cut_off(tmp_path, data):
    path = tmp_path / "x.ozx"
    path.write_bytes(data)
    with pytest.raises(ps.InvalidMetadataError, match="not continued") as caught:
        ArchiveStorage(str(path), resume=True)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == data


@pytest.mark.parametrize(("durability", "kept"), [("process", True), ("metadata", False), ("full", False)])
def test_bytes_that_a_power_loss_took_are_noticed_where_that_matters(tmp_path, whole, durability, kept):
    path = tmp_path / "x.ozx"
    at = whole.index(b"pixels")
    path.write_bytes(whole[:at] + bytes(6) + whole[at + 6 :])
    with ArchiveStorage(str(path), resume=True, durability=durability) as archive:
        assert archive.exists("c/0") is kept
        assert archive.exists("c/4") is kept
        assert archive.exists("A/zarr.json")


def test_long_names_are_found_again(tmp_path):
    path, key = tmp_path / "x.ozx", "/".join(["ü" * 100] * 20) + "/c"
    with ArchiveStorage(str(path)) as archive:
        archive.write(*ROOT)
        archive.write(key, b"x")
    with ArchiveStorage(str(path), resume=True) as archive:
        assert list(archive.keys("")) == ["zarr.json", key]
        assert archive.read(key) == b"x"
