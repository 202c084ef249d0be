"""What the multiscales' ``type`` and ``metadata`` say of a pyramid: how it was made, whether it is whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from platestore.spec.multiscales import MultiScaleMeta
from platestore.spec.own import NAMESPACE
from platestore.spec.values import Json

#: What made the levels, as the specification's ``metadata.method``.
PRODUCER = "platestore.compute_pyramid"
_INCOMPLETE = "incomplete"
_REGIONS = "regions"
_FILLED = "filled"

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


def maker(image: MultiScaleMeta) -> str:
    """What made the levels, as far as the document tells."""
    metadata = image.metadata or {}
    method, version = metadata.get("method"), metadata.get("version")
    if isinstance(method, str) and method:
        return f"{method} {version}" if isinstance(version, str) and version else method
    if image.type and image.type not in ("none", "unspecified"):
        return f"another program, by {image.type!r}"
    return "another program"


def is_foreign(image: MultiScaleMeta) -> bool:
    """Whether the image has levels, all of them complete, that another program made."""
    return len(image.datasets) > 1 and described(image) is None and is_whole(image)


def _marks(image: MultiScaleMeta) -> Json:
    marks = (image.metadata or {}).get(NAMESPACE)
    return marks if isinstance(marks, dict) else {}


def incomplete(image: MultiScaleMeta) -> list[str]:
    """Paths of the levels that were initialised and not computed yet."""
    paths = _marks(image).get(_INCOMPLETE)
    return [p for p in paths if isinstance(p, str)] if isinstance(paths, list) else []


def regions(image: MultiScaleMeta) -> list[Region]:
    """Regions of level 0 whose levels were being made anew: ``[[start, stop], ...]`` per axis."""
    return _regions_at(image, _REGIONS)


def _regions_at(image: MultiScaleMeta, mark: str) -> list[Region]:
    found, ndim = _marks(image).get(mark), len(image.axes)
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


def mark_filled(image: MultiScaleMeta, done: Sequence[Region], shape: Sequence[int]) -> None:
    """Say that regions of levels that were only initialised are computed; with the last one, they all are."""
    filled = _regions_at(image, _FILLED)
    for region in done:
        filled = _with(filled, region)
    if [[0, n] for n in shape] in filled:
        _put(image, _INCOMPLETE, [])
        filled = []
    _put(image, _FILLED, filled)


def is_begun(image: MultiScaleMeta) -> bool:
    """Whether a region of levels that were initialised is computed already."""
    return bool(_marks(image).get(_FILLED))


def mark_region(image: MultiScaleMeta, region: Region) -> None:
    """Say that a region of the levels is being made anew; one that continues another one extends it."""
    _put(image, _REGIONS, _with(regions(image), region))


def _with(known: Sequence[Region], new: Region) -> list[Region]:
    """Regions and another one; those that together are one box become that."""
    kept = list(known)
    while True:
        other = next((r for r in kept if _joined(r, new) is not None), None)
        if other is None:
            return [*kept, new]
        kept.remove(other)
        new = _joined(other, new) or new


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
    _put(image, _REGIONS, _clipped(regions(image), shape))
    if incomplete(image):
        filled = _clipped(_regions_at(image, _FILLED), shape)
        _put(image, _FILLED, [])
        mark_filled(image, filled, shape)
        return  # what is new is not computed either
    for region in new:
        mark_region(image, region)


def _clipped(known: Sequence[Region], shape: Sequence[int]) -> list[Region]:
    """What lies within a shape."""
    out = []
    for region in known:
        inside = [[start, min(stop, n)] for (start, stop), n in zip(region, shape, strict=True)]
        if all(start < stop for start, stop in inside):
            out.append(inside)
    return out


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
    steps = known[1]
    if index < len(steps):  # the next level is made from the one before now
        steps[index] = [a * b for a, b in zip(steps[index - 1], steps[index], strict=True)]
    del steps[index - 1]
    kwargs = {**(image.metadata or {})["kwargs"], "factors": steps}
    if isinstance(kwargs.get("methods"), list):
        kwargs["methods"] = [m for i, m in enumerate(kwargs["methods"]) if i != index - 1]
    image.metadata = {**(image.metadata or {}), "kwargs": kwargs}


def unmark(image: MultiScaleMeta, *, only: Sequence[Region] | None = None) -> None:
    """Take the marks away: all, or those of some regions."""
    _put(image, _REGIONS, [] if only is None else [r for r in regions(image) if r not in only])
    if only is None:
        _put(image, _INCOMPLETE, [])
        _put(image, _FILLED, [])


def _put(image: MultiScaleMeta, mark: str, values: Sequence[Any]) -> None:
    """Give a mark other values; without any, it goes."""
    marks = {key: value for key, value in _marks(image).items() if key != mark}
    _mark(image, {**marks, mark: list(values)} if values else marks)


def _mark(image: MultiScaleMeta, marks: Json) -> None:
    metadata = dict(image.metadata or {})
    metadata.pop(NAMESPACE, None)
    image.metadata = {**metadata, NAMESPACE: marks} if marks else metadata
