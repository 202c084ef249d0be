"""Stacks of planes as sharded volumes with their pyramids.

:func:`import_stack` writes a folder of TIFF files, or an array, as an image of its own or as a position of a
plate; :func:`plan`, :func:`run_job` and :func:`finish` do the same as many jobs. :class:`MultiScaleGroup` is
a volume that is filled slab by slab, and gets one level after the other.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_PUBLIC = {
    "platestore.stacks.array_spec": ("ArraySpec",),
    "platestore.stacks.group": ("MultiScaleGroup", "open_multiscale_group"),
    "platestore.stacks.importing": ("estimate_memory", "import_stack"),
    "platestore.stacks.jobs": ("StackJob", "StackPlan", "finish", "run_job"),
    "platestore.stacks.memory": ("memory_per_downsample_process", "memory_per_slab_process"),
    "platestore.stacks.methods": ("mean", "median", "mode"),
    "platestore.stacks.planes": ("PlanesSource",),
    "platestore.stacks.planning": ("plan",),
    "platestore.stacks.units": ("SPATIAL_UNIT",),
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = [
    "SPATIAL_UNIT",
    "ArraySpec",
    "MultiScaleGroup",
    "PlanesSource",
    "StackJob",
    "StackPlan",
    "estimate_memory",
    "finish",
    "import_stack",
    "mean",
    "median",
    "memory_per_downsample_process",
    "memory_per_slab_process",
    "mode",
    "open_multiscale_group",
    "plan",
    "run_job",
]


if TYPE_CHECKING:
    from platestore.stacks.array_spec import ArraySpec
    from platestore.stacks.group import MultiScaleGroup, open_multiscale_group
    from platestore.stacks.importing import estimate_memory, import_stack
    from platestore.stacks.jobs import StackJob, StackPlan, finish, run_job
    from platestore.stacks.memory import memory_per_downsample_process, memory_per_slab_process
    from platestore.stacks.methods import mean, median, mode
    from platestore.stacks.planes import PlanesSource
    from platestore.stacks.planning import plan
    from platestore.stacks.units import SPATIAL_UNIT


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """All public names, imported or not."""
    return sorted(__all__)
