"""What the tests of copies share: sources, what a selection of them must be, and checks of results."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import platestore as ps
from conftest import SHARED
from nodes.store_helpers import attributes, axes, check_plate, ome, scale, snapshot, translation
from platestore.pyramid.kernels import reduce_block

schema_validators: Any = None
if SHARED is not None and find_spec("jsonschema") is not None:
    from interop.test_interop_schemas import schema_validators

DOCUMENTS = ("zarr.json", ".zattrs", ".zgroup", ".zarray", ".zmetadata")


def noise(shape: Sequence[int], dtype: str = "uint16", seed: int = 0) -> np.ndarray:
    """Pixels without any pattern, and a corner of zeros, whose chunks are never written."""
    rng = np.random.default_rng([seed, *shape])
    data = rng.integers(0, 200, shape).astype(dtype)
    data[tuple(slice(0, -(-n // 2)) for n in shape)] = 0
    return data


def levels_of(path: Path) -> dict[str, np.ndarray]:
    """Pixels of the listed levels of an image, as zarr alone reads them."""
    listed = [d["path"] for image in ome(path)["multiscales"] for d in image["datasets"]]
    return {name: zarr.open_array(path / name, mode="r")[...] for name in listed}


def array_document(path: Path) -> dict[str, Any]:
    """The document of an array as it is on disk."""
    file = path / ".zarray"
    return json.loads((file if file.exists() else path / "zarr.json").read_text())


def chunk_bytes(path: Path) -> dict[str, bytes]:
    """The chunk (or shard) files of an array, without the directory ``c`` of zarr v3."""
    found = {}
    for file in path.rglob("*"):
        if file.is_file() and file.name not in DOCUMENTS:
            found[str(file.relative_to(path)).removeprefix("c/")] = file.read_bytes()
    return found


def arrays_by_path(report: ps.CopyReport) -> dict[str, Any]:
    """The arrays of a report."""
    return {array.path: array for array in report.arrays}


def how(report: ps.CopyReport) -> set[str]:
    """The ways in which arrays came into a copy."""
    return {array.how for array in report.arrays}


@contextmanager
def refuses(error: type[ps.PlatestoreError], folder: Path, match: str | None = None) -> Iterator[Any]:
    """Expect an error, and that nothing below a folder was written for it."""
    before = snapshot(folder)
    with pytest.raises(error, match=match) as caught:
        yield caught
    assert snapshot(folder) == before, "a refused copy left something"


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A directory with the content of a store, whichever form that has."""
    if path.suffix != ".ozx":
        yield path
        return
    with tempfile.TemporaryDirectory() as directory:
        with zipfile.ZipFile(path) as file:
            file.extractall(directory)
        yield Path(directory)


# --- the specification ----------------------------------------------------------------------------


def check_store(path: Path, version: str) -> None:
    """Check a store on its bare JSON: official schemas, listed members, lists of the plate, array names."""
    if "plate" in ome(path):
        check_plate(path)
    for document in [*path.rglob(".zgroup"), *path.rglob("zarr.json")]:
        content = json.loads(document.read_text())
        if content.get("node_type") == "array":
            continue
        group = document.parent
        check_members(group, version)
        check_schemas(group, version)
    for document in [*path.rglob("zarr.json"), *path.rglob(".zarray")]:
        found = json.loads(document.read_text())
        assert found["zarr_format"] == (2 if version == "0.4" else 3), document


def check_members(group: Path, version: str) -> None:
    """Every array that an image lists is there, has its axes, and shrinks from level to level."""
    found = ome(group) if (group / ".zattrs").exists() or (group / "zarr.json").exists() else {}
    for image in found.get("multiscales", ()):
        names, before = [axis["name"] for axis in image["axes"]], None
        for dataset in image["datasets"]:
            document = array_document(group / dataset["path"])
            assert len(document["shape"]) == len(names)
            if version == "0.5":
                assert document["dimension_names"] == names, group / dataset["path"]
            assert before is None or all(n <= m for n, m in zip(document["shape"], before, strict=True))
            before = document["shape"]
        if "c" in [name.lower() for name in names] and "omero" in found:
            axis = [name.lower() for name in names].index("c")
            count = array_document(group / image["datasets"][0]["path"])["shape"][axis]
            assert len(found["omero"]["channels"]) == count
    for name in found.get("labels", ()):
        assert "image-label" in ome(group / name)


def check_schemas(group: Path, version: str) -> None:
    """Validate one group by every official schema that applies, where they are at hand."""
    if schema_validators is None:
        return
    validators = schema_validators(version)
    content = attributes(group) if (group / ".zattrs").exists() or (group / "zarr.json").exists() else {}
    found = content.get("ome", {}) if version == "0.5" else content
    kinds = {"plate": "plate", "well": "well", "multiscales": "image", "image-label": "label"}
    for kind in (kind for key, kind in kinds.items() if key in found):
        for name in (kind, f"strict_{kind}"):
            errors = [f"{e.json_path}: {e.message}" for e in validators[name].iter_errors(content)]
            assert errors == [], f"{group} by {name}.schema of {version}"


def places(image: Mapping[str, Any], level: int) -> tuple[np.ndarray, np.ndarray]:
    """Scale and offset of the pixels of a level in the world: the level's, and then the image's, on them."""
    ndim = len(image["axes"])
    s, t = np.ones(ndim), np.zeros(ndim)
    steps = [*image["datasets"][level].get("coordinateTransformations", ())]
    steps += image.get("coordinateTransformations", ())
    for step in steps:
        if step["type"] == "scale":
            s, t = s * step["scale"], t * step["scale"]
        elif step["type"] == "translation":
            t = t + step["translation"]
    return s, t


# --- selections, in plain numpy -------------------------------------------------------------------


def matches(glob: str, path: str) -> bool:
    """Whether a path, or something above it, matches a glob."""
    parts, wanted = path.split("/"), glob.split("/")
    head = parts[: len(wanted)]
    return len(head) == len(wanted) and all(map(fnmatchcase, head, wanted))


def indices(names: str, shape: Sequence[int], channels: Sequence[str], ask: Mapping[str, Any]) -> list[Any]:
    """The indices that are taken along each axis."""
    out = []
    for name, size in zip(names.lower(), shape, strict=True):
        found = np.arange(size)
        if name == "c" and ask.get("channels") is not None:
            found = np.array([channels.index(c) for c in ask["channels"]])
        key = {"t": "time"}.get(name, name)
        if key in ("time", "z") and ask.get(key) is not None:
            found = found[ask[key]]
        if name in ask.get("crop", ()):
            found = found[slice(*ask["crop"][name])]
        out.append(found)
    return out


def take(data: np.ndarray, chosen: Sequence[np.ndarray]) -> np.ndarray:
    """What is at some indices along each axis."""
    return data[np.ix_(*chosen)]


def coarser(chosen: np.ndarray, size: int, factor: int, level_size: int) -> np.ndarray | None:
    """The same indices at a coarser level; None if that has no pixels for exactly these."""
    if factor == 1:
        return chosen
    start, stop = int(chosen[0]), int(chosen[-1]) + 1
    if not np.array_equal(chosen, np.arange(start, stop)):
        return None
    if start % factor or (stop % factor and stop != size):
        return None
    return np.arange(start // factor, level_size if stop == size else stop // factor)


@dataclass
class Expected:
    """What a copied image must be.

    Attributes
    ----------
    levels : list of array
        Its pixels.
    chosen : list
        For each level that is cut from the source, the indices along each axis; None for one made anew.
    steps : list
        For each level that is made anew, the factors from the one above.
    """

    levels: list[np.ndarray] = field(default_factory=list)
    chosen: list[Any] = field(default_factory=list)
    steps: list[Any] = field(default_factory=list)


def expect(
    levels: Sequence[np.ndarray],
    factors: Sequence[Sequence[int]],
    chosen: Sequence[np.ndarray],
    method: str,
    ask: Mapping[str, Any],
    spatial: Sequence[bool],
) -> Expected:
    """What the copy of an image must be.

    Parameters
    ----------
    levels : sequence of array
        The source.
    factors : sequence of sequence of int
        From level 0 to each level, along each axis.
    chosen : sequence of array
        Indices that are taken of level 0.
    method : str
        How levels are made anew.
    ask : mapping
        ``levels`` and ``pyramid``.
    spatial : sequence of bool
        Which axes are z, y or x.
    """
    out = Expected([take(levels[0], chosen)], [list(chosen)], [None])
    pyramid = ask.get("pyramid")
    if pyramid == "auto":
        pyramid = 1  # the images of these tests are small
    if pyramid is not None:
        for _ in range(pyramid - 1):
            shape = out.levels[-1].shape
            step = [2 if s and n > 1 else 1 for s, n in zip(spatial, shape, strict=True)]
            _reduce(out, step, method)
        return out
    if ask.get("levels", "all") != "all":
        return out
    cut = True
    for k in range(1, len(levels)):
        parts = [
            coarser(c, n0, f, n) if cut else None
            for c, n0, f, n in zip(chosen, levels[0].shape, factors[k], levels[k].shape, strict=True)
        ]
        cut = cut and all(p is not None and len(p) for p in parts)
        if cut:
            out.levels.append(take(levels[k], parts))
            out.chosen.append(parts)
            out.steps.append(None)
            continue
        shape = out.levels[-1].shape
        step = [1 if n == 1 else f // b for n, f, b in zip(shape, factors[k], factors[k - 1], strict=True)]
        if all(s == 1 for s in step):
            break
        _reduce(out, step, method)
    return out


def _reduce(out: Expected, step: Sequence[int], method: str) -> None:
    out.levels.append(reduce_block(out.levels[-1], tuple(step), method))
    out.chosen.append(None)
    out.steps.append(step)


def check_image(path: Path, source: Path, expected: Expected, method: str, *, empty: bool = False) -> None:
    """Check pixels and places of a copied image against the source and what is expected."""
    image, original = ome(path)["multiscales"][0], ome(source)["multiscales"][0]
    assert image["axes"] == original["axes"]
    assert image.get("coordinateTransformations") == original.get("coordinateTransformations")
    got = levels_of(path)
    assert [a.shape for a in got.values()] == [a.shape for a in expected.levels]
    channel = [axis["type"] == "channel" for axis in image["axes"]]
    for k, (name, data) in enumerate(got.items()):
        wanted = np.zeros_like(expected.levels[k]) if empty else expected.levels[k]
        assert data.dtype.newbyteorder("=") == wanted.dtype.newbyteorder("=")
        np.testing.assert_array_equal(data, wanted, err_msg=f"{path}/{name}")
        s, t = places(image, k)
        if expected.chosen[k] is not None:
            s0, t0 = places(original, k)
            for axis, at in enumerate(expected.chosen[k]):
                if not channel[axis]:
                    # Every pixel is where it was.
                    np.testing.assert_allclose(
                        s[axis] * np.arange(len(at)) + t[axis], s0[axis] * at + t0[axis]
                    )
            assert all(s[i] == s0[i] and t[i] == t0[i] for i, c in enumerate(channel) if c)
        else:
            s0, t0 = places(image, k - 1)
            step = np.array(expected.steps[k])
            np.testing.assert_allclose(s, s0 * step)
            middle = 0 if method == "stride" else (step - 1) / 2
            np.testing.assert_allclose(t, t0 + middle * s0)


# --- sources --------------------------------------------------------------------------------------

CHANNELS = ["DAPI", "GFP", "Cy5"]
POSITIONS = {"A/1/0": 0, "A/1/1": 1, "B/2/0": 0}


@dataclass(frozen=True)
class Recipe:
    """A plate to copy from.

    Attributes
    ----------
    version, names, shape, dtype : str, str, tuple, str
        Of its images.
    steps : tuple of tuple of int
        Factors of each level from the one above.
    method : str
        How levels were made, as it is recorded; their pixels are noise, so that one that was made anew shows.
    layout : tuple
        Keyword arguments of ``create_image``.
    foreign : tuple
        Keyword arguments of ``zarr.create_array``, for arrays that zarr alone makes.
    """

    version: str
    names: str = "TCZYX"
    shape: tuple[int, ...] = (2, 3, 4, 16, 20)
    dtype: str = "uint16"
    steps: tuple[tuple[int, ...], ...] = ((1, 1, 1, 2, 2), (1, 1, 2, 2, 2))
    method: str = "mean"
    layout: tuple[tuple[str, Any], ...] = (("chunks", (1, 2, 4, 8, 20)),)
    foreign: tuple[tuple[str, Any], ...] = ()
    label: bool = True

    @property
    def channels(self) -> list[str]:
        """Names of the channels."""
        return CHANNELS[: self.shape[self.names.lower().index("c")]] if "c" in self.names.lower() else ["BF"]


class Source:
    """A plate, and what is in it."""

    def __init__(self, path: Path, recipe: Recipe) -> None:
        self.path, self.recipe = path, recipe
        names, self.factors = recipe.names, [(1,) * len(recipe.names)]
        for step in recipe.steps:
            self.factors.append(tuple(f * s for f, s in zip(self.factors[-1], step, strict=True)))
        acquisitions = [
            ps.AcquisitionMeta(id=i, name=f"run {i}", maximumfieldcount=4, starttime=i) for i in range(3)
        ]
        plate = ps.open_ome_zarr(
            path,
            layout="hcs",
            mode="w-",
            channel_names=recipe.channels,
            axes=axes(names),
            version=recipe.version,
            acquisitions=acquisitions,
            name="source",
        )
        specs = [(*p.split("/"), None, None, number) for p, number in POSITIONS.items()]
        for seed, (name, position) in enumerate(zip(POSITIONS, plate.create_positions(specs), strict=True)):
            self._fill(position, path / name, seed)
        self.images = {p: list(levels_of(path / p).values()) for p in POSITIONS}
        self.labels = {
            p: list(levels_of(path / p / "labels" / "cells").values()) for p in POSITIONS if recipe.label
        }
        sizes = self.labels["A/1/0"][0].shape if recipe.label else ()
        self.label_factors = [
            tuple(1 if n == 1 else f for n, f in zip(sizes, factors, strict=False))
            for factors in self.factors
        ]

    def _fill(self, position: ps.Position, folder: Path, seed: int) -> None:
        recipe, names = self.recipe, self.recipe.names.lower()
        sizes = [0.5 if n in "yx" else 2.0 if n == "z" else 1.0 for n in names]
        shift = [float(10 + i) if n != "c" else 0.0 for i, n in enumerate(names)]
        position.create_image(
            "0",
            noise(recipe.shape, recipe.dtype, seed),
            transform=[*scale(*sizes), translation(*shift)],
            pyramid_levels=len(recipe.steps) + 1,
            pyramid_method=recipe.method,
            pyramid_factors=recipe.steps,
            **dict(recipe.layout),
        )
        position.set_transform("*", [*scale(*(3.0 if n == "x" else 1.0 for n in names))])
        if recipe.label:
            label = noise(
                [1 if n == "c" else s for n, s in zip(names, recipe.shape, strict=True)], "uint8", seed
            )
            position.create_label("cells", label % 9)
        for node in [position, *(label for _, label in position.labels())]:
            for k, name in enumerate(node):
                # Noise instead of what was made from the level above, so that one shows from the other.
                shape, dtype, most = node[name].shape, node[name].dtype.name, 200 if node is position else 9
                data = noise(shape, dtype, 10 * k + seed) % most if k else node[name].numpy()
                if recipe.foreign and node is position:
                    self._replace(folder / name, data)
                elif k:
                    node[name][...] = data

    def _replace(self, path: Path, data: np.ndarray) -> None:
        """An array of the same pixels, made by zarr with an encoding of its own."""
        how, names = dict(self.recipe.foreign), list(self.recipe.names)
        shutil.rmtree(path)
        fmt = 2 if self.recipe.version == "0.4" else 3
        dims = {} if fmt == 2 else {"dimension_names": names}
        chunks = tuple(min(c, n) for c, n in zip(how.pop("chunks"), data.shape, strict=True))
        dtype = how.pop("dtype", data.dtype)
        options = {"chunks": chunks, "dtype": dtype, "zarr_format": fmt, **dims, **how}
        array = zarr.create_array(store=path, shape=data.shape, **options)
        array[...] = data

    def chosen(self, ask: Mapping[str, Any], label: str | None = None) -> list[np.ndarray]:
        """The indices that are taken of the images, or of the labels."""
        recipe = self.recipe
        found = indices(recipe.names, recipe.shape, recipe.channels, ask)
        if label is None:
            return found
        shape = self.labels[label][0].shape
        return [np.arange(n) if n == 1 else i for i, n in zip(found, shape, strict=True)]

    def positions(self, ask: Mapping[str, Any]) -> list[str]:
        """The positions that are taken."""
        out = []
        for path, number in POSITIONS.items():
            if all(
                ask.get(key) is None or any(matches(glob, name) for glob in ask[key])
                for key, name in (("positions", path), ("wells", path.rpartition("/")[0]))
            ) and (ask.get("acquisition") is None or number in ask["acquisition"]):
                out.append(path)
        return out

    def check(self, copied: Path, ask: Mapping[str, Any]) -> None:
        """Check that a plate is the copy of this one that was asked for."""
        recipe = self.recipe
        wanted = self.positions(ask)
        wells = list(dict.fromkeys(p.rpartition("/")[0] for p in wanted))
        assert [well["path"] for well in ome(copied)["plate"]["wells"]] == wells
        listed = [
            f"{well}/{image['path']}" for well in wells for image in ome(copied / well)["well"]["images"]
        ]
        assert listed == wanted
        spatial = [n in "zyx" for n in recipe.names.lower()]
        empty = ask.get("levels") == "none"
        for path in wanted:
            expected = expect(self.images[path], self.factors, self.chosen(ask), recipe.method, ask, spatial)
            check_image(copied / path, self.path / path, expected, recipe.method, empty=empty)
            chosen = ask.get("channels") or recipe.channels
            if "c" in recipe.names.lower():
                assert [c["label"] for c in ome(copied / path)["omero"]["channels"]] == list(chosen)
            labels = copied / path / "labels"
            if not recipe.label or not ask.get("labels", True):
                assert not labels.exists()
                continue
            assert ome(labels)["labels"] == ["cells"]
            expected = expect(
                self.labels[path], self.label_factors, self.chosen(ask, path), "mode", ask, spatial
            )
            check_image(labels / "cells", self.path / path / "labels/cells", expected, "mode", empty=empty)
            before, after = (ome(p / path / "labels/cells")["image-label"] for p in (self.path, copied))
            for key in ("colors", "properties", "source"):
                assert after.get(key) == before.get(key)
