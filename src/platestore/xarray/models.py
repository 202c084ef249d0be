"""What a multiscale group is going to be, from labelled arrays: checked, before anything is created."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from platestore.arrays.layout import ArrayLayout
from platestore.errors import ArgumentError
from platestore.spec.axes import AxisMeta
from platestore.spec.multiscales import DatasetMeta, ImagesMeta, MultiScaleMeta
from platestore.spec.names import check_image_name
from platestore.spec.omero import new_omero
from platestore.spec.own import OwnMeta
from platestore.spec.values import Json
from platestore.spec.versions import (
    DEFAULT_VERSION,
    Version,
    ZarrFormat,
    adapter,
    bare_attributes,
    check_version,
)
from platestore.storage.documents import check_json
from platestore.xarray.coordinates import Described, check_irregular, describe
from platestore.xarray.encodings import array_layout, chunk_shapes
from platestore.xarray.extra import import_xarray
from platestore.xarray.grids import Irregular
from platestore.xarray.placing import plain

if TYPE_CHECKING:
    import xarray as xr

    from platestore.arrays.types import DType


@dataclass(frozen=True, slots=True)
class ArrayModel:
    """An array of a multiscale group before it exists.

    Attributes
    ----------
    layout : ArrayLayout
        Shape, data type, chunks, shards, codecs and fill value.
    dimension_names : tuple of str
        Names of the axes.
    zarr_format : {2, 3}
        Version of zarr.
    """

    layout: ArrayLayout
    dimension_names: tuple[str, ...]
    zarr_format: ZarrFormat

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape."""
        return self.layout.shape

    @property
    def dtype(self) -> DType:
        """Data type."""
        return self.layout.dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of a chunk (inside a shard, where there are shards)."""
        return self.layout.chunks

    @property
    def shards(self) -> tuple[int, ...] | None:
        """Shape of a shard, or None."""
        return self.layout.shards

    def to_json(self) -> Json:
        """The array's document: ``.zarray`` or ``zarr.json``."""
        return self.layout.document(self.zarr_format, self.dimension_names)


@dataclass(frozen=True, slots=True)
class MultiscaleGroupModel:
    """A multiscale group before it exists: what :func:`create_multiscale_group` creates.

    Attributes
    ----------
    version : {"0.4", "0.5"}
        OME-NGFF version.
    metadata : ImagesMeta
        The metadata of the group: its datasets are sorted, the largest first.
    members : dict of str to ArrayModel
        The arrays by path, in that order.
    own : OwnMeta
        What this library keeps beside the specification's metadata: the arrays' ``attrs``.
    """

    version: Version
    metadata: ImagesMeta
    members: dict[str, ArrayModel]
    own: OwnMeta

    @property
    def zarr_format(self) -> ZarrFormat:
        """Version of zarr."""
        return adapter(self.version).zarr_format

    @property
    def attributes(self) -> Json:
        """The group's attributes, as JSON."""
        return bare_attributes(self.version, "image", self.metadata.to_json(), self.own.to_json())

    def to_json(self) -> Json:
        """The whole model as JSON: zarr's version, the group's attributes, the arrays' documents."""
        members = {path: array.to_json() for path, array in self.members.items()}
        return {"zarr_format": self.zarr_format, "attributes": self.attributes, "members": members}


def model_multiscale_group(
    *,
    arrays: Mapping[str, xr.DataArray],
    transform_precision: int | None = None,
    ngff_version: str = DEFAULT_VERSION,
    chunks: Any = "auto",
    compressor: Any = "zstd",
    fill_value: Any = 0,
    shards: Any = None,
    name: str | None = None,
    irregular: Irregular = "error",
) -> MultiscaleGroupModel:
    """The model of a multiscale group, from labelled arrays: its axes and transformations are theirs.

    Parameters
    ----------
    arrays : mapping of str to xarray.DataArray
        The levels, by the path that their arrays get. The coordinate of a channel axis names channels.
    transform_precision : int, optional
        Decimal places that scales and translations are rounded to; not rounded by default.
    ngff_version : {"0.4", "0.5"}
        OME-NGFF version: zarr v2 or v3.
    chunks : "auto", sequence of int, or sequence of sequence of int
        Chunk shape of all arrays, or of each, in the order of ``arrays``; "auto" is this library's default,
        a whole ZYX stack of at most 256 MiB. A chunk is never larger than its array.
    compressor : str, codec or None
        ``"blosc-lz4"``, ``"blosc-zstd"``, ``"zstd"`` (the default, at level 3), ``"gzip"`` or ``"none"``; a
        level may follow, as in ``"zstd:9"``. Or a codec of numcodecs or zarr, or None for no compression.
    fill_value : number
        What pixels that were never written read as.
    shards : sequence of int, str or int, optional
        What a shard holds (0.5 only), as for ``create_image``; no shards by default.
    name : str, optional
        Name of the image; that of the arrays by default, if they have the same.
    irregular : {"error", "nearest"}
        Whether coordinates off a regular grid are an error, or are taken for the regular grid through the
        first and the last of them.

    Returns
    -------
    MultiscaleGroupModel

    Raises
    ------
    ArgumentError
        If arrays differ in axes, channels or data type, coordinates are irregular or descend, a unit is
        no string, the axes break the specification, or an argument is wrong.
    UnsupportedVersionError
        If the version is another one.

    Examples
    --------
    >>> from platestore.xarray import model_multiscale_group
    >>> model = model_multiscale_group(arrays={"s0": position.to_xarray("0")}, ngff_version="0.5")
    >>> model.members["s0"].chunks, model.metadata.paths()
    ((1, 1, 4, 64, 64), ['s0'])
    """
    import_xarray()
    version = check_version(ngff_version)
    zarr_format = adapter(version).zarr_format
    _check_arrays(arrays)
    check_irregular(irregular)
    found = {path: _described(path, array, transform_precision, irregular) for path, array in arrays.items()}
    axes = _common_axes(found)
    dtype = _common_dtype(arrays)
    shapes = dict(zip(arrays, chunk_shapes(chunks, len(arrays)), strict=True))
    names = tuple(axis.name for axis in axes)
    members = {
        path: ArrayModel(
            array_layout(
                arrays[path].shape,
                dtype,
                zarr_format=zarr_format,
                names=names,
                chunks=shapes[path],
                shards=shards,
                compressor=compressor,
                fill_value=fill_value,
            ),
            names,
            zarr_format,
        )
        for path in sorted(arrays, key=lambda path: -math.prod(arrays[path].shape))
    }
    metadata = _metadata(name or _common_name(arrays), axes, found, members, dtype.name)
    return MultiscaleGroupModel(version, metadata, members, _own(arrays))


def named(model: MultiscaleGroupModel, name: str) -> MultiscaleGroupModel:
    """The model with a name, if its image has none."""
    metadata = copy.deepcopy(model.metadata)
    for image in metadata.multiscales:
        image.name = image.name or name
    if metadata.omero is not None:
        metadata.omero.name = metadata.omero.name or name
    return MultiscaleGroupModel(model.version, metadata, model.members, model.own)


def _check_arrays(arrays: Any) -> None:
    xr = import_xarray()
    if not isinstance(arrays, Mapping) or not arrays:
        raise ArgumentError("arrays must be a dictionary of xarray.DataArray, by path", hint='{"0": array}')
    for path, array in arrays.items():
        for segment in path.split("/") if isinstance(path, str) else [path]:
            check_image_name(segment)
        if not isinstance(array, xr.DataArray):
            raise ArgumentError(f"arrays[{path!r}] must be an xarray.DataArray, not {type(array).__name__}")
    for path in arrays:
        nested = next((other for other in arrays if other.startswith(f"{path}/")), None)
        if nested is not None:
            raise ArgumentError(f"the array {nested!r} would lie inside the array {path!r}")


def _described(path: str, array: xr.DataArray, precision: int | None, irregular: Irregular) -> Described:
    try:
        return describe(array, transform_precision=precision, irregular=irregular)
    except ArgumentError as error:
        raise ArgumentError(f"arrays[{path!r}]: {error.message}", hint=error.hint) from None


def _common_axes(found: Mapping[str, Described]) -> tuple[AxisMeta, ...]:
    """The axes that all arrays have."""
    unique: dict[str, list[str]] = {}
    for path, item in found.items():
        shown = ", ".join(" ".join(filter(None, (axis.name, axis.type, axis.unit))) for axis in item.axes)
        unique.setdefault(f"({shown})", []).append(path)
    if len(unique) > 1:
        listed = "; ".join(f"{axes} of {', '.join(map(repr, paths))}" for axes, paths in unique.items())
        raise ArgumentError(
            f"the arrays have {len(unique)} unique axes, and must have the same: {listed}",
            hint="give them the same dimensions, in the same order, and coordinates of the same units",
        )
    labels = {item.labels for item in found.values()}
    if len(labels) > 1:
        raise ArgumentError(f"the arrays name different channels: {'; '.join(map(str, labels))}")
    return next(iter(found.values())).axes


def _common_dtype(arrays: Mapping[str, xr.DataArray]) -> DType:
    types = {array.dtype: path for path, array in arrays.items()}
    if len(types) > 1:
        shown = ", ".join(f"{dtype} of {path!r}" for dtype, path in types.items())
        raise ArgumentError(f"the levels of an image have one data type, not {shown}", hint="array.astype()")
    return next(iter(types))


def _common_name(arrays: Mapping[str, xr.DataArray]) -> str | None:
    names = {array.name for array in arrays.values()}
    only = names.pop() if len(names) == 1 else None
    return only if isinstance(only, str) and only else None


def _metadata(
    name: str | None,
    axes: tuple[AxisMeta, ...],
    found: Mapping[str, Described],
    members: Mapping[str, ArrayModel],
    dtype: str,
) -> ImagesMeta:
    datasets = [DatasetMeta(path=p, coordinate_transformations=list(found[p].transforms)) for p in members]
    image = MultiScaleMeta(
        axes=[AxisMeta.model_validate(axis.to_json()) for axis in axes],
        datasets=datasets,
        name=name,
        type="none" if len(datasets) == 1 else "unspecified",
        metadata={},
    )
    labels = next(iter(found.values())).labels
    meta = ImagesMeta(
        multiscales=[image], omero=None if labels is None else new_omero(labels, name=name, dtype=dtype)
    )
    problems = [str(problem) for problem in meta.findings()]
    others = [axis.name for axis in axes if axis.type not in ("space", "time")]
    if len(others) > 1:  # an untyped axis may be one of any type, but not several
        problems.append(f"{', '.join(others)}: more than one axis is neither space nor time")
    if problems:
        raise ArgumentError(
            f"the arrays make no OME-NGFF image: {'; '.join(problems)}",
            hint='name dimensions t, c, z, y, x, in this order, or state coords[dim].attrs["type"]',
        )
    return meta


def _own(arrays: Mapping[str, xr.DataArray]) -> OwnMeta:
    own = OwnMeta()
    for path, array in arrays.items():
        attrs = plain(dict(array.attrs))
        check_json(attrs, where=f"arrays[{path!r}].attrs")
        own.keep_attrs(path, attrs)
    return own
