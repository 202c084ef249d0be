"""From parsed JSON to the plain values that the rules of :mod:`platestore.spec.rules` are about.

What is missing or of a wrong type becomes None, so that one flaw is one finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from platestore.checking.rules.grammar import wrong_type
from platestore.spec import rules, units
from platestore.spec.findings import Finding, Level
from platestore.spec.values import Json, canonical, number, whole


def cross_findings(key: str, value: Any, where: str, loose: Level) -> Iterator[Finding]:
    """Findings beyond types of one top-level key.

    Parameters
    ----------
    key : str
        ``"multiscales"``, ``"plate"``, ...
    value : object
        Its parsed JSON, whatever it is.
    where : str
        Its location.
    loose : {"error", "warning"}
        The level of flaws that valid official cases of the version may have.
    """
    judge = _RULES.get(key)
    if judge is not None:
        yield from judge(value, where, loose)


def _multiscales(value: Any, where: str, loose: Level) -> Iterator[Finding]:
    if not isinstance(value, list):
        return
    yield from rules.multiscales(len(value), where)
    seen = set()
    for i, image in enumerate(value):
        if len(value) > 1:
            known = canonical(image)
            if known in seen:
                message = "is equal to an image before it"
                rule = "multiscales: the images are unique (MUST)"
                yield Finding("multiscales-duplicate", f"{where}[{i}]", message, rule=rule)
            seen.add(known)
        if isinstance(image, dict):
            yield from _image(image, f"{where}[{i}]", loose)


def _image(image: Json, where: str, loose: Level) -> Iterator[Finding]:
    axes = image.get("axes")
    ndim = None
    if isinstance(axes, list):
        ndim = len(axes)
        if all(isinstance(axis, dict) for axis in axes):
            names, types = _column(axes, "name"), _column(axes, "type")
            yield from rules.axes(names, types, f"{where}.axes")
            yield from _units_and_orientations(axes, f"{where}.axes")
    transforms = image.get("coordinateTransformations")
    yield from _transforms(transforms, ndim, f"{where}.coordinateTransformations", loose)
    datasets = image.get("datasets")
    if not isinstance(datasets, list):
        return
    yield from rules.datasets(_column(datasets, "path"), f"{where}.datasets")
    yield from _order(datasets, f"{where}.datasets")
    for i, dataset in enumerate(datasets):
        if isinstance(dataset, dict):
            transforms = dataset.get("coordinateTransformations")
            inner = f"{where}.datasets[{i}].coordinateTransformations"
            yield from _transforms(transforms, ndim, inner, loose)


def _order(datasets: list[Any], where: str) -> Iterator[Finding]:
    """Levels whose pixels are smaller than those of the level before."""
    before = None
    for i, dataset in enumerate(datasets):
        given = dataset.get("coordinateTransformations") if isinstance(dataset, dict) else None
        scale = usable_scale(given, None)
        if scale is not None and before is not None and are_finer(scale, before):
            rule = "multiscales: datasets are ordered from the largest to the smallest (MUST)"
            text = "by its scale this level has smaller pixels than the one before"
            yield Finding("level-order", f"{where}[{i}].path", text, rule=rule)
        before = scale


def usable_scale(transforms: Any, rank: int | None) -> list[float] | None:
    """The scale of a dataset; None if there is none, or none that lengths could be divided by."""
    for step in transforms if isinstance(transforms, list) else ():
        if isinstance(step, dict) and step.get("type") == "scale":
            values = step.get("scale")
            if isinstance(values, list) and all(_is_size(v) for v in values):
                return [float(v) for v in values] if rank in (None, len(values)) else None
    return None


def _is_size(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and 1e-100 < value < 1e100


def are_finer(scale: list[float], before: list[float]) -> bool:
    """Whether pixels of a scale are smaller than those of another, and along no axis larger."""
    pairs = list(zip(scale, before, strict=False))
    return len(scale) == len(before) and all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def _transforms(steps: Any, ndim: int | None, where: str, loose: Level) -> Iterator[Finding]:
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        return
    found = [_step(step, ndim) for step in steps]
    if ndim is None:
        yield from (f for f in rules.transforms(found, 0, where) if f.code == "transform-list")
    else:
        yield from rules.transforms(found, ndim, where, misfit=loose)
    for i, step in enumerate(steps):
        if step.get("type") == "scale" and isinstance(step.get("scale"), list):
            yield from rules.positive_scale([number(v) for v in step["scale"]], f"{where}[{i}].scale")


def _step(step: Json, ndim: int | None) -> tuple[str | None, int | None]:
    kind = _text(step.get("type"))
    if kind not in ("scale", "translation"):
        return kind, None
    values = step.get(kind)
    if isinstance(values, list):
        return kind, len(values)
    return kind, ndim if kind in step else None  # of a wrong type, which the grammar says


def _units_and_orientations(axes: list[Json], where: str) -> Iterator[Finding]:
    # The schemas want two axes of space whose units, if any, are strings; of all others they say nothing.
    named = [a for a in axes if a.get("type") == "space" and isinstance(a.get("unit", ""), str)]
    for i, axis in enumerate(axes):
        if not isinstance(axis.get("unit", ""), str):
            level: Level = "error" if axis.get("type") == "space" and len(named) < 2 else "warning"
            rule = "axes: 'unit' is a string"
            yield wrong_type(axis["unit"], "a string", f"{where}[{i}].unit", rule, level)
        kind, unit = axis.get("type"), axis.get("unit")
        if isinstance(unit, str) and kind in ("space", "time"):
            yield from units.unit_findings(unit, str(kind), f"{where}[{i}].unit")
    if any("orientation" in axis for axis in axes):
        from platestore.spec.orientation import orientation_findings

        yield from orientation_findings(axes, where)


def _omero(value: Any, where: str, _: Level) -> Iterator[Finding]:
    for i, channel in enumerate(_listed(value, "channels")):
        if isinstance(channel, dict):
            yield from rules.channel_color(_text(channel.get("color")), f"{where}.channels[{i}].color")


def _plate(value: Any, where: str, loose: Level) -> Iterator[Finding]:
    if not isinstance(value, dict):
        return
    names: dict[str, list[str | None]] = {"rows": [], "columns": []}
    for key, listed in names.items():
        if isinstance(value.get(key), list):
            listed += _column(value[key], "name")
            yield from rules.plate_names(listed, f"{where}.{key}")
            if not listed:
                yield _no_axis(key, where)
    if isinstance(value.get("wells"), list):
        # Without rows or columns, which is said above, no index could be right.
        keys = ("rowIndex", "columnIndex") if all(names.values()) else ("", "")
        wells = [
            (_text(item.get("path")), whole(item.get(keys[0])), whole(item.get(keys[1])))
            for item in _objects(value["wells"])
        ]
        yield from rules.plate_wells(wells, names["rows"], names["columns"], f"{where}.wells", swapped=loose)
    runs = [
        (
            whole(a.get("id")),
            whole(a.get("maximumfieldcount")),
            whole(a.get("starttime")),
            whole(a.get("endtime")),
        )
        for a in _objects(_listed(value, "acquisitions"))
    ]
    yield from rules.acquisitions(runs, f"{where}.acquisitions")
    yield from rules.field_count(whole(value.get("field_count")), f"{where}.field_count")


def _no_axis(key: str, where: str) -> Finding:
    rule = f"plate: at least one of the {key} is listed (MUST)"
    return Finding(f"{key}-empty", f"{where}.{key}", f"lists no {key[:-1]}", rule=rule)


def _well(value: Any, where: str, _: Level) -> Iterator[Finding]:
    if isinstance(value, dict) and isinstance(value.get("images"), list):
        yield from rules.well_images(_column(value["images"], "path"), f"{where}.images")


def _image_label(value: Any, where: str, _: Level) -> Iterator[Finding]:
    if not isinstance(value, dict):
        return
    if isinstance(value.get("colors"), list):
        colors = [(whole(c.get("label-value")), _rgba(c.get("rgba"))) for c in _objects(value["colors"])]
        yield from rules.label_colors(colors, f"{where}.colors")
    if isinstance(value.get("properties"), list):
        entries = [(whole(p.get("label-value")), canonical(p)) for p in _objects(value["properties"])]
        yield from rules.label_properties(entries, f"{where}.properties")


def _rgba(value: Any) -> list[int | None] | None:
    return [whole(v) for v in value] if isinstance(value, list) else None


def _labels(value: Any, where: str, _: Level) -> Iterator[Finding]:
    if isinstance(value, list):
        yield from rules.label_paths([_text(path) for path in value], where)


def _layout(value: Any, where: str, _: Level) -> Iterator[Finding]:
    yield from rules.series_layout(number(value), where)


_RULES: dict[str, Callable[[Any, str, Level], Iterator[Finding]]] = {
    "multiscales": _multiscales,
    "omero": _omero,
    "plate": _plate,
    "well": _well,
    "image-label": _image_label,
    "labels": _labels,
    "bioformats2raw.layout": _layout,
}


# --- values or None -------------------------------------------------------------------------------


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _listed(value: Any, key: str) -> list[Any]:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, list) else []


def _objects(items: list[Any]) -> list[Json]:
    """The entries in their places, with empty objects for those that are none."""
    return [item if isinstance(item, dict) else {} for item in items]


def _column(items: list[Any], key: str) -> list[str | None]:
    return [_text(item.get(key)) for item in _objects(items)]
