"""Where pixels come from, so that nobody overwrites what is still being read."""

from __future__ import annotations

import functools
import logging
import os
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from platestore.errors import NodeNotFoundError

# Packages whose objects are searched for arrays, however deep they lie.
_SEARCHED = ("dask", "platestore", "xarray")
# Objects of any other package are searched too, but not all that hangs on them.
_DEEPEST = 3
_PLAIN = (
    *(bytes, bytearray, int, float, complex, bool, type(None), type, slice, np.dtype, np.generic),
    *(types.ModuleType, logging.Logger),
)


def origins(data: Any) -> Iterator[Any]:
    """Places that an array is read from: absolute paths of files or directories, and zarr stores.

    Dask graphs are searched without making their tasks; strings in them that are paths count as well. So
    are functions, with all that they refer to, and the attributes of objects.

    Parameters
    ----------
    data : array, Source, or an object of this library or of xarray that holds one
        What is searched.
    """
    return (place for _, place in _found(data))


def require_there(data: Any) -> None:
    """Refuse an array that is read from a store's array which is gone, or another one by now.

    What was opened before would read fill values there, without an error.

    Parameters
    ----------
    data : array, Source, or an object that holds one
        What is to be read.

    Raises
    ------
    NodeNotFoundError
        If a document is not there any more, or says that chunks are laid out in another way.
    """
    for item, place in _found(data):
        fate = _fate(item) if hasattr(item, "store_path") and hasattr(item, "dtype") else None
        if fate is not None:
            raise NodeNotFoundError(
                f"the array that the pixels are read from {fate}",
                path=str(place),
                hint="open the image again, or keep its pixels in memory",
            )


def _fate(array: Any) -> str | None:
    """What has become of a zarr array since it was opened, if it cannot be read any more."""
    import zarr
    from zarr.errors import NodeTypeValidationError

    try:
        found = zarr.open_array(array.store_path, mode="r", zarr_format=array.metadata.zarr_format)
    except (FileNotFoundError, NodeTypeValidationError):
        return "is gone"
    except Exception:  # noqa: BLE001 - whatever is wrong with it, reading will say so
        return None
    pairs = [(a.chunks, a.shards, a.dtype) for a in (array, found)]
    return None if pairs[0] == pairs[1] else "was replaced by another one since it was opened"


def _found(data: Any) -> Iterator[tuple[Any, Any]]:
    """Arrays that others are read from, each with its place."""
    seen: set[int] = set()
    left: list[tuple[Any, int]] = [(data, 0)]
    kept: list[Any] = []  # what is made on the way must live, or its id could come again
    while left:
        item, depth = left.pop()
        if isinstance(item, _PLAIN) or id(item) in seen:
            continue
        seen.add(id(item))
        kept.append(item)
        place = _place(item)
        if place is not None:
            yield item, place
            continue
        depth += _is_strange(item)
        if depth <= _DEEPEST:
            left.extend((part, depth) for part in _parts(item))


def _place(item: Any) -> Any:
    """Where an array is, if that is what it is."""
    if isinstance(item, str):
        return item if os.sep in item and "\0" not in item and os.path.lexists(item) else None
    if isinstance(item, np.memmap):
        return None if item.filename is None else os.fspath(item.filename)
    if isinstance(item, os.PathLike):
        return os.fspath(item)
    if hasattr(type(item), "store_path"):  # an array or group of zarr; proxies have every attribute
        return of_store(item.store_path.store, item.store_path.path)
    if hasattr(item, "get_partial_values") and hasattr(item, "list_prefix"):  # a whole store
        return of_store(item)
    if hasattr(item, "kvstore") and hasattr(item, "dtype"):  # TensorStore
        return _of_tensorstore(item)
    file = getattr(item, "file", None)
    if hasattr(item, "dtype") and isinstance(getattr(file, "filename", None), str):  # HDF5
        return file.filename  # type: ignore[union-attr]
    return None


def of_store(store: Any, path: str = "") -> Any:
    """Where a node of a zarr store is: a path on this machine, or else the store itself."""
    mapping = getattr(store, "mapping", None)  # one of ours, over an fsspec mapper perhaps
    if mapping is not None:
        found = _of_files(getattr(mapping, "fs", None), getattr(mapping, "root", None), path)
        return store if found is None else found
    storage = getattr(store, "storage", None)
    if storage is not None and hasattr(storage, "url"):  # a view of one of ours
        return str(storage.url)
    root = getattr(store, "root", None)
    if isinstance(root, os.PathLike):
        return _joined(os.fspath(root), path)
    file = getattr(store, "path", None)
    if isinstance(file, os.PathLike):  # a zip archive
        return os.path.abspath(file)
    found = _of_files(getattr(store, "fs", None), file, path)
    if found is not None:
        return found
    inner = getattr(store, "_store", None)  # a wrapper
    return store if inner is None else of_store(inner, path)


def _of_files(system: Any, root: Any, path: str) -> str | None:
    """A path that fsspec reaches, if that is on this machine."""
    system = getattr(system, "sync_fs", system)
    protocols = getattr(system, "protocol", ())
    protocols = (protocols,) if isinstance(protocols, str) else protocols
    local = isinstance(root, str) and {"file", "local"} & {*protocols}
    return _joined(root, path) if local else None


def _joined(root: str, path: str) -> str:
    return os.path.join(os.path.abspath(root), *filter(None, path.split("/")))


def _of_tensorstore(item: Any) -> Any:
    spec = item.spec().to_json()
    while isinstance(spec, dict) and "kvstore" not in spec and "base" in spec:
        spec = spec["base"]
    path = spec.get("kvstore", {}).get("path") if isinstance(spec, dict) else None
    return path if isinstance(path, str) else None


def _parts(item: Any) -> Iterable[Any]:
    """What something is made of."""
    if isinstance(item, np.ndarray):
        return () if item.base is None else (item.base,)
    graph = item.__dask_graph__() if hasattr(item, "__dask_graph__") else None
    if graph is not None:  # xarray's objects have one only if they hold a dask array
        return getattr(graph, "layers", None) or graph, *getattr(item, "__dict__", {}).values()
    if isinstance(item, Mapping):
        return list(item.values())
    if isinstance(item, (tuple, list, set, frozenset)):
        return item
    if isinstance(item, functools.partial):
        return item.func, item.args, item.keywords
    if isinstance(item, types.FunctionType):
        return _named(item)
    slots = [s for cls in type(item).__mro__ for s in getattr(cls, "__slots__", ())]
    names = [s for s in slots if isinstance(s, str) and not s.startswith("__")]
    found = [getattr(item, name, None) for name in [*names, "__self__", "__func__", "__wrapped__"]]
    return [*found, *getattr(item, "__dict__", {}).values()]


def _is_strange(item: Any) -> bool:
    """Whether an object is neither a container, nor of a package that is known to hold arrays."""
    if isinstance(item, types.FunctionType):
        return True  # what it refers to refers to others, to no end
    if isinstance(item, (Mapping, tuple, list, set, frozenset, functools.partial, np.ndarray)):
        return False
    return type(item).__module__.split(".")[0] not in (*_SEARCHED, "builtins")


def _named(function: types.FunctionType) -> list[Any]:
    """What a function refers to: by closure, default, or as a global of its module."""
    cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    if str(function.__module__).split(".")[0] in _SEARCHED:
        return [*cells, *defaults]  # its globals are the library's own
    names: list[str] = []
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        names += code.co_names
        codes += [c for c in code.co_consts if isinstance(c, types.CodeType)]
    found = [function.__globals__[name] for name in names if name in function.__globals__]
    return [*cells, *defaults, *found]


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
