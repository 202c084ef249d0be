"""Names in a zip archive: which can be keys of a store, and the tree that they make."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from platestore.errors import ArgumentError

_DRIVE = re.compile(r"[A-Za-z]:")
# More than file systems take; a directory tree of longer names could fill the memory.
_LONGEST, _LONGEST_SEGMENT = 4096, 255
_SHOWN = 200


def decode_name(raw: bytes, *, utf8: bool) -> str:
    """The name of an entry: UTF-8 where that is marked or can be, else the code page of old."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        if utf8:
            raise
        return raw.decode("cp437")


def name_flaw(name: str) -> str | None:
    """What keeps a name from being the key of a file in a store, or None.

    Parameters
    ----------
    name : str
        The name as the archive has it, without a final ``/``.
    """
    if len(name) > _LONGEST:
        return "has a name longer than any path"
    if "\0" in name:
        return "has a NUL in its name"
    if "\\" in name:
        return "has a backslash in its name"
    if name.startswith("/"):
        return "is an absolute path"
    if _DRIVE.match(name):
        return "begins with the name of a drive"
    segments = name.split("/")
    if any(len(s.encode("utf-8", "replace")) > _LONGEST_SEGMENT for s in segments):
        return "has a name longer than any file's"
    if ".." in segments:
        return "leads out of the archive"
    if "" in segments or "." in segments:
        return "has an empty segment in its name"
    return None


def shown(name: str) -> str:
    """A name for a message, without what a terminal would act on, and not longer than a line or two."""
    return repr(name) if len(name) <= _SHOWN else f"{name[:_SHOWN]!r}..."


def entry_name(key: str, where: str) -> bytes:
    """The bytes that a new entry has as its name.

    Parameters
    ----------
    key : str
        Its key.
    where : str
        Path of the archive, for the message.

    Raises
    ------
    ArgumentError
        If no archive can hold it, or none that is unpacked safely.
    """
    flaw = name_flaw(key)
    try:
        name = key.encode("utf-8")
    except UnicodeEncodeError:
        name, flaw = b"", "has a name that is no UTF-8"
    if flaw is not None:
        raise ArgumentError(f"cannot be packed: {shown(key)} {flaw}", path=where)
    return name


class KeyTree:
    """Keys as directories and files, for listing.

    Parameters
    ----------
    keys : iterable of str
        The keys, each once.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._directories: dict[str, dict[str, None]] = {"": {}}
        self._files: dict[str, list[str]] = {"": []}
        self.extend(keys)

    def extend(self, keys: Iterable[str]) -> None:
        """Add keys."""
        files = self._files
        for key in keys:
            parent, _, name = key.rpartition("/")
            found = files.get(parent)
            if found is None:
                found = self._add_directory(parent)
            found.append(name)

    def _add_directory(self, path: str) -> list[str]:
        # Not by recursion: a hostile name can have thousands of segments.
        made = self._files[path] = []
        self._directories[path] = {}
        while path:
            parent, _, name = path.rpartition("/")
            known = parent in self._files
            if not known:
                self._files[parent] = []
                self._directories[parent] = {}
            self._directories[parent][name] = None
            if known:
                break
            path = parent
        return made

    def __contains__(self, path: object) -> bool:
        """Whether there is a directory."""
        return path in self._files

    def list(self, path: str) -> tuple[list[str], list[str]]:
        """Names of the directories and of the files in a directory, sorted."""
        return sorted(self._directories[path]), sorted(self._files[path])

    def keys(self, path: str) -> Iterator[str]:
        """Keys below a directory, of each directory its files first; none if there is no such directory."""
        waiting = [path] if path in self._files else []
        while waiting:
            current = waiting.pop()
            prefix = f"{current}/" if current else ""
            yield from [prefix + name for name in self._files[current]]
            waiting += [prefix + name for name in reversed(self._directories[current])]

    def conflicts(self) -> Iterator[str]:
        """What a file system cannot hold: a file with the name of a directory, names equal but for case."""
        for path, directories in self._directories.items():
            prefix = f"{path}/" if path else ""
            for name in self._files[path]:
                if name in directories:
                    yield f"{shown(prefix + name)} is both a file and a directory"
            seen: dict[str, str] = {}
            for name in {**directories, **dict.fromkeys(self._files[path])}:
                other = seen.setdefault(name.casefold(), name)
                if other != name:
                    yield f"{shown(prefix + name)} and {shown(prefix + other)} differ in case only"
