"""Names of axes in lower case: in place, in a copy; in all documents, or completed by the next writer."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import platestore as ps
from nodes.store_helpers import attributes, snapshot
from platestore.spec.axes import default_axes
from platestore.tree import axes_case

OTHER = {"0.4": "0.5", "0.5": "0.4"}
LOWER, UPPER = ("t", "c", "z", "y", "x"), ("T", "C", "Z", "Y", "X")


@pytest.fixture
def plate(tmp_path: Path, version: str) -> Path:
    """A plate with axes in upper case: levels and label images, and an array of others."""
    path = tmp_path / "a.zarr"
    axes = [axis.model_copy(update={"name": axis.name.upper()}) for axis in default_axes()]
    with ps.open_ome_zarr(
        path, layout="hcs", mode="w-", channel_names=["a", "b"], version=version, axes=axes
    ) as made:
        for name in ("1", "2"):
            position = made.create_position("A", name, "0")
            position.create_image("0", np.ones((1, 2, 2, 8, 8), "uint16"), pyramid_levels=2)
            position.create_label("cells", np.ones((1, 1, 2, 8, 8), "uint8"))
    assert spelled(path) == {UPPER}
    return path


def spelled(path: Path) -> set[tuple[Any, ...]]:
    """All ways in which axes are spelled, in documents of groups and of arrays."""
    found: set[tuple[Any, ...]] = set()
    for file in [*path.rglob("zarr.json"), *path.rglob(".zattrs")]:
        content = attributes(file.parent)
        for image in (content.get("ome") or content).get("multiscales", ()):
            found.add(tuple(axis["name"] for axis in image["axes"]))
        for axes in (content.get("platestore", {}).get("axes"),):
            found |= {tuple(axis["name"] for axis in axes)} if axes else set()
        document = json.loads(file.read_text())
        found |= {tuple(document["dimension_names"])} if document.get("dimension_names") else set()
    return found


def chunks(path: Path) -> dict[str, Any]:
    names = ("zarr.json", ".zattrs", ".zarray", ".zgroup")
    return {k: v for k, v in snapshot(path).items() if not k.endswith(names)}


def test_a_plate_changes_in_all_its_documents_and_in_no_pixel(plate, version):
    before = chunks(plate)
    node = ps.open_ome_zarr(plate, mode="r+")
    node.set_axes_case("lower")
    assert spelled(plate) == {LOWER}
    assert chunks(plate) == before
    assert not [f for f in ps.validate(plate).findings if f.level != "advice"]
    assert ps.check(plate).whole
    assert [axis.name for axis in node.axes] == list(LOWER)
    after = snapshot(plate)
    ps.open_ome_zarr(plate, mode="r+").set_axes_case("lower")
    assert snapshot(plate) == after
    assert [axis.name for axis in node.create_position("B", "1", "0").axes] == list(LOWER)


def test_one_position_changes_alone(plate):
    node = ps.open_ome_zarr(plate, mode="r+")
    node["A/1/0"].set_axes_case("lower")
    assert spelled(plate / "A/1") == {LOWER}
    assert spelled(plate / "A/2") == {UPPER}
    label = ps.open_ome_zarr(plate / "A/2/0/labels/cells", mode="r+")
    label.set_axes_case("lower")
    assert spelled(plate / "A/2/0/labels") == {LOWER}


def test_what_is_refused_changes_nothing(plate):
    before = snapshot(plate)
    node = ps.open_ome_zarr(plate, mode="r+")
    for case in ("upper", "Lower", None):
        for each in (node, node["A/1/0"]):
            with pytest.raises(ps.ArgumentError, match="lower"):
                each.set_axes_case(case)
    with pytest.raises(ps.ReadOnlyError):
        ps.open_ome_zarr(plate).set_axes_case("lower")
    assert snapshot(plate) == before


@pytest.mark.parametrize("step", range(1, 9))
@pytest.mark.parametrize("whole", [True, False])
def test_what_stops_half_way_is_completed_by_the_next_change(plate, monkeypatch, step, whole):
    done = 0
    lower = axes_case._lower_array

    def stop(location: Any) -> None:
        nonlocal done
        done += 1
        if done == step:
            raise KeyboardInterrupt
        lower(location)

    monkeypatch.setattr(axes_case, "_lower_array", stop)
    node = ps.open_ome_zarr(plate, mode="r+")
    with pytest.raises(KeyboardInterrupt) if step <= (8 if whole else 4) else warnings.catch_warnings():
        (node if whole else node["A/1/0"]).set_axes_case("lower")
    monkeypatch.undo()
    fresh = ps.open_ome_zarr(plate, mode="r+")
    if whole:
        fresh.create_position("C", "1", "0")
    else:
        fresh["A/1/0"].rename_channel("a", "c")
    assert spelled(plate if whole else plate / "A/1") == {LOWER}
    assert '"intents"' not in "".join(map(str, snapshot(plate).values()))


def test_a_position_that_cannot_be_opened_does_not_stop_the_others(plate):
    shutil.rmtree(plate / "A/1/0")
    node = ps.open_ome_zarr(plate, mode="r+")
    with pytest.warns(ps.UnreadableWarning, match="A/1/0"):
        node.set_axes_case("lower")
    assert spelled(plate) == {LOWER}


@pytest.mark.parametrize("options", [{}, {"version": True}, {"crop": "1:7,0:8"}, {"chunks": (1, 1, 1, 4, 4)}])
def test_a_copy_has_lower_case_and_the_source_stays(plate, tmp_path, version, options):
    options = {**options, **({"version": OTHER[version]} if "version" in options else {})}
    before = snapshot(plate)
    report = ps.copy(plate, tmp_path / "b.zarr", axes_case="lower", verify=True, **options)
    assert spelled(tmp_path / "b.zarr") == {LOWER}
    assert not [f for f in ps.validate(tmp_path / "b.zarr").findings if f.level != "advice"]
    if options.keys() <= {"version"}:
        assert {array.how for array in report.arrays} == {"files"}
    assert snapshot(plate) == before
    with pytest.raises(ps.ArgumentError, match="axes_case"):
        ps.copy(plate, tmp_path / "c.zarr", axes_case="upper")
