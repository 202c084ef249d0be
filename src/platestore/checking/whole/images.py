"""The document of an image as it should be, from what it was, the arrays that are there, and a like image."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from platestore.errors import ArgumentError, InvalidMetadataError
from platestore.spec import edits
from platestore.spec.axes import AxisMeta, check_axes, default_axes
from platestore.spec.base import AS_STORED
from platestore.spec.geometry import Factors, found_factors, level_transform
from platestore.spec.labels import ImageLabelMeta, LabelImageMeta, LabelSourceMeta, default_colors
from platestore.spec.multiscales import DatasetMeta, ImagesMeta, MultiScaleMeta
from platestore.spec.names import natural_key
from platestore.spec.transforms import TransformationMeta, normalise, scale_of

_NUMBERED = re.compile(r"(.*?)(\d{1,9})")


@dataclass(frozen=True, slots=True)
class Array:
    """What an array's document says of it.

    Attributes
    ----------
    shape : tuple of int
        Its shape.
    dtype : str
        Name of its data type.
    names : tuple of str or None
        Names of its dimensions, if the document has them.
    """

    shape: tuple[int, ...]
    dtype: str
    names: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Like:
    """An image that another one is like.

    Attributes
    ----------
    path : str
        Its path in the store.
    meta : ImagesMeta
        Its metadata.
    shapes : mapping
        Shapes of its arrays, by path.
    """

    path: str
    meta: ImagesMeta
    shapes: Mapping[str, tuple[int, ...]]

    def transforms(self, shape: Sequence[int]) -> tuple[list[TransformationMeta] | None, Any]:
        """Transformations of its array with such a plane, and those of that image; None if it has none."""
        for image in self.meta.multiscales:
            for dataset in image.datasets:
                known = self.shapes.get(dataset.path, ())
                if len(known) == len(shape) == len(image.axes) and known[-2:] == tuple(shape[-2:]):
                    return dataset.coordinate_transformations, image.coordinate_transformations
        return None, None


def rebuild(
    old: ImagesMeta | None,
    arrays: Mapping[str, Array],
    like: Like | None,
    *,
    name: str,
    is_label: bool = False,
) -> ImagesMeta:
    """The document of an image.

    Parameters
    ----------
    old : ImagesMeta, optional
        Its present document; it is changed.
    arrays : mapping
        The arrays that are there, by path.
    like : Like, optional
        An image of the same plate (of a label image: the one it lies in), from which axes, scales and channel
        names are taken where they are lost.
    name : str
        Name of the image.
    is_label : bool
        Whether it is a label image.

    Returns
    -------
    ImagesMeta
        Arrays that are not there are gone from it, those that are not listed are: as levels where their
        shape is that of a level, else as images of their own.
    """
    known = like.meta if like is not None else None
    meta = old if old is not None else _as_like(arrays, known, name, is_label)
    axes = meta.multiscales[0].axes if meta.multiscales else None
    for image in meta.multiscales:
        image.datasets = [d for d in image.datasets if d.path in arrays]
    listed = [image for image in meta.multiscales if image.datasets]
    orphans = {path: arrays[path] for path in set(arrays) - set(meta.paths())}
    for ladder in _ladders(orphans):
        found = axes or (known.multiscales[0].axes if known is not None else None)
        _adopt(listed, ladder, arrays, found, name, like if old is None else None)
    if not listed:
        names = edits.channel_names(meta, 0)
        return edits.empty_image(axes or default_axes(), names, name)
    meta.multiscales = listed
    _fit_channels(meta, arrays)
    return meta


def _as_like(arrays: Mapping[str, Array], like: ImagesMeta | None, name: str, is_label: bool) -> ImagesMeta:
    """A document without arrays, or that of a like image with the same arrays."""
    if is_label:
        shown = ImageLabelMeta(colors=default_colors(()), source=LabelSourceMeta(image="../../"))
        return LabelImageMeta(multiscales=[], image_label=shown)
    if like is None:
        return ImagesMeta(multiscales=[])
    meta = ImagesMeta.model_validate(like.to_json(), context=AS_STORED)
    ndims = {len(array.shape) for array in arrays.values()}
    if set(meta.paths()) <= set(arrays) and ndims == {len(i.axes) for i in meta.multiscales}:
        for image in meta.multiscales:
            image.name = name
    else:
        meta.multiscales = []
    if meta.omero is not None:
        meta.omero.name = name
    return meta


def _ladders(arrays: Mapping[str, Array]) -> list[list[str]]:
    """Arrays in groups of what could be levels of one image, the finest first."""
    order = sorted(arrays, key=lambda p: (-math.prod(arrays[p].shape), natural_key(p)))
    out: list[list[str]] = []
    for path in order:
        for ladder in out:
            if _next(ladder[-1], path) and steps_between(arrays[ladder[-1]], arrays[path]) is not None:
                ladder.append(path)
                break
        else:
            out.append([path])
    return out


def _next(one: str, other: str) -> bool:
    """Whether names are those of two levels, one after the other: 0 and 1, s1 and s2."""
    first, second = _NUMBERED.fullmatch(one), _NUMBERED.fullmatch(other)
    return bool(first and second and first[1] == second[1] and int(second[2]) == int(first[2]) + 1)


def steps_between(fine: Array, coarse: Array) -> Factors | None:
    """The factors from one array to the next level, if it can be that."""
    same = fine.dtype == coarse.dtype and len(fine.shape) == len(coarse.shape)
    if not same or fine.shape == coarse.shape:
        return None
    if any(n < m or m == 0 for n, m in zip(fine.shape, coarse.shape, strict=True)):
        return None
    ones = [1.0] * len(fine.shape)
    try:
        axes = _axes(fine, None)
        (step,) = found_factors([fine.shape, coarse.shape], [ones, ones], axes, where="", exact=True)
    except (InvalidMetadataError, ArgumentError):
        return None
    return step


def _adopt(
    listed: list[MultiScaleMeta],
    ladder: Sequence[str],
    arrays: Mapping[str, Array],
    axes: Sequence[AxisMeta] | None,
    name: str,
    like: Like | None,
) -> None:
    """List arrays: as levels of an image that they continue or complete, else as an image of their own."""
    paths = list(ladder)
    if len(paths) == 1 and _completes(listed, arrays, paths[0]):
        return
    image = next((i for i in listed if _continues(i, arrays, paths[0])), None)
    if image is None:
        first = arrays[paths[0]]
        found = _axes(first, axes)
        image = MultiScaleMeta(axes=found, datasets=[], name=name if not listed else paths[0], metadata={})
        inner, outer = like.transforms(first.shape) if like is not None else (None, None)
        steps = normalise(inner, len(found))
        image.coordinate_transformations = outer
        image.datasets.append(DatasetMeta(path=paths.pop(0), coordinate_transformations=steps))
        image.type = "none"
        listed.append(image)
    for path in paths:
        last = image.datasets[-1]
        step = steps_between(arrays[last.path], arrays[path]) or (1,) * len(image.axes)
        transform = level_transform(last.coordinate_transformations, step, pooled=True)
        image.datasets.append(DatasetMeta(path=path, coordinate_transformations=transform))
        if image.type in (None, "none"):
            image.type = "unspecified"


def _completes(listed: list[MultiScaleMeta], arrays: Mapping[str, Array], path: str) -> bool:
    """List an array between two levels of an image, if it is what lies between them."""
    for image in listed:
        for k in range(1, len(image.datasets)):
            above, below = image.datasets[k - 1], image.datasets[k]
            step = steps_between(arrays[above.path], arrays[path])
            if step is not None and steps_between(arrays[path], arrays[below.path]) is not None:
                transform = level_transform(above.coordinate_transformations, step, pooled=True)
                image.datasets.insert(k, DatasetMeta(path=path, coordinate_transformations=transform))
                return True
    return False


def _continues(image: MultiScaleMeta, arrays: Mapping[str, Array], path: str) -> bool:
    last = image.datasets[-1]
    scale = scale_of(last.coordinate_transformations, len(image.axes))
    fits = _next(last.path, path) and len(scale) == len(arrays[path].shape)
    return fits and steps_between(arrays[last.path], arrays[path]) is not None


def _axes(array: Array, known: Sequence[AxisMeta] | None) -> list[AxisMeta]:
    """Axes of an array: by its document, or as those of a like image, or the last of T, C, Z, Y, X."""
    ndim = len(array.shape)
    if array.names is not None and len(array.names) == ndim:
        by_name = {axis.name.lower(): axis for axis in (*(known or ()), *reversed(default_axes()))}
        units = {axis.name.lower(): axis for axis in known or ()}
        found = [units.get(n.lower()) or by_name.get(n.lower()) or AxisMeta(name=n) for n in array.names]
        named = [
            AxisMeta.model_validate({**a.to_json(), "name": n})
            for a, n in zip(found, array.names, strict=True)
        ]
        try:
            return check_axes(named, stored=True)
        except ValueError:
            return named
    if known is not None and len(known) == ndim:
        return check_axes(known, stored=True)
    return check_axes(default_axes()[-ndim:])


def _fit_channels(meta: ImagesMeta, arrays: Mapping[str, Array]) -> None:
    """As many channels as the first image has."""
    size = channels_of(meta, arrays)
    if size is not None:
        edits.fit_channels(meta, size, arrays[meta.multiscales[0].datasets[0].path].dtype)


def channels_of(meta: ImagesMeta, arrays: Mapping[str, Array]) -> int | None:
    """Size of the channel axis of the first image; None if it has none."""
    image = meta.multiscales[0]
    types = [axis.type for axis in image.axes]
    shape = arrays[image.datasets[0].path].shape
    if "channel" not in types or len(shape) != len(types):
        return None
    return shape[types.index("channel")]
