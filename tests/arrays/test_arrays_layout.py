"""Layouts: what is filled in, what is refused, and documents that every reader takes as zarr's own."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import tensorstore
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zarr.codecs import BloscCodec
from zarr.storage import LocalStore

import platestore as ps
from platestore.arrays.layout import MAX_DEFAULT_CHUNK_BYTES, check_dtype, plan
from platestore.storage.base import StorageOptions
from platestore.storage.hierarchy import array_files, create_node
from platestore.storage.local import LocalStorage

quick = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
    assert stack.chunks == (1, 1, 63, 2048, 2048)
    assert math.prod(stack.chunks) * 2 < MAX_DEFAULT_CHUNK_BYTES


def test_a_plane_that_is_too_large_is_halved_too():
    plane = plan((1, 1, 7, 2**16, 2**16), "uint16", zarr_format=3).chunks
    assert plane[:3] == (1, 1, 1)
    assert math.prod(plane) * 2 <= MAX_DEFAULT_CHUNK_BYTES


@settings(deadline=None, max_examples=200)
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


@settings(quick, max_examples=15)
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
