"""The ``omero`` block: channels, colours and contrast windows, and what to write for a new channel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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


# First hit wins; compared in lower case, as parts of the channel's name.
_COLORS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("00FF00", ("green", "gfp", "fitc", "mneon")),
    ("FF00FF", ("magenta", "txr", "rfp", "mscarlet", "mcherry")),
    ("0000FF", ("blue", "dapi", "bfp", "hoechst")),
    ("FF0000", ("red",)),
    ("FFFF00", ("yellow", "cy3")),
    ("FFA500", ("orange", "cy5", "y5")),
)

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


def channel_color(name: str) -> str:
    """Conventional colour of a channel by its name, whatever the case; white if it says nothing."""
    lower = name.lower()
    return next((color for color, words in _COLORS if any(w in lower for w in words)), "FFFFFF")


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


def fit_windows(omero: OMEROMeta, dtype: str) -> None:
    """Give every channel that has no window yet the one that fits the data type."""
    for i, channel in enumerate(omero.channels):
        if channel.window is None:
            channel.window = dict(channel_window(channel.label or str(i), dtype))  # type: ignore[arg-type]


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
