"""From an array in memory to a multiscale image, with the calls that ngff-zarr documents: means, gaussian."""

from __future__ import annotations

import itertools
import math
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
    IOHUB,
    RawTensorStore,
    check_levels,
    level_paths,
    load,
    make_data,
    make_store,
    open_iohub,
    stored_nbytes,
    wait_for_threads,
)
from benchmarks.rows.pyramid import DEFAULT_BUDGET, floor, growth_verdicts, small_store

_SIZES = {"growth": "memory growth", "stored": "stored"}
_STEP = [2, 2, 2]
_LEVELS = 4
_DIMS = "zyx"
#: What a peer's mean may differ from the exact one, per level: half a unit of rounding, or one cut off.
_CUTS = 1.5
#: Packages that ngff-zarr's methods need beside it.
_NEEDS = {"ITKWASM": "itkwasm-downsample", "ITK": "itk", "DASK_IMAGE": "dask-image", "DASK": "ngff-zarr"}


# --- pieces -----------------------------------------------------------------------------------------


def create(
    shared: Path,
    fresh: Path,
    how: str,
    version: str,
    method: str,
    chunks: Sequence[int] | None,
    shards: Sequence[int] | None,
    tolerance: float = 0,
    middle: float = 0.5,
) -> dict[str, Any]:
    """Write ``shared/data.npy``, a volume (Z, Y, X), as an image with all its levels."""
    data = load(shared)
    call = _DOORS.get(how.partition(",")[0], _iohub)
    if how == "platestore, create_image":
        call = _create_image

    def work(path: Path, pixels: Any) -> None:
        inner = chunks and [min(n, c) for n, c in zip(pixels.shape, chunks, strict=True)]
        outer = shards and [min(n, s) for n, s in zip(pixels.shape, shards, strict=True)]
        call(path, pixels, how, version, method, inner, outer)

    work(fresh / "warm-up.zarr", data[:, : 2 * 128, : 2 * 128].copy())
    wait_for_threads()
    target = fresh / "image.zarr"
    found = measured(lambda: work(target, data))
    factors = [_STEP] * (_LEVELS - 1)
    if how.startswith(("platestore, create_image", *IOHUB)):
        factors = [[1, 1, *step] for step in factors]
    if "gaussian" in method.lower():
        shapes = check_gaussian(target, tolerance, middle)
    else:
        shapes = check_levels(target, factors, tolerance, [*[1] * (len(factors[0]) - 3), *data.shape])
    return {**found, "stored": stored_nbytes(target), "answer": [shape[-3:] for shape in shapes]}


def _documented(
    package: Any, path: Path, data: Any, version: str, method: str, chunks: Any, ratio: Any
) -> None:
    """What the documents show."""
    image = package.to_ngff_image(
        data,
        dims=list(_DIMS),
        scale={"z": 2.0, "y": 0.5, "x": 0.5},
        translation=dict.fromkeys(_DIMS, 0.0),
        name="image",
    )
    multiscales = package.to_multiscales(
        image,
        scale_factors=[2**k for k in range(1, _LEVELS)],
        method=package.Methods[method],
        chunks=chunks and dict(zip(_DIMS, chunks, strict=True)),
    )
    package.to_ngff_zarr(str(path), multiscales, version=version, chunks_per_shard=ratio)


def _ratio(chunks: Any, shards: Any) -> dict[str, int] | None:
    return shards and {d: s // c for d, s, c in zip(_DIMS, shards, chunks, strict=True)}


def _platestore(path: Path, data: Any, how: str, version: str, method: str, chunks: Any, shards: Any) -> None:
    import platestore.multiscales

    _documented(platestore.multiscales, path, data, version, method, chunks, _ratio(chunks, shards))


def _ngff_zarr(path: Path, data: Any, how: str, version: str, method: str, chunks: Any, shards: Any) -> None:
    import ngff_zarr

    _documented(ngff_zarr, path, data, version, how.rpartition(" ")[2], chunks, _ratio(chunks, shards))


def _create_image(
    path: Path, data: Any, how: str, version: str, method: str, chunks: Any, shards: Any
) -> None:
    from platestore import open_ome_zarr

    chunks = [min(128, n) for n in data.shape] if chunks is None else chunks
    kind = "gaussian" if "GAUSSIAN" in method else "mean"
    with open_ome_zarr(
        path, layout="fov", mode="w-", channel_names=["channel 0"], version=version
    ) as position:
        position.create_image(
            "0",
            data[None, None],
            chunks=[1, 1, *chunks],
            shards=shards and [1, 1, *shards],
            pyramid_levels=_LEVELS,
            pyramid_method=kind,
        )


def _iohub(path: Path, data: Any, how: str, version: str, method: str, chunks: Any, shards: Any) -> None:
    chunks = [min(128, n) for n in data.shape] if chunks is None else chunks
    ratio = shards and (1, 1, *(s // c for s, c in zip(shards, chunks, strict=True)))
    with open_iohub(path, IOHUB[how], "w-", version) as position:
        position.create_image("0", data[None, None], chunks=(1, 1, *chunks), shards_ratio=ratio)
        position.compute_pyramid(levels=_LEVELS)


_DOORS = {"platestore": _platestore, "ngff-zarr": _ngff_zarr}


# --- the gaussian, in a slow and plain way ----------------------------------------------------------


def check_gaussian(store: Path, tolerance: float, middle: float) -> list[Any]:
    """Hold boxes of each level against gaussian means of the level above; returns the levels' shapes.

    ``tolerance`` is the mean difference in a box that is let pass, besides the rounding of its pixels, and
    ``middle`` where a window of two has its middle.
    """
    import numpy as np

    arrays = [RawTensorStore(store / path) for path in level_paths(store)]
    rng = np.random.default_rng(5)
    for above, level in itertools.pairwise(arrays):
        shape, before = level.shape[-3:], (0,) * (len(level.shape) - 3)
        for corner in (0, 1, None, None, None):
            last = [max(0, n - w) for n, w in zip(shape, (4, 24, 24), strict=True)]
            start = [int(rng.integers(0, n + 1)) if corner is None else corner * n for n in last]
            box = tuple(slice(s, s + min(n, w)) for s, n, w in zip(start, shape, (4, 24, 24), strict=True))
            difference = np.abs(level[(*before, *box)] - _gaussian(above, box, middle))
            if difference.max() > 0.51 + 8 * tolerance or difference.mean() > 0.3 + tolerance:
                worst = f"{difference.mean():.2f} in the mean, at most {difference.max():.2f}"
                raise RuntimeError(f"{store}: the level {shape} differs by {worst}, at {box}")
    return [list(a.shape) for a in arrays]


def _gaussian(above: Any, box: Sequence[slice], middle: float) -> Any:
    """Gaussian means around the middles of the windows of a box, edges repeated, in 64-bit floats."""
    import numpy as np

    width = math.sqrt((2**2 - 1) / (8 * math.log(2)))
    reach = math.ceil(4 * width)
    spans = [np.arange(2 * b.start - reach, 2 * b.stop + reach) for b in box]
    inner = [np.clip(span, 0, n - 1) for span, n in zip(spans, above.shape[-3:], strict=True)]
    place = (0,) * (len(above.shape) - 3), (slice(int(i[0]), int(i[-1]) + 1) for i in inner)
    pixels = above[(*place[0], *place[1])].astype(np.float64)
    pixels = pixels[np.ix_(*(i - i[0] for i in inner))]
    for axis, (span, b) in enumerate(zip(spans, box, strict=True)):
        distance = span[None, :] - (np.arange(b.start, b.stop)[:, None] * 2 + middle)
        weights = np.where(abs(distance) <= 4 * width, np.exp(-(distance**2) / (2 * width**2)), 0)
        weights /= weights.sum(axis=1, keepdims=True)
        pixels = np.moveaxis(np.tensordot(weights, pixels, (1, axis)), 0, axis)
    return pixels


# --- cases ------------------------------------------------------------------------------------------


def _layouts(settings: Settings) -> list[tuple[str, str, list[int], list[int] | None, list[int] | None]]:
    """Key, title, shape, chunks and shards of the volume."""
    edge, planes, inner = settings.pick(2048, 256), settings.pick(64, 32), settings.pick(256, 64)
    shape = [planes, edge, edge]
    size = f"{planes * edge * edge * 2 / 2**20:,.0f} MiB"
    out: list[tuple[str, str, list[int], list[int] | None, list[int] | None]] = [
        (version, f"{size}, chunks as by default, OME-NGFF {version}", shape, None, None)
        for version in settings.versions
    ]
    if "0.5" in settings.versions:
        chunks = [planes // 2, inner, inner]
        title = f"{size}, chunks of {chunks[0]} × {inner} × {inner} in one shard, OME-NGFF 0.5"
        out.append(("0.5 sharded", title, shape, chunks, shape))
    return out


def _case(settings: Settings, layout: Any, method: str, peers: Sequence[dict[str, Any]]) -> Case:
    """Ours by both doors, the floor, and peers, by what :func:`create` is told of them."""
    key, title, shape, chunks, shards = layout
    version = key.split()[0]
    work: dict[str, Any] = {"version": version, "method": method, "chunks": chunks, "shards": shards}
    kind = {
        "version": version,
        "shape": [1, 1, *shape],
        "chunks": [1, 1, *(chunks or [min(n, 128) for n in shape])],
        "shards": shards and [1, 1, *shards],
        "levels": _LEVELS,
    }

    def runs(python: str) -> list[Entry]:
        return [piece(peer["how"], "peer", create, python=python, **{**work, **peer}) for peer in peers]

    return Case(
        key=key,
        title=title,
        prepare=[
            piece("data", "reference", make_data, shape=shape),
            small_store(version),
            piece("done", "reference", make_store, pixels="data", store="done.zarr", **kind),
            piece("empty", "reference", make_store, fill=False, store="empty.zarr", **kind),
        ],
        settle=True,
        entries=[
            piece("platestore", "ours", create, how="platestore", **work),
            piece("platestore, create_image", "ours", create, how="platestore, create_image", **work),
            piece("floor", "floor", floor, levels=_LEVELS, from_disk=False),
            *peer_entries(settings, runs),
        ],
        extra=CPU,
        sizes=_SIZES,
    )


def _of_ngff_zarr(method: str, tolerance: float, middle: float = 0.5) -> dict[str, Any]:
    """An entry of ngff-zarr."""
    needs = next(package for prefix, package in _NEEDS.items() if method.startswith(f"{prefix}_"))
    return {"how": f"ngff-zarr, {method}", "needs": needs, "tolerance": tolerance, "middle": middle}


def plan(settings: Settings) -> list[Case]:
    """Default chunks in both versions, and chunks in a shard."""
    peers = [
        _of_ngff_zarr("ITKWASM_BIN_SHRINK", _CUTS),
        _of_ngff_zarr("ITK_BIN_SHRINK", _CUTS),
        _of_ngff_zarr("DASK_BIN_SHRINK", _CUTS),
        {"how": "iohub, TensorStore", "needs": "iohub"},
        {"how": "iohub", "needs": "iohub", "tolerance": _CUTS},
    ]
    return [_case(settings, layout, "ITKWASM_BIN_SHRINK", peers) for layout in _layouts(settings)]


def judge(results: dict[str, Results]) -> list[Verdict]:
    """0.7 s by either door, and memory as stated."""
    verdicts = []
    for r in results.values():
        for name in ("platestore", "platestore, create_image"):
            what = r.case.title + name.removeprefix("platestore")
            verdicts.append(time_verdict(r, what, name, 0.7))
            verdicts += growth_verdicts(r, f"memory growth, {what}", name, DEFAULT_BUDGET)
    return verdicts


ROW = Row(
    name="multiscales",
    title="Volume in memory to a multiscale image, 512 MiB, 4 levels",
    note=(
        "`to_ngff_zarr(path, to_multiscales(image, [2, 4, 8], method=Methods.ITKWASM_BIN_SHRINK))` of a "
        "volume (Z, Y, X) of 16-bit noise, by platestore and by ngff-zarr (three of its methods), and "
        "`create_image(..., pyramid_levels=4)` in a new position. iohub creates the image and then computes "
        "its pyramid. The floor writes all levels, finished and in memory, with TensorStore, into arrays "
        "that are there. Each writes with the codec that is its default. Windows of all levels are held "
        "against the exact means. Memory growth is beyond the data, which is in memory."
    ),
    plan=plan,
    judge=judge,
)


def plan_gaussian(settings: Settings) -> list[Case]:
    """Default chunks, in the latest version that is asked for."""
    peers = [
        _of_ngff_zarr("ITKWASM_GAUSSIAN", 2),
        _of_ngff_zarr("ITK_GAUSSIAN", 4, middle=0),
        _of_ngff_zarr("DASK_IMAGE_GAUSSIAN", 2, middle=0),
    ]
    layouts = [layout for layout in _layouts(settings) if layout[0] == settings.versions[-1]]
    return [_case(settings, layout, "ITKWASM_GAUSSIAN", peers) for layout in layouts]


def judge_gaussian(results: dict[str, Results]) -> list[Verdict]:
    """A fifth of the time of the fastest of ngff-zarr's methods, and memory as stated."""
    verdicts = []
    for r in results.values():
        peers = [e.name for e in r.case.entries if e.role == "peer" and e.name in r]
        for name in ("platestore", "platestore, create_image"):
            what = r.case.title + name.removeprefix("platestore")
            if peers:
                verdicts.append(ratio_verdict(r, what, name, min(peers, key=r.median), 0.2))
            verdicts += growth_verdicts(r, f"memory growth, {what}", name, DEFAULT_BUDGET)
    return verdicts


GAUSSIAN = Row(
    name="gaussian",
    title="Gaussian pyramid of 512 MiB, 4 levels",
    note=(
        "As above with `Methods.ITKWASM_GAUSSIAN`, the documented default; ngff-zarr also with its native "
        "and its dask-image variant. The floor writes finished levels (of means). Boxes of each level are "
        "held against gaussian means of the level above it, computed in 64-bit floats: platestore's exactly, "
        "but for rounding; ngff-zarr's default within 2 grey levels in the mean, since it smooths otherwise. "
        "**Its two other variants take every second pixel of the smoothed image, half a pixel beside where "
        "their metadata place it**, and are held against that, within 4 and 2 grey levels."
    ),
    plan=plan_gaussian,
    judge=judge_gaussian,
)
