"""From arrays to a build: how each level is read and written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from platestore.arrays.chunkarrays import ArrayReader, ArrayWriter
from platestore.arrays.chunkcodec import chunk_format
from platestore.arrays.chunkfiles import ChunkReader, ChunkWriter
from platestore.arrays.grid import array_grid, warn_misnamed
from platestore.arrays.image import ImageArray, open_array
from platestore.arrays.sources import Source
from platestore.arrays.stored import stored_source
from platestore.arrays.types import Pixels
from platestore.errors import ArgumentError
from platestore.pyramid.build import PyramidBuild
from platestore.pyramid.kernels import Method, check_method
from platestore.pyramid.stepwise import StepwiseBuild
from platestore.pyramid.targets import LevelTarget, Reader, Writer
from platestore.resources import Resources
from platestore.spec.reductions import reduction
from platestore.storage.base import Storage, join
from platestore.storage.hierarchy import ArrayDocument

Factors = tuple[int, ...]
#: What makes the levels: ``needed`` and ``expected`` bytes, and ``run(progress)``.
Build: TypeAlias = PyramidBuild | StepwiseBuild


def make_levels(
    storage: Storage,
    base: ArrayDocument,
    levels: Sequence[ArrayDocument],
    factors: Sequence[Factors],
    method: Method,
    resources: Resources,
    *,
    fresh: bool,
    data: Pixels | Source | None = None,
    region: tuple[slice, ...] | None = None,
    ordered: bool = False,
) -> None:
    """Make the levels of a pyramid, whose documents exist, from level 0.

    Parameters
    ----------
    storage, base, levels, factors, method, resources, fresh, data, region, ordered
        As for :func:`plan_build`.

    Raises
    ------
    BudgetError
        If the budget is too small.
    DamagedChunkError, MissingChunkError
        If a chunk of level 0 cannot be read.
    """
    build = plan_build(
        storage,
        base,
        levels,
        factors,
        method,
        resources,
        fresh=fresh,
        data=data,
        region=region,
        ordered=ordered,
    )
    build.run(resources.progress)
    grid = array_grid(base)
    if data is None and grid is not None and storage.size_of(join(base.path, grid.pattern)) is None:
        warn_misnamed(storage, base, level=2)


def plan_build(
    storage: Storage,
    base: ArrayDocument,
    levels: Sequence[ArrayDocument],
    factors: Sequence[Factors],
    method: Method,
    resources: Resources,
    *,
    fresh: bool,
    data: Pixels | Source | None = None,
    region: tuple[slice, ...] | None = None,
    ordered: bool = False,
) -> Build:
    """Check everything and plan a build; nothing is written, and the levels need not exist.

    Parameters
    ----------
    storage : Storage
        Where all of them are.
    base : ArrayDocument
        Level 0.
    levels : sequence of ArrayDocument
        The others, from the finest.
    factors : sequence of tuple of int
        Factors of each step.
    method : str or callable
        How windows are reduced.
    resources : Resources
        What may be used.
    fresh : bool
        Whether the levels (and level 0, with ``data``) are new, and nothing refers to them yet.
    data : numpy.ndarray or Source, optional
        Pixels of level 0, of its shape and type: it is written with the levels, and not read from the store.
    region : tuple of slice, optional
        Part of level 0 that changed, or is written. Two processes may write two regions side by side if each
        is made of whole files of every level, or reaches the end.
    ordered : bool
        Whether chunks lie in their shards in C order, so that the files are the same whatever the threads.

    Raises
    ------
    ArgumentError
        If the method does not fit the pixels, or the data not the array.
    BudgetError
        If the budget is too small.
    """
    image = open_array(storage, base, ())
    dtype = image.dtype.newbyteorder("=")
    check_method(method, dtype)
    if data is not None and (data.shape != image.shape or data.dtype.newbyteorder("=") != dtype):
        raise ArgumentError(
            f"data of shape {data.shape} and type {data.dtype} are not those of an array of shape "
            f"{image.shape} and type {dtype}",
            path=storage.where(base.path),
        )
    targets = []
    for k, document in enumerate([base, *levels]):
        array = open_array(storage, document, ())
        reads = (k == 0 and data is None) or region is not None
        targets.append(
            LevelTarget(
                shape=array.shape,
                chunks=array.chunks,
                factors=factors[k - 1] if k else (1,) * image.ndim,
                reader=_reader(storage, document) if reads else None,
                writer=_writer(storage, document, fresh, ordered) if k or data is not None else None,
                fill=_fill(array),
            )
        )
    options: dict[str, Any] = {
        "max_memory": resources.memory,
        "workers": resources.threads,
        "data": data,
        "region": region,
        "spent": resources.spent,
        "where": storage.where(base.path),
    }
    if isinstance(method, str) and reduction(method).overlaps and levels:
        sources = [stored_source(storage, document) for document in [base, *levels][:-1]]
        return StepwiseBuild(targets, sources, dtype, method, **options)
    return PyramidBuild(targets, dtype, method, **options)


def _fill(array: ImageArray) -> Any:
    return array.dtype.type(0) if array.fill_value is None else array.fill_value


def _reader(storage: Storage, document: ArrayDocument) -> Reader:
    found = chunk_format(document)
    if found is None:
        return ArrayReader(open_array(storage, document, ()))
    return ChunkReader(storage, document.path, found)


def _writer(storage: Storage, document: ArrayDocument, fresh: bool, ordered: bool) -> Writer:
    found = chunk_format(document)
    if found is None:
        return ArrayWriter(open_array(storage, document, ()))
    return ChunkWriter(storage, document.path, found, fresh=fresh, ordered=ordered)
