"""From a stack and options to all that is written: documents, blocks, memory. Nothing is written here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from platestore.arrays.sources import Source
from platestore.errors import ArgumentError, NodeExistsError
from platestore.publish import targets
from platestore.pyramid.kernels import check_method
from platestore.resources import Resources
from platestore.spec import edits, pyramids, versions
from platestore.spec.axes import AxisMeta, default_axes
from platestore.spec.geometry import level_transform
from platestore.spec.multiscales import DatasetMeta, ImagesMeta
from platestore.spec.omero import check_channel_names
from platestore.spec.reductions import reduction
from platestore.spec.transforms import TransformationMeta
from platestore.spec.units import normalise_unit
from platestore.spec.versions import ZarrFormat
from platestore.stacks.blocks import Block, choose_blocks, grids, made_levels
from platestore.stacks.intake import Intake, rearranged
from platestore.stacks.layouts import Layouts, is_none, plan_levels
from platestore.stacks.units import check_voxel_size
from platestore.stacks.workplace import StackWorkPlace
from platestore.tree.image import ImageEditor
from platestore.tree.opening import open_editor
from platestore.tree.plate import PlateEditor
from platestore.tree.specs import read_spec

_SPATIAL = ("z", "y", "x")


@dataclass(frozen=True, slots=True)
class VolumeOptions:
    """The arguments of :func:`platestore.stacks.import_stack` that say what the image is to be."""

    voxel_size: Sequence[float]
    spatial_unit: str = "micrometer"
    name: str | None = None
    channel_name: str | Sequence[str] | None = None
    chunks: Sequence[int] | None = None
    shards: Any = None
    compressor: str | None = None
    levels: int | str = "auto"
    method: str = "mean"
    version: str | None = None
    jobs: int | None = None
    block: Any = None
    max_memory: int | str | None = None

    @property
    def new_version(self) -> versions.Version:
        """OME-NGFF version of a store that is not there yet."""
        sharded = self.shards is not None and not is_none(self.shards)
        return versions.new_version(self.version, sharded=sharded)

    @property
    def budget(self) -> int:
        """Bytes that may be used."""
        return Resources(self.max_memory).memory


@dataclass(frozen=True, slots=True)
class Home:
    """The place that an image gets.

    Attributes
    ----------
    axes : list of AxisMeta
        Its axes.
    channels : list of str or None
        Channels that the plate (or the empty position) has; None if there are no rules.
    version : {"0.4", "0.5"}
        OME-NGFF version.
    name : str
        Name that the image gets if none is asked for.
    fills : bool
        Whether a position is there, without an image.
    replaces : bool
        Whether a store is there that is replaced.
    """

    axes: list[AxisMeta]
    channels: list[str] | None
    version: versions.Version
    name: str
    fills: bool = False
    replaces: bool = False

    @property
    def zarr_format(self) -> ZarrFormat:
        """Version of zarr."""
        return versions.adapter(self.version).zarr_format


def find_home(place: StackWorkPlace, options: VolumeOptions, *, overwrite: bool) -> Home:
    """Look at the place of the image, and refuse one that must not be written.

    Raises
    ------
    NodeExistsError
        If there is an image.
    UnsafeTargetError
        If there is something that is no store.
    ArgumentError
        If units or versions contradict what is there.
    """
    unit = normalise_unit(options.spatial_unit, "space")
    asked = None if options.version is None else versions.check_version(options.version)
    destination, final = place.destination, place.final
    plate = destination.plate("process") if destination.root is not None else None
    if plate is not None:
        read_spec(destination.inner.split("/"))
        if targets.exists(final) and destination.inner not in plate:
            raise NodeExistsError(
                "there is something that the plate does not list", path=final, hint="move it away"
            )
    if targets.exists(final):
        found = _existing(final, plate, overwrite)
        if found is not None:
            return _checked(found, final, unit, asked, fills=True)
        return Home(space_axes(unit), None, options.new_version, destination.name, replaces=True)
    if plate is None:
        return Home(space_axes(unit), None, options.new_version, destination.name)
    destination.check_free(plate)
    return _checked(plate, final, unit, asked, fills=False)


def _existing(final: str, plate: PlateEditor | None, overwrite: bool) -> ImageEditor | None:
    """A position without an image; None for a store that is to be replaced."""
    if overwrite and plate is None:
        targets.check_replaceable(final, check_name=False)
        return None
    node = open_editor(final, mode="r+")
    if not isinstance(node, ImageEditor) or node.peek().paths():
        what = (
            "delete it first: del plate[...]"
            if plate is not None
            else "overwrite=True replaces it at the end"
        )
        raise NodeExistsError("the destination holds an image", path=final, hint=what)
    return node


def space_axes(unit: str) -> list[AxisMeta]:
    """The default axes, the spatial ones in a unit."""
    out = default_axes()
    for axis in out:
        if axis.type == "space":
            axis.unit = unit
    return out


def _checked(
    node: PlateEditor | ImageEditor, final: str, unit: str, asked: versions.Version | None, *, fills: bool
) -> Home:
    """A place in a store that exists: it has axes, units and a version already."""
    axes, version = node.axes, node.location.version
    if asked not in (None, version):
        raise ArgumentError(
            f"the store is OME-NGFF {version}, not {asked}", path=final, hint="leave version out"
        )
    wrong = [a for a in axes if a.name.lower() in _SPATIAL and a.unit not in (None, unit)]
    if wrong:
        raise ArgumentError(
            f"the axis {wrong[0].name} of the store is measured in {wrong[0].unit}, not in {unit}",
            path=final,
            hint=f"give voxel_size in {wrong[0].unit}, and spatial_unit={wrong[0].unit!r}",
        )
    names = {axis.name.lower() for axis in axes}
    if not names >= {"y", "x"}:
        raise ArgumentError(f"the store has the axes {', '.join(a.name for a in axes)}", path=final)
    if isinstance(node, PlateEditor):
        node.refresh()
        channels = list(node.own.channel_names or node.channel_names)  # what it was created for
    else:
        channels = edits.channel_names(node.meta, 0) if node.meta.omero is not None else []
    return Home(axes, channels or None, version, final.replace("\\", "/").rpartition("/")[2], fills)


@dataclass(frozen=True, slots=True)
class VolumeDraft:
    """All that is decided.

    Attributes
    ----------
    source : Source
        The pixels, with the axes of the image.
    layouts : Layouts
        Layouts of all levels.
    meta : ImagesMeta
        The image's metadata.
    blocks : list of tuple of int
        First plane, and the one after the last, of each block.
    made : int
        How many levels the blocks write, that of full resolution included.
    axis : int
        The axis of the planes.
    home : Home
        Where it goes.
    """

    source: Source
    layouts: Layouts
    meta: ImagesMeta
    blocks: list[Block]
    made: int
    axis: int
    home: Home

    def attributes(self) -> dict[str, Any]:
        """Attributes of the image's group."""
        return versions.bare_attributes(self.home.version, "image", self.meta.to_json(), {})

    def documents(self) -> list[dict[str, Any]]:
        """Documents of all levels."""
        names = [axis.name for axis in self.home.axes]
        return [layout.document(self.home.zarr_format, names) for layout in self.layouts.levels]


def make_draft(intake: Intake, home: Home, options: VolumeOptions, *, where: str) -> VolumeDraft:
    """Decide everything.

    Parameters
    ----------
    intake : Intake
        The stack.
    home : Home
        Where it goes.
    options : VolumeOptions
        What is asked for.
    where : str
        The image, for errors.

    Raises
    ------
    ArgumentError
        If something cannot be had.
    """
    names = [axis.name for axis in home.axes]
    lower = [name.lower() for name in names]
    size = check_voxel_size(options.voxel_size, len(_SPATIAL), ", ".join(_SPATIAL))
    source = rearranged(intake, names, where=where)
    if not isinstance(options.method, str):
        raise ArgumentError(f"method must be the name of a method, not {options.method!r}")
    check_method(options.method, source.dtype)
    layouts = plan_levels(
        tuple(source.shape),
        source.dtype,
        names,
        home.zarr_format,
        levels=options.levels,
        chunks=options.chunks,
        shards=options.shards,
        compressor=options.compressor,
        max_memory=options.budget,
    )
    axis = lower.index("z") if "z" in lower else 0
    grid = grids(layouts.levels, layouts.factors, axis)
    volumes = [1]
    for step in layouts.factors:
        volumes.append(volumes[-1] * math.prod(step))
    shape = tuple(source.shape)
    nbytes = math.prod(shape) // shape[axis] * source.dtype.itemsize
    blocks = choose_blocks(shape[axis], grid, nbytes, volumes, jobs=options.jobs, block=options.block)
    made = made_levels(blocks, grid)
    if reduction(options.method).overlaps and len(blocks) > 1:
        made = 1  # its windows reach beyond the block
    scale = [size[_SPATIAL.index(name)] if name in _SPATIAL else 1.0 for name in lower]
    channels = _channels(_asked(options, intake, where), _count(source, lower), home.channels, where)
    meta = _metadata(home, layouts, options, scale, channels)
    return VolumeDraft(source, layouts, meta, blocks, made, axis, home)


def _count(source: Source, names: list[str]) -> int:
    return int(source.shape[names.index("c")]) if "c" in names else 1


def _asked(options: VolumeOptions, intake: Intake, where: str) -> Any:
    """Names of the channels that are asked for, or that the files have."""
    asked, found = options.channel_name, intake.channels
    if asked is None or found is None or isinstance(asked, str):
        return found if asked is None else asked
    names = list(asked)
    if names != found and sorted(map(str, names)) == sorted(found):
        raise ArgumentError(
            f"channel_name has the names of the files in another order; theirs is {', '.join(found)}",
            path=where,
            hint="leave it out; or rename the channels in the order of the files",
        )
    return names


def _channels(asked: Any, count: int, known: list[str] | None, where: str) -> list[str]:
    """Names of the channels; none if nobody named any."""
    if asked is None:
        if known is not None and len(known) != count:
            raise ArgumentError(
                f"the stack has {count} channel{'s' * (count > 1)}, and the store {len(known)}: "
                f"{', '.join(known)}",
                path=where,
                hint="say which with channel_name= (--channel)",
            )
        return known or []
    names = check_channel_names([asked] if isinstance(asked, str) else asked)
    if len(names) != count:
        raise ArgumentError(
            f"channel_name has {len(names)} names; the stack has {count} channels", path=where
        )
    unknown = [name for name in names if known is not None and name not in known]
    if unknown:
        raise ArgumentError(
            f"the store has no channel {unknown[0]!r}", path=where, hint=f"channels: {', '.join(known or [])}"
        )
    return names


def _metadata(
    home: Home, layouts: Layouts, options: VolumeOptions, scale: list[float], channels: list[str]
) -> ImagesMeta:
    """The image's metadata, all levels listed."""
    base = layouts.levels[0]
    if options.name is not None and not isinstance(options.name, str):
        raise ArgumentError(f"name must be a string, not {options.name!r}")
    meta = edits.empty_image(home.axes, channels, options.name or home.name)
    steps = [TransformationMeta(type="scale", scale=scale)]
    edits.list_image(meta, "0", base.shape, None, steps, base.dtype.name)
    add_levels(meta, layouts.factors, options.method)
    return meta


def add_levels(meta: ImagesMeta, factors: Sequence[Sequence[int]], method: str) -> None:
    """List the levels after level 0, and say how they are made."""
    from platestore._version import __version__

    image = meta.multiscales[0]
    for k, step in enumerate(factors, 1):
        above = image.datasets[-1].coordinate_transformations
        steps = level_transform(above, step, pooled=reduction(method).is_pooled)
        image.datasets.append(DatasetMeta(path=str(k), coordinate_transformations=steps))
    if factors:
        pyramids.describe(image, method, factors, __version__)
