"""Make the levels of a pyramid: of an image that is on disk, and together with one from memory."""

from __future__ import annotations

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
    growth_verdict,
    peer_entries,
    piece,
    ratio_verdict,
    time_verdict,
)
from benchmarks.memory import CPU, measured
from benchmarks.pixels import (
    IOHUB,
    RawTensorStore,
    check_levels,
    copy_store,
    level_paths,
    load,
    make_data,
    make_iohub_store,
    make_store,
    open_iohub,
    stored_nbytes,
    wait_for_threads,
)

SIZES = {"growth": "memory growth", "stored": "levels stored"}
#: What a program may differ from the exact mean, per level: half a unit of rounding, or a whole one cut off.
_CUTS = 1.5
DEFAULT_BUDGET = 2**30


# --- pieces -----------------------------------------------------------------------------------------


def build(
    shared: Path,
    fresh: Path,
    how: str,
    factors: Sequence[Sequence[int]],
    shape: Sequence[int],
    store: str = "image.zarr",
    dims: Sequence[str] | None = None,
    budget: int | None = None,
    tolerance: float = 0,
) -> dict[str, Any]:
    """Compute the levels of a store of ``shared`` in a copy."""
    levels = len(factors) + 1

    def work(path: Path) -> None:
        if how == "platestore":
            from platestore import open_ome_zarr

            with open_ome_zarr(path, mode="r+") as position:
                position.compute_pyramid(levels=levels, dims=dims, max_memory=budget)
        else:
            with open_iohub(path, IOHUB[how], "r+") as position:
                position.compute_pyramid(levels=levels, dims=None if dims is None else set(dims))

    for name in ("small.zarr", store):
        copy_store(shared / name, fresh / name)
    work(fresh / "small.zarr")
    wait_for_threads()
    found = measured(lambda: work(fresh / store))
    stored = sum(stored_nbytes(fresh / store / path) for path in level_paths(fresh / store)[1:])
    answer = check_levels(fresh / store, factors, tolerance, shape)
    return {**found, "stored": stored, "answer": answer}


def floor(shared: Path, fresh: Path, levels: int, from_disk: bool) -> dict[str, Any]:
    """Read level 0 and forget it (or write it), and write the other levels, which are there already."""
    done, target = shared / "done.zarr", fresh / "empty.zarr"
    copy_store(shared / "empty.zarr", target)
    data = [RawTensorStore(done / str(k))[...] for k in range(1, levels)]
    first = None if from_disk else load(shared)

    def work() -> None:
        if first is None:
            source = RawTensorStore(done / "0")
            unit = source.handle.chunk_layout.read_chunk.shape
            step = max(unit[2], 8)
            for start in range(0, source.shape[2], step):
                _ = source[:, :, start : start + step]
        else:
            level_0 = RawTensorStore(target / "0")
            level_0[...] = first.reshape(level_0.shape)
        for k, level in enumerate(data, 1):
            RawTensorStore(target / str(k))[...] = level

    small = shared / "small.zarr" / "0"
    _ = RawTensorStore(small)[...]
    wait_for_threads()
    return measured(work)


def create(
    shared: Path,
    fresh: Path,
    how: str,
    version: str,
    factors: Sequence[Sequence[int]],
    chunks: Sequence[int],
    shards: Sequence[int] | None,
    tolerance: float = 0,
) -> dict[str, Any]:
    """Write ``shared/data.npy`` as an image with all its levels."""
    data = load(shared)
    call = {
        "platestore": _create_platestore,
        "ngff-zarr": _create_ngff_zarr,
        "ome-zarr": _create_ome_zarr,
    }.get(how, _create_iohub)

    def work(path: Path, pixels: Any) -> None:
        call(path, pixels, how, version, factors, chunks, shards)

    small = data[:, :, : chunks[2], : chunks[3], : chunks[4]].copy()
    if shards is not None:
        small = data[tuple(slice(0, n) for n in shards)][:, :, :, : 2 * chunks[3], : 2 * chunks[4]].copy()
    work(fresh / "warm-up.zarr", small)
    wait_for_threads()
    target = fresh / "image.zarr"
    found = measured(lambda: work(target, data))
    # Members of a position, or of whatever group the program made: all that holds pixels.
    answer = check_levels(target, factors, tolerance, data.shape)
    return {**found, "stored": stored_nbytes(target), "answer": answer}


def _create_platestore(
    path: Path, data: Any, how: str, version: str, factors: Any, chunks: Any, shards: Any
) -> None:
    from platestore import open_ome_zarr

    channels = [f"channel {c}" for c in range(data.shape[1])]
    chunks = [min(n, c) for n, c in zip(data.shape, chunks, strict=True)]
    shards = shards and [min(n, s) for n, s in zip(data.shape, shards, strict=True)]
    with open_ome_zarr(path, layout="fov", mode="w-", channel_names=channels, version=version) as position:
        position.create_image("0", data, chunks=chunks, shards=shards, pyramid_levels=len(factors) + 1)


def _create_iohub(
    path: Path, data: Any, how: str, version: str, factors: Any, chunks: Any, shards: Any
) -> None:
    chunks = tuple(min(n, c) for n, c in zip(data.shape, chunks, strict=True))
    ratio = shards and tuple(min(n, s) // c for n, s, c in zip(data.shape, shards, chunks, strict=True))
    with open_iohub(path, IOHUB[how], "w-", version, data.shape[1]) as position:
        position.create_image("0", data, chunks=chunks, shards_ratio=ratio)
        position.compute_pyramid(levels=len(factors) + 1)


def _create_ngff_zarr(
    path: Path, data: Any, how: str, version: str, factors: Any, chunks: Any, shards: Any
) -> None:
    import ngff_zarr

    image = ngff_zarr.to_ngff_image(data, dims=list("tczyx"))
    multiscales = ngff_zarr.to_multiscales(
        image,
        scale_factors=_spatial(factors),
        method=ngff_zarr.Methods.ITKWASM_BIN_SHRINK,
        chunks=dict(zip("tczyx", chunks, strict=True)),
    )
    ratio = shards and {
        name: min(n, s) // min(n, c)
        for name, n, s, c in zip("tczyx", data.shape, shards, chunks, strict=True)
    }
    ngff_zarr.to_ngff_zarr(str(path), multiscales, version=version, chunks_per_shard=ratio)


def _create_ome_zarr(
    path: Path, data: Any, how: str, version: str, factors: Any, chunks: Any, shards: Any
) -> None:
    import zarr
    from ome_zarr.format import format_from_version
    from ome_zarr.scale import Methods
    from ome_zarr.writer import write_image

    options: dict[str, Any] = {"chunks": tuple(chunks)}
    if shards is not None:
        options["shards"] = tuple(shards)
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    write_image(
        data,
        group,
        scale_factors=_spatial(factors),
        method=Methods.LOCAL_MEAN,
        fmt=format_from_version(version),
        axes="tczyx",
        storage_options=options,
    )


def _spatial(factors: Any) -> list[dict[str, int]]:
    """Factors of each level relative to level 0, of the axes in space."""
    total, out = [1] * len(factors[0]), []
    for step in factors:
        total = [t * f for t, f in zip(total, step, strict=True)]
        out.append(dict(zip("zyx", total[2:], strict=True)))
    return out


# --- cases ------------------------------------------------------------------------------------------


def _layouts(settings: Settings) -> list[tuple[str, str, list[int], list[int], list[int] | None]]:
    """Key, title, shape, chunks and shards."""
    edge, planes, inner = settings.pick(2048, 256), settings.pick(64, 16), settings.pick(256, 64)
    shape = [1, 1, planes, edge, edge]
    size = f"{planes * edge * edge * 2 / 2**20:,.0f} MiB"
    depth = min(32, planes)
    out: list[tuple[str, str, list[int], list[int], list[int] | None]] = [
        (version, f"{size}, a chunk per plane, OME-NGFF {version}", shape, [1, 1, 1, edge, edge], None)
        for version in settings.versions
    ]
    if "0.5" in settings.versions:
        title = f"{size}, chunks of {depth} × {inner} × {inner} in one shard, OME-NGFF 0.5"
        out.append(("0.5 sharded", title, shape, [1, 1, depth, inner, inner], list(shape)))
    return out


def small_store(version: str) -> Entry:
    """Preparation: a store to warm up with."""
    return piece(
        "small",
        "reference",
        make_store,
        version=version,
        shape=(1, 1, 16, 64, 64),
        chunks=(1, 1, 8, 64, 64),
        store="small.zarr",
    )


def plan(settings: Settings) -> list[Case]:
    """Planes in both versions, and chunks in a shard."""
    factors = [[1, 1, 2, 2, 2]] * 3
    cases = []
    for key, title, shape, chunks, shards in _layouts(settings):
        version = key.split()[0]
        layout = {"version": version, "shape": shape, "chunks": chunks, "shards": shards}
        prepare = [
            piece("data", "reference", make_data, shape=shape),
            small_store(version),
            piece("image", "reference", make_store, pixels="data", **layout),
            piece("done", "reference", make_store, pixels="data", levels=4, store="done.zarr", **layout),
            piece("empty", "reference", make_store, fill=False, levels=4, store="empty.zarr", **layout),
        ]
        ratio = None if shards is None else [s // c for s, c in zip(shards, chunks, strict=True)]
        prepare += peer_entries(
            settings,
            lambda python, version=version, chunks=chunks, ratio=ratio: [
                piece(
                    "iohub's image",
                    "reference",
                    make_iohub_store,
                    python=python,
                    needs="iohub",
                    version=version,
                    chunks=chunks,
                    ratio=ratio,
                )
            ],
        )
        work = {"factors": factors, "shape": shape}

        def peers(python: str, work: Any = work) -> list[Entry]:
            def runs(name: str, how: str, needs: str = "iohub", **more: Any) -> Entry:
                return piece(name, "peer", build, python=python, needs=needs, how=how, **work, **more)

            return [
                runs("iohub, TensorStore", "iohub, TensorStore", "tensorstore", store="iohub.zarr"),
                runs("iohub, TensorStore, platestore's image", "iohub, TensorStore", "tensorstore"),
                runs("iohub", "iohub", store="iohub.zarr", tolerance=_CUTS),
            ]

        has_iohub = settings.peer_python is not None and "iohub" in settings.peer_packages
        cases.append(
            Case(
                key=key,
                title=title,
                prepare=prepare,
                settle=True,
                entries=[
                    piece("platestore", "ours", build, how="platestore", **work),
                    piece("floor", "floor", floor, levels=4, from_disk=True),
                    piece(
                        "platestore, max_memory 128 MiB",
                        "ours",
                        build,
                        how="platestore",
                        budget=2**27,
                        **work,
                    ),
                    *(
                        [
                            piece(
                                "platestore, iohub's image",
                                "ours",
                                build,
                                how="platestore",
                                store="iohub.zarr",
                                **work,
                            )
                        ]
                        if has_iohub
                        else []
                    ),
                    *peer_entries(settings, peers),
                ],
                extra=CPU,
                sizes=SIZES,
            )
        )
    return cases


def judge(results: dict[str, Results]) -> list[Verdict]:
    """0.65 times iohub with TensorStore on the same data; memory as stated, and a tenth."""
    verdicts = []
    for r in results.values():
        for ours, base in (
            ("platestore", "iohub, TensorStore"),
            ("platestore", "iohub, TensorStore, platestore's image"),
            ("platestore, iohub's image", "iohub, TensorStore"),
        ):
            if ours in r and base in r:
                what = r.case.title + ours.removeprefix("platestore")
                verdicts.append(ratio_verdict(r, what, ours, base, 0.65))
        for ours, budget in (("platestore", DEFAULT_BUDGET), ("platestore, max_memory 128 MiB", 2**27)):
            what = f"memory growth, {r.case.title}, max_memory {budget >> 20} MiB"
            verdicts += growth_verdicts(r, what, ours, budget)
    return verdicts


def growth_verdicts(r: Results, what: str, entry: str, budget: int) -> list[Verdict]:
    """The budget and a tenth, where the system tells how much a process grew."""
    known = entry in r and all("growth" in sample.extra for sample in r.samples[entry])
    return [growth_verdict(r, what, entry, budget + budget // 10)] if known else []


ROW = Row(
    name="pyramid",
    title="Pyramid of 512 MiB, 4 levels",
    note=(
        "2 × 2 × 2 means of 16-bit noise like a camera's, level 0 on disk already; opening the store is "
        "in the time. platestore's levels have the codec of level 0: its own images blosc-lz4, iohub's "
        "blosc-zstd, level 1. iohub's levels are blosc-zstd in 0.5, whatever level 0 is. Its TensorStore "
        "does not flush. The floor reads level 0 with TensorStore, forgets it, and writes finished levels "
        "that it has in memory. Windows of all levels are held against the exact means (iohub's default, "
        "which cuts decimals off at each level, with 1.5 per level of tolerance). Memory growth is what the "
        "resident set grows since the call."
    ),
    plan=plan,
    judge=judge,
)


def plan_create(settings: Settings) -> list[Case]:
    """Planes in both versions, and chunks in a shard."""
    factors = [[1, 1, 2, 2, 2]] * 3
    cases = []
    for key, title, shape, chunks, shards in _layouts(settings):
        version = key.split()[0]
        work = {"version": version, "factors": factors, "chunks": chunks, "shards": shards}
        layout = {"version": version, "shape": shape, "chunks": chunks, "shards": shards}

        def peers(python: str, work: Any = work) -> list[Entry]:
            def runs(name: str, needs: str, tolerance: float = 0) -> Entry:
                return piece(
                    name, "peer", create, python=python, needs=needs, how=name, tolerance=tolerance, **work
                )

            return [
                runs("iohub, TensorStore", "tensorstore"),
                runs("iohub", "iohub", _CUTS),
                runs("ngff-zarr", "ngff-zarr", _CUTS),
                runs("ome-zarr", "ome-zarr", _CUTS),
            ]

        cases.append(
            Case(
                key=key,
                title=title,
                prepare=[
                    piece("data", "reference", make_data, shape=shape),
                    small_store(version),
                    piece(
                        "done", "reference", make_store, pixels="data", levels=4, store="done.zarr", **layout
                    ),
                    piece(
                        "empty", "reference", make_store, fill=False, levels=4, store="empty.zarr", **layout
                    ),
                ],
                settle=True,
                entries=[
                    piece("platestore", "ours", create, how="platestore", **work),
                    piece("floor", "floor", floor, levels=4, from_disk=False),
                    *peer_entries(settings, peers),
                ],
                extra=CPU,
                sizes={**SIZES, "stored": "stored"},
            )
        )
    return cases


def judge_create(results: dict[str, Results]) -> list[Verdict]:
    """0.7 s, and memory as stated."""
    verdicts = []
    for r in results.values():
        verdicts.append(time_verdict(r, r.case.title, "platestore", 0.7))
        verdicts += growth_verdicts(r, f"memory growth, {r.case.title}", "platestore", DEFAULT_BUDGET)
    return verdicts


CREATE = Row(
    name="image-pyramid",
    title="Image and pyramid from memory, 512 MiB, 4 levels",
    note=(
        "`create_image(..., pyramid_levels=4)` of 16-bit noise in a new position; making the store is in the "
        "time. The floor writes all levels, finished and in memory, with TensorStore, into arrays that are "
        "there. Peers use 2 × 2 × 2 means (ngff-zarr: bin shrink; ome-zarr: local mean), the same "
        "chunks and shards, and their own codecs. Memory growth is beyond the data, which is in memory."
    ),
    plan=plan_create,
    judge=judge_create,
)
