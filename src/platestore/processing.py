"""Work on whole plates: the same for every position, skipping what is done, telling what failed."""

from __future__ import annotations

import functools
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from platestore.errors import (
    ArgumentError,
    BudgetError,
    PlatestoreError,
    UnreadableWarning,
    UnsupportedError,
)
from platestore.progress import Progress, shown
from platestore.resources import Resources
from platestore.tree.opening import open_editor

if TYPE_CHECKING:
    from platestore.spec.geometry import Step
    from platestore.tree.editor import AnyEditor
    from platestore.tree.image import ImageEditor

#: Positions below this are worked on side by side, larger ones one by one with all threads.
_SIDE_BY_SIDE_BYTES = 256 * 2**20
#: Positions below this are mostly documents, which threads of one process hinder each other at.
_TINY_BYTES = 8 * 2**20


@dataclass
class PyramidReport:
    """What :func:`compute_pyramids` did.

    Attributes
    ----------
    computed, skipped : list of str
        Paths of positions whose levels were made, or were there already.
    failed : dict
        What went wrong, by position.
    left : list of str
        What was left as it is, and why: levels that another program made, and label images with other levels
        than their image.
    nbytes : int
        Bytes of level 0 that were read, those of label images with them.
    seconds : float
        How long it took.
    """

    computed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    nbytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class _Wanted:
    """The arguments that every position gets."""

    levels: int | str | None
    method: str
    dims: Sequence[str] | None
    factors: Sequence[Step] | None
    force: bool

    def count(self, position: ImageEditor) -> int | str | None:
        """Number of levels of one position: where none is asked for, those it has, or "auto"."""
        if self.levels is None and len(position.meta.multiscales[0].datasets) < 2:
            return "auto"
        return self.levels


@dataclass(frozen=True)
class _Task:
    path: str
    nbytes: int
    open: Callable[[], ImageEditor]


def compute_pyramids(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    levels: int | str | None = None,
    method: str = "mean",
    dims: Sequence[str] | None = None,
    *,
    factors: Sequence[Step] | None = None,
    max_memory: int | str | None = None,
    workers: int | None = None,
    force: bool = False,
    progress: bool | Progress | None = None,
) -> PyramidReport:
    """Compute the pyramids of all positions of plates, wells, series or positions.

    A position whose levels are complete and were made with the same method and factors is skipped, and so is
    one whose levels another program made. One that fails is reported, and the others follow.

    Parameters
    ----------
    paths : path or iterable of paths
        What to work on.
    levels : int or "auto", optional
        Number of levels, level 0 included. By default each position keeps the number it has, and one
        without a pyramid gets levels until Y and X are at most 256.
    method, dims, factors
        As for :meth:`Position.compute_pyramid`.
    max_memory : int or str, optional
        Bytes by which the work may grow memory, over all workers; 1 GiB by default.
    workers : int, optional
        Number of threads; that of ``platestore.config`` by default.
    force : bool
        Whether positions that are complete are computed too, and levels replaced that another program made.
    progress : bool or callable, optional
        True shows a bar; a function is called with the bytes of level 0 done and the total.

    Returns
    -------
    PyramidReport

    Raises
    ------
    ArgumentError, NodeNotFoundError
        If an argument is wrong, or a path does not exist; nothing was computed then.

    Examples
    --------
    >>> report = ps.compute_pyramids("plate.zarr", levels=3)
    >>> report.computed
    ['plate.zarr/A/1/0', 'plate.zarr/B/2/0']
    >>> [level.shape for _, level in ps.open_ome_zarr("plate.zarr/A/1/0").images()]
    [(1, 2, 4, 64, 64), (1, 2, 2, 32, 32), (1, 2, 1, 16, 16)]
    """
    start = time.monotonic()
    resources = Resources(max_memory, workers)
    number, budget = resources.threads, resources.memory
    wanted = _Wanted(levels, method, dims, factors, force)
    report = PyramidReport()
    tasks = list(_tasks(paths, wanted, report))
    with shown(progress, "pyramids") as tell:
        _Run(wanted, report, number, budget, sum(t.nbytes for t in tasks), tell).run(tasks)
    report.seconds = time.monotonic() - start
    return report


def _tasks(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    wanted: _Wanted,
    report: PyramidReport,
) -> Iterator[_Task]:
    """What there is to do; whatever can be checked without pixels is checked."""
    from platestore.images.pyramids import survey
    from platestore.pyramid.kernels import check_method
    from platestore.spec.geometry import check_levels

    check_method(wanted.method, "uint8")
    if wanted.levels not in (None, "auto"):
        check_levels(wanted.levels)
    if wanted.dims is not None and not list(wanted.dims):
        raise ArgumentError("dims names no axis")
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    opened = [(os.fspath(path), open_editor(path, mode="r+")) for path in given]
    seen: set[str] = set()
    for root, node in opened:
        for inner, position in _readable(node, report):
            place = os.path.realpath(position.location.where)
            if place in seen:
                continue
            seen.add(place)
            path = root if inner == "." else f"{root.rstrip('/')}/{inner}"
            try:
                found = survey(
                    position,
                    wanted.count(position),
                    wanted.method,
                    wanted.dims,
                    wanted.factors,
                    force=wanted.force,
                )
            except (PlatestoreError, OSError) as error:
                report.failed[path] = str(error)
                continue
            report.left += found.left
            if found.is_current and not wanted.force:
                report.skipped.append(path)
            else:
                # Positions are opened again when their turn comes: thousands of open ones take memory.
                yield _Task(path, found.nbytes, functools.partial(_reopen, node, inner))


def _reopen(node: AnyEditor, inner: str) -> ImageEditor:
    position: Any = node
    if inner != ".":
        well, _, name = inner.rpartition("/")
        position = node[well][name] if well else node[name]
    return position  # type: ignore[no-any-return]


def _readable(node: AnyEditor, report: PyramidReport) -> Iterator[tuple[str, ImageEditor]]:
    """Positions below a node; those that cannot be opened are reported as failed."""
    positions = _positions(node)
    while True:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UnreadableWarning)
            found = next(positions, None)
        for warning in caught:
            if issubclass(warning.category, UnreadableWarning):
                text = str(warning.message)
                report.failed[text.partition(": ")[0]] = text
            else:
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        if found is None:
            return
        yield found


def _positions(node: AnyEditor) -> Iterator[tuple[str, ImageEditor]]:
    from platestore.tree.image import ImageEditor

    if isinstance(node, ImageEditor):
        yield ".", node
    elif hasattr(node, "positions"):
        yield from node.positions()
    elif hasattr(node, "wells"):
        for name, well in node.wells():
            for inner, position in well.positions():
                yield f"{name}/{inner}", position
    else:
        raise UnsupportedError(
            "has no positions", path=node.location.where, hint="name a plate or a position"
        )


class _Stopped(Exception):  # noqa: N818 - no error: the caller was interrupted
    """The caller does not want the result any more."""


class _Run:
    """One call: hands tasks to threads, and keeps account."""

    def __init__(
        self,
        wanted: _Wanted,
        report: PyramidReport,
        workers: int,
        budget: int,
        total: int,
        progress: Progress | None,
    ) -> None:
        self._options = wanted
        self._report = report
        self._workers = workers
        self._budget = budget
        self._total = total
        self._progress = progress
        self._partial: dict[str, int] = {}
        self._done = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def run(self, tasks: list[_Task]) -> None:
        """Do all tasks: small ones side by side, the others one by one."""
        small = [t for t in tasks if _TINY_BYTES <= t.nbytes <= _SIDE_BY_SIDE_BYTES]
        alone = [t for t in tasks if not _TINY_BYTES <= t.nbytes <= _SIDE_BY_SIDE_BYTES]
        if self._workers > 1 and len(small) > 1:
            alone += self._by_threads(small)
        else:
            alone = small + alone
        for task in alone:
            self._one(task, self._budget, self._workers)

    def _one(self, task: _Task, budget: int, workers: int) -> bool:
        """Do one task; False if the budget is too small for it."""

        def tell(done: int, total: int) -> None:
            if self._stop.is_set():
                raise _Stopped
            self._tell(task, round(done / max(1, total) * task.nbytes))

        try:
            _compute(task.open(), self._options, budget, workers, tell)
        except _Stopped:
            return True
        except BudgetError as error:
            if budget < self._budget:
                return False
            self._failed(task, error)
        except (PlatestoreError, OSError) as error:
            self._failed(task, error)
        else:
            self._succeeded(task)
        return True

    def _failed(self, task: _Task, error: Exception) -> None:
        with self._lock:
            self._report.failed[task.path] = str(error)
        self._tell(task, task.nbytes)

    def _succeeded(self, task: _Task) -> None:
        with self._lock:
            self._report.computed.append(task.path)
            self._report.nbytes += task.nbytes
        self._tell(task, task.nbytes)

    def _tell(self, task: _Task, done: int) -> None:
        if self._progress is None:
            return
        with self._lock:
            self._done += done - self._partial.get(task.path, 0)
            self._partial[task.path] = done
            self._progress(self._done, self._total)

    def _by_threads(self, tasks: list[_Task]) -> list[_Task]:
        """Do tasks side by side, each with one thread; returns those that need a larger budget."""
        share = self._budget // self._workers
        left: list[_Task] = []
        with ThreadPoolExecutor(self._workers, thread_name_prefix="platestore") as pool:
            futures = {pool.submit(self._one, task, share, 1): task for task in tasks}
            try:
                for future, done in _finished(futures, pool):
                    if not future.result():
                        left.append(done)
            except BaseException:
                self._stop.set()  # whoever is at work gives up with the next block
                raise
        return left


def _finished(futures: dict[Future[Any], Any], pool: Executor) -> Iterator[tuple[Future[Any], Any]]:
    """Futures as they finish; what has not begun is dropped if the caller is interrupted."""
    pending = set(futures)
    try:
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                yield future, futures[future]
    finally:
        if pending:
            pool.shutdown(wait=False, cancel_futures=True)


def _compute(
    position: ImageEditor,
    wanted: _Wanted,
    budget: int,
    workers: int,
    progress: Progress | None,
) -> None:
    from platestore.images.pyramids import compute_surveyed

    resources = Resources(budget, workers, progress)
    count = wanted.count(position)
    compute_surveyed(
        position, count, wanted.method, wanted.dims, wanted.factors, resources, force=wanted.force
    )
