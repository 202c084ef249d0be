"""Functions that make levels: whatever kernel stands in for one, the result is the function's own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from conftest import examples
from platestore import stacks
from platestore.errors import ArgumentError
from platestore.pyramid.kernels import reduce_block
from platestore.pyramid.rounding import rounded
from platestore.stacks.methods import kernel_of

DTYPES = [
    *("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    *("float16", "float32", "float64"),
]
FUNCTIONS = {
    "stacks.mean": stacks.mean,
    "stacks.median": stacks.median,
    "stacks.mode": stacks.mode,
    **{
        f"numpy.{name}": getattr(np, name)
        for name in (
            *("mean", "average", "median", "min", "amin", "max", "amax", "any", "all", "sum", "prod", "std"),
            *("nanmax", "nanmin", "ptp", "count_nonzero", "var"),
        )
    },
}
#: Those that numpy does not have for bools.
_NOT_OF_BOOLS = {"numpy.ptp"}


def in_words(function, windows, dtype):
    """What a level must hold, by the function alone: each window by itself."""
    out = np.empty(windows.shape[:1], dtype)
    with np.errstate(all="ignore"):
        for k, window in enumerate(windows):
            value = np.asarray(function(window[None], axis=(1, 2, 3)))[0]
            out[k] = one(value, dtype)
    return out


def one(value, dtype):
    """A number as a pixel: by Python's own integers, which have no bounds."""
    if dtype.kind == "b":
        return value > 0.5 if value.dtype.kind == "f" else bool(value)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        if value.dtype.kind == "f" and not np.isfinite(value):
            return info.max if value > 0 else info.min
        return min(max(round(value.item()) if value.dtype.kind == "f" else int(value), info.min), info.max)
    return value.astype(dtype)


def values(dtype):
    """Pixels with many equal ones, extremes, and for floats NaN and infinities."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return st.booleans()
    if dtype.kind == "f":
        special = [0.0, 1.0, -1.0, 0.5, float("nan"), float("inf"), -float("inf"), float(np.finfo(dtype).max)]
        width = 8 * dtype.itemsize
        return st.sampled_from(special) | st.floats(width=width) | st.integers(-3, 3).map(float)
    info = np.iinfo(dtype)
    return st.sampled_from([info.min, info.max, 0, 1, 2, 3]) | st.integers(info.min, info.max)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=examples(15), deadline=None)
@given(data=st.data())
def test_levels_are_what_the_function_makes_of_windows(name, dtype, data):
    function = FUNCTIONS[name]
    if dtype == "bool" and name in _NOT_OF_BOOLS:
        return
    block = data.draw(arrays(dtype, st.sampled_from([(6, 2, 2), (2, 2, 2)]), elements=values(dtype)))
    windows = block.reshape(-1, 2, 2, 2)
    with np.errstate(all="ignore"):
        found = reduce_block(block, (2, 2, 2), kernel_of(function, dtype))
    wanted = in_words(function, windows, np.dtype(dtype))
    np.testing.assert_array_equal(found.reshape(-1), wanted)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_kernel_stands_in_only_where_it_gives_the_same(name, dtype):
    known = kernel_of(FUNCTIONS[name], dtype)
    wide = np.dtype(dtype).kind == "f" or np.dtype(dtype).itemsize == 8
    wanted = {
        "stacks.mean": "mean",
        "stacks.mode": "mode",
        **dict.fromkeys(("numpy.min", "numpy.amin"), "min"),
        **dict.fromkeys(("numpy.max", "numpy.amax"), "max"),
        **({} if wide else dict.fromkeys(("numpy.mean", "numpy.average"), "mean")),
    }
    assert known == wanted.get(name, FUNCTIONS[name])


def test_the_median_of_numpy_is_the_mean_of_the_two_middle_values():
    block = np.array([0, 0, 0, 0, 1, 1, 1, 1], "float32").reshape(2, 2, 2)
    for function in (np.median, stacks.median):
        assert reduce_block(block, (2, 2, 2), kernel_of(function, "float32")).item() == 0.5
    assert reduce_block(block, (2, 2, 2), kernel_of("median", "float32")).item() == 0


def test_a_nan_among_equal_values_is_the_mode_of_neither_and_both_say_so():
    block = np.array([5, 5, 5, 5, 5, 5, 5, np.nan]).reshape(2, 2, 2)
    assert np.isnan(stacks.mode(block))
    assert np.isnan(reduce_block(block, (2, 2, 2), kernel_of(stacks.mode, "float64")).item())


@pytest.mark.parametrize("axis", [None, 0, 1, (0, 2), (-1,), [2, 0], (0, 1, 2)])
@pytest.mark.parametrize("function", [stacks.mean, stacks.median, stacks.mode])
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
def test_our_functions_take_any_axes(function, dtype, axis):
    pixels = (np.arange(24).reshape(2, 3, 4) % 5).astype(dtype)
    axes = range(3) if axis is None else (axis,) if isinstance(axis, int) else axis
    wanted = np.max(pixels, axis=tuple(axes))
    found = function(pixels, axis=axis)
    assert found.shape == wanted.shape
    assert (found <= wanted).all()
    constant = np.full_like(pixels, 3)
    assert np.array_equal(function(constant, axis=axis), np.full(wanted.shape, 3))


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_our_mean_of_wide_integers_is_exact(dtype):
    top = np.iinfo(dtype).max
    assert stacks.mean(np.array([top, top - 2], dtype)).item() == top - 1
    assert stacks.mean(np.array([top, top, top - 1], dtype)).item() == top


@pytest.mark.parametrize("result", ["int8", "int64", "uint64", "bool", "float16", "float32", "float64"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_results_of_any_type_become_pixels_of_any_type(result, dtype):
    info = np.finfo(result) if np.dtype(result).kind == "f" else None
    ends = [0, 1, 1] if result == "bool" else [0, 1, info.max if info else np.iinfo(result).max]
    given = np.array(ends, result)
    with np.errstate(all="ignore"):
        found = rounded(given, np.dtype(dtype))
        wanted = np.array([one(v, np.dtype(dtype)) for v in given], dtype)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64"])
def test_integers_take_no_nan(dtype):
    with pytest.raises(ArgumentError, match="NaN"):
        reduce_block(np.ones((2, 2), dtype), (2, 2), lambda w, axis: np.full((1, 1), np.nan))


@pytest.mark.parametrize("result", ["complex128", "U3", "object"])
def test_results_that_are_no_numbers_are_refused(result):
    with pytest.raises(ArgumentError, match="cannot become pixels"):
        reduce_block(np.ones((2, 2), "uint8"), (2, 2), lambda w, axis: np.ones((1, 1)).astype(result))
