"""What the tests of nodes, opening and interoperability share."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import platestore as ps
from conftest import make_plate


def snapshot(tree: Path) -> dict[str, Any]:
    """Every directory, link and file of a tree, with its content."""
    if not os.path.lexists(tree):
        return {}
    found: dict[str, Any] = {".": ("link", os.readlink(tree)) if tree.is_symlink() else None}
    if tree.is_file():
        found["."] = tree.read_bytes()
    for directory, names, files in os.walk(tree):
        for name in [*names, *files]:
            path = Path(directory, name)
            key = str(path.relative_to(tree))
            if path.is_symlink():
                found[key] = ("link", os.readlink(path))
            else:
                found[key] = None if path.is_dir() else path.read_bytes()
    return found


_TEMPLATES: dict[str, dict[str, Any]] = {}


def stored_plate(path: Path, version: str = "0.4") -> Path:
    """The plate of ``make_plate`` on disk, copied from one that was made before: the tests use many."""
    if version not in _TEMPLATES:
        with tempfile.TemporaryDirectory() as directory:
            made = Path(directory) / path.name
            make_plate(made, version)
            _TEMPLATES[version] = snapshot(made)
    for name, data in _TEMPLATES[version].items():
        if data is None:
            (path / name).mkdir(parents=True, exist_ok=True)
    for name, data in _TEMPLATES[version].items():
        if data is not None:
            (path / name).write_bytes(data)
    return path


@contextlib.contextmanager
def refused(
    error: type[ps.PlatestoreError],
    builtin: type[Exception],
    *,
    tree: Path | None = None,
    names: object = None,
) -> Iterator[pytest.ExceptionInfo[Any]]:
    """Expect an error that says what, where and what to do, and that changed nothing.

    Parameters
    ----------
    error : type
        The platestore class.
    builtin : type
        The builtin that a user would catch.
    tree : Path, optional
        What must be byte for byte as before.
    names : object, optional
        What the message must name, beside saying what to do; by default ``tree``. ``False`` for an error
        whose message is about an argument alone.
    """
    before = None if tree is None else snapshot(tree)
    with pytest.raises(builtin) as caught:
        yield caught
    assert isinstance(caught.value, error), (
        f"{type(caught.value).__name__} is no {error.__name__}: {caught.value}"
    )
    if tree is not None:
        assert snapshot(tree) == before, "a refused call changed the store"
    if names is False:
        return
    where = tree if names is None else names
    if where is not None:
        assert str(where) in str(caught.value), f"the message does not name {where}: {caught.value}"
    assert caught.value.hint, f"the message does not say what to do: {caught.value}"


def group_document(path: Path) -> Path:
    """The file that holds a group's attributes."""
    return path / "zarr.json" if (path / "zarr.json").exists() else path / ".zattrs"


def attributes(path: Path) -> dict[str, Any]:
    """Attributes of a group as they are on disk."""
    content = json.loads(group_document(path).read_text())
    return content["attributes"] if (path / "zarr.json").exists() else content


def ome(path: Path) -> dict[str, Any]:
    """The OME part of a group's attributes as it is on disk."""
    found = attributes(path)
    return found.get("ome", {}) if (path / "zarr.json").exists() else found


def edit_attributes(path: Path, **values: Any) -> None:
    """Set attributes of a group behind the library's back, as another program would."""
    document = group_document(path)
    content = json.loads(document.read_text()) if document.exists() else {}
    (content["attributes"] if document.name == "zarr.json" else content).update(values)
    document.write_text(json.dumps(content))


def edit_ome(path: Path, change: Any) -> None:
    """Edit the OME part of a group's attributes behind the library's back."""
    document = group_document(path)
    content = json.loads(document.read_text())
    change(content["attributes"]["ome"] if document.name == "zarr.json" else content)
    document.write_text(json.dumps(content))


def listed_wells(path: Path) -> list[str]:
    """Paths of the wells that a plate's document lists."""
    plate = ome(path).get("plate") or attributes(path)["platestore"]["plate"]
    return [well["path"] for well in plate["wells"]]


def placed_wells(path: Path) -> list[str]:
    """The same, along rows, then columns."""
    plate = ome(path).get("plate") or attributes(path)["platestore"]["plate"]
    return [w["path"] for w in sorted(plate["wells"], key=lambda w: (w["rowIndex"], w["columnIndex"]))]


def check_plate(path: Path) -> dict[str, Any]:
    """Check by the specification, on the bare JSON, that a plate is whole: names, paths, indices, members.

    Returns
    -------
    dict
        The plate's metadata.
    """
    plate = ome(path).get("plate") or attributes(path)["platestore"]["plate"]
    rows, columns = ([item["name"] for item in plate[key]] for key in ("rows", "columns"))
    assert len(set(rows)) == len(rows)
    assert len(set(columns)) == len(columns)
    paths = [well["path"] for well in plate["wells"]]
    assert len(set(paths)) == len(paths)
    known = {item["id"] for item in plate.get("acquisitions", [])} or {0}
    fields: dict[int, int] = {}
    for well in plate["wells"]:
        assert well["path"] == f"{rows[well['rowIndex']]}/{columns[well['columnIndex']]}", well
        place = path / well["path"]
        assert place.is_dir(), f"{well['path']} is dangling"
        found = ome(place).get("well") or attributes(place)["platestore"]["well"]
        names = [image["path"] for image in found["images"]]
        assert len(set(names)) == len(names)
        for image in found["images"]:
            assert image.get("acquisition", 0) in known, image
            assert (place / image["path"]).is_dir(), f"{well['path']}/{image['path']} is dangling"
        for number in known:
            used = sum(image.get("acquisition", 0) == number for image in found["images"])
            fields[number] = max(fields.get(number, 0), used)
    for item in plate.get("acquisitions", []):
        if "maximumfieldcount" in item:
            assert item["maximumfieldcount"] >= fields.get(item["id"], 0), item
    return plate


def axes(names: str) -> list[ps.AxisMeta]:
    """Axes by their letters, in the case given."""
    kinds = {"t": ("time", "second"), "c": ("channel", None)}
    made = []
    for name in names:
        kind, unit = kinds.get(name.lower(), ("space", "micrometer"))
        made.append(ps.AxisMeta(name=name, type=kind, unit=unit))
    return made


def new_plate(path: Path, version: str = "0.4", **kwargs: Any) -> ps.Plate:
    """An empty plate."""
    return ps.open_ome_zarr(
        path, layout="hcs", mode="w-", channel_names=["DAPI", "GFP"], version=version, **kwargs
    )


def new_position(
    path: Path, version: str = "0.4", *, names: str = "TCZYX", channels=("DAPI", "GFP"), **kwargs: Any
):
    """An empty position."""
    return ps.open_ome_zarr(
        path,
        layout="fov",
        mode="w-",
        channel_names=list(channels),
        axes=axes(names),
        version=version,
        **kwargs,
    )


def pixels(*shape: int, dtype: str = "uint16") -> np.ndarray:
    """An image in which every pixel differs from its neighbours."""
    return (np.arange(np.prod(shape)) % 251).reshape(shape).astype(dtype)


def scale(*values: float) -> list[ps.TransformationMeta]:
    """A list of one scale."""
    return [ps.TransformationMeta(type="scale", scale=list(values))]


def translation(*values: float) -> ps.TransformationMeta:
    """A translation."""
    return ps.TransformationMeta(type="translation", translation=list(values))
