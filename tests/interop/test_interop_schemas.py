"""What is written passes the official JSON schemas of OME-NGFF 0.4 and 0.5, the strict ones included."""

from __future__ import annotations

import json
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import SHARED, examples
from nodes.store_helpers import attributes, axes, check_plate, scale, translation

jsonschema = pytest.importorskip("jsonschema")
referencing = pytest.importorskip("referencing")

pytestmark = pytest.mark.skipif(SHARED is None, reason="the official schemas are not beside this checkout")

AXES = ["YX", "zyx", "CYX", "tyx", "CZYX", "tzyx", "TCYX", "tczyx", "TCZYX"]
KINDS = {"plate": "plate", "well": "well", "multiscales": "image"}


@cache
def schema_validators(version: str) -> dict[str, Any]:
    """A validator for each official schema of a version, by its name; references stay in that folder."""
    assert SHARED is not None
    found = {}
    registry = referencing.Registry()
    for file in (SHARED / "conformance" / version / "schemas").glob("*.schema"):
        content = json.loads(file.read_text())
        found[file.stem] = content
        resource = referencing.Resource.from_contents(content, referencing.jsonschema.DRAFT202012)
        registry = registry.with_resource(content["$id"], resource)
    return {
        name: jsonschema.Draft202012Validator(content, registry=registry) for name, content in found.items()
    }


def check_documents(path: Path, version: str) -> dict[str, int]:
    """Validate every group of a store by every schema that applies.

    Returns
    -------
    dict
        How many documents of each kind there were.
    """
    validators = schema_validators(version)
    seen = dict.fromkeys(["plate", "well", "image", "empty"], 0)
    for document in [*path.rglob(".zgroup"), *path.rglob("zarr.json")]:
        if document.name == "zarr.json" and json.loads(document.read_text())["node_type"] == "array":
            continue
        group = document.parent
        content = attributes(group) if (group / ".zattrs").exists() or document.name == "zarr.json" else {}
        ome = content.get("ome", {}) if version == "0.5" else content
        kinds = [kind for key, kind in KINDS.items() if key in ome]
        for kind in kinds:
            for name in (kind, f"strict_{kind}"):
                errors = [f"{e.json_path}: {e.message}" for e in validators[name].iter_errors(content)]
                assert errors == [], f"{group.relative_to(path)} by {name}.schema of {version}"
            seen[kind] += 1
        if not kinds:
            assert not set(ome) & {"plate", "well", "multiscales", "omero"}
            assert "omero" not in ome
            seen["empty"] += 1
    return seen


def test_the_schemas_refuse_what_is_wrong(version):
    # A check of the check: a registry that resolves nothing would pass everything.
    validators = schema_validators(version)
    wrong: dict[str, Any] = {"plate": {"rows": [], "columns": [], "wells": []}}
    if version == "0.5":
        wrong = {"ome": {"version": "0.5", **wrong}}
    assert list(validators["plate"].iter_errors(wrong))
    image: dict[str, Any] = {"multiscales": [{"axes": [], "datasets": []}]}
    if version == "0.5":
        image = {"ome": {"version": "0.5", **image}}
    assert list(validators["strict_image"].iter_errors(image))


# --- positions ------------------------------------------------------------------------------------

_channel = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
_scales = st.floats(1e-6, 1e6)
_dtypes = st.sampled_from(["bool", "uint8", "int16", "uint16", "uint32", "int64", "float32", "float64"])


@st.composite
def positions(draw):
    """A recipe for a position: axes, images, and what is done to it afterwards."""
    names = draw(st.sampled_from(AXES))
    shape = [draw(st.integers(1, 4)) for _ in names]
    has_channels = "c" in names.lower()
    channels = draw(st.lists(_channel, min_size=1, max_size=3, unique=True))
    if has_channels:
        shape[names.lower().index("c")] = len(channels)
    return {
        "names": names,
        "channels": channels,
        "shape": tuple(shape),
        "dtype": draw(_dtypes),
        "levels": draw(st.integers(1, 3)),
        "scale": [draw(_scales) for _ in names],
        "shift": draw(st.booleans()),
        "steps": draw(
            st.lists(
                st.sampled_from(
                    [
                        "set_scale",
                        "set_scale *",
                        "set_transform",
                        "identity",
                        "append",
                        "rename",
                        "window",
                        "extra",
                        "delete",
                    ]
                ),
                max_size=4,
            )
        ),
    }


def build(position: ps.Position, recipe: dict[str, Any]) -> None:
    """Fill a position as a recipe says."""
    names, ndim = recipe["names"], len(recipe["names"])
    shape = [s * 4 if n.lower() in "yx" else s for n, s in zip(names, recipe["shape"], strict=True)]
    for level in range(recipe["levels"]):
        now = [s // 2**level if n.lower() in "yx" else s for n, s in zip(names, shape, strict=True)]
        factors = [
            v * 2**level if n.lower() in "yx" else v for n, v in zip(names, recipe["scale"], strict=True)
        ]
        steps = scale(*factors) + ([translation(*[0.5] * ndim)] if recipe["shift"] else [])
        position.create_image(str(level), np.ones(now, recipe["dtype"]), transform=steps)
    for step in recipe["steps"]:
        if step == "set_scale":
            position.set_scale("0", "x", 0.25)
        elif step == "set_scale *":
            position.set_scale("*", "y", 4)
        elif step == "set_transform":
            position.set_transform("*", [translation(*[1.0] * ndim)])
        elif step == "identity":
            position.set_transform("0", [ps.TransformationMeta(type="identity")])
        elif step == "append" and "c" in names.lower():
            position.append_channel(f"channel {len(position.channel_names)} appended")
        elif step == "rename":
            position.rename_channel(position.channel_names[0], f"renamed {position.channel_names[0]}")
        elif step == "window":
            window = {"start": 0, "end": 0.5, "min": 0, "max": 1}
            position.set_contrast_limits(position.channel_names[0], window)
        elif step == "extra" and "extra" not in position:
            position.create_zeros("extra", position["0"].shape, recipe["dtype"])
        elif step == "delete" and len(position) > 1:
            del position[list(position)[-1]]


@settings(deadline=None, max_examples=examples(40))
@given(recipe=positions(), version=st.sampled_from(["0.4", "0.5"]))
def test_every_position_passes(recipe, version):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "image.zarr")
        position = ps.open_ome_zarr(
            path,
            layout="fov",
            mode="w-",
            channel_names=recipe["channels"],
            axes=axes(recipe["names"]),
            version=version,
        )
        assert check_documents(path, version)["empty"] == 1
        build(position, recipe)
        assert check_documents(path, version) == {"plate": 0, "well": 0, "image": 1, "empty": 0}


# --- plates ---------------------------------------------------------------------------------------

_name = st.sampled_from(["A", "B", "Z", "AA", "b2", "1", "2", "10", "007"])
_spec = st.tuples(
    _name,
    _name,
    st.sampled_from(["0", "1", "x"]),
    st.none() | st.integers(0, 5),
    st.none() | st.integers(0, 5),
)


@settings(deadline=None, max_examples=examples(40))
@given(
    specs=st.lists(st.tuples(_spec, st.integers(0, 2)), min_size=1, max_size=6, unique_by=lambda s: s[0][:3]),
    version=st.sampled_from(["0.4", "0.5"]),
    batch=st.booleans(),
    acquisitions=st.none() | st.sets(st.integers(0, 4), max_size=3),
    name=st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    then=st.lists(st.sampled_from(["rename", "delete", "delete position", "count", "edit"]), max_size=3),
    filled=st.booleans(),
)
def test_every_plate_passes(specs, version, batch, acquisitions, name, then, filled):
    with tempfile.TemporaryDirectory() as directory, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        path = Path(directory, "plate.zarr")
        kwargs: dict[str, Any] = {}
        if acquisitions is not None:
            kwargs["acquisitions"] = [ps.AcquisitionMeta(id=i) for i in sorted(acquisitions)]
        plate = ps.open_ome_zarr(
            path, layout="hcs", mode="w-", channel_names=["a"], version=version, name=name, **kwargs
        )
        assert check_documents(path, version)["empty"] == 1
        rows = [(*spec, acquisition) for spec, acquisition in specs]
        shape = {"shape": (1, 1, 1, 2, 2), "dtype": "uint8"} if filled else {}
        if batch:
            plate.create_positions(rows, **shape)
        else:
            for row in rows:
                plate.create_positions([row], **shape)
        check_documents(path, version)
        for step in then:
            wells = [p for p, _ in plate.wells()]
            fields = [p for p, _ in plate.positions()]
            if step == "rename" and wells and "Q/99" not in wells:
                plate.rename_well(wells[0], "Q/99")
            elif step == "delete" and wells:
                del plate[wells[-1]]
            elif step == "delete position" and fields:
                del plate[fields[0]]
            elif step == "count":
                plate.dump_meta(field_count=True)
            elif step == "edit":
                plate.metadata.name = "edited"
                plate.dump_meta()
            check_documents(path, version)
            check_plate(path)


@pytest.mark.parametrize("wells", [6, 96, 1536])
def test_declared_grids_pass(tmp_path, version, wells):
    path = tmp_path / "plate.zarr"
    plate = ps.open_ome_zarr(
        path, layout="hcs", mode="w-", channel_names=["a"], version=version, plate_format=wells
    )
    plate.create_positions([("A", "1", "0"), ("B", "2", "0")], shape=(1, 1, 1, 2, 2), dtype="uint8")
    assert check_documents(path, version) == {"plate": 1, "well": 2, "image": 2, "empty": 2}


def test_an_acquisition_that_was_given_but_not_used_passes(tmp_path, version):
    path = tmp_path / "plate.zarr"
    plate = ps.open_ome_zarr(
        path,
        layout="hcs",
        mode="w-",
        channel_names=["a"],
        version=version,
        acquisitions=[ps.AcquisitionMeta(id=0), ps.AcquisitionMeta(id=1)],
    )
    plate.create_position("A", "1", "0")
    assert check_documents(path, version)["plate"] == 1


def test_tiles_pass(tmp_path, version):
    path = tmp_path / "a.zarr"
    position = ps.open_ome_zarr(path, layout="tiled", mode="w-", channel_names=["a"], version=version)
    position.make_tiles("0", (2, 3), (1, 1, 1, 4, 4), "uint16")
    assert check_documents(path, version)["image"] == 1
