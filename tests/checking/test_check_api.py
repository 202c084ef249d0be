"""Whom and what a check takes: paths, parts, archives, stores; read-only media; the command."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from check_cases import codes, lose, make_plate, tree
from click.testing import CliRunner

import platestore as ps
from platestore.cli import cli


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A plate that no test changes."""
    return make_plate(tmp_path_factory.mktemp("whole") / "p.zarr", "0.5")


@pytest.fixture
def broken(tmp_path):
    """A plate whose document is lost, and with an empty shard."""
    path = make_plate(tmp_path / "p.zarr", "0.5")
    lose(path / "zarr.json", "empty")
    shard = next(p for p in (path / "A/1/0/0").rglob("*") if p.is_file() and p.name != "zarr.json")
    shard.write_bytes(b"")
    return path


@pytest.mark.parametrize("part", ["", "A", "A/1", "A/1/0", "A/1/0/0", "A/1/0/labels", "A/1/0/labels/cells"])
def test_any_node_may_be_named(whole, part):
    report = ps.check(whole / part, deep=True)
    assert report.whole, report.findings
    assert report.arrays
    assert report.path == str(whole / part).rstrip("/")


def test_a_part_is_checked_without_the_rest(broken):
    assert ps.check(broken / "B/3").whole
    assert codes(ps.check(broken / "A/1/0")) == {"chunk-empty"}
    assert ps.check(broken / "A/1/0", repair=True).whole
    assert codes(ps.check(broken)) == {"document-lost"}


def test_nodes_and_zarr_stores_are_taken(whole):
    import zarr

    assert ps.check(ps.open_ome_zarr(whole)).whole
    assert ps.check(ps.open_ome_zarr(whole)["A/1/0"]).whole
    assert ps.check(zarr.storage.LocalStore(whole)).whole


def test_a_store_in_memory_is_checked_and_not_repaired(whole):
    import zarr

    store = zarr.storage.MemoryStore()
    with ps.open_ome_zarr(store, layout="fov", mode="w-", channel_names=["a"], version="0.5") as position:
        position.create_image("0", np.ones((1, 1, 1, 8, 8), "uint8"))
    assert ps.check(store, deep=True).whole
    with pytest.raises(ps.UnsupportedError, match="only directories"):
        ps.check(store, repair=True)


def test_an_archive_is_checked_and_its_damage_found(whole, tmp_path):
    archive = tmp_path / "p.ozx"
    ps.copy(whole, archive)
    report = ps.check(archive, deep=True)
    assert report.whole, report.findings
    assert report.nbytes_decoded == ps.check(whole, deep=True).nbytes_decoded
    with zipfile.ZipFile(archive) as file:
        info = next(i for i in file.infolist() if "/c/" in i.filename and i.file_size > 200)
        offset = info.header_offset + 30 + len(info.filename) + len(info.extra) + 40
    data = bytearray(archive.read_bytes())
    data[offset : offset + 16] = bytes(16)
    archive.write_bytes(data)
    assert not ps.check(archive, deep=True).whole
    with pytest.raises(ps.UnsupportedError, match="only directories"):
        ps.check(archive, repair=True)


def test_the_real_field_is_whole(shared):
    report = ps.check(shared / "realdata/cardiomyocytes-B03-mip.zarr", deep=True)
    assert report.whole, report.findings
    assert report.nbytes_decoded > 16 * 2**20


def test_a_real_field_that_lost_its_document_is_rebuilt(tmp_path):
    import shutil

    source = Path(__file__).parents[1] / "data/cardiomyocytes-crop.zarr"
    path = tmp_path / "field.zarr"
    shutil.copytree(source, path)
    before = ps.open_ome_zarr(path)
    arrays = before.metadata.paths()
    for name in ("zarr.json", ".zgroup", ".zattrs"):
        (path / name).unlink(missing_ok=True)
    report = ps.check(path, repair=True)
    assert report.whole, report
    after = ps.open_ome_zarr(path)
    assert after.metadata.paths() == arrays
    assert [a.name.lower() for a in after.axes] == [a.name.lower() for a in before.axes]
    assert np.array_equal(after[arrays[0]][...], before[arrays[0]][...])


@pytest.mark.parametrize(
    "arguments", [{"workers": 0}, {"workers": "two"}, {"max_memory": "lots"}, {"progress": 3}]
)
def test_wrong_arguments_are_refused(whole, arguments):
    with pytest.raises(ps.ArgumentError):
        ps.check(whole, **arguments)


def test_nothing_at_a_path_and_no_store_at_a_path(tmp_path):
    with pytest.raises(ps.PlatestoreError, match="no such store"):
        ps.check(tmp_path / "nothing.zarr")
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(ps.ArgumentError, match="is a file"):
        ps.check(tmp_path / "x.json")
    (tmp_path / "empty").mkdir()
    report = ps.check(tmp_path / "empty", repair=True)
    assert codes(report) == {"document-lost"}
    assert not report.actions


def test_a_read_only_store_is_checked_and_a_repair_refused_before_anything_changes(broken):
    """Root may write anywhere, so the mount is what says no there."""
    before = tree(broken.parent)
    places = [broken, *(p for p in broken.rglob("*") if p.is_dir())]
    for place in (*places, broken.parent):
        place.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        report = ps.check(broken, deep=True)
        assert {"document-lost", "chunk-empty"} <= codes(report)
        if os.geteuid() != 0:
            with pytest.raises(ps.ReadOnlyError, match="no right to write"):
                ps.check(broken, repair=True)
    finally:
        for place in (broken.parent, *places):
            place.chmod(stat.S_IRWXU)
    assert tree(broken.parent) == before


def test_a_read_only_mount_refuses_a_repair(broken, monkeypatch):
    if not hasattr(os, "statvfs"):
        pytest.skip("this system does not tell of mounts")
    real = os.statvfs

    def read_only(path):
        found = list(real(path))
        found[8] |= os.ST_RDONLY
        return os.statvfs_result(found)

    before = tree(broken.parent)
    monkeypatch.setattr(os, "statvfs", read_only)
    with pytest.raises(ps.ReadOnlyError, match="nothing can be repaired"):
        ps.check(broken, repair=True)
    assert tree(broken.parent) == before
    assert not ps.check(broken).whole


def test_what_cannot_be_read_is_named_and_the_rest_is_checked(broken, monkeypatch):
    """As a store without rights: every access below one well fails."""
    real_open, real_scan, real_stat = os.open, os.scandir, os.stat

    def guard(real):
        def call(path, *args, **kwargs):
            if isinstance(path, (str, os.PathLike)) and f"{os.sep}B{os.sep}3" in os.fspath(path):
                raise PermissionError(13, "Permission denied", os.fspath(path))
            return real(path, *args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for name, real in (("open", real_open), ("scandir", real_scan), ("stat", real_stat)):
            patch.setattr(os, name, guard(real))
        report = ps.check(broken)
    assert "unreadable" in codes(report)
    assert "chunk-empty" in codes(report)


def test_a_failed_repair_is_told_and_the_others_are_done(broken, monkeypatch):
    from platestore.checking.whole.quarantine import Quarantine

    def full(self, key):
        raise OSError(28, "No space left on device", key)

    monkeypatch.setattr(Quarantine, "take", full)
    report = ps.check(broken, repair=True)
    assert not report.whole
    assert any("No space left" in line for line in report.failed)
    assert any("lists 3 wells" in line for line in report.actions)
    monkeypatch.undo()
    assert ps.check(broken, repair=True).whole


# --- the command ----------------------------------------------------------------------------------


def run(*args: object) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["check", *map(str, args)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout


def test_the_command_tells_finding_repair_and_verdict(broken):
    code, text = run(broken)
    assert code == 1
    assert "document-lost" in text
    assert "repair: write the document of" in text
    assert f"{broken}: not whole: 2 errors" in text
    code, text = run(broken, "--repair", "--dry-run")
    assert code == 1
    assert "would    write the document" in text
    code, text = run(broken, "--repair")
    assert code == 0
    assert "done     moved" in text
    assert ": whole;" in text
    assert run(broken, "--deep")[0] == 0
    assert (broken.parent / "p.zarr.quarantine").is_dir()


def test_the_command_prints_one_document(broken, whole):
    code, text = run(broken, "--json")
    assert code == 1
    report = json.loads(text)
    assert report["whole"] is False
    assert {f["code"] for f in report["findings"]} == {"document-lost", "chunk-empty"}
    assert all(f["repair"] for f in report["findings"])
    code, text = run(broken, whole, broken.parent / "nothing", "--json")
    assert code == 1
    report = json.loads(text)
    assert [s["whole"] for s in report["stores"]] == [False, True, False]
    code, text = run(whole, "--json", "--deep")
    assert code == 0
    assert json.loads(text)["missing"] == 0


def test_wrong_use_and_wrong_paths_are_told_apart(tmp_path):
    assert run()[0] == 2
    assert run("--wrong", tmp_path)[0] == 2
    assert run(tmp_path / "nothing")[0] == 1


def test_an_interrupted_check_leaves_the_store_alone(whole, tmp_path):
    import signal
    import time

    if os.name == "nt":
        pytest.skip("no such signal there")
    before = tree(whole)
    with subprocess.Popen(
        [sys.executable, "-m", "platestore", "check", "--deep", whole],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        time.sleep(0.4)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode in (0, 1, 130, -2)
    assert b"Traceback" not in errors
    assert tree(whole) == before


def test_what_cannot_be_read_stays_on_its_list(whole, tmp_path, monkeypatch):
    import shutil

    path = tmp_path / "p.zarr"
    shutil.copytree(whole, path)
    shutil.rmtree(path / "A/2")  # so that there is something to repair
    shutil.rmtree(path / "A/1/1")
    hidden = (f"{os.sep}B{os.sep}3", f"A{os.sep}1{os.sep}0")
    real = os.scandir

    def scandir(place="."):
        if any(part in os.fspath(place) for part in hidden):
            raise PermissionError(13, "Permission denied", os.fspath(place))
        return real(place)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        report = ps.check(path, repair=True)
        assert codes(report) == {"unreadable"}
        assert report.actions
    assert [name for name, _ in ps.open_ome_zarr(path).positions()] == ["A/1/0", "B/3/0", "B/3/1"]
    assert ps.check(path, deep=True).whole
