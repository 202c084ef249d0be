"""The directory in which a store grows beside its place, until it takes that place in one step.

``OUT.zarr`` grows in ``OUT.zarr.copying`` (or ``.importing``): in ``data``, beside a journal that says what
is under way there. ``old`` holds, between two renames, a store that is replaced, where the system cannot
exchange two directories. The directory's lock says who is at work; it goes with the process that held it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from platestore.errors import LockTimeoutError, NodeNotFoundError, UnsafeTargetError
from platestore.publish import targets
from platestore.spec.values import Json
from platestore.storage import locks
from platestore.storage.base import belongs
from platestore.storage.files import CREATE, rename, sync_directory, write_over

_DATA = "data"
_OLD = "old"


@dataclass(frozen=True, slots=True)
class WorkKind:
    """What grows in a directory of one kind.

    Attributes
    ----------
    what : str
        The work, in messages: ``"copy"``.
    grows : str
        What grows there, in messages: ``"image"``.
    suffix : str
        What follows the name of the place in that of the directory.
    journal : str
        Name of the file that says what is under way.
    others : frozenset of str
        Names of what else the work keeps in the directory.
    """

    what: str
    grows: str
    suffix: str
    journal: str
    others: frozenset[str]


COPY = WorkKind("copy", "copy", ".copying", "journal.json", frozenset({"levels.txt"}))
IMPORT = WorkKind("import", "image", ".importing", "plan.json", frozenset({"jobs"}))


@dataclass(frozen=True, slots=True)
class WorkPlace:
    """A place, and the directory in which what shall take it grows.

    Attributes
    ----------
    final : str
        Absolute path of the place.
    is_archive : bool
        Whether it is an ``.ozx`` file.
    work : str
        The directory, on the same file system.
    kind : WorkKind
        What grows there.
    """

    final: str
    is_archive: bool
    work: str
    kind: WorkKind = COPY

    @property
    def data(self) -> str:
        """What grows."""
        return os.path.join(self.work, _DATA)

    @property
    def old(self) -> str:
        """Where a store that is replaced is between two renames."""
        return os.path.join(self.work, _OLD)

    @property
    def journal(self) -> str:
        """The file that says what is under way."""
        return os.path.join(self.work, self.kind.journal)

    # --- what is under way ------------------------------------------------------------------------

    def is_begun(self) -> bool:
        """Whether something is under way, or was when it was interrupted."""
        return os.path.lexists(self.journal) or os.path.lexists(self.data)

    def read(self) -> Json:
        """The journal; empty if there is none, or it cannot be read."""
        try:
            with open(self.journal, "rb") as file:
                content = json.load(file)
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def write(self, content: Json) -> None:
        """Write the journal: from then on, the work is under way."""
        write_over(self.journal, json.dumps(content).encode())

    def is_installed(self) -> bool:
        """Whether what the journal tells of took its place, and the work was interrupted after that."""
        with contextlib.suppress(OSError, KeyError):
            return bool(identity_of(self.final) == self.read()["identity"])
        return False

    # --- the directory ----------------------------------------------------------------------------

    def require_directory(self) -> None:
        """Refuse a directory to grow in that is none."""
        if os.path.lexists(self.work) and (os.path.islink(self.work) or not os.path.isdir(self.work)):
            raise UnsafeTargetError(
                f"is no directory, but the {self.kind.grows} would grow there",
                path=self.work,
                hint="move it away, or choose another destination",
            )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Make the directory, and hold its lock.

        Raises
        ------
        LockTimeoutError
            If another process is at work there.
        """
        os.makedirs(os.path.dirname(self.work), exist_ok=True)
        held = False
        while True:
            with contextlib.suppress(FileExistsError):
                os.mkdir(self.work)
            self.require_directory()
            problem = f"another process is {self.kind.suffix[1:]} to this destination"
            try:
                with locked(self.work, problem, self.final, "wait until it is done, or choose another"):
                    held = True
                    yield
                return
            except NodeNotFoundError:
                if held:
                    raise  # what was looked for is not the lock
                # Somebody else finished, and took the directory away.

    def put_back(self) -> None:
        """Give a store its name again that was to be replaced, and was not."""
        if os.path.lexists(self.old) and not os.path.lexists(self.final):
            rename(self.old, self.final)

    def clear(self) -> None:
        """Empty the directory: what is in it belongs to work that is not continued.

        Raises
        ------
        UnsafeTargetError
            If there are files that no work of this kind left; nothing was deleted.
        """
        with os.scandir(self.work) as found:
            entries = list(found)
        foreign = [e.name for e in entries if not self._is_ours(e.name)]
        if foreign:
            raise UnsafeTargetError(
                f"holds files that no {self.kind.what} left: {', '.join(sorted(foreign)[:5])}",
                path=self.work,
                hint="nothing was deleted; move them away first",
            )
        for entry in sorted(entries, key=lambda e: e.name != self.kind.journal):
            _delete(entry)

    def make_data(self) -> None:
        """Begin with an empty directory, or an empty file."""
        if self.is_archive:
            os.close(os.open(self.data, CREATE, 0o666))
        else:
            os.mkdir(self.data)

    def sweep(self) -> None:
        """Remove temporary files of interrupted processes from what grows; nobody else works there."""
        _sweep(self.data)

    def install(self, *, replace: bool, sync: bool = False) -> None:
        """Give what grew its place, in one step; a store that it replaces is deleted after that.

        Parameters
        ----------
        replace : bool
            Whether a store that is there is replaced.
        sync : bool
            Whether the directory that names it is flushed to the device.
        """
        if not self.is_archive:
            targets.install(self.data, self.final, replace=replace, sync=sync, aside=self.old)
            return
        targets.install_file(self.data, self.final, replace=replace)
        if sync:
            sync_directory(os.path.dirname(self.final))

    def remove(self) -> None:
        """Take the directory away, the journal last: until then the end can be repeated.

        What others put there stays.
        """
        with contextlib.suppress(OSError):
            with os.scandir(self.work) as found:
                entries = list(found)
            for entry in sorted(entries, key=lambda e: e.name == self.kind.journal):
                if self._is_ours(entry.name):
                    _delete(entry)
            os.rmdir(self.work)

    def _is_ours(self, name: str) -> bool:
        journal = re.escape(self.kind.journal)
        return name in {self.kind.journal, _DATA, _OLD, *self.kind.others} or bool(
            re.fullmatch(rf"\.{journal}\.\d+-\d+-[0-9a-f]+\.tmp", name)
        )


def identity_of(path: str) -> list[int]:
    """What tells a file or directory from any other."""
    info = os.stat(path)
    return [info.st_dev, info.st_ino]


@contextlib.contextmanager
def locked(directory: str, problem: str, final: str, hint: str = "wait until it is done") -> Iterator[None]:
    """Hold the lock of a directory, or say at once who holds it."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locks.locked(directory, directory, 0))
        except LockTimeoutError:
            raise LockTimeoutError(problem, path=final, hint=hint) from None
        yield


def _delete(entry: os.DirEntry[str]) -> None:
    if entry.is_dir(follow_symlinks=False):
        shutil.rmtree(entry.path)
    else:
        os.unlink(entry.path)


def _sweep(directory: str) -> None:
    with os.scandir(directory) as found:
        entries = list(found)
    for entry in entries:
        if not belongs(entry.name):
            _delete(entry)
        elif entry.is_dir(follow_symlinks=False):
            _sweep(entry.path)
