"""The exact reductions: what becomes of every window, in which memory, and from several threads."""

from __future__ import annotations

import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise, product

import numpy as np
import pytest
import tensorstore
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pyramid_reference import exact_mean, reduce_reference, windows

from conftest import examples
from platestore.errors import ArgumentError
from platestore.pyramid import kernels
from platestore.pyramid.kernels import SCRATCH_BYTES, check_method, reduce_block, reduced_shape
from platestore.spec.reductions import METHODS as ALL_METHODS

METHODS = [name for name, method in ALL_METHODS.items() if not method.overlaps]

INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
FLOATS = ("float16", "float32", "float64")
DTYPES = ("bool", *INTEGERS, *FLOATS)
SAME = ("median", "mode", "min", "max", "stride")


def same_bytes(ours: np.ndarray, other: np.ndarray) -> bool:
    return ours.dtype == other.dtype and ours.shape == other.shape and ours.tobytes() == other.tobytes()


def noise(dtype: str, shape: tuple[int, ...], seed: int = 0, values: int | None = None) -> np.ndarray:
    """Any value of the type; or, with `values`, that many different ones."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if values is not None:
        return rng.integers(0, values, shape).astype(dtype)
    if kind.kind == "b":
        return rng.random(shape) < 0.5
    if kind.kind == "f":
        return (rng.standard_normal(shape) * 10.0 ** rng.integers(-3, 4, shape)).astype(dtype)
    limits = np.iinfo(kind)
    return rng.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)


def labels(dtype: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Boxes of one value on ground of another."""
    rng = np.random.default_rng(seed)
    picture = np.zeros(shape, dtype)
    for number in range(1, 9):
        corner = [int(rng.integers(0, n)) for n in shape]
        picture[tuple(slice(c, c + max(2, n // 3)) for c, n in zip(corner, shape, strict=True))] = number
    return picture


def assert_mean_of_floats(block: np.ndarray, factors: tuple[int, ...], result: np.ndarray) -> None:
    """Within one rounding of the type, and the rounding of sums in double precision."""
    for place, pixels in windows(block, factors):
        exact = exact_mean(pixels)
        got = result[place]
        if isinstance(exact, float):
            np.testing.assert_equal(float(got), exact)
            continue
        size = np.abs(block.dtype.type(float(exact)))
        step = float(np.spacing(np.nextafter(size, size.dtype.type(0))))  # that of the largest is no number
        slack = step + len(pixels) * 2.0**-52 * max(abs(float(p)) for p in pixels)
        assert np.isfinite(got)
        assert abs(float(got) - float(exact)) <= slack


def assert_as_reference(block: np.ndarray, factors: tuple[int, ...], method: str) -> None:
    result = reduce_block(block, factors, method)
    assert result.dtype == block.dtype.newbyteorder("=")
    assert result.dtype.isnative
    if method == "mean" and block.dtype.kind == "f":
        assert_mean_of_floats(block, factors, result)
    else:
        np.testing.assert_array_equal(result, reduce_reference(block, factors, method))


@st.composite
def blocks(draw: st.DrawFn, dtypes=DTYPES) -> tuple[np.ndarray, tuple[int, ...]]:
    """Small blocks of any type, with factors; often of few values, so that modes tie and means are halves."""
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=5))
    factors = tuple(draw(st.integers(1, 4)) for _ in shape)
    elements = hnp.from_dtype(dtype)
    if draw(st.booleans()):
        elements = st.sampled_from(draw(st.lists(elements, min_size=1, max_size=4)))
    return draw(hnp.arrays(dtype, shape, elements=elements)), factors


# --- every method, type, shape and factor against exact arithmetic ------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=examples(120), deadline=None)
@given(case=blocks())
def test_any_block_is_reduced_as_exact_arithmetic_has_it(method, case):
    assert_as_reference(*case, method)


@pytest.mark.parametrize("factors", [(1, 2, 1), (2, 1, 1), (2, 2, 1), (1, 2, 2), (1, 1, 3)], ids=str)
def test_a_mean_that_overflows_leaves_its_neighbours_alone(factors):
    largest = np.finfo("float64").max
    block = np.array(
        [[[1.0, 0.75 * largest, 3.0], [2.0, largest, 5.0]], [[4.0, -largest, 7.0], [6.0, 2.0, 9.0]]]
    )
    assert_as_reference(block, factors, "mean")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_and_type_on_odd_and_even_shapes(method, dtype):
    cases = [
        ((5, 7, 9), (2, 2, 2)),
        ((4, 6, 8), (2, 2, 2)),
        ((3, 7, 9), (1, 2, 2)),
        ((9, 11), (2, 2)),
        ((7, 10), (3, 3)),
        ((8, 9), (4, 4)),
        ((11,), (2,)),
        ((6, 7), (2, 1)),
        ((2, 1, 3, 5, 7), (1, 1, 2, 2, 2)),
    ]
    for shape, factors in cases:
        for values in (None, 2, 5):
            assert_as_reference(noise(dtype, shape, values=values), factors, method)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "float16", "float32"])
@pytest.mark.parametrize("method", ["median", "mode", "mean"])
@pytest.mark.parametrize("factors", [(5, 13), (9, 9), (1, 65), (17, 17)])
def test_large_windows(method, dtype, factors):
    assert_as_reference(noise(dtype, (17, 70)), factors, method)
    assert_as_reference(noise(dtype, (17, 70), values=2), factors, method)


def test_mode_counts_beyond_the_range_of_its_pixels():
    block = np.zeros((20, 20), np.uint8)
    block[:, :9] = 7
    assert reduce_block(block, (20, 20), "mode").item() == 0
    block[:, :11] = 7
    assert reduce_block(block, (20, 20), "mode").item() == 7
    wide = np.zeros((300, 300), np.uint16)
    wide[:, :151] = 65535
    assert reduce_block(wide, (300, 300), "mode").item() == 65535


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_labels_large_enough_for_many_pieces(dtype, method):
    # Inside, between and across labels: compared with the windows laid out by numpy.
    block = labels(dtype, (6, 512, 514))
    laid = block.reshape(3, 2, 256, 2, 257, 2).transpose(0, 2, 4, 1, 3, 5).reshape(3, 256, 257, 8)
    result = reduce_block(block, (2, 2, 2), method)
    ordered = np.sort(laid, axis=-1)
    if method == "mean":
        expected = np.rint(laid.mean(-1, dtype=np.float64)).astype(dtype)
        if block.dtype.kind == "f":
            expected = laid.mean(-1, dtype=np.float64).astype(dtype)
    elif method == "mode":
        counts = (ordered[..., :, None] == ordered[..., None, :]).sum(-1)
        expected = np.take_along_axis(ordered, counts.argmax(-1)[..., None], -1)[..., 0]
    else:
        expected = {
            "median": ordered[..., 3],
            "min": ordered[..., 0],
            "max": ordered[..., 7],
            "stride": laid[..., 0],
        }[method]
    np.testing.assert_array_equal(result, expected)


# --- means --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("factors", [(2, 2), (1, 2), (2, 1), (3, 3), (4, 4), (16, 16), (5, 7)])
def test_means_at_the_limits_of_integers_are_exact(dtype, factors):
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(1)
    shape = tuple(5 * f for f in factors)
    extremes = np.array([limits.min, limits.min + 1, limits.max - 1, limits.max], dtype)
    for block in (
        np.full(shape, limits.max, dtype),
        np.full(shape, limits.min, dtype),
        rng.choice(extremes, shape),
        rng.choice(extremes[:2], shape),
        rng.choice(extremes[2:], shape),
    ):
        assert_as_reference(block, factors, "mean")


@pytest.mark.parametrize("dtype", INTEGERS)
def test_means_on_a_half_go_to_the_even_neighbour(dtype):
    pairs = np.array([[0, 1], [1, 2], [2, 3], [3, 4], [4, 5]], dtype)
    assert reduce_block(pairs, (1, 2), "mean").ravel().tolist() == [0, 2, 2, 4, 4]
    if np.dtype(dtype).kind == "i":
        assert reduce_block(-pairs, (1, 2), "mean").ravel().tolist() == [0, -2, -2, -4, -4]
    sixes = np.array([[0, 0, 0, 1, 1, 1], [1, 1, 1, 2, 2, 2]], dtype)
    assert reduce_block(sixes, (1, 6), "mean").ravel().tolist() == [0, 2]


def test_the_mean_of_bools_is_true_for_more_than_half():
    block = np.array([[1, 0, 1, 1], [0, 1, 0, 1]], bool)
    assert reduce_block(block, (2, 2), "mean").tolist() == [[False, True]]
    assert reduce_block(np.array([True, True, False]), (3,), "mean").tolist() == [True]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_floats_are_summed_in_double_precision_and_rounded_once(dtype):
    largest = float(np.finfo(dtype).max)
    assert reduce_block(np.full(4, largest, dtype), (4,), "mean").tolist() == [largest]
    large = 2.0 ** (np.finfo(dtype).nmant + 2)
    kept = np.array([large, 1, -large, 1], dtype)
    assert reduce_block(kept, (4,), "mean").tolist() == [0.5]


@pytest.mark.parametrize("factor", [2, 3, 5, 7, 8])
def test_sums_of_doubles_that_overflow_still_have_a_mean(factor):
    largest = np.finfo(np.float64).max
    block = np.full((2, factor), largest)
    block[1] *= -1
    np.testing.assert_allclose(
        reduce_block(block, (1, factor), "mean").ravel(), [largest, -largest], rtol=1e-15
    )
    assert reduce_block(np.array([largest, largest, -largest, -largest]), (4,), "mean").tolist() == [0.0]


@pytest.mark.parametrize("dtype", FLOATS)
def test_means_of_infinities(dtype):
    inf, nan = np.inf, np.nan
    block = np.array([[inf, 1], [-inf, 1], [inf, inf], [inf, -inf], [nan, inf], [1, 2]], dtype)
    np.testing.assert_array_equal(
        reduce_block(block, (1, 2), "mean").ravel(), np.array([inf, -inf, inf, nan, nan, 1.5], dtype)
    )


# --- NaN and zeros ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("method", ["mean", "median", "mode", "min", "max"])
@pytest.mark.parametrize("factors", [(2, 2), (3, 3), (9, 9)])
def test_a_nan_anywhere_makes_its_window_nan_and_no_other(method, dtype, factors):
    clean = noise(dtype, (18, 18))
    expected = reduce_block(clean, factors, method)
    for place in product(range(factors[0]), range(factors[1])):
        block = clean.copy()
        block[place] = np.nan
        result = reduce_block(block, factors, method)
        assert np.isnan(result[0, 0])
        result[0, 0] = expected[0, 0]
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("method", ["mean", "median", "mode", "min", "max"])
def test_every_nan_of_a_result_is_the_same_one(method):
    bits = np.array([0x7FC00000, 0xFFC00001, 0x7FC12345, 0xFFFFFFFF], np.uint32)
    block = np.random.default_rng(0).choice(bits, (64, 66)).view(np.float32)
    result = reduce_block(block, (2, 2), method)
    assert np.isnan(result).all()
    assert np.unique(result.view(np.uint32)).size == 1


def test_both_zeros_count_as_one_value():
    block = np.array([[-0.0, 0.0, 1.0, 1.0, 0.0]])
    assert reduce_block(block, (1, 5), "mode").tolist() == [[0.0]]


# --- the same answer however it is asked --------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=examples(60), deadline=None)
@given(case=blocks(), data=st.data())
def test_any_division_into_blocks_gives_the_same_bytes(method, case, data):
    block, factors = case
    whole = reduce_block(block, factors, method)
    parts = np.empty_like(whole)
    cuts = []
    for n in whole.shape:
        inner = data.draw(st.sets(st.integers(0, n), max_size=2))
        cuts.append(list(pairwise(sorted({0, n, *inner}))))
    for box in product(*cuts):
        source = tuple(slice(a * f, b * f) for (a, b), f in zip(box, factors, strict=True))
        reduce_block(block[source], factors, method, out=parts[tuple(slice(a, b) for a, b in box)])
    assert same_bytes(parts, whole)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint16", "int64"])
@pytest.mark.parametrize("method", METHODS)
def test_large_blocks_and_small_ones_give_the_same_bytes(method, dtype):
    block = noise(dtype, (5, 301, 403))
    if block.dtype.kind == "f":
        picks = np.random.default_rng(3).integers(0, 40, block.shape)
        block[picks == 0] = 0.0
        block[picks == 1] = -0.0
        block[picks == 2] = np.nan
        block[picks == 3] = -np.nan
        block[picks == 4] = np.inf
        block[picks == 5] = np.finfo(dtype).max
    factors = (2, 2, 3)
    whole = reduce_block(block, factors, method)
    parts = np.empty_like(whole)
    for z, y, x in product(range(3), range(0, 151, 37), range(0, 135, 50)):
        reduce_block(
            block[2 * z : 2 * z + 2, 2 * y : 2 * y + 74, 3 * x : 3 * x + 150],
            factors,
            method,
            out=parts[z : z + 1, y : y + 37, x : x + 50],
        )
    assert same_bytes(parts, whole)


def layouts(block: np.ndarray) -> dict[str, np.ndarray]:
    """The same pixels, laid out in other ways."""
    wide = np.zeros(tuple(n + 3 for n in block.shape), block.dtype)
    crop = wide[tuple(slice(1, n + 1) for n in block.shape)]
    crop[...] = block
    sparse = np.zeros(tuple(2 * n for n in block.shape), block.dtype)[(slice(None, None, 2),) * block.ndim]
    sparse[...] = block
    turned = (slice(None, None, -1),) * block.ndim
    raw = bytearray(block.nbytes + 1)
    unaligned = np.frombuffer(raw, block.dtype, block.size, offset=1).reshape(block.shape)
    unaligned[...] = block
    frozen = block.copy()
    frozen.flags.writeable = False
    return {
        "crop": crop,
        "every other": sparse,
        "Fortran": np.asfortranarray(block),
        "backward": block[turned].copy()[turned],
        "unaligned": unaligned,
        "read-only": frozen,
        "other byte order": block.astype(block.dtype.newbyteorder("S")),
        "repeated": np.broadcast_to(block[:1], block.shape),
    }


@pytest.mark.parametrize("factors", [(2, 2, 2), (1, 2, 2), (2, 1, 3), (1, 1, 2)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", METHODS)
def test_the_layout_of_a_block_in_memory_does_not_matter(method, dtype, factors):
    for block in (noise(dtype, (4, 7, 10)), labels(dtype, (4, 7, 10))):
        for name, other in layouts(block).items():
            expected = reduce_block(np.array(other, block.dtype, order="C"), factors, method)
            assert same_bytes(reduce_block(other, factors, method), expected), name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", METHODS)
def test_a_result_goes_into_any_part_of_a_larger_array(method, dtype):
    block = noise(dtype, (3, 9, 11))
    expected = reduce_block(block, (2, 2, 2), method)
    for order in ("=", "S"):
        larger = np.zeros((4, 12, 14), np.dtype(dtype).newbyteorder(order))
        part = larger[1:3, 2:12:2, 13:1:-2]
        assert reduce_block(block, (2, 2, 2), method, out=part) is part
        np.testing.assert_array_equal(part, expected)
        part[...] = 0
        assert not larger.any()


@pytest.mark.parametrize("method", METHODS)
def test_the_block_itself_is_not_changed(method):
    for dtype in DTYPES:
        block = noise(dtype, (6, 8, 10))
        before = block.tobytes()
        reduce_block(block, (2, 2, 2), method)
        assert block.tobytes() == before
    zero = np.array([[-0.0]])
    zero.flags.writeable = False
    reduce_block(zero, (2, 2), method)
    assert np.signbit(zero).all()


# --- shapes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
def test_axes_of_one_and_factors_beyond_the_axis(method, dtype):
    for shape, factors in [
        ((1, 1, 6), (2, 2, 2)),
        ((6, 1), (2, 2)),
        ((3, 2), (7, 5)),
        ((1,), (9,)),
        ((1, 1), (3, 3)),
    ]:
        assert_as_reference(noise(dtype, shape), factors, method)


@pytest.mark.parametrize("method", METHODS)
def test_factors_of_one_copy(method):
    block = noise("float32", (3, 4))
    result = reduce_block(block, (1, 1), method)
    assert same_bytes(result, block)
    assert not np.shares_memory(result, block)
    assert reduce_block(np.array(3, np.uint8), (), method) == 3


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_block_gives_an_empty_result(method):
    assert reduce_block(np.zeros((0, 5), np.uint16), (2, 2), method).shape == (0, 3)


@given(st.lists(st.tuples(st.integers(0, 10**12), st.integers(1, 100)), max_size=5))
@example([(7, 2), (1, 2), (0, 2)])
def test_lengths_are_divided_and_rounded_up(axes):
    shape = reduced_shape([n for n, _ in axes], [f for _, f in axes])
    assert all((m - 1) * f < n <= m * f or (n == 0 and m == 0) for m, (n, f) in zip(shape, axes, strict=True))


# --- as tensorstore has it ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "factors"),
    [
        ((6, 8, 10), (2, 2, 2)),
        ((6, 9, 12), (3, 3, 3)),
        ((8, 8, 16), (4, 2, 4)),
        ((3, 4, 6, 6), (1, 2, 1, 3)),
        ((20, 30), (10, 10)),
        ((5, 7, 9), (2, 2, 2)),
        ((5, 7, 9), (1, 2, 2)),
        ((2, 1, 3, 5, 7), (1, 1, 2, 2, 2)),
        ((7, 1), (2, 2)),
    ],
)
@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_are_reduced_as_tensorstore_does(dtype, shape, factors):
    for values, method in product((None, 4), METHODS):
        block = noise(dtype, shape, values=values)
        theirs = tensorstore.downsample(tensorstore.array(block), list(factors), method=method)
        np.testing.assert_array_equal(reduce_block(block, factors, method), theirs.read().result(), method)


@pytest.mark.parametrize("dtype", ["bool", "float32", "float64"])
@pytest.mark.parametrize("method", SAME)
def test_other_types_are_compared_as_tensorstore_does(method, dtype):
    block = noise(dtype, (6, 8, 10))
    theirs = tensorstore.downsample(tensorstore.array(block), [2, 2, 2], method=method)
    np.testing.assert_array_equal(reduce_block(block, (2, 2, 2), method), theirs.read().result())


# --- memory and threads -------------------------------------------------------------------------------------


def peak(block: np.ndarray, factors: tuple[int, ...], method: str) -> tuple[int, int]:
    """The most memory that a thread's first reduction takes at once, and what it keeps, in bytes."""
    out = np.empty(reduced_shape(block.shape, factors), block.dtype)
    figures = []

    def work() -> None:
        tracemalloc.start()
        try:
            reduce_block(block, factors, method, out=out)
            figures.extend(tracemalloc.get_traced_memory())
        finally:
            tracemalloc.stop()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    kept, most = figures
    return most, kept


@pytest.mark.parametrize("factors", [(2, 2, 2), (1, 2, 2), (3, 3, 3), (1, 1, 16), (1, 10, 10)])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "int64", "float16", "float64"])
@pytest.mark.parametrize("method", METHODS)
def test_working_memory_stays_below_the_stated_bound(method, dtype, factors):
    for picture in (noise, labels):
        # Odd, so that pieces at the far edge are copied.
        most, kept = peak(picture(dtype, (5, 601, 1027)), factors, method)
        assert most <= SCRATCH_BYTES
        assert kept <= SCRATCH_BYTES


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("special", [np.nan, np.inf, np.finfo(np.float64).max])
def test_special_floats_need_no_more_memory(method, special):
    most, _ = peak(np.full((5, 601, 1027), special), (2, 2, 2), method)
    assert most <= SCRATCH_BYTES


def test_a_window_beyond_the_bound_is_reduced_and_its_memory_given_back():
    block = noise("uint64", (800, 800))
    most, kept = peak(block, (800, 800), "median")
    assert most > SCRATCH_BYTES
    assert kept <= SCRATCH_BYTES
    middle = (block.size - 1) // 2
    expected = np.partition(block.ravel(), middle)[middle]
    assert reduce_block(block, (800, 800), "median").item() == expected


@pytest.mark.parametrize("method", METHODS)
def test_threads_do_not_disturb_each_other(method):
    pictures = [
        make(dtype, (4, 257, 301), seed)
        for seed, (make, dtype) in enumerate(product((noise, labels), ("uint16", "float32", "uint8")))
    ]
    jobs = [(picture, factors) for picture in pictures for factors in ((2, 2, 2), (1, 2, 2), (2, 3, 1))] * 3
    expected = [reduce_block(picture, factors, method) for picture, factors in jobs]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda job: reduce_block(*job, method), jobs))
    assert all(map(same_bytes, results, expected))


def test_threads_may_fill_parts_of_one_result():
    block = noise("uint16", (16, 256, 256))
    expected = reduce_block(block, (2, 2, 2), "mean")
    out = np.empty_like(expected)
    with ThreadPoolExecutor(2) as pool:
        list(
            pool.map(
                lambda z: reduce_block(block[2 * z : 2 * z + 2], (2, 2, 2), "mean", out=out[z : z + 1]),
                range(8),
            )
        )
    assert same_bytes(out, expected)


# --- what cannot be done ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [*DTYPES, ">u2", ">f8", "<i4"])
@pytest.mark.parametrize("method", METHODS)
def test_all_methods_fit_all_pixels(method, dtype):
    check_method(method, dtype)


@pytest.mark.parametrize("method", ["average", "", "MEAN", "lanczos"])
def test_an_unknown_method_is_named_with_the_known_ones(method):
    with pytest.raises(ArgumentError, match=r"mean, median, mode, min, max, stride") as error:
        check_method(method, "uint16")
    assert repr(method) in str(error.value)
    with pytest.raises(ArgumentError, match="no such method"):
        reduce_block(np.zeros((2, 2), np.uint8), (2, 2), method)


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "datetime64[s]", "S4", "U2", "O", "V8"])
@pytest.mark.parametrize("method", METHODS)
def test_types_that_are_no_numbers_are_refused(method, dtype):
    with pytest.raises(ArgumentError, match="does not fit"):
        check_method(method, dtype)
    with pytest.raises(ArgumentError, match="does not fit"):
        reduce_block(np.zeros((2, 2), dtype), (2, 2), method)


@pytest.mark.parametrize("factors", [(2,), (2, 2, 2), (0, 2), (2, -1), (1.5, 2), (None, 2), ("2", 2)])
def test_factors_that_fit_no_axis_are_refused(factors):
    with pytest.raises(ArgumentError):
        reduced_shape((4, 4), factors)
    with pytest.raises(ArgumentError):
        reduce_block(np.zeros((4, 4), np.uint8), factors, "mean")


def test_numpy_integers_are_factors():
    assert reduced_shape((np.int64(5), 4), (np.int64(2), np.uint8(2))) == (3, 2)


@pytest.mark.parametrize(
    "out",
    [np.zeros((2, 3), np.uint8), np.zeros((2, 2), np.uint16), np.zeros((2, 2), np.int8), np.zeros(4, "u1")],
)
def test_an_out_of_another_shape_or_type_is_refused_and_left_alone(out):
    with pytest.raises(ArgumentError, match="out has"):
        reduce_block(np.ones((4, 4), np.uint8), (2, 2), "mean", out=out)
    assert not out.any()


def test_windows_that_sums_are_not_laid_out_for_are_refused():
    with pytest.raises(ArgumentError, match="several steps"):
        reduce_block(np.zeros((4, 4), np.uint8), (kernels.MAX_WINDOW, 2), "mean")
    assert reduce_block(np.ones((4, 4), np.uint8), (kernels.MAX_WINDOW, 2), "max").tolist() == [[1, 1]]
