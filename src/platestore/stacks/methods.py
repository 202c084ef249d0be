"""What makes one voxel of several: functions as numpy has them, and the engine's own kernels behind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from platestore.errors import ArgumentError
from platestore.pyramid.kernels import METHODS

#: A function that reduces an array along axes, as numpy's do.
Reduction: TypeAlias = Callable[..., npt.NDArray[Any]]
Axes: TypeAlias = int | Sequence[int] | None


def mean(windows: npt.ArrayLike, axis: Axes = None) -> npt.NDArray[Any]:
    """Mean along axes, as :func:`numpy.mean`; levels get it rounded half to even, and not truncated."""
    return np.asarray(np.mean(np.asarray(windows), axis=_axes(axis)))


def median(windows: npt.ArrayLike, axis: Axes = None) -> npt.NDArray[Any]:
    """Median along axes, as :func:`numpy.median`."""
    return np.asarray(np.median(np.asarray(windows), axis=_axes(axis)))


def mode(arr: npt.ArrayLike, axis: Axes = None) -> npt.NDArray[Any]:
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
        Of the same data type, without those axes.
    """
    array = np.asarray(arr)
    wanted = range(array.ndim) if axis is None else np.atleast_1d(np.asarray(axis))
    axes = {int(a) % array.ndim for a in wanted}
    kept = [a for a in range(array.ndim) if a not in axes]
    windows = array.transpose(*kept, *sorted(axes)).reshape(*(array.shape[a] for a in kept), -1)
    windows = np.sort(windows, axis=-1)
    counts = np.zeros(windows.shape, np.int64)
    for k in range(windows.shape[-1]):
        counts += windows == windows[..., k : k + 1]
    # They are sorted, and argmax takes the first of several.
    return np.take_along_axis(windows, counts.argmax(axis=-1)[..., None], axis=-1)[..., 0]


def _axes(axis: Axes) -> Any:
    return axis if axis is None or isinstance(axis, int) else tuple(axis)


_KERNELS: dict[Any, str] = {
    mean: "mean",
    np.mean: "mean",
    np.average: "mean",
    median: "median",
    np.median: "median",
    mode: "mode",
    np.min: "min",
    np.amin: "min",
    np.max: "max",
    np.amax: "max",
}


def kernel_of(function: Any) -> str | Reduction:
    """The engine's own kernel that computes the same as a function; else the function itself.

    Raises
    ------
    ArgumentError
        If it is neither a function nor the name of a method.
    """
    if isinstance(function, str):
        if function not in METHODS:
            raise ArgumentError(
                f"no such method of reduction: {function!r}", hint=f"use one of {', '.join(METHODS)}"
            )
        return function
    if not callable(function):
        raise ArgumentError(
            f"downsample_func must be a function such as numpy.mean, not {function!r}",
            hint="it is called with windows and axis=, a tuple",
        )
    try:
        known = _KERNELS.get(function)
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
