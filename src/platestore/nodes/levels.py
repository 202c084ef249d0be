"""The levels of one image: which there are, and which are wanted. Nothing is changed here."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from platestore.arrays.layout import layout_of, level_layout
from platestore.arrays.metadata import summarise
from platestore.errors import ArgumentError, DanglingError, InvalidMetadataError, NodeExistsError
from platestore.nodes.leftovers import require_free
from platestore.nodes.wishes import Wishes
from platestore.pyramid.geometry import Factors, Step, found_factors, level_shapes, plan_factors
from platestore.pyramid.kernels import check_method
from platestore.spec import pyramids
from platestore.spec.findings import Finding
from platestore.spec.transforms import scale_of
from platestore.storage.hierarchy import ArrayDocument, array_files, read_array

if TYPE_CHECKING:
    from platestore.nodes.location import Location
    from platestore.nodes.position import Position
    from platestore.spec.multiscales import ImagesMeta, MultiScaleMeta


_AS_BEFORE = Wishes()


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


def image_of(meta: ImagesMeta, position: Position, name: str | None = None) -> MultiScaleMeta:
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
            f"there is {what}", path=position._location.where, hint="create the image of level 0 first"
        )
    return images[0]


def documents_of(position: Position, image: MultiScaleMeta) -> list[ArrayDocument]:
    """Documents of all levels.

    Raises
    ------
    InvalidMetadataError
        If a level that is listed is not there.
    """
    out = []
    for dataset in image.datasets:
        try:
            out.append(position._array_document(dataset.path))
        except DanglingError as error:
            raise InvalidMetadataError(error.message, path=error.path, hint=error.hint) from error
    return out


def existing(
    position: Position,
    image: MultiScaleMeta,
    documents: Sequence[ArrayDocument],
    method: str,
    wishes: Wishes = _AS_BEFORE,
) -> Levels:
    """The levels that an image has, in another layout if one is asked for.

    Parameters
    ----------
    position : Position
        The position.
    image : MultiScaleMeta
        The image.
    documents : sequence of ArrayDocument
        Its documents, as :func:`documents_of` gives them.
    method : str
        How windows are to be reduced.
    wishes : Wishes
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
            path=position._location.where,
            hint="delete_pyramid(), then compute it anew",
        )
    names = [d.path for d in image.datasets[1:]]
    others = list(documents[1:])
    if wishes:
        others = _new_documents(position, image, documents[0], names, shapes[1:], wishes)
    return Levels(
        base=documents[0],
        name=image.datasets[0].path,
        names=names,
        factors=factors,
        method=method,
        documents=others,
    )


def factors_of(
    position: Position, image: MultiScaleMeta, documents: Sequence[ArrayDocument], *, exact: bool = True
) -> list[Factors]:
    """Factors of the steps between the levels of an image: as recorded, or else as they are found.

    Parameters
    ----------
    position : Position
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
    return found_factors(shapes, scales, image.axes, where=position._location.where, exact=exact)


def _new_documents(
    position: Position,
    image: MultiScaleMeta,
    base: ArrayDocument,
    names: Sequence[str],
    shapes: Sequence[tuple[int, ...]],
    wishes: Wishes,
) -> list[ArrayDocument]:
    """Documents of new levels: as asked for, or else like level 0."""
    location, fmt = position._location, position._location.zarr_format
    layout = layout_of(base.data, fmt, where=location.storage.where(base.path))
    axis_names = [axis.name for axis in image.axes]
    if wishes:
        layouts = [wishes.layout(s, layout.dtype, fmt, axis_names) for s in shapes]
    else:
        layouts = [level_layout(layout, s) for s in shapes]
    out = []
    for name, each in zip(names, layouts, strict=True):
        place = location.child(name)
        files = array_files(fmt, each.document(fmt, axis_names), where=place.where)
        out.append(ArrayDocument(place.path, fmt, files[-1][1]))
    return out


def _recorded(steps: Sequence[Any], shapes: Sequence[Sequence[int]]) -> list[Factors] | None:
    """Factors as recorded, if they are those of the levels."""
    try:
        factors = [tuple(int(f) for f in step) for step in steps]
        fits = level_shapes(shapes[0], factors) == [tuple(s) for s in shapes]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return factors if fits and all(f >= 1 for step in factors for f in step) else None


def wanted(
    position: Position,
    image: MultiScaleMeta,
    base: ArrayDocument,
    levels: int | str,
    method: str,
    dims: Sequence[str] | None,
    factors: Sequence[Step] | None,
    wishes: Wishes = _AS_BEFORE,
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
        documents=_new_documents(position, image, base, names, shapes, wishes),
    )


def _free_names(position: Position, image: MultiScaleMeta, base: str, count: int) -> list[str]:
    """Names of new levels: the numbers after level 0's, unless something else has one of them."""
    kept = {d.path for d in image.datasets[1:]}
    taken = set(position._peek().paths()) - kept
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
    raise NodeExistsError("no names are left for the levels", path=position._location.where)


def _is_occupied(position: Position, name: str, kept: set[str]) -> bool:
    if name in kept:
        return False
    try:
        require_free(position._location.child(name), "array")
    except NodeExistsError:
        return True
    return False


# --- arrays against what a document says of them --------------------------------------------------


def misfits(location: Location, former: ImagesMeta, meta: ImagesMeta) -> Iterator[Finding]:
    """Arrays that a document lists anew, or with other axes than before, and that are not as it says."""
    before = {pair for image in former.multiscales for pair in _axes_by_path(image)}
    orders = [image.get_dataset_paths() for image in former.multiscales]
    for i, image in enumerate(meta.multiscales):
        if image.get_dataset_paths() not in orders:
            yield from _order_findings(location, image, f"multiscales[{i}].datasets")
        for path, names in _axes_by_path(image):
            if (path, names) not in before:
                yield from _array_findings(location.child(path), names, f"multiscales[{i}], dataset {path!r}")


def _order_findings(location: Location, image: MultiScaleMeta, where: str) -> Iterator[Finding]:
    shapes: dict[str, list[int]] = {}
    for path in image.get_dataset_paths():
        place = location.child(path)
        document = read_array(place.storage, place.path, place.zarr_format)
        if document is not None and isinstance(document.content.get("shape"), list):
            shapes[path] = document.content["shape"]
    for (finer, one), (coarser, other) in itertools.pairwise(shapes.items()):
        if any(a < b for a, b in zip(one, other, strict=False)):
            yield Finding(
                "level-order", where, f"{coarser!r}, of {other}, is larger than {finer!r} before it"
            )


def _axes_by_path(image: MultiScaleMeta) -> Iterator[tuple[str, tuple[str, ...]]]:
    names = tuple(axis.name for axis in image.axes)
    return ((path, names) for path in image.get_dataset_paths())


def _array_findings(place: Location, names: tuple[str, ...], where: str) -> Iterator[Finding]:
    document = read_array(place.storage, place.path, place.zarr_format)
    if document is None:
        yield Finding("member-missing", where, "is listed, but there is no such array")
        return
    shape, known = document.content.get("shape"), document.content.get("dimension_names")
    if isinstance(shape, list) and len(shape) != len(names):
        yield Finding("array-rank", where, f"has {len(shape)} dimensions, and there are {len(names)} axes")
    elif place.zarr_format == 3 and known != list(names):
        there = "no 'dimension_names'" if known is None else f"the 'dimension_names' {known}"
        yield Finding("dimension-names", where, f"the array has {there}, and the axes are {list(names)}")
