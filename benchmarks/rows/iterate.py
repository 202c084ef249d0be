"""Open a plate and look at every position: shape, channel names, scale."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.harness import Case, Results, Row, Settings, Verdict, peer_entries, piece, ratio_verdict
from benchmarks.plates import group_document, make_plate, ome_attributes


def iterate_platestore(shared: Path, fresh: Path) -> dict[str, Any]:
    """Iterate with platestore."""
    from platestore import open_ome_zarr

    return timed(lambda path: _positions(open_ome_zarr, path), shared)


def iterate_iohub(shared: Path, fresh: Path) -> dict[str, Any]:
    """Iterate with iohub."""
    from iohub.ngff import open_ome_zarr

    return timed(lambda path: _positions(open_ome_zarr, path), shared)


def _positions(opener: Callable[..., Any], path: Path) -> list[Any]:
    with opener(path, mode="r") as plate:
        return [
            (name, position.data.shape, position.channel_names, position.scale)
            for name, position in plate.positions()
        ]


def iterate_floor(shared: Path, fresh: Path, version: str) -> dict[str, Any]:
    """Read the same documents, and build each array from its document, with what zarr makes public."""
    import zarr
    from zarr.storage import LocalStore, StorePath

    name, array_name = group_document(version), ".zarray" if version == "0.4" else "zarr.json"

    def load(path: str) -> dict[str, Any]:
        with open(path, "rb") as file:
            content: dict[str, Any] = json.loads(file.read())
        return content

    def iterate(path: Path) -> list[Any]:
        root, found = str(path), []
        store = LocalStore(root, read_only=True)
        for well in ome_attributes(load(f"{root}/{name}"), version)["plate"]["wells"]:
            place = well["path"]
            for image in ome_attributes(load(f"{root}/{place}/{name}"), version)["well"]["images"]:
                key = f"{place}/{image['path']}"
                ome = ome_attributes(load(f"{root}/{key}/{name}"), version)
                dataset = ome["multiscales"][0]["datasets"][0]
                array_path = f"{key}/{dataset['path']}"
                document = load(f"{root}/{array_path}/{array_name}")
                array = zarr.Array(zarr.AsyncArray(document, StorePath(store, array_path)))
                labels = [channel["label"] for channel in ome["omero"]["channels"]]
                found.append((key, array.shape, labels, dataset["coordinateTransformations"][0]["scale"]))
        return found

    return timed(iterate, shared)


def iterate_zarr(shared: Path, fresh: Path, version: str) -> dict[str, Any]:
    """What one writes with zarr alone: open every group and array by its path."""
    import zarr

    def iterate(path: Path) -> list[Any]:
        root, found = zarr.open_group(path, mode="r", use_consolidated=False), []
        for well in _ome(root, version)["plate"]["wells"]:
            group = root[well["path"]]
            for image in _ome(group, version)["well"]["images"]:
                position = group[image["path"]]
                ome = _ome(position, version)
                dataset = ome["multiscales"][0]["datasets"][0]
                labels = [channel["label"] for channel in ome["omero"]["channels"]]
                scale = dataset["coordinateTransformations"][0]["scale"]
                found.append((position.path, position[dataset["path"]].shape, labels, scale))
        return found

    return timed(iterate, shared)


def _ome(group: Any, version: str) -> Any:
    return group.attrs if version == "0.4" else group.attrs["ome"]


def timed(iterate: Callable[[Path], list[Any]], shared: Path) -> dict[str, Any]:
    """Time one iteration, after one over a small plate that makes sure that everything is imported."""
    iterate(shared / "small" / "plate.zarr")
    start = time.perf_counter()
    found = iterate(shared / "plate.zarr")
    seconds = time.perf_counter() - start
    # Sorted, since peers follow the directory where the others follow the metadata.
    plain = sorted([n, [int(v) for v in shape], list(c), [float(v) for v in s]] for n, shape, c, s in found)
    return {"seconds": seconds, "answer": [len(plain), plain[0], plain[-1]]}


def make_both(shared: Path, fresh: Path, version: str, wells: int, fields: int) -> dict[str, Any]:
    """The plate, and a small one to warm up with."""
    (shared / "small").mkdir()
    make_plate(shared / "small", fresh, version, wells=6, fields=1)
    return make_plate(shared, fresh, version, wells=wells, fields=fields)


def plan(settings: Settings) -> list[Case]:
    """One case per version."""
    wells, fields = settings.pick(384, 24), 4
    cases = []
    for version in settings.versions:
        cases.append(
            Case(
                key=version,
                title=f"{wells * fields:,} positions, OME-NGFF {version}",
                prepare=[
                    piece("plates", "reference", make_both, version=version, wells=wells, fields=fields)
                ],
                entries=[
                    piece("platestore", "ours", iterate_platestore),
                    piece("floor", "floor", iterate_floor, version=version),
                    piece("zarr, each opened by its path", "reference", iterate_zarr, version=version),
                    *peer_entries(
                        settings,
                        lambda python: [piece("iohub", "peer", iterate_iohub, python=python, needs="iohub")],
                    ),
                ],
                rounds=2,
            )
        )
    return cases


def judge(results: dict[str, Results]) -> list[Verdict]:
    """At most 2 times the floor."""
    return [ratio_verdict(r, r.case.title, "platestore", "floor", 2) for r in results.values()]


ROW = Row(
    name="iterate",
    title="Open a plate and iterate over its positions",
    note=(
        "Open a plate of 384 wells × 4 positions, and get of each the shape of its array, its channel names "
        "and its scale. The floor reads the same JSON files and builds one `zarr.Array` from each array's "
        "document; with zarr alone, every group and array is opened by its path. The files are in the page "
        "cache."
    ),
    plan=plan,
    judge=judge,
)
