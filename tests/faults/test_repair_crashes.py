"""A repair that dies, or meets an error, at any operation: no pixel goes, and the next one completes it."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fault_cases import base_files, write_files
from fault_checker import DOCUMENTS, problems, read_documents, read_tree
from fault_figures import record
from fault_os import Crash, OsFaults

import platestore as ps


def _damage(path: Path, version: str) -> None:
    """A plate whose document lost a well, with a torn well, a cut-off chunk, and what dead writers leave."""
    write_files(base_files("plate", version), path)
    plate = ps.open_ome_zarr(path, mode="r+")
    plate.create_position("C", "3", "0").create_zeros("0", (1, 2, 1, 4, 4), "uint16")
    name = "zarr.json" if version == "0.5" else ".zattrs"
    before = (path / name).read_bytes()
    plate.create_position("D", "4", "0")
    (path / name).write_bytes(before)
    (path / "A/1" / name).write_bytes(b"")
    chunks = sorted(p for p in (path / "B/2/0/0").rglob("*") if p.is_file() and p.name not in DOCUMENTS)
    chunks[0].write_bytes(chunks[0].read_bytes()[:7])
    (path / "A" / ".zarr.json.4242-0-0a0b0c0d.tmp").write_bytes(b"{")


def _pixels(directory: Path) -> Counter[bytes]:
    """The bytes of all files of chunks, wherever they are."""
    files = read_tree(directory)
    return Counter(data for key, data in files.items() if key.rpartition("/")[2].isdigit())


def _repair(path: Path) -> Any:
    return ps.check(path, deep=True, repair=True, workers=1)


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("how", ["crash", "error"])
def test_a_repair_that_is_interrupted_loses_no_pixel_and_is_completed(how, every, version, tmp_path):
    damaged = tmp_path / "damaged"
    _damage(damaged / "s.zarr", version)
    kept = _pixels(damaged)
    shutil.copytree(damaged, tmp_path / "whole")
    with OsFaults(tmp_path / "whole") as faults:
        assert _repair(tmp_path / "whole" / "s.zarr").whole
    expected = read_tree(tmp_path / "whole" / "s.zarr")
    found: list[str] = []
    for at, (name, where) in list(enumerate(faults.log))[::every]:
        moment = f"{how} at operation {at} of {len(faults.log)} ({name} {where})"
        here = tmp_path / "here"
        shutil.copytree(damaged, here)
        number = (
            None if how == "crash" else errno.ENOSPC if name in ("create", "write", "mkdir") else errno.EIO
        )
        with contextlib.suppress(OSError, ps.PlatestoreError, Crash), OsFaults(here, at, error=number):
            _repair(here / "s.zarr")
        if kept - _pixels(here):
            found.append(f"{moment}: pixels are gone")
        report = _repair(here / "s.zarr")
        if not report.whole:
            found.append(f"{moment}: the next repair leaves {report.findings[:2]} {report.failed[:2]}")
        # What "dead" writers of this very process leave is taken for work under way.
        own = f".{os.getpid()}-"
        after = {key: data for key, data in read_tree(here / "s.zarr").items() if own not in key}
        if after != expected:
            changed = sorted(key for key in {*after, *expected} if after.get(key) != expected.get(key))
            found.append(f"{moment}: the next repair makes other files: {changed[:4]}")
        if flaws := problems(read_documents(here / "s.zarr")):
            found.append(f"{moment}: {flaws[:2]}")
        shutil.rmtree(here)
    record(f"{how} in a repair", version=version, states=len(faults.log[::every]), faults=len(found))
    assert not found, "\n".join(found[:8])
