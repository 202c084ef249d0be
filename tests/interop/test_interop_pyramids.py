"""Pyramids of a real field against those it was shipped with, by the schemas, and through other readers."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import SHARED, examples
from interop.test_interop_schemas import check_documents
from nodes.store_helpers import scale, snapshot, translation
from pyramid.pyramid_store import image_of, multiscales, noise, quick_cascade, stored

CROP = Path(__file__).parents[1] / "data" / "cardiomyocytes-crop.zarr"
FIELD = SHARED / "realdata" / "cardiomyocytes-B03-mip.zarr" if SHARED is not None else None
NUCLEI = Path("labels", "nuclei")


@pytest.fixture(params=["crop", "field"])
def real(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the small cut-out that is always here, or of the whole field where a developer has it."""
    source = CROP if request.param == "crop" else FIELD
    if source is None or not source.is_dir():
        pytest.skip("the real field is not beside this checkout")
    return Path(shutil.copytree(source, tmp_path / "field.zarr"))


def transforms(path: Path) -> list[Any]:
    return [d["coordinateTransformations"][0]["scale"] for d in multiscales(path)["datasets"]]


# --- the real field -------------------------------------------------------------------------------


def test_our_levels_of_the_real_field_are_those_it_was_shipped_with(real):
    """They are rounded down, ours to the nearest even: a grey level apart, never below, in each step."""
    before = stored(real)
    scales = transforms(real)
    ps.open_ome_zarr(real, mode="r+").compute_pyramid()
    after = stored(real)
    assert list(after) == list(before)
    assert transforms(real) == scales
    for step, (name, old) in enumerate(before.items()):
        new = after[name]
        assert (new.shape, new.dtype) == (old.shape, old.dtype)
        difference = new.astype("int64") - old
        assert difference.min() >= 0
        assert difference.max() <= step, f"level {name}"
    np.testing.assert_array_equal(after["0"], before["0"])
    # Of level 1 exactly: theirs is the whole part of the mean, and ours its nearest integer.
    sums = before["0"].astype("int64")
    shape = (*sums.shape[:2], sums.shape[2] // 2, 2, sums.shape[3] // 2, 2)
    sums = sums.reshape(shape).sum((3, 5))
    np.testing.assert_array_equal(before["1"], sums // 4)
    np.testing.assert_array_equal(after["1"], np.rint(sums / 4).astype("uint16"))


def test_our_labels_of_the_real_field_are_those_it_was_shipped_with(real):
    """Theirs are the greatest value of each window; ours the most frequent one, unless asked otherwise."""
    shipped = stored(real / NUCLEI)
    ps.open_ome_zarr(real, mode="r+").compute_pyramid()
    steps = [(1, 2, 2)] * (len(shipped) - 1)
    ours = stored(real / NUCLEI)
    expected = quick_cascade(shipped["0"], steps, "mode")
    for (name, got), level in zip(list(ours.items())[1:], expected, strict=True):
        np.testing.assert_array_equal(got, level)
        assert (got == shipped[name]).mean() > 0.7, "apart at the borders of nuclei only"
    ps.open_ome_zarr(real, mode="r+")["labels/nuclei"].compute_pyramid(method="max")
    for name, old in shipped.items():
        np.testing.assert_array_equal(stored(real / NUCLEI)[name], old)


def test_levels_of_the_real_field_are_deleted_and_made_anew(real):
    before = stored(real)
    scales, count = transforms(real), len(before)
    untouched = snapshot(real / "0"), snapshot(real / NUCLEI / "0")
    position = ps.open_ome_zarr(real, mode="r+")
    position.delete_pyramid()
    assert list(stored(real)) == list(stored(real / NUCLEI)) == ["0"]
    position.compute_pyramid(count, dims=["y", "x"])
    assert transforms(real) == scales
    assert [s[-3:] for s in scales] == transforms(real / NUCLEI)
    assert {name: image.shape for name, image in stored(real).items()} == {
        name: image.shape for name, image in before.items()
    }
    assert (snapshot(real / "0"), snapshot(real / NUCLEI / "0")) == untouched


def test_a_nucleus_changed_in_the_real_field_is_changed_in_all_levels(real):
    position = ps.open_ome_zarr(real, mode="r+")
    position.compute_pyramid()
    label = position["labels/nuclei"]
    box = np.s_[:, 40:58, 50:75]
    nuclei = label["0"].numpy()
    nuclei[box] = 7
    label["0"][...] = nuclei
    image = position["0"].numpy()
    image[:, :, 40:58, 50:75] = 3
    position["0"][...] = image
    position.compute_pyramid(region=np.s_[:, :, 40:58, 50:75])
    steps = [(1, 1, 2, 2)] * (len(position) - 1)
    for got, level in zip(list(stored(real).values())[1:], quick_cascade(image, steps, "mean"), strict=True):
        np.testing.assert_array_equal(got, level)
    found = list(stored(real / NUCLEI).values())
    steps = [step[1:] for step in steps]
    for got, level in zip(found[1:], quick_cascade(found[0], steps, "mode"), strict=True):
        np.testing.assert_array_equal(got, level)
        assert (got == 7).any()


def test_the_colours_and_windows_of_the_real_field_stay(real):
    before = ps.open_ome_zarr(real).zattrs.asdict()
    position = ps.open_ome_zarr(real, mode="r+")
    position.compute_pyramid()
    position.delete_pyramid()
    position.compute_pyramid("auto")
    after = ps.open_ome_zarr(real).zattrs.asdict()
    assert after["omero"] == before["omero"]
    assert set(before) <= set(after)


# --- by the schemas -------------------------------------------------------------------------------

_recipes = st.fixed_dictionaries(
    {
        "version": st.sampled_from(["0.4", "0.5"]),
        "names": st.sampled_from(["YX", "ZYX", "CYX", "tyx", "czyx", "TCZYX"]),
        "size": st.integers(1, 13),
        "levels": st.integers(1, 4),
        "method": st.sampled_from(["mean", "median", "mode", "min", "max", "stride"]),
        "shift": st.booleans(),
        "outer": st.booleans(),
        "then": st.sampled_from(["", "initialise", "delete", "recompute"]),
        "label": st.booleans(),
    }
)


def build(path: Path, recipe: dict[str, Any]) -> tuple[Any, np.ndarray]:
    names = recipe["names"]
    shape = tuple({"t": 2, "c": 1, "z": 3}.get(n, recipe["size"]) for n in names.lower())
    data = noise("uint16", shape)
    position = image_of(path, recipe["version"], data, names)
    if recipe["shift"]:
        position.set_transform("0", [*scale(*[0.5] * data.ndim), translation(*[2.0] * data.ndim)])
    if recipe["outer"]:
        position.set_transform("*", [*scale(*[3.0] * data.ndim), translation(*[1.0] * data.ndim)])
    if recipe["label"]:
        position.create_label("cells", data % 3)
    if recipe["then"] == "initialise":
        position.initialize_pyramid(recipe["levels"])
    else:
        position.compute_pyramid(recipe["levels"], recipe["method"])
    if recipe["then"] == "recompute" and recipe["levels"] > 1:
        position.compute_pyramid(method="mean")
    if recipe["then"] == "delete":
        position.delete_pyramid()
    return position, data


@pytest.mark.skipif(SHARED is None, reason="the official schemas are not beside this checkout")
@settings(deadline=None, max_examples=examples(40))
@given(recipe=_recipes)
def test_every_document_passes_the_official_schemas(recipe):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "i.zarr")
        build(path, recipe)
        assert check_documents(path, recipe["version"])["image"] == 1 + recipe["label"]


# --- through other readers ------------------------------------------------------------------------


@pytest.fixture
def written(
    tmp_path: Path, version: str
) -> tuple[Path, list[np.ndarray], list[list[float]], list[list[float]]]:
    """A position of three levels: its path, pixels, scales and translations."""
    data = noise("uint16", (2, 2, 5, 27, 38))
    path = tmp_path / "i.zarr"
    ratio = (1, 1, 2, 2, 2) if version == "0.5" else None
    position = image_of(path, version, data, "tczyx", chunks=(1, 1, 2, 8, 8), shards_ratio=ratio)
    position.set_scale("0", "x", 0.25)
    position.compute_pyramid(3)
    levels = [data, *quick_cascade(data, [(1, 1, 2, 2, 2)] * 2, "mean")]
    names = list(position)
    return (
        path,
        levels,
        [position.get_effective_scale(n) for n in names],
        [position.get_effective_translation(n) for n in names],
    )


def test_zarr_reads_all_levels(written):
    path, levels, _, _ = written
    group = zarr.open_group(path, mode="r")
    assert sorted(group.array_keys()) == ["0", "1", "2"]
    for name, level in enumerate(levels):
        np.testing.assert_array_equal(group[str(name)][...], level)


def test_tensorstore_reads_all_levels(written, version):
    path, levels, _, _ = written
    driver = "zarr" if version == "0.4" else "zarr3"
    for name, level in enumerate(levels):
        spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{path}/{name}/"}}
        np.testing.assert_array_equal(tensorstore.open(spec).result().read().result(), level)


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::PendingDeprecationWarning"
)
def test_ome_zarr_reads_all_levels(written):
    io = pytest.importorskip("ome_zarr.io")
    reader = pytest.importorskip("ome_zarr.reader")
    path, levels, scales, translations = written
    node = next(iter(reader.Reader(io.parse_url(str(path)))()))
    assert len(node.data) == len(levels)
    for got, level in zip(node.data, levels, strict=True):
        np.testing.assert_array_equal(np.asarray(got), level)
    steps = node.metadata["coordinateTransformations"]
    assert [s[0]["scale"] for s in steps] == scales
    assert [s[1]["translation"] for s in steps[1:]] == translations[1:]


@pytest.mark.filterwarnings("ignore")
def test_ngff_zarr_reads_all_levels(written):
    ngff_zarr = pytest.importorskip("ngff_zarr")
    path, levels, scales, translations = written
    images = ngff_zarr.from_ngff_zarr(str(path)).images
    assert len(images) == len(levels)
    for image, level, size, offset in zip(images, levels, scales, translations, strict=True):
        np.testing.assert_array_equal(np.asarray(image.data), level)
        assert [image.scale[d] for d in "zyx"] == size[2:]
        assert [image.translation.get(d, 0.0) for d in "zyx"] == offset[2:]


@pytest.mark.filterwarnings("ignore")
def test_levels_of_labels_are_read_too(tmp_path, version):
    ngff_zarr = pytest.importorskip("ngff_zarr")
    data = noise("uint16", (1, 4, 20, 26))
    position = image_of(tmp_path / "i.zarr", version, data, "czyx")
    cells = (data % 5).astype("uint8")
    position.create_label("cells", cells)
    position.compute_pyramid(3)
    images = ngff_zarr.from_ngff_zarr(str(tmp_path / "i.zarr" / "labels" / "cells")).images
    expected = [cells, *quick_cascade(cells, [(1, 2, 2, 2)] * 2, "mode")]
    for image, level in zip(images, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(image.data), level)
