"""Fixtures that several rooms share."""

from __future__ import annotations

import os
import shutil
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import is_hypothesis_test, settings

import platestore as ps

#: Cases of one test function that the quick run takes, unless `@pytest.mark.quick(n)` says otherwise. Which
#: one it is follows from the name of the function: all versions and layouts are among those of a room.
_QUICK_CASES = 1
_LONG = "--long"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        _LONG,
        action="store_true",
        help="run what the quick run leaves out: all cases of each test, the long faults, more examples, "
        "at random",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption(_LONG):
        settings.register_profile("long", print_blob=True)
        settings.load_profile("long")
    else:
        # The same examples each time, so that a run says something about a change.
        settings.register_profile("quick", derandomize=True, max_examples=examples(100))
        settings.load_profile("quick")


def examples(number: int) -> int:
    """How many examples of hypothesis a test takes: all in the long run, a third in the quick one."""
    return number if settings.get_current_profile_name() == "long" else max(2, number // 3)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take the quick part, or the rest. Tests that were asked for by name are all run."""
    if config.option.keyword or any("::" in word for word in config.args):
        return
    functions: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("slow") is None:
            functions.setdefault(item.nodeid.partition("[")[0], []).append(item)
    quick: set[pytest.Item] = set()
    for name, cases in functions.items():
        marker = cases[0].get_closest_marker("quick")
        count = min(len(cases), marker.args[0] if marker is not None else _QUICK_CASES)
        first = zlib.crc32(name.encode()) % len(cases)
        quick.update(cases[(first + k * len(cases) // count) % len(cases)] for k in range(count))
    if config.getoption(_LONG):
        # Random examples are others in the long run.
        chosen = [i for i in items if i not in quick or is_hypothesis_test(getattr(i, "obj", None))]
    else:
        chosen = [i for i in items if i in quick]
    left = set(items) - set(chosen)
    config.hook.pytest_deselected(items=[item for item in items if item in left])
    items[:] = chosen


#: The stores of tests lie in memory where the system has such a file system: making and deleting thousands
#: of small files takes most of the time elsewhere. `TMPDIR` chooses another place.
_MEMORY = Path("/dev/shm")
_NEEDED = 4 << 30
if "TMPDIR" not in os.environ and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _NEEDED:
    os.environ["TMPDIR"] = str(_MEMORY)  # the processes that tests start, and xdist's, inherit it
    tempfile.tempdir = None

_BESIDE = Path(__file__).resolve().parents[2] / "shared"
#: Official cases and a real field, where a developer has them; users do not.
SHARED: Path | None = _BESIDE if _BESIDE.is_dir() else None


@pytest.fixture
def shared() -> Path:
    """The folder of official cases and real data; skips without it."""
    if SHARED is None:
        pytest.skip("the folder of official cases and real data is not beside this checkout")
    return SHARED


@pytest.fixture(params=["0.4", "0.5"])
def version(request: pytest.FixtureRequest) -> str:
    """Each OME-NGFF version that is written."""
    return request.param


def make_plate(
    path: Path, version: str = "0.4", positions=(("A", "1", "0"), ("A", "2", "0"), ("B", "1", "0")), **kwargs
):
    """A small plate with an image in every position; each image holds its own number."""
    plate = ps.open_ome_zarr(
        path, layout="hcs", mode="w-", channel_names=["DAPI", "GFP"], version=version, **kwargs
    )
    for number, position in enumerate(plate.create_positions(list(positions))):
        position.create_image("0", np.full((1, 2, 2, 8, 8), number + 1, "uint16"))
    return plate
