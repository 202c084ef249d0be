"""Multiscale groups, single arrays and whole pyramids as labelled arrays."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from platestore.errors import ArgumentError, InvalidMetadataError, NodeNotFoundError
from platestore.spec import versions
from platestore.storage.base import Storage, StorageOptions, join
from platestore.storage.hierarchy import ZarrFormat, read_group
from platestore.storage.local import LocalStorage, find_root
from platestore.tree.holder import editor_of
from platestore.tree.image import ImageEditor
from platestore.tree.location import Location, location_of, storage_of
from platestore.tree.opening import open_editor
from platestore.tree.upkeep import UPKEEP
from platestore.xarray.extra import import_xarray
from platestore.xarray.positions import labelled
from platestore.xarray.wrappers import Wraps, ZarrArrayWrapper, resolve

if TYPE_CHECKING:
    import xarray as xr
    import zarr

_UNCHANGED = ZarrArrayWrapper()
_NO_IMAGE = "the group has no OME-NGFF image metadata ('multiscales')"


def read_multiscale_group(
    group: Any, array_wrapper: Wraps | Mapping[str, Any] = _UNCHANGED, **kwargs: Any
) -> dict[str, xr.DataArray]:
    """Every array that the metadata of an image group lists, as labelled arrays; no pixels are read.

    Parameters
    ----------
    group : zarr.Group, ImageEditor, zarr Store or path
        The group, of OME-NGFF 0.4 or 0.5.
    array_wrapper : object with ``wrap``, or dict
        What arrays are wrapped in; ``ZarrArrayWrapper()`` by default, with which xarray reads pixels when
        they are asked for.
    **kwargs
        ``multiscales_index`` (int): only the arrays of that entry of ``multiscales``; all by default.
        ``ngff_version`` ("0.4" or "0.5"): the version that the group must have; any by default.

    Returns
    -------
    dict
        Labelled arrays by the path of the array in the group, in the order of the metadata. Coordinates
        are float64, from the transformations of the array and then those of the multiscales; see
        :meth:`Position.to_xarray`.

    Raises
    ------
    InvalidMetadataError
        If the group has no image metadata, or it cannot be used.
    UnsupportedVersionError
        If it is of another version.
    ArgumentError
        If it is a plate or another node, has no such entry, or is not of ``ngff_version``.

    Examples
    --------
    >>> from platestore.xarray import read_multiscale_group
    >>> position.compute_pyramid(levels=2)
    >>> arrays = read_multiscale_group("plate.zarr/A/1/0")
    >>> {path: array.shape for path, array in arrays.items()}
    {'0': (1, 2, 4, 64, 64), '1': (1, 2, 2, 32, 32)}
    """
    wrapper = resolve(array_wrapper)
    index, version = kwargs.pop("multiscales_index", None), kwargs.pop("ngff_version", None)
    if kwargs:
        raise TypeError(f"read_multiscale_group() got unexpected arguments: {', '.join(sorted(kwargs))}")
    import_xarray()
    position = _open_image(group)
    if version is not None and versions.check_version(version) != position.location.version:
        raise ArgumentError(
            f"the group is OME-NGFF {position.location.version}, not {version}", path=position.location.where
        )
    images = position.meta.multiscales
    if index is not None:
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(images):
            raise ArgumentError(
                f"there is no multiscales {index!r}; there are {len(images)}, from 0",
                path=position.location.where,
            )
        images = [images[index]]
    paths = [dataset.path for image in images for dataset in image.datasets]
    return {path: labelled(position, path, wrapper) for path in paths}


def read_multiscale_array(
    array: zarr.Array[Any], array_wrapper: Wraps | Mapping[str, Any] = _UNCHANGED
) -> xr.DataArray:
    """One array of an image as a labelled array, by the metadata of the group that lists it.

    The groups above the array are read, from the nearest on, until one lists it; no other array is opened.

    Parameters
    ----------
    array : zarr.Array
        The array.
    array_wrapper : object with ``wrap``, or dict
        As for :func:`read_multiscale_group`; it is given this array.

    Returns
    -------
    xarray.DataArray

    Raises
    ------
    NodeNotFoundError
        If no group above lists the array.
    ArgumentError
        If it is no array.

    Examples
    --------
    >>> from platestore.xarray import read_multiscale_array
    >>> array = read_multiscale_array(image)
    >>> array.dims, array.coords["c"].values.tolist()
    (('t', 'c', 'z', 'y', 'x'), ['DAPI', 'GFP'])
    """
    import zarr

    wrapper = resolve(array_wrapper)
    import_xarray()
    if not isinstance(array, zarr.Array):
        raise ArgumentError(
            f"{type(array).__name__} is no zarr.Array", hint="read_multiscale_group takes groups and paths"
        )
    storage, path = _place_of(array)
    zarr_format: ZarrFormat = 2 if array.metadata.zarr_format == 2 else 3
    for above, inner in _splits(path):
        group = read_group(storage, above, zarr_format)
        if group is None or group.kind not in ("image", "label"):
            continue
        version = versions.detect_version(group.attributes, zarr_format, path=storage.where(above))
        position = ImageEditor(Location(storage, above, version), UPKEEP)
        for listed in position.meta.paths():
            if join(*listed.split("/")) == inner:
                return labelled(position, listed, wrapper, array)
    raise NodeNotFoundError(
        "no group above lists this array as a part of an image",
        path=storage.where(path),
        hint="read_multiscale_group reads what the metadata of a group lists",
    )


def read_multiscale_tree(
    group: Any, array_wrapper: Wraps | Mapping[str, Any] = _UNCHANGED, **kwargs: Any
) -> xr.DataTree:
    """All levels of an image as one tree; no pixels are read.

    Parameters
    ----------
    group, array_wrapper, **kwargs
        As for :func:`read_multiscale_group`; ``multiscales_index`` is 0 by default.

    Returns
    -------
    xarray.DataTree
        Each level is a node with the path of its array (``tree["0"]``), and has one variable, named after
        the image ("image", if it has no name, or that of an axis).

    Examples
    --------
    >>> from platestore.xarray import read_multiscale_tree
    >>> position.compute_pyramid(levels=2)
    >>> tree = read_multiscale_tree("plate.zarr/A/1/0")
    >>> dict(tree["1"].sizes)
    {'t': 1, 'c': 2, 'z': 2, 'y': 32, 'x': 32}
    """
    kwargs.setdefault("multiscales_index", 0)
    arrays = read_multiscale_group(group, array_wrapper, **kwargs)
    first = next(iter(arrays.values()), None)
    name = None if first is None else str(first.name)
    if first is None or name in first.dims or name in arrays or "/" in str(name):
        name = "image"
    tree: xr.DataTree = import_xarray().DataTree.from_dict(
        {f"/{path}": array.to_dataset(name=name) for path, array in arrays.items()}, name=name
    )
    return tree


def _open_image(group: Any) -> ImageEditor:
    """The position that a group, node, store or path is."""
    import zarr

    if isinstance(group, zarr.Group):
        location = location_of(group)
        found = read_group(location.storage, location.path, location.zarr_format)
        if found is None:
            raise NodeNotFoundError("there is no zarr group", path=location.where)
        kind = found.kind
        if kind == "unknown":
            raise InvalidMetadataError(_NO_IMAGE, path=location.where, hint="name the group of an image")
        if kind not in ("image", "label"):
            raise ArgumentError(f"is a {kind}, not an image", path=location.where, hint=_NAME_ONE)
        return ImageEditor(location, UPKEEP)
    node = editor_of(group) or open_editor(group, mode="r")
    if not isinstance(node, ImageEditor):
        raise ArgumentError(f"is a {node.title}, not an image", path=node.location.where, hint=_NAME_ONE)
    return node


_NAME_ONE = "name one of its images, such as plate['A/1/0']"


def _place_of(array: zarr.Array[Any]) -> tuple[Storage, str]:
    """The storage that holds an array with all that is above it, and its path there."""
    from zarr.storage import LocalStore

    storage: Storage | None = getattr(array, "_storage", None)
    options = StorageOptions(read_only=True)
    if isinstance(storage, Storage):
        place: str | None = storage.local_path(array.path)
    else:
        store = array.store
        place = (
            os.path.join(str(store.root.absolute()), array.path) if isinstance(store, LocalStore) else None
        )
        storage = storage_of(store, options)
    if place is None:
        return storage, array.path
    # The store may have been opened at the array itself: the file system knows what is above.
    root, inner = find_root(os.path.normpath(place))
    return LocalStorage(root, options), inner


def _splits(path: str) -> Iterator[tuple[str, str]]:
    """The groups above a path, the nearest first, and the path within each."""
    segments = path.split("/") if path else []
    for depth in range(len(segments) - 1, -1, -1):
        yield "/".join(segments[:depth]), "/".join(segments[depth:])
