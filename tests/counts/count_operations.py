"""Counts what a call reads and writes: documents by platestore, chunks by zarr, files by Python."""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorstore
from zarr.abc.store import Store
from zarr.storage import LocalStore, MemoryStore

from platestore.storage.local import LocalStorage
from platestore.storage.zarr_store import ZarrStorage

DOCUMENTS = frozenset({"zarr.json", ".zgroup", ".zattrs", ".zarray", ".zmetadata"})
_counting: list[Operations] = []
_hooked = threading.Lock()
_hook_is_there = False


class Operations:
    """What was done to one store while the context was active.

    Attributes
    ----------
    reads, writes : Counter
        How often each document was asked for (whether it is there or not) and written, by key.
    lists : Counter
        How often each group was listed.
    chunk_reads, chunk_writes : Counter
        What zarr itself read and wrote, by key.
    opened : Counter
        Documents that were opened for reading by anything in Python (local stores only).
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = None if root is None else os.path.realpath(root)
        self.reads: Counter[str] = Counter()
        self.writes: Counter[str] = Counter()
        self.lists: Counter[str] = Counter()
        self.chunk_reads: Counter[str] = Counter()
        self.chunk_writes: Counter[str] = Counter()
        self.opened: Counter[str] = Counter()
        self._saved: list[tuple[Any, str, Any]] = []
        self._inside = threading.local()

    @property
    def chunks_read(self) -> int:
        """Chunks that zarr or the engine read."""
        return sum(self.chunk_reads.values()) + self._engine["read"]

    @property
    def chunks_written(self) -> int:
        """Chunks that zarr or the engine wrote."""
        return sum(self.chunk_writes.values()) + self._engine["write"]

    def __enter__(self) -> Operations:
        self._engine = _engine_counts()
        for storage in (LocalStorage, ZarrStorage):
            self._wrap(storage, "read", self.reads)
            self._wrap(storage, "write", self.writes)
            self._wrap(storage, "create", self.writes)
            for name in ("list", "keys"):
                self._wrap(storage, name, self.lists)
        for store in (LocalStore, MemoryStore):
            self._wrap_async(store, "get", self.reads, self.chunk_reads)
            self._wrap_async(store, "exists", self.reads, self.chunk_reads)
            self._wrap_async(store, "set", self.writes, self.chunk_writes)
        _counting.append(self)
        _add_hook()
        return self

    def __exit__(self, *exc_info: object) -> None:
        _counting.remove(self)
        now = _engine_counts()
        self._engine = {name: now[name] - count for name, count in self._engine.items()}
        for owner, name, real in reversed(self._saved):
            setattr(owner, name, real)
        self._saved.clear()

    def _wrap(self, owner: type, name: str, counter: Counter[str]) -> None:
        real: Callable[..., Any] = getattr(owner, name)
        inside = self._inside

        def counted(storage: Any, key: str, *args: Any) -> Any:
            # A storage may use its own methods; that is one operation.
            if getattr(inside, "depth", 0):
                return real(storage, key, *args)
            counter[key] += 1
            inside.depth = 1
            try:
                return real(storage, key, *args)
            finally:
                inside.depth = 0

        self._saved.append((owner, name, real))
        setattr(owner, name, counted)

    def _wrap_async(self, owner: type, name: str, documents: Counter[str], chunks: Counter[str]) -> None:
        real: Callable[..., Any] = getattr(owner, name)

        async def counted(store: Store, key: str, *args: Any, **kwargs: Any) -> Any:
            if key.rpartition("/")[2] not in DOCUMENTS:
                chunks[key] += 1
            elif isinstance(store, LocalStore):
                documents[f"by zarr: {key}"] += 1  # platestore's own go past the store
            return await real(store, key, *args, **kwargs)

        self._saved.append((owner, name, real))
        setattr(owner, name, counted)

    @property
    def done(self) -> tuple[dict[str, int], dict[str, int]]:
        """Documents read and written."""
        return dict(self.reads), dict(self.writes)


def _engine_counts() -> dict[str, int]:
    """Files that TensorStore read and wrote so far, by its own account."""
    counts = {}
    for name in ("read", "write"):
        key = f"/tensorstore/kvstore/file/{name}"
        found = [m for m in tensorstore.experimental_collect_matching_metrics(key) if m["name"] == key]
        counts[name] = sum(int(value["value"]) for m in found for value in m["values"])
    return counts


def _add_hook() -> None:
    global _hook_is_there
    with _hooked:
        if not _hook_is_there:
            sys.addaudithook(_on_event)  # it cannot be taken away, but does nothing when nobody counts
            _hook_is_there = True


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or not _counting:
        return
    path, _, flags = arguments
    if not isinstance(path, (str, bytes)) or (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)):
        return
    text = os.fsdecode(path)
    if os.path.basename(text) in DOCUMENTS:
        for each in _counting:
            if each.root is not None and text.startswith(each.root + os.sep):
                each.opened[os.path.relpath(text, each.root)] += 1


def once(*keys: str) -> dict[str, int]:
    """Each of these one time."""
    assert len(set(keys)) == len(keys)
    return dict.fromkeys(keys, 1)
