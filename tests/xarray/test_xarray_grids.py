"""Regular grids: steps, noise, subsets."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from platestore.errors import ArgumentError
from platestore.xarray.grids import Grid, fit, indices, lies_on, require_same, samples

steps = st.floats(1e-6, 1e6)
starts = st.floats(-1e6, 1e6)
sizes = st.integers(1, 200)


def coordinate(values, name="x", **attrs):
    return xr.DataArray(values, dims=(name,), name=name, attrs=attrs)


def found(values, name="x"):
    return samples(coordinate(np.asarray(values), name))


@settings(deadline=None)
@given(step=steps, start=starts, size=sizes)
def test_a_computed_grid_gives_back_what_made_it(step, start, size):
    values = np.arange(size) * step + start
    grid = fit(found(values), None)
    assert grid.translation == values[0]
    if size > 1:
        np.testing.assert_allclose(grid.scale, step, rtol=1e-9, atol=8e-16 * (abs(start) + step * size))
    else:
        assert grid.scale == 1.0
    assert fit(found(values), step) == Grid(step, float(values[0]))


@settings(deadline=None)
@given(step=st.floats(1e-3, 1e3), start=st.floats(-1e3, 1e3), size=st.integers(2, 100))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_noise_of_the_type_is_no_irregularity(step, start, size, dtype):
    values = (np.arange(size) * step + start).astype(dtype)
    grid = fit(found(values), None)
    largest = float(np.abs(values).max())
    np.testing.assert_allclose(
        grid.places(size), values, rtol=0, atol=9 * float(np.finfo(dtype).eps) * largest
    )


def test_a_decimal_step_comes_back_as_it_was_written():
    for step in (0.1, 0.65, 0.325, 0.108333, 2.5, 1 / 3):
        for dtype in ("float64", "float32"):
            values = (np.arange(97) * step).astype(dtype)
            grid = fit(found(values), None)
            assert grid.scale == (step if step != 1 / 3 else grid.scale), (step, dtype)


def test_a_stated_scale_does_not_hide_a_changed_one():
    values = np.arange(10) * 0.6501
    assert fit(found(values), 0.65).scale == 0.6501


@pytest.mark.parametrize("values", [[0, 1, 3], [0, 1, 2, 3.1], [0, 0, 0], [1, 1], [0, 2, 1, 3]])
def test_irregular_coordinates_are_errors(values):
    with pytest.raises(ValueError, match="not regular") as caught:
        fit(found(values), None)
    assert "irregular=" in str(caught.value)
    assert "drop_vars" in str(caught.value)


def test_the_first_place_that_is_wrong_is_named():
    with pytest.raises(ArgumentError, match="7 at index 2 would be 2 on a grid from 0 to 4"):
        fit(found([0, 1, 7, 3, 4]), None)


def test_the_nearest_grid_is_a_choice():
    assert fit(found([0.0, 1.0, 3.0]), None, "nearest") == Grid(1.5, 0.0)
    with pytest.raises(ArgumentError, match="not regular"):
        fit(found([2.0, 1.0, 2.0]), None, "nearest")  # no step between the first and the last


@pytest.mark.parametrize("choice", ["error", "nearest"])
def test_descending_coordinates_are_never_mirrored(choice):
    with pytest.raises(ArgumentError, match="descends") as caught:
        fit(found([3, 2, 1, 0]), None, choice)
    assert "sortby" in str(caught.value)


@pytest.mark.parametrize("values", [[0, np.nan], [np.inf, 1], ["a", "b"], [None, 1], [1j, 2j]])
def test_coordinates_are_finite_numbers(values):
    with pytest.raises(ArgumentError, match="finite numbers"):
        found(values)


def test_times_of_numpy_say_how_to_make_numbers():
    with pytest.raises(ArgumentError, match="timedelta64"):
        found(np.array([0, 1], "timedelta64[s]"))


@settings(deadline=None)
@given(
    step=st.floats(1e-3, 1e3),
    start=st.floats(-1e3, 1e3),
    chosen=st.lists(st.integers(0, 1000), min_size=1, max_size=20, unique=True),
    noise=st.floats(-4e-4, 4e-4),
)
def test_indices_of_a_subset(step, start, chosen, noise):
    values = (np.array(chosen) + noise) * step + start
    assert indices(found(values), Grid(step, start)) == chosen
    assert lies_on(found(values), Grid(step, start))


def test_a_sample_between_two_places_names_the_nearest():
    with pytest.raises(ArgumentError, match=r"t = 2\.4 lies on no index.*nearest is 2, at index 1"):
        indices(found([0, 2.4], "t"), Grid(2.0, 0.0))


def test_a_sample_before_the_beginning_is_an_error():
    with pytest.raises(ArgumentError, match="index -1"):
        indices(found([8.0], "t"), Grid(2.0, 10.0))


def test_two_samples_at_one_place_are_an_error():
    with pytest.raises(ArgumentError, match="several samples at index 1"):
        indices(found([0, 1, 1.0001], "t"), Grid(1.0, 0.0))


def test_all_places_must_be_the_same():
    require_same(found([10.0, 10.5, 11.0001]), Grid(0.5, 10.0))
    with pytest.raises(ArgumentError, match="12 at index 2, where the image has 11"):
        require_same(found([10.0, 10.5, 12.0]), Grid(0.5, 10.0))
