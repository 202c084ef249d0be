"""Which files an array has, and what is wrong with them as far as names, lengths and indices tell."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from platestore.arrays.chunkcodec import ABSENT, ChunkFormat, chunk_format
from platestore.arrays.coders import HEAD_BYTES
from platestore.arrays.grid import ArrayGrid, Place, array_grid, cover
from platestore.checking.pixels.listing import list_files
from platestore.errors import DamagedChunkError, PlatestoreError, UnsupportedError
from platestore.spec.findings import Finding, Level
from platestore.storage.base import DOCUMENTS, ReadBuffer, Storage, is_chunk_name, join
from platestore.storage.files import is_left
from platestore.storage.hierarchy import ArrayDocument

# Of names that mean nothing, so many are told one by one.
_MOST_NAMES = 100
# Where nothing can be listed, so many files are asked for by their names.
_MOST_ASKED = 100_000
_RESTORE = "restore the file from a backup, or write its region again"


@dataclass(slots=True)
class ChunkSurvey:
    """The files of one array.

    Attributes
    ----------
    storage : Storage
        Where the array is.
    document : ArrayDocument
        Its document.
    grid : ArrayGrid
        How it is cut into files.
    format : ChunkFormat or None
        How its chunks lie in files; None where that is for zarr to know.
    files : dict
        Bytes of each file that is there, by the place of its unit.
    flawed : set of tuple of int
        Units that were found damaged.
    held : dict
        Which chunks each shard holds, as an array of bools; whole ones are left out.
    present : int
        Number of chunks that are there.
    is_listed : bool
        Whether all directories could be listed.
    leftovers : set of str
        Keys of temporary files and locks, or of the directories that are temporary.
    findings : list of Finding
        What is wrong.
    """

    storage: Storage
    document: ArrayDocument
    grid: ArrayGrid
    format: ChunkFormat | None
    files: dict[Place, int] = field(default_factory=dict)
    flawed: set[Place] = field(default_factory=set)
    held: dict[Place, npt.NDArray[np.bool_]] = field(default_factory=dict)
    present: int = 0
    is_listed: bool = True
    leftovers: set[str] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)

    @property
    def path(self) -> str:
        """Path of the array."""
        return self.document.path

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of a chunk."""
        return self.grid.units if self.format is None else self.format.codec.chunks

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of chunks along each axis."""
        return cover(self.grid.shape, self.chunks)

    @property
    def missing(self) -> int:
        """Number of chunks that are not there; those of damaged shards count as there."""
        return math.prod(self.counts) - self.present

    def key(self, unit: Place) -> str:
        """Key of a file in the store."""
        return join(self.path, self.grid.key(unit))

    def unit_of(self, place: Place) -> Place:
        """The unit that holds a chunk."""
        return place if self.format is None else self.format.unit_of(place)

    def has(self, place: Place) -> bool:
        """Whether a chunk is there, whole or damaged."""
        if self.format is None or self.format.shards is None:
            return place in self.files
        unit, inner = self.format.locate(place)
        if unit not in self.files:
            return False
        held = self.held.get(unit)
        return held is None or bool(held[inner])

    def inner_counts(self, unit: Place) -> tuple[int, ...]:
        """How many chunks of a unit lie in the array, along each axis."""
        if self.format is None:
            return (1,) * len(unit)
        rows = zip(unit, self.format.per_shard, self.counts, strict=True)
        return tuple(min((u + 1) * n, c) - u * n for u, n, c in rows)

    def places_in(self, unit: Place) -> Iterator[Place]:
        """The chunks that a file holds, as places on the grid of chunks."""
        if self.format is None or self.format.shards is None:
            yield unit
            return
        held = self.held.get(unit)
        for inner in np.ndindex(*self.inner_counts(unit)):
            if held is None or held[inner]:
                yield tuple(u * n + i for u, n, i in zip(unit, self.format.per_shard, inner, strict=True))

    def unlisted(self, path: str, error: OSError) -> None:
        """Note that a directory cannot be listed."""
        self.is_listed = False
        text = f"cannot be listed: {error.strerror or error}"
        self.findings.append(Finding("unreadable", "", text, file=path))

    def report(self, code: str, unit: Place | None, message: str, **more: Any) -> None:
        """Note what is wrong with a file, or with the array."""
        file = self.path if unit is None else self.key(unit)
        self.findings.append(Finding(code, "", message, file=file, **more))

    def damage(self, code: str, unit: Place, message: str, **more: Any) -> None:
        """Note that a file is damaged: it is not looked at again."""
        self.flawed.add(unit)
        self.report(code, unit, message, hint=_RESTORE, **more)


def survey(storage: Storage, document: ArrayDocument) -> ChunkSurvey | None:
    """List the files of an array once, and hold them against its document.

    Parameters
    ----------
    storage : Storage
        Where the array is.
    document : ArrayDocument
        Its document.

    Returns
    -------
    ChunkSurvey or None
        None for an array whose document does not tell where its chunks are.
    """
    grid = array_grid(document)
    if grid is None:
        return None
    found = chunk_format(document)
    if found is not None and (0 in found.codec.chunks or found.shape != grid.shape or not grid.shape):
        found = None
    out = ChunkSurvey(storage, document, grid, found)
    _list(out)
    look = _FileCheck(out)
    for unit, size in sorted(out.files.items()):
        look.at(unit, size)
    return out


def _files(out: ChunkSurvey) -> Iterator[tuple[str, int]]:
    """The files of an array, relative to it, with their bytes."""
    try:
        yield from list_files(out.storage, out.path, out.unlisted)
    except UnsupportedError as error:
        count = math.prod(out.grid.counts)
        if count > _MOST_ASKED:
            out.is_listed = False
            text = f"{error.message}; its {count} files were not looked for one by one"
            out.report("unreadable", None, text, level="warning")
            return
        for unit in np.ndindex(*out.grid.counts):
            size = out.storage.size_of(out.key(unit))
            if size is not None:
                yield out.grid.key(unit), size


def _list(out: ChunkSurvey) -> None:
    """Sort the files into chunks, chunks outside of the array, and others."""
    outside: list[str] = []
    foreign: list[str] = []
    for relative, size in _files(out):
        parts = relative.split("/")
        under_way = next((k for k, part in enumerate(parts, 1) if is_left(part)), None)
        if under_way is not None:
            out.leftovers.add(join(out.path, *parts[:under_way]))
            continue
        if parts[-1] in DOCUMENTS or any(part.startswith(".") for part in parts):
            continue  # hidden names are nobody's chunks
        place = out.grid.place_of(relative)
        if place is None:
            foreign.append(join(out.path, relative))
        elif not out.grid.holds(place):
            outside.append(join(out.path, relative))
        else:
            out.files[place] = size
    _tell(
        out,
        "chunk-outside",
        sorted(outside),
        "warning",
        f"is a chunk outside of the array, whose shape is {out.grid.shape}",
    )
    misnamed = sorted(key for key in foreign if is_chunk_name(key.rpartition("/")[2]))
    like = f"is named like a chunk, but the chunks of this array are named like {out.grid.pattern!r}"
    _tell(out, "chunk-foreign", misnamed, "warning", like)
    others = sorted(set(foreign).difference(misnamed))
    _tell(out, "chunk-foreign", others, "advice", "is no chunk of the array that it lies in")


def _tell(out: ChunkSurvey, code: str, keys: list[str], level: Level, message: str) -> None:
    # What a repair acts on is told one by one.
    most = _MOST_NAMES if code == "chunk-foreign" else len(keys)
    for key in keys[:most]:
        out.findings.append(Finding(code, "", message, level, file=key))
    more = len(keys) - most
    if more > 0:
        text = f"{more} further files: each {message}"
        out.findings.append(Finding(code, "", text, level, file=out.path))


class _FileCheck:
    """Looks at one file after another."""

    def __init__(self, out: ChunkSurvey) -> None:
        self._out = out
        self._buffer = ReadBuffer()
        self._codec = None if out.format is None else out.format.codec

    def at(self, unit: Place, size: int) -> None:
        out, format = self._out, self._out.format
        if not size:
            out.present += math.prod(out.inner_counts(unit))
            out.damage("chunk-empty", unit, "is empty: no chunk was written here")
            return
        try:
            if format is None:
                out.present += 1
            elif format.shards is None:
                out.present += 1
                self._look_at_chunk(unit, size)
            else:
                self._look_at_shard(unit, size, format)
        except (PlatestoreError, OSError) as error:
            out.damage("unreadable", unit, f"cannot be read: {getattr(error, 'message', error)}")

    def _look_at_chunk(self, unit: Place, size: int) -> None:
        codec = self._codec
        assert codec is not None
        flaw = codec.flaw_of_size(size)
        if flaw is not None:
            self._out.damage("chunk-truncated", unit, flaw)
        elif codec.coder.tells_by_head:
            head = self._read(unit, 0, HEAD_BYTES)
            flaw = codec.flaw_of_head(head, size) if head else None
            if flaw is None and head and codec.tail_nbytes:
                flaw = codec.flaw_of_tail(self._read(unit, -codec.tail_nbytes, codec.tail_nbytes))
            if flaw is not None:
                code = "chunk-truncated" if codec.is_cut_off(head, size) else "chunk-damaged"
                self._out.damage(code, unit, flaw)

    def _read(self, unit: Place, start: int, length: int) -> bytes:
        """Some bytes of a file; none if it vanished since it was listed."""
        return bytes(self._out.storage.read_part(self._out.key(unit), self._buffer, start, length) or b"")

    def _look_at_shard(self, unit: Place, size: int, format: ChunkFormat) -> None:
        out = self._out
        index = self._index(unit, size, format)
        if index is None:
            out.present += math.prod(out.inner_counts(unit))
            return
        inside = index[tuple(slice(0, n) for n in out.inner_counts(unit))]
        absent = (inside[..., 0] == ABSENT) & (inside[..., 1] == ABSENT)
        out.present += int(absent.size - np.count_nonzero(absent))
        if absent.any():
            out.held[unit] = ~absent
        rows = np.unique(inside[~absent].reshape(-1, 2), axis=0)  # the same bytes may stand for two chunks
        self._check_extents(unit, rows, size, format)

    def _index(self, unit: Place, size: int, format: ChunkFormat) -> npt.NDArray[np.uint64] | None:
        out = self._out
        if size < format.index_nbytes:
            text = f"has {size} bytes, fewer than the {format.index_nbytes} of its index"
            out.damage("shard-truncated", unit, text)
            return None
        start = -format.index_nbytes if format.index_at_end else 0
        data = out.storage.read_part(out.key(unit), self._buffer, start, format.index_nbytes)
        if data is None:
            return None  # removed since the files were listed
        try:
            return format.parse_index(data, out.storage.where(out.key(unit)))
        except DamagedChunkError as error:
            out.damage("shard-index", unit, error.message)
            return None

    def _check_extents(
        self, unit: Place, rows: npt.NDArray[np.uint64], size: int, format: ChunkFormat
    ) -> None:
        """Chunks of a shard lie inside of it, beside its index, and not over each other."""
        out = self._out
        first = 0 if format.index_at_end else format.index_nbytes
        last = size - format.index_nbytes if format.index_at_end else size
        starts, lengths = rows[:, 0], rows[:, 1]
        ends = starts + np.minimum(lengths, np.uint64(2**62))
        beyond = (starts > np.uint64(last)) | (ends > np.uint64(last))
        if beyond.any():
            text = f"{np.count_nonzero(beyond)} of its {len(rows)} chunks reach beyond its end"
            out.damage("shard-truncated", unit, text)
        elif (starts < np.uint64(first)).any() or (starts[1:] < ends[:-1]).any():
            out.damage("shard-index", unit, "its index tells of chunks that lie over each other")
        elif self._codec is not None:
            flaws = (self._codec.flaw_of_size(int(length)) for length in np.unique(lengths))
            flaw = next((flaw for flaw in flaws if flaw is not None), None)
            if flaw is not None or not lengths.all():
                out.damage("shard-index", unit, f"tells of a chunk that {flaw or 'has no bytes'}")
