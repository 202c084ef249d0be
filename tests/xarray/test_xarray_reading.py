"""Groups, single arrays and trees as labelled arrays."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from xarray_cases import CHANNELS, labelled, position, random

import platestore as ps
from conftest import SHARED, examples, make_plate
from nodes.store_helpers import edit_ome
from platestore.errors import ArgumentError, InvalidMetadataError, NodeNotFoundError, UnsupportedVersionError
from platestore.storage.local import LocalStorage
from platestore.xarray import (
    DaskArrayWrapper,
    read_multiscale_array,
    read_multiscale_group,
    read_multiscale_tree,
    write_multiscale_group,
)


def pyramid(levels: int = 3) -> dict[str, xr.DataArray]:
    out = {}
    for k in range(levels):
        f = 2**k
        coords = {d: np.arange(8 // f) * 0.5 * f + 0.25 * (f - 1) for d in "yx"}
        out[str(k)] = labelled("czyx", (3, 2, 8 // f, 8 // f), **coords)
    return out


@pytest.fixture
def stored(tmp_path, version):
    return write_multiscale_group(
        store=tmp_path / "image.zarr", path="", arrays=pyramid(), ngff_version=version
    )


def check_pyramid(found, dims="czyx"):
    assert list(found) == ["0", "1", "2"]
    for path, array in pyramid().items():
        assert found[path].dims == tuple(dims)
        np.testing.assert_array_equal(found[path].values, array.values)
        for d in dims:
            if d == "c":
                assert found[path].c.values.tolist() == CHANNELS
            else:
                np.testing.assert_allclose(found[path][d], array[d], atol=1e-12)
        assert found[path].x.attrs["scale"] == 0.5 * 2 ** int(path)


# --- groups ---------------------------------------------------------------------------------------


def test_a_group(stored):
    check_pyramid(read_multiscale_group(stored))


def test_whatever_names_it(stored, tmp_path):
    path = tmp_path / "image.zarr"
    check_pyramid(read_multiscale_group(path))
    check_pyramid(read_multiscale_group(str(path)))
    check_pyramid(read_multiscale_group(zarr.storage.LocalStore(path)))
    check_pyramid(read_multiscale_group(ps.open_ome_zarr(path)))
    check_pyramid(read_multiscale_group(zarr.open_group(path, mode="r")))


def test_in_memory(version):
    store = zarr.storage.MemoryStore()
    group = write_multiscale_group(store=store, path="a/b", arrays=pyramid(), ngff_version=version)
    check_pyramid(read_multiscale_group(group))
    check_pyramid(read_multiscale_group(zarr.storage.StorePath(store, "a/b")))


def test_a_position_of_a_plate(tmp_path, version):
    plate = make_plate(tmp_path / "p.zarr", version)
    (array,) = read_multiscale_group(plate["A/1/0"]).values()
    assert array.c.values.tolist() == ["DAPI", "GFP"]
    with pytest.raises(ArgumentError, match="plate"):
        read_multiscale_group(plate)
    with pytest.raises(ArgumentError, match="plate"):
        read_multiscale_group(zarr.open_group(tmp_path / "p.zarr", mode="r"))
    with pytest.raises(ArgumentError, match="Plate"):
        read_multiscale_group(tmp_path / "p.zarr")


def test_dask(stored):
    found = read_multiscale_group(stored, DaskArrayWrapper(chunks=4))
    check_pyramid(found)
    assert found["0"].chunks == ((3,), (2,), (4, 4), (4, 4))
    check_pyramid(read_multiscale_group(stored, array_wrapper={"name": "dask_array", "config": {}}))


@settings(deadline=None, max_examples=examples(25))
@given(
    numbers=st.tuples(*[st.floats(0.1, 10)] * 4, *[st.floats(-100, 100)] * 4),
    version=st.sampled_from(["0.4", "0.5"]),
)
def test_transformations_of_group_and_dataset_compose(numbers, version):
    scales, shifts = numbers[:4], numbers[4:]
    group = write_multiscale_group(
        store=zarr.storage.MemoryStore(),
        path="",
        arrays={"0": labelled("yx", (3, 5))},
        ngff_version=version,
    )

    def steps(i):
        return [
            {"type": "scale", "scale": list(scales[i : i + 2])},
            {"type": "translation", "translation": list(shifts[i : i + 2])},
        ]

    attributes = dict(group.attrs)
    multiscales = (attributes["ome"] if version == "0.5" else attributes)["multiscales"][0]
    multiscales["datasets"][0]["coordinateTransformations"] = steps(0)
    multiscales["coordinateTransformations"] = steps(2)
    group.attrs.put(attributes)
    (array,) = read_multiscale_group(group).values()
    for i, d in enumerate("yx"):
        # Brute force: the array's point, through the dataset's affine, then through that of the group.
        inner = np.array([[scales[i], shifts[i]], [0, 1]])
        outer = np.array([[scales[2 + i], shifts[2 + i]], [0, 1]])
        points = [(outer @ inner @ np.array([k, 1.0]))[0] for k in range(array.sizes[d])]
        np.testing.assert_allclose(array[d], points, rtol=1e-12, atol=1e-9)


def test_several_images_in_one_group(tmp_path):
    p = position(tmp_path / "a.zarr", "yx", channels=[])
    p.create_image("0", random(8, 6))
    p.create_image("other", random(4, 4))
    assert list(read_multiscale_group(p)) == ["0", "other"]
    assert list(read_multiscale_group(p, multiscales_index=1)) == ["other"]
    with pytest.raises(ArgumentError, match="there are 2"):
        read_multiscale_group(p, multiscales_index=2)
    with pytest.raises(TypeError, match="nonsense"):
        read_multiscale_group(p, nonsense=1)


def test_a_version_can_be_asked_for(stored, version):
    check_pyramid(read_multiscale_group(stored, ngff_version=version))
    with pytest.raises(ArgumentError, match=f"is OME-NGFF {version}"):
        read_multiscale_group(stored, ngff_version="0.5" if version == "0.4" else "0.4")
    with pytest.raises(UnsupportedVersionError):
        read_multiscale_group(stored, ngff_version="0.3")


def test_other_versions_are_refused(tmp_path):
    write_multiscale_group(store=tmp_path / "a.zarr", path="", arrays=pyramid(1))
    edit_ome(tmp_path / "a.zarr", lambda o: o["multiscales"][0].update(version="0.2"))
    with pytest.raises(UnsupportedVersionError, match=r"0\.2"):
        read_multiscale_group(tmp_path / "a.zarr")


def test_groups_without_an_image(tmp_path):
    empty = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    with pytest.raises(InvalidMetadataError, match="multiscales"):
        read_multiscale_group(empty)
    with pytest.raises(NodeNotFoundError):
        read_multiscale_group(tmp_path / "b.zarr")
    with pytest.raises(InvalidMetadataError):
        read_multiscale_group(tmp_path / "a.zarr")


def test_units_of_others(tmp_path):
    write_multiscale_group(store=tmp_path / "a.zarr", path="", arrays={"0": labelled("yx", (3, 5))})

    def change(o):
        o["multiscales"][0]["axes"][0]["unit"] = "micron"
        o["multiscales"][0]["axes"][1]["unit"] = "pixel"

    edit_ome(tmp_path / "a.zarr", change)
    (array,) = read_multiscale_group(tmp_path / "a.zarr").values()
    assert array.y.attrs["units"] == "micrometer"
    assert array.x.attrs["units"] == "pixel"
    for version in ("0.4", "0.5"):
        path = tmp_path / f"{version}.zarr"
        write_multiscale_group(store=path, path="", arrays={"0": array}, ngff_version=version)
        (again,) = read_multiscale_group(path).values()
        assert again.x.attrs["units"] == "pixel"
        assert [axis.unit for axis in ps.open_ome_zarr(path).axes] == ["micrometer", "pixel"]


def test_too_few_names_of_channels(tmp_path):
    write_multiscale_group(store=tmp_path / "a.zarr", path="", arrays=pyramid(1))
    edit_ome(tmp_path / "a.zarr", lambda o: o["omero"]["channels"].pop())
    assert read_multiscale_group(tmp_path / "a.zarr")["0"].c.values.tolist() == ["DAPI", "GFP", "2"]
    edit_ome(tmp_path / "a.zarr", lambda o: o.pop("omero"))
    assert read_multiscale_group(tmp_path / "a.zarr")["0"].c.values.tolist() == ["0", "1", "2"]


def test_no_pixels_are_read(stored, monkeypatch):
    monkeypatch.setattr(ps.ImageArray, "_get", None)
    monkeypatch.setattr(zarr.Array, "get_orthogonal_selection", None)
    found = read_multiscale_group(stored)
    read_multiscale_tree(stored, {"name": "dask_array"})
    repr(found)


# --- single arrays --------------------------------------------------------------------------------


def test_a_single_array(stored):
    check_pyramid({path: read_multiscale_array(stored[path]) for path in ("0", "1", "2")})


def test_an_array_that_was_opened_by_itself(stored, tmp_path):
    for path in ("0", "2"):
        alone = zarr.open_array(tmp_path / "image.zarr" / path, mode="r")
        assert alone.path == ""
        np.testing.assert_array_equal(read_multiscale_array(alone), pyramid()[path])


def test_our_own_arrays(stored, tmp_path):
    p = ps.open_ome_zarr(tmp_path / "image.zarr")
    assert read_multiscale_array(p["1"], DaskArrayWrapper()).x.attrs["scale"] == 1.0


def test_the_wrapper_gets_the_array_itself(stored):
    seen = []

    class Seen:
        def wrap(self, array):
            seen.append(array)
            return array[...]

    array = stored["1"]
    read_multiscale_array(array, Seen())
    assert seen[0] is array


@pytest.mark.parametrize("store", ["memory", "local"])
def test_nested_arrays_below_other_groups(tmp_path, version, store):
    """The nearest group that lists the array is the one; those between need not."""
    where = zarr.storage.MemoryStore() if store == "memory" else tmp_path / "a.zarr"
    arrays = {"scale0/image": labelled("yx", (8, 6)), "scale1/image": labelled("yx", (4, 3))}
    group = write_multiscale_group(store=where, path="deep/down", arrays=arrays, ngff_version=version)
    above = zarr.open_group(group.store, mode="r+")
    above.create_group("deep/other")
    for path, array in arrays.items():
        assert list(read_multiscale_group(group)) == list(arrays)
        np.testing.assert_array_equal(read_multiscale_array(above[f"deep/down/{path}"]), array)


def test_a_group_that_does_not_list_the_array_is_passed_over(stored, tmp_path, version):
    stray = stored.create_array("stray", shape=(3, 2, 4, 4), dtype="uint8")
    with pytest.raises(FileNotFoundError, match="no group above") as caught:
        read_multiscale_array(stray)
    assert isinstance(caught.value, NodeNotFoundError)
    lone = zarr.create_array({}, shape=(3,), dtype="uint8")
    with pytest.raises(NodeNotFoundError):
        read_multiscale_array(lone)
    with pytest.raises(ArgumentError, match="read_multiscale_group"):
        read_multiscale_array(stored)


def test_only_groups_above_are_read(stored, tmp_path, monkeypatch):
    """No sibling is opened, however many there are."""
    for i in range(3, 30):
        stored.create_array(str(i), shape=(1,), dtype="uint8")
    array, seen = stored["0"], []
    real = LocalStorage.read
    monkeypatch.setattr(LocalStorage, "read", lambda self, key: seen.append(key) or real(self, key))
    read_multiscale_array(array)
    assert {key.rpartition("/")[0] for key in seen} == {""}
    assert len(seen) <= 4


# --- trees ----------------------------------------------------------------------------------------


def test_a_tree(stored):
    tree = read_multiscale_tree(stored)
    assert isinstance(tree, xr.DataTree)
    assert list(tree.children) == ["0", "1", "2"]
    check_pyramid({path: tree[path]["image"] for path in tree.children})
    assert tree.sel(c="GFP")["1"]["image"].shape == (2, 4, 4)
    assert not tree["0"]["image"].variable._in_memory


def test_a_tree_of_nested_arrays():
    arrays = {"scale0/image": labelled("yx", (8, 6)), "scale1/image": labelled("yx", (4, 3))}
    group = write_multiscale_group(store=zarr.storage.MemoryStore(), path="x", arrays=arrays)
    tree = read_multiscale_tree(group, {"name": "dask_array"})
    assert tree.name == "image"  # a variable cannot have the name of an axis
    np.testing.assert_array_equal(tree["scale1/image/image"], arrays["scale1/image"])


# --- real data ------------------------------------------------------------------------------------


def test_a_real_field():
    field = SHARED / "realdata" / "cardiomyocytes-B03-mip.zarr" if SHARED is not None else None
    if field is None or not field.is_dir():
        pytest.skip("the real field is not beside this checkout")
    group = zarr.open_group(field, mode="r")
    found = read_multiscale_group(group)
    for dataset in group.attrs["multiscales"][0]["datasets"]:
        array = found[dataset["path"]]
        np.testing.assert_array_equal(array.values, group[dataset["path"]][...])
        scale = dataset["coordinateTransformations"][0]["scale"]
        for d, s, n in zip(array.dims, scale, array.shape, strict=True):
            if d != "c":
                np.testing.assert_allclose(array[d], np.arange(n) * s)
    names = [c["label"] for c in group.attrs["omero"]["channels"]]
    assert found["0"].c.values.tolist() == names
