"""``open_ome_zarr`` on zipped stores: everything that reads works, everything that writes is refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import platestore as ps
from conftest import make_plate
from nodes.store_helpers import pixels, refused
from platestore.cli import cli
from platestore.storage.archive import ArchiveStorage

PATHS = ["A/1/0", "A/2/0", "B/1/0"]


def pack(directory: Path, archive: Path) -> Path:
    """Pack a store as RFC-9 asks."""
    files = {p.relative_to(directory).as_posix(): p for p in directory.rglob("*") if p.is_file()}
    order = sorted(files, key=lambda key: (not key.endswith("zarr.json"), key.count("/"), key))
    with ArchiveStorage(str(archive)) as writer:
        for key in order:
            writer.write(key, files[key].read_bytes())
        writer.finish()
    return archive


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> tuple[Path, Path]:
    """A plate with a pyramid and labels, as a directory and as an archive; read only."""
    root = tmp_path_factory.mktemp("stores")
    plate = make_plate(root / "plate.zarr", "0.5")
    position = plate["A/1/0"]
    position["0"][...] = pixels(1, 2, 2, 8, 8)
    position.create_label("cells", np.arange(128, dtype="uint16").reshape(1, 1, 2, 8, 8))
    plate["A/2/0"].create_image("1", np.ones((1, 2, 2, 4, 4), "uint16"), shards=(1, 2, 2, 4, 4))
    plate["B/1/0"]["0"].attrs["own"] = {"a": [1]}
    return root / "plate.zarr", pack(root / "plate.zarr", root / "plate.ozx")


@pytest.fixture
def plate(stores):
    return ps.open_ome_zarr(stores[1])


# --- reading --------------------------------------------------------------------------------------


def test_a_plate_is_walked(plate, stores):
    other = ps.open_ome_zarr(stores[0])
    assert isinstance(plate, ps.Plate)
    assert plate.version == "0.5"
    assert plate.channel_names == ["DAPI", "GFP"]
    assert [path for path, _ in plate.positions()] == PATHS
    assert [path for path, _ in plate.wells()] == ["A/1", "A/2", "B/1"]
    assert plate.zattrs == other.zattrs
    assert plate.metadata == other.metadata
    assert sorted(plate.group_keys()) == ["A", "B"]
    for path in PATHS:
        np.testing.assert_array_equal(plate[path]["0"][...], other[path]["0"][...])


def test_every_node_opens_by_its_path(stores):
    for path, cls in {
        "": ps.Plate,
        "A": ps.Row,
        "A/1": ps.Well,
        "A/1/0": ps.Position,
        "A/1/0/labels": ps.LabelsGroup,
        "A/1/0/labels/cells": ps.LabelImage,
    }.items():
        node = ps.open_ome_zarr(f"{stores[1]}/{path}")
        assert type(node) is cls
        assert node.zgroup.read_only
        assert node.is_root()


def test_pixels_are_read_in_every_way(stores):
    position, other = (ps.open_ome_zarr(f"{store}/A/1/0") for store in reversed(stores))
    array, expected = position["0"], other["0"][...]
    np.testing.assert_array_equal(array.numpy(), expected)
    np.testing.assert_array_equal(array[0, 1, :, 2:5, ::3], expected[0, 1, :, 2:5, ::3])
    np.testing.assert_array_equal(array.oindex[0, :, 0, [1, 3], 2], expected[0, :, 0, [1, 3], 2].T)
    np.testing.assert_array_equal(array.dask_array().compute(), expected)
    np.testing.assert_array_equal(position.data[...], expected)
    assert array.shape == (1, 2, 2, 8, 8)


def test_shards_labels_and_attributes_are_read(plate, stores):
    other = ps.open_ome_zarr(stores[0])
    np.testing.assert_array_equal(plate["A/2/0"]["1"][0, 1], np.ones((2, 4, 4)))
    ((name, label),) = plate["A/1/0"].labels()
    assert name == "cells"
    np.testing.assert_array_equal(label["0"][...], other["A/1/0/labels/cells"]["0"][...])
    assert dict(plate["B/1/0"]["0"].attrs) == {"own": {"a": [1]}}


def test_a_chunk_that_was_never_packed_is_missing(stores, tmp_path):
    from platestore.storage.base import StorageOptions
    from platestore.storage.ozx import OzxStorage

    source = OzxStorage(str(stores[1]), StorageOptions())
    gone = next(key for key in source.entries if key.startswith("A/2/0/0/c"))
    with ArchiveStorage(str(tmp_path / "x.ozx")) as writer:
        for key in source.entries:
            if key != gone:
                writer.write(key, source.read(key))
        writer.finish()
    array = ps.open_ome_zarr(tmp_path / "x.ozx/A/2/0")["0"]
    assert 0 in array[...]
    array = ps.open_ome_zarr(tmp_path / "x.ozx/A/2/0", missing="raise")["0"]
    with pytest.raises(ps.MissingChunkError):
        array[...]


def test_positions_are_pickled(plate, stores):
    for node in (plate, plate["A/1/0"], plate["A/1"], plate["A/1/0/labels/cells"]):
        twin = pickle.loads(pickle.dumps(node))
        assert type(twin) is type(node)
        assert twin.zattrs == node.zattrs
    array = pickle.loads(pickle.dumps(plate["A/1/0"]["0"]))
    np.testing.assert_array_equal(array[...], plate["A/1/0"]["0"][...])


@pytest.mark.parametrize(("layout", "path"), [("hcs", ""), ("fov", "A/1/0"), ("tiled", "A/1/0")])
def test_a_layout_that_matches_is_taken(stores, layout, path):
    assert ps.open_ome_zarr(f"{stores[1]}/{path}", layout=layout)


def test_a_layout_that_does_not_match_is_refused(stores):
    with refused(ps.ArgumentError, ValueError, names=stores[1]):
        ps.open_ome_zarr(stores[1], layout="fov")


def test_what_is_not_in_the_archive_is_not_found(stores):
    for path in ("C/1/0", "A/1/0/0/c", "A/1/0/nothing"):
        with refused(ps.NodeNotFoundError, FileNotFoundError, names=f"{stores[1]}/{path}"):
            ps.open_ome_zarr(f"{stores[1]}/{path}")
    with pytest.raises(ps.ArgumentError, match="array"):
        ps.open_ome_zarr(f"{stores[1]}/A/1/0/0")


def test_a_single_position_is_packed_too(tmp_path):
    path = tmp_path / "image.zarr"
    position = ps.open_ome_zarr(path, layout="fov", mode="w-", channel_names=["a"], version="0.5")
    position.create_image("0", pixels(1, 1, 1, 4, 4))
    packed = ps.open_ome_zarr(pack(path, tmp_path / "IMAGE.OZX"))
    assert isinstance(packed, ps.Position)
    np.testing.assert_array_equal(packed["0"][...], pixels(1, 1, 1, 4, 4))


def test_a_directory_named_so_is_a_directory(tmp_path):
    make_plate(tmp_path / "plate.zarr", "0.5")
    (tmp_path / "plate.zarr").rename(tmp_path / "plate.ozx")
    plate = ps.open_ome_zarr(tmp_path / "plate.ozx", mode="r+")
    plate["A/1/0"]["0"][...] = 9
    assert (ps.open_ome_zarr(tmp_path / "plate.ozx/A/1/0")["0"][...] == 9).all()


# --- bad archives ---------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0, 100, -1, -30])
def test_an_archive_that_is_cut_off_is_refused(stores, tmp_path, keep):
    path = tmp_path / "x.ozx"
    path.write_bytes(stores[1].read_bytes()[:keep])
    with refused(ps.InvalidMetadataError, ValueError, tree=path):
        ps.open_ome_zarr(path)


def test_a_folder_around_the_store_is_named(stores, tmp_path):
    with ArchiveStorage(str(tmp_path / "x.ozx"), json_first=False) as writer:
        writer.write("plate.zarr/zarr.json", b"{}")
        writer.finish()
    with refused(ps.InvalidMetadataError, ValueError, names="'plate.zarr' wraps it"):
        ps.open_ome_zarr(tmp_path / "x.ozx")


def test_a_missing_archive_is_not_found(tmp_path):
    for path in ("x.ozx", "x.ozx/A/1/0"):
        with refused(ps.NodeNotFoundError, FileNotFoundError, names=tmp_path / path):
            ps.open_ome_zarr(tmp_path / path)


# --- writing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("inner", ["", "/A/1/0"])
@pytest.mark.parametrize("mode", ["r+", "a"])
def test_an_archive_is_not_opened_for_writing(stores, mode, inner):
    with refused(ps.ReadOnlyError, PermissionError, tree=stores[1]) as caught:
        ps.open_ome_zarr(f"{stores[1]}{inner}", mode=mode)
    assert "platestore copy" in caught.value.hint


@pytest.mark.parametrize("inner", ["", "/A/1/0"])
@pytest.mark.parametrize("mode", ["w", "w-"])
def test_an_archive_is_not_replaced(stores, mode, inner):
    with refused(ps.UnsupportedError, NotImplementedError, tree=stores[1]) as caught:
        ps.open_ome_zarr(f"{stores[1]}{inner}", layout="hcs", mode=mode, channel_names=["a"])
    assert "platestore copy" in caught.value.hint


@pytest.mark.parametrize("inner", ["", "/A/1/0"])
@pytest.mark.parametrize("mode", ["r+", "a", "w", "w-"])
def test_an_archive_is_not_created(tmp_path, mode, inner):
    path = f"{tmp_path}/new.ozx{inner}"
    with refused(ps.UnsupportedError, NotImplementedError, names=path) as caught:
        ps.open_ome_zarr(
            path, layout="fov", mode=mode, channel_names=["a"], version="0.5", disable_path_checking=True
        )
    assert "platestore copy" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


CHANGES = {
    "pixels": lambda p: p["A/1/0"]["0"].__setitem__(..., 5),
    "attributes": lambda p: p.zattrs.update(a=1),
    "array attributes": lambda p: p["A/1/0"]["0"].attrs.update(a=1),
    "position": lambda p: p.create_position("C", "1", "0"),
    "image": lambda p: p["A/1/0"].create_image("9", pixels(1, 2, 1, 4, 4)),
    "label": lambda p: p["A/1/0"].create_label("new", np.ones((1, 1, 2, 8, 8), "uint16")),
    "deletion": lambda p: p.__delitem__("A/1"),
    "rename": lambda p: p.rename_well("A/1", "C/1"),
    "channel": lambda p: p["A/1/0"].rename_channel("DAPI", "x"),
    "resize": lambda p: p["A/1/0"]["0"].resize((1, 2, 2, 4, 4)),
    "pyramid": lambda p: p["A/1/0"].compute_pyramid(2),
}


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_in_an_archive_is_changed(plate, stores, change):
    with refused(ps.ReadOnlyError, PermissionError, tree=stores[1]) as caught:
        CHANGES[change](plate)
    assert "zip archive" in str(caught.value)


# --- command line ---------------------------------------------------------------------------------


def run(*arguments: object) -> str:
    result = CliRunner().invoke(cli, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_info_tells_the_same_of_both(stores):
    both = [json.loads(run("info", "--json", "-v", store))[0] for store in stores]
    directory, archive = ({k: v for k, v in facts.items() if k != "path"} for facts in both)
    assert archive == directory
    assert archive["size"]["files"] > 10
    assert "3 positions" in run("info", "-v", stores[1])
    assert "position" in run("info", f"{stores[1]}/A/1/0")


def test_ls_lists_positions(stores):
    assert run("ls", stores[1]).split() == PATHS
    full = run("ls", "--full", stores[1]).split()
    assert full == [f"{stores[1]}/{path}" for path in PATHS]
    assert all(ps.open_ome_zarr(path) for path in full)
