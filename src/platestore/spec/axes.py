"""Axes: names, types, units and their order (OME-NGFF 0.4/0.5, "axes" metadata)."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationInfo, field_validator

from platestore.errors import ArgumentError, StoreWarning
from platestore.spec import rules
from platestore.spec.base import AS_STORED, OptionalModel
from platestore.spec.findings import Finding
from platestore.spec.units import spelled, unlisted_unit
from platestore.spec.values import Json


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


class _MeasuredAxisMeta(AxisMeta):
    """An axis whose unit gets the specification's spelling if a user gives it; what a store says stays."""

    @field_validator("unit")
    @classmethod
    def _spell(cls, unit: str | None, info: ValidationInfo) -> str | None:
        stored = info.context is not None and info.context.get("stored")
        return unit if unit is None or stored else spelled(unit, info.data.get("type"))


class TimeAxisMeta(_MeasuredAxisMeta):
    """The time axis; ``unit="s"``, ``"sec"`` or ``"seconds"`` is written ``"second"``."""

    type: str | None = "time"


class ChannelAxisMeta(AxisMeta):
    """The channel axis."""

    type: str | None = "channel"


class SpaceAxisMeta(_MeasuredAxisMeta):
    """A spatial axis; ``unit="um"``, ``"µm"`` or ``"microns"`` is written ``"micrometer"``."""

    type: str | None = "space"


_CLASSES: dict[str, type[AxisMeta]] = {
    "time": TimeAxisMeta,
    "channel": ChannelAxisMeta,
    "space": SpaceAxisMeta,
}


def _by_type(value: Any, info: ValidationInfo) -> Any:
    """Give a parsed axis the class of its type."""
    return _typed(value, info.context)


def _typed(value: Any, context: Json | None) -> Any:
    if isinstance(value, dict) and isinstance(value.get("type"), str):
        cls = _CLASSES.get(value["type"])
        return value if cls is None else cls.model_validate(value, context=context)
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


def check_axes(axes: Iterable[AxisMeta | Json], *, stored: bool = False) -> list[AxisMeta]:
    """Check axes for creation.

    Parameters
    ----------
    axes : iterable of AxisMeta or dict
        The axes, slowest first.
    stored : bool
        Whether a store says so, and not a user: its units stay as they are.

    Returns
    -------
    list of AxisMeta
        Copies of the axes. Units that a user gives have the specification's spelling where it is known which
        one is meant; a warning names the others.

    Raises
    ------
    ArgumentError
        If they break a rule of the specification: 2 to 5 axes with unique names, 2 or 3 of them
        spatial, at most one time and one channel or custom axis, in the order time, channel, space.
    """
    context = AS_STORED if stored else None
    try:
        copies = [
            AxisMeta.model_validate(_typed(_conventional(_as_dict(axis)), context), context=context)
            for axis in axes
        ]
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"axes cannot be read: {error}", hint="pass a list of AxisMeta") from None
    problems = list(axes_findings(copies, "axes"))
    if problems:
        raise ArgumentError("; ".join(str(p) for p in problems))
    for axis in copies if not stored else ():
        problem = unlisted_unit(axis.unit, axis.type)
        if problem is not None:
            warnings.warn(f"axis {axis.name!r}: {problem}", StoreWarning, stacklevel=3)
    return copies


def _as_dict(axis: AxisMeta | Json) -> Json:
    if isinstance(axis, AxisMeta):
        return axis.to_json()
    if isinstance(axis, dict):
        return axis
    raise TypeError(f"{axis!r} is no axis")


def _conventional(axis: Json) -> Json:
    """Give an axis without a type the one that its conventional name says."""
    name = axis.get("name")
    if axis.get("type") is None and isinstance(name, str):
        known = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
        kind = known.get(name.lower())
        if kind is not None:
            return {**axis, "type": kind}
    return axis


def axes_findings(axes: Sequence[AxisMeta], location: str) -> Iterable[Finding]:
    """The rules of the specification that a list of axes breaks."""
    return rules.axes([axis.name for axis in axes], [axis.type for axis in axes], location)


def is_spatial(axis: AxisMeta) -> bool:
    """Whether an axis is one of space: by its type, or by its name where it has none."""
    return rules.is_space(axis.name, axis.type)


def channel_index(axes: Sequence[AxisMeta]) -> int | None:
    """Index of the channel axis, or None if there is none."""
    for i, axis in enumerate(axes):
        if axis.type == "channel":
            return i
    for i, axis in enumerate(axes):
        if axis.type is None and axis.name.lower() == "c":
            return i
    return None
