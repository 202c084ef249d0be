"""``import_stack``: from planes and arrays to images and positions of plates."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stack_cases import assert_levels, cascade, noise, tree, write_planes

import platestore as ps
from conftest import examples
from platestore import stacks

STEP = (2, 2, 2)
SIZE = {"voxel_size": (2.0, 0.5, 0.25)}


def planes(array):
    """A dask array with one chunk per plane."""
    return da.from_array(array, chunks=(*(1,) * (array.ndim - 2), *array.shape[-2:]))


# --- arrays ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dask", "numpy", "zarr", "zarr path"])
def test_an_array_becomes_an_image_with_levels(tmp_path, kind, version):
    data = noise((19, 70, 61))
    stored = zarr.create_array(tmp_path / "z.zarr", data=data, chunks=(1, 70, 61)) if "zarr" in kind else None
    given = {"dask": planes(data), "numpy": data, "zarr": stored, "zarr path": tmp_path / "z.zarr"}[kind]
    position = stacks.import_stack(
        given, tmp_path / "o.zarr", levels=3, version=version, chunks=(4, 16, 16), **SIZE
    )
    assert_levels(position, cascade(data, [STEP] * 2))
    assert position.axis_names == ["t", "c", "z", "y", "x"]
    assert [axis.unit for axis in position.axes] == ["second", None, "micrometer", "micrometer", "micrometer"]
    assert position.scale == [1.0, 1.0, 2.0, 0.5, 0.25]
    assert position.get_effective_translation("1") == [0.0, 0.0, 1.0, 0.25, 0.125]
    assert position.metadata.multiscales[0].name == "o"
    assert position.metadata.multiscales[0].type == "mean"
    assert position.version == version
    assert (position["0"].shards is None) == (version == "0.4")
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "z.zarr") == ["o.zarr"]


@pytest.mark.parametrize("shape", [(2, 9, 20, 21), (3, 2, 9, 20, 21)])
def test_channels_and_time(tmp_path, shape):
    data = noise(shape)
    names = ["DAPI", "GFP"]
    position = stacks.import_stack(planes(data), tmp_path / "o.zarr", levels=2, channel_name=names, **SIZE)
    steps = [(*(1,) * (len(shape) - 3), 2, 2, 2)]
    assert_levels(position, cascade(data, steps))
    assert position.channel_names == names


@pytest.mark.parametrize("method", ["mode", "median", "min", "max", "stride"])
def test_methods(tmp_path, method):
    data = noise((9, 21, 17), high=5)
    position = stacks.import_stack(data, tmp_path / "o.zarr", levels=3, method=method, **SIZE)
    assert_levels(position, cascade(data, [STEP] * 2, method))
    image = position.metadata.multiscales[0]
    assert (image.type, image.metadata["kwargs"]["method"]) == (method, method)
    assert any(t.type == "translation" for t in image.datasets[1].coordinate_transformations) == (
        method != "stride"
    )


def test_gaussian_is_that_of_a_pyramid_made_later(tmp_path):
    data = noise((21, 40, 37))
    position = stacks.import_stack(planes(data), tmp_path / "o.zarr", levels=3, method="gaussian", **SIZE)
    other = ps.open_ome_zarr(tmp_path / "p.zarr", layout="fov", mode="w-", channel_names=["a"], version="0.5")
    other.create_image("0", data[None, None])
    other.compute_pyramid(3, "gaussian")
    assert_levels(position, [array[0, 0] for _, array in other.images()])
    prepared = stacks.plan(
        planes(data), tmp_path / "q.zarr", levels=3, method="gaussian", chunks=(4, 16, 16), jobs=3, **SIZE
    )
    assert (len(prepared.jobs), prepared.levels_of_jobs) == (3, 1)
    for job in prepared.jobs:
        prepared.run(job.index)
    assert_levels(prepared.finish(), [array[0, 0] for _, array in other.images()])


def test_automatic_levels_and_layout(tmp_path):
    data = np.zeros((3, 600, 520), "uint8")
    for version, chunks, shards in [
        ("0.4", (1, 1, 3, 600, 520), None),
        ("0.5", (1, 1, 3, 512, 512), (1, 1, 3, 1024, 1024)),
    ]:
        position = stacks.import_stack(data, tmp_path / f"{version}.zarr", version=version, **SIZE)
        assert [array.shape[2:] for _, array in position.images()] == [
            (3, 600, 520),
            (2, 300, 260),
            (1, 150, 130),
        ]
        assert (position["0"].chunks, position["0"].shards) == (chunks, shards)


@pytest.mark.parametrize(
    ("shape", "dtype", "budget", "chunks", "shards"),
    [
        ((1, 1, 500, 2048, 2048), "uint16", 2**30, (1, 1, 32, 128, 128), (1, 1, 32, 2048, 2048)),
        ((1, 1, 500, 1024, 1024), "uint8", 2**30, (1, 1, 64, 128, 128), (1, 1, 64, 1024, 1024)),
        ((1, 1, 500, 1024, 1024), "uint16", 2**26, (1, 1, 8, 256, 256), (1, 1, 8, 1024, 1024)),
        ((1, 1, 7, 60000, 50000), "uint16", 2**30, (1, 1, 1, 1024, 1024), (1, 1, 1, 10240, 50176)),
        ((1, 1, 1, 100, 100), "float32", 2**30, (1, 1, 1, 100, 100), (1, 1, 1, 100, 100)),
    ],
)
def test_default_chunks_are_thin_enough_for_the_memory_and_shards_at_most_a_gib(
    shape, dtype, budget, chunks, shards
):
    from platestore.stacks.layouts import plan_levels

    found = plan_levels(
        shape, dtype, "TCZYX", 3, levels="auto", chunks=None, shards=None, compressor=None, max_memory=budget
    ).levels[0]
    assert (found.chunks, found.shards) == (chunks, shards)
    assert found.unit_nbytes <= 2**30
    assert chunks[2] * shape[3] * shape[4] * np.dtype(dtype).itemsize <= budget / 4 or chunks[2] == 1


@pytest.mark.parametrize(
    ("options", "chunks", "shards"),
    [
        ({"chunks": (2, 8, 8), "version": "0.5"}, (1, 1, 2, 8, 8), (1, 1, 2, 24, 24)),
        ({"chunks": (2, 8, 8)}, (1, 1, 2, 8, 8), None),
        ({"chunks": (1, 1, 2, 8, 8), "shards": "ZYX"}, (1, 1, 2, 8, 8), (1, 1, 10, 24, 24)),
        ({"chunks": (2, 8, 8), "shards": (4, 8, 16)}, (1, 1, 2, 8, 8), (1, 1, 4, 8, 16)),
        ({"chunks": (2, 8, 8), "shards": "none"}, (1, 1, 2, 8, 8), None),
        ({"shards": "none"}, (1, 1, 9, 20, 21), None),
        ({"chunks": (2, 8, 8), "shards": "1kB"}, (1, 1, 2, 8, 8), (1, 1, 2, 8, 24)),
    ],
)
def test_layouts_that_are_asked_for(tmp_path, options, chunks, shards):
    data = noise((9, 20, 21))
    position = stacks.import_stack(
        planes(data), tmp_path / "o.zarr", levels=2, compressor="zstd:1", **options, **SIZE
    )
    assert (position["0"].chunks, position["0"].shards) == (chunks, shards)
    assert_levels(position, cascade(data, [STEP]))
    assert "Zstd" in str(position["0"].compressors)


@settings(
    max_examples=examples(20), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    shape=st.tuples(st.integers(1, 23), st.integers(1, 19), st.integers(1, 17)),
    chunks=st.tuples(*[st.integers(1, 7)] * 3),
    levels=st.integers(1, 4),
    jobs=st.integers(1, 5),
    budget=st.sampled_from(["20MiB", "1GiB"]),
)
def test_every_voxel_of_every_level_whatever_the_blocks(
    tmp_path_factory, shape, chunks, levels, jobs, budget
):
    data = noise(shape, high=65536)
    levels = min(levels, 1 + (max(shape) - 1).bit_length())  # there are no more
    out = tmp_path_factory.mktemp("s") / "o.zarr"
    wishes = {"levels": levels, "chunks": chunks, "max_memory": budget, **SIZE}
    prepared = stacks.plan(planes(data), out, jobs=jobs, **wishes)
    assert 1 <= len(prepared.jobs) <= jobs
    for job in reversed(prepared.jobs):
        prepared.run(job.index, max_memory=budget)
    position = prepared.finish(max_memory=budget)
    steps, current = [], shape
    for _ in range(levels - 1):
        steps.append(tuple(1 if n == 1 else 2 for n in current))
        current = tuple(-(-n // f) for n, f in zip(current, steps[-1], strict=True))
    expected = cascade(data, steps)
    assert_levels(position, expected)
    whole = stacks.import_stack(data, out.with_name("w.zarr"), **wishes)
    assert_levels(whole, expected)


def test_a_stack_of_one_pass_is_the_same_to_the_byte_with_one_worker(tmp_path):
    data = noise((24, 40, 33))
    for name, budget in (("a", "16MiB"), ("b", "1GiB")):
        wishes = {"levels": 3, "chunks": (4, 16, 16), "name": "s", "workers": 1, "max_memory": budget, **SIZE}
        stacks.import_stack(planes(data), tmp_path / name, **wishes)
    for (name, one), (_, other) in zip(
        tree(tmp_path / "a").items(), tree(tmp_path / "b").items(), strict=True
    ):
        assert len(one) == len(other), name


def test_progress_reaches_the_end(tmp_path):
    told = []
    data = noise((24, 40, 33))
    stacks.import_stack(
        planes(data),
        tmp_path / "o.zarr",
        block=8,
        chunks=(4, 16, 16),
        levels=2,
        progress=lambda done, total: told.append((done, total)),
        **SIZE,
    )
    assert told[-1] == (data.nbytes, data.nbytes)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


# --- plates ---------------------------------------------------------------------------------------


@pytest.fixture
def plate(tmp_path, version):
    return ps.open_ome_zarr(
        tmp_path / "p.zarr", layout="hcs", mode="w-", channel_names=["DAPI", "GFP"], version=version
    )


def test_a_position_of_a_plate(plate, tmp_path):
    data = noise((9, 20, 21))
    for name in ("B/2/0", "B/2/1", "C/5/0"):
        position = stacks.import_stack(
            planes(data), tmp_path / "p.zarr" / name, levels=2, channel_name="GFP", **SIZE
        )
        assert_levels(position, cascade(data, [STEP]))
    assert [name for name, _ in plate.refresh().positions()] == ["B/2/0", "B/2/1", "C/5/0"]
    assert plate["B/2/0"].channel_names == ["GFP"]
    assert plate["B/2/0"].version == plate.version
    assert not [p for p in (tmp_path / "p.zarr").iterdir() if "importing" in p.name]
    two = noise((2, 9, 20, 21))
    position = stacks.import_stack(two, tmp_path / "p.zarr" / "D/1/0", levels=1, **SIZE)
    assert position.channel_names == ["DAPI", "GFP"]


def test_a_position_that_is_there_without_an_image(plate, tmp_path):
    position = plate.create_position("B", "2", "0")
    position.zattrs["mine"] = 1
    data = noise((2, 9, 20, 21))
    got = stacks.import_stack(planes(data), tmp_path / "p.zarr" / "B/2/0", levels=2, **SIZE)
    assert_levels(got, cascade(data, [(1, 2, 2, 2)]))
    assert got.zattrs["mine"] == 1
    assert got.channel_names == ["DAPI", "GFP"]
    again = plate.refresh()["B/2/0"]
    assert again.metadata.omero.channels[0].window["max"] == 65535
    assert_levels(again, cascade(data, [(1, 2, 2, 2)]))
    assert [name for name, _ in plate.positions()] == ["B/2/0"]


def test_what_a_plate_refuses(plate, tmp_path):
    data = noise((9, 20, 21))
    root = tmp_path / "p.zarr"
    before = tree(root)
    with pytest.raises(ps.ArgumentError, match="the store 2: DAPI, GFP"):
        stacks.import_stack(data, root / "B/2/0", **SIZE)
    with pytest.raises(ps.ArgumentError, match="no channel 'RFP'"):
        stacks.import_stack(data, root / "B/2/0", channel_name="RFP", **SIZE)
    with pytest.raises(ps.ArgumentError, match="measured in micrometer"):
        stacks.import_stack(data, root / "B/2/0", channel_name="GFP", spatial_unit="nanometer", **SIZE)
    other = "0.5" if plate.version == "0.4" else "0.4"
    with pytest.raises(ps.ArgumentError, match=f"OME-NGFF {plate.version}"):
        stacks.import_stack(data, root / "B/2/0", channel_name="GFP", version=other, **SIZE)
    for wrong in ("B", "B/2", "B/2/0/0"):
        with pytest.raises(ps.ArgumentError, match="no position"):
            stacks.import_stack(data, root / wrong, channel_name="GFP", **SIZE)
    with pytest.raises(ps.InvalidNameError):
        stacks.import_stack(data, root / "B/2-/0", channel_name="GFP", **SIZE)
    assert tree(root) == before
    stacks.import_stack(data, root / "B/2/0", channel_name="GFP", levels=1, **SIZE)
    for options in ({}, {"overwrite": True}):
        with pytest.raises(ps.NodeExistsError, match="holds an image"):
            stacks.import_stack(data, root / "B/2/0", channel_name="GFP", **options, **SIZE)


# --- what is there already ------------------------------------------------------------------------


def test_an_image_that_is_there_is_replaced_only_if_that_is_wanted(tmp_path):
    first, second = noise((5, 20, 21)), noise((6, 22, 21), seed=1)
    stacks.import_stack(first, tmp_path / "o.zarr", levels=2, **SIZE)
    with pytest.raises(ps.NodeExistsError, match="overwrite=True"):
        stacks.import_stack(second, tmp_path / "o.zarr", **SIZE)
    with pytest.raises(ps.ArgumentError, match="resume continues"):
        stacks.import_stack(second, tmp_path / "o.zarr", overwrite=True, resume=True, **SIZE)
    position = stacks.import_stack(second, tmp_path / "o.zarr", levels=1, overwrite=True, **SIZE)
    assert_levels(position, [second])
    assert [p.name for p in tmp_path.iterdir()] == ["o.zarr"]


def test_what_is_no_store_is_not_replaced(tmp_path):
    (tmp_path / "o.zarr").mkdir()
    (tmp_path / "o.zarr" / "thesis.txt").write_text("years")
    for options in ({}, {"overwrite": True}):
        with pytest.raises((ps.UnsafeTargetError, ps.InvalidMetadataError, ps.NodeNotFoundError)):
            stacks.import_stack(noise((3, 4, 5)), tmp_path / "o.zarr", **options, **SIZE)
    assert (tmp_path / "o.zarr" / "thesis.txt").read_text() == "years"
    (tmp_path / "q.zarr.importing").mkdir()
    (tmp_path / "q.zarr.importing" / "thesis.txt").write_text("years")
    with pytest.raises(ps.UnsafeTargetError, match="no import left"):
        stacks.import_stack(noise((3, 4, 5)), tmp_path / "q.zarr", **SIZE)
    (tmp_path / "r.zarr.importing").write_text("years")
    with pytest.raises(ps.UnsafeTargetError, match="no directory"):
        stacks.import_stack(noise((3, 4, 5)), tmp_path / "r.zarr", **SIZE)


def test_an_empty_image_is_filled(tmp_path):
    ps.open_ome_zarr(tmp_path / "o.zarr", layout="fov", mode="w-", channel_names=["a"], version="0.5")
    data = noise((5, 20, 21))
    position = stacks.import_stack(data, tmp_path / "o.zarr", levels=2, **SIZE)
    assert_levels(position, cascade(data, [STEP]))
    assert position.channel_names == ["a"]
    assert [p.name for p in tmp_path.iterdir()] == ["o.zarr"]


def test_what_is_read_is_not_written(tmp_path):
    folder = write_planes(tmp_path / "o.zarr", noise((3, 8, 8)))
    with pytest.raises((ps.UnsafeTargetError, ps.NodeNotFoundError, ps.InvalidMetadataError)):
        stacks.import_stack(folder, tmp_path / "o.zarr", overwrite=True, **SIZE)
    source = stacks.import_stack(noise((3, 8, 8)), tmp_path / "s.zarr", levels=1, **SIZE)
    for out in (tmp_path / "s.zarr", tmp_path / "s.zarr" / "0" / "x.zarr"):
        with pytest.raises((ps.UnsafeTargetError, ps.ArgumentError)):
            stacks.import_stack(tmp_path / "s.zarr" / "0", out, overwrite=True, **SIZE)
    assert_levels(source, [noise((3, 8, 8))])


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"voxel_size": (1, 1)}, "3 values"),
        ({"voxel_size": (1, -1, 1)}, "positive"),
        ({"spatial_unit": "furlong"}, "micrometer"),
        ({"levels": 0}, "levels must be"),
        ({"levels": "many"}, "levels must be"),
        ({"method": "best"}, "no such method"),
        ({"version": "0.3"}, "0.3"),
        ({"chunks": (0, 4, 4)}, "1 or more"),
        ({"chunks": (1, 1, 1, 1, 4, 4)}, "6 values"),
        ({"chunks": (2, 8, 8), "shards": (3, 8, 8)}, "no multiple"),
        ({"version": "0.4", "shards": "1GB"}, "no shards"),
        ({"compressor": "best"}, "best"),
        ({"channel_name": ["a", "b"]}, "1 channels"),
        ({"channel_name": ""}, "non-empty"),
        ({"name": 3}, "name must be"),
        ({"max_memory": "little"}, "max_memory"),
        ({"max_memory": 1000}, "too small"),
        ({"block": 3, "chunks": (2, 8, 8)}, "nearest that do not have 2 or 4 planes"),
        ({"block": 1, "chunks": (2, 8, 8)}, "nearest that do not have 2 planes"),
        ({"block": 0}, "block must be"),
        ({"block": [(0, 4), (4, 5), (5, 9)], "chunks": (2, 8, 8)}, "4 or 6 are the nearest"),
        ({"block": [(0, 4), (2, 9)], "chunks": (2, 8, 8)}, "overlaps the one before it, which ends at 4"),
        ({"block": [(0, 4), (6, 9)], "chunks": (2, 8, 8)}, "no block has the planes 4:6"),
        ({"block": [(0, 4)], "chunks": (2, 8, 8)}, "no block has the planes 4:9"),
        ({"block": [(0, 10)], "chunks": (2, 8, 8)}, "0:10 is no part of the planes 0:9"),
        ({"block": [(4, 4)], "chunks": (2, 8, 8)}, "no part"),
        ({"block": ["x"]}, "pairs of start and stop"),
    ],
)
def test_wrong_arguments_leave_nothing_behind(tmp_path, options, text):
    with pytest.raises(ValueError, match=text):
        stacks.import_stack(noise((9, 20, 21)), tmp_path / "o.zarr", **{**SIZE, **options})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "data",
    [
        np.zeros((4, 4), "uint8"),
        np.zeros((1, 1, 1, 1, 4, 4), "uint8"),
        np.zeros((0, 4, 4), "uint8"),
        np.zeros((4, 4, 4), "complex64"),
        object(),
        17,
        [],
    ],
)
def test_what_is_no_stack(tmp_path, data):
    with pytest.raises(ps.ArgumentError):
        stacks.import_stack(data, tmp_path / "o.zarr", **SIZE)
    assert list(tmp_path.iterdir()) == []


def test_destinations_that_cannot_be(tmp_path):
    data = noise((3, 4, 5))
    with pytest.raises(ps.UnsupportedError, match="platestore copy"):
        stacks.import_stack(data, tmp_path / "o.ozx", **SIZE)
    with pytest.raises(ps.UnsupportedError, match="URL"):
        stacks.import_stack(data, "s3://bucket/o.zarr", **SIZE)
    with pytest.raises(ps.ArgumentError, match="no path"):
        stacks.import_stack(data, "", **SIZE)


def test_memory_is_told_before(tmp_path):
    data = da.zeros((200, 512, 512), dtype="uint16", chunks=(1, 512, 512))
    assert stacks.estimate_memory(data, max_memory="40MiB") <= 40 * 2**20
    with pytest.raises(ps.BudgetError) as caught:
        stacks.estimate_memory(data, chunks=(128, 256, 256), max_memory="20MiB")
    needed = caught.value.needed
    assert stacks.estimate_memory(data, chunks=(128, 256, 256), max_memory=needed) <= needed
    dry = stacks.plan(data, tmp_path / "o.zarr", dry_run=True, max_memory="40MiB", **SIZE)
    assert dry.memory <= 40 * 2**20
    assert list(tmp_path.iterdir()) == []


# --- TIFF -----------------------------------------------------------------------------------------

pytest.importorskip("tifffile")
KINDS = {
    "raw": {},
    "big-endian": {"byteorder": ">"},
    "strips": {"rowsperstrip": 10},
    "zlib": {"compression": "zlib", "rowsperstrip": 16, "predictor": True},
    "zlib, big-endian": {"compression": "zlib", "byteorder": ">"},
    "tiles": {"compression": "zlib", "tile": (32, 48)},
    "raw tiles": {"tile": (32, 48)},
}


@pytest.mark.parametrize("kind", KINDS)
def test_planes_of_all_kinds_of_files(tmp_path, kind):
    data = noise((9, 100, 133))
    write_planes(tmp_path / "planes", data, **KINDS[kind])
    position = stacks.import_stack(
        tmp_path / "planes", tmp_path / "o.zarr", levels=2, chunks=(4, 32, 32), **SIZE
    )
    assert_levels(position, cascade(data, [STEP]))
    source = stacks.PlanesSource.open(tmp_path / "planes")
    source = stacks.PlanesSource.from_json(json.loads(json.dumps(source.to_json())))
    box = (slice(2, 7), slice(17, 61), slice(5, 120))
    for workers in (1, 3):
        out = np.zeros([s.stop - s.start for s in box], "uint16")
        source.load(box, out, workers)
        np.testing.assert_array_equal(out, data[box])
        out = np.zeros((115, 44, 5), "uint16")
        source.load(box, out.T.transpose(0, 1, 2), workers)
        np.testing.assert_array_equal(out.T, data[box])
    assert source.loading_nbytes(2) > source.loading_nbytes(1) > 0


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "float32", "float64"])
def test_pixel_types(tmp_path, dtype):
    data = noise((3, 16, 24), dtype, high=2)
    write_planes(tmp_path / "planes", data)
    position = stacks.import_stack(tmp_path / "planes", tmp_path / "o.zarr", levels=1, **SIZE)
    assert_levels(position, [data])


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (12,)),
        ({"compression": "zlib"}, (12,)),
        ({"imagej": True}, (12,)),
        ({"bigtiff": True, "byteorder": ">"}, (12,)),
        ({"metadata": {"axes": "CZYX"}, "ome": True}, (3, 4)),
        ({"metadata": {"axes": "TCZYX"}, "ome": True}, (2, 3, 2)),
        ({"metadata": {"axes": "TZCYX"}, "imagej": True}, (2, 3, 2)),
    ],
)
def test_one_file_of_several_planes(tmp_path, options, shape):
    import tifffile

    data = noise((*shape, 20, 21))
    tifffile.imwrite(tmp_path / "m.tif", data, **options)
    if options.get("metadata", {}).get("axes") == "TZCYX":
        data = data.swapaxes(1, 2)
    position = stacks.import_stack(tmp_path / "m.tif", tmp_path / "o.zarr", levels=1, **SIZE)
    np.testing.assert_array_equal(position["0"][...].reshape(data.shape), data)


def test_names_in_the_order_of_their_numbers(tmp_path):
    data = noise((12, 8, 8))
    folder = write_planes(tmp_path / "planes", data, name="p{}.tif")
    (folder / "notes.txt").write_text("not a plane")
    (folder / ".hidden.tif").write_text("nor this")
    paths = sorted(folder.glob("p*.tif"))  # p0, p1, p10, p11, p2, ...
    ways = [
        folder,
        str(folder / "p*.tif"),
        paths,
        [str(p) for p in paths],
        [folder / "p?.tif", folder / "p1?.tif"],
    ]
    for k, given_planes in enumerate(ways):
        position = stacks.import_stack(given_planes, tmp_path / f"{k}.zarr", levels=1, **SIZE)
        assert_levels(position, [data])


@pytest.mark.parametrize(
    ("numbers", "missing"),
    [
        ([1, 2, 4], "p3.tif"),
        ([0, 1, 2, 5, 6], "p3.tif is missing, and 1 more"),
        ([0, 2, 4, 8], "p6.tif"),
        ([0, 2, 4, 6], None),
        ([3, 17, 90, 1000], None),
        ([5], None),
        ([1, 3], None),
    ],
)
def test_a_plane_that_is_missing_in_the_middle(tmp_path, numbers, missing):
    import tifffile

    for number in numbers:
        tifffile.imwrite(tmp_path / f"s1_p{number}.tif", np.full((4, 4), number, "uint16"))
    if missing is None:
        position = stacks.import_stack(tmp_path, tmp_path / "o.zarr", levels=1, **SIZE)
        assert position["0"][0, 0, :, 0, 0].tolist() == numbers
        return
    with pytest.raises(ps.ArgumentError, match=missing):
        stacks.import_stack(tmp_path, tmp_path / "o.zarr", **SIZE)
    assert not (tmp_path / "o.zarr.importing").exists()


def test_leading_zeros_are_kept_in_the_name_of_what_is_missing(tmp_path):
    folder = write_planes(tmp_path / "planes", noise((12, 8, 8)))
    (folder / "plane_0003.tif").unlink()
    with pytest.raises(ps.ArgumentError, match=r"plane_0003\.tif is missing"):
        stacks.import_stack(folder, tmp_path / "o.zarr", **SIZE)


def spoil(folder: Path, how: str) -> None:
    """Make one plane another thing than the others."""
    import tifffile

    path = folder / "plane_0005.tif"
    whole = path.read_bytes()
    if how == "shape":
        tifffile.imwrite(path, np.zeros((8, 9), "uint16"))
    elif how == "data type":
        tifffile.imwrite(path, np.zeros((8, 8), "int16"))
    elif how == "no TIFF":
        path.write_bytes(b"GIF89a")
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "several planes":
        tifffile.imwrite(path, np.zeros((2, 8, 8), "uint16"))
    elif how == "colours":
        tifffile.imwrite(path, np.zeros((8, 8, 3), "uint16"), photometric="rgb")
    elif how == "cut off":
        path.write_bytes(whole[:-20])


@pytest.mark.parametrize("how", ["shape", "data type", "no TIFF", "empty", "several planes", "colours"])
def test_a_plane_that_differs_is_named_before_anything_is_written(tmp_path, how):
    folder = write_planes(tmp_path / "planes", noise((9, 8, 8)))
    spoil(folder, how)
    with pytest.raises(ps.PlatestoreError) as caught:
        stacks.import_stack(folder, tmp_path / "o.zarr", **SIZE)
    assert "plane_0005.tif" in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["planes"]


@pytest.mark.parametrize("kind", ["raw", "zlib"])
def test_a_plane_that_is_cut_off_is_named_and_nothing_is_listed(tmp_path, kind):
    data = noise((9, 100, 133))
    folder = write_planes(tmp_path / "planes", data, **KINDS[kind])
    whole = (folder / "plane_0005.tif").read_bytes()
    (folder / "plane_0005.tif").write_bytes(whole[:-3000])
    with pytest.raises(ps.PlatestoreError) as caught:
        stacks.import_stack(folder, tmp_path / "o.zarr", levels=2, **SIZE)
    assert "plane_0005.tif" in str(caught.value)
    assert not (tmp_path / "o.zarr").exists()
    (folder / "plane_0005.tif").write_bytes(whole)
    with pytest.raises(ps.SourceChangedError, match=r"plane_0005\.tif"):
        stacks.import_stack(folder, tmp_path / "o.zarr", levels=2, resume=True, **SIZE)
    position = stacks.import_stack(folder, tmp_path / "o.zarr", levels=2, overwrite=True, **SIZE)
    assert_levels(position, cascade(data, [STEP]))


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        stacks.import_stack(tmp_path / "a.tif", tmp_path / "o.zarr", **SIZE)
    with pytest.raises(FileNotFoundError, match="no file matches"):
        stacks.import_stack(str(tmp_path / "*.tif"), tmp_path / "o.zarr", **SIZE)
    with pytest.raises(ps.ArgumentError, match=r"no \.tif"):
        stacks.import_stack(tmp_path, tmp_path / "o.zarr", **SIZE)
    folder = write_planes(tmp_path / "planes", noise((3, 8, 8)))
    with pytest.raises(ps.ArgumentError, match="more than once"):
        stacks.import_stack([folder, folder / "plane_0001.tif"], tmp_path / "o.zarr", **SIZE)


def test_without_tifffile_the_command_that_installs_it_is_named(tmp_path, monkeypatch):
    folder = write_planes(tmp_path / "planes", noise((3, 8, 8)))
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(ImportError, match=r"pip install 'platestore\[tiff\]'"):
        stacks.import_stack(folder, tmp_path / "o.zarr", **SIZE)
