"""Units of axes: the specification's names (those of UDUNITS-2), and what people write instead."""

from __future__ import annotations

from collections.abc import Iterator

from platestore.errors import ArgumentError
from platestore.spec.findings import Finding

_PREFIXES = {
    "y": "yocto",
    "z": "zepto",
    "a": "atto",
    "f": "femto",
    "p": "pico",
    "n": "nano",
    "u": "micro",
    "µ": "micro",
    "μ": "micro",
    "m": "milli",
    "c": "centi",
    "d": "deci",
    "h": "hecto",
    "k": "kilo",
    "M": "mega",
    "G": "giga",
    "T": "tera",
    "P": "peta",
    "E": "exa",
    "Z": "zetta",
    "Y": "yotta",
}
_LENGTHS = ("angstrom", "foot", "inch", "meter", "mile", "parsec", "yard")
_TIMES = ("day", "hour", "minute", "second")
_SHOWN = 40  # characters of a unit in a message
_NAMED = tuple(dict.fromkeys(_PREFIXES.values()))

#: The specification's units of ``space`` axes.
SPACE_UNITS = frozenset({*_LENGTHS, *(f"{prefix}meter" for prefix in _NAMED)})
#: The specification's units of ``time`` axes.
TIME_UNITS = frozenset({*_TIMES, *(f"{prefix}second" for prefix in _NAMED)})

# Whatever the case of their letters.
_WORDS = {
    "micron": "micrometer",
    "ångström": "angstrom",
    "ångstrom": "angstrom",
    "angström": "angstrom",
    "feet": "foot",
    "inches": "inch",
    "sec": "second",
    "msec": "millisecond",
    "usec": "microsecond",
    "nsec": "nanosecond",
    "min": "minute",
    "hr": "hour",
}
# In this case only: mm is no Mm.
_SYMBOLS = {
    **{f"{symbol}m": f"{prefix}meter" for symbol, prefix in _PREFIXES.items()},
    **{f"{symbol}s": f"{prefix}second" for symbol, prefix in _PREFIXES.items()},
    "m": "meter",
    "Å": "angstrom",
    "\u212b": "angstrom",
    "in": "inch",
    "ft": "foot",
    "yd": "yard",
    "mi": "mile",
    "pc": "parsec",
    "s": "second",
    "h": "hour",
    "d": "day",
}


def normalise_unit(unit: str, kind: str | None = None, axis: str | None = None) -> str:
    """The specification's name of a unit of length or time.

    Parameters
    ----------
    unit : str
        A name or a symbol: ``"um"``, ``"µm"``, ``"micron"``, ``"Micrometres"``, ``"ms"``, ...
    kind : {"space", "time"}, optional
        Of which it must be; of either by default.
    axis : str, optional
        Name of the axis, for the error.

    Returns
    -------
    str
        One of the UDUNITS-2 names that OME-NGFF lists, such as ``"micrometer"``.

    Raises
    ------
    ArgumentError
        If it is none; the message names the nearest.

    Examples
    --------
    >>> from platestore.xarray import normalise_unit
    >>> normalise_unit("µm"), normalise_unit("ms")
    ('micrometer', 'millisecond')
    """
    what = "" if axis is None else f" (axis {axis!r})"
    if not isinstance(unit, str):
        raise ArgumentError(f"a unit must be a string, not {unit!r}{what}", hint='for instance "micrometer"')
    found = known_unit(unit)
    if found is not None and kind in (None, type_of_unit(found)):
        return found
    close, names = nearest_unit(unit, kind), _names(kind)
    nearest = f"did you mean {close!r}? " if close else ""
    raise ArgumentError(
        f"{unit!r} is no unit of {kind or 'length or time'}{what}",
        hint=f"{nearest}OME-NGFF has {', '.join(sorted(names))}",
    )


def _names(kind: str | None) -> frozenset[str]:
    return {"space": SPACE_UNITS, "time": TIME_UNITS}.get(kind or "", SPACE_UNITS | TIME_UNITS)


def nearest_unit(unit: str, kind: str | None = None) -> str | None:
    """The listed name that a unit may be a misspelling of; None if it resembles none."""
    import difflib

    return next(iter(difflib.get_close_matches(unit.strip().lower(), sorted(_names(kind)), 1)), None)


def spelled(unit: str, kind: str | None) -> str:
    """A unit that a user gives an axis, with the specification's spelling if it is known which one is meant.

    Parameters
    ----------
    unit : str
        A name or a symbol.
    kind : str, optional
        Type of the axis; units of ``space`` and ``time`` axes have listed names.

    Returns
    -------
    str
        The listed name; the unit as it is if there is none: any string is allowed.
    """
    found = known_unit(unit)
    return found if found is not None and type_of_unit(found) == kind else unit


def unlisted_unit(unit: str | None, kind: str | None) -> str | None:
    """What to tell a user whose unit of a ``space`` or ``time`` axis is not among those that are listed."""
    if unit is None or kind not in ("space", "time") or unit in _names(kind):
        return None
    try:
        normalise_unit(unit, kind)
    except ArgumentError as error:
        return f"{error.message}; it is written as it is ({error.hint})"
    return None


def known_unit(unit: object) -> str | None:
    """The specification's name of a unit, or None if it is no unit of length or time."""
    if not isinstance(unit, str):
        return None
    text = unit.strip()
    if text in _SYMBOLS:
        return _SYMBOLS[text]
    word = text.lower().replace("metre", "meter")
    for candidate in (word, word.removesuffix("s")):
        candidate = _WORDS.get(candidate, candidate)
        if candidate in SPACE_UNITS or candidate in TIME_UNITS:
            return candidate
    return None


def type_of_unit(unit: str | None) -> str | None:
    """Type of the axes that have a unit: ``"space"``, ``"time"``, or None if it says nothing."""
    known = known_unit(unit)
    if known is None:
        return None
    return "space" if known in SPACE_UNITS else "time"


def unit_findings(unit: str, kind: str, where: str) -> Iterator[Finding]:
    """What the specification would rather have as the unit of an axis; any string is allowed.

    Parameters
    ----------
    unit : str
        The unit as it is written.
    kind : {"space", "time"}
        Type of the axis.
    where : str
        Location of the unit.
    """
    names = SPACE_UNITS if kind == "space" else TIME_UNITS
    if unit in names:
        return
    known = known_unit(unit)
    rule = f"axes: the unit of a {kind} axis is one of the UDUNITS-2 names that are listed (SHOULD)"
    if known is not None and known not in names:
        message = f"is {unit[:_SHOWN]!r}, which is no unit of {kind}"
        yield Finding("axis-unit", where, message, "warning", found=repr(unit[:_SHOWN]), rule=rule)
        return
    yield Finding(
        "axis-unit",
        where,
        f"is {unit[:_SHOWN]!r}, which is not one of the listed names",
        "advice",
        expected=repr(known) if known is not None else None,
        found=repr(unit[:_SHOWN]),
        rule=rule,
        hint=f"write {known!r}" if known is not None else None,
    )
