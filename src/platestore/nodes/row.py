"""A row of a plate: a group without metadata, between the plate and its wells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from platestore.nodes.node import NGFFNode, shown
from platestore.nodes.well import Well
from platestore.spec.base import Model
from platestore.tree.plate import RowEditor


class Row(NGFFNode[Model], editor=RowEditor):
    """A row of a plate, reached by ``plate["A"]``; its wells are those that the plate lists."""

    _editor: RowEditor

    @property
    def name(self) -> str:
        """Name of the row."""
        return self._editor.name

    def __getitem__(self, key: int | str) -> Any:
        """Get a well by the name of its column, or something below it by path."""
        return super().__getitem__(key)

    def __delitem__(self, key: int | str) -> None:
        """Remove a well, or something below it."""
        super().__delitem__(key)

    def wells(self) -> Iterator[tuple[str, Well]]:
        """Iterate over the wells of this row.

        Yields
        ------
        tuple of str and Well
            Name of the column and node.

        Examples
        --------
        >>> for column, well in plate["A"].wells():
        ...     print(column, well.keys())
        1 ['0']
        """
        return shown(self._editor.wells())
