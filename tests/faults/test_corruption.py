"""Corruption is reported, never returned: bytes of chunks are flipped, zeroed, cut off, or other ones."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import platestore as ps
from checking.pixel_cases import CHUNKS, SHAPE, SHARDS, audit, chunk_files, make_image, noise
from faults.fault_figures import record

PROTECTED = {
    "blosc": {"checksum": True},
    "zstd": {"checksum": True, "compressor": "zstd"},
    "gzip": {"checksum": True, "compressor": "gzip"},
    "none": {"checksum": True, "compressor": "none"},
    "blosc, shards": {"checksum": True, "shards": SHARDS},
    "zstd, shards": {"checksum": True, "compressor": "zstd", "shards": SHARDS},
    "none, shards": {"checksum": True, "compressor": "none", "shards": SHARDS},
}
UNPROTECTED = {
    name: {key: value for key, value in options.items() if key != "checksum"}
    for name, options in PROTECTED.items()
}
QUICK, LONG = 60, 300
_INDEX_BYTES = 8 * 16 + 4
_LEVELS = ("0", "1", "2")


def build(path: Path, options: dict[str, Any]) -> Path:
    """An image of two times, with three levels and layouts like the first one's."""
    version = "0.5"
    with ps.open_ome_zarr(path, layout="fov", mode="w-", channel_names=["a"], version=version) as p:
        p.create_image("0", noise((2, *SHAPE[1:])), chunks=CHUNKS, **options)
        p.compute_pyramid(3)
    return path


def damaged(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Other bytes than those of a file, and how they came about."""
    out = bytearray(data)
    kind = rng.choice(["bit", "byte", "zeros", "noise", "cut", "end", "empty", "grown", "swapped", "index"])
    start = rng.randrange(len(out))
    stop = min(len(out), start + rng.choice([1, 4, 64, 1024, len(out)]))
    if kind == "bit":
        out[start] ^= 1 << rng.randrange(8)
    elif kind == "byte":
        out[start] ^= rng.randrange(1, 256)
    elif kind == "zeros":
        out[start:stop] = bytes(stop - start)
    elif kind == "noise":
        out[start:stop] = rng.randbytes(stop - start)
    elif kind == "cut":
        del out[start:]
    elif kind == "end":
        del out[-rng.randrange(1, min(200, len(out))) :]
    elif kind == "empty":
        out.clear()
    elif kind == "grown":
        out += rng.randbytes(rng.randrange(1, 100))
    elif kind == "swapped":
        out[start:stop] = out[start:stop][::-1]
    else:
        out[-rng.randrange(1, min(_INDEX_BYTES, len(out))) - 1] ^= rng.randrange(1, 256)
    return kind, bytes(out)


def boxes(
    shape: tuple[int, ...], sizes: tuple[int, ...]
) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Places of chunks and where they lie."""
    for place in itertools.product(*(range(-(-n // c)) for n, c in zip(shape, sizes, strict=True))):
        yield (
            place,
            tuple(slice(p * c, min(n, (p + 1) * c)) for p, c, n in zip(place, sizes, shape, strict=True)),
        )


def changed_chunks(
    before: bytes, after: bytes, options: dict[str, Any], unit: tuple[int, ...], shape: tuple[int, ...]
) -> set[tuple[int, ...]]:
    """Which chunks of a file are not what they were, by the shard's index as it was."""
    if "shards" not in options:
        return {unit}
    chunks = tuple(min(c, n) for c, n in zip(CHUNKS, shape, strict=True))
    shards = tuple(c * -(-min(s, -(-n // c) * c) // c) for s, c, n in zip(SHARDS, chunks, shape, strict=True))
    per_shard = tuple(s // c for s, c in zip(shards, chunks, strict=True))
    size = 16 * int(np.prod(per_shard)) + 4
    inside = list(np.ndindex(*per_shard))
    everything = {tuple(u * n + i for u, n, i in zip(unit, per_shard, p, strict=True)) for p in inside}
    if after[-size:] != before[-size:] or len(after) < len(before):
        return everything
    if len(after) != len(before):
        return everything
    index = np.frombuffer(before[-size:-4], "<u8").reshape(-1, 2)
    out = set()
    for inner, (start, length) in zip(inside, index.tolist(), strict=True):
        if start != 2**64 - 1 and before[start : start + length] != after[start : start + length]:
            out.add(tuple(u * n + i for u, n, i in zip(unit, per_shard, inner, strict=True)))
    return out


class Tried:
    """What was tried, and what came of it."""

    def __init__(self) -> None:
        self.files = self.chunks = self.silent = self.refused = 0


def attack(path: Path, options: dict[str, Any], rng: random.Random, tried: Tried) -> None:
    """Damage one file, look, read everything, and put it right again."""
    file = rng.choice(chunk_files(path))
    key = file.relative_to(path).as_posix()
    before = file.read_bytes()
    kind, after = damaged(before, rng)
    if after == before:
        return
    file.write_bytes(after)
    try:
        errors = {f.file: f for f in audit(path).findings if f.level == "error"}
        assert list(errors) == [key], f"{kind} of {key}: {errors}"
        tried.files += 1
        with ps.open_ome_zarr(path, mode="r") as position:
            for name in _LEVELS:
                array = position[name]
                bad: set[tuple[int, ...]] = set()
                if key.startswith(f"{name}/"):
                    unit = tuple(map(int, key.split("/")[2:]))
                    bad = changed_chunks(before, after, options, unit, array.shape)
                compare(position, path, name, bad, key, tried, payload=kind != "grown")
    finally:
        file.write_bytes(before)


_PIXELS: dict[tuple[Path, str], np.ndarray] = {}


def compare(
    position: Any,
    path: Path,
    name: str,
    bad: set[tuple[int, ...]],
    key: str,
    tried: Tried,
    *,
    payload: bool,
) -> None:
    """Every chunk either reads as it was written, or raises an error that names its file.

    Those whose payload changed must raise; bytes behind it need not.
    """
    array, want = position[name], _PIXELS[path, name]
    for place, box in boxes(array.shape, array.chunks):
        tried.chunks += 1
        message = refusal(array, box) if place in bad else ""
        if message:
            assert key in message  # the names of files are the places of chunks, or of shards
            assert "shard" in message or key.endswith("/".join(map(str, place)))
            tried.refused += 1
            continue
        if place in bad and payload:
            tried.silent += 1
        np.testing.assert_array_equal(array[box], want[box])
    if bad and payload:
        assert key in refusal(array, ...)


def refusal(array: Any, box: Any) -> str:
    """What reading a part says, if it refuses."""
    try:
        array[box]
    except ps.DamagedChunkError as error:
        return str(error)
    return ""


def run(tmp_path: Path, count: int, seed: int) -> Tried:
    rng, tried = random.Random(seed), Tried()
    paths = {}
    for name, options in PROTECTED.items():
        paths[name] = build(tmp_path / f"{name}.zarr", options)
        with ps.open_ome_zarr(paths[name], mode="r") as position:
            for level in _LEVELS:
                _PIXELS[paths[name], level] = position[level][...]
    while tried.files < count:
        name = rng.choice(list(paths))
        attack(paths[name], PROTECTED[name], rng, tried)
    _PIXELS.clear()
    return tried


@pytest.mark.parametrize(
    ("count", "seed"),
    [(QUICK, 1), pytest.param(LONG, 2, marks=pytest.mark.slow)],
)
def test_with_checksums_every_change_is_found(tmp_path, count, seed):
    tried = run(tmp_path, count, seed)
    assert tried.silent == 0
    record(
        "corruption",
        files=tried.files,
        found=tried.files,
        refused_chunks=tried.refused,
        returned=tried.silent,
        chunks_read=tried.chunks,
    )


@pytest.mark.parametrize("name", UNPROTECTED)
def test_without_checksums_what_cannot_be_read_is_found(tmp_path, name):
    """The audit never fails, and tells of every file that reading refuses."""
    path, rng = build(tmp_path / "a.zarr", UNPROTECTED[name]), random.Random(3)
    for _ in range(6):
        file = rng.choice(chunk_files(path))
        before = file.read_bytes()
        _, after = damaged(before, rng)
        file.write_bytes(after)
        found = {f.file for f in audit(path).findings if f.level == "error" and "level" not in f.code}
        refused = set()
        with ps.open_ome_zarr(path, mode="r") as position:
            for level in _LEVELS:
                try:
                    position[level][...]
                except ps.DamagedChunkError:
                    refused.add(file.relative_to(path).as_posix())
        assert refused <= found <= {file.relative_to(path).as_posix()}
        file.write_bytes(before)
    assert audit(path).findings == []


def test_old_stores_of_any_codec(tmp_path):
    """OME-NGFF 0.4 has no checksums: lengths and headers still tell of what is torn."""
    path = make_image(tmp_path / "a.zarr", "0.4")
    for keep in (0, 1, 15, 16, 100):
        file = chunk_files(path)[keep % 7]
        before = file.read_bytes()
        file.write_bytes(before[:keep])
        assert [f.file for f in audit(path, deep=False).findings] == [file.relative_to(path).as_posix()]
        file.write_bytes(before)
