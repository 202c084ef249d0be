"""Values of documents, whatever they are: how messages show them, which are equal, which occur twice."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, TypeAlias, TypeVar

_SHOWN = 60  # characters
_LONG_INTEGER = 256  # bits; Python itself refuses to print integers of some thousand digits

T = TypeVar("T")
#: An object of JSON.
Json: TypeAlias = dict[str, Any]


def duplicates(values: Iterable[T | None]) -> list[T]:
    """Values that occur more than once, each named once, in order; None is none."""
    counts: dict[T, int] = {}
    for value in values:
        if value is not None:
            counts[value] = counts.get(value, 0) + 1
    return [value for value, count in counts.items() if count > 1]


def number(value: Any) -> float | None:
    """A finite number, or None if it is none; a boolean is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if isinstance(value, int) or math.isfinite(value) else None


def whole(value: Any) -> int | None:
    """A whole number, or None: ``7.0`` is one to JSON schema."""
    found = number(value)
    return None if found is None or found != int(found) else int(found)


def shown(value: object) -> str:
    """A value of a document in a message: short, whatever it is."""
    if isinstance(value, dict):
        return f"an object of {len(value)} keys"
    if isinstance(value, (list, tuple)):
        simple = len(value) <= 5 and not any(isinstance(item, (dict, list, tuple)) for item in value)
        return f"[{', '.join(map(shown, value))}]" if simple else f"a list of {len(value)}"
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > _LONG_INTEGER:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, str):
        return repr(value) if len(value) <= _SHOWN else f"{value[:_SHOWN]!r}..."
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value) if isinstance(value, (int, float)) else f"a {type(value).__name__}"


def canonical(value: Any) -> str:
    """A text that is equal for equal JSON values (1 and 1.0, keys in any order); no depth is too deep."""
    out: list[str] = []
    stack: list[Any] = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, _Mark):
            out.append(item)
        elif isinstance(item, dict):
            stack.append(_Mark("}"))
            for key in sorted((key for key in item if isinstance(key, str)), reverse=True):
                stack += (item[key], _Mark(f"{key!r}:"))
            out.append("{")
        elif isinstance(item, list):
            stack += (_Mark("]"), *reversed(item))
            out.append("[")
        else:
            out.append(_canonical_scalar(item))
    return ",".join(out)


class _Mark(str):
    """A piece of the text itself, not a string of the value."""


def _canonical_scalar(value: Any) -> str:
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:x}"  # decimal digits of long integers are refused by Python
    return shown(value) if not isinstance(value, str) else repr(value)
