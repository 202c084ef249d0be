"""Multiscale images in the words of ngff-zarr: generate levels lazily, write and read them.

The names are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_PUBLIC = {
    "platestore.multiscales.methods": ("Methods",),
    "platestore.multiscales.model": ("Metadata", "NgffImage"),
    "platestore.spec.orientation": (
        "LPS",
        "RAS",
        "AnatomicalOrientation",
        "AnatomicalOrientationValues",
    ),
    "platestore.multiscales.images": ("to_ngff_image",),
    "platestore.multiscales.generate": ("to_multiscales",),
    "platestore.multiscales.ngff": (
        "DASK_SUPPORTS_SHARDING",
        "IS_ZARR_V3_PLUS",
        "Multiscales",
        "NgffMultiscales",
        "from_ngff_zarr",
        "from_ome_zarr",
        "to_ngff_zarr",
        "to_ome_zarr",
        "zarr_version",
    ),
    "platestore.multiscales.progress": ("NgffProgress", "NgffProgressCallback"),
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

# Written out, for type checkers that read no code.
__all__ = [
    "DASK_SUPPORTS_SHARDING",
    "IS_ZARR_V3_PLUS",
    "LPS",
    "RAS",
    "AnatomicalOrientation",
    "AnatomicalOrientationValues",
    "Metadata",
    "Methods",
    "Multiscales",
    "NgffImage",
    "NgffMultiscales",
    "NgffProgress",
    "NgffProgressCallback",
    "from_ngff_zarr",
    "from_ome_zarr",
    "to_multiscales",
    "to_ngff_image",
    "to_ngff_zarr",
    "to_ome_zarr",
    "zarr_version",
]


if TYPE_CHECKING:
    from platestore.multiscales.generate import to_multiscales
    from platestore.multiscales.images import to_ngff_image
    from platestore.multiscales.methods import Methods
    from platestore.multiscales.model import Metadata, NgffImage
    from platestore.multiscales.ngff import (
        DASK_SUPPORTS_SHARDING,
        IS_ZARR_V3_PLUS,
        Multiscales,
        NgffMultiscales,
        from_ngff_zarr,
        from_ome_zarr,
        to_ngff_zarr,
        to_ome_zarr,
        zarr_version,
    )
    from platestore.multiscales.progress import NgffProgress, NgffProgressCallback
    from platestore.spec.orientation import (
        LPS,
        RAS,
        AnatomicalOrientation,
        AnatomicalOrientationValues,
    )


def __getattr__(name: str) -> Any:
    module = _HOME.get(name)
    if module is None:
        raise AttributeError(f"module 'platestore.multiscales' has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
