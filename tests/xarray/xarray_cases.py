"""What the tests of labelled arrays share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from hypothesis import strategies as st

import platestore as ps
from platestore import AxisMeta

KINDS = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
CHANNELS = ["DAPI", "GFP", "mCherry"]
DIMS = ["yx", "zyx", "cyx", "tyx", "czyx", "tzyx", "tcyx", "tczyx"]


def axes(names: str, unit: str | None = None) -> list[AxisMeta]:
    return [AxisMeta(name=n, type=KINDS[n.lower()], unit=unit if n.lower() in "zyx" else None) for n in names]


def position(path: Path, names: str = "tczyx", version: str = "0.4", channels=CHANNELS, **kwargs):
    return ps.open_ome_zarr(
        path, layout="fov", mode="w-", channel_names=channels, axes=axes(names), version=version, **kwargs
    )


def random(*shape: int, dtype: str = "uint16") -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(1, 200, shape).astype(dtype)


def labelled(dims: str = "tczyx", shape=(3, 3, 2, 8, 6), dtype: str = "uint16", **coords) -> xr.DataArray:
    """An array with coordinates on all axes, unless they are given (None for no coordinate)."""
    grids = {"t": (2.5, 0.0), "z": (0.5, 3.0), "y": (0.65, -7.0), "x": (0.65, 120.0)}
    units = {"t": "s", "z": "um", "y": "µm", "x": "micrometer"}
    made = {}
    for d, n in zip(dims, shape, strict=True):
        if d == "c":
            made[d] = xr.DataArray(CHANNELS[:n], dims=d)
        else:
            scale, start = grids[d]
            made[d] = xr.DataArray(np.arange(n) * scale + start, dims=d, attrs={"units": units[d]})
    made.update(coords)
    present = {d: c for d, c in made.items() if c is not None}
    return xr.DataArray(random(*shape, dtype=dtype), dims=list(dims), coords=present)


@st.composite
def arrays(draw, most: int = 4) -> xr.DataArray:
    """Labelled arrays of two to five dimensions, of any scale, translation and size."""
    dims = draw(st.sampled_from(DIMS))
    shape = tuple(draw(st.integers(1, most)) for _ in dims)
    coords = {}
    for d, n in zip(dims, shape, strict=True):
        if d == "c":
            coords[d] = xr.DataArray([f"channel {i}" for i in range(n)], dims=d)
            continue
        scale = draw(st.floats(1e-3, 1e3))
        attrs = {"scale": scale} if n == 1 else {}
        unit = draw(st.sampled_from(["ms", "second"] if d == "t" else ["um", "nanometer", "µm"]))
        values = np.arange(n) * scale + draw(st.floats(-1e3, 1e3))
        coords[d] = xr.DataArray(values, dims=d, attrs={**attrs, "units": unit})
    dtype = draw(st.sampled_from(["uint8", "int16", "float32"]))
    attrs = draw(
        st.dictionaries(st.sampled_from(["units", "note", "n"]), st.sampled_from(["nm", 3, 1.5, [1, 2]]))
    )
    return xr.DataArray(random(*shape, dtype=dtype), dims=list(dims), coords=coords, attrs=attrs)
