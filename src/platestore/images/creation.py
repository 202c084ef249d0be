"""Creating and replacing the arrays of a position.

Order: the array is complete before the position lists it.
"""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from platestore.arrays.image import ImageArray
from platestore.arrays.layout import ArrayLayout, check_integers, layout_of
from platestore.arrays.metadata import summarise
from platestore.arrays.options import LayoutOptions, PyramidOptions
from platestore.errors import ArgumentError, NodeExistsError
from platestore.images.level_making import NewBase, build_staged, discard, install, stage_empty
from platestore.images.levels import Levels, wanted
from platestore.pyramid.levels import make_levels
from platestore.resources import Resources
from platestore.spec import edits, pyramids
from platestore.spec.axes import channel_index
from platestore.spec.multiscales import ImagesMeta
from platestore.spec.names import check_image_name
from platestore.spec.own import Intent
from platestore.spec.reductions import METHODS
from platestore.spec.transforms import TransformationMeta, normalise
from platestore.storage.hierarchy import ArrayDocument, array_files, create_node
from platestore.tree import intents
from platestore.tree.case import check_case
from platestore.tree.editor import Draft
from platestore.tree.image import ImageEditor
from platestore.tree.leftovers import require_free
from platestore.tree.levels import documents_of, factors_of, image_of
from platestore.tree.reshaping import check_fits, labels_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from platestore.arrays.planning import LayoutPlan

#: Edits the document of a position.
Describe = Callable[[Draft[ImagesMeta]], None]


def create_zeros(
    position: ImageEditor,
    name: str,
    shape: Sequence[int],
    dtype: npt.DTypeLike,
    options: LayoutOptions,
    transform: Sequence[TransformationMeta] | None,
    check_shape: bool,
) -> ImageArray:
    """Create an array of zeros and list it."""
    layout = _plan(position, name, shape, dtype, options, transform, check_shape)
    with position.location.storage.lock(position.location.path):
        replaces = _check_absent(position, name)
        if replaces:
            follow = _following_levels(position, name, layout)
            staged = intents.staging_name(name)
            document = _write_array(position, staged, layout)
            if follow is not None:
                base = _new_base(position, name, staged, layout, transform, with_pixels=False)
                install(position, follow, stage_empty(position, follow), base)
            else:
                _swap_in(position, name, staged, layout, transform)
        else:
            document = _write_array(position, name, layout)
            _list(position, name, layout, transform)
    return position.opened(name, document)


def create_tiles(
    position: ImageEditor,
    name: str,
    grid_shape: tuple[int, int],
    tile_shape: tuple[int, ...],
    dtype: npt.DTypeLike,
    transform: Sequence[TransformationMeta] | None,
    chunk_dims: int,
    options: LayoutOptions,
) -> ImageArray:
    """Create an array of zeros whose chunks are tiles."""
    grid, tile = check_integers(grid_shape, "grid_shape"), check_integers(tile_shape, "tile_shape")
    if len(grid) != 2:
        raise ArgumentError(f"grid_shape must be (rows, columns), not {grid_shape!r}")
    if len(tile) != len(position.axes):
        raise ArgumentError(f"tile_shape {tile} has {len(tile)} values; there are {len(position.axes)} axes")
    if isinstance(chunk_dims, bool) or not isinstance(chunk_dims, int) or not 2 <= chunk_dims <= len(tile):
        raise ArgumentError(
            f"chunk_dims must be an integer from 2 to {len(tile)}, not {chunk_dims!r}",
            hint="a tile spans at least Y and X",
        )
    shape = (*tile[:-2], grid[0] * tile[-2], grid[1] * tile[-1])
    sizes = (*([1] * (len(tile) - chunk_dims)), *tile[len(tile) - chunk_dims :])
    if options.chunks is not None:
        sizes = check_integers(options.chunks, "chunks")
        if sizes[-2:] != tile[-2:]:
            raise ArgumentError(f"chunks {sizes} must be those of a tile in Y and X, {tile[-2:]}")
    laid_out = replace(options, chunks=sizes)
    return create_zeros(position, name, shape, dtype, laid_out, transform, True)


def create_image(
    position: ImageEditor,
    name: str,
    data: npt.ArrayLike,
    options: LayoutOptions,
    transform: Sequence[TransformationMeta] | None,
    check_shape: bool,
    pyramid: PyramidOptions,
    resources: Resources,
    describe: Describe | None = None,
) -> ImageArray:
    """Create an array (and its levels), write the pixels, and then list it.

    What ``describe`` edits besides is written in the commit that lists an image without further levels.
    """
    import numpy as np

    from platestore.arrays.lazy import is_dask, is_lazy
    from platestore.arrays.origins import require_there
    from platestore.arrays.sources import Source, as_source

    if hasattr(data, "chunk_layout"):  # TensorStore
        pixels: Any = as_source(data)
    else:
        pixels = data if is_lazy(data) or isinstance(data, Source) else np.asarray(data)
    if is_dask(data):
        as_source(data)  # an unknown shape is an error of its own
    require_there(pixels)
    layout = _plan(position, name, pixels.shape, pixels.dtype, options, transform, check_shape)
    levels = _plan_levels(position, name, layout, pyramid)
    storage, path = position.location.storage, position.location.path
    with storage.lock(path):
        replaces = _check_absent(position, name)
        follow = _following_levels(position, name, layout) if replaces and levels is None else None
    # The pixels are written without the lock, so that other writers of the position need not wait.
    staged = intents.staging_name(name) if replaces or storage.atomic_moves else name
    hidden: list[str] = []
    try:
        document = _write_array(position, staged, layout)
        hidden = _write_pixels(position, staged, document, pixels, levels, resources)
        if follow is not None:
            hidden = stage_empty(position, follow)
        with storage.lock(path):
            replaces = _check_absent(position, name, ours=staged == name)
            made = levels or follow
            if made is not None:
                place = None if staged == name else staged
                base = _new_base(position, name, place, layout, transform, with_pixels=follow is None)
                install(position, made, hidden, base)
            elif not replaces:
                if staged != name:
                    storage.remove_tree(position.location.child(name).path)
                    storage.move_tree(
                        position.location.child(staged).path, position.location.child(name).path
                    )
                _list(position, name, layout, transform, describe)
    except BaseException:
        with contextlib.suppress(Exception):
            position.peek()  # this completes what was recorded
            discard(position, hidden)
            if staged != name or position.peek().find(name) is None:
                storage.remove_tree(position.location.child(staged).path)
        raise
    if replaces and made is None:
        with storage.lock(path):
            _swap_in(position, name, staged, layout, transform)
    return position.opened(name, document)


def _plan_levels(
    position: ImageEditor, name: str, layout: ArrayLayout, pyramid: PyramidOptions
) -> Levels | None:
    """The levels that a new image is to get; None if there is level 0 only."""
    if pyramid.levels is None:
        return None
    location = position.location
    content = layout.document(location.zarr_format, [axis.name for axis in position.axes])
    base = ArrayDocument(location.child(name).path, location.zarr_format, json.dumps(content).encode())
    found = position.peek().find(name)
    if found is not None and found[0].datasets[0].path != name:
        raise ArgumentError(
            f"{name!r} is a level of {found[0].datasets[0].path!r}, and cannot have levels of its own",
            path=location.where,
        )
    empty = position.meta.multiscales[0].model_copy(update={"datasets": []})
    levels = wanted(
        position,
        empty if found is None else found[0],
        base,
        pyramid.levels,
        pyramid.method or position.pyramid_method,
        None,
        pyramid.factors,
    )
    return levels if levels.names else None


def _new_base(
    position: ImageEditor,
    name: str,
    staged: str | None,
    layout: ArrayLayout,
    transform: Sequence[TransformationMeta] | None,
    *,
    with_pixels: bool,
) -> NewBase:
    channels = _new_channels(position, name, layout)
    return NewBase(staged, layout.shape, layout.dtype.name, transform, channels, with_pixels)


def _new_channels(position: ImageEditor, name: str, layout: ArrayLayout) -> int | None:
    """How many channels a position is to name after its first image was replaced, if that changes."""
    meta, axis = position.peek(), channel_index(position.axes)
    found = meta.find(name)
    if axis is None or meta.omero is None or found is None or found[0] is not meta.multiscales[0]:
        return None
    old = summarise(position.array_document(name)).shape[axis]
    return layout.shape[axis] if old == len(meta.omero.channels) != layout.shape[axis] else None


def _following_levels(position: ImageEditor, name: str, layout: ArrayLayout) -> Levels | None:
    """The levels that an image keeps when its level 0 is replaced by one of another shape or type.

    Raises
    ------
    ArgumentError
        If a label image does not fit the new one.
    """
    found = position.peek().find(name)
    if found is None or found[0].datasets[0].path != name:
        return None
    image, old = found[0], summarise(position.array_document(name))
    for label in labels_of(position, image):
        check_fits(label, image, layout.shape)
    if len(image.datasets) == 1 or (old.shape, old.dtype) == (layout.shape, layout.dtype.name):
        return None
    factors = factors_of(position, image, documents_of(position, image), exact=False)
    known = pyramids.described(image)
    content = layout.document(position.location.zarr_format, [axis.name for axis in position.axes])
    place = position.location.child(name)
    base = ArrayDocument(place.path, place.zarr_format, json.dumps(content).encode())
    method = known[0] if known is not None and known[0] in METHODS else position.pyramid_method
    names = [d.path for d in image.datasets[1:]]
    return wanted(position, image, base, len(image.datasets), method, None, factors, names=names)


def _write_pixels(
    position: ImageEditor,
    staged: str,
    document: bytes,
    pixels: Any,
    levels: Levels | None,
    resources: Resources,
) -> list[str]:
    """Write the pixels of a new array and of its levels; returns the hidden names of the levels."""
    import numpy as np

    from platestore.arrays.lazy import is_dask
    from platestore.arrays.sources import as_source, runs_here

    location = position.location.child(staged)
    base = ArrayDocument(location.path, location.zarr_format, document)
    if levels is not None:
        data = pixels if isinstance(pixels, np.ndarray) else as_source(pixels)
        return build_staged(position, levels, resources, base=base, data=data)
    if isinstance(pixels, np.ndarray) or (is_dask(pixels) and not runs_here()):
        # Where other processes compute the blocks, they write them, too.
        position.opened(staged, document)[...] = pixels
    else:
        source = as_source(pixels)
        # A source may say that it has pixels in a part only: the rest is not written.
        region = getattr(source, "extent", None)
        make_levels(location.storage, base, [], [], "mean", resources, fresh=True, data=source, region=region)
    return []


def _plan(
    position: ImageEditor,
    name: str,
    shape: Sequence[int],
    dtype: npt.DTypeLike,
    options: LayoutOptions,
    transform: Sequence[TransformationMeta] | None,
    check_shape: bool,
) -> ArrayLayout:
    """Check every argument before anything is touched."""
    location = position.location
    location.storage.require_writable(location.path)
    check_image_name(name)
    axes = position.axes
    full = check_integers(shape, "shape")
    if len(full) != len(axes):
        raise ArgumentError(
            f"an image of shape {full} has {len(full)} dimensions; the position has "
            f"{len(axes)} axes ({', '.join(axis.name for axis in axes)})",
            hint="pass one dimension per axis (data[np.newaxis]), or create the store with other axes="
            + ("" if check_shape else "; check_shape=False lifts the check of channels, which is all it can"),
        )
    layout = options.layout(full, dtype, location.zarr_format, [axis.name for axis in axes])
    normalise(transform, len(axes))
    axis = channel_index(axes)
    if check_shape and axis is not None and position.meta.omero is not None:
        names = position.channel_names
        if layout.shape[axis] > len(names):
            raise ArgumentError(
                f"the image has {layout.shape[axis]} channels, but only {len(names)} are named: "
                f"{', '.join(names)}",
                hint="name them when creating the store, or with append_channel()",
            )
        # Names of an image that is replaced are fitted to the new one.
        if layout.shape[axis] < len(names) and not (position.overwriting and position.peek().find(name)):
            warnings.warn(
                f"the image has {layout.shape[axis]} channels, but {len(names)} are named", stacklevel=5
            )
    return layout


def _check_absent(position: ImageEditor, name: str, *, ours: bool = False) -> bool:
    """Whether an image of this name is listed and may be replaced; an error if it may not.

    Call it under the lock.
    """
    location = position.location.child(name)
    listed = position.peek()
    check_case(position.location, listed.paths(), [name], "images")
    if listed.find(name) is not None:
        if position.overwriting:
            return True
        raise NodeExistsError(
            "the image exists", path=location.where, hint="open with overwriting_creation=True to replace it"
        )
    if not ours and not position.overwriting:
        require_free(location, "array")
    return False


def _write_array(position: ImageEditor, name: str, layout: ArrayLayout) -> bytes:
    """Write the documents of a new array; returns the one that describes it."""
    location = position.location.child(name)
    if position.overwriting and not name.startswith("."):
        location.storage.remove_tree(location.path)  # an unlisted leftover
    names = [axis.name for axis in position.axes]
    document = layout.document(location.zarr_format, names)
    files = array_files(location.zarr_format, document, where=location.where)
    create_node(location.storage, location.path, files)
    return files[-1][1]


def _list(
    position: ImageEditor,
    name: str,
    layout: ArrayLayout,
    transform: Sequence[TransformationMeta] | None,
    describe: Describe | None = None,
) -> None:
    def change(draft: Draft[ImagesMeta]) -> None:
        last = _last_shape(position, draft.meta) if transform is not None else None
        edits.list_image(draft.meta, name, layout.shape, last, transform, layout.dtype.name)
        if describe is not None:
            describe(draft)

    try:
        position.commit(change)
    except Exception:
        # Take the array back, unless the commit failed so late that it is listed all the same.
        with contextlib.suppress(Exception):
            if position.peek().find(name) is None:
                position.location.storage.remove_tree(position.location.child(name).path)
        raise


def _last_shape(position: ImageEditor, meta: ImagesMeta) -> tuple[int, ...] | None:
    datasets = meta.multiscales[0].datasets
    return summarise(position.array_document(datasets[-1].path)).shape if datasets else None


def _swap_in(
    position: ImageEditor,
    name: str,
    staged: str,
    layout: ArrayLayout,
    transform: Sequence[TransformationMeta] | None,
) -> None:
    """Replace a listed array by one that was built under another name."""
    steps = None if transform is None else normalise(transform, len(layout.shape))
    channels = _new_channels(position, name, layout)
    former = summarise(position.array_document(name)).dtype

    def unlist(draft: Draft[ImagesMeta]) -> Intent:
        place = edits.unlist_image(draft.meta, name)
        place.update(dtype=layout.dtype.name, former=former, channels=channels)
        if steps is not None:
            place["transform"] = [s.to_json() for s in steps]
        intent = Intent(operation="replace", id=intents.new_id(), path=name, target=staged, entry=place)
        draft.add_intent(intent)
        return intent

    try:
        intent = position.commit(unlist)
    except Exception:
        with contextlib.suppress(Exception):
            if position.peek().find(name) is not None:  # nothing refers to the new one yet
                position.location.storage.remove_tree(position.location.child(staged).path)
        raise
    position.finish(intent)


def plan_layout(
    position: ImageEditor, shape: Sequence[int] | None, dtype: npt.DTypeLike | None, options: LayoutOptions
) -> LayoutPlan:
    """Say what a layout means, for an image like level 0 or of another shape."""
    from platestore.arrays.planning import plan_for

    location = position.location
    existing = None
    if shape is None or dtype is None:
        image = image_of(position.meta, position)
        base = layout_of(documents_of(position, image)[0].data, location.zarr_format, where=location.where)
        shape, dtype = shape or base.shape, base.dtype if dtype is None else dtype
        existing = base if tuple(shape) == base.shape and dtype == base.dtype else None
    return plan_for(
        existing,
        shape=None if existing is not None else shape,
        dtype=None if existing is not None else dtype,
        zarr_format=location.zarr_format,
        axis_names=[axis.name for axis in position.axes],
        chunks=options.chunks,
        shards_ratio=options.shards_ratio,
        shards=options.shards,
        compressor=options.compressor,
        checksum=options.checksum,
    )
