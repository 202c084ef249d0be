"""What a stream is asked for, and its positions: created, or taken up where a run stopped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from platestore.acquisition.recovery import recover
from platestore.acquisition.runlog import RunLog
from platestore.acquisition.track import Track, written_before
from platestore.arrays.options import LayoutOptions
from platestore.arrays.types import DType
from platestore.errors import ArgumentError, NodeExistsError, UnsupportedError
from platestore.images import pyramids
from platestore.images.creation import create_zeros
from platestore.images.pyramids import Request
from platestore.spec.reductions import reduction
from platestore.spec.transforms import TransformationMeta
from platestore.spec.values import Json
from platestore.tree.growth import grow_plate
from platestore.tree.image import ImageEditor
from platestore.tree.plate import PlateEditor
from platestore.tree.specs import array_plan

#: Time points that are reserved where nobody knows how many there will be; they double when they are used up.
_RESERVED = 64


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What every position of a stream gets.

    Attributes
    ----------
    shape : tuple of int or None
        Shape of its image; None for a time axis that grows.
    dtype : numpy.dtype
        Type of the pixels.
    channel_names : list of str, optional
        Names of its channels.
    scale : tuple of float, optional
        Size of a pixel along each axis.
    layout : LayoutOptions
        Chunks, shards, compressor, checksum.
    pyramid_levels : int, str or None
        Number of levels.
    pyramid_method : str
        How they are made.
    image : str
        Name of level 0.
    resume : bool
        Whether positions of an earlier run are gone on with.
    """

    shape: tuple[int | None, ...]
    dtype: DType
    channel_names: list[str] | None
    scale: tuple[float, ...] | None
    layout: LayoutOptions
    pyramid_levels: int | str | None
    pyramid_method: str
    image: str
    resume: bool

    def varied(
        self, shape: Sequence[int | None] | None, channel_names: Sequence[str] | None
    ) -> StreamOptions:
        """The same with another shape, or other channels."""
        names = self.channel_names if channel_names is None else list(channel_names)
        return replace(self, shape=self.shape if shape is None else tuple(shape), channel_names=names)


def prepare(
    editor: PlateEditor | ImageEditor, positions: Sequence[object] | None, options: StreamOptions
) -> dict[str, Track]:
    """Create the positions of a stream, or take them up; nothing is created if one of them cannot be had.

    Raises
    ------
    ArgumentError, NodeExistsError, UnsupportedError
        As for :func:`platestore.acquisition.stream`.
    """
    _check(editor, options)
    if isinstance(editor, ImageEditor):
        if positions:
            raise ArgumentError(
                "a Position has no positions: leave positions out", path=editor.location.where
            )
        found, new = {"": editor}, set()
        _refuse_runs(found, options)
        if not _has_image(editor):
            new.add("")
            _create_image(editor, options)
    else:
        if not positions:
            raise ArgumentError("which positions are acquired?", hint='positions=[("A", "1", "0")]')
        found, new = _positions(editor, positions, options)
    growing = None in options.shape
    old = {name for name in found if name not in new}
    tracks = {}
    try:
        for name, position in found.items():
            track = Track(name, position, options.image, None)
            track.log.hold()
            tracks[name] = track
            track.time_points = None if growing else track.reserved
            if name in old:
                track.restore(written_before(track))
            before = track.reserved if name in old else 0
            track.log.begin({**_description(options, track), "before": before})
    except BaseException:
        for track in tracks.values():
            track.log.release()
        raise
    return tracks


def _check(editor: PlateEditor | ImageEditor, options: StreamOptions) -> None:
    editor.location.storage.require_writable(editor.location.path)
    RunLog(editor.location)  # a directory on this machine
    names = [axis.name.lower() for axis in editor.axes]
    if len(options.shape) != len(names):
        raise ArgumentError(
            f"shape has {len(options.shape)} values; there are {len(names)} axes ({', '.join(names)})"
        )
    for name, size in zip(names, options.shape, strict=True):
        if size is None and name != "t":
            raise ArgumentError(
                f"the size along {name} must be known",
                hint="only the time axis grows: give the most there can be",
            )
    if names[-2:] != ["y", "x"] or set(names) - set("tczyx"):
        raise UnsupportedError(f"frames are planes of y and x; the axes are {', '.join(names)}")
    if options.scale is not None:
        wrong = len(options.scale) != len(names) or not all(
            isinstance(v, (int, float, np.number)) and math.isfinite(v) and v > 0 for v in options.scale
        )
        if wrong:
            raise ArgumentError(f"scale must be {len(names)} positive numbers, not {options.scale!r}")
    if reduction(options.pyramid_method).overlaps and options.pyramid_levels not in (None, 1):
        raise ArgumentError(
            f"levels by {options.pyramid_method!r} take pixels of several blocks: not made by the frame",
            hint='pyramid_method="mean", or compute_pyramid() after the run',
        )


def _positions(
    plate: PlateEditor, given: Sequence[object], options: StreamOptions
) -> tuple[dict[str, ImageEditor], set[str]]:
    """The positions, and the names of those that are new."""
    specs = [_spec(item) for item in given]
    names = ["/".join(spec) for spec in specs]
    there = {name: plate[name] for name in names if name in plate}
    found = {name: node for name, node in there.items() if isinstance(node, ImageEditor)}
    _refuse_runs(found, options)
    empty = [name for name, node in found.items() if not _has_image(node)]
    new = [spec for spec, name in zip(specs, names, strict=True) if name not in there]
    if new:
        planned = array_plan(
            plate,
            options.image,
            _shape(options),
            options.dtype,
            _layout(options),
            _transform(options),
            options.channel_names,
        )
        made = grow_plate(plate, new, planned=planned, channel_names=options.channel_names)
        for spec, node in zip(new, made, strict=True):
            _make_levels(node, options)
            found["/".join(spec)] = node
    for name in empty:
        _create_image(found[name], options)
    made_now = {*empty, *("/".join(spec) for spec in new)}
    return {name: found[name] for name in names}, made_now


def _spec(item: object) -> tuple[str, str, str]:
    parts = tuple(item.split("/")) if isinstance(item, str) else item
    if not isinstance(parts, (tuple, list)) or len(parts) != 3 or not all(isinstance(p, str) for p in parts):
        raise ArgumentError(f"{item!r} is no position", hint='("A", "1", "0") or "A/1/0"')
    return parts[0], parts[1], parts[2]


def _refuse_runs(found: dict[str, ImageEditor], options: StreamOptions) -> None:
    """Refuse positions with an image or a run, unless they are gone on with."""
    for node in found.values():
        log = RunLog(node.location)
        if log.exists():
            log.hold()  # or somebody else has it
            log.release()
            if not options.resume:
                raise NodeExistsError(
                    "an unfinished run is there",
                    path=node.location.where,
                    hint="`platestore recover` completes it, resume=True goes on with it",
                )
            recover(node)  # what waits beside the image is put into it; the run goes on after that
        elif node.meta.multiscales[0].datasets and not options.resume:
            raise NodeExistsError(
                "the position has an image",
                path=node.location.where,
                hint="resume=True appends time points to it",
            )


def _has_image(node: ImageEditor) -> bool:
    return bool(node.meta.multiscales[0].datasets)


def _create_image(node: ImageEditor, options: StreamOptions) -> None:
    create_zeros(
        node, options.image, _shape(options), options.dtype, _layout(options), _transform(options), True
    )
    _make_levels(node, options)


def _make_levels(node: ImageEditor, options: StreamOptions) -> None:
    if options.pyramid_levels not in (None, 1):
        pyramids.initialise(node, Request(options.pyramid_levels, options.pyramid_method))


def _shape(options: StreamOptions) -> tuple[int, ...]:
    return tuple(_RESERVED if size is None else size for size in options.shape)


def _layout(options: StreamOptions) -> LayoutOptions:
    """One plane per chunk, unless chunks or shards are asked for."""
    layout = options.layout
    if layout.chunks is None and layout.shards is None and layout.shards_ratio is None:
        return replace(layout, chunks=(*[1] * (len(options.shape) - 2), *_shape(options)[-2:]))
    return layout


def _transform(options: StreamOptions) -> list[TransformationMeta] | None:
    return None if options.scale is None else [TransformationMeta(type="scale", scale=list(options.scale))]


def _description(options: StreamOptions, track: Track) -> Json:
    return {
        "format": 1,
        "image": options.image,
        "time_points": track.time_points,
        "shape": list(options.shape),
    }
