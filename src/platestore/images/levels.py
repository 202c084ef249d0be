"""The levels that one image is to have. Nothing is changed here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from platestore.arrays.layout import layout_of, level_layout
from platestore.arrays.metadata import summarise
from platestore.arrays.options import LayoutOptions
from platestore.errors import InvalidMetadataError, NodeExistsError
from platestore.pyramid.kernels import check_method
from platestore.spec.geometry import Factors, Step, level_shapes, plan_factors
from platestore.spec.multiscales import MultiScaleMeta
from platestore.storage.hierarchy import ArrayDocument, array_files
from platestore.tree.image import ImageEditor
from platestore.tree.leftovers import require_free
from platestore.tree.levels import factors_of

_AS_BEFORE = LayoutOptions()


@dataclass(frozen=True, slots=True)
class Levels:
    """The levels that one image is to have.

    Attributes
    ----------
    base : ArrayDocument
        Document of level 0.
    name : str
        Its name in the position.
    names : list of str
        Names of the other levels.
    factors : list of tuple of int
        Factors of each step.
    method : str
        How windows are reduced.
    documents : list of ArrayDocument
        Documents of the other levels, in their final places, whether they exist yet or not.
    """

    base: ArrayDocument
    name: str
    names: list[str]
    factors: list[Factors]
    method: str
    documents: list[ArrayDocument]


def existing(
    position: ImageEditor,
    image: MultiScaleMeta,
    documents: Sequence[ArrayDocument],
    method: str,
    options: LayoutOptions = _AS_BEFORE,
) -> Levels:
    """The levels that an image has, in another layout if one is asked for.

    Parameters
    ----------
    position : ImageEditor
        The position.
    image : MultiScaleMeta
        The image.
    documents : sequence of ArrayDocument
        Its documents, as :func:`documents_of` gives them.
    method : str
        How windows are to be reduced.
    options : LayoutOptions
        The layout that is asked for.

    Raises
    ------
    InvalidMetadataError
        If their shapes are not those of a pyramid.
    """
    factors = factors_of(position, image, documents)
    shapes = [summarise(d).shape for d in documents]
    types = [summarise(d).dtype for d in documents]
    check_method(method, types[0])
    if len(set(types)) > 1:
        raise InvalidMetadataError(
            f"the levels have different data types: {', '.join(types)}",
            path=position.location.where,
            hint="delete_pyramid(), then compute it anew",
        )
    names = [d.path for d in image.datasets[1:]]
    others = list(documents[1:])
    if options:
        others = _new_documents(position, image, documents[0], names, shapes[1:], options)
    return Levels(
        base=documents[0],
        name=image.datasets[0].path,
        names=names,
        factors=factors,
        method=method,
        documents=others,
    )


def _new_documents(
    position: ImageEditor,
    image: MultiScaleMeta,
    base: ArrayDocument,
    names: Sequence[str],
    shapes: Sequence[tuple[int, ...]],
    options: LayoutOptions,
) -> list[ArrayDocument]:
    """Documents of new levels: as asked for, or else like level 0."""
    location, fmt = position.location, position.location.zarr_format
    layout = layout_of(base.data, fmt, where=location.storage.where(base.path))
    axis_names = [axis.name for axis in image.axes]
    if options:
        layouts = [options.layout(s, layout.dtype, fmt, axis_names) for s in shapes]
    else:
        layouts = [level_layout(layout, s) for s in shapes]
    out = []
    for name, each in zip(names, layouts, strict=True):
        place = location.child(name)
        files = array_files(fmt, each.document(fmt, axis_names), where=place.where)
        out.append(ArrayDocument(place.path, fmt, files[-1][1]))
    return out


def wanted(
    position: ImageEditor,
    image: MultiScaleMeta,
    base: ArrayDocument,
    levels: int | str,
    method: str,
    dims: Sequence[str] | None,
    factors: Sequence[Step] | None,
    options: LayoutOptions = _AS_BEFORE,
    names: list[str] | None = None,
) -> Levels:
    """The levels that are asked for, in the layout of level 0 unless another one is."""
    summary = summarise(base)
    check_method(method, summary.dtype)
    steps = plan_factors(summary.shape, [axis.name for axis in image.axes], levels, dims, factors)
    shapes = level_shapes(summary.shape, steps)[1:]
    name = image.datasets[0].path if image.datasets else base.path.rpartition("/")[2]
    names = names or _free_names(position, image, name, len(steps))
    return Levels(
        base=base,
        name=name,
        names=names,
        factors=steps,
        method=method,
        documents=_new_documents(position, image, base, names, shapes, options),
    )


def _free_names(position: ImageEditor, image: MultiScaleMeta, base: str, count: int) -> list[str]:
    """Names of new levels: the numbers after level 0's, unless something else has one of them."""
    kept = {d.path for d in image.datasets[1:]}
    taken = set(position.peek().paths()) - kept
    numbers = [str(int(base) + k) for k in range(1, count + 1)] if base.isdecimal() else []
    if numbers and not any(name in taken or _is_occupied(position, name, kept) for name in numbers):
        return numbers
    head, _, last = base.rpartition("/")
    for attempt in range(1000):
        extra = "" if not attempt else f".{attempt}"
        names = [f"{last}_level{k}{extra}" for k in range(1, count + 1)]
        names = [f"{head}/{n}" if head else n for n in names]
        if not any(name in taken or _is_occupied(position, name, kept) for name in names):
            return names
    raise NodeExistsError("no names are left for the levels", path=position.location.where)


def _is_occupied(position: ImageEditor, name: str, kept: set[str]) -> bool:
    if name in kept:
        return False
    try:
        require_free(position.location.child(name), "array")
    except NodeExistsError:
        return True
    return False
