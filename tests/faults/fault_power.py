"""Loss of power: what a device may hold when it went off, at each operation of a call.

:class:`Disk` follows the operations as a journalling file system does: the bytes of a file are safe when
the file was flushed, a name is safe when its directory was, and a rename is one step. What was not flushed
may be there or not, and files may have their names and no bytes. :class:`PowerScene` plays a call of
``fault_cases`` once, builds what may be left at each of its operations, and judges it as the scenes of
crashes do.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fault_cases import Case, Door, View
from fault_os import OsFaults
from fault_scenes import STORE, DirectoryScene

#: What may be left: only what was flushed; all names, and the bytes that were flushed; anything in between.
LOSSES = ("unflushed", "bytes", "some")


@dataclass(eq=False)
class File:
    """A file: its bytes, and those that are safe."""

    data: bytes = b""
    safe: bytes = b""


@dataclass(eq=False)
class Directory:
    """A directory: its names, and those that are safe."""

    names: dict[str, Node] = field(default_factory=dict)
    safe: dict[str, Node] = field(default_factory=dict)


Node = File | Directory
#: A rename that is not safe yet: both directories, both names, and what moved.
_Move = tuple[Directory, str, Directory, str, Node]


class Recorder(OsFaults):
    """Keeps all operations below a directory, and the bytes of the files that they change."""

    def __init__(self, root: Path, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.events: list[tuple[str, str, str, bytes]] = []

    def _step(
        self,
        name: str,
        path: str,
        run: Callable[[], Any],
        half: Callable[[], Any] | None = None,
        source: str | None = None,
    ) -> Any:
        result = super()._step(name, path, run, half, source)
        if self._below(path):
            data = Path(path).read_bytes() if os.path.isfile(path) else b""
            origin = os.path.relpath(source, self.root) if source is not None else ""
            self.events.append((name, os.path.relpath(path, self.root), origin, data))
        return result


class Disk:
    """A disk that follows operations, and can be looked at as if power were lost now."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.root = Directory()
        self._moves: list[_Move] = []
        for path, data in files.items():
            *parents, name = path.split("/")
            place = self.root
            for parent in parents:
                if parent not in place.names:
                    place.names[parent] = place.safe[parent] = Directory()
                found = place.names[parent]
                assert isinstance(found, Directory)
                place = found
            place.names[name] = place.safe[name] = File(data, data)

    def _find(self, path: str) -> tuple[Directory, str]:
        place = self.root
        *parents, name = path.split("/")
        for parent in parents:
            found = place.names[parent]
            assert isinstance(found, Directory), path
            place = found
        return place, name

    def follow(self, name: str, path: str, source: str, data: bytes) -> None:
        """Do what an operation did."""
        if path == ".":
            assert name == "fsync", name
            self._flush(self.root)
            return
        place, last = self._find(path)
        if name == "mkdir":
            place.names[last] = Directory()
        elif name in ("create", "write", "truncate"):
            node = place.names.setdefault(last, File())
            assert isinstance(node, File)
            node.data = data
        elif name in ("unlink", "rmdir"):
            del place.names[last]
        elif name in ("rename", "replace"):
            before, first = self._find(source)
            node = place.names[last] = before.names.pop(first)
            self._moves.append((before, first, place, last, node))
        elif name == "exchange":
            before, first = self._find(source)
            one, other = before.names[first], place.names[last]
            before.names[first], place.names[last] = other, one
            self._moves += [(before, first, place, last, one), (place, last, before, first, other)]
        elif name == "fsync":
            self._flush(place.names[last])
        else:
            raise AssertionError(f"what does {name} do?")

    def _flush(self, node: Node) -> None:
        if isinstance(node, File):
            node.safe = node.data
            return
        for move in [move for move in self._moves if node in (move[0], move[2])]:
            before, first, after, last, moved = move
            if before.safe.get(first) is moved:
                del before.safe[first]
            after.safe[last] = moved
            self._moves.remove(move)
        node.safe = dict(node.names)

    def write(self, target: Path, loss: str, seed: int = 0) -> None:
        """Put on disk what may be left."""
        rng = random.Random(seed)
        # Both directories of a rename are kept, or neither.
        moved = {id(place) for move in self._moves for place in (move[0], move[2])}
        moves_kept = rng.random() < 0.5

        def write(directory: Directory, place: Path) -> None:
            place.mkdir(parents=True, exist_ok=True)
            kept = moves_kept if id(directory) in moved else rng.random() < 0.5
            names = directory.names if loss == "bytes" or (loss == "some" and kept) else directory.safe
            for name, node in names.items():
                if isinstance(node, Directory):
                    write(node, place / name)
                else:
                    (place / name).write_bytes(_left(node, rng) if loss == "some" else node.safe)

        write(self.root, target)


def _left(file: File, rng: random.Random) -> bytes:
    """The bytes of a file: those that are safe, or any part of the others."""
    if file.data == file.safe:
        return file.data
    return rng.choice((file.safe, file.data, file.data[: len(file.data) // 2], b""))


class PowerScene(DirectoryScene):
    """A case that loses power.

    Parameters
    ----------
    case, version
        As for a scene.
    durability : {"metadata", "full"}
        What is promised; with ``"metadata"``, pixels are not looked at.

    Notes
    -----
    The calls of ``fault_cases`` write pixels past the ``os`` that is watched, if any; those that make
    levels do not.
    """

    def __init__(self, case: Case, version: str, durability: str) -> None:
        super().__init__(case, version)
        self.durability = durability
        self.events: list[tuple[str, str, str, bytes]] = []

    def _door(self, target: Path) -> Door:
        return Door(target, durability=self.durability)

    def seen(self, target: Any) -> View | None:
        return self._without_pixels(super().seen(target))

    def _whole(self, target: Any) -> View | None:
        return self._without_pixels(super()._whole(target))

    def _without_pixels(self, out: View | None) -> View | None:
        if self.durability == "metadata":
            for key, value in (out or {}).items():
                if key.startswith("image"):
                    value.pop("pixels")
        return out

    def rehearse(self) -> int:
        """Make the call and learn what comes out, and record its operations."""
        target = self.fresh()
        self.before = self.seen(target)
        with Recorder(target.parent, exchange=self.exchange) as recorder:
            self.call(self._door(target))
        self.events = recorder.events
        self.log = recorder.log
        self.after, self.done = self.seen(target), self._whole(target)
        self.discard(target)
        return len(self.events)

    def left(self) -> Iterator[tuple[int, str, Path]]:
        """Everything that may be left, each once, with the number of operations and what was lost."""
        disk = Disk({f"{STORE}/{key}": data for key, data in self.base.items()})
        for number in range(len(self.events) + 1):
            if number:
                disk.follow(*self.events[number - 1])
            for loss in LOSSES:
                place = self._place()
                disk.write(place, loss, seed=number)
                known = self._fingerprint(place / STORE)
                # The last state is looked at anyway: what a call promises when it returns.
                if number == len(self.events) or known not in self._judged:
                    self._judged.add(known)
                    yield number, loss, place / STORE
                self.discard(place / STORE)

    def lose_power(self, number: int, loss: str, target: Path) -> None:
        """Judge what is left; after the call had returned, it must be what it made."""
        moment = f"power lost ({loss}) after {number} of {len(self.events)} operations"
        if number:
            moment += f", the last {' '.join(self.events[number - 1][:2])}"
        if number == len(self.events):
            try:
                seen = self.seen(target)
            except Exception as error:  # noqa: BLE001 - whatever a reader meets is a finding
                self.note(moment, [f"a reader meets {type(error).__name__}: {error}"])
                return
            if seen != self.after:
                self.note(moment, ["what the call had done is lost"])
        self._judge(moment, target)
        self._retry(moment, target, Door(target), may_exist=True)
