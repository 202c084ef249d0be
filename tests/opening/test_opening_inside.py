"""A path inside a plate opens that node, and reads nothing of the plate."""

from __future__ import annotations

import json

import numpy as np
import pytest

import platestore as ps
from nodes.store_helpers import check_plate, group_document, pixels, stored_plate
from platestore.storage.local import LocalStorage

DOCUMENTS = {"zarr.json", ".zattrs", ".zgroup", ".zarray"}


@pytest.fixture
def read_keys(monkeypatch):
    """Absolute paths of the documents that the storage reads."""
    keys: list[str] = []
    original = LocalStorage.read

    def read(self, key):
        keys.append(f"{self.root}/{key}")
        return original(self, key)

    monkeypatch.setattr(LocalStorage, "read", read)
    return keys


@pytest.mark.parametrize("mode", ["r", "r+"])
def test_a_position_in_a_plate_is_read_alone(tmp_path, version, mode, read_keys):
    path = tmp_path / "plate.zarr"
    stored_plate(path, version)
    del read_keys[:]
    position = ps.open_ome_zarr(path / "A/2/0", mode=mode)
    assert position.channel_names == ["DAPI", "GFP"]
    assert position.scale == [1.0] * 5
    np.testing.assert_array_equal(position.data.numpy(), np.full((1, 2, 2, 8, 8), 2, "uint16"))
    assert read_keys
    outside = [key for key in read_keys if not key.startswith(f"{path}/A/2/0/")]
    assert outside == []


def test_a_position_opens_even_where_the_documents_above_it_are_broken(tmp_path, version):
    path = tmp_path / "plate.zarr"
    stored_plate(path, version)
    for above in (path, path / "A", path / "A/1"):
        group_document(above).write_text("{ broken")
    position = ps.open_ome_zarr(path / "A/1/0", mode="r+")
    position["0"][0, 0, 0] = 7
    position.rename_channel("GFP", "YFP")
    assert ps.open_ome_zarr(path / "A/1/0").channel_names == ["DAPI", "YFP"]


def test_a_well_in_a_plate_is_read_without_the_plate(tmp_path, version, read_keys):
    path = tmp_path / "plate.zarr"
    stored_plate(path, version)
    del read_keys[:]
    well = ps.open_ome_zarr(path / "A/1")
    assert [name for name, _ in well.positions()] == ["0"]
    assert well.channel_names == ["DAPI", "GFP"]
    assert [key for key in read_keys if not key.startswith(f"{path}/A/1/")] == []


def test_a_change_by_the_path_is_seen_through_the_plate(tmp_path, version):
    path = tmp_path / "plate.zarr"
    stored_plate(path, version)
    position = ps.open_ome_zarr(path / "A/1/0", mode="r+")
    position.create_image("raw", pixels(1, 2, 1, 4, 4))
    position.append_channel("Cy5")
    through = ps.open_ome_zarr(path)["A/1/0"]
    assert list(through) == ["0", "raw"]
    assert through.channel_names == ["DAPI", "GFP", "Cy5"]
    assert ps.open_ome_zarr(path)["A/2/0"].channel_names == ["DAPI", "GFP"]


def test_a_position_created_through_a_well_is_declared_by_the_plate(tmp_path, version):
    path = tmp_path / "plate.zarr"
    stored_plate(path, version)
    well = ps.open_ome_zarr(path / "A/1", mode="r+")
    well.create_position("1", acquisition=4)["0"] = pixels(1, 2, 1, 4, 4)
    meta = check_plate(path)
    assert 4 in [item["id"] for item in meta["acquisitions"]]
    assert ps.open_ome_zarr(path)["A/1/1"].data.shape == (1, 2, 1, 4, 4)


def test_a_position_deleted_through_a_well_is_gone_from_the_plate(tmp_path, version):
    path = tmp_path / "plate.zarr"
    stored_plate(path, version)
    well = ps.open_ome_zarr(path / "A/1", mode="r+")
    del well["0"]
    assert not (path / "A/1/0").exists()
    assert [p for p, _ in ps.open_ome_zarr(path).positions()] == ["A/2/0", "B/1/0"]


def test_a_row_opened_by_its_path_lists_its_wells(tmp_path, version):
    path = tmp_path / "plate.zarr"
    stored_plate(path, version)
    row = ps.open_ome_zarr(path / "A")
    assert list(row) == ["1", "2"]
    assert row["2/0"].data[0, 0, 0, 0, 0] == 2


def test_w_on_a_node_inside_a_store_is_refused(tmp_path, version):
    path = tmp_path / "plate.zarr"
    stored_plate(path, version)
    for inner in ("A", "A/1", "A/1/0"):
        with pytest.raises(ps.UnsafeTargetError, match="part of the store") as caught:
            ps.open_ome_zarr(
                path / inner, layout="fov", mode="w", channel_names=["a"], disable_path_checking=True
            )
        assert caught.value.hint
    check_plate(path)


@pytest.mark.parametrize("mode", ["w", "w-", "a"])
def test_a_new_store_inside_a_store_is_not_made_unnoticed(tmp_path, version, mode):
    # It would be a group of the plate that the plate does not list.
    path = tmp_path / "plate.zarr"
    stored_plate(path, version)
    with pytest.raises(ps.PlatestoreError):
        ps.open_ome_zarr(path / "A/9.zarr", layout="fov", mode=mode, channel_names=["a"], version=version)
    assert not (path / "A/9.zarr").exists()


def test_a_store_in_a_directory_beside_foreign_files_is_its_own_root(tmp_path, version):
    (tmp_path / "zarr.json.bak").write_text("{}")
    (tmp_path / "notes.json").write_text(json.dumps({"a": 1}))
    stored_plate(tmp_path / "plate.zarr", version)
    assert ps.open_ome_zarr(tmp_path / "plate.zarr").is_root()


def test_only_documents_are_read_to_open(tmp_path, version, read_keys):
    path = tmp_path / "plate.zarr"
    stored_plate(path, version)
    del read_keys[:]
    ps.open_ome_zarr(path)
    assert {key.rpartition("/")[2] for key in read_keys} <= DOCUMENTS
    assert all(key.rpartition("/")[0] == str(path) for key in read_keys), "only the plate's own document"


@pytest.mark.parametrize(("suffix", "word"), [(".copying", "copy"), (".importing", "import")])
def test_what_is_unfinished_beside_a_missing_store_is_named(tmp_path, suffix, word):
    (tmp_path / f"p.zarr{suffix}").mkdir()
    with pytest.raises(FileNotFoundError, match=f"an unfinished {word} .p.zarr{suffix}.*--resume"):
        ps.open_ome_zarr(tmp_path / "p.zarr")
    assert f"unfinished {word}" in ps.validate(tmp_path / "p.zarr").message
