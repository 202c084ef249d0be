"""Levels of an image and of its label images: asked for, surveyed, computed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from platestore.arrays import indexing
from platestore.arrays.indexing import full_region
from platestore.arrays.metadata import summarise
from platestore.arrays.options import LayoutOptions
from platestore.errors import ArgumentError, InvalidMetadataError, StoreWarning
from platestore.images import level_making, levels
from platestore.images.levels import Levels
from platestore.progress import Progress
from platestore.resources import Resources
from platestore.spec import pyramids
from platestore.spec.geometry import Step, level_shapes, plan_factors
from platestore.spec.multiscales import MultiScaleMeta
from platestore.tree.image import ImageEditor
from platestore.tree.levels import documents_of, factors_of, image_of


@dataclass(frozen=True, slots=True)
class Request:
    """The levels that one call asks for."""

    levels: int | str | None
    method: str
    dims: Sequence[str] | None = None
    factors: Sequence[Step] | None = None
    region: Any = None
    options: LayoutOptions = field(default_factory=LayoutOptions)
    keep_foreign: bool = False


@dataclass(frozen=True, slots=True)
class _Job:
    """What is to be done to one image."""

    node: ImageEditor
    levels: Levels
    how: Literal["build", "fill", "region"]
    region: tuple[slice, ...] | None = None

    @property
    def nbytes(self) -> int:
        return summarise(self.levels.base).nbytes


def _labels_of(position: ImageEditor) -> Iterator[ImageEditor]:
    for _, label in position.labels():
        if label.meta.multiscales[0].datasets:
            yield label


def initialise(position: ImageEditor, request: Request) -> None:
    """Create levels; see :meth:`Position.initialize_pyramid`."""
    position.location.storage.require_writable(position.location.path)
    jobs, left = _jobs(position, request)
    for job in jobs:
        if job.levels.names and len(_image(job.node).datasets) == 1:
            level_making.initialise(job.node, job.levels)
    warn_of(left, 4)


def compute_again(
    position: ImageEditor, method: str, *, max_memory: int | str | None = None, workers: int | None = None
) -> None:
    """Compute the levels that an image has from its level 0; those of its label images stay as they are."""
    compute(position, Request(None, method), Resources(max_memory, workers), labels=False)


def compute(
    position: ImageEditor, request: Request, resources: Resources, *, labels: bool = True
) -> list[str]:
    """Compute levels; see :meth:`Position.compute_pyramid`. Returns what is left as it is, and why."""
    position.location.storage.require_writable(position.location.path)
    found, left = _jobs(position, request) if labels else ([_job(position, request)], [])
    jobs = [job for job in found if job.levels.names]
    for job in jobs if len(jobs) > 1 else []:  # a single one is checked where it is built
        level_making.check_budget(job.node, job.levels, resources, job.region)
    total, before = sum(job.nbytes for job in jobs), 0
    built: list[tuple[_Job, list[str]]] = []
    try:
        for job in jobs:
            mine = replace(resources, progress=_shifted(resources.progress, before, total))
            if job.how == "build":
                built.append((job, level_making.build_staged(job.node, job.levels, mine)))
            elif job.how == "fill":
                level_making.fill_in_place(job.node, job.levels, mine)
                level_making.complete(job.node, job.levels)
            elif job.region is not None:
                _recompute(job, job.region, mine)
            before += job.nbytes
            if mine.progress is not None:
                mine.progress(job.nbytes, job.nbytes)
        # All of them exist before the first is listed: an image and its labels have as many levels.
        while built:
            level_making.install(built[0][0].node, built[0][0].levels, built[0][1])
            del built[0]
    except BaseException:
        for job, staged in built:
            level_making.discard(job.node, staged)
        raise
    return left


def compute_surveyed(
    position: ImageEditor,
    count: int | str | None,
    method: str,
    dims: Sequence[str] | None,
    factors: Sequence[Step] | None,
    resources: Resources,
    *,
    force: bool,
) -> None:
    """Compute levels as :func:`survey` said."""
    compute(position, Request(count, method, dims, factors, keep_foreign=not force), resources)


@dataclass(frozen=True, slots=True)
class PyramidSurvey:
    """What there is to do for one position.

    Attributes
    ----------
    is_current : bool
        Whether what is there is what would be made: all levels, unmarked, same method and factors; or is
        another program's, not to be touched. Whether level 0 changed since cannot be told.
    nbytes : int
        Bytes of level 0 of the image and of its labels.
    left : list of str
        What is left as it is, and why.
    """

    is_current: bool
    nbytes: int
    left: list[str]


def survey(
    position: ImageEditor,
    count: int | str | None,
    method: str,
    dims: Sequence[str] | None,
    factors: Sequence[Step] | None,
    *,
    force: bool,
) -> PyramidSurvey:
    """What :func:`compute` would do, as far as the documents tell; nothing is changed.

    With ``force``, levels that another program made are computed as well.
    """
    image = _image(position)
    if pyramids.is_foreign(image) and not force:
        factors_of(position, image, documents_of(position, image), exact=False)
        return PyramidSurvey(True, 0, [f"{position.location.where}: {_has_levels(image)}, skipped"])
    jobs, left = _jobs(position, Request(count, method, dims, factors, keep_foreign=not force))
    return PyramidSurvey(all(map(_is_current, jobs)), sum(job.nbytes for job in jobs), left)


def delete(position: ImageEditor) -> None:
    """Delete all levels but level 0, of an image and of its label images."""
    position.location.storage.require_writable(position.location.path)
    nodes = [position, *_labels_of(position)]
    for node in nodes:
        image_of(node.peek(), node)
    for node in nodes:
        level_making.delete(node, image_of(node.peek(), node).datasets[0].path)


def warn_of(left: Sequence[str], level: int) -> None:
    """Warn of what is left as it is."""
    for text in left:
        warnings.warn(text, StoreWarning, stacklevel=level)


def _is_current(job: _Job) -> bool:
    image = _image(job.node)
    made = pyramids.described(image)
    if not job.levels.names:
        return True
    if len(image.datasets) == 1 or made is None or not pyramids.is_whole(image):
        return False
    return made == (job.levels.method, [list(step) for step in job.levels.factors])


def _image(node: ImageEditor) -> MultiScaleMeta:
    return image_of(node.peek(), node)


def _recompute(job: _Job, region: tuple[slice, ...], resources: Resources) -> None:
    """Make the part of the levels that depends on a region anew, and what an earlier call left half done."""
    with job.node.location.storage.lock(job.node.location.path):
        todo = level_making.mark_regions(job.node, job.levels, [[s.start, s.stop] for s in region])
    for bounds in todo:
        part = tuple(slice(*b) for b in bounds)
        level_making.fill_in_place(job.node, job.levels, resources, part)
    level_making.complete(job.node, job.levels, only=todo)


def _shifted(progress: Progress | None, before: int, total: int) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, _: progress(before + done, total)


def _jobs(position: ImageEditor, request: Request) -> tuple[list[_Job], list[str]]:
    """What is to be done to the image and its labels, and which labels are left as they are, and why.

    Everything is checked before anything is done.
    """
    first = _job(position, request)
    jobs, left = [first], list[str]()
    names = position.axis_names
    for label in _labels_of(position):
        has = set(label.axis_names)  # labels may lack an axis of the image, such as C
        steps = [
            {name: f for name, f in zip(names, step, strict=True) if name in has}
            for step in first.levels.factors
        ]
        part = None if first.region is None else dict(zip(names, first.region, strict=True))
        theirs = Request(len(steps) + 1, label.pyramid_method, None, steps, request.region)
        image = _image(label)
        if request.keep_foreign and pyramids.is_foreign(image):
            left.append(f"{label.location.where}: {_has_levels(image)}, left as they are")
            continue
        try:
            jobs.append(_job(label, theirs, part))
        except (ArgumentError, InvalidMetadataError) as error:
            if len(image.datasets) < 2:
                raise
            # Levels of its own, whoever made them, are no reason to keep those of the image from anyone.
            left.append(f"{label.location.where}: its levels are left as they are: {error.message}")
    return jobs, left


def _has_levels(image: MultiScaleMeta) -> str:
    return f"has {len(image.datasets)} levels (made by {pyramids.maker(image)})"


def _job(node: ImageEditor, request: Request, of_image: dict[str, slice] | None = None) -> _Job:
    image = _image(node)
    documents = documents_of(node, image)
    base, where = documents[0], node.location.where
    if len(image.datasets) == 1:
        if request.levels is None:
            raise ArgumentError(
                "there is no pyramid yet, and levels= does not say how many it shall have",
                path=where,
                hint='pass levels="auto", or a number that counts level 0',
            )
        if request.region is not None:
            raise ArgumentError(
                "there are no levels whose region could be made anew",
                path=where,
                hint="compute the whole pyramid first",
            )
        new = levels.wanted(
            node, image, base, request.levels, request.method, request.dims, request.factors, request.options
        )
        return _Job(node, new, "build")
    if request.options and (request.region is not None or pyramids.incomplete(image)):
        raise ArgumentError(
            "levels that are filled in place keep their layout",
            path=where,
            hint="call delete_pyramid() first",
        )
    found = levels.existing(node, image, documents, request.method, request.options)
    if request.levels is not None or request.dims is not None or request.factors is not None:
        _require_same(node, image, base, found, request.levels, request.dims, request.factors)
    if request.region is not None:
        made = pyramids.described(image)
        untouched = pyramids.incomplete(image) and not pyramids.is_begun(image)
        if made is not None and made[0] != request.method and not untouched:
            raise ArgumentError(
                f"the levels were made with {made[0]!r}: a region of them cannot be made with "
                f"{request.method!r}",
                path=where,
                hint=f"pass method={made[0]!r}, or compute the whole pyramid",
            )
        region = _check_region(found, request.region, of_image, node.axis_names, where)
        return _Job(node, found, "region", region)
    return _Job(node, found, "fill" if pyramids.incomplete(image) else "build")


def _require_same(
    node: ImageEditor,
    image: MultiScaleMeta,
    base: Any,
    found: Levels,
    count: int | str | None,
    dims: Sequence[str] | None,
    factors: Sequence[Step] | None,
) -> None:
    """Refuse levels that are not those that exist."""
    where = node.location.where
    names = [axis.name for axis in image.axes]
    shape = summarise(base).shape
    number: int | str = len(found.factors) + 1 if count is None else count
    asked = plan_factors(shape, names, number, dims, factors)
    hint = "call delete_pyramid() first"
    if len(asked) != len(found.factors):
        raise ArgumentError(
            f"the pyramid has {len(found.factors) + 1} levels, not {len(asked) + 1}", path=where, hint=hint
        )
    shapes = level_shapes(shape, asked)
    if (dims is not None or factors is not None) and shapes != level_shapes(shape, found.factors):
        raise ArgumentError(
            f"the levels that exist were made with the factors {found.factors}, not {asked}",
            path=where,
            hint=hint,
        )


def _check_region(
    found: Levels,
    region: Any,
    of_image: dict[str, slice] | None,
    names: Sequence[str],
    where: str,
) -> tuple[slice, ...]:
    """A region as slices; that of the image, cut to a label image."""
    shape = summarise(found.base).shape
    if of_image is not None:
        parts = [of_image.get(name, slice(0, n)) for name, n in zip(names, shape, strict=True)]
        return tuple(slice(0, 1) if n == 1 else s for s, n in zip(parts, shape, strict=True))
    index = indexing.basic(region, shape)
    if index is None:
        raise ArgumentError(f"region {region!r} is no index of level 0 of shape {shape}", path=where)
    full = full_region(index)
    if any(s.step not in (None, 1) or s.start >= s.stop for s in full):
        raise ArgumentError(f"region {region!r} is empty, or has steps", path=where)
    return full
