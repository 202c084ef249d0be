"""``mode="w"`` destroys nothing before everything is checked, and never what is no store."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import platestore as ps
from nodes.store_helpers import new_position, pixels, refused, snapshot, stored_plate


def replace(path, **kwargs):
    arguments = {"layout": "hcs", "mode": "w", "channel_names": ["new"]}
    return ps.open_ome_zarr(path, **{**arguments, **kwargs})


BAD_ARGUMENTS = {
    "no layout": ({"layout": "auto"}, ps.ArgumentError, ValueError),
    "a typo in the layout": ({"layout": "fvo"}, ps.ArgumentError, ValueError),
    "a layout that is only read": ({"layout": "bf2raw"}, ps.UnsupportedError, NotImplementedError),
    "no channel names": ({"channel_names": None}, ps.ArgumentError, ValueError),
    "one string for channel names": ({"channel_names": "DAPI"}, ps.ArgumentError, ValueError),
    "a number for channel names": ({"channel_names": 3}, ps.ArgumentError, ValueError),
    "an empty channel name": ({"channel_names": [""]}, ps.ArgumentError, ValueError),
    "a channel name twice": ({"channel_names": ["a", "a"]}, ps.ArgumentError, ValueError),
    "a channel name that is no string": ({"channel_names": ["a", 3]}, ps.ArgumentError, ValueError),
    "an unknown version": ({"version": "0.6"}, ps.UnsupportedVersionError, ValueError),
    "an old version": ({"version": "0.3"}, ps.UnsupportedVersionError, ValueError),
    "a version that is a number": ({"version": 0.4}, ps.UnsupportedVersionError, ValueError),
    "no axes": ({"axes": []}, ps.ArgumentError, ValueError),
    "six axes": ({"axes": [ps.SpaceAxisMeta(name=n) for n in "uvwxyz"]}, ps.ArgumentError, ValueError),
    "axes in the wrong order": (
        {"axes": [ps.SpaceAxisMeta(name="y"), ps.ChannelAxisMeta(name="c"), ps.SpaceAxisMeta(name="x")]},
        ps.ArgumentError,
        ValueError,
    ),
    "an axis twice": (
        {"axes": [ps.SpaceAxisMeta(name="x"), ps.SpaceAxisMeta(name="x")]},
        ps.ArgumentError,
        ValueError,
    ),
    "axes that are strings": ({"axes": ["y", "x"]}, ps.ArgumentError, ValueError),
    "an unknown plate format": ({"plate_format": 97}, ps.ArgumentError, ValueError),
    "bad acquisitions": ({"acquisitions": [{"id": -1}]}, ps.ArgumentError, ValueError),
    "an unknown durability": ({"durability": "paranoid"}, ps.ArgumentError, ValueError),
    "a bad lock timeout": ({"lock_timeout": "soon"}, ps.ArgumentError, ValueError),
}
#: Those of which the issue asks for a message with the place and the remedy.
NAMED = {"no layout", "a typo in the layout", "no channel names"}


@pytest.mark.parametrize("what", BAD_ARGUMENTS)
def test_a_wrong_call_with_w_leaves_the_old_store(tmp_path, version, what):
    arguments, error, builtin = BAD_ARGUMENTS[what]
    path = tmp_path / "plate.zarr"
    stored_plate(path, version)
    with refused(error, builtin, tree=tmp_path, names=path if what in NAMED else False):
        replace(path, **arguments)


def test_an_unknown_mode_leaves_the_old_store(tmp_path, version):
    path = tmp_path / "plate.zarr"
    stored_plate(path, version)
    for mode in ("W", "rw", "", None, "w+", "x"):
        with refused(ps.ArgumentError, ValueError, tree=tmp_path, names=False):
            replace(path, mode=mode)


def test_an_unknown_argument_with_w_leaves_the_old_store(tmp_path, version):
    path = tmp_path / "plate.zarr"
    stored_plate(path, version)
    before = snapshot(tmp_path)
    with pytest.raises(TypeError):
        replace(path, plateformat=96)
    assert snapshot(tmp_path) == before


# --- targets that are no stores -------------------------------------------------------------------


def _foreign(tmp_path: Path, name: str = "photos.zarr") -> Path:
    path = tmp_path / name
    (path / "2024").mkdir(parents=True)
    (path / "2024" / "holiday.jpg").write_bytes(b"picture")
    return path


@pytest.mark.parametrize("disable", [False, True])
@pytest.mark.parametrize("name", ["photos", "photos.zarr", "photos.zarr_backup", "my.zarr.d/photos"])
def test_w_keeps_a_directory_that_is_no_store(tmp_path, name, disable):
    path = _foreign(tmp_path, name)
    with refused(ps.UnsafeTargetError, ValueError, tree=tmp_path, names=path):
        replace(path, disable_path_checking=disable)


@pytest.mark.parametrize("mode", ["w-", "a"])
def test_other_creating_modes_keep_a_directory_that_is_no_store(tmp_path, mode):
    path = _foreign(tmp_path)
    error, builtin = {
        "w-": (ps.NodeExistsError, FileExistsError),
        "a": (ps.UnsafeTargetError, ValueError),
    }[mode]
    with refused(error, builtin, tree=tmp_path, names=path):
        replace(path, mode=mode)


@pytest.mark.parametrize("mode", ["r", "r+"])
def test_a_directory_that_is_no_store_is_not_found(tmp_path, mode):
    path = _foreign(tmp_path)
    with refused(ps.NodeNotFoundError, FileNotFoundError, tree=tmp_path, names=path):
        ps.open_ome_zarr(path, mode=mode)


@pytest.mark.parametrize("mode", ["r", "r+", "a", "w", "w-"])
def test_a_file_is_no_store(tmp_path, mode):
    path = tmp_path / "image.zarr"
    path.write_bytes(b"TIFF")
    error, builtin = {
        "w-": (ps.NodeExistsError, FileExistsError),
        "w": (ps.UnsafeTargetError, ValueError),
    }.get(mode, (ps.InvalidMetadataError, ValueError))
    with refused(error, builtin, tree=tmp_path, names=path):
        replace(path, mode=mode)


@pytest.mark.parametrize("place", ["", "A", "A/1", "A/1/0"])
@pytest.mark.parametrize("disable", [False, True])
def test_w_keeps_a_store_that_holds_foreign_files(tmp_path, version, place, disable):
    path = tmp_path / "plate.zarr"
    stored_plate(path, version)
    (path / place / "analysis.csv").write_text("a,b")
    with refused(ps.UnsafeTargetError, ValueError, tree=tmp_path, names=path) as caught:
        replace(path, disable_path_checking=disable)
    assert "analysis.csv" in str(caught.value), "the file is named"


def test_w_keeps_a_store_that_holds_a_foreign_directory(tmp_path, version):
    path = tmp_path / "plate.zarr"
    stored_plate(path, version)
    (path / "results" / "deep").mkdir(parents=True)
    (path / "results" / "deep" / "measurements.parquet").write_bytes(b"PAR1")
    with refused(ps.UnsafeTargetError, ValueError, tree=tmp_path, names=path):
        replace(path)


def test_w_keeps_files_that_a_link_in_the_store_leads_to(tmp_path, version):
    path = tmp_path / "plate.zarr"
    stored_plate(path, version)
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "holiday.jpg").write_bytes(b"picture")
    (path / "A" / "link").symlink_to(kept, target_is_directory=True)
    try:
        replace(path)
    except ps.UnsafeTargetError:
        assert (path / "A/1/0").exists()
    assert (kept / "holiday.jpg").read_bytes() == b"picture"


def test_w_replaces_a_tree_without_a_single_file(tmp_path, version):
    path = tmp_path / "plate.zarr"
    (path / "A" / "1").mkdir(parents=True)
    assert replace(path, version=version).channel_names == ["new"]
    assert not (path / "A").exists()


def test_w_asks_before_it_replaces_data_that_is_no_ome_zarr(tmp_path, version):
    import zarr

    path = tmp_path / "plain.zarr"
    fmt = 2 if version == "0.4" else 3
    group = zarr.create_group(path, zarr_format=fmt)
    group.create_array("deep/array", shape=(4,), dtype="uint8")[...] = 1
    before = snapshot(path)
    with pytest.raises(ps.UnsafeTargetError, match="disable_path_checking"):
        replace(path)
    assert snapshot(path) == before
    assert replace(path, disable_path_checking=True).channel_names == ["new"]
    assert not (path / "deep").exists()


def test_w_replaces_a_store_with_the_ome_xml_of_a_converter(tmp_path, version):
    path = tmp_path / "a.zarr"
    stored_plate(path, version)
    (path / "OME").mkdir()
    (path / "OME" / ".zgroup").write_text('{"zarr_format": 2}')
    (path / "OME" / "METADATA.ome.xml").write_text("<OME/>")
    assert replace(path).channel_names == ["new"]


@pytest.mark.parametrize("name", ["plate", "plate.ome", "zarr", "azarr"])
def test_w_wants_zarr_in_the_name_of_what_it_replaces(tmp_path, version, name):
    path = tmp_path / name
    stored_plate(path, version)
    with refused(ps.UnsafeTargetError, ValueError, tree=tmp_path, names=path) as caught:
        replace(path)
    assert "disable_path_checking" in caught.value.hint
    assert replace(path, disable_path_checking=True).channel_names == ["new"]


def test_zarr_in_the_name_of_a_parent_is_not_in_the_name_of_the_target(tmp_path, version):
    path = tmp_path / "all.zarr.stores" / "plate"
    path.parent.mkdir()
    stored_plate(path, version)
    with refused(ps.UnsafeTargetError, ValueError, tree=tmp_path, names=path):
        replace(path)


def test_a_tree_without_files_needs_zarr_in_its_name_too(tmp_path):
    (tmp_path / "projects" / "2024").mkdir(parents=True)
    with refused(ps.UnsafeTargetError, ValueError, tree=tmp_path, names=tmp_path / "projects"):
        replace(tmp_path / "projects")
    assert replace(tmp_path / "projects", disable_path_checking=True).channel_names == ["new"]


@pytest.mark.parametrize("name", ["plate", "new.zarr"])
def test_a_new_store_may_have_any_name(tmp_path, name):
    assert replace(tmp_path / name).channel_names == ["new"]


# --- places that cannot be meant ------------------------------------------------------------------


@pytest.mark.parametrize("disable", [False, True])
def test_w_keeps_the_home_directory_and_what_holds_it(tmp_path, monkeypatch, disable):
    home = tmp_path / "homes.zarr" / "me.zarr"
    shutil.copytree(_stored(tmp_path), home, dirs_exist_ok=True)
    monkeypatch.setenv("HOME", str(home))
    for path in (home, home.parent):
        with refused(ps.UnsafeTargetError, ValueError, tree=tmp_path, names=path):
            replace(path, disable_path_checking=disable)


@pytest.mark.parametrize("disable", [False, True])
@pytest.mark.parametrize("spelled", ["absolute", "."])
def test_w_keeps_the_working_directory_and_what_holds_it(tmp_path, monkeypatch, disable, spelled):
    here = tmp_path / "work.zarr" / "here.zarr"
    shutil.copytree(_stored(tmp_path), here)
    monkeypatch.chdir(here)
    for path in (here, here.parent):
        given = path if spelled == "absolute" else os.path.relpath(path)
        with refused(ps.UnsafeTargetError, ValueError, tree=tmp_path, names=path):
            replace(given, disable_path_checking=disable)


def _stored(tmp_path: Path) -> Path:
    path = tmp_path / "template.zarr"
    if not path.exists():
        new_position(path)["0"] = pixels(1, 2, 1, 4, 4)
    return path


def test_w_keeps_the_root_of_the_file_system():
    with pytest.raises(ps.UnsafeTargetError, match="root of the file system"):
        replace("/", disable_path_checking=True)


def test_w_keeps_a_mount_point(tmp_path, monkeypatch):
    path = _stored(tmp_path)
    original = os.path.ismount
    monkeypatch.setattr(os.path, "ismount", lambda p: os.fspath(p) == str(path) or original(p))
    with refused(ps.UnsafeTargetError, ValueError, tree=tmp_path, names=path):
        replace(path, disable_path_checking=True)


@pytest.mark.parametrize("target", ["store", "directory", "nothing"])
def test_w_keeps_a_link(tmp_path, target):
    path, aim = tmp_path / "link.zarr", tmp_path / "aim.zarr"
    if target == "store":
        shutil.copytree(_stored(tmp_path), aim)
    elif target == "directory":
        aim.mkdir()
    path.symlink_to(aim, target_is_directory=True)
    with refused(ps.UnsafeTargetError, ValueError, tree=tmp_path, names=path):
        replace(path, disable_path_checking=True)


@pytest.mark.parametrize("inner", ["A", "A/1", "A/1/0", "A/1/0/0"])
@pytest.mark.parametrize("layout", ["fov", "hcs"])
def test_w_keeps_a_node_inside_a_store(tmp_path, version, inner, layout):
    path = tmp_path / "plate.zarr"
    stored_plate(path, version)
    with refused(ps.UnsafeTargetError, ValueError, tree=tmp_path, names=path / inner):
        replace(path / inner, layout=layout, disable_path_checking=True)


def test_w_keeps_a_node_that_is_reached_through_a_link(tmp_path, version):
    path = stored_plate(tmp_path / "plate.zarr", version)
    (tmp_path / "row.zarr").symlink_to(path / "A", target_is_directory=True)
    with refused(ps.UnsafeTargetError, ValueError, tree=tmp_path, names=tmp_path / "row.zarr" / "1"):
        replace(tmp_path / "row.zarr" / "1", disable_path_checking=True)


# --- the exchange ---------------------------------------------------------------------------------


@pytest.mark.parametrize("atomic", [True, False])
def test_the_old_store_goes_only_when_the_new_one_stands(tmp_path, version, monkeypatch, atomic):
    from platestore.publish import targets

    path = tmp_path / "a.zarr"
    stored_plate(path, version)
    if not atomic:
        monkeypatch.setattr(targets, "_exchange", lambda one, other: False)
    seen = []
    original = shutil.rmtree

    def rmtree(victim, *args, **kwargs):
        seen.append(ps.open_ome_zarr(path, layout="hcs").channel_names)
        original(victim, *args, **kwargs)

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    replace(path, version=version)
    assert seen == [["new"]]
    assert os.listdir(tmp_path) == ["a.zarr"]


@pytest.mark.parametrize("step", [1, 2])
def test_a_failing_exchange_leaves_the_old_store(tmp_path, version, monkeypatch, step):
    from platestore.publish import targets

    path = tmp_path / "a.zarr"
    stored_plate(path, version)
    before = snapshot(tmp_path)
    monkeypatch.setattr(targets, "_exchange", lambda one, other: False)
    original, calls = targets.rename, []

    def rename(source, target):
        calls.append(source)
        if len(calls) == step:
            raise OSError(28, "no space left")
        original(source, target)

    monkeypatch.setattr(targets, "rename", rename)
    with pytest.raises(OSError, match="no space left"):
        replace(path)
    assert snapshot(tmp_path) == before


def test_a_failing_build_leaves_the_old_store(tmp_path, version, monkeypatch):
    from platestore.storage.local import LocalStorage

    path = tmp_path / "a.zarr"
    stored_plate(path, version)
    before = snapshot(tmp_path)

    def create(self, key, data):
        raise OSError(28, "no space left")

    monkeypatch.setattr(LocalStorage, "create", create)
    with pytest.raises(OSError, match="no space left"):
        replace(path)
    assert snapshot(tmp_path) == before
