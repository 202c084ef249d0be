"""What a copy did, or would do."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Literal

from platestore.spec.values import Json

#: How an array comes into the copy: its files as they are; decoded and encoded again; made from a finer
#: level; or without any pixels.
How = Literal["files", "pixels", "levels", "empty"]


@dataclass(frozen=True, slots=True)
class ArrayReport:
    """One array of the copy.

    Attributes
    ----------
    path : str
        Its path in the copy.
    how : {"files", "pixels", "levels", "empty"}
        ``"files"``: its files are copied as they are; ``"pixels"``: its chunks are decoded and encoded
        again; ``"levels"``: it is made from the next finer level; ``"empty"``: it holds no pixels.
    why : str
        The reason.
    files : int
        Number of chunk and shard files that are read (``"files"``), or written at most.
    nbytes : int
        Bytes that are copied (``"files"``), or bytes of the decoded pixels.
    """

    path: str
    how: How
    why: str
    files: int
    nbytes: int


@dataclass
class CopyReport:
    """What :func:`platestore.copy` did, or would do.

    Attributes
    ----------
    sources : list of str
        What was copied.
    destination : str
        The copy.
    version : str
        Its OME-NGFF version.
    positions : int
        Number of its positions.
    arrays : list of ArrayReport
        Its arrays.
    files : int
        Number of its files (entries, in an archive) that hold documents, chunks or shards.
    nbytes : int
        Bytes of them; an estimate where ``dry_run`` is set and chunks are encoded anew.
    memory : int
        Bytes by which the process needs to grow at least.
    notes : list of str
        What could not come along, is different, or was found beside what the documents list, in words.
    unclaimed : int
        Files of the sources that look like chunks and that no array claims; the notes say where.
    dry_run : bool
        Whether this is only a plan.
    resumed : bool
        Whether an interrupted copy was continued.
    verified : bool
        Whether the copy was read again and compared.
    seconds : float
        How long it took.
    """

    sources: list[str]
    destination: str
    version: str
    positions: int = 0
    arrays: list[ArrayReport] = field(default_factory=list)
    files: int = 0
    nbytes: int = 0
    memory: int = 0
    notes: list[str] = field(default_factory=list)
    unclaimed: int = 0
    dry_run: bool = False
    resumed: bool = False
    verified: bool = False
    seconds: float = 0.0

    def count(self, how: How) -> int:
        """Number of arrays that come into the copy in one way.

        Examples
        --------
        >>> report = ps.copy("plate.zarr", "copy.zarr", z="0:2", dry_run=True)
        >>> report.count("pixels"), report.count("files")
        (2, 0)
        """
        return sum(1 for array in self.arrays if array.how == how)

    def to_json(self) -> Json:
        """The report as JSON; arrays are listed only in a plan."""
        out = asdict(self)
        arrays = out.pop("arrays")
        out["bytes"] = out.pop("nbytes")
        out["seconds"] = round(self.seconds, 3)
        out["arrays"] = {how: self.count(how) for how in ("files", "pixels", "levels", "empty")}
        if self.dry_run:
            out["plan"] = [{("bytes" if k == "nbytes" else k): v for k, v in a.items()} for a in arrays]
        return out
