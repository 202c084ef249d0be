"""The types of pixels in signatures."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

#: Pixels in memory: of any shape and data type.
Pixels: TypeAlias = npt.NDArray[Any]
#: A data type of pixels.
DType: TypeAlias = np.dtype[Any]
