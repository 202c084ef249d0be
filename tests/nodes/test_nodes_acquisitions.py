"""Acquisitions: wells refer to those the plate declares, and ``maximumfieldcount`` is never too small."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import examples
from nodes.store_helpers import check_plate, ome


@pytest.fixture
def plate(tmp_path, version):
    return ps.open_ome_zarr(
        tmp_path / "plate.zarr", layout="hcs", mode="w-", channel_names=["a"], version=version
    )


@pytest.fixture
def meta(plate, tmp_path):
    return lambda: check_plate(tmp_path / "plate.zarr")


def counts(meta):
    return {item["id"]: item.get("maximumfieldcount") for item in meta["acquisitions"]}


def test_the_one_acquisition_zero_is_not_declared(plate, meta, tmp_path):
    plate.create_positions([("A", "1", "0"), ("A", "1", "1")])
    plate["A/1"].create_position("2")
    assert "acquisitions" not in meta()
    assert {image.get("acquisition", 0) for image in ome(tmp_path / "plate.zarr/A/1")["well"]["images"]} == {
        0
    }


def test_another_acquisition_declares_all_that_are_used(plate, meta):
    plate.create_positions([("A", "1", "0"), ("A", "1", "1"), ("B", "1", "0")])
    plate.create_position("A", "1", "2", acq_index=2)
    assert counts(meta()) == {0: 2, 2: 1}
    assert all(item["name"] for item in meta()["acquisitions"])


def test_the_field_count_is_the_most_of_any_well(plate, meta):
    plate.create_positions(
        [("A", "1", str(i), None, None, 1) for i in range(3)] + [("B", "1", "0", None, None, 1)]
    )
    assert counts(meta()) == {1: 3}
    plate.create_position("B", "1", "1", acq_index=1)
    assert counts(meta()) == {1: 3}
    plate["A/1"].create_position("3", acquisition=1)
    assert counts(meta()) == {1: 4}


def test_the_field_count_is_raised_in_the_same_commit(plate, tmp_path, monkeypatch):
    from platestore.storage.local import LocalStorage

    plate.create_position("A", "1", "0", acq_index=1)
    root = {".zattrs", "zarr.json"}
    writes = []
    original = LocalStorage.write

    def write(self, key, data):
        original(self, key, data)
        if key in root:
            writes.append(key)
            check_plate(tmp_path / "plate.zarr")

    monkeypatch.setattr(LocalStorage, "write", write)
    plate.create_positions([("B", "2", str(i), None, None, 5) for i in range(3)])
    assert len(writes) == 1, "one commit of the plate"
    assert counts(check_plate(tmp_path / "plate.zarr")) == {1: 1, 5: 3}


def test_given_acquisitions_are_kept_and_filled_in(tmp_path, version):
    path = tmp_path / "plate.zarr"
    plate = ps.open_ome_zarr(
        path,
        layout="hcs",
        mode="w-",
        channel_names=["a"],
        version=version,
        acquisitions=[ps.AcquisitionMeta(id=4, name="day 4", maximumfieldcount=9, starttime=7)],
    )
    plate.create_position("A", "1", "0", acq_index=4)
    assert check_plate(path)["acquisitions"] == [
        {"id": 4, "name": "day 4", "maximumfieldcount": 9, "starttime": 7}
    ]
    plate.create_position("A", "1", "1")
    assert counts(check_plate(path)) == {4: 9, 0: 1}


def test_an_acquisition_of_a_well_reaches_the_plate(plate, meta):
    plate.create_position("A", "1", "0")
    plate["A/1"].create_position("1", acquisition=3)
    assert counts(meta()) == {0: 1, 3: 1}


@pytest.mark.parametrize("acquisition", [-1, "1", 1.0, True])
def test_bad_acquisitions_are_refused(plate, acquisition):
    with pytest.raises(ps.ArgumentError):
        plate.create_position("A", "1", "0", acq_index=acquisition)
    well = plate.create_well("B", "1")
    with pytest.raises(ps.ArgumentError):
        well.create_position("0", acquisition=acquisition)


@settings(deadline=None, max_examples=examples(25))
@given(
    batches=st.lists(
        st.lists(
            st.tuples(
                st.sampled_from("AB"), st.sampled_from("12"), st.sampled_from("abcd"), st.integers(0, 2)
            ),
            max_size=5,
            unique_by=lambda s: s[:3],
        ),
        max_size=4,
    ),
    version=st.sampled_from(["0.4", "0.5"]),
)
def test_whatever_is_created_the_plate_declares_it(batches, version):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "plate.zarr")
        plate = ps.open_ome_zarr(path, layout="hcs", mode="w-", channel_names=["a"], version=version)
        for batch in batches:
            try:
                plate.create_positions([(r, c, name, None, None, a) for r, c, name, a in batch])
            except ps.NodeExistsError:
                continue
            check_plate(path)
