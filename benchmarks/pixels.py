"""Pixels, the arrays that hold them, and the programs that read and write them.

As in the rows, nothing but the standard library is imported at the top: peers' interpreters have no
platestore, and the harness needs no numpy.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

#: How many planes of noise are made; the others are these, rolled.
_DIFFERENT = 4
#: iohub's ways to write arrays, by the names of the entries.
IOHUB = {
    "iohub": "zarrs-python",
    "iohub, zarr-python": "zarr-python",
    "iohub, TensorStore": "tensorstore",
}


# --- images -----------------------------------------------------------------------------------------


class Noise:
    """A field of cells as a camera sees it: 16 bits, shot noise at 3 counts per photon, an offset of 100.

    The default codec compresses it to about a half, like a real fluorescence image.
    """

    def __init__(self, height: int, width: int) -> None:
        import numpy as np

        rng = np.random.default_rng(7)
        y, x = np.arange(height)[:, None], np.arange(width)[None, :]
        light = 20 + 60 * np.maximum(0, np.sin(x / 23) * np.sin(y / 29)) ** 4
        self._planes = [(rng.poisson(light) * 3 + 100).astype(np.uint16) for _ in range(_DIFFERENT)]

    def plane(self, number: int) -> Any:
        """One plane; no two planes of a stack are the same."""
        import numpy as np

        plane = self._planes[number % _DIFFERENT]
        return np.roll(plane, (17 * number, 31 * number), axis=(0, 1))

    def stack(self, shape: Sequence[int]) -> Any:
        """An array whose last two dimensions are planes."""
        import numpy as np

        out = np.empty(shape, np.uint16)
        for number, index in enumerate(np.ndindex(*shape[:-2])):
            out[index] = self.plane(number)
        return out


def label_stack(shape: Sequence[int]) -> Any:
    """Segmented cells, 40 pixels across, on background: a volume (Z, Y, X) of 16-bit labels."""
    import numpy as np

    depth, height, width = shape
    y, x = np.arange(height)[:, None], np.arange(width)[None, :]
    out = np.empty(shape, np.uint16)
    for z in range(depth):
        bent_y = y + 7 * np.sin(x / 19 + z / 5)
        bent_x = x + 7 * np.sin(y / 23 + z / 7)
        number = (bent_y // 40).astype(np.int64) * 61 + (bent_x // 40).astype(np.int64) + z // 12 * 7
        inside = (bent_y % 40 - 20) ** 2 + (bent_x % 40 - 20) ** 2 < 17**2
        out[z] = np.where(inside, number % 65000 + 1, 0)
    return out


def make_data(shared: Path, fresh: Path, shape: Sequence[int], kind: str = "noise") -> dict[str, Any]:
    """Preparation: ``shared/data.npy``."""
    import numpy as np

    data = Noise(*shape[-2:]).stack(shape) if kind == "noise" else label_stack(shape)
    np.save(shared / "data.npy", data)
    return {"seconds": 0.0}


def load(shared: Path) -> Any:
    """What :func:`make_data` made, in memory."""
    import numpy as np

    return np.load(shared / "data.npy")


# --- stores -----------------------------------------------------------------------------------------


def make_store(
    shared: Path,
    fresh: Path,
    version: str,
    shape: Sequence[int],
    chunks: Sequence[int],
    shards: Sequence[int] | None = None,
    store: str = "image.zarr",
    fill: bool = True,
    pixels: str = "noise",
    levels: int | None = None,
    dims: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Preparation: a position with one array that platestore makes, with pixels or without.

    ``pixels`` is ``"data"`` for those of ``shared/data.npy``, or ``"noise"``, which is made plane by plane.
    """
    import numpy as np

    from platestore import open_ome_zarr

    channels = [f"channel {c}" for c in range(shape[1])]
    with open_ome_zarr(
        shared / store, layout="fov", mode="w-", channel_names=channels, version=version
    ) as position:
        image = position.create_zeros("0", shape, np.uint16, chunks=chunks, shards=shards)
        if fill and pixels == "data":
            image[...] = load(shared).reshape(shape)
        elif fill:
            # By whole files, so that nothing is written twice and no image must fit into memory.
            noise, planes = Noise(*shape[-2:]), shape[2]
            for t, c, z, *yx in image.write_units():
                stack = [noise.plane(c.start * planes + k)[tuple(yx)] for k in range(z.start, z.stop)]
                image[(t, c, z, *yx)] = np.stack(stack)[None, None]
        if levels is not None:
            position.initialize_pyramid(levels, dims=dims)
            if fill:
                position.compute_pyramid()
    return {"seconds": 0.0}


def make_iohub_store(
    shared: Path, fresh: Path, version: str, chunks: Sequence[int], ratio: Sequence[int] | None = None
) -> dict[str, Any]:
    """Preparation: ``shared/iohub.zarr``, the pixels of ``shared/data.npy`` as iohub writes them."""
    data = load(shared)
    with open_iohub(shared / "iohub.zarr", "tensorstore", "w-", version, data.shape[1]) as position:
        position.create_image("0", data, chunks=tuple(chunks), shards_ratio=ratio and tuple(ratio))
    return {"seconds": 0.0}


def open_iohub(
    path: Path, implementation: str, mode: str, version: str | None = None, channels: int = 1
) -> Any:
    """A position, opened by iohub with one of its implementations; TensorStore does not flush."""
    from iohub.ngff import open_ome_zarr

    more: dict[str, Any] = {}
    if version is not None:
        more = {
            "layout": "fov",
            "channel_names": [f"channel {c}" for c in range(channels)],
            "version": version,
        }
    if implementation == "tensorstore":
        from iohub.core.config import TensorStoreConfig

        more["implementation_config"] = TensorStoreConfig(file_io_sync=False)
    return open_ome_zarr(path, mode=mode, implementation=implementation, **more)


def copy_store(source: Path, target: Path) -> None:
    """A copy of a store whose chunks are the same files under another name: nobody writes into them."""

    def copy(path: str, to: str) -> None:
        if os.path.basename(path) in ("zarr.json", ".zarray", ".zattrs", ".zgroup"):
            shutil.copyfile(path, to)
        else:
            os.link(path, to)

    shutil.copytree(source, target, copy_function=copy)


def stored_nbytes(path: Path) -> int:
    """Bytes of all files in a directory."""
    return sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(path) for name in names)


# --- arrays -----------------------------------------------------------------------------------------


class RawTensorStore:
    """An array that is there, opened with nothing but TensorStore."""

    def __init__(self, path: Path, *, sync: bool = False, cache: int = 0, threads: int | None = None) -> None:
        import tensorstore

        context: dict[str, Any] = {"file_io_sync": sync, "cache_pool": {"total_bytes_limit": cache}}
        if threads is not None:
            context["data_copy_concurrency"] = {"limit": threads}
        driver = "zarr" if (path / ".zarray").exists() else "zarr3"
        self.handle = tensorstore.open(
            {"driver": driver, "kvstore": {"driver": "file", "path": f"{path}/"}},
            open=True,
            recheck_cached_data="open",
            recheck_cached_metadata="open",
            context=tensorstore.Context(context),
        ).result()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(self.handle.shape)

    def __getitem__(self, index: Any) -> Any:
        return self.handle[index].read(order="C").result()

    def __setitem__(self, index: Any, value: Any) -> None:
        self.handle[index].write(value).result()


def open_array(how: str, store: Path) -> Any:
    """Level 0 of a store that is there, for reading and writing, by the program that an entry names."""
    if how == "platestore":
        from platestore import open_ome_zarr

        return open_ome_zarr(store, mode="r+")["0"]
    if how.startswith("TensorStore"):
        return RawTensorStore(store / "0", sync="flushed" in how, cache=2**28 if "cache" in how else 0)
    if how.startswith("zarr-python"):
        import zarr

        if "zarrs" in how:
            zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"})
        return zarr.open_array(store / "0", mode="r+")
    return open_iohub(store, IOHUB[how], "r+")["0"]


def wait_for_threads() -> None:
    """Give the threads of a program that has just started the time to go to sleep."""
    time.sleep(0.05)


# --- pyramids ---------------------------------------------------------------------------------------


def level_paths(store: Path) -> list[str]:
    """Names of the levels that a store lists."""
    document = store / ".zattrs" if (store / ".zattrs").exists() else store / "zarr.json"
    content = json.loads(document.read_bytes())
    ome = content if document.name == ".zattrs" else content["attributes"]["ome"]
    return [dataset["path"] for dataset in ome["multiscales"][0]["datasets"]]


def check_levels(
    store: Path, factors: Sequence[Sequence[int]], tolerance: float, shape: Sequence[int]
) -> list[Any]:
    """Hold windows of all levels against the exact cascade of means; returns the levels' shapes.

    ``tolerance`` is the difference per level that is let pass: 0 for programs that round half to even, more
    for those that cut off decimals at each level or reduce in another way.
    """
    import numpy as np

    arrays = [RawTensorStore(store / path) for path in level_paths(store)]
    if len(arrays) != len(factors) + 1 or arrays[0].shape != tuple(shape):
        raise RuntimeError(f"{store} has levels of the shapes {[a.shape for a in arrays]}")
    rng = np.random.default_rng(3)
    last = np.array(arrays[-1].shape)
    total = np.prod(factors, axis=0)
    window = (*[1] * (len(shape) - 3), 2, 16, 16)
    for sample in range(5):
        start = last - 1 if sample == 0 else rng.integers(0, last)
        box = [
            slice(int(s * f), int(min((s + w) * f, n)))
            for s, f, n, w in zip(start, total, arrays[0].shape, window, strict=True)
        ]
        pixels = arrays[0][tuple(box)]
        for number, step in enumerate(factors, 1):
            pixels = exact_mean(pixels, step)
            box = [slice(b.start // f, -(-b.stop // f)) for b, f in zip(box, step, strict=True)]
            found = arrays[number][tuple(box)]
            worst = np.abs(found.astype(np.int64) - pixels).max()
            if worst > tolerance * number:
                raise RuntimeError(f"{store}: level {number} differs by {worst} at {box}")
    return [list(a.shape) for a in arrays]


def exact_mean(block: Any, factors: Sequence[int]) -> Any:
    """The mean of windows, rounded half to even, edges replicated: the slow and plain way."""
    import numpy as np

    missing = [(0, -n % f) for n, f in zip(block.shape, factors, strict=True)]
    whole = np.pad(block, missing, mode="edge")
    pairs = [v for n, f in zip(whole.shape, factors, strict=True) for v in (n // f, f)]
    means = whole.reshape(pairs).mean(axis=tuple(range(1, 2 * block.ndim, 2)), dtype=np.float64)
    return np.rint(means).astype(block.dtype)
