"""What an interrupted call leaves (nodes that nothing lists, half-made ones too) is in nobody's way."""

from __future__ import annotations

import pytest
from fault_cases import IN_PLACE, Case, Door
from fault_scenes import DirectoryScene

import platestore as ps

_LEAVE_MOST = (
    "create_well in a new row",
    "create_positions with arrays in both",
    "create_image",
    "create_zeros",
    "overwrite position",
    "overwrite image",
    "del position",
)
CASES = [case for case in IN_PLACE if case.name in _LEAVE_MOST]


def _named(case: Case) -> str:
    return case.name.replace(" ", "-")


@pytest.mark.parametrize("case", CASES, ids=_named)
def test_directories_with_leftovers_can_be_listed(case, version, capsys):
    """The members that list the directory do so whatever an interrupted call left there."""
    with DirectoryScene(case, version) as scene:
        for k in range(scene.rehearse()):
            target, _, _ = scene.play(scene.fresh(), k, "before")
            plate = Door(target)(mode="r")
            try:
                plate.print_tree()
                for node in (plate, plate["B/2"], plate["B/2/0"], plate["A"]):
                    assert not [
                        name for name in (*node.group_keys(), *node.array_keys()) if name.startswith(".")
                    ]
            except ps.PlatestoreError as error:
                pytest.fail(f"dead before {scene.log[k]}: {type(error).__name__}: {error}", pytrace=False)
            scene.discard(target)
    assert "B" in capsys.readouterr().out


@pytest.mark.parametrize("case", CASES, ids=_named)
def test_a_store_with_leftovers_can_be_replaced(case, version):
    """Nothing an interrupted call leaves is taken for a file of somebody else's."""
    with DirectoryScene(case, version) as scene:
        for k in range(scene.rehearse()):
            target, _, _ = scene.play(scene.fresh(), k, "before")
            plate = ps.open_ome_zarr(target, layout="hcs", mode="w", channel_names=["DAPI"], version=version)
            assert plate.channel_names == ["DAPI"]
            assert len(plate) == 0
            left = [
                path.name
                for path in target.rglob("*")
                if path.name not in (".zgroup", ".zattrs", "zarr.json")
            ]
            assert not left
            scene.discard(target)


def test_the_tests_cover_the_calls_that_leave_most():
    assert len(CASES) == len(_LEAVE_MOST)
