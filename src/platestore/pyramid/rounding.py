"""From results in another type back to the type of the pixels."""

from __future__ import annotations

import numpy as np

from platestore.arrays.types import DType, Pixels
from platestore.errors import ArgumentError


def rounded(values: Pixels, dtype: DType) -> Pixels:
    """Values as another type: for integers rounded half to even, and held to their range.

    Parameters
    ----------
    values : ndarray
        The values.
    dtype : dtype
        The type.

    Raises
    ------
    ArgumentError
        If the values are no real numbers, or there is a NaN, which an integer cannot be.
    """
    out: Pixels
    if values.dtype.kind not in "biuf":
        raise ArgumentError(f"values of type {values.dtype} cannot become pixels of type {dtype}")
    if values.dtype.kind == "f" and dtype.kind in "biu" and np.isnan(values).any():
        raise ArgumentError(
            f"a NaN cannot become a pixel of type {dtype}", hint="use a function that gives a number always"
        )
    if dtype.kind == "b" and values.dtype.kind == "f":
        out = np.greater(values, 0.5)
    elif dtype.kind not in "iu" or values.dtype.kind == "b":
        out = values.astype(dtype, copy=False)
    else:
        info = np.iinfo(dtype)
        if values.dtype.kind != "f":
            own = np.iinfo(values.dtype)  # clip() takes no bounds that the values' type does not hold
            low, high = max(info.min, own.min), min(info.max, own.max)
            out = np.clip(values, low, high).astype(dtype, copy=False)
        else:
            # Bounds in a type that holds them: floats of 16 and 32 bits do not.
            whole = np.rint(values.astype(np.promote_types(values.dtype, np.float64), copy=False))
            # The largest integers of 64 bits have no equal among the floats.
            inside = np.clip(whole, float(info.min), np.nextafter(float(info.max) + 1, 0)).astype(dtype)
            out = np.where(whole >= float(info.max), dtype.type(info.max), inside)
    return out
