"""What the processes of the kill and concurrency tests do. They are started afresh, so they import this."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np

import platestore as ps

SHAPE = (1, 1, 1, 4, 4)
#: Starting a process from a server that has imported everything takes milliseconds.
START = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def new_plate(path: Path, version: str) -> ps.Plate:
    """A plate with one shared position, S/1/0, whose pixels are 1."""
    plate = ps.open_ome_zarr(path, layout="hcs", mode="w-", channel_names=["DAPI"], version=version)
    plate.create_position("S", "1", "0").create_image("0", np.ones(SHAPE, "uint16"))
    return plate


def context(method: str = START) -> Any:
    """A multiprocessing context whose server, if it has one, is warm."""
    found = multiprocessing.get_context(method)
    if method == "forkserver":
        found.set_forkserver_preload(
            [
                "fault_workers",
                "fault_kill_work",
                "zarr",
                "platestore.tree.growth",
                "platestore.arrays.image",
                "platestore.copying.api",
                "platestore.images.level_making",
                "platestore.pyramid.levels",
            ]
        )
    return found


# --- several at once --------------------------------------------------------------------------------


def run_together(
    work: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], method: str = START, timeout: float = 120
) -> list[tuple[int, Any]]:
    """Run a function in several processes, which start working at the same moment.

    Returns
    -------
    list of (pid, result)
    """
    started = context(method)
    barrier = started.Barrier(len(arguments))
    processes, pipes = [], []
    for each in arguments:
        ours, theirs = started.Pipe(duplex=False)
        process = started.Process(target=_child, args=(work, each, barrier, theirs, timeout), daemon=True)
        process.start()
        theirs.close()
        processes.append(process)
        pipes.append(ours)
    results: dict[int, tuple[int, Any]] = {}
    deadline = time.monotonic() + timeout
    try:
        while len(results) < len(pipes):
            waiting = [pipe for number, pipe in enumerate(pipes) if number not in results]
            ready = wait(waiting, deadline - time.monotonic())
            if not ready:
                raise TimeoutError(f"{len(waiting)} processes have not finished in {timeout} s")
            for pipe in ready:
                failure, pid, result = pipe.recv()
                if failure is not None:
                    raise AssertionError(f"process {pid} failed:\n{failure}")
                results[pipes.index(pipe)] = (pid, result)
        return [results[number] for number in range(len(pipes))]
    finally:
        for process, pipe in zip(processes, pipes, strict=True):
            process.join(5 if len(results) == len(pipes) else 0)
            process.kill()
            process.join()
            pipe.close()


def _child(
    work: Callable[..., Any], arguments: tuple[Any, ...], barrier: Any, pipe: Any, timeout: float
) -> None:
    try:
        warnings.simplefilter("error")
        barrier.wait(timeout)
        result = work(*arguments)
    except BaseException:  # noqa: BLE001 - the parent reports it
        barrier.abort()
        pipe.send((traceback.format_exc(), os.getpid(), None))
    else:
        pipe.send((None, os.getpid(), result))


def add_positions(path: str, number: int, count: int) -> list[str]:
    """Add positions, by turns to wells that all share and to new ones, in a shared row or one's own."""
    plate = ps.open_ome_zarr(path, mode="r+")
    made = []
    for i in range(count):
        if i % 2:
            row, column, name = "S", str(i % 8), f"p{number}x{i}"
        elif i % 4:
            row, column, name = f"R{number}", str(i), "0"
        else:
            row, column, name = "T", f"{number}x{i}", "0"
        plate.create_position(row, column, name)
        made.append(f"{row}/{column}/{name}")
    return made


def add_positions_under_a_lock_file(path: str, number: int, count: int) -> list[str]:
    """The same on a file system where locks of directories keep nobody out."""
    from platestore.storage import locks

    locks._flock_excludes = lambda directory: False
    return add_positions(path, number, count)


def add_batches(path: str, number: int, batches: int) -> list[str]:
    """Add positions with arrays, several at a time, half of them in shared wells."""
    plate = ps.open_ome_zarr(path, mode="r+")
    made = []
    for i in range(batches):
        specs = [("S", "1", f"b{number}x{i}"), ("S", "2", f"b{number}x{i}"), (f"R{number}", str(i), "0")]
        plate.create_positions(specs, shape=SHAPE, dtype="uint16")
        made += ["/".join(spec) for spec in specs]
    return made


def _ignore_growing_channels() -> None:
    """New positions are made for the channels of the first one, which others append to meanwhile."""
    warnings.filterwarnings("ignore", message="the image has .* channels")


def change_everything(path: str, number: int, steps: int, seed: int) -> dict[str, Any]:
    """Change one plate in every way, at random; what must be true afterwards is returned."""
    _ignore_growing_channels()
    rng = random.Random(1000 * seed + number)
    plate = ps.open_ome_zarr(path, mode="r+")
    shared = ps.open_ome_zarr(Path(path) / "S/1/0", mode="r+")
    expected: dict[str, Any] = {"positions": {}, "gone": set(), "channels": [], "attributes": {}}
    positions = expected["positions"]
    for step in range(steps):
        kind = rng.choice(
            ("well", "well", "field", "batch", "rename", "channel", "attribute", "delete", "image")
        )
        mine = sorted({p.rpartition("/")[0] for p in positions if p.startswith("R")})
        if kind == "well":
            well = f"R{number}/{step}"
            plate.create_position(*well.split("/"), "0").create_zeros("0", SHAPE, "uint8")
            positions[f"{well}/0"] = None
        elif kind == "field":
            name = f"p{number}x{step}"
            plate.create_position("S", "1", name, acq_index=rng.randrange(3))
            positions[f"S/1/{name}"] = None
        elif kind == "batch":
            specs = [
                ("S", "2", f"b{number}x{step}"),
                ("S", "1", f"b{number}x{step}"),
                ("Q", f"{number}x{step}", "0"),
            ]
            plate.create_positions(specs, shape=SHAPE, dtype="uint8")
            positions.update({"/".join(spec): None for spec in specs})
        elif kind == "channel":
            name = f"channel {number} {step}"
            shared.append_channel(name)
            expected["channels"].append(name)
        elif kind == "attribute":
            plate.zattrs[f"note {number} {step}"] = step
            expected["attributes"][f"note {number} {step}"] = step
        elif kind == "rename" and mine:
            old = rng.choice(mine)
            new = f"R{number}/r{step}" if rng.random() < 0.5 else f"N{number}/r{step}"
            plate.rename_well(old, new)
            for position in [p for p in positions if p.startswith(old + "/")]:
                expected["gone"].add(position)
                positions[new + position[len(old) :]] = positions.pop(position)
        elif kind == "delete" and mine:
            old = rng.choice(mine)
            del plate[old]
            for position in [p for p in positions if p.startswith(old + "/")]:
                expected["gone"].add(position)
                del positions[position]
        elif kind == "image" and mine:
            position = rng.choice([p for p in positions if p.rpartition("/")[0] in mine])
            plate[position].create_image(f"i{step}", np.full(SHAPE, number + 1, "uint16"))
            positions[position] = (f"i{step}", number + 1)
    return expected


def add_among_changes(path: str, number: int, count: int, seed: int) -> dict[str, Any]:
    """Add as many positions, and between them rename, delete, append channels and write attributes."""
    _ignore_growing_channels()
    rng = random.Random(1000 * seed + number)
    plate = ps.open_ome_zarr(path, mode="r+", lock_timeout=120)
    shared = ps.open_ome_zarr(Path(path) / "S/1/0", mode="r+", lock_timeout=120)
    expected: dict[str, Any] = {"positions": {}, "gone": set(), "channels": [], "attributes": {}}
    wells: list[str] = []
    for step in itertools.count():
        made = len(expected["positions"])
        if made == count:
            return expected
        kind = rng.randrange(8)
        if kind < 2:
            specs = [("S", str(rng.randrange(2, 8)), f"p{number}x{step}")]
        elif kind == 2:
            wells.append(f"R{number}/{step}")
            specs = [(f"R{number}", str(step), "0")]
        elif kind == 3:
            specs = [("S", "1", f"b{number}x{step}x{i}") for i in range(min(4, count - made))]
        else:
            specs = []
        for well in [well for well in wells if kind in (4, 5)][:1]:
            new = f"N{number}/{step}"
            plate.rename_well(well, new)
            expected["gone"].add(f"{well}/0")
            del expected["positions"][f"{well}/0"]
            wells.remove(well)
            if kind == 4:
                expected["positions"][f"{new}/0"] = None
            else:  # it does not count: another one is added for it
                del plate[new]
                expected["gone"].add(f"{new}/0")
        if kind == 6 and rng.random() < 0.3:
            shared.append_channel(f"channel {number} {step}")
            expected["channels"].append(f"channel {number} {step}")
        elif kind == 7:
            plate.zattrs[f"note {number} {step}"] = step
            expected["attributes"][f"note {number} {step}"] = step
        if specs:
            plate.create_positions(specs)
            expected["positions"].update({"/".join(spec): None for spec in specs})
    raise AssertionError


def create_and_add(path: str, number: int, version: str) -> str:
    """Open or create one store, as all others do at the same moment, and add a position to it."""
    plate = ps.open_ome_zarr(path, layout="hcs", mode="a", channel_names=["DAPI"], version=version)
    plate.create_position("A", str(number), "0")
    return f"A/{number}/0"


def poll(path: str, stop: str, strict: bool) -> tuple[int, int]:
    """Read everything again and again until a file appears; give the number of readings and of positions.

    ``strict`` readers take a warning (of a listed thing that is absent) for a failure.
    """
    readings = 0
    seen: set[str] = set()
    while True:
        last = os.path.exists(stop)
        with warnings.catch_warnings():
            warnings.simplefilter("error" if strict else "ignore")
            plate = ps.open_ome_zarr(path, mode="r")
            found = set()
            for name, position in plate.positions():
                found.add(name)
                assert position.channel_names
                for _, image in position.images():
                    assert image.shape[0] >= 1
        if strict:
            assert seen <= found, f"{sorted(seen - found)} vanished"
        seen = found
        readings += 1
        if last:
            return readings, len(seen)


def write_then_stop(path: str, number: int, stop: str, deletes: bool) -> list[str]:
    """Change a plate while others read it, then tell them to stop."""
    _ignore_growing_channels()
    plate = ps.open_ome_zarr(path, mode="r+")
    shared = plate["S/1/0"]
    made = []
    for i in range(12):
        position = plate.create_position(f"R{number}", str(i), "0")
        position.create_image("0", np.full(SHAPE, 3, "uint8"))
        plate.create_positions(
            [("S", "1", f"p{number}x{i}"), ("S", "2", f"p{number}x{i}")], shape=SHAPE, dtype="uint8"
        )
        shared.append_channel(f"c{number}x{i}")
        position.set_scale("0", "x", 0.5)
        plate.zattrs[f"note {number}"] = i
        made += [f"S/1/p{number}x{i}", f"S/2/p{number}x{i}"]
        if deletes and i % 3 == 1:
            plate.rename_well(f"R{number}/{i}", f"N{number}/{i}")
            del plate[f"R{number}/{i - 1}"]
    Path(stop).touch()
    return made


def write_for_long(path: str, number: int, stop: str, seconds: float) -> list[str]:
    """Change a plate in every way that adds to it, for some time, then tell the readers to stop."""
    _ignore_growing_channels()
    plate = ps.open_ome_zarr(path, mode="r+", lock_timeout=60)
    shared = plate["S/1/0"]
    made: list[str] = []
    deadline = time.monotonic() + seconds
    for i in itertools.count():
        name = f"p{number}x{i}"
        position = plate.create_position(f"R{number}", str(i % 6), name)
        position.create_image("0", np.full((1, 1, 2, 16, 16), 3, "uint16"), chunks=(1, 1, 1, 8, 8))
        position.compute_pyramid(2)
        plate.create_positions([("S", str(2 + i % 3), name)], shape=SHAPE, dtype="uint8")
        if i % 8 == 0 and i < 64:
            shared.append_channel(f"c{number}x{i}")
        position.set_scale("*", "x", 0.5)
        position["0"][0, 0, 0] = 3
        plate.zattrs[f"note {number}"] = i
        made += [f"R{number}/{i % 6}/{name}", f"S/{2 + i % 3}/{name}"]
        if time.monotonic() > deadline:
            break
        time.sleep(0.2)  # so that looking at everything does not take for ever
    Path(stop).touch()
    return made


def look_again(path: str, stop: str) -> tuple[int, int]:
    """Read everything every 5 ms: each time it is whole, and nothing has gone.

    Reader processes also judge the documents as they lie on disk, without this library.
    """
    from fault_checker import problems, read_documents

    readings, seen = 0, set[str]()
    while True:
        last = os.path.exists(stop)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = set()
            for name, position in ps.open_ome_zarr(path, mode="r").positions():
                found.add(name)
                for _, image in position.images():
                    assert set(np.unique(image.numpy())) <= {0, 1, 3}, "pixels that nobody wrote"
        assert seen <= found, f"{sorted(seen - found)} vanished"
        if readings % 20 == 0:
            # They change while they are read one after the other, so only broken ones are flaws.
            flaws = [text for text in problems(read_documents(path)) if "broken" in text]
            assert not flaws, flaws
        seen = found
        readings += 1
        if last:
            return readings, len(seen)
        time.sleep(0.005)


def look_or_write(role: str, *arguments: Any) -> Any:
    """One function for readers and writers, which start together."""
    return look_again(*arguments) if role == "read" else write_for_long(*arguments)


def poll_or_write(role: str, *arguments: Any) -> Any:
    """One function for readers and writers, which start together."""
    return poll(*arguments) if role == "read" else write_then_stop(*arguments)


def watch_or_replace(role: str, path: str, stop: str, version: str) -> int:
    """Open a store again and again, or replace it again and again by one with other channels."""
    turns = 0
    if role == "replace":
        for turns in range(40):
            names = [f"new {turns}", "more"] if turns % 2 else [f"new {turns}"]
            ps.open_ome_zarr(path, layout="hcs", mode="w", channel_names=names, version=version)
        Path(stop).touch()
        return turns
    last = -1
    while True:
        over = os.path.exists(stop)
        names = ps.open_ome_zarr(path, mode="r").channel_names
        turn = int(names[0].removeprefix("new "))
        assert turn >= last, "an old store came back"
        assert names[1:] == ["more"][: turn % 2], "half of one store and half of another"
        last = turn
        turns += 1
        if over:
            return turns


def fork_while_locked(path: str) -> tuple[str, bool]:
    """Fork while this process holds the plate's lock: what the child meets, and whether our lock survived."""
    plate = ps.open_ome_zarr(path, mode="r+")
    storage = plate.__editor__().location.storage
    ours, theirs = os.pipe()
    with storage.lock(""):
        child = os.fork()
        if child == 0:
            try:
                ps.open_ome_zarr(path, mode="r+", lock_timeout=0.2).create_position("F", "1", "0")
                answer = "got in"
            except ps.LockTimeoutError:
                answer = "waited"
            except BaseException as error:  # noqa: BLE001
                answer = repr(error)
            os.write(theirs, answer.encode())
            os._exit(0)
        os.close(theirs)
        answer = os.read(ours, 1000).decode()
        os.close(ours)
        os.waitpid(child, 0)
        try:
            ps.open_ome_zarr(path, mode="r+", lock_timeout=0.0).zattrs["note"] = 1
            reentrant = True
        except ps.LockTimeoutError:
            reentrant = False
    return answer, reentrant


def hold_lock_file(path: str, pipe: Any) -> None:
    """Hold the lock file of a store until killed."""
    from platestore.storage import locks

    locks._flock_excludes = lambda directory: False
    plate = ps.open_ome_zarr(path, mode="r+")
    with plate.__editor__().location.storage.lock(""):
        pipe.send("held")
        time.sleep(600)


# --- killed -----------------------------------------------------------------------------------------


def work_until_killed(path: str, number: int, seed: int, pipe: Any) -> None:
    """Change a plate for ever, in wells of one's own, and announce each call when it has returned.

    A call that may take something away from its place is announced before it starts, too.
    """
    _ignore_growing_channels()
    rng = random.Random(seed)
    plate = ps.open_ome_zarr(path, mode="r+")
    shared = plate["S/1/0"]
    row = f"R{number}"
    mine: list[str] = []
    pipe.send(("go",))
    for step in itertools.count(1):
        kind = rng.choice(
            ("well", "well", "field", "batch", "rename", "channel", "attribute", "delete", "redo")
        )
        if kind == "well" or len(mine) < 2:
            plate.create_position(row, str(step), "0").create_image("0", np.full(SHAPE, step, "uint16"))
            mine.append(f"{row}/{step}")
            pipe.send(("made", f"{row}/{step}/0", step))
        elif kind == "field":
            well = rng.choice(mine)
            plate[well].create_position(f"f{step}")["0"] = np.full(SHAPE, step, "uint16")
            pipe.send(("made", f"{well}/f{step}", step))
        elif kind == "batch":
            specs = [(row, f"b{step}", "0"), ("S", "1", f"n{number}b{step}"), ("S", "2", f"n{number}b{step}")]
            plate.create_positions(specs, shape=SHAPE, dtype="uint16")
            for spec in specs:
                pipe.send(("made", "/".join(spec), 0))
        elif kind == "rename":
            old = mine.pop(rng.randrange(len(mine)))
            new = f"{rng.choice((row, f'N{number}'))}/m{step}"
            pipe.send(("renaming", old, new))
            plate.rename_well(old, new)
            mine.append(new)
            pipe.send(("renamed", old, new))
        elif kind == "channel":
            shared.append_channel(f"{number} {step}")
            pipe.send(("channel", f"{number} {step}", None))
        elif kind == "attribute":
            plate.zattrs[f"{number} {step}"] = step
            pipe.send(("attribute", f"{number} {step}", step))
        elif kind == "delete":
            well = mine.pop(rng.randrange(len(mine)))
            pipe.send(("deleting", well, None))
            del plate[well]
            pipe.send(("deleted", well, None))
        else:
            well = rng.choice(mine)
            pipe.send(("redoing", f"{well}/0", step))
            again = ps.open_ome_zarr(Path(path) / well / "0", mode="r+", overwriting_creation=True)
            again.create_image("0", np.full(SHAPE, step, "uint16"))
            pipe.send(("redone", f"{well}/0", step))
        time.sleep(0)
