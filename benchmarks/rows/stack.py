"""A stack of TIFF planes to a sharded volume with its pyramid: in one pass, and as stack-to-chunk does it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
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
    Noise,
    RawTensorStore,
    check_levels,
    copy_store,
    level_paths,
    make_store,
    stored_nbytes,
    wait_for_threads,
)
from benchmarks.rows.pyramid import growth_verdicts, small_store

SIZES = {"growth": "memory growth", "stored": "stored"}
_LEVELS = 4
LEVEL_0 = "platestore, level 0 alone"
_VOXEL = (0.5, 0.5, 0.5)
#: What may differ from the exact mean, per level, where decimals are cut off at each.
_CUTS = 1.5
#: Planes that are different files where a stack is only to be long.
_FILES = 16


# --- pieces -----------------------------------------------------------------------------------------


def make_planes(
    shared: Path, fresh: Path, planes: int, edge: int, files: int | None = None
) -> dict[str, Any]:
    """Preparation: ``shared/planes``, uncompressed TIFF files; beyond ``files`` they are links to these."""
    import tifffile

    noise = Noise(edge, edge)
    for folder, count, size in (("planes", planes, edge), ("small", 64, min(edge, 128))):
        (shared / folder).mkdir()
        for number in range(count):
            path = shared / folder / f"plane_{number:05d}.tif"
            if files is not None and number >= files:
                _link(shared / folder / f"plane_{number % files:05d}.tif", path)
            else:
                tifffile.imwrite(path, noise.plane(number)[:size, :size])
    return {"seconds": 0.0}


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def read_plane(path: str) -> Any:
    """A plane as (X, Y)."""
    import tifffile

    return tifffile.imread(path).T


def ingest(
    shared: Path,
    fresh: Path,
    how: str,
    chunks: Sequence[int],
    levels: int = _LEVELS,
    processes: int = 1,
    budget: int | None = None,
    tolerance: float = 0,
) -> dict[str, Any]:
    """Write the planes of ``shared`` as a volume with levels."""
    call = {"import_stack": _import_stack, "platestore": _ours, "stack-to-chunk": _stack_to_chunk}[how]

    def work(folder: Path, target: Path) -> None:
        call(sorted(map(str, folder.iterdir())), target, chunks, levels, processes, budget)

    work(shared / "small", fresh / "warm-up.zarr")
    wait_for_threads()
    target = fresh / "volume.zarr"
    found = measured(lambda: work(shared / "planes", target))
    shapes = check_volume(target, shared / "planes", levels, tolerance, transposed=how != "import_stack")
    # (Z, Y, X) or (X, Y, Z), and one level or all of them.
    return {**found, "stored": stored_nbytes(target), "answer": sorted(shapes[0][-3:])}


def _import_stack(
    files: list[str], target: Path, chunks: Sequence[int], levels: int, processes: int, budget: int | None
) -> None:
    from platestore.stacks import import_stack

    import_stack(
        files,
        target,
        voxel_size=_VOXEL,
        levels=levels,
        chunks=(1, 1, *chunks),
        max_memory=budget,
    )


def _ours(
    files: list[str], target: Path, chunks: Sequence[int], levels: int, processes: int, budget: int | None
) -> None:
    import platestore.stacks

    def spec(shape: Sequence[int]) -> Any:
        return platestore.stacks.ArraySpec(tuple(shape), "uint16", tuple(chunks))

    _documented(platestore.stacks, spec, files, target, levels, processes)


def _stack_to_chunk(
    files: list[str], target: Path, chunks: Sequence[int], levels: int, processes: int, budget: int | None
) -> None:
    import stack_to_chunk
    from pydantic_zarr.v3 import ArraySpec

    # As platestore's default: the time is not that of another codec.
    blosc = {"cname": "lz4", "clevel": 5, "shuffle": "bitshuffle", "typesize": 2, "blocksize": 0}

    def spec(shape: Sequence[int]) -> Any:
        return ArraySpec(
            shape=tuple(shape),
            data_type="uint16",
            chunk_grid={"name": "regular", "configuration": {"chunk_shape": tuple(chunks)}},
            chunk_key_encoding={"name": "default", "configuration": {"separator": "/"}},
            codecs=[
                {"name": "bytes", "configuration": {"endian": "little"}},
                {"name": "blosc", "configuration": blosc},
            ],
            storage_transformers=[],
            fill_value=0,
            attributes={},
            dimension_names=None,
        )

    _documented(stack_to_chunk, spec, files, target, levels, processes)


def _documented(package: Any, spec: Any, files: list[str], target: Path, levels: int, processes: int) -> None:
    """What stack-to-chunk's documents show."""
    import dask
    import dask.array

    first = read_plane(files[0])
    read = dask.delayed(read_plane)
    planes = [dask.array.from_delayed(read(file), first.shape, first.dtype) for file in files]
    data = dask.array.stack(planes, axis=-1)
    group = package.MultiScaleGroup(
        target, name="stack", voxel_size=_VOXEL, spatial_unit="micrometer", array_spec=spec(data.shape)
    )
    group.add_full_res_data(data, n_processes=processes)
    for level in range(1, levels):
        group.add_downsample_level(level, n_processes=processes)


def floor(shared: Path, fresh: Path, levels: int) -> dict[str, Any]:
    """Read the bytes of the planes' files, and write all levels, which are finished and in memory."""
    target = fresh / "empty.zarr"
    copy_store(shared / "empty.zarr", target)
    data = [RawTensorStore(shared / "done.zarr" / str(k))[...] for k in range(levels)]
    files = sorted((shared / "planes").iterdir())

    def work() -> None:
        for file in files:
            file.read_bytes()
        for k, level in enumerate(data):
            RawTensorStore(target / str(k))[...] = level

    _ = RawTensorStore(shared / "small.zarr" / "0")[...]
    wait_for_threads()
    return {**measured(work), "stored": stored_nbytes(target)}


def check_volume(store: Path, planes: Path, levels: int, tolerance: float, transposed: bool) -> list[Any]:
    """Hold all of level 0 against the planes, and windows of the others against exact means."""
    import numpy as np
    import tifffile

    array = RawTensorStore(store / level_paths(store)[0])
    shape, before = array.shape[-3:], (0,) * (len(array.shape) - 3)
    files = sorted(planes.iterdir())
    if shape[2 if transposed else 0] != len(files):
        raise RuntimeError(f"{store} has the shape {array.shape}, and there are {len(files)} planes")
    for start in range(0, len(files), 32):
        part = slice(start, min(start + 32, len(files)))
        box = (slice(None), slice(None), part) if transposed else (part,)
        slab = array[(*before, *box)]
        for number, plane in enumerate(np.moveaxis(slab, 2, 0) if transposed else slab, start):
            wanted = tifffile.imread(files[number])
            if not (plane == (wanted.T if transposed else wanted)).all():
                raise RuntimeError(f"{store}: plane {number} is not what {files[number]} holds")
    factors = [[*(1 for _ in before), 2, 2, 2]] * (levels - 1)
    return check_levels(store, factors, tolerance, array.shape) if factors else [list(array.shape)]


# --- side by side -----------------------------------------------------------------------------------


def _work(planes: int, edge: int, chunks: Sequence[int]) -> tuple[str, dict[str, Any]]:
    """Title, and what the preparation is told."""
    size = f"{planes * edge * edge * 2 / 2**20:,.0f} MiB"
    chunk = " × ".join(map(str, chunks))
    return f"{size}: {planes:,} planes of {edge} × {edge}, chunks of {chunk}", {
        "planes": planes,
        "edge": edge,
    }


def plan(settings: Settings) -> list[Case]:
    """One case; the volumes are OME-NGFF 0.5."""
    if "0.5" not in settings.versions:
        return []
    edge, planes, inner = settings.pick(1024, 128), settings.pick(256, 64), settings.pick(64, 32)
    chunks = [inner] * 3
    title, made = _work(planes, edge, chunks)
    layout = {
        "version": "0.5",
        "shape": [1, 1, planes, edge, edge],
        "chunks": [1, 1, *chunks],
        "shards": [1, 1, inner, edge, edge],
        "levels": _LEVELS,
    }

    def runs(python: str) -> list[Entry]:
        return [
            piece(
                f"stack-to-chunk, {_count(n)}",
                "peer",
                ingest,
                python=python,
                needs="stack-to-chunk",
                how="stack-to-chunk",
                chunks=chunks,
                processes=n,
                tolerance=_CUTS,
            )
            for n in (1, 2)
        ]

    return [
        Case(
            key="stack",
            title=title,
            prepare=[
                piece("planes", "reference", make_planes, **made),
                small_store("0.5"),
                piece("done", "reference", make_store, store="done.zarr", **layout),
                piece("empty", "reference", make_store, store="empty.zarr", fill=False, **layout),
            ],
            settle=True,
            entries=[
                piece("platestore", "ours", ingest, how="import_stack", chunks=chunks),
                piece(LEVEL_0, "ours", ingest, how="import_stack", chunks=chunks, levels=1),
                *(
                    piece(
                        f"platestore, MultiScaleGroup, {_count(n)}",
                        "ours",
                        ingest,
                        how="platestore",
                        chunks=chunks,
                        processes=n,
                    )
                    for n in (1, 2)
                ),
                piece("floor", "floor", floor, levels=_LEVELS),
                *peer_entries(settings, runs),
            ],
            extra=CPU,
            sizes=SIZES,
        )
    ]


def _count(processes: int) -> str:
    return "1 process" if processes == 1 else f"{processes} processes"


def judge(results: dict[str, Results]) -> list[Verdict]:
    """1.2 s in one pass or with the documented calls; the pyramid costs a quarter more at most."""
    verdicts = []
    for r in results.values():
        verdicts.append(time_verdict(r, r.case.title, "platestore", 1.2))
        group = "platestore, MultiScaleGroup, 2 processes"
        verdicts.append(time_verdict(r, f"{r.case.title}, MultiScaleGroup", group, 1.2))
        verdicts.append(ratio_verdict(r, "with its pyramid", "platestore", LEVEL_0, 1.25))
    return verdicts


ROW = Row(
    name="stack",
    title="Stack of planes to a sharded volume with 3 further levels",
    note=(
        "Uncompressed TIFF files of 16-bit noise, in the page cache. `import_stack(files, target, levels=4)` "
        "reads each once and writes all levels in that pass. `MultiScaleGroup` of platestore and of "
        "stack-to-chunk is given the same dask array of transposed planes (x, y, z) and the same codec, and "
        "is called as documented: `add_full_res_data`, then `add_downsample_level` thrice. A shard is a slab "
        "of planes. The floor reads the bytes of the files and forgets them, and writes finished levels with "
        "TensorStore into arrays that are there. All of level 0 is compared with the planes, and windows of "
        "the others with exact means (stack-to-chunk's, which cuts decimals off, with 1.5 grey levels of "
        "tolerance for each). Memory growth is that of the calling process alone."
    ),
    plan=plan,
    judge=judge,
)


# --- deeper than the budget -------------------------------------------------------------------------

BUDGET = 128 * 2**20


def plan_memory(settings: Settings) -> list[Case]:
    """Two stacks, one eight times as deep as the other."""
    if "0.5" not in settings.versions:
        return []
    edge, chunks = settings.pick(1024, 128), [32, 128, 128]
    few, many = settings.pick(128, 32), settings.pick(1024, 64)
    cases = []
    for planes in (few, many):
        title, made = _work(planes, edge, chunks)
        work = {"chunks": chunks}

        def runs(python: str) -> list[Entry]:
            return [
                piece(
                    "stack-to-chunk, 1 process",
                    "peer",
                    ingest,
                    python=python,
                    needs="stack-to-chunk",
                    how="stack-to-chunk",
                    chunks=chunks[::-1],
                    tolerance=_CUTS,
                )
            ]

        cases.append(
            Case(
                key=str(planes),
                title=title,
                prepare=[piece("planes", "reference", make_planes, files=_FILES, **made)],
                settle=True,
                entries=[
                    piece("platestore", "ours", ingest, how="import_stack", budget=BUDGET, **work),
                    piece("platestore, max_memory 1 GiB", "ours", ingest, how="import_stack", **work),
                    piece(
                        "platestore, MultiScaleGroup, 1 process",
                        "ours",
                        ingest,
                        how="platestore",
                        chunks=chunks[::-1],
                    ),
                    *(peer_entries(settings, runs) if planes == few else []),
                ],
                rounds=0.3,
                extra=CPU,
                sizes=SIZES,
            )
        )
    return cases


def judge_memory(results: dict[str, Results]) -> list[Verdict]:
    """The budget, and a tenth."""
    return [
        verdict
        for r in results.values()
        for verdict in growth_verdicts(r, f"memory growth, {r.case.title}", "platestore", BUDGET)
    ]


MEMORY = Row(
    name="stack-memory",
    title="Stack of planes within 128 MiB",
    note=(
        '`import_stack(files, target, levels=4, max_memory="128MiB")`: the deeper stack is 16 times as '
        "large. Memory growth is what the resident set of the process grows at most since the call, as the "
        "system counts it. `MultiScaleGroup` is told no limit: platestore's keeps to 1 GiB, and "
        "stack-to-chunk's holds a slab of planes for each process. stack-to-chunk is left out for the deeper "
        "stack, where its time grows faster than the depth (160 s once)."
    ),
    plan=plan_memory,
    judge=judge_memory,
)
