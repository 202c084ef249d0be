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
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from platestore.copying.files import belongs, scan
from platestore.copying.plan import Plan
from platestore.errors import (
    ArgumentError,
    LockTimeoutError,
    NodeExistsError,
    NodeNotFoundError,
    SourceChangedError,
    UnsafeTargetError,
    VerifyError,
)
from platestore.storage import locks, targets
from platestore.storage.archive import ArchiveStorage
from platestore.storage.base import Durability, Storage, StorageOptions
from platestore.storage.files import CREATE, rename, sync_directory, write_all, write_over
from platestore.storage.local import LocalStorage
from platestore.storage.ozx import OzxStorage, check_archive

_JOURNAL = "journal.json"
_DATA = "data"
_LEVELS = "levels.txt"
_OLD = "old"
_KNOWN = {_JOURNAL, _DATA, _LEVELS, _OLD}
_TEMPORARY = re.compile(r"\.journal\.json\.\d+-\d+-[0-9a-f]+\.tmp")


@dataclass(frozen=True, slots=True)
class CopyPlace:
    """The place of one copy.

    Attributes
    ----------
    final : str
        Absolute path that it gets.
    is_archive : bool
        Whether it is an ``.ozx`` file.
    work : str
        Directory in which it grows, on the same file system.
    inside : bool
        Whether it becomes a part of a store that exists.
    """

    final: str
    is_archive: bool
    work: str
    inside: bool = False

    @property
    def data(self) -> str:
        """The growing copy."""
        return os.path.join(self.work, _DATA)

    @property
    def old(self) -> str:
        """Where the store that is replaced is for a moment, where two directories cannot be exchanged."""
        return os.path.join(self.work, _OLD)

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
        _check_work(self.work)
        unfinished = any(os.path.lexists(os.path.join(self.work, name)) for name in (_JOURNAL, _DATA))
        if unfinished and not (overwrite or resume):
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
            self._check_replaceable()
        targets.check_parent(self.final)

    def _replaces(self) -> bool:
        """Whether the unfinished copy was begun to replace what is there."""
        return bool(_read(self.work).get("overwrite"))

    def _check_replaceable(self) -> None:
        if self.inside:
            hint = "resume=True (--resume) lists it" if self.is_done() else "delete it first: del plate[...]"
            raise NodeExistsError("the destination exists, in a store", path=self.final, hint=hint)
        if not self.is_archive:
            targets.check_replaceable(self.final, check_name=False)
        else:
            check_archive(self.final)

    def is_done(self) -> bool:
        """Whether an earlier call put the copy in its place, and was interrupted after that."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            return bool(_identity(self.final) == _read(self.work)["identity"])
        return False


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
        work = self.place.work
        os.makedirs(os.path.dirname(work), exist_ok=True)
        while True:
            with contextlib.suppress(FileExistsError):
                os.mkdir(work)
            _check_work(work)
            try:
                with contextlib.ExitStack() as stack:
                    stack.enter_context(self._locked(work))
                    self._prepare(options)
                    assert self._storage is not None
                    yield self._storage
                return
            except NodeNotFoundError:
                if self._storage is not None:
                    raise  # what was looked for is not the lock
                # Somebody else finished, and took the directory away.

    @contextlib.contextmanager
    def _locked(self, work: str) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locks.locked(work, work, 0))
            except LockTimeoutError:
                raise LockTimeoutError(
                    "another process is copying to this destination",
                    path=self.place.final,
                    hint="wait until it is done, or choose another destination",
                ) from None
            yield

    def _prepare(self, options: dict[str, Any]) -> None:
        """Start anew, or find out what is there already."""
        place, journal = self.place, _read(self.place.work)
        if os.path.lexists(place.old) and not os.path.lexists(place.final):
            rename(place.old, place.final)  # it was to be replaced, and was not
        options = json.loads(json.dumps(options))  # as they come back from the journal
        fingerprint = self._plan.fingerprint()
        if journal.get("failed") and self._resume:
            raise VerifyError("the unfinished copy failed its check", path=place.final)
        if journal and self._resume and os.path.lexists(place.data):
            require_same(place, self._plan, options)
            self.resumed = True
            self._overwrite = bool(journal.get("overwrite"))
        else:
            if targets.exists(place.final) and (place.inside or not self._overwrite):
                # Another process finished a copy to this place since it was looked at.
                finish_interrupted(place)
                place.check(overwrite=self._overwrite, resume=False)
            _clear(place.work)
            if not place.is_archive:
                os.mkdir(place.data)
            else:
                os.close(os.open(place.data, CREATE, 0o666))
            _write(
                place.work,
                {
                    "plan": fingerprint,
                    "options": options,
                    "overwrite": self._overwrite,
                    "identity": _identity(place.data),
                    "stamps": self._plan.stamps,
                },
            )
        if place.is_archive:
            self._storage = ArchiveStorage(place.data, resume=self.resumed, durability=self._durability)
        else:
            if self.resumed:
                _sweep(place.data)
            self._storage = LocalStorage(
                place.data, StorageOptions(read_only=False, durability=self._durability, lock=False)
            )

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
        _write(self.place.work, {**_read(self.place.work), "failed": True})

    def install(self) -> None:
        """Give the complete copy its name; a store that it replaces is deleted after that."""
        place, sync = self.place, self._durability != "process"
        if targets.exists(place.final) and self._overwrite:
            place._check_replaceable()  # it may be another thing than when the copy was begun
        if place.is_archive:
            assert self._storage is not None
            self._storage.finish()
            self._storage.close()
            targets.install_file(place.data, place.final, replace=self._overwrite)
            if sync:
                sync_directory(os.path.dirname(place.final))
        else:
            if self._durability == "full":
                for folder in scan(place.data):
                    sync_directory(os.path.join(place.data, folder.path))
            targets.install(place.data, place.final, replace=self._overwrite, sync=sync, aside=place.old)
        self.remove()

    def remove(self) -> None:
        """Take the working directory away."""
        finish_interrupted(self.place)


def require_same(place: CopyPlace, plan: Plan, options: dict[str, Any]) -> None:
    """Refuse to continue a copy that was begun from other sources or with other options.

    Raises
    ------
    ArgumentError
        If the options are other ones; the message names them.
    SourceChangedError
        If a source changed.
    """
    journal = _read(place.work)
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


def finish_interrupted(place: CopyPlace) -> None:
    """Remove the working directory of a copy that took its place; what others put there stays."""
    with contextlib.suppress(OSError):
        with os.scandir(place.work) as found:
            entries = list(found)
        for entry in entries:
            if _is_ours(entry.name):
                _delete(entry)
        os.rmdir(place.work)


def _check_work(work: str) -> None:
    """Refuse a working directory that is none."""
    if os.path.lexists(work) and (os.path.islink(work) or not os.path.isdir(work)):
        raise UnsafeTargetError(
            "is no directory, but the copy would grow there",
            path=work,
            hint="move it away, or choose another destination",
        )


def _is_ours(name: str) -> bool:
    return name in _KNOWN or _TEMPORARY.fullmatch(name) is not None


def _delete(entry: os.DirEntry[str]) -> None:
    if entry.is_dir(follow_symlinks=False):
        shutil.rmtree(entry.path)
    else:
        os.unlink(entry.path)


def installed(place: CopyPlace) -> Storage:
    """The copy in its place, for reading."""
    if place.is_archive:
        return OzxStorage(place.final, StorageOptions())
    return LocalStorage(place.final, StorageOptions())


def _identity(path: str) -> list[int]:
    info = os.stat(path)
    return [info.st_dev, info.st_ino]


def _read(work: str) -> dict[str, Any]:
    try:
        with open(os.path.join(work, _JOURNAL), "rb") as file:
            content = json.load(file)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write(work: str, content: dict[str, Any]) -> None:
    write_over(os.path.join(work, _JOURNAL), json.dumps(content).encode())


def _clear(work: str) -> None:
    """Empty a working directory: what is in it belongs to a copy that is not continued."""
    with os.scandir(work) as found:
        entries = list(found)
    foreign = [e.name for e in entries if not _is_ours(e.name)]
    if foreign:
        raise UnsafeTargetError(
            f"holds files that no copy left: {', '.join(sorted(foreign)[:5])}",
            path=work,
            hint="nothing was deleted; move them away first",
        )
    for entry in entries:
        _delete(entry)


def _sweep(directory: str) -> None:
    """Remove temporary files of the interrupted process; nobody else works here."""
    with os.scandir(directory) as found:
        entries = list(found)
    for entry in entries:
        if not belongs(entry.name):
            _delete(entry)
        elif entry.is_dir(follow_symlinks=False):
            _sweep(entry.path)
