"""Files whose names vary in several numbers: patterns, Micro-Manager's names, errors that show the way."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import examples
from platestore import stacks
from platestore.errors import ArgumentError, NodeExistsError, NodeNotFoundError
from platestore.stacks.listing import find_series

VOXEL = {"voxel_size": (1, 1, 1), "levels": 1}


def write(folder: Path, name: str, value: int, *lead: int) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((*lead, 4, 6), value, "uint16")
    for z in np.ndindex(*lead):
        pixels[z] += z[-1] if z else 0
    tifffile.imwrite(path, pixels, photometric="minisblack")


def value(t: int, c: int, z: int) -> int:
    return 100 * t + 10 * c + z


def expected(times: int, channels: int, planes: int) -> np.ndarray:
    return np.array(
        [[[value(t, c, z) for z in range(planes)] for c in range(channels)] for t in range(times)]
    )


def imported(planes: object, out: Path, **options: object) -> ps.Position:
    position = stacks.import_stack(planes, out, **VOXEL, **options)  # type: ignore[arg-type]
    return ps.open_ome_zarr(out, layout="fov") if position else position


@pytest.mark.parametrize("pattern", ["T{t}_Ch{c}_z{z}.tif", "z{z}/{c}/img{t:}.tif", "{z}-{c}-x-{t}.tif"])
def test_numbers_in_any_order_become_times_channels_and_planes(tmp_path: Path, pattern: str) -> None:
    pattern = pattern.replace(":", "")
    for t, c, z in np.ndindex(2, 3, 11):
        write(tmp_path / "raw", pattern.format(t=t, c=c, z=z), value(t, c, z))
    position = imported(tmp_path / "raw" / pattern, tmp_path / "v.zarr")
    assert [a.name.lower() for a in position.axes] == ["t", "c", "z", "y", "x"]
    assert np.array_equal(position["0"].numpy()[..., 0, 0], expected(2, 3, 11))


def test_words_for_channels_become_their_names(tmp_path: Path) -> None:
    for t, (c, name) in itertools.product(range(2), enumerate(["DAPI", "GFP 488", "p-tau"])):
        write(tmp_path, f"{name}_{t:03d}.tif", value(t, c, 0))
    position = imported(str(tmp_path / "{c}_{t}.tif"), tmp_path / "v.zarr")
    assert position.channel_names == ["DAPI", "GFP 488", "p-tau"]
    assert np.array_equal(position["0"].numpy()[..., 0, 0], expected(2, 3, 1))


def test_names_that_are_asked_for_replace_those_of_the_files(tmp_path: Path) -> None:
    for c, name in enumerate(["w1", "w2"]):
        write(tmp_path, f"{name}.tif", c)
    pattern = str(tmp_path / "{c}.tif")
    assert imported(pattern, tmp_path / "a.zarr", channel_name=["Hoechst", "GFP"]).channel_names == [
        "Hoechst",
        "GFP",
    ]
    with pytest.raises(ArgumentError, match="another order; theirs is w1, w2"):
        stacks.import_stack(pattern, tmp_path / "b.zarr", channel_name=["w2", "w1"], **VOXEL)
    assert not (tmp_path / "b.zarr").exists()


def test_channels_of_files_must_be_those_of_the_plate(tmp_path: Path) -> None:
    for c, name in enumerate(["DAPI", "GFP"]):
        write(tmp_path, f"{name}.tif", c)
    ps.open_ome_zarr(tmp_path / "p.zarr", layout="hcs", mode="w-", channel_names=["GFP", "RFP"])
    with pytest.raises(ArgumentError, match="no channel 'DAPI'"):
        stacks.import_stack(tmp_path / "{c}.tif", tmp_path / "p.zarr/A/1/0", **VOXEL)


def test_files_of_a_pattern_may_hold_planes_along_z(tmp_path: Path) -> None:
    for t, c in np.ndindex(2, 3):
        write(tmp_path, f"T{t}_Ch{c}.tif", value(t, c, 0), 5)
    position = imported(tmp_path / "T{t}_Ch{c}.tif", tmp_path / "v.zarr")
    assert np.array_equal(position["0"].numpy()[..., 0, 0], expected(2, 3, 5))


def test_other_parts_of_a_name_are_matched_as_in_a_shell(tmp_path: Path) -> None:
    for i, (t, z) in enumerate(np.ndindex(2, 2)):
        write(tmp_path, f"[run] {i * 7}_t{t}_z{z}.tif", value(t, 0, z))
        write(tmp_path, f"other_t{t}_z{z}.tif", 7)
    position = imported(tmp_path / "[run] *_t{t}_z{z}.tif", tmp_path / "v.zarr")
    assert np.array_equal(position["0"].numpy()[..., 0, 0], expected(2, 1, 2))


def test_a_field_that_stands_twice_is_one_number_of_two_parts(tmp_path: Path) -> None:
    for slab, z in np.ndindex(3, 2):
        write(tmp_path, f"slab{slab}_{z}.tif", 2 * slab + z)
    position = imported(tmp_path / "slab{z}_{z}.tif", tmp_path / "v.zarr")
    assert position["0"].numpy()[0, 0, :, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("form", "names"),
    [
        ("img_channel{c:03d}_position000_time{t:09d}_z{z:03d}.tif", None),
        ("img_{t:09d}_{name}_{z:03d}.tif", ["Cy5", "DAPI"]),
    ],
)
def test_single_planes_of_micro_manager(tmp_path: Path, form: str, names: list[str] | None) -> None:
    for t, c, z in np.ndindex(2, 2, 3):
        write(tmp_path / "raw", form.format(t=t, c=c, z=z, name=("Cy5", "DAPI")[c]), value(t, c, z))
    position = imported(tmp_path / "raw", tmp_path / "v.zarr")
    assert np.array_equal(position["0"].numpy()[..., 0, 0], expected(2, 2, 3))
    if names is not None:
        assert position.channel_names == names


def test_positions_of_micro_manager_are_imported_one_at_a_time(tmp_path: Path) -> None:
    for p, t in np.ndindex(2, 2):
        write(tmp_path, f"img_channel000_position{p:03d}_time{t:09d}_z000.tif", t)
    with pytest.raises(ArgumentError, match=r"2 positions: 000, 001.*position000_time\{t\}_z\{z\}"):
        find_series(tmp_path)
    series = find_series(tmp_path / "img_channel{c}_position001_time{t}_z{z}.tif")
    assert (series.axes, series.shape) == ("TCZ", (2, 1, 1))


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        ([f"T{t}_Ch{c}.tif" for t in range(2) for c in range(3)], "T{t}_Ch{c}.tif"),
        ([f"time_{t}_slice_{z}.tif" for t in range(2) for z in range(3)], "time_{t}_slice_{z}.tif"),
        ([f"s1_w{c}_{z}.tif" for c in range(2) for z in range(2)], "s1_w{c}_{z}.tif"),
        ([f"{c}_{z:03d}.tif" for c in ("DAPI", "GFP") for z in range(3)], "{c}_{z}.tif"),
        ([f"t{t}/z{z}.tif" for t in range(2) for z in range(2)], "t{t}/z{z}.tif"),
        ([f"seed{17 - 7 * z}_z{z}.tif" for z in range(3)], "_z{z}.tif"),
    ],
)
def test_names_of_several_numbers_are_refused_with_a_pattern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], pattern: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in names:
        write(tmp_path, name, 1)
    with pytest.raises(ArgumentError) as caught:
        stacks.import_stack("**/*.tif", "v.zarr", **VOXEL)
    assert pattern in str(caught.value)
    assert "{t}, {c} and {z}" in str(caught.value)
    assert not (tmp_path / "v.zarr").exists()
    with pytest.raises(ArgumentError, match="which plane is which"):
        find_series(names)  # as an unquoted pattern comes from the shell


@pytest.mark.parametrize(
    "names",
    [
        ["z8.tif", "z9.tif", "z10.tif"],
        ["scan_20240301_120000_z0001.tif", "scan_20240301_120007_z0002.tif"],
        ["front.tif", "middle.tif"],
        ["z1.tif", "z2.TIFF"],
    ],
)
def test_names_of_one_series_are_planes_in_their_order(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        write(tmp_path, name, 1)
    series = find_series(tmp_path)
    assert [Path(path).name for path in series.files] == names
    assert (series.axes, series.shape, series.channels) == ("Z", (len(names),), None)


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ([(1, 2, 0)], r"\{t\} = 1, \{c\} = 2, \{z\} = 0 is missing"),
        ([(0, c, z) for c in range(3) for z in range(2)], None),
        ([(2, c, z) for c in range(3) for z in range(2)], r"\{t\} = 2 is missing"),
    ],
)
def test_a_missing_plane_is_named(tmp_path: Path, lost: list[tuple[int, ...]], said: str | None) -> None:
    for place in np.ndindex(5, 3, 2):
        if place not in lost:
            write(tmp_path, "t{}_c{}_z{}.tif".format(*place), 1)
    pattern = tmp_path / "t{t}_c{c}_z{z}.tif"
    if said is None:  # times may begin anywhere
        assert find_series(pattern).shape == (4, 3, 2)
    else:
        with pytest.raises(ArgumentError, match=said):
            find_series(pattern)


def test_patterns_that_mean_nothing(tmp_path: Path) -> None:
    write(tmp_path, "T0.tif", 1)
    write(tmp_path, "T00.tif", 1)
    with pytest.raises(ArgumentError, match=r"unknown field \{time\}.*\{t\} \(time\)"):
        find_series(tmp_path / "T{time}.tif")
    with pytest.raises(NodeNotFoundError, match="no file matches"):
        find_series(tmp_path / "t{t}_{z}.tif")
    with pytest.raises(ArgumentError, match="same place"):
        find_series(tmp_path / "T{t}.tif")
    with pytest.raises(ArgumentError, match="stands alone"):
        find_series([tmp_path / "T{t}.tif", tmp_path / "T0.tif"])


def test_a_name_with_braces_is_a_file_like_others(tmp_path: Path) -> None:
    write(tmp_path, "{z}.tif", 1)
    assert find_series(tmp_path / "{z}.tif").files == [str(tmp_path / "{z}.tif")]


def test_files_of_several_planes_need_a_pattern(tmp_path: Path) -> None:
    for t in range(2):
        write(tmp_path, f"T{t}.tif", t, 3)
    with pytest.raises(ArgumentError, match=r"T\{t\}_C\{c\}"):
        stacks.import_stack(tmp_path, tmp_path / "v.zarr", **VOXEL)
    write(tmp_path, "z0_many.tif", 0, 3)
    with pytest.raises(ArgumentError, match="holds 3 planes"):
        stacks.import_stack(tmp_path / "z{z}_many.tif", tmp_path / "v.zarr", **VOXEL)


def test_jobs_resume_and_finish_keep_the_arrangement(tmp_path: Path) -> None:
    for t, c, z in np.ndindex(2, 2, 6):
        write(tmp_path / "raw", f"{z}_{t}_{c}.tif", value(t, c, z))
    out = tmp_path / "v.zarr"
    pattern = tmp_path / "raw/{z}_{t}_{c}.tif"
    plan = stacks.plan(pattern, out, **VOXEL, chunks=(1, 4, 6), jobs=3)
    with pytest.raises(NodeExistsError):
        stacks.plan(pattern, out, **VOXEL, chunks=(1, 4, 6), jobs=3)
    for job in plan.jobs:
        stacks.run_job(out, job.index)
    position = stacks.finish(out)
    assert np.array_equal(position["0"].numpy()[..., 0, 0], expected(2, 2, 6))


@settings(
    max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    order=st.permutations("tcz"),
    between=st.lists(st.sampled_from(["_", "-", ".", " x ", "+(", "[a]"]), min_size=4, max_size=4),
    counts=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 12)),
)
def test_any_arrangement_of_fields_is_found_again(
    tmp_path_factory: pytest.TempPathFactory,
    order: list[str],
    between: list[str],
    counts: tuple[int, int, int],
) -> None:
    folder = tmp_path_factory.mktemp("raw")
    text = between[0] + "".join(f"{{{field}}}{gap}" for field, gap in zip(order, between[1:], strict=True))
    for t, c, z in np.ndindex(*counts):
        (folder / f"{text.format(t=t, c=c, z=z)}.tif").touch()
    series = find_series(folder / f"{text}.tif")
    assert (series.axes, series.shape, series.channels) == ("TCZ", counts, None)
    names = [f"{text.format(t=t, c=c, z=z)}.tif" for t, c, z in np.ndindex(*counts)]
    assert [Path(path).name for path in series.files] == names
