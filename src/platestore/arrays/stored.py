"""An array of a store as a source: read box by box, chunk by chunk."""

from __future__ import annotations

import math
import threading

import numpy as np

from platestore.arrays.chunkcodec import chunk_format
from platestore.arrays.chunkfiles import ChunkReader
from platestore.arrays.image import open_array
from platestore.arrays.sources import ArraySource, Region, Source, read_tiles
from platestore.arrays.types import DType, Pixels
from platestore.storage.base import Storage
from platestore.storage.hierarchy import ArrayDocument


def stored_source(storage: Storage, document: ArrayDocument) -> Source:
    """Take an array of a store as a source."""
    if chunk_format(document) is None:
        return ArraySource(open_array(storage, document, ()))
    return StoredSource(storage, document)


class StoredSource:
    """An array whose chunks are decoded one by one.

    Parameters
    ----------
    storage : Storage
        Where it is.
    document : ArrayDocument
        Its document.
    """

    def __init__(self, storage: Storage, document: ArrayDocument) -> None:
        found = chunk_format(document)
        assert found is not None
        self._format = found
        self._reader = ChunkReader(storage, document.path, found)
        self._local = threading.local()
        self.shape = found.shape
        self.dtype: DType = found.codec.dtype.newbyteorder("=")
        self.tiles = found.codec.chunks

    def load(self, region: Region, out: Pixels, workers: int) -> None:
        """Decode the chunks of a box."""

        def read(part: Region, target: Pixels) -> None:
            place = tuple(p.start // c for p, c in zip(part, self.tiles, strict=True))
            in_place = target.shape == self.tiles and target.flags.c_contiguous and target.dtype == self.dtype
            chunk = target if in_place else self._chunk()
            if not self._reader.read(place, chunk):
                target[...] = self._format.fill
            elif not in_place:
                rows = zip(part, self.tiles, place, strict=True)
                target[...] = chunk[tuple(slice(p.start - i * c, p.stop - i * c) for p, c, i in rows)]

        read_tiles(region, self.tiles, out, read, workers)
        self._local = threading.local()

    def _chunk(self) -> Pixels:
        """Memory of this thread for one chunk."""
        if not hasattr(self._local, "chunk"):
            self._local.chunk = np.empty(self.tiles, self.dtype)
        chunk: Pixels = self._local.chunk
        return chunk

    def loading_nbytes(self, workers: int) -> int:
        """Each thread has a chunk, decoded and as stored."""
        each = math.prod(self.tiles) * self.dtype.itemsize + self._reader.largest_encoded()
        return workers * (each + self._format.codec.decoding_nbytes) + self._reader.index_nbytes
