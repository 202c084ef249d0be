"""Positions for the tests of pyramids: made by platestore or by zarr alone, and what their levels must be."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr

import platestore as ps
from platestore.pyramid.kernels import reduce_block
from pyramid.pyramid_reference import reduce_reference

DTYPES = ("bool", "uint8", "uint16", "int16", "uint32", "int64", "float32", "float64")
METHODS = ("mean", "median", "mode", "min", "max", "stride")
#: More than any of these pyramids needs.
PLENTY = "512MiB"


# --- pixels ---------------------------------------------------------------------------------------


def noise(dtype: str, shape: Sequence[int], seed: int = 0) -> np.ndarray:
    """Any value of the type; floats whose sums over a few windows are exact in double precision."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return rng.random(shape) < 0.5
    if kind.kind == "f":
        return (rng.integers(-(2**10), 2**10, shape) / 8).astype(kind)
    limits = np.iinfo(kind)
    native = kind.newbyteorder("=")
    return rng.integers(limits.min, limits.max, shape, dtype=native, endpoint=True).astype(kind)


def blobs(dtype: str, shape: Sequence[int], seed: int = 0) -> np.ndarray:
    """Mostly zero: whole chunks are never written."""
    data = noise(dtype, shape, seed)
    data[..., shape[-1] // 3 :] = 0
    return data


def cascade(data: np.ndarray, steps: Sequence[Sequence[int]], method: str) -> list[np.ndarray]:
    """The levels after level 0, window by window in exact arithmetic."""
    levels = [data]
    for step in steps:
        levels.append(reduce_reference(levels[-1], step, method))
    return levels[1:]


def quick_cascade(data: np.ndarray, steps: Sequence[Sequence[int]], method: str) -> list[np.ndarray]:
    """The same for larger images, by the kernels (which have tests of their own), each level at once."""
    levels = [data]
    for step in steps:
        levels.append(reduce_block(levels[-1], tuple(step), method))
    return levels[1:]


# --- positions ------------------------------------------------------------------------------------

_KINDS = {"t": "time", "c": "channel"}


def axes_of(names: str) -> list[ps.AxisMeta]:
    """Axes by their letters."""
    return [ps.AxisMeta(name=n, type=_KINDS.get(n.lower(), "space")) for n in names]


def new_position(path: Any, version: str, names: str = "TCZYX", channels: int = 1, **kwargs: Any):
    """An empty position."""
    return ps.open_ome_zarr(
        path,
        layout="fov",
        mode="w-",
        channel_names=[f"channel {i}" for i in range(channels)],
        axes=axes_of(names),
        version=version,
        **kwargs,
    )


def image_of(path: Any, version: str, data: np.ndarray, names: str | None = None, **layout: Any):
    """A position with level 0."""
    names = names or "TCZYX"[-data.ndim :]
    channels = data.shape[names.lower().index("c")] if "c" in names.lower() else 1
    position = new_position(path, version, names, channels)
    position.create_image("0", data, **layout)
    return position


def stored(path: Path, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Pixels of the listed arrays, as zarr alone reads them."""
    listed = [d["path"] for d in multiscales(path)["datasets"]]
    return {name: zarr.open_array(path / name, mode="r")[...] for name in names or listed}


def attributes(path: Path) -> dict[str, Any]:
    """The OME attributes of a group as they are on disk."""
    if (path / "zarr.json").exists():
        found: dict[str, Any] = json.loads((path / "zarr.json").read_text())["attributes"]["ome"]
        return found
    return json.loads((path / ".zattrs").read_text())


def multiscales(path: Path, number: int = 0) -> dict[str, Any]:
    """The multiscales entry of a group as it is on disk."""
    found: dict[str, Any] = attributes(path)["multiscales"][number]
    return found


def edit(path: Path, change: Any) -> None:
    """Edit the OME attributes of a group behind the library's back."""
    document = path / ("zarr.json" if (path / "zarr.json").exists() else ".zattrs")
    content = json.loads(document.read_text())
    change(
        content["attributes"].setdefault("ome", {"version": "0.5"})
        if document.name == "zarr.json"
        else content
    )
    document.write_text(json.dumps(content))


def foreign_array(
    path: Path,
    version: str,
    data: np.ndarray | None = None,
    *,
    shape: Any = None,
    dtype: Any = None,
    **how: Any,
) -> zarr.Array:
    """An array that zarr alone makes."""
    array = zarr.create_array(
        store=path,
        shape=data.shape if data is not None else shape,
        dtype=data.dtype if data is not None else dtype,
        zarr_format=2 if version == "0.4" else 3,
        **how,
    )
    if data is not None:
        array[...] = data
    return array


def foreign_image(path: Path, version: str, arrays: dict[str, dict[str, Any]], names: str = "ZYX") -> None:
    """An image whose arrays are all made by zarr alone; keyword arguments of :func:`foreign_array` by name.

    Scales are the ratios of the shapes, as many writers have them.
    """
    new_position(path, version, names)
    datasets = []
    first = None
    for name, how in arrays.items():
        array = foreign_array(path / name, version, **how)
        first = first or array.shape
        scale = [round(n / m) for n, m in zip(first, array.shape, strict=True)]
        datasets.append(
            {
                "path": name,
                "coordinateTransformations": [{"type": "scale", "scale": [float(s) for s in scale]}],
            }
        )
    entry = {"axes": [axis.to_json() for axis in axes_of(names)], "datasets": datasets}
    if version == "0.4":
        entry["version"] = "0.4"

    def change(content: dict[str, Any]) -> None:
        content["multiscales"] = [entry]

    edit(path, change)


def hidden(path: Path) -> list[str]:
    """Names of temporary files and directories below a group."""
    found = []
    for _, directories, files in os.walk(path):
        found += [n for n in (*directories, *files) if n.endswith((".tmp", ".new", ".partial", ".lock"))]
    return found


def least_memory(position: Any, *args: Any, **kwargs: Any) -> int:
    """The least budget of ``compute_pyramid``, as the error names it."""
    try:
        position.compute_pyramid(*args, max_memory=1, **kwargs)
    except ps.BudgetError as error:
        return error.needed
    raise AssertionError("a budget of one byte was enough")
