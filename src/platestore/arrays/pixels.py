"""Reading and writing of pixels: every indexing method of ``zarr.Array``, on the engine that serves it.

All of zarr's indexing ends in a few ``get_*_selection`` and ``set_*_selection`` methods. Here they
normalise the selection, and go to TensorStore or, with the same arguments, on to zarr-python.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import zarr

from platestore.arrays import indexing, lazy
from platestore.arrays.chunkcodec import chunk_format
from platestore.arrays.chunkfiles import ChunkReader
from platestore.arrays.engine import Engine, refuse_in_child
from platestore.arrays.grid import warn_misnamed
from platestore.arrays.indexing import ArraySelection, Region
from platestore.arrays.layout import ArrayLayout, is_aligned, write_units
from platestore.arrays.types import Pixels
from platestore.errors import (
    ArgumentError,
    DamagedChunkError,
    MissingChunkError,
    PlatestoreError,
    RewriteWarning,
)
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
_MOST_DAMAGED = 10_000
_INSIDE = ("platestore", "zarr")


class PixelArray(_ZarrArray):
    """A ``zarr.Array`` whose pixels go through the engine.

    Subclasses provide ``_storage`` and ``_engine``.
    """

    _storage: Storage
    _engine: Engine
    # Whether something was read, and so it is known whether the chunks have the names that they should.
    _looked = False

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
        if index is None:
            return super().get_basic_selection(selection, **kwargs)
        found = self._get(ArraySelection("basic", index))
        return found if found.ndim else found[()]  # a number, where the other methods give an array

    def get_orthogonal_selection(self, selection: Any, **kwargs: Any) -> Any:
        """Read by one index per axis, as ``zarr.Array`` does."""
        index = None if _is_special(kwargs) else indexing.orthogonal(selection, self.shape)
        if index is None:
            return super().get_orthogonal_selection(selection, **kwargs)
        return self._get(_orthogonal(index))

    def get_coordinate_selection(self, selection: Any, **kwargs: Any) -> Any:
        """Read single points, as ``zarr.Array`` does."""
        index = None if _is_special(kwargs) else indexing.coordinates(selection, self.shape)
        if index is None:
            return super().get_coordinate_selection(selection, **kwargs)
        return self._get(ArraySelection("coordinate", index))

    def get_mask_selection(self, mask: Any, **kwargs: Any) -> Any:
        """Read where a mask is true, as ``zarr.Array`` does."""
        index = None if _is_special(kwargs) else indexing.points(mask, self.shape)
        if index is None:
            return super().get_mask_selection(mask, **kwargs)
        return self._get(ArraySelection("coordinate", index))

    def get_block_selection(self, selection: Any, **kwargs: Any) -> Any:
        """Read whole chunks (shards, where there are shards), as ``zarr.Array`` does."""
        index = None if _is_special(kwargs) else indexing.blocks(selection, self.shape, self._units)
        if index is None:
            return super().get_block_selection(selection, **kwargs)
        return self._get(ArraySelection("basic", index))

    def _get(self, selection: ArraySelection) -> Any:
        if not selection.size:
            return np.empty(selection.shape, self.dtype)
        handle = self._engine.handle(writable=False)
        if handle is not None:
            found = self._engine.read(handle, selection)
        else:
            if self._storage.options.missing == "raise":
                self._require_present(selection)
            with self._blaming(selection):
                found = np.asarray(self._read_by_zarr(selection), self.dtype)
        if not self._looked:
            self._look(found)
        return found

    def _look(self, found: Pixels) -> None:
        """Once: where nothing but the fill value was read, see whether the chunks have other names."""
        object.__setattr__(self, "_looked", True)
        if self._storage.options.missing == "raise" or not _is_filled(found, self.fill_value):
            return
        warn_misnamed(self._storage, self._engine.document, level=_level_of_caller())

    def _read_by_zarr(self, selection: ArraySelection) -> Any:
        if selection.kind == "basic":
            return super().get_basic_selection(selection.index)
        if selection.kind == "orthogonal":
            return super().get_orthogonal_selection(selection.index)
        return super().get_coordinate_selection(selection.index)

    def _unit_region(self, place: tuple[int, ...]) -> Region:
        """What one file holds of the array."""
        rows = zip(place, self._units, self.shape, strict=True)
        return tuple(slice(p * u, min((p + 1) * u, n), 1) for p, u, n in rows)

    def _keys_of(self, selection: ArraySelection) -> Iterator[str]:
        """Keys of the files that a selection touches."""
        for place in selection.touched(self._units):
            yield join(self.path, self.metadata.encode_chunk_key(place))

    @contextlib.contextmanager
    def _blaming(self, selection: ArraySelection) -> Iterator[None]:
        """Name the chunk that zarr-python could not decode; its errors do not."""
        try:
            yield
        except PlatestoreError:
            raise
        except Exception as error:
            for place, key in zip(selection.touched(self._units), self._keys_of(selection), strict=True):
                try:
                    super().get_basic_selection(self._unit_region(place))
                except OSError:
                    continue
                except Exception as reason:  # noqa: BLE001 - codecs raise what they like
                    raise DamagedChunkError(
                        f"the chunk cannot be decoded: {reason}", path=self._storage.where(key)
                    ) from error
            raise

    def _require_present(self, selection: ArraySelection) -> None:
        """Raise if a chunk that a selection touches is not there (zarr-python would not say so)."""
        known = chunk_format(self._engine.document)
        if known is None:
            for key in self._keys_of(selection):
                if not self._storage.exists(key):
                    raise MissingChunkError("the chunk is missing", path=self._storage.where(key))
            return
        reader = ChunkReader(self._storage, self.path, known)
        for place in selection.touched(self.chunks):
            if not reader.is_present(place):
                key = join(self.path, known.key(known.unit_of(place)))
                raise MissingChunkError(f"chunk {place} is missing", path=self._storage.where(key))

    # --- writing ----------------------------------------------------------------------------------

    def set_basic_selection(self, selection: Any, value: Any, **kwargs: Any) -> None:
        """Write by integers and slices, as ``zarr.Array`` does; values are broadcast."""
        index = None if _is_special(kwargs) else indexing.basic(selection, self.shape)
        if index is None:
            with self._rewriting():
                super().set_basic_selection(selection, value, **kwargs)
        else:
            self._set(ArraySelection("basic", index), value)

    def set_orthogonal_selection(self, selection: Any, value: Any, **kwargs: Any) -> None:
        """Write by one index per axis, as ``zarr.Array`` does; values are broadcast."""
        index = None if _is_special(kwargs) else indexing.orthogonal(selection, self.shape)
        if index is None:
            with self._rewriting():
                super().set_orthogonal_selection(selection, value, **kwargs)
        else:
            self._set(_orthogonal(index), value)

    def set_coordinate_selection(self, selection: Any, value: Any, **kwargs: Any) -> None:
        """Write single points, as ``zarr.Array`` does; values are broadcast."""
        index = None if _is_special(kwargs) else indexing.coordinates(selection, self.shape)
        if index is None:
            with self._rewriting():
                super().set_coordinate_selection(selection, value, **kwargs)
        else:
            self._set(ArraySelection("coordinate", index), value)

    def set_mask_selection(self, mask: Any, value: Any, **kwargs: Any) -> None:
        """Write where a mask is true, as ``zarr.Array`` does; values are broadcast."""
        index = None if _is_special(kwargs) else indexing.points(mask, self.shape)
        if index is None:
            with self._rewriting():
                super().set_mask_selection(mask, value, **kwargs)
        else:
            self._set(ArraySelection("coordinate", index), value)

    def set_block_selection(self, selection: Any, value: Any, **kwargs: Any) -> None:
        """Write whole chunks (shards, where there are shards), as ``zarr.Array`` does."""
        index = None if _is_special(kwargs) else indexing.blocks(selection, self.shape, self._units)
        if index is None:
            with self._rewriting():
                super().set_block_selection(selection, value, **kwargs)
        else:
            self._set(ArraySelection("basic", index), value)

    def _set(self, selection: ArraySelection, value: Any) -> None:
        self._require_writable()
        region = selection.region
        if lazy.is_lazy(value):
            if region is not None and lazy.write_lazily(self, selection.index, value, _BATCH_BYTES):
                return
            value = np.asarray(value[...])
        data = indexing.fit(value, selection.shape, self.dtype)
        if not data.size:
            return
        if region is None or not is_aligned(self.shape, self._units, region):
            self._warn_of_rewriting(region)
            self._write(selection, data)
            return
        for _ in range(_MOST_DAMAGED):
            try:
                self._write(selection, data, whole=True)
                return
            except DamagedChunkError as error:
                # Engines read a shard even if all of it is written. What is damaged is replaced whole.
                keys = [k for k in self._keys_of(selection) if self._storage.where(k) == error.path]
                if not keys:
                    raise
                self._storage.remove(keys[0])

    def _write(self, selection: ArraySelection, data: Pixels, *, whole: bool = False) -> None:
        handle, region = self._engine.handle(writable=True), selection.region
        if handle is None:
            with contextlib.nullcontext() if whole else self._rewriting(), self._blaming(selection):
                self._write_by_zarr(selection, data)
            return
        if region is not None and data.nbytes > _BATCH_BYTES:
            for part in lazy.batches(region, self._units, self.dtype.itemsize, _BATCH_BYTES):
                piece = lazy.part_of(data, selection.index, region, part)
                self._engine.write(handle, ArraySelection("basic", part), piece)
        else:
            self._engine.write(handle, selection, data)
        if self._storage.options.durability == "full":
            self._engine.flush_directories(self._keys_of(selection))

    def _write_by_zarr(self, selection: ArraySelection, data: Pixels) -> None:
        """Write boxes as they are, and anything else file by file: zarr-python gets that wrong in shards."""
        if selection.region is not None:
            super().set_basic_selection(selection.index, data)
            return
        values = data.reshape(selection.full_shape)
        for place in selection.touched(self._units):
            region = self._unit_region(place)
            target, source = selection.within(region)
            block = np.array(super().get_basic_selection(region))
            block[target] = values[source]
            super().set_basic_selection(region, block)

    def _rewriting(self) -> contextlib.AbstractContextManager[None]:
        """Exclude others who rewrite files of this array through zarr-python, which itself does not."""
        self._require_writable()
        refuse_in_child("a write of a part of a chunk or shard", self._storage.where(self.path))
        return self._storage.lock(self.path)

    def _warn_of_rewriting(self, region: Region | None) -> None:
        """Say once per layout and store that writes of this shape are expensive, and what is not."""
        layout = ArrayLayout(self.shape, self.dtype, self.chunks, self.shards)
        seen = self._storage.warned
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
            stacklevel=_level_of_caller(),
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
        >>> for region in image.write_units():
        ...     image[region] = image[region] + 1
        >>> [region[1] for region in image.write_units()]  # a stack of one channel each
        [slice(0, 1, None), slice(1, 2, None)]
        """
        return iter(write_units(self.shape, self._units))

    def write_dask(
        self, data: dask.array.Array, region: Any = Ellipsis, *, compute: bool = True
    ) -> Delayed | None:
        """Write a dask array by whole chunks or shards, whatever its blocks are.

        ``image[region] = data`` does the same, but casts to the image's type whatever is lost. The blocks are
        joined to whole units of this array, and each unit is written by one task, on any scheduler (threads,
        processes, distributed).

        Parameters
        ----------
        data : dask.array.Array
            Of the region's shape, or broadcastable to it, with values that this array's type holds exactly:
            ``data.astype(...)`` casts others on purpose.
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
            If the region is not made of integers and slices of step 1, the shapes do not fit, or the type is
            not one for such values (floats in an image of integers); and, from the task that meets it, if it
            cannot hold a value.

        Examples
        --------
        >>> half = image.dask_array() // 2
        >>> image.write_dask(half.astype(image.dtype))
        >>> image[0, :, 0, 0, 0]
        array([ 50, 100], dtype=uint16)
        """
        self._require_writable()
        index = indexing.basic(region, self.shape)
        if index is None or ArraySelection("basic", index).region is None:
            raise ArgumentError(f"a region must be integers and slices of step 1, not {region!r}")
        written: Delayed | None = lazy.store_dask(self, data, index, compute=compute, exactly=True)
        return written


def _is_filled(found: Pixels, fill: Any) -> bool:
    """Whether pixels hold the fill value only, as far as they are numbers."""
    if found.dtype.kind not in "biufc":
        return False
    value = found.dtype.type(0 if fill is None else fill)
    if value != value:
        return bool(np.isnan(found).all())
    return bool(found.flat[0] == value and (found == value).all())


def _is_special(options: dict[str, Any]) -> bool:
    """Whether a caller asks for something that only zarr-python has (``out``, ``fields``, ...)."""
    return any(value is not None and value != [] for value in options.values())


def _orthogonal(index: tuple[Any, ...]) -> ArraySelection:
    """Without arrays it is an ordinary index."""
    return ArraySelection("orthogonal" if any(isinstance(i, np.ndarray) for i in index) else "basic", index)


def _level_of_caller() -> int:
    """The ``stacklevel`` that makes a warning point at the line outside this library and zarr."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _INSIDE:
        frame, level = frame.f_back, level + 1
    return level
