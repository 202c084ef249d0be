"""What is on the device when a call returns, and in which order it got there.

A simulation of power loss: what was written is lost until its file is flushed, and a name is lost until
its directory is. With ``durability="metadata"`` no document may be replaced while anything it may refer to
could still be lost, and nothing may be left to lose when the call returns.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fault_cases import SHAPE, Door, base_files, write_files
from fault_checker import DOCUMENTS
from fault_os import OsFaults

import platestore as ps


class Device:
    """Follows the operations of a call, and knows what power loss would take."""

    def __init__(self) -> None:
        self.unsaved: set[str] = set()
        self.unnamed: set[str] = set()

    def follow(self, name: str, path: str, source: str | None) -> None:
        if name == "create":
            self.unsaved.add(path)
            self.unnamed.add(path)
        elif name == "write":
            self.unsaved.add(path)
        elif name == "mkdir":
            self.unnamed.add(path)
        elif name in ("rename", "replace", "exchange"):
            self.unsaved = set(self._moved(self.unsaved, source or "", path))
            self.unnamed = {*self._moved(self.unnamed, source or "", path), path}
        elif name in ("unlink", "rmdir"):
            self.unsaved.discard(path)
            self.unnamed.discard(path)
        elif name == "fsync":
            self.unsaved.discard(path)
            self.unnamed = {entry for entry in self.unnamed if (os.path.dirname(entry) or ".") != path}
        else:
            raise AssertionError(f"what does {name} do?")

    @staticmethod
    def _moved(paths: set[str], source: str, target: str) -> Iterator[str]:
        for path in paths:
            if path == source or path.startswith(source + "/"):
                yield target + path[len(source) :]
            elif path != target:
                yield path

    def at_risk(self, without: str = "") -> set[str]:
        """What would be lost now, apart from one path and from what is being removed."""
        return {
            path
            for path in self.unsaved | self.unnamed
            if path != without and not any(part.endswith(".tmp") for part in path.split("/"))
        }


def _faults_of(faults: OsFaults) -> list[str]:
    device, found = Device(), []
    for index, (name, path) in enumerate(faults.log):
        if index in faults.refused:
            continue
        source = faults.sources.get(index)
        if name == "replace" and os.path.basename(path) in DOCUMENTS:
            if source in device.unsaved:
                found.append(f"{path} is replaced by what is not saved")
            if risk := device.at_risk():
                found.append(f"{path} is replaced while {sorted(risk)[:4]} could be lost")
        device.follow(name, path, source)
    if risk := device.at_risk():
        found.append(f"{sorted(risk)[:4]} could be lost when the call returns")
    return found


CALLS: dict[str, tuple[str, Callable[[Door], object]]] = {
    "zattrs": ("plate", lambda door: door().zattrs.update({"lab": 1})),
    "create_well": ("plate", lambda door: door().create_well("C", "1")),
    "create_position": ("plate", lambda door: door().create_position("C", "1", "0")),
    "create_positions": (
        "plate",
        lambda door: door().create_positions(
            [("C", "1", "0"), ("A", "1", "7"), ("B", "2", "7")], SHAPE, "uint16"
        ),
    ),
    "create_zeros": ("plate", lambda door: door("A/1/0").create_zeros("raw", SHAPE, "uint16")),
    "append_channel": ("levels", lambda door: door("A/1/0").append_channel("Cy5")),
    "rename_well": ("plate", lambda door: door().rename_well("A/1", "C/7")),
    "resize": ("levels", lambda door: door("A/1/0")["0"].resize((2, 2, 1, 4, 4))),
    "overwrite position": (
        "plate",
        lambda door: door(overwriting_creation=True).create_position("A", "1", "0"),
    ),
    "create a store": ("nothing", lambda door: door(mode="w-", layout="hcs", channel_names=["DAPI"])),
    "replace a store": ("plate", lambda door: door(mode="w", layout="hcs", channel_names=["DAPI"])),
}


@pytest.mark.parametrize("durability", ["metadata", "full"])
@pytest.mark.parametrize("name", CALLS)
def test_documents_are_safe_from_power_loss_in_order(name, durability, version, tmp_path: Path):
    base, call = CALLS[name]
    if base != "nothing":
        write_files(base_files(base, version), tmp_path / "s.zarr")
    with OsFaults(tmp_path) as faults:
        call(Door(tmp_path / "s.zarr", durability=durability, version=version))
    assert any(operation == "fsync" for operation, _ in faults.log)
    assert not _faults_of(faults)


def test_pixels_are_safe_from_power_loss_when_asked_for(version, tmp_path: Path):
    write_files(base_files("plate", version), tmp_path / "s.zarr")
    position = ps.open_ome_zarr(tmp_path / "s.zarr" / "A/1/0", mode="r+", durability="full")
    with OsFaults(tmp_path) as faults:
        position.create_image("raw", np.ones(SHAPE, "uint16"))
    assert not _faults_of(faults)
    with OsFaults(tmp_path) as faults:
        position["raw"][0, 0] = 7
    assert not _faults_of(faults)


@pytest.mark.parametrize("name", CALLS)
def test_nothing_is_flushed_unless_asked_for(name, tmp_path: Path):
    base, call = CALLS[name]
    if base != "nothing":
        write_files(base_files(base, "0.5"), tmp_path / "s.zarr")
    with OsFaults(tmp_path) as faults:
        call(Door(tmp_path / "s.zarr"))
    assert faults.log
    assert not [path for operation, path in faults.log if operation == "fsync"]
