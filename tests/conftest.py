"""Fixtures that several rooms share."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

import platestore as ps

# The same examples each time, so that a run says something about a change; `HYPOTHESIS_RANDOM=1` searches on.
settings.register_profile("repeatable", derandomize=True)
if not os.environ.get("HYPOTHESIS_RANDOM"):
    settings.load_profile("repeatable")

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
