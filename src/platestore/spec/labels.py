"""Label images: the ``image-label`` part of their document, and the list in the group above them.

A label image is a multiscale image whose pixels are whole numbers, one for each object. Its document
says in ``image-label`` how the values are shown and what is known about them.
"""

from __future__ import annotations

import colorsys
import operator
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field

from platestore.errors import ArgumentError
from platestore.spec import rules
from platestore.spec.base import Model, OptionalModel
from platestore.spec.findings import Finding
from platestore.spec.multiscales import ImagesMeta
from platestore.spec.values import Json, canonical, duplicates

#: Where the annotated image is, seen from a label image that lies in its ``labels`` group.
SOURCE = "../../"
_TRANSPARENT = (0, 0, 0, 0)
_GOLDEN = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio: multiples of it never come close
_LEAST, _GREATEST = -(2**63), 2**64 - 1


class LabelColorMeta(OptionalModel):
    """How one label value is shown.

    Attributes
    ----------
    label_value : int
        The pixel value.
    rgba : list of int, optional
        Red, green, blue and opacity, each 0 to 255.
    """

    label_value: int = Field(alias="label-value")
    rgba: list[int] | None = None


class LabelPropertyMeta(OptionalModel):
    """What is known about one label value; any keys beside it.

    Attributes
    ----------
    label_value : int
        The pixel value.
    """

    label_value: int = Field(alias="label-value")


class LabelSourceMeta(OptionalModel):
    """What a label image annotates.

    Attributes
    ----------
    image : str, optional
        Path of the image, relative to the label image; ``"../../"`` where it is not said.
    """

    image: str | None = None


class ImageLabelMeta(OptionalModel):
    """The ``image-label`` object.

    Attributes
    ----------
    version : str, optional
        OME-NGFF version, written here in 0.4 only.
    colors : list of LabelColorMeta, optional
        How values are shown; the strict schemas ask for at least one.
    properties : list of LabelPropertyMeta, optional
        What is known about values.
    source : LabelSourceMeta, optional
        The image that is annotated.
    """

    version: str | None = None
    colors: list[LabelColorMeta] | None = None
    properties: list[LabelPropertyMeta] | None = None
    source: LabelSourceMeta | None = None

    def findings(self) -> Iterable[Finding]:
        """Rules of colours and properties that the document breaks."""
        if self.colors is not None:
            colors = [(color.label_value, color.rgba) for color in self.colors]
            yield from rules.label_colors(colors, "image-label.colors")
        if self.properties is not None:
            entries = [(item.label_value, canonical(item.to_json())) for item in self.properties]
            yield from rules.label_properties(entries, "image-label.properties")


class LabelImageMeta(ImagesMeta):
    """The metadata of a label image: multiscales, and how the values are shown.

    Attributes
    ----------
    image_label : ImageLabelMeta, optional
        Colors and properties of the values.
    """

    image_label: ImageLabelMeta | None = Field(default=None, alias="image-label")

    def findings(self) -> Iterable[Finding]:
        """Rules of the image and of the labels that the document breaks."""
        yield from super().findings()
        if self.image_label is not None:
            yield from self.image_label.findings()


class LabelsMeta(Model):
    """The metadata of a ``labels`` group.

    Attributes
    ----------
    labels : list of str
        Paths of the label images, in order.
    """

    labels: list[str]

    def findings(self) -> Iterable[Finding]:
        """Rules of the list that the document breaks."""
        return rules.label_paths(self.labels, "labels")


# --- what users give ------------------------------------------------------------------------------


def default_color(value: int) -> list[int]:
    """A color for a label value: the same in every image, and apart from those of the values near it.

    Parameters
    ----------
    value : int
        The pixel value; 0, the background, is transparent.

    Returns
    -------
    list of int
        Red, green, blue and opacity, each 0 to 255.
    """
    if value == 0:
        return list(_TRANSPARENT)
    hue = (value * _GOLDEN % 2**64) / 2**64
    saturation, brightness = (1.0, 0.7, 0.45)[value % 3], (1.0, 0.75)[value // 3 % 2]
    return [*(round(255 * c) for c in colorsys.hsv_to_rgb(hue, saturation, brightness)), 255]


def default_colors(values: Iterable[int]) -> list[LabelColorMeta]:
    """Colors of the background and of the values given, in their order."""
    return [
        LabelColorMeta(label_value=value, rgba=default_color(value)) for value in dict.fromkeys((0, *values))
    ]


def check_colors(colors: object) -> list[LabelColorMeta]:
    """Read the colors that a user gives.

    Parameters
    ----------
    colors : mapping of int to sequence of int, or iterable of dict
        ``{1: (255, 0, 0)}`` or ``[{"label-value": 1, "rgba": [255, 0, 0, 255]}]``: red, green, blue and,
        if it is not 255, opacity, each 0 to 255.

    Returns
    -------
    list of LabelColorMeta
        That of the (transparent) background alone if none is given: the strict schemas ask for one.

    Raises
    ------
    ArgumentError
        If a value is named twice, or something is no integer or out of range.
    """
    out = []
    if isinstance(colors, Mapping):
        pairs: list[Any] = [({"label-value": value}, rgba) for value, rgba in colors.items()]
    else:
        entries = _entries(colors, "colors", "rgba")
        pairs = [({k: v for k, v in e.items() if k != "rgba"}, e.get("rgba")) for e in entries]
    for entry, rgba in pairs:
        value = _label_value(entry.get("label-value"), "colors")
        if rgba is not None:
            entry["rgba"] = _rgba(rgba, value)
        out.append(LabelColorMeta.model_validate({**entry, "label-value": value}))
    _require_unique(out, "colors")
    return out or default_colors(())


def check_properties(properties: object) -> list[LabelPropertyMeta] | None:
    """Read the properties that a user gives.

    Parameters
    ----------
    properties : mapping of int to dict, or iterable of dict
        ``{1: {"area": 12}}`` or ``[{"label-value": 1, "area": 12}]``. Scalars and arrays of NumPy become
        numbers and lists.

    Returns
    -------
    list of LabelPropertyMeta or None
        None if there are none: the schemas know no empty list.

    Raises
    ------
    ArgumentError
        If a value is named twice or is no integer, or a description is no dict.
    """
    if isinstance(properties, Mapping):
        entries = []
        for value, facts in properties.items():
            if not isinstance(facts, Mapping):
                raise ArgumentError(
                    f"properties of label {value!r} must be a dict, not {type(facts).__name__}"
                )
            entries.append({**_plain(facts), "label-value": value})
    else:
        entries = _entries(properties, "properties", "area")
    out = []
    for entry in entries:
        value = _label_value(entry["label-value"], "properties")
        out.append(LabelPropertyMeta.model_validate({**entry, "label-value": value}))
    _require_unique(out, "properties")
    return out or None


def _entries(items: object, name: str, key: str) -> list[Json]:
    shape = f'{name} must be a dict by label value, or a list of {{"label-value": 1, "{key}": ...}}'
    if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
        raise ArgumentError(f"{shape}, not {type(items).__name__}")
    entries = list(items)
    for entry in entries:
        if not isinstance(entry, Mapping) or "label-value" not in entry:
            raise ArgumentError(f"{shape}; it holds {entry!r}")
    return [_plain(entry) for entry in entries]


def _plain(value: Any) -> Any:
    """Scalars and arrays of NumPy, which measurements come as, as plain numbers and lists."""
    if isinstance(value, Mapping):
        return {_text(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


def _text(key: object) -> str:
    if not isinstance(key, str):
        raise ArgumentError(f"the key {key!r} is not a string")
    return key


def _integer(value: object) -> int | None:
    """A whole number of whatever type, or None; a bool is none."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def _label_value(value: object, name: str) -> int:
    number = _integer(value)
    if number is None or not _LEAST <= number <= _GREATEST:
        raise ArgumentError(f"a label value in {name} must be an integer of up to 64 bits, not {value!r}")
    return number


def _rgba(values: Any, label: int) -> list[int]:
    numbers = (
        None
        if isinstance(values, (str, bytes)) or not isinstance(values, Iterable)
        else [_integer(v) for v in values]
    )
    if numbers is None or len(numbers) not in (3, 4) or any(n is None or not 0 <= n <= 255 for n in numbers):
        raise ArgumentError(
            f"the color of label {label} must be 3 or 4 integers from 0 to 255, not {values!r}",
            hint="red, green, blue and opacity, as in (255, 128, 0, 255)",
        )
    return [n for n in (*numbers, 255)[:4] if n is not None]


def _require_unique(items: Iterable[LabelColorMeta | LabelPropertyMeta], name: str) -> None:
    twice = duplicates(str(item.label_value) for item in items)
    if twice:
        raise ArgumentError(f"{name} names label values more than once: {', '.join(twice[:5])}")
