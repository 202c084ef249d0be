"""A process that reads broken documents under limits of memory and time, and tells what surprised it.

Run with a file of jobs, a JSON list of objects with ``kind`` and what that kind needs, and an empty folder.
The last line it prints is a JSON object with what came of them.
"""

from __future__ import annotations

import itertools
import json
import random
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

import mutation_documents as documents
import numpy as np

import platestore as ps
from platestore.checking.rules.judge import judge
from platestore.summary import describe

MIB = 2**20
#: What one attempt may take: seconds of CPU (the promise is 1, but machines differ), and MiB of memory.
SECONDS, GROWTH = 5.0, 200
#: Beyond this it is stopped instead of measured; the address space of threads is in it.
HARD_SECONDS, HARD_GROWTH = 60, 3 * 1024


class TooLong(BaseException):
    """Raised by the timer, past all that catches exceptions."""


def _stop(signum, frame):
    raise TooLong


def address_space() -> int:
    """Bytes of address space of this process."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def resident(field: str = "VmRSS") -> int:
    """Bytes of memory of this process, or the most it ever had (``VmHWM``)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(field)


def forget_peak() -> None:
    """Let the peak of memory begin anew."""
    Path("/proc/self/clear_refs").write_text("5")


class Store:
    """A store of one version with arrays below its root, whose document is replaced again and again."""

    def __init__(self, folder: Path, version: str) -> None:
        self.root = folder / f"mutant{version}.zarr"
        with ps.open_ome_zarr(
            self.root, layout="hcs", mode="w-", channel_names=["a"], version=version
        ) as plate:
            position = plate.create_position("A", "1", "0")
            position.create_image("0", np.zeros((1, 1, 1, 4, 4), "uint8"))
        shutil.copytree(self.root / "A" / "1" / "0" / "0", self.root / "0")
        self._version = version
        self._undo: tuple[Path, bytes] | None = None

    def put(self, attributes: bytes, place: str = "") -> None:
        """Make bytes the attributes of one group; all others are as they should be."""
        if self._undo is not None:
            replace(*self._undo)
        document = self.root / place / (".zattrs" if self._version == "0.4" else "zarr.json")
        self._undo = document, document.read_bytes()
        if self._version == "0.5":
            attributes = b'{"zarr_format":3,"node_type":"group","attributes":' + attributes + b"}"
        replace(document, attributes)


def replace(path: Path, data: bytes) -> None:
    """Write a new file in place of another; a file that is cut off and written again waits for the disk."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)


class Worker:
    """Counts what became of the documents."""

    def __init__(self, folder: Path) -> None:
        self.stores = {version: Store(folder, version) for version in ("0.4", "0.5")}
        self.bare = folder / "bare.json"
        self.tried = self.refused = self.invalid = self.valid = 0
        self.longest = self.growth = 0.0
        self.seconds, self.mib = SECONDS, GROWTH
        self.surprises: list[dict] = []

    def attempt(self, name: str, work, *args) -> object:
        """Do one thing; anything but a result or an error of platestore is a surprise."""
        forget_peak()
        before, start = resident(), time.process_time()
        signal.setitimer(signal.ITIMER_PROF, HARD_SECONDS)
        try:
            return work(*args)
        except ps.PlatestoreError as error:
            self.refused += 1
            str(error)
        except (Exception, TooLong) as error:  # noqa: BLE001 - this is what is looked for
            trace = "".join(traceback.format_exception(error)[-3:])[-1500:]
            self.surprises.append({"name": name, "error": type(error).__name__, "trace": trace})
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            took, grown = time.process_time() - start, (resident("VmHWM") - before) / MIB
            self.longest, self.growth = max(self.longest, took), max(self.growth, grown)
            if took > self.seconds or grown > self.mib:
                self.surprises.append(
                    {"name": name, "error": f"took {took:.1f} s of CPU and {grown:.0f} MiB"}
                )
        return None

    def document(self, name: str, data: bytes, place: str = "", *, walk: bool = True) -> None:
        """Judge attributes as text, and open, describe and validate stores that have them at a place.

        Without ``walk``, what the document lists is not looked for.
        """
        self.tried += 1
        replace(self.bare, data)
        try:
            value = json.loads(data.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            value = None
        for zarr_format in (None, 2, 3):
            judgement = self.attempt(f"judge {name}", judge_fully, value, zarr_format)
            if judgement is not None:
                self.valid += judgement.valid
                self.invalid += not judgement.valid
        self.attempt(f"validate {name}", validate_fully, str(self.bare))
        for version, store in self.stores.items():
            store.put(data, place)
            if not walk:
                self.attempt(f"open {version} {name}", open_only, str(store.root))
                continue
            self.attempt(f"open {version} {name}", open_fully, str(store.root))
            self.attempt(f"info {version} {name}", describe, str(store.root))
            self.attempt(f"validate {version} {name}", validate_fully, str(store.root))


def judge_fully(value, zarr_format):
    """Judge, and show everything that was found."""
    for strict in (True, False):
        judgement = judge(value, zarr_format=zarr_format, strict=strict)
    for finding in judgement.findings:
        json.dumps(finding.to_json()).encode()
    assert judgement.findings or judgement.valid
    return judgement


def validate_fully(path):
    """Validate, and show everything that was found."""
    report = ps.validate(path)
    return json.dumps(report.to_json()).encode()


def open_only(path):
    """Open a node."""
    repr(ps.open_ome_zarr(path, mode="r"))


def open_fully(path):
    """Open a node, and ask it what people ask."""
    node = ps.open_ome_zarr(path, mode="r")
    repr(node)
    if hasattr(node, "positions"):
        for _, position in itertools.islice(node.positions(), 3):
            repr(position)
    for name in itertools.islice(node, 3):
        repr(node[name])


def run_mutants(worker: Worker, job: dict) -> None:
    """Mutants of the official documents, each by its own number."""
    originals = documents.official(Path(job["shared"]))
    for number in range(job["start"], job["stop"]):
        name, data = originals[number % len(originals)]
        dice = random.Random(f"{job['seed']} {number}")
        if dice.random() < 0.5:
            data = data.replace(b"0.6rc0", b"0.5")
        place = dice.choice(("", "", "", "A/1", "A/1/0"))
        worker.document(f"{number} of {name}, at {place!r}", documents.mutant(data, dice), place)


def run_file(worker: Worker, job: dict) -> None:
    """One document that is large or deep."""
    worker.document(job["name"], Path(job["file"]).read_bytes(), walk=False)


def run_read(worker: Worker, job: dict) -> None:
    """Open a store with a strange array, and read a corner of it."""

    def read(path):
        node = ps.open_ome_zarr(path, mode="r")
        image = node["0"]
        repr(image)
        return np.asarray(image[0, 0, 0, :2, :2]).sum()

    worker.tried += 1
    worker.attempt(f"read {job['name']}", read, job["path"])
    worker.attempt(f"info {job['name']}", describe, job["path"])
    worker.attempt(f"validate {job['name']}", validate_fully, job["path"])


def run_open(worker: Worker, job: dict) -> None:
    """Open a store of which nothing is known."""
    worker.tried += 1
    worker.attempt(f"open {job['name']}", open_fully, job["path"])
    worker.attempt(f"info {job['name']}", describe, job["path"])
    worker.attempt(f"validate {job['name']}", validate_fully, job["path"])


RUNS = {"mutants": run_mutants, "file": run_file, "read": run_read, "open": run_open}


def main(arguments: list[str]) -> None:
    """Do the jobs of a file in a folder."""
    jobs, folder = json.loads(Path(arguments[0]).read_text()), Path(arguments[1])
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGPROF, _stop)
    worker = Worker(folder)
    worker.document("warm-up", b"{}")
    warm(folder)
    limit = address_space() + HARD_GROWTH * MIB
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    worker.tried = worker.refused = worker.valid = worker.invalid = 0
    worker.longest = worker.growth = 0.0
    before = resident()
    for job in jobs:
        print(job.get("name", job["kind"]), file=sys.stderr, flush=True)  # the last one, if this process dies
        worker.seconds, worker.mib = job.get("seconds", SECONDS), job.get("mib", GROWTH)
        RUNS[job["kind"]](worker, job)
    figures = {key: getattr(worker, key) for key in ("tried", "refused", "valid", "invalid", "surprises")}
    figures.update(longest=round(worker.longest, 3), growth=round(worker.growth))
    figures.update(kept=round((resident() - before) / MIB))
    print(json.dumps(figures))


def warm(folder: Path) -> None:
    """Read an image once, so that what is imported and started for that is not counted."""
    path = folder / "warm.zarr"
    with ps.open_ome_zarr(path, layout="fov", mode="w-", channel_names=["a"], version="0.5") as position:
        position.create_image("0", np.zeros((1, 1, 1, 4, 4), "uint8"))
    np.asarray(ps.open_ome_zarr(path)["0"][:])


if __name__ == "__main__":
    main(sys.argv[1:])
