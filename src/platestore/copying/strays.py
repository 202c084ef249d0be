"""Files in the directory of an array that are none of its chunks, as its document names them.

They look like pixels and are read by nobody: chunks that another program named in another way, or that a
larger shape left. A copy tells of them, whether they come along or stay behind.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from platestore.arrays.grid import ArrayGrid, is_chunk_key
from platestore.copying.files import Folder
from platestore.storage.base import DOCUMENTS, join


@dataclass(slots=True)
class Strays:
    """What was found in one array's directory.

    Attributes
    ----------
    named : int
        Files that have the name of a chunk, but not as this array names its chunks.
    outside : int
        Chunks that lie outside of its shape.
    nodes : int
        Documents of other groups or arrays.
    others : int
        Other files.
    example : str
        One of the first kind, or else of the last two.
    """

    named: int = 0
    outside: int = 0
    nodes: int = 0
    others: int = 0
    example: str = ""

    @property
    def unclaimed(self) -> int:
        """Number of files that look like chunks, and are none."""
        return self.named + self.outside

    def texts(self, pattern: str, *, come_along: bool) -> Iterator[tuple[str, int]]:
        """What a report says, and of how many files.

        Parameters
        ----------
        pattern : str
            Name of the array's first chunk.
        come_along : bool
            Whether the files are copied with the chunks.
        """
        fate = "copied as they are" if come_along else "left behind"
        if self.named:
            what = f"named like {self.example}, not like {pattern}: no chunks, by its document"
            yield f"files {what}; {fate}", self.named
        if self.outside:
            yield f"chunk files outside of its shape; {fate}", self.outside
        if self.nodes:
            what = "documents of other groups or arrays in the directory of this one"
            yield f"{what} ({self.example}); left behind", self.nodes
        if self.others and not come_along:
            yield f"other files in its directory ({self.example}); left behind", self.others


def find_strays(grid: ArrayGrid, folders: Iterable[Folder]) -> Strays | None:
    """Look for files of an array that are none of its chunks.

    Parameters
    ----------
    grid : ArrayGrid
        How it is cut into files.
    folders : iterable of Folder
        What lies in its directory.

    Returns
    -------
    Strays or None
        None if there are none.
    """
    strays = Strays()
    # Most files are chunks in directories of chunks: they are told by their names, which are few.
    names = [{str(n) for n in range(min(count, _MOST_NAMES))} for count in grid.counts]
    above = [{"c"}, *names][:-1] if grid.prefix else names[:-1]
    for folder in folders:
        files = folder.files
        if names and grid.separator == "/":
            parts = folder.path.split("/") if folder.path else []
            if len(parts) == len(above) and all(map(operator.contains, above, parts)):
                files = [file for file in files if file[0] not in names[-1]]
        for name, _ in files:
            _note(strays, grid, folder.path, name)
    return strays if strays != _NONE else None


_MOST_NAMES = 10_000
_NONE = Strays()


def _note(strays: Strays, grid: ArrayGrid, path: str, name: str) -> None:
    if name in DOCUMENTS:
        if path:
            strays.nodes += 1
            strays.example = strays.example or join(path, name)
        return
    key = join(path, name)
    place = grid.place_of(key)
    if place is not None:
        strays.outside += not grid.holds(place)
    elif is_chunk_key(key):
        strays.named += 1
        strays.example = key if strays.named == 1 else strays.example
    else:
        strays.others += 1
        strays.example = strays.example or key


def by_folder(keys: Iterable[str]) -> list[Folder]:
    """Keys of a store that is no directory, as folders."""
    found: dict[str, list[tuple[str, int]]] = {}
    for key in keys:
        path, _, name = key.rpartition("/")
        found.setdefault(path, []).append((name, 0))
    return [Folder(path, files, 0) for path, files in found.items()]
