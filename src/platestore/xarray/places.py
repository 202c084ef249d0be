"""Where a new multiscale group goes: a place in a store, what is there, and what is above it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from platestore.errors import (
    ArgumentError,
    NodeExistsError,
    ReadOnlyError,
    UnsafeTargetError,
    UnsupportedError,
)
from platestore.publish import targets
from platestore.spec.names import normalise_key
from platestore.spec.versions import assumed
from platestore.storage.base import Storage, StorageOptions, join
from platestore.storage.hierarchy import ZarrFormat, ensure_group, group_exists, read_array, read_group
from platestore.storage.local import LocalStorage, find_root, is_node
from platestore.storage.ozx import names_archive
from platestore.tree.location import storage_of

if TYPE_CHECKING:
    import zarr
    from zarr.abc.store import Store

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True, slots=True)
class GroupPlace:
    """A place in a store.

    Attributes
    ----------
    store : Store
        The store, as zarr knows it.
    storage : Storage
        The same, as this library does.
    path : str
        Path in it.
    directory : str or None
        Absolute path of the directory, if the store is one.
    """

    store: Store
    storage: Storage
    path: str
    directory: str | None

    @property
    def where(self) -> str:
        """The place as users know it."""
        return self.storage.where(self.path)

    @property
    def name(self) -> str:
        """Name of an image here, unless it has another."""
        return self.storage.name_of(self.path) if self.path or self.directory else "image"

    def parents(self) -> list[str]:
        """Paths of the groups above, in this store, the root first."""
        segments = self.path.split("/") if self.path else []
        return ["/".join(segments[:depth]) for depth in range(len(segments))]

    def make_parents(self, zarr_format: ZarrFormat) -> None:
        """Make the groups above; a directory that holds other things stays what it is."""
        for above in self.parents():
            full = self.storage.local_path(above)
            if full is not None and not above and targets.exists(full) and not is_node(full):
                continue
            ensure_group(self.storage, above, zarr_format)
        storage, path = self.hierarchy()
        if path:
            storage.drop_consolidated(path)

    def hierarchy(self) -> tuple[Storage, str]:
        """The whole hierarchy that the place lies in, above this store too, and its path there."""
        if self.directory is None:
            return self.storage, self.path
        root, path = find_root(self.directory)
        return LocalStorage(root, self.storage.options), path

    def group(self, zarr_format: ZarrFormat) -> zarr.Group:
        """The group that was made here."""
        import zarr

        return zarr.open_group(
            self.store, path=self.path, mode="r+", zarr_format=zarr_format, use_consolidated=False
        )


def find_place(store: Any, path: str) -> GroupPlace:
    """The place that the arguments ``store`` and ``path`` mean.

    Raises
    ------
    ArgumentError
        If they mean none.
    ReadOnlyError
        If the store is read-only.
    UnsupportedError
        If it is a URL or an archive.
    """
    import zarr
    from zarr.abc.store import Store
    from zarr.storage import LocalStore, StorePath

    inner = normalise_key(path)
    if isinstance(store, zarr.Group):
        store = store.store_path
    if isinstance(store, StorePath):
        store, inner = store.store, join(store.path, inner)
    if isinstance(store, (str, os.PathLike)):
        store = LocalStore(_local_path(store))
    if not isinstance(store, Store):
        raise ArgumentError(
            f"a store must be a path, a zarr Store or a zarr Group, not {type(store).__name__}",
            hint="wrap an fsspec mapping in zarr.storage.FsspecStore",
        )
    if store.read_only:
        raise ReadOnlyError("the store is read-only", path=str(store), hint="open it for writing")
    storage = storage_of(store, StorageOptions(read_only=False))
    directory = storage.local_path(inner)
    if directory is not None and names_archive(directory):
        raise UnsupportedError(
            "groups are not written into an archive: a zip cannot replace an entry",
            path=directory,
            hint="write a .zarr store, then the archive with `platestore copy x.zarr x.ozx`",
        )
    return GroupPlace(store, storage, inner, None if directory is None else os.path.abspath(directory))


def _local_path(store: str | os.PathLike[str]) -> str:
    text = os.fspath(store)
    if not isinstance(text, str) or not text or "\0" in text:
        raise ArgumentError(f"{store!r} is no path")
    if _URL.match(text):
        raise UnsupportedError(
            "URLs are not opened by themselves",
            path=text,
            hint="pass a zarr Store, such as FsspecStore.from_url(...)",
        )
    return os.path.abspath(text)


def check_place(place: GroupPlace, zarr_format: ZarrFormat, *, overwrite: bool) -> bool:
    """Check that a group of this format may be made somewhere.

    Returns
    -------
    bool
        Whether it replaces one.

    Raises
    ------
    NodeExistsError, UnsafeTargetError, ArgumentError
        As :func:`platestore.xarray.writing.create_multiscale_group` says.
    """
    _check_above(place, zarr_format)
    if place.directory is not None:
        place.storage.check_links(place.path, writing=True)
        if not targets.exists(place.directory):
            return False
    elif not any(True for _ in place.storage.keys(place.path)):
        return False
    if not overwrite:
        raise NodeExistsError(
            "there is something already",
            path=place.where,
            hint="choose another path; overwrite=True replaces an image group",
        )
    _check_replaceable(place)
    return True


def _check_above(place: GroupPlace, zarr_format: ZarrFormat) -> None:
    """Refuse a place inside an array, or inside groups of the other version of zarr."""
    storage, path = place.hierarchy()
    above = path.split("/")[:-1] if path else []
    for depth in range(len(above) + 1) if path else ():
        parent = "/".join(above[:depth])
        kinds: tuple[ZarrFormat, ZarrFormat] = (2, 3)
        if any(read_array(storage, parent, kind) is not None for kind in kinds):
            raise ArgumentError("would lie inside an array", path=storage.where(parent))
        other: ZarrFormat = 3 if zarr_format == 2 else 2
        if group_exists(storage, parent, other) and not group_exists(storage, parent, zarr_format):
            raise ArgumentError(
                f"is a group of zarr v{other}, in which an image of zarr v{zarr_format} would not be found",
                path=storage.where(parent),
                hint=f'ngff_version="{assumed(other).name}"',
            )


def _check_replaceable(place: GroupPlace) -> None:
    """Refuse to replace anything but an image group, or an empty one, that holds nothing of others."""
    storage, path = place.storage, place.path
    if place.directory is not None:
        inner = find_root(os.path.realpath(place.directory))[1]
        if not inner:
            targets.check_replaceable(place.directory, check_name=False)
        elif not os.path.isdir(place.directory) or os.path.islink(place.directory):
            raise UnsafeTargetError("is no directory of its own", path=place.where)
    group = read_group(storage, path)
    if group is None:
        raise UnsafeTargetError(
            "is no zarr group", path=place.where, hint="nothing was deleted; remove it yourself"
        )
    kind = group.kind
    if kind not in ("image", "label") and (kind != "unknown" or storage.list(path)[0]):
        what = "a group with members" if kind == "unknown" else f"a {kind}"
        raise UnsafeTargetError(
            f"is {what}, not an image", path=place.where, hint="nothing was deleted; remove it yourself"
        )
    foreign = list(_foreign(place))
    if foreign:
        raise UnsafeTargetError(
            f"holds what belongs to no zarr store: {', '.join(foreign[:5])}",
            path=place.where,
            hint="nothing was deleted; move it away first",
        )


def _foreign(place: GroupPlace) -> Sequence[str]:
    if place.directory is not None:
        found = targets._foreign_files(place.directory)
        return [os.path.relpath(item, place.directory) for item in found]
    return place.storage.foreign_keys(place.path)
