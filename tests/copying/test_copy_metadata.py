"""The documents of a copy are right for what is in it: rows, acquisitions, channels, transforms, sources."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import platestore as ps
from conftest import make_plate
from copying.copy_helpers import check_store, levels_of, places, refuses
from nodes.store_helpers import (
    attributes,
    check_plate,
    edit_attributes,
    edit_ome,
    new_position,
    ome,
    pixels,
    scale,
    translation,
)

OTHER = {"0.4": "0.5", "0.5": "0.4"}


def names(items: list[dict[str, Any]]) -> list[str]:
    """Names of rows or columns."""
    return [item["name"] for item in items]


def plate_of(path: Path) -> dict[str, Any]:
    """The checked metadata of a plate."""
    found = check_plate(path)
    check_store(path, "0.5" if (path / "zarr.json").exists() else "0.4")
    return found


def plate_with(path: Path, version: str, specs: list[Any], **options: Any) -> ps.Plate:
    """A plate with small images."""
    plate = ps.open_ome_zarr(
        path, layout="hcs", mode="w-", channel_names=["DAPI", "GFP", "Cy5"], version=version, **options
    )
    plate.create_positions(specs, shape=(1, 3, 1, 4, 4), dtype="uint8")
    return plate


# --- rows and columns -----------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["0.4", "0.5"])
def test_only_rows_and_columns_that_are_used_are_listed(tmp_path, version, target):
    plate = plate_with(tmp_path / "a.zarr", version, [("B", "2", "0"), ("A", "1", "0"), ("D", "5", "0")])
    ps.copy(plate, tmp_path / "b.zarr", wells=["D/5", "B/*"], version=target)
    found = plate_of(tmp_path / "b.zarr")
    assert names(found["rows"]) == ["B", "D"]
    assert names(found["columns"]) == ["2", "5"]
    assert found["wells"] == [
        {"path": "B/2", "rowIndex": 0, "columnIndex": 0},
        {"path": "D/5", "rowIndex": 1, "columnIndex": 1},
    ]
    assert sorted(p.name for p in (tmp_path / "b.zarr").iterdir() if p.is_dir()) == ["B", "D"]


def test_the_grid_of_a_declared_format_stays(tmp_path, version):
    plate = plate_with(
        tmp_path / "a.zarr", version, [("B", "2", "0"), ("A", "1", "0"), ("D", "5", "0")], plate_format=24
    )
    ps.copy(plate, tmp_path / "b.zarr", wells="D/5", version=OTHER[version])
    found = plate_of(tmp_path / "b.zarr")
    assert "".join(names(found["rows"])) == "ABCD"
    assert names(found["columns"]) == ["1", "2", "3", "4", "5", "6"]
    assert found["wells"] == [{"path": "D/5", "rowIndex": 3, "columnIndex": 4}]
    assert attributes(tmp_path / "b.zarr")["platestore"]["plate_format"] == 24
    copied = ps.open_ome_zarr(tmp_path / "b.zarr", mode="r+")
    with pytest.raises(ps.ArgumentError, match="plate_format"):
        copied.create_position("Q", "1", "0")


def test_the_grid_of_a_standard_format_that_others_listed_stays(tmp_path, version):
    plate = plate_with(tmp_path / "a.zarr", version, [("B", "2", "0"), ("A", "1", "0")], plate_format=96)
    own = {k: v for k, v in attributes(tmp_path / "a.zarr")["platestore"].items() if k != "plate_format"}
    edit_attributes(tmp_path / "a.zarr", platestore=own)
    ps.copy(plate.refresh(), tmp_path / "b.zarr", wells="B/2")
    found = plate_of(tmp_path / "b.zarr")
    assert (len(found["rows"]), len(found["columns"])) == (8, 12)
    assert found["wells"] == [{"path": "B/2", "rowIndex": 1, "columnIndex": 1}]


def test_rows_that_are_listed_without_wells_are_of_the_physical_plate_and_stay(tmp_path, version):
    plate_with(tmp_path / "a.zarr", version, [("A", "1", "0"), ("B", "2", "0")])
    edit_ome(tmp_path / "a.zarr", lambda c: c["plate"]["rows"].append({"name": "Q"}))
    ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", wells="B/2")
    found = plate_of(tmp_path / "b.zarr")
    assert names(found["rows"]) == ["A", "B", "Q"]
    assert names(found["columns"]) == ["2"]
    assert found["wells"] == [{"path": "B/2", "rowIndex": 1, "columnIndex": 0}]


def test_a_map_moves_wells_and_lists_what_is_used_then(tmp_path, version):
    plate = plate_with(tmp_path / "a.zarr", version, [("A", "1", "0"), ("A", "1", "1"), ("B", "2", "0")])
    ps.copy(plate, tmp_path / "b.zarr", map={"A1": "H12", "B/2/0": "A/1/5"})
    found = plate_of(tmp_path / "b.zarr")
    assert set(names(found["rows"])) == {"A", "H"}
    assert set(names(found["columns"])) == {"1", "12"}
    copied = ps.open_ome_zarr(tmp_path / "b.zarr")
    assert [path for path, _ in copied.positions()] == ["A/1/5", "H/12/0", "H/12/1"]


def test_a_map_beyond_a_declared_grid_is_refused(tmp_path, version):
    plate = plate_with(tmp_path / "a.zarr", version, [("A", "1", "0")], plate_format=6)
    with pytest.raises(ps.ArgumentError, match="'H' is not on a plate"):
        ps.copy(plate, tmp_path / "b.zarr", map={"A/1": "H/12"})
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


def test_wells_keep_their_order_and_what_others_say_of_them(tmp_path, version):
    plate_with(tmp_path / "a.zarr", version, [("C", "1", "0"), ("A", "1", "0"), ("B", "1", "0")])

    def label(content: dict[str, Any]) -> None:
        for number, well in enumerate(content["plate"]["wells"]):
            well["treatment"] = number
        content["plate"]["operator"] = "somebody"
        content["plate"]["rows"][0]["concentration"] = 0.5

    edit_ome(tmp_path / "a.zarr", label)
    edit_ome(tmp_path / "a.zarr/B/1", lambda c: c["well"]["images"][0].update(site=7))
    ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", wells=["B/1", "C/1"], version=OTHER[version])
    found = plate_of(tmp_path / "b.zarr")
    assert [(well["path"], well["treatment"]) for well in found["wells"]] == [("C/1", 0), ("B/1", 2)]
    assert found["operator"] == "somebody"
    assert found["rows"][0] == {"name": "C", "concentration": 0.5}
    assert ome(tmp_path / "b.zarr/B/1")["well"]["images"][0]["site"] == 7


def test_the_number_of_fields_and_the_name(tmp_path, version):
    plate = plate_with(
        tmp_path / "a.zarr", version, [("A", "1", "0"), ("A", "1", "1"), ("B", "2", "0")], name="screen 7"
    )
    for wells, most in (("A/1", 2), ("B/2", 1)):
        ps.copy(plate, tmp_path / f"{most}.zarr", wells=wells)
        found = plate_of(tmp_path / f"{most}.zarr")
        assert (found["field_count"], found["name"]) == (most, "screen 7")
    ps.copy(plate, tmp_path / "moved.zarr", map={"B/2/0": "A/1/5"})
    assert plate_of(tmp_path / "moved.zarr")["field_count"] == 3


# --- acquisitions ---------------------------------------------------------------------------------


def test_only_acquisitions_that_are_used_are_listed(tmp_path, version):
    runs = [
        ps.AcquisitionMeta(id=i, name=f"run {i}", maximumfieldcount=9, starttime=10 * i, description="d")
        for i in (3, 1, 2)
    ]
    specs = [
        ("A", "1", "0", None, None, 1),
        ("A", "1", "1", None, None, 1),
        ("A", "1", "2", None, None, 3),
        ("B", "1", "0", None, None, 1),
    ]
    plate = plate_with(tmp_path / "a.zarr", version, specs, acquisitions=runs)
    ps.copy(plate, tmp_path / "b.zarr", positions="*/*/[01]", version=OTHER[version])
    assert plate_of(tmp_path / "b.zarr")["acquisitions"] == [
        {"id": 1, "name": "run 1", "maximumfieldcount": 2, "starttime": 10, "description": "d"}
    ]
    ps.copy(plate, tmp_path / "c.zarr", acquisition=[3])
    found = plate_of(tmp_path / "c.zarr")
    assert [(a["id"], a["maximumfieldcount"]) for a in found["acquisitions"]] == [(3, 1)]
    assert ome(tmp_path / "c.zarr/A/1")["well"]["images"] == [{"path": "2", "acquisition": 3}]
    ps.copy(plate, tmp_path / "d.zarr", wells="*/1", channels=["GFP"])
    found = plate_of(tmp_path / "d.zarr")
    assert [(a["id"], a["maximumfieldcount"]) for a in found["acquisitions"]] == [(3, 1), (1, 2)]


def test_a_plate_without_a_list_of_acquisitions_gets_none(tmp_path, version):
    make_plate(tmp_path / "a.zarr", version)
    ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", wells="A/*", acquisition=0)
    assert "acquisitions" not in plate_of(tmp_path / "b.zarr")


# --- channels and rendering -----------------------------------------------------------------------


@pytest.fixture
def stained(tmp_path: Path, version: str) -> Path:
    """A plate whose images say how their channels are to be shown."""
    plate = plate_with(tmp_path / "a.zarr", version, [("A", "1", "0")])
    plate["A/1/0"].create_image("1", np.zeros((6, 3, 5, 4, 4), "uint8"), check_shape=False)

    def show(content: dict[str, Any]) -> None:
        for number, channel in enumerate(content["omero"]["channels"]):
            channel["color"] = f"0000{number:02}"
            channel["window"] = {"start": number, "end": 50, "min": 0, "max": 255}
            channel["lut"] = f"lut {number}"
        content["omero"]["rdefs"].update(defaultT=4, defaultZ=3)
        content["omero"]["name"] = "as seen"

    edit_ome(tmp_path / "a.zarr/A/1/0", show)
    return tmp_path / "a.zarr"


@pytest.mark.parametrize("chosen", [["GFP"], ["Cy5", "DAPI"], ["Cy5", "GFP", "DAPI"], ["DAPI", "GFP", "Cy5"]])
def test_channels_come_with_how_they_are_shown(stained, tmp_path, version, chosen):
    before = ome(stained / "A/1/0")["omero"]
    ps.copy(stained, tmp_path / "b.zarr", channels=chosen, version=OTHER[version])
    after = ome(tmp_path / "b.zarr/A/1/0")["omero"]
    by_name = {channel["label"]: channel for channel in before["channels"]}
    assert after["channels"] == [by_name[name] for name in chosen]
    assert after["name"] == "as seen"
    copied = ps.open_ome_zarr(tmp_path / "b.zarr")
    assert copied.channel_names == copied["A/1/0"].channel_names == chosen
    own = attributes(tmp_path / "b.zarr")["platestore"]
    assert own["channel_names"] == chosen
    check_store(tmp_path / "b.zarr", OTHER[version])


def test_positions_that_are_added_to_a_copy_get_its_channels(stained, tmp_path):
    ps.copy(stained, tmp_path / "b.zarr", channels=["Cy5", "DAPI"])
    plate = ps.open_ome_zarr(tmp_path / "b.zarr", mode="r+")
    added = plate.create_position("C", "3", "0")
    assert added.channel_names == ["Cy5", "DAPI"]
    assert [axis.name for axis in added.axes] == ["t", "c", "z", "y", "x"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"time": "2:6:2"}, {"defaultT": 1, "defaultZ": 3}),
        ({"time": "4"}, {"defaultT": 0, "defaultZ": 3}),
        ({"time": "5:"}, {"defaultT": 0, "defaultZ": 3}),
        ({"time": ":3"}, {"defaultT": 2, "defaultZ": 3}),
        ({"z": ":2"}, {"defaultT": 4, "defaultZ": 1}),
        ({"z": "1::2", "time": "3:5"}, {"defaultT": 1, "defaultZ": 1}),
        ({"crop": "0:2,0:2"}, {"defaultT": 4, "defaultZ": 3}),
    ],
    ids=str,
)
def test_the_plane_that_viewers_open_with_is_one_that_was_taken(tmp_path, version, options, expected):
    position = new_position(tmp_path / "a.zarr", version)
    position.create_image("0", np.zeros((6, 2, 5, 4, 4), "uint8"))
    edit_ome(tmp_path / "a.zarr", lambda c: c["omero"]["rdefs"].update(defaultT=4, defaultZ=3))
    ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", **options)
    found = ome(tmp_path / "b.zarr")["omero"]["rdefs"]
    assert {key: found[key] for key in expected} == expected


# --- images ---------------------------------------------------------------------------------------


def test_what_others_say_of_images_and_levels_stays(tmp_path, version):
    position = new_position(tmp_path / "a.zarr", version)
    position.create_image("0", pixels(2, 2, 2, 8, 8))

    def change(content: dict[str, Any]) -> None:
        image = content["multiscales"][0]
        image.update(name="field 3", stage={"x": 1.5})
        image["axes"][3]["orientation"] = "down"

    edit_ome(tmp_path / "a.zarr", change)
    ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", crop="2:6,0:8", version=OTHER[version])
    image = ome(tmp_path / "b.zarr")["multiscales"][0]
    assert (image["name"], image["stage"]) == ("field 3", {"x": 1.5})
    assert image["axes"][3]["orientation"] == "down"
    assert image.get("version") == {"0.4": "0.4", "0.5": None}[OTHER[version]]


def test_pixels_stay_in_their_place_under_every_list_of_transforms(tmp_path, version):
    position = new_position(tmp_path / "a.zarr", version)
    position.create_image(
        "0",
        pixels(4, 2, 6, 8, 8),
        transform=[*scale(2.0, 1.0, 0.5, 0.25, 0.125), translation(7.0, 0.0, -3.0, 1.0, 2.0)],
    )
    position.set_transform("*", [*scale(3.0, 1.0, 4.0, 5.0, 6.0), translation(1.0, 0.0, 2.0, 3.0, 4.0)])
    ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", time="1::2", z="2:5", crop="4:8,3:5", channels="GFP")
    before, after = (ome(tmp_path / name)["multiscales"][0] for name in ("a.zarr", "b.zarr"))
    (s0, t0), (s, t) = places(before, 0), places(after, 0)
    start = np.array([1, 0, 2, 4, 3])
    np.testing.assert_allclose(t, t0 + s0 * start)
    np.testing.assert_allclose(s, s0 * [2, 1, 1, 1, 1])
    assert after["coordinateTransformations"] == before["coordinateTransformations"]


def test_several_images_in_one_position_are_cut_alike(tmp_path, version):
    position = new_position(tmp_path / "a.zarr", version)
    position.create_image("0", pixels(2, 2, 2, 8, 8))
    position.create_image("mask", pixels(2, 2, 2, 8, 8, dtype="uint8"))

    def split(content: dict[str, Any]) -> None:
        first = content["multiscales"][0]
        second = json.loads(json.dumps(first))
        datasets = {d["path"]: d for d in [d for image in content["multiscales"] for d in image["datasets"]]}
        first["datasets"], second["datasets"], second["name"] = [datasets["0"]], [datasets["mask"]], "mask"
        content["multiscales"] = [first, second]

    edit_ome(tmp_path / "a.zarr", split)
    ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", crop="2:6,0:4", channels=["GFP"], pyramid=2)
    before, after = levels_of(tmp_path / "a.zarr"), levels_of(tmp_path / "b.zarr")
    assert list(after) == ["0", "1", "mask", "mask_level1"]
    for name in ("0", "mask"):
        np.testing.assert_array_equal(after[name], before[name][:, 1:, :, 2:6, 0:4])
    assert [len(image["datasets"]) for image in ome(tmp_path / "b.zarr")["multiscales"]] == [2, 2]
    check_store(tmp_path / "b.zarr", version)


def test_records_of_unfinished_work_do_not_travel(tmp_path, version):
    plate = make_plate(tmp_path / "a.zarr", version)
    own = attributes(tmp_path / "a.zarr").get("platestore", {})
    intent = {"operation": "delete", "id": "1", "path": "Z/9"}
    edit_attributes(tmp_path / "a.zarr", platestore={**own, "intents": [intent]})
    ps.copy(plate.refresh(), tmp_path / "b.zarr", wells="A/*")
    assert "intents" not in attributes(tmp_path / "b.zarr").get("platestore", {})
    ps.copy(plate.refresh(), tmp_path / "c.zarr", version=OTHER[version])
    assert "intents" not in attributes(tmp_path / "c.zarr").get("platestore", {})


# --- where labels say they belong -----------------------------------------------------------------


@pytest.fixture
def labelled(tmp_path: Path, version: str) -> Path:
    """A plate with labels, of which that of A/1/1 annotates its neighbour A/1/0."""
    plate = make_plate(
        tmp_path / "a.zarr", version, positions=[("A", "1", "0"), ("A", "1", "1"), ("B", "2", "0")]
    )
    for _, position in plate.positions():
        position.create_label("cells", np.ones((1, 1, 2, 8, 8), "uint8"), {1: (255, 0, 0)}, {1: {"area": 64}})
    edit_ome(
        tmp_path / "a.zarr/A/1/1/labels/cells",
        lambda c: c["image-label"].update(source={"image": "../../../0"}),
    )
    return tmp_path / "a.zarr"


def sources(plate: Path) -> dict[str, str]:
    """The image that each label image annotates, by the place of the position in the plate."""
    found = {}
    for folder in sorted(plate.glob("*/*/*/labels/cells")):
        said = ome(folder)["image-label"]["source"]["image"]
        target = (folder / said).resolve()
        found[str(folder.parents[1].relative_to(plate))] = str(target.relative_to(plate.resolve()))
    return found


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"A/1/0": "A/1/0", "A/1/1": "A/1/0", "B/2/0": "B/2/0"}),
        ({"map": {"A/1": "C/3"}}, {"C/3/0": "C/3/0", "C/3/1": "C/3/0", "B/2/0": "B/2/0"}),
        ({"map": {"A/1/0": "C/3/0"}}, {"A/1/1": "C/3/0", "B/2/0": "B/2/0", "C/3/0": "C/3/0"}),
        (
            {"map": {"A/1/1": "C/3/7"}, "crop": "0:4,0:4"},
            {"A/1/0": "A/1/0", "B/2/0": "B/2/0", "C/3/7": "A/1/0"},
        ),
        (
            {"map": {"A/1/0": "A/1/1", "A/1/1": "A/1/0"}, "levels": 0},
            {"A/1/0": "A/1/1", "A/1/1": "A/1/1", "B/2/0": "B/2/0"},
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("convert", [False, True])
def test_label_images_name_the_copy_of_what_they_annotate(
    labelled, tmp_path, version, options, expected, convert
):
    target = OTHER[version] if convert else version
    report = ps.copy(labelled, tmp_path / "b.zarr", version=target, **options)
    assert sources(tmp_path / "b.zarr") == expected
    assert report.notes == []
    check_store(tmp_path / "b.zarr", target)


def test_a_label_image_whose_image_stays_behind_is_noted(labelled, tmp_path):
    report = ps.copy(labelled, tmp_path / "b.zarr", positions="A/1/1")
    assert len(report.notes) == 1
    assert "A/1/1/labels/cells" in report.notes[0]
    assert "not copied" in report.notes[0]


def test_colors_and_properties_of_labels_stay(labelled, tmp_path, version):
    ps.copy(labelled, tmp_path / "b.zarr", crop="0:4,0:8", version=OTHER[version])
    label = ps.open_ome_zarr(tmp_path / "b.zarr")["A/1/0"].get_label("cells")
    assert label.colors == {1: (255, 0, 0, 255)}
    assert label.properties == {1: {"area": 64}}


def test_labels_of_a_position_that_goes_to_several_places(labelled, tmp_path):
    position = ps.open_ome_zarr(labelled)["B/2/0"]
    ps.Plate.from_positions(tmp_path / "b.zarr", {"A/1/0": position, "C/1/0": position})
    assert sources(tmp_path / "b.zarr") == {"A/1/0": "A/1/0", "C/1/0": "C/1/0"}


@pytest.mark.parametrize("options", [{"version": True}, {"crop": "0:4,0:4"}], ids=str)
def test_a_label_image_in_a_group_of_its_own(tmp_path, version, options):
    position = new_position(tmp_path / "a.zarr", version)
    position.create_image("0", pixels(1, 2, 2, 8, 8))
    for name in ("cells", "other"):
        position.create_label(name, np.ones((1, 1, 2, 8, 8), "uint8"))
    group = zarr.open_group(tmp_path / "a.zarr/labels", mode="r+").create_group("by hand")
    group.attrs["who"] = "me"
    (tmp_path / "a.zarr/labels/other").rename(tmp_path / "a.zarr/labels/by hand/other")
    edit_ome(tmp_path / "a.zarr/labels", lambda c: c.update(labels=["cells", "by hand/other"]))
    target = OTHER[version] if options.get("version") else version
    report = ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", **{**options, "version": target})
    copied = ps.open_ome_zarr(tmp_path / "b.zarr")
    assert copied.label_names == ["cells", "by hand/other"]
    for _, label in copied.labels():
        assert label.data.numpy().all()
    assert attributes(tmp_path / "b.zarr/labels/by hand") == {"who": "me"}
    assert report.positions == 1


# --- plates that are still empty ------------------------------------------------------------------


def test_positions_without_images_are_copied(tmp_path, version):
    plate = ps.open_ome_zarr(
        tmp_path / "a.zarr", layout="hcs", mode="w-", channel_names=["a", "b"], version=version
    )
    plate.create_positions([("A", "1", "0"), ("B", "1", "0")])
    ps.copy(plate, tmp_path / "b.zarr", wells="B/1", version=OTHER[version])
    copied = ps.open_ome_zarr(tmp_path / "b.zarr", mode="r+")
    assert [path for path, _ in copied.positions()] == ["B/1/0"]
    assert copied["B/1/0"].channel_names == ["a", "b"]
    copied["B/1/0"].create_image("0", np.ones((1, 2, 1, 4, 4), "uint8"))
    plate_of(tmp_path / "b.zarr")


def test_channels_of_positions_without_images_are_chosen_too(tmp_path, version):
    plate = ps.open_ome_zarr(
        tmp_path / "a.zarr", layout="hcs", mode="w-", channel_names=["a", "b"], version=version
    )
    plate.create_position("A", "1", "0")
    ps.copy(plate, tmp_path / "b.zarr", channels="b", crop="0:1,0:1")
    copied = ps.open_ome_zarr(tmp_path / "b.zarr")
    assert copied.channel_names == copied["A/1/0"].channel_names == ["b"]
    with refuses(ps.ArgumentError, tmp_path, match="no channel 'z'"):
        ps.copy(plate, tmp_path / "c.zarr", channels="z")


def test_an_image_without_omero_is_cut(tmp_path, version):
    position = new_position(tmp_path / "a.zarr", version)
    position.create_image("0", pixels(2, 2, 2, 8, 8))
    edit_ome(tmp_path / "a.zarr", lambda c: c.pop("omero"))
    ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", crop="2:6,0:8", time="1", version=OTHER[version])
    assert "omero" not in ome(tmp_path / "b.zarr")
    np.testing.assert_array_equal(levels_of(tmp_path / "b.zarr")["0"], pixels(2, 2, 2, 8, 8)[1:, ..., 2:6, :])


def test_a_plate_without_wells_is_converted(tmp_path, version):
    plate = ps.open_ome_zarr(
        tmp_path / "a.zarr", layout="hcs", mode="w-", channel_names=["a", "b"], version=version
    )
    ps.copy(plate, tmp_path / "b.zarr", version=OTHER[version])
    copied = ps.open_ome_zarr(tmp_path / "b.zarr", mode="r+")
    assert copied.channel_names == ["a", "b"]
    assert len(copied) == 0
