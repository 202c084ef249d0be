"""Tiles: a grid of chunks in the last two dimensions, read and written one by one."""

from __future__ import annotations

import numpy as np
import pytest

import platestore as ps

SHAPE = (2, 3, 1, 6, 10)  # 2 rows of 3 pixels, 2 columns of 5
TILE = (1, 1, 1, 3, 5)


@pytest.fixture
def position(tmp_path, version):
    return ps.open_ome_zarr(
        tmp_path / "tiled.zarr", layout="tiled", mode="w-", channel_names=["a", "b", "c"], version=version
    )


@pytest.fixture
def tiles(position):
    """Every pixel is its own number."""
    array = position.make_tiles("0", (2, 2), (2, 3, 1, 3, 5), "uint16")
    array[...] = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    return array


def pixels():
    return np.arange(np.prod(SHAPE), dtype="uint16").reshape(SHAPE)


def test_a_tiled_array_is_an_image_of_zeros_with_tiles_for_chunks(position):
    array = position.make_tiles("0", (2, 2), (2, 3, 1, 3, 5), "uint16")
    assert type(array) is ps.TiledImageArray
    assert isinstance(array, ps.ImageArray)
    assert array.shape == SHAPE
    assert array.dtype == np.dtype("uint16")
    assert array.tile_shape == array.chunks == TILE
    assert (array.rows, array.columns) == array.tiles == (2, 2)
    assert not array.numpy().any()


def test_rows_and_columns_are_not_mixed_up(position):
    array = position.make_tiles("0", (2, 7), (1, 3, 1, 4, 5), "uint8")
    assert (array.rows, array.columns) == (2, 7)
    assert array.shape == (1, 3, 1, 8, 35)
    array.write_tile(np.ones((1, 3, 1, 4, 5), "uint8"), 1, 6)
    assert array.numpy()[0, 0, 0, 4:, 30:].all()
    assert array.numpy().sum() == 3 * 20


@pytest.mark.parametrize(
    ("chunk_dims", "tile"),
    [(2, (1, 1, 1, 3, 5)), (3, (1, 1, 1, 3, 5)), (4, (1, 3, 1, 3, 5)), (5, (2, 3, 1, 3, 5))],
)
def test_a_tile_may_span_more_dimensions(position, chunk_dims, tile):
    array = position.make_tiles("0", (2, 2), (2, 3, 1, 3, 5), "uint16", chunk_dims=chunk_dims)
    assert array.tile_shape == tile
    assert array.shape == SHAPE
    assert array.tiles == (2, 2)


@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize("column", [0, 1])
def test_a_tile_is_its_part_of_the_image(tiles, row, column):
    expected = pixels()[..., 3 * row : 3 * row + 3, 5 * column : 5 * column + 5]
    tile = tiles.get_tile(row, column)
    assert type(tile) is np.ndarray
    np.testing.assert_array_equal(tile, expected)


@pytest.mark.parametrize(
    ("pre_dims", "index"),
    [
        (None, np.s_[:, :, :]),
        ((None, None, None), np.s_[:, :, :]),
        ((1, 2, 0), np.s_[1, 2, 0]),
        ((0, 0, 0), np.s_[0, 0, 0]),
        ([1, None, 0], np.s_[1, :, 0]),
        ((None, slice(1, 3), 0), np.s_[:, 1:3, 0]),
        ((slice(None), slice(0, 3, 2), 0), np.s_[:, ::2, 0]),
        ((-1, -2, -1), np.s_[-1, -2, -1]),
        ((np.int64(1), np.uint8(2), None), np.s_[1, 2, :]),
    ],
    ids=repr,
)
def test_pre_dims_select_what_they_say(tiles, pre_dims, index):
    expected = pixels()[..., 3:, :5][index]
    np.testing.assert_array_equal(tiles.get_tile(1, 0, pre_dims), expected)


def test_an_integer_selects_that_index_and_not_as_many(tiles):
    assert tiles.get_tile_slice(0, 1, (1, 2, 0)) == (1, 2, 0, slice(0, 3), slice(5, 10))
    assert tiles.get_tile(0, 1, (1, 2, 0)).shape == (3, 5)


def test_numpy_integers_are_places_too(tiles):
    np.testing.assert_array_equal(tiles.get_tile(np.int64(1), np.uint8(1)), pixels()[..., 3:, 5:])


@pytest.mark.parametrize(
    ("pre_dims", "shape"),
    [
        (None, (2, 3, 1, 3, 5)),
        ((1, 2, 0), (3, 5)),
        ((1, None, 0), (3, 3, 5)),
        ((None, 1, slice(0, 1)), (2, 1, 3, 5)),
    ],
)
def test_a_written_tile_changes_itself_only(tiles, pre_dims, shape):
    data = np.full(shape, 60000, "uint16")
    tiles.write_tile(data, 1, 1, pre_dims)
    expected = pixels()
    index = tuple(slice(None) if p is None else p for p in pre_dims or (None,) * 3)
    expected[(*index, slice(3, 6), slice(5, 10))] = 60000
    np.testing.assert_array_equal(tiles.numpy(), expected)
    np.testing.assert_array_equal(tiles.get_tile(1, 1, pre_dims), data)


def test_lists_are_pixels_too(tiles):
    tiles.write_tile([[7] * 5] * 3, 0, 0, (0, 0, 0))
    assert (tiles.get_tile(0, 0, (0, 0, 0)) == 7).all()


@pytest.mark.parametrize("shape", [(4, 5), (3, 4), (2, 3, 1, 3, 6), (1, 2, 3, 1, 3, 5)])
def test_pixels_of_another_shape_are_refused(tiles, shape):
    pre_dims = (0, 0, 0) if len(shape) == 2 else None
    with pytest.raises(ValueError):
        tiles.write_tile(np.zeros(shape, "uint16"), 0, 0, pre_dims)
    np.testing.assert_array_equal(tiles.numpy(), pixels())


@pytest.mark.parametrize(("row", "column"), [(2, 0), (0, 2), (-1, 0), (0, -1), (10**9, 0)])
def test_a_tile_that_is_not_on_the_grid_is_an_index_error(tiles, row, column):
    for call in (
        lambda: tiles.get_tile(row, column),
        lambda: tiles.get_tile_slice(row, column),
        lambda: tiles.write_tile(np.zeros((2, 3, 1, 3, 5)), row, column),
    ):
        with pytest.raises(IndexError, match="not on a grid of 2"):
            call()
    np.testing.assert_array_equal(tiles.numpy(), pixels())


@pytest.mark.parametrize("place", ["0", 0.0, None, True, (0,), slice(0, 1)], ids=repr)
def test_a_place_that_is_no_integer_is_a_type_error(tiles, place):
    with pytest.raises(TypeError, match="integer"):
        tiles.get_tile(place, 0)
    with pytest.raises(TypeError, match="integer"):
        tiles.get_tile(0, place)


@pytest.mark.parametrize("pre_dims", [(), (0,), (0, 0), (0, 0, 0, 0)])
def test_pre_dims_of_another_length_are_an_index_error(tiles, pre_dims):
    with pytest.raises(IndexError, match="3 dimensions"):
        tiles.get_tile(0, 0, pre_dims)


@pytest.mark.parametrize("pre_dims", [(2, 0, 0), (0, 3, 0), (0, 0, 1), (-3, 0, 0)])
def test_an_index_beyond_a_dimension_is_an_index_error(tiles, pre_dims):
    with pytest.raises(IndexError):
        tiles.get_tile(0, 0, pre_dims)


@pytest.mark.parametrize("bad", ["0", 1.0, b"0"], ids=repr)
def test_pre_dims_that_are_no_index_are_refused(tiles, bad):
    with pytest.raises((TypeError, IndexError)):
        tiles.get_tile(0, 0, (bad, 0, 0))
    with pytest.raises((TypeError, IndexError)):
        tiles.write_tile(np.zeros((3, 5), "uint16"), 0, 0, (bad, 0, 0))


@pytest.mark.parametrize("axes", ["yx", "zyx", "czyx"])
def test_tiles_of_fewer_dimensions(tmp_path, version, axes):
    kinds = {"z": "space", "c": "channel", "y": "space", "x": "space"}
    position = ps.open_ome_zarr(
        tmp_path / "tiled.zarr",
        layout="tiled",
        mode="w-",
        channel_names=["a", "b"] if "c" in axes else [],
        axes=[ps.AxisMeta(name=n, type=kinds[n]) for n in axes],
        version=version,
    )
    tile_shape = (2, 3, 4, 5)[-len(axes) :]
    array = position.make_tiles("0", (3, 2), tile_shape, "float32")
    assert array.shape == (*tile_shape[:-2], 12, 10)
    array.write_tile(np.full(tile_shape, 2.5), 2, 1)
    expected = np.zeros(array.shape, "float32")
    expected[..., 8:, 5:] = 2.5
    np.testing.assert_array_equal(array.numpy(), expected)


def test_tiles_at_the_edge_of_somebody_elses_image_are_smaller(tmp_path, version):
    position = ps.open_ome_zarr(
        tmp_path / "p.zarr", layout="fov", mode="w-", channel_names=["a"], version=version
    )
    data = np.arange(70, dtype="uint8").reshape(1, 1, 1, 7, 10)
    position.create_image("0", data, chunks=(1, 1, 1, 4, 4))
    tiles = ps.open_ome_zarr(tmp_path / "p.zarr", layout="tiled", mode="r+")["0"]
    assert tiles.tiles == (2, 3)
    np.testing.assert_array_equal(tiles.get_tile(1, 2), data[..., 4:, 8:])
    tiles.write_tile(np.zeros((1, 1, 1, 3, 2)), 1, 2)
    data[..., 4:, 8:] = 0
    np.testing.assert_array_equal(tiles.numpy(), data)


def test_a_tiled_store_is_opened_again_with_its_pixels(tiles, position, tmp_path):
    again = ps.open_ome_zarr(tmp_path / "tiled.zarr", layout="tiled", mode="r")
    np.testing.assert_array_equal(again["0"].get_tile(1, 1), pixels()[..., 3:, 5:])
    with pytest.raises((ValueError, PermissionError)):
        again["0"].write_tile(np.zeros((2, 3, 1, 3, 5)), 0, 0)
    plain = ps.open_ome_zarr(tmp_path / "tiled.zarr", mode="r")
    assert type(plain["0"]) is ps.ImageArray
    np.testing.assert_array_equal(plain["0"].numpy(), pixels())


@pytest.mark.parametrize(
    "kwargs",
    [
        {"grid_shape": (2,)},
        {"grid_shape": (2, 2, 2)},
        {"grid_shape": (0, 2)},
        {"grid_shape": (2.0, 2)},
        {"grid_shape": 4},
        {"tile_shape": (3, 5)},
        {"tile_shape": (2, 3, 4, 3, 0)},
        {"tile_shape": (2, 3, 4, 3, 5.5)},
        {"tile_shape": (2, 4, 4, 3, 5)},  # more channels than are named
        {"chunk_dims": 1},
        {"chunk_dims": 6},
        {"chunk_dims": 2.0},
        {"chunk_dims": True},
        {"dtype": "complex64"},
        {"name": "../0"},
        {"transform": [ps.TransformationMeta(type="scale", scale=[1])]},
    ],
    ids=repr,
)
def test_wrong_wishes_make_nothing(position, kwargs):
    wish = {"name": "0", "grid_shape": (2, 2), "tile_shape": (2, 3, 1, 3, 5), "dtype": "u1", **kwargs}
    with pytest.raises(ValueError):
        position.make_tiles(**wish)
    assert list(position) == []
    assert position.array_keys() == []


def test_tiles_can_have_a_transform(position):
    scale = [ps.TransformationMeta(type="scale", scale=[1, 1, 2, 0.5, 0.5])]
    position.make_tiles("0", (2, 2), (2, 3, 1, 3, 5), "u1", transform=scale)
    assert position.get_effective_scale("0") == [1, 1, 2, 0.5, 0.5]
