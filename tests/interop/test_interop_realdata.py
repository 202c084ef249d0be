"""A real field of cardiomyocytes and its labels: opened, copied into new stores, and read back by others."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import zarr

import platestore as ps
from conftest import SHARED
from nodes.store_helpers import check_plate, ome, refused, snapshot

CROP = Path(__file__).parents[1] / "data" / "cardiomyocytes-crop.zarr"
FIELD = SHARED / "realdata" / "cardiomyocytes-B03-mip.zarr" if SHARED is not None else None
CHANNELS = ["DAPI", "nanog", "Lamin B1"]


@pytest.fixture(params=["crop", "field"])
def real(request: pytest.FixtureRequest) -> Path:
    """The small cut-out that is always here, and the whole field where a developer has it."""
    if request.param == "crop":
        return CROP
    if FIELD is None or not FIELD.is_dir():
        pytest.skip("the real field is not beside this checkout")
    return FIELD


def plain(path: Path) -> dict[str, np.ndarray]:
    """Pixels of the levels of an image, as zarr alone reads them."""
    group = zarr.open_group(path, mode="r")
    return {name: group[name][...] for name in sorted(group.array_keys())}


def copy(source: ps.Position, target: ps.Position) -> None:
    """Copy levels, transformations, colours and windows through the public API."""
    datasets = source.metadata.multiscales[0].datasets
    for dataset in datasets:
        image = source[dataset.path]
        target.create_image(
            dataset.path, image.numpy(), chunks=image.chunks, transform=dataset.coordinate_transformations
        )
    if source.metadata.omero is not None:
        for ours, theirs in zip(target.metadata.omero.channels, source.metadata.omero.channels, strict=True):
            ours.color = theirs.color
        target.dump_meta()
        for channel in source.metadata.omero.channels:
            target.set_contrast_limits(channel.label, channel.window)


# --- opening --------------------------------------------------------------------------------------


def test_the_field_opens(real):
    position = ps.open_ome_zarr(real)
    assert type(position) is ps.Position
    assert position.version == "0.4"
    assert position.channel_names == CHANNELS
    assert position.axis_names == ["c", "z", "y", "x"]
    assert position.get_channel_index("nanog") == 1
    levels = list(position)
    assert levels == sorted(plain(real))
    sizes = [image.shape for _, image in position.images()]
    assert all(size[:2] == (3, 1) for size in sizes)
    assert [a[2] // b[2] for a, b in pairwise(sizes)] == [2] * (len(sizes) - 1)
    for first, second in pairwise(levels):
        assert position.get_effective_scale(second) == pytest.approx(
            np.array(position.get_effective_scale(first)) * [1, 1, 2, 2]
        )
    assert position.scale[:2] == [1, 1]
    assert position.metadata.omero.channels[0].window == {"start": 0, "end": 700, "min": 0, "max": 65535}


def test_its_pixels_are_those_that_zarr_reads(real):
    position = ps.open_ome_zarr(real)
    for name, expected in plain(real).items():
        image = position[name]
        assert (image.channels, image.slices, image.frames) == (3, 1, 1)
        assert image.dtype == "uint16"
        np.testing.assert_array_equal(image.numpy(), expected)
        assert expected.max() > 300, "a real picture"
    coarse = position[list(position)[-1]]
    np.testing.assert_array_equal(np.asarray(coarse.dask_array()), coarse.numpy())
    np.testing.assert_array_equal(coarse.tensorstore().read().result(), coarse.numpy())


def test_its_labels_open(real):
    position = ps.open_ome_zarr(real)
    labels = position["labels/nuclei"]
    assert labels.axis_names == ["z", "y", "x"]
    assert list(labels) == list(position)
    for name, expected in plain(real / "labels" / "nuclei").items():
        np.testing.assert_array_equal(position[f"labels/nuclei/{name}"].numpy(), expected)
        assert labels[name].dtype == "uint32"
        assert labels[name].shape == position[name].shape[1:]
        assert labels.get_effective_scale(name) == position.get_effective_scale(name)[1:]
        assert len(np.unique(expected)) > 100, "many nuclei"
    assert type(ps.open_ome_zarr(real / "labels" / "nuclei")) is ps.LabelImage


def test_reading_it_changes_nothing(tmp_path):
    path = shutil.copytree(CROP, tmp_path / "crop.zarr")
    before = snapshot(path)
    position = ps.open_ome_zarr(path, mode="r+")
    for _, image in position.images():
        image.numpy()
    position.print_tree()
    assert snapshot(path) == before


# --- copying --------------------------------------------------------------------------------------


def test_a_copy_reads_back_equal(real, tmp_path, version):
    source, path = ps.open_ome_zarr(real), tmp_path / "copy.zarr"
    target = ps.open_ome_zarr(
        path, layout="fov", mode="w-", channel_names=source.channel_names, axes=source.axes, version=version
    )
    copy(source, target)

    original = plain(real)
    for name, array in plain(path).items():
        np.testing.assert_array_equal(array, original.pop(name))
    assert original == {}

    read = ps.open_ome_zarr(path)
    assert read.version == version
    assert read.channel_names == CHANNELS
    assert [(a.name, a.type, a.unit) for a in read.axes] == [(a.name, a.type, a.unit) for a in source.axes]
    assert [read.get_effective_scale(n) for n in read] == [source.get_effective_scale(n) for n in source]
    written, before = ome(path)["omero"]["channels"], ome(real)["omero"]["channels"]
    assert [c["window"] for c in written] == [c["window"] for c in before]
    assert [c["color"] for c in written] == [c["color"] for c in before]
    assert len(ome(path)["multiscales"]) == 1


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::PendingDeprecationWarning"
)
def test_an_independent_reader_reads_the_copy(real, tmp_path, version):
    io = pytest.importorskip("ome_zarr.io")
    reader = pytest.importorskip("ome_zarr.reader")
    source, path = ps.open_ome_zarr(real), tmp_path / "copy.zarr"
    target = ps.open_ome_zarr(
        path, layout="fov", mode="w-", channel_names=source.channel_names, axes=source.axes, version=version
    )
    copy(source, target)
    node = next(iter(reader.Reader(io.parse_url(str(path)))()))
    for got, expected in zip(node.data, plain(real).values(), strict=True):
        np.testing.assert_array_equal(np.asarray(got), expected)
    assert node.metadata["channel_names"] == CHANNELS
    assert node.metadata["contrast_limits"][0] == [0, 700]


def test_the_labels_are_copied_as_an_image_of_their_own(real, tmp_path, version):
    source = ps.open_ome_zarr(real)["labels/nuclei"]
    target = ps.open_ome_zarr(
        tmp_path / "labels.zarr",
        layout="fov",
        mode="w-",
        channel_names=["nuclei"],
        axes=source.axes,
        version=version,
    )
    for name, image in source.images():
        steps = [ps.TransformationMeta(type="scale", scale=source.get_effective_scale(name))]
        target.create_image(name, image.numpy(), transform=steps)
    for name, expected in plain(real / "labels" / "nuclei").items():
        np.testing.assert_array_equal(plain(tmp_path / "labels.zarr")[name], expected)
    assert len(ome(tmp_path / "labels.zarr")["multiscales"]) == 1


def test_a_plate_is_filled_with_the_field(real, tmp_path, version):
    source, path = ps.open_ome_zarr(real), tmp_path / "plate.zarr"
    coarsest = source[list(source)[-1]]
    plate = ps.open_ome_zarr(
        path, layout="hcs", mode="w-", channel_names=source.channel_names, axes=source.axes, version=version
    )
    for position in plate.create_positions([("B", "03", "0"), ("B", "03", "1"), ("C", "04", "0")]):
        steps = [ps.TransformationMeta(type="scale", scale=source.get_effective_scale(list(source)[-1]))]
        position.create_image("0", coarsest.numpy(), transform=steps)
    plate.rename_well("B/03", "D/05")
    check_plate(path)
    for field, position in ps.open_ome_zarr(path).positions():
        assert position.channel_names == CHANNELS
        assert position.scale == source.get_effective_scale(list(source)[-1])
        np.testing.assert_array_equal(
            zarr.open_array(path, path=f"{field}/0", mode="r")[...], coarsest.numpy()
        )


def test_sharded_copies_read_back_equal(tmp_path):
    source = ps.open_ome_zarr(CROP)
    target = ps.open_ome_zarr(
        tmp_path / "copy.zarr",
        layout="fov",
        mode="w-",
        channel_names=CHANNELS,
        axes=source.axes,
        version="0.5",
    )
    image = target.create_image("0", source.data.numpy(), chunks=(1, 1, 32, 32), shards_ratio=(1, 1, 4, 4))
    assert image.shards == (1, 1, 128, 128)
    np.testing.assert_array_equal(plain(tmp_path / "copy.zarr")["0"], plain(CROP)["0"])


# --- changing -------------------------------------------------------------------------------------


@pytest.fixture
def crop(tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(CROP, tmp_path / "crop.zarr"))


def test_its_channels_are_renamed_and_its_own_keys_stay(crop):
    before = ome(crop)["omero"]
    position = ps.open_ome_zarr(crop, mode="r+")
    position.rename_channel("nanog", "NANOG")
    position.append_channel("membrane")
    position.set_scale("0", "x", 0.5)
    after = ome(crop)["omero"]
    assert [c["label"] for c in after["channels"]] == ["DAPI", "NANOG", "Lamin B1", "membrane"]
    for old, new in zip(before["channels"], after["channels"], strict=False):
        assert {k: v for k, v in new.items() if k != "label"} == {
            k: v for k, v in old.items() if k != "label"
        }
    assert (after["id"], after["name"]) == (before["id"], before["name"])
    read = ps.open_ome_zarr(crop)
    assert [image.shape for _, image in read.images()] == [(4, 1, 128, 128), (4, 1, 64, 64)]
    np.testing.assert_array_equal(read.data[:3], plain(CROP)["0"])
    assert [read.get_effective_scale(n)[3] for n in read] == [0.5, 1.0]


def test_a_channel_of_it_is_replaced(crop):
    position = ps.open_ome_zarr(crop, mode="r+")
    flipped = plain(CROP)["0"][1, :, ::-1]
    position.update_channel("nanog", "0", flipped)
    np.testing.assert_array_equal(plain(crop)["0"][1], flipped)
    np.testing.assert_array_equal(plain(crop)["0"][[0, 2]], plain(CROP)["0"][[0, 2]])


def test_its_labels_stay_when_the_image_changes(crop):
    position = ps.open_ome_zarr(crop, mode="r+")
    del position["1"]  # takes that level of the labels along
    assert list(dict(position.get_label("nuclei").images())) == ["0"]
    before = snapshot(crop / "labels")
    position.append_channel("membrane")
    position.create_image("extra", plain(CROP)["1"], check_shape=False)
    assert snapshot(crop / "labels") == before
    np.testing.assert_array_equal(
        ps.open_ome_zarr(crop)["labels/nuclei/0"].numpy(), plain(CROP / "labels" / "nuclei")["0"]
    )


def test_w_does_not_take_the_field_for_a_target_by_mistake(crop):
    with refused(ps.ArgumentError, ValueError, tree=crop):
        ps.open_ome_zarr(crop, mode="w")
    (crop / "licence.txt").write_text("BSD-3")
    with refused(ps.UnsafeTargetError, ValueError, tree=crop):
        ps.open_ome_zarr(crop, layout="fov", mode="w", channel_names=["a"])


def test_the_shipped_data_are_small_and_licensed():
    files = [path for path in CROP.parent.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 300_000
    assert (CROP.parent / "LICENSE-cardiomyocytes").read_text().startswith("BSD 3-Clause License")
