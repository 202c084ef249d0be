"""What others wrote survives: unknown keys at every level of every document, whatever is edited beside them.

Every JSON object of a store (but those that zarr itself does not let grow) is given a key of its own; after
an edit each is still there, with its value, unless the edit removed or replaced the very thing that held it.
"""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fault_checker import strict
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import SHARED, examples
from nodes.store_helpers import attributes, edit_attributes, group_document

KEY = "x-of-others"
VERSIONS = ["0.4", "0.5"]
#: Values that a reader of JSON may take for something else.
VALUES = [
    1,
    1.5,
    -0.0,
    1e300,
    2**53 + 1,
    True,
    None,
    "",
    "é\n\u2028",
    [],
    {},
    [[None]],
    {"a": {"": [1, {"b": 2}]}},
]


def plant(store: Path) -> dict[str, Any]:
    """Give every object of every group's attributes, and of every array's, a key of its own.

    Returns
    -------
    dict
        The values by their places: the document, and the way to the object in it.
    """
    planted: dict[str, Any] = {}
    number = 0

    def grow(value: Any, way: str) -> None:
        nonlocal number
        if isinstance(value, dict):
            for key, child in list(value.items()):
                grow(child, f"{way}.{key}")
            value[KEY] = {"number": number, "value": VALUES[number % len(VALUES)]}
            if way.endswith(".window"):  # of numbers
                value[KEY] = 1e6 + number
            planted[way] = value[KEY]
            number += 1
        elif isinstance(value, list):
            for index, child in enumerate(value):
                grow(child, f"{way}[{index}]")

    for document in sorted(documents(store)):
        content = json.loads(document.read_text())
        place = document.parent.relative_to(store).as_posix()
        attributes = content.setdefault("attributes", {}) if document.name == "zarr.json" else content
        own = attributes.pop("platestore", None)  # ours: nobody else writes there
        grow(attributes, place)
        if own is not None:
            attributes["platestore"] = own
        document.write_text(json.dumps(content))
    return planted


def documents(store: Path) -> Iterator[Path]:
    """The files that hold attributes."""
    for path in store.rglob("*"):
        if path.name in ("zarr.json", ".zattrs"):
            yield path


def lost(store: Path, planted: dict[str, Any]) -> list[str]:
    """The places of planted keys that are in no document any more, or have another value."""
    values = [o[KEY] for d in documents(store) for o in objects(strict(d.read_bytes())) if KEY in o]
    left = {json.dumps(value) for value in values}
    return [way.lstrip(".") for way, value in planted.items() if json.dumps(value) not in left]


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """All objects in a JSON value."""
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(child)


# --- a plate --------------------------------------------------------------------------------------


def build(path: Path, version: str) -> None:
    plate = ps.open_ome_zarr(
        path,
        layout="hcs",
        mode="w-",
        channel_names=["DAPI", "GFP"],
        version=version,
        acquisitions=[ps.AcquisitionMeta(id=0, name="run", maximum_field_count=4)],
    )
    pixels = np.arange(128, dtype="uint16").reshape(1, 2, 1, 8, 8)
    for position in plate.create_positions([("A", "1", "0"), ("A", "1", "1"), ("B", "2", "0")]):
        position.create_image("0", pixels, pyramid_levels=2)
    plate["A/1/0"].create_label("cells", (pixels[:, :1] % 3).astype("uint8"), properties={1: {"area": 3}})


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, dict[str, Any]]]:
    """A plate of each version, with its keys of others."""
    made = {}
    for version in VERSIONS:
        path = tmp_path_factory.mktemp("foreign") / "p.zarr"
        build(path, version)
        made[version] = (path, plant(path))
    return made


def _model(node: Any, edit: Callable[[Any], None]) -> None:
    edit(node.metadata)
    node.dump_meta()


_NEW = np.ones((1, 2, 1, 8, 8), "uint16")
#: What is made anew with levels: their arrays and transformations, and the description of how they were made.
LEVELS = tuple(
    f"{image}{part}"
    for image in ("A/1/0", "A/1/0/labels/cells")
    for part in (
        "/1",
        *(
            f"{ome}.multiscales[0].{field}"
            for ome in ("", ".ome")
            for field in ("datasets[1]", "metadata.kwargs", "metadata.method")
        ),
    )
)
#: An edit, and the beginnings of the places where keys may go with what held them.
EDITS: dict[str, tuple[Callable[[ps.Plate], Any], tuple[str, ...]]] = {
    "attributes of the plate": (lambda p: p.zattrs.update({"lab": 1}), ()),
    "attributes of a well": (lambda p: p["A/1"].zattrs.update({"lab": 1}), ()),
    "attributes of an image": (lambda p: p["A/1/0"].zattrs.update({"lab": 1}), ()),
    "attributes of an array": (lambda p: p["A/1/0/0"].attrs.update({"lab": 1}), ()),
    "attributes of a label image": (lambda p: p["A/1/0"].get_label("cells").zattrs.update({"lab": 1}), ()),
    "the plate's name": (lambda p: _model(p, lambda meta: setattr(meta, "name", "new")), ()),
    "the plate's count": (lambda p: p.dump_meta(field_count=True), ()),
    "nothing in a well": (lambda p: p["A/1"].dump_meta(), ()),
    "an image's name": (
        lambda p: _model(p["A/1/0"], lambda meta: setattr(meta.multiscales[0], "name", "new")),
        (),
    ),
    "a new well": (lambda p: p.create_position("C", "3", "0"), ()),
    "a new position": (lambda p: p.create_position("A", "1", "2"), ()),
    "new positions": (lambda p: p.create_positions([("A", "1", "2"), ("B", "2", "2"), ("D", "1", "0")]), ()),
    "a renamed well": (lambda p: p.rename_well("A/1", "C/5"), ()),
    "a renamed channel": (lambda p: p["A/1/0"].rename_channel("GFP", "Cy5"), ()),
    "a new channel": (lambda p: p["A/1/0"].append_channel("Cy5"), ()),
    "a window": (
        lambda p: p["A/1/0"].set_contrast_limits("GFP", {"start": 0, "end": 9, "min": 0, "max": 9}),
        ("A/1/0.omero.channels[1].window", "A/1/0.ome.omero.channels[1].window"),
    ),
    "a scale": (lambda p: p["A/1/0"].set_scale("0", "x", 0.5), ()),
    "the scale of all": (lambda p: p["A/1/0"].set_scale("*", "x", 0.5), ()),
    "a transformation": (
        lambda p: p["A/1/0"].set_transform("0", [ps.TransformationMeta(type="scale", scale=[1.0] * 5)]),
        tuple(f"A/1/0{ome}.multiscales[0].datasets[0].coordinateTransformations" for ome in ("", ".ome")),
    ),
    "an array's shape": (lambda p: p["A/1/0/0"].resize((2, 2, 1, 8, 8)), ()),
    "another image": (lambda p: p["A/1/0"].create_zeros("raw", (1, 2, 1, 8, 8), "uint16"), ()),
    "pixels": (lambda p: p["A/1/0/0"].__setitem__(Ellipsis, 1), ()),
    "levels made anew": (lambda p: p["A/1/0"].compute_pyramid(2), LEVELS),
    "another label image": (lambda p: p["A/1/0"].create_label("more", np.ones((1, 1, 8, 8), "uint8")), ()),
    "a removed label image": (lambda p: p["A/1/0"].delete_label("cells"), ("A/1/0/labels/cells",)),
    "removed levels": (lambda p: p["A/1/0"].delete_pyramid(), LEVELS),
    "a removed position": (
        lambda p: p.__delitem__("A/1/1"),
        ("A/1/1", "A/1.well.images[1]", "A/1.ome.well.images[1]"),
    ),
    "a removed well": (lambda p: p.__delitem__("B/2"), ("B", "plate.wells[1]", "ome.plate.wells[1]")),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_keeps_the_keys_of_others(tmp_path, templates, edit, version):
    template, planted = templates[version]
    store = tmp_path / "p.zarr"
    shutil.copytree(template, store)
    call, may_go = EDITS[edit]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call(ps.open_ome_zarr(store, mode="r+"))
    assert [way for way in lost(store, planted) if not way.startswith(may_go or ("\0",))] == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("target", VERSIONS)
def test_a_copy_keeps_the_keys_of_others(tmp_path, templates, version, target):
    template, planted = templates[version]
    ps.copy(template, tmp_path / "c.zarr", version=target)
    gone = lost(tmp_path / "c.zarr", planted)
    assert [way for way in gone if version == target or way.split(".")[-1] != "ome"] == []


# --- any valid document ---------------------------------------------------------------------------


def official() -> list[tuple[str, str, dict[str, Any]]]:
    """The valid documents of the official suites: version, kind, attributes."""
    out = []
    for version in VERSIONS if SHARED is not None else []:
        for kind in ("image", "plate", "well", "label"):
            for prefix in ("", "strict_"):
                path = SHARED / "conformance" / version / f"{prefix}{kind}_suite.json"
                tests = json.loads(path.read_text())["tests"]
                out += [(version, kind, test["data"]) for test in tests if test["valid"]]
    # Those of labels speak of an image that another document describes.
    return [case for case in out if "image-label" not in case[2].get("ome", case[2])]


OFFICIAL = official()
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.mark.skipif(not OFFICIAL, reason="the official cases are not beside this checkout")
@settings(deadline=None, max_examples=examples(150))
@given(
    case=st.sampled_from(OFFICIAL or [None]), values=st.lists(_json, min_size=1, max_size=5), data=st.data()
)
def test_any_valid_document_keeps_what_it_says(case, values, data):
    version, _kind, given_document = case
    document = copy.deepcopy(given_document)
    places = [o for o in objects(document) if not {"start", "end"} & set(o)]
    for number, value in enumerate(values):
        index = data.draw(st.integers(0, len(places) - 1))
        places[index][f"{KEY}-{number}"] = value
    with tempfile.TemporaryDirectory() as directory, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(directory, "a.zarr")
        path.mkdir()
        if version == "0.4":
            (path / ".zgroup").write_text('{"zarr_format": 2}')
            (path / ".zattrs").write_text(json.dumps(document))
        else:
            whole = {"zarr_format": 3, "node_type": "group", "attributes": document}
            (path / "zarr.json").write_text(json.dumps(whole))
        try:
            node = ps.open_ome_zarr(path, mode="r+")
        except ps.UnsupportedVersionError:
            return
        node.zattrs["lab"] = {"a": 1}
        after = attributes(path)
        assert after.pop("lab") == {"a": 1}
        assert json.dumps(after, sort_keys=True) == json.dumps(document, sort_keys=True)
        node.dump_meta()
        kept = json.dumps(strict(group_document(path).read_bytes()))
        for number, value in enumerate(values):
            assert f'"{KEY}-{number}": {json.dumps(value)}' in kept


# --- files of others ------------------------------------------------------------------------------


def test_what_ngff_zarr_writes_is_edited_and_read_by_it_again(tmp_path, version):
    ngff_zarr = pytest.importorskip("ngff_zarr")
    data = np.arange(2 * 16 * 16, dtype="uint16").reshape(2, 16, 16)
    image = ngff_zarr.to_ngff_image(data, dims=["c", "y", "x"], scale={"y": 0.5, "x": 0.5})
    path = tmp_path / "a.ome.zarr"
    made = ngff_zarr.to_multiscales(image, scale_factors=[2])
    ngff_zarr.to_ngff_zarr(str(path), made, version=version)
    before = attributes(path)
    position = ps.open_ome_zarr(path, mode="r+")
    position.set_scale(next(iter(position)), "x", 0.25)
    position.zattrs["lab"] = "ours"
    after = attributes(path)
    part, old = (after, before) if version == "0.4" else (after["ome"], before["ome"])
    same = {key for key in old["multiscales"][0] if key != "datasets"}
    assert {k: part["multiscales"][0][k] for k in same} == {k: old["multiscales"][0][k] for k in same}
    again = ngff_zarr.from_ngff_zarr(str(path))
    assert again.images[0].scale["x"] == 0.25
    np.testing.assert_array_equal(np.asarray(again.images[0].data), data)


def test_what_ome_zarr_py_writes_is_edited_and_read_by_it_again(tmp_path, version):
    writer = pytest.importorskip("ome_zarr.writer")
    import zarr
    from ome_zarr.format import FormatV04, FormatV05
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    path, fmt = tmp_path / "a.zarr", FormatV04() if version == "0.4" else FormatV05()
    data = np.arange(2 * 16 * 16, dtype="uint16").reshape(2, 16, 16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
        writer.write_image(
            data,
            root,
            axes="cyx",
            fmt=fmt,
            metadata={
                "omero": {
                    "channels": [
                        {
                            "color": "FF0000",
                            "window": {"start": 0, "end": 9, "min": 0, "max": 9},
                            "label": "a",
                            "active": True,
                        },
                        {
                            "color": "00FF00",
                            "window": {"start": 0, "end": 9, "min": 0, "max": 9},
                            "label": "b",
                            "active": True,
                        },
                    ]
                }
            },
        )
        edit_attributes(path, others={"kept": [1, None]})
        position = ps.open_ome_zarr(path, mode="r+")
        levels = list(position)
        position.set_contrast_limits(position.channel_names[0], {"start": 0, "end": 7, "min": 0, "max": 8})
        position.rename_channel(position.channel_names[1], "renamed")
        position.set_scale(levels[0], "x", 0.25)
        assert attributes(path)["others"] == {"kept": [1, None]}
        node = next(iter(Reader(parse_url(str(path)))()))
    assert node.metadata["channel_names"][1] == "renamed"
    np.testing.assert_array_equal(np.asarray(node.data[0]), data)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_collection_of_bioformats2raw_keeps_its_xml_and_its_keys(tmp_path, version):
    import zarr

    fmt = 2 if version == "0.4" else 3
    path = tmp_path / "a.zarr"
    root = zarr.create_group(path, zarr_format=fmt)
    layout = {"bioformats2raw.layout": 3}
    root.attrs.update(layout if fmt == 2 else {"ome": {"version": version, **layout}})
    edit_attributes(path, _creator={"name": "another program", "version": "1"})
    group = root.create_group("OME")
    series = {"series": ["0"]}
    group.attrs.update(series if fmt == 2 else {"ome": {"version": version, **series}})
    xml = b'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"/>'
    (path / "OME/METADATA.ome.xml").write_bytes(xml)
    one = ps.open_ome_zarr(
        tmp_path / "one.zarr", layout="fov", mode="w-", channel_names=["a"], version=version
    )
    one.create_image("0", np.ones((1, 1, 1, 4, 4), "uint8"))
    shutil.move(tmp_path / "one.zarr", path / "0")
    edit_attributes(path / "0", _creator="another program")
    before = attributes(path)
    collection = ps.open_ome_zarr(path, mode="r+")
    collection["0"].set_scale("0", "x", 0.5)
    collection["0"].append_channel("b")
    collection.zattrs["lab"] = 1
    assert attributes(path) == {**before, "lab": 1}
    assert attributes(path / "0")["_creator"] == "another program"
    assert (path / "OME/METADATA.ome.xml").read_bytes() == xml
    assert ps.open_ome_zarr(path)["0"].channel_names == ["a", "b"]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_keys_that_iohub_writes_are_kept(tmp_path, version):
    path = tmp_path / "p.zarr"
    build(path, version)
    notes = {
        "": {"Summary": {"MicroManagerVersion": "2.0"}},
        "A/1/0": {
            "iohub": {"previous_transforms": [{"image": "0", "transforms": []}]},
            "normalization": {"DAPI": {"dataset_statistics": {"mean": 3.5, "std": 1.0}}},
            "extra_metadata": {"contrast": None},
        },
    }
    for place, values in notes.items():
        edit_attributes(path / place, **values)
    plate = ps.open_ome_zarr(path, mode="r+")
    plate["A/1/0"].rename_channel("GFP", "Cy5")
    plate["A/1/0"].set_scale("0", "x", 0.5)
    plate.create_position("C", "1", "0")
    plate.rename_well("A/1", "A/9")
    for place, values in notes.items():
        place = place.replace("A/1", "A/9")
        kept = attributes(path / place)
        assert {key: kept.get(key) for key in values} == values
