"""Versions: where 0.4 and 0.5 keep the same models, and what is never lost on the way."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import examples
from platestore.spec import versions
from platestore.spec.edits import empty_image

quick = settings(deadline=None, max_examples=examples(60))

FORMAT = {"0.4": 2, "0.5": 3}
FULL = {
    "plate": {
        "plate": {
            "rows": [{"name": "A"}],
            "columns": [{"name": "1"}],
            "wells": [{"path": "A/1", "rowIndex": 0, "columnIndex": 0}],
        }
    },
    "well": {"well": {"images": [{"path": "0"}]}},
    "image": {
        "multiscales": [{"axes": [{"name": "y"}, {"name": "x"}], "datasets": [{"path": "0"}]}],
        "omero": {"channels": []},
    },
}
EMPTY = {
    "plate": {"plate": {"rows": [], "columns": [], "wells": []}},
    "well": {"well": {"images": []}},
    "image": {
        "multiscales": [{"axes": [{"name": "y"}, {"name": "x"}], "datasets": []}],
        "omero": {"channels": []},
    },
}
KINDS = ["plate", "well", "image"]
each_kind = pytest.mark.parametrize("kind", KINDS)


def packed(version, kind, parts, own=None, attributes=None):
    attributes = {} if attributes is None else attributes
    versions.adapter(version).pack(attributes, kind, copy.deepcopy(parts), own or {})
    return attributes


def without_versions(value):
    if isinstance(value, dict):
        return {k: without_versions(v) for k, v in value.items() if k != "version"}
    return [without_versions(v) for v in value] if isinstance(value, list) else value


# --- packing --------------------------------------------------------------------------------------


@each_kind
def test_0_4_is_flat_with_the_version_in_each_object(kind):
    attributes = packed("0.4", kind, FULL[kind])
    assert set(attributes) == set(FULL[kind])
    for value in attributes.values():
        for item in value if isinstance(value, list) else [value]:
            assert item["version"] == "0.4"


@each_kind
def test_0_5_is_wrapped_with_the_version_once_and_in_the_plate(kind):
    attributes = packed("0.5", kind, FULL[kind])
    assert set(attributes) == {"ome"}
    assert attributes["ome"].get("plate", {}).pop("version", None) == ("0.5" if kind == "plate" else None)
    assert attributes["ome"] == {"version": "0.5", **FULL[kind]}
    assert "version" not in str(FULL[kind])


@each_kind
def test_moving_a_document_between_versions_changes_its_stamps_only(kind):
    old = packed("0.4", kind, FULL[kind])
    new = packed("0.5", kind, versions.adapter("0.4").unpack(old, kind))
    assert new == packed("0.5", kind, FULL[kind])


@each_kind
@pytest.mark.parametrize("state", ["full", "empty"])
def test_what_was_packed_is_unpacked(version, kind, state):
    parts = {"full": FULL, "empty": EMPTY}[state][kind]
    attributes = packed(version, kind, parts, {"axes": [1]})
    assert without_versions(versions.adapter(version).unpack(attributes, kind)) == parts
    assert versions.own_part(attributes).get("axes") == [1]
    assert versions.kind_of(attributes, FORMAT[version]) == kind
    assert versions.detect_version(attributes, FORMAT[version], path="p") == version


@each_kind
def test_a_document_that_cannot_be_valid_yet_waits_in_the_own_namespace(version, kind):
    attributes = packed(version, kind, EMPTY[kind])
    assert set(attributes) == {"platestore"}
    assert attributes["platestore"]["version"] == version
    assert without_versions(attributes["platestore"]) == EMPTY[kind]


@each_kind
def test_it_moves_out_when_it_can_be_valid_and_back_when_it_cannot(version, kind):
    attributes = packed(version, kind, EMPTY[kind], {"channel_names": ["a"]})
    packed(version, kind, FULL[kind], versions.own_part(attributes), attributes)
    assert attributes["platestore"] == {"channel_names": ["a"]}
    assert attributes == packed(version, kind, FULL[kind], {"channel_names": ["a"]})
    packed(version, kind, EMPTY[kind], versions.own_part(attributes), attributes)
    assert attributes == packed(version, kind, EMPTY[kind], {"channel_names": ["a"]})


@each_kind
def test_nothing_private_is_left_in_a_plain_store(version, kind):
    attributes = packed(version, kind, EMPTY[kind])
    packed(version, kind, FULL[kind], {}, attributes)
    assert "platestore" not in attributes


json_leaf = st.none() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
foreign = st.dictionaries(st.sampled_from(["iohub", "labels", "x", "_ARRAY_DIMENSIONS", "note"]), json_leaf)


@quick
@given(st.sampled_from(["0.4", "0.5"]), st.sampled_from(KINDS), st.booleans(), foreign, foreign)
def test_keys_of_others_survive_every_packing(version, kind, full, top, inner):
    attributes = copy.deepcopy(top)
    if version == "0.5":
        attributes["ome"] = {"version": "0.5", **copy.deepcopy(inner)}
    for parts in (FULL if full else EMPTY, EMPTY, FULL):
        packed(version, kind, parts[kind], {}, attributes)
        for key, value in top.items():
            assert attributes[key] == value
        if version == "0.5":
            for key, value in inner.items():
                assert attributes["ome"][key] == value


def test_a_part_that_is_not_given_stays_as_it_is(version):
    """An omero block that could not be read is nobody's to throw away."""
    attributes = packed(version, "image", FULL["image"])
    container = attributes if version == "0.4" else attributes["ome"]
    container["omero"] = {"channels": "damaged", "note": 1}
    images = {"multiscales": FULL["image"]["multiscales"]}
    packed(version, "image", images, {}, attributes)
    after = attributes if version == "0.4" else attributes["ome"]
    assert after["omero"] == {"channels": "damaged", "note": 1}


def test_a_part_that_is_not_given_survives_the_last_image_too(version):
    attributes = packed(version, "image", FULL["image"])
    container = attributes if version == "0.4" else attributes["ome"]
    container["omero"] = {"channels": "damaged", "note": 1}
    packed(version, "image", {"multiscales": EMPTY["image"]["multiscales"]}, {}, attributes)
    assert "damaged" in str(attributes)


def test_packing_does_not_change_what_it_was_given(version):
    parts = copy.deepcopy(FULL["image"])
    versions.adapter(version).pack({}, "image", parts, {})
    assert parts == FULL["image"]


def test_bare_attributes_are_those_of_a_new_group(version):
    meta = empty_image([], ["a"], "field")
    attributes = versions.bare_attributes(version, "image", meta.to_json(), {})
    assert versions.kind_of(attributes, FORMAT[version]) == "image"
    assert ps.ImagesMeta.model_validate(versions.adapter(version).unpack(attributes, "image")) == (
        meta.model_copy(
            update={
                "multiscales": [m.model_copy(update={"version": stamp(version)}) for m in meta.multiscales],
                "omero": meta.omero.model_copy(update={"version": stamp(version)}),
            }
        )
    )


def stamp(version):
    return "0.4" if version == "0.4" else None


# --- recognising ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        (["plate"], "plate"),
        (["plate", "bioformats2raw.layout"], "plate"),
        (["bioformats2raw.layout", "multiscales"], "image"),
        (["multiscales", "omero"], "image"),
        (["well"], "well"),
        (["omero"], "unknown"),
        (["labels"], "unknown"),
        ([], "unknown"),
    ],
)
def test_what_a_group_is(keys, kind):
    flat = {key: {} for key in keys}
    assert versions.kind_of(flat, 2) == kind
    assert versions.kind_of({"ome": flat}, 3) == kind
    assert versions.kind_of(flat, 3) == "unknown", "0.5 keeps nothing at the top level"


@pytest.mark.parametrize("ome", [None, 5, "x", []])
def test_a_damaged_wrapper_holds_nothing(ome):
    assert versions.kind_of({"ome": ome}, 3) == "unknown"
    assert versions.adapter("0.5").unpack({"ome": ome}, "plate") == {}


@pytest.mark.parametrize(
    ("attributes", "zarr_format", "version"),
    [
        ({}, 2, "0.4"),
        ({"plate": {}}, 2, "0.4"),
        ({"plate": {"version": "0.4"}}, 2, "0.4"),
        ({"well": {"version": "0.4"}}, 2, "0.4"),
        ({"multiscales": [{"version": "0.4"}]}, 2, "0.4"),
        ({"multiscales": []}, 2, "0.4"),
        ({"multiscales": "x"}, 2, "0.4"),
        ({"platestore": {"version": "0.4"}}, 2, "0.4"),
        ({}, 3, "0.5"),
        ({"ome": {}}, 3, "0.5"),
        ({"ome": {"version": "0.5"}}, 3, "0.5"),
        ({"platestore": {"version": "0.5"}}, 3, "0.5"),
    ],
)
def test_the_version_is_the_one_stated_or_that_of_the_zarr_format(attributes, zarr_format, version):
    assert versions.detect_version(attributes, zarr_format, path="p") == version


@pytest.mark.parametrize(
    ("attributes", "zarr_format"),
    [
        ({"multiscales": [{"version": "0.1"}]}, 2),
        ({"multiscales": [{"version": "0.3"}]}, 2),
        ({"plate": {"version": "0.2"}}, 2),
        ({"plate": {"version": "0.5"}}, 2),
        ({"well": {"version": "nonsense"}}, 2),
        ({"ome": {"version": "0.4"}}, 3),
        ({"ome": {"version": "0.6"}}, 3),
        ({"ome": {"version": "0.6rc0"}}, 3),
        ({"ome": {"version": ""}}, 3),
    ],
)
def test_other_versions_are_named_with_what_can_be_done(attributes, zarr_format):
    with pytest.raises(ps.UnsupportedVersionError, match="OME-NGFF") as caught:
        versions.detect_version(attributes, zarr_format, path="/data/p.zarr")
    assert caught.value.hint
    assert caught.value.path == "/data/p.zarr"


@pytest.mark.parametrize("stated", [0.5, 5, [], {}, True])
def test_a_version_that_is_no_string_is_an_error(stated):
    with pytest.raises(ps.InvalidMetadataError, match="not a string"):
        versions.detect_version({"ome": {"version": stated}}, 3, path="p")


@pytest.mark.parametrize("version", ["0.3", "0.6", "latest", "", None, 0.4, 4])
def test_only_two_versions_are_written(version):
    with pytest.raises(ps.UnsupportedVersionError, match=r"0\.4"):
        versions.check_version(version)


def test_versions_and_zarr_formats_belong_together():
    assert {name: ngff.zarr_format for name, ngff in versions.ADAPTERS.items()} == {"0.4": 2, "0.5": 3}
    assert versions.check_version("0.4") == "0.4"
    assert versions.check_version("0.5") == "0.5"


# --- editing as JSON ------------------------------------------------------------------------------


def test_editing_the_container_of_0_4_edits_the_attributes():
    attributes = {"plate": {}, "x": 1}
    versions.adapter("0.4").edit(attributes, lambda ome: ome.update(y=2))
    assert attributes == {"plate": {}, "x": 1, "y": 2}


@pytest.mark.parametrize("before", [{}, {"ome": {"version": "0.5", "a": 1}}])
def test_editing_the_container_of_0_5_edits_the_wrapper(before):
    attributes = {**copy.deepcopy(before), "x": 1}
    versions.adapter("0.5").edit(attributes, lambda ome: ome.update(y=2))
    assert attributes["ome"]["version"] == "0.5"
    assert attributes["ome"]["y"] == 2
    assert attributes["x"] == 1
    assert "y" not in attributes


def test_series_keys_are_found_in_both_versions():
    keys = {"bioformats2raw.layout": 3, "series": ["0"], "other": 1}
    expected = {"bioformats2raw.layout": 3, "series": ["0"]}
    assert versions.adapter("0.4").series_parts(keys) == expected
    assert versions.adapter("0.5").series_parts({"ome": keys}) == expected
    assert versions.adapter("0.4").series_parts({}) == {}
