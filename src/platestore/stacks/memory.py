"""What memory filling a volume and making its levels takes, before it is done."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from platestore.arrays.layout import ArrayLayout, check_dtype, layout_of, level_layout
from platestore.arrays.sources import Placed, as_source
from platestore.errors import ArgumentError
from platestore.pyramid.levels import plan_build
from platestore.spec.geometry import next_shape
from platestore.stacks.array_spec import AXES, as_document, shard_of, stand_in
from platestore.stacks.filling import document_of
from platestore.stacks.group import MultiScaleGroup, resources_of
from platestore.stacks.methods import kernel_of


def memory_per_slab_process(
    input_data: Any,
    *,
    chunk_size: int | Sequence[int],
    max_memory: int | str | None = None,
    n_processes: int = 1,
) -> int:
    """Bytes by which :meth:`MultiScaleGroup.add_full_res_data` makes the process grow.

    Parameters
    ----------
    input_data : array
        The data: shape (nx, ny, nz).
    chunk_size : int or sequence of int
        Extent of a chunk along z (and, for a number, along x and y).
    max_memory : int or str, optional
        The budget it is given; that of ``platestore.config`` by default.
    n_processes : int
        Number of workers.

    Returns
    -------
    int
        Bytes, at most ``max_memory``.

    Raises
    ------
    BudgetError
        If ``max_memory`` is too small.

    Examples
    --------
    >>> from platestore.stacks import memory_per_slab_process
    >>> data = np.zeros((64, 64, 16), "uint16")
    >>> memory_per_slab_process(data, chunk_size=8, max_memory="1GiB") < 2**30
    True
    """
    source = as_source(input_data)
    if len(source.shape) != len(AXES):
        raise ArgumentError(f"input_data has shape {tuple(source.shape)}; a volume has x, y and z")
    chunks = tuple(chunk_size) if isinstance(chunk_size, Sequence) else (chunk_size,) * len(AXES)
    try:
        sizes = tuple(operator.index(c) for c in chunks)
    except TypeError:
        sizes = ()
    if len(sizes) != len(AXES) or min(sizes) < 1:
        raise ArgumentError(f"chunk_size must be an integer of 1 or more, not {chunk_size!r}")
    shape = tuple(source.shape)
    sizes = tuple(min(c, n) for c, n in zip(sizes, shape, strict=True))
    layout = ArrayLayout(shape, check_dtype(source.dtype), sizes, shard_of(shape, sizes))
    storage = stand_in()
    base = as_document(layout, "0", AXES, 3)
    return plan_build(
        storage,
        base,
        [],
        [],
        "mean",
        resources_of(n_processes, max_memory, None),
        fresh=False,
        data=Placed(source, (0,) * len(shape), shape),
        region=tuple(slice(0, n) for n in shape),
    ).expected


def memory_per_downsample_process(
    input_group: MultiScaleGroup,
    *,
    level: int = 1,
    max_memory: int | str | None = None,
    n_processes: int = 1,
    downsample_func: Any = "mean",
) -> int:
    """Bytes by which :meth:`MultiScaleGroup.add_downsample_level` makes the process grow.

    Parameters
    ----------
    input_group : MultiScaleGroup
        The volume.
    level : int
        The level that is made; its voxels need not be there yet.
    max_memory : int or str, optional
        The budget it is given; that of ``platestore.config`` by default.
    n_processes : int
        Number of workers.
    downsample_func : callable
        How voxels are reduced.

    Returns
    -------
    int
        Bytes, at most ``max_memory``.

    Raises
    ------
    BudgetError
        If ``max_memory`` is too small.

    Examples
    --------
    >>> from platestore.stacks import ArraySpec, MultiScaleGroup, memory_per_downsample_process
    >>> spec = ArraySpec(shape=(64, 64, 16), dtype="uint16", chunks=(32, 32, 8))
    >>> volume = MultiScaleGroup(
    ...     "brain.zarr", name="brain", voxel_size=(0.5, 0.5, 2.0), spatial_unit="um", array_spec=spec
    ... )
    >>> memory_per_downsample_process(volume, level=1, max_memory="1GiB") < 2**30
    True
    """
    if isinstance(level, bool) or not hasattr(level, "__index__") or operator.index(level) < 1:
        raise ArgumentError(f"level must be an integer of 1 or more, not {level!r}", path=input_group.path)
    location = input_group._position.location
    document = document_of(input_group._position, 0)
    layout = layout_of(document.data, location.zarr_format, where=location.where)
    names = [axis.name for axis in input_group._position.axes]
    for _ in range(operator.index(level)):
        factors = tuple(1 if n == 1 else 2 for n in layout.shape)
        above, layout = layout, level_layout(layout, next_shape(layout.shape, factors))
    return plan_build(
        stand_in(),
        as_document(above, "0", names, location.zarr_format),
        [as_document(layout, "1", names, location.zarr_format)],
        [factors],
        kernel_of(downsample_func, layout.dtype),
        resources_of(n_processes, max_memory, None),
        fresh=True,
    ).expected
