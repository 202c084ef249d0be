"""What stacks take: the growth of a process of its own, measured, against the budget and the estimates."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

MIB = 2**20
pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="measured as Linux tells it"
)

_MEASURE = """
import json, sys
import dask.array as da
import numpy as np
from platestore import stacks
task, out, arguments = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
size = {"voxel_size": (1, 1, 1)}

def plane(block_info=None):
    z = block_info[None]["array-location"][-3 if task == "import" else -1][0]
    shape = block_info[None]["chunk-shape"]
    return np.random.default_rng(z % 5).integers(0, 300, shape, dtype="uint16")

def lazy(shape, planes_last):
    y, x = shape[:2] if planes_last else shape[1:]
    rows = (1,) * (shape[2] if planes_last else shape[0])
    chunks = ((y,), (x,), rows) if planes_last else (rows, (y,), (x,))
    return da.map_blocks(plane, chunks=chunks, dtype="uint16", meta=np.empty((0, 0, 0), "uint16"))

def volume(name, shape, chunks):
    spec = stacks.ArraySpec(tuple(shape), "uint16", tuple(chunks))
    return stacks.MultiScaleGroup(name, name="v", spatial_unit="micrometer", array_spec=spec, **size)

# Modules that are loaded at the first use are no part of it.
stacks.import_stack(lazy((4, 64, 64), False), out + ".first", levels=2, **size)
first = volume(out + ".second", (64, 64, 8), (32, 32, 4))
first.add_full_res_data(lazy((64, 64, 8), True), n_processes=2)
first.add_downsample_level(1)
if "planes" in arguments:
    some = arguments["planes"] + "/*00.tif"
    stacks.import_stack(some, out + ".third", levels=2, max_memory="100MiB", **size)
shape, budget = arguments.get("shape"), arguments["max_memory"]
if task == "import":
    source = arguments.get("planes") or lazy(shape, False)
    expected = stacks.estimate_memory(source, max_memory=budget, workers=2)
else:
    data, group = lazy(shape, True), volume(out, shape, arguments["chunks"])
    if task == "slabs":
        options = {"chunk_size": arguments["chunks"], "max_memory": budget, "n_processes": 2}
        expected = stacks.memory_per_slab_process(data, **options)
    else:
        group.add_full_res_data(data, n_processes=2, max_memory=budget)
        expected = stacks.memory_per_downsample_process(group, max_memory=budget, n_processes=2)

def memory(kind):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(kind))

before = memory("VmRSS")
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
if task == "import":
    stacks.import_stack(source, out, max_memory=budget, workers=2, **size)
elif task == "slabs":
    group.add_full_res_data(data, n_processes=2, max_memory=budget)
else:
    group.add_downsample_level(1, n_processes=2, max_memory=budget)
print(json.dumps({"growth": memory("VmHWM") - before, "expected": expected}))
"""


def measure(task: str, out: Path, **arguments: Any) -> tuple[int, int]:
    """Bytes by which a new process grew in one call, and what was expected."""
    found = subprocess.run(
        [sys.executable, "-c", _MEASURE, task, str(out), json.dumps(arguments)],
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr[-3000:]
    facts = json.loads(found.stdout.splitlines()[-1])
    return facts["growth"], facts["expected"]


def check(grown: int, expected: int, budget: int) -> None:
    said = f"grew by {grown / MIB:.1f} MiB of {budget / MIB:.1f}, expected {expected / MIB:.1f}"
    assert grown <= 1.1 * budget, said
    assert expected <= budget, said
    assert grown <= 1.1 * expected + 3 * MIB, said  # what the allocator keeps


@pytest.mark.quick(1)
@pytest.mark.parametrize("budget", [24 * MIB, 40 * MIB])
def test_a_stack_of_twenty_times_the_budget(tmp_path, budget):
    shape = (20 * budget // (512 * 512 * 2), 512, 512)
    grown, expected = measure("import", tmp_path / "o.zarr", shape=shape, max_memory=budget)
    check(grown, expected, budget)


@pytest.mark.slow
@pytest.mark.parametrize("compression", [None, pytest.param("zlib", marks=pytest.mark.slow)])
def test_planes_of_tiff_of_twenty_times_the_budget(tmp_path, compression):
    tifffile = pytest.importorskip("tifffile")
    budget = 24 * MIB
    (tmp_path / "planes").mkdir()
    rng = np.random.default_rng(0)
    some = [rng.integers(0, 300, (512, 1024), dtype="uint16") for _ in range(5)]
    for z, plane in enumerate(some):
        tifffile.imwrite(tmp_path / f"{z}.tif", plane, rowsperstrip=64, compression=compression)
    for z in range(20 * budget // some[0].nbytes):
        shutil.copy(tmp_path / f"{z % 5}.tif", tmp_path / "planes" / f"{z:04d}.tif")
    planes = str(tmp_path / "planes")
    grown, expected = measure("import", tmp_path / "o.zarr", planes=planes, max_memory=budget)
    check(grown, expected, budget)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["slabs", "level"])
def test_volumes_and_their_levels(tmp_path, task):
    budget = 32 * MIB
    shape, chunks = (512, 512, 20 * budget // (512 * 512 * 2)), (64, 64, 16)
    grown, expected = measure(task, tmp_path / "v.zarr", shape=shape, chunks=chunks, max_memory=budget)
    check(grown, expected, budget)
