"""Shapes, factors, scales and offsets of levels: one place for data and metadata."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from platestore.errors import ArgumentError, InvalidMetadataError
from platestore.spec.axes import AxisMeta, is_spatial
from platestore.spec.transforms import TransformationMeta, scale_of, translation_of

#: Factors of one step: per axis name, or one per axis.
Step: TypeAlias = Mapping[str, int] | Sequence[int]
Factors: TypeAlias = tuple[int, ...]

#: ``levels="auto"`` adds levels until Y and X are no larger than this.
AUTO_SIZE = 256
_MOST_LEVELS = 64
_SPATIAL = ("z", "y", "x")


def plan_factors(
    shape: Sequence[int],
    axis_names: Sequence[str],
    levels: int | str,
    dims: Iterable[str] | None = None,
    factors: Sequence[Step] | None = None,
) -> list[Factors]:
    """Factors of each step from one level to the next.

    A dimension that reached 1 stops shrinking: its factor is 1 from there on.

    Parameters
    ----------
    shape : sequence of int
        Shape of level 0.
    axis_names : sequence of str
        Names of the axes, in any case.
    levels : int or "auto"
        Number of levels, level 0 included; "auto" adds levels until Y and X are at most 256.
    dims : iterable of str, optional
        Names of the axes that shrink, by 2 per step; Z, Y and X by default.
    factors : sequence of dict or tuple, optional
        One per step: the factor of each axis, by name (others 1) or for all axes in order.

    Returns
    -------
    list of tuple of int
        ``levels - 1`` steps.

    Raises
    ------
    ArgumentError
        If an argument is wrong, or factors and levels contradict each other.
    """
    names = [name.lower() for name in axis_names]
    asked = None if factors is None else [_check_step(step, names) for step in factors]
    if asked is not None and dims is not None:
        raise ArgumentError("dims and factors both say which axes shrink", hint="pass one of them")
    regular = _regular(names, dims)
    if levels == "auto":
        return _auto(tuple(shape), names, regular, asked)
    count = check_levels(levels)
    if asked is None:
        asked = [regular] * (count - 1)
    if len(asked) != count - 1:
        raise ArgumentError(
            f"{count} levels need {count - 1} steps, but factors has {len(asked)}",
            hint="levels counts level 0; factors has one entry for each level after it",
        )
    out, current = [], tuple(shape)
    for step in asked:
        out.append(_effective(current, step))
        current = next_shape(current, out[-1])
    return out


def next_shape(shape: Sequence[int], factors: Sequence[int]) -> tuple[int, ...]:
    """Shape of the next level: ``ceil(n / f)``."""
    return tuple(-(-n // f) for n, f in zip(shape, factors, strict=True))


def level_shapes(shape: Sequence[int], steps: Sequence[Factors]) -> list[tuple[int, ...]]:
    """Shapes of all levels, level 0 included."""
    shapes = [tuple(shape)]
    for step in steps:
        shapes.append(next_shape(shapes[-1], step))
    return shapes


def level_transform(
    transform: Sequence[TransformationMeta], factors: Sequence[int], *, pooled: bool
) -> list[TransformationMeta]:
    """Transformations of a level from those of the level above.

    The scale grows by the factors. A pooled pixel stands for the middle of its window, so the offset
    moves by half a pixel of the window's extent: ``(f - 1) / 2`` pixels of the level above.

    Parameters
    ----------
    transform : sequence of TransformationMeta
        Of the level above.
    factors : sequence of int
        Factors of the step.
    pooled : bool
        Whether windows are pooled (all methods but stride).
    """
    ndim = len(factors)
    scale, offset = scale_of(transform, ndim), translation_of(transform, ndim)
    new_scale = [s * f for s, f in zip(scale, factors, strict=True)]
    if pooled:
        offset = [t + (f - 1) / 2 * s for t, f, s in zip(offset, factors, scale, strict=True)]
    out = [TransformationMeta(type="scale", scale=new_scale)]
    if any(step.type == "translation" for step in transform) or any(offset):
        out.append(TransformationMeta(type="translation", translation=offset))
    return out


def found_factors(
    shapes: Sequence[Sequence[int]],
    scales: Sequence[Sequence[float]],
    axes: Sequence[AxisMeta],
    *,
    where: str,
    exact: bool = True,
) -> list[Factors]:
    """Factors of the steps between levels that exist.

    The scales tell them, where the shapes fit. Along the axes of space, shapes alone can tell them too.
    Along time, channels and all others they cannot: another size there is that of another image.

    Parameters
    ----------
    shapes, scales : sequence of sequence
        Of all levels.
    axes : sequence of AxisMeta
        The axes.
    where : str
        The position, for errors.
    exact : bool
        Whether shapes must be those that this library makes. Otherwise shapes along the axes of space that
        were rounded down are understood too, and of any others the nearest factor is told.

    Raises
    ------
    InvalidMetadataError
        If a level has another size along an axis that is none of space; or if shapes must be exact, and a
        level is not the ceiling of a whole fraction of the one above.
    """
    out = []
    for i in range(1, len(shapes)):
        step = []
        for axis, n, m, s, r in zip(axes, shapes[i - 1], shapes[i], scales[i - 1], scales[i], strict=True):
            told = round(r / s) if s > 0 else 0
            if is_spatial(axis):
                factor = _measured(n, m, told, exact)
            else:
                factor = _fitting(n, m, [1, told], exact)
            if factor is None:
                raise InvalidMetadataError(
                    _misfit(axis, i, shapes),
                    path=where,
                    hint="delete_pyramid(), then compute it anew: compute_pyramid(levels=...)",
                )
            step.append(factor)
        out.append(tuple(step))
    return out


def _fitting(n: int, m: int, candidates: Iterable[int], exact: bool) -> int | None:
    """The first factor that makes one size of the other, rounded up (or down, if that is allowed)."""
    fitting = (f for f in candidates if f >= 1 and (-(-n // f) == m or (not exact and n // f == m)))
    return next(fitting, None)


def _measured(n: int, m: int, told: int, exact: bool) -> int | None:
    """The factor along an axis of space: as the scales tell it, or else as the shapes leave no doubt."""
    if n == 1 or not m:
        return 1 if m == 1 or not exact else None
    candidates = [told, *([n // m] if n % m == 0 else [])]
    if told <= 1 or not exact:  # the scales say nothing
        candidates += [round(n / m), -(-n // m), n // m]
    return _fitting(n, m, candidates, exact) or (None if exact else max(1, round(n / m)))


def _misfit(axis: AxisMeta, i: int, shapes: Sequence[Sequence[int]]) -> str:
    level = f"level {i} has shape {tuple(shapes[i])}"
    if not is_spatial(axis):
        return f"{level}, and level {i - 1} {tuple(shapes[i - 1])}: they differ along {axis.name}"
    return (
        f"{level}, which is not that of level {i - 1}, {tuple(shapes[i - 1])}, divided by whole factors and "
        "rounded up"
    )


def moved_shapes(
    shapes: Sequence[Sequence[int]], steps: Sequence[Factors], shape: Sequence[int], *, where: str
) -> list[tuple[int, ...]]:
    """Shapes of all levels after level 0 got another one.

    They stay along the axes on which level 0 stays. Along the others they follow it by their factors, rounded
    as they were.

    Parameters
    ----------
    shapes : sequence of sequence of int
        Shapes of all levels as they are.
    steps : sequence of tuple of int
        Factors of each step.
    shape : sequence of int
        New shape of level 0.
    where : str
        The position, for errors.

    Raises
    ------
    InvalidMetadataError
        If a level does not follow from the one above by these factors.
    """
    out = [tuple(shape)]
    for i, step in enumerate(steps):
        row = []
        changed = [a != b for a, b in zip(shapes[0], shape, strict=True)]
        for n, m, f, above, is_changed in zip(shapes[i], shapes[i + 1], step, out[-1], changed, strict=True):
            if not is_changed:
                row.append(m)
            elif -(-n // f) == m:
                row.append(-(-above // f))
            elif max(1, n // f) == m:
                row.append(max(1, above // f))
            else:
                raise InvalidMetadataError(
                    f"level {i + 1} has shape {tuple(shapes[i + 1])}, which does not follow from that of "
                    f"level {i}, {tuple(shapes[i])}: it cannot follow a change either",
                    path=where,
                    hint="delete_pyramid(), change the shape, then compute the levels anew",
                )
        out.append(tuple(row))
    return out


def changed_regions(
    old: Sequence[int], new: Sequence[int], steps: Sequence[Factors]
) -> list[list[list[int]]]:
    """Regions of level 0 on which levels depend anew after its shape changed.

    Parameters
    ----------
    old, new : sequence of int
        Its shape before and after.
    steps : sequence of tuple of int
        Factors of each step; without any there is nothing to compute.

    Returns
    -------
    list of list
        ``[start, stop]`` per axis, one region for each axis that changed: what was added, or the last pixel
        of what is left, if the window that it lies in was cut.
    """
    out = []
    for axis, (before, after) in enumerate(zip(old, new, strict=True)):
        total = math.prod(step[axis] for step in steps)
        if before == after or not steps or (after < before and after % total == 0):
            continue
        region = [[0, n] for n in new]
        region[axis] = [min(before, after - 1), after]
        out.append(region)
    return out


def check_levels(levels: int | str) -> int:
    """Check a number of levels: an integer of 1 or more.

    Raises
    ------
    ArgumentError
        If it is none.
    """
    try:
        count = operator.index(levels)  # type: ignore[arg-type]
    except TypeError:
        count = 0
    if isinstance(levels, bool) or not 1 <= count <= _MOST_LEVELS:
        raise ArgumentError(
            f"levels must be 'auto' or a number from 1 to {_MOST_LEVELS} that counts level 0, not {levels!r}"
        )
    return count


def _regular(names: Sequence[str], dims: Iterable[str] | None) -> Factors:
    if dims is None:
        wanted = [name for name in _SPATIAL if name in names]
    else:
        wanted = [str(d).lower() for d in dims]
        if not wanted:
            raise ArgumentError("dims names no axis", hint=f"axes: {', '.join(names)}")
        if any(d not in names for d in wanted):
            raise ArgumentError(
                f"dims {list(wanted)} are not axes of the image", hint=f"axes: {', '.join(names)}"
            )
    return tuple(2 if name in wanted else 1 for name in names)


def _check_step(step: Step, names: Sequence[str]) -> Factors:
    if isinstance(step, Mapping):
        by_name = {str(k).lower(): v for k, v in step.items()}
        unknown = [k for k in by_name if k not in names]
        if unknown:
            raise ArgumentError(
                f"factors name the axes {', '.join(unknown)}, which the image has not",
                hint=f"axes: {', '.join(names)}",
            )
        values = [by_name.get(name, 1) for name in names]
    elif isinstance(step, Sequence) and not isinstance(step, str):
        values = list(step)
    else:
        raise ArgumentError(f"factors must be one dict or tuple per step, not {step!r}")
    if len(values) != len(names):
        raise ArgumentError(f"factors {tuple(values)} has {len(values)} values; there are {len(names)} axes")
    for value in values:
        if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < 1:
            raise ArgumentError(f"a factor must be an integer of 1 or more, not {value!r}")
    return tuple(map(operator.index, values))


def _effective(shape: Sequence[int], step: Factors) -> Factors:
    return tuple(1 if n == 1 else f for n, f in zip(shape, step, strict=True))


def _auto(
    shape: tuple[int, ...], names: Sequence[str], regular: Factors, asked: Sequence[Factors] | None
) -> list[Factors]:
    plane = [i for i, name in enumerate(names) if name in ("y", "x")]
    out: list[Factors] = []
    current = shape
    while any(current[i] > AUTO_SIZE for i in plane):
        if asked is not None and len(out) == len(asked):
            break
        step = _effective(current, asked[len(out)] if asked is not None else regular)
        if all(step[i] == 1 for i in plane if current[i] > AUTO_SIZE):
            break  # what is too large does not shrink
        out.append(step)
        current = next_shape(current, step)
    return out
