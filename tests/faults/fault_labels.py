"""The calls that create, replace and remove label images, as cases; see ``fault_cases``."""

from __future__ import annotations

from typing import Any

import numpy as np
import test_pyramid_crashes as pyramids
from fault_cases import Case, Door
from fault_scenes import DirectoryScene, MemoryScene

_PIXELS = (np.arange(np.prod(pyramids.SHAPE)) % 7).reshape(pyramids.SHAPE).astype("uint16")
_OTHER = (_PIXELS + 1) % 5


def _create(name: str, **options: Any) -> Any:
    def act(door: Door) -> None:
        door().create_label(name, _PIXELS, chunks=(1, 1, 1, 4, 4), **options)

    return act


def _replace(door: Door) -> None:
    door(overwriting_creation=True).create_label("cells", _OTHER, chunks=(1, 1, 1, 4, 4))


def _delete(door: Door) -> None:
    door().delete_label("cells")


def _attribute(door: Door) -> None:
    door().get_label("cells").zattrs["note"] = "new"


LABELS = [
    Case("create the first label", "image", _create("nuclei"), loose=True, missing=("label",)),
    Case("create another label", "labelled", _create("nuclei"), loose=True, missing=("label",)),
    Case(
        "create a label with levels",
        "labelled",
        _create("nuclei", pyramid_levels=2),
        loose=True,
        missing=("label",),
    ),
    Case(
        "replace a label",
        "labelled",
        _replace,
        loose=True,
        missing=("label", "position labels/cells", "image labels/cells"),
    ),
    Case("delete_label", "labelled", lambda door: door().delete_label("cells"), loose=True),
    Case(
        "delete_label with levels", "labelled levels", lambda door: door().delete_label("cells"), loose=True
    ),
    Case("create_labels_group", "image", lambda door: door().create_labels_group()),
    Case("attribute of a label", "labelled", _attribute),
]


class _Labels:
    """Looks at what lists the labels, too."""

    def _with_labels(self, out: Any, position: Any, target: Any) -> Any:
        out = super()._with_labels(out, position, target)  # type: ignore[misc]
        out["labels group"] = position.labels_group is not None
        for name, label in position.labels():
            out[f"label {name}"]["note"] = label.zattrs.get("note")
        return out


class DirectoryLabels(_Labels, pyramids._PyramidScene, DirectoryScene):
    """On a directory."""


class MemoryLabels(_Labels, pyramids._PyramidScene, MemoryScene):
    """On a zarr store in memory."""

    def note(self, moment: str, texts: list[str]) -> None:
        # A label grows in its place there; while it is not listed it is in nobody's way.
        unlisted = "opened to write, and still unfinished: labels/nuclei/"
        super().note(moment, [text for text in texts if not text.startswith(unlisted)])
