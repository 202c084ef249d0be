"""``to_multiscales``: the levels of an image, which are made when they are read or written."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from platestore.multiscales.chunking import resolve_chunks
from platestore.multiscales.factors import LevelStep, plan_levels
from platestore.multiscales.images import CheckedImage, check_image, take_image, type_of
from platestore.multiscales.methods import Methods, check_method
from platestore.multiscales.model import LevelsRecipe, Made, NgffImage, make_metadata
from platestore.multiscales.ngff import NgffMultiscales
from platestore.multiscales.progress import telling
from platestore.spec import pyramids
from platestore.spec.reductions import reduction
from platestore.spec.transforms import TransformationMeta, scale_of, translation_of

if TYPE_CHECKING:
    from platestore.spec.orientation import AnatomicalOrientation

#: What made the levels, where they are no single chain.
_PRODUCER = "platestore.multiscales.to_multiscales"


def to_multiscales(
    data: Any,
    scale_factors: int | Sequence[Mapping[str, int] | int] = 128,
    method: Methods | str | None = None,
    chunks: Any = None,
    progress: Any = None,
    cache: bool | None = None,
    orientation: str | Mapping[str, AnatomicalOrientation] | None = None,
) -> NgffMultiscales:
    """Give an image its levels. No pixel is read, and nothing is written.

    Parameters
    ----------
    data : NgffImage, array, str, Path, mapping or zarr Store
        The image: pixels with what they mean; pixels alone, with axes as :func:`to_ngff_image` gives them by
        default; or the place of an array, or of a multiscale image, of which the finest level is taken.
    scale_factors : int or sequence of int or dict
        An int is the least length of an axis: factors double until it is reached, or the length of a chunk
        (see :func:`platestore.multiscales.factors.doubling_factors`). A sequence has the factors of each
        level, counted from level 0, for all spatial axes or by axis: ``[2, 4]``,
        ``[{"x": 2, "y": 4}, {"x": 5, "y": 10}]``. A factor of 1 gives a level of the same size.
    method : Methods or str, optional
        How pixels are made of those above; ``ITKWASM_GAUSSIAN`` by default.
    chunks : int, tuple or dict, optional
        Length of a chunk: for all spatial axes, or for each axis in the order of ``data``, or by axis. By
        default 128 along spatial axes where there is a z axis, 256 where there is none; 1 along t and c; a
        dask array then keeps its blocks as level 0's ``data``, which are written in chunks of this length.
    progress : optional
        As for :func:`to_ngff_zarr`; nothing is computed here, so nothing is told.
    cache : bool, optional
        Ignored with a warning: memory stays within the budget of writing without a cache.
    orientation : str or mapping, optional
        Anatomical orientation (RFC-4): ``"LPS"`` or ``"RAS"`` in either case, or an
        :class:`AnatomicalOrientation` by axis. It counts instead of the image's own.

    Returns
    -------
    NgffMultiscales
        With axes in the specification's order. Level shapes are ``ceil(n / f)``; the last window of an axis
        is filled up with copies of the last pixels.

    Raises
    ------
    ArgumentError
        If an argument cannot be meant; the message says what can.

    Examples
    --------
    >>> from platestore.multiscales import to_multiscales
    >>> multiscales = to_multiscales(np.zeros((4, 64, 64), "uint16"), [2, 4], method="mean")
    >>> [level.data.shape for level in multiscales.images]
    [(4, 64, 64), (2, 32, 32), (1, 16, 16)]
    """
    with telling(progress if progress is not True else None):
        pass
    if cache is not None:
        warnings.warn(
            "cache= is ignored: levels are made in one pass over the image, within max_memory",
            UserWarning,
            stacklevel=2,
        )
    image = take_image(data)
    how = check_method(method)
    checked = check_image(image, orientation)
    sizes = {d: checked.sizes[d] for d in checked.order}
    lengths = resolve_chunks(chunks, checked.dims, [checked.sizes[d] for d in checked.dims])
    lengths = {d: lengths[d] for d in checked.order}
    levels, factors = plan_levels(scale_factors, sizes, lengths)
    _check_type(how, image)
    images = _images(image, checked, levels, how, lengths, rechunks=chunks is not None)
    base = checked.transforms()
    transforms = [base, *(_transform(base, level.factors, how) for level in levels)]
    for level, steps in zip(images, transforms, strict=True):
        level.scale = dict(zip(checked.order, scale_of(steps, len(sizes)), strict=True))
        level.translation = dict(zip(checked.order, translation_of(steps, len(sizes)), strict=True))
    metadata = make_metadata(images[0], checked.axes(), transforms)
    metadata.omero = None if image._omero is None else image._omero.model_copy(deep=True)
    _describe(metadata, how, levels, factors)
    result = NgffMultiscales(
        images=images,
        metadata=metadata,
        scale_factors=factors,
        method=how,
        chunks=lengths,
        generated_data_keys=[level.data.name for level in images],
    )
    result._recipe = LevelsRecipe(levels, how.engine, [Made.of(level.data) for level in images])
    return result


def _check_type(method: Methods, image: NgffImage) -> None:
    from platestore.pyramid.kernels import check_method as check_kernel

    check_kernel(method.engine, type_of(image.data))


def _images(
    image: NgffImage,
    checked: CheckedImage,
    levels: Sequence[LevelStep],
    method: Methods,
    chunks: Mapping[str, int],
    *,
    rechunks: bool,
) -> list[NgffImage]:
    """The levels, with pixels that are made when they are read."""
    from platestore.arrays.lazy import is_dask
    from platestore.arrays.sources import as_source
    from platestore.multiscales.sources import LevelSource, as_dask, in_order

    pixels = in_order(image.data, checked.dims, checked.order)
    sources = [as_source(pixels)]
    for level in levels:
        sources.append(LevelSource(sources[level.parent], level.steps, method.engine))
    blocks = [chunks[d] for d in checked.order]
    images = []
    for k, source in enumerate(sources):
        if k == 0 and is_dask(image.data):
            # In the blocks that it has, unless others are asked for: a graph that joins them is large.
            lazy = image.data.transpose([checked.dims.index(d) for d in checked.order])
            lazy = lazy.rechunk(tuple(blocks)) if rechunks else lazy
        else:
            lazy = as_dask(source, blocks)
        new = NgffImage(
            data=lazy,
            dims=checked.order,
            scale={},
            translation={},
            name=image.name,
            axes_units=dict(checked.units) or None,
            axes_orientations=dict(checked.orientations) or None,
            axes_types=dict(image.axes_types) if image.axes_types else None,
            channel_names=None if image.channel_names is None else list(image.channel_names),
            channel_colors=None if image.channel_colors is None else list(image.channel_colors),
            computed_callbacks=list(image.computed_callbacks) if k == 0 else [],
        )
        new._keep(pixels if k == 0 else source)
        images.append(new)
    return images


def _transform(
    base: Sequence[TransformationMeta], factors: Sequence[int], method: Methods
) -> list[TransformationMeta]:
    """Transformations of a level, with a translation always."""
    from platestore.spec.geometry import level_transform

    return level_transform(base, factors, pooled=reduction(method.engine).is_pooled)


def _describe(
    metadata: Any, method: Methods, levels: Sequence[LevelStep], factors: Sequence[Mapping[str, int]]
) -> None:
    """Say in the metadata how the levels are made."""
    from platestore._version import __version__

    if not levels:
        metadata.type, metadata.metadata = "none", {}
        return
    metadata.metadata = {"description": method.description}
    if all(level.parent == k for k, level in enumerate(levels)):
        pyramids.describe(metadata, method.engine, [level.steps for level in levels], __version__)
        return
    metadata.type = method.engine
    metadata.metadata |= {
        "method": _PRODUCER,
        "version": __version__,
        "kwargs": {"method": method.engine, "scale_factors": [dict(row) for row in factors]},
    }
