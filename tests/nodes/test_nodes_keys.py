"""Keys of nodes: how a well may be written, and nodes as mappings."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import platestore as ps
from platestore.errors import NodeKeyError, UnreadableWarning
from platestore.spec.names import spelled_as_listed


def make(path: Path, wells: list[str], version: str = "0.5") -> ps.Plate:
    with ps.open_ome_zarr(path, layout="hcs", mode="w-", channel_names=["a"], version=version) as plate:
        for i, well in enumerate(wells):
            position = plate.create_position(*well.split("/"), "0")
            position.create_image("0", np.full((1, 1, 1, 4, 4), i, "uint8"))
    return ps.open_ome_zarr(path, layout="hcs", mode="r+")


@pytest.mark.parametrize(
    "key", ["B/2", "B2", "B02", "B/02", "/B/002/", ("B", 2), ("B", "2"), ("B", "02"), ("B2",)]
)
@pytest.mark.parametrize("listed", ["B/2", "B/02"])
def test_a_well_may_be_written_in_several_ways(
    tmp_path: Path, version: str, key: object, listed: str
) -> None:
    plate = make(tmp_path / "p.zarr", ["A/1", listed, "B/12", "BB/2"], version)
    assert key in plate
    assert plate[key]["0"]["0"][0, 0, 0, 0, 0] == 1
    inner = (*key, 0, "0") if isinstance(key, tuple) else f"{key}/0/0".replace("//", "/")
    assert plate[inner][0, 0, 0, 0, 0] == 1
    assert plate["B"][listed[2:].lstrip("0")]["0/0"][0, 0, 0, 0, 0] == 1


def test_what_is_listed_literally_goes_first(tmp_path: Path) -> None:
    plate = make(tmp_path / "p.zarr", ["B/2", "B/02", "B2/1"])
    assert plate["B/2/0/0"][0, 0, 0, 0, 0] == 0
    assert plate["B/02/0/0"][0, 0, 0, 0, 0] == 1
    assert isinstance(plate["B2"], ps.Row)
    assert plate["B2/1/0/0"][0, 0, 0, 0, 0] == 2
    with pytest.raises(NodeKeyError, match="no well 'B/002'"):  # which of the two?
        plate["B/002"]


@pytest.mark.parametrize("key", ["B3", "C2", "2", "B", ("B", 3), "b2", 2, None, True, "../B/2", ()])
def test_other_wells_are_not_there(tmp_path: Path, key: object) -> None:
    plate = make(tmp_path / "p.zarr", ["A/2"])
    assert key not in plate
    with pytest.raises((KeyError, ps.InvalidNameError)):
        plate[key]


def test_a_well_is_deleted_under_the_name_that_finds_it(tmp_path: Path) -> None:
    plate = make(tmp_path / "p.zarr", ["A/01", "A/2"])
    del plate["A1"]
    assert [path for path, _ in plate.wells()] == ["A/2"]
    del plate["A", 2, 0]
    assert len(plate["A/2"]) == 0


WELLS = st.sets(
    st.tuples(st.sampled_from(["A", "B", "AB", "A1"]), st.sampled_from(["1", "01", "2", "10", "x1"])),
    min_size=1,
)


@given(
    wells=WELLS,
    row=st.sampled_from(["A", "B", "AB", "A1", "C"]),
    column=st.sampled_from(["1", "01", "001", "2", "x1"]),
)
def test_a_path_never_leads_to_another_row_or_number(
    wells: set[tuple[str, str]], row: str, column: str
) -> None:
    listed = {f"{r}/{c}" for r, c in wells}
    found = spelled_as_listed(f"{row}/{column}", listed)
    if f"{row}/{column}" in listed:
        assert found == f"{row}/{column}"
    elif found in listed:
        assert found.partition("/")[0] == row
        assert int(found.partition("/")[2]) == int(column)
    if any(r == row for r, _ in wells):
        same = {
            c for r, c in wells if r == row and c.isdecimal() and column.isdecimal() and int(c) == int(column)
        }
        if len(same) == 1:
            assert found in listed


def test_nodes_are_read_like_mappings(tmp_path: Path) -> None:
    plate = make(tmp_path / "p.zarr", ["A/1", "A/3", "C/2"])
    position = plate["A/1/0"]
    position.create_label("nuclei", np.zeros((1, 1, 1, 4, 4), "uint8"))
    for node, names in [
        (plate, ["A", "C"]),
        (plate["A"], ["1", "3"]),
        (plate["A/1"], ["0"]),
        (position, ["0"]),
        (position["labels"], ["nuclei"]),
    ]:
        assert node.keys() == list(node) == names
        assert [name for name, _ in node.items()] == names
        assert [repr(member) for member in node.values()] == [repr(node[name]) for name in names]
        assert list(dict(node)) == names


def test_members_that_cannot_be_opened_are_passed_over_with_a_warning(tmp_path: Path) -> None:
    plate = make(tmp_path / "p.zarr", ["A/1", "A/3"])
    (tmp_path / "p.zarr/A/1/zarr.json").write_text("{")
    with pytest.warns(UnreadableWarning, match="A/1"):
        assert [name for name, _ in plate["A"].items()] == ["3"]


def test_keys_that_ipython_offers_can_be_had(tmp_path: Path) -> None:
    plate = make(tmp_path / "p.zarr", ["A/1", "A/3", "C/2"])
    position = plate["A/1/0"]
    position.create_label("nuclei", np.zeros((1, 1, 1, 4, 4), "uint8"))
    for node, some in [
        (plate, ["A", "C", "A/1", "A/3", "C/2"]),
        (plate["A"], ["1", "3"]),
        (plate["A/1"], ["0"]),
        (position, ["0", "labels/nuclei"]),
        (position["labels"], ["nuclei"]),
    ]:
        assert node._ipython_key_completions_() == some
        for key in some:
            assert key in node or node[key] is not None


def test_completion_by_jedi_and_ipython(tmp_path: Path) -> None:
    jedi = pytest.importorskip("jedi", reason="jedi is not installed")
    plate = make(tmp_path / "p.zarr", ["A/1"])
    position = plate["A/1/0"]
    position.create_label("nuclei", np.zeros((1, 1, 1, 4, 4), "uint8"))
    tiled = ps.open_ome_zarr(tmp_path / "p.zarr/A/1/0", layout="tiled")
    nodes = {
        "plate": (plate, "create_position"),
        "row": (plate["A"], "wells"),
        "well": (plate["A/1"], "positions"),
        "position": (position, "create_image"),
        "image": (position["0"], "dask_array"),
        "tiled": (tiled, "make_tiles"),
        "tiles": (tiled["0"], "get_tile"),
        "labels": (position["labels"], "labels"),
        "label": (position["labels/nuclei"], "colors"),
        "report": (ps.validate(tmp_path / "p.zarr"), "valid"),
    }
    space = {name: node for name, (node, _) in nodes.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of jedi's own
        for name, (_, member) in nodes.items():
            found = {c.name for c in jedi.Interpreter(f"{name}.", [space]).complete()}
            assert member in found, name
            assert "version" in found or name in ("image", "tiles", "report")
        found = {c.name for c in jedi.Interpreter('position["0"].', [space]).complete()}
        assert "dask_array" in found


def test_completion_of_ipython(tmp_path: Path) -> None:
    pytest.importorskip("IPython", reason="IPython is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of IPython's own
        from IPython.core.completer import provisionalcompleter
        from IPython.core.interactiveshell import InteractiveShell

        shell = InteractiveShell.instance()
        try:
            plate = make(tmp_path / "p.zarr", ["A/1"])
            shell.user_ns.update(plate=plate, position=plate["A/1/0"])
            for code, some in [
                ("plate.", "create_position"),
                ("position.", "create_image"),
                ('position["0"].', "dask_array"),
                ('plate["', "A/1"),
            ]:
                with provisionalcompleter():
                    found = {c.text.lstrip(".") for c in shell.Completer.completions(code, len(code))}
                assert some in found, code
        finally:
            InteractiveShell.clear_instance()
