"""Errors of the system within TensorStore, which does not ask ``os``: ``strace`` injects them into it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import platestore as ps

SHAPE = (2, 1, 4, 64, 64)
LAYOUTS: dict[str, dict[str, Any]] = {
    "shards": {"chunks": (1, 1, 1, 32, 32), "shards": "ZYX"},
    "chunks": {"chunks": (1, 1, 4, 64, 64)},
}
#: Where is written: a whole file, a part of one, and a whole one whose directory is not there yet.
PLACES: dict[str, Any] = {
    "whole": np.s_[0],
    "part": np.s_[0, 0, 1, :40],
    "new": np.s_[1],
}
CALLS = ("openat", "writev,pwritev,pwritev2,write,pwrite64", "fsync", "rename", "mkdir", "flock", "fcntl")


def make(path: Path, layout: str) -> None:
    """An image of ones at the first time; there is no file of the second one."""
    position = ps.open_ome_zarr(path, layout="fov", mode="w-", channel_names=["a"], version="0.5")
    position.create_zeros("0", SHAPE, "uint16", **LAYOUTS[layout])
    position["0"][0] = 1


def write_when_told(path: str, pipe: Any) -> None:
    """Write pixels where and as often as one is told; tell what came of it."""
    image = ps.open_ome_zarr(path, mode="r+", durability="full")["0"]
    image[0, 0, 0, 0, 0] = 1  # TensorStore has its threads now
    pipe.send("ready")
    while (told := pipe.recv()) is not None:
        place, value = told
        try:
            image[place] = value
        except OSError as error:
            pipe.send(("OSError", error.errno, str(error)))
        except Exception:  # noqa: BLE001 - the parent judges it
            pipe.send(("another", 0, traceback.format_exc()))
        else:
            pipe.send(("done", 0, ""))


def cannot_inject() -> str | None:
    """Why errors cannot be injected here, if they cannot."""
    if sys.platform != "linux" or shutil.which("strace") is None:
        return "there is no strace"
    with subprocess.Popen(["sleep", "20"]) as other:
        try:
            with injected(other.pid, "read", "EIO", 1, []):
                return None
        except OSError as error:
            return str(error)
        finally:
            other.kill()


@contextmanager
def injected(pid: int, call: str, error: str, at: int, paths: list[Path]) -> Iterator[None]:
    """While it lasts, the calls of a process that concern some paths fail at one moment.

    Parameters
    ----------
    pid : int
        The process, with all its threads.
    call : str
        Names of calls, separated by commas.
    error : str
        Name of the error.
    at : int
        The first, second, ... of them (of each thread).
    paths : list of Path
        The paths.
    """
    only = [text for path in paths for text in ("-P", str(path))]
    inject = ["-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={at}"]
    command = ["strace", "-f", "-p", str(pid), "-o", "/dev/null", *only, *inject]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        try:
            for line in tracer.stderr:
                if "attached" in line:
                    break
                if "exit" in line or "ptrace" in line:
                    raise OSError(f"processes may not be traced here: {line.strip()}")
            else:
                raise OSError("processes may not be traced here")
            yield
        finally:
            tracer.terminate()
            tracer.wait()
