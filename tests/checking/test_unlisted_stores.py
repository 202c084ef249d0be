"""Stores that cannot be listed, as on a web server: their members are read by the names in the documents."""

from __future__ import annotations

import shutil
import warnings

import numpy as np
import pytest
from zarr.storage import LocalStore, WrapperStore

import platestore as ps


class Refused(Exception):
    """What a client of a server raises that says 403."""


class Server(WrapperStore):
    """A store that lists nothing, and refuses some keys, or all that are not there."""

    def __init__(self, store, *, how="no listing", refused=(), strict=False):
        super().__init__(store)
        self.how, self.refused, self.strict = how, refused, strict

    supports_listing = property(lambda self: self.how != "no listing")

    def with_read_only(self, read_only=False):
        inner = self._store.with_read_only(read_only)
        return type(self)(inner, how=self.how, refused=self.refused, strict=self.strict)

    def _error(self):
        return {"403": Refused("403, message='Forbidden'"), "rights": PermissionError("Forbidden")}.get(
            self.how, NotImplementedError()
        )

    async def list(self):
        raise self._error()
        yield

    async def list_prefix(self, prefix):
        raise self._error()
        yield

    async def list_dir(self, prefix):
        raise self._error()
        yield

    async def _check(self, key):
        if any(part in key for part in self.refused) or (self.strict and not await self._store.exists(key)):
            raise Refused(f"403, message='Forbidden', url='{key}'")

    async def get(self, key, *args, **kwargs):
        await self._check(key)
        return await super().get(key, *args, **kwargs)

    async def exists(self, key):
        await self._check(key)
        return await super().exists(key)


HOW = ("no listing", "raises", "403", "rights")


@pytest.fixture(scope="module")
def plates(tmp_path_factory):
    """One plate of each version, which no test changes."""
    top = tmp_path_factory.mktemp("plates")
    for version in ("0.4", "0.5"):
        path = top / f"{version}.zarr"
        with ps.open_ome_zarr(path, layout="hcs", mode="w-", channel_names=["a"], version=version) as plate:
            for column in ("1", "2"):
                position = plate.create_position("A", column, "0")
                position.create_image("0", np.ones((1, 1, 2, 8, 8), "u2"), chunks=(1, 1, 1, 8, 8))
                position.compute_pyramid(2)
                position.create_label("n", np.ones((1, 1, 2, 8, 8), "u2"))
    return top


@pytest.fixture
def plate(plates, version, tmp_path):
    return shutil.copytree(plates / f"{version}.zarr", tmp_path / "p.zarr")


def serve(path, **kwargs):
    return Server(LocalStore(path, read_only=True), **kwargs)


def levels(findings, *wanted):
    return [(f.code, f.level) for f in findings if f.level in (wanted or ("error", "warning"))]


@pytest.mark.parametrize("how", HOW)
def test_what_is_whole_is_valid_and_whole(plate, how):
    store = serve(plate, how=how)
    with ps.open_ome_zarr(store) as node:
        assert [name for name, _ in node.positions()] == ["A/1/0", "A/2/0"]
        assert node["A/2/0"]["0"][:].sum() == 128
    assert levels(ps.validate(store).findings) == []
    for deep in (False, True):
        report = ps.check(store, deep=deep)
        assert levels(report.findings) == []
        assert ("not-listed", "advice") in levels(report.findings, "advice")
        assert report.files == ps.check(plate).files


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("place", ["A/2", "A/2/0", "A/1/0/1", "A/1/0/labels/n"])
def test_members_that_are_not_there_are_named(plate, how, place):
    shutil.rmtree(plate / place)
    store = serve(plate, how=how)
    assert [code for code, _ in levels(ps.validate(store).findings, "error")][:1] == ["member-missing"]
    assert "member-missing" in [code for code, _ in levels(ps.check(store).findings)]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("place", ["A/2/0/", "A/1/0/1/", "A/1/zarr.json", "A/1/.zattrs"])
def test_what_is_refused_is_a_finding(plate, version, how, place):
    if place.endswith("zarr.json" if version == "0.4" else ".zattrs"):
        place = "A/1/0/0/"
    store = serve(plate, how=how, refused=[place])
    for report in (ps.validate(store), ps.check(store), ps.check(store, deep=True)):
        assert not report
        assert {code for code, _ in levels(report.findings, "error")} == {"unreadable"}
        assert any("403" in f.message for f in report.findings)


def test_a_server_that_refuses_what_is_not_there(plate, version):
    """Nothing is taken for valid or lost: what may be there and is refused is told."""
    store = serve(plate, how="403", strict=True)
    node = ps.open_ome_zarr(store)
    assert node.version == version
    assert node["A/1/0"]["0"].shape == (1, 1, 2, 8, 8)
    assert {code for code, _ in levels(ps.validate(store).findings)} <= {"unreadable"}
    assert {code for code, _ in levels(ps.check(store).findings)} <= {"unreadable"}


def test_truncated_chunks_are_seen_by_their_names(plate, version):
    chunk = plate / "A/1/0/0" / ("" if version == "0.4" else "c") / "0/0/0/0/0"
    chunk.write_bytes(chunk.read_bytes()[:-3])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "chunk-truncated" in [code for code, _ in levels(ps.check(serve(plate)).findings)]


def test_no_error_of_the_client_comes_through(plate):
    store = serve(plate, refused=["A/1/0/0/"])
    with pytest.raises(OSError, match="403"):
        ps.open_ome_zarr(store)["A/1/0"]["0"]
