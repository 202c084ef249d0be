"""Open images as labelled arrays: from metadata to coordinates, and pixels by dask."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.harness import (
    Case,
    Entry,
    Results,
    Row,
    Settings,
    Verdict,
    peer_entries,
    piece,
    ratio_verdict,
)
from benchmarks.memory import CPU, measured
from benchmarks.pixels import IOHUB, RawTensorStore, copy_store, make_store, open_iohub, wait_for_threads

_SIZES = {"growth": "memory growth"}
_COPIES = 20
_LEVELS = 4


# --- pieces -----------------------------------------------------------------------------------------


def coordinates(shared: Path, fresh: Path, how: str, version: str) -> dict[str, Any]:
    """Open many images one after the other, each to the coordinates of its levels."""
    call = _WAYS[how]
    for number in range(_COPIES + 1):
        copy_store(shared / "image.zarr", fresh / f"{number}.zarr")
    _places(call(fresh / f"{_COPIES}.zarr", version))
    wait_for_threads()
    start, processors = time.perf_counter(), time.process_time()
    found = [_places(call(fresh / f"{number}.zarr", version)) for number in range(_COPIES)]
    seconds, cpu = time.perf_counter() - start, time.process_time() - processors
    # All levels by their paths, or level 0 alone.
    return {"seconds": seconds / _COPIES, "cpu": cpu / _COPIES, "answer": found[0]["0"]}


def _places(arrays: dict[str, Any]) -> dict[str, Any]:
    """First and last coordinate of each axis in space of each level."""
    return {
        path: [[d.lower(), *(round(float(a[d][k]), 6) for k in (0, -1))] for d in a.dims[-3:]]
        for path, a in arrays.items()
    }


def pixels(shared: Path, fresh: Path, how: str, version: str) -> dict[str, Any]:
    """Read all of level 0 of ``shared/image.zarr``."""
    import numpy as np

    call = _WAYS[how]
    result: list[Any] = [None]

    def work(path: Path) -> None:
        result[0] = call(path, version)["0"].compute()

    work(shared / "small.zarr")
    wait_for_threads()
    found = measured(lambda: work(shared / "image.zarr"))
    return {**found, "answer": zlib.crc32(np.ascontiguousarray(result[0]).data)}


def pixels_floor(shared: Path, fresh: Path) -> dict[str, Any]:
    """The same with nothing but TensorStore."""
    import numpy as np

    result: list[Any] = [None]

    def work(path: Path) -> None:
        result[0] = RawTensorStore(path / "0")[...]

    work(shared / "small.zarr")
    wait_for_threads()
    found = measured(lambda: work(shared / "image.zarr"))
    return {**found, "answer": zlib.crc32(np.ascontiguousarray(result[0]).data)}


def _to_xarray(path: Path, version: str) -> dict[str, Any]:
    from platestore import open_ome_zarr

    return {"0": open_ome_zarr(path, mode="r").to_xarray()}


def _group(path: Path, version: str) -> dict[str, Any]:
    import platestore.xarray

    return _documented(platestore.xarray, path, version)


def _xarray_ome_ngff(path: Path, version: str) -> dict[str, Any]:
    import xarray_ome_ngff

    return _documented(xarray_ome_ngff, path, version)


def _documented(package: Any, path: Path, version: str) -> dict[str, Any]:
    """What xarray-ome-ngff's documents show."""
    import zarr

    group = zarr.open_group(str(path), mode="r")
    found: dict[str, Any] = package.read_multiscale_group(
        group, array_wrapper=package.DaskArrayWrapper(), ngff_version=version
    )
    return found


def _iohub(path: Path, version: str) -> dict[str, Any]:
    return {"0": open_iohub(path, IOHUB["iohub"], "r").to_xarray()}


def _by_hand(path: Path, version: str) -> dict[str, Any]:
    """What one writes with zarr, dask and xarray, for levels that have a scale and perhaps a translation."""
    import dask.array
    import numpy as np
    import xarray
    import zarr

    group = zarr.open_group(str(path), mode="r", use_consolidated=False)
    attributes: Any = group.attrs.asdict()
    image = (attributes if version == "0.4" else attributes["ome"])["multiscales"][0]
    names = [axis["name"] for axis in image["axes"]]
    found = {}
    for dataset in image["datasets"]:
        array: Any = group[dataset["path"]]
        scale, shift = np.ones(array.ndim), np.zeros(array.ndim)
        for transform in dataset["coordinateTransformations"]:
            scale = np.array(transform.get("scale", scale))
            shift = np.array(transform.get("translation", shift))
        along = zip(names, array.shape, scale, shift, strict=True)
        coords = {name: np.arange(n) * s + t for name, n, s, t in along}
        found[dataset["path"]] = xarray.DataArray(
            dask.array.from_array(array, name=f"{path}/{dataset['path']}"), coords, names
        )
    return found


_WAYS: dict[str, Callable[[Path, str], dict[str, Any]]] = {
    "platestore": _to_xarray,
    "platestore, read_multiscale_group": _group,
    "xarray-ome-ngff": _xarray_ome_ngff,
    "iohub": _iohub,
    "zarr, dask and xarray": _by_hand,
}


# --- cases ------------------------------------------------------------------------------------------


def _cases(settings: Settings, function: Callable[..., dict[str, Any]], shape: list[int]) -> list[Case]:
    size = f"{shape[2] * shape[3] * shape[4] * 2 / 2**20:,.0f} MiB"
    cases = []
    for version in settings.versions:
        work = {"version": version}
        chunks = [1, 1, 1, *shape[3:]]

        def runs(python: str, work: Any = work, version: str = version) -> list[Entry]:
            names = ["iohub"] if version != "0.4" else ["xarray-ome-ngff", "iohub"]
            return [
                piece(name, "peer", function, python=python, needs=name, how=name, **work) for name in names
            ]

        whole = [] if function is coordinates else [piece("floor", "floor", pixels_floor)]
        cases.append(
            Case(
                key=version,
                title=f"{size}, a chunk per plane, {_LEVELS} levels, OME-NGFF {version}",
                prepare=[
                    piece(
                        "image", "reference", make_store, shape=shape, chunks=chunks, levels=_LEVELS, **work
                    ),
                    piece(
                        "small",
                        "reference",
                        make_store,
                        shape=(1, 1, 8, 64, 64),
                        chunks=(1, 1, 1, 64, 64),
                        store="small.zarr",
                        levels=2,
                        **work,
                    ),
                ],
                entries=[
                    *(
                        piece(name, "ours", function, how=name, **work)
                        for name in ("platestore", "platestore, read_multiscale_group")
                    ),
                    *whole,
                    piece(
                        "zarr, dask and xarray",
                        "reference" if whole else "floor",
                        function,
                        how="zarr, dask and xarray",
                        **work,
                    ),
                    *peer_entries(settings, runs),
                ],
                rounds=1 if whole else 2,
                extra=CPU,
                sizes=_SIZES if whole else {},
            )
        )
    return cases


def plan(settings: Settings) -> list[Case]:
    """One case per version: nothing is read but metadata."""
    return _cases(settings, coordinates, [1, 1, 16, 256, 256])


def judge(results: dict[str, Results]) -> list[Verdict]:
    """Not slower than what one writes by hand, by either door."""
    return [
        ratio_verdict(r, r.case.title + name.removeprefix("platestore"), name, "zarr, dask and xarray", 1)
        for r in results.values()
        for name in ("platestore", "platestore, read_multiscale_group")
    ]


ROW = Row(
    name="labelled",
    title="Open one image as a labelled array",
    note=(
        f"From the path to the coordinates, the mean of {_COPIES} images: `open_ome_zarr(path).to_xarray()` "
        "(level 0), and `read_multiscale_group(group, array_wrapper=DaskArrayWrapper())` of platestore and "
        "of xarray-ome-ngff (all levels), the opening of the group included. The floor does the latter with "
        "zarr, dask and xarray, without checks or units. Coordinates of level 0 are compared. "
        "xarray-ome-ngff needs an environment with zarr 2, and reads OME-NGFF 0.4 only. iohub's "
        "`to_xarray` is level 0 too."
    ),
    plan=plan,
    judge=judge,
)


def plan_pixels(settings: Settings) -> list[Case]:
    """One case per version."""
    edge, planes = settings.pick(2048, 256), settings.pick(64, 16)
    return _cases(settings, pixels, [1, 1, planes, edge, edge])


def judge_pixels(results: dict[str, Results]) -> list[Verdict]:
    """Not slower than what one writes by hand, by either door."""
    return judge(results)


PIXELS = Row(
    name="labelled-read",
    title="Read level 0 of a labelled array by dask",
    note=(
        "As above, and then `.compute()` of level 0. The floor reads it with TensorStore into one array. All "
        "pixels are compared."
    ),
    plan=plan_pixels,
    judge=judge_pixels,
)
