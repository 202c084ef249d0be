"""Models: what others wrote survives, slight flaws are read with a finding, edits merge."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import examples
from platestore.spec.base import Finding, merge_three, read_model
from platestore.spec.own import OwnMeta
from platestore.spec.series import SeriesListMeta, SeriesMeta
from platestore.spec.values import duplicates

quick = settings(deadline=None, max_examples=examples(120))

PLATE = {
    "rows": [{"name": "A"}],
    "columns": [{"name": "1"}],
    "wells": [{"path": "A/1", "rowIndex": 0, "columnIndex": 0}],
    "acquisitions": [{"id": 0, "name": "run", "maximumfieldcount": 2, "starttime": 1, "endtime": 2}],
    "field_count": 2,
    "name": "screen",
    "version": "0.4",
}
WELL = {"images": [{"path": "0", "acquisition": 0}, {"path": "1"}], "version": "0.4"}
IMAGE = {
    "multiscales": [
        {
            "version": "0.4",
            "name": "field",
            "type": "gaussian",
            "metadata": {"method": "scipy", "kwargs": {"sigma": 2}},
            "axes": [
                {"name": "c", "type": "channel"},
                {"name": "y", "type": "space"},
                {"name": "x", "type": "space"},
            ],
            "datasets": [
                {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 0.5, 0.5]}]},
                {
                    "path": "1",
                    "coordinateTransformations": [
                        {"type": "scale", "scale": [1.0, 1.0, 1.0]},
                        {"type": "translation", "translation": [0.0, 0.25, 0.25]},
                    ],
                },
            ],
            "coordinateTransformations": [{"type": "scale", "scale": [1.0, 2.0, 2.0]}],
        }
    ],
    "omero": {
        "version": "0.4",
        "id": 1,
        "name": "field",
        "channels": [
            {
                "label": "DAPI",
                "color": "0000FF",
                "window": {"start": 0.0, "end": 1.5, "min": 0.0, "max": 9.0},
                "active": True,
                "coefficient": 1.0,
                "family": "linear",
                "inverted": False,
            }
        ],
        "rdefs": {"defaultT": 0, "defaultZ": 3, "model": "color", "projection": "normal"},
    },
}
DOCUMENTS = [(ps.PlateMeta, PLATE), (ps.WellGroupMeta, WELL), (ps.ImagesMeta, IMAGE)]
each_document = pytest.mark.parametrize(("model", "document"), DOCUMENTS, ids=["plate", "well", "image"])


def objects(value, path=()):
    """Every object in a document, by its path."""
    if isinstance(value, dict):
        yield path, value
        for key, item in value.items():
            yield from objects(item, (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from objects(item, (*path, i))


# --- reading and writing --------------------------------------------------------------------------


@each_document
def test_a_right_document_is_read_without_findings_and_written_as_it_was(model, document):
    meta, findings = read_model(model, copy.deepcopy(document), location="here", path="doc")
    assert findings == []
    assert meta.to_json() == document


@each_document
def test_the_fields_are_in_snake_case(model, document):
    meta = model.model_validate(document)
    text = repr(meta)
    for camel in ("rowIndex", "columnIndex", "coordinateTransformations", "defaultT"):
        assert f"{camel}=" not in text


def test_fields_can_be_given_in_snake_case():
    well = ps.WellIndexMeta(path="A/1", row_index=0, column_index=0)
    assert well.to_json() == {"path": "A/1", "rowIndex": 0, "columnIndex": 0}
    dataset = ps.DatasetMeta(path="0", coordinate_transformations=[])
    assert dataset.to_json() == {"path": "0", "coordinateTransformations": []}


FOREIGN = [
    ("text", "kept"),
    ("nested", {"a": [1, {"b": 2.5}], "c": None}),
    ("null", None),
    ("findings", 1),
    ("to_json", "x"),
    ("model_config", {"a": 1}),
    ("ключ", "знач"),
    ("", 0),
]


@each_document
@pytest.mark.parametrize(("key", "value"), FOREIGN, ids=[k or "empty" for k, _ in FOREIGN])
def test_keys_of_others_survive_everywhere(model, document, key, value):
    document = copy.deepcopy(document)
    lost = []
    for path, _ in list(objects(document)):
        if path[-1:] in (("window",),):
            continue  # numbers by its own rule, below
        changed = copy.deepcopy(document)
        target = changed
        for step in path:
            target = target[step]
        target[key] = value
        meta, _ = read_model(model, copy.deepcopy(changed), location="here", path="doc")
        if meta.to_json() != changed:
            lost.append(path)
    assert lost == []


def test_numbers_of_others_in_a_window_survive():
    document = copy.deepcopy(IMAGE)
    document["omero"]["channels"][0]["window"]["gamma"] = 0.5
    assert ps.ImagesMeta.model_validate(document).to_json() == document


@each_document
def test_a_model_survives_a_copy(model, document):
    meta = model.model_validate(copy.deepcopy(document))
    twin = meta.model_copy(deep=True)
    assert twin.to_json() == document
    assert twin == meta


def test_written_models_hold_no_null():
    text = json.dumps(ps.ImagesMeta.model_validate({"multiscales": IMAGE["multiscales"]}).to_json())
    assert "null" not in text
    assert "omero" not in text


def test_assignments_are_validated():
    meta = ps.PlateMeta.model_validate(copy.deepcopy(PLATE))
    with pytest.raises(ValueError):
        meta.wells = "none"
    assert [w.path for w in meta.wells] == ["A/1"]


# --- lenient in -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "document", "place", "value", "location"),
    [
        (ps.PlateMeta, PLATE, ("wells", 0, "rowIndex"), "0", "plate.wells[0].rowIndex"),
        (ps.PlateMeta, PLATE, ("wells", 0, "columnIndex"), 0.0, "plate.wells[0].columnIndex"),
        (ps.PlateMeta, PLATE, ("field_count",), "2", "plate.field_count"),
        (ps.PlateMeta, PLATE, ("acquisitions", 0, "id"), "0", "plate.acquisitions[0].id"),
        (ps.WellGroupMeta, WELL, ("images", 0, "acquisition"), "0", "plate.images[0].acquisition"),
        (
            ps.ImagesMeta,
            IMAGE,
            ("multiscales", 0, "datasets", 0, "coordinateTransformations", 0, "scale", 1),
            "0.5",
            "plate.multiscales[0].datasets[0].coordinateTransformations[0].scale[1]",
        ),
    ],
)
def test_a_wrong_type_that_says_something_is_read_with_a_finding(model, document, place, value, location):
    changed = copy.deepcopy(document)
    target = changed
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = value
    meta, findings = read_model(model, changed, location="plate", path="doc")
    assert meta.to_json() == document
    assert [(f.code, f.location) for f in findings] == [("wrong-type", location)]


@pytest.mark.parametrize(
    ("model", "document", "field"),
    [
        (ps.PlateMeta, {k: v for k, v in PLATE.items() if k != "wells"}, "wells"),
        (ps.PlateMeta, {**PLATE, "wells": "A/1"}, "wells"),
        (ps.PlateMeta, {**PLATE, "rows": None}, "rows"),
        (ps.PlateMeta, {**PLATE, "rows": [{"name": 5}]}, r"rows\[0\].name"),
        (ps.PlateMeta, {**PLATE, "wells": [{"path": "A/1"}]}, r"wells\[0\].rowIndex"),
        (ps.PlateMeta, {**PLATE, "acquisitions": [{"id": -1}]}, r"acquisitions\[0\].id"),
        (ps.PlateMeta, [], "place"),
        (ps.PlateMeta, None, "place"),
        (ps.PlateMeta, "plate", "place"),
        (ps.WellGroupMeta, {}, "images"),
        (ps.WellGroupMeta, {"images": [{"path": None}]}, r"images\[0\].path"),
        (ps.ImagesMeta, {"multiscales": {}}, "multiscales"),
        (ps.ImagesMeta, {"multiscales": [{"axes": [{"name": "x"}]}]}, r"multiscales\[0\].datasets"),
        (ps.ImagesMeta, {"multiscales": [{"datasets": [{}], "axes": []}]}, r"datasets\[0\].path"),
    ],
)
def test_what_no_reader_could_use_is_an_error_with_document_and_field(model, document, field):
    with pytest.raises(ps.InvalidMetadataError, match=field) as caught:
        read_model(model, document, location="place", path="/data/p.zarr")
    assert str(caught.value).startswith("/data/p.zarr: ")
    assert caught.value.hint


def test_an_error_names_a_few_problems_and_counts_the_rest():
    rows = [{"name": None} for _ in range(40)]
    with pytest.raises(ps.InvalidMetadataError, match="and 35 more"):
        read_model(ps.PlateMeta, {**PLATE, "rows": rows}, location="plate", path="doc")


def test_findings_show_place_message_and_code():
    assert str(Finding("code", "plate.rows", "is wrong")) == "plate.rows: is wrong [code]"


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({"images": []}, "well-empty"),
        ({"images": [{"path": "0"}, {"path": "0"}]}, "image-duplicate"),
        ({"images": [{"path": "a-b"}]}, "image-path"),
        ({"images": [{"path": "0\n"}]}, "image-path"),
        ({"images": [{"path": "²"}]}, "image-path"),
    ],
)
def test_flaws_of_a_well_are_found(document, code):
    _, findings = read_model(ps.WellGroupMeta, document, location="well", path="doc")
    assert [f.code for f in findings] == [code]


def image(**changes):
    return {"multiscales": [{**copy.deepcopy(IMAGE["multiscales"][0]), **changes}]}


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({"multiscales": []}, "multiscales-empty"),
        (image(axes=IMAGE["multiscales"][0]["axes"][1:]), "transform-length"),
        (image(datasets=[IMAGE["multiscales"][0]["datasets"][0]] * 2), "dataset-duplicate"),
        (image(datasets=[{"path": "0"}]), "transform-list"),
        (image(coordinateTransformations=[]), "transform-list"),
        (image(coordinateTransformations=[{"type": "identity"}]), "transform-list"),
    ],
)
def test_flaws_of_an_image_are_found(document, code):
    _, findings = read_model(ps.ImagesMeta, document, location="image", path="doc")
    assert code in [f.code for f in findings]


def test_an_image_without_datasets_is_reported():
    _, findings = read_model(ps.ImagesMeta, image(datasets=[]), location="image", path="doc")
    assert [f.location for f in findings] == ["multiscales[0].datasets"]


def test_datasets_are_found_by_path():
    meta = ps.ImagesMeta.model_validate(copy.deepcopy(IMAGE))
    multiscales, dataset = meta.find("1")
    assert multiscales is meta.multiscales[0]
    assert dataset is multiscales.datasets[1]
    assert meta.find("2") is None
    assert meta.paths() == ["0", "1"]
    assert ps.WellGroupMeta.model_validate(WELL).image("1").path == "1"
    assert ps.WellGroupMeta.model_validate(WELL).image("2") is None


def test_series_documents_are_read_by_their_odd_key():
    assert SeriesMeta.model_validate({"bioformats2raw.layout": 3}).layout == 3
    assert SeriesMeta(layout=3).to_json() == {"bioformats2raw.layout": 3}
    assert SeriesListMeta.model_validate({"series": ["0", "1"]}).series == ["0", "1"]


def test_the_own_namespace_keeps_keys_of_later_versions():
    own = {"channel_names": ["a"], "from_the_future": {"x": 1}}
    assert OwnMeta.model_validate(own).to_json() == own


def test_duplicates_are_named_once_in_order():
    assert duplicates(["b", "a", "b", "c", "a", "b"]) == ["b", "a"]


# --- merging --------------------------------------------------------------------------------------

leaf = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "0"])
keys = st.sampled_from(["path", "name", "id", "label", "x", "y"])
json_values = st.recursive(
    leaf,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


@quick
@given(json_values, json_values)
def test_what_only_one_side_changed_is_taken(base, other):
    assert merge_three(base, other, base) == other
    assert merge_three(base, base, other) == other


@quick
@given(json_values, json_values)
def test_the_same_change_on_both_sides_is_that_change(base, other):
    assert merge_three(base, other, copy.deepcopy(other)) == other


@quick
@given(json_values, json_values, json_values)
def test_any_three_documents_merge_and_none_of_them_is_changed(base, mine, theirs):
    before = copy.deepcopy((base, mine, theirs))
    merged = merge_three(base, mine, theirs)
    json.dumps(merged)
    assert (base, mine, theirs) == before


@quick
@given(
    st.dictionaries(keys, leaf),
    st.dictionaries(st.sampled_from(["m1", "m2"]), leaf),
    st.dictionaries(st.sampled_from(["t1", "t2"]), leaf),
)
def test_new_keys_of_both_sides_survive(base, mine, theirs):
    assert merge_three(base, {**base, **mine}, {**base, **theirs}) == {**base, **mine, **theirs}


@quick
@given(st.dictionaries(keys, leaf, min_size=2), st.data())
def test_a_key_removed_on_one_side_is_gone_if_the_other_left_it(base, data):
    gone = data.draw(st.sampled_from(sorted(base)))
    less = {k: v for k, v in base.items() if k != gone}
    assert merge_three(base, {**less, "m": 1}, {**base, "t": 2}) == {**less, "m": 1, "t": 2}
    assert merge_three(base, {**base, "m": 1}, {**less, "t": 2}) == {**less, "m": 1, "t": 2}


def test_mine_wins_where_both_changed_the_same_value():
    assert merge_three({"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 3, "b": 4}) == {"a": 2, "b": 4}


@pytest.mark.parametrize("identity", ["path", "name", "id", "label"])
def test_members_of_lists_merge_by_their_identity(identity):
    def item(key, **values):
        return {identity: key, **values}

    base = [item("a", v=1), item("b", v=1)]
    mine = [item("a", v=2), item("b", v=1)]
    theirs = [item("a", v=1, w=5), item("b", v=1), item("c", v=1)]
    assert merge_three(base, mine, theirs) == [item("a", v=2, w=5), item("b", v=1), item("c", v=1)]


def test_members_added_and_removed_on_both_sides():
    base = [{"path": "A/1"}, {"path": "A/2"}]
    mine = [{"path": "A/2"}, {"path": "B/1"}]
    theirs = [{"path": "A/1"}, {"path": "A/2"}, {"path": "C/1"}]
    assert [w["path"] for w in merge_three(base, mine, theirs)] == ["A/2", "C/1", "B/1"]


def test_lists_without_identity_are_replaced_as_a_whole():
    assert merge_three({"s": [1, 1]}, {"s": [2, 1]}, {"s": [1, 3]}) == {"s": [2, 1]}


def test_members_whose_identity_is_no_plain_value_do_not_break_the_merge():
    assert merge_three([{"id": [1]}], [{"id": [2]}], [{"id": [3]}]) == [{"id": [2]}]
