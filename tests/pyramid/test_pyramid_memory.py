"""What pyramids take: the growth of a process of its own, measured, against the budget it was given."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zarr.storage import MemoryStore

import platestore as ps
from platestore.arrays.chunkarrays import ArrayWriter
from platestore.arrays.chunkfiles import ChunkWriter
from pyramid.pyramid_store import foreign_image, least_memory, new_position, noise, quick_cascade, stored

MIB = 2**20
pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measured as Linux tells it")

_MEASURE = """
import json, sys
import numpy as np
import platestore as ps
path, task, arguments, first = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4]
# Modules that are loaded at the first use are no part of it.
small = ps.open_ome_zarr(first, mode="r+")
small.compute_pyramid(2)
small["0"][...] = 1
kind = {k: arguments.pop(k) for k in ("shape", "chunks", "shards_ratio") if k in arguments}
if task == "create":
    data = np.zeros(kind["shape"], "uint16")
    rng = np.random.default_rng(0)
    for plane in range(data.shape[2]):
        data[0, 0, plane] = rng.integers(0, 8, data.shape[3:], dtype="uint16")
    position = ps.open_ome_zarr(path, layout="fov", mode="w-", channel_names=["a"], version="0.5")
else:
    position = ps.open_ome_zarr(path, mode="r+")

def memory(kind):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(kind))

before = memory("VmRSS")
if task == "create":
    with ps.config.using(max_memory=arguments["max_memory"], threads=arguments["workers"]):
        position.create_image("0", data, chunks=kind["chunks"], shards_ratio=kind["shards_ratio"],
                              pyramid_levels=arguments["levels"])
else:
    position.compute_pyramid(**arguments)
peak = memory("VmHWM")
print(json.dumps({"growth": peak - before, "before": before}))
"""


def growth(tmp_path: Path, path: Path, task: str, **arguments: Any) -> int:
    """Bytes by which a new process grew in one call."""
    first = tmp_path / "first.zarr"
    new_position(first, "0.5", "ZYX").create_image("0", noise("uint16", (2, 64, 64)), shards_ratio=(1, 1, 1))
    found = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(path), task, json.dumps(arguments), str(first)],
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr[-2000:]
    grown: int = json.loads(found.stdout.splitlines()[-1])["growth"]
    return grown


def make(
    path: Path,
    version: str,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    ratio: Any = None,
    values: int = 8,
) -> int:
    """A large image of so many values, written unit by unit; returns its size in bytes."""
    position = new_position(path, version)
    image = position.create_zeros("0", shape, "uint16", chunks=chunks, shards_ratio=ratio)
    block = np.random.default_rng(0).integers(0, values, [2 * c for c in chunks], dtype="uint16")
    if ratio is not None and np.prod(image.shards) * 2 > 128 * MIB:
        image[...] = np.resize(block, shape)
        return image.nbytes
    for region in image.write_units():
        size = tuple(s.stop - s.start for s in region)
        image[region] = np.resize(block, size)
    return image.nbytes


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_sharded_level_0_of_twelve_times_the_budget(workers, tmp_path):
    path, budget = tmp_path / "i.zarr", 64 * MIB
    nbytes = make(path, "0.5", (1, 1, 192, 2048, 1024), (1, 1, 32, 256, 256), (1, 1, 2, 4, 4))
    assert nbytes >= 8 * budget
    grown = growth(tmp_path, path, "compute", levels=4, max_memory=budget, workers=workers)
    assert grown <= 1.1 * budget, f"grew by {grown / MIB:.1f} MiB of {budget / MIB:.0f}"
    assert len(ps.open_ome_zarr(path)) == 4


@pytest.mark.slow
def test_planes_reduced_along_z_too(version, tmp_path):
    path, budget = tmp_path / "i.zarr", 48 * MIB
    nbytes = make(path, version, (1, 1, 200, 1024, 1024), (1, 1, 1, 1024, 1024))
    assert nbytes >= 8 * budget
    grown = growth(tmp_path, path, "compute", levels=4, max_memory=budget, workers=2)
    assert grown <= 1.1 * budget, f"grew by {grown / MIB:.1f} MiB of {budget / MIB:.0f}"


@pytest.mark.quick(1)
def test_a_single_shard_is_streamed(tmp_path):
    path, budget = tmp_path / "i.zarr", 40 * MIB
    nbytes = make(path, "0.5", (1, 1, 160, 1024, 1024), (1, 1, 16, 256, 256), (1, 1, 10, 4, 4))
    assert nbytes >= 8 * budget
    image = ps.open_ome_zarr(path)["0"]
    assert image.shards == image.shape
    grown = growth(tmp_path, path, "compute", levels=3, max_memory=budget, workers=2)
    assert grown <= 1.1 * budget, f"grew by {grown / MIB:.1f} MiB of {budget / MIB:.0f}"
    position = ps.open_ome_zarr(path)
    assert position["1"].shards == position["1"].shape


@pytest.mark.quick(1)
def test_small_chunks_in_many_files(version, tmp_path):
    path, budget = tmp_path / "i.zarr", 24 * MIB
    nbytes = make(path, version, (1, 1, 48, 2048, 1024), (1, 1, 8, 128, 128))
    assert nbytes >= 8 * budget
    grown = growth(tmp_path, path, "compute", levels="auto", max_memory=budget, workers=2)
    assert grown <= 1.1 * budget, f"grew by {grown / MIB:.1f} MiB of {budget / MIB:.0f}"


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [None, (1, 1, 2, 4, 4), (1, 1, 8, 4, 4)])
def test_creation_from_memory_takes_no_more_than_the_budget_beside_the_data(ratio, tmp_path):
    budget = 32 * MIB
    shape, chunks = (1, 1, 128, 1024, 1024), (1, 1, 16, 256, 256)
    grown = growth(
        tmp_path,
        tmp_path / "i.zarr",
        "create",
        shape=shape,
        chunks=chunks,
        shards_ratio=ratio,
        levels=4,
        max_memory=budget,
        workers=2,
    )
    assert np.prod(shape) * 2 >= 8 * budget
    assert grown <= 1.1 * budget, f"grew by {grown / MIB:.1f} MiB of {budget / MIB:.0f}"


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("chunks", "ratio"), [((1, 1, 32, 256, 256), (1, 1, 1, 4, 4)), ((1, 1, 1, 1024, 1024), (1, 1, 8, 1, 1))]
)
def test_the_least_budget_that_the_error_names_is_kept_to(chunks, ratio, tmp_path):
    path = tmp_path / "i.zarr"
    make(path, "0.5", (1, 1, 64, 1024, 1024), chunks, ratio, values=2**16)  # hardly compressible
    budget = least_memory(ps.open_ome_zarr(path, mode="r+"), 3)
    grown = growth(tmp_path, path, "compute", levels=3, max_memory=budget, workers=4)
    assert grown <= 1.1 * budget, f"grew by {grown / MIB:.1f} MiB of {budget / MIB:.1f}"


def test_recomputing_a_region_keeps_to_the_budget(tmp_path):
    path, budget = tmp_path / "i.zarr", 48 * MIB
    make(path, "0.5", (1, 1, 64, 2048, 1024), (1, 1, 16, 256, 256), (1, 1, 4, 8, 4))
    ps.open_ome_zarr(path, mode="r+").compute_pyramid(3)
    grown = growth(tmp_path, path, "recompute", region=0, max_memory=budget, workers=2)
    assert grown <= 1.1 * budget, f"grew by {grown / MIB:.1f} MiB of {budget / MIB:.0f}"


@pytest.mark.slow
def test_a_shard_whose_index_comes_first_is_counted(tmp_path):
    """It cannot be streamed: either the budget holds it, or the error names what is needed."""
    path, budget = tmp_path / "i.zarr", 32 * MIB
    shards = {"shape": (64, 1024, 1024), "index_location": "start"}
    data = np.random.default_rng(0).integers(0, 65536, (64, 1024, 1024), dtype="uint16")
    arrays = {"0": {"data": data, "chunks": (16, 256, 256), "shards": shards}}
    for k in (1, 2):
        shape = tuple(n >> k for n in data.shape)
        shards = {"shape": shape, "index_location": "start"}
        arrays[str(k)] = {
            "shape": shape,
            "dtype": "uint16",
            "chunks": tuple(min(c, n) for c, n in zip((16, 256, 256), shape, strict=True)),
            "shards": shards,
        }
    foreign_image(path, "0.5", arrays)
    position = ps.open_ome_zarr(path, mode="r+")
    least = least_memory(position)
    budget = max(budget, least)
    grown = growth(tmp_path, path, "compute", max_memory=budget, workers=1)
    assert grown <= 1.1 * budget, f"grew by {grown / MIB:.1f} MiB of {budget / MIB:.0f}"
    for got, level in zip(
        list(stored(path).values())[1:], quick_cascade(data, [(2, 2, 2)] * 2, "mean"), strict=True
    ):
        np.testing.assert_array_equal(got, level)


# --- budgets that are too small -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chunks", "ratio"), [((1, 16, 64, 64), None), ((1, 1, 256, 256), None), ((1, 16, 64, 64), (2, 2, 4, 4))]
)
@pytest.mark.parametrize("workers", [1, 3])
def test_less_than_the_least_is_an_error_with_the_figure_and_that_figure_works(
    chunks, ratio, workers, tmp_path
):
    data = noise("uint16", (2, 32, 256, 256))
    position = new_position(tmp_path / "i.zarr", "0.5", "CZYX", channels=2)
    position.create_image("0", data, chunks=chunks, shards_ratio=ratio)
    with pytest.raises(ps.BudgetError) as caught:
        position.compute_pyramid(3, max_memory=4096, workers=workers)
    needed = caught.value.needed
    assert str(needed) in str(caught.value)
    assert isinstance(caught.value, ValueError)
    with pytest.raises(ps.BudgetError) as again:
        position.compute_pyramid(3, max_memory=needed - 1, workers=workers)
    assert again.value.needed == needed
    position.compute_pyramid(3, max_memory=needed, workers=workers)
    expected = quick_cascade(data, [(1, 2, 2, 2)] * 2, "mean")
    for got, level in zip(list(stored(tmp_path / "i.zarr").values())[1:], expected, strict=True):
        np.testing.assert_array_equal(got, level)


def test_the_least_is_about_one_chunk_of_each_level():
    """One decoded and encoded level-0 chunk and one chunk per level, and a fixed sum for the call itself."""
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        position = new_position(Path(directory, "i.zarr"), "0.5", "ZYX")
        position.create_zeros(
            "0", (1024, 1024, 1024), "uint16", chunks=(128, 256, 256), shards_ratio=(4, 4, 4)
        )
        chunk = 128 * 256 * 256 * 2
        needed = least_memory(position, 4)
        assert needed <= (2 + 3) * chunk + 2 * chunk + 16 * MIB


# --- units that are gathered in memory ------------------------------------------------------------


def test_units_gathered_in_memory_are_no_more_than_is_counted(tmp_path, monkeypatch):
    """Shards as wide as the image, of codecs that go through the array: several are under way at once."""
    from zarr.codecs import TransposeCodec

    path = tmp_path / "i.zarr"
    arrays = {}
    for k in range(5):
        n = 2048 >> k
        how = {"chunks": (64, 64), "shards": (64, n), "filters": [TransposeCodec(order=(1, 0))]}
        arrays[str(k)] = {"shape": (n, n), "dtype": "uint16", **how}
    foreign_image(path, "0.5", arrays, names="YX")
    position = ps.open_ome_zarr(path, mode="r+")
    data = noise("uint16", (2048, 2048))
    position["0"][...] = data
    least = least_memory(position)
    most, counted = 0, []
    real = ArrayWriter.write

    def write(self: ArrayWriter, place: Any, block: Any) -> None:
        nonlocal most
        counted.append((id(self), self.held_nbytes))
        real(self, place, block)
        most = max(most, sum(unit.data.nbytes for unit in self._units.values()))

    monkeypatch.setattr(ArrayWriter, "write", write)
    position.compute_pyramid(workers=1, max_memory=least)
    monkeypatch.undo()
    assert most <= max(nbytes for _, nbytes in counted)
    for got, level in zip(
        list(stored(path).values())[1:], quick_cascade(data, [(2, 2)] * 4, "mean"), strict=True
    ):
        np.testing.assert_array_equal(got, level)


def test_shards_gathered_for_a_store_that_cannot_append_are_counted(monkeypatch):
    position = new_position(MemoryStore(), "0.5", "YX")
    data = noise("uint16", (2048, 2048))
    position.create_image("0", data, chunks=(64, 64), shards_ratio=(1, 32))
    least = least_memory(position, 5)
    most, counted = 0, 0
    real = ChunkWriter.write

    def write(self: ChunkWriter, place: Any, block: Any) -> None:
        nonlocal most, counted
        counted = max(counted, self.held_nbytes)
        real(self, place, block)
        most = max(most, sum(shard.nbytes for shard in self._shards.values()))

    monkeypatch.setattr(ChunkWriter, "write", write)
    position.compute_pyramid(5, workers=1, max_memory=least)
    assert 0 < most <= counted


# --- sources and the gaussian ---------------------------------------------------------------------

_SOURCE = """
import json, sys
import dask.array as da
import numpy as np
import platestore as ps
path, arguments = sys.argv[1], json.loads(sys.argv[2])

def planes(depth, block_info=None):
    return np.random.default_rng(0).integers(0, 8, (1, 1024, 1024), dtype="uint16")

def source(depth):
    return da.zeros((depth, 1024, 1024), chunks=(1, 1024, 1024), dtype="uint16").map_blocks(
        planes, meta=np.empty((0, 0, 0), "uint16"))

def write(name, depth):
    axes = [ps.AxisMeta(name=n, type="space") for n in "ZYX"]
    position = ps.open_ome_zarr(name, layout="fov", mode="w-", channel_names=[], version="0.5", axes=axes)
    position.create_image("0", source(depth), chunks=arguments["chunks"], shards=arguments["shards"],
                          pyramid_levels=arguments["levels"], pyramid_method=arguments["method"])

def memory(kind):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(kind))

with ps.config.using(max_memory=arguments["max_memory"], threads=arguments["workers"]):
    write(path + ".first.zarr", 2)
    before = memory("VmRSS")
    write(path, arguments["depth"])
print(memory("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("depth", "method"), [(256, "mean"), pytest.param(640, "mean", marks=pytest.mark.slow), (480, "gaussian")]
)
def test_a_dask_array_of_any_depth(depth, method, tmp_path):
    budget = 64 * MIB
    arguments = {
        "depth": depth,
        "method": method,
        "chunks": (32, 128, 128),
        "shards": (32, 1024, 1024),
        "levels": 4,
        "max_memory": budget,
        "workers": 2,
    }
    path = tmp_path / "i.zarr"
    found = subprocess.run(
        [sys.executable, "-c", _SOURCE, str(path), json.dumps(arguments)], capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr[-2000:]
    grown = int(found.stdout.split()[-1])
    assert grown <= 1.1 * budget, f"grew by {grown / MIB:.1f} MiB of {budget / MIB:.0f}"
    assert len(ps.open_ome_zarr(path)) == 4


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_the_gaussian_of_an_image_of_eight_times_the_budget(workers, tmp_path):
    path, budget = tmp_path / "i.zarr", 48 * MIB
    nbytes = make(path, "0.5", (1, 1, 192, 1024, 1024), (1, 1, 32, 128, 128), (1, 1, 2, 4, 4))
    assert nbytes >= 8 * budget
    grown = growth(tmp_path, path, "compute", levels=4, method="gaussian", max_memory=budget, workers=workers)
    assert grown <= 1.1 * budget, f"grew by {grown / MIB:.1f} MiB of {budget / MIB:.0f}"
