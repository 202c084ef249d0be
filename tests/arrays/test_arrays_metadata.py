"""What a document says about its array, without zarr: right, foreign or damaged."""

from __future__ import annotations

import copy
import json
import random
import subprocess
import sys

import numcodecs
import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec
from zarr.storage import LocalStore

import platestore as ps
from platestore.arrays.image import open_array
from platestore.arrays.layout import plan
from platestore.arrays.metadata import grow_axis, summarise
from platestore.storage.base import StorageOptions
from platestore.storage.hierarchy import ArrayDocument, array_files, array_key, create_node, read_array
from platestore.storage.local import LocalStorage


@pytest.fixture
def storage(tmp_path):
    return LocalStorage(str(tmp_path), StorageOptions(read_only=False, lock_timeout=5))


@pytest.fixture(params=[2, 3])
def zarr_format(request):
    return request.param


def of(content, zarr_format):
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return summarise(ArrayDocument("A/1/0/0", zarr_format, data))


def made_by_zarr(storage, zarr_format, **kwargs):
    kwargs = {"shape": (4, 6), "chunks": (2, 3), "dtype": "u2", **kwargs}
    array = zarr.create_array(LocalStore(storage.root), name="0", zarr_format=zarr_format, **kwargs)
    return array, summarise(read_array(storage, "0", zarr_format))


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int16", "uint16", "uint32", "int64", "float16", "float32", "float64"]
)
def test_shape_type_and_chunks_are_those_that_zarr_sees(storage, zarr_format, dtype):
    array, summary = made_by_zarr(storage, zarr_format, dtype=dtype)
    assert summary.path == "0"
    assert summary.shape == array.shape
    assert summary.chunks == array.chunks
    assert summary.shards is None
    assert summary.dtype == dtype
    assert summary.nbytes == array.nbytes


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_the_byte_order_is_no_part_of_the_type(storage, byteorder):
    _, summary = made_by_zarr(storage, 2, dtype=np.dtype("u2").newbyteorder(byteorder))
    assert summary.dtype == "uint16"


def test_shards_are_told_from_chunks(storage):
    array, summary = made_by_zarr(storage, 3, chunks=(1, 3), shards=(4, 6))
    assert (summary.chunks, summary.shards) == (array.chunks, array.shards) == ((1, 3), (4, 6))


@pytest.mark.parametrize(
    ("codec", "words"),
    [
        (None, "none"),
        (numcodecs.Blosc("lz4", 5, numcodecs.Blosc.BITSHUFFLE), "blosc-lz4 bitshuffle level 5"),
        (numcodecs.Blosc("zstd", 1, numcodecs.Blosc.SHUFFLE), "blosc-zstd shuffle level 1"),
        (numcodecs.Blosc("lz4", 3, numcodecs.Blosc.NOSHUFFLE), "blosc-lz4 level 3"),
        (numcodecs.Zstd(3), "zstd level 3"),
        (numcodecs.GZip(6), "gzip level 6"),
        (numcodecs.LZ4(), "lz4"),
    ],
)
def test_compressors_of_v2_in_words(storage, codec, words):
    _, summary = made_by_zarr(storage, 2, compressors=codec)
    assert summary.codec == words


@pytest.mark.parametrize(
    ("codec", "words"),
    [
        (None, "none"),
        (BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"), "blosc-lz4 bitshuffle level 5"),
        (BloscCodec(cname="lz4", clevel=5, shuffle="noshuffle"), "blosc-lz4 level 5"),
        (ZstdCodec(level=3), "zstd level 3"),
        (GzipCodec(level=6), "gzip level 6"),
    ],
)
@pytest.mark.parametrize("shards", [None, (4, 6)])
def test_codecs_of_v3_in_words(storage, codec, words, shards):
    _, summary = made_by_zarr(storage, 3, compressors=codec, shards=shards)
    assert summary.codec == words


def test_our_own_default_in_words(storage, zarr_format):
    document = plan((4, 4), "u2", zarr_format=zarr_format).document(zarr_format, ["y", "x"])
    assert of(document, zarr_format).codec == "blosc-lz4 bitshuffle level 5"


def test_huge_shapes_are_only_numbers(zarr_format):
    document = plan((2**40, 2**40), "u2", zarr_format=zarr_format).document(zarr_format, ["y", "x"])
    assert of(document, zarr_format).nbytes == 2**81


def good(zarr_format):
    ratio = (2, 2) if zarr_format == 3 else None
    layout = plan((8, 8), "u2", zarr_format=zarr_format, chunks=(2, 2), shards_ratio=ratio)
    return layout.document(zarr_format, ["y", "x"])


DAMAGE_2 = [("shape",), ("chunks",), ("dtype",)]
DAMAGE_3 = [
    ("shape",),
    ("data_type",),
    ("codecs",),
    ("chunk_grid",),
    ("chunk_grid", "configuration"),
    ("chunk_grid", "configuration", "chunk_shape"),
    ("codecs", 0, "name"),
    ("codecs", 0, "configuration"),
    ("codecs", 0, "configuration", "chunk_shape"),
    ("codecs", 0, "configuration", "codecs"),
]


@pytest.mark.parametrize(
    ("zarr_format", "place"), [(2, p) for p in DAMAGE_2] + [(3, p) for p in DAMAGE_3], ids=repr
)
def test_a_document_that_lacks_a_fact_is_damaged(zarr_format, place):
    document = good(zarr_format)
    target = document
    for step in place[:-1]:
        target = target[step]
    del target[place[-1]]
    with pytest.raises(ps.InvalidMetadataError, match="A/1/0/0"):
        of(document, zarr_format)


@pytest.mark.parametrize("shape", [None, 5, "88", [8, "8"], [8, 8.5], [8, -8], [[8], 8], {"y": 8}])
def test_a_shape_that_is_none_is_damaged(zarr_format, shape):
    with pytest.raises(ps.InvalidMetadataError, match="shape"):
        of({**good(zarr_format), "shape": shape}, zarr_format)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff", b'{"shape": NaN}', b'{"a":' * 10**5])
def test_what_is_no_json_is_damaged(zarr_format, data):
    with pytest.raises(ps.InvalidMetadataError):
        of(data, zarr_format)


JUNK = [
    None,
    True,
    -1,
    0,
    3.5,
    2**70,
    10**400,
    "",
    "x",
    [],
    {},
    [[]],
    [None],
    ["a", "b", "c"],
    {"name": "x"},
    "<M8[s]",
]


def mutants(document, seed, count):
    places = []

    def walk(value, path):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            places.append((*path, key))
            if isinstance(item, (dict, list)):
                walk(item, (*path, key))

    walk(document, ())
    dice = random.Random(seed)
    for _ in range(count):
        changed = copy.deepcopy(document)
        *path, last = dice.choice(places)
        target = changed
        for step in path:
            target = target[step]
        if dice.random() < 0.25:
            del target[last]
        else:
            target[last] = copy.deepcopy(dice.choice(JUNK))
        yield changed


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(4))
def test_mutants_are_read_or_refused_in_our_words(storage, zarr_format, seed):
    """The summary and the array itself: whatever the document says, nothing but our errors."""
    opened = refused = 0
    for mutant in mutants(good(zarr_format), seed, 150):
        document = ArrayDocument("0", zarr_format, json.dumps(mutant).encode())
        try:
            assert summarise(document).nbytes >= 0
        except ps.PlatestoreError:
            refused += 1
        try:
            open_array(storage, document, ["y", "x"])
            opened += 1
        except ps.PlatestoreError:
            refused += 1
    assert opened
    assert refused


def test_an_array_nested_too_deeply_is_refused_in_our_words(storage, zarr_format):
    deep = {**good(zarr_format), "attributes": json.loads('{"a":' * 500 + "1" + "}" * 500)}
    data = json.dumps(deep).encode().replace(b'{"a": ' * 500, b'{"a": ' * 100_000)
    document = ArrayDocument("0", zarr_format, data)
    with pytest.raises(ps.InvalidMetadataError):
        open_array(storage, document, ["y", "x"])


def test_a_summary_needs_neither_zarr_nor_numpy():
    code = (
        "import sys\n"
        "from platestore.arrays.metadata import summarise\n"
        "from platestore.storage.hierarchy import ArrayDocument\n"
        f"print(summarise(ArrayDocument('0', 3, {json.dumps(good(3)).encode()!r})).shape)\n"
        "print(sorted({'zarr', 'numpy', 'dask', 'tensorstore'} & set(sys.modules)))\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "(8, 8)\n[]\n"


# --- growing in the document ----------------------------------------------------------------------


def test_an_axis_is_grown_in_the_document_only(storage, zarr_format):
    create_node(storage, "0", array_files(zarr_format, good(zarr_format), {"a": 1}, where=""))
    grow_axis(storage, "0", zarr_format, 0, 12)
    assert summarise(read_array(storage, "0", zarr_format)).shape == (12, 8)
    content = json.loads(storage.read(array_key("0", zarr_format)))
    assert {**content, "shape": [8, 8], "attributes": None} == {**good(zarr_format), "attributes": None}


def test_growing_twice_changes_nothing_and_shrinking_is_ignored(storage, zarr_format):
    create_node(storage, "0", array_files(zarr_format, good(zarr_format), where=""))
    for size in (12, 12, 3):
        grow_axis(storage, "0", zarr_format, 1, size)
    assert summarise(read_array(storage, "0", zarr_format)).shape == (8, 12)


def test_growing_an_array_that_is_gone_is_an_error(storage, zarr_format):
    storage.make_directory("0")
    with pytest.raises(ps.NodeNotFoundError):
        grow_axis(storage, "0", zarr_format, 0, 12)
    assert storage.list("0") == ([], [])
