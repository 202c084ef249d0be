"""Where a copy goes: a directory, an archive, or a place inside a plate that exists."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from platestore.copying.members import own_well
from platestore.copying.place import CopyPlace
from platestore.errors import (
    ArgumentError,
    NodeExistsError,
    ReadOnlyError,
    UnsafeTargetError,
    UnsupportedError,
)
from platestore.storage.base import Durability, StorageOptions
from platestore.storage.local import find_root
from platestore.storage.ozx import find_archive
from platestore.tree.case import check_axis_case
from platestore.tree.editor import AnyEditor
from platestore.tree.growth import grow_plate
from platestore.tree.image import ImageEditor
from platestore.tree.opening import open_editor
from platestore.tree.plate import PlateEditor
from platestore.tree.specs import Staged, read_spec
from platestore.tree.surgery import check_places
from platestore.tree.well import WellEditor

if TYPE_CHECKING:
    from zarr.abc.store import Store
    from zarr.storage import StorePath

    from platestore.storage.zarr_store import ZarrStorage

_SHOWN = 5
# What other programs write: a copy of this name would be taken for one.
_OTHER_FILES = {".tif", ".tiff", ".zip", ".tar", ".gz", ".h5", ".hdf5", ".n5", ".nd2", ".czi", ".lif"}
_OTHER_FILES |= {".png", ".jpg", ".jpeg", ".npy", ".npz", ".csv", ".json", ".xml"}


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a copy goes.

    Attributes
    ----------
    place : CopyPlace
        Its place.
    root : str or None
        The plate that it becomes a part of.
    inner : str
        Its path in that plate.
    made : str
        Its path in a plate that is made for it; the place is then that of the plate.
    store : ZarrStorage or None
        The zarr store that it goes to, which is no directory.
    """

    place: CopyPlace
    root: str | None = None
    inner: str = ""
    made: str = ""
    store: ZarrStorage | None = None

    @property
    def name(self) -> str:
        """Name of a store made here."""
        name = os.path.basename(self.place.final)
        for suffix in (".ozx", ".zarr", ".ome"):
            name = name.removesuffix(suffix)
        return name or "plate"

    def plate(self, durability: Durability, lock_timeout: float = 60.0) -> PlateEditor:
        """Open the plate that the copy becomes a part of."""
        assert self.root is not None
        node = open_editor(self.root, mode="r+", durability=durability, lock_timeout=lock_timeout)
        if not isinstance(node, PlateEditor):
            raise UnsafeTargetError(
                f"lies inside the store {self.root}, which is no plate",
                path=self.place.final,
                hint="name a path of its own",
            )
        return node

    def check_fits(self, node: AnyEditor) -> None:
        """Refuse what cannot become a part of the plate at this path.

        Raises
        ------
        ArgumentError
            If it is neither a position for row/column/field nor a well for row/column.
        """
        inner = self.inner or self.made
        depth = inner.count("/") + 1
        fits = (depth == 3 and isinstance(node, ImageEditor)) or (depth == 2 and isinstance(node, WellEditor))
        if not fits:
            raise ArgumentError(
                f"{inner} in the plate {self.root or self.place.final} cannot hold this",
                path=os.path.join(self.root or self.place.final, *inner.split("/")),
                hint="a position goes to PLATE/row/column/field, a well to PLATE/row/column",
            )
        read_spec((*inner.split("/"), "0")[:3])

    def moves(self, node: AnyEditor) -> tuple[tuple[int | None, str, str], ...]:
        """Where the source goes in the plate that is made for it."""
        well = "" if isinstance(node, ImageEditor) else own_well(node)
        return ((None, "." if isinstance(node, ImageEditor) else well, self.made),)

    def check_store(self, *, overwrite: bool, resume: bool) -> None:
        """Refuse a zarr store that holds something, before anything is written.

        Raises
        ------
        ReadOnlyError
            If it is read-only.
        NodeExistsError, UnsafeTargetError
            If it is not empty, and not to be replaced, or holds what is no part of a store.
        """
        assert self.store is not None
        where = self.store.url
        if resume:
            raise ArgumentError("a copy into a zarr Store is not resumed", path=where, hint="start it anew")
        if self.store.store.read_only:
            raise ReadOnlyError("the store is read-only", path=where, hint="open it for writing")
        if not any(self.store.list("")):
            return
        if not overwrite:
            raise NodeExistsError(
                "the store is not empty", path=where, hint="overwrite=True replaces what it holds"
            )
        foreign = self.store.foreign_keys("")
        if foreign:
            raise UnsafeTargetError(
                f"holds keys that are not part of a zarr store: {', '.join(foreign[:_SHOWN])}",
                path=where,
                hint="nothing was deleted; remove them first",
            )

    def check_free(self, plate: PlateEditor) -> None:
        """Refuse a row or column that the plate cannot have, before anything is copied."""
        row, column = self.inner.split("/")[:2]
        if f"{row}/{column}" not in plate.entries():
            check_places(plate, plate.meta, [(row, column, None, None)])
            check_axis_case(plate.location, plate.meta, [f"{row}/{column}"])

    def add(self, plate: PlateEditor, images: Sequence[tuple[str, int | None]], *, is_well: bool) -> None:
        """Move the finished copy into the plate, and list it.

        Parameters
        ----------
        plate : PlateEditor
            The plate.
        images : sequence of tuple
            Names and acquisitions of the positions.
        is_well : bool
            Whether it is a well.
        """
        row, column = self.inner.split("/")[:2]
        specs = [(row, column, name, None, None, acquisition or 0) for name, acquisition in images]
        assert self.root is not None
        staged = os.path.relpath(self.place.data, self.root).replace(os.sep, "/")
        grow_plate(plate, specs, staged=Staged(staged, is_well))


def find_destination(dst: str | os.PathLike[str] | Store | StorePath) -> Destination:
    """Find out what a destination is.

    Raises
    ------
    ArgumentError
        If it is neither a path nor a zarr store, or is named as a file of another kind.
    UnsupportedError
        If it lies in an archive.
    """
    if not isinstance(dst, (str, bytes, os.PathLike)):
        return _in_store(dst)
    text = os.fspath(dst)
    if not isinstance(text, str) or not text or "\0" in text:
        raise ArgumentError(f"{dst!r} is no path")
    if "://" in text:
        raise UnsupportedError(
            "URLs are no destinations",
            path=text,
            hint="copy into a local directory or archive, or pass a zarr Store (FsspecStore.from_url(...))",
        )
    final = os.path.abspath(text)
    inside = find_archive(os.path.dirname(final))
    if inside is not None:
        raise UnsupportedError(
            "an archive cannot be added to", path=inside[0], hint="unpack it, add to that, and pack it again"
        )
    if final.lower().endswith(".ozx"):
        return Destination(CopyPlace(final, is_archive=True, work=final + ".copying"))
    _check_suffix(final)
    start = final
    while not os.path.isdir(os.path.dirname(start)):
        start = os.path.dirname(start)  # a row that is not there yet
    root, inner = find_root(start)
    if inner:
        inner = os.path.relpath(final, root).replace(os.sep, "/")
    else:
        return _new_store(final)
    # Beside the rows, as the well may not be there yet.
    work = os.path.join(root, f".{inner.replace('/', '-')}.copying")
    return Destination(CopyPlace(final, is_archive=False, work=work, inside=True), root, inner)


def _check_suffix(final: str) -> None:
    """Refuse a name that promises a file of another kind than a store."""
    suffix = os.path.splitext(final)[1].lower()
    if suffix in _OTHER_FILES:
        raise ArgumentError(
            f"a copy is an OME-Zarr store, and no {suffix} file",
            path=final,
            hint="name it NAME.zarr, for a directory, or NAME.ozx, for a zip archive of one (RFC-9)",
        )


def _new_store(final: str) -> Destination:
    """A store of its own, or a part of a plate that is not there yet: ``new.zarr/A/1/0``."""
    above, names = final, list[str]()
    while not above.endswith(".zarr") and os.path.dirname(above) != above:
        above, name = os.path.split(above)
        names.insert(0, name)
    if not names or not above.endswith(".zarr"):
        return Destination(CopyPlace(final, is_archive=False, work=final + ".copying"))
    if os.path.exists(above):
        raise UnsafeTargetError(
            f"lies in {above}, which is no store", path=final, hint="name a path of its own, or a new plate"
        )
    return Destination(CopyPlace(above, is_archive=False, work=above + ".copying"), made="/".join(names))


def _in_store(dst: Any) -> Destination:
    """A zarr store as the destination; a local one is a directory like any other."""
    from zarr.abc.store import Store
    from zarr.storage import LocalStore, StorePath

    from platestore.storage.zarr_store import BranchStorage, ZarrStorage

    store, path = (dst.store, dst.path) if isinstance(dst, StorePath) else (dst, "")
    if not isinstance(store, Store):
        raise ArgumentError(
            f"{dst!r} is no destination", hint="name a path, or pass a zarr Store (MemoryStore(), ...)"
        )
    if isinstance(store, LocalStore):
        return find_destination(os.path.join(str(store.root.absolute()), *filter(None, path.split("/"))))
    options = StorageOptions(read_only=False)
    storage = BranchStorage(store, path, options) if path else ZarrStorage(store, options)
    return Destination(CopyPlace(storage.url, is_archive=False, work=""), store=storage)
