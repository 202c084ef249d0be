"""Reducing a block of pixels by whole factors, exactly, within a small fixed working memory.

A block is reduced in pieces that stay in a processor's own cache, each by a few large numpy operations that
release the interpreter lock, so that threads run side by side. What a window of pixels becomes depends on the
pixels in it alone: any division of an array into blocks whose corners are multiples of the factors gives the
same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from platestore.arrays.types import DType, Pixels
from platestore.errors import ArgumentError
from platestore.pyramid.extreme import Extreme
from platestore.pyramid.gaussian import reduce_gaussian
from platestore.pyramid.mean import FloatMean, IntegerMean
from platestore.pyramid.ranked import Ranked
from platestore.pyramid.rounding import rounded
from platestore.pyramid.scratch import SCRATCH_BYTES, Scratch, boxes, scratch
from platestore.spec.reductions import reduction

__all__ = ["SCRATCH_BYTES", "Method", "check_method", "reduce_block", "reduced_shape"]

#: The name of a registered method (``spec/reductions.py``), or a function as numpy's reductions are:
#: ``func(windows, axis=(1, 3, 5))``.
Method: TypeAlias = str | Callable[..., Any]

#: Most pixels that one window may have: exact sums are laid out for it.
MAX_WINDOW = 2**24

# Windows that a function gets at once.
_CALL_BYTES = 2**18

_FLOATS = ("float16", "float32", "float64")


class _Kernel(Protocol):
    """One method, laid out for a dtype and factors."""

    #: Bytes of working memory that a piece should take, what it takes per pixel of the result as a rule, and
    #: what it takes if all of it must be worked out (if there is room for less, `run` does it in parts); and
    #: bytes that it takes besides.
    work_bytes: int
    cost: float
    full_cost: float
    fixed_cost: int

    def wants_copy(self, piece: Pixels) -> bool:
        """Whether the pixels must first be copied to contiguous native memory."""
        ...

    def run(self, piece: Pixels, out: Pixels, work: Scratch) -> None:
        """Reduce a piece of complete windows into `out`."""
        ...


def check_method(method: Method, dtype: DTypeLike) -> None:
    """Raise unless pixels of a type can be reduced by a method.

    Parameters
    ----------
    method : str or callable
        The name of a method, or a function.
    dtype : dtype
        Type of the pixels: bool, an integer of 8 to 64 bits, or a float of 16, 32 or 64 bits.

    Raises
    ------
    ArgumentError
        For an unknown method, or a type that it does not fit.
    """
    reduction(method)
    dtype = np.dtype(dtype)
    if dtype.kind not in "biu" and dtype.newbyteorder("=").name not in _FLOATS:
        raise ArgumentError(
            f"the method {method!r} does not fit pixels of type {dtype}",
            hint="bool, integers and floats of 16, 32 and 64 bits can be reduced",
        )


def reduced_shape(shape: Sequence[int], factors: Sequence[int]) -> tuple[int, ...]:
    """Shape of an array after a reduction: each length divided by its factor, rounded up.

    Parameters
    ----------
    shape : sequence of int
        Shape of the array.
    factors : sequence of int
        One factor of at least 1 per axis.

    Returns
    -------
    tuple of int
        The reduced shape.

    Raises
    ------
    ArgumentError
        For another number of factors than of axes, or a factor that is no whole number of at least 1.
    """
    if len(factors) != len(shape):
        raise ArgumentError(f"{len(factors)} factors for {len(shape)} axes", hint="give one factor per axis")
    for factor in factors:
        if not isinstance(factor, int | np.integer) or factor < 1:
            raise ArgumentError(f"a factor must be a whole number of at least 1, not {factor!r}")
    return tuple(-(-int(n) // int(f)) for n, f in zip(shape, factors, strict=True))


def reduce_block(block: Pixels, factors: Sequence[int], method: Method, out: Pixels | None = None) -> Pixels:
    """Reduce a block of pixels by a whole factor per axis.

    The far edge is replicated until its windows are complete (except for ``"stride"``, which takes the first
    pixel of each window).

    - ``"mean"``: of integers the exact mean, rounded half to even, for all widths; of bools likewise, so that
      a tie is False. Floats of 16 and 32 bits are summed in 64 bits and rounded once; sums of 64-bit floats
      that overflow are made again of divided values. NaN propagates.
    - ``"median"``: the middle value, the lower one of an even window. NaN propagates.
    - ``"mode"``: the most frequent value, of several the smallest. NaN propagates.
    - ``"min"``, ``"max"``: NaN propagates.
    - ``"gaussian"``: as :func:`~platestore.pyramid.gaussian.reduce_gaussian`; windows overlap, so that parts
      of an image need the pixels around them (:mod:`platestore.pyramid.windows`).
    - A function gets windows of shape ``(n0, f0, n1, f1, ...)`` and the axes of the factors; what it returns
      is rounded half to even and held to the range of the type.

    Parameters
    ----------
    block : ndarray
        Pixels, of any strides and byte order.
    factors : sequence of int
        One factor of at least 1 per axis; 1 leaves an axis as it is.
    method : str or callable
        The name of a method, or a function.
    out : ndarray, optional
        Where to put the result: of the reduced shape and the type of `block` (in any byte order), with any
        strides, and apart from `block` in memory.

    Returns
    -------
    ndarray
        `out`, or a new array in native byte order, of shape ``ceil(n / f)`` along each axis.

    Raises
    ------
    ArgumentError
        For an unknown method, a type that it does not fit, factors that fit no axis, windows of more than
        `MAX_WINDOW` pixels, or an `out` of another shape or type.
    """
    check_method(method, block.dtype)
    shape = reduced_shape(block.shape, factors)
    factors = tuple(int(f) for f in factors)
    native = block.dtype.newbyteorder("=")
    if out is None:
        out = np.empty(shape, native)
    elif out.shape != shape or out.dtype.newbyteorder("=") != native:
        raise ArgumentError(
            f"the result has shape {shape} and type {native}, but out has {out.shape} and {out.dtype}"
        )
    if all(f == 1 for f in factors):
        np.copyto(out, block)
    elif callable(method):
        _call(method, block, factors, out)
    elif method in _WHOLE:
        _WHOLE[method](block, factors, out)
    elif out.size:
        if native.kind == "b":
            _reduce(block.view(np.uint8), factors, method, out.view(np.uint8))
        else:
            _reduce(block, factors, method, out)
    return out


def _reduce(block: Pixels, factors: tuple[int, ...], method: str, out: Pixels) -> None:
    """Reduce piece by piece."""
    if reduction(method).ignores_copies:
        # Nor do copies of the edge: a window need not reach further than the block.
        factors = tuple(min(f, n) for f, n in zip(factors, block.shape, strict=True))
    window = math.prod(factors)
    if window > MAX_WINDOW:
        raise ArgumentError(
            f"windows of {window} pixels are larger than {MAX_WINDOW}", hint="reduce in several steps"
        )
    kernel = _PIECEWISE[method](block.dtype.newbyteorder("="), factors)
    always = kernel.wants_copy(block)
    copies = always or block.shape != tuple(n * f for n, f in zip(out.shape, factors, strict=True))
    copied = window * block.itemsize if copies else 0
    most = max(1, min(out.size, int(kernel.work_bytes / (kernel.cost + copied))))
    nbytes = max(
        most * (kernel.cost + copied), min(out.size * (kernel.full_cost + copied), kernel.work_bytes)
    )
    with scratch(math.ceil(nbytes) + kernel.fixed_cost) as work:
        start = work.mark()
        for region in boxes(out.shape, most):
            piece = _windows(block, region, factors, work, always)
            kernel.run(piece, out[region], work)
            work.rewind(start)


def _call(method: Callable[..., Any], block: Pixels, factors: tuple[int, ...], out: Pixels) -> None:
    """Reduce by a function, piece by piece."""
    axes = tuple(range(1, 2 * block.ndim, 2))
    native = block.dtype.newbyteorder("=")
    most = max(1, _CALL_BYTES // (math.prod(factors) * native.itemsize))
    for region in boxes(out.shape, most):
        shape = tuple(r.stop - r.start for r in region)
        with scratch(math.prod(shape) * math.prod(factors) * native.itemsize) as work:
            piece = _windows(block, region, factors, work, True)
            windows = piece.reshape([n for pair in zip(shape, factors, strict=True) for n in pair])
            result = np.asarray(method(windows, axis=axes))
            if result.shape != shape:
                raise ArgumentError(
                    f"the function returned shape {result.shape} for windows {windows.shape}; "
                    f"with axis={axes} it must be {shape}",
                    hint="it must reduce those axes, as numpy.mean does",
                )
            out[region] = rounded(result, native)


def _mean(dtype: DType, factors: tuple[int, ...]) -> _Kernel:
    return FloatMean(dtype, factors) if dtype.kind == "f" else IntegerMean(dtype, factors)


def _take_first(block: Pixels, factors: tuple[int, ...], out: Pixels) -> None:
    np.copyto(out, block[tuple(slice(None, None, f) for f in factors)])


def _gaussian(block: Pixels, factors: tuple[int, ...], out: Pixels) -> None:
    reduce_gaussian(block, (0,) * block.ndim, factors, out)


#: Kernels for a native dtype other than bool, which reduce piece by piece.
_PIECEWISE: dict[str, Callable[[DType, tuple[int, ...]], _Kernel]] = {
    "mean": _mean,
    "median": partial(Ranked, mode=False),
    "mode": partial(Ranked, mode=True),
    "min": partial(Extreme, largest=False),
    "max": partial(Extreme, largest=True),
}
#: Methods that reduce a block as a whole.
_WHOLE: dict[str, Callable[[Pixels, tuple[int, ...], Pixels], None]] = {
    "stride": _take_first,
    "gaussian": _gaussian,
}


def _windows(
    block: Pixels,
    region: tuple[slice, ...],
    factors: tuple[int, ...],
    work: Scratch,
    always: bool,
) -> Pixels:
    """Return the pixels whose windows make a region of the result, in a copy if incomplete or `always`."""
    source = block[tuple(slice(r.start * f, r.stop * f) for r, f in zip(region, factors, strict=True))]
    shape = tuple((r.stop - r.start) * f for r, f in zip(region, factors, strict=True))
    if source.shape == shape and not always:
        return source
    copy = work.take(shape, block.dtype.newbyteorder("="))
    np.copyto(copy[tuple(slice(0, n) for n in source.shape)], source)
    for axis, n in enumerate(source.shape):
        if n < shape[axis]:
            before = (slice(None),) * axis
            copy[(*before, slice(n, None))] = copy[(*before, slice(n - 1, n))]
    return copy
