"""Pyramids from end to end: every level against a reference worked out window by window."""

from __future__ import annotations

import itertools
import os
import tempfile
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorstore
from hypothesis import example, given, settings
from hypothesis import strategies as st
from zarr.codecs import BytesCodec, Crc32cCodec, TransposeCodec, ZstdCodec
from zarr.storage import MemoryStore

import platestore as ps
from conftest import examples
from platestore.arrays.chunkcodec import ChunkCodec
from platestore.storage.objects import FileAppender, LocalObjects
from pyramid.pyramid_store import (
    DTYPES,
    METHODS,
    PLENTY,
    blobs,
    cascade,
    foreign_image,
    hidden,
    image_of,
    least_memory,
    noise,
    quick_cascade,
    stored,
)


def assert_levels(path: Path, expected: list[np.ndarray]) -> None:
    """The levels on disk, as zarr reads them, are these to the bit."""
    found = stored(path)
    assert len(found) == len(expected) + 1
    for got, level in zip(list(found.values())[1:], expected, strict=True):
        assert got.dtype == level.dtype
        np.testing.assert_array_equal(got, level)


# --- every method and type ------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [*DTYPES, "int8", "int32", "uint64", "float16"])
def test_every_method_fits_every_type(dtype, method, version, tmp_path):
    data = noise(dtype, (2, 5, 9, 13), seed=1)
    steps = [(1, 2, 2, 2), (1, 2, 3, 2)]
    position = image_of(tmp_path / "i.zarr", version, data, "CZYX", chunks=(1, 2, 4, 5))
    position.compute_pyramid(3, method, factors=steps)
    assert_levels(tmp_path / "i.zarr", cascade(data, steps, method))


@pytest.mark.parametrize("method", METHODS)
def test_nan_and_infinities_go_up(method, version, tmp_path):
    data = noise("float32", (1, 7, 7))
    data[0, 2, 3], data[0, 6, 6], data[0, 0, 0] = np.nan, np.inf, -np.inf
    steps = [(1, 2, 2), (1, 2, 2)]
    position = image_of(tmp_path / "i.zarr", version, data, chunks=(1, 4, 4))
    position.compute_pyramid(3, method)
    assert_levels(tmp_path / "i.zarr", cascade(data, steps, method))


@pytest.mark.parametrize("dtype", ["uint64", "int64"])
def test_means_of_the_largest_integers_do_not_overflow(dtype, version, tmp_path):
    limits = np.iinfo(dtype)
    data = np.full((1, 6, 7), limits.max, dtype)
    data[0, ::2, ::3] -= np.array(1, dtype)
    data[0, :2, :2] = limits.min
    position = image_of(tmp_path / "i.zarr", version, data)
    position.compute_pyramid(3)
    assert_levels(tmp_path / "i.zarr", cascade(data, [(1, 2, 2), (1, 2, 2)], "mean"))


def test_integer_means_round_half_to_even_at_every_level(version, tmp_path):
    data = np.zeros((1, 8, 8), "uint8")
    data[0, ::2, ::2] = np.arange(16).reshape(4, 4)  # means of n / 4
    position = image_of(tmp_path / "i.zarr", version, data)
    position.compute_pyramid(3)
    levels = stored(tmp_path / "i.zarr")
    for above, level in itertools.pairwise(levels.values()):
        exact = above.astype("f8").reshape(1, *[s for n in level.shape[1:] for s in (n, 2)]).mean((2, 4))
        np.testing.assert_array_equal(level, np.rint(exact))


# --- any shape, layout, budget and number of workers ----------------------------------------------

_recipes = st.fixed_dictionaries(
    {
        "version": st.sampled_from(["0.4", "0.5"]),
        "dtype": st.sampled_from(DTYPES),
        "method": st.sampled_from(METHODS),
        "shape": st.tuples(
            st.integers(1, 2), st.integers(1, 3), st.integers(1, 7), st.integers(1, 17), st.integers(1, 19)
        ),
        "chunks": st.tuples(
            st.integers(1, 2), st.integers(1, 2), st.integers(1, 5), st.integers(1, 9), st.integers(1, 21)
        ),
        "ratio": st.none() | st.tuples(*[st.integers(1, 3)] * 5),
        "steps": st.lists(
            st.tuples(st.just(1), st.integers(1, 2), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4)),
            min_size=1,
            max_size=3,
        ),
        "sparse": st.booleans(),
        "workers": st.integers(1, 3),
        "least": st.booleans(),
        "from_memory": st.booleans(),
    }
)


@settings(deadline=None, max_examples=examples(70))
@given(recipe=_recipes)
@example(
    recipe={
        "version": "0.4",
        "dtype": "float64",
        "method": "mean",
        "shape": (1, 1, 1, 2, 4),
        "chunks": (1, 1, 1, 1, 1),
        "ratio": None,
        "steps": [(1, 1, 1, 3, 1), (1, 1, 1, 1, 3)],
        "sparse": False,
        "workers": 1,
        "least": False,
        "from_memory": False,
    }
)
@example(
    recipe={
        "version": "0.5",
        "dtype": "uint16",
        "method": "mean",
        "shape": (1, 1, 7, 17, 19),
        "chunks": (1, 1, 1, 17, 19),
        "ratio": (1, 1, 3, 1, 1),
        "steps": [(1, 1, 2, 2, 2), (1, 1, 3, 2, 2), (1, 1, 2, 2, 2)],
        "sparse": False,
        "workers": 3,
        "least": True,
        "from_memory": False,
    }
)
def test_levels_are_the_cascade_of_level_0(recipe):
    """Whatever the shape, layout, factors, budget, number of workers: equal to the reference."""
    shape, version = recipe["shape"], recipe["version"]
    data = (blobs if recipe["sparse"] else noise)(recipe["dtype"], shape)
    chunks = tuple(min(c, n) for c, n in zip(recipe["chunks"], shape, strict=True))
    ratio = recipe["ratio"] if version == "0.5" else None
    steps = []
    current = shape
    for step in recipe["steps"]:  # a dimension that reached 1 stops
        steps.append(tuple(1 if n == 1 else f for n, f in zip(current, step, strict=True)))
        current = tuple(-(-n // f) for n, f in zip(current, step, strict=True))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "i.zarr")
        layout = {"chunks": chunks, "shards_ratio": ratio}
        if recipe["from_memory"]:
            position = image_of(Path(directory, "other.zarr"), version, data, **layout)
            new = ps.open_ome_zarr(
                path, layout="fov", mode="w-", channel_names=position.channel_names, version=version
            )
            new.create_image(
                "0",
                data,
                **layout,
                pyramid_levels=len(steps) + 1,
                pyramid_method=recipe["method"],
                pyramid_factors=recipe["steps"],
            )
        else:
            position = image_of(path, version, data, **layout)
            asked = {"factors": recipe["steps"], "workers": recipe["workers"]}
            count = len(steps) + 1
            budget = least_memory(position, count, recipe["method"], **asked) if recipe["least"] else PLENTY
            position.compute_pyramid(count, recipe["method"], max_memory=budget, **asked)
        np.testing.assert_array_equal(stored(path, ["0"])["0"], data)
        expected = cascade(data, steps, recipe["method"])
        if data.dtype.kind == "f" and recipe["method"] == "mean":
            # Sums of what was rounded in the level above are rounded in the order they are taken: the last
            # bit is the kernels' own, whatever the layout, budget and workers.
            exact, expected = expected, quick_cascade(data, steps, "mean")
            for level, close in zip(expected, exact, strict=True):
                span = float(np.abs(data).max())
                np.testing.assert_allclose(level, close, rtol=0, atol=4 * np.finfo(data.dtype).eps * span)
        assert_levels(path, expected)
        assert not hidden(path)


@pytest.mark.quick(1)
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_any_budget_and_number_of_workers_gives_the_same_bytes(workers, version, tmp_path):
    """Level 0 of 12 MiB: blocks are joined or not, and threads run ahead or not, as the budget has it."""
    data = blobs("uint16", (3, 60, 130, 260), seed=3)
    steps = [(1, 2, 2, 2), (1, 2, 3, 2)]
    expected = quick_cascade(data, steps, "mean")
    ratio = (1, 4, 2, 2) if version == "0.5" else None
    position = image_of(tmp_path / "i.zarr", version, data, "CZYX", chunks=(1, 5, 32, 64), shards_ratio=ratio)
    least = least_memory(position, 3, factors=steps, workers=workers)
    for budget in (least, least + 2**20, 2 * least, PLENTY):
        position.compute_pyramid(3, factors=steps, workers=workers, max_memory=budget)
        assert_levels(tmp_path / "i.zarr", expected)
    assert not hidden(tmp_path)


def test_a_level_does_not_depend_on_how_absent_chunks_are_joined(version, tmp_path):
    """A chunk that was never written and one that holds the fill value make the same bytes."""
    how = {"shape": (3, 40, 40), "dtype": "float64", "chunks": (3, 10, 10), "fill_value": 0.1}
    foreign_image(tmp_path / "i.zarr", version, {"0": how})
    position = ps.open_ome_zarr(tmp_path / "i.zarr", mode="r+")
    position["0"][:, 15:25, 15:25] = 7.0
    results = []
    for budget in (least_memory(position, 2, factors=[(3, 1, 1)]), PLENTY):
        position.compute_pyramid(2, factors=[(3, 1, 1)], max_memory=budget)
        results.append(stored(tmp_path / "i.zarr")["1"].tobytes())
        position.delete_pyramid()
    assert results[0] == results[1]


@pytest.mark.parametrize("fill", [-0.0, float("nan"), 3.25])
@pytest.mark.parametrize("method", METHODS)
def test_fill_values_of_others_are_pixels_like_any(fill, method, version, tmp_path):
    how = {"shape": (1, 21, 22), "dtype": "float32", "chunks": (1, 5, 5), "fill_value": fill}
    foreign_image(tmp_path / "i.zarr", version, {"0": how})
    position = ps.open_ome_zarr(tmp_path / "i.zarr", mode="r+")
    position["0"][0, 4:8, 4:8] = -2.0
    data = stored(tmp_path / "i.zarr")["0"]
    position.compute_pyramid(3, method)
    assert_levels(tmp_path / "i.zarr", cascade(data, [(1, 2, 2), (1, 2, 2)], method))


@pytest.mark.parametrize("store", ["directory", "memory"])
def test_a_zarr_store_gives_the_same_levels_as_a_directory(store, version, tmp_path):
    data = noise("uint16", (2, 9, 30, 33))
    target = tmp_path / "i.zarr" if store == "directory" else MemoryStore()
    ratio = (1, 2, 2, 2) if version == "0.5" else None
    position = image_of(target, version, data, "CZYX", chunks=(1, 3, 8, 8), shards_ratio=ratio)
    position.compute_pyramid(3, workers=2)
    for number, level in enumerate(cascade(data, [(1, 2, 2, 2)] * 2, "mean"), 1):
        np.testing.assert_array_equal(position[str(number)].numpy(), level)


# --- layouts that others made ---------------------------------------------------------------------

_V2 = {
    "plain": {},
    "F order": {"order": "F"},
    "big endian": {"dtype": ">u2"},
    "no compressor": {"compressors": None},
    "dots": {"chunk_key_encoding": {"name": "v2", "separator": "."}},
}
_V3 = {
    "plain": {},
    "no compressor": {"compressors": None},
    "transposed": {"filters": [TransposeCodec(order=(2, 0, 1))]},
    "big endian": {"serializer": BytesCodec(endian="big")},
    "crc32c": {"compressors": [ZstdCodec(level=1), Crc32cCodec()]},
    "two compressors": {"compressors": [ZstdCodec(level=1), ZstdCodec(level=1)]},
    "v2 keys": {"chunk_key_encoding": {"name": "v2", "separator": "."}},
    "sharded": {"shards": True},
    "index at the start": {"shards": True, "index": "start"},
    "sharded, transposed": {"shards": True, "filters": [TransposeCodec(order=(2, 1, 0))]},
}
_FOREIGN = [*[("0.4", n) for n in _V2], *[("0.5", n) for n in _V3], ("0.4", "delta")]


def foreign_layout(version: str, name: str, chunks: tuple[int, ...]) -> dict:
    """Keyword arguments for zarr."""
    if name == "delta":
        from numcodecs import Delta

        return {"chunks": chunks, "filters": [Delta(dtype="<u2")]}
    how = {"chunks": chunks, **(_V2 if version == "0.4" else _V3)[name]}
    if how.pop("shards", False):
        shape = tuple(2 * c for c in chunks)
        how["shards"] = {"shape": shape, "index_location": how.pop("index", "end")}
    return how


@pytest.mark.parametrize(("version", "name"), _FOREIGN, ids=lambda v: v.replace(" ", "-"))
@pytest.mark.parametrize("existing", ["new", "recomputed", "halved chunks", "larger chunks"])
def test_layouts_of_others_are_read_and_written(version, name, existing, tmp_path):
    data = noise("uint16", (5, 23, 26), seed=4)
    steps = [(2, 2, 2), (2, 2, 2)]
    expected = cascade(data, steps, "mean")
    chunks = {
        "new": [(4, 8, 8)],
        "recomputed": [(4, 8, 8)] * 3,
        "halved chunks": [(4, 8, 8), (2, 4, 4), (1, 2, 2)],
        "larger chunks": [(3, 5, 7), (4, 64, 6), (5, 32, 32)],
    }[existing]
    arrays = {}
    for number, (shape, each) in enumerate(
        zip([data.shape, *[e.shape for e in expected]], chunks, strict=False)
    ):
        how = {"dtype": "<u2", **foreign_layout(version, name, each)}
        arrays[str(number)] = {"shape": shape, **how}
    foreign_image(tmp_path / "i.zarr", version, arrays)
    position = ps.open_ome_zarr(tmp_path / "i.zarr", mode="r+")
    position["0"][...] = data
    position.compute_pyramid(3, workers=2)
    found = stored(tmp_path / "i.zarr")
    np.testing.assert_array_equal(found["0"], data)
    for got, level in zip(list(found.values())[1:], expected, strict=True):
        np.testing.assert_array_equal(got, level)
    if existing != "new":
        layouts = [position[str(k)].chunks for k in range(3)]
        assert layouts == chunks, "levels that exist keep their layout"
    assert position["1"].dtype == position["0"].dtype


def test_levels_that_exist_with_another_fill_value_hold_the_same_pixels(version, tmp_path):
    data = blobs("uint16", (1, 32, 48))
    arrays = {
        str(k): {"shape": (1, 32 >> k, 48 >> k), "dtype": "uint16", "chunks": (1, 8, 8), "fill_value": 5 * k}
        for k in range(3)
    }
    foreign_image(tmp_path / "i.zarr", version, arrays)
    position = ps.open_ome_zarr(tmp_path / "i.zarr", mode="r+")
    position["0"][:, :, :16] = data[:, :, :16]
    position.compute_pyramid()
    assert_levels(tmp_path / "i.zarr", cascade(data, [(1, 2, 2)] * 2, "mean"))


def test_levels_that_exist_in_another_type_are_refused_or_right(version, tmp_path):
    """Some writers resize to floats: bytes of one type must never be written into an array of another."""
    data = noise("uint16", (1, 16, 16))
    arrays = {
        "0": {"data": data, "chunks": (1, 8, 8)},
        "1": {"shape": (1, 8, 8), "dtype": "float32", "chunks": (1, 8, 8)},
    }
    foreign_image(tmp_path / "i.zarr", version, arrays)
    position = ps.open_ome_zarr(tmp_path / "i.zarr", mode="r+")
    before = stored(tmp_path / "i.zarr")
    refused = False
    try:
        position.compute_pyramid()
    except (ps.ArgumentError, ps.InvalidMetadataError):
        refused = True
    after = stored(tmp_path / "i.zarr")
    expected = before["1"] if refused else cascade(data, [(1, 2, 2)], "mean")[0]
    np.testing.assert_array_equal(after["1"], expected)
    np.testing.assert_array_equal(after["0"], data)


# --- tensorstore ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["median", "mode", "min", "max", "stride"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
def test_equal_to_tensorstore_downsample(dtype, method, tmp_path):
    """On complete windows: at an odd edge it reduces the pixels there are, and here the edge is repeated."""
    data = noise(dtype, (4, 24, 40), seed=5)
    position = image_of(tmp_path / "i.zarr", "0.5", data, chunks=(2, 12, 20))
    position.compute_pyramid(3, method)
    current = data
    for number in (1, 2):
        array = tensorstore.downsample(tensorstore.array(current), [2, 2, 2], method)
        current = array.read().result()
        np.testing.assert_array_equal(position[str(number)].numpy(), current)


def test_equal_to_the_mean_of_tensorstore_where_it_rounds_nothing(tmp_path):
    data = (noise("uint16", (4, 24, 40), seed=6) // 8) * 8
    position = image_of(tmp_path / "i.zarr", "0.5", data, chunks=(2, 12, 20))
    position.compute_pyramid(2)
    array = tensorstore.downsample(tensorstore.array(data), [2, 2, 2], "mean")
    np.testing.assert_array_equal(position["1"].numpy(), array.read().result())


# --- one pass -------------------------------------------------------------------------------------


class Watched:
    """Counts what is decoded, read, written and opened while it is active, from any thread."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.decoded: Counter[str] = Counter()
        self.encoded = 0
        self.read: Counter[str] = Counter()
        self.written: Counter[str] = Counter()
        self.opened: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._patch(monkeypatch, ChunkCodec, "decode", lambda args: self._add(self.decoded, args[3]))
        self._patch(monkeypatch, ChunkCodec, "encode", lambda args: self._add_encoded())
        self._patch(monkeypatch, LocalObjects, "read_part", lambda args: self._add(self.read, args[1]))
        self._patch(monkeypatch, LocalObjects, "write_object", lambda args: self._add(self.written, args[1]))
        self._patch(monkeypatch, FileAppender, "commit", lambda args: self._add(self.written, args[0]._key))
        self._patch(monkeypatch, os, "open", lambda args: self._add(self.opened, os.fspath(args[0])))

    def _patch(self, monkeypatch: pytest.MonkeyPatch, owner, name: str, note) -> None:
        real = getattr(owner, name)

        def noted(*args, **kwargs):
            note(args)
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, noted)

    def _add(self, counter: Counter[str], key: str) -> None:
        with self._lock:
            counter[key] += 1

    def _add_encoded(self) -> None:
        with self._lock:
            self.encoded += 1


def count_chunks(image: ps.ImageArray) -> int:
    return int(np.prod([-(-n // c) for n, c in zip(image.shape, image.chunks, strict=True)]))


def count_files(image: ps.ImageArray) -> int:
    unit = image.shards or image.chunks
    return int(np.prod([-(-n // u) for n, u in zip(image.shape, unit, strict=True)]))


_LAYOUTS = [("0.4", None), ("0.5", None), ("0.5", (1, 2, 2, 3)), ("0.5", (2, 8, 8, 8))]


@pytest.mark.parametrize(("version", "ratio"), _LAYOUTS)
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("small", [False, True])
def test_each_chunk_of_level_0_is_decoded_once_and_levels_are_never_read(
    version, ratio, workers, small, tmp_path, monkeypatch
):
    data = noise("uint16", (2, 13, 50, 60), seed=7)
    position = image_of(tmp_path / "i.zarr", version, data, "CZYX", chunks=(1, 3, 8, 8), shards_ratio=ratio)
    budget = least_memory(position, 3) if small else PLENTY
    watched = Watched(monkeypatch)
    position.compute_pyramid(3, workers=workers, max_memory=budget)
    monkeypatch.undo()

    levels = [position[str(k)] for k in range(3)]
    assert len(watched.decoded) == count_chunks(levels[0])
    assert set(watched.decoded.values()) == {1}
    assert {key.partition("/")[0] for key in watched.read} == {"0"}, "only level 0 is read"
    if ratio is None:
        assert len(watched.read) == count_chunks(levels[0])
        assert set(watched.read.values()) == {1}
    else:
        inner = sum(watched.read.values())
        assert inner == count_chunks(levels[0]) + count_files(levels[0]), "chunks, and each index once"
    assert watched.encoded == sum(count_chunks(level) for level in levels[1:])
    assert len(watched.written) == sum(count_files(level) for level in levels[1:])
    assert set(watched.written.values()) == {1}, "each file is written once"
    # A level's chunks are only opened to be written; no document is read for each chunk.
    documents = [name for name in watched.opened if name.endswith((".zarray", ".zattrs", "zarr.json"))]
    assert sum(watched.opened[name] for name in documents) < 60


@pytest.mark.parametrize(("version", "ratio"), _LAYOUTS)
def test_creation_from_memory_reads_nothing_and_writes_each_file_once(version, ratio, tmp_path, monkeypatch):
    data = noise("uint16", (2, 13, 50, 60), seed=7)
    position = ps.open_ome_zarr(
        tmp_path / "i.zarr", layout="fov", mode="w-", channel_names=["a", "b"], version=version
    )
    watched = Watched(monkeypatch)
    position.create_image(
        "0", data[None], chunks=(1, 1, 3, 8, 8), shards_ratio=ratio and (1, *ratio), pyramid_levels=3
    )
    monkeypatch.undo()
    levels = [position[str(k)] for k in range(3)]
    assert not watched.decoded
    assert not watched.read
    assert watched.encoded == sum(map(count_chunks, levels))
    assert len(watched.written) == sum(map(count_files, levels))
    assert set(watched.written.values()) == {1}


def test_absent_chunks_are_neither_decoded_nor_written(version, tmp_path, monkeypatch):
    position = image_of(tmp_path / "i.zarr", version, np.zeros((1, 64, 64), "uint16"), chunks=(1, 8, 8))
    position["0"][0, 8:16, 8:16] = 9
    watched = Watched(monkeypatch)
    position.compute_pyramid(3)
    monkeypatch.undo()
    assert sum(watched.decoded.values()) == 1
    assert watched.encoded == 2
    assert len(watched.written) == 2


def test_a_chunk_of_a_level_is_written_as_soon_as_its_source_is_complete(version, tmp_path, monkeypatch):
    """Depth first: chunks of the coarsest level come while most of level 0 is unread."""
    data = noise("uint16", (1, 512, 512))
    position = image_of(tmp_path / "i.zarr", version, data, chunks=(1, 32, 32))
    order: list[str] = []
    real = LocalObjects.read_part, LocalObjects.write_object

    def read(self, key, *args, **kwargs):
        order.append("read")
        return real[0](self, key, *args, **kwargs)

    def write(self, key, *args, **kwargs):
        order.append("write")
        return real[1](self, key, *args, **kwargs)

    least = least_memory(position, 3)
    monkeypatch.setattr(LocalObjects, "read_part", read)
    monkeypatch.setattr(LocalObjects, "write_object", write)
    position.compute_pyramid(3, max_memory=least, workers=1)
    # 16 chunks of level 0, 4 of level 1, 1 of level 2, and so on 16 times.
    assert order == [*[*["read"] * 4, "write"] * 4, "write"] * 16


def test_progress_is_told_in_bytes_of_level_0_and_labels(version, tmp_path):
    data = noise("uint16", (1, 40, 40))
    position = image_of(tmp_path / "i.zarr", version, data, chunks=(1, 8, 8))
    position.create_label("cells", data)
    told: list[tuple[int, int]] = []
    position.compute_pyramid(3, progress=lambda done, total: told.append((done, total)))
    assert {total for _, total in told} == {2 * data.nbytes}
    done = [d for d, _ in told]
    assert done == sorted(done)
    assert done[-1] == 2 * data.nbytes
    assert len(set(done)) >= 2
