"""Reading what a group lists: where it is listed, whether it may be followed, and what is there."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from platestore.checking.hierarchy.documents import Node, read_node, shown
from platestore.checking.hierarchy.plates import entries
from platestore.checking.rules.judge import judge
from platestore.errors import InvalidMetadataError
from platestore.spec.findings import Finding
from platestore.spec.names import split_path
from platestore.spec.values import Json
from platestore.spec.versions import Adapter, misplaced
from platestore.storage.base import Storage, join
from platestore.storage.hierarchy import MIXED

#: Findings, one after the other.
Found: TypeAlias = Generator[Finding, None, None]
# No file system takes more, and thousands of segments would take their time.
_LONGEST = 4096
_ENDS = frozenset({"version-not-yet", "version-too-old", "still-empty"})


@dataclass(frozen=True, slots=True)
class JudgedGroup:
    """A group whose attributes were judged.

    Attributes
    ----------
    path : str
        Path in the store.
    file : str
        The document with its attributes.
    zarr_format : int
        Version of zarr.
    ngff : Adapter
        The version that its metadata are laid out as.
    parts : dict
        The mapping that holds the OME keys.
    """

    path: str
    file: str
    zarr_format: int
    ngff: Adapter
    parts: Json = field(repr=False)

    @property
    def version(self) -> str:
        """OME-NGFF version."""
        return self.ngff.name

    def where(self, location: str) -> str:
        """A place in the OME keys, as users see it in the document."""
        return f"{self.ngff.prefix}{location}"

    def members(self) -> Iterator[tuple[str, Any]]:
        """Where members are listed, and the paths as they are written."""
        parts = self.parts
        for key, items in (("plate", "wells"), ("well", "images")):
            value = parts.get(key)
            for i, item in entries(value.get(items) if isinstance(value, dict) else None):
                yield self.where(f"{key}.{items}[{i}].path"), item.get("path")
        for m, image in entries(parts.get("multiscales")):
            for i, item in entries(image.get("datasets")):
                yield self.where(f"multiscales[{m}].datasets[{i}].path"), item.get("path")
        for key in ("labels", "series"):
            value = parts.get(key)
            for i, item in enumerate(value if isinstance(value, list) else ()):
                yield self.where(f"{key}[{i}]"), item


def judge_group(
    node: Node, kind: str | None, *, strict: bool, parent: JudgedGroup | None = None
) -> Generator[Finding, None, JudgedGroup | None]:
    """Judge a group's attributes, and hold its version against that of its parent.

    Returns
    -------
    JudgedGroup or None
        None if nothing below it can be told from them.
    """
    judgement = judge(node.attributes, zarr_format=node.zarr_format, strict=strict, kind=kind)
    for finding in judgement.findings:
        yield _placed(finding, node)
    if any(finding.code in _ENDS for finding in judgement.findings) or not judgement.parts:
        return None
    group = JudgedGroup(node.path, node.file, node.zarr_format or 3, judgement.ngff, judgement.parts)
    stated = judgement.version
    if parent is not None and stated is not None and stated != parent.version:
        yield Finding(
            "versions-mixed",
            group.where("version") if group.ngff.place else "",
            f"is OME-NGFF {shown(stated)} in a hierarchy of {parent.version}",
            file=node.file,
            expected=parent.version,
            found=shown(stated),
            rule="OME-NGFF 0.5, storage: the version is the same throughout a hierarchy (MUST)",
            hint="convert one of them: `platestore copy --version`",
        )
    return group


def _placed(finding: Finding, node: Node) -> Finding:
    """A finding with its document; of metadata that is not there, where else in the document it is."""
    if finding.code in ("no-metadata", "key-missing") and isinstance(node.content, dict):
        elsewhere = misplaced(node.content, 3)
        if elsewhere is not None:
            hint = "move it there"
            return Finding("metadata-misplaced", finding.location, elsewhere, file=node.file, hint=hint)
    return replace(finding, file=node.file)


def inside(location: str, path: Any, file: str) -> Generator[Finding, None, str | None]:
    """The path of a member, without empty segments; None, with a finding, if it leads elsewhere."""
    if not isinstance(path, str):
        return None  # its type was judged with the document
    try:
        if len(path) <= _LONGEST:
            return split_path(path, location=location, document=file)
    except InvalidMetadataError:
        pass
    yield Finding(
        "path-outside",
        location,
        f"{shown(path)} is no path of a member, and was not followed",
        file=file,
        expected="a path below this group",
        found=shown(path),
        hint="the document was damaged, or made to reach other files",
    )
    return None


def not_a_group(location: str, path: str, file: str) -> Finding:
    """An array where the specification has a group."""
    text = f"there is an array at {shown(path)}, not a group"
    return Finding("member-type", location, text, file=file, expected="group", found="array")


class MemberFinder:
    """What the groups of a store list.

    Parameters
    ----------
    storage : Storage
        The store.
    strict : bool
        Whether what the strict schemas ask for is required.
    """

    def __init__(self, storage: Storage, *, strict: bool) -> None:
        self.storage = storage
        self.strict = strict
        self._links: set[str] = {""}

    def member(
        self, group: JudgedGroup, location: str, path: str, *, array: bool = False
    ) -> Generator[Finding, None, Node | None]:
        """Read a member that a group lists."""
        full = join(group.path, path)
        yield from self.link_findings(full)
        node = read_node(self.storage, full, array=array)
        yield from node.findings
        wanted = "array" if array else "group"
        if node.what == "nothing":
            yield Finding(
                "member-missing",
                location,
                f"there is no {wanted} at {shown(path)}",
                file=group.file,
                expected="an array" if array else "a group",
                rule=f"OME-NGFF {group.version}: what is listed is there (MUST)",
                hint="`platestore check` tells what is on disk, and repairs the list",
            )
        elif node.what not in (wanted, "broken"):
            text = f"there is {'a' if array else 'an'} {node.what} at {shown(path)}, not {wanted}"
            yield Finding("member-type", location, text, file=group.file, expected=wanted, found=node.what)
        elif node.what == wanted and node.zarr_format != group.zarr_format:
            text = MIXED.format(node.zarr_format, group.zarr_format)
            rule = f"OME-NGFF {group.version}, storage: a hierarchy is of one version of zarr (MUST)"
            versions = (f"zarr v{group.zarr_format}", f"zarr v{node.zarr_format}")
            yield Finding("formats-mixed", "", text, "error", node.file, *versions, rule)
        return node if node.what == wanted else None

    def paths(self, group: JudgedGroup, part: str) -> Generator[Finding, None, list[tuple[str, str]]]:
        """Where the members of a part are listed, and their paths, each once."""
        found: dict[str, str] = {}
        folded: dict[str, str] = {}
        for location, path in group.members():
            if part not in location:
                continue
            clean = yield from inside(location, path, group.file)
            if clean is None or clean in found:
                continue
            other = folded.setdefault(clean.casefold(), clean)
            if other != clean:
                yield Finding(
                    "member-case",
                    location,
                    f"{shown(clean)} and {shown(other)} differ in case only",
                    "warning",
                    group.file,
                    rule=f"OME-NGFF {group.version}: names do not differ in case only (SHOULD)",
                    hint="on Windows and macOS they are the same directory",
                )
            found[clean] = location
        return [(location, path) for path, location in found.items()]

    def group_at(
        self, group: JudgedGroup, location: str, path: str, kind: str
    ) -> Generator[Finding, None, JudgedGroup | None]:
        """Read a group that is listed, and judge its attributes."""
        node = yield from self.member(group, location, path)
        if node is None:
            return None
        return (yield from judge_group(node, kind, strict=self.strict, parent=group))

    def link_findings(self, path: str) -> Found:
        """Links on the way to a path that lead out of the store."""
        segments = path.split("/")
        for depth in range(1, len(segments) + 1):
            current = "/".join(segments[:depth])
            if current in self._links:
                continue
            self._links.add(current)
            target = _outside(self.storage, current)
            if target is not None:
                yield Finding(
                    "link-outside",
                    "",
                    f"is a link out of the store, to {target}",
                    "warning",
                    self.storage.where(current),
                    hint="a copy of the store by other tools may lack it; `platestore copy` takes it along",
                )


def _outside(storage: Storage, path: str) -> str | None:
    """Where a link leads that leads out of the store."""
    full, root = storage.local_path(path), storage.local_path("")
    if full is None or root is None or not os.path.islink(full):
        return None
    target, top = os.path.realpath(full), os.path.realpath(root)
    return None if target == top or target.startswith(top + os.sep) else target


def quietly(found: Generator[Finding, None, Any]) -> Any:
    """What a walk returns, without its findings."""
    while True:
        try:
            next(found)
        except StopIteration as stop:
            return stop.value
