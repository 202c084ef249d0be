"""Positions as labelled arrays: what comes out, and that it comes back."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import dask.array
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from xarray_cases import CHANNELS, KINDS, arrays, axes, labelled, position, random

import platestore as ps
from conftest import SHARED, examples
from nodes.store_helpers import attributes
from platestore import TransformationMeta
from platestore.errors import ArgumentError, NodeKeyError
from platestore.xarray import DaskArrayWrapper, ZarrArrayWrapper, to_xarray, write_xarray

UNITS = {"ms": "millisecond", "um": "micrometer", "µm": "micrometer", "s": "second"}


def scale(values):
    return TransformationMeta(type="scale", scale=list(values))


def translation(values):
    return TransformationMeta(type="translation", translation=list(values))


# --- reading --------------------------------------------------------------------------------------


def test_what_comes_out(tmp_path, version):
    with position(tmp_path / "image.zarr", version=version) as p:
        data = random(2, 3, 2, 8, 6)
        p.create_image("0", data, transform=[scale([5, 1, 2, 0.5, 0.25]), translation([1, 0, 3, 4, 5])])
        x = p.to_xarray()
        assert x.dims == ("t", "c", "z", "y", "x")
        assert isinstance(x.data, dask.array.Array)
        assert x.name == "image"
        assert x.attrs == {}
        np.testing.assert_array_equal(x.values, data)
        assert x.c.values.tolist() == CHANNELS
        for d, s, t, n in zip("tzyx", [5, 2, 0.5, 0.25], [1, 3, 4, 5], [2, 2, 8, 6], strict=True):
            assert x[d].dtype == np.float64
            np.testing.assert_array_equal(x[d], np.arange(n) * s + t)
            assert x[d].attrs["scale"] == s
            assert x[d].attrs["type"] == KINDS[d]


@settings(deadline=None)
@given(
    outer=st.tuples(st.floats(0.1, 10), st.floats(-100, 100)),
    inner=st.tuples(st.floats(0.1, 10), st.floats(-100, 100)),
    size=st.integers(1, 7),
)
def test_transformations_compose_as_the_specification_says(outer, inner, size):
    with tempfile.TemporaryDirectory() as directory:
        p = position(Path(directory, "image.zarr"), "yx", channels=[])
        steps = [scale([1.0, inner[0]]), translation([0.0, inner[1]])]
        p.create_image("0", np.zeros((1, size), "uint8"), transform=steps)
        p.set_transform("*", [scale([1.0, outer[0]]), translation([0.0, outer[1]])])
        x = p.to_xarray()["x"]
        # As affine matrices, in homogeneous coordinates: the dataset's first, then the multiscales'.
        first, then = (np.array([[s, t], [0, 1]]) for s, t in (inner, outer))
        points = np.stack([np.arange(size), np.ones(size)])
        np.testing.assert_allclose(x, (then @ (first @ points))[0], rtol=1e-12, atol=1e-9)
        assert x.attrs["scale"] == outer[0] * inner[0]


def test_upper_case_axes_become_lower_case(tmp_path):
    p = ps.open_ome_zarr(tmp_path / "a.zarr", layout="fov", mode="w", channel_names=["DAPI"])
    p.create_zeros("0", (1, 1, 1, 4, 4), "uint8")
    assert p.to_xarray().dims == ("t", "c", "z", "y", "x")
    assert p.to_xarray().x.attrs["units"] == "micrometer"
    assert p.to_xarray().t.attrs["units"] == "second"


def test_blocks_are_whole_shards(tmp_path):
    p = position(tmp_path / "a.zarr", version="0.5")
    p.create_zeros("0", (4, 3, 8, 64, 64), "uint16", chunks=(1, 1, 1, 32, 32), shards=(1, 1, 8, 64, 64))
    for blocks in p.to_xarray().chunks[2:]:
        assert len(blocks) == 1
    with dask.config.set({"array.chunk-size": "64KiB"}):
        assert p.to_xarray().data.chunksize == (1, 1, 8, 64, 64)
        assert (
            p.to_xarray(array_wrapper={"name": "dask_array", "config": {"chunks": (1, 1, 1, 64, 64)}}).chunks[
                2
            ]
            == (1,) * 8
        )


def test_other_wrappers(tmp_path):
    p = position(tmp_path / "a.zarr")
    p.write_xarray(labelled())
    lazy = p.to_xarray(array_wrapper=ZarrArrayWrapper())
    assert not lazy.variable._in_memory
    np.testing.assert_array_equal(lazy[1:, [2, 0], 0, ::3, -1], labelled()[1:, [2, 0], 0, ::3, -1])
    named = p.to_xarray(array_wrapper=DaskArrayWrapper(naming="array_url"))
    assert named.data.name == p.to_xarray(array_wrapper=DaskArrayWrapper(naming="array_url")).data.name
    with pytest.raises(ArgumentError, match="wrapper"):
        p.to_xarray(array_wrapper="dask")


def test_a_missing_image_is_named(tmp_path):
    p = position(tmp_path / "a.zarr")
    p.write_xarray(labelled())
    with pytest.raises(KeyError) as caught:
        p.to_xarray("1")
    assert isinstance(caught.value, NodeKeyError)
    assert "images: 0" in str(caught.value)


def test_a_plate_position_and_a_label_image(tmp_path, version):
    plate = ps.open_ome_zarr(
        tmp_path / "p.zarr", layout="hcs", mode="w", channel_names=["DAPI"], version=version
    )
    p = plate.create_position("A", "1", "0")
    p.write_xarray(labelled(shape=(1, 1, 1, 8, 8)))
    assert p.to_xarray().sizes == {"t": 1, "c": 1, "z": 1, "y": 8, "x": 8}
    label = p.create_label("nuclei", np.ones((1, 1, 1, 8, 8), "uint8"))
    x = to_xarray(label)
    assert x.x.attrs["scale"] == 0.65
    assert int(x.sum()) == 64


# --- there and back -------------------------------------------------------------------------------


def check_same(found: xr.DataArray, written: xr.DataArray) -> None:
    assert found.dims == written.dims
    np.testing.assert_array_equal(found.values, written.values)
    assert found.dtype == written.dtype
    assert found.attrs == written.attrs
    for d in written.dims:
        if d == "c":
            assert found[d].values.tolist() == written[d].values.tolist()
            continue
        # Translations and steps are exact; places differ by what one multiplication and addition round.
        np.testing.assert_allclose(found[d], written[d], rtol=1e-14, atol=1e-12)
        assert found[d].values[0] == written[d].values[0]
        unit = written[d].attrs["units"]
        assert found[d].attrs["units"] == UNITS.get(unit, unit)
        if "scale" in written[d].attrs:
            assert found[d].attrs["scale"] == written[d].attrs["scale"]


@settings(deadline=None, max_examples=examples(40))
@given(array=arrays(), version=st.sampled_from(["0.4", "0.5"]), lazy=st.booleans())
def test_what_is_written_comes_back(array, version, lazy):
    names = "".join(str(d) for d in array.dims)
    channels = array.c.values.tolist() if "c" in names else []
    with tempfile.TemporaryDirectory() as directory:
        p = position(Path(directory, "a.zarr"), names, version, channels)
        p.write_xarray(array.chunk() if lazy else array)
        check_same(ps.open_ome_zarr(Path(directory, "a.zarr")).to_xarray(), array)
        # And once more, into another one: nothing moves.
        q = position(Path(directory, "b.zarr"), names, version, channels)
        q.write_xarray(p.to_xarray())
        xr.testing.assert_identical(q.to_xarray().rename(None), p.to_xarray().rename(None))
        for d in names:
            assert q.to_xarray()[d].attrs == p.to_xarray()[d].attrs


def test_attributes_live_in_our_own_namespace(tmp_path, version):
    p = position(tmp_path / "a.zarr", version=version)
    array = labelled()
    array.attrs.update(
        units="nanometer", gain=np.float32(2), table=np.arange(3), nested={"a": (1, np.int8(2))}
    )
    p.write_xarray(array)
    kept = {"units": "nanometer", "gain": 2.0, "table": [0, 1, 2], "nested": {"a": [1, 2]}}
    assert attributes(tmp_path / "a.zarr")["platestore"]["xarray_attrs"] == {"0": kept}
    assert ps.open_ome_zarr(tmp_path / "a.zarr").to_xarray().attrs == kept
    x = p.to_xarray()
    x.attrs["nested"]["a"].append(3)
    assert p.to_xarray().attrs == kept


@pytest.mark.parametrize("value", [np.nan, {1: 2}, object(), b"bytes", {1, 2}])
def test_attributes_that_json_has_not_are_refused(tmp_path, value):
    p = position(tmp_path / "a.zarr")
    array = labelled()
    array.attrs["bad"] = value
    with pytest.raises(ArgumentError, match="attrs"):
        p.write_xarray(array)
    assert list(p) == []


def test_a_real_field(tmp_path):
    field = SHARED / "realdata" / "cardiomyocytes-B03-mip.zarr" if SHARED is not None else None
    if field is None or not field.is_dir():
        pytest.skip("the real field is not beside this checkout")
    source = ps.open_ome_zarr(field)
    x = source.to_xarray()
    group = zarr.open_group(field, mode="r")
    np.testing.assert_array_equal(x.values, group["0"][...])
    data = group.attrs["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"]
    assert [x[d].attrs["scale"] for d in x.dims] == data
    p = ps.open_ome_zarr(
        tmp_path / "a.zarr", layout="fov", mode="w", channel_names=source.channel_names, axes=source.axes
    )
    p.write_xarray(x)
    xr.testing.assert_identical(p.to_xarray().rename(None), x.rename(None))


# --- the extra ------------------------------------------------------------------------------------


def test_without_xarray_the_error_names_the_command(tmp_path):
    position(tmp_path / "a.zarr").create_zeros("0", (1, 3, 1, 4, 4), "uint8")
    code = (
        "import sys; sys.modules['xarray'] = None\n"
        "import platestore\n"
        f"p = platestore.open_ome_zarr({str(tmp_path / 'a.zarr')!r}, mode='r+')\n"
        "for call in (lambda: p.to_xarray(), lambda: p.write_xarray(None)):\n"
        "    try:\n"
        "        call()\n"
        "    except ImportError as error:\n"
        "        print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("pip install 'platestore[xarray]'") == 2


def test_importing_the_room_costs_nothing():
    code = (
        "import sys, platestore.xarray\n"
        "print([m for m in ('xarray', 'numpy', 'zarr', 'dask', 'pandas') if m in sys.modules])\n"
        "print(sorted(platestore.xarray.__all__) == sorted(set(platestore.xarray.__all__)))\n"
        "print(all(getattr(platestore.xarray, n) is not None for n in platestore.xarray.__all__))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:3] == ["[]", "True", "True"]


def test_functions_and_methods_are_the_same(tmp_path):
    p = position(tmp_path / "a.zarr", "yx", channels=[])
    write_xarray(p, labelled("yx", (8, 6)), "raw")
    xr.testing.assert_identical(to_xarray(p, "raw"), p.to_xarray("raw"))
    assert axes("yx")[0].name == p.axis_names[0]
