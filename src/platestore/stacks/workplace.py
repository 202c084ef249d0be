"""Where an image grows: beside its place, with a plan and a marker for each finished block.

The image ``OUT.zarr`` grows in ``OUT.zarr.importing`` (a position of a plate, in a hidden directory of the
plate). Its root has no document until all the rest is there; then it takes its name in one step.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from platestore.copying.destination import Destination, find_destination
from platestore.copying.files import belongs
from platestore.errors import (
    ArgumentError,
    InvalidMetadataError,
    LockTimeoutError,
    NodeNotFoundError,
    UnsafeTargetError,
    UnsupportedError,
)
from platestore.storage import locks, targets
from platestore.storage.base import StorageOptions
from platestore.storage.files import write_over
from platestore.storage.local import LocalStorage

_PLAN = "plan.json"
_DATA = "data"
_JOBS = "jobs"
_OLD = "old"
_DONE = "done"
_KNOWN = {_PLAN, _DATA, _JOBS, _OLD}
_SUFFIX = ".importing"
#: Stands for the coarser levels, where jobs are numbered.
LEVELS = "levels"


class StackWorkPlace:
    """The working directory of one import.

    Parameters
    ----------
    out : path
        The image that is made.

    Raises
    ------
    ArgumentError, UnsupportedError
        If it is no path that an image can have.
    """

    def __init__(self, out: Any) -> None:
        found = find_destination(out)
        if found.place.is_archive:
            raise UnsupportedError(
                "an archive does not grow block by block",
                path=found.place.final,
                hint="write a .zarr, then `platestore copy OUT.zarr OUT.ozx`",
            )
        if found.store is not None:
            raise UnsupportedError(
                "an image grows in a directory, not in a zarr Store", path=found.place.final
            )
        if found.made:
            raise ArgumentError(
                f"there is no plate {found.place.final} to hold {found.made}",
                path=os.path.join(found.place.final, *found.made.split("/")),
                hint="create the plate first: open_ome_zarr(..., layout='hcs', mode='w-'), or name a store",
            )
        work = found.place.work.removesuffix(".copying") + _SUFFIX
        self.destination: Destination = replace(found, place=replace(found.place, work=work))
        if self.destination.root is not None and self.destination.inner.count("/") != 2:
            raise ArgumentError(
                f"{self.destination.inner} in the store {self.destination.root} is no position",
                path=self.final,
                hint="a position is PLATE/row/column/field",
            )

    @property
    def final(self) -> str:
        """Absolute path of the image."""
        return self.destination.place.final

    @property
    def work(self) -> str:
        """The working directory."""
        return self.destination.place.work

    @property
    def data(self) -> str:
        """The growing image."""
        return self.destination.place.data

    @property
    def old(self) -> str:
        """Where an image that is replaced is for a moment."""
        return self.destination.place.old

    def storage(self) -> LocalStorage:
        """The storage of the growing image."""
        return LocalStorage(self.data, StorageOptions(read_only=False, lock=False))

    # --- the plan ---------------------------------------------------------------------------------

    def exists(self) -> bool:
        """Whether there is an unfinished import."""
        return os.path.lexists(os.path.join(self.work, _PLAN))

    def read(self) -> dict[str, Any]:
        """The plan of an unfinished import.

        Raises
        ------
        NodeNotFoundError
            If there is none.
        InvalidMetadataError
            If it cannot be read.
        """
        path = os.path.join(self.work, _PLAN)
        try:
            with open(path, "rb") as file:
                content = json.load(file)
        except FileNotFoundError:
            raise NodeNotFoundError(
                "no import is under way here", path=self.final, hint="plan() (--jobs) prepares one"
            ) from None
        except ValueError as error:
            raise InvalidMetadataError(f"the plan cannot be read: {error}", path=path) from None
        if not isinstance(content, dict) or content.get("format") != 1 or not content.keys() >= _KEYS:
            raise InvalidMetadataError("the plan was written by another version", path=path)
        return content

    def write(self, content: dict[str, Any]) -> None:
        """Write the plan; with it, the import is under way."""
        _write_json(os.path.join(self.work, _PLAN), content)

    def make(self) -> None:
        """Make the working directory, and empty it.

        Raises
        ------
        UnsafeTargetError
            If there are files that no import left.
        LockTimeoutError
            If a job of the import that was here runs.
        """
        os.makedirs(self.work, exist_ok=True)
        with os.scandir(self.work) as found:
            entries = list(found)
        foreign = [e.name for e in entries if not (e.name in _KNOWN or e.name.startswith(f".{_PLAN}."))]
        if foreign:
            raise UnsafeTargetError(
                f"holds files that no import left: {', '.join(sorted(foreign)[:5])}",
                path=self.work,
                hint="nothing was deleted; move them away first",
            )
        self._require_idle()
        for name in sorted((e.name for e in entries), key=lambda name: name != _PLAN):
            _delete(os.path.join(self.work, name))
        os.mkdir(self.data)
        os.mkdir(os.path.join(self.work, _JOBS))

    def _require_idle(self) -> None:
        """Refuse to take the place away from a job that runs."""
        jobs = os.path.join(self.work, _JOBS)
        for name in os.listdir(jobs) if os.path.isdir(jobs) else ():
            with _held(os.path.join(jobs, name), f"another process is running job {name}", self.final):
                pass

    def remove(self) -> None:
        """Take the working directory away, the plan last: until then finish() can be repeated."""
        with contextlib.suppress(OSError):
            for name in (_OLD, _DATA, _JOBS, _PLAN):
                path = os.path.join(self.work, name)
                if os.path.lexists(path):
                    _delete(path)
            os.rmdir(self.work)

    def check(self) -> None:
        """Refuse a working directory that is none, before anything is written."""
        if os.path.lexists(self.work) and (os.path.islink(self.work) or not os.path.isdir(self.work)):
            raise UnsafeTargetError(
                "is no directory, but the image would grow there",
                path=self.work,
                hint="move it away, or choose another destination",
            )
        targets.check_parent(self.final)

    # --- who is at work ---------------------------------------------------------------------------

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Exclude others who plan or finish this import."""
        with _held(self.work, "another process is planning or finishing this import", self.final):
            yield

    @contextlib.contextmanager
    def at_work(self, index: int) -> Iterator[None]:
        """Exclude others who run the same job."""
        directory = self._job(index)
        os.makedirs(directory, exist_ok=True)
        with _held(directory, f"another process is running job {index}", self.final):
            yield

    def _job(self, index: int | str) -> str:
        return os.path.join(self.work, _JOBS, str(index))

    # --- markers ----------------------------------------------------------------------------------

    def is_done(self, index: int | str) -> bool:
        """Whether a job is finished."""
        return os.path.exists(os.path.join(self._job(index), _DONE))

    def mark_done(self, index: int | str, content: dict[str, Any]) -> None:
        """Note that a job is finished."""
        os.makedirs(self._job(index), exist_ok=True)
        _write_json(os.path.join(self._job(index), _DONE), content)

    def unmark(self, index: int | str) -> None:
        """Take the marker away: the job is run again."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self._job(index), _DONE))

    # --- the end ----------------------------------------------------------------------------------

    def identity(self) -> list[int]:
        """What tells the growing image from any other directory."""
        return identity_of(self.data)

    def sweep(self) -> None:
        """Remove the temporary files that killed jobs left."""
        _sweep(self.data)


def identity_of(path: str) -> list[int]:
    """What tells a directory from any other."""
    info = os.stat(path)
    return [info.st_dev, info.st_ino]


# What every plan has.
_KEYS = {
    "id",
    "source",
    "documents",
    "factors",
    "blocks",
    "made",
    "memory",
    "identity",
    "options",
    "attributes",
}


@contextlib.contextmanager
def _held(directory: str, problem: str, final: str) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locks.locked(directory, directory, 0))
        except LockTimeoutError:
            raise LockTimeoutError(problem, path=final, hint="wait until it is done") from None
        yield


def _write_json(path: str, content: dict[str, Any]) -> None:
    write_over(path, json.dumps(content).encode())


def _delete(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _sweep(directory: str) -> None:
    with os.scandir(directory) as found:
        entries = list(found)
    for entry in entries:
        if not belongs(entry.name):
            _delete(entry.path)
        elif entry.is_dir(follow_symlinks=False):
            _sweep(entry.path)
