"""Whether the attributes of a group are OME-NGFF: the version, the keys, and all that is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from platestore.checking.rules.crossing import cross_findings
from platestore.checking.rules.grammar import Collector, wrong_type
from platestore.checking.rules.tables import documents
from platestore.spec import versions
from platestore.spec.findings import Finding, Level
from platestore.spec.values import Json, shown

_OME, _LAYOUT = "ome", "bioformats2raw.layout"
# Of what a group is: the specification lets a plate take precedence over a collection of images.
_KINDS = (
    ("plate", "plate"),
    ("multiscales", "image"),
    (_LAYOUT, "series"),
    ("well", "well"),
    ("image-label", "label"),
    ("labels", "labels"),
    ("series", "ome"),
)
_MAIN = tuple(key for key, _ in _KINDS)
#: Keys that make a bare document one of OME-NGFF; 0.6 has a key of its own.
_RECOGNISED = (*_MAIN, "scene")
# What the parent says a group is, and the key it must have then.
_NEEDED = {
    "plate": "plate",
    "well": "well",
    "image": "multiscales",
    "label": "multiscales",
    "labels": "labels",
    "series": _LAYOUT,
    "ome": "series",
}


@dataclass(frozen=True)
class Judgement:
    """What became of the attributes of one group.

    Attributes
    ----------
    version : str or None
        The version that is stated; 0.4 where its documents state none. None if nothing says one.
    ngff : Adapter
        The version that the attributes are laid out as.
    kind : str
        What the group is: ``"plate"``, ``"series"``, ``"image"``, ``"label"``, ``"well"``, ``"labels"``,
        ``"ome"`` (the list of series beside the images of a collection) or ``"unknown"``.
    findings : list of Finding
        Everything that is wrong, without ``file``.
    parts : dict
        The mapping that holds the OME keys, as it was given; empty if there is none.
    """

    version: str | None
    ngff: versions.Adapter
    kind: str
    findings: list[Finding]
    parts: Json = field(repr=False)

    @property
    def valid(self) -> bool:
        """Whether there is no error."""
        return all(finding.level != "error" for finding in self.findings)


def judge(
    attributes: Any, *, zarr_format: int | None = None, strict: bool = False, kind: str | None = None
) -> Judgement:
    """Judge the attributes of a group.

    Parameters
    ----------
    attributes : object
        Parsed JSON, whatever it is.
    zarr_format : {2, 3}, optional
        Of the group; None if it is not known, as for a bare file.
    strict : bool
        Whether what the strict schemas ask for is required.
    kind : str, optional
        What the group's parent says it is (see :class:`Judgement`); None to go by the keys alone.

    Returns
    -------
    Judgement
        All findings; nothing is raised, whatever the attributes are.
    """
    if not isinstance(attributes, dict):
        rule = "attributes: the attributes of a group are a JSON object (MUST)"
        ngff = versions.assumed(zarr_format or 3)
        return Judgement(None, ngff, "unknown", [wrong_type(attributes, "an object", "", rule, "error")], {})
    wrapped = _is_wrapped(attributes, zarr_format)
    ngff = versions.laid_out(attributes, (_OME,) if wrapped else ())
    out = Collector(ngff, strict=strict)
    inner = attributes.get(_OME)
    if wrapped and not isinstance(inner, dict):
        return Judgement(None, ngff, "unknown", _no_ome(attributes, out, kind), {})
    parts: Json = inner if wrapped and isinstance(inner, dict) else attributes
    version, final = _judge_version(parts, out, zarr_format)
    if not final:
        _judge_keys(parts, out, attributes=attributes, kind=kind)
    return Judgement(version, ngff, _kind_of(parts), out.result(), parts)


def _is_wrapped(attributes: Json, zarr_format: int | None) -> bool:
    """Whether the attributes are laid out as in 0.5, with an ``ome`` object."""
    inner = attributes.get(_OME)
    if isinstance(inner, dict) and (zarr_format != 2 or any(key in inner for key in _RECOGNISED)):
        return zarr_format != 2 or not any(key in attributes for key in _MAIN)
    flat = any(key in attributes for key in _MAIN)
    return not flat and (_OME in attributes or zarr_format == 3)


def _kind_of(parts: Json) -> str:
    for key, kind in _KINDS:
        if key in parts:
            return "label" if kind == "image" and "image-label" in parts else kind
    return "unknown"


def _no_ome(attributes: Json, out: Collector, kind: str | None) -> list[Finding]:
    if _OME in attributes:
        rule = "attributes: 'ome' is an object (MUST)"
        out.add(wrong_type(attributes[_OME], "an object", _OME, rule, "error"))
    else:
        _judge_keys({}, out, attributes=attributes, kind=kind)
    return out.result()


# --- versions -------------------------------------------------------------------------------------


def _judge_version(parts: Json, out: Collector, zarr_format: int | None) -> tuple[str | None, bool]:
    """The version that is stated, and whether nothing more can be said about such documents."""
    ngff, wrapped = out.ngff, bool(out.ngff.place)
    version: str | None = None if wrapped else ngff.name
    for where, stated in _stated(parts, wrapped=wrapped):
        if not isinstance(stated, str):
            continue
        known = versions.standing(stated)
        if known in versions.STANDINGS:
            what, hint = versions.STANDINGS[known]
            code: Literal["version-too-old", "version-not-yet"]
            code = "version-too-old" if known == "old" else "version-not-yet"
            message = f"is OME-NGFF {shown(stated)}, which {what}"
            out.add(
                Finding(
                    code,
                    where,
                    message,
                    expected=" or ".join(versions.ADAPTERS),
                    found=shown(stated),
                    hint=hint,
                )
            )
            return stated, True
        version = stated if wrapped or version is None else version
    if wrapped:
        _judge_wrapped_version(parts, out)
    if zarr_format is not None and ngff.zarr_format != zarr_format:
        _judge_format(parts, out, zarr_format)
    return version, False


def _stated(parts: Json, *, wrapped: bool) -> Iterator[tuple[str, Any]]:
    if wrapped:
        if "version" in parts:
            yield f"{_OME}.version", parts["version"]
        return
    images = parts.get("multiscales")
    for key in ("plate", "well", "image-label"):
        yield from _stated_in(parts.get(key), key)
    for i, image in enumerate(images if isinstance(images, list) else ()):
        yield from _stated_in(image, f"multiscales[{i}]")


def _stated_in(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and "version" in value:
        yield f"{where}.version", value["version"]


def _judge_wrapped_version(parts: Json, out: Collector) -> None:
    rule, name = "attributes: 'ome' states the version (MUST)", out.ngff.name
    if "version" not in parts:
        hint = f'add "version": "{name}"'
        # No schema is about lists of labels, which the reference writer gives no version.
        level: Level = "warning" if set(parts) == {"labels"} else "error"
        out.add(Finding("version-missing", _OME, "has no 'version'", level, "", name, None, rule, hint))
        return
    stated = parts["version"]
    where = f"{_OME}.version"
    if not isinstance(stated, str):
        out.add(wrong_type(stated, "a string", where, rule, "error"))
    elif stated != name:
        message = f"is {shown(stated)}; {name!r} is required"
        out.add(Finding("version-wrong", where, message, expected=repr(name), found=shown(stated), rule=rule))


def _judge_format(parts: Json, out: Collector, zarr_format: int) -> None:
    if not any(key in parts for key in _MAIN):
        return
    ngff = out.ngff
    out.add(
        Finding(
            "version-format",
            ".".join(ngff.place),
            versions.lies_wrongly(ngff, zarr_format),
            expected=f"zarr v{ngff.zarr_format}",
            found=f"zarr v{zarr_format}",
            rule=f"attributes: the hierarchy is stored as zarr v{ngff.zarr_format} (MUST)",
        )
    )


# --- keys -----------------------------------------------------------------------------------------


def _judge_keys(parts: Json, out: Collector, *, attributes: Json, kind: str | None) -> None:
    prefix = out.ngff.prefix
    present = [key for key in _MAIN if key in parts]
    if not prefix and any(key not in ("labels", "series") for key in present):
        # Beside others, lists of these names at the top level belong to somebody else.
        present = [key for key in present if key not in ("labels", "series")]
    needed = _NEEDED.get(kind or "")
    if not present or (needed is not None and needed not in parts):
        _missing_key(attributes, out, kind, needed)
    if "image-label" in parts and "multiscales" not in parts:
        rule = "image-label: a label image is a multiscale image (MUST)"
        where = f"{prefix}image-label"
        out.add(Finding("label-not-image", where, "has no 'multiscales' beside it", "warning", rule=rule))
    if kind == "label" and "image-label" not in parts:
        rule = "image-label: a label image has 'image-label' (SHOULD)"
        message = "has no 'image-label', which is recommended"
        out.add(Finding("key-recommended", prefix.rstrip("."), message, "advice", rule=rule))
    if "omero" in parts and "multiscales" in parts:
        present.append("omero")
    shapes = documents(out.ngff)
    if out.ngff.labels_of_image(attributes):
        present = [key for key in present if key != "labels"]
        hint = "`platestore check --repair` moves it"
        out.add(Finding("labels-misplaced", f"{prefix}labels", versions.LABELS_MISPLACED, hint=hint))
    for key in present:
        where, shape = f"{prefix}{key}", shapes[key]
        shape.judge(parts[key], where, out, f"{key}: {key!r} is {shape.words}", "error")
        out.extend(cross_findings(key, parts[key], where, out.ngff.loose))


def _missing_key(attributes: Json, out: Collector, kind: str | None, needed: str | None) -> None:
    where, zarr_format = ".".join(out.ngff.place), out.ngff.zarr_format
    own = attributes.get(versions.NAMESPACE)
    document = {"attributes": attributes} if zarr_format == 3 else attributes
    waiting = _kind_of(own) if isinstance(own, dict) else "unknown"
    if waiting != "unknown" and kind in (None, waiting):
        message = f"is {_ARTICLES[waiting]} that is still empty, which the specification cannot say"
        hint = "its metadata waits in platestore's own namespace until there is something in it"
        out.add(Finding("still-empty", where, message, "warning", hint=hint))
    elif (elsewhere := versions.misplaced(document, zarr_format)) is not None:
        out.add(Finding("metadata-misplaced", where, elsewhere, hint="move it there"))
    elif needed is not None:
        message = f"has no {needed!r}; its parent says it is {_ARTICLES.get(kind or '', kind)}"
        rule = f"{needed}: the group has the key {needed!r} (MUST)"
        out.add(Finding("key-missing", where, message, expected=needed, rule=rule))
    else:
        keys = ", ".join(_MAIN)
        out.add(Finding("no-metadata", where, "is no OME-NGFF metadata", expected=f"one of {keys}"))


_ARTICLES = {
    "plate": "a plate",
    "well": "a well",
    "image": "an image",
    "label": "a label image",
    "labels": "the list of label images",
    "series": "a collection of images",
    "ome": "the list of the images of a collection",
}
