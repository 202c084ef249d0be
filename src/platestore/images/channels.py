"""Pixels of one channel: written, and looked at for a contrast window in little memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from platestore.arrays.casting import exact
from platestore.arrays.image import ImageArray
from platestore.arrays.layout import write_units
from platestore.arrays.metadata import summarise
from platestore.arrays.types import Pixels
from platestore.errors import ArgumentError
from platestore.spec import pyramids
from platestore.spec.axes import channel_index, is_spatial
from platestore.spec.edits import index_of
from platestore.spec.omero import WindowDict
from platestore.tree.image import ImageEditor

# A level with planes of this many pixels tells the values of an image well enough.
_ENOUGH = 256 * 256
_BINS = 2**16


def update_channel(position: ImageEditor, name: str, target: str | int, data: npt.ArrayLike) -> None:
    """Write the pixels of one channel; see :meth:`Position.update_channel`."""
    image = position[target]
    axis = channel_index(position.axes)
    if axis is None:
        raise ArgumentError("the image has no channel axis", path=position.location.where)
    index = index_of(position.channel_names, name)
    block = exact(data, image.dtype, what="written to")
    expected = image.shape[:axis] + image.shape[axis + 1 :]
    if block.shape != expected:
        raise ArgumentError(f"the data has shape {block.shape}; a channel of {target!r} has {expected}")
    if index >= image.shape[axis]:
        raise ArgumentError(f"{target!r} has {image.shape[axis]} channels; {name!r} is number {index}")
    image[tuple(index if i == axis else slice(None) for i in range(image.ndim))] = block


def window_of(position: ImageEditor, channel: int, percentiles: Sequence[float]) -> WindowDict:
    """The window of a channel between two percentiles of its values; min and max are those of the values.

    The coarsest level is read that is computed and has planes of at least 256 x 256 pixels, else the finest,
    one chunk after the other. Values that are not finite are left out.

    Raises
    ------
    ArgumentError
        If these are no two percentiles, or there is no image, or no value.
    """
    low, high = _checked(percentiles)
    image = position[_level(position)]
    axis = channel_index(position.axes)
    least, greatest = math.inf, -math.inf
    for block in _blocks(image, axis, channel):
        least, greatest = min(least, block.min().item()), max(greatest, block.max().item())
    if least > greatest:
        raise ArgumentError(
            "the channel has no finite value", path=position.location.where, hint="write its pixels first"
        )
    counts, width = np.zeros(_BINS, np.int64), max(1.0, (greatest - least) / (_BINS - 1))
    if image.dtype.kind == "f":
        width = (greatest - least) / (_BINS - 1) or 1.0
    for block in _blocks(image, axis, channel):
        places = ((block.astype(np.float64) - least) / width).astype(np.int64)
        counts += np.bincount(np.clip(places, 0, _BINS - 1), minlength=_BINS)
    total = np.cumsum(counts)
    start, end = (least + width * int(np.searchsorted(total, total[-1] * p / 100)) for p in (low, high))
    start, end = max(least, start), min(greatest, end)
    if start >= end:  # most values are one
        end = start + (width if image.dtype.kind == "f" else 1)
    return WindowDict(start=start, end=end, min=least, max=max(greatest, end))


def _checked(percentiles: Sequence[float]) -> tuple[float, float]:
    try:
        low, high = map(float, percentiles)
    except (TypeError, ValueError):
        low = high = math.nan
    if not 0 <= low < high <= 100:
        raise ArgumentError(
            f"percentiles must be two numbers from 0 to 100, the lower one first, not {percentiles!r}",
            hint="percentiles=(0.1, 99.9)",
        )
    return low, high


def _level(position: ImageEditor) -> str:
    """The level whose values are read."""
    image = position.meta.multiscales[0]
    if not image.datasets:
        raise ArgumentError("there is no image", path=position.location.where, hint="create it first")
    plane = [i for i, axis in enumerate(image.axes) if is_spatial(axis)][-2:]
    for dataset in reversed(image.datasets[1:] if pyramids.is_whole(image) else []):
        shape = summarise(position.array_document(dataset.path)).shape
        if math.prod(shape[i] for i in plane) >= _ENOUGH:
            return dataset.path
    return image.datasets[0].path


def _blocks(image: ImageArray, axis: int | None, channel: int) -> Iterator[Pixels]:
    """The finite values of a channel, one chunk after the other."""
    for region in write_units(image.shape, image.chunks):
        part = list(region)
        if axis is not None:
            if not part[axis].start <= channel < part[axis].stop:
                continue
            part[axis] = slice(channel, channel + 1)
        block = np.asarray(image[tuple(part)]).ravel()
        block = block.astype(np.uint8) if block.dtype.kind == "b" else block
        block = block[np.isfinite(block)] if block.dtype.kind == "f" else block
        if block.size:
            yield block
