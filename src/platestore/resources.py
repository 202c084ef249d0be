"""What a computation may use, memory and threads, and whom it tells how far it is."""

from __future__ import annotations

from dataclasses import dataclass

from platestore.errors import ArgumentError
from platestore.progress import Progress
from platestore.settings import config, parse_bytes


@dataclass(frozen=True, slots=True)
class Resources:
    """What a computation may use, and whom it tells.

    Attributes
    ----------
    max_memory : int or str, optional
        Bytes by which the process may grow (``"2GB"``); that of the settings by default.
    workers : int, optional
        Number of threads; that of the settings by default.
    progress : callable, optional
        Called with the bytes done and the total.
    spent : int
        Bytes of the budget that are used up already.
    """

    max_memory: int | str | None = None
    workers: int | None = None
    progress: Progress | None = None
    spent: int = 0

    @property
    def memory(self) -> int:
        """Bytes by which the process may grow.

        Raises
        ------
        ArgumentError
            If ``max_memory`` is no number of bytes.
        """
        return config.max_memory if self.max_memory is None else parse_bytes(self.max_memory, "max_memory")

    @property
    def threads(self) -> int:
        """Number of threads.

        Raises
        ------
        ArgumentError
            If ``workers`` is no integer of 1 or more.
        """
        return config.threads if self.workers is None else check_workers(self.workers)


def check_workers(workers: int) -> int:
    """Check a number of workers: an integer of 1 or more."""
    if isinstance(workers, bool) or not hasattr(workers, "__index__") or workers < 1:
        raise ArgumentError(f"workers must be an integer of 1 or more, not {workers!r}")
    return int(workers)
