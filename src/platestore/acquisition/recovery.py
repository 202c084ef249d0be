"""From what a killed acquisition left to images: every frame that was acknowledged, and nothing else.

What the log of a position says is there counts; pixels that no line tells of are taken away. Each step can be
repeated, so that recovering twice, or being killed in the middle of it, changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from platestore.acquisition.runlog import Coordinates, RunLog
from platestore.acquisition.track import FrameBlock, Track
from platestore.errors import ArgumentError, LockTimeoutError
from platestore.spec.values import Json
from platestore.storage.files import is_left
from platestore.tree.editor import AnyEditor
from platestore.tree.holder import HasEditor, editor_of
from platestore.tree.image import ImageEditor
from platestore.tree.opening import open_editor
from platestore.tree.plate import PlateEditor
from platestore.tree.well import WellEditor


@dataclass(slots=True)
class RecoverReport:
    """What :func:`recover` found and did.

    Attributes
    ----------
    path : str
        The store.
    recovered : dict of str to int
        Number of frames of each position whose run was completed.
    missing : dict of str to list
        Places (t, c, z) of frames that are not there, below the last time point that is kept.
    dropped : dict of str to list
        Places of frames that were acknowledged after the last complete time point, and were cut away.
    running : list of str
        Positions that a living process acquires into; they are left alone.
    """

    path: str
    recovered: dict[str, int] = field(default_factory=dict)
    missing: dict[str, list[Coordinates]] = field(default_factory=dict)
    dropped: dict[str, list[Coordinates]] = field(default_factory=dict)
    running: list[str] = field(default_factory=list)

    @property
    def frames(self) -> int:
        """Number of frames of all positions whose run was completed."""
        return sum(self.recovered.values())

    def to_json(self) -> Json:
        """The report as JSON."""
        return {
            "path": self.path,
            "frames": self.frames,
            "recovered": self.recovered,
            "missing": {name: [list(at) for at in places] for name, places in self.missing.items()},
            "dropped": {name: [list(at) for at in places] for name, places in self.dropped.items()},
            "running": self.running,
        }


def recover(target: str | os.PathLike[str] | HasEditor, *, keep_partial: bool = False) -> RecoverReport:
    """Complete the runs that a killed acquisition left in a plate, a well or a position.

    Frames that wait beside the image are put into it, levels are completed, the time axis is cut after the
    last complete time point, and metadata of frames are written as columns. Doing it twice changes nothing.

    Parameters
    ----------
    target : path or node
        The store, or a node in it.
    keep_partial : bool
        Whether frames after the last complete time point are kept; those missing among them are zeros.

    Returns
    -------
    RecoverReport

    Raises
    ------
    NodeNotFoundError, ArgumentError
        If there is no plate, well or position.
    ReadOnlyError
        If it cannot be written.

    Examples
    --------
    >>> from platestore.acquisition import recover
    >>> recover("plate.zarr").frames
    0
    """
    editor = editor_of(target)
    if editor is None:
        editor = open_editor(os.fspath(target), mode="r+")  # type: ignore[arg-type]
    editor.location.storage.require_writable(editor.location.path)
    report = RecoverReport(editor.location.where)
    for name, position in _positions(editor):
        log = RunLog(position.location)
        if not log.exists():
            continue
        try:
            log.hold()
        except LockTimeoutError:
            report.running.append(name)
            continue
        try:
            _recover(name, position, log, report, keep_partial=keep_partial)
        finally:
            log.release()
    return report


def _positions(editor: AnyEditor) -> Iterator[tuple[str, ImageEditor]]:
    if isinstance(editor, (PlateEditor, WellEditor)):
        yield from editor.positions()
    elif isinstance(editor, ImageEditor):
        yield editor.location.path or editor.location.name, editor
    else:
        raise ArgumentError(f"a {editor.title} has no runs", path=editor.location.where)


def _recover(
    name: str, position: ImageEditor, log: RunLog, report: RecoverReport, *, keep_partial: bool
) -> None:
    """Complete the run of one position."""
    described = log.description()
    if not described or not position.meta.multiscales[0].datasets:
        log.remove()  # killed before it began: nothing was acknowledged, and what was there before stays
        return
    _sweep(position)
    image = str(described.get("image", position.meta.multiscales[0].datasets[0].path))
    track = Track(name, position, image, described.get("time_points"))
    track.log = log
    # What a run goes on with is there as a whole, whatever its log tells.
    before = int(described.get("before", 0))
    rows = [*(row for row in track.everywhere() if row.place[0] < before), *log.frames()]
    track.restore(rows)
    # An image has a time point at least: what there is of the first one is kept.
    end = max(1, track.written_time_points() if keep_partial else track.complete)
    if track.time_points is not None:
        end = track.time_points
    kept = dict(log.all_kept())
    there = {row.place for row in rows if row.metadata is not None}
    for block in _blocks(track, end):
        _restore_block(track, block, there, kept)
    report.recovered[name] = sum(before <= at[0] < end for at in there)
    report.dropped[name] = sorted(at for at in there if at[0] >= end)
    skipped = {row.place for row in rows if row.metadata is None}
    every = ((t, c, z) for t in range(end) for c in range(track.channels) for z in range(track.slices))
    report.missing[name] = [at for at in every if at not in there and at not in skipped]
    track.finish(cut=end)


def _sweep(position: ImageEditor) -> None:
    """Remove temporary files that the killed process left; nobody else writes into the position."""
    root = position.location.storage.local_path(position.location.path)
    for directory, _, files in os.walk(root or ""):
        for name in files:
            if is_left(name):
                os.unlink(os.path.join(directory, name))


def _blocks(track: Track, end: int) -> Iterator[FrameBlock]:
    """All blocks up to a time point."""
    steps = track.block_steps
    for t in range(0, end, steps[0]):
        for c in range(0, track.channels, steps[1]):
            for z in range(0, track.slices, steps[2]):
                yield track.block_at((t, c, z))


def _restore_block(
    track: Track,
    block: FrameBlock,
    there: set[Coordinates],
    kept: dict[Coordinates, int],
) -> None:
    """Write a block again, with the frames that the log tells of and no others, unless it is whole."""
    t, c, z = block.start
    places = [
        (t + i, c + j, z + k)
        for i in range(block.shape[0])
        for j in range(block.shape[1])
        for k in range(block.shape[2])
    ]
    waiting = [at for at in places if at in kept and at in there]
    if not waiting and all(at in there for at in places):
        return
    shape = track.cut(block)
    pixels = track.sink.pull(block.place, shape).reshape((*block.shape, *track.plane))
    for at in places:
        if at not in there:
            pixels[block.index(at)] = 0
        elif at in kept:
            pixels[block.index(at)] = track.log.kept(kept[at], track.plane, track.sink.dtype)
    track.sink.push(block.place, pixels.reshape(shape))
