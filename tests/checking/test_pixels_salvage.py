"""Saving what can be decoded of a damaged shard."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from checking.pixel_cases import audit, audit_one, chunk_files, make_image, noise, storage
from conftest import examples
from platestore.checking.pixels.salvage import salvage_shard
from platestore.storage.base import StorageOptions
from platestore.storage.zarr_store import ZarrStorage

KEY = "0/c/0/0/0/0/0"
CHUNKS, SHARD = (1, 1, 4, 16, 16), (1, 1, 8, 32, 32)
PER_SHARD, INDEX = 8, 8 * 16 + 4


def boxes() -> list[tuple[slice, ...]]:
    """The chunks of the first shard, in C order."""
    ranges = [range(n // c) for n, c in zip(SHARD, CHUNKS, strict=True)]
    places = itertools.product(*ranges)
    return [tuple(slice(p * c, (p + 1) * c) for p, c in zip(place, CHUNKS, strict=True)) for place in places]


def index_of(data: bytes) -> np.ndarray:
    return np.frombuffer(data[-INDEX:-4], "<u8").reshape(PER_SHARD, 2)


def with_index(data: bytes, index: np.ndarray, *, matches: bool = True) -> bytes:
    body = index.astype("<u8").tobytes()
    check = google_crc32c.value(body) ^ (0 if matches else 1)
    return data[:-INDEX] + body + check.to_bytes(4, "little")


def save(path: Path, data: bytes) -> tuple[int, int]:
    """Damage a shard, give it a second name, and save what can be of it."""
    file, aside = path / KEY, path / "aside"
    file.write_bytes(data)
    aside.unlink(missing_ok=True)
    aside.hardlink_to(file)
    found = salvage_shard(storage(path, read_only=False), "0", 3, KEY)
    assert aside.read_bytes() == data
    return found


def check(path: Path, pixels: np.ndarray, lost: list[int]) -> None:
    """Chunks that are lost read as the fill value, and everything else as it was."""
    want = pixels.copy()
    for number in lost:
        want[boxes()[number]] = 0
    np.testing.assert_array_equal(zarr.open_array(path / "0")[...], want)
    with ps.open_ome_zarr(path, mode="r") as position:
        np.testing.assert_array_equal(position["0"][...], want)
    assert {f.code for f in audit_one(path / "0").findings} <= {"array-unwritten"}
    assert not [f for f in (path / KEY).parent.iterdir() if f.name.endswith(".tmp")]


def damage(data: bytes, numbers: list[int]) -> bytes:
    """Zeros over chunks."""
    out = bytearray(data)
    for number in numbers:
        start, length = map(int, index_of(data)[number])
        out[start : start + length] = bytes(length)
    return bytes(out)


@pytest.mark.parametrize("layout", ["0.5 shards", "0.5 shards checksum"])
@pytest.mark.parametrize("lost", [[0], [3, 4], [7], list(range(1, 8)), list(range(8))])
def test_the_other_chunks_are_kept(tmp_path, layout, lost):
    path = make_image(tmp_path / "a.zarr", layout, levels=None)
    data = (path / KEY).read_bytes()
    assert save(path, damage(data, lost)) == (8 - len(lost), len(lost))
    assert (path / KEY).exists() == (len(lost) < 8)
    check(path, noise(), lost)


def test_chunks_that_were_never_there_are_not_lost(tmp_path):
    pixels = noise()
    for number in (2, 5):
        pixels[boxes()[number]] = 0
    path = make_image(tmp_path / "a.zarr", "0.5 shards", pixels, levels=None)
    assert save(path, damage((path / KEY).read_bytes(), [6])) == (5, 1)
    check(path, pixels, [6])


def test_chunks_that_reach_beyond_the_file(tmp_path):
    path = make_image(tmp_path / "a.zarr", "0.5 shards", levels=None)
    data = (path / KEY).read_bytes()
    index = index_of(data).copy()
    index[1, 0] = len(data) + 5
    index[2, 1] = 2**63
    index[3] = 2**64 - 2
    index[4, 1] = 0
    assert save(path, with_index(data, index)) == (4, 4)
    check(path, noise(), [1, 2, 3, 4])


def test_a_damaged_index_is_believed_where_chunks_prove_themselves(tmp_path):
    for layout in ("0.5 shards", "0.5 shards checksum"):
        path = make_image(tmp_path / f"{layout}.zarr", layout, levels=None)
        data = (path / KEY).read_bytes()
        index = index_of(data).copy()
        index[3, 0] += 3  # no chunk begins there
        index[5] = index[6]  # one of both is wrong, and nobody knows which
        assert save(path, with_index(data, index, matches=False)) == (5, 3)
        check(path, noise(), [3, 5, 6])
        index[0, 0] += 3  # as if it had moved
        assert save(path, with_index(data, index, matches=False)) == (0, 8)


def moved(data: bytes) -> dict[str, bytes]:
    """A shard whose index lies elsewhere than it did, or in part."""
    size, rng = len(data), np.random.default_rng(1)
    found: dict[str, bytes] = {}
    for count in [*range(4, 201, 4), 1, 2, 3, 17, 33, 131]:
        found[f"cut {count}"] = data[: size - count]
        found[f"{count} more"] = data + bytes(count)
        if count % 16 == 0:
            found[f"cut {count}, zeros"] = data[: size - count] + bytes(count)
            found[f"cut {count}, ones"] = data[: size - count] + b"\xff" * count
    for start in range(size - INDEX, size, 4):
        for count in (16, 32):
            found[f"{count} out at {start}"] = data[:start] + data[start + count :]
            found[f"{count} out at {start}, zeros"] = data[:start] + data[start + count :] + bytes(count)
            found[f"{count} in at {start}"] = data[:start] + bytes(count) + data[start:]
            noise_ = rng.bytes(count)
            found[f"{count} of noise at {start}"] = (data[:start] + noise_ + data[start + count :])[:size]
    return found


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("compressor", "checksum", "flat"),
    [
        ("zstd", False, True),
        ("zstd", True, False),
        ("blosc-lz4", False, True),
        ("blosc-lz4", True, True),
        ("gzip", False, True),
    ],
)
def test_an_index_that_moved_is_not_believed(tmp_path, compressor, checksum, flat):
    """Its entries would tell of other chunks; flat ones are encoded as short as an entry."""
    path, pixels = tmp_path / "a.zarr", noise()
    for number, box in enumerate(boxes() if flat else []):
        pixels[box] = number + 1
    with ps.open_ome_zarr(path, layout="fov", mode="w-", channel_names=["a"], version="0.5") as position:
        position.create_image(
            "0", pixels, chunks=CHUNKS, shards=SHARD, compressor=compressor, checksum=checksum
        )
    data, kept_any = (path / KEY).read_bytes(), 0
    where = tuple(slice(0, n) for n in SHARD)
    for name, damaged in moved(data).items():
        kept, lost = save(path, damaged)
        assert kept + lost == PER_SHARD or damaged[-INDEX:] != data[-INDEX:]
        got = zarr.open_array(path / "0")[where]
        for box in boxes():
            assert (got[box] == pixels[box]).all() or not got[box].any(), name
        kept_any += bool(kept)
    assert kept_any


def test_a_damaged_index_of_raw_chunks_proves_nothing(tmp_path):
    path = make_image(tmp_path / "a.zarr", "0.5 shards raw", levels=None)
    data = (path / KEY).read_bytes()
    assert save(path, with_index(data, index_of(data), matches=False)) == (0, 8)
    assert not (path / KEY).exists()
    assert save(path, data) == (8, 0)
    check(path, noise(), [])


@pytest.mark.parametrize("keep", [0, 10, INDEX - 1])
def test_without_an_index_nothing_is_kept(tmp_path, keep):
    path = make_image(tmp_path / "a.zarr", "0.5 shards", levels=None)
    assert save(path, (path / KEY).read_bytes()[:keep]) == (0, 8)
    check(path, noise(), list(range(8)))


def test_shards_at_the_edge_hold_fewer_chunks(tmp_path):
    """Only chunks that lie in the array count."""
    path = make_image(tmp_path / "a.zarr", "0.5 shards", levels=None)
    key = "0/c/0/0/0/1/1"
    (path / key).write_bytes(b"")
    assert salvage_shard(storage(path, read_only=False), "0", 3, key) == (0, 2)


def test_an_index_at_the_start(tmp_path):
    array = zarr.create_array(
        tmp_path / "a",
        shape=(64,),
        dtype="uint16",
        chunks=(16,),
        shards={"shape": (64,), "index_location": "start"},
        compressors=zarr.codecs.BloscCodec(),
    )
    array[...] = 1 + np.arange(64)
    file = tmp_path / "a" / "c" / "0"
    data = bytearray(file.read_bytes())
    file.write_bytes(data[:-5])
    assert salvage_shard(storage(tmp_path, read_only=False), "a", 3, "a/c/0") == (3, 1)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "a")[:48], 1 + np.arange(48))
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "a")[48:], 0)
    assert audit_one(tmp_path / "a").findings == []


def test_a_store_that_cannot_append(tmp_path):
    path = make_image(tmp_path / "a.zarr", "0.5 shards", levels=None)
    data = damage((path / KEY).read_bytes(), [0])
    (path / KEY).write_bytes(data)
    held = ZarrStorage(zarr.storage.LocalStore(path), StorageOptions(read_only=False))
    assert salvage_shard(held, "0", 3, KEY) == (7, 1)
    check(path, noise(), [0])


def test_what_cannot_be_salvaged_is_refused(tmp_path):
    path = make_image(tmp_path / "a.zarr", "0.5 shards", levels=2)
    plain = make_image(tmp_path / "b.zarr", "0.5", levels=None)
    disk, other = storage(path, read_only=False), storage(plain, read_only=False)
    before = {file: file.read_bytes() for file in chunk_files(tmp_path)}
    for key in ("1/c/0/0/0/0/0", "0/c/0/0/0/9/0", "0/zarr.json", "0/c", "c/0/0/0/0/0"):
        with pytest.raises(ps.ArgumentError, match="no shard"):
            salvage_shard(disk, "0", 3, key)
    with pytest.raises(ps.NodeNotFoundError, match="no array"):
        salvage_shard(disk, "nothing", 3, KEY)
    with pytest.raises(ps.UnsupportedError, match="shards"):
        salvage_shard(other, "0", 3, KEY)
    with pytest.raises(ps.ReadOnlyError):
        salvage_shard(storage(path), "0", 3, KEY)
    assert {file: file.read_bytes() for file in chunk_files(tmp_path)} == before
    (path / KEY).unlink()
    with pytest.raises(ps.NodeNotFoundError, match="no file"):
        salvage_shard(disk, "0", 3, KEY)


def test_a_failure_leaves_the_old_file(tmp_path, monkeypatch):
    path = make_image(tmp_path / "a.zarr", "0.5 shards", levels=None)
    data = damage((path / KEY).read_bytes(), [1])
    monkeypatch.setattr(os, "replace", lambda *args: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match="No space left"):
        save(path, data)
    monkeypatch.undo()
    assert (path / KEY).read_bytes() == data
    assert [f.name for f in chunk_files((path / KEY).parent)] == ["0", "1"]
    assert save(path, data) == (7, 1)


@given(data=st.data())
@settings(max_examples=examples(40), deadline=None)
def test_nothing_wrong_is_ever_kept(tmp_path_factory, data):
    """Any bytes of a shard with checksums may change: what is read afterwards was written, or is fill."""
    path = make_image(tmp_path_factory.mktemp("any") / "a.zarr", "0.5 shards checksum", levels=None)
    whole = (path / KEY).read_bytes()
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(
            st.one_of(st.integers(0, len(whole) - 1), st.integers(len(whole) - INDEX, len(whole) - 1))
        )
        damaged[at] ^= data.draw(st.integers(1, 255))
    kept, lost = save(path, bytes(damaged))
    assert kept + lost == 8
    got, want = zarr.open_array(path / "0")[...], noise()
    zero = 0
    for box in boxes():
        if not (got[box] == want[box]).all():
            assert not got[box].any()
            zero += 1
    assert zero <= lost
    assert audit(path).findings == []
