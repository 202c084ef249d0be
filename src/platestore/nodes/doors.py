"""What a position does by rooms that lie above the nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import xarray

    from platestore.nodes.position import Position


class Doors:
    """Methods of positions that are one call of another room each."""

    def to_xarray(self, image: str | int = 0, array_wrapper: Any = None) -> xarray.DataArray:
        """Give an image as a labelled array, without reading its pixels.

        Parameters
        ----------
        image : str or int
            Name of the array, or index of a level.
        array_wrapper : object with ``wrap``, or dict, optional
            What the pixels become (:mod:`platestore.xarray`); a dask array by default.

        Returns
        -------
        xarray.DataArray
            Its dimensions are the axes, in lower case. Coordinates are the channel names, and for the other
            axes places in physical units, with ``attrs["units"]``; the attributes of the array itself are
            those that :meth:`write_xarray` was given.

        Raises
        ------
        NodeKeyError
            If there is no such image.
        ImportError
            If xarray is not installed (``pip install 'platestore[xarray]'``).
        """
        from platestore.xarray.positions import to_xarray

        return to_xarray(cast("Position", self), image, array_wrapper)

    def write_xarray(self, data_array: xarray.DataArray, image: str | int = "0") -> None:
        """Write a labelled array, of all or of some channels and time points.

        The first call creates the image, with all channels; further calls write into it, and grow it along
        time. Scales, translations, units and attributes are taken over. dask arrays are written by whole
        chunks or shards.

        Parameters
        ----------
        data_array : xarray.DataArray
            Its dimensions are the axes, in their order. Coordinates of ``c`` are channel names; those of
            ``t`` say which time points.
        image : str or int
            Name of the array, or index of a level.

        Raises
        ------
        ArgumentError
            If dimensions or coordinates do not fit; nothing was written then.
        ImportError
            If xarray is not installed (``pip install 'platestore[xarray]'``).
        """
        from platestore.xarray.positions import write_xarray

        write_xarray(cast("Position", self), data_array, image)
