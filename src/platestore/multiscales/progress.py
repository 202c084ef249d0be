"""Progress of writing: nothing, a function, a bar, or tasks of a ``rich.progress.Progress``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from platestore.progress import Progress, shown


class NgffProgress:
    """Progress as tasks of a ``rich.progress.Progress``.

    Parameters
    ----------
    rich_progress : rich.progress.Progress
        Whoever made it starts and stops it.
    """

    def __init__(self, rich_progress: Any) -> None:
        self.rich = rich_progress
        self.multiscales_task: Any = None
        self.cache_task: Any = None

    def add_multiscales_task(self, description: str, scales: int) -> None:
        """Begin a task of so many bytes."""
        self.multiscales_task = self.rich.add_task(description, total=scales)

    def update_multiscales_task_completed(self, completed: int) -> None:
        """Say how many bytes of it are done."""
        self.rich.update(self.multiscales_task, completed=completed, refresh=True)

    def add_cache_task(self, description: str, total: int) -> None:
        """Begin a task for a cache; platestore has none, and never calls it."""
        self.cache_task = self.rich.add_task(description, total=total)

    def update_cache_task_completed(self, completed: int) -> None:
        """Say how much of it is done; never called."""
        self.rich.update(self.cache_task, completed=completed, refresh=True)


class NgffProgressCallback(NgffProgress):
    """Progress as calls of :meth:`update`, which a subclass may override.

    Parameters
    ----------
    rich_progress : rich.progress.Progress, optional
        Shows it too, unless :meth:`update` is overridden.
    """

    def __init__(self, rich_progress: Any = None) -> None:
        super().__init__(rich_progress)
        self.tasks: dict[str, Any] = {}
        self.next_task: str | None = None

    def add_callback_task(self, description: str) -> None:
        """Name the next task; it is hidden when it is finished."""
        self.next_task = description
        if self.rich is not None:
            self.tasks[description] = self.rich.add_task(description)

    def update(self, done: int, total: int) -> None:
        """Take a report.

        Parameters
        ----------
        done : int
            Bytes of pixels that are written.
        total : int
            All there are.

        Examples
        --------
        >>> from platestore.multiscales import NgffProgressCallback, to_multiscales, to_ngff_zarr
        >>> class Told(NgffProgressCallback):
        ...     def update(self, done, total):
        ...         if done == total:
        ...             print(f"{total} bytes are written")
        >>> to_ngff_zarr("levels.zarr", to_multiscales("plate.zarr/A/1/0", [2]), progress=Told())
        65536 bytes are written
        """
        if self.rich is None:
            return
        if self.next_task is None:
            self.add_callback_task(_DESCRIPTION)
        task = self.tasks[str(self.next_task)]
        self.rich.update(task, total=total, completed=done, visible=done < total)
        if done >= total:
            self.next_task = None


_DESCRIPTION = "Writing levels"


@contextlib.contextmanager
def telling(progress: Any) -> Iterator[Progress | None]:
    """Make a function of what was passed as ``progress=``.

    Parameters
    ----------
    progress : bool, callable, NgffProgress, NgffProgressCallback, rich.progress.Progress or None
        None and False tell nobody; True shows a bar. A callable is called with the bytes done and the
        total. Objects of ngff-zarr's own classes are understood.

    Raises
    ------
    ArgumentError
        If it is nothing of these.
    """
    if isinstance(progress, NgffProgressCallback):
        yield progress.update
    elif hasattr(progress, "add_multiscales_task"):
        yield _tasks(progress)
    elif hasattr(progress, "add_task") and hasattr(progress, "update"):  # rich's own
        yield _tasks(NgffProgress(progress))
    else:
        with shown(progress, _DESCRIPTION) as show:
            yield show


def _tasks(progress: Any) -> Progress:
    started = False

    def tell(done: int, total: int) -> None:
        nonlocal started
        if not started:
            progress.add_multiscales_task(_DESCRIPTION, total)
            started = True
        progress.update_multiscales_task_completed(done)

    return tell
