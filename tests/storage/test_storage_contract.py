"""One contract for every kind of store: a directory, memory, and stores wrapped around either."""

from __future__ import annotations

import pickle
import threading

import numpy as np
import pytest
from zarr.storage import LocalStore, MemoryStore, WrapperStore

import platestore as ps
from platestore.arrays.image import open_array
from platestore.arrays.layout import plan
from platestore.storage.base import DOCUMENTS, StorageOptions, join
from platestore.storage.documents import commit, read_document
from platestore.storage.hierarchy import (
    array_files,
    commit_attributes,
    create_node,
    ensure_group,
    group_files,
    read_array,
    require_group,
)
from platestore.storage.local import LocalStorage
from platestore.storage.zarr_store import ZarrStorage

MAKERS = {
    "directory": lambda path: lambda options: LocalStorage(str(path), options),
    "memory": lambda path: same_store(MemoryStore()),
    "wrapped memory": lambda path: same_store(WrapperStore(MemoryStore())),
    "wrapped directory": lambda path: same_store(WrapperStore(LocalStore(path))),
}


def same_store(store):
    return lambda options: ZarrStorage(store, options)


@pytest.fixture(params=MAKERS)
def make(request, tmp_path):
    """A function from options to a storage, always over the same bytes."""
    (tmp_path / "store.zarr").mkdir()
    return MAKERS[request.param](tmp_path / "store.zarr")


@pytest.fixture
def storage(make):
    return make(StorageOptions(read_only=False))


def fill(storage, *keys):
    for key in keys:
        storage.make_directory(key.rpartition("/")[0])
        storage.write(key, key.encode())


# --- documents ------------------------------------------------------------------------------------


def test_a_missing_document_is_none(storage):
    fill(storage, "A/zarr.json")
    for key in ("zarr.json", "A/.zattrs", "A/1/zarr.json", "A/zarr.json/x", "B/zarr.json"):
        assert storage.read(key) is None


def test_a_directory_is_no_document(storage):
    fill(storage, "A/1/zarr.json")
    assert storage.read("A") is None
    assert storage.read("A/1") is None


@pytest.mark.parametrize("data", [b"", b"{}", b"\0\xff" * 1000, b"x" * 300_000])
def test_what_was_written_is_read(storage, data):
    storage.write("zarr.json", b"before")
    storage.write("zarr.json", data)
    assert storage.read("zarr.json") == data


def test_what_was_created_is_read(storage):
    storage.make_directory("A/1")
    storage.create("A/1/zarr.json", b"{}")
    assert storage.read("A/1/zarr.json") == b"{}"


def test_names_with_spaces_and_letters_of_the_world_are_kept(storage):
    fill(storage, "a b/ü/zarr.json")
    assert storage.read("a b/ü/zarr.json") == "a b/ü/zarr.json".encode()
    assert storage.list("a b") == (["ü"], [])


def test_removing_is_the_same_twice(storage):
    fill(storage, "A/zarr.json", "A/.zattrs")
    storage.remove("A/zarr.json")
    storage.remove("A/zarr.json")
    storage.remove("B/zarr.json")
    assert storage.read("A/zarr.json") is None
    assert storage.read("A/.zattrs") is not None


# --- directories ----------------------------------------------------------------------------------


def test_a_new_directory_is_true_and_one_with_content_is_false(storage):
    assert storage.make_directory("A/1/0") is True
    storage.write("A/1/0/zarr.json", b"{}")
    assert storage.make_directory("A/1/0") is False
    assert storage.make_directory("A/1") is False


def test_listing_gives_sorted_directories_and_files(storage):
    fill(storage, "zarr.json", "B/zarr.json", "A/10/zarr.json", "A/9/zarr.json", "A/zarr.json", "A/.zattrs")
    assert storage.list("") == (["A", "B"], ["zarr.json"])
    assert storage.list("A") == (["10", "9"], [".zattrs", "zarr.json"])
    assert storage.list("A/9") == ([], ["zarr.json"])


def test_removing_a_tree_leaves_its_neighbours(storage):
    fill(storage, "zarr.json", "A/1/zarr.json", "A/1/0/zarr.json", "A/10/zarr.json", "A/zarr.json")
    storage.remove_tree("A/1")
    assert storage.read("A/1/zarr.json") is None
    assert storage.read("A/1/0/zarr.json") is None
    assert storage.read("A/10/zarr.json") == b"A/10/zarr.json"
    assert storage.read("A/zarr.json") == b"A/zarr.json"
    assert list(storage.keys("A/1")) == []
    storage.remove_tree("A/1")


def test_a_store_that_was_emptied_can_be_filled_again(storage):
    fill(storage, "zarr.json", "A/1/zarr.json", "A/1/c/0")
    storage.remove_tree("")
    assert storage.read("zarr.json") is None
    assert storage.read("A/1/c/0") is None
    create_node(storage, "", [("zarr.json", b"{}")])
    assert storage.list("") == ([], ["zarr.json"])


def test_keys_are_everything_below_a_path(storage):
    keys = {"zarr.json", "A/zarr.json", "A/1/zarr.json", "A/1/c/0/0", "A/10/zarr.json", "B/.zattrs"}
    fill(storage, *keys)
    assert set(storage.keys("")) == keys
    assert set(storage.keys("A/1")) == {"A/1/zarr.json", "A/1/c/0/0"}
    assert list(storage.keys("C")) == []


def test_whether_there_is_a_document(storage):
    fill(storage, "A/zarr.json")
    assert storage.exists("A/zarr.json")
    assert not storage.exists("A/.zattrs")
    assert not storage.exists("A")
    assert not storage.exists("B/zarr.json")
    storage.remove("A/zarr.json")
    assert not storage.exists("A/zarr.json")


def test_moving_a_tree_takes_all_of_it_and_only_it(storage):
    keys = ["zarr.json", "0/zarr.json", "0/0/zarr.json", "0/0/c/0/0", ".zattrs"]
    fill(storage, *(f"A/1/{key}" for key in keys), "A/10/zarr.json", "B/zarr.json")
    storage.move_tree("A/1", "B/2")
    for key in keys:
        assert storage.read(f"B/2/{key}") == f"A/1/{key}".encode()
        assert storage.read(f"A/1/{key}") is None
    assert storage.read("A/10/zarr.json") == b"A/10/zarr.json"
    assert storage.read("B/zarr.json") == b"B/zarr.json"


def test_a_move_onto_something_is_refused_and_changes_nothing(storage):
    fill(storage, "A/1/zarr.json", "B/2/zarr.json")
    with pytest.raises(FileExistsError):
        storage.move_tree("A/1", "B/2")
    assert storage.read("A/1/zarr.json") == b"A/1/zarr.json"
    assert storage.read("B/2/zarr.json") == b"B/2/zarr.json"


def test_keys_are_those_of_documents_and_chunks_below_a_path(storage):
    fill(storage, "A/zarr.json", "A/1/.zgroup", "AB/zarr.json", "B/0/zarr.json", "B/0/c/0/0")
    assert sorted(storage.keys("A")) == ["A/1/.zgroup", "A/zarr.json"]
    assert sorted(storage.keys("B")) == ["B/0/c/0/0", "B/0/zarr.json"]
    assert len(list(storage.keys(""))) == 5
    assert list(storage.keys("C")) == []
    assert {".zgroup", ".zattrs", ".zarray", "zarr.json", ".zmetadata"} == DOCUMENTS


def test_messages_name_the_store_and_the_path(storage):
    assert storage.url
    assert storage.where("") == storage.url
    assert storage.where("A/1") == f"{storage.url}/A/1"


def test_paths_are_joined_without_empty_segments():
    assert join("", "A", "", "1") == "A/1"
    assert join("", "") == ""


def test_no_store_here_folds_case(storage):
    fill(storage, "zarr.json")
    assert storage.folds_case() is False


def test_a_storage_survives_pickling(make, request):
    if "memory" in request.node.name:
        pytest.skip("memory is not shared between processes")
    storage = make(StorageOptions(read_only=False, lock_timeout=7))
    fill(storage, "A/zarr.json")
    twin = pickle.loads(pickle.dumps(storage))
    assert twin.options == storage.options
    assert twin.read("A/zarr.json") == b"A/zarr.json"
    twin.write("A/zarr.json", b"new")
    assert storage.read("A/zarr.json") == b"new"


# --- options --------------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["", "none", None, "FULL", True])
def test_durability_is_one_of_three(durability):
    with pytest.raises(ps.ArgumentError, match="process, metadata, full"):
        StorageOptions(durability=durability)


@pytest.mark.parametrize("timeout", [-1, "60", None, True, float("nan"), [1]])
def test_a_lock_timeout_is_a_number_of_seconds(timeout):
    with pytest.raises(ps.ArgumentError, match="seconds"):
        StorageOptions(lock_timeout=timeout)


def test_sensible_options_are_taken():
    for timeout in (0, 0.5, 60, float("inf"), np.float64(3)):
        assert StorageOptions(lock_timeout=timeout).lock_timeout == timeout


# --- locks and commits ----------------------------------------------------------------------------


def test_a_lock_can_be_taken_again_by_who_holds_it(storage):
    fill(storage, "zarr.json", "A/zarr.json")
    with storage.lock(""), storage.lock("A"), storage.lock(""), storage.lock("A"):
        pass
    with storage.lock(""):
        pass


def test_a_lock_keeps_other_threads_out(storage):
    fill(storage, "zarr.json")
    inside, order = threading.Event(), []

    def other():
        inside.wait()
        with storage.lock(""):
            order.append("second")

    thread = threading.Thread(target=other)
    with storage.lock(""):
        thread.start()
        inside.set()
        thread.join(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_lock_is_free_after_an_error(storage):
    fill(storage, "zarr.json")
    with pytest.raises(RuntimeError), storage.lock(""):
        raise RuntimeError
    done = threading.Thread(target=lambda: storage.lock("").__enter__())
    done.start()
    done.join(5)
    assert not done.is_alive()


def test_a_commit_changes_a_document_and_keeps_the_rest(storage):
    storage.write("zarr.json", b'{"a": 1, "theirs": [1, null]}')
    known = read_document(storage, "zarr.json")
    known = commit(storage, "zarr.json", lambda d: d.update(b=2), known=known)
    storage.write("zarr.json", known.data.replace(b"null", b"5"))
    commit(storage, "zarr.json", lambda d: d.update(c=3), known=known)
    assert read_document(storage, "zarr.json").content == {"a": 1, "theirs": [1, 5], "b": 2, "c": 3}


def test_a_failed_commit_changes_nothing(storage):
    storage.write("zarr.json", b'{"a": 1}')
    with pytest.raises(ps.ArgumentError):
        commit(storage, "zarr.json", lambda d: d.update(b=float("nan")))
    with pytest.raises(ZeroDivisionError):
        commit(storage, "zarr.json", lambda d: d.update(b=1 / 0))
    assert storage.read("zarr.json") == b'{"a": 1}'


def test_a_store_open_for_reading_refuses_changes(make):
    fill(make(StorageOptions(read_only=False)), "zarr.json")
    storage = make(StorageOptions(read_only=True))
    with pytest.raises(ps.ReadOnlyError):
        commit(storage, "zarr.json", lambda d: d.update(b=1))
    with pytest.raises(PermissionError), storage.lock(""):
        pass
    with pytest.raises(ps.ReadOnlyError):
        storage.require_writable("A")


# --- groups and arrays ----------------------------------------------------------------------------


@pytest.fixture(params=[2, 3])
def zarr_format(request):
    return request.param


def test_nodes_are_created_and_changed_alike(storage, zarr_format):
    create_node(storage, "", group_files(zarr_format, {"a": 1}, where=""))
    ensure_group(storage, "A", zarr_format)
    ensure_group(storage, "A", zarr_format)
    assert require_group(storage, "", zarr_format).attributes == {"a": 1}
    commit_attributes(storage, "A", zarr_format, lambda d: d.update(b=2))
    assert require_group(storage, "A").attributes == {"b": 2}
    assert require_group(storage, "A").zarr_format == zarr_format


def write_array(storage, zarr_format, shape=(4, 6), chunks=(2, 3), **kwargs):
    layout = plan(shape, "uint16", zarr_format=zarr_format, chunks=chunks, **kwargs)
    document = layout.document(zarr_format, ["y", "x"])
    create_node(storage, "0", array_files(zarr_format, document, where=""))
    return open_array(storage, read_array(storage, "0", zarr_format), ["y", "x"])


def test_pixels_and_attributes_of_an_array(make, storage, zarr_format):
    array = write_array(storage, zarr_format)
    pixels = np.arange(24, dtype="uint16").reshape(4, 6)
    array[...] = pixels
    array.attrs["a"] = {"b": 1}
    other = make(StorageOptions(read_only=True))
    again = open_array(other, read_array(other, "0", zarr_format), ["y", "x"])
    np.testing.assert_array_equal(again.numpy(), pixels)
    assert dict(again.attrs) == {"a": {"b": 1}}


def test_an_array_can_shrink_and_grow(storage, zarr_format):
    array = write_array(storage, zarr_format)
    array[...] = 7
    array.resize((4, 2))
    array.resize((5, 6))
    expected = np.zeros((5, 6), "uint16")
    expected[:4, :2] = 7
    np.testing.assert_array_equal(array.numpy(), expected)


def test_an_array_opened_for_reading_cannot_be_written(make, zarr_format):
    write_array(make(StorageOptions(read_only=False)), zarr_format)[...] = 5
    storage = make(StorageOptions(read_only=True))
    array = open_array(storage, read_array(storage, "0", zarr_format), ["y", "x"])
    with pytest.raises((ValueError, PermissionError)):
        array[...] = 9
    with pytest.raises(PermissionError):
        array.resize((1, 1))
    with pytest.raises(PermissionError):
        array.attrs["a"] = 1
    with pytest.raises(PermissionError):
        array.append(np.zeros((1, 6), "uint16"))
    assert (array.numpy() == 5).all()
    assert array.shape == (4, 6)
