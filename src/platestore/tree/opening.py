"""From a path or zarr store to the editor of one node: the rules of mode, layout and version.

Every argument and the target are checked before anything is written or deleted.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, Unpack

from platestore.errors import (
    ArgumentError,
    InvalidMetadataError,
    NodeExistsError,
    NodeNotFoundError,
    PlatestoreError,
    ReadOnlyError,
    UnsafeTargetError,
    UnsupportedError,
)
from platestore.publish import targets
from platestore.spec import edits, versions
from platestore.spec.axes import AxisMeta, check_axes, default_axes
from platestore.spec.omero import check_channel_names
from platestore.spec.own import OwnMeta
from platestore.spec.plate import AcquisitionMeta, PlateMeta, check_acquisitions, check_format, grid
from platestore.spec.values import Json
from platestore.storage.base import Durability, Storage, StorageOptions
from platestore.storage.files import temporary_name
from platestore.storage.hierarchy import (
    OF_AN_ARRAY,
    ZarrFormat,
    array_attributes,
    create_node,
    group_files,
    misplaced_metadata,
    read_array,
    read_group,
)
from platestore.storage.local import LocalStorage, find_root, nothing_there
from platestore.storage.ozx import OzxStorage, find_archive, names_archive, refuse_zip
from platestore.tree.editor import AnyEditor
from platestore.tree.image import ImageEditor, LabelImageEditor, LabelsEditor, TiledEditor
from platestore.tree.location import Location, storage_of
from platestore.tree.plate import PlateEditor, RowEditor
from platestore.tree.series import SeriesEditor
from platestore.tree.upkeep import UPKEEP
from platestore.tree.well import WellEditor

if TYPE_CHECKING:
    from zarr.abc.store import Store
    from zarr.storage import StorePath

    StoreLike: TypeAlias = str | os.PathLike[str] | Store | StorePath

Layout = Literal["auto", "fov", "hcs", "tiled", "bf2raw"]
Mode = Literal["r", "r+", "a", "w", "w-"]

_LAYOUTS = ("auto", "fov", "hcs", "tiled", "bf2raw")
_MODES = ("r", "r+", "a", "w", "w-")
_KIND_OF_LAYOUT = {"fov": "image", "tiled": "image", "hcs": "plate", "bf2raw": "series"}
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


class OpenOptions(TypedDict, total=False):
    """Further keywords of :func:`open_ome_zarr`."""

    overwriting_creation: bool
    name: str | None
    acquisitions: Sequence[AcquisitionMeta] | None
    plate_format: int | None
    durability: Durability
    lock: bool
    lock_timeout: float
    follow_links: bool
    missing: Literal["fill", "raise"]


@dataclass(frozen=True, slots=True)
class _Request:
    """The arguments of one call, checked."""

    layout: Layout
    mode: Mode
    version: versions.Version
    channel_names: list[str] | None
    axes: list[AxisMeta] | None
    check_name: bool
    options: StorageOptions
    overwriting: bool
    name: str | None
    acquisitions: list[AcquisitionMeta] | None
    plate_format: int | None

    def require_creatable(self, target: str) -> None:
        """Refuse to create what the arguments do not describe."""
        if self.layout == "auto":
            raise ArgumentError(
                "layout='auto' cannot create a store", path=target, hint="pass layout='hcs', 'fov' or 'tiled'"
            )
        if self.layout == "bf2raw":
            raise UnsupportedError("bioformats2raw collections are read, not created", path=target)
        if self.channel_names is None:
            raise ArgumentError(
                "channel_names must be given to create a store",
                path=target,
                hint='channel_names=["DAPI", ...]',
            )


def open_editor(
    store_path: StoreLike,
    layout: Layout = "auto",
    mode: Mode = "r",
    channel_names: Sequence[str] | None = None,
    axes: Sequence[AxisMeta] | None = None,
    version: versions.Version = versions.DEFAULT_VERSION,
    disable_path_checking: bool = False,
    **options: Unpack[OpenOptions],
) -> AnyEditor:
    """Open or create a store, or any node in one: :func:`platestore.open_ome_zarr`, which says it all."""
    try:
        request = _check_arguments(layout, mode, channel_names, axes, version, disable_path_checking, options)
    except ArgumentError as error:
        error.path = error.path or str(store_path)
        raise
    if isinstance(store_path, (str, os.PathLike)):
        return _open_path(_local_path(store_path), request)
    return _open_store(store_path, request)


def _check_arguments(
    layout: Any,
    mode: Any,
    channel_names: Any,
    axes: Iterable[AxisMeta] | None,
    version: Any,
    disable_path_checking: bool,
    options: OpenOptions,
) -> _Request:
    if layout not in _LAYOUTS:
        raise ArgumentError(f"layout {layout!r} is unknown", hint=f"one of {', '.join(_LAYOUTS)}")
    if mode not in _MODES:
        raise ArgumentError(f"mode {mode!r} is unknown", hint=f"one of {', '.join(_MODES)}")
    acquisitions, plate_format = options.get("acquisitions"), options.get("plate_format")
    request = _Request(
        layout=layout,
        mode=mode,
        version=versions.check_version(version) if mode not in ("r", "r+") else versions.DEFAULT_VERSION,
        channel_names=None if channel_names is None else check_channel_names(channel_names),
        axes=None if axes is None else check_axes(axes),
        check_name=not disable_path_checking,
        options=StorageOptions(
            read_only=mode == "r",
            durability=options.get("durability", "process"),
            lock=bool(options.get("lock", True)),
            lock_timeout=options.get("lock_timeout", 60.0),
            follow_links=bool(options.get("follow_links", False)),
            missing=options.get("missing", "fill"),
        ),
        overwriting=bool(options.get("overwriting_creation", False)),
        name=options.get("name"),
        acquisitions=None if acquisitions is None else check_acquisitions(acquisitions),
        plate_format=None if plate_format is None else check_format(plate_format),
    )
    if request.name is not None and not isinstance(request.name, str):
        raise ArgumentError(f"name must be a string, not {request.name!r}")
    if layout != "hcs" and (request.acquisitions is not None or request.plate_format is not None):
        raise ArgumentError("acquisitions and plate_format describe a plate", hint='pass layout="hcs"')
    return request


def _local_path(store_path: str | os.PathLike[str]) -> str:
    text = os.fspath(store_path)
    if not isinstance(text, str) or not text or "\0" in text:
        raise ArgumentError(f"{store_path!r} is no path")
    if _URL.match(text):
        raise UnsupportedError(
            "URLs are not opened by themselves",
            path=text,
            hint="pass a zarr Store, such as FsspecStore.from_url(...)",
        )
    return os.path.abspath(text)


# --- local directories ----------------------------------------------------------------------------


def _open_path(path: str, request: _Request) -> AnyEditor:
    if names_archive(path):
        return _open_archive(path, request)
    mode = request.mode
    present = targets.exists(path)
    if mode in ("r", "r+") or (mode == "a" and present):
        return _open_existing_path(path, request)
    request.require_creatable(path)
    if present:
        if mode == "w-":
            raise NodeExistsError(
                "the store exists", path=path, hint='mode="a" opens it, mode="w" replaces it'
            )
        targets.check_replaceable(path, check_name=request.check_name)
    elif os.path.lexists(path) and mode == "w":
        targets.check_replaceable(path, check_name=False)
    root, inner = find_root(path)
    if inner:
        raise UnsafeTargetError(
            f"would lie inside the store {root}, which would not list it",
            path=path,
            hint="create positions through the plate: plate.create_position(...)",
        )
    try:
        _create_path(path, request, replace=mode == "w")
    except NodeExistsError:
        if mode != "a":
            raise
        # Somebody else created it first: theirs is the store.
    return _open_existing_path(path, request, created=True)


def _open_archive(path: str, request: _Request) -> AnyEditor:
    """Open a zipped store, or a node in one."""
    found = find_archive(path)
    if found is not None and request.mode in ("r+", "a"):
        raise ReadOnlyError(
            f"a zipped store is only read; mode {request.mode!r} cannot be had",
            path=path,
            hint="a zip cannot replace an entry: `platestore copy x.ozx x.zarr`, then change that",
        )
    if request.mode != "r":
        raise UnsupportedError(
            "a zipped store is not created, changed or replaced here: a zip cannot replace an entry",
            path=path,
            hint="create a .zarr store, then write the archive with `platestore copy x.zarr x.ozx`",
        )
    if found is None:
        raise NodeNotFoundError("there is no such archive", path=path)
    archive, inner = found
    return _open_node(OzxStorage(archive, request.options), inner, request)


def _open_existing_path(path: str, request: _Request, *, created: bool = False) -> AnyEditor:
    if not os.path.exists(path):
        raise nothing_there(path)
    if not os.path.isdir(path):
        refuse_zip(path)
        raise InvalidMetadataError("is a file, not an OME-Zarr store", path=path)
    root, inner = find_root(path)
    try:
        return _open_node(LocalStorage(root, request.options), inner, request, created=created)
    except NodeNotFoundError:
        if request.mode != "a":
            raise
        raise UnsafeTargetError(
            "is a directory with files, but no zarr store",
            path=path,
            hint="nothing was changed; name another path to create a store",
        ) from None


def _create_path(path: str, request: _Request, *, replace: bool) -> None:
    """Build the new store beside its place, then install it."""
    parent, name = os.path.split(path)
    os.makedirs(parent, exist_ok=True)
    building = os.path.join(parent, temporary_name(name))
    storage = LocalStorage(building, StorageOptions(read_only=False, durability=request.options.durability))
    try:
        _create_root(storage, "", request, LocalStorage(path, request.options).name_of(""))
        targets.install(building, path, replace=replace, sync=request.options.durability != "process")
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def _create_root(storage: Storage, path: str, request: _Request, name: str) -> set[str]:
    """Write the documents of an empty store: what it will be, in platestore's namespace.

    Returns
    -------
    set of str
        Names of the documents.
    """
    names, axes = request.channel_names or [], request.axes or default_axes()
    own: Json = {}
    if request.layout == "hcs":
        rows, columns = grid(request.plate_format) if request.plate_format else ([], [])
        meta = PlateMeta(
            rows=rows, columns=columns, wells=[], acquisitions=request.acquisitions, name=request.name or name
        )
        parts: Json = {"plate": meta.to_json()}
        own = OwnMeta(channel_names=names, axes=axes, plate_format=request.plate_format).to_json()
        kind: versions.Kind = "plate"
    else:
        parts = edits.empty_image(axes, names, request.name or name).to_json()
        kind = "image"
    attributes = versions.bare_attributes(request.version, kind, parts, own)
    zarr_format = Location(storage, path, request.version).zarr_format
    files = group_files(zarr_format, attributes, where=storage.where(path))
    create_node(storage, path, files)
    return {file for file, _ in files}


# --- zarr stores ----------------------------------------------------------------------------------


def _open_store(store: Any, request: _Request) -> AnyEditor:
    from zarr.abc.store import Store
    from zarr.storage import LocalStore, StorePath

    path = ""
    if isinstance(store, StorePath):
        store, path = store.store, store.path
    if not isinstance(store, Store):
        raise ArgumentError(
            f"a store must be a path or a zarr Store, not {type(store).__name__}",
            hint="wrap an fsspec mapping in zarr.storage.FsspecStore",
        )
    if request.mode != "r" and store.read_only:
        raise ReadOnlyError(f"the store is read-only; mode {request.mode!r} cannot be had", path=str(store))
    if isinstance(store, LocalStore):
        return _open_path(os.path.join(str(store.root.absolute()), *filter(None, path.split("/"))), request)
    storage = storage_of(store, request.options)
    directories, files = storage.list(path) if request.mode not in ("r", "r+") else ([], [])
    present = bool(directories) or not set(files) <= {".zattrs"}  # alone, what a crash left of a creation
    if request.mode in ("r", "r+") or (request.mode == "a" and present):
        return _open_node(storage, path, request)
    request.require_creatable(storage.where(path))
    if present:
        if request.mode == "w-":
            raise NodeExistsError("the store exists", path=storage.where(path))
        if not set(files) & {"zarr.json", ".zgroup", ".zarray"}:
            raise UnsafeTargetError("holds keys, but is no zarr store", path=storage.where(path))
        foreign = storage.foreign_keys(path)
        if foreign:
            raise UnsafeTargetError(
                f"holds keys that are not part of a zarr store: {', '.join(foreign[:5])}",
                path=storage.where(path),
                hint="nothing was deleted; remove them first",
            )
    # The new root is the commit point; what the old one listed goes after it.
    kept = _create_root(storage, path, request, "plate" if request.layout == "hcs" else "image")
    if present:
        storage.sweep(path, kept)
    return _open_node(storage, path, request, created=True)


# --- nodes ----------------------------------------------------------------------------------------


def _open_node(storage: Storage, path: str, request: _Request, *, created: bool = False) -> AnyEditor:
    """Open what is at a path as the node its metadata says it is."""
    storage.check_links(path, writing=False)
    group = read_group(storage, path)
    where = storage.where(path)
    if group is None:
        for zarr_format in (3, 2):
            fmt: ZarrFormat = 3 if zarr_format == 3 else 2
            if read_array(storage, path, fmt) is not None:
                if versions.kind_of(array_attributes(storage, path, fmt), fmt) != "unknown":
                    hint = "move it into the document of a group around the array; zarr reads the array alone"
                    raise InvalidMetadataError(OF_AN_ARRAY, path=where, hint=hint)
                raise ArgumentError("is an array, not a group", path=where, hint="open the group above it")
        raise NodeNotFoundError("there is no zarr group here", path=where, hint="is this the store's root?")
    version = versions.detect_version(group.attributes, group.zarr_format, path=where)
    location = Location(storage, path, version)
    kind = group.kind
    if kind == "unknown":
        misplaced = misplaced_metadata(storage, path, group.document.content, group.zarr_format)
        if misplaced is not None:
            raise InvalidMetadataError(
                misplaced,
                path=where,
                hint="move it there, or convert the store with the program that wrote it",
            )
    if kind == "unknown" and request.layout == "auto" and UPKEEP.plate_around(location, 1) is not None:
        return RowEditor(location, UPKEEP, overwriting=request.overwriting).refresh()
    if kind == "unknown" and _KIND_OF_LAYOUT.get(request.layout) != "image":
        raise InvalidMetadataError(
            "the group has no OME-NGFF metadata", path=where, hint=_what_to_open(location)
        )
    is_new = created or kind == "unknown"
    node = _class_for(kind, request.layout, where)(
        location,
        UPKEEP,
        channel_names=request.channel_names if is_new else None,
        axes=request.axes if is_new else None,
        overwriting=request.overwriting,
    )
    node.load(group)  # the document is in hand: it is not read twice
    if kind == "series":
        with contextlib.suppress(InvalidMetadataError):  # of the list, which is an error where it is used
            node.names()  # warns where there is no image
    return node


def _class_for(kind: versions.Kind, layout: Layout, where: str) -> type[AnyEditor]:
    """The node class for what the metadata says and the caller expects."""
    found: dict[str, type[AnyEditor]] = {
        "plate": PlateEditor,
        "well": WellEditor,
        "image": TiledEditor if layout == "tiled" else ImageEditor,
        "label": TiledEditor if layout == "tiled" else LabelImageEditor,
        "labels": LabelsEditor,
        "series": SeriesEditor,
    }
    expected = _KIND_OF_LAYOUT.get(layout)
    if kind == "unknown":
        return found["image"]  # that another tool left empty
    if expected not in (None, "image" if kind == "label" else kind):
        raise ArgumentError(
            f"layout {layout!r} does not match the metadata, which is that of {_ARTICLE[kind]}",
            path=where,
            hint='layout="auto" opens what is there',
        )
    return found[kind]


def _what_to_open(location: Location) -> str:
    """Which nodes below a group without metadata can be opened, or how one that lost its own is mended."""
    storage = location.storage
    named = []
    with contextlib.suppress(OSError, ValueError, PlatestoreError):
        for name in storage.list(location.path)[0][:_LOOKED_AT]:
            group = None if name.startswith(".") else read_group(storage, location.child(name).path)
            kind = "unknown" if group is None else group.kind
            if kind in _ARTICLE and kind != "well":
                named.append(f"{name!r} is {_ARTICLE[kind]}")
    if named:
        return f"open a node below it: {', '.join(named[:3])}"
    return (
        "open another node of the store; if it was a plate, well or image, `platestore check` tells what is "
        "there, and `--repair` writes its document"
    )


# Groups below one that says nothing, to name what can be opened.
_LOOKED_AT = 20
_ARTICLE = {
    "plate": "a plate",
    "well": "a well",
    "image": "an image",
    "label": "a label image",
    "labels": "a group of label images",
    "series": "a bioformats2raw series",
}
