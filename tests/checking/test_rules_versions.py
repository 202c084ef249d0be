"""Versions: 0.6 is recognised as not yet supported, 0.1 to 0.3 as too old, everywhere; others as unknown."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import platestore as ps
from platestore.checking.rules.judge import judge
from platestore.cli.info import command
from platestore.spec import versions

COMING = ["0.6", "0.6rc0", "0.6.dev4", "0.6.1", "0.6rc02"]
OLD = ["0.1", "0.2", "0.3", "0.3.1"]
UNKNOWN = ["0.7", "1.0", "0.60", "0.35", "foo", "", "0.5-dev"]
SCENE = {
    "coordinateTransformations": [{"type": "identity", "input": {"name": "a"}, "output": {"name": "b"}}],
    "coordinateSystems": [{"name": "a", "axes": []}],
}
BODIES = {
    "scene": {"scene": SCENE},
    "image": {"multiscales": [{"coordinateSystems": []}]},
    "plate": {"plate": {}},
}


@pytest.mark.parametrize("version", COMING)
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("zarr_format", [None, 3])
def test_0_6_is_one_finding(version, body, zarr_format):
    judgement = judge({"ome": {"version": version, **BODIES[body]}}, zarr_format=zarr_format)
    (finding,) = judgement.findings
    assert (finding.code, finding.location, finding.level) == ("version-not-yet", "ome.version", "error")
    assert "is not yet supported" in finding.message
    assert (judgement.version, judgement.valid) == (version, False)


@pytest.mark.parametrize("version", OLD)
@pytest.mark.parametrize("zarr_format", [None, 2])
@pytest.mark.parametrize(
    ("document", "location"),
    [
        ({"multiscales": [{"axes": ["t", "y", "x"]}]}, "multiscales[0].version"),
        ({"plate": {}}, "plate.version"),
        ({"well": {"images": []}}, "well.version"),
        ({"image-label": {}}, "image-label.version"),
    ],
)
def test_0_1_to_0_3_are_one_finding(version, zarr_format, document, location):
    document = json.loads(json.dumps(document))
    (value,) = document.values()
    (value[0] if isinstance(value, list) else value)["version"] = version
    (finding,) = judge(document, zarr_format=zarr_format).findings
    assert (finding.code, finding.location) == ("version-too-old", location)


@pytest.mark.parametrize("version", [*UNKNOWN, "0.4"])
def test_other_versions_are_wrong_and_the_rest_is_judged(version):
    judgement = judge({"ome": {"version": version, "labels": [1]}})
    assert {f.code for f in judgement.findings} == {"version-wrong", "wrong-type"}


@pytest.mark.parametrize("version", [None, 5, 0.5, ["0.5"]])
def test_a_version_that_is_no_string_is_wrong(version):
    assert [f.code for f in judge({"ome": {"version": version, "labels": []}}).findings] == ["wrong-type"]


def test_a_version_must_be_stated_in_0_5_and_may_be_in_0_4():
    assert [f.code for f in judge({"ome": {"labels": []}}).findings] == ["version-missing"]
    judgement = judge({"well": {"images": [{"path": "0"}]}})
    assert (judgement.version, judgement.valid) == ("0.4", True)


def test_metadata_of_one_version_in_the_format_of_the_other_is_wrong():
    well = {"well": {"images": [{"path": "0"}]}}
    for attributes, zarr_format in ((well, 3), ({"ome": {"version": "0.5", **well}}, 2)):
        judgement = judge(attributes, zarr_format=zarr_format)
        assert [f.code for f in judgement.findings if f.level == "error"] == ["version-format"]


@pytest.mark.parametrize("attributes", [{}, {"other": 1}, {"ome": {"version": "0.5"}}, {"omero": {}}])
@pytest.mark.parametrize("zarr_format", [None, 2, 3])
def test_no_key_of_the_specification_is_no_metadata(attributes, zarr_format):
    assert [f.code for f in judge(attributes, zarr_format=zarr_format).findings] == ["no-metadata"]


@pytest.mark.parametrize("attributes", [None, 1, "x", [], [{}], True])
def test_attributes_that_are_no_object_are_wrong(attributes):
    (finding,) = judge(attributes).findings
    assert (finding.code, finding.location) == ("wrong-type", "")
    assert not judge({"ome": attributes}).valid


def test_a_version_has_a_standing():
    assert {versions.standing(v) for v in COMING} == {"coming"}
    assert {versions.standing(v) for v in OLD} == {"old"}
    assert {versions.standing(v) for v in UNKNOWN} == {"unknown"}
    assert {versions.standing(v) for v in versions.ADAPTERS} == {"current"}


# --- opening and info -----------------------------------------------------------------------------


def group(path, version, body):
    path.mkdir()
    attributes = {"ome": {"version": version, **BODIES[body]}}
    document = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    (path / "zarr.json").write_text(json.dumps(document))
    return str(path)


@pytest.mark.parametrize("body", BODIES)
def test_opening_0_6_says_that_it_is_not_yet_supported(tmp_path, body):
    path = group(tmp_path / "new.zarr", "0.6rc0", body)
    for mode in ("r", "r+"):
        with pytest.raises(ps.UnsupportedVersionError, match="rc0 is not yet supported") as caught:
            ps.open_ome_zarr(path, mode=mode)
        assert path in str(caught.value)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(("version", "words"), [("0.6", "is not yet supported"), ("0.3", "is too old")])
def test_info_says_so_too(tmp_path, body, version, words):
    done = CliRunner().invoke(command, [group(tmp_path / "new.zarr", version, body)])
    assert done.exit_code == 1
    assert f"OME-NGFF {version} {words}" in done.stderr


def test_a_version_of_any_length_makes_a_short_message(tmp_path):
    path = group(tmp_path / "new.zarr", "0.6" + "\n" * 10_000, "scene")
    with pytest.raises(ps.UnsupportedVersionError, match="not yet supported") as caught:
        ps.open_ome_zarr(path)
    assert len(str(caught.value)) < 500
