"""What a process asks of the system, as ``strace`` sees it: also what is done in other languages.

Run as a program, it makes the calls of :data:`CALLS` one after the other, each between two marks.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import platestore as ps

_SHAPE = (3, 1, 4, 64, 64)
_TRACED = (
    "open,openat,creat,write,pwrite64,writev,pwritev,pwritev2,copy_file_range,ftruncate,fsync,fdatasync,"
    "rename,renameat,renameat2,mkdir,mkdirat,unlink,unlinkat,rmdir,link,linkat"
)
_LINE = re.compile(r"(?P<pid>\d+) +(?P<rest>.*)")
_CALL = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)")
_PATH = re.compile(r'(?:(?P<at>\w+)<(?P<directory>[^>]*)>, )?"(?P<path>(?:[^"\\]|\\.)*)"')
_OPEN = re.compile(r"^\d+<(?P<path>[^>]*)>")


def _position(root: Path, number: str) -> ps.Position:
    return ps.open_ome_zarr(root / "p.zarr/A/1" / number, mode="r+", durability="full")


def _pixels(shape: tuple[int, ...] = _SHAPE) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 999, shape, dtype="uint16")


def _plate(root: Path) -> None:
    plate = ps.open_ome_zarr(
        root / "p.zarr", layout="hcs", mode="w-", channel_names=["a"], version="0.5", durability="full"
    )
    plate.create_positions([("A", "1", "0"), ("A", "1", "1"), ("B", "2", "0")])


def _zeros(root: Path) -> None:
    _position(root, "0").create_zeros("0", _SHAPE, "uint16", chunks=(1, 1, 1, 32, 32), shards="ZYX")
    _position(root, "1").create_zeros("0", _SHAPE, "uint16", chunks=(1, 1, 1, 32, 32))


@functools.cache
def _image(root: Path, number: str) -> Any:
    """One handle for all writes: what it flushed once must be flushed again when it changes."""
    return _position(root, number)["0"]


def _assign(number: str, place: Any) -> Callable[[Path], None]:
    return lambda root: _image(root, number).__setitem__(place, 5)


def _whole(root: Path) -> None:
    _image(root, "0")[...] = _pixels()


def _append(root: Path) -> None:
    _image(root, "1").append(_pixels((1, *_SHAPE[1:])))


def _levels(root: Path) -> None:
    _position(root, "0").compute_pyramid(3, workers=1)


def _created(root: Path) -> None:
    _position(root, "1").create_image("raw", _pixels(), chunks=(1, 1, 4, 32, 32))


def _label(root: Path) -> None:
    _position(root, "0").create_label("cells", _pixels((1, 1, 4, 64, 64)) % 5)


def _copied(name: str, **options: Any) -> Callable[[Path], object]:
    return lambda root: ps.copy(root / "p.zarr", root / name, durability="full", workers=1, **options)


CALLS: dict[str, Callable[[Path], object]] = {
    "create a plate": _plate,
    "create arrays": _zeros,
    "write a part of a shard": _assign("0", np.s_[0, 0, 0, :9]),
    "write another part of it": _assign("0", np.s_[0, 0, 1, 40:]),
    "write a shard in a new directory": _assign("0", np.s_[1]),
    "write a chunk": _assign("1", np.s_[0, 0, 0, :32, :32]),
    "write a chunk beside it": _assign("1", np.s_[0, 0, 0, :32, 32:]),
    "write a chunk in a new directory": _assign("1", np.s_[0, 0, 1, :32, :32]),
    "write a chunk in new directories": _assign("1", np.s_[2, 0, 1, :32, :32]),
    "write all": _whole,
    "append": _append,
    "compute_pyramid": _levels,
    "create_image": _created,
    "create_label": _label,
    "copy": _copied("plain.zarr"),
    "copy into other chunks": _copied("chunks.zarr", chunks=(1, 1, 2, 32, 32)),
    "pack": _copied("p.ozx"),
}
Event = tuple[str, str, str | None]


def cannot_trace() -> str | None:
    """Why calls of the system cannot be seen here, if they cannot."""
    if sys.platform != "linux" or shutil.which("strace") is None:
        return "there is no strace"
    done = subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], capture_output=True, check=False)
    return "processes may not be traced here" if done.returncode else None


def traced(root: Path, log: Path) -> dict[str, list[Event]]:
    """Make all calls in a process that is traced: what each of them did below a directory, in order."""
    command = ["strace", "-f", "-y", "-qq", "-s", "4096", "-o", str(log), "-e", f"trace={_TRACED}"]
    done = subprocess.run(
        [*command, sys.executable, __file__, str(root)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, list[Event]] = {}
    names, now = list(CALLS), None
    for event in _events(log, os.path.realpath(root)):
        mark = re.fullmatch(r"(begin|end)-(\d+)", event[1])
        if mark is None:
            if now is not None:
                found[now].append(event)
        elif mark[1] == "begin":
            now = names[int(mark[2])]
            found[now] = []
        else:
            now = None
    return found


def _events(log: Path, root: str) -> Iterator[Event]:
    """Changes below a directory, as ``OsFaults`` names them."""
    known: set[str] = set()
    for name, arguments, result in _calls(log):
        paths = [_joined(match) for match in _PATH.finditer(arguments)]
        inner = [os.path.relpath(path, root) for path in paths]
        opened = _OPEN.match(arguments)
        if opened is not None and name not in ("openat", "mkdirat", "unlinkat", "renameat", "renameat2"):
            inner = [os.path.relpath(opened["path"].removesuffix(" (deleted)"), root)]
            if name == "copy_file_range":
                target = re.findall(r"\d+<([^>]*)>", arguments)[1]
                inner = [os.path.relpath(target, root)]
        if result < 0 or not inner or inner[0].startswith(".."):
            continue
        path = inner[0]
        if name in ("open", "openat", "creat"):
            if "O_CREAT" in arguments and path not in known:
                known.add(path)
                yield "create", path, None
            elif "O_TRUNC" in arguments:
                yield "write", path, None
        elif name in ("fsync", "fdatasync"):
            yield "fsync", path, None
        elif name.startswith(("write", "pwrite", "copy_file", "ftruncate")):
            yield "write", path, None
        elif name.startswith("mkdir"):
            yield "mkdir", path, None
        elif name.startswith(("unlink", "rmdir")):
            known.discard(path)
            yield "unlink", path, None
        elif name.startswith("rename"):
            known = {inner[1] if p == path else p for p in known}
            yield "exchange" if "EXCHANGE" in arguments else "rename", inner[1], path
        else:
            yield "link", inner[1], path


def _joined(match: re.Match[str]) -> str:
    path = match["path"].encode().decode("unicode_escape")
    return os.path.join(match["directory"] or "/", path)


def _calls(log: Path) -> Iterator[tuple[str, str, int]]:
    """All calls, in the order in which they returned."""
    begun: dict[str, str] = {}
    for line in log.read_text(errors="replace").splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        pid, rest = found["pid"], found["rest"]
        if rest.endswith("<unfinished ...>"):
            begun[pid] = rest.removesuffix("<unfinished ...>").rstrip()
            continue
        if rest.startswith("<..."):
            rest = begun.pop(pid, "") + rest.partition("resumed>")[2]
        call = _CALL.match(rest)
        if call is not None:
            yield call["name"], call["arguments"], int(call["result"])


def main(root: Path) -> None:
    """Make all calls."""
    warnings.simplefilter("ignore")
    for number, call in enumerate(CALLS.values()):
        os.mkdir(root / f"begin-{number}")
        call(root)
        os.mkdir(root / f"end-{number}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
