"""What is used of zarr beyond its documented API: this fails loudly, and names what moved.

``src/platestore/storage/zarr_compat.py`` is the one module to mend then.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import os
import pickle

import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore, MemoryStore, StorePath, WrapperStore

from platestore.storage import zarr_compat

PLACES = {
    "zarr.core.buffer": ["default_buffer_prototype", "Buffer"],
    "zarr.core.metadata": ["ArrayV2Metadata", "ArrayV3Metadata"],
    "zarr.core.sync": ["sync"],
    "zarr.storage": ["LocalStore", "StorePath"],
    "zarr.abc.store": ["Store"],
    "zarr": ["Array", "AsyncArray", "Group", "open_group"],
}


@pytest.fixture(params=[2, 3])
def zarr_format(request):
    return request.param


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path)


def created(store, zarr_format, **kwargs):
    array = zarr.create_array(
        store, name="0", shape=(4, 6), chunks=(2, 3), dtype="u2", zarr_format=zarr_format, **kwargs
    )
    array[...] = np.arange(24).reshape(4, 6)
    return array


def document(tmp_path, zarr_format):
    return (tmp_path / "0" / (".zarray" if zarr_format == 2 else "zarr.json")).read_bytes()


@pytest.mark.parametrize(("module", "names"), PLACES.items(), ids=PLACES)
def test_everything_is_where_it_is_imported_from(module, names):
    found = importlib.import_module(module)
    missing = [name for name in names if not hasattr(found, name)]
    assert missing == [], f"zarr {zarr.__version__} moved {missing} out of {module}"


def test_an_array_is_built_from_a_document_in_hand(tmp_path, store, zarr_format):
    made = created(store, zarr_format)
    built = zarr.Array(zarr_compat.async_array(store, "0", document(tmp_path, zarr_format), zarr_format))
    assert built.metadata.zarr_format == zarr_format
    assert built.path == "0"
    assert built.shape == made.shape
    assert built.chunks == made.chunks
    assert built.dtype == made.dtype
    np.testing.assert_array_equal(built[...], made[...])
    built[0, 0] = 99
    assert made[0, 0] == 99


def test_building_reads_and_writes_nothing(tmp_path, zarr_format):
    class Silent(WrapperStore):
        async def get(self, *args, **kwargs):
            raise AssertionError("read")

        async def set(self, *args, **kwargs):
            raise AssertionError("written")

        async def exists(self, *args, **kwargs):
            raise AssertionError("looked for")

    created(LocalStore(tmp_path), zarr_format)
    data = document(tmp_path, zarr_format)
    array = zarr.Array(zarr_compat.async_array(Silent(MemoryStore()), "0", data, zarr_format))
    assert array.shape == (4, 6)


def test_sharded_arrays_are_built_too(tmp_path, store):
    made = created(store, 3, shards=(4, 6))
    built = zarr.Array(zarr_compat.async_array(store, "0", document(tmp_path, 3), 3))
    assert (built.chunks, built.shards) == ((2, 3), (4, 6))
    np.testing.assert_array_equal(built[...], made[...])


def test_a_shared_parsed_document_is_not_changed_by_an_array(tmp_path, store, zarr_format):
    created(store, zarr_format)
    data = document(tmp_path, zarr_format)
    first = zarr.Array(zarr_compat.async_array(store, "0", data, zarr_format))
    first.resize((8, 6))
    assert first.shape == (8, 6)
    second = zarr.Array(zarr_compat.async_array(store, "0", data, zarr_format))
    assert second.shape == (4, 6)


def test_damaged_documents_are_refused_by_zarr_itself(tmp_path, store, zarr_format):
    created(store, zarr_format)
    content = json.loads(document(tmp_path, zarr_format))
    del content["shape"]
    with pytest.raises((KeyError, TypeError, ValueError)):
        zarr_compat.async_array(store, "0", json.dumps(content).encode(), zarr_format)


def test_the_metadata_of_an_array_can_be_swapped(tmp_path, store, zarr_format):
    array = created(store, zarr_format)
    data = document(tmp_path, zarr_format).replace(b"\n", b"")
    content = json.loads(data)
    content["shape"] = [8, 6]
    fresh = zarr_compat.async_array(store, "0", json.dumps(content).encode(), zarr_format)
    zarr_compat.swap_metadata(array, fresh)
    assert array.shape == (8, 6)
    assert array[...].shape == (8, 6)


def test_an_array_is_a_dataclass_around_one_async_array():
    assert [f.name for f in dataclasses.fields(zarr.Array)] == ["_async_array"]


def test_a_subclass_may_carry_attributes_of_its_own_and_be_pickled(tmp_path, store):
    array = created(store, 3)
    object.__setattr__(array, "_note", "mine")
    twin = pickle.loads(pickle.dumps(array))
    assert twin._note == "mine"
    np.testing.assert_array_equal(twin[...], array[...])


def test_chunk_keys_are_encoded_by_the_metadata(store, tmp_path, zarr_format):
    array = created(store, zarr_format)
    keys = {array.metadata.encode_chunk_key((i, j)) for i in range(2) for j in range(2)}
    files = {
        os.path.relpath(os.path.join(d, n), tmp_path / "0").replace(os.sep, "/")
        for d, _, names in os.walk(tmp_path / "0")
        for n in names
    }
    assert keys == files - {".zarray", ".zattrs", "zarr.json"}


@pytest.mark.parametrize("wrap", [lambda s: s, WrapperStore])
def test_values_of_stores_are_read_and_written_as_bytes(wrap):
    store = wrap(MemoryStore())
    assert zarr_compat.run(zarr_compat.get_bytes(store, "zarr.json")) is None
    zarr_compat.run(store.set("zarr.json", zarr_compat.to_buffer(b"{}")))
    assert zarr_compat.run(zarr_compat.get_bytes(store, "zarr.json")) == b"{}"
    zarr_compat.run(store.delete("zarr.json"))
    assert zarr_compat.run(zarr_compat.get_bytes(store, "zarr.json")) is None


def test_errors_inside_the_event_loop_come_out():
    async def fail():
        raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        zarr_compat.run(fail())


@pytest.mark.parametrize("read_only", [True, False])
def test_groups_are_opened_in_the_mode_asked_for(store, zarr_format, read_only):
    zarr.create_group(store, path="A", zarr_format=zarr_format, attributes={"a": 1})
    group = zarr_compat.open_group(store, "A", zarr_format=zarr_format, read_only=read_only)
    assert isinstance(group, zarr.Group)
    assert dict(group.attrs) == {"a": 1}
    assert group.path == "A"
    assert group.read_only is read_only


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_consolidated_metadata_is_never_trusted(store, tmp_path, zarr_format):
    root = zarr.create_group(store, zarr_format=zarr_format)
    root.create_group("old")
    zarr.consolidate_metadata(store, zarr_format=zarr_format)
    zarr.create_group(LocalStore(tmp_path / "new"), zarr_format=zarr_format)
    group = zarr_compat.open_group(store, "", zarr_format=zarr_format, read_only=True)
    assert sorted(name for name, _ in group.members()) == ["new", "old"]


def test_a_store_that_flushes_is_a_local_store(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    store = zarr_compat.local_store(str(tmp_path), read_only=False, sync=True)
    assert isinstance(store, LocalStore)
    created(store, 3)
    assert flushed
    reader = zarr_compat.local_store(str(tmp_path), read_only=True, sync=True)
    assert type(reader) is zarr_compat.GuardedLocalStore
    assert zarr_compat.local_store(str(tmp_path), read_only=True, sync=False).read_only
    assert not zarr_compat.local_store(str(tmp_path), read_only=False, sync=False).read_only


def test_signatures_that_are_relied_upon():
    assert list(inspect.signature(StorePath).parameters)[:2] == ["store", "path"]
    assert "attributes" in inspect.signature(zarr.create_array).parameters
    assert {"mode", "zarr_format", "use_consolidated", "path"} <= set(
        inspect.signature(zarr.open_group).parameters
    )
    for method in ("get", "set", "delete", "list_prefix", "list_dir", "exists", "with_read_only"):
        assert hasattr(zarr.abc.store.Store, method)
