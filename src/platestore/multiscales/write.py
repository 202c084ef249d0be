"""``to_ngff_zarr``: an image and all its levels, in one pass over its pixels."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from platestore.arrays.origins import origins, require_there
from platestore.errors import ArgumentError, BudgetError, NodeExistsError, UnsafeTargetError, UnsupportedError
from platestore.multiscales.documents import Documents, plan_documents
from platestore.multiscales.factors import chains
from platestore.multiscales.generate import check_multiscales
from platestore.multiscales.options import Options
from platestore.multiscales.place import Place, place_of
from platestore.multiscales.progress import telling
from platestore.progress import Progress
from platestore.spec.versions import DEFAULT_VERSION

if TYPE_CHECKING:
    from platestore.multiscales.model import NgffMultiscales
    from platestore.storage.base import Storage

#: Version of zarr that is installed.
zarr_version = Version(importlib.metadata.version("zarr"))
#: Whether it writes zarr v3: this library needs one that does.
IS_ZARR_V3_PLUS = zarr_version.major >= 3
#: Whether dask's own ``to_zarr`` writes shards; the writer here needs none of it.
DASK_SUPPORTS_SHARDING = Version(importlib.metadata.version("dask")) >= Version("2025.12.0")

#: Those whose content is written: orientation (4), and archives (9); 2 is zarr v3 itself.
_RFCS = (2, 4, 9)


def to_ngff_zarr(
    store: Any,
    multiscales: NgffMultiscales,
    version: str = DEFAULT_VERSION,
    overwrite: bool = True,
    use_tensorstore: bool = False,
    chunk_store: None = None,
    progress: Any = None,
    chunks_per_shard: int | Sequence[int] | Mapping[str, int] | None = None,
    enabled_rfcs: Sequence[int] | None = None,
    *,
    max_memory: int | str | None = None,
    workers: int | None = None,
    **kwargs: Any,
) -> None:
    """Write an image with its levels.

    Everything is checked before anything is written. The new image is built beside its place and takes it in
    one step, so that a crash leaves the old one or the new one; in stores that are neither a directory nor an
    archive the old one is removed first, and the root's document is written last.

    Parameters
    ----------
    store : str, Path, zarr Store or mapping
        Where to. A path that ends in ``.ozx`` becomes a zipped OME-Zarr (RFC-9), written in one pass.
    multiscales : NgffMultiscales
        The image. Levels that :func:`to_multiscales` made are made in one pass over level 0; if one was
        replaced, each level is written as it is.
    version : {"0.4", "0.5"}
        Version of OME-NGFF; an archive needs 0.5.
    overwrite : bool
        Whether a store that is there is replaced. Root attributes that are not OME-NGFF's survive.
    use_tensorstore : bool
        Changes nothing: platestore has its own writer, and the files are the same.
    chunk_store : None
        Not supported.
    progress : bool, callable, NgffProgress, NgffProgressCallback or rich.progress.Progress, optional
        Whom to tell: True shows a bar; a callable gets the bytes of pixels that are done,
        and all there are.
    chunks_per_shard : int, tuple or dict, optional
        Chunks in a shard: along every spatial axis (1 along t and c), or for each axis, or by axis. None for
        no shards, but 2 in an archive. Needs 0.5.
    enabled_rfcs : sequence of int, optional
        Accepted for the sake of callers: of 2, 4 and 9. Orientation (RFC-4) is written whenever there is one.
    max_memory : int or str, optional
        Bytes by which the process may grow; ``config.max_memory`` by default.
    workers : int, optional
        Number of threads; ``config.threads`` by default, but 1 for an archive, so that its bytes are the same
        each time.
    **kwargs
        ``compressor`` or ``compressors``: ``"blosc-lz4"`` (the default), ``"blosc-zstd"``, ``"zstd"``,
        ``"gzip"`` or ``"none"``, a level may follow (``"zstd:9"``); a codec of numcodecs or of zarr; None for
        none. ``fill_value``, ``filters``, ``serializer`` (0.5), ``order`` (inside the chunks of 0.4; 0.5 has
        none) and ``attributes`` of each array, as for ``zarr.create_array``. Other arguments of zarr are
        taken where they say what is done anyway (``dimension_separator="/"``, ``zarr_format=2`` for 0.4), and
        are errors otherwise.

    Raises
    ------
    ArgumentError
        If an argument is wrong, or they do not fit each other.
    NodeExistsError
        If something is there, and ``overwrite`` is False.
    UnsafeTargetError
        If what is there is no store, or the image is read from there.
    BudgetError
        If ``max_memory`` is too small.
    """
    place = place_of(store)
    options = Options.parse(version, chunks_per_shard, kwargs, is_archive=place.is_archive, where=place.where)
    _check_others(chunk_store, enabled_rfcs, overwrite, place.where)
    image = check_multiscales(multiscales)
    plan = plan_documents(image, options)
    present = place.exists()
    if present and not overwrite:
        raise NodeExistsError("the target exists", path=place.where, hint="overwrite=True replaces it")
    place.check()
    if present:
        _check_sources(place, plan.pixels)
    require_there(plan.pixels)
    root = plan.root(place.foreign(options.version) if present else {}, image.root_attributes)
    with telling(progress) as tell, place.building() as storage:
        writer = _Writer(storage, plan, max_memory, 1 if place.is_archive and workers is None else workers)
        try:
            writer.check()
        except BudgetError as error:
            error.path = place.where  # and not the hidden name beside it
            raise
        if present:
            place.clear()
        if place.is_archive:
            writer.create_root(root)
            writer.create_arrays()
            writer.write(tell)
        else:
            writer.create_arrays()
            writer.write(tell)
            writer.create_root(root)
        place.install(overwrite=overwrite)
    for level in image.images:
        for callback in level.computed_callbacks:
            callback()


#: The newer name.
to_ome_zarr = to_ngff_zarr


def _check_others(chunk_store: Any, enabled_rfcs: Any, overwrite: Any, where: str) -> None:
    """Arguments that have one meaning only."""
    if chunk_store is not None:
        raise UnsupportedError(
            "chunk_store cannot be used: chunks and metadata are written to one store",
            path=where,
            hint="leave it out",
        )
    if not isinstance(overwrite, bool):
        raise ArgumentError(f"overwrite must be True or False, not {overwrite!r}", path=where)
    if enabled_rfcs is None:
        return
    if isinstance(enabled_rfcs, (str, Mapping)) or not hasattr(enabled_rfcs, "__iter__"):
        raise ArgumentError(f"enabled_rfcs must be a list of numbers, not {enabled_rfcs!r}", path=where)
    unknown = [number for number in enabled_rfcs if number not in _RFCS or isinstance(number, bool)]
    if unknown:
        raise ArgumentError(
            f"the RFCs {', '.join(map(str, unknown))} are not known here",
            path=where,
            hint="4 (orientation) is always on; 2 comes with version 0.5, 9 with a path that ends in .ozx",
        )


def _check_sources(place: Place, levels: Sequence[Any]) -> None:
    """Refuse to replace what the image is read from."""
    for k, pixels in enumerate(levels):
        for origin in origins(pixels):
            if place.holds(origin):
                raise UnsafeTargetError(
                    f"level {k} of the image is read from here, and would be overwritten",
                    path=place.where,
                    hint="write to another path, then rename it; or read the image into memory first",
                )


@dataclass(frozen=True, slots=True)
class _Pass:
    """One walk over a level: it is written, or read, and levels are made of it."""

    base: int
    data: Any
    levels: list[int]
    steps: list[tuple[int, ...]]
    method: str


class _Writer:
    """Arrays and pixels of one image."""

    def __init__(
        self, storage: Storage, plan: Documents, max_memory: int | str | None, workers: int | None
    ) -> None:
        self._storage = storage
        self._plan = plan
        self._memory = max_memory
        self._workers = workers
        self._passes = list(self._planned())

    def _planned(self) -> Iterator[_Pass]:
        """The first pass writes level 0 and the levels that follow from it one by one.

        Levels of another chain are made of level 0 as it was written.
        """
        images, recipe = self._plan.pixels, self._plan.recipe
        if recipe is None:
            for k, pixels in enumerate(images):
                yield _Pass(k, pixels, [], [], "stride")
            return
        for i, chain in enumerate(chains(recipe.levels) or [[]]):
            steps = [recipe.levels[k - 1].steps for k in chain]
            yield _Pass(0, images[0] if i == 0 else None, chain, steps, recipe.method)

    def check(self) -> None:
        """Refuse a budget that is too small, and a method that does not fit, before anything is written."""
        from platestore.pyramid.levels import plan_build

        for each in self._passes:
            self._call(plan_build, each, None)

    def create_arrays(self) -> None:
        """Write the documents of the arrays, and of the groups that hold them."""
        from platestore.storage.hierarchy import array_files, create_node, ensure_group

        for group in self._plan.groups:
            ensure_group(self._storage, group, self._plan.options.zarr_format)
        for document in self._plan.arrays:
            where = self._storage.where(document.path)
            attributes = self._plan.options.attributes
            files = array_files(document.zarr_format, document.content, attributes, where=where)
            create_node(self._storage, document.path, files)

    def create_root(self, attributes: dict[str, Any]) -> None:
        """Write the document of the root group."""
        from platestore.storage.hierarchy import create_node, group_files

        files = group_files(self._plan.options.zarr_format, attributes, where=self._storage.where(""))
        create_node(self._storage, "", files)

    def write(self, tell: Progress | None) -> None:
        """Write all pixels."""
        from platestore.pyramid.levels import make_levels

        totals = [self._plan.nbytes(each.base) for each in self._passes]
        for i, each in enumerate(self._passes):
            before = sum(totals[:i])
            self._call(make_levels, each, None if tell is None else _shifted(tell, before, sum(totals)))

    def _call(self, function: Callable[..., Any], each: _Pass, progress: Progress | None) -> None:
        from platestore.pyramid.levels import Resources

        documents = self._plan.arrays
        function(
            self._storage,
            documents[each.base],
            [documents[k] for k in each.levels],
            each.steps,
            each.method,
            Resources(max_memory=self._memory, workers=self._workers, progress=progress),
            fresh=True,
            data=each.data,
            ordered=self._workers == 1,
        )


def _shifted(tell: Progress, before: int, total: int) -> Progress:
    """Progress of one pass as progress of all."""

    def told(done: int, _: int) -> None:
        tell(min(total, before + done), total)

    return told
