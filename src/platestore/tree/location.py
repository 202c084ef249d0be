"""Where a node is: a storage, a path in it, and the versions it is written in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from platestore.spec import versions
from platestore.spec.versions import Adapter, Version, ZarrFormat
from platestore.storage.base import Storage, StorageOptions, join

if TYPE_CHECKING:
    import zarr


@dataclass(frozen=True, slots=True)
class Location:
    """The place of a node.

    Attributes
    ----------
    storage : Storage
        The store.
    path : str
        Path in the store, ``""`` for its root.
    version : {"0.4", "0.5"}
        OME-NGFF version, as it is stated.
    """

    storage: Storage
    path: str
    version: Version

    @property
    def ngff(self) -> Adapter:
        """What the OME-NGFF version is and has."""
        return versions.adapter(self.version)

    @property
    def zarr_format(self) -> ZarrFormat:
        """Version of zarr."""
        return self.ngff.zarr_format

    @property
    def where(self) -> str:
        """The path as users know it."""
        return self.storage.where(self.path)

    @property
    def name(self) -> str:
        """Last segment of the path; the store's own name without its suffix at the root."""
        return self.storage.name_of(self.path)

    def child(self, *segments: str) -> Location:
        """A place below this one."""
        return replace(self, path=join(self.path, *segments))

    def parent(self, levels: int = 1) -> Location | None:
        """A place above this one in the same store, or None beyond its root."""
        segments = self.path.split("/") if self.path else []
        if len(segments) < levels:
            return None
        return replace(self, path="/".join(segments[: len(segments) - levels]))


def storage_of(store: Any, options: StorageOptions) -> Storage:
    """The storage over a zarr store: plain files where it is a local directory."""
    from zarr.storage import LocalStore

    if isinstance(store, LocalStore):
        from platestore.storage.local import LocalStorage

        return LocalStorage(str(store.root.absolute()), options)
    from platestore.storage.zarr_store import ZarrStorage

    return ZarrStorage(store, options)


def location_of(group: zarr.Group) -> Location:
    """The place of a ``zarr.Group``; its ``read_only`` decides whether changes are refused."""
    options = StorageOptions(read_only=group.store_path.read_only or group.store.read_only)
    stated = versions.of(dict(group.attrs), group.metadata.zarr_format)
    return Location(storage_of(group.store, options), group.path, stated.name)
