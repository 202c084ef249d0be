"""What the multiscales' ``type`` and ``metadata`` say of a pyramid: how it was made, whether it is whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from platestore.spec.multiscales import MultiScaleMeta
from platestore.spec.own import NAMESPACE

#: What made the levels, as the specification's ``metadata.method``.
PRODUCER = "platestore.compute_pyramid"
_INCOMPLETE = "incomplete"
_REGIONS = "regions"

Region = list[list[int]]


def describe(image: MultiScaleMeta, method: str, factors: Sequence[Sequence[int]], version: str) -> None:
    """Say how the levels are made, as the specification asks.

    Parameters
    ----------
    image : MultiScaleMeta
        Changed in place; what others wrote into ``metadata`` stays.
    method : str
        The method.
    factors : sequence of sequence of int
        Factors of each step.
    version : str
        Version of this library.
    """
    image.type = method
    image.metadata = {
        **(image.metadata or {}),
        "method": PRODUCER,
        "version": version,
        "kwargs": {"method": method, "factors": [list(step) for step in factors]},
    }


def forget(image: MultiScaleMeta) -> None:
    """Take away what :func:`describe` and the marks say, of an image that has no levels any more."""
    metadata = dict(image.metadata or {})
    if metadata.get("method") == PRODUCER:
        for key in ("method", "version", "kwargs"):
            metadata.pop(key, None)
    metadata.pop(NAMESPACE, None)
    image.metadata = metadata
    image.type = "none" if image.datasets else None


def described(image: MultiScaleMeta) -> tuple[str, list[list[int]]] | None:
    """Method and factors, if :func:`describe` wrote them."""
    metadata = image.metadata or {}
    kwargs = metadata.get("kwargs")
    if metadata.get("method") != PRODUCER or not isinstance(kwargs, dict):
        return None
    method, factors = kwargs.get("method"), kwargs.get("factors")
    if not isinstance(method, str) or not isinstance(factors, list):
        return None
    return method, factors


def _marks(image: MultiScaleMeta) -> dict[str, Any]:
    marks = (image.metadata or {}).get(NAMESPACE)
    return marks if isinstance(marks, dict) else {}


def incomplete(image: MultiScaleMeta) -> list[str]:
    """Paths of the levels that were initialised and not computed yet."""
    paths = _marks(image).get(_INCOMPLETE)
    return [p for p in paths if isinstance(p, str)] if isinstance(paths, list) else []


def regions(image: MultiScaleMeta) -> list[Region]:
    """Regions of level 0 whose levels were being made anew: ``[[start, stop], ...]`` per axis."""
    found = _marks(image).get(_REGIONS)
    ndim = len(image.axes)
    return [r for r in found if _is_region(r, ndim)] if isinstance(found, list) else []


def _is_region(value: Any, ndim: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == ndim
        and all(isinstance(p, list) and len(p) == 2 and all(type(v) is int for v in p) for p in value)
    )


def is_whole(image: MultiScaleMeta) -> bool:
    """Whether no mark says that levels are not filled or not up to date."""
    return not _marks(image).get(_INCOMPLETE) and not _marks(image).get(_REGIONS)


def mark_incomplete(image: MultiScaleMeta, paths: Sequence[str]) -> None:
    """Say that levels exist, but are not computed yet."""
    _mark(image, {**_marks(image), _INCOMPLETE: list(paths)})


def mark_region(image: MultiScaleMeta, region: Region) -> None:
    """Say that a region of the levels is being made anew; one that continues another one extends it."""
    new, kept = region, regions(image)
    for other in list(kept):
        joined = _joined(other, new)
        if joined is not None:
            kept[kept.index(other)] = new = joined
            while kept.count(new) > 1:
                kept.remove(new)
    _mark(image, {**_marks(image), _REGIONS: kept if new in kept else [*kept, new]})


def _joined(one: Region, other: Region) -> Region | None:
    """Two regions as one, if they are the same but for one axis along which they touch."""
    differing = [i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
    if not differing:
        return one
    (i, *more) = differing
    (start, stop), (begin, end) = one[i], other[i]
    if more or begin > stop or start > end:
        return None
    return [*one[:i], [min(start, begin), max(stop, end)], *one[i + 1 :]]


def mark_resized(image: MultiScaleMeta, shape: Sequence[int], new: Sequence[Region]) -> None:
    """Say which regions are to be made anew after level 0 got another shape; those beyond it are gone."""
    kept = []
    for region in regions(image):
        inside = [[start, min(stop, n)] for (start, stop), n in zip(region, shape, strict=True)]
        if all(start < stop for start, stop in inside):
            kept.append(inside)
    _put(image, _REGIONS, kept)
    for region in new:
        mark_region(image, region)


def drop_level(image: MultiScaleMeta, index: int) -> None:
    """Take a level after the first out of the list, and out of what is said of how levels are made."""
    gone = image.datasets[index]
    image.datasets = [d for d in image.datasets if d is not gone]
    if len(image.datasets) == 1:
        forget(image)
        return
    _put(image, _INCOMPLETE, [path for path in incomplete(image) if path != gone.path])
    known = described(image)
    if known is None or len(known[1]) != len(image.datasets):
        return
    method, steps = known
    if index < len(steps):  # the next level is made from the one before now
        steps[index] = [a * b for a, b in zip(steps[index - 1], steps[index], strict=True)]
    del steps[index - 1]
    image.metadata = {**(image.metadata or {}), "kwargs": {"method": method, "factors": steps}}


def unmark(image: MultiScaleMeta, *, only: Sequence[Region] | None = None) -> None:
    """Take the marks away: all, or those of some regions."""
    _put(image, _REGIONS, [] if only is None else [r for r in regions(image) if r not in only])
    if only is None:
        _put(image, _INCOMPLETE, [])


def _put(image: MultiScaleMeta, mark: str, values: Sequence[Any]) -> None:
    """Give a mark other values; without any, it goes."""
    marks = {key: value for key, value in _marks(image).items() if key != mark}
    _mark(image, {**marks, mark: list(values)} if values else marks)


def _mark(image: MultiScaleMeta, marks: dict[str, Any]) -> None:
    metadata = dict(image.metadata or {})
    metadata.pop(NAMESPACE, None)
    image.metadata = {**metadata, NAMESPACE: marks} if marks else metadata
