"""A stream of frames into a plate, or into one position: append, checkpoint, close."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import warnings
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from platestore.acquisition.memory import MemoryAccount
from platestore.acquisition.order import Order, check_order
from platestore.acquisition.runlog import Coordinates, RunLog, plain_metadata
from platestore.acquisition.setup import StreamOptions, prepare
from platestore.acquisition.track import FrameBlock, Track
from platestore.arrays.casting import exact
from platestore.arrays.options import LayoutOptions
from platestore.arrays.types import Pixels
from platestore.errors import ArgumentError, BudgetError, ForkError, PlatestoreError, StoreWarning
from platestore.resources import Resources
from platestore.spec.values import Json
from platestore.tree.holder import HasEditor, editor_of
from platestore.tree.image import ImageEditor
from platestore.tree.plate import PlateEditor

if TYPE_CHECKING:
    import numpy.typing as npt

    from platestore.arrays.codecs import CompressorLike
    from platestore.arrays.layout import Shards

OnFull = Literal["wait", "raise", "drop"]


def stream(
    target: HasEditor,
    *,
    shape: Sequence[int | None],
    dtype: npt.DTypeLike,
    positions: Sequence[tuple[str, str, str] | str] | None = None,
    channel_names: Sequence[str] | None = None,
    scale: Sequence[float] | None = None,
    chunks: Sequence[int] | None = None,
    shards: Shards | None = None,
    shards_ratio: Sequence[int] | None = None,
    compressor: CompressorLike | None = None,
    checksum: bool = False,
    pyramid_levels: int | str | None = None,
    pyramid_method: str = "mean",
    order: str | None = None,
    max_memory: int | str | None = None,
    workers: int | None = None,
    on_full: OnFull = "wait",
    checkpoint_every: int | float | None = None,
    image: str = "0",
    resume: bool = False,
) -> AcquisitionStream:
    """Begin to acquire frames into a plate, or into one position.

    Parameters
    ----------
    target : Plate or Position
        Where frames go, open for writing, in a directory on this machine.
    shape : sequence of int or None
        Shape of each position's image, one number per axis. None for the time axis: it grows with the frames,
        and is cut to what was written when the stream is closed.
    dtype : dtype-like
        Type of the pixels.
    positions : sequence, optional
        Positions of a plate, ``("A", "1", "0")`` or ``"A/1/0"``; they are created. More of them can be added
        with :meth:`AcquisitionStream.add_position`.
    channel_names : sequence of str, optional
        Names of the channels; those of the plate by default.
    scale : sequence of float, optional
        Size of a pixel along each axis, in the units of the axes.
    chunks, shards, shards_ratio, compressor, checksum
        As for :meth:`Position.create_image`; a chunk is one plane by default.
    pyramid_levels : int, "auto" or None
        Number of levels, level 0 among them; they are written with the frames.
    pyramid_method : str
        How levels are made: one of the methods of :meth:`Position.compute_pyramid` but ``"gaussian"``.
    order : str, optional
        The order in which frames come without coordinates, the slowest axis first: ``"tpcz"``.
    max_memory : int or str, optional
        Bytes of frames that wait or make blocks; that of the settings by default.
    workers : int, optional
        Threads that write; that of the settings by default.
    on_full : {"wait", "raise", "drop"}
        What ``append`` does where ``max_memory`` is used up: it waits, raises BudgetError, or records
        the frame as skipped, counts it, and returns False.
    checkpoint_every : int or float, optional
        Make a checkpoint after so many frames (an integer), or seconds (a float).
    image : str
        Name of level 0.
    resume : bool
        Go on with positions that an earlier run left, after what is complete in them.

    Returns
    -------
    AcquisitionStream
        Use it as a context manager, or call its ``close``.

    Raises
    ------
    ArgumentError
        If an argument is wrong, or positions are named for a single one.
    NodeExistsError
        If a position has an image, or an unfinished run.
    LockTimeoutError
        If another stream writes into one of the positions.
    UnsupportedError
        If the store is no directory.

    Examples
    --------
    >>> from platestore.acquisition import stream
    >>> with stream(plate, positions=["B/1/0"], shape=(None, 2, 4, 64, 64), dtype="uint16") as run:
    ...     for t in range(3):
    ...         _ = run.append(np.full((64, 64), t), position="B/1/0", t=t, c="GFP", z=0)
    >>> plate["B/1/0"]["0"].shape
    (3, 2, 4, 64, 64)
    """
    editor = editor_of(target)
    if not isinstance(editor, (PlateEditor, ImageEditor)):
        raise ArgumentError(f"frames go into a Plate or a Position, not a {type(target).__name__}")
    options = StreamOptions(
        shape=tuple(shape),
        dtype=np.dtype(dtype),
        channel_names=None if channel_names is None else list(channel_names),
        scale=None if scale is None else tuple(scale),
        layout=LayoutOptions(chunks, shards_ratio, shards, compressor, bool(checksum)),
        pyramid_levels=pyramid_levels,
        pyramid_method=pyramid_method,
        image=image,
        resume=bool(resume),
    )
    if on_full not in ("wait", "raise", "drop"):
        raise ArgumentError(f"on_full must be 'wait', 'raise' or 'drop', not {on_full!r}")
    resources = Resources(max_memory, workers)
    _ = resources.memory, resources.threads  # checked before anything is created
    if order is not None:
        check_order(order, options, [axis.name.lower() for axis in editor.axes], len(positions or ("",)))
    tracks = prepare(editor, positions, options)
    return AcquisitionStream(editor, tracks, options, order, resources, on_full, checkpoint_every)


class AcquisitionStream:
    """Frames on their way into positions; made by :func:`stream`.

    Frames may be appended from several threads. What was appended before a :meth:`checkpoint` that returned
    is safe: it survives the end of the process at any moment, and ``platestore recover`` makes it an image.
    """

    def __init__(
        self,
        editor: PlateEditor | ImageEditor,
        tracks: dict[str, Track],
        options: StreamOptions,
        order: str | None,
        resources: Resources,
        on_full: OnFull,
        checkpoint_every: int | float | None,
    ) -> None:
        self._editor, self._tracks, self._options = editor, tracks, options
        self._order = None if order is None else Order(order, list(tracks.values()))
        self._on_full: OnFull = on_full
        self._every = checkpoint_every
        self._since, self._last = 0, time.monotonic()
        self._sync = editor.location.storage.options.durability == "full"
        self._lock = threading.RLock()
        self._memory = MemoryAccount(resources.memory, self._spill)
        self._threads = ThreadPoolExecutor(resources.threads, thread_name_prefix="platestore-acquire")
        self._error: BaseException | None = None
        self._closed = False
        self._process = os.getpid()
        #: Number of frames that were dropped since memory was used up.
        self.dropped = 0
        self._reminder = weakref.finalize(
            self, _remind, editor.location.where, [t.log for t in tracks.values()]
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None:
            self.close()
            return
        with contextlib.suppress(PlatestoreError, OSError):  # the first error is the one to be seen
            self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{self.frames} frames"
        return f"<AcquisitionStream {self._editor.location.where}: {len(self._tracks)} positions, {state}>"

    @property
    def positions(self) -> list[str]:
        """Paths of the positions, in the order in which they were given."""
        return list(self._tracks)

    @property
    def frames(self) -> int:
        """Number of frames that were appended."""
        return sum(len(track.taken) - len(track.skipped) for track in self._tracks.values())

    @property
    def tracks(self) -> Mapping[str, Track]:
        """The frames of each position."""
        return self._tracks

    def track(self, position: object) -> Track:
        """The frames of a position, by its path or (row, column, field)."""
        if position is None and len(self._tracks) == 1:
            return next(iter(self._tracks.values()))
        name = position if isinstance(position, str) else "/".join(map(str, position or ()))  # type: ignore[call-overload]
        found = self._tracks.get(name.strip("/"))
        if found is None:
            shown = ", ".join(list(self._tracks)[:5])
            raise ArgumentError(
                f"the run has no position {position!r}", hint=f"positions: {shown}; add_position() adds one"
            )
        return found

    # --- frames -----------------------------------------------------------------------------------

    def append(
        self,
        frame: npt.ArrayLike,
        *,
        position: str | Sequence[str] | None = None,
        t: int | None = None,
        c: int | str | None = None,
        z: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        copy: bool = True,
    ) -> bool:
        """Take a frame, or several planes of one time point and channel.

        Parameters
        ----------
        frame : array-like
            A plane (Y, X), or a stack (Z, Y, X), with values that the image's type holds exactly.
        position : str or sequence of str, optional
            ``"A/1/0"`` or ``("A", "1", "0")``; needed where there are several, unless the
            stream has an order.
        t, c, z : int, optional
            Time point, channel (or its name) and plane; 0 for what is not said. Without any of them, the next
            place in the order of the stream.
        metadata : mapping, optional
            What is known of the frame: numbers, strings, truth values, by name.
        copy : bool
            Whether the pixels are copied, so that the caller may use the memory again at once.

        Returns
        -------
        bool
            False if the frame was dropped.

        Raises
        ------
        ArgumentError
            If the frame does not fit, or its place is not there or taken.
        BudgetError
            If memory is used up, with ``on_full="raise"``.
        OSError, PlatestoreError
            The first error of a writer, which names the file: nothing was taken.
        """
        self._require_open()
        pixels = np.asarray(frame)
        own = {} if metadata is None else plain_metadata(metadata)
        if pixels.ndim == 3:
            if z is not None:
                raise ArgumentError("a stack has all planes from 0 on: leave z out, or pass one plane")
            return all(
                # A list: all of them are taken, whatever becomes of the first.
                [self._take(plane, position, t, c, k, own, copy=copy) for k, plane in enumerate(pixels)]  # noqa: C419
            )
        by_order = position is None and t is None and c is None and z is None and self._order is not None
        return self._take(pixels, position, t, c, z, own, copy=copy, by_order=by_order)

    def skip(
        self,
        frames: int = 1,
        *,
        position: str | Sequence[str] | None = None,
        t: int | None = None,
        c: int | str | None = None,
        z: int | None = None,
    ) -> None:
        """Record frames that will not come: one at a place, or the next ones in the order of the stream."""
        self._require_open()
        by_order = position is None and t is None and c is None and z is None and self._order is not None
        for _ in range(frames if by_order else 1):
            with self._lock:
                track, at = self._place(position, t, c, z, by_order=by_order)
                track.claim(at, skipped=True)
                self._add(track, at, None, None)

    def add_position(
        self,
        position: str | tuple[str, str, str],
        *,
        shape: Sequence[int | None] | None = None,
        channel_names: Sequence[str] | None = None,
    ) -> None:
        """Add a position to a plate while frames come; it may have another shape and other channels."""
        self._require_open()
        options = self._options.varied(shape, channel_names)
        with self._lock:
            self._tracks.update(prepare(self._editor, [position], options))

    def _take(
        self,
        pixels: Pixels,
        position: Any,
        t: Any,
        c: Any,
        z: Any,
        own: Json,
        *,
        copy: bool,
        by_order: bool = False,
    ) -> bool:
        with self._lock:
            track, at = self._place(position, t, c, z, by_order=by_order)
            if pixels.shape != track.plane:
                raise ArgumentError(
                    f"a frame of shape {pixels.shape} does not fit planes of {track.plane}",
                    path=track.log.where,
                )
            plane = exact(pixels, track.sink.dtype, what="appended to")
            track.claim(at)
            try:
                taken = self._add(track, at, plane, own, copy=copy or plane is not pixels)
            except BaseException:
                track.taken.discard(at)
                raise
        self._maybe_checkpoint()
        return taken

    def _place(self, position: Any, t: Any, c: Any, z: Any, *, by_order: bool) -> tuple[Track, Coordinates]:
        if by_order:
            assert self._order is not None
            return self._order.next()
        track = self.track(position)
        at = [0 if v is None else v for v in (t, c, z)]
        at[1] = track.channel(at[1])
        if not all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in at):
            raise ArgumentError(f"t, c and z are integers, not {t!r}, {c!r}, {z!r}")
        return track, (int(at[0]), int(at[1]), int(at[2]))

    def _add(
        self, track: Track, at: Coordinates, plane: Pixels | None, own: Json | None, *, copy: bool = True
    ) -> bool:
        """Put a frame into its block; a block that is complete is written."""
        block = track.block_at(at)
        single = block.shape == (1, 1, 1)
        if plane is not None and block.pixels is None and not block.kept:
            nbytes = track.block_nbytes(block)
            if not self._memory.fits(nbytes) and self._on_full != "wait":
                track.blocks.pop(block.place, None)
                if self._on_full == "raise":
                    text = f"{self._memory.used:,} bytes of frames wait, and max_memory is used up"
                    raise BudgetError(text, path=track.log.where)
                self.dropped += 1
                track.skipped.add(at)
                plane = own = None
                block = track.block_at(at)
            else:
                self._memory.take(nbytes)
                if single:
                    block.pixels = (plane.copy() if copy else plane).reshape(1, 1, 1, *track.plane)
                else:
                    block.pixels = np.zeros((*block.shape, *track.plane), track.sink.dtype)
        if plane is not None and not (single and block.pixels is not None):
            if block.pixels is not None:
                block.pixels[block.index(at)] = plane
            else:  # the block lies in the log
                block.kept[at] = track.log.keep(at, plane, sync=self._sync)
        block.there[at] = own if plane is not None else None
        if block.is_complete:
            self._submit(track, block)
        return plane is not None

    # --- writing ----------------------------------------------------------------------------------

    def _submit(self, track: Track, block: FrameBlock) -> None:
        last = block.start[0] + block.shape[0] - 1
        if any(m is not None for m in block.there.values()) and last >= track.reserved:
            self._memory.wait_idle()
            track.reserve(last)
        block.is_submitted = True
        self._memory.begin()
        self._threads.submit(self._write, track, block)

    def _write(self, track: Track, block: FrameBlock) -> None:
        held = 0 if block.pixels is None else track.block_nbytes(block)
        try:
            if self._error is None:
                track.write(block)
        except BaseException as error:  # noqa: BLE001 - told at the next append
            error.add_note(
                f"while a block of frames from {block.start} (t, c, z) of {track.log.where} was written"
            )
            self._error = self._error or error
        finally:
            block.pixels = None
            self._memory.give(held)
            self._memory.end()

    def _spill(self) -> bool:
        """Put an incomplete block into the log, and give its memory back."""
        for track in list(self._tracks.values()):
            for block in track.waiting():
                if block.pixels is not None:
                    track.keep(block, sync=self._sync)
                    held, block.pixels = track.block_nbytes(block), None
                    self._memory.give(held)
                    return True
        return False

    def checkpoint(self) -> None:
        """Return when everything that was appended survives the end of the process: pixels and metadata.

        Raises
        ------
        OSError, PlatestoreError
            The first error of a writer.
        """
        self._require_open()
        with self._lock:
            self._secure()

    def _secure(self) -> None:
        self._memory.wait_idle()
        self._raise()
        for track in self._tracks.values():
            for block in track.waiting():
                track.keep(block, sync=self._sync)
            track.flush(sync=self._sync)
        self._since, self._last = 0, time.monotonic()

    def _maybe_checkpoint(self) -> None:
        self._since += 1
        every = self._every
        if every is None:
            return
        seconds = isinstance(every, float)
        if (seconds and time.monotonic() - self._last >= every) or (not seconds and self._since >= every):
            self.checkpoint()

    # --- the end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Write what is not written, cut the time axis, complete levels and metadata.

        Frames that are missing in the middle are zeros, and are listed by ``position.frames`` as not there.

        Raises
        ------
        OSError, PlatestoreError
            The first error of a writer: what was acknowledged is there, and ``platestore recover`` completes
            it.
        """
        if self._closed:
            return
        self._require_same_process()
        with self._lock:
            self._closed = True
            self._reminder.detach()
            try:
                self._finish()
            finally:
                self._threads.shutdown()
                for track in self._tracks.values():
                    track.log.release()

    def _finish(self) -> None:
        self._secure()
        for track in self._tracks.values():
            for block in track.waiting():
                self._submit(track, block)
        self._memory.wait_idle()
        self._raise()
        for track in self._tracks.values():
            track.flush(sync=self._sync)
            track.finish()

    def _require_open(self) -> None:
        self._require_same_process()
        if self._closed:
            raise ArgumentError("the stream is closed", path=self._editor.location.where)
        self._raise()

    def _require_same_process(self) -> None:
        if os.getpid() != self._process:
            raise ForkError(
                "the stream belongs to the process that began it",
                path=self._editor.location.where,
                hint="append there, or begin a stream of other positions in this process",
            )

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error


def _remind(where: str, logs: Sequence[RunLog]) -> None:
    """Tell of a stream that nobody closed: its process ends."""
    for log in logs:
        log.release()
    if any(log.exists() for log in logs):
        text = f"the stream of frames into {where} was not closed: `platestore recover` completes it"
        warnings.warn(text, StoreWarning, stacklevel=2)
