"""What is there, in the terms of the documents: arrays of an image, fields of a well, acquisitions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from pydantic import ValidationError

from platestore.acquisition.runlog import GROUP
from platestore.arrays.metadata import summarise
from platestore.checking.whole.disk import SPECIAL, Disk, DiskDirectory, may_be_level
from platestore.checking.whole.images import Array
from platestore.checking.whole.rebuild import objects
from platestore.errors import PlatestoreError
from platestore.spec.base import read_model
from platestore.spec.labels import LabelImageMeta
from platestore.spec.multiscales import ImagesMeta
from platestore.spec.names import ALPHANUMERIC, split_path
from platestore.spec.own import Intent, OwnMeta, check_intent
from platestore.spec.versions import Kind, of, only_ours
from platestore.storage.base import DOCUMENTS, join
from platestore.storage.documents import serialise
from platestore.storage.hierarchy import ArrayDocument


def read_image(here: DiskDirectory) -> ImagesMeta | None:
    """The metadata of an image, read as leniently as can be; None if that fails."""
    if here.zarr_format is None or here.kind not in ("image", "label"):
        return None
    kind: Kind = "label" if here.kind == "label" else "image"
    model = LabelImageMeta if kind == "label" else ImagesMeta
    try:
        parts = of(here.attributes, here.zarr_format).unpack(here.attributes, kind)
        meta: ImagesMeta = read_model(model, parts, location="", path=here.path)[0]
    except PlatestoreError:
        return None
    for image in meta.multiscales:
        for dataset in image.datasets:
            with contextlib.suppress(PlatestoreError):  # "./0" and "0/" are 0; what leads out stays as it is
                dataset.path = split_path(dataset.path, location="", document="")
    return meta


def is_damaged(record: Any) -> bool:
    """Whether the record of an unfinished change cannot be read, or names what is not of its group."""
    try:
        intent = Intent.model_validate(record)
        check_intent(intent, document="")
    except (ValidationError, PlatestoreError):
        return True
    return False


def damaged_own_keys(own: Mapping[str, Any]) -> list[str]:
    """Keys of this library's namespace whose values it could not read; records are looked at one by one."""
    out = []
    for key, value in own.items():
        try:
            OwnMeta.model_validate({key: value} if key != "intents" else {})
        except ValidationError:
            out.append(key)
    if "intents" in own and not isinstance(own["intents"], (list, type(None))):
        out.append("intents")
    return out


def array_facts(here: DiskDirectory) -> Array | None:
    """Shape, data type and dimension names of an array; None if its document does not tell."""
    if here.state != "array" or here.zarr_format is None:
        return None
    try:
        data = serialise(here.content, where=here.path)
        summary = summarise(ArrayDocument(here.path, here.zarr_format, data))
    except PlatestoreError:
        return None
    names = here.content.get("dimension_names") or here.attributes.get("_ARRAY_DIMENSIONS")
    plain = isinstance(names, list) and all(isinstance(n, str) for n in names)
    return Array(summary.shape, summary.dtype, tuple(names) if plain and names else None)


def is_inside(path: Any) -> bool:
    """Whether a path that a document gives is one of a member: plain, and inside its group."""
    try:
        return isinstance(path, str) and split_path(path, location="", document="") == path
    except PlatestoreError:
        return False


def arrays_of(disk: Disk, here: DiskDirectory, meta: ImagesMeta | None) -> list[str]:
    """Paths of the arrays of an image: those beside its document that can be levels, and listed ones."""
    found = [
        name
        for name in here.directories
        if name not in SPECIAL
        and disk.role(join(here.path, name)) == "array"
        and may_be_level(disk[join(here.path, name)])
    ]
    # What lost its document is one only if it is listed, or cut as the arrays beside it.
    ranks = {len(disk[join(here.path, n)].content.get("shape") or ()) for n in found}
    known = set(meta.paths()) if meta is not None else set()
    sound = {name for name in found if disk[join(here.path, name)].state == "array"}
    found = [n for n in found if n in sound | known or not sound or disk.indices(join(here.path, n)) in ranks]
    for path in meta.paths() if meta is not None else ():
        if is_inside(path) and path not in found and disk.role(join(here.path, path)) == "array":
            found.append(path)
    return found


def wells_of(disk: Disk, path: str, listed: Iterable[str]) -> set[str]:
    """Paths of the wells of a plate: those that say so, and listed ones whose document may be lost.

    Where the list of wells is lost as well, what holds fields is one, whatever became of its own document.
    """
    role = disk.role if isinstance(disk[path].part("plate", "plate"), dict) else disk.listed_role
    found = {
        f"{row}/{column}"
        for row in filter(ALPHANUMERIC.fullmatch, disk[path].directories)
        for column in filter(ALPHANUMERIC.fullmatch, disk[join(path, row)].directories)
        if role(join(path, row, column)) == "well"
    }
    for well in listed:
        if is_inside(well) and well.count("/") == 1 and _is_kept(disk, join(path, well), "well"):
            found.add(well)
    return found


def members(disk: Disk, path: str, kind: Literal["well", "labels"]) -> list[str]:
    """Names of the images in a well or a group of label images.

    Where the list of them is lost as well, what holds levels is one, whatever became of its own document.
    """
    part = disk[path].part(kind, kind)
    listed = part.get("images") if isinstance(part, dict) else part
    role = disk.role if isinstance(listed, list) else disk.listed_role
    names = (name for name in disk[path].directories if name not in SPECIAL)
    return [name for name in names if role(join(path, name)) == "image"]


def label_images_of(disk: Disk, path: str, listed: Iterable[Any]) -> list[str]:
    """Paths of the label images that are there, below their group."""
    names = members(disk, path, "labels")
    names += [n for n in listed if is_inside(n) and _is_kept(disk, join(path, n), "image")]
    return list(dict.fromkeys(names))


def labels_listed_above(disk: Disk, path: str) -> list[str]:
    """Names of label images that the image around their group lists in its own document."""
    image = disk[path.rpartition("/")[0]]
    if path.rpartition("/")[2] != "labels" or image.state != "group" or image.zarr_format is None:
        return []
    return of(image.attributes, image.zarr_format).labels_of_image(image.attributes)


def _is_kept(disk: Disk, path: str, role: str) -> bool:
    """Whether a listed member is one, may have been one, or cannot be looked at for the moment."""
    kinds = ("image", "label") if role == "image" else (role,)
    return disk[path].kind in kinds or disk.listed_role(path) in (role, "unreadable")


def fields_of(disk: Disk, path: str) -> dict[str, int | None]:
    """The fields of a well that are there, with their acquisitions as far as the document knows them."""
    here = disk[path]
    document = here.part("well", "well")
    entries = objects(document.get("images")) if isinstance(document, dict) else []
    named = [entry for entry in reversed(entries) if isinstance(entry.get("path"), str)]
    known: dict[Any, Any] = {entry["path"]: entry.get("acquisition") for entry in named}
    names = list(filter(ALPHANUMERIC.fullmatch, members(disk, path, "well")))
    names += [n for n in known if n in here.directories and _is_kept(disk, join(path, n), "image")]
    out: dict[str, int | None] = {}
    for name in dict.fromkeys(names):
        found = known.get(name)
        out[name] = found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else None
    return out


def acquisition_ids(disk: Disk, well: str) -> list[int]:
    """Identifiers of the acquisitions of the plate around a well."""
    parts = well.split("/")
    if len(parts) < 2:
        return []
    document = disk["/".join(parts[:-2])].part("plate", "plate")
    items = objects(document.get("acquisitions")) if isinstance(document, dict) else []
    return [i for item in items if isinstance(i := item.get("id"), int) and not isinstance(i, bool)]


def is_ours(here: DiskDirectory) -> bool:
    """Whether a group holds nothing that somebody else wrote."""
    ours = only_ours(here.attributes)
    return ours and not set(here.files) - DOCUMENTS and here.state in ("bare", "group")


def is_beside_levels(here: DiskDirectory) -> bool:
    """Whether a group is known that is no part of the image: tables of measurements, or columns of frames.

    The former are kept by ngio and fractal, the latter by acquisitions.
    """
    name, listed = here.path.rpartition("/")[2], here.attributes.get("tables")
    if here.state != "group":
        return False
    return (name == "tables" and isinstance(listed, list)) or (name == GROUP and "frames" in here.own)


def paths_in(value: Any) -> Iterator[str]:
    """Every string of a record that may be a path."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from paths_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from paths_in(item)
