"""Images whose chunks are the tiles of a grid."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from platestore.arrays.casting import exact
from platestore.arrays.image import ImageArray
from platestore.arrays.types import Pixels
from platestore.errors import ArgumentError

#: An index per axis: an integer or a slice.
TileSlice: TypeAlias = tuple[int | slice, ...]


class TiledImageArray(ImageArray):
    """An image whose chunks are tiles on a grid of rows and columns, in its last two dimensions."""

    @property
    def rows(self) -> int:
        """Number of rows of tiles."""
        return math.ceil(self.shape[-2] / self.tile_shape[-2])

    @property
    def columns(self) -> int:
        """Number of columns of tiles."""
        return math.ceil(self.shape[-1] / self.tile_shape[-1])

    @property
    def tiles(self) -> tuple[int, int]:
        """Number of rows and columns of tiles."""
        return self.rows, self.columns

    @property
    def tile_shape(self) -> tuple[int, ...]:
        """Shape of a tile (a chunk), with a size for every dimension."""
        return self.chunks

    def get_tile(self, row: int, column: int, pre_dims: Sequence[int | slice | None] | None = None) -> Pixels:
        """Read one tile.

        Parameters
        ----------
        row, column : int
            Place of the tile on the grid, from 0.
        pre_dims : sequence of int, slice or None, optional
            One index for each dimension before Y and X. An integer selects that index and drops the
            dimension; None or no ``pre_dims`` selects all of it.

        Returns
        -------
        numpy.ndarray
            The pixels.

        Examples
        --------
        >>> mosaic = ps.open_ome_zarr("mosaic.zarr", layout="tiled", mode="w-", channel_names=["DAPI"])
        >>> tiles = mosaic.make_tiles("0", grid_shape=(2, 3), tile_shape=(1, 1, 1, 64, 64), dtype="uint16")
        >>> tiles.get_tile(1, 2).shape
        (1, 1, 1, 64, 64)
        >>> tiles.get_tile(1, 2, pre_dims=(0, 0, 0)).shape
        (64, 64)
        """
        return np.asarray(self[self.get_tile_slice(row, column, pre_dims)])

    def write_tile(
        self,
        data: npt.ArrayLike,
        row: int,
        column: int,
        pre_dims: Sequence[int | slice | None] | None = None,
    ) -> None:
        """Write one tile.

        Parameters
        ----------
        data : array-like
            The pixels, of the shape that :meth:`get_tile` would return, with values that the data type holds
            exactly.
        row, column : int
            Place of the tile on the grid, from 0.
        pre_dims : sequence of int, slice or None, optional
            As for :meth:`get_tile`.

        Examples
        --------
        >>> mosaic = ps.open_ome_zarr("mosaic.zarr", layout="tiled", mode="w-", channel_names=["DAPI"])
        >>> tiles = mosaic.make_tiles("0", grid_shape=(2, 3), tile_shape=(1, 1, 1, 64, 64), dtype="uint16")
        >>> tiles.write_tile(np.full((64, 64), 7), row=1, column=2, pre_dims=(0, 0, 0))
        >>> tiles[0, 0, 0, ::64, ::64]  # the first pixel of each tile
        array([[0, 0, 0],
               [0, 0, 7]], dtype=uint16)
        """
        index = self.get_tile_slice(row, column, pre_dims)
        block = exact(data, self.dtype, what="written to")
        spans = zip(index, self.shape, strict=True)
        expected = tuple(len(range(*i.indices(n))) for i, n in spans if isinstance(i, slice))
        if block.shape != expected:
            raise ArgumentError(f"the data has shape {block.shape}; this tile has {expected}")
        self[index] = block

    def get_tile_slice(
        self, row: int, column: int, pre_dims: Sequence[int | slice | None] | None = None
    ) -> TileSlice:
        """The index of one tile in the array.

        Parameters
        ----------
        row, column : int
            Place of the tile on the grid, from 0.
        pre_dims : sequence of int, slice or None, optional
            As for :meth:`get_tile`.

        Returns
        -------
        tuple of int or slice
            One per dimension.

        Raises
        ------
        TypeError
            If a row or column is no integer.
        IndexError
            If the tile is not on the grid, or ``pre_dims`` has another length than the dimensions
            before Y and X.

        Examples
        --------
        >>> mosaic = ps.open_ome_zarr("mosaic.zarr", layout="tiled", mode="w-", channel_names=["DAPI"])
        >>> tiles = mosaic.make_tiles("0", grid_shape=(2, 3), tile_shape=(1, 1, 1, 64, 64), dtype="uint16")
        >>> tiles.get_tile_slice(1, 2, pre_dims=(0, 0, None))
        (0, 0, slice(None, None, None), slice(64, 128, None), slice(128, 192, None))
        """
        place = []
        for value, count, size, name in (
            (row, self.rows, self.tile_shape[-2], "row"),
            (column, self.columns, self.tile_shape[-1], "column"),
        ):
            if isinstance(value, bool) or not hasattr(value, "__index__"):
                raise TypeError(f"a tile's {name} must be an integer, not {value!r}")
            index = operator.index(value)
            if not 0 <= index < count:
                raise IndexError(f"tile {name} {index} is not on a grid of {count} {name}s")
            place.append(slice(index * size, (index + 1) * size))
        leading = self.ndim - 2
        if pre_dims is None:
            return (*([slice(None)] * leading), *place)
        if len(pre_dims) != leading:
            raise IndexError(f"pre_dims has {len(pre_dims)} values; {leading} dimensions come before Y and X")
        for p in pre_dims:
            is_integer = hasattr(p, "__index__") and not isinstance(p, bool)
            if not (p is None or is_integer or isinstance(p, slice)):
                raise TypeError(f"pre_dims must be integers, slices or None, not {p!r}")
        before = tuple(slice(None) if p is None else p for p in pre_dims)
        return (*before, *place)
