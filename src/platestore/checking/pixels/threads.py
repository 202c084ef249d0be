"""Doing the same to many things in a few threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

from platestore.settings import config

T = TypeVar("T")


def in_threads(items: Iterable[T], work: Callable[[T], None], workers: int | None) -> None:
    """Call a function with each of some things; the first error of any thread is raised in the end.

    Parameters
    ----------
    items : iterable
        Taken one by one, as threads become free; none of them is None.
    work : callable
        What is done to each.
    workers : int, optional
        Number of threads; that of the settings by default.
    """
    count = config.threads if workers is None else workers
    source, lock = iter(items), threading.Lock()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            while not errors:
                with lock:
                    item = next(source, None)
                if item is None:
                    return
                work(item)
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            errors.append(error)

    threads = [threading.Thread(target=run, name="platestore", daemon=True) for _ in range(count - 1)]
    for thread in threads:
        thread.start()
    run()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
