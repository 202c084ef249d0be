"""Imports, jobs, levels of volumes and multiscale images are killed at moments all over their course.

A process is really killed (SIGKILL) at one of its changes on disk. Whatever the moment: what is named is
whole, and the same call made again gets to the same image, byte by byte.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fault_os import OsFaults
from fault_workers import context

import platestore as ps
from platestore import multiscales, stacks
from platestore.errors import NodeExistsError

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no such signal")

_MOMENTS = 4
_SHAPE = (24, 20, 36)
_PIXELS = np.random.default_rng(5).integers(0, 60000, _SHAPE).astype("uint16")
_FORMER = np.random.default_rng(6).integers(0, 60000, _SHAPE).astype("uint16")
_IMPORT: dict[str, Any] = {"voxel_size": (2, 1, 1), "chunks": (4, 8, 8), "levels": 3, "name": "stack"}


# --- what is killed -------------------------------------------------------------------------------


def _planes(root: Path) -> Path:
    import tifffile

    folder = root / "planes"
    if not folder.exists():
        folder.mkdir(parents=True)
        for z, plane in enumerate(_PIXELS):
            tifffile.imwrite(folder / f"z{z:03d}.tif", plane, compression="zlib" if z % 2 else None)
    return folder


def _nothing(root: Path) -> None:
    _planes(root)


def _import(root: Path) -> None:
    out = root / "here" / "out.zarr"
    try:
        stacks.import_stack(_planes(root), out, block=8, workers=1, resume=True, **_IMPORT)
    except NodeExistsError:  # it was complete before the kill
        if _is_under_way(root):
            raise


def _planned(root: Path) -> None:
    stacks.plan(_planes(root), root / "here" / "out.zarr", block=8, **_IMPORT)


def _plan_and_jobs(root: Path) -> None:
    _planned(root)
    for index in range(3):
        stacks.run_job(root / "here" / "out.zarr", index, workers=1)


def _job(root: Path) -> None:
    stacks.run_job(root / "here" / "out.zarr", 1, workers=1)


def _other_jobs(root: Path) -> None:
    for index in range(3):
        stacks.run_job(root / "here" / "out.zarr", index, workers=1)
    _finish(root)


def _forced_job(root: Path) -> None:
    stacks.run_job(root / "here" / "out.zarr", 1, workers=1, force=True)


def _finish(root: Path) -> None:
    out = root / "here" / "out.zarr"
    if not out.exists() or _is_under_way(root):
        stacks.finish(out, workers=1)


def _is_under_way(root: Path) -> bool:
    """Whether there is a plan; an empty working directory may be left by a kill at the very end."""
    return (root / "here" / "out.zarr.importing" / "plan.json").exists()


def _volume(root: Path) -> None:
    spec = stacks.ArraySpec(shape=_SHAPE, dtype="uint16", chunks=(8, 8, 6))
    group = stacks.MultiScaleGroup(
        root / "here" / "out.zarr", name="v", voxel_size=(1, 1, 2), spatial_unit="micrometer", array_spec=spec
    )
    group.add_full_res_data(_PIXELS, n_processes=1)


def _volume_with_level(root: Path) -> None:
    _volume(root)
    stacks.open_multiscale_group(root / "here" / "out.zarr").add_downsample_level(1)


def _add_levels(root: Path) -> None:
    group = stacks.open_multiscale_group(root / "here" / "out.zarr")
    for level in (1, 2):
        if level not in group.levels:
            group.add_downsample_level(level)


def _anew(root: Path) -> None:
    group = stacks.open_multiscale_group(root / "here" / "out.zarr")
    group.add_downsample_level(1, downsample_func=stacks.mode, overwrite=True)


def _former_image(root: Path) -> None:
    _write(root, _FORMER, "out.zarr")


def _image(root: Path) -> None:
    _write(root, _PIXELS, "out.zarr")


def _former_archive(root: Path) -> None:
    _write(root, _FORMER, "out.ozx")


def _archive(root: Path) -> None:
    _write(root, _PIXELS, "out.ozx")


def _write(root: Path, pixels: np.ndarray, name: str) -> None:
    made = multiscales.to_multiscales(pixels, [2, 4], method="mean", chunks=8)
    made.root_attributes = {"owner": "somebody"}
    multiscales.to_ngff_zarr(root / "here" / name, made, version="0.5", chunks_per_shard=2, workers=1)


# --- what must be true ----------------------------------------------------------------------------


def _tree(path: Path) -> dict[str, bytes]:
    if path.is_file():
        return {"": path.read_bytes()}
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def _whole_import(root: Path, reference: Path, before: dict[str, bytes]) -> None:
    """The name is given to the complete image only, and the growing one is no image."""
    out = root / "here" / "out.zarr"
    if out.exists():
        assert _tree(out) == _tree(reference / "here" / "out.zarr")
    else:
        growing = root / "here" / "out.zarr.importing"
        for document in growing.rglob("zarr.json"):
            if document.stat().st_size:  # nothing refers to one that is being made
                json.loads(document.read_text())
        for marker in growing.rglob("done"):
            json.loads(marker.read_text())


def _whole_levels(root: Path, reference: Path, before: dict[str, bytes]) -> None:
    """Every level that is listed is that of the reference."""
    group = stacks.open_multiscale_group(root / "here" / "out.zarr")
    expected = stacks.open_multiscale_group(reference / "here" / "out.zarr")
    assert group.levels in ([0], [0, 1], [0, 1, 2])
    for level in group.levels:
        np.testing.assert_array_equal(group[level][...], expected[level][...])


def _old_or_new_level(root: Path, reference: Path, before: dict[str, bytes]) -> None:
    """A level that is made anew is all old or all new, and so is what the metadata say of it."""
    group = stacks.open_multiscale_group(root / "here" / "out.zarr")
    expected = stacks.open_multiscale_group(reference / "here" / "out.zarr")
    assert group.levels == [0, 1]
    new = np.array_equal(group[1][...], expected[1][...])
    content = json.loads((root / "here" / "out.zarr" / "zarr.json").read_text())
    image = content["attributes"]["ome"]["multiscales"][0]
    assert image["metadata"]["kwargs"]["method"] == ("mode" if new else "mean")
    if not new:
        now = _tree(root / "here" / "out.zarr")
        assert {k: now[k] for k in now if k.startswith("1/")} == {
            k: before[k] for k in before if k.startswith("1/")
        }


def _old_or_new(root: Path, reference: Path, before: dict[str, bytes]) -> None:
    """The image is the old one or the new one, to the byte."""
    (name,) = [p.name for p in (reference / "here").iterdir()]
    assert _tree(root / "here" / name) in (before, _tree(reference / "here" / name))


@dataclass(frozen=True)
class _Scene:
    before: Callable[[Path], None]
    call: Callable[[Path], None]
    again: Callable[[Path], None]
    check: Callable[[Path, Path, dict[str, bytes]], None]
    may_stay: bool = False


_SCENES = {
    "import_stack": _Scene(_nothing, _import, _import, _whole_import),
    "run_job": _Scene(_planned, _job, _other_jobs, _whole_import),
    "run_job, forced": _Scene(_plan_and_jobs, _forced_job, _other_jobs, _whole_import),
    "finish": _Scene(_plan_and_jobs, _finish, _finish, _whole_import),
    "add_downsample_level": _Scene(_volume, _add_levels, _add_levels, _whole_levels, may_stay=True),
    "add_downsample_level, anew": _Scene(_volume_with_level, _anew, _anew, _old_or_new_level, may_stay=True),
    "to_ngff_zarr": _Scene(_former_image, _image, _image, _old_or_new, may_stay=True),
    "to_ngff_zarr, archive": _Scene(_former_archive, _archive, _archive, _old_or_new, may_stay=True),
}


# --- killing --------------------------------------------------------------------------------------


class _Killing(OsFaults):
    """Kills this process at one of its changes below a directory."""

    def _step(self, name: str, path: str, run: Any, half: Any = None, source: Any = None) -> Any:
        if self._below(path):
            with self._mutex:
                index = len(self.log)
                self.log.append((name, path))
                if index == self.at:
                    if half is not None:
                        half()  # a write that is torn
                    os.kill(os.getpid(), signal.SIGKILL)
        return run()


def _killed(call: Callable[[Path], None], root: Path, at: int) -> None:
    warnings.simplefilter("error")
    with _Killing(root / "here", at=at):
        call(root)


def _count(call: Callable[[Path], None], root: Path) -> int:
    with OsFaults(root / "here") as faults:
        call(root)
    return len(faults.log)


@pytest.fixture(scope="module")
def started() -> Any:
    return context()


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", _SCENES)
def test_a_kill_leaves_nothing_half_written_and_the_call_can_be_repeated(name, tmp_path, started):
    scene = _SCENES[name]
    reference, root = tmp_path / "reference", tmp_path / "work"
    _put(scene, reference)
    operations = _count(scene.call, reference)
    if scene.again is not scene.call:
        scene.again(reference)
    whole = _tree_of(reference)
    rng = random.Random(name)
    moments = {0, operations - 1, *rng.sample(range(operations), min(_MOMENTS - 2, operations))}
    for at in sorted(moments):
        shutil.rmtree(root, ignore_errors=True)
        _put(scene, root)
        before = _tree_of(root)
        process = started.Process(target=_killed, args=(scene.call, root, at))
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL, f"operation {at} of {operations}"
        scene.check(root, reference, before)
        scene.again(root)
        after = _tree_of(root)
        if scene.may_stay:  # hidden, and named by nothing
            after = {k: v for k, v in after.items() if not any(p.startswith(".") for p in k.split("/"))}
        assert after == whole, f"operation {at} of {operations}"


def _put(scene: _Scene, root: Path) -> None:
    (root / "here").mkdir(parents=True)
    scene.before(root)


def _tree_of(root: Path) -> dict[str, bytes]:
    (out,) = [p for p in (root / "here").iterdir() if p.name in ("out.zarr", "out.ozx")] or [None]
    return {} if out is None else _tree(out)


def test_the_images_of_the_scenes_are_what_they_should_be(tmp_path):
    _import(tmp_path)
    position = ps.open_ome_zarr(tmp_path / "here" / "out.zarr")
    np.testing.assert_array_equal(position["0"][0, 0], _PIXELS)
    assert [array.shape[2:] for _, array in position.images()] == [(24, 20, 36), (12, 10, 18), (6, 5, 9)]
