"""An image with all its levels, as users hold it: written in one pass over its pixels, and read."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from packaging.version import Version

from platestore.arrays.origins import require_there
from platestore.errors import (
    ArgumentError,
    BudgetError,
    NodeExistsError,
    UnsupportedError,
    UnsupportedVersionError,
)
from platestore.multiscales.documents import plan_documents
from platestore.multiscales.methods import Methods, check_method
from platestore.multiscales.model import Dataset, LevelsRecipe, Metadata, NgffImage
from platestore.multiscales.options import Options
from platestore.multiscales.place import place_of
from platestore.multiscales.progress import telling
from platestore.multiscales.read import images_of, is_place, open_any
from platestore.multiscales.write import ImageWriter, check_others, check_sources
from platestore.spec import pyramids
from platestore.spec.orientation import read_orientations
from platestore.spec.versions import DEFAULT_VERSION

#: Version of zarr that is installed.
zarr_version = Version(importlib.metadata.version("zarr"))
#: Whether it writes zarr v3: this library needs one that does.
IS_ZARR_V3_PLUS = zarr_version.major >= 3
#: Whether dask's own ``to_zarr`` writes shards; the writer here needs none of it.
DASK_SUPPORTS_SHARDING = Version(importlib.metadata.version("dask")) >= Version("2025.12.0")


@dataclass(eq=False)
class NgffMultiscales:
    """An image with all its levels.

    Attributes
    ----------
    images : list of NgffImage
        The levels, from the finest to the coarsest; their pixels are made when they are read.
    metadata : Metadata
        What is written about them.
    scale_factors : list of dict, optional
        Factor of each level after the first, by axis, counted from level 0.
    method : Methods, optional
        How levels were made.
    chunks : optional
        Length of a chunk, by axis; other forms as :func:`to_multiscales` takes them.
    generated_data_keys : list of str, optional
        Names of the levels' dask arrays as they were made. Levels are written in one pass over the first if
        all their arrays are still those; if one was replaced, each is written as it is.
    root_attributes : dict, optional
        Attributes of the root group besides those of OME-NGFF; they are written beside them.
    """

    images: list[NgffImage]
    metadata: Metadata
    scale_factors: Sequence[Any] | None = None
    method: Methods | None = None
    chunks: Any = None
    generated_data_keys: list[str] | None = field(default=None, repr=False)
    root_attributes: dict[str, Any] | None = None
    _recipe: LevelsRecipe | None = field(default=None, init=False, repr=False)

    def to_ome_zarr(self, store: Any, **kwargs: Any) -> None:
        """Write the image; see :func:`platestore.multiscales.to_ngff_zarr`.

        Examples
        --------
        >>> from platestore.multiscales import to_multiscales
        >>> to_multiscales("plate.zarr/A/1/0", [2]).to_ome_zarr("levels.zarr")
        >>> ps.open_ome_zarr("levels.zarr").keys()
        ['0', '1']
        """
        to_ngff_zarr(store, self, **kwargs)

    @classmethod
    def from_ome_zarr(cls, store: Any, **kwargs: Any) -> NgffMultiscales:
        """Read an image; see :func:`platestore.multiscales.from_ngff_zarr`.

        Examples
        --------
        >>> from platestore.multiscales import Multiscales
        >>> multiscales = Multiscales.from_ome_zarr("plate.zarr/A/1/0")
        >>> multiscales.images[0].data.shape
        (1, 2, 4, 64, 64)
        """
        return from_ngff_zarr(store, **kwargs)

    def _generated(self) -> LevelsRecipe | None:
        """How the levels after the first are made, if all of them still are what they were made as."""
        keys, recipe = self.generated_data_keys, self._recipe
        count = len(self.images)
        if recipe is None or keys is None or not 0 < count <= len(recipe.made):
            return None
        made = recipe.made[:count]
        if [m.name for m in made] != keys[:count]:
            return None
        if not all(m.is_still(image.data) for m, image in zip(made, self.images, strict=True)):
            return None
        return LevelsRecipe(recipe.levels[: count - 1], recipe.method, made)


#: Its former name.
Multiscales = NgffMultiscales


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
        Whom to tell: True shows a bar; a callable gets the bytes of pixels done and
        the total.
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

    Examples
    --------
    >>> from platestore.multiscales import to_multiscales, to_ngff_zarr
    >>> multiscales = to_multiscales("plate.zarr/A/1/0", [2])
    >>> to_ngff_zarr("levels.zarr", multiscales, version="0.5", compressor="zstd:5")
    >>> ps.open_ome_zarr("levels.zarr")["1"].shape
    (1, 2, 2, 32, 32)
    """
    place = place_of(store)
    options = Options.parse(version, chunks_per_shard, kwargs, is_archive=place.is_archive, where=place.where)
    check_others(chunk_store, enabled_rfcs, overwrite, place.where)
    image = check_multiscales(multiscales)
    plan = plan_documents(image.images, image.metadata, image.chunks, image._generated(), options)
    present = place.exists()
    if present and not overwrite:
        raise NodeExistsError("the target exists", path=place.where, hint="overwrite=True replaces it")
    place.check()
    if present:
        check_sources(place, plan.pixels)
    require_there(plan.pixels)
    root = plan.root(place.foreign(options.version) if present else {}, image.root_attributes)
    with telling(progress) as tell, place.building() as storage:
        writer = ImageWriter(
            storage, plan, max_memory, 1 if place.is_archive and workers is None else workers
        )
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


def check_multiscales(multiscales: object) -> NgffMultiscales:
    """Refuse what is no multiscale image.

    Raises
    ------
    ArgumentError
        If it is none.
    """
    if not isinstance(multiscales, NgffMultiscales):
        raise ArgumentError(
            f"multiscales must be a platestore.multiscales.NgffMultiscales, not a "
            f"{type(multiscales).__module__}.{type(multiscales).__name__}",
            hint="to_multiscales(image) makes one; it takes images of ngff-zarr, too",
        )
    return multiscales


def from_ngff_zarr(
    store: Any, validate: bool = False, version: str | None = None, storage_options: Any = None
) -> NgffMultiscales:
    """Read a multiscale image; its pixels are read when they are used.

    Parameters
    ----------
    store : str, Path, mapping, zarr Store, zarr Group or node
        The image: a directory, an ``.ozx`` archive, or a position of a plate by its path.
    validate : bool
        Changes nothing: documents are always checked.
    version : {"0.4", "0.5"}, optional
        Version of OME-NGFF that it must have.
    storage_options : None
        Not supported: pass a zarr store.

    Returns
    -------
    NgffMultiscales
        Scales and translations are effective: those of the levels, followed by those of the image as a whole.

    Raises
    ------
    NodeNotFoundError
        If there is nothing.
    ArgumentError
        If it is a plate, or something else than an image.

    Examples
    --------
    >>> from platestore.multiscales import from_ngff_zarr
    >>> multiscales = from_ngff_zarr("plate.zarr/A/1/0")
    >>> level = multiscales.images[0]
    >>> level.dims, level.data.shape, level.channel_names
    (('t', 'c', 'z', 'y', 'x'), (1, 2, 4, 64, 64), ['DAPI', 'GFP'])
    """
    if storage_options is not None:
        raise UnsupportedError(
            "storage_options cannot be used", hint="pass a zarr Store, such as FsspecStore"
        )
    if not is_place(store):
        raise ArgumentError(f"{type(store).__name__} is no store", hint="pass a path or a zarr Store")
    node = open_any(store)
    if hasattr(node, "dtype"):
        raise ArgumentError("is an array, not an image", path=str(store), hint="pass the group above it")
    found = node.location.version
    if version is not None and str(version) != found:
        raise UnsupportedVersionError(f"is OME-NGFF {found}, not {version}", path=node.location.where)
    images = images_of(node)
    document = node.meta.multiscales[0]
    content = document.to_json()
    axes = [axis.model_copy() for axis in document.axes]
    orientations = read_orientations(axes)
    for axis in axes:
        if axis.name.lower() in orientations:
            axis.orientation = orientations[axis.name.lower()]
    metadata = Metadata.model_validate({**content, "axes": [a.to_json() for a in axes], "datasets": []})
    metadata.axes = axes
    metadata.datasets = [Dataset.model_validate(d.to_json()) for d in document.datasets]
    omero = node.meta.omero
    metadata.omero = None if omero is None else omero.model_copy(deep=True)
    attributes = dict(node.attributes)
    ours = node.location.ngff.without_others(attributes, "image")
    described = pyramids.described(document)
    return NgffMultiscales(
        images=images,
        metadata=metadata,
        scale_factors=_factors(images),
        method=None if described is None else _method(described[0]),
        chunks=_chunks(node, images),
        root_attributes={key: value for key, value in attributes.items() if key not in ours} or None,
    )


#: The newer name.
from_ome_zarr = from_ngff_zarr


def _factors(images: list[NgffImage]) -> list[dict[str, int]] | None:
    """Factors of the levels, counted from level 0; None if they are not whole."""
    out, first = [], images[0]
    for image in images[1:]:
        row = {}
        for d in image.dims:
            if d not in "zyx":
                continue
            ratio = image.scale[d] / first.scale[d]
            row[d] = round(ratio)
            if row[d] < 1 or abs(ratio - row[d]) > 1e-6 * ratio:
                return None
        out.append(row)
    return out


def _chunks(position: Any, images: list[NgffImage]) -> dict[str, int]:
    array = position[position.meta.multiscales[0].datasets[0].path]
    return dict(zip(images[0].dims, array.chunks, strict=True))


def _method(name: str) -> Methods | None:
    try:
        return check_method(name)
    except ArgumentError:
        return None
