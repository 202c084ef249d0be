"""``open_ome_zarr``: the door to every store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Unpack, overload

from platestore.nodes.node import NGFFNode, over
from platestore.nodes.plate import Plate
from platestore.nodes.position import LabelImage, LabelsGroup, Position, TiledPosition
from platestore.nodes.row import Row
from platestore.nodes.series import Bioformats2RawSeries
from platestore.nodes.well import Well
from platestore.spec import versions
from platestore.spec.axes import AxisMeta
from platestore.spec.plate import AcquisitionMeta
from platestore.storage.base import Durability
from platestore.tree.opening import Layout, Mode, OpenOptions, open_editor

if TYPE_CHECKING:
    from platestore.tree.opening import StoreLike

#: What a path may lead to; a layout says which of them it is.
AnyNode: TypeAlias = (
    Plate | Row | Well | Position | TiledPosition | LabelImage | LabelsGroup | Bioformats2RawSeries
)


@overload
def open_ome_zarr(
    store_path: StoreLike,
    layout: Literal["hcs"],
    mode: Mode = ...,
    channel_names: Sequence[str] | None = ...,
    axes: Sequence[AxisMeta] | None = ...,
    version: versions.Version = ...,
    disable_path_checking: bool = ...,
    **kwargs: Unpack[OpenOptions],
) -> Plate: ...
@overload
def open_ome_zarr(
    store_path: StoreLike,
    layout: Literal["fov"],
    mode: Mode = ...,
    channel_names: Sequence[str] | None = ...,
    axes: Sequence[AxisMeta] | None = ...,
    version: versions.Version = ...,
    disable_path_checking: bool = ...,
    **kwargs: Unpack[OpenOptions],
) -> Position: ...
@overload
def open_ome_zarr(
    store_path: StoreLike,
    layout: Literal["tiled"],
    mode: Mode = ...,
    channel_names: Sequence[str] | None = ...,
    axes: Sequence[AxisMeta] | None = ...,
    version: versions.Version = ...,
    disable_path_checking: bool = ...,
    **kwargs: Unpack[OpenOptions],
) -> TiledPosition: ...
@overload
def open_ome_zarr(
    store_path: StoreLike,
    layout: Literal["bf2raw"],
    mode: Mode = ...,
    channel_names: Sequence[str] | None = ...,
    axes: Sequence[AxisMeta] | None = ...,
    version: versions.Version = ...,
    disable_path_checking: bool = ...,
    **kwargs: Unpack[OpenOptions],
) -> Bioformats2RawSeries: ...
@overload
def open_ome_zarr(
    store_path: StoreLike,
    layout: Layout = ...,
    mode: Mode = ...,
    channel_names: Sequence[str] | None = ...,
    axes: Sequence[AxisMeta] | None = ...,
    version: versions.Version = ...,
    disable_path_checking: bool = ...,
    **kwargs: Unpack[OpenOptions],
) -> AnyNode: ...
def open_ome_zarr(
    store_path: StoreLike,
    layout: Layout = "auto",
    mode: Mode = "r",
    channel_names: Sequence[str] | None = None,
    axes: Sequence[AxisMeta] | None = None,
    version: versions.Version = versions.DEFAULT_VERSION,
    disable_path_checking: bool = False,
    *,
    overwriting_creation: bool = False,
    name: str | None = None,
    acquisitions: Sequence[AcquisitionMeta] | None = None,
    plate_format: int | None = None,
    durability: Durability = "process",
    lock: bool = True,
    lock_timeout: float = 60.0,
    follow_links: bool = False,
    missing: Literal["fill", "raise"] = "fill",
) -> NGFFNode[Any]:
    """Open or create an OME-Zarr store, or any node in one.

    Parameters
    ----------
    store_path : str, Path or zarr Store
        The store. A path inside a plate (``plate.zarr/A/1/0``) opens that node without reading the
        plate. A zipped store (``plate.ozx``, ``plate.ozx/A/1/0``) is opened for reading only. A Store that
        is no local directory has a single writer and no locks.
    layout : {"auto", "fov", "hcs", "tiled", "bf2raw"}
        ``"fov"`` is a single position, ``"hcs"`` a plate, ``"tiled"`` a position with tiled arrays,
        ``"bf2raw"`` a bioformats2raw collection (reading only). ``"auto"`` infers it from the metadata
        and cannot create.
    mode : {"r", "r+", "a", "w", "w-"}
        Read; read and write; the same, created if missing; create, replacing what is there; create,
        failing if something is there.
    channel_names : list of str, optional
        Channel names of a new store; ignored for an existing one.
    axes : list of AxisMeta, optional
        Axes of a new store, T, C, Z, Y, X by default; ignored for an existing one.
    version : {"0.4", "0.5"}
        OME-NGFF version of a new store (zarr v2 or v3); an existing one says its own.
    disable_path_checking : bool
        Whether ``mode="w"`` may replace a store whose name does not contain ``.zarr``, or that has no OME
        metadata. That it must be a zarr hierarchy, or a tree without a single file, is never lifted.
    overwriting_creation : bool
        Whether creating a child that exists replaces it.
    name : str, optional
        Name of a new store, for people; that of its directory by default.
    acquisitions : list of AcquisitionMeta, optional
        Acquisitions of a new plate.
    plate_format : int, optional
        Number of wells of a new plate, 6 to 1536: its rows and columns are listed from the start.
    durability : {"process", "metadata", "full"}
        What is flushed to the device before a call returns: nothing (what was written survives the process),
        documents, or documents and pixels.
    lock : bool
        Whether changes are locked against other processes.
    lock_timeout : float
        Seconds to wait for a lock.
    follow_links : bool
        Whether links that lead out of the store may be written through.
    missing : {"fill", "raise"}
        Whether a chunk that was never written reads as the fill value, or is an error.

    Returns
    -------
    Plate, Well, Row, Position, TiledPosition, LabelImage, LabelsGroup or Bioformats2RawSeries

    Raises
    ------
    NodeNotFoundError
        If the store does not exist, with modes "r" and "r+".
    NodeExistsError
        If it does, with mode "w-".
    UnsafeTargetError
        If ``mode="w"`` would replace something other than a store.
    ArgumentError
        If an argument is wrong or missing, or the layout does not match the store.
    InvalidMetadataError, UnsupportedVersionError
        If the store's metadata cannot be used.
    ReadOnlyError, UnsupportedError
        If a zipped store is to be changed or created.

    Examples
    --------
    >>> with ps.open_ome_zarr("plate.zarr") as plate:
    ...     for path, position in plate.positions():
    ...         print(path, position["0"].shape)
    A/1/0 (1, 2, 4, 64, 64)
    B/2/0 (1, 2, 4, 64, 64)
    >>> new = ps.open_ome_zarr("new.zarr", layout="fov", mode="w-", channel_names=["DAPI"], version="0.5")
    >>> new["0"] = np.zeros((1, 1, 4, 64, 64), "uint16")
    """
    editor = open_editor(
        store_path,
        layout,
        mode,
        channel_names,
        axes,
        version,
        disable_path_checking,
        overwriting_creation=overwriting_creation,
        name=name,
        acquisitions=acquisitions,
        plate_format=plate_format,
        durability=durability,
        lock=lock,
        lock_timeout=lock_timeout,
        follow_links=follow_links,
        missing=missing,
    )
    node: NGFFNode[Any] = over(editor)
    return node
