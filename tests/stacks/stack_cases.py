"""References in plain numpy, and stacks to try things on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import platestore as ps


def noise(shape: Sequence[int], dtype: str = "uint16", seed: int = 0, high: int = 4000) -> np.ndarray:
    """Pixels of which no two levels agree by accident."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=tuple(shape)).astype(dtype)
    return rng.integers(0, high, tuple(shape)).astype(dtype)


def windows(array: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """Windows of a level, the edge repeated, as one last axis."""
    widths = [(0, -n % f) for n, f in zip(array.shape, factors, strict=True)]
    padded = np.pad(array, widths, mode="edge")
    split = [k for n, f in zip(padded.shape, factors, strict=True) for k in (n // f, f)]
    blocks = padded.reshape(split)
    order = [*range(0, 2 * array.ndim, 2), *range(1, 2 * array.ndim, 2)]
    return blocks.transpose(order).reshape(*blocks.shape[::2], -1)


def mean_half_even(array: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """Means, rounded half to even for integers."""
    found = windows(array, factors)
    if array.dtype.kind == "f":
        return found.astype("float64").mean(axis=-1).astype(array.dtype)
    sums, count = found.astype(object).sum(axis=-1), found.shape[-1]
    rounded = np.frompyfunc(lambda total: _half_even(int(total), count), 1, 1)(sums)
    return rounded.astype(array.dtype)


def _half_even(total: int, count: int) -> int:
    whole, rest = divmod(total, count)
    return whole + (2 * rest > count or (2 * rest == count and whole % 2))


def smallest_mode(array: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """The most common value of each window, the smallest of several."""
    found = windows(array, factors)
    out = np.empty(found.shape[:-1], array.dtype)
    for place in np.ndindex(*out.shape):
        values, counts = np.unique(found[place], return_counts=True)
        out[place] = values[counts.argmax()]
    return out


REDUCTIONS = {
    "mean": mean_half_even,
    "mode": smallest_mode,
    "median": lambda a, f: np.sort(windows(a, f), axis=-1)[..., (int(np.prod(f)) - 1) // 2],
    "min": lambda a, f: windows(a, f).min(axis=-1),
    "max": lambda a, f: windows(a, f).max(axis=-1),
    "stride": lambda a, f: a[tuple(slice(None, None, k) for k in f)],
}


def cascade(array: np.ndarray, steps: Sequence[Sequence[int]], method: str = "mean") -> list[np.ndarray]:
    """All levels, that of full resolution first."""
    out = [array]
    for step in steps:
        out.append(REDUCTIONS[method](out[-1], step))
    return out


def assert_levels(position: ps.Position, expected: Sequence[np.ndarray]) -> None:
    """Every voxel of every level, and no level more or less."""
    assert position.keys() == [str(k) for k in range(len(expected))]
    for (name, array), level in zip(position.images(), expected, strict=True):
        assert array.dtype == level.dtype
        np.testing.assert_array_equal(array[...].reshape(level.shape), level, err_msg=f"level {name}")


def write_planes(folder: Path, stack: np.ndarray, name: str = "plane_{:04d}.tif", **options: Any) -> Path:
    """One TIFF file per plane."""
    import tifffile

    folder.mkdir(parents=True, exist_ok=True)
    for z, plane in enumerate(stack):
        tifffile.imwrite(folder / name.format(z), plane, **options)
    return folder


def tree(path: Path) -> dict[str, bytes]:
    """All files below a directory."""
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}
