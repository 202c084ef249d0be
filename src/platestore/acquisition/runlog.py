"""What a running acquisition keeps beside the pixels of a position, in a hidden directory.

``run.json``
    What is being acquired, and by which process; written once.
``frames.jsonl``
    A line for each frame that is safe: ``[[t, c, z], metadata]``, with ``null`` for one that was skipped.
``pixels.bin``
    Frames of blocks that are not complete: a header (place, bytes, checksum) and the pixels of each, so that
    a checkpoint never writes a file of the image twice.
``extent.json``
    How many time points are complete, for those who read meanwhile.

Lines and frames are only appended, so that what a kill leaves is whole up to the last one.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import struct
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from platestore.errors import InvalidMetadataError, LockTimeoutError, UnsupportedError
from platestore.publish.workplace import locked
from platestore.spec.values import Json
from platestore.storage.files import naming, sync_directory, write_all, write_over
from platestore.tree.location import Location

if TYPE_CHECKING:
    from platestore.arrays.types import DType, Pixels

#: The directory in a position, and the group that its metadata of frames end in.
DIRECTORY, GROUP = ".acquisition", "frames"
_RUN, _FRAMES, _PIXELS, _EXTENT = "run.json", "frames.jsonl", "pixels.bin", "extent.json"
# A magic word, the place, the bytes of the frame, their checksum.
_HEADER = struct.Struct("<4s3qqI")
_MAGIC = b"PSF1"

Coordinates = tuple[int, int, int]


class LoggedFrame(NamedTuple):
    """A line of the log.

    Attributes
    ----------
    place : tuple of int
        Its t, c and z.
    metadata : dict or None
        What was said of it; None for a frame that was skipped.
    """

    place: Coordinates
    metadata: Json | None


class RunLog:
    """The hidden directory of one position.

    Parameters
    ----------
    location : Location
        The position.

    Raises
    ------
    UnsupportedError
        If the store is no directory on this machine.
    """

    _mine: ClassVar[set[str]] = set()
    _guard = threading.Lock()

    def __init__(self, location: Location) -> None:
        root = location.storage.local_path(location.path)
        if root is None:
            raise UnsupportedError(
                "frames are acquired into a directory on this machine",
                path=location.where,
                hint="acquire there, and copy the finished store",
            )
        self.where = location.where
        self.path = os.path.join(root, DIRECTORY)
        self._held: contextlib.ExitStack | None = None
        self._lines: list[bytes] = []
        self._pixels_end = 0

    # --- the run ----------------------------------------------------------------------------------

    def exists(self) -> bool:
        """Whether a run is under way, or was when it was interrupted."""
        return os.path.isdir(self.path)

    def hold(self) -> None:
        """Exclude others who write this position's frames.

        Raises
        ------
        LockTimeoutError
            If somebody does; the message names the process.
        """
        os.makedirs(self.path, exist_ok=True)
        who = self.description().get("process", "unknown")
        problem = f"frames are being acquired into this position by process {who}"
        with self._guard:
            if self.path in self._mine:
                raise LockTimeoutError(problem, path=self.where, hint="close that stream first")
            stack = contextlib.ExitStack()
            stack.enter_context(locked(self.path, problem, self.where))
            self._mine.add(self.path)
            self._held = stack

    def release(self) -> None:
        """Let others write."""
        if self._held is not None:
            with self._guard:
                self._mine.discard(self.path)
            self._held.close()
            self._held = None

    def begin(self, description: Json) -> None:
        """Say what is being acquired."""
        write_over(self._file(_RUN), json.dumps({**description, "process": os.getpid()}).encode())

    def description(self) -> Json:
        """What is being acquired; empty if a kill came before that was said."""
        return _json(self._file(_RUN))

    def remove(self) -> None:
        """Take the directory away: the run is over."""
        self.release()
        aside = f"{self.path}.{os.getpid()}-0-{os.urandom(4).hex()}.tmp"
        os.rename(self.path, aside)
        shutil.rmtree(aside)

    # --- frames -----------------------------------------------------------------------------------

    def note(self, place: Coordinates, metadata: Json | None) -> None:
        """Prepare the line of a frame, for :meth:`flush`."""
        try:
            line = json.dumps([place, metadata], allow_nan=True)
        except (TypeError, ValueError) as error:
            raise InvalidMetadataError(f"metadata of a frame cannot be written: {error}") from None
        self._lines.append(line.encode() + b"\n")

    def flush(self, *, sync: bool = False) -> None:
        """Append the lines that were prepared: their frames are safe from then on."""
        lines, self._lines = self._lines, []
        if lines:
            self._append(_FRAMES, b"".join(lines), sync=sync)

    def frames(self) -> list[LoggedFrame]:
        """All lines; what a kill cut off is left out."""
        found = []
        for line in self._read(_FRAMES).split(b"\n")[:-1]:
            with contextlib.suppress(ValueError, TypeError):
                place, metadata = json.loads(line)
                found.append(LoggedFrame(tuple(place), metadata))
        return found

    # --- pixels -----------------------------------------------------------------------------------

    def keep(self, place: Coordinates, frame: Pixels, *, sync: bool = False) -> int:
        """Append the pixels of a frame; returns where they are."""
        import numpy as np

        data = np.ascontiguousarray(frame)
        flat = data.reshape(-1).view(np.uint8).data
        header = _HEADER.pack(_MAGIC, *place, data.nbytes, zlib.crc32(flat))
        offset = self._pixels_end
        self._append(_PIXELS, header, flat, sync=sync)
        self._pixels_end = offset + len(header) + data.nbytes
        return offset

    def kept(self, offset: int, shape: Sequence[int], dtype: DType) -> Pixels:
        """The pixels of a frame that was kept at a place."""
        import numpy as np

        with open(self._file(_PIXELS), "rb") as file:
            file.seek(offset + _HEADER.size)
            data = file.read(int(np.prod(shape)) * dtype.itemsize)
        return np.frombuffer(data, dtype).reshape(tuple(shape))

    def all_kept(self) -> Iterator[tuple[Coordinates, int]]:
        """Where each frame is that was kept whole."""
        path = self._file(_PIXELS)
        if not os.path.exists(path):
            return
        with open(path, "rb") as file:
            offset = 0
            while len(header := file.read(_HEADER.size)) == _HEADER.size:
                magic, t, c, z, nbytes, checksum = _HEADER.unpack(header)
                data = file.read(nbytes) if magic == _MAGIC and nbytes >= 0 else b""
                if len(data) != nbytes or zlib.crc32(data) != checksum:
                    return
                yield (t, c, z), offset
                offset += _HEADER.size + nbytes

    def forget_pixels(self) -> None:
        """Empty the file of pixels: they all are in the image."""
        if self._pixels_end:
            with contextlib.suppress(FileNotFoundError):
                os.truncate(self._file(_PIXELS), 0)
            self._pixels_end = 0

    # --- the extent -------------------------------------------------------------------------------

    def tell(self, extent: Json) -> None:
        """Say what is complete."""
        write_over(self._file(_EXTENT), json.dumps(extent).encode())

    def told(self) -> Json:
        """What was said to be complete."""
        return _json(self._file(_EXTENT))

    # --- files ------------------------------------------------------------------------------------

    def _file(self, name: str) -> str:
        return os.path.join(self.path, name)

    def _append(self, name: str, *pieces: bytes | memoryview, sync: bool) -> None:
        path = self._file(name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags, 0o666)
        try:
            end = os.fstat(descriptor).st_size
            try:
                for piece in pieces:
                    write_all(descriptor, piece, path)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, end)  # what follows must not begin behind half a record
                raise
            if sync:
                with naming(path):
                    os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if sync:
            sync_directory(self.path)

    def _read(self, name: str) -> bytes:
        try:
            with open(self._file(name), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return b""


def plain_metadata(metadata: Mapping[str, Any]) -> Json:
    """Metadata of a frame as JSON has it: NumPy's scalars as numbers, times as text."""
    out: Json = {}
    for key, value in metadata.items():
        if hasattr(value, "tolist"):
            value = value.tolist()
        if not isinstance(value, (str, int, float, bool, list, dict, type(None))):
            value = value.isoformat() if hasattr(value, "isoformat") else str(value)
        out[str(key)] = value
    return out


def is_running(root: str) -> bool:
    """Whether a living process acquires into the position of a directory."""
    path = os.path.join(root, DIRECTORY)
    with RunLog._guard:
        if path in RunLog._mine:
            return True
    try:
        with locked(path, "", root):
            return False
    except LockTimeoutError:
        return True


def _json(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
