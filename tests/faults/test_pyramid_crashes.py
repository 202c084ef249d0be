"""The program dies, or the disk is full, at every operation of the calls that make and remove levels.

Whatever the moment: level 0 is whole, the levels that are listed are all old or all new (unless a mark says
that they are being filled), labels are as whole as images, and the same call made again gets to the end.
"""

from __future__ import annotations

import errno
import functools
import os
import random
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fault_cases import Case, Door, View, _chunks, _document, _pixels
from fault_checker import problems, read_documents, read_tree, unfinished
from fault_scenes import DirectoryScene, MemoryScene, Scene

import platestore as ps
from platestore.pyramid.kernels import reduce_block

SHAPE = (1, 1, 2, 5, 6)
_LEVELS = 3


def _data(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 60000, SHAPE, dtype="uint16")


# --- stores to start from -------------------------------------------------------------------------


def _new(path: Path, version: str) -> ps.Position:
    return ps.open_ome_zarr(path, layout="fov", mode="w-", channel_names=["a"], version=version)


def _image(path: Path, version: str, *, ratio: Any = None) -> ps.Position:
    position = _new(path, version)
    position.create_image("0", _data(1), chunks=(1, 1, 1, 4, 4), shards_ratio=ratio)
    return position


def _sharded(path: Path, version: str) -> None:
    _image(path, version, ratio=(1, 1, 2, 2, 2) if version == "0.5" else None)


def _levels(path: Path, version: str) -> None:
    _image(path, version).compute_pyramid(_LEVELS)


def _changed(path: Path, version: str) -> None:
    position = _image(path, version)
    position.compute_pyramid(_LEVELS)
    position["0"][...] = _data(2)


def _changed_sharded(path: Path, version: str) -> None:
    position = _image(path, version, ratio=(1, 1, 2, 2, 2) if version == "0.5" else None)
    position.compute_pyramid(_LEVELS)
    position["0"][0, 0, 1:, 2:, 3:] = 7


def _initialised(path: Path, version: str) -> None:
    _image(path, version).initialize_pyramid(_LEVELS)


def _labelled(path: Path, version: str) -> None:
    position = _image(path, version)
    position.create_label("cells", _data(3) % 5, chunks=(1, 1, 2, 5, 4))


def _labelled_levels(path: Path, version: str) -> None:
    _image(path, version).compute_pyramid(2)
    ps.open_ome_zarr(path, mode="r+").create_label("cells", _data(3) % 5, chunks=(1, 1, 2, 5, 4))


_BASES: dict[str, Callable[[Path, str], Any]] = {
    "empty": _new,
    "image": _image,
    "sharded": _sharded,
    "levels": _levels,
    "changed": _changed,
    "changed sharded": _changed_sharded,
    "initialised": _initialised,
    "labelled": _labelled,
    "labelled levels": _labelled_levels,
}


@functools.cache
def _files(name: str, version: str) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "s.zarr"
        _BASES[name](path, version)
        return read_tree(path)


# --- the calls ------------------------------------------------------------------------------------


def _compute(*args: Any, **kwargs: Any) -> Callable[[Door], Any]:
    return lambda door: door().compute_pyramid(*args, workers=1, **kwargs)


def _create(door: Door) -> None:
    door().create_image("0", _data(1), chunks=(1, 1, 1, 4, 4), pyramid_levels=_LEVELS)


def _overwrite(door: Door) -> None:
    position = door(overwriting_creation=True)
    position.create_image("0", _data(4), chunks=(1, 1, 1, 4, 4), pyramid_levels=_LEVELS)


_ANY = ("image", "document", "label")
#: Readers see the old state or the new one.
STRICT = [
    Case("compute creates", "image", _compute(_LEVELS)),
    Case("compute creates, sharded", "sharded", _compute(_LEVELS)),
    Case("delete", "levels", lambda door: door().delete_pyramid()),
    Case("initialise", "image", lambda door: door().initialize_pyramid(_LEVELS)),
]
#: Levels are absent in between, or are marked and filled in place, or follow one another.
LOOSE = [
    Case("recompute", "changed", _compute(), loose=True, missing=_ANY),
    Case("recompute, sharded", "changed sharded", _compute(), loose=True, missing=_ANY),
    Case("fill", "initialised", _compute(), loose=True, missing=_ANY, pixels=lambda s, b, a: True),
    Case(
        "region",
        "changed sharded",
        _compute(region=np.s_[0, 0, 1:, 2:, 3:]),
        loose=True,
        missing=_ANY,
        pixels=lambda s, b, a: True,
    ),
    Case("create image with levels", "empty", _create, loose=True, missing=_ANY),
    Case("overwrite image with levels", "levels", _overwrite, loose=True, missing=_ANY),
    Case("compute creates, with labels", "labelled", _compute(_LEVELS), loose=True, missing=_ANY),
    Case(
        "delete, with labels",
        "labelled levels",
        lambda door: door().delete_pyramid(),
        loose=True,
        missing=_ANY,
    ),
    Case(
        "initialise, with labels",
        "labelled",
        lambda door: door().initialize_pyramid(_LEVELS),
        loose=True,
        missing=_ANY,
    ),
]
CASES = [*STRICT, *LOOSE]


def _named(case: Case) -> str:
    return case.name.replace(" ", "-").replace(",", "")


def _in_one(cases: list[Case]) -> list[Any]:
    """One version by default, the other one in the long run."""
    return [
        pytest.param(case, v, id=f"{_named(case)}-{v}", marks=[pytest.mark.slow] if v == slow else [])
        for case, slow in zip(cases, ["0.4", "0.5"] * len(cases), strict=False)
        for v in ("0.4", "0.5")
    ]


class _PyramidScene(Scene):
    """A scene whose readers look at labels too, and compare the levels with each other."""

    def __init__(self, case: Case, version: str) -> None:
        super().__init__(Case(**{**case.__dict__, "base": "nothing"}), version)
        self.base = _files(case.base, version)

    def seen(self, target: Any) -> View | None:
        out = super().seen(target)
        return None if out is None else self._with_labels(out, Door(target)(mode="r"), target)

    def _whole(self, target: Any) -> View | None:
        out = super()._whole(target)
        if out is None or "nothing but" in out:
            return out
        try:
            return self._with_labels(out, Door(target)(mode="r+"), target)
        except Exception as error:  # noqa: BLE001 - what a writer meets is judged
            return {"nothing but": repr(error)}

    def rehearse(self) -> int:
        """Make the call undisturbed; as for any scene, but that labels are seen."""
        target = self.fresh()
        self.before = self.seen(target)
        target, _, error = self.play(target)
        if error is not None:
            raise error
        self.after = self.seen(target)
        self.done = self._whole(target)
        assert self.before != self.after, "the call changes nothing"
        files = self.files(target)
        self.note("undisturbed", problems(files))
        self.note("undisturbed", [f"still unfinished: {key}" for key in unfinished(files)])
        self.note("undisturbed", [f"left behind: {name}" for name in self.litter(target)])
        self.discard(target)
        return len(self.log)

    def _recover(self, moment: str, target: Any) -> None:
        for _, label in Door(target)().labels():
            list(label)  # whoever looks at a label image to write completes what was begun there
        super()._recover(moment, target)

    def _with_labels(self, out: View, position: Any, target: Any) -> View:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for name, label in position.labels():
                out[f"label {name}"] = {"document": _document(label)}
                for level, image in label.images():
                    place = f"labels/{name}/{level}"
                    look = _pixels(place, image) if self.case.pixels else _chunks(target, place, image)
                    out[f"label {name}/{level}"] = {"shape": image.shape, "pixels": look}
        return out

    def _judge(self, moment: str, target: Any) -> None:
        super()._judge(moment, target)
        try:
            position = Door(target)(mode="r")
            names = list(position)
            entry = position.metadata.multiscales[0].to_json()
            levels = [position[name].numpy() for name in names]
        except Exception as error:  # noqa: BLE001
            self.note(moment, [f"a reader of pixels meets {type(error).__name__}: {error}"])
            return
        marked = bool((entry.get("metadata") or {}).get("platestore"))
        if len(levels) > 1 and not marked and not self._belong_together(levels):
            self.note(moment, ["the levels do not belong together, and no mark says so"])
        if "initialise" in self.case.name and marked != (len(levels) > 1):
            self.note(moment, ["levels without pixels are listed without a mark"])

    def _belong_together(self, levels: list[np.ndarray]) -> bool:
        """Whether all levels were made from one level 0, this one or (recomputing) the one before."""
        sources = [levels[0]]
        if self.case.name.startswith(("recompute", "region")):
            sources.append(_data(1))
        for source in sources:
            expected, good = source, True
            for level in levels[1:]:
                factors = tuple(-(-n // m) for n, m in zip(expected.shape, level.shape, strict=True))
                expected = reduce_block(expected, factors, "mean")
                good = good and expected.shape == level.shape and bool((expected == level).all())
            if good:
                return True
        return False


class DirectoryPyramids(_PyramidScene, DirectoryScene):
    """On a directory."""


class MemoryPyramids(_PyramidScene, MemoryScene):
    """On a zarr store in memory."""


def _scene_rehearsed(scene: Scene) -> int:
    length = scene.rehearse()
    assert length > 0
    return length


def _report(scene: Scene) -> None:
    if scene.found:
        pytest.fail(scene.report(), pytrace=False)


@pytest.mark.parametrize("case", CASES, ids=_named)
def test_a_crash_at_any_operation_leaves_old_levels_or_new_ones_or_none(case, version):
    with DirectoryPyramids(case, version) as scene:
        length = _scene_rehearsed(scene)
        for k in range(length):
            scene.crash(k, "before")
            if scene.log[k][0] == "write":
                scene.crash(k, "torn")
        scene.crash(length - 1, "after")
        _report(scene)


@pytest.mark.parametrize(("case", "version"), _in_one(CASES))
def test_a_crash_at_any_change_of_a_zarr_store(case, version):
    with MemoryPyramids(case, version) as scene:
        for k in range(_scene_rehearsed(scene)):
            scene.crash(k, "before")
        _report(scene)


@pytest.mark.parametrize(("case", "version"), _in_one(CASES))
def test_no_space_left_at_any_operation_is_an_error_and_can_be_repeated(case, version):
    with DirectoryPyramids(case, version) as scene:
        for k in range(_scene_rehearsed(scene)):
            scene.fail(k, errno.ENOSPC if scene.log[k][0] in ("create", "write", "mkdir") else errno.EIO)
        _report(scene)


@pytest.mark.parametrize(("case", "version"), _in_one(STRICT[:2] + LOOSE[:2]))
def test_no_space_left_while_levels_are_built_leaves_every_file_as_it_was(case, version):
    """Levels are built under hidden names, and these go."""
    with DirectoryPyramids(case, version) as scene:
        _scene_rehearsed(scene)
        files = [k for k, (name, path) in enumerate(scene.log) if name == "write" and ".new/" in path]
        assert files
        for k in files:
            target = scene.fresh()
            target, _, error = scene.play(target, k, error=errno.ENOSPC)
            assert isinstance(error, OSError)
            assert error.errno == errno.ENOSPC
            assert read_tree(target) == scene.base
            assert {p.name for p in target.iterdir() if p.is_dir()} == {
                key.partition("/")[0] for key in scene.base if "/" in key
            }, "hidden directories are left"
            scene.discard(target)


@pytest.mark.parametrize(("case", "version"), _in_one(CASES))
def test_handles_that_were_open_when_another_process_died_complete_what_it_began(case, version):
    with DirectoryPyramids(case, version) as scene:
        for k in range(_scene_rehearsed(scene)):
            scene.crash_beside(k)
        _report(scene)


# --- several at once ------------------------------------------------------------------------------

_TURNS = """
import sys
import platestore as ps
position = ps.open_ome_zarr(sys.argv[1], mode="r+")
print("go", flush=True)
sys.stdin.readline()
for turn in range(4):
    position.compute_pyramid(3, sys.argv[2], workers=1)
"""


@pytest.mark.quick(1)
def test_two_processes_that_compute_the_same_levels_do_not_mix_them(version, tmp_path):
    path = tmp_path / "s.zarr"
    _image(path, version)
    command = [sys.executable, "-c", _TURNS, str(path)]
    both = [
        subprocess.Popen([*command, method], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for method in ("mean", "max")
    ]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "go\n"
    for process in both:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in both:
        process.communicate(timeout=120)
    assert [process.returncode for process in both] == [0, 0]
    position = ps.open_ome_zarr(path)
    assert list(position) == ["0", "1", "2"]
    method = position.metadata.multiscales[0].to_json()["type"]
    level = _data(1)
    for name in ("1", "2"):
        level = reduce_block(level, (1, 1, 2, 2, 2), method)
        np.testing.assert_array_equal(position[name].numpy(), level)
    assert not [p for p in path.rglob("*") if p.name.endswith((".tmp", ".new"))]


# --- killed ---------------------------------------------------------------------------------------

_WORK = """
import sys
import platestore as ps
import platestore.arrays.chunkfiles, platestore.images.level_making, platestore.pyramid.levels
position = ps.open_ome_zarr(sys.argv[1], mode="r+")
print("go", flush=True)
while True:
    position.compute_pyramid(4, sys.argv[2], workers=2)
    print("done", flush=True)
    if sys.argv[3] == "delete":
        position.delete_pyramid()
"""


def _killed(path: Path, method: str, how: str, delay: float) -> None:
    """Compute in another process for ever, until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", _WORK, str(path), method, how], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "go\n"
        time.sleep(delay)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    assert process.returncode == -9


def _kill_often(path: Path, version: str, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    data = np.random.default_rng(seed).integers(0, 60000, (1, 1, 16, 260, 300), dtype="uint16")
    position = ps.open_ome_zarr(path, layout="fov", mode="w-", channel_names=["a"], version=version)
    ratio = (1, 1, 2, 2, 2) if version == "0.5" else None
    position.create_image("0", data, chunks=(1, 1, 4, 64, 64), shards_ratio=ratio)
    expected = {}
    for method in ("mean", "max"):
        levels = [data]
        for _ in range(3):
            levels.append(reduce_block(levels[-1], (1, 1, 2, 2, 2), method))
        expected[method] = levels
    interrupted = 0
    for number in range(kills):
        method = ("mean", "max")[number % 2]
        _killed(path, method, rng.choice(("delete", "recompute")), rng.uniform(0.0, 0.15))
        hidden = {p.name for p in path.iterdir() if p.name.endswith((".new", ".tmp"))}
        interrupted += bool(hidden)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for mode in ("r", "r+"):
                found = {name: image.numpy() for name, image in ps.open_ome_zarr(path, mode=mode).images()}
                assert (found.pop("0") == data).all(), "level 0 is not what it was"
                assert list(found) in ([], ["1", "2", "3"]), f"kill {number}: {list(found)}"
                assert not found or any(
                    all((found[str(k)] == levels[k]).all() for k in (1, 2, 3)) for levels in expected.values()
                ), f"kill {number}: the levels are mixed"
    assert interrupted, "no process was killed while it built levels"
    position = ps.open_ome_zarr(path, mode="r+")
    position.compute_pyramid(4, "max")
    for k in (1, 2, 3):
        np.testing.assert_array_equal(position[str(k)].numpy(), expected["max"][k])
    assert not [key for key in read_documents(path) if b'"intents"' in read_documents(path)[key]]


@pytest.mark.quick(1)
@pytest.mark.skipif(os.name == "nt", reason="a killed process is simulated elsewhere on Windows")
def test_kills_at_some_moments_leave_whole_levels_or_none(version, tmp_path):
    _kill_often(tmp_path / "s.zarr", version, kills=3, seed=1)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="a killed process is simulated elsewhere on Windows")
@pytest.mark.parametrize("seed", range(5))
def test_kills_at_many_moments_leave_whole_levels_or_none(seed, version, tmp_path):
    _kill_often(tmp_path / "s.zarr", version, kills=30, seed=seed)
