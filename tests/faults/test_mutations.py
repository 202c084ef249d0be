"""Any JSON whatsoever: a verdict or an error of platestore, within a second and 200 MiB.

The documents are read by processes of their own (``mutation_work.py``), which are limited and measured.
"""

from __future__ import annotations

import gzip
import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import fault_figures
import mutation_documents as documents
import numcodecs
import numpy as np
import pytest

import platestore as ps

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and /proc are those of Linux")
HERE = Path(__file__).parent
MIB = 2**20


def work(tmp_path, *jobs, number=0):
    """Start a worker on jobs."""
    folder = tmp_path / f"work{number}"
    folder.mkdir()
    path = tmp_path / f"job{number}.json"
    path.write_text(json.dumps(jobs))
    environment = {**os.environ, "PYTHONPATH": str(HERE), "PYTHONHASHSEED": "0"}
    command = [sys.executable, str(HERE / "mutation_work.py"), str(path), str(folder)]
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def outcome(process, timeout=280):
    """What a worker says in the end."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"not ready after {timeout} s: {process.communicate()[1][-500:]}")
    assert process.returncode == 0, err[-3000:]
    return json.loads(out.splitlines()[-1])


def require_none(figures):
    surprises = figures["surprises"]
    shown = "\n\n".join(f"{s['name']}\n{s['error']}\n{s.get('trace', '')}" for s in surprises[:40])
    assert not surprises, f"{len(surprises)} surprises, the first:\n{shown}"


def mutants(shared, seed, start, stop):
    return {"kind": "mutants", "shared": str(shared), "seed": seed, "start": start, "stop": stop}


# --- mutants --------------------------------------------------------------------------------------


def test_the_documents_of_all_official_cases_are_mutated(shared):
    found = documents.official(shared)
    assert len(found) == 406
    assert {name[:3] for name, _ in found} == {"0.4", "0.5", "0.6"}


@pytest.mark.slow
def test_a_thousand_mutants_are_judged_or_refused(tmp_path, shared):
    figures = outcome(work(tmp_path, mutants(shared, 1, 0, 1000)))
    assert figures["tried"] == 1000
    assert figures["refused"] > 500
    assert figures["valid"] > 10
    require_none(figures)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twenty_thousand_mutants_are_judged_or_refused(tmp_path, shared):
    quarter = 5000
    workers = [work(tmp_path, mutants(shared, 2, i * quarter, (i + 1) * quarter), number=i) for i in range(4)]
    figures = [outcome(worker, timeout=1500) for worker in workers]
    sums = {key: sum(f[key] for f in figures) for key in ("tried", "refused", "valid", "invalid")}
    surprises = [surprise for f in figures for surprise in f["surprises"]]
    fault_figures.record(
        "mutated documents",
        **sums,
        surprises=len(surprises),
        longest_seconds=max(f["longest"] for f in figures),
        most_mib=max(f["growth"] for f in figures),
    )
    assert sums["tried"] == 20_000
    require_none({"surprises": surprises})


# --- large and deep documents ---------------------------------------------------------------------


def many_wells(count, **changes):
    rows = [{"name": f"r{i}"} for i in range(400)]
    columns = [{"name": f"c{i}"} for i in range(250)]
    wells = [
        {"path": f"r{i // 250}/c{i % 250}", "rowIndex": i // 250, "columnIndex": i % 250, **changes}
        for i in range(count)
    ]
    return {"rows": rows, "columns": columns, "wells": wells, "version": "0.4"}


def many_images(count):
    axes = [{"name": name, "type": "space"} for name in "yx"]
    scale = [{"type": "scale", "scale": [1, 1]}]
    datasets = [{"path": str(i), "coordinateTransformations": scale} for i in range(count)]
    return [{"axes": axes, "datasets": datasets, "version": "0.4"}]


LARGE = {
    "100,000 wells": lambda: json.dumps({"plate": many_wells(100_000)}),
    "20,000 wells of one path": lambda: json.dumps({"plate": many_wells(20_000, path="r0/c0")}),
    "20,000 wells that are wrong": lambda: json.dumps({"plate": many_wells(20_000, rowIndex="x")}),
    "20,000 numbers for wells": lambda: json.dumps({"plate": {"rows": [1], "wells": [1] * 20_000}}),
    "20,000 fields": lambda: json.dumps({"well": {"images": [{"path": str(i)} for i in range(20_000)]}}),
    "20,000 levels": lambda: json.dumps({"multiscales": many_images(20_000)}),
    "2,000 images": lambda: json.dumps({"multiscales": many_images(1) * 2_000}),
    "20,000 axes": lambda: json.dumps({"multiscales": [{"axes": [{"name": "x"}] * 20_000, "datasets": []}]}),
    "20,000 steps": lambda: json.dumps(
        {"multiscales": [{"axes": [], "datasets": [], "coordinateTransformations": [{"type": "s"}] * 20_000}]}
    ),
    "a scale of 20,000 values": lambda: json.dumps(
        {"multiscales": [{"coordinateTransformations": [{"type": "scale", "scale": [1] * 20_000}]}]}
    ),
    "20,000 channels": lambda: json.dumps(
        {"multiscales": many_images(1), "omero": {"channels": [{}] * 20_000}}
    ),
    "20,000 colors": lambda: json.dumps(
        {"image-label": {"colors": [{"label-value": i, "rgba": [1] * 4} for i in range(20_000)]}}
    ),
    "20,000 labels of one name": lambda: json.dumps({"labels": ["a"] * 20_000}),
    "20,000 series": lambda: json.dumps({"series": [str(i) for i in range(20_000)]}),
    "a name of 10,000,000 letters": lambda: json.dumps({"plate": {"name": "a" * 10_000_000, "rows": []}}),
    "1,000,000 lists in each other": lambda: '{"ome":' + "[" * 1_000_000 + "]" * 1_000_000 + "}",
    "1,000,000 objects in each other": lambda: '{"plate":' * 1_000_000 + "1" + "}" * 1_000_000,
    "depth that Python still reads": lambda: '{"multiscales":[' + '{"a":' * 700 + "1" + "}" * 700 + "]}",
    "an integer of 5,000 digits": lambda: '{"plate":{"field_count":' + "9" * 5000 + "}}",
    "an integer of 4,000 digits": lambda: (
        '{"plate":{"field_count":' + "9" * 4000 + ',"rows":[' + "8" * 4000 + "]}}"
    ),
    "a number too large for a float": lambda: (
        '{"multiscales":[{"coordinateTransformations":[{"scale":[1e999]}]}]}'
    ),
}


@pytest.mark.slow
def test_large_documents_are_judged_or_refused(tmp_path):
    jobs = []
    for number, (name, make) in enumerate(LARGE.items()):
        path = tmp_path / f"large{number}.json"
        path.write_text(make())
        jobs.append({"kind": "file", "name": name, "file": str(path), "mib": 300})
    require_none(outcome(work(tmp_path, *jobs)))


def test_a_document_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "vast.zarr"
    path.mkdir()
    with open(path / "zarr.json", "wb") as file:
        file.truncate(2**30)
    require_none(outcome(work(tmp_path, {"kind": "open", "name": "1 GiB of zeros", "path": str(path)})))


# --- arrays ---------------------------------------------------------------------------------------

ZEROS = 600 * MIB


def image(path, version, change):
    """A position whose array has a changed document."""
    with ps.open_ome_zarr(path, layout="fov", mode="w-", channel_names=["a"], version=version) as position:
        position.create_image("0", np.ones((1, 1, 1, 4, 4), "uint8"))
    document = path / "0" / (".zarray" if version == "0.4" else "zarr.json")
    content = json.loads(document.read_text())
    change(content)
    document.write_text(json.dumps(content))


def set_shape(shape, chunks=None):
    def change(content):
        content["shape"] = shape
        if chunks is not None and content["zarr_format"] == 2:
            content["chunks"] = chunks
        elif chunks is not None:
            content["chunk_grid"]["configuration"]["chunk_shape"] = chunks
            content["codecs"] = [c for c in content["codecs"] if c["name"] != "sharding_indexed"] or BYTES

    return change


BYTES = [{"name": "bytes", "configuration": {"endian": "little"}}]
HUGE = {
    "a shape of 2^62": set_shape([2**62] * 5),
    "a shape of 2^62, one chunk": set_shape([1, 1, 1, 2**62, 2**62], [1, 1, 1, 2**62, 2**62]),
    "chunks of 2^40 bytes": set_shape([1, 1, 1, 2**20, 2**20], [1, 1, 1, 2**20, 2**20]),
    "a shape beyond 64 bits": set_shape([1, 1, 1, 2**70, 4]),
    "a negative shape": set_shape([1, 1, 1, -4, 4]),
    "a shape of 10,000 axes": set_shape([1] * 10_000),
    "chunks of zero": set_shape([1, 1, 1, 4, 4], [1, 1, 1, 0, 4]),
    "a shape that is no list": set_shape("x"),
}


def test_arrays_of_strange_shapes_are_read_or_refused(version, tmp_path):
    jobs = []
    for number, (name, change) in enumerate(HUGE.items()):
        path = tmp_path / f"strange{number}.zarr"
        image(path, version, change)
        jobs.append({"kind": "read", "name": name, "path": str(path)})
    require_none(outcome(work(tmp_path, *jobs)))


def gzip_bomb():
    return gzip.compress(bytes(ZEROS), 9)


def zlib_bomb():
    return zlib.compress(bytes(ZEROS), 9)


def zstd_bomb():
    return bytes(numcodecs.Zstd(level=1).encode(bytes(ZEROS)))


def lz4_bomb():
    return bytes(numcodecs.LZ4().encode(bytes(ZEROS)))


def blosc_bomb():
    """A small file of a chunk of 600 MiB."""
    return bytes(numcodecs.Blosc(cname="lz4", clevel=1).encode(np.zeros(ZEROS, "uint8")))


def blosc_liar():
    """A header that claims 2 GiB, and nothing behind it."""
    return struct.pack("<BBBBIII", 2, 1, 0x21, 1, 2**31 - 17, 2**20, 64) + bytes(48)


def compress_with(codec):
    def change(content):
        if content["zarr_format"] == 2:
            content["compressor"], content["filters"] = codec[2], None
            content["dtype"] = "|u1"
        else:
            content["codecs"] = [BYTES[0], codec[3]]

    return change


BLOSC = {"cname": "lz4", "clevel": 5, "shuffle": 0, "blocksize": 0}
CODECS = {
    "gzip": {2: {"id": "gzip", "level": 5}, 3: {"name": "gzip", "configuration": {"level": 5}}},
    "zlib": {2: {"id": "zlib", "level": 5}},
    "zstd": {
        2: {"id": "zstd", "level": 1},
        3: {"name": "zstd", "configuration": {"level": 1, "checksum": False}},
    },
    "lz4": {2: {"id": "lz4", "acceleration": 1}},
    "blosc": {
        2: {"id": "blosc", **BLOSC},
        3: {"name": "blosc", "configuration": {**BLOSC, "shuffle": "noshuffle", "typesize": 1}},
    },
}
BOMBS = [
    ("gzip", gzip_bomb),
    ("zlib", zlib_bomb),
    ("zstd", zstd_bomb),
    ("blosc", blosc_liar),
]
HEADED_BOMBS = [("lz4", lz4_bomb), ("blosc", blosc_bomb)]


def read_bombs(tmp_path, version, bombs):
    """What becomes of images whose one chunk is a bomb."""
    zarr_format, jobs = 2 if version == "0.4" else 3, []
    for number, (codec, bomb) in enumerate(bombs):
        if zarr_format not in CODECS[codec]:
            continue
        path = tmp_path / f"bomb{number}.zarr"
        image(path, version, compress_with(CODECS[codec]))
        files = (p for p in (path / "0").rglob("*") if p.is_file())
        (chunk,) = (p for p in files if p.name not in (".zarray", ".zattrs", "zarr.json"))
        chunk.unlink()
        chunk.write_bytes(bomb())
        jobs.append({"kind": "read", "name": f"{codec} {bomb.__name__}", "path": str(path)})
    figures = outcome(work(tmp_path, *jobs))
    assert figures["refused"] >= len(jobs)
    return figures


@pytest.mark.slow
def test_chunks_that_swell_are_refused(version, tmp_path):
    require_none(read_bombs(tmp_path, version, BOMBS))


@pytest.mark.quick(1)
@pytest.mark.xfail(
    reason="the decoders of TensorStore and numcodecs make room for what the chunk's head says"
)
def test_chunks_whose_heads_say_that_they_swell_are_refused_before(version, tmp_path):
    require_none(read_bombs(tmp_path, version, HEADED_BOMBS))
