"""Several stores become one plate, positions and wells join a plate that exists, series and parts of them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import platestore as ps
from conftest import make_plate
from copying.copy_helpers import arrays_by_path, check_store, chunk_bytes, how, levels_of, refuses, unpacked
from nodes.store_helpers import (
    attributes,
    axes,
    check_plate,
    edit_attributes,
    new_position,
    ome,
    pixels,
    snapshot,
)

OTHER = {"0.4": "0.5", "0.5": "0.4"}


def plate_of(
    path: Path,
    version: str,
    specs: list[Any],
    *,
    value: int = 1,
    channels: tuple[str, ...] = ("DAPI", "GFP"),
    names: str = "TCZYX",
    **options: Any,
) -> ps.Plate:
    """A plate whose images hold numbers that count up from ``value``."""
    plate = ps.open_ome_zarr(
        path,
        layout="hcs",
        mode="w-",
        channel_names=list(channels),
        axes=axes(names),
        version=version,
        **options,
    )
    shape = [{"c": len(channels), "y": 8, "x": 8}.get(n.lower(), 1) for n in names]
    for number, position in enumerate(plate.create_positions(specs)):
        position.create_image("0", np.full(shape, value + number, "uint16"))
    return plate


def values(path: Path) -> dict[str, int]:
    """The number that each image of a plate holds."""
    return {name: int(position.data.numpy().max()) for name, position in ps.open_ome_zarr(path).positions()}


def checked(path: Path) -> dict[str, Any]:
    """The metadata of a plate that passes all checks."""
    check_store(path, "0.5" if (path / "zarr.json").exists() else "0.4")
    return check_plate(path)


# --- several plates into one ----------------------------------------------------------------------


@pytest.mark.parametrize("versions", [("0.4", "0.4"), ("0.5", "0.5"), ("0.4", "0.5"), ("0.5", "0.4")])
def test_plates_are_merged(tmp_path, versions):
    plate_of(tmp_path / "a.zarr", versions[0], [("B", "2", "0"), ("A", "1", "0")], name="first")
    plate_of(tmp_path / "b.zarr", versions[1], [("A", "2", "0"), ("A", "1", "1")], value=10)
    report = ps.copy([tmp_path / "a.zarr", tmp_path / "b.zarr"], tmp_path / "all.zarr", verify=True)
    assert report.version == versions[0], "that of the first"
    assert how(report) == {"files"}
    assert report.positions == 4
    assert report.sources == [str(tmp_path / "a.zarr"), str(tmp_path / "b.zarr")]
    assert values(tmp_path / "all.zarr") == {"B/2/0": 1, "A/1/0": 2, "A/1/1": 11, "A/2/0": 10}
    found = checked(tmp_path / "all.zarr")
    assert found["name"] == "all"
    assert [row["name"] for row in found["rows"]] == ["B", "A"]
    assert [column["name"] for column in found["columns"]] == ["2", "1"]
    assert ps.open_ome_zarr(tmp_path / "all.zarr").channel_names == ["DAPI", "GFP"]


@pytest.mark.parametrize("suffix", [".zarr", ".ozx"])
def test_a_merge_takes_all_other_options(tmp_path, version, suffix):
    plate_of(tmp_path / "a.zarr", "0.4", [("A", "1", "0"), ("A", "1", "1")])
    plate_of(tmp_path / "b.zarr", "0.5", [("B", "1", "0")], value=10)
    sources = [tmp_path / "a.zarr", ps.open_ome_zarr(tmp_path / "b.zarr")]
    target = "0.5" if suffix == ".ozx" else version
    ps.copy(
        sources,
        tmp_path / f"all{suffix}",
        positions="*/*/0",
        channels="GFP",
        crop="0:4,2:8",
        version=target,
        pyramid=2,
    )
    assert values(tmp_path / f"all{suffix}") == {"A/1/0": 1, "B/1/0": 10}
    with unpacked(tmp_path / f"all{suffix}") as copied:
        checked(copied)
        assert levels_of(copied / "B/1/0")["1"].shape == (1, 1, 1, 2, 3)


def test_archives_wells_and_positions_are_merged_too(tmp_path, version):
    plate_of(tmp_path / "a.zarr", version, [("A", "1", "0"), ("A", "1", "1"), ("C", "1", "0")])
    plate_of(tmp_path / "b.zarr", OTHER[version], [("B", "1", "0"), ("B", "7", "0")], value=10)
    ps.copy(tmp_path / "b.zarr", tmp_path / "b.ozx")
    position = new_position(tmp_path / "p.zarr", version)
    position.create_image("0", np.full((1, 2, 1, 8, 8), 30, "uint16"))
    ps.copy(
        [
            tmp_path / "a.zarr/A/1",
            tmp_path / "b.ozx",
            ps.open_ome_zarr(tmp_path / "a.zarr")["C/1/0"],
            tmp_path / "p.zarr",
        ],
        tmp_path / "all.zarr",
        map=[(3, ".", "D/4/2")],
    )
    assert values(tmp_path / "all.zarr") == {
        "A/1/0": 1,
        "A/1/1": 2,
        "B/1/0": 10,
        "B/7/0": 11,
        "C/1/0": 3,
        "D/4/2": 30,
    }
    assert checked(tmp_path / "all.zarr")["name"] == "all"


def test_a_position_of_no_plate_needs_a_place(tmp_path, version):
    plate_of(tmp_path / "a.zarr", version, [("A", "1", "0")])
    new_position(tmp_path / "p.zarr", version).create_image("0", np.full((1, 2, 1, 8, 8), 30, "uint16"))
    with refuses(ps.ArgumentError, tmp_path, match="has no well.*from '.', to 'A/1/0'"):
        ps.copy([tmp_path / "a.zarr", tmp_path / "p.zarr"], tmp_path / "all.zarr")
    ps.copy([tmp_path / "a.zarr", tmp_path / "p.zarr"], tmp_path / "all.zarr", map={".": "B2"})
    assert values(tmp_path / "all.zarr") == {"A/1/0": 1, "B/2/0": 30}
    ps.copy(tmp_path / "p.zarr", tmp_path / "one.zarr", map={".": "B/2/5"})
    assert values(tmp_path / "one.zarr") == {"B/2/5": 30}
    checked(tmp_path / "one.zarr")


def test_a_position_of_a_plate_keeps_its_place_unless_the_map_names_another(tmp_path, version):
    plate = plate_of(tmp_path / "a.zarr", version, [("A", "1", "0"), ("B", "2", "1")])
    ps.copy([plate["A/1/0"], plate["B/2/1"]], tmp_path / "b.zarr")
    assert values(tmp_path / "b.zarr") == {"A/1/0": 1, "B/2/1": 2}
    ps.copy([plate["A/1/0"], plate["B/2/1"]], tmp_path / "c.zarr", map={"B/2/1": "A/1/3"})
    assert values(tmp_path / "c.zarr") == {"A/1/0": 1, "A/1/3": 2}
    checked(tmp_path / "c.zarr")


# --- clashes and differences ----------------------------------------------------------------------


def test_names_that_clash_are_refused_and_nothing_is_written(tmp_path, version):
    plate_of(tmp_path / "a.zarr", version, [("A", "1", "0"), ("A", "1", "1")])
    plate_of(tmp_path / "b.zarr", version, [("A", "1", "1"), ("A", "2", "0")], value=10)
    sources = [tmp_path / "a.zarr", tmp_path / "b.zarr"]
    with refuses(ps.NodeExistsError, tmp_path) as caught:
        ps.copy(sources, tmp_path / "all.zarr")
    message = str(caught.value)
    assert "1 positions clash" in message or "1 position clashes" in message
    assert f"{tmp_path}/a.zarr/A/1/1" in message
    assert f"{tmp_path}/b.zarr/A/1/1" in message
    assert "map" in message
    ps.copy(sources, tmp_path / "all.zarr", positions=["A/1/0", "A/2"])
    assert values(tmp_path / "all.zarr") == {"A/1/0": 1, "A/2/0": 11}


def test_a_map_settles_clashes_by_source(tmp_path, version):
    plate_of(tmp_path / "a.zarr", version, [("A", "1", "0"), ("A", "2", "0")])
    plate_of(tmp_path / "b.zarr", version, [("A", "1", "0"), ("A", "2", "0")], value=10)
    text = "Source, from ,To,remark\n2,A01,B1,x\n"
    (tmp_path / "map.csv").write_text(text)
    plate_of(tmp_path / "c.zarr", version, [("A", "01", "0"), ("A", "1", "0")], value=20)
    (tmp_path / "map.csv").write_text("from,to,source\nA1,B1,2\nA/2,H12,2\n")
    ps.copy([tmp_path / "a.zarr", tmp_path / "b.zarr"], tmp_path / "all.zarr", map=tmp_path / "map.csv")
    assert values(tmp_path / "all.zarr") == {"A/1/0": 1, "A/2/0": 2, "B/1/0": 10, "H/12/0": 11}
    checked(tmp_path / "all.zarr")
    with refuses(ps.NodeExistsError, tmp_path):
        ps.copy([tmp_path / "a.zarr", tmp_path / "b.zarr"], tmp_path / "x.zarr", map={"A1": "C3", "A2": "C4"})


@pytest.mark.parametrize(
    ("other", "diff"),
    [
        ({"channels": ("DAPI", "Cy5")}, "channels.*- GFP, \\+ Cy5"),
        ({"channels": ("DAPI",)}, "channels.*- GFP"),
        ({"channels": ("GFP", "DAPI")}, "channels.*order DAPI, GFP and GFP, DAPI"),
        ({"names": "TCYX"}, "axes.*- z \\(space, micrometer\\)"),
    ],
    ids=str,
)
def test_stores_that_differ_are_refused_with_what_differs(tmp_path, version, other, diff):
    plate_of(tmp_path / "a.zarr", version, [("A", "1", "0")])
    plate_of(tmp_path / "b.zarr", version, [("B", "1", "0")], **other)
    refuse: dict[str, Any] = {"channels_differ": "refuse"}
    with refuses(ps.ArgumentError, tmp_path, match=diff) as caught:
        ps.copy([tmp_path / "a.zarr", tmp_path / "b.zarr"], tmp_path / "all.zarr", **refuse)
    assert "a.zarr/A/1/0" in str(caught.value)
    assert "b.zarr/B/1/0" in str(caught.value)
    with refuses(ps.ArgumentError, tmp_path, match=diff):
        ps.Plate.from_positions(
            tmp_path / "all.zarr",
            {
                "A/1/0": ps.open_ome_zarr(tmp_path / "a.zarr")["A/1/0"],
                "B/1/0": ps.open_ome_zarr(tmp_path / "b.zarr")["B/1/0"],
            },
            **refuse,
        )


def test_imaging_cycles_become_one_plate_whose_fields_keep_their_channels(tmp_path, version):
    cycles = [("DAPI", "GFP"), ("DAPI", "CD3", "CD8")]
    for number, names in enumerate(cycles):
        plate_of(tmp_path / f"{number}.zarr", version, [("B", "03", "0")], channels=names)
    sources = [tmp_path / "0.zarr", tmp_path / "1.zarr"]
    moves = {"0": "B/03/0", "1": "B/03/1"}
    (tmp_path / "map.csv").write_text("source,from,to\n2,B/03/0,B/03/1\n")
    merged = ps.copy(sources, tmp_path / "merged.zarr", map=tmp_path / "map.csv")
    ps.copy(sources[0], tmp_path / "grown.zarr")
    joined = ps.copy(sources[1] / "B/03/0", tmp_path / "grown.zarr/B/03/1")
    for report in (merged, joined):
        assert [n for n in report.notes if "DAPI, GFP" in n and "DAPI, CD3, CD8" in n] == report.notes
    for name in ("merged", "grown"):
        plate = ps.open_ome_zarr(tmp_path / f"{name}.zarr")
        assert [tuple(plate[moves[n]].channel_names) for n in "01"] == cycles
        assert plate.channel_names == ["DAPI", "GFP"]
        checked(tmp_path / f"{name}.zarr")
    alike = ps.copy(sources, tmp_path / "alike.zarr", map=tmp_path / "map.csv", channels="DAPI")
    assert alike.notes == []
    with refuses(ps.ArgumentError, tmp_path, match="channels_differ"):
        ps.copy(sources, tmp_path / "x.zarr", channels_differ="some")


@pytest.mark.parametrize(
    ("theirs", "chosen"), [(("GFP", "DAPI"), ["GFP", "DAPI"]), (("GFP", "Cy5"), ["GFP"])]
)
def test_channels_that_are_chosen_make_stores_alike(tmp_path, version, theirs, chosen):
    plate_of(tmp_path / "a.zarr", version, [("A", "1", "0")])
    plate = plate_of(tmp_path / "b.zarr", version, [("B", "1", "0")], channels=theirs)
    plate["B/1/0"]["0"][:, 0] = 77
    ps.copy([tmp_path / "a.zarr", tmp_path / "b.zarr"], tmp_path / "all.zarr", channels=chosen)
    copied = ps.open_ome_zarr(tmp_path / "all.zarr")
    for _, position in copied.positions():
        assert position.channel_names == chosen
    assert copied.channel_names == chosen
    assert (copied["B/1/0/0"][:, 0] == 77).all()
    checked(tmp_path / "all.zarr")


# --- maps -----------------------------------------------------------------------------------------


def test_wells_and_positions_are_rearranged(tmp_path, version):
    plate = plate_of(tmp_path / "a.zarr", version, [("A", "1", "0"), ("A", "1", "1"), ("B", "1", "0")])
    report = plate.copy_to(tmp_path / "b.zarr", map={"A1": "B1", "B/1": "A/01"})
    assert values(tmp_path / "b.zarr") == {"B/1/0": 1, "B/1/1": 2, "A/01/0": 3}
    assert how(report) == {"files"}
    assert chunk_bytes(tmp_path / "a.zarr/A/1/0/0") == chunk_bytes(tmp_path / "b.zarr/B/1/0/0")
    assert ome(tmp_path / "a.zarr/A/1/0") == ome(tmp_path / "b.zarr/B/1/0")
    plate.copy_to(tmp_path / "c.zarr", map={"A/1/1": "C/7/3", "A/1": "D/2"})
    assert values(tmp_path / "c.zarr") == {"D/2/0": 1, "C/7/3": 2, "B/1/0": 3}
    for name in "bc":
        checked(tmp_path / f"{name}.zarr")


def test_fields_of_several_wells_come_together(tmp_path, version):
    plate_of(tmp_path / "a.zarr", version, [("A", "1", "0"), ("A", "2", "0"), ("B", "1", "0")])
    ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", map={"A/2/0": "A/1/1", "B/1/0": "A/1/2"})
    assert values(tmp_path / "b.zarr") == {"A/1/0": 1, "A/1/1": 2, "A/1/2": 3}
    found = checked(tmp_path / "b.zarr")
    assert found["wells"] == [{"path": "A/1", "rowIndex": 0, "columnIndex": 0}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("from,too\nA1,B1\n", "columns from, too"),
        ("", "columns none"),
        ("from,to\nA1\n", "line 2 of the map is incomplete"),
        ("from,to\nA1,\n", "line 2 of the map is incomplete"),
        ("from,to\nA1,B1\nQ9,B2\n", "'Q/9' is not in the sources"),
        ("source,from,to\n3,A1,B1\n", "no source 3"),
        ("source,from,to\n0,A1,B1\n", "incomplete"),
        ("source,from,to\nx,A1,B1\n", "incomplete"),
        ("from,to\nA1,B/1/0\n", "not both"),
        ("from,to\nA1,B1\nA01,C1\nA1,C1\n", "two new places"),
        ("from,to\nA1,B-1\n", "cannot be the name"),
        ("from,to\nA1,../b\n", "cannot be the name"),
        ("from,to\nA/1/0/0,B/1\n", "neither a well"),
        ("from,to\nA,B\n", "neither a well"),
        (b"from,to\nA1,\xff\n", "cannot be read"),
    ],
    ids=str,
)
def test_maps_that_are_wrong(tmp_path, version, text, message):
    plate_of(tmp_path / "a.zarr", version, [("A", "1", "0")])
    (tmp_path / "map.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with refuses(ps.PlatestoreError, tmp_path, match=message):
        ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", map=tmp_path / "map.csv")


def test_a_map_written_by_a_spreadsheet(tmp_path, version):
    plate_of(tmp_path / "a.zarr", version, [("A", "1", "0"), ("A", "12", "0")])
    (tmp_path / "map.csv").write_bytes(b'\xef\xbb\xbfFrom,To\r\n"A1",P24\r\nA12 , C3\r\n')
    ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", map=str(tmp_path / "map.csv"))
    assert values(tmp_path / "b.zarr") == {"P/24/0": 1, "C/3/0": 2}


def test_a_map_that_is_not_there(tmp_path, version):
    plate_of(tmp_path / "a.zarr", version, [("A", "1", "0")])
    before = snapshot(tmp_path)
    with pytest.raises(FileNotFoundError, match="map"):
        ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", map=tmp_path / "map.csv")
    assert snapshot(tmp_path) == before


# --- acquisitions ---------------------------------------------------------------------------------


def runs(*items: tuple[int, str]) -> list[ps.AcquisitionMeta]:
    """Acquisitions."""
    return [ps.AcquisitionMeta(id=number, name=name) for number, name in items]


def test_acquisitions_are_numbered_anew_where_they_are_different_ones(tmp_path, version):
    plate_of(
        tmp_path / "a.zarr",
        version,
        [("A", "1", "0", None, None, 0), ("A", "1", "1", None, None, 1)],
        acquisitions=runs((0, "monday"), (1, "tuesday")),
    )
    plate_of(
        tmp_path / "b.zarr",
        OTHER[version],
        [("B", "1", "0", None, None, 0), ("B", "1", "1", None, None, 1), ("A", "1", "2", None, None, 0)],
        acquisitions=runs((0, "wednesday"), (1, "tuesday")),
    )
    report = ps.copy([tmp_path / "a.zarr", tmp_path / "b.zarr"], tmp_path / "all.zarr")
    found = checked(tmp_path / "all.zarr")
    assert found["acquisitions"] == [
        {"id": 0, "name": "monday", "maximumfieldcount": 1},
        {"id": 1, "name": "tuesday", "maximumfieldcount": 1},
        {"id": 2, "name": "wednesday", "maximumfieldcount": 1},
    ]
    assert ome(tmp_path / "all.zarr/B/1")["well"]["images"] == [
        {"path": "0", "acquisition": 2},
        {"path": "1", "acquisition": 1},
    ]
    assert ome(tmp_path / "all.zarr/A/1")["well"]["images"][2] == {"path": "2", "acquisition": 2}
    assert len(report.notes) == 1
    assert "acquisition 0 of" in report.notes[0]
    assert "is 2 in the copy" in report.notes[0]


def test_axes_that_differ_only_in_case_are_the_same(tmp_path, version):
    plate_of(tmp_path / "a.zarr", version, [("A", "1", "0")], names="TCZYX")
    plate_of(tmp_path / "b.zarr", version, [("B", "1", "0")], names="tczyx", value=5)
    ps.copy([tmp_path / "a.zarr", tmp_path / "b.zarr"], tmp_path / "all.zarr")
    assert values(tmp_path / "all.zarr") == {"A/1/0": 1, "B/1/0": 5}
    checked(tmp_path / "all.zarr")
    ps.copy(tmp_path / "b.zarr/B/1/0", tmp_path / "a.zarr/B/1/0")
    assert values(tmp_path / "a.zarr") == {"A/1/0": 1, "B/1/0": 5}


def test_equal_acquisitions_are_one_and_unused_ones_are_not_spoken_of(tmp_path, version):
    for name, row, what in (("a", "A", "monday"), ("b", "B", "tuesday"), ("c", "C", "tuesday")):
        plate_of(
            tmp_path / f"{name}.zarr",
            version,
            [(row, "1", "0", None, None, 0)],
            acquisitions=runs((0, what), (1, f"unused of {name}")),
        )
    report = ps.copy([tmp_path / f"{name}.zarr" for name in "abc"], tmp_path / "all.zarr")
    found = checked(tmp_path / "all.zarr")
    assert [item["name"] for item in found["acquisitions"]] == ["monday", "tuesday"]
    assert len(report.notes) == 2


# --- Plate.from_positions -------------------------------------------------------------------------


def test_a_plate_from_positions_of_several_stores_and_versions(tmp_path, version):
    first = plate_of(tmp_path / "a.zarr", version, [("A", "1", "0"), ("A", "1", "1")])
    first["A/1/1"].create_label("cells", np.ones((1, 1, 1, 8, 8), "uint8"))
    second = plate_of(tmp_path / "b.zarr", OTHER[version], [("A", "1", "0")], value=10)
    ps.copy(second, tmp_path / "b.ozx")
    alone = new_position(tmp_path / "p.zarr", version)
    alone.create_image("0", np.full((1, 2, 1, 8, 8), 30, "uint16"))
    plate = ps.Plate.from_positions(
        tmp_path / "all.zarr",
        {
            "C/3/0": first["A/1/1"],
            "A/1/0": second["A/1/0"],
            "C/3/1": ps.open_ome_zarr(tmp_path / "b.ozx")["A/1/0"],
            "H12": alone,
        },
    )
    assert type(plate) is ps.Plate
    assert plate.version == version
    assert values(tmp_path / "all.zarr") == {"C/3/0": 2, "C/3/1": 10, "A/1/0": 10, "H/12/0": 30}
    assert plate.channel_names == ["DAPI", "GFP"]
    assert plate["C/3/0"].label_names == ["cells"]
    checked(tmp_path / "all.zarr")
    plate.create_position("E", "5", "0").create_image("0", np.ones((1, 2, 1, 8, 8), "uint16"))
    checked(tmp_path / "all.zarr")


@pytest.mark.parametrize("place", ["A/1/0", "B07", "b2/3/x9"])
def test_a_plate_from_a_single_position(tmp_path, version, place):
    alone = new_position(tmp_path / "p.zarr", version)
    alone.create_image("0", pixels(3, 2, 2, 8, 8))
    plate = ps.Plate.from_positions(tmp_path / "one.zarr", {place: alone}, version=OTHER[version], time="1:")
    expected = place if place.count("/") == 2 else "B/07/0"
    assert [path for path, _ in plate.positions()] == [expected]
    np.testing.assert_array_equal(plate[expected]["0"].numpy(), pixels(3, 2, 2, 8, 8)[1:])
    assert checked(tmp_path / "one.zarr")["name"] == "one"
    assert [axis.name for axis in plate.axes] == list("TCZYX")


def test_one_position_in_several_places(tmp_path, version):
    plate = plate_of(tmp_path / "a.zarr", version, [("A", "1", "0")])
    places = {"A/1/0": plate["A/1/0"], "A/1/1": plate["A/1/0"], "B/2/0": plate["A/1/0"]}
    ps.Plate.from_positions(tmp_path / "b.zarr", places)
    assert values(tmp_path / "b.zarr") == {"A/1/0": 1, "A/1/1": 1, "B/2/0": 1}
    checked(tmp_path / "b.zarr")


def test_positions_that_are_none_and_places_that_are_none(tmp_path, version):
    plate = plate_of(tmp_path / "a.zarr", version, [("A", "1", "0"), ("A", "1", "1")])
    one, two = plate["A/1/0"], plate["A/1/1"]
    for positions, error in (
        ({}, ps.ArgumentError),
        ({"A/1/0": plate}, ps.ArgumentError),
        ({"A/1/0": one["0"]}, ps.ArgumentError),
        ({"A/1/0": str(tmp_path / "a.zarr/A/1/0")}, ps.ArgumentError),
        ({"A": one}, ps.ArgumentError),
        ({"A/1/0/0": one}, ps.ArgumentError),
        ({"A/b!/0": one}, ps.InvalidNameError),
        ({".": one}, ps.InvalidNameError),
        ({"../x/0": one}, ps.InvalidNameError),
        ({"A/1/0": one, "A1": two}, ps.NodeExistsError),
    ):
        with refuses(error, tmp_path):
            ps.Plate.from_positions(tmp_path / "b.zarr", positions)
    make_plate(tmp_path / "there.zarr", version)
    with refuses(ps.NodeExistsError, tmp_path):
        ps.Plate.from_positions(tmp_path / "there.zarr", {"A/1/0": one})


def test_a_plate_from_positions_in_an_archive_is_opened_for_reading_or_refused(tmp_path, version):
    plate = plate_of(tmp_path / "a.zarr", version, [("A", "1", "0")])
    try:
        made = ps.Plate.from_positions(tmp_path / "b.ozx", {"A/1/0": plate["A/1/0"]})
    except ps.PlatestoreError:
        assert not (tmp_path / "b.ozx").exists()
    else:
        assert [path for path, _ in made.positions()] == ["A/1/0"]
    with refuses(ps.ArgumentError, tmp_path, match="dry_run"):
        ps.Plate.from_positions(tmp_path / "c.zarr", {"A/1/0": plate["A/1/0"]}, dry_run=True)


# --- into a plate that exists ---------------------------------------------------------------------


@pytest.fixture
def target(tmp_path: Path, version: str) -> Path:
    """A plate with wells A/1, A/2 and B/1."""
    make_plate(tmp_path / "plate.zarr", version)
    return tmp_path / "plate.zarr"


@pytest.fixture
def origin(tmp_path: Path, version: str) -> ps.Plate:
    """A plate of the other version."""
    plate = plate_of(
        tmp_path / "origin.zarr",
        OTHER[version],
        [("A", "1", "0"), ("A", "1", "1", None, None, 3)],
        value=50,
    )
    plate["A/1/0"].create_label("cells", np.ones((1, 1, 1, 8, 8), "uint8"))
    edit_attributes(tmp_path / "origin.zarr/A/1", lab={"well": 1})
    return plate


@pytest.mark.parametrize("place", ["A/1/1", "A/3/0", "B/1/x", "B/2/0", "D/8/0"])
@pytest.mark.parametrize("options", [{}, {"verify": True, "chunks": (1, 1, 1, 4, 4)}], ids=str)
def test_a_position_joins_a_plate(target, origin, version, place, options):
    before = values(target)
    report = origin["A/1/0"].copy_to(target / place, **options)
    assert report.version == version
    assert report.positions == 1
    assert values(target) == {**before, place: 50}
    checked(target)
    assert ps.open_ome_zarr(target)[place].label_names == ["cells"]
    assert not [p.name for p in target.iterdir() if p.name.endswith(".copying")]


@pytest.mark.parametrize("place", ["A/3", "C/3"])
def test_a_well_joins_a_plate(target, origin, version, place):
    before = values(target)
    report = origin["A/1"].copy_to(target / place)
    assert report.positions == 2
    assert values(target) == {**before, f"{place}/0": 50, f"{place}/1": 51}
    found = checked(target)
    assert [item["id"] for item in found["acquisitions"]] == [0, 3]
    assert ome(target / place)["well"]["images"][1] == {"path": "1", "acquisition": 3}
    assert attributes(target / place)["lab"] == {"well": 1}


def test_a_part_of_a_well_joins_a_plate(target, origin, version):
    before = values(target)
    origin["A/1"].copy_to(target / "C/3", positions="1")
    assert values(target) == {**before, "C/3/1": 51}
    checked(target)


def test_positions_and_wells_are_copied_within_a_plate(target, version):
    plate = ps.open_ome_zarr(target, mode="r+")
    plate["A/2/0"].copy_to(target / "A/1/9")
    ps.copy(target / "A/1", target / "B/9")
    expected = {"A/1/0": 1, "A/1/9": 2, "A/2/0": 2, "B/1/0": 3, "B/9/0": 1, "B/9/9": 2}
    assert values(target) == expected
    assert {p: int(i.data.numpy().max()) for p, i in plate.refresh().positions()} == expected
    checked(target)


def test_a_position_of_others_or_of_an_archive_joins_a_plate(target, origin, tmp_path):
    ps.copy(origin, tmp_path / "o.ozx")
    ps.open_ome_zarr(tmp_path / "o.ozx")["A/1/1"].copy_to(target / "A/1/1")
    ps.copy(tmp_path / "o.ozx/A/1", target / "A/3")
    new_position(tmp_path / "p.zarr").create_image("0", np.full((4, 2, 3, 8, 8), 9, "uint16"))
    ps.copy(tmp_path / "p.zarr", target / "B/1/1", time="2", z=":1")
    found = values(target)
    assert (found["A/1/1"], found["A/3/0"], found["A/3/1"], found["B/1/1"]) == (51, 50, 51, 9)
    checked(target)


@pytest.mark.parametrize(
    ("place", "what", "options", "error"),
    [
        ("A/1/0", "A/1/0", {}, ps.NodeExistsError),
        ("A/1/0", "A/1/0", {"overwrite": True}, ps.NodeExistsError),
        ("A/1", "A/1", {}, ps.NodeExistsError),
        ("A/1/0/0", "A/1/0", {}, ps.PlatestoreError),
        ("A/1/0/labels/x", "A/1/0", {}, ps.ArgumentError),
        ("A/1/5/6", "A/1/0", {}, ps.ArgumentError),
        ("A/1/5", "A/1", {}, ps.ArgumentError),
        ("A/5", "A/1/0", {}, ps.ArgumentError),
        ("A/5/0", "", {}, ps.ArgumentError),
        ("C", "A/1", {}, ps.ArgumentError),
        ("A/1/b_c", "A/1/0", {}, ps.InvalidNameError),
        ("A/b_c", "A/1", {}, ps.InvalidNameError),
        ("A/1/5", "A/1/0", {"channels": "GFP", "channels_differ": "refuse"}, ps.ArgumentError),
        ("A/1/5", "A/1/0", {"version": "0.6"}, ps.UnsupportedVersionError),
        ("b_c/1/5", "A/1/0", {}, ps.InvalidNameError),
        ("C/5/0", "A/1", {}, ps.ArgumentError),
    ],
    ids=str,
)
def test_what_does_not_fit_a_plate_is_refused(target, origin, tmp_path, place, what, options, error):
    node = origin[what] if what else origin
    with refuses(error, tmp_path):
        node.copy_to(target / place, **options)


def test_another_version_or_several_sources_do_not_join_a_plate(target, origin, tmp_path, version):
    with refuses(ps.ArgumentError, tmp_path, match=f"the plate is {version}"):
        origin["A/1/0"].copy_to(target / "A/1/5", version=OTHER[version])
    with refuses(ps.ArgumentError, tmp_path, match="only one"):
        ps.copy([origin["A/1/0"], origin["A/1/1"]], target / "A/1/5")


@pytest.mark.parametrize(
    ("other", "message"), [({"channels": ("DAPI", "Cy5")}, "- GFP, \\+ Cy5"), ({"names": "CZYX"}, "axes")]
)
def test_a_position_that_looks_different_does_not_join(target, tmp_path, version, other, message):
    plate_of(tmp_path / "o.zarr", version, [("A", "1", "0")], **other)
    with refuses(ps.ArgumentError, tmp_path, match=message):
        ps.copy(tmp_path / "o.zarr/A/1/0", target / "A/1/5", channels_differ="refuse")


def test_channels_that_are_chosen_let_a_position_join(target, tmp_path, version):
    plate = plate_of(tmp_path / "o.zarr", version, [("A", "1", "0")], channels=("GFP", "Cy5", "DAPI"))
    plate["A/1/0"]["0"][:, 0] = 77
    ps.copy(plate["A/1/0"], target / "A/1/5", channels=["DAPI", "GFP"])
    joined = ps.open_ome_zarr(target)["A/1/5"]
    assert joined.channel_names == ["DAPI", "GFP"]
    assert (joined["0"][:, 1] == 77).all()
    checked(target)


def test_nothing_joins_an_archive(tmp_path, version):
    make_plate(tmp_path / "a.zarr", version)
    ps.copy(tmp_path / "a.zarr", tmp_path / "b.ozx")
    with refuses(ps.UnsupportedError, tmp_path, match="archive"):
        ps.copy(tmp_path / "a.zarr/A/1/0", tmp_path / "b.ozx/A/1/5")
    with refuses(ps.UnsupportedError, tmp_path, match="archive"):
        ps.copy(tmp_path / "a.zarr/A/1/0", tmp_path / "b.ozx/Q/1/5")


# --- series ---------------------------------------------------------------------------------------


def series_of(path: Path, version: str, listed: str) -> Path:
    """A collection of three images as bioformats2raw makes it; where it is listed, in another order."""
    root: dict[str, Any] = {"bioformats2raw.layout": 3}
    if listed == "at the root":
        root["series"] = ["2", "0", "1"]

    def group(folder: Path, content: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if version == "0.4":
            (folder / ".zgroup").write_text('{"zarr_format": 2}')
            (folder / ".zattrs").write_text(json.dumps(content))
        else:
            ome_part = {"ome": {"version": "0.5", **content}}
            document = {"zarr_format": 3, "node_type": "group", "attributes": ome_part}
            (folder / "zarr.json").write_text(json.dumps(document))

    group(path, root)
    if listed == "in OME":
        group(path / "OME", {"series": ["2", "0", "1"]})
        (path / "OME" / "METADATA.ome.xml").write_text("<OME/>")
    for number in range(3):
        image = new_position(path.parent / "tmp.zarr", version, channels=[f"channel of {number}"])
        image.create_image("0", np.full((2, 1, 2, 4, 4), number + 1, "uint8"))
        (path.parent / "tmp.zarr").rename(path / str(number))
    edit_attributes(path, lab=1)
    return path


ORDER = {"in OME": ["2", "0", "1"], "at the root": ["2", "0", "1"], "nowhere": ["0", "1", "2"]}


@pytest.fixture(params=list(ORDER))
def series(request: pytest.FixtureRequest, tmp_path: Path, version: str) -> tuple[Path, str]:
    """A collection, and where it is listed."""
    return series_of(tmp_path / "a.zarr", version, request.param), request.param


def read_series(path: Path) -> dict[str, int]:
    """The number that each image of a collection holds."""
    node = ps.open_ome_zarr(path)
    assert type(node) is ps.Bioformats2RawSeries
    return {name: int(position.data.numpy().max()) for name, position in node.positions()}


@pytest.mark.parametrize("form", ["same", "other", ".ozx"])
@pytest.mark.parametrize("options", [{}, {"crop": "0:2,0:4", "time": "1"}], ids=str)
def test_a_whole_series_is_copied(series, tmp_path, version, form, options):
    path, listed = series
    copied = tmp_path / ("b.ozx" if form == ".ozx" else "b.zarr")
    given = {"version": OTHER[version]} if form == "other" else {}
    report = ps.copy(path, copied, **given, **options)
    assert report.positions == 3
    assert read_series(copied) == {name: int(name) + 1 for name in ORDER[listed]}
    with unpacked(copied) as folder:
        assert (folder / "OME/METADATA.ome.xml").exists() == (listed == "in OME")
        assert attributes(folder)["lab"] == 1
        check_store(folder, report.version)
        assert levels_of(folder / "1")["0"].shape == ((1, 1, 2, 2, 4) if options else (2, 1, 2, 4, 4))
    if form == ".ozx":
        ps.copy(copied, tmp_path / "c.zarr", version=version)
        assert read_series(tmp_path / "c.zarr") == {name: int(name) + 1 for name in ORDER[listed]}


@pytest.mark.parametrize("form", ["same", "other", ".ozx"])
def test_some_images_of_a_series_are_copied(series, tmp_path, version, form):
    path, listed = series
    copied = tmp_path / ("b.ozx" if form == ".ozx" else "b.zarr")
    given = {"version": OTHER[version]} if form == "other" else {}
    report = ps.copy(path, copied, positions=["2", "[1]"], **given)
    assert report.positions == 2
    kept = [name for name in ORDER[listed] if name != "0"]
    assert read_series(copied) == {name: int(name) + 1 for name in kept}
    with unpacked(copied) as folder:
        assert not (folder / "0").exists()
        assert not (folder / "OME/METADATA.ome.xml").exists(), "it describes images that are not there"
        lists = [ome(p)["series"] for p in (folder, folder / "OME") if p.is_dir() and "series" in ome(p)]
        assert lists
        assert all(found == kept for found in lists)
        check_store(folder, report.version)
    assert any("METADATA.ome.xml" in note for note in report.notes) == (listed == "in OME")


@pytest.mark.parametrize("suffix", [".zarr", ".ozx"])
def test_one_image_of_a_series_is_copied(series, tmp_path, version, suffix):
    path, _ = series
    ps.copy(path / "1", tmp_path / f"b{suffix}")
    copied = ps.open_ome_zarr(tmp_path / f"b{suffix}")
    assert type(copied) is ps.Position
    assert copied.channel_names == ["channel of 1"]
    assert (copied.data.numpy() == 2).all()
    node = ps.open_ome_zarr(path)
    node["2"].copy_to(tmp_path / f"c{suffix}", levels=0)
    assert (ps.open_ome_zarr(tmp_path / f"c{suffix}").data.numpy() == 3).all()


def test_images_of_a_series_become_a_plate(series, tmp_path, version):
    path, _ = series
    node = ps.open_ome_zarr(path)
    with refuses(ps.ArgumentError, tmp_path, match="- channel of 0, \\+ channel of 1"):
        ps.Plate.from_positions(
            tmp_path / "p.zarr", {"A1": node["0"], "A2": node["1"]}, channels_differ="refuse"
        )
    ps.copy(node["0"], tmp_path / "p.zarr", map={".": "A1"})
    assert values(tmp_path / "p.zarr") == {"A/1/0": 1}
    checked(tmp_path / "p.zarr")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positions": "7"}, "nothing matches '7'"),
        ({"wells": "A/1"}, "no wells"),
        ({"acquisition": 1}, "no acquisitions"),
        ({"map": {"A1": "B1"}}, "no wells"),
        ({"channels": ["channel of 0"]}, "there is no channel 'channel of 0'"),
    ],
    ids=str,
)
def test_what_a_series_has_not_is_refused(series, tmp_path, options, message):
    with refuses(ps.ArgumentError, tmp_path, match=message):
        ps.copy(series[0], tmp_path / "b.zarr", **options)


def test_a_series_is_not_merged_and_joins_no_plate(series, tmp_path, version):
    make_plate(tmp_path / "p.zarr", version)
    with refuses(ps.UnsupportedError, tmp_path, match="not merged"):
        ps.copy([series[0], tmp_path / "p.zarr"], tmp_path / "all.zarr")
    with refuses(ps.ArgumentError, tmp_path):
        ps.copy(series[0], tmp_path / "p.zarr/A/7")


# --- archives of everything -----------------------------------------------------------------------


def positions_of(node: Any) -> list[str]:
    """Paths of the positions below a node; that of a position is empty."""
    return [""] if isinstance(node, ps.Position) else [path for path, _ in node.positions()]


@pytest.mark.parametrize("what", ["", "A/1", "A/1/1"])
@pytest.mark.parametrize("options", [{}, {"crop": "0:4,0:8", "channels": "GFP"}], ids=str)
def test_every_kind_of_node_goes_through_an_archive(tmp_path, version, what, options):
    plate_of(tmp_path / "a.zarr", version, [("A", "1", "0"), ("A", "1", "1"), ("B", "1", "0")])
    source = tmp_path / "a.zarr" / what
    ps.copy(source, tmp_path / "b.ozx", **options)
    ps.copy(tmp_path / "b.ozx", tmp_path / "c.zarr", version=version)
    ps.copy(source, tmp_path / "d.zarr", **options)
    kinds = {"": ps.Plate, "A/1": ps.Well, "A/1/1": ps.Position}
    for name in ("b.ozx", "c.zarr", "d.zarr"):
        assert type(ps.open_ome_zarr(tmp_path / name)) is kinds[what]
    with zipfile.ZipFile(tmp_path / "b.ozx") as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert names[0] == "zarr.json"
        documents = [name.endswith("zarr.json") for name in names]
        assert documents == sorted(documents, reverse=True), "documents come first"
    one, other = tmp_path / "c.zarr", tmp_path / "d.zarr"
    images = positions_of(ps.open_ome_zarr(one))
    assert len(images) == {"": 3, "A/1": 2, "A/1/1": 1}[what]
    for image in images:
        ours, theirs = chunk_bytes(one / image / "0"), chunk_bytes(other / image / "0")
        assert sorted(ours.values()) == sorted(theirs.values())
    check_store(tmp_path / "c.zarr", version)


@pytest.mark.parametrize("what", ["A/1", "A/1/1"])
def test_parts_of_archives_are_copied(tmp_path, version, what):
    plate_of(tmp_path / "a.zarr", version, [("A", "1", "0"), ("A", "1", "1"), ("B", "1", "0")])
    ps.copy(tmp_path / "a.zarr", tmp_path / "b.ozx")
    report = ps.copy(tmp_path / "b.ozx" / what, tmp_path / "c.zarr", z="0")
    assert set(arrays_by_path(report)) == ({"0/0", "1/0"} if what == "A/1" else {"0"})
    check_store(tmp_path / "c.zarr", "0.5")
    node = ps.open_ome_zarr(tmp_path / "c.zarr")
    position = node["1"] if what == "A/1" else node
    assert (position.data.numpy() == 2).all()
