"""Which way each array takes, and why: as files wherever the encoding stays, else encoded anew."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import examples, make_plate
from copying.copy_helpers import (
    array_document,
    arrays_by_path,
    check_store,
    chunk_bytes,
    how,
    levels_of,
    noise,
    unpacked,
)
from nodes.store_helpers import new_position, pixels, snapshot

SHAPE = (4, 3, 2, 12, 16)
CHUNKS = (2, 1, 1, 4, 8)
OTHER = {"0.4": "0.5", "0.5": "0.4"}


def image(path: Path, version: str, *, data: np.ndarray | None = None, **layout: Any) -> np.ndarray:
    """A position with one image; returns its pixels."""
    data = pixels(*SHAPE) + 1 if data is None else data
    position = new_position(path, version, channels=["DAPI", "GFP", "Cy5"])
    position.create_image("0", data, **{"chunks": CHUNKS, **layout})
    return data


def foreign(path: Path, version: str, *, data: np.ndarray | None = None, **options: Any) -> np.ndarray:
    """A position whose image was made by zarr alone; returns its pixels."""
    data = pixels(*SHAPE) + 1 if data is None else data
    image(path, version, data=data)
    shutil.rmtree(path / "0")
    fmt = 2 if version == "0.4" else 3
    dims = {"dimension_names": list("TCZYX")} if fmt == 3 else {}
    options = {"chunks": CHUNKS, "dtype": data.dtype, "fill_value": 0, **dims, **options}
    array = zarr.create_array(store=path / "0", shape=data.shape, zarr_format=fmt, **options)
    array[...] = data
    return array[...]


def only(report: ps.CopyReport) -> Any:
    """The report of the only array."""
    assert len(report.arrays) == 1
    return report.arrays[0]


def check_pixels(path: Path, expected: np.ndarray, version: str) -> None:
    """What zarr reads of the image, in a store that is whole."""
    np.testing.assert_array_equal(levels_of(path)["0"], expected)
    check_store(path, version)


# --- nothing changes ------------------------------------------------------------------------------


def test_a_plain_copy_is_the_same_tree(tmp_path, version):
    make_plate(tmp_path / "a.zarr", version)
    report = ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr")
    assert snapshot(tmp_path / "b.zarr") == snapshot(tmp_path / "a.zarr")
    assert how(report) == {"files"}
    assert {array.why for array in report.arrays} == {"same encoding"}
    files = [p for p in (tmp_path / "b.zarr").rglob("*") if p.is_file()]
    assert (report.files, report.nbytes) == (len(files), sum(p.stat().st_size for p in files))


@pytest.mark.parametrize("suffix", [".zarr", ".ozx"])
def test_a_plain_copy_reports_its_arrays_as_any_other(tmp_path, version, suffix):
    make_plate(tmp_path / "a.zarr", version)
    new_position(tmp_path / "c.zarr", version).create_zeros("0", (1, 2, 1, 4, 4), "uint8")
    for name in ("a.zarr", "c.zarr"):
        (tmp_path / name).rename(tmp_path / "s.zarr")
        plain = ps.copy(tmp_path / "s.zarr", tmp_path / f"{name}1{suffix}", version=None)
        other = ps.copy(
            tmp_path / "s.zarr", tmp_path / f"{name}2{suffix}", time=":1", crop="0:4,0:4", levels=0
        )
        (tmp_path / "s.zarr").rename(tmp_path / name)
        if name == "a.zarr":
            other = ps.copy(tmp_path / "a.zarr", tmp_path / f"{name}3{suffix}", wells="*")
        assert plain.arrays == other.arrays


@pytest.mark.parametrize(
    "options",
    [
        {"levels": "all"},
        {"time": ":", "z": "0:2", "crop": "0:12,0:16"},
        {"channels": ["DAPI", "GFP", "Cy5"]},
        {"chunks": CHUNKS},
        {"compressor": "blosc-lz4"},
        {"compressor": "blosc-lz4:5", "chunks": CHUNKS},
        {"pyramid": 1},
        {"levels": 0},
        {"only_ome": True},
        {"labels": False},
    ],
    ids=str,
)
def test_what_is_asked_for_and_there_already_changes_no_file(tmp_path, version, options):
    image(tmp_path / "a.zarr", version)
    report = ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", **options)
    assert only(report).how == "files"
    assert array_document(tmp_path / "b.zarr/0") == array_document(tmp_path / "a.zarr/0")
    assert chunk_bytes(tmp_path / "b.zarr/0") == chunk_bytes(tmp_path / "a.zarr/0")


# --- parts as files -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"channels": ["Cy5", "DAPI"]}, np.s_[:, [2, 0]]),
        ({"channels": "GFP"}, np.s_[:, 1:2]),
        ({"time": "2:4"}, np.s_[2:4]),
        ({"time": ":2"}, np.s_[:2]),
        ({"z": "1"}, np.s_[:, :, 1:2]),
        ({"crop": "4:12,8:16"}, np.s_[..., 4:12, 8:16]),
        ({"crop": "0:4,0:16", "channels": ["GFP", "Cy5"], "time": "2:"}, np.s_[2:, 1:, :, 0:4, 0:16]),
    ],
    ids=str,
)
@pytest.mark.parametrize(("target", "suffix"), [("0.4", ".zarr"), ("0.5", ".zarr"), ("0.5", ".ozx")])
def test_whole_chunks_are_copied_as_files(tmp_path, version, target, suffix, options, part):
    data = image(tmp_path / "a.zarr", version)
    report = ps.copy(tmp_path / "a.zarr", tmp_path / f"b{suffix}", version=target, verify=True, **options)
    assert (only(report).how, only(report).why) == ("files", "whole chunks")
    before = set(chunk_bytes(tmp_path / "a.zarr/0").values())
    with unpacked(tmp_path / f"b{suffix}") as copied:
        check_pixels(copied, data[part], target)
        after = chunk_bytes(copied / "0")
        assert set(after.values()) <= before
        assert len(after) == only(report).files == np.prod(-(-np.array(data[part].shape) // CHUNKS))
        assert only(report).nbytes == sum(map(len, after.values()))


def test_whole_shards_are_copied_as_files_and_parts_of_them_are_not(tmp_path):
    data = image(tmp_path / "a.zarr", "0.5", shards_ratio=(1, 1, 2, 1, 2))
    report = ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", crop="4:8,0:16", channels="GFP")
    assert only(report).how == "files"
    check_pixels(tmp_path / "b.zarr", data[:, 1:2, :, 4:8], "0.5")
    report = ps.copy(tmp_path / "a.zarr", tmp_path / "c.zarr", crop="4:8,0:8")
    assert (only(report).how, only(report).why) == ("pixels", "cut inside chunks along X")
    check_pixels(tmp_path / "c.zarr", data[..., 4:8, 0:8], "0.5")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"time": "1:3"}, "cut inside chunks along T"),
        ({"time": "::2"}, "cut inside chunks along T"),
        ({"crop": "1:12,8:16"}, "cut inside chunks along Y"),
        ({"crop": "4:11,1:16"}, "cut inside chunks along Y, X"),
    ],
    ids=str,
)
@pytest.mark.parametrize("target", ["0.4", "0.5"])
def test_a_cut_through_chunks_is_encoded_anew_in_the_same_way(tmp_path, version, target, options, why):
    image(tmp_path / "a.zarr", version, compressor="zstd:7")
    report = ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", version=target, **options)
    assert (only(report).how, only(report).why) == ("pixels", why)
    document = json.dumps(array_document(tmp_path / "b.zarr/0"))
    assert '"zstd"' in document
    assert '"level": 7' in document
    assert ps.open_ome_zarr(tmp_path / "b.zarr")["0"].chunks == CHUNKS


# --- from version to version ----------------------------------------------------------------------

AS_FILES = {
    "0.4": {
        "blosc": {"compressors": numcodecs.Blosc("lz4", 5, 2)},
        "blosc zstd, shuffle by the type": {"compressors": numcodecs.Blosc("zstd", 1, -1)},
        "zstd": {"compressors": numcodecs.Zstd(3)},
        "gzip": {"compressors": numcodecs.GZip(1)},
        "no compression": {"compressors": None},
        "dots": {"chunk_key_encoding": {"name": "v2", "separator": "."}},
        "columns first": {"order": "F"},
        "big endian": {"dtype": ">u2"},
        "one byte": {"dtype": "uint8"},
        "floats": {"dtype": "<f4", "fill_value": float("nan")},
        "another fill value": {"fill_value": 7},
        "no fill value": {"fill_value": None},
    },
    "0.5": {
        "blosc": {"compressors": zarr.codecs.BloscCodec(cname="lz4", shuffle="bitshuffle", typesize=2)},
        "zstd": {"compressors": zarr.codecs.ZstdCodec(level=1)},
        "gzip": {"compressors": zarr.codecs.GzipCodec(level=1)},
        "no compression": {"compressors": None},
        "dots": {"chunk_key_encoding": {"name": "default", "separator": "."}},
        "keys of v2": {"chunk_key_encoding": {"name": "v2", "separator": "/"}},
        "columns first": {"filters": [zarr.codecs.TransposeCodec(order=(4, 3, 2, 1, 0))]},
        "big endian": {"serializer": zarr.codecs.BytesCodec(endian="big")},
        "floats": {"dtype": "float32", "fill_value": float("inf")},
        "another fill value": {"fill_value": 7},
        "no names of dimensions": {"dimension_names": None},
    },
}
ANEW = {
    "0.4": {
        "zlib": ({"compressors": numcodecs.Zlib(1)}, "compressed with zlib"),
        "lzma": ({"compressors": numcodecs.LZMA()}, "compressed with lzma"),
        "a filter": ({"filters": [numcodecs.Delta(dtype="<u2")]}, "filtered (delta)"),
    },
    "0.5": {
        "shards": ({"shards": (2, 3, 2, 12, 16)}, "shards"),
        "a checksum": (
            {"compressors": [zarr.codecs.ZstdCodec(level=1), zarr.codecs.Crc32cCodec()]},
            "checksums (crc32c)",
        ),
        "transposed": (
            {"filters": [zarr.codecs.TransposeCodec(order=(0, 2, 1, 4, 3))]},
            "transposed by [0, 2, 1, 4, 3]",
        ),
    },
}


def _cases(table: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    return [(version, name) for version, cases in table.items() for name in cases]


@pytest.mark.parametrize(("source", "name"), _cases(AS_FILES), ids=str)
def test_the_other_version_keeps_the_bytes_of_every_chunk(tmp_path, source, name):
    data = foreign(tmp_path / "a.zarr", source, **AS_FILES[source][name])
    target = OTHER[source]
    report = ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", version=target, verify=True)
    fmt = {"0.4": 2, "0.5": 3}[target]
    assert (only(report).how, only(report).why) == ("files", f"same chunks, described for zarr v{fmt}")
    assert chunk_bytes(tmp_path / "b.zarr/0") == chunk_bytes(tmp_path / "a.zarr/0") or name == "dots"
    assert sorted(chunk_bytes(tmp_path / "b.zarr/0").values()) == sorted(
        chunk_bytes(tmp_path / "a.zarr/0").values()
    )
    check_pixels(tmp_path / "b.zarr", data, target)
    if target == "0.5":
        assert array_document(tmp_path / "b.zarr/0")["chunk_key_encoding"]["name"] == "v2"
    part = {"crop": "4:12,0:8", "channels": ["Cy5", "DAPI"], "time": "2:4"}
    report = ps.copy(tmp_path / "a.zarr", tmp_path / "c.zarr", version=target, **part)
    assert only(report).how == "files"
    check_pixels(tmp_path / "c.zarr", data[2:4, [2, 0], :, 4:12, 0:8], target)
    report = ps.copy(tmp_path / "a.zarr", tmp_path / "d.zarr", version=target, crop="1:11,0:7")
    assert only(report).how == "pixels"
    check_pixels(tmp_path / "d.zarr", data[..., 1:11, 0:7], target)


@pytest.mark.parametrize(("source", "name"), _cases(AS_FILES), ids=str)
def test_there_and_back_again_the_bytes_are_the_same(tmp_path, source, name):
    data = foreign(tmp_path / "a.zarr", source, **AS_FILES[source][name])
    ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", version=OTHER[source])
    report = ps.copy(tmp_path / "b.zarr", tmp_path / "c.zarr", version=source)
    assert only(report).how == "files"
    assert sorted(chunk_bytes(tmp_path / "c.zarr/0").values()) == sorted(
        chunk_bytes(tmp_path / "a.zarr/0").values()
    )
    check_pixels(tmp_path / "c.zarr", data, source)


@pytest.mark.parametrize(("source", "name"), _cases(ANEW), ids=str)
def test_what_the_other_version_cannot_say_is_encoded_anew_and_the_report_says_why(tmp_path, source, name):
    options, why = ANEW[source][name]
    data = foreign(tmp_path / "a.zarr", source, **options)
    target = OTHER[source]
    report = ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", version=target, verify=True)
    assert only(report).how == "pixels"
    assert why in only(report).why
    check_pixels(tmp_path / "b.zarr", data, target)
    assert ps.open_ome_zarr(tmp_path / "b.zarr")["0"].chunks == CHUNKS
    report = ps.copy(tmp_path / "a.zarr", tmp_path / "c.zarr", version=target, crop="4:12,0:8", time="1:3")
    check_pixels(tmp_path / "c.zarr", data[1:3, ..., 4:12, 0:8], target)
    report = ps.copy(tmp_path / "a.zarr", tmp_path / "d.zarr")
    assert only(report).how == "files", "in its own version it stays"
    before, after = chunk_bytes(tmp_path / "a.zarr/0"), chunk_bytes(tmp_path / "d.zarr/0")
    if source == "0.4":  # which has directories
        before = {key.replace(".", "/"): data for key, data in before.items()}
    assert after == before


@pytest.mark.parametrize(("source", "name"), [*_cases(AS_FILES), *_cases(ANEW)], ids=str)
def test_parts_in_the_same_version_keep_the_encoding(tmp_path, source, name):
    options = {**AS_FILES[source], **{k: v[0] for k, v in ANEW[source].items()}}[name]
    data = foreign(tmp_path / "a.zarr", source, **options)
    ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", crop="1:11,0:7", channels=["GFP"])
    check_pixels(tmp_path / "b.zarr", data[:, 1:2, :, 1:11, 0:7], source)
    before, after = (array_document(tmp_path / p / "0") for p in ("a.zarr", "b.zarr"))
    same = ("dtype", "data_type", "compressor", "filters", "order", "fill_value", "chunk_key_encoding")
    for key in same:
        assert after.get(key) == before.get(key)
    ps.copy(tmp_path / "a.zarr", tmp_path / "c.zarr", chunks=(1, 1, 2, 12, 16), compressor="gzip")
    check_pixels(tmp_path / "c.zarr", data, source)


# --- missing chunks -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("0.4", {}),
        ("0.5", {}),
        ("0.4", {"chunks": (4, 3, 2, 12, 16)}),
        ("0.5", {"chunks": (2, 1, 1, 3, 10), "compressor": "none"}),
        ("0.4", {"crop": "1:9,3:16"}),
        ("0.5", {"crop": "4:12,0:8"}),
        ("0.5", {"shards": "ZYX"}),
        ("0.4", {"pyramid": 2}),
    ],
    ids=str,
)
@pytest.mark.parametrize("fill", [0, 7])
def test_chunks_that_were_never_written_read_the_same(tmp_path, version, target, options, fill):
    foreign(tmp_path / "a.zarr", version, data=np.full(SHAPE, fill, "uint16"), fill_value=fill)
    array = zarr.open_array(tmp_path / "a.zarr/0", mode="r+")
    array[1, 2, :, 2:5, 9:] = 200
    assert len(chunk_bytes(tmp_path / "a.zarr/0")) == 4
    ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", version=target, verify=True, **options)
    crop = [slice(*map(int, p.split(":"))) for p in options.get("crop", "0:12,0:16").split(",")]
    check_pixels(tmp_path / "b.zarr", array[...][(..., *crop)], target)
    if not options:
        before = chunk_bytes(tmp_path / "a.zarr/0")
        if target == "0.4":  # which has directories
            before = {key.replace(".", "/"): data for key, data in before.items()}
        assert chunk_bytes(tmp_path / "b.zarr/0") == before


def test_zeros_are_not_written(tmp_path, version):
    data = np.zeros(SHAPE, "uint16")
    data[0, 0, 0, :4, :8] = 5
    image(tmp_path / "a.zarr", version, data=data)
    ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", chunks=(1, 1, 1, 6, 8), version=OTHER[version])
    assert len(chunk_bytes(tmp_path / "b.zarr/0")) == 1
    check_pixels(tmp_path / "b.zarr", data, OTHER[version])


# --- layouts --------------------------------------------------------------------------------------

_layouts = st.fixed_dictionaries(
    {
        "chunks": st.tuples(*[st.integers(max(1, n // 3), n) for n in SHAPE]),
        "shards": st.none()
        | st.sampled_from(["ZYX", "YX", "CZYX", "64KiB", 2**16])
        | st.tuples(*[st.integers(1, 3)] * 5).map(lambda r: ("ratio", r)),
        "compressor": st.none() | st.sampled_from(["blosc-lz4", "blosc-zstd:3", "zstd:9", "gzip:2", "none"]),
        "checksum": st.booleans(),
    }
)


def _options(layout: dict[str, Any]) -> dict[str, Any]:
    out = {key: value for key, value in layout.items() if value is not None and key != "shards"}
    if isinstance(layout["shards"], tuple):
        out["shards_ratio"] = layout["shards"][1]
    elif layout["shards"] is not None:
        out["shards"] = layout["shards"]
    return out


@settings(deadline=None, max_examples=examples(15))
@given(
    before=_layouts, after=_layouts, dtype=st.sampled_from(["uint8", "int16", "float32", "bool", "uint64"])
)
def test_every_layout_becomes_every_other(before, after, dtype):
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        data = noise(SHAPE, "uint16").astype(dtype)
        image(folder / "a.zarr", "0.5", data=data, **_options(before))
        report = ps.copy(folder / "a.zarr", folder / "b.zarr", verify=True, **_options(after))
        check_pixels(folder / "b.zarr", data, "0.5")
        copied = ps.open_ome_zarr(folder / "b.zarr")["0"]
        wanted = ps.open_ome_zarr(folder / "a.zarr").plan_layout(**_options(after))
        assert copied.chunks == wanted.chunks
        if after["shards"] is not None:
            assert copied.shards == wanted.shards
        kept = snapshot(folder / "b.zarr/0") == snapshot(folder / "a.zarr/0")
        assert kept or only(report).how == "pixels"


def test_shards_are_dropped_by_0_4_and_chunks_stay(tmp_path):
    data = image(tmp_path / "a.zarr", "0.5", shards_ratio=(1, 3, 2, 3, 2), compressor="gzip:3")
    ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", version="0.4")
    check_pixels(tmp_path / "b.zarr", data, "0.4")
    document = array_document(tmp_path / "b.zarr/0")
    assert document["chunks"] == list(CHUNKS)
    assert document["compressor"] == {"id": "gzip", "level": 3}


def test_shards_are_taken_away(tmp_path):
    data = image(tmp_path / "a.zarr", "0.5", shards_ratio=(1, 3, 2, 3, 2), compressor="gzip:3")
    ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", shards="none")
    check_pixels(tmp_path / "b.zarr", data, "0.5")
    copied = ps.open_ome_zarr(tmp_path / "b.zarr")["0"]
    assert (copied.chunks, copied.shards) == (CHUNKS, None)
    assert '"gzip"' in json.dumps(array_document(tmp_path / "b.zarr/0"))


def test_chunks_that_are_there_already_keep_an_encoding_of_others(tmp_path):
    data = foreign(tmp_path / "a.zarr", "0.4", compressors=numcodecs.Zlib(1))
    report = ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", chunks=CHUNKS)
    assert only(report).how == "files"
    check_pixels(tmp_path / "b.zarr", data, "0.4")


def test_a_shard_keeps_about_its_size_under_new_chunks(tmp_path):
    image(tmp_path / "a.zarr", "0.5", shards_ratio=(1, 3, 2, 3, 2))
    ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", chunks=(1, 1, 1, 6, 5))
    copied = ps.open_ome_zarr(tmp_path / "b.zarr")["0"]
    assert copied.chunks == (1, 1, 1, 6, 5)
    assert copied.shards == (2, 3, 2, 12, 15)


def test_labels_get_the_layout_as_far_as_it_fits_them(tmp_path):
    image(tmp_path / "a.zarr", "0.5")
    position = ps.open_ome_zarr(tmp_path / "a.zarr", mode="r+")
    cells = noise((4, 1, 2, 12, 16), "uint8")
    position.create_label("cells", cells)
    ps.copy(position, tmp_path / "b.zarr", chunks=(1, 3, 1, 6, 8), shards_ratio=(2, 1, 1, 2, 2))
    label = ps.open_ome_zarr(tmp_path / "b.zarr")["labels/cells/0"]
    assert (label.chunks, label.shards) == ((1, 1, 1, 6, 8), (2, 1, 1, 12, 16))
    np.testing.assert_array_equal(levels_of(tmp_path / "b.zarr/labels/cells")["0"], cells)
    check_store(tmp_path / "b.zarr", "0.5")


# --- levels ---------------------------------------------------------------------------------------


def test_each_level_goes_its_own_way(tmp_path, version):
    position = new_position(tmp_path / "a.zarr", version, names="yx", channels=["BF"])
    position.create_image("0", pixels(32, 32), chunks=(8, 8), pyramid_levels=4)
    report = ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", crop="8:24,16:24")
    ways = {path: (a.how, a.why) for path, a in arrays_by_path(report).items()}
    assert ways == {
        "0": ("files", "whole chunks"),
        "1": ("pixels", "cut inside chunks along y, x"),
        "2": ("pixels", "cut inside chunks along y, x"),
        "3": ("pixels", "cut inside chunks along y, x"),
    }
    report = ps.copy(tmp_path / "a.zarr", tmp_path / "c.zarr", crop="8:24,16:28")
    ways = {path: (a.how, a.why) for path, a in arrays_by_path(report).items()}
    assert ways["3"][0] == "levels"
    assert ways["3"][1].startswith("made by mean")
    assert [ways[name][0] for name in "012"] == ["pixels"] * 3


def test_no_pixels(tmp_path, version):
    image(tmp_path / "a.zarr", version)
    report = ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", levels="none", version=OTHER[version])
    assert only(report).how == "empty"
    assert chunk_bytes(tmp_path / "b.zarr/0") == {}
    assert levels_of(tmp_path / "b.zarr")["0"].shape == SHAPE


def test_a_pyramid_that_is_asked_for_leaves_level_zero_as_files(tmp_path, version):
    image(tmp_path / "a.zarr", version)
    report = ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", pyramid=3, version=OTHER[version])
    ways = [(a.path, a.how, a.why) for a in report.arrays]
    assert ways[0][:2] == ("0", "files")
    assert [way[:2] for way in ways[1:]] == [("1", "levels"), ("2", "levels")]
    assert all(why.startswith("made by mean") for _, _, why in ways[1:])
    assert chunk_bytes(tmp_path / "b.zarr/0") == chunk_bytes(tmp_path / "a.zarr/0")


# --- archives -------------------------------------------------------------------------------------


def test_archives_hold_the_same_files(tmp_path, version):
    make_plate(tmp_path / "a.zarr", version)
    report = ps.copy(tmp_path / "a.zarr", tmp_path / "b.ozx")
    assert how(report) == {"files"}
    assert report.version == "0.5"
    report = ps.copy(tmp_path / "b.ozx", tmp_path / "c.zarr", verify=True)
    assert how(report) == {"files"}
    if version == "0.5":
        assert snapshot(tmp_path / "c.zarr") == snapshot(tmp_path / "a.zarr")
    report = ps.copy(tmp_path / "c.zarr", tmp_path / "d.ozx")
    assert (tmp_path / "d.ozx").read_bytes() == (tmp_path / "b.ozx").read_bytes(), "the same again"
    report = ps.copy(tmp_path / "b.ozx", tmp_path / "e.ozx")
    assert (tmp_path / "e.ozx").read_bytes() == (tmp_path / "b.ozx").read_bytes()
    ps.copy(tmp_path / "b.ozx", tmp_path / "f.zarr", version="0.4")
    for position in ("A/1/0", "A/2/0", "B/1/0"):
        before = levels_of(tmp_path / "a.zarr" / position)["0"]
        np.testing.assert_array_equal(levels_of(tmp_path / "f.zarr" / position)["0"], before)
        assert sorted(chunk_bytes(tmp_path / "f.zarr" / position / "0").values()) == sorted(
            chunk_bytes(tmp_path / "a.zarr" / position / "0").values()
        )
    check_store(tmp_path / "f.zarr", "0.4")


def test_an_archive_of_0_4_cannot_be(tmp_path):
    make_plate(tmp_path / "a.zarr", "0.4")
    with pytest.raises(ps.ArgumentError, match="an archive holds 0\\.5"):
        ps.copy(tmp_path / "a.zarr", tmp_path / "b.ozx", version="0.4")
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


# --- other stores ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "ways"),
    [
        ("b.zarr", {}, ["files"]),
        ("b.zarr", {"version": "0.4"}, ["files"]),
        ("b.ozx", {}, ["files"]),
        ("b.zarr", {"wells": "A/2"}, ["files"]),
        ("b.zarr", {"crop": "0:4,0:8", "channels": "GFP", "verify": True}, ["pixels"]),
        ("b.ozx", {"pyramid": 2, "verify": True}, ["files", "levels"]),
    ],
    ids=str,
)
def test_a_store_that_zarr_reaches_is_copied(tmp_path, name, options, ways):
    plate = ps.open_ome_zarr(
        zarr.storage.MemoryStore(), layout="hcs", mode="w-", channel_names=["DAPI", "GFP"], version="0.5"
    )
    data = pixels(1, 2, 2, 8, 8)
    for number, position in enumerate(plate.create_positions([("A", "1", "0"), ("A", "2", "0")])):
        position.create_image("0", data + number)
        position.create_label("cells", np.ones((1, 1, 2, 8, 8), "uint8"))
    report = ps.copy(plate, tmp_path / name, **options)
    assert sorted(how(report)) == ways
    part = np.s_[:, 1:, :, 0:4] if "crop" in options else np.s_[:]
    with unpacked(tmp_path / name) as copied:
        np.testing.assert_array_equal(levels_of(copied / "A/2/0")["0"], (data + 1)[part])
        assert levels_of(copied / "A/2/0/labels/cells")["0"].all()
        check_store(copied, report.version)


# --- plans ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"crop": "2:9,3:16"},
        {"crop": "4:12,8:16", "pyramid": 2},
        {"levels": "none"},
        {"chunks": (1, 1, 1, 6, 6)},
        {"channels": ["Cy5", "DAPI"]},
    ],
    ids=str,
)
@pytest.mark.parametrize("suffix", [".zarr", ".ozx"])
def test_a_plan_says_what_will_be_done_and_does_nothing(tmp_path, options, suffix):
    image(tmp_path / "a.zarr", "0.5")
    plan = ps.copy(tmp_path / "a.zarr", tmp_path / f"b{suffix}", dry_run=True, **options)
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]
    done = ps.copy(tmp_path / "a.zarr", tmp_path / f"b{suffix}", **options)
    assert (plan.arrays, plan.notes, plan.version) == (done.arrays, done.notes, done.version)
    assert plan.dry_run
    assert not done.dry_run
    assert plan.files >= done.files
    if how(done) <= {"files", "empty"}:
        assert (plan.files, plan.nbytes) == (done.files, done.nbytes)
    assert plan.memory == done.memory
