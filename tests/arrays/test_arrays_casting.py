"""Values that are written are those that were given, or nothing is written."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import platestore as ps
from nodes.store_helpers import new_position, pixels, refused, snapshot
from platestore.arrays.casting import exact

_TYPES = ["bool", "int8", "int16", "int64", "uint8", "uint16", "uint64", "float32", "float64"]


def _is_the_same(value: object, kept: object, dtype: str) -> bool:
    """Whether a value is there, as Python compares numbers: without rounding them first."""
    if isinstance(value, float) and dtype.startswith("float"):  # digits may go, a number stays finite
        return value != value or np.isfinite(value) == np.isfinite(kept)
    return value == kept


@given(data=st.data(), source=st.sampled_from(_TYPES), target=st.sampled_from(_TYPES))
def test_a_value_becomes_itself_or_an_error(data, source, target):
    given_ = data.draw(hnp.arrays(source, st.integers(0, 6)))
    try:
        out = exact(given_, target, what="written to")
    except ps.ArgumentError:
        with np.errstate(all="ignore"):
            cast = given_.astype(target)
        same = [_is_the_same(v, k, target) for v, k in zip(given_.tolist(), cast.tolist(), strict=True)]
        assert not all(same), "nothing would have been lost"
    else:
        assert out.dtype == target
        assert all(_is_the_same(v, k, target) for v, k in zip(given_.tolist(), out.tolist(), strict=True))


LOSSY = {
    "fraction": (np.float32(-0.25), "uint16"),
    "fraction above": (np.float64(1.5), "int32"),
    "nan": (np.float32("nan"), "uint8"),
    "infinite": (np.float64("inf"), "int16"),
    "negative": (np.int16(-1), "uint16"),
    "too large": (np.int64(70000), "uint16"),
    "float too large": (np.float64(300.0), "uint8"),
    "complex": (np.complex64(1j), "float32"),
    "beyond float32": (np.float64(1e300), "float32"),
    "more digits than float32": (np.int64(2**24 + 1), "float32"),
}


@pytest.mark.parametrize("name", LOSSY)
def test_every_call_that_writes_values_refuses_what_would_be_lost(tmp_path, name):
    value, dtype = LOSSY[name]
    position = new_position(tmp_path / "a.zarr")
    position.create_zeros("0", (1, 2, 1, 4, 4), dtype)
    tiled = ps.open_ome_zarr(tmp_path / "t.zarr", layout="tiled", mode="w-", channel_names=["a"])
    tile = tiled.make_tiles("0", (2, 2), (1, 1, 1, 4, 4), dtype)
    block = np.zeros((1, 1, 4, 4), value.dtype)
    block[0, 0, 3, 3] = value
    for act in (
        lambda: position.update_channel("GFP", "0", block),
        lambda: position.append(np.stack([block, block], axis=1)),
        lambda: tile.write_tile(block[None], 0, 0),
    ):
        with refused(ps.ArgumentError, ValueError, tree=tmp_path, names="astype"):
            act()


def test_values_that_the_type_holds_are_written_whatever_their_own_type(tmp_path):
    position = new_position(tmp_path / "a.zarr")
    position.create_zeros("0", (1, 2, 1, 4, 4), "uint16")
    position.update_channel("GFP", "0", np.full((1, 1, 4, 4), 7.0))
    assert (position.data[0, 1] == 7).all()
    position.append(pixels(1, 2, 1, 4, 4, dtype="int64"))
    np.testing.assert_array_equal(position.data[1:], pixels(1, 2, 1, 4, 4))


def test_dask_is_refused_by_its_type_or_by_the_block_that_loses_something(tmp_path):
    position = new_position(tmp_path / "a.zarr")
    image = position.create_zeros("0", (1, 2, 1, 4, 4), "uint8", chunks=(1, 1, 1, 4, 4))
    before = snapshot(tmp_path)
    with pytest.raises(ps.ArgumentError, match="astype"):
        image.write_dask(da.zeros(image.shape, dtype="float32"))
    with pytest.raises(ps.ArgumentError, match="300"):
        image.write_dask(da.full(image.shape, 300, dtype="int64"))
    assert snapshot(tmp_path) == before
    image.write_dask(da.full(image.shape, 200, dtype="int64"))
    assert (image[...] == 200).all()
