"""What tells whether a tree of files changed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a tree of files looked like when the copy was planned.

    Attributes
    ----------
    files, nbytes : int
        Number of its files, and their bytes.
    newest : int
        Latest time of change, in nanoseconds; 0 where the store does not tell.
    """

    files: int = 0
    nbytes: int = 0
    newest: int = 0

    def __add__(self, other: Stamp) -> Stamp:
        return Stamp(self.files + other.files, self.nbytes + other.nbytes, max(self.newest, other.newest))
