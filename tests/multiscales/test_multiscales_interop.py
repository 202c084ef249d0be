"""Other libraries read what is written, and make the same levels where they are right."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from multiscales.level_reference import noise
from platestore.multiscales import Methods, NgffImage, to_multiscales, to_ngff_image, to_ngff_zarr

ngff_zarr = pytest.importorskip("ngff_zarr")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def made():
    image = to_ngff_image(
        noise((2, 3, 8, 32, 48)),
        scale={"t": 3.0, "z": 2.0, "y": 0.5, "x": 0.5},
        axes_units={"t": "s", "z": "um", "y": "um", "x": "um"},
        channel_names=["a", "b", "c"],
        name="cells",
    )
    return to_multiscales(image, [2, 4], chunks=16, orientation="LPS")


@pytest.mark.parametrize(
    ("name", "version", "shards"),
    [("a.zarr", "0.4", None), ("a.zarr", "0.5", None), ("a.zarr", "0.5", 2), ("a.ozx", "0.5", None)],
)
def test_ngff_zarr_reads_it(name, version, shards, made, tmp_path):
    to_ngff_zarr(tmp_path / name, made, version=version, chunks_per_shard=shards)
    back = ngff_zarr.from_ngff_zarr(tmp_path / name, validate=True)
    assert back.metadata.name == "cells"
    for a, b in zip(back.images, made.images, strict=True):
        np.testing.assert_array_equal(a.data.compute(), b.data)
        assert (tuple(a.dims), a.scale, a.translation) == (b.dims, b.scale, b.translation)
        assert {d: u for d, u in a.axes_units.items() if u} == b.axes_units
        assert {d: o.value for d, o in a.axes_orientations.items()} == {
            d: o.value for d, o in b.axes_orientations.items()
        }


def test_ome_zarr_models_read_it(made, tmp_path, version):
    models = pytest.importorskip("ome_zarr_models")
    to_ngff_zarr(tmp_path / "a.zarr", made, version=version)
    assert models.open_ome_zarr(zarr.open_group(tmp_path / "a.zarr", mode="r")) is not None


@pytest.mark.parametrize("method", ["DASK_IMAGE_MODE", "DASK_BIN_SHRINK"])
def test_levels_of_even_lengths_are_ngff_zarr_s(method):
    pixels = noise((16, 32, 48))
    theirs = ngff_zarr.to_multiscales(
        ngff_zarr.to_ngff_image(pixels), [2, 4], method=ngff_zarr.Methods[method], cache=False
    )
    ours = to_multiscales(pixels, [2, 4], method=Methods[method])
    assert len(theirs.images) == len(ours.images)
    for k, (a, b) in enumerate(zip(theirs.images, ours.images, strict=True)):
        difference = a.data.compute().astype("int64") - b.data.compute()
        # Means are rounded half up there and half to even here: each step may add one.
        most = 0 if method == "DASK_IMAGE_MODE" else k
        assert np.abs(difference).max() <= most
        assert {d: a.scale[d] for d in "zyx"} == {d: b.scale[d] for d in "zyx"}
        assert {d: a.translation[d] for d in "zyx"} == {d: b.translation[d] for d in "zyx"}


@pytest.mark.parametrize("shape", [(512, 512), (256, 256, 256), (64, 512, 512), (128, 1024)])
def test_the_default_levels_of_powers_of_two_are_ngff_zarr_s(shape):
    import dask.array as da

    image = da.zeros(shape, dtype="uint8")
    theirs = ngff_zarr.to_multiscales(image, method=ngff_zarr.Methods.DASK_BIN_SHRINK, cache=False)
    ours = to_multiscales(image, method="mean")
    assert [i.data.shape for i in ours.images] == [i.data.shape for i in theirs.images]


def test_images_and_methods_of_ngff_zarr_are_taken():
    image = ngff_zarr.to_ngff_image(
        noise((8, 12, 3)), dims="yxc", scale={"y": 0.5, "x": 0.5}, axes_units={"y": "micrometer"}
    )
    image.axes_orientations = {"x": ngff_zarr.LPS["x"]}
    made = to_multiscales(image, [2], method=ngff_zarr.Methods.DASK_BIN_SHRINK)
    assert isinstance(made.images[0], NgffImage)
    assert made.images[0].dims == ("c", "y", "x")
    assert made.images[1].scale == {"c": 1, "y": 1, "x": 1}
    assert made.images[1].axes_orientations["x"].value == "right-to-left"
