"""What is written besides pixels: the documents of the arrays and of the image."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from platestore.arrays.layout import ArrayLayout, check_integers, level_layout, plan
from platestore.errors import ArgumentError
from platestore.multiscales.chunking import resolve_chunks, resolve_shards
from platestore.multiscales.images import ORDER, check_channels, type_of
from platestore.multiscales.options import Options
from platestore.spec.axes import axes_findings, channel_index
from platestore.spec.multiscales import ImagesMeta
from platestore.spec.names import split_path
from platestore.spec.omero import OMEROMeta, complete, new_omero
from platestore.storage.documents import check_json
from platestore.storage.hierarchy import ArrayDocument

if TYPE_CHECKING:
    from platestore.multiscales.model import LevelsRecipe, Metadata, NgffImage


@dataclass(frozen=True, slots=True)
class Documents:
    """Everything but pixels.

    Attributes
    ----------
    options : Options
        How it is written.
    meta : ImagesMeta
        The image's metadata.
    arrays : list of ArrayDocument
        The arrays, from the finest.
    groups : list of str
        Groups between the root and the arrays.
    pixels : list
        What each level is read from.
    recipe : LevelsRecipe or None
        How the levels after the first are made; None if each is written as it is.
    layouts : list of ArrayLayout
        Layouts of the arrays.
    """

    options: Options
    meta: ImagesMeta
    arrays: list[ArrayDocument]
    groups: list[str]
    pixels: list[Any]
    recipe: LevelsRecipe | None
    layouts: list[ArrayLayout]

    def root(self, foreign: Mapping[str, Any], own: Mapping[str, Any] | None) -> dict[str, Any]:
        """Attributes of the root group.

        Parameters
        ----------
        foreign : mapping
            Attributes of others that are there already.
        own : mapping, optional
            Attributes that come with the image; they go before those.
        """
        given = dict(own or {})
        check_json(given, where="root_attributes")
        ours = self.options.ngff.without_others(given, "image")
        if ours:
            raise ArgumentError(
                f"root_attributes holds {', '.join(ours)}, which the metadata says", hint="leave them out"
            )
        attributes = {**foreign, **given}
        self.options.ngff.pack(attributes, "image", self.meta.to_json(), {})
        return attributes

    def nbytes(self, level: int) -> int:
        """Bytes of a level's pixels."""
        layout = self.layouts[level]
        return math.prod(layout.shape) * layout.dtype.itemsize


def plan_documents(
    levels: Sequence[NgffImage],
    metadata: Metadata,
    chunks: Any,
    recipe: LevelsRecipe | None,
    options: Options,
) -> Documents:
    """Check an image and plan what is written of it; no pixel is read.

    Parameters
    ----------
    levels : sequence of NgffImage
        The levels, from the finest.
    metadata : Metadata
        What is said of them.
    chunks : optional
        Length of a chunk, as users say it.
    recipe : LevelsRecipe or None
        How the levels after the first are made, if they are.
    options : Options
        How it is written.

    Raises
    ------
    ArgumentError
        If levels, axes or metadata do not fit each other.
    """
    if not levels:
        raise ArgumentError("the image has no levels")
    if len(levels) != len(metadata.datasets):
        raise ArgumentError(
            f"there are {len(levels)} images, and {len(metadata.datasets)} datasets in the metadata"
        )
    dims = _dims(levels, metadata)
    _check_levels(levels, dims)
    sizes = dict(zip(dims, levels[0].data.shape, strict=True))
    lengths = resolve_chunks(chunks, dims, levels[0].data.shape)
    ratio = resolve_shards(options.chunks_per_shard, dims, options.ngff, archive=options.is_archive)
    layouts = [_layout(level.data, dims, lengths, ratio, options) for level in levels]
    paths = _paths(metadata.datasets)
    names = [axis.name for axis in metadata.axes]
    options.check_names(names)
    arrays = [
        ArrayDocument(
            path,
            options.zarr_format,
            json.dumps(layout.document(options.zarr_format, names)).encode(),
        )
        for path, layout in zip(paths, layouts, strict=True)
    ]
    omero = _omero(levels[0], metadata, sizes.get("c"), layouts[0])
    meta = ImagesMeta(multiscales=[metadata.image()], omero=omero)
    problems = list(meta.findings())
    if problems:
        raise ArgumentError(f"the metadata breaks the specification: {'; '.join(map(str, problems))}")
    return Documents(
        options=options,
        meta=meta,
        arrays=arrays,
        groups=_groups(paths),
        pixels=[_pixels(level) for level in levels],
        recipe=recipe,
        layouts=layouts,
    )


def _pixels(level: Any) -> Any:
    """An array in memory, or a source."""
    import numpy as np

    from platestore.arrays.sources import as_source

    pixels = level._pixels()
    return pixels if type(pixels) is np.ndarray else as_source(pixels)


def _dims(levels: Sequence[NgffImage], metadata: Metadata) -> tuple[str, ...]:
    """The axes, which images and metadata must agree on."""
    dims = tuple(axis.name.lower() for axis in metadata.axes)
    for k, level in enumerate(levels):
        if tuple(level.dims) != dims:
            raise ArgumentError(
                f"level {k} has the axes {', '.join(level.dims)}; the metadata says {', '.join(dims)}",
                hint="to_multiscales() brings axes into the specification's order",
            )
    for problem in axes_findings(metadata.axes, "axes"):
        raise ArgumentError(str(problem), hint=f"the order is {', '.join(ORDER)}")
    return dims


def _check_levels(levels: Sequence[NgffImage], dims: Sequence[str]) -> None:
    """Levels become no larger, and have one type."""
    before = None
    for k, level in enumerate(levels):
        shape = check_integers(level.data.shape, f"the shape of level {k}")
        if len(shape) != len(dims):
            raise ArgumentError(f"level {k} has the shape {shape}; there are {len(dims)} axes")
        if before is not None and any(n > m for n, m in zip(shape, before, strict=True)):
            raise ArgumentError(f"level {k} has the shape {shape}, which is larger than {before} before it")
        kind = type_of(level.data)
        if kind != type_of(levels[0].data):
            raise ArgumentError(f"level {k} has the type {kind}, and level 0 {levels[0].data.dtype}")
        before = shape


def _layout(
    data: Any,
    dims: Sequence[str],
    chunks: Mapping[str, int],
    ratio: Mapping[str, int] | None,
    options: Options,
) -> ArrayLayout:
    shape = tuple(int(n) for n in data.shape)
    lengths = [min(chunks[d], n) for d, n in zip(dims, shape, strict=True)]
    shards = None
    if ratio is not None:
        rows = zip(dims, shape, lengths, strict=True)
        shards = [max(1, min(ratio[d], -(-n // c))) for d, n, c in rows]
    layout = plan(
        shape,
        type_of(data),
        zarr_format=options.zarr_format,
        chunks=lengths,
        shards_ratio=shards,
        axis_names=dims,
    )
    return level_layout(options.encoded(layout, dims), shape)


def _paths(datasets: Sequence[Any]) -> list[str]:
    """Paths of the arrays, none inside another."""
    paths = [split_path(d.path, location="datasets", document="metadata") for d in datasets]
    for path in paths:
        if any(path != other and path.startswith(f"{other}/") for other in paths) or paths.count(path) > 1:
            raise ArgumentError(f"the dataset {path!r} lies inside another, or is listed twice")
    return paths


def _groups(paths: Sequence[str]) -> list[str]:
    """Groups between the root and the arrays, the outermost first."""
    found: dict[str, None] = {}
    for path in paths:
        parts = path.split("/")[:-1]
        found |= dict.fromkeys("/".join(parts[: i + 1]) for i in range(len(parts)))
    return sorted(found, key=lambda p: (p.count("/"), p))


def _omero(
    first: NgffImage, metadata: Metadata, channels: int | None, layout: ArrayLayout
) -> OMEROMeta | None:
    """Names, colours and windows of the channels; None without a channel axis, names and colours."""
    names, colors = check_channels(first, channels)
    given = metadata.omero
    if given is None and names is None and colors is None and channel_index(metadata.axes) is None:
        return None
    count = 1 if channels is None else channels
    if given is None or len(given.channels) != count:
        labels = names or [str(i) for i in range(count)]
        omero = new_omero(labels, name=metadata.name, dtype=layout.dtype.name)
    else:
        omero = given.model_copy(deep=True)
    for i, channel in enumerate(omero.channels):
        channel.label = names[i] if names is not None else channel.label
        channel.color = colors[i] if colors is not None else channel.color
    complete(omero, layout.dtype.name)
    return omero
