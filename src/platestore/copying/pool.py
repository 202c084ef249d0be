"""Threads that do many small things, with a bounded number under way; the first error stops them all."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

#: Tasks under way, for each thread.
_AHEAD = 4


@contextlib.contextmanager
def pool(workers: int, stop: threading.Event) -> Iterator[Callable[..., None]]:
    """A function that hands work to threads, and waits where too much is under way.

    Parameters
    ----------
    workers : int
        Number of threads.
    stop : threading.Event
        Set when something goes wrong: whoever is at work looks at it.

    Raises
    ------
    BaseException
        The first error of any task, when all threads have stopped.
    """
    pending: set[Future[Any]] = set()

    def submit(work: Callable[..., Any], *arguments: Any) -> None:
        nonlocal pending
        if len(pending) >= _AHEAD * workers:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
        pending.add(threads.submit(work, *arguments))

    with ThreadPoolExecutor(workers, thread_name_prefix="platestore-copy") as threads:
        try:
            yield submit
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
        except BaseException:
            stop.set()
            threads.shutdown(wait=True, cancel_futures=True)
            raise
