"""Values as another data type, only where it holds them: for calls that write what they are given."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from platestore.arrays.types import DType, Pixels
from platestore.errors import ArgumentError

_BLOCK = 2**18


def exact(data: npt.ArrayLike, dtype: npt.DTypeLike, *, what: str) -> Pixels:
    """Data as an array of a type, if that holds every value.

    Whole numbers must lie within the type's range. Floats go into integer types if they are whole numbers and
    within it; into smaller floats if they stay finite, with fewer digits.

    Parameters
    ----------
    data : array-like
        The values.
    dtype : dtype-like
        The type.
    what : str
        What is done with them, for errors: "written to".

    Raises
    ------
    ArgumentError
        If a value would become another one.
    """
    array, target = np.asarray(data), np.dtype(dtype)
    if array.dtype == target or np.can_cast(array.dtype, target, "safe"):
        return array if array.dtype == target else array.astype(target)
    problem = _problem(array, target)
    if problem is not None:
        raise ArgumentError(
            f"values of type {array.dtype} cannot be {what} an image of type {target}: {problem}",
            hint=_advice(array.dtype, target),
        )
    return array.astype(target)


def check_kind(source: npt.DTypeLike, target: npt.DTypeLike, *, what: str) -> None:
    """Refuse values of a type that another one is not for, without seeing them: floats in an integer type.

    Raises
    ------
    ArgumentError
        If the types are of such kinds.
    """
    given, into = np.dtype(source), np.dtype(target)
    if not np.can_cast(given, into, "same_kind") and not (given.kind in "iu" and into.kind in "iu"):
        raise ArgumentError(
            f"values of type {given} cannot be {what} an image of type {into}", hint=_advice(given, into)
        )


def _advice(source: DType, target: DType) -> str:
    """How the values are cast on purpose."""
    if source.kind == "f" and target.kind in "iu":
        return (
            f'numpy.rint(data).clip(...).astype("{target.name}"), if that is meant; or an image of type '
            f"{source.name}"
        )
    return f'data.astype("{target.name}"), if that is meant; or an image of type {source.name}'


def _problem(array: Pixels, target: DType) -> str | None:
    """What the type cannot hold; block by block, so that little memory is taken."""
    if array.dtype.kind not in "biufc" or target.kind not in "biufc":
        return "they are no numbers"
    if array.dtype.kind == "c" and target.kind != "c":
        return "it has no imaginary part"
    if not array.size:
        return None
    for run in np.nditer(array, ["external_loop", "buffered"], casting="no", buffersize=_BLOCK):
        whole = np.asarray(run)
        for start in range(0, whole.size, _BLOCK):
            problem = _block_problem(whole[start : start + _BLOCK], target)
            if problem is not None:
                return problem
    return None


def _block_problem(block: Pixels, target: DType) -> str | None:
    if target.kind in "fc":
        return _float_problem(block, target)
    low, high = (0, 1) if target.kind == "b" else (np.iinfo(target).min, np.iinfo(target).max)
    least, greatest = block.min(), block.max()
    if block.dtype.kind == "f":
        if not (math.isfinite(least) and math.isfinite(greatest)):
            return "there are NaN or infinite values"
        if (np.trunc(block) != block).any():
            part = block[np.trunc(block) != block][0]
            return f"{part} is no whole number"
    for value in (int(least), int(greatest)):
        if not low <= value <= high:
            return f"{value} is beyond its range, {low} to {high}"
    return None


def _float_problem(block: Pixels, target: DType) -> str | None:
    with np.errstate(over="ignore"):
        cast = block.astype(target)
    if block.dtype.kind in "iu":
        # Compared as Python numbers: numpy would turn both into floats.
        least, greatest = (int(block.min()), int(block.max()))
        limit = 2 ** (np.finfo(target).nmant + 1)
        if -limit <= least and greatest <= limit:
            return None
        for value, kept in zip(block.tolist(), cast.real.tolist(), strict=True):
            if not math.isfinite(kept) or int(kept) != value:
                return f"{value} has more digits than it holds"
        return None
    lost = np.isfinite(block) & ~np.isfinite(cast)
    return f"{block[lost][0]} is beyond its range" if lost.any() else None
