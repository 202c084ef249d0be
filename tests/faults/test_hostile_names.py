"""Names that lead out of a store, in every field of every document that gives a path: nothing is reached.

Beside the store lie canaries: a store, and files. Whatever a document says, everything that can be done with
the store is done to it; the canaries are neither read nor changed, and what says that a path leads out names
the field. An audit hook sees what Python touches; ``strace`` (where there is one) sees what others touch.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import textwrap
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from fault_figures import record
from hostile_names import LEADING_OUT, NAMES, outside, touching

import platestore as ps
from nodes.store_helpers import edit_attributes, edit_ome, snapshot
from platestore.checking.check import check
from platestore.checking.validation import validate
from platestore.cli import cli
from storage.archive_cases import Entry, tree
from storage.archive_cases import build as build_archive

_TEMPLATES: dict[tuple[str, str], Path] = {}
VERSIONS = ["0.4", "0.5"]


def build(path: Path, version: str) -> None:
    """A small plate with everything that has paths in it."""
    plate = ps.open_ome_zarr(path, layout="hcs", mode="w-", channel_names=["a"], version=version)
    pixels = np.arange(64, dtype="uint16").reshape(1, 1, 1, 8, 8)
    for position in plate.create_positions([("A", "1", "0"), ("B", "2", "0")]):
        position.create_image("0", pixels, chunks=(1, 1, 1, 4, 4), pyramid_levels=2)
    plate["A/1/0"].create_label("cells", (pixels % 3).astype("uint8"))


def build_series(path: Path, version: str) -> None:
    """A collection of two images, with their list."""
    fmt = 2 if version == "0.4" else 3
    import zarr

    root = zarr.create_group(path, zarr_format=fmt)
    layout = {"bioformats2raw.layout": 3}
    root.attrs.update(layout if fmt == 2 else {"ome": {"version": version, **layout}})
    series = {"series": ["0", "1"]}
    root.create_group("OME").attrs.update(series if fmt == 2 else {"ome": {"version": version, **series}})
    for name in "01":
        image = ps.open_ome_zarr(
            path.parent / f"{name}.zarr", layout="fov", mode="w-", channel_names=["a"], version=version
        )
        image.create_image("0", np.ones((1, 1, 1, 4, 4), "uint8"))
        shutil.move(path.parent / f"{name}.zarr", path / name)


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """Stores to start from, by kind and version."""
    found = {}
    for version in VERSIONS:
        for kind, make in (("plate", build), ("series", build_series)):
            found[kind, version] = tmp_path_factory.mktemp("templates") / "p.zarr"
            make(found[kind, version], version)
    return found


@pytest.fixture
def world(templates: dict[tuple[str, str], Path]) -> Iterator[Path]:
    """Canaries, and room for a store; in memory, where the system has such a file system."""
    memory = Path("/dev/shm")
    top = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None)).resolve()
    (top / "outside").mkdir()
    shutil.copytree(templates["plate", "0.5"], top / "outside/canary.zarr")
    (top / "outside/canary.txt").write_text("precious")
    (top / "data").mkdir()
    (top / "copies").mkdir()
    (top / "data/canary.txt").write_text("precious")
    shutil.copytree(templates["plate", "0.4"], top / "data/p.zarr.canary")
    yield top
    shutil.rmtree(top)


def _set(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    edit_ome(path, change)


def _intent(operation: str, field: str) -> Callable[[Path, str], None]:
    def put(store: Path, name: str) -> None:
        facts = {"path": "A/1", "target": "C/3", field: name}
        entry = {"index": 0, "well": {"path": "C/3", "rowIndex": 0, "columnIndex": 0}}
        intent = {"operation": operation, "id": "1", "entry": entry, **facts}
        edit_attributes(store, platestore={"intents": [intent]})

    return put


def _level_intent(field: str) -> Callable[[Path, str], None]:
    def put(store: Path, name: str) -> None:
        level = {"path": "1", "staged": ".1.0.new", "transform": [], field: name}
        entry = {"removed": [], "method": "mean", "factors": [[1, 1, 1, 2, 2]], "levels": [level]}
        if field == "removed":
            entry = {**entry, "removed": [name], "levels": [], "factors": []}
        intent = {"operation": "pyramid", "id": "1", "path": "0", "entry": entry}
        edit_attributes(store / "A/1/0", platestore={"intents": [intent]})

    return put


def _batch_intent(store: Path, name: str) -> None:
    images = {name: [{"path": "0"}], "A/1": [{"path": name}]}
    intent = {"operation": "add-images", "id": "1", "path": "", "images": images}
    edit_attributes(store, platestore={"intents": [intent]})


def _channel_intent(store: Path, name: str) -> None:
    intent = {"operation": "append-channel", "id": "1", "path": "b", "arrays": {name: 2}}
    edit_attributes(store / "A/1/0", platestore={"intents": [intent]})


def _own(store: Path, name: str) -> None:
    previous = [{"image": name, "transforms": [], "modified": "2026-01-01T00:00:00Z"}]
    edit_attributes(store / "A/1/0", platestore={"previous_transforms": previous})


#: Field, as a user reads it in the document: the kind of store, and how a name is put there.
FIELDS: dict[str, tuple[str, Callable[[Path, str], None]]] = {
    "wells[0].path": (
        "plate",
        lambda s, n: _set(s, lambda ome: ome["plate"]["wells"][0].update(path=n)),
    ),
    "rows[0].name": ("plate", lambda s, n: _set(s, lambda ome: ome["plate"]["rows"][0].update(name=n))),
    "columns[1].name": (
        "plate",
        lambda s, n: _set(s, lambda ome: ome["plate"]["columns"][1].update(name=n)),
    ),
    "images[0].path": (
        "plate",
        lambda s, n: _set(s / "A/1", lambda ome: ome["well"]["images"][0].update(path=n)),
    ),
    "datasets[0].path": (
        "plate",
        lambda s, n: _set(s / "A/1/0", lambda o: o["multiscales"][0]["datasets"][0].update(path=n)),
    ),
    "datasets[1].path": (
        "plate",
        lambda s, n: _set(s / "A/1/0", lambda o: o["multiscales"][0]["datasets"][1].update(path=n)),
    ),
    "labels[0]": (
        "plate",
        lambda s, n: _set(s / "A/1/0/labels", lambda o: o.update(labels=[n, "cells"])),
    ),
    "datasets[0].path of a label": (
        "plate",
        lambda s, n: _set(
            s / "A/1/0/labels/cells", lambda o: o["multiscales"][0]["datasets"][0].update(path=n)
        ),
    ),
    "source.image": (
        "plate",
        lambda s, n: _set(s / "A/1/0/labels/cells", lambda o: o["image-label"].update(source={"image": n})),
    ),
    "coordinateTransformations[0].path": (
        "plate",
        lambda s, n: _set(
            s / "A/1/0",
            lambda o: o["multiscales"][0]["datasets"][0].update(
                coordinateTransformations=[{"type": "scale", "path": n}]
            ),
        ),
    ),
    "series[0]": ("series", lambda s, n: _set(s / "OME", lambda o: o.update(series=[n, "1"]))),
    "a delete's path": ("plate", _intent("delete", "path")),
    "a move's path": ("plate", _intent("move", "path")),
    "a move's target": ("plate", _intent("move", "target")),
    "a replacement's path": ("plate", _intent("replace", "path")),
    "a replacement's target": ("plate", _intent("replace", "target")),
    "a removed position": ("plate", _intent("delete-position", "path")),
    "a level's path": ("plate", _level_intent("path")),
    "a level's place": ("plate", _level_intent("staged")),
    "a former level": ("plate", _level_intent("removed")),
    "a batch's fields": ("plate", _batch_intent),
    "a grown array": ("plate", _channel_intent),
    "a former transformation": ("plate", _own),
}
#: Fields that lead somewhere when a store is read.
FOLLOWED = [
    "wells[0].path",
    "images[0].path",
    "datasets[0].path",
    "datasets[1].path",
    "labels[0]",
    "series[0]",
]


# --- everything that can be done ------------------------------------------------------------------


def _look(store: Path, mode: str) -> None:
    node = ps.open_ome_zarr(store, mode=mode)
    node.channel_names  # noqa: B018
    for _, position in node.positions():
        for _, image in position.images():
            image.numpy()
        if position.has_labels:
            for _, label in position.labels():
                label.source  # noqa: B018
                for _, image in label.images():
                    image.numpy()
    node.print_tree()


def _with(path: str, call: Callable[[Any], Any]) -> Callable[[Path], Any]:
    return lambda store: call(ps.open_ome_zarr(store / path if path else store, mode="r+"))


CALLS: dict[str, Callable[[Path], Any]] = {
    "read": lambda store: _look(store, "r"),
    "read an image": lambda store: _look_image(store / "A/1/0"),
    "validate": lambda store: validate(store),
    "info": lambda store: _command("info", str(store)),
    "ls": lambda store: _command("ls", "-l", str(store)),
    "check": lambda store: check(store, deep=True),
    "copy": lambda store: ps.copy(store, store.parent.parent / "copies/x.zarr"),
    "copy pixels": lambda store: ps.copy(
        store, store.parent.parent / "copies/y.zarr", chunks=(1, 1, 1, 8, 8)
    ),
    "pack": lambda store: ps.copy(store, store.parent.parent / "copies/x.ozx", version="0.5"),
    "write": lambda store: _look(store, "r+"),
    "annotate": _with("", lambda node: node.zattrs.update({"lab": 1})),
    "annotate a well": _with("A/1", lambda node: node.zattrs.update({"lab": 1})),
    "annotate an image": _with("A/1/0", lambda node: node.zattrs.update({"lab": 1})),
    "create": _with("", lambda plate: plate.create_positions([("A", "1", "7"), ("C", "3", "0")])),
    "write pixels": _with("A/1/0", lambda image: image["0"].__setitem__(Ellipsis, 7)),
    "write a level": _with("A/1/0", lambda image: image["1"].__setitem__(Ellipsis, 7)),
    "append a channel": _with("A/1/0", lambda image: image.append_channel("b")),
    "resize": _with("A/1/0", lambda image: image.data.resize((2, 1, 1, 8, 8))),
    "levels": _with("A/1/0", lambda image: image.compute_pyramid(2)),
    "set_scale": _with("A/1/0", lambda image: image.set_scale("*", "x", 2)),
    "label": _with("A/1/0", lambda image: image.create_label("more", np.ones((1, 1, 8, 8), "uint8"))),
    "delete a label": _with("A/1/0", lambda image: image.delete_label("cells")),
    "delete levels": _with("A/1/0", lambda image: image.delete_pyramid()),
    "delete an image": _with("A/1/0", lambda image: image.__delitem__(next(iter(image)))),
    "rename": _with("", lambda plate: plate.rename_well("A/1", "D/1")),
    "count": _with("", lambda plate: plate.dump_meta(field_count=True)),
    "delete a position": _with("", lambda plate: plate.__delitem__("A/1/0")),
    "delete a row": _with("", lambda plate: plate.__delitem__("A")),
    "delete what is listed": _with("", lambda plate: plate.__delitem__(next(iter(plate)))),
    "repair": lambda store: check(store, repair=True),
    "replace": lambda store: ps.open_ome_zarr(store, layout="hcs", mode="w", channel_names=["new"]),
}


_OF_PLATES = {
    "create",
    "rename",
    "count",
    "delete a position",
    "delete a row",
    "delete what is listed",
}


def _look_image(path: Path) -> None:
    position = ps.open_ome_zarr(path)
    for name in list(position):
        position[name].numpy()


def _command(*args: str) -> None:
    result = CliRunner().invoke(cli, args)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception


def attack(store: Path) -> Iterator[tuple[str, str]]:
    """Do everything to a store; what is said about it, by the call. Errors of other kinds are not caught."""
    is_plate = (store / "A").exists()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for name, call in CALLS.items():
            found = None
            if name in _OF_PLATES and not is_plate:
                continue
            try:
                found = call(store)
            except ps.PlatestoreError as error:
                yield name, str(error)
            if name == "validate":
                yield from ((name, str(finding)) for finding in found.findings)
            yield from ((name, str(warning.message)) for warning in caught)
            caught.clear()


def plant(world: Path, templates: dict[tuple[str, str], Path], field: str, name: str, version: str) -> Path:
    """A store with a hostile name in one field."""
    kind, put = FIELDS[field]
    store = world / "data/p.zarr"
    shutil.copytree(templates[kind, version], store)
    put(store, name.replace("{}", str(world)))
    return store


def survive(world: Path, store: Path) -> list[tuple[str, str]]:
    """Attack a store and look at the canaries."""
    canaries = {name: snapshot(world / name) for name in ("outside", "data/p.zarr.canary", "data/canary.txt")}
    with touching() as touched:
        said = list(attack(store))
    assert outside(touched, world, store) == []
    for name, content in canaries.items():
        assert snapshot(world / name) == content, name
    assert not (Path.cwd() / "canary").exists()
    return said


def _try(world: Path, templates: Any, field: str, names: list[str], version: str) -> int:
    for name in names:
        store = plant(world, templates, field, name, version)
        try:
            said = survive(world, store)
        except Exception as error:
            error.add_note(f"the name {name!r} in {field} of {version}")
            raise
        if name in LEADING_OUT and field in FOLLOWED:
            assert any(field.replace("[1]", "[").split("[")[0] in text for _, text in said), (name, said)
        clean(world)
    return len(names)


def clean(world: Path) -> None:
    """Remove the store, and what was made of it."""
    for path in (*(world / "data").glob("*p.zarr*"), *(world / "copies").iterdir()):
        if path.name != "p.zarr.canary":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_there_are_sixty_names():
    assert len(set(NAMES)) >= 60


@pytest.mark.parametrize("field", FIELDS)
def test_some_names_reach_nothing(world, templates, field):
    # Each name in some field, and each field with names of every kind.
    step = list(FIELDS).index(field)
    for version, names in zip(VERSIONS, (NAMES[step % 30 :: 30], NAMES[(step + 15) % 30 :: 30]), strict=True):
        _try(world, templates, field, names, version)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_name_in_any_field_reaches_anything(world, templates):
    tried = sum(_try(world, templates, field, NAMES, version) for field in FIELDS for version in VERSIONS)
    record("hostile_names", names=len(NAMES), fields=len(FIELDS), stores=tried, touched=0)


# --- what Python does not see ---------------------------------------------------------------------

TRACED = """
    import pathlib, sys
    sys.path[:0] = sys.argv[3:]
    import test_hostile_names as names
    world, tried = pathlib.Path(sys.argv[1]), 0
    templates = {}
    for version in names.VERSIONS:
        for kind, make in (("plate", names.build), ("series", names.build_series)):
            templates[kind, version] = world / "templates" / kind / version / "p.zarr"
            templates[kind, version].parent.mkdir(parents=True)
            make(templates[kind, version], version)
    for number, name in enumerate(names.LEADING_OUT[:: int(sys.argv[2])]):
        for field in names.FOLLOWED:
            store = names.plant(world, templates, field, name, names.VERSIONS[number % 2])
            list(names.attack(store))
            names.clean(world)
            tried += 1
    print("tried", tried)
"""
_CALL = re.compile(r"^(?:\d+ +)?(?P<call>\w+)\((?P<rest>.*)")
_LOOKS = {
    "stat",
    "lstat",
    "newfstatat",
    "statx",
    "access",
    "faccessat",
    "faccessat2",
    "readlink",
    "readlinkat",
}


def _trace(world: Path, step: int) -> int:
    """Attack stores under strace; returns how many, after checking what was opened, changed or run."""
    if shutil.which("strace") is None:
        pytest.skip("there is no strace here")
    log = world.parent / f"{world.name}-trace.txt"
    script = world.parent / f"{world.name}-traced.py"
    script.write_text(textwrap.dedent(TRACED))
    here = Path(__file__).parent
    command = ["strace", "-f", "-qq", "-s", "9000", "-e", "trace=%file", "-o", str(log), sys.executable]
    try:
        done = subprocess.run(
            [*command, str(script), str(world), str(step), str(here), str(here.parent)],
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )
        if done.returncode and "ptrace" in done.stderr:
            pytest.skip("this system does not let anyone trace")
        assert done.returncode == 0, done.stderr[-2000:]
        store = world / "data/p.zarr"
        touched = set()
        with open(log, errors="surrogateescape") as lines:
            for line in lines:
                match = _CALL.match(line)
                if match and match["call"] not in _LOOKS:
                    touched.update(re.findall(r'"(/[^"]*)"', match["rest"]))
        assert any(path.startswith(str(store)) for path in touched)
        kept = {
            os.path.normpath(path) for path in touched if f"{world}/templates" not in os.path.normpath(path)
        }
        assert outside(kept, world, store) == []
    finally:
        for path in (log, script):
            path.unlink(missing_ok=True)
    return int(done.stdout.split()[-1])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_system_call_leads_out(world):
    record("hostile_names_traced", stores=_trace(world, 3), touched=0)


# --- links and archives ---------------------------------------------------------------------------

LINKED = [
    "A",
    "A/1",
    "A/1/0",
    "A/1/0/0",
    "A/1/0/1",
    "A/1/0/labels",
    "A/1/0/labels/cells",
    "A/1/0/labels/cells/0",
    "B/2",
    "documents",
    "chunks",
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("place", LINKED)
def test_nothing_is_written_through_a_link(world, templates, place, version):
    outside_store = world / "outside/linked.zarr"
    shutil.copytree(templates["plate", version], outside_store)
    store = world / "data/p.zarr"
    shutil.copytree(templates["plate", version], store)
    if place in ("documents", "chunks"):
        documents = ("zarr.json", ".zattrs", ".zgroup", ".zarray")
        for file in [path for path in store.rglob("*") if path.is_file()]:
            if (file.name in documents) == (place == "documents"):
                file.unlink()
                file.symlink_to(outside_store / file.relative_to(store))
    else:
        shutil.rmtree(store / place)
        (store / place).symlink_to(outside_store / place)
    before = snapshot(world / "outside")
    list(attack(store))
    assert snapshot(world / "outside") == before


def _archive(store: Path, name: str, *, link: bool) -> bytes:
    files = [Entry(key, data) for key, data in tree(store).items()]
    raw = name.encode(errors="surrogatepass")
    mode = stat.S_IFLNK | 0o777 if link else 0
    return build_archive(
        *files, Entry(raw, b"../../outside/canary.txt" if link else b"evil", mode=mode), root=False
    )


_OF_ARCHIVES: list[Callable[[Path, Path], Any]] = [
    lambda archive, copies: _look(archive, "r"),
    lambda archive, copies: validate(archive),
    lambda archive, copies: check(archive, deep=True),
    lambda archive, copies: ps.copy(archive, copies / "x.zarr"),
    lambda archive, copies: ps.copy(archive, copies / "y.ozx"),
    lambda archive, copies: ps.copy(archive, copies / "z.zarr", chunks=(1, 1, 1, 8, 8)),
]


@pytest.mark.parametrize("link", [False, True], ids=["file", "link"])
@pytest.mark.parametrize("names", [NAMES[k::8] for k in range(8)], ids=range(8))
def test_no_entry_of_an_archive_leads_out(world, templates, names, link):
    canaries = snapshot(world)
    for name in names:
        name = name.replace("{}", str(world))
        if len(name) > 60_000:
            continue
        archive = world / "data/p.zarr.ozx"
        archive.write_bytes(_archive(templates["plate", "0.5"], name, link=link))
        with warnings.catch_warnings(), touching() as touched:
            warnings.simplefilter("ignore")
            for call in _OF_ARCHIVES:
                with contextlib.suppress(ps.PlatestoreError):
                    call(archive, world / "copies")
        assert outside(touched, world, archive) == [], name
        assert not [path for path in (world / "copies").rglob("*") if path.is_symlink()], name
        clean(world)
        assert snapshot(world) == canaries, name
