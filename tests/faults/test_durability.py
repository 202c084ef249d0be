"""What is on the device when a call returns, and in which order it got there.

A simulation of power loss: what was written is lost until its file is flushed, and a name is lost until
its directory is. With ``durability="metadata"`` no document may be replaced while anything it may refer to
could still be lost, and nothing may be left to lose when the call returns.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_pyramid_crashes as pyramids
from fault_cases import CREATIONS, IN_PLACE, REPLACEMENTS, SHAPE, Case, Door, base_files, write_files
from fault_checker import DOCUMENTS
from fault_figures import record
from fault_os import OsFaults
from fault_power import PowerScene
from fault_traced import CALLS as TRACED
from fault_traced import Event, cannot_trace, traced

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
        elif name == "link":
            self.unnamed.add(path)
            if source in self.unsaved:
                self.unsaved.add(path)
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
    done = ((k, *event) for k, event in enumerate(faults.log) if k not in faults.refused)
    return _risks((name, path, faults.sources.get(index)) for index, name, path in done)


def _grows(path: str) -> bool:
    """Whether it is a part of what gets its name later."""
    return any(part.endswith((".copying", ".new", ".tmp")) for part in path.split("/"))


def _risks(events: Iterable[Event]) -> list[str]:
    """What a loss of power could take at the wrong moment."""
    device, found = Device(), []
    for name, path, source in events:
        if name in ("replace", "rename") and os.path.basename(path) in DOCUMENTS and not _grows(path):
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


def test_pixels_and_copies_are_safe_from_power_loss_as_the_system_sees_it(tmp_path: Path):
    """What TensorStore and the kernel do too: ``strace`` tells."""
    if (reason := cannot_trace()) is not None:
        pytest.skip(reason)
    (tmp_path / "work").mkdir()
    seen = traced(tmp_path / "work", tmp_path / "log")
    assert list(seen) == list(TRACED)
    found = []
    for name, events in seen.items():
        assert any(event[0] == "fsync" for event in events), name
        found += [f"{name}: {text}" for text in _risks(events)]
    record(
        "fsync order under strace",
        calls=len(seen),
        operations=sum(map(len, seen.values())),
        faults=len(found),
    )
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", CALLS)
def test_nothing_is_flushed_unless_asked_for(name, tmp_path: Path):
    base, call = CALLS[name]
    if base != "nothing":
        write_files(base_files(base, "0.5"), tmp_path / "s.zarr")
    with OsFaults(tmp_path) as faults:
        call(Door(tmp_path / "s.zarr"))
    assert faults.log
    assert not [path for operation, path in faults.log if operation == "fsync"]


# --- what a device may hold -------------------------------------------------------------------------

#: Everything but what the engine writes, past the ``os`` that is watched here.
_CASES = [case for case in (*CREATIONS, *REPLACEMENTS, *IN_PLACE) if case.name != "update_channel"]
_QUICK = (
    "create plate w-",
    "replace plate by fov",
    "create_positions with arrays in both",
    "rename_well to a new row",
    "overwrite position in a well",
    "append_channel",
    "del row",
)


def _named(case: Case) -> str:
    return case.name.replace(" ", "-")


def _powers() -> list[Any]:
    """All cases, by turns in one version and the other; some of them in every run."""
    out = []
    for number, case in enumerate(_CASES):
        for turn, version in enumerate(("0.4", "0.5")):
            marks = [] if case.name in _QUICK and turn == number % 2 else [pytest.mark.slow]
            out.append(
                pytest.param(case, version, marks=marks, id=f"{case.name.replace(' ', '-')}-{version}")
            )
    return out


def _lose_power_everywhere(scene: PowerScene) -> None:
    scene.rehearse()
    states = 0
    for number, loss, target in scene.left():
        scene.lose_power(number, loss, target)
        states += 1
    assert states > 3
    record("power loss", call=scene.case.name, version=scene.version, states=states, faults=len(scene.found))
    if scene.found:
        pytest.fail(scene.report(), pytrace=False)


@pytest.mark.parametrize(("case", "version"), _powers())
def test_power_that_is_lost_at_any_operation_leaves_the_last_commit(case: Case, version):
    """What was not flushed is lost, or has a name and no bytes; the store opens, and is old or new."""
    if case.pixels is not None:
        case = replace(case, pixels=lambda seen, before, after: True, loose=True)
    with PowerScene(case, version, "metadata") as scene:
        _lose_power_everywhere(scene)


@pytest.mark.parametrize(
    ("case", "version"),
    [
        pytest.param(
            case, v, id=f"{case.name.replace(' ', '-')}-{v}", marks=[] if n < 2 else pytest.mark.slow
        )
        for n, case in enumerate(pyramids.CASES)
        for v in ("0.4", "0.5")
        if case.pixels is None and "image with levels" not in case.name
    ],
)
def test_power_that_is_lost_while_levels_are_made_leaves_whole_levels_or_none(case: Case, version):
    """The same with ``durability="full"``, and every pixel is looked at."""
    with PyramidPower(case, version, "full") as scene:
        _lose_power_everywhere(scene)


class PyramidPower(pyramids._PyramidScene, PowerScene):
    """Levels that lose power."""

    def __init__(self, case: Case, version: str, durability: str) -> None:
        PowerScene.__init__(self, replace(case, base="nothing"), version, durability)
        self.base = pyramids._files(case.base, version)

    def rehearse(self) -> int:
        return PowerScene.rehearse(self)


def test_chunks_that_lost_their_bytes_are_errors_and_not_zeros(version):
    """With ``durability="metadata"``, a chunk may have its name and not its bytes."""
    damaged = 0
    with PyramidPower(pyramids.STRICT[0], version, "metadata") as scene:
        scene.rehearse()
        for number, loss, target in scene.left():
            if number == len(scene.events) and loss == "bytes":
                for name, image in ps.open_ome_zarr(target).images():
                    empty = [path for path in (target / name).rglob("*") if path.stat().st_size == 0]
                    damaged += len(empty)
                    if empty:
                        with pytest.raises(ps.DamagedChunkError, match=str(target / name)):
                            image.numpy()
    assert damaged >= 2
