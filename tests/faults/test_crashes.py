"""The program dies before, within and after every operation of every method that changes a store.

Whatever the moment: nothing that a document lists is absent, every document in use is complete, readers
see the old state or the new one, the next writer completes what was begun, and the same call made again
gets to the end. (Dying after an operation and dying before the next one leave the same files; so each
operation is visited once, writes a second time with half of their bytes, and the last one also after.)
"""

from __future__ import annotations

import pytest
from fault_cases import CREATIONS, IN_PLACE, REPLACEMENTS, Door, by_turns, named
from fault_checker import problems
from fault_figures import record
from fault_imports import SCENES, Play
from fault_labels import LABELS, DirectoryLabels, MemoryLabels
from fault_scenes import DirectoryScene, MemoryScene, Scene

CASES = [*CREATIONS, *REPLACEMENTS, *IN_PLACE]
#: In a directory, the engine writes pixels, past the ``os`` that is watched here; real kills test that.
IN_DIRECTORIES = [case for case in CASES if case.name != "update_channel"]


def _die_everywhere(scene: Scene, *, torn: bool) -> None:
    length = scene.rehearse()
    assert length > 0
    for k in range(length):
        scene.crash(k, "before")
        if torn and scene.log[k][0] == "write":
            scene.crash(k, "torn")
    scene.crash(length - 1, "after")
    assert scene.states > length
    place = "memory" if isinstance(scene, MemoryScene) else "a directory"
    record(f"crash in {place}", call=scene.case.name, states=scene.states, faults=len(scene.found))
    if scene.found:
        pytest.fail(scene.report(), pytrace=False)


@pytest.mark.parametrize(("case", "version"), by_turns(IN_DIRECTORIES))
def test_a_crash_at_any_operation_leaves_the_old_store_or_the_new_one(case, version):
    with DirectoryScene(case, version) as scene:
        _die_everywhere(scene, torn=True)


@pytest.mark.parametrize(("case", "version"), by_turns(CASES, 1))
def test_a_crash_at_any_change_of_a_zarr_store_leaves_it_whole(case, version):
    with MemoryScene(case, version) as scene:
        _die_everywhere(scene, torn=False)


@pytest.mark.parametrize(("case", "version"), by_turns(LABELS))
@pytest.mark.parametrize("kind", [DirectoryLabels, pytest.param(MemoryLabels, marks=pytest.mark.slow)])
def test_a_crash_at_any_operation_leaves_label_images_whole(case, kind, version):
    with kind(case, version) as scene:
        _die_everywhere(scene, torn=kind is DirectoryLabels)


@pytest.mark.parametrize("case", REPLACEMENTS, ids=named)
def test_without_an_exchange_the_old_store_is_still_there_after_a_crash(case):
    """Where two directories cannot be exchanged, the old store stands beside its place for a moment."""
    with DirectoryScene(case, "0.4", exchange=False) as scene:
        for k in range(scene.rehearse()):
            target, _, _ = scene.play(scene.fresh(), k, "before")
            stores = [scene.files(place) for place in target.parent.iterdir() if place.is_dir()]
            assert any(files and not problems(files) for files in stores), f"before {scene.log[k]}"
            scene.call(Door(target))
            assert scene.seen(target) == scene.after, f"made again, dead before {scene.log[k]}"


@pytest.mark.parametrize(("case", "version"), by_turns(IN_PLACE))
def test_handles_that_were_open_when_another_process_died_complete_what_it_began(case, version):
    """An unfinished change is completed by whoever writes next, not only by who opens the store anew."""
    with DirectoryScene(case, version) as scene:
        for k in range(scene.rehearse()):
            scene.crash_beside(k)
        if scene.found:
            pytest.fail(scene.report(), pytrace=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [c for c in IN_PLACE if c.base in ("plate", "acquired", "levels")], ids=named
)
def test_another_change_after_the_death_of_a_process_undoes_nothing_and_is_not_undone(case, version):
    with DirectoryScene(case, version) as scene:
        for k in range(scene.rehearse()):
            scene.crash_beside_and_go_on(k)
        if scene.found:
            pytest.fail(scene.report(), pytrace=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENES)
def test_a_crash_at_any_operation_of_an_import_or_a_multiscale_image(name, tmp_path):
    played = Play(name, tmp_path)
    for at in played.moments(120):
        played.disturb(at)
    played.disturb(len(played.log) - 1, when="after")
    record("crash in a directory", call=name, states=played.states, faults=len(played.found))
    assert not played.found, "\n".join(played.found[:6])
