"""``platestore.check``: is a store whole, and if it is not, making it so."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from platestore.checking.place import find_place
from platestore.checking.report import counted
from platestore.checking.whole.audit import Audit
from platestore.checking.whole.disk import Disk
from platestore.checking.whole.pixel_problems import PixelAudit
from platestore.checking.whole.problems import Fix, Problem, Step
from platestore.errors import ArgumentError, UnsupportedError
from platestore.progress import Progress, shown
from platestore.resources import Resources
from platestore.settings import human_bytes, parse_bytes
from platestore.spec.findings import Finding
from platestore.spec.values import Json
from platestore.storage.base import Storage, StorageOptions
from platestore.storage.hierarchy import ZarrFormat
from platestore.storage.local import LocalStorage

#: What one repair uncovers (an adopted well that is itself incomplete) the next round mends.
_ROUNDS = 6
#: What did not help twice does not help.
_TRIES = 2


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What :func:`check` found, and what it did.

    Attributes
    ----------
    whole : bool
        Whether nothing is lost, damaged or left behind: there is no error and no warning (any more).
    message : str
        The verdict in one line.
    findings : tuple of Finding
        What is wrong (after a repair: what still is), in the order of the store; ``repair`` of each says what
        a repair does about it.
    actions : tuple of str
        What the repair did, in order; with ``dry_run``, what it would do first.
    failed : tuple of str
        Repairs that could not be carried out, and why.
    quarantine : str or None
        Where the repair put what it took out.
    path : str
        What was looked at.
    arrays, files, missing : int
        Arrays, files of chunks, and chunks that are not there (they read as the fill value).
    nbytes_stored, nbytes_decoded : int
        Bytes of these files, and of the chunks that were decoded.
    seconds : float
        How long it took.
    """

    whole: bool
    message: str
    findings: tuple[Finding, ...] = field(repr=False)
    actions: tuple[str, ...]
    failed: tuple[str, ...]
    quarantine: str | None
    path: str
    arrays: int
    files: int
    missing: int
    nbytes_stored: int
    nbytes_decoded: int
    seconds: float

    def __bool__(self) -> bool:
        return self.whole

    def of(self, level: str) -> list[Finding]:
        """The findings of one level: ``"error"``, ``"warning"`` or ``"advice"``.

        Examples
        --------
        >>> open("plate.zarr/A/1/0/0/c/0/0/0/0/0", "wb").close()  # a chunk loses its bytes
        >>> [finding.code for finding in ps.check("plate.zarr").of("error")]
        ['chunk-empty']
        """
        return [f for f in self.findings if f.level == level]

    def to_json(self) -> Json:
        """The report as one JSON object."""
        out = {name: getattr(self, name) for name in self.__slots__}
        out["findings"] = [f.to_json() for f in self.findings]
        return {
            **out,
            "actions": list(self.actions),
            "failed": list(self.failed),
            "seconds": round(self.seconds, 3),
        }


def check(
    path: Any,
    *,
    deep: bool = False,
    repair: bool = False,
    dry_run: bool = False,
    max_memory: int | str | None = None,
    workers: int | None = None,
    progress: bool | Progress | None = None,
) -> CheckReport:
    """Find out whether a store is whole; if asked to, repair it.

    Parameters
    ----------
    path : str, Path, zarr Store, or node
        A store, a node in one, or an ``.ozx`` archive.
    deep : bool
        Whether every chunk is read, its checksums are verified, and it is decoded, and pyramids are compared
        with the images they were made from. Otherwise sizes, indices of shards and headers are looked at.
    repair : bool
        Whether to repair what can be: documents are made to fit what is on disk, unlisted wells, fields,
        arrays and label images are listed, damaged files are moved into quarantine beside the store (what can
        be read of a shard is kept), recorded changes are completed, and levels that do not fit are computed
        anew. No pixels are deleted. Call it when nothing writes to the store.
    dry_run : bool
        Whether to only say what a repair would do.
    max_memory : int or str, optional
        Bytes by which levels that are computed may grow memory; 1 GiB by default.
    workers : int, optional
        Number of threads; that of ``platestore.config`` by default.
    progress : bool or callable, optional
        True shows a bar; a function is called with the bytes decoded and the total so far.

    Returns
    -------
    CheckReport

    Raises
    ------
    NodeNotFoundError
        If there is nothing at the path.
    ArgumentError
        If it is no store, or an argument is wrong.
    ReadOnlyError
        If a repair is asked for where nothing can be written; nothing was changed.
    UnsupportedError
        If a repair is asked for of anything but a directory on this machine.

    Examples
    --------
    >>> ps.check("plate.zarr").whole
    True
    >>> open("plate.zarr/A/1/0/0/c/0/0/0/0/0", "wb").close()  # a chunk loses its bytes
    >>> report = ps.check("plate.zarr")
    >>> report.whole, [finding.code for finding in report.findings]
    (False, ['chunk-empty'])
    """
    started = time.perf_counter()
    threads = Resources(workers=workers).threads
    memory = None if max_memory is None else parse_bytes(max_memory, "max_memory")
    place = find_place(path, StorageOptions(read_only=True))
    if place.storage is None:
        raise ArgumentError(
            "is a file, not a store", path=place.path, hint="`platestore validate` judges documents"
        )
    _require_node(place.storage, place.path)
    if repair and not dry_run:
        _require_repairable(place.storage)
    with shown(progress, "checking") as tell:
        look = _Examination(place.storage, place.path, deep, threads, tell)
        problems = look.confirmed()
        done: list[str] = []
        failed: list[str] = []
        quarantine = None
        if dry_run:
            done = [fix.text for fix in _fixes(problems)]
        elif repair:
            resources = {"max_memory": memory, "workers": threads}
            problems, done, failed, quarantine = _repair(look, problems, resources)
    findings = tuple(p.told() for p in problems)
    whole = all(f.level == "advice" for f in findings) and not failed
    return CheckReport(
        whole=whole,
        message=_message(look, findings, done, failed, dry_run=dry_run),
        findings=findings,
        actions=tuple(done),
        failed=tuple(failed),
        quarantine=quarantine,
        path=place.storage.where(place.path),
        arrays=look.pixels.arrays,
        files=look.pixels.files,
        missing=look.pixels.missing,
        nbytes_stored=look.pixels.nbytes_stored,
        nbytes_decoded=look.pixels.nbytes_decoded,
        seconds=time.perf_counter() - started,
    )


class _Examination:
    """Looks at a store, as often as it takes."""

    def __init__(self, storage: Storage, path: str, deep: bool, workers: int, tell: Progress | None) -> None:
        self.storage = storage
        self.path = path
        self.pixels = PixelAudit(deep=deep, workers=workers)
        self._tell = tell

    def once(self, *, deep: bool | None = None) -> list[Problem]:
        """What is wrong now."""
        wanted = self.pixels.deep if deep is None else deep
        self.pixels = PixelAudit(deep=wanted, workers=self.pixels.workers)
        if self._tell is not None:
            tell, pixels = self._tell, self.pixels
            pixels.tell = lambda nbytes: tell(pixels.nbytes_decoded, pixels.nbytes_decoded)
        self.audit = Audit(self.storage, self.pixels)
        return self.audit.run(self.path)

    def confirmed(self) -> list[Problem]:
        """What is wrong now, and was a moment ago: what writers are at work on is no problem.

        Pixels confirm theirs on the spot; the second look is at documents and directories.
        """
        first, pixels = self.once(), self.pixels
        if all(p.finding.level == "advice" for p in first):
            return first
        second = {p.key for p in self.once(deep=False)}
        self.pixels = pixels
        return [p for p in first if p.key in second or p.finding.code.startswith(_OF_PIXELS)]


_OF_PIXELS = ("chunk-", "shard-", "level-", "array-unwritten", "codec-")


def _repair(
    look: _Examination, problems: list[Problem], resources: Json
) -> tuple[list[Problem], list[str], list[str], str | None]:
    """Repair in rounds, until nothing is left that can be."""
    from platestore.checking.whole.quarantine import Quarantine
    from platestore.checking.whole.repairs import Repairs

    root = look.storage.local_path("")
    assert root is not None  # it was looked at before
    storage = LocalStorage(root, replace(look.storage.options, read_only=False))
    quarantine = Quarantine(storage)
    done: list[str] = []
    failed: list[str] = []
    tried: Counter[Fix] = Counter()
    lost = [p for p in problems if p.finding.code == "chunk-missing"]  # only a deep look sees it again
    for _ in range(_ROUNDS):
        fixes = [fix for fix in _fixes(problems) if tried[fix] < _TRIES]
        if not fixes:
            break
        if fixes[0].step <= Step.FINISH:  # what else there is to do is seen when that is done
            fixes = [fix for fix in fixes if fix.step <= Step.FINISH]
        repairs = Repairs(storage, _zarr_format(look), quarantine, resources)
        repairs.run(fixes)
        tried.update(fixes)
        done += repairs.done
        failed += [line for line in repairs.failed if line not in failed]
        problems = look.confirmed()
        told = {p.key for p in problems}
        problems += [p for p in lost if p.key not in told]
    return problems, done, failed, quarantine.path if done or failed else None


def _zarr_format(look: _Examination) -> ZarrFormat:
    """The version of zarr of a store whose root has lost its document: that of what is below."""

    def formats(path: str) -> Iterator[ZarrFormat]:
        here = look.audit.disk[path]
        if here.zarr_format is not None:
            yield here.zarr_format
        for child in look.audit.disk.children(path):
            if here.state != "array":
                yield from formats(child.path)

    return next(formats(look.path), 3)


def _fixes(problems: list[Problem]) -> list[Fix]:
    found = dict.fromkeys(fix for p in problems for fix in (p.fix, p.after) if fix is not None)
    return sorted(found, key=lambda fix: (fix.step, fix.path))


def _require_node(storage: Storage, path: str) -> None:
    """Refuse a directory of chunks: what belongs to an array is judged by that."""
    disk, above = Disk(storage), path
    while above:
        above = above.rpartition("/")[0]
        if disk[above].state == "array":
            raise ArgumentError(
                "is inside of an array", path=storage.where(path), hint=f"check {storage.where(above)}"
            )


def _require_repairable(storage: Storage) -> None:
    from platestore.checking.whole.quarantine import Quarantine

    root = storage.local_path("")
    if root is None:
        raise UnsupportedError(
            "only directories on this machine are repaired",
            path=storage.url,
            hint="copy it into a directory, and repair the copy",
        )
    Quarantine(LocalStorage(root, storage.options)).require_writable()


def _message(
    look: _Examination, findings: tuple[Finding, ...], done: list[str], failed: list[str], *, dry_run: bool
) -> str:
    """The verdict in one line."""
    seen = f"{look.pixels.arrays} arrays, {look.pixels.files} files, {human_bytes(look.pixels.nbytes_stored)}"
    if look.pixels.deep:
        seen += f", {human_bytes(look.pixels.nbytes_decoded)} decoded"
    whole = all(f.level == "advice" for f in findings) and not failed
    words = "whole" if whole else f"not whole: {counted(findings)}"
    if done:
        words += f"; {len(done)} repairs {'to be made' if dry_run else 'made'}"
    if failed:
        words += f", {len(failed)} failed"
    return f"{words} ({seen})"
