"""The zarr store over an archive: what zarr-python asks of a store, without writing."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import zarr
from archive_cases import DEFLATED, ROOT, STORED, Entry, build, tree, zipped
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

import platestore as ps
from platestore.storage.base import StorageOptions
from platestore.storage.ozx import OzxStorage
from platestore.storage.zarr_compat import StorageStore, open_group

PROTO = default_buffer_prototype()
DATA = bytes(range(200))


@pytest.fixture(params=[STORED, DEFLATED])
def store(request, tmp_path):
    path = tmp_path / "x.ozx"
    path.write_bytes(
        build(Entry("A/zarr.json", b"{}"), Entry("A/c/0", DATA, request.param), Entry("A/c/1", b""))
    )
    return OzxStorage(str(path), StorageOptions()).zarr_store()


def get(store, key, part=None):
    value = sync(store.get(key, PROTO, part))
    return None if value is None else value.to_bytes()


def collected(items):
    async def collect():
        return [item async for item in items]

    return sync(collect())


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (None, DATA),
        (RangeByteRequest(5, 50), DATA[5:50]),
        (RangeByteRequest(5, 5000), DATA[5:]),
        (OffsetByteRequest(150), DATA[150:]),
        (SuffixByteRequest(16), DATA[-16:]),
        (SuffixByteRequest(1600), DATA),
    ],
)
def test_ranges_of_bytes(store, part, expected):
    assert get(store, "A/c/0", part) == expected
    assert get(store, "A/c/2", part) is None
    parts = sync(store.get_partial_values(PROTO, [("A/c/0", part), ("A/zarr.json", None), ("B", None)]))
    assert [None if p is None else p.to_bytes() for p in parts] == [expected, b"{}", None]


def test_what_is_no_range_is_refused(store):
    with pytest.raises(TypeError, match="range of bytes"):
        get(store, "A/c/0", (0, 5))


def test_an_empty_chunk_is_damage(store):
    with pytest.raises(ps.DamagedChunkError, match="empty"):
        get(store, "A/c/1")


def test_sizes_and_presence(store):
    assert sync(store.getsize("A/c/0")) == 200
    assert sync(store.exists("A/c/0"))
    assert not sync(store.exists("A/c"))
    with pytest.raises(FileNotFoundError):
        sync(store.getsize("A/c/2"))


def test_listing(store):
    keys = ["zarr.json", "A/zarr.json", "A/c/0", "A/c/1"]
    assert sorted(collected(store.list())) == sorted(keys)
    assert sorted(collected(store.list_prefix("A/c/"))) == ["A/c/0", "A/c/1"]
    assert sorted(collected(store.list_prefix("A/z"))) == ["A/zarr.json"]
    assert sorted(collected(store.list_prefix("z"))) == ["zarr.json"]
    assert collected(store.list_prefix("B/")) == []
    assert sorted(collected(store.list_dir(""))) == ["A", "zarr.json"]
    assert sorted(collected(store.list_dir("A/"))) == ["c", "zarr.json"]
    assert collected(store.list_dir("B")) == []


def test_nothing_is_written(store):
    assert store.read_only
    assert not store.supports_writes
    assert not store.supports_deletes
    assert store.supports_listing
    with pytest.raises(ValueError, match="read-only"):
        sync(store.set("A/c/2", PROTO.buffer.from_bytes(b"x")))
    with pytest.raises(ValueError, match="read-only"):
        sync(store.delete("A/c/0"))
    with pytest.raises(ps.ReadOnlyError, match="platestore copy"):
        store.with_read_only(False)


def test_stores_over_one_archive_are_equal(store, tmp_path):
    assert store.with_read_only(True) == store
    assert pickle.loads(pickle.dumps(store)) == store
    assert get(pickle.loads(pickle.dumps(store)), "A/c/0") == DATA
    (tmp_path / "y.ozx").write_bytes(build())
    assert store != OzxStorage(str(tmp_path / "y.ozx"), StorageOptions()).zarr_store()
    assert store != str(store)
    assert str(store) == str(tmp_path / "x.ozx")
    assert "x.ozx" in repr(store)


@pytest.mark.parametrize("method", [STORED, DEFLATED])
@pytest.mark.parametrize("shards", [None, (8, 8)])
def test_zarr_reads_groups_and_arrays(tmp_path, method, shards):
    root = zarr.create_group(tmp_path / "x.zarr", zarr_format=3, attributes={"a": 1})
    array = root.create_array("A/0", shape=(16, 16), chunks=(4, 4), shards=shards, dtype="u2")
    array[:12] = np.arange(12 * 16).reshape(12, 16)
    (tmp_path / "x.ozx").write_bytes(zipped(tree(tmp_path / "x.zarr"), method=method))
    store = OzxStorage(str(tmp_path / "x.ozx"), StorageOptions()).zarr_store()
    group = open_group(store, "", zarr_format=3, read_only=True)
    assert dict(group.attrs) == {"a": 1}
    assert [name for name, _ in group.members(max_depth=None)] == ["A", "A/0"]
    np.testing.assert_array_equal(group["A/0"][...], array[...])
    np.testing.assert_array_equal(group["A/0"][3:9, 5], array[3:9, 5])
    with pytest.raises(ValueError, match="read-only"):
        group["A/0"][0] = 1


def test_the_store_is_the_same_for_all_uses(tmp_path):
    (tmp_path / "x.ozx").write_bytes(build())
    storage = OzxStorage(str(tmp_path / "x.ozx"), StorageOptions())
    for kwargs in ({}, {"writable": False}, {"guarded": True}):
        assert isinstance(storage.zarr_store(**kwargs), StorageStore)
        assert get(storage.zarr_store(**kwargs), "zarr.json") == ROOT[1]
