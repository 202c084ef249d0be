"""Frames of a stream: where they go, in which order they may come, what is refused, and who sees them."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from microscope import CHANNELS, EDGE, POSITIONS, SLICES, frame, make_plate, metadata, volume

import platestore as ps
from conftest import examples
from platestore.acquisition import recover, stream
from platestore.cli import cli
from platestore.pyramid.pushed import PushedBlocks

SHAPE = (None, len(CHANNELS), SLICES, EDGE, EDGE)
HOW = {"shape": SHAPE, "dtype": "uint16"}


@pytest.fixture
def plate(tmp_path):
    with make_plate(tmp_path / "run.zarr") as made:
        yield made


def fill(run, position: int, name: str, time_points: int) -> None:
    """Append all frames of a position."""
    for t in range(time_points):
        for c in range(len(CHANNELS)):
            for z in range(SLICES):
                run.append(frame(position, t, c, z), position=name, t=t, c=c, z=z)


# --- where frames go ------------------------------------------------------------------------------


LAYOUTS = st.sampled_from(
    [
        {},
        {"pyramid_levels": 3},
        {"shards": "ZYX", "pyramid_levels": 2},
        {"chunks": (1, 1, 2, 16, 16), "pyramid_levels": 3},
        {"chunks": (3, 2, 1, 32, 32), "pyramid_levels": 2},
        {"chunks": (2, 1, 5, 32, 32), "shards_ratio": (2, 1, 1, 1, 1)},
    ]
)


@settings(
    max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    layout=LAYOUTS,
    time_points=st.integers(1, 5),
    grows=st.booleans(),
    memory=st.sampled_from(["100MB", "60KB"]),
    every=st.sampled_from([None, 3, 8]),
    order=st.randoms(use_true_random=False),
)
def test_any_order_and_layout_is_the_image_that_is_written_at_once(
    tmp_path_factory, layout, time_points, grows, memory, every, order
):
    directory = tmp_path_factory.mktemp("any")
    places = [(t, c, z) for t in range(time_points) for c in range(len(CHANNELS)) for z in range(SLICES)]
    order.shuffle(places)
    shape = SHAPE if grows else (time_points, *SHAPE[1:])
    with make_plate(directory / "run.zarr") as plate:
        options = {**HOW, **layout, "shape": shape, "max_memory": memory, "checkpoint_every": every}
        with stream(plate, positions=["A/1/0"], **options) as run:
            for t, c, z in places:
                run.append(frame(0, t, c, z), position="A/1/0", t=t, c=CHANNELS[c], z=z)
        found = plate["A/1/0"]
        levels = [d.path for d in found.metadata.multiscales[0].datasets]
        plate.create_position("B", "2", "0").create_image(
            "0",
            volume(0, time_points),
            chunks=found["0"].chunks,
            shards=found["0"].shards,
            pyramid_levels=len(levels),
        )
        for level in levels:
            assert (found[level][...] == plate["B/2/0"][level][...]).all()
        names = {
            p.relative_to(directory / "run.zarr/A/1/0") for p in (directory / "run.zarr/A/1/0").rglob("*")
        }
        others = {
            p.relative_to(directory / "run.zarr/B/2/0") for p in (directory / "run.zarr/B/2/0").rglob("*")
        }
        assert {n for n in names if n.parts[0] != "frames"} == others
    assert ps.validate(directory / "run.zarr").valid
    assert ps.check(directory / "run.zarr", deep=True).whole


def test_frames_come_in_a_declared_order(plate):
    with stream(plate, positions=POSITIONS[:2], order="tpcz", **HOW) as run:
        for t in range(3):
            for p in range(2):
                for c in range(len(CHANNELS)):
                    for z in range(SLICES):
                        run.append(frame(p, t, c, z))
    for p, name in enumerate(POSITIONS[:2]):
        assert (plate[name]["0"][...] == volume(p, 3)).all()


def test_a_stack_is_several_frames(plate):
    with stream(plate, positions=["A/1/0"], **HOW) as run:
        for c in range(len(CHANNELS)):
            run.append(volume(0, 1)[0, c], c=c, metadata={"time_s": 2.0})
    assert (plate["A/1/0"]["0"][...] == volume(0, 1)).all()
    assert plate["A/1/0"].frames["time_s"].tolist() == [2.0] * 10


def test_a_single_position_and_axes_that_are_missing(tmp_path):
    axes = [ps.SpaceAxisMeta(name="y", unit="micrometer"), ps.SpaceAxisMeta(name="x", unit="micrometer")]
    time = ps.TimeAxisMeta(name="t", unit="second")
    with ps.open_ome_zarr(
        tmp_path / "one.zarr", layout="fov", mode="w-", channel_names=["a"], axes=[time, *axes]
    ) as position:
        with stream(position, shape=(None, EDGE, EDGE), dtype="uint8", scale=(2, 0.5, 0.5)) as run:
            for t in range(3):
                run.append(np.full((EDGE, EDGE), t), t=t)
        assert position["0"].shape == (3, EDGE, EDGE)
        assert position["0"][:, 0, 0].tolist() == [0, 1, 2]
        assert position.scale == [2, 0.5, 0.5]


def test_positions_may_be_added_and_differ(plate):
    with stream(plate, positions=["A/1/0"], **HOW) as run:
        fill(run, 0, "A/1/0", 1)
        run.add_position(("C", "3", "0"), shape=(2, 1, 1, 16, 16), channel_names=["Cy5"])
        run.append(np.ones((16, 16)), position="C/3/0", c="Cy5", t=1)
        assert run.positions == ["A/1/0", "C/3/0"]
    assert plate["C/3/0"]["0"].shape == (2, 1, 1, 16, 16)
    assert plate["C/3/0"].channel_names == ["Cy5"]
    assert ps.check(plate.store_path).whole if hasattr(plate, "store_path") else True


def test_what_is_missing_is_recorded_and_not_guessed(plate):
    with stream(plate, positions=["A/1/0"], **HOW) as run:
        run.append(frame(0, 0, 0, 0), t=0, c=0, z=0)
        run.skip(t=0, c=1, z=0)
        run.append(frame(0, 2, 1, 3), t=2, c=1, z=3)
    position = plate["A/1/0"]
    assert position["0"].shape[0] == 3
    assert (position["0"][2, 1, 3] == frame(0, 2, 1, 3)).all()
    assert not position["0"][1].any()
    rows = [tuple(map(int, row)) for row in zip(*(position.frames[a] for a in "tcz"), strict=True)]
    assert rows == [(0, 0, 0), (2, 1, 3)]


def test_the_order_counts_skipped_frames(plate):
    with stream(plate, positions=["A/1/0"], order="tcz", **HOW) as run:
        run.skip(7)
        run.append(frame(0, 0, 1, 2))
    assert (plate["A/1/0"]["0"][0, 1, 2] == frame(0, 0, 1, 2)).all()


def test_the_memory_of_the_caller_may_be_used_again(plate):
    buffer = np.zeros((EDGE, EDGE), np.uint16)
    with stream(plate, positions=["A/1/0"], **HOW) as run:
        for t in range(4):
            buffer[:] = frame(0, t, 0, 0)
            run.append(buffer, t=t)
            buffer[:] = 0
    assert all((plate["A/1/0"]["0"][t, 0, 0] == frame(0, t, 0, 0)).all() for t in range(4))


def test_several_threads_may_append(plate):
    places = [(p, t, c, z) for p in range(3) for t in range(4) for c in range(2) for z in range(SLICES)]
    with stream(plate, positions=POSITIONS, shards="ZYX", **HOW) as run, ThreadPoolExecutor(8) as threads:
        list(
            threads.map(
                lambda p: run.append(frame(*p), position=POSITIONS[p[0]], t=p[1], c=p[2], z=p[3]), places
            )
        )
    for p, name in enumerate(POSITIONS):
        assert (plate[name]["0"][...] == volume(p, 4)).all()


# --- metadata -------------------------------------------------------------------------------------


def test_metadata_are_columns(plate):
    with stream(plate, positions=["A/1/0"], **HOW) as run:
        run.append(
            frame(0, 0, 0, 0), metadata={"time_s": 1, "count": np.int64(3), "who": "Ä", "ok": True, "x": [1]}
        )
        run.append(frame(0, 0, 0, 1), z=1, metadata={"time_s": 2.5, "count": 4, "who": "", "ok": False})
        run.append(frame(0, 1, 0, 0), t=1, metadata={"count": 5})
        run.checkpoint()
        assert plate["A/1/0"].frames.count == 3
        assert plate["A/1/0"].extent.running
    frames = ps.open_ome_zarr(Path(plate.zgroup.store.root))["A/1/0"].frames
    assert list(frames) == ["t", "c", "z", "time_s", "count", "who", "ok", "x"]
    assert frames["time_s"][:2].tolist() == [1.0, 2.5]
    assert np.isnan(frames["time_s"][2])
    assert frames["count"].tolist() == [3, 4, 5]
    assert frames["count"].dtype.kind == "i"
    assert frames["who"].tolist() == ["Ä", "", None]
    assert frames["ok"].tolist() == [True, False, None]
    assert frames["x"].tolist() == ["[1]", None, None]
    assert len(frames.to_xarray()["count"]) == 3


def test_the_document_of_a_position_stays_small(plate, tmp_path):
    with stream(plate, positions=["A/1/0"], shape=(None, 1, 1, 8, 8), dtype="uint8") as run:
        for t in range(300):
            run.append(np.full((8, 8), t % 250), t=t, metadata={"time_s": t * 0.1, "note": "x" * 50})
    assert (tmp_path / "run.zarr/A/1/0/zarr.json").stat().st_size < 10_000
    assert plate["A/1/0"].frames.count == 300


# --- memory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("checkpoint", [None, 5])
def test_memory_is_bounded_whatever_the_order(plate, checkpoint):
    """Positions innermost, shards over Z: all blocks are incomplete at once."""
    budget, most = 25_000, 0
    with stream(
        plate, positions=POSITIONS, shards="ZYX", max_memory=budget, checkpoint_every=checkpoint, **HOW
    ) as run:
        for t in range(3):
            for z in range(SLICES):
                for c in range(2):
                    for p, name in enumerate(POSITIONS):
                        run.append(frame(p, t, c, z), position=name, t=t, c=c, z=z)
                        most = max(most, run._memory.used)
    assert most <= budget
    for p, name in enumerate(POSITIONS):
        assert (plate[name]["0"][...] == volume(p, 3)).all()


def test_a_full_queue_is_an_error_or_drops_as_asked(plate, monkeypatch):
    gate, push = threading.Event(), PushedBlocks.push
    monkeypatch.setattr(PushedBlocks, "push", lambda *a: (gate.wait(20), push(*a))[1])
    nbytes = EDGE * EDGE * 2
    run = stream(plate, positions=["A/1/0"], max_memory=2 * nbytes, on_full="raise", **HOW)
    run.append(frame(0, 0, 0, 0))
    run.append(frame(0, 0, 0, 1), z=1)
    with pytest.raises(ps.BudgetError, match="max_memory"):
        run.append(frame(0, 0, 0, 2), z=2)
    gate.set()
    run.append(frame(0, 0, 0, 2), z=2) if not run._memory.wait_idle() else None
    run.close()
    gate.clear()
    run = stream(plate, positions=["A/1/1"], max_memory=2 * nbytes, on_full="drop", **HOW)
    assert run.append(frame(0, 0, 0, 0))
    assert run.append(frame(0, 0, 0, 1), z=1)
    assert not run.append(frame(0, 0, 0, 2), z=2)
    assert run.dropped == 1
    gate.set()
    run.close()
    assert not plate["A/1/1"]["0"][0, 0, 2].any()
    assert plate["A/1/1"].frames.count == 2


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.quick(20)
@pytest.mark.parametrize(
    ("pixels", "place", "words"),
    [
        (np.zeros((3, 4)), {}, "does not fit planes"),
        (np.zeros((EDGE, EDGE)) + 0.5, {}, "uint16"),
        (np.zeros((EDGE, EDGE)) - 1, {}, "uint16"),
        (np.full((EDGE, EDGE), np.nan), {}, "uint16"),
        (np.zeros((EDGE, EDGE)), {"c": "Cy5"}, "no channel 'Cy5'"),
        (np.zeros((EDGE, EDGE)), {"c": 2}, "c=2 is outside"),
        (np.zeros((EDGE, EDGE)), {"z": 5}, "z=5 is outside"),
        (np.zeros((EDGE, EDGE)), {"t": -1}, "t=-1 is outside"),
        (np.zeros((EDGE, EDGE)), {"t": 1.5}, "integers"),
        (np.zeros((EDGE, EDGE)), {"position": "H/9/0"}, "no position"),
        (np.zeros((SLICES + 1, EDGE, EDGE)), {}, "z=5 is outside"),
        (np.zeros((2, EDGE, EDGE)), {"z": 1}, "leave z out"),
    ],
)
def test_a_frame_that_does_not_fit_is_an_error_at_the_call(plate, pixels, place, words):
    with stream(plate, positions=["A/1/0"], **HOW) as run:
        with pytest.raises(ps.ArgumentError, match=words):
            run.append(pixels, **place)
        run.append(frame(0, 0, 1, 4), c=1, z=4)
    assert (plate["A/1/0"]["0"][0, 1, 4] == frame(0, 0, 1, 4)).all()


def test_a_frame_comes_once_and_none_after_the_end(plate):
    with stream(plate, positions=["A/1/0"], **HOW) as run:
        run.append(frame(0, 0, 0, 0))
        with pytest.raises(ps.ArgumentError, match="there already"):
            run.append(frame(0, 0, 0, 0))
    with pytest.raises(ps.ArgumentError, match="closed"):
        run.append(frame(0, 1, 0, 0), t=1)
    run.close()


@pytest.mark.quick(20)
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shape": (None, 2, None, 8, 8)}, "along z must be known"),
        ({"shape": (8, 8)}, "5 axes"),
        ({"positions": None}, "which positions"),
        ({"positions": ["A/1"]}, "no position"),
        ({"order": "ptz"}, "comes not first"),
        ({"order": "tz"}, "lacks"),
        ({"order": "tt"}, "each once"),
        ({"scale": (1, 1, 1, 1, np.nan)}, "positive numbers"),
        ({"scale": (1, 1)}, "5 positive numbers"),
        ({"on_full": "panic"}, "on_full"),
        ({"pyramid_levels": 2, "pyramid_method": "gaussian"}, "gaussian"),
        ({"max_memory": "much"}, "max_memory"),
        ({"workers": 0}, "workers"),
        ({"shape": (None, 3, 5, 8, 8)}, "only 2 are named"),
    ],
)
def test_a_wrong_argument_creates_nothing(plate, tmp_path, options, words):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ps.ArgumentError, match=words):
        stream(plate, **{**HOW, "positions": ["A/1/0"], **options})
    assert sorted(tmp_path.rglob("*")) == before


def test_a_position_with_an_image_is_not_acquired_into(plate):
    plate.create_position("A", "1", "0").create_zeros("0", (1, 2, 1, 8, 8), "uint8")
    with pytest.raises(ps.NodeExistsError, match="has an image"):
        stream(plate, positions=["A/1/0"], **HOW)


def test_a_plate_that_is_open_for_reading_is_left_alone(plate, tmp_path):
    with pytest.raises(ps.ReadOnlyError):
        stream(ps.open_ome_zarr(tmp_path / "run.zarr"), positions=["A/1/0"], **HOW)


def test_one_position_has_one_stream(plate, tmp_path):
    with stream(plate, positions=["A/1/0"], **HOW) as run:
        run.append(frame(0, 0, 0, 0))
        for resume in (False, True):
            with pytest.raises(ps.LockTimeoutError, match=f"process {os.getpid()}"):
                stream(plate, positions=["A/1/0"], resume=resume, **HOW)
        script = (
            "import sys, platestore as ps\nfrom platestore.acquisition import stream\n"
            "plate = ps.open_ome_zarr(sys.argv[1], mode='r+')\n"
            "stream(plate, positions=['A/1/0'], shape=(None, 2, 5, 32, 32), dtype='uint16', resume=True)"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "run.zarr")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert f"process {os.getpid()}" in done.stderr
        assert recover(tmp_path / "run.zarr").running == ["A/1/0"]
        assert "acquisition-running" in {f.code for f in ps.check(tmp_path / "run.zarr").findings}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_cannot_append(plate):
    with stream(plate, positions=["A/1/0"], **HOW) as run:
        run.append(frame(0, 0, 0, 0))
        child = os.fork()
        if not child:
            try:
                run.append(frame(0, 0, 0, 1), z=1)
            except ps.ForkError:
                os._exit(7)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        run.append(frame(0, 0, 0, 1), z=1)
    assert (plate["A/1/0"]["0"][0, 0, 1] == frame(0, 0, 0, 1)).all()


def for_ever(run) -> None:
    """Append frames from the fourth time point on, until that fails."""
    for t in range(3, 1000):
        for c in range(len(CHANNELS)):
            for z in range(SLICES):
                run.append(frame(0, t, c, z), t=t, c=c, z=z)
        run.checkpoint()


# --- bad luck -------------------------------------------------------------------------------------


def test_the_first_error_of_a_writer_is_told_and_what_was_acknowledged_is_there(plate, tmp_path, monkeypatch):
    run = stream(plate, positions=["A/1/0"], shards="ZYX", pyramid_levels=2, **HOW)
    fill(run, 0, "A/1/0", 2)
    run.append(frame(0, 2, 0, 0), t=2)
    run.checkpoint()
    push = PushedBlocks.push

    def full(self, place, pixels):
        raise OSError(errno.ENOSPC, "No space left on device", "some/file")

    monkeypatch.setattr(PushedBlocks, "push", full)
    with pytest.raises(OSError, match="No space left") as caught:
        for_ever(run)
    assert caught.value.filename == "some/file"
    assert any("frames" in note for note in caught.value.__notes__)
    with pytest.raises(OSError, match="No space left"):
        run.close()
    monkeypatch.setattr(PushedBlocks, "push", push)
    report = recover(tmp_path / "run.zarr", keep_partial=True)
    assert report.frames == 21
    image = ps.open_ome_zarr(tmp_path / "run.zarr")["A/1/0"]["0"]
    assert (image[:2] == volume(0, 2)).all()
    assert (image[2, 0, 0] == frame(0, 2, 0, 0)).all()
    assert ps.check(tmp_path / "run.zarr", deep=True).whole


def test_an_exception_of_the_caller_closes_the_stream(plate):
    def broken() -> None:
        with stream(plate, positions=["A/1/0"], **HOW) as run:
            run.append(frame(0, 0, 0, 0))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert (plate["A/1/0"]["0"][0, 0, 0] == frame(0, 0, 0, 0)).all()
    assert not plate["A/1/0"].extent.running


def test_a_process_that_ends_without_closing_says_so_and_can_be_recovered(tmp_path):
    script = (
        "import sys, numpy as np\nsys.path.insert(0, sys.argv[2])\n"
        "from microscope import frame, make_plate\nfrom platestore.acquisition import stream\n"
        "from pathlib import Path\n"
        "plate = make_plate(Path(sys.argv[1]))\n"
        "run = stream(plate, positions=['A/1/0'], shape=(None, 2, 5, 32, 32), dtype='uint16')\n"
        "run.append(frame(0, 0, 0, 0))\nrun.append(frame(0, 0, 1, 0), c=1)\nrun.checkpoint()\n"
    )
    here = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "run.zarr"), here],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "StoreWarning" in done.stderr
    assert "platestore recover" in done.stderr
    found = ps.check(tmp_path / "run.zarr")
    assert "acquisition-unfinished" in {f.code for f in found.findings}
    plate = ps.open_ome_zarr(tmp_path / "run.zarr", mode="r+")
    with pytest.raises(ps.NodeExistsError, match="unfinished run"):
        stream(plate, positions=["A/1/0"], **HOW)
    result = CliRunner().invoke(cli, ["recover", str(tmp_path / "run.zarr"), "--json"])
    assert result.exit_code == 0, result.output
    said = json.loads(result.output)
    assert said["frames"] == 2
    assert len(said["missing"]["A/1/0"]) == 8
    again = CliRunner().invoke(cli, ["recover", str(tmp_path / "run.zarr")])
    assert again.output == "nothing to recover\n"
    assert ps.check(tmp_path / "run.zarr", deep=True).whole


def test_a_run_that_was_killed_goes_on_at_the_watermark(tmp_path):
    script = (
        "import os, sys\nsys.path.insert(0, sys.argv[2])\nfrom pathlib import Path\n"
        "from microscope import frame, make_plate\nfrom platestore.acquisition import stream\n"
        "run = stream(make_plate(Path(sys.argv[1])), positions=['A/1/0'], shape=(None, 2, 5, 32, 32),\n"
        "             dtype='uint16', shards='ZYX', pyramid_levels=2)\n"
        "for t in range(3):\n for c in range(2):\n  for z in range(5):\n"
        "   run.append(frame(0, t, c, z), t=t, c=c, z=z)\n"
        "run.append(frame(0, 3, 0, 2), t=3, z=2)\nrun.checkpoint()\nos._exit(9)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "run.zarr"), str(Path(__file__).parent)]
    assert subprocess.run(command, check=False).returncode == 9
    with ps.open_ome_zarr(tmp_path / "run.zarr", mode="r+") as plate:
        with stream(plate, positions=["A/1/0"], resume=True, **HOW) as run:
            assert plate["A/1/0"].extent.running
            for c in range(len(CHANNELS)):
                for z in range(SLICES):
                    run.append(frame(0, 3, c, z), t=3, c=c, z=z)
        assert (plate["A/1/0"]["0"][...] == volume(0, 4)).all()
    assert ps.check(tmp_path / "run.zarr", deep=True).whole


def test_a_kill_after_a_run_went_on_loses_nothing_of_the_run_before(plate, tmp_path):
    with stream(plate, positions=["A/1/0"], **HOW) as run:
        fill(run, 0, "A/1/0", 3)
    script = (
        "import os, sys, numpy as np, platestore as ps\nfrom platestore.acquisition import stream\n"
        "run = stream(ps.open_ome_zarr(sys.argv[1], mode='r+'), positions=['A/1/0'], resume=True,\n"
        "             shape=(None, 2, 5, 32, 32), dtype='uint16')\n"
        "run.append(np.ones((32, 32)), t=3)\nrun.checkpoint()\nos._exit(9)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "run.zarr")]
    assert subprocess.run(command, check=False).returncode == 9
    recover(tmp_path / "run.zarr")
    assert (ps.open_ome_zarr(tmp_path / "run.zarr")["A/1/0"]["0"][...] == volume(0, 3)).all()


def test_a_run_goes_on_where_it_was(plate, tmp_path):
    with stream(plate, positions=["A/1/0"], shards="ZYX", pyramid_levels=2, **HOW) as run:
        fill(run, 0, "A/1/0", 2)
    with stream(plate, positions=["A/1/0"], resume=True, shards="ZYX", pyramid_levels=2, **HOW) as run:
        with pytest.raises(ps.ArgumentError, match="there already"):
            run.append(frame(0, 1, 1, 4), t=1, c=1, z=4)
        for t in (2, 3):
            for c in range(2):
                for z in range(SLICES):
                    run.append(frame(0, t, c, z), t=t, c=c, z=z, metadata=metadata(0, t, c, z))
    position = plate["A/1/0"]
    assert (position["0"][...] == volume(0, 4)).all()
    assert position.frames.count == 40
    assert ps.check(tmp_path / "run.zarr", deep=True).whole


# --- who reads meanwhile --------------------------------------------------------------------------


def test_a_reader_sees_complete_time_points_while_they_are_written(plate, tmp_path):
    stop, errors, seen = threading.Event(), [], []

    def read() -> None:
        try:
            while not stop.is_set():
                position = ps.open_ome_zarr(tmp_path / "run.zarr")["A/1/0"]
                extent = position.extent
                seen.append(extent.time_points)
                data = position["0"][: extent.time_points]
                assert (data == volume(0, extent.time_points or 1)[: extent.time_points]).all()
        except BaseException as error:  # noqa: BLE001 - told by the test
            errors.append(error)

    with stream(plate, positions=["A/1/0"], shards="ZYX", checkpoint_every=10, **HOW) as run:
        reader = threading.Thread(target=read)
        reader.start()
        fill(run, 0, "A/1/0", 30)
        assert plate["A/1/0"].extent.running
        shown = CliRunner().invoke(cli, ["info", str(tmp_path / "run.zarr/A/1/0")]).output
        assert "being written: 30 complete time points, 300 frames" in shown
    stop.set()
    reader.join()
    assert not errors, errors
    assert seen == sorted(seen)
    assert plate["A/1/0"].extent.time_points == 30


def test_documents_are_written_a_few_times_per_position(plate, monkeypatch):
    from platestore.storage.local import LocalStorage

    written, write, create = [], LocalStorage.write, LocalStorage.create
    monkeypatch.setattr(
        LocalStorage, "write", lambda self, key, data: (written.append(key), write(self, key, data))[1]
    )
    monkeypatch.setattr(
        LocalStorage, "create", lambda self, key, data: (written.append(key), create(self, key, data))[1]
    )
    with stream(plate, positions=["A/1/0"], shape=(None, 1, 1, 8, 8), dtype="uint8") as run:
        before = len(written)
        for t in range(60):
            run.append(np.full((8, 8), t), t=t)
        assert len(written) == before  # room for 64 was made at once
        for t in range(60, 600):
            run.append(np.full((8, 8), t % 250), t=t)
        # It doubled four times: the record, the array, the end of the record.
        assert len(written) - before <= 4 * 3
