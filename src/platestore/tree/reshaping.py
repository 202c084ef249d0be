"""Changing the shape of an image: its levels and label images follow, in one recorded change.

The position's document records the new shapes of all arrays before the first of them changes, with the marks
of what is to be computed anew and the names of the channels. Label images change first, then the coarser
levels, and level 0 last, so that no level of a growing image is ever shorter than level 0. Every step can be
repeated: the next writer who finds the record completes it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from platestore.arrays.metadata import summarise
from platestore.errors import ArgumentError, DanglingError, InvalidMetadataError
from platestore.spec import edits, pyramids
from platestore.spec.axes import channel_index
from platestore.spec.geometry import changed_regions, moved_shapes
from platestore.spec.multiscales import ImagesMeta, MultiScaleMeta
from platestore.spec.omero import complete
from platestore.spec.own import Intent
from platestore.storage.base import join
from platestore.storage.hierarchy import group_exists, read_array
from platestore.tree import intents
from platestore.tree.editor import Draft, Upkeep
from platestore.tree.image import LABELS, ImageEditor, LabelImageEditor
from platestore.tree.levels import documents_of, factors_of
from platestore.tree.location import Location


class Keeper:
    """Changes the shape of one listed array together with what depends on it.

    Parameters
    ----------
    node : ImageEditor
        The position, or label image, that lists the array.
    name : str
        Its name there.
    """

    def __init__(self, node: ImageEditor, name: str) -> None:
        self._node = node
        self._name = name

    def __reduce__(self) -> tuple[Any, ...]:
        # The node is opened again where the array is used.
        return _reopened, (type(self._node), self._node.location, self._node.upkeep, self._name)

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Exclude other writers of the image and its label images."""
        return _locked(self._node)

    def resize(self, shape: tuple[int, ...]) -> None:
        """Give the array another shape, and all others theirs."""
        resize(self._node, self._name, shape)


def _reopened(cls: type[ImageEditor], location: Location, upkeep: Upkeep, name: str) -> Keeper:
    return Keeper(cls(location, upkeep), name)


@dataclass
class _Change:
    """What is to change.

    Attributes
    ----------
    shapes : dict
        New shapes, by the array's path in the position, in the order in which they change.
    regions : list
        Regions of the image on which its levels depend anew.
    labels : dict
        The same of label images, by their path in the position.
    """

    shapes: dict[str, list[int]] = field(default_factory=dict)
    regions: list[pyramids.Region] = field(default_factory=list)
    labels: dict[str, list[pyramids.Region]] = field(default_factory=dict)


def resize(node: ImageEditor, name: str, shape: tuple[int, ...]) -> None:
    """Give a listed array another shape, and its levels and label images theirs.

    Raises
    ------
    ArgumentError, InvalidMetadataError
        As for :meth:`ImageArray.resize`; nothing is changed then.
    """
    from platestore.arrays.image import check_resize, resize_array  # which brings zarr

    location = node.location
    with _locked(node), contextlib.ExitStack() as locks:
        location.storage.require_writable(location.path)
        found = node.peek().find(name)
        if found is None:  # nobody refers to it any more
            resize_array(location.storage, node.array_document(name), shape)
            return
        labels = labels_of(node, found[0])
        for label in labels:
            locks.enter_context(location.storage.lock(label.location.path))
        change, channels = _plan(node, found[0], name, shape, labels)
        for path, new in change.shapes.items():
            place = location.child(path)
            locks.enter_context(location.storage.lock(place.path))
            check_resize(location.storage, node.array_document(path), new)
        if len(change.shapes) == 1 and channels is None:
            resize_array(location.storage, node.array_document(name), shape)
            return
        node.finish(_record(node, name, change, channels))


def _record(node: ImageEditor, name: str, change: _Change, channels: int | None) -> Intent:
    intent = Intent(
        operation="resize",
        id=intents.new_id(),
        path=name,
        shapes=change.shapes,
        regions=change.labels or None,
    )
    dtype = summarise(node.array_document(name)).dtype

    def record(draft: Draft[ImagesMeta]) -> None:
        found = draft.meta.find(name)
        if found is not None:
            pyramids.mark_resized(found[0], change.shapes[name], change.regions)
        if channels is not None:
            edits.fit_channels(draft.meta, channels, dtype)
        if draft.meta.omero is not None:
            complete(draft.meta.omero, dtype)
        draft.add_intent(intent)

    node.commit(record, check=False)
    return intent


def finish_resize(node: ImageEditor, intent: Intent) -> None:
    """Change all arrays, then take the record away; every step can be repeated."""
    shapes = intent.shapes or {}
    for path, regions in (intent.regions or {}).items():
        _mark_label(node, path, regions, shapes)
    apply_shapes(node, shapes)
    node.drop_intent(intent)


def apply_shapes(node: ImageEditor, shapes: Mapping[str, Sequence[int]]) -> None:
    """Give arrays their new shapes; those that are gone meanwhile are passed over."""
    from platestore.arrays.image import resize_array  # which brings zarr

    location = node.location
    for path, shape in shapes.items():
        place = location.child(path)
        document = read_array(place.storage, place.path, place.zarr_format)
        if document is not None and len(summarise(document).shape) == len(shape):
            resize_array(place.storage, document, shape)


def _mark_label(
    node: ImageEditor, path: str, regions: Sequence[pyramids.Region], shapes: Mapping[str, Sequence[int]]
) -> None:
    place = node.location.child(path)
    if not group_exists(place.storage, place.path, place.zarr_format):
        return
    label: ImageEditor = node.open_group(path)

    def mark(draft: Draft[ImagesMeta]) -> None:
        image = draft.meta.multiscales[0]
        shape = shapes.get(join(path, image.datasets[0].path)) if image.datasets else None
        if shape is not None:
            pyramids.mark_resized(image, shape, regions)

    label.commit(mark, check=False)


# --- what is to change ----------------------------------------------------------------------------


def _plan(
    node: ImageEditor,
    image: MultiScaleMeta,
    name: str,
    shape: tuple[int, ...],
    labels: Sequence[LabelImageEditor],
) -> tuple[_Change, int | None]:
    """All that changes with an array, checked; and how many channels the position is to name."""
    base = image.datasets[0].path
    if name != base:
        raise ArgumentError(
            f"{name!r} is a level of {base!r}, and has the shape that follows from it",
            path=node.location.where,
            hint=f"change the shape of {base!r}: its levels follow",
        )
    change = _Change()
    old = summarise(node.array_document(name)).shape
    if isinstance(node, LabelImageEditor):
        _check_label(node, shape)
    for label in labels:
        _follow(node, image, label, old, shape, change)
    levels, change.regions = _moved(node, image, shape)
    change.shapes.update(levels)
    axis, meta = channel_index(image.axes), node.peek()
    named = meta.omero
    if axis is None or named is None or not _is_main(node, image) or old[axis] == shape[axis]:
        return change, None
    # Names beyond the last channel may be those of channels that are still to come.
    is_short = len(named.channels) < shape[axis] or len(named.channels) == old[axis]
    return change, shape[axis] if is_short else None


def _is_main(node: ImageEditor, image: MultiScaleMeta) -> bool:
    """Whether an image is the position's first, whose channels are named and which has the label images.

    Models that were read at different moments are different objects, so their levels are compared.
    """
    first = node.peek().multiscales[0].datasets
    return bool(first) and first[0].path == image.datasets[0].path


def _moved(
    node: ImageEditor, image: MultiScaleMeta, shape: tuple[int, ...]
) -> tuple[dict[str, list[int]], list[pyramids.Region]]:
    """New shapes of the levels of one image, the coarsest first, and what of them is to be computed."""
    documents = documents_of(node, image)
    shapes = [summarise(d).shape for d in documents]
    if len(shape) != len(shapes[0]):
        raise ArgumentError(f"{shape} is no shape of {len(shapes[0])} dimensions", path=node.location.where)
    steps = factors_of(node, image, documents, exact=False)
    moved = moved_shapes(shapes, steps, shape, where=node.location.where)
    rows = zip(image.datasets, moved, strict=True)
    new = {dataset.path: list(row) for dataset, row in rows}
    return dict(reversed(new.items())), changed_regions(shapes[0], shape, steps)


def labels_of(node: ImageEditor, image: MultiScaleMeta) -> list[LabelImageEditor]:
    """The label images of an image; those that are listed and not there are nothing to take along."""
    if isinstance(node, LabelImageEditor) or not _is_main(node, image):
        return []
    out: list[LabelImageEditor] = []
    for name in node.label_names:
        with contextlib.suppress(DanglingError):
            label = node.get_label(name)
            if label.meta.multiscales[0].datasets:
                out.append(label)
    return out


def label_shapes(
    node: ImageEditor, image: MultiScaleMeta, old: Sequence[int], new: Sequence[int]
) -> dict[str, list[int]]:
    """Shapes of all arrays of the label images after the image got another one, by their path here."""
    change = _Change()
    for label in labels_of(node, image):
        _follow(node, image, label, old, new, change)
    return change.shapes


def _follow(
    node: ImageEditor,
    image: MultiScaleMeta,
    label: LabelImageEditor,
    old: Sequence[int],
    new: Sequence[int],
    change: _Change,
) -> None:
    """Take a label image along."""
    theirs = label.peek().multiscales[0]
    inner = label.location.path.removeprefix(node.location.path).strip("/")
    before = summarise(label.array_document(theirs.datasets[0].path)).shape
    names = [axis.name for axis in theirs.axes]
    shape = label_shape(names, before, image, old, new, where=label.location.where)
    if tuple(shape) == tuple(before):
        return  # of a channel that is added, say
    levels, regions = _moved(label, theirs, shape)
    change.shapes.update({join(inner, path): size for path, size in levels.items()})
    if len(levels) > 1:
        change.labels[inner] = regions


def label_shape(
    names: Sequence[str],
    shape: Sequence[int],
    image: MultiScaleMeta,
    old: Sequence[int],
    new: Sequence[int],
    *,
    where: str,
) -> tuple[int, ...]:
    """The shape of a label image after its image got another one.

    It follows along the axes on which it is as long as the image. Where it has length 1 and the image has
    not, it holds for all of it, and stays; one of a single channel holds for all channels.

    Raises
    ------
    InvalidMetadataError
        If it has a length that does not fit the image, on an axis that changes.
    """
    axes = [axis.name.lower() for axis in image.axes]
    channel = channel_index(image.axes)
    out = []
    for name, size in zip(names, shape, strict=True):
        i = axes.index(name.lower()) if name.lower() in axes else None
        if i is None or old[i] == new[i] or (i == channel and size == 1):
            out.append(size)
        elif size == old[i]:
            out.append(new[i])
        elif size == 1:
            out.append(1)
        else:
            raise InvalidMetadataError(
                f"the label image has {size} pixels along {name}, and its image {old[i]}: it cannot follow a "
                f"change to {new[i]}",
                path=where,
                hint="delete_label() first, and create it anew afterwards",
            )
    return tuple(out)


def image_of_label(label: LabelImageEditor) -> ImageEditor | None:
    """The position that a label image lies in, if there is one in the store."""
    segments = label.location.path.split("/")
    if LABELS not in segments:
        return None
    depth = len(segments) - (len(segments) - 1 - segments[::-1].index(LABELS))
    above = label.location.parent(depth)
    if above is None or not group_exists(above.storage, above.path, above.zarr_format):
        return None
    position = ImageEditor(above, label.upkeep)
    return position if position.meta.multiscales[0].datasets else None


def _check_label(label: LabelImageEditor, shape: Sequence[int]) -> None:
    """Refuse a shape that does not fit the image."""
    position = image_of_label(label)
    if position is None:
        return
    image = position.meta.multiscales[0]
    size = summarise(position.array_document(image.datasets[0].path)).shape
    differing = _differing(label, shape, image, size)
    if differing is not None:
        name, n, full = differing
        raise ArgumentError(
            f"the label image would have {n} pixels along {name}, and its image has {full}",
            path=label.location.where,
            hint=f"change the shape of {image.datasets[0].path!r} of the position: labels follow",
        )


def check_fits(label: LabelImageEditor, image: MultiScaleMeta, size: Sequence[int]) -> None:
    """Refuse a new shape of an image, of other pixels, that a label image does not fit.

    Raises
    ------
    ArgumentError
        If it does not.
    """
    path = label.meta.multiscales[0].datasets[0].path
    differing = _differing(label, summarise(label.array_document(path)).shape, image, size)
    if differing is not None:
        name, n, full = differing
        raise ArgumentError(
            f"the label image has {n} pixels along {name}, and the new image would have {full}",
            path=label.location.where,
            hint="delete_label() first; or resize() the image, and write the pixels: labels follow",
        )


def _differing(
    label: LabelImageEditor, shape: Sequence[int], image: MultiScaleMeta, size: Sequence[int]
) -> tuple[str, int, int] | None:
    """An axis along which a shape is no label image's: its name, its size and that of the image."""
    full = {axis.name.lower(): n for axis, n in zip(image.axes, size, strict=True)}
    rows = zip(label.axis_names, shape, strict=True)
    return next(((name, n, full[name]) for name, n in rows if n not in (1, full.get(name, n))), None)


def check_own_level(label: LabelImageEditor, name: str) -> None:
    """Refuse to remove a level of a label image that its image has too.

    Raises
    ------
    ArgumentError
        If it has.
    """
    paths = [d.path for d in label.peek().multiscales[0].datasets]
    position = image_of_label(label) if name in paths[1:] else None
    if position is not None and len(position.meta.multiscales[0].datasets) == len(paths):
        same = position.meta.multiscales[0].datasets[paths.index(name)].path
        raise ArgumentError(
            f"{name!r} belongs to the level {same!r} of the image",
            path=label.location.where,
            hint=f"del position[{same!r}] removes it from the image and its label images",
        )


@contextlib.contextmanager
def _locked(node: ImageEditor) -> Iterator[None]:
    """The locks of a node's document and, first, of the position around a label image."""
    location = node.location
    with contextlib.ExitStack() as locks:
        if isinstance(node, LabelImageEditor):
            position = image_of_label(node)
            if position is not None:
                locks.enter_context(position.location.storage.lock(position.location.path))
        locks.enter_context(location.storage.lock(location.path))
        yield
