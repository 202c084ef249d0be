"""Carrying out a plan: the jobs, the coarser levels, and the name."""

from __future__ import annotations

import json
import operator
import os
from typing import TYPE_CHECKING, Any

from platestore.errors import ArgumentError, NodeExistsError
from platestore.nodes.position import Position
from platestore.opening import open_ome_zarr
from platestore.progress import Progress, shown
from platestore.pyramid.levels import Resources, make_levels, plan_build
from platestore.settings import config, parse_bytes, resident_bytes
from platestore.spec.multiscales import ImagesMeta
from platestore.stacks.jobs import StackJob, StackPlan
from platestore.stacks.planning import region_of
from platestore.stacks.workplace import LEVELS, WorkPlace, identity_of
from platestore.storage import targets
from platestore.storage.hierarchy import create_node, group_files

if TYPE_CHECKING:
    from platestore.nodes.draft import Draft


def run_job(
    out: str | os.PathLike[str],
    index: int,
    *,
    planes: Any = None,
    force: bool = False,
    max_memory: int | str | None = None,
    workers: int | None = None,
    progress: bool | Progress | None = None,
) -> StackJob:
    """Run a job of a plan, in this process.

    Parameters
    ----------
    out : path
        The image that is made.
    index : int
        Number of the job.
    planes : array, optional
        The stack, if it was an array in memory when it was planned (numpy, dask); files need not be named.
    force : bool
        Whether a job that is finished is run again; otherwise nothing is done.
    max_memory : int or str, optional
        Bytes by which the process may grow; that of ``platestore.config`` by default.
    workers : int, optional
        Number of threads; that of ``platestore.config`` by default.
    progress : bool or callable, optional
        Whether a bar is shown; or called with the bytes of the block that are done, and all there are.

    Returns
    -------
    StackJob

    Raises
    ------
    NodeNotFoundError
        If there is no plan.
    ArgumentError
        If there is no such job.
    LockTimeoutError
        If another process runs it.
    SourceChangedError, DamagedChunkError
        If a plane changed since the plan was made, or cannot be read; the job can be run again.
    """
    return StackPlan.open(out).run(
        index, planes=planes, force=force, max_memory=max_memory, workers=workers, progress=progress
    )


def finish(
    out: str | os.PathLike[str],
    *,
    max_memory: int | str | None = None,
    workers: int | None = None,
    progress: bool | Progress | None = None,
) -> Position:
    """Complete an image when all its jobs are finished: the coarser levels, the metadata, the name.

    If it is interrupted, it can be repeated.

    Parameters
    ----------
    out : path
        The image that is made.
    max_memory, workers, progress
        As for :func:`run_job`.

    Returns
    -------
    Position
        The image.

    Raises
    ------
    NodeNotFoundError
        If there is no plan.
    ArgumentError
        If jobs are missing; the message names them.
    """
    return StackPlan.open(out).finish(max_memory=max_memory, workers=workers, progress=progress)


class Budget:
    """What a call may use of memory, from its beginning on.

    Parameters
    ----------
    max_memory : int or str, optional
        As the caller gave it.
    """

    def __init__(self, max_memory: int | str | None) -> None:
        self.total = config.max_memory if max_memory is None else parse_bytes(max_memory, "max_memory")
        self._resident = resident_bytes()

    def left(self, least: int) -> int:
        """Bytes that are left, but no less than are needed."""
        return max(min(least, self.total), self.total - max(0, resident_bytes() - self._resident))


def run(
    plan: StackPlan,
    index: int,
    *,
    planes: Any = None,
    force: bool = False,
    max_memory: int | str | None = None,
    workers: int | None = None,
    progress: bool | Progress | None = None,
) -> StackJob:
    """Run a job; see :func:`platestore.stacks.run_job`."""
    budget, place, content = Budget(max_memory), plan._place, plan._content
    plan._require_current()
    with place.at_work(_job(plan, index).index):
        plan._require_current()  # another plan may have taken its place just now
        job = _job(plan, index)
        if job.done and not force:
            return job
        again = force and job.done
        if again:
            place.unmark(job.index)
            place.unmark(LEVELS)
        source, documents, made = plan._source(planes), plan._documents(), plan.levels_of_jobs
        region = region_of((job.start, job.stop), plan.shape, content["axis"])
        what: dict[str, Any] = {"fresh": not again, "data": source, "region": region}
        factors = [tuple(step) for step in content["factors"]]
        args = (place.storage(), documents[0], documents[1:made], factors[: made - 1], content["method"])
        needed = plan_build(*args, Resources(max_memory=budget.total, workers=workers), **what).needed
        with shown(progress, f"job {job.index}") as show:
            make_levels(*args, Resources(budget.left(needed), workers, _scaled(show, plan, job)), **what)
        place.mark_done(job.index, {"start": job.start, "stop": job.stop})
    return StackJob(job.index, job.start, job.stop, True)


def _job(plan: StackPlan, index: Any) -> StackJob:
    jobs = plan.jobs
    if isinstance(index, bool) or not hasattr(index, "__index__") or not 0 <= index < len(jobs):
        raise ArgumentError(
            f"there is no job {index!r}", path=plan.out, hint=f"jobs are numbered from 0 to {len(jobs) - 1}"
        )
    return jobs[operator.index(index)]


def _scaled(progress: Progress | None, plan: StackPlan, job: StackJob) -> Progress | None:
    """Progress as bytes of the block, whatever the engine counts."""
    if progress is None:
        return None
    nbytes = plan.nbytes * (job.stop - job.start) // plan.shape[plan._content["axis"]]
    return lambda done, total: progress(nbytes * done // max(1, total), nbytes)


def complete(
    plan: StackPlan,
    *,
    max_memory: int | str | None = None,
    workers: int | None = None,
    progress: bool | Progress | None = None,
) -> Position:
    """Complete the image; see :func:`platestore.stacks.finish`."""
    budget, place = Budget(max_memory), plan._place
    if not _is_installed(plan):
        plan._require_current()
    with place.locked():
        if not _is_installed(plan):
            plan._require_current()
        if os.path.lexists(place.data) and not _is_installed(plan):
            _require_done(plan)
            if not place.is_done(LEVELS):  # from here on level 0 may have been moved already
                with shown(progress, "levels") as show:
                    _make_coarser(plan, budget, workers, show)
                place.mark_done(LEVELS, {"levels": plan.levels})
            place.sweep()
        _install(plan)
        place.remove()
    return open_ome_zarr(plan.out, layout="fov", mode="r+")


def _is_installed(plan: StackPlan) -> bool:
    """Whether an interrupted call put the image in its place already."""
    return os.path.isdir(plan.out) and identity_of(plan.out) == plan._content["identity"]


def _require_done(plan: StackPlan) -> None:
    missing = [job for job in plan.jobs if not job.done]
    if missing:
        shown = ", ".join(f"{job.index} (planes {job.start}:{job.stop})" for job in missing[:5])
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise ArgumentError(
            f"{len(missing)} of {len(plan.jobs)} jobs are not finished: {shown}{more}",
            path=plan.out,
            hint="run them: run_job(out, index) (--job INDEX)",
        )


def _make_coarser(plan: StackPlan, budget: Budget, workers: int | None, progress: Progress | None) -> None:
    """Make the levels that the jobs could not write without sharing files."""
    made, documents, content = plan.levels_of_jobs, plan._documents(), plan._content
    if made == len(documents):
        return
    factors = [tuple(step) for step in content["factors"]]
    args = (
        plan._place.storage(),
        documents[made - 1],
        documents[made:],
        factors[made - 1 :],
        content["method"],
    )
    needed = plan_build(*args, Resources(max_memory=budget.total, workers=workers), fresh=True).needed
    make_levels(*args, Resources(budget.left(needed), workers, progress), fresh=True)


# --- the name -------------------------------------------------------------------------------------


def _install(plan: StackPlan) -> None:
    """Give the image its place; every step can be repeated."""
    place, content = plan._place, plan._content
    if os.path.lexists(place.old) and not os.path.lexists(place.final):
        os.rename(place.old, place.final)  # it was to be replaced, and was not
    if content["fills"]:
        _fill_position(plan)
    elif place.destination.root is not None:
        _add_to_plate(plan)
    elif not _is_installed(plan):
        _write_root(plan)
        replace = bool(content["overwrite"])
        if targets.exists(place.final) and replace:
            targets.check_replaceable(place.final, check_name=False)
        targets.install(place.data, place.final, replace=replace, aside=place.old)


def _write_root(plan: StackPlan) -> None:
    """Write the document that makes it an image."""
    content = plan._content
    files = group_files(content["zarr_format"], content["attributes"], where=plan.out)
    create_node(plan._place.storage(), "", files)


def _add_to_plate(plan: StackPlan) -> None:
    """Move the image into the plate, and list it."""
    place = plan._place
    destination = place.destination
    plate = destination.plate("process")
    inner = destination.inner
    if inner in plate and not os.path.lexists(place.data):
        return
    if os.path.lexists(place.data):
        _write_root(plan)
    destination.add(plate, [(inner.rpartition("/")[2], None)], is_well=False)


def _fill_position(plan: StackPlan) -> None:
    """Move the arrays into a position that is there without an image, then list them."""
    place, content = plan._place, plan._content
    position = _empty_position(place)
    location, storage = position._location, position._location.storage
    names = [str(k) for k in range(plan.levels)]
    with storage.lock(location.path):
        listed = position._peek().paths()
        if listed and not all(name in listed for name in names):
            raise NodeExistsError("the position got an image meanwhile", path=plan.out)
        if listed:
            return
        for name in names:
            new, old = os.path.join(place.data, name), os.path.join(plan.out, name)
            if os.path.lexists(new):
                if os.path.lexists(old):
                    raise NodeExistsError("there is something already", path=old, hint="move it away")
                os.rename(new, old)
        position._commit(lambda draft: _list(draft, content))


def _empty_position(place: WorkPlace) -> Position:
    node = open_ome_zarr(place.final, mode="r+")
    if not isinstance(node, Position):
        raise NodeExistsError(f"is no position, but a {type(node).__name__}", path=place.final)
    return node


def _list(draft: Draft[ImagesMeta], content: dict[str, Any]) -> None:
    """Take over what the plan says of the image; what the position says of itself stays."""
    from platestore.spec import versions

    parts = versions.unpack(json.loads(json.dumps(content["attributes"])), content["zarr_format"], "image")
    ours = ImagesMeta.model_validate(parts)
    image, new = draft.meta.multiscales[0], ours.multiscales[0]
    image.datasets, image.type, image.metadata = new.datasets, new.type, new.metadata
    if draft.meta.omero is None:
        draft.meta.omero = ours.omero
    elif ours.omero is not None:
        for mine, theirs in zip(draft.meta.omero.channels, ours.omero.channels, strict=False):
            mine.window = mine.window or theirs.window
