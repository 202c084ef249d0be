"""Sequences of useq say what a stream needs to know."""

from __future__ import annotations

import numpy as np
import pytest

import platestore as ps
from platestore.acquisition import stream
from platestore.acquisition.useq import plan_sequence

useq = pytest.importorskip("useq")


def plate_plan(**grid):
    return useq.WellPlatePlan(
        plate=useq.WellPlate.from_str("96-well"),
        a1_center_xy=(0, 0),
        selected_wells=([0, 1], [0, 2]),
        **grid,
    )


GRID = {"rows": 1, "columns": 2, "fov_width": 1, "fov_height": 1}
FIELDS = {"well_points_plan": useq.GridRowsColumns(rows=1, columns=2, fov_width=100, fov_height=100)}


def test_a_plate_with_fields_times_channels_and_planes():
    sequence = useq.MDASequence(
        stage_positions=plate_plan(**FIELDS),
        channels=["DAPI", "GFP"],
        z_plan={"range": 4, "step": 2},
        time_plan={"interval": 5, "loops": 3},
    )
    plan = plan_sequence(sequence, frame_shape=(48, 64), pixel_size_um=0.65)
    assert plan.positions == [("A", "1", "0"), ("A", "1", "1"), ("B", "3", "0"), ("B", "3", "1")]
    assert plan.shape == (3, 2, 3, 48, 64)
    assert plan.channel_names == ["DAPI", "GFP"]
    assert plan.scale == (5.0, 1.0, 2.0, 0.65, 0.65)
    assert plan.order == "tpcz"
    places = [plan.place(event) for event in sequence]
    assert len({tuple(p.values()) for p in places}) == 4 * 3 * 2 * 3
    assert places[-1] == {"position": ("B", "3", "1"), "t": 2, "c": 1, "z": 2}


@pytest.mark.quick(10)
@pytest.mark.parametrize(
    ("arguments", "positions", "order"),
    [
        ({}, [("A", "1", "0")], "tpcz"),
        ({"stage_positions": [(0, 0), (5, 5)]}, [("A", "1", "0"), ("A", "2", "0")], "tpcz"),
        (
            {
                "stage_positions": [(0, 0)],
                "grid_plan": GRID,
            },
            [("A", "1", "0"), ("A", "1", "1")],
            "tpcz",
        ),
        (
            {
                "stage_positions": [(0, 0), (9, 9)],
                "grid_plan": GRID,
                "axis_order": "gptcz",
            },
            [("A", "1", "0"), ("A", "1", "1"), ("A", "2", "0"), ("A", "2", "1")],
            None,
        ),
        ({"channels": [{"config": "a", "acquire_every": 2}]}, [("A", "1", "0")], None),
    ],
)
def test_axes_that_are_not_used_have_one_place(arguments, positions, order):
    sequence = useq.MDASequence(**{"channels": ["a"], "time_plan": {"interval": 1, "loops": 2}, **arguments})
    plan = plan_sequence(sequence, frame_shape=(8, 8))
    assert plan.positions == positions
    assert plan.shape == (2, 1, 1, 8, 8)
    assert plan.order == order
    assert all(plan.place(event)["position"] in positions for event in sequence)


@pytest.mark.parametrize("by_place", [False, True])
def test_a_sequence_is_acquired(tmp_path, by_place):
    sequence = useq.MDASequence(
        stage_positions=plate_plan(**FIELDS), channels=["DAPI", "GFP"], time_plan={"interval": 1, "loops": 2}
    )
    plan = plan_sequence(sequence, frame_shape=(16, 16))
    with ps.open_ome_zarr(
        tmp_path / "p.zarr", layout="hcs", mode="w-", channel_names=plan.channel_names, version="0.5"
    ) as plate:
        with stream(
            plate,
            positions=plan.positions,
            shape=plan.shape,
            dtype="uint8",
            scale=plan.scale,
            order=plan.order,
        ) as run:
            for number, event in enumerate(sequence):
                run.append(np.full((16, 16), number), **(plan.place(event) if by_place else {}))
        numbers = {
            (tuple(plan.place(e)["position"]), e.index["t"], e.index["c"]): n for n, e in enumerate(sequence)
        }
        for (position, t, c), number in numbers.items():
            assert (plate["/".join(position)]["0"][t, c] == number).all()


def test_what_is_no_sequence_is_refused():
    with pytest.raises(ps.ArgumentError, match="no sequence"):
        plan_sequence([1, 2], frame_shape=(8, 8))
