"""Pixels between this library and xarray, without reading all of them on the way.

xarray takes an array that is no numpy array into memory, unless it comes as its own backends give it:
as a ``BackendArray`` behind ``LazilyIndexedArray``, which is how its documentation has backends written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
import zarr
from xarray.backends import BackendArray
from xarray.core import indexing

from platestore.arrays.lazy import is_dask
from platestore.errors import ArgumentError

if TYPE_CHECKING:
    import dask.array


class ZarrBackendArray(BackendArray):
    """A zarr array as xarray indexes what is on disk.

    Parameters
    ----------
    array : zarr.Array
        The array.
    """

    def __init__(self, array: zarr.Array[Any]) -> None:
        self.array = array
        self.shape = array.shape
        self.dtype = array.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> Any:
        return np.asarray(self.array.get_orthogonal_selection(key))


def data_array(
    wrapped: Any,
    coords: Mapping[str, xr.DataArray],
    *,
    name: str | None,
    attrs: Mapping[str, Any] | None,
    where: str,
) -> xr.DataArray:
    """A ``DataArray`` over what a wrapper made of an array.

    Raises
    ------
    ArgumentError
        If that has another shape.
    """
    dims = tuple(coords)
    shape = tuple(coordinate.size for coordinate in coords.values())
    if tuple(np.shape(wrapped)) != shape:
        raise ArgumentError(
            f"the array wrapper made an array of shape {np.shape(wrapped)} out of one of {shape}", path=where
        )
    if isinstance(wrapped, zarr.Array):
        lazy: Any = indexing.LazilyIndexedArray(ZarrBackendArray(wrapped))
        wrapped = indexing.CopyOnWriteArray(lazy)
    variable = xr.Variable(dims, wrapped, attrs=attrs)
    return xr.DataArray(variable, coords=coords, name=name)


class Streamed:
    """The pixels of a ``DataArray`` that is not in memory, part by part.

    Parameters
    ----------
    array : xarray.DataArray
        The array.
    """

    def __init__(self, array: xr.DataArray) -> None:
        self._variable = array.variable
        self.shape = tuple(array.shape)
        units = _units_below(array.variable._data)
        #: How it is best read, if that is known; having this at all makes this library write in parts.
        self.chunks = units if units is not None and len(units) == len(self.shape) else None
        self.dtype = np.dtype(array.dtype)
        self.ndim = len(self.shape)

    def __getitem__(self, key: Any) -> Any:
        return np.asarray(self._variable[key].values)


def _units_below(data: Any) -> tuple[int, ...] | None:
    """What one file holds of the array on disk that xarray's lazy arrays wrap, if it is one of ours."""
    while data is not None:
        if isinstance(data, ZarrBackendArray):
            return data.array.shards or data.array.chunks
        data = getattr(data, "array", None)
    return None


def source_of(array: xr.DataArray) -> Any:
    """The pixels of an array as this library writes them: numpy, dask, or :class:`Streamed`."""
    if not array.variable._in_memory and array.chunks is None:
        return Streamed(array)
    data = array.data
    return data if is_dask(data) else np.asarray(data)


def as_dask(array: xr.DataArray, units: Sequence[int]) -> dask.array.Array:
    """The pixels of an array as a dask array, in blocks of units where they are no dask array yet."""
    import dask.array

    source = source_of(array)
    if is_dask(source):
        lazy: dask.array.Array = source
        return lazy
    chunks = tuple(min(u, n) for u, n in zip(units, source.shape, strict=True))
    return dask.array.from_array(source, chunks=chunks, name=False)  # type: ignore[no-any-return, no-untyped-call]
