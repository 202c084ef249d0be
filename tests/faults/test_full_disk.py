"""A disk that is really full, a tmpfs of 16 MiB: every allocation of every writer fails once.

The error is an ``OSError`` that names a path, the store is as before or as after, and with room again the
same call gets to its end. ``fault_full_disk`` does it, in a mount namespace of its own.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import fault_full_disk
import pytest
from fault_figures import record

_MOUNT = 'mount -t tmpfs -o size=16m,nr_inodes=3000 tmpfs "$0" && exec "$@"'
_QUICK = (
    "create_positions with arrays in both",
    "rename_well to a new row",
    "append_channel",
    "update_channel",
    "levels: compute creates, sharded",
    "copy: replace-archive",
    "to_ngff_zarr",
    "until it is full, in shards",
)
_PARTS = 10


@functools.cache
def _why_not() -> str | None:
    """Why a user here cannot mount a disk of his own, if he cannot."""
    if shutil.which("unshare") is None or not hasattr(os, "posix_fallocate"):
        return "there is no unshare"
    made = subprocess.run(
        ["unshare", "-rm", "sh", "-c", _MOUNT, "/tmp", "true"], capture_output=True, text=True, check=False
    )
    return f"a user may not mount here: {made.stderr.strip()}" if made.returncode else None


def _fill(disk: Path, how_many: str, names: list[str]) -> None:
    if (reason := _why_not()) is not None:
        pytest.skip(reason)
    program = [sys.executable, fault_full_disk.__file__, str(disk), how_many, *names]
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", _MOUNT, str(disk), *program],
        capture_output=True,
        text=True,
        check=False,
        timeout=290,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) == len(names) * len(fault_full_disk.KINDS)
    found = [f"{each['name']}: {text}" for each in results for text in each["found"]]
    states = sum(each["states"] for each in results)
    record("full tmpfs of 16 MiB", calls=len(names), states=states, faults=len(found))
    assert not found, "\n".join(found[:10])


@pytest.mark.quick(1)
def test_a_full_disk_is_an_error_and_with_room_the_call_gets_to_its_end(tmp_path):
    _fill(tmp_path, fault_full_disk.FEW, list(_QUICK))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(_PARTS))
def test_a_full_disk_under_every_writer(part, tmp_path):
    _fill(tmp_path, fault_full_disk.EVERY, list(fault_full_disk.every())[part::_PARTS])
