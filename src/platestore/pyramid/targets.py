"""What a build is given of each level: its shapes, and who reads and writes its chunks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from platestore.arrays.types import Pixels
from platestore.pyramid.blocks import Place


class Reader(Protocol):
    """Gives the chunks of a level."""

    def read(self, place: Place, out: Pixels) -> bool:
        """Decode a chunk into a C-contiguous block; False if it was never written."""

    @property
    def index_nbytes(self) -> int:
        """Bytes of the index of a shard, which is kept."""

    def largest_encoded(self) -> int:
        """The most bytes that reading one chunk takes beside the block."""


class Writer(Protocol):
    """Takes the chunks of a level, each once."""

    #: How many unfinished files there are at once, at most.
    most_open: int

    @property
    def units(self) -> tuple[int, ...]:
        """Shape of what one file holds."""

    @property
    def index_nbytes(self) -> int:
        """Bytes of the index of a shard under way."""

    @property
    def held_nbytes(self) -> int:
        """The most bytes of unfinished files that it keeps in memory."""

    def write(self, place: Place, block: Pixels | None) -> None:
        """Encode and write a C-contiguous block of the whole chunk's shape; None is the fill value."""

    def restrict(self, places: Iterable[Place]) -> None:
        """Only these chunks will come; the others are kept as they are."""

    def discard(self) -> None:
        """Take away what is under way, after an error."""


@dataclass(frozen=True, slots=True)
class LevelTarget:
    """One level as the build needs it.

    Attributes
    ----------
    shape, chunks : tuple of int
        Shapes of the level and of its chunks.
    factors : tuple of int
        Factors from the level above; ones for level 0.
    reader : Reader, optional
        Of level 0 on disk, and of the other levels where only a region is made anew.
    writer : Writer, optional
        Where the level goes; None for level 0 that is on disk already.
    fill : numpy scalar
        What chunks that were never written hold.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    factors: tuple[int, ...]
    reader: Reader | None = None
    writer: Writer | None = None
    fill: Any = 0
