"""The levels that an image has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from platestore.arrays.metadata import summarise
from platestore.errors import ArgumentError, DanglingError, InvalidMetadataError
from platestore.spec import pyramids
from platestore.spec.geometry import Factors, found_factors, level_shapes
from platestore.spec.multiscales import ImagesMeta, MultiScaleMeta
from platestore.spec.transforms import scale_of
from platestore.storage.hierarchy import ArrayDocument
from platestore.tree.image import ImageEditor


def image_of(meta: ImagesMeta, position: ImageEditor, name: str | None = None) -> MultiScaleMeta:
    """The multiscales whose level 0 has a name; the first one by default.

    Raises
    ------
    ArgumentError
        If there is none, or it has no level 0.
    """
    images = [m for m in meta.multiscales if m.datasets and name in (None, m.datasets[0].path)]
    if not images or (name is None and images[0] is not meta.multiscales[0]):
        what = "no image" if name is None else f"no image whose level 0 is {name!r}"
        raise ArgumentError(
            f"there is {what}", path=position.location.where, hint="create the image of level 0 first"
        )
    return images[0]


def documents_of(position: ImageEditor, image: MultiScaleMeta) -> list[ArrayDocument]:
    """Documents of all levels.

    Raises
    ------
    InvalidMetadataError
        If a level that is listed is not there.
    """
    out = []
    for dataset in image.datasets:
        try:
            out.append(position.array_document(dataset.path))
        except DanglingError as error:
            raise InvalidMetadataError(error.message, path=error.path, hint=error.hint) from error
    return out


def factors_of(
    position: ImageEditor, image: MultiScaleMeta, documents: Sequence[ArrayDocument], *, exact: bool = True
) -> list[Factors]:
    """Factors of the steps between the levels of an image: as recorded, or else as they are found.

    Parameters
    ----------
    position : ImageEditor
        The position.
    image : MultiScaleMeta
        The image.
    documents : sequence of ArrayDocument
        Its documents, level 0 first.
    exact : bool
        Whether shapes that this library would not make are refused; see :func:`found_factors`.

    Raises
    ------
    InvalidMetadataError
        If a level has another number of time points or channels than level 0, or if shapes must be exact, and
        are not those of a pyramid.
    """
    shapes = [summarise(d).shape for d in documents]
    known = pyramids.described(image)
    factors = _recorded(known[1], shapes) if known is not None else None
    if factors is not None:
        return factors
    scales = [scale_of(d.coordinate_transformations, len(image.axes)) for d in image.datasets]
    return found_factors(shapes, scales, image.axes, where=position.location.where, exact=exact)


def _recorded(steps: Sequence[Any], shapes: Sequence[Sequence[int]]) -> list[Factors] | None:
    """Factors as recorded, if they are those of the levels."""
    try:
        factors = [tuple(int(f) for f in step) for step in steps]
        fits = level_shapes(shapes[0], factors) == [tuple(s) for s in shapes]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return factors if fits and all(f >= 1 for step in factors for f in step) else None
