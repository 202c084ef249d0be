"""What goes wrong on the way: processes that are killed, stores that fail, images written from themselves."""

from __future__ import annotations

import json
import os
import random as randomness
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from xarray_cases import labelled, position, random

import platestore as ps
from platestore import xarray as doors
from platestore.errors import ArgumentError
from platestore.xarray import placing

VERSIONS = ("0.4", "0.5")
MOMENTS = 4
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate"}


# --- killed processes -----------------------------------------------------------------------------


def pixels(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 999, (4, 2, 6, 32, 32)).astype("uint16")


def image(seed: int = 0, **attrs: Any) -> xr.DataArray:
    """An array of dask, with time points from 3 on, and one of two channels."""
    data = da.from_array(pixels(seed)[:, :1], chunks=(1, 1, 2, 32, 17))
    times = xr.DataArray(np.arange(4.0) + 3, dims="t", attrs={"units": "s", "scale": 1.0, "translation": 0.0})
    z = xr.DataArray(np.arange(6) * 0.5, dims="z", attrs={"units": "um"})
    return xr.DataArray(data, dims=list("tczyx"), coords={"t": times, "c": ["GFP"], "z": z}, attrs=attrs)


def levels(seed: int) -> dict[str, xr.DataArray]:
    whole = labelled("zyx", (6, 32, 32), dtype="uint16").copy(data=pixels(seed)[0, 0]).chunk({"z": 2})
    return {"0": whole, "1": whole[::2, ::2, ::2].compute()}


def create(path: str, version: str) -> None:
    p = ps.open_ome_zarr(path, mode="r+")
    source = da.from_array(pixels(), chunks=(1, 1, 2, 32, 17))
    p.create_image("0", source, chunks=(1, 1, 3, 16, 16), pyramid_levels=3)


def recreate(path: str, version: str) -> None:
    p = ps.open_ome_zarr(path, mode="r+", overwriting_creation=True)
    p.create_image("0", da.from_array(pixels(1)), chunks=(1, 1, 3, 16, 16), pyramid_levels=3)


def group(path: str, version: str) -> None:
    doors.write_multiscale_group(
        store=path, path="images/a", arrays=levels(0), ngff_version=version, overwrite=True
    )


def regroup(path: str, version: str) -> None:
    doors.write_multiscale_group(
        store=path, path="images/a", arrays=levels(1), ngff_version=version, overwrite=True
    )


def write_first(path: str, version: str) -> None:
    ps.open_ome_zarr(path, mode="r+").write_xarray(image(0, note="first"))


def write_later(path: str, version: str) -> None:
    later = image(2, more="later")
    ps.open_ome_zarr(path, mode="r+").write_xarray(later.assign_coords(t=later.t + 2))


JOBS = {job.__name__: job for job in (create, recreate, group, regroup, write_first, write_later)}


def drive(job: str, root: str, version: str, seed: int) -> None:
    """Do a job once to the end, then again and again, each time killed at another moment.

    Each run is a fork of this process, in which everything is imported and no thread runs. A moment is a
    change of the file system.
    """
    seen = run(job, root, version, "whole", 0)
    moments = randomness.Random(seed).sample(range(1, seen + 1), min(MOMENTS, seen))
    for at in moments:
        run(job, root, version, f"killed-{at}", at)


def run(job: str, root: str, version: str, name: str, at: int) -> int:
    path, report = os.path.join(root, name), os.path.join(root, f"{name}.txt")
    base = os.path.join(root, "base")
    if os.path.exists(base):
        shutil.copytree(base, path)
    pid = os.fork()
    if not pid:
        counted = count_changes(path, at)
        try:
            JOBS[job](path, version)
            Path(report).write_text(str(counted()))
        finally:
            os._exit(0 if os.path.exists(report) else 1)
    status = os.waitpid(pid, 0)[1]
    if at:
        assert os.WIFSIGNALED(status) or Path(report).exists()
        return 0
    return int(Path(report).read_text())


def count_changes(path: str, at: int) -> Callable[[], int]:
    """Count the changes below a path, and kill this process before one of them."""
    seen, lock = 0, threading.Lock()

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal seen
        if event == "open":
            changes = bool((args[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        else:
            changes = event in CHANGES
        if not changes or not isinstance(args[0], (str, bytes, os.PathLike)):
            return
        if os.fsdecode(args[0]).startswith(path + os.sep):
            with lock:
                seen += 1
                if seen == at:
                    os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return lambda: seen


def killed(job: str, root: Path, version: str) -> list[Path]:
    """The stores that killed processes leave."""
    arguments = [sys.executable, __file__, job, str(root), version, version[-1]]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = sorted(root.glob("killed-*[0-9]"))
    assert len(found) >= MOMENTS // 2
    return found


def listed(path: Path) -> dict[str, np.ndarray]:
    """The pixels of all that a position lists; what is listed must be there."""
    p = ps.open_ome_zarr(path)
    names = p.__editor__().meta.paths()
    assert not any(name.startswith(".") for name in names)
    return {name: p[name][...] for name in names}


def pyramid(seed: int, path: Path, version: str) -> dict[str, np.ndarray]:
    p = position(path, "tczyx", version, ["DAPI", "GFP"])
    p.create_image("0", pixels(seed), pyramid_levels=3)
    return listed(path)


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    return found.keys() == expected.keys() and all(np.array_equal(found[k], expected[k]) for k in expected)


pytestmark = pytest.mark.filterwarnings("ignore::platestore.errors.StoreWarning")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


@pytest.mark.quick(1)
@needs_fork
def test_create_image_with_levels_is_there_whole_or_not_at_all(version, tmp_path):
    position(tmp_path / "base", "tczyx", version, ["DAPI", "GFP"])
    expected = pyramid(0, tmp_path / "expected", version)
    for path in killed("create", tmp_path, version):
        found = listed(path)
        assert not found or same(found, expected)
        ps.open_ome_zarr(path, mode="r+")
        if not listed(path):
            create(str(path), version)
        assert same(listed(path), expected)


@pytest.mark.quick(1)
@needs_fork
def test_a_replaced_image_is_the_old_one_or_the_new_one(version, tmp_path):
    before = pyramid(0, tmp_path / "base", version)
    after = pyramid(1, tmp_path / "expected", version)
    for path in killed("recreate", tmp_path, version):
        ps.open_ome_zarr(path, mode="r+")["0"]  # a writer completes what was recorded
        found = listed(path)
        assert same(found, before) or same(found, after), path
        recreate(str(path), version)
        assert same(listed(path), after)


@pytest.mark.quick(1)
@needs_fork
@pytest.mark.parametrize("job", [group, regroup])
def test_a_multiscale_group_is_there_whole_or_not_at_all(job, version, tmp_path):
    if job is regroup:
        group(str(tmp_path / "base"), version)
    expected = {k: {p: a.values for p, a in levels(k).items()} for k in (0, 1)}
    states = []
    for path in killed(job.__name__, tmp_path, version):
        states.append(None)
        if (path / "images" / "a").exists():
            read = doors.read_multiscale_group(path / "images" / "a")
            found = {name: array.values for name, array in read.items()}
            states[-1] = next(k for k in (0, 1) if same(found, expected[k]))
        job(str(path), version)
        read = doors.read_multiscale_group(zarr.open_group(path, path="images/a", mode="r"))
        assert same({k: a.values for k, a in read.items()}, expected[int(job is regroup)])
    assert set(states) <= ({None, 0} if job is group else {None, 0, 1})


@pytest.mark.quick(1)
@needs_fork
def test_a_first_write_is_there_whole_or_not_at_all(version, tmp_path):
    position(tmp_path / "base", "tczyx", version, ["DAPI", "GFP"])
    expected = np.zeros((7, 2, 6, 32, 32), "uint16")
    expected[3:, 1] = pixels(0)[:, 0]
    for path in killed("write_first", tmp_path, version):
        found = listed(path)
        assert not found or same(found, {"0": expected})
        try:
            write_first(str(path), version)
        except ps.NodeExistsError:  # it was killed after the pixels, before they were listed
            p = ps.open_ome_zarr(path, mode="r+", overwriting_creation=True)
            p.write_xarray(image(0, note="first"))
        assert same(listed(path), {"0": expected})
        x = ps.open_ome_zarr(path).to_xarray()
        assert x.attrs == {"note": "first"}
        assert (x.t.attrs["units"], x.z.attrs["units"], x.z.attrs["scale"]) == ("second", "micrometer", 0.5)


@pytest.mark.quick(1)
@needs_fork
def test_a_later_write_can_be_repeated(version, tmp_path):
    position(tmp_path / "base", "tczyx", version, ["DAPI", "GFP"])
    write_first(str(tmp_path / "base"), version)
    expected = np.zeros((9, 2, 6, 32, 32), "uint16")
    expected[3:7, 1] = pixels(0)[:, 0]
    expected[5:9, 1] = pixels(2)[:, 0]
    for path in killed("write_later", tmp_path, version):
        found = listed(path)["0"]
        assert found.shape[1:] == expected.shape[1:]
        assert (found[:5] == expected[:5]).all()
        write_later(str(path), version)
        assert same(listed(path), {"0": expected})
        assert ps.open_ome_zarr(path).to_xarray().attrs == {"note": "first", "more": "later"}


@pytest.mark.parametrize("names", [["DAPI", "GFP"], None])
def test_a_write_that_ends_before_its_description_can_be_repeated(names, tmp_path, monkeypatch, version):
    p = position(tmp_path / "a.zarr", "tczyx", version, ["DAPI", "GFP"])
    if names is None:  # channels without names, which the first write gives them

        def unname(draft):
            draft.meta.omero = None

        p.__editor__().commit(unname)
    x = labelled("tczyx", (2, 2, 1, 4, 4), c=xr.DataArray(["DAPI", "GFP"], dims="c")).assign_attrs(note=1)

    def fail(*args):
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(placing, "_describe", fail)
        with pytest.raises(OSError, match="full"):
            p.write_xarray(x)
    p = ps.open_ome_zarr(tmp_path / "a.zarr", mode="r+")
    p.write_xarray(x)
    got = p.to_xarray()
    np.testing.assert_array_equal(got.values, x.values)
    assert got.attrs == {"note": 1}
    assert got.c.values.tolist() == ["DAPI", "GFP"]
    assert got.z.attrs["units"] == "micrometer"


# --- stores that fail -----------------------------------------------------------------------------


class Failing(zarr.storage.MemoryStore):
    """A store whose writes fail from some moment on."""

    left = 10**9

    async def set(self, *args: Any, **kwargs: Any) -> None:
        if self.left <= 0:
            raise OSError("the network is down")
        self.left -= 1
        await super().set(*args, **kwargs)


@pytest.mark.parametrize("path", ["", "a/b"])
def test_a_failed_replacement_keeps_the_old_group_or_all_that_was_written(path, version):
    old = xr.DataArray(random(8, 8), dims=["y", "x"])
    new, count = old + 1, 0
    while True:
        store, count = Failing(), count + 1
        doors.write_multiscale_group(store=store, path=path, arrays={"0": old}, ngff_version=version)
        store.left = count
        try:
            doors.write_multiscale_group(
                store=store, path=path, arrays={"0": new}, ngff_version=version, overwrite=True
            )
        except OSError:
            store.left = 10**9
            chunks = [value.to_bytes() for key, value in store._store_dict.items() if not is_document(key)]
            assert chunks, "the old pixels and the new ones are gone"
            continue
        break
    assert count > 3


def is_document(key: str) -> bool:
    return key.rpartition("/")[2] in ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")


def test_all_doors_over_a_store_in_memory(version):
    store, data = zarr.storage.MemoryStore(), random(2, 2, 3, 32, 32)
    p = ps.open_ome_zarr(store, layout="fov", mode="w-", channel_names=["a", "b"], version=version)
    p.create_image("0", da.from_array(data, chunks=(1, 1, 1, 32, 32)), pyramid_levels=2)
    np.testing.assert_array_equal(ps.open_ome_zarr(store).to_xarray().values, data)
    read = doors.read_multiscale_group(store)
    one = doors.read_multiscale_array(zarr.open_array(store, path="1", mode="r"))
    xr.testing.assert_identical(one.compute(), read["1"].compute())
    other = zarr.storage.MemoryStore()
    for overwrite in (False, True):  # the second time from the group that is replaced
        made = doors.write_multiscale_group(
            store=other, path="x", arrays=read, ngff_version=version, overwrite=overwrite
        )
        again = doors.read_multiscale_group(made)
        for name, array in read.items():
            xr.testing.assert_identical(again[name].compute(), array.compute())
        read = again


# --- an image that is written from itself ---------------------------------------------------------


CHANGED = {
    "flip": lambda x: x.copy(data=x.data[..., ::-1]),
    "swap channels": lambda x: x.isel(c=[1, 0]).assign_coords(c=x.c.values),
    "roll": lambda x: x.isel(t=[2, 0, 1]).assign_coords(t=x.t.values),
    "elementwise": lambda x: x + 1,
}


@pytest.mark.parametrize("change", CHANGED)
@pytest.mark.parametrize("wrapper", ["dask", "zarr"])
def test_an_image_written_from_itself_is_right_or_refused(change, wrapper, tmp_path):
    p = position(tmp_path / "a.zarr", "tczyx", "0.5", ["DAPI", "GFP"])
    data = random(3, 2, 4, 64, 64)
    p.create_image("0", data, chunks=(1, 1, 1, 16, 16))
    unit = doors.DaskArrayWrapper(chunks=(1, 1, 1, 16, 16)) if wrapper == "dask" else doors.ZarrArrayWrapper()
    expected = CHANGED[change](p.to_xarray().load()).values
    x = p.to_xarray(array_wrapper=unit)
    if wrapper == "zarr" and change == "flip":
        changed = x[..., ::-1].assign_coords(x=x.x.values)
    else:
        changed = CHANGED[change](x)
    try:
        p.write_xarray(changed)
    except ArgumentError:
        assert change != "elementwise" or wrapper == "dask"
        np.testing.assert_array_equal(p["0"][...], data)
        p.write_xarray(changed.load())
    np.testing.assert_array_equal(p["0"][...], expected)


@pytest.mark.parametrize("wrapper", [doors.DaskArrayWrapper(), doors.ZarrArrayWrapper()])
def test_a_large_image_written_from_itself_is_refused(wrapper, tmp_path):
    p = position(tmp_path / "a.zarr", "yx")
    data = random(64, 64)
    p.create_image("0", data, chunks=(8, 8))
    turned = p.to_xarray(array_wrapper=wrapper)[::-1].assign_coords(y=np.arange(64.0))
    with ps.config.using(max_memory="4KiB"), pytest.raises(ArgumentError, match="written to"):
        p.write_xarray(turned)
    np.testing.assert_array_equal(p["0"][...], data)
    p.write_xarray(turned, "other")
    np.testing.assert_array_equal(p["other"][...], data[::-1])


def test_an_image_written_from_itself_by_another_path(tmp_path):
    p = position(tmp_path / "a.zarr", "yx")
    data = random(64, 64)
    p.create_image("0", data, chunks=(8, 8))
    try:
        (tmp_path / "link.zarr").symlink_to(tmp_path / "a.zarr", target_is_directory=True)
    except OSError:
        pytest.skip("no links can be made here")
    linked = zarr.open_array(tmp_path / "link.zarr" / "0", mode="r")
    flipped = xr.DataArray(da.from_array(linked, chunks=(8, 8))[::-1], dims=["y", "x"])
    try:
        p.write_xarray(flipped)
    except ArgumentError:
        np.testing.assert_array_equal(p["0"][...], data)
        return
    np.testing.assert_array_equal(p["0"][...], data[::-1])


# --- what a first write may be --------------------------------------------------------------------


def test_a_first_time_point_far_from_the_beginning(version, tmp_path):
    p = position(tmp_path / "a.zarr", "tczyx", version, ["DAPI", "GFP"])
    t = xr.DataArray([999.0], dims="t", attrs={"scale": 1.0, "translation": 0.0})
    x = xr.DataArray(random(1, 1, 4, 256, 256), dims=list("tczyx"), coords={"t": t, "c": ["GFP"]})
    p.write_xarray(x)
    assert p["0"].shape == (1000, 2, 4, 256, 256)
    np.testing.assert_array_equal(p["0"][999, 1], x.values[0, 0])
    assert not p["0"][998].any()
    files = [f for f in (tmp_path / "a.zarr" / "0").rglob("*") if f.is_file()]
    assert len(files) < 50, "time points that were not written have no files"


def test_values_that_do_not_fit_the_image_are_not_wrapped_around(tmp_path):
    p = position(tmp_path / "a.zarr", "yx")
    p.create_zeros("0", (4, 4), "int16")
    x = xr.DataArray(np.full((4, 4), 100_000, "int64"), dims=["y", "x"])
    with pytest.raises(ArgumentError):
        p.write_xarray(x)
    assert not p["0"][...].any()


def test_a_position_for_reading_is_not_written(tmp_path):
    x = labelled("yx", (4, 4))
    position(tmp_path / "a.zarr", "yx").write_xarray(x)
    with pytest.raises(ps.ReadOnlyError):
        ps.open_ome_zarr(tmp_path / "a.zarr").write_xarray(x + 1)
    np.testing.assert_array_equal(ps.open_ome_zarr(tmp_path / "a.zarr").to_xarray().values, x.values)


def test_a_deleted_image_leaves_nothing_to_the_next_one(tmp_path):
    p = position(tmp_path / "a.zarr", "yx")
    p.write_xarray(labelled("yx", (4, 4)).assign_attrs(note=1))
    del p["0"]
    p.write_xarray(xr.DataArray(random(5, 5), dims=["y", "x"]))
    x = p.to_xarray()
    assert (x.attrs, x.shape, x.y.values.tolist()) == ({}, (5, 5), [0, 1, 2, 3, 4])


def test_label_images_are_images(tmp_path):
    p = position(tmp_path / "a.zarr", "tczyx", "0.5", ["DAPI", "GFP"])
    p.create_image("0", random(1, 2, 2, 8, 8))
    labels = random(1, 1, 2, 8, 8, dtype="uint32")
    cells = p.create_label("cells", labels)
    x = cells.to_xarray()
    np.testing.assert_array_equal(x.values, labels)
    cells.write_xarray((x * 2).compute())
    np.testing.assert_array_equal(cells["0"][...], 2 * labels)


# --- bad values -----------------------------------------------------------------------------------


def test_a_tree_of_an_image_whose_name_is_no_name_of_a_node(version, tmp_path):
    p = position(tmp_path / "a.zarr", "yx", version)
    p.create_image("0", random(8, 8), pyramid_levels=2)

    def rename(draft):
        draft.meta.multiscales[0].name = "A/1/0"

    p.__editor__().commit(rename)
    tree = doors.read_multiscale_tree(tmp_path / "a.zarr")
    assert set(tree.children) == {"0", "1"}
    (variable,) = tree["0"].data_vars
    assert tree[f"0/{variable}"].shape == (8, 8)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("value", [[1, [2]], "x", None, [1, 2], b"", {}])
def test_what_is_no_fill_value(value, dtype):
    with pytest.raises(ArgumentError, match="fill value"):
        doors.model_multiscale_group(
            arrays={"0": xr.DataArray(random(4, 4, dtype=dtype), dims=["y", "x"])}, fill_value=value
        )


def test_documents_of_a_model_are_json():
    model = doors.model_multiscale_group(arrays=levels(0), ngff_version="0.5", fill_value=7)
    assert json.loads(json.dumps(model.to_json())) == model.to_json()


if __name__ == "__main__":
    drive(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
