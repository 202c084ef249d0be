"""Locks, between real processes: who holds one, who waits, and what sets it free."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import threading
import time

import filelock
import pytest

import platestore as ps
from platestore.storage import locks
from platestore.storage.base import StorageOptions
from platestore.storage.documents import commit
from platestore.storage.local import LocalStorage
from platestore.storage.locks import locked

unix = pytest.mark.skipif(os.name == "nt", reason="flock and fork are of Unix")


@pytest.fixture
def store(tmp_path):
    (tmp_path / "p.zarr" / "A").mkdir(parents=True)
    (tmp_path / "p.zarr" / "zarr.json").write_text('{"n": 0}')
    return tmp_path / "p.zarr"


@pytest.fixture
def no_flock(monkeypatch):
    """A file system on which flock excludes nobody."""
    monkeypatch.setattr(locks, "_probed", {})
    monkeypatch.setattr(locks, "_probe", lambda directory: False)


NO_FLOCK = "from platestore.storage import locks; locks._probe = lambda directory: False"


class Child:
    """Another process that runs some lines; it talks to the test line by line."""

    def __init__(self, code, *args, setup=""):
        text = "import sys, os, time\n" + setup + "\n" + textwrap.dedent(code)
        self.process = subprocess.Popen(
            [sys.executable, "-c", text, *map(str, args)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def says(self, expected):
        line = self.process.stdout.readline().strip()
        assert line == expected, f"{line!r} instead of {expected!r}"

    def tell(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self):
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        code = self.process.wait(30)
        self.process.stdout.close()
        return code


@pytest.fixture
def child():
    children = []

    def start(*args, **kwargs):
        children.append(Child(*args, **kwargs))
        return children[-1]

    yield start
    for one in children:
        if one.process.poll() is None:
            one.process.kill()
        one.end()


HOLD = """
    from platestore.storage.locks import locked
    with locked(sys.argv[1], sys.argv[2], 30):
        print("held", flush=True)
        sys.stdin.readline()
    print("free", flush=True)
    sys.stdin.readline()
"""


def hold(child, directory, store, **kwargs):
    holder = child(HOLD, directory, store, **kwargs)
    holder.says("held")
    return holder


def can_lock(directory, store, timeout=0.0):
    try:
        with locked(str(directory), str(store), timeout):
            return True
    except ps.LockTimeoutError:
        return False


# --- exclusion ------------------------------------------------------------------------------------


def test_a_lock_keeps_another_process_out_until_it_is_left(store, child):
    holder = hold(child, store, store)
    assert not can_lock(store, store)
    holder.tell()
    holder.says("free")
    assert can_lock(store, store)


@unix
def test_locks_of_different_directories_do_not_meet(store, child):
    hold(child, store, store)
    assert can_lock(store / "A", store)


@unix
def test_no_file_is_made_where_flock_works(store):
    before = sorted(os.listdir(store.parent)), sorted(os.listdir(store))
    with locked(str(store), str(store), 1):
        assert (sorted(os.listdir(store.parent)), sorted(os.listdir(store))) == before
    assert (sorted(os.listdir(store.parent)), sorted(os.listdir(store))) == before


def test_a_waiting_process_goes_on_as_soon_as_it_can(store, child):
    holder = hold(child, store, store)
    threading.Timer(0.2, holder.tell).start()
    assert can_lock(store, store, timeout=30)


COUNT = """
    import json
    from platestore.storage.base import StorageOptions
    from platestore.storage.documents import commit
    from platestore.storage.local import LocalStorage
    storage = LocalStorage(sys.argv[1], StorageOptions(read_only=False))
    def one(document):
        document["n"] += 1
        document.setdefault("pids", []).append(os.getpid())
    known = None
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(25):
        known = commit(storage, "zarr.json", one, known=known)
    print("done", flush=True)
"""


@pytest.mark.parametrize("setup", ["", NO_FLOCK], ids=["flock", "lock file"])
def test_processes_that_commit_at_once_lose_nothing(store, child, setup):
    writers = [child(COUNT, store, setup=setup) for _ in range(4)]
    for writer in writers:
        writer.says("ready")
    for writer in writers:
        writer.tell()
    for writer in writers:
        writer.says("done")
    document = json.loads((store / "zarr.json").read_text())
    assert document["n"] == 100
    assert len(set(document["pids"])) == 4
    switches = sum(a != b for a, b in zip(document["pids"], document["pids"][1:], strict=False))
    assert switches >= 3


def test_without_locks_nothing_waits(store, child):
    hold(child, store, store)
    storage = LocalStorage(str(store), StorageOptions(read_only=False, lock=False, lock_timeout=0))
    commit(storage, "zarr.json", lambda document: document.update(n=5))
    assert json.loads((store / "zarr.json").read_text()) == {"n": 5}


# --- waiting too long -----------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [0, 0.1])
def test_who_waits_too_long_is_told_how_long_and_for_whom(store, child, timeout):
    holder = hold(child, store, store)
    start = time.monotonic()
    lock = locked(str(store), str(store), timeout)
    with pytest.raises(ps.LockTimeoutError, match="lock_timeout") as caught, lock:
        pytest.fail("two processes hold one lock")
    assert time.monotonic() - start >= timeout
    assert isinstance(caught.value, TimeoutError)
    assert str(store) in str(caught.value)
    assert f"{timeout:g} s" in str(caught.value)
    if named_in_proc_locks(holder.process.pid):
        assert f"process {holder.process.pid}" in str(caught.value)


def named_in_proc_locks(pid):
    try:
        with open("/proc/locks", encoding="ascii") as file:
            return any(line.split()[4:5] == [str(pid)] and "FLOCK" in line for line in file)
    except OSError:
        return False


@unix
def test_a_timeout_leaves_no_descriptor_and_no_lock(store, child):
    holder = hold(child, store, store)
    before = set(locks._open_descriptors)
    assert not can_lock(store, store, 0.05)
    assert locks._open_descriptors == before
    holder.tell()
    holder.says("free")
    assert can_lock(store, store)


def test_a_directory_that_is_not_there_is_named(store):
    with pytest.raises(ps.NodeNotFoundError, match="absent"), locked(str(store / "absent"), str(store), 1):
        pass
    with pytest.raises(ps.NodeNotFoundError), locked(str(store / "zarr.json" / "x"), str(store), 1):
        pass


# --- again in the same process --------------------------------------------------------------------


@pytest.mark.parametrize("fixture", ["flock", "no_flock"])
def test_who_holds_a_lock_can_take_it_again(store, request, fixture, child):
    setup = ""
    if fixture == "no_flock":
        request.getfixturevalue("no_flock")
        setup = NO_FLOCK
    with locked(str(store), str(store), 0):
        with locked(str(store), str(store), 0), locked(str(store / "A"), str(store), 0):
            pass
        waiter = child(HOLD.replace("30", "0.2"), store, store, setup=setup)
        assert waiter.end() != 0, "the inner one gave the lock away"
    assert can_lock(store, store)


def test_threads_of_one_process_wait_for_each_other(store):
    order, inside = [], threading.Event()

    def other():
        inside.wait(5)
        with locked(str(store), str(store), 30):
            order.append("other")

    thread = threading.Thread(target=other)
    thread.start()
    with locked(str(store), str(store), 1):
        inside.set()
        thread.join(0.2)
        order.append("mine")
    thread.join()
    assert order == ["mine", "other"]


def test_an_error_inside_sets_it_free(store):
    for _ in range(2):
        outer, inner = (locked(str(store), str(store), 1) for _ in range(2))
        with pytest.raises(RuntimeError), outer, inner:
            raise RuntimeError
    thread = threading.Thread(target=lambda: locked(str(store), str(store), 5).__enter__())
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


# --- dying and forking ----------------------------------------------------------------------------


@unix
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_lock_is_free_when_its_holder_dies(store, child, how):
    holder = hold(child, store, store)
    assert not can_lock(store, store)
    os.kill(holder.process.pid, how)
    holder.process.wait(10)
    assert can_lock(store, store, timeout=5)


def test_a_lock_file_whose_holder_was_killed_is_no_end(store, child, no_flock):
    """The next writer takes it over, or is told which file to delete."""
    holder = hold(child, store, store, setup=NO_FLOCK)
    assert not can_lock(store, store)
    holder.process.kill()
    holder.process.wait(10)
    try:
        with locked(str(store), str(store), 1):
            message = ""
    except ps.LockTimeoutError as error:
        message = str(error)
    if message:
        assert ".p.zarr.lock" in message
        assert "delete" in message
        os.unlink(store.parent / ".p.zarr.lock")
        assert can_lock(store, store)


FORK = """
    from platestore.storage.locks import locked
    directory, action = sys.argv[1:3]
    with locked(directory, directory, 30):
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(write)
            if action == "ends":
                os._exit(0)
            if action == "locks":
                try:
                    with locked(directory, directory, 0):
                        os._exit(1)
                except TimeoutError:
                    os._exit(0)
            os.read(read, 1)  # lives on until the test ends
            os._exit(0)
        os.close(read)
        if action != "lives":
            print(os.waitpid(pid, 0)[1], flush=True)
        print("held", flush=True)
        sys.stdin.readline()
    print("free", flush=True)
    sys.stdin.readline()
"""


@unix
def test_a_forked_child_that_ends_does_not_free_the_lock(store, child):
    parent = child(FORK, store, "ends")
    parent.says("0")
    parent.says("held")
    assert not can_lock(store, store, 0.1)
    parent.tell()
    parent.says("free")
    assert can_lock(store, store)


@unix
def test_a_forked_child_that_lives_on_does_not_keep_the_lock(store, child):
    parent = child(FORK, store, "lives")
    parent.says("held")
    parent.tell()
    parent.says("free")
    assert can_lock(store, store, timeout=5)


@unix
def test_a_forked_child_does_not_hold_its_parents_lock(store, child):
    parent = child(FORK, store, "locks")
    parent.says("0")
    parent.says("held")


UNWIND = """
    from platestore.storage.locks import locked
    directory = sys.argv[1]
    pid = None
    try:
        with locked(directory, directory, 30):
            pid = os.fork()
            if pid == 0:
                raise SystemExit  # leaves the block in the child
            os.waitpid(pid, 0)
            print("held", flush=True)
            sys.stdin.readline()
    except SystemExit:
        os._exit(0)
    print("free", flush=True)
    sys.stdin.readline()
"""


@unix
@pytest.mark.parametrize("setup", ["", NO_FLOCK], ids=["flock", "lock file"])
def test_a_forked_child_that_leaves_the_block_does_not_free_the_lock(store, child, setup, request):
    if setup:
        request.getfixturevalue("no_flock")
    parent = child(UNWIND, store, setup=setup)
    parent.says("held")
    assert not can_lock(store, store, 0.1)


@unix
def test_a_started_program_does_not_inherit_the_lock(store, child):
    holder = child(
        """
        import subprocess
        from platestore.storage.locks import locked
        with locked(sys.argv[1], sys.argv[1], 30):
            command = [sys.executable, "-c", "input()"]
            program = subprocess.Popen(command, stdin=subprocess.PIPE, close_fds=False)
        print("free", flush=True)
        sys.stdin.readline()
        program.communicate(b"\\n")
        """,
        store,
    )
    holder.says("free")
    assert can_lock(store, store)


# --- a store that is replaced or moved meanwhile --------------------------------------------------


@unix
def test_who_waited_on_a_directory_that_was_replaced_locks_the_new_one(store, child):
    holder = hold(child, store, store)
    entered = threading.Event()
    inodes = []

    def wait():
        with locked(str(store), str(store), 30):
            inodes.append(os.stat(store).st_ino)
            entered.set()

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.1)
    store.rename(store.with_name("old.zarr"))
    store.mkdir()
    assert not entered.wait(0.1) or inodes == [os.stat(store).st_ino]
    second = hold(child, store, store) if not entered.is_set() else None
    holder.tell()
    if second is not None:
        assert not entered.wait(0.3), "it took the lock of the old directory for that of the new one"
        second.tell()
    thread.join(30)
    assert inodes == [os.stat(store).st_ino]


@unix
def test_who_waited_on_a_directory_that_is_gone_is_told(store, child):
    holder = hold(child, store / "A", store)
    errors = []

    def wait():
        try:
            with locked(str(store / "A"), str(store), 30):
                pass
        except ps.NodeNotFoundError as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.1)
    (store / "A").rename(store / "B")
    holder.tell()
    thread.join(30)
    assert len(errors) == 1


# --- where flock does not exclude -----------------------------------------------------------------


def test_a_lock_file_beside_the_store_serves_where_flock_does_not(store, no_flock):
    with locked(str(store / "A"), str(store), 1):
        assert sorted(os.listdir(store.parent)) == [".p.zarr.lock", "p.zarr"]
        assert sorted(os.listdir(store)) == ["A", "zarr.json"], "nothing is put into the store"


def test_a_lock_file_keeps_other_processes_out_of_all_directories(store, child, no_flock):
    holder = hold(child, store, store, setup=NO_FLOCK)
    assert not can_lock(store, store)
    assert not can_lock(store / "A", store)
    holder.tell()
    holder.says("free")
    assert can_lock(store / "A", store)


def test_waiting_for_a_lock_file_names_it(store, child, no_flock):
    hold(child, store, store, setup=NO_FLOCK)
    lock = locked(str(store), str(store), 0.1)
    with pytest.raises(ps.LockTimeoutError, match=r"\.p\.zarr\.lock") as caught, lock:
        pytest.fail("two processes hold one lock")
    assert caught.value.path == str(store)


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied"), OSError(30, "Read-only file system")]
)
def test_where_no_lock_can_be_had_the_error_names_the_way_out(store, no_flock, monkeypatch, error):
    def refuse(self):
        raise error

    for cls in (filelock.SoftFileLock, filelock.FileLock):
        monkeypatch.setattr(cls, "_acquire", refuse)
    storage = LocalStorage(str(store), StorageOptions(read_only=False, lock_timeout=1))
    with pytest.raises(ps.LockUnsupportedError, match="lock=False") as caught:
        commit(storage, "zarr.json", lambda document: document.update(n=9))
    assert isinstance(caught.value, OSError)
    assert error.strerror in str(caught.value)
    assert json.loads((store / "zarr.json").read_text()) == {"n": 0}
    unlocked = LocalStorage(str(store), StorageOptions(read_only=False, lock=False))
    commit(unlocked, "zarr.json", lambda document: document.update(n=9))
    assert json.loads((store / "zarr.json").read_text()) == {"n": 9}


def test_a_lock_file_can_be_taken_while_another_store_is_locked(store, no_flock):
    other = store.with_name("q.zarr")
    other.mkdir()
    with locked(str(store), str(store), 1), locked(str(other), str(other), 1):
        assert {".p.zarr.lock", ".q.zarr.lock"} <= set(os.listdir(store.parent))


# --- the probe ------------------------------------------------------------------------------------


@unix
def test_the_probe_finds_that_flock_excludes_here(store):
    assert locks._probe(str(store)) is True


@unix
def test_the_probe_is_not_fooled_by_somebody_who_holds_the_lock(store, child):
    hold(child, store, store)
    assert locks._probe(str(store)) is True


@unix
def test_the_probe_finds_that_flock_does_nothing(store, monkeypatch):
    monkeypatch.setattr(locks.fcntl, "flock", lambda descriptor, operation: None)
    assert locks._probe(str(store)) is False


@unix
@pytest.mark.parametrize("failing", [1, 2])
def test_the_probe_takes_a_failure_for_no(store, monkeypatch, failing):
    calls = []

    def flock(descriptor, operation):
        calls.append(descriptor)
        if len(calls) == failing:
            raise OSError(37, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    assert locks._probe(str(store)) is False


@unix
def test_the_probe_leaves_nothing_behind(store):
    before = (
        sorted(os.listdir(store)),
        len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0,
    )
    locks._probe(str(store))
    after = (
        sorted(os.listdir(store)),
        len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0,
    )
    assert after == before
    assert can_lock(store, store)


@unix
def test_each_device_is_probed_once(store, monkeypatch):
    probes = []
    monkeypatch.setattr(locks, "_probed", {})
    monkeypatch.setattr(locks, "_probe", lambda directory: probes.append(directory) or True)
    for directory in (store, store / "A", store):
        assert can_lock(directory, store)
    assert probes == [str(store)]


def test_windows_has_lock_files(store, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    with locked(str(store), str(store), 1):
        assert ".p.zarr.lock" in os.listdir(store.parent)
        with pytest.raises(ps.NodeNotFoundError), locked(str(store / "absent"), str(store), 1):
            pass


def test_a_root_directory_has_a_name_for_its_lock_file():
    assert locks._lock_file(str(pathlib.PurePosixPath("/data/p.zarr"))) == os.path.join(
        "/data", ".p.zarr.lock"
    )
    assert locks._lock_file("/data/p.zarr/") == os.path.join("/data", ".p.zarr.lock")
