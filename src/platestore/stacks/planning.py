"""Planning an import: everything is checked and decided, and stored beside the image that is to be made."""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Sequence
from typing import Any

from platestore.errors import ArgumentError, BudgetError, NodeExistsError
from platestore.publish.workplace import identity_of
from platestore.resources import Resources
from platestore.spec.values import Json
from platestore.stacks.array_spec import stand_in
from platestore.stacks.blocks import region_of
from platestore.stacks.drafting import VolumeDraft, VolumeOptions, find_home, make_draft
from platestore.stacks.intake import Intake, take
from platestore.stacks.jobs import StackPlan, require_same_source
from platestore.stacks.workplace import StackWorkPlace
from platestore.storage.hierarchy import ArrayDocument, array_files, create_node


def plan(
    planes: Any,
    out: str | os.PathLike[str],
    *,
    voxel_size: Sequence[float],
    spatial_unit: str = "micrometer",
    name: str | None = None,
    channel_name: str | Sequence[str] | None = None,
    chunks: Sequence[int] | None = None,
    shards: Any = None,
    compressor: str | None = None,
    levels: int | str = "auto",
    method: str = "mean",
    version: str | None = None,
    jobs: int | None = None,
    block: int | Sequence[tuple[int, int]] | None = None,
    max_memory: int | str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    dry_run: bool = False,
) -> StackPlan:
    """Prepare an import that several processes, also on several machines, carry out side by side.

    Everything is checked, and the plan is stored beside the image that is to be made. Then
    :func:`run_job` runs each job, in any order, and :func:`finish` completes the image. No two jobs share a
    file. Levels whose files would be shared are left to :func:`finish`, which makes them from the coarsest
    level that the jobs wrote.

    Parameters
    ----------
    planes, out, voxel_size, spatial_unit, name, channel_name, chunks, shards, compressor, levels, method,
    version
        As for :func:`import_stack`.
    jobs : int, optional
        How many jobs there are to be, at most.
    block : int, or sequence of (start, stop), optional
        How many planes each job has, or which. Without ``jobs`` and ``block``, blocks have 1 GiB or more and
        write all levels but those that are made from the rest at next to no cost.
    max_memory : int or str, optional
        Bytes by which each process may grow; that of ``platestore.config`` by default.
    overwrite : bool
        Whether a store that is there is replaced at the end, and an unfinished import is started anew.
    resume : bool
        Whether an unfinished import of the same stack is continued.
    dry_run : bool
        Whether nothing is stored.

    Returns
    -------
    StackPlan

    Raises
    ------
    ArgumentError, NodeExistsError, UnsafeTargetError, BudgetError
        If something cannot be had; nothing is written then.

    Examples
    --------
    >>> from platestore.stacks import plan
    >>> volume = plan("raw", "stack.zarr", voxel_size=(2.0, 0.5, 0.5), chunks=(4, 32, 32), block=4)
    >>> volume.shape, [(job.start, job.stop) for job in volume.jobs]
    ((1, 1, 8, 64, 64), [(0, 4), (4, 8)])
    >>> for job in volume.jobs:
    ...     done = volume.run(job.index)
    >>> stack = volume.finish()
    """
    options = VolumeOptions(
        voxel_size,
        spatial_unit,
        name,
        channel_name,
        chunks,
        shards,
        compressor,
        levels,
        method,
        version,
        jobs,
        block,
        max_memory,
    )
    if overwrite and resume:
        raise ArgumentError("overwrite starts anew, resume continues", hint="pass one of them")
    place = StackWorkPlace(out)
    place.check()
    if place.exists() and not (overwrite or resume or dry_run):
        raise NodeExistsError(
            f"an unfinished import is there ({os.path.basename(place.work)})",
            path=place.final,
            hint="resume=True (--resume) continues it, overwrite=True (--overwrite) starts anew",
        )
    intake = take(planes)
    if resume and place.exists():
        former = place.read()
        _require_same(former, options, intake, place.final)
        return StackPlan(place, former, intake)
    intake.check_apart(place.final)
    draft = make_draft(intake, find_home(place, options, overwrite=overwrite), options, where=place.final)
    content = _content(draft, intake, options, overwrite, place.final)
    if not dry_run:
        _store(place, draft, content)
    return StackPlan(place, content, intake, stored=not dry_run)


def _content(draft: VolumeDraft, intake: Intake, options: VolumeOptions, overwrite: bool, where: str) -> Json:
    try:
        memory = needed_memory(draft, options.method, options.budget)
    except BudgetError as error:
        raise BudgetError(error.message, path=where, hint=error.hint, needed=error.needed) from None
    shape, dtype = draft.layouts.levels[0].shape, draft.layouts.levels[0].dtype
    return {
        "format": 1,
        "source": intake.words,
        "names": [axis.name for axis in draft.home.axes],
        "axis": draft.axis,
        "version": draft.home.version,
        "zarr_format": draft.home.zarr_format,
        "attributes": draft.attributes(),
        "documents": draft.documents(),
        "factors": [list(step) for step in draft.layouts.factors],
        "method": options.method,
        "blocks": [list(block) for block in draft.blocks],
        "made": draft.made,
        "nbytes": math.prod(shape) * dtype.itemsize,
        "id": secrets.token_hex(8),
        "memory": memory,
        "overwrite": overwrite,
        "fills": draft.home.fills,
        "options": _as_json(options),
    }


def _as_json(options: VolumeOptions) -> Json:
    """The options as they come back from the plan."""
    rows = {name: getattr(options, name) for name in VolumeOptions.__slots__ if name != "max_memory"}
    out: Json = json.loads(json.dumps(rows, default=_plain))
    return out


def _plain(value: Any) -> Any:
    return (
        list(value) if hasattr(value, "__iter__") else value.item() if hasattr(value, "item") else str(value)
    )


def needed_memory(
    draft: VolumeDraft, method: str, max_memory: int | str | None, workers: int | None = None
) -> int:
    """Bytes that the jobs, and finishing, take.

    Raises
    ------
    BudgetError
        If the budget is too small.
    """
    from platestore.pyramid.levels import plan_build

    fmt = draft.home.zarr_format
    documents = [
        ArrayDocument(str(k), fmt, array_files(fmt, d, where=str(k))[-1][1])
        for k, d in enumerate(draft.documents())
    ]
    storage = stand_in()
    made, factors = draft.made, draft.layouts.factors
    resources = Resources(max_memory=max_memory, workers=workers)
    first = plan_build(
        storage,
        documents[0],
        documents[1:made],
        factors[: made - 1],
        method,
        resources,
        fresh=True,
        data=draft.source,
        region=region_of(draft.blocks[0], draft.layouts.levels[0].shape, draft.axis),
    )
    most = first.expected
    if made < len(documents):
        later = plan_build(
            storage,
            documents[made - 1],
            documents[made:],
            factors[made - 1 :],
            method,
            resources,
            fresh=True,
        )
        most = max(most, later.expected)
    return int(most)


def _store(place: StackWorkPlace, draft: VolumeDraft, content: Json) -> None:
    """Write the documents of the levels, and then the plan."""
    os.makedirs(place.work, exist_ok=True)
    with place.locked():
        place.make()
        storage = place.storage()
        for k, document in enumerate(draft.documents()):
            create_node(storage, str(k), array_files(draft.home.zarr_format, document, where=str(k)))
        content["identity"] = identity_of(place.data)
        place.write(content)


def _require_same(former: Json, options: VolumeOptions, intake: Intake, where: str) -> None:
    """Refuse to continue an import that was begun from another stack, or with other options."""
    old, new = former["options"], _as_json(options)
    other = sorted(k for k in old.keys() | new.keys() if old.get(k) != new.get(k))
    if other:
        what = "; ".join(f"{k} was {old.get(k)!r}, is {new.get(k)!r}" for k in other)
        raise ArgumentError(
            f"the unfinished import was begun with other options: {what}",
            path=where,
            hint="repeat them, or start anew with overwrite=True (--overwrite)",
        )
    require_same_source(former["source"], intake.words, where)
