"""What the audit of chunks finds, and what a repair would do about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from platestore.checking.pixels.audits import ArrayAudit, ImageAudit
from platestore.checking.whole import leftovers
from platestore.checking.whole.disk import Disk, DiskDirectory
from platestore.checking.whole.problems import Fix, Problem, Step
from platestore.errors import PlatestoreError, UnsupportedError
from platestore.spec.findings import Finding
from platestore.spec.multiscales import MultiScaleMeta
from platestore.storage.base import DOCUMENTS, Storage, join

# A file whose chunks may be read in part is written anew; one of which nothing can be read is set aside.
_SET_ASIDE = frozenset({"chunk-empty", "chunk-truncated", "chunk-outside", "chunk-damaged"})
_SALVAGED = frozenset({"shard-index", "shard-truncated", "chunk-damaged"})
# What documents with impossible values lead to, in libraries that decode chunks.
_UNFORESEEN = (PlatestoreError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError)
_MADE_ANEW = frozenset({"level-stale"})
# What levels would be made anew for: then all is decoded first, to see whether they hold what level 0 lost.
_LEADS_TO_LEVELS = (_SET_ASIDE | _SALVAGED | _MADE_ANEW) - {"chunk-outside"}
_LOST = "chunk-missing"


@dataclass(slots=True)
class PixelAudit:
    """Looks at the chunks of images and arrays, and adds up what it saw.

    Attributes
    ----------
    deep : bool
        Whether every chunk is decoded and pyramids are compared.
    workers : int
        Number of threads.
    tell : callable
        Told the number of decoded bytes of each image.
    arrays, files, nbytes_stored, nbytes_decoded, missing : int
        What was looked at: arrays, files of chunks, their bytes, bytes of decoded chunks, and chunks that
        are not there.
    """

    deep: bool
    workers: int
    tell: Callable[[int], None] = field(default=lambda nbytes: None)
    arrays: int = 0
    files: int = 0
    nbytes_stored: int = 0
    nbytes_decoded: int = 0
    missing: int = 0

    def image(
        self, disk: Disk, here: DiskDirectory, image: MultiScaleMeta, paths: Sequence[str], *, first: bool
    ) -> list[Problem]:
        """Look at the levels of an image.

        Parameters
        ----------
        disk : Disk
            The store.
        here : DiskDirectory
            The image.
        image : MultiScaleMeta
            Its levels; those that are not among ``paths`` are left out.
        paths : sequence of str
            The levels that are there.
        first : bool
            Whether it is the image whose levels :meth:`Position.compute_pyramid` makes.

        Returns
        -------
        list of Problem
        """
        from platestore.checking.pixels.image import audit_image

        document = image.to_json()
        document["datasets"] = [d for d in document["datasets"] if d["path"] in paths]
        storage, zarr_format = disk.storage, here.zarr_format or 3

        def look(deep: bool) -> ImageAudit:
            return audit_image(storage, here.path, document, zarr_format, deep=deep, workers=self.workers)

        try:
            audit = look(self.deep)
            findings = _seen_twice(audit.findings, lambda: look(self.deep).findings)
            codes = {f.code for f in findings}
            if not self.deep and first and codes & _LEADS_TO_LEVELS and _LOST not in codes:
                findings += [f for f in look(True).findings if f.code == _LOST]
        except _UNFORESEEN as error:
            return [_unforeseen(storage, here, error)]
        self._count(len(paths), audit, sum(audit.missing.values()))
        sharded = [a for a in (join(here.path, p) for p in paths) if has_shards(disk[a])]
        # What level 0 lost, its levels still hold: they are not made anew from what is left of it.
        lost = any(finding.code == _LOST for finding in findings)
        base = join(here.path, paths[0]) if first and len(paths) > 1 and not lost else None
        mending = _Mending(storage, here.path, sharded, base)
        out = [mending.of(finding) for finding in findings]
        for path in paths:
            out = _suspected(storage, join(here.path, path), out)
        return out + _left(storage, audit.leftovers)

    def array(self, storage: Storage, here: DiskDirectory) -> list[Problem]:
        """Look at an array that is no level."""
        from platestore.checking.pixels.image import audit_array

        zarr_format = here.zarr_format or 3

        def look() -> ArrayAudit:
            return audit_array(storage, here.path, zarr_format, deep=self.deep, workers=self.workers)

        try:
            audit = look()
        except _UNFORESEEN as error:
            return [_unforeseen(storage, here, error)]
        findings = _seen_twice(audit.findings, lambda: look().findings)
        self._count(1, audit, audit.missing)
        mending = _Mending(storage, here.path, [here.path] if has_shards(here) else [], None)
        out = _suspected(storage, here.path, [mending.of(finding) for finding in findings])
        return out + _left(storage, audit.leftovers)

    def _count(self, arrays: int, audit: ImageAudit | ArrayAudit, missing: int) -> None:
        self.arrays += arrays
        self.files += audit.files
        self.nbytes_stored += audit.nbytes_stored
        self.nbytes_decoded += audit.nbytes_decoded
        self.missing += missing
        self.tell(audit.nbytes_decoded)


@dataclass(frozen=True, slots=True)
class _Mending:
    """What a repair would do about the chunks of one image or array.

    Attributes
    ----------
    storage : Storage
        The store.
    path : str
        The image, or the array.
    sharded : sequence of str
        Its arrays with shards.
    base : str or None
        Its level 0, if there are others, and they can be made anew.
    """

    storage: Storage
    path: str
    sharded: Sequence[str]
    base: str | None

    def of(self, finding: Finding) -> Problem:
        """A finding, with its repair."""
        key, where = finding.file, self.storage.where(finding.file)
        told = replace(finding, file=where)
        again = None
        if self.base is not None and finding.code != "chunk-outside":
            image = self.storage.where(self.path)
            text = f"compute the levels of {image} anew; the former ones are kept in quarantine"
            again = Fix(Step.PYRAMID, self.path, text)
        is_damage = finding.code in _SET_ASIDE | _SALVAGED
        if again is not None and is_damage and not key.startswith(f"{self.base}/"):
            return Problem(told, again)  # in one step: nothing is missing in between
        if finding.code in _SALVAGED and any(key.startswith(f"{array}/") for array in self.sharded):
            text = f"write anew what can be read of {where}, and move the damaged file into quarantine"
            return Problem(told, Fix(Step.SALVAGE, key, text), again)
        if finding.code in _SET_ASIDE:
            return Problem(told, Fix(Step.SET_ASIDE, key, f"move {where} into quarantine"), again)
        return Problem(told, again if finding.code in _MADE_ANEW else None)


def _suspected(storage: Storage, array: str, problems: list[Problem]) -> list[Problem]:
    """The problems of chunks, without repairs where most files of an array are flawed.

    One wrong word in its document makes all of them so, and they would be taken out for nothing.
    """
    prefix = f"{storage.where(array)}/"
    flawed = [
        p for p in problems if p.finding.code in _SET_ASIDE | _SALVAGED and p.finding.file.startswith(prefix)
    ]
    flawed = [p for p in flawed if p.finding.code != "chunk-outside"]  # as shrinking leaves them
    empty = sum(p.finding.code == "chunk-empty" for p in flawed)
    if len(flawed) - empty < 2:
        return problems
    try:
        files = sum(key.rpartition("/")[2] not in DOCUMENTS for key in storage.keys(array))
    except UnsupportedError:
        return problems  # where nothing can be listed, nothing is repaired either
    if 2 * (len(flawed) - empty) <= files:
        return problems
    text = f"{len(flawed)} of {files} files do not fit the document of the array: it may be wrong itself"
    hint = "compare it with that of another field or level; restore it, or the chunks"
    told = Finding("array-document-suspect", "", text, file=storage.where(array), hint=hint)
    return [Problem(told), *(Problem(p.finding) if p in flawed else p for p in problems)]


def has_shards(array: DiskDirectory) -> bool:
    """Whether the files of an array hold several chunks."""
    codecs = array.content.get("codecs")
    return isinstance(codecs, list) and any(
        isinstance(c, dict) and c.get("name") == "sharding_indexed" for c in codecs
    )


def _unforeseen(storage: Storage, here: DiskDirectory, error: Exception) -> Problem:
    """One odd array must not take the report of all others."""
    text = f"the chunks cannot be looked at: {type(error).__name__}: {error}"
    return Problem(Finding("codec-unknown", "", text, "warning", file=storage.where(here.path)))


def _seen_twice(findings: list[Finding], again: Callable[[], list[Finding]]) -> list[Finding]:
    """The findings that a second look confirms: a file that was replaced meanwhile is not damaged."""
    if all(f.level == "advice" for f in findings):
        return findings
    confirmed = {(f.code, f.file, f.location) for f in again()}
    return [f for f in findings if (f.code, f.file, f.location) in confirmed]


def _left(storage: Storage, keys: Sequence[str]) -> list[Problem]:
    out = []
    for key in keys:
        name = key.rpartition("/")[2]
        found = leftovers.of_name(name, storage.local_path(key), storage.where(key), key)
        if found is not None:
            out.append(found)
    return out
