"""Images: pixels by every road, sizes by axis, attributes that others share, and handles that travel."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys

import dask.array
import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore

import platestore as ps
from conftest import examples
from platestore.arrays.image import ImageArray, open_array
from platestore.arrays.layout import plan
from platestore.arrays.tiled import TiledImageArray
from platestore.storage.base import StorageOptions
from platestore.storage.hierarchy import array_files, create_node, read_array
from platestore.storage.local import LocalStorage
from platestore.storage.zarr_store import ZarrStorage

quick = settings(
    deadline=None, max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
WRITABLE = StorageOptions(read_only=False, lock_timeout=5)


def create(storage, zarr_format, shape, axes=None, path="0", dtype="uint16", cls=ImageArray, **kwargs):
    axes = list("tczyx")[-len(shape) :] if axes is None else list(axes)
    layout = plan(shape, dtype, zarr_format=zarr_format, **kwargs)
    create_node(storage, path, array_files(zarr_format, layout.document(zarr_format, axes), where=""))
    return opened(storage, zarr_format, axes, path, cls)


def opened(storage, zarr_format, axes, path="0", cls=ImageArray):
    return open_array(storage, read_array(storage, path, zarr_format), axes, cls)


def numbers(shape, dtype="uint16"):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@pytest.fixture
def storage(tmp_path):
    return LocalStorage(str(tmp_path), WRITABLE)


@pytest.fixture(params=[2, 3])
def zarr_format(request):
    return request.param


LAYOUTS = {
    "v2": (2, {"chunks": (2, 2, 3, 4, 4)}),
    "v3": (3, {"chunks": (2, 2, 3, 4, 4)}),
    "v3 sharded": (3, {"chunks": (2, 2, 3, 4, 4), "shards_ratio": (1, 2, 2, 2, 1)}),
}
SHAPE = (2, 3, 4, 6, 7)


@pytest.fixture(params=LAYOUTS)
def image(request, storage):
    """A filled image of five dimensions, whose chunks do not divide it."""
    zarr_format, kwargs = LAYOUTS[request.param]
    array = create(storage, zarr_format, SHAPE, **kwargs)
    array[...] = numbers(SHAPE)
    return array


# --- pixels ---------------------------------------------------------------------------------------


def test_an_image_is_a_zarr_array(image):
    assert isinstance(image, zarr.Array)
    assert image.shape == SHAPE
    assert image.ndim == 5
    assert image.dtype == np.dtype("uint16")
    np.testing.assert_array_equal(image[1, :, 2], numbers(SHAPE)[1, :, 2])
    np.testing.assert_array_equal(image.oindex[[0, 1], [2]], numbers(SHAPE)[:, [2]])
    np.testing.assert_array_equal(np.asarray(image), numbers(SHAPE))


def test_numpy_is_the_whole_image_in_memory(image):
    pixels = image.numpy()
    assert type(pixels) is np.ndarray
    assert pixels.dtype == image.dtype
    np.testing.assert_array_equal(pixels, image[:])
    pixels[...] = 0
    np.testing.assert_array_equal(image.numpy(), numbers(SHAPE))


def test_dask_is_lazy_and_has_one_block_per_unit_of_reading(image):
    lazy = image.dask_array()
    assert isinstance(lazy, dask.array.Array)
    assert lazy.shape == SHAPE
    assert lazy.dtype == image.dtype
    assert tuple(c[0] for c in lazy.chunks) == tuple(
        min(u, s) for u, s in zip(image.shards or image.chunks, SHAPE, strict=True)
    )
    np.testing.assert_array_equal(lazy.compute(scheduler="sync"), numbers(SHAPE))
    np.testing.assert_array_equal(lazy[1, 2, :, 3:6, ::2].compute(), numbers(SHAPE)[1, 2, :, 3:6, ::2])


def test_dask_arrays_of_two_images_are_two(storage):
    first, second = (create(storage, 3, (4, 4), path=p, dtype="uint8") for p in ("0", "1"))
    first[...], second[...] = 1, 2
    total = (first.dask_array() + second.dask_array()).compute(scheduler="sync")
    assert (total == 3).all()


def test_tensorstore_sees_the_same_pixels_both_ways(image):
    store = image.tensorstore()
    assert tuple(store.shape) == SHAPE
    np.testing.assert_array_equal(store.read().result(), numbers(SHAPE))
    store[0, 0].write(np.zeros(SHAPE[2:], "uint16")).result()
    assert (image[0, 0] == 0).all()
    np.testing.assert_array_equal(image[1], numbers(SHAPE)[1])
    image[1] = 7
    assert (image.tensorstore()[1].read().result() == 7).all()


def test_tensorstore_takes_its_own_arguments(image):
    import tensorstore

    context = tensorstore.Context({"cache_pool": {"total_bytes_limit": 10**6}})
    assert image.tensorstore(context=context)[0, 0, 0, 0, 1].read().result() == 1


@pytest.mark.parametrize("kwargs", [{"read": True}, {"write": False}, {"read": True, "write": True}])
def test_whether_tensorstore_may_write_is_the_modes_to_say(image, kwargs):
    with pytest.raises(ValueError, match=r"mode"):
        image.tensorstore(**kwargs)


@pytest.mark.parametrize("name", ["with space", "ünï", "50%", "a#b", "a?b=c", "q'uote", "a:b", "a+b"])
def test_tensorstore_opens_any_directory_name(tmp_path, zarr_format, name):
    (tmp_path / name).mkdir()
    array = create(LocalStorage(str(tmp_path / name), WRITABLE), zarr_format, (4, 4), dtype="uint8")
    array[...] = 5
    assert (array.tensorstore().read().result() == 5).all()
    assert (array.numpy() == 5).all()


def test_tensorstore_does_not_reach_into_memory(zarr_format):
    array = create(ZarrStorage(MemoryStore(), WRITABLE), zarr_format, (4, 4))
    with pytest.raises(NotImplementedError, match="local directories"):
        array.tensorstore()
    with pytest.raises(ValueError):
        array.tensorstore(read=True)


@st.composite
def images(draw):
    ndim = draw(st.integers(2, 5))
    shape = draw(st.lists(st.integers(1, 7), min_size=ndim, max_size=ndim))
    chunks = [draw(st.integers(1, s)) for s in shape]
    ratio = draw(st.none() | st.lists(st.integers(1, 3), min_size=ndim, max_size=ndim))
    zarr_format = 3 if ratio else draw(st.sampled_from([2, 3]))
    return zarr_format, tuple(shape), {"chunks": chunks, "shards_ratio": ratio}


@quick
@given(
    case=images(),
    dtype=st.sampled_from(["bool", "uint8", "int16", "uint16", "float16", "float32", "float64", "int64"]),
    seed=st.integers(0, 99),
)
def test_pixels_are_the_same_by_every_road(tmp_path_factory, case, dtype, seed):
    zarr_format, shape, kwargs = case
    storage = LocalStorage(str(tmp_path_factory.mktemp("i")), WRITABLE)
    array = create(storage, zarr_format, shape, dtype=dtype, **kwargs)
    pixels = np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)
    array[...] = pixels
    np.testing.assert_array_equal(array.numpy(), pixels)
    np.testing.assert_array_equal(array.dask_array().compute(scheduler="sync"), pixels)
    np.testing.assert_array_equal(array.tensorstore().read().result(), pixels)


# --- sizes by axis --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("axes", "shape", "sizes"),
    [
        ("tczyx", (2, 3, 4, 5, 6), (2, 3, 4, 5, 6)),
        ("TCZYX", (2, 3, 4, 5, 6), (2, 3, 4, 5, 6)),
        ("czyx", (3, 4, 5, 6), (1, 3, 4, 5, 6)),
        ("tzyx", (2, 4, 5, 6), (2, 1, 4, 5, 6)),
        ("tcyx", (2, 3, 5, 6), (2, 3, 1, 5, 6)),
        ("cyx", (3, 5, 6), (1, 3, 1, 5, 6)),
        ("tyx", (2, 5, 6), (2, 1, 1, 5, 6)),
        ("zyx", (4, 5, 6), (1, 1, 4, 5, 6)),
        ("yx", (5, 6), (1, 1, 1, 5, 6)),
        ("xy", (6, 5), (1, 1, 1, 5, 6)),
    ],
)
def test_sizes_are_those_of_the_named_axes(storage, zarr_format, axes, shape, sizes):
    array = create(storage, zarr_format, shape, axes)
    assert (array.frames, array.channels, array.slices, array.height, array.width) == sizes


def test_an_array_whose_axes_are_unknown_is_taken_as_tczyx(storage, zarr_format):
    create(storage, zarr_format, (3, 4, 5, 6))
    array = opened(storage, zarr_format, ["y", "x"])
    assert (array.frames, array.channels, array.slices, array.height, array.width) == (1, 3, 4, 5, 6)


def test_the_repr_says_which_image_it_is(image, storage):
    assert repr(image) == f"<ImageArray {storage.root}/0 shape={SHAPE} dtype=uint16>"


# --- attributes -----------------------------------------------------------------------------------


def test_attributes_are_committed_at_once(storage, zarr_format):
    array = create(storage, zarr_format, (4, 4))
    array.attrs["a"] = {"b": [1]}
    assert array.update_attributes({"c": 2}) is array
    other = opened(storage, zarr_format, "yx")
    assert dict(other.attrs) == {"a": {"b": [1]}, "c": 2}
    del other.attrs["a"]
    assert dict(array.attrs) == {"c": 2}
    plain = zarr.open_array(storage.local_path("0"), zarr_format=zarr_format)
    assert dict(plain.attrs) == {"c": 2}


def test_two_handles_do_not_undo_each_other(storage, zarr_format):
    first = create(storage, zarr_format, (4, 4))
    second = opened(storage, zarr_format, "yx")
    first.attrs["one"] = 1
    second.attrs["two"] = 2
    first.attrs["three"] = 3
    assert dict(second.attrs) == {"one": 1, "two": 2, "three": 3}


def test_attributes_change_nothing_else(storage, zarr_format):
    array = create(storage, zarr_format, (4, 4))
    array[...] = 5
    before = json.loads(array_document(storage, zarr_format))
    array.attrs["a"] = 1
    after = json.loads(array_document(storage, zarr_format))
    assert {**after, "attributes": None} == {**before, "attributes": None}
    assert (array.numpy() == 5).all()
    assert (opened(storage, zarr_format, "yx").numpy() == 5).all()


def array_document(storage, zarr_format):
    return storage.read("0/.zarray" if zarr_format == 2 else "0/zarr.json")


@pytest.mark.parametrize("bad", [float("nan"), np.float32(1), b"x", {1, 2}, {1: 2}], ids=repr)
def test_attributes_that_are_no_json_are_refused(storage, zarr_format, bad):
    array = create(storage, zarr_format, (4, 4))
    with pytest.raises(ValueError):
        array.attrs["bad"] = bad
    with pytest.raises(ValueError):
        array.update_attributes({"bad": bad})
    assert dict(array.attrs) == {}


def test_arrays_of_one_document_do_not_share_a_state(storage, zarr_format):
    first, second = (create(storage, zarr_format, (4, 4), path=p) for p in ("0", "1"))
    first.attrs["mine"] = 1
    first.resize((8, 4))
    third = create(storage, zarr_format, (4, 4), path="2")
    for other in (second, third):
        assert dict(other.attrs) == {}
        assert other.shape == (4, 4)
        assert dict(other.metadata.attributes) == {}


def run_at_once(commands):
    """Start programs, and let them go on together when each has said that it is ready."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    programs = [subprocess.Popen(command, **pipes) for command in commands]
    assert [p.stdout.readline() for p in programs] == ["ready\n"] * len(programs)
    for program in programs:
        program.stdin.write("\n")
        program.stdin.flush()
    for program in programs:
        program.communicate(timeout=60)
    assert [p.returncode for p in programs] == [0] * len(programs)


@pytest.mark.quick(1)
def test_writers_of_attributes_in_processes_lose_nothing(storage, zarr_format):
    create(storage, zarr_format, (4, 4))
    code = (
        "import sys\n"
        "from platestore.arrays.image import open_array\n"
        "from platestore.storage.base import StorageOptions\n"
        "from platestore.storage.hierarchy import read_array\n"
        "from platestore.storage.local import LocalStorage\n"
        "root, zarr_format, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]\n"
        "storage = LocalStorage(root, StorageOptions(read_only=False))\n"
        "array = open_array(storage, read_array(storage, '0', zarr_format), 'yx')\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "for i in range(20):\n"
        "    array.attrs[f'{name}-{i}'] = i\n"
    )
    arguments = [sys.executable, "-c", code, storage.root, str(zarr_format)]
    run_at_once([[*arguments, name] for name in "ab"])
    assert len(opened(storage, zarr_format, "yx").attrs) == 40


# --- handles --------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [ImageArray, TiledImageArray])
def test_a_handle_survives_pickling_and_copying(image, cls):
    image = opened(image._storage, image.metadata.zarr_format, "tczyx", cls=cls)
    for twin in (pickle.loads(pickle.dumps(image)), copy.deepcopy(image), copy.copy(image)):
        assert type(twin) is cls
        assert twin.frames == 2
        np.testing.assert_array_equal(twin.numpy(), numbers(SHAPE))
        twin.attrs["a"] = 1
        twin[0] = 0
        assert (image[0] == 0).all()
        assert dict(image.attrs) == {"a": 1}
        image[...] = numbers(SHAPE)


def test_a_handle_works_in_another_process(image, tmp_path):
    (tmp_path / "handle").write_bytes(pickle.dumps(image))
    code = (
        "import pickle, sys; a = pickle.load(open(sys.argv[1], 'rb'));"
        "print(int(a.numpy().astype('int64').sum()), a.channels); a[0] = 3"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "handle"], capture_output=True, text=True, check=True
    ).stdout
    assert out.split() == [str(int(numbers(SHAPE).astype("int64").sum())), "3"]
    assert (image[0] == 3).all()


def test_a_handle_in_dask_workers_of_other_processes(image):
    pickled = pickle.loads(pickle.dumps(image.dask_array()))
    np.testing.assert_array_equal(pickled.compute(scheduler="sync"), numbers(SHAPE))


def test_refresh_sees_what_another_handle_did(image):
    other = opened(image._storage, image.metadata.zarr_format, "tczyx")
    other.resize((4, *SHAPE[1:]))
    assert image.shape == SHAPE
    assert image.refresh() is image
    assert image.shape == (4, *SHAPE[1:])
    np.testing.assert_array_equal(image[:2], numbers(SHAPE))


def test_refreshing_an_array_that_is_gone_is_an_error_with_its_path(image, storage):
    storage.remove_tree("0")
    with pytest.raises(ps.PlatestoreError, match="0"):
        image.refresh()


def test_a_store_open_for_reading_is_not_changed(image, storage):
    reader = opened(
        LocalStorage(storage.root, StorageOptions(read_only=True)), image.metadata.zarr_format, "tczyx"
    )
    np.testing.assert_array_equal(reader.numpy(), numbers(SHAPE))
    changes = {
        "pixels": lambda: reader.__setitem__(..., 0),
        "selection": lambda: reader.set_basic_selection(slice(0, 1), 0),
        "resize": lambda: reader.resize((1, 1, 1, 1, 1)),
        "append": lambda: reader.append(numbers(SHAPE)),
        "attrs": lambda: reader.attrs.update(a=1),
        "update_attributes": lambda: reader.update_attributes({"a": 1}),
        "tensorstore": lambda: reader.tensorstore()[0].write(0).result(),
    }
    for change in changes.values():
        with pytest.raises((ValueError, PermissionError)):
            change()
    for name in ("resize", "append", "attrs", "update_attributes"):
        with pytest.raises(ps.ReadOnlyError, match=r"r\+"):
            changes[name]()
    np.testing.assert_array_equal(image.refresh().numpy(), numbers(SHAPE))
    assert dict(image.attrs) == {}


def test_opening_reads_nothing(image, monkeypatch):
    document = read_array(image._storage, "0", image.metadata.zarr_format)
    monkeypatch.setattr(LocalStorage, "read", lambda *a: pytest.fail("read"))
    monkeypatch.setattr(os, "scandir", lambda *a: pytest.fail("listed"))
    array = open_array(image._storage, document, "tczyx")
    assert (array.shape, array.channels) == (SHAPE, 3)


def test_a_huge_shape_costs_nothing_to_open(storage, zarr_format):
    array = create(storage, zarr_format, (2**40, 2**40), chunks=(64, 64))
    assert array.height == 2**40
    array[5, 5] = 1
    assert array[4:7, 5].tolist() == [0, 1, 0]
    assert array.tensorstore()[5, 5].read().result() == 1


@pytest.mark.parametrize(
    ("document", "zarr_format"),
    [(b"{}", 2), (b"{}", 3), (b"[]", 3), (b"", 2), (b'{"zarr_format": 3}', 3), (b'{"shape": [1]}', 2)],
)
def test_a_document_zarr_cannot_use_is_an_error_with_its_path(storage, document, zarr_format):
    from platestore.storage.hierarchy import ArrayDocument

    with pytest.raises(ps.InvalidMetadataError) as caught:
        open_array(storage, ArrayDocument("A/1/0/0", zarr_format, document), "yx")
    assert storage.where("A/1/0/0") in str(caught.value)


# --- resize ---------------------------------------------------------------------------------------


def cut(pixels, *shapes):
    """What is left of an image after a series of new shapes."""
    for shape in shapes:
        new = np.zeros(shape, pixels.dtype)
        region = tuple(slice(0, min(a, b)) for a, b in zip(shape, pixels.shape, strict=True))
        new[region] = pixels[region]
        pixels = new
    return pixels


@pytest.mark.parametrize(
    "shapes",
    [
        [(1, 1, 1, 1, 1), SHAPE],
        [(2, 3, 4, 5, 5), SHAPE],  # inside boundary chunks
        [(2, 3, 3, 6, 7), SHAPE],  # inside a shard
        [(2, 2, 4, 6, 7), (3, 4, 5, 9, 8)],
        [(3, 5, 7, 9, 9)],
        [SHAPE],
        [(2, 3, 4, 5, 7), (2, 3, 4, 3, 7), SHAPE],
        [(1, 3, 4, 6, 6), (2, 1, 4, 3, 7), SHAPE],
    ],
)
def test_what_is_cut_off_is_gone(image, shapes):
    for shape in shapes:
        image.resize(shape)
        assert image.shape == shape
    expected = cut(numbers(SHAPE), *shapes)
    np.testing.assert_array_equal(image.numpy(), expected)
    fresh = opened(image._storage, image.metadata.zarr_format, "tczyx")
    np.testing.assert_array_equal(fresh.numpy(), expected)
    np.testing.assert_array_equal(fresh.tensorstore().read().result(), expected)


@settings(quick, max_examples=examples(15))
@given(case=images(), data=st.data())
def test_any_series_of_shapes(tmp_path_factory, case, data):
    zarr_format, shape, kwargs = case
    storage = LocalStorage(str(tmp_path_factory.mktemp("r")), WRITABLE)
    array = create(storage, zarr_format, shape, **kwargs)
    array[...] = numbers(shape) + 1
    sizes = st.tuples(*[st.integers(1, 9)] * len(shape))
    shapes = data.draw(st.lists(sizes, min_size=1, max_size=3))
    for new in shapes:
        array.resize(new)
    np.testing.assert_array_equal(array.numpy(), cut(numbers(shape) + 1, *shapes))


def test_chunks_outside_the_new_shape_are_deleted(image):
    def chunk_files():
        folder = image._storage.local_path("0")
        return [n for _, _, names in os.walk(folder) for n in names if not n.startswith((".z", "zarr"))]

    image[...] = 1
    before = len(chunk_files())
    image.resize((1, 1, 1, 1, 1))
    assert len(chunk_files()) == 1 < before


def test_resizing_keeps_everything_else_of_the_document(storage, zarr_format):
    array = create(storage, zarr_format, (4, 4))
    array.attrs["a"] = 1
    before = json.loads(array_document(storage, zarr_format))
    array.resize((2, 6))
    assert json.loads(array_document(storage, zarr_format)) == {**before, "shape": [2, 6]}
    assert dict(array.attrs) == {"a": 1}


def test_one_dimension_may_be_resized_by_a_number(storage, zarr_format):
    array = create(storage, zarr_format, (4,), "x")
    array.resize(6)
    assert array.shape == (6,)


@pytest.mark.parametrize(
    "shape", [(4,), (4, 4, 4), (0, 4), (-1, 4), (4.5, 4), ("4", "4"), None, 4, (), "44", (2**63, 4)], ids=repr
)
def test_a_wrong_shape_changes_nothing(storage, zarr_format, shape):
    array = create(storage, zarr_format, (4, 4))
    array[...] = 5
    with pytest.raises(ps.ArgumentError):
        array.resize(shape)
    assert (array.refresh().numpy() == 5).all()


def test_a_stale_handle_does_not_bring_old_pixels_back(storage, zarr_format):
    stale = create(storage, zarr_format, (4, 8), chunks=(4, 4), dtype="uint8")
    other = opened(storage, zarr_format, "yx")
    other.resize((4, 16))
    other[...] = 9
    stale.resize((4, 4))
    stale.resize((4, 16))
    np.testing.assert_array_equal(stale.numpy()[:, 4:], np.zeros((4, 12), "uint8"))


def test_an_array_without_a_fill_value_is_filled_with_zeros(storage):
    layout = plan((4, 4), "uint8", zarr_format=2, chunks=(3, 3))
    document = {**layout.document(2, ["y", "x"]), "fill_value": None}
    create_node(storage, "0", array_files(2, document, where=""))
    array = opened(storage, 2, "yx")
    array[...] = 5
    array.resize((2, 2))
    array.resize((4, 4))
    np.testing.assert_array_equal(array.numpy(), cut(np.full((4, 4), 5, "uint8"), (2, 2), (4, 4)))


def test_another_fill_value_is_kept(storage):
    layout = plan((4, 4), "float32", zarr_format=3, chunks=(3, 3))
    document = {**layout.document(3, ["y", "x"]), "fill_value": "NaN"}
    create_node(storage, "0", array_files(3, document, where=""))
    array = opened(storage, 3, "yx")
    array[...] = 5
    array.resize((2, 2))
    array.resize((4, 4))
    expected = np.full((4, 4), np.nan, "float32")
    expected[:2, :2] = 5
    np.testing.assert_array_equal(array.numpy(), expected)


@pytest.mark.parametrize(
    ("zarr_format", "encoding"),
    [
        (2, {"name": "v2", "separator": "."}),
        (2, {"name": "v2", "separator": "/"}),
        (3, {"name": "default", "separator": "."}),
        (3, {"name": "v2", "separator": "."}),
        (3, {"name": "v2", "separator": "/"}),
    ],
    ids=repr,
)
def test_arrays_of_others_with_other_chunk_keys_are_cut_too(storage, zarr_format, encoding):
    zarr.create_array(
        zarr.storage.LocalStore(storage.root),
        name="0",
        shape=(7, 9),
        chunks=(3, 4),
        dtype="uint8",
        zarr_format=zarr_format,
        chunk_key_encoding=encoding,
    )
    array = opened(storage, zarr_format, "yx")
    array[...] = pixels = numbers((7, 9), "uint8") + 1
    for shape in ((4, 5), (7, 9), (2, 9), (8, 8)):
        array.resize(shape)
    np.testing.assert_array_equal(array.numpy(), cut(pixels, (4, 5), (7, 9), (2, 9), (8, 8)))


HUGE = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))
import platestore as ps
position = ps.open_ome_zarr(
    sys.argv[1], layout="fov", mode="w-", channel_names=["a"], version="0.5",
    axes=[ps.SpaceAxisMeta(name="y"), ps.SpaceAxisMeta(name="x")],
)
image = position.create_zeros("0", (2**40, 2**40), "uint8", chunks=(64, 64))
image[3, 3] = image[2**39, 2**39] = 1
image.resize((64, 64))
image.resize((2**40, 2**40))
print(image[3, 3], image[2**39, 2**39])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a limit on memory")
def test_a_huge_image_can_be_cut(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", HUGE, tmp_path / "huge.zarr"], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "1 0\n", done.stderr[-2000:]


# --- append ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, 3, -1, -5])
def test_data_is_appended_along_an_axis(image, axis):
    shape = list(SHAPE)
    shape[axis] = 2
    block = np.full(shape, 60000, "uint16")
    assert image.append(block, axis) == image.shape
    np.testing.assert_array_equal(image.numpy(), np.concatenate([numbers(SHAPE), block], axis))
    np.testing.assert_array_equal(
        opened(image._storage, image.metadata.zarr_format, "tczyx").numpy(), image.numpy()
    )


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((4, 4), 2), ((4, 4), -3), ((4, 5), 0), ((5, 4), 1), ((4,), 0), ((1, 4, 4), 0), ((), 0)],
)
def test_data_that_does_not_fit_changes_nothing(storage, zarr_format, shape, axis):
    array = create(storage, zarr_format, (4, 4))
    with pytest.raises(ps.ArgumentError):
        array.append(np.ones(shape, "uint16"), axis)
    assert array.refresh().shape == (4, 4)


def test_two_handles_that_append_in_turn_lose_nothing(storage, zarr_format):
    first = create(storage, zarr_format, (1, 4), chunks=(2, 4), dtype="uint8")
    second = opened(storage, zarr_format, "yx")
    for number in range(1, 5):
        (first if number % 2 else second).append(np.full((1, 4), number, "uint8"))
    assert first.refresh().numpy()[:, 0].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.quick(1)
def test_processes_that_append_at_once_lose_nothing(storage, zarr_format):
    create(storage, zarr_format, (1, 4), chunks=(1, 4), dtype="uint8")
    code = (
        "import sys, numpy as np\n"
        "from platestore.arrays.image import open_array\n"
        "from platestore.storage.base import StorageOptions\n"
        "from platestore.storage.hierarchy import read_array\n"
        "from platestore.storage.local import LocalStorage\n"
        "root, zarr_format, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])\n"
        "storage = LocalStorage(root, StorageOptions(read_only=False))\n"
        "array = open_array(storage, read_array(storage, '0', zarr_format), 'yx')\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "for _ in range(10):\n"
        "    array.append(np.full((1, 4), number, 'uint8'))\n"
    )
    arguments = [sys.executable, "-c", code, storage.root, str(zarr_format)]
    run_at_once([[*arguments, str(number)] for number in (1, 2)])
    rows = opened(storage, zarr_format, "yx").numpy()[:, 0].tolist()
    assert sorted(rows) == [0] + [1] * 10 + [2] * 10
