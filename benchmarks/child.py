"""The child process of a piece: call one function, add the peak memory, print the result.

``python -m benchmarks.child MODULE FUNCTION ARGUMENTS`` with the arguments as a JSON object.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

from benchmarks.harness import MARK
from benchmarks.memory import peak


def main() -> None:
    """Run what the command line names."""
    module, function, arguments = sys.argv[1:]
    call = json.loads(arguments)
    call["shared"], call["fresh"] = Path(call["shared"]), Path(call["fresh"])
    result = getattr(importlib.import_module(module), function)(**call)
    print(MARK + json.dumps({"peak": peak(), **result}))


if __name__ == "__main__":
    main()
