"""What a layout means: files, memory, and which writes read and rewrite what is already there.

A write that covers a part of a unit (a shard, or a chunk where there are none) reads all of it,
decodes it, and writes it again; here this is foreseen instead of found out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from platestore.arrays.codecs import CompressorLike
from platestore.arrays.layout import (
    MAX_CHUNK_BYTES,
    ArrayLayout,
    Shards,
    axis_labels,
    grid,
    is_aligned,
    stack_axes,
    touched,
)
from platestore.arrays.metadata import summarise
from platestore.errors import ArgumentError
from platestore.settings import human_bytes
from platestore.spec.versions import sharding
from platestore.storage.hierarchy import ArrayDocument, ZarrFormat

if TYPE_CHECKING:
    import numpy.typing as npt

#: More files than this in one array are slow to copy, list and delete.
_MANY_FILES = 100_000
#: Files smaller than this cost more to open than to read.
_SMALL_FILE = 64 * 2**10
#: The memory budget that pyramids take by default.
_BUDGET = 2**30
#: A chunk layout is suggested for windows of at least this many pixels; smaller chunks cost too much.
_SMALL_WINDOW = 64
#: Share of stored elements beyond the end of the array that is worth a word.
_OVERHANG = 0.2


@dataclass(frozen=True, slots=True)
class WriteCost:
    """What one write does.

    Attributes
    ----------
    name : str
        What is written: ``"frame"`` (one YX plane), ``"stack"`` (ZYX), ``"channel"``, ``"time point"``,
        or the unit (``"shard"``, ``"chunk"``).
    shape : tuple of int
        Its shape.
    nbytes : int
        Bytes of its pixels.
    whole : bool
        Whether it covers whole units only; if not, these are read and rewritten.
    files : int
        Number of files that it touches.
    rewritten : int
        Bytes (decoded) of the units that are read, decoded, encoded and written again; 0 if ``whole``.
    """

    name: str
    shape: tuple[int, ...]
    nbytes: int
    whole: bool
    files: int
    rewritten: int


@dataclass(frozen=True, slots=True)
class LayoutPlan:
    """What a layout means for the files on disk and the memory of those who write them.

    Attributes
    ----------
    shape : tuple of int
        Shape of the array.
    dtype : str
        Name of the data type.
    axes : tuple of str
        Names of the axes.
    zarr_format : {2, 3}
        Version of zarr.
    chunks, shards : tuple of int, tuple of int or None
        Shapes of a chunk and of a shard.
    chunk_count : int
        Number of chunks that cover the array.
    chunk_nbytes : int
        Bytes of a whole chunk before compression.
    shard_count : int or None
        Number of shards that cover it; None without shards.
    files : int
        Number of files once everything is written.
    file_nbytes : int
        Bytes of the largest file before compression.
    total_nbytes : int
        Bytes of all pixels.
    memory_per_writer : int
        Bytes that one writer of whole units needs: one unit decoded, and encoded at worst as large.
    compressor : str
        The compressor, or the codecs of an existing array in words.
    checksum : bool
        Whether each chunk has a crc32c.
    writes : tuple of WriteCost
        What typical writes do, at the beginning of the array.
    advice : tuple of str
        What could be better, and how; empty if nothing.
    """

    shape: tuple[int, ...]
    dtype: str
    axes: tuple[str, ...]
    zarr_format: ZarrFormat
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    chunk_count: int
    chunk_nbytes: int
    shard_count: int | None
    files: int
    file_nbytes: int
    total_nbytes: int
    memory_per_writer: int
    compressor: str
    checksum: bool
    writes: tuple[WriteCost, ...]
    advice: tuple[str, ...]

    def __str__(self) -> str:
        return self.render()

    def render(self) -> str:
        """The plan as people like to read it.

        Examples
        --------
        >>> plan = position.plan_layout()
        >>> print(plan.render())
        array      1×2×4×64×64 (t, c, z, y, x), uint16, 64.0 KiB, zarr v3
        chunks     2 of 1×1×4×64×64, 32.0 KiB each
        files      2, the largest 32.0 KiB before compression
        ...
        """
        unit = "chunk" if self.shards is None else "shard"
        lines = [
            f"array      {_dims(self.shape)} ({', '.join(self.axes)}), {self.dtype}, "
            f"{human_bytes(self.total_nbytes)}, zarr v{self.zarr_format}",
            f"chunks     {self.chunk_count:,} of {_dims(self.chunks)}, {human_bytes(self.chunk_nbytes)} each",
        ]
        if self.shards is not None:
            lines.append(f"shards     {self.shard_count:,} of {_dims(self.shards)}")
        checksum = ", each chunk with a crc32c" if self.checksum else ""
        lines += [
            f"files      {self.files:,}, the largest {human_bytes(self.file_nbytes)} before compression",
            f"codec      {self.compressor}{checksum}",
            f"memory     {human_bytes(self.memory_per_writer)} per writer (a {unit}, decoded and encoded)",
        ]
        for i, cost in enumerate(self.writes):
            lines.append(f"{'writes' if i == 0 else '':<10} {_describe(cost, unit)}")
        lines += [f"{'advice' if i == 0 else '':<10} {text}" for i, text in enumerate(self.advice)]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON: the attributes by their names, sizes in bytes."""
        writes = [{name: _plain(getattr(cost, name)) for name in cost.__slots__} for cost in self.writes]
        return {name: _plain(getattr(self, name)) for name in self.__slots__} | {"writes": writes}


def plan_for(
    existing: ArrayLayout | None = None,
    *,
    shape: Sequence[int] | None = None,
    dtype: npt.DTypeLike | None = None,
    zarr_format: ZarrFormat,
    axis_names: Sequence[str] | None = None,
    chunks: Sequence[int] | None = None,
    shards_ratio: Sequence[int] | None = None,
    shards: Shards | None = None,
    compressor: CompressorLike | None = None,
    checksum: bool = False,
) -> LayoutPlan:
    """Say what a layout would mean, or what that of an existing array means.

    Parameters
    ----------
    existing : ArrayLayout, optional
        Layout of an existing array. With any of the options below, or the other version of zarr, the plan
        is that of a new array of its shape and data type; what no option names is the default of a new
        array, not what the array has.
    shape, dtype : sequence of int, dtype-like
        Shape and data type, where there is no ``existing``.
    zarr_format : {2, 3}
        Version of zarr of the (new) array.
    axis_names : sequence of str, optional
        Names of the axes; without them the last five of T, C, Z, Y, X.
    chunks, shards_ratio, shards, compressor, checksum
        As for the creation of images.

    Returns
    -------
    LayoutPlan

    Raises
    ------
    ArgumentError
        If one of them is wrong, or both or neither of an array and a shape are given.
    """
    if (existing is None) == (shape is None) or (existing is None) == (dtype is None):
        raise ArgumentError("name an existing array, or a shape and a dtype")
    options = [chunks, shards_ratio, shards, compressor]
    if existing is not None:
        if (
            all(option is None for option in options)
            and not checksum
            and _format(existing) in (None, zarr_format)
        ):
            return explain(existing, axis_names, zarr_format)
        shape, dtype = existing.shape, existing.dtype
    from platestore.arrays.codec_objects import plan_with

    kind: Any = dtype
    layout = plan_with(
        compressor,
        shape or (),
        kind,
        zarr_format=zarr_format,
        chunks=chunks,
        shards_ratio=shards_ratio,
        shards=shards,
        checksum=checksum,
        axis_names=axis_names,
    )
    return explain(layout, axis_names, zarr_format)


def explain(layout: ArrayLayout, axis_names: Sequence[str] | None, zarr_format: ZarrFormat) -> LayoutPlan:
    """Say what a layout means.

    Parameters
    ----------
    layout : ArrayLayout
        From :func:`~platestore.arrays.layout.plan`, or that of an existing array.
    axis_names : sequence of str or None
        Names of the axes; None for the last five of T, C, Z, Y, X.
    zarr_format : {2, 3}
        Version of zarr.

    Returns
    -------
    LayoutPlan
    """
    labels = axis_labels(len(layout.shape), axis_names)
    files = math.prod(layout.grid)
    # A shard that reaches beyond the array holds no chunks there; a chunk is always stored whole.
    cover = (n * c for n, c in zip(grid(layout.shape, layout.chunks), layout.chunks, strict=True))
    largest = (min(u, n) for u, n in zip(layout.units, cover, strict=True))
    writes = tuple(_cost(layout, name, region) for name, region in _typical(layout, labels))
    return LayoutPlan(
        shape=layout.shape,
        dtype=layout.dtype.name,
        axes=tuple(axis_names or labels),
        zarr_format=zarr_format,
        chunks=layout.chunks,
        shards=layout.shards,
        chunk_count=math.prod(grid(layout.shape, layout.chunks)),
        chunk_nbytes=layout.chunk_nbytes,
        shard_count=None if layout.shards is None else files,
        files=files,
        file_nbytes=math.prod(largest) * layout.dtype.itemsize,
        total_nbytes=math.prod(layout.shape) * layout.dtype.itemsize,
        memory_per_writer=2 * layout.unit_nbytes,
        compressor=_codec(layout),
        checksum=layout.checksum,
        writes=writes,
        advice=tuple(_advice(layout, labels, zarr_format, writes[0])),
    )


def frame_layout_hint(layout: ArrayLayout, region: Sequence[slice] | None) -> str:
    """Say how an array should be laid out, or written, so that a write of a region rewrites nothing.

    Parameters
    ----------
    layout : ArrayLayout
        Layout of the array that is written.
    region : sequence of slice or None
        What is written: one slice of step 1 per axis, with bounds of 0 or more (or None); None for
        anything that is no such region.

    Returns
    -------
    str
        An imperative, such as ``"create the array with chunks=(1, 1, 1, 2048, 2048)"``.
    """
    suggested = None if region is None else _fitting_chunks(layout, region)
    if suggested is not None:
        without = " and without shards" if layout.shards else ""
        return f"create the array with chunks={suggested}{without}, or write whole {_kind(layout)}s at a time"
    return f"write whole {_kind(layout)}s of {layout.units} at a time; the array's write_units() yields them"


def _fitting_chunks(layout: ArrayLayout, region: Sequence[slice]) -> tuple[int, ...] | None:
    """Chunks of which the region is whole ones, or None if they would be too small or cannot be told."""
    out = []
    for i, (size, chunk, part) in enumerate(zip(layout.shape, layout.chunks, region, strict=True)):
        start, stop = part.start or 0, size if part.stop is None else min(part.stop, size)
        extent = stop - start
        if extent <= 0 or start % extent:
            if not is_aligned((size,), (chunk,), (part,)):
                return None
            extent = chunk
        elif is_aligned((size,), (chunk,), (part,)):
            extent = min(chunk, size)
        if i >= len(layout.shape) - 2 and extent < min(size, _SMALL_WINDOW):
            return None
        out.append(extent)
    return tuple(out) if math.prod(out) * layout.dtype.itemsize <= MAX_CHUNK_BYTES else None


# --- writes ---------------------------------------------------------------------------------------


def _typical(layout: ArrayLayout, labels: tuple[str, ...]) -> list[tuple[str, list[slice]]]:
    """Typical writes and their regions; the frame is the first, the unit the last."""
    stack = stack_axes(labels)

    def spanning(axes: Sequence[int]) -> list[slice]:
        return [slice(0, n if i in axes else min(n, 1)) for i, n in enumerate(layout.shape)]

    every = range(len(labels))
    writes = [("frame", spanning(stack[-2:]))]
    if len(stack) == 3:
        writes.append(("stack", spanning(stack)))
    for name, label in (("channel", "C"), ("time point", "T")):
        if label in labels:
            writes.append((name, spanning([i for i in every if labels[i] != label])))
    units = [slice(0, min(u, n)) for u, n in zip(layout.units, layout.shape, strict=True)]
    return [*writes, (_kind(layout), units)]


def _cost(layout: ArrayLayout, name: str, region: Sequence[slice]) -> WriteCost:
    shape = tuple(part.stop - part.start for part in region)
    files = touched(layout.shape, layout.units, region)
    whole = is_aligned(layout.shape, layout.units, region)
    # Units that lie in the region as a whole are not read; along each axis all but the last do.
    covered = (
        part.stop // u if part.stop < n else -(-n // u)
        for part, u, n in zip(region, layout.units, layout.shape, strict=True)
    )
    rewritten = (files - math.prod(covered)) * layout.unit_nbytes
    return WriteCost(name, shape, math.prod(shape) * layout.dtype.itemsize, whole, files, rewritten)


def _kind(layout: ArrayLayout) -> str:
    return "shard" if layout.shards else "chunk"


def _format(layout: ArrayLayout) -> ZarrFormat | None:
    """Version of zarr of the array that a layout follows, if it follows one."""
    if layout.template is None:
        return None
    return 2 if json.loads(layout.template)["zarr_format"] == 2 else 3


def _codec(layout: ArrayLayout) -> str:
    zarr_format = _format(layout)
    if layout.compressor is not None or layout.template is None or zarr_format is None:
        return str(layout.compressor)
    return summarise(ArrayDocument("", zarr_format, layout.template.encode())).codec


# --- advice ---------------------------------------------------------------------------------------


def _advice(
    layout: ArrayLayout, labels: tuple[str, ...], zarr_format: ZarrFormat, frame: WriteCost
) -> list[str]:
    unit, size = _kind(layout), layout.unit_nbytes
    out = []
    if not frame.whole:
        plane = stack_axes(labels)[-2:]
        chunks = tuple(n if i in plane else 1 for i, n in enumerate(layout.chunks))
        if layout.shards:
            better = f"write {_dims(layout.units)} at a time, or leave shards out, with chunks={chunks}"
        else:
            better = f"chunks={chunks} writes each frame once"
        out.append(f"frames rewrite a {human_bytes(size)} {unit}: {better}")
    files = math.prod(layout.grid)
    if files > _MANY_FILES:
        how = (
            'shards="1GB" puts many chunks into one'
            if zarr_format == 3
            else f"version {sharding().name} has shards"
        )
        out.append(f"{files:,} files are slow to copy and to delete: {how}")
    if size < _SMALL_FILE and files > 1000:
        out.append(f"files of {human_bytes(size)} cost more to open than to read: pass larger chunks=")
    if 2 * size > _BUDGET:
        how = 'shards="500MB"' if layout.shards and layout.chunk_nbytes <= 5e8 else "smaller chunks="
        out.append(f"a writer needs {human_bytes(2 * size)} of memory: {how} would need at most 1 GiB")
    stored = math.prod(n * c for n, c in zip(grid(layout.shape, layout.chunks), layout.chunks, strict=True))
    if not stored:
        return out
    beyond = 1 - math.prod(layout.shape) / stored
    even = tuple(-(-n // g) for n, g in zip(layout.shape, grid(layout.shape, layout.chunks), strict=True))
    if beyond > _OVERHANG and even != layout.chunks:
        out.append(f"{beyond:.0%} of what is stored lies beyond the image: chunks={even} fits it better")
    return out


# --- text -----------------------------------------------------------------------------------------


def _describe(cost: WriteCost, unit: str) -> str:
    what = f"one {cost.name} ({human_bytes(cost.nbytes)})"
    files = f"{cost.files:,} file{'' if cost.files == 1 else 's'}"
    if cost.whole:
        return f"{what:<28} {files}, whole {unit}s"
    return f"{what:<28} {files}, of which {human_bytes(cost.rewritten)} are read and rewritten"


def _dims(values: Sequence[int]) -> str:
    return "×".join(map(str, values))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
