"""Arrays that do not fit their image, and documents of arrays that nobody can read."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from validate_cases import Trial

import platestore as ps
from conftest import examples
from platestore.checking.hierarchy.arrays import array_facts
from platestore.checking.hierarchy.documents import Node
from platestore.checking.rules.crossing import usable_scale

DATASET = "multiscales[0].datasets[1].path"


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    top = tmp_path_factory.mktemp("images")
    for version in ("0.4", "0.5"):
        with ps.open_ome_zarr(
            top / f"{version}.zarr", layout="fov", mode="w-", channel_names=["DAPI", "GFP"], version=version
        ) as image:
            image.create_image("0", np.ones((1, 2, 2, 17, 24), "uint16"), chunks=(1, 1, 1, 16, 16))
            image.compute_pyramid(3)
            image.create_label("nuclei", np.ones((1, 1, 2, 17, 24), "uint16"))
    return top


@pytest.fixture
def trial(templates, version, tmp_path):
    return Trial(Path(shutil.copytree(templates / f"{version}.zarr", tmp_path / "s.zarr")), version)


def chunks_of(content):
    """Where a document keeps the shape of chunks."""
    return (
        content["chunk_grid"]["configuration"]["chunk_shape"]
        if "chunk_grid" in content
        else content["chunks"]
    )


def test_an_image_that_is_right(trial):
    assert trial.found() == []


def test_another_rank_than_there_are_axes(trial):
    def drop(content):
        content["shape"].pop(0)
        chunks_of(content).pop(0)
        content.pop("dimension_names", None)

    trial.array("1", drop)
    found = trial.found()
    assert ("error", "array-rank", trial.file(""), trial.where(DATASET)) in found
    if trial.version == "0.4":
        assert len(found) == 1


def test_another_type_than_the_finest_level(trial):
    key, value = ("dtype", "<f4") if trial.version == "0.4" else ("data_type", "float32")
    trial.array("1", lambda content: content.update({key: value}))
    level = "warning" if trial.version == "0.4" else "error"
    assert trial.found() == [(level, "array-dtype", trial.file(""), trial.where(DATASET))]


@pytest.mark.parametrize("names", [None, ["a", "c", "z", "y", "x"], ["t", "c", "z", "y", None]])
def test_names_of_dimensions(templates, tmp_path, names):
    trial = Trial(Path(shutil.copytree(templates / "0.5.zarr", tmp_path / "s.zarr")), "0.5")
    trial.array("1", lambda content: content.update(dimension_names=names))
    assert trial.found() == [("error", "dimension-names", "1/zarr.json", "dimension_names")]


def test_chunks_that_are_not_nested(templates, tmp_path):
    trial = Trial(Path(shutil.copytree(templates / "0.4.zarr", tmp_path / "s.zarr")), "0.4")
    trial.array("0", lambda content: content.pop("dimension_separator"))
    assert trial.found() == [("error", "dimension-separator", "0/.zarray", "dimension_separator")]


def test_levels_in_the_wrong_order(trial):
    def swap(parts):
        datasets = parts["multiscales"][0]["datasets"]
        datasets[0], datasets[1] = datasets[1], datasets[0]

    trial.group("", swap)
    assert ("error", "level-order", trial.file(""), trial.where(DATASET)) in trial.found()


def test_a_scale_that_does_not_fit_the_shapes(trial):
    def change(parts):
        steps = parts["multiscales"][0]["datasets"][1]["coordinateTransformations"]
        steps[0]["scale"][-1] *= 3

    trial.group("", change)
    where = trial.where("multiscales[0].datasets[1].coordinateTransformations")
    assert trial.found() == [("warning", "level-scale", trial.file(""), where)]
    (finding,) = ps.validate(trial.path).of("warning")
    assert finding.expected == "about 2"


@pytest.mark.parametrize("rounding", [np.floor, np.ceil, np.round])
@pytest.mark.parametrize("stepwise", [True, False])
def test_all_ways_to_round_shapes_are_right(tmp_path, version, rounding, stepwise):
    sizes, shapes = [1025, 1023, 271, 97], []
    shape = np.array(sizes)
    for level in range(5):
        shapes.append([max(1, int(n)) for n in (shape if stepwise else rounding(np.array(sizes) / 2**level))])
        shape = rounding(shape / 2)
    with ps.open_ome_zarr(
        tmp_path / "s.zarr", layout="fov", mode="w-", channel_names=["a"], version=version
    ) as image:
        image.create_zeros("0", (1, 1, 1, 1025, 1023), "uint8")
        image.compute_pyramid(5)
    trial = Trial(tmp_path / "s.zarr", version)
    for y, x in ((0, 1), (2, 3)):
        for level, shape in enumerate(shapes):
            trial.array(str(level), lambda c, s=shape, y=y, x=x: c.update(shape=[1, 1, 1, s[y], s[x]]))
        assert trial.found() == []


def test_more_channels_than_pixels(trial):
    trial.group("", lambda parts: parts["omero"]["channels"].append(parts["omero"]["channels"][0]))
    assert trial.found() == [("warning", "channel-count", trial.file(""), trial.where("omero.channels"))]


# --- label images ---------------------------------------------------------------------------------


def test_a_label_image_with_fewer_levels(trial):
    trial.group("labels/nuclei", lambda parts: parts["multiscales"][0]["datasets"].pop())
    expected = [
        ("error", "label-levels", trial.file("labels/nuclei"), trial.where("multiscales[0].datasets"))
    ]
    assert trial.found() == trial.found("labels") == trial.found("labels/nuclei") == expected


def test_a_label_image_of_another_size(trial):
    trial.array("labels/nuclei/0", lambda content: content["shape"].__setitem__(4, 23))
    where = trial.where("multiscales[0].datasets[0].path")
    assert trial.found() == [("warning", "label-shape", trial.file("labels/nuclei"), where)]


def test_a_label_image_that_is_not_of_integers(trial):
    key, value = ("dtype", "<f4") if trial.version == "0.4" else ("data_type", "float32")
    for level in "012":
        trial.array(f"labels/nuclei/{level}", lambda content: content.update({key: value}))
    level = "warning" if trial.version == "0.4" else "error"
    assert [(a, b) for a, b, _, _ in trial.found()] == [(level, "label-dtype")] * 3


def test_label_images_of_fewer_axes_are_right(tmp_path, version):
    # As most tools write them: without the channel axis.
    with ps.open_ome_zarr(
        tmp_path / "s.zarr", layout="fov", mode="w-", channel_names=["a", "b"], version=version
    ) as image:
        image.create_zeros("0", (1, 2, 3, 8, 8), "uint8")
        image.create_label("cells", np.ones((1, 1, 3, 8, 8), "uint8"))
    trial = Trial(tmp_path / "s.zarr", version)

    def without_channels(parts):
        parts["multiscales"][0]["axes"].pop(1)
        for dataset in parts["multiscales"][0]["datasets"]:
            for step in dataset["coordinateTransformations"]:
                step[step["type"]].pop(1)

    def drop(content):
        content["shape"].pop(1)
        chunks_of(content).pop(1)
        if "dimension_names" in content:
            content["dimension_names"].pop(1)

    trial.group("labels/cells", without_channels)
    trial.array("labels/cells/0", drop)
    assert trial.found() == []


def test_a_group_on_the_way_to_a_label_image_has_no_metadata(trial):
    labels = trial.path / "labels"
    shutil.move(labels / "nuclei", labels / "inner")
    shutil.copytree(labels / "inner", labels / "deep/nuclei")
    shutil.rmtree(labels / "inner")
    trial.group("labels", lambda parts: parts.update(labels=["deep/nuclei"]))
    assert trial.found() == []
    for file in (labels / "deep/nuclei").iterdir():
        if file.is_file():
            shutil.copy(file, labels / "deep")
    level = "warning" if trial.version == "0.4" else "error"
    assert trial.found() == [(level, "label-between", trial.file("labels/deep"), "")]


# --- documents of arrays --------------------------------------------------------------------------


def codes(zarr_format, content):
    _, findings = array_facts(Node("a", "array", zarr_format, "a/doc", content=content))
    return [(f.code, f.location) for f in findings]


V3 = {
    "zarr_format": 3,
    "node_type": "array",
    "shape": [4, 4],
    "data_type": "uint8",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 2]}},
    "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
    "fill_value": 0,
    "codecs": [{"name": "bytes"}],
}
V2 = {
    "zarr_format": 2,
    "shape": [4, 4],
    "chunks": [2, 2],
    "dtype": "|u1",
    "compressor": None,
    "fill_value": 0,
    "order": "C",
    "filters": None,
    "dimension_separator": "/",
}
ENCODING = "chunk_key_encoding.configuration"
UNDERSCORES = {"name": "v2", "configuration": {"separator": "_"}}
SHARDS = {"name": "sharding_indexed", "configuration": {"chunk_shape": [3, 2], "codecs": []}}


@pytest.mark.parametrize("key", [k for k in V3 if k not in ("zarr_format", "node_type")])
def test_keys_that_v3_needs(key):
    assert codes(3, V3) == []
    assert codes(3, {k: v for k, v in V3.items() if k != key}) == [("array-document", key)]


@pytest.mark.parametrize("key", [k for k in V2 if k not in ("zarr_format", "dimension_separator")])
def test_keys_that_v2_needs(key):
    assert codes(2, V2) == []
    assert codes(2, {k: v for k, v in V2.items() if k != key}) == [("array-document", key)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"shape": [4, -1]}, ("array-document", "shape")),
        ({"shape": [4, 2**63]}, ("array-document", "shape")),
        ({"shape": [4, 10**5000]}, ("array-document", "shape")),
        ({"shape": [4, True]}, ("array-document", "shape")),
        ({"shape": "44"}, ("array-document", "shape")),
        ({"shape": [4, 4, 4]}, ("array-document", "chunk_grid")),
        ({"data_type": 7}, ("array-document", "data_type")),
        ({"chunk_grid": []}, ("array-document", "chunk_grid")),
        ({"chunk_grid": {"name": "rectilinear"}}, ("array-extension", "chunk_grid.name")),
        ({"codecs": []}, ("array-document", "codecs")),
        ({"codecs": [7]}, ("array-document", "codecs[0]")),
        ({"codecs": [SHARDS]}, ("array-document", "codecs[0].configuration.chunk_shape")),
        ({"dimension_names": ["y"]}, ("array-document", "dimension_names")),
        ({"chunk_key_encoding": UNDERSCORES}, ("array-document", f"{ENCODING}.separator")),
    ],
)
def test_documents_of_v3_that_are_wrong(change, expected):
    assert codes(3, {**V3, **change}) == [expected]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"chunks": [0, 2]}, ("array-document", "chunks")),
        ({"chunks": [2]}, ("array-document", "chunks")),
        ({"chunks": [2**40, 2]}, ("chunk-size", "chunks")),
        ({"dtype": 7}, ("array-document", "dtype")),
        ({"order": "A"}, ("array-document", "order")),
        ({"dimension_separator": "_"}, ("array-document", "dimension_separator")),
        ({"compressor": "blosc"}, ("array-document", "compressor")),
        ({"filters": [{"name": "delta"}]}, ("array-document", "filters")),
    ],
)
def test_documents_of_v2_that_are_wrong(change, expected):
    assert codes(2, {**V2, **change}) == [expected]


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "float32", "complex64"])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_documents_that_zarr_writes_are_right(dtype, zarr_format):
    array = zarr.create_array({}, shape=(6, 4), chunks=(3, 2), dtype=dtype, zarr_format=zarr_format)
    content = array.metadata.to_dict()
    content.pop("attributes", None)
    if zarr_format == 2:
        content.update(dtype=np.dtype(dtype).str, compressor=None, shape=[6, 4], chunks=[3, 2])
    else:
        codecs = [{"name": "bytes", "configuration": {"endian": "little"}}]
        content = {**V3, "data_type": content["data_type"], "shape": [6, 4], "codecs": codecs}
    facts, findings = array_facts(Node("a", "array", zarr_format, "a/doc", content=content))
    assert (facts.dtype, facts.shape, findings) == (dtype, (6, 4), [])


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=examples(60), deadline=None)
@given(
    content=anything,
    key=st.sampled_from(sorted({*V2, *V3})),
    value=anything,
    zarr_format=st.sampled_from([2, 3]),
)
def test_no_document_is_too_strange(content, key, value, zarr_format):
    codes(zarr_format, content)
    codes(zarr_format, {**(V2 if zarr_format == 2 else V3), key: value})
    usable_scale(value, 2)
