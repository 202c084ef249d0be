"""What users do to multiscale images: odd arrays, foreign attributes, sources that are targets."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import platestore as ps
from platestore import multiscales as m
from platestore.errors import ArgumentError, NodeExistsError, PlatestoreError, UnsafeTargetError

PIXELS = np.random.default_rng(3).integers(0, 60000, (2, 20, 33, 47)).astype("uint16")


def made(pixels: Any = PIXELS, factors: Any = (2, 4), **options: Any) -> m.NgffMultiscales:
    image = m.to_ngff_image(pixels, dims="tczyx"[-np.ndim(pixels) :] if np.ndim(pixels) != 4 else "czyx")
    return m.to_multiscales(image, list(factors), chunks=16, method="mean", **options)


def pixels_of(store: Any) -> list[np.ndarray]:
    return [image.data.compute() for image in m.from_ngff_zarr(store).images]


def tree(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


# --- the documents' signatures --------------------------------------------------------------------


def test_all_arguments_may_be_positional_as_the_documents_list_them(tmp_path):
    image = m.to_ngff_image(
        PIXELS[0], ["z", "y", "x"], {"z": 2.0}, {"z": 1.0}, "brain", {"z": "micrometer"}, None
    )
    with pytest.warns(UserWarning, match="cache"):
        result = m.to_multiscales(image, [2], m.Methods.ITK_BIN_SHRINK, 16, None, False, "RAS")
    m.to_ngff_zarr(tmp_path / "a.zarr", result, "0.5", True, False, None, None, 2, [4])
    back = m.from_ngff_zarr(tmp_path / "a.zarr")
    assert back.images[0].axes_orientations == m.RAS
    assert back.images[1].scale == {"z": 4.0, "y": 2.0, "x": 2.0}
    assert back.images[1].translation == {"z": 2.0, "y": 0.5, "x": 0.5}
    assert zarr.open_array(tmp_path / "a.zarr" / "0").shards == (32, 32, 32)


@pytest.mark.parametrize("method", list(m.Methods))
def test_every_documented_method_writes_what_its_lazy_levels_are(tmp_path, method):
    result = m.to_multiscales(PIXELS[0], [{"z": 1, "y": 2, "x": 3}, {"y": 4, "x": 6}], method, chunks=16)
    m.to_ngff_zarr(tmp_path / "a.zarr", result)
    for found, image in zip(pixels_of(tmp_path / "a.zarr"), result.images, strict=True):
        np.testing.assert_array_equal(found, image.data.compute())


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "factors",
    [0, -1, True, None, "2", {"x": 2}, [0], [4, 2], [21], [2.0], [{}], [{"q": 2}], [{"c": 2}]],
    ids=str,
)
def test_factors_that_cannot_be_meant(factors):
    with pytest.raises(ArgumentError):
        m.to_multiscales(PIXELS, factors, chunks=8)


@pytest.mark.parametrize(
    "chunks", [0, True, 8.0, "auto", (4, 8), {"q": 8}, ((7, 13), 33, 47), {"x": (20, 20)}], ids=str
)
def test_chunks_that_cannot_be_meant(chunks):
    with pytest.raises(ArgumentError):
        m.to_multiscales(PIXELS[0], [2], chunks=chunks)


@pytest.mark.parametrize(
    "orientation",
    ["xyz", "", 5, {"q": "left-to-right"}, {"x": "up"}, {"x": "left-to-right", "y": "right-to-left"}],
    ids=str,
)
def test_orientations_that_cannot_be_meant(orientation):
    with pytest.raises(ArgumentError):
        m.to_multiscales(PIXELS[0], [2], orientation=orientation)


@pytest.mark.parametrize("dims", ["yy", "aq", "YX", "yxz", ["y"], ("z", "y", "x", "c")], ids=str)
def test_axes_that_do_not_fit(dims):
    with pytest.raises(ArgumentError):
        m.to_multiscales(m.to_ngff_image(PIXELS[0, 0], dims=dims), [2])


@pytest.mark.parametrize("dims", ["xyc", "yxc", "cxy", "xy"])
def test_any_order_of_axes_is_written_in_the_specification_s(tmp_path, dims):
    pixels = PIXELS[0, :, :5] if len(dims) == 3 else PIXELS[0, 0]
    m.to_ngff_zarr(
        tmp_path / "a.zarr", m.to_multiscales(m.to_ngff_image(pixels, dims=dims), [2], method="mean")
    )
    order = [dims.index(d) for d in "cyx" if d in dims]
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.zarr")[0], pixels.transpose(order))


@pytest.mark.parametrize(
    "view",
    [
        np.asfortranarray,
        lambda a: a[::-1, ::2],
        lambda a: a.astype(">u2"),
        lambda a: np.broadcast_to(a[:1], a.shape),
        lambda a: a.swapaxes(0, 2),
    ],
    ids=["fortran", "strided", "swapped", "broadcast", "transposed"],
)
def test_arrays_of_any_memory_layout(tmp_path, view):
    pixels = view(PIXELS[0])
    m.to_ngff_zarr(tmp_path / "a.zarr", made(pixels, [2]))
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.zarr")[0], pixels)


def test_irregular_chunks_of_dask(tmp_path):
    import dask.array as da

    lazy = da.from_array(PIXELS, chunks=((1, 1), (5, 7, 8), (20, 13), (47,)))
    m.to_ngff_zarr(tmp_path / "a.zarr", made(lazy), version="0.5", chunks_per_shard=2)
    for found, image in zip(pixels_of(tmp_path / "a.zarr"), made().images, strict=True):
        np.testing.assert_array_equal(found, image.data.compute())


# --- what is there already ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.zarr", "a.ozx"])
def test_a_source_under_another_name_of_the_target_is_not_overwritten(tmp_path, name):
    m.to_ngff_zarr(tmp_path / name, made(), version="0.5")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "link").symlink_to(tmp_path, target_is_directory=True)
    before = (tmp_path / name).read_bytes() if name.endswith("x") else tree(tmp_path / name)
    again = m.to_multiscales(tmp_path / "other" / "link" / name, [2], chunks=16)
    with pytest.raises(UnsafeTargetError):
        m.to_ngff_zarr(tmp_path / name, again, version="0.5")
    after = (tmp_path / name).read_bytes() if name.endswith("x") else tree(tmp_path / name)
    assert after == before


_HIDDEN: list[Any] = []


def test_a_source_that_no_graph_shows_is_read_before_it_goes(tmp_path):
    import dask.array as da

    m.to_ngff_zarr(tmp_path / "a.zarr", made(), version="0.5")
    _HIDDEN[:] = [zarr.open_array(tmp_path / "a.zarr" / "0", mode="r")]
    name = __name__
    hidden = da.map_blocks(
        lambda block_id: getattr(sys.modules[name], "_HIDDEN")[0][...] + 1,  # noqa: B009 - not by its name
        dtype="uint16",
        chunks=PIXELS.shape,
    )
    m.to_ngff_zarr(tmp_path / "a.zarr", made(hidden, [2]), version="0.5")
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.zarr")[0], PIXELS + 1)


@pytest.mark.parametrize(("old", "new"), [("0.4", "0.4"), ("0.4", "0.5"), ("0.5", "0.4"), ("0.5", "0.5")])
def test_attributes_of_others_survive_several_rewritings(tmp_path, old, new):
    first = made()
    first.root_attributes = {"owner": {"name": "x", "list": [1, None]}}
    m.to_ngff_zarr(tmp_path / "a.zarr", first, version=old)
    m.to_ngff_zarr(tmp_path / "a.zarr", made(factors=[2]), version=new)
    m.to_ngff_zarr(tmp_path / "a.zarr", made(factors=[4]), version=old)
    attributes = dict(zarr.open_group(tmp_path / "a.zarr", mode="r").attrs)
    assert attributes["owner"] == {"name": "x", "list": [1, None]}
    image = (attributes.get("ome") or attributes)["multiscales"][0]
    assert [d["path"] for d in image["datasets"]] == ["0", "1"]


@pytest.mark.parametrize("path", ["../evil", "/abs", "0", "0/c", "", ".."])
def test_paths_of_levels_that_cannot_be(tmp_path, path):
    result = made()
    result.metadata.datasets[1].path = path
    with pytest.raises(PlatestoreError):
        m.to_ngff_zarr(tmp_path / "in" / "a.zarr", result)
    assert list(tmp_path.iterdir()) == []


def test_writers_of_one_target_at_the_same_time_leave_one_whole_image(tmp_path):
    failures: list[BaseException] = []

    def write(value: int) -> None:
        try:
            m.to_ngff_zarr(tmp_path / "a.zarr", made(PIXELS + value), version="0.5")
        except (NodeExistsError, UnsafeTargetError) as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]
    base, *levels = pixels_of(tmp_path / "a.zarr")
    value = int(base.flat[0]) - int(PIXELS.flat[0])
    for found, image in zip((base, *levels), made(PIXELS + np.uint16(value)).images, strict=True):
        np.testing.assert_array_equal(found, image.data.compute())
    assert len(failures) < 4


def test_a_progress_function_that_raises_leaves_nothing(tmp_path):
    def broken(done: int, total: int) -> None:
        raise ZeroDivisionError

    for name in ("a.zarr", "a.ozx"):
        with pytest.raises(ZeroDivisionError):
            m.to_ngff_zarr(tmp_path / name, made(), version="0.5", progress=broken)
    assert list(tmp_path.iterdir()) == []


def test_an_archive_holds_the_same_as_a_directory(tmp_path):
    m.to_ngff_zarr(tmp_path / "a.zarr", made(), version="0.5", chunks_per_shard=2, workers=1)
    m.to_ngff_zarr(tmp_path / "a.ozx", made(), version="0.5")
    with ps.open_ome_zarr(tmp_path / "a.ozx") as packed, ps.open_ome_zarr(tmp_path / "a.zarr") as plain:
        for (_, one), (_, other) in zip(packed.images(), plain.images(), strict=True):
            assert (one.chunks, one.shards) == (other.chunks, other.shards)
            np.testing.assert_array_equal(one[...], other[...])
    document = json.loads((tmp_path / "a.zarr" / "0" / "zarr.json").read_text())
    assert document["chunk_grid"]["configuration"]["chunk_shape"] == [1, 32, 32, 32]
