"""Where a copy grows, and how it takes its place.

The copy of ``OUT.zarr`` grows in ``OUT.zarr.copying``, beside a journal that says what it is a copy of. Its
root has no document until all the rest is there. When it is whole (and verified, if that is asked for) it
takes its name in one step; a store that it replaces stays as it is until then. What an interruption leaves
is continued by ``resume``, or started anew by ``overwrite``.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from platestore.copying.files import scan
from platestore.copying.plan import Plan
from platestore.errors import (
    ArgumentError,
    NodeExistsError,
    SourceChangedError,
    UnsafeTargetError,
    VerifyError,
)
from platestore.publish import targets
from platestore.publish.workplace import WorkPlace, identity_of
from platestore.storage.archive import ArchiveStorage
from platestore.storage.base import Durability, Storage, StorageOptions
from platestore.storage.files import sync_directory, write_all
from platestore.storage.local import LocalStorage
from platestore.storage.ozx import OzxStorage, check_archive

_LEVELS = "levels.txt"


@dataclass(frozen=True, slots=True)
class CopyPlace(WorkPlace):
    """The place of one copy.

    Attributes
    ----------
    inside : bool
        Whether it becomes a part of a store that exists.
    """

    inside: bool = False

    def check(self, *, overwrite: bool, resume: bool) -> None:
        """Refuse a destination that must not be written, before anything is.

        Raises
        ------
        NodeExistsError
            If something is there, or an unfinished copy is.
        UnsafeTargetError
            If something is there that is no store.
        ReadOnlyError
            If there is no right to write there.
        """
        if overwrite and resume:
            raise ArgumentError("overwrite starts anew, resume continues", hint="pass one of them")
        self.require_directory()
        if self.is_begun() and not (overwrite or resume):
            raise NodeExistsError(
                f"an unfinished copy is there ({os.path.basename(self.work)})",
                path=self.final,
                hint="resume=True (--resume) continues it, overwrite=True (--overwrite) starts anew",
            )
        if targets.exists(self.final):
            if not overwrite and not self.inside and not (resume and self._replaces()):
                raise NodeExistsError(
                    "the destination exists",
                    path=self.final,
                    hint="overwrite=True (--overwrite) replaces it when the copy is complete",
                )
            self.check_replaceable()
        targets.check_parent(self.final)

    def _replaces(self) -> bool:
        """Whether the unfinished copy was begun to replace what is there."""
        return bool(self.read().get("overwrite"))

    def check_replaceable(self) -> None:
        """Refuse to replace anything but a store."""
        if self.inside:
            hint = (
                "resume=True (--resume) lists it"
                if self.is_installed()
                else "delete it first: del plate[...]"
            )
            raise NodeExistsError("the destination exists, in a store", path=self.final, hint=hint)
        if not self.is_archive:
            targets.check_replaceable(self.final, check_name=False)
        else:
            check_archive(self.final)


def check_apart(place: CopyPlace, sources: Sequence[str]) -> None:
    """Refuse a destination inside a source, a source inside the destination, and both being one.

    Raises
    ------
    UnsafeTargetError
        If that is so.
    """
    final = os.path.realpath(place.final)
    for source in sources:
        real = os.path.realpath(source)
        if final == real:
            raise UnsafeTargetError("source and destination are the same", path=place.final)
        if final.startswith(real + os.sep):
            raise UnsafeTargetError(f"lies inside the source {source}", path=place.final)
        if real.startswith(final + os.sep) and not place.inside:
            raise UnsafeTargetError(f"holds the source {source}", path=place.final)


class LockedPlace:
    """A place while it is worked on, under a lock.

    Parameters
    ----------
    place : CopyPlace
        The place.
    plan : Plan
        The copy.
    durability : {"process", "metadata", "full"}
        What is flushed to the device.
    resume : bool
        Whether an unfinished copy is continued.
    overwrite : bool
        Whether what is there is replaced; an unfinished copy knows that itself.
    """

    def __init__(
        self, place: CopyPlace, plan: Plan, durability: Durability, *, resume: bool, overwrite: bool
    ) -> None:
        self.place = place
        self._overwrite = overwrite
        self.resumed = False
        self._plan = plan
        self._durability = durability
        self._resume = resume
        self._storage: Storage | None = None

    @contextlib.contextmanager
    def opened(self, *, options: dict[str, Any]) -> Iterator[Storage]:
        """Hold the lock, and give the storage of the growing copy.

        Parameters
        ----------
        options : dict
            What was asked for, for the message if an unfinished copy was made with something else.
        """
        with self.place.locked():
            yield self._prepare(options)

    def _prepare(self, options: dict[str, Any]) -> Storage:
        """Start anew, or find out what is there already."""
        place, journal = self.place, self.place.read()
        place.put_back()
        options = json.loads(json.dumps(options))  # as they come back from the journal
        if journal.get("failed") and self._resume:
            raise VerifyError("the unfinished copy failed its check", path=place.final)
        if journal and self._resume and os.path.lexists(place.data):
            require_same(place, self._plan, options)
            self.resumed = True
            self._overwrite = bool(journal.get("overwrite"))
        else:
            if targets.exists(place.final) and (place.inside or not self._overwrite):
                # Another process finished a copy to this place since it was looked at.
                place.remove()
                place.check(overwrite=self._overwrite, resume=False)
            place.clear()
            place.make_data()
            place.write(
                {
                    "plan": self._plan.fingerprint(),
                    "options": options,
                    "overwrite": self._overwrite,
                    "identity": identity_of(place.data),
                    "stamps": self._plan.stamps,
                }
            )
        if place.is_archive:
            self._storage = ArchiveStorage(place.data, resume=self.resumed, durability=self._durability)
        else:
            if self.resumed:
                place.sweep()
            self._storage = LocalStorage(
                place.data, StorageOptions(read_only=False, durability=self._durability, lock=False)
            )
        return self._storage

    def finished(self) -> set[str]:
        """Paths of the levels that were made before an interruption."""
        if not self.resumed:
            return set()
        try:
            with open(os.path.join(self.place.work, _LEVELS), "rb") as file:
                lines = file.read().split(b"\n")
        except FileNotFoundError:
            return set()
        return {line.decode() for line in lines[:-1]}  # what follows the last newline may be cut off

    def mark_finished(self, path: str) -> None:
        """Note that a level, and those after it, are made."""
        name = os.path.join(self.place.work, _LEVELS)
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            write_all(descriptor, f"{path}\n".encode(), name)
        finally:
            os.close(descriptor)

    def mark_failed(self) -> None:
        """Note that the copy was found to differ from its source: it is not to be continued."""
        self.place.write({**self.place.read(), "failed": True})

    def install(self) -> None:
        """Give the complete copy its name; a store that it replaces is deleted after that."""
        place, sync = self.place, self._durability != "process"
        if targets.exists(place.final) and self._overwrite:
            place.check_replaceable()  # it may be another thing than when the copy was begun
        if place.is_archive:
            assert self._storage is not None
            self._storage.finish()
            self._storage.close()
        elif self._durability == "full":
            for folder in scan(place.data):
                sync_directory(os.path.join(place.data, folder.path))
        place.install(replace=self._overwrite, sync=sync)
        place.remove()


def require_same(place: CopyPlace, plan: Plan, options: dict[str, Any]) -> None:
    """Refuse to continue a copy that was begun from other sources or with other options.

    Raises
    ------
    ArgumentError
        If the options are other ones; the message names them.
    SourceChangedError
        If a source changed.
    """
    journal = place.read()
    options = json.loads(json.dumps(options))  # as they come back from the journal
    if journal.get("plan") == plan.fingerprint() and journal.get("options") == options:
        return
    before, now = journal.get("stamps") or {}, json.loads(json.dumps(plan.stamps))
    if journal.get("options") == options and before != now:
        changed = sorted(k for k in before.keys() | now.keys() if before.get(k) != now.get(k))
        shown = ", ".join(changed[:5]) + (", ..." if len(changed) > 5 else "")
        raise SourceChangedError(f"the source changed since the copy was begun: {shown}", path=place.final)
    old = journal.get("options") or {}
    other = sorted(k for k in old.keys() | options.keys() if old.get(k) != options.get(k))
    what = "; ".join(f"{k} was {old.get(k)!r}, is {options.get(k)!r}" for k in other) or "another version"
    raise ArgumentError(
        f"the unfinished copy was begun with other options: {what}",
        path=place.final,
        hint="repeat them, or start anew with overwrite=True (--overwrite)",
    )


def installed(place: CopyPlace) -> Storage:
    """The copy in its place, for reading."""
    if place.is_archive:
        return OzxStorage(place.final, StorageOptions())
    return LocalStorage(place.final, StorageOptions())
