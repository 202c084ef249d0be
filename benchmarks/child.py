"""The child process of a piece: call one function, add the peak memory, print the result.

``python -m benchmarks.child MODULE FUNCTION ARGUMENTS`` with the arguments as a JSON object.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

from benchmarks.harness import MARK


def peak_memory() -> int | None:
    """Largest resident set of this process so far, in bytes; None where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        pass
    else:
        # Unlike ru_maxrss, this does not count what the parent held when it started this process.
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main() -> None:
    """Run what the command line names."""
    module, function, arguments = sys.argv[1:]
    call = json.loads(arguments)
    call["shared"], call["fresh"] = Path(call["shared"]), Path(call["fresh"])
    result = getattr(importlib.import_module(module), function)(**call)
    print(MARK + json.dumps({"peak": peak_memory(), **result}))


if __name__ == "__main__":
    main()
