"""A copy of any part, in any layout and version, is what numpy takes of the original, in its place in space."""

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
        layout=(("chunks", (1, 6, 5)), ("compressor", "zstd"), ("checksum", True)),
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
    st.sampled_from(["A/*/0", "A/*", "*/*/1", "B/1/0", "A", "?/[12]/0", "*"]),
    min_size=1,
    max_size=2,
    unique=True,
)
_wells = st.lists(st.sampled_from(["A/1", "*/1", "A/*", "B"]), min_size=1, max_size=2, unique=True)


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
            out["shards"] = "1KiB"
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


@settings(deadline=None, max_examples=120)
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
        assert all(c == b or c == n for c, b, n in zip(image.chunks, before.chunks, image.shape, strict=True))
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
