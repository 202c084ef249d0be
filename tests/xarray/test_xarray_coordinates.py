"""Axes and transformations as coordinates, and back."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from platestore import AxisMeta, TransformationMeta
from platestore.errors import ArgumentError, StoreWarning
from platestore.xarray import coords_from_transforms, transforms_from_coords

KINDS = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
UNITS = {"t": "second", "c": None, "z": "nanometer", "y": "micrometer", "x": "micrometer"}


def axis(name, **kwargs):
    return AxisMeta(name=name, type=KINDS[name], unit=UNITS[name], **kwargs)


def image(shape=(2, 3, 4), dims="zyx", **coords):
    return xr.DataArray(np.zeros(shape, "uint8"), dims=list(dims), coords=coords)


def numbers(transforms):
    return transforms[0].scale, transforms[1].translation


@st.composite
def described(draw):
    dims = draw(st.sampled_from(["yx", "zyx", "cyx", "tyx", "czyx", "tzyx", "tcyx", "tczyx"]))
    shape = tuple(draw(st.integers(1, 4)) for _ in dims)
    scale = [1.0 if d == "c" else draw(st.floats(1e-3, 1e3)) for d in dims]
    translation = [0.0 if d == "c" else draw(st.floats(-1e4, 1e4)) for d in dims]
    return dims, shape, scale, translation


@settings(deadline=None)
@given(described())
def test_there_and_back(case):
    dims, shape, scale, translation = case
    steps = [
        TransformationMeta(type="scale", scale=scale),
        TransformationMeta(type="translation", translation=translation),
    ]
    axes = [axis(d) for d in dims]
    coords = coords_from_transforms(axes=axes, transforms=steps, shape=shape)
    assert [c.name for c in coords] == list(dims)
    for c, d, n, s, t in zip(coords, dims, shape, scale, translation, strict=True):
        assert c.shape == (n,)
        assert c.attrs["scale"] == s
        assert c.attrs["type"] == KINDS[d]
        assert c.attrs.get("units") == UNITS[d]
        if d == "c":
            assert c.values.tolist() == [str(i) for i in range(n)]
        else:
            assert c.dtype == np.float64
            np.testing.assert_array_equal(c, np.arange(n) * s + t)
    found, transforms = transforms_from_coords(coords)
    assert [a.to_json() for a in found] == [a.to_json() for a in axes]
    assert numbers(transforms) == (scale, translation)


def test_signature():
    names = list(inspect.signature(transforms_from_coords).parameters)
    assert names[:4] == ["coords", "normalize_units", "infer_axis_type", "transform_precision"]
    defaults = inspect.signature(transforms_from_coords).parameters
    assert [defaults[n].default for n in names[1:4]] == [True, True, None]
    assert list(inspect.signature(coords_from_transforms).parameters)[:3] == ["axes", "transforms", "shape"]


def test_scale_comes_before_translation():
    _, transforms = transforms_from_coords(image(x=[5.0, 7, 9, 11]))
    assert [t.type for t in transforms] == ["scale", "translation"]
    assert numbers(transforms) == ([1, 1, 2], [0, 0, 5])


def test_a_dimension_without_coordinate_has_scale_one():
    axes, transforms = transforms_from_coords(image())
    assert [a.type for a in axes] == ["space"] * 3
    assert numbers(transforms) == ([1, 1, 1], [0, 0, 0])


def test_a_single_sample_keeps_its_scale():
    z = xr.DataArray([4.0], dims="z", attrs={"scale": 0.25, "units": "um"})
    _, transforms = transforms_from_coords(image((1, 3, 4), z=z))
    assert numbers(transforms) == ([0.25, 1, 1], [4, 0, 0])
    plain = xr.DataArray([4.0], dims="z")
    assert numbers(transforms_from_coords(image((1, 3, 4), z=plain))[1])[0][0] == 1.0


@pytest.mark.parametrize("scale", [0, -1, "two", np.nan, [1]])
def test_a_stated_scale_is_a_positive_number(scale):
    z = xr.DataArray([4.0], dims="z", attrs={"scale": scale})
    with pytest.raises(ArgumentError, match=r"attrs\['scale'\]"):
        transforms_from_coords(image((1, 3, 4), z=z))


def test_types_come_from_names_and_then_from_units():
    w = xr.DataArray([0.0, 1], dims="w", name="w", attrs={"units": "ms"})
    u = xr.DataArray([0.0, 1], dims="u", name="u", attrs={"units": "um"})
    x = xr.DataArray([0.0, 1], dims="x", name="x")
    axes, _ = transforms_from_coords([w, u, x])
    assert [a.type for a in axes] == ["time", "space", "space"]
    axes, _ = transforms_from_coords([w, u, x], infer_axis_type=False)
    assert [a.type for a in axes] == [None, None, None]
    axes, _ = transforms_from_coords([w.assign_attrs(type="lambda")])
    assert axes[0].type == "lambda"


def test_units_are_normalised():
    x = xr.DataArray([0.0, 1], dims="x", name="x", attrs={"units": "µm"})
    assert transforms_from_coords([x])[0][0].unit == "micrometer"
    assert transforms_from_coords([x], normalize_units=False)[0][0].unit == "µm"
    assert transforms_from_coords([x.assign_attrs(units="pixel")])[0][0].unit == "pixel"
    with pytest.warns(StoreWarning, match="did you mean 'parsec'"):
        assert transforms_from_coords([x.assign_attrs(units="parsek")])[0][0].unit == "parsek"
    with pytest.raises(ArgumentError, match="string"):
        transforms_from_coords([x.assign_attrs(units=7)])


def test_precision():
    x = xr.DataArray(np.arange(4) * 0.123456 + 7.654321, dims="x", name="x")
    _, transforms = transforms_from_coords([x], transform_precision=2)
    assert numbers(transforms) == ([0.12], [7.65])
    with pytest.raises(ArgumentError, match="transform_precision"):
        transforms_from_coords([x * 1e-3], transform_precision=2)


def test_other_coordinates_are_ignored():
    array = image(x=[0.0, 2, 4, 6]).assign_coords(
        exposure=5.0,
        mask=(("y", "x"), np.zeros((3, 4))),
        column=("x", list("abcd")),
        when=np.datetime64("2026-01-01", "ns"),
    )
    expected = ([1, 1, 2], [0, 0, 0])
    assert numbers(transforms_from_coords(array)[1]) == expected
    assert [a.name for a in transforms_from_coords(array.coords)[0]] == ["x"]


def test_what_is_no_coordinate_is_refused():
    with pytest.raises(ArgumentError, match=r"DataArray"):
        transforms_from_coords([np.arange(3)])
    x = xr.DataArray([0.0, 1], dims="x", name="x")
    with pytest.raises(ArgumentError, match="several"):
        transforms_from_coords([x, x])
    with pytest.raises(ArgumentError, match="irregular must be"):
        transforms_from_coords([x], irregular="maybe")
    with pytest.raises(ArgumentError, match="type"):
        transforms_from_coords([x.assign_attrs(type=3)])


def test_irregular_coordinates_are_an_explicit_choice():
    x = xr.DataArray([0.0, 1, 3], dims="x", name="x")
    with pytest.raises(ArgumentError, match="not regular"):
        transforms_from_coords([x])
    assert numbers(transforms_from_coords([x], irregular="nearest")[1]) == ([1.5], [0.0])


def test_channels_are_names():
    coords = coords_from_transforms(
        axes=[axis("c"), axis("y"), axis("x")],
        transforms=[{"type": "scale", "scale": [1, 2, 2]}],
        shape=(3, 1, 1),
        channel_names=["DAPI", "GFP"],
    )
    assert coords[0].values.tolist() == ["DAPI", "GFP", "2"]
    with pytest.raises(ArgumentError, match="more than once"):
        transforms_from_coords([xr.DataArray(["a", "a"], dims="c", name="c")])
    with pytest.raises(ArgumentError, match="empty"):
        transforms_from_coords([xr.DataArray(["a", ""], dims="c", name="c")])


def test_axes_that_differ_in_case_only_keep_it():
    axes = [AxisMeta(name="A"), AxisMeta(name="a"), AxisMeta(name="X")]
    coords = coords_from_transforms(axes=axes, transforms=[], shape=(1, 1, 1))
    assert [c.name for c in coords] == ["A", "a", "X"]


def test_numbers_must_agree():
    with pytest.raises(ArgumentError, match="do not fit"):
        coords_from_transforms(axes=[axis("x")], transforms=[], shape=(1, 2))
