"""From results in another type back to the type of the pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def rounded(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Values as another type: for integers rounded half to even, and held to their range.

    Parameters
    ----------
    values : ndarray
        The values.
    dtype : dtype
        The type.
    """
    out: NDArray[Any]
    if dtype.kind == "b" and values.dtype.kind == "f":
        out = np.greater(values, 0.5)
    elif dtype.kind not in "iu":
        out = values.astype(dtype, copy=False)
    else:
        info = np.iinfo(dtype)
        if values.dtype.kind != "f":
            out = np.clip(values, info.min, info.max).astype(dtype, copy=False)
        else:
            whole = np.rint(values)
            # The largest integers of 64 bits have no equal among the floats.
            inside = np.clip(whole, float(info.min), np.nextafter(float(info.max) + 1, 0)).astype(dtype)
            out = np.where(whole > float(info.max) - 0.5, dtype.type(info.max), inside)
    return out
