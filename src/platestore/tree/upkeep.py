"""What editors ask of the modules above them: interrupted changes completed, shapes kept together."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from platestore.errors import StoreWarning
from platestore.spec.own import Intent
from platestore.storage.hierarchy import read_group
from platestore.tree import intents
from platestore.tree.editor import AnyEditor
from platestore.tree.image import ImageEditor
from platestore.tree.location import Location
from platestore.tree.plate import PlateEditor

if TYPE_CHECKING:
    from platestore.arrays.image import ShapeKeeper


class TreeUpkeep:
    """The upkeep of every editor: see :class:`platestore.tree.editor.Upkeep`.

    Steps are imported where they are needed: they change arrays, and most stores have nothing unfinished.
    """

    def finish(self, editor: AnyEditor, intent: Intent) -> None:
        """Do, or complete, what an intent says."""
        step = _step(editor, intent.operation)
        if step is None:
            warnings.warn(
                f"{editor.location.where}: an unfinished change {intent.operation!r} is left alone: "
                "this version does not know it",
                StoreWarning,
                stacklevel=3,
            )
        else:
            step(editor, intent)

    def keeper(self, editor: AnyEditor, name: str) -> ShapeKeeper:
        """What changes the shape of a listed array together with what depends on it."""
        from platestore.tree.reshaping import Keeper

        assert isinstance(editor, ImageEditor)
        return Keeper(editor, name)

    def plate_around(self, location: Location, levels: int) -> PlateEditor | None:
        """The plate some levels above a node, if there is one in the same store."""
        above = location.parent(levels)
        if above is None:
            return None
        group = read_group(above.storage, above.path, above.zarr_format)
        if group is None or group.kind != "plate":
            return None
        plate = PlateEditor(above, self)
        plate.load(group)
        return plate


def _step(editor: AnyEditor, operation: str) -> Callable[[Any, Intent], None] | None:
    """What completes an operation."""
    if operation == "replace":
        return intents.finish_replace
    if operation == "delete" and not isinstance(editor, ImageEditor):
        return intents.finish_delete
    from platestore.tree import axes_case, channels, growth, installing, removal, reshaping, surgery

    steps: dict[str, Callable[[Any, Intent], None]] = {
        "delete": removal.finish_delete_image,
        "delete-position": removal.finish_delete_position,
        "move": surgery.finish_move,
        "add-images": growth.finish_add_images,
        "append-channel": channels.finish_append_channel,
        "pyramid": installing.finish_install,
        "axes-case": axes_case.finish_axes_case,
        "resize": reshaping.finish_resize,
    }
    return steps.get(operation)


#: The one that everybody uses: it keeps nothing.
UPKEEP = TreeUpkeep()
