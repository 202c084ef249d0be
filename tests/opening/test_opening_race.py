"""``mode="a"`` by many processes at once: one creates the store, all work on the same one."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

import platestore as ps
from nodes.store_helpers import check_plate

PROCESSES = 4


def _create(path: str, layout: str, version: str, number: int, start, results) -> None:
    start.wait(60)
    try:
        node = ps.open_ome_zarr(
            path, layout=layout, mode="a", channel_names=[f"from {number}"], version=version, lock_timeout=60
        )
        name = f"x{number}"
        if layout == "hcs":
            node.create_position("A", str(number + 1), "0")
        else:
            node.create_zeros(name, (1, 1, 1, 4, 4), "uint8")
        results.put((number, os.getpid(), os.stat(path).st_ino, node.channel_names))
    except Exception as error:  # noqa: BLE001 - handed to the parent
        results.put((number, os.getpid(), None, f"{type(error).__name__}: {error}"))


@pytest.mark.quick(1)
@pytest.mark.parametrize(("layout", "version"), [("hcs", "0.4"), ("hcs", "0.5"), ("fov", "0.5")])
def test_all_who_create_at_once_end_with_the_same_store(tmp_path: Path, layout: str, version: str) -> None:
    context = multiprocessing.get_context("spawn")
    path = tmp_path / "shared.zarr"
    start, results = context.Barrier(PROCESSES), context.Queue()
    workers = [
        context.Process(target=_create, args=(str(path), layout, version, number, start, results))
        for number in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0

    assert all(inode is not None for _, _, inode, _ in found), found
    assert len({pid for _, pid, _, _ in found}) == PROCESSES
    assert {inode for _, _, inode, _ in found} == {os.stat(path).st_ino}, "somebody kept a store that is gone"
    assert len({tuple(names) for _, _, _, names in found}) == 1, "all see the winner's channel names"
    assert os.listdir(tmp_path) == ["shared.zarr"], "the losers leave nothing behind"
    if layout == "hcs":
        check_plate(path)
        plate = ps.open_ome_zarr(path)
        assert sorted(p for p, _ in plate.positions()) == sorted(f"A/{n + 1}/0" for n in range(PROCESSES))
    else:
        assert sorted(ps.open_ome_zarr(path)) == sorted(f"x{n}" for n in range(PROCESSES))


def test_the_loser_of_a_race_opens_the_winners_store(tmp_path, version, monkeypatch):
    # The other process comes in between the look and the creation.
    from platestore.publish import targets

    path, install = tmp_path / "a.zarr", targets.install

    def slow(new, target, *, replace, sync):
        monkeypatch.setattr(targets, "install", install)
        ps.open_ome_zarr(path, layout="hcs", mode="a", channel_names=["winner"], version=version)
        install(new, target, replace=replace)

    monkeypatch.setattr(targets, "install", slow)
    plate = ps.open_ome_zarr(path, layout="hcs", mode="a", channel_names=["loser"], version=version)
    assert plate.channel_names == ["winner"]
    assert os.listdir(tmp_path) == ["a.zarr"]


def test_w_minus_loses_a_race_loudly(tmp_path, version, monkeypatch):
    from platestore.publish import targets

    path, install = tmp_path / "a.zarr", targets.install

    def slow(new, target, *, replace, sync):
        monkeypatch.setattr(targets, "install", install)
        ps.open_ome_zarr(path, layout="hcs", mode="w-", channel_names=["winner"], version=version)
        install(new, target, replace=replace)

    monkeypatch.setattr(targets, "install", slow)
    with pytest.raises(FileExistsError):
        ps.open_ome_zarr(path, layout="hcs", mode="w-", channel_names=["loser"], version=version)
    assert ps.open_ome_zarr(path).channel_names == ["winner"]
    assert os.listdir(tmp_path) == ["a.zarr"]


def test_a_store_is_never_seen_half_made(tmp_path, version, monkeypatch):
    # Whatever fails while it is built, there is no directory of its name, and no rest beside it.
    from platestore.publish import targets

    def fail(*args, **kwargs):
        raise OSError("no space left")

    monkeypatch.setattr(targets, "install", fail)
    for mode in ("a", "w", "w-"):
        with pytest.raises(OSError, match="no space left"):
            ps.open_ome_zarr(
                tmp_path / "a.zarr", layout="hcs", mode=mode, channel_names=["a"], version=version
            )
        assert os.listdir(tmp_path) == []
