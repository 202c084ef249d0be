"""``python -m benchmarks``: run the rows of the table, print it, and write it where asked."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

from benchmarks import machine, report
from benchmarks.harness import BenchmarkError, Settings, run_row
from benchmarks.rows import ROWS


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure platestore beside raw floors and peers, in turn, and print a table.",
    )
    parser.add_argument("--rows", nargs="+", metavar="NAME", choices=ROWS, help=f"of {', '.join(ROWS)}")
    parser.add_argument("--versions", nargs="+", choices=["0.4", "0.5"], default=["0.4", "0.5"])
    parser.add_argument("--repeat", type=_positive, default=5, metavar="N", help="rounds (5)")
    parser.add_argument("--peer-repeat", type=_positive, metavar="N", help="rounds in which peers run (3)")
    parser.add_argument(
        "--peer-python",
        nargs="+",
        default=[],
        metavar="PATH",
        help="interpreters of environments with peers: the first that has one runs it",
    )
    parser.add_argument("--quick", action="store_true", help="one round with small plates, to try it out")
    parser.add_argument("--dir", metavar="DIR", help="where to put stores (the system's temporary directory)")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="replace the generated section of a page")
    given = parser.parse_args(words)
    if given.write is not None and given.quick:
        parser.error("a quick run has no figures worth writing: leave out --quick or --write")
    if given.write is not None and not given.write.is_file():
        parser.error(f"{given.write} is no file")
    if given.dir is not None and not Path(given.dir).is_dir():
        parser.error(f"{given.dir} is no directory")
    for number, name in enumerate(given.peer_python):
        found = shutil.which(name)
        if found is None:
            parser.error(f"{name} is no program")
        # Absolute, since children run elsewhere; but the link of a virtual environment is not followed.
        given.peer_python[number] = os.path.abspath(found)
    return given


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(words: list[str] | None = None) -> int:
    """Run the command.

    Returns
    -------
    int
        The exit code; 1 if something could not be measured. An aim that is not met is no error.
    """
    given = _arguments(words)
    try:
        settings = Settings(
            repeat=1 if given.quick else given.repeat,
            peer_repeat=1 if given.quick else given.peer_repeat or min(3, given.repeat),
            quick=given.quick,
            versions=tuple(dict.fromkeys(given.versions)),
            peers={python: machine.peer_packages(python) for python in given.peer_python},
            directory=None if given.dir is None else str(Path(given.dir).resolve()),
        )
        facts, load, start = machine.describe(settings), machine.load(), time.monotonic()
        found = []
        for name, row in ROWS.items():
            if given.rows and name not in given.rows:
                continue
            _progress(f"{name}: {row.title}")
            found.append((row, run_row(row, settings, _progress)))
        facts.append(("load", f"{load} before, {machine.load()} after {time.monotonic() - start:.0f} s"))
        text = report.render(facts, found, settings)
        print(text)
        if given.write is not None:
            report.write(given.write, text)
    except BenchmarkError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
