"""What is measured, and how: rows, cases, entries, and the loop that interleaves them.

A *row* of the table has *cases* (usually one per OME-NGFF version), and a case has *entries*: the
programs that do the same work (platestore, a raw floor, a peer). A round runs every entry once, one after
the other, each in a process of its own and in a fresh directory; rounds are repeated (A B C A B C ...), so
that whatever slows the machine down slows all of them.

An entry is either a *piece* (a function that a child process calls, and that times the part that counts)
or a *command* (timed from the start of the process to its end). This module and the rows use nothing but
the standard library, because peers' interpreters, which have no platestore, import them too.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parents[1]
#: Precedes the result of a child process among whatever else it prints.
MARK = "benchmark-result: "
_LAUNCHER = str(Path(__file__).with_name("launch.py"))

Role = Literal["ours", "floor", "reference", "peer"]


class BenchmarkError(Exception):
    """A measured program failed, or did not do what the others did."""


@dataclass(frozen=True)
class Settings:
    """What the command line asks for."""

    repeat: int = 5
    peer_repeat: int = 3
    quick: bool = False
    versions: tuple[str, ...] = ("0.4", "0.5")
    #: Interpreters of environments with peers, and the versions of what is installed in each.
    peers: dict[str, dict[str, str]] = field(default_factory=dict)
    directory: str | None = None

    @property
    def peer_python(self) -> str | None:
        """The first of the peers' interpreters."""
        return next(iter(self.peers), None)

    @property
    def peer_packages(self) -> dict[str, str]:
        """What is installed in its environment."""
        return next(iter(self.peers.values()), {})

    def pick(self, full: int, quick: int) -> int:
        """A size: the full one, or a small one that only shows that everything runs."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Sample:
    """One run of one entry."""

    seconds: float
    peak: int | None
    """Largest resident set of the process, in bytes."""
    extra: dict[str, float]
    answer: Any


@dataclass(frozen=True)
class Entry:
    """One program of a case.

    ``argv`` gives the command line for the directory shared by all rounds and the fresh one of this run.
    """

    name: str
    role: Role
    argv: Callable[[Path, Path], list[str]]
    whole_process: bool = False
    #: Name of the entry whose time, in the same round, is taken off.
    minus: str | None = None
    #: Package that the peers' interpreter must have.
    needs: str | None = None


@dataclass(frozen=True)
class Case:
    """Entries that do the same work."""

    key: str
    title: str
    entries: list[Entry]
    #: Run once, before the rounds, to put into the shared directory what all entries use.
    prepare: list[Entry] = field(default_factory=list)
    #: Multiplies the number of rounds: cheap cases take more, expensive ones fewer.
    rounds: float = 1.0
    #: Rounds that are run first and thrown away (byte code, page cache).
    warm_up: int = 0
    #: Whether entries write much: what one of them left to be written is written before the next starts.
    settle: bool = False
    #: Columns for what pieces report besides their time: key and heading (milliseconds).
    extra: dict[str, str] = field(default_factory=dict)
    #: The same for bytes.
    sizes: dict[str, str] = field(default_factory=dict)


@dataclass
class Results:
    """All samples of a case, by entry."""

    case: Case
    samples: dict[str, list[Sample]]

    def __contains__(self, name: str) -> bool:
        return name in self.samples

    def times(self, name: str) -> list[float]:
        """Seconds of an entry, round by round, less those of the entry it is measured against."""
        entry = next(e for e in self.case.entries if e.name == name)
        own = [s.seconds for s in self.samples[name]]
        if entry.minus is None:
            return own
        base = [s.seconds for s in self.samples[entry.minus]]
        # Peers run in the first rounds only, so that theirs may be fewer.
        return [a - b for a, b in zip(own, base, strict=False)]

    def median(self, name: str) -> float:
        """Median seconds of an entry."""
        return statistics.median(self.times(name))

    def best(self, name: str) -> float:
        """Least seconds of an entry."""
        return min(self.times(name))

    def extra(self, name: str, key: str) -> float:
        """Median of something that an entry reports besides its time."""
        return statistics.median(s.extra[key] for s in self.samples[name])

    def best_extra(self, name: str, key: str) -> float:
        """Least of something that an entry reports besides its time."""
        return min(s.extra[key] for s in self.samples[name])

    def peak(self, name: str) -> int | None:
        """Median peak memory of an entry, in bytes."""
        known = [s.peak for s in self.samples[name] if s.peak is not None]
        return int(statistics.median(known)) if known else None

    def of_role(self, role: Role) -> str | None:
        """The first entry of a role that was run."""
        return next((e.name for e in self.case.entries if e.role == role and e.name in self.samples), None)


@dataclass(frozen=True)
class Verdict:
    """An aim, and what was found."""

    what: str
    found: float
    best: float
    """The same number from the fastest runs, which a busy machine disturbs least."""
    limit: float
    unit: Literal["s", "×", "MiB"]
    of: str = ""
    """What a ratio is relative to."""

    @property
    def met(self) -> bool:
        """Whether the aim was reached, by the medians."""
        return self.found <= self.limit


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    name: str
    title: str
    #: What is measured, for readers of the report.
    note: str
    plan: Callable[[Settings], list[Case]]
    judge: Callable[[dict[str, Results]], list[Verdict]]


def ratio_verdict(results: Results, what: str, entry: str, base: str, limit: float) -> Verdict:
    """An aim relative to another entry of the same case."""
    return Verdict(
        what,
        results.median(entry) / results.median(base),
        results.best(entry) / results.best(base),
        limit,
        "×",
        base,
    )


def time_verdict(results: Results, what: str, entry: str, limit: float) -> Verdict:
    """An aim in seconds."""
    return Verdict(what, results.median(entry), results.best(entry), limit, "s")


def growth_verdict(results: Results, what: str, entry: str, limit: int) -> Verdict:
    """An aim for how many bytes the resident set may grow."""
    found = [s.extra["growth"] / 2**20 for s in results.samples[entry]]
    return Verdict(what, statistics.median(found), min(found), limit / 2**20, "MiB")


# --- entries --------------------------------------------------------------------------------------


def piece(
    name: str,
    role: Role,
    function: Callable[..., dict[str, Any]],
    *,
    python: str = sys.executable,
    needs: str | None = None,
    **arguments: Any,
) -> Entry:
    """An entry that calls a module-level function in a child process.

    The function is called with ``shared`` and ``fresh`` (paths) and the arguments, and returns a dict with
    ``seconds``, and optionally ``answer`` (the same for all entries of a case) and further numbers.
    """

    def argv(shared: Path, fresh: Path) -> list[str]:
        call = {"shared": str(shared), "fresh": str(fresh), **arguments}
        return [python, "-m", "benchmarks.child", function.__module__, function.__name__, json.dumps(call)]

    return Entry(name, role, argv, needs=needs)


def command(
    name: str,
    role: Role,
    *words: str,
    python: str = sys.executable,
    minus: str | None = None,
    needs: str | None = None,
) -> Entry:
    """An entry that is a whole process; ``{shared}`` and ``{fresh}`` in its words become paths."""

    def argv(shared: Path, fresh: Path) -> list[str]:
        # A small process starts the measured one: the system counts the memory of the starter as the
        # peak of the started, until that has grown beyond it.
        inner = [word.replace("{shared}", str(shared)).replace("{fresh}", str(fresh)) for word in words]
        return [python, "-I", "-S", _LAUNCHER, *inner]

    return Entry(name, role, argv, whole_process=True, minus=minus, needs=needs)


def peer_entries(settings: Settings, make: Callable[[str], list[Entry]]) -> list[Entry]:
    """Entries that run in the first of the peers' interpreters that has what they need, if there is one."""
    found: dict[str, Entry] = {}
    for python, packages in settings.peers.items():
        for entry in make(python):
            if entry.needs is None or entry.needs in packages:
                found.setdefault(entry.name, entry)
    return list(found.values())


# --- running --------------------------------------------------------------------------------------


def run_case(case: Case, settings: Settings, progress: Callable[[str], None]) -> Results:
    """Prepare a case, run its rounds, and check that all entries did the same."""
    rounds = max(1, round(settings.repeat * case.rounds))
    peer_rounds = max(1, round(settings.peer_repeat * case.rounds))
    samples: dict[str, list[Sample]] = {}
    with _directory(settings.directory) as base:
        shared = base / "shared"
        shared.mkdir()
        for entry in case.prepare:
            run_entry(entry, shared, shared)
        for number in range(-case.warm_up, rounds):
            for entry in case.entries:
                if entry.role == "peer" and number >= peer_rounds:
                    continue
                with _directory(str(base)) as fresh:
                    if case.settle and hasattr(os, "sync"):
                        os.sync()
                    sample = run_entry(entry, shared, fresh)
                if number >= 0:
                    samples.setdefault(entry.name, []).append(sample)
                    progress(
                        f"  {case.title}, round {number + 1}/{rounds}: {entry.name} {sample.seconds:.4f} s"
                    )
    _check_answers(case, samples)
    return Results(case, samples)


def run_entry(entry: Entry, shared: Path, fresh: Path) -> Sample:
    """Run one entry once."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        entry.argv(shared, fresh), cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if done.returncode or not lines:
        raise BenchmarkError(f"{entry.name} failed (exit code {done.returncode}):\n{done.stderr.strip()}")
    result = json.loads(lines[-1].removeprefix(MARK))
    seconds, peak, answer = result.pop("seconds"), result.pop("peak", None), result.pop("answer", None)
    return Sample(seconds, peak, result, answer)


def _check_answers(case: Case, samples: dict[str, list[Sample]]) -> None:
    answers = {
        name: sample.answer for name, runs in samples.items() for sample in runs if sample.answer is not None
    }
    if len({json.dumps(answer) for answer in answers.values()}) > 1:
        raise BenchmarkError(f"{case.title}: the programs did not do the same: {answers}")


@contextmanager
def _directory(parent: str | None) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="benchmark-", dir=parent))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def run_row(row: Row, settings: Settings, progress: Callable[[str], None]) -> dict[str, Results]:
    """Run all cases of a row."""
    cases: Sequence[Case] = row.plan(settings)
    return {case.key: run_case(case, settings, progress) for case in cases}
