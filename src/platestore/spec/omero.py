"""The ``omero`` block: channels, colours and contrast windows, and what to write for a new channel."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict

from pydantic import Field

from platestore.errors import ArgumentError
from platestore.spec.base import LENIENT_TEXT, OptionalModel


class WindowDict(TypedDict):
    """Contrast window of a channel.

    Attributes
    ----------
    start, end : float
        The limits that a viewer shows first.
    min, max : float
        The range that its slider covers.
    """

    start: float
    end: float
    min: float
    max: float


class ChannelMeta(OptionalModel):
    """One channel of the ``omero`` block.

    Attributes
    ----------
    label : str, optional
        Name of the channel.
    color : str, optional
        Six hexadecimal digits, RGB.
    window : WindowDict, optional
        Contrast window in grey values.
    active : bool, optional
        Whether viewers show the channel at first.
    """

    model_config = LENIENT_TEXT

    active: bool | None = None
    coefficient: float | None = None
    color: str | None = None
    family: str | None = None
    inverted: bool | None = None
    label: str | None = None
    window: dict[str, float] | None = None


class RDefsMeta(OptionalModel):
    """Rendering defaults: the time point and plane a viewer opens with."""

    default_t: int | None = Field(default=None, alias="defaultT")
    default_z: int | None = Field(default=None, alias="defaultZ")
    model: str | None = None
    projection: str | None = None


class OMEROMeta(OptionalModel):
    """The ``omero`` block of an image.

    Attributes
    ----------
    version : str, optional
        OME-NGFF version, written here in 0.4 only.
    id : int, optional
        Identifier of the image.
    name : str, optional
        Name of the image.
    channels : list of ChannelMeta
        The channels, in the order of the channel axis.
    rdefs : RDefsMeta, optional
        Rendering defaults.
    """

    model_config = LENIENT_TEXT

    version: str | None = None
    id: int | None = None
    name: str | None = None
    channels: list[ChannelMeta]
    rdefs: RDefsMeta | None = None


# Colours come before dyes (mCherry-red is red); of each, the first hit wins. All are compared in lower case,
# as words of the channel's name: its letters between digits, signs and humps (mNeonGreen has three words).
_COLORS: dict[str, str] = {
    "green": "00FF00",
    "magenta": "FF00FF",
    "blue": "0000FF",
    "red": "FF0000",
    "dsred": "FF0000",
    "yellow": "FFFF00",
    "orange": "FFA500",
}
_DYES: dict[str, str] = {
    **dict.fromkeys(("gfp", "fitc", "mneon"), "00FF00"),
    **dict.fromkeys(("txr", "rfp", "mscarlet", "mcherry"), "FF00FF"),
    **dict.fromkeys(("dapi", "bfp", "hoechst"), "0000FF"),
}
_NUMBERED_DYES: dict[str, str] = {"cy3": "FFFF00", "cy5": "FFA500", "y5": "FFA500"}

# Windows (start, end, min, max) of label-free channels, which are computed and stored as floats.
_FLOAT_WINDOWS: dict[str, tuple[float, float, float, float]] = {
    "retardance": (0.0, 100.0, 0.0, 1000.0),
    "orientation": (0.0, math.pi, 0.0, math.pi),
    "phase2d": (-0.2, 0.2, -10.0, 10.0),
    "phase3d": (-0.2, 0.2, -10.0, 10.0),
    "bf": (0.0, 5.0, 0.0, 65535.0),
    "s0": (0.0, 1.0, 0.0, 65535.0),
    "s1": (-0.5, 0.5, -10.0, 10.0),
    "s2": (-0.5, 0.5, -10.0, 10.0),
    "s3": (-1.0, 1.0, -10.0, 10.0),
}


_WINDOW_KEYS = {"start", "end", "min", "max"}


def channel_color(name: str) -> str:
    """Conventional colour of a channel by the words of its name, in any case; white if they say nothing."""
    # A dye may begin or end a word (eGFP, tagrfp, mcherryNLS); the rest are words of their own.
    for colors, edges in ((_COLORS, all), (_DYES, any), (_NUMBERED_DYES, all)):
        for word, color in colors.items():
            if any(edges(found) for found in _occurrences(name, word)):
                return color
    return "FFFFFF"


def _occurrences(name: str, word: str) -> Iterator[tuple[bool, bool]]:
    """Where the letters of a word stand in a name: whether they begin one of its words, and end one."""
    # No letter changes its length here: the places in the lower case are those in the name.
    lower = "".join(c.lower() if len(c.lower()) == 1 else c for c in name)
    place = lower.find(word)
    while place >= 0:
        yield _is_edge(name, place), _is_edge(name, place + len(word))
        place = lower.find(word, place + 1)


def _is_edge(name: str, place: int) -> bool:
    """Whether a word begins or ends before a character."""
    before, after = name[place - 1 : place], name[place : place + 1]
    if before.isdigit() and after.isdigit():
        return False  # Cy3 in Cy35
    return not (before.isalpha() and after.isalpha()) or (before.islower() and after.isupper())


def channel_window(name: str, dtype: str) -> WindowDict:
    """Contrast window that fits a data type.

    Parameters
    ----------
    name : str
        Name of the channel; known label-free channels have windows of their own in float images.
    dtype : str
        Name of the data type, such as ``"uint16"``.

    Returns
    -------
    WindowDict
        The whole range of an integer type, 0 to 1 for floats and booleans.
    """
    if dtype.startswith(("int", "uint")):
        bits = int(dtype.removeprefix("u").removeprefix("int"))
        low, high = (0, 2**bits - 1) if dtype.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        return WindowDict(start=low, end=high, min=low, max=high)
    if dtype.startswith("float") and name.lower() in _FLOAT_WINDOWS:
        start, end, low_f, high_f = _FLOAT_WINDOWS[name.lower()]
        return WindowDict(start=start, end=end, min=low_f, max=high_f)
    return WindowDict(start=0.0, end=1.0, min=0.0, max=1.0)


def new_channel(name: str, *, dtype: str | None = None, first: bool = False) -> ChannelMeta:
    """Metadata of a new channel; without a data type it has no window yet."""
    channel = ChannelMeta(active=first, coefficient=1.0, color=channel_color(name), family="linear")
    channel.inverted = False
    channel.label = name
    if dtype is not None:
        channel.window = dict(channel_window(name, dtype))  # type: ignore[arg-type]
    return channel


def new_omero(names: Sequence[str], *, name: str | None = None, dtype: str | None = None) -> OMEROMeta:
    """The ``omero`` block of a new image."""
    return OMEROMeta(
        id=0,
        name=name,
        channels=[new_channel(n, dtype=dtype, first=i == 0) for i, n in enumerate(names)],
        rdefs=RDefsMeta(default_t=0, default_z=0, model="color", projection="normal"),
    )


def complete(omero: OMEROMeta, dtype: str) -> None:
    """Give every channel what it lacks: a colour, and a window, or the rest of one, that fits the type."""
    for i, channel in enumerate(omero.channels):
        name = channel.label or str(i)
        if channel.color is None:
            channel.color = channel_color(name)
        window = {key: value for key, value in (channel.window or {}).items() if math.isfinite(value)}
        if not set(window) >= _WINDOW_KEYS:
            channel.window = {**channel_window(name, dtype), **window}  # type: ignore[dict-item]


def is_complete(omero: OMEROMeta | None) -> bool:
    """Whether every channel has a colour and a whole window."""
    if omero is None:
        return False
    windows = [{k for k, v in (c.window or {}).items() if math.isfinite(v)} for c in omero.channels]
    return all(c.color is not None for c in omero.channels) and all(w >= _WINDOW_KEYS for w in windows)


def refit_windows(omero: OMEROMeta, former: str | None, dtype: str) -> None:
    """Give channels the window of another data type, if theirs was that of the former, or lies beyond it."""
    for i, channel in enumerate(omero.channels):
        name, window = channel.label or str(i), channel.window or {}
        was_default = former is not None and former != dtype and window == channel_window(name, former)
        if was_default or not _lies_within(window, dtype):
            channel.window = dict(channel_window(name, dtype))  # type: ignore[arg-type]


def _lies_within(window: Mapping[str, Any], dtype: str) -> bool:
    """Whether a data type has all values of a window."""
    whole = channel_window("", dtype)
    if dtype.startswith("float"):
        return bool(window)
    values = [window[key] for key in ("start", "end", "min", "max") if _is_finite(window.get(key))]
    return bool(window) and all(whole["min"] <= float(v) <= whole["max"] for v in values)


def check_window(window: Any) -> WindowDict:
    """Check a contrast window given by a user.

    Raises
    ------
    ArgumentError
        If a key is missing, or a value is no finite number.
    """
    keys = ("start", "end", "min", "max")
    try:
        values = {key: window[key] for key in keys}
    except (TypeError, KeyError, IndexError):
        raise ArgumentError(f"a contrast window needs the keys {', '.join(keys)}, not {window!r}") from None
    for key, value in values.items():
        if not _is_finite(value):
            raise ArgumentError(f"the window's {key!r} must be a finite number, not {str(value)[:80]!r}")
    plain = {k: int(v) if float(v).is_integer() else float(v) for k, v in values.items()}
    return WindowDict(start=plain["start"], end=plain["end"], min=plain["min"], max=plain["max"])


def _is_finite(value: Any) -> bool:
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__"):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def check_channel_names(names: Any) -> list[str]:
    """Check a list of channel names given by a user; any non-empty, unique strings are legal.

    Raises
    ------
    ArgumentError
        If it is a single string, or holds anything but distinct, non-empty strings.
    """
    if isinstance(names, str) or not hasattr(names, "__iter__"):
        raise ArgumentError(f"channel_names must be a list of strings, not {names!r}")
    out = list(names)
    for name in out:
        check_channel_name(name)
    if len(set(out)) != len(out):
        raise ArgumentError(f"channel names must be unique, not {out}")
    return out


def check_channel_name(name: Any) -> str:
    """Check one channel name."""
    if not isinstance(name, str) or not name:
        raise ArgumentError(f"a channel name must be a non-empty string, not {name!r}")
    return name
