"""One position while frames come: which are there, which blocks they make, and what is safe."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from platestore.acquisition.frames import stored_rows, write_frames
from platestore.acquisition.runlog import Coordinates, LoggedFrame, RunLog
from platestore.arrays.metadata import summarise
from platestore.arrays.types import Pixels
from platestore.errors import ArgumentError
from platestore.pyramid.pushed import PushedBlocks
from platestore.spec import pyramids
from platestore.spec.reductions import FOR_IMAGES
from platestore.spec.values import Json
from platestore.tree.editor import Draft
from platestore.tree.image import ImageEditor
from platestore.tree.levels import documents_of, factors_of, image_of
from platestore.tree.reshaping import resize

Place = tuple[int, ...]
#: Lines of frames are written together, so many, or after so many seconds.
_LINES, _SECONDS = 64, 0.5


@dataclass(slots=True)
class FrameBlock:
    """A block of which frames are there.

    Attributes
    ----------
    place : tuple of int
        Its place on the grid of blocks.
    start, shape : tuple of int
        Its first frame (t, c, z), and its shape in frames.
    pixels : numpy.ndarray or None
        What came, of shape (t, c, z, y, x); None while that lies in the log only.
    there : dict
        The frames that came: what was said of them; None for skipped ones.
    kept : dict
        Where frames lie in the log.
    noted : set
        Frames whose lines are written.
    is_submitted : bool
        Whether a writer has it.
    """

    place: Place
    start: Coordinates
    shape: Coordinates
    pixels: Pixels | None = None
    there: dict[Coordinates, Json | None] = field(default_factory=dict)
    kept: dict[Coordinates, int] = field(default_factory=dict)
    noted: set[Coordinates] = field(default_factory=set)
    is_submitted: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether all of its frames came, or were skipped."""
        t, c, z = self.shape
        return len(self.there) == t * c * z

    def index(self, at: Coordinates) -> Coordinates:
        """The place of a frame in the block."""
        t, c, z = self.start
        return at[0] - t, at[1] - c, at[2] - z


class Track:
    """The frames of one position.

    Parameters
    ----------
    name : str
        Path of the position in the plate; empty for one of its own.
    editor : ImageEditor
        The position.
    image : str
        Name of level 0.
    time_points : int or None
        Number of time points; None where nobody knows.
    """

    def __init__(self, name: str, editor: ImageEditor, image: str, time_points: int | None) -> None:
        self.name, self.editor, self.image = name, editor, image
        self.time_points = time_points
        self.log = RunLog(editor.location)
        self.lock = threading.RLock()
        self.channel_names = list(editor.channel_names)
        self.axis_names = list(editor.axis_names)
        self.blocks: dict[Place, FrameBlock] = {}
        self.taken: set[Coordinates] = set()
        self.skipped: set[Coordinates] = set()
        self._finished: dict[int, int] = {}
        self.complete = 0
        self._lines, self._flushed = 0, time.monotonic()
        self._open()

    def _open(self) -> None:
        """Read the documents: their shapes, and how frames make blocks."""
        found = image_of(self.editor.meta, self.editor, self.image)
        documents = documents_of(self.editor, found)
        known = pyramids.described(found)
        self.method = known[0] if known is not None else FOR_IMAGES
        self.has_levels = len(documents) > 1
        factors = factors_of(self.editor, found, documents)
        self.sink = PushedBlocks(self.editor.location.storage, documents, factors, self.method)
        self.shape = summarise(documents[0]).shape
        sizes = dict(zip(self.axis_names, self.shape, strict=True))
        block = dict(zip(self.axis_names, self.sink.block, strict=True))
        self.plane = self.shape[-2:]
        self.reserved, self.channels, self.slices = (sizes.get(axis, 1) for axis in "tcz")
        #: Shape of a block in frames.
        self.block_steps: Coordinates = (block.get("t", 1), block.get("c", 1), block.get("z", 1))

    # --- places -----------------------------------------------------------------------------------

    def channel(self, value: Any) -> int:
        """The index of a channel, from its index or its name."""
        if isinstance(value, str):
            if value not in self.channel_names:
                raise ArgumentError(
                    f"there is no channel {value!r}",
                    path=self.log.where,
                    hint=f"channels: {self.channel_names}",
                )
            return self.channel_names.index(value)
        return int(value)

    def claim(self, at: Coordinates, *, skipped: bool = False) -> None:
        """Take a place for a frame.

        Raises
        ------
        ArgumentError
            If there is no such place, or it is taken.
        """
        limits = (self.time_points, self.channels, self.slices)
        for axis, value, size in zip("tcz", at, limits, strict=True):
            if value < 0 or (size is not None and value >= size):
                raise ArgumentError(
                    f"{axis}={value} is outside of the image, which has {size} along {axis}",
                    path=self.log.where,
                )
        if at in self.taken:
            t, c, z = at
            raise ArgumentError(f"the frame t={t}, c={c}, z={z} is there already", path=self.log.where)
        self.taken.add(at)
        if skipped:
            self.skipped.add(at)

    def block_at(self, at: Coordinates) -> FrameBlock:
        """The block that a frame belongs to."""
        steps = tuple(v // b for v, b in zip(at, self.block_steps, strict=True))
        place = self._full(steps)
        found = self.blocks.get(place)
        if found is None:
            start = tuple(s * b for s, b in zip(steps, self.block_steps, strict=True))
            limits = (self.time_points, self.channels, self.slices)
            sizes = [
                b if n is None else min(b, n - s)
                for b, s, n in zip(self.block_steps, start, limits, strict=True)
            ]
            found = FrameBlock(place, (start[0], start[1], start[2]), (sizes[0], sizes[1], sizes[2]))
            self.blocks[place] = found
        return found

    def _full(self, steps: Sequence[int]) -> Place:
        """A place on the grid of all axes, from that along t, c and z."""
        known = dict(zip("tcz", steps, strict=True))
        return tuple(known.get(axis, 0) for axis in self.axis_names)

    def waiting(self) -> list[FrameBlock]:
        """The blocks that no writer has."""
        return [block for block in self.blocks.values() if not block.is_submitted]

    def block_nbytes(self, block: FrameBlock) -> int:
        """Bytes of a block in memory."""
        return int(np.prod(block.shape)) * self.frame_nbytes

    @property
    def frame_nbytes(self) -> int:
        """Bytes of a frame."""
        return int(np.prod(self.plane)) * self.sink.dtype.itemsize

    # --- growth -----------------------------------------------------------------------------------

    def reserve(self, t: int) -> None:
        """Let the arrays reach a time point: they grow in large steps."""
        if t < self.reserved:
            return
        self.resize(max(t + 1, 2 * self.reserved))

    def resize(self, time_points: int) -> None:
        """Give the arrays another number of time points."""
        axis = self.axis_names.index("t")
        shape = (*self.shape[:axis], time_points, *self.shape[axis + 1 :])
        resize(self.editor, self.image, shape)
        self.shape, self.reserved = shape, time_points

    # --- writing ----------------------------------------------------------------------------------

    def write(self, block: FrameBlock) -> None:
        """Write a block into the image and its levels; then its frames are safe."""
        if any(metadata is not None for metadata in block.there.values()):
            pixels = self.assembled(block)
            self.sink.push(block.place, pixels.reshape(self.cut(block)))
        with self.lock:
            for at, metadata in block.there.items():
                if at not in block.noted:
                    self.log.note(at, metadata)
                    self._lines += 1
                self._finished[at[0]] = self._finished.get(at[0], 0) + 1
            while self._finished.get(self.complete, 0) == self.channels * self.slices:
                self.complete += 1
            self.blocks.pop(block.place, None)
            if not any(other.kept for other in self.blocks.values()):
                self.log.forget_pixels()
            if self._lines >= _LINES or time.monotonic() - self._flushed > _SECONDS:
                self.flush()

    def assembled(self, block: FrameBlock) -> Pixels:
        """The pixels of a block: what is in memory, or else in the log."""
        if block.pixels is not None:
            return block.pixels
        pixels = np.zeros((*block.shape, *self.plane), self.sink.dtype)
        for at, offset in block.kept.items():
            pixels[block.index(at)] = self.log.kept(offset, self.plane, self.sink.dtype)
        return pixels

    def cut(self, block: FrameBlock) -> tuple[int, ...]:
        """Shape of a block along all axes of the image."""
        known = dict(zip("tcz", block.shape, strict=True))
        return tuple(known.get(axis, 1) for axis in self.axis_names[:-2]) + self.plane

    def keep(self, block: FrameBlock, *, sync: bool) -> None:
        """Put the frames of an incomplete block into the log, so that they are safe."""
        with self.lock:
            for at, metadata in block.there.items():
                if metadata is not None and at not in block.kept:
                    assert block.pixels is not None
                    block.kept[at] = self.log.keep(at, block.pixels[block.index(at)], sync=sync)
                if at not in block.noted:
                    self.log.note(at, metadata)
                    block.noted.add(at)

    def flush(self, *, sync: bool = False) -> None:
        """Write the lines of the frames that are safe, and up to where time points are complete."""
        with self.lock:
            self.log.flush(sync=sync)
            self.log.tell({"complete": self.complete, "frames": len(self.taken) - len(self.skipped)})
            self._lines, self._flushed = 0, time.monotonic()

    # --- the end ----------------------------------------------------------------------------------

    def written_time_points(self) -> int:
        """Number of time points up to the last one with a frame."""
        return max((at[0] + 1 for at in self.taken - self.skipped), default=0)

    def finish_levels(self) -> None:
        """Take the marks of levels that are not computed away: all of them were written with level 0."""

        def change(draft: Draft[Any]) -> None:
            pyramids.unmark(image_of(draft.meta, self.editor, self.image))

        if self.has_levels:
            self.editor.commit(change)

    def finish(self, *, cut: int | None = None) -> None:
        """Cut the time axis to what was written, complete the documents, and write the columns."""
        end = max(1, self.written_time_points() if cut is None else cut)
        if "t" in self.axis_names and self.time_points is None and end != self.reserved:
            self.resize(end)
        self.finish_levels()
        write_frames(self.editor.location, [row for row in self.log.frames() if row.place[0] < end])
        self.log.remove()

    def everywhere(self) -> list[LoggedFrame]:
        """A row for each frame that the image has room for."""
        return [
            LoggedFrame((t, c, z), {})
            for t in range(self.reserved)
            for c in range(self.channels)
            for z in range(self.slices)
        ]

    def restore(self, rows: Sequence[LoggedFrame]) -> None:
        """Take up frames that an earlier run wrote."""
        for row in rows:
            self.taken.add(row.place)
            if row.metadata is None:
                self.skipped.add(row.place)
            self._finished[row.place[0]] = self._finished.get(row.place[0], 0) + 1
        while self._finished.get(self.complete, 0) == self.channels * self.slices:
            self.complete += 1


def written_before(track: Track) -> list[LoggedFrame]:
    """The frames that earlier runs wrote: those of the columns, or all where there are none."""
    return stored_rows(track.editor.location) or track.everywhere()
