"""What ``mode="w"`` may replace: a table of targets, each refused untouched or replaced as a whole.

Every target is made below ``tmp_path``, with the home and current directory moved there too.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest

import platestore as ps
from platestore.publish import targets
from platestore.publish.targets import check_replaceable, exists, install


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A small world with a home and a current directory of its own."""
    for name in ("home/user", "work/here", "data"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home" / "user"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home" / "user"))
    monkeypatch.chdir(tmp_path / "work" / "here")
    return tmp_path


def make_store(path, version="0.5", layout="hcs"):
    with ps.open_ome_zarr(
        path, layout=layout, mode="w-", channel_names=["a"], version=version, disable_path_checking=True
    ) as node:
        position = node.create_position("A", "1", "0") if layout == "hcs" else node
        position["0"] = np.ones((1, 1, 1, 4, 4), "uint8")
    return path


def make_array(path, zarr_format):
    import zarr

    zarr.create_array(str(path), shape=(4, 4), chunks=(2, 2), dtype="u1", zarr_format=zarr_format)[...] = 1
    return path


def make_group(path, attributes=None):
    import zarr

    zarr.create_group(str(path), attributes=attributes)
    return path


def add(path, text="precious"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def in_store(*parts, version="0.5", text="precious", store="p.zarr"):
    """A store with one more file somewhere in it."""

    def build(world):
        path = make_store(world / "data" / store, version)
        add(path.joinpath(*parts), text)
        return path

    return build


def plain(name, *files):
    def build(world):
        (world / "data" / name).mkdir()
        for file in files:
            add(world / "data" / name / file)
        return world / "data" / name

    return build


def empty_tree(name):
    def build(world):
        (world / "data" / name / "a" / "b").mkdir(parents=True)
        (world / "data" / name / "c").mkdir()
        return world / "data" / name

    return build


def linked(make_target):
    def build(world):
        os.symlink(make_target(world), world / "data" / "link.zarr", target_is_directory=True)
        return world / "data" / "link.zarr"

    return build


def store_at(*parts, **kwargs):
    return lambda world: make_store(world.joinpath(*parts), **kwargs)


def store_here(world):
    """The current directory is a store, and in one."""
    make_store(world / "data" / "p.zarr")
    os.chdir(world / "data" / "p.zarr" / "A")
    return world / "data" / "p.zarr"


def home_in_store(world):
    make_store(world / "data" / "p.zarr")
    os.environ["HOME"] = os.environ["USERPROFILE"] = str(world / "data" / "p.zarr" / "A")
    return world / "data" / "p.zarr"


def with_consolidated(world):
    import zarr

    path = make_store(world / "data" / "p.zarr")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(str(path))
    assert "consolidated_metadata" in (path / "zarr.json").read_text()
    return path


def group_that_speaks_of_arrays(world):
    path = make_store(world / "data" / "p.zarr")
    document = json.loads((path / "zarr.json").read_text())
    document["attributes"]["lab"] = {"kind": "array", "data_type": "table"}
    (path / "zarr.json").write_text(json.dumps(document))
    return path


def then(build, *parts):
    def more(world):
        path = build(world)
        add(path.joinpath(*parts))
        return path

    return more


def tree_with_link(world):
    path = empty_tree("p.zarr")(world)
    os.symlink(make_store(world / "data" / "other.zarr"), path / "a" / "link")
    return path


def store_with_empty_folders(world):
    path = make_store(world / "data" / "p.zarr")
    (path / "x" / "y").mkdir(parents=True)
    return path


def store_with_link(world):
    path = make_store(world / "data" / "p.zarr")
    os.symlink(plain("theirs", "precious.txt")(world), path / "A" / "link")
    return path


REFUSED = {
    # places
    "home": (lambda w: w / "home" / "user", "home directory"),
    "parent of home": (lambda w: w / "home", "home directory"),
    "current directory": (lambda w: w / "work" / "here", "current directory"),
    "parent of the current directory": (lambda w: w / "work", "current directory"),
    "ancestor of everything": (lambda w: w, "home directory|current directory"),
    "store that is the current directory's ancestor": (store_here, "current directory"),
    "store that holds the home directory": (home_in_store, "home directory"),
    "home that is a store": (lambda w: make_store(w / "home" / "user" / ".." / "user"), "home directory"),
    "link to a store": (linked(store_at("data", "p.zarr")), "is a link to"),
    "link to an empty directory": (linked(empty_tree("p.zarr")), "is a link to"),
    "link to nothing": (linked(lambda w: w / "absent"), "is a link to"),
    "position of a plate": (lambda w: store_at("data", "p.zarr")(w) / "A" / "1" / "0", "part of the store"),
    "well of a plate": (lambda w: store_at("data", "p.zarr")(w) / "A" / "1", "part of the store"),
    "row of a plate": (lambda w: store_at("data", "p.zarr")(w) / "A", "part of the store"),
    "array of a position": (
        lambda w: store_at("data", "p.zarr", version="0.4")(w) / "A" / "1" / "0" / "0",
        "part of the store",
    ),
    # what is no store
    "file": (lambda w: add(w / "data" / "p.zarr"), "is a file"),
    "empty file": (lambda w: add(w / "data" / "p.zarr", ""), "is a file"),
    "directory with one file": (plain("p.zarr", "notes.txt"), "not a zarr store.*notes.txt"),
    "directory with a hidden file": (plain("p.zarr", ".hidden"), "not a zarr store"),
    "directory with an empty file": (
        lambda w: add(empty_tree("p.zarr")(w) / "x", "").parent,
        "not a zarr store",
    ),
    "directory with a file deep down": (plain("p.zarr", "a/b/c/d.tif"), "not a zarr store.*d.tif"),
    "directory with litter only": (plain("p.zarr", ".DS_Store"), "not a zarr store"),
    "directory of a store": (
        lambda w: store_at("data", "run.zarr.d", "p.zarr")(w).parent,
        "not a zarr store",
    ),
    "directories with a link": (tree_with_link, "link"),
    # stores with more than a store in them
    "file in the root": (in_store("notes.txt"), "notes.txt"),
    "file in the root of 0.4": (in_store("notes.txt", version="0.4"), "notes.txt"),
    "file in a row": (in_store("A", "raw.czi"), "raw.czi"),
    "file in a well": (in_store("A", "1", "raw.czi"), "raw.czi"),
    "file in a position": (in_store("A", "1", "0", "overlay.png"), "overlay.png"),
    "file in a position of 0.4": (in_store("A", "1", "0", "overlay.png", version="0.4"), "overlay.png"),
    "file in an array": (in_store("A", "1", "0", "0", "notes.txt"), "notes.txt"),
    "file in an array of 0.4": (in_store("A", "1", "0", "0", "notes.txt", version="0.4"), "notes.txt"),
    "file among the chunks": (in_store("A", "1", "0", "0", "c", "0", "raw.tif"), "raw.tif"),
    "file in a folder of its own": (in_store("analysis", "2024", "results.csv"), "results.csv"),
    "file that ends like ours": (in_store("results.tmp"), "results.tmp"),
    "text beside METADATA.ome.xml": (in_store("OME", "notes.txt"), "notes.txt"),
    "xml outside OME": (in_store("protocol.xml"), "protocol.xml"),
    "link in a store": (store_with_link, "link"),
    "file in a store with consolidated metadata": (then(with_consolidated, "notes.txt"), "notes.txt"),
    "file in a store whose attributes speak of arrays": (
        then(group_that_speaks_of_arrays, "notes.txt"),
        "notes.txt",
    ),
    "file in an array that is the root": (
        lambda w: add(make_array(w / "data" / "p.zarr", 3) / "n.txt").parent,
        "n.txt",
    ),
    # names
    "store without .zarr in its name": (store_at("data", "plate"), "does not contain '.zarr'"),
    "store in a folder with .zarr in its name": (
        store_at("data", "runs.zarr", "plate"),
        "does not contain '.zarr'",
    ),
    "empty folders without .zarr in the name": (empty_tree("plate"), "does not contain '.zarr'"),
    "array of zarr v3": (lambda w: make_array(w / "data" / "p.zarr", 3), "without OME metadata"),
    "array of zarr v2": (lambda w: make_array(w / "data" / "p.zarr", 2), "without OME metadata"),
    "group with an array of zarr v3": (
        lambda w: make_array(make_group(w / "data" / "p.zarr") / "a", 3).parent,
        "without OME metadata",
    ),
    "group with attributes": (
        lambda w: make_group(w / "data" / "p.zarr", {"mine": 1}),
        "without OME metadata",
    ),
}

REPLACED = {
    "plate of 0.5": store_at("data", "p.zarr"),
    "plate of 0.4": store_at("data", "p.zarr", version="0.4"),
    "position": store_at("data", "p.zarr", layout="fov"),
    "backup with a store in it": store_at("data", "p.zarr_backup"),
    "ome.zarr": store_at("data", "p.ome.zarr"),
    "name with spaces": store_at("data", "my plate.zarr (1)"),
    "group with nothing in it": lambda w: make_group(w / "data" / "p.zarr"),
    "group with a store below": lambda w: make_group(make_store(w / "data" / "p.zarr" / "a.zarr").parent),
    "empty directory": plain("p.zarr"),
    "directory of empty directories": empty_tree("p.zarr"),
    "store with OME-XML": in_store("OME", "METADATA.ome.xml"),
    "store with .DS_Store": in_store("A", ".DS_Store"),
    "store with consolidated metadata": with_consolidated,
    "store with what a killed writer left": in_store("A", ".zarr.json.123-0-abcd1234.tmp"),
    "store with empty folders": store_with_empty_folders,
    "broken store": lambda w: add(w / "data" / "p.zarr" / "zarr.json", "{").parent,
    "nothing": lambda w: w / "data" / "p.zarr",
}


def snapshot(root):
    """Every file, directory and link below a directory, with what is in it."""
    out = {}
    for directory, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(directory, name)
            key = os.path.relpath(path, root)
            if os.path.islink(path):
                out[key] = os.readlink(path)
            elif os.path.isdir(path):
                out[key] = None
            else:
                with open(path, "rb") as file:
                    out[key] = file.read()
    return out


def overwrite(path, **kwargs):
    return ps.open_ome_zarr(path, layout="hcs", mode="w", channel_names=["new"], version="0.5", **kwargs)


def test_the_table_is_large():
    assert len(REFUSED) + len(REPLACED) >= 40


@pytest.mark.filterwarnings("ignore::platestore.StoreWarning")
@pytest.mark.parametrize(("build", "reason"), REFUSED.values(), ids=REFUSED)
def test_refused_and_untouched(world, build, reason):
    path = os.path.abspath(build(world))
    before = snapshot(world)
    with pytest.raises(ps.UnsafeTargetError, match=reason) as caught:
        check_replaceable(path, check_name=True)
    assert str(caught.value).startswith(path)
    assert caught.value.hint
    with pytest.raises(ValueError):
        overwrite(path)
    assert snapshot(world) == before


@pytest.mark.parametrize("build", REPLACED.values(), ids=REPLACED)
def test_replaced_as_a_whole_and_nothing_else(world, build):
    path = build(world)
    add(path.with_name("neighbour.txt"))
    around = snapshot(path.parent)
    around = {k: v for k, v in around.items() if not (k + os.sep).startswith(path.name + os.sep)}
    if path.exists():
        check_replaceable(str(path), check_name=True)
    assert overwrite(path).channel_names == ["new"]
    after = snapshot(path.parent)
    assert {k: v for k, v in after.items() if not (k + os.sep).startswith(path.name + os.sep)} == around
    assert os.listdir(path) == ["zarr.json"]


LIFTED = ("does not contain", "without OME metadata")
NAME_RULES = [name for name, (_, reason) in REFUSED.items() if reason.startswith(LIFTED)]


@pytest.mark.parametrize("case", NAME_RULES)
def test_the_name_rule_is_lifted_by_disable_path_checking(world, case):
    path = REFUSED[case][0](world)
    check_replaceable(str(path), check_name=False)
    assert overwrite(path, disable_path_checking=True).channel_names == ["new"]


@pytest.mark.filterwarnings("ignore::platestore.StoreWarning")
@pytest.mark.parametrize("case", [name for name in REFUSED if name not in NAME_RULES])
def test_no_other_rule_is_lifted_by_it(world, case):
    build, reason = REFUSED[case]
    path = os.path.abspath(build(world))
    before = snapshot(world)
    with pytest.raises(ps.UnsafeTargetError, match=reason):
        overwrite(path, disable_path_checking=True)
    assert snapshot(world) == before


def test_the_root_of_the_file_system_is_refused():
    root = os.path.abspath(os.sep)
    with pytest.raises(ps.UnsafeTargetError, match="root of the file system"):
        check_replaceable(root, check_name=False)


def test_a_mount_point_is_refused(world, monkeypatch):
    path = make_store(world / "data" / "p.zarr")
    inner = os.path.ismount
    monkeypatch.setattr(os.path, "ismount", lambda p: os.fspath(p) == str(path) or inner(p))
    with pytest.raises(ps.UnsafeTargetError, match="mount point"):
        check_replaceable(str(path), check_name=True)
    with pytest.raises(ps.UnsafeTargetError, match="mount point"):
        overwrite(path)


def test_a_path_with_dots_is_judged_by_where_it_leads(world):
    with pytest.raises(ps.UnsafeTargetError, match="current directory"):
        overwrite(world / "data" / ".." / "work")
    with pytest.raises(ps.UnsafeTargetError, match="current directory"):
        overwrite(".", disable_path_checking=True)
    with pytest.raises(ps.UnsafeTargetError, match="current directory"):
        overwrite("..", disable_path_checking=True)


def test_home_reached_through_a_link_in_its_path_is_refused(world):
    os.symlink(world / "home", world / "data" / "h.zarr", target_is_directory=True)
    with pytest.raises(ps.UnsafeTargetError, match="home directory"):
        check_replaceable(str(world / "data" / "h.zarr" / "user"), check_name=False)


def test_a_folder_that_cannot_be_looked_into_is_not_taken_for_empty(world, monkeypatch):
    path = empty_tree("p.zarr")(world)
    inner = os.scandir

    def scandir(where="."):
        if os.fspath(where).endswith(os.path.join("p.zarr", "a")):
            raise PermissionError(errno.EACCES, "Permission denied", where)
        return inner(where)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises((ps.UnsafeTargetError, PermissionError)):
        check_replaceable(str(path), check_name=True)


def test_a_current_directory_that_is_gone_is_no_obstacle(world, monkeypatch):
    path = make_store(world / "data" / "p.zarr")

    def gone():
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(os, "getcwd", gone)
    check_replaceable(str(path), check_name=True)


def test_many_foreign_files_are_shown_in_part(world):
    path = make_store(world / "data" / "p.zarr")
    for number in range(20):
        add(path / f"note{number:02}.txt")
    with pytest.raises(ps.UnsafeTargetError, match=r"note00.txt.*\.\.\.") as caught:
        check_replaceable(str(path), check_name=True)
    assert "note19" not in str(caught.value)


# --- is there anything? ---------------------------------------------------------------------------


def test_an_empty_directory_counts_as_nothing(world):
    assert not exists(str(world / "absent"))
    assert not exists(str(empty_tree("e")(world) / "c"))
    assert exists(str(world / "data"))
    assert exists(str(add(world / "data" / "f")))
    os.symlink(world / "nowhere", world / "data" / "broken")
    assert exists(str(world / "data" / "broken"))


# --- taking the place -----------------------------------------------------------------------------


def built(world, name=".p.zarr.1.tmp", content="new"):
    (world / "data" / name).mkdir()
    add(world / "data" / name / "zarr.json", content)
    return str(world / "data" / name)


def old_store(world):
    add(world / "data" / "p.zarr" / "zarr.json", "old")
    add(world / "data" / "p.zarr" / "A" / "zarr.json", "old")
    return str(world / "data" / "p.zarr")


@pytest.fixture(params=["exchange", "two renames"])
def system(request, monkeypatch):
    """With and without the system's exchange of two directories."""
    if request.param == "two renames":
        monkeypatch.setattr(targets, "_exchange", lambda one, other: False)
    return request.param


@pytest.mark.parametrize("replace", [True, False])
def test_a_new_store_takes_a_free_place(world, replace):
    target = str(world / "data" / "p.zarr")
    install(built(world), target, replace=replace)
    assert snapshot(world / "data") == {"p.zarr": None, os.path.join("p.zarr", "zarr.json"): b"new"}


@pytest.mark.parametrize("replace", [True, False])
def test_a_new_store_takes_the_place_of_an_empty_directory(world, replace):
    target = world / "data" / "p.zarr"
    target.mkdir()
    install(built(world), str(target), replace=replace)
    assert (target / "zarr.json").read_text() == "new"


def test_an_old_store_is_replaced_and_removed(world, system):
    target = old_store(world)
    install(built(world), target, replace=True)
    assert snapshot(world / "data") == {"p.zarr": None, os.path.join("p.zarr", "zarr.json"): b"new"}


@pytest.mark.parametrize("there", ["store", "file", "link"])
def test_what_must_not_be_replaced_stays(world, there):
    target = world / "data" / "p.zarr"
    if there == "store":
        old_store(world)
    elif there == "file":
        add(target)
    else:
        os.symlink(world / "nowhere", target)
    new = built(world)
    before = snapshot(world)
    with pytest.raises(ps.NodeExistsError, match=r"p\.zarr"):
        install(new, str(target), replace=False)
    assert snapshot(world) == before


class Crash(BaseException):
    pass


@pytest.mark.parametrize("step", [1, 2])
def test_an_error_between_the_two_renames_puts_the_old_store_back(world, monkeypatch, step):
    target, new = old_store(world), built(world)
    before = snapshot(world)
    monkeypatch.setattr(targets, "_exchange", lambda one, other: False)
    inner, count = targets.rename, []

    def rename(source, goal):
        count.append(1)
        if len(count) == step:
            raise OSError(errno.EIO, "disk")
        inner(source, goal)

    monkeypatch.setattr(targets, "rename", rename)
    with pytest.raises(OSError, match="disk"):
        install(new, target, replace=True)
    assert snapshot(world) == before


CRASH = """
    import os, sys
    from platestore.publish import targets
    target, new, point, exchange = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "exchange"
    if not exchange:
        targets._exchange = lambda one, other: False
    count = [0]
    def crashing(module, name):
        inner = getattr(module, name)
        def call(*args, **kwargs):
            count[0] += 1
            if count[0] == point:
                os._exit(9)
            result = inner(*args, **kwargs)
            count[0] += 1
            if count[0] == point:
                os._exit(9)
            return result
        setattr(module, name, call)
    crashing(targets, "_exchange")
    for name in ("rename", "replace", "unlink", "rmdir", "mkdir"):
        crashing(os, name)
    targets.install(new, target, replace=True)
"""


@pytest.mark.quick(1)
def test_a_crash_at_any_step_keeps_a_whole_store(world, system):
    states = 0
    for point in range(1, 40):
        folder = world / "data" / str(point)
        add(folder / "p.zarr" / "zarr.json", "old")
        add(folder / "p.zarr" / "A" / "zarr.json", "old")
        add(folder / ".p.zarr.1.tmp" / "zarr.json", "new")
        arguments = [folder / "p.zarr", folder / ".p.zarr.1.tmp", str(point), system]
        code = subprocess.run([sys.executable, "-c", textwrap.dedent(CRASH), *arguments]).returncode
        present = snapshot(folder)
        whole = []
        for name in {key.split(os.sep)[0] for key in present}:
            inside = {key: v for key, v in present.items() if key.startswith(name + os.sep) and v is not None}
            contents = {os.path.relpath(key, name): v for key, v in inside.items()}
            if contents == {"zarr.json": b"new"}:
                whole.append((name, "new"))
            if contents == {"zarr.json": b"old", os.path.join("A", "zarr.json"): b"old"}:
                whole.append((name, "old"))
        assert whole, f"crash {point} lost both stores: {sorted(present)}"
        if system == "exchange":
            assert any(name == "p.zarr" for name, _ in whole), f"crash {point} left the name empty"
        if code == 0:
            assert whole == [("p.zarr", "new")]
            break
        assert code == 9
        states += 1
    else:
        pytest.fail("it never came to its end")
    assert states >= 4


def test_the_system_exchanges_two_directories_in_one_step(world):
    target, new = old_store(world), built(world)
    if not targets._exchange(new, target):
        pytest.skip("this system cannot")
    assert os.listdir(target) == ["zarr.json"]
    assert sorted(os.listdir(new)) == ["A", "zarr.json"]


@pytest.mark.parametrize("replace", [True, False])
def test_on_windows_an_empty_directory_makes_room_first(world, monkeypatch, replace):
    target, new = world / "data" / "p.zarr", built(world)
    target.mkdir()
    inner = os.rename

    def rename(source, goal):
        if os.path.lexists(goal):
            raise FileExistsError(errno.EEXIST, "exists", goal)
        inner(source, goal)

    with monkeypatch.context() as windows:
        windows.setattr(os, "rename", rename)
        windows.setattr(targets.sys, "platform", "win32")
        windows.setattr(targets.os, "name", "nt")
        install(new, os.fspath(target), replace=replace)
    assert (target / "zarr.json").read_text() == "new"


@pytest.mark.parametrize("there", ["store", "file"])
def test_on_windows_what_must_not_be_replaced_stays(world, monkeypatch, there):
    target, new = str(world / "data" / "p.zarr"), built(world)
    old_store(world) if there == "store" else add(world / "data" / "p.zarr")
    before = snapshot(world)

    def rename(source, goal):
        raise FileExistsError(errno.EEXIST, "exists", goal)

    def on_windows():
        with monkeypatch.context() as windows:
            windows.setattr(os, "rename", rename)
            windows.setattr(targets.os, "name", "nt")
            install(new, target, replace=False)

    with pytest.raises(ps.NodeExistsError):
        on_windows()
    assert snapshot(world) == before


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_systems_without_an_exchange_are_not_asked(world, monkeypatch, platform):
    target, new = old_store(world), built(world)
    monkeypatch.setattr(targets.sys, "platform", platform)
    monkeypatch.setattr(targets.ctypes, "CDLL", lambda *a, **k: pytest.fail("asked"))
    install(new, target, replace=True)
    assert snapshot(world / "data") == {"p.zarr": None, os.path.join("p.zarr", "zarr.json"): b"new"}


@pytest.mark.parametrize("failure", [OSError("no libc"), AttributeError("renameat2")])
def test_a_system_library_without_it_is_no_error(world, monkeypatch, failure):
    def refuse(*args, **kwargs):
        raise failure

    monkeypatch.setattr(targets.ctypes, "CDLL", refuse)
    target = old_store(world)
    install(built(world), target, replace=True)
    assert os.listdir(target) == ["zarr.json"]


def test_a_name_that_is_no_utf8_can_be_exchanged(world):
    if not sys.platform.startswith("linux"):
        pytest.skip("names are text elsewhere")
    target = os.fsdecode(os.fsencode(str(world / "data")) + b"/\xff.zarr")
    os.mkdir(target)
    add(world / "data" / "x", "")
    os.rename(world / "data" / "x", os.path.join(target, "zarr.json"))
    install(built(world), target, replace=True)
    with open(os.path.join(target, "zarr.json")) as file:
        assert file.read() == "new"
