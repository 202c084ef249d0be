"""Making, recomputing and removing the levels of positions and of label images."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import examples
from nodes.store_helpers import refused, scale, snapshot, translation
from platestore.images import level_making
from platestore.pyramid.build import PyramidBuild
from pyramid.pyramid_store import (
    attributes,
    cascade,
    edit,
    foreign_array,
    foreign_image,
    hidden,
    image_of,
    multiscales,
    new_position,
    noise,
    quick_cascade,
    stored,
)

HALF = (1, 2, 2)


def small(path: Path, version: str, seed: int = 0, **layout: Any) -> tuple[Any, np.ndarray]:
    """A position with level 0 of 1 x 20 x 26 pixels."""
    data = noise("uint16", (1, 20, 26), seed)
    return image_of(path, version, data, **{"chunks": (1, 8, 8), **layout}), data


def assert_levels(path: Path, data: np.ndarray, steps: Any, method: str = "mean") -> None:
    found = list(stored(path).values())
    np.testing.assert_array_equal(found[0], data)
    expected = cascade(data, steps, method)
    assert len(found) == len(expected) + 1
    for got, level in zip(found[1:], expected, strict=True):
        np.testing.assert_array_equal(got, level)


def marks(path: Path) -> dict[str, Any]:
    return (multiscales(path).get("metadata") or {}).get("platestore", {})


# --- shapes, scales, offsets, what the document says ----------------------------------------------


def test_the_levels_have_rounded_up_shapes_and_the_layout_of_level_0(version, tmp_path):
    data = noise("uint8", (3, 21, 50))
    ratio = (1, 2, 2) if version == "0.5" else None
    position = image_of(tmp_path / "i.zarr", version, data, chunks=(2, 8, 16), shards_ratio=ratio)
    position.compute_pyramid(5)
    images = [position[str(k)] for k in range(5)]
    assert [i.shape for i in images] == [(3, 21, 50), (2, 11, 25), (1, 6, 13), (1, 3, 7), (1, 2, 4)]
    assert [i.chunks for i in images] == [(2, 8, 16), (2, 8, 16), (1, 6, 13), (1, 3, 7), (1, 2, 4)]
    if version == "0.5":
        assert [i.shards for i in images] == [(2, 16, 32), (2, 16, 32), (1, 6, 13), (1, 3, 7), (1, 2, 4)]
    assert {i.dtype for i in images} == {np.dtype("uint8")}
    codecs = [(i.compressors, i.fill_value) for i in images]
    assert codecs == [codecs[0]] * 5


def test_a_dimension_that_reached_one_stops_and_its_scale_stays(version, tmp_path):
    position = image_of(tmp_path / "i.zarr", version, noise("uint8", (3, 9, 40)))
    position.compute_pyramid(5)
    assert [position.get_effective_scale(str(k)) for k in range(5)] == [
        [1.0, 1.0, 1.0],
        [2.0, 2.0, 2.0],
        [4.0, 4.0, 4.0],
        [4.0, 8.0, 8.0],
        [4.0, 16.0, 16.0],
    ]
    shifts = [[(s - 1) / 2 for s in position.get_effective_scale(str(k))] for k in range(5)]
    assert [position.get_effective_translation(str(k)) for k in range(5)] == shifts


@pytest.mark.parametrize("method", ["mean", "median", "mode", "min", "max"])
def test_pooled_levels_are_shifted_by_half_a_pixel(method, version, tmp_path):
    position, _ = small(tmp_path / "i.zarr", version)
    position.set_scale("0", "y", 0.5)
    position.compute_pyramid(3, method, factors=[(1, 2, 3), (1, 2, 1)])
    assert position.get_effective_scale("2") == [1.0, 2.0, 3.0]
    assert position.get_effective_translation("1") == [0.0, 0.25, 1.0]
    assert position.get_effective_translation("2") == [0.0, 0.75, 1.0]


def test_strided_levels_are_not_shifted(version, tmp_path):
    position, data = small(tmp_path / "i.zarr", version)
    position.compute_pyramid(3, "stride")
    assert position.get_effective_translation("2") == [0.0, 0.0, 0.0]
    np.testing.assert_array_equal(position["2"].numpy(), data[:, ::4, ::4])
    for dataset in multiscales(tmp_path / "i.zarr")["datasets"]:
        assert [step["type"] for step in dataset["coordinateTransformations"]] == ["scale"]


def test_transformations_of_the_position_and_of_level_0_are_composed(version, tmp_path):
    position = new_position(tmp_path / "i.zarr", version, "ZYX")
    steps = [*scale(2.0, 0.5, 0.25), translation(1.0, 3.0, 5.0)]
    position.create_image("0", noise("uint8", (4, 8, 8)), transform=steps)
    position.set_transform("*", [*scale(10.0, 2.0, 4.0), translation(7.0, 0.0, 1.0)])
    position.compute_pyramid(2)
    assert position.get_effective_scale("1") == [40.0, 2.0, 2.0]
    # Level 0 begins at (1, 3, 5); the middle of two pixels is half a pixel further: (2, 3.25, 5.125).
    assert position.get_effective_translation("1") == [27.0, 6.5, 21.5]


def test_the_document_names_method_and_version(version, tmp_path):
    position, _ = small(tmp_path / "i.zarr", version)
    position.compute_pyramid(3, "median")
    entry = multiscales(tmp_path / "i.zarr")
    assert entry["type"] == "median"
    assert entry["metadata"]["version"] == ps.__version__
    assert entry["metadata"]["method"]
    assert entry["metadata"]["kwargs"]["method"] == "median"
    assert "platestore" not in entry["metadata"], "no mark is left"
    position.compute_pyramid(method="max")
    assert multiscales(tmp_path / "i.zarr")["type"] == "max"
    position.delete_pyramid()
    assert multiscales(tmp_path / "i.zarr").get("type") != "max"


def test_metadata_of_others_in_the_multiscales_stay(version, tmp_path):
    small(tmp_path / "i.zarr", version)
    edit(
        tmp_path / "i.zarr",
        lambda content: content["multiscales"][0].update(metadata={"lab": [1, 2]}, extra="theirs"),
    )
    for act in (
        lambda p: p.compute_pyramid(2),
        lambda p: p.compute_pyramid(),
        lambda p: p.delete_pyramid(),
        lambda p: p.initialize_pyramid(3),
        lambda p: p.compute_pyramid(),
    ):
        act(ps.open_ome_zarr(tmp_path / "i.zarr", mode="r+"))
        entry = multiscales(tmp_path / "i.zarr")
        assert entry["metadata"]["lab"] == [1, 2]
        assert entry["extra"] == "theirs"


@pytest.mark.parametrize("shape", [(1, 600, 300), (1, 256, 256), (3, 257, 10), (1, 1, 1025)])
def test_auto_goes_on_until_y_and_x_are_small(shape, version, tmp_path):
    position = new_position(tmp_path / "i.zarr", version, "ZYX")
    position.create_zeros("0", shape, "uint8", chunks=(1, 256, 256))
    position.compute_pyramid("auto")
    shapes = [image.shape for _, image in position.images()]
    assert all(max(s[1:]) > 256 for s in shapes[:-1])
    assert max(shapes[-1][1:]) <= 256
    position.compute_pyramid("auto")
    assert len(position) == len(shapes)


@pytest.mark.parametrize("levels", [1, np.int64(1)])
def test_one_level_does_nothing(levels, version, tmp_path):
    position, _ = small(tmp_path / "i.zarr", version)
    before = snapshot(tmp_path / "i.zarr")
    position.compute_pyramid(levels)
    position.initialize_pyramid(levels)
    position.delete_pyramid()
    assert snapshot(tmp_path / "i.zarr") == before


@pytest.mark.parametrize("dims", ["x", ["x"], ("y", "X"), ["Z", "y"]])
def test_dims_say_which_axes_shrink(dims, version, tmp_path):
    data = noise("uint16", (4, 8, 8))
    position = image_of(tmp_path / "i.zarr", version, data)
    position.compute_pyramid(3, dims=dims)
    step = tuple(2 if name in [d.lower() for d in dims] else 1 for name in "zyx")
    assert_levels(tmp_path / "i.zarr", data, [step, step])


def test_factors_may_be_named_or_in_order_and_differ_per_step(version, tmp_path):
    data = noise("uint16", (4, 30, 24))
    position = image_of(tmp_path / "i.zarr", version, data)
    position.compute_pyramid(4, factors=[{"Y": 3}, (2, 1, 4), {"z": 2, "x": 2}])
    assert_levels(tmp_path / "i.zarr", data, [(1, 3, 1), (2, 1, 4), (2, 1, 2)])


def test_a_time_axis_may_shrink_where_factors_say_so(version, tmp_path):
    data = noise("uint16", (5, 1, 1, 8, 8))
    position = image_of(tmp_path / "i.zarr", version, data)
    position.compute_pyramid(2, factors=[{"t": 2, "x": 2}])
    assert_levels(tmp_path / "i.zarr", data, [(2, 1, 1, 1, 2)])


# --- recomputing ----------------------------------------------------------------------------------


def test_recomputing_takes_the_new_pixels(version, tmp_path):
    position, _ = small(tmp_path / "i.zarr", version)
    position.compute_pyramid(3)
    data = noise("uint16", (1, 20, 26), seed=9)
    position["0"][...] = data
    ps.open_ome_zarr(tmp_path / "i.zarr", mode="r+").compute_pyramid()
    assert_levels(tmp_path / "i.zarr", data, [HALF, HALF])
    position.compute_pyramid(3, "min")
    assert_levels(tmp_path / "i.zarr", data, [HALF, HALF], "min")
    assert not hidden(tmp_path)


def test_recomputing_keeps_factors_that_are_not_given(version, tmp_path):
    position, data = small(tmp_path / "i.zarr", version)
    steps = [(1, 3, 2), (1, 1, 5)]
    position.compute_pyramid(3, factors=steps)
    for arguments in ({}, {"levels": 3}, {"factors": steps, "levels": 3}):
        position.compute_pyramid(**arguments)
        assert_levels(tmp_path / "i.zarr", data, steps)


def test_changed_method_goes_over_to_other_offsets(version, tmp_path):
    position, data = small(tmp_path / "i.zarr", version)
    position.compute_pyramid(3, "stride")
    position.compute_pyramid(method="mean")
    assert position.get_effective_translation("2") == [0.0, 1.5, 1.5]
    assert_levels(tmp_path / "i.zarr", data, [HALF, HALF])
    position.compute_pyramid(method="stride")
    assert position.get_effective_translation("2") == [0.0, 0.0, 0.0]


def test_attributes_of_level_arrays_survive(version, tmp_path):
    position, _ = small(tmp_path / "i.zarr", version)
    position.compute_pyramid(3)
    for k in range(3):
        position[str(k)].attrs["lab"] = k
    position.compute_pyramid(method="max")
    again = ps.open_ome_zarr(tmp_path / "i.zarr", mode="r+")
    assert [dict(again[str(k)].attrs) for k in range(3)] == [{"lab": 0}, {"lab": 1}, {"lab": 2}]


def test_an_array_that_was_open_before_reads_the_new_pixels(version, tmp_path):
    position, _ = small(tmp_path / "i.zarr", version)
    position.compute_pyramid(2)
    image = position["1"]
    image.numpy()
    position["0"][...] = 7
    position.compute_pyramid()
    assert (image.numpy() == 7).all()


def test_an_exact_copy_of_a_dimension_of_one_is_recomputed(version, tmp_path):
    """Scales of others often stay at the factor although a dimension of 1 cannot shrink."""
    data = noise("uint16", (1, 16, 16))
    foreign_image(
        tmp_path / "i.zarr", version, {"0": {"data": data}, "1": {"shape": (1, 8, 8), "dtype": "uint16"}}
    )
    edit(
        tmp_path / "i.zarr",
        lambda c: c["multiscales"][0]["datasets"][1].update(
            coordinateTransformations=[{"type": "scale", "scale": [2.0, 2.0, 2.0]}]
        ),
    )
    ps.open_ome_zarr(tmp_path / "i.zarr", mode="r+").compute_pyramid()
    assert_levels(tmp_path / "i.zarr", data, [HALF])


# --- foreign names, arrays and images -------------------------------------------------------------


@pytest.mark.parametrize(
    "names", [["s0", "s1", "s2"], ["scale0/image", "scale1/image", "scale2/image"], ["2", "1", "0"]]
)
def test_names_come_from_the_metadata(names, version, tmp_path):
    data = noise("uint16", (1, 20, 26))
    expected = cascade(data, [HALF, HALF], "mean")
    arrays: dict[str, Any] = {names[0]: {"data": data, "chunks": (1, 8, 8)}}
    for name, level in zip(names[1:], expected, strict=True):
        arrays[name] = {"shape": level.shape, "dtype": "uint16", "chunks": (1, 8, 8)}
    path = tmp_path / "i.zarr"
    foreign_image(path, version, arrays)
    for name in names:  # groups in between
        if "/" in name:
            zarr.open_group(path / name.partition("/")[0], mode="a", zarr_format=2 if version == "0.4" else 3)
    position = ps.open_ome_zarr(path, mode="r+")
    position.compute_pyramid()
    assert list(stored(path)) == names
    assert_levels(path, data, [HALF, HALF])
    position.delete_pyramid()
    assert [d["path"] for d in multiscales(path)["datasets"]] == names[:1]
    position.compute_pyramid(3)
    assert_levels(path, data, [HALF, HALF])
    assert next(iter(stored(path))) == names[0]


def test_arrays_and_groups_that_nothing_lists_survive(version, tmp_path):
    position, data = small(tmp_path / "i.zarr", version)
    path = tmp_path / "i.zarr"
    theirs = noise("float32", (3, 3))
    foreign_array(path / "1", version, theirs)
    zarr.open_group(path / "tables", mode="a", zarr_format=2 if version == "0.4" else 3)
    before = {name: snapshot(path / name) for name in ("1", "tables")}
    position.compute_pyramid(3)
    assert_levels(path, data, [HALF, HALF])
    position.compute_pyramid()
    position.delete_pyramid()
    position.initialize_pyramid(3)
    position.compute_pyramid()
    assert_levels(path, data, [HALF, HALF])
    position.delete_pyramid()
    assert {name: snapshot(path / name) for name in before} == before
    np.testing.assert_array_equal(zarr.open_array(path / "1", mode="r")[...], theirs)


def test_a_second_image_in_the_position_is_left_alone(version, tmp_path):
    position, data = small(tmp_path / "i.zarr", version)
    path = tmp_path / "i.zarr"
    other = {"1": noise("uint8", (1, 8, 8)), "2": noise("uint8", (1, 4, 4))}
    for name, pixels in other.items():
        foreign_array(path / name, version, pixels)

    def change(content: dict[str, Any]) -> None:
        first = content["multiscales"][0]
        datasets = [
            {"path": name, "coordinateTransformations": [{"type": "scale", "scale": [1.0, k, k]}]}
            for name, k in (("1", 1.0), ("2", 2.0))
        ]
        content["multiscales"].append({**first, "name": "other", "datasets": datasets})

    edit(path, change)
    before, entry = {n: snapshot(path / n) for n in other}, multiscales(path, 1)
    position = ps.open_ome_zarr(path, mode="r+")
    for act in (
        lambda: position.compute_pyramid(3),
        lambda: position.compute_pyramid(),
        lambda: position.delete_pyramid(),
    ):
        act()
        assert multiscales(path, 1) == entry
        assert {n: snapshot(path / n) for n in other} == before
    position.compute_pyramid(2)
    names = [d["path"] for d in multiscales(path)["datasets"]]
    assert len(names) == 2
    np.testing.assert_array_equal(stored(path, names)[names[1]], cascade(data, [HALF], "mean")[0])


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"levels": 0}, "0"),
        ({"levels": -1}, "-1"),
        ({"levels": 2.5}, "2.5"),
        ({"levels": True}, "True"),
        ({"levels": "many"}, "many"),
        ({"levels": 1000}, "1000"),
        ({"levels": 3, "method": "average"}, "average"),
        ({"levels": 3, "dims": ["q"]}, "q"),
        ({"levels": 3, "dims": []}, "dims"),
        ({"levels": 3, "factors": [(1, 2, 2)]}, "factors"),
        ({"levels": 2, "factors": [(1, 2)]}, "factors"),
        ({"levels": 2, "factors": [(1, 2, 0)]}, "0"),
        ({"levels": 2, "factors": [(1, 2, 1.5)]}, "1.5"),
        ({"levels": 2, "factors": [{"q": 2}]}, "q"),
        ({"levels": 2, "factors": ["zyx"]}, "zyx"),
        ({"levels": 2, "factors": [(1, 2, 2)], "dims": ["x"]}, "dims"),
        ({"levels": 2, "workers": 0}, "workers"),
        ({"levels": 2, "workers": 1.5}, "workers"),
        ({"levels": 2, "max_memory": "lots"}, "lots"),
        ({"levels": 2, "max_memory": -5}, "max_memory"),
        ({"levels": 2, "max_memory": 1000}, "max_memory"),
        ({}, "levels="),
        ({"region": np.s_[:, :4], "levels": 2}, "levels"),
    ],
)
def test_wrong_arguments_are_refused_and_change_nothing(arguments, names, version, tmp_path):
    position, _ = small(tmp_path / "i.zarr", version)
    with refused(ps.ArgumentError, ValueError, tree=tmp_path / "i.zarr", names=names):
        position.compute_pyramid(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"levels": 2},
        {"levels": 4},
        {"levels": 1},
        {"levels": "auto"},
        {"factors": [(1, 3, 2), (1, 2, 2)]},
        {"dims": ["x"]},
        {"levels": 4, "region": np.s_[:]},
        {"region": np.s_[:, 3:3]},
        {"region": np.s_[:, ::2]},
        {"region": np.s_[0, 0, 0, 0]},
        {"region": "x"},
        {"region": np.s_[:, 40:50]},
        {"region": (0, 77)},
    ],
)
def test_levels_that_are_not_those_that_exist_are_refused(arguments, version, tmp_path):
    position, _ = small(tmp_path / "i.zarr", version)
    position.compute_pyramid(3)
    with refused(
        (ps.ArgumentError, IndexError), (ValueError, IndexError), tree=tmp_path / "i.zarr", names=False
    ):
        position.compute_pyramid(**arguments)


def test_levels_that_exist_in_another_number_cannot_be_initialised(version, tmp_path):
    position, _ = small(tmp_path / "i.zarr", version)
    position.compute_pyramid(3)
    with refused(ps.ArgumentError, ValueError, tree=tmp_path / "i.zarr", names="3 levels"):
        position.initialize_pyramid(2)
    before = snapshot(tmp_path / "i.zarr")
    position.initialize_pyramid(3)
    assert snapshot(tmp_path / "i.zarr") == before


def test_a_position_without_an_image_has_no_level_0(version, tmp_path):
    position = new_position(tmp_path / "i.zarr", version)
    for act in (
        lambda: position.compute_pyramid(2),
        lambda: position.initialize_pyramid(2),
        lambda: position.delete_pyramid(),
    ):
        with refused(ps.ArgumentError, ValueError, tree=tmp_path / "i.zarr"):
            act()


def test_level_0_that_is_listed_but_absent_is_an_error(version, tmp_path):
    position, _ = small(tmp_path / "i.zarr", version)
    shutil.rmtree(tmp_path / "i.zarr" / "0")
    for act in (lambda: position.compute_pyramid(2), lambda: position.initialize_pyramid(2)):
        with refused(ps.InvalidMetadataError, ValueError, tree=tmp_path / "i.zarr"):
            act()


def test_levels_that_are_no_pyramid_are_refused(version, tmp_path):
    arrays = {"0": {"shape": (1, 20, 20), "dtype": "uint8"}, "1": {"shape": (1, 19, 20), "dtype": "uint8"}}
    foreign_image(tmp_path / "i.zarr", version, arrays)
    position = ps.open_ome_zarr(tmp_path / "i.zarr", mode="r+")
    with refused(ps.InvalidMetadataError, ValueError, tree=tmp_path / "i.zarr"):
        position.compute_pyramid()
    position.delete_pyramid()
    position.compute_pyramid(2)


def test_types_that_cannot_be_reduced_are_refused(version, tmp_path):
    foreign_image(tmp_path / "i.zarr", version, {"0": {"shape": (1, 20, 20), "dtype": "complex64"}})
    position = ps.open_ome_zarr(tmp_path / "i.zarr", mode="r+")
    with refused(ps.ArgumentError, ValueError, tree=tmp_path / "i.zarr", names="complex64"):
        position.compute_pyramid(2)


def test_a_read_only_position_is_refused(version, tmp_path):
    position, _ = small(tmp_path / "i.zarr", version)
    position.compute_pyramid(2)
    reader = ps.open_ome_zarr(tmp_path / "i.zarr", mode="r")
    for act in (
        lambda: reader.compute_pyramid(2),
        lambda: reader.initialize_pyramid(2),
        lambda: reader.delete_pyramid(),
    ):
        with refused(ps.ReadOnlyError, PermissionError, tree=tmp_path / "i.zarr"):
            act()


# --- damaged and absent chunks --------------------------------------------------------------------


def _chunk_files(path: Path) -> list[Path]:
    documents = ("zarr.json", ".zarray", ".zattrs")
    return sorted(p for p in path.rglob("*") if p.is_file() and p.name not in documents)


_DAMAGE = {
    "empty": lambda p: p.write_bytes(b""),
    "cut": lambda p: p.write_bytes(p.read_bytes()[: p.stat().st_size // 2]),
    "few bytes": lambda p: p.write_bytes(p.read_bytes()[:3]),
    "zeros": lambda p: p.write_bytes(bytes(p.stat().st_size)),
    "longer": lambda p: p.write_bytes(p.read_bytes() + b"more"),
}


@pytest.mark.parametrize("compressor", ["blosc-lz4", "zstd", "gzip", "none"])
@pytest.mark.parametrize("damage", ["empty", "cut", "few bytes", "zeros", "longer"])
@pytest.mark.parametrize("existing", [False, True])
def test_a_damaged_chunk_of_level_0_is_named_and_nothing_is_lost(
    existing, damage, compressor, version, tmp_path
):
    if compressor == "none" and damage == "zeros":
        pytest.skip("any bytes are pixels")
    if compressor in ("zstd", "gzip") and damage == "longer":
        pytest.skip("these formats may be followed by more")
    position, _ = small(tmp_path / "i.zarr", version, compressor=compressor)
    if existing:
        position.compute_pyramid(3)
    damaged = _chunk_files(tmp_path / "i.zarr" / "0")[5]
    _DAMAGE[damage](damaged)
    with refused(ps.DamagedChunkError, OSError, tree=tmp_path / "i.zarr", names=damaged):
        position.compute_pyramid(3, workers=2)
    assert not hidden(tmp_path)


@pytest.mark.parametrize("damage", ["empty", "cut", "few bytes", "longer"])
@pytest.mark.parametrize("existing", [False, True])
def test_a_damaged_shard_of_level_0_is_named_and_nothing_is_lost(existing, damage, tmp_path):
    position, _ = small(tmp_path / "i.zarr", "0.5", shards_ratio=(1, 2, 2))
    if existing:
        position.compute_pyramid(3)
    damaged = _chunk_files(tmp_path / "i.zarr" / "0")[1]
    _DAMAGE[damage](damaged)
    with refused(ps.DamagedChunkError, OSError, tree=tmp_path / "i.zarr", names=damaged):
        position.compute_pyramid(3)
    assert not hidden(tmp_path)


def test_a_damaged_chunk_inside_a_shard_with_checksums_is_named(tmp_path):
    position, _ = small(tmp_path / "i.zarr", "0.5", shards_ratio=(1, 2, 2), checksum=True)
    damaged = _chunk_files(tmp_path / "i.zarr" / "0")[0]
    content = bytearray(damaged.read_bytes())
    content[40] ^= 1
    damaged.write_bytes(content)
    with refused(ps.DamagedChunkError, OSError, tree=tmp_path / "i.zarr", names=damaged):
        position.compute_pyramid(3)


@pytest.mark.parametrize("ratio", [None, (1, 2, 2)])
def test_an_absent_chunk_is_the_fill_value_or_an_error_where_that_is_asked_for(ratio, version, tmp_path):
    if ratio and version == "0.4":
        pytest.skip("0.4 has no shards")
    position, data = small(tmp_path / "i.zarr", version, shards_ratio=ratio)
    absent = _chunk_files(tmp_path / "i.zarr" / "0")[0]
    absent.unlink()
    unit = (16, 16) if ratio else (8, 8)
    data[:, : unit[0], : unit[1]] = 0
    careful = ps.open_ome_zarr(tmp_path / "i.zarr", mode="r+", missing="raise")
    with refused(ps.MissingChunkError, FileNotFoundError, tree=tmp_path / "i.zarr", names=absent):
        careful.compute_pyramid(3)
    position.compute_pyramid(3)
    assert_levels(tmp_path / "i.zarr", data, [HALF, HALF])


def test_levels_made_under_missing_raise_have_all_their_chunks(version, tmp_path):
    path = tmp_path / "i.zarr"
    small(path, version)
    position = ps.open_ome_zarr(path, mode="r+", missing="raise")
    position["0"][...] = 0
    position.compute_pyramid(3)
    careful = ps.open_ome_zarr(path, mode="r", missing="raise")
    assert not careful["1"].numpy().any()
    assert not careful["2"].numpy().any()


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("after", [0, 3, 7])
def test_a_full_disk_half_way_is_an_error_and_changes_nothing(
    after, existing, workers, version, tmp_path, monkeypatch
):
    ratio = (1, 2, 1) if version == "0.5" else None
    position, _ = small(tmp_path / "i.zarr", version, shards_ratio=ratio)
    if existing:
        position.compute_pyramid(3)
    before = snapshot(tmp_path / "i.zarr")
    real, count = os.write, 0

    def write(descriptor: int, data: Any) -> int:
        nonlocal count
        if os.readlink(f"/proc/self/fd/{descriptor}").startswith(str(tmp_path)):
            count += 1
            if count > after:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError) as caught:
        position.compute_pyramid(3, workers=workers)
    monkeypatch.undo()
    assert caught.value.errno == errno.ENOSPC
    assert snapshot(tmp_path / "i.zarr") == before
    position.compute_pyramid(3, workers=workers)
    assert not hidden(tmp_path)


# --- initialised levels ---------------------------------------------------------------------------


def test_initialised_levels_are_marked_zero_and_filled_in_place(version, tmp_path):
    position, data = small(tmp_path / "i.zarr", version)
    path = tmp_path / "i.zarr"
    position.initialize_pyramid(3, factors=[(1, 2, 2), (1, 3, 1)])
    assert marks(path)["incomplete"] == ["1", "2"]
    found = stored(path)
    assert [found[k].shape for k in found] == [(1, 20, 26), (1, 10, 13), (1, 4, 13)]
    assert not found["1"].any()
    assert not found["2"].any()
    assert position.get_effective_scale("2") == [1.0, 6.0, 2.0]
    inode = (path / "1").stat().st_ino
    position.compute_pyramid()
    assert_levels(path, data, [(1, 2, 2), (1, 3, 1)])
    assert (path / "1").stat().st_ino == inode, "in place"
    assert not marks(path)


def test_an_interrupted_filling_stays_marked_until_it_is_done(version, tmp_path, monkeypatch):
    position, data = small(tmp_path / "i.zarr", version)
    position.initialize_pyramid(3)

    def fail(self: Any, *args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(PyramidBuild, "run", fail)
    with pytest.raises(KeyboardInterrupt):
        position.compute_pyramid()
    assert marks(tmp_path / "i.zarr")["incomplete"] == ["1", "2"]
    with pytest.raises(KeyboardInterrupt):
        position.compute_pyramid(region=np.s_[:])
    assert marks(tmp_path / "i.zarr")["incomplete"] == ["1", "2"]
    monkeypatch.undo()
    position.compute_pyramid(method="max")
    assert not marks(tmp_path / "i.zarr")
    assert_levels(tmp_path / "i.zarr", data, [HALF, HALF], "max")
    assert multiscales(tmp_path / "i.zarr")["type"] == "max"


def test_initialised_levels_filled_by_stride_have_no_offset(version, tmp_path):
    position, data = small(tmp_path / "i.zarr", version)
    position.initialize_pyramid(3)
    position.compute_pyramid(method="stride")
    assert position.get_effective_translation("2") == [0.0, 0.0, 0.0]
    assert_levels(tmp_path / "i.zarr", data, [HALF, HALF], "stride")


def test_initialised_levels_can_be_deleted(version, tmp_path):
    position, _ = small(tmp_path / "i.zarr", version)
    before = stored(tmp_path / "i.zarr")["0"]
    position.initialize_pyramid("auto", dims=["x"])
    position.initialize_pyramid(4)
    position.delete_pyramid()
    assert list(position) == ["0"]
    assert not marks(tmp_path / "i.zarr")
    np.testing.assert_array_equal(stored(tmp_path / "i.zarr")["0"], before)


# --- regions --------------------------------------------------------------------------------------


@st.composite
def _regions(draw):
    shape = tuple(draw(st.integers(1, n)) for n in (3, 30, 40))
    box = []
    for n in shape:
        start = draw(st.integers(0, n - 1))
        box.append((start, draw(st.integers(start + 1, n))))
    return {
        "shape": shape,
        "box": box,
        "version": draw(st.sampled_from(["0.4", "0.5"])),
        "chunks": tuple(min(n, draw(st.integers(2, 9))) for n in shape),
        "ratio": draw(st.none() | st.tuples(*[st.integers(1, 3)] * 3)),
        "steps": draw(st.lists(st.tuples(*[st.integers(1, 3)] * 3), min_size=1, max_size=3)),
        "method": draw(st.sampled_from(["mean", "median", "mode", "min", "max", "stride"])),
        "zero": draw(st.booleans()),
        "workers": draw(st.integers(1, 2)),
    }


@settings(deadline=None, max_examples=examples(60))
@given(recipe=_regions())
def test_a_region_is_made_anew_as_if_all_were(recipe):
    data = noise("uint16", recipe["shape"])
    ratio = recipe["ratio"] if recipe["version"] == "0.5" else None
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "i.zarr")
        position = image_of(path, recipe["version"], data, chunks=recipe["chunks"], shards_ratio=ratio)
        position.compute_pyramid(len(recipe["steps"]) + 1, recipe["method"], factors=recipe["steps"])
        box = tuple(slice(*b) for b in recipe["box"])
        data[box] = 0 if recipe["zero"] else noise("uint16", data[box].shape, seed=1)
        position["0"][...] = data
        position.compute_pyramid(method=recipe["method"], region=box, workers=recipe["workers"])
        found = list(stored(path).values())[1:]
        steps, current = [], data.shape
        for step in recipe["steps"]:
            steps.append(tuple(1 if n == 1 else f for n, f in zip(current, step, strict=True)))
            current = tuple(-(-n // f) for n, f in zip(current, step, strict=True))
        for got, level in zip(found, quick_cascade(data, steps, recipe["method"]), strict=True):
            np.testing.assert_array_equal(got, level)
        assert not marks(path)
        assert not hidden(path)


@pytest.mark.parametrize(
    "region",
    [
        0,
        -1,
        np.s_[...],
        np.s_[:],
        np.s_[0, 3],
        np.s_[..., -5:],
        np.s_[0, -4:-1, 7],
        (slice(None), slice(2, 100)),
    ],
)
def test_a_region_is_any_index_of_integers_and_slices(region, version, tmp_path):
    position, data = small(tmp_path / "i.zarr", version)
    position.compute_pyramid(3)
    data[region] += 1000
    position["0"][...] = data
    position.compute_pyramid(region=region)
    assert_levels(tmp_path / "i.zarr", data, [HALF, HALF])


def test_what_lies_far_from_the_region_is_not_written(version, tmp_path):
    position = new_position(tmp_path / "i.zarr", version, "ZYX")
    position.create_zeros("0", (1, 8192, 4096), "uint8", chunks=(1, 512, 512))
    position["0"][0, ::512, ::512] = 255
    position.compute_pyramid(3, "max")
    files = [p for k in "12" for p in _chunk_files(tmp_path / "i.zarr" / k)]
    before = {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in files}
    position["0"][0, 9, 9] = 7
    position.compute_pyramid(method="max", region=np.s_[0, 9, 9])
    changed = [p for p in files if (p.stat().st_ino, p.stat().st_mtime_ns) != before[p]]
    assert 2 <= len(changed) < len(files) / 2
    assert position["1"][0, 4, 4] == position["2"][0, 2, 2] == 7


def test_a_region_with_another_method_does_not_mix_levels(version, tmp_path):
    """Either it is refused, or the region is made by the method that the levels were made with."""
    position, data = small(tmp_path / "i.zarr", version)
    position.compute_pyramid(3, "median")
    for arguments in ({}, {"method": "max"}):
        data[0, 3, 4] += 1
        position["0"][...] = data
        try:
            position.compute_pyramid(region=np.s_[0, 3, 4], **arguments)
        except ps.ArgumentError:
            position.compute_pyramid(region=np.s_[0, 3, 4], method="median")
        method = multiscales(tmp_path / "i.zarr")["type"]
        assert_levels(tmp_path / "i.zarr", data, [HALF, HALF], method)


def test_an_interrupted_region_is_marked_and_the_next_call_finishes_it_too(version, tmp_path, monkeypatch):
    position, data = small(tmp_path / "i.zarr", version)
    position.compute_pyramid(3)
    data[0, :4, :4] = 1
    data[0, 12:, 20:] = 2
    position["0"][...] = data

    def fail(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(level_making, "make_levels", fail)
    with pytest.raises(KeyboardInterrupt):
        position.compute_pyramid(region=np.s_[0, :4, :4])
    assert marks(tmp_path / "i.zarr")["regions"] == [[[0, 1], [0, 4], [0, 4]]]
    monkeypatch.undo()
    ps.open_ome_zarr(tmp_path / "i.zarr", mode="r+").compute_pyramid(region=np.s_[0, 12:, 20:])
    assert not marks(tmp_path / "i.zarr")
    assert_levels(tmp_path / "i.zarr", data, [HALF, HALF])


def test_recomputing_everything_finishes_an_interrupted_region(version, tmp_path, monkeypatch):
    position, data = small(tmp_path / "i.zarr", version)
    position.compute_pyramid(3)
    data[0, :4, :4] = 1
    position["0"][...] = data

    def fail(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(level_making, "make_levels", fail)
    with pytest.raises(KeyboardInterrupt):
        position.compute_pyramid(region=np.s_[0, :4, :4])
    monkeypatch.undo()
    position.compute_pyramid()
    assert not marks(tmp_path / "i.zarr")
    assert_levels(tmp_path / "i.zarr", data, [HALF, HALF])


def test_a_damaged_chunk_keeps_the_mark_of_a_region(version, tmp_path):
    position, data = small(tmp_path / "i.zarr", version)
    position.compute_pyramid(3)
    damaged = _chunk_files(tmp_path / "i.zarr" / "0")[0]
    damaged.write_bytes(b"")
    with pytest.raises(ps.DamagedChunkError, match="0"):
        position.compute_pyramid(region=np.s_[0, :4, :4])
    assert marks(tmp_path / "i.zarr")["regions"]
    position["0"][...] = data
    position.compute_pyramid()
    assert not marks(tmp_path / "i.zarr")
    assert_levels(tmp_path / "i.zarr", data, [HALF, HALF])


# --- labels ---------------------------------------------------------------------------------------


def labelled(path: Path, version: str, levels: int | None = None) -> tuple[Any, np.ndarray, np.ndarray]:
    """A position of two channels, with labels that the channels have in common."""
    data = noise("uint16", (2, 4, 20, 26))
    position = image_of(path, version, data, "CZYX", chunks=(1, 2, 8, 8))
    if levels:
        position.compute_pyramid(levels)
    cells = (noise("uint16", (1, 4, 20, 26), seed=3) % 5).astype("uint32")
    position.create_label("cells", cells, chunks=(1, 4, 16, 16))
    return position, data, cells


def test_levels_of_labels_follow(version, tmp_path):
    path = tmp_path / "i.zarr"
    position, data, cells = labelled(path, version)
    steps = [(1, 2, 2, 2), (1, 1, 3, 2)]
    position.compute_pyramid(3, "max", factors=steps)
    assert_levels(path, data, steps, "max")
    assert_levels(path / "labels" / "cells", cells, steps, "mode")
    assert multiscales(path / "labels" / "cells")["type"] == "mode"
    label = position.get_label("cells")
    assert [label.get_effective_scale(n) for n in label] == [
        position.get_effective_scale(n) for n in position
    ]
    position["0"][...] = data[:, ::-1]
    label["0"][...] = cells[:, ::-1]
    position.compute_pyramid()
    assert_levels(path, data[:, ::-1], steps)
    assert_levels(path / "labels" / "cells", cells[:, ::-1], steps, "mode")
    position.delete_pyramid()
    assert len(position) == len(position.get_label("cells")) == 1
    position.initialize_pyramid(2)
    assert len(position) == len(position.get_label("cells")) == 2
    assert marks(path)
    assert marks(path / "labels" / "cells")
    position.compute_pyramid()
    assert not marks(path)
    assert not marks(path / "labels" / "cells")
    assert_levels(path / "labels" / "cells", cells[:, ::-1], [(1, 2, 2, 2)], "mode")


def test_regions_of_labels_follow(version, tmp_path):
    path = tmp_path / "i.zarr"
    position, data, cells = labelled(path, version, levels=3)
    data[1, 1:3, 5:9, 5:9] = 3
    cells[0, 1:3, 5:9, 5:9] = 4
    position["0"][...] = data
    position.get_label("cells")["0"][...] = cells
    position.compute_pyramid(region=np.s_[1, 1:3, 5:9, 5:9])
    steps = [(1, 2, 2, 2)] * 2
    assert_levels(path, data, steps)
    assert_levels(path / "labels" / "cells", cells, steps, "mode")


def test_dimensions_of_one_of_labels_stay(version, tmp_path):
    path = tmp_path / "i.zarr"
    data = noise("uint16", (2, 4, 16, 16))
    position = image_of(path, version, data, "CZYX")
    cells = (noise("uint16", (1, 1, 16, 16)) % 7).astype("uint8")
    position.create_label("cells", cells)
    position.compute_pyramid(3)
    assert_levels(path / "labels" / "cells", cells, [(1, 1, 2, 2)] * 2, "mode")
    label = position.get_label("cells")
    assert label.get_effective_scale("2") == [1.0, 1.0, 4.0, 4.0]
    label["0"][0, 0, 3, 3] = 9
    cells[0, 0, 3, 3] = 9
    position.compute_pyramid(region=np.s_[:, 2, 3, 3])
    assert_levels(path / "labels" / "cells", cells, [(1, 1, 2, 2)] * 2, "mode")


@pytest.mark.parametrize("by", ["compute_pyramid", "initialize_pyramid"])
def test_labels_with_other_levels_do_not_block_the_image_and_stay(version, tmp_path, by):
    path = tmp_path / "i.zarr"
    position, _, cells = labelled(path, version)
    position.create_label("fine", cells, pyramid_levels=2)
    before = snapshot(path / "labels" / "fine")
    with pytest.warns(ps.StoreWarning, match="fine: its levels are left as they are"):
        getattr(position, by)(3)
    assert len(position) == len(position.get_label("cells")) == 3
    assert snapshot(path / "labels" / "fine") == before
    with pytest.warns(ps.StoreWarning, match="fine"):
        position.compute_pyramid()
    position.delete_pyramid()
    position.compute_pyramid(2)
    assert len(position) == len(position.get_label("cells")) == len(position.get_label("fine")) == 2


def test_a_budget_too_small_for_the_labels_is_refused_before_anything_is_written(version, tmp_path):
    path = tmp_path / "i.zarr"
    position = image_of(path, version, noise("uint8", (1, 512, 512)), chunks=(1, 32, 32))
    position.create_label("cells", np.ones((1, 512, 512), "uint64"), chunks=(1, 512, 512))
    budget = 9 * 2**20
    with refused(ps.BudgetError, ValueError, tree=path, names="max_memory"):
        position.compute_pyramid(2, max_memory=budget)


def test_damaged_labels_leave_as_many_levels_as_the_image_has(version, tmp_path):
    path = tmp_path / "i.zarr"
    position, _, _ = labelled(path, version)
    damaged = _chunk_files(path / "labels" / "cells" / "0")[-1]
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1])
    with pytest.raises(ps.DamagedChunkError) as caught:
        position.compute_pyramid(3)
    assert str(damaged) in str(caught.value)
    position = ps.open_ome_zarr(path, mode="r+")
    assert len(position) == len(position.get_label("cells")), "the level counts must stay equal"
    damaged.write_bytes(content)
    position.compute_pyramid(3)
    assert len(position) == len(position.get_label("cells")) == 3


def test_a_label_image_computes_its_own_levels_by_mode(version, tmp_path):
    path = tmp_path / "i.zarr"
    position, _, cells = labelled(path, version, levels=3)
    label = position.get_label("cells")
    cells[0, 0, :5] = 2
    label["0"][...] = cells
    label.compute_pyramid()
    assert_levels(path / "labels" / "cells", cells, [(1, 2, 2, 2)] * 2, "mode")
    assert len(position) == 3


# --- creating an image with its levels ------------------------------------------------------------


def _reversed(data: np.ndarray) -> np.ndarray:
    return data[:, ::-1, ::-1]


_ARRAYS = {
    "C order": lambda d: d,
    "F order": np.asfortranarray,
    "reversed": lambda d: _reversed(_reversed(d).copy()),
    "transposed": lambda d: d.transpose(2, 0, 1).copy().transpose(1, 2, 0),
    "strided": lambda d: np.repeat(d, 2, axis=2)[:, :, ::2],
    "big endian": lambda d: d.astype(d.dtype.newbyteorder(">")),
    "read only": lambda d: np.broadcast_to(d, d.shape),
    "list": lambda d: d.tolist(),
    "dask": lambda d: dask.array.from_array(d, chunks=(1, 7, 9)),
}


@pytest.mark.parametrize("kind", _ARRAYS)
@pytest.mark.parametrize("sharded", [False, True])
def test_an_image_is_created_with_its_levels_from_any_array(kind, sharded, version, tmp_path):
    if sharded and version == "0.4":
        pytest.skip("0.4 has no shards")
    data = noise("int64" if kind == "list" else "uint16", (3, 21, 26))
    position = new_position(tmp_path / "i.zarr", version, "ZYX")
    image = position.create_image(
        "0",
        _ARRAYS[kind](data),
        chunks=(2, 8, 8),
        shards_ratio=(1, 2, 2) if sharded else None,
        pyramid_levels=3,
    )
    np.testing.assert_array_equal(image.numpy(), data)
    assert_levels(tmp_path / "i.zarr", data, [(2, 2, 2)] * 2)
    assert multiscales(tmp_path / "i.zarr")["type"] == "mean"
    assert not hidden(tmp_path)


def test_what_is_created_is_what_is_computed_later(version, tmp_path):
    data = noise("uint16", (3, 21, 26))
    for name in ("one", "two"):
        position = new_position(tmp_path / name, version, "ZYX")
        steps = [*scale(2.0, 0.5, 0.5), translation(1.0, 2.0, 3.0)]
        arguments: dict[str, Any] = {"chunks": (2, 8, 8), "transform": steps}
        if name == "one":
            position.create_image("0", data, **arguments, pyramid_levels=3, pyramid_method="max")
        else:
            position.create_image("0", data, **arguments)
            position.compute_pyramid(3, "max")
    one, two = multiscales(tmp_path / "one"), multiscales(tmp_path / "two")
    for entry in (one, two):
        entry.pop("name", None)
    assert one == two
    for k in "012":
        assert snapshot(tmp_path / "one" / k) == snapshot(tmp_path / "two" / k)


def test_auto_and_factors_of_a_new_image(version, tmp_path):
    position = new_position(tmp_path / "a.zarr", version, "ZYX")
    position.create_image("0", noise("uint8", (1, 600, 300)), pyramid_levels="auto")
    assert [i.shape for _, i in position.images()] == [(1, 600, 300), (1, 300, 150), (1, 150, 75)]
    data = noise("uint8", (4, 10, 12))
    position = new_position(tmp_path / "b.zarr", version, "ZYX")
    position.create_image("0", data, pyramid_levels=2, pyramid_factors=[{"x": 3}], pyramid_method="min")
    assert_levels(tmp_path / "b.zarr", data, [(1, 1, 3)], "min")
    position = new_position(tmp_path / "c.zarr", version, "ZYX")
    position.create_image("0", data, pyramid_levels=1)
    assert list(position) == ["0"]


def test_replacing_an_image_replaces_its_levels(version, tmp_path):
    path = tmp_path / "i.zarr"
    small(path, version)[0].compute_pyramid(4)
    position = ps.open_ome_zarr(path, mode="r+", overwriting_creation=True)
    data = noise("uint16", (1, 30, 12), seed=5)
    position.create_image("0", data, pyramid_levels=3)
    assert list(position) == ["0", "1", "2"]
    assert_levels(path, data, [HALF, HALF])
    assert not (path / "3").exists()
    assert position.get_effective_scale("2") == [1.0, 4.0, 4.0]


@pytest.mark.parametrize(
    "arguments",
    [
        {"pyramid_levels": 0},
        {"pyramid_levels": "many"},
        {"pyramid_levels": 3, "pyramid_method": "average"},
        {"pyramid_levels": 3, "pyramid_factors": [(1, 2, 2)]},
        {"pyramid_levels": 2, "pyramid_factors": [{"q": 2}]},
    ],
)
def test_a_new_image_with_wrong_levels_leaves_nothing_behind(arguments, version, tmp_path):
    position = new_position(tmp_path / "i.zarr", version, "ZYX")
    with refused(ps.ArgumentError, ValueError, tree=tmp_path / "i.zarr", names=False):
        position.create_image("0", noise("uint8", (1, 20, 20)), **arguments)


def test_a_method_or_factors_without_levels_are_refused_or_harmless(version, tmp_path):
    position = new_position(tmp_path / "i.zarr", version, "ZYX")
    with (
        ps.config.using(max_memory=1000),
        refused(ps.BudgetError, ValueError, tree=tmp_path / "i.zarr", names="max_memory"),
    ):
        position.create_image("0", noise("uint8", (1, 20, 20)), pyramid_levels=2)


def test_a_new_image_whose_data_fail_leaves_nothing_behind(version, tmp_path):
    def fail(block: Any) -> Any:
        raise RuntimeError("no data")

    position = new_position(tmp_path / "i.zarr", version, "ZYX")
    before = snapshot(tmp_path / "i.zarr")
    lazy = dask.array.zeros((1, 20, 20), dtype="uint8", chunks=10).map_blocks(
        fail, dtype="uint8", meta=np.empty((0, 0, 0), "uint8")
    )
    with pytest.raises(RuntimeError, match="no data"):
        position.create_image("0", lazy, pyramid_levels=2)
    assert snapshot(tmp_path / "i.zarr") == before


def test_a_level_array_that_is_listed_elsewhere_is_not_replaced(version, tmp_path):
    position = new_position(tmp_path / "i.zarr", version, "ZYX")
    theirs = noise("uint8", (2, 2))
    foreign_array(tmp_path / "i.zarr" / "1", version, theirs)
    data = noise("uint8", (1, 20, 20))
    position.create_image("0", data, pyramid_levels=2)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "i.zarr" / "1", mode="r")[...], theirs)
    found = stored(tmp_path / "i.zarr")
    assert len(found) == 2
    assert "1" not in found
    assert "omero" not in attributes(tmp_path / "i.zarr") or position.channel_names


def test_several_positions_of_a_plate_have_pyramids_of_their_own(version, tmp_path):
    plate = ps.open_ome_zarr(
        tmp_path / "p.zarr", layout="hcs", mode="w-", channel_names=["a"], version=version
    )
    for number, position in enumerate(plate.create_positions([("A", "1", "0"), ("B", "2", "0")])):
        position.create_image("0", noise("uint16", (1, 1, 1, 16, 16), seed=number))
        position.compute_pyramid(2 + number)
    again = ps.open_ome_zarr(tmp_path / "p.zarr")
    assert [len(position) for _, position in again.positions()] == [2, 3]
