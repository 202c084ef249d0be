"""The plan of an import: its jobs, what they need, which of them are finished, and carrying them out."""

from __future__ import annotations

import json
import operator
import os
from dataclasses import dataclass
from typing import Any, Self

from platestore.arrays.layout import layout_of
from platestore.arrays.sources import Source
from platestore.errors import ArgumentError, NodeNotFoundError, SourceChangedError
from platestore.nodes.opening import open_ome_zarr
from platestore.nodes.position import Position
from platestore.progress import Progress, shown
from platestore.pyramid.levels import make_levels, plan_build
from platestore.resources import Resources
from platestore.settings import resident_bytes
from platestore.spec.values import Json
from platestore.stacks.blocks import region_of
from platestore.stacks.installing import install
from platestore.stacks.intake import Intake, rearranged, reopen, take
from platestore.stacks.workplace import LEVELS, StackWorkPlace
from platestore.storage.hierarchy import ArrayDocument, array_files

_ANEW = "pass the same one, or start the import anew with overwrite=True (--overwrite)"


@dataclass(frozen=True, slots=True)
class StackJob:
    """One block of planes.

    Attributes
    ----------
    index : int
        Its number.
    start, stop : int
        First plane, and the one after the last.
    done : bool
        Whether it was finished.
    """

    index: int
    start: int
    stop: int
    done: bool


class StackPlan:
    """The plan of an import, as it lies beside the image that is made.

    Plans come from :func:`plan` and from :meth:`open`.

    Attributes
    ----------
    memory : int
        Bytes by which a job, or finishing, makes a process grow at most, with the budget that was planned
        for.
    """

    def __init__(
        self, place: StackWorkPlace, content: Json, intake: Intake | None, *, stored: bool = True
    ) -> None:
        self._place = place
        self._content = content
        self._intake = intake
        self._stored = stored
        self.memory = int(content["memory"])

    @classmethod
    def open(cls, out: Any) -> Self:
        """Open the plan of an unfinished import.

        Parameters
        ----------
        out : path
            The image that is made.

        Raises
        ------
        NodeNotFoundError
            If no import is under way there.

        Examples
        --------
        >>> from platestore.stacks import StackPlan, plan
        >>> volume = plan("raw", "stack.zarr", voxel_size=(2.0, 0.5, 0.5), chunks=(4, 32, 32), block=4)
        >>> [job.done for job in StackPlan.open("stack.zarr").jobs]
        [False, False]
        """
        place = StackWorkPlace(out)
        return cls(place, place.read(), None)

    def __repr__(self) -> str:
        jobs = self.jobs
        return f"<StackPlan {self.out} shape={self.shape} jobs={len(jobs)} done={sum(j.done for j in jobs)}>"

    @property
    def out(self) -> str:
        """Absolute path of the image."""
        return self._place.final

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the full resolution."""
        return tuple(self._content["documents"][0]["shape"])

    @property
    def nbytes(self) -> int:
        """Bytes of the full resolution."""
        return int(self._content["nbytes"])

    @property
    def levels(self) -> int:
        """Number of levels, that of full resolution included."""
        return len(self._content["documents"])

    @property
    def levels_of_jobs(self) -> int:
        """How many of them the jobs write; :func:`finish` makes the others from the last of these."""
        return int(self._content["made"])

    @property
    def jobs(self) -> list[StackJob]:
        """All jobs, and which of them are finished."""
        # An interrupted finish() put it in its place.
        whole = self._stored and not os.path.lexists(self._place.data)
        rows = enumerate(self._content["blocks"])
        return [
            StackJob(i, start, stop, whole or (self._stored and self._place.is_done(i)))
            for i, (start, stop) in rows
        ]

    def to_json(self) -> Json:
        """The plan in short, as JSON."""
        names = self._content["names"]
        return {
            "out": self.out,
            "source": self._content["source"]["kind"],
            "axes": names,
            "shape": list(self.shape),
            "dtype": self._content["source"]["dtype"],
            "bytes": self.nbytes,
            "version": self._content["version"],
            "levels": [_shapes(document) for document in self._content["documents"]],
            "levels_of_jobs": self.levels_of_jobs,
            "method": self._content["method"],
            "memory": self.memory,
            "jobs": [
                {"index": job.index, "start": job.start, "stop": job.stop, "done": job.done}
                for job in self.jobs
            ],
        }

    def run(self, index: int, **options: Any) -> StackJob:
        """Run a job; see :func:`run_job`.

        Examples
        --------
        >>> from platestore.stacks import plan
        >>> volume = plan("raw", "stack.zarr", voxel_size=(2.0, 0.5, 0.5), chunks=(4, 32, 32), block=4)
        >>> volume.run(0)
        StackJob(index=0, start=0, stop=4, done=True)
        """
        return _run(self, index, **options)

    def finish(self, **options: Any) -> Position:
        """Complete the image; see :func:`finish`.

        Examples
        --------
        >>> from platestore.stacks import plan
        >>> volume = plan("raw", "stack.zarr", voxel_size=(2.0, 0.5, 0.5), block=8)
        >>> job = volume.run(0)
        >>> volume.finish().scale
        [1.0, 1.0, 2.0, 0.5, 0.5]
        """
        return _complete(self, **options)

    # --- for those who run it ---------------------------------------------------------------------

    def _require_current(self) -> None:
        """Refuse to go on with a plan that another one has replaced, or that is carried out."""
        if self._place.read()["id"] != self._content["id"]:
            raise NodeNotFoundError(
                "the import was planned anew", path=self.out, hint="open the new plan: StackPlan.open(out)"
            )

    def _documents(self) -> list[ArrayDocument]:
        fmt = self._content["zarr_format"]
        rows = enumerate(self._content["documents"])
        return [ArrayDocument(str(k), fmt, array_files(fmt, d, where=str(k))[-1][1]) for k, d in rows]

    def _source(self, planes: Any) -> Source:
        """The pixels: given, in hand, or where the plan says they are."""
        words = self._content["source"]
        intake = take(planes) if planes is not None else self._intake or reopen(words)
        if intake is None:
            raise ArgumentError(
                "the stack was an array in memory, which the plan cannot name",
                path=self.out,
                hint="pass it again: run_job(out, index, planes=array)",
            )
        if planes is not None:
            require_same_source(words, intake.words, self.out)
        self._intake = intake
        source = rearranged(intake, self._content["names"], where=self.out)
        if tuple(source.shape) != self.shape or source.dtype.name != words["dtype"]:
            raise SourceChangedError(
                f"the stack has shape {tuple(source.shape)} and type {source.dtype} now; the plan is for "
                f"{self.shape} and {words['dtype']}",
                path=self.out,
            )
        return source


def _shapes(document: Json) -> Json:
    found = layout_of(document, document["zarr_format"])
    shards = None if found.shards is None else list(found.shards)
    return {"shape": list(found.shape), "chunks": list(found.chunks), "shards": shards}


def require_same_source(former: Json, found: Json, where: str) -> None:
    """Refuse another stack than the one that the plan was made for.

    Raises
    ------
    SourceChangedError
        If it is another one; the message says how it differs.
    """
    found = json.loads(json.dumps(found))
    for key in sorted(former.keys() | found.keys()):
        if former.get(key) == found.get(key):
            continue
        if key == "stamps" and former.get("files") == found.get("files"):
            rows = zip(found["files"], former["stamps"], found["stamps"], strict=True)
            changed = next(path for path, a, b in rows if a != b)
            raise SourceChangedError("the plane changed since the import was begun", path=changed, hint=_ANEW)
        if key in ("stamps", "planes"):
            continue
        raise SourceChangedError(
            f"the import was begun from another stack: its {key} differ", path=where, hint=_ANEW
        )


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
        Whether a bar is shown; or called with the bytes of the block done and the total.

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

    Examples
    --------
    >>> from platestore.stacks import plan, run_job
    >>> volume = plan("raw", "stack.zarr", voxel_size=(2.0, 0.5, 0.5), chunks=(4, 32, 32), block=4)
    >>> run_job("stack.zarr", 1)  # in this process or another
    StackJob(index=1, start=4, stop=8, done=True)
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

    Examples
    --------
    >>> from platestore.stacks import finish, plan, run_job
    >>> volume = plan("raw", "stack.zarr", voxel_size=(2.0, 0.5, 0.5), chunks=(4, 32, 32), block=4)
    >>> done = [run_job("stack.zarr", index) for index in (0, 1)]
    >>> finish("stack.zarr")["0"][0, 0, :, 0, 0]  # one pixel of each plane
    array([0, 1, 2, 3, 4, 5, 6, 7], dtype=uint16)
    """
    return StackPlan.open(out).finish(max_memory=max_memory, workers=workers, progress=progress)


class _Budget:
    """What a call may use of memory, from its beginning on.

    Parameters
    ----------
    max_memory : int or str, optional
        As the caller gave it.
    """

    def __init__(self, max_memory: int | str | None) -> None:
        self.total = Resources(max_memory).memory
        self._resident = resident_bytes()

    def left(self, least: int) -> int:
        """Bytes that are left, but no less than are needed."""
        return max(min(least, self.total), self.total - max(0, resident_bytes() - self._resident))


def _run(
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
    budget, place, content = _Budget(max_memory), plan._place, plan._content
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
        what: Json = {"fresh": not again, "data": source, "region": region}
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


def _complete(
    plan: StackPlan,
    *,
    max_memory: int | str | None = None,
    workers: int | None = None,
    progress: bool | Progress | None = None,
) -> Position:
    """Complete the image; see :func:`platestore.stacks.finish`."""
    budget, place = _Budget(max_memory), plan._place
    if not place.beside.is_installed():
        plan._require_current()
    with place.locked():
        if not place.beside.is_installed():
            plan._require_current()
        if os.path.lexists(place.data) and not place.beside.is_installed():
            _require_done(plan)
            if not place.is_done(LEVELS):  # from here on level 0 may have been moved already
                with shown(progress, "levels") as show:
                    _make_coarser(plan, budget, workers, show)
                place.mark_done(LEVELS, {"levels": plan.levels})
            place.beside.sweep()
        install(place, plan._content)
        place.beside.remove()
    return open_ome_zarr(plan.out, layout="fov", mode="r+")


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


def _make_coarser(plan: StackPlan, budget: _Budget, workers: int | None, progress: Progress | None) -> None:
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
