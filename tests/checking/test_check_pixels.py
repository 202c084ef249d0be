"""Damaged, missing and stray chunks: found, set aside or salvaged, and levels made anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from check_cases import codes, repaired

import platestore as ps

SHAPE = (1, 1, 4, 64, 64)


def make(path: Path, version: str, *, sharded: bool) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(1, 60000, SHAPE).astype("uint16")
    how = {"shards": (1, 1, 4, 64, 64), "checksum": True} if sharded else {}
    with ps.open_ome_zarr(path, layout="fov", mode="w-", channel_names=["a"], version=version) as position:
        position.create_image("0", pixels, chunks=(1, 1, 1, 32, 32), **how)
        position.compute_pyramid(3)
    return pixels


def chunks(path: Path) -> list[Path]:
    files = [p for p in path.rglob("*") if p.is_file() and p.name.isdecimal()]
    return sorted(files, key=lambda p: str(p))


@pytest.mark.parametrize("how", ["empty", "cut off"])
def test_damaged_chunks_are_set_aside_and_their_levels_made_anew(tmp_path, version, how):
    path = tmp_path / "p.zarr"
    pixels = make(path, version, sharded=False)
    victim = chunks(path / "0")[5]
    data = victim.read_bytes()
    victim.write_bytes(b"" if how == "empty" else data[: len(data) // 2])
    assert codes(ps.check(path)) & {"chunk-empty", "chunk-truncated"}
    report = repaired(path)
    assert not victim.exists()
    left = ps.open_ome_zarr(path)["0"][...]
    assert ((left == pixels) | (left == 0)).all()
    assert (left == 0).sum() == 32 * 32
    assert any("computed the levels" in action for action in report.actions)


def test_garbled_chunks_are_found_by_a_deep_check(tmp_path, version):
    path = tmp_path / "p.zarr"
    make(path, version, sharded=False)
    victim = chunks(path / "1")[0]
    data = bytearray(victim.read_bytes())
    data[24:] = bytes(len(data) - 24)
    victim.write_bytes(data)
    assert not ps.check(path, deep=True).whole
    report = ps.check(path, deep=True, repair=True)
    assert report.whole, report
    assert ps.check(path, deep=True).whole


def test_what_can_be_read_of_a_damaged_shard_is_kept(tmp_path):
    path = tmp_path / "p.zarr"
    pixels = make(path, "0.5", sharded=True)
    (victim,) = chunks(path / "0")
    data = bytearray(victim.read_bytes())
    data[10] ^= 0xFF
    victim.write_bytes(data)
    assert "chunk-damaged" in codes(ps.check(path, deep=True))
    report = ps.check(path, deep=True, repair=True)
    assert report.whole, report
    assert any("15 of 16 chunks" in action for action in report.actions)
    left = ps.open_ome_zarr(path)["0"][...]
    assert ((left == pixels) | (left == 0)).all()
    assert (left == 0).sum() == 32 * 32
    kept = Path(report.quarantine, "store", victim.relative_to(path))
    assert kept.read_bytes() == bytes(data)
    assert ps.check(path, deep=True).whole


def test_of_a_shard_with_half_an_index_what_proves_itself_is_kept(tmp_path):
    path = tmp_path / "p.zarr"
    pixels = make(path, "0.5", sharded=True)
    (victim,) = chunks(path / "0")
    victim.write_bytes(victim.read_bytes()[:-40])
    assert codes(ps.check(path)) <= {"shard-index", "shard-truncated"}
    repaired(path)
    left = ps.open_ome_zarr(path)["0"][...]
    assert ((left == pixels) | (left == 0)).all()


def test_of_a_shard_without_anything_readable_nothing_is_kept(tmp_path):
    path = tmp_path / "p.zarr"
    make(path, "0.5", sharded=True)
    (victim,) = chunks(path / "0")
    victim.write_bytes(bytes(victim.stat().st_size))
    repaired(path)
    assert not ps.open_ome_zarr(path)["0"][...].any()


def test_stray_chunks_outside_the_array_are_set_aside(tmp_path, version):
    path = tmp_path / "p.zarr"
    pixels = make(path, version, sharded=False)
    last = chunks(path / "0")[-1]
    stray = last.with_name("7")
    stray.write_bytes(last.read_bytes())
    assert codes(ps.check(path)) == {"chunk-outside"}
    repaired(path)
    assert np.array_equal(ps.open_ome_zarr(path)["0"][...], pixels)


def test_levels_that_do_not_fit_the_image_are_made_anew(tmp_path, version):
    path = tmp_path / "p.zarr"
    make(path, version, sharded=False)
    position = ps.open_ome_zarr(path, mode="r+")
    right = position["2"][...]
    position["0"][0, 0, :2, :32, :32] = 60000
    assert ps.check(path).whole, "sizes and headers tell nothing"
    assert "level-stale" in codes(ps.check(path, deep=True))
    report = ps.check(path, deep=True, repair=True)
    assert report.whole, report
    assert not np.array_equal(ps.open_ome_zarr(path)["2"][...], right)
    kept = Path(report.quarantine, "store", "1")
    assert len(chunks(kept)) == len(chunks(path / "1"))
    assert ps.check(path, deep=True).whole


def test_levels_keep_the_method_that_made_them(tmp_path, version):
    path = tmp_path / "p.zarr"
    make(path, version, sharded=False)
    position = ps.open_ome_zarr(path, mode="r+")
    position.compute_pyramid(3, method="max")
    position["0"][0, 0, :2, :32, :32] = 60000
    assert ps.check(path, deep=True, repair=True).whole
    assert ps.open_ome_zarr(path).metadata.multiscales[0].type == "max"
    assert ps.open_ome_zarr(path)["1"][...].max() == 60000


def test_missing_chunks_of_a_sparse_image_are_no_damage(tmp_path, version):
    path = tmp_path / "p.zarr"
    with ps.open_ome_zarr(path, layout="fov", mode="w-", channel_names=["a"], version=version) as position:
        image = position.create_zeros("0", SHAPE, "uint16", chunks=(1, 1, 1, 32, 32))
        image[0, 0, 1] = np.arange(64 * 64, dtype="uint16").reshape(64, 64)
        position.compute_pyramid(3)
    report = ps.check(path, deep=True)
    assert report.whole
    assert report.missing > 0
    assert not report.of("warning")
