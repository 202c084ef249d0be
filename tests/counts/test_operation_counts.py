"""How many documents each call reads and writes, exactly.

Timings drift, counts do not. What is asserted: navigation reads each document once and lists no directory;
opening one node reads that node; a change reads the document afresh once and writes it once; zarr itself
reads no document. In 0.4 a group is two documents (``.zgroup`` and ``.zattrs``), in 0.5 one.

Zarr finds out by asking for ``zarr.json`` first which version a store has; that is the one reading of
something that is not there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from count_operations import DOCUMENTS, Operations, once
from zarr.storage import MemoryStore, StorePath

import platestore as ps

SHAPE = (1, 2, 1, 4, 4)
WELLS = [("A", "1", "0"), ("A", "2", "0"), ("B", "1", "0")]


class Store:
    """A plate of three positions with an array each, in a directory or in memory."""

    def __init__(self, kind: str, version: str, tmp_path: Path) -> None:
        self.version = version
        self.path = tmp_path / "s.zarr" if kind == "directory" else None
        self.target: Any = self.path or MemoryStore()
        plate = ps.open_ome_zarr(
            self.target, layout="hcs", mode="w-", channel_names=["DAPI", "GFP"], version=version
        )
        plate.create_positions(WELLS, shape=SHAPE, dtype="uint16")

    def open(self, path: str = "", mode: str = "r", **kwargs: Any) -> Any:
        place = self.target / path if self.path else StorePath(self.target, path)
        return ps.open_ome_zarr(place, mode=mode, **kwargs)

    def count(self) -> Operations:
        return Operations(self.path)

    # Names of documents, relative to the root.

    def attributes(self, *paths: str) -> list[str]:
        """The documents with the attributes of groups."""
        return [f"{path}/{self._attributes}".lstrip("/") for path in paths]

    def groups(self, *paths: str, bare: bool = False) -> list[str]:
        """All documents of groups; bare ones have no attributes."""
        names = ["zarr.json"] if self.version == "0.5" else [".zgroup", *([] if bare else [".zattrs"])]
        return [f"{path}/{name}".lstrip("/") for path in paths for name in names]

    def arrays(self, *paths: str) -> list[str]:
        """The documents that describe arrays."""
        name = "zarr.json" if self.version == "0.5" else ".zarray"
        return [f"{path}/{name}" for path in paths]

    def new_arrays(self, *paths: str) -> list[str]:
        """All documents of arrays."""
        names = ["zarr.json"] if self.version == "0.5" else [".zarray", ".zattrs"]
        return [f"{path}/{name}" for path in paths for name in names]

    def probe(self, path: str = "") -> list[str]:
        """What is asked for to find out the version of a store."""
        return [] if self.version == "0.5" else [f"{path}/zarr.json".lstrip("/")]

    @property
    def _attributes(self) -> str:
        return "zarr.json" if self.version == "0.5" else ".zattrs"


@pytest.fixture(params=["directory", "memory"])
def store(request: pytest.FixtureRequest, version: str, tmp_path: Path) -> Store:
    return Store(request.param, version, tmp_path)


def _require_reading_only(counted: Operations) -> None:
    assert not counted.writes
    assert not counted.lists
    assert not counted.chunk_reads
    assert not counted.chunk_writes
    assert counted.root is None or counted.opened == counted.reads, "something else read documents"


# --- reading ----------------------------------------------------------------------------------------


def test_opening_a_plate_reads_its_document(store: Store):
    with store.count() as counted:
        store.open()
    assert counted.reads == once(*store.probe(), *store.attributes(""))
    _require_reading_only(counted)


@pytest.mark.parametrize("mode", ["r", "r+"])
def test_opening_one_position_of_a_plate_reads_that_position_only(store: Store, mode: str):
    with store.count() as counted:
        store.open("A/1/0", mode=mode)
    assert counted.reads == once(*store.probe("A/1/0"), *store.attributes("A/1/0"))
    _require_reading_only(counted)


def test_opening_one_well_of_a_plate_reads_that_well_only(store: Store):
    with store.count() as counted:
        store.open("A/1")
    assert counted.reads == once(*store.probe("A/1"), *store.attributes("A/1"))
    _require_reading_only(counted)


def test_getting_a_position_from_a_plate_reads_its_well_and_itself(store: Store):
    plate = store.open()
    with store.count() as counted:
        plate["A/1/0"]
    assert counted.reads == once(*store.attributes("A/1", "A/1/0"))
    _require_reading_only(counted)


def test_getting_an_array_reads_its_document_and_zarr_reads_nothing(store: Store):
    position = store.open("A/1/0")
    with store.count() as counted:
        array = position["0"]
        assert array.shape == SHAPE
        assert array.dtype == "uint16"
        assert array.channels == 2
    assert counted.reads == once(*store.arrays("A/1/0/0"))
    _require_reading_only(counted)


def test_getting_an_array_by_its_path_from_a_plate_reads_what_is_on_the_way(store: Store):
    plate = store.open()
    with store.count() as counted:
        assert plate["A/1/0/0"].shape == SHAPE
    assert counted.reads == once(*store.attributes("A/1", "A/1/0"), *store.arrays("A/1/0/0"))
    _require_reading_only(counted)


def test_what_is_known_is_not_read_again(store: Store):
    plate, position, well = store.open(), store.open("A/1/0"), store.open("A/1")
    with store.count() as counted:
        assert [*plate] == ["A", "B"]
        assert len(plate) == 2
        assert "A/1" in plate
        assert "C/1" not in plate
        assert plate.version == store.version
        assert plate.metadata.wells
        assert dict(plate.zattrs)
        assert [*well] == ["0"]
        assert position.channel_names == ["DAPI", "GFP"]
        assert position.get_channel_index("GFP") == 1
        assert position.axis_names == ["t", "c", "z", "y", "x"]
        assert position.scale == [1.0] * 5
        assert [*position] == ["0"]
        assert position.metadata.multiscales
        repr((plate, position, well))
    assert counted.reads == {}
    _require_reading_only(counted)


def test_the_channel_names_of_a_plate_are_looked_up_once(store: Store):
    plate = store.open()
    with store.count() as counted:
        assert plate.channel_names == ["DAPI", "GFP"]
        assert len(plate.axes) == 5
        assert plate.channel_names == ["DAPI", "GFP"]
    assert counted.reads == once(*store.attributes("A/1", "A/1/0"))
    _require_reading_only(counted)


def test_refreshing_reads_the_document_once(store: Store):
    plate, position = store.open(), store.open("A/1/0")
    with store.count() as counted:
        plate.refresh()
        position.refresh()
    assert counted.reads == once(*store.attributes("", "A/1/0"))
    _require_reading_only(counted)


@pytest.mark.parametrize(("wells", "fields"), [(1, 1), (3, 2), (7, 3)])
def test_iterating_reads_each_document_once(version: str, tmp_path: Path, wells: int, fields: int):
    """One plate, W wells, N positions, N arrays."""
    path = tmp_path / "s.zarr"
    plate = ps.open_ome_zarr(path, layout="hcs", mode="w-", channel_names=["DAPI", "GFP"], version=version)
    specs = [("A", str(w), str(f)) for w in range(wells) for f in range(fields)]
    plate.create_positions(specs, shape=SHAPE, dtype="uint16")
    with Operations(path) as counted:
        seen = [
            (name, position.channel_names, position.scale, position["0"].shape)
            for name, position in ps.open_ome_zarr(path).positions()
        ]
    assert len(seen) == wells * fields
    assert set(counted.reads.values()) == {1}
    assert sum(counted.reads.values()) == (1 if version == "0.5" else 2) + wells + 2 * wells * fields
    _require_reading_only(counted)


def test_reading_pixels_reads_one_chunk_each(store: Store):
    image = store.open("A/1/0", mode="r+").create_image("1", np.ones(SHAPE, "uint16"), chunks=(1, 1, 1, 4, 4))
    with store.count() as counted:
        image.numpy()
    assert counted.reads == {}
    assert counted.chunks_read == 2


@pytest.mark.parametrize("target", ["", "A/1", "A/1/0"])
def test_a_summary_reads_one_well_and_one_position(target: str, version: str, tmp_path: Path):
    from platestore.summary import describe

    path = tmp_path / "s.zarr"
    plate = ps.open_ome_zarr(path, layout="hcs", mode="w-", channel_names=["DAPI", "GFP"], version=version)
    plate.create_positions(
        [("A", str(i), str(j)) for i in range(1, 9) for j in range(2)], shape=SHAPE, dtype="u1"
    )
    with Operations(path) as counted:
        describe(path / target)
    nodes = [path for path in ("", "A/1", "A/1/0") if path.startswith(target)]
    name = "zarr.json" if version == "0.5" else ".zattrs"
    expected = [f"{node}/{name}".lstrip("/") for node in nodes]
    expected.append(f"A/1/0/0/{'zarr.json' if version == '0.5' else '.zarray'}")
    expected.append(f"A/1/0/labels/{name}")  # nothing else says whether there are labels
    if version == "0.4":
        expected.append(f"{target}/zarr.json".lstrip("/"))
    assert counted.reads == once(*expected)
    _require_reading_only(counted)


def test_the_paths_of_all_positions_are_in_the_wells(version: str, tmp_path: Path):
    from platestore.summary import positions

    path = tmp_path / "s.zarr"
    plate = ps.open_ome_zarr(path, layout="hcs", mode="w-", channel_names=["DAPI", "GFP"], version=version)
    plate.create_positions(
        [("A", str(i), str(j)) for i in range(1, 9) for j in range(3)], shape=SHAPE, dtype="u1"
    )
    with Operations(path) as counted:
        assert len(list(positions(path))) == 24
    assert set(counted.reads.values()) == {1}
    assert sum(counted.reads.values()) == (1 if version == "0.5" else 2) + 8
    _require_reading_only(counted)


@pytest.mark.parametrize("layout", ["hcs", "fov"])
def test_creating_a_store_writes_one_group_and_reads_it_at_most_once(
    layout: str, version: str, tmp_path: Path
):
    with Operations(tmp_path) as counted:
        node = ps.open_ome_zarr(
            tmp_path / "s.zarr", layout=layout, mode="w-", channel_names=["DAPI", "GFP"], version=version
        )
        assert node.channel_names == ["DAPI", "GFP"]
    assert counted.writes == once(*(["zarr.json"] if version == "0.5" else [".zgroup", ".zattrs"]))
    assert set(counted.reads.values()) <= {1}
    assert len(counted.reads) <= (1 if version == "0.5" else 2)
    assert not counted.lists


# --- changing: what is written ----------------------------------------------------------------------


def _ancestor(key: str, places: list[str]) -> bool:
    """Whether a document is that of a group above what changes, or of none."""
    directory = key.rpartition("/")[0]
    return all(
        place != directory and (place + "/").startswith(directory + "/" if directory else "")
        for place in places
    )


class Change:
    """A call that changes something, the documents it writes, and how many times."""

    def __init__(self, at: str, call: Callable[[Any], Any], writes: Callable[[Store], list[str]]) -> None:
        self.at = at
        self.call = call
        self.writes = writes


CHANGES: dict[str, Change] = {
    "Plate.zattrs": Change("", lambda n: n.zattrs.update({"a": 1, "b": 2}), lambda s: s.attributes("")),
    "Well.zattrs": Change("A/1", lambda n: n.zattrs.update({"a": 1}), lambda s: s.attributes("A/1")),
    "Position.zattrs": Change("A/1/0", lambda n: n.zattrs.update({"a": 1}), lambda s: s.attributes("A/1/0")),
    "rename_channel": Change(
        "A/1/0", lambda n: n.rename_channel("GFP", "Cy5"), lambda s: s.attributes("A/1/0")
    ),
    "set_scale": Change("A/1/0", lambda n: n.set_scale("0", "x", 0.5), lambda s: s.attributes("A/1/0")),
    "set_scale of all": Change(
        "A/1/0", lambda n: n.set_scale("*", "x", 0.5), lambda s: s.attributes("A/1/0")
    ),
    "set_transform": Change(
        "A/1/0",
        lambda n: n.set_transform("0", [ps.TransformationMeta(type="scale", scale=[2.0] * 5)]),
        lambda s: s.attributes("A/1/0"),
    ),
    "set_contrast_limits": Change(
        "A/1/0",
        lambda n: n.set_contrast_limits("GFP", {"start": 0, "end": 1, "min": 0, "max": 2}),
        lambda s: s.attributes("A/1/0"),
    ),
    "append_channel without arrays": Change(
        "A/1/0", lambda n: n.append_channel("Cy5", resize_arrays=False), lambda s: s.attributes("A/1/0")
    ),
    "append_channel": Change(
        "A/1/0",
        lambda n: n.append_channel("Cy5"),
        # The intent, the array, the channel.
        lambda s: [*s.attributes("A/1/0") * 2, *s.arrays("A/1/0/0")],
    ),
    "create_zeros": Change(
        "A/1/0",
        lambda n: n.create_zeros("new", SHAPE, "uint8"),
        lambda s: [*s.new_arrays("A/1/0/new"), *s.attributes("A/1/0")],
    ),
    "del image": Change(
        "A/1/0",
        lambda n: n.__delitem__("0"),
        # Unlisted with an intent; the intent goes when the data are gone.
        lambda s: s.attributes("A/1/0") * 2,
    ),
    "array attrs": Change(
        "A/1/0",
        lambda n: n["0"].attrs.update({"a": 1}),
        lambda s: s.attributes("A/1/0/0"),
    ),
    "array resize": Change("A/1/0", lambda n: n["0"].resize((2, 2, 1, 4, 4)), lambda s: s.arrays("A/1/0/0")),
    "create_well in a new row": Change(
        "",
        lambda n: n.create_well("C", "1"),
        lambda s: [*s.groups("C", bare=True), *s.groups("C/1"), *s.attributes("")],
    ),
    "create_well in a row": Change(
        "", lambda n: n.create_well("A", "9"), lambda s: [*s.groups("A/9"), *s.attributes("")]
    ),
    "create_position in a new row": Change(
        "",
        lambda n: n.create_position("C", "1", "0"),
        lambda s: [*s.groups("C", bare=True), *s.groups("C/1", "C/1/0"), *s.attributes("")],
    ),
    "create_position in a new well": Change(
        "",
        lambda n: n.create_position("A", "9", "0"),
        lambda s: [*s.groups("A/9", "A/9/0"), *s.attributes("")],
    ),
    "create_position in a well": Change(
        "",
        lambda n: n.create_position("A", "1", "1"),
        # The plate already lists the well; it says how many fields a well has at most.
        lambda s: [*s.groups("A/1/1"), *s.attributes("A/1", "")],
    ),
    "create_positions in a well and a new one": Change(
        "",
        lambda n: n.create_positions([("A", "1", "1"), ("A", "9", "0")]),
        # The plate carries the list of the well's fields until the well has it.
        lambda s: [*s.groups("A/1/1", "A/9/0", "A/9"), *s.attributes("A/1"), *s.attributes("") * 2],
    ),
    "rename_well": Change(
        "",
        lambda n: n.rename_well("A/1", "A/9"),
        # Without the old path, with an intent; with the new path.
        lambda s: s.attributes("") * 2,
    ),
    "del well": Change("", lambda n: n.__delitem__("A/1"), lambda s: s.attributes("") * 2),
    "del position": Change("A/1", lambda n: n.__delitem__("0"), lambda s: s.attributes("A/1") * 2),
}


def test_the_plate_is_not_written_where_another_well_has_as_many_fields(store: Store):
    plate = store.open(mode="r+")
    plate.create_position("A", "1", "1")
    with store.count() as counted:
        plate.create_position("A", "2", "1")
    assert dict(counted.writes) == _counted([*store.groups("A/2/1"), *store.attributes("A/2")])
    with store.count() as counted:
        del plate["A/2"]["1"]
    assert dict(counted.writes) == _counted(store.attributes("A/2") * 2)


def _counted(keys: list[str]) -> dict[str, int]:
    return {key: keys.count(key) for key in keys}


def _moved(counted: Operations) -> dict[str, int]:
    """Writes, without those that move a tree in a store without renames."""
    return {key: n for key, n in counted.writes.items() if not key.startswith("A/9/")}


@pytest.mark.parametrize("name", CHANGES)
def test_each_document_is_written_once_per_change(store: Store, name: str):
    change = CHANGES[name]
    node = store.open(change.at, mode="r+")
    with store.count() as counted:
        change.call(node)
    writes = _moved(counted) if name == "rename_well" else dict(counted.writes)
    assert writes == _counted(change.writes(store))
    assert not counted.chunk_writes


#: Calls that open a node (or find the plate) before they lock it: it is read then, and afresh under the lock.
FOUND_FIRST = {
    "array attrs",
    "array resize",
    "create_positions in a well and a new one",
    "del position",
    "rename_well",
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_reads_no_document_more_often_than_it_writes_it(store: Store, name: str):
    """Once, then, where it is written once; and not more than once what is only looked at."""
    change = CHANGES[name]
    node = store.open(change.at, mode="r+")
    with store.count() as counted:
        change.call(node)
    reads = counted.reads
    if store.path is None and name == "rename_well":
        reads = Counter(
            {key: n for key, n in reads.items() if not key.startswith("A/1/")}
        )  # moved by copying
    most = 2 if name in FOUND_FIRST else 1
    too_often = {key: n for key, n in reads.items() if n > max(most, counted.writes[key])}
    assert too_often == {}
    assert counted.root is None or counted.opened == reads, "something else read documents"


SMALL = [
    name
    for name, change in CHANGES.items()
    if change.at == "A/1/0"
    and name not in ("append_channel", "del image", "create_zeros", "array attrs", "array resize")
]


@pytest.mark.parametrize("name", SMALL)
def test_a_change_of_a_position_reads_that_position_only(store: Store, name: str):
    """What others do to the plate, and how large it is, costs a change of a position nothing.

    The first change through a handle may look for consolidated metadata above it; the next need not.
    """
    position = store.open("A/1/0", mode="r+")
    position.zattrs["first"] = True
    with store.count() as counted:
        CHANGES[name].call(position)
    # A channel that comes without pixels gets the contrast window of the array's type.
    array = store.arrays("A/1/0/0") if name == "append_channel without arrays" else []
    assert counted.reads == once(*store.attributes("A/1/0"), *array)
    assert not counted.lists


def test_the_first_change_of_a_position_reads_nothing_above_it_twice(store: Store):
    position = store.open("A/1/0", mode="r+")
    with store.count() as counted:
        position.zattrs["first"] = True
    above = {key: n for key, n in counted.reads.items() if key not in store.attributes("A/1/0")}
    assert counted.reads[store.attributes("A/1/0")[0]] == 1
    assert set(above.values()) <= {1}
    assert all(_ancestor(key, ["A/1/0"]) for key in above)


def test_creating_an_image_writes_its_chunks_and_two_nodes(store: Store):
    position = store.open("A/1/0", mode="r+")
    with store.count() as counted:
        position.create_image("new", np.ones(SHAPE, "uint16"), chunks=(1, 1, 1, 4, 4))
    names = [key.rpartition("/")[2] for key in counted.writes.elements()]
    assert sorted(names) == sorted(
        key.rpartition("/")[2] for key in (*store.new_arrays("A/1/0/new"), *store.attributes("A/1/0"))
    )
    assert counted.chunks_written == 2
    assert counted.chunks_read == 0
    assert not [key for key in (*counted.reads, *counted.writes) if key.startswith("by zarr")]


@pytest.mark.parametrize("arrays", [False, True], ids=["bare", "with arrays"])
@pytest.mark.parametrize(("wells", "fields"), [(1, 1), (2, 3), (8, 4)])
def test_creating_many_positions_writes_each_document_once(
    version: str, tmp_path: Path, wells: int, fields: int, arrays: bool
):
    """N positions in W new wells of R rows: 0.4 writes R + 2W + 2N (+ 2N) + 1, 0.5 R + W + N (+ N) + 1."""
    path = tmp_path / "s.zarr"
    plate = ps.open_ome_zarr(path, layout="hcs", mode="w-", channel_names=["DAPI", "GFP"], version=version)
    specs = [("AB"[w % 2], str(w), str(f)) for w in range(wells) for f in range(fields)]
    rows, count = min(wells, 2), wells * fields
    extra = {"shape": SHAPE, "dtype": "uint16"} if arrays else {}
    with Operations(path) as counted:
        plate.create_positions(specs, **extra)
    per_node = 1 if version == "0.5" else 2
    assert set(counted.writes.values()) == {1}
    assert sum(counted.writes.values()) == rows + per_node * (wells + count * (1 + arrays)) + 1
    assert not counted.chunk_reads
    assert not counted.chunk_writes
    # The plate is read afresh, once; nothing that was just written is read back.
    assert counted.reads == once("zarr.json" if version == "0.5" else ".zattrs")
    assert len(counted.lists) <= wells


@pytest.mark.parametrize("existing", [4, 40])
def test_one_more_position_costs_the_same_on_a_larger_plate(version: str, tmp_path: Path, existing: int):
    path = tmp_path / "s.zarr"
    plate = ps.open_ome_zarr(path, layout="hcs", mode="w-", channel_names=["DAPI", "GFP"], version=version)
    plate.create_positions([("A", str(i), "0") for i in range(existing)])
    plate.create_position("B", "1", "0")
    with Operations(path) as counted:
        plate.create_position("B", "2", "0")
    plates = "zarr.json" if version == "0.5" else ".zattrs"
    assert counted.reads[plates] == 1
    assert counted.writes[plates] == 1
    assert sum(counted.writes.values()) == (3 if version == "0.5" else 5)
    assert not [key for key in counted.reads if key.startswith("A/")]
    assert sum(counted.lists.values()) <= 1


def test_the_counters_count(store: Store):
    """The instruments work: what is done is seen, by all of them."""
    plate = store.open(mode="r+")
    with store.count() as counted:
        plate.zgroup  # noqa: B018 - zarr reads the group
        plate["A/1/0/0"][...] = 1
        plate.group_keys()
    assert any(key.startswith("by zarr") for key in counted.reads) == (store.path is not None)
    assert counted.chunks_written
    assert counted.lists
    assert all(key.removeprefix("by zarr: ").rpartition("/")[2] in DOCUMENTS for key in counted.reads)
    if store.path is not None:
        plain = [key for key in counted.reads if not key.startswith("by zarr")]
        assert set(plain) <= set(counted.opened)
