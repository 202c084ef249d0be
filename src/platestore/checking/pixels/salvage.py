"""Saving what can be decoded of a damaged shard."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from platestore.arrays.chunkcodec import ABSENT, ChunkFormat, chunk_format
from platestore.arrays.chunkfiles import ChunkWriter
from platestore.arrays.grid import Place, array_grid, cover
from platestore.arrays.types import Pixels
from platestore.errors import ArgumentError, DamagedChunkError, NodeNotFoundError, UnsupportedError
from platestore.storage.base import ReadBuffer, Storage
from platestore.storage.hierarchy import ZarrFormat, read_array


def salvage_shard(storage: Storage, array_path: str, zarr_format: ZarrFormat, key: str) -> tuple[int, int]:
    """Replace a damaged shard by one with those of its chunks that can be decoded.

    The new file takes the place of the old one when it is complete; whoever wants to keep the old one gives
    it a second name before. Chunks that are lost read as the fill value from then on; where none can be
    saved, the file is removed. A damaged index is believed only if it still lies where it lay, and then of
    chunks that prove themselves (by a compressor's header or a checksum) and lie apart.

    Parameters
    ----------
    storage : Storage
        The store, open for writing.
    array_path : str
        Path of the array.
    zarr_format : {2, 3}
        Version of zarr.
    key : str
        Key of the shard in the store.

    Returns
    -------
    kept, lost : int
        Number of chunks that were saved, and that were not; if the index cannot be read, all chunks count.

    Raises
    ------
    UnsupportedError
        If the array has no shards, or other codecs than can be handled here.
    ArgumentError
        If the key is none of a shard of the array.
    NodeNotFoundError
        If there is no such array, or no such file.
    """
    storage.require_writable(array_path)
    document = read_array(storage, array_path, zarr_format)
    if document is None:
        raise NodeNotFoundError("there is no array", path=storage.where(array_path))
    format, grid = chunk_format(document), array_grid(document)
    if format is None or grid is None or format.shards is None:
        raise UnsupportedError(
            "only shards with codecs of platestore can be saved in part",
            path=storage.where(array_path),
            hint="write the region again, or restore the file from a backup",
        )
    unit = grid.place_of(key[len(array_path) + 1 :] if array_path else key)
    if unit is None or not grid.holds(unit) or not (key.startswith(f"{array_path}/") or not array_path):
        raise ArgumentError(f"{key!r} is no shard of the array", path=storage.where(array_path))
    size = storage.size_of(key)
    if size is None:
        raise NodeNotFoundError("there is no file to save chunks from", path=storage.where(key))
    return _Salvage(storage, array_path, format, unit, key, size).run()


class _Salvage:
    def __init__(
        self, storage: Storage, path: str, format: ChunkFormat, unit: Place, key: str, size: int
    ) -> None:
        self._storage = storage
        self._path = path
        self._format = format
        self._unit = unit
        self._key = key
        self._size = size
        self._buffer = ReadBuffer()
        counts = cover(format.shape, format.codec.chunks)
        rows = zip(unit, format.per_shard, counts, strict=True)
        self._inside = [range(min(n, c - u * n)) for u, n, c in rows]

    def run(self) -> tuple[int, int]:
        index, is_sound = self._index()
        inner = list(map(tuple, np.ndindex(*map(len, self._inside))))
        if index is None:
            self._storage.remove(self._key)
            return 0, len(inner)
        listed = [i for i in inner if (index[i] != ABSENT).any()]
        proves = self._format.codec.is_proof
        sound = [i for i in listed if self._decodes(index[i])] if is_sound or proves else []
        if not is_sound:
            sound = self._believed(_apart(sound, index), index)
        self._write({i: index[i] for i in sound}, inner)
        return len(sound), len(listed) - len(sound)

    def _index(self) -> tuple[npt.NDArray[np.uint64] | None, bool]:
        """The index as far as there is one, and whether it is as it was written."""
        format = self._format
        nbytes = format.index_nbytes
        start = -nbytes if format.index_at_end else 0
        data = None
        if self._size >= nbytes:
            data = self._storage.read_part(self._key, self._buffer, start, nbytes)
        if data is None or len(data) < nbytes:
            return None, False
        try:
            return format.parse_index(data, self._storage.where(self._key)), True
        except DamagedChunkError:
            body = bytes(data[: 16 * int(np.prod(format.per_shard))])
            return np.frombuffer(body, "<u8").reshape(*format.per_shard, 2), False

    def _believed(self, sound: list[Place], index: npt.NDArray[np.uint64]) -> list[Place]:
        """Those of a damaged index, or none if it may have moved: where bytes were cut off or put in.

        The entries would tell of their neighbours' chunks then. Whichever way it moved, the first entry or
        the last one is made of other bytes, and the chunks end (or begin) elsewhere than at the index.
        """
        nbytes = self._format.index_nbytes
        first, last = (0,) * len(self._format.per_shard), tuple(n - 1 for n in self._format.per_shard)
        if first not in sound or (last not in sound and (index[last] != ABSENT).any()):
            return []
        if self._format.index_at_end:
            is_beside = max(int(index[i].sum()) for i in sound) == self._size - nbytes
        else:
            is_beside = min(int(index[i][0]) for i in sound) == nbytes
        return sound if is_beside else []

    def _stored(self, row: npt.NDArray[np.uint64]) -> memoryview | None:
        offset, length = map(int, row)
        if not length or offset + length > self._size:
            return None
        data = self._storage.read_part(self._key, self._buffer, offset, length)
        return data if data is not None and len(data) == length else None

    def _decodes(self, row: npt.NDArray[np.uint64]) -> bool:
        data = self._stored(row)
        if data is None:
            return False
        codec = self._format.codec
        block: Pixels = np.empty(codec.chunks, codec.dtype)
        try:
            codec.decode(data, block, self._storage.where(self._key))
        except DamagedChunkError:
            return False
        return True

    def _write(self, sound: dict[Place, npt.NDArray[np.uint64]], all_: list[Place]) -> None:
        """Write the shard anew: every chunk is told of, those that are lost as not there."""
        writer = ChunkWriter(self._storage, self._path, self._format, fresh=False)
        try:
            for inner in all_:
                data = self._stored(sound[inner]) if inner in sound else None
                if data is None and inner in sound:
                    text = "the file changed while chunks were saved from it"
                    raise DamagedChunkError(text, path=self._storage.where(self._key))
                writer.put(self._place(inner), None if data is None else bytes(data))
        except BaseException:
            writer.discard()
            raise

    def _place(self, inner: Place) -> Place:
        rows = zip(self._unit, self._format.per_shard, inner, strict=True)
        return tuple(u * n + i for u, n, i in rows)


def _apart(places: list[Place], index: npt.NDArray[np.uint64]) -> list[Place]:
    """Those whose bytes belong to no other of them."""
    rows = sorted((int(index[p][0]), int(index[p][0]) + int(index[p][1]), p) for p in places)
    shared: set[Place] = set()
    reach, owner = 0, None
    for start, stop, place in rows:
        if owner is not None and start < reach:
            shared |= {place, owner}
        if stop > reach:
            reach, owner = stop, place
    return [place for place in places if place not in shared]
