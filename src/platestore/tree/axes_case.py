"""Names of axes in lower case, in all documents of an image or a plate.

The document of an image changes first, and records that its arrays and label images are to follow; that
of a plate records the same of its positions. Each step can be repeated, so that a later writer completes
what was interrupted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from platestore.errors import ArgumentError
from platestore.spec.axes import AxisMeta
from platestore.spec.own import Intent
from platestore.spec.values import Json
from platestore.storage.documents import commit
from platestore.storage.hierarchy import array_key, read_array
from platestore.tree import intents
from platestore.tree.editor import AnyEditor, Draft
from platestore.tree.image import ImageEditor
from platestore.tree.location import Location
from platestore.tree.plate import PlateEditor

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


def lower_dimensions(content: Json) -> bool:
    """Put the names that an array's document has into lower case; whether any changes."""
    names = content.get("dimension_names")
    if not isinstance(names, list):
        return False
    content["dimension_names"] = [n.lower() if isinstance(n, str) else n for n in names]
    return bool(content["dimension_names"] != names)


def lower_axes(editor: AnyEditor) -> None:
    """Put the names of the axes of a position, or of all positions of a plate, into lower case."""

    def change(draft: Draft[Any]) -> Intent:
        for image in getattr(draft.meta, "multiscales", ()):
            image.axes = lowered(image.axes)
        if draft.own.axes is not None:
            draft.own.axes = lowered(draft.own.axes)
        intent = Intent(operation="axes-case", id=intents.new_id(), path="", target=None)
        draft.add_intent(intent)
        return intent

    with editor.location.storage.lock(editor.location.path):
        editor.peek()
        editor.finish(editor.commit(change, check=False))


def finish_axes_case(editor: AnyEditor, intent: Intent) -> None:
    """Let the arrays and label images of a position, or the positions of a plate, follow."""
    if isinstance(editor, PlateEditor):
        for _, position in editor.positions():
            lower_axes(position)
    elif isinstance(editor, ImageEditor):
        for path in editor.meta.paths():
            _lower_array(editor.location.child(path))
        for _, label in editor.labels():
            lower_axes(label)
    editor.drop_intent(intent)


def _lower_array(location: Location) -> None:
    """Put the names in an array's document into lower case, if it has any."""
    storage, path, zarr_format = location.storage, location.path, location.zarr_format
    document = read_array(storage, path, zarr_format)
    if document is not None and lower_dimensions(document.content):
        commit(storage, array_key(path, zarr_format), _lower)


def _lower(content: Json) -> None:
    lower_dimensions(content)
