"""A bioformats2raw collection: several images without a plate, for reading."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from platestore.errors import UnsupportedError
from platestore.nodes.node import NGFFNode, shown
from platestore.nodes.position import Position
from platestore.spec.series import SeriesMeta
from platestore.tree.series import SeriesEditor


class Bioformats2RawSeries(NGFFNode[SeriesMeta], editor=SeriesEditor):
    """A collection of images in the ``bioformats2raw.layout``; it is read, not changed.

    The images are those that the ``OME`` group lists, in its order. Without a list they are "0", "1",
    ... as far as there are groups of these names.
    """

    _editor: SeriesEditor

    def __getitem__(self, key: int | str) -> Any:
        """Get an image by its path, or an array below it.

        Raises
        ------
        NodeKeyError
            If the collection lists no such image.
        """
        return super().__getitem__(key)

    def positions(self) -> Iterator[tuple[str, Position]]:
        """Iterate over the images.

        One that cannot be opened is reported by a warning, and the others follow.

        Yields
        ------
        tuple of str and Position
            Path and node.

        Examples
        --------
        >>> series = ps.open_ome_zarr("converted.zarr", layout="bf2raw")
        >>> for path, position in series.positions():
        ...     print(path, position["0"].shape)
        0 (1, 2, 4, 64, 64)
        1 (1, 2, 4, 64, 64)
        """
        return shown(self._editor.positions())

    def dump_meta(self) -> None:
        """Refuse to write: a collection is read-only.

        Examples
        --------
        >>> ps.open_ome_zarr("converted.zarr").dump_meta()
        Traceback (most recent call last):
            ...
        platestore.errors.UnsupportedError: ...: a bioformats2raw collection is read-only ...
        """
        raise UnsupportedError("a bioformats2raw collection is read-only", path=self._editor.location.where)
