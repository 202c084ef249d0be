"""Changes of an image's metadata, as pure functions on the models.

Positions (and, where it applies, label images) commit these; nothing here reads or writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from platestore.errors import ArgumentError, NodeKeyError
from platestore.spec import pyramids
from platestore.spec.axes import AxisMeta, is_spatial
from platestore.spec.base import AS_STORED
from platestore.spec.multiscales import DatasetMeta, ImagesMeta, MultiScaleMeta
from platestore.spec.omero import ChannelMeta, WindowDict, complete, new_channel, new_omero, refit_windows
from platestore.spec.own import OwnMeta, PreviousTransform
from platestore.spec.transforms import TransformationMeta, normalise, scale_of, translation_of
from platestore.spec.values import Json

#: Stands for the whole position wherever an image is named.
WHOLE = "*"


def empty_image(axes: Sequence[AxisMeta], channel_names: Sequence[str], name: str) -> ImagesMeta:
    """The document of a position without an image: it keeps the axes and channels for the first one."""
    return ImagesMeta(
        multiscales=[MultiScaleMeta(axes=list(axes), datasets=[], name=name)],
        omero=new_omero(channel_names, name=name) if channel_names else None,
    )


def _require(meta: ImagesMeta, image: str) -> tuple[MultiScaleMeta, DatasetMeta]:
    found = meta.find(image)
    if found is None:
        listed = ", ".join(meta.paths()) or "none"
        raise NodeKeyError(f"no image {image!r} is listed here", hint=f"images: {listed}; '*' means all")
    return found


# --- images ---------------------------------------------------------------------------------------


def list_image(
    meta: ImagesMeta,
    name: str,
    shape: Sequence[int],
    last_shape: Sequence[int] | None,
    transform: Sequence[TransformationMeta] | None,
    dtype: str,
) -> None:
    """List a new array.

    The first array fills the empty multiscales. A later one joins it as a level if a transform is given
    and it is coarser than the last level; otherwise it starts a multiscales of its own name.

    Parameters
    ----------
    meta : ImagesMeta
        Changed in place.
    name : str
        Path of the array.
    shape : sequence of int
        Its shape.
    last_shape : sequence of int, optional
        Shape of the last level of the first multiscales.
    transform : sequence of TransformationMeta, optional
        As the caller gave it.
    dtype : str
        Name of the data type, which the contrast windows are fitted to.
    """
    first = meta.multiscales[0]
    steps = normalise(transform, len(first.axes))
    dataset = DatasetMeta(path=name, coordinate_transformations=steps)
    if not first.datasets:
        first.datasets.append(dataset)
    elif transform is not None and _is_coarser(first, shape, last_shape, steps):
        first.datasets.append(dataset)
        if first.type in (None, "none"):
            first.type = "unspecified"
    else:
        meta.multiscales.append(MultiScaleMeta(axes=list(first.axes), datasets=[dataset], name=name))
    for image in meta.multiscales:
        _complete(image)
    if meta.omero is not None:
        complete(meta.omero, dtype)


def _is_coarser(
    image: MultiScaleMeta,
    shape: Sequence[int],
    last_shape: Sequence[int] | None,
    steps: Sequence[TransformationMeta],
) -> bool:
    """Whether an array can follow the last level: fewer pixels, each of them larger."""
    ndim = len(image.axes)
    last = scale_of(image.datasets[-1].coordinate_transformations, ndim)
    scale = scale_of(steps, ndim)
    larger = all(s >= r for s, r in zip(scale, last, strict=True)) and scale != last
    if last_shape is None or len(last_shape) != len(shape):
        return False
    fewer = all(n <= m for n, m in zip(shape, last_shape, strict=True)) and list(shape) != list(last_shape)
    # Other time points or channels are those of another image, unless the scale says that they are larger.
    rows = zip(image.axes, shape, last_shape, scale, last, strict=True)
    same = all(is_spatial(axis) or n == m or s > r for axis, n, m, s, r in rows)
    return larger and fewer and same


def _complete(image: MultiScaleMeta) -> None:
    """Fill in what the strict schemas ask for: how the levels were made."""
    if image.type is None and len(image.datasets) == 1:
        image.type = "none"
    if image.metadata is None:
        image.metadata = {}


def unlist_image(meta: ImagesMeta, name: str) -> Json:
    """Take an array out of the document; the last one leaves the axes and channels behind.

    Returns
    -------
    dict
        Where it was, for :func:`relist_image`.
    """
    image, dataset = _require(meta, name)
    header = {**image.to_json(), "datasets": []}
    place = {
        "image": next(i for i, m in enumerate(meta.multiscales) if m is image),
        "level": next(i for i, d in enumerate(image.datasets) if d is dataset),
        "header": header,
        "alone": len(image.datasets) == 1 and len(meta.multiscales) > 1,
        "transform": (steps := [step.to_json() for step in dataset.coordinate_transformations or ()]),
        "replaced": steps,
    }
    image.datasets = [d for d in image.datasets if d is not dataset]
    if not image.datasets and len(meta.multiscales) > 1:
        meta.multiscales = [m for m in meta.multiscales if m is not image]
    elif len(image.datasets) <= 1:
        image.type = "none" if image.datasets else None
    return place


def relist_image(meta: ImagesMeta, name: str, place: Json, dtype: str) -> None:
    """List a replaced array again where it was.

    Parameters
    ----------
    meta : ImagesMeta
        Changed in place.
    name : str
        Path of the array.
    place : dict
        What :func:`unlist_image` returned, with another ``transform`` if one was given, and with the
        ``former`` data type and, where it changes, the new number of ``channels``.
    dtype : str
        Name of the new data type.
    """
    header = MultiScaleMeta.model_validate(place["header"], context=AS_STORED)
    if place["alone"]:
        image = header
        meta.multiscales.insert(place["image"], image)
    else:
        image = meta.multiscales[place["image"]]
    steps = normalise(place.get("transform"), len(image.axes))
    if place["level"] == 0 and "replaced" in place:
        former = normalise(place["replaced"], len(image.axes))
        for dataset in image.datasets:
            dataset.coordinate_transformations = _carried(
                dataset.coordinate_transformations, former, steps, len(image.axes)
            )
    image.datasets.insert(place["level"], DatasetMeta(path=name, coordinate_transformations=steps))
    if len(image.datasets) > 1:
        image.type = header.type
        if place["level"] == 0:  # the levels are those of the image that was replaced
            pyramids.mark_incomplete(image, [d.path for d in image.datasets[1:]])
    for item in meta.multiscales:
        _complete(item)
    if meta.omero is not None and place["level"] == 0 and place["image"] == 0:
        refit_windows(meta.omero, place.get("former"), dtype)
        fit_channels(meta, place.get("channels") or len(meta.omero.channels), dtype)


def _carried(
    steps: Sequence[TransformationMeta],
    old: Sequence[TransformationMeta],
    new: Sequence[TransformationMeta],
    ndim: int,
) -> list[TransformationMeta]:
    """Transformations of a level after those of level 0 became others."""
    if list(old) == list(new):
        return list(steps)
    ratios = [b / a if a else 1.0 for a, b in zip(scale_of(old, ndim), scale_of(new, ndim), strict=True)]
    offsets = (translation_of(each, ndim) for each in (steps, old, new))
    shift = [n + (t - o) * ratio for t, o, n, ratio in zip(*offsets, ratios, strict=True)]
    out = [
        TransformationMeta(
            type="scale", scale=[s * ratio for s, ratio in zip(scale_of(steps, ndim), ratios, strict=True)]
        )
    ]
    if any(shift) or any(step.type == "translation" for step in new):
        out.append(TransformationMeta(type="translation", translation=shift))
    return out


# --- transformations ------------------------------------------------------------------------------


def effective_scale(meta: ImagesMeta, image: str) -> list[float]:
    """Scale of an image, or of the whole position: the product of the position's and the image's."""
    multiscales, steps = _steps(meta, image)
    ndim = len(multiscales.axes)
    fov = scale_of(multiscales.coordinate_transformations, ndim)
    if image == WHOLE:
        return fov
    return [a * b for a, b in zip(fov, scale_of(steps, ndim), strict=True)]


def effective_translation(meta: ImagesMeta, image: str) -> list[float]:
    """Translation of an image, or of the whole position: ``S_fov * t_image + t_fov``."""
    multiscales, steps = _steps(meta, image)
    ndim = len(multiscales.axes)
    outer = multiscales.coordinate_transformations
    fov = translation_of(outer, ndim)
    if image == WHOLE:
        return fov
    rows = zip(scale_of(outer, ndim), translation_of(steps, ndim), fov, strict=True)
    return [s * t + f for s, t, f in rows]


def _steps(meta: ImagesMeta, image: str) -> tuple[MultiScaleMeta, Sequence[TransformationMeta] | None]:
    if image == WHOLE:
        return meta.multiscales[0], meta.multiscales[0].coordinate_transformations
    multiscales, dataset = _require(meta, image)
    return multiscales, dataset.coordinate_transformations


def set_transform(meta: ImagesMeta, image: str, transform: Sequence[TransformationMeta]) -> None:
    """Replace the transformations of one image, or those of the whole position."""
    if image == WHOLE:
        for multiscales in meta.multiscales:
            multiscales.coordinate_transformations = normalise(transform, len(multiscales.axes))
        return
    multiscales, dataset = _require(meta, image)
    dataset.coordinate_transformations = normalise(transform, len(multiscales.axes))


def set_scale(meta: ImagesMeta, own: OwnMeta, image: str, axis: int, value: float) -> None:
    """Set the scale of one axis, and keep what it replaces.

    For ``"*"`` it is the position's scale, which multiplies those of the levels. For the first level it
    rescales all levels of that image on that axis, and their offsets from the first level; for another
    level it changes that one only.
    """
    if image == WHOLE:
        for multiscales in meta.multiscales:
            _remember(own, image, multiscales.coordinate_transformations or [])
            multiscales.coordinate_transformations = _rescaled(
                multiscales.coordinate_transformations, len(multiscales.axes), axis, value
            )
        return
    multiscales, dataset = _require(meta, image)
    ndim = len(multiscales.axes)
    changed = multiscales.datasets if dataset is multiscales.datasets[0] else [dataset]
    former = scale_of(dataset.coordinate_transformations, ndim)[axis]
    ratio = value / former if former else 1.0  # a scale of 0 is a flaw that is mended here
    origin = translation_of(dataset.coordinate_transformations, ndim)[axis]
    for level in changed:
        steps = level.coordinate_transformations
        _remember(own, level.path, steps)
        new = value if level is dataset else scale_of(steps, ndim)[axis] * ratio
        shifted = None
        if level is not dataset and any(s.type == "translation" for s in steps):
            shifted = origin + (translation_of(steps, ndim)[axis] - origin) * ratio
        level.coordinate_transformations = _rescaled(steps, ndim, axis, new, shifted)


def _rescaled(
    steps: Sequence[TransformationMeta] | None, ndim: int, axis: int, value: float, shift: float | None = None
) -> list[TransformationMeta]:
    scale, translation = scale_of(steps, ndim), translation_of(steps, ndim)
    scale[axis] = value
    if shift is not None:
        translation[axis] = shift
    out = [TransformationMeta(type="scale", scale=scale)]
    if any(step.type == "translation" for step in steps or ()):
        out.append(TransformationMeta(type="translation", translation=translation))
    return out


def _remember(own: OwnMeta, image: str, steps: Sequence[TransformationMeta]) -> None:
    if not steps:
        return
    entry = PreviousTransform(
        image=image,
        transforms=[TransformationMeta.model_validate(s.to_json()) for s in steps],
        modified=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    own.previous_transforms = [*(own.previous_transforms or []), entry]


# --- channels -------------------------------------------------------------------------------------


def channel_names(meta: ImagesMeta, channels: int) -> list[str]:
    """Names of the channels; "0", "1", ... where the document names none.

    Parameters
    ----------
    meta : ImagesMeta
        The document.
    channels : int
        Size of the channel axis, for images without an ``omero`` block.
    """
    if meta.omero is None:
        return [str(i) for i in range(channels)]
    return [c.label if c.label is not None else str(i) for i, c in enumerate(meta.omero.channels)]


def index_of(names: Sequence[str], name: object) -> int:
    """Index of a channel name.

    Raises
    ------
    ArgumentError
        If there is no channel of this name.
    """
    if name in names:
        return names.index(name)
    raise ArgumentError(f"there is no channel {name!r}", hint=f"channels: {', '.join(names) or 'none'}")


def rename_channel(
    meta: ImagesMeta, names: Sequence[str], old: str, new: str, dtype: str | None = None
) -> None:
    """Rename a channel; the first renaming of an image without ``omero`` names all its channels."""
    index = index_of(names, old)
    if new != old and new in names:
        raise ArgumentError(f"there is a channel {new!r} already")
    _named(meta, names, dtype)[index].label = new


def add_channel(meta: ImagesMeta, names: Sequence[str], name: str, dtype: str | None) -> None:
    """Add a channel at the end of the list."""
    if name in names:
        raise ArgumentError(f"there is a channel {name!r} already")
    _named(meta, names, dtype).append(new_channel(name, dtype=dtype, first=not names))


def fit_channels(meta: ImagesMeta, size: int, dtype: str) -> None:
    """Make the list of channels, if there is one, as long as the images have channels.

    Those beyond the last go; new ones get numbers as names.
    """
    if meta.omero is None or len(meta.omero.channels) == size:
        return
    channels = meta.omero.channels[:size]
    taken = {channel.label for channel in channels}
    while len(channels) < size:
        name = next(str(i) for i in range(len(channels), 2 * size + 1) if str(i) not in taken)
        taken.add(name)
        channels.append(new_channel(name, first=not channels))
    meta.omero.channels = channels
    complete(meta.omero, dtype)


def set_window(
    meta: ImagesMeta, names: Sequence[str], name: str, window: WindowDict, dtype: str | None = None
) -> None:
    """Set the contrast window of a channel."""
    index = index_of(names, name)
    plain: Json = dict(window)
    _named(meta, names, dtype)[index].window = plain


def _named(meta: ImagesMeta, names: Sequence[str], dtype: str | None) -> list[ChannelMeta]:
    """The channels of the document, written out if they had no names yet, and completed.

    The data type is that of the image; None if there is none yet, or no channel lacks anything.
    """
    if meta.omero is None:
        meta.omero = new_omero(names, name=meta.multiscales[0].name)
    while len(meta.omero.channels) < len(names):
        meta.omero.channels.append(new_channel(names[len(meta.omero.channels)]))
    if dtype is not None:
        complete(meta.omero, dtype)
    return meta.omero.channels
