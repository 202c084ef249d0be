"""The files below an array, each with its size, listed once."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator

from platestore.storage.base import Storage, join
from platestore.storage.files import is_left


def list_files(
    storage: Storage, path: str, failed: Callable[[str, OSError], None]
) -> Iterator[tuple[str, int]]:
    """List the files of an array; links to directories are not followed.

    Parameters
    ----------
    storage : Storage
        Where the array is.
    path : str
        Path of the array.
    failed : callable
        Told of each directory that cannot be listed, by its path in the store.

    Yields
    ------
    tuple of str and int
        Path relative to the array, and number of bytes; of a temporary directory its own path, and 0. What
        vanishes meanwhile is left out.
    """
    local = storage.local_path(path)
    if local is not None:
        yield from _scan(local, path, failed)
        return
    start = len(path) + 1 if path else 0
    for key in storage.keys(path):
        size = storage.size_of(key)
        if size is not None:
            yield key[start:], size


def _scan(top: str, path: str, failed: Callable[[str, OSError], None]) -> Iterator[tuple[str, int]]:
    pending = [""]
    while pending:
        inner = pending.pop()
        try:
            with os.scandir(os.path.join(top, inner)) as entries:
                found = list(entries)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            failed(join(path, inner), error)
            continue
        for entry in found:
            name = join(inner, entry.name)
            try:
                if entry.is_dir(follow_symlinks=False):
                    if is_left(entry.name):
                        yield name, 0
                    else:
                        pending.append(name)
                elif entry.is_file():
                    yield name, entry.stat().st_size
                elif entry.is_symlink() and not entry.is_dir():
                    failed(
                        join(path, name), OSError(errno.ENOENT, "is a link to what is not there", entry.path)
                    )
            except FileNotFoundError:
                continue
            except OSError as error:
                failed(join(path, name), error)
