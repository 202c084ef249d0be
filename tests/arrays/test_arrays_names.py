"""Chunk files that are named in another way than the array's document says, or that it says nothing of."""

from __future__ import annotations

import itertools
import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

import platestore as ps

SHAPE, CHUNKS = (1, 1, 2, 6, 8), (1, 1, 1, 4, 4)
STYLES = {"/": "{}/{}/{}/{}/{}", ".": "{}.{}.{}.{}.{}", "c/": "c/{}/{}/{}/{}/{}", "c.": "c.{}.{}.{}.{}.{}"}


def new_position(path: Path, version: str) -> ps.Position:
    return ps.open_ome_zarr(path, layout="fov", mode="w-", channel_names=["DAPI"], version=version)


def pixels() -> np.ndarray:
    return np.arange(1, 97, dtype="uint16").reshape(SHAPE)


def make_image(path: Path, version: str, style: str, says: str | None = None) -> Path:
    """An image whose files are named in one style; its document says that, another one, or nothing."""
    position = new_position(path, version)
    position.create_image("0", pixels(), chunks=CHUNKS)
    array = path / "0"
    old = "{}/{}/{}/{}/{}" if version == "0.4" else "c/{}/{}/{}/{}/{}"
    moved = {}
    for place in itertools.product(*(range(-(-n // c)) for n, c in zip(SHAPE, CHUNKS, strict=True))):
        moved[STYLES[style].format(*place)] = (array / old.format(*place)).read_bytes()
    for entry in array.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
    for name, data in moved.items():
        (array / name).parent.mkdir(parents=True, exist_ok=True)
        (array / name).write_bytes(data)
    file = array / (".zarray" if version == "0.4" else "zarr.json")
    document = json.loads(file.read_text())
    if version == "0.4":
        document.pop("dimension_separator")
        if says is not None:
            document["dimension_separator"] = says
    else:
        name = "default" if (says or "")[:1] == "c" else "v2"
        document["chunk_key_encoding"] = {"name": name, "configuration": {"separator": (says or "/")[-1]}}
    file.write_text(json.dumps(document))
    return path


def read(path: Any) -> tuple[np.ndarray, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        array = ps.open_ome_zarr(path)["0"]
        values = array[...]
        array[...]
    return values, [str(w.message) for w in caught if issubclass(w.category, ps.StoreWarning)]


def test_nested_chunks_without_a_separator_are_read_as_they_lie(tmp_path):
    path = make_image(tmp_path / "a.zarr", "0.4", "/")
    values, texts = read(path)
    np.testing.assert_array_equal(values, pixels())
    assert len(texts) == 1
    assert "dimension_separator" in texts[0]
    assert "a.zarr/0" in texts[0]


def test_dotted_chunks_without_a_separator_are_what_the_document_means(tmp_path):
    values, texts = read(make_image(tmp_path / "a.zarr", "0.4", "."))
    np.testing.assert_array_equal(values, pixels())
    assert texts == []


def test_what_is_written_without_a_separator_lies_where_the_rest_does(tmp_path):
    path = make_image(tmp_path / "a.zarr", "0.4", "/")
    with pytest.warns(ps.StoreWarning, match="dimension_separator"):
        array = ps.open_ome_zarr(path, mode="r+")["0"]
    array[..., :4, :4] = 7
    array.resize((1, 1, 3, 6, 8))
    array[:, :, 2] = 9
    assert not [p for p in (path / "0").iterdir() if "." in p.name[1:]]
    values, _ = read(path)
    assert (values[..., :2, :4, :4] == 7).all()
    assert (values[:, :, 2] == 9).all()
    np.testing.assert_array_equal(values[:, :, :2, 4:], pixels()[..., 4:, :])


@pytest.mark.parametrize(
    ("style", "says"), [(a, b) for a, b in itertools.product(STYLES, STYLES) if a != b and "c" in (a + b)]
)
def test_names_of_another_style_are_told_where_they_are_read(tmp_path, style, says):
    values, texts = read(make_image(tmp_path / "a.zarr", "0.5", style, says))
    assert (values == 0).all()
    assert len(texts) == 1
    assert "a.zarr/0" in texts[0]
    assert "fill value" in texts[0]


@pytest.mark.parametrize(("style", "says"), [("/", "."), (".", "/")])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_separator_that_is_not_that_of_the_files_is_told(tmp_path, version, style, says):
    values, texts = read(make_image(tmp_path / "a.zarr", version, style, says))
    assert (values == 0).all()
    assert len(texts) == 1
    assert repr(says.join("00000")) in texts[0]


@pytest.mark.parametrize("style", list(STYLES))
def test_names_that_are_right_are_not_told_of(tmp_path, style):
    path = make_image(tmp_path / "a.zarr", "0.5", style, style)
    values, texts = read(path)
    np.testing.assert_array_equal(values, pixels())
    assert texts == []


def test_an_array_that_was_never_written_is_not_told_of(tmp_path, version):
    position = new_position(tmp_path / "a.zarr", version)
    assert (position.create_zeros("0", SHAPE, "float32")[...] == 0).all()
    with ps.open_ome_zarr(tmp_path / "a.zarr", mode="r+") as opened:
        array = opened["0"]
        array[..., 4:, 4:] = np.nan
        assert (array[..., :4, :4] == 0).all()


@pytest.mark.parametrize("method", ["mean", "gaussian"])
def test_levels_of_pixels_that_have_other_names_are_told(tmp_path, version, method):
    path = make_image(tmp_path / "a.zarr", version, ".", "/")
    with pytest.warns(ps.StoreWarning, match="a.zarr/0: only the fill value"):
        ps.open_ome_zarr(path, mode="r+").compute_pyramid(2, method)


class Unlisted(MemoryStore):
    """A store that tells nobody what it holds, as many a web server does."""

    supports_listing = False


@pytest.mark.parametrize("style", ["/", "."])
@pytest.mark.parametrize("cls", [MemoryStore, Unlisted])
def test_stores_of_zarr_are_read_as_directories_are(tmp_path, style, cls):
    path, held = make_image(tmp_path / "a.zarr", "0.4", style), MemoryStore()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for file in path.rglob("*"):
            if file.is_file():
                key, data = str(file.relative_to(path)), file.read_bytes()
                held._store_dict[key] = default_buffer_prototype().buffer.from_bytes(data)
    values, texts = read(cls(held._store_dict))
    np.testing.assert_array_equal(values, pixels())
    assert len(texts) == (style == "/")


def test_a_store_that_cannot_be_listed_is_read_where_there_is_nothing(tmp_path):
    position = new_position(tmp_path / "a.zarr", "0.5")
    position.create_zeros("0", SHAPE, "uint8")
    held = MemoryStore()
    ps.copy(tmp_path / "a.zarr", held)
    values, texts = read(Unlisted(held._store_dict))
    assert (values == 0).all()
    assert texts == []
