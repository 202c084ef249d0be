"""Documents that were lost, cut off, or say something else than what is there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from check_cases import (
    ARRAY,
    FIELDS,
    GROUP,
    WELLS,
    codes,
    copy_of,
    edit,
    lose,
    make_plate,
    ome,
    pixels,
    repaired,
    tree,
)
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import examples

VERSIONS = ("0.4", "0.5")
HOW = ("deleted", "empty", "cut off", "zeros")


@pytest.fixture(scope="module")
def plates(tmp_path_factory):
    """One plate of each version, which no test changes."""
    return {v: make_plate(tmp_path_factory.mktemp("plates") / f"p{v}.zarr", v) for v in VERSIONS}


@pytest.fixture(params=VERSIONS)
def damaged(request, plates, tmp_path):
    """A plate to be damaged, with its version."""
    return copy_of(plates[request.param], tmp_path / "p.zarr"), request.param


def require_all(path: Path, *, names: bool = True) -> None:
    """Everything of the plate is as it was."""
    plate = ps.open_ome_zarr(path)
    found = dict(plate.positions())
    assert set(found) == {f"{w}/{f}" for w in WELLS for f in FIELDS}
    for name, position in found.items():
        well, _, field = name.rpartition("/")
        assert np.array_equal(position["0"][...], pixels(well, field))
        assert [d.path for d in position.metadata.multiscales[0].datasets] == ["0", "1", "2"]
        assert [a.name for a in position.axes] == ["t", "c", "z", "y", "x"]
        if names:
            assert position.channel_names == ["DAPI", "GFP"]
            assert position.scale[-1] == 0.25
    for entry in plate.metadata.wells:
        row, column = entry.path.split("/")
        assert plate.metadata.rows[entry.row_index].name == row
        assert plate.metadata.columns[entry.column_index].name == column
    assert plate["A/1/0"].label_names == ["cells"]


def test_a_plate_as_it_was_written_is_whole(plates):
    for version, path in plates.items():
        for deep in (False, True):
            report = ps.check(path, deep=deep)
            assert report.whole, (version, report.findings)
            assert not report.findings
            assert report.arrays == 3 * len(WELLS) * len(FIELDS) + 3
            assert report.nbytes_decoded > 0 or not deep


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("place", ["", "A", "A/1", "B/3/1", "A/1/0/labels", "A/1/0/labels/cells"])
def test_a_lost_document_of_a_group_is_written_again(damaged, place, how):
    path, version = damaged
    names = [GROUP[version]] if how != "deleted" or version == "0.5" else [".zattrs", ".zgroup"]
    if place == "A" and version == "0.4":
        names = [".zgroup"]  # a row has no attributes
    for name in names:
        lose(path / place / name, how)
    report = ps.check(path)
    assert not report.whole
    assert "document-lost" in codes(report)
    assert any(Path(f.file).is_relative_to(path / place) for f in report.findings)
    repaired(path)
    require_all(path)


@pytest.mark.parametrize("how", HOW)
def test_a_lost_document_of_an_array_is_that_of_the_other_fields(damaged, how):
    path, version = damaged
    lose(path / "A/2/1/0" / ARRAY[version], how)
    assert codes(ps.check(path)) == {"array-document-lost"}
    report = repaired(path)
    assert any("as that of" in action for action in report.actions)
    require_all(path)


def test_a_listed_array_without_a_like_is_told_and_left(damaged):
    """Its pixels would be out of sight otherwise, and a level would pass for the image."""
    path, version = damaged
    for well in WELLS:
        for field in FIELDS:
            lose(path / well / field / "0" / ARRAY[version], "empty")
    before = tree(path)
    report = ps.check(path, repair=True)
    assert codes(report) == {"array-document-lost"}
    assert len(report.failed) == len(WELLS) * len(FIELDS)
    assert "by hand" in report.failed[0]
    assert tree(path) == before


def test_a_document_of_another_layout_is_not_taken_for_an_array(damaged):
    """The other field of the well has larger chunks: its document would read garbage."""
    path, version = damaged
    other = ps.open_ome_zarr(path / "A/2/0", mode="r+", overwriting_creation=True)
    other.create_image("0", pixels("A/2", "0"), chunks=(1, 1, 1, 32, 48))
    other.compute_pyramid(3)
    lose(path / "A/2/1/0" / ARRAY[version], "cut off")
    repaired(path)
    assert np.array_equal(ps.open_ome_zarr(path)["A/2/1"]["0"][...], pixels("A/2", "1"))


def test_plate_and_wells_are_rebuilt_from_directories_alone(damaged):
    path, _version = damaged
    for place in ("", "A", "B", *WELLS):
        for name in ("zarr.json", ".zgroup", ".zattrs"):
            (path / place / name).unlink(missing_ok=True)
    repaired(path)
    require_all(path)
    plate = ps.open_ome_zarr(path, mode="r+")
    assert plate.channel_names == ["DAPI", "GFP"]
    plate.create_position("B", "4", "0")
    assert ps.check(path).whole


def test_a_plate_of_lists_that_parallel_jobs_overwrote_lists_all_again(damaged):
    path, version = damaged

    def only_last(attributes):
        attributes["plate"]["wells"] = attributes["plate"]["wells"][-1:]
        attributes["plate"]["rows"] = attributes["plate"]["rows"][-1:]
        attributes["plate"]["wells"][0]["rowIndex"] = 0

    ome(path, version, only_last)
    ome(path / "A/1", version, lambda a: a["well"].update(images=a["well"]["images"][1:]))
    assert codes(ps.check(path)) == {"member-unlisted", "plate-rows"}
    repaired(path)
    require_all(path)


def test_what_is_listed_and_gone_is_taken_out(damaged):
    path, _version = damaged
    shutil.rmtree(path / "A/2")
    shutil.rmtree(path / "B/3/1")
    shutil.rmtree(path / "B/3/0/1")
    shutil.rmtree(path / "A/1/0/labels/cells")
    assert codes(ps.check(path)) == {"member-missing"}
    repaired(path)
    plate = ps.open_ome_zarr(path)
    assert [name for name, _ in plate.positions()] == ["A/1/0", "A/1/1", "B/3/0"]
    assert plate["B/3/0"].metadata.paths() == ["0", "2"]
    assert plate["A/1/0"].label_names == []


def test_wrong_indices_duplicates_and_acquisitions_are_corrected(damaged):
    path, version = damaged

    def spoil(attributes):
        plate = attributes["plate"]
        plate["wells"][0]["rowIndex"], plate["wells"][1]["columnIndex"] = 7, 0
        plate["wells"].append(dict(plate["wells"][2]))
        plate["acquisitions"] = [{"id": 0, "name": "first", "maximumfieldcount": 0, "note": "kept"}]

    ome(path, version, spoil)
    ome(path / "B/3", version, lambda a: a["well"]["images"][1].update(acquisition=4))
    found = codes(ps.check(path))
    assert {"well-index", "well-duplicate", "plate-acquisitions"} <= found
    repaired(path)
    require_all(path)
    acquisitions = ps.open_ome_zarr(path).metadata.acquisitions
    assert [(a.id, a.maximumfieldcount) for a in acquisitions] == [(0, 2), (4, 1)]
    assert acquisitions[0].to_json()["note"] == "kept"


def test_channel_names_are_made_to_fit_the_array(damaged):
    path, version = damaged
    ome(path / "A/1/0", version, lambda a: a["omero"]["channels"].pop())
    ome(
        path / "A/1/1",
        version,
        lambda a: a["omero"]["channels"].append({**a["omero"]["channels"][0], "label": "x"}),
    )
    assert codes(ps.check(path)) == {"channel-count"}
    repaired(path)
    plate = ps.open_ome_zarr(path)
    assert plate["A/1/0"].channel_names == ["DAPI", "1"]
    assert plate["A/1/1"].channel_names == ["DAPI", "GFP"]


def test_an_unlisted_array_is_listed_as_the_level_or_image_that_it_is(damaged):
    path, version = damaged
    ome(path / "A/1/1", version, lambda a: a["multiscales"][0]["datasets"].pop())
    other = ps.open_ome_zarr(path / "A/2/0", mode="r+")
    other.create_image("raw", np.ones((1, 2, 1, 8, 8), "float32"))
    ome(path / "A/2/0", version, lambda a: a["multiscales"].pop())
    assert codes(ps.check(path)) == {"member-unlisted"}
    before = ps.open_ome_zarr(path)["A/1/0"].get_effective_scale("2")
    repaired(path)
    plate = ps.open_ome_zarr(path)
    assert plate["A/1/1"].metadata.multiscales[0].datasets[-1].path == "2"
    assert plate["A/1/1"].get_effective_scale("2") == before
    assert [m.name for m in plate["A/2/0"].metadata.multiscales][1:] == ["raw"]
    assert (plate["A/2/0"]["raw"][...] == 1).all()


def test_what_others_wrote_survives_a_repair(damaged):
    path, version = damaged

    def note(attributes):
        attributes["plate"]["wells"][1].update({"@concentration": 3})
        attributes["plate"]["vendor"] = {"a": [1]}
        attributes["plate"]["wells"][0]["rowIndex"] = 5

    ome(path, version, note)
    edit(
        path / GROUP[version],
        lambda c: (c if version == "0.4" else c["attributes"]).update(mine=[1, {"b": None}]),
    )
    repaired(path)
    attributes = ps.open_ome_zarr(path).zattrs
    plate = (attributes if version == "0.4" else attributes["ome"])["plate"]
    assert plate["vendor"] == {"a": [1]}
    assert plate["wells"][1]["@concentration"] == 3
    assert attributes["mine"] == [1, {"b": None}]


def test_hostile_paths_are_taken_out_and_nothing_outside_is_touched(damaged, tmp_path):
    path, version = damaged
    canary = tmp_path / "outside"
    canary.mkdir()
    (canary / GROUP[version]).write_text("{}")

    def lead_out(attributes):
        entry = attributes["plate"]["wells"][0]
        attributes["plate"]["wells"] += [
            {**entry, "path": p} for p in ("../outside", "/etc", "A/../..", "A", "")
        ]

    ome(path, version, lead_out)
    ome(path / "A/1", version, lambda a: a["well"]["images"].append({"path": "../../../outside"}))
    ome(
        path / "A/1/1",
        version,
        lambda a: a["multiscales"][0]["datasets"].append({"path": "../../../../outside"}),
    )
    assert "member-missing" in codes(ps.check(path))
    repaired(path)
    require_all(path)
    assert [p.name for p in canary.iterdir()] == [GROUP[version]]


def test_a_single_position_is_rebuilt_from_its_arrays(tmp_path):
    path = tmp_path / "one.zarr"
    with ps.open_ome_zarr(path, layout="fov", mode="w-", channel_names=["a"], version="0.5") as position:
        position.create_image("0", np.arange(1, 1 + 2 * 64 * 64, dtype="uint16").reshape(1, 1, 2, 64, 64))
        position.compute_pyramid(3)
    before = ps.open_ome_zarr(path)["0"][...]
    (path / "zarr.json").unlink()
    repaired(path)
    position = ps.open_ome_zarr(path)
    assert [d.path for d in position.metadata.multiscales[0].datasets] == ["0", "1", "2"]
    assert [a.type for a in position.axes] == ["time", "channel", "space", "space", "space"]
    assert np.array_equal(position["0"][...], before)


def test_stale_consolidated_metadata_is_dropped(damaged):
    import zarr

    path, version = damaged
    with pytest.warns() if version == "0.5" else _nothing():
        zarr.consolidate_metadata(str(path))
    assert ps.check(path).whole
    shutil.rmtree(path / "B/3")
    ome(path, version, lambda a: a["plate"]["wells"].pop())
    assert "consolidated-stale" in codes(ps.check(path))
    repaired(path)
    assert not (path / ".zmetadata").exists()
    assert "consolidated_metadata" not in json.loads(
        (path / ("zarr.json" if version == "0.5" else ".zgroup")).read_text()
    )


def _nothing():
    import contextlib

    return contextlib.nullcontext()


DAMAGE = st.lists(
    st.tuples(
        st.sampled_from(
            ["", "A", "A/1", "A/1/0", "A/2/1", "B", "B/3", "B/3/0", "A/1/0/labels", "A/1/0/labels/cells"]
        ),
        st.sampled_from(HOW),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda pair: pair[0],
)


@settings(
    max_examples=examples(12), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(damage=DAMAGE, version=st.sampled_from(VERSIONS))
@example(damage=[("", "deleted"), ("A/1", "deleted")], version="0.4")
@example(damage=[("A/1", "deleted"), ("A/1/0", "deleted")], version="0.4")
@example(damage=[("A/1/0/labels", "deleted"), ("A/1/0/labels/cells", "deleted")], version="0.4")
def test_any_set_of_lost_documents_is_rebuilt(plates, tmp_path_factory, damage, version):
    path = copy_of(plates[version], tmp_path_factory.mktemp("damaged") / "p.zarr")
    for place, how in damage:
        name = ".zgroup" if version == "0.4" and place in ("A", "B") else GROUP[version]
        lose(path / place / name, how)
    repaired(path)
    require_all(path)
    shutil.rmtree(path.parent)
