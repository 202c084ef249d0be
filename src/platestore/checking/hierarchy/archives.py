"""Whether an ``.ozx`` archive is as RFC-9 wants it."""

from __future__ import annotations

from collections.abc import Iterator

from platestore.checking.hierarchy.documents import read_json, shown
from platestore.spec.findings import Finding
from platestore.spec.versions import sharding
from platestore.storage.ozx import OzxStorage
from platestore.storage.zip_records import STORED

_RULE = "RFC-9, zipped OME-Zarr: "
_REPACK = "pack it again: `platestore copy old.ozx new.ozx`"
_DOCUMENT = "zarr.json"


def archive_findings(storage: OzxStorage) -> Iterator[Finding]:
    """Findings of the archive itself: its entries, their order, and its comment.

    Parameters
    ----------
    storage : OzxStorage
        The archive.
    """
    file = storage.url
    for problem in storage.problems:
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
    yield from _order_findings(storage)
    deflated = sum(entry.method != STORED for entry in storage.entries.values())
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
    yield from _version_findings(storage)


def _order_findings(storage: OzxStorage) -> Iterator[Finding]:
    names = list(storage.entries)
    documents = [name.rpartition("/")[2] == _DOCUMENT for name in names]
    last = len(documents) - 1 - documents[::-1].index(True) if any(documents) else -1
    if storage.json_first and not all(documents[: last + 1]):
        late = names[last]
        yield Finding(
            "archive-order",
            "",
            f"the comment says that all documents come first, and {shown(late)} comes later: readers that "
            "trust it do not find that node",
            file=storage.url,
            rule=_RULE + "jsonFirst means that no zarr.json follows another entry (MUST)",
            hint=_REPACK,
        )
    elif names and names[0] != _DOCUMENT:
        yield Finding(
            "archive-order",
            "",
            f"the first entry is {shown(names[0])}, not the root's zarr.json",
            "advice",
            storage.url,
            rule=_RULE + "the root's zarr.json is the first entry (SHOULD)",
            hint=_REPACK,
        )


def _version_findings(storage: OzxStorage) -> Iterator[Finding]:
    content, _ = read_json(storage, _DOCUMENT)
    for key in ("attributes", "ome", "version"):
        content = content.get(key) if isinstance(content, dict) else None
    told = storage.version
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
