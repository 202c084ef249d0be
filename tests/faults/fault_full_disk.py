"""A disk that is really full: run in a mount namespace of its own, on a tmpfs of 16 MiB.

Each call is made with no page left, then with one, with two, and so on until it gets to its end; then the
same with inodes. So it fails at each of its allocations, wherever they are made (in TensorStore too). Each
time the error must be an ``OSError`` that names a path, the store must be as before or as after, and with
room again the same call must get to its end. The program prints what it found as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [os.path.dirname(__file__), os.path.dirname(os.path.dirname(__file__))]

import fault_labels
import numpy as np
import test_faults_copy
import test_faults_stacks
import test_pyramid_crashes
from fault_cases import CREATIONS, IN_PLACE, REPLACEMENTS, Door
from fault_checker import problems, read_documents, unfinished
from fault_labels import LABELS
from fault_scenes import STORE, DirectoryScene

import platestore as ps

PAGE = 4096
KINDS = ("pages", "inodes")
#: How much is left each time: all small amounts, or a few of them.
EVERY, FEW = "every", "few"
_how_many = EVERY


@contextlib.contextmanager
def filled(disk: Path, kind: str, left: int | None) -> Iterator[None]:
    """Leave so many free pages, or inodes, on a disk; None: all there are."""
    if left is None:
        yield
        return
    ballast = disk / "ballast"
    ballast.mkdir()
    state = os.statvfs(disk)
    if kind == "pages":
        size = state.f_bavail * state.f_frsize - left * PAGE
        with open(ballast / "pages", "wb") as file:
            if size > 0:
                os.posix_fallocate(file.fileno(), 0, size)
    else:
        for number in range(state.f_favail - left):
            os.close(os.open(ballast / str(number), os.O_CREAT))
    try:
        yield
    finally:
        shutil.rmtree(ballast)


def amounts(seed: str) -> Iterator[int]:
    """How much is left: each small amount (or some), then ever larger ones."""
    rng, left = random.Random(seed), 0
    while True:
        yield left
        if _how_many == EVERY:
            left += 1 if left < 24 else rng.randint(1, 1 + left // 5)
        else:
            left += rng.randint(1, 2 + left)


class _FullDisk(DirectoryScene):
    """A case on a disk on which so many pages (or inodes) are free; see :class:`Scene`."""

    def __init__(self, case: Any, version: str, *, disk: Path, kind: str) -> None:
        super().__init__(case, version)
        self.disk, self.kind = disk, kind
        shutil.rmtree(self.directory)
        self.directory = disk / "scene"
        self.directory.mkdir()
        self.error: BaseException | None = None

    def play(
        self,
        target: Path,
        at: int | None = None,
        when: str = "before",
        error: int | None = None,
        keep: bool = False,
    ) -> tuple[Path, Door, BaseException | None]:
        door = Door(target, keep=keep)
        self.error = None
        with filled(self.disk, self.kind, at):
            try:
                self.call(door)
            except Exception as caught:  # noqa: BLE001 - it is judged
                self.error = caught
                if os.fspath(self.disk) not in str(caught):
                    self.note(self._operation(at or 0), [f"names no path: {caught!r}"])
        if at is None:
            self.log = [("all", "")]
        return target, door, self.error

    def _operation(self, at: int) -> str:
        return f"{at} {self.kind} left"


class _FullDiskPyramids(fault_labels._Labels, test_pyramid_crashes._PyramidScene, _FullDisk):
    """The same with levels."""

    def __init__(self, case: Any, version: str, *, disk: Path, kind: str) -> None:
        _FullDisk.__init__(self, replace(case, base="nothing"), version, disk=disk, kind=kind)
        self.base = test_pyramid_crashes._files(case.base, version)


def play(scene: Any) -> list[str]:
    """Make a call with ever more room."""
    with scene:
        scene.rehearse()
        for left in amounts(scene.case.name):
            scene.fail(left, 28)
            if scene.error is None:
                break
        scene.found[:] = [text.replace("No space left on device at ", "") for text in scene.found]
        return [f"{scene.states}", *scene.found]


class _FullDiskCopy(test_faults_copy.Play):
    """A copy with so much room."""

    disk: Path
    kind: str

    def call(self, here: Path, at: int | None = None, **how: Any) -> Any:
        if not how.pop("error", None):
            return super().call(here, None, **how)
        with filled(self.disk, self.kind, at):
            faults, self.error = super().call(here, None, **how)
        return faults, self.error

    def operation(self, at: int) -> str:
        return f"{at} {self.kind} left"


def play_copy(name: str, disk: Path, kind: str) -> list[str]:
    """Copy with ever more room."""
    maker = test_faults_copy.sources.__wrapped__  # type: ignore[attr-defined]
    sources = maker(disk)
    scenes = [*test_faults_copy.NEW, *test_faults_copy.MORE, *test_faults_copy.REPLACING]
    scene = next(s for s in [*scenes, *test_faults_copy.INSIDE] if s.name == name)
    _FullDiskCopy.disk, _FullDiskCopy.kind = disk, kind
    played = _FullDiskCopy(scene, sources)
    states = 0
    for left in amounts(name):
        played.fail(left, 28)
        states += 1
        if played.error is None:
            break
    return [f"{states}", *played.found]


def play_stack(name: str, disk: Path, kind: str) -> list[str]:
    """Import, add levels, write multiscale images with ever more room."""
    scene = test_faults_stacks._SCENES[name]
    reference, root = disk / "reference", disk / "work"
    test_faults_stacks._put(scene, reference)
    scene.call(reference)
    if scene.again is not scene.call:
        scene.again(reference)
    whole = test_faults_stacks._tree_of(reference)
    found: list[str] = []
    states = 0
    for left in amounts(name):
        shutil.rmtree(root, ignore_errors=True)
        test_faults_stacks._put(scene, root)
        before = test_faults_stacks._tree_of(root)
        moment = f"{left} {kind} left"
        error: BaseException | None = None
        with filled(disk, kind, left):
            try:
                scene.call(root)
            except Exception as caught:  # noqa: BLE001 - it is judged
                error = caught
        states += 1
        if error is not None and not isinstance(error, OSError):
            found.append(f"{moment}: surfaces as {error!r}")
        if error is not None and os.fspath(disk) not in str(error):
            found.append(f"{moment}: names no path: {error!r}")
        try:
            scene.check(root, reference, before)
            scene.again(root)
            after = test_faults_stacks._tree_of(root)
            if scene.may_stay:
                after = {k: v for k, v in after.items() if not any(p.startswith(".") for p in k.split("/"))}
            if after != whole:
                found.append(f"{moment}, made again: differs from an undisturbed call")
        except Exception as caught:  # noqa: BLE001 - it is a finding
            found.append(f"{moment}: {type(caught).__name__}: {caught}")
        if error is None:
            break
    return [f"{states}", *found]


LAYOUTS: dict[str, dict[str, Any]] = {
    "shards": {"chunks": (1, 1, 1, 64, 64), "shards": "ZYX"},
    "chunks": {"chunks": (1, 1, 4, 128, 128)},
    "planes": {"chunks": (1, 1, 1, 128, 128)},
}


def fill_up(layout: str, disk: Path, kind: str) -> list[str]:
    """Create positions and write frames until the disk is full: what had returned is there, to the pixel."""
    path = disk / STORE
    rng = np.random.default_rng(4)
    plate = ps.open_ome_zarr(path, layout="hcs", mode="w-", channel_names=["a"], version="0.5")
    shape = (1, 1, 8, 128, 128)
    written: dict[tuple[str, int], np.ndarray] = {}
    names: list[str] = []
    found: list[str] = []

    def step(number: int) -> None:
        name = f"A/{number}/0"
        if name not in plate:
            plate.create_position("A", str(number), "0").create_zeros("0", shape, "uint16", **LAYOUTS[layout])
        names.append(name)
        image = plate[name]["0"]
        for z in range(8):
            if (name, z) not in written:
                frame = rng.integers(0, 65535, shape[3:], dtype="uint16")
                image[0, 0, z] = frame
                written[name, z] = frame

    def look(moment: str) -> None:
        files = read_documents(path)
        found.extend(f"{moment}: {text}" for text in [*problems(files), *unfinished(files)])
        positions = dict(ps.open_ome_zarr(path).positions())
        found.extend(f"{moment}: {name} is lost" for name in names if name not in positions)
        for (name, z), frame in written.items():
            if not (positions[name]["0"][0, 0, z] == frame).all():
                found.append(f"{moment}: frame {z} of {name} is not what was written")

    number = 0
    spare = disk / "spare"
    if kind == "inodes":
        return ["0"]  # the pages go first
    spare.write_bytes(bytes(2**20))
    while True:
        try:
            step(number)
        except OSError as error:
            if error.errno not in (28, None) or os.fspath(disk) not in str(error):
                found.append(f"surfaces as {error!r}")
            break
        number += 1
    look("full")
    spare.unlink()
    step(number)
    look("with room again")
    return [f"{len(written)}", *found]


def every() -> dict[str, Any]:
    """All calls, by name: functions of a disk and of what it runs out of."""
    out: dict[str, Any] = {}

    def of(kind_of_scene: Any, case: Any, version: str) -> Any:
        return lambda disk, kind: play(kind_of_scene(case, version, disk=disk, kind=kind))

    for number, case in enumerate([*CREATIONS, *REPLACEMENTS, *IN_PLACE]):
        out[case.name] = of(_FullDisk, case, ("0.5", "0.4")[number % 2])
    for number, case in enumerate([*test_pyramid_crashes.CASES, *LABELS]):
        out[f"levels: {case.name}"] = of(_FullDiskPyramids, case, ("0.5", "0.4")[number % 2])
    copies = [*test_faults_copy.NEW, *test_faults_copy.MORE, *test_faults_copy.REPLACING]
    for scene in [*copies, *test_faults_copy.INSIDE]:
        out[f"copy: {scene.name}"] = lambda disk, kind, name=scene.name: play_copy(name, disk, kind)
    for name in test_faults_stacks._SCENES:
        out[name] = lambda disk, kind, name=name: play_stack(name, disk, kind)
    for name in LAYOUTS:
        out[f"until it is full, in {name}"] = lambda disk, kind, name=name: fill_up(name, disk, kind)
    return out


def main(disk: Path, how_many: str, names: list[str]) -> None:
    """Make the calls of some names, and print what was found."""
    global _how_many
    _how_many = how_many
    assert os.statvfs(disk).f_blocks * os.statvfs(disk).f_frsize <= 2**24, "this is no small disk"
    calls = every()
    for name in names:
        for kind in KINDS:
            warnings.simplefilter("ignore")
            states, *found = calls[name](disk, kind)
            print(json.dumps({"name": name, "kind": kind, "states": int(states), "found": found}), flush=True)
            for item in disk.iterdir():
                shutil.rmtree(item) if item.is_dir() else item.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
