"""Levels hold what level 0 lost: no repair makes them anew from what is left of it."""

from __future__ import annotations

import numpy as np
import pytest

import platestore as ps

CHUNK = 16


@pytest.fixture
def image(tmp_path, version):
    pixels = np.random.default_rng(0).integers(1, 4000, (1, 1, 1, 64, 64)).astype("uint16")
    path = tmp_path / "x.zarr"
    with ps.open_ome_zarr(path, layout="fov", mode="w-", channel_names=["a"], version=version) as position:
        position.create_image("0", pixels, chunks=(1, 1, 1, CHUNK, CHUNK))
        position.compute_pyramid(3)
    return path


def chunk(image, version, level, place):
    return image / level / ("" if version == "0.4" else "c") / "0/0/0" / place


def cut(path):
    path.write_bytes(path.read_bytes()[:20])


def corner(image, level):
    """The part of a level that was made from the first chunk of level 0."""
    size = CHUNK >> int(level)
    return ps.open_ome_zarr(image)[level][..., :size, :size]


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(
    "cuts", [[("0", "3/3")], [("1", "1/1")], [("0", "3/3"), ("1", "1/1")], [("2", "0/0")]], ids=str
)
def test_a_missing_chunk_beside_damaged_ones(image, version, cuts, deep):
    before = {level: corner(image, level) for level in ("1", "2")}
    chunk(image, version, "0", "0/0").unlink()
    for level, place in cuts:
        cut(chunk(image, version, level, place))
    report = ps.check(image, deep=deep, repair=True)
    assert "chunk-missing" in [f.code for f in report.findings]
    assert not report.whole
    assert not report.failed
    damaged = {level for level, place in cuts if place == "0/0"}
    for level in {"1", "2"} - damaged:
        assert np.array_equal(corner(image, level), before[level])
    assert not any("compute" in action for action in report.actions)


@pytest.mark.parametrize("deep", [False, True])
def test_levels_are_made_anew_where_level_0_holds_all(image, version, deep):
    before = corner(image, "1")
    cut(chunk(image, version, "1", "0/0"))
    report = ps.check(image, deep=deep, repair=True)
    assert report.whole, report.findings
    assert np.array_equal(corner(image, "1"), before)
