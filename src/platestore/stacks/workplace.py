"""Where an image grows: beside its place, with a plan and a marker for each finished block.

The image ``OUT.zarr`` grows in ``OUT.zarr.importing`` (a position of a plate, in a hidden directory of the
plate). Its root has no document until all the rest is there; then it takes its name in one step.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from platestore.copying.destination import Destination, find_destination
from platestore.errors import (
    ArgumentError,
    InvalidMetadataError,
    NodeNotFoundError,
    UnsupportedError,
)
from platestore.publish import targets
from platestore.publish.workplace import COPY, IMPORT, locked
from platestore.spec.values import Json
from platestore.storage.base import StorageOptions
from platestore.storage.files import write_over
from platestore.storage.local import LocalStorage

_JOBS = "jobs"
_DONE = "done"
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
        work = found.place.work.removesuffix(COPY.suffix) + IMPORT.suffix
        self.beside = replace(found.place, work=work, kind=IMPORT)
        self.destination: Destination = replace(found, place=self.beside)
        if self.destination.root is not None and self.destination.inner.count("/") != 2:
            raise ArgumentError(
                f"{self.destination.inner} in the store {self.destination.root} is no position",
                path=self.final,
                hint="a position is PLATE/row/column/field",
            )

    @property
    def final(self) -> str:
        """Absolute path of the image."""
        return self.beside.final

    @property
    def work(self) -> str:
        """The working directory."""
        return self.beside.work

    @property
    def data(self) -> str:
        """The growing image."""
        return self.beside.data

    def storage(self) -> LocalStorage:
        """The storage of the growing image."""
        return LocalStorage(self.data, StorageOptions(read_only=False, lock=False))

    # --- the plan ---------------------------------------------------------------------------------

    def exists(self) -> bool:
        """Whether there is an unfinished import."""
        return os.path.lexists(self.beside.journal)

    def read(self) -> Json:
        """The plan of an unfinished import.

        Raises
        ------
        NodeNotFoundError
            If there is none.
        InvalidMetadataError
            If it cannot be read.
        """
        path = self.beside.journal
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

    def write(self, content: Json) -> None:
        """Write the plan; with it, the import is under way."""
        self.beside.write(content)

    def make(self) -> None:
        """Empty the working directory, and begin anew.

        Raises
        ------
        UnsafeTargetError
            If there are files that no import left.
        LockTimeoutError
            If a job of the import that was here runs.
        """
        self._require_idle()
        self.beside.put_back()
        self.beside.clear()
        self.beside.make_data()
        os.mkdir(os.path.join(self.work, _JOBS))

    def _require_idle(self) -> None:
        """Refuse to take the place away from a job that runs."""
        jobs = os.path.join(self.work, _JOBS)
        for name in os.listdir(jobs) if os.path.isdir(jobs) else ():
            with locked(os.path.join(jobs, name), f"another process is running job {name}", self.final):
                pass

    def check(self) -> None:
        """Refuse a working directory that is none, before anything is written."""
        self.beside.require_directory()
        targets.check_parent(self.final)

    # --- who is at work ---------------------------------------------------------------------------

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Exclude others who plan or finish this import."""
        with locked(self.work, "another process is planning or finishing this import", self.final):
            yield

    @contextlib.contextmanager
    def at_work(self, index: int) -> Iterator[None]:
        """Exclude others who run the same job."""
        directory = self._job(index)
        os.makedirs(directory, exist_ok=True)
        with locked(directory, f"another process is running job {index}", self.final):
            yield

    def _job(self, index: int | str) -> str:
        return os.path.join(self.work, _JOBS, str(index))

    # --- markers ----------------------------------------------------------------------------------

    def is_done(self, index: int | str) -> bool:
        """Whether a job is finished."""
        return os.path.exists(os.path.join(self._job(index), _DONE))

    def mark_done(self, index: int | str, content: Json) -> None:
        """Note that a job is finished."""
        os.makedirs(self._job(index), exist_ok=True)
        write_over(os.path.join(self._job(index), _DONE), json.dumps(content).encode())

    def unmark(self, index: int | str) -> None:
        """Take the marker away: the job is run again."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self._job(index), _DONE))


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
