"""No public call leaves a store with more findings than it had, whoever wrote it."""

from __future__ import annotations

import contextlib
import json
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import examples

PIXELS = np.arange(2 * 16 * 16, dtype="uint16").reshape(2, 16, 16)
AXES = [{"name": "c", "type": "channel"}, *({"name": n, "type": "space", "unit": "micrometer"} for n in "yx")]


def _by_ome_zarr(path: Path, version: str) -> None:
    writer, formats = pytest.importorskip("ome_zarr.writer"), pytest.importorskip("ome_zarr.format")
    fmt = formats.FormatV04() if version == "0.4" else formats.FormatV05()
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    writer.write_image(PIXELS, group, axes="cyx", fmt=fmt)


def _by_ngff_zarr(path: Path, version: str) -> None:
    nz = pytest.importorskip("ngff_zarr")
    image = nz.to_ngff_image(PIXELS, dims=["c", "y", "x"])
    nz.to_ngff_zarr(str(path), nz.to_multiscales(image, scale_factors=[2]), version=version)


def _by_hand(omero: dict[str, Any] | None) -> Callable[[Path, str], None]:
    """A document as small programs write it, with what other keys and settings are given."""

    def write(path: Path, version: str) -> None:
        fmt = 2 if version == "0.4" else 3
        group = zarr.open_group(path, mode="w", zarr_format=fmt)
        names: dict[str, Any] = {"dimension_names": list("cyx")} if fmt == 3 else {}
        keys = {"name": "v2" if fmt == 2 else "default", "separator": "/"}
        array = group.create_array(
            "0", shape=PIXELS.shape, dtype="uint16", chunks=(1, 16, 16), chunk_key_encoding=keys, **names
        )
        array[...] = PIXELS
        scale = [{"type": "scale", "scale": [1, 0.5, 0.5]}]
        image: dict[str, Any] = {
            "axes": AXES,
            "datasets": [{"path": "0", "coordinateTransformations": scale}],
        }
        image.update({"version": "0.4"} if version == "0.4" else {})
        parts = {"multiscales": [image], **({} if omero is None else {"omero": omero})}
        group.attrs.update(parts if version == "0.4" else {"ome": {"version": "0.5", **parts}})

    return write


WINDOW = {"start": 0, "end": 9, "min": 0, "max": 65535}
WRITERS: dict[str, Callable[[Path, str], None]] = {
    "ome-zarr": _by_ome_zarr,
    "ngff-zarr": _by_ngff_zarr,
    "no omero": _by_hand(None),
    "names only": _by_hand({"channels": [{"label": "a"}, {"label": "b"}]}),
    "colours only": _by_hand({"channels": [{"color": "FF0000"}, {"color": "00FF00"}]}),
    "half a window": _by_hand({"channels": [{"window": {"start": 0, "end": 9}, "color": "FF0000"}] * 2}),
    "complete": _by_hand({"channels": [{"label": n, "color": "FF0000", "window": WINDOW} for n in "ab"]}),
}
CALLS: dict[str, Callable[[ps.Position], Any]] = {
    "rename_channel": lambda p: p.rename_channel(p.channel_names[1], p.channel_names[1] + "x"),
    "set_contrast_limits": lambda p: p.set_contrast_limits(p.channel_names[0], WINDOW),  # type: ignore[arg-type]
    "append_channel": lambda p: p.append_channel(f"new {len(p.channel_names)}"),
    "set_scale": lambda p: p.set_scale(next(iter(p)), "x", 0.25),
    "set_scale of all": lambda p: p.set_scale("*", "y", 2.0),
    "dump_meta": lambda p: p.dump_meta(),
    "metadata": lambda p: (setattr(p.metadata.multiscales[0], "name", "mine"), p.dump_meta()),
    "zattrs": lambda p: p.zattrs.update({"mine": [1, None]}),
    "compute_pyramid": lambda p: p.compute_pyramid(2),
    "create_label": lambda p: p.create_label("cells", np.ones((1, 16, 16), "uint8")),
}


def _findings(path: Path) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [f"{f.level} {f}" for f in ps.validate(path).findings if f.level != "advice"]


@pytest.mark.parametrize("writer", WRITERS)
@settings(deadline=None, max_examples=examples(6))
@given(
    calls=st.lists(st.sampled_from(sorted(CALLS)), min_size=1, max_size=4),
    version=st.sampled_from(["0.4", "0.5"]),
)
def test_no_sequence_of_edits_adds_a_finding(writer, calls, version):
    with tempfile.TemporaryDirectory() as directory, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(directory, "a.zarr")
        WRITERS[writer](path, version)
        known = _findings(path)
        for name in calls:
            position = ps.open_ome_zarr(path, layout="fov", mode="r+")
            with contextlib.suppress(ps.PlatestoreError):  # refused: the store is as it was
                CALLS[name](position)
            found = _findings(path)
            assert len(found) <= len(known), (name, [f for f in found if f not in known])
            known = found
        assert json.loads((path / ("zarr.json" if version == "0.5" else ".zattrs")).read_text())
