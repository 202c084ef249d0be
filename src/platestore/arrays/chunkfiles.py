"""Reading and writing the chunks of an array one by one, in files of one chunk or of a whole shard.

A shard is never held in memory: its encoded chunks are appended to a temporary file as they come, the
index goes last, and the file gets its name when it is complete.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from platestore.arrays.chunkcodec import ABSENT, ChunkFormat
from platestore.errors import DamagedChunkError, MissingChunkError
from platestore.storage.base import Storage, join
from platestore.storage.objects import Appender, Piece, ReadBuffer

Place = tuple[int, ...]
_INDEX_CACHE_BYTES = 2**20
_FEW_FILES = 64


class _Local(threading.local):
    def __init__(self) -> None:
        self.buffer = ReadBuffer()


class ChunkReader:
    """Chunks of one array, decoded one by one; several threads may read at once.

    Parameters
    ----------
    storage : Storage
        Where the array is.
    path : str
        Path of the array.
    format : ChunkFormat
        How its chunks lie in files.
    """

    def __init__(self, storage: Storage, path: str, format: ChunkFormat) -> None:
        self._storage = storage
        self._path = path
        self.format = format
        self._indices: OrderedDict[Place, npt.NDArray[np.uint64] | None] = OrderedDict()
        self._lock = threading.Lock()
        self._local = _Local()

    def read(self, place: Place, out: npt.NDArray[Any]) -> bool:
        """Decode a chunk.

        Parameters
        ----------
        place : tuple of int
            Its place on the grid of chunks.
        out : numpy.ndarray
            C-contiguous, of the whole chunk's shape.

        Returns
        -------
        bool
            False if the chunk was never written; ``out`` is as it was then.

        Raises
        ------
        DamagedChunkError
            If it cannot be decoded.
        MissingChunkError
            If it was never written, in a store opened with ``missing="raise"``.
        """
        data, where = self.read_encoded(place)
        if data is None:
            if self._storage.options.missing == "raise":
                raise MissingChunkError(f"chunk {place} is missing", path=where)
            return False
        self.format.codec.decode(data, out, where)
        return True

    def is_present(self, place: Place) -> bool:
        """Whether a chunk was written."""
        if self.format.shards is None:
            return self._storage.size_of(join(self._path, self.format.key(place))) is not None
        pairs = [divmod(p, n) for p, n in zip(place, self.format.per_shard, strict=True)]
        index = self.index(tuple(p[0] for p in pairs))
        return index is not None and int(index[tuple(p[1] for p in pairs)][0]) != ABSENT

    def read_encoded(self, place: Place) -> tuple[memoryview | None, str]:
        """Bytes of a chunk as stored (until this thread reads the next), and where they are."""
        if self.format.shards is None:
            key = join(self._path, self.format.key(place))
            return self._storage.read_part(key, self._local.buffer), self._storage.where(key)
        per_shard = self.format.per_shard
        shard = tuple(p // n for p, n in zip(place, per_shard, strict=True))
        key = join(self._path, self.format.key(shard))
        where = self._storage.where(key)
        index = self.index(shard)
        if index is None:
            return None, where
        offset, length = map(int, index[tuple(p % n for p, n in zip(place, per_shard, strict=True))])
        if offset == ABSENT and length == ABSENT:
            return None, where
        data = self._storage.read_part(key, self._local.buffer, offset, length)
        if data is None or len(data) != length:
            raise DamagedChunkError(f"chunk {place} is cut off", path=where)
        return data, f"{where} (chunk {place})"

    def index(self, shard: Place) -> npt.NDArray[np.uint64] | None:
        """The index of a shard; None if there is no such shard."""
        with self._lock:
            if shard in self._indices:
                self._indices.move_to_end(shard)
                return self._indices[shard]
        key = join(self._path, self.format.key(shard))
        size = self.format.index_nbytes
        start = -size if self.format.index_at_end else 0
        data = self._storage.read_part(key, ReadBuffer(), start, size)
        index = None if data is None else self.format.parse_index(data, self._storage.where(key))
        with self._lock:
            self._indices[shard] = index
            while len(self._indices) > max(1, _INDEX_CACHE_BYTES // size):
                self._indices.popitem(last=False)
        return index

    @property
    def index_nbytes(self) -> int:
        """Bytes of the index of a shard, which is kept."""
        return self.format.index_nbytes if self.format.shards is not None else 0

    def largest_encoded(self) -> int:
        """The most bytes that a stored chunk has: measured where that is quick, else the codec's bound."""
        bound = self.format.codec.max_encoded
        grid = [-(-n // c) for n, c in zip(self.format.shape, self.format.codec.chunks, strict=True)]
        if self.format.shards is not None or math.prod(grid) > _FEW_FILES:
            return bound
        keys = (join(self._path, self.format.key(p)) for p in itertools.product(*map(range, grid)))
        return min(bound, max((self._storage.size_of(key) or 0 for key in keys), default=0))


class _Shard:
    """A shard under way."""

    def __init__(self, format: ChunkFormat, missing: int, appender: Appender | None) -> None:
        self.missing = missing
        self.appender = appender
        self.pieces: list[Piece] = []
        self.size = 0
        self.index = np.full((*format.per_shard, 2), ABSENT, np.uint64)
        self.lock = threading.Lock()

    def append(self, data: Piece) -> int:
        if self.appender is not None:
            return self.appender.append(data)
        with self.lock:
            offset = self.size
            self.pieces.append(bytes(data))
            self.size += len(self.pieces[-1])
        return offset


class ChunkWriter:
    """Writes chunks of one array, each once; several threads may write at once.

    Parameters
    ----------
    storage : Storage
        Where the array is.
    path : str
        Path of the array.
    format : ChunkFormat
        How its chunks lie in files.
    fresh : bool
        Whether the array is new, and nothing refers to it yet.
    """

    def __init__(self, storage: Storage, path: str, format: ChunkFormat, *, fresh: bool) -> None:
        self._storage = storage
        self._path = path
        self.format = format
        self._fresh = fresh
        self._places: dict[Place, set[Place]] | None = None
        self.most_open = 1
        self._shards: dict[Place, _Shard] = {}
        self._lock = threading.Lock()
        self._grid = tuple(-(-n // c) for n, c in zip(format.shape, format.codec.chunks, strict=True))

    @property
    def units(self) -> tuple[int, ...]:
        """Shape of what one file holds."""
        return self.format.units

    @property
    def index_nbytes(self) -> int:
        """Bytes of the index of a shard under way."""
        return self.format.index_nbytes if self.format.shards is not None else 0

    @property
    def held_nbytes(self) -> int:
        """The most bytes of shards that are held in memory: none where the store can append."""
        if self.format.shards is None or self._storage.local_path(self._path) is not None:
            return 0
        one = self.format.codec.max_encoded * math.prod(self.format.per_shard) + self.format.index_nbytes
        return one * (self.most_open + 1)  # the complete one is joined to a copy

    def write(self, place: Place, block: npt.NDArray[Any] | None) -> None:
        """Encode and write a chunk.

        Parameters
        ----------
        place : tuple of int
            Its place on the grid of chunks.
        block : numpy.ndarray, optional
            C-contiguous, of the whole chunk's shape; None stands for the fill value.
        """
        data = self._encode(block)
        if self.format.shards is None:
            key = join(self._path, self.format.key(place))
            if data is not None:
                self._storage.write_object(key, data, fresh=self._fresh)
            elif not self._fresh:
                self._storage.remove(key)
            return
        number, inner = self._in_shard(place)
        shard = self._shard(number)
        if data is not None:
            offset = shard.append(data)
            shard.index[inner] = (offset, memoryview(data).nbytes)
        with self._lock:
            shard.missing -= 1
            complete = not shard.missing
            if complete:
                del self._shards[number]
        if complete:
            self._complete(number, shard)

    def _encode(self, block: npt.NDArray[Any] | None) -> Piece | None:
        if block is None:
            if self._storage.options.missing == "fill":
                return None
            block = np.full(self.format.codec.chunks, self.format.fill, self.format.codec.dtype)
        elif self._storage.options.missing == "fill" and self.format.is_fill(block):
            return None
        return self.format.codec.encode(block)

    def _shard(self, number: Place) -> _Shard:
        with self._lock:
            found = self._shards.get(number)
            if found is None:
                key = join(self._path, self.format.key(number))
                found = _Shard(self.format, self._count(number), self._storage.appender(key))
                if not self.format.index_at_end:  # its place is kept free
                    found.append(bytes(self.format.index_nbytes))
                self._shards[number] = found
            return found

    def restrict(self, places: Iterable[Place]) -> None:
        """Only these chunks will come; the other chunks of their shards are taken over as they are."""
        self._places = {}
        for place in places:
            number, inner = self._in_shard(place)
            self._places.setdefault(number, set()).add(inner)

    def _in_shard(self, place: Place) -> tuple[Place, Place]:
        """The shard of a chunk, and its place in that."""
        pairs = [divmod(p, n) for p, n in zip(place, self.format.per_shard, strict=True)]
        return tuple(p[0] for p in pairs), tuple(p[1] for p in pairs)

    def _count(self, number: Place) -> int:
        """How many chunks of a shard are to be written."""
        if self._places is not None:
            return len(self._places[number])
        per_shard = self.format.per_shard
        return math.prod(
            min((s + 1) * n, g) - s * n for s, n, g in zip(number, per_shard, self._grid, strict=True)
        )

    def _complete(self, number: Place, shard: _Shard) -> None:
        key = join(self._path, self.format.key(number))
        try:
            if self._places is not None:
                self._take_over(number, shard)
            if (shard.index == ABSENT).all():
                if shard.appender is not None:
                    shard.appender.discard()
                if not self._fresh:
                    self._storage.remove(key)
                return
            index = self.format.index_bytes(shard.index)
            if shard.appender is not None:
                if self.format.index_at_end:
                    shard.appender.append(index)
                else:
                    shard.appender.rewrite(0, index)
                shard.appender.commit()
                return
            if self.format.index_at_end:
                shard.pieces.append(index)
            else:
                shard.pieces[0] = index
            self._storage.write_object(key, b"".join(shard.pieces), fresh=self._fresh)
        except BaseException:
            if shard.appender is not None:
                shard.appender.discard()
            raise

    def _take_over(self, number: Place, shard: _Shard) -> None:
        """Copy the chunks of the old shard that are not among those written, as they are stored."""
        reader = ChunkReader(self._storage, self._path, self.format)
        old = reader.index(number)
        assert self._places is not None
        if old is None:
            return
        for inner in itertools.product(*map(range, self.format.per_shard)):
            if inner in self._places[number] or old[inner][0] == ABSENT:
                continue
            per_shard = self.format.per_shard
            place = tuple(s * n + i for s, n, i in zip(number, per_shard, inner, strict=True))
            data, _ = reader.read_encoded(place)
            if data is not None:
                shard.index[inner] = (shard.append(data), len(data))

    def discard(self) -> None:
        """Take away what is under way, after an error."""
        with self._lock:
            for shard in self._shards.values():
                if shard.appender is not None:
                    shard.appender.discard()
            self._shards.clear()
