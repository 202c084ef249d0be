"""Indexing behaves as zarr's, whichever engine serves the array: the same battery on all of them."""

from __future__ import annotations

import functools
import warnings

import numpy as np
import pytest
import zarr
from array_workers import EVERY, SERVED, SHAPE, make_zarr, numbers, plain, reopened, root_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore

from conftest import examples

quick = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
X = np.s_

BASIC = [
    X[...],
    X[()],
    X[:],
    X[0],
    X[-1],
    X[4, 5, 6],
    X[-5, -6, -7],
    X[1:3],
    X[:, 2],
    X[..., 3],
    X[1, ..., 3],
    X[1:4, 2:5, 3:6],
    X[::2],
    X[1::3, ::2, 5::1],
    X[:, :, ::7],
    X[-3:-1],
    X[3:1],
    X[5:],
    X[0:0, 1:2],
    X[:100],
    X[-100:2],
    X[2, 1:5:3, -2:],
    X[np.int64(1), np.uint8(2)],
    X[slice(np.int32(1), np.int64(4))],
    X[:, ..., :, :],
]
WRONG = [
    X[5],
    X[-6],
    X[0, 6],
    X[0, 0, 0, 0],
    X[..., ...],
    X[::-1],
    X[:, ::0],
    X[1.0],
    X["a"],
    X[None],
    X[0.5:2],
    X[0, None, 1],
    X[10**30],
    X[:, :, :, :],
]
ORTHOGONAL = [
    X[[0, 2]],
    X[[2, 0]],
    X[[1, 1]],
    X[[-1, 0], [3]],
    X[[0, 2], [1, 3, 5], [6]],
    X[:, [1, 4], 2],
    X[1, [1, 4]],
    X[[0], 1:5, ::2],
    X[np.array([True, False, True, False, True])],
    X[[True, False, True, False, True], :, [0, 6]],
    X[:, np.zeros(6, bool)],
    X[np.array([], "int64")],
    X[[], [0]],
    X[..., [6, 5, 4, 3, 2, 1, 0]],
    X[2, 3, 4],
    X[3:1, [2]],
]
ORTHOGONAL_WRONG = [
    X[[5]],
    X[[0, -6]],
    X[[True, False]],
    X[[[0, 1], [1, 2]]],
    X[[0.5]],
    X[[0], [0], [0], [0]],
    X[["a"]],
    X[::-1, [0]],
    X[[0], 9],
    X[None, [0]],
]
COORDINATES = [
    X[[0, 1], [2, 3], [4, 5]],
    X[[4, 0, 2], [0, 0, 0], [6, 6, 1]],
    X[[1, 1], [2, 2], [3, 3]],
    X[[-1, -5], [-6, 5], [0, -7]],
    X[[0, 1], 2, [3, 4]],
    X[np.array([[0, 1], [2, 3]]), np.array([[0, 1], [2, 3]]), np.array([[5, 5], [5, 5]])],
    X[np.array([[0], [1]]), np.array([[0, 1, 2]]), 3],
    X[[], [], []],
    X[1, 2, 3],
    X[np.array([3], "uint8"), np.array([3], "uint16"), np.array([3])],
]
COORDINATES_WRONG = [
    X[[0, 1], [2, 3]],
    X[[5], [0], [0]],
    X[[0], [0], [-8]],
    X[[0, 1], [0, 1, 2], [0]],
    X[[0.5], [0], [0]],
    X[:, [0], [0]],
    X[..., [0]],
    X[None],
]
MASKS = [
    numbers() % 2 == 0,
    np.zeros(SHAPE, bool),
    np.ones(SHAPE, bool),
    numbers() == 17,
]
MASKS_WRONG = [
    np.ones((5, 6), bool),
    np.ones((5, 6, 8), bool),
    [True, False],
    np.ones(5, bool),
    np.ones(SHAPE, int),
]
BLOCKS = [X[0], X[-1], X[0, 1, 1], X[2, 1], X[:, 0], X[1:], X[:2, :, 1], X[..., -1], X[1, ..., 0], X[1:1]]
BLOCKS_WRONG = [X[9], X[-9], X[0, 0, 0, 0], X[::2], X[[0]], X[..., ...], X["a"], X[0.5]]


def way_of(name):
    """How an array is indexed: by itself, or by one of its properties."""
    return {
        "getitem": lambda a: a,
        "oindex": lambda a: a.oindex,
        "vindex": lambda a: a.vindex,
        "blocks": lambda a: a.blocks,
    }[name]


CHOICES = (
    [("getitem", s) for s in (*BASIC, *WRONG, *ORTHOGONAL, *ORTHOGONAL_WRONG, *COORDINATES, *MASKS)]
    + [("getitem", s) for s in (*COORDINATES_WRONG, *MASKS_WRONG)]
    + [("oindex", s) for s in (*ORTHOGONAL, *ORTHOGONAL_WRONG, *BASIC, *WRONG)]
    + [("vindex", s) for s in (*COORDINATES, *COORDINATES_WRONG, *MASKS, *MASKS_WRONG)]
    + [("blocks", s) for s in (*BLOCKS, *BLOCKS_WRONG)]
)


def outcome(action):
    """What came of it: the result in a form that can be compared, or the class of the error."""
    try:
        result = action()
    except Exception as error:  # noqa: BLE001 - whatever zarr raises is what is asked for
        return "error", type(error)
    if result is None:
        return "nothing", None
    array = np.asarray(result)
    return "value", (type(result).__name__, array.dtype, array.shape, array.tobytes())


#: Every case on its own engine; and some through zarr-python though TensorStore could.
ROADS = [(case, False) for case in EVERY] + [(case, True) for case in ("v2", "v3", "v3 sharded")]


@pytest.fixture(params=ROADS, ids=lambda p: f"{p[0]}{', by zarr' * p[1]}")
def road(request, tmp_path):
    """A full array of each kind, on the engine that serves it: where it is, and the array."""
    return fill(tmp_path, *request.param)


def fill(directory, case, by_zarr):
    root = root_of(case, directory)
    made = make_zarr(root, case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made[...] = numbers(dtype=made.dtype)
    return root, reopened(root, EVERY[case][0], by_zarr=by_zarr)


@functools.lru_cache
def of_zarr(dtype, shards):
    """What zarr alone makes of each selection of such an array."""
    array = zarr.create_array(
        MemoryStore(), shape=SHAPE, chunks=(2, 3, 4), shards=shards, dtype=dtype, compressors=None
    )
    array[...] = numbers(dtype=dtype)
    return [outcome(lambda w=way, s=s: way_of(w)(array)[s]) for way, s in CHOICES]


def test_each_array_is_served_by_the_engine_that_can(tmp_path):
    for case in EVERY:
        root = root_of(case, tmp_path / case)
        make_zarr(root, case)
        array = reopened(root, EVERY[case][0])
        assert (array._engine.handle(writable=False) is not None) == (case in SERVED), case
        assert (array._engine.handle(writable=True) is not None) == (case in SERVED), case
        assert (array._engine.refusal is None) == (case in SERVED), case


# --- reading --------------------------------------------------------------------------------------


def test_reading_is_as_in_zarr(road):
    _, array = road
    wrong = []
    for (way, selection), expected in zip(CHOICES, of_zarr(array.dtype.str, array.shards), strict=True):
        got = outcome(lambda w=way, s=selection: way_of(w)(array)[s])
        same_error = got[0] == expected[0] == "error" and issubclass(got[1], expected[1])
        if got != expected and not same_error:
            wrong.append(f"{way}[{selection!r}]: {str(got)[:200]} and not {str(expected)[:200]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("by_zarr", [False, True])
@pytest.mark.parametrize(
    "selection",
    [X[np.array(3)], X[np.array(3), 1], X[0, np.array(3)], X[np.array(-1), ..., np.array(2)]],
    ids=repr,
)
def test_an_array_without_dimensions_is_an_integer_on_both_engines(tmp_path, selection, by_zarr):
    _, array = fill(tmp_path, "v3 sharded", by_zarr)
    np.testing.assert_array_equal(array[selection], numbers()[selection])


@pytest.mark.parametrize("by_zarr", [False, True])
@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint32", "uint64"])
def test_indices_may_be_of_any_integer_type_on_both_engines(tmp_path, kind, by_zarr):
    _, array = fill(tmp_path, "v3", by_zarr)
    first, last = np.array([1, 3], kind), np.array([0, 6], kind)
    np.testing.assert_array_equal(array.oindex[first, :, last], numbers()[np.ix_([1, 3], range(6), [0, 6])])
    np.testing.assert_array_equal(array.vindex[first, first, last], numbers()[[1, 3], [1, 3], [0, 6]])
    array.oindex[first, :, last] = 9
    assert (array[...] == 9).sum() == 24 + 1  # one was 9 before


def test_what_zarr_alone_takes_is_taken(road):
    _, array = road
    out = zarr.core.buffer.default_buffer_prototype().nd_buffer.create(shape=(2, 6, 7), dtype=array.dtype)
    array.get_basic_selection(X[1:3], out=out)
    np.testing.assert_array_equal(out.as_ndarray_like(), numbers(dtype=array.dtype)[1:3])
    with pytest.raises(Exception, match=r"(?i)field"):
        array.get_basic_selection(X[1:3], fields=["a"])


def test_the_selection_methods_by_name(road):
    _, array = road
    pixels = numbers(dtype=array.dtype)
    mask = numbers() % 3 == 0
    np.testing.assert_array_equal(array.get_basic_selection(), pixels)
    np.testing.assert_array_equal(array.get_basic_selection(X[1, ::2]), pixels[1, ::2])
    np.testing.assert_array_equal(array.get_orthogonal_selection(X[[0, 2], 1]), pixels[[0, 2], 1])
    np.testing.assert_array_equal(array.get_coordinate_selection(([0], [1], [2])), pixels[[0], [1], [2]])
    np.testing.assert_array_equal(array.get_mask_selection(mask), pixels[mask])
    units = array.shards or array.chunks
    np.testing.assert_array_equal(array.get_block_selection(X[1]), pixels[units[0] : 2 * units[0]])
    one, zero = array.dtype.type(1), array.dtype.type(0)
    array.set_basic_selection(X[...], zero)
    array.set_basic_selection(X[0], one)
    array.set_orthogonal_selection(X[[1], [1], [1, 2]], one)
    array.set_coordinate_selection(([4, 4], [5, 5], [0, 6]), one)
    array.set_mask_selection(numbers() == 100, one)
    expected = np.zeros(SHAPE, array.dtype)
    expected[0] = expected[1, 1, 1:3] = expected[4, 5, [0, 6]] = expected[numbers() == 100] = 1
    np.testing.assert_array_equal(array[...], expected)
    array.set_block_selection(X[0, 0, 0], zero)
    expected[tuple(slice(0, u) for u in units)] = 0
    np.testing.assert_array_equal(array[...], expected)


# --- writing --------------------------------------------------------------------------------------


def numpy_index(way, selection, units):
    """The selection as numpy wants it."""
    if way == "blocks":
        parts = []
        items = selection if isinstance(selection, tuple) else (selection,)
        if Ellipsis in items:
            place = items.index(Ellipsis)
            items = (*items[:place], *[slice(None)] * (4 - len(items)), *items[place + 1 :])
        items = (*items, *[slice(None)] * (3 - len(items)))
        for item, unit, size in zip(items, units, SHAPE, strict=True):
            chosen = np.arange(size)
            blocks = np.arange(-(-size // unit))[item]
            parts.append(chosen[np.isin(chosen // unit, blocks)])
        return np.ix_(*parts)
    if way == "oindex" or (way == "getitem" and not isinstance(selection, np.ndarray)):
        items = selection if isinstance(selection, tuple) else (selection,)
        lists = [i for i in items if isinstance(i, (list, np.ndarray))]
        if way == "oindex" or len(lists) < len(items) or len(lists) == 1:
            return orthogonal_index(items) if lists else selection
    return selection


def orthogonal_index(items):
    """One index per axis for ``np.ix_``, and the axes that integers drop."""
    place = [i for i, item in enumerate(items) if item is Ellipsis]
    if place:
        items = (*items[: place[0]], *[slice(None)] * (4 - len(items)), *items[place[0] + 1 :])
    items = (*items, *[slice(None)] * (3 - len(items)))
    return np.ix_(*(np.atleast_1d(np.arange(size)[item]) for item, size in zip(items, SHAPE, strict=True)))


WRITES = (
    [("getitem", s) for s in (*BASIC, *ORTHOGONAL, *MASKS)]
    + [("oindex", s) for s in (*ORTHOGONAL, *BASIC)]
    + [("vindex", s) for s in (*COORDINATES, *MASKS)]
    + [("blocks", s) for s in BLOCKS]
)


def test_writing_is_as_in_numpy(road):
    """Scalars, whole arrays and broadcast ones, one after the other; what others are written stays."""
    root, array = road
    expected = numbers(dtype=array.dtype)
    units = array.shards or array.chunks
    wrong = []
    read = dict(zip(map(repr, CHOICES), of_zarr(array.dtype.str, array.shards), strict=True))
    for turn, (way, selection) in enumerate(WRITES):
        if read[repr((way, selection))][0] == "error":
            continue  # img[[0, 1], [2]] is for oindex
        index = numpy_index(way, selection, units)
        shape = np.shape(way_of(way)(array)[selection])
        value = (turn % 50 + 1) * np.ones((), array.dtype)
        if turn % 3 == 1:
            value = numbers(shape, array.dtype, start=turn)
        elif turn % 3 == 2:
            value = numbers(shape[-1:], array.dtype, start=turn)
        full = np.broadcast_to(value, shape)
        expected[index] = full.reshape(expected[index].shape)
        try:
            way_of(way)(array)[selection] = value
        except Exception as error:  # noqa: BLE001 - all of them are reported at once
            wrong.append(f"{way}[{selection!r}] = {np.shape(value)}: {type(error).__name__}: {error}")
        got = array[...]
        if not np.array_equal(got, expected):
            wrong.append(
                f"{way}[{selection!r}] = {np.shape(value)}: {(got != expected).sum()} elements differ"
            )
            array[...] = expected
    assert not wrong, "\n".join(wrong)
    np.testing.assert_array_equal(plain(root)[...], expected)


@pytest.mark.parametrize(
    ("case", "by_zarr"), [("v2", False), ("v3 sharded", False), ("v3 sharded", True), ("v2 lz4", False)]
)
def test_a_wrong_selection_is_the_same_error_when_writing(tmp_path, case, by_zarr):
    _, array = fill(tmp_path, case, by_zarr)
    reference = plain(tmp_path)
    choices = [("getitem", s) for s in (*WRONG, *ORTHOGONAL_WRONG)]
    choices += [("oindex", s) for s in ORTHOGONAL_WRONG] + [("vindex", s) for s in COORDINATES_WRONG]
    choices += [("vindex", s) for s in MASKS_WRONG] + [("blocks", s) for s in BLOCKS_WRONG]
    before = array[...]
    for way, selection in choices:
        expected = outcome(lambda w=way, s=selection: way_of(w)(reference).__setitem__(s, 1))
        if expected[0] != "error":
            continue  # zarr takes it, whatever it makes of it
        got = outcome(lambda w=way, s=selection: way_of(w)(array).__setitem__(s, 1))
        assert got[0] == "error", (way, selection)
        assert issubclass(got[1], expected[1]), (way, selection, got, expected)
    np.testing.assert_array_equal(array[...], np.where(plain(tmp_path)[...] == before, before, array[...]))


WRONG_SHAPES = [
    (X[...], (5, 6)),
    (X[...], (5, 6, 8)),
    (X[...], (6, 6, 7)),
    (X[...], (210,)),
    (X[0], (5, 6, 7)),
    (X[0], (7, 6)),
    (X[0, 0], (6,)),
    (X[0, 0, 0], (2,)),
    (X[1:3], (3, 6, 7)),
    (X[::2], (5, 6, 7)),
    (X[[0, 1]], (3, 6, 7)),
    (X[[0, 1], [0, 1], [0, 1]], (3,)),
    (X[numbers() == 5], (2,)),
    (X[3:3], (2, 6, 7)),
]


@pytest.mark.parametrize(("selection", "shape"), WRONG_SHAPES, ids=lambda v: str(v)[:30])
def test_data_of_a_wrong_shape_is_a_value_error_and_changes_nothing(tmp_path, selection, shape):
    for name, case, by_zarr in (
        ("a", "v3 sharded", False),
        ("b", "v3 sharded", True),
        ("c", "v2 lz4", False),
    ):
        root, array = fill(tmp_path / name, case, by_zarr)
        with pytest.raises(ValueError, match="shape"):
            array[selection] = np.zeros(shape, "uint16")
        np.testing.assert_array_equal(plain(root)[...], numbers())


def test_numbers_are_cast_as_in_zarr(road):
    _, array = road
    reference = zarr.create_array(MemoryStore(), shape=SHAPE, chunks=(2, 3, 4), dtype=array.dtype)
    real = array.dtype.kind != "b"
    values = [3, 2.0, True, np.uint8(7), np.float64(4.75), np.array(5), [1] * 7, np.full(7, 3.9)]
    values += [np.arange(7, dtype=">i4"), np.arange(7, dtype="int8"), np.arange(14.0)[::2]]
    values += (
        [70000, -1, 2**70, -(2**70), np.int64(70000), np.int64(-1), 1e300, np.full(7, -1)] if real else []
    )
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for value in values:
            theirs = outcome(
                lambda v=value: reference.__setitem__(X[1, 2], np.broadcast_to(v, 7) if np.ndim(v) else v)
            )
            ours = outcome(lambda v=value: array.__setitem__(X[1, 2], v))
            assert ours[0] == theirs[0], (value, ours, theirs)
            if ours[0] == "error":
                assert issubclass(ours[1], theirs[1]), (value, ours, theirs)
            np.testing.assert_array_equal(array[1, 2], reference[1, 2], err_msg=repr(value))


@pytest.mark.parametrize("value", [None, "a", {}, [1, [2]], object()], ids=lambda v: type(v).__name__)
def test_what_is_no_number_is_an_error_and_changes_nothing(tmp_path, value):
    for name, by_zarr in (("a", False), ("b", True)):
        root, array = fill(tmp_path / name, "v3", by_zarr)
        with pytest.raises((ValueError, TypeError)):
            array[0] = value
        np.testing.assert_array_equal(plain(root)[...], numbers())


@pytest.mark.parametrize("by_zarr", [False, True])
def test_data_may_lie_in_memory_in_any_way(tmp_path, by_zarr):
    _, array = fill(tmp_path, "v3 sharded", by_zarr)
    fresh = numbers(start=500)
    for data in (
        np.asfortranarray(fresh),
        np.ascontiguousarray(fresh[::-1])[::-1],
        np.stack([fresh, fresh], -1)[..., 0],
        np.broadcast_to(fresh[:1, :1], SHAPE),
        np.ma.masked_array(fresh),
        fresh.view(np.matrix) if fresh.ndim == 2 else fresh.tolist(),
    ):
        array[...] = 0
        array[...] = data
        np.testing.assert_array_equal(array[...], np.asarray(data))


def test_what_was_read_is_the_callers_own(road):
    _, array = road
    pixels = array[...]
    assert pixels.flags.writeable
    pixels[...] = 0
    np.testing.assert_array_equal(array[...], numbers(dtype=array.dtype))


def test_repeated_places_take_the_last_value(tmp_path):
    for name, by_zarr in (("a", False), ("b", True)):
        _, array = fill(tmp_path / name, "v2", by_zarr)
        array.vindex[[1, 1, 1], [2, 2, 2], [3, 3, 3]] = [7, 8, 9]
        assert array[1, 2, 3] == 9
        array.oindex[[1, 1]] = np.stack([np.full((6, 7), 5), np.full((6, 7), 6)])
        assert (array[1] == 6).all()


# --- any selection --------------------------------------------------------------------------------


def slices(size):
    ends = st.none() | st.integers(-size - 2, size + 2)
    return st.builds(slice, ends, ends, st.none() | st.integers(1, size + 1))


def axis_index(size):
    return st.integers(-size, size - 1) | slices(size)


def many(size):
    return (
        st.lists(st.integers(-size, size - 1), min_size=1, max_size=5)
        | st.lists(st.booleans(), min_size=size, max_size=size).map(np.array)
        | st.lists(st.integers(-size, size - 1), max_size=4).map(lambda v: np.array(v, "int32"))
    )


@st.composite
def selections(draw):
    """A way and a selection that numpy understands too, and numpy's form of it."""
    way = draw(st.sampled_from(["getitem", "oindex", "vindex", "mask"]))
    if way == "getitem":
        items = [draw(axis_index(n)) for n in SHAPE]
        cut = draw(st.integers(0, 3))
        chosen = tuple(items[:cut]) + draw(st.sampled_from([(), (...,)]))
        return way, chosen, chosen
    if way == "oindex":
        items = [draw(axis_index(n) | many(n)) for n in SHAPE]
        return way, tuple(items), orthogonal_index(tuple(items))
    if way == "vindex":
        count = draw(st.integers(0, 6))
        points = tuple(
            np.array(draw(st.lists(st.integers(-n, n - 1), min_size=count, max_size=count)), "int64")
            for n in SHAPE
        )
        return way, points, points
    mask = np.random.default_rng(draw(st.integers(0, 99))).random(SHAPE) < draw(
        st.sampled_from([0, 0.1, 0.9, 1])
    )
    return "vindex", mask, mask


@pytest.fixture(scope="module")
def pool_of_arrays(tmp_path_factory):
    """Arrays that the random selections go to, made once."""
    roads = [
        ("v2", False),
        ("v2", True),
        ("v3 sharded", False),
        ("v3 sharded", True),
        ("v3 transposed", False),
    ]
    return [fill(tmp_path_factory.mktemp("any"), *each)[1] for each in roads]


@settings(quick, max_examples=examples(60))
@given(chosen=selections())
def test_any_selection_reads_what_numpy_reads(pool_of_arrays, chosen):
    way, selection, index = chosen
    for array in pool_of_arrays:
        array[...] = numbers()
        got = way_of(way)(array)[selection]
        np.testing.assert_array_equal(np.ravel(got), numbers()[index].ravel())
        dropped = way == "getitem" or not isinstance(index, tuple) or way == "vindex"
        assert np.shape(got) == (np.shape(numbers()[index]) if dropped else kept_shape(selection))


def kept_shape(items):
    return tuple(
        len(np.arange(size)[item])
        for item, size in zip(items, SHAPE, strict=True)
        if not isinstance(item, int)
    )


@settings(quick, max_examples=examples(40))
@given(chosen=selections(), scalar=st.booleans())
def test_any_selection_writes_what_numpy_writes(pool_of_arrays, chosen, scalar):
    way, selection, index = chosen
    expected = numbers()
    count = expected[index].size
    fresh = np.uint16(7) if scalar else numbers((count,), start=1000)
    expected[index] = fresh if scalar else fresh.reshape(expected[index].shape)
    for array in pool_of_arrays:
        array[...] = numbers()
        shape = np.shape(way_of(way)(array)[selection])
        way_of(way)(array)[selection] = fresh if scalar else fresh.reshape(shape)
        np.testing.assert_array_equal(array[...], expected)


@settings(quick, max_examples=examples(20))
@given(data=st.data())
def test_any_blocks(pool_of_arrays, data):
    for array in pool_of_arrays:
        units = array.shards or array.chunks
        grid = [-(-n // u) for n, u in zip(SHAPE, units, strict=True)]
        items = tuple(data.draw(st.integers(-g, g - 1) | st.just(slice(None))) for g in grid)
        array[...] = expected = numbers()
        index = numpy_index("blocks", items, units)
        np.testing.assert_array_equal(array.blocks[items], expected[index])
        array.blocks[items] = fresh = numbers(expected[index].shape, start=1000)
        expected[index] = fresh
        np.testing.assert_array_equal(array[...], expected)
