"""JSON documents: strict reading and writing, and the one commit function for every change.

Invariant: the bytes of an existing document change only in :func:`commit`. It takes the lock of the
document's directory, reads the document afresh (and reuses the parsed copy in hand if the bytes are
the same), lets the caller change the parsed object, serialises it as strict JSON and replaces the file by a
rename. A reader therefore sees the old document or the new one, and two writers never undo each other.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic_core import to_json

from platestore.errors import (
    ArgumentError,
    InvalidMetadataError,
    NodeNotFoundError,
    SourceChangedError,
    StoreWarning,
)
from platestore.spec.values import Json

#: Larger documents are refused: no plate needs them, and parsing takes many times their size in memory.
MAX_DOCUMENT_BYTES = 64 * 2**20


class DocumentStorage(Protocol):
    """What a store must offer for its documents to be read and changed."""

    def where(self, path: str) -> str:
        """A path as users know it, for messages."""

    def lock(self, path: str) -> AbstractContextManager[None]:
        """Exclude other writers of the documents in a directory."""

    def read_document(self, key: str) -> bytes | None:
        """Content of a document, or None if there is none."""

    def write_document(self, key: str, data: bytes) -> None:
        """Replace a document whose directory is locked."""


class Constant(float):
    """A number that JSON has not, in a document of another program: NaN, infinite, or of endless digits.

    It stays in the document until that is changed for another reason; then null is written for it.
    """

    def __deepcopy__(self, memo: object) -> Constant:
        return self


@dataclass(slots=True)
class Document:
    """One JSON document as it was at one moment.

    Attributes
    ----------
    key : str
        Where it is, relative to the storage's root.
    content : dict
        The parsed object.
    data : bytes
        The bytes it was parsed from, or written as.
    """

    key: str
    content: Json
    data: bytes = field(default=b"", repr=False)


def parse(data: bytes, *, where: str) -> Json:
    """Parse a document strictly.

    Parameters
    ----------
    data : bytes
        UTF-8 JSON, with or without a byte order mark.
    where : str
        Its path, for errors.

    Returns
    -------
    dict
        The parsed object.

    Raises
    ------
    InvalidMetadataError
        If it is empty, truncated, too large, too deep, or no object.

    Notes
    -----
    ``NaN``, ``Infinity`` and endless integers become a :class:`Constant`; :func:`constants` finds them.
    """
    if len(data) > MAX_DOCUMENT_BYTES:
        raise InvalidMetadataError(
            f"the document has {len(data) / 2**20:.0f} MiB; more than {MAX_DOCUMENT_BYTES >> 20} is not read",
            path=where,
        )
    try:
        content = _loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InvalidMetadataError(f"the document is not UTF-8: {error}", path=where) from None
    except RecursionError:
        raise InvalidMetadataError("the document is nested too deeply", path=where) from None
    except ValueError as error:
        problem = "is empty" if not data.strip() else f"is not valid JSON: {error}"
        raise InvalidMetadataError(
            f"the document {problem}", path=where, hint="restore it from a backup, or write it again"
        ) from None
    if not isinstance(content, dict):
        raise InvalidMetadataError(
            f"the document holds a JSON {type(content).__name__}, not an object", path=where
        )
    return content


def _loads(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError:
        raise
    except ValueError:  # an integer that Python does not read
        return json.loads(text, parse_constant=_CONSTANTS.__getitem__, parse_int=_integer)


def _integer(digits: str) -> int | Constant:
    return int(digits) if len(digits) < _DIGITS else _CONSTANTS["-" * (digits[0] == "-") + "Infinity"]


_CONSTANTS = {name: Constant(name) for name in ("NaN", "Infinity", "-Infinity")}
_DECODER = json.JSONDecoder(parse_constant=_CONSTANTS.__getitem__)


def constants(content: object, path: str = "") -> Iterator[tuple[str, float]]:
    """Where a document, or a part of one, holds numbers that JSON has not.

    Yields
    ------
    tuple of str and float
        Location, such as ``statistics.mean[0]``, and value.
    """
    if isinstance(content, dict):
        for key, value in content.items():
            yield from constants(value, f"{path}.{key}" if path else str(key))
    elif isinstance(content, (list, tuple)):
        for i, value in enumerate(content):
            yield from constants(value, f"{path}[{i}]")
    elif isinstance(content, float) and not math.isfinite(content):
        yield path, content


def may_hold_constants(data: bytes) -> bool:
    """Whether the bytes of a document give a reason to look for numbers that JSON has not."""
    return b"NaN" in data or b"Infinity" in data or not _can_be_read(data)


def serialise(content: Json, *, where: str) -> bytes:
    """Write a document as strict JSON.

    Raises
    ------
    ArgumentError
        If a value has no JSON form (``NaN``, numpy scalars, ...), or the document could not be read again.

    Notes
    -----
    Bytes, sets and keys that are no strings would be turned into something else here; what users assign
    goes through :func:`check_json` first, which refuses them.
    """
    try:
        data = to_json(content)
        if b"NaN" in data or b"Infinity" in data:  # maybe the number, maybe a string that says so
            _refuse_new_constants(content, where)
            data = json.dumps(_with_nulls(content), allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ArgumentError(
            f"a value cannot be written as JSON: {error}", path=where, hint=_JSON_HINT
        ) from None
    if len(data) > MAX_DOCUMENT_BYTES or not _can_be_read(data):
        raise ArgumentError(
            f"the document would have {len(data)} bytes, or an endless integer, and could not be read again",
            path=where,
            hint="keep large data in arrays",
        )
    return data


def _refuse_new_constants(content: Json, where: str) -> None:
    """Refuse numbers that JSON has not; those that another program wrote become null, and it is told."""
    old = []
    for path, value in constants(content):
        if not isinstance(value, Constant):
            raise ArgumentError(f"{path} is {value}, which JSON has not", path=where, hint=_JSON_HINT)
        old.append(path)
    if old:
        more = f" and {len(old) - 5} more" if len(old) > 5 else ""
        text = f"{where}: {', '.join(old[:5])}{more}: NaN and Infinity are not JSON, and are written as null"
        warnings.warn(text, StoreWarning, stacklevel=3)


def _with_nulls(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _with_nulls(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_with_nulls(value) for value in content]
    return None if isinstance(content, Constant) else content


def _can_be_read(data: bytes) -> bool:
    """Whether no integer is longer than Python reads; only a long run of digits needs a closer look."""
    if len(data) < _DIGITS:
        return True
    aligned = (data[i : i + _DIGITS] for i in range(0, len(data) - _DIGITS + 1, _DIGITS))
    if not any(block.isdigit() for block in aligned):
        return True
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


# Python reads integers of up to 4,300 digits; a longer run fills an aligned block of this size.
_DIGITS = 2048
_JSON_HINT = "use finite numbers, strings, booleans, lists and dicts with string keys"


def check_json(value: object, *, where: str) -> None:
    """Refuse values that have no JSON form, before they come near a document.

    Serialisers make something of bytes, sets, numpy scalars and integer keys, silently; nobody would
    get back what was assigned.

    Raises
    ------
    ArgumentError
        If a value is no string, finite number, boolean, None, list, tuple or dict with string keys.
    """
    if value is None or isinstance(value, (str, bool, int)):
        small = not isinstance(value, int) or abs(value) < 2**64
        if value is None or (type(value).__module__ == "builtins" and small):
            return
    elif type(value) is float:
        if math.isfinite(value):
            return
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ArgumentError(f"the key {key!r} is not a string", path=where, hint=_JSON_HINT)
            check_json(item, where=where)
        return
    elif isinstance(value, (list, tuple)):
        for item in value:
            check_json(item, where=where)
        return
    raise ArgumentError(
        f"{_shown(value)} ({type(value).__name__}) cannot be written as JSON", path=where, hint=_JSON_HINT
    )


def _shown(value: object) -> str:
    text = repr(value) if not isinstance(value, int) else "a number beyond 64 bits"
    return text if len(text) <= 80 else text[:77] + "..."


def read_document(storage: DocumentStorage, key: str) -> Document | None:
    """Read one document, or None if it does not exist."""
    data = storage.read_document(key)
    if data is None:
        return None
    return Document(key, parse(data, where=storage.where(key)), data)


def commit(
    storage: DocumentStorage,
    key: str,
    change: Callable[[Json], None],
    *,
    known: Document | None = None,
    may_create: Callable[[], bool] | None = None,
    if_match: bytes | None = None,
) -> Document:
    """Change one document: lock, read, change, serialise, replace, unlock.

    Parameters
    ----------
    storage : DocumentStorage
        Where it is.
    key : str
        Which document.
    change : callable
        Changes the parsed object in place. If it raises, the document stays as it was.
    known : Document, optional
        A copy in hand. It is used (and changed) instead of a fresh reading if it is still current; after
        an error it must not be used again.
    may_create : callable, optional
        Asked where the document is missing: if it says yes, ``change`` gets an empty object.
    if_match : bytes, optional
        The bytes that the document must still have; under the lock, nobody can change them any more.

    Returns
    -------
    Document
        The document as it is now on disk.

    Raises
    ------
    NodeNotFoundError
        If it does not exist, and may not be created.
    SourceChangedError
        If it has other bytes than ``if_match``; nothing is changed then.
    """
    directory = key.rpartition("/")[0]
    with storage.lock(directory):
        document = _current(storage, key, known)
        if document is None:
            if may_create is None or not may_create():
                raise NodeNotFoundError(
                    "the document is gone", path=storage.where(key), hint="was the node deleted or moved?"
                )
            document = Document(key, {})
        if if_match is not None and document.data != if_match:
            raise SourceChangedError("the document was changed meanwhile", path=storage.where(key))
        change(document.content)
        data = serialise(document.content, where=storage.where(key))
        if data != document.data:
            storage.write_document(key, data)
        # What became null is null in hand, too.
        content = parse(data, where=key) if may_hold_constants(document.data) else document.content
        return Document(key, content, data)


def is_current(storage: DocumentStorage, known: Document) -> bool:
    """Whether a copy in hand is what is on disk.

    The bytes are compared. Inode, size and modification time would be cheaper and wrong: within one tick
    of the clock another writer can replace the file twice and give it its old inode back.
    """
    return bool(known.data) and storage.read_document(known.key) == known.data


def _current(storage: DocumentStorage, key: str, known: Document | None) -> Document | None:
    """The document on disk: the copy in hand if its bytes are still the same, else parsed afresh."""
    data = storage.read_document(key)
    if data is None:
        return None
    if known is not None and known.key == key and known.data == data:
        return known
    return Document(key, parse(data, where=storage.where(key)), data)
