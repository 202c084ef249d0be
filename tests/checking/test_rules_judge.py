"""The rules of documents: each flaw is one finding with its place, and nothing is ever raised."""

from __future__ import annotations

import copy
import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import examples
from platestore.checking.rules.grammar import LIMIT
from platestore.checking.rules.judge import judge

AXES = [{"name": "c", "type": "channel"}] + [
    {"name": name, "type": "space", "unit": "micrometer"} for name in "yx"
]
IMAGE = {
    "name": "a",
    "type": "mean",
    "metadata": {},
    "axes": AXES,
    "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 0.5, 0.5]}]}],
}
PLATE = {
    "name": "p",
    "field_count": 1,
    "rows": [{"name": "A"}],
    "columns": [{"name": "1"}],
    "wells": [{"path": "A/1", "rowIndex": 0, "columnIndex": 0}],
    "acquisitions": [{"id": 0, "name": "a", "maximumfieldcount": 1}],
}
OMERO = {"channels": [{"color": "00FF00", "window": {"start": 0, "end": 1, "min": 0, "max": 1}}]}
LABEL = {"colors": [{"label-value": 1, "rgba": [0, 0, 0, 255]}], "properties": [{"label-value": 1}]}
PARTS = {
    "image": {"multiscales": [IMAGE], "omero": OMERO},
    "label": {"multiscales": [IMAGE], "image-label": LABEL},
    "plate": {"plate": PLATE},
    "well": {"well": {"images": [{"path": "0", "acquisition": 0}]}},
    "labels": {"labels": ["cells", "nuclei/0"]},
    "series": {"bioformats2raw.layout": 3},
    "ome": {"series": ["0", "1"]},
}


def document(version, kind, change=None):
    parts = copy.deepcopy(PARTS[kind])
    if change is not None:
        change(parts)
    if version == "0.5":
        return {"ome": {"version": "0.5", **parts}}
    for key in ("plate", "well", "image-label"):
        if isinstance(parts.get(key), dict):
            parts[key].setdefault("version", "0.4")
    for image in parts.get("multiscales") or ():
        image.setdefault("version", "0.4")
    return parts


def found(version, kind, change=None, **options):
    """Code and location of each finding, the prefix of 0.5 left out."""
    judgement = judge(document(version, kind, change), zarr_format={"0.4": 2, "0.5": 3}[version], **options)
    return {(f.code, f.location.removeprefix("ome.")): f.level for f in judgement.findings}


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("kind", PARTS)
def test_a_right_document_has_no_findings_at_all(version, kind, strict):
    data = document(version, kind)
    judgement = judge(data, zarr_format={"0.4": 2, "0.5": 3}[version], strict=strict, kind=kind)
    assert judgement.findings == []
    assert (judgement.version, judgement.kind) == (version, kind)
    assert judgement.parts == (data["ome"] if version == "0.5" else data)


def setter(path, value):
    def change(parts):
        target = parts
        for step in path[:-1]:
            target = target[step]
        if value is ...:
            del target[path[-1]]
        else:
            target[path[-1]] = value

    return change


M, D, P, W = ("multiscales", 0), ("multiscales", 0, "datasets", 0), ("plate",), ("plate", "wells", 0)
TWO = [{"type": "scale", "scale": [1, 1, 1]}, {"type": "translation", "translation": [0, 0, 0]}]
AXIS = {"name": "y", "type": "space"}
FLAWS = [
    ("image", (*M, "axes", 1, "name"), "x", "axis-duplicate", "multiscales[0].axes", "error"),
    ("image", (*M, "axes"), AXES[::-1], "axis-order", "multiscales[0].axes", "error"),
    ("image", (*M, "axes", 0, "type"), 3, "wrong-type", "multiscales[0].axes[0].type", "error"),
    ("image", (*M, "axes", 0, "type"), ..., "key-recommended", "multiscales[0].axes[0]", "advice"),
    ("image", (*M, "axes", 1, "unit"), "micron", "axis-unit", "multiscales[0].axes[1].unit", "advice"),
    ("image", (*M, "axes", 1, "unit"), "second", "axis-unit", "multiscales[0].axes[1].unit", "warning"),
    ("image", (*M, "type"), 3, "wrong-type", "multiscales[0].type", "warning"),
    ("image", (*M, "metadata"), [], "wrong-type", "multiscales[0].metadata", "warning"),
    ("image", (*M, "name"), 3, "wrong-type", "multiscales[0].name", "error"),
    ("image", (*D, "path"), ..., "key-missing", "multiscales[0].datasets[0]", "error"),
    (
        "image",
        (*D, "coordinateTransformations"),
        TWO[::-1],
        "transform-list",
        "multiscales[0].datasets[0].coordinateTransformations",
        "error",
    ),
    (
        "image",
        (*D, "coordinateTransformations", 0, "scale"),
        [1],
        "transform-length",
        "multiscales[0].datasets[0].coordinateTransformations[0]",
        "error",
    ),
    (
        "image",
        (*D, "coordinateTransformations", 0, "scale"),
        [1, 0, 1],
        "scale-positive",
        "multiscales[0].datasets[0].coordinateTransformations[0].scale",
        "warning",
    ),
    (
        "image",
        (*D, "coordinateTransformations", 0, "scale", 1),
        float("nan"),
        "not-finite",
        "multiscales[0].datasets[0].coordinateTransformations[0].scale[1]",
        "error",
    ),
    ("image", ("omero", "channels", 0, "color"), "#F00", "channel-color", "omero.channels[0].color", "error"),
    ("plate", (*P, "rows"), [], "rows-empty", "plate.rows", "error"),
    ("plate", (*P, "columns"), [], "columns-empty", "plate.columns", "error"),
    ("plate", (*W, "rowIndex"), 1, "well-index", "plate.wells[0]", "error"),
    ("plate", (*W, "rowIndex"), -1, "well-index", "plate.wells[0]", "error"),
    ("plate", (*W, "rowIndex"), True, "wrong-type", "plate.wells[0].rowIndex", "error"),
    ("plate", (*W, "path"), "B/1", "well-index", "plate.wells[0]", "error"),
    ("plate", (*P, "acquisitions", 0, "id"), 0.5, "wrong-type", "plate.acquisitions[0].id", "error"),
    ("plate", (*P, "field_count"), ..., "key-recommended", "plate", "advice"),
    ("well", ("well", "images", 0, "path"), "a_b", "image-path", "well.images[0].path", "error"),
    ("label", ("image-label", "colors", 0, "label-value"), 1.5, "wrong-type",
     "image-label.colors[0].label-value", "error"),
    ("label", ("image-label", "source"), "x", "wrong-type", "image-label.source", "error"),
    ("label", ("multiscales",), ..., "label-not-image", "image-label", "warning"),
    ("labels", ("labels", 1), "cells", "label-duplicate", "labels", "error"),
    ("labels", ("labels", 1), 1, "wrong-type", "labels[1]", "error"),
    ("series", ("bioformats2raw.layout",), 2, "series-layout", "bioformats2raw.layout", "error"),
    ("ome", ("series", 0), 0, "wrong-type", "series[0]", "error"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "path", "value", "code", "location", "level"), FLAWS)
def test_one_flaw_is_one_finding(version, kind, path, value, code, location, level):
    assert found(version, kind, setter(path, value)) == {(code, location): level}


@pytest.mark.parametrize("name", ["A\n", "Ä", "", "A-1", "²", "A" * 100 + " "])
def test_names_hold_letters_and_digits_only(version, name):
    def change(parts):
        parts["plate"]["rows"][0]["name"] = name
        parts["plate"]["wells"][0]["path"] = f"{name}/1"

    assert found(version, "plate", change) == {("name-characters", "plate.rows[0].name"): "error"}


LOOSER_IN_0_4 = [
    ("image", (*D, "coordinateTransformations", 0, "scale"), [1, 1], "transform-length"),
    ("plate", (*W, "path"), "1/A", "well-index"),
]


@pytest.mark.parametrize(("kind", "path", "value", "code"), LOOSER_IN_0_4)
def test_what_valid_cases_of_0_4_break_is_a_warning_there(version, kind, path, value, code):
    ((key, level),) = found(version, kind, setter(path, value)).items()
    assert (key[0], level) == (code, "warning" if version == "0.4" else "error")


def test_windows_and_colors_are_required_by_the_schema_of_0_4_and_by_the_text_of_0_5(version):
    flaws = found(version, "image", setter(("omero", "channels", 0), {}))
    level = "error" if version == "0.4" else "warning"
    assert flaws == {("key-missing", "omero.channels[0]"): level}


def test_numbers_are_those_of_json_schema(version):
    assert found(version, "plate", setter((*W, "rowIndex"), 0.0)) == {}
    assert found(version, "plate", setter((*W, "rowIndex"), False)) != {}
    assert found(version, "plate", setter((*W, "rowIndex"), "0")) != {}


def test_unknown_keys_are_allowed_everywhere(version):
    def change(parts):
        waiting = [parts]
        while waiting:
            item = waiting.pop()
            if isinstance(item, dict):
                waiting += list(item.values())
                item["@id"] = {"x": [None]}
            elif isinstance(item, list):
                waiting += item

    for kind in PARTS:
        assert found(version, kind, change, strict=True) == {}


STRICT = [
    ("image", (*M, "name")),
    ("image", (*M, "type")),
    ("image", (*M, "metadata")),
    ("label", ("image-label", "colors")),
    ("plate", (*P, "name")),
    ("plate", (*P, "acquisitions", 0, "name")),
    ("plate", (*P, "acquisitions", 0, "maximumfieldcount")),
]


@pytest.mark.parametrize(("kind", "path"), STRICT)
def test_what_is_recommended_is_required_with_strict(version, kind, path):
    assert set(found(version, kind, setter(path, ...)).values()) == {"advice"}
    assert set(found(version, kind, setter(path, ...), strict=True).values()) == {"error"}


def test_everything_is_collected(version):
    def change(parts):
        parts["plate"].update(rows=[{"name": "A-"}, {"name": 1}], field_count=0, name=3)
        parts["plate"]["acquisitions"] += [{"id": 0}, 7]

    codes = {code for code, _ in found(version, "plate", change)}
    assert codes >= {"name-characters", "wrong-type", "well-index", "field-count", "acquisition-duplicate"}


def test_of_very_many_findings_the_rest_is_counted(version):
    flaws = judge(document(version, "plate", setter((*P, "wells"), [1] * 5000))).findings
    assert len(flaws) == LIMIT + 1
    assert flaws[-1].message == f"{5000 - LIMIT} more of this kind are not listed"
    assert flaws[-1].level == "error"


# --- what the parent says -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["plate", "well", "image", "label", "labels", "series"])
def test_a_group_must_be_what_its_parent_says(version, kind):
    other = "plate" if kind != "plate" else "well"
    judgement = judge(document(version, other), kind=kind)
    assert "key-missing" in [f.code for f in judgement.findings if f.level == "error"]


def test_a_label_without_image_label_is_advised(version):
    judgement = judge(document(version, "image"), kind="label")
    assert [(f.code, f.level) for f in judgement.findings] == [("key-recommended", "advice")]


def test_documents_that_wait_for_their_first_member_are_no_errors(version):
    parts = {"plate": {**PLATE, "wells": []}, "version": version}
    judgement = judge({"platestore": parts}, zarr_format={"0.4": 2, "0.5": 3}[version])
    assert [(f.code, f.level) for f in judgement.findings] == [("still-empty", "warning")]


def test_orientations_are_judged_by_rfc_4(version):
    lpr = {"type": "anatomical", "value": "left-to-right"}

    def change(parts):
        for axis, orientation in zip(parts["multiscales"][0]["axes"], (lpr, lpr, {"value": 3}), strict=True):
            axis["orientation"] = orientation

    flaws = found(version, "image", change)
    assert flaws == {("axis-orientation", f"multiscales[0].axes[{i}].orientation"): "warning" for i in (0, 2)}


# --- anything at all ------------------------------------------------------------------------------

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
KEYS = ["ome", "plate", "well", "multiscales", "omero", "image-label", "labels", "series", "version", "axes"]
KEYS += ["datasets", "rows", "columns", "wells", "images", "channels", "colors", "properties", "path", "name"]
KEYS += ["type", "scale", "coordinateTransformations", "bioformats2raw.layout", "platestore", "orientation"]
keys = st.sampled_from(KEYS)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=40,
)


@settings(deadline=None, max_examples=examples(300))
@given(anything, st.sampled_from([None, 2, 3]), st.booleans())
def test_nothing_is_raised_whatever_the_attributes_are(value, zarr_format, strict):
    judgement = judge(value, zarr_format=zarr_format, strict=strict)
    assert judgement.findings or judgement.valid
    for finding in judgement.findings:
        json.dumps(finding.to_json())


def test_no_depth_and_no_integer_is_too_much():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    for value in (deep, 10**6000):
        for path in ((*M, "axes"), (*D, "path"), ("multiscales",), ("omero",)):
            assert judge(document("0.5", "image", setter(path, value))).findings
        assert judge(document("0.5", "image", lambda parts, v=value: parts["multiscales"].append(v))).findings


def test_judging_imports_nothing_heavy():
    code = (
        "import sys, platestore.checking.rules.judge as j; j.judge({'plate': {}});"
        "print([m for m in ('pydantic', 'zarr', 'numpy', 'dask', 'tensorstore') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
