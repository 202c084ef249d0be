"""A position whose image is a grid of tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from platestore.errors import ArgumentError
from platestore.nodes.position import Position

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from platestore.arrays.codecs import CompressorLike
    from platestore.arrays.layout import Shards
    from platestore.arrays.tiled import TiledImageArray
    from platestore.spec.transforms import TransformationMeta


class TiledPosition(Position):
    """A position with methods to create and read arrays of tiles.

    The layout is not part of OME-NGFF, so it cannot be inferred: open it with ``layout="tiled"``.
    Its arrays are :class:`TiledImageArray`, whose chunks are the tiles.
    """

    def _array_class(self) -> Any:
        from platestore.arrays.tiled import TiledImageArray

        return TiledImageArray

    def make_tiles(
        self,
        name: str,
        grid_shape: tuple[int, int],
        tile_shape: tuple[int, ...],
        dtype: npt.DTypeLike,
        transform: list[TransformationMeta] | None = None,
        chunk_dims: int = 2,
        *,
        chunks: Sequence[int] | None = None,
        shards_ratio: Sequence[int] | None = None,
        shards: Shards | None = None,
        compressor: CompressorLike | None = None,
        checksum: bool = False,
    ) -> TiledImageArray:
        """Make a tiled image of zeros.

        Parameters
        ----------
        name : str
            Name of the array.
        grid_shape : tuple of int
            Number of rows and columns of tiles.
        tile_shape : tuple of int
            Shape of a tile, with one dimension per axis.
        dtype : dtype-like
            Data type.
        transform : list of TransformationMeta, optional
            Coordinate transformations; a scale of ones by default.
        chunk_dims : int
            How many of the last dimensions of a tile a chunk spans; by default Y and X.
        chunks : sequence of int, optional
            Chunk shape, instead of ``chunk_dims``; it must be that of a tile in Y and X.
        shards_ratio, shards, compressor, checksum
            As for :meth:`create_image`.

        Returns
        -------
        TiledImageArray
            Of shape ``(..., rows * Y, columns * X)``.

        Raises
        ------
        ArgumentError
            If a shape is wrong.
        """
        from platestore.arrays.layout import check_integers
        from platestore.nodes.creation import create_zeros
        from platestore.nodes.wishes import Wishes

        grid, tile = check_integers(grid_shape, "grid_shape"), check_integers(tile_shape, "tile_shape")
        if len(grid) != 2:
            raise ArgumentError(f"grid_shape must be (rows, columns), not {grid_shape!r}")
        if len(tile) != len(self.axes):
            raise ArgumentError(f"tile_shape {tile} has {len(tile)} values; there are {len(self.axes)} axes")
        if (
            isinstance(chunk_dims, bool)
            or not isinstance(chunk_dims, int)
            or not 2 <= chunk_dims <= len(tile)
        ):
            raise ArgumentError(
                f"chunk_dims must be an integer from 2 to {len(tile)}, not {chunk_dims!r}",
                hint="a tile spans at least Y and X",
            )
        shape = (*tile[:-2], grid[0] * tile[-2], grid[1] * tile[-1])
        sizes = (*([1] * (len(tile) - chunk_dims)), *tile[len(tile) - chunk_dims :])
        if chunks is not None:
            sizes = check_integers(chunks, "chunks")
            if sizes[-2:] != tile[-2:]:
                raise ArgumentError(f"chunks {sizes} must be those of a tile in Y and X, {tile[-2:]}")
        wishes = Wishes(sizes, shards_ratio, shards, compressor, checksum)
        array: Any = create_zeros(self, name, shape, dtype, wishes, transform, True, self._array_class())
        return array  # type: ignore[no-any-return]
