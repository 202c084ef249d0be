"""Telling how far a long computation is: to a function, or on a bar for people to look at."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TypeAlias

from platestore.errors import ArgumentError
from platestore.settings import human_bytes

# Columns of a terminal from which on the remaining time, and sizes and speed, fit in one line.
_NARROW, _WIDE = 36, 76

#: Called with the bytes done and the total.
Progress: TypeAlias = Callable[[int, int], None]


@contextlib.contextmanager
def shown(progress: bool | Progress | None, label: str) -> Iterator[Progress | None]:
    """Resolve a ``progress`` argument while the work is done.

    Parameters
    ----------
    progress : bool or callable, optional
        True shows a bar on standard error. A function is called with the bytes done and the
        total.
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


@contextlib.contextmanager
def _bar(label: str) -> Iterator[Progress]:
    """A bar of one line on standard error, whatever the width of the terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars
    from rich.table import Column

    console = Console(stderr=True)

    def text(words: str) -> TextColumn:
        return TextColumn(words, table_column=Column(no_wrap=True))

    columns: list[ProgressColumn] = [text("{task.description}"), BarColumn(bar_width=None)]
    columns.append(text("{task.percentage:>3.0f}%"))
    if console.width >= _WIDE:  # what does not fit is left out, so that the bar stays one line
        columns += [text("{task.fields[size]}"), TransferSpeedColumn(Column(no_wrap=True))]
    if console.width >= _NARROW:
        columns.append(TimeRemainingColumn(table_column=Column(no_wrap=True)))
    with Bars(*columns, console=console, expand=True) as bars:
        task = bars.add_task(label, total=None, size="")

        def show(done: int, total: int) -> None:
            bars.update(
                task, completed=done, total=total, size=f"{human_bytes(done)} of {human_bytes(total)}"
            )

        yield show
