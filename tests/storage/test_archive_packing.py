"""``pack_files``: files are packed in order, read ahead by threads, within bounded memory."""

from __future__ import annotations

import os
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from archive_cases import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import examples
from platestore.storage import packing
from platestore.storage.archive import ArchiveStorage
from platestore.storage.packing import pack_files


def written(directory: Path, files: dict[str, bytes]) -> list[tuple[str, str, int]]:
    """Files on the disk, as items."""
    items = []
    for key, data in files.items():
        path = directory / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        items.append((key, str(path), len(data)))
    return items


def noise(size: int, seed: int = 0) -> bytes:
    return (bytes((i * 7 + seed) % 251 for i in range(251)) * (size // 251 + 1))[:size]


FILES = {
    **dict([ROOT]),
    "A/zarr.json": b"{}",
    "A/c/0": noise(1000),
    "A/c/1": noise(1_000_000, 1),
    "B/c/0": noise(5_000_000, 2),
    "B/c/1": noise(20_000_000, 3),
    "B/c/2": b"x",
    "B/c/3": noise(8 * 2**20, 4),
    "B/c/4": noise(8 * 2**20 + 1, 5),
}


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as other:
        return {name: other.read(name) for name in other.namelist()}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return written(tmp_path_factory.mktemp("source"), FILES)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_files_are_packed_in_order(tmp_path, source, workers):
    told = []
    with ArchiveStorage(str(tmp_path / "x.ozx")) as archive:
        pack_files(archive, source, workers, told.append)
        assert list(archive._writer.entries) == list(FILES)
        archive.finish()
    assert contents(tmp_path / "x.ozx") == FILES
    assert sum(told) == sum(map(len, FILES.values()))
    with ArchiveStorage(str(tmp_path / "y.ozx")) as archive:
        for key, data in FILES.items():
            archive.write(key, data)
        archive.finish()
    assert (tmp_path / "x.ozx").read_bytes() == (tmp_path / "y.ozx").read_bytes()


@settings(deadline=None, max_examples=examples(25))
@given(
    sizes=st.lists(st.integers(1, 400), max_size=40),
    block=st.integers(100, 500),
    most=st.integers(1, 5),
    workers=st.integers(1, 4),
    kept=st.integers(0, 40),
)
def test_any_sizes_and_any_blocks_give_the_same(tmp_path_factory, sizes, block, most, workers, kept):
    directory = tmp_path_factory.mktemp("any")
    files = {**dict([ROOT]), **{f"c/{n}": noise(size, n) for n, size in enumerate(sizes)}}
    items, told = written(directory / "in", files), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "_BLOCK", block)
        patch.setattr(packing, "_MOST_FILES", most)
        with ArchiveStorage(str(directory / "x.ozx")) as archive:
            for key, data in list(files.items())[:kept]:  # as if it were resumed
                archive.write(key, data)
            pack_files(archive, iter(items), workers, told.append)
            archive.finish()
    assert contents(directory / "x.ozx") == files
    assert sum(told) == sum(map(len, files.values()))


def test_nothing_to_pack(tmp_path):
    with ArchiveStorage(str(tmp_path / "x.ozx")) as archive:
        pack_files(archive, [], 2)
        assert archive.nbytes == 0


@pytest.mark.parametrize("workers", [0, -1])
def test_somebody_must_read(tmp_path, source, workers):
    with ArchiveStorage(str(tmp_path / "x.ozx")) as archive, pytest.raises(ps.ArgumentError, match="workers"):
        pack_files(archive, source, workers)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda p: p.write_bytes(b""), ps.DamagedChunkError),
        (lambda p: p.write_bytes(p.read_bytes() + b"x"), ps.SourceChangedError),
        (lambda p: p.write_bytes(p.read_bytes()[:-1]), ps.SourceChangedError),
        (lambda p: p.unlink(), ps.SourceChangedError),
    ],
)
@pytest.mark.parametrize("key", ["A/c/0", "B/c/1"])
def test_a_source_that_is_not_what_it_was_is_named(tmp_path, change, error, key):
    items = written(tmp_path / "in", FILES)
    change(tmp_path / "in" / key)
    with ArchiveStorage(str(tmp_path / "x.ozx")) as archive:
        with pytest.raises(error) as caught:
            pack_files(archive, items, 2)
        assert str(tmp_path / "in" / key) in str(caught.value)
        # What came before is complete, and the archive can go on.
        assert not archive.exists(key)
        (tmp_path / "in" / key).write_bytes(FILES[key])
        pack_files(archive, items, 2)
        archive.finish()
    assert contents(tmp_path / "x.ozx") == FILES


def test_an_empty_document_is_no_chunk(tmp_path):
    items = written(tmp_path / "in", {**dict([ROOT]), "A/zarr.json": b""})
    with ArchiveStorage(str(tmp_path / "x.ozx")) as archive:
        pack_files(archive, items, 2)
        assert archive.read("A/zarr.json") == b""


def test_files_that_are_there_are_not_read(tmp_path, source, monkeypatch):
    with ArchiveStorage(str(tmp_path / "x.ozx")) as archive:
        pack_files(archive, source, 2)
        opened, told = [], []
        monkeypatch.setattr(packing, "_read", lambda *arguments: opened.append(arguments))
        pack_files(archive, source, 2, told.append)
        assert (opened, sum(told)) == ([], sum(map(len, FILES.values())))
        with pytest.raises(ps.ArgumentError, match="A/c/0"):
            pack_files(archive, [("A/c/0", source[2][1], 5)], 2)


def test_names_that_would_harm_are_not_packed(tmp_path, source):
    with ArchiveStorage(str(tmp_path / "x.ozx")) as archive:
        with pytest.raises(ps.ArgumentError, match="leads out"):
            pack_files(archive, [*source[:2], ("../x", source[2][1], source[2][2])], 2)
        with pytest.raises(ps.ArgumentError, match="first entry"):
            pack_files(archive, source[1:2], 2)
        pack_files(archive, source[:1], 2)
        with pytest.raises(ps.ArgumentError, match="not those in the bytes"):
            pack_files(archive, source[1:2] * 2, 2)


def test_documents_after_chunks_are_refused_within_a_block(tmp_path):
    items = written(tmp_path, {**dict([ROOT]), "c/0": b"x", "A/zarr.json": b"{}"})
    with ArchiveStorage(str(tmp_path / "x.ozx")) as archive:
        with pytest.raises(ps.ArgumentError, match="comes after"):
            pack_files(archive, items, 2)
        assert list(archive.keys("")) == []
        assert os.path.getsize(tmp_path / "x.ozx") == 0


def test_an_interruption_leaves_an_archive_that_can_go_on(tmp_path, source):
    calls = []

    def stop(nbytes):
        calls.append(nbytes)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with ArchiveStorage(str(tmp_path / "x.ozx")) as archive:
        with pytest.raises(KeyboardInterrupt):
            pack_files(archive, source, 2, stop)
        pack_files(archive, source, 2)
        archive.finish()
    assert contents(tmp_path / "x.ozx") == FILES


def test_memory_is_bounded(tmp_path):
    items = written(tmp_path / "in", {**dict([ROOT]), **{f"c/{n}": noise(6_000_000, n) for n in range(25)}})
    with ArchiveStorage(str(tmp_path / "x.ozx")) as archive:
        tracemalloc.start()
        try:
            pack_files(archive, items, 16)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 66 * 2**20


def test_systems_without_vectored_reads(tmp_path, source, monkeypatch):
    monkeypatch.delattr(os, "readv", raising=False)
    with ArchiveStorage(str(tmp_path / "x.ozx")) as archive:
        pack_files(archive, source, 2)
        archive.finish()
    assert contents(tmp_path / "x.ozx") == FILES
