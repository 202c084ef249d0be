"""Axes: names, types, units and their order (OME-NGFF 0.4/0.5, "axes" metadata)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator

from platestore.errors import ArgumentError
from platestore.spec import rules
from platestore.spec.base import OptionalModel
from platestore.spec.findings import Finding


class AxisMeta(OptionalModel):
    """One axis of an image.

    Attributes
    ----------
    name : str
        Name of the axis, unique within an image.
    type : str, optional
        ``"space"``, ``"time"``, ``"channel"``, or any other string.
    unit : str, optional
        A UDUNITS-2 name such as ``"micrometer"`` or ``"second"``.
    """

    name: str
    type: str | None = None
    unit: str | None = None


class TimeAxisMeta(AxisMeta):
    """The time axis."""

    type: str | None = "time"


class ChannelAxisMeta(AxisMeta):
    """The channel axis."""

    type: str | None = "channel"


class SpaceAxisMeta(AxisMeta):
    """A spatial axis."""

    type: str | None = "space"


_CLASSES: dict[str, type[AxisMeta]] = {
    "time": TimeAxisMeta,
    "channel": ChannelAxisMeta,
    "space": SpaceAxisMeta,
}


def _by_type(value: Any) -> Any:
    """Give a parsed axis the class of its type."""
    if isinstance(value, dict) and isinstance(value.get("type"), str):
        cls = _CLASSES.get(value["type"])
        return value if cls is None else cls.model_validate(value)
    return value


Axis = Annotated[AxisMeta, BeforeValidator(_by_type)]


def default_axes() -> list[AxisMeta]:
    """The default axes: t (second), c, z, y, x (micrometer)."""
    return [
        TimeAxisMeta(name="t", unit="second"),
        ChannelAxisMeta(name="c"),
        SpaceAxisMeta(name="z", unit="micrometer"),
        SpaceAxisMeta(name="y", unit="micrometer"),
        SpaceAxisMeta(name="x", unit="micrometer"),
    ]


def check_axes(axes: Iterable[AxisMeta | dict[str, Any]]) -> list[AxisMeta]:
    """Check axes given by a user for creation.

    Parameters
    ----------
    axes : iterable of AxisMeta or dict
        The axes, slowest first.

    Returns
    -------
    list of AxisMeta
        Copies of the axes.

    Raises
    ------
    ArgumentError
        If they break a rule of the specification: 2 to 5 axes with unique names, 2 or 3 of them
        spatial, at most one time and one channel or custom axis, in the order time, channel, space.
    """
    try:
        copies = [AxisMeta.model_validate(_by_type(_as_dict(axis))) for axis in axes]
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"axes cannot be read: {error}", hint="pass a list of AxisMeta") from None
    copies = [axis if type(axis) is not AxisMeta else _typed(axis) for axis in copies]
    problems = list(axes_findings(copies, "axes"))
    if problems:
        raise ArgumentError("; ".join(str(p) for p in problems))
    return copies


def _as_dict(axis: AxisMeta | dict[str, Any]) -> dict[str, Any]:
    if isinstance(axis, AxisMeta):
        return axis.to_json()
    if isinstance(axis, dict):
        return axis
    raise TypeError(f"{axis!r} is no axis")


def _typed(axis: AxisMeta) -> AxisMeta:
    """Give an axis without a type the one that its conventional name says."""
    if axis.type is None:
        known = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
        kind = known.get(axis.name.lower())
        if kind is not None:
            return _CLASSES[kind].model_validate({**axis.to_json(), "type": kind})
    return axis


def axes_findings(axes: Sequence[AxisMeta], location: str) -> Iterable[Finding]:
    """The rules of the specification that a list of axes breaks."""
    return rules.axes([axis.name for axis in axes], [axis.type for axis in axes], location)


def is_spatial(axis: AxisMeta) -> bool:
    """Whether an axis is one of space: by its type, or by its name where it has none."""
    return axis.type == "space" or (axis.type is None and axis.name.lower() in ("z", "y", "x"))


def channel_index(axes: Sequence[AxisMeta]) -> int | None:
    """Index of the channel axis, or None if there is none."""
    for i, axis in enumerate(axes):
        if axis.type == "channel":
            return i
    for i, axis in enumerate(axes):
        if axis.type is None and axis.name.lower() == "c":
            return i
    return None
