"""Reading and writing the chunks of an array one by one, in files of one chunk or of a whole shard.

A shard is never held in memory: its encoded chunks are appended to a temporary file as they come, the
index goes last, and the file gets its name when it is complete.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import numpy.typing as npt

from platestore.arrays.chunkcodec import ABSENT, ChunkFormat
from platestore.arrays.types import Pixels
from platestore.errors import DamagedChunkError, MissingChunkError
from platestore.storage.base import Appender, Piece, ReadBuffer, Storage, join

Place = tuple[int, ...]
_INDEX_CACHE_BYTES = 2**20
_FEW_FILES = 64


class _ThreadBuffer(threading.local):
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
        self._local = _ThreadBuffer()

    def read(self, place: Place, out: Pixels) -> bool:
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

    def forget(self) -> None:
        """Give back the memory that this thread reads into; the next chunk takes new one."""
        self._local.buffer = ReadBuffer()

    def is_present(self, place: Place) -> bool:
        """Whether a chunk was written."""
        if self.format.shards is None:
            return self._storage.size_of(join(self._path, self.format.key(place))) is not None
        shard, inner = self.format.locate(place)
        index = self.index(shard)
        return index is not None and int(index[inner][0]) != ABSENT

    def read_encoded(self, place: Place) -> tuple[memoryview | None, str]:
        """Bytes of a chunk as stored (until this thread reads the next), and where they are."""
        if self.format.shards is None:
            key = join(self._path, self.format.key(place))
            return self._storage.read_part(key, self._local.buffer), self._storage.where(key)
        shard, inner = self.format.locate(place)
        key = join(self._path, self.format.key(shard))
        where = self._storage.where(key)
        index = self.index(shard)
        if index is None:
            return None, where
        offset, length = map(int, index[inner])
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


class _ShardInMemory:
    """A shard under way in memory, for a store that cannot append; an ``Appender`` otherwise."""

    def __init__(self, storage: Storage, key: str, fresh: bool) -> None:
        self._storage = storage
        self._key = key
        self._fresh = fresh
        self._pieces: dict[int, bytes] = {}
        self._size = 0
        self._lock = threading.Lock()

    def append(self, data: Piece) -> int:
        with self._lock:
            offset = self._size
            self._pieces[offset] = bytes(data)
            self._size += len(self._pieces[offset])
        return offset

    def rewrite(self, offset: int, data: Piece) -> None:
        self._pieces[offset] = bytes(data)

    def read(self, offset: int, length: int) -> bytes:
        return self._pieces[offset]

    def commit(self) -> None:
        self._storage.write_object(self._key, b"".join(self._pieces.values()), fresh=self._fresh)

    def discard(self) -> None:
        self._pieces.clear()


class _Shard:
    """A shard under way.

    Parameters
    ----------
    format : ChunkFormat
        How its chunks lie in it.
    missing : int
        How many chunks are still to come.
    open : callable
        Gives what the encoded chunks go to, once there is one.
    """

    def __init__(
        self, format: ChunkFormat, missing: int, open: Callable[[], Appender | _ShardInMemory]
    ) -> None:
        self.missing = missing
        self.index = np.full((*format.per_shard, 2), ABSENT, np.uint64)
        self._format = format
        self._open = open
        self._sink: Appender | _ShardInMemory | None = None
        self._lock = threading.Lock()

    def add(self, inner: Place, data: Piece) -> None:
        """Append an encoded chunk."""
        with self._lock:
            if self._sink is None:
                self._sink = self._open()
                if not self._format.index_at_end:  # its place is kept free
                    self._sink.append(bytes(self._format.index_nbytes))
        self.index[inner] = (self._sink.append(data), memoryview(data).nbytes)

    @property
    def is_empty(self) -> bool:
        """Whether it holds no chunk."""
        return self._sink is None

    @property
    def nbytes(self) -> int:
        """Bytes of the complete shard."""
        lengths = self.index[..., 1]
        return int(lengths[lengths != ABSENT].sum()) + self._format.index_nbytes

    def in_order(self) -> _Shard:
        """The shard itself, or one with the same chunks in C order that takes its place."""
        offsets = self.index[..., 0].reshape(-1)
        offsets = offsets[offsets != ABSENT]
        if self._sink is None or (offsets[1:] > offsets[:-1]).all():
            return self
        out = _Shard(self._format, 0, self._open)
        try:
            for inner in map(tuple, np.argwhere(self.index[..., 0] != ABSENT)):
                out.add(inner, self._sink.read(*map(int, self.index[inner])))
        except BaseException:
            out.discard()
            raise
        self.discard()
        return out

    def commit(self) -> None:
        """Add the index, and give the shard its name."""
        assert self._sink is not None
        index = self._format.index_bytes(self.index)
        if self._format.index_at_end:
            self._sink.append(index)
        else:
            self._sink.rewrite(0, index)
        self._sink.commit()

    def discard(self) -> None:
        """Take it away."""
        if self._sink is not None:
            self._sink.discard()


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
    ordered : bool
        Whether the chunks of a shard lie in C order, in whichever order they come: the same chunks are
        the same bytes then. A shard whose chunks came in another order is copied once.
    streams : bool
        Whether shards come one after another, each complete before the next, in a store that can take
        them so.
    """

    def __init__(
        self,
        storage: Storage,
        path: str,
        format: ChunkFormat,
        *,
        fresh: bool,
        ordered: bool = False,
        streams: bool = False,
    ) -> None:
        self._storage = storage
        self._path = path
        self.format = format
        self._fresh = fresh
        self._ordered = ordered
        self._streams = streams
        self._places: dict[Place, set[Place]] | None = None
        self.most_open = 1
        #: What was written so far.
        self.files = 0
        self.nbytes = 0
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
        if self.format.shards is None or self._streams or self._storage.local_path(self._path) is not None:
            return 0
        one = self.format.codec.max_encoded * math.prod(self.format.per_shard) + self.format.index_nbytes
        return one * (self.most_open + 1)  # the complete one is joined to a copy

    def write(self, place: Place, block: Pixels | None) -> None:
        """Encode and write a chunk.

        Parameters
        ----------
        place : tuple of int
            Its place on the grid of chunks.
        block : numpy.ndarray, optional
            C-contiguous, of the whole chunk's shape; None stands for the fill value.
        """
        self.put(place, self.encode(block))

    def encode(self, block: Pixels | None) -> Piece | None:
        """Encode a chunk.

        Parameters
        ----------
        block : numpy.ndarray, optional
            C-contiguous, of the whole chunk's shape; None stands for the fill value.

        Returns
        -------
        bytes or memoryview or None
            None for a chunk that is not stored, since it holds the fill value only. Without compression
            and checksum this is the memory of the block itself.
        """
        keeps_fill = self._storage.options.missing != "fill"
        if block is None:
            if not keeps_fill:
                return None
            block = np.full(self.format.codec.chunks, self.format.fill, self.format.codec.dtype)
        elif not keeps_fill and self.format.is_fill(block):
            return None
        return self.format.codec.encode(block)

    def put(self, place: Place, data: Piece | None) -> None:
        """Write a chunk as :meth:`encode` gave it.

        Parameters
        ----------
        place : tuple of int
            Its place on the grid of chunks.
        data : bytes or memoryview, optional
            The encoded chunk; None for one that is not stored.
        """
        number, inner = self.format.locate(place)
        if self.format.shards is None:
            key = join(self._path, self.format.key(number))
            if data is not None:
                self._storage.write_object(key, data, fresh=self._fresh)
                self._count_file(memoryview(data).nbytes)
            elif not self._fresh:
                self._storage.remove(key)
            return
        shard = self._shard(number)
        if data is not None:
            shard.add(inner, data)
        with self._lock:
            shard.missing -= 1
            complete = not shard.missing
            if complete:
                del self._shards[number]
        if complete:
            self._complete(number, shard)

    def _count_file(self, nbytes: int) -> None:
        with self._lock:
            self.files += 1
            self.nbytes += nbytes

    def _shard(self, number: Place) -> _Shard:
        with self._lock:
            found = self._shards.get(number)
            if found is None:
                found = _Shard(self.format, self._count(number), partial(self._sink, number))
                self._shards[number] = found
            return found

    def _sink(self, number: Place) -> Appender | _ShardInMemory:
        key = join(self._path, self.format.key(number))
        sink = self._storage.stream(key) if self._streams else self._storage.appender(key)
        return sink or _ShardInMemory(self._storage, key, self._fresh)

    def restrict(self, places: Iterable[Place]) -> None:
        """Only these chunks will come; the other chunks of their shards are taken over as they are."""
        self._places = {}
        for place in places:
            number, inner = self.format.locate(place)
            self._places.setdefault(number, set()).add(inner)

    def _count(self, number: Place) -> int:
        """How many chunks of a shard are to be written."""
        if self._places is not None:
            return len(self._places[number])
        per_shard = self.format.per_shard
        return math.prod(
            min((s + 1) * n, g) - s * n for s, n, g in zip(number, per_shard, self._grid, strict=True)
        )

    def _complete(self, number: Place, shard: _Shard) -> None:
        try:
            if self._places is not None:
                self._take_over(number, shard)
            if shard.is_empty:
                if not self._fresh:
                    self._storage.remove(join(self._path, self.format.key(number)))
                return
            if self._ordered:
                shard = shard.in_order()
            shard.commit()
        except BaseException:
            shard.discard()
            raise
        self._count_file(shard.nbytes)

    def _take_over(self, number: Place, shard: _Shard) -> None:
        """Copy the chunks of the old shard that are not among those written, as they are stored."""
        reader = ChunkReader(self._storage, self._path, self.format)
        old = reader.index(number)
        assert self._places is not None
        if old is None:
            return
        per_shard = self.format.per_shard
        for inner in itertools.product(*map(range, per_shard)):
            if inner in self._places[number] or old[inner][0] == ABSENT:
                continue
            place = tuple(s * n + i for s, n, i in zip(number, per_shard, inner, strict=True))
            data, _ = reader.read_encoded(place)
            if data is not None:
                shard.add(inner, data)

    def discard(self) -> None:
        """Take away what is under way, after an error."""
        with self._lock:
            for shard in self._shards.values():
                shard.discard()
            self._shards.clear()
