"""Arrays against what the document of their image says of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from platestore.spec.findings import Finding
from platestore.spec.multiscales import ImagesMeta, MultiScaleMeta
from platestore.storage.hierarchy import read_array
from platestore.tree.location import Location


def misfits(location: Location, former: ImagesMeta, meta: ImagesMeta) -> Iterator[Finding]:
    """Arrays that a document lists anew, or with other axes than before, and that are not as it says."""
    before = {pair for image in former.multiscales for pair in _axes_by_path(image)}
    orders = [image.get_dataset_paths() for image in former.multiscales]
    for i, image in enumerate(meta.multiscales):
        if image.get_dataset_paths() not in orders:
            yield from _order_findings(location, image, f"multiscales[{i}].datasets")
        for path, names in _axes_by_path(image):
            if (path, names) not in before:
                yield from _array_findings(location.child(path), names, f"multiscales[{i}], dataset {path!r}")


def _order_findings(location: Location, image: MultiScaleMeta, where: str) -> Iterator[Finding]:
    shapes: dict[str, list[int]] = {}
    for path in image.get_dataset_paths():
        place = location.child(path)
        document = read_array(place.storage, place.path, place.zarr_format)
        if document is not None and isinstance(document.content.get("shape"), list):
            shapes[path] = document.content["shape"]
    for (finer, one), (coarser, other) in itertools.pairwise(shapes.items()):
        if any(a < b for a, b in zip(one, other, strict=False)):
            yield Finding(
                "level-order", where, f"{coarser!r}, of {other}, is larger than {finer!r} before it"
            )


def _axes_by_path(image: MultiScaleMeta) -> Iterator[tuple[str, tuple[str, ...]]]:
    names = tuple(axis.name for axis in image.axes)
    return ((path, names) for path in image.get_dataset_paths())


def _array_findings(place: Location, names: tuple[str, ...], where: str) -> Iterator[Finding]:
    document = read_array(place.storage, place.path, place.zarr_format)
    if document is None:
        yield Finding("member-missing", where, "is listed, but there is no such array")
        return
    shape, known = document.content.get("shape"), document.content.get("dimension_names")
    if isinstance(shape, list) and len(shape) != len(names):
        yield Finding("array-rank", where, f"has {len(shape)} dimensions, and there are {len(names)} axes")
    elif place.zarr_format == 3 and known != list(names):
        there = "no 'dimension_names'" if known is None else f"the 'dimension_names' {known}"
        yield Finding("dimension-names", where, f"the array has {there}, and the axes are {list(names)}")
