"""Blocks of level 0 that come one by one, in any order: each is written with its part of every level.

A block is as small as can be, such that it is made of whole files of every level, so that two blocks never
share one. Its pixels are reduced while they are in memory, by the kernels of the one pass: the levels are
those that would be computed from the finished image.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from platestore.arrays.chunkcodec import ChunkFormat, chunk_format
from platestore.arrays.chunkfiles import ChunkReader, ChunkWriter
from platestore.arrays.types import Pixels
from platestore.errors import DamagedChunkError, UnsupportedError
from platestore.pyramid.kernels import Method, reduce_block
from platestore.storage.base import Storage
from platestore.storage.hierarchy import ArrayDocument

Place = tuple[int, ...]


class PushedBlocks:
    """Takes the blocks of one image, and writes them and their levels; several threads may push at once.

    Parameters
    ----------
    storage : Storage
        Where the arrays are.
    documents : sequence of ArrayDocument
        Level 0 and its levels.
    factors : sequence of sequence of int
        Factors of each step, one per level.
    method : str
        How windows are reduced; not one whose windows overlap.

    Raises
    ------
    UnsupportedError
        If chunks of an array are encoded in a way that is not known.
    """

    def __init__(
        self,
        storage: Storage,
        documents: Sequence[ArrayDocument],
        factors: Sequence[Sequence[int]],
        method: Method,
    ) -> None:
        self._storage = storage
        self._paths = [document.path for document in documents]
        self._formats = [_known(storage, document) for document in documents]
        self._factors = [tuple(step) for step in factors]
        self._method = method
        self._steps = [tuple([1] * len(self._formats[0].shape))]
        for step in self._factors:
            self._steps.append(tuple(a * b for a, b in zip(self._steps[-1], step, strict=True)))
        #: Shape of a block, which may reach beyond the array.
        self.block = tuple(
            math.lcm(*(f.units[axis] * s[axis] for f, s in zip(self._formats, self._steps, strict=True)))
            for axis in range(len(self._steps[0]))
        )

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the pixels."""
        return self._formats[0].codec.dtype

    def push(self, place: Place, pixels: Pixels) -> None:
        """Write a block.

        Parameters
        ----------
        place : tuple of int
            Its place on the grid of blocks.
        pixels : numpy.ndarray
            Its pixels, cut to the array.
        """
        start = tuple(p * b for p, b in zip(place, self.block, strict=True))
        for level, (path, format) in enumerate(zip(self._paths, self._formats, strict=True)):
            if level:
                pixels = reduce_block(pixels, self._factors[level - 1], self._method)
            origin = tuple(s // step for s, step in zip(start, self._steps[level], strict=True))
            _write(self._storage, path, format, origin, pixels)

    def pull(self, place: Place, shape: Sequence[int]) -> Pixels:
        """Read a block of a shape back; what was never written is the fill value."""
        start = [p * b for p, b in zip(place, self.block, strict=True)]
        format = self._formats[0]
        out = np.full(tuple(shape), format.fill, format.codec.dtype)
        reader, chunk = ChunkReader(self._storage, self._paths[0], format), _scratch(format)
        for first, region, inner in _chunks(format, start, out.shape):
            try:
                there = reader.read(first, chunk)
            except DamagedChunkError:
                there = False  # a writer died in the middle of it
            if there:
                out[region] = chunk[inner]
        return out


def write_array(storage: Storage, document: ArrayDocument, pixels: Pixels) -> None:
    """Write a whole array at once."""
    _write(storage, document.path, _known(storage, document), (0,) * pixels.ndim, pixels)


def read_array_pixels(storage: Storage, document: ArrayDocument) -> Pixels:
    """Read a whole array at once."""
    format = _known(storage, document)
    return PushedBlocks(storage, [document], [], "stride").pull((0,) * len(format.shape), format.shape)


def _known(storage: Storage, document: ArrayDocument) -> ChunkFormat:
    found = chunk_format(document)
    if found is None:
        raise UnsupportedError(
            "chunks of this array are encoded in a way that cannot be written one by one",
            path=storage.where(document.path),
            hint="use one of platestore's compressors",
        )
    return found


def _scratch(format: ChunkFormat) -> Pixels:
    return np.full(format.codec.chunks, format.fill, format.codec.dtype)


def _chunks(
    format: ChunkFormat, start: Sequence[int], shape: Sequence[int]
) -> list[tuple[Place, tuple[slice, ...], tuple[slice, ...]]]:
    """The chunks of a box: the place of each, its part of the box, and that in the chunk."""
    chunks = format.codec.chunks
    first = [s // c for s, c in zip(start, chunks, strict=True)]
    counts = [-(-n // c) for n, c in zip(shape, chunks, strict=True)]
    out = []
    for steps in itertools.product(*map(range, counts)):
        stops = [min((i + 1) * c, n) for i, c, n in zip(steps, chunks, shape, strict=True)]
        region = tuple(slice(i * c, stop) for i, c, stop in zip(steps, chunks, stops, strict=True))
        inner = tuple(slice(0, r.stop - r.start) for r in region)
        out.append((tuple(f + i for f, i in zip(first, steps, strict=True)), region, inner))
    return out


def _write(storage: Storage, path: str, format: ChunkFormat, start: Sequence[int], pixels: Pixels) -> None:
    """Write a box that is made of whole files, or reaches the end of the array."""
    parts = _chunks(format, start, pixels.shape)
    # A file gets its name when it is whole: somebody may be reading.
    writer = ChunkWriter(storage, path, format, fresh=False)
    writer.restrict([place for place, _, _ in parts])
    for place, region, inner in parts:
        piece = pixels[region]
        if piece.shape != format.codec.chunks:
            padded = _scratch(format)
            padded[inner] = piece
            piece = padded
        writer.write(place, np.ascontiguousarray(piece))
