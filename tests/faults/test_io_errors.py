"""One operation of the system fails: no space left, or an input/output error.

The error surfaces as an ``OSError`` or as one of platestore's; the store is as before or as after; and the
same call made again, on the same handles, gets to the end.
"""

from __future__ import annotations

import errno

import pytest
from fault_cases import CREATIONS, IN_PLACE, REPLACEMENTS, Case
from fault_scenes import DirectoryScene, MemoryScene, Scene

CASES = [*CREATIONS, *REPLACEMENTS, *IN_PLACE]
#: In a directory, the engine writes pixels, past the ``os`` that is watched here; real kills test that.
IN_DIRECTORIES = [case for case in CASES if case.name != "update_channel"]
#: What a full disk refuses; everything else fails with an input/output error.
_NEEDS_SPACE = {"create", "write", "mkdir", "set"}


def _named(case: Case) -> str:
    return case.name.replace(" ", "-")


def _fail_everywhere(scene: Scene) -> None:
    length = scene.rehearse()
    for k in range(length):
        scene.fail(k, errno.ENOSPC if scene.log[k][0] in _NEEDS_SPACE else errno.EIO)
    assert scene.states == length > 0
    if scene.found:
        pytest.fail(scene.report(), pytrace=False)


@pytest.mark.parametrize("case", IN_DIRECTORIES, ids=_named)
@pytest.mark.parametrize("version", ["0.5", pytest.param("0.4", marks=pytest.mark.slow)])
def test_an_error_of_any_operation_surfaces_and_can_be_repeated(case, version):
    with DirectoryScene(case, version) as scene:
        _fail_everywhere(scene)


@pytest.mark.parametrize("case", CASES, ids=_named)
@pytest.mark.parametrize("version", ["0.5", pytest.param("0.4", marks=pytest.mark.slow)])
def test_an_error_of_any_change_of_a_zarr_store_surfaces_and_can_be_repeated(case, version):
    with MemoryScene(case, version) as scene:
        _fail_everywhere(scene)
