"""Whatever moment a program died at: a repair makes the store whole, a second one finds nothing to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from fault_cases import IN_PLACE, by_turns
from fault_checker import problems, unfinished
from fault_figures import record
from fault_labels import LABELS, DirectoryLabels
from fault_scenes import DirectoryScene

import platestore as ps
from platestore.checking.whole import leftovers


@pytest.fixture(autouse=True)
def _nobody_lives(monkeypatch):
    """The process that died is this one: what it left is nobody's."""
    monkeypatch.setattr(leftovers, "_is_alive", lambda process: False)
    monkeypatch.setattr(leftovers, "_FRESH", -1.0)


def _repair(scene: DirectoryScene, target: Path, moment: str) -> int:
    """Repair a store; give the number of things that were done."""
    report = ps.check(target, repair=True)
    if not report.whole:
        told = [*map(str, report.findings), *report.failed]
        scene.note(moment, [f"not whole after the repair: {told}"])
    again = ps.check(target, deep=True)
    scene.note(
        moment, [f"a second check finds {finding}" for finding in again.findings if finding.level != "advice"]
    )
    files = scene.files(target)
    scene.note(moment, problems(files))
    scene.note(moment, [f"still unfinished: {key}" for key in unfinished(files)])
    return len(report.actions)


def _crash_and_repair(scene: DirectoryScene) -> None:
    length = scene.rehearse()
    repairs = 0
    for k in range(length):
        target, _, _ = scene.play(scene.fresh(), k, "before")
        moment = f"dead before {scene.log[k]}"
        if target.exists():
            copied = scene.copy(target)
            recovered = set(scene._whole(copied) or {})  # what the next writer would find
            scene.discard(copied)
            repairs += _repair(scene, target, moment)
            found = set(scene._whole(target) or {})
            lost = recovered - found
            scene.note(moment, [f"lost by the repair: {sorted(lost)}"] if lost else [])
        scene.discard(target)
    record(
        "repair after a crash", call=scene.case.name, states=length, repairs=repairs, faults=len(scene.found)
    )
    if scene.found:
        pytest.fail(scene.report(), pytrace=False)


@pytest.mark.parametrize(("case", "version"), by_turns(IN_PLACE, 1))
def test_a_store_is_whole_again_after_a_crash_at_any_operation(case, version):
    if case.name == "update_channel":
        pytest.skip("pixels are written past the operations that are watched")
    with DirectoryScene(case, version) as scene:
        _crash_and_repair(scene)


@pytest.mark.parametrize(("case", "version"), by_turns(LABELS, 1))
def test_label_images_are_whole_again_after_a_crash_at_any_operation(case, version):
    with DirectoryLabels(case, version) as scene:
        _crash_and_repair(scene)
