"""Which levels of an image are taken as they are, which in part, and which are made anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from platestore.copying.selection import Pick, is_whole, level_pick, picked_shape
from platestore.errors import InvalidMetadataError, PlatestoreError
from platestore.pyramid.kernels import check_method
from platestore.spec import pyramids
from platestore.spec.axes import AxisMeta, is_spatial
from platestore.spec.geometry import Factors, next_shape, plan_factors
from platestore.spec.multiscales import MultiScaleMeta
from platestore.spec.transforms import scale_of


@dataclass(frozen=True, slots=True)
class LevelChoice:
    """The levels of one image of the copy.

    Attributes
    ----------
    picks : list of tuple of slice or of tuple of int
        What is taken of each level that is taken from the source, level 0 first.
    remade : list of tuple of int
        Factors of the levels after these, which are made anew.
    names : list of str
        Paths of all levels.
    method : str
        How levels are made anew.
    """

    picks: list[tuple[Pick, ...]]
    remade: list[Factors]
    names: list[str]
    method: str


def choose_levels(
    image: MultiScaleMeta,
    shapes: Sequence[Sequence[int]],
    picks: tuple[Pick, ...],
    *,
    levels: str,
    pyramid: int | str | None,
    method: str,
    taken: set[str],
    where: str,
) -> LevelChoice:
    """Choose the levels of the copy of one image.

    A level is cut where the part that is taken begins and ends between its pixels; from the first one
    where it does not, levels are made anew.

    Parameters
    ----------
    image : MultiScaleMeta
        The image.
    shapes : sequence
        Shapes of its levels.
    picks : tuple of slice or of tuple of int
        What is taken of level 0.
    levels : {"all", "0", "none"}
        Which levels are asked for.
    pyramid : int or "auto", optional
        Number of levels that are to be made anew.
    method : str
        How levels are made anew.
    taken : set of str
        Paths of arrays of other images.
    where : str
        The position, for errors.

    Raises
    ------
    InvalidMetadataError
        If a part is taken, and a level has another number of time points or channels than level 0.
    """
    names = [dataset.path for dataset in image.datasets]
    shape = picked_shape(picks, shapes[0])
    if pyramid is not None:
        steps = plan_factors(shape, [axis.name for axis in image.axes], pyramid)
        return LevelChoice([picks], steps, _names(names, len(steps) + 1, taken), method)
    if levels != "all":
        return LevelChoice([picks], [], names[:1], method)
    if is_whole(picks, shapes[0]):
        return LevelChoice([_whole(s) for s in shapes], [], names, method)
    factors = _cumulative(image, shapes, where)
    kept = [picks]
    if pyramids.is_whole(image):  # levels that are not up to date are made anew
        for k in range(1, len(shapes)):
            rows = zip(picks, factors[k], shapes[0], shapes[k], strict=True)
            parts = [level_pick(p, f, n0, n) if f else None for p, f, n0, n in rows]
            if any(part is None for part in parts):
                break
            kept.append(tuple(part for part in parts if part is not None))
    steps, current = [], picked_shape(kept[-1], shapes[len(kept) - 1])
    for k in range(len(kept), len(shapes)):
        step = tuple(
            1 if n == 1 else _relative(f, before)
            for f, before, n in zip(factors[k], factors[k - 1], current, strict=True)
        )
        if all(f == 1 for f in step):
            break  # nothing is left to be reduced
        steps.append(step)
        current = next_shape(current, step)
    return LevelChoice(kept, steps, names[: len(kept) + len(steps)], method)


def _whole(shape: Sequence[int]) -> tuple[Pick, ...]:
    return tuple(slice(0, n, 1) for n in shape)


def _relative(factor: int, before: int) -> int:
    return max(1, round(factor / before)) if factor and before else 2 if factor != before else 1


def _cumulative(image: MultiScaleMeta, shapes: Sequence[Sequence[int]], where: str) -> list[tuple[int, ...]]:
    """Factors from level 0 to each level; 0 where shapes and scales do not tell."""
    ndim = len(image.axes)
    scales = [scale_of(d.coordinate_transformations, ndim) for d in image.datasets]
    return [
        tuple(
            _factor(n0, n, s / s0 if s0 else 0, axis, where)
            for axis, n0, n, s0, s in zip(image.axes, shapes[0], shape, scales[0], scale, strict=True)
        )
        for shape, scale in zip(shapes, scales, strict=True)
    ]


def _factor(full: int, size: int, ratio: float, axis: AxisMeta, where: str) -> int:
    for factor in (round(ratio), 1 if full == size else 0, round(full / size)):
        if factor >= 1 and abs(ratio - factor) < 0.01 and size in (-(-full // factor), full // factor):
            return factor
    if not is_spatial(axis) and full != size:
        raise InvalidMetadataError(
            f"level 0 has {full} along {axis.name}, and another level {size}: it cannot be cut alike",
            path=where,
            hint="take level 0 only (levels=0, --levels 0), or make new levels (pyramid=, --pyramid)",
        )
    near = round(full / size)
    return near if near >= 1 and size in (-(-full // near), full // near) else 0


def method_of(image: MultiScaleMeta, dtype: str, fallback: str) -> str:
    """The method that levels were made with, as far as it is recorded and one of ours."""
    known = pyramids.described(image)
    for method in (known[0] if known is not None else None, image.type):
        if method is not None:
            try:
                check_method(method, dtype)
            except PlatestoreError:
                continue
            return method
    return fallback


def _names(names: Sequence[str], count: int, taken: set[str]) -> list[str]:
    """Paths of a new pyramid: those there are, and numbers that follow."""
    out = list(names[:count])
    base = names[0]
    for k in range(len(out), count):
        name = str(int(base) + k) if base.isdecimal() else f"{base}_level{k}"
        while name in taken or name in out:
            name += "x"
        out.append(name)
    return out
