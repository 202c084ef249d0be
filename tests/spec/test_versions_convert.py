"""Attributes in the other version: valid there, nothing lost, and the same again on the way back."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import SHARED, examples
from platestore.spec import versions
from platestore.spec.versions.adapter import HOLDS

FORMAT = {"0.4": 2, "0.5": 3}
OTHER = {"0.4": "0.5", "0.5": "0.4"}
IMAGE = {"axes": [{"name": "y"}, {"name": "x"}], "datasets": [{"path": "0"}]}
PLATE = {
    "rows": [{"name": "A"}],
    "columns": [{"name": "1"}],
    "wells": [{"path": "A/1", "rowIndex": 0, "columnIndex": 0}],
}
PARTS = {
    "plate": {"plate": PLATE},
    "well": {"well": {"images": [{"path": "0"}]}},
    "image": {"multiscales": [IMAGE, IMAGE], "omero": {"channels": []}},
    "label": {"multiscales": [IMAGE], "image-label": {"colors": [{"label-value": 1}]}},
    "labels": {"labels": ["cells", "nuclei"]},
    "series": {"bioformats2raw.layout": 3, "series": ["0", "1"]},
}
EMPTY = {
    "plate": {"plate": {"rows": [], "columns": [], "wells": []}},
    "well": {"well": {"images": []}},
    "image": {"multiscales": [{**IMAGE, "datasets": []}], "omero": {"channels": []}},
}
PACKED = ["plate", "well", "image", "label", "labels"]


def there(attributes, version, kind="unknown"):
    """Convert to the other version; the attributes given must stay as they are."""
    before = copy.deepcopy(attributes)
    out = versions.convert(attributes, FORMAT[version], OTHER[version], kind)
    assert attributes == before
    return out


def back(attributes, version, kind="unknown"):
    return there(there(attributes, version, kind), OTHER[version], kind)


# --- what this library writes ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("own", [{}, {"channel_names": ["a"], "plate_format": 96}])
def test_what_is_written_in_one_version_becomes_what_is_written_in_the_other(version, kind, own):
    written = versions.bare_attributes(version, kind, copy.deepcopy(PARTS[kind]), own)
    wanted = versions.bare_attributes(OTHER[version], kind, copy.deepcopy(PARTS[kind]), own)
    for given_kind in (kind, "unknown"):
        assert there(written, version, given_kind) == wanted
        assert json.dumps(back(written, version, given_kind)) == json.dumps(written), "the order of keys too"


@pytest.mark.parametrize("kind", EMPTY)
def test_documents_that_wait_get_the_version_too(version, kind):
    own = {"channel_names": ["a"]}
    written = versions.bare_attributes(version, kind, copy.deepcopy(EMPTY[kind]), own)
    wanted = versions.bare_attributes(OTHER[version], kind, copy.deepcopy(EMPTY[kind]), own)
    assert set(written) == {"platestore"}
    assert there(written, version) == wanted
    assert wanted["platestore"]["version"] == OTHER[version]
    assert back(written, version) == written


def test_the_same_version_is_an_equal_copy(version):
    attributes = {
        "ome": {"version": "0.5", "x": [1]},
        "multiscales": [{"name": "n"}],
        "platestore": {"a": [1]},
    }
    out = versions.convert(attributes, FORMAT[version], version, "image")
    assert out == attributes
    out["platestore"]["a"].append(2)
    assert attributes["platestore"] == {"a": [1]}


def test_nothing_becomes_nothing(version):
    assert there({}, version) == {}
    assert there({"ome": {"version": "0.5"}}, "0.5") == {}


# --- what is the specification's, and what is not -------------------------------------------------


@pytest.mark.parametrize("kind", PARTS)
def test_keys_of_the_specification_move_and_keys_of_others_stay(kind):
    users = {"note": {"version": 1}, "iohub": [1], "version": "mine"}
    flat = {**users, **PARTS[kind]}
    wrapped = there(flat, "0.4")
    assert {k: v for k, v in wrapped.items() if k != "ome"} == users
    expected = copy.deepcopy(PARTS[kind])
    if "plate" in expected:
        expected["plate"]["version"] = "0.5"
    assert wrapped["ome"] == {"version": "0.5", **expected}
    returned = there(wrapped, "0.5")
    assert {k: returned[k] for k in users} == users
    assert set(returned) == set(flat)


def test_an_image_of_a_collection_that_is_also_a_label_moves_whole():
    flat = {"bioformats2raw.layout": 3, **PARTS["label"], "omero": {"channels": []}, "plate": PLATE}
    assert versions.kind_of(flat, 2) == "plate"
    moved = {**flat, "plate": {**PLATE, "version": "0.5"}}
    assert there(flat, "0.4") == {"ome": {"version": "0.5", **moved}}


def test_versions_are_stated_in_each_object_of_0_4_and_once_and_in_the_plate_in_0_5():
    wrapped = {"ome": {"version": "0.5"}}
    for kind in ("plate", "well", "image", "label"):
        wrapped["ome"].update(copy.deepcopy(PARTS[kind]))
    wrapped["ome"]["plate"]["version"] = "0.5"
    flat = there(wrapped, "0.5")
    for key in ("plate", "well", "omero", "image-label"):
        assert flat[key]["version"] == "0.4"
    assert [image["version"] for image in flat["multiscales"]] == ["0.4"]
    assert "version" not in flat
    assert there(flat, "0.4") == wrapped


def test_identifiers_of_linked_data_are_of_the_node():
    keys = {"@id": "top", "@type": ["ngff:Image"]}
    assert there({**keys, **PARTS["image"]}, "0.4") == {"ome": {"version": "0.5", **keys, **PARTS["image"]}}
    assert there(keys, "0.4") == keys, "of a group that is nothing to the specification they are a user's"


@pytest.mark.parametrize("kind", ["image", "plate", "well", "labels"])
def test_series_is_a_key_of_collections_only(kind):
    flat = {**PARTS[kind], "series": ["a"]}
    assert there(flat, "0.4")["series"] == ["a"]
    for other in ("series", "unknown"):
        assert versions.convert({"series": ["a"]}, 2, "0.5", other) == {
            "ome": {"version": "0.5", "series": ["a"]}
        }


def test_labels_is_a_key_of_a_group_of_its_own():
    flat = {**PARTS["image"], "labels": ["mine"]}
    assert there(flat, "0.4")["labels"] == ["mine"]
    assert there({"labels": ["cells"]}, "0.4") == {"ome": {"version": "0.5", "labels": ["cells"]}}
    assert there({"labels": "none"}, "0.4") == {"labels": "none"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("well", "A1"),
        ("plate", 7),
        ("omero", None),
        ("multiscales", "x"),
        ("image-label", []),
        ("series", "s"),
    ],
)
def test_a_key_that_holds_something_else_is_a_users(key, value):
    kind = "image" if key in ("well", "plate") else "well"
    flat = {**PARTS[kind], "note": 1, key: value}
    wrapped = versions.convert(flat, 2, "0.5", kind)
    assert wrapped[key] == value
    assert key not in wrapped["ome"]


@pytest.mark.parametrize("value", [None, 5, "x", {}, [], [None, 5]])
@pytest.mark.parametrize(("kind", "key"), [("image", "omero"), ("image", "multiscales"), ("plate", "plate")])
def test_what_is_damaged_moves_as_it_is(kind, key, value):
    flat = {**PARTS[kind], key: value}
    wrapped = versions.convert(flat, 2, "0.5", kind)
    assert wrapped["ome"][key] == value
    wanted = {**value, "version": "0.4"} if isinstance(value, dict) and key != "multiscales" else value
    assert versions.convert(wrapped, 3, "0.4", kind)[key] == wanted


# --- names that are taken -------------------------------------------------------------------------


def test_keys_of_others_inside_ome_are_at_the_top_level_in_0_4():
    wrapped = {"ome": {"version": "0.5", "multiscales": [], "_creator": {"name": "x"}}, "note": 1}
    flat = there(wrapped, "0.5")
    assert flat == {"multiscales": [], "_creator": {"name": "x"}, "note": 1}
    assert there(flat, "0.4") == {
        "ome": {"version": "0.5", "multiscales": []},
        "_creator": {"name": "x"},
        "note": 1,
    }


def test_a_users_key_stays_before_one_of_others_inside_ome():
    wrapped = {"ome": {"version": "0.5", "multiscales": [], "note": "inner"}, "note": "user's"}
    flat = there(wrapped, "0.5")
    assert flat == {
        "multiscales": [],
        "note": "user's",
        "platestore": {"displaced": {"ome": {"note": "inner"}}},
    }
    assert there(flat, "0.4") == wrapped


def test_a_stale_copy_of_the_metadata_does_not_replace_it():
    stale = [{"name": "stale", "version": "0.4"}]
    wrapped = {
        "ome": {"version": "0.5", "multiscales": [IMAGE]},
        "multiscales": stale,
        "platestore": {"a": 1},
    }
    flat = there(wrapped, "0.5")
    assert flat["multiscales"] == [{**IMAGE, "version": "0.4"}]
    assert flat["platestore"] == {"a": 1, "displaced": {"attributes": {"multiscales": stale}}}
    assert there(flat, "0.4") == wrapped


@pytest.mark.parametrize("value", [{"version": "0.5", "multiscales": []}, 5, None])
def test_a_users_own_ome_in_0_4_is_not_taken_for_the_wrapper(value):
    flat = {"multiscales": [{**IMAGE, "version": "0.4"}], "ome": value}
    wrapped = there(flat, "0.4")
    assert wrapped["ome"] == {"version": "0.5", "multiscales": [IMAGE]}
    assert there(wrapped, "0.5") == flat
    assert there({"ome": value}, "0.4") == {"platestore": {"displaced": {"attributes": {"ome": value}}}}


def test_a_namespace_that_is_damaged_stays_unless_something_must_be_kept_there(version):
    assert there({"platestore": "x"}, version) == {"platestore": "x"}
    assert there({"platestore": None, "ome": 5}, "0.4") == {
        "platestore": {"displaced": {"attributes": {"ome": 5}}}
    }


leaf = st.none() | st.integers() | st.just("0.4") | st.lists(st.just("a"), max_size=2)
junk = leaf | st.dictionaries(st.sampled_from(["version", "wells", "a"]), leaf, max_size=2)
names = st.sampled_from([*HOLDS, "ome", "version", "platestore", "note", "displaced", "attributes"])
nested = st.dictionaries(names, junk | st.lists(junk, max_size=2) | st.dictionaries(names, junk), max_size=4)
kinds = st.sampled_from(["plate", "well", "image", "label", "labels", "series", "unknown"])


@settings(deadline=None, max_examples=examples(300))
@given(
    nested | st.builds(lambda a, b: {**a, "ome": b}, nested, nested), st.sampled_from(["0.4", "0.5"]), kinds
)
def test_any_attributes_have_a_form_and_nothing_is_lost(attributes, version, kind):
    out = there(attributes, version, kind)
    json.dumps(out)
    if OTHER[version] == "0.4":
        assert "ome" not in out or not isinstance(attributes.get("ome"), dict) or _had_ome(attributes)
    elif "ome" in out:
        assert out["ome"]["version"] == "0.5"
        assert set(out["ome"]) <= {*HOLDS, "version", *_inner(attributes)}
    shown = json.dumps(out)
    for value in _leaves({k: v for k, v in attributes.items() if k not in ("ome", "platestore")}):
        assert json.dumps(value) in shown


def _had_ome(attributes):
    """Whether a user's own key ``ome`` comes back, or is a key of others inside the wrapper."""
    return "ome" in attributes["ome"] or "ome" in str(attributes.get("platestore"))


def _inner(attributes):
    own = attributes.get("platestore")
    displaced = own.get("displaced") if isinstance(own, dict) else None
    inner = displaced.get("ome") if isinstance(displaced, dict) else None
    return inner if isinstance(inner, dict) else {}


def _leaves(value):
    if isinstance(value, dict):
        for key, item in value.items():
            if key != "version":
                yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


@settings(deadline=None, max_examples=examples(200))
@given(
    st.dictionaries(st.sampled_from(["note", "iohub", "version", "labels", "multiscales"]), leaf, max_size=4),
    st.dictionaries(st.sampled_from(["note", "_creator", "plate", "well"]), leaf, max_size=3),
    st.sampled_from(["image", "label"]),
)
def test_converting_back_restores_the_users_keys(top, inner, kind):
    wrapped = {"ome": {"version": "0.5", **copy.deepcopy(PARTS[kind]), **inner}, **top}
    returned = back(wrapped, "0.5", kind)
    for key, value in top.items():
        assert returned[key] == value
    for key, value in inner.items():
        assert returned["ome"].get(key, returned.get(key)) == value
    for key, value in PARTS[kind].items():
        assert returned["ome"][key] == value


# --- official cases -------------------------------------------------------------------------------


def official_cases():
    out = []
    for version in FORMAT:
        for name in ("image", "label", "plate", "well", "strict_image", "strict_plate", "strict_well"):
            path = SHARED and SHARED / "conformance" / version / f"{name}_suite.json"
            if not path or not path.is_file():
                continue
            for test in json.loads(path.read_text(encoding="utf-8"))["tests"]:
                if test["valid"]:
                    out.append(
                        pytest.param(version, name, test["data"], id=f"{version}-{name}-{test['formerly']}")
                    )
    skip = pytest.mark.skip(reason="the official cases are not beside this checkout")
    return out or [pytest.param("", "", {}, marks=skip)]


@pytest.mark.parametrize(("version", "name", "data"), official_cases())
def test_official_cases_are_valid_in_the_other_version_and_back(version, name, data):
    schema_validators = pytest.importorskip("interop.test_interop_schemas").schema_validators
    kind = name.removeprefix("strict_")
    out = there(data, version, kind)
    returned = there(out, OTHER[version], kind)
    for schema in (kind, f"strict_{kind}"):
        ours = schema_validators(version)[schema]
        passed = not [*ours.iter_errors(data)]
        assert passed or schema != kind
        if not passed:
            continue
        theirs = schema_validators(OTHER[version])[schema]
        assert [f"{e.json_path}: {e.message}" for e in theirs.iter_errors(out)] == []
        assert [f"{e.json_path}: {e.message}" for e in ours.iter_errors(returned)] == []
    assert plain(returned) == plain(data)


def plain(value):
    """Without versions, which the converter states in the right places."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if k != "version"}
    return [plain(v) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("flat", "schema"), [({"bioformats2raw.layout": 3}, "bf2raw"), ({"series": ["0", "1"]}, "ome")]
)
def test_collections_are_valid_in_both_versions(flat, schema):
    pytest.importorskip("jsonschema")
    if SHARED is None:
        pytest.skip("the official schemas are not beside this checkout")
    schema_validators = pytest.importorskip("interop.test_interop_schemas").schema_validators
    schema_validators("0.5")[schema].validate(there(flat, "0.4"))
    schema_validators("0.4")[schema].validate(back(flat, "0.4"))
    assert back(flat, "0.4") == flat
