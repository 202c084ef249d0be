"""An image of a position as a labelled array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from platestore.errors import InvalidMetadataError, NodeKeyError
from platestore.spec import edits
from platestore.spec.axes import channel_index
from platestore.tree.image import image_editor
from platestore.xarray.coordinates import make_coords
from platestore.xarray.extra import import_xarray
from platestore.xarray.wrappers import DaskArrayWrapper, Wraps, resolve

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

    from platestore.tree.holder import HasEditor
    from platestore.tree.image import ImageEditor


def to_xarray(
    position: HasEditor, image: str | int = 0, array_wrapper: Wraps | Mapping[str, Any] | None = None
) -> xr.DataArray:
    """An image as a labelled array; no pixels are read.

    Parameters
    ----------
    position : Position
        The position.
    image : str or int
        Name of the array, or index of a level.
    array_wrapper : object with ``wrap``, or dict, optional
        What the pixels are wrapped in; ``DaskArrayWrapper()`` by default, whose blocks are whole chunks
        (whole shards, where there are shards).

    Returns
    -------
    xarray.DataArray
        Its dimensions are the axes, in lower case. Coordinates are float64, from the transformations of
        the image and of the position; those of the channel axis are the channels' names. Each
        coordinate's ``attrs`` hold ``units`` (by the CF conventions), ``type`` and ``scale``. The array's
        own ``attrs`` are what :func:`write_xarray` stored, its name is that of the image.

    Raises
    ------
    NodeKeyError
        If no image has this name.
    ArgumentError
        If ``array_wrapper`` is none.
    ImportError
        If xarray is not installed.

    Examples
    --------
    >>> from platestore.xarray import to_xarray
    >>> array = to_xarray(position, "0")
    >>> array.dims, array.coords["c"].values.tolist()
    (('t', 'c', 'z', 'y', 'x'), ['DAPI', 'GFP'])
    """
    import_xarray()
    wrapper = resolve(DaskArrayWrapper() if array_wrapper is None else array_wrapper)
    editor = image_editor(position)
    return labelled(editor, editor.name_of(image), wrapper)


def write_xarray(position: HasEditor, data_array: xr.DataArray, image: str | int = "0") -> None:
    """Write a labelled array, or a part of one, into an image.

    The first write creates the image, with all channels of the position; it is listed when its pixels are
    written. Later ones write into it, and make it longer where they bring later time points (its levels
    and label images with it). What no write
    has covered reads as zeros. Data of dask, and data that xarray has not loaded, is written by whole
    chunks (shards) and never taken into memory as a whole.

    Parameters
    ----------
    position : Position
        The position.
    data_array : xarray.DataArray
        Its dimensions are the axes of the position, in lower case and in their order.

        The coordinate "c" holds names of channels, any of them in any order; without it all channels
        must be there. "t" is mapped to indices by the image's scale and translation; for the first write
        by those that ``attrs`` of the coordinate state (as :func:`to_xarray` does), else its first time
        point is index 0. The other coordinates are those of all pixels of the image.

        Of the first write, scale and translation are those of the coordinates (1 and 0 without one).
    image : str or int
        Name of the image, or index of a level: 0 is the finest, whatever its name.

    Raises
    ------
    ArgumentError
        If dimensions, channels, coordinates, units, data type or attributes cannot be written, or do not
        fit the image. Nothing was written then.
    ReadOnlyError
        If the position was opened for reading.

    Notes
    -----
    Units and ``attrs`` are those of the first write; a later one changes the units of the axes that it
    states one for, and adds its ``attrs``. The scale of an axis changes if it was 1 (and the translation
    0), or if the write covers the whole image, which then must have no further levels. Levels of a pyramid
    are not made anew: see ``compute_pyramid(region=...)``.

    Examples
    --------
    >>> from platestore.xarray import write_xarray
    >>> gfp = position.to_xarray("0").sel(c=["GFP"])
    >>> write_xarray(position, gfp + 1, "0")
    >>> image[0, :, 0, 0, 0]
    array([100, 201], dtype=uint16)
    """
    import_xarray()
    from platestore.xarray.placing import write

    write(image_editor(position), data_array, image)


def labelled(position: ImageEditor, path: str, wrapper: Wraps, array: Any = None) -> xr.DataArray:
    """An array of a position as a labelled array.

    Parameters
    ----------
    position : Position
        The position.
    path : str
        Path of the array.
    wrapper : object with ``wrap``
        Wraps the array.
    array : zarr.Array, optional
        The array, where it is in hand.
    """
    from platestore.xarray.pixels import data_array

    meta, where = position.meta, position.location.where
    found = meta.find(path)
    if found is None:
        listed = ", ".join(meta.paths()) or "none"
        raise NodeKeyError(f"there is no image {path!r}", path=where, hint=f"images: {listed}")
    multiscales = found[0]
    array = position[path] if array is None else array
    if array.ndim != len(multiscales.axes):
        raise InvalidMetadataError(
            f"the array {path!r} has {array.ndim} dimensions, and {len(multiscales.axes)} axes", path=where
        )
    scale, translation = edits.effective_scale(meta, path), edits.effective_translation(meta, path)
    axis = channel_index(multiscales.axes)
    names = edits.channel_names(meta, array.shape[axis] if axis is not None else 0)
    coords = make_coords(multiscales.axes, scale, translation, array.shape, names)
    attrs = position.own.attrs_of(path)
    return data_array(
        wrapper.wrap(array), coords, name=multiscales.name or path, attrs=attrs, where=f"{where}/{path}"
    )
