"""Documents: strict JSON both ways, and one commit function that never leaves half a change."""

from __future__ import annotations

import copy
import datetime
import decimal
import json
import math
import os
import pathlib
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import examples
from platestore.storage import documents
from platestore.storage.attributes import AttributesView
from platestore.storage.base import StorageOptions
from platestore.storage.documents import (
    Document,
    commit,
    constants,
    is_current,
    parse,
    read_document,
    serialise,
)
from platestore.storage.hierarchy import commit_attributes
from platestore.storage.local import LocalStorage

quick = settings(deadline=None, max_examples=examples(100))
WRITABLE = StorageOptions(read_only=False, lock_timeout=5)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)


@pytest.fixture
def storage(tmp_path):
    return LocalStorage(str(tmp_path), WRITABLE)


def put(storage, content, key="zarr.json"):
    path = storage.local_path(key)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    pathlib.Path(path).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


def got(storage, key="zarr.json"):
    return json.loads(pathlib.Path(storage.local_path(key)).read_bytes())


# --- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [b"{}", b' {"a": 1}\n', b'\xef\xbb\xbf{"a": 1}', '{"ключ": "знач 🔬"}'.encode(), b'{"a": "\\u00e9"}'],
)
def test_objects_are_read_with_or_without_a_byte_order_mark(data):
    assert parse(data, where="doc") == json.loads(data.decode("utf-8-sig"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NaN", float("nan")),
        ("Infinity", float("inf")),
        ("-Infinity", float("-inf")),
        ("9" * 5000, float("inf")),
    ],
    ids=lambda value: str(value)[:9],
)
def test_numbers_that_json_has_not_are_read_and_null_is_written_for_them(text, value):
    content = parse(f'{{"a": [1, {{"b": {text}}}], "c": "NaN"}}'.encode(), where="doc")
    assert [(path, str(found)) for path, found in constants(content)] == [("a[1].b", str(value))]
    kept = copy.deepcopy(content)
    with pytest.warns(ps.StoreWarning, match=r"doc: a\[1\]\.b: .*null"):
        assert json.loads(serialise(kept, where="doc")) == {"a": [1, {"b": None}], "c": "NaN"}
    with pytest.raises(ps.ArgumentError, match=r"d is (nan|inf)"):
        serialise({"d": abs(float(value))}, where="doc")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"\xef\xbb\xbf", "JSON"),
        (b'{"a": 1', "not valid JSON"),
        (b'{"a": 1}}', "not valid JSON"),
        (b'{"a": 1} {}', "not valid JSON"),
        (b"{'a': 1}", "not valid JSON"),
        (b'{"a": 1,}', "not valid JSON"),
        (b"[]", "list"),
        (b"null", "NoneType"),
        (b"5", "int"),
        (b'"x"', "str"),
        (b'{"a": "\xff"}', "UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "UTF-8"),
        (b"\0" * 100, "not valid JSON"),
        (b"<html></html>", "not valid JSON"),
        (b'{"a":' * 100_000, "deep"),
        (b"[" * 1_000_000, "deep"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_anything_else_is_an_error_that_names_the_document_and_the_flaw(data, problem):
    with pytest.raises(ps.InvalidMetadataError, match=problem) as caught:
        parse(data, where="/data/p.zarr/zarr.json")
    assert str(caught.value).startswith("/data/p.zarr/zarr.json: ")


def test_a_huge_document_is_refused_before_it_is_parsed(monkeypatch):
    monkeypatch.setattr(documents, "MAX_DOCUMENT_BYTES", 10)
    with pytest.raises(ps.InvalidMetadataError, match="MiB"):
        parse(b'{"a": "%s"}' % (b"x" * 10), where="doc")
    assert parse(b'{"a": 1}  ', where="doc") == {"a": 1}


def test_of_a_key_given_twice_the_last_counts_as_everywhere():
    assert parse(b'{"a": 1, "a": 2}', where="doc") == {"a": 2}


@quick
@given(st.binary(max_size=40))
def test_any_bytes_are_an_object_or_an_error_of_ours(data):
    try:
        value = parse(data, where="doc")
    except ps.InvalidMetadataError:
        return
    assert isinstance(value, dict)


def test_a_missing_document_is_none(storage):
    assert read_document(storage, "zarr.json") is None
    assert read_document(storage, "A/1/zarr.json") is None


# --- writing --------------------------------------------------------------------------------------


@quick
@given(
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), json_values, max_size=4)
)
def test_what_is_written_is_strict_json_and_reads_back_as_it_was(content):
    data = serialise(content, where="doc")
    assert parse(data, where="doc") == content
    data.decode("utf-8")


NO_JSON = {
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
    "float32": np.float32(1.5),
    "int64": np.int64(3),
    "bool_": np.bool_(True),
    "nan64": np.float64("nan"),
    "array": np.zeros(2),
    "bytes": b"abc",
    "bytearray": bytearray(b"abc"),
    "set": {1, 2},
    "frozenset": frozenset({1}),
    "complex": 1j,
    "decimal": decimal.Decimal("1.5"),
    "datetime": datetime.datetime(2020, 1, 1),
    "path": pathlib.PurePosixPath("a"),
    "object": object(),
    "generator": (i for i in ()),
    "type": int,
    "surrogate": "\ud800",
    "integer key": {1: 2},
    "none key": {None: 1},
    "bool key": {True: 1},
    "float key": {1.5: 1},
    "tuple key": {(1, 2): 1},
    "bytes key": {b"a": 1},
    "nested": {"a": [{"b": {1: 2}}]},
    "nested nan": {"a": [1, {"b": math.nan}]},
    "very long integer": 10**5000,
}
each_bad_value = pytest.mark.parametrize("bad", NO_JSON.values(), ids=NO_JSON)


@pytest.mark.parametrize(
    "name",
    [
        *("nan", "inf", "-inf", "nan64", "nested nan", "float32", "int64", "bool_", "array"),
        *("object", "type", "surrogate", "very long integer"),
    ],
)
def test_no_document_is_written_that_is_no_strict_json(name):
    bad = NO_JSON[name]
    with pytest.raises(ps.ArgumentError) as caught:
        serialise({"fine": 1, "bad": bad}, where="doc")
    assert caught.value.path == "doc"


def test_a_value_that_holds_itself_is_a_value_error():
    loop: dict = {}
    loop["loop"] = loop
    with pytest.raises(ps.ArgumentError):
        serialise(loop, where="doc")


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "a NaN in a text"])
def test_texts_that_look_like_constants_are_texts(text):
    assert parse(serialise({"a": text, text: 1}, where="doc"), where="doc") == {"a": text, text: 1}


@pytest.mark.parametrize("digits", [100, 4300, 50_000])
def test_texts_of_digits_are_texts(digits):
    content = {"barcode": "7" * digits, "1" * digits: 1}
    assert parse(serialise(content, where="doc"), where="doc") == content


@pytest.mark.parametrize("digits", [1, 19, 300, 4000])
def test_long_integers_of_others_survive(digits):
    content = {"theirs": int("7" * digits)}
    assert parse(serialise(content, where="doc"), where="doc") == content


@pytest.mark.parametrize("depth", [10, 60, 200, 260, 400, 700, 990, 5000])
def test_what_can_be_written_can_be_read(depth):
    value: dict = {}
    for _ in range(depth):
        value = {"a": value}
    try:
        data = serialise(value, where="doc")
    except ps.ArgumentError:
        assert depth > 60, "no sensible document is that flat and refused"
        return
    assert parse(data, where="doc") == value


def test_a_document_that_would_be_too_large_to_read_is_not_written(storage, monkeypatch):
    put(storage, {"a": 1})
    monkeypatch.setattr(documents, "MAX_DOCUMENT_BYTES", 1000)
    with pytest.raises(ps.ArgumentError):
        commit(storage, "zarr.json", lambda content: content.update(b="x" * 2000))
    assert got(storage) == {"a": 1}


# --- attributes -----------------------------------------------------------------------------------


def attributes(storage):
    put(storage, {"zarr_format": 3, "node_type": "group", "attributes": {"old": 1}})
    return AttributesView(
        lambda: got(storage)["attributes"],
        lambda change: commit_attributes(storage, "", 3, change),
        "here",
    )


@each_bad_value
def test_attributes_without_a_json_form_are_refused_before_any_byte(storage, bad):
    view = attributes(storage)
    before = pathlib.Path(storage.local_path("zarr.json")).stat()
    for assign in (
        lambda: view.__setitem__("new", bad),
        lambda: view.update(fine=1, new=bad),
        lambda: view.put({"new": bad}),
        lambda: view.setdefault("new", bad),
    ):
        with pytest.raises(ps.ArgumentError):
            assign()
    after = pathlib.Path(storage.local_path("zarr.json")).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert os.listdir(storage.root) == ["zarr.json"]
    assert view.asdict() == {"old": 1}


@pytest.mark.parametrize("key", [1, None, b"a", ("a",)], ids=repr)
def test_attribute_names_are_strings(storage, key):
    view = attributes(storage)
    with pytest.raises(ps.ArgumentError):
        view[key] = 1
    assert view.asdict() == {"old": 1}


def test_an_attribute_that_holds_itself_or_is_too_deep_is_a_value_error(storage):
    view = attributes(storage)
    loop: list = []
    loop.append(loop)
    with pytest.raises(ps.ArgumentError):
        view["loop"] = loop
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ps.ArgumentError):
        view["deep"] = deep
    assert view.asdict() == {"old": 1}


def test_each_assignment_is_one_change_of_the_document(storage):
    view = attributes(storage)
    calls = []
    view._commit, inner = lambda change: calls.append(1) or inner(change), view._commit
    view["a"] = {"b": [1]}
    view.update(c=2, d=3)
    del view["old"]
    assert view.asdict() == {"a": {"b": [1]}, "c": 2, "d": 3}
    view.clear()
    assert view.asdict() == {}
    view.put({"e": 1})
    assert dict(view) == {"e": 1}
    assert len(calls) == 5


def test_attributes_are_a_mapping_of_copies(storage):
    view = attributes(storage)
    given_value = {"b": [1]}
    view["a"] = given_value
    given_value["b"].append(2)
    view["a"]["b"].append(3)
    assert view["a"] == {"b": [1]}
    assert list(view) == ["old", "a"]
    assert len(view) == 2
    assert "a" in view
    assert view == {"old": 1, "a": {"b": [1]}}
    assert repr(view) == "{'old': 1, 'a': {'b': [1]}}"
    assert view.pop("old") == 1
    assert view.get("old") is None
    with pytest.raises(KeyError):
        view["old"]
    with pytest.raises(KeyError):
        del view["old"]


# --- commit ---------------------------------------------------------------------------------------


class Recording(LocalStorage):
    """Notes what is read and written, and whether the lock was held then."""

    def __init__(self, root, options=WRITABLE):
        super().__init__(root, options)
        self.calls = []
        self.held = 0

    def lock(self, path):
        outer = super().lock(path)
        recording = self

        class Noted:
            def __enter__(self):
                outer.__enter__()
                recording.held += 1

            def __exit__(self, *exc):
                recording.held -= 1
                return outer.__exit__(*exc)

        return Noted()

    def read(self, key):
        self.calls.append(("read", key, self.held > 0))
        return super().read(key)

    def write(self, key, data):
        self.calls.append(("write", key, self.held > 0))
        super().write(key, data)


@pytest.fixture
def recording(tmp_path):
    put(LocalStorage(str(tmp_path), WRITABLE), {"n": 0, "theirs": {"x": [1, None]}})
    return Recording(str(tmp_path))


def increment(content):
    content["n"] += 1


def test_a_commit_reads_and_writes_once_under_the_lock(recording):
    document = commit(recording, "zarr.json", increment)
    own = [call for call in recording.calls if call[1] == "zarr.json"]
    assert own == [("read", "zarr.json", True), ("write", "zarr.json", True)]
    assert recording.held == 0
    assert document.content == got(recording) == {"n": 1, "theirs": {"x": [1, None]}}
    assert document.data == pathlib.Path(recording.local_path("zarr.json")).read_bytes()
    assert is_current(recording, document)


def test_the_copy_in_hand_is_used_while_it_is_current(recording, monkeypatch):
    document = read_document(recording, "zarr.json")
    monkeypatch.setattr(documents, "parse", None)
    for _ in range(3):
        document = commit(recording, "zarr.json", increment, known=document)
    assert got(recording)["n"] == 3


@pytest.mark.parametrize("theirs", [{"n": 5, "theirs": 2}, {"n": 7, "theirs": {"x": [1, None]}}])
def test_a_copy_that_is_out_of_date_is_read_afresh(recording, theirs):
    known = read_document(recording, "zarr.json")
    other = LocalStorage(recording.root, WRITABLE)
    other.write("zarr.json", json.dumps(theirs).encode())
    commit(recording, "zarr.json", increment, known=known)
    assert got(recording) == {**theirs, "n": theirs["n"] + 1}


def test_a_copy_is_out_of_date_even_if_size_and_times_are_the_same(recording):
    known = read_document(recording, "zarr.json")
    path = recording.local_path("zarr.json")
    times = os.stat(path)
    pathlib.Path(path).write_bytes(known.data.replace(b'"n": 0', b'"n": 7'))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert not is_current(recording, known)
    commit(recording, "zarr.json", increment, known=known)
    assert got(recording)["n"] == 8


def test_a_commit_on_a_condition_changes_what_was_seen_or_nothing(recording):
    seen = read_document(recording, "zarr.json").data
    after = commit(recording, "zarr.json", increment, if_match=seen)
    for stale in (seen, b"{}"):
        with pytest.raises(ps.SourceChangedError, match="changed meanwhile"):
            commit(recording, "zarr.json", increment, known=after, if_match=stale)
    assert got(recording)["n"] == 1
    assert commit(recording, "zarr.json", increment, if_match=after.data).content["n"] == 2


def test_a_copy_of_another_document_is_not_used(recording):
    put(recording, {"n": 0, "theirs": {"x": [1, None]}}, "A/zarr.json")
    known = read_document(recording, "A/zarr.json")
    known.content["n"] = 50
    commit(recording, "zarr.json", increment, known=known)
    assert got(recording)["n"] == 1


def test_a_copy_of_unknown_age_is_read_afresh(recording):
    commit(recording, "zarr.json", increment, known=Document("zarr.json", {"n": 100}))
    assert got(recording)["n"] == 1


def test_keys_of_others_survive_a_commit(recording):
    commit(recording, "zarr.json", increment)
    assert got(recording)["theirs"] == {"x": [1, None]}


def test_nothing_is_written_when_nothing_changed(recording):
    document = commit(recording, "zarr.json", increment)
    inode = os.stat(recording.local_path("zarr.json")).st_ino
    commit(recording, "zarr.json", lambda content: None, known=document)
    assert os.stat(recording.local_path("zarr.json")).st_ino == inode


class Boom(Exception):
    pass


def test_nothing_is_written_when_the_change_raises(recording):
    def change(content):
        content["n"] = 99
        raise Boom

    before = pathlib.Path(recording.local_path("zarr.json")).read_bytes()
    with pytest.raises(Boom):
        commit(recording, "zarr.json", change)
    assert pathlib.Path(recording.local_path("zarr.json")).read_bytes() == before
    assert os.listdir(recording.root) == ["zarr.json"]
    commit(recording, "zarr.json", increment)
    assert got(recording)["n"] == 1


def test_nothing_is_written_when_the_result_is_no_json(recording):
    before = pathlib.Path(recording.local_path("zarr.json")).read_bytes()
    with pytest.raises(ps.ArgumentError):
        commit(recording, "zarr.json", lambda content: content.update(bad=math.nan))
    assert pathlib.Path(recording.local_path("zarr.json")).read_bytes() == before


def test_a_damaged_document_is_not_overwritten(recording):
    put(recording, b'{"n": 0, "theirs"')
    with pytest.raises(ps.InvalidMetadataError):
        commit(recording, "zarr.json", increment)
    assert pathlib.Path(recording.local_path("zarr.json")).read_bytes() == b'{"n": 0, "theirs"'


def test_a_document_that_is_gone_does_not_come_back(recording):
    known = read_document(recording, "zarr.json")
    os.unlink(recording.local_path("zarr.json"))
    with pytest.raises(ps.NodeNotFoundError):
        commit(recording, "zarr.json", increment, known=known)
    with pytest.raises(ps.NodeNotFoundError):
        commit(recording, "zarr.json", increment, may_create=lambda: False)
    assert os.listdir(recording.root) == []


def test_a_document_may_be_created_where_the_caller_says_so(recording):
    commit(recording, ".zattrs", lambda content: content.update(a=1), may_create=lambda: True)
    assert got(recording, ".zattrs") == {"a": 1}


def test_a_group_that_is_gone_is_an_error(recording):
    with pytest.raises(ps.NodeNotFoundError):
        commit(recording, "A/1/zarr.json", increment)


def test_a_read_only_store_refuses_before_it_reads(tmp_path):
    storage = Recording(str(tmp_path), StorageOptions(read_only=True))
    put(storage, {"n": 0})
    with pytest.raises(ps.ReadOnlyError, match=r"r\+"):
        commit(storage, "zarr.json", increment)
    assert storage.calls == []
    assert got(storage) == {"n": 0}


def test_threads_that_commit_at_once_lose_nothing(tmp_path):
    storage = LocalStorage(str(tmp_path), StorageOptions(read_only=False, lock_timeout=60))
    put(storage, {"n": 0})
    known = {}

    def work(number):
        known[number] = None
        for _ in range(20):
            known[number] = commit(storage, "zarr.json", increment, known=known[number])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got(storage)["n"] == 80


# --- consolidated metadata ------------------------------------------------------------------------

CONSOLIDATED = {"kind": "inline", "must_understand": False, "metadata": {}}


def v3_group(**more):
    return {"zarr_format": 3, "node_type": "group", "attributes": {"mine": 1}, **more}


def test_a_change_drops_consolidated_metadata_of_every_group_above_it_v3(storage):
    for path in ("", "A/", "A/1/", "A/1/0/"):
        put(storage, v3_group(consolidated_metadata=CONSOLIDATED), f"{path}zarr.json")
    put(storage, v3_group(consolidated_metadata=CONSOLIDATED), "B/zarr.json")
    commit_attributes(storage, "A/1/0", 3, lambda attributes: attributes.update(new=1))
    for path in ("", "A/", "A/1/"):
        assert got(storage, f"{path}zarr.json") == v3_group()
    assert got(storage, "A/1/0/zarr.json") == v3_group(attributes={"mine": 1, "new": 1})
    assert got(storage, "B/zarr.json") == v3_group(consolidated_metadata=CONSOLIDATED), "it is not above"


def test_a_change_drops_consolidated_metadata_of_every_group_above_it_v2(storage):
    for path in ("", "A/", "A/1/", "B/"):
        put(storage, {"zarr_format": 2}, f"{path}.zgroup")
        put(storage, {"zarr_consolidated_format": 1, "metadata": {}}, f"{path}.zmetadata")
    commit_attributes(storage, "A/1", 2, lambda attributes: attributes.update(new=1))
    assert not any(storage.read(f"{path}.zmetadata") for path in ("", "A/", "A/1/"))
    assert storage.read("B/.zmetadata") is not None


def test_a_change_of_an_array_drops_it_too(storage):
    put(storage, v3_group(consolidated_metadata=CONSOLIDATED))
    put(storage, {"zarr_format": 3, "node_type": "array", "shape": [1]}, "0/zarr.json")
    commit(storage, "0/zarr.json", lambda content: content.update(shape=[2]))
    assert got(storage) == v3_group()


def test_a_change_that_writes_nothing_leaves_it(storage):
    put(storage, v3_group(consolidated_metadata=CONSOLIDATED))
    put(storage, {"n": 0}, "A/zarr.json")
    document = read_document(storage, "A/zarr.json")
    put(storage, document.data, "A/zarr.json")
    commit(storage, "A/zarr.json", lambda content: content.pop("absent", None))
    # Whatever spacing the document had, its content is the same.
    assert got(storage, "A/zarr.json") == {"n": 0}


def test_it_is_dropped_before_the_change_is_seen(storage, monkeypatch):
    put(storage, {"zarr_format": 2}, ".zgroup")
    put(storage, {"metadata": {}}, ".zmetadata")
    put(storage, {"n": 0}, ".zattrs")

    def fail(key, data):
        raise Boom

    monkeypatch.setattr(storage, "write", fail)
    with pytest.raises(Boom):
        commit(storage, ".zattrs", increment)
    assert storage.read(".zmetadata") is None, "a crash here would leave a lie"


def test_where_there_is_none_nothing_else_is_touched(storage):
    put(storage, v3_group())
    put(storage, v3_group(attributes={"text": "consolidated_metadata"}), "A/zarr.json")
    put(storage, {"n": 0}, "A/1/zarr.json")
    inode = os.stat(storage.local_path("zarr.json")).st_ino
    storage.drop_consolidated("A/1")
    assert os.stat(storage.local_path("zarr.json")).st_ino == inode
    assert got(storage, "A/zarr.json") == v3_group(attributes={"text": "consolidated_metadata"})


@pytest.mark.parametrize("held", ["commit", "lock around it"])
def test_writers_above_and_below_do_not_wait_for_each_other_for_ever(tmp_path, held):
    """One holds the plate and changes a well; the other holds the well and drops what the plate keeps."""
    options = StorageOptions(read_only=False, lock_timeout=2)
    upper, lower = (LocalStorage(str(tmp_path), options) for _ in range(2))
    put(upper, v3_group(consolidated_metadata=CONSOLIDATED))
    put(upper, v3_group(), "A/zarr.json")
    above, below = threading.Event(), threading.Event()
    errors = []

    def from_above():
        with upper.lock(""):
            above.set()
            below.wait(1)
            commit_attributes(upper, "A", 3, lambda attributes: attributes.update(above=1))

    def from_below():
        def change(attributes):
            below.set()
            attributes["below"] = 1

        above.wait(1)
        if held == "commit":
            commit_attributes(lower, "A", 3, change)
            return
        with lower.lock("A"):
            below.set()
            commit_attributes(lower, "A", 3, change)

    def noted(work):
        try:
            work()
        except ps.PlatestoreError as error:
            errors.append(error)

    threads = [threading.Thread(target=noted, args=(work,)) for work in (from_above, from_below)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert got(upper, "A/zarr.json")["attributes"] == {"mine": 1, "above": 1, "below": 1}
    assert "consolidated_metadata" not in got(upper)
