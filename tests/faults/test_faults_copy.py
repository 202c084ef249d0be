"""A copy that dies, or meets an error, at each of its operations: nothing half done, and it goes on."""

from __future__ import annotations

import errno
import itertools
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import platestore as ps
from copying.copy_cases import KINDS, make_source, make_sources
from faults.fault_os import Crash, OsFaults
from nodes.store_helpers import snapshot

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the operations are those of POSIX systems")

_TEMPORARY = re.compile(r"\.[^/]*\.tmp")
#: Positions of the plates that others are added to.
INTO = ("A/1/0", "B/2/0")


class CopyFaults(OsFaults):
    """The same, and the kernel's own copying of bytes counts as a write."""

    def __enter__(self) -> CopyFaults:
        super().__enter__()
        if hasattr(os, "copy_file_range"):
            self._patch(os, "copy_file_range", self._on_copying)
        return self

    def _on_copying(self, name: str, real: Callable[..., Any], source: int, out: int, count: int) -> Any:
        if out not in self._files:
            return real(source, out, count)
        return self._step(
            "write", self._files[out], lambda: real(source, out, count), lambda: real(source, out, count // 2)
        )


# --- scenes ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    """A directory in memory, where the system has one: there are thousands of states."""
    shared = Path("/dev/shm")
    found = Path(tempfile.mkdtemp(dir=shared if os.access(shared, os.W_OK) else None))
    yield found
    shutil.rmtree(found)


@pytest.fixture(scope="module")
def sources(memory: Path) -> Path:
    """Sources as small as they can be: each operation is a state to be looked at."""
    directory = memory / "sources"
    directory.mkdir()
    small = {"shape": (1, 2, 1, 12, 10), "chunks": (1, 2, 1, 8, 8)}
    make_sources(directory, names=("A/1/0",), others=False, **small)
    table = directory / "levels.zarr/A/1/0/tables"
    table.mkdir()
    (table / "notes.csv").write_text("a table of others")
    for suffix, version in (("", "0.5"), ("-v4", "0.4")):
        make_source(directory / f"other{suffix}.zarr", version, ("C/3/0",), seed=1, others=False, **small)
        make_source(directory / f"into{suffix}.zarr", version, INTO, seed=2, others=False, **small)
    ps.copy(directory / "other.zarr", directory / "other.ozx")
    return directory


@dataclass(frozen=True)
class Scene:
    """One call, and what is there before.

    Attributes
    ----------
    name : str
        What it is.
    source, target : str
        What is copied where.
    options : dict
        Options of the call.
    there : str, optional
        A store that is there before, among the sources.
    exchange : bool
        Whether the system can exchange two directories in one step.
    """

    name: str
    source: str
    target: str
    options: dict[str, Any]
    there: str | None = None
    exchange: bool = True

    @property
    def inside(self) -> bool:
        """Whether it becomes a part of a plate."""
        return self.there is not None and "into" in self.there


def _of(*names: str) -> list[Scene]:
    return [Scene(k.name, k.source, k.target, k.options) for k in map(KINDS.__getitem__, names)]


_OVER = {"overwrite": True}
NEW = _of("plain", "convert", "rechunk", "crop", "pack", "pack-v4", "unpack")
MORE = [
    *_of("plain-v4", "convert-back", "rechunk-v4", "whole-chunks", "pyramid", "unpack-rechunk"),
    Scene("flushed", "v5.zarr", "out.zarr", {"durability": "full", "chunks": (1, 1, 1, 8, 8)}),
    Scene("flushed-archive", "v5.zarr", "out.ozx", {"durability": "full"}),
]
REPLACING = [
    Scene("replace", "v5.zarr", "out.zarr", _OVER, "other.zarr"),
    Scene("replace-no-exchange", "v5.zarr", "out.zarr", _OVER, "other.zarr", exchange=False),
    Scene("replace-pixels", "v4.zarr", "out.zarr", {**_OVER, "chunks": (1, 1, 1, 8, 8)}, "other-v4.zarr"),
    Scene("replace-archive", "v5.zarr", "out.ozx", _OVER, "other.ozx"),
]
INSIDE = [
    Scene("new-well", "v5.zarr/A/1/0", "out.zarr/D/4/0", {}, "into.zarr"),
    Scene("new-well-v4", "v4.zarr/A/1/0", "out.zarr/D/4/0", {}, "into-v4.zarr"),
    Scene("new-field", "v5.zarr/A/1/0", "out.zarr/A/1/7", {}, "into.zarr"),
    Scene("new-field-converted", "v4.zarr/A/1/0", "out.zarr/A/1/7", {"chunks": (1, 1, 1, 8, 8)}, "into.zarr"),
    Scene("whole-well", "v5.zarr/A/1", "out.zarr/D/4", {}, "into.zarr"),
    Scene("whole-well-v4", "v4.zarr/A/1", "out.zarr/D/4", {}, "into-v4.zarr"),
]


class Play:
    """A scene that is played again and again, undisturbed or with a fault.

    Parameters
    ----------
    scene : Scene
        The scene.
    sources : Path
        The sources.
    """

    def __init__(self, scene: Scene, sources: Path) -> None:
        self.scene = scene
        self.sources = sources
        self.directory = sources.parent / scene.name
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir()
        self.root = scene.target.partition("/")[0]
        self.found: list[str] = []
        self._count = itertools.count()
        self._judged: set[int] = set()
        here = self.fresh()
        self.before = snapshot(here)
        faults, error = self.call(here)
        if error is not None:
            raise error
        self.log = faults.log
        self.after = snapshot(here)
        assert self.before != self.after
        if scene.inside:
            assert set(self.new) <= {name for name, _ in ps.open_ome_zarr(here / self.root).positions()}
        # Nothing is left beside the copy.
        assert [p.name for p in here.iterdir()] == [self.root]
        assert not [key for key in self.after if ".copying" in key or ".tmp" in key]

    @property
    def new(self) -> list[str]:
        """Positions that are added to a plate."""
        inner = self.scene.target.partition("/")[2]
        return [inner if inner.count("/") == 2 else f"{inner}/0"]

    def fresh(self) -> Path:
        """A new directory as it is before the call."""
        here = self.directory / str(next(self._count))
        here.mkdir()
        if self.scene.there is not None:
            there, place = self.sources / self.scene.there, here / self.root
            shutil.copytree(there, place) if there.is_dir() else shutil.copy(there, place)
        return here

    def call(
        self,
        here: Path,
        at: int | None = None,
        *,
        when: str = "before",
        error: int | None = None,
        **how: Any,
    ) -> tuple[OsFaults, BaseException | None]:
        """Make the call, with a fault; what was raised is returned."""
        scene = self.scene
        raised: BaseException | None = None
        options = {**scene.options, **how}
        if options.get("resume"):
            options.pop("overwrite", None)
        with CopyFaults(here, at, when=when, error=error, exchange=scene.exchange) as faults:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    ps.copy(self.sources / scene.source, here / scene.target, workers=1, **options)
            except (Exception, Crash) as caught:  # noqa: BLE001
                raised = caught
        return faults, raised

    def operation(self, at: int) -> str:
        """An operation, for people."""
        return f"operation {at} of {len(self.log)} ({' '.join(self.log[at])})"

    def note(self, moment: str, what: str) -> None:
        """Keep what is wrong."""
        self.found.append(f"{moment}: {what}")

    def report(self) -> None:
        """Fail if anything is wrong."""
        if self.found:
            shown = "\n  ".join(self.found[:8])
            pytest.fail(f"{self.scene.name}: {len(self.found)} faults\n  {shown}", pytrace=False)

    # --- faults -----------------------------------------------------------------------------------

    def crash(self, at: int, when: str, *, anew: bool) -> None:
        """Die at one operation, look at what is there, and go on (or begin anew)."""
        moment = f"dead {when} {self.operation(at)}"
        here = self.fresh()
        _, error = self.call(here, at, when=when)
        if not isinstance(error, Crash):
            self.note(moment, f"the crash was swallowed: {error!r}")
        known = hash((_fingerprint(here), anew))
        if known not in self._judged:
            self._judged.add(known)
            self.judge(moment, here)
            self.go_on(f"{moment}, {'begun anew' if anew else 'continued'}", here, anew=anew)
        shutil.rmtree(here)

    def fail(self, at: int, number: int) -> None:
        """Let one operation fail, look at what is there, and go on in the same process."""
        moment = f"{os.strerror(number)} at {self.operation(at)}"
        here = self.fresh()
        _, error = self.call(here, at, error=number)
        if error is None:
            if not self.is_done(here):
                self.note(moment, "the error was swallowed, and the copy is not there")
        elif not isinstance(error, (OSError, ps.PlatestoreError)):
            self.note(moment, f"the error surfaces as {type(error).__name__}: {error}")
        self.judge(moment, here)
        self.go_on(f"{moment}, continued", here, anew=False)
        shutil.rmtree(here)

    # --- judging ----------------------------------------------------------------------------------

    def is_done(self, here: Path) -> bool:
        """Whether the copy is in its place."""
        found = _without_litter(snapshot(here))
        return self._part({k: v for k, v in found.items() if ".copying" not in k}) == self._part(self.after)

    def _part(self, state: dict[str, Any]) -> dict[str, Any]:
        """The same keys as in a snapshot of the store itself."""
        out = {k[len(self.root) + 1 :]: v for k, v in state.items() if k.startswith(self.root + "/")}
        return {".": state[self.root], **out} if self.root in state else {}

    def judge(self, moment: str, here: Path) -> None:
        """The store is as it was, or complete."""
        if self.scene.inside:
            self._judge_plate(moment, here / self.root)
            return
        found, before = snapshot(here / self.root), self._part(self.before)
        if found and found not in (before, self._part(self.after)):
            self.note(moment, f"half a store has the name of the copy: {sorted(found)[:8]}")
        aside = here / f"{self.root}.copying" / "old"
        if not found and before and snapshot(aside) != before:
            self.note(moment, "the store that was there is gone")

    def _judge_plate(self, moment: str, path: Path) -> None:
        """Readers see the plate as it was, or with the new position; everything else stays as it is."""
        for key, value in self._part(self.before).items():
            if snapshot(path / key)["."] not in (value, self._part(self.after)[key]):
                self.note(moment, f"{key} is neither as it was nor as it will be")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                seen = {name: np.asarray(p["0"]) for name, p in ps.open_ome_zarr(path).positions()}
        except Exception as error:  # noqa: BLE001 - whatever a reader meets is a finding
            self.note(moment, f"a reader meets {type(error).__name__}: {error}")
            return
        extra = set(seen) - set(INTO)
        if not set(INTO) <= set(seen) or extra not in (set(), set(self.new)):
            self.note(moment, f"a reader sees {sorted(seen)}")
        source = ps.open_ome_zarr(self.sources / self.scene.source)
        position = source if isinstance(source, ps.Position) else source["0"]
        for name in extra:
            if not np.array_equal(seen[name], position["0"]):
                self.note(moment, f"{name} is listed, and has other pixels")

    def go_on(self, moment: str, here: Path, *, anew: bool) -> None:
        """The next call gets to the end, and leaves what an undisturbed one leaves."""
        how = {"overwrite": True} if anew else {"resume": True}
        begun = [p for p in here.rglob("*.copying") if (p / "journal.json").exists()]
        _, error = self.call(here, **how)
        if isinstance(error, FileExistsError) and not begun:
            # There is nothing to be continued: the copy is done, or must be asked for as it was at first.
            error = None if self.is_done(here) else self.call(here)[1]
        elif isinstance(error, FileExistsError) and anew and self.scene.inside:
            # It has its place in the plate already, and is about to be listed.
            _, error = self.call(here, resume=True)
        elif isinstance(error, ps.UnsafeTargetError) and anew and self.is_done(here):
            return  # a complete copy with files of others in it is not replaced
        if error is not None:
            self.note(moment, f"raises {type(error).__name__}: {error}")
            return
        found, wanted = _without_litter(snapshot(here)), self.after
        if found != wanted:
            self.note(moment, f"differs from an undisturbed copy: {_difference(found, wanted)}")


def _without_litter(state: dict[str, Any]) -> dict[str, Any]:
    """A snapshot without what dead writers of documents leave in a plate, and spent working directories."""
    begun = {
        key.partition(".copying/")[0] for key in state if key.endswith((".copying/journal.json", "/data"))
    }
    return {
        key: value
        for key, value in state.items()
        if (not _TEMPORARY.search(key) or "/" not in key or ".copying" in key)
        and (".copying" not in key or key.partition(".copying")[0] in begun)
    }


def _fingerprint(here: Path) -> frozenset[Any]:
    """What is there; temporary files are of no interest but for being there."""
    found = set()
    for key, data in snapshot(here).items():
        name = _TEMPORARY.sub("temporary", key)
        found.add((name, None if "temporary" in name or name.endswith("journal.json") else data))
    return frozenset(found)


def _difference(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    parts = []
    for what, keys in (
        ("missing", wanted.keys() - found.keys()),
        ("too much", found.keys() - wanted.keys()),
        ("different", {k for k in wanted.keys() & found.keys() if wanted[k] != found[k]}),
    ):
        if keys:
            parts.append(f"{what}: {', '.join(sorted(keys)[:5])}")
    return "; ".join(parts)


def _quick(*names: str) -> list[Any]:
    """All scenes; those without these names in the long run only."""
    return [
        pytest.param(scene, id=scene.name, marks=[] if scene.name in names else [pytest.mark.slow])
        for scene in [*NEW, *MORE, *REPLACING, *INSIDE]
    ]


# --- tests ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scene",
    _quick(
        "plain", "convert", "rechunk", "crop", "pack", "pack-v4", "unpack", "replace", "replace-no-exchange",
        "replace-archive", "new-well", "new-field", "whole-well-v4",
    ),
)  # fmt: skip
def test_a_crash_at_any_operation_leaves_nothing_half_done_and_resume_completes_it(scene, sources):
    play = Play(scene, sources)
    length = len(play.log)
    assert length > 5
    for k in range(length):
        play.crash(k, "before", anew=False)
        if play.log[k][0] == "write":
            play.crash(k, "torn", anew=False)
    play.crash(length - 1, "after", anew=False)
    play.report()


@pytest.mark.parametrize("scene", _quick("convert", "pack", "replace"))
def test_a_crash_at_any_operation_can_be_begun_anew(scene, sources):
    play = Play(scene, sources)
    for k in range(len(play.log)):
        play.crash(k, "before", anew=True)
    play.report()


@pytest.mark.parametrize("scene", _quick("plain", "crop", "pack", "replace", "new-field"))
def test_no_space_or_a_broken_disk_at_any_operation_is_an_error_and_resume_completes_it(scene, sources):
    play = Play(scene, sources)
    for k in range(len(play.log)):
        play.fail(k, errno.ENOSPC if play.log[k][0] in ("create", "write", "mkdir") else errno.EIO)
    play.report()


@pytest.mark.slow
@pytest.mark.parametrize("scene", _quick())
def test_a_broken_disk_at_any_operation_is_an_error_and_resume_completes_it(scene, sources):
    play = Play(scene, sources)
    for k in range(len(play.log)):
        play.fail(k, errno.EIO)
    play.report()


@pytest.mark.parametrize("scene", _quick("rechunk", "crop", "new-field"))
def test_a_copy_that_dies_again_and_again_gets_to_the_end(scene, sources):
    """Each call dies a little later than the one before."""
    play = Play(scene, sources)
    here = play.fresh()
    begun = next(k for k, (name, path) in enumerate(play.log) if path.endswith("journal.json"))
    _, error = play.call(here, begun, when="after")
    assert isinstance(error, Crash)
    for k in itertools.count(4, 7):
        play.judge(f"dead at its operation {k}", here)
        _, error = play.call(here, k, resume=True)
        if not isinstance(error, Crash):
            break
        assert k < 10 * len(play.log), "it never gets to the end"
    if error is not None and not isinstance(error, FileExistsError):
        raise error
    play.report()
    assert play.is_done(here)
