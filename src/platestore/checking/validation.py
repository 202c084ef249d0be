"""Is it OME-NGFF? ``platestore.validate``."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from typing import Any

from platestore.checking.hierarchy.archives import archive_findings
from platestore.checking.hierarchy.arrays import array_facts
from platestore.checking.hierarchy.documents import (
    BROKEN,
    Node,
    node_of,
    parse_document,
    refused_file,
    unreadable,
)
from platestore.checking.hierarchy.members import inside, judge_group
from platestore.checking.hierarchy.walk import walk_findings
from platestore.checking.place import FoundPlace, find_place
from platestore.checking.report import ValidationReport, counted, promoted
from platestore.errors import ArgumentError, NodeNotFoundError, PlatestoreError, StoreWarning
from platestore.spec.findings import Finding
from platestore.storage.base import StorageOptions
from platestore.storage.ozx import is_zip
from platestore.tree.holder import editor_of

_SHOWN = 200


def validate(*paths: Any, strict: bool = False, pedantic: bool = False) -> ValidationReport:
    """Say whether stores, or nodes in them, are OME-NGFF 0.4 or 0.5, and whether they fit their metadata.

    The documents of a node and of all that lies below it are read, each once, and no pixels.
    :func:`platestore.check` looks at those.

    Parameters
    ----------
    *paths : str, Path, zarr Store, or node
        A store, a node in one (``plate.zarr/A/1/0``), an ``.ozx`` archive, or a JSON file with the attributes
        of a group: these alone, a ``zarr.json`` or a ``.zattrs``.
    strict : bool
        Whether what the strict schemas ask for (names, types and metadata of images, colors of labels) is
        required.
    pedantic : bool
        Whether warnings make a store invalid.

    Returns
    -------
    ValidationReport
        True if there is no error. What is missing, damaged or cannot be read is a finding.

    Raises
    ------
    ArgumentError
        If nothing is named, or something that is no path, store or node.

    Examples
    --------
    >>> report = ps.validate("plate.zarr")
    >>> report.valid, report.message
    (True, 'valid: nothing found')
    >>> open("plate.zarr/B/2/zarr.json", "w").close()  # the document of a well is lost
    >>> report = ps.validate("plate.zarr")
    >>> report.valid, [finding.code for finding in report.findings]
    (False, ['json-malformed'])
    """
    if not paths:
        raise ArgumentError("nothing to validate", hint="name a store, a node in one, or a JSON file")
    findings: list[Finding] = []
    for path in paths:
        findings += promoted(_findings(path, strict=strict), pedantic=pedantic)
    errors = [finding for finding in findings if finding.level == "error"]
    message = f"{'not valid' if errors else 'valid'}: {counted(findings)}"
    if errors:
        message += f"; first: {str(errors[0])[:_SHOWN]}"
    return ValidationReport(not errors, message, tuple(findings), tuple(_named(path) for path in paths))


def _named(target: Any) -> str:
    if isinstance(target, (str, os.PathLike)):
        return str(os.fspath(target))
    editor = editor_of(target)
    return str(target) if editor is None else editor.location.where


def _findings(target: Any, *, strict: bool) -> Iterator[Finding]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", StoreWarning)  # of archives: they are findings here
            place = find_place(target, StorageOptions())
    except (OSError, ValueError, PlatestoreError) as error:
        if not isinstance(target, (str, os.PathLike)):
            raise
        yield _unusable(error, _named(target))
        return
    yield from (
        _file_findings(place.path, strict=strict)
        if place.storage is None
        else _store_findings(place, strict=strict)
    )


def _unusable(error: Exception, path: str) -> Finding:
    if isinstance(error, NodeNotFoundError):
        hint = "pass a zarr Store for what is not on this machine" if "://" in path else error.hint
        return Finding("not-found", "", error.message, file=path, hint=hint)
    if isinstance(error, PlatestoreError) and (path.lower().endswith(".ozx") or is_zip(path)):
        return Finding("archive", "", error.message, file=path, hint=error.hint)
    return unreadable(error, path)


def _store_findings(place: FoundPlace, *, strict: bool) -> Iterator[Finding]:
    storage = place.storage
    if storage is None:
        return
    index = storage.archive_index()
    if index is not None:
        yield from archive_findings(storage, index)
    yield from walk_findings(storage, place.path, strict=strict)


# --- files ----------------------------------------------------------------------------------------


def _file_findings(path: str, *, strict: bool) -> Iterator[Finding]:
    """A JSON file that holds the attributes of a group, or the document with them."""
    try:
        refused = refused_file(path, path)
        if refused:
            yield from refused
            return
        with open(path, "rb") as file:
            value, findings = parse_document(file.read(), path)
    except (OSError, ValueError) as error:
        yield unreadable(error, path)
        return
    name = os.path.basename(path)
    if value is BROKEN:
        yield from findings
        return
    if name == "zarr.json" or (isinstance(value, dict) and {"zarr_format", "node_type"} <= value.keys()):
        node = node_of("", value, path, findings)
    else:
        node = Node("", "group", 2 if name == ".zattrs" else None, path, value, None, tuple(findings))
    yield from node.findings
    if node.what == "array":
        yield from array_facts(node)[1]
        yield Finding("not-a-group", "", "describes an array; OME-NGFF is about groups", file=path)
    elif node.what == "group":
        group = yield from judge_group(node, None, strict=strict)
        for location, member in () if group is None else group.members():
            yield from inside(location, member, path)
