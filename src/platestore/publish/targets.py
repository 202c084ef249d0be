"""What ``mode="w"`` may replace, and how a new store takes a place in one step.

Nothing is deleted before the new store stands: it is built under a temporary name beside the target and
exchanged with it; only then is the old one removed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator

from platestore.errors import ArgumentError, NodeExistsError, ReadOnlyError, UnsafeTargetError
from platestore.spec.values import Json
from platestore.spec.versions import NAMESPACE
from platestore.storage.base import DOCUMENTS
from platestore.storage.files import is_left, rename, sync_directory, temporary_name
from platestore.storage.files import replace as replace_file
from platestore.storage.local import find_root, is_node

# Files that file managers and synchronisation leave everywhere, and that nobody would miss.
_LITTER = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
_CHUNK = re.compile(r"(?:c[./])?\d+(?:\.\d+)*|c")
_MAX_SHOWN = 5
# Keys of attributes that say that a group is one of OME-NGFF, or of this library.
_MARKERS = frozenset(
    {"ome", "multiscales", "plate", "well", "labels", "omero", "image-label", "bioformats2raw.layout"}
    | {NAMESPACE}
)


def exists(path: str) -> bool:
    """Whether there is anything at a path, a broken link included; an empty directory does not count."""
    if not os.path.lexists(path):
        return False
    if os.path.isdir(path) and not os.path.islink(path):
        with os.scandir(path) as entries:
            return next(entries, None) is not None
    return True


def check_parent(path: str) -> None:
    """Refuse a path at which nothing can be made.

    Raises
    ------
    ArgumentError
        If it lies below a file.
    ReadOnlyError
        If there is no right to write there.
    """
    parent = path
    while not os.path.isdir(parent := os.path.dirname(parent)):
        if os.path.lexists(parent):
            raise ArgumentError("is a file, not a directory", path=parent)
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ReadOnlyError("there is no right to write here", path=parent, hint="choose another destination")


def check_replaceable(path: str, *, check_name: bool) -> None:
    """Refuse to replace anything but a zarr hierarchy, or a tree without a single file.

    Parameters
    ----------
    path : str
        Absolute path of an existing target.
    check_name : bool
        Whether its name must contain ``.zarr``, and it must have OME metadata, or nothing in it.

    Raises
    ------
    UnsafeTargetError
        If it must not be replaced; the message says why.
    """
    _check_place(path)
    name = os.path.basename(path)
    if check_name and ".zarr" not in name:
        raise UnsafeTargetError(
            f"{name!r} exists, and its name does not contain '.zarr'",
            path=path,
            hint="check the path; disable_path_checking=True lifts this rule",
        )
    if not os.path.isdir(path):
        raise UnsafeTargetError(
            "is a file, not a store", path=path, hint="remove it yourself, or name another"
        )
    if not is_node(path):
        first = next(_anything(path), None)
        if first is not None:
            raise UnsafeTargetError(
                f"is not a zarr store, and holds files or links ({os.path.relpath(first, path)}, ...)",
                path=path,
                hint="nothing was deleted; remove it yourself, or name another directory",
            )
        return
    foreign = []
    for item in _foreign_files(path):
        foreign.append(os.path.relpath(item, path))
        if len(foreign) > _MAX_SHOWN:
            break
    if check_name and not foreign and not _has_marker(path) and not _is_bare(path):
        raise UnsafeTargetError(
            "is a zarr hierarchy without OME metadata: data of another kind",
            path=path,
            hint="check the path; disable_path_checking=True lifts this rule",
        )
    if foreign:
        shown = ", ".join(foreign[:_MAX_SHOWN]) + (", ..." if len(foreign) > _MAX_SHOWN else "")
        raise UnsafeTargetError(
            f"holds files that are not part of a zarr store: {shown}",
            path=path,
            hint="nothing was deleted; move them away first",
        )


def _check_place(path: str) -> None:
    """Refuse places that cannot be meant, whatever they hold."""
    hint = "nothing was deleted; name the store itself"
    if os.path.islink(path):
        raise UnsafeTargetError(f"is a link to {os.path.realpath(path)}", path=path, hint=hint)
    real = os.path.realpath(path)
    home, cwd = os.path.realpath(os.path.expanduser("~")), _current_directory()
    if real == os.path.dirname(real):
        raise UnsafeTargetError("is the root of the file system", path=path, hint=hint)
    if _is_or_holds(real, home):
        raise UnsafeTargetError("is your home directory, or holds it", path=path, hint=hint)
    if cwd is not None and _is_or_holds(real, cwd):
        raise UnsafeTargetError("is the current directory, or holds it", path=path, hint=hint)
    if os.path.ismount(path):
        raise UnsafeTargetError("is a mount point", path=path, hint=hint)
    root, inner = find_root(real)
    if inner:
        raise UnsafeTargetError(
            f"is part of the store {root}",
            path=path,
            hint="to redo one position, open the plate with overwriting_creation=True",
        )


def _is_or_holds(path: str, other: str) -> bool:
    return other == path or other.startswith(path + os.sep)


def _current_directory() -> str | None:
    try:
        return os.path.realpath(os.getcwd())
    except FileNotFoundError:
        return None  # it was removed under us


def _anything(directory: str) -> Iterator[str]:
    """Files and links in a tree; a directory that cannot be read is an error, not an empty one."""
    with os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            if entry.is_dir(follow_symlinks=False):
                yield from _anything(entry.path)
            else:
                yield entry.path


def _foreign_files(directory: str, *, in_array: bool = False) -> Iterator[str]:
    """Files and links in a hierarchy that no zarr store has: neither documents nor chunks."""
    in_array = in_array or _is_array(directory)
    in_ome = os.path.basename(directory) == "OME"
    with os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            name = entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from _foreign_files(entry.path, in_array=in_array)
            elif entry.is_symlink() or not (
                name in DOCUMENTS
                or name in _LITTER
                or is_left(name)
                or (in_array and _CHUNK.fullmatch(name))
                or (in_ome and name.endswith(".ome.xml"))
            ):
                yield entry.path


def _is_array(directory: str) -> bool:
    if os.path.exists(os.path.join(directory, ".zarray")):
        return True
    return _document(directory, "zarr.json").get("node_type") == "array"


def _document(directory: str, name: str) -> Json:
    """A document; empty if there is none, or it cannot be read."""
    try:
        with open(os.path.join(directory, name), "rb") as file:
            content = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _attributes(directory: str) -> Json:
    found = _document(directory, "zarr.json").get("attributes")
    return {**(found if isinstance(found, dict) else {}), **_document(directory, ".zattrs")}


def _has_marker(directory: str) -> bool:
    """Whether a group of a tree has attributes of OME-NGFF, or of this library; arrays are not walked."""
    if not _MARKERS.isdisjoint(_attributes(directory)):
        return True
    return not _is_array(directory) and any(_has_marker(inner) for inner in _directories(directory))


def _is_bare(directory: str) -> bool:
    """Whether a group has neither attributes nor members."""
    return not _is_array(directory) and not _attributes(directory) and not any(_directories(directory))


def _directories(directory: str) -> Iterator[str]:
    with os.scandir(directory) as entries:
        yield from (entry.path for entry in entries if entry.is_dir(follow_symlinks=False))


def install(new: str, target: str, *, replace: bool, sync: bool = False, aside: str | None = None) -> None:
    """Put a finished store in its place, in one step; then remove the one it replaces.

    Parameters
    ----------
    new : str
        Absolute path of the store that was built, beside the target.
    target : str
        Absolute path it shall have.
    replace : bool
        Whether a store that is there is replaced.
    sync : bool
        Whether the directory that names it is flushed to the device.
    aside : str, optional
        Absolute path, on the same file system, where the old store is between two renames, where the system
        cannot exchange two directories; a hidden sibling by default.

    Raises
    ------
    NodeExistsError
        If there is something and it is not to be replaced, or it came into being meanwhile.
    """
    if not replace or not exists(target):
        try:
            if os.name == "nt" and os.path.isdir(target):  # there, rename refuses even an empty directory
                os.rmdir(target)
            rename(new, target)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR) or exists(target):
                raise NodeExistsError("the target exists", path=target) from None
            raise
        if sync:
            sync_directory(os.path.dirname(target))
        return
    if not _exchange(new, target):
        hidden = os.path.join(os.path.dirname(target), temporary_name(os.path.basename(target)))
        aside = aside or hidden
        rename(target, aside)
        try:
            rename(new, target)
        except BaseException:
            rename(aside, target)
            raise
        new = aside
    if sync:
        sync_directory(os.path.dirname(target))
    shutil.rmtree(new)


def install_file(new: str, target: str, *, replace: bool) -> None:
    """Give a finished file its name, in one step.

    Parameters
    ----------
    new : str
        Path of the file, on the same file system.
    target : str
        Path it shall have.
    replace : bool
        Whether a file that is there is replaced.

    Raises
    ------
    NodeExistsError
        If there is something and it is not to be replaced.
    """
    if replace:
        replace_file(new, target)
        return
    try:
        os.link(new, target)  # refuses a name that is taken, where os.rename would not
    except FileExistsError:
        raise NodeExistsError("the target exists", path=target) from None
    except OSError:  # a file system without links
        if os.path.lexists(target):
            raise NodeExistsError("the target exists", path=target) from None
        replace_file(new, target)
        return
    os.unlink(new)


def _exchange(one: str, other: str) -> bool:
    """Exchange two directories in one step (Linux); False where the system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None, use_errno=True)
        at_cwd, exchange = -100, 2
        if libc.renameat2(at_cwd, os.fsencode(one), at_cwd, os.fsencode(other), exchange) == 0:
            return True
    return False
