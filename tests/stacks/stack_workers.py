"""What the processes of the tests do: ``python stack_workers.py TASK ARGUMENTS``, the arguments as JSON."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def job(out: str, index: int) -> None:
    """Run a job of a plan."""
    from platestore.stacks import run_job

    run_job(out, index, workers=1)


def slow_job(out: str, index: int, sign: str, after: int) -> None:
    """Run a job that stops in the middle, and says so, until it is killed."""
    from platestore.stacks import planes, run_job

    read, count = planes.PlanesSource._read, 0

    def slow(self, *args):
        nonlocal count
        count += 1
        if count > after:
            Path(sign).touch()
            time.sleep(600)
        read(self, *args)

    planes.PlanesSource._read = slow
    run_job(out, index, workers=1)


def slab(path: str, source: str, start: int, stop: int, barrier: str) -> None:
    """Write a slab of a volume, at the same time as others."""
    import dask.array as da
    import numpy as np

    from platestore import stacks

    data = np.load(source, mmap_mode="r")
    group = stacks.open_multiscale_group(path)
    Path(f"{barrier}-{start}").touch()
    while len(list(Path(barrier).parent.glob(Path(barrier).name + "-*"))) < 3:
        time.sleep(0.01)
    part = da.from_array(data[..., start:stop], chunks=(*data.shape[:2], 1))
    group.add_full_res_data(part, n_processes=2, start_z_idx=start)


def slow_import(planes: str, out: str, block: int, sign: str, after: int) -> None:
    """Import a stack, and stop in the middle."""
    from platestore.stacks import import_stack
    from platestore.stacks import planes as module

    read, count = module.PlanesSource._read, 0

    def slow(self, *args):
        nonlocal count
        count += 1
        if count > after:
            Path(sign).touch()
            time.sleep(600)
        read(self, *args)

    module.PlanesSource._read = slow
    import_stack(planes, out, voxel_size=(1, 1, 1), chunks=(4, 16, 16), levels=3, block=block, workers=1)


if __name__ == "__main__":
    globals()[sys.argv[1]](**json.loads(sys.argv[2]))
