"""A copy of any part, in any layout and version, is what numpy takes of the original, in its place."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import examples
from copying.copy_helpers import (
    Recipe,
    Source,
    array_document,
    check_image,
    check_store,
    expect,
    levels_of,
    refuses,
    unpacked,
)
from nodes.store_helpers import new_position, ome, pixels

RECIPES = {
    "0.4": Recipe("0.4"),
    "0.5 in shards": Recipe(
        "0.5",
        shape=(2, 2, 3, 14, 20),
        method="max",
        layout=(("chunks", (1, 1, 2, 4, 4)), ("shards_ratio", (1, 2, 2, 2, 3))),
    ),
    "0.5 without time": Recipe(
        "0.5",
        names="cyx",
        shape=(3, 18, 15),
        dtype="float32",
        steps=((1, 2, 2), (1, 3, 3)),
        method="stride",
        layout=(("chunks", (1, 9, 8)), ("compressor", "zstd"), ("checksum", True)),
    ),
    "0.4 with one level": Recipe("0.4", names="YX", shape=(17, 12), dtype="uint8", steps=(), layout=()),
    "0.4 by others": Recipe(
        "0.4",
        shape=(3, 2, 3, 9, 8),
        steps=((1, 1, 2, 2, 2),),
        method="min",
        foreign=(
            ("chunks", (2, 1, 3, 8, 4)),
            ("dtype", ">u2"),
            ("order", "F"),
            ("filters", [numcodecs.Delta(dtype=">u2")]),
            ("compressors", numcodecs.Zlib(1)),
        ),
    ),
    "0.5 by others": Recipe(
        "0.5",
        names="TCYX",
        shape=(4, 2, 12, 16),
        steps=((1, 1, 2, 2),),
        foreign=(
            ("chunks", (2, 1, 4, 8)),
            ("chunk_key_encoding", {"name": "default", "separator": "."}),
            ("serializer", zarr.codecs.BytesCodec(endian="big")),
            ("compressors", zarr.codecs.GzipCodec(level=1)),
        ),
        layout=(),
        label=False,
    ),
}


@pytest.fixture(scope="module", autouse=True)
def _folder() -> Iterator[None]:
    """A folder for the sources, which are made once."""
    global FOLDER
    with tempfile.TemporaryDirectory() as directory:
        FOLDER = Path(directory)
        yield
    source.cache_clear()


FOLDER = Path()


@cache
def source(name: str) -> Source:
    """One of the plates to copy from; no test changes it."""
    return Source(FOLDER / f"{name}.zarr", RECIPES[name])


# --- what is asked for ----------------------------------------------------------------------------


def ranges(size: int, *, steps: bool = True, unit: int = 1) -> st.SearchStrategy[slice]:
    """Ranges within an axis that take something."""

    def build(start: int, length: int, step: int) -> slice:
        return slice(start * unit, min(size, (start + length) * unit), step)

    units = -(-size // unit)
    return st.integers(0, units - 1).flatmap(
        lambda start: st.builds(
            build, st.just(start), st.integers(1, units - start), st.integers(1, 3) if steps else st.just(1)
        )
    )


def crops(size: int) -> st.SearchStrategy[tuple[int, int]]:
    """Ranges of pixels: any, those between chunks or between pixels of coarser levels, and to the end."""
    return st.sampled_from([1, 2, 4, 8]).flatmap(
        lambda unit: ranges(size, steps=False, unit=unit).map(lambda r: (r.start, r.stop))
    )


_globs = st.lists(
    st.sampled_from(["A/*/0", "A/*", "*/*/1", "B/2/0", "A", "?/[12]/0", "*"]),
    min_size=1,
    max_size=2,
    unique=True,
)
_wells = st.lists(st.sampled_from(["A/1", "*/2", "A/*", "B"]), min_size=1, max_size=2, unique=True)


@st.composite
def asks(draw: Any) -> tuple[str, dict[str, Any]]:
    """A source, and what is asked of it."""
    name = draw(st.sampled_from(sorted(RECIPES)))
    recipe = RECIPES[name]
    sizes = dict(zip(recipe.names.lower(), recipe.shape, strict=True))
    ask: dict[str, Any] = {
        "positions": draw(st.none() | _globs),
        "wells": draw(st.none() | st.none() | _wells),
        "acquisition": draw(st.none() | st.none() | st.sampled_from([[0], [1], [0, 1]])),
        "channels": draw(st.none() | st.permutations(recipe.channels).flatmap(_some)),
        "time": draw(st.none() | ranges(sizes["t"])) if "t" in sizes else None,
        "z": draw(st.none() | ranges(sizes["z"])) if "z" in sizes else None,
        "labels": draw(st.sampled_from([True, True, False])),
        "version": draw(st.sampled_from([None, "0.4", "0.5"])),
        "suffix": draw(st.sampled_from([".zarr", ".zarr", ".ozx"])),
        "verify": draw(st.booleans()),
    }
    if draw(st.booleans()):
        ask["crop"] = {"y": draw(crops(sizes["y"])), "x": draw(crops(sizes["x"]))}
    kind = draw(st.sampled_from(["levels", "levels", "pyramid"]))
    if kind == "levels":
        ask["levels"] = draw(st.sampled_from(["all", "all", "all", 0, "none"]))
    else:
        ask["pyramid"] = draw(st.sampled_from([1, 2, 3, "auto"]))
    if ask["suffix"] == ".ozx":
        ask["version"] = draw(st.sampled_from([None, "0.5"]))
    ask.update(draw(layouts(recipe, ask)))
    return name, ask


@st.composite
def layouts(draw: Any, recipe: Recipe, ask: dict[str, Any]) -> dict[str, Any]:
    """Chunks, shards and compressors."""
    out: dict[str, Any] = {}
    if draw(st.booleans()):
        out["chunks"] = tuple(draw(st.integers(1, max(2, n // 2))) for n in recipe.shape)
    if draw(st.booleans()):
        out["compressor"] = draw(st.sampled_from(["none", "zstd:1", "gzip", "blosc-zstd", "blosc-lz4"]))
    if version_of(recipe, ask) == "0.5":
        shards = draw(st.sampled_from([None, None, "ratio", "axes", "size"]))
        if shards == "ratio" and "chunks" in out:
            out["shards_ratio"] = tuple(draw(st.integers(1, 3)) for _ in recipe.shape)
        elif shards == "axes":
            out["shards"] = "YX"
        elif shards == "size":
            out["shards"] = "16KiB"
        out["checksum"] = draw(st.booleans())
    return out


def _some(names: list[str]) -> st.SearchStrategy[list[str]]:
    return st.integers(1, len(names)).map(lambda count: list(names[:count]))


def version_of(recipe: Recipe, ask: dict[str, Any]) -> str:
    """The version that a copy gets."""
    return "0.5" if ask["suffix"] == ".ozx" else ask["version"] or recipe.version


def options(ask: dict[str, Any]) -> dict[str, Any]:
    """The same as arguments of ``platestore.copy``."""
    return {key: value for key, value in ask.items() if key != "suffix" and value is not None}


# --- the property ---------------------------------------------------------------------------------


@settings(deadline=None, max_examples=examples(40))
@given(given_ask=asks())
def test_a_copy_is_the_part_that_was_asked_for(given_ask):
    name, ask = given_ask
    origin, recipe = source(name), RECIPES[name]
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        target = folder / f"copy{ask['suffix']}"
        taken = origin.positions(ask)
        if not taken:
            with refuses(ps.ArgumentError, folder):
                ps.copy(origin.path, target, **options(ask))
            return
        report = ps.copy(origin.path, target, **options(ask))
        assert report.positions == len(taken)
        assert report.version == version_of(recipe, ask)
        assert report.verified == ask["verify"]
        assert [path.name for path in folder.iterdir()] == [target.name], "nothing is left beside it"
        with unpacked(target) as copied:
            origin.check(copied, ask)
            check_store(copied, report.version)
            check_layout(copied, taken, ask, recipe)
            paths = sorted(a.path for a in report.arrays)
            documents = itertools.chain(copied.rglob(".zarray"), copied.rglob("zarr.json"))
            assert paths == sorted(
                str(d.parent.relative_to(copied)) for d in documents if "shape" in array_document(d.parent)
            )
        with ps.open_ome_zarr(target) as opened:
            assert [path for path, _ in opened.positions()] == taken


def check_layout(copied: Path, taken: list[str], ask: dict[str, Any], recipe: Recipe) -> None:
    """The layout is the one asked for; what was not asked for is as in the source."""
    image = ps.open_ome_zarr(copied / taken[0])["0"]
    if "chunks" in ask:
        assert image.chunks == tuple(min(c, n) for c, n in zip(ask["chunks"], image.shape, strict=True))
    elif not ask.get("shards"):
        before = ps.open_ome_zarr(source_path(recipe) / taken[0])["0"]
        assert all(c in (b, n) for c, b, n in zip(image.chunks, before.chunks, image.shape, strict=True))
    if ask.get("shards_ratio"):
        assert image.shards == tuple(c * r for c, r in zip(image.chunks, ask["shards_ratio"], strict=True))
    elif ask.get("shards"):
        assert image.shards is not None
    if version_of(recipe, ask) == "0.4":
        assert image.shards is None
    if ask.get("checksum"):
        assert "crc32c" in str(array_document(copied / taken[0] / "0"))
    names = {"none": None, "zstd:1": "zstd", "gzip": "gzip", "blosc-zstd": "blosc", "blosc-lz4": "blosc"}
    if "compressor" in ask:
        wanted = names[ask["compressor"]]
        document = str(array_document(copied / taken[0] / "0"))
        for other in ("zstd", "gzip", "blosc"):
            called = f"'name': '{other}'" in document or f"'id': '{other}'" in document
            assert called == (other == wanted)


def source_path(recipe: Recipe) -> Path:
    """Where a source is."""
    return next(source(name).path for name, other in RECIPES.items() if other is recipe)


# --- levels ---------------------------------------------------------------------------------------


def plane(
    path: Path, size: int = 32, version: str = "0.5", levels: int = 3, **how: Any
) -> dict[str, np.ndarray]:
    """An image of one plane and levels, each with pixels of its own."""
    position = new_position(path, version, names="yx", channels=["BF"])
    position.create_image("0", pixels(size, size), pyramid_levels=levels, **how)
    for number, name in enumerate(position):
        if number:
            position[name][...] = np.arange(position[name].size).reshape(position[name].shape) % 251 + number
    return levels_of(path)


@pytest.mark.parametrize(
    ("crop", "kept"),
    [
        ("0:32,0:32", 3),
        ("4:12,8:32", 3),
        ("0:16,16:32", 3),
        ("2:12,8:32", 2),
        ("4:12,8:30", 2),
        ("1:12,8:32", 1),
        ("4:12,8:31", 1),
        ("0:1,0:1", 1),
    ],
)
def test_levels_are_cut_as_long_as_the_crop_falls_between_their_pixels(tmp_path, crop, kept):
    before = plane(tmp_path / "a.zarr")
    report = ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", crop=crop)
    after = levels_of(tmp_path / "b.zarr")
    y, x = (slice(*map(int, part.split(":"))) for part in crop.split(","))
    for k, data in enumerate(list(after.values())[:kept]):
        cut = before[str(k)][y.start >> k : y.stop >> k, x.start >> k : x.stop >> k]
        np.testing.assert_array_equal(data, cut)
    assert [array.how for array in report.arrays].count("levels") == len(after) - kept
    for k in range(kept, len(after)):
        above = after[str(k - 1)].astype(float)
        padded = np.pad(above, [(0, n % 2) for n in above.shape], "edge")
        means = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2).mean((1, 3))
        inner = tuple(slice(0, n // 2) for n in above.shape)
        np.testing.assert_array_equal(after[str(k)][inner], np.round(means)[inner])
    check_store(tmp_path / "b.zarr", "0.5")


@pytest.mark.parametrize("crop", ["16:20,0:20", "0:20,12:19", "8:20,4:20"])
def test_a_ragged_last_pixel_of_a_level_goes_with_the_end_of_the_image(tmp_path, crop):
    before = plane(tmp_path / "a.zarr", 19)  # levels of 19, 10 and 5
    stop = crop.replace("20", "19")
    ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", crop=stop)
    after = levels_of(tmp_path / "b.zarr")
    y, x = (slice(*map(int, part.split(":"))) for part in crop.split(","))
    for k in range(3):
        expected = before[str(k)][y.start >> k : -(-y.stop >> k), x.start >> k :]
        np.testing.assert_array_equal(
            after[str(k)], expected[: after[str(k)].shape[0], : after[str(k)].shape[1]]
        )
        assert after[str(k)].shape == tuple(-(-(min(r.stop, 19) - r.start) // 2**k) for r in (y, x))


@pytest.mark.parametrize("method", ["mean", "median", "mode", "min", "max", "stride"])
def test_levels_are_made_anew_by_the_method_that_is_recorded(tmp_path, version, method):
    plane(tmp_path / "a.zarr", version=version, pyramid_method=method)
    ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", crop="1:30,3:32")
    image = ome(tmp_path / "b.zarr")["multiscales"][0]
    assert image["type"] == method
    assert image["metadata"]["kwargs"]["method"] == method
    expected = expect(
        list(levels_of(tmp_path / "a.zarr").values()),
        [(1, 1), (2, 2), (4, 4)],
        [np.arange(1, 30), np.arange(3, 32)],
        method,
        {},
        (True, True),
    )
    check_image(tmp_path / "b.zarr", tmp_path / "a.zarr", expected, method)


def test_levels_of_others_are_made_anew_by_the_mean(tmp_path, version):
    plane(tmp_path / "a.zarr", version=version)
    document = tmp_path / "a.zarr" / (".zattrs" if version == "0.4" else "zarr.json")
    position = ps.open_ome_zarr(tmp_path / "a.zarr", mode="r+")
    position.metadata.multiscales[0].type = "laplacian"
    position.metadata.multiscales[0].metadata = {"method": "skimage.transform.pyramid_gaussian"}
    position.dump_meta()
    ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", crop="1:30,3:32")
    above = levels_of(tmp_path / "b.zarr")
    assert above["1"][0, 0] == np.round(above["0"][:2, :2].mean())
    image = ome(tmp_path / "b.zarr")["multiscales"][0]
    assert image["type"] != "laplacian", f"what {document.name} says is not how these were made"


def test_levels_that_were_never_computed_are_made_for_a_crop(tmp_path, version):
    position = new_position(tmp_path / "a.zarr", version, names="yx", channels=["BF"])
    position.create_image("0", pixels(16, 16))
    position.initialize_pyramid(3)
    report = ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", crop="8:16,0:16")
    assert [array.how for array in report.arrays][1:] == ["levels", "levels"]
    after = levels_of(tmp_path / "b.zarr")
    assert after["2"].any()
    assert "incomplete" not in str(ome(tmp_path / "b.zarr"))


@pytest.mark.parametrize("levels", [1, 2, 4, "auto"])
def test_a_pyramid_is_made_anew(tmp_path, version, levels):
    position = new_position(tmp_path / "a.zarr", version, names="zyx", channels=["BF"])
    position.create_image("0", pixels(3, 300, 20), chunks=(1, 64, 20), transform=None)
    before = levels_of(tmp_path / "a.zarr")["0"]
    report = ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", pyramid=levels)
    after = list(levels_of(tmp_path / "b.zarr").values())
    np.testing.assert_array_equal(after[0], before)
    count = 2 if levels == "auto" else levels
    shapes = [(3, 300, 20), (2, 150, 10), (1, 75, 5), (1, 38, 3)]
    assert [level.shape for level in after] == shapes[:count]
    assert report.arrays[0].how == "files", "level 0 stays as it is"
    for k in range(1, count):
        np.testing.assert_array_equal(
            after[k][0, 0, 0], np.round(after[k - 1][:2, :2, :2].astype(float).mean())
        )
    check_store(tmp_path / "b.zarr", version)


def test_level_zero_alone_and_no_pixels_at_all(tmp_path, version):
    before = plane(tmp_path / "a.zarr", version=version)
    ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", levels=0)
    after = levels_of(tmp_path / "b.zarr")
    assert list(after) == ["0"]
    np.testing.assert_array_equal(after["0"], before["0"])
    assert sorted(p.name for p in (tmp_path / "b.zarr").iterdir() if p.is_dir()) == ["0"]
    assert ome(tmp_path / "b.zarr")["multiscales"][0].get("type") in (None, "none")
    report = ps.copy(tmp_path / "a.zarr", tmp_path / "c.zarr", levels="none")
    assert [(array.how, array.files, array.nbytes) for array in report.arrays] == [("empty", 0, 0)]
    assert not levels_of(tmp_path / "c.zarr")["0"].any()
    assert levels_of(tmp_path / "c.zarr")["0"].shape == before["0"].shape
    ps.open_ome_zarr(tmp_path / "c.zarr", mode="r+")["0"][...] = before["0"]
    np.testing.assert_array_equal(levels_of(tmp_path / "c.zarr")["0"], before["0"])


# --- labels ---------------------------------------------------------------------------------------


def coarse_label(path: Path, version: str) -> np.ndarray:
    """A position whose label image has half its resolution; returns the label's pixels."""
    position = new_position(path, version, names="yx", channels=["BF"])
    position.create_image("0", pixels(16, 16))
    position.create_label("cells", pixels(16, 16, dtype="uint8"))
    folder = path / "labels" / "cells"
    cells = pixels(8, 8, dtype="uint8")
    shutil.rmtree(folder / "0")
    names = {} if version == "0.4" else {"dimension_names": ["y", "x"]}
    fmt = 2 if version == "0.4" else 3
    zarr.create_array(store=folder / "0", data=cells, chunks=(4, 4), zarr_format=fmt, **names)
    label = ps.open_ome_zarr(folder, mode="r+")
    label.set_scale("0", "y", 2.0)
    label.set_scale("0", "x", 2.0)
    return cells


def test_a_label_image_of_another_resolution_is_cut_where_it_has_pixels_for_the_part(tmp_path, version):
    cells = coarse_label(tmp_path / "a.zarr", version)
    ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", crop="4:10,2:16")
    np.testing.assert_array_equal(levels_of(tmp_path / "b.zarr/labels/cells")["0"], cells[2:5, 1:8])
    with refuses(ps.ArgumentError, tmp_path, match="labels/cells.*no whole number of its pixels"):
        ps.copy(tmp_path / "a.zarr", tmp_path / "c.zarr", crop="3:10,2:16")
    ps.copy(tmp_path / "a.zarr", tmp_path / "c.zarr", crop="3:10,2:16", labels=False)
    assert levels_of(tmp_path / "c.zarr")["0"].shape == (7, 14)


def test_a_label_image_without_channels_follows_the_other_axes(tmp_path):
    origin = Path(__file__).parents[1] / "data" / "cardiomyocytes-crop.zarr"  # its labels have axes zyx
    ps.copy(
        origin,
        tmp_path / "b.zarr",
        channels=["Lamin B1", "DAPI"],
        crop="16:96,32:128",
        version="0.5",
        chunks=(1, 1, 40, 48),
    )
    before, after = levels_of(origin), levels_of(tmp_path / "b.zarr")
    np.testing.assert_array_equal(after["0"], before["0"][[2, 0], :, 16:96, 32:128])
    np.testing.assert_array_equal(after["1"], before["1"][[2, 0], :, 8:48, 16:64])
    nuclei, cut = levels_of(origin / "labels/nuclei"), levels_of(tmp_path / "b.zarr/labels/nuclei")
    np.testing.assert_array_equal(cut["0"], nuclei["0"][:, 16:96, 32:128])
    np.testing.assert_array_equal(cut["1"], nuclei["1"][:, 8:48, 16:64])
    assert ps.open_ome_zarr(tmp_path / "b.zarr/labels/nuclei")["0"].chunks == (1, 40, 48)


def test_a_label_image_of_one_time_point_is_that_of_all(tmp_path, version):
    position = new_position(tmp_path / "a.zarr", version)
    position.create_image("0", pixels(4, 2, 3, 8, 8))
    cells = pixels(1, 1, 3, 8, 8, dtype="uint8")
    position.create_label("cells", cells)
    ps.copy(position, tmp_path / "b.zarr", time="1:4:2", z="1:", crop="2:6,0:8")
    np.testing.assert_array_equal(levels_of(tmp_path / "b.zarr/labels/cells")["0"], cells[:, :, 1:, 2:6])
    assert levels_of(tmp_path / "b.zarr")["0"].shape == (2, 2, 2, 4, 8)


# --- one well, one position -----------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".zarr", ".ozx"])
def test_a_position_is_copied_by_itself(tmp_path, suffix):
    origin = source("0.5 in shards")
    ask = {"channels": ["GFP"], "time": slice(1, 2), "crop": {"y": (2, 9), "x": (4, 20)}}
    position = ps.open_ome_zarr(origin.path / "B/2/0")
    report = position.copy_to(tmp_path / f"copy{suffix}", verify=True, **ask)
    assert report.positions == 1
    with unpacked(tmp_path / f"copy{suffix}") as copied:
        spatial = [n in "zyx" for n in origin.recipe.names.lower()]
        for inner, levels, factors, method, label in (
            ("", origin.images, origin.factors, "max", None),
            ("labels/cells", origin.labels, origin.label_factors, "mode", "B/2/0"),
        ):
            expected = expect(levels["B/2/0"], factors, origin.chosen(ask, label), method, ask, spatial)
            check_image(copied / inner, origin.path / "B/2/0" / inner, expected, method)
        check_store(copied, "0.5")
    read = ps.open_ome_zarr(tmp_path / f"copy{suffix}")
    assert type(read) is ps.Position
    assert read.channel_names == ["GFP"]


@pytest.mark.parametrize("suffix", [".zarr", ".ozx"])
def test_a_well_is_copied_by_itself(tmp_path, suffix):
    origin = source("0.4")
    well = ps.open_ome_zarr(origin.path)["A/1"]
    report = well.copy_to(tmp_path / f"copy{suffix}", positions="1", z="1:3")
    assert report.positions == 1
    read = ps.open_ome_zarr(tmp_path / f"copy{suffix}")
    assert type(read) is ps.Well
    assert [name for name, _ in read.positions()] == ["1"]
    np.testing.assert_array_equal(read["1/0"].numpy(), origin.images["A/1/1"][0][:, :, 1:3])
    with unpacked(tmp_path / f"copy{suffix}") as copied:
        assert ome(copied)["well"]["images"] == [{"path": "1", "acquisition": 1}]
        check_store(copied, report.version)


# --- what cannot be -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positions": "C/*"}, "positions: nothing matches 'C/\\*'"),
        ({"positions": ["A/1/0", "A/1/7"]}, "nothing matches 'A/1/7'"),
        ({"wells": "A/3"}, "wells: nothing matches"),
        ({"acquisition": 2}, "nothing is left"),
        ({"wells": "B/2", "acquisition": 1}, "nothing is left"),
        ({"acquisition": -1}, "identifier"),
        ({"positions": []}, "paths or globs"),
        ({"channels": ["Cy3"]}, "there is no channel 'Cy3'"),
        ({"channels": ["GFP", "GFP"]}, "more than once"),
        ({"channels": []}, "no channel"),
        ({"time": "2:5"}, "t has 2 elements"),
        ({"time": "1:1"}, "selects nothing"),
        ({"z": "-5:"}, "z has 4 elements"),
        ({"z": "x"}, "no range"),
        ({"crop": "0:17,0:20"}, "y has 16 elements"),
        ({"crop": "0:8"}, "cannot be read"),
        ({"crop": "z=0:2,y=0:8", "z": "0:2"}, "both"),
        ({"levels": 1}, "levels must be"),
        ({"pyramid": 0}, "levels must be"),
        ({"pyramid": 2, "levels": 0}, "anew"),
        ({"version": "0.6"}, "0.6"),
        ({"shards": "ZYX"}, "no shards"),
        ({"checksum": True}, "no checksums"),
        ({"compressor": "lzo"}, "lzo"),
        ({"chunks": (1, 1, 1, 1, 8, 8)}, "chunks"),
        ({"chunks": (8, 8)}, "chunks"),
        ({"chunks": (0, 1, 1, 8, 8)}, "chunks"),
        ({"shards": "ZYX", "shards_ratio": (1, 1, 1, 2, 2), "version": "0.5"}, "both"),
        ({"workers": 0}, "workers"),
        ({"max_memory": "x"}, "max_memory"),
    ],
    ids=str,
)
@pytest.mark.parametrize("suffix", [".zarr"])
def test_what_cannot_be_is_refused_and_nothing_is_written(tmp_path, suffix, options, message):
    with refuses(ps.PlatestoreError, tmp_path, match=message) as caught:
        ps.copy(source("0.4").path, tmp_path / f"copy{suffix}", **options)
    assert isinstance(caught.value, ValueError)


def test_an_axis_that_the_image_lacks_is_no_range(tmp_path):
    with refuses(ps.ArgumentError, tmp_path, match="no axis t"):
        ps.copy(source("0.5 without time").path, tmp_path / "b.zarr", time="1:2")
    ps.copy(source("0.5 without time").path, tmp_path / "b.zarr", time="0:1", z="0", positions="A/1/0")
    np.testing.assert_array_equal(
        levels_of(tmp_path / "b.zarr/A/1/0")["0"], source("0.5 without time").images["A/1/0"][0]
    )


def test_an_image_without_a_channel_axis_has_one_channel(tmp_path):
    origin = source("0.4 with one level")
    ps.copy(origin.path, tmp_path / "b.zarr", channels="BF", positions="A/1/0")
    np.testing.assert_array_equal(levels_of(tmp_path / "b.zarr/A/1/0")["0"], origin.images["A/1/0"][0])
    with refuses(ps.ArgumentError, tmp_path, match="GFP"):
        ps.copy(origin.path, tmp_path / "c.zarr", channels="GFP")
