"""Plans: files, memory and rewriting, as they then turn out to be."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import examples
from platestore.arrays.layout import layout_of, plan, write_units
from platestore.arrays.planning import LayoutPlan, explain, frame_layout_hint, human_bytes, plan_for
from platestore.storage.base import StorageOptions
from platestore.storage.hierarchy import array_files, create_node
from platestore.storage.local import LocalStorage

TCZYX = ["T", "C", "Z", "Y", "X"]
SHAPE = (2, 3, 8, 64, 64)


def planned(shape=SHAPE, dtype="uint16", zarr_format=3, axis_names=None, **wishes) -> LayoutPlan:
    return plan_for(shape=shape, dtype=dtype, zarr_format=zarr_format, axis_names=axis_names, **wishes)


def writes(plan):
    return {cost.name: cost for cost in plan.writes}


# --- figures --------------------------------------------------------------------------------------


def test_a_plan_counts_chunks_files_and_bytes():
    found = planned(chunks=(1, 1, 3, 64, 40))
    assert (found.chunk_count, found.shard_count, found.files) == (6 * 3 * 2, None, 36)
    assert found.chunk_nbytes == found.file_nbytes == 3 * 64 * 40 * 2
    assert found.total_nbytes == math.prod(SHAPE) * 2
    assert found.memory_per_writer == 2 * found.chunk_nbytes
    assert (found.dtype, found.axes, found.compressor) == ("uint16", tuple("TCZYX"), "blosc-lz4:5")
    assert (found.zarr_format, found.checksum, found.shards) == (3, False, None)


def test_a_plan_counts_shards():
    found = planned(chunks=(1, 1, 1, 32, 32), shards="ZYX", compressor="zstd", checksum=True)
    assert (found.chunk_count, found.shard_count, found.files) == (6 * 8 * 4, 6, 6)
    assert found.file_nbytes == 8 * 64 * 64 * 2
    assert found.memory_per_writer == 2 * found.file_nbytes
    assert (found.compressor, found.checksum) == ("zstd:3", True)


def test_a_shard_beyond_the_array_is_as_large_as_its_chunks_inside():
    found = planned((10, 10), chunks=(4, 4), shards_ratio=(9, 9))
    assert (found.files, found.shards) == (1, (36, 36))
    assert found.file_nbytes == 12 * 12 * 2


@settings(
    deadline=None, max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), shape=st.lists(st.integers(1, 6), min_size=2, max_size=5))
def test_what_is_planned_is_what_comes_to_be(tmp_path_factory, data, shape):
    chunks = [data.draw(st.integers(1, n)) for n in shape]
    zarr_format = data.draw(st.sampled_from([2, 3]))
    ratio = None
    if zarr_format == 3 and data.draw(st.booleans()):
        ratio = [data.draw(st.integers(1, 3)) for _ in shape]
    layout = plan(
        shape, "uint16", zarr_format=zarr_format, chunks=chunks, shards_ratio=ratio, compressor="none"
    )
    found = explain(layout, None, zarr_format)
    directory = tmp_path_factory.mktemp("p")
    storage = LocalStorage(str(directory), StorageOptions(read_only=False))
    document = layout.document(zarr_format, TCZYX[-len(shape) :])
    create_node(storage, "0", array_files(zarr_format, document, where=""))
    array = zarr.open_array(str(directory / "0"), mode="r+", zarr_format=zarr_format)
    array[...] = np.ones(shape, "uint16")
    files = [f for f in (directory / "0").rglob("*") if f.is_file() and not f.name.startswith((".z", "zarr"))]
    assert len(files) == found.files
    index = 0 if layout.shards is None else 16 * math.prod(ratio) + 4
    assert max(f.stat().st_size for f in files) == found.file_nbytes + index
    assert sum(1 for _ in write_units(layout.shape, layout.units)) == found.files
    # Every typical write, counted by brute force.
    units = list(write_units(layout.shape, layout.units))
    for cost in found.writes:
        mask = np.zeros(shape, bool)
        mask[tuple(slice(0, n) for n in cost.shape)] = True
        parts = [mask[unit] for unit in units]
        assert cost.files == sum(part.any() for part in parts)
        partly = sum(part.any() and not part.all() for part in parts)
        assert cost.rewritten == partly * layout.unit_nbytes
        assert cost.whole == (partly == 0)
        assert cost.nbytes == mask.sum() * 2


# --- writes ---------------------------------------------------------------------------------------


def test_typical_writes_are_those_of_the_axes():
    assert list(writes(planned())) == ["frame", "stack", "channel", "time point", "chunk"]
    assert list(writes(planned(shards="ZYX"))) == ["frame", "stack", "channel", "time point", "shard"]
    named = planned((4, 6, 5), axis_names=["c", "y", "x"])
    assert {name: cost.shape for name, cost in writes(named).items()} == {
        "frame": (1, 6, 5),
        "channel": (1, 6, 5),
        "chunk": (1, 6, 5),
    }
    assert writes(planned())["channel"].shape == (2, 1, 8, 64, 64)
    assert writes(planned())["time point"].shape == (1, 3, 8, 64, 64)


def test_frames_into_stacks_are_rewriting_and_the_advice_names_the_layout():
    found = planned()
    frame, stack = writes(found)["frame"], writes(found)["stack"]
    assert (frame.whole, frame.files, frame.rewritten) == (False, 1, 8 * 64 * 64 * 2)
    assert (stack.whole, stack.files, stack.rewritten) == (True, 1, 0)
    assert any("chunks=(1, 1, 1, 64, 64)" in text for text in found.advice)
    better = planned(chunks=(1, 1, 1, 64, 64))
    assert writes(better)["frame"].whole
    assert better.advice == ()


def test_frames_into_shards_are_rewriting_and_the_advice_names_what_to_write():
    found = planned(chunks=(1, 1, 1, 64, 64), shards="ZYX")
    assert not writes(found)["frame"].whole
    assert writes(found)["shard"].whole
    assert any("1×1×8×64×64" in text and "shards out" in text for text in found.advice)


def test_many_files_large_units_and_overhang_are_pointed_out():
    many = planned((1000, 4, 64, 2048, 2048), chunks=(1, 1, 1, 1024, 1024))
    assert any("1,024,000 files" in text and 'shards="1GB"' in text for text in many.advice)
    old = planned((1000, 4, 64, 2048, 2048), zarr_format=2, chunks=(1, 1, 1, 1024, 1024))
    assert any("version 0.5" in text for text in old.advice)
    tiny = planned((10, 4, 64, 2048, 2048), chunks=(1, 1, 1, 64, 64))
    assert any("8.0 KiB" in text for text in tiny.advice)
    large = planned((1, 1, 1000, 2048, 2048), shards="ZYX")
    assert any('shards="500MB"' in text for text in large.advice)
    assert not any("memory" in t for t in planned((1, 1, 1000, 2048, 2048), shards="500MB").advice)
    loose = planned((1, 1, 1, 1025, 1025), chunks=(1, 1, 1, 1024, 1024))
    assert any("chunks=(1, 1, 1, 513, 513)" in text for text in loose.advice)


@settings(deadline=None, max_examples=examples(100))
@given(data=st.data(), shape=st.lists(st.integers(1, 3000), min_size=2, max_size=5))
def test_advised_chunks_do_better(data, shape):
    chunks = [data.draw(st.integers(1, min(n, 40))) for n in shape]
    found = planned(shape, "uint8", chunks=chunks)
    for text in found.advice:
        if "frames rewrite" in text:
            wanted = tuple(json.loads(text.split("chunks=")[1].split(")")[0].replace("(", "[") + "]"))
            assert writes(planned(shape, "uint8", chunks=wanted))["frame"].whole


# --- hints ----------------------------------------------------------------------------------------


def region(*parts):
    return tuple(slice(*part) if isinstance(part, tuple) else part for part in parts)


FRAME = region((1, 2), (0, 1), (5, 6), (0, 2048), (0, 2048))


def test_the_hint_for_a_frame_names_chunks_of_one_frame():
    layout = plan((3, 2, 64, 2048, 2048), "uint16", zarr_format=3, chunks=(1, 1, 64, 2048, 2048))
    assert "chunks=(1, 1, 1, 2048, 2048)" in frame_layout_hint(layout, FRAME)
    assert "shards" not in frame_layout_hint(layout, FRAME)


def test_the_hint_keeps_chunks_that_fit():
    layout = plan((3, 2, 64, 2048, 2048), "uint16", zarr_format=3, chunks=(1, 1, 64, 512, 512))
    assert "chunks=(1, 1, 1, 512, 512)" in frame_layout_hint(layout, FRAME)
    free = region((1, 2), (0, 1), (5, 6), (None, None), (None, None))
    assert frame_layout_hint(layout, free) == frame_layout_hint(layout, FRAME)
    slab = region((0, 1), (0, 1), (4, 8), (0, 2048), (0, 2048))
    assert "chunks=(1, 1, 4, 512, 512)" in frame_layout_hint(layout, slab)


def test_the_hint_for_a_shard_says_without_shards_or_whole_ones():
    layout = plan((3, 2, 64, 2048, 2048), "uint16", zarr_format=3, shards="ZYX")
    hint = frame_layout_hint(layout, FRAME)
    assert "chunks=(1, 1, 1, 1024, 1024) and without shards" in hint
    assert "whole shards" in hint


def test_advice_and_hint_name_no_chunk_that_would_be_refused():
    found = planned((1, 1, 9, 2**16, 2**16), chunks=(1, 1, 3, 4096, 4096))
    assert any("chunks=(1, 1, 1, 4096, 4096)" in text for text in found.advice)
    layout = plan((8000, 2048, 2048), "u2", zarr_format=3, chunks=(10, 2048, 2048))
    slab = region((0, 1001), (0, 2048), (0, 2048))
    assert "chunks=" not in frame_layout_hint(layout, slab)


@pytest.mark.parametrize(
    "written",
    [
        region((0, 1), (0, 1), (0, 1), (37, 137), (5, 105)),
        region((0, 1), (0, 1), (0, 1), (7, 8), (7, 8)),
        region((0, 1), (0, 1), (3, 5), (0, 2048), (0, 2048)),
        None,
    ],
)
def test_where_no_chunks_would_help_the_hint_is_to_write_whole_units(written):
    layout = plan((3, 2, 64, 2048, 2048), "uint16", zarr_format=3, chunks=(1, 1, 64, 2048, 2048))
    hint = frame_layout_hint(layout, written)
    assert "chunks=" not in hint
    assert "write_units()" in hint
    assert "(1, 1, 64, 2048, 2048)" in hint


# --- plans of existing arrays ---------------------------------------------------------------------


def test_the_plan_of_an_existing_array_is_that_of_its_document():
    layout = plan(SHAPE, "uint16", zarr_format=3, shards="ZYX", compressor="gzip", checksum=True)
    existing = layout_of(layout.document(3, TCZYX), 3)
    assert plan_for(existing, zarr_format=3, axis_names=TCZYX) == explain(layout, TCZYX, 3)


def test_wishes_plan_a_new_array_of_its_shape_and_type():
    existing = layout_of(plan(SHAPE, ">f4", zarr_format=2, compressor="gzip").document(2, TCZYX), 2)
    assert plan_for(existing, zarr_format=2, compressor="none").compressor == "none"
    assert plan_for(existing, zarr_format=2, chunks=(1, 1, 1, 8, 8)) == planned(
        SHAPE, "float32", 2, chunks=(1, 1, 1, 8, 8)
    )
    # The other version is a wish too.
    assert plan_for(existing, zarr_format=3) == planned(SHAPE, "float32", 3)
    assert plan_for(existing, zarr_format=2).compressor == "gzip:6"


def test_foreign_codecs_are_named_in_words():
    document = plan(SHAPE, "uint16", zarr_format=2).document(2, TCZYX)
    document["compressor"] = {"id": "zlib", "level": 7}
    assert plan_for(layout_of(document, 2), zarr_format=2).compressor == "zlib level 7"


def test_an_array_and_a_shape_or_neither_is_an_error():
    existing = plan(SHAPE, "uint16", zarr_format=3)
    for wish in ({}, {"shape": SHAPE}, {"dtype": "u1"}):
        with pytest.raises(ps.ArgumentError, match="an existing array, or a shape and a dtype"):
            plan_for(zarr_format=3, **wish)
    for wish in ({"shape": SHAPE}, {"dtype": "u1"}, {"shape": SHAPE, "dtype": "u1"}):
        with pytest.raises(ps.ArgumentError, match="an existing array, or a shape and a dtype"):
            plan_for(existing, zarr_format=3, **wish)


def test_wrong_wishes_are_the_errors_of_creation():
    with pytest.raises(ps.ArgumentError, match="has no shards"):
        planned(zarr_format=2, shards="ZYX")
    with pytest.raises(ps.ArgumentError, match="unknown"):
        planned(compressor="lzo")


# --- text and JSON --------------------------------------------------------------------------------


def test_the_text_has_the_figures_in_units():
    text = planned((1, 2, 64, 2048, 2048), shards="1GB", checksum=True).render()
    assert str(planned((1, 2, 64, 2048, 2048), shards="1GB", checksum=True)) == text
    for part in (
        "1×2×64×2048×2048 (T, C, Z, Y, X), uint16, 1.0 GiB, zarr v3",
        "512 of 1×1×1×1024×1024, 2.0 MiB each",
        "2 of 1×1×64×2048×2048",
        "512.0 MiB before compression",
        "blosc-lz4:5, each chunk with a crc32c",
        "1.0 GiB per writer (a shard, decoded and encoded)",
        "one frame (8.0 MiB)",
        "of which 512.0 MiB are read and rewritten",
        "whole shards",
        "advice",
    ):
        assert part in text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_json_has_every_attribute_and_is_strict():
    found = planned(shards="ZYX")
    data = found.to_json()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["shape"] == list(SHAPE)
    assert data["writes"][0] == {
        "name": "frame",
        "shape": [1, 1, 1, 64, 64],
        "nbytes": 8192,
        "whole": False,
        "files": 1,
        "rewritten": 65536,
    }
    assert set(data) == set(LayoutPlan.__slots__)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (2**40, "1.0 TiB"), (2**62, "4096.0 PiB")],
)
def test_bytes_for_people(count, text):
    assert human_bytes(count) == text


def test_an_array_without_elements_can_be_described():
    document = plan((2, 2), "uint8", zarr_format=2).document(2, ["y", "x"])
    document["shape"] = [0, 2]
    found = plan_for(layout_of(document, 2), zarr_format=2)
    assert (found.files, found.total_nbytes) == (0, 0)
    found.render()
