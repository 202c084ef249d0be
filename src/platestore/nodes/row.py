"""A row of a plate: a group without metadata, between the plate and its wells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from platestore.errors import NodeKeyError
from platestore.nodes.node import NGFFNode
from platestore.nodes.well import Well
from platestore.spec.axes import AxisMeta
from platestore.spec.base import Model
from platestore.spec.findings import Finding
from platestore.spec.names import normalise_key
from platestore.storage.documents import Document
from platestore.storage.hierarchy import Group, attributes_key, read_group

if TYPE_CHECKING:
    from platestore.nodes.plate import Plate


class Row(NGFFNode[Model]):
    """A row of a plate, reached by ``plate["A"]``; its wells are those that the plate lists."""

    def refresh(self) -> Self:
        """Read the row's attributes again; some writers give rows no document at all."""
        location = self._location
        group = read_group(location.storage, location.path, location.zarr_format)
        if group is None:
            key = attributes_key(location.path, location.zarr_format)
            group = Group(location.path, location.zarr_format, Document(key, {}))
        self._load(group)
        return self

    def _parse(self, attributes: Mapping[str, Any]) -> tuple[Model, Any, list[Finding]]:
        return Model(), self._own, []

    def _plate(self) -> Plate:
        from platestore.nodes.plate import Plate, enclosing_plate

        plate = self._owner if isinstance(self._owner, Plate) else enclosing_plate(self._location, 1)
        if plate is None:
            raise NodeKeyError("the row is not part of a plate", path=self._location.where)
        self._owner = plate
        return plate

    @property
    def name(self) -> str:
        """Name of the row."""
        return self._location.name

    def _summary(self) -> str:
        return f" wells={self._keys()}"

    @property
    def channel_names(self) -> list[str]:
        """Channel names of the plate."""
        return self._plate().channel_names

    @property
    def axes(self) -> list[AxisMeta]:
        """Axes of the plate."""
        return self._plate().axes

    def _keys(self) -> list[str]:
        prefix = f"{self.name}/"
        return [path.removeprefix(prefix) for path in self._plate()._entries() if path.startswith(prefix)]

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, (str, int)) or isinstance(key, bool):
            return False
        return f"{self.name}/{str(key).strip('/')}" in self._plate()

    def __getitem__(self, key: int | str) -> Any:
        """Get a well by the name of its column, or something below it by path."""
        return self._plate()[f"{self.name}/{normalise_key(key)}"]

    def __delitem__(self, key: int | str) -> None:
        """Remove a well, or something below it."""
        del self._plate()[f"{self.name}/{normalise_key(key)}"]

    def wells(self) -> Iterator[tuple[str, Well]]:
        """Iterate over the wells of this row.

        Yields
        ------
        tuple of str and Well
            Name of the column and node.
        """
        prefix = f"{self.name}/"
        for path, well in self._plate().wells():
            if path.startswith(prefix):
                yield path.removeprefix(prefix), well
