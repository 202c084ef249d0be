"""Copies, those of a real field too, are read by ome-zarr, ngff-zarr, yaozarrs, zarr and TensorStore."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import platestore as ps
from conftest import SHARED
from copying.copy_helpers import (
    check_image,
    check_store,
    chunk_bytes,
    expect,
    how,
    levels_of,
    noise,
    places,
    unpacked,
)
from nodes.store_helpers import axes, ome, scale, snapshot, translation

CROP = Path(__file__).parents[1] / "data" / "cardiomyocytes-crop.zarr"
FIELD = SHARED / "realdata" / "cardiomyocytes-B03-mip.zarr" if SHARED is not None else None
SHAPE = (1, 3, 4, 24, 32)
PART = np.s_[:, [2, 0], 1:3, 8:24, 0:16]
OTHER = {"0.4": "0.5", "0.5": "0.4"}

quiet = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::PendingDeprecationWarning"
)


def build(path: Path, version: str) -> Path:
    """A plate with levels, labels and places in space."""
    plate = ps.open_ome_zarr(
        path,
        layout="hcs",
        mode="w-",
        channel_names=["DAPI", "GFP", "Cy5"],
        axes=axes("tczyx"),
        version=version,
    )
    sharded = {"shards_ratio": (1, 1, 1, 2, 2)} if version == "0.5" else {}
    for seed, position in enumerate(
        plate.create_positions([("A", "1", "0"), ("A", "1", "1"), ("B", "3", "0")])
    ):
        position.create_image(
            "0",
            noise(SHAPE, seed=seed) + seed,
            chunks=(1, 1, 4, 8, 16),
            transform=[*scale(1.0, 1.0, 2.0, 0.5, 0.5), translation(0.0, 0.0, 0.0, 10.0, 20.0)],
            pyramid_levels=2,
            pyramid_factors=[(1, 1, 1, 2, 2)],
            **sharded,
        )
        position.create_label("cells", noise((1, 1, 4, 24, 32), "uint8", seed) % 9)
    return path


_CUT = {"channels": ["Cy5", "DAPI"], "z": "1:3", "crop": "8:24,0:16"}
#: Version of the source, name of the copy, what is asked for, and what is taken of each image.
COPIES: dict[str, tuple[str, str, dict[str, Any], Any]] = {
    "0.4": ("0.4", "b.zarr", {}, np.s_[:]),
    "0.4 to 0.5": ("0.4", "b.zarr", {"version": "0.5"}, np.s_[:]),
    "0.5 to 0.4": ("0.5", "b.zarr", {"version": "0.4"}, np.s_[:]),
    "0.4 to an archive": ("0.4", "b.ozx", {}, np.s_[:]),
    "0.5 to an archive": ("0.5", "b.ozx", {}, np.s_[:]),
    "part of 0.4": ("0.4", "b.zarr", _CUT, PART),
    "part of 0.5 in an archive": ("0.5", "b.ozx", {**_CUT, "compressor": "gzip:1"}, PART),
    "part of 0.5 in 0.4": ("0.5", "b.zarr", {**_CUT, "version": "0.4", "chunks": (1, 1, 1, 5, 7)}, PART),
    "0.4 to shards": (
        "0.4",
        "b.zarr",
        {"version": "0.5", "shards": "ZYX", "chunks": (1, 1, 1, 8, 8), "checksum": True},
        np.s_[:],
    ),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The source in each version; no test changes it."""
    folder = tmp_path_factory.mktemp("built")
    return {version: build(folder / f"{version}.zarr", version) for version in ("0.4", "0.5")}


class Copied:
    """A copy, and what others must find in it."""

    def __init__(self, source: Path, path: Path, options: dict[str, Any], part: Any) -> None:
        self.report = ps.copy(source, path, **options)
        self.path, self.version = path, self.report.version
        self.channels = options.get("channels", ["DAPI", "GFP", "Cy5"])
        coarse = part if part == np.s_[:] else (*part[:3], slice(4, 12), slice(0, 8))
        self.levels = {}
        for name in ("A/1/0", "A/1/1", "B/3/0"):
            before = levels_of(source / name)
            self.levels[name] = [before["0"][part], before["1"][coarse]]
        self.offset = [10.0, 20.0] if part == np.s_[:] else [14.0, 20.0]

    @property
    def is_archive(self) -> bool:
        """Whether it is one file."""
        return self.path.suffix == ".ozx"


@pytest.fixture(scope="module", params=list(COPIES))
def copied(
    request: pytest.FixtureRequest, built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Copied:
    """Each kind of copy; no test changes it."""
    version, name, options, part = COPIES[request.param]
    return Copied(built[version], tmp_path_factory.mktemp("copied") / name, options, part)


def test_zarr_reads_copies(copied):
    store = zarr.storage.ZipStore(copied.path, mode="r") if copied.is_archive else str(copied.path)
    group = zarr.open_group(store, mode="r", zarr_format=2 if copied.version == "0.4" else 3)
    for name, levels in copied.levels.items():
        assert sorted(group[name].array_keys()) == ["0", "1"]
        for level, expected in enumerate(levels):
            np.testing.assert_array_equal(group[f"{name}/{level}"][...], expected)
        assert group[f"{name}/labels/cells/0"].shape == (1, 1, *levels[0].shape[2:])
    if copied.is_archive:
        store.close()


def test_tensorstore_reads_copies(copied):
    tensorstore = pytest.importorskip("tensorstore")
    driver = "zarr" if copied.version == "0.4" else "zarr3"
    for name, levels in copied.levels.items():
        for level, expected in enumerate(levels):
            kvstore: dict[str, Any] = {"driver": "file", "path": f"{copied.path}/{name}/{level}/"}
            if copied.is_archive:
                base = {"driver": "file", "path": str(copied.path)}
                kvstore = {"driver": "zip", "base": base, "path": f"{name}/{level}/"}
            read = tensorstore.open({"driver": driver, "kvstore": kvstore}).result().read().result()
            np.testing.assert_array_equal(read, expected)


@pytest.mark.filterwarnings("ignore")
def test_ngff_zarr_reads_copies(copied, tmp_path):
    ngff_zarr = pytest.importorskip("ngff_zarr")
    plate = ngff_zarr.from_hcs_zarr(str(copied.path))
    assert [well.path for well in plate.metadata.wells] == ["A/1", "B/3"]
    for name, levels in copied.levels.items():
        row, column, field = name.split("/")
        images = plate.get_well(row, column).get_image(int(field)).images
        assert len(images) == len(levels)
        for image, expected in zip(images, levels, strict=True):
            np.testing.assert_array_equal(np.asarray(image.data), expected)
        assert [images[0].translation[d] for d in "yx"] == copied.offset
        assert [image.scale["x"] for image in images] == [0.5, 1.0]
    single = tmp_path / f"one{copied.path.suffix}"
    ps.copy(copied.path / "B/3/0", single)
    images = ngff_zarr.from_ngff_zarr(str(single), validate=True).images
    np.testing.assert_array_equal(np.asarray(images[0].data), copied.levels["B/3/0"][0])


@pytest.mark.quick(1)
@quiet
def test_ome_zarr_reads_copies(copied):
    io, reader = pytest.importorskip("ome_zarr.io"), pytest.importorskip("ome_zarr.reader")
    with unpacked(copied.path) as path:  # it knows no archives
        for name, levels in copied.levels.items():
            node = next(iter(reader.Reader(io.parse_url(str(path / name)))()))
            assert len(node.data) == len(levels)
            for got, expected in zip(node.data, levels, strict=True):
                np.testing.assert_array_equal(np.asarray(got), expected)
            assert node.metadata["channel_names"] == copied.channels
            steps = node.metadata["coordinateTransformations"]
            assert steps[0][1]["translation"][3:] == copied.offset
        plate = next(iter(reader.Reader(io.parse_url(str(path)))()))
        height = copied.levels["A/1/0"][0].shape[3]
        # One field of each well: A/1 at the upper left, B/3 at the lower right.
        stitched = np.asarray(plate.data[0])
        np.testing.assert_array_equal(
            stitched[..., :height, : stitched.shape[4] // 2], copied.levels["A/1/0"][0]
        )
        np.testing.assert_array_equal(
            stitched[..., height:, stitched.shape[4] // 2 :], copied.levels["B/3/0"][0]
        )


def test_yaozarrs_finds_copies_valid(copied):
    yaozarrs = pytest.importorskip("yaozarrs")
    with unpacked(copied.path) as path:
        yaozarrs.validate_zarr_store(str(path))
        for name in copied.levels:
            meta = yaozarrs.open_group(str(path / name)).ome_metadata()
            assert [dataset.path for dataset in meta.multiscales[0].datasets] == ["0", "1"]
            assert [channel.label for channel in meta.omero.channels] == copied.channels
        check_store(path, copied.version)


@pytest.mark.filterwarnings("ignore:'version' field not specified")
def test_ome_zarr_models_reads_copies(copied):
    models = pytest.importorskip("ome_zarr_models")
    store = zarr.storage.ZipStore(copied.path, mode="r") if copied.is_archive else str(copied.path)
    root = zarr.open_group(store, mode="r", zarr_format=2 if copied.version == "0.4" else 3)
    plate = models.open_ome_zarr(root)
    attributes = plate.attributes if copied.version == "0.4" else plate.attributes.ome
    assert [well.path for well in attributes.plate.wells] == ["A/1", "B/3"]
    assert type(models.open_ome_zarr(root["A/1/0"])).__name__ == "Image"
    if copied.is_archive:
        store.close()


def test_wells_positions_and_merged_plates_are_read_by_others(built, tmp_path, version):
    yaozarrs = pytest.importorskip("yaozarrs")
    source, other = built[version], built[OTHER[version]]
    ps.copy(source / "A/1", tmp_path / "well.zarr", version=OTHER[version])
    ps.copy(source / "A/1/1", tmp_path / "field.zarr", pyramid=3)
    moves = [(1, "A/1", "C/5"), (1, "B/3", "C/6")]
    ps.copy([source, other], tmp_path / "all.zarr", map=moves)
    ps.copy(other / "A/1/0", tmp_path / "all.zarr/D/7/0")
    for name in ("well", "field", "all"):
        yaozarrs.validate_zarr_store(str(tmp_path / f"{name}.zarr"))
    group = zarr.open_group(tmp_path / "all.zarr", mode="r")
    for place in ("A/1/0", "C/5/0", "D/7/0"):
        np.testing.assert_array_equal(group[f"{place}/0"][...], levels_of(source / "A/1/0")["0"])


# --- the real field -------------------------------------------------------------------------------


@pytest.fixture(params=["crop", "field"])
def real(request: pytest.FixtureRequest) -> Path:
    """The small cut-out that is always here, and the whole field where a developer has it."""
    if request.param == "crop":
        return CROP
    if FIELD is None or not FIELD.is_dir():
        pytest.skip("the real field is not beside this checkout")
    return FIELD


def check_same(path: Path, real: Path, version: str) -> None:
    """Check that a store holds the field: levels, labels, places, colours and windows."""
    for inner in ("", "labels/nuclei"):
        before, after = levels_of(real / inner), levels_of(path / inner)
        assert list(before) == list(after)
        for name, expected in before.items():
            np.testing.assert_array_equal(after[name], expected)
        images = [ome(p / inner)["multiscales"][0] for p in (real, path)]
        for level in range(len(before)):
            for one, other in zip(places(images[0], level), places(images[1], level), strict=True):
                np.testing.assert_array_equal(one, other)
        assert images[0]["axes"] == images[1]["axes"]
    assert ome(real)["omero"]["channels"] == ome(path)["omero"]["channels"]
    check_store_of_others(path, version)


def check_store_of_others(path: Path, version: str) -> None:
    """Everything but the strict schemas, which the field as it came does not pass."""
    for document in [*path.rglob("zarr.json"), *path.rglob(".zarray"), *path.rglob(".zgroup")]:
        assert (document.name == "zarr.json") == (version == "0.5")
    opened = ps.open_ome_zarr(path)
    assert opened.version == version
    assert opened.channel_names == ["DAPI", "nanog", "Lamin B1"]
    assert opened.label_names == ["nuclei"]


def test_the_field_is_copied(real, tmp_path):
    report = ps.copy(real, tmp_path / "b.zarr", verify=True)
    assert how(report) == {"files"}
    assert snapshot(tmp_path / "b.zarr") == snapshot(real)
    shutil.rmtree(tmp_path / "b.zarr")  # also of a source that may not be written


def test_the_field_is_converted_and_comes_back(real, tmp_path):
    report = ps.copy(real, tmp_path / "b.zarr", version="0.5", verify=True)
    assert how(report) == {"files"}, "every chunk keeps its bytes"
    check_same(tmp_path / "b.zarr", real, "0.5")
    for inner in ("0", "1", "labels/nuclei/0"):
        assert chunk_bytes(tmp_path / "b.zarr" / inner) == chunk_bytes(real / inner)
    report = ps.copy(tmp_path / "b.zarr", tmp_path / "c.zarr", version="0.4", verify=True)
    assert how(report) == {"files"}
    check_same(tmp_path / "c.zarr", real, "0.4")
    assert sorted(chunk_bytes(tmp_path / "c.zarr").values()) == sorted(chunk_bytes(real).values())


def test_the_field_is_packed_and_unpacked(real, tmp_path):
    report = ps.copy(real, tmp_path / "b.ozx", verify=True)
    assert how(report) == {"files"}
    with zipfile.ZipFile(tmp_path / "b.ozx") as archive:
        assert archive.testzip() is None
    position = ps.open_ome_zarr(tmp_path / "b.ozx")
    np.testing.assert_array_equal(position["0"].numpy(), levels_of(real)["0"])
    np.testing.assert_array_equal(position["labels/nuclei/0"].numpy(), levels_of(real / "labels/nuclei")["0"])
    ps.copy(tmp_path / "b.ozx", tmp_path / "c.zarr", verify=True)
    check_same(tmp_path / "c.zarr", real, "0.5")
    ps.copy(tmp_path / "b.ozx", tmp_path / "d.zarr", version="0.4")
    check_same(tmp_path / "d.zarr", real, "0.4")
    ps.copy(tmp_path / "c.zarr", tmp_path / "e.ozx")
    assert (tmp_path / "e.ozx").read_bytes() == (tmp_path / "b.ozx").read_bytes()


@pytest.mark.parametrize("crop", [(16, 80, 32, 128), (13, 90, 5, 101)])
@pytest.mark.parametrize("target", ["0.4", "0.5"])
def test_the_field_is_cropped(real, tmp_path, crop, target):
    y0, y1, x0, x1 = crop
    options: dict[str, Any] = {"channels": ["Lamin B1", "DAPI"], "version": target}
    if target == "0.5":
        options.update(chunks=(1, 1, 16, 16), shards_ratio=(1, 1, 3, 3))
    ps.copy(real, tmp_path / "b.zarr", crop=f"{y0}:{y1},{x0}:{x1}", verify=True, **options)
    for inner, head, method in (("", [[2, 0], [0]], "mean"), ("labels/nuclei", [[0]], "mode")):
        levels = list(levels_of(real / inner).values())
        chosen = [np.array(h) for h in head] + [np.arange(y0, y1), np.arange(x0, x1)]
        factors = [(1,) * len(head) + (2**k, 2**k) for k in range(len(levels))]
        spatial = (False,) * len(head) + (True, True)
        expected = expect(levels, factors, chosen, method, {}, spatial)
        check_image(tmp_path / "b.zarr" / inner, real / inner, expected, method)
    assert ps.open_ome_zarr(tmp_path / "b.zarr").channel_names == ["Lamin B1", "DAPI"]
    check_store_of_part(tmp_path / "b.zarr")


def check_store_of_part(path: Path) -> None:
    """Levels, labels and omero fit each other."""
    position = ps.open_ome_zarr(path)
    assert position.data.shape[0] == len(position.channel_names) == 2
    assert position.get_label("nuclei").data.shape == position.data.shape[1:]


def test_the_field_becomes_a_plate(real, tmp_path):
    position = ps.open_ome_zarr(real)
    plate = ps.Plate.from_positions(
        tmp_path / "p.zarr", {"B/03/0": position, "C/04/0": position}, version="0.5"
    )
    assert plate.channel_names == ["DAPI", "nanog", "Lamin B1"]
    for place in ("B/03/0", "C/04/0"):
        check_same(tmp_path / "p.zarr" / place, real, "0.5")
    ps.copy(tmp_path / "p.zarr", tmp_path / "p.ozx")
    ps.copy(tmp_path / "p.ozx" / Path("C/04/0"), tmp_path / "c.zarr", version="0.4")
    check_same(tmp_path / "c.zarr", real, "0.4")
