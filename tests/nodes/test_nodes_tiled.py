"""Tiled positions: grids of tiles, whatever comes before Y and X."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import examples
from nodes.store_helpers import axes, ome, pixels, refused, scale


@pytest.fixture
def position(tmp_path, version):
    return ps.open_ome_zarr(
        tmp_path / "a.zarr", layout="tiled", mode="w-", channel_names=["a", "b"], version=version
    )


@pytest.fixture
def tiles(position):
    return position.make_tiles("0", grid_shape=(3, 4), tile_shape=(2, 2, 3, 8, 16), dtype="uint16")


def test_make_tiles_makes_a_grid_of_zeros(tiles, tmp_path):
    assert type(tiles) is ps.TiledImageArray
    assert tiles.shape == (2, 2, 3, 24, 64)
    assert tiles.chunks == (1, 1, 1, 8, 16)
    assert tiles.dtype == "uint16"
    assert (tiles.rows, tiles.columns) == tiles.tiles == (3, 4)
    assert tiles.tile_shape == (1, 1, 1, 8, 16)
    assert not tiles[...].any()
    assert [d["path"] for d in ome(tmp_path / "a.zarr")["multiscales"][0]["datasets"]] == ["0"]


def test_tiles_are_found_again(tiles, tmp_path):
    read = ps.open_ome_zarr(tmp_path / "a.zarr", layout="tiled")
    assert type(read["0"]) is type(read.data) is ps.TiledImageArray
    assert [type(image) for _, image in read.images()] == [ps.TiledImageArray]
    assert read["0"].tiles == (3, 4)
    assert type(ps.open_ome_zarr(tmp_path / "a.zarr")["0"]) is ps.ImageArray


@pytest.mark.parametrize(
    ("chunk_dims", "chunks"),
    [(2, (1, 1, 1, 8, 16)), (3, (1, 1, 3, 8, 16)), (4, (1, 2, 3, 8, 16)), (5, (2, 2, 3, 8, 16))],
)
def test_chunk_dims_says_how_much_of_a_tile_is_a_chunk(position, chunk_dims, chunks):
    made = position.make_tiles("0", (3, 4), (2, 2, 3, 8, 16), "uint8", chunk_dims=chunk_dims)
    assert made.chunks == chunks
    assert made.tiles == (3, 4)


def test_a_transform_of_tiles(position):
    position.make_tiles("0", (3, 4), (2, 2, 3, 8, 16), "uint8", transform=scale(1, 1, 1, 0.5, 0.5))
    assert position.scale == [1, 1, 1, 0.5, 0.5]


def test_tiles_are_written_and_read_one_by_one(tiles, tmp_path):
    for row in range(3):
        for column in range(4):
            tiles.write_tile(np.full((2, 2, 3, 8, 16), 10 * row + column, "uint16"), row, column)
    read = ps.open_ome_zarr(tmp_path / "a.zarr", layout="tiled")["0"]
    for row in range(3):
        for column in range(4):
            tile = read.get_tile(row, column)
            assert tile.shape == (2, 2, 3, 8, 16)
            assert (tile == 10 * row + column).all()
    assert read[0, 0, 0, 23, 63] == 23


def test_an_integer_selects_that_index(tiles):
    data = pixels(2, 2, 3, 24, 64)
    tiles[...] = data
    tile = tiles.get_tile(1, 2, pre_dims=(1, 0, 2))
    assert tile.shape == (8, 16)
    np.testing.assert_array_equal(tile, data[1, 0, 2, 8:16, 32:48])
    np.testing.assert_array_equal(
        tiles.get_tile(2, 0, pre_dims=(1, slice(None), slice(0, 2))), data[1, :, 0:2, 16:24, 0:16]
    )
    np.testing.assert_array_equal(tiles.get_tile(0, 3, pre_dims=(None, 1, None)), data[:, 1, :, 0:8, 48:64])
    np.testing.assert_array_equal(tiles.get_tile(0, 0, pre_dims=(-1, 0, 0)), data[-1, 0, 0, 0:8, 0:16])


def test_a_tile_of_one_index_is_written(tiles):
    tiles.write_tile(np.full((8, 16), 5, "uint16"), 2, 3, pre_dims=(1, 1, 0))
    assert (tiles[1, 1, 0, 16:, 48:] == 5).all()
    assert int(np.count_nonzero(tiles[...])) == 8 * 16


def test_get_tile_slice_is_an_index_of_the_array(tiles):
    assert tiles.get_tile_slice(1, 2) == (slice(None), slice(None), slice(None), slice(8, 16), slice(32, 48))
    assert tiles.get_tile_slice(0, 0, pre_dims=(1, None, slice(1, 3))) == (
        1,
        slice(None),
        slice(1, 3),
        slice(0, 8),
        slice(0, 16),
    )


@pytest.mark.parametrize(("row", "column"), [(3, 0), (0, 4), (-1, 0), (0, -1), (99, 99)])
def test_a_tile_off_the_grid_is_an_index_error(tiles, row, column):
    for call in (tiles.get_tile, tiles.get_tile_slice):
        with pytest.raises(IndexError, match="grid"):
            call(row, column)
    with pytest.raises(IndexError):
        tiles.write_tile(np.zeros((2, 2, 3, 8, 16), "uint16"), row, column)


@pytest.mark.parametrize(("row", "column"), [(1.0, 0), ("0", 0), (None, 0), (0, slice(1)), (True, 0)])
def test_a_row_and_a_column_are_integers(tiles, row, column):
    with pytest.raises(TypeError):
        tiles.get_tile(row, column)


@pytest.mark.parametrize("pre_dims", [(), (0,), (0, 0), (0, 0, 0, 0)])
def test_pre_dims_has_one_value_for_each_dimension_before_y(tiles, pre_dims):
    with pytest.raises(IndexError, match="pre_dims"):
        tiles.get_tile(0, 0, pre_dims=pre_dims)


def test_numbers_of_numpy_are_integers(tiles):
    tiles.write_tile(np.ones((2, 2, 3, 8, 16), "uint16"), np.int64(1), np.uint8(1))
    assert (tiles.get_tile(np.int32(1), np.int16(1)) == 1).all()


@pytest.mark.parametrize(
    "arguments",
    [
        {"grid_shape": (3,)},
        {"grid_shape": (3, 4, 5)},
        {"grid_shape": (0, 4)},
        {"grid_shape": (3, 4.0)},
        {"grid_shape": 3},
        {"tile_shape": (8, 16)},
        {"tile_shape": (2, 2, 3, 0, 16)},
        {"tile_shape": (2, 3, 3, 8, 16)},
        {"dtype": "complex64"},
        {"chunk_dims": 0},
        {"chunk_dims": 6},
        {"chunk_dims": 2.0},
        {"transform": scale(1, 1)},
        {"name": "a/b"},
        {"name": ".."},
    ],
)
def test_bad_grids_are_refused(position, tmp_path, arguments):
    good = {"name": "0", "grid_shape": (3, 4), "tile_shape": (2, 2, 3, 8, 16), "dtype": "uint8"}
    with refused(ps.ArgumentError, ValueError, tree=tmp_path, names=False):
        position.make_tiles(**{**good, **arguments})


def test_an_existing_array_is_not_tiled_over(position, tiles, tmp_path):
    with refused(ps.NodeExistsError, FileExistsError, tree=tmp_path, names=tmp_path / "a.zarr/0"):
        position.make_tiles("0", (1, 1), (1, 2, 1, 8, 16), "uint8")
    again = ps.open_ome_zarr(tmp_path / "a.zarr", layout="tiled", mode="r+", overwriting_creation=True)
    assert again.make_tiles("0", (1, 1), (1, 2, 1, 8, 16), "uint8").tiles == (1, 1)


@pytest.mark.parametrize("names", ["YX", "CYX", "ZYX", "CZYX"])
def test_tiles_of_fewer_axes(tmp_path, version, names):
    position = ps.open_ome_zarr(
        tmp_path / "a.zarr", layout="tiled", mode="w-", channel_names=["a"], axes=axes(names), version=version
    )
    lead = (1,) * (len(names) - 2)
    made = position.make_tiles("0", (2, 3), (*lead, 4, 5), "uint8")
    assert made.shape == (*lead, 8, 15)
    made.write_tile(np.ones((*lead, 4, 5), "uint8"), 1, 2)
    assert (made.get_tile(1, 2) == 1).all()
    assert not made.get_tile(0, 0).any()


def test_what_zero_does_as_pre_dim_is_not_nothing(tiles):
    # An integer once meant the slice up to it, so that 0 selected nothing.
    tiles[...] = 3
    assert tiles.get_tile(0, 0, pre_dims=(0, 0, 0)).shape == (8, 16)
    assert (tiles.get_tile(0, 0, pre_dims=(0, 0, 0)) == 3).all()


@settings(deadline=None, max_examples=examples(20))
@given(
    rows=st.integers(1, 4),
    columns=st.integers(1, 4),
    tile=st.tuples(
        st.integers(1, 2), st.integers(1, 2), st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)
    ),
)
def test_every_pixel_is_in_exactly_one_tile(rows, columns, tile):
    from zarr.storage import MemoryStore

    position = ps.open_ome_zarr(MemoryStore(), layout="tiled", mode="w", channel_names=["a", "b"])
    made = position.make_tiles("0", (rows, columns), (tile[0], 2, *tile[2:]), "int32")
    hits = np.zeros(made.shape, int)
    for row in range(rows):
        for column in range(columns):
            hits[made.get_tile_slice(row, column)] += 1
    assert (hits == 1).all()
