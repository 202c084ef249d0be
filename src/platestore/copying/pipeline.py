"""Threads that fill blocks and use what they hold, while the calling thread takes the results in order.

Few blocks are in memory at a time, and all threads share them: so a block may be large (which saves
decoding) however many threads there are.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """The work was stopped by the caller."""


class Block(Protocol):
    """What the threads work on: parts of the first kind in any order, then parts of the second kind."""

    @property
    def fills(self) -> int:
        """Number of parts that fill it."""

    @property
    def drains(self) -> int:
        """Number of parts that use what it holds: one or more."""

    def fill(self, part: int) -> None:
        """Do a part of the first kind; several threads at once."""

    def drain(self, part: int) -> Any:
        """Do a part of the second kind, once all of the first are done; the result is handed on."""


class _Live:
    """How many pieces of a block are read, computed and written."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.filling = self.filled = self.draining = self.taken = 0
        self.results: dict[int, Any] = {}


class Pipeline:
    """Runs blocks through threads; the main thread does none of the work on them.

    Some codecs use a pool of threads of their own in the main thread, and what they return depends on it.

    Parameters
    ----------
    workers : int
        Number of threads.
    depth : int
        How many blocks exist at once.
    window : int
        How many results exist at once that were not taken, or are being made.
    stop : threading.Event, optional
        Ends the work once it is set.
    """

    def __init__(self, workers: int, depth: int, window: int, stop: threading.Event | None = None) -> None:
        self._workers = workers
        self._depth = depth
        self._window = window
        self._stop = stop
        self._changed = threading.Condition()
        self._live: deque[_Live] = deque()
        self._outstanding = 0
        self._ended = False
        self._error: BaseException | None = None

    def run(self, blocks: Iterator[Block], take: Callable[[Any], None]) -> None:
        """Work through all blocks.

        Parameters
        ----------
        blocks : iterator of Block
            The next one is asked for when one of those before it is done with.
        take : callable
            Gets each result, in the order of blocks and parts, in the calling thread.

        Raises
        ------
        Stopped
            If ``stop`` was set.
        BaseException
            The first that a thread, ``blocks`` or ``take`` raised; all threads have ended then.
        """
        if self._workers == 1 and threading.current_thread() is not threading.main_thread():
            self._alone(blocks, take)
            return
        threads = [
            threading.Thread(target=self._work, name=f"platestore-copy-{i}") for i in range(self._workers)
        ]
        started = []
        try:
            for thread in threads:
                thread.start()
                started.append(thread)
            self._feed(blocks, take)
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()
            for thread in started:
                thread.join()
        if self._error is not None:
            raise self._error

    # --- the calling thread -----------------------------------------------------------------------

    def _alone(self, blocks: Iterator[Block], take: Callable[[Any], None]) -> None:
        """Do everything here; starting a thread takes longer than copying a small array."""
        for block in blocks:
            for part in range(block.fills + block.drains):
                if self._stop is not None and self._stop.is_set():
                    raise Stopped
                if part < block.fills:
                    block.fill(part)
                else:
                    take(block.drain(part - block.fills))

    def _feed(self, blocks: Iterator[Block], take: Callable[[Any], None]) -> None:
        """Hand out blocks and take results, until there are no more or something goes wrong."""
        more = True
        while self._check():
            if more and len(self._live) < self._depth:
                block = next(blocks, None)
                more = block is not None
                if block is not None:
                    with self._changed:
                        self._live.append(_Live(block))
                        self._changed.notify_all()
                continue
            if not self._live:
                return
            with self._changed:
                first = self._live[0]
                while first.taken not in first.results and self._error is None:
                    self._changed.wait()
                if self._error is not None:
                    return
                result = first.results.pop(first.taken)
            take(result)
            del result
            self._took(first)

    def _took(self, first: _Live) -> None:
        with self._changed:
            self._outstanding -= 1
            first.taken += 1
            if first.taken == first.block.drains:
                self._live.popleft()
            self._changed.notify_all()

    def _check(self) -> bool:
        """Whether to go on; called often by all threads."""
        if self._stop is not None and self._stop.is_set():
            self._fail(Stopped())
        return self._error is None and not self._ended

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    # --- the others -------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while (task := self._next()) is not None:
                live, part, drains = task
                if drains:
                    result = live.block.drain(part)
                    with self._changed:
                        live.results[part] = result
                        self._changed.notify_all()
                    del result
                else:
                    live.block.fill(part)
                    with self._changed:
                        live.filled += 1
                        self._changed.notify_all()
                del live, task
        except BaseException as error:  # noqa: BLE001 - raised again by the calling thread
            self._fail(error)

    def _next(self) -> tuple[_Live, int, bool] | None:
        """The next part to do; None if there will be no more."""
        with self._changed:
            while self._check():
                found = self._next_drain() or self._next_fill()
                if found is not None:
                    return found
                self._changed.wait()
        return None

    def _next_drain(self) -> tuple[_Live, int, bool] | None:
        # Of the first block that has some left: the window must not fill up with results whose turn is later.
        for live in self._live:
            if live.draining < live.block.drains:
                if live.filled < live.block.fills or self._outstanding >= self._window:
                    return None
                live.draining += 1
                self._outstanding += 1
                return live, live.draining - 1, True
        return None

    def _next_fill(self) -> tuple[_Live, int, bool] | None:
        for live in self._live:
            if live.filling < live.block.fills:
                live.filling += 1
                return live, live.filling - 1, False
        return None
