"""The keyword arguments behind ``**kwargs``: what each does, and that no other is swallowed."""

from __future__ import annotations

import os
import warnings

import pytest

import platestore as ps
from conftest import make_plate
from nodes.store_helpers import check_plate, new_position, ome, pixels, refused, snapshot, stored_plate


def create(path, **kwargs):
    return ps.open_ome_zarr(path, layout="hcs", mode="w-", channel_names=["a"], **kwargs)


def test_overwriting_creation_is_off_by_default(tmp_path, version):
    plate = make_plate(tmp_path / "a.zarr", version)
    with refused(ps.NodeExistsError, FileExistsError, tree=tmp_path, names=tmp_path / "a.zarr/A/1/0"):
        plate.create_position("A", "1", "0")


@pytest.mark.parametrize("mode", ["r+", "a"])
def test_overwriting_creation_reaches_every_node_below(tmp_path, version, mode):
    stored_plate(tmp_path / "a.zarr", version)
    plate = ps.open_ome_zarr(tmp_path / "a.zarr", layout="hcs", mode=mode, overwriting_creation=True)
    plate["A/1"].create_position("0")
    plate["A/2/0"]["0"] = pixels(1, 2, 1, 4, 4)
    assert len(ps.open_ome_zarr(tmp_path / "a.zarr")["A/1/0"]) == 0
    assert ps.open_ome_zarr(tmp_path / "a.zarr")["A/2/0"].data.shape == (1, 2, 1, 4, 4)


def test_the_name_of_a_plate(tmp_path, version):
    create(tmp_path / "a.zarr", version=version, name="Screen 7 – β").create_position("A", "1", "0")
    assert ome(tmp_path / "a.zarr")["plate"]["name"] == "Screen 7 – β"
    create(tmp_path / "other.zarr", version=version).create_position("A", "1", "0")
    assert ome(tmp_path / "other.zarr")["plate"]["name"] == "other"


def test_a_name_must_be_a_string(tmp_path):
    with refused(ps.ArgumentError, ValueError, tree=tmp_path, names=False):
        create(tmp_path / "a.zarr", name=7)


@pytest.mark.parametrize("as_dict", [False, True])
def test_acquisitions_of_a_plate(tmp_path, version, as_dict):
    given = [ps.AcquisitionMeta(id=0, name="before"), ps.AcquisitionMeta(id=3, description="after")]
    items = [item.to_json() for item in given] if as_dict else given
    plate = create(tmp_path / "a.zarr", version=version, acquisitions=items)
    plate.create_position("A", "1", "0", acq_index=3)
    written = check_plate(tmp_path / "a.zarr")["acquisitions"]
    assert [item["id"] for item in written] == [0, 3]
    assert written[0]["name"] == "before"
    assert written[1]["description"] == "after"
    assert written[1]["name"], "strict schemas want a name"


@pytest.mark.parametrize(
    "acquisitions",
    [[{"id": -1}], [{"id": 0}, {"id": 0}], [{"name": "no id"}], [7], "abc", [{"id": "x"}]],
)
def test_bad_acquisitions_are_refused(tmp_path, acquisitions):
    with refused(ps.ArgumentError, ValueError, tree=tmp_path, names=False):
        create(tmp_path / "a.zarr", acquisitions=acquisitions)


FORMATS = {6: (2, 3), 12: (3, 4), 24: (4, 6), 48: (6, 8), 96: (8, 12), 384: (16, 24), 1536: (32, 48)}


@pytest.mark.parametrize("wells", FORMATS)
def test_a_plate_format_declares_the_whole_grid(tmp_path, version, wells):
    plate = create(tmp_path / "a.zarr", version=version, plate_format=wells)
    plate.create_position("B", "3", "0")
    meta = check_plate(tmp_path / "a.zarr")
    rows, columns = FORMATS[wells]
    assert len(meta["rows"]) == rows
    assert len(meta["columns"]) == columns
    assert [row["name"] for row in meta["rows"]][:2] == ["A", "B"]
    assert [column["name"] for column in meta["columns"]][:3] == ["1", "2", "3"]
    assert meta["wells"] == [{"path": "B/3", "rowIndex": 1, "columnIndex": 2}]
    if wells == 1536:
        assert [row["name"] for row in meta["rows"]][25:28] == ["Z", "AA", "AB"]


def test_a_plate_format_refuses_wells_that_are_not_on_it(tmp_path, version):
    plate = create(tmp_path / "a.zarr", version=version, plate_format=96)
    plate.create_position("A", "1", "0")  # the names of columns are not padded
    for row, column in (("I", "1"), ("A", "13"), ("a", "1"), ("A", "02")):
        with refused(ps.ArgumentError, ValueError, tree=tmp_path, names=False):
            plate.create_position(row, column, "0")


def test_a_plate_format_is_kept_when_the_plate_is_reopened(tmp_path, version):
    create(tmp_path / "a.zarr", version=version, plate_format=24)
    plate = ps.open_ome_zarr(tmp_path / "a.zarr", mode="r+")
    plate.create_position("D", "6", "0")
    assert check_plate(tmp_path / "a.zarr")["wells"] == [{"path": "D/6", "rowIndex": 3, "columnIndex": 5}]
    with pytest.raises(ValueError, match="not on a plate"):
        plate.create_position("E", "1", "0")


@pytest.mark.parametrize("value", [7, 0, -96, 96.5, "many", True, [8, 12]])
def test_other_plate_formats_are_refused(tmp_path, value):
    with refused(ps.ArgumentError, ValueError, tree=tmp_path, names=False):
        create(tmp_path / "a.zarr", plate_format=value)


@pytest.mark.parametrize("option", [{"plate_format": 96}, {"acquisitions": [{"id": 0}]}])
def test_options_of_a_plate_do_not_describe_a_position(tmp_path, option):
    with refused(ps.ArgumentError, ValueError, tree=tmp_path, names=False):
        ps.open_ome_zarr(tmp_path / "a.zarr", layout="fov", mode="w-", channel_names=["a"], **option)


@pytest.fixture
def syncs(monkeypatch):
    """What is flushed: "file" or "directory" for each call."""
    import stat

    calls: list[str] = []
    original = os.fsync

    def fsync(descriptor):
        calls.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return calls


def _work(path, version, **kwargs):
    plate = create(path, version=version, **kwargs)
    return plate.create_position("A", "1", "0").create_zeros("0", (1, 1, 1, 4, 4), "uint16")


def test_nothing_is_flushed_unless_asked(tmp_path, version, syncs):
    _work(tmp_path / "a.zarr", version)[...] = 1
    _work(tmp_path / "b.zarr", version, durability="process")[...] = 1
    assert syncs == []


def test_durability_metadata_flushes_documents_and_directories(tmp_path, version, syncs):
    image = _work(tmp_path / "a.zarr", version, durability="metadata")
    assert {"file", "directory"} <= set(syncs)
    del syncs[:]
    image[...] = 1
    assert syncs == [], "pixels are not flushed"


def test_durability_full_flushes_pixels_too(tmp_path, version, syncs):
    image = _work(tmp_path / "a.zarr", version, durability="full")
    del syncs[:]
    image[...] = 1
    # The engine flushes the files itself; the directories that it made are flushed here.
    handle = image._engine.handle(writable=True)
    assert handle.spec(retain_context=True).to_json()["kvstore"]["file_io_sync"] is True
    assert "directory" in syncs
    assert (ps.open_ome_zarr(tmp_path / "a.zarr")["A/1/0/0"].numpy() == 1).all()


@pytest.mark.parametrize("value", ["none", "", None, 1])
def test_other_durabilities_are_refused(tmp_path, value):
    with refused(ps.ArgumentError, ValueError, tree=tmp_path, names=False):
        create(tmp_path / "a.zarr", durability=value)


@pytest.fixture
def held(tmp_path, version):
    """A plate whose lock somebody else holds."""
    fcntl = pytest.importorskip("fcntl")
    path = tmp_path / "a.zarr"
    stored_plate(path, version)
    descriptor = os.open(path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield path
    os.close(descriptor)


def test_a_lock_is_waited_for_as_long_as_asked(held):
    plate = ps.open_ome_zarr(held, mode="r+", lock_timeout=0.05)
    with refused(ps.LockTimeoutError, TimeoutError, tree=held) as caught:
        plate.create_position("C", "1", "0")
    assert "lock_timeout" in caught.value.hint
    assert str(os.getpid()) in str(caught.value), "the holder is named"


def test_without_locks_nobody_is_waited_for(held):
    plate = ps.open_ome_zarr(held, mode="r+", lock=False, lock_timeout=0.05)
    plate.create_position("C", "1", "0")
    check_plate(held)


def test_readers_wait_for_no_lock(held):
    assert [path for path, _ in ps.open_ome_zarr(held, lock_timeout=0).positions()] == [
        "A/1/0",
        "A/2/0",
        "B/1/0",
    ]


def test_a_position_needs_no_lock_of_its_plate(held):
    ps.open_ome_zarr(held / "A/1/0", mode="r+", lock_timeout=0.05).rename_channel("GFP", "YFP")
    assert ps.open_ome_zarr(held / "A/1/0").channel_names == ["DAPI", "YFP"]


def test_locking_leaves_no_file(tmp_path, version):
    plate = make_plate(tmp_path / "a.zarr", version)
    plate["A/1/0"].rename_channel("GFP", "YFP")
    assert os.listdir(tmp_path) == ["a.zarr"]
    hidden = [
        name for _, _, names in os.walk(tmp_path) for name in names if "lock" in name or name.endswith(".tmp")
    ]
    assert hidden == []


@pytest.mark.parametrize("value", [-1, "soon", None, True, float("nan")])
def test_a_lock_timeout_must_be_a_number(tmp_path, value):
    with refused(ps.ArgumentError, ValueError, tree=tmp_path, names=False):
        create(tmp_path / "a.zarr", lock_timeout=value)


@pytest.fixture
def linked(tmp_path, version):
    """A plate of which one well is a link to a directory elsewhere."""
    path = tmp_path / "a.zarr"
    stored_plate(path, version)
    (path / "A/2").rename(tmp_path / "elsewhere")
    (path / "A/2").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    return path


def test_a_link_out_of_the_store_is_read_with_a_warning(linked):
    plate = ps.open_ome_zarr(linked)
    with pytest.warns(ps.StoreWarning, match="link out of the store"):
        assert plate["A/2/0"].data[0, 0, 0, 0, 0] == 2


@pytest.mark.filterwarnings("ignore:.*link out of the store:platestore.StoreWarning")
@pytest.mark.parametrize(
    "change",
    [
        lambda plate: plate["A/2/0"].rename_channel("GFP", "YFP"),
        lambda plate: plate["A/2/0"].create_zeros("1", (1, 2, 1, 4, 4), "uint8"),
        lambda plate: plate["A/2/0"].zattrs.update({"a": 1}),
        lambda plate: plate["A/2/0/0"].attrs.update({"a": 1}),
        lambda plate: plate["A/2"].create_position("1"),
        lambda plate: plate.create_position("A", "2", "1"),
        lambda plate: plate.rename_well("A/2", "C/3"),
        lambda plate: plate.__delitem__("A/2"),
        lambda plate: plate.__delitem__("A/2/0"),
        lambda plate: plate.__delitem__("A/2/0/0"),
        lambda plate: plate["A/2/0/0"].resize((1, 1, 1, 1, 1)),
    ],
)
def test_a_link_out_of_the_store_is_never_written_through(linked, tmp_path, change):
    plate = ps.open_ome_zarr(linked, mode="r+")
    with refused(ps.UnsafeTargetError, ValueError, tree=tmp_path, names=linked / "A/2") as caught:
        change(plate)
    assert "follow_links" in caught.value.hint


PIXEL_WRITES = {
    "index": lambda position: position["0"].__setitem__(..., 9),
    "oindex": lambda position: position["0"].oindex.__setitem__((0, [0]), 9),
    "vindex": lambda position: position["0"].vindex.__setitem__(([0], [0], [0], [0], [0]), 9),
    "blocks": lambda position: position["0"].blocks.__setitem__((0, 0, 0, 0, 0), 9),
    "selection": lambda position: position["0"].set_orthogonal_selection((0, [0]), 9),
    "tensorstore": lambda position: position["0"].tensorstore()[0, 0].write(9).result(),
    "update_channel": lambda position: position.update_channel("GFP", "0", pixels(1, 2, 8, 8)),
}


@pytest.mark.filterwarnings("ignore:.*link out of the store:platestore.StoreWarning")
@pytest.mark.parametrize("way", PIXEL_WRITES)
def test_pixels_are_not_written_through_a_link(linked, tmp_path, way):
    position = ps.open_ome_zarr(linked, mode="r+")["A/2/0"]
    before = snapshot(tmp_path)
    with pytest.raises((ValueError, PermissionError)):
        PIXEL_WRITES[way](position)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("way", PIXEL_WRITES)
def test_mode_r_refuses_pixels_in_every_way(tmp_path, version, way):
    position = ps.open_ome_zarr(stored_plate(tmp_path / "a.zarr", version), mode="r")["A/2/0"]
    before = snapshot(tmp_path)
    with pytest.raises((ValueError, PermissionError)):
        PIXEL_WRITES[way](position)
    assert snapshot(tmp_path) == before


def test_follow_links_writes_through_and_does_not_say_otherwise(linked, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plate = ps.open_ome_zarr(linked, mode="r+", follow_links=True)
        plate["A/2/0"].rename_channel("GFP", "YFP")
        plate["A/2/0/0"][...] = 9
    assert ps.open_ome_zarr(tmp_path / "elsewhere/0").channel_names == ["DAPI", "YFP"]
    assert (ps.open_ome_zarr(tmp_path / "elsewhere/0").data.numpy() == 9).all()


def test_a_link_inside_the_store_is_no_link_out_of_it(tmp_path, version):
    path = tmp_path / "a.zarr"
    stored_plate(path, version)
    (path / "A/2").rename(path / "A/moved")
    (path / "A/2").symlink_to("moved", target_is_directory=True)
    plate = ps.open_ome_zarr(path, mode="r+")
    plate["A/2/0"].rename_channel("GFP", "YFP")
    assert ps.open_ome_zarr(path / "A/moved/0").channel_names == ["DAPI", "YFP"]


def test_a_store_that_is_itself_reached_by_a_link_is_written(tmp_path, version):
    stored_plate(tmp_path / "real.zarr", version)
    (tmp_path / "link.zarr").symlink_to(tmp_path / "real.zarr", target_is_directory=True)
    ps.open_ome_zarr(tmp_path / "link.zarr", mode="r+")["A/1/0"].rename_channel("GFP", "YFP")
    assert ps.open_ome_zarr(tmp_path / "real.zarr/A/1/0").channel_names == ["DAPI", "YFP"]


@pytest.mark.parametrize("mode", ["r", "r+", "a", "w", "w-"])
def test_unknown_arguments_are_refused(tmp_path, version, mode):
    new_position(tmp_path / "a.zarr", version)
    with pytest.raises(TypeError, match=r"unexpected keyword argument '(chanel_names|overwrite)'"):
        ps.open_ome_zarr(
            tmp_path / "a.zarr", layout="fov", mode=mode, channel_names=["a"], overwrite=True, chanel_names=[]
        )
    assert ps.open_ome_zarr(tmp_path / "a.zarr").channel_names == ["DAPI", "GFP"]
