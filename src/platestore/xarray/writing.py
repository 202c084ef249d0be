"""New multiscale groups from labelled arrays, with or without their pixels.

In a directory the group is built beside its place and moved there when it is complete. Elsewhere its
arrays are written first and the group's document last, so that nothing is listed before it is there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from platestore.arrays.image import open_array
from platestore.arrays.origins import require_there
from platestore.publish import targets
from platestore.spec.versions import DEFAULT_VERSION
from platestore.storage.base import Storage, StorageOptions, join
from platestore.storage.files import temporary_name
from platestore.storage.hierarchy import ArrayDocument, array_files, create_node, ensure_group, group_files
from platestore.storage.local import LocalStorage
from platestore.tree.intents import staging_name
from platestore.xarray.extra import import_xarray
from platestore.xarray.grids import Irregular
from platestore.xarray.models import MultiscaleGroupModel, model_multiscale_group, named
from platestore.xarray.pixels import source_of
from platestore.xarray.places import GroupPlace, check_place, find_place

if TYPE_CHECKING:
    import xarray as xr
    import zarr


@dataclass(frozen=True, slots=True)
class _Wishes:
    """The arguments that say what the arrays become."""

    transform_precision: int | None
    ngff_version: str
    chunks: Any
    compressor: Any
    fill_value: Any
    shards: Any
    name: str | None
    irregular: Irregular

    def model(self, arrays: Mapping[str, xr.DataArray]) -> MultiscaleGroupModel:
        return model_multiscale_group(
            arrays=arrays,
            transform_precision=self.transform_precision,
            ngff_version=self.ngff_version,
            chunks=self.chunks,
            compressor=self.compressor,
            fill_value=self.fill_value,
            shards=self.shards,
            name=self.name,
            irregular=self.irregular,
        )


def create_multiscale_group(
    *,
    store: Any,
    path: str,
    arrays: Mapping[str, xr.DataArray],
    transform_precision: int | None = None,
    ngff_version: str = DEFAULT_VERSION,
    chunks: Any = "auto",
    compressor: Any = "zstd",
    fill_value: Any = 0,
    overwrite: bool = False,
    shards: Any = None,
    name: str | None = None,
    irregular: Irregular = "error",
) -> zarr.Group:
    """Create a multiscale group of empty arrays: only documents are written, whatever the size.

    Parameters
    ----------
    store : zarr Store, zarr.Group or path
        The store.
    path : str
        Path of the group in it; ``""`` is the root. Groups above it are made where there are none.
    arrays, transform_precision, ngff_version, chunks, compressor, fill_value, shards, name, irregular
        As for :func:`model_multiscale_group`. The image's name is by default that of the arrays, or else
        the last part of the path.
    overwrite : bool
        Whether an image group that is there is replaced, with all that is in it.

    Returns
    -------
    zarr.Group
        The new group, to be written to.

    Raises
    ------
    NodeExistsError
        If there is something and ``overwrite`` is false.
    UnsafeTargetError
        If what is there is no image group, or holds files that belong to no zarr store.
    ArgumentError, UnsupportedVersionError
        As for :func:`model_multiscale_group`, or if a group above is of the other version of zarr.
    ReadOnlyError
        If the store is read-only.

    Examples
    --------
    >>> from platestore.xarray import create_multiscale_group
    >>> array = position.to_xarray("0")
    >>> group = create_multiscale_group(store="images.zarr", path="cells", arrays={"s0": array})
    >>> group["s0"][...] = array.values * 2
    >>> ps.open_ome_zarr("images.zarr/cells")["s0"][0, :, 0, 0, 0]
    array([200, 400], dtype=uint16)
    """
    options = _Wishes(
        transform_precision, ngff_version, chunks, compressor, fill_value, shards, name, irregular
    )
    return _make(store, path, arrays, options, overwrite, pixels=False)


def write_multiscale_group(
    *,
    store: Any,
    path: str,
    arrays: Mapping[str, xr.DataArray],
    transform_precision: int | None = None,
    ngff_version: str = DEFAULT_VERSION,
    chunks: Any = "auto",
    compressor: Any = "zstd",
    fill_value: Any = 0,
    overwrite: bool = False,
    shards: Any = None,
    name: str | None = None,
    irregular: Irregular = "error",
) -> zarr.Group:
    """Create a multiscale group and write its pixels.

    Data of dask, and data that xarray has not loaded, is written by whole chunks (shards), and never
    taken into memory as a whole. The group can be seen when all its pixels are written; the arrays may
    come from the group that is overwritten.

    Parameters
    ----------
    store, path, arrays, overwrite
        As for :func:`create_multiscale_group`.
    transform_precision, ngff_version, chunks, compressor, fill_value, shards, name, irregular
        As for :func:`model_multiscale_group`.

    Returns
    -------
    zarr.Group

    Raises
    ------
    NodeExistsError, UnsafeTargetError, ArgumentError, UnsupportedVersionError, ReadOnlyError
        As for :func:`create_multiscale_group`; nothing was written then.

    Examples
    --------
    >>> from platestore.xarray import write_multiscale_group
    >>> fine = position.to_xarray("0")
    >>> coarse = fine.coarsen(y=2, x=2).mean().astype("uint16")
    >>> group = write_multiscale_group(store="images.zarr", path="cells", arrays={"s0": fine, "s1": coarse})
    >>> ps.open_ome_zarr("images.zarr/cells")["s1"].shape
    (1, 2, 4, 32, 32)
    """
    options = _Wishes(
        transform_precision, ngff_version, chunks, compressor, fill_value, shards, name, irregular
    )
    return _make(store, path, arrays, options, overwrite, pixels=True)


def _make(
    store: Any,
    path: str,
    arrays: Mapping[str, xr.DataArray],
    options: _Wishes,
    overwrite: bool,
    *,
    pixels: bool,
) -> zarr.Group:
    import_xarray()
    place = find_place(store, path)
    model = named(options.model(arrays), place.name)
    replaces = check_place(place, model.zarr_format, overwrite=overwrite)
    data = arrays if pixels else None
    require_there([array.variable for array in arrays.values()] if pixels else [])
    if place.directory is not None:
        _build_beside(place, model, data, replace=replaces)
    else:
        _build_in_place(place, model, data, replace=replaces)
    return place.group(model.zarr_format)


def _build_beside(
    place: GroupPlace, model: MultiscaleGroupModel, data: Mapping[str, xr.DataArray] | None, *, replace: bool
) -> None:
    """Build in a hidden directory, then take the place in one step."""
    assert place.directory is not None
    place.make_parents(model.zarr_format)
    parent, last = os.path.split(place.directory)
    os.makedirs(parent, exist_ok=True)
    building = os.path.join(parent, temporary_name(last))
    storage = LocalStorage(building, StorageOptions(read_only=False))
    try:
        _build(storage, "", model, data)
        targets.install(building, place.directory, replace=replace)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def _build_in_place(
    place: GroupPlace, model: MultiscaleGroupModel, data: Mapping[str, xr.DataArray] | None, *, replace: bool
) -> None:
    """Write the arrays, then the group's document; what it replaces stays until all is written."""
    storage = place.storage
    place.make_parents(model.zarr_format)
    above, _, last = place.path.rpartition("/")
    base = join(above, staging_name(last or "image")) if replace else place.path
    try:
        _build(storage, base, model, data)
    except BaseException:
        with contextlib.suppress(Exception):
            storage.remove_tree(base)
        raise
    if not replace:
        return
    try:
        _replace(storage, base, place.path)
    except Exception as error:
        # From here on the new group may be the only one that is whole: it stays.
        error.add_note(f"the new group is whole, and lies at {storage.where(base)}; the old one is not")
        raise


def _replace(storage: Storage, staged: str, path: str) -> None:
    if path:
        storage.remove_tree(path)
        storage.move_tree(staged, path)
        return
    # At the root the staged group is among what is to go, so it is moved key by key.
    keys = sorted(storage.keys(""), key=lambda key: key.count("/"))
    for key in keys:
        if not key.startswith(f"{staged}/"):
            storage.remove(key)
    for key in sorted(storage.keys(staged), key=lambda key: -key.count("/")):
        data = storage.read(key)
        if data is not None:
            storage.write(key.removeprefix(f"{staged}/"), data)
    storage.remove_tree(staged)


def _build(
    storage: Storage, base: str, model: MultiscaleGroupModel, data: Mapping[str, xr.DataArray] | None
) -> None:
    zarr_format = model.zarr_format
    if base or storage.local_path("") is not None:
        storage.make_directory(base)
    for path, array in model.members.items():
        segments = path.split("/")
        for depth in range(1, len(segments)):
            ensure_group(storage, join(base, *segments[:depth]), zarr_format)
        full = join(base, path)
        files = array_files(zarr_format, array.to_json(), where=storage.where(full))
        create_node(storage, full, files)
        if data is not None:
            document = ArrayDocument(full, zarr_format, files[-1][1])
            open_array(storage, document, array.dimension_names)[...] = source_of(data[path])
    for name, content in group_files(zarr_format, model.attributes, where=storage.where(base)):
        storage.write(join(base, name), content)
