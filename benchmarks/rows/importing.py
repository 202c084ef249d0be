"""What an import costs, beyond a bare interpreter."""

from __future__ import annotations

import sys

from benchmarks.harness import (
    Case,
    Entry,
    Results,
    Role,
    Row,
    Settings,
    Verdict,
    command,
    peer_entries,
    time_verdict,
)

_BARE, _PEER_BARE = "bare interpreter", "peers' bare interpreter"


def _runs(name: str, role: Role, code: str, minus: str | None = _BARE) -> Entry:
    return command(name, role, sys.executable, "-c", code, minus=minus)


def _peers(python: str) -> list[Entry]:
    def runs(name: str, code: str) -> Entry:
        return command(name, "peer", python, "-c", code, python=python, minus=_PEER_BARE, needs="iohub")

    return [
        command(_PEER_BARE, "reference", python, "-c", "pass", python=python),
        runs("iohub", "import iohub"),
        runs("iohub and its opener", "from iohub.ngff import open_ome_zarr"),
    ]


def plan(settings: Settings) -> list[Case]:
    """One case."""
    return [
        Case(
            key="import",
            title="beyond a bare interpreter",
            entries=[
                _runs(_BARE, "reference", "pass", minus=None),
                _runs("platestore", "ours", "import platestore"),
                _runs("platestore and its opener", "reference", "from platestore import open_ome_zarr"),
                _runs("numpy", "reference", "import numpy"),
                _runs("zarr", "reference", "import zarr"),
                *peer_entries(settings, _peers),
            ],
            rounds=3,
            warm_up=1,
        )
    ]


def judge(results: dict[str, Results]) -> list[Verdict]:
    """At most 0.1 s."""
    return [time_verdict(r, r.case.title, "platestore", 0.1) for r in results.values()]


ROW = Row(
    name="import",
    title="Import",
    note=(
        "Whole processes that import one module, less a bare interpreter in the same round (of the bare "
        "interpreters, the whole time is given). `import platestore` imports nothing else; the first use of "
        "a name does, so that is listed too."
    ),
    plan=plan,
    judge=judge,
)
