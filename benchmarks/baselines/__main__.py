"""``python -m benchmarks.baselines --peer-python PYTHON``: the experiments, as a table in Markdown."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.baselines.experiments import EXPERIMENTS, Bench

_VERSIONS = """
import importlib.metadata as m, sys
names = ("platestore", "iohub", "zarr", "dask", "tensorstore")
have = {d.metadata["Name"].lower() for d in m.distributions()}
print(", ".join(f"{n} {m.version(n)}" for n in names if n in have), "on Python", sys.version.split()[0])
"""


def versions(python: str) -> str:
    """What an interpreter has."""
    return subprocess.run(
        [python, "-c", _VERSIONS], capture_output=True, text=True, check=True
    ).stdout.strip()


def main() -> None:
    """Run the experiments and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", help="an interpreter that has iohub, zarr, dask and tensorstore")
    parser.add_argument("--only", help="experiments, separated by commas")
    parser.add_argument("--kills", type=int, default=30, help="how often a process is killed (30)")
    parser.add_argument("--out", type=Path, help="a file for the table")
    chosen = parser.parse_args()
    names = chosen.only.split(",") if chosen.only else list(EXPERIMENTS)
    lines = [
        f"Run on {time.strftime('%Y-%m-%d')}; ours: {versions(sys.executable)}"
        + (f"; theirs: {versions(chosen.peer_python)}." if chosen.peer_python else "."),
        "",
        "| experiment | platestore | others |",
        "| --- | --- | --- |",
    ]
    with tempfile.TemporaryDirectory() as directory:
        for name in names:
            run, peer = EXPERIMENTS[name]
            ours = run(Bench("platestore", sys.executable, Path(directory), chosen.kills))
            theirs = "–"
            if chosen.peer_python:
                found = run(Bench(peer, chosen.peer_python, Path(directory), chosen.kills))
                theirs = f"{'zarr-python' if peer == 'zarr' else peer}: {found}"
            what = (run.__doc__ or name).strip().removesuffix(".")
            lines.append(f"| {what} | {ours} | {theirs} |")
            print(lines[-1], file=sys.stderr, flush=True)
    text = "\n".join(lines) + "\n"
    print(text)
    if chosen.out:
        chosen.out.write_text(text)


if __name__ == "__main__":
    main()
