"""What copies cost: files that are opened, directories that are listed, and memory, measured."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import platestore as ps
from copying.copy_cases import DOCUMENTS, chunk_files, make_source
from nodes.store_helpers import snapshot

MIB = 2**20


# --- operations -----------------------------------------------------------------------------------


class Operations:
    """Files that are opened and directories that are listed below one directory, by anything in Python."""

    def __init__(self, root: Path) -> None:
        self.root = os.path.realpath(root)
        self.opened: Counter[str] = Counter()
        self.written: Counter[str] = Counter()
        self.listed: Counter[str] = Counter()

    @property
    def documents(self) -> dict[str, int]:
        """How often each document was opened."""
        return {k: n for k, n in self.opened.items() if os.path.basename(k) in DOCUMENTS}

    @property
    def others(self) -> dict[str, int]:
        """How often each other file was opened: chunks, and files of others."""
        return {k: n for k, n in self.opened.items() if os.path.basename(k) not in DOCUMENTS}


_counting: list[Operations] = []
_hooked: list[bool] = []


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    if not _counting or event not in ("open", "os.scandir", "os.listdir"):
        return
    path = arguments[0]
    if not isinstance(path, (str, bytes)):
        return
    for each in _counting:
        inner = os.path.relpath(os.fsdecode(path), each.root)
        if inner.startswith(".."):
            continue
        if event != "open":
            each.listed[inner] += 1
        elif isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            each.written[inner] += 1
        elif not os.path.isdir(path):  # a directory that is locked
            each.opened[inner] += 1


@contextlib.contextmanager
def counted(*roots: Path) -> Iterator[list[Operations]]:
    """Count below some directories."""
    if not _hooked:
        sys.addaudithook(_on_event)  # it cannot be taken away, but does nothing when nobody counts
        _hooked.append(True)
    found = [Operations(root) for root in roots]
    _counting.extend(found)
    try:
        yield found
    finally:
        for each in found:
            _counting.remove(each)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small plates; a first copy, so that modules are loaded."""
    directory = tmp_path_factory.mktemp("sources")
    for name, version in (("v5", "0.5"), ("v4", "0.4")):
        make_source(directory / f"{name}.zarr", version)
        ps.copy(directory / f"{name}.zarr", directory / f"{name}.ozx")
    shutil.rmtree(_copied(directory / "v5.zarr", directory))
    return directory


def _copied(source: Path, directory: Path, name: str = "out.zarr", **options: Any) -> Path:
    ps.copy(source, directory / name, **options)
    return directory / name


def _files(source: Path, *, documents: bool) -> list[str]:
    files = [p for p in source.rglob("*") if p.is_file() and (p.name in DOCUMENTS) == documents]
    return [str(p.relative_to(source)) for p in files]


def _directories(source: Path) -> list[str]:
    return [".", *(str(p.relative_to(source)) for p in source.rglob("*") if p.is_dir())]


@pytest.mark.parametrize("name", ["v5", "v4"])
@pytest.mark.parametrize(
    "options", [{}, {"version": "other"}, {"channels": ["GFP"]}, {"wells": "A/*"}], ids=str
)
def test_files_that_are_copied_as_they_are_are_opened_once(sources, tmp_path, name, options):
    source = sources / f"{name}.zarr"
    if options.get("version"):
        options = {"version": "0.4" if name == "v5" else "0.5"}
    with counted(source, tmp_path) as (read, made):
        _copied(source, tmp_path, **options)
    wanted = _files(source, documents=False)
    if options.get("wells"):
        wanted = [key for key in wanted if key.startswith("A/")]
    if options.get("channels"):
        wanted = [key for key in wanted if _channel(key, name) in (1, None)]
    assert read.others == dict.fromkeys(wanted, 1)
    assert not read.written
    # Each file of the copy is made once, too.
    new = {key: n for key, n in made.written.items() if "/data/" in key}
    assert set(new.values()) == {1}
    assert len(new) == len([p for p in (tmp_path / "out.zarr").rglob("*") if p.is_file()])


def _channel(key: str, name: str) -> int | None:
    """The channel of a chunk; None for other files."""
    parts = key.split("/")
    return int(parts[-4]) if len(parts) == (9 if name == "v4" else 10) else None


def test_documents_of_a_plain_copy(sources, tmp_path):
    """Each is read to know what it is, and copied; the root and the wells are opened as nodes before."""
    source = sources / "v5.zarr"
    with counted(source) as (read,):
        _copied(source, tmp_path)
    nodes = {"zarr.json", "A/1/zarr.json", "B/2/zarr.json"}
    there = {key: n for key, n in read.documents.items() if (source / key).exists()}
    assert there == {key: 3 if key in nodes else 2 for key in _files(source, documents=True)}
    # What is asked for and is not there: documents of the other version at the root.
    assert read.documents.keys() - there.keys() == {".zattrs", ".zgroup", ".zmetadata"}
    with counted(sources / "v4.zarr") as (read,):
        _copied(sources / "v4.zarr", tmp_path, "v4.zarr")
    expected = dict.fromkeys(_files(sources / "v4.zarr", documents=True), 1)
    expected |= dict.fromkeys([".zattrs", "A/1/.zattrs", "B/2/.zattrs"], 2)
    expected |= {key: 2 for key in expected if key.endswith(".zarray")}
    assert {key: n for key, n in read.documents.items() if (sources / "v4.zarr" / key).exists()} == expected


def test_documents_of_a_copy_of_another_version_are_opened_once(sources, tmp_path):
    for name, version in (("v4", "0.5"), ("v5", "0.4")):
        source = sources / f"{name}.zarr"
        with counted(source) as (read,):
            _copied(source, tmp_path, f"{name}.zarr", version=version)
        there = {key: n for key, n in read.documents.items() if (source / key).exists()}
        most = 1 if name == "v4" else 2  # the array's document holds its attributes, too, in zarr v3
        assert max(there.values()) <= most
        assert {key for key, n in there.items() if n > 1} <= {
            f"{p}/0/zarr.json" for p in ("A/1/0", "A/1/1", "B/2/0")
        }


@pytest.mark.parametrize("name", ["v5", "v4"])
@pytest.mark.parametrize("options", [{}, {"version": "other"}, {"wells": "A/*"}], ids=str)
def test_directories_are_listed_once(sources, tmp_path, name, options):
    """But for the root, which is also looked at for the space that is needed."""
    source = sources / f"{name}.zarr"
    if options.get("version"):
        options = {"version": "0.4" if name == "v5" else "0.5"}
    with counted(source) as (read,):
        _copied(source, tmp_path, **options)
    expected = dict.fromkeys(_directories(source), 1) | {".": 2}
    if options.get("wells"):
        expected = {key: n for key, n in expected.items() if not key.startswith("B/")}
    assert {key: n for key, n in read.listed.items() if n > expected.get(key, 0)} == {}


@pytest.mark.parametrize(
    "options", [{"chunks": (1, 1, 1, 8, 8)}, {"chunks": (1, 1, 1, 24, 20)}, {"crop": "1:23,1:19"}]
)
def test_chunks_that_are_decoded_are_opened_once_and_directories_listed_twice(sources, tmp_path, options):
    """Before and after: a source that changes meanwhile is noticed."""
    source = sources / "v5.zarr"
    with counted(source) as (read,):
        _copied(source, tmp_path, **options)
    chunks = {key: n for key, n in read.others.items() if "/c/" in key}
    existing = {key: n for key, n in chunks.items() if (source / key).exists()}
    assert existing == dict.fromkeys([k for k in _files(source, documents=False) if "/c/" in k], 1)
    # Chunks that were never written are asked for once.
    assert set(chunks.values()) == {1}
    assert len(chunks) <= 3 * 2 * 3 * 3
    assert max(read.listed.values()) == 2


def test_a_shard_is_opened_for_its_index_and_its_chunks(tmp_path):
    source = make_source(tmp_path / "s.zarr", shards_ratio=(1, 1, 1, 3, 3), names=("A/1/0",), others=False)
    with counted(source) as (read,):
        _copied(source, tmp_path, chunks=(1, 1, 2, 24, 20), shards="none", workers=1)
    shards = [str(p.relative_to(source)) for p in chunk_files(source)]
    assert len(shards) == 2
    assert read.others == dict.fromkeys(shards, 1 + 8)  # one chunk of nine was never written


def test_packing_reads_each_chunk_once_and_writes_one_file(sources, tmp_path):
    source = sources / "v5.zarr"
    with counted(source, tmp_path) as (read, made):
        _copied(source, tmp_path, "out.ozx")
    assert read.others == dict.fromkeys(_files(source, documents=False), 1)
    assert max(read.documents.values()) == 3
    assert max(read.listed.values()) <= 3
    assert (
        sum(n for key, n in made.written.items() if "journal" not in key) == 2
    )  # made, and opened to be filled


def test_unpacking_opens_the_archive_a_few_times(sources, tmp_path):
    with counted(sources) as (read,):
        _copied(sources / "v5.ozx", tmp_path)
    assert set(read.opened) == {"v5.ozx"}
    few = read.opened["v5.ozx"]
    names = [f"{row}/{column}/0" for row in "ABCD" for column in range(6)]
    large = make_source(tmp_path / "large.zarr", names=names, shape=(1, 1, 1, 8, 8), others=False)
    ps.copy(large, tmp_path / "large.ozx")
    with counted(tmp_path) as (read,):
        _copied(tmp_path / "large.ozx", tmp_path, "large-copy.zarr")
    assert read.opened["large.ozx"] == few, "it depends on what is in the archive"


def test_a_dry_run_opens_no_chunk(sources, tmp_path):
    with counted(sources / "v5.zarr", tmp_path) as (read, made):
        ps.copy(sources / "v5.zarr", tmp_path / "out.zarr", dry_run=True)
        ps.copy(sources / "v5.zarr", tmp_path / "out.zarr", dry_run=True, chunks=(1, 1, 1, 8, 8))
        ps.copy(sources / "v5.zarr", tmp_path / "out.ozx", dry_run=True, crop="0:8,0:8")
    assert read.others == {}
    assert not made.written
    assert snapshot(tmp_path) == {".": None}


def test_resuming_opens_only_what_is_missing_for_reading(sources, tmp_path):
    from copying.copy_cases import stop_copy

    source = sources / "v5.zarr"
    work = stop_copy(source, tmp_path / "out.zarr", part=0.8)
    done = len(chunk_files(work / "data"))
    assert done > 20
    with counted(tmp_path) as (made,):
        ps.copy(source, tmp_path / "out.zarr", resume=True)
    written = {key for key in made.written if "/data/" in key and "/c/" in key}
    assert len(written) <= len(chunk_files(source)) - done + 1


# --- memory ---------------------------------------------------------------------------------------

measured = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measured as Linux tells it")

_MEASURE = """
import json, sys
import platestore as ps
source, target, options, small = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4]
# Modules that are loaded at the first use are no part of it.
first = {**options, "resume": False}
ps.copy(small, target + ".first" + target[-5:], **first)

def memory(kind):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(kind))

before = memory("VmRSS")
report = ps.copy(source, target, **options)
print(json.dumps({"growth": memory("VmHWM") - before, "needed": report.memory}))
"""


@pytest.fixture
def roomy(tmp_path: Path) -> Iterator[Path]:
    """A directory for large files, in memory where there is room; it is emptied at once."""
    shared, place = Path("/dev/shm"), tmp_path
    if os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > 4 * 2**30:
        place = Path(tempfile.mkdtemp(dir=shared))
    yield place
    shutil.rmtree(place)


def large_source(
    path: Path,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    ratio: tuple[int, ...] | None = None,
    compressor: str = "blosc-lz4",
) -> int:
    """A position all of whose chunk files are one and the same file; returns the bytes of its pixels."""
    position = ps.open_ome_zarr(path, layout="fov", mode="w-", channel_names=["a"], version="0.5")
    image = position.create_zeros(
        "0", shape, "uint16", chunks=chunks, shards_ratio=ratio, compressor=compressor
    )
    unit = image.shards or image.chunks
    block = np.random.default_rng(0).integers(1, 9, unit, dtype="uint16")
    image[tuple(slice(0, n) for n in unit)] = block
    (first,) = chunk_files(path)
    grid = [-(-n // u) for n, u in zip(shape, unit, strict=True)]
    for place in np.ndindex(*grid):
        file = path / "0" / "c" / "/".join(map(str, place))
        file.parent.mkdir(parents=True, exist_ok=True)
        if file != first:
            os.link(first, file)
    return image.nbytes


def growth(directory: Path, source: Path, name: str, **options: Any) -> int:
    """Bytes by which a new process grew in one copy."""
    small = directory / "small.zarr"
    if not small.exists():
        large_source(small, (1, 1, 4, 64, 64), (1, 1, 4, 32, 32))
    if source.suffix == ".ozx":
        ps.copy(small, directory / "small.ozx")
        small = directory / "small.ozx"
    found = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(source), str(directory / name), json.dumps(options), str(small)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-2000:]
    grown: int = json.loads(found.stdout.splitlines()[-1])["growth"]
    return grown


def check(grown: int, budget: int) -> None:
    assert grown <= 1.1 * budget, f"grew by {grown / MIB:.1f} MiB of {budget / MIB:.0f}"


@pytest.mark.slow
@measured
@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"chunks": (1, 1, 8, 128, 128), "shards": (1, 1, 64, 1024, 1024)}, "out.zarr"),
        ({"crop": "10:-10,10:-10"}, "out.zarr"),
        pytest.param({"chunks": (1, 1, 1, 512, 512)}, "out.zarr", marks=pytest.mark.slow),
        pytest.param({"chunks": (1, 1, 8, 128, 128), "shards": "ZYX"}, "out.ozx", marks=pytest.mark.slow),
        pytest.param({"pyramid": 3}, "out.zarr", marks=pytest.mark.slow),
        pytest.param({"pyramid": 3, "crop": "1:,:"}, "out.ozx", marks=pytest.mark.slow),
        pytest.param({"chunks": (1, 1, 8, 128, 128), "verify": True}, "out.zarr", marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_pixels_of_twenty_times_the_budget(roomy, options, name):
    budget = 24 * MIB
    nbytes = large_source(roomy / "s.zarr", (1, 1, 128, 2048, 1024), (1, 1, 16, 256, 256))
    assert nbytes >= 20 * budget
    check(growth(roomy, roomy / "s.zarr", name, max_memory=budget, workers=4, **options), budget)


@pytest.mark.slow
@measured
@pytest.mark.parametrize("name", ["out.zarr", "out.ozx"])
@pytest.mark.parametrize("verify", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("chunks", "ratio"),
    [
        ((1, 1, 1, 256, 256), None),
        pytest.param((1, 1, 16, 512, 512), (1, 1, 8, 4, 2), marks=pytest.mark.slow),
    ],
)
def test_files_of_twenty_times_the_budget(roomy, name, chunks, ratio, verify):
    budget = 24 * MIB
    shape = (1, 1, 128, 2048, 1024)
    nbytes = large_source(roomy / "s.zarr", shape, chunks, ratio, compressor="none")
    assert nbytes >= 20 * budget
    check(growth(roomy, roomy / "s.zarr", name, max_memory=budget, workers=8, verify=verify), budget)


@pytest.mark.slow
@measured
@pytest.mark.parametrize(
    ("chunks", "ratio"),
    [
        ((1, 1, 16, 512, 512), (1, 1, 8, 4, 2)),
        pytest.param((1, 1, 1, 256, 256), None, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("verify", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_unpacking_twenty_times_the_budget(roomy, chunks, ratio, verify):
    budget = 24 * MIB
    nbytes = large_source(roomy / "s.zarr", (1, 1, 128, 2048, 1024), chunks, ratio, compressor="none")
    assert nbytes >= 20 * budget
    ps.copy(roomy / "s.zarr", roomy / "s.ozx")
    check(growth(roomy, roomy / "s.ozx", "out.zarr", max_memory=budget, workers=8, verify=verify), budget)


@pytest.mark.quick(1)
@measured
def test_many_small_positions_with_many_threads_keep_to_the_budget(roomy):
    """Each of them takes little; all together no more than the budget."""
    budget = 48 * MIB
    names = [f"{row}/{column}/0" for row in "ABCDEFGH" for column in range(6)]
    shape, chunks = (1, 2, 4, 512, 512), (1, 1, 4, 256, 256)
    source = make_source(roomy / "s.zarr", names=names, shape=shape, chunks=chunks, others=False)
    options = {"chunks": (1, 1, 1, 512, 512), "pyramid": 2, "workers": 16}
    check(growth(roomy, source, "out.zarr", max_memory=budget, **options), budget)


@pytest.mark.parametrize(
    "options", [{"chunks": (1, 1, 1, 8, 8)}, {"pyramid": 2}, {"crop": "1:20,1:20"}], ids=str
)
@pytest.mark.parametrize("name", ["out.zarr", "out.ozx"])
def test_a_budget_that_is_too_small_is_refused_with_the_figure_and_that_figure_works(
    sources, tmp_path, options, name
):
    with pytest.raises(ps.BudgetError) as caught:
        ps.copy(sources / "v5.zarr", tmp_path / name, max_memory=1000, workers=16, **options)
    assert list(tmp_path.iterdir()) == []
    needed = caught.value.needed
    assert str(needed) in str(caught.value)
    with pytest.raises(ps.BudgetError):
        ps.copy(sources / "v5.zarr", tmp_path / name, max_memory=needed - 1, workers=16, **options)
    assert list(tmp_path.iterdir()) == []
    ps.copy(sources / "v5.zarr", tmp_path / name, max_memory=needed, workers=16, **options)
    (tmp_path / "plenty").mkdir()
    ps.copy(sources / "v5.zarr", tmp_path / "plenty" / name, workers=2, **options)
    assert snapshot(tmp_path / name) == snapshot(tmp_path / "plenty" / name)


@pytest.mark.parametrize("options", [{"chunks": (1, 1, 1, 8, 8), "shards": "ZYX"}, {"pyramid": 3}], ids=str)
def test_threads_and_memory_change_no_byte(sources, tmp_path, options):
    expected = None
    # The order of the levels in an archive follows the blocks that the budget allows.
    budgets = ["64MiB"] * 3 if "pyramid" in options else ["1GiB", "20MiB", "40MiB"]
    for number, (workers, budget) in enumerate(zip((1, 3, 8), budgets, strict=True)):
        for suffix in (".zarr", ".ozx"):
            (tmp_path / str(number)).mkdir(exist_ok=True)
            target = tmp_path / str(number) / f"out{suffix}"
            ps.copy(sources / "v5.zarr", target, workers=workers, max_memory=budget, **options)
        found = snapshot(tmp_path / str(number))
        assert expected is None or found == expected
        expected = found
