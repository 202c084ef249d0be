"""Levels by plain numpy, as slowly as they are easy to read."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage


def windows(pixels, factors):
    """Windows of an array whose far edges are filled up with copies: their pixels along the last axis."""
    short = [(0, -n % f) for n, f in zip(pixels.shape, factors, strict=True)]
    full = np.pad(pixels, short, mode="edge")
    split = [part for n, f in zip(full.shape, factors, strict=True) for part in (n // f, f)]
    ndim = pixels.ndim
    order = [*range(0, 2 * ndim, 2), *range(1, 2 * ndim, 2)]
    shape = [n // f for n, f in zip(full.shape, factors, strict=True)]
    return full.reshape(split).transpose(order).reshape(*shape, -1)


def smallest_mode(values):
    found, counts = np.unique(values, return_counts=True)
    return found[counts.argmax()]


def reduced(pixels, factors, method):
    """The next level."""
    if method == "stride":
        return pixels[tuple(slice(None, None, f) for f in factors)]
    if method == "gaussian":
        return gaussian(pixels, factors)
    all_windows = windows(pixels, factors)
    if method == "mean":
        mean = all_windows.astype("float64").mean(axis=-1)
        return (np.rint(mean) if pixels.dtype.kind in "iu" else mean).astype(pixels.dtype)
    if method == "median":
        return np.sort(all_windows, axis=-1)[..., (all_windows.shape[-1] - 1) // 2]
    if method == "mode":
        return np.apply_along_axis(smallest_mode, -1, all_windows)
    return {"min": np.min, "max": np.max}[method](all_windows, axis=-1)


def gaussian(pixels, factors):
    """Gaussian weights around the middle of each window, cut off at four sigma; edges repeat."""
    out = pixels.astype("float64")
    for axis, f in enumerate(factors):
        if f == 1:
            continue
        sigma = math.sqrt((f * f - 1) / (2 * math.sqrt(2 * math.log(2))) ** 2)
        distances = np.arange(-50, 51) + (0.5 if f % 2 == 0 else 0)
        distances = distances[np.abs(distances) <= 4 * sigma]
        weights = np.exp(-(distances**2) / (2 * sigma**2))
        first = (f - 1) / 2 + distances[0]  # of the first window
        starts = (np.arange(-(-out.shape[axis] // f)) * f + first).astype(int)
        index = np.clip(starts[:, None] + np.arange(len(weights)), 0, out.shape[axis] - 1)
        taken = np.moveaxis(np.take(out, index, axis=axis), axis + 1, -1)
        out = taken @ (weights / weights.sum())
    if pixels.dtype.kind not in "iu":
        return out.astype(pixels.dtype)
    info = np.iinfo(pixels.dtype)
    return np.clip(np.rint(out), info.min, info.max).astype(pixels.dtype)


def smoothed(pixels, sigma):
    """Scipy's filter, for comparison with the weights above."""
    return ndimage.gaussian_filter(pixels.astype("float64"), sigma, mode="nearest", truncate=4.0)


def noise(shape, dtype="uint16", seed=0):
    values = np.random.default_rng(seed).integers(0, 200, shape)
    return values.astype(dtype)
