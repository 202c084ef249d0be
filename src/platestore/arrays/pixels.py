"""Reading and writing of pixels: every indexing method of ``zarr.Array``, on the engine that serves it.

All of zarr's indexing ends in a few ``get_*_selection`` and ``set_*_selection`` methods. Here they
normalise the selection, and go to TensorStore or, with the same arguments, on to zarr-python.
"""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import zarr

from platestore.arrays import indexing, lazy
from platestore.arrays.engine import Engine, Kind, refuse_in_child
from platestore.arrays.layout import ArrayLayout, is_aligned, write_units
from platestore.errors import ArgumentError, MissingChunkError, RewriteWarning
from platestore.storage.base import Storage, join

if TYPE_CHECKING:
    import dask.array
    from dask.delayed import Delayed

    _ZarrArray: TypeAlias = zarr.Array[Any]
else:
    _ZarrArray = zarr.Array

#: Rewriting a part of a chunk or shard smaller than this is nothing to warn of.
REWRITE_WARNING_BYTES = 2**20
# Bulk writes are handed to the engine in batches of about this size, so that it does not copy it all.
_BATCH_BYTES = 256 * 2**20


class PixelArray(_ZarrArray):
    """A ``zarr.Array`` whose pixels go through the engine.

    Subclasses provide ``_storage`` and ``_engine``.
    """

    _storage: Storage
    _engine: Engine

    def _require_writable(self) -> None:
        """Refuse to write pixels of a store opened for reading, or through a link out of the store."""
        self._storage.require_writable(self.path)
        self._storage.check_links(self.path, writing=True)

    @property
    def _units(self) -> tuple[int, ...]:
        """Shape of what one file holds: a shard, or a chunk where there are no shards."""
        return self.shards or self.chunks

    # --- reading ----------------------------------------------------------------------------------

    def get_basic_selection(self, selection: Any = Ellipsis, **kwargs: Any) -> Any:
        """Read by integers and slices, as ``zarr.Array`` does."""
        index = None if _is_special(kwargs) else indexing.basic(selection, self.shape)
        return self._get("basic", index, lambda: _Zarr.get_basic_selection(self, selection, **kwargs))

    def get_orthogonal_selection(self, selection: Any, **kwargs: Any) -> Any:
        """Read by one index per axis, as ``zarr.Array`` does."""
        index = None if _is_special(kwargs) else indexing.orthogonal(selection, self.shape)
        return self._get(
            "orthogonal", index, lambda: _Zarr.get_orthogonal_selection(self, selection, **kwargs)
        )

    def get_coordinate_selection(self, selection: Any, **kwargs: Any) -> Any:
        """Read single points, as ``zarr.Array`` does."""
        index = None if _is_special(kwargs) else indexing.coordinates(selection, self.shape)
        return self._get(
            "coordinate", index, lambda: _Zarr.get_coordinate_selection(self, selection, **kwargs)
        )

    def get_mask_selection(self, mask: Any, **kwargs: Any) -> Any:
        """Read where a mask is true, as ``zarr.Array`` does."""
        index = None if _is_special(kwargs) else _points(mask, self.shape)
        return self._get("coordinate", index, lambda: _Zarr.get_mask_selection(self, mask, **kwargs))

    def get_block_selection(self, selection: Any, **kwargs: Any) -> Any:
        """Read whole chunks (shards, where there are shards), as ``zarr.Array`` does."""
        index = None if _is_special(kwargs) else indexing.blocks(selection, self.shape, self._units)
        return self._get("basic", index, lambda: _Zarr.get_block_selection(self, selection, **kwargs))

    def _get(self, kind: Kind, index: tuple[Any, ...] | None, by_zarr: Callable[[], Any]) -> Any:
        if index is None:
            return self._by_zarr(by_zarr)
        handle = self._engine.handle(writable=False)
        if handle is not None:
            return self._engine.read(handle, kind, index)
        if self._storage.options.missing == "raise":
            self._require_present(kind, index)
        return self._by_zarr(by_zarr)

    def _by_zarr(self, call: Callable[[], Any]) -> Any:
        with self._engine.translated():
            return call()

    def _require_present(self, kind: Kind, index: tuple[Any, ...]) -> None:
        """Raise if a file that a selection touches is not there (zarr-python would not say so)."""
        for key in self._keys_of(kind, index):
            if not self._storage.exists(key):
                raise MissingChunkError("the chunk is missing", path=self._storage.where(key))

    # --- writing ----------------------------------------------------------------------------------

    def set_basic_selection(self, selection: Any, value: Any, **kwargs: Any) -> None:
        """Write by integers and slices, as ``zarr.Array`` does; values are broadcast."""
        index = None if _is_special(kwargs) else indexing.basic(selection, self.shape)
        self._set("basic", index, value, lambda v: _Zarr.set_basic_selection(self, selection, v, **kwargs))

    def set_orthogonal_selection(self, selection: Any, value: Any, **kwargs: Any) -> None:
        """Write by one index per axis, as ``zarr.Array`` does; values are broadcast."""
        index = None if _is_special(kwargs) else indexing.orthogonal(selection, self.shape)
        self._set(
            "orthogonal", index, value, lambda v: _Zarr.set_orthogonal_selection(self, selection, v, **kwargs)
        )

    def set_coordinate_selection(self, selection: Any, value: Any, **kwargs: Any) -> None:
        """Write single points, as ``zarr.Array`` does; values are broadcast."""
        index = None if _is_special(kwargs) else indexing.coordinates(selection, self.shape)
        self._set(
            "coordinate", index, value, lambda v: _Zarr.set_coordinate_selection(self, selection, v, **kwargs)
        )

    def set_mask_selection(self, mask: Any, value: Any, **kwargs: Any) -> None:
        """Write where a mask is true, as ``zarr.Array`` does; values are broadcast."""
        index = None if _is_special(kwargs) else _points(mask, self.shape)
        self._set("coordinate", index, value, lambda v: _Zarr.set_mask_selection(self, mask, v, **kwargs))

    def set_block_selection(self, selection: Any, value: Any, **kwargs: Any) -> None:
        """Write whole chunks (shards, where there are shards), as ``zarr.Array`` does."""
        index = None if _is_special(kwargs) else indexing.blocks(selection, self.shape, self._units)
        self._set("basic", index, value, lambda v: _Zarr.set_block_selection(self, selection, v, **kwargs))

    def _set(
        self, kind: Kind, index: tuple[Any, ...] | None, value: Any, by_zarr: Callable[[Any], None]
    ) -> None:
        self._require_writable()
        if index is None:
            with self._rewriting(), self._engine.translated():
                by_zarr(value)
            return
        shape = indexing.result_shape(index) if kind != "coordinate" else index[0].shape
        if lazy.is_lazy(value):
            self._set_lazily(kind, index, value)
            return
        data = indexing.fit(value, shape, self.dtype)
        if not data.size:
            return
        region = lazy.full_region(index) if _is_region(kind, index) else None
        whole = region is not None and is_aligned(self.shape, self._units, region)
        if not whole:
            self._warn_of_rewriting(region)
        handle = self._engine.handle(writable=True)
        if handle is None:
            with contextlib.nullcontext() if whole else self._rewriting(), self._engine.translated():
                by_zarr(data)
        elif region is not None and data.nbytes > _BATCH_BYTES:
            for part in lazy.batches(region, self._units, self.dtype.itemsize, _BATCH_BYTES):
                self._engine.write(handle, "basic", part, lazy.part_of(data, index, region, part))
        else:
            self._engine.write(handle, kind, index, data)
        if handle is not None and self._storage.options.durability == "full":
            self._engine.flush_directories(self._keys_of(kind, index))

    def _keys_of(self, kind: Kind, index: tuple[Any, ...]) -> Iterator[str]:
        """Keys of the files that a selection touches."""
        for place in _touched(kind, index, self._units):
            yield join(self.path, self.metadata.encode_chunk_key(place))

    def _rewriting(self) -> contextlib.AbstractContextManager[None]:
        """Exclude others who rewrite files of this array through zarr-python, which itself does not."""
        refuse_in_child("a write of a part of a chunk or shard", self._storage.where(self.path))
        return self._storage.lock(self.path)

    def _set_lazily(self, kind: Kind, index: tuple[Any, ...], value: Any) -> None:
        if not _is_region(kind, index):
            self._set(kind, index, np.asarray(value), lambda v: self._set_points(kind, index, v))
        elif lazy.is_dask(value):
            lazy.store_dask(self, value, index)
        elif value.shape != indexing.result_shape(index):
            self[index] = np.asarray(value[...])
        else:
            lazy.write_in_parts(self, index, value, _BATCH_BYTES)

    def _set_points(self, kind: Kind, index: tuple[Any, ...], data: npt.NDArray[Any]) -> None:
        if kind == "coordinate":
            _Zarr.set_coordinate_selection(self, index, data)
        else:
            _Zarr.set_orthogonal_selection(self, index, data)

    def _warn_of_rewriting(self, region: lazy.Region | None) -> None:
        """Say once per layout and store that writes of this shape are expensive, and what is not."""
        layout = ArrayLayout(self.shape, self.dtype, self.chunks, self.shards)
        seen = self._storage.warned_layouts
        if layout.unit_nbytes < REWRITE_WARNING_BYTES or (layout.chunks, layout.shards) in seen:
            return
        from platestore.arrays.planning import frame_layout_hint

        seen.add((layout.chunks, layout.shards))
        what = "shard" if self.shards else "chunk"
        warnings.warn(
            f"{self._storage.where(self.path)}: this write changes a part of a {what} of "
            f"{layout.unit_nbytes / 2**20:.3g} MiB, which is read and rewritten as a whole each time; "
            + frame_layout_hint(layout, region),
            RewriteWarning,
            stacklevel=5,
        )

    # --- units ------------------------------------------------------------------------------------

    def write_units(self) -> Iterator[tuple[slice, ...]]:
        """Regions that tasks can write without touching each other's files.

        Each is what one file of the array holds: a shard, or a chunk where there are no shards, cut to
        the array's shape. Threads, processes and machines may write different ones at once.

        Yields
        ------
        tuple of slice
            One per axis, in C order over the array.

        Examples
        --------
        >>> for region in image.write_units():  # doctest: +SKIP
        ...     image[region] = process(source[region])
        """
        return iter(write_units(self.shape, self._units))

    def write_dask(
        self, data: dask.array.Array, region: Any = Ellipsis, *, compute: bool = True
    ) -> Delayed | None:
        """Write a dask array by whole chunks or shards, whatever its blocks are.

        ``image[region] = data`` does the same. The blocks are joined to whole units of this array, and
        each unit is written by one task, on any scheduler (threads, processes, distributed).

        Parameters
        ----------
        data : dask.array.Array
            Of the region's shape, or broadcastable to it; it is cast to this array's type.
        region : index
            Integers and slices; the whole array by default.
        compute : bool
            Whether to compute now; otherwise a ``Delayed`` is returned, whose computation writes.

        Returns
        -------
        dask.delayed.Delayed or None
            None if it was computed.

        Raises
        ------
        ArgumentError
            If the region is not made of integers and slices of step 1, or the shapes do not fit.
        """
        self._require_writable()
        index = indexing.basic(region, self.shape)
        if index is None or not _is_region("basic", index):
            raise ArgumentError(f"a region must be integers and slices of step 1, not {region!r}")
        written: Delayed | None = lazy.store_dask(self, data, index, compute=compute)
        return written


_Zarr = zarr.Array


def _is_special(options: dict[str, Any]) -> bool:
    """Whether a caller asks for something that only zarr-python has (``out``, ``fields``, ...)."""
    return any(value is not None and value != [] for value in options.values())


def _is_region(kind: Kind, index: tuple[Any, ...]) -> bool:
    """Whether a selection is a box: integers and slices of step 1."""
    return kind != "coordinate" and all(
        i.step == 1 if isinstance(i, slice) else not isinstance(i, np.ndarray) for i in index
    )


def _points(mask: Any, shape: tuple[int, ...]) -> tuple[npt.NDArray[Any], ...] | None:
    if isinstance(mask, tuple) and len(mask) == 1:
        mask = mask[0]
    array = np.asarray(mask)
    if array.dtype != bool or array.shape != shape:
        return None
    return tuple(np.nonzero(array))


def _touched(kind: Kind, index: tuple[Any, ...], units: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Places on the grid of the files that a selection touches."""
    if kind == "coordinate":
        yield from {
            tuple(map(int, p)) for p in zip(*(i // u for i, u in zip(index, units, strict=True)), strict=True)
        }
        return
    places = []
    for item, unit in zip(index, units, strict=True):
        if isinstance(item, slice):
            places.append(sorted({i // unit for i in range(item.start, item.stop, item.step)}))
        elif isinstance(item, np.ndarray):
            places.append(sorted({int(i) // unit for i in item}))
        else:
            places.append([item // unit])
    yield from itertools.product(*places)
