"""Write an image of planes: all at once, and plane by plane."""

from __future__ import annotations

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
    time_verdict,
)
from benchmarks.memory import CPU, measured
from benchmarks.pixels import (
    IOHUB,
    RawTensorStore,
    copy_store,
    load,
    make_data,
    make_store,
    open_array,
    open_iohub,
    stored_nbytes,
    wait_for_threads,
)

_SIZES = {"growth": "memory growth", "stored": "stored"}


def write(
    shared: Path, fresh: Path, how: str, frames: bool, own: bool = False, version: str | None = None
) -> dict[str, Any]:
    """Write ``shared/data.npy`` into an empty array; ``own``: one that iohub makes, with its codec."""
    data = load(shared)

    def everything(array: Any, pixels: Any) -> None:
        if not frames:
            array[...] = pixels
            return
        for t, c, z in _indices(pixels.shape):
            array[t, c, z] = pixels[t, c, z]

    def array_in(path: Path, template: str, shape: Any) -> Any:
        if not own:
            copy_store(shared / template, path)
            return open_array(how, path)
        position = open_iohub(path, IOHUB[how], "w-", version, shape[1])
        return position.create_zeros("0", shape=shape, dtype=data.dtype, chunks=(1, 1, 1, *shape[-2:]))

    small = data[:, :, :1, :64, :64]
    everything(array_in(fresh / "warm-up.zarr", "small.zarr", small.shape), small)
    array = array_in(fresh / "image.zarr", "empty.zarr", data.shape)
    wait_for_threads()
    found = measured(lambda: everything(array, data))
    back = RawTensorStore(fresh / "image.zarr" / "0")
    for index in _indices(data.shape):
        if not (back[index] == data[index]).all():
            raise RuntimeError(f"plane {index} is not what was written")
    return {**found, "stored": stored_nbytes(fresh / "image.zarr" / "0"), "answer": list(back.shape)}


def _indices(shape: Any) -> Any:
    import numpy as np

    return np.ndindex(*shape[:3])


def _cases(settings: Settings, frames: bool) -> list[Case]:
    edge, planes = settings.pick(2048, 256), settings.pick(32, 4)
    shape = (1, 2, planes, edge, edge)
    chunks = (1, 1, 1, edge, edge)
    size = 2 * planes * edge * edge * 2 / 2**20
    cases = []
    for version in settings.versions:
        what = {"frames": frames}

        def peers(python: str, what: Any = what, version: str = version) -> list[Entry]:
            def runs(name: str, needs: str, **more: Any) -> Entry:
                return piece(name, "peer", write, python=python, needs=needs, **what, **more)

            made = {"own": True, "version": version}
            return [
                runs("iohub", "iohub", how="iohub", **made),
                runs("iohub, zarr-python", "iohub", how="iohub, zarr-python", **made),
                runs("iohub, TensorStore", "tensorstore", how="iohub, TensorStore", **made),
                runs("iohub, TensorStore, platestore's array", "tensorstore", how="iohub, TensorStore"),
                runs("zarr-python with zarrs", "zarrs", how="zarr-python with zarrs"),
            ]

        cases.append(
            Case(
                key=version,
                title=f"{size:,.0f} MiB in {2 * planes} planes, a chunk each, OME-NGFF {version}",
                prepare=[
                    piece("data", "reference", make_data, shape=shape),
                    piece(
                        "empty",
                        "reference",
                        make_store,
                        version=version,
                        shape=shape,
                        chunks=chunks,
                        store="empty.zarr",
                        fill=False,
                    ),
                    piece(
                        "small",
                        "reference",
                        make_store,
                        version=version,
                        shape=(1, 2, 1, 64, 64),
                        chunks=(1, 1, 1, 64, 64),
                        store="small.zarr",
                        fill=False,
                    ),
                ],
                settle=True,
                entries=[
                    piece("platestore", "ours", write, how="platestore", **what),
                    piece("TensorStore", "floor", write, how="TensorStore", **what),
                    piece("TensorStore, flushed", "reference", write, how="TensorStore, flushed", **what),
                    piece("zarr-python", "reference", write, how="zarr-python", **what),
                    *peer_entries(settings, peers),
                ],
                extra=CPU,
                sizes=_SIZES,
            )
        )
    return cases


def plan(settings: Settings) -> list[Case]:
    """One case per version."""
    return _cases(settings, frames=False)


def judge(results: dict[str, Results]) -> list[Verdict]:
    """At most 1.15 times TensorStore with the same codec."""
    return [ratio_verdict(r, r.case.title, "platestore", "TensorStore", 1.15) for r in results.values()]


def plan_frames(settings: Settings) -> list[Case]:
    """One case per version."""
    return _cases(settings, frames=True)


def judge_frames(results: dict[str, Results]) -> list[Verdict]:
    """At most 0.6 s."""
    return [time_verdict(r, r.case.title, "platestore", 0.6) for r in results.values()]


_NOTE = (
    "The floor is TensorStore, used directly and told not to flush, on the very array that platestore "
    "made, so with the same codec (blosc: lz4, level 5, bitshuffle); flushed is how it comes. iohub writes "
    "an array of its own (blosc: zstd, level 1, bitshuffle), with its default implementation (zarrs) and two "
    "others, and once platestore's. Every plane is read back and compared. Memory growth is what the "
    "resident set grows while writing, beyond the data, which is in memory."
)

ROW = Row(
    name="write",
    title="Write 512 MiB at once",
    note=f"`image[...] = data`, 16-bit noise like a camera's. {_NOTE}",
    plan=plan,
    judge=judge,
)

FRAMES = Row(
    name="frames",
    title="Write 64 frames of 8 MiB, one call each",
    note=f"`image[t, c, z] = frame`; when a call returns, its frame is in the file system. {_NOTE}",
    plan=plan_frames,
    judge=judge_frames,
)
