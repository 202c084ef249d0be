"""How much memory this process takes, and how much a piece of work adds to it."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: The column of what :func:`measured` finds besides seconds and bytes.
CPU = {"cpu": "processor time, ms"}
_earlier = 0


def peak() -> int | None:
    """Largest resident set of this process so far, in bytes; None where the system does not tell."""
    now = _status("VmHWM")
    if now is not None:
        return max(now, _earlier)
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def measured(work: Callable[[], object]) -> dict[str, Any]:
    """Do something, and tell its seconds, those of all processors, and the bytes the resident set grew by."""
    gc.collect()
    before = _forget_peak()
    start, processors = time.perf_counter(), time.process_time()
    work()
    found: dict[str, Any] = {
        "seconds": time.perf_counter() - start,
        "cpu": time.process_time() - processors,
    }
    after = _status("VmHWM")
    if before is not None and after is not None:
        found["growth"] = max(0, after - before)
    return found


def _forget_peak() -> int | None:
    """Make the system count the peak from now on; the resident set now, or None if that is impossible."""
    global _earlier
    so_far = _status("VmHWM")
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return None
    _earlier = max(_earlier, so_far or 0)
    return _status("VmRSS")


def _status(key: str) -> int | None:
    # Unlike ru_maxrss, this does not count what the parent held when it started this process.
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return None
