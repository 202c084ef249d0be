"""The two ends of a copy: an array that is read chunk by chunk, and one that is written unit by unit.

Arrays whose codecs are handled one by one go through their files; all others through their own indexing,
in whole units (shards, or chunks where there are no shards).
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from platestore.arrays.chunkarrays import ArrayReader
from platestore.arrays.chunkcodec import ChunkFormat, chunk_format
from platestore.arrays.chunkfiles import ChunkReader, ChunkWriter
from platestore.arrays.partition import Place
from platestore.arrays.types import DType, Pixels
from platestore.storage.base import Piece, Storage, StorageOptions, join
from platestore.storage.hierarchy import ArrayDocument

if TYPE_CHECKING:
    from platestore.arrays.image import ImageArray

_MOST_SHARDS = 64
_MOST_UNFINISHED_BYTES = 4 * 2**30


@dataclass(frozen=True, slots=True)
class ChunkSource:
    """What is read.

    Attributes
    ----------
    reader : ChunkReader or ArrayReader
        Gives its chunks.
    shape, chunks : tuple of int
        Shapes of the array and of a chunk.
    dtype : numpy.dtype
        Data type in this machine's byte order.
    fill : numpy scalar
        What chunks that were never written hold.
    """

    reader: ChunkReader | ArrayReader
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: DType
    fill: Any

    @classmethod
    def open(cls, storage: Storage, document: ArrayDocument) -> ChunkSource:
        """Take an array as a source."""
        found = chunk_format(document)
        if found is not None:
            reader = ChunkReader(storage, document.path, found)
            return cls(reader, found.shape, found.codec.chunks, found.codec.dtype, found.fill)
        from platestore.arrays.image import open_array  # which brings zarr

        array = open_array(storage, document, ())
        dtype = array.dtype.newbyteorder("=")
        return cls(ArrayReader(array), array.shape, array.chunks, dtype, _fill(array))

    def forget(self) -> None:
        """Give back the memory that this thread reads into."""
        if isinstance(self.reader, ChunkReader):
            self.reader.forget()

    @property
    def chunk_nbytes(self) -> int:
        """Bytes of a whole chunk, decoded."""
        return math.prod(self.chunks) * self.dtype.itemsize

    def reading_nbytes(self, small: int) -> int:
        """The most bytes that reading one chunk takes beside it; files are not looked at if it is small."""
        if isinstance(self.reader, ArrayReader):
            return self.reader.largest_encoded()
        codec = self.reader.format.codec
        stored = codec.max_encoded if codec.max_encoded <= small else self.reader.largest_encoded()
        return stored + codec.decoding_nbytes


class TileTarget(Protocol):
    """What is written (or compared), in *tiles*: what is encoded at once."""

    shape: tuple[int, ...]
    tile: tuple[int, ...]
    units: tuple[int, ...]
    dtype: DType
    fill: Any
    path: str
    #: Whether :meth:`finish` must get the tiles, in the order in which they are to lie in the file.
    in_order: bool
    #: How many files may be under way at once; None where each is written at once.
    together: int | None
    #: The most bytes of a tile as :meth:`store` returns it, and what it takes beside that.
    stored_nbytes: int
    storing_nbytes: int
    #: Bytes kept all the time, and for each file under way.
    held_nbytes: int
    index_nbytes: int

    def unit_of(self, place: Place) -> Place:
        """Place of the file that holds a tile."""

    def exists(self, unit: Place) -> bool:
        """Whether there is the file of a unit."""

    def store(self, place: Place, tile: Pixels | None) -> Piece | None:
        """Encode a tile (None is the fill value); write it, where its turn does not matter."""

    def finish(self, place: Place, data: Piece | None) -> None:
        """Write what :meth:`store` returned."""

    def read(self, place: Place, out: Pixels) -> bool:
        """Decode a tile; False if it was never written."""

    def reading_nbytes(self) -> int:
        """The most bytes that :meth:`read` takes."""

    def forget(self) -> None:
        """Give back the memory that this thread reads into."""

    def discard(self) -> None:
        """Take away what is under way, after an error."""

    def written(self) -> tuple[int, int]:
        """How many files and bytes were written so far."""


def open_target(storage: Storage, document: ArrayDocument) -> TileTarget:
    """Take an array, whose document exists, as a target."""
    found = chunk_format(document)
    if found is not None:
        return FileTarget(storage, document.path, found)
    return ArrayTarget(storage, document)


class FileTarget:
    """An array whose chunks are encoded one by one.

    Parameters
    ----------
    storage : Storage
        Where it is.
    path : str
        Its path.
    format : ChunkFormat
        How its chunks lie in files.
    """

    def __init__(self, storage: Storage, path: str, format: ChunkFormat) -> None:
        self.shape, self.tile, self.units = format.shape, format.codec.chunks, format.units
        self.dtype, self.fill = format.codec.dtype, format.fill
        self.path = storage.where(path)
        in_archive = storage.in_order
        self._in_shards = format.shards is not None
        self.in_order = self._in_shards or in_archive
        self.stored_nbytes = format.codec.max_encoded
        self.storing_nbytes = format.codec.encoding_nbytes
        self._storage, self._place, self._format = storage, path, format
        self.together: int | None = None
        if self._in_shards:
            self.together = _together(format) if storage.local_path(path) is not None else 1
        # An archive has nothing in the way and takes one entry after the other, as they come.
        self._writer = ChunkWriter(
            storage, path, format, fresh=in_archive, ordered=not in_archive, streams=in_archive
        )
        self._reader = ChunkReader(storage, path, format)
        self.held_nbytes, self.index_nbytes = self._writer.held_nbytes, self._writer.index_nbytes

    def unit_of(self, place: Place) -> Place:
        """Place of the file that holds a chunk."""
        return self._format.locate(place)[0]

    def exists(self, unit: Place) -> bool:
        """Whether there is the file of a unit."""
        return self._storage.size_of(join(self._place, self._format.key(unit))) is not None

    def store(self, place: Place, tile: Pixels | None) -> Piece | None:
        """Encode a chunk; write it, unless it must wait for its turn."""
        data = self._writer.encode(tile)
        if self.in_order:
            return data
        self._writer.put(place, data)
        return None

    def finish(self, place: Place, data: Piece | None) -> None:
        """Append a chunk to its shard or archive."""
        if self.in_order:
            self._writer.put(place, data)

    def read(self, place: Place, out: Pixels) -> bool:
        """Decode a chunk; False if it was never written."""
        return self._reader.read(place, out)

    def reading_nbytes(self) -> int:
        """The most bytes that reading a chunk takes beside it."""
        return self._format.codec.max_encoded + self._format.codec.decoding_nbytes

    def forget(self) -> None:
        """Give back the memory that this thread reads into."""
        self._reader.forget()

    def discard(self) -> None:
        """Take away the shard under way."""
        self._writer.discard()

    def written(self) -> tuple[int, int]:
        """How many files and bytes were written so far."""
        return self._writer.files, self._writer.nbytes


class ArrayTarget:
    """An array that is written through its own indexing, a whole unit at a time.

    In an archive, the array that is written lies in memory, and its files are moved over.

    Parameters
    ----------
    storage : Storage
        Where it is.
    document : ArrayDocument
        Its document.
    """

    def __init__(self, storage: Storage, document: ArrayDocument) -> None:
        self._storage = storage
        self._aside = _memory() if storage.in_order else None
        from platestore.arrays.image import open_array  # which brings zarr

        self._array = array = open_array(storage, document, ())
        self._written = array if self._aside is None else open_array(self._aside, document, ())
        self.shape, self.tile, self.units = array.shape, array._units, array._units
        self.dtype, self.fill = array.dtype.newbyteorder("="), _fill(array)
        self.path = storage.where(array.path)
        self.in_order = self._aside is not None
        self.together: int | None = None
        nbytes = math.prod(self.units) * self.dtype.itemsize
        self.stored_nbytes = 2 * nbytes if self.in_order else 0
        self.storing_nbytes = 2 * nbytes  # the engine's own copies
        self.held_nbytes = self.index_nbytes = 0
        self._files = self._nbytes = 0
        self._lock = threading.Lock()

    def unit_of(self, place: Place) -> Place:
        """A tile is a unit."""
        return place

    def exists(self, unit: Place) -> bool:
        """Whether there is the file of a unit."""
        return self._storage.size_of(self._key(unit)) is not None

    def _key(self, unit: Place) -> str:
        return join(self._array.path, self._array.metadata.encode_chunk_key(unit))

    def store(self, place: Place, tile: Pixels | None) -> Piece | None:
        """Write a unit; in an archive, encode it only."""
        region, key = self._array._unit_region(place), self._key(place)
        inside = tuple(slice(0, r.stop - r.start) for r in region)
        self._written[region] = self.fill if tile is None else tile[inside]
        if self._aside is None:
            self._count(self._storage.size_of(key))
            return None
        data = self._aside.read(key)
        self._aside.remove(key)
        return data

    def finish(self, place: Place, data: Piece | None) -> None:
        """Add an encoded unit to the archive."""
        if data is not None:
            self._storage.write_object(self._key(place), data, fresh=True)
            self._count(len(data))

    def _count(self, nbytes: int | None) -> None:
        if nbytes is not None:
            with self._lock:
                self._files += 1
                self._nbytes += nbytes

    def read(self, place: Place, out: Pixels) -> bool:
        """Read a unit; units that were never written read as the fill value."""
        region = self._array._unit_region(place)
        out[tuple(slice(0, r.stop - r.start) for r in region)] = self._array[region]
        return True

    def reading_nbytes(self) -> int:
        """The most bytes that reading a unit takes beside it."""
        return self.storing_nbytes

    def forget(self) -> None:
        """Nothing is kept."""

    def discard(self) -> None:
        """Units are written whole: nothing is under way."""

    def written(self) -> tuple[int, int]:
        """How many files and bytes were written so far."""
        return self._files, self._nbytes


def _memory() -> Storage:
    """A store in memory."""
    from zarr.storage import MemoryStore

    from platestore.storage.zarr_store import ZarrStorage

    return ZarrStorage(MemoryStore(), StorageOptions(read_only=False))


def _together(format: ChunkFormat) -> int:
    """How many shards may be under way at once: an interruption loses what was done for them."""
    nbytes = math.prod(format.units) * format.codec.dtype.itemsize
    return max(1, min(_MOST_SHARDS, _MOST_UNFINISHED_BYTES // nbytes))


def _fill(array: ImageArray) -> Any:
    return array.dtype.type(0) if array.fill_value is None else array.fill_value
