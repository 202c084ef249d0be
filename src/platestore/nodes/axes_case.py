"""Names of axes in lower case, in all documents of an image or a plate.

The document of an image changes first, and records that its arrays and label images are to follow; that
of a plate records the same of its positions. Each step can be repeated, so that a later writer completes
what was interrupted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from platestore.errors import ArgumentError
from platestore.nodes import intents
from platestore.spec.axes import AxisMeta
from platestore.spec.own import Intent
from platestore.storage.documents import commit
from platestore.storage.hierarchy import array_key, read_array

if TYPE_CHECKING:
    from collections.abc import Iterable

    from platestore.nodes.draft import Draft
    from platestore.nodes.location import Location
    from platestore.nodes.node import NGFFNode
    from platestore.nodes.plate import Plate
    from platestore.nodes.position import Position

#: The cases that axes can be given.
AxesCase = Literal["lower"]


def check_axes_case(case: object) -> None:
    """Refuse another case than the one there is.

    Raises
    ------
    ArgumentError
        If it is not ``"lower"``.
    """
    if case != "lower":
        raise ArgumentError(f"the case of axes can be 'lower', not {case!r}")


def lowered(axes: Iterable[AxisMeta]) -> list[AxisMeta]:
    """Axes with their names in lower case."""
    return [axis.model_copy(update={"name": axis.name.lower()}) for axis in axes]


def lower_dimensions(content: dict[str, Any]) -> bool:
    """Put the names that an array's document has into lower case; whether any changes."""
    names = content.get("dimension_names")
    if not isinstance(names, list):
        return False
    content["dimension_names"] = [n.lower() if isinstance(n, str) else n for n in names]
    return bool(content["dimension_names"] != names)


def set_position_axes(position: Position) -> None:
    """Put the names of the axes of a position, and of its label images, into lower case."""

    def change(draft: Draft[Any]) -> Intent:
        for image in draft.meta.multiscales:
            image.axes = lowered(image.axes)
        return _record(draft)

    _change(position, change)


def set_plate_axes(plate: Plate) -> None:
    """Put the names of the axes of all positions of a plate into lower case."""

    def change(draft: Draft[Any]) -> Intent:
        if draft.own.axes is not None:
            draft.own.axes = lowered(draft.own.axes)
        return _record(draft)

    _change(plate, change)
    plate.refresh()


def _record(draft: Draft[Any]) -> Intent:
    intent = Intent(operation="axes-case", id=intents.new_id(), path="", target=None)
    draft.add_intent(intent)
    return intent


def _change(node: NGFFNode[Any], change: Any) -> None:
    with node._location.storage.lock(node._location.path):
        node._peek()
        intents.finish(node, node._commit(change, check=False))


def finish_axes_case(node: Position | Plate, intent: Intent) -> None:
    """Let the arrays and label images of a position, or the positions of a plate, follow."""
    from platestore.nodes.plate import Plate

    if isinstance(node, Plate):
        for _, position in node.positions():
            set_position_axes(position)
    else:
        for path in node._state().paths():
            _lower_array(node._location.child(path))
        for _, label in node.labels():
            set_position_axes(label)
    node._commit(lambda draft: draft.drop_intent(intent.id), check=False)


def _lower_array(location: Location) -> None:
    """Put the names in an array's document into lower case, if it has any."""
    storage, path, zarr_format = location.storage, location.path, location.zarr_format
    document = read_array(storage, path, zarr_format)
    if document is not None and lower_dimensions(document.content):
        commit(storage, array_key(path, zarr_format), _lower)


def _lower(content: dict[str, Any]) -> None:
    lower_dimensions(content)
