"""Advisory locks between processes: ``flock`` on a directory, or a lock file beside the store.

A lock belongs to the directory whose documents change, so a position can be locked without knowing its
plate, and no file is made. Where the file system does not exclude a second descriptor (probed once per
device; some NFS mounts), and on Windows, one lock file beside the store serves all its directories.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import threading
import time
from collections.abc import Iterator

from platestore.errors import LockTimeoutError, LockUnsupportedError, NodeNotFoundError

if sys.platform != "win32":
    import fcntl
else:  # pragma: no cover - exercised on Windows only
    fcntl = None

_probed: dict[int, bool] = {}
_open_descriptors: set[int] = set()


class _HeldLocks(threading.local):
    """Locks that this thread holds, so that nested changes of one directory do not wait for themselves."""

    def __init__(self) -> None:
        self.depth: dict[str, int] = {}


_held = _HeldLocks()


def _forget_in_child() -> None:
    # A forked child shares the parent's locks until it closes its copies of the descriptors. Unlocking
    # them would free the parent's; closing them does not.
    for descriptor in list(_open_descriptors):
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _open_descriptors.clear()
    _held.depth = {}


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)


@contextlib.contextmanager
def locked(directory: str, store: str, timeout: float) -> Iterator[None]:
    """Hold the lock of a directory.

    Parameters
    ----------
    directory : str
        Absolute path of the directory whose documents change.
    store : str
        Absolute path of the store's root, which the fallback lock file lies beside.
    timeout : float
        Seconds to wait for another holder.

    Raises
    ------
    LockTimeoutError
        If another process holds the lock for longer.
    LockUnsupportedError
        If neither kind of lock can be had.
    NodeNotFoundError
        If the directory does not exist.
    """
    name = directory if _flock_excludes(directory) else _lock_file(store)
    depth = _held.depth.get(name, 0)
    if depth:
        _held.depth[name] = depth + 1
        try:
            yield
        finally:
            _held.depth[name] -= 1
        return
    with _flocked(directory, timeout) if name == directory else _file_locked(name, store, timeout):
        _held.depth[name] = 1
        try:
            yield
        finally:
            _held.depth.pop(name, None)


def _lock_file(store: str) -> str:
    parent, name = os.path.split(store.rstrip("/\\"))
    return os.path.join(parent, f".{name}.lock")


def _open_directory(directory: str) -> int:
    try:
        return os.open(directory, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except (FileNotFoundError, NotADirectoryError):
        raise NodeNotFoundError("there is no such group", path=directory) from None


def _flock_excludes(directory: str) -> bool:
    """Probe, once per device, whether a lock on one descriptor keeps a second one out."""
    if fcntl is None:
        if not os.path.isdir(directory):
            raise NodeNotFoundError("there is no such group", path=directory)
        return False
    try:
        device = os.stat(directory).st_dev
    except (FileNotFoundError, NotADirectoryError):
        raise NodeNotFoundError("there is no such group", path=directory) from None
    if device not in _probed:
        _probed[device] = _probe(directory)
    return _probed[device]


def _probe(directory: str) -> bool:
    first, second = _open_directory(directory), _open_directory(directory)
    try:
        try:
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True  # somebody holds it, so it excludes
        except OSError:
            return False
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False
    finally:
        os.close(first)
        os.close(second)


@contextlib.contextmanager
def _flocked(directory: str, timeout: float) -> Iterator[None]:
    deadline = time.monotonic() + timeout
    descriptor = _acquire(directory, deadline, timeout)
    try:
        yield
    finally:
        _close(descriptor)


def _acquire(directory: str, deadline: float, timeout: float) -> int:
    pause = 0.0005
    while True:
        descriptor = _open_directory(directory)
        _open_descriptors.add(descriptor)
        try:
            while not _try_flock(descriptor):
                if time.monotonic() >= deadline:
                    raise LockTimeoutError(
                        f"another process has held the lock for {timeout:g} s{_holder(descriptor)}",
                        path=directory,
                    )
                time.sleep(pause * (0.5 + random.random()))
                pause = min(pause * 1.5, 0.02)
            # A store that was replaced or moved while we waited left us a lock on the old directory.
            if _same_directory(descriptor, directory):
                return descriptor
        except BaseException:
            _close(descriptor)
            raise
        _close(descriptor)


def _try_flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _same_directory(descriptor: int, directory: str) -> bool:
    try:
        here, there = os.fstat(descriptor), os.stat(directory)
    except FileNotFoundError:
        return False
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def _close(descriptor: int) -> None:
    if descriptor in _open_descriptors:
        _open_descriptors.discard(descriptor)
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    """Name the process that holds a flock, where the system tells (Linux)."""
    info = os.fstat(descriptor)
    wanted = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}:{info.st_ino}"
    try:
        with open("/proc/locks", encoding="ascii") as file:
            rows = [line.split() for line in file]
    except OSError:
        return ""
    pids = [row[4] for row in rows if len(row) > 5 and row[1] == "FLOCK" and row[5] == wanted]
    return f" (process {pids[0]})" if pids else ""


@contextlib.contextmanager
def _file_locked(name: str, store: str, timeout: float) -> Iterator[None]:
    """Hold the lock file beside a store; on Windows the system frees it when the holder dies."""
    from filelock import FileLock, SoftFileLock, Timeout

    lock = (FileLock if sys.platform == "win32" else SoftFileLock)(name, timeout=timeout)
    try:
        lock.acquire()
    except Timeout:
        raise LockTimeoutError(
            f"another process has held the lock file {name} for {timeout:g} s",
            path=store,
            hint="wait for it; if no process uses the store, delete that file",
        ) from None
    except OSError as error:
        raise LockUnsupportedError(
            f"no lock can be had: flock does not exclude here, and {name} cannot be made ({error.strerror})",
            path=store,
            hint="pass lock=False if this is the only process that changes the store",
        ) from error
    try:
        yield
    finally:
        lock.release()
