"""Where a multiscale image is written: a directory, an archive, or any other zarr store.

In a directory or an archive the new image is built beside its place and takes it in one step, so that a
crash leaves the old one or the new one. Other stores cannot exchange two images: there the old one is removed
first, its root's document before all else, and the new root's document is written last.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, MutableMapping
from typing import Any, Protocol

from platestore.arrays.origins import of_store
from platestore.errors import (
    ArgumentError,
    ReadOnlyError,
    UnsafeTargetError,
    UnsupportedError,
)
from platestore.publish import targets
from platestore.spec import versions
from platestore.spec.values import Json
from platestore.storage.archive import ArchiveStorage
from platestore.storage.base import Storage, StorageOptions
from platestore.storage.files import temporary_name
from platestore.storage.hierarchy import read_group
from platestore.storage.local import LocalStorage, find_root
from platestore.storage.ozx import OzxStorage, check_archive, find_archive, is_ozx_name

_READ = StorageOptions()
_WRITE = StorageOptions(read_only=False, lock=False)


class ImagePlace(Protocol):
    """A place for an image.

    Attributes
    ----------
    where : str
        The place as users know it.
    is_archive : bool
        Whether it is an archive: documents come before chunks there, the root's first.
    """

    where: str
    is_archive: bool

    def exists(self) -> bool:
        """Whether there is something."""

    def check(self) -> None:
        """Refuse to replace what is there if it is no store, or must not be touched."""

    def holds(self, origin: Any) -> bool:
        """Whether pixels that come from somewhere come from here."""

    def foreign(self, version: versions.Version) -> Json:
        """Root attributes of others, as they are in a version."""

    def building(self) -> contextlib.AbstractContextManager[Storage]:
        """Storage for the new image, which is thrown away if an error leaves the context."""

    def clear(self) -> None:
        """Make room, where that must be done before anything is written."""

    def install(self, *, overwrite: bool) -> None:
        """Give the new image its place."""


def place_of(store: Any) -> ImagePlace:
    """The place that was passed as ``store=``.

    Raises
    ------
    ArgumentError
        If it is none.
    """
    if isinstance(store, (str, os.PathLike)):
        return _path_place(store)
    from zarr.abc.store import Store
    from zarr.storage import LocalStore, StorePath

    from platestore.multiscales.mappings import MappingStore

    path = ""
    if isinstance(store, StorePath):
        store, path = store.store, store.path
    elif isinstance(store, MutableMapping) and not isinstance(store, Store):
        store = MappingStore(store)
    if not isinstance(store, Store):
        raise ArgumentError(
            f"a store must be a path, a zarr Store or a mapping, not {type(store).__name__}",
            hint="pass the path of a directory, such as 'image.ome.zarr'",
        )
    if isinstance(store, LocalStore):
        return _path_place(os.path.join(str(store.root.absolute()), *filter(None, path.split("/"))))
    if store.read_only:
        raise ReadOnlyError("the store is read-only", path=str(store))
    return StorePlace(store, path)


def _path_place(path: str | os.PathLike[str]) -> ImagePlace:
    text = os.fspath(path)
    if not isinstance(text, str) or not text or "\0" in text:
        raise ArgumentError(f"{path!r} is no path")
    if "://" in text:
        raise UnsupportedError(
            "URLs are not opened by themselves",
            path=text,
            hint="pass a zarr Store, such as FsspecStore.from_url(...)",
        )
    full = os.path.abspath(text)
    if is_ozx_name(full):
        return ArchivePlace(full)
    if find_archive(full) is not None:
        raise UnsupportedError(
            "an archive is written as a whole", path=text, hint="name the archive itself: 'image.ozx'"
        )
    return DirectoryPlace(full)


def _is_below(path: str, directory: str) -> bool:
    """Whether a path is another one, or below it."""
    path, directory = os.path.realpath(path), os.path.realpath(directory)
    return path == directory or path.startswith(directory + os.sep)


class _Beside:
    """A place on this machine, beside which the new image is built."""

    def __init__(self, path: str) -> None:
        self.where = path
        self._building = os.path.join(os.path.dirname(path), temporary_name(os.path.basename(path)))

    def exists(self) -> bool:
        """Whether there is something."""
        return targets.exists(self.where)

    def holds(self, origin: Any) -> bool:
        """Whether a path is this one, or below it."""
        return isinstance(origin, str) and _is_below(origin, self.where)

    def clear(self) -> None:
        """Nothing: the old image stays until the new one takes its place."""

    def _require_apart(self) -> None:
        """Refuse a place inside another store, and one that cannot be made."""
        root, inner = find_root(self.where)
        if inner:
            raise UnsafeTargetError(
                f"would lie inside the store {root}, which would not list it",
                path=self.where,
                hint="write positions through the plate: plate.create_position(...).create_image(...)",
            )
        targets.check_parent(self.where)


class DirectoryPlace(_Beside):
    """A directory.

    Parameters
    ----------
    path : str
        Its absolute path.
    """

    is_archive = False

    def check(self) -> None:
        """Refuse what :func:`platestore.publish.targets.check_replaceable` refuses."""
        if os.path.lexists(self.where):
            targets.check_replaceable(self.where, check_name=False)
        self._require_apart()

    def foreign(self, version: versions.Version) -> Json:
        """Root attributes of others."""
        return _foreign(LocalStorage(self.where, _READ), "", version) if self.exists() else {}

    @contextlib.contextmanager
    def building(self) -> Iterator[Storage]:
        """A hidden directory beside the place."""
        os.makedirs(os.path.dirname(self.where), exist_ok=True)
        try:
            yield LocalStorage(self._building, _WRITE)
        except BaseException:
            shutil.rmtree(self._building, ignore_errors=True)
            raise

    def install(self, *, overwrite: bool) -> None:
        """Exchange the two directories; then the old one is removed."""
        if overwrite and os.path.lexists(self.where):
            targets.check_replaceable(self.where, check_name=False)  # it may be another thing than before
        targets.install(self._building, self.where, replace=overwrite)


class ArchivePlace(_Beside):
    """An ``.ozx`` archive.

    Parameters
    ----------
    path : str
        Its absolute path.
    """

    is_archive = True

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._storage: ArchiveStorage | None = None

    def check(self) -> None:
        """Refuse to replace anything but an archive of a store."""
        self._require_apart()
        if os.path.lexists(self.where):
            check_archive(self.where)

    def foreign(self, version: versions.Version) -> Json:
        """Root attributes of others."""
        return _foreign(OzxStorage(self.where, _READ), "", version) if self.exists() else {}

    @contextlib.contextmanager
    def building(self) -> Iterator[Storage]:
        """A hidden file beside the place."""
        os.makedirs(os.path.dirname(self.where), exist_ok=True)
        try:
            with ArchiveStorage(self._building) as storage:
                self._storage = storage
                yield storage
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._building)
            raise

    def install(self, *, overwrite: bool) -> None:
        """Finish the file, and give it its name."""
        if self._storage is not None:
            self._storage.finish()
            self._storage.close()
        if overwrite:
            self.check()  # it may be another thing than before
        targets.install_file(self._building, self.where, replace=overwrite)


class StorePlace:
    """Any other zarr store, or a group in one.

    Parameters
    ----------
    store : zarr.abc.store.Store
        The store.
    path : str
        Path of the image in it.
    """

    is_archive = False

    def __init__(self, store: Any, path: str) -> None:
        from platestore.storage.zarr_store import ZarrStorage

        self._store = store
        self._whole = ZarrStorage(store, _WRITE)
        if path:
            raise UnsupportedError(
                "images are written to the root of a store", path=str(store), hint="pass a store of its own"
            )
        self.where = self._whole.url

    def exists(self) -> bool:
        """Whether there is a key."""
        return any(True for _ in self._whole.keys(""))

    def check(self) -> None:
        """Refuse a store with keys that are not part of a zarr hierarchy."""
        keys = list(self._whole.keys(""))
        if keys and not {"zarr.json", ".zgroup", ".zarray"} & set(keys):
            raise UnsafeTargetError("holds keys, but is no zarr store", path=self.where)
        foreign = self._whole.foreign_keys("")
        if foreign:
            raise UnsafeTargetError(
                f"holds keys that are not part of a zarr store: {', '.join(foreign[:5])}",
                path=self.where,
                hint="nothing was deleted; remove them first",
            )

    def holds(self, origin: Any) -> bool:
        """Whether it is this store, or one over the same mapping or directory."""
        mine = of_store(self._store)
        if isinstance(origin, str) or isinstance(mine, str):
            return isinstance(origin, str) and isinstance(mine, str) and _is_below(origin, mine)
        return origin is mine or bool(_read_only(origin) == _read_only(mine))

    def foreign(self, version: versions.Version) -> Json:
        """Root attributes of others."""
        return _foreign(self._whole, "", version)

    @contextlib.contextmanager
    def building(self) -> Iterator[Storage]:
        """The store itself; without the root's document, what is in it is no image."""
        yield self._whole

    def clear(self) -> None:
        """Remove what is there, the root's document first."""
        self._whole.remove_tree("")

    def install(self, *, overwrite: bool) -> None:
        """Nothing: the root's document was the last to be written."""


def _read_only(store: Any) -> Any:
    """A store as it compares equal, whether it was opened for writing or not."""
    with contextlib.suppress(NotImplementedError):
        return store.with_read_only(True)
    return store


def _foreign(storage: Storage, path: str, version: versions.Version) -> Json:
    """Root attributes of a store that are neither the specification's nor this library's."""
    group = read_group(storage, path)
    if group is None:
        return {}
    kind, ngff = group.kind, versions.adapter(version)
    attributes = ngff.convert(group.attributes, group.ngff, kind)
    ours = ngff.without_others(attributes, kind)
    return {key: value for key, value in attributes.items() if key not in ours}
