"""Selections: what a user writes is what numpy takes, and every pixel stays at its place in space."""

from __future__ import annotations

import dataclasses
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import examples
from platestore.copying.selection import (
    CopySelection,
    is_whole,
    level_pick,
    parse_crop,
    parse_range,
    picked_shape,
    picked_transform,
)
from platestore.spec.transforms import TransformationMeta, scale_of, translation_of

quick = settings(deadline=None, max_examples=examples(200))
NAMES = ["t", "c", "z", "y", "x"]


def scale(*values, **others):
    return TransformationMeta(type="scale", scale=list(values), **others)


def shift(*values, **others):
    return TransformationMeta(type="translation", translation=list(values), **others)


# --- ranges ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", slice(3, 4, 1)),
        ("+3", slice(3, 4, 1)),
        ("0", slice(0, 1, 1)),
        ("-1", slice(-1, None, 1)),
        ("-2", slice(-2, -1, 1)),
        ("0:10", slice(0, 10, 1)),
        (":5", slice(0, 5, 1)),
        ("5:", slice(5, None, 1)),
        (" 5 : 7 ", slice(5, 7, 1)),
        ("::2", slice(0, None, 2)),
        ("0:10:2", slice(0, 10, 2)),
        ("-3:", slice(-3, None, 1)),
        ("1:-1", slice(1, -1, 1)),
        ("2:5:", slice(2, 5, 1)),
        (":", None),
        ("::", None),
        ("0:", None),
        ("::1", None),
        (None, None),
        (3, slice(3, 4, 1)),
        (np.int64(3), slice(3, 4, 1)),
        (-1, slice(-1, None, 1)),
        (slice(2, 5), slice(2, 5, 1)),
        (slice(None, 5, 2), slice(0, 5, 2)),
        (slice(np.int64(1), None), slice(1, None, 1)),
        (slice(None), None),
        (range(5), slice(0, 5, 1)),
        (range(0, 10, 3), slice(0, 10, 3)),
        (range(0, 11, 3), slice(0, 10, 3)),
        ((2, 5), slice(2, 5, 1)),
        ([2, 5], slice(2, 5, 1)),
        ((2, None), slice(2, None, 1)),
        ((None, -1), slice(0, -1, 1)),
    ],
)
def test_ranges_as_in_python(text, expected):
    assert parse_range(text, "z") == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "a", "1.5", "1:2:3:4", "1-3", "1,2", "1:b", "0x3", "1_0", "٣", "1" * 30, "--1", "1:2:1.5"),
        *(1.5, True, np.True_, b"1", (1,), (1, 2, 3), (True, 2), (1.5, 2), slice(1.5), {}, object, "nan"),
        *(range(0), range(-3, 2)),
    ],
    ids=repr,
)
def test_what_is_no_range_is_named_with_what_is(text):
    with pytest.raises(ps.ArgumentError, match="is no range of indices") as caught:
        parse_range(text, "z")
    assert str(caught.value).startswith("z=")
    assert "start:stop:step" in caught.value.hint


@pytest.mark.parametrize("text", ["5:5", "5:3", ":0", "0:0", "-1:-1", "-2:-5", "-3:0", (5, 5), slice(3, 1)])
def test_a_range_that_is_always_empty_is_an_error(text):
    with pytest.raises(ps.ArgumentError, match=r"time=.* selects nothing"):
        parse_range(text, "time")


@pytest.mark.parametrize("text", ["::0", "::-1", "5:1:-1", slice(None, None, -1), range(5, 0, -1)])
def test_steps_are_positive(text):
    with pytest.raises(ps.ArgumentError, match="steps are 1 or more"):
        parse_range(text, "z")


bounds = st.none() | st.integers(-12, 12)
steps = st.none() | st.integers(1, 5)


@quick
@given(bounds, bounds, steps, st.integers(1, 10))
def test_a_range_takes_what_python_takes_or_is_refused(start, stop, step, size):
    shown = [["", str(start)][start is not None], ["", str(stop)][stop is not None]]
    text = ":".join(shown) + ("" if step is None else f":{step}")
    wanted = list(range(size))[slice(start, stop, step)]
    outside = [b for b in (start, stop) if b is not None and not -size <= b <= size]
    try:
        selection = CopySelection(axes={"z": parse_range(text, "z")})
        (pick,) = selection.resolve(["z"], [size], [], where="p")
    except ps.ArgumentError:
        assert outside or not wanted
        return
    assert not outside
    assert list(range(size))[pick] == wanted
    assert 0 <= pick.start < pick.stop <= size
    assert pick.step == 1 or len(wanted) > 1
    assert parse_range(slice(start, stop, step), "z") == parse_range(text, "z")


# --- crops ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, {}),
        ("10:20,0:5", {"y": slice(10, 20, 1), "x": slice(0, 5, 1)}),
        (" 10 : 20 , :5", {"y": slice(10, 20, 1), "x": slice(0, 5, 1)}),
        (":,3:", {"x": slice(3, None, 1)}),
        ("y=10:20,x=0:5", {"y": slice(10, 20, 1), "x": slice(0, 5, 1)}),
        ("X=0:5", {"x": slice(0, 5, 1)}),
        ("z=2:4, y = 1:-1", {"z": slice(2, 4, 1), "y": slice(1, -1, 1)}),
        ("z=3,x=-5:", {"z": slice(3, 4, 1), "x": slice(-5, None, 1)}),
        ({"y": (10, 20), "x": slice(0, 5)}, {"y": slice(10, 20, 1), "x": slice(0, 5, 1)}),
        ({"Y": "10:20", "x": None, "z": 1}, {"y": slice(10, 20, 1), "z": slice(1, 2, 1)}),
        ({"x": range(2, 5)}, {"x": slice(2, 5, 1)}),
        ({}, {}),
    ],
)
def test_crops(text, expected):
    assert parse_crop(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "1:2", "1:2,3:4,5:6", "y=1:2,3:4", "10,20", "y=10", "t=0:5", "c=0:1", "y=1:2,y=3:4", "y=1:2,"),
        *("=1:2", "y=0:9:3", "1:2:3,0:5", "y=a:b", "y=5:5,x=0:1"),
        *(
            {"y": 3},
            {"y": np.int64(3)},
            {"t": (0, 5)},
            {"y": slice(0, 9, 3)},
            {"y": (1, 2), "Y": (1, 2)},
            {3: "0:5"},
        ),
        *(5, ("0:5", "0:5"), [slice(0, 5)], True),
    ],
    ids=repr,
)
def test_what_is_no_crop_is_an_error_that_names_it(text):
    with pytest.raises(ps.ArgumentError, match="crop") as caught:
        parse_crop(text)
    assert caught.value.hint


# --- selections -----------------------------------------------------------------------------------


def test_nothing_asked_for_is_false():
    assert not CopySelection()
    assert not CopySelection(axes={})
    assert not CopySelection(axes={"z": slice(None)}), "everything is no selection"
    assert CopySelection(channels=("a",))
    assert CopySelection(axes={"t": slice(0, 1)})


def test_equal_selections_are_equal_in_every_form():
    a = CopySelection(("b", "a"), {"x": slice(0, 5, 1), "t": slice(3, None)})
    b = CopySelection(["b", "a"], {"t": slice(3, None, None), "x": slice(None, 5)})
    assert a == b
    assert hash(a) == hash(b)
    assert repr(a) == repr(b)
    assert pickle.loads(pickle.dumps(a)) == a
    assert dataclasses.asdict(a) == {"channels": ("b", "a"), "axes": dict(a.axes)}
    others = [
        CopySelection(("a", "b"), a.axes),
        CopySelection(axes=a.axes),
        CopySelection(a.channels),
        CopySelection(),
    ]
    assert len({a, b, *others}) == 5


def test_a_selection_does_not_follow_the_mapping_it_was_made_from():
    axes = {"z": slice(0, 1)}
    selection = CopySelection(axes=axes)
    axes["y"] = slice(0, 1)
    assert set(selection.axes) == {"z"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        selection.axes = {}


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"channels": ("a", "b", "a")}, "names 'a' more than once"),
        ({"channels": "DAPI"}, "must be names"),
        ({"channels": ()}, "must be names"),
        ({"channels": (1,)}, "must be names"),
        ({"axes": {"c": slice(0, 1)}}, "not 'c'"),
        ({"axes": {"X": slice(0, 1)}}, "not 'X'"),
        ({"axes": {"x": slice(None, None, -1)}}, "steps are 1 or more"),
    ],
)
def test_selections_that_mean_nothing(kwargs, match):
    with pytest.raises(ps.ArgumentError, match=match):
        CopySelection(**kwargs)


def take(array, picks):
    """What numpy takes, axis by axis."""
    for axis, pick in enumerate(picks):
        indices = range(array.shape[axis])[pick] if isinstance(pick, slice) else pick
        array = np.take(array, list(indices), axis=axis)
    return array


@st.composite
def images(draw):
    """Axes, a shape, names of channels, and a selection that is within them."""
    present = [draw(st.booleans()) for _ in "tcz"]
    names = [*(n for n, there in zip("tcz", present, strict=True) if there), "y", "x"]
    if draw(st.booleans()):
        names = draw(st.permutations(names))
    shape = [draw(st.integers(1, 7)) for _ in names]
    channels = [f"channel {i}" for i in range(shape[names.index("c")] if "c" in names else 1)]
    axes = {}
    for name in draw(st.sets(st.sampled_from("tzyx"))):
        size = shape[names.index(name)] if name in names else 1
        start = draw(st.integers(0, size - 1))
        stop = draw(st.integers(start + 1, size))
        first = start - size if draw(st.booleans()) else start
        last = draw(st.sampled_from([stop, None] if stop == size else [stop, stop - size]))
        axes[name] = slice(first, last, draw(st.integers(1, 4)))
    wanted = None
    if draw(st.booleans()):
        wanted = tuple(draw(st.lists(st.sampled_from(channels), min_size=1, unique=True)))
    return names, shape, channels, axes, wanted


@quick
@given(images(), st.booleans())
def test_what_is_taken_is_what_numpy_takes(image, upper):
    names, shape, channels, axes, wanted = image
    array = np.arange(math.prod(shape)).reshape(shape)
    expected = array
    for axis, name in enumerate(names):
        if name in axes:
            expected = expected[(slice(None),) * axis + (axes[name],)]
        elif name == "c" and wanted is not None:
            expected = np.take(expected, [channels.index(w) for w in wanted], axis=axis)
    labels = [name.upper() for name in names] if upper else names
    picks = CopySelection(wanted, axes).resolve(labels, shape, channels, where="p")
    assert (take(array, picks) == expected).all()
    assert picked_shape(picks, shape) == expected.shape
    assert is_whole(picks, shape) == np.array_equal(expected, array)
    for pick in picks:
        if isinstance(pick, tuple):
            assert len(pick) > 1
            assert list(pick) != list(range(pick[0], pick[0] + len(pick)))
        else:
            assert None not in (pick.start, pick.stop, pick.step)


@pytest.mark.parametrize(
    ("wanted", "pick"),
    [
        (["a"], slice(0, 1, 1)),
        (["c"], slice(2, 3, 1)),
        (["b", "c"], slice(1, 3, 1)),
        (["a", "b", "c"], slice(0, 3, 1)),
        (["c", "b"], (2, 1)),
        (["a", "c"], (0, 2)),
    ],
)
def test_channels_are_indices_in_the_order_asked_for(wanted, pick):
    picks = CopySelection(tuple(wanted)).resolve(["C", "Y"], [3, 4], ["a", "b", "c"], where="p")
    assert picks == (pick, slice(0, 4, 1))


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"z": slice(5, None)}, "z has 5 elements; 5: is not within them"),
        ({"z": slice(0, 6)}, "z has 5 elements; 0:6 is not within them"),
        ({"z": slice(0, 6, 2)}, "z has 5 elements; 0:6:2 is not within them"),
        ({"z": slice(-6, None)}, "z has 5 elements; -6: is not within them"),
        ({"z": slice(0, -5)}, "z has 5 elements; 0:-5 takes none of them"),
        ({"z": slice(3, -3)}, "z has 5 elements; 3:-3 takes none of them"),
        ({"z": slice(7, 9)}, "z has 5 elements; 7:9 is not within them"),
        ({"t": slice(1, 2)}, "the image has no axis t, along which 1:2 is asked for"),
        ({"t": slice(0, 2)}, "the image has no axis t"),
    ],
)
def test_ranges_outside_are_named_with_the_axis_and_its_size(axes, message):
    with pytest.raises(ps.ArgumentError, match=message) as caught:
        CopySelection(axes=axes).resolve(["z", "y", "x"], [5, 6, 7], [], where="plate.zarr/A/1/0")
    assert caught.value.path == "plate.zarr/A/1/0"
    assert caught.value.hint


@pytest.mark.parametrize("part", [slice(0, 1), slice(-1, None), slice(0, None, 2), slice(None)])
def test_an_axis_that_is_missing_has_its_first_element_only(part):
    assert CopySelection(axes={"t": part}).resolve(["y"], [6], [], where="p") == (slice(0, 6, 1),)


@pytest.mark.parametrize(
    ("names", "size", "wanted", "match"),
    [
        (["a", "b"], 2, "A", r"there is no channel 'A' \(the channels are 'a', 'b'\)"),
        (["a", "b"], 2, "0", "there is no channel '0'"),
        (["a", "b", "c"], 2, "c", r"the channels are 'a', 'b'\)"),
        (["a", "a"], 2, "a", "more than one channel is called 'a'"),
        ([], 2, "a", "none that has a name"),
        (["a", "b"], None, "b", r"there is no channel 'b' \(the channels are 'a'\)"),
    ],
)
def test_channels_that_are_not_there(names, size, wanted, match):
    axes, shape = (["y"], [4]) if size is None else (["c", "y"], [size, 4])
    with pytest.raises(ps.ArgumentError, match=match) as caught:
        CopySelection((wanted,)).resolve(axes, shape, names, where="p")
    assert caught.value.path == "p"


def test_an_image_without_a_channel_axis_has_one_channel():
    assert CopySelection(("a",)).resolve(["y"], [4], ["a"], where="p") == (slice(0, 4, 1),)


# --- levels ---------------------------------------------------------------------------------------


@quick
@given(st.integers(1, 40), st.integers(1, 5), st.booleans(), st.data())
def test_the_part_of_a_level_is_the_level_of_the_part(size0, factor, drop_rest, data):
    start = data.draw(st.integers(0, size0 - 1) | st.integers(0, 8).map(lambda n: n * factor), label="start")
    start = min(start, size0 - 1)
    stop = data.draw(st.integers(start + 1, size0) | st.just(size0), label="stop")
    step = data.draw(st.sampled_from([1, 1, 1, 2]), label="step")
    full = np.arange(size0)
    usable = size0 // factor * factor if drop_rest and size0 >= factor else size0
    level = full[:usable:factor]
    got = level_pick(slice(start, stop, step), factor, size0, len(level))
    part = full[start:stop:step]
    between = start % factor == 0 and (stop % factor == 0 or stop == size0)
    if factor == 1:
        assert got == slice(start, stop, step)
        return
    wanted = part[: len(part) // factor * factor : factor] if usable < size0 else part[::factor]
    if step == 1 and between and len(wanted):
        assert got is not None
        assert got.step == 1
        assert (level[got] == wanted).all()
        assert len(level[got]) == len(wanted) == got.stop - got.start
    else:
        assert got is None


@pytest.mark.parametrize("pick", [(2, 0), (0, 2)])
def test_indices_are_the_same_in_a_level_of_the_same_size_only(pick):
    assert level_pick(pick, 1, 3, 3) == pick
    assert level_pick(pick, 2, 3, 2) is None
    assert level_pick(pick, 1, 3, 2) is None


def test_sizes_that_do_not_fit_the_factor_have_a_whole_only():
    assert level_pick(slice(0, 10, 1), 2, 10, 7) == slice(0, 7, 1)
    assert level_pick(slice(0, 4, 1), 2, 10, 7) is None
    assert level_pick(slice(0, 4, 1), 1, 10, 7) is None
    assert level_pick(slice(0, 10, 1), 1, 10, 7) == slice(0, 7, 1)


def test_a_rest_that_the_level_left_out_is_no_part_of_it():
    assert level_pick(slice(6, 7, 1), 2, 7, 3) is None
    assert level_pick(slice(6, 7, 1), 2, 7, 4) == slice(3, 4, 1)
    assert level_pick(slice(4, 7, 1), 2, 7, 3) == slice(2, 3, 1)


def test_what_is_whole():
    assert is_whole((slice(0, 3, 1), (0, 1)), (3, 2))
    assert is_whole((slice(0, 1, 5),), (1,))
    assert not is_whole(((1, 0),), (2,))
    assert not is_whole((slice(0, 2, 1),), (3,))
    assert not is_whole((slice(0, 3, 2),), (3,))
    with pytest.raises(ValueError):
        is_whole((slice(0, 3, 1),), (3, 4))


# --- transformations ------------------------------------------------------------------------------

numbers = st.floats(-1e6, 1e6).map(lambda v: round(v, 6))
spacings = st.floats(1e-3, 1e3).map(lambda v: round(v, 6))


@quick
@given(images(), st.data())
def test_every_pixel_stays_at_its_place(image, data):
    names, shape, channels, axes, wanted = image
    ndim = len(names)
    spacing = data.draw(st.lists(spacings, min_size=ndim, max_size=ndim), label="scale")
    offset = data.draw(st.none() | st.lists(numbers, min_size=ndim, max_size=ndim), label="translation")
    transforms = [scale(*spacing), *([shift(*offset)] if offset is not None else [])]
    before = [t.model_copy(deep=True) for t in transforms]
    picks = CopySelection(wanted, axes).resolve(names, shape, channels, where="p")
    after = picked_transform(transforms, picks)
    assert transforms == before
    assert [t.type for t in after] in (["scale"], ["scale", "translation"])
    for axis, pick in enumerate(picks):
        s, t = scale_of(after, ndim)[axis], translation_of(after, ndim)[axis]
        s0, t0 = spacing[axis], (offset or [0.0] * ndim)[axis]
        if isinstance(pick, tuple):
            assert (s, t) == (s0, t0)
            continue
        for i, source in enumerate(range(shape[axis])[pick]):
            assert s * i + t == pytest.approx(s0 * source + t0, rel=1e-9, abs=1e-6)
    moved = any(isinstance(p, slice) and p.start for p in picks)
    if offset is None:
        assert len(after) == (2 if moved else 1)
    if not moved and all(isinstance(p, tuple) or p.step == 1 for p in picks):
        assert all(a is b for a, b in zip(after, transforms, strict=True))


def test_a_translation_appears_only_where_it_is_needed():
    assert picked_transform([scale(2.0)], [slice(0, 3, 2)]) == [scale(4.0)]
    assert picked_transform([scale(2.0)], [slice(3, 4, 1)]) == [scale(2.0), shift(6.0)]
    assert picked_transform([scale(2.0), shift(-6.0)], [slice(3, 4, 1)]) == [scale(2.0), shift(0.0)]
    assert picked_transform([scale(0.0)], [slice(3, 4, 1)]) == [scale(0.0)]


def test_lists_that_no_part_changes_stay_whatever_they_hold():
    odd = [TransformationMeta(type="affine"), TransformationMeta(type="identity")]
    assert picked_transform(odd, [slice(0, 3, 1), (2, 0)]) == odd


def test_other_lists_are_brought_into_their_valid_form():
    part = [slice(1, 3, 1), slice(0, 4, 2)]
    assert picked_transform([], part) == [scale(1.0, 2.0), shift(1.0, 0.0)]
    assert picked_transform([TransformationMeta(type="identity")], part) == [scale(1.0, 2.0), shift(1.0, 0.0)]
    assert picked_transform([shift(1.0, 1.0), scale(2.0, 3.0)], part) == [scale(2.0, 6.0), shift(4.0, 3.0)]


@pytest.mark.parametrize(
    "transforms",
    [[TransformationMeta(type="affine")], [scale(1.0)], [scale(1.0, 1.0), scale(1.0, 1.0)], [scale()]],
)
def test_what_has_no_such_form_is_an_error(transforms):
    with pytest.raises(ps.ArgumentError):
        picked_transform(transforms, [slice(1, 3, 1), slice(0, 4, 2)])


def test_keys_of_others_in_transformations_stay():
    transforms = [scale(2.0, note="mine"), shift(1.0, source="stage")]
    after = picked_transform(transforms, [slice(2, 6, 2)])
    assert after == [scale(4.0, note="mine"), shift(5.0, source="stage")]
