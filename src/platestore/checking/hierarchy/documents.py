"""Documents as they are, whatever is wrong with them: every flaw is a finding, nothing is raised."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from platestore.errors import PlatestoreError
from platestore.spec.findings import Finding
from platestore.spec.values import Json
from platestore.spec.versions import kind_of
from platestore.storage.base import Storage, join
from platestore.storage.documents import MAX_DOCUMENT_BYTES, constants

#: Instead of the content of a document that is not there, or that cannot be parsed.
ABSENT: Final = object()
BROKEN: Final = object()

What = Literal["group", "array", "nothing", "broken"]

_JSON_RULE = "RFC 8259: "
_ZARR_RULES = {2: "Zarr v2: {}", 3: "Zarr v3 core: {}"}
_RESTORE = "restore the document from a backup, or write it again"


@dataclass(frozen=True, slots=True)
class Node:
    """What the documents in a directory say.

    Attributes
    ----------
    path : str
        Path in the store.
    what : {"group", "array", "nothing", "broken"}
        What is there; broken is a document that cannot be read.
    zarr_format : {2, 3} or None
        Version of zarr; None where there is nothing.
    file : str
        The document with the attributes of a group, or the one that describes an array.
    attributes : JSON value
        Attributes of a group.
    content : JSON value
        The document of an array.
    findings : tuple of Finding
        What is wrong with the documents themselves.
    """

    path: str
    what: What
    zarr_format: int | None
    file: str
    attributes: Any = None
    content: Any = None
    findings: tuple[Finding, ...] = ()


def parse_document(data: bytes, file: str) -> tuple[Any, list[Finding]]:
    """Parse JSON, and collect what is wrong with it.

    Parameters
    ----------
    data : bytes
        The document.
    file : str
        Its path, for the findings.

    Returns
    -------
    value : JSON value
        Its content; ``BROKEN`` if it has none.
    findings : list of Finding
        A byte order mark, keys that are there twice, numbers that JSON does not have, or why it cannot be
        parsed.
    """
    if len(data) > MAX_DOCUMENT_BYTES:
        return BROKEN, [_too_large(len(data), file)]
    findings: list[Finding] = []
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return BROKEN, [_malformed(f"the document is not UTF-8: {error.reason}, byte {error.start}", file)]
    if text.startswith("\ufeff"):
        text = text[1:]
        findings.append(_bom(file))
    if not text.strip():
        return BROKEN, [*findings, _malformed("the document is empty", file)]
    twice: list[str] = []
    strange: list[str] = []

    def take(pairs: list[tuple[str, Any]]) -> Json:
        found = dict(pairs)
        if len(found) != len(pairs):
            twice.extend(_repeated(pairs))
        return found

    def constant(name: str) -> float:
        strange.append(name)
        return float(name.replace("Infinity", "inf"))

    try:
        value = json.loads(text, object_pairs_hook=take, parse_constant=constant)
    except RecursionError:
        return BROKEN, [*findings, _malformed("the document is nested too deeply", file)]
    except ValueError as error:
        return BROKEN, [*findings, _malformed(f"the document is not JSON: {error}", file)]
    findings += [_duplicate(key, file) for key in dict.fromkeys(twice)]
    findings += _constants(value, file) if strange else []
    return value, findings


def _repeated(pairs: list[tuple[str, Any]]) -> Iterator[str]:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            yield key
        seen.add(key)


def _bom(file: str) -> Finding:
    return Finding(
        "json-bom",
        "",
        "the document begins with a byte order mark",
        "warning",
        file,
        rule=_JSON_RULE + "a byte order mark must not be added to JSON that is exchanged",
        hint="save it as UTF-8 without a byte order mark",
    )


def _malformed(message: str, file: str) -> Finding:
    rule = _JSON_RULE + "a text is one JSON value, in UTF-8"
    return Finding("json-malformed", "", message, file=file, rule=rule, hint=_RESTORE)


def _too_large(size: int, file: str) -> Finding:
    return Finding(
        "json-size",
        "",
        f"the document has {size / 2**20:.0f} MiB and was not read",
        file=file,
        expected=f"at most {MAX_DOCUMENT_BYTES >> 20} MiB",
        hint="metadata are small: keep data in arrays",
    )


def _duplicate(key: str, file: str) -> Finding:
    return Finding(
        "json-duplicate",
        "",
        f"the key {shown(key)} is there more than once in one object; the last one counts here",
        "warning",
        file,
        rule=_JSON_RULE + "the names in an object should be unique; which one counts is not defined",
        hint="remove all but one",
    )


def _constants(value: Any, file: str) -> Iterator[Finding]:
    """One finding for NaN, and one for each infinity, at the first place of each."""
    places: dict[str, list[str]] = {}
    for path, number in constants(value):
        places.setdefault(str(number), []).append(path)
    for shown, paths in places.items():
        more = f", as in {len(paths) - 1} more places" if len(paths) > 1 else ""
        yield Finding(
            "json-constant",
            paths[0],
            f"is {shown}, which is no number of JSON{more}",
            file=file,
            rule=_JSON_RULE + "numbers are finite; NaN and Infinity are not allowed",
            hint="write null, or leave the key out",
        )


def short(values: Sequence[object] | None) -> str:
    """A shape or a list of names for a message."""
    if values is None:
        return "none"
    text = ", ".join(str(value)[:40] for value in values[:6])
    return f"[{text}{', ...' if len(values) > 6 else ''}]"


def shown(value: object) -> str:
    """A value for a message: as JSON writes it, and not longer than a line."""
    if isinstance(value, str):
        text = repr(value[:80])
    elif isinstance(value, (dict, list)):
        text = "an object" if isinstance(value, dict) else f"a list of {len(value)}"
    elif isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 128:
        text = "an endless integer"
    else:
        text = json.dumps(value, default=repr)
    return text if len(text) <= 90 else f"{text[:86]}..."


# --- from a store ---------------------------------------------------------------------------------


def read_json(storage: Storage, key: str) -> tuple[Any, list[Finding]]:
    """Read a document of a store.

    Returns
    -------
    value : JSON value
        Its content; ``ABSENT`` if there is no such document, ``BROKEN`` if it cannot be read or parsed.
    findings : list of Finding
        What is wrong with it.
    """
    file = storage.where(key)
    try:
        local = storage.local_path(key)
        if local is not None and (refused := refused_file(local, file)) is not None:
            return (ABSENT, []) if refused == [] else (BROKEN, refused)
        data = storage.read(key)
    except (OSError, ValueError, PlatestoreError) as error:
        return BROKEN, [unreadable(error, file)]
    return (ABSENT, []) if data is None else parse_document(data, file)


def refused_file(path: str, file: str) -> list[Finding] | None:
    """Why a file is not to be opened: pipes would wait forever, and huge files fill the memory.

    Returns
    -------
    list of Finding or None
        None if it can be opened; an empty list if there is no file.
    """
    try:
        info = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return []
    if stat.S_ISDIR(info.st_mode):
        return []
    if not stat.S_ISREG(info.st_mode):
        return [Finding("unreadable", "", "is no regular file, and was not opened", file=file)]
    return [_too_large(info.st_size, file)] if info.st_size > MAX_DOCUMENT_BYTES else None


def unreadable(error: Exception, file: str) -> Finding:
    """The finding for a document or file that could not be read."""
    if isinstance(error, PlatestoreError):
        message, hint = error.message, error.hint
    elif isinstance(error, OSError):
        message, hint = error.strerror or str(error), "check the rights, and that the disk is there"
    else:
        message, hint = str(error), "no file system holds such a name"
    return Finding("unreadable", "", f"cannot be read: {message}", file=file, hint=hint)


def read_node(storage: Storage, path: str, *, array: bool = False) -> Node:
    """Read what is at a path, each document once.

    Parameters
    ----------
    storage : Storage
        The store.
    path : str
        Path in it.
    array : bool
        Whether an array is expected there: then zarr v2 is asked for one first.

    Returns
    -------
    Node
        Where documents of both versions of zarr are there, that of v3.
    """
    content, findings = read_json(storage, join(path, "zarr.json"))
    if content is ABSENT:
        return _read_v2(storage, path, array=array)
    if content is BROKEN and findings[0].code == "unreadable":
        # Servers that list nothing may refuse what is not there.
        other = _read_v2(storage, path, array=array)
        if other.what != "nothing":
            return other
    file = storage.where(join(path, "zarr.json"))
    beside = [name for name in (".zgroup", ".zattrs") if not array and _exists(storage, join(path, name))]
    if beside:
        inner = read_json(storage, join(path, ".zattrs"))[0] if content is not BROKEN else None
        lost = isinstance(inner, dict) and kind_of(inner, 2) != "unknown" and not _says_what(content)
        more = "; the metadata lies in .zattrs, as in zarr v2" if lost else ""
        findings.append(
            Finding(
                "formats-mixed",
                "",
                f"there are documents of zarr v2 beside that of v3, which is the one that counts{more}",
                "error" if lost else "warning",
                file,
                rule="OME-NGFF 0.5, storage: where both are there, readers should take Zarr v3 (SHOULD)",
                hint="remove zarr.json: it says nothing"
                if lost
                else "remove .zgroup and .zattrs, if the store was converted",
            )
        )
    if content is BROKEN:
        return Node(path, "broken", 3, file, findings=tuple(findings))
    return node_of(path, content, file, findings)


def node_of(path: str, content: Any, file: str, findings: list[Finding]) -> Node:
    """The node that a ``zarr.json`` describes."""
    if not isinstance(content, dict):
        findings.append(_wrong(3, "", "an object", content, file))
        return Node(path, "broken", 3, file, findings=tuple(findings))
    if content.get("zarr_format") != 3 or isinstance(content.get("zarr_format"), float):
        findings.append(_wrong(3, "zarr_format", "3", content.get("zarr_format"), file))
    stated = content.get("node_type")
    what: What = "array" if stated == "array" or (stated != "group" and "shape" in content) else "group"
    if stated not in ("group", "array"):
        findings.append(_wrong(3, "node_type", "'group' or 'array'", stated, file))
    attributes = content.get("attributes", {})
    if what == "array" and not isinstance(attributes, dict):
        findings.append(_wrong(3, "attributes", "an object", attributes, file))
    return Node(path, what, 3, file, attributes, content, tuple(findings))


def _read_v2(storage: Storage, path: str, *, array: bool) -> Node:
    local = storage.local_path(path)
    if local is not None and not os.path.isdir(local):
        return Node(path, "nothing", None, storage.where(path))
    names: tuple[tuple[str, What], ...] = ((".zgroup", "group"), (".zarray", "array"))
    attributes, findings = read_json(storage, join(path, ".zattrs"))
    for name, what in reversed(names) if array else names:
        content, flaws = read_json(storage, join(path, name))
        if content is ABSENT:
            continue
        file = storage.where(join(path, name))
        findings = [*flaws, *findings]
        if content is BROKEN:
            return Node(path, "broken", 2, file, findings=tuple(findings))
        version = content.get("zarr_format") if isinstance(content, dict) else content
        if version != 2 or isinstance(version, float):
            findings.append(_wrong(2, "zarr_format", "2", version, file))
        if what == "array":
            if attributes not in (ABSENT, BROKEN) and not isinstance(attributes, dict):
                where = storage.where(join(path, ".zattrs"))
                findings.append(_wrong(2, "", "an object", attributes, where))
            return Node(path, "array", 2, file, attributes, content, tuple(findings))
        return _group_v2(storage, path, attributes, findings)
    if attributes is ABSENT or array:
        return Node(path, "nothing", None, storage.where(path))
    missing = Finding(
        "zarr-document",
        "",
        "there is a .zattrs, and neither .zgroup nor .zarray: no reader finds a group here",
        file=storage.where(join(path, ".zattrs")),
        rule=_ZARR_RULES[2].format("a group is a directory with a .zgroup"),
        hint='write a .zgroup that holds {"zarr_format": 2}',
    )
    return _group_v2(storage, path, attributes, [missing, *findings])


def _group_v2(storage: Storage, path: str, attributes: Any, findings: list[Finding]) -> Node:
    file = storage.where(join(path, ".zattrs"))
    if attributes is BROKEN:
        return Node(path, "broken", 2, file, findings=tuple(findings))
    return Node(path, "group", 2, file, {} if attributes is ABSENT else attributes, None, tuple(findings))


def _wrong(zarr_format: int, location: str, expected: str, found: Any, file: str) -> Finding:
    rule = _ZARR_RULES[zarr_format].format(f"'{location}' is {expected}" if location else f"it is {expected}")
    message = f"is {shown(found)}, not {expected}"
    return Finding("zarr-document", location, message, "error", file, expected, shown(found), rule)


def _says_what(content: Any) -> bool:
    """Whether a ``zarr.json`` says that its group is something of OME-NGFF."""
    attributes = content.get("attributes") if isinstance(content, dict) else None
    return isinstance(attributes, dict) and kind_of(attributes, 3) != "unknown"


def _exists(storage: Storage, key: str) -> bool:
    try:
        return storage.exists(key)
    except (OSError, ValueError, PlatestoreError):
        return False
