"""Images: what they say, and how it is checked; chunks, units, orientation, methods."""

from __future__ import annotations

import copy
import subprocess
import sys
from enum import Enum

import dask.array as da
import numpy as np
import pytest
import zarr

import platestore.multiscales as pm
from platestore.errors import ArgumentError
from platestore.multiscales import (
    LPS,
    RAS,
    AnatomicalOrientation,
    AnatomicalOrientationValues,
    Methods,
    NgffImage,
    to_multiscales,
    to_ngff_image,
)

PLANE = np.zeros((8, 16), "uint16")


# --- names and imports ----------------------------------------------------------------------------


def test_public_names_are_there_and_cost_nothing_until_they_are_used():
    others = ("LPS", "RAS", "Multiscales", "to_ome_zarr", "from_ome_zarr")
    others += ("DASK_SUPPORTS_SHARDING", "IS_ZARR_V3_PLUS", "zarr_version")
    assert (str(pm.zarr_version), pm.IS_ZARR_V3_PLUS) == (zarr.__version__, True)
    assert pm.DASK_SUPPORTS_SHARDING in (True, False)
    for name in pm.__all__:
        assert getattr(getattr(pm, name), "__name__", "") == name or name in others
    assert pm.Multiscales is pm.NgffMultiscales
    assert pm.to_ome_zarr is pm.to_ngff_zarr
    assert pm.from_ome_zarr is pm.from_ngff_zarr
    assert set(pm.__all__) <= set(dir(pm))
    with pytest.raises(AttributeError, match="nothing"):
        _ = pm.nothing
    code = (
        "import sys, platestore.multiscales as pm; pm.Methods, pm.NgffImage, pm.LPS; "
        "sys.exit(bool({'zarr', 'dask', 'numpy', 'tensorstore'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- dims -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ndim", "dims"), [(2, "yx"), (3, "zyx"), (4, "czyx"), (5, "tczyx")])
def test_default_dims_are_the_specification_s(ndim, dims):
    assert to_ngff_image(np.zeros((2,) * ndim)).dims == tuple(dims)
    assert to_multiscales(np.zeros((2,) * ndim), []).images[0].dims == tuple(dims)


@pytest.mark.parametrize("ndim", [0, 1, 6])
def test_other_numbers_of_axes_are_refused(ndim):
    with pytest.raises(ArgumentError, match="2 to 5"):
        to_ngff_image(np.zeros((2,) * ndim))


@pytest.mark.parametrize(
    ("dims", "words"),
    [
        ("xx", "unique"),
        ("yq", "t, c, z, y, x"),
        ("zyx", "2 axes"),
        ("", "t, c, z, y, x"),
        ("tx", "2 or 3"),
        (5, "t, c, z"),
    ],
)
def test_wrong_dims(dims, words):
    with pytest.raises(ArgumentError, match=words):
        to_ngff_image(PLANE, dims=dims)


def test_dims_in_any_order_come_out_in_the_specification_s():
    pixels = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).astype("uint16")
    image = to_ngff_image(pixels, dims="zyxc", scale={"z": 3.0, "c": 1.0})
    made = to_multiscales(image, [2])
    assert made.images[0].dims == ("c", "z", "y", "x")
    assert made.images[0].data.shape == (5, 2, 3, 4)
    assert made.images[0].scale == {"c": 1, "z": 3, "y": 1, "x": 1}
    np.testing.assert_array_equal(made.images[0].data, pixels.transpose(3, 0, 1, 2))
    assert [axis.name for axis in made.metadata.axes] == ["c", "z", "y", "x"]
    lazy = to_multiscales(to_ngff_image(da.from_array(pixels), dims="zyxc"), [2])
    np.testing.assert_array_equal(lazy.images[1].data, made.images[1].data)
    assert image.dims == ("z", "y", "x", "c")  # the caller's stays


def test_names_of_axes_that_a_zarr_array_has(tmp_path):
    named = zarr.create_array(
        tmp_path / "a.zarr", shape=(4, 5, 6), dtype="u1", dimension_names=["t", "y", "x"]
    )
    assert to_ngff_image(named).dims == ("t", "y", "x")
    assert to_ngff_image(str(tmp_path / "a.zarr")).dims == ("t", "y", "x")
    odd = zarr.create_array(tmp_path / "b.zarr", shape=(4, 5, 6), dtype="u1", dimension_names=["a", "b", "c"])
    assert to_ngff_image(odd).dims == ("z", "y", "x")


# --- what is given ---------------------------------------------------------------------------------


def test_to_ngff_image_reads_nothing_and_keeps_what_it_is_told():
    image = to_ngff_image(
        np.ones((2, 8, 16), "uint8"),
        dims="cyx",
        scale={"y": 0.5, "x": 0.25},
        translation={"x": 7},
        name="cells",
        axes_units={"y": "um", "x": "micrometer"},
        channel_names=["DAPI", "GFP"],
    )
    assert isinstance(image.data, da.Array)
    assert image.scale == {"c": 1, "y": 0.5, "x": 0.25}
    assert image.translation == {"c": 0, "y": 0, "x": 7}
    assert image.axes_units == {"y": "micrometer", "x": "micrometer"}
    assert (image.name, image.channel_names) == ("cells", ["DAPI", "GFP"])
    assert image.computed_callbacks == []
    assert image.data.sum().compute() == 256


def test_pixels_are_taken_without_dask_until_they_are_replaced():
    pixels = np.ones((8, 16))
    image = to_ngff_image(pixels)
    assert image._pixels() is pixels
    assert copy.copy(image)._pixels() is pixels
    image.data = image.data + 1
    assert image._pixels() is image.data


def test_images_of_nested_lists_and_of_other_objects():
    assert to_ngff_image([[1, 2], [3, 4]]).data.shape == (2, 2)
    with pytest.raises(ArgumentError, match="must be an array"):
        to_multiscales(NgffImage([[1, 2]], ("y", "x"), {}, {}))
    with pytest.raises(ArgumentError, match="cannot be stored"):
        to_multiscales(np.zeros((4, 4), "complex64"))
    with pytest.raises(ArgumentError, match="1 or more"):
        to_multiscales(np.zeros((0, 4)))


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"scale": {"y": 0}}, "positive"),
        ({"scale": {"y": -1}}, "positive"),
        ({"scale": {"y": "1"}}, "positive"),
        ({"scale": {"y": float("nan")}}, "positive"),
        ({"translation": {"y": float("inf")}}, "number"),
        ({"translation": {"y": None}}, "number"),
        ({"scale": {"q": 1}}, "y, x"),
        ({"scale": [1, 1]}, "dict by axis"),
        ({"axes_units": {"q": "meter"}}, "y, x"),
        ({"axes_units": {"x": "banana"}}, "no unit of space"),
        ({"axes_units": {"x": "second"}}, "no unit of space"),
        ({"axes_units": {"x": 3}}, "must be a string"),
        ({"channel_names": ["a", "b"]}, "1 channels"),
        ({"channel_names": "a"}, "list of strings"),
        ({"name": ""}, "string"),
    ],
)
def test_wrong_descriptions(kwargs, words):
    with pytest.raises(ArgumentError, match=words):
        to_ngff_image(PLANE, **kwargs)


@pytest.mark.parametrize("colors", [["red"], ["FF"], [None], ["FF0000", "00FF00"]])
def test_wrong_colours(colors):
    image = to_ngff_image(PLANE)
    image.channel_colors = colors
    with pytest.raises(ArgumentError, match=r"hexadecimal|channels"):
        to_multiscales(image)


@pytest.mark.parametrize(
    ("given", "kind", "name"),
    [
        ("um", "space", "micrometer"),
        ("µm", "space", "micrometer"),
        ("μm", "space", "micrometer"),
        ("microns", "space", "micrometer"),
        ("Micrometers", "space", "micrometer"),
        ("micrometre", "space", "micrometer"),
        ("nm", "space", "nanometer"),
        ("mm", "space", "millimeter"),
        ("Mm", "space", "megameter"),
        ("m", "space", "meter"),
        ("Å", "space", "angstrom"),
        ("inches", "space", "inch"),
        ("feet", "space", "foot"),
        ("s", "time", "second"),
        ("sec", "time", "second"),
        ("seconds", "time", "second"),
        ("ms", "time", "millisecond"),
        ("min", "time", "minute"),
        ("hours", "time", "hour"),
        ("d", "time", "day"),
    ],
)
def test_units_get_the_specification_s_names(given, kind, name):
    dims = "tyx"
    axis = "t" if kind == "time" else "x"
    image = to_ngff_image(np.zeros((2, 2, 2)), dims=dims, axes_units={axis: given})
    assert image.axes_units == {axis: name}


def test_types_of_axes_may_be_others():
    image = to_ngff_image(np.zeros((2, 4, 4)), dims="cyx")
    image.axes_types = {"c": "angle"}
    assert to_multiscales(image, []).metadata.axes[0].type == "angle"
    image.axes_types = {"y": "angle"}
    with pytest.raises(ArgumentError, match=r"order|spatial"):
        to_multiscales(image, [])


# --- chunks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chunks", "found"),
    [
        (None, {"c": 1, "z": 128, "y": 128, "x": 128}),
        (64, {"c": 1, "z": 64, "y": 64, "x": 64}),
        ((2, 3, 4, 5), {"c": 2, "z": 3, "y": 4, "x": 5}),
        ({"z": 3, "c": 2}, {"c": 2, "z": 3, "y": 128, "x": 128}),
        ({"z": None, "x": -1}, {"c": 1, "z": 128, "y": 128, "x": 70}),
        (((1, 1), (4, 4, 1), (10,) * 6, (32, 32, 6)), {"c": 1, "z": 4, "y": 10, "x": 32}),
        ([2, (9,), None, 8], {"c": 2, "z": 9, "y": 128, "x": 8}),
    ],
)
def test_forms_of_chunks(chunks, found):
    made = to_multiscales(np.zeros((2, 9, 60, 70), "u1"), [2], chunks=chunks)
    assert made.chunks == found
    blocks = [made.images[1].data.chunks[i][0] for i in range(4)]
    assert blocks == [min(n, m) for n, m in zip(found.values(), (2, 5, 30, 35), strict=True)]


def test_chunks_of_planes_and_in_the_order_of_the_data():
    assert to_multiscales(np.zeros((600, 600), "u1"), []).chunks == {"y": 256, "x": 256}
    image = to_ngff_image(np.zeros((9, 60, 70, 2), "u1"), dims="zyxc")
    assert to_multiscales(image, [], chunks=(3, 4, 5, 2)).chunks == {"c": 2, "z": 3, "y": 4, "x": 5}


@pytest.mark.parametrize("chunks", [0, -3, (1,), {"q": 3}, "auto", 1.5, ((4, 3, 9), 16), ((3, 5), 16), True])
def test_chunks_that_cannot_be_meant(chunks):
    with pytest.raises(ArgumentError):
        to_multiscales(np.zeros((16, 16), "u1"), [], chunks=chunks)


# --- methods --------------------------------------------------------------------------------------


def test_methods_have_the_documented_names_and_values():
    documented = [
        "ITKWASM_GAUSSIAN",
        "ITKWASM_BIN_SHRINK",
        "ITKWASM_LABEL_IMAGE",
        "ITK_GAUSSIAN",
        "ITK_BIN_SHRINK",
        "DASK_IMAGE_GAUSSIAN",
        "DASK_IMAGE_MODE",
        "DASK_IMAGE_NEAREST",
        "DASK_BIN_SHRINK",
    ]
    for name in documented:
        assert Methods[name].value == name.lower()
    assert {Methods[name].engine for name in documented} == {"gaussian", "mean", "mode", "stride"}
    assert {m.engine for m in Methods} >= {"median", "min", "max"}
    assert all(m.description for m in Methods)


def test_methods_are_taken_in_any_form():
    class Other(Enum):
        DASK_IMAGE_MODE = "dask_image_mode"

    def method(value):
        return to_multiscales(PLANE, [2], method=value).method

    assert method(None) is Methods.ITKWASM_GAUSSIAN
    assert method(Methods.MEDIAN) is Methods.MEDIAN
    assert method("itk_bin_shrink") is Methods.ITK_BIN_SHRINK
    assert method("ITK_GAUSSIAN") is Methods.ITK_GAUSSIAN
    assert method("mean").engine == "mean"
    assert method("nearest").engine == "stride"
    assert method(Other.DASK_IMAGE_MODE) is Methods.DASK_IMAGE_MODE
    for wrong in ("blur", 3, np.mean):
        with pytest.raises(ArgumentError, match="dask_bin_shrink"):
            method(wrong)


# --- orientation ----------------------------------------------------------------------------------


def orientations(made):
    return {a.name: a.orientation.value for a in made.metadata.axes if hasattr(a, "orientation")}


@pytest.mark.parametrize("name", ["LPS", "lps", "RAS", "Ras"])
def test_presets_by_name(name):
    made = to_multiscales(np.zeros((4, 4, 4, 4), "u1"), [2], orientation=name)
    preset = LPS if name.upper() == "LPS" else RAS
    assert orientations(made) == {d: o.value for d, o in preset.items()}
    assert all(dict(level.axes_orientations) == preset for level in made.images)
    flat = to_multiscales(PLANE, [], orientation=name)
    assert orientations(flat) == {d: preset[d].value for d in "yx"}


def test_presets_lead_where_their_letters_say():
    ends = {"L": "left", "P": "posterior", "S": "superior", "R": "right", "A": "anterior"}
    for name, preset in (("LPS", LPS), ("RAS", RAS)):
        for axis, letter in zip("xyz", name, strict=True):
            assert preset[axis].value.endswith(f"-to-{ends[letter]}")


def test_the_argument_counts_before_the_image():
    image = to_ngff_image(PLANE)
    image.axes_orientations = LPS.copy()
    del image.axes_orientations["z"]
    assert orientations(to_multiscales(image, []))["x"] == "right-to-left"
    assert orientations(to_multiscales(image, [], orientation="RAS"))["x"] == "left-to-right"
    assert orientations(to_multiscales(image, [], orientation={"x": "apex-to-base"})) == {"x": "apex-to-base"}
    assert orientations(to_multiscales(image, [], orientation={})) == {}


@pytest.mark.parametrize("value", AnatomicalOrientationValues)
def test_a_value_in_all_its_forms(value):
    forms = [value, value.value, AnatomicalOrientation(value), {"type": "anatomical", "value": value.value}]
    for form in forms:
        assert orientations(to_multiscales(PLANE, [], orientation={"y": form})) == {"y": value}
    assert AnatomicalOrientation(value).to_json() == {"type": "anatomical", "value": value.value}


def test_absent_orientations():
    made = to_multiscales(PLANE, [], orientation={"y": None, "x": {}})
    assert orientations(made) == {}
    assert made.images[0].axes_orientations is None


def test_there_are_24_values_in_12_pairs():
    pairs = {frozenset(v.split("-to-")) for v in AnatomicalOrientationValues}
    assert len(AnatomicalOrientationValues) == 24
    assert len(pairs) == 12


@pytest.mark.parametrize(
    ("orientation", "words"),
    [
        ("XYZ", "'LPS', 'RAS'"),
        ({"y": "up"}, "left-to-right"),
        ({"q": "left-to-right"}, "y, x"),
        ({"c": "left-to-right"}, "spatial axes only"),
        ({"y": "left-to-right", "x": "right-to-left"}, "one axis per pair"),
        ({"y": "left-to-right", "x": "left-to-right"}, "one axis per pair"),
        ({"y": {"type": "other", "value": "left-to-right"}}, "anatomical"),
        ({"y": 5}, "left-to-right"),
        (5, "dict by axis"),
    ],
)
def test_wrong_orientations(orientation, words):
    image = to_ngff_image(np.zeros((2, 4, 4)), dims="cyx")
    with pytest.raises(ArgumentError, match=words):
        to_multiscales(image, [], orientation=orientation)
    image.axes_orientations = orientation
    with pytest.raises(ArgumentError, match=words):
        to_multiscales(image, [])


# --- cache and progress ---------------------------------------------------------------------------


@pytest.mark.parametrize("cache", [True, False])
def test_cache_is_ignored_with_a_warning(cache):
    with pytest.warns(UserWarning, match="cache= is ignored"):
        to_multiscales(PLANE, [2], cache=cache)


def test_progress_is_accepted_and_checked():
    for progress in (None, True, False, print):
        to_multiscales(PLANE, [2], progress=progress)
    with pytest.raises(ArgumentError, match="progress"):
        to_multiscales(PLANE, [2], progress=3)
