"""The size of voxels, and its units as OME-NGFF names them."""

from __future__ import annotations

from typing import Any, Literal

from platestore.errors import ArgumentError

#: The units of length that OME-NGFF recommends.
SPATIAL_UNIT = Literal[
    "angstrom",
    "attometer",
    "centimeter",
    "decimeter",
    "exameter",
    "femtometer",
    "foot",
    "gigameter",
    "hectometer",
    "inch",
    "kilometer",
    "megameter",
    "meter",
    "micrometer",
    "mile",
    "millimeter",
    "nanometer",
    "parsec",
    "petameter",
    "picometer",
    "terameter",
    "yard",
    "yoctometer",
    "yottameter",
    "zeptometer",
    "zettameter",
]


def check_voxel_size(voxel_size: Any, count: int, what: str) -> tuple[float, ...]:
    """Check the size of a voxel.

    Parameters
    ----------
    voxel_size : sequence of float
        One value per axis.
    count : int
        Number of axes.
    what : str
        Their names, for errors.

    Raises
    ------
    ArgumentError
        If there are more or fewer values, or one is not positive and finite.
    """
    from platestore.spec.transforms import positive_scale

    try:
        values = list(voxel_size)
    except TypeError:
        values = []
    if len(values) != count or isinstance(voxel_size, str):
        raise ArgumentError(f"voxel_size must have {count} values ({what}), not {voxel_size!r}")
    return tuple(positive_scale(value) for value in values)
