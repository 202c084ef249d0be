"""From what users hold to the editor that it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from platestore.tree.editor import AnyEditor


class HasEditor(Protocol):
    """What holds the editor of a node: every node that users have does, and every editor itself."""

    def __editor__(self) -> AnyEditor:
        """The editor."""


def editor_of(thing: object) -> AnyEditor | None:
    """The editor of a node that somebody holds; None for paths, stores and everything else."""
    give = getattr(type(thing), "__editor__", None)
    return None if give is None else give(thing)
