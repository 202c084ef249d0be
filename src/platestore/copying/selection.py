"""Which part of an image is taken: channels by name, ranges of indices along the other axes. No I/O.

What a user asks for (:class:`CopySelection`) becomes, for one image, a tuple of picks: one slice of step 1 or
more per axis, or the indices of channels in the order that was asked for. All bounds in them are concrete.
"""

from __future__ import annotations

import csv
import operator
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from platestore.arrays.partition import Pick as Pick
from platestore.arrays.partition import picked_size
from platestore.errors import ArgumentError
from platestore.spec.transforms import TransformationMeta, normalise, scale_of, translation_of

#: What stands for a range of indices.
RangeLike: TypeAlias = "str | int | slice | range | tuple[int | None, int | None] | None"

_AXES = ("t", "z", "y", "x")
_CROPPED = ("z", "y", "x")
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
_RANGE_HINT = (
    'an index ("3", "-1") or start:stop:step as in Python ("0:10", "5:", ":-1", "::2"), counted from 0'
)
_CROP_HINT = 'two ranges "y0:y1,x0:x1", or by name "y=10:20,x=0:5,z=2:4", in pixels, without steps'


def parse_range(text: RangeLike, name: str) -> slice | None:
    """Understand a range of indices.

    Parameters
    ----------
    text : str, int, slice, range, tuple of int or None
        ``"3"``, ``"-1"``, ``"0:10"``, ``":5"``, ``"5:"``, ``"::2"``; negative indices count from the end. An
        index is a range of one element, a tuple is ``(start, stop)``.
    name : str
        Name of the option, for errors.

    Returns
    -------
    slice or None
        Step 1 or more; start and stop may be None or negative. None if everything is asked for.

    Raises
    ------
    ArgumentError
        If it is no range, or selects nothing whatever the size.
    """
    if text is None:
        return None
    try:
        start, stop, step = _bounds(text)
    except (TypeError, ValueError, OverflowError):
        raise ArgumentError(f"{name}={text!r} is no range of indices", hint=_RANGE_HINT) from None
    if step < 1:
        raise ArgumentError(f"the step of {name}={text!r} is {step}; steps are 1 or more", hint=_RANGE_HINT)
    first = 0 if start is None else start
    if stop == 0 or (stop is not None and (first < 0) == (stop < 0) and first >= stop):
        raise ArgumentError(f"{name}={text!r} selects nothing", hint=_RANGE_HINT)
    return None if (first, stop, step) == (0, None, 1) else slice(first, stop, step)


def _bounds(value: Any) -> tuple[int | None, int | None, int]:
    """Start, stop and step of what stands for a range."""
    if isinstance(value, str):
        parts = [part.strip() for part in value.split(":")]
        if len(parts) > 3 or not all(_NUMBER.fullmatch(part) or not part for part in parts):
            raise ValueError
        numbers = [int(part) if part else None for part in parts]
        if len(numbers) > 1:
            step = numbers[2] if len(numbers) == 3 else None
            return numbers[0], numbers[1], 1 if step is None else step
        value = numbers[0]
    if isinstance(value, slice):
        return (
            _index(value.start),
            _index(value.stop),
            1 if value.step is None else operator.index(value.step),
        )
    if isinstance(value, range):
        if value.step < 1:
            return None, None, value.step
        if not value or value.start < 0:
            raise ValueError
        return value.start, value[-1] + 1, value.step
    if isinstance(value, (tuple, list)):
        start, stop = value
        return _index(start), _index(stop), 1
    number = _index(value)
    if number is None:
        raise ValueError
    return number, number + 1 if number != -1 else None, 1


def _index(value: Any) -> int | None:
    if isinstance(value, bool):
        raise TypeError
    return None if value is None else operator.index(value)


def parse_crop(text: str | Mapping[str, RangeLike] | None) -> dict[str, slice]:
    """Understand a crop in space.

    Parameters
    ----------
    text : str, mapping or None
        ``"y0:y1,x0:x1"``, ``"y=10:20,x=0:5"``, or ``{"y": (10, 20), "x": slice(0, 5)}``; by name also along
        ``z``, where an index will do.

    Returns
    -------
    dict
        Ranges of step 1 by name of the axis; without those that take everything.

    Raises
    ------
    ArgumentError
        If it is no crop.
    """
    if text is None:
        return {}
    out: dict[str, slice] = {}
    for name, value in _crop_parts(text):
        axis = str(name).strip().lower()
        bare = hasattr(value, "__index__") or (isinstance(value, str) and ":" not in value)
        if axis not in _CROPPED or axis in out or (bare and axis != "z"):
            what = f"crop takes ranges along {', '.join(_CROPPED)}, each once"
            raise ArgumentError(f"{what}; not {name}={value!r}", hint=_CROP_HINT)
        part = parse_range(value, f"crop {axis}")
        if part is not None and part.step != 1:
            raise ArgumentError(f"crop has a step along {axis}", hint=_CROP_HINT)
        if part is not None:
            out[axis] = part
    return out


def _crop_parts(text: Any) -> list[tuple[Any, Any]]:
    if isinstance(text, Mapping):
        return list(text.items())
    parts = [part.partition("=") for part in text.split(",")] if isinstance(text, str) else []
    if parts and all(equals for _, equals, _ in parts):
        return [(name, value) for name, _, value in parts]
    if len(parts) == 2 and not any(equals for _, equals, _ in parts):
        return [("y", parts[0][0]), ("x", parts[1][0])]
    raise ArgumentError(f"crop={text!r} cannot be read", hint=_CROP_HINT)


def split_channels(given: Sequence[str], known: Collection[str]) -> list[str]:
    """The names of channels in texts that hold one name, or several with commas.

    Parameters
    ----------
    given : sequence of str
        The texts; names that are known count before commas, and one in double quotes is a name.
    known : collection of str
        Names of channels that there are.
    """
    out: list[str] = []
    for text in given:
        parts = [text] if text in known else text.split(",")
        if len(parts) > 1 and '"' in text:
            parts = next(csv.reader([text], skipinitialspace=True), [])
        start = 0
        while start < len(parts):
            ends = range(len(parts), start + 1, -1)
            stop = next((n for n in ends if ",".join(parts[start:n]).strip() in known), start + 1)
            name = ",".join(parts[start:stop])
            out += [name if name in known else name.strip()] if name.strip() else []
            start = stop
    return out


@dataclass(frozen=True)
class CopySelection:
    """What is taken of each image.

    Attributes
    ----------
    channels : tuple of str or None
        Names of channels, in the order wanted; None for all.
    axes : dict
        Ranges as :func:`parse_range` gives them, by name of the axis: ``"t"``, ``"z"``, ``"y"``, ``"x"``.
        Not to be changed.

    Raises
    ------
    ArgumentError
        If an axis is none of these, a step is below 1, or a channel is named twice.
    """

    channels: tuple[str, ...] | None = None
    axes: Mapping[str, slice] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.channels is not None:
            names = tuple(self.channels)
            if isinstance(self.channels, str) or not names or not all(isinstance(n, str) for n in names):
                raise ArgumentError(f"channels must be names of channels, not {self.channels!r}")
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ArgumentError(f"channels names {', '.join(map(repr, twice))} more than once")
            object.__setattr__(self, "channels", names)
        given = {name: parse_range(part, name) for name, part in self.axes.items()}
        if not given.keys() <= set(_AXES):
            raise ArgumentError(f"ranges are along {', '.join(_AXES)}, not {', '.join(map(repr, given))}")
        # A plain dict in a fixed order: equal selections have equal texts, which journals keep.
        ordered = {name: given[name] for name in _AXES if given.get(name) is not None}
        object.__setattr__(self, "axes", ordered)

    def __hash__(self) -> int:
        parts = ((name, part.start, part.stop, part.step) for name, part in self.axes.items())
        return hash((self.channels, *parts))

    def __bool__(self) -> bool:
        return self.channels is not None or bool(self.axes)

    def resolve(
        self, axis_names: Sequence[str], shape: Sequence[int], channel_names: Sequence[str], *, where: str
    ) -> tuple[Pick, ...]:
        """What is taken of one image.

        Parameters
        ----------
        axis_names : sequence of str
            Names of its axes.
        shape : sequence of int
            Its shape.
        channel_names : sequence of str
            Names of its channels.
        where : str
            Its path, for errors.

        Returns
        -------
        tuple of slice or of tuple of int
            One per axis: a slice with bounds within the shape, or the indices of channels that are not
            consecutive.

        Raises
        ------
        ArgumentError
            If a range is not within the axis, or a channel is not there. An axis that the image lacks
            counts as one of a single element.
        """
        names = [name.lower() for name in axis_names]
        sizes = dict(zip(names, shape, strict=True))
        picks: dict[str, Pick] = {name: slice(0, size, 1) for name, size in sizes.items()}
        for name, part in self.axes.items():
            picks[name] = _within(part, name, sizes.get(name), where)
        if self.channels is not None:
            picks["c"] = self._channels(sizes.get("c"), channel_names, where)
        return tuple(picks[name] for name in names)

    def _channels(self, size: int | None, names: Sequence[str], where: str) -> Pick:
        """Where the channels are along an axis of a size; None for an image without that axis."""
        known = list(names)[: 1 if size is None else size]
        out = []
        for name in self.channels or ():
            if known.count(name) != 1:
                problem = "there is no channel" if name not in known else "more than one channel is called"
                listed = ", ".join(map(repr, known)) or "none that has a name"
                raise ArgumentError(f"{problem} {name!r}", path=where, hint=f"the channels are {listed}")
            out.append(known.index(name))
        if out == list(range(out[0], out[0] + len(out))):
            return slice(out[0], out[-1] + 1, 1)
        return tuple(out)


def _within(part: slice, name: str, size: int | None, where: str) -> slice:
    """A range as concrete bounds along an axis; the step of a single element is 1."""
    count = 1 if size is None else size
    start = part.start + count if part.start < 0 else part.start
    stop = count if part.stop is None else part.stop + count if part.stop < 0 else part.stop
    if not 0 <= start < stop <= count:
        hint = f"indices along {name} are 0 to {count - 1}; a range ends before its stop"
        problem = f"{name} has {count} elements; {_shown(part)} is not within them"
        if size is None:
            hint = f"leave the range along {name} out"
            problem = f"the image has no axis {name}, along which {_shown(part)} is asked for"
        elif 0 <= stop <= start < count:
            problem = f"{name} has {count} elements; {_shown(part)} takes none of them"
        raise ArgumentError(problem, path=where, hint=hint)
    if start + part.step >= stop:
        return slice(start, start + 1, 1)
    return slice(start, stop, part.step)


def _shown(part: slice) -> str:
    text = f"{part.start}:{'' if part.stop is None else part.stop}"
    return text if part.step == 1 else f"{text}:{part.step}"


# --- picks ----------------------------------------------------------------------------------------


def level_pick(pick: Pick, factor: int, size0: int, size: int) -> Pick | None:
    """The same part of a coarser level.

    Parameters
    ----------
    pick : slice or tuple of int
        What is taken of level 0 along an axis.
    factor : int
        How many pixels of level 0 one pixel of the level is, along this axis.
    size0, size : int
        Sizes of level 0 and of the level.

    Returns
    -------
    slice, tuple of int or None
        None if the part does not begin and end between pixels of the level, or skips some.
    """
    if factor == 1 and size == size0:
        return pick
    if not isinstance(pick, slice) or pick.step != 1:
        return None
    if (pick.start, pick.stop) == (0, size0):
        return slice(0, size, 1)
    fits = size in (size0 // factor, -(-size0 // factor))
    if not fits or pick.start % factor or (pick.stop != size0 and pick.stop % factor):
        return None
    start, stop = pick.start // factor, size if pick.stop == size0 else pick.stop // factor
    return slice(start, stop, 1) if start < stop <= size else None


def picked_shape(picks: Sequence[Pick], shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of what is taken of an array."""
    return tuple(picked_size(pick) for pick, _ in zip(picks, shape, strict=True))


def is_whole(picks: Sequence[Pick], shape: Sequence[int]) -> bool:
    """Whether everything is taken, in its order."""
    return all(
        picked_size(pick) == size if isinstance(pick, slice) else pick == tuple(range(size))
        for pick, size in zip(picks, shape, strict=True)
    )


def picked_transform(
    transforms: Sequence[TransformationMeta], picks: Sequence[Pick]
) -> list[TransformationMeta]:
    """The transformations of what is taken of an array: each pixel stays at its place in space.

    Parameters
    ----------
    transforms : sequence of TransformationMeta
        Those of the whole array.
    picks : sequence of slice or of tuple of int
        What is taken, one per axis. Indices have no even spacing and change nothing along their axis.

    Returns
    -------
    list of TransformationMeta
        The same objects if nothing changes, else one scale and a translation, where there was one or it is
        not zero.

    Raises
    ------
    ArgumentError
        If they are no scale and translation, so that their equivalent for a part is not known.
    """
    starts = [pick.start if isinstance(pick, slice) else 0 for pick in picks]
    steps = [pick.step if isinstance(pick, slice) else 1 for pick in picks]
    if not any(starts) and all(step == 1 for step in steps):
        return list(transforms)
    ndim = len(picks)
    values = [t.scale if t.type == "scale" else t.translation for t in transforms]
    types = [t.type for t in transforms]
    plain = types in (["scale"], ["scale", "translation"]) and all(v and len(v) == ndim for v in values)
    out = list(transforms) if plain else normalise(transforms, ndim)
    scale, shift = scale_of(out, ndim), translation_of(out, ndim)
    moved = [t + s * start for t, s, start in zip(shift, scale, starts, strict=True)]
    # Copies, so that keys of others in them stay.
    out[0] = out[0].model_copy(update={"scale": [s * step for s, step in zip(scale, steps, strict=True)]})
    if len(out) == 2:
        out[1] = out[1].model_copy(update={"translation": moved})
    elif any(moved):
        out.append(TransformationMeta(type="translation", translation=moved))
    return out
