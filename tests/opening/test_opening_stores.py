"""``store_path`` may be any zarr ``Store``: memory, a local one, a place in one."""

from __future__ import annotations

import numpy as np
import pytest
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore, MemoryStore, StorePath, WrapperStore, ZipStore

import platestore as ps
from nodes.store_helpers import check_plate, pixels, refused, snapshot, stored_plate


def contents(store) -> dict[str, bytes]:
    """All keys and values of a store."""

    async def collect():
        proto = default_buffer_prototype()
        return {key: (await store.get(key, proto)).to_bytes() async for key in store.list()}

    return sync(collect())


def put(store, key: str, value: bytes) -> None:
    sync(store.set(key, default_buffer_prototype().buffer.from_bytes(value)))


def fill(store, version: str, **kwargs) -> None:
    plate = ps.open_ome_zarr(
        store, layout="hcs", mode="w-", channel_names=["a", "b"], version=version, **kwargs
    )
    for number, position in enumerate(
        plate.create_positions([("A", "1", "0"), ("A", "2", "0"), ("B", "1", "0")])
    ):
        position["0"] = np.full((1, 2, 1, 4, 4), number + 1, "uint16")


@pytest.mark.parametrize("mode", ["w", "w-", "a"])
@pytest.mark.parametrize("layout", ["fov", "tiled", "hcs"])
def test_a_memory_store_is_created_and_reopened(layout, mode, version):
    store = MemoryStore()
    node = ps.open_ome_zarr(store, layout=layout, mode=mode, channel_names=["a"], version=version)
    assert node.version == version
    for again in ("r", "r+", "a"):
        reopened = ps.open_ome_zarr(store, layout=layout, mode=again)
        assert type(reopened) is type(node)
        assert reopened.channel_names == ["a"]


def test_a_plate_lives_in_memory(version):
    store = MemoryStore()
    fill(store, version)
    plate = ps.open_ome_zarr(store)
    assert [path for path, _ in plate.positions()] == ["A/1/0", "A/2/0", "B/1/0"]
    assert [int(p.data[0, 0, 0, 0, 0]) for _, p in plate.positions()] == [1, 2, 3]
    np.testing.assert_array_equal(plate["B/1/0/0"].numpy(), np.full((1, 2, 1, 4, 4), 3, "uint16"))


def test_everything_that_moves_works_in_memory(version):
    store = MemoryStore()
    fill(store, version)
    plate = ps.open_ome_zarr(store, mode="r+", overwriting_creation=True)
    plate.rename_well("A/1", "C/7")
    del plate["A/2"]
    plate.create_position("B", "1", "0")["0"] = pixels(1, 2, 1, 4, 4)
    plate["C/7/0"].append_channel("c")
    reopened = ps.open_ome_zarr(store)
    assert sorted(path for path, _ in reopened.positions()) == ["B/1/0", "C/7/0"]
    assert reopened["C/7/0"].data.shape == (1, 3, 1, 4, 4)
    assert reopened["C/7/0"].data[0, 0, 0, 0, 0] == 1
    np.testing.assert_array_equal(reopened["B/1/0"].data.numpy(), pixels(1, 2, 1, 4, 4))
    assert not [key for key in contents(store) if key.startswith("A/")]


def test_w_replaces_what_a_memory_store_holds(version):
    store = MemoryStore()
    fill(store, version)
    ps.open_ome_zarr(store, layout="fov", mode="w", channel_names=["new"], version=version)
    assert set(contents(store)) <= {"zarr.json", ".zgroup", ".zattrs"}
    assert ps.open_ome_zarr(store, layout="fov").channel_names == ["new"]


@pytest.mark.parametrize(
    ("kwargs", "error"),
    [
        ({"channel_names": ["a"]}, ValueError),
        ({"layout": "fvo", "channel_names": ["a"]}, ValueError),
        ({"layout": "hcs"}, ValueError),
        ({"layout": "hcs", "channel_names": ["a"], "version": "0.6"}, ValueError),
        ({"layout": "hcs", "channel_names": ["a"], "axes": []}, ValueError),
        ({"layout": "hcs", "channel_names": ["a"], "bogus": 1}, TypeError),
    ],
)
def test_w_on_a_memory_store_checks_before_it_deletes(version, kwargs, error):
    store = MemoryStore()
    fill(store, version)
    before = contents(store)
    with pytest.raises(error):
        ps.open_ome_zarr(store, mode="w", **kwargs)
    assert contents(store) == before


def test_w_keeps_a_memory_store_that_is_no_zarr_store(version):
    store = MemoryStore()
    put(store, "holiday.jpg", b"picture")
    for mode in ("w", "a", "w-"):
        with pytest.raises(ps.PlatestoreError):
            ps.open_ome_zarr(store, layout="hcs", mode=mode, channel_names=["a"], version=version)
    assert contents(store) == {"holiday.jpg": b"picture"}


def test_w_keeps_foreign_keys_of_a_memory_store(version):
    store = MemoryStore()
    fill(store, version)
    put(store, "A/holiday.jpg", b"picture")
    before = contents(store)
    with pytest.raises(ps.UnsafeTargetError):
        ps.open_ome_zarr(store, layout="hcs", mode="w", channel_names=["a"], version=version)
    assert contents(store) == before


def test_w_minus_refuses_a_filled_memory_store(version):
    store = MemoryStore()
    fill(store, version)
    before = contents(store)
    with refused(ps.NodeExistsError, FileExistsError):
        ps.open_ome_zarr(store, layout="hcs", mode="w-", channel_names=["a"])
    assert contents(store) == before


def test_an_empty_memory_store_is_not_found():
    with refused(ps.NodeNotFoundError, FileNotFoundError):
        ps.open_ome_zarr(MemoryStore())


@pytest.mark.parametrize("make", [LocalStore, lambda p: StorePath(LocalStore(p))])
def test_a_local_store_is_its_directory(tmp_path, version, make):
    path = tmp_path / "plate.zarr"
    fill(make(path), version)
    check_plate(path)
    plate = ps.open_ome_zarr(make(path), mode="r+")
    plate.rename_well("A/1", "C/3")
    check_plate(path)
    assert str(path) in repr(plate), "it goes by its path, with locks and renames"
    assert plate.zgroup.store.root == path


def test_a_store_path_leads_to_a_node(tmp_path, version):
    path = tmp_path / "plate.zarr"
    fill(path, version)
    memory = MemoryStore()
    fill(memory, version)
    for store in (LocalStore(path), memory):
        position = ps.open_ome_zarr(StorePath(store, "A/2/0"))
        assert type(position) is ps.Position
        assert position.data[0, 0, 0, 0, 0] == 2
        assert type(ps.open_ome_zarr(StorePath(store, "A/2"))) is ps.Well


def test_a_store_is_made_at_a_path_in_a_memory_store(version):
    store = MemoryStore()
    put(store, "unrelated", b"x")
    node = ps.open_ome_zarr(
        StorePath(store, "in/here"), layout="fov", mode="w-", channel_names=["a"], version=version
    )
    node["0"] = pixels(1, 1, 1, 4, 4)
    np.testing.assert_array_equal(
        ps.open_ome_zarr(StorePath(store, "in/here")).data.numpy(), pixels(1, 1, 1, 4, 4)
    )
    ps.open_ome_zarr(
        StorePath(store, "in/here"), layout="fov", mode="w", channel_names=["b"], version=version
    )
    assert contents(store)["unrelated"] == b"x"


def test_a_wrapped_local_store_is_treated_as_any_store(tmp_path, version):
    # What the wrapper does to reads and writes must not be skipped.
    class Counting(WrapperStore):
        async def set(self, key, value):
            self._store.counted = getattr(self._store, "counted", 0) + 1
            await super().set(key, value)

    inner = LocalStore(tmp_path / "plate.zarr")
    fill(Counting(inner), version)
    assert inner.counted > 0
    check_plate(tmp_path / "plate.zarr")


@pytest.mark.parametrize("mode", ["r+", "a", "w", "w-"])
def test_a_read_only_store_is_not_changed(tmp_path, version, mode):
    path = tmp_path / "plate.zarr"
    stored_plate(path, version)
    store = LocalStore(path, read_only=True)
    with refused(ps.ReadOnlyError, PermissionError, tree=path):
        ps.open_ome_zarr(store, layout="hcs", mode=mode, channel_names=["a"])
    assert [p for p, _ in ps.open_ome_zarr(store).positions()] == ["A/1/0", "A/2/0", "B/1/0"]


def test_mode_r_on_a_memory_store_refuses_changes(version):
    store = MemoryStore()
    fill(store, version)
    before = contents(store)
    plate = ps.open_ome_zarr(store, mode="r")
    for change in (
        lambda: plate.create_position("Z", "1", "0"),
        lambda: plate.rename_well("A/1", "Z/1"),
        lambda: plate.__delitem__("A/1"),
        lambda: plate["A/1/0"].rename_channel("a", "z"),
        lambda: plate["A/1/0"].create_zeros("1", (1, 1, 1, 4, 4), "uint8"),
    ):
        with refused(ps.ReadOnlyError, PermissionError):
            change()
    with pytest.raises((PermissionError, ValueError), match="read-only"):
        plate["A/1/0/0"][...] = 0
    assert contents(store) == before


def test_a_zip_store_is_read(tmp_path, version):
    stored_plate(tmp_path / "plate.zarr", version)
    import zipfile

    with zipfile.ZipFile(tmp_path / "plate.zip", "w") as archive:
        for name, data in snapshot(tmp_path / "plate.zarr").items():
            if data is not None:
                archive.writestr(name, data)
    store = ZipStore(tmp_path / "plate.zip", mode="r")
    plate = ps.open_ome_zarr(store)
    assert [int(p.data[0, 0, 0, 0, 0]) for _, p in plate.positions()] == [1, 2, 3]
    store.close()


@pytest.fixture(params=["memory", "files"])
def remote(request, tmp_path):
    """A store as those of S3 and the like are: behind fsspec."""
    pytest.importorskip("fsspec")
    from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
    from fsspec.implementations.local import LocalFileSystem
    from fsspec.implementations.memory import MemoryFileSystem

    if request.param == "memory":
        files, path = MemoryFileSystem(skip_instance_cache=True), f"/{tmp_path.name}/plate.zarr"
    else:
        files, path = LocalFileSystem(auto_mkdir=True), str(tmp_path / "plate.zarr")
    return FsspecStore(AsyncFileSystemWrapper(files, asynchronous=True), path=path)


def test_a_plate_lives_behind_fsspec(remote, version):
    with refused(ps.NodeNotFoundError, FileNotFoundError):
        ps.open_ome_zarr(remote)
    fill(remote, version)
    plate = ps.open_ome_zarr(remote, mode="a", layout="hcs", channel_names=["a", "b"])
    plate.rename_well("A/1", "C/7")
    plate.create_position("C", "7", "1")
    del plate["A/2"]
    plate["C/7/0"].append_channel("c")
    read = ps.open_ome_zarr(remote)
    assert [path for path, _ in read.positions()] == ["B/1/0", "C/7/0", "C/7/1"]
    assert read["C/7/0/0"].shape == (1, 3, 1, 4, 4)
    assert read["C/7/0/0"][0, 0, 0, 0, 0] == 1


def test_the_directory_behind_fsspec_is_listed(remote, version, capsys):
    fill(remote, version)
    plate = ps.open_ome_zarr(remote)
    assert plate.group_keys() == ["A", "B"]
    assert plate["A"].group_keys() == ["1", "2"]
    assert plate["A/1/0"].array_keys() == ["0"]
    assert not plate.is_leaf()
    assert plate["A/1/0"].is_leaf()
    plate.print_tree()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 2 + 3 + 3 + 3
    assert lines[0].removesuffix(".zarr") == "plate"


@pytest.mark.parametrize("value", [3, None, {"a": b""}, object()])
def test_other_things_are_no_store(value):
    with refused(ps.ArgumentError, ValueError):
        ps.open_ome_zarr(value)


@pytest.mark.parametrize("value", ["", "a\0b"])
def test_no_path_is_no_store(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with refused(ps.ArgumentError, ValueError, names=False):
        ps.open_ome_zarr(value)


@pytest.mark.parametrize("url", ["s3://bucket/plate.zarr", "https://example.org/plate.zarr", "memory://x"])
@pytest.mark.parametrize("mode", ["r", "w"])
def test_a_url_is_not_taken_for_a_path(url, mode, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with refused(ps.UnsupportedError, NotImplementedError, tree=tmp_path, names=url):
        ps.open_ome_zarr(url, layout="fov", mode=mode, channel_names=["a"])
