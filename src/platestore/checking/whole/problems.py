"""A finding of a check, and what a repair would do about it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from platestore.spec.findings import Finding


class Step(enum.IntEnum):
    """The steps of a repair, in their order: what was begun is finished first, pyramids are made last."""

    DROP = enum.auto()
    """Drop the record of a change that cannot be completed."""
    FINISH = enum.auto()
    """Complete a recorded change."""
    REMOVE = enum.auto()
    """Take away documents that nothing refers to and that hold nothing."""
    SET_ASIDE = enum.auto()
    """Move a file or directory into quarantine."""
    SALVAGE = enum.auto()
    """Move a shard into quarantine, and write what can be read of it anew."""
    ARRAY = enum.auto()
    """Write an array's document again."""
    SPELL = enum.auto()
    """Put into an array's document what strict readers miss."""
    GROUP = enum.auto()
    """Write the document of a group without metadata."""
    IMAGE = enum.auto()
    """Make an image's document fit what is there."""
    LABELS = enum.auto()
    """The same for a group of label images."""
    WELL = enum.auto()
    """The same for a well."""
    PLATE = enum.auto()
    """The same for a plate."""
    CONSOLIDATED = enum.auto()
    """Drop consolidated metadata."""
    PYRAMID = enum.auto()
    """Compute levels anew."""


@dataclass(frozen=True, slots=True)
class Fix:
    """One repair; several problems may have the same.

    Attributes
    ----------
    step : Step
        What is done.
    path : str
        To what, as a path in the store.
    text : str
        What it does, in words.
    """

    step: Step
    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A finding and its repair.

    Attributes
    ----------
    finding : Finding
        What was found.
    fix : Fix, optional
        What a repair would do; None where it can do nothing.
    after : Fix, optional
        What has to be done after that.
    """

    finding: Finding
    fix: Fix | None = None
    after: Fix | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What identifies it in two looks at a store."""
        return (self.finding.code, self.finding.file, self.finding.location)

    def told(self) -> Finding:
        """The finding, with what a repair would do."""
        return replace(self.finding, repair=None if self.fix is None else self.fix.text)
