"""Making and checking images."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from platestore.errors import ArgumentError
from platestore.multiscales.chunking import resolve_chunks
from platestore.multiscales.model import NgffImage
from platestore.multiscales.read import images_of, is_place, open_any
from platestore.spec.axes import AxisMeta, check_axes
from platestore.spec.omero import check_channel_names
from platestore.spec.orientation import AnatomicalOrientation, check_orientations
from platestore.spec.units import known_unit, normalise_unit
from platestore.spec.values import Json

if TYPE_CHECKING:
    from platestore.arrays.types import DType
    from platestore.spec.transforms import TransformationMeta

#: The axes, in the specification's order.
ORDER = ("t", "c", "z", "y", "x")
_DEFAULT_DIMS = {2: "yx", 3: "zyx", 4: "czyx", 5: "tczyx"}
_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
_COLOR = re.compile(r"#?([0-9A-Fa-f]{6})")


def to_ngff_image(
    data: Any,
    dims: Sequence[str] | None = None,
    scale: Mapping[str, float] | None = None,
    translation: Mapping[str, float] | None = None,
    name: str = "image",
    axes_units: Mapping[str, str] | None = None,
    channel_names: Sequence[str] | None = None,
) -> NgffImage:
    """Make an image of an array; nothing is read.

    Parameters
    ----------
    data : array, str, Path, mapping or zarr Store
        Pixels: a numpy, dask or zarr array, or another that can be indexed; or the place of a zarr array, or
        of a multiscale image, of which the finest level is taken with its metadata.
    dims : sequence of str, optional
        Name of each axis, of t, c, z, y and x in any order. By default the array's own names if it is a zarr
        array that has such, else by the number of axes yx, zyx, czyx or tczyx: the specification's order.
    scale : mapping, optional
        Distance of pixels by axis; 1 by default.
    translation : mapping, optional
        Place of the first pixel by axis; 0 by default.
    name : str
        Name of the image.
    axes_units : mapping, optional
        Unit by axis: ``"micrometer"``, ``"um"``, ``"second"``, ....
    channel_names : sequence of str, optional
        Names of the channels.

    Returns
    -------
    NgffImage
        Its ``data`` is a dask array.

    Raises
    ------
    ArgumentError
        If the number of axes is not 2 to 5, or an argument does not fit the array.

    Examples
    --------
    >>> from platestore.multiscales import to_ngff_image
    >>> pixels = np.zeros((4, 64, 64), "uint16")
    >>> level = to_ngff_image(pixels, dims="zyx", scale={"z": 2.0, "y": 0.5, "x": 0.5})
    >>> level.dims, level.scale
    (('z', 'y', 'x'), {'z': 2.0, 'y': 0.5, 'x': 0.5})
    >>> to_ngff_image("plate.zarr/A/1/0").channel_names
    ['DAPI', 'GFP']
    """
    image = _found(data)
    if dims is not None:
        image.dims = dims
    image.scale = {**image.scale, **_mapping(scale, "scale")}
    image.translation = {**image.translation, **_mapping(translation, "translation")}
    image.name = name if name != "image" else image.name
    if axes_units is not None:
        image.axes_units = axes_units
    if channel_names is not None:
        image.channel_names = check_channel_names(channel_names)
    for dim, unit in _mapping(axes_units, "axes_units").items():
        kind = (image.axes_types or _TYPES).get(dim, _TYPES.get(dim))
        if unit is not None and kind in ("space", "time"):
            normalise_unit(unit, kind, dim)  # what is said here must be one that is listed
    checked = check_image(image)
    image.dims = checked.dims
    image.scale = dict(zip(checked.dims, checked.scale, strict=True))
    image.translation = dict(zip(checked.dims, checked.translation, strict=True))
    image.axes_units = checked.units or None
    return _as_lazy(image)


def take_image(data: Any) -> NgffImage:
    """The image that was passed as ``data=``: a copy, with the pixels as they are."""
    if isinstance(data, NgffImage):
        return _copy(data)
    if all(hasattr(data, part) for part in ("images", "metadata", "scale_factors")):
        raise ArgumentError("this is a multiscale image already", hint="pass one of its images: .images[0]")
    if all(hasattr(data, part) for part in ("dims", "scale", "translation", "data")) and not hasattr(
        data, "coords"
    ):
        return _copy(data)  # ngff-zarr's own
    return _found(data)


def _copy(image: Any) -> NgffImage:
    new = NgffImage(
        data=image._pixels() if isinstance(image, NgffImage) else image.data,
        dims=tuple(image.dims),
        scale=dict(image.scale or {}),
        translation=dict(image.translation or {}),
        name=image.name,
    )
    for part in ("axes_units", "axes_orientations", "axes_types", "channel_names", "channel_colors"):
        value = getattr(image, part, None)
        setattr(new, part, dict(value) if isinstance(value, Mapping) else value)
    new.computed_callbacks = list(getattr(image, "computed_callbacks", ()))
    new._omero = getattr(image, "_omero", None)
    return new


def _found(data: Any) -> NgffImage:
    """An image of whatever was passed."""
    if is_place(data):
        opened = open_any(data)
        if not hasattr(opened, "dtype"):
            return _copy(images_of(opened)[0])
        data = opened
    if not hasattr(data, "shape") or not hasattr(data, "dtype"):
        import numpy as np

        data = np.asarray(data)
    ndim = len(data.shape)
    if ndim not in _DEFAULT_DIMS:
        raise ArgumentError(
            f"an image has 2 to 5 axes; the array has {ndim} (shape {tuple(data.shape)})",
            hint="drop or add axes of length 1, for instance with array[0] or array[None]",
        )
    return NgffImage(data, _own_dims(data) or tuple(_DEFAULT_DIMS[ndim]), {}, {})


def _own_dims(data: Any) -> tuple[str, ...] | None:
    """Names of the axes that a zarr array has, if they are such as an image may have."""
    names = getattr(getattr(data, "metadata", None), "dimension_names", None)
    if names is None or any(not isinstance(n, str) for n in names):
        return None
    dims = tuple(n.lower() for n in names)
    return dims if len({*dims}) == len(dims) == len(data.shape) and {*dims} <= {*ORDER} else None


def _as_lazy(image: NgffImage) -> NgffImage:
    """Give an image a dask array, and let it remember what that was made of."""
    from platestore.arrays.lazy import is_dask
    from platestore.arrays.sources import as_source
    from platestore.multiscales.sources import as_dask

    if is_dask(image.data):
        return image
    pixels, source = image.data, as_source(image.data)
    blocks = tuple(resolve_chunks(None, image.dims, source.shape).values())
    image.data = as_dask(source, blocks)
    image._keep(pixels)
    return image


# --- checks ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CheckedImage:
    """What an image says, checked; everything in the order of ``dims``.

    Attributes
    ----------
    dims : tuple of str
        The axes, as the pixels have them.
    sizes : dict
        Length of each axis.
    scale, translation : tuple of float
        Of each axis.
    types : dict
        Type of each axis.
    units : dict
        Unit of the axes that have one.
    orientations : dict
        Orientation of the axes that have one.
    """

    dims: tuple[str, ...]
    sizes: dict[str, int]
    scale: tuple[float, ...]
    translation: tuple[float, ...]
    types: dict[str, str]
    units: dict[str, str]
    orientations: dict[str, AnatomicalOrientation]

    @property
    def order(self) -> tuple[str, ...]:
        """The axes in the specification's order."""
        return tuple(d for d in ORDER if d in self.dims)

    def axes(self) -> list[AxisMeta]:
        """The axes as the metadata has them, in the specification's order."""
        rows: list[AxisMeta | Json] = []
        for d in self.order:
            row: Json = {"name": d, "type": self.types[d]}
            if d in self.units:
                row["unit"] = self.units[d]
            if d in self.orientations:
                row["orientation"] = self.orientations[d]
            rows.append(row)
        return check_axes(rows)

    def transforms(self) -> list[TransformationMeta]:
        """Scale and translation, in the specification's order."""
        from platestore.spec.transforms import TransformationMeta

        places = [self.dims.index(d) for d in self.order]
        return [
            TransformationMeta(type="scale", scale=[self.scale[i] for i in places]),
            TransformationMeta(type="translation", translation=[self.translation[i] for i in places]),
        ]


def check_image(image: NgffImage, orientation: Any = None) -> CheckedImage:
    """Check everything that an image says; its pixels are not looked at.

    Parameters
    ----------
    image : NgffImage
        The image.
    orientation : optional
        Counts instead of the image's own orientation.

    Raises
    ------
    ArgumentError
        If something is wrong.
    """
    from platestore.arrays.layout import check_dtype, check_integers

    if not isinstance(image.name, str) or not image.name:
        raise ArgumentError(f"the name of an image must be a string, not {image.name!r}")
    if not hasattr(image.data, "shape") or not hasattr(image.data, "dtype"):
        raise ArgumentError(f"the data of an image must be an array, not {type(image.data).__name__}")
    shape = check_integers(image.data.shape, "the image's shape")
    dims = _check_dims(image.dims, shape)
    check_dtype(type_of(image.data))
    sizes = dict(zip(dims, shape, strict=True))
    types = {d: str(_by_axis(image.axes_types, dims, "axes_types").get(d) or _TYPES[d]) for d in dims}
    units = _by_axis(image.axes_units, dims, "axes_units")
    own = image.axes_orientations if orientation is None else orientation
    checked = CheckedImage(
        dims=dims,
        sizes=sizes,
        scale=_numbers(image.scale, dims, "scale", 1.0),
        translation=_numbers(image.translation, dims, "translation", 0.0),
        types=types,
        units={d: _unit(u, d, types[d]) for d, u in units.items() if u is not None},
        orientations=check_orientations(own, dims, types),
    )
    checked.axes()
    check_channels(image, sizes.get("c"))
    return checked


def _unit(unit: Any, dim: str, kind: str) -> str:
    """A unit of space or time by the specification's name; one that is none, and others, as they are."""
    if kind not in ("space", "time"):
        return str(unit)
    if isinstance(unit, str) and known_unit(unit) is None:
        return unit  # as an image may have it that was read: it is carried on
    return normalise_unit(unit, kind, dim)


def type_of(data: Any) -> DType:
    """Type of an array's pixels, as numpy has it (TensorStore has types of its own)."""
    import numpy as np

    found: DType = np.dtype(getattr(data.dtype, "numpy_dtype", data.dtype))
    return found


def _check_dims(dims: Any, shape: Sequence[int]) -> tuple[str, ...]:
    names = tuple(dims) if isinstance(dims, (str, Sequence)) else ()
    usual = _DEFAULT_DIMS.get(len(shape), "tczyx")
    hint = f"an image of shape {tuple(shape)} may have {tuple(usual)}"
    if not names or not {*names} <= {*ORDER}:
        raise ArgumentError(f"dims must be of {', '.join(ORDER)}, not {dims!r}", hint=hint)
    if len({*names}) != len(names):
        raise ArgumentError(f"dims must be unique, not {names}", hint=hint)
    if len(names) != len(shape):
        raise ArgumentError(
            f"dims {names} has {len(names)} names; the array has {len(shape)} axes", hint=hint
        )
    return names


def _by_axis(given: Any, dims: Sequence[str], what: str) -> Json:
    found = _mapping(given, what)
    unknown = [str(d) for d in found if d not in dims]
    if unknown:
        raise ArgumentError(
            f"{what} names the axes {', '.join(unknown)}", hint=f"the image has {', '.join(dims)}"
        )
    return found


def _mapping(given: Any, what: str) -> Json:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ArgumentError(f"{what} must be a dict by axis, not {given!r}")
    return dict(given)


def _numbers(given: Any, dims: Sequence[str], what: str, default: float) -> tuple[float, ...]:
    values = _by_axis(given, dims, what)
    out = []
    for d in dims:
        value = values.get(d, default)
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number) or isinstance(value, (bool, str)) or (what == "scale" and number <= 0):
            rule = "a positive number" if what == "scale" else "a number"
            raise ArgumentError(f"the {what} of {d!r} must be {rule}, not {value!r}")
        out.append(number)
    return tuple(out)


def check_channels(image: NgffImage, channels: int | None) -> tuple[list[str] | None, list[str] | None]:
    """Check names and colours of channels against the length of the channel axis.

    Parameters
    ----------
    image : NgffImage
        The image.
    channels : int or None
        Length of the channel axis; None without one, where there is a single channel.

    Returns
    -------
    names, colors : list of str or None
        None for what the image does not say; colours without "#" and in capitals.
    """
    count = 1 if channels is None else channels
    names = None if image.channel_names is None else check_channel_names(image.channel_names)
    colors = None if image.channel_colors is None else [_color(c) for c in image.channel_colors]
    for what, values in (("channel_names", names), ("channel_colors", colors)):
        if values is not None and len(values) != count:
            raise ArgumentError(f"{what} has {len(values)} values; the image has {count} channels")
    return names, colors


def _color(value: object) -> str:
    found = _COLOR.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ArgumentError(f"a colour must be six hexadecimal digits, not {value!r}", hint='"FF0000" is red')
    return found[1].upper()
