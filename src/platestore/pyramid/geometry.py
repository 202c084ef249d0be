"""Shapes, factors, scales and offsets of levels: one place for data and metadata."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from platestore.errors import ArgumentError, InvalidMetadataError
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
    shapes: Sequence[Sequence[int]], scales: Sequence[Sequence[float]], *, where: str, exact: bool = True
) -> list[Factors]:
    """Factors of the steps between levels that exist.

    The scales tell them; where they do not fit the shapes, the shapes alone must.

    Parameters
    ----------
    shapes, scales : sequence of sequence
        Of all levels.
    where : str
        The position, for errors.
    exact : bool
        Whether shapes must be those that this library makes. Otherwise shapes that were rounded down are
        understood too, and of any others the nearest factor is told.

    Raises
    ------
    InvalidMetadataError
        If shapes must be exact, and a level is not the ceiling of a whole fraction of the one above.
    """
    out = []
    for i in range(1, len(shapes)):
        step = []
        for n, m, s, r in zip(shapes[i - 1], shapes[i], scales[i - 1], scales[i], strict=True):
            ratio = round(r / s) if s > 0 else 0
            candidates = [1] if n == 1 else [ratio, 1, round(n / m), -(-n // m), n // m]
            fitting = (f for f in candidates if f >= 1 and (-(-n // f) == m or (not exact and n // f == m)))
            factor = next(fitting, None if exact else max(1, round(n / m)))
            if factor is None:
                raise InvalidMetadataError(
                    f"level {i} has shape {tuple(shapes[i])}, which is not that of level {i - 1}, "
                    f"{tuple(shapes[i - 1])}, divided by whole factors and rounded up",
                    path=where,
                    hint="delete_pyramid(), then compute it anew",
                )
            step.append(factor)
        out.append(tuple(step))
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
