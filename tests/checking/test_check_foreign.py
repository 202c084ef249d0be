"""Plates of other programs whose documents lost or exchanged a part: what is on disk puts them right."""

from __future__ import annotations

import pytest
from check_cases import FIELDS, GROUP, WELLS, codes, copy_of, edit, make_plate, ome, repaired

import platestore as ps


@pytest.fixture(scope="module")
def plates(tmp_path_factory):
    """One plate of each version, which no test changes."""
    top = tmp_path_factory.mktemp("plates")
    return {version: make_plate(top / f"p{version}.zarr", version) for version in ("0.4", "0.5")}


@pytest.fixture
def plate(plates, version, tmp_path):
    return copy_of(plates[version], tmp_path / "p.zarr")


def require_all(path):
    """Every field is there, and every index says what the path of its well says."""
    plate = ps.open_ome_zarr(path)
    assert {name for name, _ in plate.positions()} == {f"{w}/{f}" for w in WELLS for f in FIELDS}
    for well in plate.metadata.wells:
        row, column = plate.metadata.rows[well.row_index], plate.metadata.columns[well.column_index]
        assert well.path == f"{row.name}/{column.name}"


# --- the key that says it is a plate ----------------------------------------------------------------


def only(path, version, left):
    """Leave nothing but some attributes in the document of the root."""

    def change(content):
        attributes = content if version == "0.4" else content["attributes"]
        attributes.clear()
        if version == "0.5" and "bioformats2raw.layout" in left:
            attributes["ome"] = {"version": "0.5", **left}
        else:
            attributes.update(left)

    edit(path / GROUP[version], change)


@pytest.mark.parametrize(
    "left", [{"bioformats2raw.layout": 3}, {"note": "of somebody"}, {}], ids=["layout", "others", "nothing"]
)
def test_a_plate_whose_root_lost_its_key_is_seen_and_made_again(plate, version, left):
    only(plate, version, left)
    report = ps.check(plate)
    assert not report.whole
    assert codes(report) == {"document-lost"}
    if left and "note" not in left:
        with pytest.warns(ps.StoreWarning, match="check --repair"):
            ps.open_ome_zarr(plate)
    else:
        with pytest.raises(ps.InvalidMetadataError, match="--repair"):
            ps.open_ome_zarr(plate)
    assert not ps.validate(plate).valid
    repaired(plate)
    require_all(plate)


def test_groups_of_others_are_no_plate(tmp_path, plate, version):
    """A collection that has images, and groups that say nothing, stay what they are."""
    import zarr

    other = zarr.open_group(tmp_path / "o.zarr", mode="w", zarr_format=2, attributes={"note": 1})
    other.create_group("a/b/c")
    assert codes(ps.check(tmp_path / "o.zarr")) == set()
    assert codes(ps.check(tmp_path / "o.zarr", repair=True)) == set()
    assert "plate" not in (tmp_path / "o.zarr/.zattrs").read_text()


# --- rows and columns -------------------------------------------------------------------------------


def exchange(value):
    value["rows"], value["columns"] = value["columns"], value["rows"]


@pytest.mark.parametrize("indices", ["right", "exchanged", "wrong"])
def test_exchanged_rows_and_columns_are_put_right(plate, version, indices):
    def change(parts):
        exchange(parts["plate"])
        for i, well in enumerate(parts["plate"]["wells"]):
            pair = {"right": ("rowIndex", "columnIndex"), "exchanged": ("columnIndex", "rowIndex")}.get(
                indices
            )
            if pair is None:
                well["rowIndex"] = well["columnIndex"] = i
            else:
                well["rowIndex"], well["columnIndex"] = well[pair[0]], well[pair[1]]

    before = ps.open_ome_zarr(plate).metadata
    ome(plate, version, change)
    assert "plate-exchanged" in codes(ps.check(plate))
    repaired(plate)
    after = ps.open_ome_zarr(plate).metadata
    assert [row.name for row in after.rows] == [row.name for row in before.rows]
    assert [column.name for column in after.columns] == [column.name for column in before.columns]
    require_all(plate)


def test_names_that_are_in_both_lists_are_left_where_they_are(plate, version):
    """Where rows and columns have the names that wells use, nothing is exchanged, whatever else is listed."""

    def change(parts):
        names = [*parts["plate"]["rows"], *parts["plate"]["columns"]]
        parts["plate"]["rows"] = [{"name": name["name"]} for name in names]
        columns = [*parts["plate"]["columns"], *parts["plate"]["rows"][: len(names) // 2]]
        parts["plate"]["columns"] = [{"name": n} for n in dict.fromkeys(c["name"] for c in columns)]

    ome(plate, version, change)
    assert "plate-exchanged" not in codes(ps.check(plate))


# --- tables, and findings that are alike --------------------------------------------------------------


def tables(group, version):
    """Tables as ngio keeps them: a list in the attributes, and groups with arrays of their own."""
    import zarr

    fmt = 2 if version == "0.4" else 3
    top = zarr.open_group(group / "tables", mode="w", zarr_format=fmt, attributes={"tables": ["rois"]})
    table = top.create_group("rois", attributes={"type": "roi_table", "encoding-type": "anndata"})
    table.create_array("X", shape=(3, 6), dtype="float32")[:] = 1
    table.create_group("obs", attributes={"encoding-type": "dataframe"})


def test_tables_beside_levels_are_no_finding(plate, version):
    for well in WELLS:
        for field in FIELDS:
            tables(plate / well / field, version)
    tables(plate, version)
    for deep in (False, True):
        report = ps.check(plate, deep=deep)
        assert report.findings == ()
    assert [name for name, _ in ps.open_ome_zarr(plate).positions()] == [
        f"{w}/{f}" for w in WELLS for f in FIELDS
    ]


def test_the_command_tells_findings_of_a_kind_together(plate, version):
    from click.testing import CliRunner

    from platestore.cli.check import command

    for well in WELLS:
        for field in FIELDS:
            ome(plate / well / field, version, lambda parts: parts["omero"]["channels"].pop())
    report = ps.check(plate)
    assert [f.code for f in report.findings] == ["channel-count"] * len(WELLS) * len(FIELDS)
    printed = CliRunner().invoke(command, [str(plate)]).output
    assert printed.count("[channel-count]") == 3
    assert "and the same in 3 more places" in printed
    plain = CliRunner().invoke(command, ["--json", str(plate)]).output
    assert plain.count('"channel-count"') == 6
