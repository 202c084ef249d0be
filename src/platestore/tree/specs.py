"""What is to be added to a plate: positions, the array that each gets, or what was built elsewhere."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from platestore.errors import ArgumentError
from platestore.spec.axes import channel_index
from platestore.spec.names import check_field_name, check_image_name
from platestore.spec.plate import MAX_INDEX
from platestore.spec.transforms import TransformationMeta, normalise
from platestore.tree.plate import PlateEditor

if TYPE_CHECKING:
    import numpy.typing as npt

    from platestore.arrays.layout import ArrayLayout
    from platestore.arrays.options import LayoutOptions


@dataclass(frozen=True, slots=True)
class Spec:
    """One position to create."""

    row: str
    column: str
    name: str
    row_index: int | None = None
    column_index: int | None = None
    acquisition: int = 0

    @property
    def well(self) -> str:
        """Path of its well."""
        return f"{self.row}/{self.column}"


@dataclass(frozen=True, slots=True)
class ArrayPlan:
    """The array that every new position gets."""

    name: str
    layout: ArrayLayout
    transform: Sequence[TransformationMeta] | None


def array_plan(
    plate: PlateEditor,
    name: str,
    shape: Sequence[int] | None,
    dtype: npt.DTypeLike | None,
    options: LayoutOptions,
    transform: Sequence[TransformationMeta] | None,
    channel_names: Sequence[str] | None = None,
) -> ArrayPlan:
    """Check what the arrays of a batch shall be."""
    from platestore.arrays.layout import check_integers

    if shape is None or dtype is None:
        raise ArgumentError("shape and dtype must be given together")
    axes, names = plate.axes, plate.channel_names if channel_names is None else channel_names
    full = check_integers(shape, "shape")
    if len(full) != len(axes):
        raise ArgumentError(f"shape {full} has {len(full)} values; there are {len(axes)} axes")
    layout = options.layout(full, dtype, plate.location.zarr_format, [axis.name for axis in axes])
    axis = channel_index(axes)
    if axis is not None and names and layout.shape[axis] > len(names):
        raise ArgumentError(f"the shape has {layout.shape[axis]} channels, but only {len(names)} are named")
    normalise(transform, len(axes))
    return ArrayPlan(check_image_name(name), layout, transform)


def read_spec(item: Any) -> Spec:
    """Check one position specification.

    Raises
    ------
    ArgumentError
        If it is no tuple of 3 to 6 elements, or an index or acquisition is no integer of 0 or more.
    """
    if isinstance(item, (str, bytes)) or not isinstance(item, Sequence) or not 3 <= len(item) <= 6:
        raise ArgumentError(
            f"{item!r} is no position",
            hint="give (row, column, position[, row_index[, column_index[, acquisition]]])",
        )
    row, column, name, *rest = item
    defaults: list[Any] = [None, None, 0]
    row_index, column_index, acquisition = [*rest, *defaults[len(rest) :]]
    return Spec(
        check_field_name(row, "row"),
        check_field_name(column, "column"),
        check_field_name(name, "position"),
        check_index(row_index, "row index", MAX_INDEX),
        check_index(column_index, "column index", MAX_INDEX),
        check_index(acquisition, "acquisition") or 0,
    )


def check_index(value: Any, kind: str, limit: int = 2**31) -> int | None:
    """Check an index or identifier: None, or an integer of 0 or more."""
    if value is None:
        return None
    is_integer = hasattr(value, "__index__") and not isinstance(value, bool)
    if not is_integer or not 0 <= operator.index(value) < limit:
        raise ArgumentError(f"a {kind} must be an integer from 0 to {limit - 1}, not {value!r}")
    return operator.index(value)


@dataclass(frozen=True, slots=True)
class Staged:
    """What was built elsewhere in the store, and is moved into its place before it is listed.

    Attributes
    ----------
    path : str
        Path of a group; if there is none, it is in its place already.
    is_well : bool
        Whether it is a well with its positions, and not one position.
    """

    path: str
    is_well: bool
