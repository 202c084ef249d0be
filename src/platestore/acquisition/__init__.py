"""Frames as they come from a microscope: safe once they are acknowledged, readable while they are written."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOME = {
    "AcquisitionStream": "streaming",
    "Extent": "extent",
    "Frames": "frames",
    "RecoverReport": "recovery",
    "recover": "recovery",
    "stream": "streaming",
}

__all__ = ["AcquisitionStream", "Extent", "Frames", "RecoverReport", "recover", "stream"]

if TYPE_CHECKING:
    from platestore.acquisition.extent import Extent
    from platestore.acquisition.frames import Frames
    from platestore.acquisition.recovery import RecoverReport, recover
    from platestore.acquisition.streaming import AcquisitionStream, stream


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: what only reads an extent needs no numpy."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
