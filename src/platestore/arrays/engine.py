"""Which program moves the pixels of an array: TensorStore where it can serve it, zarr-python elsewhere.

TensorStore cannot be used in a forked child of a process that used it: it would abort the program. So
this module remembers whether it was used, and a child that inherits that goes through zarr-python.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from platestore.arrays.indexing import ArraySelection
from platestore.arrays.types import DType
from platestore.errors import DamagedChunkError, ForkError, MissingChunkError, UnsupportedError
from platestore.settings import config
from platestore.storage.base import Storage
from platestore.storage.files import sync_directory
from platestore.storage.hierarchy import ArrayDocument

if TYPE_CHECKING:
    import tensorstore

_STATUS = re.compile(r"(?P<status>[A-Z_]{6,}): ")
_OS_CODE = re.compile(r"os_error_code='(\d+)'")
_FILE = re.compile(r'local file "([^"]+)"')
_DAMAGE = ("DATA_LOSS", "FAILED_PRECONDITION", "INVALID_ARGUMENT", "OUT_OF_RANGE")


class _Process:
    """What this process did with TensorStore so far."""

    used = False
    inherited = False
    contexts: dict[tuple[int, bool], Any] = {}  # noqa: RUF012 - one per process, on purpose

    @classmethod
    def forked(cls) -> None:
        # Users may have used it without us; whether it was only imported cannot be told.
        cls.inherited = cls.inherited or cls.used or "tensorstore" in sys.modules


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Process.forked)


def refuse_in_child(what: str, where: str) -> None:
    """Refuse what only TensorStore can do where it cannot be used.

    Raises
    ------
    ForkError
        In a forked child of a process that used TensorStore.
    """
    if _Process.inherited:
        raise ForkError(
            f"{what} is not possible in a process that was forked after its parent used TensorStore",
            path=where,
        )


class Engine:
    """How one array is read and written, and the handles that are open for it.

    Parameters
    ----------
    storage : Storage
        Where the array is.
    document : ArrayDocument
        The array's document; handles are opened over it, and nothing is read.
    dtype : numpy.dtype
        Data type as zarr-python gives it.
    """

    __slots__ = ("_document", "_dtype", "_flushed", "_handles", "_storage", "refusal")

    def __init__(self, storage: Storage, document: ArrayDocument, dtype: DType) -> None:
        self._storage = storage
        self._document = document
        self._dtype = dtype
        self._handles: dict[tuple[bool, int], tensorstore.TensorStore] = {}
        self._flushed: set[str] = set()
        #: Why TensorStore cannot serve this array, if it was asked and cannot.
        self.refusal: str | None = None

    @property
    def document(self) -> ArrayDocument:
        """The document that the handles were opened over."""
        return self._document

    def handle(self, *, writable: bool) -> tensorstore.TensorStore | None:
        """The open array, or None where zarr-python must serve it.

        Parameters
        ----------
        writable : bool
            Whether it is to be written.
        """
        if _Process.inherited or self.refusal is not None:
            return None
        key = (writable, config.threads)
        found = self._handles.get(key)
        if found is not None:
            return found
        directory = self._storage.local_path(self._document.path)
        if directory is None:
            self.refusal = "the store is no local directory"
            return None
        if self._dtype.kind not in "biufc" or not self._dtype.isnative:
            # TensorStore ends the program when it is shown some of the other types.
            self.refusal = f"elements of type {self._dtype.str} are left to zarr-python"
            return None
        import tensorstore

        # Every other status would come from reading the document, which is not done.
        _Process.used = True
        try:
            handle = tensorstore.open(
                self._spec(directory),
                read=True,
                write=writable,
                context=_context(self._storage.options.durability == "full"),
            ).result()
        except (ValueError, NotImplementedError, TypeError) as error:
            self.refusal = str(error).partition(" [")[0]
            return None
        if handle.dtype.numpy_dtype != self._dtype:
            self.refusal = f"TensorStore reads it as {handle.dtype.name}"
            return None
        self._handles[key] = handle
        return handle

    def _spec(self, directory: str) -> dict[str, Any]:
        document = self._document
        content = {
            k: v for k, v in document.content.items() if k not in ("attributes", "consolidated_metadata")
        }
        raises = self._storage.options.missing == "raise"
        return {
            "driver": "zarr" if document.zarr_format == 2 else "zarr3",
            "kvstore": {"driver": "file", "path": f"{directory}/"},
            "metadata": content,
            "open": True,
            "assume_metadata": True,
            "fill_missing_data_reads": not raises,
            # What was written must not look missing afterwards.
            "store_data_equal_to_fill_value": raises,
        }

    def read(self, handle: tensorstore.TensorStore, selection: ArraySelection) -> Any:
        """Read a selection; the handle is from :meth:`handle`."""
        with self.translated():
            return _select(handle, selection).read(order="C").result()

    def write(
        self, handle: tensorstore.TensorStore, selection: ArraySelection, data: np.ndarray[Any, Any]
    ) -> None:
        """Write a selection; it returns when the bytes are in the file system."""
        with self.translated():
            _select(handle, selection).write(data).result()

    def flush_directories(self, keys: Iterable[str]) -> None:
        """Flush the directories that lead to chunks: TensorStore flushes a chunk and its own directory only.

        Parameters
        ----------
        keys : iterable of str
            Keys of the chunks that were written.
        """
        for key in keys:
            directory = key.rpartition("/")[0]
            self._flush(directory)
            # A directory is safe when the one that names it was flushed, after it had come.
            while directory and directory not in self._flushed:
                self._flushed.add(directory)
                directory = directory.rpartition("/")[0]
                self._flush(directory)

    def _flush(self, directory: str) -> None:
        path = self._storage.local_path(directory)
        if path is not None and os.path.isdir(path):
            sync_directory(path)

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Raise TensorStore's errors as this library's, with the array's path."""
        try:
            yield
        except (ValueError, RuntimeError, OSError) as error:
            raise self._translation(error) from error

    def _translation(self, error: Exception) -> Exception:
        text = str(error)
        named = _FILE.search(text)
        where = named[1] if named is not None else self._storage.where(self._document.path)
        code = _OS_CODE.search(text)
        if code is not None:
            number = int(code[1])
            return OSError(number, os.strerror(number), where)
        status = _STATUS.match(text)
        plain = text.partition(" [")[0]
        if status is None:
            return error
        if status["status"] == "NOT_FOUND" and "missing" in text:
            return MissingChunkError(plain.removeprefix("NOT_FOUND: "), path=where)
        if status["status"] in _DAMAGE:
            return DamagedChunkError(plain[status.end() :], path=where)
        if status["status"] == "PERMISSION_DENIED":
            return PermissionError(errno.EACCES, plain, where)
        return OSError(errno.EIO, plain, where)


def open_tensorstore(
    storage: Storage, document: ArrayDocument, *, writable: bool, **kwargs: Any
) -> tensorstore.TensorStore:
    """Open an array with TensorStore for the user, with the shared thread budget unless told otherwise."""
    import tensorstore

    path = storage.local_path(document.path)
    refuse_in_child("a TensorStore handle", storage.where(document.path))
    _Process.used = True
    spec = {
        "driver": "zarr" if document.zarr_format == 2 else "zarr3",
        "kvstore": {"driver": "file", "path": f"{path}/"},
    }
    kwargs.setdefault("context", _context(storage.options.durability == "full"))
    try:
        return tensorstore.open(spec, open=True, read=True, write=writable, **kwargs).result()
    except ValueError as error:
        raise UnsupportedError(
            f"TensorStore cannot open this array: {str(error).partition(' [')[0]}",
            path=storage.where(document.path),
            hint="index the array itself, which goes through zarr-python",
        ) from error


def _context(sync: bool) -> Any:
    """One context per thread budget and durability: all arrays share its threads; nothing is cached."""
    import tensorstore

    key = (config.threads, sync)
    if key not in _Process.contexts:
        _Process.contexts[key] = tensorstore.Context(
            {
                "cache_pool": {"total_bytes_limit": 0},
                "data_copy_concurrency": {"limit": config.threads},
                "file_io_concurrency": {"limit": max(4, config.threads)},
                "file_io_sync": sync,
            }
        )
    return _Process.contexts[key]


def _select(handle: tensorstore.TensorStore, selection: ArraySelection) -> tensorstore.TensorStore:
    if selection.kind == "basic":
        return handle[selection.index]
    return (handle.oindex if selection.kind == "orthogonal" else handle.vindex)[selection.index]
