"""Pixels are read from the array that was given, and from nowhere else."""

from __future__ import annotations

import pickle
import shutil

import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore

import platestore
from platestore.arrays.origins import origins
from platestore.errors import NodeNotFoundError, UnsafeTargetError
from platestore.multiscales import from_ngff_zarr, to_multiscales, to_ngff_image, to_ngff_zarr

AXES = [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
PIXELS = np.arange(64 * 48, dtype="uint16").reshape(64, 48)
OTHERS = PIXELS[::-1] + 5


def made(pixels=PIXELS, **kwargs):
    return to_multiscales(to_ngff_image(pixels, dims=("y", "x")), [2], chunks=16, **kwargs)


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "source.zarr"
    to_ngff_zarr(path, made())
    return path


def level(path, name="0"):
    return zarr.open_array(f"{path}/{name}", mode="r")[...]


def persisted(data):
    return data.persist()


def persisted_elsewhere(data):
    (kept,) = dask.persist(data, scheduler="synchronous")
    return kept


def from_memory(data):
    return da.from_array(data.compute(), chunks=data.chunks, name=data.name)


def assembled(data):
    """An array of the same name whose graph holds blocks in memory."""
    blocks = {
        key: value
        for row, values in zip(data.__dask_keys__(), data.to_delayed(), strict=True)
        for key, value in zip(row, dask.compute(*values), strict=True)
    }
    return da.Array(blocks, data.name, data.chunks, data.dtype)


KEEPERS = [persisted, persisted_elsewhere, from_memory, assembled]


@pytest.mark.parametrize("keep", KEEPERS)
@pytest.mark.parametrize("after", ["removed", "replaced", "overwritten"])
def test_levels_held_in_memory_are_written_as_they_were(tmp_path, stored, keep, after):
    image = from_ngff_zarr(stored)
    coarse = level(stored, "1")
    for each in image.images:
        name = each.data.name
        each.data = keep(each.data)
        assert each.data.name == name  # which is why a name proves nothing
    match after:
        case "removed":
            shutil.rmtree(stored)
        case "replaced":
            to_ngff_zarr(stored, made(OTHERS))
        case "overwritten":
            zarr.open_array(f"{stored}/0", mode="r+")[...] = OTHERS
    to_ngff_zarr(tmp_path / "copy.zarr", image)
    assert np.array_equal(level(tmp_path / "copy.zarr"), PIXELS)
    assert np.array_equal(level(tmp_path / "copy.zarr", "1"), coarse)


def test_levels_held_in_memory_may_replace_what_they_were_read_from(stored):
    image = from_ngff_zarr(stored)
    with pytest.raises(UnsafeTargetError, match="read from here"):
        to_ngff_zarr(stored, image)
    for each in image.images:
        each.data = each.data.persist()
    to_ngff_zarr(stored, image, version="0.5")
    assert np.array_equal(level(stored), PIXELS)


def test_an_image_of_a_held_level_0_is_made_of_what_is_held(tmp_path, stored):
    base = from_ngff_zarr(stored).images[0]
    base.data = base.data.persist()
    to_ngff_zarr(stored, made(OTHERS))
    to_ngff_zarr(tmp_path / "copy.zarr", to_multiscales(base, [2], method="DASK_IMAGE_NEAREST"))
    assert np.array_equal(level(tmp_path / "copy.zarr"), PIXELS)
    assert np.array_equal(level(tmp_path / "copy.zarr", "1"), PIXELS[::2, ::2])


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("keep", KEEPERS)
def test_a_generated_level_that_was_held_is_not_made_again(tmp_path, which, keep):
    pixels = PIXELS.copy()
    image = made(pixels, method="DASK_IMAGE_NEAREST")
    image.images[which].data = keep(image.images[which].data)
    pixels[...] = 7  # what the other level still reads
    to_ngff_zarr(tmp_path / "image.zarr", image)
    wanted = [np.full_like(PIXELS, 7), np.full_like(PIXELS[::2, ::2], 7)]
    wanted[which] = PIXELS if which == 0 else PIXELS[::2, ::2]
    assert np.array_equal(level(tmp_path / "image.zarr"), wanted[0])
    assert np.array_equal(level(tmp_path / "image.zarr", "1"), wanted[1])


def test_a_level_of_the_same_name_from_another_image_is_not_taken_for_this_one(tmp_path):
    array = da.from_array(PIXELS.copy(), chunks=16).map_blocks(np.negative, dtype="uint16")
    held = da.from_array(OTHERS, chunks=16, name=array.name)
    first = made(array, method="DASK_IMAGE_NEAREST")
    first.images[0] = made(held).images[0]
    to_ngff_zarr(tmp_path / "image.zarr", first)
    assert np.array_equal(level(tmp_path / "image.zarr"), OTHERS)
    assert np.array_equal(level(tmp_path / "image.zarr", "1"), np.negative(PIXELS)[::2, ::2])


def test_assignment_into_a_dask_array_does_not_reach_levels_made_before(tmp_path):
    array = da.from_array(PIXELS, chunks=16)
    image = made(array, method="DASK_IMAGE_NEAREST")
    array[...] = 3
    image.images[0].data[0:1, 0:1] = 9
    to_ngff_zarr(tmp_path / "image.zarr", image)
    assert level(tmp_path / "image.zarr")[0, 0] == 9
    assert np.array_equal(level(tmp_path / "image.zarr", "1"), PIXELS[::2, ::2])


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x + 1,
        lambda x: x[::-1],
        lambda x: x.rechunk(10),
        lambda x: x.map_blocks(np.negative),
        lambda x: da.where(x > 9, x, 1),
        lambda x: da.concatenate([x[:10], x[10:] * 2]),
        lambda x: dask.optimize(x)[0],
        lambda x: pickle.loads(pickle.dumps(x)),
        lambda x: x.copy(),
        lambda x: np.asarray(x),
    ],
)
def test_whatever_becomes_of_a_level_is_what_is_written(tmp_path, stored, change):
    image = from_ngff_zarr(stored)
    image.images[0].data = change(image.images[0].data)
    wanted = np.asarray(change(da.from_array(PIXELS, chunks=16)))
    to_ngff_zarr(tmp_path / "copy.zarr", image)
    assert np.array_equal(level(tmp_path / "copy.zarr"), wanted)


def test_images_that_travel_by_pickle_are_written_the_same(tmp_path):
    image = pickle.loads(pickle.dumps(made()))
    to_ngff_zarr(tmp_path / "a.zarr", image)
    to_ngff_zarr(tmp_path / "b.zarr", made())
    for name in ("0", "1"):
        assert np.array_equal(level(tmp_path / "a.zarr", name), level(tmp_path / "b.zarr", name))


@pytest.mark.parametrize(
    "lazy", [lambda a: a.dask_array(), da.from_zarr, lambda a: da.from_array(a, chunks=16), da.asarray]
)
def test_held_pixels_are_not_taken_for_those_on_disk_in_computations(stored, lazy):
    with platestore.open_ome_zarr(stored, mode="r+") as position:
        before = lazy(position["0"]).persist()
        position["0"][...] = OTHERS
        after = lazy(position["0"])
        change = (after.astype("int64") - before).compute()
    assert np.array_equal(change, OTHERS.astype("int64") - PIXELS)


# --- sources that are gone ------------------------------------------------------------------------


def test_a_source_that_is_gone_is_an_error_and_no_zeros(tmp_path, stored):
    image = from_ngff_zarr(stored)
    shutil.rmtree(stored)
    with pytest.raises(NodeNotFoundError, match="gone"):
        to_ngff_zarr(tmp_path / "copy.zarr", image)
    assert not (tmp_path / "copy.zarr").exists()


@pytest.mark.parametrize(
    ("other", "version"),
    [
        (to_multiscales(to_ngff_image(PIXELS, dims="yx"), [2], chunks=24), "0.4"),
        (to_multiscales(to_ngff_image(PIXELS.astype("float32"), dims="yx"), [2], chunks=16), "0.4"),
        (made(), "0.5"),
    ],
)
def test_a_source_that_is_another_array_by_now_is_an_error(tmp_path, stored, other, version):
    image = from_ngff_zarr(stored)
    to_ngff_zarr(stored, other, version=version)
    with pytest.raises(NodeNotFoundError, match=r"gone|replaced"):
        to_ngff_zarr(tmp_path / "copy.zarr", image)
    assert not (tmp_path / "copy.zarr").exists()


def test_a_source_that_grew_is_read_as_far_as_it_was(tmp_path, stored):
    image = from_ngff_zarr(stored)
    array = zarr.open_array(f"{stored}/0", mode="r+")
    array.resize((80, 48))
    to_ngff_zarr(tmp_path / "copy.zarr", image)
    assert np.array_equal(level(tmp_path / "copy.zarr"), PIXELS)


@pytest.mark.parametrize("kind", ["zarr", "dask", "mapped"])
def test_images_of_positions_are_not_made_of_a_source_that_is_gone(tmp_path, stored, kind):
    array = zarr.open_array(f"{stored}/0", mode="r")
    data = {
        "zarr": array,
        "dask": da.from_array(array, chunks=16),
        "mapped": da.from_array(array, chunks=16).map_blocks(np.negative),
    }[kind]
    shutil.rmtree(stored)
    with platestore.open_ome_zarr(
        tmp_path / "new.zarr", layout="fov", mode="w-", channel_names=["a"], axes=AXES
    ) as position:
        with pytest.raises(NodeNotFoundError, match="gone"):
            position.create_image("0", data)
        assert "0" not in position


# --- what is read from where it is written --------------------------------------------------------


STORE = MemoryStore()


def _read_global(block, block_info=None):
    (y, y2), (x, x2) = block_info[None]["array-location"]
    return zarr.open_array(STORE, path="0", mode="r")[y:y2, x:x2]


def _read_argument(block, source):
    return source[: len(block), : block.shape[1]]


class Reader:
    def __init__(self, array):
        self.inner = {"array": array}

    def __call__(self, block, block_info=None):
        (y, y2), (x, x2) = block_info[None]["array-location"]
        return self.inner["array"][y:y2, x:x2]


def _blank():
    return da.zeros(PIXELS.shape, "uint16", chunks=16)


def _by_closure(array):
    def read(block, block_info=None):
        (y, y2), (x, x2) = block_info[None]["array-location"]
        return array[y:y2, x:x2]

    return _blank().map_blocks(read, dtype="uint16")


def _by_default(array):
    def read(block, source=array, block_info=None):
        (y, y2), (x, x2) = block_info[None]["array-location"]
        return source[y:y2, x:x2]

    return _blank().map_blocks(read, dtype="uint16")


WAYS = {
    "array": lambda a: da.from_array(a, chunks=16),
    "sliced": lambda a: da.from_array(a, chunks=16)[::-1].rechunk(8) + 1,
    "inlined": lambda a: da.from_array(a, chunks=16, inline_array=True),
    "optimised": lambda a: dask.optimize(da.from_array(a, chunks=16) + 1)[0],
    "delayed": lambda a: da.from_delayed(dask.delayed(np.asarray)(a), PIXELS.shape, "uint16"),
    "closure": _by_closure,
    "default": _by_default,
    "argument": lambda a: _blank().map_blocks(_read_argument, source=a, dtype="uint16"),
    "global": lambda a: _blank().map_blocks(_read_global, dtype="uint16"),
    "object": lambda a: _blank().map_blocks(Reader(a), dtype="uint16"),
    "method": lambda a: _blank().map_blocks(Reader(a).__call__, dtype="uint16"),
    "pickled": lambda a: da.from_array(pickle.loads(pickle.dumps(a)), chunks=16),
}


@pytest.mark.parametrize("way", [w for w in WAYS if w != "pickled"])  # that would be another store
def test_a_store_is_not_emptied_while_an_image_is_read_from_it(way):
    STORE._store_dict.clear()
    to_ngff_zarr(STORE, made())
    data = WAYS[way](zarr.open_array(STORE, path="0", mode="r"))
    with pytest.raises(UnsafeTargetError, match="read from here"):
        to_ngff_zarr(STORE, made(data))
    assert np.array_equal(zarr.open_array(STORE, path="0", mode="r")[...], PIXELS)


@pytest.mark.parametrize("way", [w for w in WAYS if w != "global"])
def test_the_place_of_an_array_is_found_in_any_graph(stored, way):
    data = WAYS[way](zarr.open_array(f"{stored}/0", mode="r"))
    assert str(stored / "0") in [*origins(data)]
    assert str(stored / "0") not in [*origins(data.persist(scheduler="synchronous"))]
