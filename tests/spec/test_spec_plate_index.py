"""Rows and columns: every name has its index, every index one name, and the physical plate has no holes."""

from __future__ import annotations

import re
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import examples
from platestore.spec.plate import (
    PLATE_FORMATS,
    AxisIndex,
    PlateAxisMeta,
    check_acquisitions,
    check_format,
    grid,
    raise_field_count,
    standard_column,
    standard_row,
)

quick = settings(deadline=None, max_examples=examples(80))


class Listing:
    """The rows (or columns) of a plate while wells are added, and which indices those use."""

    def __init__(self, kind="row", *names, fixed=False):
        self.items = [PlateAxisMeta(name=name) for name in names]
        self.index = AxisIndex(kind, self.items, fixed=fixed)
        self.used: dict[str, int] = {}

    def add(self, name, wanted=None):
        place = self.index.resolve(name, wanted, lambda: set(self.used.values()))
        self.used[name] = place
        return place

    @property
    def names(self):
        return [item.name for item in self.items]


# --- standard names -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("index", "name"),
    [
        (0, "A"),
        (1, "B"),
        (25, "Z"),
        (26, "AA"),
        (27, "AB"),
        (31, "AF"),
        (51, "AZ"),
        (52, "BA"),
        (701, "ZZ"),
        (702, "AAA"),
        (703, "AAB"),
    ],
)
def test_standard_rows_count_like_spreadsheet_columns(index, name):
    assert standard_row(index) == name


def test_standard_names_are_unique_and_alphanumeric():
    rows, columns = [standard_row(i) for i in range(2000)], [standard_column(i) for i in range(2000)]
    assert len(set(rows)) == len(set(columns)) == 2000
    assert all(re.fullmatch("[A-Z]+", name) for name in rows)
    assert columns[:3] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("wells", "last_row", "last_column"),
    [
        (6, "B", "3"),
        (12, "C", "4"),
        (24, "D", "6"),
        (48, "F", "8"),
        (96, "H", "12"),
        (384, "P", "24"),
        (1536, "AF", "48"),
    ],
)
def test_each_plate_format_is_a_whole_grid(wells, last_row, last_column):
    rows, columns = grid(wells)
    assert len(rows) * len(columns) == wells
    assert (rows[0].name, rows[-1].name) == ("A", last_row)
    assert (columns[0].name, columns[-1].name) == ("1", last_column)
    assert len({r.name for r in rows}) == len(rows)


def test_the_seven_formats_are_known():
    assert sorted(PLATE_FORMATS) == [6, 12, 24, 48, 96, 384, 1536]
    assert [check_format(wells) for wells in sorted(PLATE_FORMATS)] == sorted(PLATE_FORMATS)


@pytest.mark.parametrize("wells", [0, 1, 5, 95, 97, -96, 96.0, 96.5, "ninety", None, [96], True])
def test_other_formats_are_refused_with_those_that_exist(wells):
    with pytest.raises(ValueError, match="6, 12, 24, 48, 96, 384, 1536"):
        check_format(wells)


# --- indices --------------------------------------------------------------------------------------


def test_names_without_an_index_are_listed_in_order_of_creation():
    rows = Listing()
    assert [rows.add(name) for name in ("C", "A", "B")] == [0, 1, 2]
    assert rows.names == ["C", "A", "B"]


def test_a_name_that_is_listed_keeps_its_index():
    rows = Listing()
    rows.add("C")
    rows.add("A")
    assert rows.add("C") == 0
    assert rows.add("A", 1) == 1
    assert rows.names == ["C", "A"]


def test_an_index_past_the_end_fills_the_gap_with_standard_names():
    rows, columns = Listing(), Listing("column")
    assert rows.add("D", 3) == 3
    assert rows.names == ["A", "B", "C", "D"]
    assert columns.add("12", 11) == 11
    assert columns.names == [str(i) for i in range(1, 13)]


def test_fillers_are_names_nobody_uses():
    rows = Listing()
    rows.add("B")
    assert rows.add("X", 4) == 4
    assert rows.names[0] == "B"
    assert rows.names[4] == "X"
    assert len(set(rows.names)) == 5
    assert all(re.fullmatch("[A-Z]+", name) for name in rows.names)


def test_the_name_that_is_coming_is_no_filler_of_its_own_gap():
    rows = Listing()
    assert rows.add("A", 2) == 2
    assert rows.names[2] == "A"
    assert len(set(rows.names)) == 3


def test_a_filler_is_used_when_its_name_is_asked_for():
    rows = Listing()
    rows.add("D", 3)
    assert rows.add("B") == 1
    assert rows.add("C", 2) == 2
    assert rows.names == ["A", "B", "C", "D"]


def test_a_filler_gives_way_to_a_name_that_wants_its_index():
    rows = Listing()
    rows.add("D", 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rows.add("special", 1) == 1
    assert rows.names == ["A", "special", "C", "D"]


def test_a_far_index_is_filled_beyond_two_letters():
    rows = Listing()
    assert rows.add("last", 1000) == 1000
    assert len(set(rows.names)) == 1001


def test_an_index_that_another_name_holds_becomes_the_next_free_one_with_a_warning():
    rows = Listing()
    rows.add("A", 0)
    with pytest.warns(UserWarning, match=r"index 0 is held by 'A'.*'B' has index 1"):
        assert rows.add("B", 0) == 1
    assert rows.names == ["A", "B"]


def test_a_listed_name_with_another_index_keeps_its_own_with_a_warning():
    rows = Listing()
    rows.add("A")
    rows.add("B")
    with pytest.warns(UserWarning, match=r"'B' has index 1"):
        assert rows.add("B", 0) == 1
    with pytest.warns(UserWarning, match=r"'B' has index 1"):
        assert rows.add("B", 7) == 1
    assert rows.names == ["A", "B"]


@pytest.mark.parametrize("wanted", [-1, 1.0, "1", True, 2**15, 2**70])
def test_what_is_no_index_is_a_value_error_and_lists_nothing(wanted):
    rows = Listing()
    with pytest.raises(ps.ArgumentError, match="index"):
        rows.add("A", wanted)
    assert rows.names == []


def test_a_declared_plate_has_its_names_and_indices():
    rows = Listing("row", *(r.name for r in grid(96)[0]), fixed=True)
    assert rows.add("C") == 2
    assert rows.add("H", 7) == 7
    with pytest.warns(UserWarning, match=r"'B' has index 1"):
        assert rows.add("B", 5) == 1
    with pytest.raises(ps.ArgumentError, match="A to H"):
        rows.add("I")
    assert rows.names == list("ABCDEFGH")


names = st.sampled_from(["A", "B", "C", "D", "Z", "AA", "x", "7"])
requests = st.lists(st.tuples(names, st.none() | st.integers(0, 9)), max_size=12)


@quick
@given(requests)
def test_whatever_is_asked_for_indices_and_names_stay_a_bijection(asked):
    rows = Listing()
    for name, wanted in asked:
        before = dict(rows.used)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            given_index = rows.add(name, wanted)
        assert rows.names[given_index] == name
        assert len(set(rows.names)) == len(rows.names)
        for other, index in before.items():
            assert rows.names[index] == other, "a well that was listed changed its row"
        assert len(set(rows.used.values())) == len(rows.used)
        if wanted is not None:
            assert bool(caught) == (given_index != wanted), "a warning if and only if the wish was not met"


@quick
@given(requests)
def test_the_same_plate_comes_of_it_when_every_call_starts_from_the_document(asked):
    at_once, one_by_one = Listing(), Listing()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, wanted in asked:
            at_once.add(name, wanted)
            fresh = Listing("row", *one_by_one.names)
            fresh.used = one_by_one.used
            fresh.add(name, wanted)
            one_by_one = fresh
    assert one_by_one.names == at_once.names
    assert one_by_one.used == at_once.used


# --- acquisitions ---------------------------------------------------------------------------------


def plate(**kwargs):
    return ps.PlateMeta(rows=[], columns=[], wells=[], **kwargs)


def test_field_counts_are_raised_and_never_lowered():
    meta = plate()
    raise_field_count(meta, 3, 2)
    raise_field_count(meta, 3, 5)
    raise_field_count(meta, 3, 1)
    raise_field_count(meta, 1, 1)
    assert [(a.id, a.maximumfieldcount) for a in meta.acquisitions] == [(3, 5), (1, 1)]
    assert all(a.name for a in meta.acquisitions)


def test_a_declared_acquisition_keeps_what_it_says():
    meta = plate(acquisitions=[ps.AcquisitionMeta(id=1, name="mine", starttime=5, maximumfieldcount=9)])
    raise_field_count(meta, 1, 4)
    assert meta.acquisitions[0].to_json() == {"id": 1, "name": "mine", "starttime": 5, "maximumfieldcount": 9}


def test_acquisitions_of_users_are_checked_and_named():
    out = check_acquisitions([{"id": 0, "name": "first"}, ps.AcquisitionMeta(id=2)])
    assert [a.id for a in out] == [0, 2]
    assert out[0].name == "first"
    assert out[1].name


@pytest.mark.parametrize("bad", [[{"id": -1}], [{}], [{"id": "x"}], [{"id": 1}, {"id": 1}], 5, [5], None])
def test_wrong_acquisitions_are_a_value_error(bad):
    with pytest.raises(ps.ArgumentError, match="acquisition"):
        check_acquisitions(bad)


def test_acquisition_fields_are_written_with_the_specifications_names():
    meta = ps.AcquisitionMeta(id=0, maximum_fieldcount=3, start_time=1, end_time=2)
    assert meta.to_json() == {"id": 0, "maximumfieldcount": 3, "starttime": 1, "endtime": 2}


# --- what a plate document breaks -----------------------------------------------------------------

GOOD = {
    "rows": [{"name": "A"}, {"name": "B"}],
    "columns": [{"name": "1"}, {"name": "2"}],
    "wells": [
        {"path": "A/1", "rowIndex": 0, "columnIndex": 0},
        {"path": "B/2", "rowIndex": 1, "columnIndex": 1},
    ],
}


def findings(**changes):
    return {f.code for f in ps.PlateMeta.model_validate({**GOOD, **changes}).findings()}


def test_a_right_plate_has_no_finding():
    assert findings() == set()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"wells": []}, "plate-empty"),
        ({"rows": [{"name": "A"}, {"name": "B"}, {"name": "B"}]}, "name-duplicate"),
        ({"columns": [{"name": "1"}, {"name": "2"}, {"name": "1"}]}, "name-duplicate"),
        ({"rows": [{"name": "A"}, {"name": "B"}, {"name": "C-"}]}, "name-characters"),
        ({"rows": [{"name": "A"}, {"name": "B"}, {"name": "C\n"}]}, "name-characters"),
        ({"rows": [{"name": "A"}, {"name": "B"}, {"name": "Ä"}]}, "name-characters"),
        ({"wells": [*GOOD["wells"], GOOD["wells"][0]]}, "well-duplicate"),
        ({"wells": [{"path": "A/1", "rowIndex": 1, "columnIndex": 0}]}, "well-index"),
        ({"wells": [{"path": "A/1", "rowIndex": 9, "columnIndex": 0}]}, "well-index"),
        ({"wells": [{"path": "A/1", "rowIndex": -2, "columnIndex": 0}]}, "well-index"),
        ({"wells": [{"path": "A/1/0", "rowIndex": 0, "columnIndex": 0}]}, "well-index"),
    ],
)
def test_each_flaw_of_a_plate_has_a_code(changes, code):
    assert code in findings(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"field_count": 0},
        {"field_count": -1},
        {"acquisitions": [{"id": 0, "maximumfieldcount": 0}]},
        {"acquisitions": [{"id": 0, "starttime": -1}]},
        {"acquisitions": [{"id": 0, "endtime": -1}]},
        {"acquisitions": [{"id": 0}, {"id": 0}]},
    ],
    ids=repr,
)
def test_numbers_that_the_specification_forbids_are_reported(changes):
    (place,) = changes
    found = list(ps.PlateMeta.model_validate({**GOOD, **changes}).findings())
    assert found, f"nothing said about {changes}"
    assert place in found[0].location
