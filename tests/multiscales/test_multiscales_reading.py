"""Reading images back."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr

import platestore as ps
from conftest import make_plate
from multiscales.level_reference import noise
from platestore.errors import ArgumentError, NodeNotFoundError
from platestore.multiscales import (
    Methods,
    NgffMultiscales,
    from_ngff_zarr,
    from_ome_zarr,
    to_multiscales,
    to_ngff_image,
    to_ngff_zarr,
)


@pytest.fixture
def made():
    image = to_ngff_image(
        noise((2, 9, 40, 50)),
        scale={"z": 2.0, "y": 0.5},
        translation={"x": 3},
        axes_units={"z": "um"},
        channel_names=["DAPI", "GFP"],
        name="cells",
    )
    image.channel_colors = ["FF0000", "00FF00"]
    return to_multiscales(image, [2, 4], chunks=16, method="median", orientation="RAS")


@pytest.mark.parametrize("name", ["a.zarr", "a.ozx"])
def test_what_is_written_comes_back(name, made, version, tmp_path):
    version = "0.5" if name == "a.ozx" else version
    to_ngff_zarr(tmp_path / name, made, version=version)
    back = from_ome_zarr(tmp_path / name)
    assert isinstance(back, NgffMultiscales)
    for a, b in zip(back.images, made.images, strict=True):
        np.testing.assert_array_equal(a.data, b.data)
        for field in (
            "dims",
            "scale",
            "translation",
            "name",
            "axes_units",
            "axes_orientations",
            "axes_types",
            "channel_names",
            "channel_colors",
        ):
            assert getattr(a, field) == getattr(b, field), field
    assert back.method.engine == Methods.MEDIAN.engine
    assert (back.scale_factors, back.chunks) == (made.scale_factors, {"c": 1, "z": 9, "y": 16, "x": 16})
    assert back.root_attributes is None
    assert [d.path for d in back.metadata.datasets] == ["0", "1", "2"]
    assert back.metadata.coordinateTransformations is None
    assert back.metadata.dimension_names == ("c", "z", "y", "x")
    to_ngff_zarr(tmp_path / "again.zarr", back, version=version)
    again = from_ngff_zarr(tmp_path / "again.zarr")
    assert again.metadata.to_json() == back.metadata.to_json()
    np.testing.assert_array_equal(again.images[2].data, made.images[2].data)


def test_transformations_compose_in_the_specification_s_order(made, tmp_path, version):
    to_ngff_zarr(tmp_path / "a.zarr", made, version=version)
    with ps.open_ome_zarr(tmp_path / "a.zarr", mode="r+") as position:
        position.set_transform(
            "*",
            [
                ps.TransformationMeta(type="scale", scale=[1, 10, 10, 10]),
                ps.TransformationMeta(type="translation", translation=[0, 100, 0, 0]),
            ],
        )
    back = from_ngff_zarr(tmp_path / "a.zarr")
    for a, b in zip(back.images, made.images, strict=True):
        assert a.scale == {d: s * (1 if d == "c" else 10) for d, s in b.scale.items()}
        wanted = {d: t * (1 if d == "c" else 10) + (100 if d == "z" else 0) for d, t in b.translation.items()}
        assert a.translation == wanted
    # Written again, the two lists stay apart, and mean the same.
    to_ngff_zarr(tmp_path / "b.zarr", back, version=version)
    assert from_ngff_zarr(tmp_path / "b.zarr").images[2].translation == back.images[2].translation
    taken = to_multiscales(back.images[0], [2, 4], method="median")
    assert taken.images[2].translation == back.images[2].translation


def test_positions_of_plates(tmp_path, version):
    make_plate(tmp_path / "plate.zarr", version=version)
    back = from_ngff_zarr(tmp_path / "plate.zarr" / "B" / "1" / "0")
    assert back.images[0].dims == ("t", "c", "z", "y", "x")
    assert back.images[0].channel_names == ["DAPI", "GFP"]
    assert np.unique(back.images[0].data.compute()) == [3]
    made = to_multiscales(str(tmp_path / "plate.zarr" / "B" / "1" / "0"), [2])
    assert made.images[1].data.shape == (1, 2, 1, 4, 4)
    for wrong in ("", "A", "A/1"):
        with pytest.raises(ArgumentError, match=r"plate\.zarr"):
            from_ngff_zarr(tmp_path / "plate.zarr" / wrong)
    with pytest.raises(ArgumentError, match="A/1/0"):
        to_multiscales(tmp_path / "plate.zarr")
    with pytest.raises(ArgumentError, match="is an array"):
        from_ngff_zarr(tmp_path / "plate.zarr" / "A" / "1" / "0" / "0")


def test_metadata_is_taken_over_from_a_path(made, tmp_path):
    to_ngff_zarr(tmp_path / "a.zarr", made)
    with ps.open_ome_zarr(tmp_path / "a.zarr", mode="r+") as position:
        position.set_contrast_limits("DAPI", {"start": 5, "end": 50, "min": 0, "max": 100})
    taken = to_multiscales(tmp_path / "a.zarr", [3])
    assert taken.images[0].scale == made.images[0].scale
    assert taken.images[0].name == "cells"
    assert taken.images[0].axes_orientations == made.images[0].axes_orientations
    to_ngff_zarr(tmp_path / "b.zarr", taken)
    omero = json.loads((tmp_path / "b.zarr" / ".zattrs").read_text())["omero"]
    assert omero["channels"][0]["window"]["end"] == 50
    assert omero["channels"][1]["color"] == "00FF00"
    # An array has pixels only.
    assert to_multiscales(tmp_path / "a.zarr" / "1", []).images[0].data.shape == (2, 5, 20, 25)
    image = to_ngff_image(tmp_path / "a.zarr", scale={"z": 9.0}, name="other")
    assert (image.scale["z"], image.scale["y"], image.name) == (9, 0.5, "other")


def test_labels(tmp_path):
    labels = noise((20, 30), "uint8")
    with ps.open_ome_zarr(
        tmp_path / "a.zarr",
        layout="fov",
        mode="w-",
        channel_names=["DAPI"],
        axes=[ps.SpaceAxisMeta(name="y"), ps.SpaceAxisMeta(name="x")],
    ) as position:
        position.create_image("0", labels)
        position.create_label("nuclei", labels)
    back = from_ngff_zarr(tmp_path / "a.zarr" / "labels" / "nuclei")
    np.testing.assert_array_equal(back.images[0].data, labels)


@pytest.mark.filterwarnings("ignore:axis ")
def test_foreign_images(tmp_path):
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    group.create_array(
        "deep/full", data=noise((12, 15)), chunks=(4, 4), chunk_key_encoding={"name": "v2", "separator": "/"}
    )
    group.create_array(
        "deep/half", data=noise((6, 7)), chunks=(4, 4), chunk_key_encoding={"name": "v2", "separator": "/"}
    )
    scale = [{"type": "scale", "scale": [0.1, 0.1]}], [{"type": "scale", "scale": [0.2, 0.25]}]
    group.attrs.update(
        {
            "mine": [1],
            "multiscales": [
                {
                    "version": "0.4",
                    "axes": [
                        {"name": "Y", "type": "space", "unit": "furlong"},
                        {"name": "X", "type": "space", "orientation": {"type": "other", "value": "up"}},
                    ],
                    "datasets": [
                        {"path": "deep/full", "coordinateTransformations": scale[0]},
                        {"path": "deep/half", "coordinateTransformations": scale[1]},
                    ],
                }
            ],
        }
    )
    back = from_ngff_zarr(tmp_path / "a.zarr")
    assert back.images[0].dims == ("y", "x")
    assert back.images[0].axes_units == {"y": "furlong"}
    assert back.images[0].axes_orientations is None
    assert back.scale_factors is None  # not whole
    assert back.root_attributes == {"mine": [1]}
    to_ngff_zarr(tmp_path / "b.zarr", back)
    again = from_ngff_zarr(tmp_path / "b.zarr")
    assert again.metadata.to_json() == back.metadata.to_json()
    assert to_multiscales(back.images[0], []).images[0].axes_units == {"y": "furlong"}
    with pytest.raises(ArgumentError, match="furlong"):
        to_ngff_image(np.zeros((3, 3)), axes_units={"y": "furlong"})


def test_nothing_and_something_else(tmp_path):
    with pytest.raises(NodeNotFoundError):
        from_ngff_zarr(tmp_path / "none.zarr")
    with pytest.raises(NodeNotFoundError):
        from_ngff_zarr(tmp_path / "none.ozx")
    for wrong in (5, None, np.zeros((3, 3))):
        with pytest.raises(ArgumentError, match="store"):
            from_ngff_zarr(wrong)
    ps.open_ome_zarr(tmp_path / "empty.zarr", layout="fov", mode="w-", channel_names=["a"])
    with pytest.raises(ArgumentError, match="no image"):
        from_ngff_zarr(tmp_path / "empty.zarr")
