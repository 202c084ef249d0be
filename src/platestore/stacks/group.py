"""A volume that is filled slab by slab, by one process or many, and gets one level after the other."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from platestore.errors import ArgumentError, InvalidMetadataError, LevelNotFoundError, UnsupportedError
from platestore.progress import Progress, shown
from platestore.publish import targets
from platestore.resources import Resources
from platestore.settings import config
from platestore.spec.edits import effective_scale
from platestore.spec.units import normalise_unit
from platestore.stacks import methods
from platestore.stacks.array_spec import AXES, array_document, conflicts
from platestore.stacks.creation import Origin, check_origin, create_volume
from platestore.stacks.filling import add_level, document_of, fill_region, image_of
from platestore.stacks.units import SPATIAL_UNIT, check_voxel_size
from platestore.storage.ozx import names_archive
from platestore.tree.image import ImageEditor
from platestore.tree.opening import open_editor

if TYPE_CHECKING:
    from platestore.arrays.image import ImageArray
    from platestore.spec.multiscales import MultiScaleMeta

_AXES = ", ".join(AXES)


class MultiScaleGroup:
    """A volume of axes x, y, z with its levels (OME-NGFF 0.5).

    Parameters
    ----------
    path : path
        The group, a local directory. One that exists is opened; what is said of it here must agree with it.
    name : str
        Name of the image.
    voxel_size : sequence of float
        Size of a voxel along x, y and z.
    spatial_unit : str
        Unit of the voxel size, one of :data:`SPATIAL_UNIT`.
    array_spec : ArraySpec, optional
        The array of full resolution, for a new group: ours, or that of pydantic-zarr for zarr v3. Unless it
        has shards of its own, a shard holds all of a plane, and one chunk along z. It is not changed.
    origin : {"center", "corner"}, optional
        Where the first voxel of full resolution lies: with its centre at 0, as most programs understand
        OME-NGFF ("center", for new groups), or with its corner, so that the stored translation of every level
        is half a voxel of that level ("corner", as stack-to-chunk writes it). That of a group that exists is
        recognised.

    Raises
    ------
    ArgumentError
        If an argument is wrong, contradicts the group that exists, or ``array_spec`` is missing for a new
        one.
    UnsafeTargetError, InvalidMetadataError
        If something else is there.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        name: str,
        voxel_size: Sequence[float],
        spatial_unit: SPATIAL_UNIT | str,
        array_spec: Any = None,
        origin: Origin | None = None,
    ) -> None:
        size = check_voxel_size(voxel_size, len(AXES), _AXES)
        unit = normalise_unit(spatial_unit, "space")
        if not isinstance(name, str):
            raise ArgumentError(f"name must be a string, not {name!r}")
        check_origin(origin)
        asked = None if array_spec is None else array_document(array_spec)
        self._path = os.path.abspath(os.fspath(path))
        if names_archive(self._path):
            raise UnsupportedError(
                "an archive cannot be written slab by slab",
                path=self._path,
                hint="fill a .zarr group, then `platestore copy x.zarr x.ozx`",
            )
        if not targets.exists(self._path):
            if asked is None:
                raise ArgumentError(
                    "there is no such group, and no array_spec to create it by",
                    path=self._path,
                    hint="pass array_spec=, or check the path",
                )
            create_volume(self._path, name, size, unit, asked, origin or "center")
        self._open(origin)
        self._check_agrees(name, size, unit, None if asked is None else asked[0])

    def _open(self, origin: Origin | None) -> None:
        """Open a group that exists."""
        node = open_editor(self._path, mode="r+")
        if not isinstance(node, ImageEditor):
            raise InvalidMetadataError(
                f"is no image, but a {node.title}",
                path=self._path,
                hint="name the group of a volume",
            )
        self._position: ImageEditor = node
        image = image_of(self._position)
        names = [axis.name for axis in image.axes]
        if [name.lower() for name in names] != list(AXES) or not image.datasets:
            what = "no level 0" if not image.datasets else f"the axes {', '.join(names)}"
            raise InvalidMetadataError(
                f"the image has {what}; that of a volume has the axes {_AXES}",
                path=self._path,
                hint="open_ome_zarr() opens images of all kinds",
            )
        found = self._found_origin(image)
        if origin == "corner" and found != "corner":
            raise ArgumentError(
                "origin is 'corner', but level 0 of this group is not shifted by half a voxel",
                path=self._path,
                hint="leave origin out: it is recognised",
            )
        self._origin: Origin = origin or found

    def _found_origin(self, image: MultiScaleMeta) -> Origin:
        from platestore.spec.transforms import scale_of, translation_of

        steps = image.datasets[0].coordinate_transformations
        rows = zip(scale_of(steps, len(AXES)), translation_of(steps, len(AXES)), strict=True)
        return "corner" if all(math.isclose(t, s / 2, rel_tol=1e-6) for s, t in rows) else "center"

    def _check_agrees(
        self, name: str, size: Sequence[float], unit: str, document: dict[str, Any] | None
    ) -> None:
        """Refuse arguments that say something else than the group."""
        same = all(math.isclose(a, b, rel_tol=1e-9) for a, b in zip(size, self.voxel_size, strict=True))
        wrong = [
            f"{what} is {found!r}, not {given!r}"
            for what, given, found, agrees in (
                ("name", name, self.name, name == self.name),
                ("voxel_size", tuple(size), self.voxel_size, same),
                ("spatial_unit", unit, self.spatial_unit, unit == self.spatial_unit),
            )
            if not agrees
        ]
        if document is not None:
            found = document_of(self._position, 0)
            wrong += [f"array_spec: {text}" for text in conflicts(document, found.content, where=self._path)]
        if wrong:
            raise ArgumentError(
                f"the group exists, and differs from what was asked for: {'; '.join(wrong)}",
                path=self._path,
                hint="open_multiscale_group() opens it as it is",
            )

    def __repr__(self) -> str:
        return f"<MultiScaleGroup {self._path} levels={self.levels}>"

    # --- what it is -------------------------------------------------------------------------------

    @property
    def path(self) -> str:
        """Absolute path of the group."""
        return self._path

    @property
    def name(self) -> str:
        """Name of the image."""
        return image_of(self._position).name or ""

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """Size of a voxel of full resolution along x, y and z."""
        x, y, z = effective_scale(self._position.meta, image_of(self._position).datasets[0].path)
        return (x, y, z)

    @property
    def spatial_unit(self) -> str:
        """Unit of the voxel size; empty if the metadata name none."""
        return image_of(self._position).axes[0].unit or ""

    @property
    def origin(self) -> Origin:
        """Whether the first voxel lies with its centre at 0, or with its corner."""
        return self._origin

    @property
    def levels(self) -> list[int]:
        """Levels that are stored: 0 is the full resolution, ``i`` is smaller by ``2**i``."""
        return list(range(len(image_of(self._position).datasets)))

    @property
    def chunk_size_z(self) -> int:
        """Planes in a slab: what one file of level 0 holds along z."""
        array = self[0]
        return int((array.shards or array.chunks)[2])

    def __getitem__(self, level: int) -> ImageArray:
        """Get the array of a level.

        Raises
        ------
        LevelNotFoundError
            If there is no such level.
        """
        datasets = image_of(self._position).datasets
        if isinstance(level, bool) or not hasattr(level, "__index__") or not 0 <= level < len(datasets):
            raise LevelNotFoundError(
                f"there is no level {level!r}", path=self._path, hint=f"levels: {self.levels}"
            )
        array: ImageArray = self._position[datasets[operator.index(level)].path]
        return array

    # --- filling it -------------------------------------------------------------------------------

    def add_full_res_data(
        self,
        data: Any,
        *,
        n_processes: int,
        start_z_idx: int = 0,
        max_memory: int | str | None = None,
        progress: bool | Progress | None = None,
    ) -> None:
        """Write full-resolution data, slab by slab.

        Several processes may do so side by side, for different slabs. Levels that there are already are
        marked as out of date.

        Parameters
        ----------
        data : dask array, or another array
            Shape (nx, ny, number of planes), of the volume's data type. Dask arrays of single planes (chunks
            of (nx, ny, 1)) are computed plane by plane; numpy, zarr and HDF5 arrays will do as well.
        n_processes : int
            Number of workers, threads of this process: numpy and the codecs let them run side by side. -1
            stands for all processors, -2 for all but one, and so on.
        start_z_idx : int
            Plane of the volume at which the data start: the first one of a slab.
        max_memory : int or str, optional
            Bytes by which the process may grow; that of ``platestore.config`` by default.
        progress : bool or callable, optional
            Whether a bar is shown; or called with the bytes done and the total.

        Raises
        ------
        ArgumentError
            If shape or data type do not fit, or the data start or end within a slab or beyond the volume; the
            message names the right values.
        BudgetError
            If ``max_memory`` is too small.

        Examples
        --------
        >>> from platestore.stacks import ArraySpec, MultiScaleGroup
        >>> spec = ArraySpec(shape=(64, 64, 16), dtype="uint16", chunks=(32, 32, 8))
        >>> volume = MultiScaleGroup(
        ...     "brain.zarr", name="brain", voxel_size=(0.5, 0.5, 2.0), spatial_unit="um", array_spec=spec
        ... )
        >>> volume.add_full_res_data(np.full((64, 64, 8), 5, "uint16"), n_processes=1, start_z_idx=8)
        >>> volume[0][0, 0, ::4]
        array([0, 0, 5, 5], dtype=uint16)
        """
        with shown(progress, "slabs") as show:
            fill_region(self._position, data, start_z_idx, resources_of(n_processes, max_memory, show))

    def add_downsample_level(
        self,
        level: int,
        *,
        n_processes: int = 1,
        downsample_func: Any = methods.mean,
        overwrite: bool = False,
        max_memory: int | str | None = None,
        progress: bool | Progress | None = None,
    ) -> None:
        """Make a level from the one before it, two voxels into one along each axis.

        The level is listed when it is complete. One that is made anew stays until then; coarser ones are
        marked as out of date.

        Parameters
        ----------
        level : int
            The level, 1 or more; the one before it must be there.
        n_processes : int
            Number of workers, as for :meth:`add_full_res_data`.
        downsample_func : callable
            Any function that is called with windows, and ``axis``, a tuple of the axes to be reduced, such as
            those of numpy. For integers its results are rounded half to even, and held to the range of the
            type. :func:`platestore.stacks.mean` and :func:`~platestore.stacks.mode` (for labels),
            ``numpy.min`` and ``max``, and ``numpy.mean`` of integers of up to 32 bits run in the engine's own
            kernels, which give the same. ``"median"`` is a fast one, which takes the lower of two middle
            values.
        overwrite : bool
            Whether a level that is there is made anew.
        max_memory, progress
            As for :meth:`add_full_res_data`.

        Raises
        ------
        ArgumentError
            If ``level`` is not 1 or more, or the volume is too small for it.
        LevelExistsError
            If it is there already; a RuntimeError.
        LevelNotFoundError
            If the one before it is not; a RuntimeError.
        BudgetError
            If ``max_memory`` is too small.

        Examples
        --------
        >>> from platestore.stacks import ArraySpec, MultiScaleGroup, mode
        >>> spec = ArraySpec(shape=(64, 64, 16), dtype="uint16", chunks=(32, 32, 8))
        >>> volume = MultiScaleGroup(
        ...     "brain.zarr", name="brain", voxel_size=(0.5, 0.5, 2.0), spatial_unit="um", array_spec=spec
        ... )
        >>> volume.add_downsample_level(1)
        >>> volume.add_downsample_level(2, downsample_func=mode)
        >>> volume.levels, volume[2].shape
        ([0, 1, 2], (16, 16, 4))
        """
        with shown(progress, f"level {level}") as show:
            resources = resources_of(n_processes, max_memory, show)
            add_level(self._position, level, downsample_func, resources, overwrite=bool(overwrite))


def open_multiscale_group(path: str | os.PathLike[str], *, origin: Origin | None = None) -> MultiScaleGroup:
    """Open a volume that exists, with the name, voxel size and unit that it has.

    Parameters
    ----------
    path : path
        The group.
    origin : {"center", "corner"}, optional
        As for :class:`MultiScaleGroup`; recognised by default.

    Raises
    ------
    NodeNotFoundError
        If there is none.
    InvalidMetadataError
        If it is no volume of axes x, y, z.

    Examples
    --------
    >>> from platestore.stacks import ArraySpec, MultiScaleGroup, open_multiscale_group
    >>> spec = ArraySpec(shape=(64, 64, 16), dtype="uint16", chunks=(32, 32, 8))
    >>> volume = MultiScaleGroup(
    ...     "brain.zarr", name="brain", voxel_size=(0.5, 0.5, 2.0), spatial_unit="um", array_spec=spec
    ... )
    >>> again = open_multiscale_group("brain.zarr")
    >>> again.name, again.voxel_size, again[0].shape
    ('brain', (0.5, 0.5, 2.0), (64, 64, 16))
    """
    check_origin(origin)
    group = MultiScaleGroup.__new__(MultiScaleGroup)
    group._path = os.path.abspath(os.fspath(path))
    group._open(origin)
    return group


def resources_of(n_processes: int, max_memory: int | str | None, progress: Progress | None) -> Resources:
    """What a call may use.

    Raises
    ------
    ArgumentError
        If the number of workers is 0 or no integer.
    """
    if isinstance(n_processes, bool) or not hasattr(n_processes, "__index__") or not n_processes:
        raise ArgumentError(
            f"n_processes must be an integer of 1 or more, or -1 for all processors, not {n_processes!r}"
        )
    count = operator.index(n_processes)
    workers = count if count > 0 else max(1, config.threads + 1 + count)
    return Resources(max_memory=max_memory, workers=workers, progress=progress)
