"""Damaged and hostile stores: a clear error that names the document, and nothing made worse."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tracemalloc
import warnings

import pytest

import platestore as ps
from conftest import make_plate
from nodes.store_helpers import edit_attributes, edit_ome, group_document, refused, snapshot, stored_plate
from platestore.storage.local import LocalStorage

DAMAGE = {
    "broken": b"{ this is no JSON",
    "truncated": None,
    "empty": b"",
    "blank": b"  \n",
    "a list": b"[]",
    "a string": b'"plate"',
    "null": b"null",
    "not UTF-8": b'{"a": "\xff\xfe"}',
    "binary": bytes(range(256)),
    "deep lists": b'{"a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "deep objects": b'{"a": ' * 100_000 + b"1" + b"}" * 100_000,
}


def _damage(document, kind):
    data = DAMAGE[kind]
    document.write_bytes(document.read_bytes()[:-20] if data is None else data)


@pytest.fixture
def plate(tmp_path, version):
    path = tmp_path / "plate.zarr"
    stored_plate(path, version)
    return path


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("place", ["", "A/1", "A/1/0"])
def test_a_damaged_document_is_named(plate, place, kind):
    document = group_document(plate / place)
    _damage(document, kind)
    for mode in ("r", "r+", "a"):
        with refused(ps.InvalidMetadataError, ValueError, tree=plate, names=document):
            ps.open_ome_zarr(plate / place, mode=mode)


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_document_of_an_array_is_named(plate, kind, version):
    document = plate / "A/1/0/0" / ("zarr.json" if version == "0.5" else ".zarray")
    _damage(document, kind)
    position = ps.open_ome_zarr(plate / "A/1/0", mode="r+")
    with refused(ps.InvalidMetadataError, ValueError, tree=plate, names=plate / "A/1/0/0"):
        position["0"]


@pytest.mark.parametrize("kind", DAMAGE)
def test_w_minus_and_w_know_a_damaged_store(plate, kind):
    document = group_document(plate)
    _damage(document, kind)
    with refused(ps.NodeExistsError, FileExistsError, tree=plate):
        ps.open_ome_zarr(plate, layout="hcs", mode="w-", channel_names=["a"])
    assert ps.open_ome_zarr(plate, layout="hcs", mode="w", channel_names=["new"]).channel_names == ["new"]


@pytest.mark.parametrize("kind", ["broken", "truncated", "a list", "deep lists"])
def test_a_damaged_well_or_position_is_reported_and_the_others_iterate(plate, kind):
    _damage(group_document(plate / "A/2"), kind)
    _damage(group_document(plate / "B/1/0"), kind)
    opened = ps.open_ome_zarr(plate)
    with pytest.warns(ps.StoreWarning) as caught:
        assert [path for path, _ in opened.positions()] == ["A/1/0"]
    text = " ".join(str(item.message) for item in caught)
    assert str(plate / "A/2") in text
    assert str(plate / "B/1/0") in text
    for key in ("A/2", "B/1/0"):
        with refused(ps.InvalidMetadataError, ValueError, tree=plate, names=group_document(plate / key)):
            opened[key]


def test_nothing_is_added_to_a_damaged_well(plate):
    document = group_document(plate / "A/2")
    document.write_text("{ broken")
    opened = ps.open_ome_zarr(plate, mode="r+")
    for specs in ([("A", "2", "1")], [("C", "1", "0"), ("A", "2", "1")]):
        with refused(ps.InvalidMetadataError, ValueError, tree=plate, names=document):
            opened.create_positions(specs)


def test_a_plate_damaged_after_it_was_opened_is_not_overwritten(plate):
    opened = ps.open_ome_zarr(plate, mode="r+")
    document = group_document(plate)
    document.write_text("{ broken")
    for change in (
        lambda: opened.create_position("C", "1", "0"),
        lambda: opened.create_well("C", "1"),
        lambda: opened.rename_well("A/1", "C/1"),
        lambda: opened.__delitem__("A/1"),
        lambda: opened.zattrs.update({"a": 1}),
        opened.dump_meta,
    ):
        with refused(ps.InvalidMetadataError, ValueError, tree=plate, names=document):
            change()


WRONG_TYPES = {
    "plate is a list": ("", lambda ome: ome.update(plate=[])),
    "plate is null": ("", lambda ome: ome.update(plate=None)),
    "rows is a number": ("", lambda ome: ome["plate"].update(rows=3)),
    "a row has no name": ("", lambda ome: ome["plate"].update(rows=[{}])),
    "wells is missing": ("", lambda ome: ome["plate"].pop("wells")),
    "wells is an object": ("", lambda ome: ome["plate"].update(wells={"path": "A/1"})),
    "a well is a string": ("", lambda ome: ome["plate"].update(wells=["A/1"])),
    "a well has no path": ("", lambda ome: ome["plate"]["wells"][0].pop("path")),
    "a well has a number as path": ("", lambda ome: ome["plate"]["wells"][0].update(path=1)),
    "a well has no index": ("", lambda ome: ome["plate"]["wells"][0].pop("rowIndex")),
    "well is a string": ("A/1", lambda ome: ome.update(well="A/1")),
    "images is missing": ("A/1", lambda ome: ome["well"].pop("images")),
    "images holds strings": ("A/1", lambda ome: ome["well"].update(images=["0"])),
    "an image has no path": ("A/1", lambda ome: ome["well"].update(images=[{}])),
    "multiscales is an object": ("A/1/0", lambda ome: ome.update(multiscales={})),
    "multiscales is a string": ("A/1/0", lambda ome: ome.update(multiscales="0")),
    "multiscales is empty": ("A/1/0", lambda ome: ome.update(multiscales=[])),
    "a multiscales is null": ("A/1/0", lambda ome: ome.update(multiscales=[None])),
    "axes is missing": ("A/1/0", lambda ome: ome["multiscales"][0].pop("axes")),
    "axes holds strings": ("A/1/0", lambda ome: ome["multiscales"][0].update(axes=["t", "c", "z", "y", "x"])),
    "datasets is missing": ("A/1/0", lambda ome: ome["multiscales"][0].pop("datasets")),
    "datasets is a string": ("A/1/0", lambda ome: ome["multiscales"][0].update(datasets="0")),
    "a dataset has no path": ("A/1/0", lambda ome: ome["multiscales"][0]["datasets"][0].pop("path")),
    "a scale is a string": (
        "A/1/0",
        lambda ome: ome["multiscales"][0]["datasets"][0].update(
            coordinateTransformations=[{"type": "scale", "scale": "small"}]
        ),
    ),
}


@pytest.mark.parametrize("what", WRONG_TYPES)
def test_wrong_types_are_refused_with_the_field(plate, what):
    place, change = WRONG_TYPES[what]
    edit_ome(plate / place, change)
    for mode in ("r", "r+"):
        with refused(ps.InvalidMetadataError, ValueError, tree=plate, names=plate / place):
            ps.open_ome_zarr(plate / place, mode=mode)


FLAWS = {
    "an index is a string": ("", lambda ome: ome["plate"]["wells"][0].update(rowIndex="0")),
    "an index is wrong": ("", lambda ome: ome["plate"]["wells"][0].update(rowIndex=1)),
    "an index is off the plate": ("", lambda ome: ome["plate"]["wells"][0].update(columnIndex=77)),
    "a row is listed twice": ("", lambda ome: ome["plate"]["rows"].append({"name": "A"})),
    "a row has a dash": ("", lambda ome: ome["plate"]["rows"].append({"name": "A-B"})),
    "an acquisition is a string": ("A/1", lambda ome: ome["well"]["images"][0].update(acquisition="0")),
    "a scale is missing": (
        "A/1/0",
        lambda ome: ome["multiscales"][0]["datasets"][0].update(coordinateTransformations=[]),
    ),
    "transformations are missing": (
        "A/1/0",
        lambda ome: ome["multiscales"][0]["datasets"][0].pop("coordinateTransformations"),
    ),
    "a scale is too short": (
        "A/1/0",
        lambda ome: ome["multiscales"][0]["datasets"][0].update(
            coordinateTransformations=[{"type": "scale", "scale": [1.0, 1.0]}]
        ),
    ),
    "omero is a string": ("A/1/0", lambda ome: ome.update(omero="none")),
    "omero has no channels": ("A/1/0", lambda ome: ome["omero"].pop("channels")),
    "a window is a list": ("A/1/0", lambda ome: ome["omero"]["channels"][0].update(window=[0, 1])),
    "a label is a number": ("A/1/0", lambda ome: ome["omero"]["channels"][0].update(label=488)),
}


@pytest.mark.parametrize("what", FLAWS)
def test_small_flaws_are_read_with_a_warning_that_names_them(plate, what):
    place, change = FLAWS[what]
    edit_ome(plate / place, change)
    before = snapshot(plate)
    with pytest.warns(ps.StoreWarning) as caught:
        node = ps.open_ome_zarr(plate / place)
    assert len(node.channel_names) == 2
    image = node["A/1/0/0"] if place == "" else node["0/0"] if place == "A/1" else node["0"]
    assert image[0, 0, 0, 0, 0] == 1
    assert str(plate / place) in str(caught[0].message)
    assert snapshot(plate) == before


@pytest.mark.filterwarnings("ignore::platestore.StoreWarning")
@pytest.mark.parametrize("what", ["a window is a list", "omero is a string", "omero has no channels"])
def test_a_flawed_part_that_is_ignored_survives_other_changes(plate, what):
    place, change = FLAWS[what]
    edit_ome(plate / place, change)
    kept = json.loads(group_document(plate / place).read_text())
    kept = kept["attributes"]["ome"] if "attributes" in kept else kept
    position = ps.open_ome_zarr(plate / place, mode="r+")
    position.set_scale("0", "x", 0.5)
    now = json.loads(group_document(plate / place).read_text())
    now = now["attributes"]["ome"] if "attributes" in now else now
    assert now["omero"] == kept["omero"]


@pytest.mark.filterwarnings("ignore::platestore.StoreWarning")
@pytest.mark.parametrize("what", [k for k in FLAWS if FLAWS[k][0] == ""])
def test_a_flawed_plate_can_still_be_extended(plate, what):
    _, change = FLAWS[what]
    edit_ome(plate, change)
    ps.open_ome_zarr(plate, mode="r+").create_position("C", "1", "0")
    assert "C/1/0" in ps.open_ome_zarr(plate)


# --- names of what is not there -------------------------------------------------------------------


def test_a_well_that_is_absent_is_reported_and_the_others_iterate(plate):
    shutil.rmtree(plate / "A/2")
    opened = ps.open_ome_zarr(plate)
    with pytest.warns(ps.StoreWarning, match="A/2"):
        assert [path for path, _ in opened.wells()] == ["A/1", "B/1"]
    with pytest.warns(ps.StoreWarning, match="A/2"):
        assert [path for path, _ in opened.positions()] == ["A/1/0", "B/1/0"]
    assert "A/2" in opened, "the metadata lists it"
    with refused(ps.DanglingError, FileNotFoundError, tree=plate, names=plate / "A/2"):
        opened["A/2"]
    with refused(ps.DanglingError, KeyError, tree=plate, names=plate / "A/2"):
        opened["A/2/0"]


def test_an_absent_first_well_does_not_hide_the_channel_names(plate):
    shutil.rmtree(plate / "A/1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ps.StoreWarning)
        opened = ps.open_ome_zarr(plate, mode="r+")
        assert opened.channel_names == ["DAPI", "GFP"]
        assert opened.create_position("C", "1", "0").channel_names == ["DAPI", "GFP"]


def test_an_absent_position_is_reported_and_the_others_iterate(plate):
    ps.open_ome_zarr(plate, mode="r+").create_position("A", "1", "1")
    shutil.rmtree(plate / "A/1/0")
    well = ps.open_ome_zarr(plate)["A/1"]
    with pytest.warns(ps.StoreWarning, match="A/1/0"):
        assert [name for name, _ in well.positions()] == ["1"]
    with refused(ps.DanglingError, KeyError, tree=plate, names=plate / "A/1/0"):
        well["0"]


def test_an_absent_array_is_reported(plate):
    shutil.rmtree(plate / "A/1/0/0")
    position = ps.open_ome_zarr(plate)["A/1/0"]
    assert list(position) == ["0"]
    with refused(ps.DanglingError, KeyError, tree=plate, names=plate / "A/1/0/0"):
        position["0"]
    with refused(ps.DanglingError, FileNotFoundError, tree=plate, names=plate / "A/1/0/0"):
        _ = position.data
    with pytest.warns(ps.StoreWarning, match="A/1/0/0"):
        assert list(position.images()) == []


def test_an_absent_well_can_be_taken_off_the_plate(plate):
    shutil.rmtree(plate / "A/2")
    opened = ps.open_ome_zarr(plate, mode="r+")
    del opened["A/2"]
    assert [path for path, _ in ps.open_ome_zarr(plate).positions()] == ["A/1/0", "B/1/0"]


def test_an_absent_array_can_be_taken_off_the_position(plate):
    shutil.rmtree(plate / "A/1/0/0")
    opened = ps.open_ome_zarr(plate, mode="r+")
    del opened["A/1/0/0"]
    assert list(ps.open_ome_zarr(plate)["A/1/0"]) == []


# --- documents that lead out of the store ---------------------------------------------------------

OUTSIDE = [
    "..",
    "../..",
    "../other.zarr/A/1",
    "/etc",
    "A/../../other.zarr",
    "\\\\server\\share",
    "..\\x",
    "C:/x",
    "",
    ".",
]


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("place", ["", "A/1", "A/1/0"])
def test_a_document_that_leads_out_of_the_store_is_refused(tmp_path, plate, place, path):
    stored_plate(tmp_path / "other.zarr")

    def lead_out(ome):
        item = {"": lambda: ome["plate"]["wells"], "A/1": lambda: ome["well"]["images"]}.get(
            place, lambda: ome["multiscales"][0]["datasets"]
        )()
        item[0]["path"] = path

    edit_ome(plate / place, lead_out)
    for mode in ("r", "r+"):
        with refused(ps.InvalidMetadataError, ValueError, tree=tmp_path, names=plate / place):
            ps.open_ome_zarr(plate / place, mode=mode)


@pytest.mark.parametrize("key", ["..", "A/..", "../plate.zarr", "A/1/../2", "A\\..\\B"])
def test_a_key_that_leads_out_of_a_node_is_refused(plate, key):
    opened = ps.open_ome_zarr(plate, mode="r+")
    with refused(ps.InvalidNameError, ValueError, tree=plate, names=False):
        opened[key]
    with refused(ps.InvalidNameError, ValueError, tree=plate, names=False):
        del opened[key]
    assert key not in opened


def test_an_intent_that_leads_out_of_the_store_is_not_carried_out(tmp_path, plate):
    # A hostile or damaged record must not make an opener delete or move foreign files.
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "holiday.jpg").write_bytes(b"picture")
    for intent in (
        {"operation": "delete", "id": "1", "path": "../victim"},
        {"operation": "move", "id": "2", "path": "../victim", "target": "C/1", "entry": {}},
        {"operation": "move", "id": "3", "path": "A/1", "target": "../moved", "entry": {}},
        {"operation": "replace", "id": "4", "path": "A/1", "target": "../victim", "entry": {}},
        {"operation": "delete", "id": "5", "path": ""},
        {"operation": "delete", "id": "6", "path": "."},
    ):
        edit_attributes(plate, platestore={"channel_names": ["a"], "intents": [intent]})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ps.StoreWarning)
            with contextlib.suppress(ps.PlatestoreError, OSError):
                ps.open_ome_zarr(plate, mode="r+")
        assert (victim / "holiday.jpg").exists(), intent
        assert (plate / "A/1/0/0").exists(), intent
        assert not (tmp_path / "moved").exists(), intent


def _pyramid_record(**changes):
    """The record of a pyramid that is under way, with something in it changed."""
    level = {"path": "1", "staged": ".1.new", "transform": [{"type": "scale", "scale": [1, 1, 1, 2, 2]}]}
    base = {
        "staged": None,
        "shape": [1, 1, 1, 4, 4],
        "dtype": "uint16",
        "transform": [{"type": "scale", "scale": [1, 1, 1, 1, 1]}],
        "place": None,
    }
    entry = {"removed": [], "method": "mean", "factors": [[1, 1, 1, 2, 2]], "base": base, "levels": [level]}
    for key in ("level", "base"):
        {"level": level, "base": base}[key].update(changes.pop(key, {}))
    return {"operation": "pyramid", "id": "1", "path": "0", "entry": {**entry, **changes}}


@pytest.mark.parametrize(
    "changes",
    [
        {"removed": None},
        {"removed": [3]},
        {"method": 3},
        {"factors": []},
        {"factors": [["two"]]},
        {"levels": {}},
        {"levels": [None]},
        {"level": {"staged": None}},
        {"level": {"transform": None}},
        {"level": {"transform": [{"scale": [1]}]}},
        {"base": {"shape": None}},
        {"base": {"dtype": None}},
        {"base": {"place": "somewhere"}},
        {"base": {"transform": [3]}},
    ],
)
def test_a_damaged_record_of_a_pyramid_is_named(plate, changes):
    position = plate / "A/1/0"
    edit_attributes(position, platestore={"intents": [_pyramid_record(**changes)]})
    with refused(ps.InvalidMetadataError, ValueError, tree=position, names=False):
        ps.open_ome_zarr(position, mode="r+")
    with pytest.raises(ps.InvalidMetadataError, match="unfinished pyramid is damaged: entry") as caught:
        ps.open_ome_zarr(position)
    assert str(position) in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"removed": ["../victim"]},
        {"level": {"path": "../victim"}},
        {"level": {"staged": "../victim"}},
        {"base": {"staged": "../victim"}},
    ],
)
def test_a_record_of_a_pyramid_does_not_lead_out_of_the_position(plate, changes):
    position = plate / "A/1/0"
    edit_attributes(position, platestore={"intents": [_pyramid_record(**changes)]})
    with pytest.raises(ps.PlatestoreError, match="victim"):
        ps.open_ome_zarr(position, mode="r+")


def test_a_record_of_a_pyramid_without_its_files_is_dropped(plate):
    # What the records above are when they are whole.
    position = plate / "A/1/0"
    edit_attributes(position, platestore={"intents": [_pyramid_record()]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ps.StoreWarning)
        assert list(ps.open_ome_zarr(position, mode="r+")) == ["0"]
    assert b"intents" not in group_document(position).read_bytes()


# --- huge things ----------------------------------------------------------------------------------


def test_a_document_that_is_too_large_is_refused(plate):
    document = group_document(plate / "A/1/0")
    with open(document, "ab") as file:
        file.truncate(65 * 2**20)
    with pytest.raises(ps.InvalidMetadataError, match="MiB") as caught:
        ps.open_ome_zarr(plate / "A/1/0")
    assert str(document) in str(caught.value)
    assert caught.value.hint


@pytest.mark.slow
def test_a_plate_of_a_hundred_thousand_wells_opens_by_one_document(tmp_path, monkeypatch):
    path = tmp_path / "plate.zarr"
    make_plate(path, "0.5", positions=[("R0", "0", "0")])
    rows, columns = 250, 400

    def enlarge(ome):
        ome["plate"]["rows"] = [{"name": f"R{i}"} for i in range(rows)]
        ome["plate"]["columns"] = [{"name": str(i)} for i in range(columns)]
        ome["plate"]["wells"] = [
            {"path": f"R{r}/{c}", "rowIndex": r, "columnIndex": c}
            for r in range(rows)
            for c in range(columns)
        ]

    edit_ome(path, enlarge)
    reads = []
    original = LocalStorage.read
    monkeypatch.setattr(LocalStorage, "read", lambda self, key: (reads.append(key), original(self, key))[1])
    plate = ps.open_ome_zarr(path, mode="r+")
    assert len(plate) == rows
    assert "R249/399" in plate
    assert "R250/0" not in plate
    assert (
        len(
            [
                key
                for key in reads
                if key.endswith((".zattrs", "zarr.json"))
                and original(plate.__editor__().location.storage, key)
            ]
        )
        == 1
    )
    assert plate["R0/0/0"].data[0, 0, 0, 0, 0] == 1
    with pytest.raises(ps.DanglingError):
        plate["R249/399"]
    plate.create_position("R250", "0", "0")
    assert "R250/0/0" in ps.open_ome_zarr(path)


@pytest.mark.parametrize("chunks", [(1, 1, 1, 1, 1), (1, 1, 1, 1024, 1024)])
def test_huge_shapes_cost_nothing_to_create_and_open(tmp_path, version, chunks):
    path = tmp_path / "a.zarr"
    position = ps.open_ome_zarr(path, layout="fov", mode="w-", channel_names=["a"], version=version)
    shape = (10**6, 1, 10**6, 2**31, 2**31)
    ps.open_ome_zarr(path, layout="fov", mode="r+").create_zeros("warm", (1, 1, 1, 1, 1), "uint16")
    position.refresh()
    tracemalloc.start()
    try:
        position.create_zeros("0", shape, "uint16", chunks=chunks)
        image = ps.open_ome_zarr(path)["0"]
        assert image.shape == shape
        assert int(image[-1, 0, -1, -1, -1]) == 0
        assert ps.open_ome_zarr(path).scale == [1.0] * 5
        assert tracemalloc.get_traced_memory()[1] < 32 * 2**20
    finally:
        tracemalloc.stop()
    assert sum(len(files) for _, _, files in os.walk(path / "0")) <= 2


@pytest.mark.parametrize("shape", [(2**63, 1, 1, 1, 1), (1, 1, 1, 1, 10**30)])
def test_shapes_beyond_any_index_are_refused(plate, shape):
    position = ps.open_ome_zarr(plate / "A/1/0", mode="r+")
    with refused(ps.ArgumentError, ValueError, tree=plate, names=False):
        position.create_zeros("big", shape, "uint16", chunks=(1, 1, 1, 1, 1))


# --- file systems that cannot be written ----------------------------------------------------------


def _read_only(monkeypatch):
    import errno

    original = os.open

    def opened(path, flags, *args, **kwargs):
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return original(path, flags, *args, **kwargs)

    def refuse(path, *args, **kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    monkeypatch.setattr(os, "open", opened)
    for name in ("mkdir", "rename", "replace", "unlink", "rmdir"):
        monkeypatch.setattr(os, name, refuse)


CHANGES = {
    "create_position": lambda plate: plate.create_position("C", "1", "0"),
    "create_well": lambda plate: plate.create_well("C", "1"),
    "rename_well": lambda plate: plate.rename_well("A/1", "C/1"),
    "delete a well": lambda plate: plate.__delitem__("A/1"),
    "delete an image": lambda plate: plate.__delitem__("A/1/0/0"),
    "rename_channel": lambda plate: plate["A/1/0"].rename_channel("GFP", "YFP"),
    "append_channel": lambda plate: plate["A/1/0"].append_channel("YFP"),
    "set_scale": lambda plate: plate["A/1/0"].set_scale("0", "x", 2.0),
    "zattrs": lambda plate: plate.zattrs.update({"a": 1}),
    "create_zeros": lambda plate: plate["A/1/0"].create_zeros("1", (1, 2, 1, 4, 4), "uint8"),
    "dump_meta": lambda plate: (plate.metadata.__setattr__("name", "new"), plate.dump_meta()),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_read_only_file_system_loses_nothing(plate, monkeypatch, what):
    opened = ps.open_ome_zarr(plate, mode="r+")
    assert opened.channel_names == ["DAPI", "GFP"]
    before = snapshot(plate)
    with monkeypatch.context() as patch:
        _read_only(patch)
        with pytest.raises(OSError, match=r"[Rr]ead-only") as caught:
            CHANGES[what](opened)
        assert str(plate) in str(caught.value)
    assert snapshot(plate) == before
    assert [path for path, _ in ps.open_ome_zarr(plate).positions()] == ["A/1/0", "A/2/0", "B/1/0"]
    CHANGES[what](opened)


@pytest.mark.parametrize("mode", ["w", "w-", "a"])
def test_nothing_can_be_created_on_a_read_only_file_system(tmp_path, monkeypatch, mode):
    with monkeypatch.context() as patch:
        _read_only(patch)
        with pytest.raises(OSError, match=r"[Rr]ead-only") as caught:
            ps.open_ome_zarr(tmp_path / "a.zarr", layout="hcs", mode=mode, channel_names=["a"])
        assert str(tmp_path) in str(caught.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_permission_is_reported(plate):
    os.chmod(plate, 0o555)
    try:
        with pytest.raises(PermissionError, match=plate.name):
            ps.open_ome_zarr(plate, mode="r+").create_position("C", "1", "0")
    finally:
        os.chmod(plate, 0o755)
    assert "C/1" not in ps.open_ome_zarr(plate)
