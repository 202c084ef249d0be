"""The engine: damaged and missing chunks, changes of shape, handles that travel, writes by whole units."""

from __future__ import annotations

import copy
import errno
import gc
import json
import os
import pickle
import subprocess
import sys
import threading
import warnings

import dask.array
import numpy as np
import pytest
import zarr
from array_workers import (
    CHUNKS,
    EVERY,
    SHAPE,
    SHARDS,
    chunk_files,
    make,
    make_zarr,
    numbers,
    plain,
    reopened,
    root_of,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import examples
from platestore.arrays import pixels
from platestore.arrays.layout import write_units
from platestore.storage.local import LocalStorage

pytestmark = pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr")
quick = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ON_DISK = [case for case in EVERY if "memory" not in case]
#: Cases on the engines that serve them, and some by zarr-python though TensorStore could.
ROADS = [(case, False) for case in ON_DISK] + [
    (case, True) for case in ("v2", "v2 raw, bool", "v3", "v3 sharded")
]
FEW = [("v2", False), ("v2", True), ("v3", False), ("v3", True), ("v3 sharded", False), ("v3 sharded", True)]


def full(directory, case, by_zarr=False, **options):
    """A full array: on disk, and opened."""
    made = make_zarr(directory, case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made[...] = numbers(dtype=made.dtype)
    return reopened(directory, EVERY[case][0], by_zarr=by_zarr, **options)


@pytest.fixture
def position(tmp_path, version):
    axes = [ps.TimeAxisMeta(name="t"), ps.SpaceAxisMeta(name="y"), ps.SpaceAxisMeta(name="x")]
    return ps.open_ome_zarr(
        tmp_path / "p.zarr", layout="fov", mode="w-", channel_names=[], version=version, axes=axes
    )


# --- which engine ---------------------------------------------------------------------------------

DOCUMENT_EDITS = {
    "v2 without a separator": ("v2 dotted", lambda d: d.pop("dimension_separator")),
    "v2 without a fill value": ("v2", lambda d: d.update(fill_value=None)),
    "v2 with no filters as a list": ("v2", lambda d: d.update(filters=[])),
    "v2 with unknown members": ("v2", lambda d: d.update(somebody={"x": 1})),
    "v3 with transformers as an empty list": ("v3", lambda d: d.update(storage_transformers=[])),
    "v3 with a fill value in hexadecimal": (
        "v3 with NaN as fill value",
        lambda d: d.update(fill_value="0x7ff8000000000001"),
    ),
    "v3 with names of dimensions": ("v3 sharded", lambda d: d.update(dimension_names=["z", None, "x"])),
    "v3 without names of dimensions": ("v3", lambda d: d.pop("dimension_names", None)),
    "v3 with attributes": ("v3", lambda d: d.update(attributes={"a": [1]})),
}


@pytest.mark.parametrize("edit", DOCUMENT_EDITS)
def test_documents_that_others_wrote_are_read_and_written_as_by_zarr(tmp_path, edit):
    case, change = DOCUMENT_EDITS[edit]
    make_zarr(tmp_path, case)
    path = tmp_path / "0" / (".zarray" if EVERY[case][0] == 2 else "zarr.json")
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))
    array = reopened(tmp_path, EVERY[case][0])
    assert array[...].tobytes() == plain(tmp_path)[...].tobytes()
    array[1:, 2] = numbers((4, 7), array.dtype)
    expected = plain(tmp_path)[...]
    np.testing.assert_array_equal(expected[1:, 2], numbers((4, 7), array.dtype))
    assert array[...].tobytes() == expected.tobytes()
    array[...] = numbers(dtype=array.dtype)
    np.testing.assert_array_equal(plain(tmp_path)[...], numbers(dtype=array.dtype))
    assert reopened(tmp_path, EVERY[case][0], by_zarr=True)[...].tobytes() == array[...].tobytes()


@pytest.mark.parametrize("case", EVERY)
def test_what_was_never_written_reads_as_in_zarr(tmp_path, case):
    root = root_of(case, tmp_path)
    array = make(root, case)
    assert array[...].tobytes() == plain(root)[...].tobytes()
    assert type(array[0, 0, 0]) is type(plain(root)[0, 0, 0])


ODD_TYPES = """
import sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[1])
from array_workers import make, make_zarr, np, plain
types = {"V4": b"abcd", "S4": b"abc", "U4": "abc",
         "M8[s]": np.datetime64(7, "s"), "m8[s]": np.timedelta64(7, "s"),
         "record": np.array((3, 1.5), [("a", "<u2"), ("b", "<f4")])[()]}
for zarr_format in (2, 3):
    for name, value in types.items():
        dtype = value.dtype if name == "record" else name
        root = f"{sys.argv[2]}/{name[0]}{zarr_format}"
        array = make(root, (zarr_format, {"dtype": dtype}))
        array[1] = np.full((6, 7), value, dtype)
        assert (array[1] == np.full((6, 7), value, dtype)).all(), (zarr_format, name)
        assert array[...].tobytes() == plain(root)[...].tobytes(), (zarr_format, name)
print("done")
"""


def test_types_that_are_no_numbers_are_left_to_zarr(tmp_path):
    """In a program of its own: TensorStore may end the program when it is shown such a document."""
    run = subprocess.run(
        [sys.executable, "-c", ODD_TYPES, os.path.dirname(__file__), tmp_path], capture_output=True, text=True
    )
    assert run.stdout == "done\n", run.stderr[-1500:]


def test_opening_an_array_neither_opens_it_with_an_engine_nor_reads(tmp_path):
    array = full(tmp_path, "v3")
    assert array._engine._handles == {}
    array[0]
    assert len(array._engine._handles) == 1


def test_a_handle_is_opened_once(tmp_path):
    array = full(tmp_path, "v3")
    first = array._engine.handle(writable=True)
    array[0] = array[1]
    assert array._engine.handle(writable=True) is first


def test_no_read_cache_is_kept(tmp_path):
    """What another program changed is read, though nothing was opened again."""
    for case, by_zarr in FEW:
        root = tmp_path / f"{case}{by_zarr}"
        array = full(root, case, by_zarr)
        np.testing.assert_array_equal(array[...], numbers())
        plain(root)[...] = numbers(start=1000)
        np.testing.assert_array_equal(array[...], numbers(start=1000))


# --- damaged chunks -------------------------------------------------------------------------------

DAMAGE = {
    "empty": lambda data: b"",
    "one byte": lambda data: data[:1],
    "cut in half": lambda data: data[: len(data) // 2],
    "without the last byte": lambda data: data[:-1],
    "garbage": lambda data: np.random.default_rng(1).bytes(len(data) + 3),
    "zeros": lambda data: bytes(len(data) + 3),
}


def damage(root, how, number=0):
    """Damage one file; returns its path and its path in the store."""
    path = chunk_files(root)[number]
    with open(path, "rb") as file:
        data = file.read()
    with open(path, "wb") as file:
        file.write(DAMAGE[how](data))
    return path, os.path.relpath(path, root).replace(os.sep, "/")


def region_of(array, path, root):
    """The region that a chunk's file holds."""
    key = (
        os.path.relpath(path, os.path.join(root, "0"))
        .replace(os.sep, "/")
        .removeprefix("c/")
        .removeprefix("c.")
    )
    place = [int(n) for n in key.replace(".", "/").split("/")]
    units = array.shards or array.chunks
    return tuple(slice(p * u, min((p + 1) * u, n)) for p, u, n in zip(place, units, array.shape, strict=True))


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("road", ROADS, ids=lambda r: f"{r[0]}{', by zarr' * r[1]}")
def test_a_damaged_chunk_is_an_error_that_names_the_file_and_never_the_fill_value(tmp_path, road, how):
    array = full(tmp_path, *road)
    path, key = damage(tmp_path, how)
    region = region_of(array, path, tmp_path)
    for read in (
        lambda: array[...],
        lambda: array[region],
        lambda: array[tuple(s.start for s in region)],
        lambda: array.oindex[[region[0].start], [region[1].start]],
        lambda: array.vindex[[region[0].start], [region[1].start], [region[2].start]],
        lambda: array.blocks[0, 0, 0],
        lambda: array.numpy(),
        lambda: array.dask_array().compute(scheduler="sync"),
    ):
        with pytest.raises(ps.DamagedChunkError) as caught:
            read()
        assert key in str(caught.value)
    others = array[4:]
    np.testing.assert_array_equal(others, numbers(dtype=array.dtype)[4:])


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("road", ROADS, ids=lambda r: f"{r[0]}{', by zarr' * r[1]}")
def test_a_write_of_a_part_of_a_damaged_chunk_is_an_error_and_changes_nothing(tmp_path, road, how):
    array = full(tmp_path, *road)
    path, key = damage(tmp_path, how)
    with open(path, "rb") as file:
        before = file.read()
    one = array.dtype.type(1)
    region = region_of(array, path, tmp_path)
    place = tuple(s.start for s in region)
    for write in (
        lambda: array.__setitem__(place, one),
        lambda: array.vindex.__setitem__(([region[0].start], [region[1].start], [region[2].start]), one),
    ):
        with pytest.raises(ps.DamagedChunkError) as caught:
            write()
        assert key in str(caught.value)
    with open(path, "rb") as file:
        assert file.read() == before


@pytest.mark.parametrize("how", ["empty", "garbage"])
@pytest.mark.parametrize("road", ROADS, ids=lambda r: f"{r[0]}{', by zarr' * r[1]}")
def test_a_damaged_chunk_is_mended_by_writing_all_of_it(tmp_path, road, how):
    array = full(tmp_path, *road)
    path, _ = damage(tmp_path, how)
    region = region_of(array, path, tmp_path)
    pixels = numbers(dtype=array.dtype)
    array[region] = pixels[region]
    np.testing.assert_array_equal(array[...], pixels)
    np.testing.assert_array_equal(plain(tmp_path)[...], pixels)


@pytest.mark.parametrize("by_zarr", [False, True])
def test_damage_inside_a_shard_spares_its_other_chunks(tmp_path, by_zarr):
    array = full(tmp_path, "v3 sharded", by_zarr)
    path = chunk_files(tmp_path)[0]
    with open(path, "r+b") as file:
        file.write(b"\xff" * 8)  # the first encoded chunk; the index is at the end
    lost = 0
    for region in write_units((4, 3, 7), CHUNKS):
        try:
            np.testing.assert_array_equal(array[region], numbers()[region])
        except ps.DamagedChunkError:
            lost += 1
    assert lost == 1
    with pytest.raises(ps.DamagedChunkError, match="c/0/0/0"):
        array[...]


@pytest.mark.parametrize("case", ["v2 in memory", "v3 in memory", "v3 sharded in memory"])
def test_empty_chunks_in_any_store_are_errors(case):
    root = root_of(case, None)
    make_zarr(root, case)[...] = numbers()
    array = reopened(root, EVERY[case][0])
    names = (".zarray", ".zattrs", "zarr.json", ".zgroup")
    key = min(k for k in root._store_dict if not k.endswith(names))
    root._store_dict[key] = root._store_dict[key][:0]
    for action in (lambda: array[...], lambda: array.__setitem__(X_FIRST, 1)):
        with pytest.raises(ps.DamagedChunkError, match=key):
            action()


X_FIRST = (0, 0, 0)


@pytest.mark.parametrize("by_zarr", [False, True])
def test_a_flipped_bit_is_found_where_chunks_carry_checksums(tmp_path, by_zarr):
    position = ps.open_ome_zarr(
        tmp_path / "p.zarr", layout="fov", mode="w-", channel_names=["a"], version="0.5"
    )
    image = position.create_zeros("0", (1, 1, 4, 32, 32), "uint16", chunks=(1, 1, 1, 32, 32), checksum=True)
    image[...] = pixels = numbers(image.shape)
    path = chunk_files(tmp_path / "p.zarr" / "0")[0]
    with open(path, "r+b") as file:
        data = bytearray(file.read())
        data[len(data) // 2] ^= 4
        file.seek(0)
        file.write(data)
    image._engine.refusal = "the test says so" if by_zarr else None
    with pytest.raises(ps.DamagedChunkError, match="c/0/0/0"):
        image[...]
    np.testing.assert_array_equal(image[:, :, 1:], pixels[:, :, 1:])


@pytest.mark.parametrize(
    ("text", "kind", "number"),
    [
        (
            "UNKNOWN: Error writing \"/x/0/0\": write failed [os_error_code='28'] [source locations='a']",
            OSError,
            errno.ENOSPC,
        ),
        ("RESOURCE_EXHAUSTED: Failed to write: /x/0 [os_error_code='28']", OSError, errno.ENOSPC),
        ("PERMISSION_DENIED: Failed to open: /x/0 [os_error_code='13']", PermissionError, errno.EACCES),
        ("ABORTED: gave up [source locations='a']", OSError, errno.EIO),
    ],
)
def test_errors_of_the_system_are_such(tmp_path, text, kind, number):
    array = full(tmp_path, "v3")
    with pytest.raises(kind) as caught, array._engine.translated():
        raise ValueError(text)
    assert caught.value.errno == number
    assert not isinstance(caught.value, ps.PlatestoreError)
    assert str(tmp_path) in str(caught.value)


# --- missing chunks -------------------------------------------------------------------------------


@pytest.mark.parametrize("road", ROADS, ids=lambda r: f"{r[0]}{', by zarr' * r[1]}")
def test_an_absent_chunk_is_an_error_where_that_is_asked_for(tmp_path, road):
    array = full(tmp_path, *road, missing="raise")
    lenient = reopened(tmp_path, EVERY[road[0]][0])
    path = chunk_files(tmp_path)[0]
    region = region_of(array, path, tmp_path)
    np.testing.assert_array_equal(array[...], numbers(dtype=array.dtype))
    os.unlink(path)
    for read in (
        lambda: array[...],
        lambda: array[0, 0, 0],
        lambda: array[0:1, 0:1, ::2],
        lambda: array.oindex[[0, 4]],
        lambda: array.vindex[[4, 0], [4, 0], [4, 0]],
        lambda: array.blocks[0, 0, 0],
    ):
        with pytest.raises(ps.MissingChunkError) as caught:
            read()
        assert os.path.relpath(path, tmp_path).replace(os.sep, "/") in str(caught.value)
        assert isinstance(caught.value, FileNotFoundError)
    np.testing.assert_array_equal(array[4:], numbers(dtype=array.dtype)[4:])
    expected = numbers(dtype=array.dtype)
    expected[region] = 0 if array.fill_value is None else array.fill_value
    np.testing.assert_array_equal(lenient[...], expected)


@pytest.mark.parametrize("road", ROADS, ids=lambda r: f"{r[0]}{', by zarr' * r[1]}")
def test_fill_values_that_were_written_are_not_missing(tmp_path, road):
    make_zarr(tmp_path, road[0])
    array = reopened(tmp_path, EVERY[road[0]][0], by_zarr=road[1], missing="raise")
    with pytest.raises(ps.MissingChunkError):
        array[0]
    fill = np.full(SHAPE, array.fill_value, array.dtype)
    array[...] = fill
    assert len(chunk_files(tmp_path)) == len(list(array.write_units()))
    np.testing.assert_array_equal(array[...], fill)
    array[0] = numbers(dtype=array.dtype)[0]
    array[0] = fill[0]
    array[1, 2, 3] = fill[1, 2, 3]
    np.testing.assert_array_equal(array[...], fill)
    np.testing.assert_array_equal(reopened(tmp_path, EVERY[road[0]][0], missing="raise")[...], fill)


@pytest.mark.parametrize("road", FEW, ids=lambda r: f"{r[0]}{', by zarr' * r[1]}")
def test_a_write_of_a_part_makes_the_chunk_be_there(tmp_path, road):
    make_zarr(tmp_path, road[0])
    array = reopened(tmp_path, EVERY[road[0]][0], by_zarr=road[1], missing="raise")
    array[0, 0, 0] = 5
    expected = np.zeros(CHUNKS, "uint16")
    expected[0, 0, 0] = 5
    np.testing.assert_array_equal(array[:2, :3, :4], expected)
    with pytest.raises(ps.MissingChunkError):
        array[4]


@pytest.mark.parametrize("by_zarr", [False, True])
def test_a_chunk_that_a_shard_lacks_is_missing(tmp_path, by_zarr):
    make_zarr(tmp_path, "v3 sharded")
    plain(tmp_path)[:2, :3, :4] = 5
    array = reopened(tmp_path, 3, by_zarr=by_zarr, missing="raise")
    assert (array[:2, :3, :4] == 5).all()
    with pytest.raises(ps.MissingChunkError, match="c/0/0/0"):
        array[2:4, :3, :4]


def test_by_default_fill_values_are_not_stored(tmp_path):
    for case, by_zarr in FEW:
        root = tmp_path / f"{case}{by_zarr}"
        make_zarr(root, case)
        array = reopened(root, EVERY[case][0], by_zarr=by_zarr)
        array[...] = 0
        assert chunk_files(root) == []


def test_missing_is_an_argument_of_opening(position, tmp_path):
    image = position.create_zeros("0", (4, 8, 8), "uint16", chunks=(1, 8, 8))
    image[0] = 1
    path = tmp_path / "p.zarr"
    strict = ps.open_ome_zarr(path, missing="raise")["0"]
    assert (strict[0] == 1).all()
    with pytest.raises(ps.MissingChunkError, match=r'missing="fill"'):
        strict[1]
    with pytest.raises(ps.MissingChunkError):
        pickle.loads(pickle.dumps(strict))[1]
    for lenient in (ps.open_ome_zarr(path, missing="fill")["0"], ps.open_ome_zarr(path)["0"]):
        assert (lenient[1] == 0).all()
    for wrong in ("error", None, True, ""):
        with pytest.raises(ps.ArgumentError, match="missing"):
            ps.open_ome_zarr(path, missing=wrong)


# --- changes of shape -----------------------------------------------------------------------------


@pytest.mark.parametrize("road", ROADS, ids=lambda r: f"{r[0]}{', by zarr' * r[1]}")
def test_after_a_resize_the_new_bounds_hold(tmp_path, road):
    array = full(tmp_path, *road)
    pixels = numbers(dtype=array.dtype)
    if road[1]:
        array._engine.refusal = "the test says so"
    array.resize((9, 6, 7))
    array[5:] = pixels[:4]
    np.testing.assert_array_equal(array[...], np.concatenate([pixels, pixels[:4]]))
    assert array[8, 5, 6] == pixels[3, 5, 6]
    with pytest.raises(IndexError):
        array[9]
    array.resize((2, 6, 3))
    np.testing.assert_array_equal(array[...], pixels[:2, :, :3])
    np.testing.assert_array_equal(array[-1, -1], pixels[1, 5, :3])
    for action in (lambda: array[2], lambda: array.__setitem__((0, 0, 3), pixels[0, 0, 0])):
        with pytest.raises(IndexError):
            action()
    np.testing.assert_array_equal(plain(tmp_path)[...], pixels[:2, :, :3])


@pytest.mark.parametrize("road", FEW, ids=lambda r: f"{r[0]}{', by zarr' * r[1]}")
def test_two_handles_on_one_array(tmp_path, road):
    first = full(tmp_path, *road)
    second = reopened(tmp_path, EVERY[road[0]][0], by_zarr=road[1])
    np.testing.assert_array_equal(second[...], numbers())
    first.resize((8, 6, 7))
    first[5:] = 7
    assert second.shape == SHAPE
    second.refresh()
    assert (second[5:] == 7).all()
    second[7] = 8
    assert (first[7] == 8).all()
    second.resize((1, 6, 7))
    first.refresh()
    assert first.shape == (1, 6, 7)
    np.testing.assert_array_equal(first[...], numbers()[:1])
    first.resize((4, 6, 7))
    second.refresh()
    assert (second[1:] == 0).all()


@pytest.mark.parametrize("road", FEW, ids=lambda r: f"{r[0]}{', by zarr' * r[1]}")
def test_two_handles_append_in_turn_and_lose_nothing(tmp_path, road):
    handles = [full(tmp_path, *road), reopened(tmp_path, EVERY[road[0]][0], by_zarr=road[1])]
    expected = [numbers()]
    for turn in range(6):
        block = np.full((turn % 3 + 1, 6, 7), turn + 1, "uint16")
        handles[turn % 2].append(block)
        expected.append(block)
    for handle in handles:
        np.testing.assert_array_equal(handle.refresh()[...], np.concatenate(expected))
    np.testing.assert_array_equal(plain(tmp_path)[...], np.concatenate(expected))


def test_a_copy_made_after_a_resize_has_the_new_shape(tmp_path):
    array = full(tmp_path, "v3 sharded")
    array[0]
    array.resize((9, 6, 7))
    twin = pickle.loads(pickle.dumps(array))
    twin[8] = 3
    assert (array[8] == 3).all()


# --- handles that travel --------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["v2", "v3 sharded", "v2 lz4", "v3 in memory"])
def test_arrays_travel_without_handles(tmp_path, case):
    root = root_of(case, tmp_path)
    array = make(root, case)
    size = len(pickle.dumps(array))
    array[...] = numbers()
    np.testing.assert_array_equal(array[...], numbers())
    assert len(pickle.dumps(array)) < size + 20 if "memory" not in case else True
    for twin in (copy.copy(array), copy.deepcopy(array), pickle.loads(pickle.dumps(array))):
        assert twin._engine is not array._engine
        assert twin._engine._handles == {}
        np.testing.assert_array_equal(twin[...], numbers())
    assert b"tensorstore" not in pickle.dumps(array).replace(b"platestore", b"")


def test_threads_may_share_one_array(tmp_path):
    """Units in turn from many threads; readers see old or new, never less."""
    array = full(tmp_path, "v3 sharded")
    regions = list(array.write_units())
    errors = []

    def work(number):
        try:
            for turn in range(5):
                for region in regions[number::4]:
                    array[region] = np.full([s.stop - s.start for s in region], 100 + turn, "uint16")
                    assert len(np.unique(array[region])) == 1
        except Exception as error:  # noqa: BLE001 - shown below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert (array[...] == 104).all()


# --- bulk writes in batches -----------------------------------------------------------------------


@st.composite
def boxes(draw):
    shape = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    units = [draw(st.integers(1, n)) for n in shape]
    index = []
    for n in shape:
        start = draw(st.integers(0, n - 1))
        index.append(
            draw(st.just(start) | st.integers(start + 1, n).map(lambda stop, a=start: slice(a, stop)))
        )
    return tuple(shape), tuple(units), tuple(index)


@settings(quick, max_examples=examples(60))
@given(box=boxes(), limit=st.integers(1, 2000))
def test_large_writes_go_in_batches_of_whole_units(tmp_path_factory, box, limit):
    shape, units, index = box
    root = tmp_path_factory.mktemp("b")
    array = make(root, (3, {}), shape, units)
    array[...] = expected = numbers(shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixels, "_BATCH_BYTES", limit)
        fresh = numbers(expected[index].shape, start=5000)
        array[index] = fresh
        expected[index] = fresh
        np.testing.assert_array_equal(array[...], expected)
        other = make(root / "other", (2, {}), shape, units)
        other[index] = array if fresh.shape == shape else fresh
    np.testing.assert_array_equal(other[index], fresh)


class Spy:
    """An array on disk that remembers how much was asked of it at once."""

    def __init__(self, data, chunks):
        self.data, self.chunks, self.most = data, chunks, 0
        self.shape, self.dtype, self.ndim = data.shape, data.dtype, data.ndim

    def __getitem__(self, index):
        part = self.data[index]
        self.most = max(self.most, part.nbytes)
        return part

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("it was read as a whole")


def test_another_array_on_disk_is_copied_part_by_part(tmp_path, monkeypatch):
    monkeypatch.setattr(pixels, "_BATCH_BYTES", 2000)
    array = make(tmp_path, "v3 sharded", shape=(20, 12, 16))
    source = Spy(numbers((20, 12, 16)), (1, 12, 16))
    array[...] = source
    np.testing.assert_array_equal(array[...], source.data)
    assert 0 < source.most <= 2000
    array[3:9, 2] = Spy(numbers((6, 16), start=99), (1, 16))
    np.testing.assert_array_equal(array[3:9, 2], numbers((6, 16), start=99))


@pytest.mark.parametrize("by_zarr", [False, True])
def test_zarr_arrays_and_images_are_sources(tmp_path, by_zarr):
    source = full(tmp_path / "a", "v2")
    for name, given_array in {"image": source, "zarr": plain(tmp_path / "a")}.items():
        make_zarr(tmp_path / name, "v3 sharded")
        target = reopened(tmp_path / name, 3, by_zarr=by_zarr)
        target[...] = given_array
        np.testing.assert_array_equal(target[...], numbers())
        target[:] = 0
        target[0:5, ...] = given_array
        np.testing.assert_array_equal(target[...], numbers())
        with pytest.raises(ValueError, match="shape"):
            target[:4] = given_array
        target.oindex[[4, 3, 2, 1, 0]] = given_array
        np.testing.assert_array_equal(target[...], numbers()[::-1])
        target.resize((10, 6, 7))
        target[::2] = given_array
        np.testing.assert_array_equal(target[::2], numbers())


def test_an_image_of_another_type_is_cast(tmp_path):
    source = full(tmp_path / "a", "v2")
    target = make(tmp_path / "b", (3, {"dtype": "float32"}))
    target[...] = source
    np.testing.assert_array_equal(target[...], numbers(dtype="float32"))


# --- units ----------------------------------------------------------------------------------------


@settings(quick, max_examples=examples(100))
@given(
    sizes=st.lists(
        st.tuples(st.integers(1, 12), st.integers(1, 5), st.integers(1, 3)), min_size=1, max_size=4
    ),
    sharded=st.booleans(),
)
def test_units_cover_the_array_exactly_once_and_share_no_file(tmp_path_factory, sizes, sharded):
    shape = tuple(n for n, _, _ in sizes)
    chunks = tuple(min(n, c) for n, c, _ in sizes)
    shards = tuple(c * r for c, (_, _, r) in zip(chunks, sizes, strict=True)) if sharded else None
    array = make(tmp_path_factory.mktemp("u"), (3, {"shards": shards}), shape, chunks)
    seen = np.zeros(shape, int)
    units = shards or chunks
    regions = list(array.write_units())
    for region in regions:
        seen[region] += 1
        for part, unit, size in zip(region, units, shape, strict=True):
            assert part.start % unit == 0
            assert part.stop == min(part.start + unit, size)
            assert part.step in (None, 1)
    assert (seen == 1).all()
    assert len(regions) == np.prod([-(-n // u) for n, u in zip(shape, units, strict=True)])


@pytest.mark.parametrize("road", FEW, ids=lambda r: f"{r[0]}{', by zarr' * r[1]}")
def test_a_write_of_a_unit_touches_its_file_only_and_reads_nothing(tmp_path, road):
    array = full(tmp_path, *road)
    for path in chunk_files(tmp_path):
        os.unlink(path)
    for number, region in enumerate(array.write_units(), 1):
        array[region] = number
        assert len(chunk_files(tmp_path)) == number
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalStorage, "lock", lambda *a: pytest.fail("a whole unit needs no lock"))
        for region in array.write_units():
            array[region] = numbers()[region]
    np.testing.assert_array_equal(array[...], numbers())


# --- the warning of rewriting ---------------------------------------------------------------------


def big(position, name="0", **kwargs):
    """Chunks (or shards) of 1 MiB, of four planes."""
    return position.create_zeros(name, (8, 512, 512), "uint8", **{"chunks": (4, 512, 512), **kwargs})


def test_the_first_write_into_a_part_of_a_large_chunk_warns_once_for_a_layout_and_store(position, tmp_path):
    image = big(position)
    with pytest.warns(ps.RewriteWarning, match=r"(?s)chunk of 1 MiB.*chunks=\(1, 512, 512\)") as caught:
        image[0] = 1
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert str(tmp_path) in str(caught[0].message)
    image[1] = 1
    image[2, 5] = 1
    position["0"][3] = 1
    other = big(position, "1")
    other[0] = 1
    different = big(position, "2", chunks=(8, 512, 512))
    with pytest.warns(ps.RewriteWarning):
        different[0] = 1
    again = ps.open_ome_zarr(tmp_path / "p.zarr", mode="r+")["0"]
    with pytest.warns(ps.RewriteWarning):
        again[0] = 2
    assert (again[0] == 2).all()


ROADS_OF_A_PART = {
    "oindex": lambda a: a.oindex.__setitem__([1, 3], 1),
    "vindex": lambda a: a.vindex.__setitem__(([0], [1], [2]), 1),
    "a mask": lambda a: a.__setitem__(np.eye(8, 512, dtype=bool)[:, :, None] & np.ones(512, bool), 1),
    "a list": lambda a: a.__setitem__([1, 3], 1),
    "points": lambda a: a.__setitem__(([0], [1], [2]), 1),
    "an integer": lambda a: a.__setitem__(2, 1),
    "a step": lambda a: a.__setitem__(slice(None, None, 2), 1),
    "two parts": lambda a: a.__setitem__(slice(2, 6), 1),
    "a method": lambda a: a.set_basic_selection(slice(2, 6), 1),
}


@pytest.mark.parametrize("way", ROADS_OF_A_PART)
def test_every_road_of_a_part_warns_at_the_users_line(position, way):
    image = big(position)
    with pytest.warns(ps.RewriteWarning) as caught:
        ROADS_OF_A_PART[way](image)
    assert [w.filename for w in caught] == [__file__]


def test_a_dask_array_that_cuts_units_warns_once(position):
    image = big(position)
    with pytest.warns(ps.RewriteWarning) as caught:
        image[1:7] = dask.array.ones((6, 512, 512), chunks=256, dtype="uint8")
    assert len(caught) == 1
    image.write_dask(dask.array.ones((8, 512, 512), chunks=256, dtype="uint8"))
    assert (image[...] == 1).all()


def test_writes_of_whole_units_do_not_warn(position):
    image = position.create_zeros("0", (10, 600, 512), "uint8", chunks=(4, 512, 512))
    image[...] = 1
    image[0:4] = 2
    image[4:8, :512] = 3
    image[8:] = 4  # the edge of the array ends the unit
    image[8:10, 512:600] = 5
    image.blocks[0, 1] = 6
    for region in image.write_units():
        image[region] = 7
    assert (image[...] == 7).all()


def test_frames_into_chunks_of_planes_do_not_warn(position):
    image = position.create_zeros("0", (4, 1200, 1200), "uint8", chunks=(1, 1200, 1200))
    for t in range(4):
        image[t] = np.full((1200, 1200), t, "uint8")
    np.testing.assert_array_equal(image[:, 5, 5], range(4))


def test_small_chunks_do_not_warn(position):
    image = position.create_zeros("0", (8, 512, 511), "uint8", chunks=(4, 512, 511))
    image[0] = 1
    image[1, 5, 5] = 2


def test_the_size_that_counts_is_that_of_the_shard(tmp_path):
    position = ps.open_ome_zarr(
        tmp_path / "p.zarr", layout="fov", mode="w-", channel_names=["a"], version="0.5"
    )
    image = position.create_zeros(
        "0", (1, 1, 8, 512, 512), "uint8", chunks=(1, 1, 1, 256, 256), shards_ratio=(1, 1, 8, 2, 2)
    )
    with pytest.warns(ps.RewriteWarning, match=r"(?s)shard of 2 MiB.*(chunks|shards)"):
        image[0, 0, 0] = 1


def test_zarr_python_warns_alike(tmp_path):
    array = make(tmp_path, "v2 lz4", shape=(8, 512, 512), chunks=(4, 512, 512))
    with pytest.warns(ps.RewriteWarning):
        array[0] = 1
    array[4:] = 2
    array[1] = 1


# --- durability and the store ---------------------------------------------------------------------


@pytest.mark.parametrize(("durability", "sync"), [("process", False), ("metadata", False), ("full", True)])
def test_pixels_are_flushed_where_durability_says_so(tmp_path, durability, sync):
    array = full(tmp_path, "v3", durability=durability)
    for handle in (array._engine.handle(writable=True), array.tensorstore()):
        spec = handle.kvstore.spec(retain_context=True, unbind_context=True).to_json()
        assert spec["file_io_sync"] is sync


@pytest.mark.parametrize("case", ["v2", "v3 sharded", "v2 lz4"])
def test_directories_that_lead_to_chunks_are_flushed_too(tmp_path, monkeypatch, case):
    flushed = []
    real = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda fd: (flushed.append(os.path.realpath(f"/proc/self/fd/{fd}")), real(fd))
    )
    array = make(tmp_path, case, durability="full")
    array[...] = numbers()
    wanted = {os.path.dirname(path) for path in chunk_files(tmp_path)}
    wanted |= {os.path.dirname(path) for path in wanted if os.path.dirname(path) != str(tmp_path)}
    if os.path.exists("/proc/self/fd"):
        assert {p for p in wanted if p.startswith(str(tmp_path))} <= set(flushed)
    flushed.clear()
    quiet = make(tmp_path / "quiet", case, durability="process")
    quiet[...] = numbers()
    assert flushed == []


@pytest.mark.parametrize("road", FEW, ids=lambda r: f"{r[0]}{', by zarr' * r[1]}")
def test_a_store_open_for_reading_refuses_every_way_of_writing(tmp_path, road):
    full(tmp_path, *road)
    reader = reopened(tmp_path, EVERY[road[0]][0], by_zarr=road[1], read_only=True)
    for write in (
        lambda: reader.__setitem__(..., 0),
        lambda: reader.__setitem__((0, 0, 0), 0),
        lambda: reader.oindex.__setitem__(([0],), 0),
        lambda: reader.vindex.__setitem__(([0], [0], [0]), 0),
        lambda: reader.blocks.__setitem__(0, 0),
        lambda: reader.set_mask_selection(np.ones(SHAPE, bool), 0),
        lambda: reader.__setitem__(..., dask.array.zeros(SHAPE, dtype="uint16")),
        lambda: reader.write_dask(dask.array.zeros(SHAPE, dtype="uint16")),
        lambda: reader.__setitem__(..., plain(tmp_path)),
        lambda: reader.append(numbers()),
    ):
        with pytest.raises(ps.ReadOnlyError, match=r"r\+"):
            write()
    np.testing.assert_array_equal(reader[...], numbers())


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs links")
@pytest.mark.parametrize("road", FEW, ids=lambda r: f"{r[0]}{', by zarr' * r[1]}")
def test_pixels_are_not_written_through_a_link_out_of_the_store(tmp_path, road):
    outside, store = tmp_path / "outside", tmp_path / "store"
    full(outside, road[0])
    store.mkdir()
    (store / "0").symlink_to(outside / "0")
    with pytest.warns(ps.StoreWarning, match="link"):
        array = reopened(store, EVERY[road[0]][0], by_zarr=road[1])
    np.testing.assert_array_equal(array[...], numbers())
    for write in (
        lambda: array.__setitem__(..., 0),
        lambda: array.__setitem__((0, 0, 0), 0),
        lambda: array.vindex.__setitem__(([0], [0], [0]), 0),
        lambda: array.append(numbers()),
    ):
        with pytest.raises(ps.UnsafeTargetError, match="link"):
            write()
    np.testing.assert_array_equal(plain(outside)[...], numbers())
    allowed = reopened(store, EVERY[road[0]][0], by_zarr=road[1], follow_links=True)  # which is no warning
    allowed[...] = 1
    assert (plain(outside)[...] == 1).all()


@pytest.mark.quick(1)
def test_nothing_is_left_beside_the_chunks(tmp_path):
    for case, by_zarr in FEW:
        array = full(tmp_path / f"{case}{by_zarr}", case, by_zarr)
        array[1, 2] = 5
        array[...] = numbers()
        gc.collect()
        names = {n for _, _, files in os.walk(tmp_path) for n in files}
        assert not {n for n in names if "lock" in n or "partial" in n or n.endswith(".tmp")}


def test_zarr_alone_reads_what_was_written(tmp_path):
    position = ps.open_ome_zarr(
        tmp_path / "p.zarr", layout="fov", mode="w-", channel_names=["a"], version="0.5"
    )
    image = position.create_zeros(
        "0", (1, 1, 4, 8, 8), "uint16", chunks=(1, 1, 2, 4, 4), shards_ratio=(1, 1, 2, 2, 2)
    )
    assert image.shards == (1, 1, 4, 8, 8) != SHARDS
    image[...] = numbers(image.shape)
    np.testing.assert_array_equal(
        zarr.open_array(tmp_path / "p.zarr" / "0", mode="r")[...], numbers(image.shape)
    )
