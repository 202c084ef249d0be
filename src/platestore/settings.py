"""Settings of this process: the thread budget and the default memory budget."""

from __future__ import annotations

import contextlib
import operator
import os
import re
import sys
from collections.abc import Iterator

from platestore.errors import ArgumentError

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_BYTES = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([kmgt]?)(i?)b?\s*", re.IGNORECASE)


class Config:
    """What all stores of this process share.

    Attributes
    ----------
    threads : int
        How many threads read, write, encode and reduce at once, over all arrays. By default the number
        of processors this process may use, or the environment variable ``PLATESTORE_THREADS``.
    max_memory : int
        Bytes by which an operation that walks pixels may make the process grow, where it is given no
        ``max_memory`` of its own. By default 1 GiB, or ``PLATESTORE_MAX_MEMORY`` (``"4GiB"``).

    Examples
    --------
    >>> ps.config.threads = 2
    >>> ps.config.max_memory = "4GiB"
    >>> ps.config.max_memory
    4294967296
    """

    def __init__(self) -> None:
        self._threads: int | None = None
        self._max_memory: int | None = None

    @property
    def threads(self) -> int:
        """Number of threads, over all arrays."""
        if self._threads is None:
            given = os.environ.get("PLATESTORE_THREADS")
            self._threads = _check_threads(given) if given else _processors()
        return self._threads

    @threads.setter
    def threads(self, value: int) -> None:
        self._threads = _check_threads(value)

    @property
    def max_memory(self) -> int:
        """Default memory budget in bytes."""
        if self._max_memory is None:
            self._max_memory = parse_bytes(os.environ.get("PLATESTORE_MAX_MEMORY") or 2**30, "max_memory")
        return self._max_memory

    @max_memory.setter
    def max_memory(self, value: int | str) -> None:
        self._max_memory = parse_bytes(value, "max_memory")

    @contextlib.contextmanager
    def using(self, *, threads: int | None = None, max_memory: int | str | None = None) -> Iterator[None]:
        """Change settings inside a ``with`` block.

        Parameters
        ----------
        threads : int, optional
            As the attribute.
        max_memory : int or str, optional
            As the attribute.

        Examples
        --------
        >>> with ps.config.using(threads=1, max_memory="256MiB"):
        ...     position.compute_pyramid(levels=2)
        """
        before = self._threads, self._max_memory
        try:
            if threads is not None:
                self.threads = threads
            if max_memory is not None:
                self.max_memory = max_memory
            yield
        finally:
            self._threads, self._max_memory = before


def parse_bytes(value: int | str, name: str) -> int:
    """A number of bytes from a number or from words such as ``"1GB"`` and ``"512 MiB"``.

    Raises
    ------
    ArgumentError
        If it is neither, or not positive.
    """
    number = 0.0
    if isinstance(value, str):
        words = _BYTES.fullmatch(value)
        if words is not None and len(words[1]) < 20:
            unit = words[2].lower()
            number = float(words[1]) * (_BINARY[unit] if words[3] and unit else _UNITS[unit])
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        number = value
    elif hasattr(value, "__index__") and not isinstance(value, bool):
        number = operator.index(value)
    if not 1 <= number < 2**63:  # nor NaN
        raise ArgumentError(f"{name} must be a number of bytes such as '1GB' or '512MiB', not {value!r}")
    return int(number)


def resident_bytes() -> int:
    """Bytes of memory that this process holds; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return 0


def give_back_memory() -> None:
    """Return memory that is free to the system (glibc keeps some of each thread's for later)."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes  # nobody else needs it

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def human_bytes(count: float) -> str:
    """A number of bytes in the unit that makes it short."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} PiB"


def _check_threads(value: int | str) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = 0
    if number < 1 or (number != value and not isinstance(value, str)) or isinstance(value, bool):
        raise ArgumentError(f"threads must be an integer of 1 or more, not {value!r}")
    return number


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


#: The settings of this process.
config = Config()
