"""A plate: rows, columns, wells and their positions."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from platestore.arrays.options import LayoutOptions
from platestore.copying.api import plate_from_positions
from platestore.nodes.node import NGFFNode, over, shown
from platestore.nodes.position import Position
from platestore.nodes.row import Row
from platestore.nodes.well import Well
from platestore.spec.axes import AxisMeta
from platestore.spec.plate import PlateMeta
from platestore.tree.axes_case import check_axes_case, lower_axes
from platestore.tree.growth import add_well, count_fields, grow_plate
from platestore.tree.plate import PlateEditor
from platestore.tree.specs import array_plan
from platestore.tree.surgery import rename_well

if TYPE_CHECKING:
    import numpy.typing as npt

    from platestore.arrays.codecs import CompressorLike
    from platestore.arrays.layout import Shards
    from platestore.spec.transforms import TransformationMeta

#: ``(row, column, position[, row_index[, column_index[, acquisition]]])``
PositionSpec: TypeAlias = (
    tuple[str, str, str]
    | tuple[str, str, str, int | None]
    | tuple[str, str, str, int | None, int | None]
    | tuple[str, str, str, int | None, int | None, int]
)


class Plate(NGFFNode[PlateMeta], editor=PlateEditor):
    """The root of a high-content-screening hierarchy: plate / row / column (well) / position.

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
        Whether creating a well or position that exists replaces it.

    Notes
    -----
    Navigation follows the metadata: rows, then columns, by their places on the plate, whatever the order of
    creation. Iterating over a plate gives the names of its rows.
    """

    _editor: PlateEditor

    @property
    def channel_names(self) -> list[str]:
        """Channel names of the first position, or those the plate was created with.

        New positions get them. Positions may have others (``create_position(..., channel_names=)``, merged
        imaging cycles): ``position.channel_names`` tells.
        """
        return super().channel_names

    @property
    def axes(self) -> list[AxisMeta]:
        """Axes of the first position, or those the plate was created with."""
        return super().axes

    # --- members ----------------------------------------------------------------------------------

    def __getitem__(self, key: str | int | tuple[str | int, ...]) -> Any:
        """Get a row (``"A"``), well (``"A/1"``), position (``"A/1/0"``) or array (``"A/1/0/0"``).

        Parameters
        ----------
        key : str or tuple
            A path by the metadata. A well may also be written ``"A1"``, ``("A", 1)`` or, whatever zeros the
            plate puts before its numbers, ``"A/01"``; what is listed literally goes first.

        Raises
        ------
        NodeKeyError
            If the metadata lists no such member.
        DanglingError
            If it is listed, but not there.
        """
        return super().__getitem__(key)

    def _ipython_key_completions_(self) -> list[str]:
        """Keys that IPython offers: rows and wells."""
        return [*self._editor.names(), *self._editor.entries()]

    def rows(self) -> Iterator[tuple[str, Row]]:
        """Iterate over the rows that have wells, in the order of the plate.

        Yields
        ------
        tuple of str and Row
            Name and node.

        Examples
        --------
        >>> for name, row in plate.rows():
        ...     print(name, row.keys())
        A ['1']
        B ['2']
        """
        return ((name, self[name]) for name in self._editor.names())

    def wells(self) -> Iterator[tuple[str, Well]]:
        """Iterate over the wells: along the rows, then the columns of the plate.

        One that cannot be opened is reported by a warning, and the others follow.

        Yields
        ------
        tuple of str and Well
            Path (``"A/1"``) and node.

        Examples
        --------
        >>> for path, well in plate.wells():
        ...     print(path, well.keys())
        A/1 ['0']
        B/2 ['0']
        """
        return shown(self._editor.wells())

    def positions(self) -> Iterator[tuple[str, Position]]:
        """Iterate over the positions: along rows, then columns, in each well in the order of its metadata.

        One that cannot be opened is reported by a warning, and the others follow.

        Yields
        ------
        tuple of str and Position
            Path (``"A/1/0"``) and node.

        Examples
        --------
        >>> for path, position in plate.positions():
        ...     print(path, position.channel_names, position["0"].shape)
        A/1/0 ['DAPI', 'GFP'] (1, 2, 4, 64, 64)
        B/2/0 ['DAPI', 'GFP'] (1, 2, 4, 64, 64)
        """
        return shown(self._editor.positions())

    def set_axes_case(self, case: Literal["lower"]) -> None:
        """Put the names of axes into lower case in all positions: see :meth:`Position.set_axes_case`.

        Positions that cannot be opened are warned of, and left alone.

        Examples
        --------
        >>> axes = [ps.ChannelAxisMeta(name="C"), *(ps.SpaceAxisMeta(name=name) for name in "ZYX")]
        >>> plate = ps.open_ome_zarr("old.zarr", "hcs", mode="w-", channel_names=["DAPI"], axes=axes)
        >>> plate.create_position("A", "1", "0")["0"] = np.zeros((1, 4, 64, 64), "uint16")
        >>> plate.set_axes_case("lower")
        >>> [axis.name for axis in plate.axes]
        ['c', 'z', 'y', 'x']
        """
        check_axes_case(case)
        lower_axes(self._editor)
        self.refresh()

    # --- creation ---------------------------------------------------------------------------------

    def create_well(
        self, row_name: str, col_name: str, row_index: int | None = None, col_index: int | None = None
    ) -> Well:
        """Create a well without positions.

        Parameters
        ----------
        row_name, col_name : str
            Names of the row and column, alphanumeric.
        row_index, col_index : int, optional
            Their indices; by default names are listed in order of creation.

        Returns
        -------
        Well

        Raises
        ------
        NodeExistsError
            If it exists, unless the plate was opened with ``overwriting_creation=True``.
        InvalidNameError
            If a name is not alphanumeric.

        Examples
        --------
        >>> well = plate.create_well("C", "3")
        >>> position = well.create_position("0")
        >>> [path for path, _ in plate.wells()]
        ['A/1', 'B/2', 'C/3']
        """
        add_well(self._editor, row_name, col_name, row_index, col_index)
        well: Well = self[f"{row_name}/{col_name}"]
        return well

    def create_position(
        self,
        row_name: str,
        col_name: str,
        pos_name: str,
        row_index: int | None = None,
        col_index: int | None = None,
        acq_index: int = 0,
        *,
        channel_names: Sequence[str] | None = None,
    ) -> Position:
        """Create a position, and its well if that is new.

        Parameters
        ----------
        row_name, col_name, pos_name : str
            Names of the row, column and position, alphanumeric.
        row_index, col_index : int, optional
            Indices of the row and column; by default names are listed in order of creation.
        acq_index : int
            Identifier of the acquisition.
        channel_names : sequence of str, optional
            Names of its channels, as of another imaging cycle; :attr:`channel_names` by default.

        Returns
        -------
        Position
            The position, without an image.

        Raises
        ------
        NodeExistsError
            If it exists, unless the plate was opened with ``overwriting_creation=True``.
        InvalidNameError
            If a name is not alphanumeric.

        Examples
        --------
        >>> position = plate.create_position("C", "3", "0")
        >>> position["0"] = np.zeros((1, 2, 4, 64, 64), "uint16")
        >>> [path for path, _ in plate.positions()]
        ['A/1/0', 'B/2/0', 'C/3/0']
        """
        spec = (row_name, col_name, pos_name, row_index, col_index, acq_index)
        return self.create_positions([spec], channel_names=channel_names)[0]

    def create_positions(
        self,
        positions: Sequence[PositionSpec],
        shape: Sequence[int] | None = None,
        dtype: npt.DTypeLike | None = None,
        chunks: Sequence[int] | None = None,
        shards_ratio: Sequence[int] | None = None,
        transform: list[TransformationMeta] | None = None,
        image: str = "0",
        *,
        shards: Shards | None = None,
        compressor: CompressorLike | None = None,
        checksum: bool = False,
        channel_names: Sequence[str] | None = None,
    ) -> list[Position]:
        """Create many positions in one step: all of them are listed, or none.

        Parameters
        ----------
        positions : list of tuple
            ``(row, column, position)``, optionally followed by the row index, the column index and the
            acquisition.
        shape : sequence of int, optional
            If given, each position also gets an array of zeros of this shape.
        dtype : dtype-like, optional
            Data type of the arrays; needed with ``shape``.
        chunks, shards_ratio, transform, shards, compressor, checksum
            As for :meth:`Position.create_zeros`.
        image : str
            Name of the arrays.
        channel_names : sequence of str, optional
            Names of the channels of these positions; :attr:`channel_names` by default.

        Returns
        -------
        list of Position
            In the order of ``positions``.

        Raises
        ------
        NodeExistsError
            If one exists, unless the plate was opened with ``overwriting_creation=True``.
        ArgumentError, InvalidNameError
            If a specification is wrong. In either case nothing was created.

        Examples
        --------
        >>> places = [("C", "1", "0"), ("C", "2", "0")]
        >>> new = plate.create_positions(places, shape=(1, 2, 4, 64, 64), dtype="uint16")
        >>> [path for path, _ in plate.positions()]
        ['A/1/0', 'B/2/0', 'C/1/0', 'C/2/0']
        >>> new[0]["0"][:] = 7
        """
        plate, planned = self._editor, None
        if shape is not None or dtype is not None:
            layout = LayoutOptions(chunks, shards_ratio, shards, compressor, checksum)
            planned = array_plan(plate, image, shape, dtype, layout, transform, channel_names)
        made = grow_plate(
            plate, positions, planned=planned, overwriting=plate.overwriting, channel_names=channel_names
        )
        return [over(position) for position in made]

    @classmethod
    def from_positions(
        cls, store_path: str | os.PathLike[str], positions: Mapping[str, Position], **options: Any
    ) -> Plate:
        """Create a plate from positions of other stores, with their images, labels and metadata.

        Arrays are copied as files where they can be; see :func:`platestore.copy`.

        Parameters
        ----------
        store_path : path
            The new store.
        positions : mapping of str to Position
            The positions, by their new places (``"A/1/0"``). They have the same channels and axes.
        **options
            As for :func:`platestore.copy`.

        Returns
        -------
        Plate
            The new plate, opened for reading and writing.

        Raises
        ------
        ArgumentError
            If a place is none, or channels or axes differ.
        NodeExistsError
            If the store exists.

        Examples
        --------
        >>> new = ps.Plate.from_positions("new.zarr", {"C/1/0": plate["A/1/0"], "C/2/0": plate["B/2/0"]})
        >>> [path for path, _ in new.positions()]
        ['C/1/0', 'C/2/0']
        """
        plate: Plate = over(plate_from_positions(store_path, positions, options))
        return plate

    def dump_meta(self, field_count: bool = False) -> None:
        """Write the metadata model, with the edits made to it.

        Parameters
        ----------
        field_count : bool
            Whether to count the fields of every well and write the largest number as ``plate.field_count``.
            Plates that are created here say it already; in those of others it is counted with this.

        Examples
        --------
        >>> plate.metadata.field_count = None
        >>> plate.dump_meta(field_count=True)
        >>> plate.metadata.field_count
        1
        """
        if field_count:
            count_fields(self._editor)
        else:
            super().dump_meta()

    # --- renaming and removing --------------------------------------------------------------------

    def rename_well(self, old: str, new: str) -> None:
        """Rename a well, within its row or across rows; no other well is touched.

        Parameters
        ----------
        old, new : str
            Present and new path, such as ``"A/1"`` and ``"B/2"``.

        Raises
        ------
        NodeNotFoundError
            If there is no well ``old``.
        NodeExistsError
            If there is a well ``new`` already.
        InvalidNameError
            If ``new`` is no path of two alphanumeric names.

        Examples
        --------
        >>> plate.rename_well("A/1", "A/3")
        >>> [path for path, _ in plate.wells()]
        ['A/3', 'B/2']
        """
        rename_well(self._editor, old, new)

    def __delitem__(self, key: str | int | tuple[str | int, ...]) -> None:
        """Remove a row, a well, a position or an image: its entry first, then its data."""
        super().__delitem__(key)
