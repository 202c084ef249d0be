"""What every directory of a store is looked at for, and how what is wrong is noted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from platestore.checking.whole import leftovers
from platestore.checking.whole.disk import SPECIAL, Disk, DiskDirectory
from platestore.checking.whole.facts import (
    damaged_own_keys,
    is_beside_levels,
    is_damaged,
    is_inside,
    is_ours,
    paths_in,
)
from platestore.checking.whole.pixel_problems import PixelAudit
from platestore.checking.whole.problems import Fix, Problem, Step
from platestore.errors import PlatestoreError
from platestore.spec import versions
from platestore.spec.findings import Finding, Level
from platestore.spec.names import natural_key
from platestore.storage.base import DOCUMENTS, Storage, is_chunk_name, join
from platestore.storage.hierarchy import misplaced_metadata

_STEPS = {"plate": Step.PLATE, "well": Step.WELL, "image": Step.IMAGE, "labels": Step.LABELS}
# What an interrupted creation leaves of documents that no list has yet.
_OF_DOCUMENTS = frozenset({"document-lost", "array-document-lost", "member-missing"})
_MEMBERS = {"plate": "well", "well": "field", "image": "array", "labels": "label image"}


class Notes:
    """What was found in a store so far, and what every directory is looked at for.

    Parameters
    ----------
    storage : Storage
        The store.
    pixels : PixelAudit
        Looks at the chunks of arrays.
    """

    def __init__(self, storage: Storage, pixels: PixelAudit) -> None:
        self.storage = storage
        self.disk = Disk(storage)
        self.pixels = pixels
        self.problems: list[Problem] = []
        self._recorded: set[str] = set()
        self._seen: set[str] = set()

    # --- notes ------------------------------------------------------------------------------------

    def _note(
        self,
        code: str,
        key: str,
        message: str,
        *,
        level: Level = "error",
        location: str = "",
        fix: Fix | None = None,
        hint: str | None = None,
    ) -> None:
        file = self.storage.where(key)
        self.problems.append(Problem(Finding(code, location, message, level, file=file, hint=hint), fix))

    def _unreadable(self, here: DiskDirectory) -> None:
        if here.state == "unreadable":
            self._note(
                "unreadable", here.path, here.problem, hint="check the rights, the disk, and what is in it"
            )
            return
        for child in self.disk.children(here.path):
            if self.disk.role(child.path) == "unreadable":
                self._unreadable(child)

    def _begin(self, here: DiskDirectory) -> None:
        """What every directory is looked at for: leftovers, unfinished changes, files of others."""
        self._seen.add(here.path)
        sound = [intent for intent in here.intents if not is_damaged(intent)]
        if len(sound) < len(here.intents):
            fix = Fix(Step.DROP, here.path, f"drop the damaged record from {self.storage.where(here.path)}")
            self._note("record-damaged", here.path, "the record of an unfinished change is damaged", fix=fix)
        if sound:
            self._recorded |= {join(here.path, p) for p in paths_in(sound)}
            words = ", ".join(sorted({str(i.get("operation")) for i in sound}))
            fix = Fix(Step.FINISH, here.path, f"complete the recorded change ({words})")
            self._note(
                "change-unfinished",
                here.path,
                f"a change ({words}) stopped half-way",
                level="warning",
                fix=fix,
            )
        self._stray(here)
        self._own(here)
        self.problems += leftovers.in_directory(self.storage, here, self._recorded)
        for name in here.files:
            key = join(here.path, name)
            known = name in DOCUMENTS or leftovers.of_name(name, None, "", key) is not None
            if not known and not (here.state == "bare" and is_chunk_name(name)):
                self._note("foreign-file", key, "is no part of the store", level="advice")

    def _stray(self, here: DiskDirectory) -> None:
        """A torn document of the other version of zarr."""
        if here.stray:
            fix = Fix(Step.SET_ASIDE, here.stray, f"move {self.storage.where(here.stray)} into quarantine")
            self._note("document-stray", here.stray, "a torn document of zarr v3 beside those of v2", fix=fix)
        if here.strange:
            text, hint = f"{here.strange}, which is no number of JSON", "write null, or leave the key out"
            self._note("json-constant", here.document or here.path, text, level="warning", hint=hint)

    def _own(self, here: DiskDirectory) -> None:
        """What this library keeps in attributes, where that cannot be read: nothing opens then."""
        wrong = damaged_own_keys(here.own)
        if wrong:
            fix = Fix(Step.DROP, here.path, f"drop what cannot be read from {self.storage.where(here.path)}")
            text = f"platestore's own attributes cannot be read: {', '.join(wrong)}"
            self._note("record-damaged", here.path, text, location="platestore", fix=fix)

    def _document(self, here: DiskDirectory, kind: Any, key: str, *, holds: bool) -> Any:
        """The part of a document that lists members; what is lost is noted."""
        found = here.part(kind, key)
        usable = list if kind in ("image", "labels", "label") else dict
        if isinstance(found, usable):
            self._group_document(here)
            return found
        if here.state == "unreadable":
            self._unreadable(here)
        elif holds or here.state != "group":
            words = {"broken": here.problem, "bare": "the group has no document"}
            lacks = self._misplaced(here) or f"there is no {key!r} in its attributes"
            text = words.get(here.state, lacks)
            step = _STEPS["image" if kind == "label" else kind]
            fix = Fix(
                step, here.path, f"write the document of {self.storage.where(here.path)} from what is there"
            )
            self._note("document-lost", here.document or here.path, text, fix=fix)
        return None

    def _is_supported(self, here: DiskDirectory) -> bool:
        """Whether a group is of a version that is known; of others nothing is judged, nor changed."""
        if here.zarr_format is None or here.state != "group":
            return True
        try:
            versions.detect_version(here.attributes, here.zarr_format, path="")
        except PlatestoreError as error:
            stated = versions.of(here.attributes, here.zarr_format).stated(here.attributes)
            known = versions.standing(stated) if isinstance(stated, str) else "unknown"
            code = {"old": "version-too-old", "coming": "version-not-yet"}.get(known, "version-unsupported")
            self._note(code, here.path, error.message, hint=error.hint)
            return False
        return True

    def _group_document(self, here: DiskDirectory) -> None:
        """What makes a directory a group, where only the attributes are there (zarr v2)."""
        if here.state in ("bare", "broken"):
            fix = Fix(Step.GROUP, here.path, f"write what makes {self.storage.where(here.path)} a group")
            text = here.problem or "there are attributes, and nothing that makes it a group"
            self._note("document-lost", here.document or here.path, text, fix=fix)

    def _compare(
        self, kind: str, here: DiskDirectory, listed: Iterable[str], present: Iterable[str], where: str
    ) -> None:
        """Note what is listed and not there, and the reverse."""
        there, names = set(present), list(dict.fromkeys(listed))
        fix = Fix(
            _STEPS[kind],
            here.path,
            f"make the document of {self.storage.where(here.path)} list what is there",
        )
        member = _MEMBERS[kind]
        for i, name in enumerate(names):
            place = join(here.path, name)
            if is_inside(name) and self.disk.role(place) == "unreadable":
                if kind == "image":
                    self._unreadable(self.disk[place])
                continue  # it stays on the list
            if name not in there and not self._is_recorded(place):
                text = f"the {member} {name!r} is listed, but is not there"
                self._note("member-missing", here.path, text, location=f"{where}[{i}]", fix=fix)
        for name in sorted(there - set(names), key=natural_key):
            if not self._is_recorded(join(here.path, name)):
                text = f"the {member} {name!r} is there, but is not listed"
                self._note("member-unlisted", join(here.path, name), text, level="warning", fix=fix)

    def _is_recorded(self, path: str) -> bool:
        return any(path == p or path.startswith(f"{p}/") for p in self._recorded)

    def _others(self, here: DiskDirectory, known: set[str]) -> None:
        """Directories that are nothing to the document's kind: empty ones, and those of others."""
        for child in self.disk.children(here.path):
            name = child.path.rpartition("/")[2]
            if name in known or name in SPECIAL or self._is_recorded(child.path) or is_beside_levels(child):
                continue
            if (
                any(k.startswith(f"{name}/") for k in known)
                or leftovers.of_name(name, None, "", "") is not None
            ):
                continue
            if self.disk.role(child.path) == "unreadable":
                self._unreadable(child)
            elif self.disk.role(child.path) == "empty" and is_ours(child):
                self._empty(child)
            elif self.storage.local_path(child.path) is not None and leftovers.is_work(name):
                continue
            else:
                self._note(
                    "foreign-group", child.path, "is not listed, and nothing of OME-NGFF", level="advice"
                )

    def _empty(self, here: DiskDirectory) -> None:
        """A group that nothing lists, and that holds nothing but, maybe, what was left behind."""
        known = len(self.problems)
        waiting = [here]
        while waiting:
            current = waiting.pop()
            self._begin(current)
            waiting += self.disk.children(current.path)
        if len(self.problems) == known:
            fix = Fix(Step.REMOVE, here.path, f"remove {self.storage.where(here.path)}, which holds nothing")
            text = "a group that nothing lists, and that holds nothing"
            self._note("group-empty", here.path, text, level="warning", fix=fix)

    @contextlib.contextmanager
    def _milder(self, unlisted: bool) -> Iterator[None]:
        """Take what is wrong with documents of an unlisted member for a warning: nobody relies on them."""
        known = len(self.problems)
        yield
        if unlisted:
            self.problems[known:] = [
                replace(p, finding=replace(p.finding, level="warning"))
                if p.finding.level == "error" and p.finding.code in _OF_DOCUMENTS
                else p
                for p in self.problems[known:]
            ]

    def _misplaced(self, here: DiskDirectory) -> str | None:
        """Where else the metadata of a group lie."""
        if here.state != "group" or here.zarr_format is None:
            return None
        content = here.content if here.zarr_format == 3 else here.attributes
        try:
            return misplaced_metadata(self.storage, here.path, content, here.zarr_format)
        except (OSError, PlatestoreError):
            return None
