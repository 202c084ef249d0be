"""The shallow audit: files, their names and lengths, headers, and the indices of shards."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs
import numpy as np
import pytest
import zarr

import platestore as ps
from checking.pixel_cases import (
    CHUNKS,
    LAYOUTS,
    SHAPE,
    audit,
    audit_one,
    chunk_files,
    decoded_nbytes,
    document,
    make_image,
    noise,
    storage,
    told,
)
from platestore.arrays.coders import HEAD_BYTES, zstd_content_size
from platestore.checking.pixels.image import audit_array, audit_image
from platestore.storage.base import StorageOptions
from platestore.storage.ozx import OzxStorage
from platestore.storage.zarr_store import ZarrStorage

SHARDED = [name for name in LAYOUTS if "shards" in name]
PLAIN = [name for name in LAYOUTS if "shards" not in name]


def key_of(path: Path, file: Path) -> str:
    return file.relative_to(path).as_posix()


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_whole_image_has_no_findings(tmp_path, layout, deep):
    path = make_image(tmp_path / "a.zarr", layout)
    found = audit(path, deep=deep)
    files = chunk_files(path)
    assert found.findings == []
    assert found.missing == {"0": 0, "1": 0, "2": 0}
    assert found.files == len(files)
    assert found.nbytes_stored == sum(f.stat().st_size for f in files)
    assert found.nbytes_decoded == (decoded_nbytes(path) if deep else 0)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_empty_file_is_told_once(tmp_path, layout, deep):
    path = make_image(tmp_path / "a.zarr", layout)
    file = chunk_files(path / "0")[1]
    file.write_bytes(b"")
    assert told(audit(path, deep=deep)) == [("error", "chunk-empty", key_of(path, file))]


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("layout", [name for name in PLAIN if "zstd" not in name and "gzip" not in name])
def test_a_truncated_chunk_is_seen_by_its_length(tmp_path, layout, deep):
    path = make_image(tmp_path / "a.zarr", layout)
    file = chunk_files(path / "0")[2]
    for keep in (file.stat().st_size - 1, 17, 3):
        file.write_bytes(file.read_bytes()[:keep])
        assert told(audit(path, deep=deep)) == [("error", "chunk-truncated", key_of(path, file))]


@pytest.mark.parametrize("layout", ["0.4", "0.5 zstd", "0.5 gzip", "0.5 checksum"])
def test_a_file_of_zeros_is_no_chunk(tmp_path, layout):
    path = make_image(tmp_path / "a.zarr", layout)
    file = chunk_files(path / "1")[0]
    file.write_bytes(bytes(file.stat().st_size))
    assert told(audit(path, deep=False)) == [("error", "chunk-damaged", key_of(path, file))]


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("layout", SHARDED)
def test_a_truncated_shard_is_seen_by_its_index(tmp_path, layout, deep):
    path = make_image(tmp_path / "a.zarr", layout)
    file = chunk_files(path / "0")[0]
    data = file.read_bytes()
    for keep, code in ((len(data) - 1, "shard-index"), (10, "shard-truncated")):
        file.write_bytes(data[:keep])
        assert told(audit(path, deep=deep)) == [("error", code, key_of(path, file))]


@pytest.mark.parametrize("layout", ["0.5 gzip", "0.5 zstd"])
def test_bombs_are_not_decoded(tmp_path, layout):
    """Chunks of 2 KiB that would become a thousand times that."""
    path = make_image(tmp_path / "a.zarr", layout)
    codec = numcodecs.GZip(9) if "gzip" in layout else numcodecs.Zstd(1)
    file = chunk_files(path / "0")[0]
    file.write_bytes(codec.encode(bytes(2**21)))
    for deep in (False, True):
        found = audit(path, deep=deep)
        assert told(found) == [("error", "chunk-damaged", key_of(path, file))]
        assert "would decode to" in found.findings[0].message


@pytest.mark.parametrize("nbytes", [0, 1, 255, 256, 257, 65791, 65792, 2**20])
def test_the_content_size_of_zstd(nbytes):
    data = numcodecs.Zstd(1).encode(bytes(nbytes))
    assert zstd_content_size(data[:HEAD_BYTES]) == nbytes
    for length in range(len(data[:HEAD_BYTES])):
        assert zstd_content_size(data[:length]) in (None, nbytes)


def test_gzip_that_is_cut_off(tmp_path):
    path = make_image(tmp_path / "a.zarr", "0.5 gzip")
    file = chunk_files(path / "0")[0]
    file.write_bytes(file.read_bytes()[:-9])
    assert told(audit(path, deep=True)) == [("error", "chunk-damaged", key_of(path, file))]


def rewrite_index(file: Path, change: Any) -> None:
    """Change the index of a shard of eight chunks, with a checksum that matches."""
    data = file.read_bytes()
    size = 8 * 16
    index = np.frombuffer(data[-size - 4 : -4], "<u8").reshape(8, 2).copy()
    change(index)
    body = index.tobytes()
    file.write_bytes(data[: -size - 4] + body + google_crc32c.value(body).to_bytes(4, "little"))


@pytest.mark.parametrize(
    ("row", "value", "code"),
    [
        ((0, 0), 10**9, "shard-truncated"),
        ((0, 1), 10**9, "shard-truncated"),
        ((0, 0), 2**64 - 2, "shard-truncated"),
        ((0, 1), 2**64 - 2, "shard-truncated"),
        ((3, 0), 1, "shard-index"),
        ((3, 1), 0, "shard-index"),
    ],
)
def test_an_index_that_cannot_be(tmp_path, row, value, code):
    path = make_image(tmp_path / "a.zarr", "0.5 shards")
    file = chunk_files(path / "0")[0]

    def change(index: np.ndarray) -> None:
        index[row] = value

    rewrite_index(file, change)
    for deep in (False, True):
        assert told(audit(path, deep=deep)) == [("error", code, key_of(path, file))]


def test_two_chunks_may_share_their_bytes(tmp_path):
    data = noise()
    data[..., :16, :16] = 5
    data[..., :16, 16:32] = 5
    path = make_image(tmp_path / "a.zarr", "0.5 shards", data, levels=None)

    def share(index: np.ndarray) -> None:
        index[1] = index[0]

    rewrite_index(chunk_files(path / "0")[0], share)
    assert told(audit(path)) == []


def test_a_chunk_of_another_size(tmp_path):
    """One that was copied from an array with other chunks."""
    path = make_image(tmp_path / "a.zarr", "0.5")
    small = make_image(tmp_path / "b.zarr", "0.5", noise((1, 1, 2, 8, 8)), levels=None)
    file = chunk_files(path / "0")[3]
    file.write_bytes(chunk_files(small / "0")[0].read_bytes())
    assert told(audit(path, deep=False)) == [("error", "chunk-damaged", key_of(path, file))]


def test_chunks_outside_of_the_array(tmp_path, version):
    path = make_image(tmp_path / "a.zarr", version, levels=None)
    first = chunk_files(path / "0")[0]
    outside = first.parents[0] / "3"
    outside.write_bytes(first.read_bytes())
    assert told(audit(path)) == [("warning", "chunk-outside", key_of(path, outside))]


def test_files_that_are_no_chunks(tmp_path, version):
    path = make_image(tmp_path / "a.zarr", version, levels=None)
    (path / "0" / "notes.txt").write_text("mine")
    inside = chunk_files(path / "0")[0].parent
    (inside / "00").write_text("not a name of a chunk")
    (inside / "1 copy").write_text("nor this")
    (path / "0" / "9.9.9").write_text("a chunk of another separator")
    found = told(audit(path))
    advice = sorted(key_of(path, f) for f in (path / "0" / "notes.txt", inside / "1 copy"))
    warnings = sorted(key_of(path, f) for f in (path / "0" / "9.9.9", inside / "00"))
    assert found == [("advice", "chunk-foreign", f) for f in advice] + [
        ("warning", "chunk-foreign", f) for f in warnings
    ]


def test_files_under_way_are_told_apart(tmp_path, version):
    path = make_image(tmp_path / "a.zarr", "0.5 shards" if version == "0.5" else version)
    (path / "1" / "c").mkdir(exist_ok=True)
    inside = chunk_files(path / "0")[0].parent
    left = [inside / name for name in (".0.12-3-0011aabb.tmp", "0.__lock", f"0.{'a' * 32}.partial")]
    for file in left:
        file.write_text("half")
    (inside / ".DS_Store").write_text("no chunk, and nobody's business")
    directory = path / "1" / ".c.12-3-0011aabb.tmp"
    (directory / "0").mkdir(parents=True)
    for name in ("1", "2"):
        (directory / "0" / name).write_text("a directory that was being removed")
    empty = path / "1" / "c" / ".1.12-3-0011aabb.tmp"
    empty.mkdir()
    for deep in (False, True):
        found = audit(path, deep=deep)
        assert found.findings == []
        assert found.leftovers == [
            *sorted(key_of(path, f) for f in left),
            *(key_of(path, d) for d in (directory, empty)),
        ]
    assert audit_one(path / "1").leftovers == [key_of(path, d) for d in (directory, empty)]


def test_many_foreign_files_are_told_in_sum(tmp_path):
    path = make_image(tmp_path / "a.zarr", levels=None)
    for number in range(130):
        (path / "0" / f"x{number}").write_text("")
    found = audit(path, deep=False).findings
    assert len(found) == 101
    assert "30 further files" in found[-1].message
    assert found[-1].file == "0"


def test_missing_chunks_are_counted(tmp_path):
    data = noise()
    data[..., 16:32, :] = 0
    data[..., 32:, :] = 0
    for layout in ("0.4", "0.5 shards"):
        path = make_image(tmp_path / f"{layout}.zarr", layout, data, levels=None)
        for deep in (False, True):
            found = audit(path, deep=deep)
            assert found.findings == []
            assert found.missing == {"0": 12}


def test_an_array_that_was_never_written(tmp_path, version):
    path = tmp_path / "a.zarr"
    with ps.open_ome_zarr(path, layout="fov", mode="w-", channel_names=["a"], version=version) as p:
        p.create_zeros("0", SHAPE, "uint16", chunks=CHUNKS)
    for deep in (False, True):
        found = audit(path, deep=deep)
        assert told(found) == [("advice", "array-unwritten", "0")]
        assert found.missing == {"0": 18}
        assert found.files == found.nbytes_decoded == 0


def test_an_array_without_an_image(tmp_path):
    path = make_image(tmp_path / "a.zarr", levels=None)
    chunk_files(path / "0")[0].write_bytes(b"")
    found = audit_one(path / "0")
    assert told(found) == [("error", "chunk-empty", "0/c/0/0/0/0/0")]
    assert (found.path, found.files, found.missing) == ("0", 18, 0)


def test_what_is_no_array_is_nothing(tmp_path):
    path = make_image(tmp_path / "a.zarr", levels=None)
    assert audit_array(storage(path), "", 3, deep=True).files == 0
    assert audit_array(storage(path), "nothing", 3, deep=True).findings == []
    for text in ("{", "{}", '{"zarr_format": 3, "node_type": "array"}', "[" * 5000):
        (path / "0" / "zarr.json").write_text(text)
        assert audit_array(storage(path), "0", 3, deep=True).files == 0
        assert audit(path).files == 0


@pytest.mark.parametrize(
    "image",
    [
        {},
        {"datasets": None},
        {"datasets": [3, {}, {"path": 4}]},
        {"datasets": [{"path": "../../0"}, {"path": "/0"}, {"path": ""}, {"path": "0\0"}]},
    ],
)
def test_images_that_name_no_levels(tmp_path, image):
    path = make_image(tmp_path / "a.zarr", levels=None)
    assert audit(path, image=image).files == 0


def test_levels_that_are_named_twice_or_not_there(tmp_path):
    path = make_image(tmp_path / "a.zarr")
    chunk_files(path / "2")[0].write_bytes(b"")
    names = ["no", "0", "0", "2", "./0"]
    found = audit(path, image={"datasets": [{"path": name} for name in names]})
    assert told(found) == [("error", "chunk-empty", "2/c/0/0/0/0/0")]
    assert found.missing == {"0": 0, "2": 0}


@pytest.mark.parametrize("deep", [False, True])
def test_an_archive(tmp_path, deep):
    path = make_image(tmp_path / "a.zarr", "0.5 checksum")
    ps.copy(path, tmp_path / "a.ozx")
    image = document(path)[2]
    found = audit_image(OzxStorage(str(tmp_path / "a.ozx"), StorageOptions()), "", image, 3, deep=deep)
    assert (found.findings, found.files) == ([], len(chunk_files(path)))


@pytest.mark.parametrize("deep", [False, True])
def test_a_store_of_zarr(tmp_path, deep):
    path = make_image(tmp_path / "a.zarr", "0.5 shards")
    memory = zarr.storage.MemoryStore()
    for file in path.rglob("*"):
        if file.is_file():
            memory._store_dict[key_of(path, file)] = zarr.core.buffer.cpu.Buffer.from_bytes(file.read_bytes())
    image = document(path)[2]
    held = ZarrStorage(memory, StorageOptions())
    assert audit_image(held, "", image, 3, deep=deep).findings == []
    memory._store_dict["1/c/0/0/0/0/0"] = zarr.core.buffer.cpu.Buffer.from_bytes(b"")
    assert told(audit_image(held, "", image, 3, deep=deep)) == [("error", "chunk-empty", "1/c/0/0/0/0/0")]


def test_a_directory_that_cannot_be_listed(tmp_path, monkeypatch):
    """Its chunks are not said to be missing."""
    import os

    path = make_image(tmp_path / "a.zarr", "0.4")
    denied = str(path / "0" / "0" / "0" / "1")
    scandir = os.scandir

    def refuse(where: Any) -> Any:
        if os.fspath(where) == denied:
            raise PermissionError(13, "Permission denied", denied)
        return scandir(where)

    monkeypatch.setattr(os, "scandir", refuse)
    for deep in (False, True):
        assert told(audit(path, deep=deep)) == [("error", "unreadable", "0/0/0/1")]


def test_a_file_that_cannot_be_read(tmp_path, monkeypatch):
    import os

    path = make_image(tmp_path / "a.zarr", "0.5")
    denied = str(chunk_files(path / "1")[0])
    opened = os.open

    def refuse(where: Any, *args: Any, **kwargs: Any) -> Any:
        if os.fspath(where) == denied:
            raise PermissionError(13, "Permission denied", denied)
        return opened(where, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    for deep in (False, True):
        assert told(audit(path, deep=deep)) == [("error", "unreadable", "1/c/0/0/0/0/0")]


def test_huge_arrays_of_few_chunks(tmp_path, version):
    """Shapes beyond all memory and time, in a document that was made to be so."""
    path = make_image(tmp_path / "a.zarr", version)
    for name in ("0", "1"):
        file = path / name / ("zarr.json" if version == "0.5" else ".zarray")
        content = json.loads(file.read_text())
        content["shape"] = [2**62, 2**62, 8, 2**40, 44]
        file.write_text(json.dumps(content))
    for deep in (False, True):
        found = audit(path, deep=deep)
        assert found.missing["0"] > 2**150
        assert "level-stale" not in {f.code for f in found.findings if f.level == "error"}


@pytest.mark.parametrize("sharded", [False, True])
def test_chunks_that_are_too_large_for_any_codec(tmp_path, sharded):
    """Chunks, or shards, of terabytes, in a document that was made to be so."""
    path = make_image(tmp_path / "a.zarr", "0.5 shards" if sharded else "0.5")
    for name in ("0", "1"):
        file = path / name / "zarr.json"
        content = json.loads(file.read_text())
        grid = content["chunk_grid"]["configuration"]
        grid["chunk_shape"] = [2**10, 1, 2**14, 2**14, 2**14]
        file.write_text(json.dumps(content))
    codes = {f.code for f in audit(path).findings}
    assert codes & ({"shard-truncated"} if sharded else {"codec-unknown", "chunk-damaged", "chunk-truncated"})
    assert audit(path, deep=False).files


def test_nothing_heavy_is_imported_before_it_is_used():
    code = (
        "import sys, platestore.checking.pixels.image;"
        "print([m for m in ('numpy', 'zarr', 'pydantic', 'tensorstore', 'dask') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_arrays_whose_chunks_have_other_keys(tmp_path):
    array = zarr.create_array(
        tmp_path / "a.zarr",
        shape=(6, 6),
        chunks=(3, 3),
        dtype="uint16",
        chunk_key_encoding={"name": "v2", "separator": "."},
    )
    array[...] = 1 + np.arange(36).reshape(6, 6)
    found = audit_array(storage(tmp_path), "a.zarr", 3, deep=True)
    assert (found.findings, found.files, found.missing) == ([], 4, 0)
    (tmp_path / "a.zarr" / "1.1").write_bytes(b"")
    assert told(audit_array(storage(tmp_path), "a.zarr", 3, deep=False)) == [
        ("error", "chunk-empty", "a.zarr/1.1")
    ]


def test_arrays_without_dimensions(tmp_path):
    for fmt in (2, 3):
        array = zarr.create_array(tmp_path / f"{fmt}", shape=(), dtype="uint16", zarr_format=fmt)
        array[...] = 7
        found = audit_array(storage(tmp_path), str(fmt), fmt, deep=True)
        assert (found.findings, found.files, found.missing) == ([], 1, 0)
