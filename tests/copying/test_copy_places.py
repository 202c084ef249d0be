"""Where copies come from and go to: zarr stores, plates that are not there yet, names of other files."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zarr.abc.store import Store
from zarr.storage import FsspecStore, LocalStore, MemoryStore, StorePath, ZipStore

import platestore as ps
from conftest import make_plate
from copying.copy_cases import make_source
from copying.copy_helpers import check_store, refuses
from nodes.store_helpers import snapshot
from platestore.copying.selection import split_channels

OPTIONS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "a crop": {"crop": "1:20,2:18", "channels": "GFP"},
    "another version": {"version": "0.4"},
    "shards": {"chunks": (1, 1, 1, 8, 8), "shards": "ZYX"},
    "a pyramid": {"pyramid": 2},
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plate with levels and a label image."""
    path = make_source(tmp_path_factory.mktemp("stores") / "a.zarr", levels=2)
    position = ps.open_ome_zarr(path / "A/1/0", mode="r+")
    position.create_label("cells", np.ones((1, 1, 2, 24, 20), "uint8"))
    return path


def new_store(kind: str, folder: Path) -> Store:
    """An empty store."""
    if kind == "zip":
        return ZipStore(folder / "store.zip", mode="w")
    return MemoryStore() if kind == "memory" else FsspecStore.from_url(f"memory:/{folder}")


@pytest.mark.parametrize("kind", ["memory", "zip", "fsspec"])
@pytest.mark.parametrize("options", list(OPTIONS))
@pytest.mark.filterwarnings("ignore::UserWarning:zarr")
def test_a_copy_into_a_store_holds_what_one_in_a_directory_does(source, tmp_path, kind, options):
    store, given = new_store(kind, tmp_path), OPTIONS[options]
    report = ps.copy(source, store, verify=True, **given)
    there = ps.copy(source, tmp_path / "there.zarr", **given)
    assert (report.arrays, report.notes, report.verified) == (there.arrays, there.notes, True)
    assert (report.files, report.nbytes) == (there.files, there.nbytes)
    back = ps.copy(store, tmp_path / "back.zarr", verify=True)
    assert back.notes == []
    assert snapshot(tmp_path / "back.zarr") == snapshot(tmp_path / "there.zarr")
    assert ps.open_ome_zarr(store)["A/1/0"].label_names == ["cells"]


def test_a_store_that_holds_something_is_replaced_where_that_is_asked_for(source, tmp_path):
    store = MemoryStore()
    ps.copy(source / "A/1/0", store, only_ome=True)
    with pytest.raises(ps.NodeExistsError, match="not empty"):
        ps.copy(source, store)
    assert type(ps.open_ome_zarr(store)) is ps.Position
    assert ps.copy(source, store, overwrite=True, verify=True).positions == 3
    assert type(ps.open_ome_zarr(store)) is ps.Plate
    with pytest.raises(ps.UnsafeTargetError, match="in one store"):
        ps.copy(store, store, overwrite=True)
    with pytest.raises(ps.ArgumentError, match="resumed"):
        ps.copy(source, MemoryStore(), resume=True)
    with pytest.raises(ps.ReadOnlyError, match="read-only"):
        ps.copy(source, MemoryStore(read_only=True))


def test_a_local_store_is_a_directory(source, tmp_path):
    assert ps.copy(source, LocalStore(tmp_path / "b.zarr")).destination == str(tmp_path / "b.zarr")
    assert snapshot(tmp_path / "b.zarr") == snapshot(source)
    inside = StorePath(LocalStore(tmp_path), "c.zarr")
    ps.copy(StorePath(LocalStore(source), "A/1/0"), inside)
    assert type(ps.open_ome_zarr(tmp_path / "c.zarr")) is ps.Position


@pytest.mark.parametrize("options", ["as it is", "a crop", "shards", "a pyramid"])
def test_a_path_in_a_store_is_a_store_of_its_own(source, tmp_path, options):
    store, given = MemoryStore(), OPTIONS[options]
    ps.copy(source / "A/1/0", StorePath(store, "other"))
    before = dict(store._store_dict)
    ps.copy(source, StorePath(store, "deep/er"), verify=True, only_ome=True, **given)
    ps.copy(source, tmp_path / "there.zarr", only_ome=True, **given)
    ps.copy(StorePath(store, "deep/er"), tmp_path / "back.zarr")
    assert snapshot(tmp_path / "back.zarr") == snapshot(tmp_path / "there.zarr")
    with pytest.raises(ps.NodeExistsError, match="deep/er"):
        ps.copy(source, StorePath(store, "deep/er"))
    ps.copy(source / "B/2/0", StorePath(store, "deep/er"), overwrite=True, only_ome=True)
    assert {k: v for k, v in store._store_dict.items() if not k.startswith("deep/")} == before
    assert type(ps.open_ome_zarr(StorePath(store, "deep/er"))) is ps.Position


def test_nothing_stays_in_a_store_of_a_copy_that_stops(source, monkeypatch):
    store = MemoryStore()

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("platestore.copying.run.check_unchanged", stop)
    with pytest.raises(KeyboardInterrupt):
        ps.copy(source, store)
    assert store._store_dict == {}
    monkeypatch.undo()
    assert ps.copy(source, store).positions == 3


@pytest.mark.parametrize("dst", [5, None, {"a": 1}, object()])
def test_what_is_no_place_is_refused(source, dst):
    with pytest.raises(ps.ArgumentError, match="destination"):
        ps.copy(source, dst)
    with pytest.raises(ps.ArgumentError, match="cannot be copied"):
        ps.copy(dst if dst != {"a": 1} else [5], MemoryStore())


@pytest.mark.parametrize("name", ["x.tif", "x.ome.tiff", "x.zip", "x.ome.zarr.zip", "x.h5", "X.TIF"])
def test_names_of_other_files_are_refused_with_the_choices(source, tmp_path, name):
    with refuses(ps.ArgumentError, tmp_path, match=r"\.zarr.*\.ozx"):
        ps.copy(source, tmp_path / name)


# --- plates that are not there yet ----------------------------------------------------------------


def test_a_position_makes_the_plate_that_it_goes_to(source, tmp_path, version):
    report = ps.copy(source / "A/1/0", tmp_path / "new.zarr/C/7/2", version=version, verify=True)
    plate = ps.open_ome_zarr(tmp_path / "new.zarr")
    assert [path for path, _ in plate.positions()] == ["C/7/2"]
    assert report.destination == str(tmp_path / "new.zarr")
    assert plate["C/7/2"].label_names == ["cells"]
    check_store(tmp_path / "new.zarr", version)
    ps.copy(source / "B/2/0", tmp_path / "new.zarr/C/7/3", version=version)
    assert [path for path, _ in ps.open_ome_zarr(tmp_path / "new.zarr").positions()] == ["C/7/2", "C/7/3"]


def test_a_well_makes_the_plate_that_it_goes_to(source, tmp_path):
    ps.copy(source / "A/1", tmp_path / "new.zarr/H/12")
    assert [path for path, _ in ps.open_ome_zarr(tmp_path / "new.zarr").positions()] == ["H/12/0", "H/12/1"]
    ps.copy(source / "A/1", tmp_path / "well.zarr")
    ps.copy(tmp_path / "well.zarr", tmp_path / "other.zarr/B/2")
    assert [path for path, _ in ps.open_ome_zarr(tmp_path / "other.zarr").positions()] == ["B/2/0", "B/2/1"]
    check_store(tmp_path / "other.zarr", "0.5")


@pytest.mark.parametrize(
    ("what", "place"),
    [("A/1/0", "A/1"), ("A/1/0", "A/1/0/0"), ("A/1", "A/1/0"), ("", "A/1/0"), ("A/1/0", "A")],
)
def test_what_does_not_fit_a_plate_that_is_not_there_is_refused(source, tmp_path, what, place):
    with refuses(ps.ArgumentError, tmp_path, match="PLATE/row/column"):
        ps.copy(source / what, tmp_path / "new.zarr" / place)


def test_a_directory_that_is_called_as_a_store_and_is_none_is_refused(source, tmp_path):
    (tmp_path / "new.zarr").mkdir()
    with refuses(ps.UnsafeTargetError, tmp_path, match="no store"):
        ps.copy(source / "A/1/0", tmp_path / "new.zarr/A/1/0")
    ps.copy(source / "A/1/0", tmp_path / "new.zarr/one.zarr")
    with refuses(ps.ArgumentError, tmp_path, match="map"):
        ps.copy(source / "A/1/0", tmp_path / "x.zarr/A/1/0", map={".": "B/1/0"})


# --- channels -------------------------------------------------------------------------------------


def test_a_name_with_a_comma_is_a_name_before_it_is_two(tmp_path, version):
    names = ["DAPI,WF", "Cy5,DIA", "GFP"]
    plate = ps.open_ome_zarr(
        tmp_path / "a.zarr", layout="hcs", mode="w-", channel_names=names, version=version
    )
    plate.create_position("A", "1", "0").create_image("0", np.ones((1, 3, 1, 4, 4), "uint8"))
    for given, wanted in (
        ("Cy5,DIA", ["Cy5,DIA"]),
        (["Cy5,DIA", "DAPI,WF"], ["Cy5,DIA", "DAPI,WF"]),
        ("GFP,Cy5,DIA", ["GFP", "Cy5,DIA"]),
        ("DAPI,WF,GFP", ["DAPI,WF", "GFP"]),
        ('GFP,"DAPI,WF"', ["GFP", "DAPI,WF"]),
    ):
        ps.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", channels=given, overwrite=True)
        assert ps.open_ome_zarr(tmp_path / "b.zarr").channel_names == wanted
    with refuses(ps.ArgumentError, tmp_path, match="'Cy5'"):
        ps.copy(tmp_path / "a.zarr", tmp_path / "c.zarr", channels="Cy5,GFP")


def test_texts_are_taken_apart():
    assert split_channels(["GFP, DAPI"], {"GFP", "DAPI"}) == ["GFP", "DAPI"]
    assert split_channels(["a,b", "c"], {"a,b", "a", "b", "c"}) == ["a,b", "c"]
    assert split_channels(["x,y"], set()) == ["x", "y"]
    assert split_channels(["a,b,c"], {"a,b", "b,c", "a", "c"}) == ["a,b", "c"]
    assert split_channels([",a,"], {"a"}) == ["a"]


# --- locks ----------------------------------------------------------------------------------------


def test_a_plate_that_is_being_changed_is_waited_for_as_long_as_is_asked(source, tmp_path):
    make_plate(tmp_path / "p.zarr", "0.5")
    plate = ps.open_ome_zarr(tmp_path / "p.zarr", mode="r+")
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with plate.__editor__().location.storage.lock(""):
            held.set()
            done.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert held.wait(60)
        start = time.monotonic()
        with pytest.raises(ps.LockTimeoutError, match=r"lock_timeout= .*--lock-timeout"):
            ps.copy(source / "A/1/0", tmp_path / "p.zarr/A/1/5", lock_timeout=0.1)
        assert time.monotonic() - start < 30
    finally:
        done.set()
        holder.join()
    with pytest.raises(ps.ArgumentError, match="lock_timeout"):
        ps.copy(source / "A/1/0", tmp_path / "p.zarr/A/1/5", lock_timeout=-1)
    ps.copy(source / "A/1/0", tmp_path / "p.zarr/A/1/5", resume=True)
    assert "A/1/5" in ps.open_ome_zarr(tmp_path / "p.zarr")
