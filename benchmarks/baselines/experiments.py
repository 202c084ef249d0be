"""The experiments: what is done, and what is counted afterwards."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.baselines import judge

_WORK = Path(__file__).with_name("work.py")
_SEED = 20261121


@dataclass(frozen=True)
class Bench:
    """One library under one interpreter, and room for its stores."""

    library: str
    python: str
    room: Path
    kills: int

    def place(self, name: str) -> Path:
        """A new empty directory."""
        path = self.room / self.library / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def start(
        self, step: str, /, *, hold: bool = False, die: bool = False, **arguments: Any
    ) -> subprocess.Popen[str]:
        """Begin a step in a process of its own.

        Parameters
        ----------
        step : str
            Its name.
        hold : bool
            Whether it waits for a line before the work begins.
        die : bool
            Whether the process kills itself when the work is done, before anything is closed.
        **arguments
            What the step is given.
        """
        environment = {**os.environ, **({"BASELINES_WAIT": "1"} if hold else {})}
        environment |= {"BASELINES_DIE": "1"} if die else {}
        return subprocess.Popen(
            [self.python, str(_WORK), self.library, step, json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def run(self, step: str, /, **arguments: Any) -> Any:
        """Do a step; its result."""
        out, err = self.start(step, **arguments).communicate(timeout=600)
        for line in reversed(out.splitlines()):
            if line.startswith("{"):
                return json.loads(line)["result"]
        raise RuntimeError(f"{self.library} {step}: {err[-500:]}")

    def side_by_side(self, step: str, each: list[dict[str, Any]]) -> list[int]:
        """Do a step in several processes that begin together; their exit codes."""
        running = [self.start(step, hold=True, **arguments) for arguments in each]
        for process in running:
            _await_go(process)
        for process in running:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        return [
            process.wait(timeout=600) for process in running if process.communicate(timeout=600) is not None
        ]

    def kill_somewhere(self, step: str, chance: random.Random, seconds: float, /, **arguments: Any) -> bool:
        """Do a step and kill it at a random moment; whether it was still running."""
        process = self.start(step, **arguments)
        _await_go(process)
        time.sleep(chance.random() * seconds)
        running = process.poll() is None
        process.kill()
        process.communicate(timeout=60)
        return running

    def seconds_of(self, step: str, /, **arguments: Any) -> float:
        """How long a step takes from the moment its work begins."""
        process = self.start(step, **arguments)
        _await_go(process)
        begin = time.perf_counter()
        process.communicate(timeout=600)
        return time.perf_counter() - begin


def _await_go(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "go":
            return
    raise RuntimeError(process.communicate()[1][-500:])


# --- plates ---------------------------------------------------------------------------------------


def adding(bench: Bench) -> str:
    """8 processes x 4 create_position on one plate."""
    path = bench.place("adding") / "p.zarr"
    bench.run("make_plate", path=str(path), wells=["A/1"])
    each = [{"path": str(path), "row": row, "count": 4} for row in "BCDEFGHI"]
    codes = bench.side_by_side("add_positions", each)
    reported = 1 + sum(4 for code in codes if code == 0)
    made, listed = len(judge.on_disk(path)), len(judge.listed(path))
    return f"{listed} of {reported} wells that calls had reported are listed ({made} on disk)"


def killed_creation(bench: Bench) -> str:
    """kill -9 at random moments of create_positions (84 wells)."""
    chance = random.Random(_SEED)
    top = bench.place("killed")
    template = top / "template.zarr"
    bench.run("make_plate", path=str(template), wells=["A/1"])
    shutil.copytree(template, top / "timed.zarr")
    seconds = bench.seconds_of("create_batch", path=str(top / "timed.zarr"), count=84)
    counts = dict.fromkeys(
        ["killed", "unopened", "old lost", "dangling", "wells", "images", "torn", "temporary"], 0
    )
    for number in range(bench.kills):
        path = top / f"{number}.zarr"
        shutil.copytree(template, path)
        counts["killed"] += bench.kill_somewhere("create_batch", chance, seconds, path=str(path), count=84)
        wells, images = judge.dangling(path)
        counts["dangling"] += bool(wells or images)
        counts["wells"] += wells
        counts["images"] += images
        counts["torn"] += judge.torn(path)
        counts["temporary"] += judge.leftovers(path)
        try:
            found = bench.run("open_plate", path=str(path))
        except RuntimeError:
            counts["unopened"] += 1
        else:
            counts["old lost"] += found.get("A/1/0") != 1
        shutil.rmtree(path)
    return (
        f"{counts['killed']} of {bench.kills} were still running; "
        f"plates that cannot be read: {counts['unopened']}; old data lost: {counts['old lost']}; "
        f"plates with dangling references: {counts['dangling']} ({counts['wells']} wells, "
        f"{counts['images']} images); torn documents, in groups that nothing lists: {counts['torn']}; "
        f"temporary files left: {counts['temporary']}"
    )


def renaming(bench: Bench) -> str:
    """rename_well("A/1", "B/1") where there is A/2."""
    path = bench.place("renaming") / "p.zarr"
    bench.run("make_plate", path=str(path), wells=["A/1", "A/2"])
    found = bench.run("rename_well", path=str(path))
    where = ", ".join(w for w in ("A/1", "A/2", "B/1", "B/2") if judge.document(path / w))
    says = "both wells are read" if found == {"B/1": 1, "A/2": 2} else f"reading then: {found}"
    return f"{says}; wells on disk: {where}; listed: {', '.join(judge.listed(path))}"


def replacing(bench: Bench) -> str:
    """mode="w" on a directory with the files of others, my.zarr_backup."""
    path = bench.place("replacing") / "my.zarr_backup"
    (path / "2024").mkdir(parents=True)
    for name in ("notes.txt", "2024/raw.czi", "2024/table.csv"):
        (path / name).write_text("precious")
    error = bench.run("replace", path=str(path)).get("error")
    left = sum((path / name).exists() for name in ("notes.txt", "2024/raw.czi", "2024/table.csv"))
    return f"{'refused (' + error + ')' if error else 'no error'}; {left} of 3 files of others are there"


# --- shards ---------------------------------------------------------------------------------------


def one_shard(bench: Bench) -> str:
    """4 processes write disjoint chunks of one shard (64 chunks), five times."""
    lost, failed = 0, 0
    for number in range(5):
        path = bench.place(f"shard{number}") / "i.zarr"
        bench.run("make_shards", path=str(path), side=128, shard=128, chunk=16, checksum=False)
        each = [{"path": str(path), "first": k, "step": 4, "chunk": 16, "value": 0} for k in range(4)]
        failed += sum(code != 0 for code in bench.side_by_side("write_chunks", each))
        found = bench.run("read", path=str(path))
        blank = found.get("values", {"0": 128 * 128}).get("0", 0)
        lost += blank // 256
    return f"{lost} of 320 chunks lost; processes that reported an error: {failed}"


def from_dask(bench: Bench) -> str:
    """A dask array written to shards four times as large as its blocks."""
    wrong, total = 0, 0
    for number in range(5):
        path = bench.place(f"dask{number}") / "i.zarr"
        found = bench.run("dask_write", path=str(path), side=400, shard=200, chunk=50, block=50)
        wrong, total = wrong + found["wrong"], total + found["of"]
    return f"{wrong:,} of {total:,} elements are wrong ({100 * wrong / total:.0f} %), no error"


def killed_writing(bench: Bench) -> str:
    """kill -9 at random moments of writing an image of 16 shards again."""
    chance = random.Random(_SEED)
    top = bench.place("writing")
    template = top / "template.zarr"
    bench.run("make_shards", path=str(template), side=1024, shard=256, chunk=64, checksum=False)
    seconds = bench.seconds_of("write_all", path=str(template), value=1)
    unread = strange = left = killed = 0
    for number in range(bench.kills):
        path = top / f"{number}.zarr"
        shutil.copytree(template, path)
        killed += bench.kill_somewhere("write_all", chance, seconds, path=str(path), value=3)
        found = bench.run("read", path=str(path))
        unread += "error" in found
        strange += bool(set(found.get("values", {})) - {"1", "2", "3", "4"})
        left += judge.leftovers(path)
        shutil.rmtree(path)
    return (
        f"{killed} of {bench.kills} were still running; images that cannot be read: {unread}; "
        f"with values never written: {strange}; temporary files left: {left}"
    )


def _written(bench: Bench, name: str, *, checksum: bool) -> Path:
    path = bench.place(name) / "i.zarr"
    bench.run("make_shards", path=str(path), side=128, shard=64, chunk=32, checksum=checksum)
    bench.run("write_chunks", path=str(path), first=0, step=1, chunk=32, value=7)
    return path


def _said(found: dict[str, Any], expected: int) -> str:
    if "error" in found:
        return f"{found['error']} is raised"
    wrong = expected - found["values"].get("7", 0)
    return (
        f"read without an error, {wrong:,} of {expected:,} values are wrong"
        if wrong
        else "read, all values right"
    )


def empty_shard(bench: Bench) -> str:
    """A shard of 0 bytes, as it may be after a power failure."""
    path = _written(bench, "empty", checksum=False)
    judge.chunks(path)[0].write_bytes(b"")
    return _said(bench.run("read", path=str(path)), 128 * 128)


def flipped_byte(bench: Bench) -> str:
    """One byte of a shard changed, at 40 places (platestore: checksum=True; zarr-python: its defaults)."""
    path = _written(bench, "flipped", checksum=True)
    shard = judge.chunks(path)[0]
    good = shard.read_bytes()
    counts = {"raised": 0, "wrong": 0, "right": 0}
    places = sorted(random.Random(_SEED).sample(range(len(good)), min(40, len(good))))
    for at in places:
        shard.write_bytes(good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :])
        said = _said(bench.run("read", path=str(path)), 128 * 128)
        counts["raised" if "raised" in said else "wrong" if "wrong" in said else "right"] += 1
    return (
        f"of {len(places)} changes {counts['raised']} raise an error, {counts['wrong']} give wrong values "
        f"silently, {counts['right']} change nothing that is read"
    )


def unclosed_zip(bench: Bench) -> str:
    """A zip whose process is killed when all data is written, before it is closed."""
    top = bench.place("zip")
    if bench.library != "platestore":
        path = top / "x.zip"
        bench.start("write_zip", die=True, path=str(path), source="").communicate(timeout=60)
        return f"opening it: {bench.run('open_zip', path=str(path))}"
    source, chance, torn, whole = top / "p.zarr", random.Random(_SEED), 0, 0
    bench.run("make_plate", path=str(source), wells=["A/1", "A/2", "B/1"])
    seconds = bench.seconds_of("write_zip", path=str(top / "timed.ozx"), source=str(source))
    for number in range(bench.kills):
        path = top / f"{number}.ozx"
        bench.kill_somewhere("write_zip", chance, seconds, path=str(path), source=str(source))
        if path.exists():
            found = bench.run("open_zip", path=str(path))
            whole += found.get("positions") == 3
            torn += found.get("positions") != 3
    absent = bench.kills - whole - torn
    return (
        f"killed at {bench.kills} moments of packing: {whole} complete archives, {absent} absent, {torn} torn"
    )


#: Experiment and the library it is repeated with.
EXPERIMENTS: dict[str, tuple[Callable[[Bench], str], str]] = {
    "adding": (adding, "iohub"),
    "killed_creation": (killed_creation, "iohub"),
    "renaming": (renaming, "iohub"),
    "replacing": (replacing, "iohub"),
    "one_shard": (one_shard, "zarr"),
    "from_dask": (from_dask, "zarr"),
    "killed_writing": (killed_writing, "zarr"),
    "unclosed_zip": (unclosed_zip, "zarr"),
    "empty_shard": (empty_shard, "zarr"),
    "flipped_byte": (flipped_byte, "zarr"),
}
