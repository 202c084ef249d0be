"""Whether label images fit the image that they belong to."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from platestore.checking.hierarchy.levels import Image, ListedLevel
from platestore.spec.findings import Finding

_LABELS = "labels"


def label_findings(label: Image, parent: Image | None) -> Iterator[Finding]:
    """Whether a label image has the levels, types and shapes that it should have.

    Parameters
    ----------
    label : Image
        The label image.
    parent : Image, optional
        The image that it belongs to, if that is readable.
    """
    for level in label.levels:
        if level.facts.dtype is not None and not level.facts.is_integer:
            yield Finding(
                "label-dtype",
                label.ngff.type_key,
                f"labels are integers, and the array is {level.facts.dtype}",
                label.ngff.loose,
                level.facts.file,
                "an integer type",
                level.facts.dtype,
                f"OME-NGFF {label.version}, labels: pixels of label images are integers (0.5: MUST)",
            )
    if parent is None:
        return
    if label.count != parent.count:
        yield Finding(
            "label-levels",
            f"{label.location}.datasets",
            f"the label image has {label.count} levels, and its image has {parent.count}",
            file=label.file,
            expected=str(parent.count),
            found=str(label.count),
            rule=f"OME-NGFF {label.version}, labels: a label image has as many levels as its image (MUST)",
            hint="compute the pyramid of the image again, which makes those of its labels, too",
        )
    for index in range(min(label.count, parent.count)):
        mine, theirs = label.level_at(index), parent.level_at(index)
        if mine is not None and theirs is not None:
            yield from _shape_findings(mine, theirs, label, parent)


def _shape_findings(mine: ListedLevel, theirs: ListedLevel, label: Image, parent: Image) -> Iterator[Finding]:
    sizes = _named_sizes(theirs, parent.axes)
    for name, size in _named_sizes(mine, label.axes).items():
        if size != 1 and sizes and size != sizes.get(name):
            there = f"has {sizes[name]}" if name in sizes else "does not have that axis"
            yield Finding(
                "label-shape",
                mine.location,
                f"the label image has {size} pixels along {name}, and its image {there}",
                "warning",
                label.file,
                f"{sizes[name]} or 1" if name in sizes else "1",
                str(size),
                f"OME-NGFF {label.version}, labels: each dimension is that of the image, or 1",
            )


def _named_sizes(level: ListedLevel, axes: list[str] | None) -> dict[str, int]:
    shape = level.facts.shape
    if shape is None or axes is None or len(shape) != len(axes):
        return {}
    return dict(zip(axes, shape, strict=True))


def image_of(path: str) -> str | None:
    """Path of the image that a label image belongs to by its place; None if it is not below ``labels``."""
    segments = path.split("/")
    if _LABELS not in segments[:-1]:
        return None
    return "/".join(segments[: len(segments) - 2 - segments[-2::-1].index(_LABELS)])


def source_path(path: str, source: str) -> str | None:
    """The path in the store that ``image-label.source.image`` means.

    Parameters
    ----------
    path : str
        Path of the label image.
    source : str
        As it is written, relative to the label image.

    Returns
    -------
    str or None
        None if it leads out of the store.
    """
    if source.startswith("/") or "\\" in source or "\0" in source or ":" in source.split("/")[0]:
        return None
    found = posixpath.normpath(posixpath.join("/", path, source)).lstrip("/")
    depth = len(path.split("/")) if path else 0
    for segment in source.split("/"):
        depth += {"..": -1, "": 0, ".": 0}.get(segment, 1)
        if depth < 0:
            return None
    return "" if found == "." else found
