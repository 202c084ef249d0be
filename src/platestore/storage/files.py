"""Plain files: temporary names, renames that wait for readers, flushing.

Every mutating call goes through ``os`` itself (``os.open``, ``os.replace``, ...), so that the fault tests
can stop the program before and after each of them.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import time
from collections.abc import Callable, Iterator

_counter = itertools.count()
#: Flags to open a new file for writing.
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)

#: What a store that grows beside its place is called after its name, and the work that makes it.
UNFINISHED = {".copying": "copy", ".importing": "import"}
# What interrupted writers leave: our temporary files, those of zarr, the locks of TensorStore.
_LEFT = re.compile(r"\..+\.\d+-\d+-[0-9a-f]{8}\.tmp|.+\.[0-9a-f]{32}\.partial|.+\.__lock")


def is_left(name: str) -> bool:
    """Whether a file or directory of this name is temporary or a lock, of a writer alive or not."""
    return _LEFT.fullmatch(name) is not None


def temporary_name(name: str) -> str:
    """A hidden sibling name that no other writer on any host will choose."""
    return f".{name}.{os.getpid()}-{next(_counter)}-{os.urandom(4).hex()}.tmp"


def replace(source: str, target: str) -> None:
    """``os.replace`` that waits for a reader to let go of the target, as on Windows it must."""
    _patiently(lambda: os.replace(source, target))


def rename(source: str, target: str) -> None:
    """``os.rename`` that waits for readers in the directory, as on Windows it must."""
    _patiently(lambda: os.rename(source, target))


def _patiently(action: Callable[[], None]) -> None:
    for pause in (0.001, 0.005, 0.02, 0.1, 0.4, 1.0):
        try:
            return action()
        except PermissionError:
            if os.name != "nt":
                raise
            time.sleep(pause)
    return action()


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
    """Let errors of open files (a full disk) say which file it is."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = path
        raise


def write_all(descriptor: int, data: bytes | memoryview, path: str) -> None:
    """Write all of some bytes to an open file."""
    view = memoryview(data)
    with naming(path):
        while view:
            view = view[os.write(descriptor, view) :]


def write_new(path: str, data: bytes, *, sync: bool = False) -> None:
    """Write a file that does not exist; none is left where that fails."""
    descriptor = os.open(path, CREATE, 0o666)
    try:
        try:
            write_all(descriptor, data, path)
            if sync:
                with naming(path):
                    os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise


def write_over(path: str, data: bytes) -> None:
    """Write a file, in place of what has its name: a temporary file that is renamed."""
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, temporary_name(name))
    write_new(temporary, data)
    replace(temporary, path)


def flush_file(path: str) -> None:
    """Flush the bytes of a file to the device."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        with naming(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(directory: str) -> None:
    """Flush the names in a directory to the device."""
    if os.name == "nt":  # pragma: no cover - directories cannot be opened there
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
