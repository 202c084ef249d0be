"""The bytes that a stream may hold: frames that wait, and frames of blocks that are not complete."""

from __future__ import annotations

import threading
from collections.abc import Callable


class MemoryAccount:
    """Counts bytes, and makes whoever wants too many wait.

    Parameters
    ----------
    total : int
        The bytes that may be held.
    spill : callable
        Called where nothing is under way that would free memory; returns whether it freed some.
    """

    def __init__(self, total: int, spill: Callable[[], bool]) -> None:
        self._total = total
        self._spill = spill
        self._used = 0
        self._moving = 0
        self._changed = threading.Condition()

    @property
    def used(self) -> int:
        """Bytes that are held."""
        return self._used

    def fits(self, nbytes: int) -> bool:
        """Whether so many more bytes may be held; one piece always may."""
        return not self._used or self._used + nbytes <= self._total

    def take(self, nbytes: int) -> None:
        """Hold so many bytes more, as soon as they may be held."""
        while True:
            with self._changed:
                if self.fits(nbytes):
                    self._used += nbytes
                    return
                if self._moving:
                    self._changed.wait(1.0)
                    continue
            if not self._spill():
                with self._changed:
                    if not self._moving:  # nothing can be freed: one piece must do
                        self._used += nbytes
                        return

    def give(self, nbytes: int) -> None:
        """Give back bytes."""
        with self._changed:
            self._used -= nbytes
            self._changed.notify_all()

    def begin(self) -> None:
        """Note that something is being written, which will free memory."""
        with self._changed:
            self._moving += 1

    def end(self) -> None:
        """Note that it is."""
        with self._changed:
            self._moving -= 1
            self._changed.notify_all()

    def wait_idle(self) -> None:
        """Wait until nothing is being written."""
        with self._changed:
            while self._moving:
                self._changed.wait(1.0)
