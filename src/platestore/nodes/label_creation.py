"""Creating label images.

Order: the group of the labels exists, then the label image is built under a hidden name, with all its
pixels and levels; then one commit records that it takes its place, it is moved there, and the group lists
it. Whatever interrupts this, the group lists nothing that is not whole.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from platestore.arrays.metadata import summarise
from platestore.errors import ArgumentError, NodeExistsError
from platestore.nodes import intents
from platestore.nodes.case import check_case
from platestore.nodes.labelling import LABELS
from platestore.nodes.labels import LabelImage, LabelsGroup, check_label_dtype
from platestore.nodes.leftovers import require_free
from platestore.nodes.levels import factors_of
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

if TYPE_CHECKING:
    import numpy.typing as npt

    from platestore.nodes.position import Position

#: Of more values the colors are left to the viewer: every reader of the document would pay for them.
MAX_DEFAULT_COLORS = 1024
_BLOCK = 2**18
_LEVEL = "0"


@dataclass(frozen=True, slots=True)
class LabelPlan:
    """How the arrays of a new label image are laid out; the arguments of ``create_label``."""

    chunks: Sequence[int] | None = None
    shards_ratio: Sequence[int] | None = None
    shards: Sequence[int] | str | None = None
    compressor: Any = None
    checksum: bool = False
    levels: int | str | None = None
    method: str | None = None

    def layout(self) -> dict[str, Any]:
        """Arguments of ``create_image`` that are not at their defaults."""
        given = {"shards": self.shards, "compressor": self.compressor, "checksum": self.checksum}
        return {key: value for key, value in given.items() if value is not None and value is not False}


def create_label(
    position: Position, name: str, data: Any, colors: Any, properties: Any, plan: LabelPlan
) -> LabelImage:
    """Create a label image; see :meth:`Position.create_label`."""
    position._location.storage.require_writable(position._location.path)
    check_image_name(name)
    if isinstance(position, LabelImage):
        raise ArgumentError(
            "a label image has no labels of its own",
            path=position._location.where,
            hint="create it on the position",
        )
    pixels = _checked_pixels(position, data)
    facts = check_properties(properties) if properties is not None else None
    shown = check_colors(colors) if colors is not None else default_colors(_values(pixels))
    for item in (*shown, *(facts or ())):
        check_json(item.model_extra, where=position._location.where)
    document = _document(position, name, shown, facts)
    levels = _level_arguments(position, plan)
    labels = position.labels_group
    if labels is not None:
        _check_absent(labels, name)
    return _Creation(position, name, document).run(pixels, plan, levels)


# --- what is asked for ----------------------------------------------------------------------------


def _checked_pixels(position: Position, data: Any) -> Any:
    """The data with one dimension per axis, if they fit the image."""
    import numpy as np

    pixels = data if hasattr(data, "shape") and hasattr(data, "dtype") else np.asarray(data)
    check_label_dtype(pixels.dtype)
    datasets = position._state().multiscales[0].datasets
    if not datasets:
        raise ArgumentError(
            "the position has no image yet",
            path=position._location.where,
            hint="create the image first: its labels follow its shape and scale",
        )
    shape = summarise(position._array_document(datasets[0].path)).shape
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
            path=position._location.where,
            hint="each dimension must be that of the image, or 1 where it does not matter",
        )
    return pixels


def _sliceable(data: Any) -> Any:
    """Data that can be given another dimension by indexing: dask arrays as they are."""
    import numpy as np

    return data if hasattr(data, "__dask_graph__") else np.asarray(data)


def _document(
    position: Position,
    name: str,
    colors: list[LabelColorMeta],
    properties: list[LabelPropertyMeta] | None,
) -> LabelImageMeta:
    """The document of the label image as it is before it has an array."""
    image = position._state().multiscales[0]
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


def values_present(pixels: npt.NDArray[Any], limit: int) -> list[int] | None:
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


def _distinct(values: npt.NDArray[Any]) -> list[int]:
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


def _level_arguments(position: Position, plan: LabelPlan) -> dict[str, Any]:
    """Arguments of ``create_image`` that make the levels."""
    image = position._state().multiscales[0]
    count = len(image.datasets)
    levels = count if plan.levels is None else plan.levels
    if levels != "auto" and (isinstance(levels, bool) or not isinstance(levels, int) or levels < 1):
        raise ArgumentError(f'pyramid_levels must be an integer of 1 or more, or "auto", not {levels!r}')
    if levels == 1:
        return {}
    arguments: dict[str, Any] = {
        "pyramid_levels": levels,
        "pyramid_method": plan.method or LabelImage._pyramid_method,
    }
    if levels == count:
        # In the steps of the image, whoever made it; a dimension of 1 stays as it is.
        documents = [position._array_document(dataset.path) for dataset in image.datasets]
        arguments["pyramid_factors"] = factors_of(position, image, documents, exact=False)
    return arguments


# --- what is done ---------------------------------------------------------------------------------


def ensure_labels_group(position: Position) -> LabelsGroup:
    """The group of the labels, created if it is not there."""
    location = position._location.child(LABELS)
    storage = location.storage
    with storage.lock(position._location.path):
        if not group_exists(storage, location.path, location.zarr_format):
            storage.check_links(location.path, writing=True)
            require_free(location, "group")
            attributes = versions.bare_attributes(
                location.version, "labels", LabelsMeta(labels=[]).to_json(), {}
            )
            # Readers look here although nothing refers to it: each document is there at once, or not.
            storage.make_directory(location.path)
            for name, data in group_files(location.zarr_format, attributes, where=location.where):
                storage.write(join(location.path, name), data)
        return position._open_child(LabelsGroup, LABELS)


def _check_absent(labels: LabelsGroup, name: str, *, ours: bool = False) -> bool:
    """Whether a label image of this name is listed and may be replaced; an error if it may not.

    Parameters
    ----------
    labels : LabelsGroup
        The group.
    name : str
        The name.
    ours : bool
        Whether what lies there unlisted was built by this call.
    """
    listed = labels._peek().labels
    check_case(labels._location, listed, [name], "label images")
    place = labels._location.child(name)
    if name in listed:
        if not labels._overwriting:
            raise NodeExistsError(
                "the label image exists",
                path=place.where,
                hint="open with overwriting_creation=True to replace it",
            )
        return True
    if not ours and not labels._overwriting:
        require_free(place, "group")
    return False


class _Creation:
    """One call of :func:`create_label`, after its arguments were checked."""

    def __init__(self, position: Position, name: str, document: LabelImageMeta) -> None:
        self.position = position
        self.name = name
        self.document = document

    def run(self, pixels: Any, plan: LabelPlan, levels: dict[str, Any]) -> LabelImage:
        storage, path = self.position._location.storage, self.position._location.path
        with storage.lock(path):
            made = self.position.labels_group is None
            labels = ensure_labels_group(self.position)
            with storage.lock(labels._location.path):
                replaces = _check_absent(labels, self.name)
                staged = intents.staging_name(self.name) if replaces or storage.atomic_moves else self.name
                label = self._begin(labels, staged)
        # The pixels are written without a lock, so that other writers of the position need not wait.
        try:
            transform = self.position._state().multiscales[0].datasets[0].coordinate_transformations
            label.create_image(
                _LEVEL,
                pixels,
                plan.chunks,
                plan.shards_ratio,
                _copied(transform, len(pixels.shape)),
                False,
                **plan.layout(),
                **levels,
            )
        except BaseException:
            self._abandon(labels, staged, made)
            raise
        self._finish(labels, staged)
        return labels._open_child(LabelImage, self.name)

    def _begin(self, labels: LabelsGroup, staged: str) -> LabelImage:
        """Write the group of the label image; nothing refers to it yet."""
        place = labels._location.child(staged)
        storage = place.storage
        if staged == self.name:
            storage.remove_tree(place.path)  # a leftover
        attributes = versions.bare_attributes(place.version, "label", self.document.to_json(), {})
        files = group_files(place.zarr_format, attributes, where=place.where)
        create_node(storage, place.path, files)
        # The first document is the one that holds the attributes.
        return labels._adopt_child(LabelImage, files[0][1], staged)

    def _finish(self, labels: LabelsGroup, staged: str) -> None:
        storage, path = labels._location.storage, labels._location.path
        with storage.lock(path):
            try:
                _check_absent(labels, self.name, ours=staged == self.name)
                if staged == self.name:
                    labels._list(self.name)
                else:
                    labels._install(self.name, staged)
            except Exception:
                with contextlib.suppress(Exception):
                    # This completes what was recorded; what is still there then, nothing refers to.
                    listed = labels._peek().labels
                    if staged != self.name or self.name not in listed:
                        storage.remove_tree(labels._location.child(staged).path)
                raise

    def _abandon(self, labels: LabelsGroup, staged: str, made: bool) -> None:
        """Remove what was built, and the group of the labels if it was made for it."""
        storage = labels._location.storage
        with contextlib.suppress(Exception):
            storage.remove_tree(labels._location.child(staged).path)
            if made:
                with storage.lock(self.position._location.path), storage.lock(labels._location.path):
                    empty = not labels._peek().labels and not storage.list(labels._location.path)[0]
                    if empty:
                        storage.remove_tree(labels._location.path)
