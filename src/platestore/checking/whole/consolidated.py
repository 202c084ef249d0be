"""Consolidated metadata that says something else than the documents it is a copy of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from platestore.checking.whole.disk import Disk, DiskDirectory
from platestore.checking.whole.facts import is_inside
from platestore.checking.whole.problems import Fix, Problem, Step
from platestore.errors import PlatestoreError
from platestore.spec.findings import Finding
from platestore.spec.values import Json
from platestore.storage.base import DOCUMENTS, join
from platestore.storage.documents import parse

_HINT = "nothing of this library reads it, other programs do"


def stale_consolidated(disk: Disk, paths: Iterable[str]) -> Iterator[Problem]:
    """Groups whose consolidated metadata is stale.

    Parameters
    ----------
    disk : Disk
        The store.
    paths : iterable of str
        The groups that are looked at.
    """
    for path in sorted(paths):
        here = disk[path]
        where = disk.storage.where(path)
        if ".zmetadata" in here.files:
            differing = _differing(disk, path, _of_v2(disk, path))
        else:
            differing = _differing(disk, path, _of_v3(disk, here))
        if differing is not None:
            text = f"the consolidated metadata is stale: it differs for {differing!r}"
            finding = Finding("consolidated-stale", "", text, "warning", file=where, hint=_HINT)
            yield Problem(finding, Fix(Step.CONSOLIDATED, path, f"drop the consolidated metadata of {where}"))


def _of_v2(disk: Disk, path: str) -> Json:
    try:
        data = disk.storage.read(join(path, ".zmetadata"))
        found = parse(data or b"", where=path).get("metadata")
    except (OSError, PlatestoreError):
        return {".zmetadata": None}
    return found if isinstance(found, dict) else {".zmetadata": None}


def _of_v3(disk: Disk, here: DiskDirectory) -> Json:
    """What a group of zarr v3 has of others, as keys and contents."""
    if here.state != "group" or here.zarr_format != 3 or "zarr.json" not in here.files:
        return {}
    data = disk.storage.read(join(here.path, "zarr.json")) or b"{}"
    if b'"consolidated_metadata"' not in data:
        return {}
    found = parse(data, where=here.path).get("consolidated_metadata")
    entries = found.get("metadata") if isinstance(found, dict) else None
    if not isinstance(entries, dict):
        return {}
    return {join(path, "zarr.json"): content for path, content in entries.items()}


def _differing(disk: Disk, path: str, copies: Json) -> str | None:
    """The first document that is not as the copy has it; None if all are."""
    for key, content in copies.items():
        group, _, name = key.rpartition("/")
        if not isinstance(content, dict) or name not in DOCUMENTS or (group and not is_inside(group)):
            return key  # nothing is read that is no document of this store
        try:
            data = disk.storage.read(join(path, key))
            found = {} if data is None else parse(data, where=key)
        except (OSError, PlatestoreError):
            return key
        if _plain(found) != _plain(content):
            return key
    return None


def _plain(content: Any) -> Any:
    """A document without what may differ between a copy and its original."""
    if not isinstance(content, dict):
        return content
    left = {k: v for k, v in content.items() if k not in ("consolidated_metadata", "must_understand")}
    return {k: v for k, v in left.items() if v not in (None, {}, [])}
