"""The shape of a position's image: what users call; reshaping.py does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import numpy.typing as npt

    from platestore.nodes.position import Position


class Shapes:
    """The methods of a position that change the shape of its image."""

    def resize(self, shape: Sequence[int]) -> None:
        """Change the shape of the image: all levels and the label images follow, in one recorded change.

        The same as ``position.data.resize(shape)``. Levels follow by their factors. Label images follow along
        the axes on which they are as long as the image, filled with 0; one of length 1 along an axis holds
        for all of that axis and stays so. Growing along the channel axis names the new channels by their
        numbers, shrinking drops names. What the levels do not have yet is marked, and made by
        :meth:`compute_pyramid`.

        Parameters
        ----------
        shape : sequence of int
            New shape of the first level, in pixels, one value per axis.

        Raises
        ------
        ArgumentError
            If there is no image, or it is no shape with these dimensions.
        InvalidMetadataError
            If levels or label images do not fit the image as it is, and so cannot follow it.

        Examples
        --------
        >>> position.resize((20, 2, 1, 512, 512))  # doctest: +SKIP
        """
        cast("Position", self).data.resize(shape)

    def append(self, data: npt.ArrayLike, axis: str | int = "t") -> tuple[int, ...]:
        """Add pixels at the end of an axis: all levels and the label images grow with the image.

        Parameters
        ----------
        data : array-like
            Of the shape of the first level on all other axes, with values that its data type holds exactly.
        axis : str or int
            Name of the axis, in either case, or its index.

        Returns
        -------
        tuple of int
            The new shape of the first level.

        Raises
        ------
        ArgumentError
            If there is no such axis, shapes or values do not fit, or as for :meth:`resize`.

        Examples
        --------
        >>> position.append(frame)  # a time point  # doctest: +SKIP
        >>> position.compute_pyramid(region=np.s_[-1:])  # its levels  # doctest: +SKIP
        """
        position = cast("Position", self)
        index = position.get_axis_index(axis) if isinstance(axis, str) else axis
        return position.data.append(data, index)
