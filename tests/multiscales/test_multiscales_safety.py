"""What is there stays until the new image stands, and is never overwritten while it is read."""

from __future__ import annotations

import functools
import os

import dask
import dask.array as da
import fsspec
import numpy as np
import pytest
import tensorstore
import zarr
from zarr.storage import MemoryStore

import platestore as ps
from conftest import make_plate
from multiscales.level_reference import noise
from platestore.errors import NodeExistsError, UnsafeTargetError
from platestore.multiscales import NgffImage, from_ngff_zarr, to_multiscales, to_ngff_image, to_ngff_zarr
from platestore.multiscales.mappings import MappingStore

PIXELS = noise((6, 20, 30))


def files(path):
    if path.is_file():
        return path.read_bytes()
    return {p.relative_to(path): p.read_bytes() for p in path.rglob("*") if p.is_file()}


@pytest.fixture(params=["a.zarr", "a.ozx"])
def target(request, tmp_path):
    """An image that is there already."""
    path = tmp_path / request.param
    to_ngff_zarr(path, to_multiscales(PIXELS, [2]), version="0.5", chunks_per_shard=2)
    return path


def fails(block):
    raise OSError("the camera fell off")


# --- existing targets -----------------------------------------------------------------------------


def test_nothing_is_replaced_unless_asked(target):
    before = files(target)
    with pytest.raises(NodeExistsError):
        to_ngff_zarr(target, to_multiscales(PIXELS + 1, [2]), version="0.5", overwrite=False)
    assert files(target) == before
    assert os.listdir(target.parent) == [target.name]


def test_the_new_image_replaces_all_of_the_old(target):
    to_ngff_zarr(target, to_multiscales(PIXELS[0], []), version="0.5")
    assert [i.data.shape for i in from_ngff_zarr(target).images] == [(20, 30)]
    assert os.listdir(target.parent) == [target.name]


def test_a_task_that_fails_leaves_the_old_image(target):
    before = files(target)
    for data in (da.from_array(PIXELS).map_blocks(fails, dtype="uint16"),):
        with pytest.raises(OSError, match="camera"):
            to_ngff_zarr(target, to_multiscales(data, [2]), version="0.5")
    assert files(target) == before
    assert os.listdir(target.parent) == [target.name]


@pytest.mark.parametrize("name", ["a.zarr", "a.ozx"])
def test_a_task_that_fails_leaves_nothing(name, tmp_path):
    data = da.from_array(PIXELS, chunks=7).map_blocks(
        fails, dtype="uint16", meta=np.empty((0, 0, 0), "uint16")
    )
    with pytest.raises(OSError, match="camera"):
        to_ngff_zarr(tmp_path / name, to_multiscales(data, [2]), version="0.5")
    assert os.listdir(tmp_path) == []


def test_an_interruption_leaves_the_old_image(target):
    before = files(target)

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        to_ngff_zarr(target, to_multiscales(PIXELS, [2]), version="0.5", progress=stop)
    assert files(target) == before
    assert os.listdir(target.parent) == [target.name]


def test_a_budget_that_is_too_small_leaves_other_stores_too():
    store = MemoryStore()
    to_ngff_zarr(store, to_multiscales(PIXELS, [2]), version="0.5")
    before = dict(store._store_dict)
    with pytest.raises(ps.BudgetError):
        to_ngff_zarr(store, to_multiscales(PIXELS, [2]), version="0.5", max_memory=10)
    assert dict(store._store_dict) == before


def test_a_budget_that_is_too_small_names_the_target(target):
    before = files(target)
    with pytest.raises(ps.BudgetError) as caught:
        to_ngff_zarr(target, to_multiscales(PIXELS, [2]), version="0.5", max_memory=10)
    assert caught.value.path == str(target)
    assert files(target) == before
    assert os.listdir(target.parent) == [target.name]


def test_what_is_no_store_is_not_replaced(tmp_path):
    made = to_multiscales(PIXELS, [2])
    (tmp_path / "photos.zarr").mkdir()
    (tmp_path / "photos.zarr" / "cat.jpg").write_bytes(b"cat")
    (tmp_path / "file.zarr").write_bytes(b"x")
    (tmp_path / "file.ozx").write_bytes(b"x")
    (tmp_path / "directory.ozx").mkdir()
    (tmp_path / "directory.ozx" / "cat.jpg").write_bytes(b"cat")
    (tmp_path / "link.zarr").symlink_to(tmp_path / "photos.zarr")
    before = files(tmp_path)
    for name in ("photos.zarr", "file.zarr", "file.ozx", "directory.ozx", "link.zarr"):
        with pytest.raises(UnsafeTargetError):
            to_ngff_zarr(tmp_path / name, made, version="0.5")
    with pytest.raises(ValueError, match="not a directory"):
        to_ngff_zarr(tmp_path / "file.zarr" / "a" / "b.zarr", made, version="0.5")
    assert files(tmp_path) == before
    store = {"cat.jpg": b"cat"}
    with pytest.raises(UnsafeTargetError):
        to_ngff_zarr(store, made)
    assert store == {"cat.jpg": b"cat"}


def test_parts_of_plates_are_not_replaced(tmp_path):
    make_plate(tmp_path / "plate.zarr")
    before = files(tmp_path)
    for inner in ("A/1/0", "A/1/7", "new.zarr"):
        with pytest.raises(UnsafeTargetError, match="plate"):
            to_ngff_zarr(tmp_path / "plate.zarr" / inner, to_multiscales(PIXELS, [2]))
    assert files(tmp_path) == before


def test_an_empty_directory_and_missing_parents(tmp_path):
    (tmp_path / "empty.zarr").mkdir()
    for overwrite in (True, False):
        path = tmp_path / str(overwrite) / "deep" / "a.zarr"
        to_ngff_zarr(path, to_multiscales(PIXELS, []), overwrite=overwrite)
        assert from_ngff_zarr(path).images
    to_ngff_zarr(tmp_path / "empty.zarr", to_multiscales(PIXELS, []), overwrite=False)
    assert from_ngff_zarr(tmp_path / "empty.zarr").images


# --- attributes of others -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"), [("0.4", "0.4"), ("0.4", "0.5"), ("0.5", "0.4"), ("0.5", "0.5")]
)
def test_root_attributes_of_others_survive(before, after, tmp_path):
    path = tmp_path / "a.zarr"
    named = to_multiscales(to_ngff_image(PIXELS[:2], dims="cyx", channel_names=["a", "b"]), [2])
    to_ngff_zarr(path, named, version=before)
    group = zarr.open_group(path, mode="r+")
    group.attrs["provenance"] = {"by": "someone"}
    group.attrs["platestore"] = {"previous_transforms": []}
    to_ngff_zarr(path, to_multiscales(PIXELS, [2]), version=after)
    attributes = dict(zarr.open_group(path, mode="r").attrs)
    assert attributes["provenance"] == {"by": "someone"}
    assert set(attributes) == {"provenance", *(["multiscales"] if after == "0.4" else ["ome"])}
    assert "omero" not in str(attributes)


def test_root_attributes_of_others_survive_elsewhere(tmp_path):
    store = {}
    to_ngff_zarr(store, to_multiscales(PIXELS, [2]), version="0.5")
    zarr.open_group(MappingStore(store), mode="r+").attrs["mine"] = 1
    to_ngff_zarr(store, to_multiscales(PIXELS, [2]), version="0.4")
    assert from_ngff_zarr(store).root_attributes == {"mine": 1}
    made = from_ngff_zarr(store)
    to_ngff_zarr(tmp_path / "a.ozx", made, version="0.5")
    to_ngff_zarr(tmp_path / "a.ozx", to_multiscales(PIXELS, [2]), version="0.5")
    assert from_ngff_zarr(tmp_path / "a.ozx").root_attributes == {"mine": 1}
    made.root_attributes = {"multiscales": []}
    with pytest.raises(ValueError, match="root_attributes"):
        to_ngff_zarr(tmp_path / "b.zarr", made)
    made.root_attributes = {"bad": {1, 2}}
    with pytest.raises(ValueError, match=r"bad|JSON"):
        to_ngff_zarr(tmp_path / "b.zarr", made)


# --- a source that would be overwritten ------------------------------------------------------------


def _zarr(path):
    return zarr.open_array(path / "0", mode="r")


def _delayed(path):
    read = dask.delayed(lambda p: zarr.open_array(p, mode="r")[...])(str(path / "0"))
    return da.from_delayed(read, shape=(6, 20, 30), dtype="uint16")


def _closure(path):
    array = _zarr(path)
    return da.map_blocks(lambda b: b + array[0, 0, 0], da.zeros((6, 20, 30), dtype="uint16"), dtype="uint16")


def _partial(path):
    add = functools.partial(np.add, _zarr(path))
    return da.from_delayed(dask.delayed(add)(1), shape=(6, 20, 30), dtype="uint16")


SOURCES = {
    "path": str,
    "path of an array": lambda p: p / "0",
    "zarr array": _zarr,
    "zarr group": lambda p: zarr.open_group(p, mode="r"),
    "image array": lambda p: ps.open_ome_zarr(p)["0"],
    "position": ps.open_ome_zarr,
    "image that was read": lambda p: from_ngff_zarr(p).images[1],
    "dask": lambda p: da.from_zarr(_zarr(p)),
    "dask of a path": lambda p: da.from_zarr(str(p / "0")),
    "dask of ours": lambda p: ps.open_ome_zarr(p)["0"].dask_array(),
    "transposed dask": lambda p: NgffImage(da.from_zarr(_zarr(p)).T, ("x", "y", "z"), {}, {}),
    "computed dask": lambda p: (da.from_zarr(_zarr(p)) + 1).rechunk(5)[:, ::2],
    "stacked dask": lambda p: da.stack([da.zeros((6, 20, 30), dtype="u2"), da.from_zarr(_zarr(p))]),
    "delayed path": _delayed,
    "closure": _closure,
    "partial": _partial,
    "tensorstore": lambda p: ps.open_ome_zarr(p)["0"].tensorstore(),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_a_source_is_not_overwritten(kind, tmp_path, version):
    path = tmp_path / "a.zarr"
    to_ngff_zarr(path, to_multiscales(PIXELS, [2]), version=version)
    before = files(path)
    made = to_multiscales(SOURCES[kind](path), [2])
    with pytest.raises(UnsafeTargetError, match="read from here"):
        to_ngff_zarr(path, made, version=version)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(UnsafeTargetError, match="read from here"):
        to_ngff_zarr(tmp_path / "link" / "a.zarr", made, version=version)
    assert files(path) == before
    to_ngff_zarr(tmp_path / "b.zarr", made, version=version)  # elsewhere it may go
    assert sorted(os.listdir(tmp_path)) == ["a.zarr", "b.zarr", "link"]


def test_a_source_in_an_archive_is_not_overwritten(tmp_path):
    path = tmp_path / "a.ozx"
    to_ngff_zarr(path, to_multiscales(PIXELS, [2]), version="0.5")
    before = files(path)
    for source in (
        path,
        path / "0",
        from_ngff_zarr(path).images[0],
        ps.open_ome_zarr(path)["0"].dask_array(),
    ):
        with pytest.raises(UnsafeTargetError, match="read from here"):
            to_ngff_zarr(path, to_multiscales(source, [2]), version="0.5")
    assert files(path) == before


def test_a_source_in_another_store_is_not_overwritten(tmp_path):
    memory, mapping = MemoryStore(), {}
    on_disk = fsspec.get_mapper(str(tmp_path / "m.zarr"))
    for store in (memory, mapping, on_disk):
        to_ngff_zarr(store, to_multiscales(PIXELS, [2]))
        with pytest.raises(UnsafeTargetError, match="read from here"):
            to_ngff_zarr(store, to_multiscales(store, [2]))
        np.testing.assert_array_equal(from_ngff_zarr(store).images[0].data, PIXELS)
    with pytest.raises(UnsafeTargetError, match="read from here"):
        to_ngff_zarr(memory, to_multiscales(da.from_zarr(zarr.open_array(memory, path="0")), [2]))
    with pytest.raises(UnsafeTargetError, match="read from here"):
        to_ngff_zarr(on_disk, to_multiscales(tmp_path / "m.zarr", [2]))
    with pytest.raises(UnsafeTargetError, match="read from here"):
        to_ngff_zarr(tmp_path / "m.zarr", to_multiscales(on_disk, [2]))


def test_a_mapped_file_in_the_target_is_not_overwritten(tmp_path):
    path = tmp_path / "a.zarr"
    to_ngff_zarr(path, to_multiscales(PIXELS, []), compressor=None)
    chunk = path / "0" / "0" / "0" / "0"
    mapped = np.memmap(chunk, "uint16", mode="r", shape=(6, 20, 30))
    for source in (mapped, mapped[1:], np.asarray(mapped)[:, 1:].T):
        with pytest.raises(UnsafeTargetError, match="read from here"):
            to_ngff_zarr(path, to_multiscales(source, []))


def test_pixels_in_memory_may_go_where_they_came_from(tmp_path):
    path = tmp_path / "a.zarr"
    to_ngff_zarr(path, to_multiscales(PIXELS, [2]))
    persisted = da.from_zarr(_zarr(path)).persist()
    to_ngff_zarr(path, to_multiscales(persisted, [2]))
    to_ngff_zarr(path, to_multiscales(_zarr(path)[...] + 1, [2]))
    np.testing.assert_array_equal(from_ngff_zarr(path).images[0].data, PIXELS + 1)


def test_an_open_handle_of_tensorstore_is_found(tmp_path):
    path = tmp_path / "a.zarr"
    to_ngff_zarr(path, to_multiscales(PIXELS, [2]), version="0.5")
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path / "0")}}
    handle = tensorstore.open(spec, read=True).result()
    with pytest.raises(UnsafeTargetError, match="read from here"):
        to_ngff_zarr(path, to_multiscales(handle, [2]), version="0.5")
