"""A stack as an image, in one call."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from platestore.progress import Progress, shown
from platestore.resources import check_workers
from platestore.stacks.drafting import Home, VolumeOptions, make_draft, space_axes
from platestore.stacks.intake import take
from platestore.stacks.planning import needed_memory, plan

if TYPE_CHECKING:
    from platestore.nodes.position import Position


def import_stack(
    planes: Any,
    out: str | os.PathLike[str],
    *,
    voxel_size: Sequence[float],
    spatial_unit: str = "micrometer",
    name: str | None = None,
    channel_name: str | Sequence[str] | None = None,
    chunks: Sequence[int] | None = None,
    shards: Any = None,
    compressor: str | None = None,
    levels: int | str = "auto",
    method: str = "mean",
    version: str | None = None,
    block: int | Sequence[tuple[int, int]] | None = None,
    max_memory: int | str | None = None,
    workers: int | None = None,
    progress: bool | Progress | None = None,
    overwrite: bool = False,
    resume: bool = False,
) -> Position:
    """Write a stack of planes as an image with its levels.

    The planes are read once, slab by slab, within ``max_memory``; full resolution and levels are written
    while they pass by. The image grows beside its place, and gets its name when it is complete. What an
    interruption leaves is continued by ``resume``, block by block.

    Parameters
    ----------
    planes : path, list of paths, or array
        A folder, pattern or list of TIFF files of one plane each, in the order of the numbers in their names;
        a pattern that says what varies (``"raw/T{t}_{c}_Z{z}.tif"``: ``{t}`` and ``{z}`` are numbers, ``{c}``
        is a number or the name of a channel; without ``{z}``, files may hold planes along Z); a folder of
        Micro-Manager's single planes; one TIFF file of several planes; a zarr array or its path; or any array
        (dask, numpy, HDF5, ...) with the axes (z, y, x), (c, z, y, x) or (t, c, z, y, x).
    out : path
        A new OME-Zarr image; or a position of a plate that exists (``PLATE.zarr/B/2/0``), which is created,
        or has no image yet.
    voxel_size : sequence of float
        Size of a voxel along z, y and x.
    spatial_unit : str
        Its unit, one of :data:`SPATIAL_UNIT`.
    name : str, optional
        Name of the image; that of the store by default.
    channel_name : str or list of str, optional
        Name of the channel, or names of all. By default those in the names of the files, or of the plate, if
        it has as many.
    chunks : sequence of int, optional
        Shape of a chunk, of all axes or of the last ones; up to (64, 128, 128) by default, thinner where
        planes are large and ``max_memory`` small.
    shards : sequence of int, str or int, optional
        As for :meth:`Position.create_image`; ``"none"`` for none. By default none in 0.4; in 0.5 one chunk
        thick, and as wide as the plane, up to 1 GiB.
    compressor : str, optional
        As for :meth:`Position.create_image`.
    levels : int or "auto"
        Number of levels, that of full resolution included; "auto" adds levels until Y and X are at most 256.
    method : {"mean", "gaussian", "median", "mode", "min", "max", "stride"}
        How voxels are reduced.
    version : {"0.4", "0.5"}, optional
        OME-NGFF version; that of the plate, otherwise 0.4, or 0.5 where ``shards`` are asked for.
    block : int, or sequence of (start, stop), optional
        Planes after which the work so far is noted down, for ``resume``, as for :func:`plan`.
    max_memory : int or str, optional
        Bytes by which the process may grow; that of ``platestore.config`` by default.
    workers : int, optional
        Number of threads; that of ``platestore.config`` by default.
    progress : bool or callable, optional
        Whether a bar is shown; or called with the bytes done and the total.
    overwrite : bool
        Whether a store that is there is replaced when the new one is complete.
    resume : bool
        Whether an unfinished import is continued.

    Returns
    -------
    Position
        The image.

    Raises
    ------
    ImportError
        If TIFF files are named and tifffile is not installed.
    ArgumentError
        If planes differ in shape or type, one in the middle is missing, the names of files vary in more than
        one number and no pattern says what they are, or an argument is wrong.
    NodeExistsError, UnsafeTargetError
        If something is there.
    BudgetError
        If ``max_memory`` is too small.
    DamagedChunkError
        If a plane cannot be read; the message names the file.

    Examples
    --------
    >>> from platestore.stacks import import_stack
    >>> stack = import_stack("raw/plane_*.tif", "stack.zarr", voxel_size=(2.0, 0.5, 0.5), levels=2)
    >>> [image.shape for _, image in stack.images()]
    [(1, 1, 8, 64, 64), (1, 1, 4, 32, 32)]
    >>> planes = np.zeros((2, 4, 64, 64), "uint16")  # c, z, y, x
    >>> stack = import_stack(planes, "plate.zarr/C/3/0", voxel_size=(2.0, 0.5, 0.5))
    >>> stack.scale
    [1.0, 1.0, 2.0, 0.5, 0.5]
    """
    if workers is not None:
        check_workers(workers)
    options: dict[str, Any] = {"max_memory": max_memory, "workers": workers}
    with shown(progress, "importing") as show:
        prepared = plan(
            planes,
            out,
            voxel_size=voxel_size,
            spatial_unit=spatial_unit,
            name=name,
            channel_name=channel_name,
            chunks=chunks,
            shards=shards,
            compressor=compressor,
            levels=levels,
            method=method,
            version=version,
            block=block,
            max_memory=max_memory,
            overwrite=overwrite,
            resume=resume,
        )
        before, total = 0, prepared.nbytes
        for job in prepared.jobs:
            if not job.done:
                prepared.run(job.index, progress=_after(show, before, total), **options)
            before += total * (job.stop - job.start) // prepared.shape[prepared._content["axis"]]
        position = prepared.finish(**options)
        if show is not None:
            show(total, total)
    return position


def _after(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Progress of one block as progress of all."""
    if progress is None:
        return None
    return lambda done, _: progress(min(total, before + done), total)


def estimate_memory(
    planes: Any,
    *,
    chunks: Sequence[int] | None = None,
    shards: Any = None,
    levels: int | str = "auto",
    method: str = "mean",
    version: str | None = None,
    max_memory: int | str | None = None,
    workers: int | None = None,
) -> int:
    """Bytes by which :func:`import_stack` makes the process grow.

    Parameters
    ----------
    planes, chunks, shards, levels, method, version, max_memory, workers
        As for :func:`import_stack`.

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
    >>> from platestore.stacks import estimate_memory
    >>> estimate_memory("raw", max_memory="1GiB") < 2**30
    True
    """
    options = VolumeOptions(
        (1, 1, 1),
        chunks=chunks,
        shards=shards,
        levels=levels,
        method=method,
        version=version,
        max_memory=max_memory,
    )
    home = Home(space_axes("micrometer"), None, options.new_version, "image")
    draft = make_draft(take(planes), home, options, where="")
    return needed_memory(draft, method, options.budget, workers)
