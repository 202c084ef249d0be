"""The figures of the long suite: each test tells what it tried and what came of it.

``PLATESTORE_FIGURES=figures.jsonl python -m pytest -m slow tests/faults`` writes them, and
``python tests/faults/fault_figures.py figures.jsonl`` adds them up, as a table for the documentation.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable


def record(name: str, **numbers: object) -> None:
    """Add one line of JSON to the file named by ``PLATESTORE_FIGURES``; nothing without it.

    Parameters
    ----------
    name : str
        What was tried.
    **numbers
        How often, and what was lost.
    """
    path = os.environ.get("PLATESTORE_FIGURES")
    if path:
        line = json.dumps({"name": name, "date": time.strftime("%Y-%m-%d"), **numbers})
        # One write to a file that is only appended to: lines of several processes do not mix.
        with open(path, "a", encoding="utf-8") as file:
            file.write(line + "\n")


def table(lines: Iterable[str]) -> str:
    """Add up the numbers of each name, as a table in Markdown.

    Parameters
    ----------
    lines : iterable of str
        What :func:`record` wrote. Texts, and numbers that only name a run, are left out.
    """
    sums: dict[str, dict[str, int]] = {}
    dates: dict[str, str] = {}
    for line in lines:
        entry = json.loads(line)
        name = entry.pop("name")
        dates[name] = max(entry.pop("date"), dates.get(name, ""))
        found = sums.setdefault(name, {"runs": 0})
        found["runs"] += 1
        for key, value in entry.items():
            if isinstance(value, int) and key not in ("seed", "part"):
                found[key] = found.get(key, 0) + value
    rows = ["| what was tried | figures | date |", "|---|---|---|"]
    for name, found in sorted(sums.items()):
        figures = ", ".join(f"{key.replace('_', ' ')} {value:,}" for key, value in found.items())
        rows.append(f"| {name} | {figures} | {dates[name]} |")
    return "\n".join(rows)


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as written:
        sys.stdout.write(table(written) + "\n")
