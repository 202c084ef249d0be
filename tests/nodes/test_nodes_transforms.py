"""Scales and translations: one valid form, one geometry, and nothing forgotten."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import examples
from nodes.store_helpers import attributes, new_position, ome, pixels, refused, scale, snapshot, translation


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.zarr"


@pytest.fixture
def position(path, version):
    """Three levels, the coarser ones shifted by half a pixel as a mean makes them."""
    made = new_position(path, version)
    made.create_image("0", pixels(1, 2, 2, 16, 16), transform=scale(1, 1, 2, 0.5, 0.5))
    for level in (1, 2):
        f = 2**level
        steps = [*scale(1, 1, 2, 0.5 * f, 0.5 * f), translation(0, 0, 0, 0.25 * (f - 1), 0.25 * (f - 1))]
        made.create_image(str(level), pixels(1, 2, 2, 16 // f, 16 // f), transform=steps)
    return made


def written(path, level=None):
    image = ome(path)["multiscales"][0]
    item = image if level is None else image["datasets"][level]
    return item.get("coordinateTransformations")


# --- set_transform --------------------------------------------------------------------------------

ONES = [{"type": "scale", "scale": [1.0] * 5}]
EQUIVALENTS = {
    "identity": ([ps.TransformationMeta(type="identity")], ONES),
    "nothing": ([], ONES),
    "a scale": (scale(1, 2, 3, 4, 5), [{"type": "scale", "scale": [1, 2, 3, 4, 5]}]),
    "a scale and a translation": (
        [*scale(1, 2, 3, 4, 5), translation(5, 4, 3, 2, 1)],
        [
            {"type": "scale", "scale": [1, 2, 3, 4, 5]},
            {"type": "translation", "translation": [5, 4, 3, 2, 1]},
        ],
    ),
    "a lone translation": (
        [translation(5, 4, 3, 2, 1)],
        [*ONES, {"type": "translation", "translation": [5, 4, 3, 2, 1]}],
    ),
    "an identity among others": (
        [ps.TransformationMeta(type="identity"), *scale(1, 2, 3, 4, 5)],
        [{"type": "scale", "scale": [1, 2, 3, 4, 5]}],
    ),
}


@pytest.mark.parametrize("image", ["*", "0", "1"])
@pytest.mark.parametrize("what", EQUIVALENTS)
def test_set_transform_writes_the_valid_equivalent(position, path, image, what):
    given_steps, expected = EQUIVALENTS[what]
    position.set_transform(image, given_steps)
    assert written(path, None if image == "*" else int(image)) == expected
    ps.open_ome_zarr(path)


@pytest.mark.parametrize("what", EQUIVALENTS)
def test_transform_of_a_new_image_is_its_valid_equivalent(path, version, what):
    given_steps, expected = EQUIVALENTS[what]
    new_position(path, version).create_image("0", pixels(1, 2, 1, 4, 4), transform=given_steps)
    assert written(path, 0) == expected
    other = path.with_name("b.zarr")
    new_position(other, version).create_zeros("0", (1, 2, 1, 4, 4), "uint8", transform=given_steps)
    assert written(other, 0) == expected


def test_a_translation_before_a_scale_is_the_same_map_in_the_valid_order(position, path):
    # x -> 2 * (x + 3) = 2 x + 6
    position.set_transform("0", [translation(3, 3, 3, 3, 3), *scale(2, 2, 2, 2, 2)])
    assert written(path, 0) == [
        {"type": "scale", "scale": [2.0] * 5},
        {"type": "translation", "translation": [6.0] * 5},
    ]


WRONG = {
    "another type": [ps.TransformationMeta(type="affine")],
    "a rotation": [{"type": "rotation", "rotation": [1, 0, 0, 1]}],
    "two scales": [*scale(1, 1, 1, 1, 1), *scale(2, 2, 2, 2, 2)],
    "two translations": [translation(1, 1, 1, 1, 1), translation(2, 2, 2, 2, 2)],
    "a scale without values": [ps.TransformationMeta(type="scale")],
    "a scale with a translation's values": [ps.TransformationMeta(type="scale", translation=[1] * 5)],
    "too few values": scale(1, 1),
    "too many values": scale(1, 1, 1, 1, 1, 1),
    "zero": scale(1, 1, 1, 1, 0),
    "negative": scale(1, 1, 1, 1, -1),
    "NaN": scale(1, 1, 1, 1, float("nan")),
    "infinite": scale(1, 1, 1, 1, float("inf")),
    "an infinite translation": [translation(1, 1, 1, 1, float("inf"))],
    "strings": ["scale"],
    "numbers": [1, 2],
    "a dict without a type": [{"scale": [1] * 5}],
}


@pytest.mark.parametrize("image", ["*", "0"])
@pytest.mark.parametrize("what", WRONG)
def test_set_transform_refuses_what_has_no_valid_form(position, path, image, what):
    with refused(ps.ArgumentError, ValueError, tree=path, names=False):
        position.set_transform(image, WRONG[what])


def test_transforms_may_be_plain_dicts(position, path):
    position.set_transform("0", [{"type": "scale", "scale": [1, 1, 1, 3, 3]}])
    assert written(path, 0) == [{"type": "scale", "scale": [1, 1, 1, 3, 3]}]


def test_set_transform_of_an_unknown_image_is_refused(position, path):
    with refused(ps.NodeKeyError, KeyError, tree=path, names="'7'"):
        position.set_transform("7", scale(1, 1, 1, 1, 1))


# --- set_scale ------------------------------------------------------------------------------------


def test_star_sets_the_scale_of_the_position(position, path):
    before = [written(path, level) for level in range(3)]
    assert position.set_scale("*", "x", 3.0) is None
    assert written(path) == [{"type": "scale", "scale": [1, 1, 1, 1, 3]}]
    assert [written(path, level) for level in range(3)] == before
    read = ps.open_ome_zarr(path)
    assert read.scale == [1, 1, 2, 0.5, 1.5]
    assert [read.get_effective_scale(name)[4] for name in "012"] == [1.5, 3.0, 6.0]
    assert read.get_effective_scale("*") == [1, 1, 1, 1, 3]


def test_the_first_level_rescales_all_levels_on_that_axis(position, path):
    position.set_scale("0", "Y", 0.1)
    read = ps.open_ome_zarr(path)
    assert [read.get_effective_scale(name) for name in "012"] == [
        pytest.approx([1, 1, 2, 0.1, 0.5]),
        pytest.approx([1, 1, 2, 0.2, 1.0]),
        pytest.approx([1, 1, 2, 0.4, 2.0]),
    ]
    # The half pixels by which the levels are shifted are pixels of the new size.
    assert [read.get_effective_translation(name)[3] for name in "012"] == pytest.approx([0, 0.05, 0.15])
    assert [read.get_effective_translation(name)[4] for name in "012"] == pytest.approx([0, 0.25, 0.75])


def test_another_level_changes_alone(position, path):
    before = {0: written(path, 0), 2: written(path, 2)}
    position.set_scale("1", "y", 7.0)
    assert {0: written(path, 0), 2: written(path, 2)} == before
    assert ps.open_ome_zarr(path).get_effective_scale("1") == [1, 1, 2, 7.0, 1.0]


def test_former_transforms_are_kept_in_the_attributes(position, path):
    former = [written(path, level) for level in range(3)]
    position.set_scale("1", "y", 7.0)
    kept = attributes(path)["platestore"]["previous_transforms"]
    assert [(entry["image"], entry["transforms"]) for entry in kept] == [("1", former[1])]
    assert kept[0]["modified"].startswith("20")
    position.set_scale("0", "x", 0.25)
    kept = attributes(path)["platestore"]["previous_transforms"]
    assert [entry["image"] for entry in kept] == ["1", "0", "1", "2"]
    assert kept[1]["transforms"] == former[0]
    position.set_scale("*", "x", 2.0)
    position.set_scale("*", "x", 3.0)
    kept = attributes(path)["platestore"]["previous_transforms"]
    assert kept[-1]["image"] == "*"
    assert kept[-1]["transforms"] == [{"type": "scale", "scale": [1, 1, 1, 1, 2.0]}]


@pytest.mark.parametrize("axis", ["t", "T", "c", "z", "Z", "y", "x", "X"])
def test_an_axis_is_named_in_either_case(position, path, axis):
    position.set_scale("0", axis, 9.0)
    index = "tczyx".index(axis.lower())
    assert ps.open_ome_zarr(path).scale[index] == 9.0


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "big", None, [1.0]])
def test_a_scale_is_a_positive_number(position, path, value):
    with refused(ps.ArgumentError, ValueError, tree=path, names=False):
        position.set_scale("0", "x", value)


def test_set_scale_of_what_is_unknown_is_refused(position, path):
    with refused(ps.ArgumentError, ValueError, tree=path, names="t, c, z, y, x"):
        position.set_scale("0", "q", 1.0)
    with refused(ps.NodeKeyError, KeyError, tree=path, names="'7'"):
        position.set_scale("7", "x", 1.0)


@pytest.mark.parametrize("names", ["YX", "ZYX", "CYX", "CZYX"])
def test_set_scale_works_with_fewer_axes(path, version, names):
    position = new_position(path, version, names=names, channels=["a", "b"][: 2 if "C" in names else 1])
    position["0"] = pixels(*([2] * len(names)))
    for image in ("*", "0"):
        position.set_scale(image, "x", 0.5)
    read = ps.open_ome_zarr(path)
    assert read.scale == [1.0] * (len(names) - 1) + [0.25]
    assert all(len(step["scale"]) == len(names) for step in [*written(path), *written(path, 0)])


def test_set_scale_before_there_is_an_image(path, version):
    new_position(path, version).set_scale("*", "x", 0.5)
    position = ps.open_ome_zarr(path, mode="r+")
    position["0"] = pixels(1, 2, 1, 4, 4)
    assert ps.open_ome_zarr(path).scale == [1, 1, 1, 1, 0.5]


def test_star_reaches_every_image_of_the_position(position, path):
    position["raw"] = pixels(1, 2, 1, 4, 4)
    position.set_scale("*", "x", 2.0)
    read = ps.open_ome_zarr(path)
    assert read.get_effective_scale("raw") == [1, 1, 1, 1, 2.0]
    position.set_scale("raw", "x", 5.0)
    read = ps.open_ome_zarr(path)
    assert read.get_effective_scale("raw") == [1, 1, 1, 1, 10.0]
    assert read.get_effective_scale("0") == [1, 1, 2, 0.5, 1.0]


# --- composition ----------------------------------------------------------------------------------


def test_the_images_transform_comes_first(position):
    position.set_transform("*", [*scale(1, 1, 10, 10, 10), translation(0, 0, 100, 100, 100)])
    position.set_transform("0", [*scale(1, 1, 2, 2, 2), translation(0, 0, 3, 3, 3)])
    assert position.get_effective_scale("0") == [1, 1, 20, 20, 20]
    assert position.get_effective_translation("0") == [0, 0, 130, 130, 130]
    assert position.get_effective_translation("*") == [0, 0, 100, 100, 100]
    assert position.get_effective_scale("*") == [1, 1, 10, 10, 10]
    assert position.scale == position.get_effective_scale("0")


def test_where_there_is_no_transform_there_is_the_identity(position):
    assert position.get_effective_scale("*") == [1.0] * 5
    assert position.get_effective_translation("*") == [0.0] * 5
    assert position.get_effective_translation("0") == [0.0] * 5


@pytest.mark.parametrize("image", ["7", "", "raw"])
def test_the_transform_of_an_unknown_image_is_refused(position, path, image):
    for method in (position.get_effective_scale, position.get_effective_translation):
        with refused(ps.NodeKeyError, KeyError, tree=path, names=False):
            method(image)


_positive = st.floats(1e-3, 1e3)
_any = st.floats(-1e3, 1e3)


@settings(deadline=None, max_examples=examples(40))
@given(
    fov=st.tuples(*[_positive] * 2),
    fov_shift=st.tuples(*[_any] * 2),
    image=st.tuples(*[_positive] * 2),
    shift=st.tuples(*[_any] * 2),
    pixel=st.tuples(*[st.integers(0, 100)] * 2),
)
def test_effective_transforms_map_a_pixel_as_the_specification_says(fov, fov_shift, image, shift, pixel):
    from zarr.storage import MemoryStore

    axes = [ps.SpaceAxisMeta(name="y"), ps.SpaceAxisMeta(name="x")]
    position = ps.open_ome_zarr(MemoryStore(), layout="fov", mode="w", channel_names=["a"], axes=axes)
    position.create_zeros("0", (4, 4), "uint8", transform=[*scale(*image), translation(*shift)])
    position.set_transform("*", [*scale(*fov), translation(*fov_shift)])
    one_after_the_other = [
        f * (s * p + t) + u for f, u, s, t, p in zip(fov, fov_shift, image, shift, pixel, strict=True)
    ]
    at_once = [
        s * p + t
        for s, p, t in zip(
            position.get_effective_scale("0"), pixel, position.get_effective_translation("0"), strict=True
        )
    ]
    assert at_once == pytest.approx(one_after_the_other, rel=1e-9, abs=1e-6)


# --- levels ---------------------------------------------------------------------------------------


def multiscales(path):
    return [(m.get("name"), [d["path"] for d in m["datasets"]]) for m in ome(path)["multiscales"]]


def test_a_coarser_array_with_a_transform_joins_the_levels(position, path):
    assert multiscales(path)[0][1] == ["0", "1", "2"]
    assert len(multiscales(path)) == 1
    assert ome(path)["multiscales"][0]["type"] not in (None, "none")


@pytest.mark.parametrize(
    ("shape", "transform"),
    [
        ((1, 2, 2, 8, 8), None),
        ((1, 2, 2, 16, 16), scale(1, 1, 4, 1, 1)),
        ((1, 2, 2, 8, 8), scale(1, 1, 2, 0.5, 0.5)),
        ((1, 2, 2, 8, 8), scale(1, 1, 2, 0.25, 0.25)),
        ((1, 2, 2, 32, 32), scale(1, 1, 2, 1, 1)),
        ((1, 2, 4, 8, 8), scale(1, 1, 2, 1, 1)),
        ((1, 2, 2, 8, 8), []),
    ],
)
def test_any_other_array_is_an_image_of_its_own(path, version, shape, transform):
    position = new_position(path, version)
    position.create_image("0", pixels(1, 2, 2, 16, 16), transform=scale(1, 1, 2, 0.5, 0.5))
    position.create_image("other", pixels(*shape), transform=transform)
    assert multiscales(path)[1:] == [("other", ["other"])]
    assert multiscales(path)[0][1] == ["0"]
    assert ome(path)["multiscales"][1]["type"] == "none"
    assert list(ps.open_ome_zarr(path)) == ["0", "other"]


def test_an_image_of_its_own_does_not_move_with_the_levels(position, path):
    position.create_image("raw", pixels(1, 2, 1, 4, 4))
    position.set_scale("0", "x", 99.0)
    assert ps.open_ome_zarr(path).get_effective_scale("raw") == [1.0] * 5
    before = [written(path, level) for level in range(3)]
    position.set_scale("raw", "x", 5.0)
    assert [written(path, level) for level in range(3)] == before


def test_one_level_says_so(path, version):
    new_position(path, version)["0"] = pixels(1, 2, 1, 4, 4)
    image = ome(path)["multiscales"][0]
    assert image["type"] == "none"
    assert image["metadata"] == {}
    assert image["name"]


def test_a_refused_level_leaves_no_array(position, path):
    before = snapshot(path)
    with pytest.raises(ValueError, match=r"transform|scale"):
        position.create_image("3", pixels(1, 2, 2, 2, 2), transform=[ps.TransformationMeta(type="affine")])
    assert snapshot(path) == before
