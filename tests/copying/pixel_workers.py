"""Copies of pixels in processes of their own, which are killed or measured."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from platestore.arrays.partition import Pick
from platestore.copying.pixels import PixelJob, compare_pixels, copy_pixels, plan_pixels
from platestore.storage.base import Storage, StorageOptions
from platestore.storage.hierarchy import read_array
from platestore.storage.local import LocalStorage


def storage(path: Path | str, **options: Any) -> LocalStorage:
    return LocalStorage(str(path), StorageOptions(read_only=False, **options))


def job_of(source: Storage, target: Storage, chosen: tuple[Pick, ...]) -> PixelJob:
    """The copy of the array ``a`` of one store to that of another."""
    documents = []
    for store in (source, target):
        found = read_array(store, "a", 3) or read_array(store, "a", 2)
        assert found is not None
        documents.append(found)
    return PixelJob(source, documents[0], target, documents[1], chosen)


def run(source: str, target: str, chosen: str, memory: str, workers: str, verify: bool) -> None:
    picks = tuple(slice(*pick) for pick in json.loads(chosen))
    job = job_of(storage(source), storage(target), picks)
    plan = plan_pixels(job, max_memory=int(memory), workers=int(workers))
    copy_pixels(plan, skip_existing=True)
    if verify:
        compare_pixels(plan)


def resident(kind: str) -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(kind))


def measure(*arguments: str) -> None:
    """Print by how many bytes the process grows in a copy and a comparison."""
    first, arguments = arguments[0], arguments[1:]
    # Modules are loaded at the first use.
    run(f"{first}/s", f"{first}/t", "[[0, 8, 1], [0, 64, 1]]", str(2**26), "2", True)
    before = resident("VmRSS")
    run(*arguments, verify=True)  # type: ignore[misc]
    print(resident("VmHWM") - before)


def kill(*arguments: str) -> None:
    """Copy until a function of ``os`` is called for the n-th time."""
    name, left, arguments = arguments[0], int(arguments[1]), arguments[2:]
    real = getattr(os, name)

    def call(*args: Any) -> Any:
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args)

    setattr(os, name, call)
    run(*arguments, verify=False)  # type: ignore[misc]


if __name__ == "__main__":
    {"measure": measure, "kill": kill}[sys.argv[1]](*sys.argv[2:])
