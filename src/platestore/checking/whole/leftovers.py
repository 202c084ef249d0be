"""What interrupted programs leave: temporary files, lock files, and directories in which something grew.

They are invisible to readers. What a living process may still need is told apart from what nobody will
come back for; of that, documents are deleted, and whatever may hold pixels is set aside.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Collection, Iterator

from platestore.checking.whole.disk import DiskDirectory
from platestore.checking.whole.problems import Fix, Problem, Step
from platestore.errors import LockTimeoutError, PlatestoreError
from platestore.spec.findings import Finding
from platestore.storage import locks
from platestore.storage.base import DOCUMENTS, Storage, join
from platestore.storage.files import UNFINISHED

# `.NAME.<process>-<number>-<random>.tmp`, as this library names them; NAME is what it was to become.
_OURS = re.compile(r"\.(?P<name>.+)\.(?P<process>\d+)-\d+-[0-9a-f]{8}\.tmp")
_STAGED = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{12}\.new")
_PARTIAL = re.compile(r".+\.[0-9a-f]{32}\.partial")
_LOCK = re.compile(r".+\.__lock")
_WORK = re.compile(rf"(?P<name>.+)(?P<work>{'|'.join(map(re.escape, UNFINISHED))})")
#: Seconds for which what names no process may belong to one.
_FRESH = 300.0


def in_directory(storage: Storage, here: DiskDirectory, recorded: Collection[str]) -> Iterator[Problem]:
    """What was left in one directory.

    Parameters
    ----------
    storage : Storage
        The store.
    here : DiskDirectory
        The directory.
    recorded : collection of str
        Paths that an unfinished change still needs.
    """
    for name in (*here.files, *here.hidden, *here.directories):
        key = join(here.path, name)
        if any(key == path or key.startswith(f"{path}/") for path in recorded):
            continue
        found = of_name(name, storage.local_path(key), storage.where(key), key)
        if found is not None:
            yield found


def beside(root: str) -> Iterator[Problem]:
    """What was left beside a store: copies and imports under way, stores half built or half removed."""
    parent, store = os.path.split(root)
    try:
        names = sorted(os.listdir(parent))
    except OSError:
        return
    for name in names:
        full = os.path.join(parent, name)
        if name == f".{store}.lock":
            yield _lock_file(full, root)
            continue
        match = _OURS.fullmatch(name) or _STAGED.fullmatch(name) or _WORK.fullmatch(name)
        if match is not None and match["name"] == store:
            found = of_name(name, full, full, full)
            if found is not None:
                yield found


def of_name(name: str, full: str | None, where: str, key: str) -> Problem | None:
    """What a name says that a file or directory is; None if it is no leftover.

    Parameters
    ----------
    name : str
        Its name.
    full : str or None
        Its path on this machine.
    where, key : str
        Its path for people, and in the store.
    """
    ours = _OURS.fullmatch(name)
    if ours is not None:
        if _is_used(full, int(ours["process"])):
            return _used(where, f"process {ours['process']}, which is alive, or made it a moment ago")
        document = ours["name"] in DOCUMENTS
        return _left("leftover-temporary", where, key, "a temporary file", delete=document)
    if _PARTIAL.fullmatch(name):
        return _left("leftover-temporary", where, key, "a temporary file of zarr", used=_is_used(full))
    if _LOCK.fullmatch(name):
        return _left("leftover-lock", where, key, "a lock of TensorStore", used=_is_used(full), delete=True)
    if _STAGED.fullmatch(name):
        return _left("leftover-staged", where, key, "what was to replace a node", used=_is_used(full))
    work = _WORK.fullmatch(name)
    if work is not None and full is not None and os.path.isdir(full):
        return _work(work["work"], full, where, key)
    return None


def is_work(name: str) -> bool:
    """Whether a copy or an import grows in a directory of this name."""
    return _WORK.fullmatch(name) is not None


def _left(code: str, where: str, key: str, what: str, *, used: bool = False, delete: bool = False) -> Problem:
    if used:
        return _used(where, "a writer, since it changed within the last minutes")
    finding = Finding(code, "", f"{what} that an interrupted program left", "warning", file=where)
    if delete:
        return Problem(finding, Fix(Step.REMOVE, key, f"delete {where}"))
    return Problem(finding, Fix(Step.SET_ASIDE, key, f"move {where} into quarantine"))


def _used(where: str, owner: str) -> Problem:
    text = f"may still be needed by {owner}"
    return Problem(Finding("in-use", "", text, "advice", file=where, hint="check again when nothing writes"))


def _work(suffix: str, full: str, where: str, key: str) -> Problem:
    if _is_locked(full):
        return _used(where, "the process that holds its lock")
    what = UNFINISHED[suffix]
    code = "copy-unfinished" if what == "copy" else "import-unfinished"
    hint = f"repeat the {what} with --resume (resume=True)"
    finding = Finding(code, "", f"an unfinished {what}", "warning", file=where, hint=hint)
    text = f"move the unfinished {what} {where} into quarantine; it cannot be resumed there"
    return Problem(finding, Fix(Step.SET_ASIDE, key, text))


def _lock_file(full: str, root: str) -> Problem:
    """The lock file beside a store, where locks of directories do not exclude."""
    if _is_used(full):
        return _used(full, "a process that changes the store")
    finding = Finding("leftover-lock", "", f"the lock file of {root}, held by nobody", "warning", file=full)
    return Problem(finding, Fix(Step.REMOVE, full, f"delete {full}"))


def _is_locked(directory: str) -> bool:
    try:
        with locks.locked(directory, directory, 0.0):
            return False
    except LockTimeoutError:
        return True
    except (PlatestoreError, OSError):
        return _is_used(directory)


def _is_used(full: str | None, process: int | None = None) -> bool:
    """Whether a process may still need it: its own, if the name tells, or any within the last minutes."""
    if full is None:
        return False
    if process is not None and os.name == "posix":
        return _is_alive(process)
    return time.time() - _newest(full) < _FRESH


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True


def _newest(full: str) -> float:
    """The latest change in a file or a tree."""
    latest = 0.0
    with contextlib.suppress(OSError):
        latest = os.lstat(full).st_mtime
    for directory, _, files in os.walk(full):
        for name in files:
            with contextlib.suppress(OSError):
                latest = max(latest, os.lstat(os.path.join(directory, name)).st_mtime)
    return latest
