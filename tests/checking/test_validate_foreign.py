"""Stores that other libraries write are judged fairly: no error where there is none."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import zarr

import platestore as ps

FORMATS = {"0.4": 2, "0.5": 3}


@pytest.fixture(autouse=True)
def _their_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def loud(report):
    """Code, and the last part of the file, of what is not advice."""
    return [(f.code, f.file.rsplit(".zarr/", 1)[-1]) for f in report.findings if f.level != "advice"]


def test_images_and_labels_of_ome_zarr(tmp_path, version):
    writer = pytest.importorskip("ome_zarr.writer")
    formats = pytest.importorskip("ome_zarr.format")
    fmt = formats.FormatV04() if version == "0.4" else formats.FormatV05()
    group = zarr.open_group(tmp_path / "s.zarr", mode="w", zarr_format=FORMATS[version])
    writer.write_image(np.ones((2, 5, 271, 333), "uint8"), group, axes="czyx", fmt=fmt)
    writer.write_labels(np.ones((5, 271, 333), "uint16"), group, name="cells", axes="zyx", fmt=fmt)
    # Its list of label images in 0.5 does not state the version, which it must.
    assert loud(ps.validate(tmp_path / "s.zarr")) in ([], [("version-missing", "labels/zarr.json")])


def test_plates_of_ome_zarr(tmp_path, version):
    writer = pytest.importorskip("ome_zarr.writer")
    formats = pytest.importorskip("ome_zarr.format")
    fmt = formats.FormatV04() if version == "0.4" else formats.FormatV05()
    plate = zarr.open_group(tmp_path / "s.zarr", mode="w", zarr_format=FORMATS[version])
    writer.write_plate_metadata(plate, ["A", "B"], ["1", "2"], ["A/1", "B/2"], fmt=fmt)
    for path in ("A/1", "B/2"):
        well = plate.require_group(path)
        writer.write_well_metadata(well, ["0"], fmt=fmt)
        image = well.require_group("0")
        writer.write_image(np.zeros((1, 1, 1, 64, 64), "uint8"), image, axes="tczyx", fmt=fmt)
    assert loud(ps.validate(tmp_path / "s.zarr")) == []


def test_images_of_ngff_zarr(tmp_path, version):
    ngff_zarr = pytest.importorskip("ngff_zarr")
    image = ngff_zarr.to_ngff_image(np.zeros((64, 70, 91), "uint16"), dims=["z", "y", "x"])
    levels = ngff_zarr.to_multiscales(image, scale_factors=[2, 4])
    ngff_zarr.to_ngff_zarr(str(tmp_path / "s.zarr"), levels, version=version)
    assert loud(ps.validate(tmp_path / "s.zarr")) == []
