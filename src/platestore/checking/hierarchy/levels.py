"""Whether the arrays of an image fit what its document says of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from platestore.checking.hierarchy.arrays import ArrayFacts
from platestore.checking.hierarchy.documents import short, shown
from platestore.checking.rules.crossing import are_finer
from platestore.spec.findings import Finding
from platestore.spec.rules import is_space
from platestore.spec.values import Json
from platestore.spec.versions import Adapter

# From here on, scales say that pixels of a level are larger than those of the finest.
_LARGER = 1.5
# More dimensions than arrays can have.
_MAX_RANK = 64


@dataclass(frozen=True, slots=True)
class ListedLevel:
    """A resolution level of an image.

    Attributes
    ----------
    location : str
        Where the image lists it.
    path : str
        As it is listed.
    scale : list of float or None
        Its scale, if the document has a usable one.
    facts : ArrayFacts
        What the array's document says.
    """

    location: str
    path: str
    scale: list[float] | None
    facts: ArrayFacts

    @property
    def shape(self) -> Sequence[int]:
        """Shape of the array; empty if the document does not tell."""
        return self.facts.shape or ()


@dataclass(frozen=True, slots=True)
class Image:
    """A multiscale image and those of its levels that are there.

    Attributes
    ----------
    location : str
        Where it is described.
    file : str
        The group's document.
    ngff : Adapter
        OME-NGFF version.
    axes : list of str or None
        Names of the axes, if the document has usable ones.
    spatial : list of bool
        Whether each of these axes is one of space.
    levels : list of ListedLevel
        Its levels, from the finest.
    count : int
        How many levels are listed.
    """

    location: str
    file: str
    ngff: Adapter
    axes: list[str] | None
    spatial: list[bool]
    levels: list[ListedLevel]
    count: int

    @property
    def version(self) -> str:
        """Name of the version."""
        return self.ngff.name

    def level_at(self, index: int) -> ListedLevel | None:
        """The level that is listed at an index, if it is there."""
        where = f"{self.location}.datasets[{index}].path"
        return next((level for level in self.levels if level.location == where), None)


def image_findings(image: Image, channels: int | None, channel_axis: int | None) -> Iterator[Finding]:
    """Whether the arrays of an image fit what its document says.

    Parameters
    ----------
    image : Image
        The image.
    channels : int, optional
        Number of channels that ``omero`` lists.
    channel_axis : int, optional
        Index of the channel axis.
    """
    for level in image.levels:
        yield from _level_findings(level, image)
    yield from _type_findings(image)
    levels = [level for level in image.levels if level.facts.shape is not None]
    for finer, coarser in itertools.pairwise(levels):
        yield from _order_findings(finer, coarser, image)
    for level in levels[1:]:
        axis = other_size(levels[0], level, image.spatial)
        if axis is not None:
            yield _size_finding(levels[0], level, axis, image)
        yield from _scale_findings(levels[0], level, image, axis)
    if channels is not None and levels:
        yield from _channel_findings(image, levels[0], channels, channel_axis)


def _level_findings(level: ListedLevel, image: Image) -> Iterator[Finding]:
    facts, rank = level.facts, None if image.axes is None else len(image.axes)
    section = f"OME-NGFF {image.version}, multiscales: "
    if facts.shape is not None and rank is not None and len(facts.shape) != rank:
        yield Finding(
            "array-rank",
            level.location,
            f"the array has {len(facts.shape)} dimensions, and there are {rank} axes",
            file=image.file,
            expected=str(rank),
            found=f"{len(facts.shape)}, with the shape {short(facts.shape)}",
            rule=section + "the axes are those of the arrays, one for each dimension, in their order (MUST)",
        )
    if image.ngff.nests_chunks and facts.separator == ".":
        yield Finding(
            "dimension-separator",
            "dimension_separator",
            "chunks are named 0.0.0, and should be nested as 0/0/0",
            file=facts.file,
            expected="'/'",
            found="'.'",
            rule=f"OME-NGFF {image.version}, storage: the separator of dimensions is '/' (MUST)",
            hint="`platestore copy` writes nested chunks",
        )
    if image.ngff.names_dimensions and image.axes is not None and facts.names != image.axes:
        found = "there are none" if facts.names is None else f"they are {short(facts.names)}"
        yield Finding(
            "dimension-names",
            "dimension_names",
            f"the array's dimensions are to be named as the axes; {found}",
            file=facts.file,
            expected=short(image.axes),
            found=short(facts.names),
            rule=section + "'dimension_names' of the arrays are the names of the axes (MUST)",
        )
    if facts.dtype is not None and not facts.is_pixels:
        yield Finding(
            "array-pixels",
            image.ngff.type_key,
            f"viewers do not show pixels of type {shown(facts.dtype)}",
            "warning",
            facts.file,
            expected="a boolean, integer or float type",
            found=facts.dtype,
        )


def _type_findings(image: Image) -> Iterator[Finding]:
    typed = [level for level in image.levels if level.facts.dtype is not None]
    for level in typed[1:]:
        if level.facts.dtype != typed[0].facts.dtype:
            yield Finding(
                "array-dtype",
                level.location,
                f"the array is {level.facts.dtype}, and the finest level is {typed[0].facts.dtype}",
                image.ngff.loose,
                image.file,
                typed[0].facts.dtype,
                level.facts.dtype,
                f"OME-NGFF {image.version}, multiscales: the levels are one image in several resolutions",
            )


def _order_findings(finer: ListedLevel, coarser: ListedLevel, image: Image) -> Iterator[Finding]:
    one, other = finer.facts.shape or (), coarser.facts.shape or ()
    if finer.scale and coarser.scale and are_finer(coarser.scale, finer.scale):
        return  # which the document says by itself
    if len(one) == len(other) and any(b > a for a, b in zip(one, other, strict=True)):
        yield Finding(
            "level-order",
            coarser.location,
            f"this level, of {short(other)}, is larger than the one before, of {short(one)}",
            file=image.file,
            expected=f"at most {short(one)}",
            found=short(other),
            rule=f"OME-NGFF {image.version}, multiscales: datasets are ordered from the largest to the "
            "smallest (MUST)",
        )


#: What is done about a level of another size.
SIZE_HINT = "delete_pyramid(), then compute the levels anew"


def is_spatial_entry(axis: Json) -> bool:
    """Whether an entry of a document's axes is an axis of space."""
    kind = axis.get("type")
    return is_space(str(axis.get("name")), kind if isinstance(kind, str) else None)


class Sized(Protocol):
    """What has a shape and, maybe, a scale."""

    @property
    def shape(self) -> Sequence[int]:
        """Shape of the array."""

    @property
    def scale(self) -> list[float] | None:
        """Scale, if there is a usable one."""


def other_size(base: Sized, level: Sized, spatial: Sequence[bool]) -> int | None:
    """The first axis, none of space, along which a level has another size than the finest, if any.

    Where the scales say that pixels along it are larger, another size is right.
    """
    full, shape = base.shape, level.shape
    if not len(full) == len(shape) == len(spatial):
        return None
    for axis, (whole, part, spatial_axis) in enumerate(zip(full, shape, spatial, strict=True)):
        ratio = 1.0
        if base.scale is not None and level.scale is not None:
            ratio = level.scale[axis] / base.scale[axis]
        if not spatial_axis and whole != part and ratio < _LARGER:
            return axis
    return None


def _size_finding(base: ListedLevel, level: ListedLevel, axis: int, image: Image) -> Finding:
    name = image.axes[axis] if image.axes else str(axis)
    return Finding(
        "level-size",
        level.location,
        f"this level has {level.shape[axis]} along {name}, and the finest level {base.shape[axis]}",
        file=image.file,
        expected=str(base.shape[axis]),
        found=str(level.shape[axis]),
        rule=f"OME-NGFF {image.version}, multiscales: the levels are one image in several resolutions",
        hint=SIZE_HINT,
    )


def _scale_findings(
    base: ListedLevel, level: ListedLevel, image: Image, told: int | None
) -> Iterator[Finding]:
    """Whether shapes shrink as scales grow: within one pixel, as roundings differ."""
    full, shape = base.facts.shape or (), level.facts.shape or ()
    if base.scale is None or level.scale is None:
        return
    if not len(full) == len(shape) == len(base.scale) == len(level.scale) <= _MAX_RANK:
        return
    for axis, (whole, part) in enumerate(zip(full, shape, strict=True)):
        factor = level.scale[axis] / base.scale[axis]
        if axis != told and abs(part - whole / factor) > 1 + 1e-6 * whole:
            name = image.axes[axis] if image.axes else str(axis)
            yield Finding(
                "level-scale",
                level.location.removesuffix(".path") + ".coordinateTransformations",
                f"along {name} pixels are {factor:.4g} times as large as in the finest level, but {whole} of "
                f"them became {part}",
                "warning",
                image.file,
                f"about {base.scale[axis] * whole / part:.4g}" if part else None,
                f"{level.scale[axis]:.6g}",
                f"OME-NGFF {image.version}, multiscales: a scale is the size of the level's pixels (MUST)",
                "correct the scale, or compute the level anew",
            )


def _channel_findings(image: Image, level: ListedLevel, channels: int, axis: int | None) -> Iterator[Finding]:
    shape = level.facts.shape or ()
    size = 1 if axis is None else shape[axis] if axis < len(shape) else None
    if size is None or size == channels:
        return
    place = image.location.rpartition("multiscales")[0]
    yield Finding(
        "channel-count",
        f"{place}omero.channels",
        f"lists {channels} channels, and the arrays have {size}",
        "warning",
        image.file,
        str(size),
        str(channels),
        f"OME-NGFF {image.version}, omero: one entry for each channel of the image",
        "`platestore check --repair` fits the list",
    )
