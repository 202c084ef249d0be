"""Single chunks and shards, read and written without the array: as zarr itself writes and reads them."""

from __future__ import annotations

import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numcodecs import Delta
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, TransposeCodec, ZstdCodec
from zarr.storage import MemoryStore

import platestore as ps
from platestore.arrays.chunkarrays import ArrayReader, ArrayWriter
from platestore.arrays.chunkcodec import ABSENT, chunk_format
from platestore.arrays.chunkfiles import ChunkReader, ChunkWriter
from platestore.arrays.image import open_array
from pyramid.pyramid_store import DTYPES, foreign_image, hidden, noise

V2: dict[str, Any] = {
    "default": {},
    "none": {"compressors": None},
    "dots": {"chunk_key_encoding": {"name": "v2", "separator": "."}},
    "slashes": {"chunk_key_encoding": {"name": "v2", "separator": "/"}},
}
V3: dict[str, Any] = {
    "default": {},
    "none": {"compressors": None},
    "blosc": {"compressors": [BloscCodec(cname="lz4", shuffle="bitshuffle")]},
    "zstd": {"compressors": [ZstdCodec(level=3, checksum=True)]},
    "gzip": {"compressors": [GzipCodec(level=2)]},
    "crc32c": {"compressors": [ZstdCodec(level=1), Crc32cCodec()]},
    "only crc32c": {"compressors": [Crc32cCodec()]},
    "v2 keys": {"chunk_key_encoding": {"name": "v2", "separator": "."}},
    "dots": {"chunk_key_encoding": {"name": "default", "separator": "."}},
    "shards": {"shards": (8, 12)},
    "shards, index first": {"shards": {"shape": (8, 12), "index_location": "start"}},
    "shards, crc32c": {"shards": (8, 12), "compressors": [BloscCodec(), Crc32cCodec()]},
}
LAYOUTS = [*[("0.4", n) for n in V2], *[("0.5", n) for n in V3]]
OUTSIDE = {
    ("0.4", "F order"): {"order": "F"},
    ("0.4", "big endian"): {"dtype": ">u2"},
    ("0.4", "delta"): {"filters": [Delta(dtype="<u2")]},
    ("0.5", "transposed"): {"filters": [TransposeCodec(order=(1, 0))]},
    ("0.5", "big endian"): {"serializer": BytesCodec(endian="big")},
    ("0.5", "two compressors"): {"compressors": [ZstdCodec(), ZstdCodec()]},
}


class Opened:
    """One array of a position, and what reads and writes its chunks."""

    def __init__(self, path: Path, version: str, shape: tuple[int, int] = (21, 26), **how: Any) -> None:
        how = {"shape": shape, "dtype": "uint16", "chunks": (4, 6), **how}
        foreign_image(path, version, {"0": how}, names="YX")
        position = ps.open_ome_zarr(path, mode="r+")
        self.storage = position.__editor__().location.storage
        self.document = position.__editor__().array_document("0")
        self.array = position["0"]
        self.zarr = zarr.open_array(path / "0", mode="r+")
        self.format = chunk_format(self.document)

    def reader(self) -> ChunkReader:
        assert self.format is not None
        return ChunkReader(self.storage, "0", self.format)

    def writer(self, fresh: bool = False) -> ChunkWriter:
        assert self.format is not None
        return ChunkWriter(self.storage, "0", self.format, fresh=fresh)

    def places(self) -> list[tuple[int, ...]]:
        grid = [-(-n // c) for n, c in zip(self.array.shape, self.array.chunks, strict=True)]
        return list(itertools.product(*map(range, grid)))

    def chunk(self, data: np.ndarray, place: tuple[int, ...]) -> np.ndarray:
        """A whole chunk, padded by zeros."""
        out = np.zeros(self.array.chunks, data.dtype)
        part = data[tuple(slice(p * c, (p + 1) * c) for p, c in zip(place, out.shape, strict=True))]
        out[tuple(slice(0, n) for n in part.shape)] = part
        return out


def how_of(version: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = (V2 if version == "0.4" else V3)[name]
    return found


@pytest.mark.parametrize(("version", "name"), LAYOUTS)
def test_what_zarr_writes_is_read(version, name, tmp_path):
    opened = Opened(tmp_path / "i.zarr", version, **how_of(version, name))
    data = noise("uint16", opened.array.shape)
    opened.zarr[...] = data
    reader = opened.reader()
    for place in opened.places():
        out = np.empty(opened.array.chunks, "uint16")
        assert reader.read(place, out)
        inside = opened.chunk(np.ones_like(data), place).astype(bool)
        np.testing.assert_array_equal(out[inside], opened.chunk(data, place)[inside])


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize(("version", "name"), LAYOUTS)
def test_what_is_written_is_read_by_zarr(version, name, fresh, tmp_path):
    opened = Opened(tmp_path / "i.zarr", version, **how_of(version, name))
    data = noise("uint16", opened.array.shape)
    writer = opened.writer(fresh)
    places = opened.places()
    np.random.default_rng(0).shuffle(places)
    for place in places:
        writer.write(tuple(place), opened.chunk(data, tuple(place)))
    np.testing.assert_array_equal(opened.zarr[...], data)
    np.testing.assert_array_equal(opened.array.numpy(), data)
    assert not hidden(tmp_path)


@pytest.mark.parametrize("dtype", [*DTYPES, "int8", "uint64", "float16"])
def test_every_type(dtype, version, tmp_path):
    opened = Opened(tmp_path / "i.zarr", version, dtype=dtype)
    data = noise(dtype, opened.array.shape)
    writer, reader = opened.writer(), opened.reader()
    for place in opened.places():
        writer.write(place, opened.chunk(data, place))
        out = np.empty(opened.array.chunks, dtype)
        assert reader.read(place, out)
        np.testing.assert_array_equal(out, opened.chunk(data, place))
    np.testing.assert_array_equal(opened.zarr[...], data)


@pytest.mark.parametrize("key", OUTSIDE, ids=lambda k: " ".join(k))
def test_other_codecs_go_through_the_array(key, tmp_path):
    version, _ = key
    opened = Opened(tmp_path / "i.zarr", version, **OUTSIDE[key])
    assert opened.format is None
    data = noise("uint16", opened.array.shape)
    writer = ArrayWriter(open_array(opened.storage, opened.document, ()))
    for place in opened.places():
        writer.write(place, opened.chunk(data, place))
    np.testing.assert_array_equal(opened.zarr[...], data)
    reader = ArrayReader(open_array(opened.storage, opened.document, ()))
    for place in opened.places():
        out = np.zeros(opened.array.chunks, "uint16")
        assert reader.read(place, out)
        np.testing.assert_array_equal(out, opened.chunk(data, place))


def test_units_of_other_codecs_are_written_once_and_whole(tmp_path, monkeypatch):
    opened = Opened(tmp_path / "i.zarr", "0.5", shards=(8, 12), filters=[TransposeCodec(order=(1, 0))])
    assert opened.format is None
    opened.zarr[...] = 9
    array = open_array(opened.storage, opened.document, ())
    written = []
    real = type(array).__setitem__

    def set_item(self: Any, index: Any, value: Any) -> None:
        written.append(index)
        real(self, index, value)

    monkeypatch.setattr(type(array), "__setitem__", set_item)
    writer = ArrayWriter(array)
    places = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
    writer.restrict(places)
    for place in places:
        writer.write(place, np.full((4, 6), 3, "uint16"))
    expected = np.full((21, 26), 9)
    expected[:8, :12] = 3
    expected[8:12, :6] = 3
    np.testing.assert_array_equal(opened.zarr[...], expected)
    assert len(written) == 2


@pytest.mark.parametrize(("version", "name"), LAYOUTS)
def test_absent_and_fill_chunks_are_not_stored(version, name, tmp_path):
    opened = Opened(tmp_path / "i.zarr", version, fill_value=7, **how_of(version, name))
    writer = opened.writer()
    for place in opened.places():
        block = None if place[1] else np.full(opened.array.chunks, 7, "uint16")
        writer.write(place, block)
    documents = ("zarr.json", ".zarray", ".zattrs")
    assert [
        p for p in (tmp_path / "i.zarr" / "0").rglob("*") if p.is_file() and p.name not in documents
    ] == []
    reader = opened.reader()
    out = np.full(opened.array.chunks, 5, "uint16")
    assert not any(reader.read(place, out) for place in opened.places())
    assert (out == 5).all(), "an absent chunk leaves the block as it was"
    assert (opened.zarr[...] == 7).all()


@pytest.mark.parametrize(("version", "name"), LAYOUTS)
def test_fill_takes_a_former_chunk_away(version, name, tmp_path):
    opened = Opened(tmp_path / "i.zarr", version, **how_of(version, name))
    opened.zarr[...] = 3
    writer = opened.writer()
    for place in opened.places():
        writer.write(place, None if place[0] else np.full(opened.array.chunks, 1, "uint16"))
    expected = np.zeros((21, 26), "uint16")
    expected[:4] = 1
    np.testing.assert_array_equal(opened.zarr[...], expected)
    np.testing.assert_array_equal(opened.array.numpy(), expected)


@pytest.mark.parametrize("name", ["shards", "shards, index first", "shards, crc32c"])
def test_chunks_that_do_not_come_are_taken_over_into_a_new_shard(name, tmp_path):
    opened = Opened(tmp_path / "i.zarr", "0.5", **V3[name])
    data = noise("uint16", opened.array.shape)
    opened.zarr[:8, :12] = data[:8, :12]
    opened.zarr[8:, :6] = data[8:, :6]
    data = opened.zarr[...]
    writer = opened.writer()
    places = [(0, 1), (1, 0), (3, 3)]
    writer.restrict(places)
    for place in places:
        block = None if place == (1, 0) else np.full((4, 6), 3, "uint16")
        writer.write(place, block)
    data[:4, 6:12], data[4:8, :6], data[12:16, 18:24] = 3, 0, 3
    np.testing.assert_array_equal(opened.zarr[...], data)
    assert not hidden(tmp_path)


@pytest.mark.parametrize(("version", "name"), LAYOUTS)
def test_many_threads_write_and_read_at_once(version, name, tmp_path):
    opened = Opened(tmp_path / "i.zarr", version, shape=(61, 66), **how_of(version, name))
    data = noise("uint16", opened.array.shape)
    writer, places = opened.writer(), opened.places()
    barrier = threading.Barrier(8)

    def work(number: int) -> None:
        barrier.wait()
        for place in places[number::8]:
            writer.write(place, opened.chunk(data, place))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    np.testing.assert_array_equal(opened.zarr[...], data)
    reader = opened.reader()

    def read(place: tuple[int, ...]) -> bool:
        out = np.zeros(opened.array.chunks, "uint16")
        found = reader.read(place, out)
        inside = opened.chunk(np.ones_like(data), place).astype(bool)
        return found and bool((out[inside] == opened.chunk(data, place)[inside]).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, places))


@pytest.mark.parametrize("name", ["shards", "shards, index first"])
def test_a_shard_is_appended_to_and_never_held(name, tmp_path):
    opened = Opened(tmp_path / "i.zarr", "0.5", **V3[name])
    assert opened.format is not None
    front = 0 if name == "shards" else opened.format.index_nbytes
    writer = opened.writer()
    assert writer.held_nbytes == 0
    shard = tmp_path / "i.zarr" / "0" / "c" / "0"
    writer.write((0, 0), np.ones((4, 6), "uint16"))
    (temporary,) = os.listdir(shard)
    size = (shard / temporary).stat().st_size - front
    assert size > 0
    writer.write((0, 1), np.ones((4, 6), "uint16"))
    assert (shard / temporary).stat().st_size == front + 2 * size
    assert not (opened.zarr[...]).any(), "no reader sees it"
    writer.discard()
    assert os.listdir(shard) == []


def test_a_shard_that_cannot_be_appended_is_counted():
    store = MemoryStore()
    position = ps.open_ome_zarr(store, layout="fov", mode="w-", channel_names=["a"], version="0.5")
    position.create_zeros(
        "0", (1, 1, 8, 16, 16), "uint16", chunks=(1, 1, 2, 8, 8), shards_ratio=(1, 1, 4, 2, 2)
    )
    document = position.__editor__().array_document("0")
    found = chunk_format(document)
    assert found is not None
    writer = ChunkWriter(position.__editor__().location.storage, "0", found, fresh=False)
    assert writer.held_nbytes >= 8 * 16 * 16 * 2


def test_an_index_of_a_shard_says_where_each_chunk_lies(tmp_path):
    opened = Opened(tmp_path / "i.zarr", "0.5", **V3["shards"])
    opened.zarr[:4, :6] = 1
    index = opened.reader().index((0, 0))
    assert index is not None
    assert index.shape == (2, 2, 2)
    assert index[0, 0, 0] == 0
    assert (index.reshape(-1, 2)[1:] == ABSENT).all()
    assert opened.reader().index((1, 1)) is None


def test_the_largest_chunk_as_stored_is_no_more_than_said(version, tmp_path):
    opened = Opened(tmp_path / "i.zarr", version)
    assert opened.reader().largest_encoded() == 0
    opened.zarr[...] = noise("uint16", opened.array.shape)
    said = opened.reader().largest_encoded()
    documents = ("zarr.json", ".zarray", ".zattrs")
    sizes = [
        p.stat().st_size
        for p in (tmp_path / "i.zarr" / "0").rglob("*")
        if p.is_file() and p.name not in documents
    ]
    assert max(sizes) <= said
    assert opened.format is not None
    assert said <= opened.format.codec.max_encoded


@pytest.mark.parametrize("compressors", [None, [ZstdCodec()], [GzipCodec()], [BloscCodec()]])
def test_no_encoded_chunk_exceeds_the_bound(compressors, tmp_path):
    opened = Opened(tmp_path / "i.zarr", "0.5", chunks=(21, 26), compressors=compressors)
    assert opened.format is not None
    block = noise("uint16", (21, 26))
    encoded = opened.format.codec.encode(block)
    assert memoryview(encoded).nbytes <= opened.format.codec.max_encoded


@pytest.mark.parametrize("change", [b"", b"abc", b"\0" * 64])
@pytest.mark.parametrize(("version", "name"), LAYOUTS)
def test_damaged_files_are_named(version, name, change, tmp_path):
    opened = Opened(tmp_path / "i.zarr", version, **how_of(version, name))
    opened.zarr[...] = noise("uint16", opened.array.shape)
    documents = ("zarr.json", ".zarray", ".zattrs")
    file = sorted(
        p for p in (tmp_path / "i.zarr" / "0").rglob("*") if p.is_file() and p.name not in documents
    )[0]
    file.write_bytes(change)
    out = np.empty(opened.array.chunks, "uint16")
    with pytest.raises(ps.DamagedChunkError) as caught:
        opened.reader().read((0, 0), out)
    assert str(file) in str(caught.value)
    assert isinstance(caught.value, OSError)
