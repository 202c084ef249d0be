"""Groups and arrays as documents: what is one, in zarr v2 and v3, whole or damaged."""

from __future__ import annotations

import json
import os

import pytest

import platestore as ps
from platestore.storage.base import StorageOptions
from platestore.storage.hierarchy import (
    array_attributes,
    array_files,
    array_key,
    attributes_key,
    commit_attributes,
    create_node,
    ensure_group,
    group_exists,
    group_files,
    read_array,
    read_group,
    require_group,
)
from platestore.storage.local import LocalStorage

V2_ARRAY = {"zarr_format": 2, "shape": [1], "chunks": [1], "dtype": "|u1"}
V3_ARRAY = {"zarr_format": 3, "node_type": "array", "shape": [1]}


@pytest.fixture
def storage(tmp_path):
    return LocalStorage(str(tmp_path), StorageOptions(read_only=False, lock_timeout=5))


@pytest.fixture(params=[2, 3])
def zarr_format(request):
    return request.param


def put(storage, key, content):
    storage.make_directory(key.rpartition("/")[0])
    storage.write(key, content if isinstance(content, bytes) else json.dumps(content).encode())


def group(storage, path, zarr_format, attributes=None):
    create_node(storage, path, group_files(zarr_format, attributes or {}, where=path))


def array(storage, path, zarr_format, attributes=None):
    document = V2_ARRAY if zarr_format == 2 else V3_ARRAY
    create_node(storage, path, array_files(zarr_format, document, attributes, where=path))


# --- documents ------------------------------------------------------------------------------------


def test_the_documents_of_v2_are_three_files(storage):
    group(storage, "A", 2, {"a": 1})
    array(storage, "A/0", 2)
    assert sorted(os.listdir(storage.local_path("A"))) == [".zattrs", ".zgroup", "0"]
    assert sorted(os.listdir(storage.local_path("A/0"))) == [".zarray", ".zattrs"]
    assert json.loads(storage.read("A/.zgroup")) == {"zarr_format": 2}
    assert json.loads(storage.read("A/.zattrs")) == {"a": 1}
    assert json.loads(storage.read("A/0/.zattrs")) == {}


def test_the_document_of_v3_is_one_file(storage):
    group(storage, "A", 3, {"a": 1})
    array(storage, "A/0", 3, {"b": 2})
    assert sorted(os.listdir(storage.local_path("A"))) == ["0", "zarr.json"]
    assert json.loads(storage.read("A/zarr.json")) == {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {"a": 1},
    }
    assert json.loads(storage.read("A/0/zarr.json")) == {**V3_ARRAY, "attributes": {"b": 2}}


def test_keys_of_documents(zarr_format):
    assert attributes_key("A/1", 2) == "A/1/.zattrs"
    assert attributes_key("", 3) == "zarr.json"
    assert array_key("0", 2) == "0/.zarray"
    assert array_key("0", 3) == "0/zarr.json"


def test_values_that_are_no_json_make_no_node(storage, zarr_format):
    with pytest.raises(ps.ArgumentError):
        group_files(zarr_format, {"a": float("nan")}, where="A")
    with pytest.raises(ps.ArgumentError):
        array_files(zarr_format, V3_ARRAY, {"a": float("nan")}, where="A")


# --- groups ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("attributes", [{}, {"a": 1}])
def test_a_group_is_read(storage, zarr_format, attributes, known):
    group(storage, "A", zarr_format, attributes)
    found = read_group(storage, "A", zarr_format if known else None)
    assert (found.path, found.zarr_format, found.attributes) == ("A", zarr_format, attributes)
    assert group_exists(storage, "A", zarr_format)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("attributes", [{}, {"a": 1}])
def test_an_array_is_no_group(storage, zarr_format, attributes, known):
    array(storage, "0", zarr_format, attributes)
    assert read_group(storage, "0", zarr_format if known else None) is None
    assert not group_exists(storage, "0", zarr_format)
    with pytest.raises(ps.NodeNotFoundError):
        require_group(storage, "0", zarr_format)


def test_nothing_is_no_group(storage, zarr_format):
    storage.make_directory("A")
    for path in ("A", "B", "A/1"):
        assert read_group(storage, path) is None
        assert read_group(storage, path, zarr_format) is None
        assert not group_exists(storage, path, zarr_format)
        with pytest.raises(ps.NodeNotFoundError, match=path):
            require_group(storage, path, zarr_format)


def test_a_group_of_the_other_format_is_not_found(storage, zarr_format):
    group(storage, "A", zarr_format, {"a": 1})
    other = 5 - zarr_format
    assert read_group(storage, "A", other) is None
    assert not group_exists(storage, "A", other)


def test_where_both_formats_are_v3_counts_as_the_specification_prefers(storage):
    group(storage, "A", 2, {"old": 1})
    put(storage, "A/zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": {"new": 1}})
    assert read_group(storage, "A").attributes == {"new": 1}
    assert read_group(storage, "A", 2).attributes == {"old": 1}


def test_a_v3_group_without_attributes_has_none(storage):
    put(storage, "A/zarr.json", {"zarr_format": 3, "node_type": "group"})
    assert read_group(storage, "A").attributes == {}


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (b"", "empty"),
        (b'{"zarr_format": 3,', "JSON"),
        ({"zarr_format": 2, "node_type": "group"}, "zarr_format"),
        ({"node_type": "group"}, "zarr_format"),
        ({"zarr_format": "3", "node_type": "group"}, "zarr_format"),
        ({"zarr_format": 3, "node_type": "group", "attributes": []}, "attributes"),
        ({"zarr_format": 3, "node_type": "group", "attributes": None}, "attributes"),
        ([], "list"),
    ],
)
def test_a_damaged_group_is_an_error_with_its_path(storage, document, problem):
    put(storage, "A/zarr.json", document)
    with pytest.raises(ps.InvalidMetadataError, match=problem) as caught:
        read_group(storage, "A")
    assert storage.local_path("A/zarr.json") in str(caught.value)


@pytest.mark.parametrize("document", [b"", b"{", b"[]"])
def test_damaged_attributes_of_v2_are_an_error_with_their_path(storage, document):
    group(storage, "A", 2)
    put(storage, "A/.zattrs", document)
    with pytest.raises(ps.InvalidMetadataError) as caught:
        read_group(storage, "A")
    assert storage.local_path("A/.zattrs") in str(caught.value)


def test_a_row_is_made_once(storage, zarr_format):
    ensure_group(storage, "A", zarr_format)
    commit_attributes(storage, "A", zarr_format, lambda attributes: attributes.update(mine=1))
    ensure_group(storage, "A", zarr_format)
    assert require_group(storage, "A").attributes == {"mine": 1}


def test_a_row_whose_document_is_missing_gets_one(storage, zarr_format):
    storage.make_directory("A/1")
    ensure_group(storage, "A", zarr_format)
    assert group_exists(storage, "A", zarr_format)


def test_what_an_interrupted_creation_left_is_replaced(storage, zarr_format):
    group(storage, "A", zarr_format, {"half": 1})
    group(storage, "A", zarr_format, {"whole": 1})
    assert require_group(storage, "A").attributes == {"whole": 1}


# --- attributes -----------------------------------------------------------------------------------


def test_attributes_of_groups_and_arrays_change_alike(storage, zarr_format):
    group(storage, "A", zarr_format)
    array(storage, "A/0", zarr_format)
    for path in ("A", "A/0"):
        commit_attributes(storage, path, zarr_format, lambda attributes: attributes.update(a=[1]))
        assert array_attributes(storage, path, zarr_format) == {"a": [1]}
    assert read_array(storage, "A/0", zarr_format) is not None


def test_attributes_given_out_are_copies(storage, zarr_format):
    array(storage, "0", zarr_format, {"a": [1]})
    array_attributes(storage, "0", zarr_format)["a"].append(2)
    assert array_attributes(storage, "0", zarr_format) == {"a": [1]}


def test_a_v2_array_without_attributes_can_get_some(storage):
    array(storage, "0", 2)
    storage.remove("0/.zattrs")
    assert array_attributes(storage, "0", 2) == {}
    commit_attributes(storage, "0", 2, lambda attributes: attributes.update(a=1))
    assert array_attributes(storage, "0", 2) == {"a": 1}


def test_a_group_that_is_gone_does_not_come_back(storage, zarr_format):
    group(storage, "A", zarr_format, {"a": 1})
    known = read_group(storage, "A").document
    storage.remove("A/.zgroup")
    storage.remove("A/.zattrs")
    storage.remove("A/zarr.json")
    with pytest.raises(ps.NodeNotFoundError):
        commit_attributes(storage, "A", zarr_format, lambda attributes: attributes.update(b=1), known=known)
    assert os.listdir(storage.local_path("A")) == []


def test_other_members_of_a_v3_document_survive(storage):
    put(
        storage,
        "A/zarr.json",
        {"zarr_format": 3, "node_type": "group", "attributes": {}, "extension": {"x": 1}},
    )
    commit_attributes(storage, "A", 3, lambda attributes: attributes.update(a=1))
    assert json.loads(storage.read("A/zarr.json")) == {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {"a": 1},
        "extension": {"x": 1},
    }


def test_attributes_that_are_no_object_are_not_overwritten(storage):
    document = {"zarr_format": 3, "node_type": "group", "attributes": [1]}
    put(storage, "A/zarr.json", document)
    with pytest.raises(ps.InvalidMetadataError):
        commit_attributes(storage, "A", 3, lambda attributes: attributes.update(a=1))
    assert json.loads(storage.read("A/zarr.json")) == document


# --- arrays ---------------------------------------------------------------------------------------


def test_an_array_is_read_as_its_bytes(storage, zarr_format):
    array(storage, "0", zarr_format, {"a": 1})
    found = read_array(storage, "0", zarr_format)
    assert (found.path, found.zarr_format) == ("0", zarr_format)
    assert found.data == storage.read(array_key("0", zarr_format))
    assert found.content["shape"] == [1]


def test_a_group_is_no_array(storage, zarr_format):
    group(storage, "A", zarr_format, {"a": 1})
    assert read_array(storage, "A", zarr_format) is None
    assert read_array(storage, "B", zarr_format) is None


def test_an_array_whose_attributes_speak_of_groups_is_one(storage):
    array(storage, "0", 3, {"what": "group"})
    assert read_array(storage, "0", 3) is not None
    assert read_group(storage, "0", 3) is None


def test_a_damaged_array_says_where(storage, zarr_format):
    put(storage, array_key("A/0", zarr_format), b'{"shape": [')
    document = read_array(storage, "A/0", zarr_format)
    with pytest.raises(ps.InvalidMetadataError, match="A/0"):
        _ = document.content
