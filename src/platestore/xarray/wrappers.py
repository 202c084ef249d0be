"""What the array on disk is given to xarray as: itself, a dask array, or anything else that is wrapped."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict

from platestore.errors import ArgumentError

if TYPE_CHECKING:
    import dask.array
    import zarr

_NAMINGS = ("auto", "array_url")


class ArrayWrapperSpec(TypedDict):
    """A wrapper as a dictionary, as configuration files have it.

    Attributes
    ----------
    name : {"zarr_array", "dask_array"}
        Which wrapper.
    config : dict
        Its arguments; may be left out.
    """

    name: Literal["zarr_array", "dask_array"]
    config: dict[str, Any]


class Wraps(Protocol):
    """Anything with a method ``wrap``."""

    def wrap(self, array: zarr.Array[Any], /) -> Any:
        """What xarray is to hold instead of the array: an array-like of its shape and type."""


class BaseArrayWrapper(abc.ABC):
    """Base of array wrappers; any other object with a method ``wrap`` serves as well."""

    @abc.abstractmethod
    def wrap(self, array: zarr.Array[Any]) -> Any:
        """Wrap an array.

        Parameters
        ----------
        array : zarr.Array
            The array on disk.

        Returns
        -------
        array-like
            Of the same shape and data type; xarray holds it.

        Examples
        --------
        >>> from platestore.xarray import BaseArrayWrapper
        >>> class InMemory(BaseArrayWrapper):
        ...     def wrap(self, array):
        ...         return array[...]
        >>> type(position.to_xarray("0", InMemory()).data).__name__
        'ndarray'
        """


@dataclass(frozen=True)
class ZarrArrayWrapper(BaseArrayWrapper):
    """Passes arrays through unchanged.

    The functions that read then hand the array to xarray as its own backends do: indexing the
    ``DataArray`` reads nothing, and its values are read when they are asked for.
    """

    def wrap(self, array: zarr.Array[Any]) -> zarr.Array[Any]:
        """The array itself.

        Examples
        --------
        >>> from platestore.xarray import ZarrArrayWrapper
        >>> ZarrArrayWrapper().wrap(image) is image
        True
        """
        return array


@dataclass(frozen=True)
class DaskArrayWrapper(BaseArrayWrapper):
    """Wraps arrays in dask arrays.

    Attributes
    ----------
    chunks : str, int, or tuple
        Blocks, as ``dask.array.from_array`` takes them. ``"auto"`` makes them of whole chunks (of whole
        shards, where there are shards), as many as dask's setting ``array.chunk-size`` allows, and at
        least one: no chunk is decoded for two blocks.
    meta : array-like, optional
        Type of the blocks' arrays, as for ``dask.array.from_array``.
    inline_array : bool
        Whether the array itself goes into each task of the graph.
    naming : {"auto", "array_url"}
        ``"auto"`` gives each dask array a new name. ``"array_url"`` names it after the array's URL and
        path, its document as it is now, and these settings: the same array is then the same for
        dask, and another one as soon as one of these differs. A change of pixels does not change it.
    """

    chunks: Any = "auto"
    meta: Any = None
    inline_array: bool = True
    naming: Literal["auto", "array_url"] = "auto"

    def __post_init__(self) -> None:
        if self.naming not in _NAMINGS:
            raise ArgumentError(f"naming must be one of {', '.join(_NAMINGS)}, not {self.naming!r}")

    def wrap(self, array: zarr.Array[Any]) -> dask.array.Array:
        """A lazy dask array over the array.

        Examples
        --------
        >>> from platestore.xarray import DaskArrayWrapper
        >>> DaskArrayWrapper(chunks=(1, 1, 4, 32, 32)).wrap(image).chunksize
        (1, 1, 4, 32, 32)
        """
        import dask.array

        chunks = self.chunks
        if isinstance(chunks, str) and chunks == "auto":
            chunks = blocks(array.shape, array.shards or array.chunks, array.dtype.itemsize)
        lazy: dask.array.Array = dask.array.from_array(  # type: ignore[no-untyped-call]
            array,
            chunks=chunks,
            name=_url_name(array, chunks, self) if self.naming == "array_url" else False,
            meta=self.meta,
            inline_array=self.inline_array,
        )
        return lazy


def _url_name(array: zarr.Array[Any], chunks: Any, wrapper: DaskArrayWrapper) -> str:
    """A name that differs where the array, its document or a setting does."""
    from dask.base import tokenize

    url = str(array.store_path)
    document = array.metadata.to_dict()
    token = tokenize(url, str(document), str(chunks), repr(wrapper))
    return f"{url}-{token}"


def blocks(shape: Sequence[int], units: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """Blocks of whole units, as large as dask wants them at most, and one unit at least."""
    import dask.config
    from dask.utils import parse_bytes

    limit = parse_bytes(dask.config.get("array.chunk-size", "128MiB"))
    sizes = [min(unit, max(1, n)) for unit, n in zip(units, shape, strict=True)]
    for axis in reversed(range(len(shape))):
        others = math.prod(sizes) // sizes[axis] * itemsize
        counts = max(1, limit // max(1, others * units[axis]))
        sizes[axis] = max(sizes[axis], min(counts * units[axis], shape[axis]))
        if sizes[axis] < shape[axis]:
            break
    return tuple(sizes)


_NAMES: dict[str, type[BaseArrayWrapper]] = {"zarr_array": ZarrArrayWrapper, "dask_array": DaskArrayWrapper}


def resolve(wrapper: Wraps | Mapping[str, Any]) -> Wraps:
    """The wrapper that an argument ``array_wrapper`` means.

    Parameters
    ----------
    wrapper : object with ``wrap``, or dict
        A wrapper, or ``{"name": ..., "config": {...}}``.

    Raises
    ------
    ArgumentError
        If a name or a key is unknown, or the object has no ``wrap``.
    """
    if isinstance(wrapper, Mapping):
        return _from_spec(wrapper)
    if isinstance(wrapper, type) or not callable(getattr(wrapper, "wrap", None)):
        raise ArgumentError(
            f"{wrapper!r} is no array wrapper",
            hint="pass DaskArrayWrapper(), ZarrArrayWrapper(), or an object with a method wrap(array)",
        )
    return wrapper


def _from_spec(spec: Mapping[str, Any]) -> BaseArrayWrapper:
    unknown = sorted(str(key) for key in spec if key not in ("name", "config"))
    if unknown:
        raise ArgumentError(
            f"an array wrapper has no key {', '.join(unknown)}", hint='{"name": ..., "config": {...}}'
        )
    name, config = spec.get("name"), spec.get("config")
    if name not in _NAMES:
        raise ArgumentError(f"the array wrapper {name!r} is unknown", hint=f"one of {', '.join(_NAMES)}")
    if config is not None and not isinstance(config, Mapping):
        raise ArgumentError(f"the config of an array wrapper must be a dictionary, not {config!r}")
    cls: Any = _NAMES[name]
    known = [field.name for field in dataclasses.fields(cls)]
    wrong = sorted(str(key) for key in config or () if key not in known)
    if wrong:
        raise ArgumentError(
            f"the array wrapper {name!r} has no setting {', '.join(wrong)}",
            hint=f"it has {', '.join(known) or 'none'}",
        )
    wrapped: BaseArrayWrapper = cls(**dict(config or {}))
    return wrapped
