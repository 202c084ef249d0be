"""Copies that are interrupted: small sources, the kinds of copies, ways to stop one, and what is compared."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import platestore as ps
from faults.fault_os import Crash, OsFaults

NAMES = ("A/1/0", "A/1/1", "B/2/0")
DOCUMENTS = ("zarr.json", ".zgroup", ".zattrs", ".zarray", ".zmetadata")
START = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


# --- sources --------------------------------------------------------------------------------------


def make_source(
    path: Path,
    version: str = "0.5",
    names: Sequence[str] = NAMES,
    shape: tuple[int, ...] = (1, 2, 2, 24, 20),
    chunks: tuple[int, ...] = (1, 1, 2, 8, 8),
    levels: int = 1,
    seed: int = 0,
    others: bool = True,
    **layout: Any,
) -> Path:
    """A plate with other noise in every image, some chunks that were never written, and a table of others."""
    plate = ps.open_ome_zarr(
        path, layout="hcs", mode="w-", channel_names=["DAPI", "GFP"][: shape[1]], version=version
    )
    rng = np.random.default_rng(seed)
    for position in plate.create_positions([tuple(name.split("/")) for name in names]):
        data = rng.integers(0, 60000, shape, dtype="uint16")
        data[..., : chunks[-2], : chunks[-1]] = 0
        data[..., chunks[-2] : 2 * chunks[-2], :] //= 20000  # smaller files
        position.create_image("0", data, chunks=chunks, pyramid_levels=levels, **layout)
        position.zattrs["lab"] = {"operator": "Ada"}
    if others:
        table = path / names[0] / "tables"
        table.mkdir()
        (table / "notes.csv").write_text("well,note\nA/1,empty\n")
    return path


def chunk_files(path: Path) -> list[Path]:
    """The chunk and shard files below a directory, sorted."""
    found = [p for p in path.rglob("*") if p.is_file() and p.name not in DOCUMENTS and p.suffix != ".csv"]
    return sorted(found)


def edit_document(path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """Change the attributes of a group behind the library's back."""
    file = path / ("zarr.json" if (path / "zarr.json").exists() else ".zattrs")
    content = json.loads(file.read_text())
    change(content["attributes"] if file.name == "zarr.json" else content)
    file.write_text(json.dumps(content))
    return file


def flip(path: Path, at: int = -1) -> None:
    """Change one byte of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)


# --- kinds of copies ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """One kind of copy.

    Attributes
    ----------
    name : str
        What it is.
    source : str
        Name of its source, as :func:`make_sources` makes them.
    target : str
        Name of the copy.
    options : dict
        Options of the call.
    """

    name: str
    source: str
    target: str = "out.zarr"
    options: dict[str, Any] = field(default_factory=dict)

    def copy(self, sources: Path, directory: Path, **more: Any) -> ps.CopyReport:
        """Make the call."""
        return ps.copy(sources / self.source, directory / self.target, **{**self.options, **more})


#: Every way in which bytes get into a copy.
KINDS = {
    kind.name: kind
    for kind in (
        Kind("plain", "v5.zarr"),
        Kind("plain-v4", "v4.zarr"),
        Kind("convert", "v4.zarr", options={"version": "0.5"}),
        Kind("convert-back", "v5.zarr", options={"version": "0.4"}),
        Kind("rechunk", "v5.zarr", options={"chunks": (1, 1, 1, 8, 8), "shards": "ZYX"}),
        Kind("rechunk-v4", "v4.zarr", options={"chunks": (1, 1, 1, 12, 10)}),
        Kind("crop", "levels.zarr", options={"crop": "1:-1,3:", "channels": ["GFP"]}),
        Kind("whole-chunks", "v5.zarr", options={"crop": "8:,0:8"}),
        Kind("pyramid", "v5.zarr", options={"pyramid": 2}),
        Kind("pack", "v5.zarr", target="out.ozx"),
        Kind("pack-v4", "levels-v4.zarr", target="out.ozx", options={"crop": "1:-1,3:"}),
        Kind("unpack", "packed.ozx"),
        Kind("unpack-rechunk", "packed.ozx", options={"chunks": (1, 1, 1, 8, 8)}),
    )
}


def make_sources(directory: Path, **more: Any) -> Path:
    """The sources of all kinds."""
    make_source(directory / "v5.zarr", "0.5", **more)
    make_source(directory / "v4.zarr", "0.4", **more)
    make_source(directory / "levels.zarr", "0.5", levels=3, **more)
    make_source(directory / "levels-v4.zarr", "0.4", levels=2, **more)
    ps.copy(directory / "v5.zarr", directory / "packed.ozx")
    return directory


# --- stopping one ---------------------------------------------------------------------------------


def stop_copy(
    source: Path | Sequence[Path], target: Path, *, part: float = 0.6, workers: int = 1, **options: Any
) -> Path:
    """Begin a copy, and die after a part of its work; returns the directory in which it grew.

    Parameters
    ----------
    source, target
        As for ``platestore.copy``.
    part : float
        How much of it is done, from 0 to 1.
    """
    rehearsal = target.parent / f"rehearsal-{target.name}"
    rehearsal.mkdir()
    with OsFaults(rehearsal) as faults:
        ps.copy(source, rehearsal / target.name, workers=workers, **options)
    for path in sorted(rehearsal.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    rehearsal.rmdir()
    last = next(k for k, (_, path) in enumerate(faults.log) if path == target.name)
    first = 1 + next(k for k, (_, path) in enumerate(faults.log) if path.endswith("/journal.json"))
    crashed = False
    try:
        with OsFaults(target.parent, int(first + part * (last - first))):
            ps.copy(source, target, workers=workers, **options)
    except Crash:
        crashed = True
    work = target.with_name(target.name + ".copying")
    assert crashed
    assert work.is_dir()
    assert not os.path.lexists(target)
    return work


def _preloaded() -> Any:
    context = multiprocessing.get_context(START)
    if START == "forkserver":
        context.set_forkserver_preload(["copying.copy_cases", "platestore.copying.api", "zarr"])
    return context


def _child(
    arguments: tuple[Any, Any, dict[str, Any]], kill_at: tuple[str, str] | None, quiet: bool, pipe: Any
) -> None:
    """Copy in another process; killed by itself where it meets an audit event, if one is given."""
    import platestore.copying.api
    import platestore.pyramid.levels  # noqa: F401

    if kill_at is not None:
        sys.addaudithook(_Killer(*kill_at))
    source, target, options = arguments
    pipe.send("go")
    start = time.perf_counter()
    try:
        ps.copy(source, target, **options)
    except ps.PlatestoreError as error:
        if not quiet:
            raise
        pipe.send(f"{type(error).__name__}: {error}")
        sys.exit(1)
    pipe.send(time.perf_counter() - start)


class _Killer:
    """Kills its own process at an event whose arguments end with a text."""

    def __init__(self, event: str, suffix: str) -> None:
        self._event, self._suffix = event, suffix

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == self._event and any(str(a).endswith(self._suffix) for a in arguments):
            os.kill(os.getpid(), signal.SIGKILL)


class Process:
    """A copy in another process, which runs from the moment this exists.

    Parameters
    ----------
    source, target, options
        As for ``platestore.copy``.
    kill_at : tuple of str, optional
        Audit event, and the end of one of its arguments, at which it is killed.
    quiet : bool
        Whether an error is told by :meth:`outcome`, and not raised.
    """

    def __init__(
        self,
        source: Any,
        target: Path,
        kill_at: tuple[str, str] | None = None,
        *,
        quiet: bool = False,
        **options: Any,
    ) -> None:
        context = _preloaded()
        self._ours, theirs = context.Pipe(duplex=False)
        arguments = ((source, target, options), kill_at, quiet, theirs)
        self._process = context.Process(target=_child, args=arguments)
        self._process.start()
        theirs.close()
        assert self._ours.poll(120), "the process did not start"
        assert self._ours.recv() == "go"

    def kill(self, after: float, begun: Path | None = None) -> None:
        """Kill it after some seconds, counted from the moment at which there is a file or directory."""
        while begun is not None and not begun.exists() and self._process.is_alive():
            time.sleep(0.0005)
        time.sleep(after)
        self._process.kill()
        self.join()

    def join(self) -> int:
        """Wait until it ends; returns its exit code."""
        self._process.join(240)
        code = self._process.exitcode
        assert code is not None, "the process hangs"
        self._ours.close()
        return code

    def outcome(self) -> str:
        """Wait until it ends; returns its error, or nothing."""
        assert self._ours.poll(240), "the process hangs"
        found = self._ours.recv()
        assert self.join() == int(isinstance(found, str))
        return found if isinstance(found, str) else ""

    def finish(self) -> float:
        """Wait until it is done; returns the seconds that the copy took."""
        assert self._ours.poll(240), "the process hangs"
        seconds = float(self._ours.recv())
        assert self.join() == 0
        return seconds
