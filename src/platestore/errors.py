"""Every exception and warning platestore raises.

Each error is also a subclass of the builtin a user would think of catching, carries the ``path`` of
the store, node or document it is about and, where there is one, a ``hint``: what to do next.
"""

from __future__ import annotations

from typing import ClassVar


class PlatestoreError(Exception):
    """Base of all platestore errors.

    Parameters
    ----------
    message : str
        What is wrong.
    path : str, optional
        The store, node or document it is about.
    hint : str, optional
        What the user can do.
    """

    #: What to do, where an error says nothing more precise.
    default_hint: ClassVar[str | None] = None

    def __init__(self, message: str, *, path: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.hint = hint or self.default_hint

    def __str__(self) -> str:
        text = self.message if self.path is None else f"{self.path}: {self.message}"
        return text if self.hint is None else f"{text} ({self.hint})"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.path, self.hint)


def _rebuild(cls: type[PlatestoreError], message: str, path: str | None, hint: str | None) -> PlatestoreError:
    return cls(message, path=path, hint=hint)


class NodeNotFoundError(PlatestoreError, FileNotFoundError):
    """A store, group, array or document that was named does not exist."""

    default_hint = "check the path"


class NodeKeyError(PlatestoreError, KeyError):
    """A key that a node does not have (``plate["Z/9"]``, ``position["raw"]``)."""

    default_hint = "list the members with `platestore ls`, or iterate over the node"


class NodeExistsError(PlatestoreError, FileExistsError):
    """Something is already there, and overwriting it was not asked for."""

    default_hint = "choose another name, or ask for replacement explicitly"


class LevelExistsError(NodeExistsError, RuntimeError):
    """A level of a volume is there already."""

    default_hint = "pass overwrite=True to make it anew"


class LevelNotFoundError(NodeKeyError, ValueError, RuntimeError):
    """A level that a volume does not have."""

    default_hint = "`levels` lists those that it has; each is made from the one before"


class ArgumentError(PlatestoreError, ValueError):
    """An argument cannot mean anything here: the call was wrong, the store is as it was."""

    default_hint = "correct the call; nothing was written"


class InvalidNameError(ArgumentError):
    """A name that the specification or a file system cannot take."""

    default_hint = "choose another name; nothing was written"


class UnsafeTargetError(PlatestoreError, ValueError):
    """A target that must not be replaced or written through: not a store, or more than a store."""

    default_hint = "nothing was written or deleted"


class InvalidMetadataError(PlatestoreError, ValueError):
    """A document on disk is broken JSON, or says what no reader could use."""

    default_hint = "correct the document, or restore it from a backup"


class UnsupportedVersionError(PlatestoreError, ValueError):
    """A version of OME-NGFF that platestore does not read or write."""

    default_hint = "platestore reads and writes 0.4 and 0.5"


class UnsupportedError(PlatestoreError, NotImplementedError):
    """A thing that this kind of store cannot do."""

    default_hint = "convert or copy the data to a store that can"


class ReadOnlyError(PlatestoreError, PermissionError):
    """A change was asked of a node that was opened with ``mode="r"``."""

    default_hint = 'open it with mode="r+"'


class LockTimeoutError(PlatestoreError, TimeoutError):
    """Another process held the lock on a document for longer than ``lock_timeout`` seconds."""

    default_hint = (
        "wait for the other process; open_ome_zarr and copy wait longer with lock_timeout= (--lock-timeout)"
    )


class LockUnsupportedError(PlatestoreError, OSError):
    """The file system offers no way to keep two writers apart."""

    default_hint = "pass lock=False if this is the only process that changes the store"


class DamagedChunkError(PlatestoreError, OSError):
    """A chunk or shard that is empty, cut off or garbled: it cannot be decoded."""

    default_hint = "restore the file from a backup, or write its region again"


class MissingChunkError(PlatestoreError, FileNotFoundError):
    """A chunk that was never written, in a store opened with ``missing="raise"``."""

    default_hint = 'write it, or open the store with missing="fill" to read it as the fill value'


class ForkError(PlatestoreError, RuntimeError):
    """Something that a forked child cannot do, since its parent used TensorStore."""

    default_hint = (
        "start the workers with multiprocessing.get_context('spawn') or 'forkserver', or use threads"
    )


class BudgetError(ArgumentError):
    """A memory budget below what the work needs at least; ``needed`` is that, in bytes."""

    default_hint = "pass a larger max_memory="

    def __init__(
        self, message: str, *, path: str | None = None, hint: str | None = None, needed: int = 0
    ) -> None:
        super().__init__(message, path=path, hint=hint)
        self.needed = needed

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_budget, (self.message, self.path, self.hint, self.needed)


def _rebuild_budget(message: str, path: str | None, hint: str | None, needed: int) -> BudgetError:
    return BudgetError(message, path=path, hint=hint, needed=needed)


class VerifyError(PlatestoreError, OSError):
    """A copy that was read again differs from its source."""

    default_hint = "the copy was not put in its place; check the disks, and copy again with overwrite=True"


class SourceChangedError(PlatestoreError, RuntimeError):
    """A source that changed while it was copied, or between an interruption and its resumption."""

    default_hint = "wait until nothing writes to it, then copy again with overwrite=True"


class NoSpaceError(PlatestoreError, OSError):
    """A destination that has less room than the copy needs."""

    default_hint = "free some space, or choose another destination; nothing was written"


class RewriteWarning(UserWarning):
    """A write that changes a part of a chunk or shard, and so reads and rewrites all of it."""


class StoreWarning(UserWarning):
    """A store from elsewhere breaks a rule of the specification in a way that can be read all the same."""


class DanglingError(NodeNotFoundError, NodeKeyError):
    """A group or array that the metadata lists, but that is not there."""


class UnreadableWarning(StoreWarning):
    """A listed member cannot be opened, and was left out of an iteration."""
