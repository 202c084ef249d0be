"""Layouts: what is filled in, what is refused, and documents that every reader takes as zarr's own."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import warnings

import numpy as np
import pytest
import tensorstore
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zarr.codecs import BloscCodec
from zarr.storage import LocalStore

import platestore as ps
from conftest import examples
from platestore.arrays.layout import (
    MAX_DEFAULT_CHUNK_BYTES,
    check_dtype,
    is_aligned,
    layout_of,
    level_layout,
    plan,
    touched,
    write_units,
)
from platestore.storage.base import StorageOptions
from platestore.storage.hierarchy import array_files, create_node
from platestore.storage.local import LocalStorage

quick = settings(
    deadline=None, max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
DTYPES = [
    "bool",
    *(f"{k}{b}" for k in ("int", "uint") for b in (8, 16, 32, 64)),
    "float16",
    "float32",
    "float64",
]


# --- data types -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "form", [str, np.dtype, lambda d: np.dtype(d).type, lambda d: np.dtype(d).newbyteorder(">")]
)
def test_booleans_integers_and_floats_are_stored_in_little_endian(dtype, form):
    checked = check_dtype(form(dtype))
    assert checked == np.dtype(dtype).newbyteorder("<")
    assert checked.name == dtype


@pytest.mark.parametrize(
    "dtype",
    [
        *("complex64", "complex128", "S5", "U5", "O", "M8[s]", "m8[s]", "V4", "no type", "u3", "", b"u1x"),
        *([("a", "u1")], np.longdouble, object, str, bytes, None, 5),
    ],
    ids=repr,
)
def test_other_types_are_a_value_error(dtype):
    with pytest.raises(ps.ArgumentError):
        check_dtype(dtype)


def test_python_types_are_understood():
    assert check_dtype(bool) == np.dtype("bool")
    assert check_dtype(float) == np.dtype("<f8")


# --- chunks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "chunks"),
    [
        ((10, 3, 5, 64, 32), (1, 1, 5, 64, 32)),
        ((3, 5, 64, 32), (1, 5, 64, 32)),
        ((5, 64, 32), (5, 64, 32)),
        ((64, 32), (64, 32)),
    ],
)
def test_the_default_chunk_is_one_stack(shape, chunks):
    assert plan(shape, "uint16", zarr_format=3).chunks == chunks


def test_a_stack_that_is_too_large_is_halved_along_z():
    stack = plan((2, 2, 1000, 2048, 2048), "uint16", zarr_format=3)
    assert stack.chunks == (1, 1, 32, 2048, 2048)
    assert math.prod(stack.chunks) * 2 <= MAX_DEFAULT_CHUNK_BYTES == 256 * 2**20


@pytest.mark.parametrize(
    ("names", "chunks"),
    [
        (("T", "C", "Z", "Y", "X"), (1, 1, 5, 6, 7)),
        (("z", "c", "y", "t", "x"), (3, 1, 5, 1, 7)),
        (("c", "y", "x", "t", "z"), (1, 4, 5, 1, 7)),
        (("a", "b", "d", "y", "x"), (1, 1, 1, 6, 7)),
        (("a", "b", "d", "h", "w"), (1, 1, 5, 6, 7)),
        (None, (1, 1, 5, 6, 7)),
    ],
)
def test_the_stack_is_found_by_the_names_of_the_axes(names, chunks):
    assert plan((3, 4, 5, 6, 7), "u1", zarr_format=3, axis_names=names).chunks == chunks


def test_a_stack_is_halved_along_z_wherever_z_is():
    layout = plan((2048, 2048, 100), "u2", zarr_format=2, axis_names=("y", "x", "z"))
    assert layout.chunks == (2048, 2048, 25)


def test_a_plane_that_is_too_large_is_halved_too():
    plane = plan((1, 1, 7, 2**16, 2**16), "uint16", zarr_format=3).chunks
    assert plane[:3] == (1, 1, 1)
    assert math.prod(plane) * 2 <= MAX_DEFAULT_CHUNK_BYTES


@settings(deadline=None, max_examples=examples(200))
@given(st.lists(st.integers(1, 2**62), min_size=1, max_size=5), st.sampled_from(DTYPES))
def test_default_chunks_fit_in_memory_whatever_the_shape(shape, dtype):
    layout = plan(shape, dtype, zarr_format=2)
    assert math.prod(layout.chunks) * layout.dtype.itemsize <= MAX_DEFAULT_CHUNK_BYTES
    assert all(1 <= c <= s for c, s in zip(layout.chunks, shape, strict=True))


def test_chunks_larger_than_the_image_are_cut():
    assert plan((1, 2, 30, 40), "u1", zarr_format=3, chunks=(9, 1, 64, 20)).chunks == (1, 1, 30, 20)


def test_shards_are_a_number_of_chunks():
    layout = plan((1, 64, 64), "u1", zarr_format=3, chunks=(1, 16, 16), shards_ratio=(1, 4, 2))
    assert (layout.chunks, layout.shards) == ((1, 16, 16), (1, 64, 32))
    assert plan((1, 64, 64), "u1", zarr_format=3).shards is None


def test_numpy_integers_are_integers():
    layout = plan(
        np.array([4, 6]), "u1", zarr_format=3, chunks=np.array([2, 3]), shards_ratio=np.array([2, 2])
    )
    assert (layout.shape, layout.chunks, layout.shards) == ((4, 6), (2, 3), (4, 6))
    json.dumps(layout.document(3, ["y", "x"]))


@pytest.mark.parametrize(
    "kwargs",
    [
        {"shape": ()},
        {"shape": (0, 4)},
        {"shape": (4, -1)},
        {"shape": (4.0, 4)},
        {"shape": ("4", "4")},
        {"shape": "44"},
        {"shape": 4},
        {"shape": None},
        {"shape": (2**63, 4)},
        {"shape": ((4, 4),)},
        {"chunks": (2,)},
        {"chunks": (2, 2, 2)},
        {"chunks": (0, 2)},
        {"chunks": (-1, 2)},
        {"chunks": (2.5, 2)},
        {"chunks": 2},
        {"chunks": ()},
        {"shards_ratio": (2,)},
        {"shards_ratio": (1, 0)},
        {"shards_ratio": (1, 1.5)},
        {"shards_ratio": 2},
        {"dtype": None},
        {"dtype": "complex64"},
        {"shape": (2**16, 2**16), "chunks": (2**16, 2**16)},
        {"zarr_format": 2, "shards_ratio": (1, 1)},
        {"zarr_format": 2, "shards": (4, 4)},
        {"zarr_format": 2, "checksum": True},
        {"shards": (4, 4), "shards_ratio": (1, 1)},
        {"axis_names": ("x",)},
        {"axis_names": ("z", "y", "x")},
        {"shards": (4,)},
        {"shards": (4, 0)},
        {"shards": ()},
        {"shards": []},
        {"shards": (2, 2.5)},
        {"shards": (2, 3), "chunks": (2, 2)},
        {"shards": ("y", 2)},
        {"shards": ""},
        {"shards": "YQ"},
        {"shards": "YY"},
        {"shards": "1"},
        {"shards": "1XB"},
        {"shards": "-1GB"},
        {"shards": "GB"},
        {"shards": "1e3B"},
        {"shards": "9" * 400 + "GB"},
        {"shards": 15},
        {"shards": 0},
        {"shards": -1},
        {"shards": 1e9},
        {"shards": True},
        {"shards": b"1GB"},
        {"shards": {"y": 2}},
        {"shards": np.array(5.0)},
    ],
    ids=repr,
)
def test_wrong_wishes_are_a_value_error(kwargs):
    wish = {"shape": (4, 4), "dtype": "u1", "zarr_format": 3, **kwargs}
    with pytest.raises(ps.ArgumentError) as caught:
        plan(wish.pop("shape"), wish.pop("dtype"), **wish)
    assert len(str(caught.value)) > 20


def test_errors_name_both_sides():
    with pytest.raises(ps.ArgumentError, match=r"\(2,\) has 1 values; the shape \(4, 4\) has 2"):
        plan((4, 4), "u1", zarr_format=3, chunks=(2,))
    with pytest.raises(ps.ArgumentError, match=r'version="0.5"'):
        plan((4, 4), "u1", zarr_format=2, shards_ratio=(1, 1))


# --- documents ------------------------------------------------------------------------------------


@st.composite
def wishes(draw):
    zarr_format = draw(st.sampled_from([2, 3]))
    ndim = draw(st.integers(2, 5))
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=ndim, max_size=ndim)))
    chunks = tuple(draw(st.integers(1, s)) for s in shape)
    ratio = None
    if zarr_format == 3 and draw(st.booleans()):
        ratio = tuple(draw(st.lists(st.integers(1, 3), min_size=ndim, max_size=ndim)))
    return zarr_format, shape, draw(st.sampled_from(DTYPES)), chunks, ratio


def written(directory, zarr_format, layout, names, attributes=None):
    storage = LocalStorage(str(directory), StorageOptions(read_only=False))
    document = layout.document(zarr_format, names)
    create_node(storage, "0", array_files(zarr_format, document, attributes, where=""))
    return zarr.open_array(str(directory / "0"), mode="r+", zarr_format=zarr_format)


def by_zarr(directory, zarr_format, layout, names):
    """What zarr-python writes when asked for the same."""
    codec = (
        {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 2, "blocksize": 0}
        if zarr_format == 2
        else BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle", typesize=layout.dtype.itemsize)
    )
    if zarr_format == 2:
        import numcodecs

        codec = numcodecs.get_codec(codec)
    return zarr.create_array(
        LocalStore(directory / "z"),
        shape=layout.shape,
        dtype=layout.dtype,
        chunks=layout.chunks,
        shards=layout.shards,
        compressors=codec,
        zarr_format=zarr_format,
        dimension_names=names if zarr_format == 3 else None,
        chunk_key_encoding={"name": "v2" if zarr_format == 2 else "default", "separator": "/"},
        fill_value=layout.dtype.type(0),
    )


@quick
@given(wish=wishes())
def test_a_document_means_what_zarr_writes_for_the_same_wish(tmp_path_factory, wish):
    zarr_format, shape, dtype, chunks, ratio = wish
    directory = tmp_path_factory.mktemp("a")
    layout = plan(shape, dtype, zarr_format=zarr_format, chunks=chunks, shards_ratio=ratio)
    names = list("tczyx")[-len(shape) :]
    ours = written(directory, zarr_format, layout, names)
    theirs = by_zarr(directory, zarr_format, layout, names)
    mine, other = ours.metadata.to_dict(), theirs.metadata.to_dict()
    assert json.loads(json.dumps(mine, default=str)) == json.loads(json.dumps(other, default=str))
    assert (ours.shape, ours.chunks, ours.shards) == (theirs.shape, theirs.chunks, theirs.shards)
    assert ours.dtype == theirs.dtype == np.dtype(dtype)
    assert ours.fill_value == theirs.fill_value
    assert ours.compressors == theirs.compressors


@settings(quick, max_examples=examples(15))
@given(wish=wishes(), seed=st.integers(0, 99))
def test_zarr_and_tensorstore_read_and_write_it_alike(tmp_path_factory, wish, seed):
    zarr_format, shape, dtype, chunks, ratio = wish
    directory = tmp_path_factory.mktemp("b")
    layout = plan(shape, dtype, zarr_format=zarr_format, chunks=chunks, shards_ratio=ratio)
    names = list("tczyx")[-len(shape) :]
    array = written(directory, zarr_format, layout, names, {"a": 1})
    driver = "zarr" if zarr_format == 2 else "zarr3"
    other = tensorstore.open(
        {"driver": driver, "kvstore": {"driver": "file", "path": f"{directory}/0/"}}, open=True
    ).result()
    assert other.shape == shape
    assert other.dtype.numpy_dtype == np.dtype(dtype)
    assert other.chunk_layout.read_chunk.shape == layout.chunks
    assert other.chunk_layout.write_chunk.shape == (layout.shards or layout.chunks)
    if zarr_format == 3:
        assert [d.label for d in other.domain] == names
    zeros = np.zeros(shape, dtype)
    np.testing.assert_array_equal(other.read().result(), zeros)
    np.testing.assert_array_equal(array[...], zeros)
    pixels = np.random.default_rng(seed).integers(0, 2, shape).astype(dtype)
    array[...] = pixels
    np.testing.assert_array_equal(other.read().result(), pixels)
    pixels = 1 - pixels if dtype != "bool" else ~pixels
    other.write(pixels.astype(dtype)).result()
    np.testing.assert_array_equal(array[...], pixels)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_documents_are_strict_json_with_nested_chunk_keys(zarr_format):
    document = plan((4, 4), "float32", zarr_format=zarr_format).document(zarr_format, ["y", "x"])
    json.dumps(document, allow_nan=False)
    if zarr_format == 2:
        assert document["dimension_separator"] == "/"
    else:
        assert document["dimension_names"] == ["y", "x"]
        assert document["chunk_key_encoding"] == {"name": "default", "configuration": {"separator": "/"}}


@pytest.mark.parametrize("dtype", ["bool", "uint8"])
def test_one_byte_types_have_no_byte_order(dtype):
    bytes_codec = plan((4, 4), dtype, zarr_format=3).document(3, ["y", "x"])["codecs"][0]
    assert bytes_codec == {"name": "bytes"}
    assert plan((4, 4), dtype, zarr_format=2).document(2, ["y", "x"])["dtype"][0] == "|"


def test_documents_of_one_layout_do_not_share_their_parts():
    layout = plan((4, 4), "u1", zarr_format=3)
    first, second = layout.document(3, ["y", "x"]), layout.document(3, ["y", "x"])
    first["codecs"][1]["configuration"]["clevel"] = 9
    first["shape"][0] = 99
    assert second["codecs"][1]["configuration"]["clevel"] == 5
    assert second["shape"] == [4, 4]
    assert layout.document(3, ["y", "x"]) == second


# --- shards= --------------------------------------------------------------------------------------


STACKS = (10, 3, 64, 2048, 2048)


@pytest.mark.parametrize(
    ("shards", "expected"),
    [
        ((1, 1, 64, 2048, 2048), (1, 1, 64, 2048, 2048)),
        ((1, 1, 10, 512, 1024), (1, 1, 10, 512, 1024)),
        ((99, 99, 99, 9999, 9999), (10, 3, 64, 2048, 2048)),
        ("ZYX", (1, 1, 64, 2048, 2048)),
        ("xyz", (1, 1, 64, 2048, 2048)),
        (("Z", "y", "X"), (1, 1, 64, 2048, 2048)),
        ("T", (10, 1, 1, 512, 512)),
        ("1GB", (1, 1, 64, 2048, 2048)),
        ("512 MiB", (1, 1, 64, 2048, 2048)),
        (2**29, (1, 1, 64, 2048, 2048)),
        (np.int64(2**29), (1, 1, 64, 2048, 2048)),
        (2**29 - 1, (1, 1, 63, 2048, 2048)),
        ("0.5MiB", (1, 1, 1, 512, 512)),
        ("1mib", (1, 1, 1, 512, 1024)),
        ("2 MiB", (1, 1, 1, 512, 2048)),
        ("4.0MiB", (1, 1, 1, 1024, 2048)),
        ("1.5GiB", (1, 3, 64, 2048, 2048)),
        ("3 GiB", (2, 3, 64, 2048, 2048)),
        ("100TB", (10, 3, 64, 2048, 2048)),
        ("1000kB", (1, 1, 1, 512, 512)),
        ("1048576B", (1, 1, 1, 512, 1024)),
    ],
    ids=repr,
)
def test_shards_are_a_shape_a_size_or_axes(shards, expected):
    layout = plan(STACKS, "uint16", zarr_format=3, chunks=(1, 1, 1, 512, 512), shards=shards)
    assert layout.shards == layout.units == expected
    assert layout.grid == tuple(-(-n // u) for n, u in zip(STACKS, expected, strict=True))
    assert layout.chunk_nbytes == 2**19
    assert layout.unit_nbytes == math.prod(expected) * 2


def test_a_shard_that_reaches_the_end_is_rounded_to_whole_chunks():
    layout = plan((1, 10, 100, 100), "u1", zarr_format=3, chunks=(1, 4, 64, 100), shards=(1, 10, 64, 100))
    assert layout.shards == (1, 12, 64, 100)
    assert plan((7, 100, 100), "u1", zarr_format=3, chunks=(4, 64, 64), shards="ZYX").shards == (8, 128, 128)


def test_a_shard_that_is_no_multiple_is_an_error_that_names_axis_and_value():
    with pytest.raises(ps.ArgumentError, match=r"along Z: 10 is not whole chunks of 4 \(12 is the nearest"):
        plan((1, 40, 64, 64), "u1", zarr_format=3, chunks=(1, 4, 64, 64), shards=(1, 10, 64, 64))
    with pytest.raises(ps.ArgumentError, match=r"along ROW: 1 is not whole chunks of 4 \(4 is the nearest"):
        plan((40, 64), "u1", zarr_format=3, chunks=(4, 64), shards=(1, 64), axis_names=("row", "column"))


def test_a_size_below_one_chunk_is_an_error_with_the_figure():
    with pytest.raises(ps.ArgumentError, match=r"524288 bytes \(0.5 MiB\)"):
        plan(STACKS, "uint16", zarr_format=3, chunks=(1, 1, 1, 512, 512), shards="0.4MiB")


def test_axes_are_those_of_the_array():
    with pytest.raises(ps.ArgumentError, match="choice of the axes C, Y, X"):
        plan((2, 8, 8), "u1", zarr_format=3, shards="ZYX", axis_names=("c", "y", "x"))
    layout = plan((2, 8, 8), "u1", zarr_format=3, chunks=(1, 4, 4), shards="CX", axis_names=("c", "y", "x"))
    assert layout.shards == (2, 4, 8)
    named = plan(
        (5, 8, 8), "u1", zarr_format=3, chunks=(1, 4, 4), shards=["lag", "x"], axis_names=["Lag", "y", "x"]
    )
    assert named.shards == (5, 4, 8)


def test_a_size_fills_x_then_y_then_z_wherever_they_are():
    layout = plan((8, 8, 8), "u1", zarr_format=3, chunks=(2, 2, 2), shards=8 * 6, axis_names=("y", "x", "z"))
    assert layout.shards == (2, 8, 2)


@pytest.mark.parametrize(
    ("plane", "inner"),
    [((2048, 2048), (1024, 1024)), ((2304, 2305), (768, 769)), ((100, 1024), (100, 1024)), ((1, 1), (1, 1))],
)
def test_the_default_chunk_in_a_shard_is_an_equal_part_of_a_plane(plane, inner):
    layout = plan((2, 2, 9, *plane), "uint16", zarr_format=3, shards="ZYX")
    assert layout.chunks == (1, 1, 1, *inner)
    assert layout.shards == (1, 1, 9, *(-(-n // c) * c for n, c in zip(plane, inner, strict=True)))


def test_the_default_chunk_divides_a_shard_that_is_smaller_than_the_plane():
    layout = plan(STACKS, "uint16", zarr_format=3, shards=(1, 1, 7, 2000, 31))
    assert (layout.chunks, layout.shards) == ((1, 1, 1, 1000, 31), (1, 1, 7, 2000, 31))
    prime = plan(STACKS, "uint16", zarr_format=3, shards=(1, 1, 1, 2039, 2048))
    assert (prime.chunks, prime.shards) == ((1, 1, 1, 2039, 1024), (1, 1, 1, 2039, 2048))


def test_shards_ratio_means_that_many_chunks_even_beyond_the_array():
    layout = plan((4, 4), "u1", zarr_format=3, chunks=(2, 2), shards_ratio=(3, 1))
    assert layout.shards == (6, 2)


SIZES = st.lists(st.integers(1, 40), min_size=2, max_size=5)


@settings(deadline=None, max_examples=examples(200))
@given(shape=SIZES, data=st.data())
def test_a_size_gives_the_largest_shard_in_its_order(shape, data):
    chunks = tuple(data.draw(st.integers(1, n)) for n in shape)
    itemsize = data.draw(st.sampled_from([1, 2, 8]))
    target = data.draw(st.integers(math.prod(chunks) * itemsize, 2 * 40**5 * itemsize))
    layout = plan(shape, f"u{itemsize}", zarr_format=3, chunks=chunks, shards=target)
    assert layout.unit_nbytes <= target
    counts = [s // c for s, c in zip(layout.shards, chunks, strict=True)]
    covering = [-(-n // c) for n, c in zip(shape, chunks, strict=True)]
    assert all(1 <= k <= most for k, most in zip(counts, covering, strict=True))
    assert [k * c for k, c in zip(counts, chunks, strict=True)] == list(layout.shards)
    # Along the fastest axis that is not covered one chunk more would be too much, and slower ones have one.
    for i in reversed(range(len(shape))):
        if counts[i] < covering[i]:
            assert layout.unit_nbytes // counts[i] * (counts[i] + 1) > target
            break


# --- regions --------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=examples(100))
@given(data=st.data(), shape=st.lists(st.integers(0, 7), min_size=1, max_size=3))
def test_write_units_are_a_partition_in_c_order(data, shape):
    units = [data.draw(st.integers(1, 9)) for _ in shape]
    times = np.zeros(shape, int)
    regions = list(write_units(shape, units))
    for region in regions:
        assert touched(shape, units, region) == 1
        assert is_aligned(shape, units, region)
        times[region] += 1
    assert (times == 1).all()
    assert regions == sorted(regions, key=lambda region: [part.start for part in region])
    assert len(regions) == math.prod(-(-n // u) for n, u in zip(shape, units, strict=True))


def test_write_units_of_a_vast_array_come_one_by_one():
    first, second = itertools.islice(write_units((2**40, 2**40), (1, 1)), 2)
    assert first == (slice(0, 1), slice(0, 1))
    assert second == (slice(0, 1), slice(1, 2))


@settings(deadline=None, max_examples=examples(300))
@given(data=st.data(), shape=st.lists(st.integers(1, 7), min_size=1, max_size=3))
def test_a_region_is_aligned_if_it_holds_every_unit_it_touches(data, shape):
    units = [data.draw(st.integers(1, 8)) for _ in shape]
    region = []
    for size in shape:
        start = data.draw(st.integers(0, size - 1))
        stop = data.draw(st.integers(start + 1, size))
        free = data.draw(st.booleans())
        region.append(slice(start or None, None if free and stop == size else stop))
    mask = np.zeros(shape, bool)
    mask[tuple(region)] = True
    parts = [mask[unit] for unit in write_units(shape, units)]
    assert touched(shape, units, region) == sum(part.any() for part in parts)
    assert is_aligned(shape, units, region) == all(part.all() or not part.any() for part in parts)


# --- levels ---------------------------------------------------------------------------------------


def test_a_level_has_the_same_chunks_and_as_many_in_a_shard():
    layout = plan(
        (2, 64, 4096, 4096), "u2", zarr_format=3, chunks=(1, 8, 512, 512), shards=(1, 64, 2048, 4096)
    )
    half = level_layout(layout, (2, 32, 2048, 2048))
    assert (half.chunks, half.shards) == ((1, 8, 512, 512), (1, 32, 2048, 2048))
    small = level_layout(half, (2, 5, 513, 100))
    assert (small.chunks, small.shards) == ((1, 5, 512, 100), (1, 5, 1024, 100))
    assert level_layout(plan((9, 9), "u1", zarr_format=2, chunks=(4, 4)), (5, 3)).chunks == (4, 3)


def test_a_level_keeps_data_type_compressor_and_checksum():
    layout = plan((8, 8), "float32", zarr_format=3, compressor="zstd:7", checksum=True)
    level = level_layout(layout, (4, 4))
    assert (level.dtype, level.compressor, level.checksum) == (layout.dtype, layout.compressor, True)
    assert level.document(3, ["y", "x"])["codecs"] == layout.document(3, ["y", "x"])["codecs"]


def test_a_level_of_another_number_of_axes_is_an_error():
    with pytest.raises(ps.ArgumentError, match="has 1 values; the array has 2 axes"):
        level_layout(plan((8, 8), "u1", zarr_format=3), (4,))


@settings(deadline=None, max_examples=examples(100))
@given(wish=wishes(), data=st.data())
def test_levels_are_covered_by_the_fewest_whole_chunks(wish, data):
    zarr_format, shape, dtype, chunks, ratio = wish
    layout = plan(shape, dtype, zarr_format=zarr_format, chunks=chunks, shards_ratio=ratio)
    smaller = tuple(data.draw(st.integers(1, n)) for n in shape)
    level = level_layout(layout, smaller)
    assert level.shape == smaller
    assert level.chunks == tuple(min(c, n) for c, n in zip(layout.chunks, smaller, strict=True))
    assert (level.shards is None) == (layout.shards is None)
    for unit, chunk, size, count in zip(
        level.units, level.chunks, smaller, ratio or [1] * len(shape), strict=True
    ):
        assert unit % chunk == 0
        assert unit // chunk == min(count, -(-size // chunk))


# --- existing arrays ------------------------------------------------------------------------------


@quick
@given(
    wish=wishes(),
    compressor=st.sampled_from(
        ["blosc-lz4:0", "blosc-lz4", "blosc-zstd:9", "zstd:0", "zstd:22", "gzip", "none"]
    ),
    checksum=st.booleans(),
)
def test_the_layout_of_a_document_is_the_one_it_was_made_from(wish, compressor, checksum):
    zarr_format, shape, dtype, chunks, ratio = wish
    layout = plan(
        shape,
        dtype,
        zarr_format=zarr_format,
        chunks=chunks,
        shards_ratio=ratio,
        compressor=compressor,
        checksum=checksum and zarr_format == 3,
    )
    names = list("tczyx")[-len(shape) :]
    document = layout.document(zarr_format, names)
    found = layout_of({**document, "attributes": {"a": 1}}, zarr_format)
    assert dataclasses.replace(found, template=None) == layout
    assert found == layout_of(json.dumps(document).encode(), zarr_format)
    assert found.document(zarr_format, names) == document
    smaller = tuple(-(-n // 2) for n in shape)
    assert level_layout(found, smaller).document(zarr_format, names) == level_layout(
        layout, smaller
    ).document(zarr_format, names)
    hash(found)


FOREIGN_V2 = {
    "zarr_format": 2,
    "shape": [4, 9, 8],
    "chunks": [2, 9, 5],
    "dtype": ">u2",
    "fill_value": 7,
    "order": "F",
    "filters": [{"id": "delta", "dtype": ">u2"}],
    "dimension_separator": ".",
    "compressor": {"id": "blosc", "cname": "lz4hc", "clevel": 3, "shuffle": 1, "blocksize": 0},
}
FOREIGN_V3 = {
    "zarr_format": 3,
    "node_type": "array",
    "shape": [4, 9, 8],
    "data_type": "int32",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4, 12, 10]}},
    "chunk_key_encoding": {"name": "v2", "configuration": {"separator": "."}},
    "fill_value": -5,
    "codecs": [
        {
            "name": "sharding_indexed",
            "configuration": {
                "chunk_shape": [2, 6, 5],
                "codecs": [
                    {"name": "transpose", "configuration": {"order": [2, 0, 1]}},
                    {"name": "bytes", "configuration": {"endian": "big"}},
                    {"name": "zstd", "configuration": {"level": -3, "checksum": True}},
                ],
                "index_codecs": [{"name": "bytes", "configuration": {"endian": "big"}}, {"name": "crc32c"}],
                "index_location": "start",
            },
        }
    ],
    "attributes": {"from": "elsewhere"},
    "dimension_names": ["z", "y", "x"],
    "storage_transformers": [],
}
NESTED_V3 = {
    **FOREIGN_V3,
    "codecs": [
        {
            "name": "sharding_indexed",
            "configuration": {
                "chunk_shape": [2, 6, 5],
                "codecs": [
                    {
                        "name": "sharding_indexed",
                        "configuration": {
                            "chunk_shape": [1, 3, 5],
                            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
                            "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
                            "index_location": "end",
                        },
                    }
                ],
                "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
                "index_location": "end",
            },
        }
    ],
}


@pytest.mark.parametrize(
    ("foreign", "shapes"),
    [
        (FOREIGN_V2, ((2, 9, 5), None)),
        (FOREIGN_V3, ((2, 6, 5), (4, 12, 10))),
        (NESTED_V3, ((2, 6, 5), (4, 12, 10))),
    ],
    ids=["v2", "v3", "nested"],
)
def test_levels_of_foreign_arrays_keep_all_but_the_shapes(tmp_path, foreign, shapes):
    zarr_format = foreign["zarr_format"]
    layout = layout_of(foreign, zarr_format)
    assert (layout.chunks, layout.shards) == shapes
    assert layout.compressor is None
    level = level_layout(layout, (2, 5, 4)).document(zarr_format, ["Z", "Y", "X"])
    assert "attributes" not in level
    assert level["shape"] == [2, 5, 4]
    for key in ("dtype", "data_type", "fill_value", "order", "filters", "dimension_separator", "compressor"):
        assert level.get(key) == foreign.get(key)
    for key in ("chunk_key_encoding", "storage_transformers", "node_type"):
        assert level.get(key) == foreign.get(key)
    if zarr_format == 3:
        assert level["dimension_names"] == ["Z", "Y", "X"]
        inner, outer = (document["codecs"][0]["configuration"] for document in (level, foreign))
        assert {**inner, "chunk_shape": None} == {**outer, "chunk_shape": None}
    storage = LocalStorage(str(tmp_path), StorageOptions(read_only=False))
    create_node(storage, "1", array_files(zarr_format, level, where=""))
    array = zarr.open_array(str(tmp_path / "1"), mode="r+", zarr_format=zarr_format)
    pixels = np.arange(40).reshape(2, 5, 4).astype(array.dtype)
    assert (array[...] == foreign["fill_value"]).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr has something to say about nested shards
        array[...] = pixels
        np.testing.assert_array_equal(array[...], pixels)
    if foreign is FOREIGN_V3:
        other = tensorstore.open(
            {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{tmp_path}/1/"}}, open=True
        ).result()
        np.testing.assert_array_equal(other.read().result(), pixels)


def test_chunks_of_foreign_levels_are_clamped_unless_codecs_hold_shapes():
    assert level_layout(layout_of(FOREIGN_V2, 2), (2, 5, 4)).chunks == (2, 5, 4)
    sharded = level_layout(layout_of(FOREIGN_V3, 3), (1, 5, 9))
    assert (sharded.chunks, sharded.shards) == ((1, 5, 5), (1, 5, 10))
    nested = level_layout(layout_of(NESTED_V3, 3), (1, 5, 4))
    assert (nested.chunks, nested.shards) == ((2, 6, 5), (4, 12, 10))


def test_shards_behind_another_codec_are_written_as_a_whole():
    codecs = [{"name": "transpose", "configuration": {"order": [0, 1, 2]}}, *FOREIGN_V3["codecs"]]
    layout = layout_of({**FOREIGN_V3, "codecs": codecs}, 3)
    assert (layout.chunks, layout.shards) == ((4, 12, 10), None)
    level = level_layout(layout, (1, 5, 4))
    assert level.chunks == (4, 12, 10)
    assert level.document(3, ["z", "y", "x"])["codecs"] == codecs


def test_a_foreign_layout_has_no_form_in_the_other_zarr_format():
    with pytest.raises(ps.UnsupportedError, match="zarr v3"):
        layout_of(FOREIGN_V2, 2).document(3, ["z", "y", "x"])
    known = layout_of({**FOREIGN_V2, "filters": None, "compressor": None}, 2)
    moved = known.document(3, ["z", "y", "x"])
    assert moved == plan((4, 9, 8), "uint16", zarr_format=3, chunks=(2, 9, 5), compressor="none").document(
        3, ["z", "y", "x"]
    )


@pytest.mark.parametrize(
    ("foreign", "key"),
    [
        *((FOREIGN_V2, key) for key in ("shape", "chunks", "dtype")),
        *((FOREIGN_V3, key) for key in ("shape", "chunk_grid", "codecs", "data_type")),
    ],
    ids=lambda value: value if isinstance(value, str) else f"v{value['zarr_format']}",
)
@pytest.mark.parametrize("value", [None, [], [1], "x", 7, {}, [-1, 2, 3], [1.5, 2, 3], [[1]], "absent"])
def test_a_damaged_document_is_one_of_our_errors(foreign, key, value):
    document = {**foreign, key: value}
    if value == "absent":
        del document[key]
    with pytest.raises((ps.InvalidMetadataError, ps.UnsupportedError), match=r"p\.zarr/0"):
        layout_of(document, foreign["zarr_format"], where="p.zarr/0")


@pytest.mark.parametrize(
    "change",
    [
        {"chunk_grid": {"name": "rectilinear", "configuration": {}}},
        {"data_type": "string"},
        {"data_type": {"name": "numpy.datetime64", "configuration": {}}},
        {"data_type": "r16"},
    ],
    ids=repr,
)
def test_grids_and_types_that_cannot_be_averaged_are_named(change):
    with pytest.raises(ps.UnsupportedError):
        layout_of({**FOREIGN_V3, **change}, 3)


def test_bare_names_stand_for_codecs_and_data_types_without_configuration():
    document = {**FOREIGN_V3, "data_type": {"name": "uint8"}, "codecs": ["bytes", "crc32c"]}
    layout = layout_of(document, 3)
    assert (str(layout.compressor), layout.checksum, layout.dtype) == ("none", True, np.dtype("u1"))
    written = level_layout(layout, (2, 5, 4)).document(3, ["z", "y", "x"])
    assert (written["codecs"], written["data_type"]) == ([{"name": "bytes"}, {"name": "crc32c"}], "uint8")
