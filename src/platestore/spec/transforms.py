"""Coordinate transformations: scale and translation, their one valid form, and their composition.

A point ``p`` of level ``i`` is mapped by the dataset's transformations first and by those of the
multiscales (here: the position) after them: ``S_fov * (s_i * p + t_i) + t_fov``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from platestore.errors import ArgumentError
from platestore.spec import rules
from platestore.spec.base import OptionalModel
from platestore.spec.findings import Finding
from platestore.spec.values import Json


class TransformationMeta(OptionalModel):
    """One coordinate transformation of an image or a position.

    Attributes
    ----------
    type : str
        ``"scale"``, ``"translation"`` or ``"identity"``.
    scale : list of float, optional
        One factor per axis, in physical units per pixel.
    translation : list of float, optional
        One offset per axis, in physical units.
    """

    type: str
    scale: list[float] | None = None
    translation: list[float] | None = None


def normalise(transforms: Iterable[TransformationMeta | Json] | None, ndim: int) -> list[TransformationMeta]:
    """The valid equivalent of a list of transformations: one scale, then at most one translation.

    Parameters
    ----------
    transforms : iterable of TransformationMeta, or None
        Applied in order. None, an empty list and identities become a scale of ones; a lone
        translation gets a scale of ones; a translation before a scale is carried through it.
    ndim : int
        Number of axes.

    Returns
    -------
    list of TransformationMeta
        ``[scale]`` or ``[scale, translation]``, as the specification demands.

    Raises
    ------
    ArgumentError
        If the list has no such form: other types, two scales, wrong lengths, numbers that are not
        finite, or scales that are not positive.
    """
    scale: list[float] | None = None
    translation: list[float] | None = None
    if transforms is not None and (
        isinstance(transforms, (str, dict)) or not isinstance(transforms, Iterable)
    ):
        raise ArgumentError(f"transformations must be a list, not {transforms!r}")
    for item in transforms or ():
        step = _checked(item, ndim)
        if step.type == "identity":
            continue
        if step.type == "scale":
            if scale is not None:
                raise ArgumentError("more than one scale in a list of transformations")
            scale = list(step.scale or ())
            if translation is not None:
                translation = [s * t for s, t in zip(scale, translation, strict=True)]
        else:
            if translation is not None:
                raise ArgumentError("more than one translation in a list of transformations")
            translation = list(step.translation or ())
    out = [TransformationMeta(type="scale", scale=scale or [1.0] * ndim)]
    if translation is not None:
        if not all(map(math.isfinite, translation)):
            raise ArgumentError(f"the translation becomes {translation}, which is not finite")
        out.append(TransformationMeta(type="translation", translation=translation))
    return out


def _checked(item: TransformationMeta | Json, ndim: int) -> TransformationMeta:
    try:
        step = item if isinstance(item, TransformationMeta) else TransformationMeta.model_validate(item)
    except ValueError as error:
        raise ArgumentError(f"a transformation cannot be read: {error}") from None
    if step.type not in ("scale", "translation", "identity"):
        raise ArgumentError(
            f"a transformation of type {step.type!r} cannot be written",
            hint="OME-NGFF 0.4 and 0.5 know scale and translation here",
        )
    if step.type == "identity":
        return step
    values, other = (step.scale, step.translation) if step.type == "scale" else (step.translation, step.scale)
    if values is None or other is not None:
        raise ArgumentError(f"a {step.type} needs the key {step.type!r} and no other values")
    if len(values) != ndim:
        raise ArgumentError(f"a {step.type} has {len(values)} values; there are {ndim} axes")
    if not all(math.isfinite(v) for v in values):
        raise ArgumentError(f"a {step.type} must be finite, not {values}")
    if step.type == "scale" and not all(v > 0 for v in values):
        raise ArgumentError(f"a scale must be positive, not {values}")
    return step


def scale_of(transforms: Sequence[TransformationMeta] | None, ndim: int) -> list[float]:
    """The scale in a list as read from a document; ones where there is none of this length."""
    for step in transforms or ():
        if step.type == "scale" and step.scale and len(step.scale) == ndim:
            return list(step.scale)
    return [1.0] * ndim


def translation_of(transforms: Sequence[TransformationMeta] | None, ndim: int) -> list[float]:
    """The translation in a list as read from a document; zeros where there is none of this length."""
    for step in transforms or ():
        if step.type == "translation" and step.translation and len(step.translation) == ndim:
            return list(step.translation)
    return [0.0] * ndim


def transform_findings(
    transforms: Sequence[TransformationMeta], ndim: int, location: str
) -> Iterable[Finding]:
    """The rules of the specification that a list of transformations breaks."""
    steps = [(step.type, _count(step)) for step in transforms]
    yield from rules.transforms(steps, ndim, location)
    for i, step in enumerate(transforms):
        if step.type == "scale" and step.scale is not None:
            yield from rules.positive_scale(step.scale, f"{location}[{i}].scale")


def _count(step: TransformationMeta) -> int | None:
    values = step.scale if step.type == "scale" else step.translation
    return None if values is None else len(values)


def positive_scale(value: object) -> float:
    """Check a scale given by a user: positive and finite."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not 0 < number < float("inf") or isinstance(value, (str, bytes)):
        raise ArgumentError(f"a scale must be a positive, finite number, not {value!r}")
    return number
