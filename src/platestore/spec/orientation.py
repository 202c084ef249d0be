"""Anatomical orientation of spatial axes (RFC-4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from platestore.errors import ArgumentError
from platestore.spec.findings import Finding


class AnatomicalOrientationValues(StrEnum):
    """Where an axis leads: from the anatomical place of its low indices to that of its high ones.

    RFC-4's 24 values, 12 pairs of opposite directions.
    """

    left_to_right = "left-to-right"
    right_to_left = "right-to-left"
    anterior_to_posterior = "anterior-to-posterior"
    posterior_to_anterior = "posterior-to-anterior"
    inferior_to_superior = "inferior-to-superior"
    superior_to_inferior = "superior-to-inferior"
    dorsal_to_ventral = "dorsal-to-ventral"
    ventral_to_dorsal = "ventral-to-dorsal"
    dorsal_to_palmar = "dorsal-to-palmar"
    palmar_to_dorsal = "palmar-to-dorsal"
    dorsal_to_plantar = "dorsal-to-plantar"
    plantar_to_dorsal = "plantar-to-dorsal"
    rostral_to_caudal = "rostral-to-caudal"
    caudal_to_rostral = "caudal-to-rostral"
    cranial_to_caudal = "cranial-to-caudal"
    caudal_to_cranial = "caudal-to-cranial"
    proximal_to_distal = "proximal-to-distal"
    distal_to_proximal = "distal-to-proximal"
    superficial_to_deep = "superficial-to-deep"
    deep_to_superficial = "deep-to-superficial"
    apical_to_basal = "apical-to-basal"
    basal_to_apical = "basal-to-apical"
    apex_to_base = "apex-to-base"
    base_to_apex = "base-to-apex"


@dataclass(frozen=True)
class AnatomicalOrientation:
    """Orientation of one spatial axis.

    Attributes
    ----------
    value : AnatomicalOrientationValues
        The direction; its name as a string is taken too.
    type : str
        ``"anatomical"``, the only one that RFC-4 knows.

    Raises
    ------
    ArgumentError
        For another value or type.
    """

    value: AnatomicalOrientationValues
    type: str = "anatomical"

    def __post_init__(self) -> None:
        if self.type != "anatomical":
            raise ArgumentError(f"an orientation has the type 'anatomical', not {self.type!r}")
        try:
            object.__setattr__(self, "value", AnatomicalOrientationValues(self.value))
        except ValueError:
            names = ", ".join(AnatomicalOrientationValues)
            raise ArgumentError(f"there is no orientation {self.value!r}", hint=f"one of {names}") from None

    def to_json(self) -> dict[str, str]:
        """As RFC-4 writes it into an axis."""
        return {"type": self.type, "value": self.value.value}


def _preset(x: str, y: str, z: str) -> dict[str, AnatomicalOrientation]:
    rows = {"x": x, "y": y, "z": z}
    return {axis: AnatomicalOrientation(AnatomicalOrientationValues(value)) for axis, value in rows.items()}


#: Axes that grow towards left, posterior and superior.
LPS = _preset("right-to-left", "anterior-to-posterior", "inferior-to-superior")
#: Axes that grow towards right, anterior and superior.
RAS = _preset("left-to-right", "posterior-to-anterior", "inferior-to-superior")
_PRESETS = {"LPS": LPS, "RAS": RAS}


def check_orientations(
    orientation: object, dims: Sequence[str], types: Mapping[str, str | None]
) -> dict[str, AnatomicalOrientation]:
    """Understand what was passed as ``orientation=`` or ``axes_orientations=``.

    Parameters
    ----------
    orientation : str, mapping or None
        ``"LPS"`` or ``"RAS"``, in either case, of which the axes count that the image has; or a mapping of
        axis names to an :class:`AnatomicalOrientation`, one of its values, or the object that RFC-4 writes.
        None and ``{}`` in place of one leave the axis without an orientation.
    dims : sequence of str
        Names of the axes.
    types : mapping
        Type of each axis.

    Returns
    -------
    dict
        Orientation by axis, in the order of the axes.

    Raises
    ------
    ArgumentError
        For an unknown preset, value or axis, an axis that is not spatial, or two axes along one direction.
    """
    if orientation is None:
        return {}
    if isinstance(orientation, str):
        given: Mapping[Any, Any] = _by_name(orientation)
        given = {axis: value for axis, value in given.items() if axis in dims}
    elif isinstance(orientation, Mapping):
        given = orientation
    else:
        raise ArgumentError(
            f"orientation must be 'LPS', 'RAS' or a dict by axis, not {type(orientation).__name__}"
        )
    found: dict[str, AnatomicalOrientation] = {}
    for axis, value in given.items():
        if axis not in dims:
            raise ArgumentError(f"orientation of an axis {axis!r}", hint=f"the image has {', '.join(dims)}")
        if value is None or value == {}:
            continue
        if types.get(axis) != "space":
            raise ArgumentError(
                f"the axis {axis!r} is of type {types.get(axis)!r} and has no orientation",
                hint="RFC-4 gives one to spatial axes only",
            )
        found[axis] = _one(value)
    _check_apart(found)
    return {axis: found[axis] for axis in dims if axis in found}


def _by_name(name: str) -> dict[str, AnatomicalOrientation]:
    preset = _PRESETS.get(name.strip().upper())
    if preset is None:
        raise ArgumentError(
            f"there is no orientation preset {name!r}", hint="'LPS', 'RAS', or a dict with a value per axis"
        )
    return preset


def _one(value: Any) -> AnatomicalOrientation:
    if isinstance(value, AnatomicalOrientation):
        return value
    if isinstance(value, str):
        return AnatomicalOrientation(value)  # type: ignore[arg-type]
    if isinstance(value, Mapping):
        return AnatomicalOrientation(value.get("value"), value.get("type", "anatomical"))  # type: ignore[arg-type]
    if hasattr(value, "value") and hasattr(value, "type"):  # that of another library
        return AnatomicalOrientation(getattr(value.value, "value", value.value), value.type)
    raise ArgumentError(f"an orientation is a string such as 'left-to-right', not {value!r}")


def _check_apart(found: Mapping[str, AnatomicalOrientation]) -> None:
    """Of two opposite directions, at most one axis may have one."""
    taken: dict[frozenset[str], str] = {}
    for axis, orientation in found.items():
        pair = frozenset(orientation.value.split("-to-"))
        if pair in taken:
            raise ArgumentError(
                f"the axes {taken[pair]!r} and {axis!r} both lead along {' and '.join(sorted(pair))}",
                hint="RFC-4 allows one axis per pair of opposite directions",
            )
        taken[pair] = axis


def read_orientations(axes: Sequence[Any]) -> dict[str, AnatomicalOrientation]:
    """Orientations in the axes of a document; what RFC-4 does not know is left out.

    Parameters
    ----------
    axes : sequence of AxisMeta
        The axes.
    """
    found = {}
    for axis in axes:
        extra = (axis.model_extra or {}).get("orientation")
        if isinstance(extra, AnatomicalOrientation):
            found[axis.name.lower()] = extra
        elif isinstance(extra, dict) and extra.get("type") == "anatomical":
            value = next((v for v in AnatomicalOrientationValues if v == extra.get("value")), None)
            if value is not None:
                found[axis.name.lower()] = AnatomicalOrientation(value)
    return found


def orientation_findings(axes: Sequence[Mapping[str, Any]], where: str) -> Iterator[Finding]:
    """What RFC-4, which no version of the specification contains yet, says against the axes of a document.

    Parameters
    ----------
    axes : sequence of mapping
        The parsed JSON of the axes.
    where : str
        Location of the list.
    """
    taken: dict[frozenset[str], int] = {}
    for i, axis in enumerate(axes):
        if "orientation" not in axis:
            continue
        place, given = f"{where}[{i}].orientation", axis["orientation"]
        value = given.get("value") if isinstance(given, Mapping) else None
        if axis.get("type") != "space":
            yield _warning(place, "is on an axis that is not spatial", "spatial axes alone have one")
        elif not isinstance(given, Mapping) or given.get("type") != "anatomical":
            rule = "an orientation is an object of the type anatomical"
            yield _warning(place, "is not an object of the type 'anatomical'", rule)
        elif not isinstance(value, str) or value not in set(AnatomicalOrientationValues):
            yield _warning(place, "has a value that RFC-4 does not list", "the value is one of those listed")
        else:
            pair = frozenset(value.split("-to-"))
            if pair in taken:
                message = f"lies along the same direction as that of axis {taken[pair]}"
                yield _warning(place, message, "of two opposite directions one axis at most has one")
            taken.setdefault(pair, i)


def _warning(where: str, message: str, rule: str) -> Finding:
    return Finding("axis-orientation", where, message, "warning", rule=f"RFC-4: {rule} (MUST)")
