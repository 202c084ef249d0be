"""``to_ngff_zarr``: an image and all its levels, in one pass over its pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from platestore.arrays.origins import origins
from platestore.errors import ArgumentError, UnsafeTargetError, UnsupportedError
from platestore.multiscales.documents import Documents
from platestore.multiscales.factors import chains
from platestore.multiscales.place import ImagePlace
from platestore.progress import Progress
from platestore.resources import Resources

if TYPE_CHECKING:
    from platestore.storage.base import Storage

#: Those whose content is written: orientation (4), and archives (9); 2 is zarr v3 itself.
_RFCS = (2, 4, 9)


def check_others(chunk_store: Any, enabled_rfcs: Any, overwrite: Any, where: str) -> None:
    """Arguments that have one meaning only."""
    if chunk_store is not None:
        raise UnsupportedError(
            "chunk_store cannot be used: chunks and metadata are written to one store",
            path=where,
            hint="leave it out",
        )
    if not isinstance(overwrite, bool):
        raise ArgumentError(f"overwrite must be True or False, not {overwrite!r}", path=where)
    if enabled_rfcs is None:
        return
    if isinstance(enabled_rfcs, (str, Mapping)) or not hasattr(enabled_rfcs, "__iter__"):
        raise ArgumentError(f"enabled_rfcs must be a list of numbers, not {enabled_rfcs!r}", path=where)
    unknown = [number for number in enabled_rfcs if number not in _RFCS or isinstance(number, bool)]
    if unknown:
        raise ArgumentError(
            f"the RFCs {', '.join(map(str, unknown))} are not known here",
            path=where,
            hint="4 (orientation) is always on; 2 comes with version 0.5, 9 with a path that ends in .ozx",
        )


def check_sources(place: ImagePlace, levels: Sequence[Any]) -> None:
    """Refuse to replace what the image is read from."""
    for k, pixels in enumerate(levels):
        for origin in origins(pixels):
            if place.holds(origin):
                raise UnsafeTargetError(
                    f"level {k} of the image is read from here, and would be overwritten",
                    path=place.where,
                    hint="write to another path, then rename it; or read the image into memory first",
                )


@dataclass(frozen=True, slots=True)
class _Pass:
    """One walk over a level: it is written, or read, and levels are made of it."""

    base: int
    data: Any
    levels: list[int]
    steps: list[tuple[int, ...]]
    method: str


class ImageWriter:
    """Arrays and pixels of one image."""

    def __init__(
        self, storage: Storage, plan: Documents, max_memory: int | str | None, workers: int | None
    ) -> None:
        self._storage = storage
        self._plan = plan
        self._memory = max_memory
        self._workers = workers
        self._passes = list(self._planned())

    def _planned(self) -> Iterator[_Pass]:
        """The first pass writes level 0 and the levels that follow from it one by one.

        Levels of another chain are made of level 0 as it was written.
        """
        images, recipe = self._plan.pixels, self._plan.recipe
        if recipe is None:
            for k, pixels in enumerate(images):
                yield _Pass(k, pixels, [], [], "stride")
            return
        for i, chain in enumerate(chains(recipe.levels) or [[]]):
            steps = [recipe.levels[k - 1].steps for k in chain]
            yield _Pass(0, images[0] if i == 0 else None, chain, steps, recipe.method)

    def check(self) -> None:
        """Refuse a budget that is too small, and a method that does not fit, before anything is written."""
        from platestore.pyramid.levels import plan_build

        for each in self._passes:
            self._call(plan_build, each, None)

    def create_arrays(self) -> None:
        """Write the documents of the arrays, and of the groups that hold them."""
        from platestore.storage.hierarchy import array_files, create_node, ensure_group

        for group in self._plan.groups:
            ensure_group(self._storage, group, self._plan.options.zarr_format)
        for document in self._plan.arrays:
            where = self._storage.where(document.path)
            attributes = self._plan.options.attributes
            files = array_files(document.zarr_format, document.content, attributes, where=where)
            create_node(self._storage, document.path, files)

    def create_root(self, attributes: dict[str, Any]) -> None:
        """Write the document of the root group."""
        from platestore.storage.hierarchy import create_node, group_files

        files = group_files(self._plan.options.zarr_format, attributes, where=self._storage.where(""))
        create_node(self._storage, "", files)

    def write(self, tell: Progress | None) -> None:
        """Write all pixels."""
        from platestore.pyramid.levels import make_levels

        totals = [self._plan.nbytes(each.base) for each in self._passes]
        for i, each in enumerate(self._passes):
            before = sum(totals[:i])
            self._call(make_levels, each, None if tell is None else _shifted(tell, before, sum(totals)))

    def _call(self, function: Callable[..., Any], each: _Pass, progress: Progress | None) -> None:

        documents = self._plan.arrays
        function(
            self._storage,
            documents[each.base],
            [documents[k] for k in each.levels],
            each.steps,
            each.method,
            Resources(max_memory=self._memory, workers=self._workers, progress=progress),
            fresh=True,
            data=each.data,
            ordered=self._workers == 1,
        )


def _shifted(tell: Progress, before: int, total: int) -> Progress:
    """Progress of one pass as progress of all."""

    def told(done: int, _: int) -> None:
        tell(min(total, before + done), total)

    return told
