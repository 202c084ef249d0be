"""Zip archives of stores that are not named ``.ozx``: the error says what they are, and how to open them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zarr.storage import ZipStore

import platestore as ps
from cli.cli_helpers import invoke_command
from nodes.store_helpers import stored_plate


@pytest.fixture(params=["image.ome.zarr.zip", "image.zip", "archive"])
def archive(request: pytest.FixtureRequest, tmp_path: Path, version: str) -> Path:
    """A plate in a zip archive."""
    source = stored_plate(tmp_path / "a.zarr", version)
    path = tmp_path / request.param
    with zipfile.ZipFile(path, "w") as packed:
        for file in sorted(source.rglob("*")):
            if file.is_file():
                packed.write(file, file.relative_to(source))
    return path


@pytest.mark.parametrize("call", [ps.open_ome_zarr, ps.check, lambda p: ps.copy(p, f"{p}.zarr")])
def test_the_error_says_how_it_is_opened(archive: Path, call: Any) -> None:
    with pytest.raises(ps.InvalidMetadataError, match=r"zip archive.*\.ozx.*ZipStore"):
        call(archive)
    assert not Path(f"{archive}.zarr").exists()


def test_validate_sees_what_it_is(archive):
    report = ps.validate(archive)
    assert [finding.code for finding in report.findings] == ["archive"]
    assert "zip archive" in report.findings[0].message
    assert ".ozx" in str(report.findings[0].hint)
    assert "zip archive" in invoke_command("validate", archive).output


def test_it_opens_as_it_is_said(archive, tmp_path, version):
    assert len(ps.open_ome_zarr(ZipStore(archive, mode="r"))) == 2
    ps.copy(ZipStore(archive, mode="r"), tmp_path / "b.zarr", verify=True)
    assert (np.asarray(ps.open_ome_zarr(tmp_path / "b.zarr")["A/2/0/0"]) == 2).all()
    if version == "0.5":
        archive.rename(tmp_path / "c.ozx")
        assert len(ps.open_ome_zarr(tmp_path / "c.ozx")) == 2


def test_an_empty_archive_is_one_too(tmp_path):
    zipfile.ZipFile(tmp_path / "x.zip", "w").close()
    with pytest.raises(ps.InvalidMetadataError, match="zip archive"):
        ps.open_ome_zarr(tmp_path / "x.zip")
