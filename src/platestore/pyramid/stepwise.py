"""Levels one after another: what each is made from overlaps, so blocks of several levels do not nest."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from platestore.arrays.sources import Region, Source
from platestore.arrays.types import DType, Pixels
from platestore.errors import BudgetError
from platestore.progress import Progress
from platestore.pyramid.build import PyramidBuild
from platestore.pyramid.targets import LevelTarget
from platestore.pyramid.windows import influenced, needed
from platestore.settings import give_back_memory


class StepwiseBuild:
    """Makes all levels of one image, each from the one before; level 0 is read once.

    Parameters
    ----------
    levels : sequence of LevelTarget
        Level 0 first, two or more.
    sources : sequence of Source
        Reads each level but the last from where it was written (or was all along).
    dtype, method, max_memory, workers, data, region, spent, where
        As for :class:`~platestore.pyramid.build.PyramidBuild`.

    Raises
    ------
    BudgetError
        If the budget is below what this needs at least.
    """

    def __init__(
        self,
        levels: Sequence[LevelTarget],
        sources: Sequence[Source],
        dtype: DType,
        method: str,
        *,
        max_memory: int,
        workers: int,
        data: Pixels | Source | None = None,
        region: Region | None = None,
        spent: int = 0,
        where: str = "",
    ) -> None:
        self._steps: list[PyramidBuild] = []
        self._sizes: list[int] = []
        too_small: list[BudgetError] = []
        for k, source in enumerate(sources):
            first, second = replace(levels[k], factors=(1,) * len(levels[k].shape)), levels[k + 1]
            if region is not None:
                # Everything that the pixels which depend on the region are made from.
                changed = influenced(region, first.shape, second.factors, method)
                region = needed(changed, first.shape, second.factors, method)
            self._sizes.append(math.prod(first.shape) * dtype.itemsize)
            try:
                build = PyramidBuild(
                    [replace(first, writer=first.writer if k == 0 else None), second],
                    dtype,
                    method,
                    max_memory=max_memory,
                    workers=workers,
                    data=data if k == 0 and data is not None else source,
                    region=region,
                    spent=spent,
                    where=where,
                )
            except BudgetError as error:
                too_small.append(error)
                continue
            self._steps.append(build)
            if region is not None:
                region = build.tree.written(1)
        if too_small:
            raise max(too_small, key=lambda error: error.needed)

    @property
    def needed(self) -> int:
        """Bytes of memory that it takes at least."""
        return max(step.needed for step in self._steps)

    @property
    def expected(self) -> int:
        """Bytes of memory that it takes at most."""
        return max(step.expected for step in self._steps)

    def run(self, progress: Progress | None = None) -> None:
        """Make the levels.

        Parameters
        ----------
        progress : callable, optional
            Called with the bytes of level 0 done and the total: as if all levels were it.
        """
        total, before = sum(self._sizes), 0
        for step, size in zip(self._steps, self._sizes, strict=True):
            step.run(_share(progress, before, total, self._sizes[0]))
            before += size
            give_back_memory()  # what this step's threads leave is not the next one's to use


def _share(
    progress: Progress | None, before: int, total: int, shown: int
) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, _: progress(round(shown * (before + done) / total), shown)
