"""A case played on a directory or in memory, undisturbed or with a fault, and the judgement of the result."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import shutil
import tempfile
import warnings
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

import fault_checker
import zarr
from fault_cases import REPLACEMENTS, Case, Door, View, base_files, difference, may_be_seen, view, write_files
from fault_os import Crash, OsFaults
from fault_store import FaultStore, Plan, contents, memory_store

import platestore as ps

STORE = "s.zarr"
_TEMPORARY = re.compile(r"[^/]*\.(tmp|partial)(?=/|$)")
_RANDOM = re.compile(r"[0-9a-f]{12,32}")
_RANDOM_BYTES = re.compile(rb"[0-9a-f]{12,32}")


async def _settle() -> None:
    """Wait for everything else that zarr's event loop has under way."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)


class Scene(ABC):
    """A case on one kind of store.

    Parameters
    ----------
    case : Case
        The call.
    version : str
        OME-NGFF version of the store.
    """

    def __init__(self, case: Case, version: str) -> None:
        self.case = case
        self.version = version
        self.base = base_files(case.base, version)
        self.found: list[str] = []
        self._judged: set[int] = set()
        self.states = 0
        self.before: View | None = None
        self.after: View | None = None
        self.done: View | None = None
        self.log: list[tuple[str, str]] = []
        self.opened: list[tuple[str, str, dict[str, Any]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._judged.clear()

    # --- where the store is -----------------------------------------------------------------------

    @abstractmethod
    def fresh(self) -> Any:
        """A new copy of the store to start from."""

    @abstractmethod
    def copy(self, target: Any) -> Any:
        """A copy of a store as it is."""

    @abstractmethod
    def discard(self, target: Any) -> None:
        """Remove a copy."""

    @abstractmethod
    def files(self, target: Any) -> dict[str, bytes]:
        """The documents of a store."""

    @abstractmethod
    def everything(self, target: Any) -> dict[str, bytes | None]:
        """All files of a store and around it; directories have no content."""

    @abstractmethod
    def play(
        self,
        target: Any,
        at: int | None = None,
        when: str = "before",
        error: int | None = None,
        keep: bool = False,
    ) -> tuple[Any, Door, BaseException | None]:
        """Make the call with a fault: where the store is now, the door used, and what was raised."""

    # --- playing ----------------------------------------------------------------------------------

    def call(self, door: Door) -> Any:
        """Make the call."""
        door.kwargs.setdefault("lock_timeout", 5.0)
        if not self.base or self.case in REPLACEMENTS:
            door.kwargs["version"] = self.version
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", message="the image has .* channels")
            return self.case.act(door)

    def rehearse(self) -> int:
        """Make the call undisturbed, learn what comes out, and count its operations."""
        target = self.fresh()
        self.before = self.seen(target)
        old = None if self.before is None else view(Door(target), whole=True)
        target, _, error = self.play(target)
        if error is not None:
            raise error
        self.after = self.seen(target)
        self.done = self._whole(target)
        assert self.done == view(Door(target), whole=True)
        assert self.done != old, "the call changes nothing"
        files = self.files(target)
        self.note("undisturbed", fault_checker.problems(files))
        self.note("undisturbed", [f"still unfinished: {key}" for key in fault_checker.unfinished(files)])
        self.note("undisturbed", [f"left behind: {name}" for name in self.litter(target)])
        self.discard(target)
        return len(self.log)

    def litter(self, target: Any) -> list[str]:
        """Temporary names that an undisturbed call must not leave."""
        return []

    def crash(self, at: int, when: str) -> None:
        """Die at one operation, and judge what is left."""
        moment = f"dead {when} {self._operation(at)}"
        target, _, error = self.play(self.fresh(), at, when)
        if not isinstance(error, Crash):
            self.note(moment, [f"the crash was swallowed: {error!r}"])
        self.states += 1
        fingerprint = self._fingerprint(target)
        if fingerprint not in self._judged:
            self._judged.add(fingerprint)
            self._judge(moment, target)
            self._retry(moment, target, Door(target), may_exist=True)
        self.discard(target)

    def crash_beside(self, at: int) -> None:
        """Another process dies at one operation; then the call is made on handles that were open before."""
        target = self.fresh()
        door = Door(target, keep=True)
        for path, mode, arguments in self.opened:
            door(path, mode, **arguments)
        target, _, _ = self.play(target, at)
        if fault_checker.unfinished(self.files(target)):
            self.states += 1
            self._retry(f"another dead before {self._operation(at)}", target, door, may_exist=True)
        self.discard(target)

    def crash_beside_and_go_on(self, at: int) -> None:
        """Another process dies at one operation; then something else is done on a plate open since before."""
        target = self.fresh()
        plate = Door(target)()
        target, _, _ = self.play(target, at)
        if fault_checker.unfinished(self.files(target)):
            self.states += 1
            moment = f"another dead before {self._operation(at)}, and then another call"
            plate.create_positions([("A", "8", "9"), ("Z", "1", "9")])
            files = self.files(target)
            self.note(moment, fault_checker.problems(files))
            whole = self._whole(target) or {}
            added = {"position A/8/9", "position Z/1/9"}
            if not added <= set(whole):
                self.note(moment, [f"what it added is lost: {sorted(whole)}"])
            seen = {key: value for key, value in (self.seen(target) or {}).items() if not key.endswith("/9")}
            for well in ("well A/8", "well Z/1"):
                seen.pop(well, None)
            why = may_be_seen(self.case, seen, self.before, self.after)
            self.note(moment, [why] if why else [])
            self.note(
                moment, [f"still unfinished: {key}" for key in fault_checker.unfinished(self.files(target))]
            )
        self.discard(target)

    def _fingerprint(self, target: Any) -> int:
        """What is in a store, but for random names and what lies under temporary ones.

        Many operations write or remove a temporary file or directory. States that differ only in there
        are one state to every reader and writer, and are judged once.
        """
        seen = set()
        for key, data in self.everything(target).items():
            name = _TEMPORARY.sub("temporary", key)
            if "temporary" in name:
                name, data = name[: name.index("temporary") + len("temporary")], None
            seen.add(
                (_RANDOM.sub("random", name), None if data is None else _RANDOM_BYTES.sub(b"random", data))
            )
        return hash(frozenset(seen))

    def fail(self, at: int, errno: int) -> None:
        """Let one operation fail, and judge what is left."""
        moment = f"{os.strerror(errno)} at {self._operation(at)}"
        target, door, error = self.play(self.fresh(), at, error=errno, keep=True)
        if error is None:
            if self.seen(target) != self.after:
                self.note(moment, ["the error was swallowed, and the change is not there"])
        elif not isinstance(error, (OSError, ps.PlatestoreError)):
            self.note(moment, [f"the error surfaces as {type(error).__name__}: {error}"])
        self.states += 1
        self._judge(moment, target)
        # The handles of the failed call are still good.
        self._retry(moment, target, door, may_exist=False)
        self.discard(target)

    def _operation(self, at: int) -> str:
        name, path = self.log[at]
        return f"operation {at} of {len(self.log)} ({name} {path})"

    # --- judging ----------------------------------------------------------------------------------

    def note(self, moment: str, texts: list[str]) -> None:
        """Keep what is wrong."""
        self.found.extend(f"{moment}: {text}" for text in texts)

    def report(self) -> str:
        """Everything that was wrong, as one text."""
        shown = "\n  ".join(self.found[:6])
        return (
            f"{self.case.name} ({self.version}): {len(self.found)} faults in {self.states} states\n  {shown}"
        )

    def _judge(self, moment: str, target: Any) -> None:
        files = self.files(target)
        if self.before is not None or fault_checker.has_root(files):
            self.note(moment, fault_checker.problems(files))
        try:
            seen = self.seen(target)
        except Exception as error:  # noqa: BLE001 - whatever a reader meets is a finding
            self.note(moment, [f"a reader meets {type(error).__name__}: {error}"])
            return
        why = may_be_seen(self.case, seen, self.before, self.after)
        if why is not None:
            self.note(moment, [why])
        if files and fault_checker.unfinished(files):
            self._recover(moment, self.copy(target))

    def _recover(self, moment: str, target: Any) -> None:
        """Open a copy for writing and look at everything: nothing may be left half done."""
        try:
            seen = view(Door(target), mode="r+", whole=True)
        except Exception as error:  # noqa: BLE001
            self.note(moment, [f"opening to write meets {type(error).__name__}: {error}"])
        else:
            files = self.files(target)
            self.note(
                moment,
                [f"opened to write, and still unfinished: {k}" for k in fault_checker.unfinished(files)],
            )
            self.note(moment, fault_checker.problems(files))
            if view(Door(target), whole=True) != seen:
                self.note(moment, ["a reader sees something else than the writer who completed the change"])
        self.discard(target)

    def _retry(self, moment: str, target: Any, door: Door, *, may_exist: bool) -> None:
        """Make the same call again: it gets to the end, or says what is in the way."""
        moment = f"{moment}, made again"
        refusal: ps.PlatestoreError | None = None
        try:
            self.call(door)
        except ps.PlatestoreError as error:
            refusal = error
        except Exception as error:  # noqa: BLE001
            self.note(moment, [f"raises {type(error).__name__}: {error}"])
            return
        seen = self._whole(target)
        if seen != self.done and isinstance(refusal, FileExistsError) and may_exist:
            if refusal.hint is None or refusal.path is None:
                self.note(moment, [f"the refusal does not say where and what to do: {refusal}"])
            try:
                self.call(Door(target, overwriting_creation=True))
            except Exception as error:  # noqa: BLE001
                self.note(moment, [f"as the hint says, raises {type(error).__name__}: {error}"])
                return
            refusal, seen = None, self._whole(target)
        if seen != self.done and (refusal is not None or self.case.repeatable):
            self.note(moment, [f"does not get to the end ({refusal!r}): {difference(seen, self.done)}"])
        files = self.files(target)
        self.note(moment, fault_checker.problems(files))
        self.note(moment, [f"still unfinished: {key}" for key in fault_checker.unfinished(files)])

    def seen(self, target: Any) -> View | None:
        """What a reader sees."""
        return view(Door(target), pixels=self.case.pixels is not None)

    def _whole(self, target: Any) -> View | None:
        """What a writer sees; to open is to complete what was begun."""
        try:
            return view(Door(target), mode="r+", whole=True)
        except Exception as error:  # noqa: BLE001
            return {"nothing but": repr(error)}


class DirectoryScene(Scene):
    """A case on a directory: in memory, where the system has such a file system; there are thousands.

    Parameters
    ----------
    case, version
        As for :class:`Scene`.
    exchange : bool
        Whether the system can exchange two directories in one step.
    """

    def __init__(self, case: Case, version: str, *, exchange: bool = True) -> None:
        super().__init__(case, version)
        memory = Path("/dev/shm")
        self.directory = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None))
        self.exchange = exchange
        self._count = itertools.count()

    def __exit__(self, *exc_info: object) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    def _place(self) -> Path:
        place = self.directory / str(next(self._count))
        place.mkdir()
        return place

    def fresh(self) -> Path:
        target = self._place() / STORE
        if self.base:
            write_files(self.base, target)
        return target

    def copy(self, target: Path) -> Path:
        new = self._place() / STORE
        shutil.copytree(target, new)
        return new

    def discard(self, target: Path) -> None:
        shutil.rmtree(target.parent)

    def files(self, target: Path) -> dict[str, bytes]:
        return fault_checker.read_documents(target)

    def everything(self, target: Path) -> dict[str, bytes | None]:
        found: dict[str, bytes | None] = {**fault_checker.read_tree(target.parent)}
        for directory, _, _ in os.walk(target.parent):
            found[os.path.relpath(directory, target.parent)] = None
        return found

    def litter(self, target: Path) -> list[str]:
        names = (path.name for path in target.parent.rglob("*"))
        return [name for name in names if name.endswith((".tmp", ".new", ".partial", ".lock"))]

    def play(
        self,
        target: Path,
        at: int | None = None,
        when: str = "before",
        error: int | None = None,
        keep: bool = False,
    ) -> tuple[Path, Door, BaseException | None]:
        door = Door(target, keep=keep)
        raised: BaseException | None = None
        faults = OsFaults(target.parent, at, when=when, error=error, exchange=self.exchange)
        # One chunk at a time, so that the operations are the same ones in the same order.
        with faults, zarr.config.set({"async.concurrency": 1}):
            try:
                self.call(door)
            except (Exception, Crash) as caught:  # noqa: BLE001
                raised = caught
                # The other chunks of the call are written by threads that must not outlive their process.
                zarr.core.sync.sync(_settle())
        if at is None:
            self.log, self.opened = faults.log, door.opened
        return target, door, raised


class MemoryScene(Scene):
    """A case on a zarr store in memory."""

    def fresh(self) -> Any:
        return memory_store(self.base)

    def copy(self, target: Any) -> Any:
        return memory_store(contents(target))

    def discard(self, target: Any) -> None:
        pass

    def files(self, target: Any) -> dict[str, bytes]:
        return contents(target)

    def everything(self, target: Any) -> dict[str, bytes | None]:
        return {**contents(target)}

    def play(
        self,
        target: Any,
        at: int | None = None,
        when: str = "before",
        error: int | None = None,
        keep: bool = False,
    ) -> tuple[Any, Door, BaseException | None]:
        plan = Plan(at, when=when, error=error)
        door = Door(FaultStore(target, plan), keep=keep)
        raised: BaseException | None = None
        try:
            self.call(door)
        except (Exception, Crash) as caught:  # noqa: BLE001
            raised = caught
        if at is None:
            self.log, self.opened = plan.log, door.opened
        plan.at = None
        if plan.dead:
            target = memory_store(contents(target))
        return target, door, raised
