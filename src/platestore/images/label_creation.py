"""Creating label images.

Order: the group of the labels exists, then the label image is built under a hidden name, with all its
pixels and levels; then one commit records that it takes its place, it is moved there, and the group lists
it. Whatever interrupts this, the group lists nothing that is not whole.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from platestore.arrays.layout import check_dtype
from platestore.arrays.metadata import summarise
from platestore.arrays.options import LayoutOptions, PyramidOptions
from platestore.errors import ArgumentError, NodeExistsError
from platestore.images.creation import create_image
from platestore.resources import Resources
from platestore.spec import versions
from platestore.spec.axes import channel_index
from platestore.spec.labels import (
    SOURCE,
    ImageLabelMeta,
    LabelColorMeta,
    LabelImageMeta,
    LabelPropertyMeta,
    LabelsMeta,
    LabelSourceMeta,
    check_colors,
    check_properties,
    default_colors,
)
from platestore.spec.multiscales import MultiScaleMeta
from platestore.spec.names import check_image_name
from platestore.spec.transforms import TransformationMeta, scale_of, translation_of
from platestore.storage.base import join
from platestore.storage.documents import check_json
from platestore.storage.hierarchy import create_node, group_exists, group_files
from platestore.tree import intents
from platestore.tree.case import check_case
from platestore.tree.image import LABELS, ImageEditor, LabelImageEditor, LabelsEditor
from platestore.tree.leftovers import require_free
from platestore.tree.levels import factors_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from platestore.arrays.types import DType, Pixels

#: Of more values the colors are left to the viewer: every reader of the document would pay for them.
MAX_DEFAULT_COLORS = 1024
_BLOCK = 2**18
_LEVEL = "0"


def create_label(
    position: ImageEditor,
    name: str,
    data: Any,
    colors: Any,
    properties: Any,
    options: LayoutOptions,
    pyramid: PyramidOptions,
) -> LabelImageEditor:
    """Create a label image; see :meth:`Position.create_label`."""
    position.location.storage.require_writable(position.location.path)
    check_image_name(name)
    if isinstance(position, LabelImageEditor):
        raise ArgumentError(
            "a label image has no labels of its own",
            path=position.location.where,
            hint="create it on the position",
        )
    pixels = _checked_pixels(position, data)
    facts = check_properties(properties) if properties is not None else None
    shown = check_colors(colors) if colors is not None else default_colors(_values(pixels))
    for item in (*shown, *(facts or ())):
        check_json(item.model_extra, where=position.location.where)
    document = _document(position, name, shown, facts)
    levels = _levels(position, pyramid)
    labels = position.labels_group
    if labels is not None:
        _check_absent(labels, name)
    return _Creation(position, name, document).run(pixels, options, levels)


# --- what is asked for ----------------------------------------------------------------------------


def _checked_pixels(position: ImageEditor, data: Any) -> Any:
    """The data with one dimension per axis, if they fit the image."""
    import numpy as np

    pixels = data if hasattr(data, "shape") and hasattr(data, "dtype") else np.asarray(data)
    check_label_dtype(pixels.dtype)
    datasets = position.meta.multiscales[0].datasets
    if not datasets:
        raise ArgumentError(
            "the position has no image yet",
            path=position.location.where,
            hint="create the image first: its labels follow its shape and scale",
        )
    shape = summarise(position.array_document(datasets[0].path)).shape
    axes = position.axes
    channel = channel_index(axes)
    if channel is not None and len(pixels.shape) == len(axes) - 1:
        # Channels have labels in common: the dimension is written, as the specification has it, with 1.
        pixels = pixels if isinstance(pixels, np.ndarray) else _sliceable(pixels)
        pixels = pixels[tuple(None if i == channel else slice(None) for i in range(len(axes)))]
    if len(pixels.shape) != len(shape) or any(
        n not in (1, m) for n, m in zip(pixels.shape, shape, strict=True)
    ):
        raise ArgumentError(
            f"labels of shape {tuple(pixels.shape)} do not fit the image of shape {shape} "
            f"({', '.join(axis.name for axis in axes)})",
            path=position.location.where,
            hint="each dimension must be that of the image, or 1 where it does not matter",
        )
    return pixels


def _sliceable(data: Any) -> Any:
    """Data that can be given another dimension by indexing: dask arrays as they are."""
    import numpy as np

    return data if hasattr(data, "__dask_graph__") else np.asarray(data)


def _document(
    position: ImageEditor,
    name: str,
    colors: list[LabelColorMeta],
    properties: list[LabelPropertyMeta] | None,
) -> LabelImageMeta:
    """The document of the label image as it is before it has an array."""
    image = position.meta.multiscales[0]
    ndim = len(image.axes)
    outer = image.coordinate_transformations
    return LabelImageMeta(
        multiscales=[
            MultiScaleMeta(
                axes=[axis.model_copy(deep=True) for axis in image.axes],
                datasets=[],
                name=name,
                coordinate_transformations=_copied(outer, ndim) if outer else None,
            )
        ],
        image_label=ImageLabelMeta(
            colors=colors, properties=properties, source=LabelSourceMeta(image=SOURCE)
        ),
    )


def _copied(steps: Sequence[TransformationMeta] | None, ndim: int) -> list[TransformationMeta]:
    """Transformations in their valid form: those of an image from elsewhere may lack something."""
    out = [TransformationMeta(type="scale", scale=scale_of(steps, ndim))]
    if any(step.type == "translation" for step in steps or ()):
        out.append(TransformationMeta(type="translation", translation=translation_of(steps, ndim)))
    return out


def _values(pixels: Any) -> Iterable[int]:
    """The values that get default colors; none if there are too many, or they are not in memory."""
    import numpy as np

    if not isinstance(pixels, np.ndarray):
        return ()
    found = values_present(pixels, MAX_DEFAULT_COLORS)
    return () if found is None else found


def values_present(pixels: Pixels, limit: int) -> list[int] | None:
    """The distinct values of an array, sorted.

    Parameters
    ----------
    pixels : numpy.ndarray
        Integers, at least one.
    limit : int
        How many values, beside 0, are worth collecting.

    Returns
    -------
    list of int or None
        None if there are more.

    Notes
    -----
    Objects are runs of one value, so only the pixels that differ from their neighbour are looked at: a
    pass costs little more than reading the data, and memory for one block of them.
    """
    import numpy as np

    found: set[int] = set()
    native = pixels.dtype.newbyteorder("=")
    for run in np.nditer(
        pixels, ["external_loop", "buffered"], op_dtypes=[native], casting="equiv", buffersize=_BLOCK
    ):
        whole = np.asarray(run)  # of contiguous data, everything at once
        for start in range(0, whole.size, _BLOCK):
            block = whole[start : start + _BLOCK]
            found.add(int(block[0]))
            found.update(_distinct(block[np.flatnonzero(block[1:] != block[:-1]) + 1]))
            if len(found - {0}) > limit:
                return None
    return sorted(found)


def _distinct(values: Pixels) -> list[int]:
    """The distinct values; where they lie close together, without sorting."""
    import numpy as np

    if not values.size:
        return []
    least, greatest = values.min(), values.max()
    span = int(greatest) - int(least)
    if span >= _BLOCK:
        return [int(v) for v in np.unique(values)]
    seen = np.zeros(span + 1, bool)
    # The difference wraps around in a signed type, and is right as an unsigned one.
    seen[(values - least).view(f"u{values.itemsize}")] = True
    return [int(least) + int(i) for i in np.flatnonzero(seen)]


def _levels(position: ImageEditor, pyramid: PyramidOptions) -> PyramidOptions:
    """The levels of the label image: as asked for, else as many as the image has, in the same steps."""
    image = position.meta.multiscales[0]
    count = len(image.datasets)
    levels = count if pyramid.levels is None else pyramid.levels
    if levels != "auto" and (isinstance(levels, bool) or not isinstance(levels, int) or levels < 1):
        raise ArgumentError(f'pyramid_levels must be an integer of 1 or more, or "auto", not {levels!r}')
    if levels == 1:
        return PyramidOptions()
    if levels != count:
        return replace(pyramid, levels=levels)
    # In the steps of the image, whoever made it; a dimension of 1 stays as it is.
    documents = [position.array_document(dataset.path) for dataset in image.datasets]
    return replace(pyramid, levels=levels, factors=factors_of(position, image, documents, exact=False))


def check_label_dtype(dtype: npt.DTypeLike) -> DType:
    """The data type, if a label image may have it.

    Raises
    ------
    ArgumentError
        If it is no signed or unsigned integer type of 8 to 64 bits, as the specification demands.
    """
    kind = check_dtype(dtype)
    if kind.kind in "iu":
        return kind
    hint = 'label its objects, or convert it: data.astype("uint8")'
    if kind.kind == "f":
        hint = 'round and convert it: numpy.rint(data).astype("uint32")'
    raise ArgumentError(f"label images hold integers, not {kind.name}", hint=hint)


# --- what is done ---------------------------------------------------------------------------------


def ensure_labels_group(position: ImageEditor) -> LabelsEditor:
    """The group of the labels, created if it is not there."""
    location = position.location.child(LABELS)
    storage = location.storage
    with storage.lock(position.location.path):
        if not group_exists(storage, location.path, location.zarr_format):
            storage.check_links(location.path, writing=True)
            require_free(location, "group")
            attributes = versions.bare_attributes(
                location.version, "labels", LabelsMeta(labels=[]).to_json(), {}
            )
            # Readers look here although nothing refers to it: the group is there at once, or not.
            files = group_files(location.zarr_format, attributes, where=location.where)
            full = storage.local_path(location.path)
            if full is not None and not os.path.lexists(full):
                staged = position.location.child(intents.staging_name(LABELS))
                create_node(storage, staged.path, files)
                storage.move_tree(staged.path, location.path)
            else:
                storage.make_directory(location.path)
                for name, data in files:
                    storage.write(join(location.path, name), data)
        return position.open_child(LabelsEditor, LABELS)


def _check_absent(labels: LabelsEditor, name: str, *, ours: bool = False) -> bool:
    """Whether a label image of this name is listed and may be replaced; an error if it may not.

    Parameters
    ----------
    labels : LabelsEditor
        The group.
    name : str
        The name.
    ours : bool
        Whether what lies there unlisted was built by this call.
    """
    listed = labels.peek().labels
    check_case(labels.location, listed, [name], "label images")
    place = labels.location.child(name)
    if name in listed:
        if not labels.overwriting:
            raise NodeExistsError(
                "the label image exists",
                path=place.where,
                hint="open with overwriting_creation=True to replace it",
            )
        return True
    if not ours and not labels.overwriting:
        require_free(place, "group")
    return False


class _Creation:
    """One call of :func:`create_label`, after its arguments were checked."""

    def __init__(self, position: ImageEditor, name: str, document: LabelImageMeta) -> None:
        self.position = position
        self.name = name
        self.document = document

    def run(self, pixels: Any, options: LayoutOptions, levels: PyramidOptions) -> LabelImageEditor:
        storage, path = self.position.location.storage, self.position.location.path
        with storage.lock(path):
            made = self.position.labels_group is None
            labels = ensure_labels_group(self.position)
            with storage.lock(labels.location.path):
                replaces = _check_absent(labels, self.name)
                staged = intents.staging_name(self.name) if replaces or storage.atomic_moves else self.name
                label = self._begin(labels, staged)
        # The pixels are written without a lock, so that other writers of the position need not wait.
        try:
            transform = self.position.meta.multiscales[0].datasets[0].coordinate_transformations
            steps = _copied(transform, len(pixels.shape))
            create_image(label, _LEVEL, pixels, options, steps, False, levels, Resources(None, None))
        except BaseException:
            self._abandon(labels, staged, made)
            raise
        self._finish(labels, staged)
        return labels.open_child(LabelImageEditor, self.name)

    def _begin(self, labels: LabelsEditor, staged: str) -> LabelImageEditor:
        """Write the group of the label image; nothing refers to it yet."""
        place = labels.location.child(staged)
        storage = place.storage
        if staged == self.name:
            storage.remove_tree(place.path)  # a leftover
        attributes = versions.bare_attributes(place.version, "label", self.document.to_json(), {})
        files = group_files(place.zarr_format, attributes, where=place.where)
        create_node(storage, place.path, files)
        # The first document is the one that holds the attributes.
        return labels.adopt_child(LabelImageEditor, files[0][1], staged)

    def _finish(self, labels: LabelsEditor, staged: str) -> None:
        storage, path = labels.location.storage, labels.location.path
        with storage.lock(path):
            try:
                _check_absent(labels, self.name, ours=staged == self.name)
                if staged == self.name:
                    labels.append(self.name)
                else:
                    labels.install(self.name, staged)
            except Exception:
                with contextlib.suppress(Exception):
                    # This completes what was recorded; what is still there then, nothing refers to.
                    listed = labels.peek().labels
                    if staged != self.name or self.name not in listed:
                        storage.remove_tree(labels.location.child(staged).path)
                raise

    def _abandon(self, labels: LabelsEditor, staged: str, made: bool) -> None:
        """Remove what was built, and the group of the labels if it was made for it."""
        storage = labels.location.storage
        with contextlib.suppress(Exception):
            storage.remove_tree(labels.location.child(staged).path)
            if made:
                with storage.lock(self.position.location.path), storage.lock(labels.location.path):
                    empty = not labels.peek().labels and not storage.list(labels.location.path)[0]
                    if empty:
                        storage.remove_tree(labels.location.path)
