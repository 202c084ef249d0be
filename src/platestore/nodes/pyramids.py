"""Pyramids of positions and of their label images: what users call."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from platestore.errors import ArgumentError, InvalidMetadataError, StoreWarning
from platestore.nodes.wishes import Wishes
from platestore.settings import resident_bytes
from platestore.spec import pyramids

if TYPE_CHECKING:
    from platestore.arrays.codecs import CompressorLike
    from platestore.arrays.layout import Shards
    from platestore.nodes.levels import Levels
    from platestore.nodes.position import Position
    from platestore.progress import Progress
    from platestore.pyramid.geometry import Step
    from platestore.pyramid.levels import Resources
    from platestore.spec.multiscales import MultiScaleMeta


class Pyramids:
    """The methods of a position that concern its levels."""

    #: How windows are reduced unless something else is asked for.
    _pyramid_method: ClassVar[str] = "mean"

    def initialize_pyramid(
        self,
        levels: int | str,
        dims: Sequence[str] | None = None,
        factors: Sequence[Step] | None = None,
        *,
        chunks: Sequence[int] | None = None,
        shards_ratio: Sequence[int] | None = None,
        shards: Shards | None = None,
        compressor: CompressorLike | None = None,
        checksum: bool = False,
    ) -> None:
        """Create the levels of a pyramid, without pixels.

        Each level has the shape of the one above divided by the factors and rounded up. The levels of
        the position's label images are created with them. The document carries a mark until
        :meth:`compute_pyramid` has filled them.

        Parameters
        ----------
        levels : int or "auto"
            Number of levels, level 0 included (1 changes nothing); "auto" adds levels until Y and X are
            at most 256.
        dims : sequence of str, optional
            Names of the axes that shrink, by 2 per level; Z, Y and X by default.
        factors : sequence of dict or tuple, optional
            One per step from a level to the next: the factor of each axis, by name or in order.
        chunks, shards_ratio, shards, compressor, checksum
            Layout of the levels, as for :meth:`create_image`; by default that of level 0, with chunks of
            the same shape.

        Raises
        ------
        ArgumentError
            If an argument is wrong, there is no level 0, or levels exist in another number.
        """
        wishes = Wishes(chunks, shards_ratio, shards, compressor, checksum)
        initialise(cast("Position", self), _Ask(levels, self._pyramid_method, dims, factors, wishes=wishes))

    def compute_pyramid(
        self,
        levels: int | str | None = None,
        method: str = "mean",
        dims: Sequence[str] | None = None,
        *,
        factors: Sequence[Step] | None = None,
        region: Any = None,
        max_memory: int | str | None = None,
        workers: int | None = None,
        progress: bool | Progress | None = None,
        chunks: Sequence[int] | None = None,
        shards_ratio: Sequence[int] | None = None,
        shards: Shards | None = None,
        compressor: CompressorLike | None = None,
        checksum: bool = False,
    ) -> None:
        """Compute the levels of the pyramid from level 0, and those of the label images with them.

        Each level is made from the one above as it is stored (a cascade), all of them in one pass over
        level 0. Levels that exist are replaced at once when the new ones are complete; levels that were
        initialised are filled in place. After an interruption, running it again finishes the job. Label
        images that have other levels than the image keep them, with a warning.

        Parameters
        ----------
        levels : int or "auto", optional
            Number of levels, level 0 included; "auto" adds levels until Y and X are at most 256. By
            default the levels that exist.
        method : str
            ``"mean"`` (integers are rounded half to even), ``"median"`` (of an even window the lower
            middle value), ``"mode"`` (ties take the smallest value), ``"min"``, ``"max"``, ``"stride"``
            or ``"gaussian"`` (weights of a normal distribution that reaches beyond the window). Label
            images are made with ``"mode"``, whatever is asked for here.
        dims : sequence of str, optional
            Names of the axes that shrink, by 2 per level; Z, Y and X by default.
        factors : sequence of dict or tuple, optional
            One per step from a level to the next: the factor of each axis, by name or in order.
        region : index, optional
            Part of level 0 that changed, as integers and slices: only the pixels that depend on it are
            made anew, in place. Of levels that were initialised only, regions can be computed one by one as
            they are acquired.
        max_memory : int or str, optional
            Bytes by which the process may grow (``"2GB"``), 1 GiB by default.
        workers : int, optional
            Number of threads; that of ``platestore.config`` by default.
        progress : bool or callable, optional
            True shows a bar; a function is called with the bytes that are done, and all there are.
        chunks, shards_ratio, shards, compressor, checksum
            Layout of the levels, as for :meth:`create_image`; by default the levels keep theirs, and new
            ones get that of level 0, with chunks of the same shape.

        Raises
        ------
        ArgumentError
            If an argument is wrong, there is no level 0, no levels exist and none are asked for, or they
            exist in another number.
        InvalidMetadataError
            If the levels that exist are no pyramid.
        BudgetError
            If ``max_memory`` is too small; it names what is needed.
        DamagedChunkError, MissingChunkError
            If a chunk of level 0 cannot be read; the former levels stay.
        """
        # The first call loads what it needs, which is growth too.
        is_first, before = "platestore.nodes.level_making" not in sys.modules, resident_bytes()
        from platestore.nodes import level_making  # noqa: F401 - everything that the work needs
        from platestore.progress import shown
        from platestore.pyramid.levels import Resources

        loaded = max(2**20, resident_bytes() - before) if is_first else 0
        wishes = Wishes(chunks, shards_ratio, shards, compressor, checksum)
        ask = _Ask(levels, method, dims, factors, region, wishes)
        with shown(progress, "pyramid") as tell:
            left = compute(cast("Position", self), ask, Resources(max_memory, workers, tell, loaded))
        _warn(left, 3)

    def delete_pyramid(self) -> None:
        """Delete all levels but level 0, here and in the label images.

        Raises
        ------
        ArgumentError
            If there is no level 0.
        """
        from platestore.nodes import level_making, levels

        position = cast("Position", self)
        position._location.storage.require_writable(position._location.path)
        nodes = [position, *_labels_of(position)]
        for node in nodes:
            levels.image_of(node._peek(), node)
        for node in nodes:
            level_making.delete(node, levels.image_of(node._peek(), node).datasets[0].path)


@dataclass(frozen=True, slots=True)
class _Ask:
    """The arguments of one call."""

    levels: int | str | None
    method: str
    dims: Sequence[str] | None = None
    factors: Sequence[Step] | None = None
    region: Any = None
    wishes: Wishes = field(default_factory=Wishes)
    keep_foreign: bool = False


@dataclass(frozen=True, slots=True)
class _Job:
    """What is to be done to one image."""

    node: Position
    levels: Levels
    how: Literal["build", "fill", "region"]
    region: tuple[slice, ...] | None = None

    @property
    def nbytes(self) -> int:
        from platestore.arrays.metadata import summarise

        return summarise(self.levels.base).nbytes


def _labels_of(position: Position) -> Iterator[Position]:
    for _, label in position.labels():
        if label._state().multiscales[0].datasets:
            yield label


def initialise(position: Position, ask: _Ask) -> None:
    """Create levels; see :meth:`Pyramids.initialize_pyramid`."""
    from platestore.nodes import level_making

    position._location.storage.require_writable(position._location.path)
    jobs, left = _jobs(position, ask)
    for job in jobs:
        if job.levels.names and len(_image(job.node).datasets) == 1:
            level_making.initialise(job.node, job.levels)
    _warn(left, 4)


def compute_again(
    position: Position, method: str, *, max_memory: int | str | None = None, workers: int | None = None
) -> None:
    """Compute the levels that an image has from its level 0; those of its label images stay as they are."""
    from platestore.pyramid.levels import Resources

    compute(position, _Ask(None, method), Resources(max_memory, workers), labels=False)


def compute(position: Position, ask: _Ask, resources: Resources, *, labels: bool = True) -> list[str]:
    """Compute levels; see :meth:`Pyramids.compute_pyramid`. Returns what is left as it is, and why."""
    from platestore.nodes import level_making

    position._location.storage.require_writable(position._location.path)
    found, left = _jobs(position, ask) if labels else ([_job(position, ask)], [])
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
    position: Position,
    count: int | str | None,
    method: str,
    dims: Sequence[str] | None,
    factors: Sequence[Step] | None,
    resources: Resources,
    *,
    force: bool,
) -> None:
    """Compute levels as :func:`survey` said."""
    compute(position, _Ask(count, method, dims, factors, keep_foreign=not force), resources)


@dataclass(frozen=True, slots=True)
class Survey:
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
    position: Position,
    count: int | str | None,
    method: str,
    dims: Sequence[str] | None,
    factors: Sequence[Step] | None,
    *,
    force: bool,
) -> Survey:
    """What :func:`compute` would do, as far as the documents tell; nothing is changed.

    With ``force``, levels that another program made are computed as well.
    """
    from platestore.nodes import levels

    image = _image(position)
    if pyramids.is_foreign(image) and not force:
        levels.factors_of(position, image, levels.documents_of(position, image), exact=False)
        return Survey(True, 0, [f"{position._location.where}: {_has_levels(image)}, skipped"])
    jobs, left = _jobs(position, _Ask(count, method, dims, factors, keep_foreign=not force))
    return Survey(all(map(_is_current, jobs)), sum(job.nbytes for job in jobs), left)


def _warn(left: Sequence[str], level: int) -> None:
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


def _image(node: Position) -> MultiScaleMeta:
    from platestore.nodes import levels

    return levels.image_of(node._peek(), node)


def _recompute(job: _Job, region: tuple[slice, ...], resources: Resources) -> None:
    """Make the part of the levels that depends on a region anew, and what an earlier call left half done."""
    from platestore.nodes import level_making

    with job.node._location.storage.lock(job.node._location.path):
        todo = level_making.mark_regions(job.node, job.levels, [[s.start, s.stop] for s in region])
    for bounds in todo:
        part = tuple(slice(*b) for b in bounds)
        level_making.fill_in_place(job.node, job.levels, resources, part)
    level_making.complete(job.node, job.levels, only=todo)


def _shifted(progress: Progress | None, before: int, total: int) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, _: progress(before + done, total)


def _jobs(position: Position, ask: _Ask) -> tuple[list[_Job], list[str]]:
    """What is to be done to the image and its labels, and which labels are left as they are, and why.

    Everything is checked before anything is done.
    """
    first = _job(position, ask)
    jobs, left = [first], list[str]()
    names = position.axis_names
    for label in _labels_of(position):
        has = set(label.axis_names)  # labels may lack an axis of the image, such as C
        steps = [
            {name: f for name, f in zip(names, step, strict=True) if name in has}
            for step in first.levels.factors
        ]
        part = None if first.region is None else dict(zip(names, first.region, strict=True))
        theirs = _Ask(len(steps) + 1, label._pyramid_method, None, steps, ask.region)
        image = _image(label)
        if ask.keep_foreign and pyramids.is_foreign(image):
            left.append(f"{label._location.where}: {_has_levels(image)}, left as they are")
            continue
        try:
            jobs.append(_job(label, theirs, part))
        except (ArgumentError, InvalidMetadataError) as error:
            if len(image.datasets) < 2:
                raise
            # Levels of its own, whoever made them, are no reason to keep those of the image from anyone.
            left.append(f"{label._location.where}: its levels are left as they are: {error.message}")
    return jobs, left


def _has_levels(image: MultiScaleMeta) -> str:
    return f"has {len(image.datasets)} levels (made by {pyramids.maker(image)})"


def _job(node: Position, ask: _Ask, of_image: dict[str, slice] | None = None) -> _Job:
    from platestore.nodes import levels

    image = _image(node)
    documents = levels.documents_of(node, image)
    base, where = documents[0], node._location.where
    if len(image.datasets) == 1:
        if ask.levels is None:
            raise ArgumentError(
                "there is no pyramid yet, and levels= does not say how many it shall have",
                path=where,
                hint='pass levels="auto", or a number that counts level 0',
            )
        if ask.region is not None:
            raise ArgumentError(
                "there are no levels whose region could be made anew",
                path=where,
                hint="compute the whole pyramid first",
            )
        new = levels.wanted(node, image, base, ask.levels, ask.method, ask.dims, ask.factors, ask.wishes)
        return _Job(node, new, "build")
    if ask.wishes and (ask.region is not None or pyramids.incomplete(image)):
        raise ArgumentError(
            "levels that are filled in place keep their layout",
            path=where,
            hint="call delete_pyramid() first",
        )
    found = levels.existing(node, image, documents, ask.method, ask.wishes)
    if ask.levels is not None or ask.dims is not None or ask.factors is not None:
        _require_same(node, image, base, found, ask.levels, ask.dims, ask.factors)
    if ask.region is not None:
        made = pyramids.described(image)
        untouched = pyramids.incomplete(image) and not pyramids.is_begun(image)
        if made is not None and made[0] != ask.method and not untouched:
            raise ArgumentError(
                f"the levels were made with {made[0]!r}: a region of them cannot be made with {ask.method!r}",
                path=where,
                hint=f"pass method={made[0]!r}, or compute the whole pyramid",
            )
        region = _check_region(found, ask.region, of_image, node.axis_names, where)
        return _Job(node, found, "region", region)
    return _Job(node, found, "fill" if pyramids.incomplete(image) else "build")


def _require_same(
    node: Position,
    image: MultiScaleMeta,
    base: Any,
    found: Levels,
    count: int | str | None,
    dims: Sequence[str] | None,
    factors: Sequence[Step] | None,
) -> None:
    """Refuse levels that are not those that exist."""
    from platestore.arrays.metadata import summarise
    from platestore.pyramid.geometry import level_shapes, plan_factors

    where = node._location.where
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
    from platestore.arrays import indexing
    from platestore.arrays.indexing import full_region
    from platestore.arrays.metadata import summarise

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
