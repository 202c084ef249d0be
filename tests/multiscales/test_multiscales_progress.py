"""Who is told how far writing is."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console
from rich.progress import Progress

from multiscales.level_reference import noise
from platestore.multiscales import NgffProgress, NgffProgressCallback, to_multiscales, to_ngff_zarr

PIXELS = noise((20, 60, 70))


@pytest.fixture
def bars():
    with Progress(console=Console(file=io.StringIO())) as progress:
        yield progress


def write(path, progress, factors=(2, 4), **kwargs):
    to_ngff_zarr(
        path / "a.zarr", to_multiscales(PIXELS, list(factors), chunks=16), progress=progress, **kwargs
    )


@pytest.mark.parametrize("progress", [None, False])
def test_nobody_is_told_by_default(progress, tmp_path, capfd):
    write(tmp_path, progress)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("factors", [[2, 4], [2, 3], []])
def test_a_function_is_told_of_bytes(factors, tmp_path):
    calls = []
    write(tmp_path, lambda done, total: calls.append((done, total)), factors)
    done, totals = zip(*calls, strict=True)
    assert set(totals) == {PIXELS.nbytes * (2 if factors == [2, 3] else 1)}
    assert list(done) == sorted(done)
    assert calls[-1][0] == totals[0]


def test_levels_as_they_are_count_together(tmp_path):
    made = to_multiscales(PIXELS, [2], chunks=16)
    made.images[1].data = made.images[1].data + np.uint16(1)
    calls = []
    to_ngff_zarr(tmp_path / "a.zarr", made, progress=lambda *call: calls.append(call))
    assert calls[-1] == (made.images[0].data.nbytes + made.images[1].data.nbytes,) * 2


def test_true_shows_a_bar_on_standard_error(tmp_path, capfd):
    write(tmp_path, True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "Writing levels" in err


def test_tasks_of_rich(tmp_path, bars):
    write(tmp_path, NgffProgress(bars))
    write(tmp_path, bars)
    assert [(t.completed, t.total) for t in bars.tasks] == [(PIXELS.nbytes, PIXELS.nbytes)] * 2
    mine = NgffProgress(bars)
    mine.add_cache_task("cache", 3)
    mine.update_cache_task_completed(2)
    assert bars.tasks[-1].completed == 2


def test_callbacks_of_rich(tmp_path, bars):
    callback = NgffProgressCallback(bars)
    callback.add_callback_task("First")
    write(tmp_path, callback)
    write(tmp_path, callback)
    assert [t.description for t in bars.tasks] == ["First", "Writing levels"]
    assert all(t.completed == t.total == PIXELS.nbytes and not t.visible for t in bars.tasks)


def test_callbacks_of_one_s_own(tmp_path):
    class Mine(NgffProgressCallback):
        calls: list[tuple[int, int]] = []  # noqa: RUF012

        def update(self, done, total):
            self.calls.append((done, total))

    write(tmp_path, Mine())
    assert Mine.calls[-1] == (PIXELS.nbytes, PIXELS.nbytes)
    NgffProgressCallback().update(1, 2)
    silent = NgffProgressCallback()
    silent.add_callback_task("Nothing")
    write(tmp_path, silent)


def test_objects_of_ngff_zarr(tmp_path, bars):
    ngff_zarr = pytest.importorskip("ngff_zarr.rich_dask_progress")
    write(tmp_path, ngff_zarr.NgffProgress(bars))
    assert bars.tasks[0].completed == PIXELS.nbytes
