"""From a place to the levels of the image that lies there."""

from __future__ import annotations

import itertools
import os
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from platestore.errors import ArgumentError
from platestore.multiscales.model import NgffImage
from platestore.spec.edits import effective_scale, effective_translation
from platestore.spec.orientation import read_orientations

if TYPE_CHECKING:
    from platestore.tree.image import ImageEditor

_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}


def is_place(data: Any) -> bool:
    """Whether something is the place of a store, or a node in one, and no array."""
    if isinstance(data, (str, os.PathLike, MutableMapping)):
        return True
    if hasattr(data, "dtype") or not hasattr(data, "__class__"):
        return False
    from zarr import Group
    from zarr.abc.store import Store
    from zarr.storage import StorePath

    from platestore.tree.holder import editor_of

    return isinstance(data, (Store, StorePath, Group)) or editor_of(data) is not None


def open_any(place: Any) -> Any:
    """Open a place: a position, or an array.

    Raises
    ------
    ArgumentError
        If it is neither, as a plate is not.
    """
    from platestore.tree.holder import editor_of
    from platestore.tree.image import ImageEditor

    node: Any = editor_of(place) or _open(place)
    if hasattr(node, "dtype") or isinstance(node, ImageEditor):
        return node
    names = (name for name, _ in node.positions()) if hasattr(node, "positions") else iter(node.names())
    members = [f"{node.location.where}/{name}" for name in itertools.islice(names, 3)]
    raise ArgumentError(
        f"is a {node.title.lower()}, not an image",
        path=node.location.where,
        hint=f"open what is in it: {', '.join(members)}" if members else None,
    )


def _open(place: Any) -> Any:
    from zarr import Group
    from zarr.abc.store import Store
    from zarr.storage import StorePath

    from platestore.multiscales.mappings import MappingStore
    from platestore.tree.opening import open_editor

    if isinstance(place, Group):
        place = place.store_path
    elif isinstance(place, MutableMapping) and not isinstance(place, (Store, StorePath)):
        place = MappingStore(place)
    array = _array_at(place)
    return open_editor(place) if array is None else array


def _array_at(place: Any) -> Any:
    """The array at a place; None if there is something else."""
    from platestore.arrays.image import open_array
    from platestore.storage.base import StorageOptions
    from platestore.storage.hierarchy import read_array
    from platestore.storage.local import LocalStorage, find_root
    from platestore.storage.ozx import OzxStorage, find_archive, names_archive
    from platestore.tree.location import storage_of

    options, inner = StorageOptions(), ""
    if isinstance(place, (str, os.PathLike)):
        path = os.path.abspath(os.fspath(place))
        if names_archive(path):
            found = find_archive(path)
            if found is None:
                return None
            storage: Any = OzxStorage(found[0], options)
            inner = found[1]
        else:
            root, inner = find_root(path)
            storage = LocalStorage(root, options)
    else:
        inner = getattr(place, "path", "") if hasattr(place, "store") else ""
        storage = storage_of(place.store if hasattr(place, "store") else place, options)
    for zarr_format in (3, 2):
        document = read_array(storage, inner, 3 if zarr_format == 3 else 2)
        if document is not None:
            return open_array(storage, document, ())
    return None


def images_of(position: ImageEditor) -> list[NgffImage]:
    """The levels of a position's first image."""
    from platestore.arrays.sources import as_source
    from platestore.multiscales.sources import as_dask

    document = position.meta.multiscales[0]
    if not document.datasets:
        raise ArgumentError("holds no image yet", path=position.location.where)
    dims = [axis.name.lower() for axis in document.axes]
    units = {d: a.unit for d, a in zip(dims, document.axes, strict=True) if a.unit is not None}
    types = {
        d: a.type
        for d, a in zip(dims, document.axes, strict=True)
        if a.type is not None and a.type != _TYPES.get(d)
    }
    omero = position.meta.omero
    channels = omero.channels if omero is not None else []
    names = [c.label if c.label is not None else str(i) for i, c in enumerate(channels)]
    colors = [c.color for c in channels if c.color is not None]
    images = []
    for dataset in document.datasets:
        array = position[dataset.path]
        source = as_source(array)
        image = NgffImage(
            data=as_dask(source, array.shards or array.chunks),
            dims=tuple(dims),
            scale=dict(zip(dims, effective_scale(position.meta, dataset.path), strict=True)),
            translation=dict(zip(dims, effective_translation(position.meta, dataset.path), strict=True)),
            name=document.name or position.location.name,
            axes_units=units or None,
            axes_orientations=read_orientations(document.axes) or None,
            axes_types=types or None,
            channel_names=list(names) or None,
            channel_colors=colors if len(colors) == len(channels) and colors else None,
        )
        image._keep(source)
        image._omero = omero
        images.append(image)
    return images
