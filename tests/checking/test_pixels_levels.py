"""The deep audit: every chunk decoded, and the levels held against level 0."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from checking.pixel_cases import (
    LAYOUTS,
    SHAPE,
    audit,
    audit_one,
    chunk_files,
    document,
    forget_recipe,
    make_image,
    noise,
    storage,
    told,
    zarr_format,
)
from conftest import examples
from platestore.checking.pixels.image import audit_image

METHODS = ("mean", "median", "mode", "min", "max", "stride", "gaussian")


def change(path: Path, level: str, region, value) -> None:
    """Change the pixels of one level alone."""
    array = zarr.open_array(path / level, mode="r+")
    array[region] = value


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_stale_region_is_found_by_its_chunks(tmp_path, layout):
    path = make_image(tmp_path / "a.zarr", layout)
    change(path, "0", (0, 0, 7, 39, 43), 60000)
    found = audit(path)
    assert told(found) == [("error", "level-stale", "1"), ("error", "level-stale", "2")]
    # Level 1 has 4 x 20 x 22 pixels in chunks of 4 x 16 x 16, level 2 has 2 x 10 x 11.
    assert "chunk (0, 0, 0, 1, 1) of 4" in found.findings[0].message
    assert "chunk (0, 0, 0, 0, 0) of 1" in found.findings[1].message


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "bool"])
def test_every_method_is_known(tmp_path, method, dtype):
    data = noise(dtype=dtype) if dtype != "bool" else noise() % 2 == 0
    path = make_image(tmp_path / "a.zarr", data=data, method=method)
    assert audit(path).findings == []
    level = zarr.open_array(path / "1", mode="r+")
    level[0, 0, 2, 7, 3] = level[0, 0, 2, 7, 3] == 0 if dtype == "bool" else level[0, 0, 2, 7, 3] + 2
    assert ("error", "level-stale", "1") in told(audit(path))


def test_floats_may_differ_by_their_rounding(tmp_path):
    path = make_image(tmp_path / "a.zarr", data=noise(dtype="float64") / 7)
    level = zarr.open_array(path / "1", mode="r+")
    level[...] = np.nextafter(level[...], np.inf)
    assert audit(path).findings == []
    level[0, 0, 0, 0, 0] *= 1.001
    assert told(audit(path)) == [("error", "level-stale", "1")]


def test_nan_is_equal_to_nan(tmp_path):
    data = noise(dtype="float32")
    data[..., :20, :20] = np.nan
    path = make_image(tmp_path / "a.zarr", data=data)
    assert audit(path).findings == []
    change(path, "1", (0, 0, 0, 0, 0), 1.0)
    assert ("error", "level-stale", "1") in told(audit(path))


@pytest.mark.parametrize("layout", ["0.4", "0.5", "0.5 shards"])
def test_lost_chunks_of_level_0_are_not_stale_levels(tmp_path, layout):
    path = make_image(tmp_path / "a.zarr", layout)
    chunk_files(path / "0")[0].unlink()
    found = audit(path)
    assert told(found) == [("warning", "chunk-missing", "0")]
    assert "chunk (0, 0, 0, 0, 0)" in found.findings[0].message
    assert found.missing["0"] == (8 if "shards" in layout else 1)


def test_lost_chunks_beside_stale_ones(tmp_path):
    """Both under the same chunk of a level."""
    path = make_image(tmp_path / "a.zarr")
    chunk_files(path / "0")[0].unlink()
    change(path, "0", (0, 0, 0, 30, 30), 60000)
    assert told(audit(path)) == [
        ("error", "level-stale", "1"),
        ("error", "level-stale", "2"),
        ("warning", "chunk-missing", "0"),
    ]


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_level_0_is_lost_altogether(tmp_path, version, deep, known):
    path = make_image(tmp_path / "a.zarr", version)
    if not known:
        forget_recipe(path)
    for file in chunk_files(path / "0"):
        file.unlink()
    assert told(audit(path, deep=deep)) == [("warning", "chunk-missing", "0")]


@pytest.mark.parametrize("known", [False, True])
def test_a_level_is_lost_altogether(tmp_path, version, known):
    path = make_image(tmp_path / "a.zarr", version)
    if not known:
        forget_recipe(path)
    for file in chunk_files(path / "1"):
        file.unlink()
    assert told(audit(path, deep=False)) == [("advice", "array-unwritten", "1")]
    assert told(audit(path)) == [("error" if known else "warning", "level-stale", "1")]


def test_a_shallow_audit_sees_lost_chunks_where_nothing_else_is(tmp_path, version):
    path = make_image(tmp_path / "a.zarr", version)
    for file in chunk_files(path / "0")[:12]:
        file.unlink()
    assert audit(path, deep=False).findings == []  # each chunk of the levels lies above others as well
    for file in chunk_files(path / "0"):
        file.unlink()
    assert told(audit(path, deep=False)) == [
        ("warning", "chunk-missing", "0"),
    ]


def test_chunks_of_the_fill_value_lose_nothing(tmp_path, version):
    """Other programs write chunks that hold nothing else."""
    path = make_image(tmp_path / "a.zarr", version, np.zeros(SHAPE, "uint16"))
    with zarr.config.set({"array.write_empty_chunks": True}):
        change(path, "1", ..., 0)
    for deep in (False, True):
        found = {(code, file) for _, code, file in told(audit(path, deep=deep))}
        assert found == {("array-unwritten", "0"), ("array-unwritten", "2")}


@pytest.mark.parametrize("layout", ["0.4", "0.5", "0.5 shards"])
def test_a_missing_chunk_of_a_level_is_stale(tmp_path, layout):
    path = make_image(tmp_path / "a.zarr", layout)
    chunk_files(path / "1")[0].unlink()
    found = audit(path)
    assert told(found) == [("error", "level-stale", "1")]
    assert found.missing["1"] == 4 if "shards" in layout else 1


def test_sparse_images_are_whole(tmp_path):
    data = noise()
    data[..., 10:, :] = 0
    for layout in LAYOUTS:
        path = make_image(tmp_path / f"{layout}.zarr", layout, data)
        for deep in (False, True):
            assert audit(path, deep=deep).findings == []


def test_damage_of_level_0_makes_no_level_stale(tmp_path):
    for layout in ("0.5 checksum", "0.5 shards checksum", "0.5 shards"):
        path = make_image(tmp_path / f"{layout}.zarr", layout)
        file = chunk_files(path / "0")[0]
        data = bytearray(file.read_bytes())
        data[20] ^= 255
        file.write_bytes(data)
        found = told(audit(path))
        if found != []:  # without a checksum it may decode to something else
            assert found == [("error", "chunk-damaged", "0/c/0/0/0/0/0")]
        file.write_bytes(data[:-3])
        assert {code for _, code, _ in told(audit(path))} & {"chunk-truncated", "shard-index"}
        assert len(told(audit(path))) == 1


def test_damage_of_a_level_is_told_with_its_chunks(tmp_path):
    path = make_image(tmp_path / "a.zarr", "0.5 shards checksum")
    file = chunk_files(path / "1")[0]
    data = bytearray(file.read_bytes())
    for start in (30, len(data) // 2):
        data[start : start + 4] = b"\0\1\2\3"
    file.write_bytes(data)
    found = audit(path)
    assert told(found) == [("error", "chunk-damaged", "1/c/0/0/0/0/0")]
    assert "chunks (0, 0, 0, 0, 0), (0, 0, 0, " in found.findings[0].message
    assert "checksum" in found.findings[0].message


# --- levels whose making is unknown ---------------------------------------------------------------


@pytest.mark.parametrize("layout", ["0.4", "0.5", "0.5 shards"])
def test_unknown_levels_are_left_alone(tmp_path, layout):
    path = make_image(tmp_path / "a.zarr", layout)
    forget_recipe(path)
    change(path, "1", (0, 0, 0, 0, 0), 60000)
    assert audit(path).findings == []


def test_unknown_levels_without_what_level_0_has(tmp_path, version):
    path = make_image(tmp_path / "a.zarr", version)
    forget_recipe(path)
    change(path, "1", (slice(None), slice(None), slice(None), slice(0, 16), slice(0, 16)), 0)
    assert told(audit(path)) == [("warning", "level-stale", "1")]
    assert "chunk (0, 0, 0, 0, 0)" in audit(path).findings[0].message


def test_unknown_levels_with_what_level_0_has_not(tmp_path, version):
    path = make_image(tmp_path / "a.zarr", version, noise((1, 1, 8, 40, 100)))
    forget_recipe(path)
    right = (slice(None),) * 4 + (slice(48, None),)
    with zarr.config.set({"array.write_empty_chunks": True}):
        change(path, "0", right, 0)
    found = told(audit(path))
    assert ("warning", "level-stale", "1") in found
    for file in [f for f in chunk_files(path / "0") if int(f.name) >= 3]:
        file.unlink()
    found = told(audit(path))
    assert ("warning", "chunk-missing", "0") in found
    assert ("warning", "level-stale", "1") not in found


def test_recipes_that_do_not_fit_are_unknown(tmp_path):
    path = make_image(tmp_path / "a.zarr")
    change(path, "1", (0, 0, 0, 0, 0), 60000)
    image = document(path)[2]
    kwargs = image["metadata"]["kwargs"]
    bad = [
        {**kwargs, "method": "magic"},
        {**kwargs, "method": []},
        {**kwargs, "factors": None},
        {**kwargs, "factors": kwargs["factors"][:1]},
        {**kwargs, "factors": [[1, 1, 2, 2, 0], [1, 1, 2, 2, 2]]},
        {**kwargs, "factors": [[1, 1, 2, 2], [1, 1, 2, 2, 2]]},
        {**kwargs, "factors": [[1, 1, 3, 3, 3], [1, 1, 2, 2, 2]]},
        "none",
    ]
    assert told(audit(path)) == [("error", "level-stale", "1")]
    for wrong in bad:
        image["metadata"]["kwargs"] = wrong
        assert told(audit(path, image=image)) == []
    for metadata in (None, [], {"method": "other"}):
        image["metadata"] = metadata
        assert told(audit(path, image=image)) == []


def test_levels_of_several_types_are_not_compared(tmp_path):
    path = make_image(tmp_path / "a.zarr")
    other = make_image(tmp_path / "b.zarr", data=noise(dtype="uint8"))
    for file in sorted((other / "1").rglob("*")):
        if file.is_file():
            (path / "1" / file.relative_to(other / "1")).write_bytes(file.read_bytes())
    assert audit(path).findings == []


def test_levels_that_wait_are_not_judged(tmp_path, version):
    path = make_image(tmp_path / "a.zarr", version, levels=None)
    with ps.open_ome_zarr(path, mode="r+") as position:
        position.initialize_pyramid(3)
    for deep in (False, True):
        found = audit(path, deep=deep)
        assert found.findings == []
        assert found.missing["1"] == 4


@pytest.mark.parametrize(
    ("shape", "is_odd"),
    [
        ((1, 1, 4, 20, 22), False),
        ((1, 1, 8, 13, 15), False),
        ((1, 1, 8, 17, 22), True),
        ((1, 1, 8, 30, 44), True),
    ],
)
def test_shapes_that_no_factor_explains(tmp_path, shape, is_odd):
    path = make_image(tmp_path / "a.zarr", levels=2)
    content = json.loads((path / "1" / "zarr.json").read_text())
    content["shape"] = list(shape)
    (path / "1" / "zarr.json").write_text(json.dumps(content))
    for deep in (False, True):
        codes = [(level, code) for level, code, _ in told(audit(path, deep=deep))]
        assert (("warning", "level-shape") in codes) == is_odd


# --- what chunks may be ---------------------------------------------------------------------------

ARRAYS = {
    "filters": {"zarr_format": 2, "filters": numcodecs.Delta("<u2"), "dtype": "<u2"},
    "column order": {"zarr_format": 2, "order": "F", "dtype": "<u2"},
    "big-endian": {"zarr_format": 2, "dtype": ">u2"},
    "lzma": {"zarr_format": 2, "dtype": "<u2", "compressors": numcodecs.LZMA()},
    "transposed": {
        "zarr_format": 3,
        "dtype": "uint16",
        "filters": [zarr.codecs.TransposeCodec(order=(1, 0))],
    },
    "big-endian v3": {
        "zarr_format": 3,
        "dtype": "uint16",
        "serializer": zarr.codecs.BytesCodec(endian="big"),
    },
    "complex": {"zarr_format": 3, "dtype": "complex64"},
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_that_zarr_must_decode(tmp_path, kind):
    array = zarr.create_array(tmp_path / "a", shape=(20, 30), chunks=(10, 10), **ARRAYS[kind])
    array[...] = 1 + np.arange(600).reshape(20, 30)
    found = audit_one(tmp_path / "a")
    assert (found.findings, found.files, found.missing) == ([], 6, 0)
    assert found.nbytes_decoded == 600 * array.dtype.itemsize
    files = chunk_files(tmp_path / "a")
    files[0].write_bytes(files[0].read_bytes()[:-5])
    files[1].write_bytes(b"")
    files[2].unlink()
    found = audit_one(tmp_path / "a")
    assert [(f.code, f.file) for f in sorted(found.findings, key=lambda f: f.file)] == [
        ("chunk-damaged", files[0].relative_to(tmp_path).as_posix()),
        ("chunk-empty", files[1].relative_to(tmp_path).as_posix()),
    ]
    assert found.missing == 1


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_structured_elements(tmp_path, zarr_format):
    dtype = np.dtype([("a", "<u2"), ("b", "<f4")])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr warns of types that are not in the specification yet
        array = zarr.create_array(
            tmp_path / "a", shape=(4,), chunks=(2,), dtype=dtype, zarr_format=zarr_format
        )
        array[...] = np.array([(k, k / 2) for k in range(1, 5)], dtype)
    found = audit_one(tmp_path / "a")
    assert (found.findings, found.files, found.nbytes_decoded) == ([], 2, 24)
    file = chunk_files(tmp_path / "a")[1]
    file.write_bytes(b"xyz")
    assert told(audit_one(tmp_path / "a")) == [
        ("error", "chunk-damaged", file.relative_to(tmp_path).as_posix())
    ]


def test_codecs_that_nobody_knows(tmp_path):
    path = make_image(tmp_path / "a.zarr", levels=None)
    file = path / "0" / "zarr.json"
    content = json.loads(file.read_text())
    content["codecs"][1] = {"name": "of tomorrow", "configuration": {}}
    file.write_text(json.dumps(content))
    assert told(audit(path)) == [("warning", "codec-unknown", "0")]


def test_arrays_without_pixels(tmp_path, version):
    path = make_image(tmp_path / "a.zarr", version)
    for name in ("0", "1"):
        file = path / name / ("zarr.json" if version == "0.5" else ".zarray")
        content = json.loads(file.read_text())
        content["shape"][2] = 0
        file.write_text(json.dumps(content))
        for deep in (False, True):
            codes = {code for _, code, _ in told(audit(path, deep=deep))}
            assert "chunk-outside" in codes


def test_a_pyramid_of_transposed_chunks(tmp_path):
    """Levels that platestore made for an array whose codecs are left to zarr."""
    path = make_image(tmp_path / "a.zarr", levels=None)
    content = json.loads((path / "0" / "zarr.json").read_text())
    for file in chunk_files(path / "0"):
        file.unlink()
    content["codecs"].insert(0, {"name": "transpose", "configuration": {"order": [0, 1, 2, 4, 3]}})
    (path / "0" / "zarr.json").write_text(json.dumps(content))
    with ps.open_ome_zarr(path, mode="r+") as position:
        position["0"][...] = noise()
        position.compute_pyramid(3)
    assert audit(path).findings == []
    change(path, "0", (0, 0, 0, 0, 0), 60000)
    chunk_files(path / "2")[0].write_bytes(b"torn")
    assert told(audit(path)) == [("error", "chunk-damaged", "2/c/0/0/0/0/0"), ("error", "level-stale", "1")]


def test_padding_is_nobodys_business(tmp_path):
    """What lies in an edge chunk beyond the array differs between writers."""
    path = make_image(tmp_path / "a.zarr", "0.5 raw checksum")
    level = zarr.open_array(path / "1")
    content = json.loads((path / "1" / "zarr.json").read_text())
    content["shape"] = [1, 1, 4, 32, 32]
    (path / "1" / "zarr.json").write_text(json.dumps(content))
    values = level[...]
    grown = zarr.open_array(path / "1", mode="r+")
    grown[...] = 77
    grown[:, :, :, :20, :22] = values
    content["shape"] = list(values.shape)
    (path / "1" / "zarr.json").write_text(json.dumps(content))
    assert audit(path).findings == []


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 40), st.integers(1, 40)),
    chunks=st.tuples(st.just(1), st.integers(1, 3), st.integers(3, 40), st.integers(3, 40)),
    factors=st.lists(
        st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)),
        min_size=1,
        max_size=3,
    ),
    method=st.sampled_from(METHODS),
    seed=st.integers(0, 99),
    ratio=st.sampled_from([None, (1, 1, 1, 2, 2), (1, 1, 2, 3, 1)]),
)
@settings(max_examples=examples(25), deadline=None)
def test_any_change_of_a_level_is_found(tmp_path_factory, shape, chunks, factors, method, seed, ratio):
    """Sizes, chunks, shards and factors of any kind: whole as made, and no changed pixel goes unseen."""
    path = tmp_path_factory.mktemp("any") / "a.zarr"
    data = noise((1, *shape), seed=seed) * 500
    with ps.open_ome_zarr(
        path, layout="fov", mode="w-", channel_names=[str(c) for c in range(shape[0])], version="0.5"
    ) as position:
        position.create_image("0", data, chunks=(1, *chunks), shards_ratio=ratio)
        position.compute_pyramid(len(factors) + 1, method, factors=[(1, *step) for step in factors])
    assert audit(path).findings == []
    rng = np.random.default_rng(seed)
    name = str(rng.integers(1, len(factors) + 1))
    level = zarr.open_array(path / name, mode="r+")
    place = tuple(int(rng.integers(0, n)) for n in level.shape)
    level[place] = (int(level[place]) + 1000) % 2**16
    found = {(f.code, f.file) for f in audit(path, workers=int(rng.integers(1, 4))).findings}
    assert ("level-stale", name) in found


def test_small_budgets_take_longer_only(tmp_path):
    path = make_image(tmp_path / "a.zarr", "0.5 shards")
    with ps.config.using(max_memory=1):
        assert audit(path).findings == []
    change(path, "1", (0, 0, 0, 0, 0), 60000)
    with ps.config.using(max_memory=1, threads=1):
        assert told(audit(path)) == [("error", "level-stale", "1")]


def test_a_store_that_changes_meanwhile(tmp_path, monkeypatch):
    """Files that vanish between the listing and the decoding are not errors."""
    from platestore.checking.pixels import survey as surveys

    path = make_image(tmp_path / "a.zarr", levels=None)
    listed = surveys.survey

    def survey_then_remove(*args):
        found = listed(*args)
        for file in chunk_files(path / "0")[:2]:
            file.unlink()
        return found

    monkeypatch.setattr(surveys, "survey", survey_then_remove)
    assert audit(path).findings == []


def test_missing_chunks_are_no_damage_where_reading_refuses_them(tmp_path):
    data = noise()
    data[..., :16] = 0
    path = make_image(tmp_path / "a.zarr", data=data)
    strict = storage(path, missing="raise")
    found = audit_image(strict, "", document(path)[2], zarr_format(path), deep=True)
    assert found.findings == []
    assert found.missing["0"] == math.prod((2, 3, 1))


def test_labels_are_images(tmp_path):
    path = make_image(tmp_path / "a.zarr")
    with ps.open_ome_zarr(path, mode="r+") as position:
        position.create_label("cells", noise() // 20)
    found = audit_image(
        storage(path),
        "labels/cells",
        document(path / "labels" / "cells")[2],
        3,
        deep=True,
    )
    assert found.findings == []
    assert found.files
    change(path / "labels" / "cells", "1", (0, 0, 0, 0, 0), 60000)
    found = audit_image(storage(path), "labels/cells", document(path / "labels" / "cells")[2], 3, deep=True)
    assert told(found) == [("error", "level-stale", "labels/cells/1")]
