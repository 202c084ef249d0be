"""What a second reader met: stores that looked harmless, and repairs that did too much."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import zarr
from check_cases import GROUP, codes, make_plate, ome, repaired, tree

import platestore as ps

DEAD = 2**22 + 12345


@pytest.fixture
def plate(tmp_path, version):
    return make_plate(tmp_path / "p.zarr", version)


@pytest.mark.parametrize("how", ["gone", "empty"])
@pytest.mark.parametrize("place", ["", "A/1", "A/1/0", "A/1/0/0"])
def test_attributes_that_are_whole_are_kept_where_the_document_beside_them_is_lost(tmp_path, place, how):
    path = make_plate(tmp_path / "p.zarr", "0.4")
    attributes = json.loads((path / place / ".zattrs").read_text())
    attributes["mine"] = {"a": [1, None]}
    if "omero" in attributes:
        attributes["omero"]["channels"][0]["label"] = "renamed"
    (path / place / ".zattrs").write_text(json.dumps(attributes))
    lost = path / place / (".zarray" if place == "A/1/0/0" else ".zgroup")
    lost.unlink() if how == "gone" else lost.write_bytes(b"")
    assert not ps.check(path).whole
    repaired(path)
    assert json.loads((path / place / ".zattrs").read_text()) == attributes


def test_nothing_is_changed_behind_a_link_out_of_the_store(plate, tmp_path):
    outside = tmp_path / "elsewhere"
    (plate / "A/2").rename(outside)
    (plate / "A/2").symlink_to(outside)
    for name in (f".zarr.json.{DEAD}-1-deadbeef.tmp", "0/zarr.json.__lock"):
        (outside / name).write_bytes(b"x")
        os.utime(outside / name, (1, 1))
    before = tree(outside)
    with pytest.warns(ps.StoreWarning, match="link out of the store"):
        report = ps.check(plate, repair=True)
    assert tree(outside) == before
    assert not report.failed
    assert all(f.repair is None for f in report.findings)


@pytest.mark.parametrize(
    "target", ["../secret", "../../../../../../../dev/zero", "/dev/zero", "A/../../secret"]
)
def test_consolidated_metadata_leads_to_no_file_outside(tmp_path, target):
    path = make_plate(tmp_path / "p.zarr", "0.4")
    (path / ".zmetadata").write_text(json.dumps({"metadata": {target: {"a": 1}}}))
    (tmp_path / "secret").write_text("[" * 10**5)
    assert codes(ps.check(path)) == {"consolidated-stale"}
    repaired(path)


def test_many_chunks_outside_leave_those_inside_alone(tmp_path, version):
    path = tmp_path / "p.zarr"
    with ps.open_ome_zarr(path, layout="fov", mode="w-", channel_names=["a"], version=version) as position:
        position.create_image("0", np.ones((200, 1, 1, 4, 4), "uint8"), chunks=(1, 1, 1, 4, 4))
    name = ".zarray" if version == "0.4" else "zarr.json"
    content = json.loads((path / "0" / name).read_text())
    content["shape"][0] = 20
    (path / "0" / name).write_text(json.dumps(content))
    assert codes(ps.check(path)) == {"chunk-outside"}
    repaired(path)
    assert (ps.open_ome_zarr(path)["0"][...] == np.ones((20, 1, 1, 4, 4))).all()


def test_groups_of_others_are_not_taken_for_images_wells_or_plates(tmp_path, plate):
    plain = zarr.open_group(tmp_path / "plain.zarr", mode="w", attributes={"title": "mine"})
    plain.create_array("a", shape=(4, 4), dtype="u1")
    bare = zarr.open_group(tmp_path / "bare.zarr", mode="w")
    bare.create_array("a", shape=(4, 4), dtype="u1")
    tables = zarr.open_group(
        plate / "tables/conditions/X",
        mode="w",
        zarr_format=3 if (plate / "zarr.json").exists() else 2,
        attributes={"encoding-type": "csr_matrix"},
    )
    tables.create_array("data", shape=(9,), dtype="f4")
    image = zarr.open_group(plate / "A/1/0", mode="r+")
    image.create_array("histogram", shape=(256,), dtype="i8")
    for path in (tmp_path / "plain.zarr", tmp_path / "bare.zarr", plate):
        before = tree(path)
        report = ps.check(path, repair=True)
        assert report.whole, report.findings
        assert not report.actions
        assert tree(path) == before


def test_a_collection_of_images_is_looked_at_and_stays_one(tmp_path):
    zarr.open_group(tmp_path / "many.zarr", mode="w")
    for name in ("a", "b"):
        with ps.open_ome_zarr(
            tmp_path / f"{name}.zarr", layout="fov", mode="w-", channel_names=["c"], version="0.5"
        ) as position:
            position.create_image("0", np.ones((1, 1, 1, 8, 8), "uint8"))
        (tmp_path / f"{name}.zarr").rename(tmp_path / "many.zarr" / name)
    assert ps.check(tmp_path / "many.zarr").arrays == 2
    assert ps.check(tmp_path / "many.zarr").whole
    (tmp_path / "many.zarr/a/zarr.json").write_bytes(b"")
    assert codes(ps.check(tmp_path / "many.zarr")) == {"document-lost"}
    assert ps.check(tmp_path / "many.zarr", repair=True).whole
    assert ps.open_ome_zarr(tmp_path / "many.zarr/a")["0"].shape == (1, 1, 1, 8, 8)


def test_a_listed_well_whose_metadata_somebody_removed_stays_listed(plate, version):
    name = GROUP[version]
    content = json.loads((plate / "A/1" / name).read_text())
    (content if version == "0.4" else content["attributes"]).clear()
    (content if version == "0.4" else content["attributes"])["mine"] = 1
    (plate / "A/1" / name).write_text(json.dumps(content))
    assert codes(ps.check(plate)) == {"document-lost"}
    repaired(plate)
    node = ps.open_ome_zarr(plate)
    assert [p for p, _ in node["A/1"].positions()] == ["0", "1"]
    assert node["A/1"].zattrs["mine"] == 1


def test_a_quarantine_that_cannot_be_made_refuses_the_repair(plate):
    ome(plate, "0.4" if (plate / ".zattrs").exists() else "0.5", lambda a: a["plate"]["wells"].pop())
    Path(f"{plate}.quarantine").write_text("a file")
    before = tree(plate)
    with pytest.raises(ps.ReadOnlyError, match="in the way"):
        ps.check(plate, repair=True)
    assert tree(plate) == before


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_names_that_are_no_text_are_set_aside_and_written_down(plate):
    name = os.fsencode(plate) + b"/.\xff." + str(DEAD).encode() + b"-1-deadbeef.tmp"
    with open(name, "wb") as file:
        file.write(b"pixels")
    report = ps.check(plate, repair=True)
    assert report.whole
    assert b"\\udcff" in Path(report.quarantine, "actions.txt").read_bytes()


def test_a_very_deep_tree_is_no_trouble(plate):
    path = plate / "A/1/0" / "/".join(["d"] * 900)
    os.makedirs(path)
    assert not ps.check(plate).of("error")


@pytest.mark.parametrize("place", ["chunk", "document"])
def test_links_to_what_is_not_there_are_unreadable_and_stay(plate, version, place):
    """As data managers leave them for files whose content is elsewhere."""
    chunks = [p for p in (plate / "A/2/0/0").rglob("*") if p.is_file() and p.name.isdecimal()]
    victim = chunks[0] if place == "chunk" else plate / "A/2/0" / GROUP[version]
    victim.unlink()
    victim.symlink_to("/annex/objects/nowhere")
    report = ps.check(plate, repair=True)
    assert codes(report) == {"unreadable"}
    assert victim.is_symlink()
    assert os.readlink(victim) == "/annex/objects/nowhere"


@pytest.mark.parametrize(
    ("version", "attributes"),
    [
        ("0.5", {"ome": {"version": "0.6rc0", "multiscales": [{"datasets": [{"path": "0"}]}]}}),
        ("0.4", {"multiscales": [{"version": "0.3", "datasets": [{"path": "0"}], "axes": ["y", "x"]}]}),
        ("0.4", {"multiscales": [{"datasets": [{"path": "0"}], "axes": ["y", "x"]}]}),
        ("0.5", {"ome": {"version": "0.5", "multiscales": [{"axes": 3, "datasets": [{"path": "0"}]}]}}),
    ],
)
def test_documents_of_other_versions_and_unusable_ones_are_not_rewritten(tmp_path, version, attributes):
    fmt = 3 if version == "0.5" else 2
    group = zarr.open_group(tmp_path / "p.zarr", mode="w", zarr_format=fmt, attributes=attributes)
    group.create_array("0", shape=(4, 4), dtype="u1")
    before = tree(tmp_path)
    report = ps.check(tmp_path / "p.zarr", repair=True)
    assert codes(report) & {"version-too-old", "version-not-yet", "document-unusable"}
    assert not report.actions
    assert tree(tmp_path) == before


def test_links_in_a_circle_end(plate):
    (plate / "A/l1").symlink_to(".")
    (plate / "A/l2").symlink_to("..")
    assert ps.check(plate).whole


@pytest.mark.parametrize("other", ["dtype", "shape"])
def test_a_document_that_the_other_levels_contradict_is_not_written(tmp_path, other):
    path = tmp_path / "p.zarr"
    with ps.open_ome_zarr(path, layout="hcs", mode="w-", channel_names=["a"], version="0.5") as plate:
        for column, frames, dtype in (("1", 2, "float32"), ("2", 4 if other == "shape" else 2, "uint32")):
            dtype = "float32" if other == "shape" else dtype
            position = plate.create_position("A", column, "0")
            position.create_image(
                "0", np.full((frames, 1, 1, 32, 32), 7.5).astype(dtype), chunks=(1, 1, 1, 32, 32)
            )
            position.compute_pyramid(2)
    (path / "A/1/0/0/zarr.json").unlink()
    before = tree(path)
    report = ps.check(path, repair=True)
    assert codes(report) == {"array-document-lost"}
    assert report.failed
    assert tree(path) == before


def test_levels_of_labels_are_never_averaged(tmp_path, version):
    path = make_plate(tmp_path / "p.zarr", version)
    where = path / "A/1/0/labels/cells"
    label = ps.open_ome_zarr(path, mode="r+")["A/1/0"].get_label("cells")
    label.compute_pyramid(3)
    values = set(np.unique(label["0"][...]))

    def forget(attributes):
        image = attributes["multiscales"][0]
        image["type"], image["metadata"] = "somebody's", {}

    ome(where, version, forget)
    chunk = next(p for p in (where / "1").rglob("*") if p.is_file() and p.name.isdecimal())
    chunk.write_bytes(chunk.read_bytes()[:-3])
    report = ps.check(path, repair=True)
    assert report.whole, report
    node = ps.open_ome_zarr(where)
    assert set(np.unique(node["1"][...])) <= values | {0}


def test_a_part_of_a_plate_that_lost_its_document_is_set_aside_beside_the_plate(plate, tmp_path, version):
    for name in ("zarr.json", ".zgroup", ".zattrs"):
        (plate / name).unlink(missing_ok=True)
    chunk = next(p for p in (plate / "A/1/0/0").rglob("*") if p.is_file() and p.name.isdecimal())
    chunk.write_bytes(b"")
    report = ps.check(plate / "A/1", repair=True)
    assert report.whole
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.zarr", "p.zarr.quarantine"]


def test_a_store_on_another_disk_is_repaired(plate, monkeypatch):
    """As a store that is a mount point: nothing can be renamed out of it."""
    from platestore.checking.whole import quarantine

    real = quarantine.rename

    def rename(source, target):
        if source.startswith(f"{plate}{os.sep}") and not target.startswith(f"{plate}{os.sep}"):
            raise OSError(18, "Invalid cross-device link", source)
        real(source, target)

    monkeypatch.setattr(quarantine, "rename", rename)
    (plate / "A/.2.0123456789ab.new/c").mkdir(parents=True)
    (plate / "A/.2.0123456789ab.new/c/0").write_bytes(b"pixels")
    for path in (
        plate / "A/.2.0123456789ab.new/c/0",
        plate / "A/.2.0123456789ab.new/c",
        plate / "A/.2.0123456789ab.new",
    ):
        os.utime(path, (1, 1))
    chunk = next(p for p in (plate / "A/1/0/0").rglob("*") if p.is_file() and p.name.isdecimal())
    chunk.write_bytes(b"")
    repaired(plate)


def test_factors_that_start_from_level_0_are_right(tmp_path):
    from platestore.multiscales import to_multiscales, to_ngff_image, to_ngff_zarr

    image = to_ngff_image(np.arange(37 * 41, dtype="u2").reshape(37, 41), dims=("y", "x"))
    to_ngff_zarr(str(tmp_path / "m.zarr"), to_multiscales(image, [3, 5, 7], chunks=16))
    assert ps.check(tmp_path / "m.zarr", deep=True).whole


@pytest.mark.parametrize("how", ["gone", "empty"])
def test_a_lost_label_image_lies_where_its_image_does(plate, version, how):
    document = plate / "A/1/0/labels/cells" / GROUP[version]
    before = ps.open_ome_zarr(plate)["A/1/0"].get_label("cells")
    scale = before.get_effective_scale("0")
    document.unlink() if how == "gone" else document.write_bytes(b"")
    report = repaired(plate)
    after = ps.open_ome_zarr(plate)["A/1/0"].get_label("cells")
    assert after.get_effective_scale("0") == scale
    assert scale[-1] == 0.25
    assert any("axes, scales and channels are those of" in action for action in report.actions)


def test_a_guess_is_called_one(tmp_path):
    with ps.open_ome_zarr(
        tmp_path / "p.zarr", layout="fov", mode="w-", channel_names=["a"], version="0.5"
    ) as p:
        p.create_image("0", np.ones((1, 1, 1, 8, 8), "uint8"))
    (tmp_path / "p.zarr/zarr.json").write_bytes(b"")
    report = repaired(tmp_path / "p.zarr")
    assert any("are a guess" in action for action in report.actions)


def test_a_torn_document_of_v3_beside_those_of_v2_is_taken_away(tmp_path):
    path = make_plate(tmp_path / "p.zarr", "0.4")
    before = tree(path)
    (path / "A/1/0/zarr.json").write_bytes(b"")
    assert codes(ps.check(path)) == {"document-stray"}
    repaired(path)
    assert tree(path) == before


def test_what_lenient_readers_can_read_is_not_lost(plate, version):
    document = plate / "A/1/0" / GROUP[version]
    content = json.loads(document.read_text())
    (content if version == "0.4" else content["attributes"])["mine"] = float("nan")
    document.write_text(json.dumps(content))
    before = tree(plate)
    report = ps.check(plate, repair=True)
    assert codes(report) == {"json-constant"}
    assert "mine is nan" in report.of("warning")[0].message
    assert tree(plate) == before


@pytest.mark.parametrize("name", ["A.bak", "A copy", "A/1 copy", "A/1/0-backup", "A/1/0 (1)"])
def test_copies_with_names_that_no_plate_has_are_left_alone(plate, name):
    import shutil

    source = plate / name[0] if name[1] in ". " else plate / name[: 3 if name.count("/") == 1 else 5]
    shutil.copytree(source, plate / name)
    before = tree(plate)
    report = ps.check(plate, repair=True)
    assert report.whole, report.findings
    assert tree(plate) == before


def test_a_level_that_fell_out_of_the_middle_comes_back_there(plate, version):
    before = ps.open_ome_zarr(plate)["A/1/0"].metadata.to_json()["multiscales"][0]["datasets"]
    ome(plate / "A/1/0", version, lambda a: a["multiscales"][0]["datasets"].pop(1))
    repaired(plate)
    after = ps.open_ome_zarr(plate)["A/1/0"].metadata.to_json()["multiscales"]
    assert len(after) == 1
    assert after[0]["datasets"] == before


def test_images_of_other_names_are_no_levels(tmp_path, version):
    path = tmp_path / "p.zarr"
    with ps.open_ome_zarr(path, layout="fov", mode="w-", channel_names=["a"], version=version) as position:
        for name, size in (("raw", 64), ("mip", 32), ("half", 16)):
            position.create_image(name, np.ones((1, 1, 1, size, size), "uint8"))
    for name in ("zarr.json", ".zgroup", ".zattrs"):
        (path / name).unlink(missing_ok=True)
    repaired(path)
    assert sorted(m.datasets[0].path for m in ps.open_ome_zarr(path).metadata.multiscales) == [
        "half",
        "mip",
        "raw",
    ]


def test_levels_are_not_made_anew_from_what_was_lost(plate):
    """They hold all that is left of it."""
    import shutil

    chunks = plate / "B/3/0/0" / ("c" if (plate / "zarr.json").exists() else "0")
    shutil.rmtree(chunks)
    before = tree(plate)
    report = ps.check(plate, deep=True, repair=True)
    assert "chunk-missing" in codes(report)
    assert tree(plate) == before


def test_an_array_document_is_tried_without_being_written(plate, version, monkeypatch):
    from platestore.storage.local import LocalStorage

    name = ".zarray" if version == "0.4" else "zarr.json"
    (plate / "A/2/0/0" / name).unlink()
    other = ps.open_ome_zarr(plate, mode="r+", overwriting_creation=True)["A/2/1"]
    other.create_image("0", np.ones((2, 2, 2, 64, 48), "uint16"), chunks=(1, 1, 1, 8, 8))
    written = []
    real = LocalStorage.write

    def write(self, key, data):
        written.append(key)
        real(self, key, data)

    monkeypatch.setattr(LocalStorage, "write", write)
    assert ps.check(plate, repair=True).actions
    assert written.count(f"A/2/0/0/{name}") <= 1


def test_an_array_that_cannot_be_read_is_named(plate, version, monkeypatch):
    real = os.scandir
    hidden = f"A{os.sep}1{os.sep}0{os.sep}1"

    def scandir(place="."):
        if os.fspath(place).endswith(hidden):
            raise PermissionError(13, "Permission denied", os.fspath(place))
        return real(place)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        assert "unreadable" in codes(ps.check(plate))


@pytest.mark.parametrize("change", [{"compressor": None}, {"chunks": [1, 1, 1, 8, 8]}, {"dtype": "<u4"}])
def test_one_wrong_word_in_an_array_document_takes_no_chunks_out(tmp_path, change):
    path = make_plate(tmp_path / "p.zarr", "0.4")
    document = path / "A/1/0/0/.zarray"
    document.write_text(json.dumps({**json.loads(document.read_text()), **change}))
    chunks = sorted(p for p in (path / "A/1/0/0").rglob("*") if p.is_file())
    report = ps.check(path, deep=True, repair=True)
    assert codes(report) & {"array-document-suspect", "chunk-outside", "level-shape", "level-stale"}
    kept = [p for p in chunks if p.exists()]
    moved = list((Path(report.quarantine) / "store/A/1/0/0").rglob("*")) if report.quarantine else []
    assert len(kept) == len(chunks) or "chunks" in change or not moved


@pytest.mark.parametrize("value", [[], {}, 3, None])
def test_paths_of_any_type_are_taken_out(plate, version, value):
    ome(plate, version, lambda a: a["plate"]["wells"].append({**a["plate"]["wells"][0], "path": value}))
    ome(plate / "A/1", version, lambda a: a["well"]["images"].append({"path": value}))
    assert not ps.check(plate).whole
    repaired(plate)


@pytest.mark.parametrize("value", ["text", [1], 3.0])
def test_an_ome_that_is_no_object_is_replaced(tmp_path, value):
    path = make_plate(tmp_path / "p.zarr", "0.5")
    content = json.loads((path / "zarr.json").read_text())
    content["attributes"] = {"ome": value}
    (path / "zarr.json").write_text(json.dumps(content))
    assert not ps.check(path).whole
    report = ps.check(path, repair=True)
    assert report.whole, report
    assert len(list(ps.open_ome_zarr(path).positions())) == 6


def test_own_attributes_that_cannot_be_read_are_dropped(plate, version):
    name = GROUP[version]
    content = json.loads((plate / name).read_text())
    own = (content if version == "0.4" else content["attributes"])["platestore"]
    own["axes"][3]["name"] = 5
    (plate / name).write_text(json.dumps(content))
    with pytest.raises(ps.InvalidMetadataError):
        ps.open_ome_zarr(plate)
    assert codes(ps.check(plate)) == {"record-damaged"}
    repaired(plate)


@pytest.mark.parametrize("inside", ["c", "c/0", "0"])
def test_a_directory_of_chunks_is_no_node(tmp_path, inside):
    path = make_plate(tmp_path / "p.zarr", "0.5" if inside[0] == "c" else "0.4")
    with pytest.raises(ps.ArgumentError, match="inside of an array"):
        ps.check(path / "A/1/0/0" / inside, repair=True)


@pytest.mark.parametrize("fill", [-1, [0, 0], "abc", 10**30])
def test_impossible_fill_values_do_not_take_the_report_of_others(plate, version, fill):
    name = ".zarray" if version == "0.4" else "zarr.json"
    content = json.loads((plate / "A/1/0/0" / name).read_text())
    content["fill_value"] = fill
    (plate / "A/1/0/0" / name).write_text(json.dumps(content))
    (plate / "B/3" / GROUP[version]).write_bytes(b"")
    for deep in (False, True):
        assert "document-lost" in codes(ps.check(plate, deep=deep))


def test_a_link_to_a_part_is_repaired_beside_its_plate(plate, tmp_path, version):
    (tmp_path / "link").symlink_to(plate / "A/1/0")
    (plate / "A/1/0" / GROUP[version]).write_bytes(b"")
    report = ps.check(tmp_path / "link", repair=True)
    assert report.whole
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "p.zarr", "p.zarr.quarantine"]
    assert ps.open_ome_zarr(plate)["A/1/0"].scale[-1] == 0.25


def test_levels_of_labels_stay_when_those_of_their_image_are_made_anew(plate, version):
    label = ps.open_ome_zarr(plate, mode="r+")["A/1/0"].get_label("cells")
    label["1"][...] = 7  # of its own
    before = tree(plate / "A/1/0/labels")
    chunk = next(p for p in (plate / "A/1/0/1").rglob("*") if p.is_file() and p.name.isdecimal())
    chunk.write_bytes(b"")
    report = ps.check(plate, repair=True)
    assert any("computed the levels" in action for action in report.actions)
    assert tree(plate / "A/1/0/labels") == before


@pytest.mark.parametrize("name", ["0", "1.2", "c"])
def test_a_directory_that_is_no_store_is_left_alone(tmp_path, name):
    folder = tmp_path / "data"
    (folder / "photos").mkdir(parents=True)
    (folder / name).write_text("mine")
    before = tree(tmp_path)
    report = ps.check(folder, repair=True)
    assert not report.whole
    assert not report.actions
    assert tree(tmp_path) == before


def test_directories_of_numbers_of_other_programs_are_left_alone(plate):
    for place in ("thumbs/0", "qc", "qc/2024"):
        (plate / "A/1/0" / place).mkdir(parents=True)
        (plate / "A/1/0" / place / "1").write_bytes(b"mine")
    before = tree(plate)
    assert ps.check(plate, repair=True).whole
    assert tree(plate) == before


@pytest.mark.parametrize("content", ["{}", '{"zarr_format": 3}', ""])
@pytest.mark.parametrize("place", ["A/1/0", "A/1/0/0"])
def test_a_useless_document_of_v3_beside_those_of_v2_is_taken_away(tmp_path, place, content):
    path = make_plate(tmp_path / "p.zarr", "0.4")
    before = tree(path)
    (path / place / "zarr.json").write_text(content)
    assert codes(ps.check(path)) == {"document-stray"}
    repaired(path)
    assert tree(path) == before
