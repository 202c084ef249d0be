"""One operation of the system fails: no space left, or an input/output error.

The error surfaces as an ``OSError`` or as one of platestore's; the store is as before or as after; and the
same call made again, on the same handles, gets to the end.
"""

from __future__ import annotations

import errno
import itertools
import shutil
from pathlib import Path
from typing import Any

import pytest
from fault_cases import CREATIONS, IN_PLACE, REPLACEMENTS, by_turns
from fault_figures import record
from fault_imports import SCENES, Play
from fault_injected import CALLS, PLACES, cannot_inject, injected, make, write_when_told
from fault_labels import LABELS, DirectoryLabels
from fault_scenes import DirectoryScene, MemoryScene, Scene
from fault_workers import context

import platestore as ps

CASES = [*CREATIONS, *REPLACEMENTS, *IN_PLACE]
#: In a directory, the engine writes pixels, past the ``os`` that is watched here; real kills test that.
IN_DIRECTORIES = [case for case in CASES if case.name != "update_channel"]
#: What a full disk refuses; everything else fails with an input/output error.
_NEEDS_SPACE = {"create", "write", "mkdir", "set"}


def _fail_everywhere(scene: Scene) -> None:
    length = scene.rehearse()
    for k in range(length):
        scene.fail(k, errno.ENOSPC if scene.log[k][0] in _NEEDS_SPACE else errno.EIO)
    assert scene.states == length > 0
    place = "memory" if isinstance(scene, MemoryScene) else "a directory"
    record(f"EIO or ENOSPC in {place}", call=scene.case.name, states=scene.states, faults=len(scene.found))
    if scene.found:
        pytest.fail(scene.report(), pytrace=False)


@pytest.mark.parametrize(("case", "version"), by_turns(IN_DIRECTORIES, 1))
def test_an_error_of_any_operation_surfaces_and_can_be_repeated(case, version):
    with DirectoryScene(case, version) as scene:
        _fail_everywhere(scene)


@pytest.mark.parametrize(("case", "version"), by_turns(CASES))
def test_an_error_of_any_change_of_a_zarr_store_surfaces_and_can_be_repeated(case, version):
    with MemoryScene(case, version) as scene:
        _fail_everywhere(scene)


@pytest.mark.parametrize(("case", "version"), by_turns(LABELS, 1))
def test_an_error_while_label_images_change_surfaces_and_can_be_repeated(case, version):
    with DirectoryLabels(case, version) as scene:
        _fail_everywhere(scene)


_QUICK = ("import_stack", "to_ngff_zarr", "write_multiscale_group", "write_xarray")


@pytest.mark.parametrize(
    ("name", "most"),
    [
        *((name, 4) for name in _QUICK),
        *(pytest.param(name, 120, marks=pytest.mark.slow) for name in SCENES),
    ],
)
def test_an_error_while_images_are_imported_surfaces_and_can_be_repeated(name, most, tmp_path):
    played = Play(name, tmp_path)
    for at in played.moments(most):
        needs_space = played.log[at][0] in _NEEDS_SPACE
        played.disturb(at, error=errno.ENOSPC if needs_space else errno.EIO)
    record("EIO or ENOSPC in a directory", call=name, states=played.states, faults=len(played.found))
    assert not played.found, "\n".join(played.found[:6])


# --- within TensorStore -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "error"),
    [
        ("shards", "ENOSPC"),
        pytest.param("shards", "EIO", marks=pytest.mark.slow),
        pytest.param("chunks", "ENOSPC", marks=pytest.mark.slow),
        ("chunks", "EIO"),
        pytest.param("shards", "EDQUOT", marks=pytest.mark.slow),
    ],
)
def test_an_error_of_the_system_within_tensorstore_surfaces_and_can_be_repeated(layout, error, tmp_path):
    """Old pixels or new ones in each file; and the same handle gets to the end afterwards."""
    if (reason := cannot_inject()) is not None:
        pytest.skip(reason)
    path = tmp_path / "p.zarr"
    make(path, layout)
    ours, theirs = context().Pipe()
    process = context().Process(target=write_when_told, args=(str(path), theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        assert ours.poll(60)
        assert ours.recv() == "ready"
        surfaced, tried, value = 0, 0, 1
        for (where, place), call in itertools.product(PLACES.items(), CALLS):
            for at in itertools.count(1):
                value += 1
                if where == "new":
                    shutil.rmtree(path / "0/c/1", ignore_errors=True)
                before = ps.open_ome_zarr(path)["0"][...]
                after = before.copy()
                after[place] = value
                with injected(process.pid, call, error, at, _paths(path, place)):
                    kind, number, text = _written(ours, place, value)
                moment = f"{where}, call {at} of {call}: {text}"
                assert kind != "another", moment
                found = ps.open_ome_zarr(path)["0"][...]
                tried += 1
                if kind == "OSError":
                    surfaced += 1
                    assert number in (getattr(errno, error), errno.EIO), moment
                    assert str(path) in text, moment
                    for t in range(2):  # each is one file
                        same = [(found[t] == pixels[t]).all() for pixels in (before, after)]
                        assert any(same), moment
                else:
                    assert (found == after).all(), f"{moment}: it did not fail, and is not there"
                assert _written(ours, place, value)[0] == "done", moment
                assert (ps.open_ome_zarr(path)["0"][...] == after).all(), moment
                if kind == "done" or at == 8:
                    break
        assert surfaced >= 4
        record(
            "errors within TensorStore", layout=layout, error=error, tried=tried, surfaced=surfaced, lost=0
        )
        ours.send(None)
    finally:
        process.kill()
        process.join()


def _written(pipe: Any, place: Any, value: int) -> tuple[str, int, str]:
    pipe.send((place, value))
    assert pipe.poll(60), "the process hangs"
    kind, number, text = pipe.recv()
    return kind, number, text


def _paths(path: Path, place: Any) -> list[Path]:
    """The file that is written, the one it grows in, and the directories above it."""
    t = place[0] if isinstance(place, tuple) else place
    file = path / f"0/c/{t}/0/0/0/0"
    return [file, file.with_name(f"{file.name}.__lock"), *list(file.parents)[:5]]
