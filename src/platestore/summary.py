"""What ``platestore info`` and ``platestore ls`` tell: facts about a node, as data and as text.

Only documents are read: of a plate its own, one well and one position, unless everything is asked for.
"""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from platestore.acquisition.extent import running_extent
from platestore.arrays.metadata import ArraySummary, summarise
from platestore.errors import UnreadableWarning
from platestore.settings import human_bytes
from platestore.spec import pyramids
from platestore.spec.edits import effective_scale, effective_translation
from platestore.tree.editor import AnyEditor
from platestore.tree.image import ImageEditor, LabelImageEditor, LabelsEditor
from platestore.tree.opening import open_editor
from platestore.tree.plate import PlateEditor, RowEditor
from platestore.tree.series import SeriesEditor
from platestore.tree.well import WellEditor


class _Fact(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, defer_build=True)


class AxisInfo(_Fact):
    """One axis."""

    name: str
    type: str | None
    unit: str | None


class ChannelInfo(_Fact):
    """One channel."""

    name: str
    color: str | None
    """Six hexadecimal digits."""
    window: dict[str, float] | None
    """start, end, min and max, in grey values."""


class LevelInfo(_Fact):
    """One array (resolution level)."""

    path: str
    shape: list[int]
    dtype: str
    chunks: list[int]
    shards: list[int] | None
    codec: str
    scale: list[float]
    """Physical units per pixel, the position's own scale included."""
    translation: list[float]
    nbytes: int
    """Bytes of the decoded pixels."""


class ImageInfo(_Fact):
    """One multiscale image."""

    name: str | None
    downsampling: str | None
    """The method that made the coarser levels, as the document names it."""
    levels: list[LevelInfo]
    unfinished: bool
    """Whether a mark says that levels are not computed, or a region of them is being made anew."""


class WellInfo(_Fact):
    """One listed well."""

    path: str
    row: int
    column: int
    fields: int | None
    """Number of positions; null where the well was not read."""


class PlateInfo(_Fact):
    """The plate around the positions."""

    name: str | None
    rows: list[str]
    columns: list[str]
    wells: list[WellInfo]
    acquisitions: list[int] | None
    positions: int
    """Number of positions; an estimate unless ``positions_exact``."""
    positions_exact: bool
    plate_format: int | None


class SizeInfo(_Fact):
    """Size on disk; only with ``verbose``, since it walks the whole store."""

    files: int
    bytes: int
    decoded_bytes: int
    ratio: float | None
    """Decoded bytes divided by bytes on disk."""


class NodeInfo(_Fact):
    """Everything ``platestore info --json`` says of one path."""

    path: str
    kind: Literal["plate", "row", "well", "position", "label", "labels", "series"]
    ome_ngff_version: str
    zarr_format: int
    position: str | None
    """The position that axes, channels and images describe, relative to ``path``; "" for itself."""
    axes: list[AxisInfo]
    channels: list[ChannelInfo]
    images: list[ImageInfo]
    labels: dict[str, int]
    """Label images of the position, with their numbers of levels."""
    plate: PlateInfo | None
    positions: list[str] | None
    """Names of the positions of a well, row or series, or of the images in a labels group."""
    acquisition: dict[str, int | bool] | None
    """Complete time points and frames of the position while it is being acquired."""
    size: SizeInfo | None
    warnings: list[str]
    """Flaws of the metadata that were read over."""
    unreadable: list[str]
    """Listed members that could not be opened."""


def describe(path: str | os.PathLike[str], *, verbose: bool = False) -> NodeInfo:
    """Collect the facts about a node.

    Parameters
    ----------
    path : str or Path
        A store, or a node in one.
    verbose : bool
        Whether to count all positions and measure the size on disk, which reads every well and lists
        every file.

    Returns
    -------
    NodeInfo

    Raises
    ------
    PlatestoreError
        If something that was named, or is described, cannot be read.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        node = open_editor(path)
        wells = _wells(node, verbose=verbose)
        inner, position = _first_position(node, wells)
        described: AnyEditor = position or node
        info = NodeInfo(
            path=os.fspath(path),
            kind=_kind(node),
            ome_ngff_version=node.location.version,
            zarr_format=node.location.zarr_format,
            position=inner,
            axes=[AxisInfo(name=a.name, type=a.type, unit=a.unit) for a in described.axes],
            channels=_channels(position) if position else _named(node),
            images=_images(position) if position else [],
            labels={name: len(label.names()) for name, label in position.labels()} if position else {},
            plate=_plate(node, wells, verbose=verbose) if isinstance(node, PlateEditor) else None,
            positions=_names(node, wells),
            acquisition=_acquisition(position),
            size=_size(node, position) if verbose else None,
            warnings=[],
            unreadable=[],
        )
    for warning in caught:
        target = info.unreadable if issubclass(warning.category, UnreadableWarning) else info.warnings
        if str(warning.message) not in target:
            target.append(str(warning.message))
    return info


def _acquisition(position: ImageEditor | None) -> dict[str, int | bool] | None:
    """What is complete of a position that is being acquired; None for any other one."""
    found = None if position is None else running_extent(position)
    return None if found is None else found.to_json()


def positions(path: str | os.PathLike[str]) -> Iterator[str]:
    """Paths of the positions below a node, in the order of the metadata.

    Parameters
    ----------
    path : str or Path
        A plate, row, well or series; a position gives ``"."``.

    Yields
    ------
    str
        The path relative to ``path``. Positions are not opened, so none is checked.
    """
    node = open_editor(path)
    for relative, _ in _paths(node):
        yield relative


def _paths(node: AnyEditor) -> Iterator[tuple[str, AnyEditor]]:
    """Position paths, each with the node that lists it."""
    if isinstance(node, ImageEditor):
        yield ".", node
    elif isinstance(node, (PlateEditor, RowEditor)):
        for path, well in node.wells():
            for name in well.names():
                yield f"{path}/{name}", well
    else:
        for name in node.names():
            yield name, node


def _kind(node: AnyEditor) -> Any:
    kinds = {PlateEditor: "plate", RowEditor: "row", WellEditor: "well", SeriesEditor: "series"}
    return {**kinds, LabelImageEditor: "label", LabelsEditor: "labels"}.get(type(node), "position")


def _wells(node: AnyEditor, *, verbose: bool) -> dict[str, WellEditor]:
    """The wells that are read, by their paths from the node: of a plate the first, unless verbose."""
    if isinstance(node, PlateEditor):
        return dict(node.wells() if verbose else itertools.islice(node.wells(), 1))
    if isinstance(node, RowEditor):
        return dict(node.wells())
    return {"": node} if isinstance(node, WellEditor) else {}


def _first_position(node: AnyEditor, wells: dict[str, WellEditor]) -> tuple[str | None, ImageEditor | None]:
    """The position that is described: the node itself, or the first below it."""
    if isinstance(node, ImageEditor):
        return "", node
    if isinstance(node, SeriesEditor):
        return next(node.positions(), (None, None))
    if isinstance(node, LabelsEditor):
        return next(node.labels(), (None, None))
    for path, well in wells.items():
        for name, position in well.positions():
            return f"{path}/{name}".lstrip("/"), position
    return None, None


def _names(node: AnyEditor, wells: dict[str, WellEditor]) -> list[str] | None:
    """Positions of what is small enough to list them."""
    if isinstance(node, (PlateEditor, ImageEditor)):
        return None
    if isinstance(node, (SeriesEditor, LabelsEditor)):
        return node.names()
    return [f"{path}/{name}".lstrip("/") for path, well in wells.items() for name in well.names()]


def _named(node: AnyEditor) -> list[ChannelInfo]:
    return [ChannelInfo(name=name, color=None, window=None) for name in node.channel_names]


def _channels(position: ImageEditor) -> list[ChannelInfo]:
    omero = position.meta.omero
    names = position.channel_names
    if omero is None:
        return [ChannelInfo(name=name, color=None, window=None) for name in names]
    pairs = zip(names, omero.channels, strict=True)
    return [ChannelInfo(name=name, color=c.color, window=c.window) for name, c in pairs]


def _images(position: ImageEditor) -> list[ImageInfo]:
    out = []
    meta = position.meta
    for image in meta.multiscales:
        levels = []
        for dataset in image.datasets:
            facts = summarise(position.array_document(dataset.path))
            levels.append(
                _level(
                    dataset.path,
                    facts,
                    effective_scale(meta, dataset.path),
                    effective_translation(meta, dataset.path),
                )
            )
        if levels:
            unfinished = not pyramids.is_whole(image)
            out.append(
                ImageInfo(name=image.name, downsampling=image.type, levels=levels, unfinished=unfinished)
            )
    return out


def _level(path: str, facts: ArraySummary, scale: list[float], translation: list[float]) -> LevelInfo:
    return LevelInfo(
        path=path,
        shape=list(facts.shape),
        dtype=facts.dtype,
        chunks=list(facts.chunks),
        shards=None if facts.shards is None else list(facts.shards),
        codec=facts.codec,
        scale=scale,
        translation=translation,
        nbytes=facts.nbytes,
    )


def _plate(plate: PlateEditor, wells: dict[str, WellEditor], *, verbose: bool) -> PlateInfo:
    meta = plate.meta
    entries = plate.entries()
    fields = {path: len(well.names()) for path, well in wells.items()}
    exact = verbose or len(entries) <= 1
    known = next(iter(fields.values()), 0)
    return PlateInfo(
        name=meta.name,
        rows=[row.name for row in meta.rows],
        columns=[column.name for column in meta.columns],
        wells=[
            WellInfo(path=path, row=w.row_index, column=w.column_index, fields=fields.get(path))
            for path, w in entries.items()
        ],
        acquisitions=None if meta.acquisitions is None else [a.id for a in meta.acquisitions],
        positions=sum(fields.values()) if exact else known * len(entries),
        positions_exact=exact,
        plate_format=plate.own.plate_format,
    )


def _size(node: AnyEditor, first: ImageEditor | None) -> SizeInfo | None:
    """Files and bytes on disk, and the bytes of all decoded pixels."""
    storage, path = node.location.storage, node.location.path
    if not storage.knows_sizes:
        return None  # elsewhere, every file would be a request
    sizes = [storage.size_of(key) or 0 for key in storage.keys(path)]
    decoded = 0
    for position in _all_positions(node, first):
        for image in (position, *(label for _, label in position.labels())):
            decoded += sum(summarise(image.array_document(path)).nbytes for path in image.names())
    size = sum(sizes)
    return SizeInfo(
        files=len(sizes), bytes=size, decoded_bytes=decoded, ratio=decoded / size if size else None
    )


def _all_positions(node: AnyEditor, first: ImageEditor | None) -> Iterator[ImageEditor]:
    if isinstance(node, (PlateEditor, WellEditor, SeriesEditor)):
        for _, position in node.positions():
            yield position
    elif isinstance(node, RowEditor):
        for _, well in node.wells():
            for _, position in well.positions():
                yield position
    elif isinstance(node, LabelsEditor):
        yield from (label for _, label in node.labels())
    elif first is not None:
        yield first


# --- text -----------------------------------------------------------------------------------------


def render(info: NodeInfo) -> str:
    """The facts as people like to read them."""
    lines = [f"{info.path}", f"  {info.kind}, OME-Zarr {info.ome_ngff_version} (zarr v{info.zarr_format})"]
    if info.plate is not None:
        lines += _render_plate(info.plate)
    elif info.positions is not None:
        lines.append(f"  positions  {_shorten(info.positions)}")
    lines.append(f"  axes       {_render_axes(info.axes)}")
    lines += _render_channels(info.channels)
    if info.position:
        lines.append(f"  position {info.position}")
    for image in info.images:
        lines += _render_image(image, info.axes)
    if not info.images:
        lines.append("  no image yet")
    if info.labels:
        levels = [f"{name} ({n} level{'s' if n > 1 else ''})" for name, n in info.labels.items()]
        lines.append(f"  labels     {_shorten(levels)}")
    if info.acquisition is not None:
        words = f"{info.acquisition['time_points']} complete time points, {info.acquisition['frames']} frames"
        lines.append(f"  being written: {words}")
    if info.size is not None:
        ratio = f", compressed {info.size.ratio:.2f}×" if info.size.ratio else ""
        lines.append(
            f"  on disk    {human_bytes(info.size.bytes)} in {info.size.files} files "
            f"({human_bytes(info.size.decoded_bytes)} of pixels{ratio})"
        )
    lines += [f"  warning    {text}" for text in info.warnings]
    lines += [f"  unreadable {text}" for text in info.unreadable]
    lines += ["", *(f"    {line}".rstrip() for line in _snippet(info))]
    return "\n".join(lines)


def _shorten(items: list[str], limit: int = 12) -> str:
    shown = ", ".join(items[:limit]) or "none"
    return shown if len(items) <= limit else f"{shown}, ... ({len(items)})"


def _render_axes(axes: list[AxisInfo]) -> str:
    return ", ".join(f"{a.name} ({a.unit or a.type or 'no type'})" for a in axes)


def _render_channels(channels: list[ChannelInfo]) -> list[str]:
    width = max((len(c.name) for c in channels), default=0)
    lines = []
    for i, channel in enumerate(channels):
        window = channel.window or {}
        limits = f"  {window['start']:g} to {window['end']:g}" if {"start", "end"} <= set(window) else ""
        color = f"  #{channel.color}" if channel.color else ""
        lines.append(f"  {'channels' if i == 0 else '':<9}  {channel.name:<{width}}{color}{limits}".rstrip())
    return lines


def _render_image(image: ImageInfo, axes: list[AxisInfo]) -> list[str]:
    first = image.levels[0]
    shards = f", shards {_dims(first.shards)}" if first.shards else ""
    levels = f"{len(image.levels)} level{'s' if len(image.levels) > 1 else ''}"
    method = f" ({image.downsampling})" if image.downsampling not in (None, "none") else ""
    lines = [
        f"  image      {first.dtype}, chunks {_dims(first.chunks)}{shards}, {first.codec}, {levels}{method}"
    ]
    for level in image.levels:
        scale = _scale(level.scale, axes)
        lines.append(f"    {level.path:<8} {_dims(level.shape)}  {human_bytes(level.nbytes)}  {scale}")
    if image.unfinished:
        lines.append("    the levels are not computed, or not to their end: run `platestore pyramid`")
    return lines


def _scale(scale: list[float], axes: list[AxisInfo]) -> str:
    steps = []
    for value, axis in zip(scale, axes, strict=False):
        if axis.type == "space" or value != 1:
            steps.append(f"{axis.name} {value:g}")
    return "scale " + ", ".join(steps) if steps else ""


def _dims(values: list[int]) -> str:
    return "×".join(map(str, values))


def _render_plate(plate: PlateInfo) -> list[str]:
    about = "" if plate.positions_exact else "≈"
    shape = f"{len(plate.rows)} rows × {len(plate.columns)} columns"
    if plate.plate_format:
        shape += f" ({plate.plate_format}-well format)"
    lines = []
    if plate.name:
        lines.append(f"  name       {plate.name}")
    lines.append(f"  plate      {shape}, {len(plate.wells)} wells, {about}{plate.positions} positions")
    if plate.acquisitions:
        lines.append(f"  acquired   {', '.join(map(str, plate.acquisitions))}")
    return lines + plate_map(plate)


def plate_map(plate: PlateInfo) -> list[str]:
    """The plate as a grid: a mark, or the number of fields where it is known, for each listed well."""
    if not plate.wells:
        return []
    wells = {(well.row, well.column): well for well in plate.wells}
    marks = {place: "■" if w.fields is None else str(w.fields) for place, w in wells.items()}
    if not plate.positions_exact:
        marks = dict.fromkeys(marks, "■")
    row_width = max(len(name) for name in plate.rows)
    cell = max(*(len(name) for name in plate.columns), *(len(m) for m in marks.values()))
    if len(plate.columns) > 24:
        cell = max(len(m) for m in marks.values())
        names = [name if (i + 1) % 5 == 0 else "" for i, name in enumerate(plate.columns)]
        header = "".join(_tick(name, cell + 1) for name in names)
    else:
        header = "".join(f" {name:>{cell}}" for name in plate.columns)
    lines = [f"    {'':<{row_width}}{header}".rstrip()]
    for r, name in enumerate(plate.rows):
        cells = "".join(f" {marks.get((r, c), '·'):>{cell}}" for c in range(len(plate.columns)))
        lines.append(f"    {name:<{row_width}}{cells}")
    if not plate.positions_exact:
        fields = next((w.fields for w in plate.wells if w.fields is not None), None)
        path = next((w.path for w in plate.wells if w.fields is not None), None)
        if fields is not None:
            lines.append(f"    fields per well ≈{fields} (as in {path}; -v counts all)")
    return lines


def _tick(name: str, width: int) -> str:
    return name[-width:].rjust(width)


def _snippet(info: NodeInfo) -> list[str]:
    """Python code that opens the first image."""
    lines = [
        "from platestore import open_ome_zarr",
        "",
        f"with open_ome_zarr({info.path!r}) as {info.kind}:",
    ]
    if not info.images:
        return [*lines, f"    print({info.kind}.channel_names)"]
    position = f"[{info.position!r}]" if info.position else ""
    return [*lines, f"    image = {info.kind}{position}.data[:]"]
