"""Doing the same to many things in a few threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

import platestore as ps
from platestore.checking.pixels.threads import in_threads


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_item_is_taken_once(workers):
    taken: list[int] = []
    in_threads(range(100), taken.append, workers)
    assert sorted(taken) == list(range(100))


def test_the_settings_say_how_many_threads_there_are():
    for count in (1, 3):
        seen: set[int] = set()
        barrier = threading.Barrier(count)

        def work(_: int, seen: set[int] = seen, barrier: threading.Barrier = barrier) -> None:
            barrier.wait(10)
            seen.add(threading.get_ident())

        with ps.config.using(threads=count):
            in_threads(range(count), work, None)
        assert len(seen) == count


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_stops_all_threads_and_is_raised(workers, error):
    taken: list[int] = []

    def work(item: int) -> None:
        taken.append(item)
        if item == 10:
            raise error("ten")
        time.sleep(0.001)

    before = threading.active_count()
    with pytest.raises(error, match="ten"):
        in_threads(range(10_000), work, workers)
    assert len(taken) < 1000
    assert threading.active_count() == before


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_of_the_items_is_raised(workers):
    def items() -> Iterator[int]:
        yield from range(5)
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        in_threads(items(), lambda item: None, workers)
