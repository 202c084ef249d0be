"""Images as labelled arrays: positions and multiscale groups to xarray and back.

The public names are imported when they are first used; xarray itself when something is read or written.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_PUBLIC = {
    "platestore.xarray.positions": ("to_xarray", "write_xarray"),
    "platestore.xarray.reading": ("read_multiscale_array", "read_multiscale_group", "read_multiscale_tree"),
    "platestore.xarray.models": ("ArrayModel", "MultiscaleGroupModel", "model_multiscale_group"),
    "platestore.xarray.writing": ("create_multiscale_group", "write_multiscale_group"),
    "platestore.xarray.wrappers": (
        "ArrayWrapperSpec",
        "BaseArrayWrapper",
        "DaskArrayWrapper",
        "ZarrArrayWrapper",
    ),
    "platestore.xarray.coordinates": ("coords_from_transforms", "transforms_from_coords"),
    "platestore.spec.units": ("normalise_unit",),
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

# Written out, for type checkers that read no code.
__all__ = [
    "ArrayModel",
    "ArrayWrapperSpec",
    "BaseArrayWrapper",
    "DaskArrayWrapper",
    "MultiscaleGroupModel",
    "ZarrArrayWrapper",
    "coords_from_transforms",
    "create_multiscale_group",
    "model_multiscale_group",
    "normalise_unit",
    "read_multiscale_array",
    "read_multiscale_group",
    "read_multiscale_tree",
    "to_xarray",
    "transforms_from_coords",
    "write_multiscale_group",
    "write_xarray",
]


if TYPE_CHECKING:
    from platestore.spec.units import normalise_unit
    from platestore.xarray.coordinates import coords_from_transforms, transforms_from_coords
    from platestore.xarray.models import ArrayModel, MultiscaleGroupModel, model_multiscale_group
    from platestore.xarray.positions import to_xarray, write_xarray
    from platestore.xarray.reading import read_multiscale_array, read_multiscale_group, read_multiscale_tree
    from platestore.xarray.wrappers import (
        ArrayWrapperSpec,
        BaseArrayWrapper,
        DaskArrayWrapper,
        ZarrArrayWrapper,
    )
    from platestore.xarray.writing import create_multiscale_group, write_multiscale_group


def __getattr__(name: str) -> Any:
    module = _HOME.get(name)
    if module is None:
        raise AttributeError(f"module 'platestore.xarray' has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
