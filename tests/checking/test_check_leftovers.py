"""What interrupted programs leave, and what living ones are at work on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from check_cases import GROUP, codes, ome, repaired

import platestore as ps
from conftest import make_plate

DEAD = 2**22 + 12345  # above the largest process number of Linux
OLD = time.time() - 3600


def age(path: Path) -> None:
    """Make a file or tree an hour old."""
    for directory, folders, names in os.walk(path):
        for name in (*folders, *names):
            os.utime(Path(directory, name), (OLD, OLD))
    os.utime(path, (OLD, OLD))


@pytest.fixture
def plate(tmp_path, version):
    path = tmp_path / "p.zarr"
    make_plate(path, version)
    return path


LEFT = {
    f".zarr.json.{DEAD}-0-0123abcd.tmp": "leftover-temporary",
    f".0.{DEAD}-3-0123abcd.tmp": "leftover-temporary",
    f"zarr.json.{'0' * 32}.partial": "leftover-temporary",
    "0.0123456789abcdef0123456789abcdef.partial": "leftover-temporary",
    "zarr.json.__lock": "leftover-lock",
}


@pytest.mark.parametrize("place", ["", "A", "A/1", "A/1/0", "A/1/0/0"])
def test_temporary_and_lock_files_are_found_everywhere_and_pixels_among_them_kept(plate, place):
    for name in LEFT:
        (plate / place / name).write_bytes(b"some bytes of " + name.encode())
        age(plate / place / name)
    report = ps.check(plate)
    found = {Path(f.file).name: f.code for f in report.findings if f.level == "warning"}
    assert found == LEFT
    repaired(plate)
    assert not set(LEFT) & set(os.listdir(plate / place))


def test_temporary_files_between_chunks_are_found(plate, version):
    folder = next(p.parent for p in (plate / "A/1/0/0").rglob("*") if p.is_file() and p.name.isdecimal())
    (folder / f".0.{DEAD}-3-0123abcd.tmp").write_bytes(b"half of a chunk")
    assert codes(ps.check(plate)) == {"leftover-temporary"}
    repaired(plate)


def test_what_a_living_process_may_need_is_left_alone(plate):
    mine = plate / "A/1" / f".zarr.json.{os.getpid()}-7-0123abcd.tmp"
    fresh = plate / "A/1" / f"0.{'1' * 32}.partial"
    for path in (mine, fresh):
        path.write_bytes(b"at work")
    report = ps.check(plate, repair=True)
    assert report.whole
    assert {f.code for f in report.findings} == {"in-use"}
    assert mine.exists()
    assert fresh.exists()


def test_hidden_trees_of_replacements_are_set_aside(plate):
    for place in (".1.0123456789ab.new", "A/.2.0123456789ab.new", "A/1/0/.0.0123456789ab.new"):
        (plate / place / "c").mkdir(parents=True)
        (plate / place / "c" / "0").write_bytes(b"pixels of " + place.encode())
        age(plate / place)
    assert codes(ps.check(plate)) == {"leftover-staged"}
    repaired(plate)


def test_what_was_left_beside_the_store_is_set_aside(plate):
    parent = plate.parent
    half = parent / f".p.zarr.{DEAD}-0-0123abcd.tmp"
    (half / "c").mkdir(parents=True)
    (half / "c" / "0").write_bytes(b"pixels of a store that was being replaced")
    (parent / ".p.zarr.lock").write_bytes(b"")
    (parent / ".q.zarr.lock").write_bytes(b"")  # of another store
    for path in (half, parent / ".p.zarr.lock"):
        age(path)
    assert codes(ps.check(plate)) == {"leftover-temporary", "leftover-lock"}
    report = ps.check(plate, repair=True)
    assert report.whole
    assert (Path(report.quarantine) / "beside" / half.name / "c" / "0").exists()
    assert sorted(p.name for p in parent.iterdir()) == [".q.zarr.lock", "p.zarr", "p.zarr.quarantine"]
    assert ps.check(plate).whole


def test_an_unfinished_copy_beside_and_inside_is_named_and_can_be_taken_away(plate, version):
    beside, inside = plate.parent / "p.zarr.copying", plate / ".C-1-0.copying"
    for work in (beside, inside, plate / ".C-2-0.importing"):
        (work / "data" / "0" / "c").mkdir(parents=True)
        (work / "data" / "0" / "c" / "0").write_bytes(b"pixels under way in " + work.name.encode())
        (work / "journal.json").write_text("{}")
    report = ps.check(plate)
    assert codes(report) == {"copy-unfinished", "import-unfinished"}
    assert all("--resume" in f.hint for f in report.findings)
    repaired(plate)
    assert not beside.exists()


@pytest.mark.quick(1)
def test_a_copy_under_way_is_left_alone(plate):
    from platestore.storage import locks

    work = plate / ".C-1-0.copying"
    (work / "data").mkdir(parents=True)
    with locks.locked(str(work), str(work), 1.0):
        # The lock belongs to this process, so another one has to look.
        out = subprocess.run(
            [sys.executable, "-m", "platestore", "check", "--repair", "--json", str(plate)],
            capture_output=True,
            text=True,
            check=False,
        )
    report = json.loads(out.stdout)
    assert report["whole"], out
    assert [f["code"] for f in report["findings"]] == ["in-use"]
    assert work.exists()


CRASH = """
import os, sys
import platestore as ps
from platestore.storage.local import LocalStorage
path, what, at = sys.argv[1], sys.argv[2], int(sys.argv[3])
plate = ps.open_ome_zarr(path, mode="r+")
calls = 0
def dying(name):
    function = getattr(LocalStorage, name)
    def call(self, *args):
        global calls
        calls += 1
        if calls > at:
            os._exit(9)
        return function(self, *args)
    setattr(LocalStorage, name, call)
for name in ("write", "create", "move_tree", "remove_tree"):
    dying(name)
if what == "rename":
    plate.rename_well("A/1", "C/7")
elif what == "delete":
    del plate["A/2"]
elif what == "channel":
    plate["A/1/0"].append_channel("more")
elif what == "pyramid":
    plate["A/1/0"].compute_pyramid(3, dims=["y", "x"])
elif what == "batch":
    names = [("A", "1", "8"), ("A", "2", "8"), ("D", "1", "8")]
    plate.create_positions(names, shape=(1, 2, 1, 4, 4), dtype="uint8")
os._exit(0)
"""


@pytest.mark.quick(1)
@pytest.mark.parametrize("what", ["rename", "delete", "channel", "pyramid", "batch"])
def test_changes_that_stopped_half_way_are_completed_or_undone(plate, what, tmp_path):
    script = tmp_path / "crash.py"
    script.write_text(CRASH)
    states = set()
    for at in range(1, 40, 4):
        path = tmp_path / f"{what}{at}.zarr"
        subprocess.run(["cp", "-r", str(plate), str(path)], check=True)
        code = subprocess.run([sys.executable, script, path, what, str(at)], check=False).returncode
        assert code in (0, 9)
        states |= codes(ps.check(path))
        repaired(path, deletes=what == "delete")
        ps.open_ome_zarr(path, mode="r+")
        if code == 0:
            break
    assert code == 0
    assert states & {"change-unfinished", "member-unlisted", "leftover-staged", "group-empty"}


def test_an_initialised_pyramid_is_computed(tmp_path, version):
    path = tmp_path / "one.zarr"
    with ps.open_ome_zarr(path, layout="fov", mode="w-", channel_names=["a"], version=version) as position:
        position.create_image("0", np.arange(1, 2 * 32 * 32 + 1, dtype="uint16").reshape(1, 1, 2, 32, 32))
        position.initialize_pyramid(3)
    assert codes(ps.check(path)) == {"pyramid-unfinished"}
    repaired(path)
    assert ps.open_ome_zarr(path)["2"][...].any()


@pytest.mark.parametrize(
    "record",
    [
        {"operation": "pyramid", "id": "1", "path": "../../x"},
        {"operation": "move", "id": "1", "path": "A/1", "target": "../../outside"},
        {"operation": "delete", "id": "1", "path": "n" * 300},
        {"path": 3},
        "text",
    ],
)
def test_a_damaged_record_is_dropped_and_nothing_outside_is_touched(plate, version, record):
    (plate.parent / "x").mkdir()
    name = GROUP[version]
    content = json.loads((plate / name).read_text())
    attributes = content if version == "0.4" else content["attributes"]
    attributes.setdefault("platestore", {})["intents"] = [record]
    (plate / name).write_text(json.dumps(content))
    assert codes(ps.check(plate)) == {"record-damaged"}
    repaired(plate)
    assert sorted(p.name for p in plate.parent.iterdir()) == ["p.zarr", "p.zarr.quarantine", "x"]


def test_groups_that_nothing_lists_and_that_hold_nothing_are_removed(plate, version):
    ps.open_ome_zarr(plate, mode="r+").create_position("C", "9", "0")
    ome(plate, version, lambda a: a["plate"]["wells"].pop())
    (plate / "E" / "1").mkdir(parents=True)
    assert "group-empty" in codes(ps.check(plate)) | codes(ps.check(plate), "warning")
    repaired(plate)
    assert not (plate / "E").exists()


def test_files_and_groups_of_others_are_advice_and_stay(plate):
    (plate / "notes.txt").write_text("mine")
    (plate / "A/1/0/tables").mkdir()
    (plate / "A/1/0/tables/cells.csv").write_text("1,2")
    report = ps.check(plate)
    assert report.whole
    assert {"foreign-file", "foreign-group"} == {f.code for f in report.findings}
    ps.check(plate, repair=True)
    assert (plate / "notes.txt").exists()
    assert (plate / "A/1/0/tables/cells.csv").exists()


WRITER = textwrap.dedent(
    """
    import sys, warnings
    warnings.simplefilter("ignore")
    import numpy as np
    import platestore as ps
    plate = ps.open_ome_zarr(sys.argv[1], mode="r+")
    print("go", flush=True)
    for i in range(100_000):
        position = plate.create_position("R", str(i), "0")
        position.create_image("0", np.full((1, 2, 2, 8, 8), i % 99 + 1, "uint16"))
        position.compute_pyramid(2)
        plate["A/1/0"]["0"][0, 0] = i % 50 + 1
        if i % 3 == 2:
            plate.rename_well(f"R/{i}", f"S/{i}")
        if i % 5 == 4:
            del plate[f"R/{i - 1}"]
    """
)


def test_a_store_that_changes_under_the_check_is_not_called_broken(plate):
    with subprocess.Popen([sys.executable, "-c", WRITER, plate], stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "go\n"
            for turn in range(8):
                report = ps.check(plate, deep=bool(turn % 2))
                assert not report.of("error"), report.findings
        finally:
            writer.kill()
    repaired(plate)
