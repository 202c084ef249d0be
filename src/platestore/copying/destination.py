"""Where a copy goes: a directory, an archive, or a place inside a plate that exists."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from platestore.copying.place import Place
from platestore.errors import ArgumentError, UnsafeTargetError, UnsupportedError
from platestore.nodes.case import check_axis_case
from platestore.nodes.growth import grow_plate
from platestore.nodes.node import NGFFNode
from platestore.nodes.plate import Plate
from platestore.nodes.position import Position
from platestore.nodes.specs import Staged, read_spec
from platestore.nodes.surgery import check_places
from platestore.nodes.well import Well
from platestore.opening import open_ome_zarr
from platestore.storage.base import Durability
from platestore.storage.local import find_root
from platestore.storage.ozx import find_archive


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a copy goes.

    Attributes
    ----------
    place : Place
        Its place.
    root : str or None
        The plate that it becomes a part of.
    inner : str
        Its path in that plate.
    """

    place: Place
    root: str | None = None
    inner: str = ""

    @property
    def name(self) -> str:
        """Name of a store made here."""
        name = os.path.basename(self.place.final)
        for suffix in (".ozx", ".zarr", ".ome"):
            name = name.removesuffix(suffix)
        return name or "plate"

    def plate(self, durability: Durability) -> Plate:
        """Open the plate that the copy becomes a part of."""
        assert self.root is not None
        node = open_ome_zarr(self.root, mode="r+", durability=durability)
        if not isinstance(node, Plate):
            raise UnsafeTargetError(
                f"lies inside the store {self.root}, which is no plate",
                path=self.place.final,
                hint="name a path of its own",
            )
        return node

    def check_fits(self, node: NGFFNode[Any]) -> None:
        """Refuse what cannot become a part of the plate at this path.

        Raises
        ------
        ArgumentError
            If it is neither a position for row/column/field nor a well for row/column.
        """
        depth = self.inner.count("/") + 1
        fits = (depth == 3 and isinstance(node, Position)) or (depth == 2 and isinstance(node, Well))
        if not fits:
            raise ArgumentError(
                f"{self.inner} in the plate {self.root} cannot hold this",
                path=self.place.final,
                hint="a position goes to PLATE/row/column/field, a well to PLATE/row/column",
            )
        read_spec((*self.inner.split("/"), "0")[:3])

    def check_free(self, plate: Plate) -> None:
        """Refuse a row or column that the plate cannot have, before anything is copied."""
        row, column = self.inner.split("/")[:2]
        if f"{row}/{column}" not in plate._entries():
            check_places(plate, plate._state(), [(row, column, None, None)])
            check_axis_case(plate._location, plate._state(), [f"{row}/{column}"])

    def add(self, plate: Plate, images: Sequence[tuple[str, int | None]], *, is_well: bool) -> None:
        """Move the finished copy into the plate, and list it.

        Parameters
        ----------
        plate : Plate
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


def find_destination(dst: str | os.PathLike[str]) -> Destination:
    """Find out what a destination is.

    Raises
    ------
    ArgumentError
        If it is no path.
    UnsupportedError
        If it lies in an archive.
    """
    text = os.fspath(dst)
    if not isinstance(text, str) or not text or "\0" in text:
        raise ArgumentError(f"{dst!r} is no path")
    if "://" in text:
        raise UnsupportedError(
            "URLs are no destinations", path=text, hint="copy into a local directory or archive"
        )
    final = os.path.abspath(text)
    inside = find_archive(os.path.dirname(final))
    if inside is not None:
        raise UnsupportedError(
            "an archive cannot be added to", path=inside[0], hint="unpack it, add to that, and pack it again"
        )
    if final.lower().endswith(".ozx"):
        return Destination(Place(final, is_archive=True, work=final + ".copying"))
    start = final
    while not os.path.isdir(os.path.dirname(start)):
        start = os.path.dirname(start)  # a row that is not there yet
    root, inner = find_root(start)
    if inner:
        inner = os.path.relpath(final, root).replace(os.sep, "/")
    else:
        return Destination(Place(final, is_archive=False, work=final + ".copying"))
    # Beside the rows, as the well may not be there yet.
    work = os.path.join(root, f".{inner.replace('/', '-')}.copying")
    return Destination(Place(final, is_archive=False, work=work, inside=True), root, inner)
