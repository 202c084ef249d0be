"""What is written from labelled arrays is read by others, and passes the official schemas."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import xarray as xr
import zarr
from xarray_cases import CHANNELS, labelled, position

import platestore as ps
from interop.test_interop_schemas import schema_validators
from platestore.xarray import read_multiscale_group, write_multiscale_group


def levels() -> dict[str, xr.DataArray]:
    out = {}
    for k in range(3):
        f = 2**k
        coords = {d: np.arange(16 // f) * 0.5 * f + 0.25 * (f - 1) + 10 for d in "yx"}
        array = labelled("tczyx", (2, 3, 2, 16 // f, 16 // f), **coords)
        for d in "yx":
            array[d].attrs["units"] = "um"
        out[str(k)] = array.assign_attrs(units="nm")
    return out


@pytest.fixture(params=["group", "position"])
def stored(request, tmp_path, version):
    path = tmp_path / "image.zarr"
    if request.param == "group":
        write_multiscale_group(store=path, path="", arrays=levels(), ngff_version=version)
    else:
        p = position(path, version=version)
        for name, array in levels().items():
            p.write_xarray(array, name)
    return path


def check(found, name="0"):
    expected = levels()[name]
    np.testing.assert_array_equal(np.asarray(found), expected)


def test_schemas(stored, version, shared):
    content = json.loads((stored / (".zattrs" if version == "0.4" else "zarr.json")).read_text())
    attributes = content if version == "0.4" else content["attributes"]
    for name in ("image", "strict_image"):
        errors = [
            f"{e.json_path}: {e.message}" for e in schema_validators(version)[name].iter_errors(attributes)
        ]
        assert errors == []


def test_zarr(stored):
    group = zarr.open_group(stored, mode="r")
    for name in levels():
        check(group[name][...], name)


def test_yaozarrs(stored):
    yaozarrs = pytest.importorskip("yaozarrs")
    yaozarrs.validate_zarr_store(str(stored))
    image = yaozarrs.open_group(str(stored)).ome_metadata().multiscales[0]
    assert [axis.name for axis in image.axes] == list("tczyx")
    assert [axis.unit for axis in image.axes] == ["second", None, *["micrometer"] * 3]
    assert [dataset.path for dataset in image.datasets] == ["0", "1", "2"]


def test_ome_zarr_models(stored, version):
    models = pytest.importorskip("ome_zarr_models")
    image = models.open_ome_zarr(zarr.open_group(stored, mode="r"))
    attributes = image.attributes if version == "0.4" else image.attributes.ome
    steps = attributes.multiscales[0].datasets[1].coordinateTransformations
    assert list(steps[0].scale) == [2.5, 1, 0.5, 1, 1]
    assert list(steps[1].translation) == [0, 0, 3, 10.25, 10.25]
    if version == "0.4":  # it does not model this part of 0.5
        assert [channel.label for channel in attributes.omero.channels] == CHANNELS


def test_ngff_zarr(stored):
    ngff_zarr = pytest.importorskip("ngff_zarr")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = ngff_zarr.from_ngff_zarr(str(stored))
    for name, image in zip(levels(), found.images, strict=True):
        check(image.data, name)
        assert image.dims == tuple("tczyx")
        assert image.scale["x"] == levels()[name].x.values[1] - levels()[name].x.values[0]
        assert image.translation["x"] == levels()[name].x.values[0]
    assert found.images[0].axes_units["z"] == "micrometer"


def test_what_others_wrote_is_read(tmp_path, version):
    ngff_zarr = pytest.importorskip("ngff_zarr")
    data = np.arange(3 * 32 * 32, dtype="uint16").reshape(3, 32, 32)
    image = ngff_zarr.to_ngff_image(
        data,
        dims=("z", "y", "x"),
        scale={"z": 2.0, "y": 0.5, "x": 0.5},
        translation={"z": 1.0, "y": 0.0, "x": 7.0},
        axes_units={"z": "micrometer", "y": "micrometer", "x": "micrometer"},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        multiscales = ngff_zarr.to_multiscales(image, scale_factors=[2])
        ngff_zarr.to_ngff_zarr(str(tmp_path / "a.zarr"), multiscales, version=version)
        found = read_multiscale_group(tmp_path / "a.zarr")
    for array, theirs in zip(found.values(), multiscales.images, strict=True):
        np.testing.assert_array_equal(array, np.asarray(theirs.data))
        for d in "zyx":
            np.testing.assert_allclose(
                array[d], np.arange(array.sizes[d]) * theirs.scale[d] + theirs.translation[d]
            )
            assert array[d].attrs["units"] == "micrometer"


def test_a_pyramid_of_ours_has_the_places_of_its_windows(tmp_path, version):
    """The centre of each pixel of a level is the mean of the centres that it was made from."""
    p = position(tmp_path / "a.zarr", version=version)
    p.write_xarray(levels()["0"])
    p.compute_pyramid(3)
    found = ps.open_ome_zarr(tmp_path / "a.zarr").to_xarray
    for level in ("1", "2"):
        factor = 2 ** int(level)
        for d in "yx":
            expected = found("0")[d].values.reshape(-1, factor).mean(axis=1)
            np.testing.assert_allclose(found(level)[d], expected)
