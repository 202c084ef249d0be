"""The levels of one image, held against level 0: exactly where it is known how they were made."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from platestore.arrays.chunkarrays import ArrayReader
from platestore.arrays.chunkfiles import ChunkReader
from platestore.arrays.image import open_array
from platestore.arrays.stored import stored_source
from platestore.checking.hierarchy.levels import (
    SIZE_HINT,
    is_spatial_entry,
    other_size,
)
from platestore.checking.pixels.comparing import AuditReader, CompareWriter
from platestore.checking.pixels.damage import Damage
from platestore.checking.pixels.decoding import decode_all, decoder_of
from platestore.checking.pixels.presence import (
    STALE_HINT,
    Contents,
    counted,
    hold_against,
    tell_lost,
)
from platestore.checking.pixels.survey import ChunkSurvey
from platestore.checking.rules.crossing import usable_scale
from platestore.errors import BudgetError
from platestore.pyramid.build import PyramidBuild
from platestore.pyramid.gaussian import halo
from platestore.pyramid.kernels import check_method
from platestore.pyramid.stepwise import StepwiseBuild
from platestore.pyramid.targets import LevelTarget, Reader
from platestore.settings import config
from platestore.spec.geometry import level_shapes
from platestore.spec.pyramids import PRODUCER
from platestore.spec.reductions import METHODS, reduction
from platestore.spec.values import Json

# Grids with more chunks than this, most of which are not there, are not walked whole.
_MANY_CHUNKS = 10**6
_MOSTLY = 8


@dataclass(frozen=True, slots=True)
class PyramidRecipe:
    """How the levels of an image were made.

    Attributes
    ----------
    method : str
        How windows were reduced.
    factors : list of tuple of int
        Factors of each step.
    """

    method: str
    factors: list[tuple[int, ...]]

    def total(self, k: int) -> tuple[int, ...]:
        """Factors from level 0 to a level."""
        return tuple(math.prod(column) for column in zip(*self.factors[:k], strict=True))


def recipe_of(image: Json, shapes: Sequence[tuple[int, ...]]) -> PyramidRecipe | None:
    """How the levels were made, as platestore wrote it; None if it did not, or they have other shapes.

    Parameters
    ----------
    image : dict
        The image's part of the metadata; anything may be in it.
    shapes : sequence of tuple of int
        Shapes of its levels.
    """
    metadata = image.get("metadata")
    kwargs = metadata.get("kwargs") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or metadata.get("method") != PRODUCER or not isinstance(kwargs, dict):
        return None
    method, steps = kwargs.get("method"), kwargs.get("factors")
    if not isinstance(method, str) or method not in METHODS:
        return None
    if not isinstance(steps, list) or len(steps) != len(shapes) - 1:
        return None
    ndim = len(shapes[0])
    if not all(isinstance(s, list) and len(s) == ndim and all(map(_is_factor, s)) for s in steps):
        return None
    factors = [tuple(step) for step in steps]
    return PyramidRecipe(method, factors) if level_shapes(shapes[0], factors) == list(shapes) else None


def _is_factor(value: Any) -> bool:
    return type(value) is int and 1 <= value < 2**31


@dataclass(frozen=True, slots=True)
class StoredLevel:
    """One level of an image.

    Attributes
    ----------
    name : str
        As the image names it.
    survey : ChunkSurvey
        Its files.
    """

    name: str
    survey: ChunkSurvey


def audit_levels(levels: Sequence[StoredLevel], recipe: PyramidRecipe | None, workers: int | None) -> int:
    """Decode every chunk of all levels, and hold them against level 0.

    Parameters
    ----------
    levels : sequence of StoredLevel
        Level 0 first; all of one rank.
    recipe : PyramidRecipe, optional
        How they were made.
    workers : int, optional
        Number of threads.

    Returns
    -------
    int
        Bytes of all chunks that were decoded.
    """
    if len(levels) > 1 and recipe is not None and _can_be_made(levels, recipe):
        if reduction(recipe.method).overlaps:
            return _audit_stepwise(levels, recipe, workers)
        return _audit_in_one_pass(levels, recipe, workers)
    contents = [Contents(level.survey, Damage(level.survey)) for level in levels]
    single = len(levels) == 1
    nbytes = sum(decode_all(c.survey, c.damage, workers, None if single else c.note) for c in contents)
    base = contents[0]
    for level, content in zip(levels[1:], contents[1:], strict=True):
        shapes = (*base.survey.grid.shape, *content.survey.grid.shape)
        if base.survey.is_listed and content.survey.is_listed and all(shapes):
            hold_against(base, content, level.name)
    for content in contents:
        content.damage.tell()
    return nbytes


def _can_be_made(levels: Sequence[StoredLevel], recipe: PyramidRecipe) -> bool:
    """Whether the levels can be made again, in a time that fits what is there."""
    base = levels[0].survey
    chunks = math.prod(base.counts)
    if not base.files or (chunks > _MANY_CHUNKS and chunks > _MOSTLY * base.present):
        return False
    try:
        dtypes = {open_array(v.survey.storage, v.survey.document, ()).dtype for v in levels}
        for dtype in dtypes:
            check_method(recipe.method, dtype)
        for level in levels:
            decoder_of(level.survey)
    except Exception:  # noqa: BLE001 - zarr raises whatever it likes for codecs that it does not know
        return False
    return len({dtype.newbyteorder("=") for dtype in dtypes}) == 1


def _audit_in_one_pass(levels: Sequence[StoredLevel], recipe: PyramidRecipe, workers: int | None) -> int:
    surveys = [level.survey for level in levels]
    damages = [Damage(survey) for survey in surveys]
    reader = AuditReader(surveys[0], _reader(surveys[0]), damages[0])
    writers = _writers(surveys, damages, recipe)
    targets = _targets(surveys, recipe, reader, writers)
    dtype = open_array(surveys[0].storage, surveys[0].document, ()).dtype.newbyteorder("=")
    where = surveys[0].storage.where(surveys[0].path)
    options: dict[str, Any] = {"workers": workers or config.threads, "where": where}
    try:
        build = PyramidBuild(targets, dtype, recipe.method, max_memory=config.max_memory, **options)
    except BudgetError as error:
        build = PyramidBuild(targets, dtype, recipe.method, max_memory=error.needed, **options)
    build.run()
    _tell(levels, writers, damages)
    return reader.nbytes + sum(writer.nbytes for writer in writers)


def _audit_stepwise(levels: Sequence[StoredLevel], recipe: PyramidRecipe, workers: int | None) -> int:
    """Decode everything; then, if it can be decoded, make each level from the one before."""
    surveys = [level.survey for level in levels]
    damages = [Damage(survey) for survey in surveys]
    nbytes = sum(decode_all(s, d, workers) for s, d in zip(surveys, damages, strict=True))
    before = [len(survey.findings) for survey in surveys]
    for damage in damages:
        damage.tell()
    if any(s.flawed or len(s.findings) > n for s, n in zip(surveys, before, strict=True)):
        return nbytes
    writers = _writers(surveys, damages, recipe)
    targets = _targets(surveys, recipe, None, writers)
    dtype = open_array(surveys[0].storage, surveys[0].document, ()).dtype.newbyteorder("=")
    sources = [stored_source(s.storage, s.document) for s in surveys[:-1]]
    options: dict[str, Any] = {"workers": workers or config.threads}
    try:
        build = StepwiseBuild(targets, sources, dtype, recipe.method, max_memory=config.max_memory, **options)
    except BudgetError as error:
        build = StepwiseBuild(targets, sources, dtype, recipe.method, max_memory=error.needed, **options)
    build.run()
    _tell(levels, writers, [])
    return nbytes


def _writers(
    surveys: Sequence[ChunkSurvey], damages: Sequence[Damage], recipe: PyramidRecipe
) -> list[CompareWriter]:
    """What compares each level but level 0."""
    overlaps = reduction(recipe.method).overlaps
    out = []
    for k, (survey, damage) in enumerate(zip(surveys[1:], damages[1:], strict=True), 1):
        total = recipe.total(k)
        reach = sum(halo(f) for step in recipe.factors[:k] for f in step) * max(total) if overlaps else 0
        out.append(
            CompareWriter(
                survey,
                surveys[0],
                decoder_of(survey),
                damage,
                damages[0],
                total,
                exact=not overlaps,
                halo=reach,
            )
        )
    return out


def _targets(
    surveys: Sequence[ChunkSurvey],
    recipe: PyramidRecipe,
    reader: Reader | None,
    writers: Sequence[CompareWriter],
) -> list[LevelTarget]:
    ones = (1,) * len(surveys[0].grid.shape)
    rows = zip(surveys, [ones, *recipe.factors], [None, *writers], strict=True)
    return [
        LevelTarget(
            shape=survey.grid.shape,
            chunks=survey.chunks,
            factors=factors,
            reader=reader if writer is None else None,
            writer=writer,
            fill=_fill(survey),
        )
        for survey, factors, writer in rows
    ]


def _fill(survey: ChunkSurvey) -> Any:
    if survey.format is not None:
        return survey.format.fill
    array = open_array(survey.storage, survey.document, ())
    return np.zeros((), array.dtype)[()] if array.fill_value is None else array.fill_value


def _reader(survey: ChunkSurvey) -> Reader:
    if survey.format is None:
        return ArrayReader(open_array(survey.storage, survey.document, ()))
    return ChunkReader(survey.storage, survey.path, survey.format)


def _tell(levels: Sequence[StoredLevel], writers: Sequence[CompareWriter], damages: Sequence[Damage]) -> None:
    for level, writer in zip(levels[1:], writers, strict=True):
        if writer.lost:
            tell_lost(levels[0].survey, level.name, sorted(writer.lost))
        if writer.stale:
            text = f"is not what level 0 gives, in {counted(sorted(writer.stale))} of {_count(level)}"
            level.survey.report("level-stale", None, text, hint=STALE_HINT)
    for damage in damages:
        damage.tell()


def _count(level: StoredLevel) -> int:
    return math.prod(level.survey.counts)


def _follows(finer: StoredLevel, level: StoredLevel) -> bool:
    """Whether whole factors lead from one level to another, on each axis that shrinks."""
    rows = zip(finer.survey.grid.shape, level.survey.grid.shape, strict=True)
    return all(m > n or _is_explained(n, m) for n, m in rows)


def shape_flaws(levels: Sequence[StoredLevel]) -> None:
    """Note levels whose shapes no whole factors explain."""
    for above, level in itertools.pairwise(levels):
        # A level is made of the one above, or, by a factor that does not go with that one's, of level 0.
        if not any(_follows(finer, level) for finer in (above, levels[0])):
            text = (
                f"has shape {level.survey.grid.shape}, which is not {above.survey.grid.shape} of level "
                f"{above.name!r} divided by whole factors"
            )
            level.survey.report("level-shape", None, text, level="warning")


@dataclass(frozen=True, slots=True)
class _Sized:
    shape: tuple[int, ...]
    scale: list[float] | None


def of_one_size(levels: Sequence[StoredLevel], image: Json) -> list[StoredLevel]:
    """The levels but those with another number of time points or channels than the first, which are noted."""
    axes = [axis if isinstance(axis, dict) else {} for axis in _listed(image, "axes")]
    spatial = [is_spatial_entry(axis) for axis in axes]
    steps = {
        row.get("path"): row.get("coordinateTransformations")
        for row in _listed(image, "datasets")
        if isinstance(row, dict)
    }
    out = list(levels[:1])
    sized = [
        _Sized(v.survey.grid.shape, usable_scale(steps.get(v.name), len(v.survey.grid.shape))) for v in levels
    ]
    for level, its in zip(levels[1:], sized[1:], strict=True):
        axis = other_size(sized[0], its, spatial)
        if axis is None:
            out.append(level)
            continue
        name = axes[axis].get("name", axis)
        text = f"has {its.shape[axis]} along {name}, and level {levels[0].name!r} {sized[0].shape[axis]}"
        # A warning: between two files of a recorded change, whose next writer completes it, it is so too.
        level.survey.report("level-size", None, text, level="warning", hint=SIZE_HINT)
    return out


def _listed(image: Json, key: str) -> list[Any]:
    rows = image.get(key)
    return rows if isinstance(rows, list) else []


def _is_explained(n: int, m: int) -> bool:
    """Whether ``m`` is ``n`` divided by a whole factor, rounded up or down."""
    if n == m or not m:
        return n == m
    return any(f >= 1 and m in (-(-n // f), n // f) for f in (n // m, -(-n // m)))
