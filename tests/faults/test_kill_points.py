"""Processes are killed (SIGKILL) at random moments of what they do; no store is lost, and nothing reported.

Each kind of work is described in ``fault_kill_work``. A moment is drawn from the time that a call takes, so
that most kills fall into one.
"""

from __future__ import annotations

import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fault_figures import record
from fault_kill_work import WORKS, Work, until_killed
from fault_workers import context

pytestmark = pytest.mark.skipif(os.name == "nt", reason="a killed process is simulated elsewhere on Windows")
#: After as many kills, a new store is begun, of the other version.
_KILLS_OF_ONE_STORE = 10


@dataclass
class _Tally:
    """What was tried, and what came of it."""

    tried: int = 0
    within: int = 0
    calls: int = 0
    faults: list[str] = field(default_factory=list)
    stores_lost: int = 0
    lost: int = 0
    took: list[float] = field(default_factory=lambda: [0.01])


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory in memory, where the system has one."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None) as directory:
        yield Path(directory)


def _kill(work: Work, turn: int, seed: int, tally: _Tally) -> tuple[list[Any], Any]:
    """Let a process work for a random time, and kill it: the calls that returned, and one that did not."""
    rng = random.Random(seed)
    started = context()
    ours, theirs = started.Pipe(duplex=False)
    process = started.Process(target=until_killed, args=(work, turn, seed, theirs))
    process.start()
    theirs.close()
    done: list[Any] = []
    begun: Any = None
    since = time.perf_counter()

    def hear() -> None:
        nonlocal begun, since
        kind, call = ours.recv()
        now = time.perf_counter()
        if kind == "done":
            done.append(call)
            tally.took.append(now - since)
        begun = call if kind == "begin" else None
        since = now

    try:
        assert ours.poll(60), "the process did not start"
        hear()
        goal = rng.randrange(3)
        while len(done) < goal:
            assert ours.poll(60), "the process hangs"
            hear()
        time.sleep(rng.uniform(0.0, 1.2) * statistics.median(tally.took[-20:]))
        process.kill()
        process.join()
        took = len(tally.took)
        while True:
            try:
                hear()
            except (EOFError, OSError):  # OSError: killed in the middle of an announcement
                break
        del tally.took[took:]  # these were waiting to be heard
    finally:
        process.kill()
        process.join()
        ours.close()
    assert process.exitcode == -9, f"the process ended by itself, with {process.exitcode}"
    return done, begun


def _kill_often(name: str, root: Path, kills: int, seed: int) -> _Tally:
    """Kill again and again, and judge what is left each time."""
    tally = _Tally()
    work: Work | None = None
    for turn in range(kills):
        if work is None or turn % _KILLS_OF_ONE_STORE == 0:
            if work is not None:
                work.finish()
            place = root / str(turn)
            place.mkdir()
            work = WORKS[name](place, ("0.5", "0.4")[(seed + turn // _KILLS_OF_ONE_STORE) % 2])
            work.prepare()
        number = 10_000 * seed + turn
        done, begun = _kill(work, turn, number, tally)
        tally.tried += 1
        tally.calls += len(done)
        tally.within += begun is not None
        try:
            work.judge(done, begun)
        except Exception as error:  # noqa: BLE001 - whatever a user meets is a finding
            tally.stores_lost += 1
            tally.lost += work.lost()
            tally.faults.append(f"seed {number}, {work.version}, in {begun}: {type(error).__name__}: {error}")
            work = None
    if work is not None:
        work.finish()
    unit = WORKS[name].unit
    figures = {"tried": tally.tried, "within_a_call": tally.within, "calls_returned": tally.calls}
    record(f"kill -9: {name}", **figures, stores_lost=tally.stores_lost, **{f"{unit}_lost": tally.lost})
    return tally


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", WORKS)
def test_kills_at_a_few_moments_lose_nothing_that_was_reported(name, memory: Path):
    tally = _kill_often(name, memory, kills=5, seed=1)
    assert not tally.faults


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("name", WORKS)
def test_kills_at_two_hundred_moments_lose_nothing_that_was_reported(name, part, memory: Path):
    tally = _kill_often(name, memory, kills=50, seed=10 + part)
    assert not tally.faults
    assert tally.within >= 10, "too few were killed while they worked"
