"""Telling how far a long computation is: to a function, or on a bar for people to look at."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from platestore.errors import ArgumentError
from platestore.settings import human_bytes

#: Called with the bytes that are done, and all there are.
Progress: TypeAlias = Callable[[int, int], None]


@contextlib.contextmanager
def shown(progress: bool | Progress | None, label: str) -> Iterator[Progress | None]:
    """Resolve a ``progress`` argument while the work is done.

    Parameters
    ----------
    progress : bool or callable, optional
        True shows a bar on standard error: by rich or tqdm where one of them is installed, else a plain one.
        A function is called with the bytes that are done, and all there are.
    label : str
        What is being done, for the bar.

    Yields
    ------
    callable or None
        What to call; None if nobody wants to know.

    Raises
    ------
    ArgumentError
        If it is neither.
    """
    if progress is None or progress is False:
        yield None
    elif progress is True:
        with _bar(label) as show:
            yield show
    elif callable(progress):
        yield progress
    else:
        raise ArgumentError(f"progress must be True, False or a function of (done, total), not {progress!r}")


@contextlib.contextmanager
def shown_to_people(label: str) -> Iterator[Progress | None]:
    """A bar where standard error is a terminal; nothing elsewhere."""
    with shown(sys.stderr.isatty(), label) as show:
        yield show


def _bar(label: str) -> contextlib.AbstractContextManager[Progress]:
    if importlib.util.find_spec("rich") is not None:
        return _rich(label)
    if importlib.util.find_spec("tqdm") is not None:
        return _tqdm(label)
    return _plain(label)


@contextlib.contextmanager
def _rich(label: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(label, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


@contextlib.contextmanager
def _tqdm(label: str) -> Iterator[Progress]:
    from tqdm import tqdm

    with tqdm(desc=label, unit="B", unit_scale=True, unit_divisor=1024, file=sys.stderr) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


@contextlib.contextmanager
def _plain(label: str) -> Iterator[Progress]:
    import click

    start, reached = time.monotonic(), 0

    def rate(_: Any) -> str:
        seconds = max(1e-3, time.monotonic() - start)
        return f"{human_bytes(reached)}, {human_bytes(reached / seconds)}/s"

    bar: Any = click.progressbar(length=1000, label=label, file=sys.stderr, item_show_func=rate)
    with bar:

        def show(done: int, total: int) -> None:
            nonlocal reached
            reached = done
            step = int(1000 * done / max(1, total)) - bar.pos
            if step > 0:
                bar.update(step)

        yield show
