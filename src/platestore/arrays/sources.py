"""Pixels that are not in memory, read box by box: dask and zarr arrays, HDF5, parts of them."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from platestore.arrays.lazy import is_dask
from platestore.arrays.types import DType, Pixels
from platestore.errors import ArgumentError

if TYPE_CHECKING:
    import dask.array

Region: TypeAlias = tuple[slice, ...]

# What is read at once of an array that does not say how it is cut.
_TILE_BYTES = 4 * 2**20
# Tiles that are this flat along an axis make it the slowest one in memory.
_FLAT = 0.25
# Strips in which pixels change their order in memory, and the least length where that pays.
_STRIP = (512, 16)
_LONG = 64
_ALIASED = 2048
# Blocks that other processes compute come back together: to start them takes long.
_BATCH_BYTES = 32 * 2**20
# What a task of a graph takes.
_TASK_BYTES = 1024


@runtime_checkable
class Source(Protocol):
    """Pixels that are read box by box."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of pixels along each axis."""

    @property
    def dtype(self) -> DType:
        """Type of the pixels, in this machine's byte order."""

    @property
    def tiles(self) -> tuple[int, ...]:
        """Shape of what is read (decoded, computed) at once."""

    def load(self, region: Region, out: Pixels, workers: int) -> None:
        """Read a box.

        Parameters
        ----------
        region : tuple of slice
            The box: step-1 slices inside the shape.
        out : numpy.ndarray
            Of the box's shape and the pixels' type, with any strides.
        workers : int
            Number of threads that may be used.
        """

    def loading_nbytes(self, workers: int) -> int:
        """The most bytes that reading takes beside the box."""


def as_source(data: Any) -> Source:
    """Take an array as a source.

    Parameters
    ----------
    data : dask array, zarr array, numpy array, HDF5 dataset, Source, ...
        Whatever has a shape, a dtype and can be indexed by slices.

    Raises
    ------
    ArgumentError
        If it has not.
    """
    if isinstance(data, Source):
        return data
    if is_dask(data):
        source = DaskSource(data)
        whole = source.in_memory()
        return source if whole is None else ArraySource(whole)
    if isinstance(data, np.ma.MaskedArray):
        raise ArgumentError("a masked array would lose its mask", hint="pass array.filled(0), for instance")
    if not all(hasattr(data, name) for name in ("shape", "dtype", "__getitem__")):
        raise ArgumentError(
            f"{type(data).__name__} is no array",
            hint="pass a numpy, dask or zarr array, or another that has"
            " a shape and a dtype and can be indexed",
        )
    return ArraySource(data)


def memory_order(source: Source) -> tuple[int, ...]:
    """The axes of a source as they should lie in memory, the slowest first.

    A source may say so by an attribute ``order``. Otherwise the axes along which many tiles lie come first,
    so that each tile is written in long rows.
    """
    given = getattr(source, "order", None)
    if given is not None:
        return tuple(given)
    share = [t / max(1, n) for t, n in zip(source.tiles, source.shape, strict=True)]
    if all(a <= b for a, b in itertools.pairwise(share)) or min(share) > _FLAT:
        return tuple(range(len(share)))
    return tuple(sorted(range(len(share)), key=lambda i: (source.tiles[i] > 1, i)))


class ArraySource:
    """An array that is indexed.

    Parameters
    ----------
    array : array
        With a shape, a dtype and, where it has some, chunks.
    tiles : sequence of int, optional
        What is read at once; its chunks by default.
    """

    def __init__(self, array: Any, tiles: Sequence[int] | None = None) -> None:
        if hasattr(array, "chunk_layout"):  # TensorStore, whose domain may begin elsewhere
            import tensorstore

            array = array[tensorstore.d[:].translate_to[0]]
        self._array = array
        self.shape = tuple(int(n) for n in array.shape)
        self.dtype = native(array.dtype)
        self.tiles = _tiles(array, self.shape, self.dtype) if tiles is None else tuple(tiles)

    def load(self, region: Region, out: Pixels, workers: int) -> None:
        """Read a box, tile by tile."""

        def read(part: Region, target: Pixels) -> None:
            fill_box(target, np.asarray(self._array[part]))

        read_tiles(region, self.tiles, out, read, workers)

    def loading_nbytes(self, workers: int) -> int:
        """Each thread has a tile, and as much again is decoded."""
        return 0 if isinstance(self._array, np.ndarray) else workers * 2 * _nbytes(self.tiles, self.dtype)


@dataclass(frozen=True, slots=True)
class _DaskBlock:
    """A block of a dask array: its key and shape, what is taken of it, and where in a box it goes."""

    key: Any
    shape: tuple[int, ...]
    taken: Region
    put: Region


class DaskSource:
    """A dask array, computed box by box.

    The scheduler that is set (or a distributed client) is used; otherwise threads, as many as may be. The
    graph is taken as it is, once: to slice the array for every box would walk all of it each time.

    Parameters
    ----------
    array : dask.array.Array
        The array.
    """

    def __init__(self, array: dask.array.Array) -> None:
        if any(math.isnan(n) for n in array.shape):
            raise ArgumentError(
                "a dask array of unknown shape cannot be written", hint="call its compute_chunk_sizes()"
            )
        # `array[...] = x` changes a dask array in place.
        self._array: dask.array.Array = array.copy()  # type: ignore[no-untyped-call]
        self._graph: Mapping[Any, Any] | None = None
        self._borders = [list(itertools.accumulate(sizes, initial=0)) for sizes in array.chunks]
        self.shape = tuple(int(n) for n in array.shape)
        self.dtype = native(array.dtype)
        self.tiles = tuple(max(1, *sizes) if sizes else 1 for sizes in array.chunks)
        self._block_nbytes: int = math.prod(self.tiles) * self.dtype.itemsize
        blocks, layers = math.prod(array.numblocks), array.dask.layers.values()
        self._largest: int = max([self._block_nbytes, *map(_largest_nbytes, layers)])
        self._tasks: int = sum(len(layer) if layer.is_materialized() else blocks for layer in layers)

    def in_memory(self) -> Pixels | None:
        """The NumPy array that all blocks are parts of, each in its place, as ``from_array`` makes them.

        Blocks that lie across its rows, such as a plane each of a stack, take many times longer one by one.
        """
        graph = self._array.dask
        blocks = self._blocks(tuple(slice(0, n) for n in self.shape)) if len(graph.layers) == 1 else []
        # Newer graphs wrap the pixels that they hold.
        parts = [getattr(found, "value", found) for found in (graph.get(block.key) for block in blocks)]
        base = getattr(parts[0], "base", None) if parts else None
        if not isinstance(base, np.ndarray) or base.shape != self.shape:
            return None
        pairs = ((part, base[block.put]) for part, block in zip(parts, blocks, strict=True))
        return (
            base
            if all(isinstance(part, np.ndarray) and _is_same(part, there) for part, there in pairs)
            else None
        )

    def load(self, region: Region, out: Pixels, workers: int) -> None:
        """Compute a box; each block goes to its place as soon as it is there."""
        import dask.local
        import dask.threaded
        from dask.base import get_scheduler

        if self._graph is None:
            array = self._array
            self._graph = dict(array.__dask_optimize__(array.__dask_graph__(), array.__dask_keys__()))
        wanted = self._blocks(region)
        graph = _culled(self._graph, [block.key for block in wanted])
        get = get_scheduler()  # type: ignore[no-untyped-call]
        if runs_here():
            puts = {
                f"platestore-put-{i}": (partial(_put, out, block), block.key)
                for i, block in enumerate(wanted)
            }
            run = get or (dask.threaded.get if workers > 1 else dask.local.get_sync)
            options = {} if get else {"num_workers": workers}
            run({**graph, **puts}, list(puts), **options)
            return
        count = max(workers, _BATCH_BYTES // self._block_nbytes)
        for i in range(0, len(wanted), count):  # other processes have no access to `out`
            some = wanted[i : i + count]
            keys = [block.key for block in some]
            for block, pixels in zip(some, get(_culled(graph, keys), keys), strict=True):
                _put(out, block, pixels)

    def _blocks(self, region: Region) -> list[_DaskBlock]:
        """The blocks that a box touches."""
        rows = []
        for part, borders in zip(region, self._borders, strict=True):
            found = []
            for i in range(max(0, bisect.bisect_right(borders, part.start) - 1), len(borders) - 1):
                if borders[i] >= part.stop:
                    break
                start, stop = max(part.start, borders[i]), min(part.stop, borders[i + 1])
                if stop > start:
                    taken = slice(start - borders[i], stop - borders[i])
                    put = slice(start - part.start, stop - part.start)
                    found.append((i, borders[i + 1] - borders[i], taken, put))
            rows.append(found)
        return [
            _DaskBlock(
                key=(self._array.name, *(number for number, *_ in choice)),
                shape=tuple(length for _, length, _, _ in choice),
                taken=tuple(taken for _, _, taken, _ in choice),
                put=tuple(put for *_, put in choice),
            )
            for choice in itertools.product(*rows)
        ]

    def loading_nbytes(self, workers: int) -> int:
        """Blocks, two of the largest that they are computed from, and the graph."""
        batch = 0 if runs_here() else max(_BATCH_BYTES, workers * self._block_nbytes)
        each = self._block_nbytes + 2 * self._largest
        return workers * each + batch + self._tasks * _TASK_BYTES


def _is_same(a: Pixels, b: Pixels) -> bool:
    """Whether two arrays are the same bytes in the same order."""
    first, second = ((x.__array_interface__["data"], x.strides, x.shape, x.dtype) for x in (a, b))
    return first == second


def _largest_nbytes(layer: Any) -> int:
    """Bytes of the largest block of a layer, where it says so."""
    facts = getattr(layer, "collection_annotations", None) or {}
    try:
        return int(math.prod(facts["chunksize"]) * np.dtype(facts["dtype"]).itemsize)
    except (KeyError, TypeError, ValueError):
        return 0


def runs_here() -> bool:
    """Whether the dask scheduler that is set computes blocks in this process."""
    import dask.local
    import dask.threaded
    from dask.base import get_scheduler

    return get_scheduler() in (None, dask.threaded.get, dask.local.get_sync)  # type: ignore[no-untyped-call]


def _culled(graph: Mapping[Any, Any], keys: list[Any]) -> dict[Any, Any]:
    """What some blocks are computed from."""
    from dask.optimization import cull

    return dict(cull(graph, keys)[0])  # type: ignore[no-untyped-call]


def _put(out: Pixels, block: _DaskBlock, found: Any) -> None:
    pixels = np.asarray(found)
    if pixels.shape != block.shape or not np.can_cast(pixels.dtype, out.dtype, "same_kind"):
        raise ArgumentError(
            f"the block {block.key} of a dask array has shape {pixels.shape} and type {pixels.dtype}; the "
            f"array says {block.shape} and {out.dtype}",
            hint="correct the function that computes it, or its dtype= and chunks=",
        )
    fill_box(out[block.put], pixels[block.taken])


class Rearranged:
    """A source with its axes in another order, or with further axes of length 1.

    Parameters
    ----------
    source : Source
        The source.
    axes : sequence of int or None
        For each axis the axis of the source, each of which occurs once; None for a further one.
    """

    def __init__(self, source: Source, axes: Sequence[int | None]) -> None:
        if sorted(a for a in axes if a is not None) != list(range(len(source.shape))):
            raise ArgumentError(f"axes {tuple(axes)} are no order of {len(source.shape)} axes")
        self._source = source
        self._axes = tuple(axes)
        inner = memory_order(source)
        #: The axes as they should lie in memory, the slowest first.
        self.order = tuple(
            sorted(range(len(axes)), key=lambda i: -1 if axes[i] is None else inner.index(axes[i]))
        )
        self.shape = tuple(1 if a is None else source.shape[a] for a in axes)
        self.dtype = source.dtype
        self.tiles = tuple(1 if a is None else source.tiles[a] for a in axes)

    def load(self, region: Region, out: Pixels, workers: int) -> None:
        """Read a box."""
        kept = [(a, part) for a, part in zip(self._axes, region, strict=True) if a is not None]
        view = out[tuple(0 if a is None else slice(None) for a in self._axes)]
        view = view.transpose(np.argsort([a for a, _ in kept]))
        self._source.load(tuple(part for _, part in sorted(kept)), view, workers)

    def loading_nbytes(self, workers: int) -> int:
        """As of the source."""
        return self._source.loading_nbytes(workers)


class Placed:
    """A source as a part of a larger array.

    Parameters
    ----------
    source : Source
        The source.
    start : sequence of int
        Where it begins in the larger array.
    shape : sequence of int
        Shape of the larger array.
    """

    def __init__(self, source: Source, start: Sequence[int], shape: Sequence[int]) -> None:
        rows = zip(start, source.shape, shape, strict=True)
        if any(s < 0 or s + n > m for s, n, m in rows):
            raise ArgumentError(f"{source.shape} at {tuple(start)} does not lie inside {tuple(shape)}")
        self._source = source
        self._start = tuple(start)
        self.order = memory_order(source)
        self.shape = tuple(shape)
        self.dtype = source.dtype
        self.tiles = source.tiles

    def load(self, region: Region, out: Pixels, workers: int) -> None:
        """Read a box inside the part."""
        part = tuple(slice(r.start - s, r.stop - s) for r, s in zip(region, self._start, strict=True))
        if any(p.start < 0 or p.stop > n for p, n in zip(part, self._source.shape, strict=True)):
            raise ArgumentError(f"{region} reaches beyond the part of the array that there are pixels of")
        self._source.load(part, out, workers)

    def loading_nbytes(self, workers: int) -> int:
        """As of the source."""
        return self._source.loading_nbytes(workers)


def fill_box(out: Pixels, pixels: Pixels) -> None:
    """Copy pixels; where the two lie in memory in other orders, in strips that fit a processor's cache."""
    fast, slow = _fastest(out), _fastest(pixels)
    # Rows at such distances compete for the same lines of the cache.
    if fast == slow or pixels.strides[fast] % _ALIASED or min(out.shape[fast], out.shape[slow]) < _LONG:
        out[...] = pixels
        return
    for i in range(0, out.shape[slow], _STRIP[0]):
        for j in range(0, out.shape[fast], _STRIP[1]):
            index: list[slice] = [slice(None)] * out.ndim
            index[slow], index[fast] = slice(i, i + _STRIP[0]), slice(j, j + _STRIP[1])
            out[tuple(index)] = pixels[tuple(index)]


def _fastest(pixels: Pixels) -> int:
    """The axis along which pixels are nearest to each other in memory."""
    lengths = [
        (abs(s) if n > 1 else math.inf, -i)
        for i, (s, n) in enumerate(zip(pixels.strides, pixels.shape, strict=True))
    ]
    return -min(lengths, default=(0, 0))[1]


def read_tiles(
    region: Region,
    tiles: Sequence[int],
    out: Pixels,
    read: Callable[[Region, Pixels], None],
    workers: int,
) -> None:
    """Fill a box tile by tile, with several threads.

    Parameters
    ----------
    region : tuple of slice
        The box.
    tiles : sequence of int
        Shape of a tile; tiles begin at multiples of it.
    out : numpy.ndarray
        Where the box goes.
    read : callable
        Called with the part of a tile that lies in the box, and where it goes.
    workers : int
        Number of threads.
    """
    cuts = [
        [
            slice(max(r.start, k * n), min(r.stop, (k + 1) * n))
            for k in range(r.start // n, -(-r.stop // n) if r.stop > r.start else r.start // n)
        ]
        for r, n in zip(region, tiles, strict=True)
    ]

    def one(part: Region) -> None:
        inner = tuple(slice(p.start - r.start, p.stop - r.start) for p, r in zip(part, region, strict=True))
        index: tuple[Any, ...] = (..., *inner)  # of an array without axes, too, a part is an array
        read(part, out[index])

    parts = itertools.product(*cuts)
    if workers == 1 or math.prod(map(len, cuts)) < 2:
        for part in parts:
            one(part)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="platestore") as pool:
        pending = [pool.submit(one, part) for part in parts]
        try:
            for future in pending:
                future.result()
        except BaseException:
            for future in pending:
                future.cancel()
            raise


def _tiles(array: Any, shape: tuple[int, ...], dtype: DType) -> tuple[int, ...]:
    """Chunks of an array; of one that has none, some rows or planes."""
    chunks = getattr(array, "chunks", None)
    if hasattr(array, "chunk_layout"):
        chunks = array.chunk_layout.read_chunk.shape
    if isinstance(chunks, Sequence) and len(chunks) == len(shape) and all(isinstance(n, int) for n in chunks):
        return tuple(max(1, min(c, n)) for c, n in zip(chunks, shape, strict=True))
    tile = [1] * len(shape)
    for axis in reversed(range(len(shape))):
        fitting = _TILE_BYTES // max(1, _nbytes(tile, dtype))
        tile[axis] = max(1, min(shape[axis], fitting))
        if tile[axis] < shape[axis]:
            break
    return tuple(tile)


def native(dtype: Any) -> DType:
    """A type in this machine's byte order."""
    native: DType = np.dtype(getattr(dtype, "numpy_dtype", dtype)).newbyteorder("=")
    return native


def _nbytes(shape: Sequence[int], dtype: DType) -> int:
    return math.prod(shape) * dtype.itemsize
