"""Where and with what the numbers were measured."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from benchmarks.harness import ROOT, BenchmarkError, Settings

PACKAGES = (
    "platestore",
    "zarr",
    "numcodecs",
    "numpy",
    "pydantic",
    "click",
    "tensorstore",
    "dask",
    "xarray",
    "tifffile",
)
PEER_PACKAGES = (
    "iohub",
    "ngff-zarr",
    "ome-zarr",
    "stack-to-chunk",
    "xarray-ome-ngff",
    "itk",
    "itkwasm-downsample",
    "dask-image",
    "zarr",
    "zarrs",
    "zarrista",
    "tensorstore",
    "numcodecs",
    "numpy",
    "scipy",
    "scikit-image",
    "dask",
    "xarray",
    "pydantic",
)


def installed(names: tuple[str, ...]) -> dict[str, str]:
    """Versions of those packages that are installed here."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def peer_packages(python: str) -> dict[str, str]:
    """The same for another interpreter, with its own version as ``"python"``."""
    code = (
        "import json, platform; from benchmarks.machine import PEER_PACKAGES, installed; "
        "print(json.dumps({'python': platform.python_version(), **installed(PEER_PACKAGES)}))"
    )
    try:
        done = subprocess.run([python, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        detail = getattr(error, "stderr", "") or str(error)
        raise BenchmarkError(f"--peer-python {python} does not run: {detail.strip()}") from None
    packages: dict[str, str] = json.loads(done.stdout)
    return packages


def describe(settings: Settings) -> list[tuple[str, str]]:
    """Facts for the head of the report."""
    facts = [
        ("date", datetime.datetime.now(datetime.UTC).date().isoformat()),
        ("platestore", f"{installed(('platestore',)).get('platestore', '?')}{_commit()}"),
        ("machine", f"{_cores()}, {_memory()}, {_cpu()}"),
        ("system", f"{platform.system()} {platform.release()}, {_file_system(settings.directory)}"),
        ("Python", f"{platform.python_version()}; {_listed(installed(PACKAGES[1:]))}"),
    ]
    for number, packages in enumerate(settings.peers.values(), 1):
        others = {k: v for k, v in packages.items() if k != "python"}
        which = "" if number == 1 else f", {number}"
        facts.append((f"peers' Python{which}", f"{packages['python']}; {_listed(others)}"))
    facts.append(("rounds", f"{settings.repeat} (peers {settings.peer_repeat}), interleaved"))
    return facts


def load() -> str:
    """The load of the machine, which should be near that of one measured program."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def _listed(packages: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in packages.items())


def _commit() -> str:
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty=+changes", "--exclude=*"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f" ({done.stdout.strip()})"


def _cores() -> str:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0
    return f"{count} cores"


def _memory() -> str:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return "memory unknown"
    return f"{total / 2**30:.0f} GiB"


def _cpu() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _file_system(directory: str | None) -> str:
    """Kind of the file system that the stores are written to."""
    if sys.platform != "linux":
        return "file system unknown"
    here = os.path.realpath(directory or tempfile.gettempdir())
    best, kind = "", "file system unknown"
    for line in Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines():
        _, mount, name, *_ = line.split(" ")
        inside = here == mount or here.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, name
    return kind
