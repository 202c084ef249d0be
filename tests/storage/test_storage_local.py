"""A store in a directory: atomic replacement, what is flushed when, links, and other systems' ways."""

from __future__ import annotations

import contextlib
import errno
import os
import time
import warnings

import numpy as np
import pytest

import platestore as ps
from platestore.arrays.image import open_array
from platestore.arrays.layout import plan
from platestore.storage import files, local, zarr_compat
from platestore.storage.base import StorageOptions
from platestore.storage.documents import commit
from platestore.storage.files import temporary_name
from platestore.storage.hierarchy import array_files, create_node, read_array
from platestore.storage.local import LocalStorage, find_root, is_node

WRITABLE = StorageOptions(read_only=False, lock_timeout=5)


@pytest.fixture
def storage(tmp_path):
    (tmp_path / "p.zarr").mkdir()
    return LocalStorage(str(tmp_path / "p.zarr"), WRITABLE)


def with_options(storage, **kwargs):
    return LocalStorage(storage.root, StorageOptions(read_only=False, lock_timeout=5, **kwargs))


def names_below(path):
    return sorted(os.path.relpath(os.path.join(d, n), path) for d, _, files in os.walk(path) for n in files)


# --- atomic replacement ---------------------------------------------------------------------------


def test_temporary_names_are_hidden_unique_and_recognisable():
    names = {temporary_name("zarr.json") for _ in range(200)}
    assert len(names) == 200
    assert all(n.startswith(".zarr.json.") and n.endswith(".tmp") for n in names)


def test_a_document_is_replaced_by_a_rename_and_never_truncated(storage, monkeypatch):
    storage.write("zarr.json", b"old")
    seen = []
    inner = os.replace

    def watch(source, target):
        with open(source, "rb") as new, open(target, "rb") as old:
            seen.append((os.path.dirname(source), new.read(), old.read()))
        inner(source, target)

    monkeypatch.setattr(os, "replace", watch)
    storage.write("zarr.json", b"new")
    assert seen == [(storage.root, b"new", b"old")]
    assert storage.read("zarr.json") == b"new"


def test_an_open_reader_keeps_the_document_it_opened(storage):
    storage.write("zarr.json", b"old")
    with open(storage.local_path("zarr.json"), "rb") as reader:
        storage.write("zarr.json", b"new")
        assert reader.read() == b"old"


@pytest.mark.parametrize("call", ["open", "write", "fsync", "close", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_an_error_of_the_system_leaves_the_old_document_and_no_file(storage, monkeypatch, call, code):
    storage = with_options(storage, durability="metadata")
    storage.write("zarr.json", b"old")
    inner = getattr(os, call)

    def fail(*args, **kwargs):
        if call == "close":
            inner(*args, **kwargs)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match=os.strerror(code)):
        storage.write("zarr.json", b"new")
    monkeypatch.undo()
    assert storage.read("zarr.json") == b"old"
    assert os.listdir(storage.root) == ["zarr.json"]


def test_a_system_that_writes_in_small_pieces_writes_all(storage, monkeypatch):
    inner = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: inner(descriptor, bytes(data[:3])))
    storage.write("zarr.json", b"0123456789")
    storage.create("other", b"0123456789")
    assert storage.read("zarr.json") == storage.read("other") == b"0123456789"


def test_a_failed_commit_leaves_the_document_as_it_was(storage, monkeypatch):
    storage.write("zarr.json", b'{"a": 1}')

    def fail(source, target):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="full"):
        commit(storage, "zarr.json", lambda d: d.update(b=1))
    assert names_below(storage.root) == ["zarr.json"]
    monkeypatch.undo()
    assert commit(storage, "zarr.json", lambda d: d.update(b=1)).content == {"a": 1, "b": 1}


def test_no_descriptor_is_left_open(storage):
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("the system does not list descriptors")
    storage.write("zarr.json", b'{"a": 1}')
    before = len(os.listdir("/proc/self/fd"))
    for i in range(5):
        commit(with_options(storage, durability="full"), "zarr.json", lambda d, i=i: d.update(b=i))
        with pytest.raises(ValueError):
            commit(storage, "zarr.json", lambda d: d.update(b=float("nan")))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_creation_does_not_replace(storage):
    storage.create("zarr.json", b"first")
    with pytest.raises(FileExistsError):
        storage.create("zarr.json", b"second")
    assert storage.read("zarr.json") == b"first"


def test_a_tree_disappears_in_one_step(storage, monkeypatch):
    """It is renamed before it is emptied: nobody sees half of it under its name."""
    storage.make_directory("A/1")
    storage.write("A/1/zarr.json", b"{}")
    seen = []
    inner = local.shutil.rmtree

    def watch(path, *args, **kwargs):
        seen.append((os.path.basename(path), os.path.exists(storage.local_path("A/1"))))
        inner(path, *args, **kwargs)

    monkeypatch.setattr(local.shutil, "rmtree", watch)
    storage.remove_tree("A/1")
    ((name, still_there),) = seen
    assert name.startswith(".1.")
    assert name.endswith(".tmp")
    assert not still_there
    assert os.listdir(storage.local_path("A")) == []


def test_a_missing_directory_is_named(storage):
    with pytest.raises(ps.NodeNotFoundError, match="A/1"):
        storage.list("A/1")


# --- durability -----------------------------------------------------------------------------------


class Tape:
    """Records the calls that decide what survives a power cut, with the paths they are about."""

    CALLS = ("open", "write", "fsync", "close", "replace", "rename", "mkdir", "unlink")

    def __init__(self, monkeypatch):
        self.events: list[tuple[str, str]] = []
        self.open_paths: dict[int, str] = {}
        for name in self.CALLS:
            monkeypatch.setattr(os, name, self._wrap(name, getattr(os, name)))

    def _wrap(self, name, inner):
        def call(*args, **kwargs):
            result = inner(*args, **kwargs)
            if name == "open":
                self.open_paths[result] = os.fspath(args[0])
                return result
            path = self.open_paths.get(args[0]) if isinstance(args[0], int) else os.fspath(args[0])
            if path is None:
                return result  # a descriptor that was there before, such as that of a log
            self.events.append((name, os.fspath(args[1]) if name in ("replace", "rename") else path))
            if name == "close":
                self.open_paths.pop(args[0], None)
            return result

        return call

    def of(self, *names):
        return [(name, path) for name, path in self.events if name in names]


def test_a_durable_document_is_flushed_then_renamed_then_its_directory_flushed(storage, monkeypatch):
    storage.write("zarr.json", b'{"a": 1}')
    storage = with_options(storage, durability="metadata")
    tape = Tape(monkeypatch)
    commit(storage, "zarr.json", lambda d: d.update(b=1))
    calls = tape.of("write", "fsync", "replace")
    assert [name for name, _ in calls] == ["write", "fsync", "replace", "fsync"]
    temporary = calls[0][1]
    assert os.path.dirname(temporary) == storage.root
    assert [path for _, path in calls] == [
        temporary,
        temporary,
        storage.local_path("zarr.json"),
        storage.root,
    ]


def test_by_default_nothing_is_flushed(storage, monkeypatch):
    tape = Tape(monkeypatch)
    storage.make_directory("A/1")
    storage.create("A/1/zarr.json", b"{}")
    commit(storage, "A/1/zarr.json", lambda d: d.update(b=1))
    storage.move_tree("A/1", "A/2")
    storage.remove_tree("A/2")
    assert tape.of("fsync") == []
    assert tape.of("mkdir", "replace")


def test_a_durable_creation_flushes_file_and_every_new_directory(storage, monkeypatch):
    storage = with_options(storage, durability="metadata")
    tape = Tape(monkeypatch)
    create_node(storage, "A/1/0", [("zarr.json", b"{}")])
    flushed = [path for _, path in tape.of("fsync")]
    for path in ("", "A", "A/1", "A/1/0", "A/1/0/zarr.json"):
        assert storage.local_path(path) in flushed
    order = tape.of("write", "fsync")
    assert order.index(("fsync", storage.local_path("A/1/0/zarr.json"))) > order.index(
        ("write", storage.local_path("A/1/0/zarr.json"))
    )


def test_a_durable_move_flushes_both_directories(storage, monkeypatch):
    storage = with_options(storage, durability="metadata")
    storage.make_directory("A/1")
    storage.make_directory("B")
    tape = Tape(monkeypatch)
    storage.move_tree("A/1", "B/1")
    events = tape.of("rename", "fsync")
    assert events[0] == ("rename", storage.local_path("B/1"))
    assert {path for name, path in events[1:]} == {storage.local_path("A"), storage.local_path("B")}


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_full_durability_flushes_pixels_and_the_directories_that_lead_to_them(
    storage, monkeypatch, zarr_format
):
    array = make_array(with_options(storage, durability="full"), zarr_format)
    tape = Tape(monkeypatch)
    array[...] = 1
    monkeypatch.undo()
    flushed = {path for _, path in tape.of("fsync")}
    chunks = [
        n for n in names_below(storage.root) if os.path.basename(n) not in ("zarr.json", ".zarray", ".zattrs")
    ]
    assert chunks
    handle = array._engine.handle(writable=True)
    assert handle.spec(retain_context=True).to_json()["kvstore"]["file_io_sync"] is True
    for chunk in chunks:
        path = os.path.dirname(storage.local_path(chunk))  # the engine flushes the file itself
        while path != storage.root:
            assert path in flushed, f"{path} would be lost with the power"
            path = os.path.dirname(path)


@pytest.mark.parametrize("durability", ["process", "metadata"])
def test_less_durability_does_not_flush_pixels(storage, monkeypatch, durability):
    array = make_array(with_options(storage, durability=durability), 3)
    tape = Tape(monkeypatch)
    array[...] = 1
    assert tape.of("fsync") == []


def make_array(storage, zarr_format=3, path="0"):
    layout = plan((4, 4), "uint8", zarr_format=zarr_format, chunks=(2, 2))
    create_node(storage, path, array_files(zarr_format, layout.document(zarr_format, ["y", "x"]), where=""))
    return open_array(storage, read_array(storage, path, zarr_format), ["y", "x"])


# --- links ----------------------------------------------------------------------------------------


@pytest.fixture
def outside(tmp_path):
    """A directory beside the store, with something to lose."""
    directory = tmp_path / "outside"
    (directory / "0").mkdir(parents=True)
    (directory / "zarr.json").write_bytes(b'{"theirs": 1}')
    (directory / "0" / "zarr.json").write_bytes(b'{"theirs": 2}')
    return directory


@pytest.fixture
def linked(storage, outside):
    """A store whose ``A/1`` is a link out of it."""
    storage.make_directory("A")
    os.symlink(outside, storage.local_path("A/1"))
    return storage


def snapshot(directory):
    return {name: (directory / name).read_bytes() for name in names_below(directory)}


WRITES = {
    "lock": lambda s: s.lock("A/1").__enter__(),
    "lock below": lambda s: s.lock("A/1/0").__enter__(),
    "commit": lambda s: commit(s, "A/1/zarr.json", lambda d: d.update(mine=1)),
    "commit below": lambda s: commit(s, "A/1/0/zarr.json", lambda d: d.update(mine=1)),
    "write": lambda s: s.write("A/1/zarr.json", b"mine"),
    "write below": lambda s: s.write("A/1/0/zarr.json", b"mine"),
    "create": lambda s: s.create("A/1/new", b"mine"),
    "make a directory": lambda s: s.make_directory("A/1/new"),
    "create a node": lambda s: create_node(s, "A/1/new", [("zarr.json", b"{}")]),
    "remove": lambda s: s.remove("A/1/zarr.json"),
    "remove the link": lambda s: s.remove_tree("A/1"),
    "remove below": lambda s: s.remove_tree("A/1/0"),
    "move the link": lambda s: s.move_tree("A/1", "A/2"),
    "move out of it": lambda s: s.move_tree("A/1/0", "A/2"),
    "move into it": lambda s: (s.make_directory("B"), s.move_tree("B", "A/1/new")),
}


def test_a_link_out_of_the_store_is_read_with_a_warning(linked):
    with pytest.warns(ps.StoreWarning, match=r"A/1.*link out of the store.*outside"):
        linked.check_links("A/1/0", writing=False)
    assert linked.read("A/1/zarr.json") == b'{"theirs": 1}'


def test_the_warning_is_given_once(linked):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            linked.check_links("A/1", writing=False)
            linked.check_links("A/1/0", writing=False)
    assert len(caught) == 1


@pytest.mark.filterwarnings("ignore::platestore.StoreWarning")
@pytest.mark.parametrize("change", WRITES.values(), ids=WRITES)
def test_nothing_is_written_moved_or_removed_through_a_link_out_of_the_store(linked, outside, change):
    before = snapshot(outside)
    with pytest.raises(ps.UnsafeTargetError, match="follow_links=True"):
        change(linked)
    assert snapshot(outside) == before
    assert sorted(os.listdir(outside)) == ["0", "zarr.json"]
    assert os.path.islink(linked.local_path("A/1"))


@pytest.mark.filterwarnings("ignore::platestore.StoreWarning")
def test_follow_links_permits_it(linked, outside):
    storage = with_options(linked, follow_links=True)
    commit(storage, "A/1/zarr.json", lambda d: d.update(mine=1))
    storage.write("A/1/0/zarr.json", b"{}")
    storage.make_directory("A/1/new")
    assert (outside / "zarr.json").read_bytes() == b'{"theirs":1,"mine":1}'
    assert (outside / "0" / "zarr.json").read_bytes() == b"{}"
    assert (outside / "new").is_dir()


@pytest.mark.filterwarnings("ignore::platestore.StoreWarning")
@pytest.mark.parametrize("path", ["A/1/0", "A/1"])
def test_follow_links_permits_removing(linked, path):
    storage = with_options(linked, follow_links=True)
    storage.remove_tree(path)
    assert not os.path.lexists(storage.local_path(path))
    assert [n for n in os.listdir(storage.local_path("A")) if n.endswith(".tmp")] == []


@pytest.mark.parametrize("target", ["relative", "absolute"])
def test_a_link_inside_the_store_is_fine(storage, target):
    storage.make_directory("B/1")
    storage.write("B/1/zarr.json", b'{"a": 1}')
    storage.make_directory("A")
    os.symlink(
        {"relative": "../B/1", "absolute": storage.local_path("B/1")}[target], storage.local_path("A/1")
    )
    commit(storage, "A/1/zarr.json", lambda d: d.update(b=2))
    assert storage.read("B/1/zarr.json") == b'{"a":1,"b":2}'


def test_removing_a_link_inside_the_store_removes_the_link_only(storage):
    storage.make_directory("B/1")
    storage.write("B/1/zarr.json", b"{}")
    os.symlink("B", storage.local_path("A"))
    storage.remove_tree("A")
    assert not os.path.lexists(storage.local_path("A"))
    assert storage.read("B/1/zarr.json") == b"{}"
    assert os.listdir(storage.root) == ["B"]


def test_links_inside_a_tree_that_is_removed_are_not_followed(storage, outside):
    storage.make_directory("A/1")
    os.symlink(outside, storage.local_path("A/1/link"))
    before = snapshot(outside)
    storage.remove_tree("A/1")
    assert snapshot(outside) == before
    assert os.listdir(storage.local_path("A")) == []


def test_a_link_that_leads_out_by_way_of_the_inside_is_found(storage, outside):
    storage.make_directory("B")
    os.symlink(outside, storage.local_path("B/out"))
    os.symlink("B", storage.local_path("A"))
    with pytest.warns(ps.StoreWarning, match="link out of the store"):
        storage.check_links("A/out/0", writing=False)
    with pytest.raises(ps.UnsafeTargetError):
        storage.check_links("A/out/0", writing=True)


def test_a_store_beside_with_a_longer_name_is_outside(tmp_path):
    (tmp_path / "p.zarr").mkdir()
    (tmp_path / "p.zarr2").mkdir()
    storage = LocalStorage(str(tmp_path / "p.zarr"), WRITABLE)
    os.symlink(tmp_path / "p.zarr2", storage.local_path("A"))
    with pytest.warns(ps.StoreWarning), pytest.raises(ps.UnsafeTargetError):
        storage.check_links("A", writing=True)


def test_a_store_reached_through_a_link_has_no_link_in_it(tmp_path):
    (tmp_path / "real.zarr" / "A").mkdir(parents=True)
    os.symlink(tmp_path / "real.zarr", tmp_path / "link.zarr")
    storage = LocalStorage(str(tmp_path / "link.zarr"), WRITABLE)
    storage.write("A/zarr.json", b"{}")
    commit(storage, "A/zarr.json", lambda d: d.update(a=1))
    assert storage.read("A/zarr.json") == b'{"a":1}'


def test_what_is_created_later_is_checked_then(storage, outside):
    storage.check_links("A/1", writing=False)
    storage.make_directory("A")
    os.symlink(outside, storage.local_path("A/1"))
    with pytest.warns(ps.StoreWarning), pytest.raises(ps.UnsafeTargetError):
        storage.check_links("A/1", writing=True)


@pytest.mark.filterwarnings("ignore::platestore.StoreWarning")
@pytest.mark.parametrize("part", ["position", "array"])
def test_pixels_are_not_written_through_a_link(tmp_path, version, part):
    """A link to a position of somebody else, or to one of its arrays."""
    theirs = ps.open_ome_zarr(
        tmp_path / "theirs.zarr", layout="fov", mode="w-", channel_names=["a"], version=version
    )
    theirs["0"] = np.full((1, 1, 1, 4, 4), 7, "uint8")
    plate = ps.open_ome_zarr(
        tmp_path / "p.zarr", layout="hcs", mode="w-", channel_names=["a"], version=version
    )
    plate.create_position("A", "1", "0")["0"] = np.zeros((1, 1, 1, 4, 4), "uint8")
    place = tmp_path / "p.zarr" / "A" / "1" / "0"
    place, target = (
        (place, theirs_path(tmp_path)) if part == "position" else (place / "0", theirs_path(tmp_path) / "0")
    )
    local.shutil.rmtree(place)
    os.symlink(target, place)
    image = ps.open_ome_zarr(tmp_path / "p.zarr", mode="r+")["A/1/0"]["0"]
    assert (image.numpy() == 7).all(), "it is read"
    for change in (
        lambda: image.__setitem__(..., 1),
        lambda: image.resize((1, 1, 1, 2, 2)),
        lambda: image.append(np.zeros((1, 1, 1, 4, 4), "uint8")),
        lambda: image.attrs.update(mine=1),
        lambda: image.tensorstore()[...].write(1).result(),
    ):
        with pytest.raises((ValueError, PermissionError)):
            change()
        assert (theirs.refresh()["0"].numpy() == 7).all()
        assert dict(theirs["0"].attrs) == {}


def theirs_path(tmp_path):
    return tmp_path / "theirs.zarr"


# --- names that differ only in case ---------------------------------------------------------------


@pytest.mark.parametrize("document", ["zarr.json", ".zgroup", ".zarray"])
def test_a_file_system_that_folds_case_is_recognised_by_the_stores_own_file(storage, monkeypatch, document):
    storage.write(document, b"{}")
    inner = os.path.exists
    monkeypatch.setattr(
        os.path, "exists", lambda p: inner(os.path.join(os.path.dirname(p), os.path.basename(p).lower()))
    )
    assert storage.folds_case() is True


def test_folding_is_probed_once(storage, monkeypatch):
    storage.write("zarr.json", b"{}")
    assert storage.folds_case() is False
    monkeypatch.setattr(os.path, "exists", lambda p: True)
    assert storage.folds_case() is False


def test_the_probe_writes_nothing(storage):
    storage.write(".zgroup", b"{}")
    storage.folds_case()
    assert os.listdir(storage.root) == [".zgroup"]


# --- Windows --------------------------------------------------------------------------------------


@contextlib.contextmanager
def on_windows(**calls):
    """``os`` says it is Windows, and time passes without waiting; gives the pauses.

    It is undone before a failure is reported: the test runner would not survive on such a Windows.
    """
    pauses: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local.os, "name", "nt")
        patch.setattr(files.time, "sleep", pauses.append)
        for name, call in calls.items():
            patch.setattr(local.os, name, call)
        yield pauses


def busy(function, failures):
    """A renaming call that finds its target in use some times."""
    inner, left = getattr(os, function), [failures]

    def call(*args):
        if left[0]:
            left[0] -= 1
            raise PermissionError(errno.EACCES, "in use", args[1])
        inner(*args)

    return {function: call}


@pytest.mark.parametrize("function", ["replace", "rename"])
@pytest.mark.parametrize("failures", [1, 3, 6])
def test_on_windows_a_rename_waits_for_readers(tmp_path, function, failures):
    (tmp_path / "a").write_text("x")
    with on_windows(**busy(function, failures)) as pauses:
        getattr(files, function)(str(tmp_path / "a"), str(tmp_path / "b"))
    assert (tmp_path / "b").exists()
    assert len(pauses) == failures
    assert pauses == sorted(pauses), "each pause is longer than the one before"


@pytest.mark.parametrize("function", ["replace", "rename"])
def test_on_windows_it_gives_up_after_a_while(function):
    with on_windows(**busy(function, 10**6)) as pauses, pytest.raises(PermissionError, match="in use"):
        getattr(files, function)("a", "b")
    assert 0.5 < sum(pauses) < 10


@pytest.mark.parametrize("function", ["replace", "rename"])
def test_elsewhere_a_missing_permission_is_an_error_at_once(monkeypatch, function):
    if os.name == "nt":
        pytest.skip("this is Windows")
    for name, call in busy(function, 10**6).items():
        monkeypatch.setattr(os, name, call)
    monkeypatch.setattr(time, "sleep", lambda s: pytest.fail("waited"))
    with pytest.raises(PermissionError):
        getattr(files, function)("a", "b")


@pytest.mark.parametrize("function", ["replace", "rename"])
def test_other_errors_are_not_waited_for(tmp_path, function):
    source, target = str(tmp_path / "absent"), str(tmp_path / "b")
    with on_windows() as pauses, pytest.raises(FileNotFoundError):
        getattr(files, function)(source, target)
    assert pauses == []


def test_on_windows_a_document_is_written_while_somebody_reads_it(storage):
    storage.write("zarr.json", b"old")
    with on_windows(**busy("replace", 3)) as pauses:
        storage.write("zarr.json", b"new")
    assert storage.read("zarr.json") == b"new"
    assert len(pauses) == 3
    assert os.listdir(storage.root) == ["zarr.json"]


def windows_descriptors():
    """``open`` and ``fsync`` as there: no directory is opened, and only what may be written is flushed."""
    inner_open, inner_sync, writable, flushed = os.open, os.fsync, set(), []

    def windows_open(path, flags, *args, **kwargs):
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        descriptor = inner_open(path, flags, *args, **kwargs)
        (writable.add if flags & (os.O_RDWR | os.O_WRONLY) else writable.discard)(descriptor)
        return descriptor

    def windows_sync(descriptor):
        if descriptor not in writable:
            raise OSError(errno.EBADF, "Bad file descriptor")
        flushed.append(descriptor)
        inner_sync(descriptor)

    return {"open": windows_open, "fsync": windows_sync}, flushed


def test_on_windows_documents_are_flushed_without_their_directories(storage):
    storage = with_options(storage, durability="metadata")
    calls, flushed = windows_descriptors()
    with on_windows(**calls):
        storage.make_directory("A/1")
        storage.create("A/1/zarr.json", b"old")
        storage.write("A/1/zarr.json", b"new")
        storage.move_tree("A/1", "A/2")
    assert storage.read("A/2/zarr.json") == b"new"
    assert len(flushed) == 2


def test_on_windows_pixels_are_flushed_without_their_directories(storage):
    store = zarr_compat.local_store(storage.root, read_only=False, sync=True)
    calls, flushed = windows_descriptors()
    with on_windows(**calls):
        zarr_compat.run(store.set("0/c/0", zarr_compat.to_buffer(b"pixels")))
    assert flushed
    assert storage.read("0/c/0") == b"pixels"


# --- finding the root -----------------------------------------------------------------------------


def node(path, name="zarr.json"):
    path.mkdir(parents=True, exist_ok=True)
    (path / name).write_text("{}")


@pytest.mark.parametrize("name", ["zarr.json", ".zgroup", ".zarray"])
def test_a_directory_with_a_document_is_a_node(tmp_path, name):
    assert not is_node(str(tmp_path))
    node(tmp_path, name)
    assert is_node(str(tmp_path))


def test_the_root_is_the_outermost_group(tmp_path):
    for part in ("p.zarr", "p.zarr/A", "p.zarr/A/1", "p.zarr/A/1/0"):
        node(tmp_path / part)
    assert find_root(str(tmp_path / "p.zarr/A/1/0")) == (str(tmp_path / "p.zarr"), "A/1/0")
    assert find_root(str(tmp_path / "p.zarr")) == (str(tmp_path / "p.zarr"), "")


def test_a_row_without_a_document_is_passed_over(tmp_path):
    for part in ("p.zarr", "p.zarr/A/1", "p.zarr/A/1/0"):
        node(tmp_path / part, ".zgroup")
    assert find_root(str(tmp_path / "p.zarr/A/1/0")) == (str(tmp_path / "p.zarr"), "A/1/0")
    assert find_root(str(tmp_path / "p.zarr/A/1")) == (str(tmp_path / "p.zarr"), "A/1")


def test_a_store_in_plain_folders_is_its_own_root(tmp_path):
    node(tmp_path / "data" / "day 1" / "p.zarr")
    path = str(tmp_path / "data" / "day 1" / "p.zarr")
    assert find_root(path) == (path, "")
    assert find_root(str(tmp_path / "absent")) == (str(tmp_path / "absent"), "")


def test_looking_for_links_costs_nothing_the_second_time(storage, monkeypatch):
    storage.make_directory("A/1")
    storage.check_links("A/1", writing=True)
    monkeypatch.setattr(os, "lstat", lambda *a, **k: pytest.fail("looked again"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        storage.check_links("A/1", writing=True)
        storage.check_links("A", writing=False)
