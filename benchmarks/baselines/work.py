"""The part of an experiment that a library does, in a process of its own: ``work.py LIBRARY STEP ARGUMENTS``.

It runs under any interpreter and imports the one library it is about. ``LIBRARY`` is ``platestore``,
``iohub`` or ``zarr``; ``ARGUMENTS`` is a JSON object. It prints ``go`` when the work begins, and its result
as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import warnings
from typing import Any

SHAPE = (1, 1, 1, 32, 32)
CHUNKS = (1, 1, 1, 16, 16)
_KEPT: list[Any] = []


def go() -> None:
    """Say that the work begins, and wait to be told to."""
    print("go", flush=True)
    if os.environ.get("BASELINES_WAIT"):
        sys.stdin.readline()


def opened(library: str, path: str, mode: str = "r+", **kwargs: Any) -> Any:
    """A store, opened by its library; both have the same door."""
    if library == "platestore":
        from platestore import open_ome_zarr
    else:
        from iohub.ngff import open_ome_zarr
    return open_ome_zarr(path, mode=mode, **kwargs)


# --- plates ---------------------------------------------------------------------------------------


def make_plate(library: str, path: str, wells: list[str]) -> None:
    with opened(library, path, "w-", layout="hcs", channel_names=["a"], version="0.5") as plate:
        for well in wells:
            position = plate.create_position(*well.split("/"), "0")
            position.create_zeros("0", SHAPE, "uint16", chunks=CHUNKS)[...] = int(well.split("/")[1])


def add_positions(library: str, path: str, row: str, count: int) -> None:
    plate = opened(library, path)
    go()
    for column in range(1, count + 1):
        position = plate.create_position(row, str(column), "0")
        position.create_zeros("0", SHAPE, "uint16", chunks=CHUNKS)
    plate.close()


def create_batch(library: str, path: str, count: int) -> None:
    plate = opened(library, path)
    specs = [("C", str(column), "0") for column in range(1, count + 1)]
    go()
    if library == "platestore":
        plate.create_positions(specs, shape=SHAPE, dtype="uint16", chunks=CHUNKS)
    else:
        for position in plate.create_positions(specs):
            position.create_zeros("0", SHAPE, "uint16", chunks=CHUNKS)
    plate.close()


def open_plate(library: str, path: str) -> dict[str, Any]:
    """What a user sees after all: the positions that can be opened and read."""
    found = {}
    with opened(library, path, "r") as plate:
        for name, position in plate.positions():
            with contextlib.suppress(Exception):  # one without an array is counted elsewhere
                found[name] = int(position["0"][0, 0, 0, 0, 0])
    return found


def rename_well(library: str, path: str) -> dict[str, Any]:
    with opened(library, path) as plate:
        plate.rename_well("A/1", "B/1")
    try:
        with opened(library, path, "r") as plate:
            return {well: int(plate[f"{well}/0/0"][0, 0, 0, 0, 0]) for well in ("B/1", "A/2")}
    except Exception as error:  # noqa: BLE001 - whatever a user would see
        return {"error": f"{type(error).__name__}"}


def replace(library: str, path: str) -> dict[str, Any]:
    try:
        opened(library, path, "w", layout="hcs", channel_names=["a"], version="0.5").close()
    except Exception as error:  # noqa: BLE001
        return {"error": type(error).__name__}
    return {}


# --- shards ---------------------------------------------------------------------------------------


def make_shards(library: str, path: str, side: int, shard: int, chunk: int, checksum: bool) -> None:
    if library == "platestore":
        position = opened(library, path, "w-", layout="fov", channel_names=["a"], version="0.5")
        position.create_zeros(
            "0",
            (1, 1, 1, side, side),
            "uint16",
            chunks=(1, 1, 1, chunk, chunk),
            shards=(1, 1, 1, shard, shard),
            checksum=checksum,
            compressor="zstd",
        )
    else:
        import zarr

        zarr.create_array(
            path, name="0", shape=(1, 1, 1, side, side), dtype="uint16", chunks=(1, 1, 1, chunk, chunk),
            shards=(1, 1, 1, shard, shard), fill_value=0,
        )  # fmt: skip


def array(library: str, path: str, mode: str = "r+") -> Any:
    if library == "platestore":
        return opened(library, path, mode)["0"]
    import zarr

    return zarr.open_array(f"{path}/0", mode=mode)


def write_chunks(library: str, path: str, first: int, step: int, chunk: int, value: int) -> None:
    """Every step-th chunk of the image, one after another."""
    image = array(library, path)
    across = image.shape[-1] // chunk
    go()
    for number in range(first, across * across, step):
        y, x = divmod(number, across)
        image[0, 0, 0, y * chunk : (y + 1) * chunk, x * chunk : (x + 1) * chunk] = value or number + 1


def write_all(library: str, path: str, value: int) -> None:
    image = array(library, path)
    go()
    side = image.shape[-1]
    for step in range(side // 64):
        image[0, 0, 0, step * 64 : (step + 1) * 64] = value + step % 2


def read(library: str, path: str) -> dict[str, Any]:
    """The distinct values of an image, and how often they are there."""
    import numpy as np

    try:
        values, counts = np.unique(np.asarray(array(library, path, "r")[:]), return_counts=True)
    except Exception as error:  # noqa: BLE001
        return {"error": type(error).__name__}
    order = np.argsort(-counts)[:50]
    return {"values": {str(values[i]): int(counts[i]) for i in order}, "distinct": len(values)}


def dask_write(library: str, path: str, side: int, shard: int, chunk: int, block: int) -> dict[str, Any]:
    """A dask array whose blocks are smaller than the shards; how many elements are wrong then."""
    import dask.array as da
    import numpy as np

    data = np.arange(1, side * side + 1, dtype="uint32").reshape(1, 1, 1, side, side)
    blocks = da.from_array(data, chunks=(1, 1, 1, block, block))
    if library == "platestore":
        position = opened(library, path, "w-", layout="fov", channel_names=["a"], version="0.5")
        options = {"chunks": (1, 1, 1, chunk, chunk), "shards": (1, 1, 1, shard, shard)}
        position.create_image("0", blocks, **options)
    else:
        shards = {"shards": (1, 1, 1, shard, shard), "chunks": (1, 1, 1, chunk, chunk)}
        blocks.to_zarr(path, component="0", **shards)
    found = np.asarray(array(library, path, "r")[:])
    return {"wrong": int((found != data).sum()), "of": int(data.size)}


# --- archives -------------------------------------------------------------------------------------


def write_zip(library: str, path: str, source: str) -> None:
    """A zip with everything in it, and the process ends before it is closed."""
    if library == "platestore":
        from platestore import copy

        go()
        copy(source, path)
        return
    import numpy as np
    import zarr

    store = zarr.storage.ZipStore(path, mode="w")
    _KEPT.append(store)  # it closes itself where nothing refers to it
    image = zarr.create_array(store, shape=(64, 64), chunks=(16, 16), dtype="uint16")
    image[...] = np.ones((64, 64), "uint16")
    go()


def open_zip(library: str, path: str) -> dict[str, Any]:
    try:
        if library == "platestore":
            with opened(library, path, "r") as node:
                return {"positions": len(list(node.positions()))}
        import zarr

        return {"sum": int(zarr.open_array(zarr.storage.ZipStore(path, mode="r"), mode="r")[...].sum())}
    except Exception as error:  # noqa: BLE001
        return {"error": type(error).__name__}


def main() -> None:
    """Do the step that the command line names."""
    library, step, arguments = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    warnings.simplefilter("ignore")
    with contextlib.suppress(BrokenPipeError):
        result = globals()[step](library, **arguments)
        print(json.dumps({"result": result}), flush=True)
        if os.environ.get("BASELINES_DIE"):
            os.kill(os.getpid(), 9)


if __name__ == "__main__":
    main()
