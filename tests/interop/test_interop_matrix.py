"""The interoperability matrix: each library that is installed reads what is written here, and the reverse.

``docs/interop.md`` has the table of all, also of those that need a newer Python (``matrix_table.py``).
"""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from interop.matrix_cases import (
    KINDS,
    VERSIONS,
    DifferenceError,
    change,
    check,
    pixels,
    read_ours,
    write_ours,
)
from interop.matrix_peers import PEERS, Peer

#: Errors in the documents of others, by the rules of the specification.
KNOWN_ERRORS = {
    # Some releases do not state the version in the list of label images of 0.5.
    "ome-zarr": {"version-missing"},
    # Members without a value are written as null.
    "ome-zarr-models": {"wrong-type"},
    # Its list of label images is in the document of the image.
    "iohub": {"key-missing", "labels-misplaced"},
}

CASES = [(peer, kind, version) for peer in PEERS for kind in KINDS for version in VERSIONS]


def _name(case: tuple[type[Peer], str, str]) -> str:
    return f"{case[0].name}-{case[1]}-{case[2]}"


def _installed(peer: type[Peer]) -> Peer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of their imports
        if peer.version() is None:
            pytest.skip(f"{peer.name} is not installed")
    return peer()


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """Every case as platestore writes it; no test changes it."""
    room = tmp_path_factory.mktemp("ours")
    stores = {}
    for kind in KINDS:
        for version in VERSIONS:
            stores[kind, version] = room / f"{kind}-{version}.zarr"
            write_ours(stores[kind, version], kind, version)
    return stores


@pytest.mark.parametrize("case", [c for c in CASES if c[0].can_read(c[1])], ids=_name)
def test_others_read_what_is_written_here(case, ours):
    peer, (_, kind, version) = _installed(case[0]), case
    path = ours[kind, version]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        found = peer.read(kind, path)
    check(kind, path, found, by_wells=peer.by_wells)


@pytest.mark.parametrize("case", [c for c in CASES if c[0].can_write(c[1], c[2])], ids=_name)
def test_what_others_write_is_read_here(case, tmp_path):
    peer, (_, kind, version) = _installed(case[0]), case
    path = tmp_path / "theirs.zarr"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        peer.write(kind, path, version)
    found, errors = read_ours(path, kind)
    check(kind, path, found, names_channels=peer.names_channels)
    assert set(errors) <= KNOWN_ERRORS.get(peer.name, set())


@pytest.mark.parametrize("case", [c for c in CASES if c[0].can_change(c[1], c[2])], ids=_name)
def test_others_read_their_own_stores_after_a_change(case, tmp_path):
    peer, (_, kind, version) = _installed(case[0]), case
    path = tmp_path / "theirs.zarr"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        peer.write(kind, path, version)
        change(path, kind)
        found = peer.read("plate" if kind == "plate" else "labels", path)
    check(kind, path, found, names_channels=peer.names_channels, changed=True)


@pytest.mark.parametrize(("kind", "version"), [(k, v) for k in KINDS for v in VERSIONS])
def test_what_is_written_here_is_read_here(kind, version, ours):
    found, errors = read_ours(ours[kind, version], kind)
    check(kind, ours[kind, version], found)
    assert errors == []


@pytest.mark.parametrize("what", ["pixels", "scale", "fields", "labels"])
def test_a_difference_is_seen(what, ours):
    # A check of the check.
    kind = "labels" if what == "labels" else "plate"
    path = ours[kind, "0.5"]
    found, _ = read_ours(path, kind)
    if what == "pixels":
        found.images["A/1/0"].levels[0] = pixels()
    elif what == "scale":
        found.images["A/1/0"].scale = [1.0] * 5
    elif what == "fields":
        del found.images["A/1/0"]
    else:
        found.labels = {}
    with pytest.raises(DifferenceError, match=what):
        check(kind, path, found)
