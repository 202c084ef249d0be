"""Pyramids of whole plates through ``compute_pyramids``: what is done, skipped, reported, and by whom."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import platestore as ps
from nodes.store_helpers import snapshot
from platestore import processing
from platestore.resources import check_workers
from pyramid.pyramid_store import cascade, multiscales, noise, stored

HALF = (1, 1, 2, 2, 2)
NAMES = ("A/1/0", "A/1/1", "A/2/0", "B/1/0")
SHAPE = (1, 1, 4, 24, 20)


def plate_at(path: Path, version: str = "0.5", names=NAMES, shape=SHAPE, chunks=(1, 1, 2, 8, 8)) -> Path:
    """A plate with other noise in every position."""
    plate = ps.open_ome_zarr(path, layout="hcs", mode="w-", channel_names=["a"], version=version)
    for seed, position in enumerate(plate.create_positions([tuple(name.split("/")) for name in names])):
        position.create_image("0", noise("uint16", shape, seed), chunks=chunks)
    return path


def paths_of(plate: Path, names=NAMES) -> list[str]:
    return [f"{plate}/{name}" for name in names]


def listed(position: Path) -> list[str]:
    return [d["path"] for d in multiscales(position)["datasets"]]


def assert_made(position: Path, steps, method: str = "mean") -> None:
    found = list(stored(position).values())
    expected = cascade(found[0], steps, method)
    assert len(found) == len(expected) + 1
    for got, level in zip(found[1:], expected, strict=True):
        np.testing.assert_array_equal(got, level)


def tear_a_chunk(array: Path) -> Path:
    """Cut one chunk of an array in half."""
    documents = {"zarr.json", ".zarray", ".zattrs"}
    chunk = next(f for f in sorted(array.rglob("*")) if f.is_file() and f.name not in documents)
    content = chunk.read_bytes()
    chunk.write_bytes(content[: len(content) // 2])
    return chunk


@pytest.fixture
def plate(tmp_path, version):
    return plate_at(tmp_path / "plate.zarr", version)


@pytest.fixture
def calls(monkeypatch):
    """Budget and threads of every computation, by position, in the order in which they begin."""
    seen: list[tuple[str, int, int]] = []
    real = processing._compute

    def spy(position: Any, wish: Any, budget: int, workers: int, progress: Any) -> None:
        seen.append((position.__editor__().location.where, budget, workers))
        real(position, wish, budget, workers, progress)

    monkeypatch.setattr(processing, "_compute", spy)
    return seen


# --- what is worked on ----------------------------------------------------------------------------


def test_a_plate_is_worked_on_whole(plate):
    report = ps.compute_pyramids(plate, 3)
    assert sorted(report.computed) == paths_of(plate)
    assert (report.skipped, report.failed) == ([], {})
    assert report.nbytes == len(NAMES) * np.prod(SHAPE) * 2
    assert report.seconds > 0
    for name in NAMES:
        assert_made(plate / name, [HALF, HALF])


@pytest.mark.parametrize(
    ("inner", "names"),
    [
        ("A", ["A/1/0", "A/1/1", "A/2/0"]),
        ("A/1", ["A/1/0", "A/1/1"]),
        ("A/1/1", ["A/1/1"]),
    ],
    ids=["row", "well", "position"],
)
def test_a_part_of_a_plate_is_worked_on_alone(plate, inner, names):
    report = ps.compute_pyramids(plate / inner, 2)
    assert sorted(report.computed) == paths_of(plate, names)
    for name in NAMES:
        assert listed(plate / name) == (["0", "1"] if name in names else ["0"])


def test_several_paths_of_any_kind(plate, tmp_path, version):
    other = plate_at(tmp_path / "other.zarr", version, ["C/7/x"])
    report = ps.compute_pyramids((p for p in [str(plate / "B"), other, plate / "A/1/0"]), 2)
    assert sorted(report.computed) == sorted(
        [*paths_of(plate, ["A/1/0", "B/1/0"]), *paths_of(other, ["C/7/x"])]
    )


def test_no_paths_are_no_work():
    report = ps.compute_pyramids([])
    assert (report.computed, report.skipped, report.failed, report.nbytes) == ([], [], {}, 0)


def test_a_label_image_is_worked_on_by_mode(tmp_path, version):
    plate = plate_at(tmp_path / "p.zarr", version, ["A/1/0"])
    position = ps.open_ome_zarr(plate / "A/1/0", mode="r+")
    position.create_label("cells", noise("uint8", SHAPE) % 3)
    place = plate / "A/1/0/labels/cells"
    report = ps.compute_pyramids(plate, 3)
    assert report.failed == {}
    assert report.nbytes == 3 * np.prod(SHAPE), "the image of two bytes per pixel, and the labels of one"
    assert_made(place, [HALF, HALF], "mode")
    again = ps.compute_pyramids(place, method="mode", force=True)
    assert again.computed == [str(place)]
    assert_made(place, [HALF, HALF], "mode")


def test_a_collection_of_images(tmp_path, version):
    path = tmp_path / "series.zarr"
    path.mkdir()
    root = {"bioformats2raw.layout": 3}
    if version == "0.4":
        (path / ".zgroup").write_text('{"zarr_format": 2}')
        (path / ".zattrs").write_text(json.dumps(root))
    else:
        ome = {"ome": {"version": version, **root}}
        (path / "zarr.json").write_text(
            json.dumps({"zarr_format": 3, "node_type": "group", "attributes": ome})
        )
    single = plate_at(tmp_path / "p.zarr", version, ["A/1/0", "A/1/1"]) / "A/1"
    for name in ("0", "1"):
        shutil.copytree(single / name, path / name)
    report = ps.compute_pyramids(path, 2)
    assert sorted(report.computed) == [f"{path}/0", f"{path}/1"]
    for name in ("0", "1"):
        assert_made(path / name, [HALF])


def test_a_position_that_is_named_twice_is_computed_once(plate, calls):
    ps.compute_pyramids([plate, plate, plate / "A/1/0", f"{plate}/A/1/../1"], 2)
    assert len(calls) == len({Path(path).resolve() for path, _, _ in calls}) == len(NAMES)


def test_a_position_that_is_named_twice_is_whole_when_threads_meet_on_it(plate, monkeypatch):
    monkeypatch.setattr(processing, "_TINY_BYTES", 0)
    report = ps.compute_pyramids([plate / "A/1/0"] * 6, 3, workers=4, force=True)
    assert report.failed == {}
    assert_made(plate / "A/1/0", [HALF, HALF])


# --- how many levels, and how ---------------------------------------------------------------------


def test_without_levels_each_position_keeps_its_number_and_new_ones_are_made_down_to_256(tmp_path, version):
    plate = plate_at(
        tmp_path / "p.zarr", version, ["A/1/0", "A/2/0"], (1, 1, 1, 600, 300), (1, 1, 1, 300, 300)
    )
    ps.open_ome_zarr(plate / "A/1/0", mode="r+").compute_pyramid(2, "min")
    report = ps.compute_pyramids(plate)
    assert len(report.computed) == 2
    assert listed(plate / "A/1/0") == ["0", "1"]
    assert listed(plate / "A/2/0") == ["0", "1", "2"]


@pytest.mark.parametrize("method", ["mean", "median", "mode", "min", "max", "stride"])
def test_every_method(tmp_path, method):
    plate = plate_at(tmp_path / "p.zarr", names=["A/1/0"])
    ps.compute_pyramids(plate, 3, method)
    assert_made(plate / "A/1/0", [HALF, HALF], method)


def test_dims_and_factors_reach_every_position(tmp_path, version):
    plate = plate_at(tmp_path / "p.zarr", version, ["A/1/0", "A/2/0"])
    ps.compute_pyramids(plate / "A/1", 3, dims=["y", "x"])
    assert_made(plate / "A/1/0", [(1, 1, 1, 2, 2)] * 2)
    ps.compute_pyramids(plate / "A/2", 3, factors=[{"x": 3}, (1, 1, 4, 1, 2)])
    assert_made(plate / "A/2/0", [(1, 1, 1, 1, 3), (1, 1, 4, 1, 2)])


# --- what is skipped ------------------------------------------------------------------------------


def test_what_is_complete_is_skipped_and_left_as_it_is(plate):
    ps.compute_pyramids(plate, 3)
    before = snapshot(plate)
    for levels in (3, None):
        report = ps.compute_pyramids(plate, levels)
        assert sorted(report.skipped) == paths_of(plate)
        assert (report.computed, report.failed, report.nbytes) == ([], {}, 0)
    assert snapshot(plate) == before


def test_what_another_run_did_not_reach_is_computed(plate):
    ps.compute_pyramids(plate / "A/1", 3)
    report = ps.compute_pyramids(plate, 3)
    assert sorted(report.skipped) == paths_of(plate, NAMES[:2])
    assert sorted(report.computed) == paths_of(plate, NAMES[2:])


def test_force_computes_what_is_complete(plate):
    ps.compute_pyramids(plate, 2)
    position = ps.open_ome_zarr(plate / "A/1/0", mode="r+")
    position["0"][...] = 7
    assert len(ps.compute_pyramids(plate).skipped) == len(NAMES)
    assert np.any(position["1"][...] != 7)
    assert len(ps.compute_pyramids(plate, force=True).computed) == len(NAMES)
    assert_made(plate / "A/1/0", [HALF])


def test_another_method_is_not_skipped(plate):
    ps.compute_pyramids(plate, 3)
    assert len(ps.compute_pyramids(plate, method="max").computed) == len(NAMES)
    for name in NAMES:
        assert_made(plate / name, [HALF, HALF], "max")


@pytest.mark.parametrize("wish", [{"levels": 2}, {"dims": "yx"}, {"factors": [(1, 1, 1, 2, 2)] * 2}], ids=str)
def test_other_levels_or_factors_than_those_there_are_reported(plate, wish):
    ps.compute_pyramids(plate / "A", 3)
    before = snapshot(plate / "A")
    report = ps.compute_pyramids(plate, **{"levels": 3, **wish})
    assert sorted(report.failed) == paths_of(plate, NAMES[:3])
    assert all("delete_pyramid" in problem for problem in report.failed.values())
    assert report.computed == paths_of(plate, NAMES[3:])
    assert snapshot(plate / "A") == before


def test_levels_that_were_initialised_are_computed(plate):
    ps.open_ome_zarr(plate / "A/1/0", mode="r+").initialize_pyramid(3)
    report = ps.compute_pyramids(plate / "A/1/0")
    assert report.computed == paths_of(plate, ["A/1/0"])
    assert_made(plate / "A/1/0", [HALF, HALF])
    assert ps.compute_pyramids(plate / "A/1/0").skipped == paths_of(plate, ["A/1/0"])


def test_a_position_whose_label_lacks_levels_is_not_skipped(plate):
    position = ps.open_ome_zarr(plate / "A/1/0", mode="r+")
    position.create_label("cells", noise("uint8", SHAPE) % 3)
    ps.compute_pyramids(plate, 3)
    position.get_label("cells").delete_pyramid()
    assert listed(plate / "A/1/0/labels/cells") == ["0"]
    report = ps.compute_pyramids(plate, 3)
    assert report.computed == paths_of(plate, ["A/1/0"])
    assert_made(plate / "A/1/0/labels/cells", [HALF, HALF], "mode")


# --- what fails -----------------------------------------------------------------------------------


def unheard(plate: Path) -> Any:
    """Two levels of all positions, whether or not the report comes with warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ps.StoreWarning)
        return ps.compute_pyramids(plate, 2)


@pytest.mark.parametrize("side_by_side", [False, True])
def test_a_torn_chunk_is_reported_by_name_and_the_others_are_done(plate, monkeypatch, side_by_side):
    if side_by_side:
        monkeypatch.setattr(processing, "_TINY_BYTES", 0)
    chunk = tear_a_chunk(plate / "A/1/1/0")
    before = snapshot(plate / "A/1/1")
    report = ps.compute_pyramids(plate, 3, workers=2)
    assert list(report.failed) == paths_of(plate, ["A/1/1"])
    assert str(chunk) in report.failed[f"{plate}/A/1/1"]
    assert sorted(report.computed) == paths_of(plate, ["A/1/0", "A/2/0", "B/1/0"])
    assert report.nbytes == 3 * np.prod(SHAPE) * 2
    assert snapshot(plate / "A/1/1") == before


@pytest.mark.parametrize("gone", ["A/1/1/0", "A/1/1", "A/2"], ids=["level 0", "position", "well"])
def test_what_is_listed_but_not_there_is_reported(plate, gone):
    shutil.rmtree(plate / gone)
    report = unheard(plate)
    assert len(report.failed) == 1
    path, problem = next(iter(report.failed.items()))
    assert path.startswith(f"{plate}/{gone[:3]}")
    assert gone in problem
    assert len(report.computed) == len(NAMES) - 1


@pytest.mark.parametrize("place", ["A/2/0/0", "A/2/0", "A/2"], ids=["array", "position", "well"])
def test_a_document_that_is_no_json_is_reported(plate, version, place):
    array = place.count("/") == 3
    name = "zarr.json" if version == "0.5" else ".zarray" if array else ".zattrs"
    (plate / place / name).write_text('{"x":')
    report = unheard(plate)
    assert len(report.failed) == 1
    assert sorted(report.computed) == paths_of(plate, ["A/1/0", "A/1/1", "B/1/0"])


def test_an_array_whose_codec_is_unknown_is_reported(plate, version):
    document = plate / "A/2/0/0" / ("zarr.json" if version == "0.5" else ".zarray")
    document.write_text(document.read_text().replace("blosc", "strange"))
    report = ps.compute_pyramids(plate, 2)
    assert list(report.failed) == paths_of(plate, ["A/2/0"])
    assert "strange" in report.failed[f"{plate}/A/2/0"]


def test_a_position_without_an_image_is_reported(plate):
    ps.open_ome_zarr(plate, mode="r+").create_position("C", "1", "0")
    report = ps.compute_pyramids(plate, 2)
    assert list(report.failed) == paths_of(plate, ["C/1/0"])
    assert len(report.computed) == len(NAMES)


@pytest.mark.parametrize(
    "wrong",
    [
        {"levels": 0},
        {"levels": "many"},
        {"method": "best"},
        {"workers": 0},
        {"workers": 1.5},
        {"max_memory": "much"},
        {"max_memory": 0},
    ],
    ids=str,
)
def test_a_wrong_argument_is_an_error_before_anything_is_computed(plate, wrong):
    before = snapshot(plate)
    with pytest.raises(ps.ArgumentError):
        ps.compute_pyramids(plate, **{"levels": 2, **wrong})
    assert snapshot(plate) == before


def test_a_path_that_does_not_exist_is_an_error_before_anything_is_computed(plate, tmp_path):
    before = snapshot(plate)
    with pytest.raises(ps.NodeNotFoundError, match=r"nowhere\.zarr"):
        ps.compute_pyramids([plate, tmp_path / "nowhere.zarr"], 2)
    assert snapshot(plate) == before


# --- budget and threads ---------------------------------------------------------------------------


def needed(plate: Path) -> int:
    """The least budget of one position, as the error says."""
    problems = ps.compute_pyramids(plate / NAMES[0], 3, max_memory=1).failed
    return int(re.search(r"needs (\d+) bytes", next(iter(problems.values())))[1])


def test_a_budget_that_is_too_small_is_reported_with_the_figure(plate):
    before = snapshot(plate)
    report = ps.compute_pyramids(plate, 3, max_memory="1kB")
    assert sorted(report.failed) == paths_of(plate)
    assert snapshot(plate) == before
    figure = needed(plate)
    assert ps.compute_pyramids(plate, 3, max_memory=figure).failed == {}


def test_positions_side_by_side_share_the_budget(plate, monkeypatch, calls):
    monkeypatch.setattr(processing, "_TINY_BYTES", 0)
    report = ps.compute_pyramids(plate, 3, workers=2, max_memory="512MiB")
    assert report.failed == {}
    assert [(budget, workers) for _, budget, workers in calls] == [(2**28, 1)] * len(NAMES)
    for name in NAMES:
        assert_made(plate / name, [HALF, HALF])


def test_a_share_that_is_too_small_leaves_a_position_to_the_whole_budget(plate, monkeypatch, calls):
    figure = needed(plate)
    calls.clear()
    monkeypatch.setattr(processing, "_TINY_BYTES", 0)
    report = ps.compute_pyramids(plate, 3, workers=2, max_memory=figure)
    assert report.failed == {}
    assert sorted(report.computed) == paths_of(plate)
    assert [(budget, workers) for _, budget, workers in calls[-len(NAMES) :]] == [(figure, 2)] * len(NAMES)
    for name in NAMES:
        assert_made(plate / name, [HALF, HALF])


def test_tiny_positions_have_all_threads_and_the_whole_budget_in_turn(plate, calls):
    ps.compute_pyramids(plate, 3, workers=2, max_memory="512MiB")
    assert [(budget, workers) for _, budget, workers in calls] == [(2**29, 2)] * len(NAMES)


@pytest.mark.parametrize("tiny", [0, processing._TINY_BYTES], ids=["side by side", "in turn"])
def test_the_number_of_workers_changes_no_file(tmp_path, version, monkeypatch, tiny):
    monkeypatch.setattr(processing, "_TINY_BYTES", tiny)
    trees = []
    for workers in (1, 2, 5):
        plate = plate_at(tmp_path / str(workers) / "plate.zarr", version)
        ps.compute_pyramids(plate, 3, workers=workers)
        trees.append({str(place): what for place, what in snapshot(plate).items()})
    assert trees[0] == trees[1] == trees[2]


def test_workers_may_be_an_integer_of_numpy():
    assert check_workers(np.int64(3)) == 3


# --- progress -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tiny", [0, processing._TINY_BYTES], ids=["side by side", "in turn"])
@pytest.mark.parametrize("broken", [False, True], ids=["whole", "torn"])
@pytest.mark.parametrize("max_memory", ["512MiB", None], ids=["plenty", "scarce"])
def test_progress_grows_to_the_total(tmp_path, monkeypatch, tiny, broken, max_memory):
    plate = plate_at(tmp_path / "p.zarr")
    position = ps.open_ome_zarr(plate / "A/2/0", mode="r+")
    position.create_label("cells", noise("uint8", SHAPE) % 3)
    ps.compute_pyramids(plate / "B", 3)
    budget = max_memory or needed(plate) * 5 // 4
    if broken:
        tear_a_chunk(plate / "A/1/1/0")
    monkeypatch.setattr(processing, "_TINY_BYTES", tiny)
    seen: list[tuple[int, int]] = []
    report = ps.compute_pyramids(
        plate, 3, workers=2, max_memory=budget, progress=lambda done, total: seen.append((done, total))
    )
    assert len(report.failed) == broken
    assert report.skipped == paths_of(plate, ["B/1/0"])
    total = (3 * 2 + 1) * int(np.prod(SHAPE))  # three images of two bytes per pixel, and labels of one
    assert {t for _, t in seen} == {total}
    done = [d for d, _ in seen]
    assert done == sorted(done)
    assert done[0] >= 0
    assert done[-1] == total
