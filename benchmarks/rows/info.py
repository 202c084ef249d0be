"""``platestore info`` on a plate, as a whole process."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

from benchmarks.harness import (
    Case,
    Results,
    Row,
    Settings,
    Verdict,
    command,
    peer_entries,
    piece,
    time_verdict,
)
from benchmarks.plates import make_plate


def _script(name: str, directory: str | Path) -> str | None:
    """An installed command."""
    for path in (Path(directory, name), Path(directory, f"{name}.exe")):
        if path.exists():
            return str(path)
    return None


def _works(script: str | None) -> bool:
    if script is None:
        return False
    return subprocess.run([script, "info", "--help"], capture_output=True, check=False).returncode == 0


def plan(settings: Settings) -> list[Case]:
    """One case per version; none while there is no such command."""
    script = _script("platestore", sysconfig.get_path("scripts"))
    if script is None or not _works(script):
        return []
    wells, fields = settings.pick(384, 24), 4
    peer_script = _script("iohub", Path(settings.peer_python).parent) if settings.peer_python else None
    cases = []
    for version in settings.versions:
        plate = "{shared}/plate.zarr"
        cases.append(
            Case(
                key=version,
                title=f"{wells * fields:,} positions, OME-NGFF {version}",
                prepare=[
                    piece("plate", "reference", make_plate, version=version, wells=wells, fields=fields)
                ],
                entries=[
                    command("platestore", "ours", script, "info", plate),
                    command("floor", "floor", sys.executable, "-c", "import click, pydantic"),
                    command("bare interpreter", "reference", sys.executable, "-c", "pass"),
                    *peer_entries(
                        settings,
                        lambda python, plate=plate: (
                            [
                                command(
                                    "iohub", "peer", peer_script, "info", plate, python=python, needs="iohub"
                                )
                            ]
                            if peer_script
                            else []
                        ),
                    ),
                ],
                rounds=3,
                warm_up=1,
            )
        )
    return cases


def judge(results: dict[str, Results]) -> list[Verdict]:
    """At most 0.3 s."""
    return [time_verdict(r, r.case.title, "platestore", 0.3) for r in results.values()]


ROW = Row(
    name="info",
    title="`platestore info` on a plate, whole process",
    note=(
        "From the start of the process to its end, on a plate of 384 wells × 4 positions. The floor is a "
        "Python process that imports click and pydantic and ends."
    ),
    plan=plan,
    judge=judge,
)
