"""What makes one voxel of several: functions as numpy has them, and the engine's own kernels behind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from platestore.arrays.types import Pixels
from platestore.errors import ArgumentError
from platestore.pyramid.kernels import reduce_block
from platestore.spec.reductions import reduction

#: A function that reduces an array along axes, as numpy's do.
Reduction: TypeAlias = Callable[..., Pixels]
Axes: TypeAlias = int | Sequence[int] | None


def mean(windows: npt.ArrayLike, axis: Axes = None) -> Pixels:
    """Mean along axes, of which levels of integers get the nearest one, half to even.

    Parameters
    ----------
    windows : array-like
        Values.
    axis : int or sequence of int, optional
        Axes that are reduced; all by default.

    Returns
    -------
    numpy.ndarray
        As :func:`numpy.mean`, but floats are summed in double precision, and the mean of integers of 64 bits,
        which no float may hold, is the nearest of them.

    Examples
    --------
    >>> from platestore.stacks import mean
    >>> mean(np.array([[1, 2], [5, 8]], "uint8"), axis=1)
    array([1.5, 6.5])
    """
    array = np.asarray(windows)
    if array.dtype.kind == "f" or (array.dtype.kind in "iu" and array.dtype.itemsize == 8):
        return _reduced(array, axis, "mean")
    return np.asarray(np.mean(array, axis=_axes(axis)))


def median(windows: npt.ArrayLike, axis: Axes = None) -> Pixels:
    """Median along axes, as :func:`numpy.median`: the mean of the two middle values, if there are two.

    Examples
    --------
    >>> from platestore.stacks import median
    >>> median([[1, 2, 9], [5, 6, 7]], axis=1)
    array([2., 6.])
    """
    return np.asarray(np.median(np.asarray(windows), axis=_axes(axis)))


def mode(arr: npt.ArrayLike, axis: Axes = None) -> Pixels:
    """The most common value along axes; of several that are equally common the smallest.

    Parameters
    ----------
    arr : array-like
        Labels, for which means make no sense.
    axis : int or sequence of int, optional
        Axes that are reduced; all by default.

    Returns
    -------
    numpy.ndarray
        Of the same data type, without those axes. NaN where there is one.

    Examples
    --------
    >>> from platestore.stacks import mode
    >>> mode([[3, 3, 8], [9, 4, 0]], axis=1)
    array([3, 0])
    """
    return _reduced(np.asarray(arr), axis, "mode")


def _reduced(array: Pixels, axis: Axes, method: str) -> Pixels:
    """Reduce axes by one of the engine's kernels."""
    wanted = range(array.ndim) if axis is None else np.atleast_1d(np.asarray(axis))
    axes = sorted({int(a) % array.ndim for a in wanted})
    kept = [a for a in range(array.ndim) if a not in axes]
    shape, window = [array.shape[a] for a in kept], [array.shape[a] for a in axes]
    block = array.transpose(*kept, *axes).reshape(-1, *window)
    return reduce_block(block, (1, *window), method).reshape(shape)


def _axes(axis: Axes) -> Any:
    return axis if axis is None or isinstance(axis, int) else tuple(axis)


# Functions that a kernel computes the same as, of pixels of any type.
_KERNELS: dict[Any, str] = {
    mean: "mean",
    mode: "mode",
    np.min: "min",
    np.amin: "min",
    np.max: "max",
    np.amax: "max",
}
# Those that add up in the type of the pixels: a kernel does that exactly, and they do so up to 32 bits.
_INEXACT: dict[Any, str] = {np.mean: "mean", np.average: "mean"}


def kernel_of(function: Any, dtype: npt.DTypeLike) -> str | Reduction:
    """The engine's own kernel that computes the same as a function; else the function itself.

    Parameters
    ----------
    function : callable or str
        A function as numpy's reductions are, or the name of a method.
    dtype : dtype
        Type of the pixels: some functions have an equal for some types only.

    Raises
    ------
    ArgumentError
        If it is neither a function nor the name of a method.
    """
    if isinstance(function, str):
        return reduction(function).name
    if not callable(function):
        raise ArgumentError(
            f"downsample_func must be a function such as numpy.mean, not {function!r}",
            hint="it is called with windows and axis=, a tuple",
        )
    pixels = np.dtype(dtype)
    exact = pixels.kind in "biu" and pixels.itemsize < 8
    try:
        known = _KERNELS.get(function) or (_INEXACT.get(function) if exact else None)
    except TypeError:  # a callable that cannot be hashed
        known = None
    if known is None and _is_foreign_mode(function):
        return "mode"
    return known or function


def _is_foreign_mode(function: Any) -> bool:
    """Whether it is the function of this name in stack-to-chunk, which computes the same."""
    home = str(getattr(function, "__module__", ""))
    return getattr(function, "__name__", "") == "mode" and home.partition(".")[0] == "stack_to_chunk"


def name_of(method: str | Reduction) -> str:
    """A method as the metadata names it."""
    if isinstance(method, str):
        return method
    name = getattr(method, "__qualname__", type(method).__qualname__)
    home = getattr(method, "__module__", None)
    return f"{home}.{name}" if home else str(name)
