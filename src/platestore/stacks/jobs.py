"""The plan of an import: its jobs, which of them are finished, and what they need."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from platestore.arrays.sources import Source
from platestore.errors import ArgumentError, NodeNotFoundError, SourceChangedError
from platestore.stacks.intake import Intake, rearranged, reopen, take
from platestore.stacks.workplace import WorkPlace
from platestore.storage.hierarchy import ArrayDocument, array_files

if TYPE_CHECKING:
    from platestore.nodes.position import Position

_ANEW = "pass the same one, or start the import anew with overwrite=True (--overwrite)"


@dataclass(frozen=True, slots=True)
class StackJob:
    """One block of planes.

    Attributes
    ----------
    index : int
        Its number.
    start, stop : int
        First plane, and the one after the last.
    done : bool
        Whether it was finished.
    """

    index: int
    start: int
    stop: int
    done: bool


class StackPlan:
    """The plan of an import, as it lies beside the image that is made.

    Plans come from :func:`plan` and from :meth:`open`.

    Attributes
    ----------
    memory : int
        Bytes by which a job, or finishing, makes a process grow at most, with the budget that was planned
        for.
    """

    def __init__(
        self, place: WorkPlace, content: dict[str, Any], intake: Intake | None, *, stored: bool = True
    ) -> None:
        self._place = place
        self._content = content
        self._intake = intake
        self._stored = stored
        self.memory = int(content["memory"])

    @classmethod
    def open(cls, out: Any) -> Self:
        """Open the plan of an unfinished import.

        Parameters
        ----------
        out : path
            The image that is made.

        Raises
        ------
        NodeNotFoundError
            If no import is under way there.
        """
        place = WorkPlace(out)
        return cls(place, place.read(), None)

    def __repr__(self) -> str:
        jobs = self.jobs
        return f"<StackPlan {self.out} shape={self.shape} jobs={len(jobs)} done={sum(j.done for j in jobs)}>"

    @property
    def out(self) -> str:
        """Absolute path of the image."""
        return self._place.final

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the full resolution."""
        return tuple(self._content["documents"][0]["shape"])

    @property
    def nbytes(self) -> int:
        """Bytes of the full resolution."""
        return int(self._content["nbytes"])

    @property
    def levels(self) -> int:
        """Number of levels, that of full resolution included."""
        return len(self._content["documents"])

    @property
    def levels_of_jobs(self) -> int:
        """How many of them the jobs write; :func:`finish` makes the others from the last of these."""
        return int(self._content["made"])

    @property
    def jobs(self) -> list[StackJob]:
        """All jobs, and which of them are finished."""
        # An interrupted finish() put it in its place.
        whole = self._stored and not os.path.lexists(self._place.data)
        rows = enumerate(self._content["blocks"])
        return [
            StackJob(i, start, stop, whole or (self._stored and self._place.is_done(i)))
            for i, (start, stop) in rows
        ]

    def to_json(self) -> dict[str, Any]:
        """The plan in short, as JSON."""
        names = self._content["names"]
        return {
            "out": self.out,
            "source": self._content["source"]["kind"],
            "axes": names,
            "shape": list(self.shape),
            "dtype": self._content["source"]["dtype"],
            "bytes": self.nbytes,
            "version": self._content["version"],
            "levels": [_shapes(document) for document in self._content["documents"]],
            "levels_of_jobs": self.levels_of_jobs,
            "method": self._content["method"],
            "memory": self.memory,
            "jobs": [
                {"index": job.index, "start": job.start, "stop": job.stop, "done": job.done}
                for job in self.jobs
            ],
        }

    def run(self, index: int, **options: Any) -> StackJob:
        """Run a job; see :func:`run_job`."""
        from platestore.stacks.running import run

        return run(self, index, **options)

    def finish(self, **options: Any) -> Position:
        """Complete the image; see :func:`finish`."""
        from platestore.stacks.running import complete

        return complete(self, **options)

    # --- for those who run it ---------------------------------------------------------------------

    def _require_current(self) -> None:
        """Refuse to go on with a plan that another one has replaced, or that is carried out."""
        if self._place.read()["id"] != self._content["id"]:
            raise NodeNotFoundError(
                "the import was planned anew", path=self.out, hint="open the new plan: StackPlan.open(out)"
            )

    def _documents(self) -> list[ArrayDocument]:
        fmt = self._content["zarr_format"]
        rows = enumerate(self._content["documents"])
        return [ArrayDocument(str(k), fmt, array_files(fmt, d, where=str(k))[-1][1]) for k, d in rows]

    def _source(self, planes: Any) -> Source:
        """The pixels: given, in hand, or where the plan says they are."""
        words = self._content["source"]
        intake = take(planes) if planes is not None else self._intake or reopen(words)
        if intake is None:
            raise ArgumentError(
                "the stack was an array in memory, which the plan cannot name",
                path=self.out,
                hint="pass it again: run_job(out, index, planes=array)",
            )
        if planes is not None:
            require_same_source(words, intake.words, self.out)
        self._intake = intake
        source = rearranged(intake, self._content["names"], where=self.out)
        if tuple(source.shape) != self.shape or source.dtype.name != words["dtype"]:
            raise SourceChangedError(
                f"the stack has shape {tuple(source.shape)} and type {source.dtype} now; the plan is for "
                f"{self.shape} and {words['dtype']}",
                path=self.out,
            )
        return source


def _shapes(document: dict[str, Any]) -> dict[str, Any]:
    from platestore.arrays.layout import layout_of

    found = layout_of(document, document["zarr_format"])
    shards = None if found.shards is None else list(found.shards)
    return {"shape": list(found.shape), "chunks": list(found.chunks), "shards": shards}


def require_same_source(former: dict[str, Any], found: dict[str, Any], where: str) -> None:
    """Refuse another stack than the one that the plan was made for.

    Raises
    ------
    SourceChangedError
        If it is another one; the message says how it differs.
    """
    found = json.loads(json.dumps(found))
    for key in sorted(former.keys() | found.keys()):
        if former.get(key) == found.get(key):
            continue
        if key == "stamps" and former.get("files") == found.get("files"):
            rows = zip(found["files"], former["stamps"], found["stamps"], strict=True)
            changed = next(path for path, a, b in rows if a != b)
            raise SourceChangedError("the plane changed since the import was begun", path=changed, hint=_ANEW)
        if key in ("stamps", "planes"):
            continue
        raise SourceChangedError(
            f"the import was begun from another stack: its {key} differ", path=where, hint=_ANEW
        )
