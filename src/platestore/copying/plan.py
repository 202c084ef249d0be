"""What is to be done: documents, files, pixels and levels, in this order, before anything is written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from platestore.arrays.grid import is_chunk_key
from platestore.copying.files import Folder
from platestore.copying.report import ArrayReport
from platestore.copying.stamps import Stamp
from platestore.copying.strays import Strays
from platestore.spec.values import Json
from platestore.storage.base import Storage
from platestore.storage.hierarchy import ArrayDocument

if TYPE_CHECKING:
    from platestore.copying.selection import Pick

#: Names of files and directories that are kept from planning to copying: some 30 MiB.
MOST_KEPT = 200_000
_SHOWN = 5
#: The new name of a file, relative to its array; None if it stays behind.
Rename = Callable[[str], "str | None"]


@dataclass(frozen=True, slots=True)
class TreeCopy:
    """Files that are copied as they are.

    Attributes
    ----------
    source : Storage
        Where they are.
    path : str
        Directory in it.
    target : str
        Directory in the copy.
    documents : bool
        Whether the documents in it come along, too.
    stamp : Stamp
        What is in it.
    rename : callable, optional
        Gives the new names.
    only : tuple of str, optional
        Names of the files in this directory that are meant; by default all below it.
    folders : list of Folder, optional
        What was found in it, unless there was too much to keep.
    """

    source: Storage
    path: str
    target: str
    documents: bool
    stamp: Stamp
    rename: Rename | None = None
    only: tuple[str, ...] | None = None
    folders: list[Folder] | None = None


@dataclass(frozen=True, slots=True)
class PixelCopy:
    """An array whose chunks are decoded and encoded again.

    Attributes
    ----------
    source : Storage
        Where it is.
    array : ArrayDocument
        The array there.
    target : ArrayDocument
        The array in the copy.
    picks : tuple of slice or of tuple of int
        What is taken, for each axis.
    """

    source: Storage
    array: ArrayDocument
    target: ArrayDocument
    picks: tuple[Pick, ...]


@dataclass(frozen=True, slots=True)
class LevelsCopy:
    """Levels that are made from a finer one of the copy.

    Attributes
    ----------
    base : ArrayDocument
        The finer level.
    levels : list of ArrayDocument
        The levels.
    factors : list of tuple of int
        Factors of each step.
    method : str
        How windows are reduced.
    """

    base: ArrayDocument
    levels: list[ArrayDocument]
    factors: list[tuple[int, ...]]
    method: str


@dataclass
class Plan:
    """One copy.

    Attributes
    ----------
    documents : dict
        Names and contents of the documents of each group and array, by path; parents come first.
    trees, pixels, levels : list
        The work.
    arrays : list of ArrayReport
        How each array comes into the copy.
    stamps : dict
        What the sources looked like, by path: to notice a source that changed.
    positions : int
        Number of positions.
    notes : list of str
        What could not come along, or is different.
    remarks : dict
        What is said of several arrays alike: their paths, and how many files it is about.
    unclaimed : int
        Files of the sources that look like chunks, and that no array claims.
    left : list of str
        Groups and files of others that stay behind, since that is asked for.
    watched : list of tuple
        Storage, path and stamp of the arrays whose pixels are read.
    estimate : int
        Bytes that the copy is expected to take, files that are copied as they are included.
    """

    documents: dict[str, list[tuple[str, bytes]]] = field(default_factory=dict)
    trees: list[TreeCopy] = field(default_factory=list)
    pixels: list[PixelCopy] = field(default_factory=list)
    levels: list[LevelsCopy] = field(default_factory=list)
    arrays: list[ArrayReport] = field(default_factory=list)
    stamps: Json = field(default_factory=dict)
    positions: int = 0
    notes: list[str] = field(default_factory=list)
    remarks: dict[str, tuple[list[str], int]] = field(default_factory=dict)
    unclaimed: int = 0
    left: list[str] = field(default_factory=list)
    watched: list[tuple[Storage, str, Stamp]] = field(default_factory=list)
    estimate: int = 0
    _kept: int = 0

    def keep(self, folders: list[Folder]) -> list[Folder] | None:
        """The folders of a tree, if there is room to keep them until they are copied."""
        self._kept += sum(1 + len(folder.files) for folder in folders)
        return folders if self._kept <= MOST_KEPT else None

    def add_documents(self, path: str, files: list[tuple[str, bytes]]) -> None:
        """Plan the documents of a group or array of the copy."""
        self.documents[path] = files
        self.estimate += sum(len(data) for _, data in files)

    def remark(self, what: str, path: str, count: int = 0) -> None:
        """Say something of an array that may be said of others, too; ``count`` files are meant."""
        paths, before = self.remarks.get(what, ([], 0))
        paths.append(path)
        self.remarks[what] = paths, before + count

    def add_strays(self, strays: Strays, pattern: str, path: str, *, come_along: bool) -> None:
        """Tell of files in the directory of an array that are none of its chunks.

        Parameters
        ----------
        strays : Strays
            What was found.
        pattern : str
            Name of the array's first chunk.
        path : str
            Path of the array in the copy.
        come_along : bool
            Whether the files are copied with the chunks.
        """
        for text, count in strays.texts(pattern, come_along=come_along):
            self.remark(text, path, count)
        self.unclaimed += strays.unclaimed

    def remark_lost(self, path: str, names: Iterable[str]) -> None:
        """Tell of files that look like chunks, in a directory that is no array."""
        lost = [name for name in names if is_chunk_key(name)]
        if lost:
            what = f"files named like chunks ({lost[0]}), where no array is; copied as they are"
            self.remark(what, path or ".", len(lost))
            self.unclaimed += len(lost)

    def note_remarks(self) -> None:
        """Make notes of the remarks: one for each kind."""
        for what, (paths, count) in self.remarks.items():
            named = paths[0] if len(paths) == 1 else f"{len(paths)} places ({paths[0]}, ...)"
            if count:
                one = what.replace("files", "file", 1).replace("documents", "document", 1)
                what = f"{count} {one if count == 1 else what}"
            self.notes.append(f"{named}: {what}")
        if self.left:
            shown = ", ".join(self.left[:_SHOWN]) + (", ..." if len(self.left) > _SHOWN else "")
            self.notes.append(f"left behind, since only_ome is asked for ({len(self.left)}): {shown}")

    def files(self) -> int:
        """Number of files that the copy has at most."""
        documents = sum(map(len, self.documents.values()))
        made = sum(array.files for array in self.arrays if array.how != "files")
        trees = sum(tree.stamp.files for tree in self.trees)
        twice = sum(len(self.documents.get(t.target, ())) for t in self.trees if t.documents)
        return documents + made + trees - twice

    def add_stamp(self, key: str, value: Stamp | bytes) -> None:
        """Keep what a source looks like: its files, or a digest of its document."""
        if isinstance(value, bytes):
            self.stamps[key] = hashlib.blake2b(value, digest_size=16).hexdigest()
        else:
            self.stamps[key] = [value.files, value.nbytes, value.newest]

    def fingerprint(self) -> str:
        """What tells this plan from every other one: the result, and the state of the sources."""
        digest = hashlib.blake2b(digest_size=16)
        for path, files in sorted(self.documents.items()):
            for name, data in files:
                digest.update(f"{path}/{name}:{len(data)}\0".encode())
                digest.update(data)
        work: list[Any] = [(t.path, t.target, t.documents, t.only) for t in self.trees]
        work += [(p.array.path, p.target.path, repr(p.picks)) for p in self.pixels]
        work += [(v.base.path, [a.path for a in v.levels], v.factors, v.method) for v in self.levels]
        digest.update(json.dumps([work, self.stamps], sort_keys=True).encode())
        return digest.hexdigest()
