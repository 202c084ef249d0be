"""Files as they are: walking trees of them, and copying them, many at a time.

The kernel moves the bytes (``copy_file_range``), and shares them where the file system can do that
(reflinks of XFS, btrfs, bcachefs, ...), so that nothing is read and no room is taken. Elsewhere they are
read and written.

A small file gets its name at once, a large one when it is whole. A file of the source's length is therefore
complete after an interruption: its bytes were handed over one after the other.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from platestore.copying.stamps import Stamp
from platestore.errors import DamagedChunkError, SourceChangedError
from platestore.storage.base import DOCUMENTS, belongs, is_chunk_name
from platestore.storage.files import CREATE, replace, temporary_name

#: Larger files are copied under a temporary name.
LARGE = 16 * 2**20
_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_REWRITE = (CREATE & ~os.O_EXCL) | os.O_TRUNC
_PIECE = 2**20
_MOST_AT_ONCE = 256 * 2**20  # so that an interruption does not wait for long
_CANNOT = {
    errno.EXDEV,
    errno.ENOSYS,
    errno.EINVAL,
    errno.EOPNOTSUPP,
    errno.EPERM,
    errno.ETXTBSY,
    errno.EBADF,
}


class Folder(NamedTuple):
    """One directory of a tree.

    Attributes
    ----------
    path : str
        Relative to the tree, with ``/``.
    files : list of tuple of str and int
        Names and bytes of its files that belong to a store, sorted.
    newest : int
        Latest change of one of them, in nanoseconds.
    """

    path: str
    files: list[tuple[str, int]]
    newest: int


def scan(directory: str, left_out: list[str] | None = None) -> Iterator[Folder]:
    """All folders of a tree, those above before those below; links are followed, but not in circles.

    Parameters
    ----------
    directory : str
        Absolute path; nothing is found if there is no such directory.
    left_out : list of str, optional
        Gets the paths of links that lead in circles.
    """
    below = [""]
    while below:
        path = below.pop()
        here = f"{directory}/{path}" if path else directory
        names: list[str] = []
        files: list[tuple[str, int]] = []
        newest = 0
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    name = entry.name
                    if not belongs(name):
                        continue
                    if entry.is_dir():
                        if not (entry.is_symlink() and leads_up(entry.path)):
                            names.append(name)
                        elif left_out is not None:
                            left_out.append(entry.path)
                    else:
                        try:
                            info = entry.stat()
                        except FileNotFoundError:
                            if is_chunk_name(name):
                                raise DamagedChunkError("is a link to nothing", path=entry.path) from None
                            continue
                        files.append((name, info.st_size))
                        newest = max(newest, info.st_mtime_ns)
        except (FileNotFoundError, NotADirectoryError):
            if path:
                raise  # it was there a moment ago
            return
        if len(files) > 1:
            files.sort()
        if len(names) > 1:
            names.sort(reverse=True)
        yield Folder(path, files, newest)
        below += [f"{path}/{name}" if path else name for name in names]


def leads_up(path: str) -> bool:
    """Whether a path is a link to a directory that it lies in."""
    if not os.path.islink(path):
        return False
    real, here = os.path.realpath(path), os.path.realpath(os.path.dirname(path))
    return real == here or here.startswith(real + os.sep)


def stamp_of(folders: Iterable[Folder], *, documents: bool) -> Stamp:
    """Number, bytes and latest change of the files in folders.

    Parameters
    ----------
    folders : iterable of Folder
        The folders.
    documents : bool
        Whether documents count.
    """
    files = nbytes = newest = 0
    for folder in folders:
        for name, size in folder.files:
            if documents or name not in DOCUMENTS:
                files += 1
                nbytes += size
        newest = max(newest, folder.newest)
    return Stamp(files, nbytes, newest)


def copy_file(source: str, target: str, *, size: int, newest: int, resume: bool, sync: bool) -> int:
    """Copy one file.

    Parameters
    ----------
    source, target : str
        Absolute paths; the target's directory exists.
    size, newest : int
        Bytes of the source, and the latest time of its last change, when the copy was planned.
    resume : bool
        Whether the target may be there: then it is complete if it has the source's length.
    sync : bool
        Whether its bytes are flushed to the device.

    Returns
    -------
    int
        Its bytes.

    Raises
    ------
    DamagedChunkError
        If the source is an empty chunk, which a writer that died left.
    SourceChangedError
        If the source changed after that, or changes meanwhile.
    """
    try:
        descriptor = os.open(source, _READ)
    except FileNotFoundError:
        raise SourceChangedError("the file is gone", path=source) from None
    try:
        info = os.fstat(descriptor)
        if info.st_size != size or info.st_mtime_ns > newest:
            raise SourceChangedError("the file changed since the copy was planned", path=source)
        if not size and is_chunk_name(os.path.basename(source)):
            raise DamagedChunkError("the file is empty", path=source)
        if resume:
            with contextlib.suppress(FileNotFoundError):
                if os.stat(target).st_size == size:
                    return size
        name = target
        if size > LARGE:
            name = os.path.join(os.path.dirname(target), temporary_name(os.path.basename(target)))
        out = os.open(name, _REWRITE if resume else CREATE, 0o666)
        try:
            moved = move_bytes(descriptor, out, size)
            if sync:
                os.fsync(out)
        except OSError as error:
            error.filename = error.filename or name
            raise
        finally:
            os.close(out)
        after = os.fstat(descriptor)
        if moved != size or (after.st_size, after.st_mtime_ns) != (size, info.st_mtime_ns):
            os.unlink(name)
            raise SourceChangedError("the file changed while it was copied", path=source)
        if name != target:
            replace(name, target)
        return size
    finally:
        os.close(descriptor)


def move_bytes(descriptor: int, out: int, size: int) -> int:
    """Move the bytes of one open file to another, in the kernel where it can; returns how many there were."""
    moved = 0
    if hasattr(os, "copy_file_range"):
        try:
            while moved < size:
                count = os.copy_file_range(descriptor, out, min(_MOST_AT_ONCE, size - moved))
                if not count:
                    break
                moved += count
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
        if moved == size:
            return moved
        # Some file systems say that there is nothing to copy where they cannot: read and see.
    while moved < size:
        piece = os.read(descriptor, min(_PIECE, size - moved))
        if not piece:
            break
        view = memoryview(piece)
        while view:
            view = view[os.write(out, view) :]
        moved += len(piece)
    return moved


def same_bytes(one: str, other: str) -> bool:
    """Whether two files hold the same bytes."""
    with open(one, "rb", buffering=0) as first, open(other, "rb", buffering=0) as second:
        if os.fstat(first.fileno()).st_size != os.fstat(second.fileno()).st_size:
            return False
        while piece := first.read(_PIECE):
            rest = second.read(len(piece))
            while len(rest) < len(piece):
                more = second.read(len(piece) - len(rest))
                if not more:
                    return False
                rest += more
            if piece != rest:
                return False
        return True


def can_share(source: str, directory: str) -> bool:
    """Whether files can be copied into a directory without taking room (Linux: reflinks)."""
    try:
        import fcntl
    except ImportError:
        return False
    clone = 0x40049409  # FICLONE, the same on all architectures that matter here
    probe = os.path.join(directory, temporary_name("probe"))
    try:
        descriptor = os.open(source, _READ)
        try:
            out = os.open(probe, CREATE, 0o666)
            try:
                fcntl.ioctl(out, clone, descriptor)
            finally:
                os.close(out)
                os.unlink(probe)
        finally:
            os.close(descriptor)
    except OSError:
        return False
    return True


def free_bytes(directory: str) -> int:
    """Room on the file system of a directory, for this user."""
    return shutil.disk_usage(directory).free
