"""Arrays where groups should be, and the reverse; levels in the wrong order; units that are null."""

from __future__ import annotations

import json
import shutil
import warnings

import numpy as np
import pytest

import platestore as ps
from platestore.checking.rules.judge import judge

AXES = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}] + [
    {"name": name, "type": "space"} for name in "zyx"
]


@pytest.fixture
def image(tmp_path, version):
    path = tmp_path / "x.zarr"
    with ps.open_ome_zarr(path, layout="fov", mode="w-", channel_names=["a"], version=version) as position:
        position.create_image("0", np.ones((1, 1, 2, 16, 16), "u2"), pyramid_levels=2)
    return path


def codes(report, *levels):
    return {f.code for f in report.findings if f.level in (levels or ("error",))}


def ome_of(path, version, change):
    document = path / ("zarr.json" if version == "0.5" else ".zattrs")
    content = json.loads(document.read_text())
    change(content["attributes"]["ome"] if version == "0.5" else content)
    document.write_text(json.dumps(content))


@pytest.mark.parametrize("version", ["0.5"])
def test_a_group_where_an_array_is_listed(image):
    document = image / "1/zarr.json"
    content = json.loads(document.read_text())
    document.write_text(json.dumps({**content, "node_type": "group"}))
    assert "member-type" in codes(ps.validate(image))
    assert not ps.check(image).whole
    with pytest.raises(ps.NodeNotFoundError):
        ps.open_ome_zarr(image)["1"]


def test_labels_that_are_an_array(image):
    shutil.copytree(image / "1", image / "labels")
    assert codes(ps.validate(image)) == {"member-type"}
    assert codes(ps.check(image)) == {"document-unusable"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ps.StoreWarning)
        assert ps.open_ome_zarr(image).label_names == []


def test_a_collection_whose_image_is_an_array(tmp_path, version, image):
    ome_of(image, version, lambda ome: [ome.pop(k) for k in ("multiscales", "omero")])
    ome_of(image, version, lambda ome: ome.update({"bioformats2raw.layout": 3}))
    assert "member-type" in codes(ps.validate(image))
    assert codes(ps.check(image)) == {"document-unusable"}


# --- the document alone -----------------------------------------------------------------------------


def described(scales, axes=AXES, version="0.4"):
    datasets = [
        {"path": str(i), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        for i, scale in enumerate(scales)
    ]
    image = {"axes": axes, "datasets": datasets, "name": "x", "type": "mean", "metadata": {}}
    if version == "0.5":
        return {"ome": {"version": "0.5", "multiscales": [image]}}
    return {"multiscales": [{**image, "version": "0.4"}]}


@pytest.mark.parametrize(
    ("scales", "wrong"),
    [
        ([[1, 1, 1, 1, 1], [1, 1, 1, 2, 2], [1, 1, 1, 4, 4]], []),
        ([[1, 1, 1, 1, 1], [1, 1, 1, 1, 1]], []),
        ([[1, 1, 1, 4, 4], [1, 1, 1, 2, 2], [1, 1, 1, 1, 1]], [1, 2]),
        ([[1, 1, 1, 1, 1], [1, 1, 1, 4, 4], [1, 1, 1, 2, 2]], [2]),
        ([[1, 1, 1, 2, 2], [1, 1, 1, 2, 1]], [1]),
        ([[1, 1, 1, 2, 1], [1, 1, 1, 1, 2]], []),  # another plane: neither is the finer one
        ([[1, 1, 1, 2, 2], [1, 1, 0, 1, 1]], []),  # no scale that means anything, which is told elsewhere
    ],
)
def test_levels_in_the_wrong_order_are_seen_in_the_document_alone(tmp_path, version, scales, wrong):
    attributes = described(scales, version=version)
    found = [f.location for f in judge(attributes).findings if f.code == "level-order"]
    prefix = "ome." if version == "0.5" else ""
    assert found == [f"{prefix}multiscales[0].datasets[{i}].path" for i in wrong]
    file = tmp_path / "attributes.json"
    file.write_text(json.dumps(attributes))
    assert ps.validate(file).valid == (not wrong)


def test_a_wrong_order_is_told_once_beside_the_arrays(image, version):
    ome_of(image, version, lambda ome: ome["multiscales"][0]["datasets"].reverse())
    assert [f.code for f in ps.validate(image).errors] == ["level-order"]


# --- units --------------------------------------------------------------------------------------------


def with_unit(place, unit):
    axes = [dict(axis) for axis in AXES]
    for i in place:
        axes[i]["unit"] = unit
    return axes


@pytest.mark.parametrize("unit", [None, 3])
@pytest.mark.parametrize(
    ("place", "valid"), [([0], True), ([1], True), ([0, 1], True), ([2], True), ([3, 4], False)], ids=str
)
def test_units_that_are_no_strings_are_what_the_schemas_say(version, shared, place, valid, unit):
    """The schemas want two axes of space whose units are strings, and let all else pass."""
    import jsonschema

    attributes = described([[1] * 5], with_unit(place, unit), version)
    judgement = judge(attributes)
    assert judgement.valid == valid
    assert judgement.findings
    if version == "0.4":  # whose schema is one file; that of 0.5 says the same of axes
        schema = json.loads((shared / "conformance/0.4/schemas/image.schema").read_text())
        assert jsonschema.Draft202012Validator(schema).is_valid(attributes) == valid
