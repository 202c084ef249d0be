"""A well: the group of its fields of view (positions)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from platestore.nodes.node import NGFFNode, over, shown
from platestore.nodes.position import Position
from platestore.spec.well import WellGroupMeta
from platestore.tree.growth import add_position
from platestore.tree.well import WellEditor


class Well(NGFFNode[WellGroupMeta], editor=WellEditor):
    """A well of a plate.

    Parameters
    ----------
    group : zarr.Group
        The group.
    parse_meta : bool
        Whether to read its metadata.
    channel_names : list of str, optional
        Channel names of new positions.
    axes : list of AxisMeta, optional
        Axes of new positions.
    overwriting_creation : bool
        Whether creating a position that exists replaces it.
    """

    _editor: WellEditor

    def __getitem__(self, key: int | str) -> Any:
        """Get a position by name, or something below it by path.

        Raises
        ------
        NodeKeyError
            If the well lists no such position.
        """
        return super().__getitem__(key)

    def positions(self) -> Iterator[tuple[str, Position]]:
        """Iterate over the positions, in the order of the metadata.

        One that cannot be opened is reported by a warning, and the others follow.

        Yields
        ------
        tuple of str and Position
            Name and node.

        Examples
        --------
        >>> for name, position in plate["A/1"].positions():
        ...     print(name, position["0"].shape)
        0 (1, 2, 4, 64, 64)
        """
        return shown(self._editor.positions())

    def create_position(
        self, name: str, acquisition: int = 0, *, channel_names: Sequence[str] | None = None
    ) -> Position:
        """Create a position.

        Parameters
        ----------
        name : str
            Name of the position, alphanumeric.
        acquisition : int
            Identifier of the acquisition it belongs to.
        channel_names : sequence of str, optional
            Names of its channels, as of another imaging cycle; those of the plate's first position by
            default.

        Returns
        -------
        Position

        Raises
        ------
        NodeExistsError
            If it exists, unless the node was opened with ``overwriting_creation=True``.
        InvalidNameError
            If the name is not alphanumeric.

        Examples
        --------
        >>> position = plate["A/1"].create_position("1")
        >>> position["0"] = np.zeros((1, 2, 4, 64, 64), "uint16")
        >>> plate["A/1"].keys()
        ['0', '1']
        """
        position: Position = over(add_position(self._editor, name, acquisition, channel_names))
        return position

    def __delitem__(self, key: int | str) -> None:
        """Remove a position (its entry first, then its data), or something below it."""
        super().__delitem__(key)
