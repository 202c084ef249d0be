"""Documents in the other zarr format: the same bytes are the same pixels to zarr and to TensorStore."""

from __future__ import annotations

import copy
import itertools
import json
import math
import tempfile
import warnings
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import tensorstore
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import examples
from platestore.arrays.convert import Converted, Unconvertible, convert_array
from platestore.arrays.layout import plan
from platestore.storage.documents import parse, serialise
from platestore.storage.hierarchy import ArrayDocument

OTHER = {2: 3, 3: 2}
NAME = {2: ".zarray", 3: "zarr.json"}
INTEGERS = [f"{sign}{bits}" for sign in ("int", "uint") for bits in (8, 16, 32, 64)]
FLOATS = ["float16", "float32", "float64"]
DTYPES = ["bool", *INTEGERS, *FLOATS, "complex64", "complex128"]
BLOSC_V2 = {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 2, "blocksize": 0}
BLOSC_V3 = {"cname": "lz4", "clevel": 5, "shuffle": "bitshuffle", "typesize": 2, "blocksize": 0}
LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}


def convert(content, names=None):
    """Convert a document to the other format."""
    version = content["zarr_format"]
    return convert_array(ArrayDocument("a/0", version, json.dumps(content).encode()), OTHER[version], names)


def v2(**changes):
    """A plain document of v2."""
    content = {
        "zarr_format": 2,
        "shape": [5, 7],
        "chunks": [2, 3],
        "dtype": "<u2",
        "fill_value": 0,
        "order": "C",
        "filters": None,
        "dimension_separator": "/",
        "compressor": None,
    }
    return {**content, **changes}


def v3(**changes):
    """A plain document of v3."""
    content = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [5, 7],
        "data_type": "uint16",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 3]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [LITTLE],
        "storage_transformers": [],
    }
    return {**content, **changes}


def codec(name, **configuration):
    return {"name": name, "configuration": configuration}


# --- recipes of documents -------------------------------------------------------------------------

_named_reals = st.sampled_from(["NaN", "Infinity", "-Infinity"])
_halves = st.floats(width=16, allow_nan=False, allow_infinity=False)
_shapes = st.lists(st.tuples(st.integers(1, 7), st.integers(1, 4)), max_size=4)
_blosc = st.fixed_dictionaries(
    {
        "cname": st.sampled_from(["lz4", "lz4hc", "blosclz", "zstd", "zlib"]),
        "clevel": st.integers(0, 9),
        "blocksize": st.sampled_from([0, 256]),
    }
)


def fills(dtype):
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return st.booleans()
    if kind.kind in "iu":
        return st.integers(int(np.iinfo(kind).min), int(np.iinfo(kind).max))
    if kind.kind == "f":
        return _named_reals | _halves | st.integers(-9, 9)
    return st.tuples(_named_reals | _halves, _named_reals | _halves).map(list)


@st.composite
def documents_v2(draw):
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(_shapes)
    compressor = draw(st.sampled_from([None, "blosc", "zstd", "gzip"]))
    if compressor == "blosc":
        compressor = {"id": "blosc", **draw(_blosc), "shuffle": draw(st.integers(-1, 2))}
    elif compressor == "zstd":
        compressor = {"id": "zstd", "level": draw(st.integers(-3, 22))}
    elif compressor == "gzip":
        compressor = {"id": "gzip", "level": draw(st.integers(0, 9))}
    return v2(
        shape=[n for n, _ in shape],
        chunks=[c for _, c in shape],
        dtype=dtype.newbyteorder(draw(st.sampled_from("<>"))).str,
        fill_value=draw(st.none() | fills(dtype)),
        order=draw(st.sampled_from("CF")),
        filters=draw(st.sampled_from([None, []])),
        dimension_separator=draw(st.sampled_from("./")),
        compressor=compressor,
    )


@st.composite
def documents_v3(draw):
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(_shapes)
    axes = list(range(len(shape)))
    chain = draw(
        st.sampled_from([[], [codec("transpose", order=axes)], [codec("transpose", order=axes[::-1])]])
    )
    endian = {"endian": draw(st.sampled_from(["little", "big"]))} if dtype.itemsize > 1 else {}
    chain = [*chain, codec("bytes", **endian) if endian else {"name": "bytes"}]
    compressor = draw(st.sampled_from([None, "blosc", "zstd", "gzip"]))
    if compressor == "blosc":
        shuffle = draw(st.sampled_from(["noshuffle", "shuffle", "bitshuffle"]))
        typesize = draw(st.sampled_from([1, dtype.itemsize]))
        chain.append(codec("blosc", **draw(_blosc), shuffle=shuffle, typesize=typesize))
    elif compressor == "zstd":
        chain.append(codec("zstd", level=draw(st.integers(-3, 22)), checksum=draw(st.booleans())))
    elif compressor == "gzip":
        chain.append(codec("gzip", level=draw(st.integers(0, 9))))
    encoding = {"name": draw(st.sampled_from(["default", "v2"]))}
    separator = draw(st.sampled_from([None, ".", "/"]))
    if separator:
        encoding["configuration"] = {"separator": separator}
    return v3(
        shape=[n for n, _ in shape],
        chunk_grid=codec("regular", chunk_shape=[c for _, c in shape]),
        data_type=dtype.name,
        fill_value=draw(fills(dtype)),
        chunk_key_encoding=encoding,
        codecs=chain,
    )


documents = documents_v2() | documents_v3()


def canonical(content):
    """A document without what has several spellings, or matters only to chunks written later."""
    content = copy.deepcopy(content)
    kind = np.dtype(content.get("dtype", content.get("data_type")))
    if content["fill_value"] is None:
        content["fill_value"] = {"b": False, "c": [0.0, 0.0]}.get(kind.kind, 0)
    ndim = len(content["shape"])
    if content["zarr_format"] == 2:
        content["filters"] = None
        content["order"] = content["order"] if ndim > 1 else "C"
        if (content["compressor"] or {}).get("shuffle") == -1:
            content["compressor"]["shuffle"] = 2 if kind.itemsize == 1 else 1
        return content
    separator = content["chunk_key_encoding"].get("configuration", {}).get("separator")
    separator = separator or ("/" if content["chunk_key_encoding"]["name"] == "default" else ".")
    content["chunk_key_encoding"] = codec("v2", separator=separator)
    axes = list(range(ndim))
    kept = []
    for item in content["codecs"]:
        configuration = item.get("configuration", {})
        if item["name"] == "transpose" and configuration["order"] == axes:
            continue
        if "typesize" in configuration:
            configuration["typesize"] = kind.itemsize
        if "checksum" in configuration:
            configuration["checksum"] = False
        kept.append(item)
    content["codecs"] = kept
    return content


# --- the proof: the same bytes, read by others ----------------------------------------------------


def read_by_zarr(path, version):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # data types that zarr calls experimental
        return zarr.open_array(str(path), mode="r", zarr_format=version)[...]


def read_by_tensorstore(path, version):
    driver = {"driver": {2: "zarr", 3: "zarr3"}[version], "kvstore": {"driver": "file", "path": str(path)}}
    return tensorstore.open(driver, open=True, read=True).result().read().result()


def bits(values):
    """The values as bytes, in this machine's order; every NaN is the same one."""
    values = np.asarray(values)
    values = np.array(values, values.dtype.newbyteorder("="), order="C")
    parts = values.reshape(-1).view(f"f{values.itemsize // 2}") if values.dtype.kind == "c" else values
    if parts.dtype.kind == "f":
        parts = np.where(np.isnan(parts), np.array(np.nan, parts.dtype), parts)
    return values.shape, values.dtype, parts.tobytes()


def write_array(path, content, seed):
    """Write a document, and random pixels into a random region; other chunks stay missing."""
    path.mkdir()
    (path / NAME[content["zarr_format"]]).write_bytes(serialise(content, where=""))
    random = np.random.default_rng(seed)
    array = zarr.open_array(str(path), mode="r+", zarr_format=content["zarr_format"])
    region = []
    for size in content["shape"]:
        start, stop = sorted(random.integers(0, size + 1, 2))
        region.append(slice(int(start), int(stop)))
    shape = [part.stop - part.start for part in region]
    kind = array.dtype
    pixels = random.integers(0, 2 if kind.kind == "b" else 50, shape)
    if kind.kind == "c":
        pixels = pixels + 1j * random.integers(0, 50, shape)
    array[tuple(region)] = pixels.astype(kind)


def move(source, target, converted):
    """Put the chunk files of an array where another document wants them."""
    target.mkdir()
    moved = 0
    for file in source.rglob("*"):
        key = file.relative_to(source).as_posix()
        if file.is_dir() or file.name in NAME.values() or not key.startswith(converted.source_prefix):
            continue
        new = target / (converted.target_prefix + key[len(converted.source_prefix) :])
        new.parent.mkdir(parents=True, exist_ok=True)
        new.write_bytes(file.read_bytes())
        moved += 1
    files = sum(not f.is_dir() and f.name not in NAME.values() for f in source.rglob("*"))
    assert moved == files, "every chunk file goes along"
    content = serialise(converted.content, where="")
    (target / NAME[converted.content["zarr_format"]]).write_bytes(content)


@settings(deadline=None, max_examples=examples(120))
@given(documents, st.integers(0, 2**32))
def test_moved_chunks_are_the_same_pixels_to_zarr_and_to_tensorstore(content, seed):
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        version, source = content["zarr_format"], Path(folder) / "a"
        write_array(source, content, seed)
        pixels = bits(read_by_zarr(source, version))
        converted = convert(content)
        assert isinstance(converted, Converted)
        move(source, Path(folder) / "b", converted)
        for reader in (read_by_zarr, read_by_tensorstore):
            assert bits(reader(Path(folder) / "b", OTHER[version])) == pixels
        back = convert(converted.content)
        move(Path(folder) / "b", Path(folder) / "c", back)
        for reader in (read_by_zarr, read_by_tensorstore):
            assert bits(reader(Path(folder) / "c", version)) == pixels


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("separator", [".", "/"])
@pytest.mark.parametrize("encoding", ["default", "v2"])
def test_an_array_without_dimensions_keeps_its_chunk(tmp_path, version, separator, encoding):
    keys = codec(encoding, separator=separator)
    content = v3(shape=[], chunk_grid=codec("regular", chunk_shape=[]), chunk_key_encoding=keys)
    if version == 2:
        content = v2(shape=[], chunks=[], dimension_separator=separator)
    source = tmp_path / "a"
    source.mkdir()
    (source / NAME[version]).write_text(json.dumps(content))
    zarr.open_array(str(source), mode="r+", zarr_format=version)[...] = 41
    (file,) = (f for f in source.iterdir() if f.name not in NAME.values())
    assert file.name == ("c" if version == 3 and encoding == "default" else "0")
    move(source, tmp_path / "b", convert(content))
    assert (tmp_path / "b" / "0").exists()
    for reader in (read_by_zarr, read_by_tensorstore):
        assert reader(tmp_path / "b", OTHER[version]) == 41


@pytest.mark.parametrize("version", [2, 3])
def test_snappy_inside_blosc_is_in_both_formats(tmp_path, version):
    # numcodecs is built without it, so TensorStore writes.
    content = v2(compressor={**BLOSC_V2, "cname": "snappy"})
    if version == 3:
        content = v3(codecs=[LITTLE, codec("blosc", **{**BLOSC_V3, "cname": "snappy"})])
    source = tmp_path / "a"
    source.mkdir()
    (source / NAME[version]).write_text(json.dumps(content))
    driver = {"driver": {2: "zarr", 3: "zarr3"}[version], "kvstore": {"driver": "file", "path": str(source)}}
    pixels = np.arange(35, dtype="u2").reshape(5, 7)
    tensorstore.open(driver, open=True).result().write(pixels).result()
    move(source, tmp_path / "b", convert(content))
    assert (read_by_tensorstore(tmp_path / "b", OTHER[version]) == pixels).all()


def test_what_zarr_itself_writes_by_default_can_be_converted(tmp_path):
    pixels = np.arange(35, dtype="u2").reshape(5, 7)
    for version in (2, 3):
        source, target = tmp_path / f"a{version}", tmp_path / f"b{version}"
        array = zarr.create_array(str(source), shape=(5, 7), chunks=(2, 3), dtype="u2", zarr_format=version)
        array[...] = pixels
        (source / ".zattrs").unlink(missing_ok=True)
        move(source, target, convert(parse((source / NAME[version]).read_bytes(), where="")))
        for reader in (read_by_zarr, read_by_tensorstore):
            assert (reader(target, OTHER[version]) == pixels).all()


# --- documents ------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=examples(150))
@given(documents)
def test_there_and_back_again_says_the_same(content):
    there = convert(content)
    assert isinstance(there, Converted)
    assert there.content["zarr_format"] == OTHER[content["zarr_format"]]
    back = convert(there.content)
    assert isinstance(back, Converted)
    assert (back.source_prefix, back.target_prefix) == ("", "")
    assert canonical(back.content) == canonical(content)
    assert convert(back.content).content == there.content, "nothing moves on"
    assert parse(serialise(there.content, where=""), where="") == there.content


@pytest.mark.parametrize("compressor", ["blosc-lz4", "blosc-zstd", "zstd", "gzip", "none"])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "float32"])
@pytest.mark.parametrize("version", [2, 3])
def test_layouts_of_this_library_become_those_of_the_other_format(version, dtype, compressor):
    layout = plan((1, 2, 8, 8), dtype, zarr_format=version, compressor=compressor)
    names = ["c", "z", "y", "x"]
    wanted = layout.document(OTHER[version], names)
    if version == 2:
        wanted["chunk_key_encoding"] = codec("v2", separator="/")
    converted = convert(layout.document(version, names), names)
    assert converted == Converted(wanted, "c/" if version == 3 else "", "")


@pytest.mark.parametrize(
    ("keys", "separator", "prefix"),
    [
        (codec("default", separator="/"), "/", "c/"),
        (codec("default", separator="."), ".", "c."),
        ({"name": "default"}, "/", "c/"),
        ("default", "/", "c/"),
        (codec("v2", separator="/"), "/", ""),
        (codec("v2", separator="."), ".", ""),
        ({"name": "v2"}, ".", ""),
        ("v2", ".", ""),
    ],
)
def test_chunk_files_of_v3_lose_their_prefix(keys, separator, prefix):
    converted = convert(v3(chunk_key_encoding=keys))
    assert (converted.source_prefix, converted.target_prefix) == (prefix, "")
    assert converted.content["dimension_separator"] == separator


def test_chunk_files_of_v2_keep_their_names():
    for separator, wanted in ((".", "."), ("/", "/"), (None, ".")):
        converted = convert(v2(dimension_separator=separator))
        assert converted.content["chunk_key_encoding"] == codec("v2", separator=wanted)
    content = v2()
    del content["dimension_separator"]
    assert convert(content).content["chunk_key_encoding"] == codec("v2", separator=".")


def test_bare_names_stand_for_extensions():
    content = v3(codecs=["bytes"], data_type={"name": "uint8"}, chunk_key_encoding="v2")
    assert convert(content).content == {
        **v2(dtype="|u1", dimension_separator="."),
    }


def test_names_of_dimensions_go_into_v3_only():
    assert "dimension_names" not in convert(v2()).content
    assert convert(v2(), ["y", "x"]).content["dimension_names"] == ["y", "x"]
    assert convert(v3(dimension_names=["a", None]), ["y", "x"]).content == v2()
    for content in (v2(), v3()):
        with pytest.raises(ps.ArgumentError, match="3 names do not fit"):
            convert(content, ["z", "y", "x"])


def test_attributes_are_left_out_and_the_source_stays_as_it_is():
    assert convert(v3(attributes={"a": 1})).content == v2()
    assert "attributes" not in convert(v2()).content


@pytest.mark.parametrize("content", [v2(), v3(attributes={"a": 1}), v3(dimension_names=["a", "b"])])
def test_the_same_format_is_a_copy(content):
    version = content["zarr_format"]
    document = ArrayDocument("a", version, json.dumps(content).encode())
    converted = convert_array(document, version, None)
    wanted = {k: v for k, v in content.items() if k != "attributes"}
    assert converted == Converted(wanted, "", "")
    named = convert_array(document, version, ("y", "x")).content
    assert named == (wanted if version == 2 else {**wanted, "dimension_names": ["y", "x"]})


def test_fields_that_nobody_must_understand_are_left_out():
    assert convert(v3(note={"must_understand": False, "name": "x"})).content == v2()


@pytest.mark.parametrize(
    ("compressor", "wanted"),
    [
        ({"id": "blosc"}, {**BLOSC_V3, "shuffle": "shuffle"}),
        ({**BLOSC_V2, "shuffle": 0}, {**BLOSC_V3, "shuffle": "noshuffle"}),
        ({**BLOSC_V2, "shuffle": -1}, {**BLOSC_V3, "shuffle": "shuffle"}),
        ({**BLOSC_V2, "typesize": 8}, {**BLOSC_V3, "typesize": 8}),
        ({"id": "zstd"}, {"level": 0, "checksum": False}),
        ({"id": "zstd", "level": 40, "checksum": True}, {"level": 22, "checksum": True}),
        ({"id": "gzip"}, {"level": 1}),
        ({"id": "gzip", "level": -1}, {"level": 6}),
    ],
)
def test_settings_of_v2_in_v3(compressor, wanted):
    (_, got) = convert(v2(compressor=compressor)).content["codecs"]
    assert got == {"name": compressor["id"], "configuration": wanted}


def test_the_automatic_shuffle_of_bytes_is_by_bits():
    content = convert(v2(dtype="|u1", compressor={**BLOSC_V2, "shuffle": -1})).content
    assert content["codecs"][-1]["configuration"]["shuffle"] == "bitshuffle"


# --- fill values ----------------------------------------------------------------------------------


def hexadecimal(value, dtype):
    return "0x" + np.array(value, np.dtype(dtype).newbyteorder(">")).tobytes().hex()


@settings(deadline=None, max_examples=examples(100))
@given(st.sampled_from(FLOATS), st.data())
def test_numbers_written_as_bits_become_numbers(dtype, data):
    size = 8 * np.dtype(dtype).itemsize
    pattern = data.draw(st.integers(0, 2**size - 1), label="bits")
    value = np.array(pattern, f"u{size // 8}").view(dtype)[()]
    text = "0x" + format(pattern, f"0{size // 4}x")
    converted = convert(v3(data_type=dtype, fill_value=text))
    if np.isnan(value) and value.tobytes() != np.array(np.nan, dtype).tobytes():
        assert "special NaN" in converted.reason
        return
    got = converted.content["fill_value"]
    number = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}.get(got, got)
    assert np.array(number, dtype).tobytes() == value.tobytes()


@pytest.mark.parametrize(
    ("dtype", "text"), [("float16", "0x7e01"), ("float32", "0xffc00000"), ("float64", "0x7ff8000000000001")]
)
def test_nan_with_other_bits_has_no_form_in_v2(dtype, text):
    reason = f"its fill value {text} is a special NaN, which zarr v2 cannot write"
    assert convert(v3(data_type=dtype, fill_value=text)) == Unconvertible(reason)


@pytest.mark.parametrize("dtype", FLOATS)
def test_bits_that_have_a_name(dtype):
    for name, value in (("NaN", np.nan), ("Infinity", np.inf), ("-Infinity", -np.inf)):
        for text in (hexadecimal(value, dtype), hexadecimal(value, dtype).upper().replace("X", "x")):
            assert convert(v3(data_type=dtype, fill_value=text)).content["fill_value"] == name
    part = f"complex{2 * 8 * np.dtype(dtype).itemsize}"
    if part != "complex32":
        fill = [hexadecimal(1.5, dtype), "NaN"]
        assert convert(v3(data_type=part, fill_value=fill)).content["fill_value"] == [1.5, "NaN"]


@pytest.mark.parametrize(
    ("dtype", "fill", "wanted"),
    [
        ("|b1", None, False),
        ("|b1", 1, True),
        ("|b1", True, True),
        ("<u2", None, 0),
        ("<u2", 7.0, 7),
        ("<i8", -(2**63), -(2**63)),
        ("<u8", 2**64 - 1, 2**64 - 1),
        ("<f4", None, 0.0),
        ("<f4", 3, 3.0),
        ("<f4", "NaN", "NaN"),
        ("<f8", "-Infinity", "-Infinity"),
        ("<c8", None, [0.0, 0.0]),
        ("<c8", [1, "NaN"], [1.0, "NaN"]),
    ],
)
def test_fill_values_of_v2(dtype, fill, wanted):
    got = convert(v2(dtype=dtype, fill_value=fill)).content["fill_value"]
    assert got == wanted
    assert str(got) == str(wanted), "also the type"


@pytest.mark.parametrize(
    ("dtype", "fill"),
    [
        *itertools.product(["|b1"], [2, "x", []]),
        *itertools.product(["<u2"], [-1, 65536, 1.5, True, "0", "AAA=", [0, 0]]),
        *itertools.product(["<u8"], [2.0**64]),
        *itertools.product(["<f4"], [True, "1.5", "nan", "0x7fc00000", [1.0], 10**400, {}]),
        *itertools.product(["<c8"], [0, "NaN", [0], [0, 0, 0], [0, None]]),
    ],
)
def test_fill_values_that_are_none_of_the_data_type(dtype, fill):
    assert convert(v2(dtype=dtype, fill_value=fill)).reason.startswith("its fill value ")


@pytest.mark.parametrize("fill", ["0x7fc", "0x7fc000001", "0xzzzzzzzz", "7fc00000"])
def test_fill_values_of_v3_that_nobody_can_read(fill):
    assert convert(v3(data_type="float32", fill_value=fill)).reason.startswith("its fill value ")


def test_a_number_beyond_all_numbers_is_no_fill_value():
    data = json.dumps(v2(dtype="<f8", fill_value=0)).replace('"fill_value": 0', '"fill_value": 1e999')
    converted = convert_array(ArrayDocument("a", 2, data.encode()), 3, None)
    assert converted == Unconvertible("its fill value inf is none of float64")


# --- reasons --------------------------------------------------------------------------------------

SHARDED = codec("sharding_indexed", chunk_shape=[1, 3], codecs=[LITTLE], index_codecs=[LITTLE])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (v2(compressor={"id": "lzma"}), "its chunks are compressed with lzma, which zarr v3 lacks"),
        (v2(compressor={"id": "zlib", "level": 1}), "its chunks are compressed with zlib, which"),
        (v2(compressor={"id": "bz2", "level": 1}), "its chunks are compressed with bz2, which"),
        (v2(compressor={"id": "lz4"}), "its chunks are compressed with lz4, which"),
        (v2(compressor={"id": "imagecodecs_jpeg2k"}), "compressed with imagecodecs_jpeg2k, which"),
        (v2(compressor={**BLOSC_V2, "cname": "brotli"}), "compressed by blosc with 'brotli'"),
        (v2(compressor={**BLOSC_V2, "shuffle": 3}), "blosc has the shuffle 3, which is not known"),
        (v2(compressor={**BLOSC_V2, "clevel": 10}), "blosc has the clevel 10, which is not in 0 to 9"),
        (v2(compressor={**BLOSC_V2, "dict": 1}), "blosc has settings that are not known: dict"),
        (v2(compressor={"id": "gzip", "level": "5"}), "gzip has the level '5', which is not in 0 to 9"),
        (v2(filters=[{"id": "delta", "dtype": "<u2"}]), "its chunks are filtered (delta), which"),
        (v2(dtype="=u2"), "its data type '=u2' names no byte order"),
        (v2(dtype="u2"), "its data type 'u2' names no byte order"),
        (v2(dtype="|O", filters=[{"id": "vlen-utf8"}]), "elements of type '|O' are no numbers"),
        (v2(dtype="<U5"), "elements of type '<U5' are no numbers"),
        (v2(dtype="<M8[s]"), "elements of type '<M8[s]' are no numbers"),
        (v2(dtype=[["a", "<u2"]]), "are no numbers"),
        (v2(dtype="|S3", fill_value="AAAA"), "are no numbers"),
        (v3(codecs=[SHARDED]), "its chunks lie in shards, which zarr v2 lacks"),
        (v3(codecs=[codec("transpose", order=[1, 0]), SHARDED]), "its chunks lie in shards, which"),
        (v3(codecs=[LITTLE, "crc32c"]), "its chunks carry checksums (crc32c), which zarr v2 lacks"),
        (v3(codecs=[LITTLE, codec("gzip", level=1), {"name": "crc32c"}]), "carry checksums (crc32c)"),
        (v3(codecs=[LITTLE, codec("gzip", level=1), codec("zstd", level=1)]), "bytes, gzip, zstd in turn"),
        (v3(codecs=[LITTLE, codec("numcodecs.zlib", level=1)]), "encoded by numcodecs.zlib, which"),
        (v3(codecs=[LITTLE, {"name": "x", "must_understand": False}]), "encoded by x, which zarr v2"),
        (v3(codecs=["packbits"]), "its chunks are encoded by packbits in turn"),
        (v3(codecs=[codec("transpose", order=[1, 0])]), "encoded by transpose in turn"),
        (v3(codecs=[codec("bytes", endian="little", x=1)]), "bytes has settings that are not known: x"),
        (v3(codecs=[codec("bytes", endian="middle")], data_type="uint8"), "(endian is 'middle')"),
        (v3(codecs=[codec("transpose", order="F"), LITTLE]), "its chunks are transposed by F;"),
        (v3(codecs=[LITTLE, codec("zstd", level=1, window=9)]), "settings that are not known: window"),
        (v3(chunk_grid=codec("rectilinear", chunk_shapes=[])), "form a 'rectilinear' grid"),
        (v3(chunk_key_encoding="suffix"), "its chunk files are named by the encoding 'suffix'"),
        (v3(storage_transformers=[{"name": "x"}]), "its storage is transformed"),
        (v3(data_type="bfloat16"), "elements of type 'bfloat16' are no numbers"),
        (v3(data_type=codec("numpy.datetime64", unit="s")), "are no numbers"),
        (v3(note=1), "its document has the field 'note', whose meaning is not known"),
        (v3(note={"must_understand": True}), "has the field 'note'"),
    ],
)
def test_why_chunks_cannot_stay(content, reason):
    converted = convert(content)
    assert isinstance(converted, Unconvertible)
    assert reason in converted.reason


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_only_a_reversal_of_all_axes_is_an_order_of_v2(order):
    content = v3(
        shape=[3, 4, 5],
        chunk_grid=codec("regular", chunk_shape=[1, 2, 3]),
        codecs=[codec("transpose", order=list(order)), LITTLE],
    )
    converted = convert(content)
    expected = {(0, 1, 2): "C", (2, 1, 0): "F"}.get(order)
    if expected:
        assert converted.content["order"] == expected
    else:
        assert "only a reversal of all axes" in converted.reason


def test_compressors_that_numcodecs_has_beyond_v3_are_all_named():
    known = {"blosc", "zstd", "gzip"}
    for name in ("zlib", "bz2", "lzma", "lz4", "shuffle", "delta", "crc32"):
        assert numcodecs.get_codec({"id": name, **({"dtype": "u2"} if name == "delta" else {})}).codec_id
        assert name not in known
        assert name in convert(v2(compressor={"id": name})).reason


# --- damage ---------------------------------------------------------------------------------------

JUNK = st.sampled_from([None, True, -1, 0, 3.5, 2**70, "", "x", "/", [], {}, [[]], [None], {"name": "x"}])


def places(value, at=()):
    if isinstance(value, (dict, list)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield (*at, key)
            yield from places(item, (*at, key))


@settings(deadline=None, max_examples=examples(400))
@given(documents, st.data())
def test_damage_is_converted_named_or_an_error_of_ours(content, data):
    path = data.draw(st.sampled_from(sorted(places(content), key=str)), label="place")
    target = content
    for key in path[:-1]:
        target = target[key]
    if isinstance(target, dict) and data.draw(st.booleans(), label="remove"):
        del target[path[-1]]
    else:
        target[path[-1]] = data.draw(JUNK, label="junk")
    version = content.get("zarr_format")
    version = version if version in (2, 3) and version is not True else (3 if "codecs" in content else 2)
    document = ArrayDocument("plate/A/1", version, json.dumps(content).encode())
    try:
        converted = convert_array(document, OTHER[version], None)
    except ps.InvalidMetadataError:
        return
    if isinstance(converted, Unconvertible):
        assert converted.reason
    else:
        assert parse(serialise(converted.content, where=""), where="") == converted.content


@pytest.mark.parametrize(
    "content",
    [
        v2(order="A"),
        v2(dimension_separator="-"),
        v2(chunks=[2]),
        v2(compressor="zstd"),
        v3(codecs=[]),
        v3(fill_value=0, chunk_key_encoding=codec("v2", separator="-")),
        {k: v for k, v in v3().items() if k != "fill_value"},
        v3(codecs=[LITTLE, codec("zstd", level=1, checksum="yes")]),
    ],
)
def test_a_damaged_document_is_an_error_that_names_it(content):
    with pytest.raises(ps.InvalidMetadataError, match="damaged") as caught:
        convert(content)
    assert caught.value.path == "a/0"
