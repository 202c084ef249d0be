"""What users do to stacks, by mistake or on purpose: odd files, wrong lists, interruptions, other readers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stack_cases import assert_levels, cascade, noise, tree, write_planes

import platestore as ps
from platestore import stacks
from platestore.errors import ArgumentError, BudgetError, PlatestoreError, UnsupportedError

tifffile = pytest.importorskip("tifffile")

STACK = noise((10, 37, 53), high=60000)
STEPS = [(1, 2, 2)]
OPTIONS: dict[str, Any] = {"voxel_size": (1, 1, 1), "chunks": (4, 16, 16), "levels": 2, "workers": 1}
KINDS: list[dict[str, Any]] = [
    {},
    {"byteorder": ">"},
    {"bigtiff": True},
    {"compression": "zlib", "predictor": True},
    {"compression": "zlib", "byteorder": ">"},
    {"tile": (16, 32)},
    {"tile": (16, 48), "compression": "zlib"},
    {"rowsperstrip": 5},
    {"compression": "lzma", "rowsperstrip": 7},
    {"software": "x" * 5000},
]


def imported(planes: Any, out: Path, **options: Any) -> np.ndarray:
    position = stacks.import_stack(planes, out, **{**OPTIONS, **options})
    return position["0"][...]


def assert_nothing(folder: Path, name: str = "out.zarr") -> None:
    """Nothing of an image is there, not even a hidden one."""
    assert [p.name for p in folder.iterdir() if name in p.name] == []


# --- files ----------------------------------------------------------------------------------------


def test_each_plane_of_a_stack_may_be_stored_in_another_way(tmp_path):
    folder = tmp_path / "planes"
    folder.mkdir()
    for z, (plane, how) in enumerate(zip(STACK, KINDS, strict=True)):
        tifffile.imwrite(folder / f"p{z}.tif", plane, **how)
    position = stacks.import_stack(folder, tmp_path / "out.zarr", **{**OPTIONS, "levels": 3})
    images = [array[0, 0] for _, array in position.images()]
    np.testing.assert_array_equal(images[0], STACK)
    assert len(images) == 3


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("axes", ["ZYX", "ZCYX", "TZCYX", "TCZYX"])
def test_files_of_several_planes_have_the_axes_that_they_say(tmp_path, axes, compression, byteorder):
    shape = (*range(2, len(axes)), 19, 23)
    data = noise(shape, high=60000)
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, data, metadata={"axes": axes}, compression=compression, byteorder=byteorder)
    order = [axes.index(name) for name in "TCZYX" if name in axes]
    expected = data.transpose(order)
    for missing in (i for i, name in enumerate("TCZYX") if name not in axes):
        expected = np.expand_dims(expected, missing)
    np.testing.assert_array_equal(imported(path, tmp_path / "out.zarr"), expected)


def test_files_of_imagej(tmp_path):
    data = noise((2, 4, 3, 19, 23))
    tifffile.imwrite(tmp_path / "a.tif", data, imagej=True, metadata={"axes": "TZCYX"})
    np.testing.assert_array_equal(
        imported(tmp_path / "a.tif", tmp_path / "out.zarr"), data.transpose(0, 2, 1, 3, 4)
    )


def test_the_smaller_copies_in_a_pyramidal_file_are_no_planes(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as file:
        file.write(STACK, subifds=1, metadata={"axes": "ZYX"})
        file.write(STACK[:, ::2, ::2], subfiletype=1)
    np.testing.assert_array_equal(imported(tmp_path / "a.ome.tif", tmp_path / "out.zarr")[0, 0], STACK)
    folder = tmp_path / "planes"
    folder.mkdir()
    for z, plane in enumerate(STACK):
        with tifffile.TiffWriter(folder / f"{z}.tif") as file:
            file.write(plane, subifds=1)
            file.write(plane[::2, ::2], subfiletype=1)
    np.testing.assert_array_equal(imported(folder, tmp_path / "out2.zarr")[0, 0], STACK)


def test_lists_need_no_order(tmp_path):
    folder = write_planes(tmp_path / "planes", STACK, "p{}.tif")
    files = [str(folder / f"p{z}.tif") for z in (9, 3, 1, 0, 2, 4, 5, 7, 8, 6)]
    np.testing.assert_array_equal(imported(files, tmp_path / "out.zarr")[0, 0], STACK)


def _garbage(path: Path) -> None:
    path.write_bytes(b"II*\0garbage")


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _text(path: Path) -> None:
    path.write_text("notes of the microscope")


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nonexistent")


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _smaller(path: Path) -> None:
    tifffile.imwrite(path, STACK[0][:20])


def _signed(path: Path) -> None:
    tifffile.imwrite(path, STACK[0].astype("int16"))


def _colours(path: Path) -> None:
    tifffile.imwrite(path, np.zeros((37, 53, 3), "uint8"), photometric="rgb")


def _two(path: Path) -> None:
    tifffile.imwrite(path, STACK[:2])


@pytest.mark.parametrize(
    "spoil", [_garbage, _empty, _text, _dangling, _directory, _smaller, _signed, _colours, _two]
)
def test_one_wrong_file_of_many_is_named_before_anything_is_written(tmp_path, spoil):
    folder = write_planes(tmp_path / "planes", STACK)
    spoil(folder / "plane_0004.tif")
    with pytest.raises(PlatestoreError, match=r"plane_0004\.tif"):
        imported(folder, tmp_path / "out.zarr")
    assert_nothing(tmp_path)


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"block": [(0, 8), (4, 10)]},
        {"block": [(0, 4), (8, 10)]},
        {"block": [(0, 8)]},
        {"block": [(0, 6), (6, 10)]},
        {"block": [(0, 8), (8, 12)]},
        {"block": 5},
        {"block": 0},
        {"block": True},
        {"levels": 0},
        {"levels": True},
        {"chunks": (0, 16, 16)},
        {"shards": (4, 17, 16)},
        {"shards": (3, 16, 16)},
        {"version": "0.4", "shards": "YX"},
        {"voxel_size": (1, 1)},
        {"voxel_size": (0, 1, 1)},
        {"spatial_unit": "second"},
        {"method": "sum"},
        {"channel_name": ["a", "b"]},
        {"overwrite": True, "resume": True},
    ],
    ids=str,
)
def test_what_cannot_be_meant_leaves_nothing(tmp_path, options):
    with pytest.raises((ArgumentError, UnsupportedError)):
        imported(STACK, tmp_path / "out.zarr", **options)
    assert_nothing(tmp_path)


def test_a_small_budget_says_how_much_is_needed_and_leaves_nothing(tmp_path):
    with pytest.raises(BudgetError, match="max_memory="):
        imported(STACK, tmp_path / "out.zarr", max_memory="1KB")
    assert_nothing(tmp_path)


def test_methods_are_the_same_whatever_the_blocks(tmp_path):
    for method in ("mean", "mode", "max"):
        for block in (4, 8, None):
            out = tmp_path / f"{method}{block}.zarr"
            position = stacks.import_stack(STACK, out, **{**OPTIONS, "method": method, "block": block})
            steps = [_step(position)]
            assert_levels(position, cascade(STACK, steps, method))


def _step(position: ps.Position) -> tuple[int, ...]:
    above, below = (array.shape[2:] for _, array in position.images())
    return tuple(round(a / b) for a, b in zip(above, below, strict=True))


# --- volumes as in stack-to-chunk's documents -----------------------------------------------------


def _volume(path: Path, **options: Any) -> stacks.MultiScaleGroup:
    spec = stacks.ArraySpec(shape=(53, 37, 21), dtype="uint16", chunks=(16, 16, 8))
    what = {"name": "n", "voxel_size": (1, 2, 3), "spatial_unit": "micrometer", "array_spec": spec}
    return stacks.MultiScaleGroup(path, **{**what, **options})


VOLUME = noise((53, 37, 21), high=60000)


@pytest.mark.parametrize(
    ("start", "stop"), [(4, 12), (0, 7), (8, 15), (16, 24), (24, 32), (-8, 0), (20, 21), (0, 0)]
)
def test_blocks_off_the_grid_write_nothing(tmp_path, start, stop):
    group = _volume(tmp_path / "v.zarr")
    before = tree(tmp_path / "v.zarr")
    with pytest.raises(ArgumentError):
        group.add_full_res_data(noise((53, 37, stop - start)), n_processes=1, start_z_idx=start)
    assert tree(tmp_path / "v.zarr") == before


def test_every_level_down_to_one_voxel_and_no_further(tmp_path):
    group = _volume(tmp_path / "v.zarr")
    group.add_full_res_data(VOLUME, n_processes=2)
    steps: list[tuple[int, ...]] = []
    expected = VOLUME
    while expected.size > 1:
        steps.append(tuple(min(2, n) for n in expected.shape))
        group.add_downsample_level(len(steps))
        expected = cascade(expected, steps[-1:])[-1]
        np.testing.assert_array_equal(group[len(steps)][...], expected)
    with pytest.raises(ArgumentError, match="single voxel"):
        group.add_downsample_level(len(steps) + 1)
    assert group.levels == list(range(len(steps) + 1))


@pytest.mark.parametrize(
    "function", [lambda a: a, lambda a, axis: 0, lambda a, axis: a, np.percentile], ids=range(4)
)
def test_functions_that_are_no_reductions_leave_the_group_as_it_was(tmp_path, function):
    group = _volume(tmp_path / "v.zarr")
    group.add_full_res_data(VOLUME, n_processes=1)
    group.add_downsample_level(1)
    before = tree(tmp_path / "v.zarr")
    for level, overwrite in ((1, True), (2, False)):
        with pytest.raises((ArgumentError, TypeError)):
            group.add_downsample_level(level, downsample_func=function, overwrite=overwrite)
    assert tree(tmp_path / "v.zarr") == before


def _to_original(path: Path) -> None:
    """Turn a volume with corner origin into what stack-to-chunk 2.3 leaves, its stray metadata included."""
    document = json.loads((path / "zarr.json").read_text())
    (image,) = document["attributes"]["ome"]["multiscales"]
    image.update(
        type="local mean",
        metadata={
            "description": "local mean",
            "method": "skimage.measure.block_reduce",
            "version": "0.24.0",
            "kwargs": {"block_size": 2, "func": "np.mean"},
        },
    )
    document["attributes"]["multiscales"] = [image]
    (path / "zarr.json").write_text(json.dumps(document))


def test_a_store_with_the_original_s_metadata_is_extended_with_its_origin(tmp_path):
    group = _volume(tmp_path / "v.zarr", origin="corner")
    group.add_full_res_data(VOLUME, n_processes=1)
    group.add_downsample_level(1)
    _to_original(tmp_path / "v.zarr")
    group = stacks.open_multiscale_group(tmp_path / "v.zarr")
    assert (group.origin, group.levels, group.voxel_size) == ("corner", [0, 1], (1, 2, 3))
    group.add_downsample_level(2)
    group.add_downsample_level(1, overwrite=True)
    document = json.loads((tmp_path / "v.zarr" / "zarr.json").read_text())
    (image,) = document["attributes"]["ome"]["multiscales"]
    for k, dataset in enumerate(image["datasets"]):
        scale, translation = dataset["coordinateTransformations"]
        assert scale["scale"] == [2.0**k, 2 * 2.0**k, 3 * 2.0**k]
        assert translation["translation"] == [value / 2 for value in scale["scale"]]


# --- interruptions --------------------------------------------------------------------------------

_CLI = """
import sys
from platestore.stacks import planes
from pathlib import Path
import time
read, count, after, sign = planes.PlanesSource._read, 0, int(sys.argv[1]), Path(sys.argv[2])
def slow(self, *args):
    global count
    count += 1
    if count > after:
        sign.touch()
        time.sleep(0.2)
    read(self, *args)
planes.PlanesSource._read = slow
from platestore.cli import main
sys.argv[1:] = sys.argv[3:]
main()
"""


@pytest.mark.quick(1)
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("after", [1, 7])
def test_a_real_interrupt_in_the_middle_and_resume(tmp_path, after):
    folder = write_planes(tmp_path / "planes", STACK)
    out, sign = tmp_path / "out.zarr", tmp_path / "sign"
    options = ["--voxel-size", "1,1,1", "--chunks", "4,16,16", "-l", "2", "--block", "4", "-w", "1"]
    arguments = ["import-stack", str(folder), str(out), *options]
    process = subprocess.Popen(
        [sys.executable, "-c", _CLI, str(after), str(sign), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not sign.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    text = process.communicate(timeout=60)[0]
    assert process.returncode == 130, text
    assert "--resume" in text
    assert "Traceback" not in text
    assert not out.exists()
    done = stacks.StackPlan.open(out).jobs
    assert [job.done for job in done] == [4 * (i + 1) <= after for i in range(3)]
    position = stacks.import_stack(folder, out, block=4, resume=True, **OPTIONS)
    np.testing.assert_array_equal(position["0"][0, 0], STACK)
    assert_levels(position, cascade(STACK, [_step(position)]))
    assert not Path(f"{out}.importing").exists()


def test_planes_that_change_between_jobs_are_noticed_on_resume(tmp_path):
    folder = write_planes(tmp_path / "planes", STACK)
    out = tmp_path / "out.zarr"
    stacks.plan(folder, out, **{k: v for k, v in OPTIONS.items() if k != "workers"}, block=4)
    stacks.run_job(out, 0, workers=1)
    shutil.copy(folder / "plane_0000.tif", folder / "plane_0009.tif")
    with pytest.raises(PlatestoreError, match=r"plane_0009\.tif"):
        stacks.import_stack(folder, out, block=4, resume=True, **OPTIONS)
    assert not out.exists()
    position = stacks.import_stack(folder, out, block=4, overwrite=True, **OPTIONS)
    np.testing.assert_array_equal(position["0"][0, 0], np.concatenate([STACK[:9], STACK[:1]]))


def test_a_plan_that_was_replaced_writes_nothing(tmp_path):
    out = tmp_path / "out.zarr"
    options = {k: v for k, v in OPTIONS.items() if k not in ("workers", "chunks")}
    old = stacks.plan(STACK, out, chunks=(4, 16, 16), block=8, **options)
    new = stacks.plan(STACK, out, chunks=(4, 32, 32), block=8, overwrite=True, **options)
    for action in (lambda: old.run(0, workers=1), old.finish):
        with pytest.raises(PlatestoreError):
            action()
    assert not any(job.done for job in new.jobs)
    for job in new.jobs:
        new.run(job.index, workers=1)
    np.testing.assert_array_equal(new.finish()["0"][0, 0], STACK)
    with pytest.raises(PlatestoreError):
        new.run(0, force=True)
    assert [p.name for p in tmp_path.iterdir()] == ["out.zarr"]


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"progress": 5}], ids=str)
def test_resources_are_checked_before_anything_is_written(tmp_path, wrong):
    with pytest.raises(ArgumentError):
        imported(STACK, tmp_path / "out.zarr", **wrong)
    assert_nothing(tmp_path)


@pytest.mark.parametrize("axis", ["C", "T", "Z"])
def test_a_file_that_names_its_leading_axis_is_believed(tmp_path, axis):
    data = noise((3, 19, 23))
    tifffile.imwrite(tmp_path / "a.ome.tif", data, metadata={"axes": axis + "YX"})
    expected = {"C": (1, 3, 1), "T": (3, 1, 1), "Z": (1, 1, 3)}[axis]
    found = imported(tmp_path / "a.ome.tif", tmp_path / "out.zarr")
    assert found.shape == (*expected, 19, 23)
    np.testing.assert_array_equal(found.reshape(data.shape), data)


def test_a_group_is_no_stack(tmp_path):
    ps.open_ome_zarr(tmp_path / "i.zarr", layout="fov", mode="w-", channel_names=["a"], version="0.5")
    with pytest.raises(PlatestoreError, match=r"i\.zarr"):
        imported(tmp_path / "i.zarr", tmp_path / "out.zarr")
    assert_nothing(tmp_path)


def test_more_levels_than_there_can_be_are_an_error(tmp_path):
    with pytest.raises(ArgumentError, match="levels"):
        imported(STACK, tmp_path / "out.zarr", levels=30)
    assert_nothing(tmp_path)


def test_a_dry_run_has_no_finished_jobs(tmp_path):
    options = {k: v for k, v in OPTIONS.items() if k != "workers"}
    prepared = stacks.plan(STACK, tmp_path / "out.zarr", block=4, dry_run=True, **options)
    assert [job.done for job in prepared.jobs] == [False, False, False]
    assert_nothing(tmp_path)


def test_a_damaged_plan_is_named(tmp_path):
    out = tmp_path / "out.zarr"
    options = {k: v for k, v in OPTIONS.items() if k != "workers"}
    stacks.plan(STACK, out, block=4, **options)
    (tmp_path / "out.zarr.importing" / "plan.json").write_text('{"format": 1}')
    for action in (
        lambda: stacks.run_job(out, 0),
        lambda: stacks.finish(out),
        lambda: imported(STACK, out, block=4, resume=True),
    ):
        with pytest.raises(PlatestoreError, match=r"plan\.json"):
            action()
    np.testing.assert_array_equal(imported(STACK, out, block=4, overwrite=True)[0, 0], STACK)
