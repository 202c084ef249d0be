"""Consolidated metadata (zarr's copy of all documents in one) is never trusted, and dropped by changes.

It would lie from a change on. It is dropped from every group above, before the lock of the changed
directory is taken: locks are only ever waited for from the root downwards, so no two writers can wait
for each other.
"""

from __future__ import annotations

from platestore.storage.base import Storage, join
from platestore.storage.documents import commit

_KEY = "consolidated_metadata"


def drop_consolidated(storage: Storage, path: str, *, below: str | None = None) -> None:
    """Drop the consolidated metadata that covers a directory.

    Parameters
    ----------
    storage : Storage
        The store.
    path : str
        The directory that is about to change.
    below : str, optional
        A group whose lock is held; what lies above it was dropped when it was taken.
    """
    segments = path.split("/") if path else []
    first = 0 if below is None else len(below.split("/")) if below else 0
    for depth in range(first, len(segments) + 1):
        group = "/".join(segments[:depth])
        storage.remove(join(group, ".zmetadata"))
        if group != path:  # of the directory itself, the change drops it
            _drop_from_v3(storage, group)


def _drop_from_v3(storage: Storage, group: str) -> None:
    key = join(group, "zarr.json")
    stamp = storage.stamp(key)
    if storage.unconsolidated.get(group, _UNKNOWN) == stamp:
        return
    data = storage.read_document(key)
    if data is not None and b'"' + _KEY.encode() + b'"' in data:
        commit(storage, key, lambda content: content.pop(_KEY, None))
        stamp = storage.stamp(key)
    storage.unconsolidated[group] = stamp


_UNKNOWN = object()
