"""Whether an ``.ozx`` archive is as RFC-9 wants it."""

from __future__ import annotations

from collections.abc import Iterator

from platestore.checking.hierarchy.documents import read_json, shown
from platestore.spec.findings import Finding
from platestore.spec.versions import sharding
from platestore.storage.base import Storage
from platestore.storage.ozx_file import ArchiveIndex
from platestore.storage.zip_records import STORED

_RULE = "RFC-9, zipped OME-Zarr: "
_REPACK = "pack it again: `platestore copy old.ozx new.ozx`"
_DOCUMENT = "zarr.json"


def archive_findings(storage: Storage, index: ArchiveIndex) -> Iterator[Finding]:
    """Findings of the archive itself: its entries, their order, and its comment.

    Parameters
    ----------
    storage : Storage
        The archive.
    index : ArchiveIndex
        What its central directory says.
    """
    file = storage.url
    for problem in index.flaws + index.conflicts:
        case = problem.endswith("differ in case only")
        yield Finding(
            "archive-entry",
            "",
            problem,
            "warning" if case else "error",
            file,
            rule=_RULE + "an archive holds one hierarchy, and each of its files once",
            hint=_REPACK,
        )
    yield from _order_findings(storage.url, index)
    deflated = sum(entry.method != STORED for entry in index.entries.values())
    if deflated:
        yield Finding(
            "archive-compressed",
            "",
            f"{deflated} entries are compressed a second time",
            "advice",
            file,
            rule=_RULE + "entries are stored as they are (SHOULD)",
            hint=_REPACK,
        )
    yield from _version_findings(storage, index)


def _order_findings(file: str, index: ArchiveIndex) -> Iterator[Finding]:
    names = list(index.entries)
    documents = [name.rpartition("/")[2] == _DOCUMENT for name in names]
    last = len(documents) - 1 - documents[::-1].index(True) if any(documents) else -1
    if index.json_first and not all(documents[: last + 1]):
        late = names[last]
        yield Finding(
            "archive-order",
            "",
            f"the comment says that all documents come first, and {shown(late)} comes later: readers that "
            "trust it do not find that node",
            file=file,
            rule=_RULE + "jsonFirst means that no zarr.json follows another entry (MUST)",
            hint=_REPACK,
        )
    elif names and names[0] != _DOCUMENT:
        yield Finding(
            "archive-order",
            "",
            f"the first entry is {shown(names[0])}, not the root's zarr.json",
            "advice",
            file,
            rule=_RULE + "the root's zarr.json is the first entry (SHOULD)",
            hint=_REPACK,
        )


def _version_findings(storage: Storage, index: ArchiveIndex) -> Iterator[Finding]:
    content, _ = read_json(storage, _DOCUMENT)
    for key in ("attributes", "ome", "version"):
        content = content.get(key) if isinstance(content, dict) else None
    told = index.version
    if told is None:
        yield Finding(
            "archive-comment",
            "",
            "the comment of the archive does not tell the version",
            "advice",
            storage.url,
            f'{{"ome": {{"version": "{sharding().name}"}}}}',
            rule=_RULE + "the comment is JSON that tells the version (SHOULD)",
            hint=_REPACK,
        )
    elif isinstance(content, str) and content != told:
        yield Finding(
            "archive-comment",
            "",
            f"the comment of the archive says {shown(told)}, and its root {shown(content)}",
            "warning",
            storage.url,
            shown(content),
            shown(told),
            _RULE + "the comment tells the version of the hierarchy",
            _REPACK,
        )
