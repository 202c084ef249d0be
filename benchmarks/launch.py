"""Run one command, and print how long it took and its peak memory.

Run as a script with ``python -I -S`` and nothing imported that is not needed, so that it stays smaller
than anything it measures.
"""

import json
import os
import sys
import time

MARK = "benchmark-result: "  # as in harness.py, which is too large to import here


def _posix(argv: list[str]) -> tuple[float, int, int | None]:
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    start = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=quiet)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - start
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, os.waitstatus_to_exitcode(status), usage.ru_maxrss * unit


def _elsewhere(argv: list[str]) -> tuple[float, int, int | None]:
    import subprocess

    start = time.perf_counter()
    code = subprocess.call(argv, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start, code, None


if __name__ == "__main__":
    run = _posix if hasattr(os, "posix_spawn") and hasattr(os, "wait4") else _elsewhere
    seconds, code, peak = run(sys.argv[1:])
    if code:
        sys.exit(code)
    print(MARK + json.dumps({"seconds": seconds, "peak": peak}))
