"""From arrays to a build: how each level is read and written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from platestore.arrays.chunkarrays import ArrayReader, ArrayWriter
from platestore.arrays.chunkcodec import chunk_format
from platestore.arrays.chunkfiles import ChunkReader, ChunkWriter
from platestore.arrays.image import ImageArray, open_array
from platestore.errors import ArgumentError
from platestore.pyramid.build import Progress, PyramidBuild
from platestore.pyramid.kernels import check_method
from platestore.pyramid.targets import Reader, Target, Writer
from platestore.settings import config, parse_bytes
from platestore.storage.base import Storage
from platestore.storage.hierarchy import ArrayDocument

Factors = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Resources:
    """What a computation may use, and whom it tells.

    Attributes
    ----------
    max_memory : int or str, optional
        Bytes by which the process may grow; that of the settings by default.
    workers : int, optional
        Number of threads; that of the settings by default.
    progress : callable, optional
        Called with the bytes of level 0 that are done, and all there are.
    spent : int
        Bytes of the budget that are used up already.
    """

    max_memory: int | str | None = None
    workers: int | None = None
    progress: Progress | None = None
    spent: int = 0


def make_levels(
    storage: Storage,
    base: ArrayDocument,
    levels: Sequence[ArrayDocument],
    factors: Sequence[Factors],
    method: str,
    resources: Resources,
    *,
    fresh: bool,
    data: npt.NDArray[Any] | None = None,
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


def plan_build(
    storage: Storage,
    base: ArrayDocument,
    levels: Sequence[ArrayDocument],
    factors: Sequence[Factors],
    method: str,
    resources: Resources,
    *,
    fresh: bool,
    data: npt.NDArray[Any] | None = None,
    region: tuple[slice, ...] | None = None,
    ordered: bool = False,
) -> PyramidBuild:
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
    method : str
        How windows are reduced.
    resources : Resources
        What may be used.
    fresh : bool
        Whether the levels (and level 0, with ``data``) are new, and nothing refers to them yet.
    data : numpy.ndarray, optional
        Pixels of level 0, of its shape and type: it is written with the levels, and not read.
    region : tuple of slice, optional
        Part of level 0 that changed.
    ordered : bool
        Whether chunks lie in their shards in C order, so that the files are the same whatever the threads.

    Raises
    ------
    BudgetError
        If the budget is too small.
    """
    image = open_array(storage, base, ())
    check_method(method, image.dtype)
    targets = []
    for k, document in enumerate([base, *levels]):
        array = open_array(storage, document, ())
        reads = (k == 0 and data is None) or region is not None
        targets.append(
            Target(
                shape=array.shape,
                chunks=array.chunks,
                factors=factors[k - 1] if k else (1,) * image.ndim,
                reader=_reader(storage, document) if reads else None,
                writer=_writer(storage, document, fresh, ordered) if k or data is not None else None,
                fill=_fill(array),
            )
        )
    memory, workers = resources.max_memory, resources.workers
    return PyramidBuild(
        targets,
        image.dtype.newbyteorder("="),
        method,
        max_memory=config.max_memory if memory is None else parse_bytes(memory, "max_memory"),
        workers=config.threads if workers is None else check_workers(workers),
        data=data,
        region=region,
        spent=resources.spent,
        where=storage.where(base.path),
    )


def _fill(array: ImageArray) -> Any:
    return array.dtype.type(0) if array.fill_value is None else array.fill_value


def check_workers(workers: int) -> int:
    """Check a number of workers: an integer of 1 or more."""
    if isinstance(workers, bool) or not hasattr(workers, "__index__") or workers < 1:
        raise ArgumentError(f"workers must be an integer of 1 or more, not {workers!r}")
    return int(workers)


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
