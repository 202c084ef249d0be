"""bioformats2raw collections: with and without the ``OME`` group, in both versions, for reading."""

from __future__ import annotations

import json

import numpy as np
import pytest

import platestore as ps
from nodes.store_helpers import edit_attributes, new_position, pixels, refused, snapshot, stored_plate


def _group(path, version, attributes):
    path.mkdir(parents=True, exist_ok=True)
    if version == "0.4":
        (path / ".zgroup").write_text('{"zarr_format": 2}')
        (path / ".zattrs").write_text(json.dumps(attributes))
    else:
        ome = {"version": "0.5", **attributes}
        content = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}
        (path / "zarr.json").write_text(json.dumps(content))


@pytest.fixture(params=["listed", "unlisted", "listed at the root"])
def series(request, tmp_path, version):
    """A collection of two images; where it is listed, in another order than that of the names."""
    path = tmp_path / "a.zarr"
    root = {"bioformats2raw.layout": 3}
    if request.param == "listed at the root":
        root["series"] = ["1", "0"]
    _group(path, version, root)
    if request.param == "listed":
        _group(path / "OME", version, {"series": ["1", "0"]})
        (path / "OME" / "METADATA.ome.xml").write_text("<OME/>")
    for name in ("0", "1"):
        image = new_position(tmp_path / f"{name}.zarr", version, channels=[f"channel of {name}"])
        image["0"] = np.full((1, 1, 2, 4, 4), int(name) + 1, "uint8")
        (tmp_path / f"{name}.zarr").rename(path / name)
    return path, ["0", "1"] if request.param == "unlisted" else ["1", "0"]


@pytest.mark.parametrize("layout", ["auto", "bf2raw"])
@pytest.mark.parametrize("mode", ["r", "r+", "a"])
def test_a_collection_opens_as_such(series, layout, mode, version):
    path, order = series
    node = ps.open_ome_zarr(path, layout=layout, mode=mode)
    assert type(node) is ps.Bioformats2RawSeries
    assert node.version == version
    assert list(node) == order
    assert len(node) == 2
    assert [name for name, _ in node.positions()] == order
    assert [int(position.data[0, 0, 0, 0, 0]) for _, position in node.positions()] == [
        int(n) + 1 for n in order
    ]


def test_its_names_and_axes_are_those_of_the_first_image(series):
    path, order = series
    node = ps.open_ome_zarr(path)
    assert node.channel_names == [f"channel of {order[0]}"]
    assert [axis.name for axis in node.axes] == ["T", "C", "Z", "Y", "X"]


def test_images_and_arrays_are_reached_by_path(series):
    node = ps.open_ome_zarr(series[0])
    assert type(node["0"]) is type(node[1]) is ps.Position
    assert type(node["1/0"]) is ps.ImageArray
    assert node["1/0"][0, 0, 0, 0, 0] == 2
    assert "0" in node
    assert 1 in node
    assert "2" not in node
    assert "OME" not in node
    assert "0" in repr(node)
    with refused(ps.NodeKeyError, KeyError, tree=series[0]):
        node["2"]


def test_an_image_opens_by_its_own_path(series):
    assert ps.open_ome_zarr(series[0] / "1").data[0, 0, 0, 0, 0] == 2


def test_the_collection_is_not_changed(series):
    path, _ = series
    node = ps.open_ome_zarr(path, mode="r+")
    before = snapshot(path)
    for change in (
        lambda: node.__delitem__("0"),
        node.dump_meta,
        lambda: node.__setitem__("2", pixels(4, 4)),
    ):
        with pytest.raises((NotImplementedError, TypeError)):
            change()
    assert snapshot(path) == before


def test_its_images_can_be_changed(series):
    node = ps.open_ome_zarr(series[0], mode="r+")
    node["1"].rename_channel("channel of 1", "new")
    assert ps.open_ome_zarr(series[0])["1"].channel_names == ["new"]


def test_an_image_that_is_listed_but_absent_is_reported(series):
    import shutil

    path, order = series
    shutil.rmtree(path / order[0])
    if order == ["1", "0"]:
        node = ps.open_ome_zarr(path)
        with pytest.warns(ps.StoreWarning, match="is not there"):
            assert [name for name, _ in node.positions()] == ["0"]
        with refused(ps.DanglingError, KeyError, tree=path, names=path / "1"):
            node["1"]
    else:
        with pytest.warns(ps.StoreWarning, match="lists no image"):
            assert list(ps.open_ome_zarr(path)) == []


def test_another_layout_number_is_read_with_a_warning(series):
    path, order = series
    if (path / "zarr.json").exists():
        edit_attributes(path, ome={"version": "0.5", "bioformats2raw.layout": 4})
    else:
        edit_attributes(path, **{"bioformats2raw.layout": 4})
    with pytest.warns(ps.StoreWarning, match="4, not 3"):
        node = ps.open_ome_zarr(path)
    assert sorted(node) == sorted(order)


@pytest.mark.parametrize("listed", [["../../etc"], ["/etc"], ["0", ".."], [""], ["C:\\x"]])
def test_a_list_that_leaves_the_store_is_refused(tmp_path, version, listed):
    path = tmp_path / "a.zarr"
    _group(path, version, {"bioformats2raw.layout": 3})
    _group(path / "OME", version, {"series": listed})
    node = ps.open_ome_zarr(path)
    with refused(ps.InvalidMetadataError, ValueError, tree=path):
        list(node)


def test_a_plate_in_the_layout_of_the_converter_is_a_plate(tmp_path, version):
    # bioformats2raw writes both; the specification gives the plate precedence.

    path = tmp_path / "a.zarr"
    stored_plate(path, version)
    document = path / (".zattrs" if version == "0.4" else "zarr.json")
    content = json.loads(document.read_text())
    (content if version == "0.4" else content["attributes"]["ome"])["bioformats2raw.layout"] = 3
    document.write_text(json.dumps(content))
    _group(path / "OME", version, {})
    plate = ps.open_ome_zarr(path, mode="r+")
    assert type(plate) is ps.Plate
    plate.create_position("C", "1", "0")
    content = json.loads(document.read_text())
    assert (content if version == "0.4" else content["attributes"]["ome"])["bioformats2raw.layout"] == 3


def test_an_empty_collection_is_no_error_until_it_is_used(tmp_path, version):
    path = tmp_path / "a.zarr"
    _group(path, version, {"bioformats2raw.layout": 3})
    with pytest.warns(ps.StoreWarning, match="lists no image"):
        node = ps.open_ome_zarr(path)
    assert len(node) == 0
    assert list(node.positions()) == []
    with refused(ps.NodeKeyError, KeyError, tree=path, names=False):
        _ = node.channel_names
