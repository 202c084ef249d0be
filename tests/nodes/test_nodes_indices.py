"""Indices of rows and columns are right after any sequence of creations, renamings and removals."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import examples
from nodes.store_helpers import check_plate, placed_wells


@pytest.fixture
def plate(tmp_path, version):
    return ps.open_ome_zarr(
        tmp_path / "plate.zarr", layout="hcs", mode="w-", channel_names=["a"], version=version
    )


@pytest.fixture
def meta(plate, tmp_path):
    """Reads the plate's metadata, checked."""
    return lambda: check_plate(tmp_path / "plate.zarr")


def names(items):
    return [item["name"] for item in items]


def test_names_without_an_index_are_listed_in_order_of_creation(plate, meta):
    for row, column in (("C", "9"), ("A", "1"), ("C", "1"), ("B", "9")):
        plate.create_position(row, column, "0")
    assert names(meta()["rows"]) == ["C", "A", "B"]
    assert names(meta()["columns"]) == ["9", "1"]
    assert [(w["rowIndex"], w["columnIndex"]) for w in meta()["wells"]] == [(0, 0), (1, 1), (0, 1), (2, 0)]


def test_a_batch_and_single_calls_give_the_same_plate(tmp_path, version):
    specs = [("C", "9", "0"), ("A", "1", "0"), ("C", "9", "1"), ("B", "9", "0", 5, 2), ("A", "1", "1")]
    documents = []
    for way in ("batch", "single"):
        path = tmp_path / way
        plate = ps.open_ome_zarr(
            path, layout="hcs", mode="w-", channel_names=["a"], version=version, name="p"
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if way == "batch":
                plate.create_positions(specs)
            else:
                for spec in specs:
                    plate.create_position(*spec)
        documents.append(check_plate(path))
    assert documents[0] == documents[1]


def test_an_index_past_the_end_fills_the_gap_with_standard_names(plate, meta):
    plate.create_position("D", "5", "0", row_index=3, col_index=4)
    assert names(meta()["rows"]) == ["A", "B", "C", "D"]
    assert names(meta()["columns"]) == ["1", "2", "3", "4", "5"]
    assert meta()["wells"] == [{"path": "D/5", "rowIndex": 3, "columnIndex": 4}]


def test_the_gap_is_filled_with_names_that_are_not_used(plate, meta):
    plate.create_position("B", "2", "0")
    plate.create_position("X", "Y", "0", row_index=3, col_index=3)
    rows, columns = names(meta()["rows"]), names(meta()["columns"])
    assert rows[0] == "B"
    assert rows[3] == "X"
    assert columns[3] == "Y"
    assert len(set(rows)) == len(set(columns)) == 4


def test_a_name_that_filled_a_gap_keeps_its_index_when_it_is_used(plate, meta):
    plate.create_position("D", "5", "0", row_index=3, col_index=4)
    plate.create_position("B", "2", "0")
    plate.create_position("C", "3", "0", row_index=2, col_index=2)
    assert names(meta()["rows"]) == ["A", "B", "C", "D"]
    assert {w["path"]: (w["rowIndex"], w["columnIndex"]) for w in meta()["wells"]} == {
        "D/5": (3, 4),
        "B/2": (1, 1),
        "C/3": (2, 2),
    }


def test_an_index_that_another_name_holds_becomes_the_next_free_one_with_a_warning(plate, meta):
    plate.create_position("A", "1", "0")
    with pytest.warns(UserWarning, match="index 0"):
        plate.create_position("B", "2", "0", row_index=0, col_index=1)
    assert {w["path"]: (w["rowIndex"], w["columnIndex"]) for w in meta()["wells"]} == {
        "A/1": (0, 0),
        "B/2": (1, 1),
    }


def test_another_index_for_a_name_that_is_used_is_not_taken(plate, meta):
    plate.create_position("A", "1", "0", row_index=0, col_index=0)
    with pytest.warns(UserWarning, match="index"):
        plate.create_position("A", "2", "0", row_index=5, col_index=1)
    assert {w["path"]: (w["rowIndex"], w["columnIndex"]) for w in meta()["wells"]} == {
        "A/1": (0, 0),
        "A/2": (0, 1),
    }


def test_indices_of_a_new_position_in_a_known_well_change_nothing(plate, meta):
    plate.create_position("B", "2", "0", row_index=1, col_index=1)
    before = meta()
    plate.create_position("B", "2", "1", row_index=1, col_index=1)
    assert meta() == {**before, "field_count": 2}


def test_the_indices_of_a_well_survive_the_removal_of_others(plate, meta):
    plate.create_positions([("A", "1", "0"), ("B", "2", "0"), ("C", "3", "0")])
    del plate["A/1"]
    meta()
    plate.create_position("D", "4", "0")
    meta()
    assert [p for p, _ in plate.positions()] == ["B/2/0", "C/3/0", "D/4/0"]


def test_create_well_takes_indices_too(plate, meta):
    plate.create_well("C", "3", row_index=2, col_index=2)
    assert meta()["wells"] == [{"path": "C/3", "rowIndex": 2, "columnIndex": 2}]
    plate.create_position("C", "3", "0")
    assert len(meta()["wells"]) == 1


@pytest.mark.parametrize("index", [-1, "1", 1.5, True, 10**6])
def test_bad_indices_are_refused(plate, index):
    for arguments in ({"row_index": index}, {"col_index": index}):
        with pytest.raises(ps.ArgumentError):
            plate.create_position("A", "1", "0", **arguments)
        with pytest.raises(ps.ArgumentError):
            plate.create_well("A", "1", **arguments)
    assert len(plate) == 0


_names = st.sampled_from(["A", "B", "C", "Z", "AA", "x1", "1", "2", "10", "007"])
_index = st.none() | st.integers(0, 9)
_step = st.one_of(
    st.tuples(st.just("create"), _names, _names, _index, _index),
    st.tuples(st.just("create well"), _names, _names, _index, _index),
    st.tuples(st.just("rename"), st.integers(0, 9), _names, _names),
    st.tuples(st.just("delete"), st.integers(0, 9)),
)


@settings(deadline=None, max_examples=examples(40))
@given(
    steps=st.lists(_step, max_size=9),
    version=st.sampled_from(["0.4", "0.5"]),
    wells=st.sampled_from([None, 96]),
)
def test_every_index_is_right_after_any_sequence_of_changes(steps, version, wells):
    with tempfile.TemporaryDirectory() as directory, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        path = Path(directory, "plate.zarr")
        kwargs = {} if wells is None else {"plate_format": wells}
        plate = ps.open_ome_zarr(
            path, layout="hcs", mode="w-", channel_names=["a"], version=version, **kwargs
        )
        expected: list[str] = []
        for step in steps:
            try:
                if step[0] == "create":
                    plate.create_position(step[1], step[2], "0", step[3], step[4])
                    if f"{step[1]}/{step[2]}" not in expected:  # the well may be there, empty
                        expected.append(f"{step[1]}/{step[2]}")
                elif step[0] == "create well":
                    plate.create_well(*step[1:])
                    expected.append(f"{step[1]}/{step[2]}")
                elif expected and step[0] == "rename":
                    old = expected[step[1] % len(expected)]
                    plate.rename_well(old, f"{step[2]}/{step[3]}")
                    expected[expected.index(old)] = f"{step[2]}/{step[3]}"
                elif expected and step[0] == "delete":
                    old = expected[step[1] % len(expected)]
                    del plate[old]
                    expected.remove(old)
            except (ps.NodeExistsError, ps.ArgumentError):
                pass  # refused: the plate is as it was
            meta = check_plate(path)
            assert [w["path"] for w in meta["wells"]] == expected
            if wells is not None:
                assert (len(meta["rows"]), len(meta["columns"])) == (8, 12)
        assert [p for p, _ in ps.open_ome_zarr(path).wells()] == (placed_wells(path) if expected else [])
